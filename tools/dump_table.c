/*
 * dump_table -- a graph as a model summary, and where its values come from
 */
#include <string.h>

#include "engine/op.h"
#include "tools/dump.h"

static void
count_cell(struct vq_table *t, int64_t n)
{
	char buf[VQ_NUM_STR];

	vq_table_cell(t, "%s", n ? vq_count_str(n, buf) : "");
}

static void
si_cell(struct vq_table *t, double x)
{
	char buf[VQ_NUM_STR];

	vq_table_cell(t, "%s", x > 0 ? vq_si_str(x, buf) : "");
}

static void
add_inputs(const struct vq_dump *d, struct vq_table *t, bool backward)
{
	char type[VQ_TYPE_STR], buf[VQ_NUM_STR];

	for (vq_id v = 0; v < d->g->values; v++) {
		const struct vq_value *val = &d->g->value[v];

		if (val->kind != VQ_INPUT)
			continue;
		vq_table_cell(t, "%s", val->name);
		vq_table_cell(t, "input");
		vq_table_cell(t, "%s", vq_type_str(&val->type, type));
		vq_table_cell(t, "%s", "");
		vq_table_cell(t, "%s", "");
		if (backward)
			vq_table_cell(t, "%s", "");
		vq_table_cell(t, "%s", vq_bytes_str((double)vq_type_bytes(&val->type), buf));
	}
}

static void
add_row(const struct vq_dump *d, struct vq_table *t, const struct vq_row *r, bool backward)
{
	char type[VQ_TYPE_STR], buf[VQ_NUM_STR];

	vq_table_cell(t, "%*s%s", 2 * r->depth, "", r->name);
	vq_table_cell(t, "%s", r->what);
	vq_table_cell(t, "%s", r->out == VQ_NONE ? "" : vq_type_str(vq_type_at(d->g, r->out), type));
	/* A block's sums stand with what is in it. */
	count_cell(t, r->block ? 0 : r->params);
	si_cell(t, r->block ? 0 : r->flops);
	if (backward)
		si_cell(t, r->block ? 0 : r->backward_flops);
	vq_table_cell(t, "%s", r->block || r->bytes <= 0 ? "" : vq_bytes_str(r->bytes, buf));
}

static void
add_totals(const struct vq_dump *d, const struct vq_summary *s, struct vq_text *out)
{
	char a[VQ_NUM_STR], b[VQ_NUM_STR];
	double flops = s->flops + s->backward_flops;

	vq_text_add(out, "\nparameters   %s (%s)\n", vq_count_str(s->params, a),
	    vq_bytes_str(4.0 * (double)s->params, b));
	vq_text_add(out, "state        %s (%s)\n", vq_count_str(s->state, a),
	    vq_bytes_str(4.0 * (double)s->state, b));
	vq_text_add(out, "FLOP         %s a step", vq_si_str(flops, a));
	if (s->backward_flops > 0)
		vq_text_add(out, " (%s of them backward)", vq_si_str(s->backward_flops, b));
	if (d->batch > 0)
		vq_text_add(out, ", %s a sample", vq_si_str(flops / (double)d->batch, b));
	vq_text_add(out, "\n");
	if (d->plan)
		vq_text_add(out, "arena        %s, %d nodes after the passes\n",
		    vq_bytes_str((double)d->plan->arena_bytes, a), d->plan->graph->nodes);
}

void
vq_dump_table(const struct vq_dump *d, struct vq_text *out)
{
	static const char *const plain[] = { "step", "type", "output", "parameters", "FLOP", "memory" };
	static const char *const with_grad[] = { "step", "type", "output", "parameters", "FLOP", "backward",
	    "memory" };
	static const bool right[] = { false, false, false, true, true, true, true };
	struct vq_summary s;
	struct vq_table t = { .right = right };
	bool backward;

	vq_summary_make(&s, d->g, d->all_nodes);
	backward = s.backward_flops > 0;
	t.columns = (int)(backward ? VQ_COUNT(with_grad) : VQ_COUNT(plain));
	t.title = backward ? with_grad : plain;
	vq_text_add(out, "%sgraph %s, %s", out->len ? "\n" : "", d->name, d->mode);
	if (d->batch > 0)
		vq_text_add(out, ", batch %lld", (long long)d->batch);
	vq_text_add(out, "\n\n");
	add_inputs(d, &t, backward);
	for (int i = 0; i < s.rows; i++)
		if (s.row[i].shown)
			add_row(d, &t, &s.row[i], backward);
	vq_table_end(&t, d->color, out);
	add_totals(d, &s, out);
	vq_summary_free(&s);
}

/* --- origins --------------------------------------------------------------- */

static const char *
place(const struct vq_range *at, char *buf, size_t size)
{
	vq_range_str(at, buf, size);
	return *buf ? buf : "nowhere in a file";
}

void
vq_dump_origins(const struct vq_graph *g, struct vq_text *out)
{
	static const char *const kind[] = { "input", "param", "state", "const" };
	char buf[512], type[VQ_TYPE_STR];

	vq_text_add(out, "%sgraph %s\n", out->len ? "\n" : "", g->name);
	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		const struct vq_node *n = vq_node_of(g, v);

		if (val->kind == VQ_CONST || (n && val->port > 0))
			continue;
		vq_text_add(out, "%%%d %s %s %s\n", v, n ? n->op->name : kind[val->kind],
		    val->name ? val->name : "",
		    vq_type_str(&val->type, type));
		if (!n) {
			vq_text_add(out, "      from %s\n", place(&val->where, buf, sizeof(buf)));
			continue;
		}
		if (n->origin == VQ_NONE)
			vq_text_add(out, "      from a pass\n");
		for (int o = n->origin; o != VQ_NONE; o = g->origin[o].parent)
			vq_text_add(out, "      %s %s%s%s, %s\n",
			    o != n->origin ? "in" : n->backward ? "gradient of" : "from",
			    g->origin[o].what, *g->origin[o].path ? " " : "", g->origin[o].path,
			    place(&g->origin[o].at, buf, sizeof(buf)));
	}
}
