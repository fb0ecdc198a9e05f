/*
 * norms -- (x - mean) / sqrt(variance + eps) and its gradient, in f32
 *
 * x is [outer, inner, groups, width]; each of the outer x groups statistics is
 * over inner and width.  Memory is read twice and written once, or read once
 * where the elements of a statistic lie together and fit the cache.  The same
 * bits with any number of threads.
 */
#ifndef VQ_OPS_KERNELS_NORMS_H
#define VQ_OPS_KERNELS_NORMS_H

#include "ops/kernels/kernels.h"

struct vq_norm_layout {
	int64_t outer, inner, groups, width;
};

struct vq_norm_call {
	const struct vq_norm_layout *l;
	const struct vq_kernels *k;
	int threads;
	double eps;
	void *scratch;			/* vq_norm_scratch bytes, 64-byte aligned */
};

size_t vq_norm_scratch(const struct vq_norm_layout *l);
/* y may be x. */
void vq_norm(const struct vq_norm_call *c, const float *x, float *y, float *mean, float *variance);
/* dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps); dx may be y or g. */
void vq_norm_grad(const struct vq_norm_call *c, const float *y, const float *variance,
    const float *g, float *dx);

/* With a scale and shift after it, one value of each for each group: g is that of the scaled. */
struct vq_norm_affine {
	const float *scale;
	float *dscale, *dshift;		/* sum(g y) and sum(g); written */
};
size_t vq_norm_affine_scratch(const struct vq_norm_layout *l);
/* l->outer is 1.  dx = scale (g - mean(g) - y mean(g y)) / sqrt(variance + eps); dx may be y or g. */
void vq_norm_affine_grad(const struct vq_norm_call *c, const float *y, const float *variance,
    const struct vq_norm_affine *a, const float *g, float *dx);

#endif
