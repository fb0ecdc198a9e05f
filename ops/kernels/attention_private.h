/*
 * attention_private -- what forward and backward share: blocks, products, masks
 */
#ifndef VQ_OPS_KERNELS_ATTENTION_PRIVATE_H
#define VQ_OPS_KERNELS_ATTENTION_PRIVATE_H

#include "ops/kernels/attention.h"
#include "ops/kernels/panels.h"

#define VQ_ATTENTION_LOG2E 1.44269504f
#define VQ_ATTENTION_LN2 0.693147181f

enum {
	VQ_ATTENTION_KEYS = 128,	/* of a block */
	VQ_ATTENTION_QUERIES = 128,	/* that go by a block together */
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

/* Floats of so many rows of pairs, or of half as many of numbers. */
static inline int64_t
vq_attention_zipped(int64_t rows, int64_t width)
{
	return rows / 2 * VQ_PANEL_ROW(width);
}

/* Queries of the first panel of some: where queries see the keys up to their own the others are
 * full, so that those which see most keys waste no lanes. */
static inline int64_t
vq_attention_first(const struct vq_attention *a, int64_t queries, int width)
{
	return a->causal && queries % width ? queries % width : width;
}

/* Keys or values [rows][width] from element `at` on, ld apart, one after the other as panels want them. */
void vq_attention_gather(const struct vq_kernels *k, float *to, const struct vq_attention_in *in, int64_t at, int64_t ld,
    int64_t rows, int64_t width);
/* Rows [rows][width] from element `at` on as f32: where they lie, or in room, VQ_PANEL_ROW(width) apart; *ld: how far apart. */
const float *vq_attention_rows(const struct vq_kernels *k, const struct vq_attention_in *in, int64_t at, int64_t *ld,
    int64_t rows, int64_t width, float *room);
/* The kernels for pairs of bf16, where all operands are rounded and the processor has them; or NULL. */
const struct vq_pair_panels *vq_attention_pairs(const struct vq_kernels *k, const struct vq_attention_in *in);
/* Rows [rows][width] from element `at` on as bf16: where they lie, or in room, VQ_PANEL_ROW(width) apart; *ld: how far apart. */
const uint16_t *vq_attention_halves(const struct vq_kernels *k, const struct vq_attention_in *in, int64_t at, int64_t *ld,
    int64_t rows, int64_t width, float *room);
/* The tile's block of keys or values, `width` channels: pairs as rows, zipped along keys, or both (NULL: not wanted); f32 where
 * there are no pairs, as rows alone, in the first of the two that is given.  room: of halves. */
void vq_attention_block(const struct vq_attention_tile *x, const struct vq_attention_in *in, int64_t width, float *rows, float *zipped,
    float *room);
/* What the kernels are to know of the panel of queries from i on, and so many keys of the block. */
struct vq_panel vq_attention_panel(const struct vq_attention_tile *x, int64_t i, int64_t keys);
/* Draws the bits of the tile. */
void vq_attention_draw(struct vq_attention_tile *x);
/* How many threads the work is worth, and how many heads one of them takes in turn: all
 * of some sequences, which lie side by side, where there are many. */
int vq_attention_team(const struct vq_attention *a, int threads);
int64_t vq_attention_chunk(const struct vq_attention *a, int threads);

#endif
