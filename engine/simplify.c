/*
 * simplify -- constants, identities, common and dead nodes
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/passes.h"

enum { FOLD_LIMIT = 64 };	/* elements of a result worth computing now */

struct twins {
	int *slot;		/* node of the new graph + 1, or 0 */
	int count, cap;
};

struct simplify {
	struct twins twins;
	bool *live;		/* by node of the old graph */
	vq_id *constant;	/* the different constants of the new graph */
	int constants, constant_cap;
	const struct vq_op *add, *sub, *mul, *div, *broadcast_to;
};

static bool *
live_nodes(const struct vq_graph *g)
{
	bool *live = vq_alloc_array((size_t)g->nodes + 1, sizeof(*live));
	bool *needed = vq_graph_needed(g);

	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nout; j++)
			live[i] |= needed[g->node[i].out + j];
	free(needed);
	return live;
}

/* --- common nodes -------------------------------------------------------- */

static uint64_t
node_hash(const struct vq_op *op, const vq_id *in, int nin)
{
	uint64_t h = vq_hash(in, sizeof(*in) * (size_t)nin, (uint64_t)(uintptr_t)op);

	return h;
}

static bool
same_params(const struct vq_op *op, const void *a, const void *b)
{
	if (op->size == 0)
		return true;
	return op->params ? vq_param_equal(op->params, a, b) : memcmp(a, b, op->size) == 0;
}

static void
twins_grow(struct twins *t, const struct vq_graph *g)
{
	struct twins old = *t;

	t->cap = old.cap ? 2 * old.cap : 256;
	t->slot = vq_alloc_array((size_t)t->cap, sizeof(*t->slot));
	for (int i = 0; i < old.cap; i++) {
		if (old.slot[i] == 0)
			continue;
		const struct vq_node *n = &g->node[old.slot[i] - 1];
		uint64_t h = node_hash(n->op, n->in, n->nin);
		while (t->slot[h % (uint64_t)t->cap])
			h++;
		t->slot[h % (uint64_t)t->cap] = old.slot[i];
	}
	free(old.slot);
}

/* Adds a node unless its twin is there. */
static vq_id
add_unique(struct vq_rewrite *r, const struct vq_op *op, const void *params, const vq_id *in, int nin)
{
	struct simplify *s = r->arg;
	struct vq_graph *g = r->to;

	if (op->flags & VQ_OP_RANDOM)
		return vq_graph_add(g, op, params, in, nin);
	if (2 * (s->twins.count + 1) > s->twins.cap)
		twins_grow(&s->twins, g);
	uint64_t h = node_hash(op, in, nin);
	int *slot;
	while (*(slot = &s->twins.slot[h % (uint64_t)s->twins.cap])) {
		const struct vq_node *n = &g->node[*slot - 1];
		if (n->op == op && n->nin == nin && memcmp(n->in, in, sizeof(*in) * (size_t)nin) == 0 &&
		    same_params(op, n->params, params))
			return n->out;
		h++;
	}
	vq_id out = vq_graph_add(g, op, params, in, nin);
	vq_assert(out != VQ_NONE);
	*slot = g->nodes;
	s->twins.count++;
	return out;
}

/* --- constants ----------------------------------------------------------- */

static bool
scalar_constant(const struct vq_graph *g, vq_id v, double *x)
{
	const struct vq_value *val = &g->value[v];

	if (val->kind != VQ_CONST || vq_shape_count(&val->type.shape) != 1)
		return false;
	*x = vq_get(&(struct vq_view){ (void *)(uintptr_t)val->constant, &val->type }, 0);
	return true;
}

/* The canonical id of a constant: the first seen with the same type and bytes. */
static vq_id
unique_constant(struct simplify *s, const struct vq_graph *g, vq_id v)
{
	const struct vq_value *c = &g->value[v];

	if (c->kind != VQ_CONST)
		return v;
	for (int i = 0; i < s->constants; i++) {
		const struct vq_value *o = &g->value[s->constant[i]];
		if (vq_type_equal(&o->type, &c->type) &&
		    memcmp(o->constant, c->constant, vq_type_bytes(&c->type)) == 0)
			return s->constant[i];
	}
	vq_grow(s->constant, s->constants, s->constant_cap);
	s->constant[s->constants++] = v;
	return v;
}

/* Computes a node of constants with its reference kernel. */
static bool
fold(struct vq_rewrite *r, const struct vq_node *n, const vq_id *in)
{
	struct vq_view views[VQ_MAX_IN], out[VQ_MAX_OUT];
	void *room[VQ_MAX_OUT];
	const struct vq_graph *from = r->from;

	if (n->op->ref == NULL || (n->op->flags & VQ_OP_RANDOM) || n->nin == 0 || n->op->scratch)
		return false;
	for (int i = 0; i < n->nin; i++) {
		const struct vq_value *v = &r->to->value[in[i]];
		if (v->kind != VQ_CONST)
			return false;
		views[i] = (struct vq_view){ (void *)(uintptr_t)v->constant, &v->type };
	}
	for (int i = 0; i < n->nout; i++)
		if (vq_shape_count(&from->value[n->out + i].type.shape) > FOLD_LIMIT)
			return false;
	for (int i = 0; i < n->nout; i++) {
		room[i] = vq_alloc(vq_type_bytes(&from->value[n->out + i].type) + 8);
		out[i] = (struct vq_view){ room[i], &from->value[n->out + i].type };
	}
	n->op->ref(&(struct vq_call){ .params = n->params, .nin = n->nin, .nout = n->nout,
	    .in = views, .out = out, .threads = 1 });
	for (int i = 0; i < n->nout; i++) {
		r->map[n->out + i] = unique_constant(r->arg, r->to,
		    vq_graph_const(r->to, &from->value[n->out + i].type, room[i]));
		free(room[i]);
	}
	return true;
}

/* --- identities ---------------------------------------------------------- */

/* The value that this node merely repeats, or VQ_NONE. */
static vq_id
repeats(const struct vq_rewrite *r, const struct vq_node *n, const vq_id *in)
{
	const struct simplify *s = r->arg;
	const struct vq_type *out = &r->from->value[n->out].type;
	double x;

	if ((n->op->flags & VQ_OP_ALIAS) && vq_type_equal(out, vq_type_at(r->to, in[0])))
		return in[0];
	if ((n->op == s->add || n->op == s->sub) && scalar_constant(r->to, in[1], &x) && x == 0 &&
	    vq_type_equal(out, vq_type_at(r->to, in[0])))
		return in[0];
	if ((n->op == s->mul || n->op == s->div) && scalar_constant(r->to, in[1], &x) && x == 1 &&
	    vq_type_equal(out, vq_type_at(r->to, in[0])))
		return in[0];
	if (n->op == s->add && scalar_constant(r->to, in[0], &x) && x == 0 &&
	    vq_type_equal(out, vq_type_at(r->to, in[1])))
		return in[1];
	if (n->op == s->mul && scalar_constant(r->to, in[0], &x) && x == 1 &&
	    vq_type_equal(out, vq_type_at(r->to, in[1])))
		return in[1];
	return VQ_NONE;
}

/* A view of a view is a view of the first. */
static void
skip_views(const struct vq_graph *g, const struct vq_node *n, vq_id *in)
{
	const struct vq_node *of;

	if (!(n->op->flags & VQ_OP_ALIAS) || n->nin != 1)
		return;
	while ((of = vq_node_of(g, in[0])) && of->op == n->op)
		in[0] = of->in[0];
}

/*
 * An elementwise op broadcasts by itself: it reads what was broadcast instead
 * of the large copy.  When every operand shrinks so, the op is computed small
 * and its result broadcast (which the next elementwise op again looks through).
 */
static vq_id
look_through_broadcasts(struct vq_rewrite *r, const struct vq_node *n, vq_id *in)
{
	const struct simplify *s = r->arg;
	const struct vq_graph *g = r->to;
	struct vq_type want = r->from->value[n->out].type;
	struct vq_shape shape = { 0 };
	bool any = false;
	vq_id small[VQ_MAX_IN];

	for (int i = 0; i < n->nin; i++) {
		const struct vq_node *of = vq_node_of(g, in[i]);
		small[i] = of && of->op == s->broadcast_to ? of->in[0] : in[i];
		any |= small[i] != in[i];
	}
	if (!any)
		return VQ_NONE;
	for (int i = 0; i < n->nin; i++) {
		struct vq_shape sum;
		if (!vq_shape_broadcast(&shape, &g->value[small[i]].type.shape, &sum))
			return VQ_NONE;
		shape = sum;
	}
	vq_id out = add_unique(r, n->op, n->params, small, n->nin);
	if (vq_shape_equal(&shape, &want.shape))
		return out;
	struct vq_ints to = { .count = want.shape.rank };
	for (int i = 0; i < want.shape.rank; i++)
		to.v[i] = want.shape.dim[i];
	vq_assert(s->broadcast_to->size == sizeof(to));
	return add_unique(r, s->broadcast_to, &to, &out, 1);
}

static void
simplify_node(struct vq_rewrite *r, int i)
{
	const struct simplify *s = r->arg;
	const struct vq_node *n = &r->from->node[i];
	vq_id in[VQ_MAX_IN], out;

	if (!s->live[i])
		return;
	for (int j = 0; j < n->nin; j++)
		in[j] = unique_constant(r->arg, r->to, r->map[n->in[j]]);
	skip_views(r->to, n, in);
	if ((out = repeats(r, n, in)) != VQ_NONE) {
		r->map[n->out] = out;
		return;
	}
	if (n->epilogue) {
		vq_rewrite_copy(r, i);
		return;
	}
	if (fold(r, n, in))
		return;
	if ((n->op->flags & VQ_OP_ELEMENTWISE) && (out = look_through_broadcasts(r, n, in)) != VQ_NONE) {
		r->map[n->out] = out;
		return;
	}
	out = add_unique(r, n->op, n->params, in, n->nin);
	if (n->op->flags & VQ_OP_RANDOM)
		vq_graph_set_key(r->to, out, n->key);
	for (int j = 0; j < n->nout; j++)
		r->map[n->out + j] = out + j;
}

struct vq_graph *
vq_pass_simplify(struct vq_graph *g)
{
	struct simplify s = {
		.live = live_nodes(g),
		.add = vq_op_find("add"), .sub = vq_op_find("sub"), .mul = vq_op_find("mul"),
		.div = vq_op_find("div"), .broadcast_to = vq_op_find("broadcast_to"),
	};
	struct vq_graph *to = vq_graph_rewrite(g, simplify_node, &s);

	free(s.live);
	free(s.twins.slot);
	free(s.constant);
	vq_graph_free(g);
	return vq_pass_sweep(to);
}

/* --- dead nodes ---------------------------------------------------------- */

static void
keep_if_live(struct vq_rewrite *r, int i)
{
	if (((const bool *)r->arg)[i])
		vq_rewrite_copy(r, i);
}

struct vq_graph *
vq_pass_sweep(struct vq_graph *g)
{
	bool *live = live_nodes(g);
	struct vq_graph *to = vq_graph_rewrite(g, keep_if_live, live);

	free(live);
	vq_graph_free(g);
	return to;
}

/* --- compositions -------------------------------------------------------- */

static bool
has_kernel(const struct vq_graph *g, const struct vq_node *n)
{
	if (n->op->ref != NULL)
		return true;
	if (n->op->run == NULL)
		return false;
	for (int i = 0; i < n->nin; i++) {
		enum vq_dtype t = g->value[n->in[i]].type.dtype;
		if (vq_is_float(t) && t != VQ_F32)
			return false;
	}
	return true;
}

static void
lower_node(struct vq_rewrite *r, int i)
{
	const struct vq_node *n = &r->from->node[i];
	vq_id in[VQ_MAX_IN], out[VQ_MAX_OUT];

	if (n->op->compose == NULL || (has_kernel(r->from, n) && !*(const bool *)r->arg)) {
		vq_rewrite_copy(r, i);
		return;
	}
	for (int j = 0; j < n->nin; j++)
		in[j] = r->map[n->in[j]];
	for (int j = 0; j < VQ_MAX_OUT; j++)
		out[j] = VQ_NONE;
	n->op->compose(&(struct vq_compose){ .to = r->to, .params = n->params, .nin = n->nin,
	    .in = in, .key = n->key, .out = out });
	for (int j = 0; j < n->nout; j++)
		r->map[n->out + j] = out[j];
}

/* Compositions may use compositions: until none is left. */
struct vq_graph *
vq_pass_lower(struct vq_graph *g, bool all)
{
	for (bool more = true; more; ) {
		more = false;
		for (int i = 0; i < g->nodes; i++)
			more |= g->node[i].op->compose && (all || !has_kernel(g, &g->node[i]));
		if (!more)
			break;
		struct vq_graph *to = vq_graph_rewrite(g, lower_node, &all);
		vq_graph_free(g);
		g = to;
	}
	return g;
}
