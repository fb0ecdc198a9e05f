/*
 * where -- one of two tensors, chosen element by element
 *
 *   cond   bool, or f32 (where it is not 0)
 *   a, b   what y is where cond holds, and where not
 *
 * All three broadcast.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/single.h"
#include "ops/kernels/strided.h"

enum { COND, A, B };
enum { TILE = 512, CHUNK = 16384 };

static bool
describe(const void *params, struct vq_ewise_instr *n)
{
	n->op = VQ_EW_SELECT;
	return true;
}

static int
infer(struct vq_infer *q)
{
	if (q->in[COND].dtype != VQ_BOOL && !vq_is_float(q->in[COND].dtype))
		return vq_infer_error(q, COND, "is %s, and bool is needed (a comparison gives it)",
		    vq_dtype_name(q->in[COND].dtype));
	if (q->in[A].dtype != q->in[B].dtype)
		return vq_infer_error(q, B, "is %s where a is %s (cast converts)",
		    vq_dtype_name(q->in[B].dtype), vq_dtype_name(q->in[A].dtype));
	q->out[0].dtype = q->in[A].dtype;
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}

static void
grad(struct vq_grad *d)
{
	struct vq_graph *g = d->to;
	vq_id zero = vq_scalar_like(g, d->dout[0], 0);

	if (d->want[A])
		d->din[A] = VQ_EMIT3(g, "where", d->in[COND], d->dout[0], zero, " ");
	if (d->want[B])
		d->din[B] = VQ_EMIT3(g, "where", d->in[COND], zero, d->dout[0], " ");
}

static void
ref(const struct vq_call *c)
{
	vq_single_ref(c, describe);
}

/* n floats from a, which goes on by `step`. */
static const float *
spread(const float *a, int64_t step, int64_t n, float room[TILE])
{
	if (step == 1)
		return a;
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		room[i] = a[0];
	return room;
}

static void
spread_cond(const uint8_t *cond, int64_t step, int64_t n, float room[TILE])
{
	if (step == 1) {
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			room[i] = cond[i];
		return;
	}
	for (int64_t i = 0; i < n; i++)
		room[i] = cond[0];
}

/* Elements [from, to) of one row along the last axis, cond a byte an element. */
static void
run_row(const struct vq_call *c, const struct vq_strided *s, int64_t outer, int64_t from, int64_t to)
{
	int last = s->rank - 1;
	int64_t at[VQ_STRIDED_INS] = { 0 }, n = s->dim[last];
	const int64_t step[3] = { s->step[COND][last], s->step[A][last], s->step[B][last] };
	float *y = (float *)c->out[0].data + outer * n, room[3][TILE];

	vq_strided_at(s, last, outer, at);
	const uint8_t *cond = (const uint8_t *)c->in[COND].data + at[COND];
	const float *a = (const float *)c->in[A].data + at[A], *b = (const float *)c->in[B].data + at[B];
	for (int64_t i = from; i < to; i += TILE) {
		int64_t m = to - i < TILE ? to - i : TILE;
		spread_cond(cond + i * step[COND], step[COND], m, room[COND]);
		c->k->ew[VQ_EW_SELECT](y + i, room[COND], spread(a + i * step[A], step[A], m, room[A]),
		    spread(b + i * step[B], step[B], m, room[B]), 0, 0, m);
	}
}

static void
run(const struct vq_call *c)
{
	struct vq_strided s;
	int64_t count = vq_shape_count(&c->out[0].type->shape);

	if (c->in[COND].type->dtype != VQ_BOOL || c->out[0].type->dtype != VQ_F32) {
		vq_single_run(c, describe);
		return;
	}
	vq_strided_broadcast(&s, &c->out[0].type->shape, c->in, c->nin);
	int64_t outer = vq_strided_span(&s, 0, s.rank - 1), len = s.dim[s.rank - 1];
	int64_t chunks = (len + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(c->threads) schedule(static) if (count >= CHUNK)
	for (int64_t i = 0; i < outer * chunks; i++) {
		int64_t from = i % chunks * CHUNK;
		run_row(c, &s, i / chunks, from, len - from < CHUNK ? len : from + CHUNK);
	}
}

static const struct vq_example examples[] = {
	{ "cond=bool[2,3](0,2) a=f32[2,3] b=f32[2,3]" },
	{ "cond=bool[4,4](0,2) a=f32[2,4,4] b=f32" },
	{ "cond=f32[2,3] a=f32[2,3] b=f32[3]", .no_gradient = true },
	{ "cond=bool[5,1,20](0,2) a=f32[5,3,1] b=f32[20]" },
	{ "cond=bool[5](0,2) a=i32[5](0,9) b=i32(0,9)" },
	{ "cond=bool[50,50](0,2) a=f32[64,8,50,50] b=f32" },
	{ "cond=i32[2](0,2) a=f32[2] b=f32[2]", .fails = "is i32, and bool is needed (a comparison gives it)" },
	{ "cond=bool[2](0,2) a=f32[2] b=i32[2](0,2)", .fails = "is i32 where a is f32 (cast converts)" },
	{ "cond=bool[2](0,2) a=f32[3] b=f32[3]", .fails = "shapes cannot be broadcast together" },
	{ 0 }
};

extern const struct vq_op vq_ops_where[];
const struct vq_op vq_ops_where[] = {
	{
		.name     = "where",
		.doc      = "a where cond holds, else b",
		.in       = { "cond", "a", "b" },
		.out      = { "y" },
		.flags    = VQ_OP_ELEMENTWISE | VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.ewise    = describe,
		.inplace  = "0:1 0:2",
		.also     = (const char *const[]){ "select", "cond", "if_else", "masked_fill", NULL },
		.examples = examples,
	},
	{ 0 }
};
