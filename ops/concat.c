/*
 * concat -- tensors one after the other along an axis
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

struct concat {
	int64_t axis;
};

static const struct vq_param params[] = {
	VQ_INT(struct concat, axis, "-1", -VQ_MAX_RANK, VQ_MAX_RANK - 1, "axis to join along; negative counts from the end"),
	VQ_PARAMS_END
};

static int
axis_of(const void *p, int rank)
{
	int64_t a = ((const struct concat *)p)->axis;

	return (int)(a < 0 ? a + rank : a);
}

static int
infer(struct vq_infer *q)
{
	struct vq_shape *y = &q->out[0].shape;
	int axis;

	if (vq_infer_axis(q, 0, ((const struct concat *)q->params)->axis, &axis) < 0)
		return -1;
	for (int i = 1; i < q->nin; i++) {
		const struct vq_shape *x = &q->in[i].shape;
		if (q->in[i].dtype != q->in[0].dtype)
			return vq_infer_error(q, i, "is %s where the first is %s (cast converts)",
			    vq_dtype_name(q->in[i].dtype), vq_dtype_name(q->in[0].dtype));
		if (x->rank != y->rank)
			return vq_infer_error(q, i, "has %d axes where the first has %d", x->rank, y->rank);
		for (int d = 0; d < y->rank; d++)
			if (d != axis && x->dim[d] != y->dim[d])
				return vq_infer_error(q, i, "has length %lld along axis %d where the first has %lld",
				    (long long)x->dim[d], d, (long long)y->dim[d]);
		y->dim[axis] += x->dim[axis];
	}
	return 0;
}

static void
grad(struct vq_grad *d)
{
	int axis = axis_of(d->params, d->to->value[d->in[0]].type.shape.rank);
	int64_t at = 0;

	for (int i = 0; i < d->nin; i++) {
		int64_t n = d->to->value[d->in[i]].type.shape.dim[axis];
		if (d->want[i] && n > 0)
			d->din[i] = VQ_EMIT1(d->to, "slice", d->dout[0], "axis=%d start=%lld stop=%lld", axis,
			    (long long)at, (long long)(at + n));
		at += n;
	}
}

static void
run(const struct vq_call *c)
{
	const struct vq_shape *y = &c->out[0].type->shape;
	int axis = axis_of(c->params, y->rank);
	size_t size = vq_dtype_size(c->out[0].type->dtype);
	size_t inner = (size_t)vq_shape_span(y, axis + 1, y->rank) * size, row = inner * (size_t)y->dim[axis];
	int64_t outer = vq_shape_span(y, 0, axis);

#pragma omp parallel for num_threads(c->threads) schedule(static) if (outer * (int64_t)row >= 65536)
	for (int64_t o = 0; o < outer; o++) {
		char *to = (char *)c->out[0].data + (size_t)o * row;
		for (int i = 0; i < c->nin; i++) {
			size_t part = inner * (size_t)c->in[i].type->shape.dim[axis];
			memcpy(to, (const char *)c->in[i].data + (size_t)o * part, part);
			to += part;
		}
	}
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *y = &c->out[0].type->shape;
	int axis = axis_of(c->params, y->rank);
	int64_t inner = vq_shape_span(y, axis + 1, y->rank), count = vq_shape_count(y);

	for (int64_t i = 0; i < count; i++) {
		int64_t outer = i / inner / y->dim[axis], at = i / inner % y->dim[axis];
		int from = 0;
		while (at >= c->in[from].type->shape.dim[axis])
			at -= c->in[from++].type->shape.dim[axis];
		int64_t n = c->in[from].type->shape.dim[axis];
		vq_set(&c->out[0], i, vq_get(&c->in[from], (outer * n + at) * inner + i % inner));
	}
}

static const struct vq_example examples[] = {
	{ "a=f32[2,3] b=f32[2,2]" },
	{ "a=f32[2,3] b=f32[1,3] c=f32[3,3]", "axis=0" },
	{ "a=f32[2,3,2] b=f32[2,1,2]", "axis=1" },
	{ "a=f32[4]" },
	{ "a=i32[2,3](0,9) b=i32[2,1](0,9)" },
	{ "a=f32[4096,128] b=f32[4096,64]" },
	{ "a=f32[2,3] b=f32[3,3]", .fails = "has length 3 along axis 0 where the first has 2" },
	{ "a=f32[2,3] b=f32[3]", .fails = "has 1 axes where the first has 2" },
	{ "a=f32 b=f32", .fails = "has 0 axes, and no axis -1" },
	{ 0 }
};

extern const struct vq_op vq_ops_concat[];
const struct vq_op vq_ops_concat[] = {
	{
		.name     = "concat",
		.doc      = "tensors one after the other along an axis",
		.in       = { "x..." },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct concat),
		.flags    = VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.also     = (const char *const[]){ "cat", "concatenate", "stack", "join", NULL },
		.examples = examples,
	},
	{ 0 }
};
