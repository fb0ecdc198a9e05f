/*
 * gemm_micro_avx512 -- tiles and packing for processors with AVX-512
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx2,fma")
#endif

#include <immintrin.h>
#include <math.h>

enum { PER = 1 };
#include "ops/kernels/gemm_micro_avx512_body.h"

static inline __attribute__((always_inline)) __m512
madd(__m512 x, __m512 y, __m512 sum)
{
	return _mm512_fmadd_ps(x, y, sum);
}

static inline __attribute__((always_inline)) __m512
words(const float *from, int n)
{
	return _mm512_maskz_loadu_ps(mask_of(n), from);
}

/* `rows` rows of c at once, so that what is loaded of b is used for all; ahead: the first to read b. */
static inline __attribute__((always_inline)) void
add4_rows(float *c, int64_t ldc, int rows, bool ahead, int64_t n, const float *a, int64_t lda, const float *b, int64_t ldb)
{
	const float *b1 = b + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
	__m512 x[4][4];
	int64_t j = 0;

	#pragma GCC unroll 4
	for (int i = 0; i < rows; i++)
		#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
			x[i][k] = _mm512_set1_ps(a[i * lda + k]);
	for (; j + 16 <= n; j += 16) {
		__m512 y0 = _mm512_loadu_ps(b + j), y1 = _mm512_loadu_ps(b1 + j);
		__m512 y2 = _mm512_loadu_ps(b2 + j), y3 = _mm512_loadu_ps(b3 + j);

		/* The four rows after the next: b comes from memory, in lines too far apart to be foreseen. */
		for (int k = 8; ahead && k < 12; k++)
			_mm_prefetch((const char *)(b + k * ldb + j), _MM_HINT_T1);
		#pragma GCC unroll 4
		for (int i = 0; i < rows; i++) {
			__m512 sum = _mm512_fmadd_ps(x[i][0], y0, _mm512_loadu_ps(c + i * ldc + j));
			sum = _mm512_fmadd_ps(x[i][1], y1, sum);
			sum = _mm512_fmadd_ps(x[i][2], y2, sum);
			sum = _mm512_fmadd_ps(x[i][3], y3, sum);
			_mm512_storeu_ps(c + i * ldc + j, sum);
		}
	}
	for (; j < n; j++)
		for (int i = 0; i < rows; i++) {
			const float *f = a + i * lda;
			float *y = c + i * ldc + j;
			*y = fmaf(f[3], b3[j], fmaf(f[2], b2[j], fmaf(f[1], b1[j], fmaf(f[0], b[j], *y))));
		}
}

static void
add4(float *c, int64_t ldc, int64_t m, int64_t n, const float *a, int64_t lda, const float *b, int64_t ldb)
{
	int64_t i = 0;

	for (; i + 4 <= m; i += 4)
		add4_rows(c + i * ldc, ldc, 4, i == 0, n, a + i * lda, lda, b, ldb);
	for (; i + 2 <= m; i += 2)
		add4_rows(c + i * ldc, ldc, 2, i == 0, n, a + i * lda, lda, b, ldb);
	for (; i < m; i++)
		add4_rows(c + i * ldc, ldc, 1, i == 0, n, a + i * lda, lda, b, ldb);
}

static void
pack(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	__mmask16 lo = mask_of(n < 16 ? n : 16), hi = mask_of(n < 16 ? 0 : n - 16);

	for (int64_t k = 0; k < len; k++, to += NR, from += ld) {
		_mm512_store_ps(to, _mm512_maskz_loadu_ps(lo, from));
		_mm512_store_ps(to + 16, _mm512_maskz_loadu_ps(hi, from + 16));
	}
}

const struct vq_gemm_micro vq_gemm_avx512 = {
	.mr = MR, .nr = NR, .per = PER, .kc = 256, .tile = tile, .add4 = add4,
	.pack = pack, .pack_transposed = pack_transposed,
};

#define ROUNDED vq_gemm_avx512_rounded
#define KC 256
#include "ops/kernels/gemm_round_body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
