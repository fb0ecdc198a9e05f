/*
 * evaluate -- `vqgraph evaluate`: what a finished run makes of a data set
 *
 * One stage of the run (its evaluation, or the validation of its training) over data
 * that is named on the command line: means, counts, values of each sample, and how far
 * the set is from another one in a layer of the network.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/sample.h"
#include "tools/evaluate.h"

/* A batch size that no other axis has, to tell which values go by sample. */
enum { PROBE = 61 };

/* --- which stage ------------------------------------------------------------ */

static int
last_of(struct vq_evaluate_task *k, const struct vq_model *m, int kind)
{
	int found = VQ_NONE;

	for (int i = 0; i < vq_model_stages(m); i++)
		if (vq_stage_kind(m, i, &k->c->d) == kind)
			found = i;
	return found;
}

/* Reads stage i as one that evaluates; its data stands in t.validate. */
static int
read_stage(struct vq_evaluate_task *k, const struct vq_model *m, int i)
{
	int kind = vq_stage_kind(m, i, &k->c->d);

	if (kind == VQ_STAGE_EVALUATE)
		return vq_evaluate_read(m, i, &k->t, &k->c->d);
	if (kind == VQ_STAGE_TRAIN) {
		if (vq_train_read(m, i, &k->t, &k->c->d) < 0)
			return -1;
		if (k->t.validate.source == NULL)
			k->t.validate = k->t.data;
		return 0;
	}
	if (kind >= 0)
		vq_help(vq_usage_error(k->c, "stage %s neither trains nor evaluates", vq_model_stage_name(m, i)),
		    "--stage wants one with `do: train` or `do: evaluate`");
	return -1;
}

/* Keeps what a validation reports and nothing of what belongs to training. */
static void
without_training(struct vq_train *t)
{
	for (int i = 0; i < t->updates; i++) {
		const struct vq_update *u = &t->update[i];
		const char *loss = u->losses ? u->loss[0].name : u->minimize;
		bool there = t->reports == 0;		/* all of `out` then */

		if (u->from.step > 0 || u->from.share > 0)	/* nor does validation tell it */
			continue;

		for (int k = 0; k < t->reports; k++)
			there |= strcmp(t->report[k], loss) == 0;
		if (!there && t->reports < VQ_MAX_REPORTS)
			t->report[t->reports++] = loss;
	}
	vq_train_free(t);		/* of its updates */
	t->shows = 0;
	t->stop_metric = NULL;
}

/* Whether a name that the model does not have asks for what a masked prior cannot have. */
static bool
asks_likelihood(struct vq_evaluate_task *k, const struct vq_model *m, const char *name)
{
	static const char *const names[] = { "likelihood", "log_likelihood", "nll", "bits_per_dim", "bpd" };
	const char *stage = vq_sample_masked(m);

	for (size_t i = 0; stage && i < VQ_COUNT(names); i++)
		if (strcmp(name, names[i]) == 0) {
			vq_help(vq_usage_error(k->c, "there is no %s: stage %s draws masked tokens, and a masked prior has no likelihood "
			    "by the chain rule", name, stage), "the loss of its training is that of codes behind random masks");
			return true;
		}
	return false;
}

static bool
has_stage(const struct vq_model *m, const char *name)
{
	for (int i = 0; i < vq_model_stages(m); i++)
		if (strcmp(vq_model_stage_name(m, i), name) == 0)
			return true;
	return false;
}

static int
find_stage(struct vq_evaluate_task *k, const struct vq_model *m)
{
	int i;

	if (k->o->stage && !has_stage(m, k->o->stage) && asks_likelihood(k, m, k->o->stage))
		return -1;
	if (k->o->stage) {
		i = vq_stage_find(m, k->o->stage, &k->c->d);
		if (i == VQ_NONE)
			return -1;
	} else if ((i = last_of(k, m, VQ_STAGE_EVALUATE)) == VQ_NONE) {
		i = last_of(k, m, VQ_STAGE_TRAIN);
	}
	if (i == VQ_NONE) {
		vq_usage_error(k->c, "%s has no stage that trains or evaluates", vq_model_path(m));
		return -1;
	}
	if (read_stage(k, m, i) < 0)
		return -1;
	without_training(&k->t);
	if (k->o->graph == NULL)
		return 0;
	k->t.graph = vq_tool_graph(k->c, m, k->o->graph);
	k->t.reports = k->t.ncodes = 0;
	return k->t.graph ? 0 : -1;
}

/* --- what is asked for ------------------------------------------------------- */

int
vq_evaluate_split(struct vq_cli *c, const char *text, const char **name, const char **path)
{
	const char *eq = strchr(text, '=');

	if (eq == NULL || eq == text || eq[1] == '\0') {
		vq_help(vq_usage_error(c, "--values wants NAME=FILE, not '%s'", text), "as in --values loss=loss.npy");
		return -1;
	}
	*name = vq_arena_strndup(&c->arena, text, (size_t)(eq - text));
	*path = eq + 1;
	return 0;
}

/* The place of a value among those that are kept; -1 when there are too many. */
static int
keep(struct vq_evaluate_task *k, const char *name)
{
	struct vq_train *t = &k->t;

	for (int i = 0; i < t->keeps; i++)
		if (strcmp(t->keep[i], name) == 0)
			return i;
	if (t->keeps == VQ_MAX_KEEP) {
		vq_usage_error(k->c, "at most %d values can be looked at one by one", VQ_MAX_KEEP);
		return -1;
	}
	t->keep[t->keeps] = name;
	return t->keeps++;
}

const struct vq_view *
vq_evaluate_kept(const struct vq_evaluate_task *k, const struct vq_side *s, const char *name)
{
	for (int i = 0; i < k->t.keeps; i++)
		if (strcmp(k->t.keep[i], name) == 0)
			return &s->e.kept[i];
	return NULL;
}

/* `--report a,b --report c` */
static int
read_reports(struct vq_evaluate_task *k)
{
	struct vq_train *t = &k->t;

	if (k->o->report.count)
		t->reports = 0;
	for (int i = 0; i < k->o->report.count; i++)
		for (const char *s = k->o->report.s[i]; *s; s += *s == ',') {
			size_t n = strcspn(s, ",");

			if (t->reports == VQ_MAX_REPORTS) {
				vq_usage_error(k->c, "--report takes at most %d names", VQ_MAX_REPORTS);
				return -1;
			}
			if (n)
				t->report[t->reports++] = vq_arena_strndup(&k->c->arena, s, n);
			s += n;
		}
	return 0;
}

/* The value must be there, and hold something for each sample. */
static int
keep_value(struct vq_evaluate_task *k, const struct vq_graph *g, const char *name, const char *option)
{
	vq_id v = vq_tool_value(k->c, g, name, option);
	char type[VQ_TYPE_STR];

	if (v == VQ_NONE)
		return -1;
	const struct vq_shape *s = &vq_type_at(g, v)->shape;
	if (s->rank > 0 && s->dim[0] == PROBE)
		return keep(k, name);
	vq_usage_error(k->c, "%s %s: is %s for a batch of %d, so it holds none for each sample", option, name,
	    vq_type_str(vq_type_at(g, v), type), PROBE);
	return -1;
}

/* Every name must be a value of the graph, told as of the command line. */
static int
check_names(struct vq_evaluate_task *k)
{
	const struct vq_evaluate_options *o = k->o;
	struct vq_size size[VQ_MAX_SIZES];
	int n = vq_tool_sizes(k->c, k->r.model, k->t.graph, PROBE, NULL, size);
	struct vq_graph *g = n < 0 ? NULL : vq_model_expand(k->r.model, k->t.graph, false, size, n, &k->c->d);
	bool ok = g != NULL;

	for (int i = 0; ok && o->report.count && i < k->t.reports; i++)
		ok = (vq_graph_find_output(g, k->t.report[i]) != VQ_NONE || !asks_likelihood(k, k->r.model, k->t.report[i])) &&
		    vq_tool_value(k->c, g, k->t.report[i], "--report") != VQ_NONE;
	for (int i = 0; ok && i < o->count.count; i++)
		ok = keep_value(k, g, o->count.s[i], "--count") >= 0;
	for (int i = 0; ok && i < o->values.count; i++) {
		const char *name, *path;
		ok = vq_evaluate_split(k->c, o->values.s[i], &name, &path) == 0 && keep_value(k, g, name, "--values") >= 0;
	}
	if (ok && o->features)
		ok = keep_value(k, g, o->features, "--features") >= 0;
	vq_graph_free(g);
	return ok ? 0 : -1;
}

/* --- a pass over a set -------------------------------------------------------- */

static int32_t *
labels_of(const struct vq_dataset *data)
{
	int f = vq_dataset_field(data, "label");
	uint32_t *index;
	int32_t *label;

	if (f < 0 || data->field[f].type.dtype != VQ_I32 || data->field[f].type.shape.rank != 0)
		return NULL;
	index = vq_alloc_array((size_t)data->count, sizeof(*index));
	label = vq_alloc_array((size_t)data->count, sizeof(*label));
	for (int64_t i = 0; i < data->count; i++)
		index[i] = (uint32_t)i;
	data->kind->gather(data, f, index, data->count, label);
	free(index);
	return label;
}

static int
run_side(struct vq_evaluate_task *k, struct vq_side *s, const struct vq_train *t, bool lenient)
{
	s->e = (struct vq_evaluation){ .r = &k->r, .t = t, .weights = k->weights, .lenient = lenient };
	if ((s->e.data = vq_dataset_open(&t->validate, &k->c->d)) == NULL)
		return -1;
	if (s->e.data->note)
		vq_notice(k->c, "%s", s->e.data->note);
	if (s->text == NULL)
		s->text = vq_arena_printf(&k->c->arena, "%s:%s", s->e.data->name, s->e.data->split);
	s->label = labels_of(s->e.data);
	return vq_evaluate(&s->e, &k->c->d);
}

static int
run_data(struct vq_evaluate_task *k)
{
	struct vq_data_spec *spec = &k->t.validate;

	if (k->o->data) {
		vq_tool_source(k->c, k->o->data, spec);
		spec->labels = k->o->labels;
	} else if (spec->stage) {		/* what another stage of the run left in its folder */
		k->data.text = vq_arena_printf(&k->c->arena, "%s:%s", spec->stage, spec->split);
		spec->source = vq_arena_printf(&k->c->arena, "%s/%s/", k->c->arg[0], spec->stage);
		spec->base = NULL;
	}
	if (k->o->n)
		spec->limit = k->o->n;
	if (k->o->batch)
		spec->batch = k->o->batch;
	spec->shuffle = false;
	if (k->o->data)
		k->data.text = k->o->data;
	if (run_side(k, &k->data, &k->t, k->o->report.count == 0) < 0)
		return -1;
	for (int i = 0; i < k->data.e.left; i++)
		vq_notice(k->c, "%s is left out: %s has no %s", k->data.e.left_out[i], k->data.text, k->data.e.lacks);
	return 0;
}

/* The other set: its features alone. */
static int
run_against(struct vq_evaluate_task *k)
{
	struct vq_train t = k->t;

	t.reports = -1;
	t.ncodes = 0;
	t.keeps = 1;
	t.keep[0] = k->o->features;
	vq_tool_source(k->c, k->o->against, &t.validate);
	k->against.text = k->o->against;
	int error = run_side(k, &k->against, &t, false);
	k->against.e.t = NULL;		/* ends with this function */
	return error;
}

/* --- the command ------------------------------------------------------------------ */

static void
evaluate(struct vq_evaluate_task *k)
{
	const struct vq_model *m = vq_tool_model(k->c);

	if (m == NULL || (k->weights = vq_tool_checkpoint(k->c, k->o->checkpoint)) == NULL || find_stage(k, m) < 0)
		return;
	k->r = (struct vq_stage_run){ .o = &k->run, .model = m, .vars = &k->vars, .seed = 1 };
	if (read_reports(k) < 0 || check_names(k) < 0 ||
	    vq_checkpoint_load(k->weights, &k->vars, VQ_LOAD_ALL, NULL, &k->c->d) < 0)
		return;
	if (run_data(k) == 0 && (!k->o->against || run_against(k) == 0))
		vq_evaluate_tell(k);
}

static void
close_side(struct vq_side *s)
{
	vq_evaluation_free(&s->e);
	vq_dataset_close(s->e.data);
	free(s->label);
}

static int
run(struct vq_cli *c, void *options)
{
	const struct vq_evaluate_options *o = options;
	struct vq_evaluate_task k = { .c = c, .o = o, .run = { .threads = (int)c->threads } };

	if (o->labels && !o->data)
		vq_help(vq_usage_error(c, "--labels wants --data FILE.npy"), "the pictures that they are the labels of");
	else if (o->against && !o->features)
		vq_help(vq_usage_error(c, "--against wants --features NAME"),
		    "the value of the graph in which the distance is taken");
	else
		evaluate(&k);
	close_side(&k.data);
	close_side(&k.against);
	vq_train_free(&k.t);
	vq_vars_free(&k.vars);
	return (int)vq_diags_status(&c->d);
}

static const char *const features_also[] = { "feature", "embedding", NULL };
static const char *const against_also[] = { "reference", "real", "fid", NULL };
static const char *const labels_also[] = { "label", "classes", "targets", NULL };
static const char *const count_also[] = { "histogram", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct vq_evaluate_options, field)
static const struct vq_opt opts[] = {
	{ "data", 'd', AT(VQ_O_STRING, data), "SOURCE:SPLIT",
	    .doc = "what to evaluate on, as in mnist:test or x.npy (default: the stage's)" },
	{ "labels", 0, AT(VQ_O_STRING, labels), "FILE", .also = labels_also,
	    .doc = "the labels of --data FILE.npy (default: FILE.label.npy beside it, where there is one)" },
	{ "num", 'n', AT(VQ_O_INT, n), "N", 1, 4e9, .doc = "only the first N samples" },
	{ "report", 0, AT(VQ_O_LIST, report), "NAME,...", .doc = "values to tell the means of (default: the stage's)" },
	{ "values", 0, AT(VQ_O_LIST, values), "NAME=FILE", .doc = "writes a value of every sample to FILE, npy" },
	{ "count", 0, AT(VQ_O_LIST, count), "NAME", .also = count_also,
	    .doc = "counts the integers of a value, beside the labels if it is one for each sample" },
	{ "features", 0, AT(VQ_O_STRING, features), "NAME", .also = features_also,
	    .doc = "tells how spread out the samples are in this value" },
	{ "against", 0, AT(VQ_O_STRING, against), "SOURCE:SPLIT", .also = against_also,
	    .doc = "tells the Frechet distance to another set, in --features" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "the stage to run (default: the last that evaluates, or else trains)" },
	{ "graph", 0, AT(VQ_O_STRING, graph), "NAME", .doc = "another graph than the stage's" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e6, .doc = "samples at once (default: the stage's)" },
	{ "checkpoint", 0, AT(VQ_O_STRING, checkpoint), "CKPT", .doc = "in place of the run's best, or last" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph evaluate runs/vqvae_mnist --data mnist:test", "the values that its training reports",
	"vqgraph evaluate runs/classifier_fashion --data fashion_mnist:test --count guess", "and each class's guesses",
	"vqgraph evaluate runs/classifier_fashion --data fashion_mnist:train -n 1000 --features features "
	    "--against fashion_mnist:test", "the Frechet distance between two sets",
	NULL
};
static const char *const also[] = { "validate", "test", "score", "fid", "likelihood", NULL };
extern const struct vq_command vq_command_evaluate;
const struct vq_command vq_command_evaluate = {
	.name = "evaluate",
	.args = "RUN",
	.doc = "tells what a trained model makes of a dataset",
	.about = "Runs the run's `do: evaluate` stage, or the validation of its training stage, with the "
	    "checkpoint's weights. The Frechet distance (Heusel et al. 2017) is that of two Gaussians, a squared "
	    "one; spread is the root of the mean squared distance between two samples, of the same class where "
	    "there are labels.",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_THREADS | VQ_C_JSON,
	.opts = opts,
	.size = sizeof(struct vq_evaluate_options),
	.also = also,
	.run = run,
};
