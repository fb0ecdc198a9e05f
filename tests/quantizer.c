/*
 * quantizer -- graphs of single quantizers, and what to compare them with
 */
#include "tests/quantizer.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"

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
	{ "weak", "ema_codebook: {codes: 5, dim: 4, beta: $beta, decay: 0.75, restart: 0.9, debias: false}", "book" },
	{ "kmeans", "ema_codebook: {codes: 5, dim: 4, beta: $beta, kmeans: 40, restart: 0}", "book" },
	{ "grouped", "codebooks: {books: 2, codes: 5, dim: 2, beta: $beta, decay: 0.75, restart: 0}", "book" },
	{ "residual", "codebooks: {books: 3, codes: 5, dim: 4, residual: true, beta: $beta, decay: 0.75, restart: 0}", "book" },
	{ "revived", "codebooks: {books: 3, codes: 5, dim: 4, residual: true, decay: 0.75, restart: 0.9}", "book" },
	{ "gumbel", "gumbel_codebook: {codes: 5, dim: 4, temperature: 2, final: 0.5, steps: 4, weight: 0.25}", "book" },
	{ "soft", "gumbel_codebook: {codes: 5, dim: 4, temperature: 2, final: 0.5, steps: 4, weight: 0.25, hard: false}", "book" },
	{ "fsq", "fsq: {levels: [5, 4, 3, 2]}", NULL },
	{ "lfq", "lfq: {dim: 4, beta: $beta, entropy: 0.5, diversity: 0.75, temperature: 2}", NULL },
};

struct vq_diags diags;

/* --- one quantizer ---------------------------------------------------------- */

void
no_errors(const void *result)
{
	if (diags.total > 0)
		vq_diags_print(&diags, stdout, false);
	ck_assert(result != NULL && diags.total == 0);
}

char *
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

void
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

const float *
output(const struct probe *q, const char *name)
{
	struct vq_view v;

	ck_assert_msg(vq_plan_output(q->p, name, &v), "there is no '%s'", name);
	return v.data;
}

void
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

void
close_probe(struct probe *q)
{
	vq_plan_free(q->p);
	vq_vars_free(&q->vars);
	vq_model_free(q->m);
}

float *
var(const struct probe *q, const char *name)
{
	const struct vq_var *v = vq_vars_find(&q->vars, name);

	ck_assert_msg(v != NULL, "there is no %s", name);
	return v->data;
}

/* --- plain C ---------------------------------------------------------------- */

int
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

void
same(const float *got, const double *want, int n, double tolerance, const char *what)
{
	for (int i = 0; i < n; i++)
		ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s, element %d: %.9g, wanted %.9g",
		    what, i, got[i], want[i]);
}

void
zero(const float *got, int n, const char *what)
{
	for (int i = 0; i < n; i++)
		ck_assert_msg(got[i] == 0, "%s, element %d: %.9g, wanted 0", what, i, got[i]);
}

void
straight(const struct probe *q)
{
	ck_assert_mem_eq(q->pull, q->w, sizeof(q->w));
}

void
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

void
same_kept(const struct probe *q, const struct kept *k, int entries, int d)
{
	same(var(q, "vq.book"), k->book, entries * d, 1e-4, "book");
	same(var(q, "vq.total"), k->total, entries * d, 1e-4, "total");
	same(var(q, "vq.uses"), k->uses, entries, 1e-5, "uses");
}
