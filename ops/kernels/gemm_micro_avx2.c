/*
 * gemm_micro_avx2 -- tiles of 6 rows times 16 columns
 *
 * Twelve accumulators, two vectors of b and one broadcast: 15 of 16 registers.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include <immintrin.h>
#include <math.h>

#include "ops/kernels/gemm_micro.h"

enum { MR = 6, NR = 16 };

struct row {
	__m256 lo, hi;
};

static inline __attribute__((always_inline)) struct row
row_fma(struct row c, const float *a, __m256 lo, __m256 hi)
{
	__m256 x = _mm256_broadcast_ss(a);

	c.lo = _mm256_fmadd_ps(x, lo, c.lo);
	c.hi = _mm256_fmadd_ps(x, hi, c.hi);
	return c;
}

static inline __m256i
mask_of(int cols)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(cols), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* A whole row of the tile. */
static inline __attribute__((always_inline)) void
row_whole(bool add, float *c, struct row r)
{
	if (add) {
		r.lo = _mm256_add_ps(r.lo, _mm256_loadu_ps(c));
		r.hi = _mm256_add_ps(r.hi, _mm256_loadu_ps(c + 8));
	}
	_mm256_storeu_ps(c, r.lo);
	_mm256_storeu_ps(c + 8, r.hi);
}

/* A row at an edge: the first of its columns, or none. */
static inline void
row_edge(const struct vq_gemm_tile *t, int i, float *c, struct row r)
{
	__m256i lo = mask_of(t->cols), hi = mask_of(t->cols - 8);

	if (i >= t->rows)
		return;
	c += t->col;
	if (t->add) {
		r.lo = _mm256_add_ps(r.lo, _mm256_maskload_ps(c, lo));
		r.hi = _mm256_add_ps(r.hi, _mm256_maskload_ps(c + 8, hi));
	}
	_mm256_maskstore_ps(c, lo, r.lo);
	_mm256_maskstore_ps(c + 8, hi, r.hi);
}

static void
tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	const struct row zero = { _mm256_setzero_ps(), _mm256_setzero_ps() };
	struct row c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero;
	const float *b = t->b;
	int64_t step = t->step;

	if (t->add)			/* c comes from afar while the sums are made */
		for (int i = 0; i < t->rows; i++)
			_mm_prefetch((const char *)(c[i] + t->col), _MM_HINT_T0);
	for (int64_t s = 0; s < t->segs; s++) {
		const float *a0 = a[0] + t->off[s], *a1 = a[1] + t->off[s], *a2 = a[2] + t->off[s];
		const float *a3 = a[3] + t->off[s], *a4 = a[4] + t->off[s], *a5 = a[5] + t->off[s];
		const float *end = b + t->len * NR;

		for (int64_t x = 0; b < end; x += step, b += NR) {
			__m256 lo = _mm256_load_ps(b), hi = _mm256_load_ps(b + 8);

			c0 = row_fma(c0, a0 + x, lo, hi);
			c1 = row_fma(c1, a1 + x, lo, hi);
			c2 = row_fma(c2, a2 + x, lo, hi);
			c3 = row_fma(c3, a3 + x, lo, hi);
			c4 = row_fma(c4, a4 + x, lo, hi);
			c5 = row_fma(c5, a5 + x, lo, hi);
		}
	}
	if (t->rows == MR && t->cols == NR) {
		row_whole(t->add, c[0] + t->col, c0);
		row_whole(t->add, c[1] + t->col, c1);
		row_whole(t->add, c[2] + t->col, c2);
		row_whole(t->add, c[3] + t->col, c3);
		row_whole(t->add, c[4] + t->col, c4);
		row_whole(t->add, c[5] + t->col, c5);
		return;
	}
	row_edge(t, 0, c[0], c0);
	row_edge(t, 1, c[1], c1);
	row_edge(t, 2, c[2], c2);
	row_edge(t, 3, c[3], c3);
	row_edge(t, 4, c[4], c4);
	row_edge(t, 5, c[5], c5);
}

/* len (at most 8) floats of each of n rows become len rows of n columns and zeros. */
static inline __attribute__((always_inline)) void
transpose8(const float *from, int64_t ld, int n, int len, float *to)
{
	__m256i there = mask_of(len);
	__m256 r[8], u[8];

	#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		r[i] = i >= n ? _mm256_setzero_ps() : len == 8 ? _mm256_loadu_ps(from + i * ld) :
		    _mm256_maskload_ps(from + i * ld, there);
	#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		u[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		u[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4)
		#pragma GCC unroll 2
		for (int j = 0; j < 2; j++) {
			r[i + 2 * j] = _mm256_shuffle_ps(u[i + j], u[i + j + 2], 0x44);
			r[i + 2 * j + 1] = _mm256_shuffle_ps(u[i + j], u[i + j + 2], 0xee);
		}
	#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		if (i < len)
			_mm256_store_ps(to + i * NR, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
		if (i + 4 < len)
			_mm256_store_ps(to + (i + 4) * NR, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
	}
}

/* `rows` rows of c at once, so that what is loaded of b is used for all. */
static inline __attribute__((always_inline)) void
add4_rows(float *c, int64_t ldc, int rows, int64_t n, const float *a, int64_t lda, const float *b, int64_t ldb)
{
	const float *b1 = b + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
	__m256 x[2][4];
	int64_t j = 0;

	#pragma GCC unroll 2
	for (int i = 0; i < rows; i++)
		#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
			x[i][k] = _mm256_set1_ps(a[i * lda + k]);
	for (; j + 8 <= n; j += 8) {
		__m256 y0 = _mm256_loadu_ps(b + j), y1 = _mm256_loadu_ps(b1 + j);
		__m256 y2 = _mm256_loadu_ps(b2 + j), y3 = _mm256_loadu_ps(b3 + j);

		#pragma GCC unroll 2
		for (int i = 0; i < rows; i++) {
			__m256 sum = _mm256_fmadd_ps(x[i][0], y0, _mm256_loadu_ps(c + i * ldc + j));
			sum = _mm256_fmadd_ps(x[i][1], y1, sum);
			sum = _mm256_fmadd_ps(x[i][2], y2, sum);
			sum = _mm256_fmadd_ps(x[i][3], y3, sum);
			_mm256_storeu_ps(c + i * ldc + j, sum);
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

	for (; i + 2 <= m; i += 2)
		add4_rows(c + i * ldc, ldc, 2, n, a + i * lda, lda, b, ldb);
	for (; i < m; i++)
		add4_rows(c + i * ldc, ldc, 1, n, a + i * lda, lda, b, ldb);
}

static void
pack(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	__m256i lo = mask_of(n), hi = mask_of(n - 8);

	for (int64_t k = 0; k < len; k++, to += NR, from += ld)
		if (n == NR) {
			_mm256_store_ps(to, _mm256_loadu_ps(from));
			_mm256_store_ps(to + 8, _mm256_loadu_ps(from + 8));
		} else {
			_mm256_store_ps(to, _mm256_maskload_ps(from, lo));
			_mm256_store_ps(to + 8, _mm256_maskload_ps(from + 8, hi));
		}
}

static void
pack_transposed(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	int64_t whole = len & ~(int64_t)7;

	for (int64_t k = 0; k < whole; k += 8) {
		transpose8(from + k, ld, n, 8, to + k * NR);
		transpose8(from + 8 * ld + k, ld, n - 8, 8, to + k * NR + 8);
	}
	if (whole == len)
		return;
	transpose8(from + whole, ld, n, (int)(len - whole), to + whole * NR);
	transpose8(from + 8 * ld + whole, ld, n - 8, (int)(len - whole), to + whole * NR + 8);
}

const struct vq_gemm_micro vq_gemm_avx2 = {
	.mr = MR, .nr = NR, .per = 1, .kc = 384, .tile = tile, .add4 = add4,
	.pack = pack, .pack_transposed = pack_transposed,
};

#define ROUNDED vq_gemm_avx2_rounded
#define KC 384
#include "ops/kernels/gemm_round_body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
