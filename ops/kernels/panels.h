/*
 * panels -- vector kernels over panels: rows of as many columns as a register tile
 * has (gemm_micro.h), one query of an attention a column
 *
 * What lies so is at once the result of one product and the packed operand of the
 * next, and what a softmax needs goes down the columns: no vector is ever summed
 * up.  W below is that width: two vectors.
 */
#ifndef VQ_OPS_KERNELS_PANELS_H
#define VQ_OPS_KERNELS_PANELS_H

#include "ops/kernels/kernels.h"

struct vq_panels {
	int width;		/* W, the gemm's nr */
	/*
	 * One more block of n rows of a running softmax down each column.  most [W] and sum [W]
	 * go on from the blocks before (-inf and 0 at first); x becomes exp(scale x - most), and
	 * factor [W] what everything summed so far is to be multiplied by.
	 */
	void (*softmax)(float *x, float *most, float *sum, float *factor, float scale, int64_t n);
	/* x = exp(scale x - lse), lse [W] */
	void (*weights)(float *x, const float *lse, float scale, int64_t n);
	/* a = scale w (a - less), less [W] */
	void (*grad)(float *a, const float *w, const float *less, float scale, int64_t n);
	/* -inf in the first columns of n rows: `first` of row 0, one more of each that follows */
	void (*hide)(float *x, int64_t first, int64_t n);
	/* sum [W] = those of a * b down the columns */
	void (*dots)(float *sum, const float *a, const float *b, int64_t n);
	/* Copies n rows of `width` floats, ldto and ld apart. */
	void (*copy)(float *to, int64_t ldto, const float *from, int64_t ld, int64_t n, int64_t width);
	/* x *= factor [W] */
	void (*scale)(float *x, const float *factor, int64_t n);
};

extern const struct vq_panels vq_panels_portable, vq_panels_avx2, vq_panels_avx512;
/* The table for the instruction set of k. */
const struct vq_panels *vq_panels(const struct vq_kernels *k);

#endif
