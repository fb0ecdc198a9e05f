/*
 * quantizer -- one of a table of quantizers in a graph of its own, for tests
 *
 * Each graph has z, the vectors, and w, the gradient that the decoder sends: `pull` is the sum
 * of quantized * w, so that d pull / dz is what the quantizer makes of w.
 */
#ifndef VQ_TESTS_QUANTIZER_H
#define VQ_TESTS_QUANTIZER_H

#include "engine/compile.h"
#include "engine/model.h"

enum { ROWS = 12, D = 4, K = 5, Z = ROWS * D, BOOKS = 3 };

extern struct vq_diags diags;
/* Nothing may have been reported. */
void no_errors(const void *result);

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

/* The text of a model with quantizer `name` of the table as module vq, and graph g. */
char *model_of(const char *name, double beta);
void open_probe(struct probe *q, const char *name, double beta, bool train);
/* With other vectors each time. */
void run_probe(struct probe *q);
void close_probe(struct probe *q);
const float *output(const struct probe *q, const char *name);
float *var(const struct probe *q, const char *name);

/* The nearest of k rows of book to x, in double; the lowest of equals. */
int nearest(const double *x, const float *book, int k, int d);
void same(const float *got, const double *want, int n, double tolerance, const char *what);
void zero(const float *got, int n, const char *what);
/* The decoder's gradient comes through as it is. */
void straight(const struct probe *q);

/* What quantizers keep. */
struct kept {
	double book[BOOKS * K * D], total[BOOKS * K * D], uses[BOOKS * K];
};

/*
 * The averages in double, from vectors x and their entries: kept as sums from zero that are divided by
 * 1 - decay^step at read-out (Sonnet 2), or not (Sonnet 1).  The hidden sums are the caller's.
 */
void average(struct kept *hidden, struct kept *k, const double *x, const int *entry, int n, int entries, int d, double divide);
void same_kept(const struct probe *q, const struct kept *k, int entries, int d);

#endif
