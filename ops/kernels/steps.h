/*
 * steps -- vector kernels of one position of a sequence: a few rows times packed
 * weights, and one query of an attention against all keys so far
 *
 * What takes time there is fetching weights.  Packed, they are panels of VQ_STEP_PANEL
 * columns, [ceil(n / 32)][k][32], zeros past column n: read once from front to end, by
 * sums that stay in registers.  Weights that are rounded to bf16 are words of two that follow
 * each other in k, [ceil(n / 32)][ceil(k / 2)][32][2], zeros past row k: half the bytes, and
 * where the processor has an instruction for such pairs half the instructions.
 */
#ifndef VQ_OPS_KERNELS_STEPS_H
#define VQ_OPS_KERNELS_STEPS_H

#include "ops/kernels/kernels.h"

enum {
	VQ_STEP_PANEL = 32,		/* columns of a panel, whatever the instruction set */
	VQ_STEP_LANES = 16,		/* positions of keys side by side */
};

/*
 * Rows as the bf16 kernel of gemm_micro.h rounds them: words, or numbers with a zero after an odd
 * k; lda floats apart.  Rows up to the next multiple of 32 may be read.
 */
typedef void vq_step_pairs_fn(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const uint16_t *b, int64_t pairs, int64_t n);

struct vq_steps {
	/*
	 * c[i * ldc + j] = sum over x < k of a[i * lda + x] * b[x * 32 + j] for i < m, j < n <= 32.
	 * The sum is cut into stretches of x by k alone, so a row has the same bits whatever m is.
	 */
	void (*multiply)(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const float *b, int64_t k, int64_t n);
	/* The same of rows and panels rounded to bf16: see vq_step_pairs. */
	vq_step_pairs_fn *multiply_pairs;
	/* y[j] = scale * sum over i < d of q[i] * key i at position j for j < n; keys [ceil(n / 16)][d][16].
	 * y may be used up to the next multiple of 16. */
	void (*scores)(float *y, const float *q, const float *keys, int64_t d, float scale, int64_t n);
	void (*scores_bf16)(float *y, const float *q, const uint16_t *keys, int64_t d, float scale, int64_t n);
	/* y[j] = sum over i < n of w[i] * values[i * e + j] for j < e */
	void (*mix)(float *y, const float *w, const float *values, int64_t n, int64_t e);
	void (*mix_bf16)(float *y, const float *w, const uint16_t *values, int64_t n, int64_t e);
};

extern const struct vq_steps vq_steps_portable, vq_steps_avx2, vq_steps_avx512;
/* The table for the instruction set of k. */
const struct vq_steps *vq_steps(const struct vq_kernels *k);
/* multiply_pairs for the instruction set of k: that of the table, or by AVX512_BF16 or AMX. */
vq_step_pairs_fn *vq_step_pairs(const struct vq_kernels *k);
vq_step_pairs_fn vq_step_pairs_avx512bf16, vq_step_pairs_amx;

static inline int64_t
vq_step_panels(int64_t n)
{
	return (n + VQ_STEP_PANEL - 1) / VQ_STEP_PANEL;
}

#endif
