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
#include "engine/svg.h"

enum {
	SPLITS = 4,
	MARKS = 200,			/* more are no marks, but a thick line */
	LR = -1,			/* the learning rate, as a column */
};

/* Above this ratio small values are not seen on a linear axis. */
static const double log_ratio = 6;

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
	struct vq_axes axes;
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

	p->axes.x0 = p->axes.x1 = NAN;
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
		p->axes.x0 = fmin(p->axes.x0, x);
		p->axes.x1 = fmax(p->axes.x1, x);
		if (isfinite(y)) {
			least = fmin(least, y);
			most = fmax(most, y);
			any = true;
		}
	}
	p->axes.log = any && column != LR && least > 0 && most / least > log_ratio;
	p->axes.y0 = p->axes.log ? log10(least) : least;
	p->axes.y1 = p->axes.log ? log10(most) : most;
	return any;
}

/* --- curves ------------------------------------------------------------------- */

/* The points of [from, to) that are drawn: of those that fall on one column of
 * pixels the first, the least, the most and the last. */
static int
thin(const struct plot *p, const struct curve *c, int from, const struct point *out[4], int *n)
{
	double column = floor(vq_axes_x(&p->axes, c->point[from].x));
	int least = from, most = from, i;

	for (i = from; i < c->count && isfinite(c->point[i].y) && floor(vq_axes_x(&p->axes, c->point[i].x)) == column; i++) {
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
			vq_text_add(t, "%s%.1f %.1f", pen ? "L" : "M", vq_axes_x(&p->axes, part[k]->x), vq_axes_y(&p->axes, part[k]->y));
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
			    "</circle>\n", vq_axes_x(&p->axes, c->point[i].x), vq_axes_y(&p->axes, c->point[i].y), c->point[i].x,
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
	int x = VQ_PLOT_WIDTH - VQ_PLOT_RIGHT;

	for (int i = p->curves - 1; i >= 0; i--) {
		const struct curve *c = &p->curve[i];
		double last = c->count ? c->point[c->count - 1].y : (double)NAN;
		struct vq_text label = { 0 };

		vq_text_add(&label, isfinite(last) ? "%s %.4g" : "%s", c->split, last);
		vq_text_add(t, "<text x=\"%d\" y=\"34\" text-anchor=\"end\" font-size=\"12\" fill=\"#2b3138\">", x);
		vq_svg_text(t, label.s);
		x -= (int)(6.6 * (double)label.len) + 8;
		vq_text_add(t, "</text><line x1=\"%d\" y1=\"30\" x2=\"%d\" y2=\"30\" stroke=\"%s\" stroke-width=\"3\" "
		    "stroke-linecap=\"round\"/>\n", x - 14, x, colors[i]);
		x -= 34;
		vq_text_free(&label);
	}
}

static void
draw(struct plot *p)
{
	char *sub = vq_asprintf("%s%s", p->stage, p->axes.log ? ", log scale" : "");

	vq_svg_begin(&p->svg, VQ_PLOT_WIDTH, VQ_PLOT_HEIGHT);
	vq_svg_title(&p->svg, VQ_PLOT_LEFT, p->metric, sub);
	vq_axes_put(&p->svg, &p->axes);
	put_curves(p);
	put_legend(p);
	vq_text_add(&p->svg, "</svg>\n");
	free(sub);
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

int
vq_run_plot_svg(struct vq_run *r, const char *stage, const char *what, const struct vq_text *svg, struct vq_diags *d)
{
	char *name = vq_plain_name(stage, what), *path = vq_run_path(r, "plots/%s.svg", name);
	int rc = vq_file_write(path, svg->s, svg->len, d);

	free(path);
	free(name);
	return rc;
}

static int
plot(struct vq_run *r, const struct vq_rows *rows, const char *stage, int column, struct vq_diags *d)
{
	struct plot p = { .stage = stage, .axes.name = "step", .metric = column == LR ? "lr" : rows->column[column] };
	int rc = 0;

	if (collect(&p, rows, column)) {
		drop_empty(&p);
		vq_axes_widen(&p.axes);
		draw(&p);
		rc = vq_run_plot_svg(r, p.stage, p.metric, &p.svg, d);
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
vq_rows_plot(struct vq_run *r, const struct vq_rows *rows, struct vq_diags *d)
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
