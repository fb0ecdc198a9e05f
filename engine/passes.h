/*
 * passes -- graph in, graph out; compile.c lists them in order
 *
 * Each takes its graph over and returns the next one.
 */
#ifndef VQ_ENGINE_PASSES_H
#define VQ_ENGINE_PASSES_H

#include "engine/graph.h"

/* Ops that have no kernel for their types (with all: every op that has a composition)
 * become their smaller ops. */
struct vq_graph *vq_pass_lower(struct vq_graph *g, bool all);
/* Constants folded, identities dropped, twins merged, broadcasts pushed down to
 * where they are free, what nothing needs removed. */
struct vq_graph *vq_pass_simplify(struct vq_graph *g);
/* What steps with `recompute` computed, and what is cheap, is computed again for gradients. */
struct vq_compile;
struct vq_graph *vq_pass_recompute(struct vq_graph *g, const struct vq_compile *how);
/* Products whose precision is auto become those of bf16, and what they make for activations is rounded. */
struct vq_graph *vq_pass_precision(struct vq_graph *g);
/* What leaves take over is computed as soon as nothing reads what they held. */
struct vq_graph *vq_pass_order(struct vq_graph *g);
/* What is rounded to bf16 anyway is bf16 in memory. */
struct vq_graph *vq_pass_narrow(struct vq_graph *g);
/* Elementwise chains into single walks over memory, and into the epilogues of
 * the products and convolutions that feed them. */
struct vq_graph *vq_pass_fuse(struct vq_graph *g);
/* Nodes that no output and no store needs are dropped. */
struct vq_graph *vq_pass_sweep(struct vq_graph *g);

/* What a node's cost functions are to know; in and out are room for its types, as infer knows them or
 * (kept) as memory has them. */
struct vq_cost;
struct vq_cost vq_cost_of(const struct vq_graph *g, const struct vq_node *n, struct vq_type *in, struct vq_type *out, bool kept);

#endif
