/*
 * check_layers -- blocks of graphs/lib that keep state, against plain C
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compile.h"
#include "engine/model.h"

enum { ROWS = 6, C = 3, CODES = 4 };

static const char model[] =
    "vqgraph: 1\n"
    "use: [lib/nn, lib/vq]\n"
    "modules:\n"
    "  bn: {batchnorm: {momentum: 0.25}}\n"
    "  vq: {ema_codebook: {codes: 4, dim: 3, decay: 0.75, restart: 0.9, beta: 0.5}}\n"
    "  up: {convt: {out: 2, kernel: 4, stride: 2, pad: 1, output_pad: 1}}\n"
    "  pos: {position_embedding: {length: 9}}\n"
    "graphs:\n"
    "  normal:\n"
    "    in:\n"
    "      x: f32[n, 3]\n"
    "    steps:\n"
    "      - {bn: {}, as: y}\n"
    "    out: [y]\n"
    "  quantize:\n"
    "    in:\n"
    "      x: f32[n, 3]\n"
    "    steps:\n"
    "      - {vq: {}, as: q}\n"
    "    out: [q.code, q.quantized, q.loss]\n"
    "  grow:\n"
    "    in:\n"
    "      x: f32[n, 3, 5, 3]\n"
    "    steps:\n"
    "      - {up: {}, as: y}\n"
    "    out: [y]\n"
    "  place:\n"
    "    in:\n"
    "      x: f32[n, 5, 3]\n"
    "    steps:\n"
    "      - {pos: {}, as: y}\n"
    "    out: [y]\n";

static struct vq_diags diags;
static struct vq_model *m;
static struct vq_vars vars;

static void
setup(void)
{
	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	m = vq_model_parse("layers.yaml", model, strlen(model), NULL, 0, &diags);
	if (m == NULL)
		vq_diags_print(&diags, stdout, false);
	ck_assert_ptr_nonnull(m);
}

static void
teardown(void)
{
	vq_model_free(m);
	vq_vars_free(&vars);
	vq_diags_free(&diags);
}

static struct vq_plan *
plan(const char *graph, bool train)
{
	struct vq_size size = { "n", ROWS };
	struct vq_compile how = { .threads = 1 };
	struct vq_graph *g = vq_model_expand(m, graph, train, &size, 1, &diags);
	struct vq_plan *p;

	ck_assert_ptr_nonnull(g);
	ck_assert_int_eq(vq_vars_bind(&vars, g, 1, &diags), 0);
	p = vq_compile(g, &how, &diags);
	ck_assert_ptr_nonnull(p);
	vq_plan_attach(p, &vars, NULL);
	return p;
}

static const float *
var(const char *name)
{
	const struct vq_var *v = vq_vars_find(&vars, name);

	ck_assert_msg(v != NULL, "there is no %s", name);
	return v->data;
}

static const void *
output(const struct vq_plan *p, const char *name)
{
	struct vq_view v;

	ck_assert(vq_plan_output(p, name, &v));
	return v.data;
}

static void
draw(float *x, int n, int seed)
{
	for (int i = 0; i < n; i++)
		x[i] = (float)sin(12.9898 * (i + 1) + 78.233 * seed) * 2;
}

START_TEST(test_batchnorm)
{
	struct vq_plan *train = plan("normal", true), *eval = plan("normal", false);
	double mean[C] = { 0 }, variance[C] = { 1, 1, 1 };
	float x[ROWS * C];

	for (int step = 0; step < 3; step++) {
		draw(x, ROWS * C, step);
		vq_plan_input(train, "x", x);
		vq_plan_run(train, 1, (uint64_t)step);
		const float *y = output(train, "y");
		for (int c = 0; c < C; c++) {
			double m1 = 0, m2 = 0;
			for (int i = 0; i < ROWS; i++)
				m1 += x[i * C + c] / (double)ROWS;
			for (int i = 0; i < ROWS; i++)
				m2 += pow(x[i * C + c] - m1, 2);
			for (int i = 0; i < ROWS; i++)
				ck_assert_double_eq_tol(y[i * C + c], (x[i * C + c] - m1) / sqrt(m2 / ROWS + 1e-5), 1e-5);
			mean[c] = 0.75 * mean[c] + 0.25 * m1;
			variance[c] = 0.75 * variance[c] + 0.25 * m2 / (ROWS - 1);
			ck_assert_double_eq_tol(var("bn.mean")[c], mean[c], 1e-6);
			ck_assert_double_eq_tol(var("bn.variance")[c], variance[c], 1e-5);
		}
	}
	vq_plan_input(eval, "x", x);
	vq_plan_run(eval, 1, 0);
	const float *y = output(eval, "y");
	for (int i = 0; i < ROWS * C; i++)
		ck_assert_double_eq_tol(y[i], (x[i] - mean[i % C]) / sqrt(variance[i % C] + 1e-5), 1e-5);
	for (int c = 0; c < C; c++)
		ck_assert_double_eq_tol(var("bn.mean")[c], mean[c], 1e-6);
	vq_plan_free(train);
	vq_plan_free(eval);
}
END_TEST

/* What ema_codebook keeps. */
struct book {
	double entry[CODES][C], total[CODES][C], uses[CODES];
};

static bool
is_row(const double *e, const float *x)
{
	for (int i = 0; i < ROWS; i++) {
		double far = 0;
		for (int c = 0; c < C; c++)
			far += fabs(e[c] - x[i * C + c]);
		if (far < 1e-5)
			return true;
	}
	return false;
}

static void
read_book(struct book *b)
{
	for (int k = 0; k < CODES; k++) {
		b->uses[k] = var("vq.uses")[k];
		for (int c = 0; c < C; c++) {
			b->entry[k][c] = var("vq.book")[k * C + c];
			b->total[k][c] = var("vq.total")[k * C + c];
		}
	}
}

/* Step `step` of the averages in double; entries out of use must be rows of the batch. */
static int
check_step(const struct book *was, const struct book *is, const float *x, const int32_t *code, int step)
{
	double rate = 0.25 / (1 - pow(0.75, step + 1));
	double uses[CODES], total[CODES][C] = { { 0 } }, n[CODES] = { 0 }, all = 0, least = 0.9 * ROWS / CODES;
	int restarted = 0;

	for (int i = 0; i < ROWS; i++) {
		n[code[i]]++;
		for (int c = 0; c < C; c++)
			total[code[i]][c] += x[i * C + c];
	}
	for (int k = 0; k < CODES; k++) {
		uses[k] = (1 - rate) * was->uses[k] + rate * n[k];
		all += uses[k];
	}
	for (int k = 0; k < CODES; k++) {
		if (uses[k] < least) {
			restarted++;
			ck_assert(is_row(is->entry[k], x));
			ck_assert_double_eq_tol(is->uses[k], 2 * least, 1e-5);
			for (int c = 0; c < C; c++)
				ck_assert_double_eq_tol(is->total[k][c], 2 * least * is->entry[k][c], 1e-5);
			continue;
		}
		double smooth = (uses[k] + 1e-5) / (all + CODES * 1e-5) * all;
		ck_assert_double_eq_tol(is->uses[k], uses[k], 1e-5);
		for (int c = 0; c < C; c++) {
			double t = (1 - rate) * was->total[k][c] + rate * total[k][c];
			ck_assert_double_eq_tol(is->total[k][c], t, 1e-5);
			ck_assert_double_eq_tol(is->entry[k][c], t / smooth, 1e-4);
		}
	}
	return restarted;
}

START_TEST(test_ema_codebook)
{
	struct vq_plan *train = plan("quantize", true), *eval = plan("quantize", false);
	struct book was = { 0 }, is;
	float x[ROWS * C];
	int restarted = 0;

	ck_assert_double_eq(var("vq.weight")[0], 0);
	for (int step = 0; step < 8; step++) {
		draw(x, ROWS * C, step);
		vq_plan_input(train, "x", x);
		vq_plan_run(train, 1, (uint64_t)step);
		read_book(&is);
		const int32_t *code = output(train, "q.code");
		const float *q = output(train, "q.quantized");
		double loss = 0;
		for (int i = 0; i < ROWS * C; i++) {
			if (step > 0)
				ck_assert_double_eq_tol(q[i], was.entry[code[i / C]][i % C], 1e-6);
			loss += pow(x[i] - q[i], 2) / (ROWS * C);
		}
		ck_assert_double_eq_tol(vq_plan_scalar(train, "q.loss"), 0.5 * loss, 1e-5);
		/* The first batch is quantized by vectors of its own. */
		for (int i = 0; step == 0 && i < ROWS; i++)
			ck_assert(is_row((double[]){ q[i * C], q[i * C + 1], q[i * C + 2] }, x));
		restarted += check_step(&was, &is, x, code, step);
		was = is;
	}
	ck_assert_int_gt(restarted, 0);
	ck_assert_double_eq_tol(var("vq.weight")[0], 1 - pow(0.75, 8), 1e-6);
	vq_plan_input(eval, "x", x);
	vq_plan_run(eval, 1, 99);
	read_book(&is);
	ck_assert_mem_eq(&is, &was, sizeof(is));
	vq_plan_free(train);
	vq_plan_free(eval);
}
END_TEST

START_TEST(test_sizes)
{
	struct vq_plan *grow = plan("grow", false), *place = plan("place", false);
	float x[ROWS * 15 * C];
	struct vq_view v;
	char text[VQ_TYPE_STR];

	draw(x, ROWS * 15 * C, 1);
	vq_plan_input(grow, "x", x);
	vq_plan_run(grow, 1, 0);
	ck_assert(vq_plan_output(grow, "y", &v));
	ck_assert_str_eq(vq_type_str(v.type, text), "f32[6, 7, 11, 2]");
	vq_plan_input(place, "x", x);
	vq_plan_run(place, 1, 0);
	const float *y = output(place, "y"), *table = var("pos.weight");
	for (int i = 0; i < ROWS * 5 * C; i++)
		ck_assert_float_eq_tol(y[i], x[i] + table[i % (5 * C)], 1e-6);
	vq_plan_free(grow);
	vq_plan_free(place);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("layers");
	TCase *t = tcase_create("layers");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_batchnorm);
	tcase_add_test(t, test_ema_codebook);
	tcase_add_test(t, test_sizes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
