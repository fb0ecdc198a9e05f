/*
 * dump_rows -- a graph as the steps of its model file
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "tools/dump.h"

/* "conv.0" of "enc.conv.0" inside "enc". */
static const char *
short_name(const char *path, const char *parent)
{
	size_t n = strlen(parent);

	return n > 0 && strncmp(path, parent, n) == 0 && path[n] == '.' ? path + n + 1 : path;
}

/* Rows of the steps: one for each origin, and one for what the engine adds by itself. */
static void
rows_of_origins(struct vq_summary *s)
{
	const struct vq_graph *g = s->g;

	s->rows = g->origins + 1;
	s->updates = g->origins;
	s->row = vq_alloc_array((size_t)s->rows, sizeof(*s->row));
	s->row[s->updates] = (struct vq_row){ .name = "updates", .path = "updates", .what = "optimizer",
	    .parent = VQ_NONE, .first = VQ_NONE, .out = VQ_NONE };
	for (int i = 0; i < g->origins; i++) {
		const struct vq_origin *o = &g->origin[i];
		const char *above = o->parent == VQ_NONE ? "" : s->row[o->parent].path;
		bool own = o->path && *o->path && strcmp(o->path, above) != 0;

		s->row[i] = (struct vq_row){ .what = o->what, .parent = o->parent, .first = VQ_NONE,
		    .out = VQ_NONE };
		s->row[i].path = own ? o->path : *above ?
		    vq_arena_printf(&s->arena, "%s.%s", above, o->what) : o->what;
		s->row[i].name = short_name(s->row[i].path, above);
		s->row[i].depth = o->parent == VQ_NONE ? 0 : s->row[o->parent].depth + 1;
	}
	for (int i = 0; i < g->nodes; i++)
		s->row_of[i] = g->node[i].origin == VQ_NONE ? s->updates : g->node[i].origin;
}

/* Rows of the nodes. */
static void
rows_of_nodes(struct vq_summary *s)
{
	const struct vq_graph *g = s->g;

	s->rows = g->nodes;
	s->row = vq_alloc_array((size_t)g->nodes + 1, sizeof(*s->row));
	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		const char *path = n->origin == VQ_NONE ? "" : g->origin[n->origin].path;

		s->row[i] = (struct vq_row){ .what = n->op->name, .parent = VQ_NONE, .first = i,
		    .out = n->out, .shown = true };
		s->row[i].path = s->row[i].name = vq_arena_printf(&s->arena, "%%%d %s%s", n->out,
		    n->backward ? "grad of " : "", path && *path ? path : "");
		s->row_of[i] = i;
	}
}

/* Adds a node to its row and all that hold it. */
static void
count_node(struct vq_summary *s, int i, bool *seen)
{
	const struct vq_graph *g = s->g;
	const struct vq_node *n = &g->node[i];
	double flops = vq_node_flops(g, i);
	int64_t params = 0, state = 0;

	for (int j = 0; j < n->nin; j++) {
		const struct vq_value *v = &g->value[n->in[j]];

		if (seen[n->in[j]] || (v->kind != VQ_PARAM && v->kind != VQ_STATE))
			continue;
		seen[n->in[j]] = true;
		*(v->kind == VQ_PARAM ? &params : &state) += vq_shape_count(&v->type.shape);
	}
	*(n->backward ? &s->backward_flops : &s->flops) += flops;
	for (int r = s->row_of[i]; r != VQ_NONE; r = s->row[r].parent) {
		struct vq_row *row = &s->row[r];

		row->nodes++;
		row->params += params;
		row->state += state;
		*(n->backward ? &row->backward_flops : &row->flops) += flops;
		if (row->first == VQ_NONE)
			row->first = i;
		if (!n->backward && r != s->updates)
			row->out = n->out;	/* unless something else goes out of it */
	}
}

static bool
is_within(const struct vq_summary *s, int row, int outer)
{
	while (row != VQ_NONE && row != outer)
		row = s->row[row].parent;
	return row == outer;
}

/* A value that is read in row `reader` (VQ_NONE: by the caller of the graph) goes out of
 * the rows around its node that the reader is not in; the largest stands for them. */
static void
note_use(struct vq_summary *s, vq_id v, int reader)
{
	const struct vq_node *n = vq_node_of(s->g, v);
	double bytes = (double)vq_type_bytes(vq_type_at(s->g, v));

	for (int r = n && !n->backward ? s->row_of[n - s->g->node] : VQ_NONE; r != VQ_NONE; r = s->row[r].parent) {
		if (is_within(s, reader, r))
			return;
		if (bytes <= s->row[r].bytes || r == s->updates)
			continue;
		s->row[r].bytes = bytes;
		s->row[r].out = v;
	}
}

/* What a step itself gives: the value of its name.  What else goes out of it is only read by gradients. */
static void
own_output(struct vq_summary *s, int row)
{
	vq_id v = vq_graph_find_output(s->g, s->row[row].path);
	const struct vq_node *n = v == VQ_NONE ? NULL : vq_node_of(s->g, v);

	if (n && !n->backward && row != s->updates && is_within(s, s->row_of[n - s->g->node], row))
		s->row[row].out = v;
}

static void
find_outputs(struct vq_summary *s, bool all_nodes)
{
	const struct vq_graph *g = s->g;

	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin && !g->node[i].backward; j++)
			note_use(s, g->node[i].in[j], s->row_of[i]);
	for (int i = 0; i < g->outputs; i++)
		note_use(s, g->output[i].value, VQ_NONE);
	for (int i = 0; i < s->rows && !all_nodes; i++)
		own_output(s, i);
	for (int i = 0; i < s->rows; i++)
		if (s->row[i].out != VQ_NONE)
			s->row[i].bytes = (double)vq_type_bytes(vq_type_at(g, s->row[i].out));
}

/* A row is shown when it is at the top, or its block holds other blocks. */
static void
choose_shown(struct vq_summary *s)
{
	bool *holds = vq_alloc_array((size_t)s->rows + 1, sizeof(*holds));	/* other rows */
	bool *nests = vq_alloc_array((size_t)s->rows + 1, sizeof(*nests));	/* rows that hold rows */

	for (int i = s->rows - 1; i >= 0; i--) {
		int up = s->row[i].parent;

		if (up == VQ_NONE || s->row[i].nodes == 0)
			continue;
		holds[up] = true;
		nests[up] |= holds[i];
	}
	for (int i = 0; i < s->rows; i++) {
		int up = s->row[i].parent;

		s->row[i].shown = s->row[i].nodes > 0 && (up == VQ_NONE || (s->row[up].shown && nests[up]));
		if (s->row[i].shown && up != VQ_NONE)
			s->row[up].block = true;
	}
	free(holds);
	free(nests);
}

void
vq_summary_make(struct vq_summary *s, const struct vq_graph *g, bool all_nodes)
{
	bool *seen = vq_alloc_array((size_t)g->values + 1, sizeof(*seen));

	*s = (struct vq_summary){ .g = g, .updates = VQ_NONE };
	s->row_of = vq_alloc_array((size_t)g->nodes + 1, sizeof(*s->row_of));
	if (all_nodes)
		rows_of_nodes(s);
	else
		rows_of_origins(s);
	for (int i = 0; i < g->nodes; i++)
		count_node(s, i, seen);
	find_outputs(s, all_nodes);
	if (!all_nodes)
		choose_shown(s);
	s->params = vq_graph_elements(g, VQ_PARAM);
	s->state = vq_graph_elements(g, VQ_STATE);
	free(seen);
}

int
vq_summary_shown(const struct vq_summary *s, int node)
{
	int r = s->row_of[node];

	while (r != VQ_NONE && !s->row[r].shown)
		r = s->row[r].parent;
	return r;
}

void
vq_summary_free(struct vq_summary *s)
{
	free(s->row);
	free(s->row_of);
	vq_arena_free(&s->arena);
}
