/*
 * log -- curves as SVG: one picture a stage and metric
 *
 * Training is a thin line, what is measured now and then (validation) a line
 * with a mark at each value.  A gap stands where a value was not finite.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/log_private.h"

enum {
	WIDTH = 720, HEIGHT = 400,
	LEFT = 64, RIGHT = 24, TOP = 56, BOTTOM = 42,	/* around the curves */
	SPLITS = 4,
	MARKS = 200,			/* more are no marks, but a thick line */
	LR = -1,			/* the learning rate, as a column */
};

/* Above this ratio small values are not seen on a linear axis. */
static const double log_ratio = 30;

static const char *const colors[SPLITS] = { "#3b78b4", "#d9542b", "#3a9a5c", "#8b5fb0" };

struct curve {
	const char *split;
	struct point { double x, y; } *point;
	int count, cap;
};

struct plot {
	const char *stage, *metric;
	struct curve curve[SPLITS];	/* "train" first, when there */
	int curves;
	double x0, x1, y0, y1;		/* of the axes; y as a logarithm when log */
	bool log;
	struct vq_text svg;
};

/* --- from rows to curves ------------------------------------------------------ */

/* What is so large that ranges of it overflow is no better than infinite. */
static double
value_of(const struct vq_row *row, int column)
{
	double y = column == LR ? row->lr : vq_row_value(row, column);

	return fabs(y) > 1e100 ? (double)NAN : fabs(y) < 1e-100 ? 0 : y;
}

static struct curve *
curve_of(struct plot *p, const char *split)
{
	for (int i = 0; i < p->curves; i++)
		if (strcmp(p->curve[i].split, split) == 0)
			return &p->curve[i];
	if (p->curves == SPLITS)
		return NULL;
	p->curve[p->curves].split = split;
	return &p->curve[p->curves++];
}

/* False when there is nothing to draw: no finite value. */
static bool
collect(struct plot *p, const struct vq_rows *rows, int column)
{
	double least = INFINITY, most = -INFINITY;
	bool any = false;

	p->x0 = p->x1 = NAN;
	for (int i = 0; i < rows->count; i++) {
		const struct vq_row *row = &rows->row[i];
		double x = (double)row->step, y = value_of(row, column);
		struct curve *c;

		/* What a row does not have is no gap, but what it has as null is one: columns
		 * that only other splits report would make curves of gaps. */
		if (strcmp(row->stage, p->stage) != 0 || (c = curve_of(p, row->split)) == NULL ||
		    (!isfinite(y) && c->count == 0))
			continue;
		vq_grow(c->point, c->count, c->cap);
		c->point[c->count++] = (struct point){ x, y };
		p->x0 = fmin(p->x0, x);
		p->x1 = fmax(p->x1, x);
		if (isfinite(y)) {
			least = fmin(least, y);
			most = fmax(most, y);
			any = true;
		}
	}
	p->log = any && column != LR && least > 0 && most / least > log_ratio;
	p->y0 = p->log ? log10(least) : least;
	p->y1 = p->log ? log10(most) : most;
	return any;
}

/* Room above and below, and none of the ranges is empty. */
static void
widen(struct plot *p)
{
	double range = p->y1 - p->y0;

	if (!(range > fabs(p->y1) * 1e-9))
		range = p->y1 != 0 ? fabs(p->y1) * .2 : 1;
	p->y0 -= .06 * range;
	p->y1 += .06 * range;
	if (!p->log && p->y0 < 0 && p->y0 + .06 * range >= 0)
		p->y0 = 0;
	if (p->x0 > 0 && p->x0 < .1 * p->x1)
		p->x0 = 0;
	if (p->x1 <= p->x0)
		p->x1 = p->x0 + 1;
}

/* --- places ------------------------------------------------------------------- */

static double
at_x(const struct plot *p, double x)
{
	return LEFT + (x - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

static double
at_y(const struct plot *p, double y)
{
	if (p->log)
		y = log10(y);
	return HEIGHT - BOTTOM - (y - p->y0) / (p->y1 - p->y0) * (HEIGHT - TOP - BOTTOM);
}

static void
put_text(struct vq_text *t, const char *s)
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

/* --- axes --------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, for about n steps. */
static double
round_step(double range, int n)
{
	double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;

	return (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10) * power;
}

/* "1500", "20k", "1.5M" */
static const char *
count_text(double x, char buf[VQ_NUMBER])
{
	if (fabs(x) >= 1e6)
		snprintf(buf, VQ_NUMBER, "%.6gM", x / 1e6);
	else if (fabs(x) >= 1e4)
		snprintf(buf, VQ_NUMBER, "%.6gk", x / 1e3);
	else
		snprintf(buf, VQ_NUMBER, "%.6g", x);
	return buf;
}

/* Grid lines and their labels are drawn by themselves: first all lines. */
static void
grid_x(struct plot *p, double x)
{
	vq_text_add(&p->svg, "M%.1f %dV%d", at_x(p, x), TOP, HEIGHT - BOTTOM);
}

static void
grid_y(struct plot *p, double y)
{
	vq_text_add(&p->svg, "M%d %.1fH%d", LEFT, at_y(p, y), WIDTH - RIGHT);
}

static void
label_x(struct plot *p, double x)
{
	char buf[VQ_NUMBER];

	vq_text_add(&p->svg, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at_x(p, x),
	    HEIGHT - BOTTOM + 17, count_text(x, buf));
}

static void
label_y(struct plot *p, double y)
{
	char buf[VQ_NUMBER];

	if (fabs(y) >= 1e4)
		count_text(y, buf);
	else
		snprintf(buf, sizeof(buf), "%.6g", y);
	vq_text_add(&p->svg, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8, at_y(p, y) + 4,
	    buf);
}

/* Multiples of step within [from, to]: counted, so that no rounding adds up. */
static void
ticks(struct plot *p, double from, double to, double step, void (*tick)(struct plot *p, double at))
{
	double first = ceil(from / step - 1e-9), last = floor(to / step + 1e-9);

	for (int i = 0; i <= (int)fmin(last - first, 50); i++) {
		double at = (first + i) * step;

		tick(p, fabs(at) < step * 1e-6 ? 0 : at);
	}
}

/* Powers of ten, and 2 and 5 times them where there is room. */
static void
ticks_log(struct plot *p, void (*tick)(struct plot *p, double at))
{
	double decades = p->y1 - p->y0, every = ceil(decades / 10);
	bool between = decades < 2.6;

	for (double e = floor(p->y0 / every) * every; e <= p->y1; e += every)
		for (int m = 1; m <= (between ? 5 : 1); m += m == 1 ? 1 : 3)
			if (e + log10(m) >= p->y0 && e + log10(m) <= p->y1)
				tick(p, m * pow(10, e));
}

static void
ticks_x(struct plot *p, void (*tick)(struct plot *p, double at))
{
	double step = round_step(p->x1 - p->x0, 6);

	ticks(p, p->x0, p->x1, step < 1 ? 1 : step, tick);
}

static void
ticks_y(struct plot *p, void (*tick)(struct plot *p, double at))
{
	if (p->log)
		ticks_log(p, tick);
	else
		ticks(p, p->y0, p->y1, round_step(p->y1 - p->y0, 5), tick);
}

static void
put_axes(struct plot *p)
{
	struct vq_text *t = &p->svg;

	vq_text_add(t, "<path fill=\"none\" stroke=\"#e4e7eb\" d=\"");
	ticks_x(p, grid_x);
	ticks_y(p, grid_y);
	vq_text_add(t, "\"/>\n<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#9aa3ad\"/>\n", LEFT, TOP,
	    HEIGHT - BOTTOM, WIDTH - RIGHT);
	vq_text_add(t, "<g font-size=\"11\" fill=\"#5b6470\">\n");
	ticks_x(p, label_x);
	ticks_y(p, label_y);
	vq_text_add(t, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">step</text>\n</g>\n", WIDTH - RIGHT,
	    HEIGHT - 8);
}

/* --- curves ------------------------------------------------------------------- */

/* The points of [from, to) that are drawn: of those that fall on one column of
 * pixels the first, the least, the most and the last. */
static int
thin(const struct plot *p, const struct curve *c, int from, const struct point *out[4], int *n)
{
	double column = floor(at_x(p, c->point[from].x));
	int least = from, most = from, i;

	for (i = from; i < c->count && isfinite(c->point[i].y) && floor(at_x(p, c->point[i].x)) == column; i++) {
		least = c->point[i].y < c->point[least].y ? i : least;
		most = c->point[i].y > c->point[most].y ? i : most;
	}
	int pick[4] = { from, least < most ? least : most, least < most ? most : least, i - 1 };

	*n = 0;
	for (int k = 0; k < 4; k++)
		if (*n == 0 || pick[k] != (int)(out[*n - 1] - c->point))
			out[(*n)++] = &c->point[pick[k]];
	return i;
}

static void
put_line(struct plot *p, const struct curve *c, const char *color, double width)
{
	struct vq_text *t = &p->svg;
	const struct point *part[4];
	bool pen = false;
	int n;

	vq_text_add(t, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-linejoin=\"round\" "
	    "stroke-linecap=\"round\" d=\"", color, width);
	for (int i = 0; i < c->count; ) {
		if (!isfinite(c->point[i].y)) {
			pen = false;
			i++;
			continue;
		}
		i = thin(p, c, i, part, &n);
		for (int k = 0; k < n; k++, pen = true)
			vq_text_add(t, "%s%.1f %.1f", pen ? "L" : "M", at_x(p, part[k]->x), at_y(p, part[k]->y));
		/* A value alone between gaps is a dot. */
		if (n == 1)
			vq_text_add(t, "h0");
	}
	vq_text_add(t, "\"/>\n");
}

static void
put_marks(struct plot *p, const struct curve *c, const char *color)
{
	char buf[VQ_NUMBER];

	if (c->count > MARKS)
		return;
	vq_text_add(&p->svg, "<g fill=\"#fff\" stroke=\"%s\" stroke-width=\"1.6\">\n", color);
	for (int i = 0; i < c->count; i++)
		if (isfinite(c->point[i].y))
			vq_text_add(&p->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>step %.0f: %s</title>"
			    "</circle>\n", at_x(p, c->point[i].x), at_y(p, c->point[i].y), c->point[i].x,
			    vq_number(c->point[i].y, buf));
	vq_text_add(&p->svg, "</g>\n");
}

static void
put_curves(struct plot *p)
{
	for (int i = 0; i < p->curves; i++) {
		bool train = strcmp(p->curve[i].split, "train") == 0;

		put_line(p, &p->curve[i], colors[i], train ? 1.2 : 1.8);
		if (!train)
			put_marks(p, &p->curve[i], colors[i]);
	}
}

/* "train 0.0312": names, and the last values. */
static void
put_legend(struct plot *p)
{
	struct vq_text *t = &p->svg;
	int x = WIDTH - RIGHT;

	for (int i = p->curves - 1; i >= 0; i--) {
		const struct curve *c = &p->curve[i];
		double last = c->count ? c->point[c->count - 1].y : (double)NAN;
		struct vq_text label = { 0 };

		vq_text_add(&label, isfinite(last) ? "%s %.4g" : "%s", c->split, last);
		vq_text_add(t, "<text x=\"%d\" y=\"34\" text-anchor=\"end\" font-size=\"12\" fill=\"#2b3138\">", x);
		put_text(t, label.s);
		x -= 7 * (int)label.len + 10;
		vq_text_add(t, "</text><line x1=\"%d\" y1=\"30\" x2=\"%d\" y2=\"30\" stroke=\"%s\" stroke-width=\"3\" "
		    "stroke-linecap=\"round\"/>\n", x - 14, x, colors[i]);
		x -= 32;
		vq_text_free(&label);
	}
}

static void
draw(struct plot *p)
{
	struct vq_text *t = &p->svg;

	vq_text_add(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
	    "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n", WIDTH, HEIGHT,
	    WIDTH, HEIGHT);
	vq_text_add(t, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", WIDTH, HEIGHT);
	vq_text_add(t, "<text x=\"%d\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#1f252b\">", LEFT);
	put_text(t, p->metric);
	vq_text_add(t, "</text>\n<text x=\"%d\" y=\"41\" font-size=\"11\" fill=\"#5b6470\">", LEFT);
	put_text(t, p->stage);
	vq_text_add(t, "%s</text>\n", p->log ? ", log scale" : "");
	put_axes(p);
	put_curves(p);
	put_legend(p);
	vq_text_add(t, "</svg>\n");
}

/* --- files -------------------------------------------------------------------- */

/* A curve without points has no place in the legend. */
static void
drop_empty(struct plot *p)
{
	int n = 0;

	for (int i = 0; i < p->curves; i++)
		if (p->curve[i].count > 0)
			p->curve[n++] = p->curve[i];
	p->curves = n;
}

static int
write_plot(const struct vq_run *r, struct plot *p, struct vq_diags *d)
{
	char *name = vq_plain_name(p->stage, p->metric), *path = vq_run_path(r, "plots/%s.svg", name);
	int rc = vq_file_write(path, p->svg.s, p->svg.len, d);

	free(path);
	free(name);
	return rc;
}

static int
plot(const struct vq_run *r, const struct vq_rows *rows, const char *stage, int column, struct vq_diags *d)
{
	struct plot p = { .stage = stage, .metric = column == LR ? "lr" : rows->column[column] };
	int rc = 0;

	if (collect(&p, rows, column)) {
		drop_empty(&p);
		widen(&p);
		draw(&p);
		rc = write_plot(r, &p, d);
	}
	for (int i = 0; i < p.curves; i++)
		free(p.curve[i].point);
	vq_text_free(&p.svg);
	return rc;
}

/* Whether row i is the first of its stage. */
static bool
begins_stage(const struct vq_rows *rows, int i)
{
	if (i > 0 && strcmp(rows->row[i].stage, rows->row[i - 1].stage) == 0)
		return false;
	for (int k = 0; k < i; k++)
		if (strcmp(rows->row[k].stage, rows->row[i].stage) == 0)
			return false;
	return true;
}

int
vq_rows_plot(const struct vq_run *r, const struct vq_rows *rows, struct vq_diags *d)
{
	for (int i = 0; i < rows->count; i++) {
		if (!begins_stage(rows, i))
			continue;
		for (int c = LR; c < rows->columns; c++)
			if (plot(r, rows, rows->row[i].stage, c, d) < 0)
				return -1;
	}
	return 0;
}
