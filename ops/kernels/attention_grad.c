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

enum { KEYS = VQ_ATTENTION_KEYS, QUERIES = VQ_ATTENTION_QUERIES, LINE = 16 };

struct room {
	float *k, *v, *dk, *dv;			/* the block, one row after the other */
	float *w, *s;				/* [KEYS][W]: weights; gradient of the scores */
	float *q, *g, *y, *dq;			/* [depth][W] */
	float *lse, *less, *scale;		/* [W] */
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
	r.lse = vq_attention_take(base, floats, VQ_PANEL_MAX);
	r.less = vq_attention_take(base, floats, VQ_PANEL_MAX);
	r.scale = vq_attention_take(base, floats, VQ_PANEL_MAX);
	r.bits = (uint16_t *)vq_attention_take(base, floats, vq_attention_bits(a) / 2);
	return r;
}

/*
 * Fetches positions [from, to) of the head that comes next into the second-level cache; write: to be
 * written.  Heads lie side by side in rows far apart, nine times, which no hardware foresees.
 */
static void
fetch(const struct vq_attention_tile *x, const float *base, int64_t length, int64_t width, int64_t from, int64_t to, bool write)
{
	struct vq_attention_tile next = { .a = x->a, .b = x->b };
	bool wraps = x->h + 1 == x->a->heads;

	next.b += wraps;
	next.h = wraps ? 0 : x->h + 1;
	if (next.b == x->a->n)
		return;
	for (int64_t i = from; i < to; i++) {
		const float *p = base + vq_attention_at(&next, length, width, i);
		for (int64_t j = wraps ? 0 : LINE; j < width + LINE; j += LINE) {
			const float *q = p + (j < width ? j : width - 1);
			if (write)
				__builtin_prefetch(q, 1, 2);
			else
				__builtin_prefetch(q, 0, 2);
		}
	}
}

/* The panel of `cols` queries from i on and the block of keys that lies in the room. */
static void
panel(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t d = VQ_PANEL_DEPTH(a->d), e = VQ_PANEL_DEPTH(a->e), ldq = a->heads * a->d, ldg = a->heads * a->e;
	int64_t keys = vq_attention_least(x->k1, vq_attention_seen(a, i + cols)) - x->k0;
	int64_t at_q = vq_attention_at(x, a->t, a->d, i), at_g = vq_attention_at(x, a->t, a->e, i);
	const float *lse = f->lse + (x->b * a->heads + x->h) * a->t + i;
	struct vq_panel now = vq_attention_panel(x, i, keys);

	if (keys <= 0)
		return;
	p->turn(r->q, f->q + at_q, ldq, cols, a->d, a->scale * VQ_ATTENTION_LOG2E);
	p->turn(r->g, f->g + at_g, ldg, cols, a->e, 1);
	p->turn(r->y, f->y + at_g, ldg, cols, a->e, 1);
	p->dots(r->less, r->g, r->y, e);
	for (int64_t j = 0; j < p->width; j++) {
		r->lse[j] = j < cols ? lse[j] * VQ_ATTENTION_LOG2E : 0;
		r->scale[j] = a->scale;
	}
	p->weights(&now, r->w, r->k, r->q, d, r->lse);
	p->grads(&now, r->s, r->w, r->v, r->g, e, r->less);
	p->outer(r->dv, r->w, f->g + at_g, ldg, cols, a->e, keys);
	p->outer(r->dk, r->s, f->q + at_q, ldq, cols, a->d, keys);
	p->back(r->dq, r->k, r->s, keys, d, false);
	p->put(f->dq + at_q, ldq, r->dq, cols, a->d, r->scale, x->k0 > 0);
}

/* All queries and the block of keys. */
static void
block(const struct vq_attention_grad *f, struct vq_attention_tile *x, const struct room *r)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t rows = x->k1 - x->k0, many = VQ_PANEL_KEYS(rows), ldk = a->heads * a->d, ldv = a->heads * a->e, cols;

	vq_attention_gather(p, r->k, f->k + vq_attention_at(x, a->s, a->d, x->k0), ldk, rows, a->d);
	vq_attention_gather(p, r->v, f->v + vq_attention_at(x, a->s, a->e, x->k0), ldv, rows, a->e);
	fetch(x, f->k, a->s, a->d, x->k0, x->k1, false);
	fetch(x, f->v, a->s, a->e, x->k0, x->k1, false);
	fetch(x, f->dk, a->s, a->d, x->k0, x->k1, true);
	fetch(x, f->dv, a->s, a->e, x->k0, x->k1, true);
	memset(r->dk, 0, (size_t)(many * VQ_PANEL_ROW(a->d)) * sizeof(float));
	memset(r->dv, 0, (size_t)(many * VQ_PANEL_ROW(a->e)) * sizeof(float));
	for (x->q0 = 0; x->q0 < a->t; x->q0 += QUERIES) {
		x->q1 = vq_attention_least(a->t, x->q0 + QUERIES);
		if (vq_attention_seen(a, x->q1) <= x->k0)
			continue;
		if (a->drop)
			vq_attention_draw(x);
		fetch(x, f->q, a->t, a->d, x->q0, x->q1, false);
		fetch(x, f->g, a->t, a->e, x->q0, x->q1, false);
		fetch(x, f->y, a->t, a->e, x->q0, x->q1, false);
		fetch(x, f->dq, a->t, a->d, x->q0, x->q1, true);
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
