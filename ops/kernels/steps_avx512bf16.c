/*
 * steps_avx512bf16 -- rows times panels of pairs of bf16, by AVX512_BF16 and by AMX
 */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma,prefer-vector-width=512")
#endif
#pragma GCC optimize("O3")

#include <immintrin.h>

#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/steps.h"

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(64), aligned(4), may_alias));

enum { LANES = 16, STEP_WORD = 1 };

INLINE vf
step_dot(vf s, const float *a, vf b)
{
	return (vf)_mm512_dpbf16_ps((__m512)s, (__m512bh)_mm512_set1_ps(*a), (__m512bh)b);
}

#define STEP_ROWS 12
#include "ops/kernels/steps_multiply_body.h"

void
vq_step_pairs_avx512bf16(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const uint16_t *b, int64_t pairs, int64_t n)
{
	step_sums(true, c, ldc, a, lda, m, b, pairs, n);
}

/* The panel is what a tile of gemm_micro.h reads. */
void
vq_step_pairs_amx(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const uint16_t *b, int64_t pairs, int64_t n)
{
	const float *row[VQ_GEMM_MR_MAX];
	float *to[VQ_GEMM_MR_MAX];
	int64_t off = 0;
	struct vq_gemm_tile t = { .segs = pairs > 0, .len = pairs, .step = 1, .off = &off, .b = (const float *)b, .cols = (int)n };

	for (int64_t first = 0; first < m; first += t.rows) {
		t.rows = m - first < VQ_GEMM_MR_MAX ? (int)(m - first) : VQ_GEMM_MR_MAX;
		for (int i = 0; i < VQ_GEMM_MR_MAX; i++) {
			row[i] = a + (first + i) * lda;
			to[i] = c + (first + (i < t.rows ? i : 0)) * ldc;
		}
		vq_gemm_amx_tile(&t, row, to);
	}
}
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int steps_avx512bf16_is_empty;	/* a file with nothing in it is not C */
#endif
