/*
 * conv_weight -- the adjoint of a convolution in its weights
 *
 * dw[tap][i][o] is a sum over output pixels of x[pixel + tap][i] times y[pixel][o]:
 * for each tap a product whose depth are pixels, whose rows are input channels
 * (read one float apart, a pixel's channels to a step) and whose columns are output
 * channels.  A block of pixels is laid out and packed once, then walked tap by tap.
 * With few input channels the patches are gathered, and all taps are one product.
 *
 * Small weights are summed in a number of parts that only the shape decides, the
 * parts then added in order.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_thin.h"
#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	ROWS = 12,			/* input channels of a task are a multiple of this, most tiles' rows */
	PIXELS = 128,			/* depth of a block, about */
	ROOM = 48 << 10,		/* floats of source pixels in a block, about */
	GATHER = 16,			/* input channels up to which patches are gathered */
	PARTS = 16,			/* most parts of a sum */
	CUTS = 64,			/* most ways tried to cut an axis of the weights */
	PART_FLOATS = 128 << 10,	/* all parts together take at most so many floats */
};

struct plan {
	struct vq_window win;
	int64_t groups, cn, nn, taps, co;
	bool gather;
	bool half;			/* y is bf16 in memory */
	int64_t rows, cols;		/* of a task: input and output channels of a group */
	int64_t parts, per_part;	/* of the blocks */
	int64_t size;			/* of the weights */
	int64_t run;			/* taps that follow each other when gathered */
	int64_t *off;			/* by run of taps */
	float *partial;
	char *room;			/* by thread: window, packed y, patches */
	size_t room_bytes, window_bytes, packed_bytes;
};

static int64_t
ceil_div(int64_t x, int64_t by)
{
	return (x + by - 1) / by;
}

/* An odd number of cache lines, so that the pixels of a block spread over the sets. */
static int64_t
spread_out(int64_t channels)
{
	int64_t lines = ceil_div(channels, 16);

	return (lines + (lines + 1) % 2) * 16;
}

static int64_t
whole_tiles(int64_t rows)
{
	return ceil_div(rows, ROWS) * ROWS;
}

/* So many channels at a time that a block has pixels enough: the weights are read and
 * written once for each. */
static void
cut_block(struct plan *p)
{
	p->rows = p->gather ? p->cn : whole_tiles(p->cn);
	for (;; p->rows = whole_tiles(ceil_div(p->rows, 2))) {
		p->win.direct = p->taps == 1;	/* nothing is read twice */
		vq_window_cut(&p->win, PIXELS, ROOM, p->gather ? p->cn : spread_out(p->rows < p->cn ? p->rows : p->cn));
		if (p->gather || p->rows <= 2 * ROWS || p->win.lines * p->win.cols > PIXELS * 2 / 3)
			break;
	}
}

/* Time of a task and pixel, about, in multiply-adds of a vector: the products, the
 * packing of y, the laying out of x. */
static int64_t
task_cost(const struct plan *p, int64_t rows, int64_t cols)
{
	int64_t used = rows < p->cn ? rows : p->cn;

	return p->taps * used * cols / 8 + cols + 2 * used;
}

/* Channels of a task so that the threads, each taking one after the other, are done
 * soonest.  Rows in whole tiles of any instruction set, at most as many as they are. */
static void
cut_tasks(struct plan *p, int threads)
{
	int64_t most = p->rows, best = INT64_MAX;
	int64_t most_down = p->gather ? 1 : ceil_div(p->cn, ROWS);

	for (int64_t across = 1; across <= CUTS && across <= ceil_div(p->nn, VQ_GEMM_NR_MAX); across++)
		for (int64_t down = 1; down <= CUTS + p->cn / most && down <= most_down; down++) {
			int64_t rows = p->gather ? p->cn : whole_tiles(ceil_div(p->cn, down));
			int64_t cols = vq_gemm_width(ceil_div(p->nn, across));
			int64_t tasks = p->parts * p->groups * ceil_div(p->cn, rows) * ceil_div(p->nn, cols);
			int64_t cost = ceil_div(tasks, threads) * task_cost(p, rows, cols);
			if (rows > most || cost >= best)
				continue;
			best = cost;
			p->rows = rows;
			p->cols = cols;
		}
}

static size_t
plan_make(struct plan *p, const struct vq_conv *v, const struct vq_gemm_micro *u, int threads, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };
	struct vq_window *w = &p->win;

	*p = (struct plan){ .groups = v->groups, .cn = v->ci / v->groups, .nn = v->co / v->groups,
	    .taps = v->y.taps * v->x.taps, .co = v->co };
	vq_side_forward(&w->y, &v->y);
	vq_side_forward(&w->x, &v->x);
	w->n = vq_gemm_words(u, v->n);
	w->images = v->n;
	w->two = true;
	w->u = u;
	w->c = v->ci;
	w->half = v->half_x;
	p->half = v->half_y;
	p->gather = p->taps > 1 && p->cn <= GATHER;
	p->run = p->gather && v->x.dilation == 1 ? v->x.taps : 1;
	p->size = p->taps * p->cn * p->co;
	if (v->n == 0)
		return 0;
	cut_block(p);
	int64_t blocks = vq_window_blocks(w);
	p->parts = PART_FLOATS / p->size < PARTS ? PART_FLOATS / p->size : PARTS;
	p->parts = p->parts > blocks ? blocks : p->parts < 1 ? 1 : p->parts;
	p->per_part = ceil_div(blocks, p->parts);
	cut_tasks(p, threads);
	if (!p->gather && !w->direct && p->rows < p->cn) {	/* only the channels of a task are laid out */
		w->pixel = spread_out(p->rows);
		vq_window_lines(w, w->lines);
	}
	p->off = vq_cut(&c, (size_t)p->taps * sizeof(*p->off));
	p->partial = vq_cut(&c, p->parts > 1 ? (size_t)(p->parts * p->size) * sizeof(float) : 0);
	p->window_bytes = vq_conv_bytes(w->floats);
	p->packed_bytes = vq_conv_bytes(w->lines * w->cols * p->cols);
	p->room_bytes = p->window_bytes + p->packed_bytes;
	if (p->gather)
		p->room_bytes += vq_conv_bytes(w->lines * w->cols * p->taps * p->cn + 16);
	p->room = vq_cut(&c, (size_t)threads * p->room_bytes);
	return c.used;
}

/* Rows [row, row + rows) and columns [col, col + cols) of one group, into dw. */
struct task {
	int64_t group, row, rows, col, cols;
	float *dw;
};

/* As vq_gemm_pack_zipped does, of numbers that are bf16. */
static void
pack_half(const struct vq_gemm_micro *u, float *to, int64_t depth, const uint16_t *y, const uint16_t *other, int64_t ld,
    int64_t k, int64_t n)
{
	for (int64_t j = 0; j < n; j += u->nr, to += depth * u->nr) {
		int64_t wide = n - j < u->nr ? n - j : u->nr;

		for (int64_t x = 0; x < k; x++) {
			vq_gemm_zip_half(u, to + x * u->nr, y + x * ld + j, other ? other + x * ld + j : NULL, wide);
			if (wide < u->nr)
				memset(to + x * u->nr + wide, 0, (size_t)(u->nr - wide) * sizeof(*to));
		}
	}
}

/* Columns of the block's pixels of y, packed: whole lines follow each other. */
static void
pack_pixels(const struct plan *p, const struct vq_block *b, const struct task *t, const void *y, float *packed)
{
	const struct vq_window *w = &p->win;
	int64_t width = w->x.grid, depth = b->lines * b->cols, other = w->n * w->y.grid * width * p->co;
	int64_t both = (w->images - w->n) * w->y.grid;	/* lines that a second image has, too */

	y = vq_conv_at(y, p->half, b->col * p->co + t->group * p->nn + t->col);
	for (int64_t l = b->line, lines; l < b->line + b->lines; l += lines) {
		const void *from = vq_conv_at(y, p->half, l * width * p->co);
		const void *second = l < both ? vq_conv_at(from, p->half, other) : NULL;
		int64_t at = (l - b->line) * b->cols;

		lines = l < both && both < b->line + b->lines ? both - l : b->line + b->lines - l;
		lines = b->cols == width ? lines : 1;
		if (p->half)
			pack_half(w->u, packed + at * w->u->nr, depth, from, second, p->co, lines * b->cols, t->cols);
		else
			vq_gemm_pack_zipped(w->u, packed, depth, at, from, second, p->co, lines * b->cols, t->cols);
	}
}

/* All taps at once: row i is float i of the patches. */
static void
add_gathered(const struct plan *p, const struct vq_block *b, const struct task *t, struct vq_gemm_block *g,
    float *patches)
{
	const float *a[VQ_GEMM_TABLE];
	float *c[VQ_GEMM_TABLE];
	int64_t zero = 0, k = p->taps * p->cn, m = 0;

	for (int64_t l = 0; l < b->lines; l++)
		for (int64_t x = 0; x < b->cols; x++, m++) {
			const float *from = b->from + b->base[l] + x * p->win.x.step * p->win.pixel;
			vq_conv_gather(patches + m * k, k, &from, 1, p->off, p->taps / p->run, p->run * p->cn);
		}
	g->segs = 1;
	g->off = &zero;
	g->len = m;
	g->step = k;
	for (int64_t i = 0; i < k; i += VQ_GEMM_ROWS) {
		g->m = k - i < VQ_GEMM_ROWS ? k - i : VQ_GEMM_ROWS;
		for (int64_t j = 0; j < g->m; j++) {
			a[j] = patches + i + j;
			c[j] = t->dw + (i + j) * p->co;
		}
		g->a = a;
		g->c = c;
		vq_gemm_pad_rows(a, g->m);
		vq_gemm_block(p->win.u, g);
	}
}

static void
add_tap(const struct plan *p, const struct vq_block *b, const struct task *t, struct vq_gemm_block *g, int64_t tap)
{
	const float *a[VQ_GEMM_TABLE], *from = b->from + p->off[tap];
	float *c[VQ_GEMM_TABLE];

	g->segs = b->lines;
	g->off = b->base;
	g->len = b->cols;
	g->step = p->win.x.step * p->win.pixel;
	for (int64_t i = 0; i < t->rows; i += VQ_GEMM_ROWS) {
		g->m = t->rows - i < VQ_GEMM_ROWS ? t->rows - i : VQ_GEMM_ROWS;
		for (int64_t j = 0; j < g->m; j++) {
			a[j] = from + i + j;
			c[j] = t->dw + (tap * p->cn + t->row + i + j) * p->co;
		}
		g->a = a;
		g->c = c;
		vq_gemm_pad_rows(a, g->m);
		vq_gemm_block(p->win.u, g);
	}
}

static void
run_task(const struct plan *p, const struct vq_call *call, const struct task *t, int64_t part, char *room)
{
	float *packed = (float *)(room + p->window_bytes);
	float *patches = (float *)(room + p->window_bytes + p->packed_bytes);
	int64_t first = part * p->per_part, blocks = vq_window_blocks(&p->win), last = first + p->per_part;
	struct vq_gemm_block g = { .n = t->cols, .b = packed, .col = t->group * p->nn + t->col };
	struct vq_block b;

	for (int64_t i = first; i < (last < blocks ? last : blocks); i++) {
		vq_window_block(&p->win, i, &b);
		vq_window_fill(&p->win, &b, call->in[0].data, t->group * p->cn + t->row, t->rows, (float *)room);
		pack_pixels(p, &b, t, call->in[1].data, packed);
		g.depth = b.lines * b.cols;
		g.add = i > first;
		if (p->gather)
			add_gathered(p, &b, t, &g, patches);
		else
			for (int64_t tap = 0; tap < p->taps; tap++)
				add_tap(p, &b, t, &g, tap);
	}
	for (int64_t i = 0; first >= blocks && i < p->taps * p->cn; i++)
		memset(t->dw + i * p->co + g.col, 0, (size_t)t->cols * sizeof(float));
}

void
vq_conv_weight(const struct vq_call *call, const struct vq_conv *v)
{
	float *dw = call->out[0].data;
	struct plan p;

	if (v->n > 0 && vq_conv_thin_fits(v, false)) {
		vq_conv_thin_weight(call, v);
		return;
	}
	if (v->n > 0 && vq_winograd_fits(call->k, v, VQ_WINOGRAD_WEIGHT)) {
		vq_winograd_weight(call, v);
		return;
	}
	plan_make(&p, v, vq_gemm_of(call->k, v->bf16), call->threads, call->scratch);
	if (v->n == 0) {
		memset(dw, 0, (size_t)(p.taps * p.cn * p.co) * sizeof(*dw));
		return;
	}
	for (int64_t s = 0, t = 0; t < p.taps; s++, t += p.run)
		p.off[s] = vq_window_tap(&p.win, t / v->x.taps * v->y.dilation - v->y.before,
		    t % v->x.taps * v->x.dilation - v->x.before);
	int64_t down = ceil_div(p.cn, p.rows), across = ceil_div(p.nn, p.cols);
	int64_t tasks = p.parts * p.groups * down * across;
	#pragma omp parallel for num_threads(call->threads) schedule(dynamic)
	for (int64_t i = 0; i < tasks; i++) {
		int64_t part = i / (p.groups * down * across), rest = i % (p.groups * down * across);
		struct task t = { .group = rest / (down * across), .row = rest / across % down * p.rows,
		    .col = rest % across * p.cols };

		t.rows = p.cn - t.row < p.rows ? p.cn - t.row : p.rows;
		t.cols = p.nn - t.col < p.cols ? p.nn - t.col : p.cols;
		t.dw = p.parts > 1 ? p.partial + part * p.size : dw;
		run_task(&p, call, &t, part, p.room + (size_t)omp_get_thread_num() * p.room_bytes);
	}
	if (p.parts == 1)
		return;
	memcpy(dw, p.partial, (size_t)p.size * sizeof(*dw));
	for (int64_t i = 1; i < p.parts; i++)
		call->k->ew[VQ_EW_ADD](dw, dw, p.partial + i * p.size, NULL, 0, 0, p.size);
}

size_t
vq_conv_weight_scratch(const struct vq_conv *v, int threads)
{
	bool winograd = v->n > 0 && !vq_conv_thin_fits(v, false) && vq_winograd_fits(NULL, v, VQ_WINOGRAD_WEIGHT);
	size_t most = winograd ? vq_winograd_weight_scratch(v) : 0;
	if (winograd && !v->bf16)
		return most;
	const struct vq_gemm_micro *u[2];

	for (int i = vq_gemm_layouts(v->bf16, u); i-- > 0;) {
		size_t bytes = v->n > 0 && vq_conv_thin_fits(v, false) ? vq_conv_thin_weight_room(v, u[i], threads) :
		    plan_make(&(struct plan){ 0 }, v, u[i], threads, NULL);
		most = bytes > most ? bytes : most;
	}
	return most;
}
