/*
 * straight_through -- the value of one tensor with the gradient of another
 *
 *   y = value; the gradient that arrives goes to `to`, unchanged, and none to value
 *
 * The estimator of Bengio, Leonard and Courville 2013, as van den Oord et al. 2017 pass
 * gradients by the quantizer.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

enum { VALUE, TO };

static int
infer(struct vq_infer *q)
{
	char a[VQ_TYPE_STR], b[VQ_TYPE_STR];

	if (!vq_is_float(q->in[VALUE].dtype))
		return vq_infer_error(q, VALUE, "must be floating, is %s", vq_dtype_name(q->in[VALUE].dtype));
	if (!vq_type_equal(&q->in[VALUE], &q->in[TO]))
		return vq_infer_error(q, VQ_NONE, "types differ: %s and %s",
		    vq_type_str(&q->in[VALUE], a), vq_type_str(&q->in[TO], b));
	return 0;
}

static void
grad(struct vq_grad *d)
{
	d->din[TO] = d->dout[0];
}

static void
ref(const struct vq_call *c)
{
	memmove(c->out[0].data, c->in[VALUE].data, vq_type_bytes(c->in[VALUE].type));
}

static double
flops(const struct vq_cost *c)
{
	return 0;
}

/* What differences see is not the gradient: that is the point. */
static const struct vq_example examples[] = {
	{ "value=f32[2,3] to=f32[2,3]", .no_gradient = true },
	{ "value=f32[2,3] to=f32[3,2]", .fails = "types differ: f32[2, 3] and f32[3, 2]" },
	{ "value=i32[2](0,5) to=i32[2](0,5)", .fails = "must be floating, is i32" },
	{ 0 }
};

extern const struct vq_op vq_ops_straight_through[];
const struct vq_op vq_ops_straight_through[] = {
	{
		.name = "straight_through",
		.doc = "the value of one tensor; its gradient goes to another",
		.in = { "value", "to" }, .out = { "y" },
		.flags = VQ_OP_ALIAS,
		.infer = infer, .grad = grad, .ref = ref, .inplace = "0:0", .flops = flops,
		.also = (const char *const[]){ "ste", "straight_through_estimator", NULL },
		.examples = examples,
	},
	{ 0 }
};
