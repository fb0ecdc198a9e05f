/*
 * binary -- functions of two (or three) tensors, element by element, shapes
 * broadcasting as numpy has it
 *
 * Each is one instruction of ops/kernels/ewise.h, where its formula stands; here
 * are its name and its derivatives.  The gradient pass undoes the broadcasting.
 * Comparisons and logic are in compare.c.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/single.h"

struct axpy { double a; };
struct leaky { double slope; };
struct elu { double alpha; };

static const struct vq_param axpy_params[] = {
	VQ_REAL(struct axpy, a, "1", -1e30, 1e30, "factor of x"),
	VQ_PARAMS_END
};
static const struct vq_param leaky_params[] = {
	VQ_REAL(struct leaky, slope, "0.01", -1e30, 1e30, "factor where b is not positive"),
	VQ_PARAMS_END
};
static const struct vq_param elu_params[] = {
	VQ_REAL(struct elu, alpha, "1", -1e30, 1e30, "added to b where it is not positive"),
	VQ_PARAMS_END
};

/* --- instructions -------------------------------------------------------- */

#define DESCRIBE(fn, code) \
	static bool describe_##fn(const void *params, struct vq_ewise_instr *n) { n->op = code; return true; }
#define KERNELS(fn) \
	static void run_##fn(const struct vq_call *c) { vq_single_run(c, describe_##fn); } \
	static void ref_##fn(const struct vq_call *c) { vq_single_ref(c, describe_##fn); }
#define PLAIN(fn, code) DESCRIBE(fn, code) KERNELS(fn)

PLAIN(add, VQ_EW_ADD)
PLAIN(sub, VQ_EW_SUB)
PLAIN(mul, VQ_EW_MUL)
PLAIN(div, VQ_EW_DIV)
PLAIN(maximum, VQ_EW_MAX)
PLAIN(minimum, VQ_EW_MIN)
PLAIN(pow, VQ_EW_POW)
PLAIN(gate, VQ_EW_GATE)
PLAIN(gelu_gate, VQ_EW_GELU_GATE)
PLAIN(fma, VQ_EW_FMA)

static bool
describe_axpy(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_AXPY, .p = (float)((const struct axpy *)params)->a };
	return true;
}

static bool
describe_leaky_gate(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_LEAKY_GATE, .p = (float)((const struct leaky *)params)->slope };
	return true;
}

static bool
describe_elu_gate(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_ELU_GATE, .p = (float)((const struct elu *)params)->alpha };
	return true;
}

KERNELS(axpy)
KERNELS(elu_gate)
KERNELS(leaky_gate)

/* Integers can be added, too: codes are moved past the start tokens so. */
static int
infer_numbers(struct vq_infer *q)
{
	for (int i = 0; i < q->nin; i++) {
		if (q->in[i].dtype == VQ_BOOL)
			return vq_infer_error(q, i, "is bool, and a number is needed (cast converts)");
		if (q->in[i].dtype != q->in[0].dtype)
			return vq_infer_error(q, i, "is %s where the other is %s (cast converts)",
			    vq_dtype_name(q->in[i].dtype), vq_dtype_name(q->in[0].dtype));
	}
	q->out[0].dtype = q->in[0].dtype;
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}

/* --- derivatives --------------------------------------------------------- */

enum { A, B, C };

static void
grad_add(struct vq_grad *d)
{
	d->din[A] = d->din[B] = d->dout[0];
}

static void
grad_sub(struct vq_grad *d)
{
	d->din[A] = d->dout[0];
	if (d->want[B])
		d->din[B] = vq_neg(d->to, d->dout[0]);
}

static void
grad_mul(struct vq_grad *d)
{
	if (d->want[A])
		d->din[A] = vq_mul(d->to, d->dout[0], d->in[B]);
	if (d->want[B])
		d->din[B] = vq_mul(d->to, d->dout[0], d->in[A]);
}

/* g / b  and  -(g / b) y */
static void
grad_div(struct vq_grad *d)
{
	vq_id q = vq_div(d->to, d->dout[0], d->in[B]);

	d->din[A] = q;
	if (d->want[B])
		d->din[B] = vq_neg(d->to, vq_mul(d->to, q, d->out));
}

/* The operand that was taken gets it; a, where they are equal. */
static void
grad_choice(struct vq_grad *d, const char *a_taken)
{
	struct vq_graph *g = d->to;
	vq_id mask = VQ_EMIT2(g, a_taken, d->in[A], d->in[B], " ");
	vq_id zero = vq_scalar_like(g, d->dout[0], 0);

	if (d->want[A])
		d->din[A] = VQ_EMIT3(g, "where", mask, d->dout[0], zero, " ");
	if (d->want[B])
		d->din[B] = VQ_EMIT3(g, "where", mask, zero, d->dout[0], " ");
}

static void grad_maximum(struct vq_grad *d) { grad_choice(d, "greater_equal"); }
static void grad_minimum(struct vq_grad *d) { grad_choice(d, "less_equal"); }

/* b a^(b-1)  and  y log a */
static void
grad_pow(struct vq_grad *d)
{
	struct vq_graph *g = d->to;
	vq_id a = d->in[A], b = d->in[B];

	if (d->want[A])
		d->din[A] = vq_mul(g, d->dout[0],
		    vq_mul(g, b, VQ_EMIT2(g, "pow", a, vq_offset(g, b, -1), " ")));
	if (d->want[B])
		d->din[B] = vq_mul(g, d->dout[0], vq_mul(g, d->out, vq_unary(g, "log", a)));
}

static void
grad_axpy(struct vq_grad *d)
{
	if (d->want[A])
		d->din[A] = vq_scale(d->to, d->dout[0], ((const struct axpy *)d->params)->a);
	d->din[B] = d->dout[0];
}

static void
grad_gate(struct vq_grad *d)
{
	if (d->want[A])
		d->din[A] = VQ_EMIT2(d->to, "gate", d->dout[0], d->in[B], " ");
}

/* The second derivative of gelu is phi(b) (2 - b^2). */
static void
grad_gelu_gate(struct vq_grad *d)
{
	struct vq_graph *g = d->to;

	if (d->want[A])
		d->din[A] = VQ_EMIT2(g, "gelu_gate", d->dout[0], d->in[B], " ");
	if (!d->want[B])
		return;
	vq_id bb = vq_unary(g, "square", d->in[B]);
	vq_id pdf = vq_scale(g, vq_unary(g, "exp", vq_scale(g, bb, -0.5)), 1 / sqrt(2 * M_PI));
	vq_id second = vq_mul(g, pdf, vq_offset(g, vq_neg(g, bb), 2));
	d->din[B] = vq_mul(g, d->dout[0], vq_mul(g, d->in[A], second));
}

static void
grad_leaky_gate(struct vq_grad *d)
{
	if (d->want[A])
		d->din[A] = VQ_EMIT2(d->to, "leaky_gate", d->dout[0], d->in[B], "slope=%.17g",
		    ((const struct leaky *)d->params)->slope);
}

/* By b it is a below zero, 0 above. */
static void
grad_elu_gate(struct vq_grad *d)
{
	struct vq_graph *g = d->to;

	if (d->want[A])
		d->din[A] = VQ_EMIT2(g, "elu_gate", d->dout[0], d->in[B], "alpha=%.17g",
		    ((const struct elu *)d->params)->alpha);
	if (d->want[B]) {
		vq_id da = vq_mul(g, d->dout[0], d->in[A]);
		d->din[B] = vq_sub(g, da, VQ_EMIT2(g, "gate", da, d->in[B], " "));
	}
}

static void
grad_fma(struct vq_grad *d)
{
	grad_mul(d);
	d->din[C] = d->dout[0];
}

/* --- the family ---------------------------------------------------------- */

#define MISFIT { "a=f32[2,3] b=f32[4]", .fails = "shapes cannot be broadcast together" }

static const struct vq_example numbers[] = {
	{ "a=f32[2,3] b=f32[2,3]" },
	{ "a=f32[2,3] b=f32" },
	{ "a=f32[3] b=f32[2,3]" },
	{ "a=f32[2,3] b=f32[2,1]" },
	{ "a=f32[2,1] b=f32[1,3]" },
	{ "a=f32[2,1,3] b=f32[4,1]" },
	{ "a=f32[700,33] b=f32[33]" },
	{ "a=f32[33,700] b=f32[33,1]" },
	{ "a=f32[5,1,40,30] b=f32[5,40,40,1]" },
	{ "a=f32[512,2048] b=f32[512,2048]" },
	{ "a=f32[32768,32] b=f32[32]" },
	{ "a=i32[4](0,9) b=i32(0,9)" },
	{ "a=f32[2] b=i32[2](0,9)", .fails = "is i32 where the other is f32 (cast converts)" },
	MISFIT,
	{ 0 }
};
static const struct vq_example quotients[] = {
	{ "a=f32[2,3] b=f32[2,3](0.5,2)" },
	{ "a=f32[2,3] b=f32[2,1](0.5,2)" },
	{ "a=f32[512,2048] b=f32[512,2048](0.5,2)" },
	MISFIT,
	{ 0 }
};
static const struct vq_example positive[] = {
	{ "a=f32[2,3](0.5,2) b=f32[2,3]" },
	{ "a=f32[2,3](0.5,2) b=f32" },
	MISFIT,
	{ 0 }
};
static const struct vq_example axpys[] = {
	{ "x=f32[2,3] y=f32[2,3]", "a=0.25" },
	{ "x=f32[2,3] y=f32[3]", "a=-2" },
	{ "x=f32[2] y=f32[3]", .fails = "shapes cannot be broadcast together" },
	{ 0 }
};
static const struct vq_example gates[] = {
	{ "a=f32[2,3] b=f32[2,3]" },
	{ "a=f32[2,3] b=f32[3]" },
	{ "a=f32[512,2048] b=f32[512,2048]" },
	MISFIT,
	{ 0 }
};
static const struct vq_example triples[] = {
	{ "a=f32[2,3] b=f32[2,3] c=f32[2,3]" },
	{ "a=f32[2,3] b=f32[3] c=f32" },
	{ "a=f32[2,3] b=f32[3] c=f32[2,2]", .fails = "shapes cannot be broadcast together" },
	{ 0 }
};

#define ALSO(...) .also = (const char *const[]){ __VA_ARGS__, NULL }
#define ROW(fn, fits, d_fn, ports, ex, text, ...) { \
	.name = #fn, .doc = text, ports, .out = { "y" }, .flags = VQ_OP_ELEMENTWISE, \
	.infer = fits, .grad = d_fn, .run = run_##fn, .ref = ref_##fn, .half = vq_single_half, \
	.ewise = describe_##fn, .inplace = "0:0 0:1", .examples = ex, __VA_ARGS__ }
#define AB .in = { "a", "b" }
#define ABC .in = { "a", "b", "c" }
#define XY .in = { "x", "y" }
#define WITH(st, table) .params = table, .size = sizeof(st)

extern const struct vq_op vq_ops_binary[];
const struct vq_op vq_ops_binary[] = {
	ROW(add, infer_numbers, grad_add, AB, numbers, "a + b", ALSO("plus", "sum_of")),
	ROW(sub, infer_numbers, grad_sub, AB, numbers, "a - b", ALSO("subtract", "minus_b")),
	ROW(mul, infer_numbers, grad_mul, AB, numbers, "a times b", ALSO("multiply", "times", "product")),
	ROW(div, vq_single_infer, grad_div, AB, quotients, "a / b", ALSO("divide", "over")),
	ROW(maximum, infer_numbers, grad_maximum, AB, numbers, "the larger of a and b", ALSO("max_of")),
	ROW(minimum, infer_numbers, grad_minimum, AB, numbers, "the smaller of a and b", ALSO("min_of")),
	ROW(pow, vq_single_infer, grad_pow, AB, positive, "a to the b", ALSO("raise")),
	ROW(axpy, vq_single_infer, grad_axpy, XY, axpys, "a times x plus y, a being a number",
	    WITH(struct axpy, axpy_params), ALSO("add_scaled")),
	ROW(gate, vq_single_infer, grad_gate, AB, gates, "a where b is positive, else 0; no gradient for b"),
	ROW(leaky_gate, vq_single_infer, grad_leaky_gate, AB, gates,
	    "a where b is positive, else slope times a; no gradient for b",
	    WITH(struct leaky, leaky_params)),
	ROW(elu_gate, vq_single_infer, grad_elu_gate, AB, gates,
	    "a where b is positive, else a times (b + alpha): with b = elu(x) the gradient of elu", WITH(struct elu, elu_params)),
	ROW(gelu_gate, vq_single_infer, grad_gelu_gate, AB, gates, "a times the derivative of gelu at b"),
	ROW(fma, vq_single_infer, grad_fma, ABC, triples, "a times b plus c", ALSO("multiply_add", "addcmul")),
	{ 0 }
};
