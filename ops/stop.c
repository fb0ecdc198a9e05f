/*
 * stop -- the same tensor, through which no gradient flows
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

static int
infer(struct vq_infer *q)
{
	return 0;
}

/* Sets nothing: the gradient is zero. */
static void
grad(struct vq_grad *d)
{
}

static void
ref(const struct vq_call *c)
{
	memmove(c->out[0].data, c->in[0].data, vq_type_bytes(c->in[0].type));
}

static double
flops(const struct vq_cost *c)
{
	return 0;
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3]", .no_gradient = true },
	{ "x=i32[4](0,9)" },
	{ 0 }
};

extern const struct vq_op vq_ops_stop[];
const struct vq_op vq_ops_stop[] = {
	{
		.name = "stop",
		.doc = "the same tensor, through which no gradient flows",
		.in = { "x" }, .out = { "y" },
		.flags = VQ_OP_ALIAS | VQ_OP_STOPS,
		.infer = infer, .grad = grad, .ref = ref, .inplace = "0:0", .flops = flops,
		.also = (const char *const[]){ "detach", "stop_gradient", "sg", NULL },
		.examples = examples,
	},
	{ 0 }
};
