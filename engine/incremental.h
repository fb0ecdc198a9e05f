/*
 * incremental -- a causal graph, rewritten to compute one position per call
 *
 * A graph of a model file that grows along a free size (`time`) is turned into
 *
 *   step   all of it at one position: inputs, values and outputs that had the axis of
 *          time have length 1 there; an input `position`, i32[1], says which one.  The
 *          keys and values of causal attention are kept in state, cache.<k>.keys and
 *          cache.<k>.values, as attention_step has them, and updated in place
 *   once   what depends on other inputs alone (labels) and costs something: computed
 *          before the first step into state, once.<k>, that step reads.  NULL where
 *          there is nothing of that kind
 *   weights  the same for what depends on no input at all (positions, tables in another
 *          shape, matrices packed for many products): once and step read it
 *
 * In bf16 matrices are packed rounded, and so are keys and values; what else a product takes is
 * rounded by the precision pass (engine/precision.c), which is to follow.
 *
 * Positions 0, 1, 2, ... must be given in order; then output i of the steps is, up to
 * rounding, position i of the whole graph's output.
 */
#ifndef VQ_ENGINE_INCREMENTAL_H
#define VQ_ENGINE_INCREMENTAL_H

#include "engine/model.h"

struct vq_growing {
	const char *graph;
	const char *time;		/* the free size that grows */
	int64_t length;			/* its largest value */
	const char *output;		/* the value wanted at each position */
	const struct vq_size *size;	/* the other free sizes */
	int sizes;
	bool bf16;			/* products with weights, unless the file fixes them, and what attention keeps */
};

struct vq_incremental {
	struct vq_graph *weights, *once, *step;
	int64_t length;
	int caches;			/* causal attentions */
};

/*
 * -1 after errors: those of the graph at that length, and a node for each way in which
 * positions are mixed other than by causal attention.  The graphs are the caller's.
 */
int vq_incremental(const struct vq_model *m, const struct vq_growing *how, struct vq_incremental *out,
    struct vq_diags *d);
void vq_incremental_free(struct vq_incremental *p);
/* Whether a state of these graphs is the pass's own: a cache, or what is computed once. */
bool vq_incremental_owns(const char *state);

#endif
