/*
 * batch_norm_affine -- a batch norm with its scale and shift (Ioffe and Szegedy 2015)
 *
 *   x [..., c]   scale, shift [c]
 *   normal [..., c] = (x - mean) / sqrt(variance + eps)
 *   y [..., c] = scale normal + shift
 *   mean, variance [c]: over all axes but the last; the variance is biased
 *
 * Forward it is its three steps, of which the last two join what follows them.  The
 * backward is one: the sums that dx needs of g and of g normal are the gradients of
 * shift and scale.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/norms.h"

struct norm {
	double eps;
};

static const struct vq_param params[] = {
	VQ_REAL(struct norm, eps, "1e-5", 0, 1e3, "added to the variance"),
	VQ_PARAMS_END
};

enum { X, SCALE, SHIFT };
enum { Y, NORMAL, MEAN, VARIANCE };
enum { OF_NORMAL, OF_VARIANCE, OF_SCALE, OF_G };		/* inputs of the gradient */
enum { DX, DSCALE, DSHIFT };

/* --- types ---------------------------------------------------------------- */

/* The first input is floating, of the others' type, with something to take a mean of. */
static int
check(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape;

	for (int i = 0; i < q->nin; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs at least 1 axis");
	if (vq_shape_span(x, 0, x->rank - 1) == 0)
		return vq_infer_error(q, 0, "has nothing to take a mean of");
	return vq_infer_same_dtype(q);
}

static int
check_channels(struct vq_infer *q, int port)
{
	const struct vq_shape *x = &q->in[0].shape, *s = &q->in[port].shape;

	if (s->rank == 1 && s->dim[0] == x->dim[x->rank - 1])
		return 0;
	return vq_infer_error(q, port, "must have one value for each of the %lld channels",
	    (long long)x->dim[x->rank - 1]);
}

static int
infer(struct vq_infer *q)
{
	if (check(q) < 0 || check_channels(q, SCALE) < 0 || check_channels(q, SHIFT) < 0)
		return -1;
	q->out[NORMAL] = q->in[X];
	q->out[MEAN] = q->out[VARIANCE] = q->in[SCALE];
	return 0;
}

static int
infer_grad(struct vq_infer *q)
{
	if (check(q) < 0 || check_channels(q, OF_VARIANCE) < 0 || check_channels(q, OF_SCALE) < 0)
		return -1;
	if (!vq_shape_equal(&q->in[OF_G].shape, &q->in[OF_NORMAL].shape))
		return vq_infer_error(q, OF_G, "must have the shape of normal");
	q->out[DSCALE] = q->out[DSHIFT] = q->in[OF_SCALE];
	return 0;
}

/* --- gradients ------------------------------------------------------------ */

static double
eps_of(const void *norm)
{
	return ((const struct norm *)norm)->eps;
}

static double
count_of(const struct vq_graph *t, vq_id x)
{
	const struct vq_shape *s = &vq_type_at(t, x)->shape;

	return (double)vq_shape_span(s, 0, s->rank - 1);
}

static void
add_part(struct vq_grad *d, vq_id part)
{
	d->din[X] = d->din[X] == VQ_NONE ? part : vq_add(d->to, d->din[X], part);
}

/* What comes back through the other outputs: d mean / dx = 1 / count, and
 * d variance / dx = 2 (x - mean) / count, where x - mean is normal sqrt(variance + eps). */
static void
grad_of_others(struct vq_grad *d)
{
	struct vq_graph *t = d->to;
	struct vq_shape shape = vq_type_at(t, d->in[X])->shape;
	double n = count_of(t, d->in[X]), eps = eps_of(d->params);

	if (d->dout[NORMAL] != VQ_NONE)
		add_part(d, VQ_EMIT3(t, "norm_grad", d->out + NORMAL, d->out + VARIANCE, d->dout[NORMAL], "form=batch eps=%.17g", eps));
	if (d->dout[MEAN] != VQ_NONE)
		add_part(d, vq_broadcast_to(t, vq_scale(t, d->dout[MEAN], 1 / n), &shape));
	if (d->dout[VARIANCE] != VQ_NONE) {
		vq_id deviation = vq_unary(t, "sqrt", vq_offset(t, d->out + VARIANCE, eps));
		add_part(d, vq_mul(t, d->out + NORMAL, vq_scale(t, vq_mul(t, d->dout[VARIANCE], deviation), 2 / n)));
	}
}

static void
grad(struct vq_grad *d)
{
	if (d->dout[Y] != VQ_NONE) {
		vq_id first = vq_emit(d->to, "batch_norm_affine_grad",
		    (const vq_id[]){ d->out + NORMAL, d->out + VARIANCE, d->in[SCALE], d->dout[Y] }, 4, "eps=%.17g",
		    eps_of(d->params));
		for (int i = X; i <= SHIFT; i++)
			d->din[i] = first + i;
	}
	if (d->want[X])
		grad_of_others(d);
}

static void
compose(struct vq_compose *c)
{
	struct vq_graph *t = c->to;
	vq_id normal = VQ_EMIT1(t, "batch_norm", c->in[X], "eps=%.17g", eps_of(c->params));

	c->out[Y] = vq_add(t, vq_mul(t, normal, c->in[SCALE]), c->in[SHIFT]);
	for (int i = NORMAL; i <= VARIANCE; i++)
		c->out[i] = normal + i - NORMAL;
}

/* dx = scale (g - mean(g) - normal mean(g normal)) / sqrt(variance + eps) */
static void
compose_grad(struct vq_compose *c)
{
	struct vq_graph *t = c->to;
	struct vq_shape channel = vq_type_at(t, c->in[OF_SCALE])->shape;
	double n = count_of(t, c->in[OF_G]);
	vq_id g = c->in[OF_G], y = c->in[OF_NORMAL];
	vq_id dshift = vq_sum_to(t, g, &channel), dscale = vq_sum_to(t, vq_mul(t, g, y), &channel);
	vq_id r = vq_mul(t, c->in[OF_SCALE], vq_unary(t, "rsqrt", vq_offset(t, c->in[OF_VARIANCE], eps_of(c->params))));
	vq_id along = vq_mul(t, y, vq_scale(t, dscale, 1 / n));

	c->out[DX] = vq_mul(t, vq_sub(t, vq_sub(t, g, vq_scale(t, dshift, 1 / n)), along), r);
	c->out[DSCALE] = dscale;
	c->out[DSHIFT] = dshift;
}

/* --- kernels -------------------------------------------------------------- */

static struct vq_norm_layout
layout_of(const struct vq_shape *s)
{
	return (struct vq_norm_layout){ 1, vq_shape_span(s, 0, s->rank - 1), s->dim[s->rank - 1], 1 };
}

static void
run_grad(const struct vq_call *c)
{
	struct vq_norm_layout l = layout_of(&c->in[OF_NORMAL].type->shape);
	struct vq_norm_affine a = { c->in[OF_SCALE].data, c->out[DSCALE].data, c->out[DSHIFT].data };

	vq_norm_affine_grad(&(struct vq_norm_call){ &l, c->k, c->threads, eps_of(c->params), c->scratch,
	    c->in[OF_NORMAL].type->dtype == VQ_BF16, c->in[OF_G].type->dtype == VQ_BF16, c->out[DX].type->dtype == VQ_BF16 },
	    c->in[OF_NORMAL].data, c->in[OF_VARIANCE].data, &a, c->in[OF_G].data, c->out[DX].data);
}

static size_t
scratch_grad(const struct vq_cost *c)
{
	struct vq_norm_layout l = layout_of(&c->in[OF_NORMAL].shape);

	return vq_norm_affine_scratch(&l);
}

static enum vq_half
half_grad(const struct vq_cost *c, int port, bool out)
{
	struct vq_norm_layout l = layout_of(&c->in[OF_NORMAL].shape);
	bool image = out ? port == DX : port == OF_NORMAL || port == OF_G;

	return image && vq_norm_half(&l, true) ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

static double
flops_grad(const struct vq_cost *c)
{
	return 8.0 * (double)vq_shape_count(&c->in[OF_G].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "x=f32[4,3] scale=f32[3] shift=f32[3]" },
	{ "x=f32[2,3,2,4] scale=f32[4] shift=f32[4]", "eps=1e-3" },
	{ "x=f32[5,1] scale=f32[1] shift=f32[1]" },
	{ "x=f32[3,6] scale=f32[6] shift=f32[5]", .fails = "must have one value for each of the 6 channels" },
	{ "x=f32[0,6] scale=f32[6] shift=f32[6]", .fails = "has nothing to take a mean of" },
	{ "x=f32 scale=f32[6] shift=f32[6]", .fails = "needs at least 1 axis" },
	{ "x=i32[6,6](0,3) scale=f32[6] shift=f32[6]", .fails = "must be floating, is i32" },
	{ 0 }
};
static const struct vq_example grad_examples[] = {
	{ "normal=f32[4,3] variance=f32[3](0.1,2) scale=f32[3] g=f32[4,3]" },
	{ "normal=f32[2,3,2,4] variance=f32[4](0.1,2) scale=f32[4] g=f32[2,3,2,4]", "eps=1e-2" },
	{ "normal=f32[7,1] variance=f32[1](0.1,2) scale=f32[1] g=f32[7,1]" },
	{ "normal=f32[1001,7] variance=f32[7](0.1,2) scale=f32[7] g=f32[1001,7]", .doc = "rows that do not fold evenly" },
	{ "normal=f32[128,14,14,64] variance=f32[64](0.1,2) scale=f32[64] g=f32[128,14,14,64]", .doc = "timed" },
	{ "normal=f32[4,3] variance=f32[4](0.1,2) scale=f32[3] g=f32[4,3]", .fails = "must have one value for each of the 3 channels" },
	{ "normal=f32[4,3] variance=f32[3](0.1,2) scale=f32[3] g=f32[3]", .fails = "must have the shape of normal" },
	{ 0 }
};

extern const struct vq_op vq_ops_batch_norm_affine[];
const struct vq_op vq_ops_batch_norm_affine[] = {
	{
		.name = "batch_norm_affine",
		.doc = "normalises each channel over all other axes, then scales and shifts",
		.in = { "x", "scale", "shift" }, .out = { "y", "normal", "mean", "variance" },
		.params = params, .size = sizeof(struct norm),
		.infer = infer, .grad = grad, .compose = compose,
		.examples = examples,
	}, {
		.name = "batch_norm_affine_grad",
		.doc = "gradient of batch_norm_affine by x, scale and shift, from its normal and variance",
		.in = { "normal", "variance", "scale", "g" }, .out = { "dx", "dscale", "dshift" },
		.params = params, .size = sizeof(struct norm), .flags = VQ_OP_INTERNAL,
		.infer = infer_grad, .compose = compose_grad, .run = run_grad,
		.inplace = "0:0 0:3", .scratch = scratch_grad, .half = half_grad, .flops = flops_grad,
		.examples = grad_examples,
	},
	{ 0 }
};
