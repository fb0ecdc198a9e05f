/*
 * conv_window -- which pixels a block of grid positions reads, and where they lie
 */
#include <string.h>

#include "ops/kernels/conv_window.h"

static int64_t
ceil_div(int64_t x, int64_t by)
{
	return (x + by - 1) / by;
}

void
vq_side_forward(struct vq_side *s, const struct vq_conv_axis *a)
{
	*s = (struct vq_side){ .source = a->in, .dest = a->out, .step = a->stride, .spread = 1,
	    .grid = a->out, .low = -a->before, .high = (a->taps - 1) * a->dilation - a->before, .axis = *a };
}

void
vq_side_adjoint(struct vq_side *s, const struct vq_conv_axis *a)
{
	bool any = false;

	*s = (struct vq_side){ .source = a->out, .dest = a->in, .step = 1, .spread = a->stride,
	    .axis = *a, .adjoint = true };
	s->grid = vq_side_grid(s, 0);
	for (int64_t r = 0; r < s->spread; r++)
		for (int64_t tap = -1, delta; vq_side_next(s, r, &tap, &delta); any = true) {
			s->low = any && s->low < delta ? s->low : delta;
			s->high = any && s->high > delta ? s->high : delta;
		}
}

bool
vq_side_next(const struct vq_side *s, int64_t phase, int64_t *tap, int64_t *delta)
{
	const struct vq_conv_axis *a = &s->axis;

	if (!s->adjoint) {
		*tap += 1;
		*delta = *tap * a->dilation - a->before;
		return *tap < a->taps;
	}
	/* x = y s + t d - before: y falls as t rises. */
	int64_t t = *tap < 0 ? a->taps : *tap;
	while (--t >= 0)
		if ((phase + a->before - t * a->dilation) % a->stride == 0)
			break;
	if (t < 0)
		return false;
	*tap = t;
	*delta = (phase + a->before - t * a->dilation) / a->stride;
	return true;
}

/* --- blocks -------------------------------------------------------------- */

static int64_t
reach(const struct vq_side *s, int64_t positions)
{
	return (positions - 1) * s->step + s->high - s->low + 1;
}

/* Most source lines of a block: its lines may begin in the middle of an image. */
static int64_t
source_lines(const struct vq_window *w, int64_t lines)
{
	int64_t images = lines <= w->y.grid ? 1 + (lines > 1) : (lines - 2) / w->y.grid + 2;

	if (w->y.grid % lines == 0)
		images = 1;
	else if (lines % w->y.grid == 0)
		images = lines / w->y.grid;
	return lines * w->y.step + images * (w->y.high - w->y.low + 1);
}

void
vq_window_lines(struct vq_window *w, int64_t lines)
{
	w->lines = lines;
	w->width = w->direct ? w->x.source : reach(&w->x, w->cols);
	w->floats = w->direct ? 0 : source_lines(w, lines) * w->width * w->pixel + 16;
}

static bool
sticks_out(const struct vq_side *s)
{
	return s->low < 0 || (s->grid - 1) * s->step + s->high >= s->source;
}

void
vq_window_cut(struct vq_window *w, int64_t rows, int64_t room, int64_t pixel)
{
	int64_t lines, total = w->n * w->y.grid;

	w->direct = w->direct && w->u->round == NULL && !sticks_out(&w->y) && !sticks_out(&w->x);
	w->pixel = w->direct ? w->c : pixel;
	w->cols = w->x.grid <= rows / 2 ? w->x.grid : ceil_div(w->x.grid, ceil_div(w->x.grid, rows / 3));
	lines = rows / w->cols < VQ_GEMM_ROWS ? rows / w->cols : VQ_GEMM_ROWS;
	lines = lines < total ? lines : total;
	/* Whole images, or parts of one that leave no rest. */
	if (lines > w->y.grid)
		lines = lines / w->y.grid * w->y.grid;
	else
		lines = ceil_div(w->y.grid, ceil_div(w->y.grid, lines));
	for (;; lines = lines > w->y.grid ? lines - w->y.grid : ceil_div(lines, 2)) {
		vq_window_lines(w, lines);
		if (w->floats <= room || lines == 1)
			break;
	}
}

int64_t
vq_window_blocks(const struct vq_window *w)
{
	return ceil_div(w->n * w->y.grid, w->lines) * ceil_div(w->x.grid, w->cols);
}

void
vq_window_block(const struct vq_window *w, int64_t i, struct vq_block *b)
{
	int64_t across = ceil_div(w->x.grid, w->cols), total = w->n * w->y.grid;

	b->line = i / across * w->lines;
	b->col = i % across * w->cols;
	b->lines = total - b->line < w->lines ? total - b->line : w->lines;
	b->cols = w->x.grid - b->col < w->cols ? w->x.grid - b->col : w->cols;
}

/* n numbers, of one pixel or of pixels that follow each other: as words, with those of the
 * other image (NULL: none) where a word is of two. */
static void
lay_out(const struct vq_window *w, float *to, const void *from, const void *other, int64_t n)
{
	if (w->half && w->two)
		vq_gemm_zip_half(w->u, to, from, other, n);
	else if (w->half)
		vq_gemm_row_half(w->u, to, from, n);
	else if (w->two)
		vq_gemm_zip(w->u, to, from, other, n);
	else
		vq_gemm_row(w->u, to, from, n);
}

/* One line of source pixels, from position x0 of the image's line; NULL: none there. */
static void
fill_line(const struct vq_window *w, float *to, const void *line, const void *other, int64_t x0, int64_t width,
    int64_t channels)
{
	int64_t left = x0 < 0 ? -x0 : 0, right = x0 + width > w->x.source ? x0 + width - w->x.source : 0;

	if (line == NULL || left + right >= width) {
		memset(to, 0, (size_t)(width * w->pixel) * sizeof(*to));
		return;
	}
	int64_t middle = width - left - right, from = (x0 + left) * w->c;
	memset(to, 0, (size_t)(left * w->pixel) * sizeof(*to));
	to += left * w->pixel;
	line = vq_conv_at(line, w->half, from);
	other = other ? vq_conv_at(other, w->half, from) : NULL;
	if (channels == w->c && w->pixel * (w->two ? 1 : w->u->per) == w->c)
		lay_out(w, to, line, other, middle * w->c);
	else
		for (int64_t i = 0; i < middle; i++)
			lay_out(w, to + i * w->pixel, vq_conv_at(line, w->half, i * w->c),
			    other ? vq_conv_at(other, w->half, i * w->c) : NULL, channels);
	memset(to + middle * w->pixel, 0, (size_t)(right * w->pixel) * sizeof(*to));
}

/* The lines of one image: grid lines [g0, g0 + lines) of image i.  Returns the room past it. */
static float *
fill_image(const struct vq_window *w, const struct vq_block *b, const void *source, int64_t i, int64_t g0,
    int64_t lines, int64_t channels, float *to)
{
	int64_t y0 = g0 * w->y.step + w->y.low, rows = reach(&w->y, lines);
	int64_t x0 = b->col * w->x.step + w->x.low, width = reach(&w->x, b->cols);
	int64_t other = w->two && i + w->n < w->images ? w->n * w->y.source * w->x.source * w->c : 0;

	for (int64_t y = y0; y < y0 + rows; y++, to += w->width * w->pixel) {
		bool there = y >= 0 && y < w->y.source;
		const void *line = there ? vq_conv_at(source, w->half, (i * w->y.source + y) * w->x.source * w->c) : NULL;
		fill_line(w, to, line, there && other ? vq_conv_at(line, w->half, other) : NULL, x0, width, channels);
	}
	return to;
}

void
vq_window_fill(const struct vq_window *w, struct vq_block *b, const void *source,
    int64_t c0, int64_t channels, float *room)
{
	float *to = room;

	source = vq_conv_at(source, w->half, c0);
	b->from = w->direct ? source : room;
	for (int64_t l = 0, lines; l < b->lines; l += lines) {
		int64_t image = (b->line + l) / w->y.grid, g = (b->line + l) % w->y.grid, first = to - room;

		lines = w->y.grid - g < b->lines - l ? w->y.grid - g : b->lines - l;
		if (w->direct)
			first = ((image * w->y.source + g * w->y.step + w->y.low) * w->x.source +
			    b->col * w->x.step + w->x.low) * w->c;
		else
			to = fill_image(w, b, source, image, g, lines, channels, to);
		for (int64_t k = 0; k < lines; k++)
			b->base[l + k] = first + k * w->y.step * w->width * w->pixel;
	}
}

void
vq_conv_gather(float *to, int64_t ld, const float *const *from, int64_t rows,
    const int64_t *off, int64_t segs, int64_t len)
{
	for (int64_t i = 0; i < rows; i++)
		for (int64_t s = 0; s < segs; s++)
			for (int64_t x = 0; x < len; x += 4)
				memcpy(to + i * ld + s * len + x, from[i] + off[s] + x, 4 * sizeof(*to));
}
