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

enum { KEYS = VQ_ATTENTION_KEYS, QUERIES = VQ_ATTENTION_QUERIES };

struct room {
	float *k, *v, *dk, *dv;			/* the block, one row after the other */
	float *w, *s;				/* [KEYS][W]: weights; gradient of the scores */
	float *q, *g, *y, *dq;			/* [d][W], [e][W], [e][W], [d][W] */
	float *q_rows, *g_rows;			/* packed as operands: [W] deep */
	float *lse, *less;			/* [W] */
	float *turned;				/* [W][W] */
	uint16_t *bits;
};

/* Laid out from base on; *floats: how many it takes. */
static struct room
room_of(const struct vq_attention *a, float *base, int64_t *floats)
{
	int64_t keys = vq_attention_least(a->s, KEYS), most = VQ_GEMM_NR_MAX;
	struct room r;

	*floats = 0;
	r.k = vq_attention_take(base, floats, keys * a->d);
	r.v = vq_attention_take(base, floats, keys * a->e);
	r.dk = vq_attention_take(base, floats, keys * a->d);
	r.dv = vq_attention_take(base, floats, keys * a->e);
	r.w = vq_attention_take(base, floats, keys * most);
	r.s = vq_attention_take(base, floats, keys * most);
	r.q = vq_attention_take(base, floats, most * a->d);
	r.g = vq_attention_take(base, floats, most * a->e);
	r.y = vq_attention_take(base, floats, most * a->e);
	r.dq = vq_attention_take(base, floats, most * a->d);
	r.q_rows = vq_attention_take(base, floats, most * vq_gemm_width(a->d));
	r.g_rows = vq_attention_take(base, floats, most * vq_gemm_width(a->e));
	r.lse = vq_attention_take(base, floats, most);
	r.less = vq_attention_take(base, floats, most);
	r.turned = vq_attention_take(base, floats, most * most);
	r.bits = (uint16_t *)vq_attention_take(base, floats, vq_attention_bits(a) / 2);
	return r;
}

/* What the panel of `cols` queries from i on brings along. */
static void
load(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, int64_t i, int64_t cols)
{
	const struct vq_attention *a = x->a;
	const struct vq_gemm_micro *u = x->c->k->gemm;
	int64_t ldq = a->heads * a->d, ldg = a->heads * a->e;
	const float *q = f->q + vq_attention_at(x, a->t, a->d, i), *g = f->g + vq_attention_at(x, a->t, a->e, i);
	const float *y = f->y + vq_attention_at(x, a->t, a->e, i);
	const float *lse = f->lse + (x->b * a->heads + x->h) * a->t + i;

	vq_gemm_pack(u, r->q, a->d, 0, q, ldq, true, a->d, cols);
	vq_gemm_pack(u, r->g, a->e, 0, g, ldg, true, a->e, cols);
	vq_gemm_pack(u, r->q_rows, cols, 0, q, ldq, false, cols, a->d);
	vq_gemm_pack(u, r->g_rows, cols, 0, g, ldg, false, cols, a->e);
	vq_gemm_pack(u, r->y, a->e, 0, y, ldg, true, a->e, cols);
	vq_panels(x->c->k)->dots(r->less, r->g, r->y, a->e);
	for (int j = 0; j < u->nr; j++)
		r->lse[j] = j < cols ? lse[j] : 0;
}

/* The panel from query i on and the block of keys that lies in the room. */
static void
panel(const struct vq_attention_grad *f, const struct vq_attention_tile *x, const struct room *r, int64_t i)
{
	const struct vq_attention *a = x->a;
	const struct vq_gemm_micro *u = x->c->k->gemm;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t w = p->width, cols = vq_attention_least(x->q1 - i, w);
	int64_t rows = vq_attention_least(x->k1, vq_attention_seen(a, i + cols)) - x->k0;

	if (rows <= 0)
		return;
	load(f, x, r, i, cols);
	vq_attention_product(u, r->w, w, rows, w, r->k, a->d, 1, a->d, r->q, false);
	vq_attention_hide(x, r->w, i, rows, (int)w);
	p->weights(r->w, r->lse, a->scale, rows);
	vq_attention_product(u, r->s, w, rows, w, r->v, a->e, 1, a->e, r->g, false);
	if (a->drop)
		vq_attention_drop(x, r->s, i, cols, rows, (int)w);
	p->grad(r->s, r->w, r->less, a->scale, rows);
	if (a->drop)
		vq_attention_drop(x, r->w, i, cols, rows, (int)w);
	vq_attention_product(u, r->dv, a->e, rows, a->e, r->w, w, 1, cols, r->g_rows, true);
	vq_attention_product(u, r->dk, a->d, rows, a->d, r->s, w, 1, cols, r->q_rows, true);
	vq_attention_product(u, r->dq, w, a->d, w, r->k, 1, a->d, rows, r->s, false);
	vq_attention_put(x, f->dq + vq_attention_at(x, a->t, a->d, i), a->heads * a->d, r->dq, a->d, cols, x->k0 > 0,
	    r->turned);
}

/* All queries and the block of keys. */
static void
block(const struct vq_attention_grad *f, struct vq_attention_tile *x, const struct room *r)
{
	const struct vq_attention *a = x->a;
	const struct vq_panels *p = vq_panels(x->c->k);
	int64_t w = p->width, rows = x->k1 - x->k0, ldk = a->heads * a->d, ldv = a->heads * a->e;

	vq_attention_gather(p, r->k, f->k + vq_attention_at(x, a->s, a->d, x->k0), ldk, a->d, rows, a->d);
	vq_attention_gather(p, r->v, f->v + vq_attention_at(x, a->s, a->e, x->k0), ldv, a->e, rows, a->e);
	memset(r->dk, 0, (size_t)(rows * a->d) * sizeof(float));
	memset(r->dv, 0, (size_t)(rows * a->e) * sizeof(float));
	for (x->q0 = 0; x->q0 < a->t; x->q0 += QUERIES) {
		x->q1 = vq_attention_least(a->t, x->q0 + QUERIES);
		if (vq_attention_seen(a, x->q1) <= x->k0)
			continue;
		if (a->drop)
			vq_attention_draw(x);
		for (int64_t i = x->q0; i < x->q1; i += w)
			panel(f, x, r, i);
	}
	vq_attention_gather(p, f->dk + vq_attention_at(x, a->s, a->d, x->k0), r->dk, a->d, ldk, rows, a->d);
	vq_attention_gather(p, f->dv + vq_attention_at(x, a->s, a->e, x->k0), r->dv, a->e, ldv, rows, a->e);
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
