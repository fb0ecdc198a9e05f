/*
 * gemm_micro_portable -- tiles of 4 rows times 8 columns, in the compiler's own vectors
 *
 * Eight accumulators of four floats fit the registers of any machine with 128-bit
 * vectors; elsewhere the compiler splits them.
 */
#include <string.h>

#include "ops/kernels/gemm_micro.h"

enum { MR = 4, NR = 8 };

typedef float f32x4 __attribute__((vector_size(16)));

struct row {
	f32x4 lo, hi;
};

static inline __attribute__((always_inline)) struct row
row_fma(struct row c, float a, f32x4 lo, f32x4 hi)
{
	c.lo += a * lo;
	c.hi += a * hi;
	return c;
}

static inline void
row_end(const struct vq_gemm_tile *t, int i, float *c, struct row r)
{
	float x[NR], *to;

	if (i >= t->rows)	/* c is nothing then */
		return;
	to = c + t->col;
	memcpy(x, &r.lo, sizeof(r.lo));
	memcpy(x + 4, &r.hi, sizeof(r.hi));
	for (int j = 0; j < t->cols; j++)
		to[j] = t->add ? to[j] + x[j] : x[j];
}

static void
tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	struct row c0 = { 0 }, c1 = { 0 }, c2 = { 0 }, c3 = { 0 };
	const float *b = t->b;
	int64_t step = t->step;

	for (int64_t s = 0; s < t->segs; s++) {
		const float *a0 = a[0] + t->off[s], *a1 = a[1] + t->off[s];
		const float *a2 = a[2] + t->off[s], *a3 = a[3] + t->off[s];
		const float *end = b + t->len * NR;

		for (int64_t x = 0; b < end; x += step, b += NR) {
			f32x4 lo, hi;

			memcpy(&lo, b, sizeof(lo));
			memcpy(&hi, b + 4, sizeof(hi));
			c0 = row_fma(c0, a0[x], lo, hi);
			c1 = row_fma(c1, a1[x], lo, hi);
			c2 = row_fma(c2, a2[x], lo, hi);
			c3 = row_fma(c3, a3[x], lo, hi);
		}
	}
	row_end(t, 0, c[0], c0);
	row_end(t, 1, c[1], c1);
	row_end(t, 2, c[2], c2);
	row_end(t, 3, c[3], c3);
}

static inline f32x4
four(const float *x)
{
	f32x4 v;

	memcpy(&v, x, sizeof(v));
	return v;
}

static void
add4_row(float *c, int64_t n, const float *a, const float *b, int64_t ldb)
{
	const float *b1 = b + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
	int64_t j = 0;

	for (; j + 4 <= n; j += 4) {
		f32x4 x = four(c + j) + a[0] * four(b + j) + a[1] * four(b1 + j) + a[2] * four(b2 + j) + a[3] * four(b3 + j);
		memcpy(c + j, &x, sizeof(x));
	}
	for (; j < n; j++)
		c[j] = c[j] + a[0] * b[j] + a[1] * b1[j] + a[2] * b2[j] + a[3] * b3[j];
}

static void
add4(float *c, int64_t ldc, int64_t m, int64_t n, const float *a, int64_t lda, const float *b, int64_t ldb)
{
	for (int64_t i = 0; i < m; i++)
		add4_row(c + i * ldc, n, a + i * lda, b, ldb);
}

static void
pack(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	for (int64_t k = 0; k < len; k++, to += NR, from += ld)
		if (n == NR) {
			memcpy(to, from, NR * sizeof(*to));
		} else {
			for (int j = 0; j < NR; j++)
				to[j] = j < n ? from[j] : 0;
		}
}

static void
pack_transposed(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	for (int64_t k = 0; k < len; k++)
		for (int j = 0; j < NR; j++)
			to[k * NR + j] = j < n ? from[j * ld + k] : 0;
}

const struct vq_gemm_micro vq_gemm_portable = {
	.mr = MR, .nr = NR, .per = 1, .kc = 512, .tile = tile, .add4 = add4,
	.pack = pack, .pack_transposed = pack_transposed,
};

#define ROUNDED vq_gemm_portable_rounded
#define KC 512
#include "ops/kernels/gemm_round_body.h"
