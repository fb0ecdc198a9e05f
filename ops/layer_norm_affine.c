/*
 * layer_norm_affine -- a layer norm with its scale and shift (Ba et al. 2016)
 *
 *   x [..., c]   scale, shift [c]
 *   y [..., c] = scale (x - mean) / sqrt(variance + eps) + shift
 *   mean, variance [..., 1]: of each row; the variance is biased
 *
 * What three steps do, as one: x is read once, and the backward makes the
 * normalised rows again from x instead of keeping them.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/rows.h"

struct norm {
	double eps;
};

static const struct vq_param params[] = {
	VQ_REAL(struct norm, eps, "1e-5", 0, 1e3, "added to the variance"),
	VQ_PARAMS_END
};

enum { X, SCALE, SHIFT };
enum { MEAN = 2, VARIANCE, G };		/* of the gradient's inputs, X and SCALE before them */

/* --- types ---------------------------------------------------------------- */

/* Floating, alike, with something to take a mean of; scale (and shift) fit. */
static int
check(struct vq_infer *q, int vectors)
{
	const struct vq_shape *x = &q->in[X].shape;

	for (int i = 0; i < q->nin; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, X, "needs at least 1 axis");
	if (x->dim[x->rank - 1] == 0)
		return vq_infer_error(q, X, "has nothing to take a mean of");
	for (int i = SCALE; i < SCALE + vectors; i++)
		if (q->in[i].shape.rank != 1 || q->in[i].shape.dim[0] != x->dim[x->rank - 1])
			return vq_infer_error(q, i, "must have one value for each of the %lld channels",
			    (long long)x->dim[x->rank - 1]);
	return vq_infer_same_dtype(q);
}

static struct vq_shape
one_each(const struct vq_shape *x)
{
	struct vq_shape s = *x;

	s.dim[s.rank - 1] = 1;
	return s;
}

static int
infer(struct vq_infer *q)
{
	if (check(q, 2) < 0)
		return -1;
	q->out[1].shape = q->out[2].shape = one_each(&q->in[X].shape);
	return 0;
}

static int
infer_grad(struct vq_infer *q)
{
	if (check(q, 1) < 0)
		return -1;
	struct vq_shape s = one_each(&q->in[X].shape);
	for (int i = MEAN; i <= VARIANCE; i++)
		if (!vq_shape_equal(&q->in[i].shape, &s))
			return vq_infer_error(q, i, "must have one value for each row");
	if (!vq_shape_equal(&q->in[G].shape, &q->in[X].shape))
		return vq_infer_error(q, G, "must have the shape of x");
	q->out[1] = q->out[2] = q->in[SCALE];
	return 0;
}

/* --- gradients ------------------------------------------------------------ */

static double
channels(const struct vq_graph *t, vq_id x)
{
	const struct vq_shape *s = &vq_type_at(t, x)->shape;

	return (double)s->dim[s->rank - 1];
}

/* d mean / dx = 1 / c;  d variance / dx = 2 (x - mean) / c */
static void
grad_statistics(struct vq_grad *d)
{
	struct vq_graph *t = d->to;
	double c = channels(t, d->in[X]);
	vq_id sum = d->din[X];

	if (d->dout[1] != VQ_NONE) {
		struct vq_shape shape = vq_type_at(t, d->in[X])->shape;
		vq_id part = vq_broadcast_to(t, vq_scale(t, d->dout[1], 1 / c), &shape);
		sum = sum == VQ_NONE ? part : vq_add(t, sum, part);
	}
	if (d->dout[2] != VQ_NONE) {
		vq_id part = vq_mul(t, vq_sub(t, d->in[X], d->out + 1), vq_scale(t, d->dout[2], 2 / c));
		sum = sum == VQ_NONE ? part : vq_add(t, sum, part);
	}
	d->din[X] = sum;
}

static void
grad(struct vq_grad *d)
{
	if (d->dout[0] != VQ_NONE) {
		vq_id first = vq_emit(d->to, "layer_norm_affine_grad",
		    (const vq_id[]){ d->in[X], d->in[SCALE], d->out + 1, d->out + 2, d->dout[0] }, 5, "eps=%.17g",
		    ((const struct norm *)d->params)->eps);
		for (int i = X; i <= SHIFT; i++)
			d->din[i] = first + i;
	}
	if (d->want[X])
		grad_statistics(d);
}

/* (x - mean) / sqrt(variance + eps), and the reciprocal root. */
static vq_id
normal(struct vq_graph *t, vq_id x, vq_id mean, vq_id variance, double eps, vq_id *r)
{
	*r = vq_unary(t, "rsqrt", vq_offset(t, variance, eps));
	return vq_mul(t, vq_sub(t, x, mean), *r);
}

static void
compose(struct vq_compose *c)
{
	struct vq_graph *t = c->to;
	unsigned last = 1u << (vq_type_at(t, c->in[X])->shape.rank - 1);
	vq_id mean = vq_mean(t, c->in[X], last, true), r;
	vq_id variance = vq_mean(t, vq_unary(t, "square", vq_sub(t, c->in[X], mean)), last, true);
	vq_id y = normal(t, c->in[X], mean, variance, ((const struct norm *)c->params)->eps, &r);

	c->out[0] = vq_add(t, vq_mul(t, y, c->in[SCALE]), c->in[SHIFT]);
	c->out[1] = mean;
	c->out[2] = variance;
}

/* With y the normalised row and s = scale g: dx = (s - mean(s) - y mean(s y)) / sqrt(variance + eps) */
static void
compose_grad(struct vq_compose *c)
{
	struct vq_graph *t = c->to;
	vq_id r, g = c->in[G];
	vq_id y = normal(t, c->in[X], c->in[MEAN], c->in[VARIANCE], ((const struct norm *)c->params)->eps, &r);
	struct vq_shape channel = vq_type_at(t, c->in[SCALE])->shape;
	unsigned last = 1u << (vq_type_at(t, g)->shape.rank - 1);
	vq_id s = vq_mul(t, g, c->in[SCALE]);
	vq_id along = vq_mul(t, y, vq_mean(t, vq_mul(t, s, y), last, true));

	c->out[X] = vq_mul(t, r, vq_sub(t, vq_sub(t, s, vq_mean(t, s, last, true)), along));
	c->out[SCALE] = vq_sum_to(t, vq_mul(t, g, y), &channel);
	c->out[SHIFT] = vq_sum_to(t, g, &channel);
}

/* --- kernels -------------------------------------------------------------- */

static void
rows_of(const struct vq_type *x, int64_t *rows, int64_t *n)
{
	*n = x->shape.dim[x->shape.rank - 1];
	*rows = vq_shape_span(&x->shape, 0, x->shape.rank - 1);
}

enum { WIDE = 1024 };		/* channels of a row that may be rounded on the stack */

/* y is rounded where its readers would do so. */
static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	return out && port == 0 && c->in[X].shape.dim[c->in[X].shape.rank - 1] <= WIDE ? VQ_HALF_AS_IS : VQ_HALF_NOT;
}

static void
run(const struct vq_call *c)
{
	float eps = (float)((const struct norm *)c->params)->eps;
	const float *x = c->in[X].data, *scale = c->in[SCALE].data, *shift = c->in[SHIFT].data;
	float *mean = c->out[1].data, *variance = c->out[2].data;
	bool to_half = c->out[0].type->dtype == VQ_BF16;
	int64_t rows, n;

	rows_of(c->in[X].type, &rows, &n);
#pragma omp parallel for num_threads(vq_rows_team(c->threads, rows * n)) schedule(static)
	for (int64_t r = 0; r < rows; r++) {
		float room[WIDE], *y = to_half ? room : (float *)c->out[0].data + r * n;

		vq_rows(c->k)->norm_affine(y, mean + r, variance + r, x + r * n, scale, shift, eps, n);
		if (to_half)
			c->k->narrow((uint16_t *)c->out[0].data + r * n, y, n);
	}
}

enum { CHUNK = 64 };		/* rows whose gradients of scale and shift are summed in f32 */

/* The sums of all chunks, in order: [chunks][2][n] to dscale and dshift. */
static void
add_chunks(const struct vq_call *c, const float *part, int64_t chunks, int64_t n)
{
	float *to[] = { c->out[SCALE].data, c->out[SHIFT].data };

#pragma omp parallel for num_threads(vq_rows_team(c->threads, chunks * 2 * n)) schedule(static)
	for (int64_t j = 0; j < 2 * n; j++) {
		double sum = 0;
		for (int64_t i = 0; i < chunks; i++)
			sum += (double)part[i * 2 * n + j];
		to[j / n][j % n] = (float)sum;
	}
}

static void
run_grad(const struct vq_call *c)
{
	float eps = (float)((const struct norm *)c->params)->eps, *part = c->scratch;
	const float *x = c->in[X].data, *scale = c->in[SCALE].data, *g = c->in[G].data;
	const float *mean = c->in[MEAN].data, *variance = c->in[VARIANCE].data;
	float *dx = c->out[X].data;
	int64_t rows, n;

	rows_of(c->in[X].type, &rows, &n);
	int64_t chunks = (rows + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(vq_rows_team(c->threads, rows * n)) schedule(static)
	for (int64_t i = 0; i < chunks; i++) {
		float *sums = part + i * 2 * n;
		memset(sums, 0, (size_t)(2 * n) * sizeof(*sums));
		for (int64_t r = i * CHUNK; r < rows && r < (i + 1) * CHUNK; r++)
			vq_rows(c->k)->norm_affine_grad(dx + r * n, sums, sums + n, x + r * n, scale, mean[r],
			    1 / sqrtf(variance[r] + eps), g + r * n, n);
	}
	add_chunks(c, part, chunks, n);
}

static size_t
scratch_grad(const struct vq_cost *c)
{
	int64_t rows, n;

	rows_of(&c->in[X], &rows, &n);
	return (size_t)((rows + CHUNK - 1) / CHUNK * 2 * n) * sizeof(float);
}

static double
flops(const struct vq_cost *c)
{
	return 8.0 * (double)vq_shape_count(&c->in[X].shape);
}

static double
flops_grad(const struct vq_cost *c)
{
	return 14.0 * (double)vq_shape_count(&c->in[X].shape);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "x=f32[3,6] scale=f32[6] shift=f32[6]" },
	{ "x=f32[2,3,5] scale=f32[5] shift=f32[5]", "eps=1e-3" },
	{ "x=f32[7] scale=f32[7] shift=f32[7]" },
	{ "x=f32[0,7] scale=f32[7] shift=f32[7]" },
	{ "x=f32[5,33](99,101) scale=f32[33] shift=f32[33]", .tolerance = 2e-4, .no_gradient = true, .doc = "far from zero" },
	{ "x=f32[6400,256] scale=f32[256] shift=f32[256]", .doc = "timed" },
	{ "x=f32[3,6] scale=f32[6] shift=f32[5]", .fails = "must have one value for each of the 6 channels" },
	{ "x=f32[3,0] scale=f32[0] shift=f32[0]", .fails = "has nothing to take a mean of" },
	{ "x=f32 scale=f32[6] shift=f32[6]", .fails = "needs at least 1 axis" },
	{ "x=i32[6](0,3) scale=f32[6] shift=f32[6]", .fails = "must be floating, is i32" },
	{ 0 }
};
#define ROWS(n, c) "x=f32[" #n "," #c "] scale=f32[" #c "] mean=f32[" #n ",1] variance=f32[" #n ",1](0.1,2) g=f32[" #n "," #c "]"
static const struct vq_example grad_examples[] = {
	{ ROWS(3, 6) },
	{ ROWS(5, 37), "eps=1e-2" },
	{ ROWS(0, 6) },
	{ ROWS(700, 40), .doc = "several chunks" },
	{ ROWS(6400, 256), .doc = "timed", .tolerance = 2e-5 },
	{ "x=f32[3,6] scale=f32[6] mean=f32[3] variance=f32[3,1] g=f32[3,6]", .fails = "must have one value for each row" },
	{ 0 }
};

extern const struct vq_op vq_ops_layer_norm_affine[];
const struct vq_op vq_ops_layer_norm_affine[] = {
	{
		.name = "layer_norm_affine",
		.doc = "normalises over the last axis, then scales and shifts",
		.in = { "x", "scale", "shift" }, .out = { "y", "mean", "variance" },
		.params = params, .size = sizeof(struct norm),
		.infer = infer, .grad = grad, .compose = compose, .run = run, .half = half,
		.inplace = "0:0", .flops = flops, .again = 1,
		.examples = examples,
	}, {
		.name = "layer_norm_affine_grad",
		.doc = "gradient of layer_norm_affine by x, scale and shift",
		.in = { "x", "scale", "mean", "variance", "g" }, .out = { "dx", "dscale", "dshift" },
		.params = params, .size = sizeof(struct norm), .flags = VQ_OP_INTERNAL,
		.infer = infer_grad, .compose = compose_grad, .run = run_grad,
		.inplace = "0:0 0:4", .scratch = scratch_grad, .flops = flops_grad,
		.examples = grad_examples,
	},
	{ 0 }
};
