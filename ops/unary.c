/*
 * unary -- functions of one tensor, element by element
 *
 * Each is one instruction of ops/kernels/ewise.h, where its formula stands; here
 * are its name and its derivative.  Where the derivative can be had from the
 * result, it is, so that x need not be kept.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/single.h"

struct slope { double slope; };
struct alpha { double alpha; };
struct clamp { double low, high; };
struct affine { double scale, offset; };
struct power { double exponent; };

#define BIG 1e30

static const struct vq_param slope_params[] = {
	VQ_REAL(struct slope, slope, "0.01", -BIG, BIG, "factor of negative elements"),
	VQ_PARAMS_END
};
static const struct vq_param alpha_params[] = {
	VQ_REAL(struct alpha, alpha, "1", -BIG, BIG, "minus the limit for very negative elements"),
	VQ_PARAMS_END
};
static const struct vq_param clamp_params[] = {
	VQ_REAL(struct clamp, low, "-1e30", -BIG, BIG, "smallest result"),
	VQ_REAL(struct clamp, high, "1e30", -BIG, BIG, "largest result"),
	VQ_PARAMS_END
};
static const struct vq_param affine_params[] = {
	VQ_REAL(struct affine, scale, "1", -BIG, BIG, "factor"),
	VQ_REAL(struct affine, offset, "0", -BIG, BIG, "what is added after that"),
	VQ_PARAMS_END
};
static const struct vq_param power_params[] = {
	VQ_REAL(struct power, exponent, NULL, -BIG, BIG, "exponent"),
	VQ_PARAMS_END
};

/* --- instructions -------------------------------------------------------- */

#define DESCRIBE(fn, code) \
	static bool describe_##fn(const void *params, struct vq_ewise_instr *n) { n->op = code; return true; }
#define KERNELS(fn) \
	static void run_##fn(const struct vq_call *c) { vq_single_run(c, describe_##fn); } \
	static void ref_##fn(const struct vq_call *c) { vq_single_ref(c, describe_##fn); }
#define PLAIN(fn, code) DESCRIBE(fn, code) KERNELS(fn)

PLAIN(copy, VQ_EW_COPY)
PLAIN(neg, VQ_EW_NEG)
PLAIN(abs, VQ_EW_ABS)
PLAIN(sign, VQ_EW_SIGN)
PLAIN(square, VQ_EW_SQUARE)
PLAIN(sqrt, VQ_EW_SQRT)
PLAIN(rsqrt, VQ_EW_RSQRT)
PLAIN(reciprocal, VQ_EW_RECIPROCAL)
PLAIN(exp, VQ_EW_EXP)
PLAIN(log, VQ_EW_LOG)
PLAIN(sin, VQ_EW_SIN)
PLAIN(cos, VQ_EW_COS)
PLAIN(tanh, VQ_EW_TANH)
PLAIN(sigmoid, VQ_EW_SIGMOID)
PLAIN(erf, VQ_EW_ERF)
PLAIN(floor, VQ_EW_FLOOR)
PLAIN(round, VQ_EW_ROUND)
PLAIN(round_bf16, VQ_EW_BF16)
PLAIN(relu, VQ_EW_RELU)
PLAIN(softplus, VQ_EW_SOFTPLUS)
PLAIN(silu, VQ_EW_SILU)
PLAIN(gelu, VQ_EW_GELU)
PLAIN(gelu_tanh, VQ_EW_GELU_TANH)

static bool
describe_leaky_relu(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_LEAKY_RELU, .p = (float)((const struct slope *)params)->slope };
	return true;
}

static bool
describe_elu(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_ELU, .p = (float)((const struct alpha *)params)->alpha };
	return true;
}

static bool
describe_clamp(const void *params, struct vq_ewise_instr *n)
{
	const struct clamp *p = params;

	*n = (struct vq_ewise_instr){ .op = VQ_EW_CLAMP, .p = (float)p->low, .q = (float)p->high };
	return true;
}

static bool
describe_affine(const void *params, struct vq_ewise_instr *n)
{
	const struct affine *p = params;

	*n = (struct vq_ewise_instr){ .op = VQ_EW_AFFINE, .p = (float)p->scale, .q = (float)p->offset };
	return true;
}

static bool
describe_power(const void *params, struct vq_ewise_instr *n)
{
	*n = (struct vq_ewise_instr){ .op = VQ_EW_POWC, .p = (float)((const struct power *)params)->exponent };
	return true;
}

KERNELS(leaky_relu)
KERNELS(elu)
KERNELS(clamp)
KERNELS(affine)
KERNELS(power)

/* --- derivatives --------------------------------------------------------- */

/* s * a + t */
static vq_id
affine(struct vq_graph *g, vq_id a, double s, double t)
{
	return VQ_EMIT1(g, "affine", a, "scale=%.17g offset=%.17g", s, t);
}

/* The gradient that arrives, times f. */
static void
chain(struct vq_grad *d, vq_id f)
{
	d->din[0] = vq_mul(d->to, d->dout[0], f);
}

static void grad_copy(struct vq_grad *d) { d->din[0] = d->dout[0]; }
static void grad_neg(struct vq_grad *d) { d->din[0] = vq_neg(d->to, d->dout[0]); }
static void grad_zero(struct vq_grad *d) { d->din[0] = VQ_NONE; }
static void grad_abs(struct vq_grad *d) { chain(d, vq_unary(d->to, "sign", d->in[0])); }
static void grad_square(struct vq_grad *d) { chain(d, vq_scale(d->to, d->in[0], 2)); }
static void grad_exp(struct vq_grad *d) { chain(d, d->out); }
static void grad_log(struct vq_grad *d) { d->din[0] = vq_div(d->to, d->dout[0], d->in[0]); }
static void grad_sin(struct vq_grad *d) { chain(d, vq_unary(d->to, "cos", d->in[0])); }
static void grad_cos(struct vq_grad *d) { chain(d, vq_neg(d->to, vq_unary(d->to, "sin", d->in[0]))); }
static void grad_softplus(struct vq_grad *d) { chain(d, vq_unary(d->to, "sigmoid", d->in[0])); }

static void
grad_sqrt(struct vq_grad *d)
{
	d->din[0] = vq_div(d->to, vq_scale(d->to, d->dout[0], 0.5), d->out);
}

/* -1/2 y^3 */
static void
grad_rsqrt(struct vq_grad *d)
{
	vq_id y = d->out;

	chain(d, vq_scale(d->to, vq_mul(d->to, vq_unary(d->to, "square", y), y), -0.5));
}

static void
grad_reciprocal(struct vq_grad *d)
{
	chain(d, vq_neg(d->to, vq_unary(d->to, "square", d->out)));
}

static void
grad_tanh(struct vq_grad *d)
{
	chain(d, affine(d->to, vq_unary(d->to, "square", d->out), -1, 1));
}

static void
grad_sigmoid(struct vq_grad *d)
{
	chain(d, vq_mul(d->to, d->out, affine(d->to, d->out, -1, 1)));
}

static void
grad_erf(struct vq_grad *d)
{
	vq_id e = vq_unary(d->to, "exp", vq_neg(d->to, vq_unary(d->to, "square", d->in[0])));

	chain(d, vq_scale(d->to, e, 2 / sqrt(M_PI)));
}

static void
grad_relu(struct vq_grad *d)
{
	d->din[0] = VQ_EMIT2(d->to, "gate", d->dout[0], d->out, " ");
}

static void
grad_leaky_relu(struct vq_grad *d)
{
	const struct slope *p = d->params;

	/* With a negative slope the sign of the result does not tell that of x. */
	d->din[0] = VQ_EMIT2(d->to, "leaky_gate", d->dout[0], p->slope >= 0 ? d->out : d->in[0],
	    "slope=%.17g", p->slope);
}

/* 1 above zero, y + alpha below. */
static void
grad_elu(struct vq_grad *d)
{
	const struct alpha *p = d->params;
	struct vq_graph *g = d->to;

	if (p->alpha >= 0) {		/* the sign of the result tells that of x */
		d->din[0] = VQ_EMIT2(g, "elu_gate", d->dout[0], d->out, "alpha=%.17g", p->alpha);
		return;
	}
	vq_id above = VQ_EMIT2(g, "greater", d->in[0], vq_scalar_like(g, d->in[0], 0), " ");
	vq_id below = vq_mul(g, d->dout[0], vq_offset(g, d->out, p->alpha));

	d->din[0] = VQ_EMIT3(g, "where", above, d->dout[0], below, " ");
}

/* With s the sigmoid: s (1 + x (1 - s)). */
static void
grad_silu(struct vq_grad *d)
{
	struct vq_graph *g = d->to;
	vq_id s = vq_unary(g, "sigmoid", d->in[0]);
	vq_id t = vq_offset(g, vq_mul(g, d->in[0], affine(g, s, -1, 1)), 1);

	chain(d, vq_mul(g, s, t));
}

static void
grad_gelu(struct vq_grad *d)
{
	d->din[0] = VQ_EMIT2(d->to, "gelu_gate", d->dout[0], d->in[0], " ");
}

/* y = x s with s = sigmoid(u), u = k x (1 + c x^2): s + x s (1 - s) du/dx. */
static void
grad_gelu_tanh(struct vq_grad *d)
{
	struct vq_graph *g = d->to;
	const double k = 2 * sqrt(2 / M_PI), c = 0.044715;
	vq_id x = d->in[0], xx = vq_unary(g, "square", x);
	vq_id s = vq_unary(g, "sigmoid", vq_mul(g, x, affine(g, xx, k * c, k)));
	vq_id du = vq_mul(g, x, affine(g, xx, 3 * k * c, k));
	vq_id t = vq_offset(g, vq_mul(g, du, affine(g, s, -1, 1)), 1);

	chain(d, vq_mul(g, s, t));
}

/* 1 between the bounds and on them. */
static void
grad_clamp(struct vq_grad *d)
{
	const struct clamp *p = d->params;
	struct vq_graph *g = d->to;
	vq_id x = d->in[0], zero = vq_scalar_like(g, x, 0);
	vq_id low = VQ_EMIT2(g, "greater_equal", x, vq_scalar_like(g, x, p->low), " ");
	vq_id high = VQ_EMIT2(g, "less_equal", x, vq_scalar_like(g, x, p->high), " ");

	d->din[0] = VQ_EMIT3(g, "where", high, VQ_EMIT3(g, "where", low, d->dout[0], zero, " "), zero, " ");
}

static void
grad_affine(struct vq_grad *d)
{
	d->din[0] = vq_scale(d->to, d->dout[0], ((const struct affine *)d->params)->scale);
}

static void
grad_power(struct vq_grad *d)
{
	double e = ((const struct power *)d->params)->exponent;

	if (e != 0)
		chain(d, vq_scale(d->to, VQ_EMIT1(d->to, "power", d->in[0], "exponent=%.17g", e - 1), e));
}

/* --- the family ---------------------------------------------------------- */

static int
infer_clamp(struct vq_infer *q)
{
	const struct clamp *p = q->params;

	if (p->low > p->high)
		return vq_infer_error(q, VQ_NONE, "low %g is above high %g", p->low, p->high);
	return vq_single_infer(q);
}

static const struct vq_example any[] = {
	{ "x=f32[2,3]" },
	{ "x=f32(-3,3)" },
	{ "x=f32[7,37](-4,4)" },
	{ "x=f32[1048576]" },
	{ "x=i32[2](0,5)", .fails = "is i32, and a floating type is needed (cast converts)" },
	{ 0 }
};
static const struct vq_example bf16s[] = {
	{ "x=f32[2,3]", .no_gradient = true },
	{ "x=f32[1048576]", .no_gradient = true },
	{ 0 }
};
static const struct vq_example positive[] = {
	{ "x=f32[2,3](0.5,2)" },
	{ "x=f32[1048576](0.5,2)" },
	{ 0 }
};
static const struct vq_example leaky[] = {
	{ "x=f32[2,3]", "slope=0.2" },
	{ "x=f32[3]", "slope=-0.5" },
	{ 0 }
};
static const struct vq_example alphas[] = {
	{ "x=f32[2,3](-3,3)" },
	{ "x=f32[2,30](-3,3)", "alpha=0.5" },
	{ 0 }
};
static const struct vq_example bounds[] = {
	{ "x=f32[2,3]", "low=-0.5 high=0.25" },
	{ "x=f32[20]", "low=0" },
	{ "x=f32[2]", "low=1 high=-1", .fails = "low 1 is above high -1" },
	{ 0 }
};
static const struct vq_example affines[] = {
	{ "x=f32[2,3]", "scale=2 offset=-1" },
	{ "x=f32[4]" },
	{ 0 }
};
static const struct vq_example powers[] = {
	{ "x=f32[2,3]", "exponent=2" },
	{ "x=f32[2,3]", "exponent=3" },
	{ "x=f32[2,3](0.5,2)", "exponent=-1.5" },
	{ "x=f32[2,3](0.5,2)", "exponent=0.5" },
	{ "x=f32[2,3](0.5,2)", "exponent=-0.5" },
	{ "x=f32[2,3](0.5,2)", "exponent=-1" },
	{ "x=f32[2,3](0.5,2)", "exponent=0" },
	{ 0 }
};

#define ALSO(...) .also = (const char *const[]){ __VA_ARGS__, NULL }
#define ROW(fn, d_fn, ex, text, ...) CHECKED_ROW(fn, vq_single_infer, d_fn, ex, text, __VA_ARGS__)
#define CHECKED_ROW(fn, infer_fn, d_fn, ex, text, ...) { \
	.name = #fn, .doc = text, .in = { "x" }, .out = { "y" }, .flags = VQ_OP_ELEMENTWISE, \
	.infer = infer_fn, .grad = d_fn, .run = run_##fn, .ref = ref_##fn, .half = vq_single_half, \
	.ewise = describe_##fn, .inplace = "0:0", .examples = ex, __VA_ARGS__ }
#define WITH(st, table) .params = table, .size = sizeof(st)

extern const struct vq_op vq_ops_unary[];
const struct vq_op vq_ops_unary[] = {
	ROW(copy, grad_copy, any, "x", ALSO("identity", "clone")),
	ROW(neg, grad_neg, any, "-x", ALSO("negative", "negate", "minus")),
	ROW(abs, grad_abs, any, "absolute value; its derivative at 0 is 0", ALSO("absolute")),
	ROW(sign, grad_zero, any, "-1, 0 or 1; no gradient passes", ALSO("sgn")),
	ROW(square, grad_square, any, "x times x", ALSO("sqr", "pow2")),
	ROW(sqrt, grad_sqrt, positive, "square root"),
	ROW(rsqrt, grad_rsqrt, positive, "1 / sqrt(x)", ALSO("inv_sqrt", "inverse_sqrt")),
	ROW(reciprocal, grad_reciprocal, positive, "1 / x", ALSO("inverse", "inv", "recip")),
	ROW(exp, grad_exp, any, "e to the x"),
	ROW(log, grad_log, positive, "natural logarithm", ALSO("ln")),
	ROW(sin, grad_sin, any, "sine, of radians"),
	ROW(cos, grad_cos, any, "cosine, of radians"),
	ROW(tanh, grad_tanh, any, "hyperbolic tangent"),
	ROW(sigmoid, grad_sigmoid, any, "1 / (1 + exp(-x))", ALSO("logistic", "expit")),
	ROW(erf, grad_erf, any, "error function"),
	ROW(floor, grad_zero, any, "largest integer not above x; no gradient passes"),
	ROW(round, grad_zero, any, "nearest integer, halves to even; no gradient passes", ALSO("rint")),
	ROW(round_bf16, grad_copy, bf16s, "nearest number of bf16, halves to even; the gradient passes"),
	ROW(relu, grad_relu, any, "x where positive, else 0", ALSO("rectify", "rectifier")),
	ROW(leaky_relu, grad_leaky_relu, leaky, "x where positive, else slope times x",
	    WITH(struct slope, slope_params), ALSO("lrelu", "leakyrelu")),
	ROW(elu, grad_elu, alphas, "x where positive, else alpha times exp(x) - 1",
	    WITH(struct alpha, alpha_params)),
	ROW(softplus, grad_softplus, any, "log(1 + exp(x))"),
	ROW(silu, grad_silu, any, "x times sigmoid(x) (Elfwing et al. 2018)", ALSO("swish")),
	ROW(gelu, grad_gelu, any, "x times the normal distribution's Phi(x) (Hendrycks, Gimpel 2016)",
	    ALSO("gelu_erf")),
	ROW(gelu_tanh, grad_gelu_tanh, any, "gelu as approximated through tanh, as GPT-2 has it",
	    ALSO("gelu_new", "gelu_approx", "gelu_fast")),
	CHECKED_ROW(clamp, infer_clamp, grad_clamp, bounds, "x, but not below low nor above high",
	    WITH(struct clamp, clamp_params), ALSO("clip")),
	ROW(affine, grad_affine, affines, "scale times x plus offset",
	    WITH(struct affine, affine_params), ALSO("scale", "scale_shift", "linear_map")),
	ROW(power, grad_power, powers, "x to a fixed exponent", WITH(struct power, power_params)),
	{ 0 }
};
