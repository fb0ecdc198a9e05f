/*
 * winograd -- convolutions by fewer products than the sum has
 *
 * Winograd's F(2 x 2, r x r) (Lavin, Gray 2016): 2 x 2 results take (r + 1) x (r + 1) pixels d and a kernel g
 * of r x r taps,
 *
 *   y = A' ((G g G') . (B' d B)) A
 *
 * r = 3:                                                            r = 2:
 *        | 1  0 -1  0 |      | 1    0    0   |       | 1  1  1  0 |        | 1 -1  0 |      | 1 0 |       | 1 1 0 |
 *   B' = | 0  1  1  0 |  G = | 1/2  1/2  1/2 |  A' = | 0  1 -1 -1 |   B' = | 0  1  0 |  G = | 1 1 |  A' = | 0 1 1 |
 *        | 0 -1  1  0 |      | 1/2 -1/2  1/2 |                             | 0 -1  1 |      | 0 1 |
 *        | 0  1  0 -1 |      | 0    0    1   |
 *
 * where . goes element by element: of all channels, one matrix product for each of the (r + 1)^2 places: 16
 * for 36 and 9 for 16.  The adjoint in x is the same of the kernel turned round; that in w is
 * G' ((B' d B) . (A y A')) G, summed over tiles.
 *
 * With stride s and s r taps the pixels of each of the s x s phases are channels of their own: a convolution of
 * r x r taps at stride 1 over s^2 times the channels, whose adjoint in x makes so many.
 */
#ifndef VQ_OPS_KERNELS_WINOGRAD_H
#define VQ_OPS_KERNELS_WINOGRAD_H

#include "ops/kernels/conv.h"

enum {
	VQ_WINOGRAD_MOST = 16,			/* places */
	VQ_WINOGRAD_LEAST = 24,			/* channels, here and there, that pay for the transforms */
	VQ_WINOGRAD_LEAST_WEIGHT = 32,		/* of the adjoint in the weights */
};

/* Vector code for one r, over n channels that follow each other; place i of a result is `apart` floats from i - 1. */
struct vq_winograd {
	int taps;			/* r */
	/* B' d B of (r + 1)^2 pixels, row by row. */
	void (*pixels)(float *to, int64_t apart, const float *const *d, int64_t n);
	/* A y A' of 2 x 2. */
	void (*spread)(float *to, int64_t apart, const float *const y[4], int64_t n);
	/* G g G' of r x r taps; floats from one to the next down and across: negative where they are turned round. */
	void (*kernel)(float *to, int64_t apart, const float *g, int64_t down, int64_t across, int64_t n);
	/* A' m A into 2 x 2 results. */
	void (*results)(float *const y[4], const float *m, int64_t apart, int64_t n);
	/* G' m G into r x r taps. */
	void (*gradient)(float *g, int64_t down, int64_t across, const float *m, int64_t apart, int64_t n);
};

/* By r - 2. */
extern const struct vq_winograd vq_winograd_portable[2], vq_winograd_avx2[2], vq_winograd_avx512[2];
const struct vq_winograd *vq_winograd(const struct vq_kernels *k, int64_t taps);

/*
 * The same where pixels become words of two numbers of bf16 (gemm_micro.h): what d and y point to is f32, or bf16
 * where `half`.  Kernels and results are f32 there, too: packing rounds the one, and sums make the other.
 */
struct vq_winograd_pairs {
	/* Words of two channels; place i is `apart` numbers from i - 1.  n is even. */
	void (*pixels)(uint16_t *to, int64_t apart, const void *const *d, bool half, int64_t n);
	/* Words of the same channel of two tiles, the second's pointers after the first's. */
	void (*zip_pixels)(float *to, int64_t apart, const void *const *d, bool half, int64_t n);
	void (*zip_spread)(float *to, int64_t apart, const void *const *y, bool half, int64_t n);
};

extern const struct vq_winograd_pairs vq_winograd_avx512bf16[2];
/* NULL: pairs are not multiplied this way. */
const struct vq_winograd_pairs *vq_winograd_pairs(const struct vq_kernels *k, int64_t taps);

/*
 * Whether this way is taken, of at least so many channels: by shapes other than the batch, so that an image
 * has the same bits in any.  k is NULL: whether it may be, by the instruction set that there is then.
 */
bool vq_winograd_fits(const struct vq_kernels *k, const struct vq_conv *v, int64_t least);
void vq_winograd_run(const struct vq_call *c, const struct vq_conv *v, bool adjoint);
size_t vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads);
void vq_winograd_weight(const struct vq_call *c, const struct vq_conv *v);
size_t vq_winograd_weight_scratch(const struct vq_conv *v);

/* Tiles of 2 x 2 results of so many along an axis. */
static inline int64_t
vq_winograd_tiles(int64_t results)
{
	return (results + 1) / 2;
}

#endif
