/*
 * images -- labelled pictures of one size, kept in memory
 */
#include "datasets/images.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "datasets/resize.h"
#include "datasets/sha256.h"
#include "engine/rng.h"
#include "engine/threads.h"

struct images {
	uint8_t *pixels;		/* owned: the whole split, this or values */
	void *map;			/* what pixels are in, when they are mapped */
	size_t mapped;
	float *values;
	int64_t n;			/* in memory */
	int64_t sum, squares;		/* of all of them */
	int32_t *labels;
	const char **class_name;
	int64_t first;			/* of the part in use */
	int64_t h, w, c, label_width;
	int64_t crop;			/* pixels of padding that a random window is cut from */
	bool flip;
	float value[256];		/* what a byte is delivered as */
	float pad;			/* around a picture */
};

enum { IMAGE, LABEL };

/* Exact: of integers; a block is short enough for 32-bit sums. */
static void
sums_of(const uint8_t *u, int64_t n, int64_t *sum, int64_t *squares)
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

int
vq_images_fit(const struct vq_data_spec *spec, const char *path, int64_t n, int64_t h, int64_t w, int64_t bytes,
    struct vq_diags *diags)
{
	int64_t have = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);

	if (n <= have / bytes)
		return 0;
	vq_help(vq_error(diags, VQ_DATA, spec->at, "%s: %lld pictures of %lld x %lld take %.3g GB, more than the memory of "
	    "this machine (%.3g GB)", path, (long long)n, (long long)h, (long long)w, (double)n * (double)bytes / 1e9,
	    (double)have / 1e9), "size: [HEIGHT, WIDTH] makes them smaller, limit: N takes the first N of them");
	return -1;
}

/* Numbers of one label. */
static int64_t
each_label(const struct images *m)
{
	return m->label_width > 0 ? m->label_width : 1;
}

static void
free_pixels(struct images *m)
{
	if (m->map != NULL)
		munmap(m->map, m->mapped);
	else
		free(m->pixels);
	m->map = NULL;
	m->pixels = NULL;
}

/* Pictures m->first and the next n, brought to h x w x c; they are the only ones then. */
static void
resize(struct images *m, const struct vq_data_spec *spec, int64_t n, int64_t h, int64_t w, int64_t c)
{
	int64_t from = m->h * m->w * m->c, to = h * w * c, first = m->first;
	bool scale = spec->size.count > 0;
	uint8_t *pixels = m->pixels != NULL ? vq_alloc_array((size_t)n, (size_t)to) : NULL;
	float *values = m->values != NULL ? vq_alloc_array((size_t)n, (size_t)to * sizeof(*values)) : NULL;

#pragma omp parallel num_threads(vq_threads())
	{
		struct vq_resizer *r = vq_resizer_new(scale ? h : 0, scale ? w : 0, c, spec->interpolation);

#pragma omp for schedule(static)
		for (int64_t i = 0; i < n; i++)
			if (pixels != NULL)
				vq_resize_u8(r, m->pixels + (first + i) * from, m->h, m->w, m->c, pixels + i * to);
			else
				vq_resize_f32(r, m->values + (first + i) * from, m->h, m->w, m->c, values + i * to);
		vq_resizer_free(r);
	}
	free_pixels(m);
	free(m->values);
	m->pixels = pixels;
	m->values = values;
	if (m->labels != NULL)
		memmove(m->labels, m->labels + first * each_label(m), (size_t)(n * each_label(m)) * sizeof(*m->labels));
	m->first = 0;
	m->n = n;
	m->squares = 0;
	m->h = h;
	m->w = w;
	m->c = c;
}

/* --- opening ----------------------------------------------------------------- */

static void
set_fields(struct vq_dataset *d, const struct images *m)
{
	d->field[IMAGE].name = "image";
	d->field[IMAGE].type = vq_type_of(VQ_F32, 3, (const int64_t[]){ m->h, m->w, m->c });
	d->fields = 1;
	if (m->labels == NULL)
		return;
	d->field[LABEL].name = "label";
	d->field[LABEL].type = vq_type_of(VQ_I32, m->label_width > 0, &m->label_width);
	d->fields = 2;
}

/* Size, channels and augmentation. */
static int
prepare(struct images *m, const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t count,
    struct vq_diags *diags)
{
	int64_t h = m->h, w = m->w, c = m->c;

	if (vq_images_size(spec, d->where, &h, &w, &c, diags) < 0)
		return -1;
	if (h != m->h || w != m->w || c != m->c) {
		int64_t bytes = h * w * c * (m->pixels != NULL ? 1 : (int64_t)sizeof(float));

		if (vq_images_fit(spec, d->where, count, h, w, bytes, diags) < 0)
			return -1;
		resize(m, spec, count, h, w, c);
	}
	if (spec->crop >= h || spec->crop >= w) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: crop = %lld is as large as the pictures, %lld x %lld",
		    (long long)spec->crop, (long long)h, (long long)w);
		return -1;
	}
	m->crop = spec->crop;
	m->flip = spec->flip;
	for (int u = 0; u < 256; u++)
		m->value[u] = (float)(spec->lo + (spec->hi - spec->lo) * u / 255);
	m->pad = (float)spec->lo;
	return 0;
}

/* Of the part in use, whose sums are known when it is the whole. */
static double
variance(struct images *m, int64_t count, int64_t size, const struct vq_data_spec *spec)
{
	int64_t sum = m->sum, squares = m->squares;

	if (count < m->n || squares == 0)
		sums_of(m->pixels + m->first * size, count * size, &sum, &squares);
	if (count == m->n) {
		m->sum = sum;
		m->squares = squares;
	}
	return variance_of(sum, squares, count * size, spec->lo, spec->hi);
}

int
vq_images_open(struct vq_dataset *d, const struct vq_data_spec *spec,
    const struct vq_raw_images *raw, struct vq_diags *diags)
{
	struct images *m = vq_alloc(sizeof(*m));
	int64_t count;

	d->own = m;
	m->pixels = raw->pixels;
	m->map = raw->map;
	m->mapped = raw->mapped;
	m->n = raw->n;
	m->sum = raw->sum;
	m->squares = raw->squares;
	m->values = raw->values;
	m->labels = raw->labels;
	m->label_width = raw->label_width;
	m->class_name = raw->class_name;
	if (raw->class_name != NULL)
		d->class_name = raw->class_name;
	m->h = raw->h;
	m->w = raw->w;
	m->c = raw->c;
	count = vq_images_part(d, spec, raw->n, &m->first, diags);
	if (count < 0 || prepare(m, d, spec, count, diags) < 0) {
		vq_images_close(d);
		return -1;
	}

	int64_t size = m->h * m->w * m->c;

	d->count = count;
	set_fields(d, m);
	d->classes = raw->classes;
	d->lo = spec->lo;
	d->hi = spec->hi;
	d->variance = m->pixels != NULL ? variance(m, count, size, spec) :
	    variance_of_values(m->values + m->first * size, count * size);
	return 0;
}

void
vq_images_raw(const struct vq_dataset *d, struct vq_raw_images *raw)
{
	const struct images *m = d->own;

	*raw = (struct vq_raw_images){
		.pixels = m->pixels, .values = m->values, .labels = m->labels, .n = m->n, .h = m->h, .w = m->w, .c = m->c,
		.label_width = m->label_width, .classes = d->classes, .class_name = m->class_name,
		.map = m->map, .mapped = m->mapped, .sum = m->sum, .squares = m->squares,
	};
}

/* --- gathering --------------------------------------------------------------- */

static void
gather_labels(const struct images *m, const uint32_t *index, int64_t n, int32_t *out)
{
	int64_t each = each_label(m);

	for (int64_t i = 0; i < n; i++)
		memcpy(out + i * each, m->labels + (m->first + index[i]) * each, (size_t)each * sizeof(*out));
}

void
vq_images_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	const struct images *m = d->own;
	int64_t size = m->h * m->w * m->c;
	float *x = out;

	if (f == LABEL) {
		gather_labels(m, index, n, out);
		return;
	}
	for (int64_t i = 0; i < n; i++, x += size) {
		int64_t from = (m->first + index[i]) * size;

		if (m->values != NULL)
			memcpy(x, m->values + from, (size_t)size * sizeof(*x));
		for (int64_t k = 0; m->pixels != NULL && k < size; k++)
			x[k] = m->value[m->pixels[from + k]];
	}
}

/* A picture seen through a window of its size that is moved down by dy and right by
 * dx, mirrored where flip; m->pad shows beyond its edges. */
static void
through_window(const struct images *m, int64_t sample, int64_t dy, int64_t dx, bool flip, float *out)
{
	int64_t at = sample * m->h * m->w * m->c;

	for (int64_t y = 0; y < m->h; y++)
		for (int64_t x = 0; x < m->w; x++) {
			int64_t sy = y + dy, sx = (flip ? m->w - 1 - x : x) + dx;
			bool in = sy >= 0 && sy < m->h && sx >= 0 && sx < m->w;
			int64_t from = at + (sy * m->w + sx) * m->c;

			for (int64_t k = 0; k < m->c; k++)
				*out++ = !in ? m->pad : m->values != NULL ? m->values[from + k] :
				    m->value[m->pixels[from + k]];
		}
}

void
vq_images_augmented(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
    const struct vq_pass *pass, void *out)
{
	const struct images *m = d->own;
	const struct vq_rng_key key = { pass->seed, vq_hash_str("augment"), pass->epoch };
	int64_t size = m->h * m->w * m->c;
	uint64_t places = 2 * (uint64_t)m->crop + 1;
	float *x = out;

	if (f == LABEL || (m->crop == 0 && !m->flip)) {
		vq_images_gather(d, f, index, n, out);
		return;
	}
	for (int64_t i = 0; i < n; i++, x += size) {
		uint64_t draw = 4 * (uint64_t)index[i];
		int64_t dy = (int64_t)vq_rng_below(&key, draw, places) - m->crop;
		int64_t dx = (int64_t)vq_rng_below(&key, draw + 1, places) - m->crop;

		through_window(m, m->first + index[i], dy, dx, m->flip && vq_rng_below(&key, draw + 2, 2), x);
	}
}

void
vq_images_digest(const struct vq_dataset *d, char hex[65])
{
	const struct images *m = d->own;
	size_t size = (size_t)(m->h * m->w * m->c), n = (size_t)d->count, first = (size_t)m->first;
	const int64_t shape[] = { d->count, m->h, m->w, m->c };
	const struct vq_bytes piece[] = {
		{ shape, sizeof(shape) },
		{ m->pixels != NULL ? (const void *)(m->pixels + first * size) : m->values + first * size,
		  n * size * (m->pixels != NULL ? 1 : sizeof(*m->values)) },
		{ m->labels != NULL ? m->labels + first * (size_t)each_label(m) : NULL,
		  m->labels != NULL ? n * (size_t)each_label(m) * sizeof(*m->labels) : 0 },
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
	free(m->values);
	free(m->labels);
	if (m->class_name != NULL)
		d->class_name = NULL;
	free(m->class_name);
	free(m);
	d->own = NULL;
}
