/*
 * winograd -- convolutions by fewer products than the sum has
 *
 * Winograd's F(m x m, r x r) (Lavin, Gray 2016; Toom, Cook): m x m results take a x a pixels d, a = m + r - 1, and a
 * kernel g of r x r taps,
 *
 *   y = A' ((G g G') . (B' d B)) A
 *
 * where . goes element by element: of all channels, one matrix product for each of the a x a places.  Each of the a
 * points p, one of them infinity, makes a row of each: of A p^0 ... p^(m-1), of G p^0 ... p^(r-1) over the product of its
 * distances from the others, of B' the coefficients of the polynomial that is zero at the others; infinity has the last
 * power alone, and the polynomial that is zero at all others.  With few points, small ones and in pairs p, -p, rounding
 * stays small (README.md):
 *
 *   m  r   points                       products, for so many in the sum
 *   2  2   0, 1, infinity                9    16
 *   2  3   0, 1, -1, infinity           16    36
 *   4  2   1/2, -1/2, 1, -1, infinity   25    64
 *   4  3   0, 3/4, -3/4, 3/2, -3/2, infinity   36   144
 *
 * The adjoint in x is the same of the kernel turned round; that in w is G' ((B' d B) . (A y A')) G, summed over tiles.
 *
 * With stride s and s r taps the pixels of each of the s x s phases are channels of their own: a convolution of
 * r x r taps at stride 1 over s^2 times the channels, whose adjoint in x makes so many.
 */
#ifndef VQ_OPS_KERNELS_WINOGRAD_H
#define VQ_OPS_KERNELS_WINOGRAD_H

#include "ops/kernels/conv.h"

enum {
	VQ_WINOGRAD_MOST = 36,			/* places */
	VQ_WINOGRAD_RESULTS = 16,		/* most of a tile */
};

/* Whose transforms are paid for by so many channels, here and there, at least. */
enum vq_winograd_least {
	VQ_WINOGRAD_FORWARD = 16,
	VQ_WINOGRAD_INPUT = 24,
	VQ_WINOGRAD_WEIGHT = 32,
};

/* Vector code for one r and m, over n channels that follow each other: from so many places, row by row, to so many. */
typedef void vq_winograd_walk(float *const *to, const float *const *from, int64_t n);
struct vq_winograd {
	vq_winograd_walk *pixels;		/* B' d B: a x a to a x a */
	vq_winograd_walk *spread;		/* A y A': m x m to a x a */
	vq_winograd_walk *kernel;		/* G g G': r x r to a x a */
	vq_winograd_walk *results;		/* A' x A: a x a to m x m */
	vq_winograd_walk *gradient;		/* G' x G: a x a to r x r */
};

extern const struct vq_winograd vq_winograd_portable[4], vq_winograd_avx2[4], vq_winograd_avx512[4];
const struct vq_winograd *vq_winograd(const struct vq_kernels *k, int64_t r, int64_t m);

/*
 * The same for m = 2 where pixels become words of two numbers of bf16 (gemm_micro.h): what d and y point to is f32, or
 * bf16 where `half`.  Kernels and results are f32 there, too: packing rounds the one, and sums make the other.
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
const struct vq_winograd_pairs *vq_winograd_pairs(const struct vq_kernels *k, int64_t r);

/*
 * Whether this way is taken: by shapes other than the batch, so that an image has the same bits in any.  k is NULL:
 * whether it may be, by the instruction set that there is then.
 */
bool vq_winograd_fits(const struct vq_kernels *k, const struct vq_conv *v, enum vq_winograd_least least);
void vq_winograd_run(const struct vq_call *c, const struct vq_conv *v, bool adjoint);
size_t vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads);
void vq_winograd_weight(const struct vq_call *c, const struct vq_conv *v);
size_t vq_winograd_weight_scratch(const struct vq_conv *v);

/* The m for so many results down and across: 4 where that is fewer products by enough to be worth its rounding. */
int64_t vq_winograd_made(const struct vq_conv *v, int64_t down, int64_t across);
/* Pointers to n rows of n places. */
void vq_winograd_places(const float **to, const float *first, int64_t n, int64_t down, int64_t across);

/* Tiles of m results of so many along an axis. */
static inline int64_t
vq_winograd_tiles(int64_t results, int64_t m)
{
	return (results + m - 1) / m;
}

#endif
