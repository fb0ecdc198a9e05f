/*
 * winograd_sides_body -- the transforms of winograd.h, of vectors
 *
 * Included once by a file that has vectors: vf, INLINE.
 */
#include "ops/kernels/winograd.h"

/* What is done to one side; r, m and kind are constants wherever this is inlined. */
enum winograd_kind { WINOGRAD_PIXELS, WINOGRAD_SPREAD, WINOGRAD_KERNEL, WINOGRAD_RESULTS, WINOGRAD_GRADIENT };

/* r = 2, m = 2: points 0, 1, infinity. */
INLINE void
winograd_side_22(enum winograd_kind kind, vf *y, const vf *x)
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

/* r = 3, m = 2: points 0, 1, -1, infinity. */
INLINE void
winograd_side_32(enum winograd_kind kind, vf *y, const vf *x)
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

/* m = 4, between results and places of the points a, -a, b, -b and infinity. */
INLINE void
winograd_spread_of_four(vf *y, const vf *x, float a, float b)
{
	vf even = x[0] + a * a * x[2], odd = a * x[1] + a * a * a * x[3];

	y[0] = even + odd;
	y[1] = even - odd;
	even = x[0] + b * b * x[2];
	odd = b * x[1] + b * b * b * x[3];
	y[2] = even + odd;
	y[3] = even - odd;
	y[4] = x[3];
}

INLINE void
winograd_results_of_four(vf *y, const vf *x, float a, float b)
{
	vf sum_a = x[0] + x[1], diff_a = x[0] - x[1], sum_b = x[2] + x[3], diff_b = x[2] - x[3];

	y[0] = sum_a + sum_b;
	y[1] = a * diff_a + b * diff_b;
	y[2] = a * a * sum_a + b * b * sum_b;
	y[3] = (a * a * a * diff_a + b * b * b * diff_b) + x[4];
}

/* r = 2, m = 4: points 1/2, -1/2, 1, -1, infinity; G's rows are over the products of their points' distances. */
INLINE void
winograd_side_24(enum winograd_kind kind, vf *y, const vf *x)
{
	const float a = 0.5f, b = 1, over_a = 1 / (2 * a * (a * a - b * b)), over_b = 1 / (2 * b * (b * b - a * a));
	vf even, odd;

	switch (kind) {
	case WINOGRAD_PIXELS:
		even = x[3] - b * b * x[1];
		odd = x[2] - b * b * x[0];
		y[0] = even + a * odd;
		y[1] = even - a * odd;
		even = x[3] - a * a * x[1];
		odd = x[2] - a * a * x[0];
		y[2] = even + b * odd;
		y[3] = even - b * odd;
		y[4] = (x[4] - (a * a + b * b) * x[2]) + a * a * b * b * x[0];
		break;
	case WINOGRAD_SPREAD:
		winograd_spread_of_four(y, x, a, b);
		break;
	case WINOGRAD_KERNEL:
		y[0] = over_a * x[0] + a * over_a * x[1];
		y[1] = a * over_a * x[1] - over_a * x[0];
		y[2] = over_b * x[0] + b * over_b * x[1];
		y[3] = b * over_b * x[1] - over_b * x[0];
		y[4] = x[1];
		break;
	case WINOGRAD_RESULTS:
		winograd_results_of_four(y, x, a, b);
		break;
	case WINOGRAD_GRADIENT:
		y[0] = over_a * (x[0] - x[1]) + over_b * (x[2] - x[3]);
		y[1] = (a * over_a * (x[0] + x[1]) + b * over_b * (x[2] + x[3])) + x[4];
		break;
	}
}

/* r = 3, m = 4: points 0, 3/4, -3/4, 3/2, -3/2, infinity. */
INLINE void
winograd_side_34(enum winograd_kind kind, vf *y, const vf *x)
{
	const float a = 0.75f, b = 1.5f, over_0 = 1 / (a * a * b * b);
	const float over_a = 1 / (2 * a * a * (a * a - b * b)), over_b = 1 / (2 * b * b * (b * b - a * a));
	vf even, odd;

	switch (kind) {
	case WINOGRAD_PIXELS:
		y[0] = (x[4] - (a * a + b * b) * x[2]) + a * a * b * b * x[0];
		even = x[4] - b * b * x[2];
		odd = x[3] - b * b * x[1];
		y[1] = even + a * odd;
		y[2] = even - a * odd;
		even = x[4] - a * a * x[2];
		odd = x[3] - a * a * x[1];
		y[3] = even + b * odd;
		y[4] = even - b * odd;
		y[5] = (x[5] - (a * a + b * b) * x[3]) + a * a * b * b * x[1];
		break;
	case WINOGRAD_SPREAD:
		y[0] = x[0];
		winograd_spread_of_four(y + 1, x, a, b);
		break;
	case WINOGRAD_KERNEL:
		y[0] = over_0 * x[0];
		even = over_a * x[0] + a * a * over_a * x[2];
		odd = a * over_a * x[1];
		y[1] = even + odd;
		y[2] = even - odd;
		even = over_b * x[0] + b * b * over_b * x[2];
		odd = b * over_b * x[1];
		y[3] = even + odd;
		y[4] = even - odd;
		y[5] = x[2];
		break;
	case WINOGRAD_RESULTS:
		winograd_results_of_four(y, x + 1, a, b);
		y[0] += x[0];
		break;
	case WINOGRAD_GRADIENT:
		y[0] = over_0 * x[0] + (over_a * (x[1] + x[2]) + over_b * (x[3] + x[4]));
		y[1] = a * over_a * (x[1] - x[2]) + b * over_b * (x[3] - x[4]);
		y[2] = (a * a * over_a * (x[1] + x[2]) + b * b * over_b * (x[3] + x[4])) + x[5];
		break;
	}
}

INLINE void
winograd_side(int r, int m, enum winograd_kind kind, vf *y, const vf *x)
{
	if (m == 2 && r == 2)
		winograd_side_22(kind, y, x);
	else if (m == 2)
		winograd_side_32(kind, y, x);
	else if (r == 2)
		winograd_side_24(kind, y, x);
	else
		winograd_side_34(kind, y, x);
}

/* Vectors on each side of what is read, and of what is made. */
INLINE int
winograd_from(int r, int m, enum winograd_kind kind)
{
	return kind == WINOGRAD_SPREAD ? m : kind == WINOGRAD_KERNEL ? r : r + m - 1;
}

INLINE int
winograd_to(int r, int m, enum winograd_kind kind)
{
	return kind == WINOGRAD_RESULTS ? m : kind == WINOGRAD_GRADIENT ? r : r + m - 1;
}
