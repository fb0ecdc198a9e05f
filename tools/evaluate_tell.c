/*
 * evaluate_tell -- counts and distances of what was evaluated, and the report of it
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/frechet.h"
#include "tools/evaluate.h"

enum { COUNT_MAX = 1 << 16, FEATURES_MAX = 4096 };

/* --- counts -------------------------------------------------------------------- */

/* How often each integer of a value occurs; with one for each sample and labels, how
 * often each label does, and both at once. */
struct counts {
	int64_t size, *count, *label, *agree;
};

static int
count_values(struct vq_evaluate_task *k, const char *name, struct counts *h)
{
	const struct vq_view *v = vq_evaluate_kept(k, &k->data, name);
	int64_t n = vq_shape_count(&v->type->shape);
	const int32_t *x = v->data, *label = n == k->data.e.data->count ? k->data.label : NULL;
	char type[VQ_TYPE_STR];

	*h = (struct counts){ 0 };
	if (v->type->dtype != VQ_I32) {
		vq_usage_error(k->c, "--count %s: is %s, and only integers can be counted", name,
		    vq_type_str(v->type, type));
		return -1;
	}
	for (int64_t i = 0; i < n; i++) {
		if (x[i] < 0 || x[i] >= COUNT_MAX) {
			vq_usage_error(k->c, "--count %s: %d is not from 0 to %d", name, x[i], COUNT_MAX - 1);
			return -1;
		}
		h->size = x[i] >= h->size ? x[i] + 1 : h->size;
	}
	for (int64_t i = 0; label && i < n; i++) {
		if (label[i] < 0 || label[i] >= COUNT_MAX)
			label = NULL;
		else if (label[i] >= h->size)
			h->size = label[i] + 1;
	}
	h->count = vq_alloc_array((size_t)h->size, sizeof(*h->count));
	if (label) {
		h->label = vq_alloc_array((size_t)h->size, sizeof(*h->label));
		h->agree = vq_alloc_array((size_t)h->size, sizeof(*h->agree));
	}
	for (int64_t i = 0; i < n; i++) {
		h->count[x[i]]++;
		if (label) {
			h->label[label[i]]++;
			h->agree[x[i]] += label[i] == x[i];
		}
	}
	return 0;
}

static void
free_counts(struct counts *h)
{
	free(h->count);
	free(h->label);
	free(h->agree);
}

/* --- features ------------------------------------------------------------------- */

struct distances {
	int64_t dimensions;
	double frechet, spread, spread_against;
};

static int
features_of(struct vq_evaluate_task *k, const struct vq_side *s, const float **x, int64_t *d)
{
	const struct vq_view *v = s == &k->against ? &s->e.kept[0] : vq_evaluate_kept(k, s, k->o->features);
	char type[VQ_TYPE_STR];

	*d = vq_shape_span(&v->type->shape, 1, v->type->shape.rank);
	*x = v->data;
	if (v->type->dtype == VQ_F32 && *d >= 1 && *d <= FEATURES_MAX && s->e.data->count >= 2)
		return 0;
	if (s->e.data->count < 2)
		vq_usage_error(k->c, "%s is a single sample: a distance between sets wants two at least", s->text);
	else
		vq_usage_error(k->c, "--features %s: is %s, and 1 to %d real numbers for each sample are wanted",
		    k->o->features, vq_type_str(v->type, type), FEATURES_MAX);
	return -1;
}

static int32_t
largest(const int32_t *x, int64_t n)
{
	int32_t most = 0;

	for (int64_t i = 0; x && i < n; i++)
		most = x[i] > most ? x[i] : most;
	return most < COUNT_MAX ? most : COUNT_MAX - 1;
}

static double
spread_of(const struct vq_side *s, const float *x, int64_t d)
{
	int64_t n = s->e.data->count;

	return vq_spread(x, n, d, s->label, largest(s->label, n) + 1);
}

static int
measure(struct vq_evaluate_task *k, struct distances *far)
{
	struct vq_gaussian a, b;
	const float *x, *y;
	int64_t d;

	if (features_of(k, &k->data, &x, &far->dimensions) < 0)
		return -1;
	far->spread = spread_of(&k->data, x, far->dimensions);
	if (k->o->against == NULL)
		return 0;
	if (features_of(k, &k->against, &y, &d) < 0)
		return -1;
	far->spread_against = spread_of(&k->against, y, d);
	vq_gaussian_fit(&a, x, k->data.e.data->count, d);
	vq_gaussian_fit(&b, y, k->against.e.data->count, d);
	far->frechet = vq_frechet_distance(&a, &b);
	vq_gaussian_free(&a);
	vq_gaussian_free(&b);
	return 0;
}

/* --- telling it ------------------------------------------------------------------ */

static void
text_values(struct vq_evaluate_task *k, struct vq_text *out)
{
	static const char *const title[] = { "value", "mean" };
	static const bool right[] = { false, true };
	struct vq_table t = { .columns = 2, .title = title, .right = right };
	const struct vq_evaluation *e = &k->data.e;

	vq_text_add(out, "%s, %lld samples\n", k->data.text, (long long)e->data->count);
	for (int i = 0; i < e->n; i++) {
		vq_table_cell(&t, "%s", e->name[i]);
		vq_table_cell(&t, "%.6g", e->value[i]);
	}
	if (e->n > 0)
		vq_table_end(&t, k->c->color_out, out);
}

static void
text_counts(struct vq_evaluate_task *k, const char *name, const struct counts *h, struct vq_text *out)
{
	const char *title[] = { name, "count", "label", "agree" };
	static const bool right[] = { true, true, true, true };
	struct vq_table t = { .columns = h->label ? 4 : 2, .title = title, .right = right };
	int64_t sum = 0, agree = 0, used = 0;

	for (int64_t i = 0; i < h->size; i++) {
		sum += h->count[i];
		used += h->count[i] > 0;
		agree += h->agree ? h->agree[i] : 0;
		vq_table_cell(&t, "%lld", (long long)i);
		vq_table_cell(&t, "%lld", (long long)h->count[i]);
		if (h->label) {
			vq_table_cell(&t, "%lld", (long long)h->label[i]);
			vq_table_cell(&t, "%lld", (long long)h->agree[i]);
		}
	}
	vq_table_end(&t, k->c->color_out, out);
	vq_text_add(out, "%s: %lld different", name, (long long)used);
	if (h->label)
		vq_text_add(out, ", %lld of %lld agree with the label: %.4f", (long long)agree, (long long)sum,
		    (double)agree / (double)sum);
	vq_text_add(out, "\n");
}

/* Of a spread; "-" where no two samples are of one class. */
static void
text_number(struct vq_text *out, double x)
{
	if (isnan(x))
		vq_text_add(out, "-");
	else
		vq_text_add(out, "%.6g", x);
}

static void
text_features(struct vq_evaluate_task *k, const struct distances *far, struct vq_text *out)
{
	const char *within = k->data.label ? " within a class" : "";

	vq_text_add(out, "%s: %lld numbers for each sample\n", k->o->features, (long long)far->dimensions);
	vq_text_add(out, "spread%s: ", within);
	text_number(out, far->spread);
	vq_text_add(out, " in %s", k->data.text);
	if (k->o->against) {
		vq_text_add(out, ", ");
		text_number(out, far->spread_against);
		vq_text_add(out, "%s in %s\nfrechet_distance: %.6g, %lld samples against %lld of %s",
		    k->data.label && !k->against.label ? " over all" : "", k->against.text, far->frechet,
		    (long long)k->data.e.data->count, (long long)k->against.e.data->count, k->against.text);
	}
	vq_text_add(out, "\n");
}

static json_t *
json_list(const int64_t *x, int64_t n)
{
	json_t *list = json_array();

	for (int64_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(x[i]));
	return list;
}

static json_t *
json_counts(const struct counts *h)
{
	json_t *o = json_pack("{s:o}", "count", json_list(h->count, h->size));

	if (h->label) {
		json_object_set_new(o, "label", json_list(h->label, h->size));
		json_object_set_new(o, "agree", json_list(h->agree, h->size));
	}
	return o;
}

static json_t *
json_of(struct vq_evaluate_task *k, const struct counts *h, const struct distances *far)
{
	const struct vq_evaluation *e = &k->data.e;
	json_t *values = json_object(), *counts = json_object();
	json_t *o = json_pack("{s:o,s:o,s:o,s:o,s:I}", "run", vq_json_text(k->c->arg[0]), "checkpoint",
	    vq_json_text(k->weights), "graph", vq_json_text(k->t.graph), "data", vq_json_text(k->data.text), "samples",
	    (json_int_t)e->data->count);

	for (int i = 0; i < e->n; i++)
		json_object_set_new(values, e->name[i], vq_json_real(e->value[i]));
	json_object_set_new(o, "values", values);
	for (int i = 0; i < k->o->count.count; i++)
		json_object_set_new(counts, k->o->count.s[i], json_counts(&h[i]));
	json_object_set_new(o, "counts", counts);
	if (k->o->features) {
		json_t *f = json_pack("{s:o,s:I,s:o}", "name", vq_json_text(k->o->features), "dimensions",
		    (json_int_t)far->dimensions, "spread", vq_json_real(far->spread));
		if (k->o->against) {
			json_object_set_new(f, "against", vq_json_text(k->against.text));
			json_object_set_new(f, "against_samples", json_integer(k->against.e.data->count));
			json_object_set_new(f, "against_spread", vq_json_real(far->spread_against));
			json_object_set_new(f, "frechet_distance", vq_json_real(far->frechet));
		}
		json_object_set_new(o, "features", f);
	}
	return o;
}

static int
write_values(struct vq_evaluate_task *k)
{
	for (int i = 0; i < k->o->values.count; i++) {
		const char *name, *path;
		char type[VQ_TYPE_STR];

		vq_evaluate_split(k->c, k->o->values.s[i], &name, &path);
		const struct vq_view *v = vq_evaluate_kept(k, &k->data, name);
		if (vq_npy_write(path, v, &k->c->d) < 0)
			return -1;
		vq_notice(k->c, "wrote %s, %s", path, vq_type_str(v->type, type));
	}
	return 0;
}

void
vq_evaluate_tell(struct vq_evaluate_task *k)
{
	struct counts *h = vq_alloc_array((size_t)k->o->count.count + 1, sizeof(*h));
	struct distances far = { 0 };
	struct vq_text out = { 0 };
	bool ok = write_values(k) == 0;

	for (int i = 0; ok && i < k->o->count.count; i++)
		ok = count_values(k, k->o->count.s[i], &h[i]) == 0;
	ok = ok && (!k->o->features || measure(k, &far) == 0);
	if (ok && k->c->json) {
		vq_tool_json(k->c, json_of(k, h, &far), false);
	} else if (ok) {
		text_values(k, &out);
		for (int i = 0; i < k->o->count.count; i++)
			text_counts(k, k->o->count.s[i], &h[i], &out);
		if (k->o->features)
			text_features(k, &far, &out);
		vq_tool_write(k->c, NULL, &out);
	}
	for (int i = 0; i < k->o->count.count; i++)
		free_counts(&h[i]);
	free(h);
	vq_text_free(&out);
}
