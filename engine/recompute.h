/*
 * recompute -- which values are computed again instead of being kept
 */
#ifndef VQ_ENGINE_RECOMPUTE_H
#define VQ_ENGINE_RECOMPUTE_H

#include "engine/graph.h"

/* By value.  One that is dropped is not kept past its readers before node `from`: for the first
 * reader from there on, it and what is dropped among the inputs of its node are computed again. */
struct vq_again {
	bool *dropped;
	int *from;
};

/*
 * Drops what is cheap to compute again (op.h, `again`) and is alive at the peak of memory only to
 * be read later: the most bytes for the least time first, until the peak is elsewhere or a small
 * share of the step's time is spent.  A step that takes less than keep_below bytes is left as it is.  flops_per_byte: of products, at the speed of memory.
 * False when nothing was worth it.
 */
bool vq_recompute_choose(const struct vq_graph *g, struct vq_again *a, int64_t keep_below, double flops_per_byte, int threads);

#endif
