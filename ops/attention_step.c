/*
 * attention_step -- causal attention, one position at a time
 *
 *   q [n, 1, c]   k [n, 1, c]   v [n, 1, e]: of the newest position
 *   keys [n, heads, ceil(T / 16), c / heads, 16]   values [n, heads, T, e / heads]: of those
 *        before it; what they hold from `position` on is not read
 *   position   i32[1]: where the newest stands, 0 .. T-1
 *   y [n, 1, e]   keys, values: with the newest added
 *
 * keys and values may be bf16 where the others are f32: what is kept of a position is rounded,
 * and half the bytes are read at each later one; all arithmetic is f32.
 *
 * Keys lie position by position, so that the scores of many positions are vectors and none is
 * summed up across; what a head reads of either lies together.
 *
 * The result is that row of `attention` with causal, over all the positions so
 * far.  A position outside the caches leaves them as they are and makes y NaN.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "engine/op.h"
#include "ops/kernels/rows.h"
#include "ops/kernels/steps.h"

struct step {
	int64_t heads;
	double scale;
};

static const struct vq_param params[] = {
	VQ_INT(struct step, heads, "1", 1, 1 << 20, "parts of the channels that attend apart"),
	VQ_REAL(struct step, scale, "0", 0, 1e12, "factor of the products; 0: one over the root of a head's width"),
	VQ_PARAMS_END
};

enum { Q, K, V, KEYS, VALUES, POSITION };

/* --- types ---------------------------------------------------------------- */

enum { LANES = VQ_STEP_LANES };

static int
check_port(struct vq_infer *q, int i, const struct vq_shape *want)
{
	const struct vq_shape *s = &q->in[i].shape;
	char a[VQ_TYPE_STR], b[VQ_TYPE_STR];

	if (!vq_is_float(q->in[i].dtype))
		return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (!vq_shape_equal(s, want))
		return vq_infer_error(q, i, "must be %s, is %s", vq_shape_str(want, a), vq_shape_str(s, b));
	if (q->in[i].dtype != q->in[Q].dtype && !(i >= KEYS && q->in[i].dtype == VQ_BF16))
		return vq_infer_error(q, i, "is %s where q is %s (cast converts)", vq_dtype_name(q->in[i].dtype),
		    vq_dtype_name(q->in[Q].dtype));
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct step *p = q->params;
	const struct vq_shape *at = &q->in[POSITION].shape;

	for (int i = Q; i <= V; i++)
		if (q->in[i].shape.rank != 3)
			return vq_infer_error(q, i, "must have three axes: batch, positions, channels");
	if (q->in[VALUES].shape.rank != 4)
		return vq_infer_error(q, VALUES, "must have four axes: batch, heads, positions, channels");
	int64_t n = q->in[Q].shape.dim[0], c = q->in[Q].shape.dim[2], e = q->in[V].shape.dim[2], h = p->heads;
	int64_t room = q->in[VALUES].shape.dim[2];
	if (c == 0 || c % h || e % h)
		return vq_infer_error(q, c == 0 || c % h ? Q : V, "has %lld channels, which %lld heads do not divide",
		    (long long)(c == 0 || c % h ? c : e), (long long)h);
	const struct vq_shape want[] = { { 3, { n, 1, c } }, { 3, { n, 1, c } }, { 3, { n, 1, e } },
		{ 5, { n, h, (room + LANES - 1) / LANES, c / h, LANES } }, { 4, { n, h, room, e / h } } };
	for (int i = Q; i <= VALUES; i++)
		if (check_port(q, i, &want[i]) < 0)
			return -1;
	if (q->in[KEYS].dtype != q->in[VALUES].dtype)
		return vq_infer_error(q, VALUES, "is %s where keys are %s", vq_dtype_name(q->in[VALUES].dtype),
		    vq_dtype_name(q->in[KEYS].dtype));
	if (q->in[POSITION].dtype != VQ_I32 || at->rank != 1 || at->dim[0] != 1)
		return vq_infer_error(q, POSITION, "must be one number: i32[1]");
	q->out[0] = q->in[V];
	q->out[1] = q->in[KEYS];
	q->out[2] = q->in[VALUES];
	return 0;
}

static double
scale_of(const struct step *p, int64_t channels)
{
	return p->scale > 0 ? p->scale : 1 / sqrt((double)(channels / p->heads));
}

/* --- reference ------------------------------------------------------------ */

/* Where channel i of head h of sequence b stands at position j. */
static int64_t
key_at(const struct vq_shape *s, int64_t b, int64_t h, int64_t i, int64_t j)
{
	const int64_t *k = s->dim;

	return (((b * k[1] + h) * k[2] + j / LANES) * k[3] + i) * LANES + j % LANES;
}

static int64_t
value_at(const struct vq_shape *s, int64_t b, int64_t h, int64_t i, int64_t j)
{
	const int64_t *v = s->dim;

	return ((b * v[1] + h) * v[2] + j) * v[3] + i;
}

/* A cache with the newest of each sequence at `position`. */
static void
ref_cache(const struct vq_call *c, int cache, int64_t position,
    int64_t (*where)(const struct vq_shape *, int64_t, int64_t, int64_t, int64_t))
{
	const struct vq_shape *s = &c->in[cache].type->shape;
	int64_t width = s->dim[3], count = vq_shape_count(s);
	const struct vq_view *fresh = &c->in[cache == KEYS ? K : V], *out = &c->out[cache == KEYS ? 1 : 2];

	for (int64_t i = 0; i < count; i++)
		vq_set(out, i, vq_get(&c->in[cache], i));
	for (int64_t i = 0; position >= 0 && i < s->dim[0] * s->dim[1] * width; i++)
		vq_set(out, where(s, i / width / s->dim[1], i / width % s->dim[1], i % width, position), vq_get(fresh, i));
}

/* The score of position j in head h of sequence b. */
static double
ref_score(const struct vq_call *c, int64_t b, int64_t h, int64_t j)
{
	const struct vq_shape *s = &c->out[1].type->shape;
	int64_t heads = s->dim[1], d = s->dim[3];
	double x = 0;

	for (int64_t i = 0; i < d; i++)
		x += vq_get(&c->in[Q], (b * heads + h) * d + i) * vq_get(&c->out[1], key_at(s, b, h, i, j));
	return x * scale_of(c->params, heads * d);
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *s = &c->out[2].type->shape;
	int64_t position = *(const int32_t *)c->in[POSITION].data, heads = s->dim[1], e = s->dim[3];
	bool outside = position < 0 || position >= s->dim[2];

	ref_cache(c, KEYS, outside ? -1 : position, key_at);
	ref_cache(c, VALUES, outside ? -1 : position, value_at);
	for (int64_t x = 0; x < s->dim[0] * heads * e; x++) {
		int64_t b = x / e / heads, h = x / e % heads;
		double most = -INFINITY, sum = 0, y = 0;
		for (int64_t j = 0; !outside && j <= position; j++)
			most = fmax(most, ref_score(c, b, h, j));
		for (int64_t j = 0; !outside && j <= position; j++) {
			double w = exp(ref_score(c, b, h, j) - most);
			sum += w;
			y += w * vq_get(&c->out[2], value_at(s, b, h, x % e, j));
		}
		vq_set(&c->out[0], x, outside ? NAN : y / sum);
	}
}

/* --- fast ----------------------------------------------------------------- */

/* What the next head will read: one after the other, waiting for memory would take most of the time. */
static void
fetch(const char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(from + i, 0, 2);
}

/* The newest key and value of a head. */
static void
keep(const struct vq_call *c, int64_t head, int64_t position, char *keys, char *values, float *room)
{
	int64_t d = c->in[KEYS].type->shape.dim[3], e = c->in[VALUES].type->shape.dim[3];
	int64_t at = position / LANES * d * LANES + position % LANES;
	const float *k = (const float *)c->in[K].data + head * d, *v = (const float *)c->in[V].data + head * e;

	if (c->in[KEYS].type->dtype == VQ_F32) {
		for (int64_t i = 0; i < d; i++)
			((float *)keys)[at + i * LANES] = k[i];
		memcpy((float *)values + position * e, v, (size_t)e * sizeof(*v));
		return;
	}
	uint16_t *fresh = (uint16_t *)room;
	c->k->narrow(fresh, k, d);
	for (int64_t i = 0; i < d; i++)
		((uint16_t *)keys)[at + i * LANES] = fresh[i];
	c->k->narrow((uint16_t *)values + position * e, v, e);
}

/* One head of one sequence: its caches as the outputs (copied where they are not the same
 * memory), the newest added, and what it takes from all.  w: room_of() numbers. */
static void
attend(const struct vq_call *c, int64_t head, bool last, float *w)
{
	const int64_t *k = c->in[KEYS].type->shape.dim, *v = c->in[VALUES].type->shape.dim;
	int64_t position = *(const int32_t *)c->in[POSITION].data, d = k[3], e = v[3];
	bool half = c->in[KEYS].type->dtype == VQ_BF16;
	size_t element = half ? sizeof(uint16_t) : sizeof(float);
	size_t keys_of = (size_t)(k[2] * d * LANES) * element, values_of = (size_t)(v[2] * e) * element;
	char *keys = (char *)c->out[1].data + (size_t)head * keys_of, *values = (char *)c->out[2].data + (size_t)head * values_of;
	const float *q = (const float *)c->in[Q].data + head * d;
	float *y = (float *)c->out[0].data + head * e, scale = (float)scale_of(c->params, k[1] * d);

	if (c->out[1].data != c->in[KEYS].data)
		memcpy(keys, (const char *)c->in[KEYS].data + (size_t)head * keys_of, keys_of);
	if (c->out[2].data != c->in[VALUES].data)
		memcpy(values, (const char *)c->in[VALUES].data + (size_t)head * values_of, values_of);
	if (position < 0 || position >= v[2]) {
		for (int64_t i = 0; i < e; i++)
			y[i] = NAN;
		return;
	}
	if (!last) {
		fetch(keys + keys_of, (size_t)((position / LANES + 1) * d * LANES) * element);
		fetch(values + values_of, (size_t)((position + 1) * e) * element);
	}
	keep(c, head, position, keys, values, w);
	if (half)
		vq_steps(c->k)->scores_bf16(w, q, (const uint16_t *)keys, d, scale, position + 1);
	else
		vq_steps(c->k)->scores(w, q, (const float *)keys, d, scale, position + 1);
	vq_rows(c->k)->softmax(w, w, 1, position + 1);
	if (half)
		vq_steps(c->k)->mix_bf16(y, w, (const uint16_t *)values, position + 1, e);
	else
		vq_steps(c->k)->mix(y, w, (const float *)values, position + 1, e);
}

/* For a weight of each position, or before those are known a key. */
static int64_t
room_of(const int64_t *keys)
{
	return keys[2] * LANES > keys[3] ? keys[2] * LANES : keys[3];
}

static void
run(const struct vq_call *c)
{
	const int64_t *k = c->in[KEYS].type->shape.dim, *v = c->in[VALUES].type->shape.dim;
	int64_t heads = k[0] * k[1], position = *(const int32_t *)c->in[POSITION].data;
	float *room = c->scratch;

	if (vq_rows_team(c->threads, heads * (position + 1) * (k[3] + v[3])) == 1) {
		for (int64_t i = 0; i < heads; i++)
			attend(c, i, i + 1 == heads, room);
		return;
	}
	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < heads; i++)
		attend(c, i, i + 1 == heads, room + omp_get_thread_num() * room_of(k));
}

static size_t
scratch(const struct vq_cost *c)
{
	return (size_t)(c->threads * room_of(c->in[KEYS].shape.dim)) * sizeof(float);
}

static double
flops(const struct vq_cost *c)
{
	const int64_t *k = c->in[KEYS].shape.dim, *v = c->in[VALUES].shape.dim;

	return (double)(v[0] * v[1] * v[2]) * (2.0 * (double)(k[3] + v[3]) + 13);
}

/* --- declarations --------------------------------------------------------- */

/* n sequences, h heads of d and e channels, b blocks of 16 positions with room for T. */
#define KEPT(n, h, d, e, b, T, c, v, type, at) "q=f32[" #n ",1," #c "] k=f32[" #n ",1," #c "] v=f32[" #n ",1," #v "] " \
	"keys=" #type "[" #n "," #h "," #b "," #d ",16] values=" #type "[" #n "," #h "," #T "," #e "] position=i32[1](" at ")"
#define STEP(n, h, d, e, b, T, c, v, at) KEPT(n, h, d, e, b, T, c, v, f32, at)

static const struct vq_example examples[] = {
	{ STEP(2, 2, 2, 3, 1, 5, 4, 6, "3,4"), "heads=2" },
	{ STEP(2, 1, 4, 3, 1, 5, 4, 3, "0,1"), .doc = "the first position" },
	{ STEP(3, 3, 2, 2, 1, 7, 6, 6, "6,7"), "heads=3 scale=0.5", .doc = "the last" },
	{ STEP(1, 1, 4, 4, 1, 5, 4, 4, "5,6"), .doc = "outside: NaN" },
	{ STEP(1, 1, 4, 4, 1, 5, 4, 4, "-2,-1") },
	{ STEP(2, 2, 33, 39, 5, 70, 66, 78, "68,69"), "heads=2" },
	{ STEP(8, 8, 32, 32, 4, 50, 256, 256, "49,50"), "heads=8", .doc = "timed" },
	{ KEPT(2, 2, 2, 3, 1, 5, 4, 6, bf16, "3,4"), "heads=2", .doc = "kept as bf16" },
	{ KEPT(2, 1, 4, 3, 1, 5, 4, 3, bf16, "0,1") },
	{ KEPT(1, 1, 4, 4, 1, 5, 4, 4, bf16, "5,6") },
	{ KEPT(2, 2, 33, 39, 5, 70, 66, 78, bf16, "68,69"), "heads=2" },
	{ KEPT(8, 8, 32, 32, 4, 50, 256, 256, bf16, "49,50"), "heads=8" },
	{ STEP(2, 4, 1, 1, 1, 5, 4, 6, "0,1"), "heads=4", .fails = "has 6 channels, which 4 heads do not divide" },
	{ STEP(2, 1, 4, 4, 1, 17, 4, 4, "0,1"), .fails = "must be [2, 1, 2, 4, 16], is [2, 1, 1, 4, 16]" },
	{ STEP(2, 2, 2, 2, 1, 5, 4, 4, "0,1"), .fails = "must be [2, 1, 1, 4, 16], is [2, 2, 1, 2, 16]" },
	{ "q=f32[2,2,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,1,1,4,16] values=f32[2,1,5,4] position=i32[1](0,1)",
	    .fails = "must be [2, 1, 4], is [2, 2, 4]" },
	{ "q=f32[2,1,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,1,1,4,16] values=f32[2,1,5,4] position=i32[2](0,1)",
	    .fails = "must be one number: i32[1]" },
	{ "q=f32[2,1,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,1,1,4,16] values=f32[2,5,4] position=i32[1](0,1)",
	    .fails = "must have four axes: batch, heads, positions, channels" },
	{ "q=f32[2,1,4] k=f32[2,1,4] v=f32[2,1,4] keys=bf16[2,1,1,4,16] values=f32[2,1,5,4] position=i32[1](0,1)",
	    .fails = "is f32 where keys are bf16" },
	{ 0 }
};

extern const struct vq_op vq_ops_attention_step[];
const struct vq_op vq_ops_attention_step[] = {
	{
		.name = "attention_step",
		.doc = "causal attention of one new position to those before it, which are kept",
		.in = { "q", "k", "v", "keys", "values", "position" }, .out = { "y", "keys", "values" },
		.params = params, .size = sizeof(struct step), .flags = VQ_OP_INTERNAL | VQ_OP_BF16,
		.infer = infer, .run = run, .ref = ref,
		.inplace = "1:3 2:4", .scratch = scratch, .flops = flops,
		.examples = examples,
	},
	{ 0 }
};
