/*
 * image -- pictures made of tensors, as PNG files
 */
#include "engine/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "engine/draw.h"
#include "engine/file.h"

enum {
	GAP = 2,			/* between pictures, and around */
	PAIR_GAP = 6,			/* between rows of pairs */
	BACKGROUND = 96,
	SEEN = 48,			/* a side that is large enough to be seen */
	LABEL_GAP = 6,			/* on both sides of a label */
};

/* Where the pictures of a grid go. */
struct grid {
	int64_t columns, zoom;
	int64_t left;			/* of the first column: room for labels */
	int64_t tile_w, tile_h;		/* with the gap */
	int64_t row_h;			/* of one row of pictures with those below them, and the gap */
	int64_t last_gap;		/* that the last row does not have */
	int text;			/* zoom of the labels */
};

static uint8_t
level(float x, double lo, double hi)
{
	double u = (x - lo) / (hi - lo) * 255;

	return u >= 255 ? 255 : u > 0 ? (uint8_t)(u + .5) : 0;
}

struct vq_rgb
vq_pictures_color(const struct vq_pictures *p, int64_t i, int64_t y, int64_t x)
{
	const float *at = p->data + ((i * p->h + y) * p->w + x) * p->c;
	uint8_t first = level(at[0], p->lo, p->hi);

	if (p->c < 3)
		return (struct vq_rgb){ first, first, first };
	return (struct vq_rgb){ first, level(at[1], p->lo, p->hi), level(at[2], p->lo, p->hi) };
}

/* Columns for about as wide as high: of those that leave no place empty one that is not far from
 * it, wider rather than higher. */
static int64_t
square_columns(int64_t n, const struct grid *g)
{
	double square = sqrt((double)n * (double)g->row_h / (double)g->tile_w);
	int64_t c = (int64_t)(square + .5);

	c = c < 1 ? 1 : c > n ? n : c;
	if (c > VQ_IMAGE_SIDE_MAX)
		return c;
	for (int64_t k = c; k <= n && k <= 1.7 * square; k++)
		if (n % k == 0)
			return k;
	for (int64_t k = c; k >= 1 && k >= square / 1.3; k--)
		if (n % k == 0)
			return k;
	return c;
}

static int
too_large(const struct vq_pictures *p, struct vq_diags *d)
{
	vq_error(d, VQ_FAILED, NULL, "a grid of %lld pictures of %lld x %lld is too large for one PNG",
	    (long long)p->n, (long long)p->w, (long long)p->h);
	return -1;
}

/* below: rows under each row of originals. */
static int
grid_size(struct grid *g, const struct vq_pictures *p, int columns, int below, int zoom, struct vq_diags *d)
{
	vq_assert(p->n > 0 && p->h > 0 && p->w > 0 && p->c > 0 && columns >= 0 && zoom >= 0);
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
	g->last_gap = below > 0 ? PAIR_GAP - GAP : 0;
	g->row_h = (1 + below) * g->tile_h + g->last_gap;
	g->columns = columns > 0 ? (columns < p->n ? columns : p->n) : square_columns(p->n, g);
	g->left = GAP;
	g->text = p->h * g->zoom >= 40 ? 2 : 1;
	return 0;
}

static int
grid_start(struct vq_image *out, const struct grid *g, const struct vq_pictures *p, struct vq_diags *d)
{
	int64_t rows = (p->n - 1) / g->columns + 1;

	/* The counts are compared first, so that the products cannot overflow. */
	if (g->columns > VQ_IMAGE_SIDE_MAX || rows > VQ_IMAGE_SIDE_MAX ||
	    g->left + g->columns * g->tile_w > VQ_IMAGE_SIDE_MAX || GAP + rows * g->row_h > VQ_IMAGE_SIDE_MAX)
		return too_large(p, d);
	vq_image_new(out, (int)(g->left + g->columns * g->tile_w), (int)(GAP + rows * g->row_h - g->last_gap),
	    p->c >= 3 ? 3 : 1, BACKGROUND);
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

/* Picture i of p where it belongs, `row` rows under that of the originals. */
static void
place(struct vq_image *out, const struct grid *g, const struct vq_pictures *p, int64_t i, int row)
{
	paint(out, g, p, i, g->left + i % g->columns * g->tile_w, GAP + i / g->columns * g->row_h + row * g->tile_h);
}

int
vq_image_grid(struct vq_image *out, const struct vq_pictures *p, int columns, int zoom, struct vq_diags *d)
{
	struct grid g = { 0 };

	*out = (struct vq_image){ 0 };
	if (grid_size(&g, p, columns, 0, zoom, d) < 0 || grid_start(out, &g, p, d) < 0)
		return -1;
	for (int64_t i = 0; i < p->n; i++)
		place(out, &g, p, i, 0);
	return 0;
}

int
vq_image_labelled(struct vq_image *out, const struct vq_pictures *p, int columns, const char *const *label,
    int zoom, struct vq_diags *d)
{
	const struct vq_rgb white = { 255, 255, 255 };
	struct grid g = { 0 };
	int64_t width = 0;

	*out = (struct vq_image){ 0 };
	vq_assert(columns > 0);
	if (grid_size(&g, p, columns, 0, zoom, d) < 0)
		return -1;
	int64_t rows = (p->n - 1) / g.columns + 1;
	for (int64_t r = 0; r < rows && width < VQ_IMAGE_SIDE_MAX; r++) {
		int64_t w = vq_text_width(label[r], g.text);
		width = w > width ? w : width;
	}
	g.left += width + 2 * LABEL_GAP;
	if (grid_start(out, &g, p, d) < 0)
		return -1;
	for (int64_t i = 0; i < p->n; i++)
		place(out, &g, p, i, 0);
	for (int64_t r = 0; r < rows; r++) {
		int x = (int)(g.left - LABEL_GAP) - vq_text_width(label[r], g.text);
		int64_t y = GAP + r * g.row_h + (g.tile_h - GAP - VQ_TEXT_HEIGHT * g.text) / 2;
		vq_draw_text(out, x, (int)y, label[r], g.text, white);
	}
	return 0;
}

int
vq_image_pairs(struct vq_image *out, const struct vq_pictures *originals, const float *const *below, int nbelow,
    int columns, int zoom, struct vq_diags *d)
{
	struct grid g = { 0 };

	*out = (struct vq_image){ 0 };
	if (grid_size(&g, originals, columns, nbelow, zoom, d) < 0 || grid_start(out, &g, originals, d) < 0)
		return -1;
	for (int row = 0; row <= nbelow; row++) {
		struct vq_pictures p = *originals;

		if (row > 0)
			p.data = below[row - 1];
		for (int64_t i = 0; i < p.n; i++)
			place(out, &g, &p, i, row);
	}
	return 0;
}

void
vq_image_new(struct vq_image *im, int w, int h, int channels, uint8_t value)
{
	vq_assert(w > 0 && h > 0 && w <= VQ_IMAGE_SIDE_MAX && h <= VQ_IMAGE_SIDE_MAX);
	vq_assert(channels == 1 || channels == 3);
	*im = (struct vq_image){ w, h, channels, vq_alloc_array((size_t)w * (size_t)h, (size_t)channels) };
	memset(im->pixel, value, (size_t)w * (size_t)h * (size_t)channels);
}

void
vq_image_free(struct vq_image *im)
{
	free(im->pixel);
	memset(im, 0, sizeof(*im));
}

int
vq_image_png(const struct vq_image *im, void **bytes, size_t *n, struct vq_diags *d)
{
	png_image png = {
		.version = PNG_IMAGE_VERSION, .width = (png_uint_32)im->w, .height = (png_uint_32)im->h,
		.format = im->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY,
	};
	png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);

	*bytes = vq_alloc(size);
	if (png_image_write_to_memory(&png, *bytes, &size, 0, im->pixel, 0, NULL)) {
		*n = size;
		return 0;
	}
	vq_error(d, VQ_FAILED, NULL, "libpng cannot write this picture: %s", png.message);
	free(*bytes);
	*bytes = NULL;
	return -1;
}

int
vq_image_write_png(const char *path, const struct vq_image *im, struct vq_diags *d)
{
	size_t n;
	void *bytes;
	int rc = vq_image_png(im, &bytes, &n, d);

	if (rc == 0)
		rc = vq_file_write(path, bytes, n, d);
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
