/*
 * gemm_micro_avx512 -- tiles of 12 rows times 32 columns
 *
 * 24 accumulators, two vectors of b and the broadcasts; twelve row pointers are
 * what the general registers hold.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx2,fma")
#endif

#include <immintrin.h>
#include <math.h>

#include "ops/kernels/gemm_micro.h"

enum { MR = 12, NR = 32 };

struct row {
	__m512 lo, hi;
};

static inline __attribute__((always_inline)) struct row
row_fma(struct row c, const float *a, __m512 lo, __m512 hi)
{
	__m512 x = _mm512_set1_ps(*a);

	c.lo = _mm512_fmadd_ps(x, lo, c.lo);
	c.hi = _mm512_fmadd_ps(x, hi, c.hi);
	return c;
}

/* The lowest n bits, 0 <= n <= 16. */
static inline __mmask16
mask_of(int n)
{
	return (__mmask16)((1u << n) - 1);
}

static inline __attribute__((always_inline)) void
row_end(const struct vq_gemm_tile *t, int i, float *c, struct row r)
{
	__mmask16 lo = mask_of(t->cols < 16 ? t->cols : 16);
	__mmask16 hi = mask_of(t->cols < 16 ? 0 : t->cols - 16);

	if (i >= t->rows)
		return;
	c += t->col;
	if (t->add) {
		r.lo = _mm512_add_ps(r.lo, _mm512_maskz_loadu_ps(lo, c));
		r.hi = _mm512_add_ps(r.hi, _mm512_maskz_loadu_ps(hi, c + 16));
	}
	_mm512_mask_storeu_ps(c, lo, r.lo);
	_mm512_mask_storeu_ps(c + 16, hi, r.hi);
}

static void
tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	const struct row zero = { _mm512_setzero_ps(), _mm512_setzero_ps() };
	struct row c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero;
	struct row c6 = zero, c7 = zero, c8 = zero, c9 = zero, c10 = zero, c11 = zero;
	const float *b = t->b;
	int64_t step = t->step;

	for (int64_t s = 0; s < t->segs; s++) {
		int64_t o = t->off[s];
		const float *a0 = a[0] + o, *a1 = a[1] + o, *a2 = a[2] + o, *a3 = a[3] + o;
		const float *a4 = a[4] + o, *a5 = a[5] + o, *a6 = a[6] + o, *a7 = a[7] + o;
		const float *a8 = a[8] + o, *a9 = a[9] + o, *a10 = a[10] + o, *a11 = a[11] + o;
		const float *end = b + t->len * NR;

		for (int64_t x = 0; b < end; x += step, b += NR) {
			__m512 lo = _mm512_load_ps(b), hi = _mm512_load_ps(b + 16);

			c0 = row_fma(c0, a0 + x, lo, hi);
			c1 = row_fma(c1, a1 + x, lo, hi);
			c2 = row_fma(c2, a2 + x, lo, hi);
			c3 = row_fma(c3, a3 + x, lo, hi);
			c4 = row_fma(c4, a4 + x, lo, hi);
			c5 = row_fma(c5, a5 + x, lo, hi);
			c6 = row_fma(c6, a6 + x, lo, hi);
			c7 = row_fma(c7, a7 + x, lo, hi);
			c8 = row_fma(c8, a8 + x, lo, hi);
			c9 = row_fma(c9, a9 + x, lo, hi);
			c10 = row_fma(c10, a10 + x, lo, hi);
			c11 = row_fma(c11, a11 + x, lo, hi);
		}
	}
	row_end(t, 0, c[0], c0);
	row_end(t, 1, c[1], c1);
	row_end(t, 2, c[2], c2);
	row_end(t, 3, c[3], c3);
	row_end(t, 4, c[4], c4);
	row_end(t, 5, c[5], c5);
	row_end(t, 6, c[6], c6);
	row_end(t, 7, c[7], c7);
	row_end(t, 8, c[8], c8);
	row_end(t, 9, c[9], c9);
	row_end(t, 10, c[10], c10);
	row_end(t, 11, c[11], c11);
}

/* One half panel: 16 floats of each of n rows become 16 rows of n columns and zeros. */
static inline void
transpose16(const float *from, int64_t ld, int n, float *to)
{
	const __mmask16 there = mask_of(n < 0 ? 0 : n < 16 ? n : 16);
	const __m512i rows = _mm512_mullo_epi32(_mm512_set1_epi32((int)ld),
	    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

	for (int k = 0; k < 16; k++)
		_mm512_store_ps(to + k * NR, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), there, rows,
		    from + k, sizeof(float)));
}

static void
add4(float *c, int64_t n, const float *a, const float *b, int64_t ldb)
{
	__m512 a0 = _mm512_set1_ps(a[0]), a1 = _mm512_set1_ps(a[1]), a2 = _mm512_set1_ps(a[2]), a3 = _mm512_set1_ps(a[3]);
	const float *b1 = b + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
	int64_t j = 0;

	for (; j + 16 <= n; j += 16) {
		__m512 x = _mm512_fmadd_ps(a0, _mm512_loadu_ps(b + j), _mm512_loadu_ps(c + j));
		x = _mm512_fmadd_ps(a1, _mm512_loadu_ps(b1 + j), x);
		x = _mm512_fmadd_ps(a2, _mm512_loadu_ps(b2 + j), x);
		x = _mm512_fmadd_ps(a3, _mm512_loadu_ps(b3 + j), x);
		_mm512_storeu_ps(c + j, x);
	}
	for (; j < n; j++)
		c[j] = fmaf(a[3], b3[j], fmaf(a[2], b2[j], fmaf(a[1], b1[j], fmaf(a[0], b[j], c[j]))));
}

static void
pack(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	for (int64_t k = 0; k < len; k++, to += NR, from += ld)
		if (n == NR) {
			_mm512_store_ps(to, _mm512_loadu_ps(from));
			_mm512_store_ps(to + 16, _mm512_loadu_ps(from + 16));
		} else {
			for (int j = 0; j < NR; j++)
				to[j] = j < n ? from[j] : 0;
		}
}

static void
pack_transposed(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	/* The gather's indices are 32-bit. */
	int64_t whole = ld <= INT32_MAX / 16 ? len & ~(int64_t)15 : 0;

	for (int64_t k = 0; k < whole; k += 16) {
		transpose16(from + k, ld, n, to + k * NR);
		transpose16(from + 16 * ld + k, ld, n - 16, to + k * NR + 16);
	}
	for (int64_t k = whole; k < len; k++)
		for (int j = 0; j < NR; j++)
			to[k * NR + j] = j < n ? from[j * ld + k] : 0;
}

const struct vq_gemm_micro vq_gemm_avx512 = {
	.mr = MR, .nr = NR, .kc = 256, .tile = tile, .add4 = add4,
	.pack = pack, .pack_transposed = pack_transposed,
};

#ifdef __clang__
#pragma clang attribute pop
#endif
