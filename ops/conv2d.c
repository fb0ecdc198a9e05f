/*
 * conv2d -- two-dimensional convolution and its two adjoints
 *
 *   conv2d         x [n, h, w, ci]    w [kh, kw, ci / groups, co]   y [n, oh, ow, co]
 *   conv2d_input   g [n, oh, ow, co]  w                             x [n, h, w, ci]
 *   conv2d_weight  x                  g                             w
 *
 * with oh = floor((h + top + bottom - dilation (kh - 1) - 1) / stride) + 1.  As
 * everywhere in this field the window is not flipped.  conv2d_input is also known as
 * the transposed convolution.  The three are one form, linear in each of x, w and y,
 * so each is the gradient of the others.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/conv.h"

struct conv {
	struct vq_ints stride, pad, dilation;
	int64_t groups;
	int64_t height, width;		/* conv2d_input */
	int64_t kh, kw;			/* conv2d_weight */
	int precision;
	bool gradient;
};

enum { STRIDE_MAX = 64, PAD_MAX = 4096, DILATION_MAX = 1024 };

#define GEOMETRY \
	VQ_INTS(struct conv, stride, "1", 1, STRIDE_MAX, 1, 2, "step of the window: both axes, or vertical, horizontal"), \
	VQ_INTS(struct conv, pad, "0", 0, PAD_MAX, 1, 4, \
	    "zeros around x: all sides, or vertical, horizontal, or top, bottom, left, right"), \
	VQ_INTS(struct conv, dilation, "1", 1, DILATION_MAX, 1, 2, \
	    "step inside the window: both axes, or vertical, horizontal"), \
	VQ_INT(struct conv, groups, "1", 1, 1 << 20, "channels are cut into so many groups that do not mix"), \
	VQ_PRECISION(struct conv), \
	VQ_BOOLEAN(struct conv, gradient, "false", "it computes a gradient: in bf16 sums of operands may be rounded, too")

static const struct vq_param params[] = { GEOMETRY, VQ_PARAMS_END };
static const struct vq_param input_params[] = {
	GEOMETRY,
	VQ_INT(struct conv, height, "0", 0, 1 << 24, "height of the result; 0: the smallest that fits"),
	VQ_INT(struct conv, width, "0", 0, 1 << 24, "width of the result; 0: the smallest that fits"),
	VQ_PARAMS_END
};
static const struct vq_param weight_params[] = {
	GEOMETRY,
	VQ_INT(struct conv, kh, NULL, 1, 1 << 20, "height of the window"),
	VQ_INT(struct conv, kw, NULL, 1, 1 << 20, "width of the window"),
	VQ_PARAMS_END
};

/* --- geometry ------------------------------------------------------------ */

static int64_t
pair(const struct vq_ints *p, int axis)
{
	return p->v[p->count > 1 ? axis : 0];
}

/* Zeros before (side 0) and after (1) the vertical (axis 0) or horizontal axis. */
static int64_t
pad_of(const struct vq_ints *p, int axis, int side)
{
	return p->count == 4 ? p->v[2 * axis + side] : pair(p, axis);
}

/* Positions of x that one position of y sees, end to end. */
static int64_t
span(const struct conv *p, int axis, int64_t taps)
{
	return (taps - 1) * pair(&p->dilation, axis) + 1;
}

/* Positions of y, or one less than 1 when the window does not fit. */
static int64_t
positions(const struct conv *p, int axis, int64_t in, int64_t taps)
{
	int64_t room = in + pad_of(&p->pad, axis, 0) + pad_of(&p->pad, axis, 1) - span(p, axis, taps);

	return room < 0 ? 0 : room / pair(&p->stride, axis) + 1;
}

static struct vq_conv_axis
axis_of(const struct conv *p, int axis, int64_t in, int64_t out, int64_t taps)
{
	return (struct vq_conv_axis){ .in = in, .out = out, .taps = taps, .stride = pair(&p->stride, axis),
	    .dilation = pair(&p->dilation, axis), .before = pad_of(&p->pad, axis, 0) };
}

static struct vq_conv
geometry(const struct conv *p, const struct vq_type *x_type, const struct vq_type *w_type, const struct vq_type *y_type)
{
	const struct vq_shape *x = &x_type->shape, *w = &w_type->shape, *y = &y_type->shape;

	return (struct vq_conv){ .n = x->dim[0], .ci = x->dim[3], .co = y->dim[3], .groups = p->groups,
	    .bf16 = p->precision == VQ_PRECISION_BF16, .gradient = p->gradient,
	    .half_x = x_type->dtype == VQ_BF16, .half_y = y_type->dtype == VQ_BF16,
	    .y = axis_of(p, 0, x->dim[1], y->dim[1], w->dim[0]),
	    .x = axis_of(p, 1, x->dim[2], y->dim[2], w->dim[1]) };
}

/* --- types --------------------------------------------------------------- */

static int
check_common(struct vq_infer *q, int image, int other)
{
	const struct conv *p = q->params;

	for (int port = 0; port < 2; port++) {
		const struct vq_shape *s = &q->in[port].shape;
		if (!vq_is_float(q->in[port].dtype))
			return vq_infer_error(q, port, "is %s, and a floating type is needed (cast converts)",
			    vq_dtype_name(q->in[port].dtype));
		if (s->rank != 4)
			return vq_infer_error(q, port, "needs four axes, has %d", s->rank);
		for (int i = port == image || port == other ? 1 : 0; i < 4; i++)
			if (s->dim[i] < 1)
				return vq_infer_error(q, port, "has an axis without elements");
	}
	if (p->pad.count == 3)
		return vq_infer_error(q, VQ_NONE, "pad takes 1, 2 or 4 numbers, not 3");
	return vq_infer_same_dtype(q);
}

static int
check_groups(struct vq_infer *q, int port, int64_t channels)
{
	const struct conv *p = q->params;

	if (channels % p->groups != 0)
		return vq_infer_error(q, port, "%lld channels cannot be cut into %lld groups",
		    (long long)channels, (long long)p->groups);
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct conv *p = q->params;
	const struct vq_shape *x = &q->in[0].shape, *w = &q->in[1].shape;
	struct vq_shape *y = &q->out[0].shape;

	if (check_common(q, 0, 0) < 0 || check_groups(q, 0, x->dim[3]) < 0 || check_groups(q, 1, w->dim[3]) < 0)
		return -1;
	if (w->dim[2] != x->dim[3] / p->groups)
		return vq_infer_error(q, 1, "takes %lld channels, and x has %lld%s", (long long)w->dim[2],
		    (long long)(x->dim[3] / p->groups), p->groups > 1 ? " in a group" : "");
	*y = vq_shape_of(4, (int64_t[]){ x->dim[0], positions(p, 0, x->dim[1], w->dim[0]),
	    positions(p, 1, x->dim[2], w->dim[1]), w->dim[3] });
	if (y->dim[1] < 1 || y->dim[2] < 1)
		return vq_infer_error(q, 1, "is larger than the padded image");
	return 0;
}

/* The extent of x on one axis; -1 when y has not so many positions for it. */
static int64_t
input_extent(const struct conv *p, int axis, int64_t given, int64_t out, int64_t taps)
{
	int64_t least = (out - 1) * pair(&p->stride, axis) + span(p, axis, taps) -
	    pad_of(&p->pad, axis, 0) - pad_of(&p->pad, axis, 1);

	if (given == 0)
		given = least < 1 ? 1 : least;
	return positions(p, axis, given, taps) == out ? given : -1;
}

static int
infer_input(struct vq_infer *q)
{
	const struct conv *p = q->params;
	const struct vq_shape *g = &q->in[0].shape, *w = &q->in[1].shape;

	if (check_common(q, 0, 0) < 0 || check_groups(q, 0, g->dim[3]) < 0)
		return -1;
	if (w->dim[3] != g->dim[3])
		return vq_infer_error(q, 1, "makes %lld channels, and g has %lld", (long long)w->dim[3],
		    (long long)g->dim[3]);
	int64_t extent[2] = { p->height, p->width };
	for (int i = 0; i < 2; i++) {
		int64_t e = input_extent(p, i, extent[i], g->dim[1 + i], w->dim[i]);
		if (e < 0)
			return vq_infer_error(q, 0, "%s %lld does not come from one of %lld", i ? "width" : "height",
			    (long long)g->dim[1 + i], (long long)extent[i]);
		extent[i] = e;
	}
	q->out[0].shape = vq_shape_of(4, (int64_t[]){ g->dim[0], extent[0], extent[1], w->dim[2] * p->groups });
	return 0;
}

static int
infer_weight(struct vq_infer *q)
{
	const struct conv *p = q->params;
	const struct vq_shape *x = &q->in[0].shape, *g = &q->in[1].shape;

	if (check_common(q, 0, 1) < 0 || check_groups(q, 0, x->dim[3]) < 0 || check_groups(q, 1, g->dim[3]) < 0)
		return -1;
	if (x->dim[0] != g->dim[0])
		return vq_infer_error(q, 1, "has %lld images, and x has %lld", (long long)g->dim[0], (long long)x->dim[0]);
	for (int i = 0; i < 2; i++)
		if (positions(p, i, x->dim[1 + i], i ? p->kw : p->kh) != g->dim[1 + i])
			return vq_infer_error(q, 1, "%s %lld does not come from one of %lld", i ? "width" : "height",
			    (long long)g->dim[1 + i], (long long)x->dim[1 + i]);
	q->out[0].shape = vq_shape_of(4, (int64_t[]){ p->kh, p->kw, x->dim[3] / p->groups, g->dim[3] });
	return 0;
}

/* --- gradients ----------------------------------------------------------- */

static vq_id
emit(struct vq_graph *g, const char *op, vq_id a, vq_id b, const struct conv *p, const char *rest)
{
	return VQ_EMIT2(g, op, a, b, "stride=[%lld,%lld] pad=[%lld,%lld,%lld,%lld] dilation=[%lld,%lld] groups=%lld precision=%s%s",
	    (long long)pair(&p->stride, 0), (long long)pair(&p->stride, 1),
	    (long long)pad_of(&p->pad, 0, 0), (long long)pad_of(&p->pad, 0, 1),
	    (long long)pad_of(&p->pad, 1, 0), (long long)pad_of(&p->pad, 1, 1),
	    (long long)pair(&p->dilation, 0), (long long)pair(&p->dilation, 1), (long long)p->groups,
	    vq_precision_names[p->precision], rest);
}

/* x from y and w; `like` has the size of x. */
static vq_id
emit_input(struct vq_graph *g, vq_id y, vq_id w, vq_id like, const struct conv *p)
{
	const struct vq_shape *s = &vq_type_at(g, like)->shape;
	char rest[80];

	snprintf(rest, sizeof(rest), " height=%lld width=%lld", (long long)s->dim[1], (long long)s->dim[2]);
	return emit(g, "conv2d_input", y, w, p, rest);
}

/* w from x and y; `like` has the size of w. */
static vq_id
emit_weight(struct vq_graph *g, vq_id x, vq_id y, vq_id like, const struct conv *p)
{
	const struct vq_shape *s = &vq_type_at(g, like)->shape;
	char rest[80];

	snprintf(rest, sizeof(rest), " kh=%lld kw=%lld", (long long)s->dim[0], (long long)s->dim[1]);
	return emit(g, "conv2d_weight", x, y, p, rest);
}

static void
grad(struct vq_grad *d)
{
	if (d->want[0])
		d->din[0] = emit_input(d->to, d->dout[0], d->in[1], d->in[0], d->params);
	if (d->want[1])
		d->din[1] = emit_weight(d->to, d->in[0], d->dout[0], d->in[1], d->params);
}

static void
grad_input(struct vq_grad *d)
{
	if (d->want[0])
		d->din[0] = emit(d->to, "conv2d", d->dout[0], d->in[1], d->params, "");
	if (d->want[1])
		d->din[1] = emit_weight(d->to, d->dout[0], d->in[0], d->in[1], d->params);
}

static void
grad_weight(struct vq_grad *d)
{
	if (d->want[0])
		d->din[0] = emit_input(d->to, d->in[1], d->dout[0], d->in[0], d->params);
	if (d->want[1])
		d->din[1] = emit(d->to, "conv2d", d->in[0], d->dout[0], d->params, "");
}

/* --- kernels ------------------------------------------------------------- */

static void
run(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->in[0].type, c->in[1].type, c->out[0].type);

	vq_conv_forward(c, &v);
}

static void
run_input(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->out[0].type, c->in[1].type, c->in[0].type);

	vq_conv_input(c, &v);
}

static void
run_weight(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->in[0].type, c->out[0].type, c->in[1].type);

	vq_conv_weight(c, &v);
}

static size_t
scratch(const struct vq_cost *c)
{
	struct vq_conv v = geometry(c->params, &c->in[0], &c->in[1], &c->out[0]);

	return vq_conv_forward_scratch(&v, c->threads);
}

static size_t
scratch_input(const struct vq_cost *c)
{
	struct vq_conv v = geometry(c->params, &c->out[0], &c->in[1], &c->in[0]);

	return vq_conv_input_scratch(&v, c->threads);
}

static size_t
scratch_weight(const struct vq_cost *c)
{
	struct vq_conv v = geometry(c->params, &c->in[0], &c->out[0], &c->in[1]);

	return vq_conv_weight_scratch(&v, c->threads);
}

/* Images are rounded in any case; weights are kept as they are trained. */
static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	struct vq_conv v = geometry(c->params, &c->in[0], &c->in[1], &c->out[0]);

	return (out ? vq_conv_makes_half(&v, false) : v.bf16 && port == 0) ? VQ_HALF_ROUNDED : VQ_HALF_NOT;
}

static enum vq_half
half_input(const struct vq_cost *c, int port, bool out)
{
	struct vq_conv v = geometry(c->params, &c->out[0], &c->in[1], &c->in[0]);

	return (out ? vq_conv_makes_half(&v, true) : v.bf16 && port == 0) ? VQ_HALF_ROUNDED : VQ_HALF_NOT;
}

static enum vq_half
half_weight(const struct vq_cost *c, int port, bool out)
{
	const struct conv *p = c->params;

	(void)port;
	return !out && p->precision == VQ_PRECISION_BF16 ? VQ_HALF_ROUNDED : VQ_HALF_NOT;
}

static bool
inside(const struct vq_conv_axis *a, int64_t out, int64_t tap, int64_t *in)
{
	*in = out * a->stride + tap * a->dilation - a->before;
	return *in >= 0 && *in < a->in;
}

/* The form itself over image n: the product of the two that are given, summed up
 * where the third (NULL) has its place; in acc, from this image's first one on. */
static void
ref_terms(const struct vq_conv *v, int64_t n, const struct vq_view *x, const struct vq_view *w,
    const struct vq_view *y, double *acc)
{
	int64_t gi = v->ci / v->groups, go = v->co / v->groups, iy, ix;
	int64_t each_x = v->y.in * v->x.in * v->ci, each_y = v->y.out * v->x.out * v->co;

	for (int64_t at = 0; at < each_y; at++) {
		int64_t o = at % v->co, ox = at / v->co % v->x.out, oy = at / v->co / v->x.out;
		for (int64_t k = 0; k < v->y.taps * v->x.taps * gi; k++) {
			int64_t i = k % gi, tx = k / gi % v->x.taps, ty = k / gi / v->x.taps;
			if (!inside(&v->y, oy, ty, &iy) || !inside(&v->x, ox, tx, &ix))
				continue;
			int64_t xi = (iy * v->x.in + ix) * v->ci + o / go * gi + i, wi = k * v->co + o;
			if (y == NULL)
				acc[at] += vq_get_operand(x, n * each_x + xi, v->bf16) * vq_get_operand(w, wi, v->bf16);
			else if (x == NULL)
				acc[xi] += vq_get_operand(w, wi, v->bf16) * vq_get_operand(y, n * each_y + at, v->bf16);
			else
				acc[wi] += vq_get_operand(x, n * each_x + xi, v->bf16) * vq_get_operand(y, n * each_y + at, v->bf16);
		}
	}
}

/* Image by image: `each` elements of the result belong to one; 0: all to all. */
static void
ref_form(const struct vq_conv *v, const struct vq_view *x, const struct vq_view *w, const struct vq_view *y,
    const struct vq_view *out, int64_t each)
{
	int64_t count = each ? each : vq_shape_count(&out->type->shape);
	double *acc = vq_alloc_array((size_t)count + 1, sizeof(*acc));

	for (int64_t n = 0; n < v->n; n++) {
		ref_terms(v, n, x, w, y, acc);
		for (int64_t i = 0; each && i < each; i++) {
			vq_set(out, n * each + i, acc[i]);
			acc[i] = 0;
		}
	}
	for (int64_t i = 0; !each && i < count; i++)
		vq_set(out, i, acc[i]);
	free(acc);
}

static void
ref(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->in[0].type, c->in[1].type, c->out[0].type);

	ref_form(&v, &c->in[0], &c->in[1], NULL, &c->out[0], v.y.out * v.x.out * v.co);
}

static void
ref_input(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->out[0].type, c->in[1].type, c->in[0].type);

	ref_form(&v, NULL, &c->in[1], &c->in[0], &c->out[0], v.y.in * v.x.in * v.ci);
}

static void
ref_weight(const struct vq_call *c)
{
	struct vq_conv v = geometry(c->params, c->in[0].type, c->out[0].type, c->in[1].type);

	ref_form(&v, &c->in[0], NULL, &c->in[1], &c->out[0], 0);
}

/* Two for each element of y, tap and input channel; those on padding are counted. */
static double
flops_of(const struct vq_shape *y, const struct vq_shape *w)
{
	return 2.0 * (double)vq_shape_count(y) * (double)vq_shape_span(w, 0, 3);
}

static double flops(const struct vq_cost *c) { return flops_of(&c->out[0].shape, &c->in[1].shape); }
static double flops_input(const struct vq_cost *c) { return flops_of(&c->in[0].shape, &c->in[1].shape); }
static double flops_weight(const struct vq_cost *c) { return flops_of(&c->in[1].shape, &c->out[0].shape); }

/* --- the ops ------------------------------------------------------------- */

static const char *const also[] = { "conv", "convolution", "Conv2d", "conv_2d", NULL };
static const char *const also_input[] = { "conv2d_transpose", "conv_transpose2d", "deconv", "deconvolution", NULL };
static const char *const also_weight[] = { "conv2d_filter", NULL };

static const struct vq_example examples[] = {
	{ "x=f32[1,3,3,1] w=f32[3,3,1,1]" },
	{ "x=f32[2,5,4,3] w=f32[3,3,3,5]", "pad=1" },
	{ "x=f32[1,7,6,2] w=f32[4,4,2,3]", "stride=2 pad=1" },
	{ "x=f32[1,8,7,1] w=f32[3,2,1,2]", "stride=[3,2] pad=[0,1,2,0]", .doc = "each side padded by itself" },
	{ "x=f32[1,7,7,2] w=f32[3,3,2,2]", "dilation=2 pad=[2,1]" },
	{ "x=f32[1,9,9,1] w=f32[3,2,1,1]", "dilation=[2,3] stride=2" },
	{ "x=f32[1,4,5,4] w=f32[3,3,2,6]", "groups=2 pad=1" },
	{ "x=f32[1,4,4,6] w=f32[3,3,1,6]", "groups=6 pad=1", .doc = "each channel by itself" },
	{ "x=f32[2,3,3,5] w=f32[1,1,5,4]", .doc = "a linear layer" },
	{ "x=f32[1,5,5,3] w=f32[1,1,3,2]", "stride=2" },
	{ "x=f32[1,2,2,1] w=f32[5,5,1,1]", "pad=2", .doc = "a window larger than the image" },
	{ "x=f32[0,4,4,1] w=f32[3,3,1,2]" },
	{ "x=f32[3,9,11,17] w=f32[3,3,17,33]", "pad=1" },
	{ "x=f32[2,6,150,3] w=f32[3,5,3,7]", "pad=[1,2]", .doc = "lines longer than a block" },
	{ "x=f32[5,7,7,24] w=f32[3,3,24,3]", "pad=1", .doc = "few channels out" },
	{ "x=f32[2,7,5,37] w=f32[3,3,37,41]", "pad=1", .doc = "as Winograd does it: pictures of odd sizes" },
	{ "x=f32[2,9,12,25] w=f32[4,4,25,37]", "stride=2 pad=1", .doc = "as Winograd does it: channels of four phases" },
	{ "x=f32[1,7,8,24] w=f32[4,4,24,24]", "stride=2 pad=[0,2,3,1]" },
	{ "x=f32[2,15,16,25] w=f32[4,4,25,34]", "stride=2 pad=1", .doc = "the same, 4 x 4 results at a time" },
	{ "x=f32[3,3,4,18] w=f32[3,3,18,17]", "pad=1" },
	{ "x=f32[1,6,5,33] w=f32[2,2,33,24]", "pad=1" },
	{ "x=f32[2,9,10,24] w=f32[6,6,24,26]", "stride=2 pad=[2,3,2,1]" },
	{ "x=f32[1,6,9,24] w=f32[3,3,24,70]", "pad=[0,2,3,0]" },
	{ "x=f32[1,4,4,130] w=f32[3,3,130,24]" },
	{ "x=f32[3,17,22,32] w=f32[3,3,32,33]", "pad=1", .doc = "several blocks of tiles" },
	{ "x=f32[128,28,28,1] w=f32[4,4,1,64]", "stride=2 pad=1" },
	{ "x=f32[128,14,14,64] w=f32[4,4,64,128]", "stride=2 pad=1" },
	{ "x=f32[128,7,7,128] w=f32[3,3,128,32]", "pad=1" },
	{ "x=f32[128,7,7,32] w=f32[1,1,32,128]" },
	{ "x=f32[128,7,7,128] w=f32[1,1,128,64]" },
	{ "x=f32[128,7,7,64] w=f32[3,3,64,128]", "pad=1" },
	{ "x=f32[32,16,16,256] w=f32[3,3,256,256]", "pad=1" },
	{ "x=f32[16,32,32,128] w=f32[3,3,128,3]", "pad=1" },
	{ "x=f32[32,16,16,64] w=f32[3,3,1,64]", "pad=1 groups=64" },
	{ "x=f32[2,5,4,3] w=f32[3,3,3,5]", "precision=bf16 pad=1", .no_gradient = true, .doc = "operands rounded to bf16" },
	{ "x=f32[1,7,6,2] w=f32[4,4,2,3]", "precision=bf16 stride=2 pad=1", .no_gradient = true },
	{ "x=f32[1,9,9,1] w=f32[3,2,1,1]", "precision=bf16 dilation=[2,3] stride=2", .no_gradient = true },
	{ "x=f32[1,4,5,6] w=f32[3,3,3,6]", "precision=bf16 groups=2 pad=1", .no_gradient = true },
	{ "x=f32[2,3,3,5] w=f32[1,1,5,4]", "precision=bf16", .no_gradient = true },
	{ "x=f32[0,4,4,1] w=f32[3,3,1,2]", "precision=bf16" },
	{ "x=f32[3,9,11,17] w=f32[3,3,17,33]", "precision=bf16 pad=1" },
	{ "x=f32[2,6,150,3] w=f32[3,5,3,7]", "precision=bf16 pad=[1,2]" },
	{ "x=f32[5,7,7,25] w=f32[3,3,25,3]", "precision=bf16 pad=1" },
	{ "x=f32[128,28,28,1] w=f32[4,4,1,64]", "precision=bf16 stride=2 pad=1" },
	{ "x=f32[128,7,7,128] w=f32[3,3,128,32]", "precision=bf16 pad=1" },
	{ "x=f32[128,7,7,128] w=f32[3,3,128,32]", "precision=bf16 gradient=true pad=1", .tolerance = 1e-2, .doc = "Winograd rounds other numbers" },
	{ "x=f32[2,9,12,26] w=f32[4,4,26,70]", "precision=bf16 gradient=true stride=2 pad=1", .tolerance = 1e-2 },
	{ "x=f32[3,7,5,34] w=f32[3,3,34,24]", "precision=bf16 gradient=true pad=[0,2,1,0]", .tolerance = 1e-2 },
	{ "x=f32[1,4,4,3] w=f32[3,3,4,5]", .fails = "takes 4 channels, and x has 3" },
	{ "x=f32[1,4,4,3] w=f32[3,3,3,4]", "groups=2", .fails = "3 channels cannot be cut into 2 groups" },
	{ "x=f32[1,4,4,3] w=f32[5,3,3,4]", .fails = "is larger than the padded image" },
	{ "x=f32[4,4,3] w=f32[3,3,3,4]", .fails = "needs four axes, has 3" },
	{ 0 }
};

static const struct vq_example examples_input[] = {
	{ "g=f32[1,2,3,2] w=f32[4,4,3,2]", "stride=2 pad=1", .doc = "doubles both sizes" },
	{ "g=f32[1,3,3,2] w=f32[4,4,1,2]", "stride=2 pad=1 height=7 width=6" },
	{ "g=f32[2,5,4,2] w=f32[3,3,5,2]", "pad=1" },
	{ "g=f32[1,3,4,2] w=f32[3,2,1,2]", "stride=[3,2] pad=[0,1,2,0] height=8 width=7" },
	{ "g=f32[1,5,3,2] w=f32[3,3,2,2]", "dilation=2 pad=[2,1] height=5" },
	{ "g=f32[1,3,3,1] w=f32[3,2,1,1]", "dilation=[2,3] stride=2 height=9 width=9" },
	{ "g=f32[1,3,3,1] w=f32[2,2,1,1]", "dilation=2 stride=2", .doc = "some places get nothing" },
	{ "g=f32[1,4,5,6] w=f32[3,3,2,6]", "groups=2 pad=1" },
	{ "g=f32[1,3,3,3] w=f32[1,1,5,3]", "stride=2" },
	{ "g=f32[0,4,4,2] w=f32[3,3,1,2]" },
	{ "g=f32[3,9,11,33] w=f32[3,3,17,33]", "pad=1" },
	{ "g=f32[2,3,80,20] w=f32[4,4,9,20]", "stride=2 pad=1", .doc = "lines longer than a block" },
	{ "g=f32[5,7,7,24] w=f32[4,4,1,24]", "stride=2 pad=1", .doc = "few channels out" },
	{ "g=f32[2,7,5,37] w=f32[3,3,41,37]", "pad=1", .doc = "as Winograd does it: pictures of odd sizes" },
	{ "g=f32[2,4,6,37] w=f32[4,4,25,37]", "stride=2 pad=1 height=9", .doc = "as Winograd does it: results of four phases" },
	{ "g=f32[1,3,5,24] w=f32[4,4,24,24]", "stride=2 pad=[0,2,3,1] height=7" },
	{ "g=f32[2,7,8,26] w=f32[4,4,34,26]", "stride=2 pad=1 height=15", .doc = "the same, 4 x 4 results at a time" },
	{ "g=f32[3,3,4,17] w=f32[3,3,18,17]", "pad=1" },
	{ "g=f32[1,7,6,33] w=f32[2,2,24,33]", "pad=1" },
	{ "g=f32[2,5,4,26] w=f32[6,6,24,26]", "stride=2 pad=[2,3,2,1] height=9 width=10" },
	{ "g=f32[1,6,10,24] w=f32[3,3,70,24]", "pad=[0,2,3,0]" },
	{ "g=f32[1,4,4,130] w=f32[3,3,24,130]" },
	{ "g=f32[3,17,22,32] w=f32[3,3,33,32]", "pad=1", .doc = "several blocks of tiles" },
	{ "g=f32[2,5,7,5] w=f32[5,3,3,5]", "stride=[2,3] pad=[1,2]" },
	{ "g=f32[128,14,14,64] w=f32[4,4,1,64]", "stride=2 pad=1" },
	{ "g=f32[128,7,7,128] w=f32[4,4,64,128]", "stride=2 pad=1" },
	{ "g=f32[128,7,7,32] w=f32[3,3,128,32]", "pad=1" },
	{ "g=f32[128,7,7,128] w=f32[1,1,32,128]" },
	{ "g=f32[128,7,7,128] w=f32[3,3,64,128]", "pad=1" },
	{ "g=f32[32,16,16,256] w=f32[3,3,256,256]", "pad=1" },
	{ "g=f32[1,2,3,3] w=f32[4,4,3,3]", "precision=bf16 stride=2 pad=1", .no_gradient = true },
	{ "g=f32[2,5,4,2] w=f32[3,3,5,2]", "precision=bf16 pad=1", .no_gradient = true },
	{ "g=f32[1,4,5,6] w=f32[3,3,2,6]", "precision=bf16 groups=2 pad=1", .no_gradient = true },
	{ "g=f32[1,3,3,1] w=f32[2,2,1,1]", "precision=bf16 dilation=2 stride=2", .no_gradient = true },
	{ "g=f32[0,4,4,2] w=f32[3,3,1,2]", "precision=bf16" },
	{ "g=f32[3,9,11,33] w=f32[3,3,17,33]", "precision=bf16 pad=1" },
	{ "g=f32[2,3,80,20] w=f32[4,4,9,20]", "precision=bf16 stride=2 pad=1" },
	{ "g=f32[5,7,7,25] w=f32[4,4,1,25]", "precision=bf16 stride=2 pad=1" },
	{ "g=f32[128,14,14,64] w=f32[4,4,1,64]", "precision=bf16 stride=2 pad=1" },
	{ "g=f32[128,7,7,128] w=f32[3,3,64,128]", "precision=bf16 pad=1" },
	{ "g=f32[128,7,7,128] w=f32[3,3,64,128]", "precision=bf16 gradient=true pad=1", .tolerance = 1e-2, .doc = "Winograd rounds other numbers" },
	{ "g=f32[2,4,6,38] w=f32[4,4,70,38]", "precision=bf16 gradient=true stride=2 pad=1 height=9", .tolerance = 1e-2 },
	{ "g=f32[3,6,4,34] w=f32[3,3,24,34]", "precision=bf16 gradient=true pad=[0,2,1,0]", .tolerance = 1e-2 },
	{ "g=f32[1,4,4,2] w=f32[3,3,1,2]", "stride=2 height=5", .fails = "height 4 does not come from one of 5" },
	{ "g=f32[1,4,4,2] w=f32[3,3,1,3]", .fails = "makes 3 channels, and g has 2" },
	{ 0 }
};

static const struct vq_example examples_weight[] = {
	{ "x=f32[1,3,3,1] g=f32[1,1,1,1]", "kh=3 kw=3" },
	{ "x=f32[2,5,4,3] g=f32[2,5,4,5]", "pad=1 kh=3 kw=3" },
	{ "x=f32[1,7,6,2] g=f32[1,3,3,3]", "stride=2 pad=1 kh=4 kw=4" },
	{ "x=f32[1,8,7,1] g=f32[1,3,4,2]", "stride=[3,2] pad=[0,1,2,0] kh=3 kw=2" },
	{ "x=f32[1,7,7,2] g=f32[1,7,5,2]", "dilation=2 pad=[2,1] kh=3 kw=3" },
	{ "x=f32[1,4,5,4] g=f32[1,4,5,6]", "groups=2 pad=1 kh=3 kw=3" },
	{ "x=f32[2,3,3,5] g=f32[2,3,3,4]", "kh=1 kw=1" },
	{ "x=f32[0,4,4,1] g=f32[0,2,2,2]", "kh=3 kw=3", .doc = "no images: zero" },
	{ "x=f32[3,9,11,17] g=f32[3,9,11,33]", "pad=1 kh=3 kw=3" },
	{ "x=f32[2,6,150,3] g=f32[2,6,150,7]", "pad=[1,2] kh=3 kw=5", .doc = "lines longer than a block" },
	{ "x=f32[2,6,300,18] g=f32[2,6,300,7]", "pad=[1,0] kh=3 kw=1" },
	{ "x=f32[5,7,7,24] g=f32[5,7,7,3]", "pad=1 kh=3 kw=3", .doc = "few channels out" },
	{ "x=f32[2,6,150,9] g=f32[2,4,146,2]", "kh=3 kw=3 dilation=[1,2]" },
	{ "x=f32[40,7,7,6] g=f32[40,7,7,3]", "pad=1 kh=3 kw=3", .doc = "deep: summed in parts" },
	{ "x=f32[2,7,5,37] g=f32[2,7,5,41]", "pad=1 kh=3 kw=3", .doc = "as Winograd does it: pictures of odd sizes" },
	{ "x=f32[2,9,12,33] g=f32[2,4,6,37]", "stride=2 pad=1 kh=4 kw=4", .doc = "as Winograd does it: channels of four phases" },
	{ "x=f32[1,7,8,32] g=f32[1,3,5,32]", "stride=2 pad=[0,2,3,1] kh=4 kw=4" },
	{ "x=f32[2,15,16,33] g=f32[2,7,8,34]", "stride=2 pad=1 kh=4 kw=4", .doc = "the same, 4 x 4 results at a time" },
	{ "x=f32[3,3,4,18] g=f32[3,3,4,17]", "pad=1 kh=3 kw=3" },
	{ "x=f32[1,6,5,33] g=f32[1,7,6,34]", "pad=1 kh=2 kw=2" },
	{ "x=f32[2,9,10,32] g=f32[2,5,4,33]", "stride=2 pad=[2,3,2,1] kh=6 kw=6" },
	{ "x=f32[1,6,9,33] g=f32[1,6,10,70]", "pad=[0,2,3,0] kh=3 kw=3" },
	{ "x=f32[1,4,4,200] g=f32[1,2,2,32]", "kh=3 kw=3" },
	{ "x=f32[5,17,16,32] g=f32[5,17,16,33]", "pad=1 kh=3 kw=3", .doc = "more tiles than at a time" },
	{ "x=f32[128,28,28,1] g=f32[128,14,14,64]", "stride=2 pad=1 kh=4 kw=4" },
	{ "x=f32[128,14,14,64] g=f32[128,7,7,128]", "stride=2 pad=1 kh=4 kw=4" },
	{ "x=f32[128,7,7,128] g=f32[128,7,7,32]", "pad=1 kh=3 kw=3" },
	{ "x=f32[128,7,7,32] g=f32[128,7,7,128]", "kh=1 kw=1" },
	{ "x=f32[128,7,7,64] g=f32[128,7,7,128]", "pad=1 kh=3 kw=3" },
	{ "x=f32[32,16,16,256] g=f32[32,16,16,256]", "pad=1 kh=3 kw=3" },
	{ "x=f32[16,32,32,128] g=f32[16,32,32,3]", "pad=1 kh=3 kw=3" },
	{ "x=f32[3,5,4,3] g=f32[3,5,4,5]", "precision=bf16 pad=1 kh=3 kw=3", .no_gradient = true, .doc = "an image without another half a batch away" },
	{ "x=f32[1,7,6,2] g=f32[1,3,3,3]", "precision=bf16 stride=2 pad=1 kh=4 kw=4", .no_gradient = true },
	{ "x=f32[2,4,5,4] g=f32[2,4,5,6]", "precision=bf16 groups=2 pad=1 kh=3 kw=3", .no_gradient = true },
	{ "x=f32[2,3,3,5] g=f32[2,3,3,4]", "precision=bf16 kh=1 kw=1", .no_gradient = true },
	{ "x=f32[0,4,4,1] g=f32[0,2,2,2]", "precision=bf16 kh=3 kw=3" },
	{ "x=f32[3,9,11,17] g=f32[3,9,11,33]", "precision=bf16 pad=1 kh=3 kw=3" },
	{ "x=f32[3,6,150,3] g=f32[3,6,150,7]", "precision=bf16 pad=[1,2] kh=3 kw=5" },
	{ "x=f32[3,6,300,18] g=f32[3,6,300,7]", "precision=bf16 pad=[1,0] kh=3 kw=1" },
	{ "x=f32[5,7,7,24] g=f32[5,7,7,3]", "precision=bf16 pad=1 kh=3 kw=3" },
	{ "x=f32[3,6,150,9] g=f32[3,4,146,2]", "precision=bf16 kh=3 kw=3 dilation=[1,2]" },
	{ "x=f32[41,7,7,6] g=f32[41,7,7,3]", "precision=bf16 pad=1 kh=3 kw=3" },
	{ "x=f32[128,28,28,1] g=f32[128,14,14,64]", "precision=bf16 stride=2 pad=1 kh=4 kw=4" },
	{ "x=f32[128,7,7,128] g=f32[128,7,7,32]", "precision=bf16 gradient=true pad=1 kh=3 kw=3", .tolerance = 1e-2, .doc = "Winograd rounds other numbers" },
	{ "x=f32[2,9,12,34] g=f32[2,4,6,38]", "precision=bf16 gradient=true stride=2 pad=1 kh=4 kw=4", .tolerance = 1e-2 },
	{ "x=f32[3,7,5,32] g=f32[3,7,4,70]", "precision=bf16 gradient=true pad=[0,2,1,0] kh=3 kw=3", .tolerance = 1e-2 },
	{ "x=f32[16,32,32,128] g=f32[16,32,32,3]", "precision=bf16 pad=1 kh=3 kw=3" },
	{ "x=f32[1,4,4,2] g=f32[1,4,4,2]", "kh=3 kw=3", .fails = "height 4 does not come from one of 4" },
	{ "x=f32[1,4,4,2] g=f32[2,2,2,2]", "kh=3 kw=3", .fails = "has 2 images, and x has 1" },
	{ 0 }
};

extern const struct vq_op vq_ops_conv2d[];
const struct vq_op vq_ops_conv2d[] = {
	{
		.name = "conv2d", .doc = "convolution of images, [n, h, w, channels]",
		.in = { "x", "w" }, .out = { "y" }, .params = params, .size = sizeof(struct conv),
		.flags = VQ_OP_EPILOGUE, .infer = infer, .grad = grad, .run = run, .ref = ref, .scratch = scratch,
		.half = half, .flops = flops, .also = also, .examples = examples,
	}, {
		.name = "conv2d_input", .doc = "transposed convolution: the adjoint of conv2d in its image",
		.in = { "g", "w" }, .out = { "x" }, .params = input_params, .size = sizeof(struct conv),
		.flags = VQ_OP_EPILOGUE, .infer = infer_input, .grad = grad_input, .run = run_input, .ref = ref_input,
		.scratch = scratch_input, .half = half_input, .flops = flops_input, .also = also_input, .examples = examples_input,
	}, {
		.name = "conv2d_weight", .doc = "the adjoint of conv2d in its weights",
		.in = { "x", "g" }, .out = { "w" }, .params = weight_params, .size = sizeof(struct conv),
		.infer = infer_weight, .grad = grad_weight, .run = run_weight, .ref = ref_weight,
		.scratch = scratch_weight, .half = half_weight, .flops = flops_weight, .also = also_weight, .examples = examples_weight,
	},
	{ 0 }
};
