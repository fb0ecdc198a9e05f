/*
 * incremental_rules -- which ops treat positions apart, and along which axes
 *
 * The one place of the pass that knows ops by name.  An op that is not here is refused,
 * unless it is elementwise.
 */
#include <string.h>

#include "engine/incremental_private.h"

bool
vq_is_positions(const struct vq_node *n)
{
	return n && strcmp(n->op->name, "positions") == 0;
}

/* Time of input j is where it would be in the output, counted from the last axis. */
static bool
aligned(const struct vq_walk *w, const struct vq_node *n, int j)
{
	int a = w->axis[n->in[j]], y = w->axis[n->out];

	if (a == VQ_NONE)
		return true;
	return y != VQ_NONE && vq_type_at(w->from, n->in[j])->shape.rank - a == vq_type_at(w->from, n->out)->shape.rank - y;
}

static const char *
elementwise(const struct vq_walk *w, const struct vq_node *n)
{
	for (int j = 0; j < n->nin; j++)
		if (!aligned(w, n, j))
			return "meets positions with other positions";
	return NULL;
}

/* The integer parameter of that name. */
int64_t
vq_node_int(const struct vq_node *n, const char *name)
{
	const struct vq_param *p = vq_param_find(n->op->params, name);

	vq_assert(p && p->kind == VQ_P_INT);
	return *(const int64_t *)((const char *)n->params + p->offset);
}

bool
vq_node_bool(const struct vq_node *n, const char *name)
{
	const struct vq_param *p = vq_param_find(n->op->params, name);

	vq_assert(p && p->kind == VQ_P_BOOL);
	return *(const bool *)((const char *)n->params + p->offset);
}

/* Works along `axis` alone. */
static const char *
along_axis(const struct vq_walk *w, const struct vq_node *n)
{
	for (int j = 0; j < n->nin; j++) {
		int rank = vq_type_at(w->from, n->in[j])->shape.rank;
		int64_t axis = vq_node_int(n, "axis");
		if (w->axis[n->in[j]] == (axis < 0 ? axis + rank : axis))
			return "works along the axis of time";
	}
	return NULL;
}

/* Works along `axes`, all of them when none is given. */
static const char *
along_axes(const struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_param *p = vq_param_find(n->op->params, "axes");
	const struct vq_ints *axes = (const void *)((const char *)n->params + p->offset);
	int rank = vq_type_at(w->from, n->in[0])->shape.rank, time = w->axis[n->in[0]];
	bool along = axes->count == 0;

	for (int i = 0; i < axes->count; i++)
		along |= time == (axes->v[i] < 0 ? axes->v[i] + rank : axes->v[i]);
	return along && time != VQ_NONE ? "works along the axis of time" : NULL;
}

/* Works along the last axes, as many as `axes` says. */
static const char *
along_last(const struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_param *p = n->op->params ? vq_param_find(n->op->params, "axes") : NULL;
	int64_t last = p ? vq_node_int(n, "axes") : 1;

	return w->axis[n->in[0]] >= vq_type_at(w->from, n->in[0])->shape.rank - last ?
	    "works along the axis of time" : NULL;
}

static const char *
any_axis(const struct vq_walk *w, const struct vq_node *n)
{
	return NULL;
}

/* Rows before and after the axis must stay what they are. */
static const char *
reshape(const struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_shape *x = &vq_type_at(w->from, n->in[0])->shape, *y = &vq_type_at(w->from, n->out)->shape;
	int a = w->axis[n->in[0]], b = w->axis[n->out];

	return a != VQ_NONE && b != VQ_NONE && vq_shape_span(x, 0, a) == vq_shape_span(y, 0, b) ? NULL :
	    "merges time with another axis";
}

static const char *
matmul(const struct vq_walk *w, const struct vq_node *n)
{
	int ra = vq_type_at(w->from, n->in[0])->shape.rank, rb = vq_type_at(w->from, n->in[1])->shape.rank;
	int y = vq_type_at(w->from, n->out)->shape.rank, a = w->axis[n->in[0]], b = w->axis[n->in[1]];
	int row = vq_node_bool(n, "transpose_a") ? ra - 1 : ra - 2, column = vq_node_bool(n, "transpose_b") ? rb - 2 : rb - 1;

	if ((a != VQ_NONE && a >= ra - 2 && a != row) || (b != VQ_NONE && b >= rb - 2 && b != column))
		return "sums over positions";
	int ya = a == VQ_NONE ? VQ_NONE : a == row ? y - 2 : a + y - ra;
	int yb = b == VQ_NONE ? VQ_NONE : b == column ? y - 1 : b + y - rb;
	return (ya == VQ_NONE || ya == w->axis[n->out]) && (yb == VQ_NONE || yb == w->axis[n->out]) ? NULL :
	    "meets positions with other positions";
}

/* Positions choose rows of a table; the table itself is the same for all of them. */
static const char *
lookup(const struct vq_walk *w, const struct vq_node *n)
{
	return w->moves[n->in[0]] ? "looks into a table that depends on the tokens" : NULL;
}

static const char *
rotary(const struct vq_walk *w, const struct vq_node *n)
{
	return w->axis[n->in[0]] == 1 && w->axis[n->in[1]] == 0 ? NULL : "wants time as axis 1 of x, and its position";
}

static const char *
attention(const struct vq_walk *w, const struct vq_node *n)
{
	int q = w->axis[n->in[0]], k = w->axis[n->in[1]], v = w->axis[n->in[2]];
	bool causal = vq_node_bool(n, "causal");

	if (k == VQ_NONE && v == VQ_NONE)	/* to something that is there from the beginning */
		return q == 1 && !causal ? NULL : "is causal over keys that do not grow";
	if (q != 1 || k != 1 || v != 1)
		return "wants time as axis 1 of q, k and v";
	for (int i = 0; i < w->from->nodes; i++)
		for (int j = 0; w->live[i] && j < w->from->node[i].nin; j++)
			if (w->from->node[i].in[j] > n->out && w->from->node[i].in[j] < n->out + n->nout)
				return "keeps nothing but its values at each position";
	return causal ? NULL : "lets each position see later ones (causal is false)";
}

static const struct vq_rule rules[] = {
	{ "attention", attention, VQ_RULE_CACHED },
	{ "rotary", rotary },
	{ "matmul", matmul, VQ_RULE_PRODUCT },
	{ "lookup", lookup, VQ_RULE_TABLE },
	{ "reshape", reshape, VQ_RULE_SHAPED }, { "broadcast_to", elementwise, VQ_RULE_SHAPED },
	{ "transpose", any_axis }, { "one_hot", any_axis },
	{ "cast", elementwise }, { "stop", elementwise }, { "straight_through", elementwise },
	{ "softmax", along_axis }, { "log_softmax", along_axis }, { "logsumexp", along_axis },
	{ "argmax", along_axis }, { "argmin", along_axis }, { "concat", along_axis }, { "slice", along_axis },
	{ "sum", along_axes }, { "mean", along_axes }, { "max", along_axes }, { "min", along_axes },
	{ "variance", along_axes },
	{ "layer_norm", along_last }, { "layer_norm_affine", along_last }, { "rms_norm", along_last }, { "nearest", along_last },
};

const struct vq_rule *
vq_incremental_rule(const struct vq_op *op)
{
	static const struct vq_rule by_element = { NULL, elementwise, VQ_RULE_PLAIN };

	for (size_t i = 0; i < VQ_COUNT(rules); i++)
		if (strcmp(rules[i].op, op->name) == 0)
			return &rules[i];
	return op->flags & VQ_OP_ELEMENTWISE ? &by_element : NULL;
}
