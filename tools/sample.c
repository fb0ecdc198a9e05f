/*
 * sample -- `vqgraph sample`: pictures drawn from a prior, or completed by it
 */
#include "tools/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/image.h"
#include "engine/stage.h"

/* --- what is asked for ------------------------------------------------------- */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && strcasecmp(s + n - k, end) == 0;
}

/* What can be told before anything is read. */
static int
check_options(struct vq_sample_task *k)
{
	const struct vq_sample_options *o = k->o;

	if (o->out && !ends_with(o->out, ".png") && !ends_with(o->out, ".npy"))
		vq_usage_error(k->c, "--out wants a name that ends in .png or .npy, not '%s'", o->out);
	if (!o->out && !o->codes)
		vq_help(vq_usage_error(k->c, "neither --out nor --codes says where the samples go"),
		    "--out FILE.png draws them on a grid");
	const char *const file[] = { o->out, o->codes, o->labels };
	for (size_t i = 0; i < VQ_COUNT(file); i++)
		for (size_t j = 0; j < i; j++)
			if (file[i] && file[j] && strcmp(file[i], file[j]) == 0)
				vq_usage_error(k->c, "%s is named twice: each file holds one thing", file[i]);
	if (o->complete && !o->out)
		vq_usage_error(k->c, "--complete wants --out, for the pictures");
	if (!o->complete && vq_cli_given(k->c, "keep"))
		vq_usage_error(k->c, "--keep says how much of the pictures of --complete is given, and there are none");
	return k->c->d.count ? -1 : 0;
}

static int
find_stage(struct vq_sample_task *k)
{
	int i = VQ_NONE;

	if (k->o->stage && (i = vq_stage_find(k->m, k->o->stage, &k->c->d)) == VQ_NONE)
		return -1;
	for (int s = 0; i == VQ_NONE && s < vq_model_stages(k->m); s++)
		if (vq_stage_kind(k->m, s, &k->c->d) == VQ_STAGE_SAMPLE)
			i = s;
	if (i != VQ_NONE && vq_stage_kind(k->m, i, &k->c->d) == VQ_STAGE_SAMPLE)
		return vq_sample_read(k->m, i, &k->s, &k->c->d);
	if (k->c->d.count == 0)
		vq_help(i == VQ_NONE ? vq_usage_error(k->c, "%s has no stage that draws samples", vq_model_path(k->m)) :
		    vq_usage_error(k->c, "stage %s does not draw samples", k->o->stage), "one with `do: sample`");
	return -1;
}

/* What is said of masked tokens must not be said where there are none. */
static int
check_method(struct vq_sample_task *k)
{
	static const char *const masked[] = { "steps", "choice-temperature" };

	for (size_t i = 0; i < VQ_COUNT(masked); i++)
		if (k->s.method != VQ_METHOD_MASKED && vq_cli_given(k->c, masked[i]))
			vq_help(vq_usage_error(k->c, "--%s is of masked tokens, and stage %s draws one after the other", masked[i],
			    k->s.name), "a stage that fills in masks says `method: masked`");
	if (k->s.method == VQ_METHOD_MASKED && vq_cli_given(k->c, "steps") && k->o->steps > k->s.length)
		vq_usage_error(k->c, "--steps %lld: each fixes one token at least, and stage %s draws %lld", (long long)k->o->steps,
		    k->s.name, (long long)k->s.length);
	return k->c->d.count ? -1 : 0;
}

/* Said of the option: the stage's own grid is judged with its other keys. */
static int
check_grid(struct vq_sample_task *k, int64_t rows, int64_t columns)
{
	int64_t h, w;

	vq_sample_window(&k->s, &h, &w);
	if (rows < h || columns < w)
		vq_help(vq_usage_error(k->c, "--grid %lldx%lld is smaller than the %lld x %lld codes that the prior of stage %s was "
		    "trained on", (long long)rows, (long long)columns, (long long)h, (long long)w, k->s.name),
		    "--grid %lldx%lld or larger, or no --grid for what the stage says", (long long)(rows < h ? h : rows),
		    (long long)(columns < w ? w : columns));
	else if (rows * columns > VQ_SAMPLE_MOST)
		vq_usage_error(k->c, "--grid %lldx%lld: more than a million codes", (long long)rows, (long long)columns);
	return k->c->d.count ? -1 : 0;
}

/* "12", or "12x16": rows and columns. */
static int
read_grid(struct vq_sample_task *k)
{
	struct vq_ints grid = { 0 };
	const char *s = k->o->grid;
	bool more = s != NULL;

	while (more) {
		char *end;
		errno = 0;
		long long x = *s >= '0' && *s <= '9' ? strtoll(s, &end, 10) : 0;
		if (x < 1 || x > 8192 || (*end && (*end != 'x' || grid.count == 1))) {
			vq_help(vq_usage_error(k->c, "--grid wants rows and columns of codes from 1 to 8192, not '%s'", k->o->grid),
			    "as in --grid 12x16, or --grid 12 for 12 x 12");
			return -1;
		}
		grid.v[grid.count++] = x;
		more = *end == 'x';
		s = end + 1;
	}
	if (grid.count == 0)
		return 0;
	if (k->s.method == VQ_METHOD_MASKED) {
		vq_usage_error(k->c, "--grid is of tokens drawn one after the other, and stage %s draws masked ones", k->s.name);
		return -1;
	}
	k->s.grid = grid;
	return check_grid(k, grid.v[0], grid.v[grid.count - 1]);
}

/* The command line goes before the stage. */
static void
override(struct vq_sample_task *k)
{
	const struct vq_sample_options *o = k->o;

	if (vq_cli_given(k->c, "steps"))
		k->s.steps = o->steps;
	if (vq_cli_given(k->c, "choice-temperature"))
		k->s.choice_temperature = o->choice_temperature;

	if (vq_cli_given(k->c, "temperature"))
		k->s.temperature = o->temperature;
	if (vq_cli_given(k->c, "top-k"))
		k->s.top_k = o->top_k;
	if (vq_cli_given(k->c, "top-p"))
		k->s.top_p = o->top_p;
	if (vq_cli_given(k->c, "guidance"))
		k->s.guidance = o->guidance;
	if (vq_cli_given(k->c, "precision"))
		k->s.precision = o->precision == VQ_TOOL_BF16 ? VQ_SAMPLE_BF16 : VQ_SAMPLE_F32;
	if (vq_cli_given(k->c, "batch"))
		k->s.batch = o->batch;
	k->tokens = vq_sample_tokens(&k->s);
	k->n = vq_cli_given(k->c, "num") ? o->n : o->complete ? 8 : k->s.count;
}

/* -1: all; -2 after an error. */
static int64_t
asked_class(struct vq_sample_task *k)
{
	const char *text = k->o->class;
	char *end;

	if (text == NULL || strcmp(text, "all") == 0)
		return -1;
	errno = 0;
	long long x = strtoll(text, &end, 10);
	if (end == text || *end) {
		vq_usage_error(k->c, "--class wants a number or all, not '%s'", text);
		return -2;
	}
	if (errno || x < 0 || x >= k->s.classes) {
		vq_usage_error(k->c, "there is no class %s: stage %s has %lld, from 0 to %lld", text, k->s.name,
		    (long long)k->s.classes, (long long)k->s.classes - 1);
		return -2;
	}
	return x;
}

static int
choose_classes(struct vq_sample_task *k)
{
	if (k->s.classes == 0) {
		if (k->o->class || k->o->labels)
			vq_help(vq_usage_error(k->c, "stage %s has no classes, so %s cannot be given", k->s.name,
			    k->o->class ? "--class" : "--labels"), "a stage that has them says how many: `classes: 10`");
		return k->c->d.count ? -1 : 0;
	}
	int64_t class = asked_class(k);
	if (class < -1)
		return -1;
	k->class = vq_alloc_array((size_t)k->n, sizeof(*k->class));
	for (int64_t i = 0; i < k->n; i++)
		k->class[i] = class >= 0 ? (int32_t)class : vq_sample_class(i, k->n, k->s.classes);
	return 0;
}

/* --- results ------------------------------------------------------------------ */

static int
write_array(struct vq_sample_task *k, const char *path, const void *data, const struct vq_type *type)
{
	char str[VQ_TYPE_STR];

	if (path == NULL)
		return 0;
	if (vq_npy_write(path, &(struct vq_view){ (void *)(uintptr_t)data, type }, &k->c->d) < 0)
		return -1;
	vq_notice(k->c, "wrote %s, %s", path, vq_type_str(type, str));
	return 0;
}

static struct vq_type
pictures_type(const struct vq_sample_task *k)
{
	const int64_t *dim = vq_sampler_picture(k->sampler)->shape.dim;

	return vq_type_of(VQ_F32, 4, (int64_t[]){ k->n, dim[0], dim[1], dim[2] });
}

/* Originals, what was given of them, and what was made of that. */
static int
write_completions(struct vq_sample_task *k, const float *pictures)
{
	struct vq_type t = pictures_type(k);
	struct vq_pictures p = { .data = k->original, .n = k->n, .h = t.shape.dim[1], .w = t.shape.dim[2],
	    .c = t.shape.dim[3], .lo = k->s.lo, .hi = k->s.hi };
	struct vq_image im = { 0 };
	int error = vq_image_pairs(&im, &p, (const float *const[]){ k->half, pictures }, 2, 0, 0, &k->c->d);

	if (error == 0)
		error = vq_image_write_png(k->o->out, &im, &k->c->d);
	vq_image_free(&im);
	return error;
}

static int
write_pictures(struct vq_sample_task *k, const float *pictures)
{
	struct vq_type t = pictures_type(k);
	bool sorted = k->class != NULL;

	if (k->o->out == NULL)
		return 0;
	if (ends_with(k->o->out, ".npy"))
		return write_array(k, k->o->out, pictures, &t);
	for (int64_t i = 1; sorted && i < k->n; i++)
		sorted = k->class[i - 1] <= k->class[i];
	/* One class alone needs no row of its own. */
	sorted = sorted && k->class[0] != k->class[k->n - 1];
	int error = k->o->complete ? write_completions(k, pictures) : vq_sample_grid(k->o->out, &k->s,
	    vq_sampler_picture(k->sampler), pictures, sorted ? k->class : NULL, k->n, &k->c->d);
	if (error == 0)
		vq_notice(k->c, "wrote %s, %lld pictures", k->o->out, (long long)k->n);
	return error;
}

static int
print_json(struct vq_sample_task *k, const struct vq_drawing *w)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:I}", "stage", k->s.name, "samples", (json_int_t)k->n,
	    "length", (json_int_t)k->tokens, "tokens", (json_int_t)(k->n * k->tokens), "seconds", w->seconds,
	    "tokens_per_s", (double)(k->n * k->tokens) / w->seconds, "seed", (json_int_t)w->seed);

	json_object_set_new(o, "precision", json_string(vq_precisions[k->s.precision == VQ_SAMPLE_BF16 ? VQ_TOOL_BF16 : VQ_TOOL_F32]));
	json_object_set_new(o, "batch", json_integer(k->s.batch < k->n ? k->s.batch : k->n));
	return vq_tool_json(k->c, o, false);
}

/* --- the command -------------------------------------------------------------- */

/* The first of vars, from number n on, that a stage trains, or NULL. */
static const char *
trained_by(struct vq_sample_task *k, const struct vq_train *t, const struct vq_vars *vars, int n)
{
	struct vq_graph *g = vq_eval_graph(k->m, t, 1, &k->c->d);
	const char *name = NULL;

	for (int v = n; g && v < vars->count && name == NULL; v++)
		for (int u = 0; u < t->updates && vq_graph_find(g, vars->var[v].name) != VQ_NONE; u++)
			if (vq_update_trains(&t->update[u], vars->var[v].name))
				name = vars->var[v].name;
	vq_graph_free(g);
	return name;
}

/* What is drawn with must have been trained, as far as stages train it. */
static int
check_trained(struct vq_sample_task *k)
{
	struct vq_vars reads = { .types_only = true };
	const char *run = k->o->checkpoint ? k->o->checkpoint : k->c->arg[0], *name;
	struct vq_diags unheard = { 0 };	/* what does not fit is the sampler's to say */
	int n = k->vars.count, error;

	for (int i = 0; i < n; i++)
		vq_vars_borrow(&reads, k->vars.var[i].name, &k->vars.var[i]);
	error = vq_sample_bind(k->m, &k->s, &reads, 1, &unheard);
	if (error < 0)
		n = reads.count;
	for (int i = 0; i < vq_model_stages(k->m) && n < reads.count; i++) {
		struct vq_train t = { 0 };
		if (vq_stage_kind(k->m, i, &k->c->d) == VQ_STAGE_TRAIN && vq_train_read(k->m, i, &t, &k->c->d) == 0 &&
		    (name = trained_by(k, &t, &reads, n)) != NULL) {
			struct vq_diag *e = vq_usage_error(k->c, "stage %s reads %s, which stage %s trains, and %s has not come to that",
			    k->s.name, name, t.name, run);
			if (k->o->checkpoint == NULL)
				vq_help(e, "vqgraph run --resume %s goes on", run);
			n = reads.count;
		}
		vq_train_free(&t);
	}
	vq_diags_free(&unheard);
	vq_vars_free(&reads);
	return k->c->d.count ? -1 : 0;
}

static int
prepare(struct vq_sample_task *k)
{
	const char *path;

	if (check_options(k) < 0 || (k->m = vq_tool_model(k->c)) == NULL || find_stage(k) < 0 ||
	    check_method(k) < 0 || read_grid(k) < 0)
		return -1;
	override(k);
	if (choose_classes(k) < 0 || (path = vq_tool_checkpoint(k->c, k->o->checkpoint)) == NULL ||
	    vq_checkpoint_load(path, &k->vars, VQ_LOAD_ALL, NULL, &k->c->d) < 0)
		return -1;
	if (check_trained(k) < 0 || (k->o->complete && vq_sample_given(k) < 0))
		return -1;
	int64_t batch = k->s.batch < k->n ? k->s.batch : k->n;
	k->sampler = vq_sampler_new(k->m, &k->s, batch, &k->vars, (int)k->c->threads, &k->c->d);
	if (k->sampler == NULL)
		return -1;
	char given[VQ_TYPE_STR], drawn[VQ_TYPE_STR];
	if (k->o->complete && !vq_type_equal(&k->picture, vq_sampler_picture(k->sampler))) {
		vq_error(&k->c->d, VQ_DATA, NULL, "pictures of %s are %s, and graph %s makes %s", k->o->complete,
		    vq_type_str(&k->picture, given), k->s.decode, vq_type_str(vq_sampler_picture(k->sampler), drawn));
		return -1;
	}
	return 0;
}

static void
draw(struct vq_sample_task *k)
{
	struct vq_type codes = { VQ_I32, { 2, { k->n, k->tokens } } }, labels = { VQ_I32, { 1, { k->n } } };
	struct vq_drawing w = { .n = k->n, .seed = (uint64_t)k->o->seed, .class = k->class, .known = k->known };

	w.codes = vq_alloc_array((size_t)(k->n * k->tokens), sizeof(*w.codes));
	if (k->o->out)
		w.pictures = vq_alloc_array((size_t)k->n, vq_type_bytes(vq_sampler_picture(k->sampler)));
	if (vq_sampler_run(k->sampler, &w, &k->c->d) == 0 && write_pictures(k, w.pictures) == 0 &&
	    write_array(k, k->o->codes, w.codes, &codes) == 0 && write_array(k, k->o->labels, k->class, &labels) == 0 &&
	    k->c->json)
		print_json(k, &w);
	free(w.codes);
	free(w.pictures);
}

static int
run(struct vq_cli *c, void *options)
{
	struct vq_sample_task k = { .c = c, .o = options };

	vq_threads_set((int)c->threads);
	if (prepare(&k) == 0)
		draw(&k);
	vq_sampler_free(k.sampler);
	vq_sample_free(&k.s);
	vq_vars_free(&k.vars);
	free(k.class);
	free(k.known);
	free(k.original);
	free(k.half);
	return (int)vq_diags_status(&c->d);
}

static const char *const class_also[] = { "label", "cond", "conditional", NULL };
static const char *const temperature_also[] = { "temp", NULL };
static const char *const top_k_also[] = { "topk", "k", NULL };
static const char *const top_p_also[] = { "topp", "nucleus", "p", NULL };
static const char *const guidance_also[] = { "cfg", "cfg-scale", "scale", "guidance-scale", NULL };
static const char *const grid_also[] = { "size", "map", "shape", "height", "width", NULL };
static const char *const steps_also[] = { "num-iter", "iterations", "sample-steps", NULL };
static const char *const choice_also[] = { "r-temp", "choice-temp", "gumbel", NULL };
static const char *const complete_also[] = { "inpaint", "prompt", "prefix", "from", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct vq_sample_options, field)
static const struct vq_opt opts[] = {
	{ "num", 'n', AT(VQ_O_INT, n), "N", 1, 1e9, .doc = "samples (default: the stage's count; 8 to complete)" },
	{ "class", 0, AT(VQ_O_STRING, class), "C", .also = class_also,
	    .doc = "of the samples: a number, or all for as many of each, one class a row (default: all)" },
	{ "temperature", 0, AT(VQ_O_REAL, temperature), "T", 0, 1e6, .also = temperature_also,
	    .doc = "divides the logits; 0: always the likeliest token" },
	{ "top-k", 0, AT(VQ_O_INT, top_k), "K", 1, INT32_MAX, .also = top_k_also, .doc = "only the likeliest K tokens" },
	{ "top-p", 0, AT(VQ_O_REAL, top_p), "P", 1e-9, 1, .also = top_p_also,
	    .doc = "only the likeliest tokens that have probability P together" },
	{ "guidance", 0, AT(VQ_O_REAL, guidance), "G", 0, 1000, .also = guidance_also,
	    .doc = "how far from no class (0) to the class (1) and beyond" },
	{ "grid", 0, AT(VQ_O_STRING, grid), "HxW", .also = grid_also,
	    .doc = "rows and columns of codes: larger than the prior was trained on, drawn through a window that slides" },
	{ "steps", 0, AT(VQ_O_INT, steps), "N", 1, 1e6, .also = steps_also,
	    .doc = "of a masked prior: after which all tokens are drawn" },
	{ "choice-temperature", 0, AT(VQ_O_REAL, choice_temperature), "T", 0, 1e6, .also = choice_also,
	    .doc = "of a masked prior: noise on which tokens stay; 0: always the surest" },
	{ "seed", 's', AT(VQ_O_INT, seed), "N", 0, 9e15, .doc = "of the draws (default 1)" },
	{ "precision", 0, AT(VQ_O_ENUM, precision), "P", .choices = vq_precisions,
	    .doc = "of the products that give the logits: f32, bf16 (default: the stage's)" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e6,
	    .doc = "samples at once: changes the speed, not the samples (default: the stage's)" },
	{ "out", 'o', AT(VQ_O_STRING, out), "FILE", .doc = "where the pictures go: .png, a grid, or .npy" },
	{ "labels", 0, AT(VQ_O_STRING, labels), "FILE", .doc = "where the class of each sample goes, npy" },
	{ "codes", 0, AT(VQ_O_STRING, codes), "FILE", .doc = "where the drawn codes go, npy, i32[n, length], row by row" },
	{ "complete", 0, AT(VQ_O_STRING, complete), "SOURCE:SPLIT", .also = complete_also,
	    .doc = "pictures whose upper part is kept and the rest drawn" },
	{ "keep", 0, AT(VQ_O_REAL, keep), "PART", 0, 1, .doc = "how much of them is kept (default 0.5)" },
	{ "checkpoint", 0, AT(VQ_O_STRING, checkpoint), "CKPT", .doc = "in place of the run's best, or last" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME", .doc = "the stage (default: the first with do: sample)" },
	{ 0 }
};
static const struct vq_sample_options defaults = { .seed = 1, .keep = 0.5 };
static const char *const examples[] = {
	"vqgraph sample runs/prior_mnist -n 64 --class 7 --temperature 0.9 --top-k 100 --out seven.png",
	    "sixty-four sevens",
	"vqgraph sample runs/prior_mnist -n 1000 --out x.npy --labels y.npy", "for a script",
	"vqgraph sample runs/prior_mnist --complete mnist:test --keep 0.5 --out completed.png",
	    "originals, their upper halves, and what they became",
	"vqgraph sample runs/vqgan_cifar10 --grid 12x16 --out large.png", "pictures larger than those that it was trained on",
	NULL
};
static const char *const also[] = { "generate", "draw", "synthesize", "inference", NULL };
extern const struct vq_command vq_command_sample;
const struct vq_command vq_command_sample = {
	.name = "sample",
	.args = "RUN [path=value ...]",
	.doc = "draws pictures from a trained prior",
	.about = "What is not given on the command line is as in the run's stage with do: sample. The same seed gives "
	    "the same samples at any batch size and any number of threads. With --json tokens per second are "
	    "printed, decoding left out. To complete pictures, their lower part is first painted over with the last row that is "
	    "given, then they are encoded by the graph of the run's stage with do: encode.",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS | VQ_C_JSON,
	.opts = opts,
	.defaults = &defaults,
	.size = sizeof(struct vq_sample_options),
	.also = also,
	.run = run,
};
