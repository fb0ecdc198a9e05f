/*
 * winograd_body -- the kernels of winograd.h, once
 *
 * Included after panels_body.h, whose vectors it uses, by the same files.
 * Before including: WINOGRAD, the name of the table.
 */
#include "ops/kernels/winograd.h"

/* B' x */
INLINE void
winograd_pixels_of(vf y[4], const vf x[4])
{
	y[0] = x[0] - x[2];
	y[1] = x[1] + x[2];
	y[2] = x[2] - x[1];
	y[3] = x[1] - x[3];
}

/* A x */
INLINE void
winograd_spread_of(vf y[4], const vf x[2])
{
	y[0] = x[0];
	y[1] = x[0] + x[1];
	y[2] = x[0] - x[1];
	y[3] = -x[1];
}

/* A' x */
INLINE void
winograd_results_of(vf y[2], const vf x[4])
{
	y[0] = (x[0] + x[1]) + x[2];
	y[1] = (x[1] - x[2]) - x[3];
}

/* G x */
INLINE void
winograd_taps_of(vf y[4], const vf x[3])
{
	vf ends = (x[0] + x[2]) * 0.5f, middle = x[1] * 0.5f;

	y[0] = x[0];
	y[1] = ends + middle;
	y[2] = ends - middle;
	y[3] = x[2];
}

/* G' x */
INLINE void
winograd_gradient_of(vf y[3], const vf x[4])
{
	vf sum = (x[1] + x[2]) * 0.5f;

	y[0] = x[0] + sum;
	y[1] = (x[1] - x[2]) * 0.5f;
	y[2] = sum + x[3];
}

enum winograd_kind { WINOGRAD_PIXELS, WINOGRAD_SPREAD, WINOGRAD_TAPS, WINOGRAD_RESULTS, WINOGRAD_GRADIENT };

/* One side of a transform. */
INLINE void
winograd_side(enum winograd_kind kind, vf *y, const vf *x)
{
	switch (kind) {
	case WINOGRAD_PIXELS: winograd_pixels_of(y, x); break;
	case WINOGRAD_SPREAD: winograd_spread_of(y, x); break;
	case WINOGRAD_TAPS: winograd_taps_of(y, x); break;
	case WINOGRAD_RESULTS: winograd_results_of(y, x); break;
	case WINOGRAD_GRADIENT: winograd_gradient_of(y, x); break;
	}
}

/* Of `from` x `from` vectors makes `to` x `to`, columns first. */
INLINE void
winograd_both(enum winograd_kind kind, int from, int to, vf *y, const vf *x)
{
	vf half[16];

	#pragma GCC unroll 4
	for (int j = 0; j < from; j++) {
		vf column[4] = { 0 }, made[4] = { 0 };
		#pragma GCC unroll 4
		for (int i = 0; i < from; i++)
			column[i] = x[i * from + j];
		winograd_side(kind, made, column);
		#pragma GCC unroll 4
		for (int i = 0; i < to; i++)
			half[i * from + j] = made[i];
	}
	#pragma GCC unroll 4
	for (int i = 0; i < to; i++)
		winograd_side(kind, y + i * to, half + i * from);
}

static void
winograd_pixels(float *to, int64_t apart, const float *const d[16], int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[16];
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			x[i] = panel_first(d[i] + c, part);
		winograd_both(WINOGRAD_PIXELS, 4, 4, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

static void
winograd_spread(float *to, int64_t apart, const float *const d[4], int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[4], y[16];
		#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			x[i] = panel_first(d[i] + c, part);
		winograd_both(WINOGRAD_SPREAD, 2, 4, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

static void
winograd_taps(float *to, int64_t apart, const float *g, int64_t tap, int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[9], y[16];
		#pragma GCC unroll 9
		for (int i = 0; i < 9; i++)
			x[i] = panel_first(g + i * tap + c, part);
		winograd_both(WINOGRAD_TAPS, 3, 4, y, x);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			panel_store_first(to + i * apart + c, y[i], part);
	}
}

static void
winograd_results(float *const to[4], const float *m, int64_t apart, int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[4];
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			x[i] = panel_first(m + i * apart + c, part);
		winograd_both(WINOGRAD_RESULTS, 4, 2, y, x);
		#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			panel_store_first(to[i] + c, y[i], part);
	}
}

static void
winograd_gradient(float *g, int64_t tap, const float *m, int64_t apart, int64_t n)
{
	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf x[16], y[9];
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			x[i] = panel_first(m + i * apart + c, part);
		winograd_both(WINOGRAD_GRADIENT, 4, 3, y, x);
		#pragma GCC unroll 9
		for (int i = 0; i < 9; i++)
			panel_store_first(g + i * tap + c, y[i], part);
	}
}

const struct vq_winograd WINOGRAD = {
	.pixels = winograd_pixels, .spread = winograd_spread, .taps = winograd_taps, .results = winograd_results,
	.gradient = winograd_gradient,
};
