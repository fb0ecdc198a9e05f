/*
 * draw_codebook -- the entries of a codebook as points on a plane
 */
#include "engine/draw_codebook.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/draw.h"
#include "engine/svg.h"

enum {
	WIDTH = 640, HEAD = 72,		/* of the page; of what stands above the points */
	LEAST = 240,			/* height of the points' part */
	MARGIN = 28,
	NAMED = 4096,			/* more points have no text of their own in the SVG */
	NUMBERED = 64,			/* so few have their numbers beside them */
	TEXT = 160,
};

static const struct vq_rgb white = { 255, 255, 255 }, ink = { 31, 37, 43 }, quiet = { 91, 100, 112 },
    line = { 228, 231, 235 }, grey = { 150, 158, 168 };

struct dot {
	double x, y, r;
	int64_t code;
	bool used;
};

struct drawing {
	const struct vq_codebook_map *m;
	struct dot *dot;		/* the largest first, so that all are seen */
	int h;				/* of the page */
	double unit;			/* radius of a code of average use */
	double average;			/* uses */
	int64_t unused;
	char title[TEXT], sub[TEXT], many[TEXT], none[TEXT];
};

static int
larger_first(const void *a, const void *b)
{
	const struct dot *p = a, *q = b;

	if (p->r != q->r)
		return p->r > q->r ? -1 : 1;
	return p->code < q->code ? -1 : 1;
}

static double
radius(const struct drawing *g, int64_t code)
{
	const int64_t *use = g->m->use;

	if (use == NULL)
		return g->unit;
	if (use[code] == 0)
		return fmax(g->unit * .6, 1.5);
	return fmin(fmax(g->unit * sqrt((double)use[code] / g->average), fmin(1.7, g->unit)), 4 * g->unit);
}

static void
put_texts(struct drawing *g)
{
	const struct vq_codebook_map *m = g->m;
	long long n = m->n;

	snprintf(g->title, TEXT, "%s, %lld codes of %lld", m->name, n, (long long)m->d);
	if (m->n > m->t.exact)
		snprintf(g->sub, TEXT, "%s: t-SNE of the %lld most used, the others put among them; "
		    "perplexity %.0f, KL %.2f", m->stage, (long long)m->t.exact, m->t.perplexity, m->t.kl_end);
	else
		snprintf(g->sub, TEXT, "%s: t-SNE, perplexity %.0f, KL %.2f", m->stage, m->t.perplexity, m->t.kl_end);
	snprintf(g->many, TEXT, "average: %.0f uses", g->average);
	snprintf(g->none, TEXT, "%lld not used", (long long)g->unused);
}

/* As large as the width allows, no higher than wide; the page is as high as the points need. */
static void
place(struct drawing *g)
{
	const double *y = g->m->y;
	double least[2] = { INFINITY, INFINITY }, most[2] = { -INFINITY, -INFINITY }, around = MARGIN, scale, h;

	for (int64_t i = 0; i < 2 * g->m->n; i++) {
		least[i % 2] = fmin(least[i % 2], y[i]);
		most[i % 2] = fmax(most[i % 2], y[i]);
	}
	for (int64_t i = 0; i < g->m->n; i++)
		around = fmax(around, g->dot[i].r + 8);
	scale = fmax(most[0] - least[0], most[1] - least[1]);
	scale = scale > 0 ? (WIDTH - 2 * around) / scale : 0;
	h = fmax(scale * (most[1] - least[1]) + 2 * around, LEAST);
	g->h = HEAD + (int)h;
	for (int64_t i = 0; i < g->m->n; i++) {
		g->dot[i].x = WIDTH / 2. + scale * (y[2 * i] - (least[0] + most[0]) / 2);
		g->dot[i].y = HEAD + h / 2 - scale * (y[2 * i + 1] - (least[1] + most[1]) / 2);
	}
}

static void
start(struct drawing *g, const struct vq_codebook_map *m)
{
	double sum = 0;

	*g = (struct drawing){ .m = m, .unit = fmin(fmax(90 / sqrt((double)m->n), 1.4), 9) };
	g->dot = vq_alloc_array((size_t)m->n, sizeof(*g->dot));
	for (int64_t i = 0; m->use && i < m->n; i++) {
		sum += (double)m->use[i];
		g->unused += m->use[i] == 0;
	}
	g->average = sum > 0 ? sum / (double)m->n : 1;
	for (int64_t i = 0; i < m->n; i++)
		g->dot[i] = (struct dot){ .r = radius(g, i), .code = i, .used = m->use == NULL || m->use[i] > 0 };
	place(g);
	qsort(g->dot, (size_t)m->n, sizeof(*g->dot), larger_first);
	put_texts(g);
}

/* --- PNG ------------------------------------------------------------------------ */

static void
draw_legend(struct vq_image *im, const struct drawing *g)
{
	int x = WIDTH - MARGIN - vq_text_width(g->many, 1), y = 20;

	if (g->m->use == NULL)
		return;
	vq_draw_text(im, x, y, g->many, 1, quiet);
	vq_draw_disc(im, x - 8 - g->unit, y + 3.5, g->unit, quiet, .85);
	if (g->unused > 0) {
		x = WIDTH - MARGIN - vq_text_width(g->none, 1);
		y += 20;
		vq_draw_text(im, x, y, g->none, 1, quiet);
		vq_draw_ring(im, x - 8 - g->unit, y + 3.5, fmax(g->unit * .6, 1.5), 1.2, grey, 1);
	}
}

void
vq_codebook_image(struct vq_image *out, const struct vq_codebook_map *m)
{
	struct drawing g;

	start(&g, m);
	vq_image_new(out, WIDTH, g.h, 3, 255);
	vq_draw_text(out, MARGIN, 16, g.title, 2, ink);
	vq_draw_text(out, MARGIN, 42, g.sub, 1, quiet);
	vq_draw_fill(out, 0, HEAD - 8, WIDTH, 1, line);
	for (int64_t i = 0; i < m->n; i++) {
		const struct dot *p = &g.dot[i];

		if (!p->used) {
			vq_draw_ring(out, p->x, p->y, p->r, 1.2, grey, 1);
			continue;
		}
		if (p->r > 2.5)
			vq_draw_disc(out, p->x, p->y, p->r + .8, white, .8);
		vq_draw_disc(out, p->x, p->y, p->r, vq_color_of_code(p->code, m->n), .85);
	}
	for (int64_t i = 0; i < m->n && m->n <= NUMBERED; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", (int)g.dot[i].code);
		vq_draw_text(out, (int)(g.dot[i].x + g.dot[i].r) + 3, (int)g.dot[i].y - 3, number, 1, quiet);
	}
	draw_legend(out, &g);
	free(g.dot);
}

/* --- SVG ------------------------------------------------------------------------ */

static void
put_dot(struct vq_text *t, const struct drawing *g, const struct dot *p)
{
	struct vq_rgb c = vq_color_of_code(p->code, g->m->n);
	bool named = g->m->n <= NAMED;

	vq_text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", p->x, p->y, p->r);
	if (p->used)
		vq_text_add(t, " fill=\"#%02x%02x%02x\"", c.r, c.g, c.b);
	else
		vq_text_add(t, " class=\"unused\"");
	if (named && g->m->use)
		vq_text_add(t, "><title>code %lld: %lld uses</title></circle>\n", (long long)p->code,
		    (long long)g->m->use[p->code]);
	else if (named)
		vq_text_add(t, "><title>code %lld</title></circle>\n", (long long)p->code);
	else
		vq_text_add(t, "/>\n");
}

static void
put_legend(struct vq_text *t, const struct drawing *g)
{
	int x = WIDTH - MARGIN - 130;

	if (g->m->use == NULL)
		return;
	vq_text_add(t, "<g font-size=\"11\"><circle cx=\"%d\" cy=\"24\" r=\"%.1f\" fill=\"#5b6470\"/>"
	    "<text x=\"%d\" y=\"28\" fill=\"#5b6470\">%s</text>\n", x, g->unit, x + 14, g->many);
	if (g->unused > 0)
		vq_text_add(t, "<circle cx=\"%d\" cy=\"44\" r=\"%.1f\" class=\"unused\"/>"
		    "<text x=\"%d\" y=\"48\" fill=\"#5b6470\">%s</text>\n", x, fmax(g->unit * .6, 1.5), x + 14,
		    g->none);
	vq_text_add(t, "</g>\n");
}

void
vq_codebook_svg(struct vq_text *out, const struct vq_codebook_map *m)
{
	struct drawing g;

	start(&g, m);
	vq_svg_begin(out, WIDTH, g.h);
	vq_text_add(out, "<style>.unused{fill:none;stroke:#969ea8;stroke-width:1.2}</style>\n");
	vq_svg_title(out, MARGIN, g.title, g.sub);
	vq_text_add(out, "<path d=\"M0 %.1fH%d\" stroke=\"#e4e7eb\"/>\n<g stroke=\"#fff\" stroke-width=\".8\" "
	    "fill-opacity=\".85\">\n", HEAD - 7.5, WIDTH);
	for (int64_t i = 0; i < m->n; i++)
		put_dot(out, &g, &g.dot[i]);
	vq_text_add(out, "</g>\n<g font-size=\"10\" fill=\"#5b6470\">\n");
	for (int64_t i = 0; i < m->n && m->n <= NUMBERED; i++)
		vq_text_add(out, "<text x=\"%.1f\" y=\"%.1f\">%lld</text>\n", g.dot[i].x + g.dot[i].r + 3,
		    g.dot[i].y + 3.5, (long long)g.dot[i].code);
	vq_text_add(out, "</g>\n");
	put_legend(out, &g);
	vq_text_add(out, "</svg>\n");
	free(g.dot);
}
