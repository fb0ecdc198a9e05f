/*
 * images -- labelled pictures of one size, kept in memory
 */
#include "datasets/images.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/kept.h"
#include "datasets/resize.h"
#include "datasets/sha256.h"
#include "engine/rng.h"
#include "engine/threads.h"

struct images {
	struct vq_raw_images raw;	/* owned: what is in memory, in the size and channels that are delivered */
	int64_t first;			/* of the part in use */
	int64_t crop;			/* pixels of padding that a random window is cut from */
	bool flip;
	float value[256];		/* what a byte is delivered as */
	float pad;			/* around a picture */
};

enum { IMAGE, LABEL };

/* Exact: of integers; a block is short enough for 32-bit sums. */
void
vq_images_sums(const uint8_t *u, int64_t n, int64_t *sum, int64_t *squares)
{
	enum { BLOCK = 1 << 14 };

	*sum = *squares = 0;

	for (int64_t at = 0; at < n; at += BLOCK) {
		int64_t end = at + BLOCK < n ? at + BLOCK : n;
		uint32_t s = 0, q = 0;

#pragma omp simd reduction(+ : s, q)
		for (int64_t i = at; i < end; i++) {
			s += u[i];
			q += (uint32_t)u[i] * u[i];
		}
		*sum += s;
		*squares += q;
	}
}

/* Of values lo + (hi - lo) * u / 255, from the sums of n bytes u. */
static double
variance_of(int64_t sum, int64_t squares, int64_t n, double lo, double hi)
{
	long double mean = (long double)sum / n;
	long double scale = ((long double)hi - lo) / 255;

	return (double)(((long double)squares / n - mean * mean) * scale * scale);
}

int64_t
vq_images_part(const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t n,
    int64_t *first, struct vq_diags *diags)
{
	if (!isfinite(spec->lo) || !isfinite(spec->hi) || !(spec->lo < spec->hi)) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: the range of the image goes from lo = %g to hi = %g; "
		    "lo must be less", spec->lo, spec->hi);
		return -1;
	}
	if (spec->skip < 0 || spec->limit < 0) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: skip and limit must be at least 0");
		return -1;
	}
	if (spec->skip >= n) {
		vq_error(diags, VQ_CONFIG, spec->at,
		    "data: skip = %lld leaves nothing of %s:%s, which has %lld samples", (long long)spec->skip, d->name, d->split, (long long)n);
		return -1;
	}
	*first = spec->skip;
	n -= spec->skip;
	return spec->limit > 0 && spec->limit < n ? spec->limit : n;
}

/* Of the values themselves. */
static double
variance_of_values(const float *x, int64_t n)
{
	double mean = 0, sum = 0;

	for (int64_t i = 0; i < n; i++)
		mean += x[i];
	mean /= (double)n;
	for (int64_t i = 0; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum / (double)n;
}

/* --- sizes ------------------------------------------------------------------- */

int
vq_images_size(const struct vq_data_spec *spec, const char *path, int64_t *h, int64_t *w, int64_t *c,
    struct vq_diags *diags)
{
	const struct vq_ints *size = &spec->size;

	if (size->count > 0) {
		*h = size->v[0];
		*w = size->v[size->count > 1];
	}
	if (spec->channels == 0 || spec->channels == *c)
		return 0;
	if (*c != 1 && *c != 3) {
		vq_error(diags, VQ_DATA, spec->at, "%s: pictures of %lld channels cannot be made pictures of %lld; those of 1 "
		    "and 3 can", path, (long long)*c, (long long)spec->channels);
		return -1;
	}
	*c = spec->channels;
	return 0;
}

/* As torchvision's Resize of one number. */
void
vq_images_enlarged(const struct vq_data_spec *spec, int64_t *h, int64_t *w)
{
	int64_t side = spec->resize, is_h = *h, is_w = *w;

	*h = is_h <= is_w ? side : side * is_h / is_w;
	*w = is_w <= is_h ? side : side * is_w / is_h;
}

int64_t
vq_images_bytes(const struct vq_raw_images *raw)
{
	return raw->room != NULL ? raw->room->size : raw->n * raw->h * raw->w * raw->c;
}

/* Numbers of one label. */
static int64_t
each_label(const struct images *m)
{
	return m->raw.label_width > 0 ? m->raw.label_width : 1;
}

static void
free_pixels(struct images *m)
{
	if (m->raw.room != NULL) {
		vq_room_free(m->raw.room);
	} else {
		free(m->raw.pixels);
		free(m->raw.values);
	}
	m->raw.room = NULL;
	m->raw.pixels = NULL;
	m->raw.values = NULL;
}

/* Pictures m->first and the next n, brought to h x w x c in room; they are the only ones then. */
static void
resize(struct images *m, const struct vq_data_spec *spec, int64_t n, int64_t h, int64_t w, int64_t c, struct vq_room *room)
{
	int64_t from = m->raw.h * m->raw.w * m->raw.c, to = h * w * c, first = m->first;
	bool bytes = m->raw.pixels != NULL, scale = spec->size.count > 0;
	float *values = (float *)room->bytes;

#pragma omp parallel num_threads(vq_threads())
	{
		struct vq_resizer *r = vq_resizer_new(scale ? h : 0, scale ? w : 0, c, spec->interpolation);

		if (spec->resize > 0)
			vq_resizer_whole(r, h, w);
#pragma omp for schedule(static)
		for (int64_t i = 0; i < n; i++)
			if (bytes)
				vq_resize_u8(r, m->raw.pixels + (first + i) * from, m->raw.h, m->raw.w, m->raw.c, room->bytes + i * to);
			else
				vq_resize_f32(r, m->raw.values + (first + i) * from, m->raw.h, m->raw.w, m->raw.c, values + i * to);
		vq_resizer_free(r);
	}
	free_pixels(m);
	m->raw.room = room;
	m->raw.pixels = bytes ? room->bytes : NULL;
	m->raw.values = bytes ? NULL : values;
	if (m->raw.labels != NULL)
		memmove(m->raw.labels, m->raw.labels + first * each_label(m), (size_t)(n * each_label(m)) * sizeof(*m->raw.labels));
	m->first = 0;
	m->raw.n = n;
	m->raw.squares = 0;
	m->raw.h = h;
	m->raw.w = w;
	m->raw.c = c;
}

/* Brings the pictures that are used to the size and channels of the spec, where they are not of it. */
static int
fit(struct images *m, const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t count, struct vq_diags *diags)
{
	int64_t h = m->raw.h, w = m->raw.w, c = m->raw.c, window_h, window_w;
	struct vq_room *room;

	if (vq_images_size(spec, d->where, &h, &w, &c, diags) < 0)
		return -1;
	if (m->raw.window != NULL)		/* they were made so when they were read */
		return 0;
	window_h = h;
	window_w = w;
	if (spec->resize > 0) {
		h = m->raw.h;
		w = m->raw.w;
		vq_images_enlarged(spec, &h, &w);
	}
	if (h == m->raw.h && w == m->raw.w && c == m->raw.c && h == window_h && w == window_w)
		return 0;
	/* Values are not kept. */
	room = vq_kept_room(spec, d->where, count, count * h * w * c * (m->raw.pixels != NULL ? 1 : (int64_t)sizeof(float)),
	    d->files > 0 && m->raw.pixels != NULL, diags);
	if (room == NULL)
		return -1;
	resize(m, spec, count, h, w, c, room);
	if (spec->resize == 0)
		return 0;
	m->raw.window = vq_alloc_array((size_t)count, sizeof(*m->raw.window));
	for (int64_t i = 0; i < count; i++)
		m->raw.window[i] = (struct vq_window){ i * h * w * c, (int32_t)h, (int32_t)w };
	m->raw.h = window_h;
	m->raw.w = window_w;
	return 0;
}

/* --- opening ----------------------------------------------------------------- */

static void
set_fields(struct vq_dataset *d, const struct images *m)
{
	d->field[IMAGE].name = "image";
	d->field[IMAGE].type = vq_type_of(VQ_F32, 3, (const int64_t[]){ m->raw.h, m->raw.w, m->raw.c });
	d->fields = 1;
	if (m->raw.labels == NULL)
		return;
	d->field[LABEL].name = "label";
	d->field[LABEL].type = vq_type_of(VQ_I32, m->raw.label_width > 0, &m->raw.label_width);
	d->fields = 2;
}

/* Size, channels and augmentation. */
static int
prepare(struct images *m, const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t count,
    struct vq_diags *diags)
{
	if (spec->window.count > 0) {
		vq_help(vq_error(diags, VQ_CONFIG, spec->at, "data: window is of codes, and %s is of pictures", d->name),
		    "resize and size together are a window of a picture");
		return -1;
	}
	if (fit(m, d, spec, count, diags) < 0)
		return -1;
	if (spec->crop >= m->raw.h || spec->crop >= m->raw.w) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: crop = %lld is as large as the pictures, %lld x %lld",
		    (long long)spec->crop, (long long)m->raw.h, (long long)m->raw.w);
		return -1;
	}
	m->crop = spec->crop;
	m->flip = spec->flip;
	for (int u = 0; u < 256; u++)
		m->value[u] = (float)(spec->lo + (spec->hi - spec->lo) * u / 255);
	m->pad = (float)spec->lo;
	return 0;
}

/* Of the part in use, whose sums are known when it is the whole; with windows, of all that they may show. */
static double
variance(struct images *m, int64_t count, const struct vq_data_spec *spec)
{
	int64_t sum = 0, squares = 0, n = 0, size = m->raw.h * m->raw.w * m->raw.c;

	for (int64_t i = m->first; m->raw.window != NULL && i < m->first + count; i++) {
		int64_t each = (int64_t)m->raw.window[i].h * m->raw.window[i].w * m->raw.c, s = 0, q = 0;

		if (count < m->raw.n || m->raw.squares == 0)
			vq_images_sums(m->raw.pixels + m->raw.window[i].at, each, &s, &q);
		sum += s;
		squares += q;
		n += each;
	}
	if (m->raw.window == NULL) {
		n = count * size;
		if (count < m->raw.n || m->raw.squares == 0)
			vq_images_sums(m->raw.pixels + m->first * size, n, &sum, &squares);
	}
	if (count < m->raw.n)
		return variance_of(sum, squares, n, spec->lo, spec->hi);
	if (m->raw.squares == 0) {
		m->raw.sum = sum;
		m->raw.squares = squares;
	}
	return variance_of(m->raw.sum, m->raw.squares, n, spec->lo, spec->hi);
}

int
vq_images_open(struct vq_dataset *d, const struct vq_data_spec *spec,
    const struct vq_raw_images *raw, struct vq_diags *diags)
{
	struct images *m = vq_alloc(sizeof(*m));
	int64_t count;

	d->own = m;
	m->raw = *raw;
	if (raw->class_name != NULL)
		d->class_name = raw->class_name;
	count = vq_images_part(d, spec, raw->n, &m->first, diags);
	if (count < 0 || prepare(m, d, spec, count, diags) < 0) {
		vq_images_close(d);
		return -1;
	}

	int64_t size = m->raw.h * m->raw.w * m->raw.c;

	d->count = count;
	set_fields(d, m);
	d->classes = raw->classes;
	d->lo = spec->lo;
	d->hi = spec->hi;
	/* Windows on values lie one after the other, as they were made. */
	d->variance = m->raw.pixels != NULL ? variance(m, count, spec) : m->raw.window != NULL ?
	    variance_of_values(m->raw.values, m->raw.room->size / (int64_t)sizeof(float)) :
	    variance_of_values(m->raw.values + m->first * size, count * size);
	return 0;
}

void
vq_images_raw(const struct vq_dataset *d, struct vq_raw_images *raw)
{
	*raw = ((const struct images *)d->own)->raw;
}

/* --- gathering --------------------------------------------------------------- */

static void
gather_labels(const struct images *m, const uint32_t *index, int64_t n, int32_t *out)
{
	int64_t each = each_label(m);

	for (int64_t i = 0; i < n; i++)
		memcpy(out + i * each, m->raw.labels + (m->first + index[i]) * each, (size_t)each * sizeof(*out));
}

/* A picture seen through a window of m->raw.h x m->raw.w whose upper left corner is at (dy, dx), mirrored where flip; m->pad
 * shows beyond its edges. */
static void
through_window(const struct images *m, int64_t sample, int64_t dy, int64_t dx, bool flip, float *out)
{
	struct vq_window p = m->raw.window != NULL ? m->raw.window[sample] :
	    (struct vq_window){ sample * m->raw.h * m->raw.w * m->raw.c, (int32_t)m->raw.h, (int32_t)m->raw.w };

	for (int64_t y = 0; y < m->raw.h; y++)
		for (int64_t x = 0; x < m->raw.w; x++) {
			int64_t sy = y + dy, sx = (flip ? m->raw.w - 1 - x : x) + dx;
			bool in = sy >= 0 && sy < p.h && sx >= 0 && sx < p.w;
			int64_t from = p.at + (sy * p.w + sx) * m->raw.c;

			for (int64_t k = 0; k < m->raw.c; k++)
				*out++ = !in ? m->pad : m->raw.values != NULL ? m->raw.values[from + k] :
				    m->value[m->raw.pixels[from + k]];
		}
}

void
vq_images_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	const struct images *m = d->own;
	int64_t size = m->raw.h * m->raw.w * m->raw.c;
	float *x = out;

	if (f == LABEL) {
		gather_labels(m, index, n, out);
		return;
	}
	if (m->raw.window != NULL) {
		for (int64_t i = 0; i < n; i++, x += size) {
			const struct vq_window *p = &m->raw.window[m->first + index[i]];

			through_window(m, m->first + index[i], (p->h - m->raw.h) / 2, (p->w - m->raw.w) / 2, false, x);
		}
		return;
	}
	for (int64_t i = 0; i < n; i++, x += size) {
		int64_t from = (m->first + index[i]) * size;

		if (m->raw.values != NULL)
			memcpy(x, m->raw.values + from, (size_t)size * sizeof(*x));
		for (int64_t k = 0; m->raw.pixels != NULL && k < size; k++)
			x[k] = m->value[m->raw.pixels[from + k]];
	}
}

void
vq_images_augmented(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
    const struct vq_pass *pass, void *out)
{
	const struct images *m = d->own;
	const struct vq_rng_key key = { pass->seed, vq_hash_str("augment"), pass->epoch };
	int64_t size = m->raw.h * m->raw.w * m->raw.c;
	float *x = out;

	if (f == LABEL || (m->crop == 0 && !m->flip && m->raw.window == NULL)) {
		vq_images_gather(d, f, index, n, out);
		return;
	}
	for (int64_t i = 0; i < n; i++, x += size) {
		uint64_t draw = 4 * (uint64_t)index[i];
		const struct vq_window *p = m->raw.window != NULL ? &m->raw.window[m->first + index[i]] : NULL;
		int64_t down = p != NULL ? p->h - m->raw.h : 2 * m->crop, right = p != NULL ? p->w - m->raw.w : 2 * m->crop;
		int64_t dy = (int64_t)vq_rng_below(&key, draw, (uint64_t)down + 1) - m->crop;
		int64_t dx = (int64_t)vq_rng_below(&key, draw + 1, (uint64_t)right + 1) - m->crop;

		through_window(m, m->first + index[i], dy, dx, m->flip && vq_rng_below(&key, draw + 2, 2), x);
	}
}

void
vq_images_digest(const struct vq_dataset *d, char hex[65])
{
	const struct images *m = d->own;
	size_t n = (size_t)d->count, first = (size_t)m->first, each = m->raw.pixels != NULL ? 1 : sizeof(*m->raw.values);
	size_t size = (size_t)(m->raw.h * m->raw.w * m->raw.c), from = first * size, end = from + n * size;
	const int64_t shape[] = { d->count, m->raw.h, m->raw.w, m->raw.c };

	if (m->raw.window != NULL) {
		const struct vq_window *last = &m->raw.window[first + n - 1];

		from = (size_t)m->raw.window[first].at;
		end = (size_t)(last->at + (int64_t)last->h * last->w * m->raw.c);
	}

	const char *pixels = m->raw.pixels != NULL ? (const char *)m->raw.pixels : (const char *)m->raw.values;
	const struct vq_bytes piece[] = {
		{ shape, sizeof(shape) },
		{ pixels + from * each, (end - from) * each },
		{ m->raw.labels != NULL ? m->raw.labels + first * (size_t)each_label(m) : NULL,
		  m->raw.labels != NULL ? n * (size_t)each_label(m) * sizeof(*m->raw.labels) : 0 },
		{ m->raw.window != NULL ? m->raw.window + first : NULL, m->raw.window != NULL ? n * sizeof(*m->raw.window) : 0 },
	};

	vq_sha256_bytes(piece, (int)VQ_COUNT(piece), hex);
}

void
vq_images_close(struct vq_dataset *d)
{
	struct images *m = d->own;

	if (m == NULL)
		return;
	free_pixels(m);
	free(m->raw.window);
	free(m->raw.labels);
	if (m->raw.class_name != NULL)
		d->class_name = NULL;
	free(m->raw.class_name);
	free(m);
	d->own = NULL;
}
