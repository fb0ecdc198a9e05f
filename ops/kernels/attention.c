/*
 * attention -- the forward, and what it shares with the backward
 */
#include "ops/kernels/attention_private.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { KEYS = VQ_ATTENTION_KEYS, QUERIES = VQ_ATTENTION_QUERIES, SERIAL = 1 << 18, LINE = 16 };

/* --- shared --------------------------------------------------------------- */

void
vq_attention_gather(const struct vq_panels *p, float *to, const float *from, int64_t ld, int64_t ldto,
    int64_t rows, int64_t width)
{
	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < width; j += LINE)
			__builtin_prefetch(from + i * ld + width + j, 0, 2);
	p->copy(to, ldto, from, ld, rows, width);
}

void
vq_attention_put(const struct vq_attention_tile *x, float *to, int64_t ld, const float *from, int64_t n,
    int64_t cols, bool add, float *room)
{
	const struct vq_gemm_micro *u = x->c->k->gemm;

	for (int64_t i = 0; i < n; i += u->nr) {
		int64_t part = vq_attention_least(n - i, u->nr);

		u->pack_transposed(room, from + i * u->nr, u->nr, u->nr, (int)part);
		if (!add)
			vq_panels(x->c->k)->copy(to + i, ld, room, u->nr, cols, part);
		for (int64_t j = 0; add && j < cols; j++)
			x->c->k->ew[VQ_EW_ADD](to + j * ld + i, to + j * ld + i, room + j * u->nr, NULL, 0, 0, part);
	}
}

void
vq_attention_product(const struct vq_gemm_micro *u, float *c, int64_t ldc, int64_t m, int64_t n,
    const float *a, int64_t lda, int64_t step, int64_t len, const float *b, bool add)
{
	const float *from[VQ_GEMM_TABLE];
	float *to[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .n = n, .a = from, .c = to, .segs = 1, .len = len, .step = step, .off = &zero,
	    .b = b, .depth = len, .add = add };

	for (int64_t i = 0; i < m; i += g.m) {
		g.m = vq_attention_least(m - i, VQ_GEMM_ROWS);
		for (int64_t r = 0; r < g.m; r++) {
			from[r] = a + (i + r) * lda;
			to[r] = c + (i + r) * ldc;
		}
		vq_gemm_pad_rows(from, g.m);
		vq_gemm_block(u, &g);
	}
}

void
vq_attention_hide(const struct vq_attention_tile *x, float *scores, int64_t q, int64_t rows, int width)
{
	int64_t first = q + x->a->s - x->a->t + 1 - x->k0;	/* row of the first key that a query lacks */
	int64_t from = first < 0 ? 0 : first;

	if (x->a->causal && from < rows)
		vq_panels(x->c->k)->hide(scores + from * width, from - first + 1, rows - from);
}

/* Keys side by side in [n, heads, s, t]: at once where all queries are there. */
void
vq_attention_draw(struct vq_attention_tile *x)
{
	const struct vq_attention *a = x->a;
	int64_t rows = x->k1 - x->k0, cols = x->q1 - x->q0;
	uint64_t at = (uint64_t)((((x->b * a->heads + x->h) * a->s + x->k0) * a->t) + x->q0);
	bool whole = cols == a->t;

	for (int64_t j = 0; j < rows; j++, at += (uint64_t)a->t) {
		uint16_t *room = x->bits + j * (QUERIES + 16);
		int64_t many = whole ? rows * cols : cols;
		if (!whole || j == 0)
			vq_rng_blocks(&x->c->key, at / 8, (uint32_t *)room, (int64_t)(at % 8 + (uint64_t)many + 7) / 8);
		x->row[j] = whole && j > 0 ? x->row[0] + j * cols : room + at % 8;
	}
}

void
vq_attention_drop(const struct vq_attention_tile *x, float *p, int64_t q, int64_t cols, int64_t rows, int width)
{
	for (int64_t j = 0; j < rows; j++, p += width)
		vq_rows(x->c->k)->keep(p, p, x->row[j] + (q - x->q0), x->a->drop, x->a->keep, cols);
}

int
vq_attention_team(const struct vq_attention *a, int threads)
{
	return (double)(a->n * a->heads * a->t) * (double)(a->s * (a->d + a->e)) < SERIAL ? 1 : threads;
}

int64_t
vq_attention_chunk(const struct vq_attention *a, int threads)
{
	return a->n >= 8 * threads ? a->heads : 1;
}

/* --- forward -------------------------------------------------------------- */

/* What a thread works in; by panel: [QUERIES / W] of each. */
struct room {
	float *k, *v;			/* the block, one row after the other */
	float *x;			/* [KEYS][W]: scores, then weights */
	float *q, *y;			/* [d][W] and [e][W] a panel */
	float *most, *sum, *factor;	/* [W] a panel */
	float *turned;			/* [W][W] */
	uint16_t *bits;
};

/* Laid out from base on; *floats: how many it takes. */
static struct room
room_of(const struct vq_attention *a, float *base, int64_t *floats)
{
	int64_t keys = vq_attention_least(a->s, KEYS);
	struct room r;

	*floats = 0;
	r.k = vq_attention_take(base, floats, keys * a->d);
	r.v = vq_attention_take(base, floats, keys * a->e);
	r.x = vq_attention_take(base, floats, keys * VQ_GEMM_NR_MAX);
	r.q = vq_attention_take(base, floats, QUERIES * a->d);
	r.y = vq_attention_take(base, floats, QUERIES * a->e);
	r.most = vq_attention_take(base, floats, QUERIES);
	r.sum = vq_attention_take(base, floats, QUERIES);
	r.factor = vq_attention_take(base, floats, QUERIES);
	r.turned = vq_attention_take(base, floats, VQ_GEMM_NR_MAX * VQ_GEMM_NR_MAX);
	r.bits = (uint16_t *)vq_attention_take(base, floats, vq_attention_bits(a) / 2);
	return r;
}

struct forward {
	const float *q, *k, *v;
	float *y, *lse;
};

/* The panel from query i on and the block of keys that lies in the room. */
static void
panel(const struct forward *f, const struct vq_attention_tile *x, const struct room *r, int64_t i)
{
	const struct vq_attention *a = x->a;
	const struct vq_gemm_micro *u = x->c->k->gemm;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t at = i - x->q0, w = p->width, cols = vq_attention_least(x->q1 - i, w);
	int64_t rows = vq_attention_least(x->k1, vq_attention_seen(a, i + cols)) - x->k0;
	float *q = r->q + at * a->d, *y = r->y + at * a->e;
	bool first = x->k0 == 0;

	if (rows <= 0)
		return;
	if (first) {
		vq_gemm_pack(u, q, a->d, 0, f->q + vq_attention_at(x, a->t, a->d, i), a->heads * a->d, true, a->d, cols);
		for (int64_t j = at; j < at + w; j++) {
			r->most[j] = -INFINITY;
			r->sum[j] = 0;
		}
	}
	vq_attention_product(u, r->x, w, rows, w, r->k, a->d, 1, a->d, q, false);
	vq_attention_hide(x, r->x, i, rows, (int)w);
	p->softmax(r->x, r->most + at, r->sum + at, r->factor + at, a->scale, rows);
	if (a->drop)
		vq_attention_drop(x, r->x, i, cols, rows, (int)w);
	if (!first)
		p->scale(y, r->factor + at, a->e);
	vq_attention_product(u, y, w, a->e, w, r->v, 1, a->e, rows, r->x, !first);
}

/* The results of a panel, to where they belong. */
static void
finish(const struct forward *f, const struct vq_attention_tile *x, const struct room *r, int64_t i)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t at = i - x->q0, cols = vq_attention_least(x->q1 - i, p->width);

	for (int64_t j = at; j < at + p->width; j++)
		r->factor[j] = 1 / r->sum[j];
	x->c->k->ew[VQ_EW_LOG](r->sum + at, r->sum + at, NULL, NULL, 0, 0, p->width);
	for (int64_t j = 0; j < cols; j++)
		f->lse[(x->b * a->heads + x->h) * a->t + i + j] = r->most[at + j] + r->sum[at + j];
	p->scale(r->y + at * a->e, r->factor + at, a->e);
	vq_attention_put(x, f->y + vq_attention_at(x, a->t, a->e, i), a->heads * a->e, r->y + at * a->e,
	    a->e, cols, false, r->turned);
}

static void
forward(const struct forward *f, struct vq_attention_tile *x, const struct room *r)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t w = p->width, seen = vq_attention_seen(a, x->q1);

	for (x->k0 = 0; x->k0 < seen; x->k0 += KEYS) {
		x->k1 = vq_attention_least(seen, x->k0 + KEYS);
		vq_attention_gather(p, r->k, f->k + vq_attention_at(x, a->s, a->d, x->k0), a->heads * a->d, a->d, x->k1 - x->k0, a->d);
		vq_attention_gather(p, r->v, f->v + vq_attention_at(x, a->s, a->e, x->k0), a->heads * a->e, a->e, x->k1 - x->k0, a->e);
		if (a->drop)
			vq_attention_draw(x);
		for (int64_t i = x->q0; i < x->q1; i += w)
			panel(f, x, r, i);
	}
	for (int64_t i = x->q0; i < x->q1; i += w)
		finish(f, x, r, i);
}

void
vq_attention(const struct vq_attention *a, const struct vq_call *c,
    const float *q, const float *k, const float *v, float *y, float *lse)
{
	struct forward f = { q, k, v, y, lse };
	int64_t groups = (a->t + QUERIES - 1) / QUERIES, floats;

	room_of(a, NULL, &floats);
#pragma omp parallel for num_threads(vq_attention_team(a, c->threads)) schedule(dynamic, vq_attention_chunk(a, c->threads) * groups)
	for (int64_t i = 0; i < a->n * a->heads * groups; i++) {
		int64_t own;
		struct room r = room_of(a, (float *)c->scratch + omp_get_thread_num() * floats, &own);
		struct vq_attention_tile x = { .a = a, .c = c, .b = i / groups / a->heads, .h = i / groups % a->heads,
		    .q0 = i % groups * QUERIES, .bits = r.bits };

		x.q1 = vq_attention_least(a->t, x.q0 + QUERIES);
		forward(&f, &x, &r);
	}
}

size_t
vq_attention_scratch(const struct vq_attention *a, int threads)
{
	int64_t floats;

	room_of(a, NULL, &floats);
	return (size_t)(threads * floats) * sizeof(float);
}
