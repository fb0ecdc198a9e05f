/*
 * dropout -- sets a random share of the elements to zero
 *
 *   y = x / (1 - p) with probability 1 - p, else 0
 *
 * The mask is drawn from the node's key by position and never stored: the
 * gradient is the same op on the gradient, with the key of the forward node.
 */
#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct dropout {
	double p;
};

static const struct vq_param params[] = {
	VQ_REAL(struct dropout, p, "0.5", 0, 1, "probability of zero"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	return 0;
}

static void
grad(struct vq_grad *d)
{
	const struct dropout *p = d->params;

	d->din[0] = VQ_EMIT1(d->to, "dropout", d->dout[0], "p=%.17g", p->p);
	vq_graph_set_key(d->to, d->din[0], d->key);
}

static double
scale_of(const struct dropout *p)
{
	return p->p < 1 ? 1 / (1 - p->p) : 0;
}

static void
ref(const struct vq_call *c)
{
	const struct dropout *p = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	double scale = scale_of(p);

	for (int64_t i = 0; i < n; i++)
		vq_set(&c->out[0], i, vq_rng_uniform(&c->key, (uint64_t)i) < (float)p->p ? 0
		    : vq_get(&c->in[0], i) * scale);
}

enum { TILE = 1024 };

static void
run(const struct vq_call *c)
{
	const struct dropout *p = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	float scale = (float)scale_of(p), limit = (float)p->p;
	const float *x = c->in[0].data;
	float *y = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i += TILE) {
		int64_t m = n - i < TILE ? n - i : TILE;
		float u[TILE];

		vq_rng_uniforms(&c->key, (uint64_t)i, u, m);
#pragma omp simd
		for (int64_t j = 0; j < m; j++)
			y[i + j] = u[j] < limit ? 0 : x[i + j] * scale;
	}
}

/* Ten rounds for four draws. */
static double
flops(const struct vq_cost *c)
{
	return 20.0 * (double)vq_shape_count(&c->in[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[5,7]" },
	{ "x=f32[3,1025]", "p=0.1" },
	{ "x=f32[4]", "p=0" },
	{ "x=f32[4]", "p=1", .doc = "everything zero" },
	{ "x=f32[128,50,256]", "p=0.1", .doc = "timed" },
	{ "x=i32[4](0,5)", .fails = "must be floating, is i32" },
	{ 0 }
};

extern const struct vq_op vq_ops_dropout[];
const struct vq_op vq_ops_dropout[] = {
	{
		.name = "dropout",
		.doc = "sets a random share of the elements to zero and scales up the others",
		.in = { "x" }, .out = { "y" },
		.params = params, .size = sizeof(struct dropout), .flags = VQ_OP_RANDOM,
		.infer = infer, .grad = grad, .run = run, .ref = ref,
		.inplace = "0:0", .flops = flops,
		.also = (const char *const[]){ "drop", "Dropout", NULL },
		.examples = examples,
	},
	{ 0 }
};
