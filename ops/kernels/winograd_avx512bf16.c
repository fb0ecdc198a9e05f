/*
 * winograd_avx512bf16 -- transforms of winograd.h into words of two numbers of bf16
 *
 * What is read is rounded, if it is not bf16 in memory already, so that it makes no difference where it was; what is
 * made of it is f32, and rounded when it is done.  Rounding takes denormals for zeros.
 */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,prefer-vector-width=512")
#endif
#pragma GCC optimize("O3,no-trapping-math")

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(64), aligned(4), may_alias));

enum { LANES = 16 };

#include "ops/kernels/winograd_sides_body.h"

/* Numbers [c, c + 16) of those at p, as far as there are. */
INLINE vf
pair_first(const void *p, bool half, int64_t c, __mmask16 part)
{
	__m256i x;

	if (half)
		x = _mm256_maskz_loadu_epi16(part, (const uint16_t *)p + c);
	else
		x = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(part, (const float *)p + c));
	return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
}

INLINE __mmask16
pair_part(int64_t n)
{
	return (__mmask16)(n < LANES ? (1u << n) - 1 : 0xffff);
}

/* Lane by lane, x in the low halves. */
INLINE __m512i
pair_zip(vf x, vf y)
{
	__m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x));
	__m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)y));

	return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* The transform at channel c, columns first. */
INLINE void
pair_made(int r, enum winograd_kind kind, vf *to, const void *const *d, bool half, int64_t c, __mmask16 part)
{
	int before = winograd_from(r, 2, kind), after = winograd_to(r, 2, kind);
	vf x[4], y[4], columns[16];

	#pragma GCC unroll 4
	for (int j = 0; j < before; j++) {
		#pragma GCC unroll 4
		for (int i = 0; i < before; i++)
			x[i] = pair_first(d[i * before + j], half, c, part);
		winograd_side(r, 2, kind, y, x);
		#pragma GCC unroll 4
		for (int i = 0; i < after; i++)
			columns[i * before + j] = y[i];
	}
	#pragma GCC unroll 4
	for (int i = 0; i < after; i++)
		winograd_side(r, 2, kind, to + i * after, columns + i * before);
}

INLINE void
pair_pixels(int r, uint16_t *to, int64_t apart, const void *const *d, bool half, int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		__mmask16 part = pair_part(n - c);
		vf y[16];
		pair_made(r, WINOGRAD_PIXELS, y, d, half, c, part);
		#pragma GCC unroll 16
		for (int i = 0; i < (r + 1) * (r + 1); i++)
			_mm256_mask_storeu_epi16(to + i * apart + c, part, (__m256i)_mm512_cvtneps_pbh((__m512)y[i]));
	}
}

INLINE void
pair_zipped(int r, enum winograd_kind kind, float *to, int64_t apart, const void *const *d, bool half, int64_t n)
{
	int from = winograd_from(r, 2, kind);

	for (int64_t c = 0; c < n; c += LANES) {
		__mmask16 part = pair_part(n - c);
		vf y[16], z[16];
		pair_made(r, kind, y, d, half, c, part);
		pair_made(r, kind, z, d + from * from, half, c, part);
		#pragma GCC unroll 16
		for (int i = 0; i < (r + 1) * (r + 1); i++)
			_mm512_mask_storeu_epi32(to + i * apart + c, part, pair_zip(y[i], z[i]));
	}
}

/* For one r. */
#define PAIRS_OF(r) \
static void \
pair_pixels_##r(uint16_t *to, int64_t apart, const void *const *d, bool half, int64_t n) \
{ \
	if (half) \
		pair_pixels(r, to, apart, d, true, n); \
	else \
		pair_pixels(r, to, apart, d, false, n); \
} \
static void \
pair_zip_pixels_##r(float *to, int64_t apart, const void *const *d, bool half, int64_t n) \
{ \
	if (half) \
		pair_zipped(r, WINOGRAD_PIXELS, to, apart, d, true, n); \
	else \
		pair_zipped(r, WINOGRAD_PIXELS, to, apart, d, false, n); \
} \
static void \
pair_zip_spread_##r(float *to, int64_t apart, const void *const *y, bool half, int64_t n) \
{ \
	if (half) \
		pair_zipped(r, WINOGRAD_SPREAD, to, apart, y, true, n); \
	else \
		pair_zipped(r, WINOGRAD_SPREAD, to, apart, y, false, n); \
}

PAIRS_OF(2)
PAIRS_OF(3)

const struct vq_winograd_pairs vq_winograd_avx512bf16[2] = {
	{ .pixels = pair_pixels_2, .zip_pixels = pair_zip_pixels_2, .zip_spread = pair_zip_spread_2 },
	{ .pixels = pair_pixels_3, .zip_pixels = pair_zip_pixels_3, .zip_spread = pair_zip_spread_3 },
};

#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int winograd_avx512bf16_is_empty;	/* a file with nothing in it is not C */
#endif
