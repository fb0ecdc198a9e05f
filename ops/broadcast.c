/*
 * broadcast_to -- repeats a tensor along axes of length one and new leading axes
 *
 * Elementwise ops broadcast by themselves; this one writes the copies out, where
 * an op that does not broadcast wants them.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/strided.h"

struct broadcast {
	struct vq_ints shape;
};

static const struct vq_param params[] = {
	VQ_INTS(struct broadcast, shape, NULL, 0, 1e12, 0, VQ_MAX_RANK, "lengths of the axes"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct broadcast *p = q->params;
	const struct vq_shape *x = &q->in[0].shape;
	struct vq_shape to = vq_shape_of(p->shape.count, p->shape.v), sum;
	char text[VQ_TYPE_STR];

	if (!vq_shape_broadcast(x, &to, &sum) || !vq_shape_equal(&sum, &to))
		return vq_infer_error(q, 0, "cannot be broadcast to %s", vq_shape_str(&to, text));
	q->out[0].shape = to;
	return 0;
}

/* The gradient pass sums it down to the shape of x. */
static void
grad(struct vq_grad *d)
{
	d->din[0] = d->dout[0];
}

static void
ref(const struct vq_call *c)
{
	int64_t count = vq_shape_count(&c->out[0].type->shape), at[VQ_STRIDED_INS];
	size_t size = vq_dtype_size(c->out[0].type->dtype);
	struct vq_strided s;

	vq_strided_broadcast(&s, &c->out[0].type->shape, c->in, 1);
	for (int64_t i = 0; i < count; i++) {
		vq_strided_at(&s, s.rank, i, at);
		memcpy((char *)c->out[0].data + (size_t)i * size, (char *)c->in[0].data + (size_t)at[0] * size, size);
	}
}

static void
run(const struct vq_call *c)
{
	struct vq_ewise copy = { .nin = 1, .ninstr = 1, .instr = { { .op = VQ_EW_COPY } } };

	if (c->out[0].type->dtype == VQ_F32)
		vq_ewise_broadcast(c->k, &copy, c->in, c->out, c->threads);
	else
		ref(c);
}

static const struct vq_example examples[] = {
	{ "x=f32[3]", "shape=[2,3]" },
	{ "x=f32[2,1]", "shape=[2,3]" },
	{ "x=f32", "shape=[4]" },
	{ "x=f32[2,1,3]", "shape=[2,2,2,3]" },
	{ "x=i32[2,1](0,9)", "shape=[2,40]" },
	{ "x=f32[1,4,1,5]", "shape=[3,4,6,5]" },
	{ "x=f32[256]", "shape=[4096,256]" },
	{ "x=f32[3]", "shape=[2,4]", .fails = "cannot be broadcast to [2, 4]" },
	{ "x=f32[3]", "shape=[1]", .fails = "cannot be broadcast to [1]" },
	{ 0 }
};

extern const struct vq_op vq_ops_broadcast[];
const struct vq_op vq_ops_broadcast[] = {
	{
		.name     = "broadcast_to",
		.doc      = "x repeated along axes of length one and new leading axes",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct broadcast),
		.flags    = VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.also     = (const char *const[]){ "expand", "broadcast", "expand_as", NULL },
		.examples = examples,
	},
	{ 0 }
};
