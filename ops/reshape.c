/*
 * reshape, reshape_like -- the same elements under another shape; copies nothing
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

struct reshape {
	struct vq_ints shape;
};

static const struct vq_param params[] = {
	VQ_INTS(struct reshape, shape, NULL, -1, 1e12, 0, VQ_MAX_RANK,
	    "lengths of the axes; -1, at most once, is what is left"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct reshape *p = q->params;
	struct vq_shape *y = &q->out[0].shape;
	int64_t have = vq_shape_count(&q->in[0].shape), known = 1;
	int open = VQ_NONE;

	y->rank = p->shape.count;
	for (int i = 0; i < y->rank; i++) {
		y->dim[i] = p->shape.v[i];
		if (y->dim[i] == -1 && open != VQ_NONE)
			return vq_infer_error(q, VQ_NONE, "shape has -1 twice");
		if (y->dim[i] == -1)
			open = i;
		else if (__builtin_mul_overflow(known, y->dim[i], &known))
			return vq_infer_error(q, VQ_NONE, "shape has more elements than any memory");
	}
	if (open != VQ_NONE && (known == 0 || have % known != 0))
		return vq_infer_error(q, 0, "has %lld elements, which the %lld of the other axes do not divide",
		    (long long)have, (long long)known);
	if (open != VQ_NONE)
		y->dim[open] = have / known;
	else if (known != have)
		return vq_infer_error(q, 0, "has %lld elements, the shape %lld", (long long)have, (long long)known);
	return 0;
}

static void
grad(struct vq_grad *d)
{
	d->din[0] = vq_reshape(d->to, d->dout[0], &d->to->value[d->in[0]].type.shape);
}

/* The planner gives both the same memory; only a caller without it copies. */
static void
run(const struct vq_call *c)
{
	if (c->out[0].data != c->in[0].data)
		memcpy(c->out[0].data, c->in[0].data, vq_type_bytes(c->out[0].type));
}

/* --- the shape of another ------------------------------------------------- */

static int
infer_like(struct vq_infer *q)
{
	int64_t have = vq_shape_count(&q->in[0].shape), wanted = vq_shape_count(&q->in[1].shape);

	if (have != wanted)
		return vq_infer_error(q, 0, "has %lld elements, and like %lld", (long long)have, (long long)wanted);
	q->out[0].shape = q->in[1].shape;
	return 0;
}

static void
compose_like(struct vq_compose *c)
{
	const struct vq_shape to = vq_type_at(c->to, c->in[1])->shape;

	c->out[0] = vq_reshape(c->to, c->in[0], &to);
}

static const struct vq_example like_examples[] = {
	{ "x=f32[2,6] like=f32[3,4]" },
	{ "x=f32[6] like=i32[3,1,2](0,9)" },
	{ "x=f32[6] like=f32[5]", .fails = "has 6 elements, and like 5" },
	{ 0 }
};

static const struct vq_example examples[] = {
	{ "x=f32[2,6]", "shape=[3,4]" },
	{ "x=f32[2,6]", "shape=[3,-1]" },
	{ "x=f32[2,3,4]", "shape=-1" },
	{ "x=f32[1,1]", "shape=[]" },
	{ "x=i32[4](0,9)", "shape=[2,2]" },
	{ "x=f32[2,6]", "shape=[5,-1]", .fails = "has 12 elements, which the 5 of the other axes do not divide" },
	{ "x=f32[2,6]", "shape=[5]", .fails = "has 12 elements, the shape 5" },
	{ "x=f32[2,6]", "shape=[-1,-1]", .fails = "shape has -1 twice" },
	{ 0 }
};

extern const struct vq_op vq_ops_reshape[];
const struct vq_op vq_ops_reshape[] = {
	{
		.name     = "reshape",
		.doc      = "the same elements, in the same order, under another shape",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct reshape),
		.flags    = VQ_OP_ALIAS,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = run,
		.also     = (const char *const[]){ "view", "flatten", "squeeze", "unsqueeze", "rearrange", NULL },
		.examples = examples,
	}, {
		.name     = "reshape_like",
		.doc      = "the elements of x under the shape of another tensor",
		.in       = { "x", "like" },
		.out      = { "y" },
		.infer    = infer_like,
		.compose  = compose_like,
		.also     = (const char *const[]){ "view_as", "reshape_as", NULL },
		.examples = like_examples,
	},
	{ 0 }
};
