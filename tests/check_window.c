/*
 * check_window -- codes drawn on a grid that is larger than what the prior sees, against the whole
 * graph computed anew for each code
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"

enum { CODES = 13, CLASSES = 3, SAMPLES = 5, NO_CLASS = CODES + CLASSES };

static const char yaml[] =
    "vqgraph: 1\n"
    "use: [lib/nn, lib/transformer]\n"
    "let: {codes: 13, classes: 3, high: 3, wide: 4, rows: 3, columns: 4, guidance: 1}\n"
    "modules:\n"
    "  prior: {gpt: {vocab: $(codes + classes + 1), out: $codes, length: $(high * wide), width: 16, layers: 2, heads: 2}}\n"
    "graphs:\n"
    "  next:\n"
    "    in:\n"
    "      token: i32[batch, time]\n"
    "    steps:\n"
    "      - {prior: {}, as: logits}\n"
    "    out: [logits]\n"
    "  decode:\n"
    "    in:\n"
    "      code: i32[batch, height, width]\n"
    "    steps:\n"
    "      - {cast: {to: f32}}\n"
    "      - {reshape: {shape: [$batch, $height, $width, 1]}, as: picture}\n"
    "    out: [picture]\n"
    "stages:\n"
    "  samples:\n"
    "    do: sample\n"
    "    graph: next\n"
    "    start: $codes\n"
    "    classes: $classes\n"
    "    null: $(codes + classes)\n"
    "    guidance: $guidance\n"
    "    length: $(high * wide)\n"
    "    window: [$high, $wide]\n"
    "    grid: [$rows, $columns]\n"
    "    decode: {graph: decode, value: picture}\n";

/* high, wide, rows, columns, guidance */
static const struct {
	int high, wide, rows, columns;
	double guidance;
	bool given;
} cases[] = {
	{ 3, 4, 3, 4, 1, false },		/* a window alone */
	{ 3, 4, 5, 7, 1, false },
	{ 3, 4, 3, 9, 1, false },		/* moves in one direction */
	{ 3, 4, 6, 4, 1, false },
	{ 2, 2, 5, 5, 2.5, false },
	{ 1, 6, 2, 8, 1, true },
	{ 4, 3, 7, 6, 0.5, true },
};

static void
expect_none(struct vq_diags *d)
{
	if (d->count)
		vq_diags_print(d, stderr, false);
	ck_assert_int_eq(d->count, 0);
}

/* Logits that differ: first values are so small that all codes are about as likely. */
static void
shake(struct vq_vars *v)
{
	uint64_t x = 1;

	for (int i = 0; i < v->count; i++) {
		float *w = v->var[i].data;
		for (int64_t k = 0; k < vq_shape_count(&v->var[i].type.shape); k++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			w[k] += (float)((double)(x >> 33) / 2147483648.0 - 0.5) * 0.6f;
		}
	}
}

/* Where a window stands, as in the sampling script of Esser et al.: by the place of the code in it. */
static int
first_of(int at, int window, int size)
{
	int local = at <= window / 2 ? at : size - at < window - window / 2 ? window - (size - at) : window / 2;

	return at - local;
}

/* The whole graph over windows of all samples, the second half of the rows of no class. */
struct whole {
	struct vq_plan *plan;
	int32_t *token;
	int length;
};

/* The logits of sample i at a code, guided, from the codes before it. */
static const float *
logits_at(struct whole *w, int c, const int32_t *codes, int i, int row, int column)
{
	int top = first_of(row, cases[c].high, cases[c].rows), left = first_of(column, cases[c].wide, cases[c].columns);
	int at = (row - top) * cases[c].wide + column - left;
	static float guided[CODES];
	struct vq_view v;

	w->token[0] = CODES + i * CLASSES / SAMPLES;
	w->token[w->length] = NO_CLASS;
	for (int k = 1; k < w->length; k++) {
		int r = top + (k - 1) / cases[c].wide, q = left + (k - 1) % cases[c].wide;
		/* What stands later must not matter. */
		int32_t code = k > at ? (7 * k + i) % CODES : codes[r * cases[c].columns + q];
		w->token[k] = w->token[w->length + k] = code;
	}
	vq_plan_run(w->plan, 1, 0);
	vq_plan_output(w->plan, "logits", &v);
	const float *own = (const float *)v.data + at * CODES, *none = own + w->length * CODES;
	for (int k = 0; k < CODES; k++)
		guided[k] = none[k] + (float)cases[c].guidance * (own[k] - none[k]);
	return guided;
}

/* Whether a code is the one that its number in [0, 1) picks, up to rounding. */
static void
picked(const float *logits, int32_t code, double u)
{
	double sum = 0, before = 0, own;

	for (int k = 0; k < CODES; k++)
		sum += exp(logits[k]);
	for (int k = 0; k < code; k++)
		before += exp(logits[k]);
	own = exp(logits[code]);
	ck_assert_msg(u > before / sum - 1e-5 && u < (before + own) / sum + 1e-5, "code %d is of %g to %g, and %g was drawn", code,
	    before / sum, (before + own) / sum, u);
}

START_TEST(test_window)
{
	int rows = cases[_i].rows, columns = cases[_i].columns, tokens = rows * columns;
	char text[5][40];
	struct vq_override set[5];
	struct vq_diags d = { 0 };
	struct vq_vars vars = { 0 };
	struct vq_sample s;
	int32_t class[SAMPLES], *codes = vq_alloc_array((size_t)(SAMPLES * tokens), sizeof(*codes));
	int32_t *known = vq_alloc_array((size_t)(SAMPLES * tokens), sizeof(*known));
	float *pictures = vq_alloc_array((size_t)(SAMPLES * tokens), sizeof(*pictures));

	snprintf(text[0], sizeof(text[0]), "high=%d", cases[_i].high);
	snprintf(text[1], sizeof(text[1]), "wide=%d", cases[_i].wide);
	snprintf(text[2], sizeof(text[2]), "rows=%d", rows);
	snprintf(text[3], sizeof(text[3]), "columns=%d", columns);
	snprintf(text[4], sizeof(text[4]), "guidance=%g", cases[_i].guidance);
	for (int i = 0; i < 5; i++)
		set[i].text = text[i];
	struct vq_model *m = vq_model_parse("window.yaml", yaml, sizeof(yaml) - 1, set, 5, &d);
	expect_none(&d);
	ck_assert_int_eq(vq_sample_read(m, 0, &s, &d), 0);
	ck_assert_int_eq(vq_sample_tokens(&s), tokens);
	ck_assert_int_eq(vq_sample_bind(m, &s, &vars, 1, &d), 0);
	expect_none(&d);
	shake(&vars);
	for (int i = 0; i < SAMPLES; i++)
		class[i] = i * CLASSES / SAMPLES;
	/* Some are given: a row for all samples, and here and there. */
	for (int i = 0; i < SAMPLES * tokens; i++)
		known[i] = i % tokens < columns || i % 5 == 3 ? i * 3 % CODES : -1;
	struct vq_drawing w = { .n = SAMPLES, .seed = 5, .class = class, .known = cases[_i].given ? known : NULL, .codes = codes,
	    .pictures = pictures };
	struct vq_sampler *sampler = vq_sampler_new(m, &s, 2, &vars, 1, &d);
	expect_none(&d);
	ck_assert_int_eq(vq_sampler_run(sampler, &w, &d), 0);
	ck_assert_int_eq(vq_sampler_picture(sampler)->shape.dim[0], rows);
	ck_assert_int_eq(vq_sampler_picture(sampler)->shape.dim[1], columns);

	struct whole whole = { .length = cases[_i].high * cases[_i].wide };
	struct vq_size size[] = { { "time", whole.length }, { "batch", 2 } };
	whole.token = vq_alloc_array(2 * (size_t)whole.length, sizeof(*whole.token));
	whole.plan = vq_compile(vq_model_expand(m, "next", false, size, 2, &d), &(struct vq_compile){ .threads = 1 }, &d);
	expect_none(&d);
	vq_plan_attach(whole.plan, &vars, NULL);
	vq_plan_input(whole.plan, "token", whole.token);
	for (int i = 0; i < SAMPLES * tokens; i++) {
		int at = i % tokens;
		ck_assert(codes[i] >= 0 && codes[i] < CODES);
		ck_assert_float_eq(pictures[i], (float)codes[i]);
		if (cases[_i].given && known[i] >= 0)
			ck_assert_int_eq(codes[i], known[i]);
		else
			picked(logits_at(&whole, _i, codes + i - at, i / tokens, at / columns, at % columns), codes[i],
			    vq_draw_uniform(5, (uint64_t)(i / tokens), (uint64_t)at));
	}
	vq_plan_free(whole.plan);
	free(whole.token);
	vq_sampler_free(sampler);
	vq_sample_free(&s);
	vq_vars_free(&vars);
	vq_model_free(m);
	free(codes);
	free(known);
	free(pictures);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("window");
	TCase *t = tcase_create("window");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_window, 0, (int)VQ_COUNT(cases));
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
