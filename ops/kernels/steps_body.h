/*
 * steps_body -- the kernels of steps.h, once
 *
 * Included after rows_body.h by rows_portable.c, rows_avx2.c and rows_avx512.c.  Before
 * including: STEPS, the name of the table, and STEP_ROWS, how many rows at once, of two
 * vectors each, the registers hold the sums of (4, 6 or 12).
 */
#include "ops/kernels/steps.h"

enum {
	STEP_WIDE = 2 * LANES,		/* columns at once */
	STEP_DEPTH = 256,		/* of a stretch: 32 KB of a panel, which further rows find in the first-level cache */
	STEP_AHEAD = 128,		/* rows of a panel fetched ahead into the second level */
};

/* Columns of a panel at the right edge. */
static __attribute__((noinline)) void
step_edge(float *c, const float *s, int64_t n, bool add)
{
	for (int64_t j = 0; j < n; j++)
		c[j] = add ? c[j] + s[j] : s[j];
}

INLINE void
step_store(float *c, vf lo, vf hi, int64_t n, bool add)
{
	float part[STEP_WIDE];

	if (n >= STEP_WIDE) {
		if (add) {
			lo += *(vf *)c;
			hi += *(vf *)(c + LANES);
		}
		*(vf *)c = lo;
		*(vf *)(c + LANES) = hi;
		return;
	}
	*(vf *)part = lo;
	*(vf *)(part + LANES) = hi;
	step_edge(c, part, n, add);
}

/* `rows` rows times two vectors of a panel. */
INLINE void
step_tile(int rows, bool ahead, float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, int64_t n, bool add)
{
	vf s[12][2] = { 0 };
	const float *from[12];

#pragma GCC unroll 16
	for (int i = 0; i < rows; i++)
		from[i] = a + i * lda;
	for (int64_t x = 0; x < k; x++, b += VQ_STEP_PANEL) {
		vf lo = *(const vf *)b, hi = *(const vf *)(b + LANES);

		if (ahead) {
			__builtin_prefetch(b + STEP_AHEAD * VQ_STEP_PANEL, 0, 2);
			__builtin_prefetch(b + STEP_AHEAD * VQ_STEP_PANEL + 16, 0, 2);
		}
#pragma GCC unroll 16
		for (int i = 0; i < rows; i++) {
			s[i][0] += from[i][x] * lo;
			s[i][1] += from[i][x] * hi;
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < rows; i++)
		step_store(c + i * ldc, s[i][0], s[i][1], n, add);
}

/* All rows, as many at a time as the registers have room for. */
INLINE void
step_rows(bool ahead, float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const float *b, int64_t k, int64_t n, bool add)
{
	for (int64_t i = 0, rows; i < m; i += rows, c += rows * ldc, a += rows * lda, ahead = false) {
		int64_t left = m - i;

		if (STEP_ROWS >= 12 && left >= 12)
			step_tile((int)(rows = 12), ahead, c, ldc, a, lda, b, k, n, add);
		else if (STEP_ROWS >= 8 && left >= 8)
			step_tile((int)(rows = 8), ahead, c, ldc, a, lda, b, k, n, add);
		else if (STEP_ROWS >= 6 && left >= 6)
			step_tile((int)(rows = 6), ahead, c, ldc, a, lda, b, k, n, add);
		else if (left >= 4)
			step_tile((int)(rows = 4), ahead, c, ldc, a, lda, b, k, n, add);
		else if (left >= 2)
			step_tile((int)(rows = 2), ahead, c, ldc, a, lda, b, k, n, add);
		else
			step_tile((int)(rows = 1), ahead, c, ldc, a, lda, b, k, n, add);
	}
}

static void
step_multiply(float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const float *b, int64_t k, int64_t n)
{
	int64_t parts = (k + STEP_DEPTH - 1) / STEP_DEPTH, part = parts ? (k + parts - 1) / parts : 0;

	for (int64_t i = 0; k == 0 && i < m; i++)
		memset(c + i * ldc, 0, (size_t)n * sizeof(*c));
	for (int64_t x = 0; x < k; x += part) {
		int64_t len = k - x < part ? k - x : part;
		for (int64_t j = 0; j < n; j += STEP_WIDE)
			step_rows(j == 0, c + j, ldc, a + x, lda, m, b + x * VQ_STEP_PANEL + j, len, n - j, x > 0);
	}
}

/* --- one query -------------------------------------------------------------- */

/* `blocks` blocks of positions. */
INLINE void
step_scores(int blocks, float *y, const float *q, const float *keys, int64_t d, float scale)
{
	enum { PER = VQ_STEP_LANES / LANES };
	vf s[2 * 4] = { 0 };

	for (int64_t i = 0; i < d; i++, keys += VQ_STEP_LANES)
#pragma GCC unroll 8
		for (int u = 0; u < blocks * PER; u++)
			s[u] += q[i] * *(const vf *)(keys + u / PER * d * VQ_STEP_LANES + u % PER * LANES);
#pragma GCC unroll 8
	for (int u = 0; u < blocks * PER; u++)
		*(vf *)(y + u * LANES) = scale * s[u];
}

static void
step_all_scores(float *y, const float *q, const float *keys, int64_t d, float scale, int64_t n)
{
	int64_t j = 0;

	for (; j + VQ_STEP_LANES < n; j += 2 * VQ_STEP_LANES)
		step_scores(2, y + j, q, keys + j * d, d, scale);
	if (j < n)
		step_scores(1, y + j, q, keys + j * d, d, scale);
}

/* `wide` vectors of channels: even and odd positions apart, so that one sum need not wait
 * for the other. */
INLINE void
step_channels(int wide, float *y, const float *w, const float *values, int64_t n, int64_t e)
{
	vf s[2][4] = { 0 };
	int64_t i = 0;

	for (; i + 2 <= n; i += 2, values += 2 * e)
#pragma GCC unroll 4
		for (int u = 0; u < wide; u++) {
			s[0][u] += w[i] * *(const vf *)(values + u * LANES);
			s[1][u] += w[i + 1] * *(const vf *)(values + e + u * LANES);
		}
#pragma GCC unroll 4
	for (int u = 0; u < wide; u++) {
		if (i < n)
			s[0][u] += w[i] * *(const vf *)(values + u * LANES);
		*(vf *)(y + u * LANES) = s[0][u] + s[1][u];
	}
}

static void
step_mix(float *y, const float *w, const float *values, int64_t n, int64_t e)
{
	int64_t j = 0;

	for (; j + 4 * LANES <= e; j += 4 * LANES)
		step_channels(4, y + j, w, values + j, n, e);
	for (; j + 2 * LANES <= e; j += 2 * LANES)
		step_channels(2, y + j, w, values + j, n, e);
	for (; j + LANES <= e; j += LANES)
		step_channels(1, y + j, w, values + j, n, e);
	for (; j < e; j++) {
		float sum = 0;
		for (int64_t i = 0; i < n; i++)
			sum += w[i] * values[i * e + j];
		y[j] = sum;
	}
}

const struct vq_steps STEPS = { .multiply = step_multiply, .scores = step_all_scores, .mix = step_mix };
