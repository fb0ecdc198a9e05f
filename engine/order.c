/*
 * order -- what leaves take over is computed as soon as nothing reads what they held
 *
 * Optimizers stand behind the whole backward, where all gradients would be alive at once: as much
 * memory as the parameters take.  Here each stands where its gradient has been made and the last
 * reader of the old value has run; then plan.c writes over the leaf at once, while the gradient is
 * still in a cache, and its memory is free for the next.
 *
 * Only nodes move whose results are all stored, and go nowhere else but into others of this kind.
 * No node computes anything else than before.  Norms of all gradients hold back those that need them,
 * and the forward part all: a step whose loss is not finite ends there, with nothing written.
 */
#include <stdlib.h>

#include "engine/op.h"
#include "engine/passes.h"

struct order {
	int *after;		/* by node: the one it comes after, itself where it stays */
	int *next, *first;	/* lists of those that come after a node, in order */
};

static bool *
stored_values(const struct vq_graph *g)
{
	bool *stored = vq_alloc_array((size_t)g->values + 1, sizeof(*stored));

	for (int i = 0; i < g->stores; i++)
		stored[g->store[i].value] = true;
	return stored;
}

/* Nodes whose results are stored and read by none but such nodes. */
static bool *
movable_nodes(const struct vq_graph *g)
{
	bool *moves = vq_alloc_array((size_t)g->nodes + 1, sizeof(*moves)), *stored = stored_values(g);

	for (int i = 0; i < g->nodes; i++) {
		moves[i] = true;
		for (int o = 0; o < g->node[i].nout; o++)
			moves[i] &= stored[g->node[i].out + o];
	}
	for (int i = 0; i < g->outputs; i++)
		if (vq_node_of(g, g->output[i].value))
			moves[g->value[g->output[i].value].node] = false;
	for (int i = g->nodes - 1; i >= 0; i--)
		for (int j = 0; j < g->node[i].nin; j++)
			if (!moves[i] && vq_node_of(g, g->node[i].in[j]))
				moves[g->value[g->node[i].in[j]].node] = false;
	free(stored);
	return moves;
}

/* By value: the last node that stays and reads it or what has its memory; -1: none. */
static int *
last_readers(const struct vq_graph *g, const bool *moves)
{
	int *last = vq_alloc_array((size_t)g->values + 1, sizeof(*last));

	for (vq_id v = 0; v < g->values; v++)
		last[v] = -1;
	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		bool alias = n->op->flags & VQ_OP_ALIAS;

		for (int j = 0; j < n->nin; j++) {
			int *own = &last[n->in[j]], at = moves[i] ? -1 : i;
			if (alias && j == 0 && last[n->out] > at)
				at = last[n->out];
			*own = *own > at ? *own : at;
		}
	}
	return last;
}

static void
find_places(const struct vq_graph *g, struct order *s)
{
	bool *moves = movable_nodes(g);
	int *last = last_readers(g, moves), forward = -1;

	for (int i = 0; i < g->nodes && !g->node[i].backward; i++)
		forward = moves[i] ? forward : i;
	for (int i = 0; i < g->nodes; i++)
		s->after[i] = moves[i] ? forward : i;
	for (int i = 0; i < g->stores; i++) {
		const struct vq_node *n = vq_node_of(g, g->store[i].value);
		int at = last[g->store[i].leaf];
		if (n && moves[n - g->node] && at > s->after[n - g->node])
			s->after[n - g->node] = at;
	}
	for (int i = 0; i < g->nodes; i++) {
		for (int j = 0; moves[i] && j < g->node[i].nin; j++) {
			const struct vq_node *n = vq_node_of(g, g->node[i].in[j]);
			if (n && s->after[n - g->node] > s->after[i])
				s->after[i] = s->after[n - g->node];
		}
		if (s->after[i] < 0)		/* of leaves that nothing reads */
			s->after[i] = i;
	}
	free(last);
	free(moves);
}

static void
visit(struct vq_rewrite *r, int node)
{
	struct order *s = r->arg;

	if (s->after[node] != node)
		return;
	vq_rewrite_copy(r, node);
	for (int i = s->first[node]; i >= 0; i = s->next[i]) {
		r->to->now = r->from->node[i].origin;
		r->to->backward = r->from->node[i].backward;
		vq_rewrite_copy(r, i);
	}
}

struct vq_graph *
vq_pass_order(struct vq_graph *g)
{
	struct order s;
	size_t n = (size_t)g->nodes + 1;

	s.after = vq_alloc_array(n, sizeof(*s.after));
	s.next = vq_alloc_array(n, sizeof(*s.next));
	s.first = vq_alloc_array(n, sizeof(*s.first));
	find_places(g, &s);
	for (int i = 0; i < g->nodes; i++)
		s.first[i] = -1;
	for (int i = g->nodes - 1; i >= 0; i--)
		if (s.after[i] != i) {
			s.next[i] = s.first[s.after[i]];
			s.first[s.after[i]] = i;
		}
	struct vq_graph *to = vq_graph_rewrite(g, visit, &s);
	vq_graph_free(g);
	free(s.after);
	free(s.next);
	free(s.first);
	return to;
}
