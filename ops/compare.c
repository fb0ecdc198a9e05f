/*
 * compare -- comparisons and logic, element by element: results are bool
 *
 * They have no gradient and need none: a gradient rule asks only for the paths
 * that are floating.  Inside a fused chain a comparison is one instruction that
 * gives 1.0 or 0.0.
 */
#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/single.h"
#include "ops/kernels/strided.h"

enum { TILE = 512, CHUNK = 16384 };

/* --- kernels ------------------------------------------------------------- */

/* n numbers from an operand that goes on by `step`, as floats. */
static const float *
load(const struct vq_view *v, int64_t at, int64_t step, int64_t n, float room[TILE])
{
	bool is_float = v->type->dtype == VQ_F32;

	if (is_float && step == 1)
		return (const float *)v->data + at;
	if (step == 0) {
		float x = (float)vq_get(v, at);
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			room[i] = x;
	} else {
		const uint8_t *b = (const uint8_t *)v->data + at;
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			room[i] = b[i] != 0;
	}
	return room;
}

/* Elements [from, to) of one row along the last axis. */
static void
compare_row(const struct vq_call *c, const struct vq_ewise_instr *n, const struct vq_strided *s,
    int64_t outer, int64_t from, int64_t to)
{
	int64_t at[VQ_STRIDED_INS] = { 0 }, len = s->dim[s->rank - 1];
	uint8_t *out = (uint8_t *)c->out[0].data + outer * len;
	float room[3][TILE];

	vq_strided_at(s, s->rank - 1, outer, at);
	for (int64_t i = from; i < to; i += TILE) {
		int64_t m = to - i < TILE ? to - i : TILE;
		const float *in[2] = { room[0], room[0] };
		for (int j = 0; j < c->nin; j++) {
			int64_t step = s->step[j][s->rank - 1];
			in[j] = load(&c->in[j], at[j] + i * step, step, m, room[j]);
		}
		c->k->ew[n->op](room[2], in[0], in[1], NULL, n->p, n->q, m);
#pragma omp simd
		for (int64_t j = 0; j < m; j++)
			out[i + j] = room[2][j] != 0;
	}
}

/* f32 and bool operands; whole numbers would not all fit a float. */
static void
run(const struct vq_call *c, vq_describe_fn *describe)
{
	struct vq_ewise p = vq_single_program(describe, c->params);
	struct vq_strided s;

	for (int i = 0; i < c->nin; i++)
		if (c->in[i].type->dtype != VQ_F32 && c->in[i].type->dtype != VQ_BOOL) {
			vq_ewise_reference(&p, c->in, c->out);
			return;
		}
	vq_strided_broadcast(&s, &c->out[0].type->shape, c->in, c->nin);
	int64_t outer = vq_strided_span(&s, 0, s.rank - 1), len = s.dim[s.rank - 1];
	int64_t chunks = (len + CHUNK - 1) / CHUNK, count = outer * len;
#pragma omp parallel for num_threads(c->threads) schedule(static) if (count >= CHUNK)
	for (int64_t i = 0; i < outer * chunks; i++) {
		int64_t at = i % chunks * CHUNK;
		compare_row(c, &p.instr[0], &s, i / chunks, at, len - at < CHUNK ? len : at + CHUNK);
	}
}

/* --- types --------------------------------------------------------------- */

static int
infer_compare(struct vq_infer *q)
{
	if (q->in[1].dtype != q->in[0].dtype)
		return vq_infer_error(q, 1, "is %s where the other is %s (cast converts)",
		    vq_dtype_name(q->in[1].dtype), vq_dtype_name(q->in[0].dtype));
	q->out[0].dtype = VQ_BOOL;
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}

static int
infer_logic(struct vq_infer *q)
{
	for (int i = 0; i < q->nin; i++)
		if (q->in[i].dtype != VQ_BOOL)
			return vq_infer_error(q, i, "is %s, and bool is needed (a comparison gives it)",
			    vq_dtype_name(q->in[i].dtype));
	return vq_infer_broadcast(q, 0, &q->out[0].shape);
}

/* --- the family ---------------------------------------------------------- */

#define DESCRIBE(fn, ...) \
	static bool describe_##fn(const void *params, struct vq_ewise_instr *n) \
	{ *n = (struct vq_ewise_instr){ __VA_ARGS__ }; return true; }
#define KERNELS(fn) \
	static void run_##fn(const struct vq_call *c) { run(c, describe_##fn); } \
	static void ref_##fn(const struct vq_call *c) { vq_single_ref(c, describe_##fn); }

DESCRIBE(greater, VQ_EW_GREATER) KERNELS(greater)
DESCRIBE(greater_equal, VQ_EW_GREATER_EQUAL) KERNELS(greater_equal)
DESCRIBE(less, VQ_EW_LESS) KERNELS(less)
DESCRIBE(less_equal, VQ_EW_LESS_EQUAL) KERNELS(less_equal)
DESCRIBE(equal, VQ_EW_EQUAL) KERNELS(equal)
DESCRIBE(not_equal, VQ_EW_NOT_EQUAL) KERNELS(not_equal)
/* Over 1.0 and 0.0, and is the product, or the larger, not the difference to one. */
DESCRIBE(logical_and, VQ_EW_MUL) KERNELS(logical_and)
DESCRIBE(logical_or, VQ_EW_MAX) KERNELS(logical_or)
DESCRIBE(logical_not, VQ_EW_AFFINE, .p = -1, .q = 1) KERNELS(logical_not)

static const struct vq_example comparisons[] = {
	{ "a=f32[2,3] b=f32[2,3]" },
	{ "a=f32[2,3] b=f32[2,1]" },
	{ "a=f32[40,700] b=f32[700]" },
	{ "a=i32[20](0,4) b=i32[20](0,4)" },
	{ "a=i32[20](0,4) b=i32(0,4)" },
	{ "a=f32[2] b=i32[2](0,4)", .fails = "is i32 where the other is f32 (cast converts)" },
	{ "a=f32[2,3] b=f32[4]", .fails = "shapes cannot be broadcast together" },
	{ 0 }
};
static const struct vq_example pairs[] = {
	{ "a=bool[20](0,2) b=bool[20](0,2)" },
	{ "a=bool[2,30](0,2) b=bool[2,1](0,2)" },
	{ "a=bool[2](0,2) b=f32[2]", .fails = "is f32, and bool is needed (a comparison gives it)" },
	{ 0 }
};
static const struct vq_example one[] = {
	{ "x=bool[20](0,2)" },
	{ "x=f32[2]", .fails = "is f32, and bool is needed (a comparison gives it)" },
	{ 0 }
};

#define ALSO(...) .also = (const char *const[]){ __VA_ARGS__, NULL }
#define AB .in = { "a", "b" }
#define X .in = { "x" }
#define ROW(fn, fits, ports, ex, text, ...) { \
	.name = #fn, .doc = text, ports, .out = { "y" }, .flags = VQ_OP_ELEMENTWISE, .infer = fits, \
	.run = run_##fn, .ref = ref_##fn, .ewise = describe_##fn, .examples = ex, __VA_ARGS__ }

extern const struct vq_op vq_ops_compare[];
const struct vq_op vq_ops_compare[] = {
	ROW(greater, infer_compare, AB, comparisons, "whether a > b", ALSO("gt", "greater_than")),
	ROW(greater_equal, infer_compare, AB, comparisons, "whether a >= b", ALSO("ge", "gte", "at_least")),
	ROW(less, infer_compare, AB, comparisons, "whether a < b", ALSO("lt", "less_than", "below")),
	ROW(less_equal, infer_compare, AB, comparisons, "whether a <= b", ALSO("le", "lte", "at_most")),
	ROW(equal, infer_compare, AB, comparisons, "whether a and b are the same number", ALSO("eq", "equals", "same")),
	ROW(not_equal, infer_compare, AB, comparisons, "whether a and b differ", ALSO("ne", "neq", "differs")),
	ROW(logical_and, infer_logic, AB, pairs, "whether both hold", ALSO("and")),
	ROW(logical_or, infer_logic, AB, pairs, "whether at least one holds", ALSO("or")),
	ROW(logical_not, infer_logic, X, one, "whether x does not hold", ALSO("not")),
	{ 0 }
};
