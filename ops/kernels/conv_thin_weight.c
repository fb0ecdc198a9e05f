/*
 * conv_thin_weight -- the adjoint in the weights of a convolution that makes few channels
 *
 *   dw[tap][i][j] = sum over pixels q of x[q][i] * y[q - delta of tap][j]
 *
 * is one product whose columns are taps times channels: patches are gathered from y,
 * which is small, and x is read where it lies (or as words of two images, see conv.h).  Sums are cut into parts that only the
 * shape decides, added in order.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_thin.h"

enum {
	PIXELS = 128,			/* depth of a block, about */
	ROOM = 32 << 10,		/* floats of y in a block, about */
	PARTS = 16,
};

struct thin {
	struct vq_window win;		/* of y, seen from the pixels of x */
	int64_t ci, nn, taps, wide;	/* wide: taps * nn */
	bool half;			/* x is bf16 in memory */
	int64_t parts, per_part;	/* of the blocks */
	int64_t *off;			/* by tap */
	float *partial;			/* [part][ci][wide] */
	char *room;			/* by thread: window, patches, packed patches, x as words */
	size_t room_bytes, window_bytes, patch_bytes, packed_bytes;
};

/* Pixel q of x meets y at q - (t dilation - before). */
static struct vq_side
side_of(const struct vq_conv_axis *a)
{
	return (struct vq_side){ .source = a->out, .dest = a->in, .step = 1, .spread = 1, .grid = a->in,
	    .low = a->before - (a->taps - 1) * a->dilation, .high = a->before, .axis = *a };
}

static size_t
plan_make(struct thin *p, const struct vq_conv *v, const struct vq_gemm_micro *u, int threads, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };
	struct vq_window *w = &p->win;

	*p = (struct thin){ .half = v->half_x, .ci = v->ci, .nn = v->co, .taps = v->y.taps * v->x.taps };
	p->wide = p->taps * p->nn;
	*w = (struct vq_window){ .y = side_of(&v->y), .x = side_of(&v->x), .n = vq_gemm_words(u, v->n), .c = v->co,
	    .u = u, .two = true, .images = v->n, .half = v->half_y };
	vq_window_cut(w, PIXELS, ROOM, v->co);
	int64_t blocks = vq_window_blocks(w);
	p->parts = blocks < PARTS ? blocks : PARTS;
	p->per_part = (blocks + p->parts - 1) / p->parts;
	p->off = vq_cut(&c, (size_t)p->taps * sizeof(*p->off));
	p->partial = vq_cut(&c, (size_t)(p->parts * p->ci * p->wide) * sizeof(float));
	p->window_bytes = vq_conv_bytes(w->floats);
	p->patch_bytes = vq_conv_bytes(w->lines * w->cols * p->wide + 16);
	p->packed_bytes = vq_conv_bytes(w->lines * w->cols * vq_gemm_width(p->wide));
	p->room_bytes = p->window_bytes + p->patch_bytes + p->packed_bytes;
	if (u->round)
		p->room_bytes += vq_conv_bytes(w->lines * w->cols * p->ci);
	p->room = vq_cut(&c, (size_t)threads * p->room_bytes);
	return c.used;
}

/* The patches of y around the block's pixels, packed: they are words already, so that f32's
 * kernel packs them. */
static void
pack_patches(const struct thin *p, const struct vq_gemm_micro *u, const struct vq_block *b,
    float *patches, float *packed)
{
	int64_t m = 0;

	for (int64_t l = 0; l < b->lines; l++)
		for (int64_t x = 0; x < b->cols; x++, m++) {
			const float *from = b->from + b->base[l] + x * p->win.pixel;
			vq_conv_gather(patches + m * p->wide, p->wide, &from, 1, p->off, p->taps, p->nn);
		}
	vq_gemm_pack(u, packed, m, 0, patches, p->wide, false, m, p->wide);
}

/* The block's pixels of x as words, side by side. */
static void
round_pixels(const struct thin *p, const struct vq_block *b, const void *x, float *to)
{
	const struct vq_window *w = &p->win;
	int64_t line = w->x.grid * p->ci, len = b->cols * p->ci, other = w->n * w->y.grid * line;

	for (int64_t l = b->line; l < b->line + b->lines; l++, to += len) {
		const void *from = vq_conv_at(x, p->half, l * line + b->col * p->ci);
		const void *second = l / w->y.grid + w->n < w->images ? vq_conv_at(from, p->half, other) : NULL;

		if (p->half)
			vq_gemm_zip_half(w->u, to, from, second, len);
		else
			vq_gemm_zip(w->u, to, from, second, len);
	}
}

/* Adds the block to one part; `words` is room for x. */
static void
add_block(const struct thin *p, const struct vq_block *b, const float *x, const float *packed, float *words,
    float *part, bool add)
{
	const float *a[VQ_GEMM_TABLE];
	float *c[VQ_GEMM_TABLE];
	int64_t off[VQ_GEMM_ROWS];
	struct vq_gemm_block g = { .n = p->wide, .a = a, .c = c, .segs = b->lines, .len = b->cols,
	    .step = p->ci, .off = off, .b = packed, .depth = b->lines * b->cols, .add = add };

	for (int64_t l = 0; l < b->lines; l++)
		off[l] = l * p->win.x.grid * p->ci;
	if (p->win.u->round) {
		round_pixels(p, b, x, words);
		x = words;
	} else {
		x += (b->line * p->win.x.grid + b->col) * p->ci;
	}
	if (b->cols == p->win.x.grid || p->win.u->round) {	/* lines follow each other */
		g.segs = 1;
		g.len = g.depth;
	}
	for (int64_t i = 0; i < p->ci; i += VQ_GEMM_ROWS) {
		g.m = p->ci - i < VQ_GEMM_ROWS ? p->ci - i : VQ_GEMM_ROWS;
		for (int64_t j = 0; j < g.m; j++) {
			a[j] = x + i + j;
			c[j] = part + (i + j) * p->wide;
		}
		vq_gemm_pad_rows(a, g.m);
		vq_gemm_block(p->win.u, &g);
	}
}

static void
run_part(const struct thin *p, const struct vq_call *call, int64_t part, char *room)
{
	float *sum = p->partial + part * p->ci * p->wide;
	float *patches = (float *)(room + p->window_bytes);
	float *packed = (float *)(room + p->window_bytes + p->patch_bytes);
	float *words = (float *)(room + p->window_bytes + p->patch_bytes + p->packed_bytes);
	int64_t first = part * p->per_part, last = first + p->per_part, blocks = vq_window_blocks(&p->win);
	struct vq_block b;

	if (first >= blocks)
		memset(sum, 0, (size_t)(p->ci * p->wide) * sizeof(*sum));
	for (int64_t i = first; i < (last < blocks ? last : blocks); i++) {
		vq_window_block(&p->win, i, &b);
		vq_window_fill(&p->win, &b, call->in[1].data, 0, p->nn, (float *)room);
		pack_patches(p, call->k->gemm, &b, patches, packed);
		add_block(p, &b, call->in[0].data, packed, words, sum, i > first);
	}
}

void
vq_conv_thin_weight(const struct vq_call *call, const struct vq_conv *v)
{
	float *dw = call->out[0].data;
	struct thin p;

	plan_make(&p, v, vq_gemm_of(call->k, v->bf16), call->threads, call->scratch);
	for (int64_t t = 0; t < p.taps; t++)
		p.off[t] = vq_window_tap(&p.win, v->y.before - t / v->x.taps * v->y.dilation,
		    v->x.before - t % v->x.taps * v->x.dilation);
	#pragma omp parallel for num_threads(call->threads) schedule(dynamic)
	for (int64_t i = 0; i < p.parts; i++)
		run_part(&p, call, i, p.room + (size_t)omp_get_thread_num() * p.room_bytes);
	int64_t size = p.ci * p.wide;
	for (int64_t i = 1; i < p.parts; i++)
		call->k->ew[VQ_EW_ADD](p.partial, p.partial, p.partial + i * size, NULL, 0, 0, size);
	for (int64_t i = 0; i < size; i++) {
		int64_t t = i / p.nn % p.taps, row = i / p.wide;
		dw[(t * p.ci + row) * p.nn + i % p.nn] = p.partial[i];
	}
}

size_t
vq_conv_thin_weight_room(const struct vq_conv *v, const struct vq_gemm_micro *u, int threads)
{
	return plan_make(&(struct thin){ 0 }, v, u, threads, NULL);
}
