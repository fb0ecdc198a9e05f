/*
 * image -- pictures made of tensors, as PNG files
 *
 * The same values give the same bytes (with the same libpng and zlib): there is no
 * time stamp in a file.
 */
#ifndef VQ_ENGINE_IMAGE_H
#define VQ_ENGINE_IMAGE_H

#include "engine/diag.h"

enum { VQ_IMAGE_SIDE_MAX = 1 << 15 };

/* 8-bit grey or RGB. */
struct vq_image {
	int w, h, channels;		/* channels: 1 or 3 */
	uint8_t *pixel;			/* [h, w, channels] */
};

/* n pictures [h, w, c] to be shown: lo is black, hi is white, values outside are cut off, NaN is
 * black.  Three channels or more are shown by the first three as RGB, fewer by the
 * first as grey. */
struct vq_pictures {
	const float *data;
	int64_t n, h, w, c;
	double lo, hi;
};

struct vq_rgb {
	uint8_t r, g, b;
};
/* The pixel (x, y) of picture i as it is shown. */
struct vq_rgb vq_pictures_color(const struct vq_pictures *p, int64_t i, int64_t y, int64_t x);

/*
 * Row by row on a grid, left to right.  columns 0: as many as make it about square, with no
 * place empty where that is possible.
 * zoom: pixels for one, 0: enough for small pictures to be seen.  -1 after an error
 * (VQ_FAILED: the result would be larger than VQ_IMAGE_SIDE_MAX).
 */
int vq_image_grid(struct vq_image *out, const struct vq_pictures *p, int columns, int zoom,
    struct vq_diags *d);
/* The same with a text at the left of each row, as for one class a row: label has as many as
 * there are rows, ceil(n / columns); columns is at least 1. */
int vq_image_labelled(struct vq_image *out, const struct vq_pictures *p, int columns, const char *const *label,
    int zoom, struct vq_diags *d);
/* Each row of originals with the row of what was made of them (as many, of the same size and
 * range) right under it, once for each of `below`. */
int vq_image_pairs(struct vq_image *out, const struct vq_pictures *originals, const float *const *below,
    int nbelow, int columns, int zoom, struct vq_diags *d);
/* All pixels of one level; channels: 1 or 3. */
void vq_image_new(struct vq_image *im, int w, int h, int channels, uint8_t level);
void vq_image_free(struct vq_image *im);

/* As a PNG file in memory, for free(). */
int vq_image_png(const struct vq_image *im, void **bytes, size_t *n, struct vq_diags *d);

/* The whole file or none (vq_file_write). */
int vq_image_write_png(const char *path, const struct vq_image *im, struct vq_diags *d);
/* 8-bit grey or RGB, whatever the file has; errors are VQ_DATA. */
int vq_image_read_png(const char *path, struct vq_image *im, struct vq_diags *d);

#endif
