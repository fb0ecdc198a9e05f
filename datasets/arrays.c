/*
 * arrays -- sets that are made of arrays: pictures with labels, or codes
 *
 * A set with an image is one of images.c (own is theirs), others are struct fields.
 */
#include "datasets/arrays.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/images.h"
#include "engine/rng.h"

struct fields {
	char *name[VQ_MAX_FIELDS];
	void *data[VQ_MAX_FIELDS];	/* [n, ...] of the field's type, the whole split */
	int64_t first;
	int grid;			/* the field of which a window is delivered, -1: none */
	int64_t h, w, high, wide;	/* of its samples, and of the window */
	size_t cell;			/* bytes */
};

static int
refuse(const struct vq_array *a, struct vq_diags *d, const char *fmt, ...) VQ_PRINTF(3, 4);

static int
refuse(const struct vq_array *a, struct vq_diags *d, const char *fmt, ...)
{
	struct vq_text why = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&why, fmt, ap);
	va_end(ap);
	vq_error(d, VQ_DATA, NULL, "%s: %s", a->path, why.s);
	vq_text_free(&why);
	return -1;
}

void
vq_array_set_free(struct vq_array *array, int n)
{
	for (int i = 0; i < n; i++) {
		free(array[i].path);
		free(array[i].field);
		free(array[i].data);
		array[i].path = NULL;
		array[i].field = NULL;
		array[i].data = NULL;
	}
}

static bool
is_image(const struct vq_array *a)
{
	return strcmp(a->field, "image") == 0;
}

/* --- types ------------------------------------------------------------------- */

static int
to_real(struct vq_array *a, struct vq_diags *d)
{
	int64_t n = vq_shape_count(&a->type.shape);
	float *x = a->data;

	if (a->type.dtype == VQ_F64) {
		const double *wide = a->data;

		x = vq_alloc_array((size_t)n, sizeof(*x));
		for (int64_t i = 0; i < n; i++)
			x[i] = (float)wide[i];
		free(a->data);
		a->data = x;
		a->type.dtype = VQ_F32;
	}
	for (int64_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return refuse(a, d, "value %lld is not a finite number", (long long)i);
	return 0;
}

static int
to_whole(struct vq_array *a, struct vq_diags *d)
{
	struct vq_view v = { a->data, &a->type };
	int64_t n = vq_shape_count(&a->type.shape);
	int32_t *x;

	if (a->type.dtype == VQ_I32)
		return 0;
	x = vq_alloc_array((size_t)n, sizeof(*x));
	for (int64_t i = 0; i < n; i++) {
		double value = vq_get(&v, i);

		if (value < INT32_MIN || value > INT32_MAX) {
			free(x);
			return refuse(a, d, "value %lld, %.17g, is beyond 32 bits", (long long)i, value);
		}
		x[i] = (int32_t)value;
	}
	free(a->data);
	a->data = x;
	a->type.dtype = VQ_I32;
	return 0;
}

static bool
is_real(enum vq_dtype t)
{
	return t == VQ_F32 || t == VQ_F64;
}

/* [n, 1] is as good as [n] for a label. */
static int
judge_label(struct vq_array *a, struct vq_diags *d)
{
	struct vq_shape *s = &a->type.shape;

	if (is_real(a->type.dtype))
		return refuse(a, d, "labels must be whole numbers, these are %s", vq_dtype_name(a->type.dtype));
	if (s->rank == 2 && s->dim[1] == 1)
		s->rank = 1;
	if (s->rank != 1 && s->rank != 2)
		return refuse(a, d, "labels must be [n] or [n, m], these have %d axes", s->rank);
	return 0;
}

static int
judge_image(struct vq_array *a, struct vq_diags *d)
{
	struct vq_shape *s = &a->type.shape;
	char type[VQ_TYPE_STR];

	if ((a->type.dtype != VQ_U8 && !is_real(a->type.dtype)) || (s->rank != 3 && s->rank != 4))
		return refuse(a, d, "pictures must be u8 or f32, [n, h, w] or [n, h, w, c]; these are %s",
		    vq_type_str(&a->type, type));
	if (s->rank == 3)
		s->dim[s->rank++] = 1;
	if (s->dim[1] * s->dim[2] * s->dim[3] == 0)
		return refuse(a, d, "its pictures are empty: %s", vq_type_str(&a->type, type));
	return 0;
}

/* To the types that are delivered (pictures of bytes stay bytes). */
static int
settle(struct vq_array *a, struct vq_diags *d)
{
	if (a->type.shape.rank < 1 || a->type.shape.dim[0] == 0)
		return refuse(a, d, "holds no samples");
	if (a->type.shape.dim[0] > UINT32_MAX)
		return refuse(a, d, "holds %lld samples: too many", (long long)a->type.shape.dim[0]);
	if (is_image(a) ? judge_image(a, d) < 0 : strcmp(a->field, "label") == 0 && judge_label(a, d) < 0)
		return -1;
	if (is_image(a) && a->type.dtype == VQ_U8)
		return 0;
	return is_real(a->type.dtype) ? to_real(a, d) : to_whole(a, d);
}

/* How many classes labels tell of; -1 when some are not of the classes. */
static int
classes_of(const struct vq_array *a, int classes, struct vq_diags *d)
{
	int64_t n = vq_shape_count(&a->type.shape);
	const int32_t *y = a->data;
	int32_t most = -1;

	for (int64_t i = 0; i < n; i++) {
		if (y[i] < 0 || (classes > 0 && a->type.shape.rank == 1 && y[i] >= classes))
			return refuse(a, d, "label %d of sample %lld is out of range: 0 to %d", y[i],
			    (long long)(i * a->type.shape.dim[0] / n), classes > 0 ? classes - 1 : INT32_MAX);
		most = y[i] > most ? y[i] : most;
	}
	/* A vector of several numbers is no class. */
	if (a->type.shape.rank > 1)
		return 0;
	return classes > 0 ? classes : most < INT32_MAX ? most + 1 : most;
}

/* --- opening ----------------------------------------------------------------- */

static int
open_pictures(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_array *image, struct vq_array *label,
    int classes, struct vq_diags *diags)
{
	const int64_t *dim = image->type.shape.dim;
	struct vq_raw_images raw = { .n = dim[0], .h = dim[1], .w = dim[2], .c = dim[3], .classes = classes };

	if (image->type.dtype == VQ_U8)
		raw.pixels = image->data;
	else
		raw.values = image->data;
	image->data = NULL;
	if (label != NULL) {
		raw.labels = label->data;
		raw.label_width = label->type.shape.rank > 1 ? label->type.shape.dim[1] : 0;
		label->data = NULL;
	}
	return vq_images_open(d, spec, &raw, diags);
}

/* A window of the one field that is a grid, [n, h, w, ...]: its type becomes the window's. */
static int
open_window(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_diags *diags)
{
	struct fields *own = d->own;
	const struct vq_ints *size = &spec->window;
	int grids = 0;

	own->grid = -1;
	if (size->count == 0)
		return 0;
	for (int i = 0; i < d->fields; i++)
		if (d->field[i].type.shape.rank >= 2 && strcmp(d->field[i].name, "label") != 0) {
			own->grid = i;
			grids++;
		}
	if (grids != 1) {
		vq_error(diags, VQ_CONFIG, spec->at, grids == 0 ? "data: window is of a grid of codes, [n, h, w]; %s holds none" :
		    "data: window is of one grid of codes; %s holds several, and which parts of them belong together is not known",
		    d->where);
		return -1;
	}
	struct vq_type *t = &d->field[own->grid].type;
	own->h = t->shape.dim[0];
	own->w = t->shape.dim[1];
	own->high = size->v[0];
	own->wide = size->v[size->count - 1];
	if (own->high > own->h || own->wide > own->w) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: a window of %lld x %lld is larger than the grid of %s of %s, %lld x %lld",
		    (long long)own->high, (long long)own->wide, d->field[own->grid].name, d->where, (long long)own->h,
		    (long long)own->w);
		return -1;
	}
	own->cell = vq_type_bytes(t) / (size_t)(own->h * own->w);
	t->shape.dim[0] = own->high;
	t->shape.dim[1] = own->wide;
	return 0;
}

static int
open_fields(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_array *array, int n, int classes,
    struct vq_diags *diags)
{
	const char *picture = spec->size.count > 0 ? "size" : spec->channels > 0 ? "channels" : spec->crop > 0 ? "crop" :
	    spec->flip ? "flip" : NULL;
	struct fields *own;
	int64_t first, count;

	if (picture != NULL) {
		vq_error(diags, VQ_CONFIG, spec->at, "data: %s is for pictures; %s holds none", picture, d->where);
		return -1;
	}
	count = vq_images_part(d, spec, array[0].type.shape.dim[0], &first, diags);
	if (count < 0)
		return -1;
	own = vq_alloc(sizeof(*own));
	d->own = own;
	own->first = first;
	d->count = count;
	d->classes = classes;
	d->lo = spec->lo;
	d->hi = spec->hi;
	for (int i = 0; i < n; i++) {
		const struct vq_shape *s = &array[i].type.shape;

		d->field[i].name = own->name[i] = array[i].field;
		d->field[i].type = vq_type_of(array[i].type.dtype, s->rank - 1, s->dim + 1);
		own->data[i] = array[i].data;
		array[i].data = NULL;
		array[i].field = NULL;
	}
	d->fields = n;
	return open_window(d, spec, diags);
}

static int
open_arrays(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_array *array, int n, int classes,
    struct vq_diags *diags)
{
	struct vq_array *image = NULL, *label = NULL;

	for (int i = 0; i < n; i++) {
		if (settle(&array[i], diags) < 0)
			return -1;
		if (array[i].type.shape.dim[0] != array[0].type.shape.dim[0])
			return refuse(&array[i], diags, "has %lld samples, %s has %lld",
			    (long long)array[i].type.shape.dim[0], array[0].path, (long long)array[0].type.shape.dim[0]);
		if (is_image(&array[i]))
			image = &array[i];
		if (strcmp(array[i].field, "label") == 0)
			label = &array[i];
	}
	classes = label != NULL ? classes_of(label, classes, diags) : 0;
	if (classes < 0)
		return -1;
	if (image == NULL)
		return open_fields(d, spec, array, n, classes, diags);
	for (int i = 0; i < n; i++)
		if (&array[i] != image && &array[i] != label)
			return refuse(&array[i], diags, "stands beside pictures, where only labels may");
	return open_pictures(d, spec, image, label, classes, diags);
}

int
vq_arrays_open(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_array *array, int n, int classes,
    struct vq_diags *diags)
{
	int rc = open_arrays(d, spec, array, n, classes, diags);

	vq_array_set_free(array, n);
	return rc;
}

/* --- gathering --------------------------------------------------------------- */

static bool
has_pictures(const struct vq_dataset *d)
{
	return d->fields > 0 && strcmp(d->field[0].name, "image") == 0;
}

/* The window of a sample: where the pass says, or in the middle. */
static void
copy_window(const struct fields *own, uint32_t sample, const struct vq_pass *pass, char *out)
{
	struct vq_rng_key key = { .purpose = vq_hash_str("augment") };
	uint64_t down = (uint64_t)(own->h - own->high), right = (uint64_t)(own->w - own->wide);
	size_t line = (size_t)own->wide * own->cell;

	if (pass) {
		key.seed = pass->seed;
		key.step = pass->epoch;
	}
	uint64_t dy = pass ? vq_rng_below(&key, 2 * (uint64_t)sample, down + 1) : down / 2;
	uint64_t dx = pass ? vq_rng_below(&key, 2 * (uint64_t)sample + 1, right + 1) : right / 2;
	const char *from = (const char *)own->data[own->grid] +
	    ((size_t)(own->first + sample) * (size_t)own->h * (size_t)own->w + dy * (size_t)own->w + dx) * own->cell;
	for (int64_t y = 0; y < own->high; y++)
		memcpy(out + (size_t)y * line, from + (size_t)(y * own->w) * own->cell, line);
}

static void
gather_fields(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, const struct vq_pass *pass, void *out)
{
	const struct fields *own = d->own;
	size_t size = vq_type_bytes(&d->field[f].type);

	for (int64_t i = 0; i < n; i++)
		if (f == own->grid)
			copy_window(own, index[i], pass, (char *)out + (size_t)i * size);
		else
			memcpy((char *)out + (size_t)i * size,
			    (const char *)own->data[f] + (size_t)(own->first + index[i]) * size, size);
}

void
vq_arrays_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	if (has_pictures(d))
		vq_images_gather(d, f, index, n, out);
	else
		gather_fields(d, f, index, n, NULL, out);
}

void
vq_arrays_augmented(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
    const struct vq_pass *pass, void *out)
{
	if (has_pictures(d))
		vq_images_augmented(d, f, index, n, pass, out);
	else
		gather_fields(d, f, index, n, pass, out);
}

void
vq_arrays_close(struct vq_dataset *d)
{
	struct fields *own = d->own;

	if (own == NULL)
		return;
	if (has_pictures(d)) {
		vq_images_close(d);
		return;
	}
	for (int i = 0; i < VQ_MAX_FIELDS; i++) {
		free(own->name[i]);
		free(own->data[i]);
	}
	free(own);
	d->own = NULL;
}
