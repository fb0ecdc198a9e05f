/*
 * kmeans -- the rows of a table after some of Lloyd's iterations (1982)
 *
 *   x [..., d]   table [k, d], the rows it starts from   done a scalar   y [k, d]
 *
 * Each iteration assigns every vector of x to the nearest row and makes each row
 * the mean of its vectors; a row without vectors stays.  Where done is not 0 nothing
 * is computed: y is table.  So a codebook starts from the first batch, at no cost later.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/search.h"

struct kmeans {
	int64_t iterations;
};

static const struct vq_param params[] = {
	VQ_INT(struct kmeans, iterations, "10", 0, 10000, "rounds of assigning and averaging"),
	VQ_PARAMS_END
};

enum { X, TABLE, DONE };

static int
infer(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[X].shape, *t = &q->in[TABLE].shape;

	for (int i = 0; i < 3; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (q->in[DONE].shape.rank != 0)
		return vq_infer_error(q, DONE, "must be a scalar");
	if (x->rank < 1)
		return vq_infer_error(q, X, "needs a last axis");
	if (t->rank != 2 || t->dim[0] < 1 || t->dim[0] > INT32_MAX)
		return vq_infer_error(q, TABLE, "must be [entries, length of one]");
	if (x->dim[x->rank - 1] != t->dim[1])
		return vq_infer_error(q, TABLE, "has entries of length %lld, and x vectors of length %lld",
		    (long long)t->dim[1], (long long)x->dim[x->rank - 1]);
	q->out[0] = q->in[TABLE];
	return vq_infer_same_dtype(q);
}

/* --- fast ----------------------------------------------------------------- */

/* The mean of the vectors of each entry, summed in order; one without vectors stays. */
static void
means(const float *x, const int32_t *index, int64_t n, float *table, int64_t k, int64_t d, double *sum)
{
	double *times = sum + k * d;

	memset(sum, 0, (size_t)(k * (d + 1)) * sizeof(*sum));
	for (int64_t i = 0; i < n; i++) {
		times[index[i]]++;
		for (int64_t j = 0; j < d; j++)
			sum[index[i] * d + j] += x[i * d + j];
	}
	for (int64_t e = 0; e < k; e++)
		for (int64_t j = 0; times[e] > 0 && j < d; j++)
			table[e * d + j] = (float)(sum[e * d + j] / times[e]);
}

static size_t
aligned(size_t bytes)
{
	return (bytes + 63) / 64 * 64;
}

static size_t
sums_bytes(int64_t k, int64_t d)
{
	return aligned((size_t)(k * (d + 1)) * sizeof(double));
}

/* Sums and numbers of vectors, codes, the packed table. */
static size_t
scratch(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape, *x = &c->in[0].shape;
	size_t codes = (size_t)vq_shape_span(x, 0, x->rank - 1) * sizeof(int32_t);

	return sums_bytes(t->dim[0], t->dim[1]) + aligned(codes) + vq_search_room(t->dim[0], t->dim[1]);
}

static void
run(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[TABLE].type->shape, *x = &c->in[X].type->shape;
	int64_t k = t->dim[0], d = t->dim[1], n = vq_shape_span(x, 0, x->rank - 1);
	int64_t iterations = ((const struct kmeans *)c->params)->iterations;
	char *codes = (char *)c->scratch + sums_bytes(k, d), *room = codes + aligned((size_t)n * sizeof(int32_t));
	struct vq_search q = { .x = c->in[X].data, .n = n, .step = d, .index = (int32_t *)(void *)codes, .index_step = 1 };

	memmove(c->out[0].data, c->in[TABLE].data, (size_t)(k * d) * sizeof(float));
	if (*(const float *)c->in[DONE].data != 0)
		return;
	for (int64_t i = 0; i < iterations; i++) {
		vq_search(c, &q, c->out[0].data, k, d, room);
		means(q.x, q.index, n, c->out[0].data, k, d, c->scratch);
	}
}

/* --- reference ------------------------------------------------------------ */

static int64_t
nearest(const struct vq_view *x, int64_t i, const struct vq_view *table)
{
	int64_t k = table->type->shape.dim[0], d = table->type->shape.dim[1], at = 0;
	double best = INFINITY;

	for (int64_t e = 0; e < k; e++) {
		double sum = 0;
		for (int64_t j = 0; j < d; j++)
			sum += pow(vq_get(x, i * d + j) - vq_get(table, e * d + j), 2);
		if (sum < best) {
			best = sum;
			at = e;
		}
	}
	return at;
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[TABLE].type->shape, *x = &c->in[X].type->shape;
	int64_t k = t->dim[0], d = t->dim[1], n = vq_shape_span(x, 0, x->rank - 1);
	int64_t iterations = ((const struct kmeans *)c->params)->iterations;
	double *sum = c->scratch, *times = sum + k * d;

	for (int64_t i = 0; i < k * d; i++)
		vq_set(&c->out[0], i, vq_get(&c->in[TABLE], i));
	for (int64_t i = 0; i < iterations && vq_get(&c->in[DONE], 0) == 0; i++) {
		memset(sum, 0, (size_t)(k * (d + 1)) * sizeof(*sum));
		for (int64_t v = 0; v < n; v++) {
			int64_t e = nearest(&c->in[X], v, &c->out[0]);
			times[e]++;
			for (int64_t j = 0; j < d; j++)
				sum[e * d + j] += vq_get(&c->in[X], v * d + j);
		}
		for (int64_t e = 0; e < k * d; e++)
			if (times[e / d] > 0)
				vq_set(&c->out[0], e, sum[e] / times[e / d]);
	}
}

/* Of the first step; the others cost a copy. */
static double
flops(const struct vq_cost *c)
{
	return (double)vq_shape_count(&c->out[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[3,9,2] table=f32[4,2] done=f32(0,0)" },
	{ "x=f32[30,3] table=f32[7,3] done=f32(0,0)", "iterations=3" },
	{ "x=f32[9,2] table=f32[4,2] done=f32(1,2)", .doc = "done: the table itself" },
	{ "x=f32[2000,16] table=f32[64,16] done=f32(0,0)", "iterations=2", .doc = "timed" },
	{ "x=f32[9,2] table=f32[4,2] done=f32[1]", .fails = "must be a scalar" },
	{ "x=f32[9,3] table=f32[4,2] done=f32", .fails = "has entries of length 2, and x vectors of length 3" },
	{ 0 }
};

extern const struct vq_op vq_ops_kmeans[];
const struct vq_op vq_ops_kmeans[] = {
	{
		.name = "kmeans",
		.doc = "the rows of a table after iterations of k-means over x, as long as done is 0",
		.in = { "x", "table", "done" }, .out = { "y" },
		.params = params, .size = sizeof(struct kmeans),
		.infer = infer, .run = run, .ref = ref, .scratch = scratch,
		.flops = flops,
		.also = (const char *const[]){ "lloyd", "k_means", NULL },
		.examples = examples,
	},
	{ 0 }
};
