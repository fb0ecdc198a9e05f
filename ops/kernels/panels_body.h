/*
 * panels_body -- the kernels of panels.h, once
 *
 * Included after rows_body.h, whose exponential it uses, by the same files.
 * Before including: PANELS, the name of the table.
 */
#include "ops/kernels/panels.h"

enum { W = 2 * LANES };

static void
panel_softmax(float *x, float *most, float *sum, float *factor, float scale, int64_t n)
{
	float m[W], s[W] = { 0 };
	int64_t j = 0;

	for (int i = 0; i < W; i++)
		m[i] = -INFINITY;
	for (; j + 4 <= n; j += 4) {
		const float *a = x + j * W, *b = a + W, *c = b + W, *d = c + W;
#pragma omp simd
		for (int i = 0; i < W; i++) {
			float p = a[i] > b[i] ? a[i] : b[i], q = c[i] > d[i] ? c[i] : d[i];
			p = p > q ? p : q;
			m[i] = p > m[i] ? p : m[i];
		}
	}
	for (; j < n; j++)
		for (int i = 0; i < W; i++)
			m[i] = x[j * W + i] > m[i] ? x[j * W + i] : m[i];
#pragma omp simd
	for (int i = 0; i < W; i++) {
		float new = scale * m[i] > most[i] ? scale * m[i] : most[i];
		factor[i] = exp_falling(most[i] - new);
		most[i] = m[i] = new;
	}
	for (j = 0; j < n; j++) {
		float *a = x + j * W;
#pragma omp simd
		for (int i = 0; i < W; i++) {
			float e = exp_falling(scale * a[i] - m[i]);
			a[i] = e;
			s[i] += e;
		}
	}
#pragma omp simd
	for (int i = 0; i < W; i++)
		sum[i] = sum[i] * factor[i] + s[i];
}

static void
panel_weights(float *x, const float *lse, float scale, int64_t n)
{
	for (int64_t j = 0; j < n; j++, x += W) {
#pragma omp simd
		for (int i = 0; i < W; i++)
			x[i] = exp_falling(scale * x[i] - lse[i]);
	}
}

static void
panel_grad(float *a, const float *w, const float *less, float scale, int64_t n)
{
	for (int64_t j = 0; j < n; j++, a += W, w += W) {
#pragma omp simd
		for (int i = 0; i < W; i++)
			a[i] = scale * w[i] * (a[i] - less[i]);
	}
}

static void
panel_hide(float *x, int64_t first, int64_t n)
{
	for (int64_t j = 0; j < n; j++, x += W) {
		int hidden = first + j < W ? (int)(first + j) : W;
#pragma omp simd
		for (int i = 0; i < W; i++)
			x[i] = i < hidden ? -INFINITY : x[i];
	}
}

static void
panel_dots(float *sum, const float *a, const float *b, int64_t n)
{
	float s[W] = { 0 };

	for (int64_t j = 0; j < n; j++, a += W, b += W) {
#pragma omp simd
		for (int i = 0; i < W; i++)
			s[i] += a[i] * b[i];
	}
	memcpy(sum, s, sizeof(s));
}

/* Four at a time: heads are narrow. */
static void
panel_copy(float *to, int64_t ldto, const float *from, int64_t ld, int64_t n, int64_t width)
{
	for (int64_t j = 0; j < n; j++, to += ldto, from += ld) {
		int64_t i = 0;

		for (; i + LANES <= width; i += LANES)
			*(vf *)(to + i) = *(const vf *)(from + i);
		for (; i + 4 <= width; i += 4)
			memcpy(to + i, from + i, 4 * sizeof(*to));
		for (; i < width; i++)
			to[i] = from[i];
	}
}

static void
panel_scale(float *x, const float *factor, int64_t n)
{
	for (int64_t j = 0; j < n; j++, x += W) {
#pragma omp simd
		for (int i = 0; i < W; i++)
			x[i] *= factor[i];
	}
}

const struct vq_panels PANELS = {
	.width = W,
	.softmax = panel_softmax, .weights = panel_weights, .grad = panel_grad, .scale = panel_scale,
	.hide = panel_hide, .dots = panel_dots, .copy = panel_copy,
};
