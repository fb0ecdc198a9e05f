/*
 * reduce -- sums, extremes and variances over any set of axes
 *
 * Work is cut into chunks whose number depends on the shape alone, and chunks are
 * combined in order, so the number of threads does not change a bit.  Long sums
 * are blocked: errors grow with the number of blocks and not of elements.
 */
#ifndef VQ_OPS_KERNELS_REDUCE_H
#define VQ_OPS_KERNELS_REDUCE_H

#include "engine/type.h"
#include "ops/kernels/kernels.h"

/* A shape as runs of axes that are all kept or all reduced, alternating. */
struct vq_axes {
	int runs;
	int64_t dim[VQ_MAX_RANK];
	bool reduced[VQ_MAX_RANK];
	int64_t count;			/* elements of the whole */
	int64_t n;			/* elements that go into one result */
};
/* axes: bit i for axis i. */
void vq_axes_split(struct vq_axes *a, const struct vq_shape *s, unsigned axes);

/* Folds with VQ_EW_ADD, VQ_EW_MAX or VQ_EW_MIN.  Extremes of nothing must not be
 * asked for; a NaN wins. */
void vq_reduce(const struct vq_kernels *k, enum vq_ew fold, const float *x, float *y,
    const struct vq_axes *a, void *scratch, int threads);
/* The same of numbers that are bf16, where that may be: columns go, not rows. */
void vq_reduce_half(const struct vq_kernels *k, enum vq_ew fold, const uint16_t *x, float *y,
    const struct vq_axes *a, void *scratch, int threads);
bool vq_reduce_takes_half(const struct vq_axes *a);
size_t vq_reduce_scratch(const struct vq_axes *a);

/* Sum of squared differences from the mean, divided by `by`; the mean of each
 * block is taken out first and blocks are merged (Chan, Golub, LeVeque 1979). */
void vq_variance(const struct vq_kernels *k, const float *x, float *y, double by,
    const struct vq_axes *a, void *scratch, int threads);
size_t vq_variance_scratch(const struct vq_axes *a);

#endif
