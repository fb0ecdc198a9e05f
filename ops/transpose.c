/*
 * transpose -- axes in another order
 *
 * The permutation is first reduced to the axes that really move.  If the last one
 * stays last, runs of memory are copied; otherwise the plane of the two axes that
 * are innermost before and after is walked in square blocks, so that both
 * sides are read and written by whole cache lines.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/strided.h"

struct transpose {
	struct vq_ints axes;
};

static const struct vq_param params[] = {
	VQ_INTS(struct transpose, axes, "[]", -VQ_MAX_RANK, VQ_MAX_RANK - 1, 0, VQ_MAX_RANK,
	    "which axis of x each axis of y is; none: all in reverse"),
	VQ_PARAMS_END
};

enum { BLOCK = 16, PARALLEL_MIN = 16384 };

/* Axis of x that axis i of y is. */
static int
source_axis(const struct transpose *p, int rank, int i)
{
	if (p->axes.count == 0)
		return rank - 1 - i;
	return (int)(p->axes.v[i] < 0 ? p->axes.v[i] + rank : p->axes.v[i]);
}

static int
infer(struct vq_infer *q)
{
	const struct transpose *p = q->params;
	const struct vq_shape *x = &q->in[0].shape;
	unsigned seen = 0;
	int axis;

	if (p->axes.count != 0 && p->axes.count != x->rank)
		return vq_infer_error(q, 0, "has %d axes, and axes lists %d", x->rank, p->axes.count);
	for (int i = 0; i < p->axes.count; i++) {
		if (vq_infer_axis(q, 0, p->axes.v[i], &axis) < 0)
			return -1;
		if (seen >> axis & 1)
			return vq_infer_error(q, VQ_NONE, "axis %d is listed twice", axis);
		seen |= 1u << axis;
	}
	for (int i = 0; i < x->rank; i++)
		q->out[0].shape.dim[i] = x->dim[source_axis(p, x->rank, i)];
	return 0;
}

static void
grad(struct vq_grad *d)
{
	const struct transpose *p = d->params;
	int rank = d->to->value[d->in[0]].type.shape.rank, back[VQ_MAX_RANK];
	struct vq_text list = { 0 };

	for (int i = 0; i < rank; i++)
		back[source_axis(p, rank, i)] = i;
	vq_text_add(&list, "axes=[");
	for (int i = 0; i < rank; i++)
		vq_text_add(&list, "%s%d", i ? "," : "", back[i]);
	vq_text_add(&list, "]");
	d->din[0] = VQ_EMIT1(d->to, "transpose", d->dout[0], "%s", list.s);
	vq_text_free(&list);
}

/* --- kernels ------------------------------------------------------------- */

/* The axes of y with their steps in x, those that move together merged. */
static void
layout(const struct vq_call *c, struct vq_strided *s)
{
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;

	*s = (struct vq_strided){ .rank = y->rank, .nin = 1 };
	for (int i = 0; i < y->rank; i++) {
		int axis = source_axis(c->params, x->rank, i);
		s->dim[i] = y->dim[i];
		s->step[0][i] = vq_shape_span(x, axis + 1, x->rank);
	}
	vq_strided_merge(s);
}

static void
ref(const struct vq_call *c)
{
	int64_t count = vq_shape_count(&c->out[0].type->shape), at[VQ_STRIDED_INS];
	size_t size = vq_dtype_size(c->out[0].type->dtype);
	struct vq_strided s;

	layout(c, &s);
	for (int64_t i = 0; i < count; i++) {
		vq_strided_at(&s, s.rank, i, at);
		memcpy((char *)c->out[0].data + (size_t)i * size, (const char *)c->in[0].data + (size_t)at[0] * size, size);
	}
}

/* The last axis stays last: runs of it are copied. */
static void
copy_runs(const struct vq_call *c, const struct vq_strided *s)
{
	int64_t outer = vq_strided_span(s, 0, s->rank - 1), n = s->dim[s->rank - 1];
	const uint32_t *x = c->in[0].data;
	uint32_t *y = c->out[0].data;

#pragma omp parallel for num_threads(c->threads) schedule(static) if (outer * n >= PARALLEL_MIN)
	for (int64_t i = 0; i < outer; i++) {
		int64_t at[VQ_STRIDED_INS];
		vq_strided_at(s, s->rank - 1, i, at);
		memcpy(y + i * n, x + at[0], (size_t)n * sizeof(*y));
	}
}

/* The plane that is walked in blocks: axis `in` is innermost in x, the last one in y. */
struct plane {
	int64_t in_dim, in_step;	/* step in y */
	int64_t out_dim, out_step;	/* step in x */
};

typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint32_t quad_memory __attribute__((vector_size(16), aligned(4), may_alias));

/* Four rows of four. */
static inline void
turn_quad(const uint32_t *x, int64_t x_step, uint32_t *y, int64_t y_step)
{
	quad a = *(const quad_memory *)x, b = *(const quad_memory *)(x + x_step);
	quad c = *(const quad_memory *)(x + 2 * x_step), d = *(const quad_memory *)(x + 3 * x_step);
	quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
	quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);

	*(quad_memory *)y = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
	*(quad_memory *)(y + y_step) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
	*(quad_memory *)(y + 2 * y_step) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
	*(quad_memory *)(y + 3 * y_step) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/* A whole block, turned in the first-level cache, then written by whole lines. */
static void
whole_block(const struct plane *p, const uint32_t *x, uint32_t *y)
{
	_Alignas(64) uint32_t room[BLOCK][BLOCK];

	for (int b = 0; b < BLOCK; b += 4)
		for (int a = 0; a < BLOCK; a += 4)
			turn_quad(x + b * p->out_step + a, p->out_step, &room[a][b], BLOCK);
	for (int a = 0; a < BLOCK; a++)
		memcpy(y + a * p->in_step, room[a], sizeof(room[a]));
}

static void
edge_block(const struct plane *p, const uint32_t *x, uint32_t *y, int64_t na, int64_t nb)
{
	for (int64_t a = 0; a < na; a++)
		for (int64_t b = 0; b < nb; b++)
			y[a * p->in_step + b] = x[b * p->out_step + a];
}

/* BLOCK positions of the axis `in`, all of the last one. */
static void
turn_band(const struct plane *p, const uint32_t *x, uint32_t *y, int64_t a)
{
	int64_t na = p->in_dim - a < BLOCK ? p->in_dim - a : BLOCK;

	for (int64_t b = 0; b < p->out_dim; b += BLOCK) {
		int64_t nb = p->out_dim - b < BLOCK ? p->out_dim - b : BLOCK;
		const uint32_t *from = x + b * p->out_step + a;
		uint32_t *to = y + a * p->in_step + b;
		if (na == BLOCK && nb == BLOCK)
			whole_block(p, from, to);
		else
			edge_block(p, from, to, na, nb);
	}
}

static void
turn_planes(const struct vq_call *c, struct vq_strided *s)
{
	int last = s->rank - 1, in = 0;
	int64_t count = vq_strided_span(s, 0, s->rank), y_step[VQ_MAX_RANK];

	while (s->step[0][in] != 1)
		in++;
	for (int i = 0; i < s->rank; i++)
		y_step[i] = vq_strided_span(s, i + 1, s->rank);
	struct plane p = { s->dim[in], y_step[in], s->dim[last], s->step[0][last] };
	/* The axes outside the plane, with their steps on both sides. */
	struct vq_strided outer = { .nin = 2 };
	for (int i = 0; i < last; i++) {
		if (i == in)
			continue;
		outer.dim[outer.rank] = s->dim[i];
		outer.step[0][outer.rank] = s->step[0][i];
		outer.step[1][outer.rank++] = y_step[i];
	}
	int64_t bands = (p.in_dim + BLOCK - 1) / BLOCK, planes = vq_strided_span(&outer, 0, outer.rank);
#pragma omp parallel for num_threads(c->threads) schedule(static) if (count >= PARALLEL_MIN)
	for (int64_t i = 0; i < planes * bands; i++) {
		int64_t at[VQ_STRIDED_INS];
		vq_strided_at(&outer, outer.rank, i / bands, at);
		turn_band(&p, (const uint32_t *)c->in[0].data + at[0], (uint32_t *)c->out[0].data + at[1],
		    i % bands * BLOCK);
	}
}

static void
run(const struct vq_call *c)
{
	struct vq_strided s;

	if (vq_dtype_size(c->out[0].type->dtype) != sizeof(uint32_t) ||
	    vq_shape_count(&c->out[0].type->shape) == 0) {
		ref(c);
		return;
	}
	layout(c, &s);
	if (s.step[0][s.rank - 1] == 1)
		copy_runs(c, &s);
	else
		turn_planes(c, &s);
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3]" },
	{ "x=f32[2,3,4]", "axes=[0,2,1]" },
	{ "x=f32[2,3,4]", "axes=[1,0,2]" },
	{ "x=f32[2,3,4,2]", "axes=[3,1,0,2]" },
	{ "x=f32[2,1,4]", "axes=[-1,0,1]" },
	{ "x=f32" },
	{ "x=i32[37,50](0,9)" },
	{ "x=f32[3,40,5,70]", "axes=[0,3,1,2]" },
	{ "x=f32[3,40,5,70]", "axes=[3,2,1,0]" },
	{ "x=f32[64,49,8,32]", "axes=[0,2,1,3]" },
	{ "x=f32[2048,1024]" },
	{ "x=f32[2,3]", "axes=[0]", .fails = "has 2 axes, and axes lists 1" },
	{ "x=f32[2,3]", "axes=[0,-2]", .fails = "axis 0 is listed twice" },
	{ "x=f32[2,3]", "axes=[0,2]", .fails = "has 2 axes, and no axis 2" },
	{ 0 }
};

extern const struct vq_op vq_ops_transpose[];
const struct vq_op vq_ops_transpose[] = {
	{
		.name     = "transpose",
		.doc      = "axes in another order",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct transpose),
		.flags    = VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.also     = (const char *const[]){ "permute", "swapaxes", "movedim", NULL },
		.examples = examples,
	},
	{ 0 }
};
