/*
 * lookup, scatter_add -- rows of a table by index, and back
 *
 *   lookup       table [k, ...], index i32[*]     y [*, ...]: y[i] = table[index[i]]
 *   scatter_add  index i32[*], x [*, ...]; size   y [size, ...]: the sum of the x[i] with
 *                                                 index[i] = j stands in y[j]
 *
 * Each is the other's gradient.  An index outside the table reads as a row of
 * zeros and adds to nothing.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct scatter {
	int64_t size;
};

static const struct vq_param scatter_params[] = {
	VQ_INT(struct scatter, size, NULL, 1, INT32_MAX, "rows of the result"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

static int
check_index(struct vq_infer *q, int port)
{
	if (q->in[port].dtype != VQ_I32)
		return vq_infer_error(q, port, "must be i32, is %s (cast converts)",
		    vq_dtype_name(q->in[port].dtype));
	return 0;
}

/* The axes of a, then those of b from `from` on. */
static int
join(struct vq_infer *q, const struct vq_shape *a, const struct vq_shape *b, int from, struct vq_shape *out)
{
	struct vq_shape s = *a;

	if (a->rank + b->rank - from > VQ_MAX_RANK)
		return vq_infer_error(q, VQ_NONE, "the result would have more than %d axes", VQ_MAX_RANK);
	for (int i = from; i < b->rank; i++)
		s.dim[s.rank++] = b->dim[i];
	*out = s;
	return 0;
}

static int
infer_lookup(struct vq_infer *q)
{
	if (q->in[0].shape.rank < 1)
		return vq_infer_error(q, 0, "needs a first axis to look up in");
	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (check_index(q, 1) < 0)
		return -1;
	return join(q, &q->in[1].shape, &q->in[0].shape, 1, &q->out[0].shape);
}

static int
infer_scatter(struct vq_infer *q)
{
	const struct scatter *p = q->params;
	const struct vq_shape *index = &q->in[0].shape, *x = &q->in[1].shape;

	if (check_index(q, 0) < 0)
		return -1;
	if (!vq_is_float(q->in[1].dtype))
		return vq_infer_error(q, 1, "must be floating, is %s", vq_dtype_name(q->in[1].dtype));
	struct vq_shape head = { .rank = index->rank < x->rank ? index->rank : x->rank };
	memcpy(head.dim, x->dim, sizeof(head.dim));
	if (!vq_shape_equal(&head, index))
		return vq_infer_error(q, 1, "must begin with the axes of index");
	q->out[0].dtype = q->in[1].dtype;
	return join(q, &(struct vq_shape){ 1, { p->size } }, x, index->rank, &q->out[0].shape);
}

/* --- gradients ------------------------------------------------------------ */

static void
grad_lookup(struct vq_grad *d)
{
	if (d->want[0])
		d->din[0] = VQ_EMIT2(d->to, "scatter_add", d->in[1], d->dout[0], "size=%lld",
		    (long long)vq_type_at(d->to, d->in[0])->shape.dim[0]);
}

static void
grad_scatter(struct vq_grad *d)
{
	if (d->want[1])
		d->din[1] = VQ_EMIT2(d->to, "lookup", d->dout[0], d->in[0], " ");
}

/* --- kernels -------------------------------------------------------------- */

static void
ref_lookup(const struct vq_call *c)
{
	const struct vq_shape *s = &c->in[0].type->shape;
	int64_t n = vq_shape_count(&c->in[1].type->shape), w = vq_shape_span(s, 1, s->rank);
	const int32_t *index = c->in[1].data;

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < w; j++)
			vq_set(&c->out[0], i * w + j, index[i] < 0 || index[i] >= s->dim[0] ? 0
			    : vq_get(&c->in[0], index[i] * w + j));
}

static void
run_lookup(const struct vq_call *c)
{
	const struct vq_shape *s = &c->in[0].type->shape;
	int64_t n = vq_shape_count(&c->in[1].type->shape), w = vq_shape_span(s, 1, s->rank);
	const int32_t *index = c->in[1].data;
	const float *table = c->in[0].data;
	float *y = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n * w)) schedule(static)
	for (int64_t i = 0; i < n; i++) {
		if (index[i] < 0 || index[i] >= s->dim[0])
			memset(y + i * w, 0, (size_t)w * sizeof(*y));
		else
			memcpy(y + i * w, table + index[i] * w, (size_t)w * sizeof(*y));
	}
}

static void
ref_scatter(const struct vq_call *c)
{
	const struct vq_shape *s = &c->out[0].type->shape;
	int64_t n = vq_shape_count(&c->in[0].type->shape), w = vq_shape_span(s, 1, s->rank);
	const int32_t *index = c->in[0].data;

	for (int64_t j = 0; j < s->dim[0] * w; j++) {
		double sum = 0;
		for (int64_t i = 0; i < n; i++)
			if (index[i] == j / w)
				sum += vq_get(&c->in[1], i * w + j % w);
		vq_set(&c->out[0], j, sum);
	}
}

/* Columns [c0, c0 + cols) of rows [r0, r1): each element is summed in the order of the
 * indices, however the result is cut among threads. */
static void
scatter_part(const struct vq_call *c, int64_t r0, int64_t r1, int64_t c0, int64_t cols)
{
	const struct vq_shape *s = &c->out[0].type->shape;
	int64_t n = vq_shape_count(&c->in[0].type->shape), w = vq_shape_span(s, 1, s->rank);
	const int32_t *index = c->in[0].data;
	const float *x = (const float *)c->in[1].data + c0;
	float *y = (float *)c->out[0].data + c0;

	for (int64_t r = r0; r < r1; r++)
		memset(y + r * w, 0, (size_t)cols * sizeof(*y));
	for (int64_t i = 0; i < n; i++)
		if (index[i] >= r0 && index[i] < r1)
			c->k->ew[VQ_EW_ADD](y + index[i] * w, y + index[i] * w, x + i * w, NULL, 0, 0, cols);
}

enum { COLUMNS = 64 };

static void
run_scatter(const struct vq_call *c)
{
	const struct vq_shape *s = &c->out[0].type->shape;
	int64_t n = vq_shape_count(&c->in[0].type->shape), w = vq_shape_span(s, 1, s->rank);
	int team = vq_rows_team(c->threads, (n + s->dim[0]) * w);
	int64_t across = (w + COLUMNS - 1) / COLUMNS;

	if (w == 0)
		return;
	/* Few columns: rows are divided, too, so that every thread has a part. */
	int64_t down = (team + across - 1) / across, rows = (s->dim[0] + down - 1) / down;
#pragma omp parallel for num_threads(team) schedule(static)
	for (int64_t i = 0; i < across * down; i++) {
		int64_t r0 = i / across * rows, c0 = i % across * COLUMNS;
		int64_t r1 = r0 + rows < s->dim[0] ? r0 + rows : s->dim[0];
		scatter_part(c, r0, r1, c0, w - c0 < COLUMNS ? w - c0 : COLUMNS);
	}
}

/* The table is read only where it is asked for. */
static double
bytes_lookup(const struct vq_cost *c)
{
	return 2.0 * (double)vq_type_bytes(&c->out[0]) + (double)vq_type_bytes(&c->in[1]);
}

static bool
places_lookup(const struct vq_cost *c, int port, struct vq_places *out)
{
	*out = (struct vq_places){ c->in[0].shape.dim[0], VQ_NO_IGNORE };
	return port == 1;
}

static double
flops_lookup(const struct vq_cost *c)
{
	return 0;
}

static double
flops_scatter(const struct vq_cost *c)
{
	return (double)vq_shape_count(&c->in[1].shape);
}

static const struct vq_example lookup_examples[] = {
	{ "table=f32[5,3] index=i32[2,2](0,5)" },
	{ "table=f32[5,3] index=i32[6](-2,8)", .doc = "outside the table: zeros" },
	{ "table=f32[4,2,3] index=i32(0,4)" },
	{ "table=f32[7] index=i32[9](0,7)" },
	{ "table=f32[512,64] index=i32[128,7,7](0,512)", .doc = "timed" },
	{ "table=f32 index=i32[2](0,5)", .fails = "needs a first axis to look up in" },
	{ "table=f32[5,3] index=f32[2]", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};
static const struct vq_example scatter_examples[] = {
	{ "index=i32[2,2](0,5) x=f32[2,2,3]", "size=5" },
	{ "index=i32[6](-2,8) x=f32[6,3]", "size=5" },
	{ "index=i32[9](0,7) x=f32[9]", "size=7" },
	{ "index=i32[6272](0,512) x=f32[6272,64]", "size=512", .doc = "timed" },
	{ "index=i32[500](0,60) x=f32[500,200]", "size=60" },
	{ "index=i32[4](0,5) x=f32[3,2]", "size=5", .fails = "must begin with the axes of index" },
	{ 0 }
};

extern const struct vq_op vq_ops_lookup[];
const struct vq_op vq_ops_lookup[] = {
	{
		.name = "lookup",
		.doc = "rows of a table by index; zeros where the index is outside",
		.in = { "table", "index" }, .out = { "y" },
		.infer = infer_lookup, .grad = grad_lookup, .run = run_lookup, .ref = ref_lookup,
		.flops = flops_lookup, .bytes = bytes_lookup, .places = places_lookup, .again = 1,
		.also = (const char *const[]){ "embedding", "embed", "gather", "index_select", "take", NULL },
		.examples = lookup_examples,
	}, {
		.name = "scatter_add",
		.doc = "sums rows of x into the rows of a table that index names",
		.in = { "index", "x" }, .out = { "y" },
		.params = scatter_params, .size = sizeof(struct scatter),
		.infer = infer_scatter, .grad = grad_scatter, .run = run_scatter, .ref = ref_scatter,
		.flops = flops_scatter,
		.also = (const char *const[]){ "index_add", "segment_sum", "scatter", NULL },
		.examples = scatter_examples,
	},
	{ 0 }
};
