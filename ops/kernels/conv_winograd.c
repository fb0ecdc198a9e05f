/*
 * conv_winograd -- forward, and the adjoint in the input, of 3 x 3 taps at stride 1
 *
 * A task is a block of tiles of 2 x 2 results: the pixels of all its channels are transformed into
 * 16 matrices that stay in the second-level cache, then for a panel's columns at a time 16 products
 * with the transformed kernel, whose sums become results, and the epilogue follows.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	PLACES = VQ_WINOGRAD_PLACES,
	ROOM = 144 << 10,		/* floats of transformed pixels in a block, about */
	TILES = 96,			/* most of a block; a multiple of what tiles of products have in rows */
	COLUMNS = 2 * VQ_GEMM_NR_MAX,	/* of the result at a time */
	GAP = 16,			/* floats after a tile's channels */
	KERNEL_ROWS = 8,		/* channels of the kernel that are transformed at a time */
};

struct axis {
	int64_t in, out, before;	/* pixels, results; zeros before the first pixel */
	int64_t tiles;
};

struct plan {
	bool adjoint;
	struct axis y, x;
	int64_t images, cn, nn;		/* channels there, and of the result */
	int64_t ld;			/* floats of a tile's channels */
	int64_t tiles, block;		/* all of them; of a block */
	float *kernel;			/* [16][panel][cn][nr] */
	int64_t kernel_place;		/* floats of a place's */
	float *zeros;			/* a pixel that is not there */
	char *room;			/* by thread: pixels, sums, and where no result belongs */
	size_t room_bytes, sums_at, nowhere_at;
};

bool
vq_winograd_fits(const struct vq_conv *v, int64_t least)
{
	const struct vq_conv_axis *a[] = { &v->y, &v->x };

	for (int i = 0; i < 2; i++)
		if (a[i]->taps != 3 || a[i]->stride != 1 || a[i]->dilation != 1 || a[i]->out < 2)
			return false;
	return !v->bf16 && v->groups == 1 && v->ci >= least && v->co >= least;
}

static struct axis
axis_of(const struct vq_conv_axis *a, bool adjoint)
{
	struct axis s = { .in = adjoint ? a->out : a->in, .out = adjoint ? a->in : a->out,
	    .before = adjoint ? 2 - a->before : a->before };

	s.tiles = vq_winograd_tiles(s.out);
	return s;
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

	*p = (struct plan){ .adjoint = adjoint, .y = axis_of(&v->y, adjoint), .x = axis_of(&v->x, adjoint), .images = v->n,
	    .cn = adjoint ? v->co : v->ci, .nn = adjoint ? v->ci : v->co };
	p->ld = (p->cn + 15) / 16 * 16 + GAP;
	p->tiles = p->images * p->y.tiles * p->x.tiles;
	p->block = ROOM / (PLACES * p->ld) / 12 * 12;
	p->block = p->block < 12 ? 12 : p->block > TILES ? TILES : p->block;
	p->kernel_place = p->cn * vq_gemm_width(p->nn);
	p->kernel = vq_cut(&c, bytes_of(PLACES * p->kernel_place));
	p->zeros = vq_cut(&c, bytes_of(p->cn));
	int64_t rows = adjoint ? VQ_GEMM_NR_MAX : KERNEL_ROWS, pixels = PLACES * p->block * p->ld;
	int64_t turned = PLACES * rows * v->co;		/* a part of the kernel on its way lies there, too */
	p->sums_at = bytes_of(pixels > turned ? pixels : turned);
	p->nowhere_at = p->sums_at + bytes_of(PLACES * p->block * COLUMNS);
	p->room_bytes = p->nowhere_at + bytes_of(COLUMNS);
	p->room = vq_cut(&c, (size_t)threads * p->room_bytes);
	return c.used;
}

/* --- the kernel ----------------------------------------------------------- */

/* Input channels [i, i + rows) of w [3][3][ci][co], transformed and packed. */
static void
pack_rows(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, int64_t i, int64_t rows, float *room)
{
	int64_t ci = p->adjoint ? p->nn : p->cn, co = p->adjoint ? p->cn : p->nn;
	const float *w = c->in[1].data;

	for (int64_t r = 0; r < rows; r++) {
		const float *g = w + (i + r) * co;
		float *to = room + r * co;
		if (p->adjoint)
			vq_winograd(c->k)->taps(to, rows * co, g + 8 * ci * co, -ci * co, co);
		else
			vq_winograd(c->k)->taps(to, rows * co, g, ci * co, co);
	}
	for (int64_t place = 0; place < PLACES; place++) {
		const float *from = room + place * rows * co;
		float *to = p->kernel + place * p->kernel_place;
		if (p->adjoint)			/* columns are input channels: one panel */
			vq_gemm_pack(u, to + i * p->cn, p->cn, 0, from, co, true, p->cn, rows);
		else
			vq_gemm_pack(u, to, p->cn, i, from, co, false, rows, p->nn);
	}
}

static void
pack_kernel(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u)
{
	int64_t ci = p->adjoint ? p->nn : p->cn, step = p->adjoint ? u->nr : KERNEL_ROWS;

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < ci; i += step)
		pack_rows(p, c, u, i, ci - i < step ? ci - i : step,
		    (float *)(p->room + (size_t)omp_get_thread_num() * p->room_bytes));
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

static void
take_pixels(const struct plan *p, const struct vq_call *c, int64_t first, int64_t tiles, float *to)
{
	const float *from = c->in[0].data, *d[16];

	for (int64_t i = 0; i < tiles; i++) {
		struct tile t = tile_at(p, first + i);
		int64_t y0 = t.y - p->y.before, x0 = t.x - p->x.before;
		for (int j = 0; j < 16; j++) {
			int64_t y = y0 + j / 4, x = x0 + j % 4;
			bool there = y >= 0 && y < p->y.in && x >= 0 && x < p->x.in;
			d[j] = there ? from + ((t.image * p->y.in + y) * p->x.in + x) * p->cn : p->zeros;
		}
		vq_winograd(c->k)->pixels(to + i * p->ld, tiles * p->ld, d, p->cn);
	}
}

/* Columns [col, col + cols) of the results of a block, from their sums. */
static void
put_results(const struct plan *p, const struct vq_call *c, int64_t first, int64_t tiles, const float *sums, float *nowhere,
    int64_t col, int64_t cols)
{
	float *to = c->out[0].data, *y[4];

	for (int64_t i = 0; i < tiles; i++) {
		struct tile t = tile_at(p, first + i);
		for (int j = 0; j < 4; j++) {
			bool there = t.y + j / 2 < p->y.out && t.x + j % 2 < p->x.out;
			y[j] = there ? to + ((t.image * p->y.out + t.y + j / 2) * p->x.out + t.x + j % 2) * p->nn + col : nowhere;
		}
		vq_winograd(c->k)->results(y, sums + i * COLUMNS, tiles * COLUMNS, cols);
	}
}

/* The epilogue over the same: the tiles of a line at once, whose results are two lines. */
static void
finish(const struct plan *p, const struct vq_epilogue *e, int64_t first, int64_t tiles, int64_t col, int64_t cols)
{
	for (int64_t i = first, many; e->prog && i < first + tiles; i += many) {
		struct tile t = tile_at(p, i);
		int64_t line = (t.image * p->y.out + t.y) * p->x.out, end;

		many = p->x.tiles - t.x / 2;
		many = many < first + tiles - i ? many : first + tiles - i;
		end = t.x + 2 * many < p->x.out ? t.x + 2 * many : p->x.out;
		for (int64_t y = t.y; y < t.y + 2 && y < p->y.out; y++, line += p->x.out)
			vq_epilogue_apply(e, line + t.x, end - t.x, col, cols);
	}
}

static void
run_block(const struct plan *p, const struct vq_call *c, const struct vq_gemm_micro *u, const struct vq_epilogue *e, int64_t first,
    int64_t tiles, char *room)
{
	const float *a[VQ_GEMM_TABLE];
	float *pixels = (float *)room, *sums = (float *)(room + p->sums_at), *to[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .m = tiles, .a = a, .c = to, .segs = 1, .len = p->cn, .step = 1, .off = &zero, .depth = p->cn };

	take_pixels(p, c, first, tiles, pixels);
	for (int64_t col = 0; col < p->nn; col += COLUMNS) {
		g.n = p->nn - col < COLUMNS ? p->nn - col : COLUMNS;
		for (int64_t place = 0; place < PLACES; place++) {
			for (int64_t i = 0; i < tiles; i++) {
				a[i] = pixels + (place * tiles + i) * p->ld;
				to[i] = sums + (place * tiles + i) * COLUMNS;
			}
			vq_gemm_pad_rows(a, tiles);
			g.b = p->kernel + place * p->kernel_place + col * p->cn;
			vq_gemm_block(u, &g);
		}
		put_results(p, c, first, tiles, sums, (float *)(room + p->nowhere_at), col, g.n);
		finish(p, e, first, tiles, col, g.n);
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
		run_block(&p, c, u, &end, t, p.tiles - t < p.block ? p.tiles - t : p.block,
		    p.room + (size_t)omp_get_thread_num() * p.room_bytes);
}

size_t
vq_winograd_scratch(const struct vq_conv *v, bool adjoint, int threads)
{
	return plan_of(&(struct plan){ 0 }, v, adjoint, threads, NULL);
}
