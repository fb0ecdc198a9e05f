/*
 * gif -- moving pictures
 */
#include "engine/gif.h"

#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "engine/file.h"

/* Colours are told apart by the upper six bits of each channel. */
enum { COLORS = 256, BITS = 6, SHIFT = 8 - BITS, BINS = 1 << 3 * BITS, SIDE = 1 << BITS };

/* All pixels whose colours have the same upper bits. */
struct bin {
	int64_t count;
	int64_t sum[3];
	int32_t palette;		/* the index their pixels get */
	uint8_t at[3];
};

/* Bins [from, to) of the list, and how far they extend. */
struct box {
	int from, to;
	int64_t count;
	int axis, range;		/* the longest */
};

struct palette {
	uint8_t rgb[COLORS][3];
	int n;
	bool exact;			/* every colour of the frames is in it */
	struct bin *bin;		/* by bin_of */
	struct bin **used;		/* those with pixels */
	int uses;
};

static int
bin_of(const uint8_t *p)
{
	return p[0] >> SHIFT << 2 * BITS | p[1] >> SHIFT << BITS | p[2] >> SHIFT;
}

/* --- few colours ------------------------------------------------------------------ */

static int
find_exact(const struct palette *p, const uint8_t *rgb)
{
	for (int i = 0; i < p->n; i++)
		if (memcmp(p->rgb[i], rgb, 3) == 0)
			return i;
	return -1;
}

/* Whether the frames have so few colours that all can stay; most pixels are like the one before. */
static bool
collect_exact(struct palette *p, const struct vq_image *frame, int n)
{
	const uint8_t *last = NULL;

	for (int f = 0; f < n; f++)
		for (int64_t i = 0, m = (int64_t)frame[f].w * frame[f].h; i < m; i++) {
			const uint8_t *rgb = frame[f].pixel + 3 * i;

			if ((last && memcmp(last, rgb, 3) == 0) || find_exact(p, rgb) >= 0) {
				last = rgb;
				continue;
			}
			if (p->n == COLORS)
				return false;
			memcpy(p->rgb[p->n++], rgb, 3);
			last = rgb;
		}
	return true;
}

/* --- median cut ------------------------------------------------------------------- */

static void
count_bins(struct palette *p, const struct vq_image *frame, int n)
{
	p->bin = vq_alloc_array(BINS, sizeof(*p->bin));
	for (int f = 0; f < n; f++)
		for (int64_t i = 0, m = (int64_t)frame[f].w * frame[f].h; i < m; i++) {
			const uint8_t *rgb = frame[f].pixel + 3 * i;
			struct bin *b = &p->bin[bin_of(rgb)];

			p->uses += b->count++ == 0;
			for (int c = 0; c < 3; c++)
				b->sum[c] += rgb[c];
		}
	p->used = vq_alloc_array((size_t)p->uses, sizeof(*p->used));
	for (int i = 0, k = 0; i < BINS; i++)
		if (p->bin[i].count > 0) {
			for (int c = 0; c < 3; c++)
				p->bin[i].at[c] = (uint8_t)(i >> BITS * (2 - c) & (SIDE - 1));
			p->used[k++] = &p->bin[i];
		}
}

static struct box
make_box(const struct palette *p, int from, int to)
{
	struct box b = { .from = from, .to = to };
	int least[3] = { SIDE, SIDE, SIDE }, most[3] = { -1, -1, -1 };

	for (int i = from; i < to; i++) {
		b.count += p->used[i]->count;
		for (int c = 0; c < 3; c++) {
			int at = p->used[i]->at[c];

			least[c] = at < least[c] ? at : least[c];
			most[c] = at > most[c] ? at : most[c];
		}
	}
	for (int c = 0; c < 3; c++)
		if (most[c] - least[c] > b.range) {
			b.axis = c;
			b.range = most[c] - least[c];
		}
	return b;
}

/* Sorts the bins of a box along its axis: by counting, which keeps the order of equals. */
static void
sort_box(struct palette *p, const struct box *b)
{
	struct bin **sorted = vq_alloc_array((size_t)(b->to - b->from), sizeof(*sorted));
	int start[SIDE + 1] = { 0 };

	for (int i = b->from; i < b->to; i++)
		start[p->used[i]->at[b->axis] + 1]++;
	for (int i = 0; i < SIDE; i++)
		start[i + 1] += start[i];
	for (int i = b->from; i < b->to; i++)
		sorted[start[p->used[i]->at[b->axis]]++] = p->used[i];
	memcpy(p->used + b->from, sorted, (size_t)(b->to - b->from) * sizeof(*sorted));
	free(sorted);
}

/* Where half of the pixels lie before: neither side is empty. */
static int
median(const struct palette *p, const struct box *b)
{
	int64_t before = 0;
	int i = b->from;

	do
		before += p->used[i++]->count;
	while (i < b->to - 1 && 2 * before < b->count);
	return i;
}

/* The box that is split next: many pixels over a wide range. */
static int
widest(const struct box *box, int n)
{
	int best = -1;
	double most = 0;

	for (int i = 0; i < n; i++) {
		double weight = (double)box[i].count * box[i].range;

		if (box[i].range > 0 && weight > most) {
			most = weight;
			best = i;
		}
	}
	return best;
}

/* Each bin gets the nearest of the colours found, which need not be that of its box. */
static void
assign_bins(struct palette *p)
{
	for (int i = 0; i < p->uses; i++) {
		struct bin *b = p->used[i];
		double nearest = 1e9;

		for (int k = 0; k < p->n; k++) {
			double far = 0;

			for (int c = 0; c < 3; c++) {
				double off = (double)b->sum[c] / (double)b->count - p->rgb[k][c];
				far += off * off;
			}
			if (far < nearest) {
				nearest = far;
				b->palette = k;
			}
		}
	}
}

static void
cut(struct palette *p)
{
	struct box box[COLORS] = { make_box(p, 0, p->uses) };
	int i;

	for (p->n = 1; p->n < COLORS && (i = widest(box, p->n)) >= 0; p->n++) {
		sort_box(p, &box[i]);
		int middle = median(p, &box[i]), to = box[i].to;

		box[i] = make_box(p, box[i].from, middle);
		box[p->n] = make_box(p, middle, to);
	}
	for (i = 0; i < p->n; i++) {
		int64_t sum[3] = { 0 };

		for (int k = box[i].from; k < box[i].to; k++)
			for (int c = 0; c < 3; c++)
				sum[c] += p->used[k]->sum[c];
		for (int c = 0; c < 3; c++)
			p->rgb[i][c] = (uint8_t)((sum[c] + box[i].count / 2) / box[i].count);
	}
	assign_bins(p);
}

static void
make_palette(struct palette *p, const struct vq_image *frame, int n)
{
	*p = (struct palette){ 0 };
	if (frame[0].channels == 1) {
		for (p->n = 0; p->n < COLORS; p->n++)
			memset(p->rgb[p->n], p->n, 3);
		return;
	}
	p->exact = collect_exact(p, frame, n);
	if (p->exact)
		return;
	count_bins(p, frame, n);
	cut(p);
}

static void
free_palette(struct palette *p)
{
	free(p->bin);
	free(p->used);
}

int
vq_gif_palette(const struct vq_image *frame, int n, uint8_t rgb[256][3])
{
	struct palette p;

	make_palette(&p, frame, n);
	memcpy(rgb, p.rgb, sizeof(p.rgb));
	free_palette(&p);
	return p.n;
}

/* --- the file --------------------------------------------------------------------- */

/* A row of pixels as indices into the palette. */
static void
indices(const struct palette *p, const struct vq_image *im, int y, uint8_t *out)
{
	const uint8_t *pixel = im->pixel + (int64_t)y * im->w * im->channels;

	if (im->channels == 1) {
		memcpy(out, pixel, (size_t)im->w);
		return;
	}
	for (int x = 0; x < im->w; x++, pixel += 3) {
		if (x > 0 && memcmp(pixel, pixel - 3, 3) == 0)
			out[x] = out[x - 1];
		else
			out[x] = (uint8_t)(p->exact ? find_exact(p, pixel) : p->bin[bin_of(pixel)].palette);
	}
}

static int
write_memory(GifFileType *gif, const GifByteType *bytes, int n)
{
	vq_text_put(gif->UserData, bytes, (size_t)n);
	return n;
}

/* "NETSCAPE2.0" with a count of 0: again and again. */
static bool
put_loop(GifFileType *gif)
{
	static const uint8_t forever[] = { 1, 0, 0 };

	return EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
	    EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
	    EGifPutExtensionBlock(gif, sizeof(forever), forever) == GIF_OK && EGifPutExtensionTrailer(gif) == GIF_OK;
}

static bool
put_frame(GifFileType *gif, const struct palette *p, const struct vq_image *im, int delay_ms)
{
	int delay = delay_ms / 10;
	const uint8_t control[] = { 1 << 2 /* stays below the next */, (uint8_t)delay, (uint8_t)(delay >> 8), 0 };
	uint8_t *line = vq_alloc((size_t)im->w);
	bool ok = EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, sizeof(control), control) == GIF_OK &&
	    EGifPutImageDesc(gif, 0, 0, im->w, im->h, false, NULL) == GIF_OK;

	for (int y = 0; y < im->h && ok; y++) {
		indices(p, im, y, line);
		ok = EGifPutLine(gif, line, im->w) == GIF_OK;
	}
	free(line);
	return ok;
}

int
vq_gif_write(const char *path, const struct vq_image *frame, const int *delay_ms, int n, struct vq_diags *d)
{
	int bits = 1, error = 0, rc = -1;
	struct vq_text file = { 0 };
	struct palette p;

	vq_assert(n > 0);
	for (int f = 1; f < n; f++)
		vq_assert(frame[f].w == frame[0].w && frame[f].h == frame[0].h &&
		    frame[f].channels == frame[0].channels);
	make_palette(&p, frame, n);
	while (1 << bits < p.n)
		bits++;
	GifFileType *gif = EGifOpen(&file, write_memory, &error);
	ColorMapObject *map = GifMakeMapObject(1 << bits, NULL);
	bool ok = gif && map;
	for (int i = 0; ok && i < p.n; i++)
		map->Colors[i] = (GifColorType){ p.rgb[i][0], p.rgb[i][1], p.rgb[i][2] };
	if (ok) {
		EGifSetGifVersion(gif, true);		/* 89a: the one with extensions */
		ok = EGifPutScreenDesc(gif, frame[0].w, frame[0].h, bits, 0, map) == GIF_OK && put_loop(gif);
	}
	for (int f = 0; f < n && ok; f++)
		ok = put_frame(gif, &p, &frame[f], delay_ms[f]);
	if (gif && !ok)
		error = gif->Error;
	if (gif && EGifCloseFile(gif, ok ? &error : NULL) != GIF_OK)
		ok = false;
	GifFreeMapObject(map);
	const char *why = GifErrorString(error);
	if (ok)
		rc = vq_file_write(path, file.s, file.len, d);
	else
		vq_error(d, VQ_FAILED, NULL, "%s: giflib cannot write it: %s", path, why ? why : "no reason is given");
	free_palette(&p);
	vq_text_free(&file);
	return rc;
}
