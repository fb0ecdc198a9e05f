/*
 * attention_step -- causal attention, one position at a time
 *
 *   q [n, 1, c]   k [n, 1, c]   v [n, 1, e]: of the newest position
 *   keys [n, T, c]   values [n, T, e]: of those before it; rows from `position` on are
 *                                      not read
 *   position   i32[1]: where the newest stands, 0 .. T-1
 *   y [n, 1, e]   keys, values: with the newest in row `position`
 *
 * The result is that row of `attention` with causal, over all the positions so
 * far.  A position outside the caches leaves them as they are and makes y NaN.
 */
#include <math.h>
#include <string.h>

#include "engine/op.h"
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/rows.h"

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

static int
check_port(struct vq_infer *q, int i, int64_t positions, int64_t channels)
{
	const struct vq_shape *s = &q->in[i].shape;
	struct vq_shape want = { 3, { q->in[Q].shape.dim[0], positions, channels } };
	char a[VQ_TYPE_STR], b[VQ_TYPE_STR];

	if (!vq_is_float(q->in[i].dtype))
		return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (!vq_shape_equal(s, &want))
		return vq_infer_error(q, i, "must be %s, is %s", vq_shape_str(&want, a), vq_shape_str(s, b));
	if (q->in[i].dtype != q->in[Q].dtype)
		return vq_infer_error(q, i, "is %s where q is %s (cast converts)", vq_dtype_name(q->in[i].dtype),
		    vq_dtype_name(q->in[Q].dtype));
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct step *p = q->params;
	const struct vq_shape *at = &q->in[POSITION].shape;

	for (int i = Q; i <= VALUES; i++)
		if (q->in[i].shape.rank != 3)
			return vq_infer_error(q, i, "must have three axes: batch, positions, channels");
	int64_t c = q->in[Q].shape.dim[2], e = q->in[V].shape.dim[2], room = q->in[KEYS].shape.dim[1];
	const int64_t want[][2] = { { 1, c }, { 1, c }, { 1, e }, { room, c }, { room, e } };
	for (int i = Q; i <= VALUES; i++)
		if (check_port(q, i, want[i][0], want[i][1]) < 0)
			return -1;
	if (c == 0 || c % p->heads || e % p->heads)
		return vq_infer_error(q, c == 0 || c % p->heads ? Q : V, "has %lld channels, which %lld heads do not divide",
		    (long long)(c == 0 || c % p->heads ? c : e), (long long)p->heads);
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

static void
ref_cache(const struct vq_view *fresh, const struct vq_view *cache, const struct vq_view *out, int64_t position)
{
	const int64_t *s = cache->type->shape.dim;

	for (int64_t i = 0; i < s[0] * s[1] * s[2]; i++)
		vq_set(out, i, i / s[2] % s[1] == position ?
		    vq_get(fresh, i / (s[1] * s[2]) * s[2] + i % s[2]) : vq_get(cache, i));
}

/* score[j] of head h of sequence b, and the sum of the exponentials' weights. */
static double
ref_score(const struct vq_call *c, int64_t b, int64_t h, int64_t j)
{
	const struct step *p = c->params;
	const int64_t *s = c->out[1].type->shape.dim;
	int64_t d = s[2] / p->heads;
	double x = 0;

	for (int64_t i = h * d; i < (h + 1) * d; i++)
		x += vq_get(&c->in[Q], b * s[2] + i) * vq_get(&c->out[1], (b * s[1] + j) * s[2] + i);
	return x * scale_of(p, s[2]);
}

static void
ref(const struct vq_call *c)
{
	const struct step *p = c->params;
	const int64_t *s = c->out[2].type->shape.dim;
	int64_t position = *(const int32_t *)c->in[POSITION].data, d = s[2] / p->heads;
	bool outside = position < 0 || position >= s[1];

	ref_cache(&c->in[K], &c->in[KEYS], &c->out[1], position);
	ref_cache(&c->in[V], &c->in[VALUES], &c->out[2], position);
	for (int64_t i = 0; i < s[0] * s[2]; i++) {
		int64_t b = i / s[2];
		double most = -INFINITY, sum = 0, y = 0;
		for (int64_t j = 0; !outside && j <= position; j++)
			most = fmax(most, ref_score(c, b, i % s[2] / d, j));
		for (int64_t j = 0; !outside && j <= position; j++) {
			double w = exp(ref_score(c, b, i % s[2] / d, j) - most);
			sum += w;
			y += w * vq_get(&c->out[2], (b * s[1] + j) * s[2] + i % s[2]);
		}
		vq_set(&c->out[0], i, outside ? NAN : y / sum);
	}
}

/* --- fast ----------------------------------------------------------------- */

/* The caches as the outputs: copied where they are not the same memory, and the
 * newest row written. */
static void
store(const struct vq_call *c, int cache, int64_t b, int64_t position)
{
	const int64_t *s = c->in[cache].type->shape.dim;
	const float *fresh = c->in[cache - KEYS + K].data, *from = c->in[cache].data;
	float *to = c->out[cache - KEYS + 1].data;
	int64_t at = b * s[1] * s[2];

	if (to != from)
		memcpy(to + at, from + at, (size_t)(s[1] * s[2]) * sizeof(*to));
	if (position >= 0 && position < s[1])
		memcpy(to + at + position * s[2], fresh + b * s[2], (size_t)s[2] * sizeof(*to));
}

/* Head h of sequence b; w: room for a weight of each position. */
static void
attend(const struct vq_call *c, int64_t b, int64_t h, int64_t positions, float *w)
{
	const struct step *p = c->params;
	const int64_t *k = c->out[1].type->shape.dim, *v = c->out[2].type->shape.dim;
	int64_t d = k[2] / p->heads, e = v[2] / p->heads;
	const float *q = (const float *)c->in[Q].data + b * k[2] + h * d;
	const float *keys = (const float *)c->out[1].data + b * k[1] * k[2] + h * d;
	const float *values = (const float *)c->out[2].data + b * v[1] * v[2] + h * e;
	float *y = (float *)c->out[0].data + b * v[2] + h * e, scale = (float)scale_of(p, k[2]);

	for (int64_t j = 0; j < positions; j++)
		w[j] = scale * c->k->dot(q, keys + j * k[2], d);
	vq_rows(c->k)->softmax(w, w, 1, positions);
	memset(y, 0, (size_t)e * sizeof(*y));
	int64_t j = 0;
	for (; j + 4 <= positions; j += 4)
		c->k->gemm->add4(y, 0, 1, e, w + j, 0, values + j * v[2], v[2]);
	for (; j < positions; j++)
		c->k->ew[VQ_EW_AXPY](y, values + j * v[2], y, NULL, w[j], 0, e);
}

static void
run(const struct vq_call *c)
{
	const struct step *p = c->params;
	const int64_t *k = c->out[1].type->shape.dim, *v = c->out[2].type->shape.dim;
	int64_t position = *(const int32_t *)c->in[POSITION].data, n = k[0], room = k[1] + 16 - k[1] % 16;
	bool outside = position < 0 || position >= k[1];
	int team = vq_rows_team(c->threads, 2 * n * (outside ? 1 : position + 1) * (k[2] + v[2]));

#pragma omp parallel num_threads(team)
	{
#pragma omp for schedule(static)
		for (int64_t i = 0; i < 2 * n; i++)
			store(c, i < n ? KEYS : VALUES, i % n, position);
#pragma omp for schedule(static)
		for (int64_t i = 0; i < n * p->heads; i++)
			if (!outside)
				attend(c, i / p->heads, i % p->heads, position + 1, (float *)c->scratch + i * room);
	}
	float *y = c->out[0].data;
	for (int64_t i = 0; outside && i < n * v[2]; i++)
		y[i] = NAN;
}

static size_t
scratch(const struct vq_cost *c)
{
	const int64_t *k = c->in[KEYS].shape.dim;

	return (size_t)(k[0] * ((const struct step *)c->params)->heads * (k[1] + 16 - k[1] % 16)) * sizeof(float);
}

static double
flops(const struct vq_cost *c)
{
	double heads = (double)((const struct step *)c->params)->heads;
	const int64_t *k = c->in[KEYS].shape.dim;

	return (double)(k[0] * k[1]) * (2.0 * (double)(k[2] + c->in[VALUES].shape.dim[2]) + 13 * heads);
}

/* --- declarations --------------------------------------------------------- */

#define STEP(n, T, c, e, at) "q=f32[" #n ",1," #c "] k=f32[" #n ",1," #c "] v=f32[" #n ",1," #e "] " \
	"keys=f32[" #n "," #T "," #c "] values=f32[" #n "," #T "," #e "] position=i32[1](" at ")"

static const struct vq_example examples[] = {
	{ STEP(2, 5, 4, 6, "3,4"), "heads=2" },
	{ STEP(2, 5, 4, 3, "0,1"), .doc = "the first position" },
	{ STEP(3, 7, 6, 6, "6,7"), "heads=3 scale=0.5", .doc = "the last" },
	{ STEP(1, 5, 4, 4, "5,6"), .doc = "outside: NaN" },
	{ STEP(1, 5, 4, 4, "-2,-1") },
	{ STEP(2, 70, 66, 66, "68,69"), "heads=2" },
	{ STEP(8, 50, 256, 256, "49,50"), "heads=8", .doc = "timed" },
	{ STEP(2, 5, 4, 6, "0,1"), "heads=4", .fails = "has 6 channels, which 4 heads do not divide" },
	{ "q=f32[2,1,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,5,4] values=f32[2,6,4] position=i32[1](0,1)",
	    .fails = "must be [2, 5, 4], is [2, 6, 4]" },
	{ "q=f32[2,2,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,5,4] values=f32[2,5,4] position=i32[1](0,1)",
	    .fails = "must be [2, 1, 4], is [2, 2, 4]" },
	{ "q=f32[2,1,4] k=f32[2,1,4] v=f32[2,1,4] keys=f32[2,5,4] values=f32[2,5,4] position=i32[2](0,1)",
	    .fails = "must be one number: i32[1]" },
	{ 0 }
};

extern const struct vq_op vq_ops_attention_step[];
const struct vq_op vq_ops_attention_step[] = {
	{
		.name = "attention_step",
		.doc = "causal attention of one new position to those before it, which are kept",
		.in = { "q", "k", "v", "keys", "values", "position" }, .out = { "y", "keys", "values" },
		.params = params, .size = sizeof(struct step), .flags = VQ_OP_INTERNAL,
		.infer = infer, .run = run, .ref = ref,
		.inplace = "1:3 2:4", .scratch = scratch, .flops = flops,
		.examples = examples,
	},
	{ 0 }
};
