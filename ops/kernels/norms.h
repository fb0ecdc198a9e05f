/*
 * norms -- (x - mean) / sqrt(variance + eps) and its gradient, in f32 (of numbers that may be bf16 in memory)
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
	bool half_in, half_g, half_out;	/* x (or y) that is read, g and what is written are bf16 in memory */
};

size_t vq_norm_scratch(const struct vq_norm_layout *l);
/* Whether these take and make bf16 (affine: vq_norm_affine_grad). */
bool vq_norm_half(const struct vq_norm_layout *l, bool affine);
/* y may be x, where both are f32 or bf16. */
void vq_norm(const struct vq_norm_call *c, const void *x, void *y, float *mean, float *variance);
/* dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps); dx may be y or g. */
void vq_norm_grad(const struct vq_norm_call *c, const void *y, const float *variance,
    const void *g, void *dx);

/* With a scale and shift after it, one value of each for each group: g is that of the scaled. */
struct vq_norm_affine {
	const float *scale;
	float *dscale, *dshift;		/* sum(g y) and sum(g); written */
};
size_t vq_norm_affine_scratch(const struct vq_norm_layout *l);
/* l->outer is 1.  dx = scale (g - mean(g) - y mean(g y)) / sqrt(variance + eps); dx may be y or g. */
void vq_norm_affine_grad(const struct vq_norm_call *c, const void *y, const float *variance,
    const struct vq_norm_affine *a, const void *g, void *dx);

#endif
