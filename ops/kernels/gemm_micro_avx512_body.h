/*
 * gemm_micro_avx512_body -- tiles of 12 rows times 32 columns
 *
 * 24 accumulators, two vectors of b and the broadcasts; twelve row pointers are
 * what the general registers hold.  Compiled once for words that are f32 and once for
 * pairs of bf16, PER numbers each; the file that includes it says what the two
 * functions are that differ.
 */
#include <immintrin.h>

#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/transpose_avx512.h"

/* sum + x * y, of each word the products of its numbers. */
static inline __m512 madd(__m512 x, __m512 y, __m512 sum);
/* 16 words of a row of which n numbers, at most 16 PER, are there: zeros after them. */
static inline __m512 words(const float *from, int n);


enum { MR = 12, NR = 32 };

/* The lowest n bits, 0 <= n <= 16. */
static inline __mmask16
mask_of(int n)
{
	return (__mmask16)((1u << n) - 1);
}

struct row {
	__m512 lo, hi;
};

static inline __attribute__((always_inline)) struct row
row_add(struct row c, const float *a, __m512 lo, __m512 hi)
{
	__m512 x = _mm512_set1_ps(*a);

	c.lo = madd(x, lo, c.lo);
	c.hi = madd(x, hi, c.hi);
	return c;
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

static inline __attribute__((always_inline)) void
half_end(const struct vq_gemm_tile *t, int i, float *c, __m512 r)
{
	__mmask16 there = mask_of(t->cols);

	if (i >= t->rows)
		return;
	if (t->add)
		r = _mm512_add_ps(r, _mm512_maskz_loadu_ps(there, c + t->col));
	_mm512_mask_storeu_ps(c + t->col, there, r);
}

/* At most 16 columns: the same sums, without the half that nobody asks for. */
static void
half_tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	__m512 r[MR];
	const float *b = t->b;
	int64_t step = t->step;

	#pragma GCC unroll 12
	for (int i = 0; i < MR; i++)
		r[i] = _mm512_setzero_ps();
	for (int64_t s = 0; s < t->segs; s++) {
		int64_t o = t->off[s];
		const float *a0 = a[0] + o, *a1 = a[1] + o, *a2 = a[2] + o, *a3 = a[3] + o;
		const float *a4 = a[4] + o, *a5 = a[5] + o, *a6 = a[6] + o, *a7 = a[7] + o;
		const float *a8 = a[8] + o, *a9 = a[9] + o, *a10 = a[10] + o, *a11 = a[11] + o;
		const float *end = b + t->len * NR;

		for (int64_t x = 0; b < end; x += step, b += NR) {
			__m512 v = _mm512_load_ps(b);

			r[0] = madd(_mm512_set1_ps(a0[x]), v, r[0]);
			r[1] = madd(_mm512_set1_ps(a1[x]), v, r[1]);
			r[2] = madd(_mm512_set1_ps(a2[x]), v, r[2]);
			r[3] = madd(_mm512_set1_ps(a3[x]), v, r[3]);
			r[4] = madd(_mm512_set1_ps(a4[x]), v, r[4]);
			r[5] = madd(_mm512_set1_ps(a5[x]), v, r[5]);
			r[6] = madd(_mm512_set1_ps(a6[x]), v, r[6]);
			r[7] = madd(_mm512_set1_ps(a7[x]), v, r[7]);
			r[8] = madd(_mm512_set1_ps(a8[x]), v, r[8]);
			r[9] = madd(_mm512_set1_ps(a9[x]), v, r[9]);
			r[10] = madd(_mm512_set1_ps(a10[x]), v, r[10]);
			r[11] = madd(_mm512_set1_ps(a11[x]), v, r[11]);
		}
	}
	#pragma GCC unroll 12
	for (int i = 0; i < MR; i++)
		half_end(t, i, c[i], r[i]);
}

static void
tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	const struct row zero = { _mm512_setzero_ps(), _mm512_setzero_ps() };
	struct row c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero;
	struct row c6 = zero, c7 = zero, c8 = zero, c9 = zero, c10 = zero, c11 = zero;
	const float *b = t->b;
	int64_t step = t->step;

	if (t->cols <= 16) {
		half_tile(t, a, c);
		return;
	}
	for (int64_t s = 0; s < t->segs; s++) {
		int64_t o = t->off[s];
		const float *a0 = a[0] + o, *a1 = a[1] + o, *a2 = a[2] + o, *a3 = a[3] + o;
		const float *a4 = a[4] + o, *a5 = a[5] + o, *a6 = a[6] + o, *a7 = a[7] + o;
		const float *a8 = a[8] + o, *a9 = a[9] + o, *a10 = a[10] + o, *a11 = a[11] + o;
		const float *end = b + t->len * NR;

		for (int64_t x = 0; b < end; x += step, b += NR) {
			__m512 lo = _mm512_load_ps(b), hi = _mm512_load_ps(b + 16);

			c0 = row_add(c0, a0 + x, lo, hi);
			c1 = row_add(c1, a1 + x, lo, hi);
			c2 = row_add(c2, a2 + x, lo, hi);
			c3 = row_add(c3, a3 + x, lo, hi);
			c4 = row_add(c4, a4 + x, lo, hi);
			c5 = row_add(c5, a5 + x, lo, hi);
			c6 = row_add(c6, a6 + x, lo, hi);
			c7 = row_add(c7, a7 + x, lo, hi);
			c8 = row_add(c8, a8 + x, lo, hi);
			c9 = row_add(c9, a9 + x, lo, hi);
			c10 = row_add(c10, a10 + x, lo, hi);
			c11 = row_add(c11, a11 + x, lo, hi);
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

/* One half panel: len numbers (at most 16 words) of each of n rows become as many words of n
 * columns and zeros. */
static inline __attribute__((always_inline)) void
transpose16(const float *from, int64_t ld, int n, int len, float *to)
{
	__m512 r[16], q[16];

	#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		r[i] = i < n ? words(from + i * ld, len) : _mm512_setzero_ps();
	transpose_words(r, q);
	#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		if (i * PER < len)
			_mm512_store_ps(to + i * NR, q[i]);
}

static void
pack_transposed(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	int64_t step = 16 * PER, whole = len - len % step;

	for (int64_t k = 0; k < whole; k += step, to += 16 * NR) {
		transpose16(from + k, ld, n, (int)step, to);
		transpose16(from + 16 * ld + k, ld, n - 16, (int)step, to + 16);
	}
	if (whole == len)
		return;
	transpose16(from + whole, ld, n, (int)(len - whole), to);
	transpose16(from + 16 * ld + whole, ld, n - 16, (int)(len - whole), to + 16);
}
