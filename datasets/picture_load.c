/*
 * picture_load -- the pictures of a list, decoded to one piece of memory
 *
 * Sizes are judged from the head of the first picture, with resize from those of all, before memory is asked for;
 * then all are decoded, on all threads, each to its place.
 */
#include <stdlib.h>
#include <string.h>

#include "datasets/images.h"
#include "datasets/kept.h"
#include "datasets/picture.h"
#include "datasets/picture_files.h"
#include "datasets/pictures.h"
#include "datasets/resize.h"
#include "engine/threads.h"

enum { BAD_SHOWN = 10 };

struct work {
	const struct vq_dataset *set;
	const struct vq_data_spec *spec;
	const struct vq_picture_files *list;
	int64_t first, n;		/* the part of the list that is wanted */
	int64_t h, w, c;		/* of all pictures, as they come out */
	bool any_size, any_colour;	/* the spec says which: they need not be alike */
	struct vq_room *room;		/* for all pixels */
	struct vq_window *window;	/* resize: of each picture, larger than h x w */
	int64_t sum, squares;		/* of pixels */
	char **bad;			/* why sample i cannot be read, or NULL */
	struct vq_diags *diags;
};

/* --- sizes ------------------------------------------------------------------- */

/* Which picture, and why it cannot be read. */
static void
add_bad(const struct work *k, struct vq_text *to, int64_t index, const char *why, const char *end)
{
	const struct vq_picture_file *f = &k->list->file[index];
	char *place = vq_picture_file_place(k->list, f);

	vq_text_add(to, "%s%s %s%s", place, f->name, why, end);
	free(place);
}

/* reasons: a line for each of the first ones. */
static void
report_none(const struct work *k, const char *reasons)
{
	struct vq_diag *e = vq_error(k->diags, VQ_DATA, k->spec->at, "%s: none of the %lld pictures of the split %s can be "
	    "read", k->list->path, (long long)k->n, k->set->split);

	while (*reasons != '\0') {
		int len = (int)strcspn(reasons, "\n");

		vq_detail(e, NULL, "%.*s", len, reasons);
		reasons += len + 1;
	}
}

/* Of the first picture that can be read, and what the spec makes of it. */
static int
find_size(struct work *k)
{
	struct vq_picture_reader *r = vq_picture_reader_new(k->list, k->first, k->n, k->diags);
	struct vq_decoder *decoder = vq_decoder_new();
	struct vq_text bad = { 0 };
	struct vq_picture p = { 0 };
	uint8_t *bytes = NULL;
	size_t cap = 0, size;
	char why[VQ_WHY];
	int64_t index = 0, tried = 0;

	while (k->c == 0 && vq_picture_reader_next(r, &index, &bytes, &cap, &size, why) > 0) {
		if (why[0] == '\0' && vq_picture_head(decoder, bytes, size, &p, why) == 0)
			k->h = p.h, k->w = p.w, k->c = p.c;
		else if (tried++ < BAD_SHOWN)
			add_bad(k, &bad, index, why, "\n");
	}
	if (vq_picture_reader_end(r) == 0 && k->c == 0)
		report_none(k, bad.s);
	vq_text_free(&bad);
	free(bytes);
	vq_decoder_free(decoder);
	if (k->c == 0)
		return -1;
	k->any_size = k->spec->size.count > 0;
	k->any_colour = k->spec->channels > 0;
	return vq_images_size(k->spec, k->list->path, &k->h, &k->w, &k->c, k->diags);
}

/* What resize makes of a picture; false when that is no picture any more. */
static bool
enlarged(const struct work *k, const struct vq_picture *p, struct vq_window *to, char why[VQ_WHY])
{
	int64_t h = p->h, w = p->w;

	vq_images_enlarged(k->spec, &h, &w);
	if (h * w > VQ_PICTURE_PIXELS) {
		snprintf(why, VQ_WHY, "is %lld x %lld: with a shorter side of %lld it is too large", (long long)p->h, (long long)p->w,
		    (long long)k->spec->resize);
		return false;
	}
	to->h = (int32_t)h;
	to->w = (int32_t)w;
	return true;
}

static void
measure_some(struct work *k, struct vq_picture_reader *r)
{
	struct vq_decoder *decoder = vq_decoder_new();
	struct vq_picture p;
	uint8_t *bytes = NULL;
	size_t cap = 0, size;
	char why[VQ_WHY];
	int64_t index = 0;

	/* What is wrong is said when they are decoded. */
	while (vq_picture_reader_next(r, &index, &bytes, &cap, &size, why) > 0)
		if (why[0] == '\0' && vq_picture_head(decoder, bytes, size, &p, why) == 0)
			enlarged(k, &p, &k->window[index - k->first], why);
	free(bytes);
	vq_decoder_free(decoder);
}

/* The sizes of all pictures, from their heads; how many bytes they take, -1 after an error. */
static int64_t
measure(struct work *k)
{
	struct vq_picture_reader *r = vq_picture_reader_new(k->list, k->first, k->n, k->diags);
	int64_t at = 0;

	k->window = vq_alloc_array((size_t)k->n, sizeof(*k->window));
#pragma omp parallel num_threads(vq_threads())
	measure_some(k, r);
	if (vq_picture_reader_end(r) < 0)
		return -1;
	for (int64_t i = 0; i < k->n; i++) {
		k->window[i].at = at;
		at += (int64_t)k->window[i].h * k->window[i].w * k->c;
	}
	return at;
}

static int
make_room(struct work *k)
{
	int64_t bytes = k->spec->resize > 0 ? measure(k) : k->n * k->h * k->w * k->c;

	if (bytes < 0)
		return -1;
	k->room = vq_kept_room(k->spec, k->list->path, k->n, bytes, true, k->diags);
	k->bad = vq_alloc_array((size_t)k->n, sizeof(*k->bad));
	return k->room != NULL ? 0 : -1;
}

/* --- decoding ---------------------------------------------------------------- */

static bool
fits(const struct work *k, const struct vq_picture *p, char why[VQ_WHY])
{
	if (!k->any_size && (p->h != k->h || p->w != k->w))
		snprintf(why, VQ_WHY, "is %lld x %lld, where the first is %lld x %lld (size: [H, W] makes them alike)",
		    (long long)p->h, (long long)p->w, (long long)k->h, (long long)k->w);
	else if (!k->any_colour && p->c != k->c)
		snprintf(why, VQ_WHY, "is %s, where the first is %s (channels: makes them alike)",
		    p->c == 1 ? "grey" : "in colour", k->c == 1 ? "grey" : "in colour");
	else
		return true;
	return false;
}

/* One picture to its place, its pixels added up. */
static bool
place(struct work *k, struct vq_resizer *resizer, const struct vq_picture *p, int64_t i, char why[VQ_WHY])
{
	int64_t each = k->h * k->w * k->c, sum, squares;
	uint8_t *to = k->room->bytes + i * each;

	if (k->window != NULL) {
		struct vq_window now = k->window[i];

		if (!enlarged(k, p, &now, why))
			return false;
		if (now.h != k->window[i].h || now.w != k->window[i].w) {
			snprintf(why, VQ_WHY, "changed while it was read");
			return false;
		}
		vq_resizer_whole(resizer, now.h, now.w);
		each = (int64_t)now.h * now.w * k->c;
		to = k->room->bytes + now.at;
	}
	vq_resize_u8(resizer, p->pixel, p->h, p->w, p->c, to);
	vq_images_sums(to, each, &sum, &squares);
#pragma omp atomic
	k->sum += sum;
#pragma omp atomic
	k->squares += squares;
	return true;
}

static void
decode_some(struct work *k, struct vq_picture_reader *r)
{
	struct vq_resizer *resizer = vq_resizer_new(k->any_size ? k->h : 0, k->any_size ? k->w : 0, k->c,
	    k->spec->interpolation);
	struct vq_decoder *decoder = vq_decoder_new();
	uint8_t *bytes = NULL;
	size_t cap = 0, size;
	char why[VQ_WHY];
	int64_t index = 0;

	while (vq_picture_reader_next(r, &index, &bytes, &cap, &size, why) > 0) {
		struct vq_picture p;
		int64_t i = index - k->first;

		if (why[0] != '\0' || vq_picture_decode(decoder, bytes, size, &p, why) < 0 || !fits(k, &p, why) ||
		    !place(k, resizer, &p, i, why))
			k->bad[i] = vq_strdup(why);
		if (k->spec->reading != NULL)
			__atomic_add_fetch(&k->spec->reading->done, 1, __ATOMIC_RELAXED);
	}
	free(bytes);
	vq_decoder_free(decoder);
	vq_resizer_free(resizer);
}

static int
decode(struct work *k)
{
	struct vq_picture_reader *r = vq_picture_reader_new(k->list, k->first, k->n, k->diags);

	if (k->spec->reading != NULL)
		__atomic_store_n(&k->spec->reading->total, k->n, __ATOMIC_RELAXED);
#pragma omp parallel num_threads(vq_threads())
	decode_some(k, r);
	return vq_picture_reader_end(r);
}

/* --- pictures that cannot be read -------------------------------------------- */

static int
report_empty_class(const struct work *k)
{
	struct vq_diag *e;

	if (k->list->empty == NULL || k->spec->bad == VQ_BAD_SKIP)
		return 0;
	e = vq_error(k->diags, VQ_DATA, k->spec->at, "%s: the class %s has a folder in the split %s, but no picture",
	    k->list->path, k->list->empty, k->set->split);
	vq_help(e, "remove the folder, or bad: skip goes on without");
	return -1;
}

/* What was left out, for the log. */
static char *
skipped_note(const struct work *k, int64_t bad)
{
	struct vq_text t = { 0 };
	int shown = 0;

	vq_text_add(&t, "%s:%s: left out %lld of %lld pictures that cannot be read", k->set->name, k->set->split,
	    (long long)bad, (long long)k->n);
	for (int64_t i = 0; i < k->n && shown < BAD_SHOWN; i++)
		if (k->bad[i] != NULL)
			vq_text_add(&t, "%s ", shown++ > 0 ? ";" : ":"), add_bad(k, &t, k->first + i, k->bad[i], "");
	vq_text_add(&t, "%s", bad > shown ? "; ..." : "");
	return t.s;
}

static int
report_bad(const struct work *k, int64_t bad)
{
	struct vq_diag *e = vq_error(k->diags, VQ_DATA, k->spec->at, "%s: %lld of %lld pictures of the split %s cannot be "
	    "read", k->list->path, (long long)bad, (long long)k->n, k->set->split);
	struct vq_text line = { 0 };
	int shown = 0;

	for (int64_t i = 0; i < k->n && shown < BAD_SHOWN; i++)
		if (k->bad[i] != NULL) {
			line.len = 0;
			add_bad(k, &line, k->first + i, k->bad[i], "");
			vq_detail(e, NULL, "%s", line.s);
			shown++;
		}
	vq_text_free(&line);
	if (bad > shown)
		vq_detail(e, NULL, "and %lld more", (long long)bad - shown);
	vq_help(e, "bad: skip leaves such pictures out");
	return -1;
}

/* The label of file i to the place of sample n. */
static void
take_label(const struct work *k, struct vq_raw_images *raw, int64_t n, int64_t i)
{
	const struct vq_picture_file *f = &k->list->file[k->first + i];
	size_t width = (size_t)raw->label_width;

	if (raw->labels != NULL && width > 0)
		memcpy(raw->labels + (size_t)n * width, k->list->row + (size_t)f->label * width, width * sizeof(*raw->labels));
	else if (raw->labels != NULL)
		raw->labels[n] = f->label;
}

/* Closes the gaps that bad pictures leave, or refuses; labels go into raw. */
static int
settle(struct work *k, struct vq_dataset *d, struct vq_raw_images *raw)
{
	size_t each = (size_t)(k->h * k->w * k->c);
	int64_t bad = 0, kept = 0, width = k->list->label_width;

	for (int64_t i = 0; i < k->n; i++)
		bad += k->bad[i] != NULL;
	if (bad > 0 && (k->spec->bad == VQ_BAD_FAIL || bad == k->n))
		return report_bad(k, bad);
	raw->label_width = width > 0 ? width : 0;
	if (width != VQ_LABEL_NONE)
		raw->labels = vq_alloc_array((size_t)k->n, (size_t)(width > 0 ? width : 1) * sizeof(*raw->labels));
	for (int64_t i = 0; i < k->n; i++) {
		if (k->bad[i] != NULL)
			continue;
		if (kept < i && k->window != NULL)
			k->window[kept] = k->window[i];
		else if (kept < i)
			memcpy(k->room->bytes + (size_t)kept * each, k->room->bytes + (size_t)i * each, each);
		take_label(k, raw, kept++, i);
	}
	if (bad > 0)
		d->note = skipped_note(k, bad);
	raw->n = kept;
	if (k->window == NULL)
		k->room->size = kept * (int64_t)each;
	return 0;
}

static int
load(struct work *k, struct vq_dataset *d, struct vq_raw_images *raw)
{
	if (report_empty_class(k) < 0 || find_size(k) < 0 || make_room(k) < 0 || decode(k) < 0 || settle(k, d, raw) < 0)
		return -1;
	raw->pixels = k->room->bytes;
	raw->room = k->room;
	raw->window = k->window;
	raw->sum = k->sum;
	raw->squares = k->squares;
	k->room = NULL;
	k->window = NULL;
	raw->h = k->h;
	raw->w = k->w;
	raw->c = k->c;
	return 0;
}

int
vq_pictures_load(struct vq_dataset *d, const struct vq_data_spec *spec, const struct vq_picture_files *l, int64_t first,
    int64_t n, struct vq_raw_images *raw, struct vq_diags *diags)
{
	struct work k = { .set = d, .spec = spec, .list = l, .first = first, .n = n, .diags = diags };
	int rc = load(&k, d, raw);

	for (int64_t i = 0; k.bad != NULL && i < k.n; i++)
		free(k.bad[i]);
	free(k.bad);
	free(k.window);
	vq_room_free(k.room);
	return rc;
}
