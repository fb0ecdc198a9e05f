/*
 * dump_json -- a graph as JSON; tools/README.md describes it
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "tools/dump.h"

static const char *const kind_names[] = { "input", "param", "state", "const", "computed" };

/* JSON has no infinities: those are text. */
static json_t *
number_json(double x)
{
	if (isfinite(x))
		return json_real(x);
	return json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

/* A scalar, or the list of all elements in order. */
static json_t *
constant_json(const struct vq_value *val)
{
	struct vq_view view = { (void *)(uintptr_t)val->constant, &val->type };
	int64_t n = vq_shape_count(&val->type.shape);
	json_t *list;

	if (val->type.shape.rank == 0)
		return number_json(vq_get(&view, 0));
	list = json_array();
	for (int64_t i = 0; i < n; i++)
		json_array_append_new(list, number_json(vq_get(&view, i)));
	return list;
}

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
	if (val->kind == VQ_CONST)
		json_object_set_new(j, "value", constant_json(val));
	return j;
}

static json_t *
params_json(const struct vq_param *p, const void *from)
{
	json_t *j = json_object();

	for (; p && p->name; p++) {
		struct vq_text t = { 0 };

		vq_param_print(p, from, &t);
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
	json_object_set_new(j, "params", params_json(n->op->params, n->params));
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
names_json(const char *const *name, int n)
{
	json_t *list = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(list, vq_json_text(name[i]));
	return list;
}

json_t *
vq_dump_stage_json(const struct vq_train *t)
{
	json_t *j = json_object(), *updates = json_array();

	for (int i = 0; i < t->updates; i++) {
		const struct vq_update *u = &t->update[i];
		json_t *k = json_object();

		json_object_set_new(k, "minimize", vq_json_text(u->minimize));
		json_object_set_new(k, "train", names_json(u->train, u->trains));
		json_object_set_new(k, "optimizer", json_string(u->optimizer->name));
		json_object_set_new(k, "params", params_json(u->optimizer->params, &u->opt));
		json_object_set_new(k, "clip", json_real(u->clip));
		json_object_set_new(k, "accumulate", json_integer(u->accumulate));
		json_object_set_new(k, "from", u->from.share > 0 ? json_real(u->from.share) : json_integer(u->from.step));
		json_array_append_new(updates, k);
	}
	json_object_set_new(j, "precision", json_string(vq_precisions[t->bf16 ? VQ_TOOL_BF16 : VQ_TOOL_F32]));
	json_object_set_new(j, "graph", vq_json_text(t->graph));
	json_object_set_new(j, "updates", updates);
	json_object_set_new(j, "average", json_real(t->average));
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
	    *slopes = json_array(), *outputs = json_object();
	struct vq_summary s;

	for (vq_id v = 0; v < g->values; v++)
		json_array_append_new(values, value_json(g, v));
	for (int i = 0; i < g->nodes; i++)
		json_array_append_new(nodes, node_json(g, i));
	for (int i = 0; i < g->stores; i++)
		json_array_append_new(stores, json_pack("{s:i, s:i}", "leaf", (int)g->store[i].leaf, "value",
		    (int)g->store[i].value));
	for (int i = 0; i < g->slopes; i++)
		json_array_append_new(slopes, json_pack("{s:i, s:i, s:i}", "of", (int)g->slope[i].of, "to", (int)g->slope[i].to,
		    "value", (int)g->slope[i].grad));
	for (int i = 0; i < g->outputs; i++)
		json_object_set_new(outputs, g->output[i].name, json_integer(g->output[i].value));
	vq_summary_make(&s, g, d->all_nodes);
	json_object_set_new(top, "name", vq_json_text(d->name));
	json_object_set_new(top, "mode", json_string(d->mode));
	json_object_set_new(top, "batch", d->batch > 0 ? json_integer(d->batch) : json_null());
	if (d->stage)
		json_object_set(top, "stage", d->stage);
	json_object_set_new(top, "steps", steps_json(d, &s));
	json_object_set_new(top, "values", values);
	json_object_set_new(top, "nodes", nodes);
	json_object_set_new(top, "stores", stores);
	json_object_set_new(top, "gradients", slopes);
	json_object_set_new(top, "outputs", outputs);
	json_object_set_new(top, "totals", totals_json(d, &s));
	vq_summary_free(&s);
	return top;
}
