/*
 * conv_winograd -- forward, and the adjoint in the input, by fewer products (winograd.h)
 *
 * A task is a block of tiles of 2 x 2 results: the pixels of all its channels are transformed into
 * (r + 1)^2 matrices that stay in the second-level cache, then for a range of columns at a time as many products
 * with the transformed kernel, whose sums become results, and the epilogue follows.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	MOST = VQ_WINOGRAD_MOST,
	ROOM = 144 << 10,		/* floats of transformed pixels in a block, about */
	TILES = 96,			/* most of a block; a multiple of what tiles of products have in rows */
	COLUMNS = 2 * VQ_GEMM_NR_MAX,	/* of the result at a time */
	GAP = 16,			/* floats after a tile's channels */
	KERNEL_ROWS = 8,		/* channels of the kernel that are transformed at a time */
};

/*
 * Position j of the window of tile i, t = 2 i, reads pixel step (t + j) + first; result t + k goes to pixel
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
	int64_t taps, side, places;	/* r, r + 1, (r + 1)^2 */
	int64_t stride, phases;		/* of an axis; of both */
	int64_t cn, nn;			/* channels of a pixel there, and of the result */
	int64_t depth;			/* channels of all phases there */
	int64_t ld;			/* floats of a tile's channels */
	int64_t tiles, block;		/* all of them; of a block */
	float *kernel;			/* [place][phase of the result][panel][depth][nr] */
	int64_t kernel_phase, kernel_place;
	float *zeros;			/* a pixel that is not there */
	char *room;			/* by thread: pixels, sums, and where no result belongs */
	size_t room_bytes, sums_at, nowhere_at;
};

bool
vq_winograd_fits(const struct vq_conv *v, int64_t least)
{
	const struct vq_conv_axis *a[] = { &v->y, &v->x };

	if (v->y.taps != v->x.taps || v->y.stride != v->x.stride)
		return false;
	for (int i = 0; i < 2; i++) {
		int64_t r = a[i]->taps / a[i]->stride;
		if (a[i]->stride > 2 || a[i]->taps % a[i]->stride != 0 || r < 2 || r > 3 || a[i]->dilation != 1 || a[i]->out < 2)
			return false;
	}
	return !v->bf16 && v->groups == 1 && v->ci >= least && v->co >= least;
}

static struct axis
axis_of(const struct vq_conv_axis *a, bool adjoint)
{
	struct axis s = { .in = a->in, .out = a->out, .before = a->before, .step = a->stride, .spread = 1 };

	if (adjoint)
		s = (struct axis){ .in = a->out, .out = a->in, .before = a->before, .step = 1, .spread = a->stride };
	s.tiles = vq_winograd_tiles((s.out + s.spread - 1) / s.spread);
	return s;
}

/* What a window at 0 reads first, of a phase. */
static int64_t
first_of(const struct plan *p, const struct axis *a, int64_t phase)
{
	return p->adjoint ? (phase + a->before) / a->spread - (p->taps - 1) : phase - a->before;
}

static size_t
bytes_of(int64_t floats)
{
	return ((size_t)floats * sizeof(float) + 63) / 64 * 64;
}

static size_t
plan_of(struct plan *p, const struct vq_conv *v, bool adjoint, int threads, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };

	*p = (struct plan){ .adjoint = adjoint, .y = axis_of(&v->y, adjoint), .x = axis_of(&v->x, adjoint), .stride = v->y.stride,
	    .phases = v->y.stride * v->x.stride, .taps = v->y.taps / v->y.stride,
	    .cn = adjoint ? v->co : v->ci, .nn = adjoint ? v->ci : v->co };
	p->side = p->taps + 1;
	p->places = p->side * p->side;
	p->depth = p->cn * (adjoint ? 1 : p->phases);
	p->ld = (p->depth + 15) / 16 * 16 + GAP;
	p->tiles = v->n * p->y.tiles * p->x.tiles;
	p->block = ROOM / (p->places * p->ld) / 12 * 12;
	p->block = p->block < 12 ? 12 : p->block > TILES ? TILES : p->block;
	p->kernel_phase = p->depth * vq_gemm_width(p->nn);
	p->kernel_place = p->kernel_phase * (adjoint ? p->phases : 1);
	p->kernel = vq_cut(&c, bytes_of(p->places * p->kernel_place));
	p->zeros = vq_cut(&c, bytes_of(p->cn));
	int64_t rows = adjoint ? VQ_GEMM_NR_MAX : KERNEL_ROWS, pixels = p->places * p->block * p->ld;
	int64_t turned = p->places * rows * v->co;		/* a part of the kernel on its way lies there, too */
	p->sums_at = bytes_of(pixels > turned ? pixels : turned);
	p->nowhere_at = p->sums_at + bytes_of(p->places * p->block * COLUMNS);
	p->room_bytes = p->nowhere_at + bytes_of(COLUMNS);
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
		const float *g = w + (i + r) * co;
		if (p->adjoint)
			vq_winograd(c->k, p->taps)->kernel(room + r * co, rows * co, g + (p->taps - 1) * s * (down + across),
			    -s * down, -s * across, co);
		else
			vq_winograd(c->k, p->taps)->kernel(room + r * co, rows * co, g, s * down, s * across, co);
	}
	for (int64_t place = 0; place < p->places; place++) {
		const float *from = room + place * rows * co;
		float *to = p->kernel + place * p->kernel_place;
		if (p->adjoint)			/* columns are input channels: one panel */
			vq_gemm_pack(u, to + phase * p->kernel_phase + i * p->depth, p->depth, 0, from, co, true, p->cn, rows);
		else
			vq_gemm_pack(u, to, p->depth, phase * p->cn + i, from, co, false, rows, p->nn);
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
	return (struct tile){ t / (p->y.tiles * p->x.tiles), t / p->x.tiles % p->y.tiles * 2, t % p->x.tiles * 2 };
}

/* For one phase, of there or of the results. */
static void
take_pixels(const struct plan *p, const struct vq_call *c, int64_t phase, int64_t first, int64_t tiles, float *to)
{
	int64_t y_first = first_of(p, &p->y, phase / p->stride), x_first = first_of(p, &p->x, phase % p->stride);
	const float *from = c->in[0].data, *d[MOST];

	for (int64_t i = 0; i < tiles; i++) {
		struct tile t = tile_at(p, first + i);
		int64_t y0 = p->y.step * t.y + y_first, x0 = p->x.step * t.x + x_first;
		for (int64_t j = 0; j < p->places; j++) {
			int64_t y = y0 + p->y.step * (j / p->side), x = x0 + p->x.step * (j % p->side);
			bool there = y >= 0 && y < p->y.in && x >= 0 && x < p->x.in;
			d[j] = there ? from + ((t.image * p->y.in + y) * p->x.in + x) * p->cn : p->zeros;
		}
		vq_winograd(c->k, p->taps)->pixels(to + i * p->ld, tiles * p->ld, d, p->cn);
	}
}

/* Columns [col, col + cols) of the results of a block that belong to one phase, from their sums. */
static void
put_results(const struct plan *p, const struct vq_call *c, int64_t phase, int64_t first, int64_t tiles, const float *sums,
    float *nowhere, int64_t col, int64_t cols)
{
	float *to = c->out[0].data, *r[4];

	for (int64_t i = 0; i < tiles; i++) {
		struct tile t = tile_at(p, first + i);
		for (int j = 0; j < 4; j++) {
			int64_t y = p->y.spread * (t.y + j / 2) + phase / p->stride, x = p->x.spread * (t.x + j % 2) + phase % p->stride;
			bool there = y < p->y.out && x < p->x.out;
			r[j] = there ? to + ((t.image * p->y.out + y) * p->x.out + x) * p->nn + col : nowhere;
		}
		vq_winograd(c->k, p->taps)->results(r, sums + i * COLUMNS, tiles * COLUMNS, cols);
	}
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The epilogue over the same, all phases: the tiles of a line at once, whose results are some lines. */
static void
finish(const struct plan *p, const struct vq_epilogue *e, int64_t first, int64_t tiles, int64_t col, int64_t cols)
{
	for (int64_t i = first, many; e->prog && i < first + tiles; i += many) {
		struct tile t = tile_at(p, i);

		many = least(p->x.tiles - t.x / 2, first + tiles - i);
		int64_t x0 = p->x.spread * t.x, x1 = least(p->x.spread * (t.x + 2 * many), p->x.out);
		int64_t y1 = least(p->y.spread * (t.y + 2), p->y.out);
		for (int64_t y = p->y.spread * t.y; y < y1; y++)
			vq_epilogue_apply(e, (t.image * p->y.out + y) * p->x.out + x0, x1 - x0, col, cols);
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

static void
run_block(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, const struct vq_epilogue *e, int64_t first,
    int64_t tiles, char *room)
{
	float *pixels = (float *)room, *sums = (float *)(room + p->sums_at), *nowhere = (float *)(room + p->nowhere_at);
	int64_t results = p->adjoint ? p->phases : 1;

	for (int64_t phase = 0; !p->adjoint && phase < p->phases; phase++)
		take_pixels(p, c, phase, first, tiles, pixels + phase * p->cn);
	for (int64_t phase = 0; phase < results; phase++) {
		if (p->adjoint)
			take_pixels(p, c, phase, first, tiles, pixels);
		for (int64_t col = 0; col < p->nn; col += COLUMNS) {
			int64_t cols = least(p->nn - col, COLUMNS);
			multiply(p, u, kernel_of(p, phase), tiles, pixels, sums, col, cols);
			put_results(p, c, phase, first, tiles, sums, nowhere, col, cols);
			if (phase == results - 1)
				finish(p, e, first, tiles, col, cols);
		}
	}
}

void
vq_winograd_run(const struct vq_call *c, const struct vq_conv *v, bool adjoint)
{
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, false);
	struct vq_epilogue end;
	struct plan p;

	plan_of(&p, v, adjoint, c->threads, c->scratch);
	vq_epilogue_of(&end, c);
	memset(p.zeros, 0, (size_t)p.cn * sizeof(float));
	pack_kernel(&p, c, u);
	#pragma omp parallel for num_threads(c->threads) schedule(dynamic)
	for (int64_t t = 0; t < p.tiles; t += p.block)
		run_block(&p, c, u, &end, t, least(p.tiles - t, p.block),
		    p.room + (size_t)omp_get_thread_num() * p.room_bytes);
}

size_t
vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads)
{
	return plan_of(&(struct plan){ 0 }, v, adjoint, threads, NULL);
}
