/*
 * conv_winograd -- forward, and the adjoint in the input, by fewer products (winograd.h)
 *
 * A task is a block of tiles of m x m results: the pixels of all its channels are transformed into
 * a matrix for each place that stay in the second-level cache, then for a range of columns at a time as many products
 * with the transformed kernel, whose sums become results, and the epilogue follows.  Results that are bf16 in
 * memory lie apart until then.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	MOST = VQ_WINOGRAD_MOST,
	ROOM = 200 << 10,		/* words of transformed pixels in a block, and of sums, about */
	GAIN = 9,			/* of 10 products, at most, must be left for 4 x 4 results in place of 2 x 2 */
	TILES = 96,			/* most of a block; a multiple of what tiles of products have in rows */
	COLUMNS = 2 * VQ_GEMM_NR_MAX,	/* of the result at a time */
	GAP = 16,			/* words after a tile's channels */
	KERNEL_ROWS = 8,		/* channels of the kernel that are transformed at a time */
};

/*
 * Position j of the window of tile i, t = m i, reads pixel step (t + j) + first; result t + k goes to pixel
 * spread (t + k) + phase.  One of step and spread is the stride, the other 1, and only its side has phases.
 */
struct axis {
	int64_t in, out, before;
	int64_t step, spread;
	int64_t tiles;
};

struct plan {
	bool adjoint;
	struct axis y, x;
	int64_t taps, m, side, places;	/* r, m, a, a^2 */
	int64_t stride, phases;		/* of an axis; of both */
	int64_t cn, nn;			/* channels of a pixel there, and of the result */
	int64_t per;			/* of them in a word (gemm_micro.h) */
	bool half_in, half_out;		/* pixels, results are bf16 in memory */
	int64_t made;			/* phases of the result */
	int64_t kept;			/* of these whose pixels stay at a time: all, or 1 */
	int64_t depth;			/* words of a tile: channels, of all phases there */
	int64_t ld;			/* words from a tile to the next */
	int64_t tiles, block;		/* all of them; of a block */
	int64_t pixels;			/* words of a block's for one of these */
	float *kernel;			/* [place][phase of the result][panel][depth][nr] */
	int64_t kernel_phase, kernel_place;
	float *zeros;			/* a pixel that is not there */
	char *room;			/* by thread: pixels, sums, where no result belongs, results that are bf16 */
	size_t room_bytes, sums_at, nowhere_at, results_at;
};

bool
vq_winograd_fits(const struct vq_kernels *k, const struct vq_conv *v, enum vq_winograd_least least)
{
	const struct vq_conv_axis *a[] = { &v->y, &v->x };
	int64_t r = v->y.taps / v->y.stride;

	if (v->y.taps != v->x.taps || v->y.stride != v->x.stride || v->y.taps != r * v->y.stride || r < 2 || r > 3)
		return false;
	for (int i = 0; i < 2; i++)
		if (a[i]->stride > 2 || a[i]->dilation != 1 || a[i]->out < 2)
			return false;
	if (v->bf16 && (!v->gradient || v->ci % 2 || v->co % 2 || (k && vq_winograd_pairs(k, r) == NULL)))
		return false;
	int64_t wanted = v->bf16 ? VQ_WINOGRAD_WEIGHT : r == 3 ? VQ_WINOGRAD_FORWARD : least;
	return v->groups == 1 && v->ci >= wanted && v->co >= wanted;
}

int64_t
vq_winograd_made(const struct vq_conv *v, int64_t down, int64_t across)
{
	int64_t r = v->y.taps / v->y.stride;
	int64_t two = vq_winograd_tiles(down, 2) * vq_winograd_tiles(across, 2) * (r + 1) * (r + 1);
	int64_t four = vq_winograd_tiles(down, 4) * vq_winograd_tiles(across, 4) * (r + 3) * (r + 3);

	return !v->bf16 && 10 * four <= GAIN * two ? 4 : 2;
}

void
vq_winograd_places(const float **to, const float *first, int64_t n, int64_t down, int64_t across)
{
	for (int64_t i = 0; i < n * n; i++)
		to[i] = first + i / n * down + i % n * across;
}

static struct axis
axis_of(const struct vq_conv_axis *a, bool adjoint)
{
	struct axis s = { .in = a->in, .out = a->out, .before = a->before, .step = a->stride, .spread = 1 };

	if (adjoint)
		s = (struct axis){ .in = a->out, .out = a->in, .before = a->before, .step = 1, .spread = a->stride };
	return s;
}

/* Results of a phase. */
static int64_t
results_of(const struct axis *a)
{
	return (a->out + a->spread - 1) / a->spread;
}

/* What a window at 0 reads first, of a phase. */
static int64_t
first_of(const struct plan *p, const struct axis *a, int64_t phase)
{
	return p->adjoint ? (phase + a->before) / a->spread - (p->taps - 1) : phase - a->before;
}

static size_t
plan_of(struct plan *p, const struct vq_conv *v, bool adjoint, int threads, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };

	*p = (struct plan){ .adjoint = adjoint, .y = axis_of(&v->y, adjoint), .x = axis_of(&v->x, adjoint), .stride = v->y.stride,
	    .phases = v->y.stride * v->x.stride, .taps = v->y.taps / v->y.stride, .per = v->bf16 ? 2 : 1,
	    .cn = adjoint ? v->co : v->ci, .nn = adjoint ? v->ci : v->co,
	    .half_in = adjoint ? v->half_y : v->half_x, .half_out = adjoint ? v->half_x : v->half_y };
	p->m = vq_winograd_made(v, results_of(&p->y), results_of(&p->x));
	p->y.tiles = vq_winograd_tiles(results_of(&p->y), p->m);
	p->x.tiles = vq_winograd_tiles(results_of(&p->x), p->m);
	p->side = p->taps + p->m - 1;
	p->places = p->side * p->side;
	p->made = adjoint ? p->phases : 1;
	p->kept = p->half_out ? p->made : 1;
	p->depth = p->cn / p->per * (p->phases / p->made);
	p->ld = (p->depth + 15) / 16 * 16 + GAP;
	p->tiles = v->n * p->y.tiles * p->x.tiles;
	p->block = ROOM / (p->places * (p->kept * p->ld + COLUMNS)) / 12 * 12;
	p->block = p->block < 12 ? 12 : p->block > TILES ? TILES : p->block;
	p->kernel_phase = p->depth * vq_gemm_width(p->nn);
	p->kernel_place = p->kernel_phase * p->made;
	p->kernel = vq_cut(&c, vq_conv_bytes(p->places * p->kernel_place));
	p->zeros = vq_cut(&c, vq_conv_bytes(p->cn));
	p->pixels = p->places * p->block * p->ld;
	int64_t rows = adjoint ? VQ_GEMM_NR_MAX : KERNEL_ROWS, pixels = p->kept * p->pixels;
	int64_t turned = p->places * rows * v->co;		/* a part of the kernel on its way lies there, too */
	p->sums_at = vq_conv_bytes(pixels > turned ? pixels : turned);
	p->nowhere_at = p->sums_at + vq_conv_bytes(p->places * p->block * COLUMNS);
	p->results_at = p->nowhere_at + vq_conv_bytes(COLUMNS);
	p->room_bytes = p->results_at + vq_conv_bytes(p->half_out ? p->m * p->m * p->made * p->block * COLUMNS : 0);
	p->room = vq_cut(&c, (size_t)threads * p->room_bytes);
	return c.used;
}

/* --- the kernel ----------------------------------------------------------- */

/* Input channels [i, i + rows) of one phase of w [r s][r s][ci][co], transformed and packed. */
static void
pack_rows(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, int64_t phase, int64_t i, int64_t rows,
    float *room)
{
	int64_t ci = p->adjoint ? p->nn : p->cn, co = p->adjoint ? p->cn : p->nn, s = p->stride;
	int64_t across = ci * co, down = s * p->taps * across;
	const float *w = (const float *)c->in[1].data + phase / s * down + phase % s * across;

	for (int64_t r = 0; r < rows; r++) {
		const float *g = w + (i + r) * co, *from[MOST], *to[MOST];
		if (p->adjoint)
			vq_winograd_places(from, g + (p->taps - 1) * s * (down + across), p->taps, -s * down, -s * across);
		else
			vq_winograd_places(from, g, p->taps, s * down, s * across);
		vq_winograd_places(to, room + r * co, p->side, p->side * rows * co, rows * co);
		vq_winograd(c->k, p->taps, p->m)->kernel((float *const *)to, from, co);
	}
	for (int64_t place = 0; place < p->places; place++) {
		const float *from = room + place * rows * co;
		float *to = p->kernel + place * p->kernel_place;
		if (p->adjoint)			/* columns are input channels: one panel */
			vq_gemm_pack(u, to + phase * p->kernel_phase + i * p->depth, p->depth, 0, from, co, true, p->cn, rows);
		else
			vq_gemm_pack(u, to, p->depth, (phase * p->cn + i) / p->per, from, co, false, rows, p->nn);
	}
}

static void
pack_kernel(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u)
{
	int64_t ci = p->adjoint ? p->nn : p->cn, step = p->adjoint ? u->nr : KERNEL_ROWS, parts = (ci + step - 1) / step;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t part = 0; part < p->phases * parts; part++) {
		int64_t i = part % parts * step;
		pack_rows(p, c, u, part / parts, i, ci - i < step ? ci - i : step,
		    (float *)(p->room + (size_t)omp_get_thread_num() * p->room_bytes));
	}
}

/* --- blocks of tiles ------------------------------------------------------ */

struct tile {
	int64_t image, y, x;		/* first result */
};

static struct tile
tile_at(const struct plan *p, int64_t t)
{
	return (struct tile){ t / (p->y.tiles * p->x.tiles), t / p->x.tiles % p->y.tiles * p->m, t % p->x.tiles * p->m };
}

/* For one phase, of there or of the results. */
static void
take_pixels(const struct plan *p, const struct vq_call *c, int64_t phase, int64_t first, int64_t tiles, float *to)
{
	const struct vq_winograd_pairs *pairs = p->per == 2 ? vq_winograd_pairs(c->k, p->taps) : NULL;
	int64_t y_first = first_of(p, &p->y, phase / p->stride), x_first = first_of(p, &p->x, phase % p->stride);
	const void *d[MOST];
	const float *at[MOST];

	to += p->adjoint ? 0 : phase * p->cn / p->per;
	for (int64_t i = 0; i < tiles; i++, to += p->ld) {
		struct tile t = tile_at(p, first + i);
		int64_t y0 = p->y.step * t.y + y_first, x0 = p->x.step * t.x + x_first;
		for (int64_t j = 0; j < p->places; j++) {
			int64_t y = y0 + p->y.step * (j / p->side), x = x0 + p->x.step * (j % p->side);
			bool there = y >= 0 && y < p->y.in && x >= 0 && x < p->x.in;
			d[j] = there ? vq_conv_at(c->in[0].data, p->half_in, ((t.image * p->y.in + y) * p->x.in + x) * p->cn) : p->zeros;
		}
		if (pairs) {
			pairs->pixels((uint16_t *)to, 2 * tiles * p->ld, d, p->half_in, p->cn);
			continue;
		}
		vq_winograd_places(at, to, p->side, p->side * tiles * p->ld, tiles * p->ld);
		vq_winograd(c->k, p->taps, p->m)->pixels((float *const *)at, (const float *const *)d, p->cn);
	}
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* All that the products of one phase of the results read. */
static void
take_all(const struct plan *p, const struct vq_call *c, int64_t phase, int64_t first, int64_t tiles, float *to)
{
	int64_t end = p->adjoint ? phase + 1 : p->phases;

	for (; phase < end; phase++)
		take_pixels(p, c, phase, first, tiles, to);
}

/* Tiles of a line that follow each other in a block, and their results of all phases: places y0 to y1, x0 to x1. */
struct run {
	int64_t first, many;
	int64_t image, y0, y1, x0, x1;
};

static bool
next_run(const struct plan *p, struct run *r, int64_t first, int64_t tiles)
{
	int64_t from = r->many ? r->first + r->many : first;
	struct tile t = tile_at(p, from);

	if (from == first + tiles)
		return false;
	*r = (struct run){ .first = from, .many = least(p->x.tiles - t.x / p->m, first + tiles - from), .image = t.image,
	    .y0 = p->y.spread * t.y, .x0 = p->x.spread * t.x };
	r->y1 = least(r->y0 + p->m * p->y.spread, p->y.out);
	r->x1 = least(r->x0 + p->m * p->x.spread * r->many, p->x.out);
	return true;
}

/* Where results of columns [col, col + cols) go: `place` floats from one to the next; apart, or in memory. */
struct dest {
	float *apart, *nowhere;
	int64_t col, cols, place;
};

/* The first result of a run. */
static float *
dest_of(const struct plan *p, const struct vq_call *c, const struct dest *d, const struct run *r, int64_t first)
{
	if (d->apart)
		return d->apart + (r->first - first) * p->m * p->m * p->made * d->place;
	return (float *)c->out[0].data + ((r->image * p->y.out + r->y0) * p->x.out + r->x0) * d->place + d->col;
}

/* The results of one phase from their sums. */
static void
put_results(const struct plan *p, const struct vq_call *c, int64_t phase, int64_t first, int64_t tiles, const float *sums,
    const struct dest *d)
{
	struct run r = { 0 };
	float *to[VQ_WINOGRAD_RESULTS];
	const float *from[MOST];

	while (next_run(p, &r, first, tiles)) {
		float *at = dest_of(p, c, d, &r, first);
		int64_t line = (d->apart ? r.x1 - r.x0 : p->x.out) * d->place;
		for (int64_t i = 0; i < r.many; i++, sums += COLUMNS) {
			for (int64_t j = 0; j < p->m * p->m; j++) {
				int64_t y = p->y.spread * (j / p->m) + phase / p->stride;
				int64_t x = p->x.spread * (p->m * i + j % p->m) + phase % p->stride;
				to[j] = r.y0 + y < r.y1 && r.x0 + x < r.x1 ? at + y * line + x * d->place : d->nowhere;
			}
			vq_winograd_places(from, sums, p->side, p->side * tiles * COLUMNS, tiles * COLUMNS);
			vq_winograd(c->k, p->taps, p->m)->results(to, from, d->cols);
		}
	}
}

/* The epilogue over those of all phases: whole lines at once where they are whole. */
static void
finish(const struct plan *p, const struct vq_call *c, const struct vq_epilogue *e, int64_t first, int64_t tiles, const struct dest *d)
{
	struct run r = { 0 };

	while ((d->apart || e->prog) && next_run(p, &r, first, tiles)) {
		int64_t lines = r.y1 - r.y0, width = r.x1 - r.x0, row = (r.image * p->y.out + r.y0) * p->x.out + r.x0;
		float *at = dest_of(p, c, d, &r, first);
		if (width == p->x.out) {
			width *= lines;
			lines = 1;
		}
		for (int64_t y = 0; y < lines; y++)
			if (d->apart)
				vq_epilogue_narrow(e, at + y * width * d->place, d->place, row + y * p->x.out, width, d->col, d->cols);
			else
				vq_epilogue_apply(e, row + y * p->x.out, width, d->col, d->cols);
	}
}

/* The sums of columns [col, col + cols) of a block, by the kernel of a phase of the results. */
static void
multiply(const struct plan *p, const struct vq_gemm_micro *u, const float *kernel, int64_t tiles, const float *pixels, float *sums,
    int64_t col, int64_t cols)
{
	const float *a[VQ_GEMM_TABLE];
	float *to[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .m = tiles, .n = cols, .a = a, .c = to, .segs = 1, .len = p->depth, .step = 1, .off = &zero,
	    .depth = p->depth };

	for (int64_t place = 0; place < p->places; place++) {
		for (int64_t i = 0; i < tiles; i++) {
			a[i] = pixels + (place * tiles + i) * p->ld;
			to[i] = sums + (place * tiles + i) * COLUMNS;
		}
		vq_gemm_pad_rows(a, tiles);
		g.b = kernel + place * p->kernel_place + col * p->depth;
		vq_gemm_block(u, &g);
	}
}

/* The kernel whose results belong to a phase: that of the taps that meet there. */
static const float *
kernel_of(const struct plan *p, int64_t phase)
{
	if (!p->adjoint)
		return p->kernel;
	int64_t y = (phase / p->stride + p->y.before) % p->stride, x = (phase % p->stride + p->x.before) % p->stride;
	return p->kernel + (y * p->stride + x) * p->kernel_phase;
}

/* A block whose results are f32: they go where they belong phase by phase. */
static void
run_block(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, const struct vq_epilogue *e, int64_t first,
    int64_t tiles, char *room)
{
	float *pixels = (float *)room, *sums = (float *)(room + p->sums_at);
	struct dest d = { .nowhere = (float *)(room + p->nowhere_at), .place = p->nn };

	for (int64_t phase = 0; phase < p->made; phase++) {
		take_all(p, c, phase, first, tiles, pixels);
		for (d.col = 0; d.col < p->nn; d.col += COLUMNS) {
			d.cols = least(p->nn - d.col, COLUMNS);
			multiply(p, u, kernel_of(p, phase), tiles, pixels, sums, d.col, d.cols);
			put_results(p, c, phase, first, tiles, sums, &d);
			if (phase == p->made - 1)
				finish(p, c, e, first, tiles, &d);
		}
	}
}

/* One whose results are bf16: all phases of some columns at a time. */
static void
run_half_block(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, const struct vq_epilogue *e, int64_t first,
    int64_t tiles, char *room)
{
	float *pixels = (float *)room, *sums = (float *)(room + p->sums_at);
	struct dest d = { .apart = (float *)(room + p->results_at), .nowhere = (float *)(room + p->nowhere_at) };

	for (int64_t phase = 0; phase < p->made; phase++)
		take_all(p, c, phase, first, tiles, pixels + phase * p->pixels);
	for (d.col = 0; d.col < p->nn; d.col += COLUMNS) {
		d.cols = d.place = least(p->nn - d.col, COLUMNS);
		for (int64_t phase = 0; phase < p->made; phase++) {
			multiply(p, u, kernel_of(p, phase), tiles, pixels + phase * p->pixels, sums, d.col, d.cols);
			put_results(p, c, phase, first, tiles, sums, &d);
		}
		finish(p, c, e, first, tiles, &d);
	}
}

void
vq_winograd_run(const struct vq_call *c, const struct vq_conv *v, bool adjoint)
{
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, v->bf16);
	struct vq_epilogue end;
	struct plan p;

	plan_of(&p, v, adjoint, c->threads, c->scratch);
	vq_epilogue_of(&end, c);
	memset(p.zeros, 0, (size_t)p.cn * sizeof(float));
	pack_kernel(&p, c, u);
	#pragma omp parallel for num_threads(c->threads) schedule(dynamic)
	for (int64_t t = 0; t < p.tiles; t += p.block)
		(p.half_out ? run_half_block : run_block)(&p, c, u, &end, t, least(p.tiles - t, p.block),
		    p.room + (size_t)omp_get_thread_num() * p.room_bytes);
}

size_t
vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads)
{
	return plan_of(&(struct plan){ 0 }, v, adjoint, threads, NULL);
}
