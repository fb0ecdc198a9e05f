/*
 * image -- pictures made of tensors, as PNG files
 */
#include "engine/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "engine/checkpoint.h"

enum {
	GAP = 2,			/* between pictures, and around */
	PAIR_GAP = 6,			/* between rows of pairs */
	BACKGROUND = 96,
	SEEN = 48,			/* a side that is large enough to be seen */
};

/* Where the pictures of a grid go. */
struct grid {
	int64_t columns, zoom;
	int64_t tile_w, tile_h;		/* with the gap */
	bool pairs;
};

static uint8_t
level(float x, double lo, double hi)
{
	double u = (x - lo) / (hi - lo) * 255;

	return u >= 255 ? 255 : u > 0 ? (uint8_t)(u + .5) : 0;
}

/* Columns for about as wide as high. */
static int64_t
square_columns(int64_t n, const struct grid *g)
{
	double rows_high = g->pairs ? 2 : 1;
	int64_t c = (int64_t)(sqrt((double)n * g->tile_h * rows_high / g->tile_w) + .5);

	return c < 1 ? 1 : c > n ? n : c;
}

static int
grid_start(struct vq_image *out, struct grid *g, const struct vq_pictures *p, int columns, int zoom,
    struct vq_diags *d)
{
	vq_assert(p->n > 0 && p->h > 0 && p->w > 0 && p->c > 0 && columns >= 0 && zoom >= 0);
	memset(out, 0, sizeof(*out));
	g->zoom = zoom;
	if (zoom == 0)
		g->zoom = p->w < SEEN ? (SEEN + p->w - 1) / p->w : 1;
	if (p->w > VQ_IMAGE_SIDE_MAX || p->h > VQ_IMAGE_SIDE_MAX || g->zoom > VQ_IMAGE_SIDE_MAX) {
		vq_error(d, VQ_FAILED, NULL, "pictures of %lld x %lld are too large to be shown",
		    (long long)p->w, (long long)p->h);
		return -1;
	}
	g->tile_w = p->w * g->zoom + GAP;
	g->tile_h = p->h * g->zoom + GAP;
	g->columns = columns > 0 ? (columns < p->n ? columns : p->n) : square_columns(p->n, g);

	int64_t rows = (p->n - 1) / g->columns + 1;
	int64_t row_h = g->pairs ? 2 * g->tile_h + PAIR_GAP - GAP : g->tile_h;
	int64_t last_gap = g->pairs ? PAIR_GAP - GAP : 0;

	/* The counts are compared first, so that the products cannot overflow. */
	if (g->columns > VQ_IMAGE_SIDE_MAX || rows > VQ_IMAGE_SIDE_MAX ||
	    GAP + g->columns * g->tile_w > VQ_IMAGE_SIDE_MAX || GAP + rows * row_h > VQ_IMAGE_SIDE_MAX) {
		vq_error(d, VQ_FAILED, NULL, "a grid of %lld pictures of %lld x %lld is too large for one PNG",
		    (long long)p->n, (long long)p->w, (long long)p->h);
		return -1;
	}
	out->w = (int)(GAP + g->columns * g->tile_w);
	out->h = (int)(GAP + rows * row_h - last_gap);
	out->channels = p->c >= 3 ? 3 : 1;
	out->pixel = vq_alloc_array((size_t)out->w * (size_t)out->h, (size_t)out->channels);
	memset(out->pixel, BACKGROUND, (size_t)out->w * (size_t)out->h * (size_t)out->channels);
	return 0;
}

/* Picture i of p with its upper left corner at (x, y). */
static void
paint(struct vq_image *out, const struct grid *g, const struct vq_pictures *p, int64_t i, int64_t x, int64_t y)
{
	const float *from = p->data + i * p->h * p->w * p->c;
	int64_t line = p->w * g->zoom * out->channels;

	for (int64_t r = 0; r < p->h; r++) {
		uint8_t *first = out->pixel + ((y + r * g->zoom) * out->w + x) * out->channels, *to = first;

		for (int64_t k = 0; k < p->w * g->zoom; k++)
			for (int ch = 0; ch < out->channels; ch++)
				*to++ = level(from[(r * p->w + k / g->zoom) * p->c + ch], p->lo, p->hi);
		for (int64_t z = 1; z < g->zoom; z++)
			memcpy(first + z * out->w * out->channels, first, (size_t)line);
	}
}

int
vq_image_grid(struct vq_image *out, const struct vq_pictures *p, int columns, int zoom, struct vq_diags *d)
{
	struct grid g = { 0 };

	if (grid_start(out, &g, p, columns, zoom, d) < 0)
		return -1;
	for (int64_t i = 0; i < p->n; i++)
		paint(out, &g, p, i, GAP + i % g.columns * g.tile_w, GAP + i / g.columns * g.tile_h);
	return 0;
}

int
vq_image_pairs(struct vq_image *out, const struct vq_pictures *originals, const float *reconstructions,
    int columns, int zoom, struct vq_diags *d)
{
	struct vq_pictures below = *originals;
	struct grid g = { .pairs = true };

	below.data = reconstructions;
	if (grid_start(out, &g, originals, columns, zoom, d) < 0)
		return -1;
	for (int64_t i = 0; i < originals->n; i++) {
		int64_t x = GAP + i % g.columns * g.tile_w;
		int64_t y = GAP + i / g.columns * (2 * g.tile_h + PAIR_GAP - GAP);

		paint(out, &g, originals, i, x, y);
		paint(out, &g, &below, i, x, y + g.tile_h);
	}
	return 0;
}

void
vq_image_free(struct vq_image *im)
{
	free(im->pixel);
	memset(im, 0, sizeof(*im));
}

int
vq_image_write_png(const char *path, const struct vq_image *im, struct vq_diags *d)
{
	png_image png = {
		.version = PNG_IMAGE_VERSION, .width = (png_uint_32)im->w, .height = (png_uint_32)im->h,
		.format = im->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY,
	};
	png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
	void *bytes = vq_alloc(size);
	int rc = -1;

	if (png_image_write_to_memory(&png, bytes, &size, 0, im->pixel, 0, NULL))
		rc = vq_file_write(path, bytes, size, d);
	else
		vq_error(d, VQ_FAILED, NULL, "%s: libpng cannot write it: %s", path, png.message);
	free(bytes);
	return rc;
}

int
vq_image_read_png(const char *path, struct vq_image *im, struct vq_diags *d)
{
	png_image png = { .version = PNG_IMAGE_VERSION };
	size_t size;
	char *bytes = vq_file_read(path, (size_t)256 << 20, &size, VQ_DATA, d);
	bool ok;

	memset(im, 0, sizeof(*im));
	if (bytes == NULL)
		return -1;
	ok = png_image_begin_read_from_memory(&png, bytes, size);
	if (ok && (png.width > VQ_IMAGE_SIDE_MAX || png.height > VQ_IMAGE_SIDE_MAX)) {
		vq_error(d, VQ_DATA, NULL, "%s: a picture of %u x %u is too large", path,
		    (unsigned)png.width, (unsigned)png.height);
		png_image_free(&png);
		free(bytes);
		return -1;
	}
	if (ok) {
		png.format = png.format & PNG_FORMAT_FLAG_COLOR ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
		*im = (struct vq_image){ (int)png.width, (int)png.height,
		    (int)PNG_IMAGE_SAMPLE_CHANNELS(png.format), vq_alloc(PNG_IMAGE_SIZE(png)) };
		/* What is transparent is shown on black. */
		ok = png_image_finish_read(&png, &(png_color){ 0, 0, 0 }, im->pixel, 0, NULL);
	}
	if (!ok) {
		vq_error(d, VQ_DATA, NULL, "%s: no PNG file that can be read: %s", path, png.message);
		vq_image_free(im);
	}
	png_image_free(&png);
	free(bytes);
	return ok ? 0 : -1;
}
