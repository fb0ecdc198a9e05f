/*
 * mse, l1, huber, bce_logits -- losses between two tensors of the same shape
 *
 *   mse         (a - b)^2
 *   l1          |a - b|
 *   huber       d^2 / 2 where |d| = |a - b| <= delta, else delta (|d| - delta / 2)
 *   bce_logits  log(1 + exp(a)) - a b: cross-entropy of sigmoid(logits a) against target b
 *
 * averaged over all elements, summed, or left as they are.  Shapes must be
 * equal: a loss that broadcasts hides mistakes.  Gradients are elementwise, and
 * the fuse pass makes one kernel of them.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

enum reduction { MEAN, SUM, NONE };
static const char *const reductions[] = { "mean", "sum", "none", NULL };

struct loss {
	int reduction;
};
struct huber {
	int reduction;		/* first, as in struct loss */
	double delta;
};

#define REDUCTION(type) VQ_ENUM(type, reduction, "mean", reductions, "how the elements become one number")

static const struct vq_param params[] = { REDUCTION(struct loss), VQ_PARAMS_END };
static const struct vq_param huber_params[] = {
	REDUCTION(struct huber),
	VQ_REAL(struct huber, delta, "1", 1e-12, 1e12, "difference from which on it grows linearly"),
	VQ_PARAMS_END
};

static int
reduction_of(const void *p)
{
	return ((const struct loss *)p)->reduction;
}

static int
infer(struct vq_infer *q)
{
	char a[VQ_TYPE_STR], b[VQ_TYPE_STR];

	for (int i = 0; i < 2; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (!vq_shape_equal(&q->in[0].shape, &q->in[1].shape))
		return vq_infer_error(q, VQ_NONE, "shapes differ: %s and %s",
		    vq_shape_str(&q->in[0].shape, a), vq_shape_str(&q->in[1].shape, b));
	if (vq_infer_same_dtype(q) < 0)
		return -1;
	if (reduction_of(q->params) == MEAN && vq_shape_count(&q->in[0].shape) == 0)
		return vq_infer_error(q, 0, "has nothing to take a mean of");
	if (reduction_of(q->params) != NONE)
		q->out[0].shape.rank = 0;
	return 0;
}

/* --- gradients ------------------------------------------------------------ */

/* What the derivative of each element is multiplied by, times s. */
static vq_id
weight(const struct vq_grad *d, double s)
{
	int64_t n = vq_shape_count(&vq_type_at(d->to, d->in[0])->shape);

	return vq_scale(d->to, d->dout[0], reduction_of(d->params) == MEAN ? s / (double)n : s);
}

/* da = slope * weight and db = -da, for losses of a - b. */
static void
grad_of_difference(struct vq_grad *d, vq_id slope, vq_id w)
{
	vq_id da = vq_mul(d->to, slope, w);

	if (d->want[0])
		d->din[0] = da;
	if (d->want[1])
		d->din[1] = vq_neg(d->to, da);
}

static void
grad_mse(struct vq_grad *d)
{
	grad_of_difference(d, vq_sub(d->to, d->in[0], d->in[1]), weight(d, 2));
}

static void
grad_l1(struct vq_grad *d)
{
	grad_of_difference(d, vq_unary(d->to, "sign", vq_sub(d->to, d->in[0], d->in[1])), weight(d, 1));
}

static void
grad_huber(struct vq_grad *d)
{
	double delta = ((const struct huber *)d->params)->delta;
	vq_id x = vq_sub(d->to, d->in[0], d->in[1]);

	grad_of_difference(d, VQ_EMIT1(d->to, "clamp", x, "low=%.17g high=%.17g", -delta, delta), weight(d, 1));
}

static void
grad_bce(struct vq_grad *d)
{
	vq_id w = weight(d, 1), p;

	if (d->want[0]) {
		p = vq_unary(d->to, "sigmoid", d->in[0]);
		d->din[0] = vq_mul(d->to, vq_sub(d->to, p, d->in[1]), w);
	}
	if (d->want[1])
		d->din[1] = vq_neg(d->to, vq_mul(d->to, d->in[0], w));
}

/* --- compositions --------------------------------------------------------- */

static vq_id
reduced(const struct vq_compose *c, vq_id each)
{
	unsigned all = (1u << vq_type_at(c->to, each)->shape.rank) - 1;

	if (reduction_of(c->params) == NONE)
		return each;
	return reduction_of(c->params) == MEAN ? vq_mean(c->to, each, all, false) : vq_sum(c->to, each, all, false);
}

static void
compose_mse(struct vq_compose *c)
{
	c->out[0] = reduced(c, vq_unary(c->to, "square", vq_sub(c->to, c->in[0], c->in[1])));
}

static void
compose_l1(struct vq_compose *c)
{
	c->out[0] = reduced(c, vq_unary(c->to, "abs", vq_sub(c->to, c->in[0], c->in[1])));
}

/* With m = min(|d|, delta) the loss is m (|d| - m / 2). */
static void
compose_huber(struct vq_compose *c)
{
	vq_id d = vq_unary(c->to, "abs", vq_sub(c->to, c->in[0], c->in[1]));
	vq_id m = VQ_EMIT1(c->to, "clamp", d, "high=%.17g", ((const struct huber *)c->params)->delta);

	c->out[0] = reduced(c, vq_mul(c->to, m, vq_sub(c->to, d, vq_scale(c->to, m, 0.5))));
}

static void
compose_bce(struct vq_compose *c)
{
	vq_id both = vq_mul(c->to, c->in[0], c->in[1]);

	c->out[0] = reduced(c, vq_sub(c->to, vq_unary(c->to, "softplus", c->in[0]), both));
}

/* --- reference ------------------------------------------------------------ */

static double value_mse(double a, double b, const void *p) { return (a - b) * (a - b); }
static double value_l1(double a, double b, const void *p) { return fabs(a - b); }

static double
value_huber(double a, double b, const void *p)
{
	double delta = ((const struct huber *)p)->delta, d = fabs(a - b);

	return d <= delta ? d * d / 2 : delta * (d - delta / 2);
}

static double
value_bce(double a, double b, const void *p)
{
	return fmax(a, 0) + log1p(exp(-fabs(a))) - a * b;
}

static void
ref(const struct vq_call *c, double (*value)(double, double, const void *))
{
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	int reduction = reduction_of(c->params);
	double sum = 0;

	for (int64_t i = 0; i < n; i++) {
		double x = value(vq_get(&c->in[0], i), vq_get(&c->in[1], i), c->params);
		if (reduction == NONE)
			vq_set(&c->out[0], i, x);
		else
			sum += x;
	}
	if (reduction != NONE)
		vq_set(&c->out[0], 0, reduction == MEAN ? sum / (double)n : sum);
}

static void ref_mse(const struct vq_call *c) { ref(c, value_mse); }
static void ref_l1(const struct vq_call *c) { ref(c, value_l1); }
static void ref_huber(const struct vq_call *c) { ref(c, value_huber); }
static void ref_bce(const struct vq_call *c) { ref(c, value_bce); }

/* --- fast ----------------------------------------------------------------- */

/* Tiles stay in the first-level cache; sums of chunks are added up in order. */
enum { TILE = 1024, CHUNK = 16 * TILE };

static void
apply(const struct vq_kernels *k, enum vq_ew op, float *y, const float *a, const float *b, int64_t n)
{
	k->ew[op](y, a, b, NULL, 0, 0, n);
}

/* The losses of n <= TILE elements; y is neither a nor b. */
typedef void tile_fn(const struct vq_call *c, float *y, const float *a, const float *b, int64_t n);

static void
tile_mse(const struct vq_call *c, float *y, const float *a, const float *b, int64_t n)
{
	apply(c->k, VQ_EW_SUB, y, a, b, n);
	apply(c->k, VQ_EW_SQUARE, y, y, NULL, n);
}

static void
tile_l1(const struct vq_call *c, float *y, const float *a, const float *b, int64_t n)
{
	apply(c->k, VQ_EW_SUB, y, a, b, n);
	apply(c->k, VQ_EW_ABS, y, y, NULL, n);
}

static void
tile_huber(const struct vq_call *c, float *y, const float *a, const float *b, int64_t n)
{
	float m[TILE], delta = (float)((const struct huber *)c->params)->delta;

	tile_l1(c, y, a, b, n);
	c->k->ew[VQ_EW_CLAMP](m, y, NULL, NULL, 0, delta, n);
	c->k->ew[VQ_EW_AXPY](y, m, y, NULL, -0.5f, 0, n);
	apply(c->k, VQ_EW_MUL, y, y, m, n);
}

static void
tile_bce(const struct vq_call *c, float *y, const float *a, const float *b, int64_t n)
{
	float ab[TILE];

	apply(c->k, VQ_EW_MUL, ab, a, b, n);
	apply(c->k, VQ_EW_SOFTPLUS, y, a, NULL, n);
	apply(c->k, VQ_EW_SUB, y, y, ab, n);
}

/* Elements [from, to): stored in out when it is not NULL, and their sum. */
static double
run_span(const struct vq_call *c, tile_fn *tile, float *out, int64_t from, int64_t to)
{
	const float *a = c->in[0].data, *b = c->in[1].data;
	float room[TILE];
	double sum = 0;

	for (int64_t i = from; i < to; i += TILE) {
		int64_t n = to - i < TILE ? to - i : TILE;
		float *y = out ? out + i : room;

		tile(c, y, a + i, b + i, n);
		if (out == NULL)
			sum += (double)c->k->sum(y, n);
	}
	return sum;
}

static int64_t
chunks_of(const struct vq_shape *s)
{
	return (vq_shape_count(s) + CHUNK - 1) / CHUNK;
}

static void
run(const struct vq_call *c, tile_fn *tile)
{
	int64_t n = vq_shape_count(&c->in[0].type->shape), chunks = chunks_of(&c->in[0].type->shape);
	int reduction = reduction_of(c->params);
	float *out = c->out[0].data;
	double *part = c->scratch, sum = 0;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < chunks; i++) {
		int64_t to = (i + 1) * CHUNK < n ? (i + 1) * CHUNK : n;
		part[i] = run_span(c, tile, reduction == NONE ? out : NULL, i * CHUNK, to);
	}
	if (reduction == NONE)
		return;
	for (int64_t i = 0; i < chunks; i++)
		sum += part[i];
	*out = (float)(reduction == MEAN ? sum / (double)n : sum);
}

static void run_mse(const struct vq_call *c) { run(c, tile_mse); }
static void run_l1(const struct vq_call *c) { run(c, tile_l1); }
static void run_huber(const struct vq_call *c) { run(c, tile_huber); }
static void run_bce(const struct vq_call *c) { run(c, tile_bce); }

static size_t
scratch(const struct vq_cost *c)
{
	return (size_t)chunks_of(&c->in[0].shape) * sizeof(double);
}

static double
flops(const struct vq_cost *c)
{
	return 3.0 * (double)vq_shape_count(&c->in[0].shape);
}

/* A logarithm and an exponential count as ten each. */
static double
flops_bce(const struct vq_cost *c)
{
	return 23.0 * (double)vq_shape_count(&c->in[0].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "a=f32[3,4] b=f32[3,4]" },
	{ "a=f32[3,4] b=f32[3,4]", "reduction=sum" },
	{ "a=f32[5] b=f32[5]", "reduction=none" },
	{ "a=f32 b=f32" },
	{ "a=f32[1,1025] b=f32[1,1025]", "reduction=none" },
	{ "a=f32[128,28,28,16] b=f32[128,28,28,16]", .doc = "timed" },
	{ "a=f32[3,4] b=f32[4]", .fails = "shapes differ: [3, 4] and [4]" },
	{ "a=f32[0] b=f32[0]", .fails = "has nothing to take a mean of" },
	{ "a=f32[3] b=i32[3](0,2)", .fails = "must be floating, is i32" },
	{ 0 }
};
static const struct vq_example huber_examples[] = {
	{ "a=f32[3,4] b=f32[3,4]", "delta=0.5" },
	{ "a=f32[3,4](-9,9) b=f32[3,4]", "reduction=sum" },
	{ "a=f32[5] b=f32[5]", "reduction=none delta=0.25" },
	{ "a=f32[100,1000](-3,3) b=f32[100,1000]" },
	{ 0 }
};
static const struct vq_example bce_examples[] = {
	{ "logits=f32[3,4] target=f32[3,4](0,1)" },
	{ "logits=f32[3,4](-50,50) target=f32[3,4](0,1)", "reduction=sum" },
	{ "logits=f32[5] target=f32[5](0,1)", "reduction=none" },
	{ "logits=f32[100,1000](-20,20) target=f32[100,1000](0,1)" },
	{ 0 }
};

extern const struct vq_op vq_ops_loss[];
const struct vq_op vq_ops_loss[] = {
	{
		.name = "mse",
		.doc = "squared difference of two tensors",
		.in = { "a", "b" }, .out = { "loss" },
		.params = params, .size = sizeof(struct loss),
		.infer = infer, .grad = grad_mse, .compose = compose_mse,
		.run = run_mse, .ref = ref_mse,
		.scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "mse_loss", "l2", "l2_loss", "squared_error", NULL },
		.examples = examples,
	}, {
		.name = "l1",
		.doc = "absolute difference of two tensors",
		.in = { "a", "b" }, .out = { "loss" },
		.params = params, .size = sizeof(struct loss),
		.infer = infer, .grad = grad_l1, .compose = compose_l1,
		.run = run_l1, .ref = ref_l1,
		.scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "mae", "l1_loss", "absolute_error", NULL },
		.examples = examples,
	}, {
		.name = "huber",
		.doc = "squared difference near zero, absolute difference farther out",
		.in = { "a", "b" }, .out = { "loss" },
		.params = huber_params, .size = sizeof(struct huber),
		.infer = infer, .grad = grad_huber, .compose = compose_huber,
		.run = run_huber, .ref = ref_huber,
		.scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "smooth_l1", "huber_loss", NULL },
		.examples = huber_examples,
	}, {
		.name = "bce_logits",
		.doc = "cross-entropy of the sigmoid of logits against targets from 0 to 1",
		.in = { "logits", "target" }, .out = { "loss" },
		.params = params, .size = sizeof(struct loss),
		.infer = infer, .grad = grad_bce, .compose = compose_bce,
		.run = run_bce, .ref = ref_bce,
		.scratch = scratch, .flops = flops_bce,
		.also = (const char *const[]){ "bce", "bce_with_logits", "binary_cross_entropy", NULL },
		.examples = bce_examples,
	},
	{ 0 }
};
