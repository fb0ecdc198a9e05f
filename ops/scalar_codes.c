/*
 * fsq_bound, fsq_code, fsq_lookup, sign_code, sign_lookup -- codes made number by number, without a table
 *
 * Finite scalar quantization (Mentzer et al. 2023, appendix A.1): number i of a vector becomes one of L_i
 * levels.  In units of a level, with half = (L - 1)(1 - 1e-3) / 2, odd L having offset 0 and even L 1/2:
 *
 *   fsq_bound   y = (tanh(x + tan(offset / half)) half - offset) / floor(L / 2)
 *   fsq_code    index = sum_i (round(x_i w_i) + w_i) L_1 ... L_(i-1), w_i = floor(L_i / 2)
 *   fsq_lookup  the vector of an index: numbers from -1 to 1
 *
 * Signs (lookup-free quantization, Yu et al. 2023): sign_code is the number whose bit i is x_i > 0, sign_lookup
 * its vector of -1 and 1.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

enum { MOST_BITS = 30 };

struct fsq {
	struct vq_ints levels;
};
struct bits {
	int64_t dim;
};

static const struct vq_param fsq_params[] = {
	VQ_INTS(struct fsq, levels, NULL, 2, 1 << 16, 1, VQ_MAX_INTS, "levels of each number"),
	VQ_PARAMS_END
};
static const struct vq_param bits_params[] = {
	VQ_INT(struct bits, dim, NULL, 1, MOST_BITS, "length of a vector"),
	VQ_PARAMS_END
};

/* --- types ---------------------------------------------------------------- */

static int
check_levels(struct vq_infer *q)
{
	const struct vq_ints *levels = &((const struct fsq *)q->params)->levels;
	int64_t codes = 1;

	for (int i = 0; i < levels->count; i++)
		if ((codes *= levels->v[i]) > INT32_MAX)
			return vq_infer_error(q, VQ_NONE, "levels give more codes than an i32 counts");
	return 0;
}

static int
infer_fsq(struct vq_infer *q)
{
	const struct vq_ints *levels = &((const struct fsq *)q->params)->levels;
	const struct vq_shape *x = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (x->rank < 1 || x->dim[x->rank - 1] != levels->count)
		return vq_infer_error(q, 0, "must have a last axis of length %d, one for each of the levels", levels->count);
	return check_levels(q);
}

static int
infer_fsq_code(struct vq_infer *q)
{
	if (infer_fsq(q) < 0)
		return -1;
	q->out[0].dtype = VQ_I32;
	q->out[0].shape.rank--;
	return 0;
}

static int
infer_vectors(struct vq_infer *q, int64_t length)
{
	struct vq_shape *y = &q->out[0].shape;

	if (q->in[0].dtype != VQ_I32)
		return vq_infer_error(q, 0, "must be i32, is %s (cast converts)", vq_dtype_name(q->in[0].dtype));
	if (y->rank == VQ_MAX_RANK)
		return vq_infer_error(q, 0, "has %d axes, and the result would have one more", y->rank);
	y->dim[y->rank++] = length;
	q->out[0].dtype = VQ_F32;
	return 0;
}

static int
infer_fsq_lookup(struct vq_infer *q)
{
	return check_levels(q) < 0 ? -1 : infer_vectors(q, ((const struct fsq *)q->params)->levels.count);
}

static int
infer_sign_lookup(struct vq_infer *q)
{
	return infer_vectors(q, ((const struct bits *)q->params)->dim);
}

static int
infer_sign_code(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	if (x->rank < 1 || x->dim[x->rank - 1] < 1 || x->dim[x->rank - 1] > MOST_BITS)
		return vq_infer_error(q, 0, "must have a last axis of 1 to %d numbers, a bit each", MOST_BITS);
	q->out[0].dtype = VQ_I32;
	q->out[0].shape.rank--;
	return 0;
}

/* --- levels --------------------------------------------------------------- */

/* y = (tanh(x + shift) half - offset) / width */
struct level {
	double half, offset, shift, width;
};

static struct level
level_of(int64_t levels)
{
	struct level l = { .half = (double)(levels - 1) * (1 - 1e-3) / 2, .offset = levels % 2 ? 0 : 0.5,
	    .width = (double)(levels / 2) };

	l.shift = tan(l.offset / l.half);
	return l;
}

enum coefficient { SHIFT, SCALE, OFFSET, COEFFICIENTS };

/* One number for each of the levels, as a constant. */
static vq_id
coefficients(struct vq_graph *g, const struct vq_ints *levels, enum vq_dtype dtype, enum coefficient which)
{
	struct vq_type t = vq_type_of(dtype, 1, (int64_t[]){ levels->count });
	uint64_t room[VQ_MAX_INTS] = { 0 };
	struct vq_view to = { room, &t };

	for (int i = 0; i < levels->count; i++) {
		struct level l = level_of(levels->v[i]);
		vq_set(&to, i, which == SHIFT ? l.shift : which == SCALE ? l.half / l.width : -l.offset / l.width);
	}
	return vq_graph_const(g, &t, room);
}

static void
compose_bound(struct vq_compose *c)
{
	const struct vq_ints *levels = &((const struct fsq *)c->params)->levels;
	enum vq_dtype dtype = vq_type_at(c->to, c->in[0])->dtype;
	vq_id y = vq_add(c->to, c->in[0], coefficients(c->to, levels, dtype, SHIFT));

	y = vq_mul(c->to, vq_unary(c->to, "tanh", y), coefficients(c->to, levels, dtype, SCALE));
	c->out[0] = vq_add(c->to, y, coefficients(c->to, levels, dtype, OFFSET));
}

/* Rounds halves to even; outside is the last level, a NaN level 0. */
static int32_t
fsq_index(const struct vq_call *c, const struct vq_ints *levels, int64_t i)
{
	int64_t index = 0, basis = 1;

	for (int j = 0; j < levels->count; basis *= levels->v[j++]) {
		int64_t width = levels->v[j] / 2;
		double level = nearbyint(vq_get(&c->in[0], i * levels->count + j) * (double)width) + (double)width;
		index += (level > 0 ? level < (double)levels->v[j] ? (int64_t)level : levels->v[j] - 1 : 0) * basis;
	}
	return (int32_t)index;
}

static void
ref_fsq_code(const struct vq_call *c)
{
	const struct vq_ints *levels = &((const struct fsq *)c->params)->levels;
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	int32_t *index = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n * levels->count)) schedule(static)
	for (int64_t i = 0; i < n; i++)
		index[i] = fsq_index(c, levels, i);
}

static int64_t
codes_of(const struct vq_ints *levels)
{
	int64_t codes = 1;

	for (int i = 0; i < levels->count; i++)
		codes *= levels->v[i];
	return codes;
}

static bool
places_fsq(const struct vq_cost *c, int port, struct vq_places *out)
{
	*out = (struct vq_places){ codes_of(&((const struct fsq *)c->params)->levels), VQ_NO_IGNORE };
	return true;
}

static bool
places_sign(const struct vq_cost *c, int port, struct vq_places *out)
{
	*out = (struct vq_places){ (int64_t)1 << ((const struct bits *)c->params)->dim, VQ_NO_IGNORE };
	return true;
}

/* Of an index outside, digits of the nearest inside. */
static void
ref_fsq_lookup(const struct vq_call *c)
{
	const struct vq_ints *levels = &((const struct fsq *)c->params)->levels;
	int64_t n = vq_shape_count(&c->in[0].type->shape), codes = codes_of(levels);
	const int32_t *index = c->in[0].data;

	for (int64_t i = 0; i < n; i++) {
		int64_t left = index[i] < 0 ? 0 : index[i] < codes ? index[i] : codes - 1;
		for (int j = 0; j < levels->count; j++) {
			int64_t width = levels->v[j] / 2;
			vq_set(&c->out[0], i * levels->count + j, (double)(left % levels->v[j] - width) / (double)width);
			left /= levels->v[j];
		}
	}
}

/* --- signs ---------------------------------------------------------------- */

static void
ref_sign_code(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape;
	int64_t n = vq_shape_count(&c->out[0].type->shape), d = x->dim[x->rank - 1];
	int32_t *index = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n * d)) schedule(static)
	for (int64_t i = 0; i < n; i++) {
		int32_t bits = 0;
		for (int64_t j = 0; j < d; j++)
			bits |= (vq_get(&c->in[0], i * d + j) > 0) << j;
		index[i] = bits;
	}
}

static void
ref_sign_lookup(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->in[0].type->shape), d = ((const struct bits *)c->params)->dim;
	const int32_t *index = c->in[0].data;

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < d; j++)
			vq_set(&c->out[0], i * d + j, index[i] >> j & 1 ? 1 : -1);
}

/* --- declarations --------------------------------------------------------- */

static const struct vq_example bound_examples[] = {
	{ "x=f32[3,2,4](-3,3)", "levels=[8,5,5,2]" },
	{ "x=f32[3](-2,2)", "levels=[3,4,7]" },
	{ "x=f32[4,3]", "levels=[8,5]", .fails = "must have a last axis of length 2, one for each of the levels" },
	{ "x=f32[4,3]", "levels=[65536,65536,2]", .fails = "levels give more codes than an i32 counts" },
	{ "x=i32[4,2](0,3)", "levels=[8,5]", .fails = "must be floating, is i32" },
	{ 0 }
};
static const struct vq_example code_examples[] = {
	{ "x=f32[30,4]", "levels=[8,5,5,2]" },
	{ "x=f32[7,2](-3,3)", "levels=[3,4]", .doc = "outside: the last level" },
	{ "x=f32[128,49,3]", "levels=[8,8,8]", .doc = "timed" },
	{ "x=f32[4,3]", "levels=[8,5]", .fails = "must have a last axis of length 2, one for each of the levels" },
	{ 0 }
};
static const struct vq_example fsq_lookup_examples[] = {
	{ "index=i32[2,15](0,30)", "levels=[3,5,2]" },
	{ "index=i32[40](-5,20)", "levels=[3,4]", .doc = "outside: the nearest inside" },
	{ "index=f32[3]", "levels=[3,4]", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};
static const struct vq_example sign_code_examples[] = {
	{ "x=f32[3,5,7]" },
	{ "x=f32[1]" },
	{ "x=f32[128,49,10]", .doc = "timed" },
	{ "x=f32[2,31]", .fails = "must have a last axis of 1 to 30 numbers, a bit each" },
	{ 0 }
};
static const struct vq_example sign_lookup_examples[] = {
	{ "index=i32[3,4](0,128)", "dim=7" },
	{ "index=f32[3]", "dim=4", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};

extern const struct vq_op vq_ops_scalar_codes[];
const struct vq_op vq_ops_scalar_codes[] = {
	{
		.name = "fsq_bound",
		.doc = "bounds each number to its levels, from -1 to 1, before fsq_code (Mentzer et al. 2023)",
		.in = { "x" }, .out = { "y" }, .params = fsq_params, .size = sizeof(struct fsq),
		.infer = infer_fsq, .compose = compose_bound,
		.also = (const char *const[]){ "fsq", "finite_scalar_quantization", NULL },
		.examples = bound_examples,
	}, {
		.name = "fsq_code",
		.doc = "rounds each number to its levels; all levels of a vector as one index, the first number lowest",
		.in = { "x" }, .out = { "index" }, .params = fsq_params, .size = sizeof(struct fsq),
		.infer = infer_fsq_code, .ref = ref_fsq_code,
		.also = (const char *const[]){ "fsq_round", "codes_to_indices", NULL },
		.examples = code_examples,
	}, {
		.name = "fsq_lookup",
		.doc = "the vector of levels of an index that fsq_code gave",
		.in = { "index" }, .out = { "y" }, .params = fsq_params, .size = sizeof(struct fsq),
		.infer = infer_fsq_lookup, .ref = ref_fsq_lookup, .places = places_fsq,
		.also = (const char *const[]){ "indices_to_codes", NULL },
		.examples = fsq_lookup_examples,
	}, {
		.name = "sign_code",
		.doc = "the signs of the last axis as the bits of a number, the first lowest; 1 where positive",
		.in = { "x" }, .out = { "index" },
		.infer = infer_sign_code, .ref = ref_sign_code,
		.also = (const char *const[]){ "lfq", "bits", NULL },
		.examples = sign_code_examples,
	}, {
		.name = "sign_lookup",
		.doc = "the bits of a number as a vector of -1 and 1",
		.in = { "index" }, .out = { "y" }, .params = bits_params, .size = sizeof(struct bits),
		.infer = infer_sign_lookup, .ref = ref_sign_lookup, .places = places_sign,
		.examples = sign_lookup_examples,
	},
	{ 0 }
};
