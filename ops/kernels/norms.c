/*
 * norms -- by rows where the elements of a statistic lie together, else by columns
 */
#include "ops/kernels/norms.h"

#include <math.h>
#include <string.h>

#include "ops/kernels/rows.h"

enum {
	WIDE = 64, CHUNK = 32768, MOST_CHUNKS = 256, ROW_BLOCK = 2048,
	HALF_WIDE = 512,		/* most columns of what is bf16 in memory */
	PIECE = VQ_ROWS_COLUMN * HALF_WIDE,	/* numbers of it that are taken at a time, at most */
};

static bool
is_rows(const struct vq_norm_layout *l)
{
	return l->groups == 1 && (l->inner == 1 || l->inner * l->width <= CHUNK);
}

/*
 * How columns are walked: one outer index is `size` elements, in chunks of
 * `chunk` (a function of the shape alone, so that sums do not depend on the
 * threads).  Narrow rows are taken `fold` at a time as one row of w columns.
 */
struct columns {
	int64_t c, fold, w, size, chunk, chunks;
	double *sums;			/* [outer][chunks][2][w] */
	float *wide;			/* [outer][3][w]: per-column values of the second pass */
};

static struct columns
columns_of(const struct vq_norm_layout *l, void *scratch)
{
	struct columns k = { .c = l->groups * l->width, .fold = 1 };

	if (k.c < WIDE)
		k.fold = WIDE / k.c < l->inner ? WIDE / k.c : l->inner;
	k.w = k.c * k.fold;
	k.size = l->inner * k.c;
	k.chunk = k.size / MOST_CHUNKS > CHUNK ? k.size / MOST_CHUNKS : CHUNK;
	k.chunk = (k.chunk + k.w - 1) / k.w * k.w;
	k.chunks = (k.size + k.chunk - 1) / k.chunk;
	if (scratch) {
		k.sums = scratch;
		k.wide = (float *)(k.sums + l->outer * k.chunks * 2 * k.w);
	}
	return k;
}

size_t
vq_norm_affine_scratch(const struct vq_norm_layout *l)
{
	struct columns k = columns_of(l, NULL);

	return (size_t)(l->outer * k.w) * ((size_t)k.chunks * 2 * sizeof(double) + 3 * sizeof(float));
}

size_t
vq_norm_scratch(const struct vq_norm_layout *l)
{
	return is_rows(l) ? 0 : vq_norm_affine_scratch(l);
}

bool
vq_norm_half(const struct vq_norm_layout *l, bool affine)
{
	return (affine || !is_rows(l)) && columns_of(l, NULL).w <= HALF_WIDE;
}

/* Elements of chunk i of an outer index. */
static int64_t
chunk_size(const struct columns *k, int64_t i)
{
	return k->size - i * k->chunk < k->chunk ? k->size - i * k->chunk : k->chunk;
}

/* Both sums of one channel of one outer index, over chunks and folds in order. */
static void
channel_sums(const struct columns *k, int64_t outer, int64_t channel, double *s, double *q)
{
	const double *sums = k->sums + outer * k->chunks * 2 * k->w;

	*s = *q = 0;
	for (int64_t i = 0; i < k->chunks; i++, sums += 2 * k->w)
		for (int64_t j = channel; j < k->w; j += k->c) {
			*s += sums[j];
			*q += sums[k->w + j];
		}
}

/* The same value for the channels of a group, in every fold. */
static void
spread_value(const struct columns *k, const struct vq_norm_layout *l, int64_t outer, int which,
    int64_t group, double x)
{
	float *to = k->wide + (outer * 3 + which) * k->w + group * l->width;

	for (int64_t f = 0; f < k->fold; f++)
		for (int64_t j = 0; j < l->width; j++)
			to[f * k->c + j] = (float)x;
}

/* --- what is bf16 in memory ------------------------------------------------ */

/* n numbers from `at` on, in room where they are not f32 as they lie. */
static const float *
read_piece(const struct vq_norm_call *c, const void *x, bool half, int64_t at, int64_t n, float *room)
{
	if (!half)
		return (const float *)x + at;
	c->k->widen(room, (const uint16_t *)x + at, n);
	return room;
}

static float
read_one(const void *x, bool half, int64_t at)
{
	return half ? vq_bf16_to_f32(((const uint16_t *)x)[at]) : ((const float *)x)[at];
}

/* How many of n numbers are taken at a time. */
static int64_t
piece_of(const struct columns *k, bool half, int64_t n)
{
	return half && VQ_ROWS_COLUMN * k->w < n ? VQ_ROWS_COLUMN * k->w : n;
}

static void
add_moments(const struct vq_norm_call *c, const struct columns *k, const void *x, int64_t at, int64_t n,
    const float *shift, double *sums)
{
	int64_t step = piece_of(k, c->half_in, n);
	float room[PIECE];

	for (int64_t i = 0; i < n; i += step) {
		int64_t m = n - i < step ? n - i : step;
		vq_rows(c->k)->moments(sums, sums + k->w, read_piece(c, x, c->half_in, at + i, m, room), shift, m, k->w);
	}
}

static void
add_pair_sums(const struct vq_norm_call *c, const struct columns *k, const void *g, const void *y, int64_t at, int64_t n,
    double *sums)
{
	int64_t step = piece_of(k, c->half_in || c->half_g, n);
	float room[2][PIECE];

	for (int64_t i = 0; i < n; i += step) {
		int64_t m = n - i < step ? n - i : step;
		vq_rows(c->k)->pair_sums(sums, sums + k->w, read_piece(c, g, c->half_g, at + i, m, room[0]),
		    read_piece(c, y, c->half_in, at + i, m, room[1]), m, k->w);
	}
}

static void
center(const struct vq_norm_call *c, const struct columns *k, void *y, const void *x, int64_t at, int64_t n,
    const float *wide)
{
	int64_t step = piece_of(k, c->half_in || c->half_out, n);
	float room[PIECE];

	for (int64_t i = 0; i < n; i += step) {
		int64_t m = n - i < step ? n - i : step;
		float *to = c->half_out ? room : (float *)y + at + i;
		vq_rows(c->k)->center(to, read_piece(c, x, c->half_in, at + i, m, room), wide, wide + k->w, m, k->w);
		if (c->half_out)
			c->k->narrow((uint16_t *)y + at + i, to, m);
	}
}

static void
center_grad(const struct vq_norm_call *c, const struct columns *k, void *dx, const void *g, const void *y, int64_t at,
    int64_t n, const float *wide)
{
	int64_t step = piece_of(k, c->half_in || c->half_g || c->half_out, n);
	float room[2][PIECE];

	for (int64_t i = 0; i < n; i += step) {
		int64_t m = n - i < step ? n - i : step;
		float *to = c->half_out ? room[0] : (float *)dx + at + i;
		vq_rows(c->k)->center_grad(to, read_piece(c, g, c->half_g, at + i, m, room[0]),
		    read_piece(c, y, c->half_in, at + i, m, room[1]), wide, wide + k->w, wide + 2 * k->w, m, k->w);
		if (c->half_out)
			c->k->narrow((uint16_t *)dx + at + i, to, m);
	}
}

/*
 * Mean and variance of statistic i, from sums about the first element of each
 * channel (near the mean, so that nothing cancels).
 */
static void
statistics(const struct columns *k, const struct vq_norm_call *c, const void *x, int64_t i,
    double *mean, double *variance)
{
	const struct vq_norm_layout *l = c->l;
	int64_t outer = i / l->groups, at = i % l->groups * l->width, first = outer * k->size;
	double n = (double)l->inner, s, q;

	*mean = *variance = 0;
	for (int64_t j = at; j < at + l->width; j++) {
		channel_sums(k, outer, j, &s, &q);
		*mean += ((double)read_one(x, c->half_in, first + j) + s / n) / (double)l->width;
	}
	for (int64_t j = at; j < at + l->width; j++) {
		channel_sums(k, outer, j, &s, &q);
		double d = (double)read_one(x, c->half_in, first + j) + s / n - *mean, v = (q - s * s / n) / n;
		*variance += ((v < 0 ? 0 : v) + d * d) / (double)l->width;
	}
}

/* The first row of each outer index, once for each fold: what sums are taken
 * about.  It stands where the mean comes later. */
static void
spread_first(const struct columns *k, const void *x, bool half, int64_t outer)
{
	for (int64_t o = 0; o < outer; o++)
		for (int64_t i = 0; i < k->w; i++)
			k->wide[o * 3 * k->w + i] = read_one(x, half, o * k->size + i % k->c);
}

static void
norm_columns(const struct vq_norm_call *c, const void *x, void *y, float *mean, float *variance)
{
	const struct vq_norm_layout *l = c->l;
	struct columns k = columns_of(l, c->scratch);

	spread_first(&k, x, c->half_in, l->outer);
	memset(k.sums, 0, (size_t)(l->outer * k.chunks * 2 * k.w) * sizeof(double));
#pragma omp parallel num_threads(vq_rows_team(c->threads, l->outer * k.size))
	{
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * k.chunks; i++) {
			int64_t o = i / k.chunks, part = i % k.chunks;
			add_moments(c, &k, x, o * k.size + part * k.chunk, chunk_size(&k, part), k.wide + o * 3 * k.w,
			    k.sums + i * 2 * k.w);
		}
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * l->groups; i++) {
			double m, v;
			statistics(&k, c, x, i, &m, &v);
			mean[i] = (float)m;
			variance[i] = (float)v;
			spread_value(&k, l, i / l->groups, 0, i % l->groups, m);
			spread_value(&k, l, i / l->groups, 1, i % l->groups, 1 / sqrt(v + c->eps));
		}
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * k.chunks; i++) {
			int64_t o = i / k.chunks, part = i % k.chunks;
			center(c, &k, y, x, o * k.size + part * k.chunk, chunk_size(&k, part), k.wide + o * 3 * k.w);
		}
	}
}

void
vq_norm(const struct vq_norm_call *c, const void *from, void *to, float *mean, float *variance)
{
	const struct vq_rows *rows = vq_rows(c->k);
	int64_t n = c->l->inner * c->l->width, outer = c->l->outer;
	int64_t block = 1 + ROW_BLOCK / n, blocks = (outer + block - 1) / block;
	const float *x = from;
	float *y = to;

	if (!is_rows(c->l)) {
		norm_columns(c, from, to, mean, variance);
		return;
	}
#pragma omp parallel for num_threads(vq_rows_team(c->threads, outer * n)) schedule(static)
	for (int64_t i = 0; i < blocks; i++) {
		int64_t r = i * block, m = outer - r < block ? outer - r : block;
		rows->norm(y + r * n, mean + r, variance + r, x + r * n, (float)c->eps, m, n);
	}
}

/* scale / sqrt(variance + eps), mean(g) and mean(g y) of statistic i. */
static void
spread_factors(const struct columns *k, const struct vq_norm_layout *l, double deviation, const struct vq_norm_affine *a,
    int64_t i)
{
	int64_t outer = i / l->groups, group = i % l->groups;
	double count = (double)(l->inner * l->width), mg = 0, mgy = 0, s, q;

	for (int64_t j = group * l->width; j < (group + 1) * l->width; j++) {
		channel_sums(k, outer, j, &s, &q);
		mg += s / count;
		mgy += q / count;
	}
	if (a) {
		a->dshift[i] = (float)(mg * count);
		a->dscale[i] = (float)(mgy * count);
	}
	spread_value(k, l, outer, 0, group, (a ? (double)a->scale[i] : 1) / deviation);
	spread_value(k, l, outer, 1, group, mg);
	spread_value(k, l, outer, 2, group, mgy);
}

static void
norm_grad_columns(const struct vq_norm_call *c, const void *y, const float *variance,
    const struct vq_norm_affine *a, const void *g, void *dx)
{
	const struct vq_norm_layout *l = c->l;
	struct columns k = columns_of(l, c->scratch);

	memset(k.sums, 0, (size_t)(l->outer * k.chunks * 2 * k.w) * sizeof(double));
#pragma omp parallel num_threads(vq_rows_team(c->threads, l->outer * k.size))
	{
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * k.chunks; i++) {
			int64_t part = i % k.chunks, at = i / k.chunks * k.size + part * k.chunk;
			add_pair_sums(c, &k, g, y, at, chunk_size(&k, part), k.sums + i * 2 * k.w);
		}
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * l->groups; i++)
			spread_factors(&k, l, sqrt((double)variance[i] + c->eps), a, i);
#pragma omp for schedule(static)
		for (int64_t i = 0; i < l->outer * k.chunks; i++) {
			int64_t o = i / k.chunks, part = i % k.chunks;
			center_grad(c, &k, dx, g, y, o * k.size + part * k.chunk, chunk_size(&k, part), k.wide + o * 3 * k.w);
		}
	}
}

void
vq_norm_grad(const struct vq_norm_call *c, const void *result, const float *variance, const void *of_result, void *to)
{
	const struct vq_rows *rows = vq_rows(c->k);
	int64_t n = c->l->inner * c->l->width, outer = c->l->outer;
	int64_t block = 1 + ROW_BLOCK / n, blocks = (outer + block - 1) / block;
	const float *y = result, *g = of_result;
	float *dx = to;

	if (!is_rows(c->l)) {
		norm_grad_columns(c, result, variance, NULL, of_result, to);
		return;
	}
#pragma omp parallel for num_threads(vq_rows_team(c->threads, outer * n)) schedule(static)
	for (int64_t i = 0; i < blocks; i++) {
		int64_t r = i * block, m = outer - r < block ? outer - r : block;
		rows->norm_grad(dx + r * n, y + r * n, variance + r, g + r * n, (float)c->eps, m, n);
	}
}

void
vq_norm_affine_grad(const struct vq_norm_call *c, const void *y, const float *variance,
    const struct vq_norm_affine *a, const void *g, void *dx)
{
	norm_grad_columns(c, y, variance, a, g, dx);
}
