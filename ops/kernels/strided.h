/*
 * strided -- dense operands laid over the axes of a result, with as few axes as
 * possible
 *
 * Axes of length one are dropped and neighbouring axes that all operands walk
 * as one are merged, so that most broadcasts come down to one or two axes and
 * the inner loop is long.
 */
#ifndef VQ_OPS_KERNELS_STRIDED_H
#define VQ_OPS_KERNELS_STRIDED_H

#include "engine/type.h"

enum { VQ_STRIDED_INS = 8 };

struct vq_strided {
	int rank, nin;				/* rank >= 1 */
	int64_t dim[VQ_MAX_RANK];
	int64_t step[VQ_STRIDED_INS][VQ_MAX_RANK];	/* in elements; 0: broadcast */
};

/* Operands that broadcast to the result as numpy says. */
void vq_strided_broadcast(struct vq_strided *s, const struct vq_shape *out,
    const struct vq_view *in, int nin);
/* Drops and merges axes of a layout that was filled in by hand (rank may be 0). */
void vq_strided_merge(struct vq_strided *s);
/* Product of the axes [from, to). */
int64_t vq_strided_span(const struct vq_strided *s, int from, int to);
/* Where each operand stands at position `index` of the leading `axes` axes. */
void vq_strided_at(const struct vq_strided *s, int axes, int64_t index,
    int64_t at[VQ_STRIDED_INS]);

#endif
