/*
 * codec -- a trained tokenizer by itself
 */
#include "tools/codec.h"

#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/image.h"

enum { BATCH = 128 };

/* --- the stage ------------------------------------------------------------- */

static bool
trains(const struct vq_model *m, int i)
{
	const struct vq_tree *stage = vq_model_stage(m, i), *what;

	what = stage->kind == VQ_TREE_MAP ? vq_tree_get(stage, "do") : NULL;
	return what && what->kind == VQ_TREE_SCALAR && strcmp(what->text, "train") == 0;
}

static int
find_stage(struct vq_codec *k)
{
	if (k->o->stage) {
		int i = vq_stage_find(k->m, k->o->stage, &k->c->d);

		return i == VQ_NONE ? -1 : vq_train_read(k->m, i, &k->t, &k->c->d);
	}
	for (int i = 0; i < vq_model_stages(k->m); i++) {
		if (!trains(k->m, i))
			continue;
		if (vq_train_read(k->m, i, &k->t, &k->c->d) < 0)
			return -1;
		if (k->t.ncodes > 0)
			return 0;
		vq_train_free(&k->t);
	}
	vq_help(vq_usage_error(k->c, "%s has no stage that trains a tokenizer", vq_model_path(k->m)),
	    "one that has `codes: {vq.code: 512}`, the value that holds its codes");
	return -1;
}

int
vq_codec_open(struct vq_codec *k, struct vq_cli *c, const struct vq_codec_options *o)
{
	*k = (struct vq_codec){ .c = c, .o = o };
	k->m = vq_tool_model(c);
	if (!k->m || find_stage(k) < 0)
		return -1;
	k->batch = o->batch ? o->batch : BATCH;
	return 0;
}

void
vq_codec_close(struct vq_codec *k)
{
	vq_plan_free(k->plan);
	if (k->g)
		vq_graph_free(k->g);
	vq_vars_free(&k->vars);
	vq_dataset_close(k->data);
	vq_train_free(&k->t);
}

const char *
vq_codec_codes(struct vq_codec *k)
{
	if (k->t.ncodes > 0)
		return k->t.codes[0].value;
	vq_help(vq_usage_error(k->c, "stage %s does not say which value holds its codes", k->t.name),
	    "add to the stage: codes: {vq.code: 512}");
	return NULL;
}

const char *
vq_codec_shown(struct vq_codec *k)
{
	const char *shown = vq_train_shown(&k->t, "reconstructions");

	if (shown)
		return shown;
	vq_help(vq_usage_error(k->c, "stage %s does not say which value is the reconstruction", k->t.name),
	    "add to the stage: show: {reconstructions: recon}");
	return NULL;
}

/* --- data ------------------------------------------------------------------ */

int
vq_codec_data(struct vq_codec *k)
{
	struct vq_data_spec spec = k->t.data;

	vq_tool_source(k->c, k->o->data, &spec);
	spec.limit = k->o->n;
	spec.batch = k->batch;
	k->data = vq_dataset_open(&spec, &k->c->d);
	if (!k->data)
		return -1;
	if (k->data->note)
		vq_notice(k->c, "%s", k->data->note);
	if (k->data->count < k->batch)
		k->batch = k->data->count;
	return 0;
}

/* --- the graph ------------------------------------------------------------- */

int
vq_codec_expand(struct vq_codec *k)
{
	struct vq_size size[VQ_MAX_SIZES];
	int n = vq_tool_sizes(k->c, k->m, k->t.graph, k->batch, NULL, size);

	if (n >= 0)
		k->g = vq_model_expand(k->m, k->t.graph, false, size, n, &k->c->d);
	return k->g ? 0 : -1;
}

/* Every parameter of the graph must come from the file: none may have its first value. */
static int
load_vars(struct vq_codec *k, const char *path)
{
	char type[VQ_TYPE_STR];

	if (vq_checkpoint_load(path, &k->vars, VQ_LOAD_ALL, NULL, &k->c->d) < 0)
		return -1;
	for (vq_id v = 0; v < k->g->values; v++) {
		const struct vq_value *val = &k->g->value[v];

		if (val->kind == VQ_PARAM && !vq_vars_find(&k->vars, val->name))
			vq_error(&k->c->d, VQ_CHECKPOINT, NULL, "%s has no parameter %s, %s", path, val->name,
			    vq_type_str(&val->type, type));
	}
	return k->c->d.count ? -1 : vq_vars_bind(&k->vars, k->g, 1, &k->c->d);
}

int
vq_codec_compile(struct vq_codec *k, const char *const *output, int n)
{
	struct vq_compile how = { 0 };
	const char *path = vq_tool_checkpoint(k->c, k->o->checkpoint);
	vq_id id[VQ_MAX_CODES];

	for (int i = 0; i < n; i++)
		if ((id[i] = vq_tool_value(k->c, k->g, output[i], "output")) == VQ_NONE)
			return -1;
	if (!path || load_vars(k, path) < 0)
		return -1;
	k->g->outputs = 0;
	k->g->stores = 0;
	for (int i = 0; i < n; i++)
		vq_graph_output(k->g, output[i], id[i]);
	k->plan = vq_compile(k->g, &how, &k->c->d);
	k->g = NULL;
	if (!k->plan)
		return -1;
	k->plan->average = k->t.average > 0;
	vq_plan_attach(k->plan, &k->vars, NULL);
	return 0;
}

/* --- running --------------------------------------------------------------- */

/* One batch's buffer for each input, found among the data's fields. */
static int
bind_inputs(struct vq_codec *k, char *buffer[VQ_MAX_FIELDS])
{
	const struct vq_graph *g = k->plan->graph;
	char expected[VQ_TYPE_STR], found[VQ_TYPE_STR];

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		int f = val->kind == VQ_INPUT ? vq_dataset_field(k->data, val->name) : 0;

		if (val->kind != VQ_INPUT)
			continue;
		if (f < 0) {
			vq_error(&k->c->d, VQ_DATA, NULL, "%s does not give the graph's input %s",
			    k->data->name, val->name);
			return -1;
		}
		if (vq_type_bytes(&k->data->field[f].type) * (size_t)k->batch != vq_type_bytes(&val->type) ||
		    k->data->field[f].type.dtype != val->type.dtype) {
			vq_error(&k->c->d, VQ_DATA, NULL, "input %s is %s, but a sample of %s is %s",
			    val->name, vq_type_str(&val->type, expected), k->data->name,
			    vq_type_str(&k->data->field[f].type, found));
			return -1;
		}
		buffer[f] = vq_alloc_aligned(vq_type_bytes(&val->type));
		vq_plan_input(k->plan, val->name, buffer[f]);
	}
	return 0;
}

static void
run_batch(struct vq_codec *k, int64_t first, int64_t n, char *const *buffer, const char *const *output,
    int outputs, char **all)
{
	uint32_t *index = vq_alloc_array((size_t)n, sizeof(*index));

	for (int64_t i = 0; i < n; i++)
		index[i] = (uint32_t)(first + i);
	for (int f = 0; f < k->data->fields; f++)
		if (buffer[f])
			k->data->kind->gather(k->data, f, index, n, buffer[f]);
	free(index);
	vq_plan_run(k->plan, 1, (uint64_t)(first / k->batch));
	for (int i = 0; i < outputs; i++) {
		struct vq_view v;
		size_t each;

		vq_plan_output(k->plan, output[i], &v);
		each = vq_type_bytes(v.type) / (size_t)k->batch;
		memcpy(all[i] + (size_t)first * each, v.data, (size_t)n * each);
	}
}

int
vq_codec_run(struct vq_codec *k, const char *const *output, int n, int64_t samples, void **all,
    struct vq_type *type)
{
	char *buffer[VQ_MAX_FIELDS] = { 0 };
	int rc = bind_inputs(k, buffer);

	if (samples <= 0 || samples > k->data->count)
		samples = k->data->count;
	for (int i = 0; i < n && rc == 0; i++) {
		struct vq_view v;
		char str[VQ_TYPE_STR];

		vq_plan_output(k->plan, output[i], &v);
		type[i] = *v.type;
		if (type[i].shape.rank == 0 || type[i].shape.dim[0] != k->batch) {
			vq_usage_error(k->c, "%s is %s: its first axis is not the batch", output[i],
			    vq_type_str(v.type, str));
			rc = -1;
			break;
		}
		type[i].shape.dim[0] = samples;
		all[i] = vq_alloc_array((size_t)samples, vq_type_bytes(v.type) / (size_t)k->batch);
	}
	for (int64_t at = 0; at < samples && rc == 0; at += k->batch)
		run_batch(k, at, samples - at < k->batch ? samples - at : k->batch, buffer, output, n,
		    (char **)all);
	for (int f = 0; f < VQ_MAX_FIELDS; f++)
		free(buffer[f]);
	return rc;
}

/* --- pictures -------------------------------------------------------------- */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && strcasecmp(s + n - k, end) == 0;
}

int
vq_codec_write(struct vq_codec *k, const char *path, const struct vq_view *v, const float *originals)
{
	const struct vq_shape *s = &v->type->shape;
	struct vq_pictures p = { .data = v->data, .lo = k->t.data.lo, .hi = k->t.data.hi };
	struct vq_image im = { 0 };
	char type[VQ_TYPE_STR];
	int rc;

	if (ends_with(path, ".npy"))
		return vq_npy_write(path, v, &k->c->d);
	if (!ends_with(path, ".png")) {
		vq_usage_error(k->c, "--out wants a name that ends in .png or .npy, not '%s'", path);
		return -1;
	}
	if (s->rank != 4 || v->type->dtype != VQ_F32) {
		vq_usage_error(k->c, "%s cannot be drawn: pictures are f32[n, h, w, c]",
		    vq_type_str(v->type, type));
		return -1;
	}
	p.n = s->dim[0];
	p.h = s->dim[1];
	p.w = s->dim[2];
	p.c = s->dim[3];
	if (originals) {
		struct vq_pictures o = p;

		o.data = originals;
		rc = vq_image_pairs(&im, &o, &p.data, 1, 0, 0, &k->c->d);
	} else {
		rc = vq_image_grid(&im, &p, 0, 0, &k->c->d);
	}
	if (rc == 0)
		rc = vq_image_write_png(path, &im, &k->c->d);
	vq_image_free(&im);
	return rc;
}
