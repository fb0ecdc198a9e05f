/*
 * steps_multiply_body -- rows times a panel of 32 columns, of numbers or of words of two bf16
 *
 * Before including: vf, a vector of LANES floats; INLINE; STEP_ROWS, how many rows at once, of
 * two vectors each, the registers hold the sums of; STEP_WORD, how many floats of a row belong
 * to a word of a panel; and step_dot, which adds to a sum their products with a vector of words.
 */
#include <string.h>

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
step_tile(int rows, bool pairs, bool ahead, float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k,
    int64_t n, bool add)
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
			if (pairs) {
				s[i][0] = step_dot(s[i][0], from[i] + x * STEP_WORD, lo);
				s[i][1] = step_dot(s[i][1], from[i] + x * STEP_WORD, hi);
			} else {
				s[i][0] += from[i][x] * lo;
				s[i][1] += from[i][x] * hi;
			}
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < rows; i++)
		step_store(c + i * ldc, s[i][0], s[i][1], n, add);
}

/* All rows, as many at a time as the registers have room for: words that are taken apart need more. */
INLINE void
step_rows(bool pairs, bool ahead, float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const float *b, int64_t k,
    int64_t n, bool add)
{
	for (int64_t i = 0, rows; i < m; i += rows, c += rows * ldc, a += rows * lda, ahead = false) {
		int64_t left = m - i;

		if (STEP_ROWS >= 12 && left >= 12)
			step_tile((int)(rows = 12), pairs, ahead, c, ldc, a, lda, b, k, n, add);
		else if (STEP_ROWS >= 8 && left >= 8)
			step_tile((int)(rows = 8), pairs, ahead, c, ldc, a, lda, b, k, n, add);
		else if (STEP_ROWS >= (pairs ? 8 : 6) && left >= 6)
			step_tile((int)(rows = 6), pairs, ahead, c, ldc, a, lda, b, k, n, add);
		else if (left >= 4)
			step_tile((int)(rows = 4), pairs, ahead, c, ldc, a, lda, b, k, n, add);
		else if (left >= 2)
			step_tile((int)(rows = 2), pairs, ahead, c, ldc, a, lda, b, k, n, add);
		else
			step_tile((int)(rows = 1), pairs, ahead, c, ldc, a, lda, b, k, n, add);
	}
}

/* k numbers, or words, of each row. */
INLINE void
step_sums(bool pairs, float *c, int64_t ldc, const float *a, int64_t lda, int64_t m, const void *b, int64_t k, int64_t n)
{
	int64_t parts = (k + STEP_DEPTH - 1) / STEP_DEPTH, part = parts ? (k + parts - 1) / parts : 0;

	for (int64_t i = 0; k == 0 && i < m; i++)
		memset(c + i * ldc, 0, (size_t)n * sizeof(*c));
	for (int64_t x = 0; x < k; x += part) {
		int64_t len = k - x < part ? k - x : part;
		for (int64_t j = 0; j < n; j += STEP_WIDE)
			step_rows(pairs, j == 0, c + j, ldc, a + (pairs ? x * STEP_WORD : x), lda, m,
			    (const float *)b + x * VQ_STEP_PANEL + j, len, n - j, x > 0);
	}
}
