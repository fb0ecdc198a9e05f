/*
 * schema -- `vqgraph schema`: JSON Schema of model files, for editors
 *
 * Made from the tables that the loader checks against.  It offers names,
 * types, defaults and sentences; what only the loader can judge (shapes, names
 * of modules) is left to `vqgraph check`.
 */
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"
#include "engine/op.h"
#include "engine/optimizer.h"
#include "engine/stage.h"
#include "tools/library.h"
#include "tools/tool.h"

/* --- pieces ---------------------------------------------------------------- */

static json_t *
type_of(const char *name)
{
	return json_pack("{s:s}", "type", name);
}

static json_t *
described(json_t *schema, const char *text)
{
	if (text && *text)
		json_object_set_new(schema, "description", vq_json_text(text));
	return schema;
}

static void
put(json_t *properties, const char *name, json_t *schema, const char *text)
{
	json_object_set_new(properties, name, described(schema, text));
}

/* What is a number, or becomes one: $x, $(...). */
static json_t *
or_expression(json_t *schema)
{
	return json_pack("{s:[o, {s:s, s:s}]}", "anyOf", schema, "type", "string", "pattern", "^\\$");
}

static json_t *
bounded(const char *type, const struct vq_param *p)
{
	json_t *j = type_of(type);

	if (p->min != 0 || p->max != 0) {
		json_object_set_new(j, "minimum", json_real(p->min));
		json_object_set_new(j, "maximum", json_real(p->max));
	}
	return j;
}

static json_t *
param_schema(const struct vq_param *p)
{
	struct vq_text doc = { 0 };
	json_t *j = NULL, *names;

	switch (p->kind) {
	case VQ_P_INT:    j = or_expression(bounded("integer", p)); break;
	case VQ_P_REAL:   j = or_expression(bounded("number", p)); break;
	case VQ_P_BOOL:   j = or_expression(type_of("boolean")); break;
	case VQ_P_INTS:
		j = json_pack("{s:[o, {s:s, s:o}]}", "anyOf", or_expression(bounded("integer", p)),
		    "type", "array", "items", or_expression(bounded("integer", p)));
		break;
	case VQ_P_ENUM:
		names = json_array();
		for (int i = 0; p->choices[i]; i++)
			json_array_append_new(names, json_string(p->choices[i]));
		j = json_pack("{s:o}", "enum", names);
		break;
	default:
		j = type_of("string");
	}
	vq_text_add(&doc, "%s", p->doc);
	if (p->init)
		vq_text_add(&doc, " (default %s)", *p->init ? p->init : "\"\"");
	described(j, doc.s);
	vq_text_free(&doc);
	return j;
}

static json_t *
table_schema(const struct vq_param *table, const char *doc, json_t *properties)
{
	json_t *j = json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0);
	json_t *required = json_array();

	for (const struct vq_param *p = table; p && p->name; p++) {
		json_object_set_new(properties, p->name, param_schema(p));
		if (!p->init)
			json_array_append_new(required, json_string(p->name));
	}
	json_object_set_new(j, "properties", properties);
	if (json_array_size(required) > 0)
		json_object_set(j, "required", required);
	json_decref(required);
	return described(j, doc);
}

/* --- steps ----------------------------------------------------------------- */

static json_t *
port_schema(void)
{
	return json_pack("{s:[{s:s}, {s:s, s:{s:s}}], s:s}", "anyOf", "type", "string",
	    "type", "array", "items", "type", "string", "description",
	    "a value: an input, a step's name, module.value");
}

/* An op as a step: ports and parameters by name; a bare op takes the step before. */
static json_t *
op_schema(const struct vq_op *op)
{
	json_t *properties = json_object(), *map;

	for (int i = 0; i < VQ_MAX_IN && op->in[i]; i++)
		json_object_set_new(properties, vq_op_variadic(op) ? "x" : op->in[i], port_schema());
	map = table_schema(op->params, op->doc, properties);
	return json_pack("{s:[o, {s:[s, s, s]}], s:o}", "anyOf", map,
	    "type", "null", "string", "array", "description", vq_json_text(op->doc));
}

static json_t *
steps_schema(const struct vq_library *lib)
{
	json_t *properties = json_object();

	for (const struct vq_op *const *op = vq_ops(); *op; op++)
		if (!((*op)->flags & VQ_OP_INTERNAL))
			json_object_set_new(properties, (*op)->name, op_schema(*op));
	for (int i = 0; i < lib->count; i++)
		put(properties, lib->block[i].name, json_object(), lib->block[i].doc);
	put(properties, "as", type_of("string"), "name of what the step gives");
	put(properties, "repeat", or_expression(type_of("integer")),
	    "how many times, each with parameters of its own");
	put(properties, "recompute", or_expression(type_of("boolean")),
	    "what it computes is not kept for gradients but computed again: less memory, more time");
	put(properties, "frozen", json_object(), "as in evaluation, and no gradient reaches its parameters");
	put(properties, "gradient", json_object(), "of one number with respect to a tensor: {of: loss, to: net.weight}");
	put(properties, "assign", json_object(), "state that gets new values: {state: tensor}");
	put(properties, "if", json_object(), "a number: the step is there when it is not 0, as in $train");
	return json_pack("{s:s, s:{s:[{s:s, s:s}, {s:s, s:o}]}}", "type", "array", "items", "anyOf",
	    "type", "string", "description", "an op, block or module without parameters",
	    "type", "object", "properties", properties);
}

/* --- stages ---------------------------------------------------------------- */

/* "adam" or {adam: {...}}, of a list of tables. */
static json_t *
choice_schema(json_t *names, json_t *maps)
{
	return json_pack("{s:[{s:o}, {s:s, s:o, s:i, s:b}]}", "anyOf", "enum", names,
	    "type", "object", "properties", maps, "maxProperties", 1, "additionalProperties", 0);
}

static json_t *
optimizer_schema(void)
{
	json_t *names = json_array(), *maps = json_object();

	for (const struct vq_optimizer *o = vq_optimizers; o->name; o++) {
		json_array_append_new(names, json_string(o->name));
		json_object_set_new(maps, o->name, table_schema(o->params, o->doc, json_object()));
	}
	return choice_schema(names, maps);
}

static json_t *
schedule_schema(void)
{
	json_t *names = json_array(), *maps = json_object();

	for (const struct vq_schedule *s = vq_schedules; s->name; s++) {
		json_array_append_new(names, json_string(s->name));
		json_object_set_new(maps, s->name, table_schema(s->params, s->doc, json_object()));
	}
	return choice_schema(names, maps);
}

static json_t *
data_schema(void)
{
	json_t *properties = json_object(), *names = json_array(), *j;

	for (const struct vq_source_kind *const *k = vq_source_kinds(); *k; k++)
		json_array_append_new(names, json_string((*k)->name));
	json_object_set_new(properties, "range", json_pack("{s:s, s:s}", "type", "array", "description",
	    "image values are scaled to this: [0, 1]"));
	j = table_schema(vq_data_params, "where samples come from", properties);
	json_object_set_new(json_object_get(properties, "source"), "examples", names);
	return j;
}

/* The pictures a stage draws: of one value, or of several. */
static json_t *
show_schema(void)
{
	json_t *properties = json_object();

	for (const struct vq_show_kind *k = vq_show_kinds; k->name; k++)
		put(properties, k->name, json_pack("{s:[{s:s}, {s:s, s:{s:s}}]}", "anyOf", "type", "string",
		    "type", "array", "items", "type", "string"), k->doc);
	return described(json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
	    "additionalProperties", 0), "what is drawn");
}

static json_t *
stage_schema(void)
{
	json_t *update = json_object(), *properties = json_object();

	put(update, "minimize", json_pack("{s:[{s:s}, {s:s}]}", "anyOf", "type", "string", "type", "object"),
	    "a scalar of the graph, or several, each from a step or share of the steps on");
	put(update, "report", json_object(), "values that are told once it has begun");
	put(update, "train", json_object(), "modules whose parameters are trained (default: all)");
	json_object_set_new(update, "optimizer", optimizer_schema());
	json_object_set_new(update, "schedule", schedule_schema());
	json_object_set_new(properties, "do", json_pack("{s:[s, s, s, s, s]}", "enum", "train", "encode",
	    "evaluate", "sample", "load"));
	put(properties, "graph", type_of("string"), "one of the file's graphs");
	json_object_set_new(properties, "updates", json_pack("{s:s, s:{s:s, s:o}}", "type", "array",
	    "items", "type", "object", "properties", update));
	json_object_set_new(properties, "data", data_schema());
	json_object_set_new(properties, "show", show_schema());
	json_object_set_new(properties, "epochs", or_expression(type_of("integer")));
	json_object_set_new(properties, "steps", or_expression(type_of("integer")));
	return json_pack("{s:s, s:o, s:[s]}", "type", "object", "properties", properties, "required", "do");
}

/* A map from names of the user's own to things of one kind. */
static json_t *
map_of(json_t *schema, const char *doc)
{
	return json_pack("{s:s, s:o, s:s}", "type", "object", "additionalProperties", schema,
	    "description", doc);
}

static json_t *
with_steps(const struct vq_library *lib)
{
	return json_pack("{s:s, s:{s:o, s:{}, s:{}, s:{}, s:{}, s:{}, s:{s:s, s:s}}}", "type", "object",
	    "properties", "steps", steps_schema(lib), "in", "args", "params", "state", "out",
	    "require", "type", "object", "description", "conditions, and what is said where one does not hold");
}

static int
run(struct vq_cli *c, void *options)
{
	struct vq_library lib = { 0 };
	json_t *properties = json_object(), *top;

	vq_library_read(&lib);
	json_object_set_new(properties, "vqgraph", json_pack("{s:i, s:s}", "const", 1, "description",
	    "version of the language"));
	put(properties, "use", type_of("array"), "other files: lib/nn, or name: file");
	put(properties, "let", type_of("object"), "numbers, used as $name");
	json_object_set_new(properties, "blocks", map_of(with_steps(&lib),
	    "functions from tensors to tensors"));
	put(properties, "modules", type_of("object"), "instances of blocks that own parameters");
	json_object_set_new(properties, "graphs", map_of(with_steps(&lib),
	    "entry points; they share the modules"));
	json_object_set_new(properties, "stages", map_of(stage_schema(),
	    "what `vqgraph run` does, in order"));
	top = json_pack("{s:s, s:s, s:s, s:o, s:b}", "$schema", "http://json-schema.org/draft-07/schema#",
	    "title", "vqgraph model file", "type", "object", "properties", properties,
	    "additionalProperties", 0);
	vq_library_free(&lib);
	return top && vq_tool_json(c, top, true) == 0 ? VQ_OK : VQ_FAILED;
}

static const char *const examples[] = {
	"vqgraph schema > vqgraph.schema.json",
	    "then, at the top of a model file: # yaml-language-server: $schema=vqgraph.schema.json",
	NULL
};
static const char *const also[] = { "jsonschema", NULL };
extern const struct vq_command vq_command_schema;
const struct vq_command vq_command_schema = {
	.name = "schema",
	.doc = "JSON Schema of model files, for editors",
	.examples = examples,
	.also = also,
	.run = run,
};
