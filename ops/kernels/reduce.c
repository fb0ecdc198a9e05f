/*
 * reduce -- passes over [outer, n, inner], of which n goes
 *
 * Rows (inner 1) are folded along memory; otherwise whole rows of `inner`
 * elements are folded into one, several at a time when they are short.  More than
 * one run of reduced axes takes one pass for each, the innermost first.
 */
#include "ops/kernels/reduce.h"

#include <math.h>
#include <string.h>

enum {
	STRIP = 512,		/* columns folded at once: accumulators stay in the first-level cache */
	BLOCK = 64,		/* rows added up before they join the chunk's sum */
	CHUNK = 65536,		/* elements of a chunk, about */
	CHUNKS = 64,		/* of one column, at most */
	ENOUGH = 16,		/* independent pieces that make chunks unnecessary */
	PARALLEL_MIN = 32768,
};

void
vq_axes_split(struct vq_axes *a, const struct vq_shape *s, unsigned axes)
{
	*a = (struct vq_axes){ .count = 1, .n = 1 };
	for (int i = 0; i < s->rank; i++) {
		bool reduced = axes >> i & 1;
		a->count *= s->dim[i];
		if (reduced)
			a->n *= s->dim[i];
		if (s->dim[i] == 1)
			continue;
		if (a->runs > 0 && a->reduced[a->runs - 1] == reduced) {
			a->dim[a->runs - 1] *= s->dim[i];
		} else {
			a->dim[a->runs] = s->dim[i];
			a->reduced[a->runs++] = reduced;
		}
	}
}

/* One pass: [outer, n, inner] to [outer, inner]. */
struct pass {
	const struct vq_kernels *k;
	enum vq_ew fold;
	const float *x;
	bool half;			/* x points at numbers of bf16; columns only */
	float *y;
	int64_t outer, n, inner;
	int64_t chunks, per_chunk;	/* cuts of n */
	int64_t strips;			/* cuts of inner */
	float *part;			/* [outer, chunks, inner] when chunks > 1 */
	int threads;
};

static void
cut_pass(struct pass *p)
{
	p->strips = (p->inner + STRIP - 1) / STRIP;
	p->chunks = 1;
	if (p->outer * p->strips < ENOUGH) {
		int64_t least = CHUNK / p->inner > BLOCK ? CHUNK / p->inner : BLOCK;
		p->chunks = (p->n + least - 1) / least;
		p->chunks = p->chunks > CHUNKS ? CHUNKS : p->chunks < 1 ? 1 : p->chunks;
	}
	p->per_chunk = (p->n + p->chunks - 1) / p->chunks;
	p->chunks = (p->n + p->per_chunk - 1) / p->per_chunk;
}

/* --- rows ---------------------------------------------------------------- */

/* min x = -max -x, piece by piece. */
static float
min_row(const struct vq_kernels *k, const float *x, int64_t n)
{
	float piece[STRIP], most = -INFINITY;

	for (int64_t i = 0; i < n; i += STRIP) {
		int64_t w = n - i < STRIP ? n - i : STRIP;
		k->ew[VQ_EW_NEG](piece, x + i, NULL, NULL, 0, 0, w);
		most = (float)vq_ew_eval(VQ_EW_MAX, most, k->max(piece, w), 0, 0, 0);
	}
	return -most;
}

static float
fold_row(const struct pass *p, const float *x, int64_t n)
{
	if (p->fold == VQ_EW_ADD)
		return p->k->sum(x, n);
	return p->fold == VQ_EW_MAX ? p->k->max(x, n) : min_row(p->k, x, n);
}

static float
fold_parts(const struct pass *p, const float *part, int64_t n, int64_t step)
{
	double acc = part[0];

	for (int64_t i = 1; i < n; i++)
		acc = vq_ew_eval(p->fold, acc, part[i * step], 0, 0, 0);
	return (float)acc;
}

static void
pass_rows(struct pass *p)
{
	float *to = p->chunks > 1 ? p->part : p->y;
	int64_t items = p->outer * p->chunks;

#pragma omp parallel for num_threads(p->threads) schedule(static) if (p->outer * p->n >= PARALLEL_MIN)
	for (int64_t i = 0; i < items; i++) {
		int64_t from = i % p->chunks * p->per_chunk;
		int64_t n = p->n - from < p->per_chunk ? p->n - from : p->per_chunk;
		to[i] = fold_row(p, p->x + i / p->chunks * p->n + from, n);
	}
	for (int64_t o = 0; p->chunks > 1 && o < p->outer; o++)
		p->y[o] = fold_parts(p, p->part + o * p->chunks, p->chunks, 1);
}

/* --- columns ------------------------------------------------------------- */

/* Rows as one sees them: `group` short ones side by side, or a strip of a long one. */
struct strip {
	int64_t at;		/* of x: where it begins */
	int64_t rows;		/* wide rows */
	int64_t ld;		/* from one to the next */
	int64_t width;		/* elements of a wide row that count */
	int64_t cols, group;	/* width = cols * group */
	int64_t rest;		/* short rows after the last wide one */
};

static struct strip
strip_of(int64_t at, int64_t n, int64_t inner, int64_t col)
{
	struct strip s = { .at = at + col, .ld = inner, .group = 1, .rows = n };

	s.cols = inner - col < STRIP ? inner - col : STRIP;
	if (inner <= STRIP / 2) {
		s.group = STRIP / inner < n ? STRIP / inner : n;
		s.ld = s.group * inner;
		s.rows = n / s.group;
		s.rest = n % s.group;
	}
	s.width = s.cols * s.group;
	return s;
}

/* n <= STRIP elements of x; room: where they are f32. */
static const float *
elements(const struct pass *p, int64_t at, int64_t n, float *room)
{
	if (!p->half)
		return p->x + at;
	p->k->widen(room, (const uint16_t *)p->x + at, n);
	return room;
}

/* acc[0..width) = fold of rows [from, to). */
static void
fold_rows(const struct pass *p, const struct strip *s, int64_t from, int64_t to, float *acc)
{
	float room[STRIP];

	memcpy(acc, elements(p, s->at + from * s->ld, s->width, room), (size_t)s->width * sizeof(*acc));
	for (int64_t r = from + 1; r < to; r++)
		p->k->ew[p->fold](acc, acc, elements(p, s->at + r * s->ld, s->width, room), NULL, 0, 0, s->width);
}

/* The groups side by side, and the short rows left over, onto the first group. */
static void
fold_groups(const struct pass *p, const struct strip *s, float *acc, float *to)
{
	int64_t rest = s->at + s->rows * s->ld;
	float room[STRIP];

	for (int64_t g = 1; g < s->group; g++)
		p->k->ew[p->fold](acc, acc, acc + g * s->cols, NULL, 0, 0, s->cols);
	for (int64_t r = 0; r < s->rest; r++)
		p->k->ew[p->fold](acc, acc, elements(p, rest + r * s->cols, s->cols, room), NULL, 0, 0, s->cols);
	memcpy(to, acc, (size_t)s->cols * sizeof(*to));
}

static void
fold_strip(const struct pass *p, const struct strip *s, float *to)
{
	float acc[STRIP], block[STRIP];

	for (int64_t r = 0; r < s->rows; r += BLOCK) {
		int64_t end = s->rows - r < BLOCK ? s->rows : r + BLOCK;
		fold_rows(p, s, r, end, r == 0 ? acc : block);
		if (r > 0)
			p->k->ew[p->fold](acc, acc, block, NULL, 0, 0, s->width);
	}
	fold_groups(p, s, acc, to);
}

/* Item i of outer x chunks x strips: where its strip is and where its result goes. */
static struct strip
item_strip(const struct pass *p, int64_t i, int64_t *to)
{
	int64_t col = i % p->strips * STRIP, piece = i / p->strips;
	int64_t from = piece % p->chunks * p->per_chunk;
	int64_t n = p->n - from < p->per_chunk ? p->n - from : p->per_chunk;

	*to = piece * p->inner + col;
	return strip_of((piece / p->chunks * p->n + from) * p->inner, n, p->inner, col);
}

static void
join_columns(const struct pass *p)
{
	for (int64_t o = 0; o < p->outer; o++) {
		const float *part = p->part + o * p->chunks * p->inner;
		for (int64_t i = 0; i < p->inner; i++)
			p->y[o * p->inner + i] = fold_parts(p, part + i, p->chunks, p->inner);
	}
}

static void
pass_columns(struct pass *p)
{
	float *base = p->chunks > 1 ? p->part : p->y;
	int64_t items = p->outer * p->chunks * p->strips;

#pragma omp parallel for num_threads(p->threads) schedule(static) if (p->outer * p->n * p->inner >= PARALLEL_MIN)
	for (int64_t i = 0; i < items; i++) {
		int64_t to;
		struct strip s = item_strip(p, i, &to);
		fold_strip(p, &s, base + to);
	}
	if (p->chunks > 1)
		join_columns(p);
}

/* --- any axes ------------------------------------------------------------ */

/* The last reduced run as one pass; takes it out of a. */
static bool
next_pass(struct vq_axes *a, struct pass *p)
{
	int run = a->runs - 1;

	while (run >= 0 && !a->reduced[run])
		run--;
	if (run < 0)
		return false;
	p->outer = p->inner = 1;
	for (int i = 0; i < run; i++)
		p->outer *= a->dim[i];
	for (int i = run + 1; i < a->runs; i++)
		p->inner *= a->dim[i];
	p->n = a->dim[run];
	a->dim[run] = 1;
	a->reduced[run] = false;
	cut_pass(p);
	return true;
}

static int
passes_of(const struct vq_axes *a)
{
	int n = 0;

	for (int i = 0; i < a->runs; i++)
		n += a->reduced[i];
	return n;
}

/* Floats, to a whole cache line. */
static size_t
room_for(int64_t floats)
{
	return ((size_t)floats + 15) / 16 * 16 * sizeof(float);
}

/* Partial results of the largest pass, then the results between passes. */
static size_t
scratch_layout(struct vq_axes a, size_t *part)
{
	struct pass p = { 0 };
	size_t between = 0;

	*part = 0;
	for (int left = passes_of(&a); left > 0 && next_pass(&a, &p); left--) {
		size_t chunks = p.chunks > 1 ? room_for(p.outer * p.chunks * p.inner) : 0;
		*part = chunks > *part ? chunks : *part;
		if (left > 1)
			between += room_for(p.outer * p.inner);
	}
	return *part + between;
}

/* Sums of nothing. */
static void
zero_results(const struct vq_axes *a, float *y)
{
	int64_t results = 1;

	for (int i = 0; i < a->runs; i++)
		results *= a->reduced[i] ? 1 : a->dim[i];
	memset(y, 0, (size_t)results * sizeof(*y));
}

size_t
vq_reduce_scratch(const struct vq_axes *a)
{
	size_t part;

	return a->count == 0 ? 0 : scratch_layout(*a, &part);
}

bool
vq_reduce_takes_half(const struct vq_axes *axes)
{
	struct vq_axes a = *axes;
	struct pass p = { 0 };

	return a.count > 0 && next_pass(&a, &p) && p.inner > 1;
}

static void
reduce(const struct vq_kernels *k, enum vq_ew fold, const float *x, bool half, float *y,
    const struct vq_axes *axes, void *scratch, int threads)
{
	struct vq_axes a = *axes;
	struct pass p = { .k = k, .fold = fold, .x = x, .half = half, .part = scratch, .threads = threads };
	int left = passes_of(&a);
	size_t part;

	if (a.count == 0) {
		zero_results(&a, y);
		return;
	}
	if (left == 0) {
		memcpy(y, x, (size_t)a.count * sizeof(*y));
		return;
	}
	scratch_layout(a, &part);
	char *between = (char *)scratch + part;
	for (; left > 0 && next_pass(&a, &p); left--) {
		p.y = left > 1 ? (float *)between : y;
		between += room_for(p.outer * p.inner);
		if (p.inner == 1)
			pass_rows(&p);
		else
			pass_columns(&p);
		p.x = p.y;
		p.half = false;
	}
}

void
vq_reduce(const struct vq_kernels *k, enum vq_ew fold, const float *x, float *y,
    const struct vq_axes *axes, void *scratch, int threads)
{
	reduce(k, fold, x, false, y, axes, scratch, threads);
}

void
vq_reduce_half(const struct vq_kernels *k, enum vq_ew fold, const uint16_t *x, float *y,
    const struct vq_axes *axes, void *scratch, int threads)
{
	reduce(k, fold, (const float *)(const void *)x, true, y, axes, scratch, threads);
}
