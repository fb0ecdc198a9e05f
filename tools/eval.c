/*
 * eval -- `vqgraph eval`: one graph of a model file on given arrays
 */
#include "tools/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/build.h"
#include "engine/checkpoint.h"

struct options {
	const char *graph;
	bool train;
	int64_t seed;
	int precision;
	const char *params, *save_params, *save_after;
	struct vq_strings input, output, grad, cotangent, size;
	bool reference, no_fuse;
};

/* A value that is written to a file, or printed. */
struct wanted {
	const char *label;	/* as asked for: "loss", "loss:enc.w" */
	const char *path;	/* "-": printed */
	const char *of;		/* gradient: of this value, with respect to `name` */
	const char *name;
	vq_id value;
	const char *output;	/* its name among the graph's outputs */
};

struct eval {
	struct vq_cli *c;
	const struct options *o;
	struct vq_model *model;
	const char *graph;
	struct vq_graph *g;
	struct vq_plan *plan;
	struct vq_vars vars;
	struct vq_array *input, *cotangent;
	void **zeros;		/* for inputs that nothing reads */
	int nzeros;
	struct wanted *want;
	int wants, cap;
};

/* --- what is asked for ----------------------------------------------------- */

static struct wanted *
add_wanted(struct eval *e, const char *label, const char *path)
{
	vq_grow(e->want, e->wants, e->cap);
	e->want[e->wants] = (struct wanted){ .label = label, .name = label, .path = path, .value = VQ_NONE };
	return &e->want[e->wants++];
}

static void
read_wanted(struct eval *e)
{
	const struct options *o = e->o;

	for (int i = 0; i < o->output.count; i++) {
		const char *name, *path;

		if (vq_eval_split(e->c, "--output", o->output.s[i], &name, &path) == 0)
			add_wanted(e, name, path);
	}
	for (int i = 0; i < o->grad.count; i++) {
		const char *name, *path, *colon;
		struct wanted *w;

		if (vq_eval_split(e->c, "--grad", o->grad.s[i], &name, &path) < 0)
			continue;
		colon = strchr(name, ':');
		if (!colon || colon == name || !colon[1]) {
			vq_help(vq_usage_error(e->c, "--grad wants VALUE:NAME=FILE, not '%s'", o->grad.s[i]),
			    "as in --grad loss:enc.conv.weight=g.npy");
			continue;
		}
		w = add_wanted(e, name, path);
		w->of = vq_arena_strndup(&e->c->arena, name, (size_t)(colon - name));
		w->name = colon + 1;
	}
}

/* Nothing was asked for: the scalars among what the graph gives out. */
static void
want_scalars(struct eval *e)
{
	for (int i = 0; i < e->g->outputs; i++)
		if (vq_type_at(e->g, e->g->output[i].value)->shape.rank == 0)
			add_wanted(e, vq_arena_strdup(&e->c->arena, e->g->output[i].name), "-");
	if (e->wants == 0)
		vq_help(vq_usage_error(e->c, "nothing is asked for, and graph %s gives out no scalar",
		    e->graph),
		    "name values with --output NAME=FILE");
}

/* --- gradients ------------------------------------------------------------- */

static bool
is_float_value(struct eval *e, vq_id v, const char *name)
{
	char type[VQ_TYPE_STR];

	if (vq_is_float(vq_type_at(e->g, v)->dtype))
		return true;
	vq_usage_error(e->c, "--grad: %s is %s; only real numbers have gradients", name,
	    vq_type_str(vq_type_at(e->g, v), type));
	return false;
}

/* The weights of y's elements: an input for the array given, ones without it. */
static vq_id
cotangent_of(struct eval *e, vq_id y, const char *name)
{
	const struct vq_type *t = vq_type_at(e->g, y);
	struct vq_array *a = vq_array_find(e->cotangent, e->o->cotangent.count, name);

	if (a && vq_array_fit(e->c, a, t) < 0)
		return VQ_NONE;
	if (a)
		return vq_graph_leaf(e->g, VQ_INPUT, vq_arena_printf(&e->g->arena, "cotangent:%s", name), t);
	return t->shape.rank == 0 ? VQ_NONE : vq_fill(e->g, t, 1.0);
}

/* All gradients of one value at once, in one backward pass. */
static int
add_gradients(struct eval *e, const char *of)
{
	vq_id *wrt = vq_alloc_array((size_t)e->wants + 1, sizeof(*wrt));
	vq_id *grads = vq_alloc_array((size_t)e->wants + 1, sizeof(*grads));
	vq_id y = vq_tool_value(e->c, e->g, of, "--grad");
	int n = 0, rc = -1;

	if (y == VQ_NONE || !is_float_value(e, y, of))
		goto done;
	for (int i = 0; i < e->wants; i++) {
		struct wanted *w = &e->want[i];

		if (!w->of || strcmp(w->of, of) != 0)
			continue;
		wrt[n] = vq_graph_find(e->g, w->name);
		if (wrt[n] == VQ_NONE)
			wrt[n] = vq_tool_value(e->c, e->g, w->name, "--grad");
		if (wrt[n] == VQ_NONE || !is_float_value(e, wrt[n], w->name))
			goto done;
		n++;
	}
	vq_id seed = cotangent_of(e, y, of);
	if (e->c->d.count || vq_gradient(e->g, y, seed, wrt, n, grads) < 0)
		goto done;
	n = 0;
	for (int i = 0; i < e->wants; i++)
		if (e->want[i].of && strcmp(e->want[i].of, of) == 0)
			e->want[i].value = grads[n++];
	rc = 0;
done:
	free(wrt);
	free(grads);
	return rc;
}

static void
check_cotangents(struct eval *e)
{
	for (int i = 0; i < e->o->cotangent.count; i++) {
		bool used = false;

		for (int k = 0; k < e->wants; k++)
			used |= e->want[k].of && strcmp(e->want[k].of, e->cotangent[i].name) == 0;
		if (!used)
			vq_usage_error(e->c, "--cotangent %s: no --grad asks for a gradient of it",
			    e->cotangent[i].name);
	}
}

/* Finds the values, appends the gradients, and makes these the graph's only outputs. */
static int
name_outputs(struct eval *e)
{
	for (int i = 0; i < e->wants; i++)
		if (!e->want[i].of)
			e->want[i].value = vq_tool_value(e->c, e->g, e->want[i].name, "--output");
	check_cotangents(e);
	for (int i = 0; i < e->wants && !e->c->d.count; i++)
		if (e->want[i].of && e->want[i].value == VQ_NONE)
			add_gradients(e, e->want[i].of);
	if (e->c->d.count)
		return -1;
	e->g->outputs = 0;
	if (!e->o->save_after)
		e->g->stores = 0;	/* a step's writing is not what is looked at */
	for (int i = 0; i < e->wants; i++) {
		struct wanted *w = &e->want[i];
		char type[VQ_TYPE_STR];

		w->output = vq_arena_printf(&e->c->arena, "%d:%s", i, w->label);
		vq_graph_output(e->g, vq_arena_strdup(&e->g->arena, w->output), w->value);
		if (strcmp(w->path, "-") == 0 && vq_type_at(e->g, w->value)->shape.rank != 0)
			vq_help(vq_usage_error(e->c, "%s is %s: only a scalar can be printed", w->label,
			    vq_type_str(vq_type_at(e->g, w->value), type)),
			    "give it a file: %s=FILE.npy", w->label);
	}
	return e->c->d.count ? -1 : 0;
}

/* --- inputs ---------------------------------------------------------------- */

static int
fit_inputs(struct eval *e)
{
	int n = e->o->input.count;

	for (vq_id v = 0; v < e->g->values; v++) {
		const struct vq_value *val = &e->g->value[v];
		struct vq_array *a = val->kind == VQ_INPUT ? vq_array_find(e->input, n, val->name) : NULL;

		if (a)
			vq_array_fit(e->c, a, &val->type);
	}
	return e->c->d.count ? -1 : 0;
}

/* The array of an input of the plan; NULL when none was given. */
static const void *
data_for(struct eval *e, const char *name)
{
	struct vq_array *a = vq_array_find(e->input, e->o->input.count, name);

	if (!a && strncmp(name, "cotangent:", 10) == 0)
		a = vq_array_find(e->cotangent, e->o->cotangent.count, name + 10);
	return a ? a->data : NULL;
}

static int
give_inputs(struct eval *e)
{
	const struct vq_graph *g = e->plan->graph;
	int *uses = vq_graph_uses(g);

	e->zeros = vq_alloc_array((size_t)g->values + 1, sizeof(*e->zeros));
	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		const void *data = val->kind == VQ_INPUT ? data_for(e, val->name) : NULL;
		char type[VQ_TYPE_STR];

		if (val->kind != VQ_INPUT)
			continue;
		if (!data && uses[v] > 0)
			vq_help(vq_usage_error(e->c, "input %s, %s, is needed for this and not given",
			    val->name,
			    vq_type_str(&val->type, type)), "--input %s=FILE.npy", val->name);
		if (!data)
			data = e->zeros[e->nzeros++] = vq_alloc_aligned(vq_type_bytes(&val->type));
		vq_plan_input(e->plan, val->name, data);
	}
	free(uses);
	return e->c->d.count ? -1 : 0;
}

/* --- results --------------------------------------------------------------- */

/* ", "name": value" with as many digits as the type has; null when it is not finite. */
static void
add_scalar(struct vq_text *t, const char *label, const struct vq_view *v)
{
	json_t *name = vq_json_text(label);
	char *quoted = json_dumps(name, JSON_ENCODE_ANY);
	double x = vq_get(v, 0);

	vq_text_add(t, "%s%s: ", t->len ? ", " : "{", quoted);
	if (isfinite(x))
		vq_text_add(t, "%.*g", v->type->dtype == VQ_F32 ? 9 : 17, x);
	else
		vq_text_add(t, "null");
	free(quoted);
	json_decref(name);
}

static void
write_results(struct eval *e)
{
	struct vq_text scalars = { 0 };

	for (int i = 0; i < e->wants; i++) {
		const struct wanted *w = &e->want[i];
		struct vq_view view;

		if (!vq_plan_output(e->plan, w->output, &view))
			vq_bug("output %s was lost", w->output);
		if (strcmp(w->path, "-") == 0)
			add_scalar(&scalars, w->label, &view);
		else if (vq_npy_write(w->path, &view, &e->c->d) < 0)
			break;
	}
	if (scalars.len > 0)
		printf("%s}\n", scalars.s);
	vq_text_free(&scalars);
}

static int
save(struct eval *e, const char *path)
{
	struct vq_meta none = { 0 };

	return path ? vq_checkpoint_save(path, &e->vars, true, &none, &e->c->d) : 0;
}

/* --params, or the weights of the run that was given. */
static const char *
weights_of(const struct eval *e)
{
	struct stat st;

	if (e->o->params || stat(e->c->arg[0], &st) < 0 || !S_ISDIR(st.st_mode))
		return e->o->params;
	return vq_tool_weights(e->c, e->c->arg[0]);
}

static int
evaluate(struct eval *e)
{
	const struct options *o = e->o;
	struct vq_compile how = { .reference = o->reference, .no_fuse = o->no_fuse,
	    .bf16 = o->precision == VQ_TOOL_BF16 };

	if (fit_inputs(e) < 0 || name_outputs(e) < 0 ||
	    vq_eval_vars(e->c, e->g, weights_of(e), (uint64_t)o->seed, &e->vars) < 0 ||
	    save(e, o->save_params) < 0)
		return -1;
	if (e->wants == 0 && !o->save_after)
		return 0;
	e->plan = vq_compile(e->g, &how, &e->c->d);
	e->g = NULL;
	if (!e->plan)
		return -1;
	vq_plan_attach(e->plan, &e->vars, NULL);
	if (give_inputs(e) < 0)
		return -1;
	vq_plan_run(e->plan, (uint64_t)o->seed, 0);
	write_results(e);
	return e->c->d.count ? -1 : save(e, o->save_after);
}

static void
prepare(struct eval *e)
{
	const struct options *o = e->o;
	struct vq_size size[VQ_MAX_SIZES];
	int sizes;

	read_wanted(e);
	e->input = vq_arrays_read(e->c, "--input", &o->input);
	e->cotangent = vq_arrays_read(e->c, "--cotangent", &o->cotangent);
	e->model = vq_tool_model(e->c);
	if (!e->model || !e->input || !e->cotangent || e->c->d.count)
		return;
	e->graph = vq_tool_graph(e->c, e->model, o->graph);
	if (!e->graph)
		return;
	sizes = vq_eval_sizes(e->c, e->model, e->graph, e->input, o->input.count, &o->size, size);
	if (sizes < 0)
		return;
	e->g = vq_model_expand(e->model, e->graph, o->train, size, sizes, &e->c->d);
	if (e->g && e->wants == 0 && !o->save_params && !o->save_after)
		want_scalars(e);
}

static int
run(struct vq_cli *c, void *options)
{
	struct options *o = options;
	struct eval e = { .c = c, .o = o };

	prepare(&e);
	if (e.g && !c->d.count)
		evaluate(&e);
	vq_plan_free(e.plan);
	if (e.g)
		vq_graph_free(e.g);
	for (int i = 0; i < e.nzeros; i++)
		free(e.zeros[i]);
	free(e.zeros);
	free(e.want);
	vq_vars_free(&e.vars);
	vq_arrays_free(e.input, o->input.count);
	vq_arrays_free(e.cotangent, o->cotangent.count);
	return vq_diags_status(&c->d);
}

static const char *const graph_also[] = { "entry", "entrypoint", NULL };
static const char *const params_also[] = { "weights", "checkpoint", "load", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "graph", 'g', AT(VQ_O_STRING, graph), "NAME", .also = graph_also,
	    .doc = "the graph to evaluate (may be left out where there is one only)" },
	{ "input", 'i', AT(VQ_O_LIST, input), "NAME=FILE", .doc = "an input's array, npy (again for each)" },
	{ "output", 'o', AT(VQ_O_LIST, output), "NAME=FILE",
	    .doc = "where a value goes, npy; FILE - prints a scalar as JSON (again for each)" },
	{ "grad", 0, AT(VQ_O_LIST, grad), "VALUE:NAME=FILE",
	    .doc = "where the gradient of a value with respect to a parameter or an input goes (again for each)" },
	{ "cotangent", 0, AT(VQ_O_LIST, cotangent), "VALUE=FILE",
	    .doc = "the weights of a value's elements for --grad; ones without it" },
	{ "params", 0, AT(VQ_O_STRING, params), "FILE", .also = params_also,
	    .doc = "parameters by name, safetensors; drawn from the seed without it" },
	{ "save-params", 0, AT(VQ_O_STRING, save_params), "FILE",
	    .doc = "writes the parameters and state that were used, safetensors" },
	{ "save-after", 0, AT(VQ_O_STRING, save_after), "FILE",
	    .doc = "writes them as the step's own assignments leave them (with --train)" },
	{ "train", 0, AT(VQ_O_FLAG, train), .doc = "with $train = 1" },
	{ "seed", 's', AT(VQ_O_INT, seed), "N", 0, 9e15,
	    .doc = "of parameters and of random ops (default 1)" },
	{ "size", 0, AT(VQ_O_LIST, size), "NAME=N", .doc = "a free size that no given array tells" },
	{ "precision", 0, AT(VQ_O_ENUM, precision), "P", .choices = vq_precisions,
	    .doc = "of the operands of matrix products and convolutions: f32 (default), bf16" },
	{ "reference", 0, AT(VQ_O_FLAG, reference), .doc = "with every op's slow, obvious kernel" },
	{ "no-fuse", 0, AT(VQ_O_FLAG, no_fuse), .doc = "without fusing nodes" },
	{ 0 }
};
static const struct options defaults = { .seed = 1 };
static const char *const examples[] = {
	"vqgraph eval model.yaml --graph autoencode --input image=x.npy --output recon=y.npy --output loss=-",
	"writes the reconstructions and prints {\"loss\": ...}",
	"vqgraph eval model.yaml --graph autoencode --input image=x.npy --grad loss:enc.conv.weight=g.npy",
	"writes the gradient of the loss with respect to a weight",
	NULL
};
static const char *const also[] = { "evaluate", "infer", "predict", "forward", NULL };
extern const struct vq_command vq_command_eval;
const struct vq_command vq_command_eval = {
	.name = "eval",
	.args = "FILE [path=value ...]",
	.doc = "evaluates one graph, and gradients, on arrays from files",
	.about = "Any named value of the graph can be asked for: outputs, steps named by `as`, also inside "
	    "modules, parameters. Arrays are npy files of f32, f64, i32, i64, u8 or bool; they are converted "
	    "where no value changes but by rounding f64 to f32. Without --output and --grad the graph's "
	    "scalars are printed. FILE may be a run's folder: its weights are taken then.",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS,
	.opts = opts,
	.defaults = &defaults,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
