/*
 * softmax, log_softmax, logsumexp -- normalised exponentials along one axis
 *
 *   softmax       y = exp(x) / sum(exp(x))
 *   log_softmax   y = x - logsumexp(x)
 *   logsumexp     y = log(sum(exp(x))), the axis dropped or kept with length 1
 *
 * The largest element is taken out first, so nothing overflows.  -inf is
 * allowed (a masked position) as long as some element of the row is finite.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct softmax {
	int64_t axis;
};

struct logsumexp {
	int64_t axis;		/* first, as in struct softmax */
	bool keep;
};

#define AXIS(type) VQ_INT(type, axis, "-1", -VQ_MAX_RANK, VQ_MAX_RANK - 1, "axis to normalise over; negative counts from the end")

static const struct vq_param params[] = {
	AXIS(struct softmax),
	VQ_PARAMS_END
};

static const struct vq_param logsumexp_params[] = {
	AXIS(struct logsumexp),
	VQ_BOOLEAN(struct logsumexp, keep, "false", "keep the axis, with length 1"),
	VQ_PARAMS_END
};

/* The tensor as [outer, n, inner], n along the axis. */
struct axis {
	int index;
	int64_t outer, n, inner;
};

static struct axis
axis_of(const void *p, const struct vq_shape *s)
{
	int64_t given = ((const struct softmax *)p)->axis;
	int i = (int)(given < 0 ? given + s->rank : given);

	return (struct axis){ i, vq_shape_span(s, 0, i), s->dim[i], vq_shape_span(s, i + 1, s->rank) };
}

/* --- types ---------------------------------------------------------------- */

static int
infer(struct vq_infer *q)
{
	const struct softmax *p = q->params;
	int axis;

	for (int i = 0; i < q->nin; i++) {
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
		if (!vq_shape_equal(&q->in[i].shape, &q->in[0].shape))
			return vq_infer_error(q, i, "must have the shape of the first");
	}
	if (vq_infer_axis(q, 0, p->axis, &axis) < 0)
		return -1;
	if (q->in[0].shape.dim[axis] == 0)
		return vq_infer_error(q, 0, "has nothing along axis %d", axis);
	return vq_infer_same_dtype(q);
}

static void
drop_axis(struct vq_shape *s, int axis)
{
	for (int i = axis; i + 1 < s->rank; i++)
		s->dim[i] = s->dim[i + 1];
	s->rank--;
}

static int
infer_logsumexp(struct vq_infer *q)
{
	const struct logsumexp *p = q->params;
	struct vq_shape *y = &q->out[0].shape;

	if (infer(q) < 0)
		return -1;
	int axis = axis_of(p, &q->in[0].shape).index;
	if (p->keep)
		y->dim[axis] = 1;
	else
		drop_axis(y, axis);
	return 0;
}

/* --- gradients ------------------------------------------------------------ */

static vq_id
emit_with_axis(struct vq_graph *g, const char *op, vq_id a, vq_id b, int axis)
{
	return VQ_EMIT2(g, op, a, b, "axis=%d", axis);
}

static int
axis_in(const struct vq_grad *d)
{
	return axis_of(d->params, &vq_type_at(d->to, d->in[0])->shape).index;
}

static void
grad_softmax(struct vq_grad *d)
{
	d->din[0] = emit_with_axis(d->to, "softmax_grad", d->out, d->dout[0], axis_in(d));
}

static void
grad_log_softmax(struct vq_grad *d)
{
	d->din[0] = emit_with_axis(d->to, "log_softmax_grad", d->out, d->dout[0], axis_in(d));
}

static void
grad_logsumexp(struct vq_grad *d)
{
	struct vq_shape kept = vq_type_at(d->to, d->in[0])->shape;
	int axis = axis_in(d);

	kept.dim[axis] = 1;
	d->din[0] = vq_mul(d->to, VQ_EMIT1(d->to, "softmax", d->in[0], "axis=%d", axis),
	    vq_reshape(d->to, d->dout[0], &kept));
}

/* dx = y (g - sum(g y)), linear in g. */
static void
grad_softmax_grad(struct vq_grad *d)
{
	struct vq_graph *t = d->to;
	vq_id y = d->in[0], g = d->in[1], u = d->dout[0];
	int axis = axis_in(d);
	unsigned axes = 1u << axis;

	if (d->want[1])
		d->din[1] = emit_with_axis(t, "softmax_grad", y, u, axis);
	if (d->want[0]) {
		vq_id gy = vq_sum(t, vq_mul(t, g, y), axes, true);
		vq_id uy = vq_sum(t, vq_mul(t, u, y), axes, true);
		d->din[0] = vq_sub(t, vq_mul(t, u, vq_sub(t, g, gy)), vq_mul(t, g, uy));
	}
}

/* dx = g - exp(y) sum(g). */
static void
grad_log_softmax_grad(struct vq_grad *d)
{
	struct vq_graph *t = d->to;
	vq_id e = vq_unary(t, "exp", d->in[0]), g = d->in[1], u = d->dout[0];
	unsigned axes = 1u << axis_in(d);
	vq_id ue = vq_mul(t, u, e);

	if (d->want[1])
		d->din[1] = vq_sub(t, u, vq_sum(t, ue, axes, true));
	if (d->want[0])
		d->din[0] = vq_neg(t, vq_mul(t, ue, vq_sum(t, g, axes, true)));
}

/* --- compositions --------------------------------------------------------- */

/* exp(x - m) and its sum, m being the largest along the axis; kept. */
struct parts {
	vq_id m, less, e, sum;
	int axis;
};

static struct parts
parts_of(const struct vq_compose *c)
{
	struct vq_graph *t = c->to;
	struct parts p = { .axis = axis_of(c->params, &vq_type_at(t, c->in[0])->shape).index };

	p.m = VQ_EMIT1(t, "max", c->in[0], "axes=[%d] keep=true", p.axis);
	p.less = vq_sub(t, c->in[0], p.m);
	p.e = vq_unary(t, "exp", p.less);
	p.sum = vq_sum(t, p.e, 1u << p.axis, true);
	return p;
}

static void
compose_softmax(struct vq_compose *c)
{
	struct parts p = parts_of(c);

	c->out[0] = vq_div(c->to, p.e, p.sum);
}

static void
compose_log_softmax(struct vq_compose *c)
{
	struct parts p = parts_of(c);

	c->out[0] = vq_sub(c->to, p.less, vq_unary(c->to, "log", p.sum));
}

static void
compose_logsumexp(struct vq_compose *c)
{
	struct parts p = parts_of(c);
	vq_id y = vq_add(c->to, p.m, vq_unary(c->to, "log", p.sum));
	struct vq_shape dropped = vq_type_at(c->to, y)->shape;

	if (!((const struct logsumexp *)c->params)->keep)
		drop_axis(&dropped, p.axis);
	c->out[0] = vq_reshape(c->to, y, &dropped);
}

/* --- reference ------------------------------------------------------------ */

/* One row of a view: n elements from `at`, `step` apart. */
struct line {
	int64_t at, step, n;
};

static double
line_logsumexp(const struct vq_view *x, const struct line *l)
{
	double m = -INFINITY, s = 0;

	for (int64_t i = 0; i < l->n; i++)
		m = fmax(m, vq_get(x, l->at + i * l->step));
	for (int64_t i = 0; i < l->n; i++)
		s += exp(vq_get(x, l->at + i * l->step) - m);
	return m == -INFINITY ? m : m + log(s);
}

static void
ref_softmax_line(const struct vq_call *c, const struct line *l, int64_t r)
{
	double lse = line_logsumexp(&c->in[0], l);

	for (int64_t i = l->at; i < l->at + l->n * l->step; i += l->step)
		vq_set(&c->out[0], i, exp(vq_get(&c->in[0], i) - lse));
}

static void
ref_log_softmax_line(const struct vq_call *c, const struct line *l, int64_t r)
{
	double lse = line_logsumexp(&c->in[0], l);

	for (int64_t i = l->at; i < l->at + l->n * l->step; i += l->step)
		vq_set(&c->out[0], i, vq_get(&c->in[0], i) - lse);
}

static void
ref_logsumexp_line(const struct vq_call *c, const struct line *l, int64_t r)
{
	vq_set(&c->out[0], r, line_logsumexp(&c->in[0], l));
}

static void
ref_softmax_grad_line(const struct vq_call *c, const struct line *l, int64_t r)
{
	const struct vq_view *y = &c->in[0], *g = &c->in[1];
	int64_t end = l->at + l->n * l->step;
	double s = 0;

	for (int64_t i = l->at; i < end; i += l->step)
		s += vq_get(y, i) * vq_get(g, i);
	for (int64_t i = l->at; i < end; i += l->step)
		vq_set(&c->out[0], i, vq_get(y, i) * (vq_get(g, i) - s));
}

static void
ref_log_softmax_grad_line(const struct vq_call *c, const struct line *l, int64_t r)
{
	const struct vq_view *y = &c->in[0], *g = &c->in[1];
	int64_t end = l->at + l->n * l->step;
	double s = 0;

	for (int64_t i = l->at; i < end; i += l->step)
		s += vq_get(g, i);
	for (int64_t i = l->at; i < end; i += l->step)
		vq_set(&c->out[0], i, vq_get(g, i) - exp(vq_get(y, i)) * s);
}

static void
each_line(const struct vq_call *c, void (*one)(const struct vq_call *, const struct line *, int64_t))
{
	struct axis a = axis_of(c->params, &c->in[0].type->shape);

	for (int64_t r = 0; r < a.outer * a.inner; r++)
		one(c, &(struct line){ r / a.inner * a.n * a.inner + r % a.inner, a.inner, a.n }, r);
}

static void ref_softmax(const struct vq_call *c) { each_line(c, ref_softmax_line); }
static void ref_log_softmax(const struct vq_call *c) { each_line(c, ref_log_softmax_line); }
static void ref_logsumexp(const struct vq_call *c) { each_line(c, ref_logsumexp_line); }
static void ref_softmax_grad(const struct vq_call *c) { each_line(c, ref_softmax_grad_line); }
static void ref_log_softmax_grad(const struct vq_call *c) { each_line(c, ref_log_softmax_grad_line); }

/* --- fast ----------------------------------------------------------------- */

typedef void one_fn(float *, const float *, int64_t, int64_t);
typedef void two_fn(float *, const float *, const float *, int64_t, int64_t);

/* Either kernel over some rows; the other one is NULL. */
static void
apply(one_fn *one, two_fn *two, float *y, const float *a, const float *b, int64_t rows, int64_t n)
{
	if (one)
		one(y, a, rows, n);
	else
		two(y, a, b, rows, n);
}

/* A last axis: rows as they lie.  out_n: elements of a row of the result. */
static void
run_rows(const struct vq_call *c, one_fn *one, two_fn *two, const struct axis *a, int64_t out_n)
{
	const float *x = c->in[0].data, *b = c->nin > 1 ? c->in[1].data : x;
	float *y = c->out[0].data;
	int64_t block = 1 + 2048 / a->n, blocks = (a->outer + block - 1) / block;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, a->outer * a->n)) schedule(static)
	for (int64_t i = 0; i < blocks; i++) {
		int64_t r = i * block, m = a->outer - r < block ? a->outer - r : block;
		apply(one, two, y + r * out_n, x + r * a->n, b + r * a->n, m, a->n);
	}
}

/* Lines of another axis at a time, copied to rows and back. */
enum { LINES = 16 };

static void
gather(float *to, const float *from, const struct axis *a, int64_t lines)
{
	for (int64_t i = 0; i < a->n; i++)
		for (int64_t j = 0; j < lines; j++)
			to[j * a->n + i] = from[i * a->inner + j];
}

static void
run_lines(const struct vq_call *c, one_fn *one, two_fn *two, const struct axis *a, int64_t out_n)
{
	int64_t groups = (a->inner + LINES - 1) / LINES, room = LINES * a->n;

#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int t = 0; t < c->threads; t++) {
		float *x = (float *)c->scratch + t * 3 * room, *b = x + room, *y = b + room;

		for (int64_t i = t; i < a->outer * groups; i += c->threads) {
			int64_t o = i / groups, first = i % groups * LINES;
			int64_t lines = a->inner - first < LINES ? a->inner - first : LINES;
			int64_t at = o * a->n * a->inner + first;
			float *to = (float *)c->out[0].data + o * out_n * a->inner + first;

			gather(x, (const float *)c->in[0].data + at, a, lines);
			if (two)
				gather(b, (const float *)c->in[1].data + at, a, lines);
			apply(one, two, y, x, b, lines, a->n);
			for (int64_t k = 0; k < out_n; k++)
				for (int64_t j = 0; j < lines; j++)
					to[k * a->inner + j] = y[j * out_n + k];
		}
	}
}

static void
run_kernel(const struct vq_call *c, one_fn *one, two_fn *two, bool reduces)
{
	struct axis a = axis_of(c->params, &c->in[0].type->shape);

	(a.inner == 1 ? run_rows : run_lines)(c, one, two, &a, reduces ? 1 : a.n);
}

static size_t
scratch(const struct vq_cost *c)
{
	struct axis a = axis_of(c->params, &c->in[0].shape);

	return a.inner == 1 ? 0 : (size_t)c->threads * 3 * LINES * (size_t)a.n * sizeof(float);
}

static void run_softmax(const struct vq_call *c) { run_kernel(c, vq_rows(c->k)->softmax, NULL, false); }
static void run_log_softmax(const struct vq_call *c) { run_kernel(c, vq_rows(c->k)->log_softmax, NULL, false); }
static void run_logsumexp(const struct vq_call *c) { run_kernel(c, vq_rows(c->k)->logsumexp, NULL, true); }
static void run_softmax_grad(const struct vq_call *c) { run_kernel(c, NULL, vq_rows(c->k)->softmax_grad, false); }
static void run_log_softmax_grad(const struct vq_call *c) { run_kernel(c, NULL, vq_rows(c->k)->log_softmax_grad, false); }

/* An exponential counts as ten. */
static double
flops(const struct vq_cost *c)
{
	return 13.0 * (double)vq_shape_count(&c->in[0].shape);
}

static double
flops_grad(const struct vq_cost *c)
{
	return 4.0 * (double)vq_shape_count(&c->in[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[3,5]" },
	{ "x=f32[2,5,3]", "axis=1", .doc = "over an axis in the middle" },
	{ "x=f32[7]", "axis=0" },
	{ "x=f32[4,37](-40,40)", .no_gradient = true, .doc = "differences that underflow" },
	{ "x=f32[64,9,33]", "axis=1" },
	{ "x=f32[512,50,50]", .doc = "timed" },
	{ "x=f32[2,3]", "axis=2", .fails = "has 2 axes, and no axis 2" },
	{ "x=f32[2,0]", .fails = "has nothing along axis 1" },
	{ "x=i32[2,3](0,4)", .fails = "must be floating, is i32" },
	{ 0 }
};

static const struct vq_example logsumexp_examples[] = {
	{ "x=f32[3,5]" },
	{ "x=f32[2,5,3]", "axis=1 keep=true" },
	{ "x=f32[2,5,3]", "axis=0" },
	{ "x=f32[6272,512]", .doc = "timed" },
	{ "x=f32", .fails = "has 0 axes, and no axis -1" },
	{ 0 }
};

static const struct vq_example grad_examples[] = {
	{ "y=f32[3,5](0,1) g=f32[3,5]" },
	{ "y=f32[2,5,3](-2,0) g=f32[2,5,3]", "axis=1" },
	{ "y=f32[2048,256](-9,0) g=f32[2048,256]" },
	{ "y=f32[3,5] g=f32[3,4]", .fails = "must have the shape of the first" },
	{ 0 }
};

extern const struct vq_op vq_ops_softmax[];
const struct vq_op vq_ops_softmax[] = {
	{
		.name = "softmax",
		.doc = "exponentials along an axis, scaled to sum to one",
		.in = { "x" }, .out = { "y" },
		.params = params, .size = sizeof(struct softmax),
		.infer = infer, .grad = grad_softmax, .compose = compose_softmax,
		.run = run_softmax, .ref = ref_softmax,
		.inplace = "0:0", .scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "soft_max", "normalize_exp", NULL },
		.examples = examples,
	}, {
		.name = "log_softmax",
		.doc = "logarithm of the softmax along an axis",
		.in = { "x" }, .out = { "y" },
		.params = params, .size = sizeof(struct softmax),
		.infer = infer, .grad = grad_log_softmax, .compose = compose_log_softmax,
		.run = run_log_softmax, .ref = ref_log_softmax,
		.inplace = "0:0", .scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "logsoftmax", "log_probs", NULL },
		.examples = examples,
	}, {
		.name = "logsumexp",
		.doc = "logarithm of the sum of exponentials along an axis",
		.in = { "x" }, .out = { "y" },
		.params = logsumexp_params, .size = sizeof(struct logsumexp),
		.infer = infer_logsumexp, .grad = grad_logsumexp, .compose = compose_logsumexp,
		.run = run_logsumexp, .ref = ref_logsumexp,
		.scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "lse", "log_sum_exp", NULL },
		.examples = logsumexp_examples,
	}, {
		.name = "softmax_grad",
		.doc = "gradient of softmax from its result y: y * (g - sum(g * y))",
		.in = { "y", "g" }, .out = { "dx" },
		.params = params, .size = sizeof(struct softmax), .flags = VQ_OP_INTERNAL,
		.infer = infer, .grad = grad_softmax_grad,
		.run = run_softmax_grad, .ref = ref_softmax_grad,
		.inplace = "0:0 0:1", .scratch = scratch, .flops = flops_grad,
		.examples = grad_examples,
	}, {
		.name = "log_softmax_grad",
		.doc = "gradient of log_softmax from its result y: g - exp(y) * sum(g)",
		.in = { "y", "g" }, .out = { "dx" },
		.params = params, .size = sizeof(struct softmax), .flags = VQ_OP_INTERNAL,
		.infer = infer, .grad = grad_log_softmax_grad,
		.run = run_log_softmax_grad, .ref = ref_log_softmax_grad,
		.inplace = "0:0 0:1", .scratch = scratch, .flops = flops,
		.examples = grad_examples,
	},
	{ 0 }
};
