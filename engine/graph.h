/*
 * graph -- the intermediate representation: arrays, ids, static single assignment
 *
 * A graph is an array of values and an array of nodes.  A value is a leaf
 * (input, parameter, state, constant) or an output of one node; a node uses
 * only values that exist already, so array order is execution order and no
 * sort exists anywhere.  Nothing is changed after it was added: passes make a
 * new graph (vq_graph_rewrite) or append.
 *
 * Writing is a list of stores: "at the end of the step, this leaf becomes that
 * value".  Every read of a leaf therefore sees the value from before the step.
 */
#ifndef VQ_ENGINE_GRAPH_H
#define VQ_ENGINE_GRAPH_H

#include "engine/diag.h"
#include "engine/param.h"
#include "engine/type.h"

typedef int32_t vq_id;
enum { VQ_NONE = -1 };

enum vq_value_kind {
	VQ_INPUT,	/* given at each step */
	VQ_PARAM,	/* trained by gradient */
	VQ_STATE,	/* updated by rule; what optimizers keep, too */
	VQ_CONST,	/* known now: graph->value[i].constant */
	VQ_COMPUTED
};

/* How a parameter or state gets its first value.  Keyed by seed and name. */
struct vq_init {
	enum { VQ_INIT_CONSTANT, VQ_INIT_UNIFORM, VQ_INIT_NORMAL, VQ_INIT_TRUNCATED, VQ_INIT_COPY } kind;
	double a, b;		/* constant: a; uniform: [a, b); normal: mean a, deviation b; truncated:
				   of that normal, what lies within 2 b of a */
	const char *of;		/* COPY: the variable whose first value this has */
};

struct vq_value {
	enum vq_value_kind kind;
	struct vq_type type;
	const struct vq_type *kept;	/* how memory has it, where that is bf16 for f32 (narrow.c); else NULL */
	const char *name;	/* unique; leaves: "enc.conv.0.weight", "image" */
	int32_t node;		/* COMPUTED: who makes it */
	int32_t port;		/* COMPUTED: which of its outputs */
	const void *constant;	/* CONST: dense data */
	struct vq_init init;	/* PARAM, STATE */
	struct vq_range where;	/* leaves: the declaration */
};

/* Where a node comes from: a step in a file, inside a block, inside a block... */
struct vq_origin {
	struct vq_range at;
	const char *path;	/* instance path: "enc.residual.0"; "" at the top */
	const char *what;	/* name of the op or block that stands there */
	int parent;		/* index of the origin it was expanded from, or VQ_NONE */
	bool recompute;		/* what it computes is not kept for gradients (recompute.c) */
};

struct vq_node {
	const struct vq_op *op;
	const void *params;
	const vq_id *in;
	int nin, nout;
	vq_id out;		/* first output; the others follow */
	int32_t origin;		/* VQ_NONE: made by a pass without one */
	bool backward;		/* made by the gradient pass */
	uint64_t key;		/* random ops: what the draw is for */
	const struct vq_ewise *epilogue;	/* applied to output 0 while it is written; its
					 * further operands are the last inputs */
};

struct vq_store {
	vq_id leaf;		/* PARAM or STATE */
	vq_id value;		/* its value after the step */
};

struct vq_output {
	const char *name;	/* as asked for: "loss", "vq.code" */
	vq_id value;
};

/* What a step `gradient` asked for: d of / d to is grad, nodes like any other. */
struct vq_slope {
	vq_id of, to, grad;
};

struct vq_graph {
	struct vq_arena arena;		/* owns every name, parameter and array below */
	const char *name;
	struct vq_value *value;
	int values, value_cap;
	struct vq_node *node;
	int nodes, node_cap;
	struct vq_store *store;
	int stores, store_cap;
	struct vq_output *output;	/* what a caller can ask for by name */
	int outputs, output_cap;
	struct vq_origin *origin;
	int origins, origin_cap;
	struct vq_output *named;	/* what can be asked for by name, kept alive by nothing */
	int nameds, named_cap;
	struct vq_slope *slope;		/* kept alive by nothing */
	int slopes, slope_cap;
	struct vq_names names;		/* leaves by name */
	struct vq_diags *diags;		/* errors of infer and of passes go here */
	int32_t now;			/* origin of the nodes being added */
	bool backward;			/* nodes being added are the gradient's */
	bool train;			/* built with $train = 1 */
};

struct vq_graph *vq_graph_new(const char *name, struct vq_diags *d);
void vq_graph_free(struct vq_graph *g);

/* Leaves.  The name must be new in this graph. */
vq_id vq_graph_leaf(struct vq_graph *g, enum vq_value_kind kind, const char *name, const struct vq_type *t);
vq_id vq_graph_find(const struct vq_graph *g, const char *leaf_name);	/* VQ_NONE when absent */
vq_id vq_graph_const(struct vq_graph *g, const struct vq_type *t, const void *data);
/* A constant of n equal elements is stored as one scalar: shape is that of a scalar. */
vq_id vq_graph_scalar(struct vq_graph *g, enum vq_dtype t, double x);

/*
 * Appends a node and returns its first output, or VQ_NONE after an error of
 * the op's infer (reported with the types and origins of the inputs).  params
 * is copied.  Any input VQ_NONE: VQ_NONE, silently, since it was reported.
 */
vq_id vq_graph_add(struct vq_graph *g, const struct vq_op *op, const void *params,
    const vq_id *in, int nin);
/* The same with an epilogue on output 0: the inputs past the op's own are the
 * epilogue's operands 1.. (operand 0 is the output itself).  epilogue is copied. */
vq_id vq_graph_add_epilogue(struct vq_graph *g, const struct vq_op *op, const void *params,
    const vq_id *in, int nin, const struct vq_ewise *epilogue);
/* Makes the node of v, just added, draw what the node with this key draws. */
void vq_graph_set_key(struct vq_graph *g, vq_id v, uint64_t key);
/* How many of a node's inputs are the op's own. */
int vq_node_own_inputs(const struct vq_node *n);
void vq_graph_store(struct vq_graph *g, vq_id leaf, vq_id value);
void vq_graph_output(struct vq_graph *g, const char *name, vq_id value);
/* Names a value without keeping it alive. */
void vq_graph_name(struct vq_graph *g, const char *name, vq_id value);
/* Records that grad is d of / d to, which keeps nothing alive. */
void vq_graph_slope(struct vq_graph *g, vq_id of, vq_id to, vq_id grad);
/* Among outputs, then named values, then leaves; VQ_NONE when absent. */
vq_id vq_graph_find_output(const struct vq_graph *g, const char *name);
int vq_graph_origin(struct vq_graph *g, const struct vq_origin *o);

static inline const struct vq_type *
vq_type_at(const struct vq_graph *g, vq_id v)
{
	return &g->value[v].type;
}
static inline const struct vq_type *
vq_kept_type(const struct vq_graph *g, vq_id v)
{
	return g->value[v].kept ? g->value[v].kept : &g->value[v].type;
}
static inline const struct vq_node *
vq_node_of(const struct vq_graph *g, vq_id v)
{
	return g->value[v].kind == VQ_COMPUTED ? &g->node[g->value[v].node] : NULL;
}

/* By value, which integers it may hold for what is done with it (op.h, `places`): `below` is
 * INT64_MAX where all.  The array is the caller's. */
struct vq_places;
struct vq_places *vq_graph_places(const struct vq_graph *g);

/*
 * Rewriting: a new graph with the same leaves, outputs, stores, slopes and origins, its
 * nodes those that `each` emits for every node of `from` in order.  map[v] is
 * the new id of the old value v; `each` fills the entries of its node's outputs
 * (vq_rewrite_copy does so by copying the node).
 */
struct vq_rewrite {
	const struct vq_graph *from;
	struct vq_graph *to;
	vq_id *map;
	void *arg;
};
typedef void vq_rewrite_fn(struct vq_rewrite *r, int node);
struct vq_graph *vq_graph_rewrite(const struct vq_graph *from, vq_rewrite_fn *each, void *arg);
void vq_rewrite_copy(struct vq_rewrite *r, int node);
void vq_rewrite_copy_as(struct vq_rewrite *r, int node, const void *params);	/* with other parameters */

/* How many nodes, stores and outputs read each value; the array is the caller's. */
int *vq_graph_uses(const struct vq_graph *g);
/* Whether an output or store depends on each value; the array is the caller's. */
bool *vq_graph_needed(const struct vq_graph *g);

/* Checks every invariant of engine/README.md; vq_bug when one does not hold. */
void vq_graph_verify(const struct vq_graph *g, const char *after_pass);
/* The text form, one line a value or node, stable enough for golden files. */
void vq_graph_text(const struct vq_graph *g, struct vq_text *out);

/* Adds "a = f32[2, 3]   from conv [file:19]" to an error about the step being added. */
void vq_graph_describe(const struct vq_graph *g, struct vq_diag *e, const char *port, vq_id id);
/* Adds "in residual, expanded as enc.residual.0 from file:line:col" notes. */
void vq_origin_notes(const struct vq_graph *g, int origin, struct vq_diag *e);

#endif
