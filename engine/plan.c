/*
 * plan -- where every value lives: lifetimes to offsets in one arena
 *
 * Values become buffers: an alias shares its source's, an output may take over
 * an input that dies there.  Buffers are placed largest first, each at the lowest
 * offset where nothing alive at the same time lies.  A value that is stored to
 * a parameter or state is computed right there when no reader of the old one
 * remains; otherwise it is copied at the end of the step.
 */
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/passes.h"

enum { ALIGN = 64 };

struct buffer {
	int64_t size, offset;
	int from, to;		/* nodes */
};

struct planner {
	struct vq_plan *p;
	const struct vq_graph *g;
	vq_id *root;		/* by value: the value whose memory it is */
	int *last;		/* by root: last node that reads it, nodes when it must survive */
	vq_id *leaf;		/* by value: the leaf it is written to in place, or VQ_NONE */
	int *buffer_of;		/* by root: index, or VQ_NONE */
	struct buffer *buffer;
	int buffers, cap;
};

static int64_t
round_up(int64_t n)
{
	return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void
find_roots(struct planner *s)
{
	const struct vq_graph *g = s->g;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_node *n = vq_node_of(g, v);
		s->root[v] = v;
		if (n && (n->op->flags & VQ_OP_ALIAS) && v == n->out)
			s->root[v] = s->root[n->in[0]];
	}
}

static void
find_last_uses(struct planner *s)
{
	const struct vq_graph *g = s->g;

	for (vq_id v = 0; v < g->values; v++)
		s->last[v] = g->value[v].kind == VQ_COMPUTED ? g->value[v].node : VQ_NONE;
	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin; j++)
			s->last[s->root[g->node[i].in[j]]] = i;
	for (int i = 0; i < g->outputs; i++)
		s->last[s->root[g->output[i].value]] = g->nodes;
}

/* Reads "0:0 1:2": may output o of the op share memory with input j? */
static bool
declares_inplace(const struct vq_op *op, int o, int j)
{
	for (const char *s = op->inplace; s && *s; ) {
		char *end;
		long out = strtol(s, &end, 10);
		long in = strtol(end + 1, &end, 10);
		if (out == o && in == j)
			return true;
		s = *end ? end + 1 : end;
	}
	return false;
}

/* An elementwise walk reads each element before it writes it. */
bool
vq_plan_may_share(const struct vq_graph *g, const struct vq_node *n, int o, int j)
{
	const struct vq_type *in = vq_kept_type(g, n->in[j]), *out = vq_kept_type(g, n->out + o);

	if (vq_type_bytes(in) != vq_type_bytes(out) || n->epilogue)
		return false;
	if (n->op->flags & VQ_OP_ELEMENTWISE)
		return in->dtype == out->dtype && vq_shape_count(&in->shape) == vq_shape_count(&out->shape);
	for (int k = 0; k < n->nin; k++)
		if (k != j && n->in[k] == n->in[j])
			return false;
	return declares_inplace(n->op, o, j);
}

/* --- stores -------------------------------------------------------------- */

/* Can the stored value be written over the leaf while it is computed? */
static bool
writes_in_place(const struct planner *s, const struct vq_store *st)
{
	const struct vq_graph *g = s->g;
	const struct vq_node *n = vq_node_of(g, st->value);

	if (n == NULL || s->root[st->value] != st->value || s->leaf[st->value] != VQ_NONE)
		return false;
	int node = g->value[st->value].node, last = s->last[st->leaf];
	if (last < node)
		return true;
	if (last > node)
		return false;
	bool ok = true;
	for (int j = 0; j < n->nin; j++)
		if (s->root[n->in[j]] == st->leaf)
			ok &= n->in[j] == st->leaf && vq_plan_may_share(g, n, st->value - n->out, j);
	return ok;
}

static void
plan_stores(struct planner *s)
{
	const struct vq_graph *g = s->g;
	struct vq_plan *p = s->p;

	p->copy = vq_alloc_array((size_t)g->stores + 1, sizeof(*p->copy));
	for (int i = 0; i < g->stores; i++) {
		const struct vq_store *st = &g->store[i];
		if (writes_in_place(s, st)) {
			s->leaf[st->value] = st->leaf;
		} else {
			p->copy[p->copies++] = *st;
			s->last[s->root[st->value]] = g->nodes;
		}
	}
}

/* --- buffers ------------------------------------------------------------- */

static int
new_buffer(struct planner *s, int64_t size, int from, int to)
{
	vq_grow(s->buffer, s->buffers, s->cap);
	s->buffer[s->buffers] = (struct buffer){ .size = round_up(size), .from = from, .to = to };
	return s->buffers++;
}

/* Whether input j is the only one of the node that lies where it does. */
static bool
lies_alone(const struct planner *s, const struct vq_node *n, int j)
{
	for (int k = 0; k < n->nin; k++)
		if (k != j && s->root[n->in[k]] == s->root[n->in[j]])
			return false;
	return true;
}

/* The buffer of an input that dies at this node and that output o may take over. */
static int
dying_input(const struct planner *s, int node, int o)
{
	const struct vq_node *n = &s->g->node[node];

	for (int j = 0; j < n->nin; j++) {
		vq_id r = s->root[n->in[j]];
		if (s->buffer_of[r] != VQ_NONE && s->last[r] == node && vq_plan_may_share(s->g, n, o, j) &&
		    ((n->op->flags & VQ_OP_ELEMENTWISE) || lies_alone(s, n, j)) && s->buffer[s->buffer_of[r]].to == node)
			return s->buffer_of[r];
	}
	return VQ_NONE;
}

static void
make_buffers(struct planner *s)
{
	const struct vq_graph *g = s->g;

	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		for (int o = 0; o < n->nout; o++) {
			vq_id v = n->out + o;
			if (s->root[v] != v || s->leaf[v] != VQ_NONE)
				continue;
			int b = dying_input(s, i, o);
			if (b == VQ_NONE)
				b = new_buffer(s, (int64_t)vq_type_bytes(vq_kept_type(g, v)), i, s->last[v]);
			s->buffer[b].to = s->last[v];
			s->buffer_of[v] = b;
		}
	}
}

int64_t
vq_plan_scratch(const struct vq_graph *g, const struct vq_node *n, int threads)
{
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];

	if (n->op->scratch == NULL)
		return 0;
	struct vq_cost c = vq_cost_of(g, n, in, out, true);
	c.nin = vq_node_own_inputs(n);
	c.threads = threads;
	return (int64_t)n->op->scratch(&c);
}

/* --- placement ----------------------------------------------------------- */

static int
larger_first(const void *a, const void *b)
{
	const struct buffer *x = *(const struct buffer *const *)a, *y = *(const struct buffer *const *)b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return x->from != y->from ? x->from - y->from : (x < y ? -1 : x > y);
}

/* Inserts into the list of placed buffers, which is kept sorted by offset. */
static void
place_one(struct buffer **placed, int count, struct buffer *b)
{
	int64_t at = 0;
	int i;

	for (i = 0; i < count; i++) {
		const struct buffer *o = placed[i];
		if (o->to < b->from || b->to < o->from)
			continue;
		if (o->offset >= at + b->size)
			break;
		if (o->offset + o->size > at)
			at = o->offset + o->size;
	}
	b->offset = at;
	for (i = count; i > 0 && placed[i - 1]->offset > at; i--)
		placed[i] = placed[i - 1];
	placed[i] = b;
}

static void
place_buffers(struct planner *s)
{
	struct buffer **order = vq_alloc_array((size_t)s->buffers + 1, sizeof(*order));
	struct buffer **placed = vq_alloc_array((size_t)s->buffers + 1, sizeof(*placed));

	for (int i = 0; i < s->buffers; i++)
		order[i] = &s->buffer[i];
	qsort(order, (size_t)s->buffers, sizeof(*order), larger_first);
	for (int i = 0; i < s->buffers; i++) {
		place_one(placed, i, order[i]);
		if (order[i]->offset + order[i]->size > s->p->arena_bytes)
			s->p->arena_bytes = order[i]->offset + order[i]->size;
	}
	free(order);
	free(placed);
}

static void
fill_places(struct planner *s)
{
	static const int kind[] = { [VQ_INPUT] = VQ_PLACE_INPUT, [VQ_PARAM] = VQ_PLACE_VAR,
	    [VQ_STATE] = VQ_PLACE_VAR, [VQ_CONST] = VQ_PLACE_CONST };
	const struct vq_graph *g = s->g;
	bool *needed = vq_graph_needed(g);

	for (vq_id v = 0; v < g->values; v++) {
		struct vq_place *at = &s->p->place[v];
		vq_id r = s->root[v];
		at->leaf = s->leaf[r] != VQ_NONE ? s->leaf[r] : r;
		at->size = (int64_t)vq_type_bytes(vq_kept_type(g, v));
		if (s->leaf[r] != VQ_NONE) {
			at->kind = VQ_PLACE_VAR;
		} else if (g->value[r].kind != VQ_COMPUTED) {
			at->kind = kind[g->value[r].kind];
		} else {
			const struct buffer *b = &s->buffer[s->buffer_of[r]];
			at->kind = VQ_PLACE_ARENA;
			at->offset = b->offset;
			at->from = b->from;
			at->to = b->to;
		}
		if (g->value[v].kind == VQ_INPUT && !needed[v])
			at->kind = VQ_PLACE_NONE;		/* it need not be given */
	}
	free(needed);
}

void
vq_plan_memory(struct vq_plan *p)
{
	const struct vq_graph *g = p->graph;
	size_t n = (size_t)g->values + 1;
	struct planner s = { .p = p, .g = g };
	int *scratch = vq_alloc_array((size_t)g->nodes + 1, sizeof(*scratch));

	s.root = vq_alloc_array(n, sizeof(*s.root));
	s.last = vq_alloc_array(n, sizeof(*s.last));
	s.leaf = vq_alloc_array(n, sizeof(*s.leaf));
	s.buffer_of = vq_alloc_array(n, sizeof(*s.buffer_of));
	for (size_t i = 0; i < n; i++)
		s.leaf[i] = s.buffer_of[i] = VQ_NONE;
	find_roots(&s);
	find_last_uses(&s);
	plan_stores(&s);
	make_buffers(&s);
	for (int i = 0; i < g->nodes; i++) {
		int64_t bytes = vq_plan_scratch(g, &g->node[i], p->threads);
		scratch[i] = bytes > 0 ? new_buffer(&s, bytes, i, i) : VQ_NONE;
	}
	place_buffers(&s);
	fill_places(&s);
	for (int i = 0; i < g->nodes; i++)
		p->step[i].scratch_offset = scratch[i] == VQ_NONE ? -1 : s.buffer[scratch[i]].offset;
	free(scratch);
	free(s.root);
	free(s.last);
	free(s.leaf);
	free(s.buffer_of);
	free(s.buffer);
}

void
vq_plan_text(const struct vq_plan *p, struct vq_text *out)
{
	static const char *const kind[] = { "nowhere", "input", "variable", "constant", "arena" };
	char type[VQ_TYPE_STR];

	vq_text_add(out, "arena %lld bytes, %d nodes, %d copies at the end\n",
	    (long long)p->arena_bytes, p->graph->nodes, p->copies);
	vq_text_add(out, "%8s  %-9s %12s %12s  %-13s %s\n", "value", "where", "offset", "bytes", "nodes", "what");
	for (vq_id v = 0; v < p->graph->values; v++) {
		const struct vq_place *at = &p->place[v];
		const struct vq_value *val = &p->graph->value[v];
		char alive[32] = "", offset[32] = "";
		if (at->kind == VQ_PLACE_ARENA) {
			snprintf(alive, sizeof(alive), "%d..%d", at->from, at->to);
			snprintf(offset, sizeof(offset), "%lld", (long long)at->offset);
		}
		vq_text_add(out, "%%%-7d  %-9s %12s %12lld  %-13s %s %s\n", v, kind[at->kind], offset,
		    (long long)at->size, alive, val->name ? val->name :
		    val->kind == VQ_COMPUTED ? p->graph->node[val->node].op->name : "constant",
		    vq_type_str(&val->type, type));
	}
}
