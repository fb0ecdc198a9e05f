/*
 * incremental -- a causal graph, rewritten to compute one position per call
 *
 * The graph is expanded twice, at its full length and at one less.  Both are alike node
 * by node, so the axis in which the types of a value differ is time, exactly: no
 * pattern is guessed, and a table that is cut to the length has the axis, too.
 * Then each node that depends on the tokens is emitted at length 1, provided that its
 * rule says that it treats positions apart; causal attention gets a cache.  What does not
 * depend on tokens is computed once at full length, and its row looked up.
 *
 * incremental_rules.c knows what each op does along each axis, incremental_once.c makes
 * what does not move.
 */
#include "engine/incremental_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

#define CACHE "cache."
enum { SMALL = 64 };		/* elements of a constant value that folding will compute */

/* --- errors --------------------------------------------------------------- */

static struct vq_diag *
refuse(struct vq_walk *w, const struct vq_node *n, const char *why)
{
	const struct vq_graph *g = w->from;
	struct vq_diag *e = vq_error(w->d, VQ_CONFIG, n->origin == VQ_NONE ? NULL : &g->origin[n->origin].at,
	    "%s %s, so graph %s cannot be computed one position at a time", n->op->name, why, g->name);
	char port[32];

	for (int i = 0; i < n->nin; i++) {
		snprintf(port, sizeof(port), "x[%d]", i);
		vq_graph_describe(g, e, vq_op_variadic(n->op) ? port : n->op->in[i], n->in[i]);
		if (w->axis[n->in[i]] != VQ_NONE)
			vq_detail(e, NULL, "    axis %d of it is time", w->axis[n->in[i]]);
	}
	vq_help(e, "a position sees earlier ones through attention with causal: true, and through nothing else");
	vq_origin_notes(g, n->origin, e);
	w->failed = true;
	return e;
}

/* --- where time is --------------------------------------------------------- */

static bool
alike(struct vq_walk *w)
{
	const struct vq_graph *a = w->from, *b = w->less;
	bool same = a->nodes == b->nodes && a->values == b->values;

	for (int i = 0; same && i < a->nodes; i++) {
		const struct vq_node *x = &a->node[i], *y = &b->node[i];
		same = x->op == y->op && x->nin == y->nin && x->nout == y->nout && x->out == y->out &&
		    memcmp(x->in, y->in, sizeof(*x->in) * (size_t)x->nin) == 0;
	}
	if (!same)
		vq_error(w->d, VQ_CONFIG, NULL, "graph %s has other steps at length %lld than at %lld: an `if` or "
		    "`repeat` depends on it, so it cannot be computed one position at a time", a->name,
		    (long long)w->length, (long long)w->length - 1);
	return same;
}

/* The axis in which a value grows, from its types at both lengths.  false: none that
 * is time itself. */
static bool
find_axis(const struct vq_walk *w, vq_id v, int *axis)
{
	const struct vq_shape *a = &w->from->value[v].type.shape, *b = &w->less->value[v].type.shape;

	*axis = VQ_NONE;
	if (a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++) {
		if (a->dim[i] == b->dim[i])
			continue;
		if (*axis != VQ_NONE || a->dim[i] != w->length || b->dim[i] != w->length - 1)
			return false;
		*axis = i;
	}
	return true;
}

static void
find_live(struct vq_walk *w, vq_id output)
{
	const struct vq_graph *g = w->from;
	bool *needed = vq_alloc_array((size_t)g->values + 1, sizeof(*needed));

	needed[output] = true;
	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		for (int o = 0; o < n->nout; o++)
			w->live[i] |= needed[n->out + o];
		for (int j = 0; w->live[i] && j < n->nin; j++)
			needed[n->in[j]] = true;
	}
	free(needed);
}

/* A value whose axes are not time, or time in one: 2 * time, n * time, time * time. */
static void
odd_axis(struct vq_walk *w, vq_id v)
{
	const struct vq_value *val = &w->from->value[v];
	char type[VQ_TYPE_STR], why[VQ_TYPE_STR + 64];

	vq_type_str(&val->type, type);
	if (val->kind == VQ_COMPUTED) {
		snprintf(why, sizeof(why), "makes %s, where time is not an axis of its own", type);
		refuse(w, &w->from->node[val->node], why);
		return;
	}
	vq_error(w->d, VQ_CONFIG, &val->where, "%s is %s at length %lld: time must be one axis of it", val->name,
	    type, (long long)w->length);
	w->failed = true;
}

static void
classify(struct vq_walk *w)
{
	const struct vq_graph *g = w->from;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		const struct vq_node *n = vq_node_of(g, v);
		bool time = find_axis(w, v, &w->axis[v]);
		w->constant[v] = val->kind == VQ_CONST;
		if (vq_is_positions(n)) {
			continue;	/* whatever its input is: it reads a shape */
		} else if (n) {
			w->constant[v] = true;
			w->given[v] = n->op->flags & VQ_OP_RANDOM;
			for (int j = 0; j < n->nin; j++) {
				w->moves[v] |= w->moves[n->in[j]];
				w->given[v] |= w->given[n->in[j]];
				w->constant[v] &= w->constant[n->in[j]];
			}
		} else {
			w->given[v] = val->kind == VQ_INPUT;
			w->moves[v] = w->given[v] && w->axis[v] != VQ_NONE;
		}
		if (!time && (n == NULL || (w->live[val->node] && w->moves[v])))
			odd_axis(w, v);
	}
}

/* "axes=[1,0,2]": the given axis first, or back from there. */
static vq_id
to_front(struct vq_graph *g, vq_id v, int axis, bool back)
{
	struct vq_text axes = { 0 };
	int rank = g->value[v].type.shape.rank;

	for (int i = 0; i < rank; i++) {
		int there = back ? (i < axis ? i + 1 : i == axis ? 0 : i) : (i == 0 ? axis : i <= axis ? i - 1 : i);
		vq_text_add(&axes, "%s%d", i ? "," : "axes=[", there);
	}
	v = VQ_EMIT1(g, "transpose", v, "%s]", axes.s);
	vq_text_free(&axes);
	return v;
}

/* The row at the position of a value at full length. */
static vq_id
row(struct vq_walk *w, vq_id v, int axis)
{
	struct vq_graph *g = w->step;
	enum vq_dtype type = g->value[v].type.dtype;

	if (!vq_is_float(type))		/* lookup is of real numbers; f64 holds all that are counted with */
		v = vq_cast(g, v, VQ_F64);
	if (axis > 0)
		v = to_front(g, v, axis, false);
	v = VQ_EMIT2(g, "lookup", v, w->position, " ");
	if (axis > 0)
		v = to_front(g, v, axis, true);
	return vq_is_float(type) ? v : vq_cast(g, v, type);
}

/* A value in step, at the position. */
static vq_id
now(struct vq_walk *w, vq_id v)
{
	const struct vq_node *n = vq_node_of(w->from, v);
	const struct vq_type *type = vq_type_at(w->from, v);
	vq_id in[VQ_MAX_IN];
	bool cheap;

	if (w->now[v] != VQ_NONE)
		return w->now[v];
	vq_assert(!w->moves[v] || n == NULL);
	if (w->moves[v]) {
		struct vq_type one = *type;
		one.shape.dim[w->axis[v]] = 1;
		return w->now[v] = vq_incremental_leaf(w, w->step, v, &one);
	}
	if (vq_is_positions(n) && w->axis[v] == 0)
		return w->now[v] = w->position;
	cheap = n && w->axis[v] == VQ_NONE && ((n->op->flags & VQ_OP_ALIAS) ||
	    (w->constant[v] && vq_shape_count(&type->shape) <= SMALL));
	for (int j = 0; cheap && j < n->nin; j++)
		cheap = w->axis[n->in[j]] == VQ_NONE;
	if (cheap) {
		for (int j = 0; j < n->nin; j++)
			in[j] = now(w, n->in[j]);
		vq_id out = vq_incremental_add(w->step, n, in);
		for (int o = 0; o < n->nout; o++)
			w->now[n->out + o] = out + o;
		return w->now[v];
	}
	vq_id all = vq_incremental_kept(w, v);
	return w->now[v] = w->axis[v] == VQ_NONE ? all : row(w, all, w->axis[v]);
}

/* --- emitting -------------------------------------------------------------- */

/* reshape and broadcast_to say all lengths: that of time becomes 1. */
static vq_id
add_shaped(struct vq_walk *w, const struct vq_node *n, vq_id in)
{
	struct vq_shape to = vq_type_at(w->from, n->out)->shape;
	struct vq_text list = { 0 };

	to.dim[w->axis[n->out]] = 1;
	for (int i = 0; i < to.rank; i++)
		vq_text_add(&list, "%s%lld", i ? "," : "", (long long)to.dim[i]);
	vq_id v = vq_emit(w->step, n->op->name, &in, 1, "shape=[%s]", list.s);
	vq_text_free(&list);
	return v;
}

static vq_id
add_cached(struct vq_walk *w, const struct vq_node *n, const vq_id *in)
{
	struct vq_graph *g = w->step;
	const struct vq_param *scale = vq_param_find(n->op->params, "scale");
	char keys[32], values[32];

	if (w->axis[n->in[1]] == VQ_NONE)
		return vq_incremental_add(g, n, in);
	snprintf(keys, sizeof(keys), CACHE "%d.keys", w->caches);
	snprintf(values, sizeof(values), CACHE "%d.values", w->caches++);
	/* As attention_step wants them. */
	struct vq_shape key = vq_type_at(w->from, n->in[1])->shape, value = vq_type_at(w->from, n->in[2])->shape;
	int64_t heads = vq_node_int(n, "heads"), time = key.dim[1];
	struct vq_type kept = *vq_type_at(w->from, n->in[1]);
	kept.dtype = w->bf16 && kept.dtype == VQ_F32 ? VQ_BF16 : kept.dtype;
	kept.shape = vq_shape_of(5, (int64_t[]){ key.dim[0], heads, (time + 15) / 16, key.dim[2] / heads, 16 });
	vq_id k = vq_graph_leaf(g, VQ_STATE, keys, &kept);
	kept.shape = vq_shape_of(4, (int64_t[]){ value.dim[0], heads, time, value.dim[2] / heads });
	vq_id v = vq_graph_leaf(g, VQ_STATE, values, &kept);
	vq_id out = vq_emit(g, "attention_step", (vq_id[]){ in[0], in[1], in[2], k, v, w->position }, 6,
	    "heads=%lld scale=%.17g", (long long)heads,
	    *(const double *)((const char *)n->params + scale->offset));
	vq_graph_store(g, k, out + 1);
	vq_graph_store(g, v, out + 2);
	return out;
}

static void
check_type(const struct vq_walk *w, const struct vq_node *n, vq_id out)
{
	for (int o = 0; o < n->nout; o++) {
		struct vq_type want = *vq_type_at(w->from, n->out + o);
		if (w->axis[n->out + o] != VQ_NONE)
			want.shape.dim[w->axis[n->out + o]] = 1;
		if (!vq_type_equal(&want, vq_type_at(w->step, out + o)))
			vq_bug("%s at one position has another type than expected", n->op->name);
	}
}

static void
emit(struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_rule *rule = vq_incremental_rule(n->op);
	const char *why = NULL;
	vq_id in[VQ_MAX_IN], out;

	for (int j = 0; j < n->nin; j++)
		if (w->moves[n->in[j]] && w->axis[n->in[j]] == VQ_NONE)
			return;		/* refused where the axis was lost */
	if (n->op->flags & VQ_OP_RANDOM)
		why = "draws at random";
	else if (rule == NULL)
		why = "is not known to treat positions apart";
	else if ((why = rule->mixes(w, n)) == NULL)
		for (int o = 0; o < n->nout && !why; o++)
			why = w->axis[n->out + o] == VQ_NONE ? "takes positions together" : NULL;
	if (why)
		refuse(w, n, why);
	if (w->failed)
		return;
	w->step->now = n->origin;
	bool packed = rule->form == VQ_RULE_PRODUCT && vq_incremental_can_pack(w, n);
	for (int j = 0; j < (packed ? 1 : n->nin); j++)
		in[j] = rule->form == VQ_RULE_TABLE && j == 0 && w->axis[n->in[j]] != VQ_NONE ? vq_incremental_kept(w, n->in[j]) : now(w, n->in[j]);
	w->step->now = n->origin;
	out = packed ? vq_incremental_product(w, n, in[0]) : rule->form == VQ_RULE_SHAPED ? add_shaped(w, n, in[0]) : rule->form == VQ_RULE_CACHED ? add_cached(w, n, in) :
	    vq_incremental_add(w->step, n, in);
	vq_assert(out != VQ_NONE);
	if (rule->form == VQ_RULE_CACHED && w->axis[n->in[1]] != VQ_NONE) {
		w->now[n->out] = out;	/* its other outputs are the cache */
		return;
	}
	check_type(w, n, out);
	for (int o = 0; o < n->nout; o++)
		w->now[n->out + o] = out + o;
}

/* --- the pass -------------------------------------------------------------- */

static struct vq_graph *
new_graph(const struct vq_walk *w)
{
	struct vq_graph *g = vq_graph_new(w->from->name, w->d);

	for (int i = 0; i < w->from->origins; i++)
		vq_graph_origin(g, &w->from->origin[i]);
	return g;
}

static void
rewrite(struct vq_walk *w, const char *name, vq_id output)
{
	const struct vq_graph *g = w->from;
	char type[VQ_TYPE_STR];

	find_live(w, output);
	classify(w);
	if (w->failed)
		return;
	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind != VQ_COMPUTED && g->value[v].name && vq_incremental_owns(g->value[v].name)) {
			vq_error(w->d, VQ_CONFIG, &g->value[v].where, "'%s' has the name of what is kept between "
			    "positions: a module of graph %s must not be called cache or once", g->value[v].name, g->name);
			w->failed = true;
			return;
		}
	if (vq_graph_find(g, "position") != VQ_NONE) {
		vq_error(w->d, VQ_CONFIG, &g->value[vq_graph_find(g, "position")].where,
		    "graph %s has an input 'position', the name of what says which position is computed", g->name);
		w->failed = true;
		return;
	}
	w->position = vq_graph_leaf(w->step, VQ_INPUT, "position", &(struct vq_type){ VQ_I32, { 1, { 1 } } });
	for (int i = 0; i < g->nodes; i++)
		if (w->live[i] && w->moves[g->node[i].out])
			emit(w, &g->node[i]);
	if (!w->failed && (!w->moves[output] || w->axis[output] == VQ_NONE)) {
		vq_error(w->d, VQ_CONFIG, NULL, "%s of graph %s is %s: it does not have the axis of time", name,
		    g->name, vq_type_str(vq_type_at(g, output), type));
		w->failed = true;
	}
	if (!w->failed)
		vq_graph_output(w->step, name, now(w, output));
	w->step->now = w->once->now = w->weights->now = VQ_NONE;
}

static void
walk_graphs(struct vq_walk *w, const char *name, vq_id output)
{
	size_t n = (size_t)w->from->values + 1;

	w->axis = vq_alloc_array(n, sizeof(*w->axis));
	w->moves = vq_alloc_array(n, sizeof(*w->moves));
	w->given = vq_alloc_array(n, sizeof(*w->given));
	w->constant = vq_alloc_array(n, sizeof(*w->constant));
	w->live = vq_alloc_array((size_t)w->from->nodes + 1, sizeof(*w->live));
	w->now = vq_alloc_array(n, sizeof(*w->now));
	w->kept = vq_alloc_array(n, sizeof(*w->kept));
	w->whole = vq_alloc_array(n, sizeof(*w->whole));
	w->packed = vq_alloc_array(4 * n, sizeof(*w->packed));
	for (size_t i = 0; i < n; i++)
		w->now[i] = w->kept[i] = w->whole[i] = VQ_NONE;
	for (size_t i = 0; i < 4 * n; i++)
		w->packed[i] = VQ_NONE;
	w->step = new_graph(w);
	w->weights = new_graph(w);
	w->once = new_graph(w);
	if (alike(w))
		rewrite(w, name, output);
	else
		w->failed = true;
	free(w->axis);
	free(w->moves);
	free(w->given);
	free(w->constant);
	free(w->live);
	free(w->now);
	free(w->kept);
	free(w->whole);
	free(w->packed);
}

static struct vq_graph *
expand(const struct vq_model *m, const struct vq_growing *how, int64_t length, struct vq_diags *d)
{
	struct vq_size size[16];

	vq_assert(how->sizes < (int)VQ_COUNT(size));
	size[0] = (struct vq_size){ how->time, length };
	for (int i = 0; i < how->sizes; i++)
		size[1 + i] = how->size[i];
	return vq_model_expand(m, how->graph, false, size, 1 + how->sizes, d);
}

static void
drop_empty(struct vq_graph **g)
{
	if ((*g)->stores)
		return;
	vq_graph_free(*g);
	*g = NULL;
}

int
vq_incremental(const struct vq_model *m, const struct vq_growing *how, struct vq_incremental *out,
    struct vq_diags *d)
{
	struct vq_walk w = { .length = how->length, .bf16 = how->bf16, .d = d };
	struct vq_graph *from = expand(m, how, how->length, d), *less = NULL;
	vq_id output = from ? vq_graph_find_output(from, how->output) : VQ_NONE;

	*out = (struct vq_incremental){ .length = how->length };
	if (from == NULL)
		return -1;
	if (output == VQ_NONE) {
		vq_error(d, VQ_CONFIG, NULL, "graph %s has no value '%s'", from->name, how->output);
		w.failed = true;
	} else if (how->length == 1) {		/* already what it shall become */
		from->outputs = from->stores = 0;
		vq_graph_output(from, how->output, output);
		out->step = from;
		return 0;
	} else if ((less = expand(m, how, how->length - 1, d)) == NULL) {
		w.failed = true;
	} else {
		w.from = from;
		w.less = less;
		walk_graphs(&w, how->output, output);
	}
	out->step = w.step;
	out->once = w.once;
	out->weights = w.weights;
	out->caches = w.caches;
	vq_graph_free(from);
	vq_graph_free(less);
	if (w.failed) {
		vq_incremental_free(out);
		return -1;
	}
	drop_empty(&out->once);
	drop_empty(&out->weights);
	return 0;
}

bool
vq_incremental_owns(const char *state)
{
	return strncmp(state, CACHE, strlen(CACHE)) == 0 || strncmp(state, VQ_INCREMENTAL_ONCE, strlen(VQ_INCREMENTAL_ONCE)) == 0;
}

void
vq_incremental_free(struct vq_incremental *p)
{
	vq_graph_free(p->weights);
	vq_graph_free(p->once);
	vq_graph_free(p->step);
	p->weights = p->once = p->step = NULL;
}
