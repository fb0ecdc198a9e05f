/*
 * npy -- numpy's array files
 *
 * Format: numpy.lib.format, versions 1.0 and 2.0.  The header is a Python
 * dictionary; this reader takes its three keys in any order and spacing, and
 * wants the file's size to be exactly what they say.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"

enum { MAGIC = 6, HEADER_MAX = 1 << 20, ALIGN = 64 };
static const char magic[MAGIC] = { '\x93', 'N', 'U', 'M', 'P', 'Y' };

static const struct {
	const char *descr;
	enum vq_dtype dtype;
} descrs[] = {
	{ "<f4", VQ_F32 }, { "<f8", VQ_F64 }, { "<i4", VQ_I32 }, { "<i8", VQ_I64 },
	{ "|u1", VQ_U8 }, { "<u1", VQ_U8 }, { "|b1", VQ_BOOL }, { "<b1", VQ_BOOL },
};

struct reader {
	const char *path;
	struct vq_diags *d;
	int fd;			/* what is read: a file, */
	const unsigned char *memory, *end;	/* or, when not NULL, bytes in memory */
	const char *s;		/* rest of the header */
	bool has_descr, has_order, has_shape;
	bool fortran;
	struct vq_type type;
};

static int refuse(const struct reader *r, const char *fmt, ...) VQ_PRINTF(2, 3);

static int
refuse(const struct reader *r, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	vq_error(r->d, VQ_DATA, NULL, "%s: %s", r->path, t.s);
	vq_text_free(&t);
	return -1;
}

/* --- header --------------------------------------------------------------- */

static void
skip_space(struct reader *r)
{
	while (isspace((unsigned char)*r->s))
		r->s++;
}

static bool
accept(struct reader *r, char c)
{
	skip_space(r);
	if (*r->s != c)
		return false;
	r->s++;
	return true;
}

/* A quoted string without escapes. */
static bool
read_string(struct reader *r, char *buf, size_t size)
{
	char quote = accept(r, '\'') ? '\'' : accept(r, '"') ? '"' : '\0';
	size_t n = 0;

	if (!quote)
		return false;
	while (r->s[n] && r->s[n] != quote && r->s[n] != '\\')
		n++;
	if (r->s[n] != quote || n >= size)
		return false;
	memcpy(buf, r->s, n);
	buf[n] = '\0';
	r->s += n + 1;
	return true;
}

static int
read_descr(struct reader *r)
{
	char descr[64];

	if (!read_string(r, descr, sizeof(descr)))
		return refuse(r, "elements of a structure cannot be read: only plain arrays");
	for (size_t i = 0; i < VQ_COUNT(descrs); i++)
		if (strcmp(descr, descrs[i].descr) == 0) {
			r->type.dtype = descrs[i].dtype;
			r->has_descr = true;
			return 0;
		}
	if (descr[0] == '>')
		return refuse(r, "the elements are big-endian (%s); wanted are little-endian ones", descr);
	return refuse(r, "elements of type %s cannot be read: f32, f64, i32, i64, u8 and bool can", descr);
}

static int
read_order(struct reader *r)
{
	skip_space(r);
	r->has_order = true;
	if (strncmp(r->s, "False", 5) == 0) {
		r->s += 5;
		return 0;
	}
	if (strncmp(r->s, "True", 4) == 0) {
		r->s += 4;
		r->fortran = true;
		return 0;
	}
	return refuse(r, "fortran_order is neither True nor False");
}

static int
read_dim(struct reader *r)
{
	struct vq_shape *shape = &r->type.shape;
	int64_t n = 0;

	skip_space(r);
	if (!isdigit((unsigned char)*r->s))
		return refuse(r, "the shape is not a tuple of numbers");
	if (shape->rank == VQ_MAX_RANK)
		return refuse(r, "the array has more than %d axes", VQ_MAX_RANK);
	for (; isdigit((unsigned char)*r->s); r->s++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *r->s - '0', &n))
			return refuse(r, "the shape is too large");
	if (*r->s == 'L')		/* a long of Python 2 */
		r->s++;
	shape->dim[shape->rank++] = n;
	return 0;
}

static int
read_shape(struct reader *r)
{
	if (!accept(r, '('))
		return refuse(r, "the shape is not a tuple of numbers");
	r->has_shape = true;
	r->type.shape.rank = 0;
	while (!accept(r, ')')) {
		if (read_dim(r) < 0)
			return -1;
		if (accept(r, ','))
			continue;
		if (!accept(r, ')'))
			return refuse(r, "the shape is not a tuple of numbers");
		break;
	}
	return 0;
}

static int
read_member(struct reader *r)
{
	char key[32];
	bool *seen;

	if (!read_string(r, key, sizeof(key)) || !accept(r, ':'))
		return refuse(r, "its header is no dictionary of descr, fortran_order and shape");
	seen = strcmp(key, "descr") == 0 ? &r->has_descr :
	    strcmp(key, "fortran_order") == 0 ? &r->has_order :
	    strcmp(key, "shape") == 0 ? &r->has_shape : NULL;
	if (!seen)
		return refuse(r, "its header has an unknown key '%s'", key);
	if (*seen)
		return refuse(r, "its header has %s twice", key);
	return seen == &r->has_descr ? read_descr(r) : seen == &r->has_order ? read_order(r) : read_shape(r);
}

static int
read_dictionary(struct reader *r)
{
	if (!accept(r, '{'))
		return refuse(r, "its header is no dictionary of descr, fortran_order and shape");
	while (!accept(r, '}')) {
		if (read_member(r) < 0)
			return -1;
		if (accept(r, ','))
			continue;
		if (!accept(r, '}'))
			return refuse(r, "its header is not closed");
		break;
	}
	skip_space(r);
	if (*r->s)
		return refuse(r, "there is something behind the dictionary of its header");
	if (!r->has_descr || !r->has_order || !r->has_shape)
		return refuse(r, "its header lacks %s", !r->has_descr ? "descr" : !r->has_order ?
		    "fortran_order" : "shape");
	return 0;
}

/* What the header says must be possible, and be what is there. */
static int
judge(struct reader *r, size_t data)
{
	char type[VQ_TYPE_STR];

	if (!vq_type_valid(&r->type))
		return refuse(r, "the shape is too large");
	if (r->fortran && r->type.shape.rank > 1) {
		struct vq_diag *e = vq_error(r->d, VQ_DATA, NULL,
		    "%s: the array is in Fortran order; wanted is C order", r->path);

		vq_help(e, "save numpy.ascontiguousarray(a) instead");
		return -1;
	}
	if (vq_type_bytes(&r->type) != data)
		return refuse(r, "%s takes %zu bytes, but the file has %zu", vq_type_str(&r->type, type),
		    vq_type_bytes(&r->type), data);
	return 0;
}

static bool
get(struct reader *r, void *out, size_t n)
{
	if (r->memory == NULL)
		return vq_file_get(r->fd, out, n);
	if (n > (size_t)(r->end - r->memory))
		return false;
	memcpy(out, r->memory, n);
	r->memory += n;
	return true;
}

/* Reads up to the data; *at is where they begin. */
static int
read_header(struct reader *r, size_t size, size_t *at)
{
	unsigned char head[MAGIC + 2 + 4];
	size_t length_bytes, length = 0;
	char *text;
	int status;

	if (size < MAGIC + 4 || !get(r, head, MAGIC + 2) || memcmp(head, magic, MAGIC) != 0)
		return refuse(r, "this is not an npy file");
	if ((head[MAGIC] != 1 && head[MAGIC] != 2) || head[MAGIC + 1] != 0)
		return refuse(r, "npy version %d.%d is not known, only 1.0 and 2.0", head[MAGIC], head[MAGIC + 1]);
	length_bytes = head[MAGIC] == 1 ? 2 : 4;
	if (!get(r, head + MAGIC + 2, length_bytes))
		return refuse(r, "the file ends inside its header");
	for (size_t i = length_bytes; i-- > 0; )
		length = length << 8 | head[MAGIC + 2 + i];
	*at = MAGIC + 2 + length_bytes + length;
	if (length > HEADER_MAX || *at > size)
		return refuse(r, "the file ends inside its header");
	text = vq_alloc(length + 1);
	if (!get(r, text, length))
		status = refuse(r, "the file ends inside its header");
	else if (memchr(text, '\0', length))
		status = refuse(r, "its header is no dictionary of descr, fortran_order and shape");
	else
		status = (r->s = text, read_dictionary(r));
	free(text);
	return status;
}

int
vq_npy_read(const char *path, struct vq_type *t, void **data, struct vq_diags *d)
{
	struct reader r = { .path = path, .d = d };
	size_t size = 0, at = 0, n;
	unsigned char *bytes;
	int status;

	r.fd = vq_file_open(path, &size, VQ_DATA, d);
	if (r.fd < 0)
		return -1;
	status = read_header(&r, size, &at);
	if (status == 0)
		status = judge(&r, size - at);
	if (status == 0) {
		n = vq_type_bytes(&r.type);
		bytes = vq_alloc_aligned(n);
		if (!get(&r, bytes, n)) {
			status = refuse(&r, "%s", errno ? strerror(errno) : "it became shorter while it was read");
			free(bytes);
		} else {
			for (size_t i = 0; r.type.dtype == VQ_BOOL && i < n; i++)
				bytes[i] = bytes[i] != 0;
			*data = bytes;
			*t = r.type;
		}
	}
	close(r.fd);
	return status;
}

int
vq_npy_parse(const char *name, const void *bytes, size_t n, struct vq_type *t, const void **data, struct vq_diags *d)
{
	struct reader r = { .path = name, .d = d, .memory = bytes, .end = (const unsigned char *)bytes + n };
	size_t at = 0;

	if (read_header(&r, n, &at) < 0 || judge(&r, n - at) < 0)
		return -1;
	*data = (const char *)bytes + at;
	*t = r.type;
	return 0;
}

/* --- writing -------------------------------------------------------------- */

static const char *
descr_of(enum vq_dtype t)
{
	for (size_t i = 0; i < VQ_COUNT(descrs); i++)
		if (descrs[i].dtype == t)
			return descrs[i].descr;
	vq_bug("no npy type for %s", vq_dtype_name(t));
}

/* Magic, version, length and dictionary, padded so that the data are aligned. */
static void
make_header(struct vq_text *out, const struct vq_type *t)
{
	struct vq_text dict = { 0 };
	unsigned char length[2];
	size_t n;

	vq_text_add(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr_of(t->dtype));
	for (int i = 0; i < t->shape.rank; i++)
		vq_text_add(&dict, "%s%lld", i ? ", " : "", (long long)t->shape.dim[i]);
	vq_text_add(&dict, "%s), }", t->shape.rank == 1 ? "," : "");
	n = MAGIC + 4 + dict.len + 1;
	vq_text_add(&dict, "%*s\n", (int)((ALIGN - n % ALIGN) % ALIGN), "");
	length[0] = (unsigned char)dict.len;
	length[1] = (unsigned char)(dict.len >> 8);
	vq_text_put(out, magic, MAGIC);
	vq_text_put(out, "\1\0", 2);
	vq_text_put(out, length, 2);
	vq_text_put(out, dict.s, dict.len);
	vq_text_free(&dict);
}

int
vq_npy_write(const char *path, const struct vq_view *v, struct vq_diags *d)
{
	struct vq_type type = *v->type;
	struct vq_text header = { 0 };
	struct vq_view wide = { 0 };
	const void *data = v->data;
	struct vq_file f;

	if (type.dtype == VQ_BF16) {	/* numpy has no bf16; every one is exact in f32 */
		type.dtype = VQ_F32;
		wide = (struct vq_view){ vq_alloc(vq_type_bytes(&type)), &type };
		for (int64_t i = 0; i < vq_shape_count(&type.shape); i++)
			vq_set(&wide, i, vq_get(v, i));
		data = wide.data;
	}
	make_header(&header, &type);
	vq_file_begin(&f, path, header.len + vq_type_bytes(&type));
	vq_file_put(&f, header.s, header.len);
	vq_file_put(&f, data, vq_type_bytes(&type));
	vq_text_free(&header);
	free(wide.data);
	return vq_file_end(&f, d);
}
