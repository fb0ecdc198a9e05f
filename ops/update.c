/*
 * sgd, adam, ema, sum_squares -- what optimizers are made of
 *
 * Their results are new values; the graph's stores write them back, in place.
 *
 *   sgd    g = grad + weight_decay param
 *          velocity' = momentum velocity + g
 *          param' = param - lr velocity', or with nesterov
 *                   param - lr (g + momentum velocity')
 *
 *   adam   (Kingma and Ba 2014, algorithm 1; decoupled: Loshchilov and Hutter 2017)
 *          g = grad + weight_decay param, or param shrinks by lr weight_decay first
 *          m' = beta1 m + (1 - beta1) g
 *          v' = beta2 v + (1 - beta2) g^2
 *          param' = param - lr / (1 - beta1^step) m' / (sqrt(v' / (1 - beta2^step)) + eps)
 *
 *   ema    average' = decay average + (1 - decay) value
 *
 *   sum_squares   the sum of the squares of all elements of all inputs
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct sgd {
	double momentum, weight_decay;
	bool nesterov;
};
struct adam {
	double beta1, beta2, eps, weight_decay;
	bool decoupled;
};
struct ema {
	double decay;
};

static const struct vq_param sgd_params[] = {
	VQ_REAL(struct sgd, momentum, "0", 0, 1, "share of the velocity that is kept"),
	VQ_BOOLEAN(struct sgd, nesterov, "false", "look ahead along the velocity"),
	VQ_REAL(struct sgd, weight_decay, "0", 0, 1e6, "how much of the parameter is added to its gradient"),
	VQ_PARAMS_END
};
static const struct vq_param adam_params[] = {
	VQ_REAL(struct adam, beta1, "0.9", 0, 1, "share of the first moment that is kept"),
	VQ_REAL(struct adam, beta2, "0.999", 0, 1, "share of the second moment that is kept"),
	VQ_REAL(struct adam, eps, "1e-8", 0, 1, "added to the root of the second moment"),
	VQ_REAL(struct adam, weight_decay, "0", 0, 1e6, "strength of the decay"),
	VQ_BOOLEAN(struct adam, decoupled, "false", "shrink the parameter instead of changing the gradient"),
	VQ_PARAMS_END
};
static const struct vq_param ema_params[] = {
	VQ_REAL(struct ema, decay, "0.99", 0, 1, "share of the average that is kept"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

/* The first n inputs are tensors like the first, the rest floating scalars. */
static int
infer_like_first(struct vq_infer *q, int n)
{
	for (int i = 0; i < q->nin; i++) {
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
		if (i < n && !vq_type_equal(&q->in[i], &q->in[0]))
			return vq_infer_error(q, i, "must have the type of the first");
		if (i >= n && q->in[i].shape.rank != 0)
			return vq_infer_error(q, i, "must be a scalar");
	}
	return 0;
}

static int infer_sgd(struct vq_infer *q) { return infer_like_first(q, 3); }
static int infer_adam(struct vq_infer *q) { return infer_like_first(q, 4); }
static int infer_ema(struct vq_infer *q) { return infer_like_first(q, 2); }

static int
infer_sum_squares(struct vq_infer *q)
{
	for (int i = 0; i < q->nin; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	q->out[0].shape.rank = 0;
	return vq_infer_same_dtype(q);
}

/* --- gradients ------------------------------------------------------------ */

static void
grad_ema(struct vq_grad *d)
{
	const struct ema *p = d->params;

	if (d->want[0])
		d->din[0] = vq_scale(d->to, d->dout[0], p->decay);
	if (d->want[1])
		d->din[1] = vq_scale(d->to, d->dout[0], 1 - p->decay);
}

static void
grad_sum_squares(struct vq_grad *d)
{
	vq_id twice = vq_scale(d->to, d->dout[0], 2);

	for (int i = 0; i < d->nin; i++)
		if (d->want[i])
			d->din[i] = vq_mul(d->to, d->in[i], twice);
}

/* --- reference ------------------------------------------------------------ */

static void
ref_sgd(const struct vq_call *c)
{
	const struct sgd *o = c->params;
	const struct vq_view *param = &c->in[0], *grad = &c->in[1], *velocity = &c->in[2];
	int64_t n = vq_shape_count(&param->type->shape);
	double lr = vq_get(&c->in[3], 0);

	for (int64_t i = 0; i < n; i++) {
		double p = vq_get(param, i), g = vq_get(grad, i) + o->weight_decay * p;
		double v = o->momentum * vq_get(velocity, i) + g;
		vq_set(&c->out[0], i, p - lr * (o->nesterov ? g + o->momentum * v : v));
		vq_set(&c->out[1], i, v);
	}
}

static void
ref_adam(const struct vq_call *c)
{
	const struct adam *o = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	double lr = vq_get(&c->in[4], 0), step = vq_get(&c->in[5], 0);
	double correct1 = 1 - pow(o->beta1, step), correct2 = 1 - pow(o->beta2, step);

	for (int64_t i = 0; i < n; i++) {
		double p = vq_get(&c->in[0], i), g = vq_get(&c->in[1], i);
		if (o->decoupled)
			p -= lr * o->weight_decay * p;
		else
			g += o->weight_decay * p;
		double m = o->beta1 * vq_get(&c->in[2], i) + (1 - o->beta1) * g;
		double v = o->beta2 * vq_get(&c->in[3], i) + (1 - o->beta2) * g * g;
		vq_set(&c->out[0], i, p - lr * (m / correct1) / (sqrt(v / correct2) + o->eps));
		vq_set(&c->out[1], i, m);
		vq_set(&c->out[2], i, v);
	}
}

static void
ref_ema(const struct vq_call *c)
{
	double decay = ((const struct ema *)c->params)->decay;
	int64_t n = vq_shape_count(&c->in[0].type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(&c->out[0], i, decay * vq_get(&c->in[0], i) + (1 - decay) * vq_get(&c->in[1], i));
}

static void
ref_sum_squares(const struct vq_call *c)
{
	double sum = 0;

	for (int i = 0; i < c->nin; i++)
		for (int64_t j = 0; j < vq_shape_count(&c->in[i].type->shape); j++)
			sum += vq_get(&c->in[i], j) * vq_get(&c->in[i], j);
	vq_set(&c->out[0], 0, sum);
}

/* --- fast ----------------------------------------------------------------- */

enum { CHUNK = 16384 };

static int64_t
chunk_end(int64_t from, int64_t n)
{
	return n - from < CHUNK ? n : from + CHUNK;
}

static void
run_sgd(const struct vq_call *c)
{
	const struct sgd *p = c->params;
	const float *const *in = (const float *const[]){ c->in[0].data, c->in[1].data, c->in[2].data };
	float *const *out = (float *const[]){ c->out[0].data, c->out[1].data };
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	struct vq_rows_sgd o = { .lr = *(const float *)c->in[3].data, .decay = (float)p->weight_decay,
	    .momentum = (float)p->momentum, .nesterov = p->nesterov };

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i += CHUNK)
		vq_rows(c->k)->sgd(&o, (const float *const[]){ in[0] + i, in[1] + i, in[2] + i },
		    (float *const[]){ out[0] + i, out[1] + i }, chunk_end(i, n) - i);
}

static void
run_adam(const struct vq_call *c)
{
	const struct adam *p = c->params;
	const float *const *in = (const float *const[]){ c->in[0].data, c->in[1].data, c->in[2].data, c->in[3].data };
	float *const *out = (float *const[]){ c->out[0].data, c->out[1].data, c->out[2].data };
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	double lr = (double)*(const float *)c->in[4].data, step = (double)*(const float *)c->in[5].data;
	struct vq_rows_adam o = {
		.keep = p->decoupled ? (float)(1 - lr * p->weight_decay) : 1,
		.decay = p->decoupled ? 0 : (float)p->weight_decay,
		.beta1 = (float)p->beta1, .fresh1 = (float)(1 - p->beta1),
		.beta2 = (float)p->beta2, .fresh2 = (float)(1 - p->beta2),
		.rate = (float)(lr / (1 - pow(p->beta1, step))),
		.root = (float)(1 / sqrt(1 - pow(p->beta2, step))),
		.eps = (float)p->eps,
	};

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i += CHUNK)
		vq_rows(c->k)->adam(&o, (const float *const[]){ in[0] + i, in[1] + i, in[2] + i, in[3] + i },
		    (float *const[]){ out[0] + i, out[1] + i, out[2] + i }, chunk_end(i, n) - i);
}

static void
run_ema(const struct vq_call *c)
{
	float pull = (float)(1 - ((const struct ema *)c->params)->decay);
	const float *average = c->in[0].data, *value = c->in[1].data;
	float *y = c->out[0].data;
	int64_t n = vq_shape_count(&c->in[0].type->shape);

	/* As a step towards the value: at rest when they are equal. */
#pragma omp parallel for simd num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i++)
		y[i] = average[i] + pull * (value[i] - average[i]);
}

/* The sum of one tensor by chunks, which are added up in order. */
static double
sum_squares(const struct vq_call *c, const struct vq_view *v)
{
	int64_t n = vq_shape_count(&v->type->shape), chunks = (n + CHUNK - 1) / CHUNK;
	const float *x = v->data;
	double *part = c->scratch, sum = 0;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < chunks; i++)
		part[i] = (double)c->k->dot(x + i * CHUNK, x + i * CHUNK, chunk_end(i * CHUNK, n) - i * CHUNK);
	for (int64_t i = 0; i < chunks; i++)
		sum += part[i];
	return sum;
}

static void
run_sum_squares(const struct vq_call *c)
{
	double sum = 0;

	for (int i = 0; i < c->nin; i++)
		sum += sum_squares(c, &c->in[i]);
	*(float *)c->out[0].data = (float)sum;
}

static size_t
scratch_sum_squares(const struct vq_cost *c)
{
	int64_t most = 0;

	for (int i = 0; i < c->nin; i++) {
		int64_t n = vq_shape_count(&c->in[i].shape);
		most = n > most ? n : most;
	}
	return (size_t)(most / CHUNK + 1) * sizeof(double);
}

static double
flops_sgd(const struct vq_cost *c)
{
	return 6.0 * (double)vq_shape_count(&c->in[0].shape);
}

static double
flops_adam(const struct vq_cost *c)
{
	return 14.0 * (double)vq_shape_count(&c->in[0].shape);
}

static double
flops_sum_squares(const struct vq_cost *c)
{
	double n = 0;

	for (int i = 0; i < c->nin; i++)
		n += 2.0 * (double)vq_shape_count(&c->in[i].shape);
	return n;
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example sgd_examples[] = {
	{ "param=f32[3,5] grad=f32[3,5] velocity=f32[3,5] lr=f32(0,1)", .no_gradient = true },
	{ "param=f32[37] grad=f32[37] velocity=f32[37] lr=f32(0,1)", "momentum=0.9 nesterov=true weight_decay=0.1",
	    .no_gradient = true },
	{ "param=f32[512,1024] grad=f32[512,1024] velocity=f32[512,1024] lr=f32(0,1)", "momentum=0.9",
	    .no_gradient = true, .doc = "timed" },
	{ "param=f32[3] grad=f32[4] velocity=f32[3] lr=f32", .fails = "must have the type of the first" },
	{ "param=f32[3] grad=f32[3] velocity=f32[3] lr=f32[1]", .fails = "must be a scalar" },
	{ 0 }
};
#define ADAM_IN(shape) "param=f32" shape " grad=f32" shape " m=f32" shape " v=f32" shape "(0,1) lr=f32(0,1) step=f32(1,9)"
static const struct vq_example adam_examples[] = {
	{ ADAM_IN("[3,5]"), .no_gradient = true },
	{ ADAM_IN("[37]"), "beta1=0.5 beta2=0.9 eps=1e-3 weight_decay=0.1", .no_gradient = true },
	{ ADAM_IN("[37]"), "weight_decay=0.1 decoupled=true", .no_gradient = true },
	{ ADAM_IN("[512,1024]"), .no_gradient = true, .doc = "timed" },
	{ 0 }
};
static const struct vq_example ema_examples[] = {
	{ "average=f32[3,5] value=f32[3,5]" },
	{ "average=f32[512,1024] value=f32[512,1024]", "decay=0.9", .doc = "timed" },
	{ "average=f32[3] value=f32[3,1]", .fails = "must have the type of the first" },
	{ 0 }
};
static const struct vq_example sum_squares_examples[] = {
	{ "x=f32[3,5]" },
	{ "a=f32[3,5] b=f32[7] c=f32" },
	{ "a=f32[512,1024] b=f32[100001]", .doc = "timed" },
	{ "a=i32[3](0,5)", .fails = "must be floating, is i32" },
	{ 0 }
};

extern const struct vq_op vq_ops_update[];
const struct vq_op vq_ops_update[] = {
	{
		.name = "sgd",
		.doc = "one step of gradient descent with momentum",
		.in = { "param", "grad", "velocity", "lr" }, .out = { "param", "velocity" },
		.params = sgd_params, .size = sizeof(struct sgd),
		.infer = infer_sgd, .run = run_sgd, .ref = ref_sgd,
		.inplace = "0:0 1:2", .flops = flops_sgd,
		.also = (const char *const[]){ "SGD", "momentum", NULL },
		.examples = sgd_examples,
	}, {
		.name = "adam",
		.doc = "one step of Adam or, decoupled, AdamW; step counts from 1",
		.in = { "param", "grad", "m", "v", "lr", "step" }, .out = { "param", "m", "v" },
		.params = adam_params, .size = sizeof(struct adam),
		.infer = infer_adam, .run = run_adam, .ref = ref_adam,
		.inplace = "0:0 1:2 2:3", .flops = flops_adam,
		.also = (const char *const[]){ "adamw", "Adam", "AdamW", NULL },
		.examples = adam_examples,
	}, {
		.name = "ema",
		.doc = "an exponential moving average, one step on",
		.in = { "average", "value" }, .out = { "average" },
		.params = ema_params, .size = sizeof(struct ema),
		.infer = infer_ema, .grad = grad_ema, .run = run_ema, .ref = ref_ema,
		.inplace = "0:0",
		.also = (const char *const[]){ "moving_average", "polyak", NULL },
		.examples = ema_examples,
	}, {
		.name = "sum_squares",
		.doc = "sum of the squares of all elements of all inputs",
		.in = { "x..." }, .out = { "y" },
		.infer = infer_sum_squares, .grad = grad_sum_squares, .run = run_sum_squares, .ref = ref_sum_squares,
		.scratch = scratch_sum_squares, .flops = flops_sum_squares,
		.also = (const char *const[]){ "norm_squared", "global_norm", NULL },
		.examples = sum_squares_examples,
	},
	{ 0 }
};
