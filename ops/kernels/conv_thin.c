/*
 * conv_thin -- convolutions that make few channels
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_thin.h"

enum {
	THIN = 4,			/* most channels made */
	DEEP = 8,			/* fewest channels read */
	ROOM = 96 << 10,		/* floats of contributions in a block, about */
};

struct thin {
	const struct vq_gemm_micro *u;
	struct vq_side y, x;
	bool adjoint;
	bool half;			/* the source is bf16 in memory */
	int64_t n, cn, nn, taps, wide;	/* wide: taps * nn, columns of the product */
	int64_t words;			/* of the cn channels of a pixel */
	int64_t lines, blocks;		/* grid lines of a block; blocks of an image */
	float *weights;			/* [cn][wide] */
	float *packed;
	char *room;			/* contributions and pixels as words, by thread */
	size_t room_bytes, part_bytes;
};

bool
vq_conv_thin_fits(const struct vq_conv *v, bool adjoint)
{
	int64_t made = adjoint ? v->ci : v->co, read = adjoint ? v->co : v->ci;

	return v->groups == 1 && made <= THIN && read >= DEEP && v->y.taps * v->x.taps > 1 &&
	    (adjoint || (v->y.stride == 1 && v->x.stride == 1));
}

static size_t
plan_make(struct thin *p, const struct vq_conv *v, const struct vq_gemm_micro *u, bool adjoint, int threads,
    void *scratch)
{
	struct vq_cutter c = { scratch, 0 };

	*p = (struct thin){ .u = u, .adjoint = adjoint, .half = adjoint ? v->half_y : v->half_x, .n = v->n, .taps = v->y.taps * v->x.taps };
	(adjoint ? vq_side_adjoint : vq_side_forward)(&p->y, &v->y);
	(adjoint ? vq_side_adjoint : vq_side_forward)(&p->x, &v->x);
	p->cn = adjoint ? v->co : v->ci;
	p->nn = adjoint ? v->ci : v->co;
	p->wide = p->taps * p->nn;
	int64_t span = p->y.high - p->y.low, line = p->x.source * p->wide;
	p->lines = ROOM / line - span < 1 ? 1 : ROOM / line - span;
	p->blocks = (p->y.grid + p->lines - 1) / p->lines;
	p->lines = (p->y.grid + p->blocks - 1) / p->blocks;
	p->words = vq_gemm_words(u, p->cn);
	p->weights = vq_cut(&c, (size_t)(p->cn * p->wide) * sizeof(float));
	p->packed = vq_cut(&c, (size_t)(p->words * vq_gemm_width(p->wide)) * sizeof(float));
	int64_t most = p->lines + span < p->y.source ? p->lines + span : p->y.source;
	p->part_bytes = ((size_t)(most * line) * sizeof(float) + 63) / 64 * 64;
	p->room_bytes = p->part_bytes;
	if (u->round)
		p->room_bytes += ((size_t)(VQ_GEMM_ROWS * p->words) * sizeof(float) + 63) / 64 * 64;
	p->room = vq_cut(&c, (size_t)threads * p->room_bytes);
	return c.used;
}

/* Panels whose column t * nn + j is channel j through tap t. */
static void
pack(const struct thin *p, const float *w)
{
	int64_t tap_step = p->cn * p->nn, k_step = p->adjoint ? 1 : p->nn, j_step = p->adjoint ? p->cn : 1;

	for (int64_t k = 0; k < p->cn; k++)
		for (int64_t x = 0; x < p->wide; x++)
			p->weights[k * p->wide + x] = w[x / p->nn * tap_step + k * k_step + x % p->nn * j_step];
	vq_gemm_pack(p->u, p->packed, p->words, 0, p->weights, p->wide, false, p->cn, p->wide);
}

/* The contributions of `pixels` source pixels that follow each other; words: room for some as words. */
static void
contributions(const struct thin *p, const void *source, int64_t pixels, float *to,
    float *words)
{
	const float *a[VQ_GEMM_TABLE];
	float *c[VQ_GEMM_TABLE];
	int64_t zero = 0;
	struct vq_gemm_block g = { .n = p->wide, .a = a, .c = c, .segs = 1, .len = p->words, .step = 1,
	    .off = &zero, .b = p->packed, .depth = p->words };

	for (int64_t i = 0; i < pixels; i += VQ_GEMM_ROWS) {
		g.m = pixels - i < VQ_GEMM_ROWS ? pixels - i : VQ_GEMM_ROWS;
		for (int64_t j = 0; j < g.m; j++) {
			const void *from = vq_conv_at(source, p->half, (i + j) * p->cn);
			a[j] = p->u->round ? words + j * p->words : from;
			if (p->half)
				vq_gemm_row_half(p->u, words + j * p->words, from, p->cn);
			else if (p->u->round)
				p->u->round(words + j * p->words, from, p->cn);
			c[j] = to + (i + j) * p->wide;
		}
		vq_gemm_pad_rows(a, g.m);
		vq_gemm_block(p->u, &g);
	}
}

/* Adds one tap to every position of a phase of one line. */
static void
add_tap(const struct thin *p, const float *from, int64_t phase, int64_t dx, float *to)
{
	int64_t grid = vq_side_grid(&p->x, phase), first = dx < 0 ? -dx : 0;
	int64_t end = grid < p->x.source - dx ? grid : p->x.source - dx;
	int64_t step = p->x.spread * p->nn;

	to += phase * p->nn;
	if (p->nn == 1)
		for (int64_t g = first; g < end; g++)
			to[g * step] += from[(g + dx) * p->wide];
	else
		for (int64_t g = first; g < end; g++)
			for (int64_t j = 0; j < p->nn; j++)
				to[g * step + j] += from[(g + dx) * p->wide + j];
}

/* Line y of the result; `part` holds the contributions of source lines from `top` on. */
static void
add_line(const struct thin *p, const float *part, int64_t top, int64_t y, float *to)
{
	int64_t grid = y / p->y.spread, phase = y % p->y.spread;

	memset(to, 0, (size_t)(p->x.dest * p->nn) * sizeof(*to));
	for (int64_t ty = -1, dy; vq_side_next(&p->y, phase, &ty, &dy);) {
		if (grid + dy < 0 || grid + dy >= p->y.source)
			continue;
		const float *line = part + (grid + dy - top) * p->x.source * p->wide;
		for (int64_t px = 0; px < p->x.spread; px++)
			for (int64_t tx = -1, dx; vq_side_next(&p->x, px, &tx, &dx);)
				add_tap(p, line + (ty * p->x.axis.taps + tx) * p->nn, px, dx, to);
	}
}

static void
run_block(const struct thin *p, const struct vq_call *call, const struct vq_epilogue *end, int64_t image,
    int64_t line, float *room)
{
	int64_t last = line + p->lines < p->y.grid ? line + p->lines : p->y.grid;
	int64_t top = line + p->y.low < 0 ? 0 : line + p->y.low;
	int64_t bottom = last + p->y.high < p->y.source ? last + p->y.high : p->y.source;
	int64_t y0 = line * p->y.spread, y1 = last * p->y.spread < p->y.dest ? last * p->y.spread : p->y.dest;
	int64_t first = (image * p->y.source + top) * p->x.source * p->cn;
	float *dest = (float *)call->out[0].data + image * p->y.dest * p->x.dest * p->nn;

	if (bottom > top)
		contributions(p, vq_conv_at(call->in[0].data, p->half, first), (bottom - top) * p->x.source, room,
		    room + p->part_bytes / sizeof(*room));
	for (int64_t y = y0; y < y1; y++)
		add_line(p, room, top, y, dest + y * p->x.dest * p->nn);
	vq_epilogue_apply(end, (image * p->y.dest + y0) * p->x.dest, (y1 - y0) * p->x.dest, 0, p->nn);
}

void
vq_conv_thin(const struct vq_call *c, const struct vq_conv *v, bool adjoint)
{
	struct vq_epilogue end;
	struct thin p;

	plan_make(&p, v, vq_gemm_of(c->k, v->bf16), adjoint, c->threads, c->scratch);
	vq_epilogue_of(&end, c);
	pack(&p, c->in[1].data);
	#pragma omp parallel for num_threads(c->threads) schedule(dynamic)
	for (int64_t i = 0; i < p.n * p.blocks; i++)
		run_block(&p, c, &end, i / p.blocks, i % p.blocks * p.lines,
		    (float *)(p.room + (size_t)omp_get_thread_num() * p.room_bytes));
}

size_t
vq_conv_thin_room(const struct vq_conv *v, const struct vq_gemm_micro *u, bool adjoint, int threads)
{
	return plan_make(&(struct thin){ 0 }, v, u, adjoint, threads, NULL);
}
