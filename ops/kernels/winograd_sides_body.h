/*
 * winograd_sides_body -- the transforms of winograd.h, of vectors
 *
 * Included once by a file that has vectors: vf, INLINE.
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
