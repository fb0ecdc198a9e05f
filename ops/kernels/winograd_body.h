/*
 * winograd_body -- the kernels of winograd.h, once
 *
 * Included after panels_body.h, whose vectors it uses, by the same files.
 * Before including: WINOGRAD, the name of the table.
 */
#include "ops/kernels/winograd.h"

/* What is done to one side; r is a constant wherever this is inlined. */
enum winograd_kind { WINOGRAD_PIXELS, WINOGRAD_SPREAD, WINOGRAD_KERNEL, WINOGRAD_RESULTS, WINOGRAD_GRADIENT };

INLINE void
winograd_side_of_two(enum winograd_kind kind, vf *y, const vf *x)
{
	switch (kind) {
	case WINOGRAD_PIXELS:
		y[0] = x[0] - x[1];
		y[1] = x[1];
		y[2] = x[2] - x[1];
		break;
	case WINOGRAD_SPREAD:
	case WINOGRAD_KERNEL:
		y[0] = x[0];
		y[1] = x[0] + x[1];
		y[2] = x[1];
		break;
	case WINOGRAD_RESULTS:
	case WINOGRAD_GRADIENT:
		y[0] = x[0] + x[1];
		y[1] = x[1] + x[2];
		break;
	}
}

INLINE void
winograd_side_of_three(enum winograd_kind kind, vf *y, const vf *x)
{
	vf ends, middle;

	switch (kind) {
	case WINOGRAD_PIXELS:
		y[0] = x[0] - x[2];
		y[1] = x[1] + x[2];
		y[2] = x[2] - x[1];
		y[3] = x[1] - x[3];
		break;
	case WINOGRAD_SPREAD:
		y[0] = x[0];
		y[1] = x[0] + x[1];
		y[2] = x[0] - x[1];
		y[3] = -x[1];
		break;
	case WINOGRAD_KERNEL:
		ends = (x[0] + x[2]) * 0.5f;
		middle = x[1] * 0.5f;
		y[0] = x[0];
		y[1] = ends + middle;
		y[2] = ends - middle;
		y[3] = x[2];
		break;
	case WINOGRAD_RESULTS:
		y[0] = (x[0] + x[1]) + x[2];
		y[1] = (x[1] - x[2]) - x[3];
		break;
	case WINOGRAD_GRADIENT:
		middle = (x[1] + x[2]) * 0.5f;
		y[0] = x[0] + middle;
		y[1] = (x[1] - x[2]) * 0.5f;
		y[2] = middle + x[3];
		break;
	}
}

/* Of `from` x `from` vectors makes `to` x `to`, columns first. */
INLINE void
winograd_both(int r, enum winograd_kind kind, int from, int to, vf *y, const vf *x)
{
	vf half[16];

	#pragma GCC unroll 4
	for (int j = 0; j < from; j++) {
		vf column[4] = { 0 }, made[4] = { 0 };
		#pragma GCC unroll 4
		for (int i = 0; i < from; i++)
			column[i] = x[i * from + j];
		if (r == 2)
			winograd_side_of_two(kind, made, column);
		else
			winograd_side_of_three(kind, made, column);
		#pragma GCC unroll 4
		for (int i = 0; i < to; i++)
			half[i * from + j] = made[i];
	}
	#pragma GCC unroll 4
	for (int i = 0; i < to; i++)
		if (r == 2)
			winograd_side_of_two(kind, y + i * to, half + i * from);
		else
			winograd_side_of_three(kind, y + i * to, half + i * from);
}

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
