/*
 * winograd_body -- the kernels of winograd.h, once
 *
 * Included after panels_body.h, whose vectors it uses, by the same files.
 * Before including: WINOGRAD, the name of the table.
 */
#include "ops/kernels/winograd_sides_body.h"

INLINE void
winograd_pixels(int r, float *to, int64_t apart, const float *const *d, int64_t n)
{
	int side = r + 1;

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[16];
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			x[i] = panel_first(d[i] + c, part);
		winograd_both(r, WINOGRAD_PIXELS, side, side, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

INLINE void
winograd_spread(int r, float *to, int64_t apart, const float *const d[4], int64_t n)
{
	int side = r + 1;

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[4], y[16];
		#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			x[i] = panel_first(d[i] + c, part);
		winograd_both(r, WINOGRAD_SPREAD, 2, side, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

INLINE void
winograd_kernel(int r, float *to, int64_t apart, const float *g, int64_t down, int64_t across, int64_t n)
{
	int side = r + 1;

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[9], y[16];
		#pragma GCC unroll 9
		for (int i = 0; i < r * r; i++)
			x[i] = panel_first(g + i / r * down + i % r * across + c, part);
		winograd_both(r, WINOGRAD_KERNEL, r, side, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

INLINE void
winograd_results(int r, float *const to[4], const float *m, int64_t apart, int64_t n)
{
	int side = r + 1;

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[4];
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			x[i] = panel_first(m + i * apart + c, part);
		winograd_both(r, WINOGRAD_RESULTS, side, 2, y, x);
		#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			panel_store_first(to[i] + c, y[i], part);
	}
}

INLINE void
winograd_gradient(int r, float *g, int64_t down, int64_t across, const float *m, int64_t apart, int64_t n)
{
	int side = r + 1;

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[9];
		#pragma GCC unroll 16
		for (int i = 0; i < side * side; i++)
			x[i] = panel_first(m + i * apart + c, part);
		winograd_both(r, WINOGRAD_GRADIENT, side, r, y, x);
		#pragma GCC unroll 9
		for (int i = 0; i < r * r; i++)
			panel_store_first(g + i / r * down + i % r * across + c, y[i], part);
	}
}

/* For one r. */
#define WINOGRAD_OF(r) \
static void \
winograd_pixels_##r(float *to, int64_t apart, const float *const *d, int64_t n) \
{ \
	winograd_pixels(r, to, apart, d, n); \
} \
static void \
winograd_spread_##r(float *to, int64_t apart, const float *const y[4], int64_t n) \
{ \
	winograd_spread(r, to, apart, y, n); \
} \
static void \
winograd_kernel_##r(float *to, int64_t apart, const float *g, int64_t down, int64_t across, int64_t n) \
{ \
	winograd_kernel(r, to, apart, g, down, across, n); \
} \
static void \
winograd_results_##r(float *const y[4], const float *m, int64_t apart, int64_t n) \
{ \
	winograd_results(r, y, m, apart, n); \
} \
static void \
winograd_gradient_##r(float *g, int64_t down, int64_t across, const float *m, int64_t apart, int64_t n) \
{ \
	winograd_gradient(r, g, down, across, m, apart, n); \
}

#define WINOGRAD_ROW(r) { \
	.taps = r, .pixels = winograd_pixels_##r, .spread = winograd_spread_##r, .kernel = winograd_kernel_##r, \
	.results = winograd_results_##r, .gradient = winograd_gradient_##r \
}

WINOGRAD_OF(2)
WINOGRAD_OF(3)

const struct vq_winograd WINOGRAD[2] = { WINOGRAD_ROW(2), WINOGRAD_ROW(3) };
