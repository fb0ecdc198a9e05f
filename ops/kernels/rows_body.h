/*
 * rows_body -- the kernels of rows.h, once
 *
 * Included by rows_portable.c, rows_avx2.c and rows_avx512.c, each after its own
 * target pragma.  Before including: VECTOR_BYTES, the width of a register, and
 * TABLE, the name of the table.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/rows.h"

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

enum { LANES = VECTOR_BYTES / 4, CHAINS = 4, BLOCK = 2048, COLUMNS = 512, COLUMN_ROWS = VQ_ROWS_COLUMN };

/* --- sums of one row ------------------------------------------------------ */

enum sum_kind { SUM, SUM_PRODUCT, SUM_SQUARE_ABOUT };

INLINE vf
term(enum sum_kind kind, const float *x, const float *y, float about)
{
	vf v = *(const vf *)x;

	if (kind == SUM_PRODUCT)
		return v * *(const vf *)y;
	if (kind == SUM_SQUARE_ABOUT)
		return (v - about) * (v - about);
	return v;
}

/* Four chains of vectors in f32 over a block, blocks in double. */
INLINE double
row_sum(enum sum_kind kind, const float *x, const float *y, float about, int64_t n)
{
	double total = 0;

	for (int64_t b = 0; b < n; b += BLOCK) {
		int64_t end = n - b < BLOCK ? n : b + BLOCK, i = b;
		vf acc[CHAINS] = { 0 };
		float lane[LANES], rest = 0;

		for (; i + CHAINS * LANES <= end; i += CHAINS * LANES)
			for (int j = 0; j < CHAINS; j++)
				acc[j] += term(kind, x + i + j * LANES, y + i + j * LANES, about);
		for (; i + LANES <= end; i += LANES)
			acc[0] += term(kind, x + i, y + i, about);
		for (; i < end; i++)
			rest += kind == SUM ? x[i] : kind == SUM_PRODUCT ? x[i] * y[i]
			    : (x[i] - about) * (x[i] - about);
		acc[0] = (acc[0] + acc[1]) + (acc[2] + acc[3]);
		memcpy(lane, &acc[0], sizeof(lane));
		for (int w = LANES / 2; w > 0; w /= 2)
			for (int j = 0; j < w; j++)
				lane[j] += lane[j + w];
		total += (double)lane[0] + rest;
	}
	return total;
}

/* --- softmax -------------------------------------------------------------- */

/* e^x for x <= 0 (a little above is fine); 0 where e^x is below the normal numbers.
 * Taylor's polynomial to degree 7 is within rounding on |r| <= ln 2 / 2. */
INLINE float
exp_falling(float x)
{
	const float rounder = 12582912.0f;		/* 1.5 * 2^23: the integer ends in the low bits */
	float t = x * 1.44269504f + rounder, k = t - rounder;
	float r = (x - k * 0.693145751953125f) - k * 1.42860677e-06f;
	float p = 1.0f / 5040;
	union { float f; uint32_t u; } bits = { .f = t }, scale;

	p = p * r + 1.0f / 720;
	p = p * r + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	scale.u = (bits.u - 0x4b400000u + 127u) << 23;
	/* NaN fails the comparison and stays. */
	return x < -87.0f ? 0.0f : p * scale.f;
}

/* NaN in the row need not win here: it comes back in the sum. */
INLINE float
row_max(const float *x, int64_t n)
{
	float m = -INFINITY;

#pragma omp simd reduction(max : m)
	for (int64_t i = 0; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

INLINE float
row_exp_sum(const float *x, float m, int64_t n)
{
	float s = 0;

#pragma omp simd reduction(+ : s)
	for (int64_t i = 0; i < n; i++)
		s += exp_falling(x[i] - m);
	return s;
}

static void
softmax(float *y, const float *x, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, x += n, y += n) {
		float m = row_max(x, n), s = 0;

#pragma omp simd reduction(+ : s)
		for (int64_t i = 0; i < n; i++) {
			float e = exp_falling(x[i] - m);
			y[i] = e;
			s += e;
		}
		s = 1.0f / s;
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			y[i] *= s;
	}
}

static void
logsumexp(float *y, const float *x, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, x += n) {
		float m = row_max(x, n);

		/* All -inf: the logarithm of 0, as the C library has it. */
		y[r] = m == -INFINITY ? row_exp_sum(x, 0, n) + m : m + logf(row_exp_sum(x, m, n));
	}
}

static void
log_softmax(float *y, const float *x, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, x += n, y += n) {
		float m = row_max(x, n), l = logf(row_exp_sum(x, m, n));

		/* m first: x - m is exact near the maximum, m + l would lose l. */
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			y[i] = (x[i] - m) - l;
	}
}

static void
softmax_grad(float *dx, const float *y, const float *g, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, dx += n, y += n, g += n) {
		float s = (float)row_sum(SUM_PRODUCT, g, y, 0, n);

#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			dx[i] = y[i] * (g[i] - s);
	}
}

static void
log_softmax_grad(float *dx, const float *y, const float *g, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, dx += n, y += n, g += n) {
		float s = (float)row_sum(SUM, g, g, 0, n);

#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			dx[i] = g[i] - exp_falling(y[i]) * s;
	}
}

static void
softmax_less(float *y, const float *x, float lse, float less, float scale, int64_t n)
{
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		y[i] = scale * (exp_falling(x[i] - lse) - less);
}

/* --- norms of rows -------------------------------------------------------- */

static void
norm(float *y, float *mean, float *variance, const float *x, float eps, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, x += n, y += n) {
		float m = (float)(row_sum(SUM, x, x, 0, n) / (double)n);
		float v = (float)(row_sum(SUM_SQUARE_ABOUT, x, x, m, n) / (double)n);
		float s = 1.0f / sqrtf(v + eps);

		mean[r] = m;
		variance[r] = v;
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			y[i] = (x[i] - m) * s;
	}
}

static void
norm_grad(float *dx, const float *y, const float *variance, const float *g, float eps,
    int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, dx += n, y += n, g += n) {
		float mg = (float)(row_sum(SUM, g, g, 0, n) / (double)n);
		float mgy = (float)(row_sum(SUM_PRODUCT, g, y, 0, n) / (double)n);
		float s = 1.0f / sqrtf(variance[r] + eps);

#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			dx[i] = s * (g[i] - mg - y[i] * mgy);
	}
}

static void
norm_affine(float *y, float *mean, float *variance, const float *x, const float *scale, const float *shift,
    float eps, int64_t n)
{
	float m = (float)(row_sum(SUM, x, x, 0, n) / (double)n);
	float v = (float)(row_sum(SUM_SQUARE_ABOUT, x, x, m, n) / (double)n);
	float s = 1.0f / sqrtf(v + eps);

	*mean = m;
	*variance = v;
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		y[i] = (x[i] - m) * s * scale[i] + shift[i];
}

static void
norm_affine_grad(float *dx, float *dscale, float *dshift, const float *x, const float *scale, float mean, float r,
    const float *g, int64_t n)
{
	float sum = 0, along = 0;

#pragma omp simd reduction(+ : sum, along)
	for (int64_t i = 0; i < n; i++) {
		float s = g[i] * scale[i], y = (x[i] - mean) * r;
		sum += s;
		along += s * y;
		dscale[i] += g[i] * y;
		dshift[i] += g[i];
	}
	sum /= (float)n;
	along /= (float)n;
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		dx[i] = r * (g[i] * scale[i] - sum - (x[i] - mean) * r * along);
}

static void
rms(float *y, float *mean, const float *x, float eps, int64_t n)
{
	float m = (float)(row_sum(SUM_PRODUCT, x, x, 0, n) / (double)n), s = 1.0f / sqrtf(m + eps);

	*mean = m;
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i] * s;
}

static void
rms_grad(float *dx, const float *y, float mean, const float *g, float eps, int64_t n)
{
	float mgy = (float)(row_sum(SUM_PRODUCT, g, y, 0, n) / (double)n), s = 1.0f / sqrtf(mean + eps);

#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		dx[i] = s * (g[i] - y[i] * mgy);
}

/* --- columns -------------------------------------------------------------- */

/* Adds to s and q the sums of the block's rows: from row r0, columns [c0, c0 + cols). */
INLINE void
column_block(bool pair, double *s, double *q, const float *a, const float *b, int64_t n, int64_t w,
    int64_t r0, int64_t c0, int64_t cols)
{
	float fs[COLUMNS] = { 0 }, fq[COLUMNS] = { 0 };

	for (int64_t r = r0; r < r0 + COLUMN_ROWS; r++) {
		int64_t at = r * w + c0, m = n - at < cols ? n - at : cols;
		const float *x = a + at, *y = pair ? b + at : b + c0;

		if (m <= 0)
			break;
#pragma omp simd
		for (int64_t j = 0; j < m; j++) {
			float d = pair ? x[j] : x[j] - y[j];
			fs[j] += d;
			fq[j] += d * (pair ? y[j] : d);
		}
	}
	for (int64_t j = 0; j < cols; j++) {
		s[c0 + j] += (double)fs[j];
		q[c0 + j] += (double)fq[j];
	}
}

/* f32 over a few rows, double above. */
INLINE void
column_sums(bool pair, double *s, double *q, const float *a, const float *b, int64_t n, int64_t w)
{
	for (int64_t r = 0; r * w < n; r += COLUMN_ROWS)
		for (int64_t c = 0; c < w; c += COLUMNS)
			column_block(pair, s, q, a, b, n, w, r, c, w - c < COLUMNS ? w - c : COLUMNS);
}

static void
moments(double *s, double *q, const float *x, const float *shift, int64_t n, int64_t w)
{
	column_sums(false, s, q, x, shift, n, w);
}

static void
pair_sums(double *s, double *q, const float *g, const float *y, int64_t n, int64_t w)
{
	column_sums(true, s, q, g, y, n, w);
}

static void
center(float *y, const float *x, const float *mean, const float *r, int64_t n, int64_t w)
{
	for (int64_t i = 0; i < n; i += w) {
		int64_t m = n - i < w ? n - i : w;

#pragma omp simd
		for (int64_t j = 0; j < m; j++)
			y[i + j] = (x[i + j] - mean[j]) * r[j];
	}
}

static void
center_grad(float *dx, const float *g, const float *y, const float *r,
    const float *mg, const float *mgy, int64_t n, int64_t w)
{
	for (int64_t i = 0; i < n; i += w) {
		int64_t m = n - i < w ? n - i : w;

#pragma omp simd
		for (int64_t j = 0; j < m; j++)
			dx[i + j] = r[j] * (g[i + j] - mg[j] - y[i + j] * mgy[j]);
	}
}

/* --- optimizers ----------------------------------------------------------- */

static void
adam(const struct vq_rows_adam *opt, const float *const in[4], float *const out[3], int64_t n)
{
	const struct vq_rows_adam o = *opt;
	const float *p = in[0], *grad = in[1], *m = in[2], *v = in[3];
	float *p1 = out[0], *m1 = out[1], *v1 = out[2];

#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		float g = grad[i] + o.decay * p[i];
		float a = o.beta1 * m[i] + o.fresh1 * g;
		float b = o.beta2 * v[i] + o.fresh2 * (g * g);
		float next = o.keep * p[i] - o.rate * a / (sqrtf(b) * o.root + o.eps);
		p1[i] = next;
		m1[i] = a;
		v1[i] = b;
	}
}

static void
sgd(const struct vq_rows_sgd *opt, const float *const in[3], float *const out[2], int64_t n)
{
	const struct vq_rows_sgd o = *opt;
	const float *p = in[0], *grad = in[1], *v = in[2];
	float *p1 = out[0], *v1 = out[1];
	/* The step is lr (a g + b velocity). */
	float a = o.nesterov ? 1.0f : 0.0f, b = o.nesterov ? o.momentum : 1.0f;

#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		float g = grad[i] + o.decay * p[i];
		float u = o.momentum * v[i] + g;
		p1[i] = p[i] - o.lr * (a * g + b * u);
		v1[i] = u;
	}
}

/* --- dropout -------------------------------------------------------------- */

/* The selection is written as a mask: as a branch it would be a coin toss. */
static void
keep(float *y, const float *x, const uint16_t *bits, uint32_t limit, float scale, int64_t n)
{
#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		union { float f; uint32_t u; } v = { .f = x[i] * scale };
		v.u &= bits[i] >= limit ? ~0u : 0u;
		y[i] = v.f;
	}
}

/* --- nearest -------------------------------------------------------------- */

/* Written out in vectors: a compiler makes branches of the selections, and they
 * are never the same twice. */
static void
take_less(float *best, int32_t *at, const float *score, const float *norm,
    int32_t mark, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r++, best += n, at += n, score += n) {
		int64_t j = 0;

		for (; j + LANES <= n; j += LANES) {
			vf s = *(const vf *)(score + j) + *(const vf *)(norm + j), b = *(vf *)(best + j);
			vi less = (vi)(s < b), a = *(vi *)(at + j);

			*(vi *)(at + j) = (less & mark) | (~less & a);
			*(vf *)(best + j) = (vf)((less & (vi)s) | (~less & (vi)b));
		}
		for (; j < n; j++)
			if (score[j] + norm[j] < best[j]) {
				best[j] = score[j] + norm[j];
				at[j] = mark;
			}
	}
}

/* --- windows -------------------------------------------------------------- */

static void
largest(float *y, const float *x, int64_t h, int64_t w, int64_t line, int64_t n)
{
	int64_t c = 0;

	for (; c + LANES <= n; c += LANES) {
		vf best = *(const vf *)(x + c);

		for (int64_t k = 0; k < h; k++)
			for (int64_t i = 0; i < w; i++) {
				vf v = *(const vf *)(x + c + k * line + i * n);
				vi more = (vi)(v > best) | (vi)(v != v);
				best = (vf)((more & (vi)v) | (~more & (vi)best));
			}
		*(vf *)(y + c) = best;
	}
	for (; c < n; c++) {
		y[c] = x[c];
		for (int64_t k = 0; k < h; k++)
			for (int64_t i = 0; i < w; i++) {
				float v = x[c + k * line + i * n];
				y[c] = v > y[c] || v != v ? v : y[c];
			}
	}
}

/* So many channels of one window: the pixel that is largest, and then g for it. */
INLINE void
put_largest_lanes(float *to, const float *x, const float *g, int64_t h, int64_t w, int64_t line, bool add, int64_t n)
{
	vf best = *(const vf *)x, zero = { 0 };
	vi which = { 0 };
	int32_t k = 0;

	for (int64_t y = 0; y < h; y++)
		for (int64_t i = 0; i < w; i++, k++) {
			vf v = *(const vf *)(x + y * line + i * n);
			vi more = (vi)(v > best) | ((vi)(v != v) & (vi)(best == best));

			best = (vf)((more & (vi)v) | (~more & (vi)best));
			which = (more & k) | (~more & which);
		}
	k = 0;
	for (int64_t y = 0; y < h; y++)
		for (int64_t i = 0; i < w; i++, k++) {
			vf *p = (vf *)(to + y * line + i * n);

			*p = (add ? *p : zero) + (vf)((vi)(which == k) & *(const vi *)g);
		}
}

static void
put_largest(float *to, const float *x, const float *g, int64_t h, int64_t w, int64_t line, bool add, int64_t n)
{
	int64_t c = 0;

	for (; c + LANES <= n; c += LANES)
		put_largest_lanes(to + c, x + c, g + c, h, w, line, add, n);
	for (; c < n; c++) {
		const float *best = x + c;

		for (int64_t k = 0; k < h * w; k++) {
			const float *v = x + k / w * line + k % w * n + c;

			if (*v > *best || (*v != *v && *best == *best))
				best = v;
			to[v - x] = add ? to[v - x] : 0;
		}
		to[best - x] += g[c];
	}
}

const struct vq_rows TABLE = {
	.softmax = softmax, .log_softmax = log_softmax, .logsumexp = logsumexp,
	.softmax_grad = softmax_grad, .log_softmax_grad = log_softmax_grad,
	.softmax_less = softmax_less,
	.norm = norm, .norm_grad = norm_grad, .norm_affine = norm_affine, .norm_affine_grad = norm_affine_grad,
	.rms = rms, .rms_grad = rms_grad,
	.moments = moments, .pair_sums = pair_sums, .center = center, .center_grad = center_grad,
	.adam = adam, .sgd = sgd, .keep = keep,
	.take_less = take_less,
	.largest = largest, .put_largest = put_largest,
};
