/*
 * recompute -- what marked steps computed is computed again where gradients want it
 *
 * A stretch is what one step with `recompute: true` expanded to (the outermost such step, where
 * they are nested).  Its values that only gradients read after it are not kept: when the first
 * gradient asks for one, the nodes that lead to it from the stretch's inputs are emitted a second
 * time, and gradients read those.  Values that the rest of the model reads are there anyway.  So the
 * memory of a chain of stretches is that of their inputs and of one stretch at a time, for one
 * more forward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").  Random
 * ops draw the same again, since a draw follows from its key: the bits are those without.
 *
 * Comes after simplify, which would merge the twins again.
 */
#include <stdlib.h>

#include "engine/op.h"
#include "engine/passes.h"

struct recompute {
	const struct vq_graph *from;
	int32_t *stretch;	/* by node: the origin that is its stretch, or VQ_NONE */
	int *first;		/* by origin: the first node of that stretch */
	bool *kept;		/* by value: read outside of its stretch by other than gradients */
	bool *again;		/* by value: emitted a second time */
	bool *wanted;		/* by node, room */
};

static int32_t
outermost(const struct vq_graph *g, int32_t origin)
{
	int32_t found = VQ_NONE;

	for (; origin != VQ_NONE; origin = g->origin[origin].parent)
		if (g->origin[origin].recompute)
			found = origin;
	return found;
}

static int32_t
stretch_of(const struct recompute *r, vq_id v)
{
	const struct vq_value *x = &r->from->value[v];

	return x->kind == VQ_COMPUTED ? r->stretch[x->node] : VQ_NONE;
}

static void
find_stretches(struct recompute *r)
{
	const struct vq_graph *g = r->from;

	for (int i = 0; i < g->origins; i++)
		r->first[i] = g->nodes;
	for (int i = 0; i < g->nodes; i++) {
		int32_t s = g->node[i].backward ? VQ_NONE : outermost(g, g->node[i].origin);

		r->stretch[i] = s;
		if (s != VQ_NONE && i < r->first[s])
			r->first[s] = i;
	}
	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; !g->node[i].backward && j < g->node[i].nin; j++)
			r->kept[g->node[i].in[j]] |= stretch_of(r, g->node[i].in[j]) != r->stretch[i];
	for (int i = 0; i < g->stores; i++)
		r->kept[g->store[i].value] = true;
	for (int i = 0; i < g->outputs; i++)
		r->kept[g->output[i].value] = true;
}

/* A node a second time: what is kept of its outputs stays the first. */
static void
emit_again(struct vq_rewrite *w, int node)
{
	struct recompute *r = w->arg;
	const struct vq_node *n = &w->from->node[node];
	vq_id before[VQ_MAX_OUT];

	for (int j = 0; j < n->nout; j++)
		before[j] = w->map[n->out + j];
	w->to->now = n->origin;
	w->to->backward = true;
	vq_rewrite_copy(w, node);
	for (int j = 0; j < n->nout; j++)
		if (r->kept[n->out + j])
			w->map[n->out + j] = before[j];
		else
			r->again[n->out + j] = true;
}

static bool
must_again(const struct recompute *r, vq_id v)
{
	return stretch_of(r, v) != VQ_NONE && !r->kept[v] && !r->again[v];
}

/* Makes v, which a gradient reads, there again. */
static void
bring(struct vq_rewrite *w, vq_id v)
{
	struct recompute *r = w->arg;
	const struct vq_graph *g = w->from;

	if (!must_again(r, v))
		return;

	int last = g->value[v].node, first = r->first[r->stretch[last]];

	for (int i = first; i <= last; i++)
		r->wanted[i] = i == last;
	for (int i = last; i >= first; i--)
		for (int j = 0; r->wanted[i] && j < g->node[i].nin; j++)
			if (must_again(r, g->node[i].in[j]))
				r->wanted[g->value[g->node[i].in[j]].node] = true;
	for (int i = first; i <= last; i++)
		if (r->wanted[i])
			emit_again(w, i);
}

static void
visit(struct vq_rewrite *w, int node)
{
	const struct vq_node *n = &w->from->node[node];
	int32_t now = w->to->now;
	bool backward = w->to->backward;

	for (int j = 0; n->backward && j < n->nin; j++)
		bring(w, n->in[j]);
	w->to->now = now;
	w->to->backward = backward;
	vq_rewrite_copy(w, node);
}

struct vq_graph *
vq_pass_recompute(struct vq_graph *g)
{
	struct recompute r = { .from = g };
	bool any = false;

	for (int i = 0; i < g->origins; i++)
		any |= g->origin[i].recompute;
	if (!any)
		return g;
	r.stretch = vq_alloc_array((size_t)g->nodes + 1, sizeof(*r.stretch));
	r.wanted = vq_alloc_array((size_t)g->nodes + 1, sizeof(*r.wanted));
	r.first = vq_alloc_array((size_t)g->origins + 1, sizeof(*r.first));
	r.kept = vq_alloc_array((size_t)g->values + 1, sizeof(*r.kept));
	r.again = vq_alloc_array((size_t)g->values + 1, sizeof(*r.again));
	find_stretches(&r);

	struct vq_graph *to = vq_graph_rewrite(g, visit, &r);

	free(r.stretch);
	free(r.wanted);
	free(r.first);
	free(r.kept);
	free(r.again);
	vq_graph_free(g);
	return to;
}
