/*
 * gemm_micro -- the register kernels under every matrix product and convolution
 *
 * A tile is up to mr rows times one packed panel of nr columns,
 *
 *   c[i][j] (+)= sum over k of A(i, k) * b[k * nr + j]
 *
 * where k walks `segs` runs of `len`, run s starting off[s] floats from the row
 * start.  b is walked without gaps.  A is read where it lies, in one of two forms:
 *
 *   rows    A(i, k) = a[i][off[s] + k]		rows of a matrix, pixels times channels
 *   cols    A(i, k) = a[off[s] + k * step + i]	a transposed matrix, channels times pixels
 *
 * so that a convolution is a product whose runs are its taps, and nothing is
 * rearranged but b.  Each sum runs over k in order whatever the tile, so how a
 * product is cut into tiles does not change its bits.
 */
#ifndef VQ_OPS_KERNELS_GEMM_MICRO_H
#define VQ_OPS_KERNELS_GEMM_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VQ_GEMM_MR_MAX = 12, VQ_GEMM_NR_MAX = 32 };

struct vq_gemm_tile {
	int64_t segs, len;		/* the k loop */
	const int64_t *off;
	int64_t step;			/* cols: floats from one k to the next */
	const float *b;			/* packed panel, aligned to its vectors */
	int64_t col;			/* added to every c[i] */
	int rows, cols;			/* written; mr row starts are read whatever rows is */
	bool add;			/* keep what c holds */
};

struct vq_gemm_micro {
	int mr, nr;
	void (*rows)(const struct vq_gemm_tile *t, const float *const *a, float *const *c);
	/* Reads a[.. + i] for i < rows only. */
	void (*cols)(const struct vq_gemm_tile *t, const float *a, float *const *c);
	/* to[k * nr + j] = from[j * ld + k] for j < n, k < len; zeros for n <= j < nr. */
	void (*pack_transposed)(float *to, const float *from, int64_t ld, int64_t len, int n);
};

extern const struct vq_gemm_micro vq_gemm_portable, vq_gemm_avx2, vq_gemm_avx512;

#endif
