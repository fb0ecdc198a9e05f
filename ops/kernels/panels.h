/*
 * panels -- vector kernels over panels of attention: the queries of a head, each in
 * a lane of one vector
 *
 * W is the lanes of a vector.  A panel is rows of W: of the queries themselves a
 * row is a channel, of scores and weights a key.  So what a softmax needs goes
 * down the columns, no vector is ever summed up, and the queries, the results or
 * the rows that belong to them stay in registers while all keys go by, 16 channels
 * (8 where there are 16 registers) at a time: heads are narrow, and what a product
 * costs beside its multiplications would be most of it.
 *
 * Keys and values lie one after the other, VQ_PANEL_DEPTH(width) floats each, zeros
 * after their channels; VQ_PANEL_KEYS of them may be read and are finite.  Exponents
 * are of 2: the queries are multiplied by the logarithm before.
 */
#ifndef VQ_OPS_KERNELS_PANELS_H
#define VQ_OPS_KERNELS_PANELS_H

#include "ops/kernels/kernels.h"

enum { VQ_PANEL_MAX = 16 };		/* the largest W */
#define VQ_PANEL_DEPTH(width) (((width) + 3) / 4 * 4)
#define VQ_PANEL_KEYS(n) (((n) + 3) / 4 * 4)
#define VQ_PANEL_ROW(width) (((width) + VQ_PANEL_MAX - 1) / VQ_PANEL_MAX * VQ_PANEL_MAX)

/* One panel of queries and a block of keys. */
struct vq_panel {
	int64_t keys;
	int64_t hidden;			/* so many first lanes do not see key 0, one more of each key that follows; may be negative */
	const uint16_t *const *bits;	/* by key: random bits, those of the lanes from `bit` on; NULL: no dropout */
	int64_t bit;
	uint32_t limit;			/* a weight whose bits are below is dropped */
	float keep;			/* factor of the others */
};

struct vq_panels {
	int width;			/* W */
	/* n rows of `width` floats, ld apart, times factor; ldto apart, with zeros up to `room`. */
	void (*copy)(float *to, int64_t ldto, int64_t room, const float *from, int64_t ld, int64_t n, int64_t width, float factor);
	/* `cols` rows of `width` floats, ld apart, as columns times factor: to[VQ_PANEL_DEPTH(width)][W], zeros elsewhere. */
	void (*turn)(float *to, const float *from, int64_t ld, int64_t cols, int64_t width, float factor);
	/* Back: the first `cols` columns, each times its factor [W], become (or are added to) rows. */
	void (*put)(float *to, int64_t ld, const float *from, int64_t cols, int64_t width, const float *factor, bool add);
	/* sum [W] = those of a * b down the columns of n rows */
	void (*dots)(float *sum, const float *a, const float *b, int64_t n);

	/*
	 * x [VQ_PANEL_KEYS(keys)][W] = keys times q [depth][W], -inf where a lane does not see; most [W]
	 * becomes the larger of itself and the largest, and factor 2^(what it was - what it is).
	 */
	void (*scores)(const struct vq_panel *p, float *x, const float *k, const float *q, int64_t depth, float *most, float *factor);
	/*
	 * One more block of a running softmax: x becomes 2^(x - most), what dropout leaves of it is summed
	 * over the values into y [depth][W], all of it into sum [W], after both were multiplied by factor
	 * (first: they begin here).
	 */
	void (*values)(const struct vq_panel *p, float *y, const float *v, float *x, int64_t depth, const float *most, float *sum,
	    const float *factor, bool first);
	/* w = 2^(keys times q - lse), lse [W]; 0 where a lane does not see */
	void (*weights)(const struct vq_panel *p, float *w, const float *k, const float *q, int64_t depth, const float *lse);
	/* a = w (dropped(values times g) - less), less [W]; then w = dropped(w) */
	void (*grads)(const struct vq_panel *p, float *a, float *w, const float *v, const float *g, int64_t depth, const float *less);
	/* to [depth][W] (+)= sum over keys of their channels times x [keys][W] */
	void (*back)(float *to, const float *k, const float *x, int64_t keys, int64_t depth, bool add);
	/* to [VQ_PANEL_KEYS(keys)][VQ_PANEL_ROW(width)] += x times `cols` rows of `width` floats, ld apart */
	void (*outer)(float *to, const float *x, const float *rows, int64_t ld, int64_t cols, int64_t width, int64_t keys);
};

extern const struct vq_panels vq_panels_portable, vq_panels_avx2, vq_panels_avx512;
/* The table for the instruction set of k. */
const struct vq_panels *vq_panels(const struct vq_kernels *k);

#endif
