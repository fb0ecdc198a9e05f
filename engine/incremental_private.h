/*
 * incremental_private -- what the files of the incremental pass share
 */
#ifndef VQ_ENGINE_INCREMENTAL_PRIVATE_H
#define VQ_ENGINE_INCREMENTAL_PRIVATE_H

#include "engine/incremental.h"
#include "engine/op.h"

#define VQ_INCREMENTAL_ONCE "once."	/* begins the names of what is computed before the first step */

struct vq_walk {
	const struct vq_graph *from, *less;	/* at full length, at one less */
	int64_t length;
	struct vq_graph *step, *once, *weights;
	int *axis;		/* by value of from: its axis of time, or VQ_NONE */
	bool *moves;		/* by value: depends on an input with that axis */
	bool *given;		/* by value: depends on any input */
	bool *constant;		/* by value: depends on nothing */
	bool *live;		/* by node: the output needs it */
	vq_id *now;		/* by value: in step, at the position */
	vq_id *whole;		/* by value: at full length, in once or weights */
	int *kept;		/* by value: the number it is stored under, or VQ_NONE */
	vq_id *packed;		/* four times by value: in step, packed as it is and as its transpose, in f32 and bf16 */
	vq_id position;
	int keeps, caches;
	bool bf16, failed;
	struct vq_diags *d;
};

/* How a node is emitted at one position. */
enum vq_rule_form {
	VQ_RULE_PLAIN,		/* as it is */
	VQ_RULE_SHAPED,		/* with the lengths of its result as its parameter */
	VQ_RULE_TABLE,		/* input 0 is read as a whole */
	VQ_RULE_CACHED,		/* attention */
	VQ_RULE_PRODUCT,	/* with a matrix that stays the same packed */
};

struct vq_rule {
	const char *op;
	/* How the node mixes positions, as in "works along the axis of time"; NULL: it does not. */
	const char *(*mixes)(const struct vq_walk *w, const struct vq_node *n);
	enum vq_rule_form form;
};

/* The rule of an op, or NULL. */
const struct vq_rule *vq_incremental_rule(const struct vq_op *op);
/* Counts an axis: reads nothing of its input but the shape. */
bool vq_is_positions(const struct vq_node *n);
/* The parameter of that name. */
int64_t vq_node_int(const struct vq_node *n, const char *name);
bool vq_node_bool(const struct vq_node *n, const char *name);

/* A leaf of `from` in another graph, with a type of its own. */
vq_id vq_incremental_leaf(struct vq_walk *w, struct vq_graph *to, vq_id v, const struct vq_type *type);
/* A node in another graph, on inputs there. */
vq_id vq_incremental_add(struct vq_graph *to, const struct vq_node *n, const vq_id *in);
/* In step, all of a value that does not move. */
vq_id vq_incremental_kept(struct vq_walk *w, vq_id v);
/* Whether a product is of rows with one matrix that is the same at each position; then its
 * result in step, of rows a there and the matrix packed once. */
bool vq_incremental_can_pack(const struct vq_walk *w, const struct vq_node *n);
vq_id vq_incremental_product(struct vq_walk *w, const struct vq_node *n, vq_id a);

#endif
