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

/*
 * The same of numbers of bf16, two of them in a word: what is multiplied are pairs, what is added up
 * is f32.  Keys and queries are pairs of channels; what is summed over keys (values, keys in `back`) or
 * over queries (`outer`) is pairs of those, zipped.  So weights and their gradients are rounded, too.
 *
 * VQ_PANEL_WORDS(width) words a key or a row of a panel, zeros after its channels; queries are not
 * scaled, scores are.
 */
#define VQ_PANEL_WORDS(width) (((width) + 3) / 4 * 2)

struct vq_pair_panels {
	/* n rows of `width` numbers, ld apart, as words: to[VQ_PANEL_KEYS(n)][VQ_PANEL_WORDS(width)], zeros elsewhere. */
	void (*rows)(float *to, const uint16_t *from, int64_t ld, int64_t n, int64_t width);
	/* Rows 2i and 2i + 1 as one of pairs: to[room / 2][VQ_PANEL_ROW(width)], zeros elsewhere; room is even, n <= room. */
	void (*zip)(float *to, const uint16_t *from, int64_t ld, int64_t n, int64_t width, int64_t room);
	/* `cols` rows as columns: to[VQ_PANEL_WORDS(width)][W], zeros elsewhere. */
	void (*turn)(float *to, const uint16_t *from, int64_t ld, int64_t cols, int64_t width);
	/* As vq_panels.put, never adding; rounded. */
	void (*put)(uint16_t *to, int64_t ld, const float *from, int64_t cols, int64_t width, const float *factor);
	/* sum [W] = products of a and b, down the columns */
	void (*dots)(float *sum, const float *a, const float *b, int64_t words);

	/* As in vq_panels, of the products times scale. */
	void (*scores)(const struct vq_panel *p, float *x, const float *k, const float *q, int64_t words, float scale, float *most,
	    float *factor);
	/* v: zipped, keys in pairs; depth: VQ_PANEL_DEPTH of a value's width.  x is lost. */
	void (*values)(const struct vq_panel *p, float *y, const float *v, float *x, int64_t width, const float *most, float *sum,
	    const float *factor, bool first);
	void (*weights)(const struct vq_panel *p, float *w, const float *k, const float *q, int64_t words, float scale, const float *lse);
	/* a and w become rows of 16 numbers of bf16; az: a with its keys in pairs [VQ_PANEL_KEYS(keys) / 2][W] */
	void (*grads)(const struct vq_panel *p, float *a, float *az, float *w, const float *v, const float *g, int64_t words,
	    const float *less);
	/* k: zipped; x: as grads leaves az; to [VQ_PANEL_DEPTH(width)][W] */
	void (*back)(float *to, const float *k, const float *x, int64_t keys, int64_t width);
	/* x: as grads leaves a and w; rows: zipped, 16 of them */
	void (*outer)(float *to, const float *x, const float *rows, int64_t width, int64_t keys);
};

/* For processors with an instruction for pairs; or NULL. */
const struct vq_pair_panels *vq_pair_panels(const struct vq_kernels *k);
extern const struct vq_pair_panels vq_pair_panels_avx512bf16;

extern const struct vq_panels vq_panels_portable, vq_panels_avx2, vq_panels_avx512;
/* The table for the instruction set of k. */
const struct vq_panels *vq_panels(const struct vq_kernels *k);

#endif
