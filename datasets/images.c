/*
 * images -- labelled 8-bit pictures of one size, kept in memory
 */
#include "datasets/images.h"

#include <math.h>
#include <stdlib.h>

struct images {
	uint8_t *pixels;		/* owned: the whole split */
	int32_t *labels;
	const char **class_name;
	const uint8_t *pixel;		/* the part in use */
	const int32_t *label;
	int64_t size;			/* values of one picture */
	float value[256];		/* what a byte is delivered as */
};

enum { IMAGE, LABEL };

/*
 * Of values lo + (hi - lo) * u / 255.  The sums are of integers, so they are exact;
 * a block is short enough for 32-bit sums.
 */
static double
variance_of(const uint8_t *u, int64_t n, double lo, double hi)
{
	enum { BLOCK = 1 << 14 };
	uint64_t sum = 0, squares = 0;

	for (int64_t at = 0; at < n; at += BLOCK) {
		int64_t end = at + BLOCK < n ? at + BLOCK : n;
		uint32_t s = 0, q = 0;

#pragma omp simd reduction(+ : s, q)
		for (int64_t i = at; i < end; i++) {
			s += u[i];
			q += (uint32_t)u[i] * u[i];
		}
		sum += s;
		squares += q;
	}

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

int
vq_images_open(struct vq_dataset *d, const struct vq_data_spec *spec,
    const struct vq_raw_images *raw, struct vq_diags *diags)
{
	int64_t first, count = vq_images_part(d, spec, raw->n, &first, diags);

	if (count < 0) {
		free(raw->pixels);
		free(raw->labels);
		free(raw->class_name);
		return -1;
	}

	struct images *m = vq_alloc(sizeof(*m));

	m->pixels = raw->pixels;
	m->labels = raw->labels;
	m->class_name = raw->class_name;
	if (raw->class_name != NULL)
		d->class_name = raw->class_name;
	m->size = raw->h * raw->w * raw->c;
	m->pixel = m->pixels + first * m->size;
	m->label = m->labels + first;
	for (int u = 0; u < 256; u++)
		m->value[u] = (float)(spec->lo + (spec->hi - spec->lo) * u / 255);

	d->own = m;
	d->count = count;
	d->field[IMAGE].name = "image";
	d->field[IMAGE].type = vq_type_of(VQ_F32, 3, (const int64_t[]){ raw->h, raw->w, raw->c });
	d->field[LABEL].name = "label";
	d->field[LABEL].type = vq_type_of(VQ_I32, 0, NULL);
	d->fields = 2;
	d->classes = raw->classes;
	d->lo = spec->lo;
	d->hi = spec->hi;
	d->variance = variance_of(m->pixel, count * m->size, spec->lo, spec->hi);
	return 0;
}

void
vq_images_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	const struct images *m = d->own;

	if (f == LABEL) {
		int32_t *y = out;

		for (int64_t i = 0; i < n; i++)
			y[i] = m->label[index[i]];
		return;
	}

	float *x = out;

	for (int64_t i = 0; i < n; i++) {
		const uint8_t *u = m->pixel + index[i] * m->size;

		for (int64_t k = 0; k < m->size; k++)
			*x++ = m->value[u[k]];
	}
}

void
vq_images_close(struct vq_dataset *d)
{
	struct images *m = d->own;

	if (m == NULL)
		return;
	free(m->pixels);
	free(m->labels);
	free(m->class_name);
	free(m);
	d->own = NULL;
}
