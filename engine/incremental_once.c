/*
 * incremental_once -- what does not move with the position: computed before the first step
 *
 * In one of two graphs: what depends on weights alone, and what depends on inputs too (a
 * label).  Either stores it under a name of the pass's own, where the other graphs read it.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/incremental_private.h"
#include "ops/kernels/kernels.h"

vq_id
vq_incremental_leaf(struct vq_walk *w, struct vq_graph *to, vq_id v, const struct vq_type *type)
{
	const struct vq_value *val = &w->from->value[v];
	vq_id id;

	if (val->kind == VQ_CONST)
		return vq_graph_const(to, type, val->constant);
	if ((id = vq_graph_find(to, val->name)) != VQ_NONE)
		return id;
	id = vq_graph_leaf(to, val->kind, val->name, type);
	to->value[id].init = val->init;
	to->value[id].where = val->where;
	if (val->init.of)
		to->value[id].init.of = vq_arena_strdup(&to->arena, val->init.of);
	return id;
}

vq_id
vq_incremental_add(struct vq_graph *to, const struct vq_node *n, const vq_id *in)
{
	to->now = n->origin;
	vq_id out = vq_graph_add(to, n->op, n->params, in, n->nin);
	if (n->op->flags & VQ_OP_RANDOM)
		vq_graph_set_key(to, out, n->key);
	return out;
}

/* 0, 1, 2, ... */
static vq_id
count_up(struct vq_graph *g, const struct vq_type *type)
{
	int64_t n = vq_shape_count(&type->shape);
	int32_t *x = vq_alloc_array((size_t)n, sizeof(*x));

	for (int64_t i = 0; i < n; i++)
		x[i] = (int32_t)i;
	vq_id v = vq_graph_const(g, type, x);
	free(x);
	return v;
}

static struct vq_graph *
maker(const struct vq_walk *w, vq_id v)
{
	return w->given[v] ? w->once : w->weights;
}

static vq_id kept_in(struct vq_walk *w, struct vq_graph *to, vq_id v);

/* All of a value, in the graph that makes it. */
static vq_id
whole(struct vq_walk *w, vq_id v)
{
	const struct vq_node *n = vq_node_of(w->from, v);
	struct vq_graph *to = maker(w, v);
	vq_id in[VQ_MAX_IN];

	if (n == NULL)
		return vq_incremental_leaf(w, to, v, vq_type_at(w->from, v));
	if (w->whole[v] != VQ_NONE)
		return w->whole[v];
	if (vq_is_positions(n))
		return w->whole[v] = count_up(to, vq_type_at(w->from, v));
	for (int j = 0; j < n->nin; j++)
		in[j] = maker(w, n->in[j]) == to ? whole(w, n->in[j]) : kept_in(w, to, n->in[j]);
	vq_id out = vq_incremental_add(to, n, in);
	vq_assert(out != VQ_NONE);
	for (int o = 0; o < n->nout; o++)
		w->whole[n->out + o] = out + o;
	return w->whole[v];
}

/* A value of graph `by`, stored there, under its name in another. */
static vq_id
pass_on(struct vq_graph *by, vq_id value, struct vq_graph *to, int number)
{
	struct vq_type type = *vq_type_at(by, value);
	char name[32];
	vq_id id;

	snprintf(name, sizeof(name), VQ_INCREMENTAL_ONCE "%d", number);
	if (vq_graph_find(by, name) == VQ_NONE)
		vq_graph_store(by, vq_graph_leaf(by, VQ_STATE, name, &type), value);
	return (id = vq_graph_find(to, name)) != VQ_NONE ? id : vq_graph_leaf(to, VQ_STATE, name, &type);
}

static vq_id
kept_in(struct vq_walk *w, struct vq_graph *to, vq_id v)
{
	if (w->from->value[v].kind != VQ_COMPUTED)
		return vq_incremental_leaf(w, to, v, vq_type_at(w->from, v));
	if (w->kept[v] == VQ_NONE)
		w->kept[v] = w->keeps++;
	return pass_on(maker(w, v), whole(w, v), to, w->kept[v]);
}

vq_id
vq_incremental_kept(struct vq_walk *w, vq_id v)
{
	return kept_in(w, w->step, v);
}

/* Whether a product rounds its operands: as the file says, or as is asked for. */
static bool
rounds(const struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_param *p = vq_param_find(n->op->params, "precision");
	int says = p ? *(const int *)((const char *)n->params + p->offset) : VQ_PRECISION_F32;

	return says == VQ_PRECISION_BF16 || (says == VQ_PRECISION_AUTO && w->bf16);
}

bool
vq_incremental_can_pack(const struct vq_walk *w, const struct vq_node *n)
{
	const struct vq_type *a = vq_type_at(w->from, n->in[0]), *b = vq_type_at(w->from, n->in[1]);

	return !w->moves[n->in[1]] && w->axis[n->in[1]] == VQ_NONE && !vq_node_bool(n, "transpose_a") &&
	    a->dtype == VQ_F32 && b->shape.rank == 2;
}

vq_id
vq_incremental_product(struct vq_walk *w, const struct vq_node *n, vq_id a)
{
	bool transposed = vq_node_bool(n, "transpose_b"), bf16 = rounds(w, n);
	vq_id b = n->in[1], *panels = &w->packed[4 * b + 2 * bf16 + transposed];
	struct vq_graph *by = maker(w, b);

	if (*panels == VQ_NONE) {
		vq_id x = whole(w, b);
		by->now = n->origin;
		x = VQ_EMIT1(by, "pack", x, "transpose=%s bf16=%s", transposed ? "true" : "false", bf16 ? "true" : "false");
		*panels = pass_on(by, x, w->step, w->keeps++);
	}
	return VQ_EMIT2(w->step, "matmul_packed", a, *panels, "columns=%lld",
	    (long long)vq_type_at(w->from, b)->shape.dim[!transposed]);
}
