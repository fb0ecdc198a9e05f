/*
 * svg -- what drawings share: a page, its title, axes
 */
#ifndef VQ_ENGINE_SVG_H
#define VQ_ENGINE_SVG_H

#include "engine/base.h"

/* Everything after it, up to "</svg>", is drawn on white. */
void vq_svg_begin(struct vq_text *t, int w, int h);
/* A bold line, and a smaller one under it. */
void vq_svg_title(struct vq_text *t, int x, const char *title, const char *sub);
/* As text between tags: what would be markup is written as characters. */
void vq_svg_text(struct vq_text *t, const char *s);

/* A plot of one size, with numbers along two axes. */
enum {
	VQ_PLOT_WIDTH = 720, VQ_PLOT_HEIGHT = 400,
	VQ_PLOT_LEFT = 64, VQ_PLOT_RIGHT = 24, VQ_PLOT_TOP = 56, VQ_PLOT_BOTTOM = 42,	/* around the axes */
};
struct vq_axes {
	double x0, x1, y0, y1;		/* where they begin and end; of a logarithmic one the logarithm of 10 */
	bool log;			/* y is logarithmic */
	const char *name;		/* of x */
};
/* Room above and below, and none of the ranges empty. */
void vq_axes_widen(struct vq_axes *a);
double vq_axes_x(const struct vq_axes *a, double x);
double vq_axes_y(const struct vq_axes *a, double y);
void vq_axes_put(struct vq_text *t, const struct vq_axes *a);

#endif
