/*
 * order -- in which order the cells of a grid make a sequence
 */
#include "ops/kernels/order.h"

#include <math.h>
#include <stddef.h>

const char *const vq_order_names[] = { "raster", "s_curve", "z_curve", NULL };

struct walk {
	int64_t h, w, n;
	int32_t *cell;
};

/* A square of the curve: its quarters from the top left to the bottom right, without
 * those that lie outside the grid. */
static void
z_square(struct walk *z, int64_t row, int64_t column, int64_t side)
{
	if (row >= z->h || column >= z->w)
		return;
	if (side == 1) {
		z->cell[z->n++] = (int32_t)(row * z->w + column);
		return;
	}
	side /= 2;
	z_square(z, row, column, side);
	z_square(z, row, column + side, side);
	z_square(z, row + side, column, side);
	z_square(z, row + side, column + side, side);
}

static void
z_curve(int64_t h, int64_t w, int32_t *cell)
{
	struct walk z = { h, w, 0, cell };
	int64_t side = 1;

	while (side < h || side < w)
		side *= 2;
	z_square(&z, 0, 0, side);
}

void
vq_order_cells(enum vq_order order, int64_t h, int64_t w, int32_t *cell)
{
	if (order == VQ_ORDER_Z_CURVE) {
		z_curve(h, w, cell);
		return;
	}
	for (int64_t row = 0; row < h; row++)
		for (int64_t i = 0; i < w; i++) {
			int64_t column = order == VQ_ORDER_S_CURVE && row % 2 ? w - 1 - i : i;
			cell[row * w + i] = (int32_t)(row * w + column);
		}
}

int64_t
vq_order_side(int64_t cells)
{
	int64_t side = (int64_t)llround(sqrt((double)cells));

	return cells > 0 && side * side == cells ? side : -1;
}
