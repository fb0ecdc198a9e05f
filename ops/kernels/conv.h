/*
 * conv -- two-dimensional convolution and its two adjoints, channels last
 *
 * One trilinear form seen from three sides:
 *
 *   forward   y[n, oy, ox, o] = sum x[n, oy sy + ty dy - top, ox sx + tx dx - left, i] w[ty, tx, i, o]
 *   input     the adjoint in x (the transposed convolution): x from y and w
 *   weight    the adjoint in w: w from x and y
 *
 * No patch matrix is ever made: the input pixels of a block of outputs are copied,
 * with their border of zeros, to where the second-level cache holds them, and the
 * tiles of gemm_micro.h walk over them tap by tap.  An adjoint with stride s is
 * s * s small convolutions over interleaved outputs, so that nothing is
 * multiplied by a zero that is known to be there.
 *
 * With bf16 the copies hold words (gemm_micro.h).  Where k runs over channels, a word is of two
 * channels of a pixel.  Where it runs over pixels, in the weights' adjoint, a word is of the same
 * channel and pixel of two images, half a batch apart: so a tap is one way of reading for all
 * pixels, as it is with f32, whatever the size of the images.  Sums are added up in an order
 * that shapes alone decide.  Images that are bf16 in memory are laid out without being rounded; a result
 * that is has its sums in a room that stays in the second-level cache until the epilogue is done.
 */
#ifndef VQ_OPS_KERNELS_CONV_H
#define VQ_OPS_KERNELS_CONV_H

#include "ops/kernels/gemm.h"

/* One axis: x has `in` positions, y has `out`, w has `taps`. */
struct vq_conv_axis {
	int64_t in, out, taps, stride, dilation, before;
};

struct vq_conv {
	int64_t n;
	struct vq_conv_axis y, x;
	int64_t ci, co, groups;		/* channels of x and of y, both multiples of groups */
	bool bf16;			/* operands are rounded */
	bool gradient;			/* then sums of them may be, too */
	bool half_x, half_y;		/* x, y are bf16 in memory */
};

/* in[0] is x, in[1] is w, out[0] is y; with the call's epilogue. */
void vq_conv_forward(const struct vq_call *c, const struct vq_conv *v);
size_t vq_conv_forward_scratch(const struct vq_conv *v, int threads);
/* in[0] is y, in[1] is w, out[0] is x; with the call's epilogue. */
void vq_conv_input(const struct vq_call *c, const struct vq_conv *v);
size_t vq_conv_input_scratch(const struct vq_conv *v, int threads);
/* Whether these take a result that is bf16 in memory. */
bool vq_conv_makes_half(const struct vq_conv *v, bool adjoint);
/* in[0] is x, in[1] is y, out[0] is w. */
void vq_conv_weight(const struct vq_call *c, const struct vq_conv *v);
size_t vq_conv_weight_scratch(const struct vq_conv *v, int threads);

#endif
