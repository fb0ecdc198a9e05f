/*
 * conv_winograd_weight -- the adjoint in the weights by fewer products (winograd.h)
 *
 * A number of tiles at a time: their pixels and the gradients of their results are transformed, all
 * threads together; then each place has a product whose depth are tiles, whose rows are input
 * channels and whose columns are output channels, added to the sums of its place.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	MOST = VQ_WINOGRAD_MOST,
	ROOM = 1 << 20,			/* floats that are transformed at a time, about: they stay in the third-level cache */
	DEEPEST = 256,			/* words of tiles at a time: a panel of so many stays in the first-level cache */
	GAP = 16,			/* words after a tile's channels */
};

struct plan {
	const struct vq_conv *v;
	int64_t taps, m, side, places;	/* r, m, a, a^2 */
	int64_t stride, phases;		/* of an axis; of both */
	int64_t across, down, tiles;	/* of an image; of all */
	int64_t per, words;		/* tiles in a word (gemm_micro.h); words of all */
	int64_t rows;			/* input channels of all phases */
	int64_t ld;			/* words of those */
	int64_t width;			/* words of its output channels, in whole panels */
	int64_t depth;			/* words of tiles at a time */
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

	*p = (struct plan){ .v = v, .m = vq_winograd_made(v, v->y.out, v->x.out), .per = v->bf16 ? 2 : 1,
	    .stride = v->y.stride, .phases = v->y.stride * v->x.stride, .taps = v->y.taps / v->y.stride, .width = vq_gemm_width(v->co) };
	p->across = vq_winograd_tiles(v->x.out, p->m);
	p->down = vq_winograd_tiles(v->y.out, p->m);
	p->side = p->taps + p->m - 1;
	p->places = p->side * p->side;
	p->rows = p->phases * v->ci;
	p->ld = (p->rows + 15) / 16 * 16 + GAP;
	p->tiles = v->n * p->down * p->across;
	p->words = (p->tiles + p->per - 1) / p->per;
	p->depth = ROOM / (p->places * (p->ld + p->width)) / 8 * 8;
	p->depth = p->depth < 32 ? 32 : p->depth > DEEPEST ? DEEPEST : p->depth;
	p->depth = p->depth > p->words ? p->words : p->depth;
	p->pixels = vq_cut(&c, (size_t)(p->places * p->depth * p->ld) * sizeof(float));
	p->packed = vq_cut(&c, (size_t)(p->places * p->depth * p->width) * sizeof(float));
	p->sums = vq_cut(&c, (size_t)(p->places * p->rows * v->co) * sizeof(float));
	p->zeros = vq_cut(&c, (size_t)most * sizeof(float));
	return c.used;
}

/* The pixels of a phase of tile t, and its gradients from channel col on. */
static void
pixels_of(const struct plan *p, const struct vq_call *c, int64_t t, int64_t phase, const void **d)
{
	const struct vq_conv *v = p->v;
	int64_t image = t / (p->down * p->across), ty = t / p->across % p->down * p->m, tx = t % p->across * p->m;
	int64_t y0 = p->stride * ty + phase / p->stride - v->y.before, x0 = p->stride * tx + phase % p->stride - v->x.before;

	for (int64_t j = 0; j < p->places; j++) {
		int64_t y = y0 + p->stride * (j / p->side), x = x0 + p->stride * (j % p->side);
		bool there = t < p->tiles && y >= 0 && y < v->y.in && x >= 0 && x < v->x.in;
		d[j] = there ? vq_conv_at(c->in[0].data, v->half_x, ((image * v->y.in + y) * v->x.in + x) * v->ci) : p->zeros;
	}
}

static void
gradients_of(const struct plan *p, const struct vq_call *c, int64_t t, int64_t col, const void **d)
{
	const struct vq_conv *v = p->v;
	int64_t image = t / (p->down * p->across), ty = t / p->across % p->down * p->m, tx = t % p->across * p->m;

	for (int64_t j = 0; j < p->m * p->m; j++) {
		int64_t y = ty + j / p->m, x = tx + j % p->m;
		bool there = t < p->tiles && y < v->y.out && x < v->x.out;
		d[j] = there ? vq_conv_at(c->in[1].data, v->half_y, ((image * v->y.out + y) * v->x.out + x) * v->co + col) : p->zeros;
	}
}

/* Word first + i of tiles, transformed. */
static void
take_word(const struct plan *p, const struct vq_call *c, int nr, int64_t first, int64_t i)
{
	const struct vq_winograd_pairs *pairs = p->v->bf16 ? vq_winograd_pairs(c->k, p->taps) : NULL;
	const struct vq_winograd *one = vq_winograd(c->k, p->taps, p->m);
	int64_t t = p->per * (first + i), ci = p->v->ci, co = p->v->co;
	const void *d[2 * MOST];
	const float *at[MOST];

	for (int64_t phase = 0; phase < p->phases; phase++) {
		float *to = p->pixels + i * p->ld + phase * ci;
		for (int64_t j = 0; j < p->per; j++)
			pixels_of(p, c, t + j, phase, d + j * p->places);
		if (pairs) {
			pairs->zip_pixels(to, p->depth * p->ld, d, p->v->half_x, ci);
			continue;
		}
		vq_winograd_places(at, to, p->side, p->side * p->depth * p->ld, p->depth * p->ld);
		one->pixels((float *const *)at, (const float *const *)d, ci);
	}
	for (int64_t col = 0; col < co; col += nr) {
		float *to = p->packed + col * p->depth + i * nr;
		int64_t cols = co - col < nr ? co - col : nr;
		for (int64_t j = 0; j < p->per; j++)
			gradients_of(p, c, t + j, col, d + j * p->m * p->m);
		if (pairs) {
			pairs->zip_spread(to, p->depth * p->width, d, p->v->half_y, cols);
			continue;
		}
		vq_winograd_places(at, to, p->side, p->side * p->depth * p->width, p->depth * p->width);
		one->spread((float *const *)at, (const float *const *)d, cols);
	}
}

/* Input channels [row, row + rows) of all phases, of a place: so many words more in their sums. */
static void
add_words(const struct plan *p, const struct vq_gemm_micro *u, int64_t place, int64_t row, int64_t rows, int64_t words, bool add)
{
	const float *a[VQ_GEMM_TABLE];
	float *to[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .m = rows, .n = p->v->co, .a = a, .c = to, .segs = 1, .len = words, .step = p->ld, .off = &zero,
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
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, v->bf16);
	struct plan p;

	plan_of(&p, v, c->scratch);
	int64_t parts = (p.rows + VQ_GEMM_ROWS - 1) / VQ_GEMM_ROWS, rows = (p.rows + parts - 1) / parts;
	int64_t each = v->ci * v->co, down = p.stride * p.taps * each;
	memset(p.zeros, 0, (size_t)(v->ci > v->co ? v->ci : v->co) * sizeof(float));
	#pragma omp parallel num_threads(c->threads)
	{
		for (int64_t first = 0; first < p.words; first += p.depth) {
			int64_t words = p.words - first < p.depth ? p.words - first : p.depth;
			#pragma omp for schedule(static)
			for (int64_t i = 0; i < words; i++)
				take_word(&p, c, u->nr, first, i);
			#pragma omp for schedule(dynamic)
			for (int64_t i = 0; i < p.places * parts; i++) {
				int64_t row = i % parts * rows;
				add_words(&p, u, i / parts, row, p.rows - row < rows ? p.rows - row : rows, words, first > 0);
			}
		}
		#pragma omp for schedule(static)
		for (int64_t i = 0; i < p.rows; i++) {
			int64_t phase = i / v->ci;
			const float *to[9], *from[MOST];
			vq_winograd_places(to, (float *)c->out[0].data + phase / p.stride * down + phase % p.stride * each + i % v->ci * v->co,
			    p.taps, p.stride * down, p.stride * each);
			vq_winograd_places(from, p.sums + i * v->co, p.side, p.side * p.rows * v->co, p.rows * v->co);
			vq_winograd(c->k, p.taps, p.m)->gradient((float *const *)to, from, v->co);
		}
	}
}

size_t
vq_winograd_weight_scratch(const struct vq_conv *v)
{
	return plan_of(&(struct plan){ 0 }, v, NULL);
}
