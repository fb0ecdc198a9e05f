/*
 * rms_norm -- y = x / sqrt(mean(x^2) + eps) over the last axis (Zhang, Sennrich 2019)
 *
 *   x [..., c]   y [..., c]   mean_square [..., 1]
 *
 * The scale that belongs to it is a step of a block.  The backward reads y; x
 * itself is not kept for it.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct rms {
	double eps;
};

static const struct vq_param params[] = {
	VQ_REAL(struct rms, eps, "1e-5", 0, 1e3, "added to the mean of the squares"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

static int
check(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs at least 1 axis");
	if (x->dim[x->rank - 1] == 0)
		return vq_infer_error(q, 0, "has nothing to take a mean of");
	return 0;
}

static struct vq_shape
one_each(const struct vq_shape *x)
{
	struct vq_shape s = *x;

	s.dim[s.rank - 1] = 1;
	return s;
}

static int
infer(struct vq_infer *q)
{
	if (check(q) < 0)
		return -1;
	q->out[1].shape = one_each(&q->in[0].shape);
	return 0;
}

static int
infer_grad(struct vq_infer *q)
{
	if (check(q) < 0)
		return -1;
	struct vq_shape s = one_each(&q->in[0].shape);
	if (!vq_shape_equal(&q->in[1].shape, &s))
		return vq_infer_error(q, 1, "must have one value for each row");
	if (!vq_shape_equal(&q->in[2].shape, &q->in[0].shape))
		return vq_infer_error(q, 2, "must have the shape of y");
	return vq_infer_same_dtype(q);
}

/* --- gradients ------------------------------------------------------------ */

static unsigned
last_axis(const struct vq_graph *t, vq_id x)
{
	return 1u << (vq_type_at(t, x)->shape.rank - 1);
}

/* d mean_square / dx = 2 x / c, and x is y sqrt(mean_square + eps). */
static void
grad(struct vq_grad *d)
{
	double eps = ((const struct rms *)d->params)->eps;
	struct vq_graph *t = d->to;
	const struct vq_shape *s = &vq_type_at(t, d->in[0])->shape;
	double c = (double)s->dim[s->rank - 1];

	if (d->dout[0] != VQ_NONE)
		d->din[0] = VQ_EMIT3(t, "rms_norm_grad", d->out, d->out + 1, d->dout[0], "eps=%.17g", eps);
	if (d->dout[1] == VQ_NONE)
		return;
	vq_id root = vq_unary(t, "sqrt", vq_offset(t, d->out + 1, eps));
	vq_id part = vq_mul(t, d->out, vq_scale(t, vq_mul(t, root, d->dout[1]), 2 / c));
	d->din[0] = d->din[0] == VQ_NONE ? part : vq_add(t, d->din[0], part);
}

static void
compose(struct vq_compose *c)
{
	double eps = ((const struct rms *)c->params)->eps;
	struct vq_graph *t = c->to;
	vq_id x = c->in[0];

	c->out[1] = vq_mean(t, vq_unary(t, "square", x), last_axis(t, x), true);
	c->out[0] = vq_mul(t, x, vq_unary(t, "rsqrt", vq_offset(t, c->out[1], eps)));
}

/* dx = (g - y mean(g y)) / sqrt(mean_square + eps) */
static void
compose_grad(struct vq_compose *c)
{
	double eps = ((const struct rms *)c->params)->eps;
	struct vq_graph *t = c->to;
	vq_id y = c->in[0], g = c->in[2], r = vq_unary(t, "rsqrt", vq_offset(t, c->in[1], eps));
	vq_id along = vq_mul(t, y, vq_mean(t, vq_mul(t, g, y), last_axis(t, y), true));

	c->out[0] = vq_mul(t, r, vq_sub(t, g, along));
}

/* --- kernels -------------------------------------------------------------- */

static void
rows_of(const struct vq_view *v, int64_t *rows, int64_t *n)
{
	const struct vq_shape *s = &v->type->shape;

	*n = s->dim[s->rank - 1];
	*rows = vq_shape_span(s, 0, s->rank - 1);
}

static void
ref(const struct vq_call *c)
{
	double eps = ((const struct rms *)c->params)->eps;
	int64_t rows, n;

	rows_of(&c->in[0], &rows, &n);
	for (int64_t r = 0; r < rows; r++) {
		double mean = 0;
		for (int64_t i = r * n; i < (r + 1) * n; i++)
			mean += vq_get(&c->in[0], i) * vq_get(&c->in[0], i) / (double)n;
		for (int64_t i = r * n; i < (r + 1) * n; i++)
			vq_set(&c->out[0], i, vq_get(&c->in[0], i) / sqrt(mean + eps));
		vq_set(&c->out[1], r, mean);
	}
}

static void
ref_grad(const struct vq_call *c)
{
	double eps = ((const struct rms *)c->params)->eps;
	const struct vq_view *y = &c->in[0], *g = &c->in[2];
	int64_t rows, n;

	rows_of(y, &rows, &n);
	for (int64_t r = 0; r < rows; r++) {
		double along = 0, root = sqrt(vq_get(&c->in[1], r) + eps);
		for (int64_t i = r * n; i < (r + 1) * n; i++)
			along += vq_get(g, i) * vq_get(y, i) / (double)n;
		for (int64_t i = r * n; i < (r + 1) * n; i++)
			vq_set(&c->out[0], i, (vq_get(g, i) - vq_get(y, i) * along) / root);
	}
}

static void
run(const struct vq_call *c)
{
	float eps = (float)((const struct rms *)c->params)->eps;
	const float *x = c->in[0].data;
	float *y = c->out[0].data, *mean = c->out[1].data;
	int64_t rows, n;

	rows_of(&c->in[0], &rows, &n);
#pragma omp parallel for num_threads(vq_rows_team(c->threads, rows * n)) schedule(static)
	for (int64_t r = 0; r < rows; r++)
		vq_rows(c->k)->rms(y + r * n, mean + r, x + r * n, eps, n);
}

static void
run_grad(const struct vq_call *c)
{
	float eps = (float)((const struct rms *)c->params)->eps;
	const float *y = c->in[0].data, *mean = c->in[1].data, *g = c->in[2].data;
	float *dx = c->out[0].data;
	int64_t rows, n;

	rows_of(&c->in[0], &rows, &n);
#pragma omp parallel for num_threads(vq_rows_team(c->threads, rows * n)) schedule(static)
	for (int64_t r = 0; r < rows; r++)
		vq_rows(c->k)->rms_grad(dx + r * n, y + r * n, mean[r], g + r * n, eps, n);
}

static double
flops(const struct vq_cost *c)
{
	return 4.0 * (double)vq_shape_count(&c->in[0].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "x=f32[3,6]" },
	{ "x=f32[2,3,5]", "eps=1e-2" },
	{ "x=f32[7]" },
	{ "x=f32[0,7]" },
	{ "x=f32[6400,256]", .doc = "timed" },
	{ "x=f32[3,0]", .fails = "has nothing to take a mean of" },
	{ "x=f32", .fails = "needs at least 1 axis" },
	{ "x=i32[3](0,5)", .fails = "must be floating, is i32" },
	{ 0 }
};
static const struct vq_example grad_examples[] = {
	{ "y=f32[3,6] mean_square=f32[3,1](0.1,2) g=f32[3,6]" },
	{ "y=f32[2,3,5] mean_square=f32[2,3,1](0.1,2) g=f32[2,3,5]", "eps=1e-2" },
	{ "y=f32[6400,256] mean_square=f32[6400,1](0.1,2) g=f32[6400,256]", .doc = "timed" },
	{ "y=f32[3,6] mean_square=f32[3](0.1,2) g=f32[3,6]", .fails = "must have one value for each row" },
	{ 0 }
};

extern const struct vq_op vq_ops_rms_norm[];
const struct vq_op vq_ops_rms_norm[] = {
	{
		.name = "rms_norm",
		.doc = "each vector of the last axis divided by the root of its mean square, without scale",
		.in = { "x" }, .out = { "y", "mean_square" },
		.params = params, .size = sizeof(struct rms),
		.infer = infer, .grad = grad, .compose = compose, .run = run, .ref = ref,
		.inplace = "0:0", .flops = flops, .again = 2,
		.also = (const char *const[]){ "RMSNorm", "rms_normalize", "root_mean_square_norm", NULL },
		.examples = examples,
	}, {
		.name = "rms_norm_grad",
		.doc = "gradient of rms_norm, from its result y and mean square",
		.in = { "y", "mean_square", "g" }, .out = { "dx" },
		.params = params, .size = sizeof(struct rms), .flags = VQ_OP_INTERNAL,
		.infer = infer_grad, .compose = compose_grad, .run = run_grad, .ref = ref_grad,
		.inplace = "0:0 0:2", .flops = flops,
		.examples = grad_examples,
	},
	{ 0 }
};
