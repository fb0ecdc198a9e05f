/*
 * attention -- the forward, and what it shares with the backward
 */
#include "ops/kernels/attention_private.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { KEYS = VQ_ATTENTION_KEYS, QUERIES = VQ_ATTENTION_QUERIES, SERIAL = 1 << 18 };

/* --- shared --------------------------------------------------------------- */

void
vq_attention_gather(const struct vq_kernels *k, float *to, const struct vq_attention_in *in, int64_t at, int64_t ld,
    int64_t rows, int64_t width)
{
	int64_t depth = VQ_PANEL_DEPTH(width), room = VQ_PANEL_KEYS(rows) - rows;

	if (in->form == VQ_ATTENTION_HALF)
		for (int64_t j = 0; j < rows; j++) {
			k->widen(to + j * depth, (const uint16_t *)in->data + at + j * ld, width);
			for (int64_t i = width; i < depth; i++)
				to[j * depth + i] = 0;
		}
	else
		vq_panels(k)->copy(to, depth, depth, (const float *)in->data + at, ld, rows, width, 1);
	if (in->form == VQ_ATTENTION_ROUNDED)
		k->ew[VQ_EW_BF16](to, to, NULL, NULL, 0, 0, rows * depth);
	memset(to + rows * depth, 0, (size_t)(room * depth) * sizeof(*to));
}

const float *
vq_attention_rows(const struct vq_kernels *k, const struct vq_attention_in *in, int64_t at, int64_t *ld,
    int64_t rows, int64_t width, float *room)
{
	int64_t from = *ld, apart = VQ_PANEL_ROW(width);

	if (in->form == VQ_ATTENTION_PLAIN)
		return (const float *)in->data + at;
	for (int64_t j = 0; j < rows; j++, at += from)
		if (in->form == VQ_ATTENTION_HALF)
			k->widen(room + j * apart, (const uint16_t *)in->data + at, width);
		else
			k->ew[VQ_EW_BF16](room + j * apart, (const float *)in->data + at, NULL, NULL, 0, 0, width);
	*ld = apart;
	return room;
}

const struct vq_pair_panels *
vq_attention_pairs(const struct vq_kernels *k, const struct vq_attention_in *in)
{
	return in->form == VQ_ATTENTION_PLAIN ? NULL : vq_pair_panels(k);
}

const uint16_t *
vq_attention_halves(const struct vq_kernels *k, const struct vq_attention_in *in, int64_t at, int64_t *ld,
    int64_t rows, int64_t width, float *room)
{
	int64_t from = *ld, apart = VQ_PANEL_ROW(width);
	uint16_t *to = (uint16_t *)room;

	if (in->form == VQ_ATTENTION_HALF)
		return (const uint16_t *)in->data + at;
	for (int64_t j = 0; j < rows; j++)
		k->narrow(to + j * apart, (const float *)in->data + at + j * from, width);
	*ld = apart;
	return to;
}

void
vq_attention_block(const struct vq_attention_tile *x, const struct vq_attention_in *in, int64_t width, float *rows, float *zipped,
    float *room)
{
	const struct vq_kernels *k = x->c->k;
	const struct vq_pair_panels *pairs = vq_attention_pairs(k, in);
	int64_t n = x->k1 - x->k0, ld = x->a->heads * width, at = vq_attention_at(x, x->a->s, width, x->k0);

	if (pairs == NULL) {
		vq_attention_gather(k, rows ? rows : zipped, in, at, ld, n, width);
		return;
	}
	const uint16_t *from = vq_attention_halves(k, in, at, &ld, n, width, room);
	if (rows)
		pairs->rows(rows, from, ld, n, width);
	if (zipped)
		pairs->zip(zipped, from, ld, n, width, VQ_PANEL_KEYS(n));
}

struct vq_panel
vq_attention_panel(const struct vq_attention_tile *x, int64_t i, int64_t keys)
{
	const struct vq_attention *a = x->a;
	int64_t hidden = a->causal ? x->k0 - (i + a->s - a->t) : -KEYS;

	return (struct vq_panel){ .keys = keys, .hidden = hidden < -KEYS ? -KEYS : hidden, .bits = a->drop ? x->row : NULL,
	    .bit = i - x->q0, .limit = a->drop, .keep = a->keep };
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

int
vq_attention_team(const struct vq_attention *a, int threads)
{
	return (double)(a->n * a->heads * a->t) * (double)(a->s * (a->d + a->e)) < SERIAL ? 1 : threads;
}

int64_t
vq_attention_chunk(const struct vq_attention *a, int threads)
{
	return a->n >= 8 * threads ? a->n / (8 * threads) * a->heads : 1;
}

/* --- forward -------------------------------------------------------------- */

/* What a thread works in; by panel: [QUERIES / W] of each, and one that is not full. */
struct room {
	float *k, *v;			/* the block, one row after the other */
	float *x;			/* [KEYS][W]: scores, then weights */
	float *q, *y;			/* [depth][W] a panel */
	float *most, *sum, *factor;	/* [W] a panel */
	float *rows;			/* [W][width]: of a panel, on their way from or to bf16 */
	float *halves;			/* [KEYS][width] of bf16: of a block, as its pairs are made */
	uint16_t *bits;
};

/* Laid out from base on; *floats: how many it takes. */
static struct room
room_of(const struct vq_attention *a, float *base, int64_t *floats)
{
	int64_t keys = VQ_PANEL_KEYS(vq_attention_least(a->s, KEYS));
	int64_t queries = vq_attention_least(a->t, QUERIES) + VQ_PANEL_MAX;
	struct room r;

	*floats = 0;
	r.k = vq_attention_take(base, floats, keys * VQ_PANEL_DEPTH(a->d));
	r.v = vq_attention_take(base, floats, keys * VQ_PANEL_ROW(a->e));
	r.x = vq_attention_take(base, floats, keys * VQ_PANEL_MAX);
	r.q = vq_attention_take(base, floats, queries * VQ_PANEL_DEPTH(a->d));
	r.y = vq_attention_take(base, floats, queries * VQ_PANEL_DEPTH(a->e));
	r.most = vq_attention_take(base, floats, queries);
	r.sum = vq_attention_take(base, floats, queries);
	r.factor = vq_attention_take(base, floats, queries);
	r.rows = vq_attention_take(base, floats, VQ_PANEL_MAX * VQ_PANEL_ROW(a->d > a->e ? a->d : a->e));
	r.halves = vq_attention_take(base, floats, vq_attention_zipped(keys, a->d > a->e ? a->d : a->e));
	r.bits = (uint16_t *)vq_attention_take(base, floats, vq_attention_bits(a) / 2);
	return r;
}

/* The same by pairs. */
static void
pair_panel(const struct vq_attention_forward *f, const struct vq_attention_tile *x, const struct room *r, const struct vq_panel *now,
    int64_t at, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_pair_panels *p = vq_attention_pairs(x->c->k, &f->q);
	int64_t words = VQ_PANEL_WORDS(a->d), ld = a->heads * a->d;
	float *q = r->q + at * words, *y = r->y + at * VQ_PANEL_DEPTH(a->e);

	if (x->k0 == 0) {
		const uint16_t *rows = vq_attention_halves(x->c->k, &f->q, vq_attention_at(x, a->t, a->d, i), &ld, cols, a->d, r->rows);

		p->turn(q, rows, ld, cols, a->d);
	}
	p->scores(now, r->x, r->k, q, words, a->scale * VQ_ATTENTION_LOG2E, r->most + at, r->factor + at);
	p->values(now, y, r->v, r->x, a->e, r->most + at, r->sum + at, r->factor + at, x->k0 == 0);
}

/* Panel m, `cols` queries from i on, and the block of keys that lies in the room. */
static void
panel(const struct vq_attention_forward *f, const struct vq_attention_tile *x, const struct room *r, int64_t m, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t at = m * p->width, d = VQ_PANEL_DEPTH(a->d), e = VQ_PANEL_DEPTH(a->e);
	int64_t keys = vq_attention_least(x->k1, vq_attention_seen(a, i + cols)) - x->k0;
	struct vq_panel now = vq_attention_panel(x, i, keys);
	float *q = r->q + at * d;
	bool first = x->k0 == 0;

	if (keys <= 0)
		return;
	for (int64_t j = at; first && j < at + p->width; j++)
		r->most[j] = -INFINITY;
	if (vq_attention_pairs(x->c->k, &f->q)) {
		pair_panel(f, x, r, &now, at, i, cols);
		return;
	}
	if (first) {
		int64_t ld = a->heads * a->d;
		const float *rows = vq_attention_rows(x->c->k, &f->q, vq_attention_at(x, a->t, a->d, i), &ld, cols, a->d, r->rows);

		p->turn(q, rows, ld, cols, a->d, a->scale * VQ_ATTENTION_LOG2E);
	}
	p->scores(&now, r->x, r->k, q, d, r->most + at, r->factor + at);
	p->values(&now, r->y + at * e, r->v, r->x, e, r->most + at, r->sum + at, r->factor + at, first);
}

/* The results of a panel, to where they belong. */
static void
finish(const struct vq_attention_forward *f, const struct vq_attention_tile *x, const struct room *r, int64_t m, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t at = m * p->width;

	for (int64_t j = at; j < at + p->width; j++)
		r->factor[j] = 1 / r->sum[j];
	x->c->k->ew[VQ_EW_LOG](r->sum + at, r->sum + at, NULL, NULL, 0, 0, p->width);
	for (int64_t j = 0; j < cols; j++)
		f->lse[(x->b * a->heads + x->h) * a->t + i + j] = r->most[at + j] * VQ_ATTENTION_LN2 + r->sum[at + j];
	int64_t y = vq_attention_at(x, a->t, a->e, i), apart = VQ_PANEL_ROW(a->e), ld = a->heads * a->e;
	const struct vq_pair_panels *pairs = vq_attention_pairs(x->c->k, &f->q);
	float *to = f->half_y ? r->rows : (float *)f->y + y, *from = r->y + at * VQ_PANEL_DEPTH(a->e);

	if (f->half_y && pairs) {
		pairs->put((uint16_t *)f->y + y, ld, from, cols, a->e, r->factor + at);
		return;
	}
	p->put(to, f->half_y ? apart : ld, from, cols, a->e, r->factor + at, false);
	for (int64_t j = 0; f->half_y && j < cols; j++)
		x->c->k->narrow((uint16_t *)f->y + y + j * ld, to + j * apart, a->e);
}

static void
forward(const struct vq_attention_forward *f, struct vq_attention_tile *x, const struct room *r)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t seen = vq_attention_seen(a, x->q1);
	int64_t first = vq_attention_first(a, x->q1 - x->q0, p->width), i, m, cols;

	for (x->k0 = 0; x->k0 < seen; x->k0 += KEYS) {
		x->k1 = vq_attention_least(seen, x->k0 + KEYS);
		vq_attention_block(x, &f->k, a->d, r->k, NULL, r->halves);
		vq_attention_block(x, &f->v, a->e, NULL, r->v, r->halves);
		if (a->drop)
			vq_attention_draw(x);
		for (i = x->q0, m = 0; i < x->q1; i += cols, m++) {
			cols = vq_attention_least(x->q1 - i, m ? p->width : first);
			panel(f, x, r, m, i, cols);
		}
	}
	for (i = x->q0, m = 0; i < x->q1; i += cols, m++) {
		cols = vq_attention_least(x->q1 - i, m ? p->width : first);
		finish(f, x, r, m, i, cols);
	}

}

void
vq_attention(const struct vq_attention *a, const struct vq_call *c, const struct vq_attention_forward *f)
{
	int64_t groups = (a->t + QUERIES - 1) / QUERIES, floats;

	room_of(a, NULL, &floats);
#pragma omp parallel for num_threads(vq_attention_team(a, c->threads)) schedule(dynamic, vq_attention_chunk(a, c->threads) * groups)
	for (int64_t i = 0; i < a->n * a->heads * groups; i++) {
		int64_t own;
		struct room r = room_of(a, (float *)c->scratch + omp_get_thread_num() * floats, &own);
		struct vq_attention_tile x = { .a = a, .c = c, .b = i / groups / a->heads, .h = i / groups % a->heads,
		    .q0 = i % groups * QUERIES, .bits = r.bits };

		x.q1 = vq_attention_least(a->t, x.q0 + QUERIES);
		forward(f, &x, &r);
	}
}

size_t
vq_attention_scratch(const struct vq_attention *a, int threads)
{
	int64_t floats;

	room_of(a, NULL, &floats);
	return (size_t)(threads * floats) * sizeof(float);
}
