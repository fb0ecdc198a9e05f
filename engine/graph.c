/*
 * graph -- building and rewriting the intermediate representation
 */
#include "engine/graph.h"

#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/ewise.h"

struct vq_graph *
vq_graph_new(const char *name, struct vq_diags *d)
{
	struct vq_graph *g = vq_alloc(sizeof(*g));

	g->name = vq_arena_strdup(&g->arena, name);
	g->diags = d;
	g->now = VQ_NONE;
	return g;
}

void
vq_graph_free(struct vq_graph *g)
{
	if (g == NULL)
		return;
	vq_names_free(&g->names);
	free(g->value);
	free(g->node);
	free(g->store);
	free(g->output);
	free(g->named);
	free(g->slope);
	free(g->origin);
	vq_arena_free(&g->arena);
	free(g);
}

static vq_id
add_value(struct vq_graph *g, enum vq_value_kind kind, const char *name, const struct vq_type *t)
{
	vq_assert(vq_type_valid(t));
	vq_grow(g->value, g->values, g->value_cap);
	g->value[g->values] = (struct vq_value){
		.kind = kind, .type = *t, .node = VQ_NONE,
		.name = name ? vq_arena_strdup(&g->arena, name) : NULL,
	};
	return g->values++;
}

vq_id
vq_graph_leaf(struct vq_graph *g, enum vq_value_kind kind, const char *name, const struct vq_type *t)
{
	vq_assert(kind == VQ_INPUT || kind == VQ_PARAM || kind == VQ_STATE);
	vq_id v = add_value(g, kind, name, t);

	if (!vq_names_put(&g->names, g->value[v].name, v))
		vq_bug("two leaves of %s are called %s", g->name, name);
	return v;
}

vq_id
vq_graph_find(const struct vq_graph *g, const char *leaf_name)
{
	return vq_names_get(&g->names, leaf_name);
}

vq_id
vq_graph_const(struct vq_graph *g, const struct vq_type *t, const void *data)
{
	vq_id v = add_value(g, VQ_CONST, NULL, t);

	g->value[v].constant = vq_arena_copy(&g->arena, data, vq_type_bytes(t));
	return v;
}

vq_id
vq_graph_scalar(struct vq_graph *g, enum vq_dtype dtype, double x)
{
	struct vq_type t = { .dtype = dtype };
	uint64_t room = 0;
	struct vq_view v = { &room, &t };

	vq_set(&v, 0, x);
	return vq_graph_const(g, &t, &room);
}

int
vq_graph_origin(struct vq_graph *g, const struct vq_origin *o)
{
	vq_grow(g->origin, g->origins, g->origin_cap);
	g->origin[g->origins] = *o;
	g->origin[g->origins].path = vq_arena_strdup(&g->arena, o->path ? o->path : "");
	g->origin[g->origins].what = vq_arena_strdup(&g->arena, o->what ? o->what : "");
	return g->origins++;
}

/* --- adding a node ------------------------------------------------------- */

/*
 * The step that a value comes from, as seen from where nodes are being added: a
 * sibling in the same block where there is one, else one further out.
 */
static int
origin_seen(const struct vq_graph *g, int made)
{
	for (int inside = g->now; inside != VQ_NONE; inside = g->origin[inside].parent)
		for (int o = made; o != VQ_NONE; o = g->origin[o].parent)
			if (g->origin[o].parent == g->origin[inside].parent)
				return o;
	return made;
}

void
vq_graph_describe(const struct vq_graph *g, struct vq_diag *e, const char *port, vq_id id)
{
	const struct vq_value *v = &g->value[id];
	char type[VQ_TYPE_STR];

	vq_type_str(&v->type, type);
	if (v->kind != VQ_COMPUTED) {
		static const char *const kind[] = { "input", "parameter", "state", "constant" };
		vq_detail(e, &v->where, "%s = %-24s %s %s", port, type, kind[v->kind], v->name ? v->name : "");
		return;
	}
	const struct vq_node *n = &g->node[v->node];
	if (n->origin == VQ_NONE)
		vq_detail(e, NULL, "%s = %-24s from %s", port, type, n->op->name);
	else
		vq_detail(e, &g->origin[origin_seen(g, n->origin)].at, "%s = %-24s from %s", port, type,
		    g->origin[origin_seen(g, n->origin)].what);
}

void
vq_origin_notes(const struct vq_graph *g, int origin, struct vq_diag *e)
{
	while (origin != VQ_NONE && g->origin[origin].parent != VQ_NONE) {
		const struct vq_origin *p = &g->origin[g->origin[origin].parent];
		char place[256];

		vq_note(e, NULL, "in %s, expanded as %s from %s", p->what, p->path,
		    vq_range_str(&p->at, place, sizeof(place)));
		origin = g->origin[origin].parent;
	}
}

static const char *
port_name(const struct vq_op *op, int i, char buf[32])
{
	if (!vq_op_variadic(op))
		return op->in[i];
	snprintf(buf, 32, "x[%d]", i);
	return buf;
}

static vq_id
infer_failed(struct vq_graph *g, const struct vq_op *op, const struct vq_infer *q, const vq_id *in)
{
	const struct vq_range *at = g->now == VQ_NONE ? NULL : &g->origin[g->now].at;
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, at, "%s: %s%s%s", op->name,
	    q->bad_port >= 0 && !vq_op_variadic(op) ? op->in[q->bad_port] : "",
	    q->bad_port >= 0 && !vq_op_variadic(op) ? " " : "", q->message);
	char buf[32];

	for (int i = 0; i < q->nin; i++)
		vq_graph_describe(g, e, port_name(op, i, buf), in[i]);
	vq_origin_notes(g, g->now, e);
	free(q->message);
	return VQ_NONE;
}

static bool
infer_types(struct vq_graph *g, const struct vq_op *op, const void *params, const vq_id *in,
    int nin, struct vq_type out[VQ_MAX_OUT], int *nout)
{
	struct vq_type types[VQ_MAX_IN];
	struct vq_infer q = { .params = params, .nin = nin, .in = types, .out = out,
	    .nout = vq_op_outs(op), .bad_port = VQ_NONE };

	for (int i = 0; i < nin; i++)
		types[i] = g->value[in[i]].type;
	for (int i = 0; i < q.nout; i++)
		out[i] = nin > 0 ? types[0] : (struct vq_type){ VQ_F32, { 0 } };
	if (op->infer != NULL && op->infer(&q) < 0) {
		infer_failed(g, op, &q, in);
		return false;
	}
	for (int i = 0; i < q.nout; i++)
		if (!vq_type_valid(&out[i])) {
			q.message = vq_strdup("the result is larger than any memory");
			infer_failed(g, op, &q, in);
			return false;
		}
	*nout = q.nout;
	return true;
}

/* What a random draw is for: its place in the model, not its place in the array. */
static uint64_t
draw_key(const struct vq_graph *g, const struct vq_op *op)
{
	const char *path = g->now == VQ_NONE ? "" : g->origin[g->now].path;
	uint64_t twins = 0;

	for (int i = 0; i < g->nodes; i++)
		twins += g->node[i].origin == g->now && g->node[i].op == op;
	return vq_hash(path, strlen(path), vq_hash_str(op->name) + twins);
}

void
vq_graph_set_key(struct vq_graph *g, vq_id v, uint64_t key)
{
	if (v == VQ_NONE)
		return;
	vq_assert(g->value[v].node == g->nodes - 1);
	g->node[g->value[v].node].key = key;
}

int
vq_node_own_inputs(const struct vq_node *n)
{
	return n->epilogue ? n->nin - (n->epilogue->nin - 1) : n->nin;
}

vq_id
vq_graph_add_epilogue(struct vq_graph *g, const struct vq_op *op, const void *params,
    const vq_id *in, int nin, const struct vq_ewise *epilogue)
{
	struct vq_type out[VQ_MAX_OUT];
	int nout, own = epilogue ? nin - (epilogue->nin - 1) : nin;

	vq_assert(nin <= VQ_MAX_IN);
	for (int i = 0; i < nin; i++) {
		if (in[i] == VQ_NONE)
			return VQ_NONE;
		vq_assert(in[i] >= 0 && in[i] < g->values);
	}
	if (!infer_types(g, op, params, in, own, out, &nout))
		return VQ_NONE;
	vq_grow(g->node, g->nodes, g->node_cap);
	struct vq_node *n = &g->node[g->nodes];
	*n = (struct vq_node){
		.op = op, .nin = nin, .nout = nout, .out = g->values,
		.origin = g->now, .backward = g->backward,
	};
	n->in = vq_arena_copy(&g->arena, in, sizeof(*in) * (size_t)nin);
	n->params = op->size ? vq_arena_copy(&g->arena, params, op->size) : NULL;
	if (epilogue)
		n->epilogue = vq_arena_copy(&g->arena, epilogue, sizeof(*epilogue));
	if (op->flags & VQ_OP_RANDOM)
		n->key = draw_key(g, op);
	vq_id first = g->values;
	for (int i = 0; i < nout; i++) {
		vq_id v = add_value(g, VQ_COMPUTED, NULL, &out[i]);
		g->value[v].node = g->nodes;
		g->value[v].port = i;
	}
	g->nodes++;
	return first;
}

vq_id
vq_graph_add(struct vq_graph *g, const struct vq_op *op, const void *params, const vq_id *in, int nin)
{
	return vq_graph_add_epilogue(g, op, params, in, nin, NULL);
}

/* Whether a value is the memory of a leaf, perhaps under another shape. */
static bool
is_leaf_memory(const struct vq_graph *g, vq_id v)
{
	for (const struct vq_node *n; (n = vq_node_of(g, v)) && (n->op->flags & VQ_OP_ALIAS); )
		v = n->in[0];
	return g->value[v].kind != VQ_COMPUTED;
}

void
vq_graph_store(struct vq_graph *g, vq_id leaf, vq_id value)
{
	if (leaf == VQ_NONE || value == VQ_NONE)
		return;
	if (is_leaf_memory(g, value))		/* another store may overwrite it first */
		value = vq_is_float(g->value[value].type.dtype) ? vq_unary(g, "copy", value) :
		    VQ_EMIT1(g, "cast", value, "to=%s", vq_dtype_name(g->value[value].type.dtype));
	vq_assert(g->value[leaf].kind == VQ_PARAM || g->value[leaf].kind == VQ_STATE);
	vq_assert(vq_type_equal(&g->value[leaf].type, &g->value[value].type));
	for (int i = 0; i < g->stores; i++)
		vq_assert(g->store[i].leaf != leaf);
	vq_grow(g->store, g->stores, g->store_cap);
	g->store[g->stores++] = (struct vq_store){ leaf, value };
}

void
vq_graph_output(struct vq_graph *g, const char *name, vq_id value)
{
	if (value == VQ_NONE)
		return;
	vq_grow(g->output, g->outputs, g->output_cap);
	g->output[g->outputs++] = (struct vq_output){ vq_arena_strdup(&g->arena, name), value };
}

void
vq_graph_name(struct vq_graph *g, const char *name, vq_id value)
{
	if (value == VQ_NONE)
		return;
	vq_grow(g->named, g->nameds, g->named_cap);
	g->named[g->nameds++] = (struct vq_output){ vq_arena_strdup(&g->arena, name), value };
}

void
vq_graph_slope(struct vq_graph *g, vq_id of, vq_id to, vq_id grad)
{
	if (of == VQ_NONE || to == VQ_NONE || grad == VQ_NONE)
		return;
	vq_grow(g->slope, g->slopes, g->slope_cap);
	g->slope[g->slopes++] = (struct vq_slope){ of, to, grad };
}

vq_id
vq_graph_find_output(const struct vq_graph *g, const char *name)
{
	for (int i = 0; i < g->outputs; i++)
		if (strcmp(g->output[i].name, name) == 0)
			return g->output[i].value;
	for (int i = 0; i < g->nameds; i++)
		if (strcmp(g->named[i].name, name) == 0)
			return g->named[i].value;
	return vq_graph_find(g, name);
}

int *
vq_graph_uses(const struct vq_graph *g)
{
	int *uses = vq_alloc_array((size_t)g->values + 1, sizeof(*uses));

	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin; j++)
			uses[g->node[i].in[j]]++;
	for (int i = 0; i < g->stores; i++)
		uses[g->store[i].value]++;
	for (int i = 0; i < g->outputs; i++)
		uses[g->output[i].value]++;
	return uses;
}

bool *
vq_graph_needed(const struct vq_graph *g)
{
	bool *needed = vq_alloc_array((size_t)g->values + 1, sizeof(*needed));

	for (int i = 0; i < g->stores; i++)
		needed[g->store[i].value] = true;
	for (int i = 0; i < g->outputs; i++)
		needed[g->output[i].value] = true;
	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		bool live = false;

		for (int j = 0; j < n->nout; j++)
			live |= needed[n->out + j];
		for (int j = 0; live && j < n->nin; j++)
			needed[n->in[j]] = true;
	}
	return needed;
}

/* --- rewriting ----------------------------------------------------------- */

static void
copy_leaf(struct vq_rewrite *r, vq_id v)
{
	const struct vq_value *from = &r->from->value[v];
	vq_id id;

	if (from->kind == VQ_CONST) {
		id = vq_graph_const(r->to, &from->type, from->constant);
	} else {
		id = vq_graph_leaf(r->to, from->kind, from->name, &from->type);
		r->to->value[id].init = from->init;
		r->to->value[id].where = from->where;
		if (from->init.of)
			r->to->value[id].init.of = vq_arena_strdup(&r->to->arena, from->init.of);
	}
	r->map[v] = id;
}

/* The inputs of an old node as ids of the new graph. */
static int
map_inputs(const struct vq_rewrite *r, const struct vq_node *n, vq_id in[VQ_MAX_IN])
{
	for (int i = 0; i < n->nin; i++) {
		in[i] = r->map[n->in[i]];
		vq_assert(in[i] != VQ_NONE);
	}
	return n->nin;
}

void
vq_rewrite_copy(struct vq_rewrite *r, int node)
{
	vq_rewrite_copy_as(r, node, r->from->node[node].params);
}

void
vq_rewrite_copy_as(struct vq_rewrite *r, int node, const void *params)
{
	const struct vq_node *n = &r->from->node[node];
	vq_id in[VQ_MAX_IN];
	int nin = map_inputs(r, n, in);
	vq_id out = vq_graph_add_epilogue(r->to, n->op, params, in, nin, n->epilogue);

	vq_assert(out != VQ_NONE);
	vq_graph_set_key(r->to, out, n->key);
	for (int i = 0; i < n->nout; i++)
		r->map[n->out + i] = out + i;
}

struct vq_graph *
vq_graph_rewrite(const struct vq_graph *from, vq_rewrite_fn *each, void *arg)
{
	struct vq_rewrite r = { .from = from, .to = vq_graph_new(from->name, from->diags), .arg = arg };

	r.to->train = from->train;
	r.map = vq_alloc_array((size_t)from->values + 1, sizeof(*r.map));
	for (vq_id v = 0; v < from->values; v++)
		r.map[v] = VQ_NONE;
	for (int i = 0; i < from->origins; i++)
		vq_graph_origin(r.to, &from->origin[i]);
	for (vq_id v = 0; v < from->values; v++)
		if (from->value[v].kind != VQ_COMPUTED)
			copy_leaf(&r, v);
	for (int i = 0; i < from->nodes; i++) {
		r.to->now = from->node[i].origin;
		r.to->backward = from->node[i].backward;
		each(&r, i);
	}
	r.to->now = VQ_NONE;
	for (int i = 0; i < from->stores; i++)
		vq_graph_store(r.to, r.map[from->store[i].leaf], r.map[from->store[i].value]);
	for (int i = 0; i < from->outputs; i++)
		vq_graph_output(r.to, from->output[i].name, r.map[from->output[i].value]);
	for (int i = 0; i < from->nameds; i++)
		vq_graph_name(r.to, from->named[i].name, r.map[from->named[i].value]);
	for (int i = 0; i < from->slopes; i++)
		vq_graph_slope(r.to, r.map[from->slope[i].of], r.map[from->slope[i].to], r.map[from->slope[i].grad]);
	free(r.map);
	return r.to;
}
