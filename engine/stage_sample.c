/*
 * stage_sample -- a stage that draws samples: its keys, and what it leaves
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/image.h"
#include "engine/sample.h"
#include "engine/stage.h"

/* --- keys ------------------------------------------------------------------ */

static const char *const methods[] = { [VQ_METHOD_CAUSAL] = "causal", [VQ_METHOD_MASKED] = "masked", NULL };

static const char *const precisions[] = { [VQ_SAMPLE_F32] = "f32", [VQ_SAMPLE_BF16] = "bf16", NULL };

static const struct vq_param params[] = {
	VQ_ENUM(struct vq_sample, method, "causal", methods, "tokens one after the other, or many at once in place of masks"),
	VQ_STRING(struct vq_sample, graph, NULL, "the graph that gives the logits of the next token, or of masked ones"),
	VQ_STRING(struct vq_sample, value, "logits",
	    "its value f32[batch, time, vocabulary]: at position i those of token i + 1, or if masked of token i"),
	VQ_STRING(struct vq_sample, token, "token", "its input i32[batch, time], or if masked i32[batch, length]"),
	VQ_STRING(struct vq_sample, time, "time", "its free size that grows"),
	VQ_INT(struct vq_sample, start, "0", 0, INT32_MAX, "the first token, of class 0 where there are classes"),
	VQ_INT(struct vq_sample, mask, "0", 0, INT32_MAX, "the token that stands for one not known yet"),
	VQ_INT(struct vq_sample, steps, "8", 1, 1e6, "after which all tokens are drawn"),
	VQ_ENUM(struct vq_sample, schedule, "cosine", vq_masking_names, "how many tokens are masked after each step"),
	VQ_REAL(struct vq_sample, choice_temperature, "4.5", 0, 1e6, "of the choice of tokens that stay; falls to 0"),
	VQ_INT(struct vq_sample, classes, "0", 0, 1e6, "how many classes there are"),
	VQ_BOOLEAN(struct vq_sample, start_per_class, "true", "class c begins with the token start + c"),
	VQ_INT(struct vq_sample, length, NULL, 1, 1e6, "tokens to draw"),
	VQ_INT(struct vq_sample, codes, "0", 0, INT32_MAX, "only tokens below it are drawn; 0: all"),
	VQ_INT(struct vq_sample, null, "-1", -1, INT32_MAX, "the token, or label, that stands for no class"),
	VQ_REAL(struct vq_sample, temperature, "1", 0, 1e6, "divides the logits; 0: always the likeliest token"),
	VQ_INT(struct vq_sample, top_k, "0", 0, INT32_MAX, "only the likeliest so many tokens; 0: all"),
	VQ_REAL(struct vq_sample, top_p, "1", 1e-9, 1, "only the likeliest tokens of this probability together"),
	VQ_REAL(struct vq_sample, guidance, "1", 0, 1000, "from no class (0) to the class (1) and beyond"),
	VQ_INT(struct vq_sample, count, "64", 1, 1e9, "samples"),
	VQ_INT(struct vq_sample, batch, "64", 1, 1e6, "samples at once"),
	VQ_INTS(struct vq_sample, window, "[]", 1, 8192, 0, 2, "rows and columns of the part of a grid that length is; []: a square"),
	VQ_INTS(struct vq_sample, grid, "[]", 1, 8192, 0, 2, "rows and columns of codes to draw, a window's or more; []: a window's"),
	VQ_ENUM(struct vq_sample, precision, "f32", precisions, "of the operands of products that give the logits, and of kept keys and values"),
	VQ_ENUM(struct vq_sample, order, "raster", vq_order_names, "of the grid's codes in the sequence"),
	VQ_PARAMS_END
};

const struct vq_range *
vq_sample_at(const struct vq_sample *s, const char *key)
{
	const struct vq_tree *t = vq_tree_get(s->tree, key);

	return t ? &t->at : &s->tree->at;
}

/* Keys of one method alone; what a stage cannot do without. */
static const struct method_key {
	const char *name;
	int method;
	bool needed;
	const char *help;
} method_keys[] = {
	{ "time", VQ_METHOD_CAUSAL }, { "start_per_class", VQ_METHOD_CAUSAL },
	{ "start", VQ_METHOD_CAUSAL, true, "the token that the sequence begins with, as in start: 512" },
	{ "window", VQ_METHOD_CAUSAL }, { "grid", VQ_METHOD_CAUSAL },
	{ "mask", VQ_METHOD_MASKED, true, "the token that stands for one not known yet, as in mask: 512" },
	{ "steps", VQ_METHOD_MASKED }, { "schedule", VQ_METHOD_MASKED }, { "choice_temperature", VQ_METHOD_MASKED },
};

static int
check_method(const struct vq_sample *s, struct vq_diags *d)
{
	int error = 0;

	for (size_t i = 0; i < VQ_COUNT(method_keys); i++) {
		const struct method_key *k = &method_keys[i];
		bool there = vq_tree_get(s->tree, k->name) != NULL;
		if (k->method == s->method ? there || !k->needed : !there)
			continue;
		struct vq_diag *e = k->method == s->method ?
		    vq_error(d, VQ_CONFIG, &s->tree->at, "a sample stage needs %s", k->name) :
		    vq_error(d, VQ_CONFIG, vq_sample_at(s, k->name), "%s is of method: %s, and this stage's is %s", k->name,
			methods[k->method], methods[s->method]);
		if (k->method == s->method)
			vq_help(e, "%s", k->help);
		error = -1;
	}
	return error;
}

static int
read_forbid(const struct vq_model *m, struct vq_sample *s, struct vq_diags *d)
{
	const struct vq_tree *t = vq_tree_get(s->tree, "forbid");

	if (t == NULL)
		return 0;
	if (t->kind != VQ_TREE_LIST) {
		vq_error(d, VQ_CONFIG, &t->at, "forbid wants a list of tokens, as in [0, 511]");
		return -1;
	}
	s->forbid = vq_alloc_array((size_t)t->count + 1, sizeof(*s->forbid));
	for (int i = 0; i < t->count; i++) {
		const struct vq_tree *one = t->item[i].value;
		double x = -1;
		if (one->kind == VQ_TREE_SCALAR && vq_model_number(m, one, &x, d) < 0)
			return -1;
		if (x < 0 || x > INT32_MAX || x != floor(x)) {
			vq_error(d, VQ_CONFIG, &one->at, "forbid wants tokens: whole numbers of at least 0");
			return -1;
		}
		s->forbid[s->forbids++] = (int64_t)x;
	}
	return 0;
}

static int
read_decode(const struct vq_model *m, struct vq_sample *s, struct vq_diags *d)
{
	struct decode { const char *graph, *input, *value; } k = { 0 };
	static const struct vq_param table[] = {
		VQ_STRING(struct decode, graph, NULL, "the graph that makes pictures of codes"),
		VQ_STRING(struct decode, input, "code", "its input, i32[batch, length] or i32[batch, h, w]"),
		VQ_STRING(struct decode, value, NULL, "its pictures, f32[batch, h, w, channels]"),
		VQ_PARAMS_END
	};
	const struct vq_tree *t = vq_tree_get(s->tree, "decode");

	if (t == NULL) {
		vq_help(vq_error(d, VQ_CONFIG, &s->tree->at, "stage %s needs decode", s->name),
		    "as in decode: {graph: decode, input: code, value: recon}");
		return -1;
	}
	if (vq_model_read_params(m, t, "decode", table, &k, NULL, d) < 0)
		return -1;
	s->decode = k.graph;
	s->decode_input = k.input;
	s->decode_value = k.value;
	return 0;
}

static int
read_range(const struct vq_model *m, struct vq_sample *s, struct vq_diags *d)
{
	const struct vq_tree *t = vq_tree_get(s->tree, "range");

	s->lo = 0;
	s->hi = 1;
	return t ? vq_model_range(m, t, &s->lo, &s->hi, d) : 0;
}

int
vq_sample_read(const struct vq_model *m, int i, struct vq_sample *s, struct vq_diags *d)
{
	static const char *const others[] = { "do", "forbid", "decode", "range", NULL };
	const struct vq_tree *tree = vq_model_stage(m, i);

	*s = (struct vq_sample){ 0 };
	int error = vq_model_read_params(m, tree, "a sample stage", params, s, others, d);
	s->name = vq_model_stage_name(m, i);
	s->tree = tree;
	if (tree->kind != VQ_TREE_MAP)
		return -1;
	if (error == 0)
		error = check_method(s, d);
	error |= read_forbid(m, s, d) | read_decode(m, s, d) | read_range(m, s, d);
	if (error == 0 && s->classes == 0 && vq_tree_get(tree, "start_per_class") && s->start_per_class) {
		vq_error(d, VQ_CONFIG, vq_sample_at(s, "start_per_class"), "start_per_class: there are no classes");
		error = -1;
	}
	return error ? -1 : 0;
}

void
vq_sample_free(struct vq_sample *s)
{
	free(s->forbid);
	s->forbid = NULL;
	s->forbids = 0;
}

/* --- pictures -------------------------------------------------------------- */

/* One class a row, which is filled up with black where it has fewer than the longest. */
static int
class_rows(struct vq_image *im, const struct vq_pictures *p, const int32_t *class, struct vq_diags *d)
{
	int64_t size = p->h * p->w * p->c, rows = 0, columns = 0, run = 0;

	for (int64_t i = 0; i < p->n; i++) {
		run = i > 0 && class[i] == class[i - 1] ? run + 1 : 1;
		rows += run == 1;
		columns = run > columns ? run : columns;
	}
	float *all = vq_alloc_array((size_t)(rows * columns), (size_t)size * sizeof(*all));
	char (*name)[16] = vq_alloc_array((size_t)rows, sizeof(*name));
	const char **label = vq_alloc_array((size_t)rows, sizeof(*label));
	for (int64_t i = 0; i < rows * columns * size; i++)
		all[i] = (float)p->lo;
	for (int64_t i = 0, row = -1; i < p->n; i++) {
		run = i > 0 && class[i] == class[i - 1] ? run + 1 : 0;
		if (run == 0) {
			row++;
			label[row] = name[row];
			snprintf(name[row], sizeof(name[row]), "%d", class[i]);
		}
		memcpy(all + (row * columns + run) * size, p->data + i * size, (size_t)size * sizeof(*all));
	}
	struct vq_pictures filled = *p;
	filled.data = all;
	filled.n = rows * columns;
	int error = columns > INT32_MAX ? -1 : vq_image_labelled(im, &filled, (int)columns, label, 0, d);
	free(label);
	free(name);
	free(all);
	return error;
}

static int
draw_grid(struct vq_image *im, const struct vq_sample *s, const struct vq_type *picture, const float *pictures,
    const int32_t *class, int64_t n, struct vq_diags *d)
{
	const int64_t *dim = picture->shape.dim;
	struct vq_pictures p = { .data = pictures, .n = n, .h = dim[0], .w = dim[1], .c = dim[2], .lo = s->lo, .hi = s->hi };

	*im = (struct vq_image){ 0 };
	return class ? class_rows(im, &p, class, d) : vq_image_grid(im, &p, 0, 0, d);
}

int
vq_sample_grid(const char *path, const struct vq_sample *s, const struct vq_type *picture, const float *pictures,
    const int32_t *class, int64_t n, struct vq_diags *d)
{
	struct vq_image im;
	int error = draw_grid(&im, s, picture, pictures, class, n, d);

	if (error == 0)
		error = vq_image_write_png(path, &im, d);
	vq_image_free(&im);
	return error;
}

/* --- running --------------------------------------------------------------- */

struct drawn {
	struct vq_sample s;
	struct vq_sampler *sampler;
	struct vq_drawing w;
	int32_t *class;
};

static void
drop(struct drawn *k)
{
	free(k->w.codes);
	free(k->w.pictures);
	free(k->class);
	vq_sampler_free(k->sampler);
	vq_sample_free(&k->s);
}

/* 0, 1 when stopped, -1 after errors. */
static int
draw(const struct vq_stage_run *r, int stage, struct drawn *k, struct vq_diags *d)
{
	*k = (struct drawn){ 0 };
	if (vq_sample_read(r->model, stage, &k->s, d) < 0)
		return -1;
	int64_t n = k->s.count, batch = k->s.batch < n ? k->s.batch : n;
	if ((k->sampler = vq_sampler_new(r->model, &k->s, batch, r->vars, r->o->threads, d)) == NULL)
		return -1;
	k->class = k->s.classes > 0 ? vq_alloc_array((size_t)n, sizeof(*k->class)) : NULL;
	for (int64_t i = 0; k->class && i < n; i++)
		k->class[i] = vq_sample_class(i, n, k->s.classes);
	k->w = (struct vq_drawing){ .n = n, .seed = r->seed, .class = k->class, .signal = r->signal };
	k->w.codes = vq_alloc_array((size_t)(n * vq_sample_tokens(&k->s)), sizeof(*k->w.codes));
	k->w.pictures = vq_alloc_array((size_t)n, vq_type_bytes(vq_sampler_picture(k->sampler)));
	return vq_sampler_run(k->sampler, &k->w, d);
}

/* The pictures with a leading axis, and of each its class. */
static int
write_arrays(const struct vq_stage_run *r, const struct drawn *k, struct vq_diags *d)
{
	struct vq_type all = *vq_sampler_picture(k->sampler), labels = { VQ_I32, { 1, { k->w.n } } };
	char *path = vq_run_path(r->run, "samples/%s.npy", k->s.name);

	memmove(all.shape.dim + 1, all.shape.dim, 3 * sizeof(*all.shape.dim));
	all.shape.rank = 4;
	all.shape.dim[0] = k->w.n;
	int error = vq_npy_write(path, &(struct vq_view){ k->w.pictures, &all }, d);
	free(path);
	if (error < 0 || k->class == NULL)
		return error;
	path = vq_run_path(r->run, "samples/%s.label.npy", k->s.name);
	error = vq_npy_write(path, &(struct vq_view){ k->class, &labels }, d);
	free(path);
	return error;
}

int
vq_sample_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	struct drawn k;
	int error = draw(r, stage, &k, d);

	if (error == 0) {
		char *path = vq_run_path(r->run, "samples/%s.png", k.s.name);
		error = vq_sample_grid(path, &k.s, vq_sampler_picture(k.sampler), k.w.pictures, k.class, k.w.n, d);
		if (error == 0)
			error = write_arrays(r, &k, d);
		if (error == 0)
			vq_run_say(r->run, "stage %s: %lld samples, %.0f tokens/s, %s", k.s.name, (long long)k.w.n,
			    (double)(k.w.n * vq_sample_tokens(&k.s)) / k.w.seconds, path);
		free(path);
	}
	drop(&k);
	return (int)vq_diags_status(d);
}

int
vq_sample_show(const struct vq_stage_run *r, const char *stage, struct vq_image *out, struct vq_diags *d)
{
	struct drawn k;
	int i = vq_stage_find(r->model, stage, d), error;

	if (i == VQ_NONE)
		return -1;
	error = draw(r, i, &k, d);
	if (error == 0)
		error = draw_grid(out, &k.s, vq_sampler_picture(k.sampler), k.w.pictures, k.class, k.w.n, d);
	drop(&k);
	return error;
}
