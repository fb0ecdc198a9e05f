/*
 * incremental_private -- what the files of the incremental pass share
 */
#ifndef VQ_ENGINE_INCREMENTAL_PRIVATE_H
#define VQ_ENGINE_INCREMENTAL_PRIVATE_H

#include "engine/incremental.h"
#include "engine/op.h"

struct vq_walk {
	const struct vq_graph *from, *less;	/* at full length, at one less */
	int64_t length;
	struct vq_graph *step, *once;
	int *axis;		/* by value of from: its axis of time, or VQ_NONE */
	bool *moves;		/* by value: depends on an input with that axis */
	bool *constant;		/* by value: depends on nothing */
	bool *live;		/* by node: the output needs it */
	vq_id *now;		/* by value: in step, at the position */
	vq_id *kept;		/* by value: in step, at full length */
	vq_id *whole;		/* by value: in once */
	vq_id position;
	int keeps, caches;
	bool failed;
	struct vq_diags *d;
};

/* How a node is emitted at one position. */
enum vq_rule_form {
	VQ_RULE_PLAIN,		/* as it is */
	VQ_RULE_SHAPED,		/* with the lengths of its result as its parameter */
	VQ_RULE_TABLE,		/* input 0 is read as a whole */
	VQ_RULE_CACHED,		/* attention */
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
/* The integer parameter of that name. */
int64_t vq_node_int(const struct vq_node *n, const char *name);

#endif
