/*
 * winograd -- convolutions of 3 x 3 taps at stride 1 by 16 products in place of 36
 *
 * Winograd's F(2 x 2, 3 x 3) (Lavin, Gray 2016): 2 x 2 results take 4 x 4 pixels d and a kernel g,
 *
 *   y = A' ((G g G') . (B' d B)) A
 *
 *        | 1  0 -1  0 |        | 1    0    0   |         | 1  1  1  0 |
 *   B' = | 0  1  1  0 |    G = | 1/2  1/2  1/2 |    A' = | 0  1 -1 -1 |
 *        | 0 -1  1  0 |        | 1/2 -1/2  1/2 |
 *        | 0  1  0 -1 |        | 0    0    1   |
 *
 * where . goes element by element: of all channels, one matrix product for each of the 16 places.
 * The adjoint in x is the same of the kernel turned round; that in w is
 * G' ((B' d B) . (A y A')) G, summed over tiles.
 */
#ifndef VQ_OPS_KERNELS_WINOGRAD_H
#define VQ_OPS_KERNELS_WINOGRAD_H

#include "ops/kernels/conv.h"


enum {
	VQ_WINOGRAD_PLACES = 16,
	VQ_WINOGRAD_LEAST = 24,			/* channels, here and there, that pay for the transforms */
	VQ_WINOGRAD_LEAST_WEIGHT = 32,		/* of the adjoint in the weights */
};

/* Vector code, over n channels that follow each other; place i of a result is `apart` floats from i - 1. */
struct vq_winograd {
	/* B' d B of 4 x 4 pixels, row by row. */
	void (*pixels)(float *to, int64_t apart, const float *const d[16], int64_t n);
	/* A y A' of 2 x 2. */
	void (*spread)(float *to, int64_t apart, const float *const y[4], int64_t n);
	/* G g G' of 3 x 3 taps, `tap` floats apart (negative where they are turned round). */
	void (*taps)(float *to, int64_t apart, const float *g, int64_t tap, int64_t n);
	/* A' m A into 2 x 2 results. */
	void (*results)(float *const y[4], const float *m, int64_t apart, int64_t n);
	/* G' m G into 3 x 3 taps. */
	void (*gradient)(float *g, int64_t tap, const float *m, int64_t apart, int64_t n);
};

extern const struct vq_winograd vq_winograd_portable, vq_winograd_avx2, vq_winograd_avx512;
const struct vq_winograd *vq_winograd(const struct vq_kernels *k);

/* Whether this way is taken, of at least so many channels: by shapes other than the batch, so that an image
 * has the same bits in any. */
bool vq_winograd_fits(const struct vq_conv *v, int64_t least);
void vq_winograd_run(const struct vq_call *c, const struct vq_conv *v, bool adjoint);
size_t vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads);
void vq_winograd_weight(const struct vq_call *c, const struct vq_conv *v);
size_t vq_winograd_weight_scratch(const struct vq_conv *v);

/* Tiles of 2 x 2 results, of all images; those of an axis. */
static inline int64_t
vq_winograd_tiles(int64_t results)
{
	return (results + 1) / 2;
}

#endif
