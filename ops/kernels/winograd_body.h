/*
 * winograd_body -- the kernels of winograd.h, once
 *
 * Included after panels_body.h, whose vectors it uses, by the same files.
 * Before including: WINOGRAD, the name of the table.
 */
#include "ops/kernels/winograd_sides_body.h"

/* Columns first. */
INLINE void
winograd_walk(int r, int m, enum winograd_kind kind, float *const *to, const float *const *from, int64_t n)
{
	int before = winograd_from(r, m, kind), after = winograd_to(r, m, kind);

	for (int64_t c = 0; c < n; c += LANES) {
		panel_part part = panel_part_of(n - c);
		vf half[36], x[6], y[6];
		#pragma GCC unroll 6
		for (int j = 0; j < before; j++) {
			#pragma GCC unroll 6
			for (int i = 0; i < before; i++)
				x[i] = panel_first(from[i * before + j] + c, part);
			winograd_side(r, m, kind, y, x);
			#pragma GCC unroll 6
			for (int i = 0; i < after; i++)
				half[i * before + j] = y[i];
		}
		#pragma GCC unroll 6
		for (int i = 0; i < after; i++) {
			winograd_side(r, m, kind, y, half + i * before);
			#pragma GCC unroll 6
			for (int j = 0; j < after; j++)
				panel_store_first(to[i * after + j] + c, y[j], part);
		}
	}
}

#define WINOGRAD_WALK(name, r, m, kind) \
static void \
winograd_##name##_##r##m(float *const *to, const float *const *from, int64_t n) \
{ \
	winograd_walk(r, m, kind, to, from, n); \
}
#define WINOGRAD_OF(r, m) \
WINOGRAD_WALK(pixels, r, m, WINOGRAD_PIXELS) \
WINOGRAD_WALK(spread, r, m, WINOGRAD_SPREAD) \
WINOGRAD_WALK(kernel, r, m, WINOGRAD_KERNEL) \
WINOGRAD_WALK(results, r, m, WINOGRAD_RESULTS) \
WINOGRAD_WALK(gradient, r, m, WINOGRAD_GRADIENT)
#define WINOGRAD_ROW(r, m) { \
	.pixels = winograd_pixels_##r##m, .spread = winograd_spread_##r##m, .kernel = winograd_kernel_##r##m, \
	.results = winograd_results_##r##m, .gradient = winograd_gradient_##r##m \
}

WINOGRAD_OF(2, 2)
WINOGRAD_OF(3, 2)
WINOGRAD_OF(2, 4)
WINOGRAD_OF(3, 4)

const struct vq_winograd WINOGRAD[4] = { WINOGRAD_ROW(2, 2), WINOGRAD_ROW(3, 2), WINOGRAD_ROW(2, 4), WINOGRAD_ROW(3, 4) };
