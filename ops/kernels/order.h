/*
 * order -- in which order the cells of a grid make a sequence
 *
 * The op `reorder` and the sampler both ask here, so that what a prior was trained on
 * is what samples are drawn in.
 */
#ifndef VQ_OPS_KERNELS_ORDER_H
#define VQ_OPS_KERNELS_ORDER_H

#include <stdint.h>

/*
 * raster    row by row, each from left to right
 * s_curve   row by row, every second one from right to left: neighbours stay neighbours
 * z_curve   Morton 1966: the bits of row and column interleaved; on a grid whose sides
 *           are no powers of two, the cells that there are in the order of the larger one
 */
enum vq_order { VQ_ORDER_RASTER, VQ_ORDER_S_CURVE, VQ_ORDER_Z_CURVE };
/* Their names, NULL-terminated. */
extern const char *const vq_order_names[];

/* The cell, row * w + column, that stands at each of the h * w places of the sequence. */
void vq_order_cells(enum vq_order order, int64_t h, int64_t w, int32_t *cell);
/* The side of a square grid of so many cells, or -1. */
int64_t vq_order_side(int64_t cells);

#endif
