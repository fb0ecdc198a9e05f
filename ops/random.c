/*
 * random_uniform, random_normal, random_integer, their forms shaped like another
 * tensor, and random_rows
 *
 * Draws are functions of seed, step, node and position (engine/rng.h).  No
 * gradient flows through them: their inputs get zero.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

/* One struct for all, so that one kernel reads any of them. */
struct draw {
	struct vq_ints shape;
	double low, high, mean, deviation;
	int64_t from, below;
};

#define SHAPE VQ_INTS(struct draw, shape, NULL, 0, 1e12, 0, VQ_MAX_RANK, "axes of the result")
#define UNIFORM \
	VQ_REAL(struct draw, low, "0", -1e30, 1e30, "lower bound"), \
	VQ_REAL(struct draw, high, "1", -1e30, 1e30, "upper bound")
#define NORMAL \
	VQ_REAL(struct draw, mean, "0", -1e30, 1e30, "mean"), \
	VQ_REAL(struct draw, deviation, "1", 0, 1e30, "standard deviation")
#define INTEGER \
	VQ_INT(struct draw, from, "0", INT32_MIN, INT32_MAX, "smallest"), \
	VQ_INT(struct draw, below, NULL, INT32_MIN, INT32_MAX, "one past the largest")

static const struct vq_param uniform_params[] = { SHAPE, UNIFORM, VQ_PARAMS_END };
static const struct vq_param normal_params[] = { SHAPE, NORMAL, VQ_PARAMS_END };
static const struct vq_param integer_params[] = { SHAPE, INTEGER, VQ_PARAMS_END };
static const struct vq_param uniform_like_params[] = { UNIFORM, VQ_PARAMS_END };
static const struct vq_param normal_like_params[] = { NORMAL, VQ_PARAMS_END };
static const struct vq_param integer_like_params[] = { INTEGER, VQ_PARAMS_END };

struct rows {
	int64_t count;
};
static const struct vq_param rows_params[] = {
	VQ_INT(struct rows, count, NULL, 1, INT32_MAX, "how many rows"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

static int
infer(struct vq_infer *q)
{
	const struct draw *p = q->params;

	q->out[0].dtype = VQ_F32;
	q->out[0].shape = vq_shape_of(p->shape.count, p->shape.v);
	return 0;
}

static int
infer_like(struct vq_infer *q)
{
	if (!vq_is_float(q->in[0].dtype))
		q->out[0].dtype = VQ_F32;
	return 0;
}

static int
check_bounds(struct vq_infer *q)
{
	const struct draw *p = q->params;

	if (p->from >= p->below)
		return vq_infer_error(q, VQ_NONE, "nothing lies from %lld to below %lld",
		    (long long)p->from, (long long)p->below);
	q->out[0].dtype = VQ_I32;
	return 0;
}

static int
infer_integer(struct vq_infer *q)
{
	infer(q);
	return check_bounds(q);
}

static int
infer_integer_like(struct vq_infer *q)
{
	return check_bounds(q);
}

static int
infer_rows(struct vq_infer *q)
{
	const struct rows *p = q->params;
	const struct vq_shape *x = &q->in[0].shape;

	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs a last axis");
	if (vq_shape_span(x, 0, x->rank - 1) < 1)
		return vq_infer_error(q, 0, "has no rows to draw from");
	q->out[0].shape = vq_shape_of(2, (const int64_t[]){ p->count, x->dim[x->rank - 1] });
	return 0;
}

/* Sets nothing: the gradient is zero. */
static void
grad(struct vq_grad *d)
{
}

/* --- kernels -------------------------------------------------------------- */

static void
ref_uniform(const struct vq_call *c)
{
	const struct draw *p = c->params;
	int64_t n = vq_shape_count(&c->out[0].type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(&c->out[0], i, p->low + (p->high - p->low) * (double)vq_rng_uniform(&c->key, (uint64_t)i));
}

static void
ref_normal(const struct vq_call *c)
{
	const struct draw *p = c->params;
	int64_t n = vq_shape_count(&c->out[0].type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(&c->out[0], i, p->mean + p->deviation * (double)vq_rng_normal(&c->key, (uint64_t)i));
}

static void
ref_integer(const struct vq_call *c)
{
	const struct draw *p = c->params;
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	int32_t *y = c->out[0].data;

	for (int64_t i = 0; i < n; i++)
		y[i] = (int32_t)(p->from + (int64_t)vq_rng_below(&c->key, (uint64_t)i, (uint64_t)(p->below - p->from)));
}

enum { TILE = 1024 };

/* y = scale * draw + offset */
static void
run_draws(const struct vq_call *c, void (*draws)(const struct vq_rng_key *, uint64_t, float *, int64_t),
    double scale, double offset)
{
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	float *y = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i += TILE) {
		int64_t m = n - i < TILE ? n - i : TILE;

		draws(&c->key, (uint64_t)i, y + i, m);
		c->k->ew[VQ_EW_AFFINE](y + i, y + i, NULL, NULL, (float)scale, (float)offset, m);
	}
}

static void
run_uniform(const struct vq_call *c)
{
	const struct draw *p = c->params;

	run_draws(c, vq_rng_uniforms, p->high - p->low, p->low);
}

static void
run_normal(const struct vq_call *c)
{
	const struct draw *p = c->params;

	run_draws(c, vq_rng_normals, p->deviation, p->mean);
}

/* Which row each row of the result is: all different while there are enough. */
static int64_t
drawn_row(const struct vq_call *c, const uint32_t *order, int64_t rows, int64_t i)
{
	return order ? order[i] : (int64_t)vq_rng_below(&c->key, (uint64_t)i, (uint64_t)rows);
}

static void
run_rows(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape;
	int64_t count = ((const struct rows *)c->params)->count, rows = vq_shape_span(x, 0, x->rank - 1);
	size_t bytes = (size_t)x->dim[x->rank - 1] * vq_dtype_size(c->in[0].type->dtype);
	uint32_t *order = count <= rows && rows <= UINT32_MAX ? c->scratch : NULL;

	if (order)
		vq_rng_permutation(&c->key, order, (uint32_t)rows);
	for (int64_t i = 0; i < count; i++)
		memcpy((char *)c->out[0].data + (size_t)i * bytes,
		    (const char *)c->in[0].data + (size_t)drawn_row(c, order, rows, i) * bytes, bytes);
}

static size_t
scratch_rows(const struct vq_cost *c)
{
	const struct vq_shape *x = &c->in[0].shape;
	int64_t count = ((const struct rows *)c->params)->count, rows = vq_shape_span(x, 0, x->rank - 1);

	return count <= rows && rows <= UINT32_MAX ? (size_t)rows * sizeof(uint32_t) : 0;
}

/* Ten rounds for four draws. */
static double
flops(const struct vq_cost *c)
{
	return 20.0 * (double)vq_shape_count(&c->out[0].shape);
}

static double
flops_rows(const struct vq_cost *c)
{
	return 0;
}

static double
bytes_rows(const struct vq_cost *c)
{
	return 2.0 * (double)vq_type_bytes(&c->out[0]);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example uniform_examples[] = {
	{ "", "shape=[3,4]" }, { "", "shape=[] low=2 high=3" }, { "", "shape=[1000,100] low=-1" }, { 0 }
};
static const struct vq_example normal_examples[] = {
	{ "", "shape=[3,4]" }, { "", "shape=[7] mean=2 deviation=0.5" }, { "", "shape=[1000,101]" }, { 0 }
};
static const struct vq_example integer_examples[] = {
	{ "", "shape=[3,4] below=9" }, { "", "shape=[100] from=-5 below=5" },
	{ "", "shape=[3] from=4 below=4", .fails = "nothing lies from 4 to below 4" }, { 0 }
};
static const struct vq_example uniform_like_examples[] = {
	{ "x=f32[3,4]", "high=3", .no_gradient = true }, { "x=i32[5](0,3)" }, { 0 }
};
static const struct vq_example normal_like_examples[] = {
	{ "x=f32[3,4]", "mean=1", .no_gradient = true }, { "x=i32[5](0,3)" }, { 0 }
};
static const struct vq_example integer_like_examples[] = {
	{ "x=f32[3,4]", "below=9", .no_gradient = true }, { "x=i32[5](0,3)", "below=2" }, { 0 }
};
static const struct vq_example rows_examples[] = {
	{ "x=f32[5,2,3]", "count=4", .no_gradient = true, .doc = "all different" },
	{ "x=f32[3,2]", "count=9", .no_gradient = true, .doc = "with repetition" },
	{ "x=f32[6272,64]", "count=512", .no_gradient = true },
	{ "x=i32[9](0,99)", "count=2" },
	{ "x=f32[0,3]", "count=2", .fails = "has no rows to draw from" },
	{ "x=f32", "count=2", .fails = "needs a last axis" },
	{ 0 }
};

extern const struct vq_op vq_ops_random[];
const struct vq_op vq_ops_random[] = {
	{
		.name = "random_uniform",
		.doc = "uniform random numbers",
		.out = { "y" }, .params = uniform_params, .size = sizeof(struct draw), .flags = VQ_OP_RANDOM,
		.infer = infer, .run = run_uniform, .ref = ref_uniform, .flops = flops,
		.also = (const char *const[]){ "uniform", "rand", "random", NULL },
		.examples = uniform_examples,
	}, {
		.name = "random_normal",
		.doc = "normally distributed random numbers",
		.out = { "y" }, .params = normal_params, .size = sizeof(struct draw), .flags = VQ_OP_RANDOM,
		.infer = infer, .run = run_normal, .ref = ref_normal, .flops = flops,
		.also = (const char *const[]){ "normal", "randn", "gaussian", "noise", NULL },
		.examples = normal_examples,
	}, {
		.name = "random_integer",
		.doc = "random integers, all equally likely",
		.out = { "y" }, .params = integer_params, .size = sizeof(struct draw), .flags = VQ_OP_RANDOM,
		.infer = infer_integer, .ref = ref_integer, .flops = flops,
		.also = (const char *const[]){ "randint", "random_int", NULL },
		.examples = integer_examples,
	}, {
		.name = "random_uniform_like",
		.doc = "uniform random numbers in the shape of x",
		.in = { "x" }, .out = { "y" }, .params = uniform_like_params, .size = sizeof(struct draw),
		.flags = VQ_OP_RANDOM,
		.infer = infer_like, .grad = grad, .run = run_uniform, .ref = ref_uniform, .flops = flops,
		.also = (const char *const[]){ "uniform_like", "rand_like", NULL },
		.examples = uniform_like_examples,
	}, {
		.name = "random_normal_like",
		.doc = "normally distributed random numbers in the shape of x",
		.in = { "x" }, .out = { "y" }, .params = normal_like_params, .size = sizeof(struct draw),
		.flags = VQ_OP_RANDOM,
		.infer = infer_like, .grad = grad, .run = run_normal, .ref = ref_normal, .flops = flops,
		.also = (const char *const[]){ "normal_like", "randn_like", NULL },
		.examples = normal_like_examples,
	}, {
		.name = "random_integer_like",
		.doc = "random integers, all equally likely, in the shape of x",
		.in = { "x" }, .out = { "y" }, .params = integer_like_params, .size = sizeof(struct draw),
		.flags = VQ_OP_RANDOM,
		.infer = infer_integer_like, .grad = grad, .ref = ref_integer, .flops = flops,
		.also = (const char *const[]){ "randint_like", NULL },
		.examples = integer_like_examples,
	}, {
		.name = "random_rows",
		.doc = "rows of x (as [rows, last axis]) drawn at random, all different while there are enough",
		.in = { "x" }, .out = { "y" }, .params = rows_params, .size = sizeof(struct rows),
		.flags = VQ_OP_RANDOM,
		.infer = infer_rows, .grad = grad, .run = run_rows, .ref = run_rows,
		.scratch = scratch_rows, .flops = flops_rows, .bytes = bytes_rows,
		.also = (const char *const[]){ "sample_rows", "random_choice", NULL },
		.examples = rows_examples,
	},
	{ 0 }
};
