/*
 * check_transformer -- the blocks of graphs/lib/transformer.yaml around tokens: starts,
 * ends, corruption; and that dropout is there while training only
 *
 * Attention and layers are compared with PyTorch in check_systems.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compile.h"
#include "engine/model.h"

enum { N = 64, T = 50, CODES = 7 };

static const char model[] =
    "vqgraph: 1\n"
    "use: [lib/nn, lib/transformer]\n"
    "modules:\n"
    "  plain: {gpt: {vocab: 7, length: 50, width: 8, layers: 2, heads: 2}}\n"
    "  noisy: {gpt: {vocab: 7, length: 50, width: 8, layers: 2, heads: 2, dropout: 0.5}}\n"
    "  forgetful: {gpt: {vocab: 7, length: 50, width: 8, layers: 2, heads: 2, attention_dropout: 0.5}}\n"
    "graphs:\n"
    "  tokens:\n"
    "    in:\n"
    "      code: i32[n, t]\n"
    "      label: i32[n]\n"
    "    steps:\n"
    "      - {start: {token: 9}, as: started}\n"
    "      - {class_start: {code: code, label: label, token: 20}, as: labelled}\n"
    "      - {end: {code: code, token: 99}, as: ended}\n"
    "      - {corrupt: {code: code, keep: 0.75, codes: 7}, as: corrupted}\n"
    "      - {corrupt: {code: code, keep: 1, codes: 7}, as: whole}\n"
    "      - {drop_class: {label: label, share: 0.5, classes: 10}, as: class}\n"
    "      - {drop_class: {label: label, share: 0, classes: 10}, as: all_classes}\n"
    "    out: [started, labelled, ended, corrupted, whole, class, all_classes]\n"
    "  logits:\n"
    "    in:\n"
    "      code: i32[n, t]\n"
    "    steps:\n"
    "      - {plain: {}, as: p}\n"
    "      - {noisy: {token: code}, as: d}\n"
    "      - {forgetful: {token: code}, as: a}\n"
    "    out: [p, d, a]\n";

static struct vq_diags diags;
static struct vq_model *m;
static struct vq_vars vars;
static int32_t code[N * T], label[N];

static void
setup(void)
{
	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	m = vq_model_parse("transformer.yaml", model, strlen(model), NULL, 0, &diags);
	if (m == NULL)
		vq_diags_print(&diags, stdout, false);
	ck_assert_ptr_nonnull(m);
	for (int i = 0; i < N * T; i++)
		code[i] = (i * 31 + i / 7) % CODES;
	for (int i = 0; i < N; i++)
		label[i] = i % 10;
}

static void
teardown(void)
{
	vq_model_free(m);
	vq_vars_free(&vars);
	vq_diags_free(&diags);
}

static struct vq_plan *
plan(const char *graph, bool train, int64_t n, int64_t t)
{
	const struct vq_size size[] = { { "n", n }, { "t", t } };
	struct vq_graph *g = vq_model_expand(m, graph, train, size, 2, &diags);
	struct vq_plan *p;

	if (g == NULL)
		vq_diags_print(&diags, stdout, false);
	ck_assert_ptr_nonnull(g);
	ck_assert_int_eq(vq_vars_bind(&vars, g, 1, &diags), 0);
	p = vq_compile(g, &(struct vq_compile){ .threads = 1 }, &diags);
	ck_assert_ptr_nonnull(p);
	vq_plan_attach(p, &vars, NULL);
	ck_assert(vq_plan_input(p, "code", code));
	vq_plan_input(p, "label", label);		/* of one of the graphs */
	return p;
}

static const void *
output(const struct vq_plan *p, const char *name, int64_t count)
{
	struct vq_view v;

	ck_assert(vq_plan_output(p, name, &v));
	ck_assert_int_eq(vq_shape_count(&v.type->shape), count);
	return v.data;
}

/* One token before, and the last one gone; or one after. A sequence of one token, too. */
START_TEST(test_starts_and_ends)
{
	static const int lengths[] = { T, 1 };
	int t = lengths[_i];
	struct vq_plan *p = plan("tokens", false, N, t);

	vq_plan_run(p, 1, 0);
	const int32_t *started = output(p, "started", (int64_t)N * t), *labelled = output(p, "labelled", (int64_t)N * t),
	    *ended = output(p, "ended", (int64_t)N * (t + 1));
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(started[i * t], 9);
		ck_assert_int_eq(labelled[i * t], 20 + label[i]);
		ck_assert_int_eq(ended[i * (t + 1) + t], 99);
		for (int j = 0; j < t; j++) {
			ck_assert_int_eq(ended[i * (t + 1) + j], code[i * t + j]);
			ck_assert(j == 0 || started[i * t + j] == code[i * t + j - 1]);
			ck_assert(j == 0 || labelled[i * t + j] == code[i * t + j - 1]);
		}
	}
	vq_plan_free(p);
}
END_TEST

/* A label stays or becomes the class that stands for none. */
START_TEST(test_dropped_classes)
{
	struct vq_plan *p = plan("tokens", true, N, T);
	int dropped = 0;

	vq_plan_run(p, 1, 0);
	const int32_t *y = output(p, "class", N);
	for (int i = 0; i < N; i++) {
		ck_assert(y[i] == label[i] || y[i] == 10);
		dropped += y[i] == 10;
	}
	ck_assert_int_gt(dropped, N / 4);
	ck_assert_int_lt(dropped, N * 3 / 4);
	ck_assert_mem_eq(output(p, "all_classes", N), label, sizeof(label));
	vq_plan_free(p);

	p = plan("tokens", false, N, T);
	vq_plan_run(p, 1, 0);
	ck_assert_mem_eq(output(p, "class", N), label, sizeof(label));
	vq_plan_free(p);
}
END_TEST

/* Of what is not kept, a CODES-th is drawn as it was. */
START_TEST(test_corruption)
{
	struct vq_plan *p = plan("tokens", true, N, T);
	int changed = 0, seen[CODES] = { 0 };
	int32_t before[N * T];
	double share = 0.25 * (CODES - 1) / CODES, deviation = sqrt(share * (1 - share) / (N * T));

	vq_plan_run(p, 1, 0);
	const int32_t *y = output(p, "corrupted", N * T);
	for (int i = 0; i < N * T; i++) {
		ck_assert_int_ge(y[i], 0);
		ck_assert_int_lt(y[i], CODES);
		changed += y[i] != code[i];
		seen[y[i]] += y[i] != code[i];
	}
	ck_assert_double_lt(fabs(changed / (double)(N * T) - share), 5 * deviation);
	for (int k = 0; k < CODES; k++)
		ck_assert_int_gt(seen[k], changed / CODES / 2);
	ck_assert_mem_eq(output(p, "whole", N * T), code, sizeof(code));
	memcpy(before, y, sizeof(before));
	vq_plan_run(p, 1, 1);
	ck_assert_mem_ne(output(p, "corrupted", N * T), before, sizeof(before));	/* another step, other tokens */
	vq_plan_free(p);

	p = plan("tokens", false, N, T);
	vq_plan_run(p, 1, 0);
	ck_assert_mem_eq(output(p, "corrupted", N * T), code, sizeof(code));
	vq_plan_free(p);
}
END_TEST

static void
copy_weights(const char *to)
{
	for (int i = 0; i < vars.count; i++) {
		const struct vq_var *from = &vars.var[i];
		if (strncmp(from->name, "plain.", 6) != 0)
			continue;
		char *name = vq_asprintf("%s%s", to, from->name + 6);
		struct vq_var *v = vq_vars_find(&vars, name);
		ck_assert_msg(v != NULL, "there is no %s", name);
		memcpy(v->data, from->data, vq_type_bytes(&v->type));
		free(name);
	}
}

/* With the same weights: the same outside of training, another result inside. */
START_TEST(test_dropout)
{
	for (int train = 0; train < 2; train++) {
		struct vq_plan *p = plan("logits", train, N, T);
		copy_weights("noisy.");
		copy_weights("forgetful.");
		vq_plan_run(p, 1, 0);
		const void *plain = output(p, "p", N * T * CODES);
		size_t size = sizeof(float) * N * T * CODES;
		ck_assert_int_eq(memcmp(output(p, "d", N * T * CODES), plain, size) == 0, !train);
		ck_assert_int_eq(memcmp(output(p, "a", N * T * CODES), plain, size) == 0, !train);
		vq_plan_free(p);
	}
}
END_TEST

/* Logits before a token do not depend on it. */
START_TEST(test_causal)
{
	enum { AT = 20 };
	struct vq_plan *p = plan("logits", false, 1, T);
	float before[T * CODES];
	const float *y;

	vq_plan_run(p, 1, 0);
	memcpy(before, output(p, "p", T * CODES), sizeof(before));
	code[AT] = (code[AT] + 1) % CODES;
	vq_plan_run(p, 1, 0);
	y = output(p, "p", T * CODES);
	ck_assert_mem_eq(y, before, sizeof(float) * AT * CODES);
	for (int i = AT; i < T; i++)
		ck_assert_mem_ne(y + i * CODES, before + i * CODES, sizeof(float) * CODES);
	vq_plan_free(p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("transformer");
	TCase *t = tcase_create("blocks");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_starts_and_ends, 0, 2);
	tcase_add_test(t, test_dropped_classes);
	tcase_add_test(t, test_corruption);
	tcase_add_test(t, test_dropout);
	tcase_add_test(t, test_causal);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
