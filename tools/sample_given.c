/*
 * sample_given -- pictures of which the upper part is given and the rest drawn
 *
 * The encoder must not see what is to be drawn, and its windows reach below the last
 * row that is given: so the lower part is painted over with that row before.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/stage.h"
#include "tools/sample.h"

struct encoder {
	const char *graph, *value;
	struct vq_data_spec spec;
	struct vq_dataset *data;
	struct vq_graph *g;
	struct vq_plan *plan;
	int64_t h, w, c;		/* of a picture */
	int64_t batch;			/* pictures at once */
	int64_t rows;			/* of the grid of codes */
};

static const char *
key_text(struct vq_sample_task *k, const struct vq_tree *stage, const char *key)
{
	const struct vq_tree *t = vq_tree_get(stage, key);

	if (t)
		return vq_model_text(k->m, t, &k->c->d);
	vq_error(&k->c->d, VQ_CONFIG, &stage->at, "this stage needs %s", key);
	return NULL;
}

/* The run's first stage that encodes says by which graph, and what pictures are like. */
static int
find_encoder(struct vq_sample_task *k, struct encoder *e)
{
	const struct vq_tree *stage = NULL, *data;

	for (int i = 0; stage == NULL && i < vq_model_stages(k->m); i++)
		if (vq_stage_kind(k->m, i, &k->c->d) == VQ_STAGE_ENCODE)
			stage = vq_model_stage(k->m, i);
	if (stage == NULL) {
		vq_help(vq_usage_error(k->c, "%s has no stage that encodes pictures", vq_model_path(k->m)),
		    "one with do: encode, as in codes: {do: encode, graph: encode, value: code, data: {source: mnist}}");
		return -1;
	}
	const struct vq_tree *value = vq_tree_get(stage, "value");
	if (value && value->kind == VQ_TREE_LIST) {
		vq_error(&k->c->d, VQ_CONFIG, &value->at, "several values are encoded, and which of them are codes of the upper "
		    "part is not known: pictures cannot be completed");
		return -1;
	}
	if ((e->graph = key_text(k, stage, "graph")) == NULL || (e->value = key_text(k, stage, "value")) == NULL)
		return -1;
	vq_params_default(vq_data_params, &e->spec);
	e->spec.lo = k->s.lo;
	e->spec.hi = k->s.hi;
	if ((data = vq_tree_get(stage, "data")) != NULL && vq_data_read(k->m, data, &e->spec, &k->c->d) < 0)
		return -1;
	vq_tool_source(k->c, k->o->complete, &e->spec);
	e->spec.limit = k->n;
	return 0;
}

static int
open_data(struct vq_sample_task *k, struct encoder *e)
{
	char type[VQ_TYPE_STR];

	if ((e->data = vq_dataset_open(&e->spec, &k->c->d)) == NULL)
		return -1;
	int f = vq_dataset_field(e->data, "image");
	if (f < 0 || e->data->field[f].type.shape.rank != 3 || e->data->field[f].type.dtype != VQ_F32) {
		vq_error(&k->c->d, VQ_DATA, NULL, "%s gives no pictures%s%s", e->data->name, f < 0 ? "" : ", but ",
		    f < 0 ? "" : vq_type_str(&e->data->field[f].type, type));
		return -1;
	}
	k->n = e->data->count < k->n ? e->data->count : k->n;
	if (k->n == 0) {
		vq_error(&k->c->d, VQ_DATA, NULL, "%s has no pictures", e->data->name);
		return -1;
	}
	k->picture = e->data->field[f].type;
	e->batch = k->s.batch < k->n ? k->s.batch : k->n;
	e->h = e->data->field[f].type.shape.dim[0];
	e->w = e->data->field[f].type.shape.dim[1];
	e->c = e->data->field[f].type.shape.dim[2];
	return 0;
}

/* Each picture's own class, where none was asked for. */
static int
own_classes(struct vq_sample_task *k, const struct encoder *e, const uint32_t *index)
{
	int f = vq_dataset_field(e->data, "label");

	if (k->class == NULL || k->o->class)
		return 0;
	if (f < 0 || e->data->field[f].type.dtype != VQ_I32 || vq_type_bytes(&e->data->field[f].type) != sizeof(int32_t)) {
		vq_help(vq_usage_error(k->c, "%s does not say the class of its pictures", e->data->name),
		    "--class C says it");
		return -1;
	}
	e->data->kind->gather(e->data, f, index, k->n, k->class);
	for (int64_t i = 0; i < k->n; i++)
		if (k->class[i] < 0 || k->class[i] >= k->s.classes) {
			vq_error(&k->c->d, VQ_DATA, NULL, "picture %lld of %s is of class %d, and stage %s has %lld", (long long)i,
			    e->data->name, k->class[i], k->s.name, (long long)k->s.classes);
			return -1;
		}
	return 0;
}

static int
compile_encoder(struct vq_sample_task *k, struct encoder *e)
{
	struct vq_size batch = { "batch", e->batch };
	struct vq_type want = vq_type_of(VQ_F32, 4, (int64_t[]){ e->batch, e->h, e->w, e->c });
	char is[VQ_TYPE_STR], gives[VQ_TYPE_STR];

	if ((e->g = vq_model_expand(k->m, e->graph, false, &batch, 1, &k->c->d)) == NULL)
		return -1;
	vq_id image = vq_graph_find(e->g, "image"), code = vq_graph_find_output(e->g, e->value);
	if (image == VQ_NONE || code == VQ_NONE) {
		vq_error(&k->c->d, VQ_CONFIG, NULL, "graph %s has no %s '%s'", e->graph, image == VQ_NONE ? "input" : "value",
		    image == VQ_NONE ? "image" : e->value);
		return -1;
	}
	if (!vq_type_equal(vq_type_at(e->g, image), &want)) {
		vq_error(&k->c->d, VQ_DATA, NULL, "graph %s wants %s, and %s gives %s", e->graph,
		    vq_type_str(vq_type_at(e->g, image), is), e->data->name, vq_type_str(&want, gives));
		return -1;
	}
	const struct vq_type *t = vq_type_at(e->g, code);
	if (t->dtype != VQ_I32 || vq_shape_count(&t->shape) != e->batch * k->tokens ||
	    (k->s.grid.count > 0 && t->shape.rank == 3 && t->shape.dim[1] != k->s.grid.v[0])) {
		vq_error(&k->c->d, VQ_CONFIG, NULL, "%s of graph %s is %s, and stage %s draws %lld codes a picture", e->value,
		    e->graph, vq_type_str(t, is), k->s.name, (long long)k->tokens);
		return -1;
	}
	int64_t side = k->s.grid.count > 0 ? k->s.grid.v[0] : vq_order_side(k->tokens);
	if (t->shape.rank != 3 && side < 0) {
		vq_help(vq_usage_error(k->c, "%lld codes of a picture are no square grid, and which of them are of its upper part "
		    "is not known", (long long)k->tokens), "a graph that encodes to i32[batch, h, w] says it");
		return -1;
	}
	e->rows = t->shape.rank == 3 ? t->shape.dim[1] : side;
	for (vq_id v = 0; v < e->g->values; v++)
		if (e->g->value[v].kind == VQ_PARAM && !vq_vars_find(&k->vars, e->g->value[v].name))
			vq_error(&k->c->d, VQ_CHECKPOINT, NULL, "the checkpoint has no parameter %s, %s", e->g->value[v].name,
			    vq_type_str(&e->g->value[v].type, is));
	if (k->c->d.count || vq_vars_bind(&k->vars, e->g, 1, &k->c->d) < 0)
		return -1;
	e->g->outputs = e->g->stores = 0;
	vq_graph_output(e->g, e->value, code);
	e->plan = vq_compile(e->g, &(struct vq_compile){ .threads = (int)k->c->threads }, &k->c->d);
	e->g = NULL;
	if (e->plan == NULL)
		return -1;
	e->plan->average = true;
	vq_plan_attach(e->plan, &k->vars, NULL);
	return 0;
}

/* What the encoder sees of picture i, and the half that is shown. */
static void
paint_over(struct vq_sample_task *k, const struct encoder *e, int64_t i, int64_t given, float *seen)
{
	int64_t line = e->w * e->c;

	for (int64_t y = 0; y < e->h; y++) {
		const float *from = k->original + (i * e->h + (y < given ? y : given > 0 ? given - 1 : 0)) * line;
		float *half = k->half + (i * e->h + y) * line;
		memcpy(seen + y * line, from, (size_t)line * sizeof(*seen));
		for (int64_t x = 0; x < line; x++)
			half[x] = y < given ? from[x] : (float)k->s.lo;
	}
}

/* Encodes what is given, batch by batch, and keeps the codes of the rows that it covers. */
static void
encode(struct vq_sample_task *k, const struct encoder *e)
{
	int64_t size = e->h * e->w * e->c, length = k->tokens, keep = llround(k->o->keep * (double)e->rows);
	int64_t given = keep * e->h / e->rows, kept = keep * length / e->rows;
	float *seen = vq_alloc_array((size_t)(e->batch * size), sizeof(*seen));
	struct vq_view code;

	vq_plan_input(e->plan, "image", seen);
	for (int64_t first = 0; first < k->n; first += e->batch) {
		int64_t n = k->n - first < e->batch ? k->n - first : e->batch;
		for (int64_t i = 0; i < n; i++)
			paint_over(k, e, first + i, given, seen + i * size);
		vq_plan_run(e->plan, 1, 0);
		vq_plan_output(e->plan, e->value, &code);
		for (int64_t i = 0; i < n * length; i++)
			k->known[first * length + i] = i % length < kept ? ((const int32_t *)code.data)[i] : -1;
	}
	free(seen);
}

int
vq_sample_given(struct vq_sample_task *k)
{
	struct encoder e = { 0 };
	int error = -1;

	if (find_encoder(k, &e) == 0 && open_data(k, &e) == 0 && compile_encoder(k, &e) == 0) {
		uint32_t *index = vq_alloc_array((size_t)k->n, sizeof(*index));
		size_t floats = (size_t)(k->n * e.h * e.w * e.c);
		for (int64_t i = 0; i < k->n; i++)
			index[i] = (uint32_t)i;
		k->original = vq_alloc_array(floats, sizeof(float));
		k->half = vq_alloc_array(floats, sizeof(float));
		k->known = vq_alloc_array((size_t)(k->n * k->tokens), sizeof(*k->known));
		e.data->kind->gather(e.data, vq_dataset_field(e.data, "image"), index, k->n, k->original);
		encode(k, &e);
		error = own_classes(k, &e, index);
		free(index);
	}
	vq_graph_free(e.g);
	vq_plan_free(e.plan);
	vq_dataset_close(e.data);
	return error;
}
