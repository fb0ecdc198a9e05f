/*
 * nearest, nearest_books, number_books -- which row of a table each vector is closest to
 *
 *   nearest        x [..., d]    table [k, d]      index i32[...]
 *   nearest_books  x [..., q d]  table [q, k, d]   index i32[..., q], rest [..., q, d]
 *                  part l of x in table l; or, residual, of x [..., d] what tables before l
 *                  left over.  rest is what was looked for in each table; its gradient goes
 *                  to x alone, as if the entries were given.
 *
 *   number_books   index i32[..., q], size   y i32[..., q]
 *                  rows of q tables of `size` each as rows of all, one table after the other:
 *                  y[..., l] = index[..., l] + l size; -1 where index is no row
 *
 * Of equal distances the lowest index wins.  A vector with NaN gets index 0.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"
#include "ops/kernels/search.h"

static int
infer(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape, *t = &q->in[1].shape;

	for (int i = 0; i < 2; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs a last axis");
	if (t->rank != 2 || t->dim[0] < 1)
		return vq_infer_error(q, 1, "must be [entries, length of one]");
	if (t->dim[0] > INT32_MAX)
		return vq_infer_error(q, 1, "has more entries than an i32 counts");
	if (x->dim[x->rank - 1] != t->dim[1])
		return vq_infer_error(q, 1, "has entries of length %lld, and x vectors of length %lld",
		    (long long)t->dim[1], (long long)x->dim[x->rank - 1]);
	q->out[0].dtype = VQ_I32;
	q->out[0].shape.rank--;
	return vq_infer_same_dtype(q);
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	int64_t n = vq_shape_count(&c->out[0].type->shape), k = t->dim[0], d = t->dim[1];
	int32_t *index = c->out[0].data;

	for (int64_t i = 0; i < n; i++) {
		double best = INFINITY;
		index[i] = 0;
		for (int64_t j = 0; j < k; j++) {
			double sum = 0;
			for (int64_t l = 0; l < d; l++) {
				double diff = vq_get(&c->in[0], i * d + l) - vq_get(&c->in[1], j * d + l);
				sum += diff * diff;
			}
			if (sum < best) {
				best = sum;
				index[i] = (int32_t)j;
			}
		}
	}
}

/* --- fast ----------------------------------------------------------------- */

static size_t
scratch(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape;

	return vq_search_room(t->dim[t->rank - 2], t->dim[t->rank - 1]);
}

static void
run(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	struct vq_search q = { .x = c->in[0].data, .n = vq_shape_count(&c->out[0].type->shape), .step = t->dim[1],
	    .index = c->out[0].data, .index_step = 1 };

	vq_search(c, &q, c->in[1].data, t->dim[0], t->dim[1], c->scratch);
}

static double
flops(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape;

	return 2.0 * (double)vq_shape_count(&c->out[0].shape) * (double)t->dim[0] * (double)t->dim[1];
}

/* --- several tables ------------------------------------------------------- */

struct books {
	bool residual;
};

static const struct vq_param books_params[] = {
	VQ_BOOLEAN(struct books, residual, "false", "each table is for what those before it left over"),
	VQ_PARAMS_END
};

static int
infer_books(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape, *t = &q->in[1].shape;
	bool residual = ((const struct books *)q->params)->residual;
	int64_t parts;

	for (int i = 0; i < 2; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (t->rank != 3 || t->dim[0] < 1 || t->dim[1] < 1 || t->dim[1] > INT32_MAX)
		return vq_infer_error(q, 1, "must be [tables, entries, length of one]");
	if (x->rank < 1 || x->rank == VQ_MAX_RANK)
		return vq_infer_error(q, 0, "needs a last axis, and room for one more");
	parts = residual ? 1 : t->dim[0];
	if (t->dim[2] > INT64_MAX / parts || x->dim[x->rank - 1] != parts * t->dim[2])
		return vq_infer_error(q, 1, "has %lld x %lld numbers for a vector, and x vectors of length %lld",
		    (long long)parts, (long long)t->dim[2], (long long)x->dim[x->rank - 1]);
	q->out[0].dtype = VQ_I32;
	q->out[0].shape.dim[x->rank - 1] = t->dim[0];
	q->out[1].shape.dim[x->rank - 1] = t->dim[0];
	q->out[1].shape.dim[q->out[1].shape.rank++] = t->dim[2];
	return vq_infer_same_dtype(q);
}

/* rest_l = x - (entries before l): its derivative in x is one for every table. */
static void
grad_books(struct vq_grad *d)
{
	const struct vq_shape x = vq_type_at(d->to, d->in[0])->shape;

	if (d->dout[1] == VQ_NONE || !d->want[0])
		return;
	d->din[0] = ((const struct books *)d->params)->residual ?
	    vq_sum(d->to, d->dout[1], 1u << (x.rank - 1), false) : vq_reshape(d->to, d->dout[1], &x);
}

static void
ref_books(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	bool residual = ((const struct books *)c->params)->residual;
	int64_t q = t->dim[0], k = t->dim[1], d = t->dim[2], n = vq_shape_count(&c->out[0].type->shape);
	int32_t *index = c->out[0].data;

	for (int64_t i = 0; i < n; i++) {		/* i = vector * q + table */
		double best = INFINITY;
		for (int64_t j = 0; j < d; j++)
			vq_set(&c->out[1], i * d + j, residual && i % q ?
			    vq_get(&c->out[1], (i - 1) * d + j) - vq_get(&c->in[1], ((i % q - 1) * k + index[i - 1]) * d + j) :
			    vq_get(&c->in[0], (residual ? i / q : i) * d + j));
		index[i] = 0;
		for (int64_t e = 0; e < k; e++) {
			double sum = 0;
			for (int64_t j = 0; j < d; j++)
				sum += pow(vq_get(&c->out[1], i * d + j) - vq_get(&c->in[1], ((i % q) * k + e) * d + j), 2);
			if (sum < best) {
				best = sum;
				index[i] = (int32_t)e;
			}
		}
	}
}

/* rest of table l: that of the table before less its entry. */
static void
left_over(const struct vq_call *c, const float *table, int64_t l, int64_t n)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	int64_t q = t->dim[0], d = t->dim[2];
	const int32_t *index = c->out[0].data;
	float *rest = c->out[1].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n * d)) schedule(static)
	for (int64_t i = 0; i < n; i++) {
		const float *e = table + index[i * q + l - 1] * d;
		float *to = rest + (i * q + l) * d;
		for (int64_t j = 0; j < d; j++)
			to[j] = to[j - d] - e[j];
	}
}

static void
run_books(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	int64_t q = t->dim[0], k = t->dim[1], d = t->dim[2], n = vq_shape_count(&c->out[0].type->shape) / q;
	bool residual = ((const struct books *)c->params)->residual;
	const float *x = c->in[0].data, *table = c->in[1].data;
	float *rest = c->out[1].data;

	for (int64_t i = 0; i < n; i++)
		memcpy(rest + i * q * d, x + i * (residual ? d : q * d), (size_t)(residual ? d : q * d) * sizeof(*x));
	for (int64_t l = 0; l < q; l++) {
		struct vq_search to = { .x = rest + l * d, .n = n, .step = q * d, .index = (int32_t *)c->out[0].data + l,
		    .index_step = q };
		if (residual && l > 0)
			left_over(c, table + (l - 1) * k * d, l, n);
		vq_search(c, &to, table + l * k * d, k, d, c->scratch);
	}
}

static double
flops_books(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape;

	return 2.0 * (double)vq_shape_count(&c->out[1].shape) * (double)t->dim[1];
}

/* --- rows of several tables as rows of one -------------------------------- */

struct number {
	int64_t size;
};

static const struct vq_param number_params[] = {
	VQ_INT(struct number, size, NULL, 1, INT32_MAX, "rows of each table"),
	VQ_PARAMS_END
};

static int
infer_number(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape;

	if (q->in[0].dtype != VQ_I32)
		return vq_infer_error(q, 0, "must be i32, is %s (cast converts)", vq_dtype_name(q->in[0].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs a last axis, of tables");
	if (x->dim[x->rank - 1] > INT32_MAX / ((const struct number *)q->params)->size)
		return vq_infer_error(q, 0, "has more rows in all its tables than an i32 counts");
	return 0;
}

static void
ref_number(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape;
	int64_t n = vq_shape_count(x), q = x->dim[x->rank - 1], size = ((const struct number *)c->params)->size;
	const int32_t *index = c->in[0].data;
	int32_t *y = c->out[0].data;

	for (int64_t i = 0; i < n; i++)
		y[i] = index[i] < 0 || index[i] >= size ? -1 : (int32_t)(index[i] + i % q * size);
}

static bool
places_number(const struct vq_cost *c, int port, struct vq_places *out)
{
	*out = (struct vq_places){ ((const struct number *)c->params)->size, VQ_NO_IGNORE };
	return true;
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3,4] table=f32[5,4]" },
	{ "x=f32[7,1] table=f32[1,1]" },
	{ "x=f32[3] table=f32[40,3]" },
	{ "x=f32[101,17] table=f32[33,17]" },
	{ "x=f32[6272,64] table=f32[512,64]", .doc = "timed" },
	{ "x=f32[4,3] table=f32[5,2]", .fails = "has entries of length 2, and x vectors of length 3" },
	{ "x=f32[4,3] table=f32[3]", .fails = "must be [entries, length of one]" },
	{ 0 }
};

static const struct vq_example books_examples[] = {
	{ "x=f32[2,3,8] table=f32[2,5,4]" },
	{ "x=f32[2,3,4] table=f32[3,5,4]", "residual=true", .no_gradient = true, .doc = "the tables are taken as given" },
	{ "x=f32[7,1] table=f32[1,1,1]", "residual=true" },
	{ "x=f32[101,34] table=f32[2,33,17]" },
	{ "x=f32[2000,16] table=f32[4,64,16]", "residual=true" },
	{ "x=f32[6272,64] table=f32[4,256,16]", .doc = "timed" },
	{ "x=f32[4,3] table=f32[2,5,2]", .fails = "has 2 x 2 numbers for a vector, and x vectors of length 3" },
	{ "x=f32[4,4] table=f32[2,5,2]", "residual=true", .fails = "has 1 x 2 numbers for a vector, and x vectors of length 4" },
	{ "x=f32[4,3] table=f32[5,3]", .fails = "must be [tables, entries, length of one]" },
	{ 0 }
};

static const struct vq_example number_examples[] = {
	{ "index=i32[2,3,4](0,5)", "size=5" },
	{ "index=i32[20,2](-3,9)", "size=5", .doc = "no row of its table: no row at all" },
	{ "index=i32[0,2](0,5)", "size=5" },
	{ "index=f32[3,2]", "size=5", .fails = "must be i32, is f32 (cast converts)" },
	{ "index=i32(0,5)", "size=5", .fails = "needs a last axis, of tables" },
	{ "index=i32[2,3](0,5)", "size=1000000000", .fails = "has more rows in all its tables than an i32 counts" },
	{ 0 }
};

extern const struct vq_op vq_ops_nearest[];
const struct vq_op vq_ops_nearest[] = {
	{
		.name = "nearest",
		.doc = "index of the table's row at the smallest distance; the lowest of equals",
		.in = { "x", "table" }, .out = { "index" },
		.infer = infer, .run = run, .ref = ref, .scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "quantize", "cdist", "argmin_distance", "vq", NULL },
		.examples = examples,
	}, {
		.name = "nearest_books",
		.doc = "the same in several tables: of parts of each vector, or of what the tables before left over",
		.in = { "x", "table" }, .out = { "index", "rest" },
		.params = books_params, .size = sizeof(struct books),
		.infer = infer_books, .grad = grad_books, .run = run_books, .ref = ref_books, .scratch = scratch,
		.flops = flops_books,
		.also = (const char *const[]){ "residual_quantize", "product_quantize", "rvq", NULL },
		.examples = books_examples,
	}, {
		.name = "number_books",
		.doc = "rows of several tables as rows of all: index plus size for each table before; -1 where it is no row",
		.in = { "index" }, .out = { "y" },
		.params = number_params, .size = sizeof(struct number),
		.infer = infer_number, .ref = ref_number, .places = places_number, .inplace = "0:0",
		.examples = number_examples,
	},
	{ 0 }
};
