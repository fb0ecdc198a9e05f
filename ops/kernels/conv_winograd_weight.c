/*
 * conv_winograd_weight -- the adjoint in the weights by fewer products (winograd.h)
 *
 * A number of tiles at a time: their pixels and the gradients of their results are transformed, all
 * threads together; then each of the (r + 1)^2 places has a product whose depth are tiles, whose rows are input
 * channels and whose columns are output channels, added to the sums of its place.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	MOST = VQ_WINOGRAD_MOST,
	ROOM = 1 << 20,			/* floats that are transformed at a time, about: they stay in the third-level cache */
	DEEPEST = 256,			/* tiles at a time: a panel of so many stays in the first-level cache */
	GAP = 16,			/* floats after a tile's channels */
};

struct plan {
	const struct vq_conv *v;
	int64_t taps, side, places;	/* r, r + 1, (r + 1)^2 */
	int64_t stride, phases;		/* of an axis; of both */
	int64_t across, down, tiles;	/* of an image; of all */
	int64_t rows;			/* input channels of all phases */
	int64_t ld;			/* floats of a tile's */
	int64_t width;			/* floats of its output channels, in whole panels */
	int64_t depth;			/* tiles at a time */
	float *pixels;			/* [place][depth][ld] */
	float *packed;			/* [place][panel][depth][nr] */
	float *sums;			/* [place][phase][ci][co] */
	float *zeros;			/* a pixel that is not there */
};

static size_t
plan_of(struct plan *p, const struct vq_conv *v, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };
	int64_t most = v->ci > v->co ? v->ci : v->co;

	*p = (struct plan){ .v = v, .across = vq_winograd_tiles(v->x.out), .down = vq_winograd_tiles(v->y.out),
	    .stride = v->y.stride, .phases = v->y.stride * v->x.stride, .taps = v->y.taps / v->y.stride, .width = vq_gemm_width(v->co) };
	p->side = p->taps + 1;
	p->places = p->side * p->side;
	p->rows = p->phases * v->ci;
	p->ld = (p->rows + 15) / 16 * 16 + GAP;
	p->tiles = v->n * p->down * p->across;
	p->depth = ROOM / (p->places * (p->ld + p->width)) / 8 * 8;
	p->depth = p->depth < 32 ? 32 : p->depth > DEEPEST ? DEEPEST : p->depth;
	p->depth = p->depth > p->tiles ? p->tiles : p->depth;
	p->pixels = vq_cut(&c, (size_t)(p->places * p->depth * p->ld) * sizeof(float));
	p->packed = vq_cut(&c, (size_t)(p->places * p->depth * p->width) * sizeof(float));
	p->sums = vq_cut(&c, (size_t)(p->places * p->rows * v->co) * sizeof(float));
	p->zeros = vq_cut(&c, (size_t)most * sizeof(float));
	return c.used;
}

/* Tile first + i of those at a time, transformed. */
static void
take_tile(const struct plan *p, const struct vq_call *c, int nr, int64_t first, int64_t i)
{
	const struct vq_conv *v = p->v;
	const float *x = c->in[0].data, *g = c->in[1].data, *d[MOST], *r[4];
	int64_t t = first + i, image = t / (p->down * p->across), ty = t / p->across % p->down * 2, tx = t % p->across * 2;

	for (int64_t phase = 0; phase < p->phases; phase++) {
		int64_t y0 = p->stride * ty + phase / p->stride - v->y.before, x0 = p->stride * tx + phase % p->stride - v->x.before;
		for (int64_t j = 0; j < p->places; j++) {
			int64_t iy = y0 + p->stride * (j / p->side), ix = x0 + p->stride * (j % p->side);
			bool there = iy >= 0 && iy < v->y.in && ix >= 0 && ix < v->x.in;
			d[j] = there ? x + ((image * v->y.in + iy) * v->x.in + ix) * v->ci : p->zeros;
		}
		vq_winograd(c->k, p->taps)->pixels(p->pixels + i * p->ld + phase * v->ci, p->depth * p->ld, d, v->ci);
	}
	for (int64_t col = 0; col < v->co; col += nr) {
		for (int j = 0; j < 4; j++) {
			bool there = ty + j / 2 < v->y.out && tx + j % 2 < v->x.out;
			r[j] = there ? g + ((image * v->y.out + ty + j / 2) * v->x.out + tx + j % 2) * v->co + col : p->zeros;
		}
		vq_winograd(c->k, p->taps)->spread(p->packed + col * p->depth + i * nr, p->depth * p->width, r,
		    v->co - col < nr ? v->co - col : nr);
	}
}

/* Input channels [row, row + rows) of all phases, of a place: `tiles` more in their sums. */
static void
add_tiles(const struct plan *p, const struct vq_gemm_micro *u, int64_t place, int64_t row, int64_t rows, int64_t tiles, bool add)
{
	const float *a[VQ_GEMM_TABLE];
	float *to[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .m = rows, .n = p->v->co, .a = a, .c = to, .segs = 1, .len = tiles, .step = p->ld, .off = &zero,
	    .b = p->packed + place * p->depth * p->width, .depth = p->depth, .add = add };

	for (int64_t i = 0; i < rows; i++) {
		a[i] = p->pixels + place * p->depth * p->ld + row + i;
		to[i] = p->sums + (place * p->rows + row + i) * p->v->co;
	}
	vq_gemm_pad_rows(a, rows);
	vq_gemm_block(u, &g);
}

void
vq_winograd_weight(const struct vq_call *c, const struct vq_conv *v)
{
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, false);
	struct plan p;

	plan_of(&p, v, c->scratch);
	int64_t parts = (p.rows + VQ_GEMM_ROWS - 1) / VQ_GEMM_ROWS, rows = (p.rows + parts - 1) / parts;
	int64_t each = v->ci * v->co, down = p.stride * p.taps * each;
	memset(p.zeros, 0, (size_t)(v->ci > v->co ? v->ci : v->co) * sizeof(float));
	#pragma omp parallel num_threads(c->threads)
	{
		for (int64_t first = 0; first < p.tiles; first += p.depth) {
			int64_t tiles = p.tiles - first < p.depth ? p.tiles - first : p.depth;
			#pragma omp for schedule(static)
			for (int64_t i = 0; i < tiles; i++)
				take_tile(&p, c, u->nr, first, i);
			#pragma omp for schedule(dynamic)
			for (int64_t i = 0; i < p.places * parts; i++) {
				int64_t row = i % parts * rows;
				add_tiles(&p, u, i / parts, row, p.rows - row < rows ? p.rows - row : rows, tiles, first > 0);
			}
		}
		#pragma omp for schedule(static)
		for (int64_t i = 0; i < p.rows; i++) {
			int64_t phase = i / v->ci;
			float *to = (float *)c->out[0].data + phase / p.stride * down + phase % p.stride * each + i % v->ci * v->co;
			vq_winograd(c->k, p.taps)->gradient(to, p.stride * down, p.stride * each, p.sums + i * v->co, p.rows * v->co, v->co);
		}
	}
}

size_t
vq_winograd_weight_scratch(const struct vq_conv *v)
{
	return plan_of(&(struct plan){ 0 }, v, NULL);
}
