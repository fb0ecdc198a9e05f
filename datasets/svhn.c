/*
 * svhn -- street view house numbers: 32x32 colour pictures of digits, in MATLAB's files
 *
 * A file of version 5 (MathWorks, "MAT-File Format") is a header of 128 bytes and elements:
 * a type and a length, then that many bytes, to a multiple of 8.  An array is an
 * element of elements (flags, dimensions, name, values), and may be packed with zlib.
 * X is u8 [32, 32, 3, n], its first index the fastest; y is 1 to 10, where 10 is the digit 0.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "datasets/images.h"
#include "engine/file.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE * 3, HEADER = 128, DIMS = 4, RATIO = 1032, HELD_MOST = 16 };
enum { MI_INT8 = 1, MI_UINT8 = 2, MI_INT32 = 5, MI_UINT32 = 6, MI_MATRIX = 14, MI_COMPRESSED = 15 };
enum { CLASS_DOUBLE = 6, CLASS_UINT8 = 9 };
#define FILE_MOST ((size_t)4 << 30)

static const char *const splits[] = { "train", "test", "extra", NULL };
static const char *const names[] = { "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat" };

/* A run of bytes that elements are taken from. */
struct part {
	const uint8_t *p;
	size_t n;
};

struct element {
	uint32_t type;
	struct part data;
};

/* What is wanted of a file; the values lie in `held`. */
struct mat {
	const char *path;
	struct vq_diags *diags;
	struct part x, y;
	int64_t x_dim[DIMS], y_dim[DIMS];
	uint8_t *held[HELD_MOST];	/* what was unpacked, until the end */
	int helds;
};

static int
damaged(const struct mat *m, const char *why)
{
	vq_help(vq_error(m->diags, VQ_DATA, NULL, "%s: %s", m->path, why), "replace the file by a good copy");
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

/* Notes an array that is X or y; others are passed over. */
static int
take_array(struct mat *m, struct part body)
{
	struct element flags, dims, name, values;
	int64_t dim[DIMS] = { 1, 1, 1, 1 }, n = 1;
	uint8_t class;

	if (!take(&body, &flags) || flags.type != MI_UINT32 || flags.data.n < 8 || !take(&body, &dims) ||
	    dims.type != MI_INT32 || !take(&body, &name) || name.type != MI_INT8)
		return damaged(m, "holds an array without flags, dimensions and name");
	if (name.data.n != 1 || (name.data.p[0] != 'X' && name.data.p[0] != 'y'))
		return 0;
	class = flags.data.p[0];
	if (dims.data.n / 4 > DIMS || (class != CLASS_UINT8 && class != CLASS_DOUBLE))
		return damaged(m, "X or y is no array of bytes with at most four axes");
	for (size_t i = 0; i < dims.data.n / 4; i++) {
		dim[i] = (int32_t)get32(dims.data.p + 4 * i);
		if (dim[i] < 1 || __builtin_mul_overflow(n, dim[i], &n))
			return damaged(m, "X or y has an axis of no length");
	}
	if (!take(&body, &values) || values.type != MI_UINT8 || (int64_t)values.data.n != n)
		return damaged(m, "cut short, or X or y is no array of bytes");
	if (name.data.p[0] == 'X') {
		m->x = values.data;
		memcpy(m->x_dim, dim, sizeof(dim));
	} else {
		m->y = values.data;
		memcpy(m->y_dim, dim, sizeof(dim));
	}
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

/* A packed element: the length of what is in it is judged before it is unpacked. */
static int
take_packed(struct mat *m, struct part packed)
{
	z_stream z = { 0 };
	uint8_t head[8], *bytes = NULL;
	size_t n = 0, most = packed.n * RATIO;
	int rc = -1;

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
		damaged(m, "damaged: a packed array cannot be unpacked");
	else if (m->helds == HELD_MOST)
		rc = damaged(m, "holds too many arrays");
	else
		rc = take_array(m, (struct part){ bytes, n });
	if (m->helds < HELD_MOST)
		m->held[m->helds++] = bytes;
	else
		free(bytes);
	return rc;
}

static int
take_all(struct mat *m, struct part file)
{
	struct element e;
	int rc = 0;

	if (file.n < HEADER || memcmp(file.p + 124, "\0\1IM", 4) != 0)
		return damaged(m, "is no MATLAB file of version 5");
	file.p += HEADER;
	file.n -= HEADER;
	while (rc == 0 && file.n > 0) {
		if (!take(&file, &e))
			return damaged(m, "cut short");
		if (e.type == MI_COMPRESSED)
			rc = take_packed(m, e.data);
		else if (e.type == MI_MATRIX)
			rc = take_array(m, e.data);
	}
	return rc;
}

/* --- the set ----------------------------------------------------------------- */

/* From columns of planes to pixels. */
static int
convert(const struct mat *m, struct vq_raw_images *raw)
{
	if (m->x.p == NULL || m->y.p == NULL)
		return damaged(m, m->x.p == NULL ? "holds no X" : "holds no y: its labels are missing");
	if (m->x_dim[0] != SIDE || m->x_dim[1] != SIDE || m->x_dim[2] != 3)
		return damaged(m, "X is not [32, 32, 3, n]");
	raw->n = m->x_dim[3];
	if ((int64_t)m->y.n != raw->n)
		return damaged(m, "X and y are not of as many samples");
	raw->pixels = vq_alloc_array((size_t)raw->n, PIXELS);
	raw->labels = vq_alloc_array((size_t)raw->n, sizeof(*raw->labels));
	for (int64_t i = 0; i < raw->n; i++) {
		const uint8_t *from = m->x.p + i * PIXELS;
		uint8_t *to = raw->pixels + i * PIXELS;

		if (m->y.p[i] < 1 || m->y.p[i] > 10)
			return damaged(m, "y is not of 1 to 10");
		raw->labels[i] = m->y.p[i] % 10;
		for (int c = 0; c < 3; c++)
			for (int x = 0; x < SIDE; x++)
				for (int y = 0; y < SIDE; y++)
					to[(y * SIDE + x) * 3 + c] = *from++;
	}
	return 0;
}

static const char *
missing(const char *folder, const char *split)
{
	for (int i = 0; splits[i] != NULL; i++) {
		char *path;
		bool there;

		if (strcmp(splits[i], split) != 0)
			continue;
		path = vq_asprintf("%s/%s", folder, names[i]);
		there = access(path, F_OK) == 0;
		free(path);
		return there ? NULL : names[i];
	}
	return names[0];
}

static bool
knows(const char *path)
{
	return missing(path, "train") == NULL || missing(path, "test") == NULL;
}

static int
open_svhn(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder, struct vq_diags *diags)
{
	struct mat m = { .path = "", .diags = diags };
	struct vq_raw_images raw = { .h = SIDE, .w = SIDE, .c = 3, .classes = 10 };
	struct part file = { 0 };
	int rc = -1;

	d->file[d->files++] = vq_asprintf("%s/%s_32x32.mat", folder, d->split);
	m.path = d->file[0];
	file.p = (const uint8_t *)vq_file_read(m.path, FILE_MOST, &file.n, VQ_DATA, diags);
	if (file.p != NULL)
		rc = take_all(&m, file);
	if (rc == 0)
		rc = convert(&m, &raw);
	free((void *)file.p);
	for (int i = 0; i < m.helds; i++)
		free(m.held[i]);
	if (rc == 0)
		return vq_images_open(d, spec, &raw, diags);
	free(raw.pixels);
	free(raw.labels);
	return -1;
}

#define SVHN_KIND .layout = "train_32x32.mat and test_32x32.mat; extra_32x32.mat for split: extra", .splits = splits, \
	.missing = missing, .open = open_svhn, VQ_IMAGES_KIND

extern const struct vq_source_kind vq_source_svhn, vq_source_svhn_files;

const struct vq_source_kind vq_source_svhn = {
	.name    = "svhn",
	.doc     = "digits of house numbers, 32x32 in colour; 73,257 to train, 26,032 to test, 531,131 extra",
	.folder  = "svhn",
	SVHN_KIND
};

/* A folder given by its path. */
const struct vq_source_kind vq_source_svhn_files = {
	.name    = "SVHN's files",
	.doc     = "street view house numbers",
	.knows   = knows,
	SVHN_KIND
};
