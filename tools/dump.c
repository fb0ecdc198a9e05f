/*
 * dump -- `vqgraph dump`: looks into a model file or a run
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/build.h"
#include "engine/checkpoint.h"
#include "engine/sample.h"
#include "engine/stage.h"
#include "tools/dump.h"

enum format { TABLE, DOT, SVG, JSON, TEXT };

struct options {
	int format;
	const char *graph, *stage, *pass, *out;
	bool expand, grad, plan, origins, hash, train, nodes;
	int64_t batch;
	struct vq_strings size;
	int precision;
};

struct dumper {
	struct vq_cli *c;
	const struct options *o;
	struct vq_model *m;
	struct vq_text out;
	json_t *list;
	json_t *stage;		/* of --stage, as JSON */
	const char *drawing;	/* --stage: it draws samples, so much at once; or NULL */
	bool bf16;		/* products of the stage, or as --precision says */
};

/* --- making the graph ------------------------------------------------------ */

/* Gradients of the graph's loss with respect to every parameter, as outputs. */
static int
append_gradient(struct dumper *u, struct vq_graph *g)
{
	vq_id loss = vq_graph_find_output(g, "loss"), *wrt, *grads;
	int n = 0, rc;

	if (loss == VQ_NONE) {
		vq_help(vq_usage_error(u->c, "graph %s has no value named loss to take gradients of",
		    g->name),
		    "--stage NAME shows a stage's whole training step");
		return -1;
	}
	wrt = vq_alloc_array((size_t)g->values + 1, sizeof(*wrt));
	grads = vq_alloc_array((size_t)g->values + 1, sizeof(*grads));
	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_PARAM)
			wrt[n++] = v;
	rc = vq_gradient(g, loss, VQ_NONE, wrt, n, grads);
	for (int i = 0; i < n && rc == 0; i++)
		vq_graph_output(g, vq_arena_printf(&g->arena, "grad %s", g->value[wrt[i]].name), grads[i]);
	free(wrt);
	free(grads);
	return rc;
}

static struct vq_graph *
expand(struct dumper *u, const char *graph, int64_t *batch)
{
	const struct options *o = u->o;
	struct vq_size size[VQ_MAX_SIZES];
	int n = vq_tool_sizes(u->c, u->m, graph, o->batch, &o->size, size);
	struct vq_graph *g;

	*batch = 0;
	for (int i = 0; i < n; i++)
		if (strcmp(size[i].name, "batch") == 0)
			*batch = size[i].value;
	if (n < 0)
		return NULL;
	g = vq_model_expand(u->m, graph, o->train || o->grad, size, n, &u->c->d);
	if (g && o->grad && append_gradient(u, g) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	return g;
}

/* What a stage that draws samples computes for each position, or each step. */
static struct vq_graph *
expand_drawing(struct dumper *u, int i, int64_t *batch)
{
	struct vq_sample s;
	struct vq_graph *g = NULL;

	if (vq_sample_read(u->m, i, &s, &u->c->d) == 0) {
		*batch = u->o->batch ? u->o->batch : s.batch;
		if (vq_cli_given(u->c, "precision"))
			s.precision = u->o->precision == VQ_TOOL_BF16 ? VQ_SAMPLE_BF16 : VQ_SAMPLE_F32;
		u->bf16 = s.precision == VQ_SAMPLE_BF16;
		g = vq_sample_step(u->m, &s, *batch, &u->c->d);
	}
	u->drawing = s.method == VQ_METHOD_MASKED ? "drawing" : "position";
	vq_sample_free(&s);
	return g;
}

static struct vq_graph *
expand_stage(struct dumper *u, const char *name, int64_t *batch)
{
	int i = vq_stage_find(u->m, name, &u->c->d);
	struct vq_train t = { 0 };
	struct vq_graph *g = NULL;

	if (i == VQ_NONE)
		return NULL;

	int kind = vq_stage_kind(u->m, i, &u->c->d);

	if (kind == VQ_STAGE_SAMPLE)
		return expand_drawing(u, i, batch);
	if (kind == VQ_STAGE_ENCODE || kind == VQ_STAGE_EVALUATE) {
		vq_help(vq_usage_error(u->c, "stage %s neither trains nor draws samples", name),
		    "--graph NAME shows the graph that it runs");
		return NULL;
	}
	if (kind == VQ_STAGE_TRAIN && vq_train_read(u->m, i, &t, &u->c->d) == 0) {
		*batch = u->o->batch ? u->o->batch : t.data.batch;
		json_decref(u->stage);
		u->stage = vq_dump_stage_json(&t);
		u->bf16 = vq_cli_given(u->c, "precision") ? u->o->precision == VQ_TOOL_BF16 : t.bf16;
		g = vq_train_graph(u->m, &t, *batch, vq_active_all(&t), true, &u->c->d);
	}
	vq_train_free(&t);
	return g;
}

static struct vq_graph *
make(struct dumper *u, const char *name, int64_t *batch)
{
	return u->o->stage ? expand_stage(u, name, batch) : expand(u, name, batch);
}

/* --- one graph ------------------------------------------------------------- */

static int
check_pass(struct dumper *u, const char *pass)
{
	const char *const *name = vq_pass_names();
	int n = 0;

	for (; name[n]; n++)
		if (strcmp(name[n], pass) == 0)
			return 0;
	vq_tool_near(vq_usage_error(u->c, "--pass: there is no pass '%s'", pass), pass, name, n);
	return -1;
}

/* What the passes make of it: the IR after one, or the plan. */
static void
dump_compiled(struct dumper *u, struct vq_graph *g)
{
	struct vq_compile how = { .dump_pass = u->o->pass, .dump = &u->out, .bf16 = u->bf16 };
	struct vq_plan *p = vq_compile(g, &how, &u->c->d);

	if (p && u->o->plan) {
		vq_text_add(&u->out, "%sgraph %s\n", u->out.len ? "\n" : "", p->graph->name);
		vq_plan_text(p, &u->out);
	}
	vq_plan_free(p);
}

static void
dump_formatted(struct dumper *u, struct vq_graph *g, const char *name, int64_t batch)
{
	const struct options *o = u->o;
	bool wants_plan = o->format == TABLE || o->format == JSON;
	int64_t again;
	struct vq_graph *twin = wants_plan ? make(u, name, &again) : NULL;
	struct vq_compile how = { .bf16 = u->bf16 };
	struct vq_dump d = { .g = g, .name = name, .batch = batch, .stage = u->stage, .all_nodes = o->nodes,
	    .mode = u->drawing ? u->drawing : o->stage ? "step" : o->grad ? "gradient" : o->train ? "train" : "eval",
	    .color = u->c->color_out && !o->out, .plan = twin ? vq_compile(twin, &how, &u->c->d) : NULL };

	if (o->format == TABLE)
		vq_dump_table(&d, &u->out);
	else if (o->format == DOT)
		vq_dump_dot(&d, &u->out);
	else if (o->format == SVG)
		vq_dump_svg(&d, &u->out);
	else if (o->format == TEXT)
		vq_graph_text(g, &u->out);
	else
		json_array_append_new(u->list, vq_dump_json(&d));
	vq_plan_free((struct vq_plan *)(uintptr_t)d.plan);
}

static void
dump_graph(struct dumper *u, const char *name)
{
	int64_t batch = 0;
	struct vq_graph *g = make(u, name, &batch);

	if (!g)
		return;
	if (u->o->pass || u->o->plan) {
		dump_compiled(u, g);
		return;
	}
	if (u->o->origins)
		vq_dump_origins(g, &u->out);
	else
		dump_formatted(u, g, name, batch);
	vq_graph_free(g);
}

/* --- the command ----------------------------------------------------------- */

static int
dump_hash(struct dumper *u)
{
	const char *path = u->c->arg[0];
	struct stat st;
	char hex[17];

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		path = vq_arena_printf(&u->c->arena, "%s/checkpoints/last.safetensors", path);
	if (vq_checkpoint_hash(path, hex, &u->c->d) < 0)
		return -1;
	vq_text_add(&u->out, "%s\n", hex);
	return 0;
}

static void
dump_graphs(struct dumper *u)
{
	const struct options *o = u->o;
	bool one = o->format == DOT || o->format == SVG;

	if (o->stage) {
		dump_graph(u, o->stage);
	} else if (o->graph || one) {
		const char *name = vq_tool_graph(u->c, u->m, o->graph);

		if (name)
			dump_graph(u, name);
	} else {
		for (int i = 0; i < vq_model_graphs(u->m); i++)
			dump_graph(u, vq_model_graph_name(u->m, i));
	}
}

/* Options that ask for different things. */
static int
check_options(struct dumper *u)
{
	const struct options *o = u->o;
	const char *asked[6];
	int n = 0;

	if (o->expand)
		asked[n++] = "--expand";
	if (o->pass)
		asked[n++] = "--pass";
	if (o->plan)
		asked[n++] = "--plan";
	if (o->origins)
		asked[n++] = "--origins";
	if (o->hash)
		asked[n++] = "--hash";
	if (n == 1 && vq_cli_given(u->c, "format") && !(o->pass && o->format == TEXT))
		asked[n++] = "--format";
	if (n > 1)
		vq_usage_error(u->c, "%s and %s ask for different things", asked[0], asked[1]);
	if (o->stage && (o->graph || o->grad))
		vq_usage_error(u->c,
		    "--stage shows the stage's own graph with its gradients: --%s cannot be given with it",
		    o->graph ? "graph" : "grad");
	if (o->pass)
		check_pass(u, o->pass);
	return u->c->d.count ? -1 : 0;
}

static int
run(struct vq_cli *c, void *options)
{
	struct dumper u = { .c = c, .o = options };

	u.bf16 = u.o->precision == VQ_TOOL_BF16;

	if (check_options(&u) < 0)
		return VQ_USAGE;
	if (u.o->hash) {
		dump_hash(&u);
	} else {
		u.m = vq_tool_model(c);
		u.list = json_array();
		if (u.m && u.o->expand)
			vq_model_print(u.m, &u.out);
		else if (u.m)
			dump_graphs(&u);
	}
	if (!c->d.count && u.o->format == JSON && !u.o->expand && !u.o->hash) {
		json_t *top = json_pack("{s:o, s:o}", "file", vq_json_text(vq_model_path(u.m)), "graphs",
		    json_incref(u.list));
		char *s = json_dumps(top, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

		vq_text_add(&u.out, "%s\n", s);
		free(s);
		json_decref(top);
	}
	if (!c->d.count)
		vq_tool_write(c, u.o->out, &u.out);
	json_decref(u.list);
	json_decref(u.stage);
	vq_text_free(&u.out);
	return (int)vq_diags_status(&c->d);
}

static const char *const formats[] = { "table", "dot", "svg", "json", "text", NULL };
static const char *const expand_also[] = { "flatten", "resolve", "resolved", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "format", 'f', AT(VQ_O_ENUM, format), "HOW", .choices = formats,
	    .doc = "table (a model summary), dot (for graphviz), svg, json, text (the IR)" },
	{ "graph", 'g', AT(VQ_O_STRING, graph), "NAME",
	    .doc = "this graph (default: all; dot and svg show one)" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "a stage's training step: its graph with gradients and updates; one position, or step, of a stage that draws samples" },
	{ "grad", 0, AT(VQ_O_FLAG, grad), .doc = "with the backward graph of `loss`" },
	{ "train", 0, AT(VQ_O_FLAG, train), .doc = "with $train = 1" },
	{ "nodes", 0, AT(VQ_O_FLAG, nodes), .doc = "every node by itself, not by steps" },
	{ "expand", 'e', AT(VQ_O_FLAG, expand), .also = expand_also,
	    .doc = "the file flattened, with every default: itself a model file" },
	{ "pass", 0, AT(VQ_O_STRING, pass), "NAME",
	    .doc = "the IR after this pass: expand, lower, simplify, precision, recompute, fuse, order, narrow, plan" },
	{ "precision", 0, AT(VQ_O_ENUM, precision), "P", .choices = vq_precisions,
	    .doc = "of products and convolutions in what --pass and --plan show: f32, bf16 (default: the stage's)" },
	{ "plan", 0, AT(VQ_O_FLAG, plan), .doc = "the arena: who lives where, when" },
	{ "origins", 0, AT(VQ_O_FLAG, origins), .doc = "where in the files each value comes from" },
	{ "hash", 0, AT(VQ_O_FLAG, hash), .doc = "one hash over all training state of a run or checkpoint" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "N", 1, 1e9,
	    .doc = "batch size (default: of the stage that uses the graph, else 1)" },
	{ "size", 0, AT(VQ_O_LIST, size), "NAME=N", .doc = "another free size (default 1)" },
	{ "out", 'o', AT(VQ_O_STRING, out), "FILE", .doc = "to a file, in place of standard output" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph dump graphs/vqvae_mnist.yaml", "each graph as a table: type, parameters, FLOP, memory",
	"vqgraph dump model.yaml --graph autoencode --format svg --out model.svg", "a picture of one",
	"vqgraph dump model.yaml --stage vqvae --pass fuse", "the training step as the fuse pass leaves it",
	"vqgraph dump runs/latest --hash", "tells whether two runs ended with the same bits",
	NULL
};
static const char *const also[] = { "show", "inspect", "summary", "print", "view", "graph", NULL };
extern const struct vq_command vq_command_dump;
const struct vq_command vq_command_dump = {
	.name = "dump",
	.args = "FILE|RUN [path=value ...]",
	.doc = "inspects a model file or a run: summary, picture, IR, memory plan",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
