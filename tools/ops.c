/*
 * ops -- `vqgraph ops`: ops, library blocks, optimizers, schedules and data
 * sources, with their parameters, defaults and examples
 */
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"
#include "engine/op.h"
#include "engine/optimizer.h"
#include "engine/suggest.h"
#include "tools/library.h"
#include "tools/tool.h"

struct options {
	bool all;
};

/* A bound from UNBOUNDED on is the table's, not the reader's. */
enum { WIDTH = 100, NAME = 20, UNBOUNDED = 1 << 20 };

/* --- parameters ------------------------------------------------------------ */

static const char *
kind_of(const struct vq_param *p)
{
	static const char *const kind[] = { [VQ_P_INT] = "int", [VQ_P_REAL] = "real", [VQ_P_BOOL] = "bool",
	    [VQ_P_ENUM] = "choice", [VQ_P_INTS] = "ints", [VQ_P_STRING] = "text" };

	return kind[p->kind];
}

static void
add_param(struct vq_text *out, const struct vq_param *p)
{
	struct vq_text doc = { 0 };

	vq_text_add(&doc, "%s", p->doc);
	if (p->kind == VQ_P_ENUM)
		for (int i = 0; p->choices[i]; i++)
			vq_text_add(&doc, "%s%s", i ? ", " : ": ", p->choices[i]);
	if (!p->init)
		vq_text_add(&doc, " (required)");
	else
		vq_text_add(&doc, " (default %s)", *p->init ? p->init : "\"\"");
	if ((p->min != 0 || p->max != 0) && p->max < UNBOUNDED)
		vq_text_add(&doc, " [%.12g..%.12g]", p->min, p->max);
	else if (p->min != 0 || p->max != 0)
		vq_text_add(&doc, " [at least %.12g]", p->min);
	vq_text_add(out, "  %-14s %-6s ", p->name, kind_of(p));
	vq_wrap(out, doc.s, 24, WIDTH);
	vq_text_add(out, "\n");
	vq_text_free(&doc);
}

static void
add_params(struct vq_text *out, const struct vq_param *table)
{
	if (!table || !table->name)
		return;
	vq_text_add(out, "\nparameters\n");
	for (; table->name; table++)
		add_param(out, table);
}

static json_t *
params_json(const struct vq_param *p)
{
	json_t *list = json_array();

	for (; p && p->name; p++) {
		json_t *j = json_object();

		json_object_set_new(j, "name", json_string(p->name));
		json_object_set_new(j, "type", json_string(kind_of(p)));
		json_object_set_new(j, "default", p->init ? json_string(p->init) : json_null());
		json_object_set_new(j, "doc", vq_json_text(p->doc));
		if (p->min != 0 || p->max != 0) {
			json_object_set_new(j, "min", json_real(p->min));
			json_object_set_new(j, "max", json_real(p->max));
		}
		if (p->kind == VQ_P_ENUM) {
			json_t *choices = json_array();

			for (int i = 0; p->choices[i]; i++)
				json_array_append_new(choices, json_string(p->choices[i]));
			json_object_set_new(j, "choices", choices);
		}
		json_array_append_new(list, j);
	}
	return list;
}

/* --- one op ---------------------------------------------------------------- */

static void
add_ports(struct vq_text *out, const char *const *port, int max)
{
	for (int i = 0; i < max && port[i]; i++)
		vq_text_add(out, "%s%s", i ? ", " : "", port[i]);
}

static void
add_examples(struct vq_text *out, const struct vq_op *op)
{
	bool any = false;

	for (const struct vq_example *e = op->examples; e && e->in; e++) {
		if (e->fails)
			continue;
		vq_text_add(out, "%s  %s%s%s%s%s\n", any ? "" : "\nexamples\n", e->in, e->params ? "  " : "",
		    e->params ? e->params : "", e->doc ? "   -- " : "", e->doc ? e->doc : "");
		any = true;
	}
	any = false;
	for (const struct vq_example *e = op->examples; e && e->in; e++) {
		if (!e->fails)
			continue;
		vq_text_add(out, "%s  %s%s%s: %s\n", any ? "" : "\nerrors\n", e->in, e->params ? "  " : "",
		    e->params ? e->params : "", e->fails);
		any = true;
	}
}

static void
show_op(struct vq_text *out, const struct vq_op *op)
{
	vq_text_add(out, "%s -- %s\n\n  ", op->name, op->doc);
	add_ports(out, op->out, VQ_MAX_OUT);
	vq_text_add(out, " = %s(", op->name);
	add_ports(out, op->in, VQ_MAX_IN);
	vq_text_add(out, ")\n");
	if (!op->grad && !op->compose && !(op->flags & VQ_OP_ALIAS))
		vq_text_add(out, "  no gradient\n");
	if (op->flags & VQ_OP_RANDOM)
		vq_text_add(out, "  random: drawn by seed, step and the node's path\n");
	add_params(out, op->params);
	add_examples(out, op);
}

static json_t *
op_json(const struct vq_op *op)
{
	json_t *j = json_object(), *in = json_array(), *out = json_array(), *examples = json_array();

	for (int i = 0; i < VQ_MAX_IN && op->in[i]; i++)
		json_array_append_new(in, json_string(op->in[i]));
	for (int i = 0; i < VQ_MAX_OUT && op->out[i]; i++)
		json_array_append_new(out, json_string(op->out[i]));
	for (const struct vq_example *e = op->examples; e && e->in; e++) {
		json_t *x = json_object();

		json_object_set_new(x, "in", json_string(e->in));
		json_object_set_new(x, "params", json_string(e->params ? e->params : ""));
		if (e->fails)
			json_object_set_new(x, "fails", vq_json_text(e->fails));
		json_array_append_new(examples, x);
	}
	json_object_set_new(j, "kind", json_string("op"));
	json_object_set_new(j, "name", json_string(op->name));
	json_object_set_new(j, "doc", vq_json_text(op->doc));
	json_object_set_new(j, "in", in);
	json_object_set_new(j, "out", out);
	json_object_set_new(j, "params", params_json(op->params));
	json_object_set_new(j, "gradient",
	    json_boolean(op->grad || op->compose || (op->flags & VQ_OP_ALIAS)));
	json_object_set_new(j, "examples", examples);
	return j;
}

/* --- everything that has a name -------------------------------------------- */

/* One thing that can be asked for; the pointer of its kind is set. */
struct item {
	const char *kind, *name, *doc;
	const struct vq_param *params;
	const char *const *also;
	const struct vq_op *op;
	const struct vq_library_block *block;
	const char *more;
};
struct items {
	struct item *item;
	int count, cap;
};

static void
add_item(struct items *l, struct item it)
{
	vq_grow(l->item, l->count, l->cap);
	l->item[l->count++] = it;
}

static void
collect(struct items *l, const struct vq_library *lib, bool internal)
{
	for (const struct vq_op *const *op = vq_ops(); *op; op++)
		if (internal || !((*op)->flags & VQ_OP_INTERNAL))
			add_item(l, (struct item){ "op", (*op)->name, (*op)->doc, (*op)->params, (*op)->also,
			    .op = *op });
	for (int i = 0; i < lib->count; i++)
		add_item(l, (struct item){ "block", lib->block[i].name, lib->block[i].doc,
		    .also = lib->block[i].also, .block = &lib->block[i] });
	for (const struct vq_optimizer *o = vq_optimizers; o->name; o++)
		add_item(l, (struct item){ "optimizer", o->name, o->doc, o->params, o->also });
	for (const struct vq_schedule *s = vq_schedules; s->name; s++)
		add_item(l, (struct item){ "schedule", s->name, s->doc, s->params });
	for (const struct vq_source_kind *const *k = vq_source_kinds(); *k; k++)
		add_item(l, (struct item){ "source", (*k)->name, (*k)->doc, vq_data_params,
		    .more = (*k)->layout });
}

static void
show_item(struct vq_text *out, const struct item *it)
{
	if (it->op) {
		show_op(out, it->op);
		return;
	}
	vq_text_add(out, "%s -- %s\n", it->name, it->doc && *it->doc ? it->doc : it->kind);
	if (it->block)
		vq_text_add(out, "\n  a block of %s", it->block->file);
	else
		vq_text_add(out, "\n  %s %s", it->kind[0] == 'o' ? "an" : "a", it->kind);
	if (it->more)
		vq_text_add(out, "; files: %s", it->more);
	vq_text_add(out, "\n");
	add_params(out, it->params);
	if (it->block)
		vq_text_add(out, "\n%s", it->block->text);
}

static json_t *
item_json(const struct item *it)
{
	json_t *j;

	if (it->op)
		return op_json(it->op);
	j = json_object();
	json_object_set_new(j, "kind", json_string(it->kind));
	json_object_set_new(j, "name", vq_json_text(it->name));
	json_object_set_new(j, "doc", vq_json_text(it->doc ? it->doc : ""));
	if (it->block) {
		json_object_set_new(j, "file", vq_json_text(it->block->file));
		json_object_set_new(j, "yaml", vq_json_text(it->block->text));
	} else {
		json_object_set_new(j, "params", params_json(it->params));
	}
	return j;
}

static void
list_items(struct vq_cli *c, const struct items *l)
{
	const char *kind = "";
	struct vq_text out = { 0 };

	for (int i = 0; i < l->count; i++) {
		const struct item *it = &l->item[i];

		if (strcmp(it->kind, kind) != 0)
			vq_text_add(&out, "%s%s%ss%s\n", i ? "\n" : "", c->color_out ? "\033[1m" : "",
			    it->kind,
			    c->color_out ? "\033[0m" : "");
		kind = it->kind;
		vq_text_add(&out, "  %-*s ", NAME, it->name);
		if (strlen(it->name) > NAME)
			vq_text_add(&out, "\n  %-*s ", NAME, "");
		vq_wrap(&out, it->doc ? it->doc : "", NAME + 3, WIDTH);
		vq_text_add(&out, "\n");
	}
	vq_text_add(&out, "\n`vqgraph ops NAME` shows parameters, defaults and examples.\n");
	fwrite(out.s, 1, out.len, stdout);
	vq_text_free(&out);
}

static void
unknown(struct vq_cli *c, const struct items *l, const char *name)
{
	struct vq_suggest s;
	struct vq_diag *e = vq_usage_error(c, "there is no op, block, optimizer, schedule or source '%s'",
	    name);

	vq_suggest_start(&s, name);
	for (int i = 0; i < l->count; i++) {
		vq_suggest_try(&s, l->item[i].name);
		vq_suggest_also(&s, l->item[i].name, l->item[i].also);
	}
	if (s.best)
		vq_help(e, "did you mean %s?", s.best);
	else
		vq_help(e, "`vqgraph ops` lists them");
}

static void
show_named(struct vq_cli *c, const struct items *l, const char *name)
{
	struct vq_text out = { 0 };
	json_t *list = json_array();
	int found = 0;

	for (int i = 0; i < l->count; i++)
		if (strcmp(l->item[i].name, name) == 0) {
			vq_text_add(&out, "%s", found++ ? "\n" : "");
			show_item(&out, &l->item[i]);
			json_array_append_new(list, item_json(&l->item[i]));
		}
	if (!found)
		unknown(c, l, name);
	else if (c->json)
		vq_tool_json(c, json_incref(found == 1 ? json_array_get(list, 0) : list), c->color_out);
	else
		fwrite(out.s, 1, out.len, stdout);
	json_decref(list);
	vq_text_free(&out);
}

static int
run(struct vq_cli *c, void *options)
{
	const struct options *o = options;
	struct vq_library lib = { 0 };
	struct items l = { 0 };

	vq_library_read(&lib);
	collect(&l, &lib, o->all);
	if (c->args == 1) {
		show_named(c, &l, c->arg[0]);
	} else if (c->json) {
		json_t *list = json_array();

		for (int i = 0; i < l.count; i++)
			json_array_append_new(list, item_json(&l.item[i]));
		vq_tool_json(c, list, c->color_out);
	} else {
		list_items(c, &l);
	}
	free(l.item);
	vq_library_free(&lib);
	return (int)vq_diags_status(&c->d);
}

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "all", 'a', AT(VQ_O_FLAG, all), .doc = "those that only passes make, too" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph ops", "everything a model file can name",
	"vqgraph ops conv2d", "its inputs, parameters, defaults and examples",
	NULL
};
static const char *const also[] = { "op", "list", "blocks", "layers", "optimizers", NULL };
extern const struct vq_command vq_command_ops;
const struct vq_command vq_command_ops = {
	.name = "ops",
	.args = "[NAME]",
	.doc = "ops, blocks, optimizers, schedules and data sources, with parameters and examples",
	.examples = examples,
	.max_args = 1,
	.uses = VQ_C_JSON,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
