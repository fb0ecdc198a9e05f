/*
 * draw -- shapes, text and colours on a picture in memory
 *
 * What lies outside the picture is cut off.  On a grey picture colours are
 * drawn by their luma.
 */
#ifndef VQ_ENGINE_DRAW_H
#define VQ_ENGINE_DRAW_H

#include "engine/image.h"

void vq_draw_fill(struct vq_image *im, int x, int y, int w, int h, struct vq_rgb color);
/* A filled circle and the line of a circle, with smooth edges; in pixels, the
 * middle of the upper left one at (0.5, 0.5).  opacity: 0 to 1. */
void vq_draw_disc(struct vq_image *im, double x, double y, double radius, struct vq_rgb color, double opacity);
void vq_draw_ring(struct vq_image *im, double x, double y, double radius, double width, struct vq_rgb color,
    double opacity);

/*
 * Text in the font of this file: ASCII, other characters as '?'.  (x, y) is the upper left
 * corner; capitals and digits are VQ_TEXT_HEIGHT * zoom high, descenders go below.
 */
enum { VQ_TEXT_HEIGHT = 7, VQ_TEXT_DESCENT = 2 };
void vq_draw_text(struct vq_image *im, int x, int y, const char *s, int zoom, struct vq_rgb color);
int vq_text_width(const char *s, int zoom);

/*
 * A colour for each u from 0 to 1, from violet through blue, green and yellow to red: a
 * walk round the hues of OKLab (Ottosson 2020) at a lightness that rises to the middle,
 * so that neighbours are equally easy to tell apart.
 */
struct vq_rgb vq_color_at(double u);
/* Of code k among n: the first is violet, the last red, whatever n. */
struct vq_rgb vq_color_of_code(int64_t k, int64_t n);

#endif
