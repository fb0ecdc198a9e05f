/*
 * attention, attention_dropout -- scaled dot products of queries and keys weigh
 * values (Vaswani et al. 2017)
 *
 *   q [n, t, c]   k [n, s, c]   v [n, s, e]
 *   y    [n, t, e]
 *   lse  [n, heads, t]: logsumexp of each query's scores, which the backward uses
 *
 * Head h is the h-th part of the last axes.  In it, with d = c / heads:
 *
 *   score[i, j] = scale q[i] . k[j]       scale = 1 / sqrt(d) where it is given as 0
 *   y[i]        = sum over j of softmax(score[i])[j] v[j]
 *
 * causal: query i sees keys 0 .. i + s - t only, the last query all of them.
 * With dropout, weights are set to zero after the softmax as `dropout` does, by
 * position in [n, heads, s, t].
 *
 * With precision bf16 all operands of both are rounded to it when they are read, as those of a
 * product are.  Where the processor multiplies pairs of bf16, so are the weights and the gradients of
 * scores, which are operands of products themselves; sums and the softmax are f32 everywhere.
 *
 * The n x heads x t x s weights are never stored: forward and backward make them
 * again, tile by tile (Dao et al. 2022; ops/kernels/attention.h).
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/attention.h"
#include "ops/kernels/kernels.h"

struct attention {
	int64_t heads;
	double scale;
	bool causal;
	int precision;
	double p;		/* 0 where the op has no such parameter */
};

#define HEADS VQ_INT(struct attention, heads, "1", 1, 1 << 20, "parts of the channels that attend apart")
#define CAUSAL VQ_BOOLEAN(struct attention, causal, "false", "no query sees a key after it")
#define SCALE VQ_REAL(struct attention, scale, "0", 0, 1e12, "factor of the products; 0: one over the root of a head's width")

static const struct vq_param params[] = { HEADS, CAUSAL, SCALE, VQ_PRECISION(struct attention), VQ_PARAMS_END };
static const struct vq_param dropout_params[] = {
	HEADS, CAUSAL, SCALE, VQ_PRECISION(struct attention),
	VQ_REAL(struct attention, p, "0.1", 0, 1, "probability that a weight is set to zero"),
	VQ_PARAMS_END
};

enum { Q, K, V, Y, LSE, G };

/* --- types ---------------------------------------------------------------- */

static int
check_axes(struct vq_infer *q)
{
	static const char *const axes[] = { "channels", "channels", "values" };

	for (int i = Q; i <= V; i++) {
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
		if (q->in[i].shape.rank != 3)
			return vq_infer_error(q, i, "must have three axes: batch, positions, %s", axes[i]);
		if (q->in[i].shape.dim[0] != q->in[Q].shape.dim[0])
			return vq_infer_error(q, i, "has a batch of %lld where q has %lld",
			    (long long)q->in[i].shape.dim[0], (long long)q->in[Q].shape.dim[0]);
	}
	return 0;
}

static int
check(struct vq_infer *q)
{
	const struct attention *p = q->params;
	const int64_t *a = q->in[Q].shape.dim, *b = q->in[K].shape.dim, *c = q->in[V].shape.dim;

	if (check_axes(q) < 0)
		return -1;
	if (b[2] != a[2])
		return vq_infer_error(q, K, "has %lld channels where q has %lld", (long long)b[2], (long long)a[2]);
	if (c[1] != b[1])
		return vq_infer_error(q, V, "has %lld positions where k has %lld", (long long)c[1], (long long)b[1]);
	if (a[2] == 0 || a[2] % p->heads)
		return vq_infer_error(q, Q, "has %lld channels, which %lld heads do not divide",
		    (long long)a[2], (long long)p->heads);
	if (c[2] == 0 || c[2] % p->heads)
		return vq_infer_error(q, V, "has %lld channels, which %lld heads do not divide",
		    (long long)c[2], (long long)p->heads);
	if (b[1] == 0)
		return vq_infer_error(q, K, "has no positions to attend to");
	if (p->causal && b[1] < a[1])
		return vq_infer_error(q, K, "has %lld positions for %lld causal queries: the first would see none",
		    (long long)b[1], (long long)a[1]);
	return vq_infer_same_dtype(q);
}

static struct vq_shape
lse_shape(const struct vq_infer *q)
{
	const int64_t *a = q->in[Q].shape.dim;

	return vq_shape_of(3, (const int64_t[]){ a[0], ((const struct attention *)q->params)->heads, a[1] });
}

static int
infer(struct vq_infer *q)
{
	if (check(q) < 0)
		return -1;
	q->out[0].shape.dim[2] = q->in[V].shape.dim[2];
	q->out[1].shape = lse_shape(q);
	return 0;
}

static int
infer_grad(struct vq_infer *q)
{
	if (check(q) < 0)
		return -1;
	struct vq_shape y = q->in[Q].shape, lse = lse_shape(q);
	y.dim[2] = q->in[V].shape.dim[2];
	for (int i = Y; i <= G; i++)
		if (!vq_shape_equal(&q->in[i].shape, i == LSE ? &lse : &y))
			return vq_infer_error(q, i, "must have the shape of %s", i == LSE ? "lse" : "y");
	for (int i = Q; i <= V; i++)
		q->out[i].shape = q->in[i].shape;
	return 0;
}

/* --- compositions --------------------------------------------------------- */

static double
scale_of(const struct attention *p, int64_t channels)
{
	return p->scale > 0 ? p->scale : 1 / sqrt((double)(channels / p->heads));
}

/* [n, t, c] as [n, heads, t, c / heads], and back. */
static vq_id
split(struct vq_graph *t, const struct attention *p, vq_id x)
{
	const int64_t *d = vq_type_at(t, x)->shape.dim;
	struct vq_shape s = { 4, { d[0], d[1], p->heads, d[2] / p->heads } };

	return VQ_EMIT1(t, "transpose", vq_reshape(t, x, &s), "axes=[0,2,1,3]");
}

static vq_id
join(struct vq_graph *t, vq_id x)
{
	const int64_t *d = vq_type_at(t, x)->shape.dim;
	struct vq_shape s = { 3, { d[0], d[2], d[1] * d[3] } };

	return vq_reshape(t, VQ_EMIT1(t, "transpose", x, "axes=[0,2,1,3]"), &s);
}

/* [n, heads, t] as [n, heads, 1, t]. */
static vq_id
per_query(struct vq_graph *t, vq_id x)
{
	const int64_t *d = vq_type_at(t, x)->shape.dim;

	return vq_reshape(t, x, &(struct vq_shape){ 4, { d[0], d[1], 1, d[2] } });
}

/* Where key j (rows) is not after query i (columns), counted from the end. */
static vq_id
visible(struct vq_graph *t, vq_id q, vq_id k)
{
	enum vq_dtype type = vq_type_at(t, q)->dtype;
	int64_t queries = vq_type_at(t, q)->shape.dim[1], keys = vq_type_at(t, k)->shape.dim[1];
	vq_id i = vq_cast(t, VQ_EMIT1(t, "positions", q, " "), type);
	vq_id j = vq_cast(t, VQ_EMIT1(t, "positions", k, " "), type);

	j = vq_reshape(t, j, &(struct vq_shape){ 2, { keys, 1 } });
	return VQ_EMIT2(t, "less_equal", j, vq_offset(t, i, (double)(keys - queries)), " ");
}

/* [n, heads, s, t]; -inf where a query does not see. */
static vq_id
scores(struct vq_graph *t, const struct attention *p, vq_id q, vq_id k)
{
	vq_id x = vq_matmul(t, split(t, p, k), split(t, p, q), false, true);

	x = vq_scale(t, x, scale_of(p, vq_type_at(t, q)->shape.dim[2]));
	if (!p->causal)
		return x;
	return VQ_EMIT3(t, "where", visible(t, q, k), x, vq_scalar_like(t, x, -INFINITY), " ");
}

static bool
is_rounded(const struct attention *p)
{
	return p->precision == VQ_PRECISION_BF16;
}

/* An operand as the op reads it. */
static vq_id
operand(struct vq_graph *t, const struct attention *p, vq_id x)
{
	return is_rounded(p) ? vq_unary(t, "round_bf16", x) : x;
}

static vq_id
drop(struct vq_graph *t, const struct attention *p, vq_id x, uint64_t key)
{
	if (p->p == 0)
		return x;
	x = VQ_EMIT1(t, "dropout", x, "p=%.17g", p->p);
	vq_graph_set_key(t, x, key);
	return x;
}

static void
compose(struct vq_compose *c)
{
	const struct attention *p = c->params;
	struct vq_graph *t = c->to;
	vq_id x = scores(t, p, operand(t, p, c->in[Q]), operand(t, p, c->in[K]));
	vq_id w = drop(t, p, VQ_EMIT1(t, "softmax", x, "axis=2"), c->key);

	c->out[0] = join(t, vq_matmul(t, w, split(t, p, operand(t, p, c->in[V])), true, false));
	c->out[1] = VQ_EMIT1(t, "logsumexp", x, "axis=2");
}

/* exp(score - lse): the weights, from what the forward left. */
static vq_id
weights(struct vq_graph *t, const struct attention *p, const vq_id *in, vq_id lse)
{
	return vq_unary(t, "exp", vq_sub(t, scores(t, p, in[Q], in[K]), per_query(t, lse)));
}

/* sum over a head's channels of g y, as [n, heads, 1, t]. */
static vq_id
along(struct vq_graph *t, const struct attention *p, vq_id g, vq_id y)
{
	return per_query(t, vq_sum(t, vq_mul(t, split(t, p, g), split(t, p, y)), 1u << 3, false));
}

/*
 * With w the weights, m the dropout's mask over 1 - p, a = m (v g'):
 *   dv = (m w) g     ds = scale w (a - sum(g y))     dq = ds' k     dk = ds q
 */
static void
compose_grad(struct vq_compose *c)
{
	const struct attention *p = c->params;
	struct vq_graph *t = c->to;
	vq_id in[] = { [Q] = operand(t, p, c->in[Q]), [K] = operand(t, p, c->in[K]), [V] = operand(t, p, c->in[V]),
	    [Y] = operand(t, p, c->in[Y]), [LSE] = c->in[LSE], [G] = operand(t, p, c->in[G]) };
	vq_id q = in[Q], k = in[K], w = weights(t, p, in, in[LSE]), g = split(t, p, in[G]);
	vq_id a = drop(t, p, vq_matmul(t, split(t, p, in[V]), g, false, true), c->key);
	vq_id ds = vq_mul(t, w, vq_sub(t, a, along(t, p, in[G], in[Y])));

	ds = vq_scale(t, ds, scale_of(p, vq_type_at(t, q)->shape.dim[2]));
	c->out[Q] = join(t, vq_matmul(t, ds, split(t, p, k), true, false));
	c->out[K] = join(t, vq_matmul(t, ds, split(t, p, q), false, false));
	c->out[V] = join(t, vq_matmul(t, drop(t, p, w, c->key), g, false, false));
}

/* --- gradients ------------------------------------------------------------ */

/* What reaches the logsumexp goes to each score by its weight: ds = scale w g. */
static void
grad_lse(struct vq_grad *d)
{
	const struct attention *p = d->params;
	struct vq_graph *t = d->to;
	vq_id ds = vq_mul(t, weights(t, p, d->in, d->out + 1), per_query(t, d->dout[1]));
	vq_id part[2];

	ds = vq_scale(t, ds, scale_of(p, vq_type_at(t, d->in[Q])->shape.dim[2]));
	part[Q] = join(t, vq_matmul(t, ds, split(t, p, d->in[K]), true, false));
	part[K] = join(t, vq_matmul(t, ds, split(t, p, d->in[Q]), false, false));
	for (int i = Q; i <= K; i++)
		d->din[i] = d->din[i] == VQ_NONE ? part[i] : vq_add(t, d->din[i], part[i]);
}

static void
grad(struct vq_grad *d)
{
	const struct attention *p = d->params;
	bool random = d->op->flags & VQ_OP_RANDOM;
	struct vq_graph *t = d->to;
	vq_id first;

	if (d->dout[0] != VQ_NONE) {
		first = vq_emit(t, random ? "attention_dropout_grad" : "attention_grad",
		    (const vq_id[]){ d->in[Q], d->in[K], d->in[V], d->out, d->out + 1, d->dout[0] }, 6,
		    random ? "heads=%lld causal=%s scale=%.17g precision=%s p=%.17g" : "heads=%lld causal=%s scale=%.17g precision=%s",
		    (long long)p->heads, p->causal ? "true" : "false", p->scale, vq_precision_names[p->precision], p->p);
		if (random)
			vq_graph_set_key(t, first, d->key);
		for (int i = Q; i <= V; i++)
			d->din[i] = first + i;
	}
	if (d->dout[1] != VQ_NONE)
		grad_lse(d);
}

/* --- kernels -------------------------------------------------------------- */

static struct vq_attention
shape_of(const struct attention *p, const struct vq_shape *q, const struct vq_shape *v)
{
	return (struct vq_attention){ .n = q->dim[0], .heads = p->heads, .t = q->dim[1], .s = v->dim[1],
	    .d = q->dim[2] / p->heads, .e = v->dim[2] / p->heads, .scale = (float)scale_of(p, q->dim[2]),
	    .causal = p->causal, .drop = (uint32_t)(p->p * 65536 + 0.5), .keep = p->p < 1 ? (float)(1 / (1 - p->p)) : 0 };
}

static struct vq_attention_in
in_of(const struct vq_call *c, int port)
{
	bool half = c->in[port].type->dtype == VQ_BF16;

	return (struct vq_attention_in){ c->in[port].data,
	    half ? VQ_ATTENTION_HALF : is_rounded(c->params) ? VQ_ATTENTION_ROUNDED : VQ_ATTENTION_PLAIN };
}

/* Operands that are rounded may be so in memory, and the result, which readers round. */
static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	if (out)
		return port == 0 ? VQ_HALF_AS_IS : VQ_HALF_NOT;
	return is_rounded(c->params) && port != LSE ? VQ_HALF_ROUNDED : VQ_HALF_NOT;
}

static enum vq_half
half_grad(const struct vq_cost *c, int port, bool out)
{
	return out ? VQ_HALF_NOT : half(c, port, out);
}

static void
run(const struct vq_call *c)
{
	struct vq_attention a = shape_of(c->params, &c->in[Q].type->shape, &c->in[V].type->shape);

	vq_attention(&a, c, &(struct vq_attention_forward){ .q = in_of(c, Q), .k = in_of(c, K), .v = in_of(c, V),
	    .y = c->out[0].data, .half_y = c->out[0].type->dtype == VQ_BF16, .lse = c->out[1].data });
}

static void
run_grad(const struct vq_call *c)
{
	struct vq_attention a = shape_of(c->params, &c->in[Q].type->shape, &c->in[V].type->shape);

	vq_attention_grad(&a, c, &(struct vq_attention_grad){ .q = in_of(c, Q), .k = in_of(c, K), .v = in_of(c, V),
	    .y = in_of(c, Y), .g = in_of(c, G), .lse = c->in[LSE].data,
	    .dq = c->out[Q].data, .dk = c->out[K].data, .dv = c->out[V].data });
}

static size_t
scratch(const struct vq_cost *c)
{
	struct vq_attention a = shape_of(c->params, &c->in[Q].shape, &c->in[V].shape);

	return vq_attention_scratch(&a, c->threads);
}

static size_t
scratch_grad(const struct vq_cost *c)
{
	struct vq_attention a = shape_of(c->params, &c->in[Q].shape, &c->in[V].shape);

	return vq_attention_grad_scratch(&a, c->threads);
}

/* --- costs ---------------------------------------------------------------- */

/* Scores that are made. */
static double
pairs(const struct vq_cost *c)
{
	const int64_t *a = c->in[Q].shape.dim;
	double t = (double)a[1], s = (double)c->in[K].shape.dim[1];

	if (((const struct attention *)c->params)->causal)
		return (double)a[0] * t * (s - (t - 1) / 2);
	return (double)a[0] * t * s;
}

/* An exponential counts as ten. */
static double
flops(const struct vq_cost *c)
{
	double heads = (double)((const struct attention *)c->params)->heads;

	return pairs(c) * (2.0 * (double)(c->in[Q].shape.dim[2] + c->in[V].shape.dim[2]) + 13 * heads);
}

/* Five products for the forward's two. */
static double
flops_grad(const struct vq_cost *c)
{
	double heads = (double)((const struct attention *)c->params)->heads;

	return pairs(c) * (2.0 * (double)(3 * c->in[Q].shape.dim[2] + 2 * c->in[V].shape.dim[2]) + 15 * heads);
}

/* --- declarations --------------------------------------------------------- */

#define QKV(n, t, s, c, e) "q=f32[" #n "," #t "," #c "] k=f32[" #n "," #s "," #c "] v=f32[" #n "," #s "," #e "]"
#define GRAD(n, t, s, c, e, h) QKV(n, t, s, c, e) " y=f32[" #n "," #t "," #e "] lse=f32[" #n "," #h "," #t "](1,3) " \
	"g=f32[" #n "," #t "," #e "]"

static const struct vq_example examples[] = {
	{ QKV(2, 3, 4, 6, 5) },
	{ QKV(2, 3, 3, 4, 6), "heads=2 causal=true" },
	{ QKV(1, 2, 5, 4, 4), "heads=4 causal=true", .doc = "queries are the last of the keys" },
	{ QKV(1, 3, 2, 6, 3), "heads=3 scale=0.7" },
	{ QKV(3, 37, 37, 24, 24), "heads=2 causal=true" },
	{ QKV(1, 5, 70, 7, 33), "causal=true" },
	{ "q=f32[2,9,12](-30,30) k=f32[2,9,12](-30,30) v=f32[2,9,12]", "heads=2 causal=true", .no_gradient = true,
	    .tolerance = 1e-3, .doc = "scores far apart" },
	{ QKV(1, 300, 300, 1, 1), "causal=true", .doc = "several blocks" },
	{ QKV(1, 140, 280, 2, 1) },
	{ QKV(0, 3, 4, 6, 5) },
	{ QKV(2, 0, 4, 6, 5) },
	{ QKV(3, 37, 37, 24, 24), "heads=2 causal=true precision=bf16", .no_gradient = true, .tolerance = 1e-2, .doc = "operands rounded to bf16" },
	{ QKV(1, 140, 280, 2, 3), "precision=bf16", .no_gradient = true, .tolerance = 1e-2 },
	{ QKV(128, 50, 50, 256, 256), "heads=8 causal=true", .doc = "timed" },
	{ QKV(2, 1000, 1000, 64, 64), "heads=2" },
	{ QKV(2, 3, 4, 6, 5), "heads=4", .fails = "has 6 channels, which 4 heads do not divide" },
	{ QKV(2, 3, 4, 6, 5), "heads=2", .fails = "has 5 channels, which 2 heads do not divide" },
	{ QKV(2, 4, 3, 6, 5), "causal=true",
	    .fails = "has 3 positions for 4 causal queries: the first would see none" },
	{ QKV(2, 4, 0, 6, 5), .fails = "has no positions to attend to" },
	{ "q=f32[2,3,6] k=f32[2,4,5] v=f32[2,4,6]", .fails = "has 5 channels where q has 6" },
	{ "q=f32[2,3,6] k=f32[2,4,6] v=f32[2,3,6]", .fails = "has 3 positions where k has 4" },
	{ "q=f32[2,3,6] k=f32[3,4,6] v=f32[2,4,6]", .fails = "has a batch of 3 where q has 2" },
	{ "q=f32[3,6] k=f32[2,4,6] v=f32[2,4,6]", .fails = "must have three axes: batch, positions, channels" },
	{ "q=f32[2,3,6] k=f32[2,4,6] v=i32[2,4,6](0,3)", .fails = "must be floating, is i32" },
	{ 0 }
};
static const struct vq_example dropout_examples[] = {
	{ QKV(2, 3, 4, 6, 5) },
	{ QKV(2, 3, 3, 4, 6), "heads=2 causal=true p=0.5" },
	{ QKV(1, 3, 3, 4, 4), "p=0" },
	{ QKV(1, 3, 3, 4, 4), "p=1", .doc = "everything zero" },
	{ QKV(3, 37, 41, 24, 24), "heads=2 causal=true p=0.3" },
	{ QKV(3, 37, 41, 24, 24), "heads=2 causal=true p=0.3 precision=bf16", .no_gradient = true, .tolerance = 1e-2 },
	{ QKV(1, 140, 150, 1, 1), "p=0.3", .doc = "several blocks" },
	{ QKV(128, 50, 50, 256, 256), "heads=8 causal=true", .doc = "timed" },
	{ QKV(2, 3, 4, 6, 5), "p=1.5", .fails = "p must be at most 1, is 1.5" },
	{ 0 }
};
static const struct vq_example grad_examples[] = {
	{ GRAD(2, 3, 4, 6, 5, 1) },
	{ GRAD(2, 3, 3, 4, 6, 2), "heads=2 causal=true" },
	{ GRAD(1, 2, 5, 4, 4, 4), "heads=4 causal=true" },
	{ GRAD(3, 37, 37, 24, 24, 2), "heads=2 causal=true" },
	{ GRAD(1, 5, 70, 7, 33, 1), "causal=true" },
	{ GRAD(1, 200, 200, 1, 1, 1), "causal=true", .doc = "several blocks" },
	{ GRAD(1, 140, 270, 1, 1, 1), .doc = "several blocks" },
	{ GRAD(3, 37, 37, 24, 24, 2), "heads=2 causal=true precision=bf16", .no_gradient = true, .tolerance = 1e-2 },
	{ GRAD(1, 140, 270, 2, 3, 1), "precision=bf16", .no_gradient = true, .tolerance = 1e-2, .doc = "several blocks" },
	{ GRAD(0, 3, 4, 6, 5, 1) },
	{ GRAD(2, 0, 4, 6, 5, 1) },
	{ GRAD(128, 50, 50, 256, 256, 8), "heads=8 causal=true", .doc = "timed" },
	{ GRAD(2, 500, 500, 64, 64, 2), "heads=2", .tolerance = 1e-4 },
	{ GRAD(2, 3, 4, 6, 5, 2), .fails = "must have the shape of lse" },
	{ 0 }
};
static const struct vq_example dropout_grad_examples[] = {
	{ GRAD(2, 3, 4, 6, 5, 1) },
	{ GRAD(2, 3, 3, 4, 6, 2), "heads=2 causal=true p=0.5" },
	{ GRAD(3, 37, 41, 24, 24, 2), "heads=2 causal=true p=0.3" },
	{ GRAD(1, 140, 150, 1, 1, 1), "p=0.3", .doc = "several blocks" },
	{ GRAD(128, 50, 50, 256, 256, 8), "heads=8 causal=true", .doc = "timed" },
	{ 0 }
};

#define FORWARD .in = { "q", "k", "v" }, .out = { "y", "lse" }, .size = sizeof(struct attention), \
	.infer = infer, .grad = grad, .compose = compose, .run = run, .half = half, .scratch = scratch, .flops = flops
#define BACKWARD .in = { "q", "k", "v", "y", "lse", "g" }, .out = { "dq", "dk", "dv" }, \
	.size = sizeof(struct attention), .infer = infer_grad, .compose = compose_grad, .run = run_grad, .half = half_grad, \
	.inplace = "0:3 1:1 2:2", .scratch = scratch_grad, .flops = flops_grad

extern const struct vq_op vq_ops_attention[];
const struct vq_op vq_ops_attention[] = {
	{
		.name = "attention",
		.doc = "values weighed by the softmax of products of queries and keys, head by head",
		.params = params, FORWARD, .again = 1.5,
		.also = (const char *const[]){ "scaled_dot_product_attention", "sdpa", "flash_attention", "self_attention",
		    "multi_head_attention", "mha", "MultiheadAttention", NULL },
		.examples = examples,
	}, {
		.name = "attention_dropout",
		.doc = "attention, a random share of whose weights is set to zero",
		.params = dropout_params, .flags = VQ_OP_RANDOM | VQ_OP_TRAINING, FORWARD, .again = 2,
		.examples = dropout_examples,
	}, {
		.name = "attention_grad",
		.doc = "gradient of attention by queries, keys and values",
		.params = params, .flags = VQ_OP_INTERNAL, BACKWARD,
		.examples = grad_examples,
	}, {
		.name = "attention_dropout_grad",
		.doc = "gradient of attention_dropout, with the mask of the forward node",
		.params = dropout_params, .flags = VQ_OP_INTERNAL | VQ_OP_RANDOM, BACKWARD,
		.examples = dropout_grad_examples,
	},
	{ 0 }
};
