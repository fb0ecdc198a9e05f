/*
 * search -- the nearest row of a table to each of many vectors
 */
#ifndef VQ_OPS_KERNELS_SEARCH_H
#define VQ_OPS_KERNELS_SEARCH_H

#include "engine/op.h"

/* The vectors looked for, and where their answers go: n of each, so many elements apart. */
struct vq_search {
	const float *x;
	int64_t n, step;
	int32_t *index;
	int64_t index_step;
};

/* The nearest of the k rows of table f32[k, d] to each vector, by squared distance;
 * of equal ones the lowest, of NaN row 0.  room: vq_search_room bytes. */
void vq_search(const struct vq_call *c, const struct vq_search *q, const float *table, int64_t k, int64_t d, void *room);
size_t vq_search_room(int64_t k, int64_t d);

#endif
