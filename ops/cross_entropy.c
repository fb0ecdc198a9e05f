/*
 * cross_entropy -- negative log-likelihood of an index under the softmax of logits
 *
 *   logits [..., k]   index i32[...]
 *   loss   the mean over the positions that count, their sum, or one for each
 *   lse    [...]: logsumexp of each row, which the backward uses
 *
 * With smoothing s the target is (1 - s) at the index plus s / k everywhere.
 * A position whose index is `ignore` counts for nothing: loss and gradient 0,
 * and it is left out of the mean.  Any other index outside 0 .. k-1 is a
 * mistake in the data and makes the loss NaN, so that training stops there.
 *
 * Log-probabilities are never stored: forward and backward read the logits once.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

enum reduction { MEAN, SUM, NONE };
static const char *const reductions[] = { "mean", "sum", "none", NULL };

struct cross_entropy {
	int reduction;
	int64_t ignore;
	double smoothing;
};

static const struct vq_param params[] = {
	VQ_ENUM(struct cross_entropy, reduction, "mean", reductions, "how the positions become one number"),
	VQ_INT(struct cross_entropy, ignore, "-1", INT32_MIN, INT32_MAX, "index of positions that do not count"),
	VQ_REAL(struct cross_entropy, smoothing, "0", 0, 1, "share of the target spread over all classes"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

static struct vq_shape
leading(const struct vq_shape *s)
{
	return vq_shape_of(s->rank - 1, s->dim);
}

static int
check(struct vq_infer *q, int index)
{
	const struct vq_shape *x = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (q->in[index].dtype != VQ_I32)
		return vq_infer_error(q, index, "must be i32, is %s (cast converts)", vq_dtype_name(q->in[index].dtype));
	if (x->rank < 1 || x->dim[x->rank - 1] < 1)
		return vq_infer_error(q, 0, "needs a last axis of classes");
	struct vq_shape l = leading(x);
	char want[VQ_TYPE_STR], have[VQ_TYPE_STR];
	if (!vq_shape_equal(&l, &q->in[index].shape))
		return vq_infer_error(q, index, "must have one index for each row of logits: %s, not %s",
		    vq_shape_str(&l, want), vq_shape_str(&q->in[index].shape, have));
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct cross_entropy *p = q->params;

	if (check(q, 1) < 0)
		return -1;
	q->out[1].shape = leading(&q->in[0].shape);
	q->out[0].shape = p->reduction == NONE ? q->out[1].shape : (struct vq_shape){ 0 };
	return 0;
}

static int
infer_grad(struct vq_infer *q)
{
	const struct cross_entropy *p = q->params;

	if (check(q, 2) < 0)
		return -1;
	struct vq_shape l = leading(&q->in[0].shape), none = { 0 };
	if (!vq_shape_equal(&q->in[1].shape, &l))
		return vq_infer_error(q, 1, "must have one value for each row of logits");
	if (!vq_shape_equal(&q->in[3].shape, p->reduction == NONE ? &l : &none))
		return vq_infer_error(q, 3, "must have the shape of the loss");
	return vq_infer_same_dtype(q);
}

/* --- gradients ------------------------------------------------------------ */

/* One value for each row, as [..., 1]. */
static vq_id
per_row(struct vq_graph *t, vq_id x)
{
	struct vq_shape s = vq_type_at(t, x)->shape;

	s.dim[s.rank++] = 1;
	return vq_reshape(t, x, &s);
}

static void
grad(struct vq_grad *d)
{
	const struct cross_entropy *p = d->params;
	struct vq_graph *t = d->to;
	vq_id x = d->in[0], lse = d->out + 1;

	if (d->dout[0] != VQ_NONE)
		d->din[0] = vq_emit(t, "cross_entropy_grad", (const vq_id[]){ x, lse, d->in[1], d->dout[0] }, 4,
		    "reduction=%s ignore=%lld smoothing=%.17g", reductions[p->reduction],
		    (long long)p->ignore, p->smoothing);
	if (d->dout[1] == VQ_NONE)
		return;
	vq_id softmax = vq_unary(t, "exp", vq_sub(t, x, per_row(t, lse)));
	vq_id part = vq_mul(t, softmax, per_row(t, d->dout[1]));
	d->din[0] = d->din[0] == VQ_NONE ? part : vq_add(t, d->din[0], part);
}

/* What compositions share: one row of zeros and a one for each position that
 * counts, and the target. */
struct parts {
	vq_id hot, counts, target, number;
};

static struct parts
parts_of(struct vq_graph *t, const struct cross_entropy *p, vq_id x, vq_id index)
{
	struct vq_type type = *vq_type_at(t, x);
	int last = type.shape.rank - 1;
	int64_t k = type.shape.dim[last];
	struct parts a;

	a.hot = vq_cast(t, VQ_EMIT1(t, "one_hot", index, "size=%lld ignore=%lld", (long long)k,
	    (long long)p->ignore), type.dtype);
	a.counts = vq_sum(t, a.hot, 1u << last, true);
	a.target = vq_offset(t, vq_scale(t, a.hot, 1 - p->smoothing), p->smoothing / (double)k);
	a.number = VQ_EMIT2(t, "maximum", vq_sum_all(t, a.counts), vq_scalar_like(t, x, 1), " ");
	return a;
}

/* loss = (lse - target . logits) where it counts.  Indices are taken to be in range. */
static void
compose(struct vq_compose *c)
{
	const struct cross_entropy *p = c->params;
	struct vq_graph *t = c->to;
	struct parts a = parts_of(t, p, c->in[0], c->in[1]);
	vq_id lse = VQ_EMIT1(t, "logsumexp", c->in[0], " ");
	struct vq_shape rows = vq_type_at(t, lse)->shape;
	vq_id along = vq_sum(t, vq_mul(t, a.target, c->in[0]), 1u << rows.rank, false);
	vq_id each = vq_mul(t, vq_sub(t, lse, along), vq_reshape(t, a.counts, &rows));

	c->out[0] = p->reduction == NONE ? each : vq_sum_all(t, each);
	if (p->reduction == MEAN)
		c->out[0] = vq_div(t, c->out[0], a.number);
	c->out[1] = lse;
}

/* dx = (exp(x - lse) - target) * weight */
static void
compose_grad(struct vq_compose *c)
{
	const struct cross_entropy *p = c->params;
	struct vq_graph *t = c->to;
	struct parts a = parts_of(t, p, c->in[0], c->in[2]);
	vq_id softmax = vq_unary(t, "exp", vq_sub(t, c->in[0], per_row(t, c->in[1]))), g = c->in[3];

	if (p->reduction == NONE)
		g = per_row(t, g);
	if (p->reduction == MEAN)
		g = vq_div(t, g, a.number);
	c->out[0] = vq_mul(t, vq_sub(t, softmax, a.target), vq_mul(t, a.counts, g));
}

/* --- positions ------------------------------------------------------------ */

/* What both kernels walk over. */
struct rows {
	const int32_t *index;
	int64_t n, k, ignore;
};

static struct rows
rows_of(const struct vq_call *c, int index)
{
	const struct vq_shape *s = &c->in[0].type->shape;

	return (struct rows){ c->in[index].data, vq_shape_span(s, 0, s->rank - 1), s->dim[s->rank - 1],
	    ((const struct cross_entropy *)c->params)->ignore };
}

static int64_t
counted(const struct rows *r)
{
	int64_t n = 0;

	for (int64_t i = 0; i < r->n; i++)
		n += r->index[i] != r->ignore;
	return n > 0 ? n : 1;
}

static bool
in_range(const struct rows *r, int64_t i)
{
	return r->index[i] >= 0 && r->index[i] < r->k;
}

/* --- reference ------------------------------------------------------------ */

static double
row_lse(const struct vq_view *x, int64_t at, int64_t k)
{
	double m = -INFINITY, s = 0;

	for (int64_t j = 0; j < k; j++)
		m = fmax(m, vq_get(x, at + j));
	for (int64_t j = 0; j < k; j++)
		s += exp(vq_get(x, at + j) - m);
	return m + log(s);
}

static double
row_loss(const struct vq_view *x, const struct rows *r, int64_t i, double smoothing, double lse)
{
	double spread = 0;

	if (r->index[i] == r->ignore)
		return 0;
	if (!in_range(r, i))
		return NAN;
	for (int64_t j = 0; smoothing > 0 && j < r->k; j++)
		spread += vq_get(x, i * r->k + j) / (double)r->k;
	return lse - (1 - smoothing) * vq_get(x, i * r->k + r->index[i]) - smoothing * spread;
}

static void
ref(const struct vq_call *c)
{
	const struct cross_entropy *p = c->params;
	struct rows r = rows_of(c, 1);
	double sum = 0;

	for (int64_t i = 0; i < r.n; i++) {
		double lse = row_lse(&c->in[0], i * r.k, r.k);
		double loss = row_loss(&c->in[0], &r, i, p->smoothing, lse);
		vq_set(&c->out[1], i, lse);
		if (p->reduction == NONE)
			vq_set(&c->out[0], i, loss);
		sum += loss;
	}
	if (p->reduction != NONE)
		vq_set(&c->out[0], 0, p->reduction == MEAN ? sum / (double)counted(&r) : sum);
}

static void
ref_grad(const struct vq_call *c)
{
	const struct cross_entropy *p = c->params;
	struct rows r = rows_of(c, 2);
	double share = p->reduction == MEAN ? 1 / (double)counted(&r) : 1;

	for (int64_t i = 0; i < r.n; i++) {
		double w = share * vq_get(&c->in[3], p->reduction == NONE ? i : 0);
		if (r.index[i] == r.ignore)
			w = 0;
		else if (!in_range(&r, i))
			w = NAN;
		for (int64_t j = 0; j < r.k; j++) {
			double target = p->smoothing / (double)r.k + (j == r.index[i] ? 1 - p->smoothing : 0);
			double e = exp(vq_get(&c->in[0], i * r.k + j) - vq_get(&c->in[1], i));
			vq_set(&c->out[0], i * r.k + j, w == 0 ? 0 : w * (e - target));
		}
	}
}

/* --- fast ----------------------------------------------------------------- */

/* Rows of a chunk: a function of the shape alone. */
static int64_t
chunk_rows(int64_t k)
{
	return 1 + 8192 / k;
}

/* The losses of rows [from, to), summed; stored when out is not NULL. */
static double
run_chunk(const struct vq_call *c, const struct rows *r, int64_t from, int64_t to, float *out)
{
	const struct cross_entropy *p = c->params;
	const float *x = c->in[0].data;
	float *lse = c->out[1].data;
	double sum = 0;

	for (int64_t i = from; i < to; i++) {
		const float *row = x + i * r->k;
		double loss = 0;

		vq_rows(c->k)->logsumexp(lse + i, row, 1, r->k);
		if (r->index[i] != r->ignore && !in_range(r, i))
			loss = NAN;
		else if (r->index[i] != r->ignore)
			loss = (double)lse[i] - (1 - p->smoothing) * (double)row[r->index[i]];
		if (r->index[i] != r->ignore && p->smoothing > 0)
			loss -= p->smoothing * (double)c->k->sum(row, r->k) / (double)r->k;
		if (out)
			out[i] = (float)loss;
		sum += loss;
	}
	return sum;
}

static void
run(const struct vq_call *c)
{
	const struct cross_entropy *p = c->params;
	struct rows r = rows_of(c, 1);
	int64_t size = chunk_rows(r.k), chunks = (r.n + size - 1) / size;
	float *out = c->out[0].data;
	double *part = c->scratch, sum = 0;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, r.n * r.k)) schedule(static)
	for (int64_t i = 0; i < chunks; i++) {
		int64_t to = (i + 1) * size < r.n ? (i + 1) * size : r.n;
		part[i] = run_chunk(c, &r, i * size, to, p->reduction == NONE ? out : NULL);
	}
	if (p->reduction == NONE)
		return;
	for (int64_t i = 0; i < chunks; i++)
		sum += part[i];
	*out = (float)(p->reduction == MEAN ? sum / (double)counted(&r) : sum);
}

static size_t
scratch(const struct vq_cost *c)
{
	const struct vq_shape *s = &c->in[0].shape;
	int64_t size = chunk_rows(s->dim[s->rank - 1]), n = vq_shape_span(s, 0, s->rank - 1);

	return (size_t)((n + size - 1) / size) * sizeof(double);
}

static void
grad_row(const struct vq_call *c, const struct rows *r, int64_t i, double w)
{
	const struct cross_entropy *p = c->params;
	const float *x = (const float *)c->in[0].data + i * r->k;
	float *dx = (float *)c->out[0].data + i * r->k;
	float lse = ((const float *)c->in[1].data)[i];

	if (r->index[i] == r->ignore) {
		memset(dx, 0, (size_t)r->k * sizeof(*dx));
		return;
	}
	if (!in_range(r, i))
		w = NAN;
	vq_rows(c->k)->softmax_less(dx, x, lse, (float)(p->smoothing / (double)r->k), (float)w, r->k);
	if (in_range(r, i))
		dx[r->index[i]] -= (float)((1 - p->smoothing) * w);
}

static void
run_grad(const struct vq_call *c)
{
	const struct cross_entropy *p = c->params;
	struct rows r = rows_of(c, 2);
	const float *g = c->in[3].data;
	double share = p->reduction == MEAN ? 1 / (double)counted(&r) : 1;
	int64_t size = chunk_rows(r.k), chunks = (r.n + size - 1) / size;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, r.n * r.k)) schedule(static)
	for (int64_t i = 0; i < chunks; i++) {
		int64_t to = (i + 1) * size < r.n ? (i + 1) * size : r.n;
		for (int64_t j = i * size; j < to; j++)
			grad_row(c, &r, j, share * (double)(p->reduction == NONE ? g[j] : *g));
	}
}

static bool
places(const struct vq_cost *c, int port, struct vq_places *out)
{
	const struct cross_entropy *p = c->params;
	const struct vq_shape *x = &c->in[0].shape;

	*out = (struct vq_places){ x->dim[x->rank - 1], p->ignore };
	return port == 1;
}

/* An exponential counts as ten. */
static double
flops(const struct vq_cost *c)
{
	return 13.0 * (double)vq_shape_count(&c->in[0].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "logits=f32[4,5] index=i32[4](0,5)" },
	{ "logits=f32[2,3,5] index=i32[2,3](0,5)", "smoothing=0.1" },
	{ "logits=f32[6,3] index=i32[6](0,3)", "ignore=2 reduction=sum" },
	{ "logits=f32[6,3] index=i32[6](0,3)", "ignore=1 smoothing=0.2" },
	{ "logits=f32[6,3] index=i32[6](0,3)", "reduction=none" },
	{ "logits=f32[5] index=i32(0,5)" },
	{ "logits=f32[7,33](-90,90) index=i32[7](0,33)", .no_gradient = true },
	{ "logits=f32[6272,512](-4,4) index=i32[6272](0,512)", .doc = "timed" },
	{ "logits=f32[4,5] index=i32[5](0,5)", .fails = "must have one index for each row of logits: [4], not [5]" },
	{ "logits=f32 index=i32(0,5)", .fails = "needs a last axis of classes" },
	{ "logits=f32[4,5] index=f32[4]", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};
static const struct vq_example grad_examples[] = {
	{ "logits=f32[4,5] lse=f32[4](1,3) index=i32[4](0,5) g=f32" },
	{ "logits=f32[6,3] lse=f32[6](1,3) index=i32[6](0,3) g=f32", "smoothing=0.1 ignore=1" },
	{ "logits=f32[6,3] lse=f32[6](1,3) index=i32[6](0,3) g=f32[6]", "reduction=none" },
	{ "logits=f32[6272,512](-4,4) lse=f32[6272](5,9) index=i32[6272](0,512) g=f32" },
	{ "logits=f32[4,5] lse=f32[4] index=i32[4](0,5) g=f32[4]", .fails = "must have the shape of the loss" },
	{ 0 }
};

extern const struct vq_op vq_ops_cross_entropy[];
const struct vq_op vq_ops_cross_entropy[] = {
	{
		.name = "cross_entropy",
		.doc = "negative log-likelihood of an index under the softmax of logits",
		.in = { "logits", "index" }, .out = { "loss", "lse" },
		.params = params, .size = sizeof(struct cross_entropy),
		.infer = infer, .grad = grad, .compose = compose,
		.run = run, .ref = ref,
		.scratch = scratch, .flops = flops, .places = places,
		.also = (const char *const[]){ "ce", "nll", "nll_loss", "cross_entropy_loss", "softmax_cross_entropy", NULL },
		.examples = examples,
	}, {
		.name = "cross_entropy_grad",
		.doc = "gradient of cross_entropy: (exp(logits - lse) - target) * weight",
		.in = { "logits", "lse", "index", "g" }, .out = { "dx" },
		.params = params, .size = sizeof(struct cross_entropy), .flags = VQ_OP_INTERNAL,
		.infer = infer_grad, .compose = compose_grad, .run = run_grad, .ref = ref_grad,
		.inplace = "0:0", .flops = flops,
		.examples = grad_examples,
	},
	{ 0 }
};
