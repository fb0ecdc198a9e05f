/*
 * pool2d -- maxima and means of windows of an image, [n, h, w, channels]
 *
 *   max_pool2d        x                 the largest of each window (padding is not there)
 *   max_pool2d_pick   x, v (as x)       v where x is the largest
 *   max_pool2d_input  x, g (as y)       the adjoint of that: g put where x is the largest
 *   avg_pool2d        x                 the mean of each window (padding is zeros)
 *   avg_pool2d_input  g                 its adjoint
 *
 * Of equal ones the first counts, by lines.  Picking and putting are linear in v and
 * g and each other's gradient; where the largest stands does not change with x.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct pool {
	struct vq_ints kernel, stride, pad;
	int64_t height, width;		/* avg_pool2d_input */
};

#define GEOMETRY \
	VQ_INTS(struct pool, kernel, "2", 1, 1024, 1, 2, "size of the window: both axes, or vertical, horizontal"), \
	VQ_INTS(struct pool, stride, "[]", 1, 1024, 0, 2, "step of the window; none: its size"), \
	VQ_INTS(struct pool, pad, "0", 0, 1023, 1, 4, \
	    "border: all sides, or vertical, horizontal, or top, bottom, left, right")

static const struct vq_param params[] = { GEOMETRY, VQ_PARAMS_END };
static const struct vq_param input_params[] = {
	GEOMETRY,
	VQ_INT(struct pool, height, "0", 0, 1 << 24, "height of the result; 0: the smallest that fits"),
	VQ_INT(struct pool, width, "0", 0, 1 << 24, "width of the result; 0: the smallest that fits"),
	VQ_PARAMS_END
};

/* --- geometry ------------------------------------------------------------ */

static int64_t
kernel_of(const struct pool *p, int axis)
{
	return p->kernel.v[p->kernel.count > 1 ? axis : 0];
}

static int64_t
stride_of(const struct pool *p, int axis)
{
	return p->stride.count == 0 ? kernel_of(p, axis) : p->stride.v[p->stride.count > 1 ? axis : 0];
}

static int64_t
pad_of(const struct pool *p, int axis, int side)
{
	if (p->pad.count == 4)
		return p->pad.v[2 * axis + side];
	return p->pad.v[p->pad.count > 1 ? axis : 0];
}

static int64_t
positions(const struct pool *p, int axis, int64_t in)
{
	int64_t room = in + pad_of(p, axis, 0) + pad_of(p, axis, 1) - kernel_of(p, axis);

	return room < 0 ? 0 : room / stride_of(p, axis) + 1;
}

/* The part of a window that lies inside the image. */
struct window {
	int64_t from[2], to[2];
};

static struct window
window_at(const struct pool *p, const struct vq_shape *x, int64_t oy, int64_t ox)
{
	struct window w;

	for (int i = 0; i < 2; i++) {
		int64_t start = (i ? ox : oy) * stride_of(p, i) - pad_of(p, i, 0), end = start + kernel_of(p, i);
		w.from[i] = start < 0 ? 0 : start;
		w.to[i] = end > x->dim[1 + i] ? x->dim[1 + i] : end;
	}
	return w;
}

/* --- types --------------------------------------------------------------- */

static int
check_image(struct vq_infer *q, int port)
{
	const struct pool *p = q->params;
	const struct vq_shape *s = &q->in[port].shape;

	if (!vq_is_float(q->in[port].dtype))
		return vq_infer_error(q, port, "is %s, and a floating type is needed (cast converts)",
		    vq_dtype_name(q->in[port].dtype));
	if (s->rank != 4)
		return vq_infer_error(q, port, "needs four axes, has %d", s->rank);
	if (s->dim[1] < 1 || s->dim[2] < 1)
		return vq_infer_error(q, port, "has no pixels");
	if (vq_shape_span(s, 1, 4) > INT32_MAX)		/* places in an image are 32-bit */
		return vq_infer_error(q, port, "has images of more than %d elements", INT32_MAX);
	if (p->pad.count == 3)
		return vq_infer_error(q, VQ_NONE, "pad takes 1, 2 or 4 numbers, not 3");
	for (int i = 0; i < 4; i++)
		if (pad_of(p, i / 2, i % 2) >= kernel_of(p, i / 2))
			return vq_infer_error(q, VQ_NONE, "pad has to be smaller than the window");
	return 0;
}

static int
pooled(struct vq_infer *q, struct vq_shape *y)
{
	const struct pool *p = q->params;

	*y = q->in[0].shape;
	for (int i = 0; i < 2; i++) {
		y->dim[1 + i] = positions(p, i, q->in[0].shape.dim[1 + i]);
		if (y->dim[1 + i] < 1)
			return vq_infer_error(q, 0, "is smaller than the window");
	}
	return 0;
}

static int
infer(struct vq_infer *q)
{
	return check_image(q, 0) < 0 ? -1 : pooled(q, &q->out[0].shape);
}

static int
infer_pick(struct vq_infer *q)
{
	if (check_image(q, 0) < 0 || vq_infer_same_dtype(q) < 0)
		return -1;
	if (!vq_type_equal(&q->in[0], &q->in[1]))
		return vq_infer_error(q, 1, "differs from x in type");
	return pooled(q, &q->out[0].shape);
}

static int
infer_max_input(struct vq_infer *q)
{
	struct vq_shape y;

	if (check_image(q, 0) < 0 || vq_infer_same_dtype(q) < 0 || pooled(q, &y) < 0)
		return -1;
	if (q->in[1].dtype != q->in[0].dtype || !vq_shape_equal(&q->in[1].shape, &y))
		return vq_infer_error(q, 1, "differs from the pooled x in type");
	return 0;
}

static int
infer_avg_input(struct vq_infer *q)
{
	const struct pool *p = q->params;
	struct vq_shape *x = &q->out[0].shape;

	if (check_image(q, 0) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		int64_t out = q->in[0].shape.dim[1 + i], given = i ? p->width : p->height;
		int64_t least = (out - 1) * stride_of(p, i) + kernel_of(p, i) - pad_of(p, i, 0) - pad_of(p, i, 1);
		x->dim[1 + i] = given ? given : least < 1 ? 1 : least;
		if (positions(p, i, x->dim[1 + i]) != out)
			return vq_infer_error(q, 0, "%s %lld does not come from one of %lld", i ? "width" : "height",
			    (long long)out, (long long)x->dim[1 + i]);
	}
	return 0;
}

/* --- gradients ----------------------------------------------------------- */

static const char *
text(const struct pool *p, char buf[256])
{
	snprintf(buf, 256, "kernel=[%lld,%lld] stride=[%lld,%lld] pad=[%lld,%lld,%lld,%lld]",
	    (long long)kernel_of(p, 0), (long long)kernel_of(p, 1), (long long)stride_of(p, 0),
	    (long long)stride_of(p, 1), (long long)pad_of(p, 0, 0), (long long)pad_of(p, 0, 1),
	    (long long)pad_of(p, 1, 0), (long long)pad_of(p, 1, 1));
	return buf;
}

static void
grad_max(struct vq_grad *d)
{
	char buf[256];

	if (d->want[0])
		d->din[0] = VQ_EMIT2(d->to, "max_pool2d_input", d->in[0], d->dout[0], "%s", text(d->params, buf));
}

static void
grad_pick(struct vq_grad *d)
{
	char buf[256];

	if (d->want[1])
		d->din[1] = VQ_EMIT2(d->to, "max_pool2d_input", d->in[0], d->dout[0], "%s", text(d->params, buf));
}

static void
grad_max_input(struct vq_grad *d)
{
	char buf[256];

	if (d->want[1])
		d->din[1] = VQ_EMIT2(d->to, "max_pool2d_pick", d->in[0], d->dout[0], "%s", text(d->params, buf));
}

static void
grad_avg(struct vq_grad *d)
{
	struct vq_shape x = vq_type_at(d->to, d->in[0])->shape;
	char buf[256];

	if (d->want[0])
		d->din[0] = VQ_EMIT1(d->to, "avg_pool2d_input", d->dout[0], "%s height=%lld width=%lld",
		    text(d->params, buf), (long long)x.dim[1], (long long)x.dim[2]);
}

static void
grad_avg_input(struct vq_grad *d)
{
	char buf[256];

	if (d->want[0])
		d->din[0] = VQ_EMIT1(d->to, "avg_pool2d", d->dout[0], "%s", text(d->params, buf));
}

/* --- kernels ------------------------------------------------------------- */

/* Element of x, counted from the first, where channel c of a window is largest. */
static int64_t
largest(const struct vq_view *x, const struct window *w, int64_t n, int64_t c)
{
	const int64_t *d = x->type->shape.dim;
	int64_t best = -1;
	double value = 0;

	for (int64_t y = w->from[0]; y < w->to[0]; y++)
		for (int64_t i = w->from[1]; i < w->to[1]; i++) {
			int64_t at = ((n * d[1] + y) * d[2] + i) * d[3] + c;
			double v = vq_get(x, at);
			if (best < 0 || v > value || (isnan(v) && !isnan(value))) {
				best = at;
				value = v;
			}
		}
	return best;
}

enum use { PICK, PUT };

/* v: as x (PICK) or as y (PUT).  One image. */
static void
ref_image(const struct vq_call *c, const struct vq_view *v, enum use use, int64_t n)
{
	const struct vq_view *x = &c->in[0], *out = &c->out[0];
	const int64_t *d = (use == PICK ? out : v)->type->shape.dim;

	for (int64_t i = n * d[1] * d[2] * d[3]; i < (n + 1) * d[1] * d[2] * d[3]; i++) {
		struct window w = window_at(c->params, &x->type->shape, i / d[3] / d[2] % d[1], i / d[3] % d[2]);
		int64_t at = largest(x, &w, n, i % d[3]);
		if (use == PICK)
			vq_set(out, i, vq_get(v, at));
		else
			vq_set(out, at, vq_get(out, at) + vq_get(v, i));
	}
}

static void
ref_images(const struct vq_call *c, const struct vq_view *v, enum use use)
{
	int64_t images = c->in[0].type->shape.dim[0];

	if (use == PUT)
		memset(c->out[0].data, 0, vq_type_bytes(c->out[0].type));
	for (int64_t n = 0; n < images; n++)
		ref_image(c, v, use, n);
}

static void ref_max(const struct vq_call *c) { ref_images(c, &c->in[0], PICK); }
static void ref_pick(const struct vq_call *c) { ref_images(c, &c->in[1], PICK); }
static void ref_put(const struct vq_call *c) { ref_images(c, &c->in[1], PUT); }

/* Where each window of a line is largest; at: one place in the image for each element. */
static void
largest_of_line(const struct vq_call *c, int64_t n, int64_t oy, int64_t outs, int32_t *at)
{
	const struct vq_shape *s = &c->in[0].type->shape;
	int64_t width = s->dim[2], channels = s->dim[3];
	const float *x = (const float *)c->in[0].data + n * s->dim[1] * width * channels;

	for (int64_t ox = 0; ox < outs; ox++) {
		struct window w = window_at(c->params, s, oy, ox);
		for (int64_t ch = 0; ch < channels; ch++) {
			int64_t best = (w.from[0] * width + w.from[1]) * channels + ch;
			for (int64_t y = w.from[0]; y < w.to[0]; y++)
				for (int64_t i = w.from[1]; i < w.to[1]; i++) {
					int64_t p = (y * width + i) * channels + ch;
					if (x[p] > x[best] || (isnan(x[p]) && !isnan(x[best])))
						best = p;
				}
			at[ox * channels + ch] = (int32_t)best;
		}
	}
}

static void
run_pick(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int64_t line = y->dim[2] * y->dim[3], image = vq_shape_span(x, 1, 4);

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t n = 0; n < x->dim[0]; n++) {
		const float *v = c->in[1].data;
		float *out = c->out[0].data;
		int32_t *at = (int32_t *)c->scratch + n * line;

		for (int64_t oy = 0; oy < y->dim[1]; oy++) {
			int64_t first = (n * y->dim[1] + oy) * line;
			largest_of_line(c, n, oy, y->dim[2], at);
			for (int64_t i = 0; i < line; i++)
				out[first + i] = v[n * image + at[i]];
		}
	}
}

/* A line of places for each image. */
static size_t
scratch_pick(const struct vq_cost *c)
{
	const int64_t *y = c->out[0].shape.dim;

	return (size_t)(y[0] * y[2] * y[3]) * sizeof(int32_t);
}

/* Images are dealt to the threads: windows may overlap. */
static void
run_put(const struct vq_call *c)
{
	const struct vq_rows *rows = vq_rows(c->k);
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->in[1].type->shape;
	int64_t image = vq_shape_span(x, 1, 4), line = x->dim[2] * x->dim[3], windows = y->dim[1] * y->dim[2];
	bool apart = true, covered = true;

	for (int i = 0; i < 2; i++) {
		int64_t stride = stride_of(c->params, i), kernel = kernel_of(c->params, i);
		int64_t end = (y->dim[1 + i] - 1) * stride - pad_of(c->params, i, 0) + kernel;
		apart &= stride >= kernel;
		covered &= stride <= kernel && end >= x->dim[1 + i];
	}

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t n = 0; n < x->dim[0]; n++) {
		const float *from = (const float *)c->in[0].data + n * image;
		const float *g = (const float *)c->in[1].data + n * windows * y->dim[3];
		float *to = (float *)c->out[0].data + n * image;

		if (!apart || !covered)			/* else every pixel is written */
			memset(to, 0, (size_t)image * sizeof(*to));
		for (int64_t i = 0; i < windows; i++) {
			struct window w = window_at(c->params, x, i / y->dim[2], i % y->dim[2]);
			int64_t at = w.from[0] * line + w.from[1] * x->dim[3];

			rows->put_largest(to + at, from + at, g + i * x->dim[3], w.to[0] - w.from[0], w.to[1] - w.from[1],
			    line, !apart, x->dim[3]);
		}
	}
}

static void
run_max(const struct vq_call *c)
{
	const struct vq_rows *rows = vq_rows(c->k);
	const struct vq_shape *x = &c->in[0].type->shape, *to = &c->out[0].type->shape;
	int64_t ch = x->dim[3], line = x->dim[2] * ch;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < to->dim[0] * to->dim[1]; i++) {
		const float *image = (const float *)c->in[0].data + i / to->dim[1] * x->dim[1] * line;
		float *y = (float *)c->out[0].data + i * to->dim[2] * ch;

		for (int64_t ox = 0; ox < to->dim[2]; ox++) {
			struct window w = window_at(c->params, x, i % to->dim[1], ox);
			rows->largest(y + ox * ch, image + w.from[0] * line + w.from[1] * ch, w.to[0] - w.from[0], w.to[1] - w.from[1],
			    line, ch);
		}
	}
}

static double
area(const struct pool *p)
{
	return (double)(kernel_of(p, 0) * kernel_of(p, 1));
}

/* y = the mean of each window, channels side by side. */
static void
run_avg(const struct vq_call *c)
{
	const struct vq_shape *s = &c->in[0].type->shape, *to = &c->out[0].type->shape;
	int64_t pixels = vq_shape_span(to, 0, 3), ch = s->dim[3];
	float scale = (float)(1 / area(c->params));
	const float *x = c->in[0].data;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < pixels; i++) {
		int64_t ox = i % to->dim[2], oy = i / to->dim[2] % to->dim[1], n = i / to->dim[2] / to->dim[1];
		struct window w = window_at(c->params, s, oy, ox);
		float *y = (float *)c->out[0].data + i * ch;
		const float *image = x + n * s->dim[1] * s->dim[2] * ch;

		memcpy(y, image + (w.from[0] * s->dim[2] + w.from[1]) * ch, (size_t)ch * sizeof(*y));
		for (int64_t iy = w.from[0]; iy < w.to[0]; iy++)
			for (int64_t ix = w.from[1]; ix < w.to[1]; ix++)
				if (iy > w.from[0] || ix > w.from[1])
					c->k->ew[VQ_EW_ADD](y, y, image + (iy * s->dim[2] + ix) * ch, NULL, 0, 0, ch);
		c->k->ew[VQ_EW_AFFINE](y, y, NULL, NULL, scale, 0, ch);
	}
}

static void
run_avg_input(const struct vq_call *c)
{
	const struct vq_shape *s = &c->out[0].type->shape, *g = &c->in[0].type->shape;
	int64_t image = vq_shape_span(s, 1, 4), ch = s->dim[3], windows = g->dim[1] * g->dim[2];
	float scale = (float)(1 / area(c->params));

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t n = 0; n < s->dim[0]; n++) {
		float *x = (float *)c->out[0].data + n * image;

		memset(x, 0, (size_t)image * sizeof(*x));
		for (int64_t i = 0; i < windows; i++) {
			struct window w = window_at(c->params, s, i / g->dim[2], i % g->dim[2]);
			const float *from = (const float *)c->in[0].data + (n * windows + i) * ch;
			for (int64_t y = w.from[0]; y < w.to[0]; y++)
				for (int64_t ix = w.from[1]; ix < w.to[1]; ix++) {
					float *to = x + (y * s->dim[2] + ix) * ch;
					c->k->ew[VQ_EW_AXPY](to, from, to, NULL, scale, 0, ch);
				}
		}
	}
}

static void
ref_avg(const struct vq_call *c)
{
	const int64_t *d = c->out[0].type->shape.dim, *s = c->in[0].type->shape.dim;

	for (int64_t i = 0, count = vq_shape_count(&c->out[0].type->shape); i < count; i++) {
		struct window w = window_at(c->params, &c->in[0].type->shape, i / d[3] / d[2] % d[1], i / d[3] % d[2]);
		double sum = 0;
		for (int64_t y = w.from[0]; y < w.to[0]; y++)
			for (int64_t x = w.from[1]; x < w.to[1]; x++)
				sum += vq_get(&c->in[0], ((i / d[3] / d[2] / d[1] * s[1] + y) * s[2] + x) * s[3] + i % d[3]);
		vq_set(&c->out[0], i, sum / area(c->params));
	}
}

static void
ref_avg_input(const struct vq_call *c)
{
	const struct vq_shape *x = &c->out[0].type->shape;
	const int64_t *d = c->in[0].type->shape.dim, *s = x->dim;
	double *acc = vq_alloc_array((size_t)vq_shape_count(x) + 1, sizeof(*acc));

	for (int64_t i = 0, count = vq_shape_count(&c->in[0].type->shape); i < count; i++) {
		struct window w = window_at(c->params, x, i / d[3] / d[2] % d[1], i / d[3] % d[2]);
		for (int64_t y = w.from[0]; y < w.to[0]; y++)
			for (int64_t ix = w.from[1]; ix < w.to[1]; ix++)
				acc[((i / d[3] / d[2] / d[1] * s[1] + y) * s[2] + ix) * s[3] + i % d[3]] +=
				    vq_get(&c->in[0], i) / area(c->params);
	}
	for (int64_t i = 0, count = vq_shape_count(x); i < count; i++)
		vq_set(&c->out[0], i, acc[i]);
	free(acc);
}

static double
flops(const struct vq_cost *c)
{
	double in = (double)vq_shape_count(&c->in[0].shape), out = (double)vq_shape_count(&c->out[0].shape);

	return (in < out ? in : out) * area(c->params);
}

/* --- the ops ------------------------------------------------------------- */

static const char *const also_max[] = { "maxpool", "maxpool2d", "max_pool", "MaxPool2d", NULL };
static const char *const also_avg[] = { "avgpool", "avgpool2d", "avg_pool", "mean_pool2d", "AvgPool2d", NULL };

static const struct vq_example examples[] = {
	{ "x=f32[2,4,6,3]" },
	{ "x=f32[1,5,7,2]", "kernel=3 stride=2 pad=1", .doc = "windows overlap" },
	{ "x=f32[1,6,5,1]", "kernel=[3,2] stride=[2,1] pad=[1,0,0,1]" },
	{ "x=f32[1,5,5,2]", "kernel=2 stride=3", .doc = "some pixels are in no window" },
	{ "x=f32[0,4,4,2]" },
	{ "x=f32[32,32,32,64]" },
	{ "x=f32[1,2,2,1]", "kernel=3", .fails = "is smaller than the window" },
	{ "x=f32[1,4,4,1]", "kernel=2 pad=2", .fails = "pad has to be smaller than the window" },
	{ "x=f32[4,4,1]", .fails = "needs four axes, has 3" },
	{ 0 }
};

static const struct vq_example examples_pick[] = {
	{ "x=f32[2,4,6,3] v=f32[2,4,6,3]" },
	{ "x=f32[1,5,7,2] v=f32[1,5,7,2]", "kernel=3 stride=2 pad=1" },
	{ "x=f32[1,4,4,1] v=f32[1,4,4,2]", .fails = "differs from x in type" },
	{ 0 }
};

static const struct vq_example examples_max_input[] = {
	{ "x=f32[2,4,6,3] g=f32[2,2,3,3]" },
	{ "x=f32[1,5,7,2] g=f32[1,3,4,2]", "kernel=3 stride=2 pad=1" },
	{ "x=f32[32,32,32,64] g=f32[32,16,16,64]" },
	{ "x=f32[1,4,4,1] g=f32[1,4,4,1]", .fails = "differs from the pooled x in type" },
	{ 0 }
};

static const struct vq_example examples_avg_input[] = {
	{ "g=f32[2,2,3,3]" },
	{ "g=f32[1,3,4,2]", "kernel=3 stride=2 pad=1 height=5 width=7" },
	{ "g=f32[1,2,2,2]", "kernel=2 stride=3", .doc = "some pixels get nothing" },
	{ "g=f32[1,2,2,1]", "height=9", .fails = "height 2 does not come from one of 9" },
	{ 0 }
};

extern const struct vq_op vq_ops_pool2d[];
const struct vq_op vq_ops_pool2d[] = {
	{
		.name = "max_pool2d", .doc = "the largest of each window of an image, [n, h, w, channels]",
		.in = { "x" }, .out = { "y" }, .params = params, .size = sizeof(struct pool), .infer = infer,
		.grad = grad_max, .run = run_max, .ref = ref_max, .flops = flops, .also = also_max,
		.examples = examples,
	}, {
		.name = "max_pool2d_pick", .doc = "of each window of v the element where x is the largest",
		.in = { "x", "v" }, .out = { "y" }, .params = params, .size = sizeof(struct pool),
		.infer = infer_pick, .grad = grad_pick, .run = run_pick, .ref = ref_pick, .scratch = scratch_pick,
		.flops = flops, .examples = examples_pick,
	}, {
		.name = "max_pool2d_input", .doc = "the adjoint of max_pool2d_pick in v",
		.in = { "x", "g" }, .out = { "v" }, .params = params, .size = sizeof(struct pool),
		.infer = infer_max_input, .grad = grad_max_input, .run = run_put, .ref = ref_put,
		.examples = examples_max_input,
	}, {
		.name = "avg_pool2d", .doc = "the mean of each window of an image, a border counting as zeros",
		.in = { "x" }, .out = { "y" }, .params = params, .size = sizeof(struct pool), .infer = infer,
		.grad = grad_avg, .run = run_avg, .ref = ref_avg, .flops = flops, .also = also_avg,
		.examples = examples,
	}, {
		.name = "avg_pool2d_input", .doc = "the adjoint of avg_pool2d",
		.in = { "g" }, .out = { "x" }, .params = input_params, .size = sizeof(struct pool),
		.infer = infer_avg_input, .grad = grad_avg_input, .run = run_avg_input, .ref = ref_avg_input,
		.flops = flops, .examples = examples_avg_input,
	},
	{ 0 }
};
