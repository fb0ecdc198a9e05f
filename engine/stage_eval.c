/*
 * stage_eval -- the stages without training: encode and evaluate
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/train_private.h"

struct keys {
	const char *graph, *value, *file;
};

/* Both stages read a graph and data; what is evaluated comes as a struct vq_train
 * whose validation is that data. */
static int
read_stage(const struct vq_stage_run *r, int stage, const struct vq_param *params, struct keys *k,
    struct vq_train *t, struct vq_diags *d)
{
	static const char *const others[] = { "do", "data", "report", "codes", NULL };
	const struct vq_tree *tree = vq_model_stage(r->model, stage), *data;

	*t = (struct vq_train){ .name = vq_model_stage_name(r->model, stage), .at = tree->at };
	vq_params_default(params, k);
	if (vq_model_read_params(r->model, tree, "this stage", params, k, others, d) < 0)
		return -1;
	t->graph = k->graph;
	if ((data = vq_tree_get(tree, "data")) == NULL) {
		vq_error(d, VQ_CONFIG, &tree->at, "stage %s needs data", t->name);
		return -1;
	}
	if (vq_data_read(r->model, data, &t->validate, d) < 0 || vq_data_plain(data, &t->validate, d) < 0)
		return -1;
	t->data = t->validate;
	return vq_reports_read(r->model, tree, t, d);
}

static int
open_stage(struct vq_trainer *s)
{
	if ((s->val = vq_dataset_open(&s->t->validate, s->d)) == NULL || vq_trainer_open_eval(s) < 0)
		return -1;
	s->metrics = vq_train_metrics(s->eval->graph, s->t, s->metric);
	vq_sums_names(s);
	return 0;
}

static void
close_stage(struct vq_trainer *s)
{
	vq_plan_free(s->eval);
	vq_plan_free(s->eval_rest);
	vq_dataset_close(s->val);
	free(s->memory);
}

static const struct vq_param evaluate_params[] = {
	VQ_STRING(struct keys, graph, NULL, "the graph to evaluate"), VQ_PARAMS_END
};

int
vq_evaluate_read(const struct vq_model *m, int i, struct vq_train *t, struct vq_diags *d)
{
	struct vq_stage_run r = { .model = m };
	struct keys k = { 0 };

	return read_stage(&r, i, evaluate_params, &k, t, d);
}

int
vq_evaluate_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	struct vq_text text = { 0 };
	struct vq_train t;
	struct vq_evaluation e = { .r = r, .t = &t };

	if (vq_evaluate_read(r->model, stage, &t, d) < 0 || (e.data = vq_dataset_open(&t.validate, d)) == NULL)
		return (int)vq_diags_status(d);
	if (vq_evaluate(&e, d) == 0) {
		for (int i = 0; i < e.n; i++)
			vq_text_add(&text, "  %s %.5g", e.name[i], e.value[i]);
		vq_run_say(r->run, "stage %s: %lld samples%s", t.name, (long long)e.data->count, text.s ? text.s : "");
		vq_run_metrics(r->run, &(struct vq_metrics){ .stage = t.name, .split = "val", .samples_per_s = NAN,
		    .time_s = vq_now() - r->started, .lr = NAN, .n = e.n, .name = e.name, .value = e.value }, d);
		vq_text_free(&text);
	}
	vq_evaluation_free(&e);
	vq_dataset_close(e.data);
	return (int)vq_diags_status(d);
}

/* --- encode -------------------------------------------------------------- */

/* The value for all samples, one after the other. */
static void *
encode_all(struct vq_trainer *s, const char *value, struct vq_type *all)
{
	int64_t batch = s->t->validate.batch < s->val->count ? s->t->validate.batch : s->val->count, n, done = 0;
	struct vq_loader *l = vq_loader_new(s->val, batch, false, true, s->r->seed);
	const void *field[VQ_MAX_FIELDS];
	struct vq_view v;

	vq_plan_output(s->eval, value, &v);
	*all = *v.type;
	all->shape.dim[0] = s->val->count;
	size_t each = vq_type_bytes(v.type) / (size_t)batch;
	char *data = vq_alloc_array((size_t)s->val->count, each);
	vq_loader_start(l, 0, 0);
	while ((n = vq_loader_next(l, field)) > 0 && !*s->r->signal) {
		struct vq_plan *p = n == batch ? s->eval : s->eval_rest;
		vq_trainer_bind(p, s->val, field);
		vq_plan_run(p, s->r->seed, 0);
		vq_plan_output(p, value, &v);
		memcpy(data + (size_t)done * each, v.data, (size_t)n * each);
		done += n;
	}
	vq_loader_free(l);
	return data;
}

int
vq_encode_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	static const struct vq_param params[] = {
		VQ_STRING(struct keys, graph, NULL, "the graph that encodes"),
		VQ_STRING(struct keys, value, NULL, "the value to keep: the codes"),
		VQ_STRING(struct keys, file, "codes.npy", "file in the run's folder"),
		VQ_PARAMS_END
	};
	struct vq_train t;
	struct keys k = { 0 };
	struct vq_trainer s = { .r = r, .t = &t, .d = d };
	struct vq_type type;

	if (read_stage(r, stage, params, &k, &t, d) < 0)
		return (int)vq_diags_status(d);
	if (strchr(k.file, '/') || k.file[0] == '.' || k.file[0] == '\0') {
		vq_error(d, VQ_CONFIG, &vq_model_stage(r->model, stage)->at,
		    "file: '%s' must be a plain name, it goes into the run's folder", k.file);
		return VQ_CONFIG;
	}
	t.keep[t.keeps++] = k.value;
	if (open_stage(&s) == 0) {
		void *data = encode_all(&s, k.value, &type);
		char *path = vq_run_path(r->run, "%s", k.file), buf[VQ_TYPE_STR];
		if (!*r->signal && vq_npy_write(path, &(struct vq_view){ data, &type }, d) == 0)
			vq_run_say(r->run, "stage %s: %s %s", t.name, path, vq_type_str(&type, buf));
		free(path);
		free(data);
	}
	close_stage(&s);
	return (int)vq_diags_status(d);
}
