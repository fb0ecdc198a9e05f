/*
 * attention_grad -- the backward: weights made again, five products where the
 * forward has two
 *
 * A task is a head: blocks of keys, whose gradients it sums over the queries in
 * order, and for each block all panels of queries that see it.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/attention_private.h"

enum { KEYS = VQ_ATTENTION_KEYS, QUERIES = VQ_ATTENTION_QUERIES, LINE = 64 };

struct room {
	float *k, *v, *dk, *dv;			/* the block, one row after the other */
	float *w, *s;				/* [KEYS][W]: weights; gradient of the scores */
	float *q, *g, *y, *dq;			/* [depth][W] */
	float *rows_q, *rows_g, *rows_y;	/* [W][width]: of a panel that is not f32, or is rounded */
	float *halves;				/* [KEYS][width] of bf16: of a block, as its pairs are made */
	float *zk, *zs, *zq, *zg;		/* pairs: of keys and gradients of scores along keys; of a panel along queries */
	float *lse, *scale;			/* [W] */
	float *less;				/* [t + W]: sum of g y of each query, kept from the first block on */
	uint16_t *bits;
};

/* Laid out from base on; *floats: how many it takes. */
static struct room
room_of(const struct vq_attention *a, float *base, int64_t *floats)
{
	int64_t keys = VQ_PANEL_KEYS(vq_attention_least(a->s, KEYS)), d = VQ_PANEL_DEPTH(a->d), e = VQ_PANEL_DEPTH(a->e);
	struct room r;

	*floats = 0;
	r.k = vq_attention_take(base, floats, keys * d);
	r.v = vq_attention_take(base, floats, keys * e);
	r.dk = vq_attention_take(base, floats, keys * VQ_PANEL_ROW(a->d));
	r.dv = vq_attention_take(base, floats, keys * VQ_PANEL_ROW(a->e));
	r.w = vq_attention_take(base, floats, keys * VQ_PANEL_MAX);
	r.s = vq_attention_take(base, floats, keys * VQ_PANEL_MAX);
	r.q = vq_attention_take(base, floats, d * VQ_PANEL_MAX);
	r.g = vq_attention_take(base, floats, e * VQ_PANEL_MAX);
	r.y = vq_attention_take(base, floats, e * VQ_PANEL_MAX);
	r.dq = vq_attention_take(base, floats, d * VQ_PANEL_MAX);
	r.rows_q = vq_attention_take(base, floats, VQ_PANEL_MAX * VQ_PANEL_ROW(a->d));
	r.rows_g = vq_attention_take(base, floats, VQ_PANEL_MAX * VQ_PANEL_ROW(a->e));
	r.rows_y = vq_attention_take(base, floats, VQ_PANEL_MAX * VQ_PANEL_ROW(a->e));
	r.halves = vq_attention_take(base, floats, vq_attention_zipped(keys, a->d > a->e ? a->d : a->e));
	r.zk = vq_attention_take(base, floats, vq_attention_zipped(keys, a->d));
	r.zs = vq_attention_take(base, floats, vq_attention_zipped(keys, VQ_PANEL_MAX));
	r.zq = vq_attention_take(base, floats, vq_attention_zipped(VQ_PANEL_MAX, a->d));
	r.zg = vq_attention_take(base, floats, vq_attention_zipped(VQ_PANEL_MAX, a->e));
	r.lse = vq_attention_take(base, floats, VQ_PANEL_MAX);
	r.less = vq_attention_take(base, floats, a->t + VQ_PANEL_MAX);
	r.scale = vq_attention_take(base, floats, VQ_PANEL_MAX);
	r.bits = (uint16_t *)vq_attention_take(base, floats, vq_attention_bits(a) / 2);
	return r;
}

/*
 * Fetches positions [from, to) of the head that comes next into the second-level cache; write: to be
 * written.  Heads lie side by side in rows far apart, nine times, which no hardware foresees.
 */
static void
fetch(const struct vq_attention_tile *x, const void *base, size_t size, int64_t length, int64_t width, int64_t from, int64_t to,
    bool write)
{
	int64_t line = LINE / (int64_t)size;
	struct vq_attention_tile next = { .a = x->a, .b = x->b };
	bool wraps = x->h + 1 == x->a->heads;

	next.b += wraps;
	next.h = wraps ? 0 : x->h + 1;
	if (next.b == x->a->n)
		return;
	for (int64_t i = from; i < to; i++) {
		const char *p = (const char *)base + (size_t)vq_attention_at(&next, length, width, i) * size;
		for (int64_t j = wraps ? 0 : line; j < width + line; j += line) {
			const char *q = p + (size_t)(j < width ? j : width - 1) * size;
			if (write)
				__builtin_prefetch(q, 1, 2);
			else
				__builtin_prefetch(q, 0, 2);
		}
	}
}

static void
fetch_in(const struct vq_attention_tile *x, const struct vq_attention_in *in, int64_t length, int64_t width, int64_t from, int64_t to)
{
	fetch(x, in->data, in->form == VQ_ATTENTION_HALF ? sizeof(uint16_t) : sizeof(float), length, width, from, to, false);
}

static void
fetch_out(const struct vq_attention_tile *x, const float *to, int64_t length, int64_t width, int64_t from, int64_t until)
{
	fetch(x, to, sizeof(*to), length, width, from, until, true);
}

/* The products of a panel by pairs. */
static void
pair_panel(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, const struct vq_panel *now,
    int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_pair_panels *p = vq_attention_pairs(x->c->k, &f->q);
	int64_t from_q = a->heads * a->d, from_g = a->heads * a->e, from_y = from_g;
	int64_t at_q = vq_attention_at(x, a->t, a->d, i), at_g = vq_attention_at(x, a->t, a->e, i);
	int64_t wd = VQ_PANEL_WORDS(a->d), we = VQ_PANEL_WORDS(a->e);
	const uint16_t *q = vq_attention_halves(x->c->k, &f->q, at_q, &from_q, cols, a->d, r->rows_q);
	const uint16_t *g = vq_attention_halves(x->c->k, &f->g, at_g, &from_g, cols, a->e, r->rows_g);

	p->turn(r->q, q, from_q, cols, a->d);
	p->zip(r->zq, q, from_q, cols, a->d, VQ_PANEL_MAX);
	p->turn(r->g, g, from_g, cols, a->e);
	p->zip(r->zg, g, from_g, cols, a->e, VQ_PANEL_MAX);
	if (x->k0 == 0) {
		const uint16_t *y = vq_attention_halves(x->c->k, &f->y, at_g, &from_y, cols, a->e, r->rows_y);

		p->turn(r->y, y, from_y, cols, a->e);
		p->dots(r->less + i, r->g, r->y, we);
	}
	p->weights(now, r->w, r->k, r->q, wd, a->scale * VQ_ATTENTION_LOG2E, r->lse);
	p->grads(now, r->s, r->zs, r->w, r->v, r->g, we, r->less + i);
	p->outer(r->dv, r->w, r->zg, a->e, now->keys);
	p->outer(r->dk, r->s, r->zq, a->d, now->keys);
	p->back(r->dq, r->zk, r->zs, now->keys, a->d);
}

/* The products of a panel of f32. */
static void
plain_panel(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, const struct vq_panel *now,
    int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t d = VQ_PANEL_DEPTH(a->d), e = VQ_PANEL_DEPTH(a->e);
	int64_t from_q = a->heads * a->d, from_g = a->heads * a->e, from_y = from_g;
	int64_t at_q = vq_attention_at(x, a->t, a->d, i), at_g = vq_attention_at(x, a->t, a->e, i);
	const float *q = vq_attention_rows(x->c->k, &f->q, at_q, &from_q, cols, a->d, r->rows_q);
	const float *g = vq_attention_rows(x->c->k, &f->g, at_g, &from_g, cols, a->e, r->rows_g);

	p->turn(r->q, q, from_q, cols, a->d, a->scale * VQ_ATTENTION_LOG2E);
	p->turn(r->g, g, from_g, cols, a->e, 1);
	if (x->k0 == 0) {
		const float *y = vq_attention_rows(x->c->k, &f->y, at_g, &from_y, cols, a->e, r->rows_y);

		p->turn(r->y, y, from_y, cols, a->e, 1);
		p->dots(r->less + i, r->g, r->y, e);
	}
	p->weights(now, r->w, r->k, r->q, d, r->lse);
	p->grads(now, r->s, r->w, r->v, r->g, e, r->less + i);
	p->outer(r->dv, r->w, g, from_g, cols, a->e, now->keys);
	p->outer(r->dk, r->s, q, from_q, cols, a->d, now->keys);
	p->back(r->dq, r->k, r->s, now->keys, d, false);
}

/* The panel of `cols` queries from i on and the block of keys that lies in the room.  y is read with the
 * first block only, before dq is written, which may lie there. */
static void
panel(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t keys = vq_attention_least(x->k1, vq_attention_seen(a, i + cols)) - x->k0;
	const float *lse = f->lse + (x->b * a->heads + x->h) * a->t + i;
	struct vq_panel now = vq_attention_panel(x, i, keys);

	if (keys <= 0)
		return;
	for (int64_t j = 0; j < p->width; j++) {
		r->lse[j] = j < cols ? lse[j] * VQ_ATTENTION_LOG2E : 0;
		r->scale[j] = a->scale;
	}
	if (vq_attention_pairs(x->c->k, &f->q))
		pair_panel(f, x, r, &now, i, cols);
	else
		plain_panel(f, x, r, &now, i, cols);
	p->put(f->dq + vq_attention_at(x, a->t, a->d, i), a->heads * a->d, r->dq, cols, a->d, r->scale, x->k0 > 0);
}

/* All queries and the block of keys. */
static void
block(const struct vq_attention_grad *f, struct vq_attention_tile *x, const struct room *r)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t rows = x->k1 - x->k0, many = VQ_PANEL_KEYS(rows), ldk = a->heads * a->d, ldv = a->heads * a->e, cols;

	vq_attention_block(x, &f->k, a->d, r->k, r->zk, r->halves);
	vq_attention_block(x, &f->v, a->e, r->v, NULL, r->halves);
	fetch_in(x, &f->k, a->s, a->d, x->k0, x->k1);
	fetch_in(x, &f->v, a->s, a->e, x->k0, x->k1);
	fetch_out(x, f->dk, a->s, a->d, x->k0, x->k1);
	fetch_out(x, f->dv, a->s, a->e, x->k0, x->k1);
	memset(r->dk, 0, (size_t)(many * VQ_PANEL_ROW(a->d)) * sizeof(float));
	memset(r->dv, 0, (size_t)(many * VQ_PANEL_ROW(a->e)) * sizeof(float));
	for (x->q0 = 0; x->q0 < a->t; x->q0 += QUERIES) {
		x->q1 = vq_attention_least(a->t, x->q0 + QUERIES);
		if (vq_attention_seen(a, x->q1) <= x->k0)
			continue;
		if (a->drop)
			vq_attention_draw(x);
		fetch_in(x, &f->q, a->t, a->d, x->q0, x->q1);
		fetch_in(x, &f->g, a->t, a->e, x->q0, x->q1);
		if (x->k0 == 0)
			fetch_in(x, &f->y, a->t, a->e, x->q0, x->q1);
		fetch_out(x, f->dq, a->t, a->d, x->q0, x->q1);
		cols = vq_attention_first(a, x->q1 - x->q0, p->width);
		for (int64_t i = x->q0; i < x->q1; i += cols, cols = p->width)
			panel(f, x, r, i, vq_attention_least(cols, x->q1 - i));
	}
	p->copy(f->dk + vq_attention_at(x, a->s, a->d, x->k0), ldk, a->d, r->dk, VQ_PANEL_ROW(a->d), rows, a->d, a->scale);
	p->copy(f->dv + vq_attention_at(x, a->s, a->e, x->k0), ldv, a->e, r->dv, VQ_PANEL_ROW(a->e), rows, a->e, 1);
}

void
vq_attention_grad(const struct vq_attention *a, const struct vq_call *c, const struct vq_attention_grad *f)
{
	int64_t floats;

	room_of(a, NULL, &floats);
#pragma omp parallel for num_threads(vq_attention_team(a, c->threads)) schedule(dynamic, vq_attention_chunk(a, c->threads))
	for (int64_t i = 0; i < a->n * a->heads; i++) {
		int64_t own;
		struct room r = room_of(a, (float *)c->scratch + omp_get_thread_num() * floats, &own);
		struct vq_attention_tile x = { .a = a, .c = c, .b = i / a->heads, .h = i % a->heads, .bits = r.bits };

		for (x.k0 = 0; x.k0 < a->s; x.k0 += KEYS) {
			x.k1 = vq_attention_least(a->s, x.k0 + KEYS);
			block(f, &x, &r);
		}
	}
}

size_t
vq_attention_grad_scratch(const struct vq_attention *a, int threads)
{
	int64_t floats;

	room_of(a, NULL, &floats);
	return (size_t)(threads * floats) * sizeof(float);
}
