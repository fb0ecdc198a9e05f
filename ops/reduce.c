/*
 * reduce -- sums, means, variances and extremes over axes
 *
 * Axes that go are listed (none listed: all); they are dropped from the shape, or
 * kept with length one.  argmax and argmin go along one axis.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/reduce.h"

struct reduce {
	struct vq_ints axes;
	bool keep;
	bool unbiased;		/* variance alone */
};

#define AXES VQ_INTS(struct reduce, axes, "[]", -VQ_MAX_RANK, VQ_MAX_RANK - 1, 0, VQ_MAX_RANK, \
	"axes that go; negative counts from the end; none: all")
#define KEEP VQ_BOOLEAN(struct reduce, keep, "false", "keep those axes, with length 1")

static const struct vq_param params[] = { AXES, KEEP, VQ_PARAMS_END };
static const struct vq_param variance_params[] = {
	AXES, KEEP,
	VQ_BOOLEAN(struct reduce, unbiased, "false", "divide by one less than the number of elements"),
	VQ_PARAMS_END
};

/* --- types --------------------------------------------------------------- */

/* The axes as a set of bits. */
static unsigned
axes_of(const struct reduce *p, int rank)
{
	unsigned set = 0;

	for (int i = 0; i < p->axes.count; i++)
		set |= 1u << (p->axes.v[i] < 0 ? p->axes.v[i] + rank : p->axes.v[i]);
	return p->axes.count ? set : (1u << rank) - 1;
}

static struct vq_shape
shape_after(const struct vq_shape *x, unsigned axes, bool keep)
{
	struct vq_shape y = { 0 };

	for (int i = 0; i < x->rank; i++)
		if (!(axes >> i & 1))
			y.dim[y.rank++] = x->dim[i];
		else if (keep)
			y.dim[y.rank++] = 1;
	return y;
}

static int
infer(struct vq_infer *q)
{
	const struct reduce *p = q->params;
	unsigned set = 0;
	int axis;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "is %s, and a floating type is needed (cast converts)",
		    vq_dtype_name(q->in[0].dtype));
	for (int i = 0; i < p->axes.count; i++) {
		if (vq_infer_axis(q, 0, p->axes.v[i], &axis) < 0)
			return -1;
		if (set >> axis & 1)
			return vq_infer_error(q, VQ_NONE, "axis %d is listed twice", axis);
		set |= 1u << axis;
	}
	q->out[0].shape = shape_after(&q->in[0].shape, axes_of(p, q->in[0].shape.rank), p->keep);
	return 0;
}

static struct vq_axes
split(const struct reduce *p, const struct vq_shape *x)
{
	struct vq_axes a;

	vq_axes_split(&a, x, axes_of(p, x->rank));
	return a;
}

/* Extremes and moments of nothing do not exist. */
static int
infer_some(struct vq_infer *q)
{
	const struct reduce *p = q->params;

	if (infer(q) < 0)
		return -1;
	if (split(p, &q->in[0].shape).n == 0)
		return vq_infer_error(q, 0, "has no elements along these axes");
	return 0;
}

static int
infer_variance(struct vq_infer *q)
{
	const struct reduce *p = q->params;

	if (infer_some(q) < 0)
		return -1;
	if (p->unbiased && split(p, &q->in[0].shape).n < 2)
		return vq_infer_error(q, 0, "has one element along these axes, and the unbiased variance needs two");
	return 0;
}

/* --- kernels ------------------------------------------------------------- */

static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	struct vq_axes a = split(c->params, &c->in[0].shape);

	(void)port;
	return !out && vq_reduce_takes_half(&a) ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

/* y (kept or dropped, the elements are the same) = fold over the axes. */
static void
run_fold(const struct vq_call *c, enum vq_ew fold)
{
	struct vq_axes a = split(c->params, &c->in[0].type->shape);

	if (c->in[0].type->dtype == VQ_BF16)
		vq_reduce_half(c->k, fold, c->in[0].data, c->out[0].data, &a, c->scratch, c->threads);
	else
		vq_reduce(c->k, fold, c->in[0].data, c->out[0].data, &a, c->scratch, c->threads);
}

static void run_sum(const struct vq_call *c) { run_fold(c, VQ_EW_ADD); }
static void run_max(const struct vq_call *c) { run_fold(c, VQ_EW_MAX); }
static void run_min(const struct vq_call *c) { run_fold(c, VQ_EW_MIN); }

static void
run_mean(const struct vq_call *c)
{
	int64_t n = split(c->params, &c->in[0].type->shape).n;
	float *y = c->out[0].data;

	run_fold(c, VQ_EW_ADD);
	c->k->ew[VQ_EW_AFFINE](y, y, NULL, NULL, (float)(1 / (double)n), 0,
	    vq_shape_count(&c->out[0].type->shape));
}

static size_t
scratch(const struct vq_cost *c)
{
	struct vq_axes a = split(c->params, &c->in[0].shape);

	return vq_reduce_scratch(&a);
}

static double
divisor(const struct reduce *p, const struct vq_axes *a)
{
	return (double)(a->n - p->unbiased);
}

static void
run_variance(const struct vq_call *c)
{
	struct vq_axes a = split(c->params, &c->in[0].type->shape);

	vq_variance(c->k, c->in[0].data, c->out[0].data, divisor(c->params, &a), &a, c->scratch, c->threads);
}

static size_t
variance_scratch(const struct vq_cost *c)
{
	struct vq_axes a = split(c->params, &c->in[0].shape);

	return vq_variance_scratch(&a);
}

static double
flops(const struct vq_cost *c)
{
	return (double)vq_shape_count(&c->in[0].shape);
}

static double
variance_flops(const struct vq_cost *c)
{
	return 4 * flops(c);
}

/* --- reference ----------------------------------------------------------- */

/* Offset in x of position `index` among the axes of a set. */
static int64_t
offset(const struct vq_shape *x, unsigned set, int64_t index)
{
	int64_t at = 0, step = 1;

	for (int d = x->rank - 1; d >= 0; d--) {
		if (set >> d & 1) {
			at += index % x->dim[d] * step;
			index /= x->dim[d];
		}
		step *= x->dim[d];
	}
	return at;
}

enum what { SUM, MEAN, MAX, MIN, VARIANCE };

static double
ref_one(const struct vq_call *c, enum what what, int64_t result, int64_t n, double mean)
{
	const struct vq_shape *x = &c->in[0].type->shape;
	unsigned axes = axes_of(c->params, x->rank), others = ~axes;
	double acc = what == MAX ? -INFINITY : what == MIN ? INFINITY : 0;

	for (int64_t i = 0; i < n; i++) {
		double v = vq_get(&c->in[0], offset(x, others, result) + offset(x, axes, i));
		if (what == MAX || what == MIN)
			acc = vq_ew_eval(what == MAX ? VQ_EW_MAX : VQ_EW_MIN, acc, v, 0, 0, 0);
		else
			acc += what == VARIANCE ? (v - mean) * (v - mean) : v;
	}
	return acc;
}

static void
ref(const struct vq_call *c, enum what what)
{
	struct vq_axes a = split(c->params, &c->in[0].type->shape);
	int64_t results = vq_shape_count(&c->out[0].type->shape);

	for (int64_t r = 0; r < results; r++) {
		double n = (double)a.n, mean = what == VARIANCE ? ref_one(c, SUM, r, a.n, 0) / n : 0;
		double y = ref_one(c, what, r, a.n, mean);
		if (what == MEAN || what == VARIANCE)
			y /= what == MEAN ? n : divisor(c->params, &a);
		vq_set(&c->out[0], r, y);
	}
}

static void ref_sum(const struct vq_call *c) { ref(c, SUM); }
static void ref_mean(const struct vq_call *c) { ref(c, MEAN); }
static void ref_max(const struct vq_call *c) { ref(c, MAX); }
static void ref_min(const struct vq_call *c) { ref(c, MIN); }
static void ref_variance(const struct vq_call *c) { ref(c, VARIANCE); }

/* --- derivatives --------------------------------------------------------- */

/* A value of the result's shape with the axes that went put back. */
static vq_id
kept(struct vq_grad *d, vq_id v)
{
	const struct vq_shape *x = &d->to->value[d->in[0]].type.shape;
	struct vq_shape s = shape_after(x, axes_of(d->params, x->rank), true);

	return vq_reshape(d->to, v, &s);
}

static vq_id
spread(struct vq_grad *d, vq_id v)
{
	struct vq_shape x = d->to->value[d->in[0]].type.shape;

	return vq_broadcast_to(d->to, v, &x);
}

static double
elements(const struct vq_grad *d)
{
	return (double)split(d->params, &d->to->value[d->in[0]].type.shape).n;
}

static void
grad_sum(struct vq_grad *d)
{
	d->din[0] = spread(d, kept(d, d->dout[0]));
}

static void
grad_mean(struct vq_grad *d)
{
	d->din[0] = spread(d, vq_scale(d->to, kept(d, d->dout[0]), 1 / elements(d)));
}

/* Shared evenly by all elements that equal the extreme. */
static void
grad_extreme(struct vq_grad *d)
{
	struct vq_graph *g = d->to;
	enum vq_dtype dtype = g->value[d->in[0]].type.dtype;
	int rank = g->value[d->in[0]].type.shape.rank;
	vq_id hit = vq_cast(g, VQ_EMIT2(g, "equal", d->in[0], kept(d, d->out), " "), dtype);
	vq_id n = vq_sum(g, hit, axes_of(d->params, rank), true);

	d->din[0] = vq_mul(g, hit, vq_div(g, kept(d, d->dout[0]), n));
}

/* 2 (x - mean) / n */
static void
grad_variance(struct vq_grad *d)
{
	const struct reduce *p = d->params;
	struct vq_graph *g = d->to;
	int rank = g->value[d->in[0]].type.shape.rank;
	vq_id mean = vq_mean(g, d->in[0], axes_of(p, rank), true);
	vq_id share = vq_scale(g, kept(d, d->dout[0]), 2 / (elements(d) - p->unbiased));

	d->din[0] = vq_mul(g, vq_sub(g, d->in[0], mean), share);
}

/* --- the family ---------------------------------------------------------- */

#define BAD_AXES \
	{ "x=f32[2,3]", "axes=2", .fails = "has 2 axes, and no axis 2" }, \
	{ "x=f32[2,3]", "axes=[1,-1]", .fails = "axis 1 is listed twice" }, \
	{ "x=i32[2](0,9)", .fails = "is i32, and a floating type is needed (cast converts)" }

static const struct vq_example examples[] = {
	{ "x=f32[2,3,4]" },
	{ "x=f32[2,3,4]", "axes=-1" },
	{ "x=f32[2,3,4]", "axes=[0,1]" },
	{ "x=f32[2,3,4]", "axes=1 keep=true" },
	{ "x=f32[2,3,4]", "axes=[0,2]" },
	{ "x=f32[2,3,2,3,2]", "axes=[0,2,4] keep=true" },
	{ "x=f32[5]", "keep=true" },
	{ "x=f32" },
	{ "x=f32[3,700]", "axes=1" },
	{ "x=f32[9,37,3]", "axes=[0,1]" },
	{ "x=f32[700,33]", "axes=0" },
	{ "x=f32[3,50,1100]", "axes=1" },
	{ "x=f32[7,300,3,40]", "axes=[0,2]" },
	{ "x=f32[100003]" },
	{ "x=f32[32768,3]", "axes=0" },
	{ "x=f32[32768,128]", "axes=0" },
	{ "x=f32[32768,128]", "axes=1" },
	{ "x=f32[4194304]" },
	BAD_AXES,
	{ 0 }
};
static const struct vq_example some[] = {
	{ "x=f32[2,3,4]" },
	{ "x=f32[2,3,4]", "axes=-1" },
	{ "x=f32[2,3,4]", "axes=[0,1]" },
	{ "x=f32[2,3,4]", "axes=1 keep=true" },
	{ "x=f32[2,3,4]", "axes=[0,2]" },
	{ "x=f32[3,700]", "axes=1" },
	{ "x=f32[9,37,3]", "axes=[0,1]" },
	{ "x=f32[700,33]", "axes=0" },
	{ "x=f32[7,300,3,40]", "axes=[0,2]" },
	{ "x=f32[100003]" },
	{ "x=f32[32768,128]", "axes=0" },
	{ "x=f32[0,3]", "axes=0", .fails = "has no elements along these axes" },
	BAD_AXES,
	{ 0 }
};
static const struct vq_example spreads[] = {
	{ "x=f32[2,3,4]" },
	{ "x=f32[2,3,4]", "unbiased=true" },
	{ "x=f32[2,3,4]", "axes=-1 unbiased=true" },
	{ "x=f32[2,3,4]", "axes=[0,1] keep=true" },
	{ "x=f32[2,3,4]", "axes=[0,2]" },
	{ "x=f32[3,700]", "axes=1" },
	{ "x=f32[9,37,3]", "axes=[0,1]" },
	{ "x=f32[700,33]", "axes=0" },
	{ "x=f32[700,300](1000,1001)", "axes=0", .tolerance = 1e-4 },
	{ "x=f32[7,300,3,40]", "axes=[0,2]" },
	{ "x=f32[100003]" },
	{ "x=f32[32768,128]", "axes=0" },
	{ "x=f32[3,1]", "axes=1 unbiased=true",
	  .fails = "has one element along these axes, and the unbiased variance needs two" },
	BAD_AXES,
	{ 0 }
};

#define ALSO(...) .also = (const char *const[]){ __VA_ARGS__, NULL }
#define ROW(fn, fits, d_fn, ex, text, ...) { \
	.name = #fn, .doc = text, .in = { "x" }, .out = { "y" }, .size = sizeof(struct reduce), \
	.infer = fits, .grad = d_fn, .run = run_##fn, .ref = ref_##fn, .examples = ex, __VA_ARGS__ }
#define FOLD .params = params, .scratch = scratch, .half = half, .flops = flops

extern const struct vq_op vq_ops_reduce[];
const struct vq_op vq_ops_reduce[] = {
	ROW(sum, infer, grad_sum, examples, "sum over axes", FOLD, ALSO("reduce_sum", "total")),
	ROW(mean, infer_some, grad_mean, some, "mean over axes", FOLD, ALSO("reduce_mean", "average", "avg")),
	ROW(max, infer_some, grad_extreme, some,
	    "largest element over axes; equal ones share the gradient (maximum compares two tensors)",
	    FOLD, ALSO("reduce_max", "amax")),
	ROW(min, infer_some, grad_extreme, some,
	    "smallest element over axes; equal ones share the gradient (minimum compares two tensors)",
	    FOLD, ALSO("reduce_min", "amin")),
	ROW(variance, infer_variance, grad_variance, spreads, "variance over axes",
	    .params = variance_params, .scratch = variance_scratch, .flops = variance_flops,
	    ALSO("var", "reduce_variance")),
	{ 0 }
};
