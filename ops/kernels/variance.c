/*
 * variance -- mean and sum of squared differences of blocks, merged
 *
 * A block is read twice while it is in cache: once for its mean, once for the
 * differences from it.  So nothing cancels, and memory is walked once.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/reduce.h"

enum { STRIP = 256, BLOCK = 32, ROW_BLOCK = 1024, CHUNK = 65536, CHUNKS = 64, ENOUGH = 16, PARALLEL_MIN = 32768 };

/* Of one column: how many elements, their mean, the sum of squared differences. */
struct moments {
	double n, mean, m2;
};

static void
merge(struct moments *a, double n, double mean, double m2)
{
	double total = a->n + n, delta = mean - a->mean;

	if (n == 0)
		return;
	a->m2 += m2 + delta * delta * (a->n * n / total);
	a->mean += delta * (n / total);
	a->n = total;
}

struct pass {
	const struct vq_kernels *k;
	const float *x;
	int64_t outer, n, inner, chunks, per_chunk, strips;
	struct moments *part;		/* [outer, chunks, inner] */
};

static void
cut_pass(struct pass *p, int64_t outer, int64_t n, int64_t inner)
{
	int64_t least = CHUNK / inner > BLOCK ? CHUNK / inner : BLOCK;

	p->outer = outer;
	p->n = n;
	p->inner = inner;
	p->strips = (inner + STRIP - 1) / STRIP;
	p->chunks = outer * p->strips < ENOUGH ? (n + least - 1) / least : 1;
	p->chunks = p->chunks > CHUNKS ? CHUNKS : p->chunks;
	p->per_chunk = (n + p->chunks - 1) / p->chunks;
	p->chunks = (n + p->per_chunk - 1) / p->per_chunk;
}

/* Merges a block of rows, `width` wide and `ld` apart, into moments by column
 * (column j of the block is column j % cols). */
static void
add_block(const struct vq_kernels *k, const float *x, int64_t rows, int64_t ld, int64_t width,
    int64_t cols, struct moments *to)
{
	float mean[STRIP], diff[STRIP], m2[STRIP] = { 0 };

	memcpy(mean, x, (size_t)width * sizeof(*mean));
	for (int64_t r = 1; r < rows; r++)
		k->ew[VQ_EW_ADD](mean, mean, x + r * ld, NULL, 0, 0, width);
	k->ew[VQ_EW_AFFINE](mean, mean, NULL, NULL, 1 / (float)rows, 0, width);
	for (int64_t r = 0; r < rows; r++) {
		k->ew[VQ_EW_SUB](diff, x + r * ld, mean, NULL, 0, 0, width);
		k->ew[VQ_EW_FMA](m2, diff, diff, m2, 0, 0, width);
	}
	for (int64_t j = 0; j < width; j++)
		merge(&to[j % cols], (double)rows, mean[j], m2[j]);
}

/* One row along memory. */
static void
add_row(const struct vq_kernels *k, const float *x, int64_t n, struct moments *to)
{
	float diff[ROW_BLOCK];

	*to = (struct moments){ 0 };
	for (int64_t i = 0; i < n; i += ROW_BLOCK) {
		int64_t w = n - i < ROW_BLOCK ? n - i : ROW_BLOCK;
		float mean = k->sum(x + i, w) / (float)w;
		k->ew[VQ_EW_AFFINE](diff, x + i, NULL, NULL, 1, -mean, w);
		merge(to, (double)w, mean, k->dot(diff, diff, w));
	}
}

/* n rows of which `cols` columns count; short rows are taken several at a time. */
static void
add_rows(const struct vq_kernels *k, const float *x, int64_t n, int64_t inner, int64_t cols,
    struct moments *to)
{
	int64_t group = inner == cols && cols <= STRIP / 2 ? STRIP / cols : 1;

	group = group > n ? n : group;
	for (int64_t j = 0; j < cols; j++)
		to[j] = (struct moments){ 0 };
	for (int64_t r = 0; r < n; ) {
		int64_t wide = (n - r) / group;
		int64_t rows = wide > BLOCK ? BLOCK : wide;
		if (rows > 0)
			add_block(k, x + r * inner, rows, group * inner, group * cols, cols, to);
		else
			add_block(k, x + r * inner, 1, 0, (n - r) * cols, cols, to);
		r = rows > 0 ? r + rows * group : n;
	}
}

static void
run_pass(struct pass *p, float *y, double by, int threads)
{
	int64_t items = p->outer * p->chunks * p->strips;

#pragma omp parallel for num_threads(threads) schedule(static) if (p->outer * p->n * p->inner >= PARALLEL_MIN)
	for (int64_t i = 0; i < items; i++) {
		int64_t col = i % p->strips * STRIP, piece = i / p->strips;
		int64_t from = piece % p->chunks * p->per_chunk;
		int64_t n = p->n - from < p->per_chunk ? p->n - from : p->per_chunk;
		int64_t cols = p->inner - col < STRIP ? p->inner - col : STRIP;
		const float *x = p->x + (piece / p->chunks * p->n + from) * p->inner + col;
		struct moments *to = p->part + piece * p->inner + col;
		if (p->inner == 1)
			add_row(p->k, x, n, to);
		else
			add_rows(p->k, x, n, p->inner, cols, to);
	}
	for (int64_t i = 0; i < p->outer * p->inner; i++) {
		struct moments *m = p->part + i / p->inner * p->chunks * p->inner + i % p->inner;
		struct moments all = m[0];
		for (int64_t c = 1; c < p->chunks; c++)
			merge(&all, m[c * p->inner].n, m[c * p->inner].mean, m[c * p->inner].m2);
		y[i] = (float)(all.m2 / by);
	}
}

/* --- any axes ------------------------------------------------------------ */

/* One run of reduced axes: [outer, n, inner]. */
static bool
single_run(const struct vq_axes *a, struct pass *p)
{
	int64_t outer = 1, n = 1, inner = 1;
	int runs = 0;

	for (int i = 0; i < a->runs; i++) {
		runs += a->reduced[i];
		if (a->reduced[i])
			n *= a->dim[i];
		else if (runs == 0)
			outer *= a->dim[i];
		else
			inner *= a->dim[i];
	}
	cut_pass(p, outer, n, inner);
	return runs <= 1;
}

/* The shape of the runs, reduced ones as 1 when they are gone. */
static struct vq_type
type_of_runs(const struct vq_axes *a, bool gone)
{
	struct vq_type t = { VQ_F32, { .rank = a->runs } };

	for (int i = 0; i < a->runs; i++)
		t.shape.dim[i] = gone && a->reduced[i] ? 1 : a->dim[i];
	return t;
}

/* Several runs: means first, then the squared differences written out and added up. */
static void
by_two_passes(const struct vq_kernels *k, const float *x, float *y, double by,
    const struct vq_axes *a, void *scratch, int threads)
{
	struct vq_type full = type_of_runs(a, false), kept = type_of_runs(a, true);
	int64_t results = vq_shape_count(&kept.shape);
	float *square = scratch;
	void *rest = square + (a->count + 15) / 16 * 16;
	struct vq_ewise p = { .nin = 2, .ninstr = 2, .instr = {
		{ .op = VQ_EW_SUB, .a = 0, .b = 1 }, { .op = VQ_EW_SQUARE, .a = 2 } } };
	struct vq_view in[2] = { { (void *)(uintptr_t)x, &full }, { y, &kept } };

	vq_reduce(k, VQ_EW_ADD, x, y, a, rest, threads);
	k->ew[VQ_EW_AFFINE](y, y, NULL, NULL, (float)(1 / (double)a->n), 0, results);
	vq_ewise_broadcast(k, &p, in, &(struct vq_view){ square, &full }, threads);
	vq_reduce(k, VQ_EW_ADD, square, y, a, rest, threads);
	k->ew[VQ_EW_AFFINE](y, y, NULL, NULL, (float)(1 / by), 0, results);
}

void
vq_variance(const struct vq_kernels *k, const float *x, float *y, double by,
    const struct vq_axes *a, void *scratch, int threads)
{
	struct pass p = { .k = k, .x = x, .part = scratch };

	if (a->count == 0)
		return;
	if (single_run(a, &p))
		run_pass(&p, y, by, threads);
	else
		by_two_passes(k, x, y, by, a, scratch, threads);
}

size_t
vq_variance_scratch(const struct vq_axes *a)
{
	struct pass p;

	if (a->count == 0)
		return 0;
	if (single_run(a, &p))
		return (size_t)(p.outer * p.chunks * p.inner) * sizeof(struct moments);
	return (size_t)((a->count + 15) / 16 * 16) * sizeof(float) + vq_reduce_scratch(a);
}
