/*
 * cast -- another element type
 *
 * To integers, the fraction is cut off and what does not fit becomes the nearest that
 * does (NaN: 0); to bool, whether it is not zero.  The gradient is cast back.
 */
#include "engine/build.h"
#include "engine/op.h"

enum { PARALLEL_MIN = 32768 };

struct cast {
	int to;		/* enum vq_dtype */
};

static const char *const dtypes[] = { "f32", "f64", "bf16", "i32", "i64", "u8", "bool", NULL };

static const struct vq_param params[] = {
	VQ_ENUM(struct cast, to, NULL, dtypes, "element type of the result"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	q->out[0].dtype = (enum vq_dtype)((const struct cast *)q->params)->to;
	return 0;
}

static void
grad(struct vq_grad *d)
{
	d->din[0] = vq_cast(d->to, d->dout[0], d->to->value[d->in[0]].type.dtype);
}

static void
ref(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->out[0].type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(&c->out[0], i, vq_get(&c->in[0], i));
}

/* The conversions that models make often; any other goes the slow way. */
static void
run(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	enum vq_dtype from = c->in[0].type->dtype, to = c->out[0].type->dtype;

	if (from == VQ_BOOL && to == VQ_F32) {
		const uint8_t *x = c->in[0].data;
		float *y = c->out[0].data;
#pragma omp parallel for simd num_threads(c->threads) schedule(static) if (n >= PARALLEL_MIN)
		for (int64_t i = 0; i < n; i++)
			y[i] = x[i];
	} else if (from == VQ_I32 && to == VQ_F32) {
		const int32_t *x = c->in[0].data;
		float *y = c->out[0].data;
#pragma omp parallel for simd num_threads(c->threads) schedule(static) if (n >= PARALLEL_MIN)
		for (int64_t i = 0; i < n; i++)
			y[i] = (float)x[i];
	} else if (from == VQ_U8 && to == VQ_F32) {
		const uint8_t *x = c->in[0].data;
		float *y = c->out[0].data;
#pragma omp parallel for simd num_threads(c->threads) schedule(static) if (n >= PARALLEL_MIN)
		for (int64_t i = 0; i < n; i++)
			y[i] = x[i];
	} else {
		ref(c);
	}
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3]", "to=f32", .no_gradient = true, .doc = "rounds in an f64 graph" },
	{ "x=f32[2,3]", "to=f64", .no_gradient = true },
	{ "x=f32[2,3](-9,9)", "to=i32" },
	{ "x=i32[20](-9,9)", "to=f32" },
	{ "x=bool[20](0,2)", "to=f32" },
	{ "x=f32[20](-2,300)", "to=u8" },
	{ "x=f32[20]", "to=bool" },
	{ "x=f32[20]", "to=bf16", .no_gradient = true },
	{ 0 }
};

extern const struct vq_op vq_ops_cast[];
const struct vq_op vq_ops_cast[] = {
	{
		.name     = "cast",
		.doc      = "the same numbers as another element type",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct cast),
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.again    = 1,
		.also     = (const char *const[]){ "convert", "astype", "to", NULL },
		.examples = examples,
	},
	{ 0 }
};
