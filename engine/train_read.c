/*
 * train_read -- the keys of a training stage, and the graphs it needs
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/stage.h"
#include "engine/suggest.h"

struct keys {
	const char *graph;
	int64_t epochs, steps, log_every, keep_every, seed;
	double average;
	int precision;
};

static const char *const precisions[] = { "f32", "bf16", NULL };

static const struct vq_param train_params[] = {
	VQ_STRING(struct keys, graph, NULL, "the graph to train"),
	VQ_INT(struct keys, epochs, "0", 0, 1e9, "passes over the data"),
	VQ_INT(struct keys, steps, "0", 0, 1e15, "steps, in place of epochs"),
	VQ_INT(struct keys, log_every, "50", 1, 1e9, "steps between rows of metrics.jsonl"),
	VQ_INT(struct keys, keep_every, "0", 0, 1e12, "steps between checkpoints that are kept"),
	VQ_REAL(struct keys, average, "0", 0, 0.999999, "decay of the moving average of the weights"),
	VQ_ENUM(struct keys, precision, "f32", precisions, "of the operands of matrix products and convolutions in a training step"),
	VQ_INT(struct keys, seed, "1", 0, 9e15, "of everything random"),
	VQ_PARAMS_END
};
static const char *const train_others[] = { "do", "updates", "data", "validate", "report", "codes", "show",
	"stop", NULL };

/* --- lists and maps of names --------------------------------------------- */

static const char *
key_text(const struct vq_tree *list, int i)
{
	return list->item[i].key ? list->item[i].key->text : "";
}

int
vq_names_read(const struct vq_model *m, const struct vq_tree *t, const char **out, int max, struct vq_diags *d)
{
	int n = 0;

	if (t->kind == VQ_TREE_SCALAR) {
		out[0] = vq_model_text(m, t, d);
		return out[0] ? 1 : -1;
	}
	if (t->kind != VQ_TREE_LIST || t->count > max) {
		vq_error(d, VQ_CONFIG, &t->at, "a list of at most %d names is wanted here", max);
		return -1;
	}
	for (int i = 0; i < t->count; i++) {
		if (t->item[i].value->kind != VQ_TREE_SCALAR) {
			vq_error(d, VQ_CONFIG, &t->item[i].value->at, "a name is wanted here");
			return -1;
		}
		if ((out[n++] = vq_model_text(m, t->item[i].value, d)) == NULL)
			return -1;
	}
	return n;
}

/* --- data, reports ------------------------------------------------------- */

/* `data: {stage: codes}`: the arrays of a stage of do: encode that stands before. */
static int
read_data_stage(const struct vq_model *m, const struct vq_tree *tree, struct vq_data_spec *spec, struct vq_diags *d)
{
	const struct vq_tree *t = vq_tree_get(tree, "stage");
	const char *name = vq_model_text(m, t, d);
	struct vq_encode e;
	int i = 0;

	if (name == NULL)
		return -1;
	if (spec->source[0] != '\0') {
		vq_error(d, VQ_CONFIG, &t->at, "data: either source or stage, not both");
		return -1;
	}
	while (i < vq_model_stages(m) && strcmp(vq_model_stage_name(m, i), name) != 0)
		i++;
	const struct vq_tree *what = i < vq_model_stages(m) ? vq_tree_get(vq_model_stage(m, i), "do") : NULL;
	if (what == NULL || what->kind != VQ_TREE_SCALAR || strcmp(what->text, "encode") != 0) {
		vq_note(vq_error(d, VQ_CONFIG, &t->at, "there is no stage '%s' that encodes", name), NULL,
		    "data of a stage is what a stage of `do: encode` has made");
		return -1;
	}
	if (tree->at.line < vq_model_stage(m, i)->at.line && tree->at.source == vq_model_stage(m, i)->at.source) {
		vq_error(d, VQ_CONFIG, &t->at, "stage %s comes only later", name);
		return -1;
	}
	spec->stage = spec->source = name;
	if (vq_encode_read(m, i, &e, d) < 0)
		return -1;
	for (int k = 0; k < e.splits; k++)
		if (strcmp(e.split[k], spec->split) == 0)
			return 0;
	vq_help(vq_error(d, VQ_CONFIG, &t->at, "stage %s does not encode the split %s", name, spec->split),
	    "add it there, as in splits: [train, test]");
	return -1;
}

int
vq_data_read(const struct vq_model *m, const struct vq_tree *tree, struct vq_data_spec *spec, struct vq_diags *d)
{
	static const char *const others[] = { "range", "stage", NULL };
	const struct vq_tree *range, *source = vq_tree_get(tree, "source");
	int error;

	vq_params_default(vq_data_params, spec);
	spec->at = source ? &source->at : &tree->at;
	spec->lo = 0;
	spec->hi = 1;
	spec->base = vq_model_place(m);
	spec->stage = NULL;
	error = vq_model_read_params(m, tree, "data", vq_data_params, spec, others, d);
	if (error == 0 && vq_tree_get(tree, "stage"))
		error = read_data_stage(m, tree, spec, d);
	else if (error == 0 && spec->source[0] == '\0')
		error = (vq_help(vq_error(d, VQ_CONFIG, &tree->at, "data needs source"), "source: %s",
		    vq_data_params[0].doc), -1);
	range = tree->kind == VQ_TREE_MAP ? vq_tree_get(tree, "range") : NULL;
	if (range == NULL)
		return error;
	return vq_model_range(m, range, &spec->lo, &spec->hi, d) < 0 ? -1 : error;
}

int
vq_data_plain(const struct vq_tree *tree, const struct vq_data_spec *spec, struct vq_diags *d)
{
	const char *key = spec->crop > 0 ? "crop" : spec->flip ? "flip" : NULL;
	const struct vq_tree *at = key ? vq_tree_get(tree, key) : NULL;

	if (key == NULL)
		return 0;
	vq_help(vq_error(d, VQ_CONFIG, at ? &at->at : &tree->at, "%s changes pictures at random, for training; this data is "
	    "only looked at", key), "leave %s out here", key);
	return -1;
}

static int
read_codes(const struct vq_model *m, const struct vq_tree *t, struct vq_train *out, struct vq_diags *d)
{
	if (t->kind != VQ_TREE_MAP || t->count > VQ_MAX_CODES) {
		vq_error(d, VQ_CONFIG, &t->at, "codes wants values and their number of codes, as in {vq.code: 512}");
		return -1;
	}
	for (int i = 0; i < t->count; i++) {
		double size;
		if (vq_model_number(m, t->item[i].value, &size, d) < 0)
			return -1;
		if (size < 1 || size > 1e8 || size != (double)(int64_t)size) {
			vq_error(d, VQ_CONFIG, &t->item[i].value->at, "%s must be a whole number of codes from 1 to 100000000, is %.10g",
			    t->item[i].key->text, size);
			return -1;
		}
		out->codes[out->ncodes++] = (struct vq_codes){ key_text(t, i), (int64_t)size };
	}
	return 0;
}

static int
read_stop(const struct vq_model *m, const struct vq_tree *t, struct vq_train *out, struct vq_diags *d)
{
	struct stop { const char *metric; int64_t patience; } s = { 0 };
	static const struct vq_param params[] = {
		VQ_STRING(struct stop, metric, NULL, "the validation metric that must go on falling"),
		VQ_INT(struct stop, patience, "5", 1, 1e6, "validations without improvement that are waited for"),
		VQ_PARAMS_END
	};

	vq_params_default(params, &s);
	if (vq_model_read_params(m, t, "stop", params, &s, NULL, d) < 0)
		return -1;
	if (out->validate.source == NULL) {
		vq_help(vq_error(d, VQ_CONFIG, &t->at, "stop watches a metric of validation, and there is no `validate`"),
		    "add one, as in validate: {data: {source: mnist, split: test}}");
		return -1;
	}
	out->stop_metric = s.metric;
	out->stop_at = t->at;
	out->stop_patience = s.patience;
	return 0;
}

/* The stage must be one that draws samples. */
static int
check_samples(const struct vq_model *m, const struct vq_tree *at, const char *name, struct vq_diags *d)
{
	const struct vq_tree *what = NULL;
	bool there = false;

	for (int i = 0; i < vq_model_stages(m); i++)
		if (strcmp(vq_model_stage_name(m, i), name) == 0) {
			there = true;
			what = vq_tree_get(vq_model_stage(m, i), "do");
		}
	if (what && what->kind == VQ_TREE_SCALAR && strcmp(what->text, "sample") == 0)
		return 0;
	vq_help(vq_error(d, VQ_CONFIG, &at->at, there ? "samples: stage '%s' does not draw samples" :
	    "samples: there is no stage '%s'", name), "it names a stage with do: sample");
	return -1;
}

static int
read_show(const struct vq_model *m, const struct vq_tree *t, struct vq_train *out, struct vq_diags *d)
{
	static const struct vq_param none[] = { VQ_PARAMS_END };
	const char *keys[VQ_MAX_SHOWN + 1] = { NULL }, *value[VQ_MAX_SHOWN];

	for (int k = 0; vq_show_kinds[k].name; k++)
		keys[k] = vq_show_kinds[k].name;
	if (vq_model_read_params(m, t, "show", none, out, keys, d) < 0)
		return -1;
	for (int i = 0; i < t->count; i++) {
		const struct vq_tree *names = t->item[i].value;
		const struct vq_show_kind *kind = vq_show_kinds;
		int n = vq_names_read(m, names, value, VQ_MAX_SHOWN - out->shows, d);

		while (strcmp(kind->name, key_text(t, i)) != 0)
			kind++;
		if (n < 0)
			return -1;
		for (int k = 0; k < n; k++) {
			if (kind->check == NULL && check_samples(m, names, value[k], d) < 0)
				return -1;
			out->show[out->shows++] = (struct vq_show){ kind, value[k], names->at };
		}
	}
	return 0;
}

static int
read_validate(const struct vq_model *m, const struct vq_tree *t, struct vq_train *out, struct vq_diags *d)
{
	static const struct vq_param none[] = { VQ_PARAMS_END };
	static const char *const others[] = { "data", "report", NULL };
	const struct vq_tree *data, *report;

	if (vq_model_read_params(m, t, "validate", none, out, others, d) < 0)
		return -1;
	if ((data = vq_tree_get(t, "data")) == NULL) {
		vq_error(d, VQ_CONFIG, &t->at, "validate needs data");
		return -1;
	}
	if (vq_data_read(m, data, &out->validate, d) < 0 || vq_data_plain(data, &out->validate, d) < 0)
		return -1;
	if (vq_tree_get(data, "batch") == NULL)
		out->validate.batch = out->data.batch;
	if (vq_tree_get(data, "range") == NULL) {
		out->validate.lo = out->data.lo;
		out->validate.hi = out->data.hi;
	}
	report = vq_tree_get(t, "report");
	if (report && out->reports == 0)
		out->reports = vq_names_read(m, report, out->report, VQ_MAX_REPORTS, d);
	return out->reports < 0 ? -1 : 0;
}

int
vq_reports_read(const struct vq_model *m, const struct vq_tree *stage, struct vq_train *t, struct vq_diags *d)
{
	const struct vq_tree *part;

	if ((part = vq_tree_get(stage, "report")) != NULL &&
	    (t->reports = vq_names_read(m, part, t->report, VQ_MAX_REPORTS, d)) < 0)
		return -1;
	if ((part = vq_tree_get(stage, "codes")) != NULL)
		return read_codes(m, part, t, d);
	return 0;
}

int
vq_train_read(const struct vq_model *m, int i, struct vq_train *t, struct vq_diags *d)
{
	const struct vq_tree *stage = vq_model_stage(m, i), *part;
	struct keys k = { 0 };
	int error;

	*t = (struct vq_train){ .name = vq_model_stage_name(m, i), .at = stage->at };
	vq_params_default(train_params, &k);
	error = vq_model_read_params(m, stage, "a training stage", train_params, &k, train_others, d);
	t->graph = k.graph;
	t->epochs = k.epochs;
	t->steps = k.steps;
	t->log_every = k.log_every;
	t->keep_every = k.keep_every;
	t->average = k.average;
	t->seed = k.seed;
	t->bf16 = k.precision == 1;
	if (error == 0 && (k.epochs > 0) == (k.steps > 0)) {
		vq_error(d, VQ_CONFIG, &stage->at, "say how long to train: either epochs or steps");
		error = -1;
	}
	error |= vq_updates_read(m, stage, t, d);
	if ((part = vq_tree_get(stage, "data")) != NULL) {
		error |= vq_data_read(m, part, &t->data, d);
	} else {
		vq_error(d, VQ_CONFIG, &stage->at, "a training stage needs data");
		error = -1;
	}
	error |= vq_reports_read(m, stage, t, d);
	if ((part = vq_tree_get(stage, "validate")) != NULL)
		error |= read_validate(m, part, t, d);
	if ((part = vq_tree_get(stage, "show")) != NULL)
		error |= read_show(m, part, t, d);
	if ((part = vq_tree_get(stage, "stop")) != NULL)
		error |= read_stop(m, part, t, d);
	return error ? -1 : 0;
}

void
vq_train_free(struct vq_train *t)
{
	for (int k = 0; k < t->updates; k++) {
		free(t->update[k].train);
		free(t->update[k].no_decay);
		free(t->update[k].report);
	}
	t->updates = 0;
}

int
vq_stage_find(const struct vq_model *m, const char *name, struct vq_diags *d)
{
	struct vq_text all = { 0 };

	for (int i = 0; i < vq_model_stages(m); i++)
		if (strcmp(vq_model_stage_name(m, i), name) == 0)
			return i;
	for (int i = 0; i < vq_model_stages(m); i++)
		vq_text_add(&all, "%s%s", i ? ", " : "", vq_model_stage_name(m, i));
	vq_error(d, VQ_CONFIG, NULL, "%s has no stage '%s'; it has %s", vq_model_path(m), name,
	    all.s ? all.s : "none");
	vq_text_free(&all);
	return VQ_NONE;
}
