/*
 * positions -- 0, 1, 2, ... for the length of an axis
 *
 *   x any   y i32[t]: y[i] = i, t the length of the axis
 *
 * Only the shape of x is read.  What needs to know where in a sequence it stands
 * (a table of learned vectors, a rotation) takes this as its index.
 */
#include "engine/op.h"

struct positions {
	int64_t axis;
};

static const struct vq_param params[] = {
	VQ_INT(struct positions, axis, "1", -VQ_MAX_RANK, VQ_MAX_RANK - 1,
	    "axis whose length is counted; negative counts from the end"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct positions *p = q->params;
	int axis;

	if (vq_infer_axis(q, 0, p->axis, &axis) < 0)
		return -1;
	if (q->in[0].shape.dim[axis] > INT32_MAX)
		return vq_infer_error(q, 0, "has %lld positions, more than i32 counts",
		    (long long)q->in[0].shape.dim[axis]);
	q->out[0] = vq_type_of(VQ_I32, 1, &q->in[0].shape.dim[axis]);
	return 0;
}

static void
ref(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	int32_t *y = c->out[0].data;

	for (int64_t i = 0; i < n; i++)
		y[i] = (int32_t)i;
}

static double
flops(const struct vq_cost *c)
{
	return 0;
}

static double
bytes(const struct vq_cost *c)
{
	return (double)vq_type_bytes(&c->out[0]);
}

static const struct vq_example examples[] = {
	{ "x=f32[2,5,3]" },
	{ "x=i32[2,7](0,9)" },
	{ "x=f32[4,2]", "axis=0" },
	{ "x=f32[4,2,3]", "axis=-1" },
	{ "x=f32[4]", .fails = "has 1 axes, and no axis 1" },
	{ 0 }
};

extern const struct vq_op vq_ops_positions[];
const struct vq_op vq_ops_positions[] = {
	{
		.name = "positions",
		.doc = "0, 1, 2, ... for the length of an axis of x",
		.in = { "x" }, .out = { "y" },
		.params = params, .size = sizeof(struct positions),
		.infer = infer, .ref = ref, .flops = flops, .bytes = bytes,
		.also = (const char *const[]){ "arange", "range", "iota", "position_ids", NULL },
		.examples = examples,
	},
	{ 0 }
};
