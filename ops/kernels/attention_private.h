/*
 * attention_private -- what forward and backward share: blocks, products, masks
 */
#ifndef VQ_OPS_KERNELS_ATTENTION_PRIVATE_H
#define VQ_OPS_KERNELS_ATTENTION_PRIVATE_H

#include "ops/kernels/attention.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/panels.h"
#include "ops/kernels/rows.h"

enum {
	VQ_ATTENTION_KEYS = 128,	/* of a block */
	VQ_ATTENTION_QUERIES = 128,	/* that go by a block together: whole panels */
};

/* A head of one of the batch, a range of queries, a block of keys. */
struct vq_attention_tile {
	const struct vq_attention *a;
	const struct vq_call *c;
	int64_t b, h;
	int64_t q0, q1;			/* queries */
	int64_t k0, k1;			/* keys */
	uint16_t *bits;			/* room for them: vq_attention_bits halves */
	const uint16_t *row[VQ_ATTENTION_KEYS];	/* of key k0 + j: random bits from query q0 on */
};

/* One past the last key that queries up to q1 see. */
static inline int64_t
vq_attention_seen(const struct vq_attention *a, int64_t q1)
{
	int64_t last = q1 + a->s - a->t;

	return a->causal && last < a->s ? last : a->s;
}

static inline int64_t
vq_attention_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The part of a head at position i of [n, length, heads * width]. */
static inline int64_t
vq_attention_at(const struct vq_attention_tile *x, int64_t length, int64_t width, int64_t i)
{
	return ((x->b * length + i) * x->a->heads + x->h) * width;
}

/* The next so many floats, 64-byte aligned, of a room of which *at are taken; base
 * may be NULL to count only. */
static inline float *
vq_attention_take(float *base, int64_t *at, int64_t floats)
{
	float *p = base ? base + *at : NULL;

	*at += (floats + 15) / 16 * 16;
	return p;
}

/* Halves that the random bits of a tile may take. */
static inline int64_t
vq_attention_bits(const struct vq_attention *a)
{
	return a->drop ? VQ_ATTENTION_KEYS * (VQ_ATTENTION_QUERIES + 16) : 0;
}

/* Copies rows of `width` floats from `from`, ld apart, to `to`, ldto apart; what lies
 * after them, the next head, is fetched meanwhile. */
void vq_attention_gather(const struct vq_panels *p, float *to, const float *from, int64_t ld, int64_t ldto,
    int64_t rows, int64_t width);
/*
 * c [m][n], rows ldc apart, (+)= a . b: row i of a begins at a + i * lda and goes on by
 * `step` for `len`; b is packed, `len` deep.
 */
void vq_attention_product(const struct vq_gemm_micro *u, float *c, int64_t ldc, int64_t m, int64_t n,
    const float *a, int64_t lda, int64_t step, int64_t len, const float *b, bool add);
/*
 * What stands in a panel [n][W] as rows: to[j * ld + i] = from[i * W + j], or added to
 * what is there, for j < cols.  room: W * NR_MAX floats.
 */
void vq_attention_put(const struct vq_attention_tile *x, float *to, int64_t ld, const float *from, int64_t n,
    int64_t cols, bool add, float *room);
/* Scores [rows][W] of keys from k0 on: -inf where a query of the panel from q on does not see. */
void vq_attention_hide(const struct vq_attention_tile *x, float *scores, int64_t q, int64_t rows, int width);
/* Draws the bits of the tile. */
void vq_attention_draw(struct vq_attention_tile *x);
/* What dropout leaves of [rows][W] for the panel of `cols` queries from q on. */
void vq_attention_drop(const struct vq_attention_tile *x, float *p, int64_t q, int64_t cols, int64_t rows, int width);
/* How many threads the work is worth, and how many heads one of them takes in turn: all
 * of a sequence, which lie side by side, where there are many. */
int vq_attention_team(const struct vq_attention *a, int threads);
int64_t vq_attention_chunk(const struct vq_attention *a, int threads);

#endif
