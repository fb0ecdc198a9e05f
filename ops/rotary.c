/*
 * rotary -- turns pairs of channels by an angle that grows with the position
 * (Su et al. 2021, "RoFormer")
 *
 *   x          [n, t, c]: heads of d = c / heads channels side by side
 *   position   i32[t]
 *   y          [n, t, c]: in each head, channels i and i + d/2 as a point in the
 *              plane, turned by position * base^(-2i/d)
 *
 * So the product of a turned query and a turned key depends on how far apart they
 * stand.  The halves are paired (as GPT-NeoX and LLaMA do), not neighbours.
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct rotary {
	int64_t heads;
	double base;
	bool inverse;
};

static const struct vq_param params[] = {
	VQ_INT(struct rotary, heads, "1", 1, 1 << 20, "heads that the channels are divided into"),
	VQ_REAL(struct rotary, base, "10000", 1, 1e12, "the slowest pair turns about so many times as slowly as the first"),
	VQ_BOOLEAN(struct rotary, inverse, "false", "turn back"),
	VQ_PARAMS_END
};

enum { X, POSITION };

static int
infer(struct vq_infer *q)
{
	const struct rotary *p = q->params;
	const struct vq_shape *x = &q->in[X].shape, *at = &q->in[POSITION].shape;

	if (!vq_is_float(q->in[X].dtype))
		return vq_infer_error(q, X, "must be floating, is %s", vq_dtype_name(q->in[X].dtype));
	if (x->rank != 3)
		return vq_infer_error(q, X, "must have three axes: batch, positions, channels");
	if (x->dim[2] % (2 * p->heads))
		return vq_infer_error(q, X, "has %lld channels, which %lld heads of pairs do not divide",
		    (long long)x->dim[2], (long long)p->heads);
	if (q->in[POSITION].dtype != VQ_I32)
		return vq_infer_error(q, POSITION, "must be i32, is %s (cast converts)",
		    vq_dtype_name(q->in[POSITION].dtype));
	if (at->rank != 1 || at->dim[0] != x->dim[1])
		return vq_infer_error(q, POSITION, "must have one number for each of the %lld positions",
		    (long long)x->dim[1]);
	return 0;
}

/* A rotation is undone by turning the other way, and that is its transpose, too. */
static void
grad(struct vq_grad *d)
{
	const struct rotary *p = d->params;

	if (d->want[X])
		d->din[X] = VQ_EMIT2(d->to, "rotary", d->dout[0], d->in[POSITION],
		    "heads=%lld base=%.17g inverse=%s", (long long)p->heads, p->base, p->inverse ? "false" : "true");
}

/* The angle of pair i of a head with `half` pairs. */
static double
angle(const struct rotary *p, int32_t position, int64_t i, int64_t half)
{
	double a = position * pow(p->base, -(double)i / (double)half);

	return p->inverse ? -a : a;
}

static void
ref(const struct vq_call *c)
{
	const struct rotary *p = c->params;
	const struct vq_shape *s = &c->in[X].type->shape;
	const int32_t *position = c->in[POSITION].data;
	int64_t half = s->dim[2] / p->heads / 2, pairs = vq_shape_count(s) / 2;

	for (int64_t k = 0; k < pairs; k++) {
		int64_t i = k % half, a = k / half * 2 * half + i, b = a + half;
		double turn = angle(p, position[2 * k / s->dim[2] % s->dim[1]], i, half);
		double x = vq_get(&c->in[X], a), y = vq_get(&c->in[X], b);
		vq_set(&c->out[0], a, x * cos(turn) - y * sin(turn));
		vq_set(&c->out[0], b, x * sin(turn) + y * cos(turn));
	}
}

/* Cosines, then sines, of all positions: angles in double, because they are large. */
static void
fill_table(const struct vq_call *c, float *cosine, float *sine, int64_t half)
{
	const struct rotary *p = c->params;
	const int32_t *position = c->in[POSITION].data;
	int64_t t = c->in[X].type->shape.dim[1];

#pragma omp parallel for num_threads(vq_rows_team(c->threads, 16 * t * half)) schedule(static)
	for (int64_t k = 0; k < t * half; k++)
		cosine[k] = (float)remainder(angle(p, position[k / half], k % half, half), 2 * M_PI);
	c->k->ew[VQ_EW_SIN](sine, cosine, NULL, NULL, 0, 0, t * half);
	c->k->ew[VQ_EW_COS](cosine, cosine, NULL, NULL, 0, 0, t * half);
}

static void
turn_row(float *y, const float *x, const float *cosine, const float *sine, int64_t heads, int64_t half)
{
	for (int64_t h = 0; h < heads; h++, x += 2 * half, y += 2 * half) {
#pragma omp simd
		for (int64_t i = 0; i < half; i++) {
			float a = x[i], b = x[half + i];
			y[i] = a * cosine[i] - b * sine[i];
			y[half + i] = a * sine[i] + b * cosine[i];
		}
	}
}

static void
run(const struct vq_call *c)
{
	const struct rotary *p = c->params;
	const struct vq_shape *s = &c->in[X].type->shape;
	int64_t t = s->dim[1], width = s->dim[2], half = width / p->heads / 2;
	float *cosine = c->scratch, *sine = cosine + t * half;
	const float *x = c->in[X].data;
	float *y = c->out[0].data;

	fill_table(c, cosine, sine, half);
#pragma omp parallel for num_threads(vq_rows_team(c->threads, s->dim[0] * t * width)) schedule(static)
	for (int64_t r = 0; r < s->dim[0] * t; r++)
		turn_row(y + r * width, x + r * width, cosine + r % t * half, sine + r % t * half, p->heads, half);
}

static size_t
scratch(const struct vq_cost *c)
{
	const struct vq_shape *s = &c->in[X].shape;

	return (size_t)(s->dim[1] * (s->dim[2] / ((const struct rotary *)c->params)->heads)) * sizeof(float);
}

static double
flops(const struct vq_cost *c)
{
	return 3.0 * (double)vq_shape_count(&c->in[X].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[2,5,4] position=i32[5](0,9)" },
	{ "x=f32[2,3,12] position=i32[3](0,99)", "heads=2 base=100" },
	{ "x=f32[1,4,6] position=i32[4](0,9)", "inverse=true" },
	{ "x=f32[2,3,64] position=i32[3](100000,200000)", "heads=2", .doc = "far from the start" },
	{ "x=f32[128,50,256] position=i32[50](0,50)", "heads=8", .doc = "timed" },
	{ "x=f32[2,3,6] position=i32[3](0,9)", "heads=2", .fails = "has 6 channels, which 2 heads of pairs do not divide" },
	{ "x=f32[2,3,4] position=i32[2](0,9)", .fails = "must have one number for each of the 3 positions" },
	{ "x=f32[2,3,4] position=f32[3]", .fails = "must be i32, is f32 (cast converts)" },
	{ "x=f32[3,4] position=i32[3](0,9)", .fails = "must have three axes: batch, positions, channels" },
	{ 0 }
};

extern const struct vq_op vq_ops_rotary[];
const struct vq_op vq_ops_rotary[] = {
	{
		.name = "rotary",
		.doc = "turns pairs of channels by an angle that grows with the position (Su et al. 2021)",
		.in = { "x", "position" }, .out = { "y" },
		.params = params, .size = sizeof(struct rotary),
		.infer = infer, .grad = grad, .run = run, .ref = ref,
		.inplace = "0:0", .scratch = scratch, .flops = flops, .again = 2,
		.also = (const char *const[]){ "rope", "RoPE", "rotary_embedding", NULL },
		.examples = examples,
	},
	{ 0 }
};
