/*
 * fused -- a chain of elementwise ops in one walk over memory
 *
 * Its parameters are a program (ops/kernels/ewise.h) over its inputs, which
 * broadcast to the result.  Made by the fuse pass after gradients are taken.
 */
#include <string.h>

#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/single.h"

static int
infer(struct vq_infer *q)
{
	const struct vq_ewise *p = q->params;

	if (p->nin != q->nin || p->ninstr < 1)
		return vq_infer_error(q, VQ_NONE, "the program does not fit the inputs");
	if (vq_infer_same_dtype(q) < 0)
		return -1;
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}

static void
run(const struct vq_call *c)
{
	vq_ewise_broadcast(c->k, c->params, c->in, c->out, c->threads);
}

static void
ref(const struct vq_call *c)
{
	vq_ewise_reference(c->params, c->in, c->out);
}

static double
flops(const struct vq_cost *c)
{
	const struct vq_ewise *p = c->params;

	return (double)p->ninstr * (double)vq_shape_count(&c->out[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3]", .fails = "the program does not fit the inputs",
	  .doc = "programs have no text: tests/check_ewise.c runs them" },
	{ 0 }
};

extern const struct vq_op vq_ops_fused[];
const struct vq_op vq_ops_fused[] = {
	{
		.name     = "fused",
		.doc      = "a chain of elementwise ops in one walk over memory",
		.in       = { "x..." },
		.out      = { "y" },
		.size     = sizeof(struct vq_ewise),
		.flags    = VQ_OP_INTERNAL,
		.infer    = infer,
		.run      = run,
		.half     = vq_single_half,
		.ref      = ref,
		.inplace  = "0:0 0:1 0:2 0:3 0:4 0:5 0:6 0:7",
		.flops    = flops,
		.examples = examples,
	},
	{ 0 }
};
