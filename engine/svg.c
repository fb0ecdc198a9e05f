/*
 * svg -- what drawings share: a page, its title, axes
 */
#include "engine/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER = 32 };

/* --- page ------------------------------------------------------------------------ */

void
vq_svg_text(struct vq_text *t, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&': vq_text_add(t, "&amp;"); break;
		case '<': vq_text_add(t, "&lt;"); break;
		case '>': vq_text_add(t, "&gt;"); break;
		default:
			vq_text_put(t, (unsigned char)*s < ' ' ? "?" : s, 1);
		}
}

void
vq_svg_begin(struct vq_text *t, int w, int h)
{
	vq_text_add(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
	    "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n", w, h, w, h);
	vq_text_add(t, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", w, h);
}

void
vq_svg_title(struct vq_text *t, int x, const char *title, const char *sub)
{
	vq_text_add(t, "<text x=\"%d\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#1f252b\">", x);
	vq_svg_text(t, title);
	vq_text_add(t, "</text>\n<text x=\"%d\" y=\"41\" font-size=\"11\" fill=\"#5b6470\">", x);
	vq_svg_text(t, sub);
	vq_text_add(t, "</text>\n");
}

/* --- places ------------------------------------------------------------------- */

double
vq_axes_x(const struct vq_axes *a, double x)
{
	return VQ_PLOT_LEFT + (x - a->x0) / (a->x1 - a->x0) * (VQ_PLOT_WIDTH - VQ_PLOT_LEFT - VQ_PLOT_RIGHT);
}

double
vq_axes_y(const struct vq_axes *a, double y)
{
	if (a->log)
		y = log10(y);
	return VQ_PLOT_HEIGHT - VQ_PLOT_BOTTOM -
	    (y - a->y0) / (a->y1 - a->y0) * (VQ_PLOT_HEIGHT - VQ_PLOT_TOP - VQ_PLOT_BOTTOM);
}

void
vq_axes_widen(struct vq_axes *a)
{
	double range = a->y1 - a->y0;

	if (!(range > fabs(a->y1) * 1e-9))
		range = a->y1 != 0 ? fabs(a->y1) * .2 : 1;
	a->y0 -= .06 * range;
	a->y1 += .06 * range;
	if (!a->log && a->y0 < 0 && a->y0 + .06 * range >= 0)
		a->y0 = 0;
	if (a->x0 > 0 && a->x0 < .1 * a->x1)
		a->x0 = 0;
	if (a->x1 <= a->x0)
		a->x1 = a->x0 + 1;
}

/* --- axes --------------------------------------------------------------------- */

typedef void tick_fn(struct vq_text *t, const struct vq_axes *a, double at);

/* 1, 2 or 5 times a power of ten, for about n steps. */
static double
round_step(double range, int n)
{
	double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;

	return (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10) * power;
}

/* "1500", "20k", "1.5M" */
static const char *
count_text(double x, char buf[NUMBER])
{
	if (fabs(x) >= 1e6)
		snprintf(buf, NUMBER, "%.6gM", x / 1e6);
	else if (fabs(x) >= 1e4)
		snprintf(buf, NUMBER, "%.6gk", x / 1e3);
	else
		snprintf(buf, NUMBER, "%.6g", x);
	return buf;
}

/* Grid lines and their labels are drawn by themselves: first all lines. */
static void
grid_x(struct vq_text *t, const struct vq_axes *a, double x)
{
	vq_text_add(t, "M%.1f %dV%d", vq_axes_x(a, x), VQ_PLOT_TOP, VQ_PLOT_HEIGHT - VQ_PLOT_BOTTOM);
}

static void
grid_y(struct vq_text *t, const struct vq_axes *a, double y)
{
	vq_text_add(t, "M%d %.1fH%d", VQ_PLOT_LEFT, vq_axes_y(a, y), VQ_PLOT_WIDTH - VQ_PLOT_RIGHT);
}

static void
label_x(struct vq_text *t, const struct vq_axes *a, double x)
{
	char buf[NUMBER];

	vq_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", vq_axes_x(a, x),
	    VQ_PLOT_HEIGHT - VQ_PLOT_BOTTOM + 17, count_text(x, buf));
}

static void
label_y(struct vq_text *t, const struct vq_axes *a, double y)
{
	char buf[NUMBER];

	if (fabs(y) >= 1e4)
		count_text(y, buf);
	else
		snprintf(buf, sizeof(buf), "%.6g", y);
	vq_text_add(t, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", VQ_PLOT_LEFT - 8, vq_axes_y(a, y) + 4,
	    buf);
}

/* Multiples of step within [from, to]: counted, so that no rounding adds up. */
static void
ticks(struct vq_text *t, const struct vq_axes *a, double from, double to, double step, tick_fn *tick)
{
	double first = ceil(from / step - 1e-9), last = floor(to / step + 1e-9);

	for (int i = 0; i <= (int)fmin(last - first, 50); i++) {
		double at = (first + i) * step;

		tick(t, a, fabs(at) < step * 1e-6 ? 0 : at);
	}
}

/* Powers of ten, and multiples of them where there is room. */
static void
ticks_log(struct vq_text *t, const struct vq_axes *a, tick_fn *tick)
{
	static const double few[] = { 1, 0 }, some[] = { 1, 2, 5, 0 }, many[] = { 1, 1.5, 2, 3, 4, 5, 7, 0 };
	double decades = a->y1 - a->y0, every = ceil(decades / 10);
	const double *multiple = decades < 1.3 ? many : decades < 2.6 ? some : few;

	for (double e = floor(a->y0 / every) * every; e <= a->y1; e += every)
		for (const double *m = multiple; *m > 0; m++)
			if (e + log10(*m) >= a->y0 && e + log10(*m) <= a->y1)
				tick(t, a, *m * pow(10, e));
}

static void
ticks_x(struct vq_text *t, const struct vq_axes *a, tick_fn *tick)
{
	double step = round_step(a->x1 - a->x0, 6);

	ticks(t, a, a->x0, a->x1, step < 1 ? 1 : step, tick);
}

static void
ticks_y(struct vq_text *t, const struct vq_axes *a, tick_fn *tick)
{
	if (a->log)
		ticks_log(t, a, tick);
	else
		ticks(t, a, a->y0, a->y1, round_step(a->y1 - a->y0, 5), tick);
}

void
vq_axes_put(struct vq_text *t, const struct vq_axes *a)
{
	vq_text_add(t, "<path fill=\"none\" stroke=\"#e4e7eb\" d=\"");
	ticks_x(t, a, grid_x);
	ticks_y(t, a, grid_y);
	vq_text_add(t, "\"/>\n<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#9aa3ad\"/>\n", VQ_PLOT_LEFT, VQ_PLOT_TOP,
	    VQ_PLOT_HEIGHT - VQ_PLOT_BOTTOM, VQ_PLOT_WIDTH - VQ_PLOT_RIGHT);
	vq_text_add(t, "<g font-size=\"11\" fill=\"#5b6470\">\n");
	ticks_x(t, a, label_x);
	ticks_y(t, a, label_y);
	vq_text_add(t, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n</g>\n", VQ_PLOT_WIDTH - VQ_PLOT_RIGHT,
	    VQ_PLOT_HEIGHT - 8, a->name);
}
