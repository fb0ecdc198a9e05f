/*
 * single -- running one instruction as an op
 */
#include "ops/kernels/single.h"

struct vq_ewise
vq_single_program(vq_describe_fn *describe, const void *params)
{
	struct vq_ewise p = { .ninstr = 1 };

	vq_assert(describe(params, &p.instr[0]));
	p.nin = vq_ew_arity(p.instr[0].op);
	p.instr[0].b = p.nin > 1;
	p.instr[0].c = p.nin > 2 ? 2 : 0;
	return p;
}

void
vq_single_ref(const struct vq_call *c, vq_describe_fn *describe)
{
	struct vq_ewise p = vq_single_program(describe, c->params);

	vq_ewise_reference(&p, c->in, c->out);
}

/* What vq_ewise_broadcast takes. */
static bool
may_walk(const struct vq_call *c, const struct vq_view *v)
{
	int64_t n = vq_shape_count(&c->out[0].type->shape);

	return v->type->dtype == VQ_F32 || (v->type->dtype == VQ_BF16 && n > 1 && vq_shape_count(&v->type->shape) == n);
}

enum vq_half
vq_single_half(const struct vq_cost *c, int port, bool out)
{
	int64_t n = vq_shape_count(&c->out[0].shape);
	bool fast = n > 1 && c->out[0].dtype == VQ_F32 && (out || vq_shape_count(&c->in[port].shape) == n);

	for (int i = 0; i < c->nin; i++)
		fast &= c->in[i].dtype == VQ_F32;
	return fast ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

void
vq_single_run(const struct vq_call *c, vq_describe_fn *describe)
{
	bool fast = may_walk(c, &c->out[0]);

	for (int i = 0; i < c->nin; i++)
		fast &= may_walk(c, &c->in[i]);
	if (!fast) {
		vq_single_ref(c, describe);
		return;
	}
	struct vq_ewise p = vq_single_program(describe, c->params);
	bool in_place = c->in[0].data == c->out[0].data && c->in[0].type->dtype == c->out[0].type->dtype;
	if (in_place && (p.instr[0].op == VQ_EW_COPY || (p.instr[0].op == VQ_EW_BF16 && c->in[0].type->dtype == VQ_BF16)))
		return;
	vq_ewise_broadcast(c->k, &p, c->in, c->out, c->threads);
}

int
vq_single_infer(struct vq_infer *q)
{
	for (int i = 0; i < q->nin; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "is %s, and a floating type is needed (cast converts)",
			    vq_dtype_name(q->in[i].dtype));
	if (vq_infer_same_dtype(q) < 0)
		return -1;
	q->out[0].dtype = q->in[0].dtype;
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}
