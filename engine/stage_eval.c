/*
 * stage_eval -- the stage that only evaluates
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/train_private.h"

int
vq_evaluate_read(const struct vq_model *m, int i, struct vq_train *t, struct vq_diags *d)
{
	static const char *const others[] = { "do", "data", "report", "codes", NULL };
	static const struct vq_param params[] = {
		VQ_STRING(struct vq_train, graph, NULL, "the graph to evaluate"), VQ_PARAMS_END
	};
	const struct vq_tree *tree = vq_model_stage(m, i), *data;

	*t = (struct vq_train){ .name = vq_model_stage_name(m, i), .at = tree->at };
	if (vq_model_read_params(m, tree, "this stage", params, t, others, d) < 0)
		return -1;
	if ((data = vq_tree_get(tree, "data")) == NULL) {
		vq_error(d, VQ_CONFIG, &tree->at, "stage %s needs data", t->name);
		return -1;
	}
	if (vq_data_read(m, data, &t->validate, d) < 0 || vq_data_plain(data, &t->validate, d) < 0)
		return -1;
	t->data = t->validate;
	return vq_reports_read(m, tree, t, d);
}

int
vq_evaluate_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	struct vq_text text = { 0 };
	struct vq_train t;
	struct vq_evaluation e = { .r = r, .t = &t };

	if (vq_evaluate_read(r->model, stage, &t, d) < 0)
		return (int)vq_diags_status(d);
	vq_data_locate(r, &t.validate);
	if ((e.data = vq_dataset_open(&t.validate, d)) == NULL)
		return (int)vq_diags_status(d);
	if (e.data->note)
		vq_run_say(r->run, "%s", e.data->note);
	if (vq_evaluate(&e, d) == 0) {
		for (int i = 0; i < e.n; i++)
			vq_text_add(&text, "  %s %.5g", e.name[i], e.value[i]);
		vq_run_say(r->run, "stage %s: %lld samples%s", t.name, (long long)e.data->count, text.s ? text.s : "");
		vq_run_metrics(r->run, &(struct vq_metrics){ .stage = t.name, .split = "val", .samples_per_s = NAN,
		    .time_s = vq_now() - r->started, .lr = NAN, .data_wait = NAN, .n = e.n, .name = e.name, .value = e.value }, d);
		vq_text_free(&text);
	}
	vq_evaluation_free(&e);
	vq_dataset_close(e.data);
	return (int)vq_diags_status(d);
}
