/*
 * places -- which integers the inputs of a graph may hold
 *
 * A label looked up in a table of 10 rows is one of 0 to 9, also on a detour: moved
 * (reshape, concat, ...), or with a constant added, as tokens of classes are that stand
 * behind those of codes.  What is computed in any other way is nobody's guess.
 */
#include <stdlib.h>

#include "engine/op.h"

static void
limit(struct vq_places *p, struct vq_places by)
{
	p->ignore = p->below == INT64_MAX || p->ignore == by.ignore ? by.ignore : VQ_NO_IGNORE;
	p->below = by.below < p->below ? by.below : p->below;
}

/* x + c: the constant, when the node is that and `port` is x. */
static bool
adds(const struct vq_graph *g, const struct vq_node *n, int port, int64_t *c)
{
	struct vq_ewise_instr instr = { 0 };

	if (n->nin != 2 || n->op->ewise == NULL || !n->op->ewise(n->params, &instr) || instr.op != VQ_EW_ADD)
		return false;
	const struct vq_value *other = &g->value[n->in[1 - port]];
	if (other->kind != VQ_CONST || vq_shape_count(&other->type.shape) != 1)
		return false;
	*c = (int64_t)vq_get(&(struct vq_view){ (void *)other->constant, &other->type }, 0);
	return true;
}

static void
limit_input(const struct vq_graph *g, const struct vq_node *n, int port, const struct vq_cost *cost,
    struct vq_places *of)
{
	struct vq_places *in = &of[n->in[port]], out = of[n->out], own;
	int64_t c;

	if (n->op->places && n->op->places(cost, port, &own))
		limit(in, own);
	if (out.below == INT64_MAX)
		return;
	if (n->op->flags & (VQ_OP_ALIAS | VQ_OP_MOVES))
		limit(in, out);
	else if (adds(g, n, port, &c))
		limit(in, (struct vq_places){ out.below - c, VQ_NO_IGNORE });
}

struct vq_places *
vq_graph_places(const struct vq_graph *g)
{
	struct vq_places *of = vq_alloc_array((size_t)g->values + 1, sizeof(*of));
	struct vq_type in[VQ_MAX_IN];

	for (vq_id v = 0; v < g->values; v++)
		of[v] = (struct vq_places){ INT64_MAX, VQ_NO_IGNORE };
	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		struct vq_cost cost = { .params = n->params, .nin = n->nin, .nout = n->nout, .in = in };

		for (int j = 0; j < n->nin && j < VQ_MAX_IN; j++)
			in[j] = *vq_type_at(g, n->in[j]);
		for (int j = 0; j < n->nin; j++)
			if (vq_type_at(g, n->in[j])->dtype == VQ_I32)
				limit_input(g, n, j, &cost, of);
	}
	return of;
}
