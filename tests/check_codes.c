/*
 * check_codes -- several codebooks, drawn entries, codes without entries, and the way back
 * from codes to vectors, against plain C
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "tests/quantizer.h"

/* --- several codebooks ------------------------------------------------------------ */

/* Parts of a vector, or what is left of it, one codebook after the other. */
static void
check_books(const char *name, int books, bool residual)
{
	int d = residual ? D : D / books, entries = books * K, n = ROWS * books;
	struct kept hidden = { 0 }, k;
	struct probe q;

	open_probe(&q, name, 0.5, true);
	for (int step = 0; step < 4; step++) {
		double loss = 0, dz[Z] = { 0 }, value[Z] = { 0 }, x[ROWS * BOOKS * D];
		int entry[ROWS * BOOKS];
		float book[BOOKS * K * D];
		memcpy(book, var(&q, "vq.book"), (size_t)(entries * d) * sizeof(*book));
		run_probe(&q);
		for (int i = 0; i < n; i++) {
			const double *before = value + i / books * D;
			double *part = x + i * d;
			for (int j = 0; j < d; j++)
				part[j] = residual ? q.z[i / books * D + j] - before[j] : q.z[i * d + j];
			ck_assert_int_eq(q.code[i], nearest(part, book + i % books * K * d, K, d));
			entry[i] = i % books * K + q.code[i];
			for (int j = 0; j < d; j++) {
				int at = residual ? i / books * D + j : i * d + j;
				value[at] += book[entry[i] * d + j];
				dz[at] += 2 * 0.5 * (part[j] - book[entry[i] * d + j]) / (n * d);
				loss += 0.5 * pow(part[j] - book[entry[i] * d + j], 2) / (n * d);
			}
		}
		same(q.quantized, value, Z, 1e-6, "quantized");
		ck_assert_double_eq_tol(q.loss, loss, 1e-5 * (1 + loss));
		same(q.dz, dz, Z, 1e-6, "d loss / dz");
		straight(&q);
		zero(output(&q, "d vq.loss / d vq.book"), entries * d, "d loss / d book");
		average(&hidden, &k, x, entry, n, entries, d, 1 - pow(0.75, step + 1));
		for (int e = 0; e < entries; e++)	/* smoothed over all books together */
			ck_assert_double_eq_tol(var(&q, "vq.uses")[e], k.uses[e], 1e-5);
		same_kept(&q, &k, entries, d);
	}
	close_probe(&q);
}

START_TEST(test_codebooks)
{
	check_books("grouped", 2, false);
	check_books("residual", 3, true);
}
END_TEST

/* Each codebook's fresh entries are what that codebook got, not what another did. */
START_TEST(test_codebooks_restart)
{
	int restarted = 0;
	struct probe q;
	float book[BOOKS * K * D];

	open_probe(&q, "revived", 0.25, true);
	memcpy(book, var(&q, "vq.book"), sizeof(book));
	run_probe(&q);
	for (int e = 0; e < BOOKS * K; e++) {
		bool found = false;
		int n = 0;
		for (int r = 0; r < ROWS; r++) {
			double part[D];
			bool equal = true;
			n += q.code[r * BOOKS + e / K] == e % K;
			for (int j = 0; j < D; j++) {
				part[j] = q.z[r * D + j];
				for (int b = 0; b < e / K; b++)
					part[j] -= book[(b * K + q.code[r * BOOKS + b]) * D + j];
				equal &= fabs(part[j] - var(&q, "vq.book")[e * D + j]) < 1e-6;
			}
			found |= equal;
		}
		if (n < 0.9 * ROWS / K) {
			restarted++;
			ck_assert_msg(found, "entry %d of codebook %d is nothing that it got", e % K, e / K);
			ck_assert_double_eq_tol(var(&q, "vq.uses")[e], 2 * 0.9 * ROWS / K, 1e-5);
		}
	}
	ck_assert_int_gt(restarted, 3);
	close_probe(&q);
}
END_TEST

/* --- Gumbel-softmax ------------------------------------------------------------------- */

static void
logits_of(const struct probe *q, int r, double *l)
{
	for (int k = 0; k < K; k++) {
		l[k] = var(q, "vq.scores_bias")[k];
		for (int j = 0; j < D; j++)
			l[k] += (double)q->z[r * D + j] * var(q, "vq.scores")[j * K + k];
	}
}

static void
softmax(const double *l, double temperature, double *p)
{
	double most = -INFINITY, sum = 0;

	for (int k = 0; k < K; k++)
		most = fmax(most, l[k] / temperature);
	for (int k = 0; k < K; k++)
		sum += p[k] = exp(l[k] / temperature - most);
	for (int k = 0; k < K; k++)
		p[k] /= sum;
}

/* Without noise: the entry of the highest score, with the gradient of softmax(scores / temperature). */
static void
check_scores(struct probe *q, double temperature)
{
	double pull[Z] = { 0 }, loss = 0;
	const float *book = var(q, "vq.book"), *scores = var(q, "vq.scores");

	run_probe(q);
	for (int r = 0; r < ROWS; r++) {
		double l[K], p[K], g[K], mean = 0;
		int best = 0;
		logits_of(q, r, l);
		softmax(l, 1, p);
		for (int k = 0; k < K; k++) {
			loss += 0.25 * p[k] * log(p[k] * K) / ROWS;
			best = l[k] > l[best] ? k : best;
			g[k] = 0;
			for (int j = 0; j < D; j++)
				g[k] += (double)q->w[r * D + j] * book[k * D + j];
		}
		ck_assert_int_eq(q->code[r], best);
		for (int j = 0; j < D; j++)
			ck_assert_double_eq_tol(q->quantized[r * D + j], book[best * D + j], 1e-6);
		softmax(l, temperature, p);
		for (int k = 0; k < K; k++)
			mean += p[k] * g[k];
		for (int k = 0; k < K; k++)
			for (int j = 0; j < D; j++)
				pull[r * D + j] += p[k] * (g[k] - mean) / temperature * scores[j * K + k];
	}
	same(q->pull, pull, Z, 1e-5, "d pull / dz");
	ck_assert_double_eq_tol(q->loss, loss, 1e-5);
}

/* The temperature counts training steps: 2 at first, 0.5 from step 4 on, half a cosine between. */
START_TEST(test_gumbel_temperature)
{
	struct probe q;

	open_probe(&q, "gumbel", 0, false);
	for (int step = 0; step < 7; step += 2) {
		float now = (float)step;
		memcpy(var(&q, "vq.step"), &now, sizeof(now));
		check_scores(&q, step >= 4 ? 0.5 : 1.25 + 0.75 * cos(acos(-1) * step / 4));
	}
	close_probe(&q);
}
END_TEST

/* Draws differ from step to step and from the highest score; over many, each entry comes as often as its share says. */
START_TEST(test_gumbel_draws)
{
	enum { STEPS = 3000 };
	double share[K] = { 0 }, seen[K] = { 0 };
	struct probe q;

	open_probe(&q, "gumbel", 0, true);
	for (int step = 0; step < STEPS; step++) {
		double l[K], p[K], db[K * D] = { 0 };
		run_probe(&q);
		logits_of(&q, 0, l);
		softmax(l, 1, p);
		seen[q.code[0]]++;
		for (int k = 0; k < K; k++)
			share[k] += p[k];
		for (int i = 0; i < Z; i++) {
			ck_assert_double_eq_tol(q.quantized[i], var(&q, "vq.book")[q.code[i / D] * D + i % D], 1e-6);
			db[q.code[i / D] * D + i % D] += q.w[i];
		}
		if (step < 3)
			same(output(&q, "d pull / d vq.book"), db, K * D, 1e-5, "d pull / d book");
	}
	ck_assert_double_eq(var(&q, "vq.step")[0], STEPS);
	for (int k = 0; k < K; k++)
		ck_assert_double_eq_tol(seen[k] / STEPS, share[k] / STEPS, 0.03);
	close_probe(&q);
}
END_TEST

/* The mixture lies between the entries, and is none of them. */
START_TEST(test_gumbel_soft)
{
	struct probe q;
	float least = INFINITY, most = -INFINITY, far = 0;

	open_probe(&q, "soft", 0, true);
	run_probe(&q);
	for (int k = 0; k < K; k++) {
		least = fminf(least, var(&q, "vq.book")[k * D]);
		most = fmaxf(most, var(&q, "vq.book")[k * D]);
	}
	for (int r = 0; r < ROWS; r++) {
		ck_assert(q.quantized[r * D] > least && q.quantized[r * D] < most);
		far = fmaxf(far, fabsf(q.quantized[r * D] - var(&q, "vq.book")[q.code[r] * D]));
	}
	ck_assert_float_gt(far, 0.1f);
	close_probe(&q);
}
END_TEST

/* --- codes without entries ---------------------------------------------------------- */

START_TEST(test_fsq)
{
	static const int levels[D] = { 5, 4, 3, 2 };
	double value[Z], pull[Z];
	struct probe q;

	open_probe(&q, "fsq", 0, true);
	run_probe(&q);
	for (int r = 0; r < ROWS; r++) {
		int code = 0, basis = 1;
		for (int j = 0; j < D; basis *= levels[j++]) {
			double half = (levels[j] - 1) * 0.999 / 2, offset = levels[j] % 2 ? 0 : 0.5, width = levels[j] / 2;
			double t = tanh(q.z[r * D + j] + tan(offset / half)), level = nearbyint(t * half - offset);
			ck_assert(level >= -width && level < levels[j] - width);
			value[r * D + j] = level / width;
			pull[r * D + j] = q.w[r * D + j] * (1 - t * t) * half / width;
			code += (int)(level + width) * basis;
		}
		ck_assert_int_eq(q.code[r], code);
	}
	same(q.quantized, value, Z, 1e-6, "quantized");
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	ck_assert(q.loss == 0);
	zero(q.dz, Z, "d loss / dz");
	close_probe(&q);
}
END_TEST

static double
entropy(double p)
{
	return -p * log(p) - (1 - p) * log(1 - p);
}

static double
lfq_loss(const double *z, double beta)
{
	double of_vectors = 0, of_batch = 0, commit = 0;

	for (int j = 0; j < D; j++) {
		double mean = 0;
		for (int r = 0; r < ROWS; r++) {
			double x = z[r * D + j], on = exp(-pow(x - 1, 2) / 2), off = exp(-pow(x + 1, 2) / 2), p = on / (on + off);
			of_vectors += entropy(p) / ROWS;
			mean += p / ROWS;
			commit += pow(x - (x > 0 ? 1 : -1), 2) / Z;
		}
		of_batch += entropy(mean);
	}
	return beta * commit + 0.5 * (of_vectors - 0.75 * of_batch);
}

static void
check_lfq(double beta)
{
	double z[Z], dz[Z];
	struct probe q;

	open_probe(&q, "lfq", beta, true);
	run_probe(&q);
	for (int i = 0; i < Z; i++) {
		z[i] = q.z[i];
		ck_assert(q.quantized[i] == (q.z[i] > 0 ? 1 : -1));
		ck_assert_int_eq(q.code[i / D] >> i % D & 1, q.z[i] > 0);
	}
	ck_assert_double_eq_tol(q.loss, lfq_loss(z, beta), 1e-5);
	for (int i = 0; i < Z; i++) {
		double was = z[i], up;
		z[i] = was + 1e-5;
		up = lfq_loss(z, beta);
		z[i] = was - 1e-5;
		dz[i] = (up - lfq_loss(z, beta)) / 2e-5;
		z[i] = was;
	}
	same(q.dz, dz, Z, 1e-5, "d loss / dz");
	straight(&q);
	close_probe(&q);
}

START_TEST(test_lfq)
{
	check_lfq(0.25);
	check_lfq(2);
}
END_TEST

/* --- from codes to vectors ------------------------------------------------------------- */

static const struct {
	const char *name, *steps;	/* from code to y */
} decoders[] = {
	{ "plain", "{lookup: {table: vq.book, index: vq.code}, as: y}" },
	{ "cosine", "{unit_length: {x: vq.book}}, {lookup: {index: vq.code}, as: y}" },
	{ "projected", "{lookup: {table: vq.inner.book, index: vq.code}}, {matmul: {b: vq.up}}, {add: {b: vq.up_bias}, as: y}" },
	{ "ema", "{lookup: {table: vq.book, index: vq.code}, as: y}" },
	{ "gumbel", "{lookup: {table: vq.book, index: vq.code}, as: y}" },
	{ "grouped", "{lookup_books: {table: vq.book, code: vq.code}}, {reshape_like: {like: vq.quantized}, as: y}" },
	{ "residual", "{lookup_books: {table: vq.book, code: vq.code}}, {sum: {axes: [-2]}, as: y}" },
	{ "fsq", "{fsq_lookup: {index: vq.code, levels: [5, 4, 3, 2]}, as: y}" },
	{ "lfq", "{sign_lookup: {index: vq.code, dim: 4}, as: y}" },
};

START_TEST(test_decoders)
{
	char *text = model_of(decoders[_i].name, 0.25), *all;
	struct vq_size size = { "n", ROWS / 2 };
	struct vq_vars vars = { 0 };
	float z[Z];

	all = vq_asprintf("%s  h:\n    in:\n      z: f32[n, 2, 4]\n    steps: [{vq: {}, as: vq}, %s]\n    out: [vq.quantized, y]\n", text,
	    decoders[_i].steps);
	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	struct vq_model *m = vq_model_parse("decoder.yaml", all, strlen(all), NULL, 0, &diags);
	no_errors(m);
	struct vq_graph *g = vq_model_expand(m, "h", false, &size, 1, &diags);
	no_errors(g);
	ck_assert_int_eq(vq_vars_bind(&vars, g, 7, &diags), 0);
	struct vq_plan *p = vq_compile(g, &(struct vq_compile){ .threads = 1 }, &diags);
	no_errors(p);
	vq_plan_attach(p, &vars, NULL);
	for (int i = 0; i < Z; i++)
		z[i] = (float)sin(12.9898 * (i + 1)) * 2;
	vq_plan_input(p, "z", z);
	vq_plan_run(p, 1, 0);
	struct vq_view q, y;
	ck_assert(vq_plan_output(p, "vq.quantized", &q) && vq_plan_output(p, "y", &y));
	ck_assert(vq_type_equal(q.type, y.type));
	for (int i = 0; i < Z; i++)
		ck_assert_double_eq_tol(vq_get(&q, i), vq_get(&y, i), 1e-6);
	vq_plan_free(p);
	vq_vars_free(&vars);
	vq_model_free(m);
	free(text);
	free(all);
}
END_TEST

/* Which codes there are is known from the steps that take them, so that others are refused. */
static const struct {
	const char *name, *type, *steps;
	int64_t below;
} limits[] = {
	{ "plain", "i32[n, 2]", "{lookup: {table: vq.book, index: code}, as: y}", K },
	{ "residual", "i32[n, 2, 3]", "{lookup_books: {table: vq.book, code: code}, as: y}", K },
	{ "fsq", "i32[n, 2]", "{fsq_lookup: {index: code, levels: [5, 4, 3, 2]}, as: y}", 120 },
	{ "lfq", "i32[n, 2]", "{sign_lookup: {index: code, dim: 4}, as: y}", 16 },
};

START_TEST(test_limits)
{
	char *text = model_of(limits[_i].name, 0.25), *all;
	struct vq_size size = { "n", 3 };

	all = vq_asprintf("%s  h:\n    in:\n      code: %s\n    steps: [%s]\n    out: [y]\n", text, limits[_i].type, limits[_i].steps);
	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	struct vq_model *m = vq_model_parse("limits.yaml", all, strlen(all), NULL, 0, &diags);
	no_errors(m);
	struct vq_graph *g = vq_model_expand(m, "h", false, &size, 1, &diags);
	no_errors(g);
	struct vq_places *of = vq_graph_places(g);
	ck_assert_int_eq(of[vq_graph_find(g, "code")].below, limits[_i].below);
	free(of);
	vq_graph_free(g);
	vq_model_free(m);
	free(text);
	free(all);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("codes");
	TCase *t = tcase_create("codes");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_codebooks);
	tcase_add_test(t, test_codebooks_restart);
	tcase_add_test(t, test_gumbel_temperature);
	tcase_add_test(t, test_gumbel_draws);
	tcase_add_test(t, test_gumbel_soft);
	tcase_add_test(t, test_fsq);
	tcase_add_test(t, test_lfq);
	tcase_add_loop_test(t, test_decoders, 0, VQ_COUNT(decoders));
	tcase_add_loop_test(t, test_limits, 0, VQ_COUNT(limits));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
