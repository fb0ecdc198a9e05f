/*
 * build -- emitting nodes from C: gradient rules, compositions, optimizers
 *
 * Each function appends one node (or none, where simplification answers) and
 * returns its first output; VQ_NONE in gives VQ_NONE out.
 */
#ifndef VQ_ENGINE_BUILD_H
#define VQ_ENGINE_BUILD_H

#include "engine/graph.h"

/* Any op by name; params as text: "axes=[1,2] keep=true"; "" for none.  A wrong
 * name or parameter here is a bug, not the user's error. */
vq_id vq_emit(struct vq_graph *g, const char *op, const vq_id *in, int nin,
    const char *params, ...) VQ_PRINTF(5, 6);
#define VQ_EMIT1(g, op, a, ...) vq_emit(g, op, (const vq_id[]){ a }, 1, __VA_ARGS__)
#define VQ_EMIT2(g, op, a, b, ...) vq_emit(g, op, (const vq_id[]){ a, b }, 2, __VA_ARGS__)
#define VQ_EMIT3(g, op, a, b, c, ...) vq_emit(g, op, (const vq_id[]){ a, b, c }, 3, __VA_ARGS__)

vq_id vq_add(struct vq_graph *g, vq_id a, vq_id b);
vq_id vq_sub(struct vq_graph *g, vq_id a, vq_id b);
vq_id vq_mul(struct vq_graph *g, vq_id a, vq_id b);
vq_id vq_div(struct vq_graph *g, vq_id a, vq_id b);
vq_id vq_neg(struct vq_graph *g, vq_id a);
vq_id vq_scale(struct vq_graph *g, vq_id a, double s);		/* s * a */
vq_id vq_offset(struct vq_graph *g, vq_id a, double s);		/* a + s */
vq_id vq_unary(struct vq_graph *g, const char *op, vq_id a);	/* an op without parameters */
vq_id vq_matmul(struct vq_graph *g, vq_id a, vq_id b, bool transpose_a, bool transpose_b);

/* Sum over the axes in the set (bit i: axis i), kept as axes of length 1 or dropped. */
vq_id vq_sum(struct vq_graph *g, vq_id a, unsigned axes, bool keep);
vq_id vq_mean(struct vq_graph *g, vq_id a, unsigned axes, bool keep);
vq_id vq_sum_all(struct vq_graph *g, vq_id a);
vq_id vq_reshape(struct vq_graph *g, vq_id a, const struct vq_shape *to);
vq_id vq_broadcast_to(struct vq_graph *g, vq_id a, const struct vq_shape *to);
/* Undoes broadcasting: sums a down to the shape. */
vq_id vq_sum_to(struct vq_graph *g, vq_id a, const struct vq_shape *to);
vq_id vq_cast(struct vq_graph *g, vq_id a, enum vq_dtype to);
vq_id vq_fill(struct vq_graph *g, const struct vq_type *t, double x);
/* A scalar constant of the same dtype as `like`. */
vq_id vq_scalar_like(struct vq_graph *g, vq_id like, double x);

/*
 * Reverse mode, graph to graph (one loop from the loss down).  grads[i] gets d
 * y / d wrt[i], zeros where y does not depend on it.  y is a scalar, or
 * cotangent gives the weight of each of its elements.  -1 after an error: an op
 * without gradient on the path, named with its origin.
 */
int vq_gradient(struct vq_graph *g, vq_id y, vq_id cotangent, const vq_id *wrt, int n, vq_id *grads);
/* d y / d x of a scalar y as part of the model: its nodes count as forward ones, for losses may be
 * made of it.  -1 after the same errors. */
int vq_derivative(struct vq_graph *g, vq_id y, vq_id x, vq_id *grad);
/* Whether y is computed from x on a path that gradients take: through floating values, not through stop. */
bool vq_depends(const struct vq_graph *g, vq_id y, vq_id x);

#endif
