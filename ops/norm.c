/*
 * layer_norm, group_norm, batch_norm -- y = (x - mean) / sqrt(variance + eps)
 *
 *   layer_norm   over the last `axes` axes; mean and variance keep them with length 1
 *   group_norm   x [n, ..., c]: over the inner axes and the channels of a group;
 *                mean and variance [n, groups]
 *   batch_norm   x [..., c]: over all axes but the last; mean and variance [c]
 *
 * Variances are biased (divided by the count).  Scale, shift and running
 * statistics are steps of a block, not of the op.
 *
 * All three are one thing: x as [outer, inner, groups, width], with statistics
 * over inner and width.  The backward reads y; x itself is not kept for it.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/norms.h"

enum form { LAYER, GROUP, BATCH };
static const char *const forms[] = { "layer", "group", "batch", NULL };

struct layer {
	int64_t axes;
	double eps;
};
struct group {
	int64_t groups;
	double eps;
};
struct batch {
	double eps;
};
/* What norm_grad was made from. */
struct norm {
	int form;
	int64_t axes, groups;
	double eps;
};

#define EPS(type) VQ_REAL(type, eps, "1e-5", 0, 1e3, "added to the variance")
#define AXES(type, init) VQ_INT(type, axes, init, 1, VQ_MAX_RANK, "how many axes, from the last one")
#define GROUPS(type, init) VQ_INT(type, groups, init, 1, 1 << 20, "groups that the channels are divided into")

static const struct vq_param layer_params[] = { AXES(struct layer, "1"), EPS(struct layer), VQ_PARAMS_END };
static const struct vq_param group_params[] = { GROUPS(struct group, NULL), EPS(struct group), VQ_PARAMS_END };
static const struct vq_param batch_params[] = { EPS(struct batch), VQ_PARAMS_END };
static const struct vq_param grad_params[] = {
	VQ_ENUM(struct norm, form, "layer", forms, "which of the three"),
	AXES(struct norm, "1"),
	GROUPS(struct norm, "1"),
	EPS(struct norm),
	VQ_PARAMS_END
};

static struct norm
layer_of(const void *params)
{
	const struct layer *p = params;

	return (struct norm){ LAYER, p->axes, 1, p->eps };
}

static struct norm
group_of(const void *params)
{
	const struct group *p = params;

	return (struct norm){ GROUP, 1, p->groups, p->eps };
}

static struct norm
batch_of(const void *params)
{
	const struct batch *p = params;

	return (struct norm){ BATCH, 1, 1, p->eps };
}

/* --- types ---------------------------------------------------------------- */

static struct vq_norm_layout
layout_of(const struct norm *p, const struct vq_shape *s)
{
	int last = s->rank - 1, split = s->rank - (int)p->axes;

	switch (p->form) {
	case LAYER:
		return (struct vq_norm_layout){ vq_shape_span(s, 0, split), vq_shape_span(s, split, last), 1, s->dim[last] };
	case GROUP:
		return (struct vq_norm_layout){ s->dim[0], vq_shape_span(s, 1, last), p->groups, s->dim[last] / p->groups };
	default:
		return (struct vq_norm_layout){ 1, vq_shape_span(s, 0, last), s->dim[last], 1 };
	}
}

static int
check_x(struct vq_infer *q, const struct norm *p)
{
	const struct vq_shape *s = &q->in[0].shape;
	int least = p->form == LAYER ? (int)p->axes : p->form == GROUP ? 2 : 1;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (s->rank < least)
		return vq_infer_error(q, 0, "needs at least %d %s", least, least == 1 ? "axis" : "axes");
	if (p->form == GROUP && s->dim[s->rank - 1] % p->groups)
		return vq_infer_error(q, 0, "has %lld channels, which %lld groups do not divide",
		    (long long)s->dim[s->rank - 1], (long long)p->groups);
	struct vq_norm_layout l = layout_of(p, s);
	if (l.inner * l.width == 0)
		return vq_infer_error(q, 0, "has nothing to take a mean of");
	return 0;
}

static struct vq_shape
statistics_shape(const struct norm *p, const struct vq_shape *x)
{
	struct vq_shape s = *x;

	if (p->form == GROUP)
		return vq_shape_of(2, (const int64_t[]){ x->dim[0], p->groups });
	if (p->form == BATCH)
		return vq_shape_of(1, &x->dim[x->rank - 1]);
	for (int i = x->rank - (int)p->axes; i < x->rank; i++)
		s.dim[i] = 1;
	return s;
}

static int
infer(struct vq_infer *q, struct norm p)
{
	if (check_x(q, &p) < 0)
		return -1;
	for (int i = 1; i < 3; i++)
		q->out[i] = (struct vq_type){ q->in[0].dtype, statistics_shape(&p, &q->in[0].shape) };
	return 0;
}

static int infer_layer(struct vq_infer *q) { return infer(q, layer_of(q->params)); }
static int infer_group(struct vq_infer *q) { return infer(q, group_of(q->params)); }
static int infer_batch(struct vq_infer *q) { return infer(q, batch_of(q->params)); }

static int
infer_grad(struct vq_infer *q)
{
	const struct norm *p = q->params;

	if (check_x(q, p) < 0)
		return -1;
	struct vq_shape s = statistics_shape(p, &q->in[0].shape);
	if (!vq_shape_equal(&q->in[1].shape, &s))
		return vq_infer_error(q, 1, "must have one value per mean");
	if (!vq_shape_equal(&q->in[2].shape, &q->in[0].shape))
		return vq_infer_error(q, 2, "must have the shape of y");
	return vq_infer_same_dtype(q);
}

/* --- gradients ------------------------------------------------------------ */

/* A tensor of x's shape as [outer, inner, groups, width]. */
static vq_id
spread(struct vq_graph *t, const struct vq_norm_layout *l, vq_id x)
{
	return vq_reshape(t, x, &(struct vq_shape){ 4, { l->outer, l->inner, l->groups, l->width } });
}

/* Statistics as [outer, 1, groups, 1]. */
static vq_id
spread_statistics(struct vq_graph *t, const struct vq_norm_layout *l, vq_id s)
{
	return vq_reshape(t, s, &(struct vq_shape){ 4, { l->outer, 1, l->groups, 1 } });
}

enum { OVER = 1 << 1 | 1 << 3 };

/* d mean / dx = 1 / count;  d variance / dx = 2 (x - mean) / count, and x - mean
 * is y sqrt(variance + eps). */
static vq_id
grad_of_statistics(struct vq_grad *d, const struct norm *p, const struct vq_norm_layout *l, vq_id so_far)
{
	struct vq_graph *t = d->to;
	double count = (double)(l->inner * l->width);
	struct vq_shape x = vq_type_at(t, d->in[0])->shape;
	vq_id sum = VQ_NONE;

	if (d->dout[1] != VQ_NONE)
		sum = vq_broadcast_to(t, vq_scale(t, spread_statistics(t, l, d->dout[1]), 1 / count),
		    &(struct vq_shape){ 4, { l->outer, l->inner, l->groups, l->width } });
	if (d->dout[2] != VQ_NONE) {
		vq_id deviation = vq_unary(t, "sqrt", vq_offset(t, d->out + 2, p->eps));
		vq_id factor = vq_scale(t, vq_mul(t, d->dout[2], deviation), 2 / count);
		vq_id part = vq_mul(t, spread(t, l, d->out), spread_statistics(t, l, factor));
		sum = sum == VQ_NONE ? part : vq_add(t, sum, part);
	}
	if (sum == VQ_NONE)
		return so_far;
	sum = vq_reshape(t, sum, &x);
	return so_far == VQ_NONE ? sum : vq_add(t, so_far, sum);
}

static void
grad(struct vq_grad *d, struct norm p)
{
	struct vq_norm_layout l = layout_of(&p, &vq_type_at(d->to, d->in[0])->shape);
	vq_id dx = VQ_NONE;

	if (d->dout[0] != VQ_NONE)
		dx = VQ_EMIT3(d->to, "norm_grad", d->out, d->out + 2, d->dout[0],
		    "form=%s axes=%lld groups=%lld eps=%.17g", forms[p.form], (long long)p.axes,
		    (long long)p.groups, p.eps);
	d->din[0] = grad_of_statistics(d, &p, &l, dx);
}

static void grad_layer(struct vq_grad *d) { grad(d, layer_of(d->params)); }
static void grad_group(struct vq_grad *d) { grad(d, group_of(d->params)); }
static void grad_batch(struct vq_grad *d) { grad(d, batch_of(d->params)); }

static void
compose(struct vq_compose *c, struct norm p)
{
	struct vq_graph *t = c->to;
	struct vq_shape shape = vq_type_at(t, c->in[0])->shape;
	struct vq_shape per = statistics_shape(&p, &shape);
	struct vq_norm_layout l = layout_of(&p, &shape);
	vq_id x = spread(t, &l, c->in[0]);
	vq_id m = vq_mean(t, x, OVER, true), d = vq_sub(t, x, m);
	vq_id v = vq_mean(t, vq_unary(t, "square", d), OVER, true);
	vq_id y = vq_mul(t, d, vq_unary(t, "rsqrt", vq_offset(t, v, p.eps)));

	c->out[0] = vq_reshape(t, y, &shape);
	c->out[1] = vq_reshape(t, m, &per);
	c->out[2] = vq_reshape(t, v, &per);
}

static void compose_layer(struct vq_compose *c) { compose(c, layer_of(c->params)); }
static void compose_group(struct vq_compose *c) { compose(c, group_of(c->params)); }
static void compose_batch(struct vq_compose *c) { compose(c, batch_of(c->params)); }

/* dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps) */
static void
compose_grad(struct vq_compose *c)
{
	const struct norm *p = c->params;
	struct vq_graph *t = c->to;
	struct vq_shape shape = vq_type_at(t, c->in[0])->shape;
	struct vq_norm_layout l = layout_of(p, &shape);
	vq_id y = spread(t, &l, c->in[0]), g = spread(t, &l, c->in[2]);
	vq_id r = vq_unary(t, "rsqrt", vq_offset(t, spread_statistics(t, &l, c->in[1]), p->eps));
	vq_id along = vq_mul(t, y, vq_mean(t, vq_mul(t, g, y), OVER, true));
	vq_id centred = vq_sub(t, g, vq_mean(t, g, OVER, true));

	c->out[0] = vq_reshape(t, vq_mul(t, r, vq_sub(t, centred, along)), &shape);
}

/* --- reference ------------------------------------------------------------ */

/* Element k of the count that statistic s is taken of. */
static int64_t
member(const struct vq_norm_layout *l, int64_t s, int64_t k)
{
	return ((s / l->groups * l->inner + k / l->width) * l->groups + s % l->groups) * l->width + k % l->width;
}

static void
ref(const struct vq_call *c, struct norm p)
{
	const struct vq_view *x = &c->in[0], *y = &c->out[0];
	struct vq_norm_layout l = layout_of(&p, &x->type->shape);
	int64_t count = l.inner * l.width;

	for (int64_t s = 0; s < l.outer * l.groups; s++) {
		double m = 0, v = 0;
		for (int64_t k = 0; k < count; k++)
			m += vq_get(x, member(&l, s, k));
		m /= (double)count;
		for (int64_t k = 0; k < count; k++)
			v += pow(vq_get(x, member(&l, s, k)) - m, 2);
		v /= (double)count;
		for (int64_t k = 0; k < count; k++)
			vq_set(y, member(&l, s, k), (vq_get(x, member(&l, s, k)) - m) / sqrt(v + p.eps));
		vq_set(&c->out[1], s, m);
		vq_set(&c->out[2], s, v);
	}
}

static void ref_layer(const struct vq_call *c) { ref(c, layer_of(c->params)); }
static void ref_group(const struct vq_call *c) { ref(c, group_of(c->params)); }
static void ref_batch(const struct vq_call *c) { ref(c, batch_of(c->params)); }

static void
ref_grad(const struct vq_call *c)
{
	const struct norm *p = c->params;
	const struct vq_view *y = &c->in[0], *g = &c->in[2];
	struct vq_norm_layout l = layout_of(p, &y->type->shape);
	int64_t count = l.inner * l.width;

	for (int64_t s = 0; s < l.outer * l.groups; s++) {
		double mg = 0, mgy = 0, r = 1 / sqrt(vq_get(&c->in[1], s) + p->eps);
		for (int64_t k = 0; k < count; k++) {
			int64_t i = member(&l, s, k);
			mg += vq_get(g, i) / (double)count;
			mgy += vq_get(g, i) * vq_get(y, i) / (double)count;
		}
		for (int64_t k = 0; k < count; k++) {
			int64_t i = member(&l, s, k);
			vq_set(&c->out[0], i, r * (vq_get(g, i) - mg - vq_get(y, i) * mgy));
		}
	}
}

/* --- fast ----------------------------------------------------------------- */

static size_t
scratch_layer(const struct vq_cost *c)
{
	struct norm p = layer_of(c->params);
	struct vq_norm_layout l = layout_of(&p, &c->in[0].shape);

	return vq_norm_scratch(&l);
}

static size_t
scratch_group(const struct vq_cost *c)
{
	struct norm p = group_of(c->params);
	struct vq_norm_layout l = layout_of(&p, &c->in[0].shape);

	return vq_norm_scratch(&l);
}

static size_t
scratch_batch(const struct vq_cost *c)
{
	struct norm p = batch_of(c->params);
	struct vq_norm_layout l = layout_of(&p, &c->in[0].shape);

	return vq_norm_scratch(&l);
}

static size_t
scratch_grad(const struct vq_cost *c)
{
	struct vq_norm_layout l = layout_of(c->params, &c->in[0].shape);

	return vq_norm_scratch(&l);
}

static void
run(const struct vq_call *c, struct norm p)
{
	struct vq_norm_layout l = layout_of(&p, &c->in[0].type->shape);

	vq_norm(&(struct vq_norm_call){ &l, c->k, c->threads, p.eps, c->scratch,
	    .half_in = c->in[0].type->dtype == VQ_BF16, .half_out = c->out[0].type->dtype == VQ_BF16 }, c->in[0].data,
	    c->out[0].data, c->out[1].data, c->out[2].data);
}

static void run_layer(const struct vq_call *c) { run(c, layer_of(c->params)); }
static void run_group(const struct vq_call *c) { run(c, group_of(c->params)); }
static void run_batch(const struct vq_call *c) { run(c, batch_of(c->params)); }

static void
run_grad(const struct vq_call *c)
{
	const struct norm *p = c->params;
	struct vq_norm_layout l = layout_of(p, &c->in[0].type->shape);

	vq_norm_grad(&(struct vq_norm_call){ &l, c->k, c->threads, p->eps, c->scratch, c->in[0].type->dtype == VQ_BF16,
	    c->in[2].type->dtype == VQ_BF16, c->out[0].type->dtype == VQ_BF16 }, c->in[0].data,
	    c->in[1].data, c->in[2].data, c->out[0].data);
}

static enum vq_half
half(const struct vq_cost *c, struct norm p, bool image)
{
	struct vq_norm_layout l = layout_of(&p, &c->in[0].shape);

	return image && vq_norm_half(&l, false) ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

static enum vq_half half_group(const struct vq_cost *c, int port, bool out) { (void)out; return half(c, group_of(c->params), port == 0); }
static enum vq_half half_batch(const struct vq_cost *c, int port, bool out) { (void)out; return half(c, batch_of(c->params), port == 0); }

static enum vq_half
half_grad(const struct vq_cost *c, int port, bool out)
{
	return half(c, *(const struct norm *)c->params, out || port != 1);
}

static double
flops(const struct vq_cost *c)
{
	return 6.0 * (double)vq_shape_count(&c->in[0].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example layer_examples[] = {
	{ "x=f32[3,6]" },
	{ "x=f32[2,3,4]", "axes=2 eps=1e-3" },
	{ "x=f32[5,33](99,101)", .tolerance = 2e-4, .no_gradient = true, .doc = "far from zero" },
	{ "x=f32[6272,256]", .doc = "timed" },
	{ "x=f32[4,50,50,3]", "axes=3" },
	{ "x=f32[4]", "axes=2", .fails = "needs at least 2 axes" },
	{ "x=f32[4,0]", .fails = "has nothing to take a mean of" },
	{ 0 }
};
static const struct vq_example group_examples[] = {
	{ "x=f32[2,3,4]", "groups=2" },
	{ "x=f32[2,2,3,6]", "groups=3 eps=1e-3" },
	{ "x=f32[2,6]", "groups=1" },
	{ "x=f32[8,32,32,128]", "groups=32", .doc = "timed" },
	{ "x=f32[2,100,100,6](4,5)", "groups=2", .tolerance = 1e-4 },
	{ "x=f32[2,3,5]", "groups=2", .fails = "has 5 channels, which 2 groups do not divide" },
	{ "x=f32[6]", "groups=2", .fails = "needs at least 2 axes" },
	{ 0 }
};
static const struct vq_example batch_examples[] = {
	{ "x=f32[4,3]" },
	{ "x=f32[2,3,2,4]", "eps=1e-3" },
	{ "x=f32[1001,7](9,11)", .tolerance = 1e-4, .doc = "rows that do not fold evenly" },
	{ "x=f32[128,14,14,64]", .doc = "timed" },
	{ "x=f32[64,28,28,16]" },
	{ "x=f32[3,700]" },
	{ "x=f32", .fails = "needs at least 1 axis" },
	{ 0 }
};
static const struct vq_example grad_examples[] = {
	{ "y=f32[3,6] variance=f32[3,1](0.1,2) g=f32[3,6]" },
	{ "y=f32[2,3,4] variance=f32[2,2](0.1,2) g=f32[2,3,4]", "form=group groups=2" },
	{ "y=f32[4,3] variance=f32[3](0.1,2) g=f32[4,3]", "form=batch" },
	{ "y=f32[6272,256] variance=f32[6272,1](0.1,2) g=f32[6272,256]" },
	{ "y=f32[128,14,14,64] variance=f32[64](0.1,2) g=f32[128,14,14,64]", "form=batch" },
	{ "y=f32[8,32,32,128] variance=f32[8,32](0.1,2) g=f32[8,32,32,128]", "form=group groups=32" },
	{ "y=f32[4,3] variance=f32[4](0.1,2) g=f32[4,3]", "form=batch", .fails = "must have one value per mean" },
	{ 0 }
};

extern const struct vq_op vq_ops_norm[];
const struct vq_op vq_ops_norm[] = {
	{
		.name = "layer_norm",
		.doc = "normalises over the last axes, without scale and shift",
		.in = { "x" }, .out = { "y", "mean", "variance" },
		.params = layer_params, .size = sizeof(struct layer),
		.infer = infer_layer, .grad = grad_layer, .compose = compose_layer,
		.run = run_layer, .ref = ref_layer,
		.inplace = "0:0", .scratch = scratch_layer, .flops = flops, .again = 2,
		.also = (const char *const[]){ "layernorm", "LayerNorm", "ln", NULL },
		.examples = layer_examples,
	}, {
		.name = "group_norm",
		.doc = "normalises over space and the channels of a group, without scale and shift",
		.in = { "x" }, .out = { "y", "mean", "variance" },
		.params = group_params, .size = sizeof(struct group),
		.infer = infer_group, .grad = grad_group, .compose = compose_group,
		.run = run_group, .ref = ref_group,
		.inplace = "0:0", .scratch = scratch_group, .half = half_group, .flops = flops, .again = 2,
		.also = (const char *const[]){ "groupnorm", "GroupNorm", "gn", "instance_norm", NULL },
		.examples = group_examples,
	}, {
		.name = "batch_norm",
		.doc = "normalises each channel over all other axes, without scale and shift",
		.in = { "x" }, .out = { "y", "mean", "variance" },
		.params = batch_params, .size = sizeof(struct batch),
		.infer = infer_batch, .grad = grad_batch, .compose = compose_batch,
		.run = run_batch, .ref = ref_batch,
		.inplace = "0:0", .scratch = scratch_batch, .half = half_batch, .flops = flops, .again = 2,
		.also = (const char *const[]){ "batchnorm", "BatchNorm2d", "bn", NULL },
		.examples = batch_examples,
	}, {
		.name = "norm_grad",
		.doc = "gradient of the three norms, from their result y and variance",
		.in = { "y", "variance", "g" }, .out = { "dx" },
		.params = grad_params, .size = sizeof(struct norm), .flags = VQ_OP_INTERNAL,
		.infer = infer_grad, .compose = compose_grad,
		.run = run_grad, .ref = ref_grad,
		.inplace = "0:0 0:2", .scratch = scratch_grad, .half = half_grad, .flops = flops,
		.examples = grad_examples,
	},
	{ 0 }
};
