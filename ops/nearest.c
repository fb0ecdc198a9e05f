/*
 * nearest -- which row of a table each vector is closest to
 *
 *   x [..., d]   table [k, d]   index i32[...]
 *
 * The smallest |x - t|^2 is the smallest |t|^2 - 2 x.t: a matrix product whose
 * tiles are searched while they are in registers' reach, so the distances are
 * never stored.  Of equal distances the lowest index wins.  A vector with NaN
 * gets index 0.
 */
#include <math.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/rows.h"

static int
infer(struct vq_infer *q)
{
	const struct vq_shape *x = &q->in[0].shape, *t = &q->in[1].shape;

	for (int i = 0; i < 2; i++)
		if (!vq_is_float(q->in[i].dtype))
			return vq_infer_error(q, i, "must be floating, is %s", vq_dtype_name(q->in[i].dtype));
	if (x->rank < 1)
		return vq_infer_error(q, 0, "needs a last axis");
	if (t->rank != 2 || t->dim[0] < 1)
		return vq_infer_error(q, 1, "must be [entries, length of one]");
	if (t->dim[0] > INT32_MAX)
		return vq_infer_error(q, 1, "has more entries than an i32 counts");
	if (x->dim[x->rank - 1] != t->dim[1])
		return vq_infer_error(q, 1, "has entries of length %lld, and x vectors of length %lld",
		    (long long)t->dim[1], (long long)x->dim[x->rank - 1]);
	q->out[0].dtype = VQ_I32;
	q->out[0].shape.rank--;
	return vq_infer_same_dtype(q);
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *t = &c->in[1].type->shape;
	int64_t n = vq_shape_count(&c->out[0].type->shape), k = t->dim[0], d = t->dim[1];
	int32_t *index = c->out[0].data;

	for (int64_t i = 0; i < n; i++) {
		double best = INFINITY;
		index[i] = 0;
		for (int64_t j = 0; j < k; j++) {
			double sum = 0;
			for (int64_t l = 0; l < d; l++) {
				double diff = vq_get(&c->in[0], i * d + l) - vq_get(&c->in[1], j * d + l);
				sum += diff * diff;
			}
			if (sum < best) {
				best = sum;
				index[i] = (int32_t)j;
			}
		}
	}
}

/* --- fast ----------------------------------------------------------------- */

enum { BLOCK = 96 };		/* vectors that go past a panel of the table together */

/* The table in panels of nr entries, times -2, and |t|^2 of each (infinite past
 * the last entry, which then never wins). */
struct packed {
	const struct vq_gemm_micro *micro;
	int64_t k, d, panels;
	float *panel, *norm;
};

static struct packed
packed_of(const struct vq_gemm_micro *micro, const struct vq_shape *table, void *scratch)
{
	struct packed p = { .micro = micro, .k = table->dim[0], .d = table->dim[1] };

	p.panels = (p.k + micro->nr - 1) / micro->nr;
	p.norm = scratch;
	p.panel = p.norm + (p.panels * micro->nr + 15) / 16 * 16;
	return p;
}

/* For the widest panels there are: the machine is not known here. */
static size_t
scratch(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape;
	size_t entries = (size_t)(t->dim[0] + VQ_GEMM_NR_MAX) / 16 * 16 + 16;

	return entries * (size_t)(t->dim[1] + 1) * sizeof(float);
}

static void
pack(const struct vq_call *c, const struct packed *p, int64_t panel)
{
	int64_t nr = p->micro->nr, first = panel * nr, n = p->k - first < nr ? p->k - first : nr;
	const float *t = (const float *)c->in[1].data + first * p->d;
	float *to = p->panel + panel * nr * p->d, *norm = p->norm + first;

	p->micro->pack_transposed(to, t, p->d, p->d, (int)n);
	c->k->ew[VQ_EW_AFFINE](to, to, NULL, NULL, -2, 0, nr * p->d);
	for (int64_t j = 0; j < nr; j++)
		norm[j] = j < n ? c->k->dot(t + j * p->d, t + j * p->d, p->d) : INFINITY;
}

/* The best so far of each vector and lane, and the panel it was found in. */
struct search {
	_Alignas(64) float best[BLOCK * VQ_GEMM_NR_MAX];
	_Alignas(64) int32_t panel[BLOCK * VQ_GEMM_NR_MAX];
};

/* One panel against n <= BLOCK vectors. */
static void
search_panel(const struct vq_call *c, const struct packed *p, struct search *s, int64_t panel,
    const float *x, int64_t n)
{
	const struct vq_rows *rows = vq_rows(c->k);
	int mr = p->micro->mr, nr = p->micro->nr;
	_Alignas(64) float score[VQ_GEMM_MR_MAX * VQ_GEMM_NR_MAX];
	const float *a[VQ_GEMM_MR_MAX];
	float *y[VQ_GEMM_MR_MAX];
	int64_t off = 0;
	struct vq_gemm_tile t = { .segs = 1, .len = p->d, .step = 1, .off = &off,
	    .b = p->panel + panel * nr * p->d, .cols = nr };

	for (int64_t i = 0; i < n; i += mr) {
		t.rows = (int)(n - i < mr ? n - i : mr);
		for (int r = 0; r < mr; r++) {
			a[r] = x + (i + (r < t.rows ? r : t.rows - 1)) * p->d;
			y[r] = score + r * nr;
		}
		p->micro->tile(&t, a, y);
		rows->take_less(s->best + i * nr, s->panel + i * nr, score, p->norm + panel * nr,
		    (int32_t)panel, t.rows, nr);
	}
}

/* The lowest index of the smallest score among the lanes of a vector. */
static int32_t
best_lane(const struct search *s, int64_t i, int nr)
{
	const float *best = s->best + i * nr;
	float least = INFINITY;
	int64_t index = 0;

	for (int j = 0; j < nr; j++) {
		int64_t at = (int64_t)s->panel[i * nr + j] * nr + j;
		if (best[j] < least || (best[j] == least && at < index)) {
			least = best[j];
			index = at;
		}
	}
	return (int32_t)index;
}

static void
search_block(const struct vq_call *c, const struct packed *p, const float *x, int32_t *index, int64_t n)
{
	int nr = p->micro->nr;
	struct search s;

	for (int64_t i = 0; i < n * nr; i++) {
		s.best[i] = INFINITY;
		s.panel[i] = 0;
	}
	for (int64_t i = 0; i < p->panels; i++)
		search_panel(c, p, &s, i, x, n);
	for (int64_t i = 0; i < n; i++)
		index[i] = best_lane(&s, i, nr);
}

static void
run(const struct vq_call *c)
{
	struct packed p = packed_of(c->k->gemm, &c->in[1].type->shape, c->scratch);
	int64_t n = vq_shape_count(&c->out[0].type->shape);
	const float *x = c->in[0].data;
	int32_t *index = c->out[0].data;
	int team = vq_rows_team(c->threads, n * p.k);

#pragma omp parallel num_threads(team)
	{
#pragma omp for schedule(static)
		for (int64_t i = 0; i < p.panels; i++)
			pack(c, &p, i);
#pragma omp for schedule(dynamic)
		for (int64_t i = 0; i < n; i += BLOCK)
			search_block(c, &p, x + i * p.d, index + i, n - i < BLOCK ? n - i : BLOCK);
	}
}

static double
flops(const struct vq_cost *c)
{
	const struct vq_shape *t = &c->in[1].shape;

	return 2.0 * (double)vq_shape_count(&c->out[0].shape) * (double)t->dim[0] * (double)t->dim[1];
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3,4] table=f32[5,4]" },
	{ "x=f32[7,1] table=f32[1,1]" },
	{ "x=f32[3] table=f32[40,3]" },
	{ "x=f32[101,17] table=f32[33,17]" },
	{ "x=f32[6272,64] table=f32[512,64]", .doc = "timed" },
	{ "x=f32[4,3] table=f32[5,2]", .fails = "has entries of length 2, and x vectors of length 3" },
	{ "x=f32[4,3] table=f32[3]", .fails = "must be [entries, length of one]" },
	{ 0 }
};

extern const struct vq_op vq_ops_nearest[];
const struct vq_op vq_ops_nearest[] = {
	{
		.name = "nearest",
		.doc = "index of the table's row at the smallest distance; the lowest of equals",
		.in = { "x", "table" }, .out = { "index" },
		.infer = infer, .run = run, .ref = ref, .scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "quantize", "cdist", "argmin_distance", "vq", NULL },
		.examples = examples,
	},
	{ 0 }
};
