/*
 * dump_json -- a graph as JSON; tools/README.md describes it
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "tools/dump.h"

static const char *const kind_names[] = { "input", "param", "state", "const", "computed" };

static json_t *
value_json(const struct vq_graph *g, vq_id v)
{
	const struct vq_value *val = &g->value[v];
	json_t *j = json_object();

	json_object_set_new(j, "id", json_integer(v));
	json_object_set_new(j, "kind", json_string(kind_names[val->kind]));
	json_object_set_new(j, "dtype", json_string(vq_dtype_name(val->type.dtype)));
	json_object_set_new(j, "shape", vq_json_shape(&val->type.shape));
	if (val->name)
		json_object_set_new(j, "name", vq_json_text(val->name));
	if (val->kind == VQ_COMPUTED)
		json_object_set_new(j, "node", json_integer(val->node));
	return j;
}

static json_t *
params_json(const struct vq_node *n)
{
	json_t *j = json_object();

	for (const struct vq_param *p = n->op->params; p && p->name; p++) {
		struct vq_text t = { 0 };

		vq_param_print(p, n->params, &t);
		json_object_set_new(j, p->name, vq_json_text(t.s ? t.s : ""));
		vq_text_free(&t);
	}
	return j;
}

static json_t *
ids_json(const vq_id *id, int n)
{
	json_t *list = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_integer(id[i]));
	return list;
}

static json_t *
node_json(const struct vq_graph *g, int i)
{
	const struct vq_node *n = &g->node[i];
	json_t *j = json_object(), *out = json_array();

	for (int k = 0; k < n->nout; k++)
		json_array_append_new(out, json_integer(n->out + k));
	json_object_set_new(j, "op", json_string(n->op->name));
	json_object_set_new(j, "in", ids_json(n->in, n->nin));
	json_object_set_new(j, "out", out);
	json_object_set_new(j, "params", params_json(n));
	json_object_set_new(j, "flops", json_real(vq_node_flops(g, i)));
	json_object_set_new(j, "bytes", json_real(vq_node_bytes(g, i)));
	json_object_set_new(j, "backward", json_boolean(n->backward));
	if (n->origin != VQ_NONE) {
		const struct vq_origin *o = &g->origin[n->origin];

		json_object_set_new(j, "path", vq_json_text(o->path));
		if (o->at.source) {
			json_object_set_new(j, "file", vq_json_text(o->at.source->name));
			json_object_set_new(j, "line", json_integer(o->at.line));
		}
	}
	return j;
}

static json_t *
steps_json(const struct vq_dump *d, const struct vq_summary *s)
{
	json_t *list = json_array();

	for (int i = 0; i < s->rows; i++) {
		const struct vq_row *r = &s->row[i];
		json_t *j;

		if (!r->shown)
			continue;
		j = json_object();
		json_object_set_new(j, "path", vq_json_text(r->path));
		json_object_set_new(j, "what", vq_json_text(r->what));
		json_object_set_new(j, "depth", json_integer(r->depth));
		json_object_set_new(j, "output", r->out == VQ_NONE ? json_null() : json_integer(r->out));
		json_object_set_new(j, "parameters", json_integer(r->params));
		json_object_set_new(j, "state", json_integer(r->state));
		json_object_set_new(j, "flops", json_real(r->flops));
		json_object_set_new(j, "backward_flops", json_real(r->backward_flops));
		json_object_set_new(j, "bytes", json_real(r->bytes));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *
totals_json(const struct vq_dump *d, const struct vq_summary *s)
{
	json_t *j = json_object();

	json_object_set_new(j, "parameters", json_integer(s->params));
	json_object_set_new(j, "state", json_integer(s->state));
	json_object_set_new(j, "flops", json_real(s->flops + s->backward_flops));
	json_object_set_new(j, "backward_flops", json_real(s->backward_flops));
	if (d->plan)
		json_object_set_new(j, "arena_bytes", json_integer(d->plan->arena_bytes));
	return j;
}

json_t *
vq_dump_json(const struct vq_dump *d)
{
	const struct vq_graph *g = d->g;
	json_t *top = json_object(), *values = json_array(), *nodes = json_array(), *stores = json_array(),
	    *outputs = json_object();
	struct vq_summary s;

	for (vq_id v = 0; v < g->values; v++)
		json_array_append_new(values, value_json(g, v));
	for (int i = 0; i < g->nodes; i++)
		json_array_append_new(nodes, node_json(g, i));
	for (int i = 0; i < g->stores; i++)
		json_array_append_new(stores, json_pack("{s:i, s:i}", "leaf", (int)g->store[i].leaf, "value",
		    (int)g->store[i].value));
	for (int i = 0; i < g->outputs; i++)
		json_object_set_new(outputs, g->output[i].name, json_integer(g->output[i].value));
	vq_summary_make(&s, g, d->all_nodes);
	json_object_set_new(top, "name", vq_json_text(d->name));
	json_object_set_new(top, "mode", json_string(d->mode));
	json_object_set_new(top, "batch", d->batch > 0 ? json_integer(d->batch) : json_null());
	json_object_set_new(top, "steps", steps_json(d, &s));
	json_object_set_new(top, "values", values);
	json_object_set_new(top, "nodes", nodes);
	json_object_set_new(top, "stores", stores);
	json_object_set_new(top, "outputs", outputs);
	json_object_set_new(top, "totals", totals_json(d, &s));
	vq_summary_free(&s);
	return top;
}
