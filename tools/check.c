/*
 * check -- `vqgraph check`: everything that can be known of a model without data
 *
 * Every graph is expanded and planned in both modes, and so is the training
 * step of every training stage.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/sample.h"
#include "engine/stage.h"
#include "tools/tool.h"

struct options {
	int64_t batch;
	struct vq_strings size;
	bool time;
};

/* What became of one graph. */
struct result {
	const char *name, *mode;
	int64_t batch;
	int values, nodes;
	int64_t params, state, arena;
	int64_t memory;			/* bytes: the arena, parameters and state; of a step those that stages before leave, too */
	int64_t before;			/* bytes of the latter */
	double flops, expand_s;
	double gradient_s;		/* gradients and updates; 0 where there are none */
	struct vq_text passes;		/* "simplify   0.123 ms   45 nodes" lines */
	char sizes[80];			/* "rows=1 columns=1": free ones but batch */
};

struct check {
	struct vq_cli *c;
	const struct options *o;
	struct vq_model *m;
	struct result *result;
	int results, cap;
	double load_s;
	struct vq_text told;		/* lines of what may be meant so */
	struct vq_vars vars;		/* types only: of the stages up to this one, as a run has them */
	struct vq_text warning;		/* a line for each stage that has one */
};

static int64_t
leaf_bytes(const struct vq_graph *g)
{
	int64_t sum = 0;

	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_PARAM || g->value[v].kind == VQ_STATE)
			sum += (int64_t)vq_type_bytes(&g->value[v].type);
	return sum;
}

static void
add_result(struct check *k, struct vq_graph *g, const char *name, const char *mode, int64_t batch,
    double expand_s, double gradient_s)
{
	struct result r = { .name = name, .mode = mode, .batch = batch, .expand_s = expand_s,
		.gradient_s = gradient_s };
	struct vq_compile how = { .timings = true, .dump = &r.passes };
	struct vq_plan *p;

	r.params = vq_graph_elements(g, VQ_PARAM);
	r.state = vq_graph_elements(g, VQ_STATE);
	r.memory = leaf_bytes(g);
	p = vq_compile(g, &how, &k->c->d);
	if (!p) {
		vq_text_free(&r.passes);
		return;
	}
	r.values = p->graph->values;
	r.nodes = p->graph->nodes;
	r.arena = p->arena_bytes;
	r.memory += p->arena_bytes;
	r.flops = vq_plan_flops(p);
	vq_plan_free(p);
	vq_grow(k->result, k->results, k->cap);
	k->result[k->results++] = r;
}

static void
check_graph(struct check *k, const char *name, bool train)
{
	struct vq_size size[VQ_MAX_SIZES];
	int n = vq_tool_sizes(k->c, k->m, name, k->o->batch, &k->o->size, size);
	double start = vq_now();
	struct vq_graph *g;
	char sizes[80] = "";
	int64_t batch = 0;
	int before = k->results;

	if (n < 0)
		return;
	for (int i = 0; i < n; i++) {
		size_t len = strlen(sizes);
		if (strcmp(size[i].name, "batch") == 0)
			batch = size[i].value;
		else
			snprintf(sizes + len, sizeof(sizes) - len, "%s%s=%lld", len ? " " : "", size[i].name, (long long)size[i].value);
	}
	g = vq_model_expand(k->m, name, train, size, n, &k->c->d);
	if (g)
		add_result(k, g, name, train ? "train" : "eval", batch, vq_now() - start, 0);
	if (k->results > before)
		strcpy(k->result[before].sizes, sizes);
}

/* A source that does not exist is wrong here; one that is not on this machine is not. */
static void
check_source(struct check *k, const struct vq_data_spec *spec)
{
	struct vq_diags own = { 0 };

	vq_dataset_check(spec, &own);
	if (vq_diags_status(&own) == VQ_CONFIG)
		vq_dataset_check(spec, &k->c->d);
	vq_diags_free(&own);
}

/* One position of what a stage draws from, or one step, if its keys fit it. */
static void
check_samples(struct check *k, int i)
{
	struct vq_sample s;
	double start = vq_now();

	if (vq_sample_read(k->m, i, &s, &k->c->d) == 0) {
		struct vq_graph *g = vq_sample_step(k->m, &s, s.batch, &k->c->d);
		if (g && vq_sample_bind(k->m, &s, &k->vars, 1, &k->c->d) < 0) {
			vq_graph_free(g);
			g = NULL;
		}
		if (g)
			add_result(k, g, s.name, s.method == VQ_METHOD_MASKED ? "drawing" : "position", s.batch, vq_now() - start, 0);
	}
	vq_sample_free(&s);
}

/* Takes g, which may be NULL. */
static void
bind_graph(struct check *k, struct vq_graph *g)
{
	if (g)
		vq_vars_bind(&k->vars, g, 1, &k->c->d);
	vq_graph_free(g);
}

/* A stage that only runs a graph over data. */
static void
check_pass(struct check *k, int i, int kind)
{
	struct vq_encode e = { 0 };
	struct vq_load_stage l = { 0 };

	if (kind == VQ_STAGE_LOAD) {
		if (vq_load_read(k->m, i, &l, &k->c->d) == 0)
			bind_graph(k, vq_eval_graph(k->m, &l.t, 1, &k->c->d));
		return;
	}
	int error = kind == VQ_STAGE_ENCODE ? vq_encode_read(k->m, i, &e, &k->c->d) :
	    vq_evaluate_read(k->m, i, &e.t, &k->c->d);

	if (error == 0) {
		check_source(k, &e.t.validate);
		bind_graph(k, vq_eval_graph(k->m, &e.t, k->o->batch ? k->o->batch : e.t.validate.batch, &k->c->d));
	}
	vq_train_free(&e.t);
}

/* The training step: forward, backward and updates; then what is shown and watched, judged with the graph it
 * belongs to. */
static void
check_step(struct check *k, const struct vq_train *t, int64_t batch)
{
	double start = vq_now();
	struct vq_graph *g = vq_train_forward(k->m, t, batch, vq_active_all(t), &k->c->d);
	double expanded = vq_now();
	struct vq_text untrained = { 0 };

	int64_t before = vq_vars_bytes(&k->vars);
	int results = k->results;

	if (g)
		vq_train_untrained(g, t, &untrained);
	if (untrained.len)
		vq_text_add(&k->warning, "warning: %s\n", untrained.s);
	vq_text_free(&untrained);
	g = vq_train_updates(g, t, vq_active_all(t), true);
	if (g == NULL)
		return;
	vq_vars_bind(&k->vars, g, 1, &k->c->d);
	size_t told = k->told.len;
	vq_text_add(&k->told, "stage %s is trained on ", t->name);
	size_t begun = k->told.len;
	vq_stage_fed(k->m, g, &t->data, &k->told, &k->c->d);
	if (k->told.len == begun)
		k->told.len = told;
	else
		vq_text_add(&k->told, "\n");
	add_result(k, g, t->name, "step", batch, expanded - start, vq_now() - expanded);
	if (vq_train_val(t))
		bind_graph(k, vq_eval_graph(k->m, t, batch, &k->c->d));
	for (int i = results; i < k->results; i++) {
		k->result[i].memory = k->result[i].arena + vq_vars_bytes(&k->vars);
		k->result[i].before = before;
	}
}

static void
check_stage(struct check *k, int i)
{
	struct vq_train t = { 0 };
	int kind = vq_stage_kind(k->m, i, &k->c->d);

	if (kind == VQ_STAGE_SAMPLE)
		check_samples(k, i);
	if (kind == VQ_STAGE_ENCODE || kind == VQ_STAGE_EVALUATE || kind == VQ_STAGE_LOAD)
		check_pass(k, i, kind);
	if (kind != VQ_STAGE_TRAIN)
		return;
	if (vq_train_read(k->m, i, &t, &k->c->d) == 0) {
		int64_t batch = k->o->batch ? k->o->batch : t.data.batch;

		check_source(k, &t.data);
		if (t.validate.source)
			check_source(k, &t.validate);
		check_step(k, &t, batch);
	}
	vq_train_free(&t);
}

/* --- reports --------------------------------------------------------------- */

/* What grows with a size says little without it. */
static void
print_sizes(const struct check *k, struct vq_text *out)
{
	for (int i = 0; i < k->results; i++) {
		const struct result *r = &k->result[i];
		if (r->sizes[0] && strcmp(r->mode, "eval") == 0)
			vq_text_add(out, "graph %s is shown with %s: --size NAME=N shows it with another size\n", r->name, r->sizes);
	}
}

/* What each training step takes beside its data, and what there is. */
static void
print_memory(const struct check *k, struct vq_text *out)
{
	struct vq_memory m;
	char buf[VQ_NUM_STR], rest[VQ_NUM_STR], before[VQ_NUM_STR];

	vq_memory_find("", &m);
	for (int i = 0; i < k->results; i++) {
		const struct result *r = &k->result[i];

		if (strcmp(r->mode, "step") != 0)
			continue;
		vq_text_add(out, "memory of stage %s, batch %lld: %s (arena, parameters, optimizer%s%s), besides its data\n", r->name,
		    (long long)r->batch, vq_bytes_str((double)r->memory, buf), r->before ? "; of stages before " : "",
		    r->before ? vq_bytes_str((double)r->before, before) : "");
		if (r->memory > m.left)
			vq_text_add(out, "  more than the %s that %s\n", vq_bytes_str((double)(r->memory > m.limit ? m.limit : m.left), buf),
			    r->memory > m.limit ? "a process may have here: it cannot be trained so" : "are free");
		if (r->memory > m.left)
			vq_text_add(out, "  a smaller batch, or `recompute: true` at the model's repeated steps, needs less\n");
	}
	vq_text_add(out, "memory here: %s%s%s%s, %s of them free\n", vq_bytes_str((double)m.limit, buf), m.from[0] ? " (" : "", m.from,
	    m.from[0] ? ")" : "", vq_bytes_str((double)m.left, rest));
}

static void
print_table(const struct check *k)
{
	static const char *const title[] = { "graph", "mode", "batch", "values", "nodes", "parameters",
	    "state", "arena", "FLOP" };
	static const bool right[] = { false, false, true, true, true, true, true, true, true };
	struct vq_table t = { .columns = VQ_COUNT(title), .title = title, .right = right };
	struct vq_text out = { 0 };
	int graphs = vq_model_graphs(k->m), stages = vq_model_stages(k->m);
	char buf[VQ_NUM_STR];

	for (int i = 0; i < k->results; i++) {
		const struct result *r = &k->result[i];

		vq_table_cell(&t, "%s", r->name);
		vq_table_cell(&t, "%s", r->mode);
		vq_table_cell(&t, r->batch ? "%lld" : "", (long long)r->batch);
		vq_table_cell(&t, "%d", r->values);
		vq_table_cell(&t, "%d", r->nodes);
		vq_table_cell(&t, "%s", vq_count_str(r->params, buf));
		vq_table_cell(&t, "%s", vq_count_str(r->state, buf));
		vq_table_cell(&t, "%s", vq_bytes_str((double)r->arena, buf));
		vq_table_cell(&t, "%s", vq_si_str(r->flops, buf));
	}
	vq_table_end(&t, k->c->color_out, &out);
	print_sizes(k, &out);
	print_memory(k, &out);
	if (k->told.len)
		vq_text_add(&out, "%.*s", (int)k->told.len, k->told.s);
	vq_text_add(&out, "ok: %s, %d graph%s, %d stage%s\n", vq_model_path(k->m), graphs, graphs == 1 ? "" : "s",
	    stages, stages == 1 ? "" : "s");
	fwrite(out.s, 1, out.len, stdout);
	vq_text_free(&out);
}

/* The lines of the passes without the first, which is where expanding was done already. */
static const char *
after_expand(const struct result *r)
{
	const char *s = r->passes.s ? r->passes.s : "";

	return strncmp(s, "expand", 6) == 0 ? s + strcspn(s, "\n") + 1 : s;
}

static void
print_times(const struct check *k)
{
	printf("\nparse      %8.3f ms\n", 1e3 * k->load_s);
	for (int i = 0; i < k->results; i++) {
		const struct result *r = &k->result[i];

		printf("\n%s, %s\nexpand     %8.3f ms\n", r->name, r->mode, 1e3 * r->expand_s);
		if (r->gradient_s > 0)
			printf("gradient   %8.3f ms\n", 1e3 * r->gradient_s);
		printf("%s", after_expand(r));
	}
}

static json_t *
times_of(const struct result *r)
{
	json_t *ms = json_object();

	json_object_set_new(ms, "expand", json_real(1e3 * r->expand_s));
	if (r->gradient_s > 0)
		json_object_set_new(ms, "gradient", json_real(1e3 * r->gradient_s));
	for (const char *s = after_expand(r); *s; s += strcspn(s, "\n") + 1) {
		char name[32];
		double x;

		if (sscanf(s, "%31s %lf", name, &x) == 2)
			json_object_set_new(ms, name, json_real(x));
	}
	return ms;
}

static json_t *
errors_of(const struct vq_diags *d)
{
	json_t *list = json_array();

	for (int i = 0; i < d->count; i++) {
		const struct vq_diag *e = d->diag[i];
		json_t *j = json_object();

		json_object_set_new(j, "message", vq_json_text(e->message));
		json_object_set_new(j, "status", json_integer(e->status));
		if (e->at.source) {
			json_object_set_new(j, "file", vq_json_text(e->at.source->name));
			json_object_set_new(j, "line", json_integer(e->at.line));
			json_object_set_new(j, "column", json_integer(e->at.col));
			json_object_set_new(j, "end_line", json_integer(e->at.end_line));
			json_object_set_new(j, "end_column", json_integer(e->at.end_col));
		}
		json_array_append_new(list, j);
	}
	return list;
}

static void
print_json(const struct check *k)
{
	json_t *top = json_object(), *graphs = json_array();

	json_object_set_new(top, "file", vq_json_text(k->c->arg[0]));
	json_object_set_new(top, "ok", json_boolean(k->c->d.count == 0));
	for (int i = 0; i < k->results; i++) {
		const struct result *r = &k->result[i];
		json_t *j = json_object();

		json_object_set_new(j, "name", vq_json_text(r->name));
		json_object_set_new(j, "mode", json_string(r->mode));
		json_object_set_new(j, "batch", r->batch ? json_integer(r->batch) : json_null());
		json_object_set_new(j, "values", json_integer(r->values));
		json_object_set_new(j, "nodes", json_integer(r->nodes));
		json_object_set_new(j, "parameters", json_integer(r->params));
		json_object_set_new(j, "state", json_integer(r->state));
		json_object_set_new(j, "arena_bytes", json_integer(r->arena));
		json_object_set_new(j, "memory_bytes", json_integer(r->memory));
		json_object_set_new(j, "flops", json_real(r->flops));
		if (k->o->time)
			json_object_set_new(j, "ms", times_of(r));
		json_array_append_new(graphs, j);
	}
	json_object_set_new(top, "graphs", graphs);
	json_object_set_new(top, "memory_limit_bytes", json_integer(vq_memory_limit()));
	json_object_set_new(top, "memory_free_bytes", json_integer(vq_memory_free()));
	if (k->o->time)
		json_object_set_new(top, "parse_ms", json_real(1e3 * k->load_s));
	json_object_set_new(top, "errors", errors_of(&k->c->d));
	if (k->warning.len)
		json_object_set_new(top, "warnings", vq_json_text(k->warning.s));
	vq_tool_json(k->c, top, k->c->color_out);
}

static int
run(struct vq_cli *c, void *options)
{
	struct check k = { .c = c, .o = options, .vars.types_only = true };
	double start = vq_now();

	k.m = vq_tool_model(c);
	k.load_s = vq_now() - start;
	for (int i = 0; k.m && i < vq_model_graphs(k.m); i++) {
		check_graph(&k, vq_model_graph_name(k.m, i), false);
		check_graph(&k, vq_model_graph_name(k.m, i), true);
	}
	for (int i = 0; k.m && i < vq_model_stages(k.m); i++)
		check_stage(&k, i);
	if (c->json)
		print_json(&k);
	else if (!c->d.count && !c->quiet)
		print_table(&k);
	if (k.o->time && !c->json && !c->d.count)
		print_times(&k);
	if (k.warning.len && !c->json)
		fputs(k.warning.s, stderr);
	for (int i = 0; i < k.results; i++)
		vq_text_free(&k.result[i].passes);
	free(k.result);
	vq_text_free(&k.told);
	vq_vars_free(&k.vars);
	vq_text_free(&k.warning);
	return (int)vq_diags_status(&c->d);
}

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "batch", 'b', AT(VQ_O_INT, batch), "N", 1, 1e9,
	    .doc = "batch size (default: of the stage that uses the graph, else 1)" },
	{ "size", 0, AT(VQ_O_LIST, size), "NAME=N", .doc = "another free size (default 1)" },
	{ "time", 0, AT(VQ_O_FLAG, time), .doc = "milliseconds of parsing, expanding, gradients, each pass and the plan" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph check graphs/vqvae_mnist.yaml",
	    "every graph and training step, with parameters, memory and FLOP",
	"vqgraph check model.yaml codes=256 --json", "for an editor: errors with file, line and column",
	NULL
};
static const char *const also[] = { "validate", "verify", "lint", "test", NULL };
extern const struct vq_command vq_command_check;
const struct vq_command vq_command_check = {
	.name = "check",
	.args = "FILE [path=value ...]",
	.doc = "validates a model file, infers every shape, plans memory; needs no data",
	.about = "Each graph is expanded as it is for evaluation (eval) and for training (train), and each "
	    "training stage's whole step, backward pass and updates included (step). Errors of all files "
	    "come out together. -q prints nothing when all is well.",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS | VQ_C_JSON,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
