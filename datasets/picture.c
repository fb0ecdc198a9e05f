/*
 * picture -- one JPEG or PNG in memory, decoded to bytes
 */
#include "datasets/picture.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <turbojpeg.h>

struct vq_decoder {
	tjhandle jpeg;
	uint8_t *pixel;
	size_t cap;
};

static tjhandle
jpeg_new(void)
{
	tjhandle jpeg = tjInitDecompress();

	if (jpeg == NULL)
		vq_alloc(SIZE_MAX);
	return jpeg;
}

struct vq_decoder *
vq_decoder_new(void)
{
	struct vq_decoder *k = vq_alloc(sizeof(*k));

	k->jpeg = jpeg_new();
	return k;
}

void
vq_decoder_free(struct vq_decoder *k)
{
	if (k == NULL)
		return;
	tjDestroy(k->jpeg);
	free(k->pixel);
	free(k);
}

/* Judges the sizes, before memory is asked for. */
static int
judge(const struct vq_picture *p, char why[VQ_WHY])
{
	if (p->h <= VQ_PICTURE_SIDE && p->w <= VQ_PICTURE_SIDE && p->h * p->w <= VQ_PICTURE_PIXELS)
		return 0;
	snprintf(why, VQ_WHY, "is %lld x %lld: at most %d x %d and %d million pixels can be read", (long long)p->h,
	    (long long)p->w, VQ_PICTURE_SIDE, VQ_PICTURE_SIDE, VQ_PICTURE_PIXELS >> 20);
	return -1;
}

static uint8_t *
room_for(struct vq_decoder *k, struct vq_picture *p)
{
	size_t n = (size_t)(p->h * p->w * p->c);

	if (n > k->cap) {
		free(k->pixel);
		k->pixel = vq_alloc(n);
		k->cap = n;
	}
	p->pixel = k->pixel;
	return k->pixel;
}

/* --- JPEG -------------------------------------------------------------------- */

/* A handle that has met an error may refuse the next picture too. */
static int
jpeg_fails(struct vq_decoder *k, char why[VQ_WHY])
{
	snprintf(why, VQ_WHY, "JPEG: %s", tjGetErrorStr2(k->jpeg));
	tjDestroy(k->jpeg);
	k->jpeg = jpeg_new();
	return -1;
}

static int
jpeg_head(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY])
{
	int w = 0, h = 0, subsampling = 0, space = 0;

	if (tjDecompressHeader3(k->jpeg, bytes, n, &w, &h, &subsampling, &space) < 0)
		return jpeg_fails(k, why);
	/* Tables alone are a valid stream, and nothing was set. */
	if (w < 1 || h < 1) {
		snprintf(why, VQ_WHY, "JPEG: holds no picture");
		return -1;
	}
	if (space == TJCS_CMYK || space == TJCS_YCCK) {
		snprintf(why, VQ_WHY, "is a JPEG of four inks (CMYK): save it as RGB");
		return -1;
	}
	*p = (struct vq_picture){ .h = h, .w = w, .c = space == TJCS_GRAY ? 1 : 3 };
	return judge(p, why);
}

/* Bytes between two markers do not touch a pixel; every other warning means a damaged picture. */
static bool
is_harmless(tjhandle jpeg)
{
	return tjGetErrorCode(jpeg) == TJERR_WARNING && strstr(tjGetErrorStr2(jpeg), "extraneous bytes") != NULL;
}

static int
jpeg_decode(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY])
{
	int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
	uint8_t *out = room_for(k, p);

	if (tjDecompress2(k->jpeg, bytes, n, out, (int)p->w, 0, (int)p->h, p->c == 1 ? TJPF_GRAY : TJPF_RGB,
	    flags) == 0 || is_harmless(k->jpeg))
		return 0;
	return jpeg_fails(k, why);
}

/* --- PNG --------------------------------------------------------------------- */

struct png {
	const uint8_t *bytes;
	size_t n, at;
	png_structp png;
	png_infop info;
	char *why;
};

static void
png_bytes(png_structp png, png_bytep out, size_t n)
{
	struct png *s = png_get_io_ptr(png);

	if (n > s->n - s->at)
		png_error(png, "the file is cut short");
	memcpy(out, s->bytes + s->at, n);
	s->at += n;
}

static void
png_fails(png_structp png, png_const_charp text)
{
	struct png *s = png_get_error_ptr(png);

	snprintf(s->why, VQ_WHY, "PNG: %s", text);
	longjmp(png_jmpbuf(png), 1);
}

/* Of what is not needed for the pixels: comments, profiles. */
static void
png_warns(png_structp png, png_const_charp text)
{
}

static void
png_open(struct png *s)
{
	s->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, s, png_fails, png_warns);
	s->info = s->png != NULL ? png_create_info_struct(s->png) : NULL;
	if (s->info == NULL)
		vq_alloc(SIZE_MAX);
	png_set_read_fn(s->png, s, png_bytes);
	/* The sizes are judged here, with words of our own. */
	png_set_user_limits(s->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_chunk_malloc_max(s->png, 1 << 23);
	png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
	png_set_crc_action(s->png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
}

static void
png_sizes(struct png *s, struct vq_picture *p)
{
	png_read_info(s->png, s->info);
	*p = (struct vq_picture){ .h = png_get_image_height(s->png, s->info),
		.w = png_get_image_width(s->png, s->info),
		.c = png_get_color_type(s->png, s->info) & PNG_COLOR_MASK_COLOR ? 3 : 1 };
}

static void
png_pixels(struct png *s, const struct vq_picture *p, uint8_t *out)
{
	int passes;

	png_set_expand(s->png);
	png_set_scale_16(s->png);
	png_set_strip_alpha(s->png);
	passes = png_set_interlace_handling(s->png);
	png_read_update_info(s->png, s->info);
	if (png_get_rowbytes(s->png, s->info) != (size_t)(p->w * p->c))
		png_error(s->png, "its pixels have an unexpected form");
	for (int i = 0; i < passes; i++)
		for (int64_t y = 0; y < p->h; y++)
			png_read_row(s->png, out + y * p->w * p->c, NULL);
	png_read_end(s->png, NULL);
}

/* Everything that may jump is below this function, and nothing here changes between. */
static int
png_read(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, bool pixels, char why[VQ_WHY])
{
	struct png s = { .bytes = bytes, .n = n, .why = why };
	volatile int rc = -1;

	png_open(&s);
	if (setjmp(png_jmpbuf(s.png)) == 0) {
		png_sizes(&s, p);
		if (judge(p, why) == 0) {
			if (pixels)
				png_pixels(&s, p, room_for(k, p));
			rc = 0;
		}
	}
	png_destroy_read_struct(&s.png, &s.info, NULL);
	return rc;
}

/* --- either ------------------------------------------------------------------ */

enum what { JPEG, PNG, NEITHER };

static enum what
what_is(const uint8_t *b, size_t n, char why[VQ_WHY])
{
	static const uint8_t png[] = { 0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a };

	if (n >= 3 && b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff)
		return JPEG;
	if (n >= sizeof(png) && memcmp(b, png, sizeof(png)) == 0)
		return PNG;
	if (n == 0)
		snprintf(why, VQ_WHY, "is empty");
	else if (n < sizeof(png))
		snprintf(why, VQ_WHY, "is no picture: it has %zu byte%s", n, n == 1 ? "" : "s");
	else
		snprintf(why, VQ_WHY, "is neither JPEG nor PNG: starts with %02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
	return NEITHER;
}

int
vq_picture_head(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY])
{
	switch (what_is(bytes, n, why)) {
	case JPEG:
		return jpeg_head(k, bytes, n, p, why);
	case PNG:
		return png_read(k, bytes, n, p, false, why);
	default:
		return -1;
	}
}

int
vq_picture_decode(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY])
{
	switch (what_is(bytes, n, why)) {
	case JPEG:
		return jpeg_head(k, bytes, n, p, why) < 0 ? -1 : jpeg_decode(k, bytes, n, p, why);
	case PNG:
		return png_read(k, bytes, n, p, true, why);
	default:
		return -1;
	}
}
