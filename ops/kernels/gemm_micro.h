/*
 * gemm_micro -- the register kernel under every matrix product and convolution
 *
 * A tile is up to mr rows times one packed panel of nr columns,
 *
 *   c[i][col + j] (+)= sum over k of a[i][off[s] + x * step] * b[k * nr + j]
 *
 * where k walks `segs` runs of `len`: run s starts off[s] floats from the row
 * start, x counts inside it, and b is walked without gaps.  Rows of a matrix
 * have one run and step 1; a transposed matrix has rows one float apart and a
 * step of its row length; the rows of a convolution are pixels and its runs
 * taps.  So a is read where it lies and nothing is rearranged but b.
 *
 * The operands are words of 32 bits.  Those of the f32 kernels are the numbers themselves.
 * Those of the bf16 kernels are `per` numbers of bf16 precision: two that follow each
 * other in k (the first in the low half), or where the processor has no instruction for
 * such pairs one, kept as f32.  What is said of a step of k is then said of a word, and
 * sums are f32 either way.
 *
 * Each sum runs over k in order whatever the tile, so how a product is cut into
 * tiles does not change its bits.
 */
#ifndef VQ_OPS_KERNELS_GEMM_MICRO_H
#define VQ_OPS_KERNELS_GEMM_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VQ_GEMM_MR_MAX = 32, VQ_GEMM_NR_MAX = 32 };

struct vq_gemm_tile {
	int64_t segs, len, step;	/* the k loop */
	const int64_t *off;
	const float *b;			/* packed panel, aligned to its vectors */
	int64_t col;
	int rows, cols;			/* written, at least 1 and at most mr and nr */
	bool add;			/* keep what c holds */
};

struct vq_gemm_micro {
	int mr, nr;
	int per;			/* of k in a word */
	int64_t kc;			/* a panel of so many words stays in the first-level cache */
	/* All mr row starts of a are read from, whatever rows is; of c only those written. */
	void (*tile)(const struct vq_gemm_tile *t, const float *const *a, float *const *c);
	/*
	 * c[i * ldc + j] += a[i * lda] * b[j] + ... + a[i * lda + 3] * b[3 * ldb + j] for i < m, j < n,
	 * in this order: products of few rows, which read b as it lies.  NULL: for f32 only.
	 */
	void (*add4)(float *c, int64_t ldc, int64_t m, int64_t n, const float *a, int64_t lda, const float *b, int64_t ldb);
	/* n numbers of a row as words, the last filled up with zero; NULL: they are words as they lie. */
	void (*round)(float *to, const float *from, int64_t n);
	/* per is 2: word i is of x[i] and y[i], or of x[i] and zero where y is NULL, i < n. */
	void (*zip)(float *to, const float *x, const float *y, int64_t n);
	/* The same of numbers that are bf16 already. */
	void (*zip_half)(float *to, const uint16_t *x, const uint16_t *y, int64_t n);
	/* The same for panels: word k of column j is of x[k * ld + j] and y[k * ld + j]. */
	void (*pack_zipped)(float *to, const float *x, const float *y, int64_t ld, int64_t len, int n);
	/* With words that hold one number: to[k * nr + j] = from[k * ld + j] for j < n, k < len; zeros for n <= j < nr. */
	void (*pack)(float *to, const float *from, int64_t ld, int64_t len, int n);
	/* to[k * nr + j] = from[j * ld + k] for j < n, k < len; zeros for n <= j < nr. */
	void (*pack_transposed)(float *to, const float *from, int64_t ld, int64_t len, int n);
};

extern const struct vq_gemm_micro vq_gemm_portable, vq_gemm_avx2, vq_gemm_avx512;
extern const struct vq_gemm_micro vq_gemm_portable_rounded, vq_gemm_avx2_rounded, vq_gemm_avx512_rounded;
extern const struct vq_gemm_micro vq_gemm_avx512bf16, vq_gemm_amx;
/* Whether a tile of 32 x 32 sums of pairs comes out right: numbers for which it is exact. */
bool vq_gemm_check_tile(void (*tile)(const struct vq_gemm_tile *t, const float *const *a, float *const *c));
void vq_gemm_amx_tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c);

#endif
