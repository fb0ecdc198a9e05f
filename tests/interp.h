/*
 * interp -- the obvious executor: every value in memory of its own, every node by
 * its reference kernel
 *
 * What tests compare everything else with.  Not fast and not clever.
 */
#ifndef VQ_TESTS_INTERP_H
#define VQ_TESTS_INTERP_H

#include "engine/graph.h"

struct interp {
	const struct vq_graph *g;
	void **data;		/* by value; constants point into the graph */
};

/* Memory for every value of a finished graph; leaves are zero. */
struct interp *interp_new(const struct vq_graph *g);
void interp_free(struct interp *p);
/* A value's memory: leaves to be filled before a run, any to be read after it. */
struct vq_view interp_view(const struct interp *p, vq_id v);
/* All nodes in order.  An op that has a composition and no reference is run as
 * that.  Stores are not carried out. */
void interp_run(struct interp *p);
/* The first element of a value. */
double interp_scalar(const struct interp *p, vq_id v);

/* One node from views to views by its op's ref or composition. */
void interp_op(const struct vq_op *op, const void *params, const struct vq_view *in, int nin,
    const struct vq_view *out, int nout, uint64_t key);

#endif
