/*
 * recompute -- what only gradients read later is computed again instead of being kept
 *
 * Two kinds of values are dropped.  What a step with `recompute: true` expanded to (the outermost
 * such step, where they are nested) is a stretch: its values that nothing but gradients reads
 * outside of it, so that the memory of a chain of stretches is that of their inputs and of one
 * stretch at a time, for one more forward pass (Chen et al. 2016, "Training Deep Nets with Sublinear
 * Memory Cost").  And, without being asked, what costs next to nothing: recompute_choose.c.
 *
 * When the first gradient asks for a dropped value, the nodes that lead to it from what is there are
 * emitted a second time, and later readers read those.  Random ops draw the same again, since a
 * draw follows from its key: the bits are those without.
 *
 * Comes after simplify, which would merge the twins again.
 */
#include "engine/recompute.h"

#include <stdlib.h>

#include "engine/compile.h"
#include "engine/op.h"
#include "engine/passes.h"

/* Operations of a product in the time that memory takes for a byte: two cores with AVX-512, and the
 * same with bf16.  Not measured at start: the same file has the same plan everywhere. */
enum { F32_FLOPS = 10, BF16_FLOPS = 15 };

struct recompute {
	struct vq_again how;
	bool *again;		/* by value: emitted a second time */
	bool *wanted;		/* by node, room */
};

/* --- stretches ----------------------------------------------------------- */

static int32_t
outermost(const struct vq_graph *g, int32_t origin)
{
	int32_t found = VQ_NONE;

	for (; origin != VQ_NONE; origin = g->origin[origin].parent)
		if (g->origin[origin].recompute)
			found = origin;
	return found;
}

/* The stretch of the node that makes v, or VQ_NONE. */
static int32_t
stretch_of(const struct vq_graph *g, const int32_t *stretch, vq_id v)
{
	return g->value[v].kind == VQ_COMPUTED ? stretch[g->value[v].node] : VQ_NONE;
}

/* Values of stretches that only their own nodes and gradients read. */
static void
drop_marked(const struct vq_graph *g, struct vq_again *a)
{
	int32_t *stretch = vq_alloc_array((size_t)g->nodes + 1, sizeof(*stretch));

	for (int i = 0; i < g->nodes; i++)
		stretch[i] = g->node[i].backward ? VQ_NONE : outermost(g, g->node[i].origin);
	for (vq_id v = 0; v < g->values; v++)
		a->dropped[v] = stretch_of(g, stretch, v) != VQ_NONE;
	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; !g->node[i].backward && j < g->node[i].nin; j++)
			if (stretch_of(g, stretch, g->node[i].in[j]) != stretch[i])
				a->dropped[g->node[i].in[j]] = false;
	for (int i = 0; i < g->stores; i++)
		a->dropped[g->store[i].value] = false;
	for (int i = 0; i < g->outputs; i++)
		a->dropped[g->output[i].value] = false;
	for (int i = g->nodes - 1; i >= 0; i--)
		for (int j = 0; g->node[i].backward && j < g->node[i].nin; j++)
			a->from[g->node[i].in[j]] = i;
	free(stretch);
}

/* --- emitting ------------------------------------------------------------ */

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
	vq_rewrite_copy(w, node);
	for (int j = 0; j < n->nout; j++)
		if (r->how.dropped[n->out + j])
			r->again[n->out + j] = true;
		else
			w->map[n->out + j] = before[j];
}

static bool
must_again(const struct recompute *r, vq_id v)
{
	return r->how.dropped[v] && !r->again[v];
}

/* Makes v there again, for the node that is about to be emitted. */
static void
bring(struct vq_rewrite *w, vq_id v)
{
	struct recompute *r = w->arg;
	const struct vq_graph *g = w->from;
	int last = g->value[v].node, first = last + 1;

	r->wanted[last] = true;
	for (int open = 1; open > 0; ) {
		const struct vq_node *n = &g->node[--first];

		if (!r->wanted[first])
			continue;
		open--;
		for (int j = 0; j < n->nin; j++) {
			int maker = g->value[n->in[j]].node;

			if (must_again(r, n->in[j]) && !r->wanted[maker]) {
				r->wanted[maker] = true;
				open++;
			}
		}
	}
	for (int i = first; i <= last; i++)
		if (r->wanted[i]) {
			r->wanted[i] = false;
			emit_again(w, i);
		}
}

static void
visit(struct vq_rewrite *w, int node)
{
	struct recompute *r = w->arg;
	const struct vq_node *n = &w->from->node[node];
	int32_t now = w->to->now;

	for (int j = 0; j < n->nin; j++)
		if (must_again(r, n->in[j]) && node >= r->how.from[n->in[j]])
			bring(w, n->in[j]);
	w->to->now = now;
	vq_rewrite_copy(w, node);
}

struct vq_graph *
vq_pass_recompute(struct vq_graph *g, const struct vq_compile *how)
{
	struct recompute r = { 0 };
	bool any = false;

	r.how.dropped = vq_alloc_array((size_t)g->values + 1, sizeof(*r.how.dropped));
	r.how.from = vq_alloc_array((size_t)g->values + 1, sizeof(*r.how.from));
	for (vq_id v = 0; v < g->values; v++)
		r.how.from[v] = g->nodes;
	for (int i = 0; i < g->origins; i++)
		any |= g->origin[i].recompute;
	if (any)
		drop_marked(g, &r.how);
	if (!how->reference)
		any |= vq_recompute_choose(g, &r.how, how->keep_below ? how->keep_below : VQ_KEEP_BELOW,
		    how->bf16 ? BF16_FLOPS : F32_FLOPS, how->threads > 0 ? how->threads : vq_threads());
	if (any) {
		r.wanted = vq_alloc_array((size_t)g->nodes + 1, sizeof(*r.wanted));
		r.again = vq_alloc_array((size_t)g->values + 1, sizeof(*r.again));
		struct vq_graph *to = vq_graph_rewrite(g, visit, &r);
		vq_graph_free(g);
		g = to;
	}
	free(r.again);
	free(r.wanted);
	free(r.how.from);
	free(r.how.dropped);
	return g;
}
