/*
 * steps_body -- the kernels of steps.h, once
 *
 * Included after rows_body.h by rows_portable.c, rows_avx2.c and rows_avx512.c.  Before
 * including: STEPS, the name of the table, and STEP_ROWS, how many rows at once, of two
 * vectors each, the registers hold the sums of (4, 6 or 12).
 */
#include "ops/kernels/steps.h"

/* Where there is no instruction for pairs, rows are numbers that were rounded, and a word of a
 * panel is taken apart. */
enum { STEP_WORD = 2 };

INLINE vf
step_dot(vf s, const float *a, vf b)
{
	s += a[0] * (vf)((vi)b << 16);
	return s + a[1] * (vf)((vi)b & (int32_t)0xffff0000);
}

#include "ops/kernels/steps_multiply_body.h"

static void
step_multiply(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const float *b, int64_t k, int64_t n)
{
	step_sums(false, c, ldc, a, lda, m, b, k, n);
}

static void
step_multiply_pairs(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const uint16_t *b, int64_t pairs, int64_t n)
{
	step_sums(true, c, ldc, a, lda, m, b, pairs, n);
}

/* --- one query -------------------------------------------------------------- */

typedef uint16_t step_half __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
typedef uint32_t step_bits __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

/* A vector of numbers from element i on: f32, or bf16 when half. */
INLINE vf
step_load(bool half, const void *from, int64_t i)
{
	if (half)
		return (vf)(__builtin_convertvector(*(const step_half *)((const uint16_t *)from + i), step_bits) << 16);
	return *(const vf *)((const float *)from + i);
}

/* `blocks` blocks of positions; the first key is element `at`. */
INLINE void
step_scores(int blocks, bool half, float *y, const float *q, const void *keys, int64_t at, int64_t d, float scale)
{
	enum { PER = VQ_STEP_LANES / LANES };
	vf s[2 * 4] = { 0 };

	for (int64_t i = 0; i < d; i++, at += VQ_STEP_LANES)
#pragma GCC unroll 8
		for (int u = 0; u < blocks * PER; u++)
			s[u] += q[i] * step_load(half, keys, at + u / PER * d * VQ_STEP_LANES + u % PER * LANES);
#pragma GCC unroll 8
	for (int u = 0; u < blocks * PER; u++)
		*(vf *)(y + u * LANES) = scale * s[u];
}

INLINE void
step_all_scores(bool half, float *y, const float *q, const void *keys, int64_t d, float scale, int64_t n)
{
	int64_t j = 0;

	for (; j + VQ_STEP_LANES < n; j += 2 * VQ_STEP_LANES)
		step_scores(2, half, y + j, q, keys, j * d, d, scale);
	if (j < n)
		step_scores(1, half, y + j, q, keys, j * d, d, scale);
}

static void
scores_f32(float *y, const float *q, const float *keys, int64_t d, float scale, int64_t n)
{
	step_all_scores(false, y, q, keys, d, scale, n);
}

static void
scores_bf16(float *y, const float *q, const uint16_t *keys, int64_t d, float scale, int64_t n)
{
	step_all_scores(true, y, q, keys, d, scale, n);
}

/* `wide` vectors of channels from channel j on: even and odd positions apart, so that one sum
 * need not wait for the other. */
INLINE void
step_channels(int wide, bool half, float *y, const float *w, const void *values, int64_t j, int64_t n, int64_t e)
{
	vf s[2][4] = { 0 };
	int64_t i = 0, at = j;

	for (; i + 2 <= n; i += 2, at += 2 * e)
#pragma GCC unroll 4
		for (int u = 0; u < wide; u++) {
			s[0][u] += w[i] * step_load(half, values, at + u * LANES);
			s[1][u] += w[i + 1] * step_load(half, values, at + e + u * LANES);
		}
#pragma GCC unroll 4
	for (int u = 0; u < wide; u++) {
		if (i < n)
			s[0][u] += w[i] * step_load(half, values, at + u * LANES);
		*(vf *)(y + j + u * LANES) = s[0][u] + s[1][u];
	}
}

INLINE float
step_element(bool half, const void *from, int64_t i)
{
	union { uint32_t bits; float x; } one;

	if (!half)
		return ((const float *)from)[i];
	one.bits = (uint32_t)((const uint16_t *)from)[i] << 16;
	return one.x;
}

INLINE void
step_mix(bool half, float *y, const float *w, const void *values, int64_t n, int64_t e)
{
	int64_t j = 0;

	for (; j + 4 * LANES <= e; j += 4 * LANES)
		step_channels(4, half, y, w, values, j, n, e);
	for (; j + 2 * LANES <= e; j += 2 * LANES)
		step_channels(2, half, y, w, values, j, n, e);
	for (; j + LANES <= e; j += LANES)
		step_channels(1, half, y, w, values, j, n, e);
	for (; j < e; j++) {
		float sum = 0;
		for (int64_t i = 0; i < n; i++)
			sum += w[i] * step_element(half, values, i * e + j);
		y[j] = sum;
	}
}

static void
mix_f32(float *y, const float *w, const float *values, int64_t n, int64_t e)
{
	step_mix(false, y, w, values, n, e);
}

static void
mix_bf16(float *y, const float *w, const uint16_t *values, int64_t n, int64_t e)
{
	step_mix(true, y, w, values, n, e);
}

const struct vq_steps STEPS = {
	.multiply = step_multiply, .multiply_pairs = step_multiply_pairs,
	.scores = scores_f32, .scores_bf16 = scores_bf16, .mix = mix_f32, .mix_bf16 = mix_bf16,
};
