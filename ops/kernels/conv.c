/*
 * conv -- forward, and the adjoint in the input: correlations of a window with weights
 *
 * A task is a block of grid positions times a range of columns (output channels of
 * one group): the source pixels are laid out, then for each phase the tiles walk
 * over the taps, and the epilogue follows while the block is in cache.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv_thin.h"
#include "ops/kernels/conv_window.h"
#include "ops/kernels/winograd.h"

enum {
	ROOM = 64 << 10,		/* words of source pixels in a block, about: half a
					 * second-level cache */
	GATHER = 16,			/* runs shorter than this are gathered first */
	SUMS = 48 << 10,		/* sums of a block whose result is bf16, about */
	HALF_SPREAD = 16,		/* most phases of such a result, of which a block has as many places */
};

/* The taps of one phase: k slivers [first, first + depth) of the packed weights. */
struct phase {
	int64_t y, x;
	int64_t grid_y, grid_x;
	int64_t tap, taps;		/* of corr.off and corr.which */
	int64_t segs, len, depth;
};

struct corr {
	struct vq_window win;
	bool adjoint;
	int64_t groups, cn, nn;		/* channels of a group, here and there */
	int64_t words;			/* that the cn channels of a pixel take up */
	int64_t dest_c;
	int64_t splits;			/* ranges of columns */
	int64_t split;			/* columns of a range: whole vectors' panels */
	bool gather;
	int64_t phases;
	struct phase *phase;
	int64_t *off, *which;		/* by tap: words from the base; index in the weights */
	float *packed;			/* [group][phase][panel][depth][nr] */
	bool half;			/* the result is bf16 in memory */
	int64_t sum_cols;		/* columns summed at a time then */
	char *room;			/* by thread: pixels, patches, sums */
	size_t room_bytes, patches_at, sums_at;
};

static int64_t
ceil_div(int64_t x, int64_t by)
{
	return (x + by - 1) / by;
}

/* Blocks and column ranges, so that every thread gets some. */
static void
cut_tasks(struct corr *r, int threads)
{
	struct vq_window *w = &r->win;
	int64_t width = vq_gemm_width(r->nn);

	r->split = width;
	while (threads > 1) {
		r->splits = ceil_div(r->nn, r->split);
		if (vq_window_blocks(w) * r->splits * r->groups >= 3 * threads)
			break;
		if (r->split > VQ_GEMM_NR_MAX && w->lines * w->cols <= 64)
			r->split = vq_gemm_width(ceil_div(r->split, 2));
		else if (w->lines > 1 && w->lines * w->cols > 12)
			vq_window_lines(w, ceil_div(w->lines, 2));
		else if (r->split > VQ_GEMM_NR_MAX)
			r->split = vq_gemm_width(ceil_div(r->split, 2));
		else
			break;
	}
	r->splits = ceil_div(r->nn, r->split);
}

/* Cuts what a thread needs for a block. */
static void
cut_room(struct corr *r, int64_t taps)
{
	const struct vq_window *w = &r->win;
	int64_t places = w->lines * w->y.spread * w->cols * w->x.spread;

	r->patches_at = (size_t)w->floats * sizeof(float) / 64 * 64 + 64;
	r->sums_at = r->patches_at;
	if (r->gather)
		r->sums_at += (size_t)(VQ_GEMM_ROWS * taps * r->words + 16) * sizeof(float) / 64 * 64 + 64;
	r->room_bytes = r->sums_at;
	if (!r->half)
		return;
	r->sum_cols = SUMS / places / VQ_GEMM_NR_MAX * VQ_GEMM_NR_MAX;
	r->sum_cols = r->sum_cols < VQ_GEMM_NR_MAX ? VQ_GEMM_NR_MAX : r->sum_cols < r->split ? r->sum_cols : r->split;
	r->room_bytes += (size_t)(places * r->sum_cols) * sizeof(float) / 64 * 64 + 64;
}

/* Everything that shapes decide; c.p NULL: only how much room it takes. */
static size_t
corr_plan(struct corr *r, const struct vq_conv *v, const struct vq_gemm_micro *u, bool adjoint, int threads, void *scratch)
{
	struct vq_cutter c = { scratch, 0 };
	struct vq_window *w = &r->win;
	int64_t taps = v->y.taps * v->x.taps;

	*r = (struct corr){ .adjoint = adjoint, .groups = v->groups, .half = adjoint ? v->half_x : v->half_y };
	(adjoint ? vq_side_adjoint : vq_side_forward)(&w->y, &v->y);
	(adjoint ? vq_side_adjoint : vq_side_forward)(&w->x, &v->x);
	w->n = v->n;
	w->c = adjoint ? v->co : v->ci;
	w->half = adjoint ? v->half_y : v->half_x;
	r->dest_c = adjoint ? v->ci : v->co;
	r->cn = w->c / v->groups;
	r->nn = r->dest_c / v->groups;
	r->words = vq_gemm_words(u, r->cn);
	r->gather = taps > 1 && r->words * v->x.taps < GATHER;
	w->u = u;
	w->direct = !r->gather;
	vq_window_cut(w, VQ_GEMM_ROWS, ROOM, r->words);
	cut_tasks(r, threads);
	r->phases = w->y.spread * w->x.spread;
	r->phase = vq_cut(&c, (size_t)r->phases * sizeof(*r->phase));
	r->off = vq_cut(&c, (size_t)taps * sizeof(*r->off));
	r->which = vq_cut(&c, (size_t)taps * sizeof(*r->which));
	r->packed = vq_cut(&c, (size_t)(taps * r->words * vq_gemm_width(r->nn) * v->groups) * sizeof(float));
	cut_room(r, taps);
	r->room = vq_cut(&c, (size_t)threads * r->room_bytes);
	return c.used;
}

/* The taps of a phase, and how many words of them follow each other. */
static void
phase_taps(struct corr *r, struct phase *p)
{
	const struct vq_side *sy = &r->win.y, *sx = &r->win.x;
	int64_t n = 0, run = 1;

	for (int64_t ty = -1, dy; vq_side_next(sy, p->y, &ty, &dy);)
		for (int64_t tx = -1, dx; vq_side_next(sx, p->x, &tx, &dx); n++) {
			r->off[p->tap + n] = vq_window_tap(&r->win, dy, dx);
			r->which[p->tap + n] = ty * sx->axis.taps + tx;
		}
	p->taps = n;
	p->depth = n * r->words;
	/* Runs of `run` taps, if all taps lie in such. */
	const int64_t *off = r->off + p->tap;
	while (r->win.pixel == r->words && run < n && off[run] == off[run - 1] + r->words)
		run++;
	for (int64_t i = 0; i < n; i++)
		if (n % run != 0 || (i % run > 0 && off[i] != off[i - 1] + r->words))
			run = 1;
	p->segs = n / run;
	p->len = run * r->words;
}

/* Offsets of runs stand where those of their first taps stood, close together;
 * `which` keeps the taps. */
static void
merge_runs(struct corr *r, struct phase *p)
{
	int64_t run = p->segs ? p->taps / p->segs : 1;

	for (int64_t s = 0; s < p->segs; s++)
		r->off[p->tap + s] = r->off[p->tap + s * run];
}

static void
corr_tables(struct corr *r)
{
	int64_t tap = 0;

	for (int64_t i = 0; i < r->phases; i++) {
		struct phase *p = &r->phase[i];
		*p = (struct phase){ .y = i / r->win.x.spread, .x = i % r->win.x.spread, .tap = tap };
		p->grid_y = vq_side_grid(&r->win.y, p->y);
		p->grid_x = vq_side_grid(&r->win.x, p->x);
		phase_taps(r, p);
		merge_runs(r, p);
		tap += p->taps;
	}
}

/* Where the panels of a phase begin. */
static float *
panels_of(const struct corr *r, const struct vq_gemm_micro *u, int64_t group, const struct phase *p)
{
	int64_t taps = r->win.y.axis.taps * r->win.x.axis.taps, width = ceil_div(r->nn, u->nr) * u->nr;

	return r->packed + (group * taps + p->tap) * r->words * width;
}

/* Weights [tap][ci of a group][co] into panels: columns are co, or ci for the adjoint. */
static void
pack_weights(const struct corr *r, const struct vq_gemm_micro *u, const float *w, int threads)
{
	int64_t ci = r->adjoint ? r->nn : r->cn, co = r->adjoint ? r->cn : r->nn, all = co * r->groups;
	int64_t taps = r->win.y.axis.taps * r->win.x.axis.taps;

	#pragma omp parallel for num_threads(threads) collapse(2)
	for (int64_t g = 0; g < r->groups; g++)
		for (int64_t t = 0; t < taps; t++) {
			const struct phase *p = r->phase;
			while (t >= p->tap + p->taps)
				p++;
			vq_gemm_pack(u, panels_of(r, u, g, p), p->depth, (t - p->tap) * r->words,
			    w + r->which[t] * ci * all + g * co, all, r->adjoint, r->cn, r->nn);
		}
}

/* --- a task -------------------------------------------------------------- */

/* Where sums go: places of all images, line by line, or those of a block alone. */
struct dest {
	float *at;
	int64_t line, x;		/* its first; lines are counted over all images */
	int64_t width, ld;		/* places of a line, floats of a place */
	int64_t col;			/* the first of these that is written */
};

/* Lines of the result that the first `lines` grid lines of a block, and those before it, make. */
static int64_t
lines_until(const struct corr *r, const struct vq_block *b, int64_t lines)
{
	const struct vq_side *sy = &r->win.y;
	int64_t image = (b->line + lines) / sy->grid, y = (b->line + lines) % sy->grid * sy->spread;

	return image * sy->dest + (y < sy->dest ? y : sy->dest);
}

/* Where positions of a phase read and write; returns how many there are in the block. */
static int64_t
phase_rows(const struct corr *r, const struct vq_block *b, const struct phase *p, const struct dest *d,
    const float **a, float **c)
{
	const struct vq_side *sy = &r->win.y, *sx = &r->win.x;
	int64_t m = 0, end = b->col + b->cols < p->grid_x ? b->col + b->cols : p->grid_x;

	for (int64_t l = 0; l < b->lines; l++) {
		int64_t image = (b->line + l) / sy->grid, g = (b->line + l) % sy->grid;
		if (g >= p->grid_y)
			continue;
		const float *from = b->from + b->base[l];
		float *to = d->at + (image * sy->dest + g * sy->spread + p->y - d->line) * d->width * d->ld;
		for (int64_t x = b->col; x < end; x++, m++) {
			a[m] = from + (x - b->col) * sx->step * r->win.pixel;
			c[m] = to + (x * sx->spread + p->x - d->x) * d->ld;
		}
	}
	return m;
}

static void
run_phase(const struct corr *r, const struct vq_gemm_micro *u, const struct vq_block *b,
    const struct phase *p, int64_t group, int64_t col, int64_t cols, const struct dest *d, float *patches)
{
	const float *a[VQ_GEMM_TABLE];
	float *c[VQ_GEMM_TABLE];
	int64_t zero = 0, m = phase_rows(r, b, p, d, a, c);
	struct vq_gemm_block g = { .m = m, .n = cols, .a = a, .c = c, .segs = p->segs, .len = p->len,
	    .step = 1, .off = r->off + p->tap, .b = panels_of(r, u, group, p) + col * p->depth,
	    .depth = p->depth, .col = d->col };

	if (m == 0)
		return;
	if (p->depth == 0) {
		for (int64_t i = 0; i < m; i++)
			memset(c[i] + g.col, 0, (size_t)cols * sizeof(float));
		return;
	}
	if (r->gather && p->segs > 1) {
		vq_conv_gather(patches, p->depth, a, m, g.off, g.segs, g.len);
		for (int64_t i = 0; i < m; i++)
			a[i] = patches + i * p->depth;
		g.segs = 1;
		g.len = p->depth;
		g.off = &zero;
	}
	vq_gemm_pad_rows(a, m);
	vq_gemm_block(u, &g);
}

/* The epilogue over what a block wrote: whole lines at once where they are whole. */
static void
finish(const struct corr *r, const struct vq_block *b, const struct vq_epilogue *e, int64_t col, int64_t cols)
{
	const struct vq_side *sy = &r->win.y, *sx = &r->win.x;
	int64_t x0 = b->col * sx->spread, x1 = (b->col + b->cols) * sx->spread;

	if (e->prog == NULL)
		return;
	x1 = x1 < sx->dest ? x1 : sx->dest;
	for (int64_t l = 0; l < b->lines; l++) {
		int64_t image = (b->line + l) / sy->grid, y0 = (b->line + l) % sy->grid * sy->spread;
		int64_t y1 = y0 + sy->spread < sy->dest ? y0 + sy->spread : sy->dest;
		if (x1 - x0 == sx->dest) {
			vq_epilogue_apply(e, (image * sy->dest + y0) * sx->dest, (y1 - y0) * sx->dest, col, cols);
			continue;
		}
		for (int64_t y = y0; y < y1; y++)
			vq_epilogue_apply(e, (image * sy->dest + y) * sx->dest + x0, x1 - x0, col, cols);
	}
}

/* The same of sums that are written as bf16. */
static void
finish_half(const struct corr *r, const struct vq_block *b, const struct vq_epilogue *e, const struct dest *d,
    int64_t col, int64_t cols)
{
	int64_t end = lines_until(r, b, b->lines), all = r->win.x.dest;

	if (d->width == all) {
		vq_epilogue_narrow(e, d->at, d->ld, d->line * all, (end - d->line) * all, col, cols);
		return;
	}
	for (int64_t y = d->line; y < end; y++)
		vq_epilogue_narrow(e, d->at + (y - d->line) * d->width * d->ld, d->ld, y * all + d->x, d->width, col, cols);
}

/* A block's columns [col, col + cols) of a group, in as many at a time as their sums leave in cache. */
static void
run_half_block(const struct corr *r, const struct vq_gemm_micro *u, const struct vq_block *b,
    const struct vq_epilogue *e, int64_t group, int64_t col, int64_t cols, char *room)
{
	const struct vq_side *sx = &r->win.x;
	struct dest d = { .at = (float *)(room + r->sums_at), .line = lines_until(r, b, 0), .x = b->col * sx->spread };
	int64_t x1 = (b->col + b->cols) * sx->spread;

	d.width = (x1 < sx->dest ? x1 : sx->dest) - d.x;
	for (int64_t end = col + cols; col < end; col += d.ld) {
		d.ld = end - col < r->sum_cols ? end - col : r->sum_cols;
		for (int64_t p = 0; p < r->phases; p++)
			run_phase(r, u, b, &r->phase[p], group, col, d.ld, &d, (float *)(room + r->patches_at));
		finish_half(r, b, e, &d, group * r->nn + col, d.ld);
	}
}

static void
run_block(const struct corr *r, const struct vq_gemm_micro *u, const struct vq_block *b,
    const struct vq_epilogue *e, int64_t group, int64_t col, int64_t cols, char *room)
{
	struct dest d = { .at = e->out, .width = r->win.x.dest, .ld = r->dest_c, .col = group * r->nn + col };

	for (int64_t p = 0; p < r->phases; p++)
		run_phase(r, u, b, &r->phase[p], group, col, cols, &d, (float *)(room + r->patches_at));
	finish(r, b, e, d.col, cols);
}

static void
correlate(const struct vq_call *call, const struct vq_conv *v, bool adjoint)
{
	const struct vq_gemm_micro *u = vq_gemm_of(call->k, v->bf16);
	struct vq_epilogue end;
	struct corr r;

	corr_plan(&r, v, u, adjoint, call->threads, call->scratch);
	corr_tables(&r);
	vq_epilogue_of(&end, call);
	pack_weights(&r, u, call->in[1].data, call->threads);
	int64_t parts = r.groups * r.splits, tasks = vq_window_blocks(&r.win) * parts;
	#pragma omp parallel for num_threads(call->threads) schedule(dynamic)
	for (int64_t i = 0; i < tasks; i++) {
		int64_t group = i % parts / r.splits, col = i % r.splits * r.split;
		int64_t cols = r.nn - col < r.split ? r.nn - col : r.split;
		char *room = r.room + (size_t)omp_get_thread_num() * r.room_bytes;
		struct vq_block b;

		vq_window_block(&r.win, i / parts, &b);
		vq_window_fill(&r.win, &b, call->in[0].data, group * r.cn, r.cn, (float *)room);
		(r.half ? run_half_block : run_block)(&r, u, &b, &end, group, col, cols, room);
	}
}

static void
run(const struct vq_call *c, const struct vq_conv *v, bool adjoint)
{
	if (v->n == 0)
		return;
	if (vq_conv_thin_fits(v, adjoint))
		vq_conv_thin(c, v, adjoint);
	else if (vq_winograd_fits(c->k, v, adjoint ? VQ_WINOGRAD_INPUT : VQ_WINOGRAD_FORWARD))
		vq_winograd_run(c, v, adjoint);
	else
		correlate(c, v, adjoint);
}

static size_t
scratch(const struct vq_conv *v, bool adjoint, int threads)
{
	if (v->n == 0)
		return 0;
	bool winograd = !vq_conv_thin_fits(v, adjoint) &&
	    vq_winograd_fits(NULL, v, adjoint ? VQ_WINOGRAD_INPUT : VQ_WINOGRAD_FORWARD);
	size_t most = winograd ? vq_winograd_scratch(v, adjoint, threads) : 0;
	if (winograd && !v->bf16)
		return most;
	const struct vq_gemm_micro *u[2];

	for (int i = vq_gemm_layouts(v->bf16, u); i-- > 0;) {
		size_t bytes = vq_conv_thin_fits(v, adjoint) ? vq_conv_thin_room(v, u[i], adjoint, threads) :
		    corr_plan(&(struct corr){ 0 }, v, u[i], adjoint, threads, NULL);
		most = bytes > most ? bytes : most;
	}
	return most;
}

bool
vq_conv_makes_half(const struct vq_conv *v, bool adjoint)
{
	return v->bf16 && !vq_conv_thin_fits(v, adjoint) && (!adjoint || v->y.stride * v->x.stride <= HALF_SPREAD);
}

void vq_conv_forward(const struct vq_call *c, const struct vq_conv *v) { run(c, v, false); }
void vq_conv_input(const struct vq_call *c, const struct vq_conv *v) { run(c, v, true); }

size_t
vq_conv_forward_scratch(const struct vq_conv *v, int threads)
{
	return scratch(v, false, threads);
}

size_t
vq_conv_input_scratch(const struct vq_conv *v, int threads)
{
	return scratch(v, true, threads);
}
