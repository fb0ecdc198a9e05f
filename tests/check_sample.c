/*
 * check_sample -- a prior one position at a time against the whole of it, and what is
 * drawn from its logits
 */
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"
#include "engine/stage.h"

/* --- priors ----------------------------------------------------------------- */

#define HEAD \
	"vqgraph: 1\n" \
	"use: [lib/nn]\n" \
	"let: {vocab: 11, dim: 12, length: 9, heads: 3}\n" \
	"blocks:\n"

#define ATTEND \
	"      - {linear: {out: $dim}, as: q}\n" \
	"      - {linear: {x: n, out: $dim}, as: k}\n" \
	"      - {linear: {x: n, out: $dim}, as: v}\n"

#define TAIL \
	"modules: {prior: gpt}\n" \
	"graphs:\n" \
	"  next:\n" \
	"    in:\n" \
	"      token: i32[batch, time]\n" \
	"    steps:\n" \
	"      - {prior: {}, as: logits}\n" \
	"    out: [logits]\n"

#define LABEL_TAIL \
	"modules: {prior: gpt}\n" \
	"graphs:\n" \
	"  next:\n" \
	"    in:\n" \
	"      token: i32[batch, time]\n" \
	"      label: i32[batch]\n" \
	"    steps:\n" \
	"      - {prior: {label: label}, as: logits}\n" \
	"    out: [logits]\n"

static const struct {
	const char *name, *yaml;
	int caches;
	bool once;
} priors[] = {
	{ "pre-norm, learned positions, several heads", HEAD
		"  unit:\n"
		"    in: {x: [n, t, c]}\n"
		"    steps:\n"
		"      - {layernorm: {}, as: n}\n"
		ATTEND
		"      - attention: {q: q, k: k, v: v, heads: $heads, causal: true}\n"
		"      - linear: {out: $dim}\n"
		"      - {add: {b: x}, as: y}\n"
		"      - layernorm\n"
		"      - linear: {out: $(4 * dim)}\n"
		"      - gelu\n"
		"      - linear: {out: $dim}\n"
		"      - add: {b: y}\n"
		"  gpt:\n"
		"    in: {token: any}\n"
		"    steps:\n"
		"      - embedding: {entries: $vocab, dim: $dim}\n"
		"      - position_embedding: {length: 20, deviation: 1}\n"
		"      - {unit: {}, repeat: 2}\n"
		"      - layernorm\n"
		"      - linear: {out: $vocab}\n"
		TAIL, 2, false },
	{ "post-norm, rotary, scale, one head", HEAD
		"  unit:\n"
		"    in: {n: [b, t, c]}\n"
		"    steps:\n"
		ATTEND
		"      - {positions: {x: n}, as: at}\n"
		"      - {rotary: {x: q, position: at, base: 100}, as: q1}\n"
		"      - {rotary: {x: k, position: at, base: 100}, as: k1}\n"
		"      - attention: {q: q1, k: k1, v: v, causal: true, scale: 0.7}\n"
		"      - add: {b: n}\n"
		"      - rms_norm\n"
		"  gpt:\n"
		"    in: {token: any}\n"
		"    steps:\n"
		"      - embedding: {entries: $vocab, dim: $dim}\n"
		"      - {unit: {}, repeat: 2}\n"
		"      - linear: {out: $vocab}\n"
		TAIL, 2, false },
	{ "tied head, positions looked up, heads by reshape and transpose of a weight", HEAD
		"  gpt:\n"
		"    in:\n"
		"      token: i32[b, t]\n"
		"    params:\n"
		"      table: {shape: [$vocab, $dim], init: {normal: 1}}\n"
		"      places: {shape: [20, $dim], init: {normal: 1}}\n"
		"    steps:\n"
		"      - {lookup: {table: table, index: token}, as: e}\n"
		"      - {slice: {x: places, axis: 0, start: 3, stop: $(3 + t)}, as: cut}\n"
		"      - {positions: {x: token}, as: at}\n"
		"      - {lookup: {table: cut, index: at}, as: p}\n"
		"      - {add: {a: e, b: p}, as: n}\n"
		ATTEND
		"      - attention: {q: q, k: k, v: v, heads: 2, causal: true}\n"
		"      - {softmax: {axis: -1}, as: h}\n"
		"      - {transpose: {x: table}, as: back}\n"
		"      - {matmul: {a: h, b: back}, as: one}\n"
		"      - {matmul: {a: h, b: table, transpose_b: true}}\n"
		"      - {add: {b: one}}\n"
		TAIL, 1, false },
	{ "a label that scales and shifts, and whole keys to attend to", HEAD
		"  gpt:\n"
		"    in:\n"
		"      token: any\n"
		"      label: i32[b]\n"
		"    steps:\n"
		"      - {embedding: {index: label, entries: 5, dim: $(2 * dim)}}\n"
		"      - silu\n"
		"      - linear: {out: $(2 * dim)}\n"
		"      - {reshape: {shape: [$b, 2, $dim]}, as: side}\n"
		"      - {slice: {x: side, axis: 1, stop: 1}, as: scale}\n"
		"      - {slice: {x: side, axis: 1, start: 1}, as: shift}\n"
		"      - {embedding: {index: token, entries: $vocab, dim: $dim}}\n"
		"      - position_embedding: {length: 9, deviation: 1}\n"
		"      - mul: {b: scale}\n"
		"      - {add: {b: shift}, as: n}\n"
		ATTEND
		"      - {attention: {q: q, k: k, v: v, heads: 4, causal: true}, as: own}\n"
		"      - {attention: {q: own, k: side, v: side, heads: 2}}\n"
		"      - add: {b: own}\n"
		"      - linear: {out: $vocab}\n"
		LABEL_TAIL, 1, true },
	{ "sines of positions, an axis of heads kept apart, integers of positions", HEAD
		"  gpt:\n"
		"    in:\n"
		"      token: i32[b, t]\n"
		"    steps:\n"
		"      - {embedding: {index: token, entries: $vocab, dim: $dim}, as: e}\n"
		"      - {positions: {x: token}, as: at}\n"
		"      - {cast: {to: f32}, as: real}\n"
		"      - sin\n"
		"      - {reshape: {shape: [1, -1, 1]}, as: wave}\n"
		"      - {add: {a: at, b: at}, as: twice}\n"
		"      - {one_hot: {index: twice, size: 20}}\n"
		"      - {linear: {out: $dim}}\n"
		"      - add: {b: e}\n"
		"      - {add: {b: wave}, as: n}\n"
		ATTEND
		"      - attention: {q: q, k: k, v: v, causal: true}\n"
		"      - {reshape: {shape: [$b, $t, 3, 4]}}\n"
		"      - {softmax: {axis: 2}}\n"
		"      - {transpose: {axes: [2, 0, 1, 3]}}\n"
		"      - {mean: {axes: [0]}}\n"
		"      - linear: {out: $vocab}\n"
		TAIL, 1, false },
	{ "a product of operands rounded to bf16", HEAD
		"  gpt:\n"
		"    in: {token: any}\n"
		"    params:\n"
		"      weight: {shape: [$dim, $vocab], init: {normal: 1}}\n"
		"    steps:\n"
		"      - embedding: {entries: $vocab, dim: $dim}\n"
		"      - linear: {out: $dim}\n"
		"      - matmul: {b: weight, precision: bf16}\n"
		TAIL, 0, false },
	{ "no attention at all", HEAD
		"  gpt:\n"
		"    in: {token: any}\n"
		"    steps:\n"
		"      - embedding: {entries: $vocab, dim: $dim}\n"
		"      - linear: {out: $vocab}\n"
		TAIL, 0, false },
};

enum { BATCH = 2 };

static void
expect_none(struct vq_diags *d)
{
	if (d->total)
		vq_diags_print(d, stderr, false);
	ck_assert_int_eq(d->total, 0);
}

static uint32_t
number(uint64_t i)
{
	return (uint32_t)(vq_mix(i + 1) >> 40);
}

/* Weights away from their first values, so that no zero hides a mistake. */
static void
shake(struct vq_vars *v)
{
	for (int i = 0; i < v->count; i++) {
		float *x = v->var[i].data;
		int64_t n = vq_shape_count(&v->var[i].type.shape);
		for (int64_t k = 0; v->var[i].kind == VQ_PARAM && k < n; k++)
			x[k] += ((float)(number((uint64_t)(1000 * i + k)) % 1000) / 1000 - 0.5f) * 0.3f;
	}
}

/* all [batch, time, vocab] at position i is one [batch, 1, vocab]; rounding is relative to the largest. */
static void
same_position(const char *name, const struct vq_view *all, const struct vq_view *one, int64_t i, float tolerance)
{
	int64_t length = all->type->shape.dim[1], vocab = all->type->shape.dim[2];
	float largest = 1;

	for (int64_t k = 0; k < vq_shape_count(&all->type->shape); k++)
		largest = fmaxf(largest, fabsf(((float *)all->data)[k]));
	for (int64_t k = 0; k < vq_shape_count(&one->type->shape); k++) {
		float x = ((float *)all->data)[(k / vocab * length + i) * vocab + k % vocab], y = ((float *)one->data)[k];
		ck_assert_msg(fabsf(x - y) <= tolerance * largest, "%s, position %lld, logit %lld: %g and %g, the largest is %g",
		    name, (long long)i, (long long)k, x, y, largest);
	}
}

static void
run_once(struct vq_graph *g, struct vq_vars *vars, const int32_t *labels, bool bf16, struct vq_diags *d)
{
	struct vq_plan *p = vq_compile(g, &(struct vq_compile){ .threads = 2, .bf16 = bf16 }, d);

	vq_plan_attach(p, vars, NULL);
	vq_plan_input(p, "label", labels);
	vq_plan_run(p, 1, 0);
	vq_plan_free(p);
}

/* Runs both and compares the logits of each position.  tokens and labels below these
 * are given. */
static void
compare(const struct vq_model *m, const struct vq_growing *how, const char *token, int64_t below, int64_t classes,
    int caches, const bool *once)
{
	struct vq_diags d = { 0 };
	struct vq_vars vars = { 0 };
	struct vq_incremental inc;
	struct vq_size size[] = { how->size[0], { how->time, how->length } };
	int64_t batch = how->size[0].value, length = how->length;
	int32_t *tokens = vq_alloc_array((size_t)(batch * length), sizeof(*tokens)), at;
	int32_t *now = vq_alloc_array((size_t)batch, sizeof(*now)), *labels = vq_alloc_array((size_t)batch, sizeof(*labels));
	struct vq_view all, one;

	struct vq_graph *g = vq_model_expand(m, how->graph, false, size, 2, &d);
	expect_none(&d);
	ck_assert_int_eq(vq_incremental(m, how, &inc, &d), 0);
	expect_none(&d);
	if (once) {
		ck_assert_int_eq(inc.caches, caches);
		ck_assert_int_eq(inc.once != NULL, *once);
		ck_assert(inc.weights != NULL);		/* matrices are packed */
	}
	struct vq_graph *before[] = { inc.weights, inc.once };
	int rounded = 0;
	for (vq_id v = 0; v < inc.step->values; v++)
		rounded += inc.step->value[v].type.dtype == VQ_BF16;
	ck_assert(!how->bf16 || !once || rounded > 2 * caches);		/* and matrices */
	vq_graph_verify(inc.step, "incremental");
	ck_assert_int_eq(vq_vars_bind(&vars, g, 3, &d), 0);
	shake(&vars);
	for (int i = 0; i < 2; i++)
		if (before[i])
			ck_assert_int_eq(vq_vars_bind(&vars, before[i], 3, &d), 0);
	ck_assert_int_eq(vq_vars_bind(&vars, inc.step, 3, &d), 0);
	struct vq_compile as = { .threads = 2, .bf16 = how->bf16 };
	struct vq_plan *whole = vq_compile(g, &as, &d), *step = vq_compile(inc.step, &as, &d);
	ck_assert_int_eq(step->copies, 0);		/* caches are written where they lie */
	for (int64_t i = 0; i < batch * length; i++)
		tokens[i] = (int32_t)(number((uint64_t)i + 77) % below);
	for (int64_t i = 0; i < batch; i++)
		labels[i] = (int32_t)(number((uint64_t)i + 7) % classes);
	vq_plan_attach(whole, &vars, NULL);
	vq_plan_input(whole, token, tokens);
	vq_plan_input(whole, "label", labels);
	vq_plan_run(whole, 1, 0);
	ck_assert(vq_plan_output(whole, how->output, &all));
	for (int i = 0; i < 2; i++)
		if (before[i])
			run_once(before[i], &vars, labels, how->bf16 && i == 1, &d);
	vq_plan_attach(step, &vars, NULL);
	vq_plan_input(step, token, now);
	vq_plan_input(step, "label", labels);
	vq_plan_input(step, "position", &at);
	for (int64_t i = 0; i < length; i++) {
		at = (int32_t)i;
		for (int64_t b = 0; b < batch; b++)
			now[b] = tokens[b * length + i];
		vq_plan_run(step, 1, 0);
		ck_assert(vq_plan_output(step, how->output, &one));
		/* Of keys and values that are kept, 8 bits of mantissa. */
		same_position(vq_model_path(m), &all, &one, i, how->bf16 ? 0.02f : 1e-5f);
	}
	vq_plan_free(whole);
	vq_plan_free(step);
	vq_vars_free(&vars);
	free(tokens);
	free(now);
	free(labels);
}

START_TEST(test_incremental)
{
	struct vq_diags d = { 0 };
	const char *yaml = priors[_i].yaml;
	struct vq_model *m = vq_model_parse(priors[_i].name, yaml, strlen(yaml), NULL, 0, &d);
	struct vq_size batch = { "batch", BATCH };

	expect_none(&d);
	for (int64_t i = 0; i < 4; i++) {
		int64_t length = i % 2 ? 1 : 9;
		struct vq_growing how = { "next", "time", length, "logits", &batch, 1, i >= 2 };
		if (length == 9)
			compare(m, &how, "token", 11, 5, priors[_i].caches, &priors[_i].once);
		else
			compare(m, &how, "token", 11, 5, 0, NULL);
	}
	vq_model_free(m);
}
END_TEST

/* What makes a prior small enough for a test. */
static const struct {
	const char *file;
	struct vq_override set[3];
} smaller[] = {
	{ "vqgan_256.yaml", { { "layers=2" }, { "heads=2" }, { "prior_width=32" } } },
};

static struct vq_model *
load_shipped(const char *file, const char *path, struct vq_diags *d)
{
	for (size_t i = 0; i < VQ_COUNT(smaller); i++)
		if (strcmp(smaller[i].file, file) == 0)
			return vq_model_load(path, smaller[i].set, VQ_COUNT(smaller[i].set), d);
	return vq_model_load(path, NULL, 0, d);
}

/* Every prior that is shipped: whatever has a stage that draws samples. */
START_TEST(test_shipped)
{
	DIR *dir = opendir(VQ_SRCDIR "/graphs");
	int stages = 0;

	ck_assert(dir != NULL);
	for (const struct dirent *f; (f = readdir(dir)); ) {
		struct vq_diags d = { 0 };
		char path[500];
		size_t n = strlen(f->d_name);
		if (n < 5 || strcmp(f->d_name + n - 5, ".yaml") != 0)
			continue;
		snprintf(path, sizeof(path), VQ_SRCDIR "/graphs/%s", f->d_name);
		struct vq_model *m = load_shipped(f->d_name, path, &d);
		expect_none(&d);
		for (int i = 0; i < vq_model_stages(m); i++) {
			struct vq_size batch = { "batch", BATCH };
			struct vq_sample s;
			if (vq_stage_kind(m, i, &d) != VQ_STAGE_SAMPLE)
				continue;
			ck_assert_int_eq(vq_sample_read(m, i, &s, &d), 0);
			if (s.method != VQ_METHOD_CAUSAL) {
				vq_sample_free(&s);
				continue;
			}
			struct vq_growing how = { s.graph, s.time, s.length, s.value, &batch, 1, false };
			int64_t below = s.codes > 0 ? s.codes : s.start;
			compare(m, &how, s.token, below > 0 ? below : 2, s.classes > 0 ? s.classes : 1, 0, NULL);
			vq_sample_free(&s);
			stages++;
		}
		vq_model_free(m);
	}
	closedir(dir);
	ck_assert_int_ge(stages, 3);
}
END_TEST

/* Graphs over x f32[batch, time, 4] made of tokens, and why each is refused. */
static const struct {
	const char *steps, *why;
} mixers[] = {
	{ "softmax: {axis: 1}", "softmax works along the axis of time" },
	{ "mean: {axes: [1], keep: true}", "mean works along the axis of time" },
	{ "sum", "sum works along the axis of time" },
	{ "attention: {q: x, k: x, v: x}", "attention lets each position see later ones (causal is false)" },
	{ "{slice: {axis: 1, stop: 3}}", "slice works along the axis of time" },
	{ "{concat: {x: [x, x], axis: 1}}", "where time is not an axis of its own" },
	{ "{reshape: {shape: [$(batch * time), 4]}}", "where time is not an axis of its own" },
	{ "{layer_norm: {axes: 2}}", "layer_norm works along the axis of time" },
	{ "group_norm: {groups: 2}", "group_norm is not known to treat positions apart" },
	{ "{matmul: {a: x, b: x, transpose_a: true}}", "matmul sums over positions" },
	{ "{matmul: {a: x, b: x, transpose_b: true}}", "where time is not an axis of its own" },
	{ "{lookup: {table: x, index: token}}", "where time is not an axis of its own" },
	{ "random_normal_like", "random_normal_like draws at random" },
	{ "{add: {b: $(1 / time)}}\n      - {relu: {}, if: $(time < 6)}", "has other steps at length 6 than at 5" },
};

START_TEST(test_refused)
{
	struct vq_diags d = { 0 };
	struct vq_incremental inc;
	char text[2000];
	struct vq_size batch = { "batch", BATCH };

	snprintf(text, sizeof(text), "vqgraph: 1\nuse: [lib/nn]\nmodules: {emb: {embedding: {entries: 9, dim: 4}}}\n"
	    "graphs:\n  next:\n    in:\n      token: i32[batch, time]\n    steps:\n      - {emb: {}, as: x}\n"
	    "      - %s\n      - {copy: {}, as: logits}\n    out: [logits]\n", mixers[_i].steps);
	struct vq_model *m = vq_model_parse("mixer.yaml", text, strlen(text), NULL, 0, &d);
	expect_none(&d);
	ck_assert_int_eq(vq_incremental(m, &(struct vq_growing){ "next", "time", 6, "logits", &batch, 1, false }, &inc, &d), -1);
	ck_assert_int_ge(d.count, 1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_CONFIG);
	ck_assert_msg(strstr(d.diag[0]->message, mixers[_i].why) != NULL, "'%s' instead of '%s'", d.diag[0]->message,
	    mixers[_i].why);
	ck_assert(d.diag[0]->at.line == 10 || strstr(mixers[_i].steps, "if:"));
	vq_diags_free(&d);
	vq_model_free(m);
}
END_TEST

/* --- draws ------------------------------------------------------------------ */

enum { VOCAB = 6, DRAWS = 40000 };

static int64_t
draw(const struct vq_draw *how, const float *logits, double u)
{
	_Alignas(16) char room[4096];

	ck_assert_uint_le(vq_draw_room(how->vocab), sizeof(room));
	return vq_draw_token(how, logits, u, room);
}

static const bool first_two[VOCAB] = { true, true };

/* Each distribution as it must be, from probabilities 1/2, 1/4, 1/8, 1/16, 1/32, 1/32. */
static const struct {
	struct vq_draw how;
	double weight[VOCAB];
} drawn[] = {
	{ { 1, 0, 1, VOCAB }, { 16, 8, 4, 2, 1, 1 } },
	{ { 2, 0, 1, VOCAB }, { 4, 2.8284271247461903, 2, 1.4142135623730951, 1, 1 } },
	{ { 0.5, 0, 1, VOCAB }, { 256, 64, 16, 4, 1, 1 } },
	{ { 1, 3, 1, VOCAB }, { 4, 2, 1 } },
	{ { 1, 5, 1, VOCAB }, { 16, 8, 4, 2, 1 } },		/* of two equal ones the first */
	{ { 1, 0, 0.749, VOCAB }, { 2, 1 } },
	{ { 1, 0, 0.751, VOCAB }, { 4, 2, 1 } },
	{ { 1, 0, 1e-9, VOCAB }, { 1 } },			/* always one at least */
	{ { 1, 2, 0.6, VOCAB }, { 1 } },			/* 2/3 of what top_k left */
	{ { 1, 0, 1, VOCAB, first_two }, { 0, 0, 4, 2, 1, 1 } },
	{ { 1, 2, 1, VOCAB, first_two }, { 0, 0, 2, 1 } },
	{ { 1, 0, 0.499, VOCAB, first_two }, { 0, 0, 1 } },
	{ { 0, 0, 1, VOCAB, first_two }, { 0, 0, 1 } },
	{ { 0, 4, 0.1, VOCAB }, { 1 } },
};

START_TEST(test_distribution)
{
	float logits[VOCAB];
	int64_t hits[VOCAB] = { 0 };
	double sum = 0, chi = 0;
	int free_cells = -1;

	for (int i = 0; i < VOCAB; i++) {
		logits[i] = (float)(300 - log(2) * (i < VOCAB - 1 ? i : i - 1));
		sum += drawn[_i].weight[i];
	}
	for (int i = 0; i < DRAWS; i++) {
		int64_t t = draw(&drawn[_i].how, logits, vq_draw_uniform(5, (uint64_t)i / 100, (uint64_t)i % 100));
		ck_assert(t >= 0 && t < VOCAB);
		hits[t]++;
	}
	for (int i = 0; i < VOCAB; i++) {
		double expected = DRAWS * drawn[_i].weight[i] / sum;
		if (expected == 0) {
			ck_assert_int_eq(hits[i], 0);
			continue;
		}
		free_cells++;
		chi += pow((double)hits[i] - expected, 2) / expected;
	}
	/* A thousandth of all seeds would be above it, at 1 to 5 degrees of freedom. */
	static const double limit[] = { 1e-9, 10.83, 13.82, 16.27, 18.47, 20.52 };
	ck_assert_msg(chi <= limit[free_cells], "chi-square %g with %d degrees of freedom", chi, free_cells);
}
END_TEST

START_TEST(test_draw_edges)
{
	static const bool all[3] = { true, true, true };
	struct vq_draw how = { 1, 0, 1, 3 };
	double last = 1 - 0x1p-53;

	ck_assert_int_eq(draw(&how, (float[]){ 1e30f, -1e30f, -INFINITY }, last), 0);
	ck_assert_int_eq(draw(&how, (float[]){ -INFINITY, -3e38f, -INFINITY }, 0), 1);
	ck_assert_int_eq(draw(&how, (float[]){ -INFINITY, -3e38f, -INFINITY }, last), 1);
	ck_assert_int_eq(draw(&how, (float[]){ 0, 0, 0 }, 0), 0);
	ck_assert_int_eq(draw(&how, (float[]){ 0, 0, 0 }, last), 2);
	ck_assert_int_eq(draw(&how, (float[]){ 0, 0, 0 }, 0.34), 1);
	how.top_p = 2.0 / 3;		/* just reached by two */
	ck_assert_int_eq(draw(&how, (float[]){ 0, 0, 0 }, last), 1);
	how.top_p = 1;
	how.temperature = 1e-30;
	ck_assert_int_eq(draw(&how, (float[]){ 1, 1.0001f, 0 }, last), 1);
	how.temperature = 1e30;
	ck_assert_int_eq(draw(&how, (float[]){ 1, 900, 0 }, 0.99), 2);
	how.temperature = 0;
	ck_assert_int_eq(draw(&how, (float[]){ 0, 7, 7 }, last), 1);
	/* What cannot be drawn from. */
	for (int t = 0; t < 2; t++, how.temperature = 1) {
		ck_assert_int_eq(draw(&how, (float[]){ 0, NAN, 0 }, 0), -1);
		ck_assert_int_eq(draw(&how, (float[]){ 0, INFINITY, 0 }, 0), -1);
		ck_assert_int_eq(draw(&how, (float[]){ -INFINITY, -INFINITY, -INFINITY }, 0), -1);
	}
	how.forbidden = (bool[]){ false, true, false };
	ck_assert_int_eq(draw(&how, (float[]){ 0, NAN, -9e9f }, 0.5), 0);	/* nobody asked it */
	how.forbidden = all;
	ck_assert_int_eq(draw(&how, (float[]){ 0, 0, 0 }, 0), -1);
}
END_TEST

/* Selection against sorting: a top_k out of many, most of them equal to others. */
START_TEST(test_top_k)
{
	enum { MANY = 100 };
	float logits[MANY];

	for (int round = 0; round < 200; round++) {
		struct vq_draw how = { 1, 1 + round % MANY, 1, MANY };
		bool can[MANY];
		for (int i = 0; i < MANY; i++)
			logits[i] = (float)(number((uint64_t)(round * MANY + i)) % (1 + (unsigned)round)) / 100;
		for (int i = 0; i < MANY; i++) {
			int before = 0;
			for (int j = 0; j < MANY; j++)
				before += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
			can[i] = before < how.top_k;
		}
		for (int k = 0; k < 50; k++)
			ck_assert(can[draw(&how, logits, (k + 0.5) / 50)]);
		ck_assert(can[draw(&how, logits, 1 - 0x1p-53)]);
	}
}
END_TEST

START_TEST(test_guide)
{
	float cond[] = { 1, 2, -INFINITY, 0.5f }, none[] = { 0, 4, -INFINITY, 0.5f };

	vq_guide(cond, none, 3, 4);
	ck_assert(cond[0] == 3 && cond[1] == -2 && cond[2] == -INFINITY && cond[3] == 0.5f);
}
END_TEST

START_TEST(test_log_probability)
{
	struct vq_draw how = { 0, 1, 0.1, 4, (const bool[]){ false, false, true, false } };	/* temperature and choice do not matter */
	_Alignas(16) char room[1000];
	float logits[] = { 1000, 1001, 5000, -INFINITY };

	ck_assert_double_eq_tol(vq_draw_log_probability(&how, logits, 0, room), -log(1 + exp(1)), 1e-12);
	ck_assert_double_eq_tol(vq_draw_log_probability(&how, logits, 1, room), 1 - log(1 + exp(1)), 1e-12);
	ck_assert(vq_draw_log_probability(&how, logits, 3, room) == -INFINITY);
}
END_TEST

/* Mean and variance of the standard Gumbel distribution, and the share above 0: 1 - 1/e. */
START_TEST(test_gumbel)
{
	double sum = 0, squares = 0, above = 0;

	for (int i = 0; i < DRAWS; i++) {
		double x = vq_draw_gumbel(3, (uint64_t)i / 100, (uint64_t)i % 100);
		ck_assert(isfinite(x));
		sum += x;
		squares += x * x;
		above += x > 0;
	}
	sum /= DRAWS;
	ck_assert_double_eq_tol(sum, 0.5772156649, 5 * 1.28 / 200);
	ck_assert_double_eq_tol(squares / DRAWS - sum * sum, 1.644934067, 0.08);
	ck_assert_double_eq_tol(above / DRAWS, 1 - exp(-1), 5 * 0.49 / 200);
}
END_TEST

/* --- masked tokens ---------------------------------------------------------- */

/* By hand, from a table of cosines: 49 cos(pi i / 16), rounded down, and so on. */
static const struct {
	enum vq_masking schedule;
	int64_t n, steps, left[8];
} masked[] = {
	{ VQ_MASKING_COSINE, 49, 8, { 48, 45, 40, 34, 27, 18, 9, 0 } },
	{ VQ_MASKING_ARCCOS, 49, 8, { 45, 41, 37, 32, 27, 22, 15, 0 } },	/* 45.1, 41.1, 37.0, 32.7, 27.9, 22.5, 15.8 */
	{ VQ_MASKING_LINEAR, 49, 8, { 42, 36, 30, 24, 18, 12, 6, 0 } },	/* 42.9, 36.8, 30.6, 24.5, 18.4, 12.3, 6.1 */
	{ VQ_MASKING_LINEAR, 10, 5, { 8, 6, 4, 2, 0 } },			/* whole numbers stay what they are */
	{ VQ_MASKING_COSINE, 6, 3, { 5, 3, 0 } },				/* 5.196, and 6 cos 60 = 3 */
	{ VQ_MASKING_ARCCOS, 3, 2, { 2, 0 } },
	{ VQ_MASKING_COSINE, 5, 5, { 4, 3, 2, 1, 0 } },				/* one each step, where there are so many */
	{ VQ_MASKING_COSINE, 1, 1, { 0 } },
};

START_TEST(test_masking)
{
	for (int64_t i = 1; i <= masked[_i].steps; i++)
		ck_assert_int_eq(vq_masking_left(masked[_i].schedule, masked[_i].n, i, masked[_i].steps), masked[_i].left[i - 1]);
}
END_TEST

/* Each step fixes one token at least, and the last one all that are left. */
START_TEST(test_masking_falls)
{
	ck_assert(vq_masking_share(_i, 0) == 1);
	ck_assert_double_eq_tol(vq_masking_share(_i, 1), 0, 1e-15);
	for (int64_t n = 1; n <= 300; n++)
		for (int64_t steps = 1; steps <= n; steps++) {
			int64_t left = n;
			for (int64_t i = 1; i <= steps; i++) {
				int64_t next = vq_masking_left(_i, n, i, steps);
				ck_assert_msg(next < left && next >= 0, "%lld tokens, step %lld of %lld: %lld, then %lld",
				    (long long)n, (long long)i, (long long)steps, (long long)left, (long long)next);
				left = next;
			}
			ck_assert_int_eq(left, 0);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sample");
	TCase *t = tcase_create("incremental");

	tcase_add_loop_test(t, test_incremental, 0, VQ_COUNT(priors));
	tcase_add_test(t, test_shipped);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_refused, 0, VQ_COUNT(mixers));
	suite_add_tcase(s, t);
	t = tcase_create("draws");
	tcase_add_loop_test(t, test_distribution, 0, VQ_COUNT(drawn));
	tcase_add_test(t, test_draw_edges);
	tcase_add_test(t, test_top_k);
	tcase_add_test(t, test_guide);
	tcase_add_test(t, test_log_probability);
	tcase_add_test(t, test_gumbel);
	suite_add_tcase(s, t);
	t = tcase_create("masked");
	tcase_add_loop_test(t, test_masking, 0, VQ_COUNT(masked));
	tcase_add_loop_test(t, test_masking_falls, VQ_MASKING_COSINE, VQ_MASKING_LINEAR + 1);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
