/*
 * check_quantizers -- every quantizer of graphs/lib/vq.yaml against plain C: values,
 * where the gradients go, and what beta scales
 *
 * Each graph has z, the vectors, and w, the gradient that the decoder sends: `pull` is the sum
 * of quantized * w, so that d pull / dz is what the quantizer makes of w.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/compile.h"
#include "engine/model.h"

enum { ROWS = 12, D = 4, K = 5, Z = ROWS * D, BOOKS = 3 };

/* name, quantizer, its book (NULL: none) */
static const struct {
	const char *name, *block, *book;
} quantizers[] = {
	{ "plain", "codebook: {codes: 5, dim: 4, beta: $beta, spread: 1}", "book" },
	{ "cosine", "codebook: {codes: 5, dim: 4, beta: $beta, spread: 1, cosine: true}", "book" },
	{ "rotate", "codebook: {codes: 5, dim: 4, beta: $beta, spread: 1, rotate: true}", "book" },
	{ "projected", "projected_codebook: {codes: 5, dim: 2, beta: $beta, cosine: false, init: normal, spread: 1}", "inner.book" },
	{ "ema", "ema_codebook: {codes: 5, dim: 4, beta: $beta, decay: 0.75, restart: 0, start: false}", "book" },
	{ "biased", "ema_codebook: {codes: 5, dim: 4, beta: $beta, decay: 0.75, restart: 0, start: false, debias: false}", "book" },
	{ "turned", "ema_codebook: {codes: 5, dim: 4, beta: $beta, restart: 0, start: false, rotate: true}", "book" },
	{ "restart", "ema_codebook: {codes: 5, dim: 4, beta: $beta, decay: 0.75, restart: 0.9}", "book" },
	{ "kmeans", "ema_codebook: {codes: 5, dim: 4, beta: $beta, kmeans: 40, restart: 0}", "book" },
	{ "grouped", "codebooks: {books: 2, codes: 5, dim: 2, beta: $beta, decay: 0.75, restart: 0}", "book" },
	{ "residual", "codebooks: {books: 3, codes: 5, dim: 4, residual: true, beta: $beta, decay: 0.75, restart: 0}", "book" },
	{ "revived", "codebooks: {books: 3, codes: 5, dim: 4, residual: true, decay: 0.75, restart: 0.9}", "book" },
	{ "gumbel", "gumbel_codebook: {codes: 5, dim: 4, temperature: 2, final: 0.5, steps: 4, weight: 0.25}", "book" },
	{ "soft", "gumbel_codebook: {codes: 5, dim: 4, temperature: 2, final: 0.5, steps: 4, weight: 0.25, hard: false}", "book" },
	{ "fsq", "fsq: {levels: [5, 4, 3, 2]}", NULL },
	{ "lfq", "lfq: {dim: 4, beta: $beta, entropy: 0.5, diversity: 0.75, temperature: 2}", NULL },
};

static struct vq_diags diags;

/* --- one quantizer ---------------------------------------------------------- */

struct probe {
	struct vq_model *m;
	struct vq_plan *p;
	struct vq_vars vars;
	float z[Z], w[Z];
	const int32_t *code;
	const float *quantized, *pull, *dz;	/* d pull / dz, d loss / dz */
	double loss;
	uint64_t step;
};

static void
no_errors(const void *result)
{
	if (diags.total > 0)
		vq_diags_print(&diags, stdout, false);
	ck_assert(result != NULL && diags.total == 0);
}

static char *
model_of(const char *name, double beta)
{
	struct vq_text t = { 0 };
	const char *book = NULL;

	vq_text_add(&t, "vqgraph: 1\nuse: [lib/nn, lib/vq]\nlet: {beta: %g}\nmodules:\n", beta);
	for (size_t i = 0; i < VQ_COUNT(quantizers); i++)
		if (strcmp(quantizers[i].name, name) == 0) {
			vq_text_add(&t, "  vq: {%s}\n", quantizers[i].block);
			book = quantizers[i].book;
		}
	vq_text_add(&t, "graphs:\n  g:\n    in:\n      z: f32[n, 2, 4]\n      w: f32[n, 2, 4]\n    steps:\n"
	    "      - {vq: {}, as: vq}\n      - {mul: {a: vq.quantized, b: w}}\n      - {sum: {}, as: pull}\n"
	    "    out: [vq.code, vq.quantized, vq.loss, pull]\n");
	if (book)
		vq_text_add(&t, "  book:\n    in: {}\n    steps: [{copy: {x: vq.%s}, as: y}]\n    out: [y]\n", book);
	return t.s;
}

static void
ask(struct vq_graph *g, const char *of, const char *by)
{
	char *name = vq_asprintf("d %s / d %s", of, by);
	vq_id wrt = vq_graph_find(g, by), grad;

	if (wrt != VQ_NONE) {
		ck_assert_int_eq(vq_gradient(g, vq_graph_find_output(g, of), VQ_NONE, &wrt, 1, &grad), 0);
		vq_graph_output(g, name, grad);
	}
	free(name);
}

static void
open_probe(struct probe *q, const char *name, double beta, bool train)
{
	char *text = model_of(name, beta), *path = vq_asprintf("%s.yaml", name);
	struct vq_size size = { "n", ROWS / 2 };
	struct vq_graph *g;

	memset(q, 0, sizeof(*q));
	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	q->m = vq_model_parse(path, text, strlen(text), NULL, 0, &diags);
	no_errors(q->m);
	g = vq_model_expand(q->m, "g", train, &size, 1, &diags);
	no_errors(g);
	for (int i = 0; i < 2; i++)
		for (const char *const *by = (const char *const[]){ "z", "vq.book", "vq.inner.book", "vq.down", "vq.scores",
		    "vq.total", NULL }; *by; by++)
			ask(g, i ? "vq.loss" : "pull", *by);
	no_errors(g);
	ck_assert_int_eq(vq_vars_bind(&q->vars, g, 7, &diags), 0);
	q->p = vq_compile(g, &(struct vq_compile){ .threads = 1 }, &diags);
	no_errors(q->p);
	vq_plan_attach(q->p, &q->vars, NULL);
	free(text);
	free(path);
}

static const float *
output(const struct probe *q, const char *name)
{
	struct vq_view v;

	ck_assert_msg(vq_plan_output(q->p, name, &v), "there is no '%s'", name);
	return v.data;
}

static void
run_probe(struct probe *q)
{
	for (int i = 0; i < Z; i++) {
		q->z[i] = (float)sin(12.9898 * (i + 1) + 78.233 * (double)q->step) * 2;
		q->w[i] = (float)cos(4.1414 * (i + 1));
	}
	vq_plan_input(q->p, "z", q->z);
	vq_plan_input(q->p, "w", q->w);
	vq_plan_run(q->p, 7, q->step++);
	q->code = (const void *)output(q, "vq.code");
	q->quantized = output(q, "vq.quantized");
	q->pull = output(q, "d pull / d z");
	q->dz = output(q, "d vq.loss / d z");
	q->loss = vq_plan_scalar(q->p, "vq.loss");
}

static void
close_probe(struct probe *q)
{
	vq_plan_free(q->p);
	vq_vars_free(&q->vars);
	vq_model_free(q->m);
}

static float *
var(const struct probe *q, const char *name)
{
	const struct vq_var *v = vq_vars_find(&q->vars, name);

	ck_assert_msg(v != NULL, "there is no %s", name);
	return v->data;
}

/* --- plain C ---------------------------------------------------------------- */

static double
dot(const double *a, const double *b, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static int
nearest(const double *x, const float *book, int k, int d)
{
	double best = INFINITY;
	int at = 0;

	for (int e = 0; e < k; e++) {
		double sum = 0;
		for (int j = 0; j < d; j++)
			sum += pow(x[j] - book[e * d + j], 2);
		if (sum < best) {
			best = sum;
			at = e;
		}
	}
	return at;
}

static void
same(const float *got, const double *want, int n, double tolerance, const char *what)
{
	for (int i = 0; i < n; i++)
		ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s, element %d: %.9g, wanted %.9g",
		    what, i, got[i], want[i]);
}

static void
zero(const float *got, int n, const char *what)
{
	for (int i = 0; i < n; i++)
		ck_assert_msg(got[i] == 0, "%s, element %d: %.9g, wanted 0", what, i, got[i]);
}

/* The decoder's gradient comes through as it is. */
static void
straight(const struct probe *q)
{
	ck_assert_mem_eq(q->pull, q->w, sizeof(q->w));
}

/* --- entries trained by gradient --------------------------------------------- */

/* loss = (1 + beta) mse; d/dz = 2 beta (z - e) / count; d/de = 2 (e - z) / count, summed over its vectors. */
static void
check_plain(double beta)
{
	struct probe q;
	double loss = 0, dz[Z], db[K * D] = { 0 }, value[Z];

	open_probe(&q, "plain", beta, true);
	run_probe(&q);
	const float *book = var(&q, "vq.book");
	for (int i = 0; i < Z; i++) {
		int r = i / D, j = i % D, c = q.code[r];
		if (j == 0)
			ck_assert_int_eq(c, nearest((double[]){ q.z[i], q.z[i + 1], q.z[i + 2], q.z[i + 3] }, book, K, D));
		value[i] = book[c * D + j];
		loss += (1 + beta) * pow(q.z[i] - value[i], 2) / Z;
		dz[i] = 2 * beta * (q.z[i] - value[i]) / Z;
		db[c * D + j] += 2 * (value[i] - q.z[i]) / Z;
	}
	same(q.quantized, value, Z, 0, "quantized");
	ck_assert_double_eq_tol(q.loss, loss, 1e-5 * loss);
	straight(&q);
	same(q.dz, dz, Z, 1e-6, "d loss / dz");
	same(output(&q, "d vq.loss / d vq.book"), db, K * D, 1e-6, "d loss / d book");
	zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
	close_probe(&q);
}

START_TEST(test_codebook)
{
	check_plain(0.25);
	check_plain(3);
}
END_TEST

/* Of every quantizer with a commitment loss: twice the beta is twice the gradient in z, and the same in the entries. */
static const char *const with_beta[] = { "plain", "cosine", "rotate", "projected", "ema", "turned", "grouped", "residual" };

START_TEST(test_beta)
{
	static const char *const books[] = { "d vq.loss / d vq.book", "d vq.loss / d vq.inner.book" };
	struct probe one, two;
	struct vq_view a, b;
	bool projected = strcmp(with_beta[_i], "projected") == 0;

	open_probe(&one, with_beta[_i], 0.5, true);
	open_probe(&two, with_beta[_i], 1, true);
	run_probe(&one);
	run_probe(&two);
	ck_assert_mem_eq(one.code, two.code, ROWS * sizeof(*one.code));
	for (int i = 0; i < Z; i++)
		ck_assert_msg(fabsf(two.dz[i] - 2 * one.dz[i]) <= 1e-6f * fabsf(two.dz[i]) + 1e-9f && two.dz[i] != 0,
		    "%s: d loss / dz, element %d: %g, then %g", with_beta[_i], i, (double)one.dz[i], (double)two.dz[i]);
	ck_assert_mem_eq(one.pull, two.pull, sizeof(one.z));
	ck_assert(vq_plan_output(one.p, books[projected], &a) && vq_plan_output(two.p, books[projected], &b));
	for (int64_t i = 0; i < vq_shape_count(&a.type->shape); i++)
		ck_assert(vq_get(&a, i) == vq_get(&b, i));
	close_probe(&one);
	close_probe(&two);
}
END_TEST

/* y = z / |z|: what arrives at y comes to z as (g - y (y . g)) / |z|. */
static void
through_unit(const double *y, double length, const double *g, double *to)
{
	double along = dot(y, g, D);

	for (int j = 0; j < D; j++)
		to[j] = (g[j] - y[j] * along) / length;
}

static double
unit(const float *x, double *y)
{
	double sum = 0;

	for (int j = 0; j < D; j++)
		sum += (double)x[j] * x[j];
	for (int j = 0; j < D; j++)
		y[j] = x[j] / sqrt(sum);
	return sqrt(sum);
}

START_TEST(test_cosine)
{
	const double beta = 0.25;
	double loss = 0, dz[Z], pull[Z], value[Z], db[K * D] = { 0 };
	struct probe q;

	open_probe(&q, "cosine", beta, true);
	run_probe(&q);
	const float *book = var(&q, "vq.book");
	for (int r = 0; r < ROWS; r++) {
		double y[D], e[D], g[D], ge[D], back[D], most = -2, length = unit(q.z + r * D, y), size;
		for (int k = 0; k < K; k++) {
			unit(book + k * D, e);
			most = fmax(most, dot(y, e, D));
		}
		size = unit(book + q.code[r] * D, e);
		ck_assert_double_eq_tol(dot(y, e, D), most, 1e-6);
		for (int j = 0; j < D; j++) {
			value[r * D + j] = e[j];
			loss += (1 + beta) * pow(y[j] - e[j], 2) / Z;
			g[j] = 2 * beta * (y[j] - e[j]) / Z;
			ge[j] = 2 * (e[j] - y[j]) / Z;
		}
		through_unit(y, length, g, dz + r * D);
		through_unit(e, size, ge, back);
		for (int j = 0; j < D; j++) {
			db[q.code[r] * D + j] += back[j];
			g[j] = q.w[r * D + j];
		}
		through_unit(y, length, g, pull + r * D);
	}
	same(q.quantized, value, Z, 1e-6, "quantized");
	ck_assert_double_eq_tol(q.loss, loss, 1e-5 * loss);
	same(q.dz, dz, Z, 1e-6, "d loss / dz");
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	same(output(&q, "d vq.loss / d vq.book"), db, K * D, 1e-5, "d loss / d book");
	close_probe(&q);
}
END_TEST

/* w by the transpose of |e| / |z| R, R = I - 2 r r' + 2 e z', written as a matrix (Fifty et al. 2024, section 4.2). */
static void
turn_back(const float *z, const float *entry, const float *w, double *to)
{
	double y[D], e[D], r[D], R[D][D], scale = unit(entry, e) / unit(z, y), sum = 0;

	for (int j = 0; j < D; j++)
		sum += pow(y[j] + e[j], 2);
	for (int j = 0; j < D; j++)
		r[j] = (y[j] + e[j]) / sqrt(sum);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
			R[i][j] = (i == j) - 2 * r[i] * r[j] + 2 * e[i] * y[j];
	for (int j = 0; j < D; j++) {
		to[j] = 0;
		for (int i = 0; i < D; i++)
			to[j] += scale * R[i][j] * w[i];
	}
	/* It is a rotation, and takes z to the entry. */
	for (int i = 0; i < D; i++) {
		ck_assert_double_eq_tol(dot(R[i], R[i], D), 1, 1e-9);
		ck_assert_double_eq_tol(dot(R[i], y, D), e[i], 1e-9);
	}
}

static const char *const rotating[] = { "rotate", "turned" };

START_TEST(test_rotation)
{
	double pull[Z];
	struct probe q;

	open_probe(&q, rotating[_i], 0.25, false);
	run_probe(&q);
	for (int r = 0; r < ROWS; r++) {
		const float *e = var(&q, "vq.book") + q.code[r] * D;
		ck_assert_mem_eq(q.quantized + r * D, e, D * sizeof(*e));	/* the entry, not what rounding makes of it */
		turn_back(q.z + r * D, e, q.w + r * D, pull + r * D);
	}
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
	close_probe(&q);
}
END_TEST

/* Two numbers instead of four in between: straight through there, linear around it. */
START_TEST(test_projection)
{
	double pull[Z] = { 0 }, value[Z];
	struct probe q;

	open_probe(&q, "projected", 0.25, true);
	run_probe(&q);
	const float *down = var(&q, "vq.down"), *bias = var(&q, "vq.down_bias"), *up = var(&q, "vq.up");
	const float *book = var(&q, "vq.inner.book");
	for (int r = 0; r < ROWS; r++) {
		double y[2] = { bias[0], bias[1] };
		for (int i = 0; i < Z / ROWS * 2; i++)
			y[i % 2] += (double)q.z[r * D + i / 2] * down[i];
		ck_assert_int_eq(q.code[r], nearest(y, book, K, 2));
		for (int j = 0; j < D; j++) {
			value[r * D + j] = var(&q, "vq.up_bias")[j];
			for (int l = 0; l < 2; l++)
				value[r * D + j] += (double)book[q.code[r] * 2 + l] * up[l * D + j];
			for (int l = 0; l < 2; l++)
				for (int i = 0; i < D; i++)
					pull[r * D + i] += (double)q.w[r * D + j] * up[l * D + j] * down[i * 2 + l];
		}
	}
	same(q.quantized, value, Z, 1e-5, "quantized");
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	close_probe(&q);
}
END_TEST

/* --- entries that are averages -------------------------------------------------- */

/* What quantizers keep. */
struct kept {
	double book[BOOKS * K * D], total[BOOKS * K * D], uses[BOOKS * K];
};

/*
 * The averages in double, from vectors x and their entries: kept as sums from zero that are divided by
 * 1 - decay^step at read-out (Sonnet 2), or not (Sonnet 1).  The hidden sums are the caller's.
 */
static void
average(struct kept *hidden, struct kept *k, const double *x, const int *entry, int n, int entries, int d, double divide)
{
	double all = 0;

	for (int e = 0; e < entries; e++)
		hidden->uses[e] *= 0.75;
	for (int i = 0; i < entries * d; i++)
		hidden->total[i] *= 0.75;
	for (int i = 0; i < n; i++) {
		hidden->uses[entry[i]] += 0.25;
		for (int j = 0; j < d; j++)
			hidden->total[entry[i] * d + j] += 0.25 * x[i * d + j];
	}
	for (int e = 0; e < entries; e++)
		all += k->uses[e] = hidden->uses[e] / divide;
	for (int i = 0; i < entries * d; i++) {
		k->total[i] = hidden->total[i] / divide;
		k->book[i] = k->total[i] / ((k->uses[i / d] + 1e-5) / (all + entries * 1e-5) * all);
	}
}

static void
same_kept(const struct probe *q, const struct kept *k, int entries, int d)
{
	same(var(q, "vq.book"), k->book, entries * d, 1e-4, "book");
	same(var(q, "vq.total"), k->total, entries * d, 1e-4, "total");
	same(var(q, "vq.uses"), k->uses, entries, 1e-5, "uses");
}

/* Debiased or not, against sums from zero; no gradient reaches what is kept. */
static void
check_ema(const char *name, bool debias)
{
	struct probe q;
	struct kept hidden = { 0 }, k;

	open_probe(&q, name, 0.5, true);
	for (int i = 0; i < K * D && !debias; i++)
		hidden.total[i] = var(&q, "vq.book")[i];
	for (int step = 0; step < 6; step++) {
		double loss = 0, dz[Z], x[Z];
		int entry[ROWS];
		float book[K * D];
		memcpy(book, var(&q, "vq.book"), sizeof(book));
		run_probe(&q);
		for (int i = 0; i < Z; i++) {
			entry[i / D] = q.code[i / D];
			x[i] = q.z[i];
			dz[i] = q.z[i] - book[entry[i / D] * D + i % D];
			loss += 0.5 * dz[i] * dz[i] / Z;
			dz[i] *= 2 * 0.5 / Z;
			if (i % D == 0)
				ck_assert_int_eq(entry[i / D], nearest((double[]){ q.z[i], q.z[i + 1], q.z[i + 2], q.z[i + 3] }, book, K, D));
			ck_assert(q.quantized[i] == book[entry[i / D] * D + i % D]);
		}
		ck_assert_double_eq_tol(q.loss, loss, 1e-5 * (1 + loss));
		straight(&q);
		same(q.dz, dz, Z, 1e-6, "d loss / dz");
		zero(output(&q, "d vq.loss / d vq.book"), K * D, "d loss / d book");
		zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
		zero(output(&q, "d vq.loss / d vq.total"), K * D, "d loss / d total");
		average(&hidden, &k, x, entry, ROWS, K, D, debias ? 1 - pow(0.75, step + 1) : 1);
		same_kept(&q, &k, K, D);
		for (int e = 0; e < K && step == 0 && debias; e++) {	/* the batch's own numbers, to the bit */
			int n = 0;
			for (int r = 0; r < ROWS; r++)
				n += entry[r] == e;
			ck_assert(var(&q, "vq.uses")[e] == (float)n);
		}
	}
	close_probe(&q);
}

START_TEST(test_averages)
{
	check_ema("ema", true);
	check_ema("biased", false);
}
END_TEST

static bool
is_row(const float *e, const float *x, int n)
{
	for (int i = 0; i < n; i++)
		if (memcmp(e, x + i * D, D * sizeof(*e)) == 0)
			return true;
	return false;
}

/* An entry out of use becomes a vector of the batch, with sum and use to match; the others are averages. */
START_TEST(test_restart)
{
	const double least = 0.9 * ROWS / K;
	int restarted = 0, stayed = 0;
	struct probe q;

	open_probe(&q, "restart", 0.25, true);
	for (int step = 0; step < 6; step++) {
		double uses[K], rate = 0.25 / (1 - pow(0.75, step + 1));
		for (int e = 0; e < K; e++)
			uses[e] = (1 - rate) * var(&q, "vq.uses")[e];
		run_probe(&q);
		for (int r = 0; r < ROWS; r++) {
			uses[q.code[r]] += rate;
			if (step == 0)		/* the first batch is quantized by vectors of its own */
				ck_assert(is_row(q.quantized + r * D, q.z, ROWS));
		}
		for (int e = 0; e < K; e++) {
			const float *entry = var(&q, "vq.book") + e * D, *total = var(&q, "vq.total") + e * D;
			bool dead = uses[e] < least;
			restarted += dead;
			stayed += !dead;
			ck_assert_double_eq_tol(var(&q, "vq.uses")[e], dead ? 2 * least : uses[e], 1e-5);
			ck_assert(!dead || is_row(entry, q.z, ROWS));
			for (int j = 0; j < D && dead; j++)
				ck_assert_double_eq_tol(total[j], 2 * least * entry[j], 1e-5);
		}
	}
	ck_assert_int_gt(restarted, 3);
	ck_assert_int_gt(stayed, 3);
	close_probe(&q);
}
END_TEST

/* After enough rounds of k-means the entries are the means of their vectors, and another look changes nothing. */
START_TEST(test_kmeans)
{
	double mean[K * D] = { 0 };
	int n[K] = { 0 };
	struct probe q;

	open_probe(&q, "kmeans", 0.25, true);
	run_probe(&q);
	for (int i = 0; i < Z; i++) {
		n[q.code[i / D]] += i % D == 0;
		mean[q.code[i / D] * D + i % D] += q.z[i];
	}
	for (int i = 0; i < K * D; i++) {
		ck_assert_int_gt(n[i / D], 0);
		mean[i] /= n[i / D];
	}
	for (int i = 0; i < Z; i++)
		ck_assert_double_eq_tol(q.quantized[i], mean[q.code[i / D] * D + i % D], 1e-5);
	same(var(&q, "vq.book"), mean, K * D, 1e-4, "book");
	close_probe(&q);
}
END_TEST

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

int
main(void)
{
	Suite *s = suite_create("quantizers");
	TCase *t = tcase_create("quantizers");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_codebook);
	tcase_add_loop_test(t, test_beta, 0, VQ_COUNT(with_beta));
	tcase_add_test(t, test_cosine);
	tcase_add_loop_test(t, test_rotation, 0, VQ_COUNT(rotating));
	tcase_add_test(t, test_projection);
	tcase_add_test(t, test_averages);
	tcase_add_test(t, test_restart);
	tcase_add_test(t, test_kmeans);
	tcase_add_test(t, test_codebooks);
	tcase_add_test(t, test_codebooks_restart);
	tcase_add_test(t, test_gumbel_temperature);
	tcase_add_test(t, test_gumbel_draws);
	tcase_add_test(t, test_gumbel_soft);
	tcase_add_test(t, test_fsq);
	tcase_add_test(t, test_lfq);
	tcase_add_loop_test(t, test_decoders, 0, VQ_COUNT(decoders));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
