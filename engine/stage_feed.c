/*
 * stage_feed -- what later stages are given, judged as soon as it is known
 *
 * The types of what an encoding stage makes follow from its graph: a stage that reads them is judged with the file. How
 * many samples there are, of how many classes, is known when the first stage has read its data: what a stage hours
 * later could not do is told then.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"
#include "engine/stage.h"

/* --- types ----------------------------------------------------------------- */

/* A window of the one grid among the fields, as the data set of arrays takes it. */
static int
take_window(const struct vq_data_spec *spec, const struct vq_graph *of, const struct vq_encode *e, struct vq_type *type,
    struct vq_text *told, struct vq_diags *d)
{
	const struct vq_ints *size = &spec->window;
	int grid = -1, grids = 0;

	for (int k = 0; k < e->t.keeps; k++)
		if (type[k].shape.rank >= 2) {
			grid = k;
			grids++;
		}
	if (size->count == 0 || grids != 1)
		return 0;		/* reading the arrays says what is wrong with the latter */
	int64_t *dim = type[grid].shape.dim, h = size->v[0], w = size->v[size->count - 1];
	const char *name = vq_last_part(e->t.keep[grid]);
	if (h > dim[0] || w > dim[1]) {
		struct vq_diag *x = vq_error(d, VQ_CONFIG, spec->at, "data: a window of %lld x %lld is larger than the grid of %s of stage %s, "
		    "%lld x %lld", (long long)h, (long long)w, name, e->t.name, (long long)dim[0], (long long)dim[1]);
		vq_note(x, NULL, "graph %s makes that grid", of->name);
		return -1;
	}
	if (told && (h < dim[0] || w < dim[1]))
		vq_text_add(told, "windows of %lld x %lld of the %lld x %lld %s of stage %s", (long long)h, (long long)w,
		    (long long)dim[0], (long long)dim[1], name, e->t.name);
	dim[0] = h;
	dim[1] = w;
	return 0;
}

static int
check_input(const struct vq_value *in, const struct vq_encode *e, const char *graph, const struct vq_type *sample,
    struct vq_diags *d)
{
	char wants[VQ_TYPE_STR], gives[VQ_TYPE_STR];
	struct vq_type t = *sample;

	if (t.shape.rank == VQ_MAX_RANK || in->type.shape.rank == 0)
		return 0;
	memmove(t.shape.dim + 1, t.shape.dim, sizeof(*t.shape.dim) * (size_t)t.shape.rank);
	t.shape.dim[0] = in->type.shape.dim[0];
	t.shape.rank++;
	if (vq_type_equal(&t, &in->type))
		return 0;
	vq_note(vq_error(d, VQ_CONFIG, &in->where, "input '%s' is %s, but the data %s gives %s", in->name,
	    vq_type_str(&in->type, wants), e->t.name, vq_type_str(&t, gives)), NULL, "stage %s encodes it by graph %s", e->t.name, graph);
	return -1;
}

static int
check_inputs(const struct vq_graph *g, const struct vq_encode *e, const char *graph, const struct vq_type *sample,
    struct vq_diags *d)
{
	bool *needed = vq_graph_needed(g);
	int error = 0;

	for (vq_id v = 0; v < g->values; v++)
		for (int k = 0; k < e->t.keeps && g->value[v].kind == VQ_INPUT && needed[v]; k++)
			if (strcmp(vq_last_part(e->t.keep[k]), g->value[v].name) == 0)
				error |= check_input(&g->value[v], e, graph, &sample[k], d);
	free(needed);
	return error;
}

int
vq_stage_fed(const struct vq_model *m, const struct vq_graph *g, const struct vq_data_spec *spec, struct vq_text *told,
    struct vq_diags *d)
{
	struct vq_diags unheard = { 0 };	/* what is wrong with that stage is said of it */
	struct vq_encode e = { 0 };
	struct vq_type sample[VQ_MAX_KEEP];
	struct vq_graph *of = NULL;
	int i = spec->stage ? vq_stage_find(m, spec->stage, &unheard) : VQ_NONE, error = 0;

	if (i != VQ_NONE && vq_encode_read(m, i, &e, &unheard) == 0)
		of = vq_eval_graph(m, &e.t, 1, &unheard);
	for (int k = 0; of && k < e.t.keeps; k++) {
		const struct vq_type *t = vq_type_at(of, vq_graph_find_output(of, e.t.keep[k]));
		if (t->shape.rank == 0 || t->shape.dim[0] != 1) {	/* encoding says so */
			vq_graph_free(of);
			of = NULL;
			break;
		}
		sample[k] = *t;
		sample[k].shape.rank--;
		memmove(sample[k].shape.dim, t->shape.dim + 1, sizeof(*t->shape.dim) * (size_t)sample[k].shape.rank);
	}
	if (of)
		error = take_window(spec, of, &e, sample, told, d) < 0 || check_inputs(g, &e, of->name, sample, d) < 0;
	vq_graph_free(of);
	vq_diags_free(&unheard);
	return error ? -1 : 0;
}

/* --- samples, labels and classes --------------------------------------------- */

/* How many samples another reader of the same split has at most. */
static int64_t
count_for(const struct vq_data_spec *then, const struct vq_data_spec *now, int64_t count)
{
	bool all = now->limit == 0 || count < now->limit;
	int64_t n = all ? count + now->skip - then->skip : INT64_MAX;

	n = n < 0 ? 0 : n;
	return then->limit > 0 && then->limit < n ? then->limit : n;
}

static bool
reads_label(const struct vq_graph *g, struct vq_range *at)
{
	bool *needed = vq_graph_needed(g), found = false;

	for (vq_id v = 0; v < g->values && !found; v++)
		if (g->value[v].kind == VQ_INPUT && needed[v] && strcmp(g->value[v].name, "label") == 0) {
			*at = g->value[v].where;
			found = true;
		}
	free(needed);
	return found;
}

struct feeding {
	const struct vq_model *model;
	const struct vq_data_spec *now;		/* what was read */
	const struct vq_dataset *data;
	struct vq_text *told;
	struct vq_diags *d;
	bool labelled;				/* a later stage learns its classes */
};

/* A training stage over what e makes of the same data. */
static void
check_trained(struct feeding *f, const struct vq_train *t, const struct vq_encode *e)
{
	int64_t n = count_for(&e->t.validate, f->now, f->data->count);
	struct vq_graph *g = vq_train_graph(f->model, t, t->data.batch, vq_active_all(t), true, f->d);
	struct vq_range at;

	if (n < t->data.batch)
		vq_help(vq_error(f->d, VQ_DATA, t->data.at, "stage %s will have %lld samples of %s, fewer than one batch of %lld", t->name,
		    (long long)n, f->data->name, (long long)t->data.batch), "stages.%s.data.batch=%lld, or more samples", t->name,
		    (long long)(n >= 32 ? n / 16 * 8 : n > 1 ? n / 2 : 1));
	if (g && reads_label(g, &at)) {
		f->labelled = vq_dataset_field(f->data, "label") >= 0;
		if (!f->labelled && (e->t.validate.labels == NULL || e->t.validate.labels[0] == '\0'))
			vq_help(vq_error(f->d, VQ_DATA, &at, "graph %s of stage %s has an input 'label', and the labels of %s are missing%s%s",
			    t->graph, t->name, f->data->where, f->data->absent ? ": there is no " : "", f->data->absent ? f->data->absent : ""),
			    "where the steps that read it have an `if`, the number that stands there turns them off; otherwise the data "
			    "needs labels (datasets/README.md)");
	}
	vq_graph_free(g);
}

/* The class that the token, or label, of no class would be: VQ_NONE where it is none. */
static int64_t
class_of_null(const struct vq_sample *s)
{
	bool tokens = s->method == VQ_METHOD_CAUSAL && s->start_per_class;

	return s->null < 0 ? VQ_NONE : tokens ? s->null - s->start : s->null;
}

static void
check_classes(struct feeding *f, const struct vq_sample *s)
{
	const struct vq_tree *said = vq_tree_get(s->tree, "classes");
	int64_t null = class_of_null(s);

	if (s->classes == 0 || !f->labelled || f->data->classes == 0)
		return;
	if (null >= 0 && null < f->data->classes) {
		struct vq_diag *x = vq_error(f->d, VQ_DATA, vq_sample_at(s, "classes"), "%s has %d classes, and stage %s %lld: class %lld "
		    "would be learned as no class at all (null)", f->data->where, f->data->classes, s->name, (long long)s->classes, (long long)null);
		if (said && said->kind == VQ_TREE_SCALAR)
			vq_help(x, "what makes `%s` there must be the data's %d", said->text, f->data->classes);
	} else if (s->classes > f->data->classes) {
		vq_text_add(f->told, "%sstage %s draws %lld classes, and %s has %d: nothing is learned of the others", f->told->len ? "; " : "",
		    s->name, (long long)s->classes, f->data->where, f->data->classes);
	}
}

/* Whether stage k trains on what a stage makes of the data that was read; that stage is read into *e then. */
static bool
follows(const struct feeding *f, int k, struct vq_train *t, struct vq_encode *e)
{
	const struct vq_data_spec *of = &e->t.validate;
	int i;

	if (vq_stage_kind(f->model, k, f->d) != VQ_STAGE_TRAIN || vq_train_read(f->model, k, t, f->d) < 0 || !t->data.stage ||
	    (i = vq_stage_find(f->model, t->data.stage, f->d)) == VQ_NONE || vq_encode_read(f->model, i, e, f->d) < 0)
		return false;
	return !of->stage && strcmp(of->source, f->now->source) == 0 && strcmp(t->data.split, f->now->split) == 0;
}

int
vq_feed_check(const struct vq_model *m, const char *stage, const struct vq_data_spec *now, const struct vq_dataset *data,
    struct vq_text *told, struct vq_diags *d)
{
	struct feeding f = { .model = m, .now = now, .data = data, .told = told, .d = d };
	int first = vq_stage_find(m, stage, d);

	for (int k = first + 1; k < vq_model_stages(m); k++) {
		struct vq_train t = { 0 };
		struct vq_encode e = { 0 };
		if (follows(&f, k, &t, &e))
			check_trained(&f, &t, &e);
		vq_train_free(&t);
	}
	for (int k = first + 1; k < vq_model_stages(m); k++) {
		struct vq_sample s = { 0 };
		if (vq_stage_kind(m, k, d) != VQ_STAGE_SAMPLE)
			continue;
		if (vq_sample_read(m, k, &s, d) == 0)
			check_classes(&f, &s);
		vq_sample_free(&s);
	}
	return vq_diags_status(d) == VQ_OK ? 0 : -1;
}
