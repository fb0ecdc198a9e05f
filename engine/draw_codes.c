/*
 * draw_codes -- pictures beside the codes they became
 */
#include "engine/draw_codes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/draw.h"
#include "engine/svg.h"

enum {
	GAP = 2,			/* between a picture and its maps */
	UNIT_GAP = 10,			/* between those of one picture and the next, and around */
	TILE = 96,			/* small pictures are enlarged to this side at least */
	ACROSS = 720, DOWN = 420,	/* about what is filled */
	BAR = 16, BAR_GAP = 4, TICK = 4, TEXT = 2,
	BACKGROUND = 96,
	SEPARATE = 24,			/* so few codes have a number each */
	LOG_RATIO = 30,			/* of the largest use to the least; above it a linear axis shows little */
};

static const struct vq_rgb white = { 255, 255, 255 };

struct layout {
	int64_t tile_w, tile_h, zoom;	/* zoom: of the picture; 0: none */
	int64_t parts;			/* of one picture: itself and its maps */
	int64_t unit_w, unit_h;		/* with the gap */
	int64_t columns, rows, n;
	int64_t bar;			/* its left end */
	int64_t w, h;
};

static int64_t
at_least_one(int64_t x, int64_t most)
{
	return x < 1 ? 1 : x > most ? most : x;
}

static int64_t
to_tile(int64_t side)
{
	return side < TILE ? (TILE + side - 1) / side : 1;
}

/* Room for the largest number beside the bar. */
static int
number_width(int64_t codes)
{
	char number[32];

	snprintf(number, sizeof(number), "%lld", (long long)codes - 1);
	return vq_text_width(number, TEXT);
}

static int
make_layout(struct layout *l, const struct vq_pictures *p, const struct vq_code_maps *m, struct vq_diags *d)
{
	int64_t w = p ? p->w : m->w, h = p ? p->h : m->h, zoom;

	*l = (struct layout){ .parts = m->maps + (p != NULL) };
	if (w > VQ_IMAGE_SIDE_MAX || h > VQ_IMAGE_SIDE_MAX || m->maps > VQ_IMAGE_SIDE_MAX)
		goto too_large;
	zoom = to_tile(w > h ? w : h);
	l->zoom = p ? zoom : 0;
	l->tile_w = w * zoom;
	l->tile_h = h * zoom;
	l->unit_w = l->parts * (l->tile_w + GAP) - GAP + UNIT_GAP;
	l->unit_h = l->tile_h + UNIT_GAP;
	l->n = p && p->n < m->n ? p->n : m->n;
	l->columns = at_least_one((ACROSS + l->unit_w / 2) / l->unit_w, l->n);
	l->rows = at_least_one((DOWN + l->unit_h / 2) / l->unit_h, (l->n - 1) / l->columns + 1);
	l->n = l->n < l->rows * l->columns ? l->n : l->rows * l->columns;
	l->bar = UNIT_GAP + l->columns * l->unit_w + BAR_GAP;
	l->w = l->bar + BAR + 2 * TICK + number_width(m->codes) + UNIT_GAP;
	l->h = UNIT_GAP + l->rows * l->unit_h;
	if (l->w <= VQ_IMAGE_SIDE_MAX && l->h <= VQ_IMAGE_SIDE_MAX)
		return 0;
too_large:
	vq_error(d, VQ_FAILED, NULL, "codes of %lld x %lld are too large to be drawn", (long long)w, (long long)h);
	return -1;
}

/* --- maps ----------------------------------------------------------------------- */

/* Map k of picture i: each place a rectangle of the tile at (x, y). */
static void
draw_map(struct vq_image *out, const struct layout *l, const struct vq_code_maps *m, int64_t i, int64_t k,
    int64_t x, int64_t y)
{
	for (int64_t r = 0; r < m->h; r++)
		for (int64_t c = 0; c < m->w; c++) {
			int32_t code = m->code[((i * m->h + r) * m->w + c) * m->maps + k];
			int64_t x0 = c * l->tile_w / m->w, x1 = (c + 1) * l->tile_w / m->w;
			int64_t y0 = r * l->tile_h / m->h, y1 = (r + 1) * l->tile_h / m->h;

			vq_draw_fill(out, (int)(x + x0), (int)(y + y0), (int)(x1 - x0), (int)(y1 - y0),
			    vq_color_of_code(code, m->codes));
		}
}

static void
draw_picture(struct vq_image *out, const struct layout *l, const struct vq_pictures *p, int64_t i, int64_t x,
    int64_t y)
{
	for (int64_t r = 0; r < p->h; r++)
		for (int64_t c = 0; c < p->w; c++)
			vq_draw_fill(out, (int)(x + c * l->zoom), (int)(y + r * l->zoom), (int)l->zoom, (int)l->zoom,
			    vq_pictures_color(p, i, r, c));
}

/* --- the bar -------------------------------------------------------------------- */

static void
draw_number(struct vq_image *out, int x, double middle, int64_t k)
{
	char number[32];

	snprintf(number, sizeof(number), "%lld", (long long)k);
	vq_draw_fill(out, x, (int)middle, TICK, 1, white);
	vq_draw_text(out, x + 2 * TICK, (int)(middle - VQ_TEXT_HEIGHT * TEXT / 2. + .5), number, TEXT, white);
}

/* 1, 2 or 5 times a power of ten, so that numbers stand at least 20 pixels apart. */
static int64_t
number_step(int64_t codes, int64_t h)
{
	static const int64_t next[] = { 1, 2, 5 };
	double least = 20. * (double)codes / (double)h;

	for (int64_t power = 1; ; power *= 10)
		for (int i = 0; i < 3; i++)
			if ((double)(next[i] * power) >= least)
				return next[i] * power;
}

/* 0 is at the bottom. */
static void
draw_bar(struct vq_image *out, int x, int y, int h, int64_t codes)
{
	bool separate = codes <= SEPARATE && h / codes >= 10;
	int64_t step = number_step(codes, h);

	for (int r = 0; r < h; r++) {
		double u = (h - 1 - r + .5) / h;
		int64_t k = (int64_t)(u * (double)codes);

		if (separate && r > 0 && (int64_t)((h - r + .5) / h * (double)codes) != k)
			continue;	/* a line between */
		vq_draw_fill(out, x, y + r, BAR, 1, vq_color_of_code(k < codes ? k : codes - 1, codes));
	}
	/* Round numbers, and the last. */
	for (int64_t k = 0; k < codes; k += k + step < codes || k == codes - 1 ? step : codes - 1 - k) {
		double below_last = h * (double)(codes - 1 - k) / (double)codes;

		if (k == codes - 1 || below_last >= 20)
			draw_number(out, x + BAR, y + .5 * h / (double)codes + below_last, k);
	}
}

int
vq_draw_codes(struct vq_image *out, const struct vq_pictures *p, const struct vq_code_maps *m, struct vq_diags *d)
{
	struct layout l;

	*out = (struct vq_image){ 0 };
	vq_assert(m->n > 0 && m->h > 0 && m->w > 0 && m->maps > 0 && m->codes > 0);
	if (make_layout(&l, p, m, d) < 0)
		return -1;
	vq_image_new(out, (int)l.w, (int)l.h, 3, BACKGROUND);
	for (int64_t i = 0; i < l.n; i++) {
		int64_t x = UNIT_GAP + i % l.columns * l.unit_w, y = UNIT_GAP + i / l.columns * l.unit_h;

		if (p)
			draw_picture(out, &l, p, i, x, y);
		for (int64_t k = 0; k < m->maps; k++)
			draw_map(out, &l, m, i, k, x + (k + (p != NULL)) * (l.tile_w + GAP), y);
	}
	draw_bar(out, (int)l.bar, UNIT_GAP, (int)(l.h - 2 * UNIT_GAP), m->codes);
	return 0;
}

/* --- use ------------------------------------------------------------------------- */

static int
descending(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? 1 : *x > *y ? -1 : 0;
}

/* Steps from left to right over the n used codes, each as wide as one; of those that fall on one column of
 * pixels only the first.  The area below is filled. */
static void
put_steps(struct vq_text *t, const struct vq_axes *a, const int64_t *sorted, int64_t n)
{
	const char *const style[] = { "fill=\"#3b78b4\" fill-opacity=\".25\"",
		"fill=\"none\" stroke=\"#3b78b4\" stroke-width=\"1.5\" stroke-linejoin=\"round\"" };
	int bottom = VQ_PLOT_HEIGHT - VQ_PLOT_BOTTOM;

	for (int k = 0; k < 2; k++) {
		int64_t next;

		vq_text_add(t, "<path %s d=\"M%.1f %d", style[k], vq_axes_x(a, 0), bottom);
		for (int64_t i = 0; i < n; i = next) {
			double column = vq_axes_x(a, (double)i) + 1;

			next = i + 1;
			while (next < n && (sorted[next] == sorted[i] || vq_axes_x(a, (double)next) < column))
				next++;
			vq_text_add(t, "V%.1fH%.1f", vq_axes_y(a, (double)sorted[i]), vq_axes_x(a, (double)next));
		}
		vq_text_add(t, "V%d%s\"/>\n", bottom, k == 0 ? "Z" : "");
	}
}

/* What every code would have, were all used alike. */
static void
put_average(struct vq_text *t, const struct vq_axes *a, double average)
{
	double y = vq_axes_y(a, average);

	vq_text_add(t, "<path d=\"M%d %.1fH%d\" stroke=\"#d9542b\" stroke-dasharray=\"5 4\"/>\n", VQ_PLOT_LEFT, y,
	    VQ_PLOT_WIDTH - VQ_PLOT_RIGHT);
	vq_text_add(t, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" font-size=\"11\" fill=\"#d9542b\">"
	    "average %.4g</text>\n", VQ_PLOT_WIDTH - VQ_PLOT_RIGHT - 4, y - 5, average);
}

bool
vq_codes_svg(struct vq_text *svg, const char *stage, const char *value, const int64_t *use, int64_t n)
{
	struct vq_axes a = { .x1 = (double)n, .name = "codes, the most used first" };
	int64_t *sorted = vq_alloc_array((size_t)n, sizeof(*sorted)), used = 0;
	double total = 0, entropy = 0;

	memcpy(sorted, use, (size_t)n * sizeof(*sorted));
	qsort(sorted, (size_t)n, sizeof(*sorted), descending);
	for (int64_t i = 0; i < n; i++)
		total += (double)use[i];
	for (; used < n && sorted[used] > 0; used++)
		entropy -= (double)sorted[used] / total * log((double)sorted[used] / total);
	if (used > 0) {
		double average = total / (double)n;
		a.log = (double)sorted[0] > LOG_RATIO * (double)sorted[used - 1];
		a.y0 = a.log ? log10(fmin((double)sorted[used - 1], average)) : 0;
		a.y1 = a.log ? log10((double)sorted[0]) : (double)sorted[0];
		vq_axes_widen(&a);
		char *sub = vq_asprintf("%s: uses of %lld codes, %lld never, perplexity %.4g%s", stage, (long long)n,
		    (long long)(n - used), exp(entropy), a.log ? ", log scale" : "");
		vq_svg_begin(svg, VQ_PLOT_WIDTH, VQ_PLOT_HEIGHT);
		vq_svg_title(svg, VQ_PLOT_LEFT, value, sub);
		vq_axes_put(svg, &a);
		put_steps(svg, &a, sorted, used);
		put_average(svg, &a, average);
		vq_text_add(svg, "</svg>\n");
		free(sub);
	}
	free(sorted);
	return used > 0;
}
