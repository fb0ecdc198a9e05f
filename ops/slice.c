/*
 * slice -- some positions of an axis: start, start + step, ... before stop
 * slice_input -- its adjoint: those positions filled, zeros between
 *
 * Bounds past the ends are errors, never cut off silently.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

struct slice {
	int64_t axis, start;
	struct vq_ints stop;		/* none: to the end */
	int64_t step;
};

struct slice_input {
	int64_t axis, start, step, length;
};

#define BIG 1e12
#define AXIS(st) VQ_INT(st, axis, "-1", -VQ_MAX_RANK, VQ_MAX_RANK - 1, "axis to cut; negative counts from the end")

static const struct vq_param params[] = {
	AXIS(struct slice),
	VQ_INT(struct slice, start, "0", -BIG, BIG, "first position; negative counts from the end"),
	VQ_INTS(struct slice, stop, "[]", -BIG, BIG, 0, 1, "position to stop before; none: to the end"),
	VQ_INT(struct slice, step, "1", 1, BIG, "distance between positions"),
	VQ_PARAMS_END
};

static const struct vq_param input_params[] = {
	AXIS(struct slice_input),
	VQ_INT(struct slice_input, start, "0", 0, BIG, "where the first one goes"),
	VQ_INT(struct slice_input, step, "1", 1, BIG, "distance between positions"),
	VQ_INT(struct slice_input, length, NULL, 1, BIG, "length of the axis"),
	VQ_PARAMS_END
};

/* A slice as [outer, n, inner] of which m positions from start on are meant. */
struct cut {
	int axis;
	int64_t outer, n, inner, start, m, step;
};

/* x: the shape that is cut. */
static struct cut
cut_of(const struct vq_shape *x, int64_t axis, int64_t start, int64_t step, int64_t m)
{
	struct cut c = { .axis = (int)(axis < 0 ? axis + x->rank : axis), .step = step, .m = m };

	c.n = x->dim[c.axis];
	c.start = start < 0 ? start + c.n : start;
	c.outer = vq_shape_span(x, 0, c.axis);
	c.inner = vq_shape_span(x, c.axis + 1, x->rank);
	return c;
}

/* --- types --------------------------------------------------------------- */

static int
infer(struct vq_infer *q)
{
	const struct slice *p = q->params;
	int axis;

	if (vq_infer_axis(q, 0, p->axis, &axis) < 0)
		return -1;
	int64_t n = q->in[0].shape.dim[axis];
	int64_t start = p->start < 0 ? p->start + n : p->start;
	int64_t stop = p->stop.count == 0 ? n : p->stop.v[0] < 0 ? p->stop.v[0] + n : p->stop.v[0];
	if (start < 0 || start >= n)
		return vq_infer_error(q, 0, "has length %lld along axis %d, and no position %lld to start at",
		    (long long)n, axis, (long long)p->start);
	if (stop > n || stop <= start)
		return vq_infer_error(q, 0, "has length %lld along axis %d: cannot go from %lld to before %lld",
		    (long long)n, axis, (long long)start, (long long)stop);
	q->out[0].shape.dim[axis] = (stop - start + p->step - 1) / p->step;
	return 0;
}

static int
infer_input(struct vq_infer *q)
{
	const struct slice_input *p = q->params;
	int axis;

	if (vq_infer_axis(q, 0, p->axis, &axis) < 0)
		return -1;
	int64_t m = q->in[0].shape.dim[axis], last;
	if (m > 0 && (__builtin_mul_overflow(m - 1, p->step, &last) ||
	    __builtin_add_overflow(last, p->start, &last) || last >= p->length))
		return vq_infer_error(q, 0, "has length %lld along axis %d, too long for %lld positions",
		    (long long)m, axis, (long long)p->length);
	q->out[0].shape.dim[axis] = p->length;
	return 0;
}

/* --- derivatives --------------------------------------------------------- */

static void
grad(struct vq_grad *d)
{
	const struct slice *p = d->params;
	const struct vq_shape *x = &d->to->value[d->in[0]].type.shape;
	struct cut c = cut_of(x, p->axis, p->start, p->step, 0);

	d->din[0] = VQ_EMIT1(d->to, "slice_input", d->dout[0], "axis=%d start=%lld step=%lld length=%lld",
	    c.axis, (long long)c.start, (long long)c.step, (long long)c.n);
}

static void
grad_input(struct vq_grad *d)
{
	const struct slice_input *p = d->params;
	const struct vq_shape *g = &d->to->value[d->in[0]].type.shape;
	int axis = (int)(p->axis < 0 ? p->axis + g->rank : p->axis);
	int64_t m = g->dim[axis];

	if (m > 0)
		d->din[0] = VQ_EMIT1(d->to, "slice", d->dout[0], "axis=%d start=%lld stop=%lld step=%lld", axis,
		    (long long)p->start, (long long)(p->start + (m - 1) * p->step + 1), (long long)p->step);
}

/* --- kernels ------------------------------------------------------------- */

static struct cut
cut_of_call(const struct vq_call *c)
{
	const struct slice *p = c->params;
	const struct vq_shape *x = &c->in[0].type->shape;
	struct cut s = cut_of(x, p->axis, p->start, p->step, 0);

	s.m = c->out[0].type->shape.dim[s.axis];
	return s;
}

static struct cut
cut_of_input_call(const struct vq_call *c)
{
	const struct slice_input *p = c->params;
	struct cut s = cut_of(&c->out[0].type->shape, p->axis, p->start, p->step, 0);

	s.m = c->in[0].type->shape.dim[s.axis];
	return s;
}

/* n blocks of `size` bytes, their starts so far apart. */
static void
copy_blocks(char *to, size_t to_step, const char *from, size_t from_step, int64_t n, size_t size)
{
	if (size == 4)
		for (int64_t i = 0; i < n; i++)
			memcpy(to + (size_t)i * to_step, from + (size_t)i * from_step, 4);
	else
		for (int64_t i = 0; i < n; i++)
			memcpy(to + (size_t)i * to_step, from + (size_t)i * from_step, size);
}

static void
run(const struct vq_call *c)
{
	struct cut s = cut_of_call(c);
	size_t block = (size_t)s.inner * vq_dtype_size(c->in[0].type->dtype);
	const char *x = c->in[0].data;
	char *y = c->out[0].data;

#pragma omp parallel for num_threads(c->threads) schedule(static) if (s.outer * s.m * (int64_t)block >= 65536)
	for (int64_t o = 0; o < s.outer; o++) {
		const char *from = x + (size_t)(o * s.n + s.start) * block;
		char *to = y + (size_t)(o * s.m) * block;
		if (s.step == 1)
			memcpy(to, from, (size_t)s.m * block);
		else
			copy_blocks(to, block, from, block * (size_t)s.step, s.m, block);
	}
}

static void
run_input(const struct vq_call *c)
{
	struct cut s = cut_of_input_call(c);
	size_t block = (size_t)s.inner * vq_dtype_size(c->in[0].type->dtype);
	const char *g = c->in[0].data;
	char *y = c->out[0].data;

#pragma omp parallel for num_threads(c->threads) schedule(static) if (s.outer * s.n * (int64_t)block >= 65536)
	for (int64_t o = 0; o < s.outer; o++) {
		const char *from = g + (size_t)(o * s.m) * block;
		char *to = y + (size_t)(o * s.n) * block, *first = to + (size_t)s.start * block;
		if (s.step == 1) {
			size_t part = (size_t)s.m * block, before = (size_t)s.start * block;
			memset(to, 0, before);
			memcpy(first, from, part);
			memset(first + part, 0, (size_t)s.n * block - before - part);
		} else {
			memset(to, 0, (size_t)s.n * block);
			copy_blocks(first, block * (size_t)s.step, from, block, s.m, block);
		}
	}
}

static void
ref(const struct vq_call *c)
{
	struct cut s = cut_of_call(c);

	for (int64_t i = 0; i < s.outer * s.m * s.inner; i++) {
		int64_t outer = i / s.inner / s.m, at = s.start + i / s.inner % s.m * s.step;
		vq_set(&c->out[0], i, vq_get(&c->in[0], (outer * s.n + at) * s.inner + i % s.inner));
	}
}

static void
ref_input(const struct vq_call *c)
{
	struct cut s = cut_of_input_call(c);

	for (int64_t i = 0; i < s.outer * s.n * s.inner; i++)
		vq_set(&c->out[0], i, 0);
	for (int64_t i = 0; i < s.outer * s.m * s.inner; i++) {
		int64_t outer = i / s.inner / s.m, at = s.start + i / s.inner % s.m * s.step;
		vq_set(&c->out[0], (outer * s.n + at) * s.inner + i % s.inner, vq_get(&c->in[0], i));
	}
}

/* --- declarations -------------------------------------------------------- */

static const struct vq_example examples[] = {
	{ "x=f32[2,5]", "start=1 stop=4" },
	{ "x=f32[2,5]", "start=-2" },
	{ "x=f32[2,5]", "stop=-1" },
	{ "x=f32[5,2,3]", "axis=0 step=2" },
	{ "x=f32[2,7,3]", "axis=1 start=1 stop=6 step=3" },
	{ "x=i32[9](0,9)", "start=1 step=4" },
	{ "x=f32[4096,384]", "start=128 stop=256" },
	{ "x=f32[2,5]", "start=5", .fails = "has length 5 along axis 1, and no position 5 to start at" },
	{ "x=f32[2,5]", "stop=6", .fails = "has length 5 along axis 1: cannot go from 0 to before 6" },
	{ "x=f32[2,5]", "start=3 stop=3", .fails = "has length 5 along axis 1: cannot go from 3 to before 3" },
	{ 0 }
};
static const struct vq_example input_examples[] = {
	{ "g=f32[2,3]", "start=1 length=5" },
	{ "g=f32[2,3,2]", "axis=1 step=2 length=6" },
	{ "g=i32[2](0,9)", "start=1 step=4 length=9" },
	{ "g=f32[4096,128]", "start=128 length=384" },
	{ "g=f32[2,3]", "start=1 length=3", .fails = "has length 3 along axis 1, too long for 3 positions" },
	{ 0 }
};

extern const struct vq_op vq_ops_slice[];
const struct vq_op vq_ops_slice[] = {
	{
		.name     = "slice",
		.doc      = "positions start, start + step, ... before stop of one axis",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct slice),
		.flags    = VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.also     = (const char *const[]){ "narrow", "crop", "cut", "split", "chunk", NULL },
		.examples = examples,
	},
	{
		.name     = "slice_input",
		.doc      = "zeros of a given length with g at start, start + step, ...: the adjoint of slice",
		.in       = { "g" },
		.out      = { "y" },
		.params   = input_params,
		.size     = sizeof(struct slice_input),
		.infer    = infer_input,
		.grad     = grad_input,
		.run      = run_input,
		.ref      = ref_input,
		.examples = input_examples,
	},
	{ 0 }
};
