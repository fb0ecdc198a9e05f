/*
 * search -- the nearest row of a table
 *
 * The smallest |x - t|^2 is the smallest |t|^2 - 2 x.t: a matrix product whose
 * tiles are searched while they are in registers' reach, so the distances are
 * never stored.
 */
#include "ops/kernels/search.h"

#include <math.h>

#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/rows.h"

enum { BLOCK = 96 };		/* vectors that go past a panel of the table together */

/* The table in panels of nr entries, times -2, and |t|^2 of each (infinite past
 * the last entry, which then never wins). */
struct packed {
	const struct vq_gemm_micro *micro;
	int64_t k, d, panels;
	float *panel, *norm;
};

static struct packed
packed_of(const struct vq_gemm_micro *micro, int64_t k, int64_t d, void *scratch)
{
	struct packed p = { .micro = micro, .k = k, .d = d };

	p.panels = (p.k + micro->nr - 1) / micro->nr;
	p.norm = scratch;
	p.panel = p.norm + (p.panels * micro->nr + 15) / 16 * 16;
	return p;
}

/* For the widest panels there are: the machine is not known here. */
size_t
vq_search_room(int64_t k, int64_t d)
{
	size_t entries = (size_t)(k + VQ_GEMM_NR_MAX) / 16 * 16 + 16;

	return entries * (size_t)(d + 1) * sizeof(float);
}

static void
pack(const struct vq_call *c, const struct packed *p, const float *table, int64_t panel)
{
	int64_t nr = p->micro->nr, first = panel * nr, n = p->k - first < nr ? p->k - first : nr;
	const float *t = table + first * p->d;
	float *to = p->panel + panel * nr * p->d, *norm = p->norm + first;

	p->micro->pack_transposed(to, t, p->d, p->d, (int)n);
	c->k->ew[VQ_EW_AFFINE](to, to, NULL, NULL, -2, 0, nr * p->d);
	for (int64_t j = 0; j < nr; j++)
		norm[j] = j < n ? c->k->dot(t + j * p->d, t + j * p->d, p->d) : INFINITY;
}

/* The best so far of each vector and lane, and the panel it was found in. */
struct found {
	_Alignas(64) float best[BLOCK * VQ_GEMM_NR_MAX];
	_Alignas(64) int32_t panel[BLOCK * VQ_GEMM_NR_MAX];
};

/* One panel against n <= BLOCK vectors, `step` floats apart. */
static void
search_panel(const struct vq_call *c, const struct packed *p, struct found *s, int64_t panel,
    const float *x, int64_t step, int64_t n)
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
			a[r] = x + (i + (r < t.rows ? r : t.rows - 1)) * step;
			y[r] = score + r * nr;
		}
		p->micro->tile(&t, a, y);
		rows->take_less(s->best + i * nr, s->panel + i * nr, score, p->norm + panel * nr,
		    (int32_t)panel, t.rows, nr);
	}
}

/* The lowest index of the smallest score among the lanes of a vector. */
static int32_t
best_lane(const struct found *s, int64_t i, int nr)
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
search_block(const struct vq_call *c, const struct packed *p, const struct vq_search *q, int64_t from)
{
	int64_t n = q->n - from < BLOCK ? q->n - from : BLOCK;
	int nr = p->micro->nr;
	struct found s;

	for (int64_t i = 0; i < n * nr; i++) {
		s.best[i] = INFINITY;
		s.panel[i] = 0;
	}
	for (int64_t i = 0; i < p->panels; i++)
		search_panel(c, p, &s, i, q->x + from * q->step, q->step, n);
	for (int64_t i = 0; i < n; i++)
		q->index[(from + i) * q->index_step] = best_lane(&s, i, nr);
}

void
vq_search(const struct vq_call *c, const struct vq_search *q, const float *table, int64_t k, int64_t d, void *room)
{
	struct packed p = packed_of(c->k->gemm, k, d, room);
	int team = vq_rows_team(c->threads, q->n * k);

#pragma omp parallel num_threads(team)
	{
#pragma omp for schedule(static)
		for (int64_t i = 0; i < p.panels; i++)
			pack(c, &p, table, i);
#pragma omp for schedule(dynamic)
		for (int64_t i = 0; i < q->n; i += BLOCK)
			search_block(c, &p, q, i);
	}
}
