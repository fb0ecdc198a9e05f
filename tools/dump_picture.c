/*
 * dump_picture -- a graph as boxes and lines, and in graphviz's language
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "tools/dump.h"

int
vq_picture_box(struct vq_picture *p, enum vq_box_kind kind)
{
	vq_grow(p->box, p->boxes, p->box_cap);
	p->box[p->boxes] = (struct vq_box){ .kind = kind, .title = "", .what = "", .type = "", .note = "" };
	return p->boxes++;
}

void
vq_picture_free(struct vq_picture *p)
{
	free(p->box);
	free(p->line);
	vq_arena_free(&p->arena);
}

/* --- from a graph ---------------------------------------------------------- */

struct maker {
	struct vq_picture *p;
	const struct vq_dump *d;
	struct vq_summary s;
	int *box_of;		/* by row, forward, then by row, backward; VQ_NONE */
	int *maker_of;		/* by value: the box it comes from, VQ_NONE for leaves that are not drawn */
};

static void
add_line(struct maker *m, int from, int to, vq_id v)
{
	struct vq_picture *p = m->p;
	char type[VQ_TYPE_STR];

	if (from == VQ_NONE || from == to)
		return;
	for (int i = p->lines - 1; i >= 0; i--)
		if (p->line[i].from == from && p->line[i].to == to)
			return;
	vq_grow(p->line, p->lines, p->line_cap);
	p->line[p->lines++] = (struct vq_line){ .from = from, .to = to,
	    .type = vq_arena_strdup(&p->arena, vq_type_str(vq_type_at(m->d->g, v), type)) };
}

static const char *
note_of(struct maker *m, const struct vq_row *r, bool backward)
{
	char params[VQ_NUM_STR], flops[VQ_NUM_STR];
	double x = backward ? r->backward_flops : r->flops;
	struct vq_text t = { 0 };
	const char *note;

	if (!backward && r->params)
		vq_text_add(&t, "%s parameters", vq_count_str(r->params, params));
	if (!backward && r->state)
		vq_text_add(&t, "%s%s state", t.len ? ", " : "", vq_count_str(r->state, params));
	if (x >= 1)
		vq_text_add(&t, "%s%s FLOP", t.len ? ", " : "", vq_si_str(x, flops));
	note = vq_arena_strdup(&m->p->arena, t.s ? t.s : "");
	vq_text_free(&t);
	return note;
}

static int
box_of_row(struct maker *m, int row, bool backward)
{
	int *slot = &m->box_of[2 * row + backward];
	const struct vq_row *r = &m->s.row[row];
	struct vq_box *b;
	char type[VQ_TYPE_STR];

	if (*slot != VQ_NONE)
		return *slot;
	*slot = vq_picture_box(m->p, row == m->s.updates ? VQ_BOX_UPDATE : backward ? VQ_BOX_BACKWARD : VQ_BOX_STEP);
	b = &m->p->box[*slot];
	b->title = vq_arena_strdup(&m->p->arena, r->path);
	b->what = strcmp(r->what, r->path) == 0 && !backward ? "" :
	    vq_arena_printf(&m->p->arena, "%s%s", backward ? "gradient of " : "", r->what);
	if (!backward && r->out != VQ_NONE)
		b->type = vq_arena_strdup(&m->p->arena, vq_type_str(vq_type_at(m->d->g, r->out), type));
	b->note = note_of(m, r, backward);
	return *slot;
}

static int
box_of_node(struct maker *m, int node)
{
	int row = vq_summary_shown(&m->s, node);

	return box_of_row(m, row, row != m->s.updates && m->d->g->node[node].backward);
}

static void
add_leaves(struct maker *m)
{
	const struct vq_graph *g = m->d->g;
	char type[VQ_TYPE_STR];

	for (vq_id v = 0; v < g->values; v++) {
		m->maker_of[v] = VQ_NONE;
		if (g->value[v].kind != VQ_INPUT)
			continue;
		m->maker_of[v] = vq_picture_box(m->p, VQ_BOX_INPUT);
		struct vq_box *b = &m->p->box[m->maker_of[v]];
		b->title = vq_arena_strdup(&m->p->arena, g->value[v].name);
		b->what = "input";
		b->type = vq_arena_strdup(&m->p->arena, vq_type_str(&g->value[v].type, type));
	}
}

static void
add_outputs(struct maker *m)
{
	const struct vq_graph *g = m->d->g;
	char type[VQ_TYPE_STR];

	for (int i = 0; i < g->outputs; i++) {
		vq_id v = g->output[i].value;
		int box;

		if (m->maker_of[v] == VQ_NONE)
			continue;
		box = vq_picture_box(m->p, VQ_BOX_OUTPUT);
		m->p->box[box].title = vq_arena_strdup(&m->p->arena, g->output[i].name);
		m->p->box[box].what = "output";
		m->p->box[box].type = vq_arena_strdup(&m->p->arena, vq_type_str(vq_type_at(g, v), type));
		add_line(m, m->maker_of[v], box, v);
	}
}

void
vq_picture_make(struct vq_picture *p, const struct vq_dump *d)
{
	const struct vq_graph *g = d->g;
	struct maker m = { .p = p, .d = d };

	*p = (struct vq_picture){ 0 };
	vq_summary_make(&m.s, g, d->all_nodes);
	m.box_of = vq_alloc_array(2 * (size_t)m.s.rows + 2, sizeof(*m.box_of));
	m.maker_of = vq_alloc_array((size_t)g->values + 1, sizeof(*m.maker_of));
	for (int i = 0; i < 2 * m.s.rows + 2; i++)
		m.box_of[i] = VQ_NONE;
	add_leaves(&m);
	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		int box = box_of_node(&m, i);

		for (int j = 0; j < n->nin; j++)
			add_line(&m, m.maker_of[n->in[j]], box, n->in[j]);
		for (int k = 0; k < n->nout; k++)
			m.maker_of[n->out + k] = box;
	}
	add_outputs(&m);
	free(m.box_of);
	free(m.maker_of);
	vq_summary_free(&m.s);
}

/* --- graphviz -------------------------------------------------------------- */

/* A string of dot, its quotes and backslashes escaped. */
static void
add_quoted(struct vq_text *out, const char *s)
{
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			vq_text_add(out, "\\%c", *s);
		else if ((unsigned char)*s >= ' ')
			vq_text_put(out, s, 1);
}

static void
add_dot_box(struct vq_text *out, const struct vq_box *b, int id)
{
	static const char *const style[] = {
		[VQ_BOX_INPUT] = "shape=ellipse, fillcolor=\"#dbeafe\"",
		[VQ_BOX_STEP] = "fillcolor=\"#ffffff\"",
		[VQ_BOX_BACKWARD] = "fillcolor=\"#fee2e2\"",
		[VQ_BOX_UPDATE] = "fillcolor=\"#fef3c7\"",
		[VQ_BOX_OUTPUT] = "shape=ellipse, fillcolor=\"#dcfce7\"",
	};
	const char *const lines[] = { b->title, b->what, b->type, b->note };

	vq_text_add(out, "  n%d [%s, label=\"", id, style[b->kind]);
	for (size_t i = 0; i < VQ_COUNT(lines); i++) {
		if (!*lines[i])
			continue;
		vq_text_add(out, "%s", i ? "\\n" : "");
		add_quoted(out, lines[i]);
	}
	vq_text_add(out, "\"];\n");
}

void
vq_dump_dot(const struct vq_dump *d, struct vq_text *out)
{
	struct vq_picture p;

	vq_picture_make(&p, d);
	vq_text_add(out, "digraph \"");
	add_quoted(out, d->name);
	vq_text_add(out, "\" {\n  rankdir=TB;\n"
	    "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=10];\n"
	    "  edge [fontname=\"Helvetica\", fontsize=8, color=\"#64748b\"];\n");
	for (int i = 0; i < p.boxes; i++)
		add_dot_box(out, &p.box[i], i);
	for (int i = 0; i < p.lines; i++) {
		vq_text_add(out, "  n%d -> n%d [label=\"", p.line[i].from, p.line[i].to);
		add_quoted(out, p.line[i].type);
		vq_text_add(out, "\"];\n");
	}
	vq_text_add(out, "}\n");
	vq_picture_free(&p);
}
