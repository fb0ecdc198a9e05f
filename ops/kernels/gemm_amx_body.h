/*
 * gemm_amx_body -- tiles of 32 rows times 32 columns of pairs of bf16, by AMX_BF16
 *
 * The processor's own tiles hold 16 rows of 16 words: four of them are the sums, two a stretch
 * of 16 words of the rows of a, two the 16 slivers of the panel that belong to it, in which the
 * words lie as the instruction wants them.  Rows of a that lie evenly apart are loaded where
 * they are; others, and what several runs of k make up, are copied first.
 *
 * Compiled for processors with AVX-512.  Before it stand the operations of tiles, numbered from 0:
 * tile_start() and tile_end() around all others, tile_zero(n), tile_load(n, from, bytes) and
 * tile_store(n, to, bytes) of 16 rows so many bytes apart, tile_dot(sum, a, b).  The tests have
 * them in C (tests/check_amx.c).
 */
#include <string.h>

#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/transpose_avx512.h"

enum { SIDE = 16, MR = 2 * SIDE, NR = 2 * SIDE };
/* Tiles are named by what is written in the instruction. */
#define A0 4
#define A1 5
#define B0 6
#define B1 7

/* Where the k loop stands. */
struct place {
	int64_t run, x;
};

/* `n` words of 16 rows, step apart, to columns of `to`, whose rows are SIDE long. */
static inline void
copy_words(float *to, const float *const *a, int64_t from, int64_t step, int64_t n)
{
	bool beside = true;

	for (int i = 1; i < SIDE; i++)
		beside &= a[i] == a[0] + i;
	if (step != 1 && n == SIDE && beside) {		/* a transposed matrix */
		__m512 r[16], q[16];
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			r[i] = _mm512_loadu_ps(a[0] + from + i * step);
		transpose_words(r, q);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			_mm512_storeu_ps(to + i * SIDE, q[i]);
		return;
	}
	for (int i = 0; i < SIDE; i++)
		if (step == 1 && n == SIDE)
			memcpy(to + i * SIDE, a[i] + from, SIDE * sizeof(*to));
		else
			for (int64_t k = 0; k < n; k++)
				to[i * SIDE + k] = a[i][from + k * step];
}

/* The next words of k of all rows, zeros after the last; returns how many there were. */
static int64_t
take_words(const struct vq_gemm_tile *t, struct place *at, const float *const *a, int halves, float *to)
{
	int64_t n = 0;

	while (n < SIDE && at->run < t->segs) {
		int64_t len = t->len - at->x < SIDE - n ? t->len - at->x : SIDE - n;

		for (int h = 0; h < halves; h++)
			copy_words(to + h * SIDE * SIDE + n, a + h * SIDE, t->off[at->run] + at->x * t->step, t->step, len);
		n += len;
		at->x += len;
		if (at->x == t->len)
			*at = (struct place){ at->run + 1, 0 };
	}
	for (int i = 0; n < SIDE && i < halves * SIDE; i++)
		memset(to + i * SIDE + n, 0, (size_t)(SIDE - n) * sizeof(*to));
	return n;
}

/* Bytes between the rows of a where they are the same for all, else 0. */
static int64_t
even_rows(const struct vq_gemm_tile *t, const float *const *a, int halves)
{
	int64_t apart = a[1] - a[0];

	for (int i = 2; i < halves * SIDE; i++)
		if (a[i] - a[i - 1] != apart)
			return 0;
	return t->step == 1 ? apart * (int64_t)sizeof(float) : 0;
}

static void
tile_end_rows(const struct vq_gemm_tile *t, const float *sum, float *const *c)
{
	for (int i = 0; i < t->rows; i++) {
		float *to = c[i] + t->col;
		const float *from = sum + i * NR;

		for (int j = 0; j < t->cols; j++)
			to[j] = t->add ? to[j] + from[j] : from[j];
	}
}

static void
tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	_Alignas(64) float rows[MR * SIDE], last[SIDE * NR], sum[MR * NR];
	int halves = t->rows > SIDE ? 2 : 1;
	int64_t apart = even_rows(t, a, halves), n;
	const float *b = t->b;

	tile_start();
	tile_zero(0);
	tile_zero(1);
	tile_zero(2);
	tile_zero(3);
	for (struct place at = { 0 }; at.run < t->segs; b += n * NR) {
		if (apart && t->len - at.x >= SIDE) {
			const float *from = a[0] + t->off[at.run] + at.x;
			n = SIDE;
			tile_load(A0, from, apart);
			if (halves == 2)
				tile_load(A1, from + SIDE * apart / (int64_t)sizeof(float), apart);
			at.x += SIDE;
			if (at.x == t->len)
				at = (struct place){ at.run + 1, 0 };
		} else {
			n = take_words(t, &at, a, halves, rows);
			tile_load(A0, rows, SIDE * sizeof(float));
			if (halves == 2)
				tile_load(A1, rows + SIDE * SIDE, SIDE * sizeof(float));
		}
		const float *panel = b;
		if (n < SIDE) {				/* what lies past the panel is no number */
			memcpy(last, b, (size_t)(n * NR) * sizeof(*last));
			memset(last + n * NR, 0, (size_t)((SIDE - n) * NR) * sizeof(*last));
			panel = last;
		}
		tile_load(B0, panel, NR * sizeof(float));
		tile_load(B1, panel + SIDE, NR * sizeof(float));
		tile_dot(0, A0, B0);
		tile_dot(1, A0, B1);
		if (halves == 2) {
			tile_dot(2, A1, B0);
			tile_dot(3, A1, B1);
		}
	}
	tile_store(0, sum, NR * sizeof(float));
	tile_store(1, sum + SIDE, NR * sizeof(float));
	tile_store(2, sum + SIDE * NR, NR * sizeof(float));
	tile_store(3, sum + SIDE * NR + SIDE, NR * sizeof(float));
	tile_end();
	tile_end_rows(t, sum, c);
}
