/*
 * argmax, argmin -- where along an axis the largest or smallest element stands
 *
 * The first one where several are equal; a NaN counts as the extreme.  Indices have
 * no gradient.
 */
#include <math.h>

#include "engine/op.h"
#include "ops/kernels/kernels.h"

struct arg {
	int64_t axis;
	bool keep;
};

static const struct vq_param params[] = {
	VQ_INT(struct arg, axis, "-1", -VQ_MAX_RANK, VQ_MAX_RANK - 1, "axis to look along; negative counts from the end"),
	VQ_BOOLEAN(struct arg, keep, "false", "keep the axis, with length 1"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct arg *p = q->params;
	struct vq_shape *y = &q->out[0].shape;
	int axis;

	if (vq_infer_axis(q, 0, p->axis, &axis) < 0)
		return -1;
	if (q->in[0].shape.dim[axis] == 0)
		return vq_infer_error(q, 0, "has nothing along axis %d", axis);
	if (q->in[0].shape.dim[axis] > INT32_MAX)
		return vq_infer_error(q, 0, "is too long along axis %d for i32 indices", axis);
	q->out[0].dtype = VQ_I32;
	if (p->keep) {
		y->dim[axis] = 1;
		return 0;
	}
	for (int i = axis; i < y->rank - 1; i++)
		y->dim[i] = y->dim[i + 1];
	y->rank--;
	return 0;
}

/* --- kernels ------------------------------------------------------------- */

enum { PIECE = 64 };

struct span {
	int64_t outer, n, inner;
};

static struct span
span_of(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape;
	int64_t given = ((const struct arg *)c->params)->axis;
	int axis = (int)(given < 0 ? given + x->rank : given);

	return (struct span){ vq_shape_span(x, 0, axis), x->dim[axis], vq_shape_span(x, axis + 1, x->rank) };
}

static void
ref(const struct vq_call *c, int sign)
{
	struct span s = span_of(c);

	for (int64_t i = 0; i < s.outer * s.inner; i++) {
		int64_t at = i / s.inner * s.n * s.inner + i % s.inner, best = 0;
		double most = sign * vq_get(&c->in[0], at);
		for (int64_t j = 1; j < s.n && !isnan(most); j++) {
			double v = sign * vq_get(&c->in[0], at + j * s.inner);
			if (v > most || isnan(v)) {
				most = v;
				best = j;
			}
		}
		vq_set(&c->out[0], i, (double)best);
	}
}

/* Along memory: the extreme of each piece by vector kernels, and then where in the
 * first piece that has it. */
static int32_t
find_in_row(const struct vq_kernels *k, const float *x, int64_t n, int sign)
{
	float most = 0, turned[PIECE];
	const float *in = NULL;

	for (int64_t i = 0; i < n; i += PIECE) {
		int64_t w = n - i < PIECE ? n - i : PIECE;
		if (sign < 0)
			k->ew[VQ_EW_NEG](turned, x + i, NULL, NULL, 0, 0, w);
		float m = k->max(sign < 0 ? turned : x + i, w);
		if (in == NULL || m > most || (m != m && most == most)) {
			most = m;
			in = x + i;
		}
	}
	most = (float)sign * most;
	while (*in != most && (most == most || *in == *in))
		in++;
	return (int32_t)(in - x);
}

static void
run(const struct vq_call *c, int sign)
{
	struct span s = span_of(c);

	if (c->in[0].type->dtype != VQ_F32 || s.inner != 1) {
		ref(c, sign);
		return;
	}
	const float *x = c->in[0].data;
	int32_t *y = c->out[0].data;
#pragma omp parallel for num_threads(c->threads) schedule(static) if (s.outer * s.n >= 16384)
	for (int64_t i = 0; i < s.outer; i++)
		y[i] = find_in_row(c->k, x + i * s.n, s.n, sign);
}

static void run_argmax(const struct vq_call *c) { run(c, 1); }
static void run_argmin(const struct vq_call *c) { run(c, -1); }
static void ref_argmax(const struct vq_call *c) { ref(c, 1); }
static void ref_argmin(const struct vq_call *c) { ref(c, -1); }

static double
flops(const struct vq_cost *c)
{
	return (double)vq_shape_count(&c->in[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[4,5]" },
	{ "x=f32[4,5]", "axis=0" },
	{ "x=f32[4,5,3]", "axis=1 keep=true" },
	{ "x=i32[40](0,9)" },
	{ "x=f32[8192,512]" },
	{ "x=f32[4,5]", "axis=2", .fails = "has 2 axes, and no axis 2" },
	{ "x=f32[4,0]", .fails = "has nothing along axis 1" },
	{ 0 }
};

#define ROW(fn, text, ...) { \
	.name = #fn, .doc = text, .in = { "x" }, .out = { "index" }, .params = params, \
	.size = sizeof(struct arg), .infer = infer, .run = run_##fn, .ref = ref_##fn, .flops = flops, \
	.also = (const char *const[]){ __VA_ARGS__, NULL }, .examples = examples }

extern const struct vq_op vq_ops_argmax[];
const struct vq_op vq_ops_argmax[] = {
	ROW(argmax, "index of the largest element along an axis", "arg_max"),
	ROW(argmin, "index of the smallest element along an axis", "arg_min"),
	{ 0 }
};
