/*
 * gif -- moving pictures
 *
 * Grey pictures keep their 256 levels.  Colours are exact where all frames together have at most
 * 256; otherwise one palette for all frames is found by median cut (Heckbert 1982), so that
 * what does not move does not flicker either.  The same frames give the same bytes.
 */
#ifndef VQ_ENGINE_GIF_H
#define VQ_ENGINE_GIF_H

#include "engine/image.h"

/*
 * n frames of one size (all grey, or all RGB), shown again and again, each for delay_ms (to 10 ms).
 * The whole file or none; -1 after errors.
 */
int vq_gif_write(const char *path, const struct vq_image *frame, const int *delay_ms, int n, struct vq_diags *d);

/* The palette of at most 256 colours for those frames, RGB: for tests.  Returns how many. */
int vq_gif_palette(const struct vq_image *frame, int n, uint8_t rgb[256][3]);

#endif
