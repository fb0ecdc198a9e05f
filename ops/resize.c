/*
 * resize -- images made larger or smaller, [n, h, w, channels]
 *
 *   resize        x   each pixel of the result from the nearest pixel of x, or from the
 *                     four around it by their distance
 *   resize_input  g   the adjoint
 *
 * Pixels are squares whose corners agree: pixel i of `out` stands at (i + 1/2) in / out
 * - 1/2 of `in` (bilinear), clamped to the image; or is pixel floor(i in / out) (nearest).
 * These are PyTorch's interpolate with align_corners off.  Making smaller takes no mean;
 * avg_pool2d does.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"

enum { SIDE_MAX = 1 << 24 };
enum mode { NEAREST, BILINEAR };
static const char *const modes[] = { "nearest", "bilinear", NULL };

struct resize {
	int64_t height, width, scale;
	int mode;
};

#define SIZE \
	VQ_INT(struct resize, height, "0", 0, SIDE_MAX, "height of the result"), \
	VQ_INT(struct resize, width, "0", 0, SIDE_MAX, "width of the result")
#define MODE VQ_ENUM(struct resize, mode, "nearest", modes, "which pixels make one of the result")

static const struct vq_param params[] = {
	VQ_INT(struct resize, scale, "0", 0, 1024, "result so many times as large; 0: height and width say"),
	SIZE, MODE, VQ_PARAMS_END
};
static const struct vq_param input_params[] = { SIZE, MODE, VQ_PARAMS_END };

/* Two pixels along an axis and the weight of the second. */
struct place {
	int64_t at[2];
	double weight;
};

static struct place
place_of(enum mode mode, int64_t i, int64_t out, int64_t in)
{
	struct place p = { { i * in / out, i * in / out }, 0 };

	if (mode == BILINEAR) {
		double x = ((double)i + 0.5) * (double)in / (double)out - 0.5;
		x = x < 0 ? 0 : x;
		p.at[0] = (int64_t)x < in ? (int64_t)x : in - 1;
		p.at[1] = p.at[0] + 1 < in ? p.at[0] + 1 : p.at[0];
		p.weight = x - (double)p.at[0];
	}
	return p;
}

/* --- types and gradients ------------------------------------------------- */

static int
check(struct vq_infer *q)
{
	const struct vq_shape *s = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "is %s, and a floating type is needed (cast converts)",
		    vq_dtype_name(q->in[0].dtype));
	if (s->rank != 4)
		return vq_infer_error(q, 0, "needs four axes, has %d", s->rank);
	if (s->dim[1] < 1 || s->dim[2] < 1)
		return vq_infer_error(q, 0, "has no pixels");
	if (s->dim[1] > SIDE_MAX || s->dim[2] > SIDE_MAX)
		return vq_infer_error(q, 0, "has a side of more than %d pixels", SIDE_MAX);
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct resize *p = q->params;
	struct vq_shape *y = &q->out[0].shape;

	if (check(q) < 0)
		return -1;
	if ((p->scale > 0) == (p->height > 0 && p->width > 0))
		return vq_infer_error(q, VQ_NONE, "needs either scale, or both height and width");
	y->dim[1] = p->scale ? y->dim[1] * p->scale : p->height;
	y->dim[2] = p->scale ? y->dim[2] * p->scale : p->width;
	return 0;
}

static int
infer_input(struct vq_infer *q)
{
	const struct resize *p = q->params;

	if (check(q) < 0)
		return -1;
	if (p->height < 1 || p->width < 1)
		return vq_infer_error(q, VQ_NONE, "needs both height and width");
	q->out[0].shape.dim[1] = p->height;
	q->out[0].shape.dim[2] = p->width;
	return 0;
}

/* The other op, back to the size of its input. */
static void
emit(struct vq_grad *d, const char *op)
{
	const struct resize *p = d->params;
	struct vq_shape s = vq_type_at(d->to, d->in[0])->shape;

	if (d->want[0])
		d->din[0] = VQ_EMIT1(d->to, op, d->dout[0], "height=%lld width=%lld mode=%s",
		    (long long)s.dim[1], (long long)s.dim[2], modes[p->mode]);
}

static void grad(struct vq_grad *d) { emit(d, "resize_input"); }
static void grad_input(struct vq_grad *d) { emit(d, "resize"); }

/* --- kernels ------------------------------------------------------------- */

/* One pixel of the large side: the four of the small one, by element, and their weights. */
struct corner {
	int64_t at;
	double weight;
};

static int
corners(const struct resize *p, const struct vq_shape *to, const struct vq_shape *from, int64_t pixel,
    struct corner corner[4])
{
	int64_t x = pixel % to->dim[2], y = pixel / to->dim[2] % to->dim[1], n = pixel / to->dim[2] / to->dim[1];
	struct place v = place_of(p->mode, y, to->dim[1], from->dim[1]);
	struct place h = place_of(p->mode, x, to->dim[2], from->dim[2]);
	int count = 0;

	for (int i = 0; i < 4; i++) {
		double weight = (i / 2 ? v.weight : 1 - v.weight) * (i % 2 ? h.weight : 1 - h.weight);
		if (weight != 0)
			corner[count++] = (struct corner){
			    ((n * from->dim[1] + v.at[i / 2]) * from->dim[2] + h.at[i % 2]) * from->dim[3], weight };
	}
	return count;
}

/* Channels of a pixel, where one of the two is bf16 in memory or both are. */
static void
copy_half(const struct vq_kernels *k, const struct vq_view *to, int64_t at, const struct vq_view *from, int64_t first, int64_t ch)
{
	bool widens = to->type->dtype != VQ_BF16;
	void *y = (char *)to->data + at * (widens ? 4 : 2);

	if (from->type->dtype != VQ_BF16)
		k->narrow(y, (const float *)from->data + first, ch);
	else if (widens)
		k->widen(y, (const uint16_t *)from->data + first, ch);
	else
		memcpy(y, (const uint16_t *)from->data + first, (size_t)ch * sizeof(uint16_t));
}

static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	const struct resize *p = c->params;

	(void)port, (void)out;
	return p->mode == NEAREST ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

static void
run(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int64_t pixels = vq_shape_span(y, 0, 3), ch = y->dim[3];
	bool half = c->in[0].type->dtype == VQ_BF16 || c->out[0].type->dtype == VQ_BF16;
	const float *from = c->in[0].data;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < pixels; i++) {
		struct corner corner[4];
		int count = corners(c->params, y, x, i, corner);

		if (half) {
			copy_half(c->k, &c->out[0], i * ch, &c->in[0], corner[0].at, ch);
			continue;
		}
		float *to = (float *)c->out[0].data + i * ch;
		if (count == 1) {
			memcpy(to, from + corner[0].at, (size_t)ch * sizeof(*to));
			continue;
		}
		c->k->ew[VQ_EW_AFFINE](to, from + corner[0].at, NULL, NULL, (float)corner[0].weight, 0, ch);
		for (int k = 1; k < count; k++)
			c->k->ew[VQ_EW_AXPY](to, from + corner[k].at, to, NULL, (float)corner[k].weight, 0, ch);
	}
}

/* Images are dealt to the threads: pixels of g meet in x. */
static void
run_input(const struct vq_call *c)
{
	const struct vq_shape *g = &c->in[0].type->shape, *x = &c->out[0].type->shape;
	int64_t pixels = vq_shape_span(g, 1, 3), image = vq_shape_span(x, 1, 4), ch = x->dim[3];
	const float *from = c->in[0].data;
	float *to = c->out[0].data;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t n = 0; n < x->dim[0]; n++) {
		memset(to + n * image, 0, (size_t)image * sizeof(*to));
		for (int64_t i = n * pixels; i < (n + 1) * pixels; i++) {
			struct corner corner[4];
			int count = corners(c->params, g, x, i, corner);
			for (int k = 0; k < count; k++)
				c->k->ew[VQ_EW_AXPY](to + corner[k].at, from + i * ch, to + corner[k].at, NULL,
				    (float)corner[k].weight, 0, ch);
		}
	}
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *y = &c->out[0].type->shape;

	for (int64_t i = 0, count = vq_shape_count(y); i < count; i++) {
		struct corner corner[4];
		int corner_count = corners(c->params, y, &c->in[0].type->shape, i / y->dim[3], corner);
		double sum = 0;
		for (int k = 0; k < corner_count; k++)
			sum += corner[k].weight * vq_get(&c->in[0], corner[k].at + i % y->dim[3]);
		vq_set(&c->out[0], i, sum);
	}
}

static void
ref_input(const struct vq_call *c)
{
	const struct vq_shape *g = &c->in[0].type->shape, *x = &c->out[0].type->shape;
	double *acc = vq_alloc_array((size_t)vq_shape_count(x) + 1, sizeof(*acc));

	for (int64_t i = 0, count = vq_shape_count(g); i < count; i++) {
		struct corner corner[4];
		int corner_count = corners(c->params, g, x, i / g->dim[3], corner);
		for (int k = 0; k < corner_count; k++)
			acc[corner[k].at + i % g->dim[3]] += corner[k].weight * vq_get(&c->in[0], i);
	}
	for (int64_t i = 0, count = vq_shape_count(x); i < count; i++)
		vq_set(&c->out[0], i, acc[i]);
	free(acc);
}

/* --- the ops ------------------------------------------------------------- */

static const char *const also[] = { "upsample", "interpolate", "resize2d", "upsample2d", "downsample", NULL };

static const struct vq_example examples[] = {
	{ "x=f32[2,3,4,3]", "scale=2" },
	{ "x=f32[1,3,4,2]", "height=5 width=7" },
	{ "x=f32[1,5,6,2]", "height=3 width=2", .doc = "smaller" },
	{ "x=f32[2,3,4,3]", "scale=2 mode=bilinear" },
	{ "x=f32[1,3,4,2]", "height=5 width=7 mode=bilinear" },
	{ "x=f32[1,5,6,1]", "height=3 width=1 mode=bilinear" },
	{ "x=f32[1,1,1,2]", "height=3 width=2 mode=bilinear" },
	{ "x=f32[8,32,32,128]", "scale=2" },
	{ "x=f32[8,32,32,128]", "scale=2 mode=bilinear" },
	{ "x=f32[1,3,4,2]", .fails = "needs either scale, or both height and width" },
	{ "x=f32[3,4,2]", "scale=2", .fails = "needs four axes, has 3" },
	{ 0 }
};

static const struct vq_example examples_input[] = {
	{ "g=f32[2,6,8,3]", "height=3 width=4" },
	{ "g=f32[1,5,7,2]", "height=3 width=4" },
	{ "g=f32[1,3,2,2]", "height=5 width=6", .doc = "some pixels get nothing" },
	{ "g=f32[1,5,7,2]", "height=3 width=4 mode=bilinear" },
	{ "g=f32[1,3,1,1]", "height=5 width=6 mode=bilinear" },
	{ "g=f32[8,64,64,128]", "height=32 width=32 mode=bilinear" },
	{ "g=f32[1,3,4,2]", .fails = "needs both height and width" },
	{ 0 }
};

extern const struct vq_op vq_ops_resize[];
const struct vq_op vq_ops_resize[] = {
	{
		.name = "resize", .doc = "images of another size, [n, h, w, channels]",
		.in = { "x" }, .out = { "y" }, .params = params, .size = sizeof(struct resize), .infer = infer,
		.grad = grad, .run = run, .ref = ref, .half = half, .again = 2, .also = also, .examples = examples,
	}, {
		.name = "resize_input", .doc = "the adjoint of resize",
		.in = { "g" }, .out = { "x" }, .params = input_params, .size = sizeof(struct resize),
		.infer = infer_input, .grad = grad_input, .run = run_input, .ref = ref_input,
		.examples = examples_input,
	},
	{ 0 }
};
