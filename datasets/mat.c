/*
 * mat -- arrays of numbers in MATLAB's files of version 5
 */
#include "datasets/mat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "engine/file.h"

enum { HEADER = 128, RATIO = 1032, ARRAYS_MOST = 64 };
enum { MI_INT8 = 1, MI_UINT8, MI_INT16, MI_UINT16, MI_INT32, MI_UINT32, MI_SINGLE, MI_DOUBLE = 9, MI_INT64 = 12,
	MI_UINT64, MI_MATRIX, MI_COMPRESSED };
enum { CLASS_DOUBLE = 6, CLASS_UINT64 = 15, COMPLEX = 8 };
#define FILE_MOST ((size_t)4 << 30)

/* Bytes of a value, 0: no type of numbers. */
static const uint8_t width_of[] = { [MI_INT8] = 1, [MI_UINT8] = 1, [MI_INT16] = 2, [MI_UINT16] = 2, [MI_INT32] = 4,
	[MI_UINT32] = 4, [MI_SINGLE] = 4, [MI_DOUBLE] = 8, [MI_INT64] = 8, [MI_UINT64] = 8 };

/* A run of bytes that elements are taken from. */
struct part {
	const uint8_t *p;
	size_t n;
};

struct element {
	uint32_t type;
	struct part data;
};

int
vq_mat_refuse(const struct vq_mat *m, const char *fmt, ...)
{
	struct vq_text why = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&why, fmt, ap);
	va_end(ap);
	vq_help(vq_error(m->diags, VQ_DATA, NULL, "%s: %s", m->path, why.s), "replace the file by a good copy");
	vq_text_free(&why);
	return -1;
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Takes the next element off; false when what is left does not hold it. */
static bool
take(struct part *from, struct element *e)
{
	size_t head = 8, padded;

	if (from->n < 8)
		return false;
	e->type = get32(from->p);
	e->data.n = get32(from->p + 4);
	if (e->type >> 16 != 0) {		/* four bytes at most, in the place of the length */
		e->data = (struct part){ from->p + 4, e->type >> 16 };
		e->type &= 0xffff;
		if (e->data.n > 4)
			return false;
		padded = 8;
	} else {
		if (e->data.n > from->n - head)
			return false;
		e->data.p = from->p + head;
		/* Packed elements are not padded. */
		padded = head + (e->type == MI_COMPRESSED ? e->data.n : (e->data.n + 7) / 8 * 8);
		padded = padded > from->n ? from->n : padded;
	}
	from->p += padded;
	from->n -= padded;
	return true;
}

/* --- arrays ------------------------------------------------------------------ */

static bool
wanted(const char *const *names, struct part name)
{
	for (; *names != NULL; names++)
		if (strlen(*names) == name.n && memcmp(*names, name.p, name.n) == 0)
			return true;
	return false;
}

/* Notes an array that is asked for. */
static int
take_array(struct vq_mat *m, struct part body, const char *const *names)
{
	struct element flags, dims, name, values;
	struct vq_mat_array a = { .dim = { 1, 1, 1, 1 }, .n = 1 };

	if (!take(&body, &flags) || flags.type != MI_UINT32 || flags.data.n < 8 || !take(&body, &dims) ||
	    dims.type != MI_INT32 || !take(&body, &name) || name.type != MI_INT8)
		return vq_mat_refuse(m, "holds an array without flags, dimensions and name");
	if (name.data.n >= VQ_MAT_NAME || !wanted(names, name.data))
		return 0;
	memcpy(a.name, name.data.p, name.data.n);
	if (dims.data.n / 4 > VQ_MAT_DIMS || flags.data.p[0] < CLASS_DOUBLE || flags.data.p[0] > CLASS_UINT64 ||
	    (flags.data.p[1] & COMPLEX) != 0)
		return vq_mat_refuse(m, "%s is no array of real numbers with at most four axes", a.name);
	for (size_t i = 0; i < dims.data.n / 4; i++) {
		a.dim[i] = (int32_t)get32(dims.data.p + 4 * i);
		if (a.dim[i] < 1 || __builtin_mul_overflow(a.n, a.dim[i], &a.n))
			return vq_mat_refuse(m, "%s has an axis of no length", a.name);
	}
	if (!take(&body, &values) || values.type >= VQ_COUNT(width_of) || width_of[values.type] == 0 ||
	    values.data.n % width_of[values.type] != 0 || (int64_t)(values.data.n / width_of[values.type]) != a.n)
		return vq_mat_refuse(m, "cut short, or the values of %s are not as many as it says", a.name);
	a.type = (int)values.type;
	a.data = values.data.p;
	if (m->arrays == ARRAYS_MOST)
		return vq_mat_refuse(m, "holds too many arrays");
	if (m->arrays == m->array_cap)
		m->array = vq_grow_to(m->array, &m->array_cap, sizeof(*m->array));
	m->array[m->arrays++] = a;
	return 0;
}

/* Inflates n bytes into out; how many came, or -1. */
static int64_t
inflate_some(z_stream *z, struct part *packed, uint8_t *out, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t in = packed->n < 1u << 30 ? packed->n : 1u << 30, room = n - done < 1u << 30 ? n - done : 1u << 30;
		int rc;

		z->next_in = (unsigned char *)packed->p;
		z->avail_in = (uInt)in;
		z->next_out = out + done;
		z->avail_out = (uInt)room;
		rc = inflate(z, Z_NO_FLUSH);
		packed->p += in - z->avail_in;
		packed->n -= in - z->avail_in;
		done += room - z->avail_out;
		if (rc == Z_STREAM_END || rc == Z_BUF_ERROR)
			break;
		if (rc != Z_OK)
			return -1;
	}
	return (int64_t)done;
}

static void
hold(struct vq_mat *m, uint8_t *bytes)
{
	if (m->helds == m->held_cap)
		m->held = vq_grow_to(m->held, &m->held_cap, sizeof(*m->held));
	m->held[m->helds++] = bytes;
}

/* A packed element: the length of what is in it is judged before it is unpacked. */
static int
take_packed(struct vq_mat *m, struct part packed, const char *const *names)
{
	z_stream z = { 0 };
	uint8_t head[8], *bytes = NULL;
	size_t n = 0, most = packed.n * RATIO;
	int before = m->arrays, rc = -1;

	if (inflateInit(&z) != Z_OK)
		vq_alloc(SIZE_MAX);
	if (inflate_some(&z, &packed, head, 8) == 8 && get32(head) == MI_MATRIX && get32(head + 4) <= most) {
		n = get32(head + 4);
		bytes = vq_alloc(n + 1);
		rc = inflate_some(&z, &packed, bytes, n) == (int64_t)n ? 0 : -1;
	}
	/* One byte more makes inflate read the check sum. */
	if (rc == 0 && inflate_some(&z, &packed, bytes + n, 1) != 0)
		rc = -1;
	inflateEnd(&z);
	if (rc < 0)
		vq_mat_refuse(m, "damaged: a packed array cannot be unpacked");
	else
		rc = take_array(m, (struct part){ bytes, n }, names);
	if (m->arrays > before)
		hold(m, bytes);
	else
		free(bytes);
	return rc;
}

int
vq_mat_take(struct vq_mat *m, const char *path, char *bytes, size_t n, const char *const *names, struct vq_diags *d)
{
	struct part file = { (uint8_t *)bytes, n };
	struct element e;
	int rc = 0;

	*m = (struct vq_mat){ .path = path, .diags = d, .file = bytes };
	if (file.n < HEADER || memcmp(file.p + 124, "\0\1IM", 4) != 0)
		return vq_mat_refuse(m, "is no MATLAB file of version 5");
	file.p += HEADER;
	file.n -= HEADER;
	while (rc == 0 && file.n > 0) {
		if (!take(&file, &e))
			return vq_mat_refuse(m, "cut short");
		if (e.type == MI_COMPRESSED)
			rc = take_packed(m, e.data, names);
		else if (e.type == MI_MATRIX)
			rc = take_array(m, e.data, names);
	}
	return rc;
}

int
vq_mat_open(struct vq_mat *m, const char *path, const char *const *names, struct vq_diags *d)
{
	size_t n;
	char *bytes = vq_file_read(path, FILE_MOST, &n, VQ_DATA, d);

	*m = (struct vq_mat){ 0 };
	return bytes != NULL ? vq_mat_take(m, path, bytes, n, names, d) : -1;
}

void
vq_mat_close(struct vq_mat *m)
{
	for (int i = 0; i < m->helds; i++)
		free(m->held[i]);
	free(m->held);
	free(m->array);
	free(m->file);
	memset(m, 0, sizeof(*m));
}

/* --- values ------------------------------------------------------------------ */

const struct vq_mat_array *
vq_mat_find(const struct vq_mat *m, const char *name)
{
	for (int i = m->arrays - 1; i >= 0; i--)
		if (strcmp(m->array[i].name, name) == 0)
			return &m->array[i];
	return NULL;
}

bool
vq_mat_bytes(const struct vq_mat_array *a)
{
	return a->type == MI_UINT8;
}

bool
vq_mat_whole(const struct vq_mat_array *a, int64_t i, int64_t lo, int64_t hi, int64_t *value)
{
	const uint8_t *at = a->data + i * width_of[a->type];
	uint64_t bits = 0;
	double real = 0;
	float single;

	memcpy(&bits, at, width_of[a->type]);
	switch (a->type) {
	case MI_INT8: *value = (int8_t)bits; break;
	case MI_INT16: *value = (int16_t)bits; break;
	case MI_INT32: *value = (int32_t)bits; break;
	case MI_SINGLE:
	case MI_DOUBLE:
		memcpy(&single, at, sizeof(single));
		if (a->type == MI_DOUBLE)
			memcpy(&real, at, sizeof(real));
		else
			real = single;
		if (!(real >= (double)lo && real <= (double)hi) || real != floor(real))
			return false;
		*value = (int64_t)real;
		break;
	default: *value = (int64_t)bits; break;
	}
	return *value >= lo && *value <= hi;
}
