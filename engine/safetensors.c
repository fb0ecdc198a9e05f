/*
 * safetensors -- files of named tensors
 *
 * The reader believes nothing: lengths against the file, JSON types, names,
 * shapes against bytes, data without gap or overlap, the checksum.
 */
#include "engine/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/utf8.h"

enum { LENGTH = 8, ALIGN = 8, HEADER_MAX = 100000000, METADATA_MAX = 1000 };
static const char metadata_key[] = "__metadata__", checksum_key[] = "checksum";
static const char format_key[] = "format", format_own[] = "vqgraph";

static const char *const dtype_names[VQ_DTYPES] = {
	[VQ_F32] = "F32", [VQ_F64] = "F64", [VQ_BF16] = "BF16", [VQ_I32] = "I32",
	[VQ_I64] = "I64", [VQ_U8] = "U8", [VQ_BOOL] = "BOOL",
};

/* --- hash ----------------------------------------------------------------- */

/* Each step is a bijection of the lane for a given word and of the word for a
 * given lane, so no single change can get lost. */
static inline uint64_t
absorb(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * 0x9e3779b97f4a7c15u;
	return lane << 31 | lane >> 33;
}

uint64_t
vq_content_hash(const void *bytes, size_t n, uint64_t seed)
{
	const unsigned char *p = bytes;
	uint64_t lane[4], w[4];
	size_t left = n;

	for (int i = 0; i < 4; i++)
		lane[i] = vq_mix(seed + 1 + (uint64_t)i);
	for (; left >= sizeof(w); left -= sizeof(w), p += sizeof(w)) {
		memcpy(w, p, sizeof(w));
		for (int i = 0; i < 4; i++)
			lane[i] = absorb(lane[i], w[i]);
	}
	if (left > 0) {
		memset(w, 0, sizeof(w));
		memcpy(w, p, left);
		for (int i = 0; i < 4; i++)
			lane[i] = absorb(lane[i], w[i]);
	}
	seed = vq_mix(seed ^ n);
	for (int i = 0; i < 4; i++)
		seed = vq_mix(seed ^ lane[i]);
	return seed;
}

uint64_t
vq_tensor_hash(const struct vq_tensor *t, uint64_t seed)
{
	int64_t head[2 + VQ_MAX_RANK] = { t->type.dtype, t->type.shape.rank };

	for (int i = 0; i < t->type.shape.rank; i++)
		head[2 + i] = t->type.shape.dim[i];
	seed = vq_content_hash(t->name, strlen(t->name), seed);
	seed = vq_content_hash(head, sizeof(head), seed);
	return vq_content_hash(t->data, vq_type_bytes(&t->type), seed);
}

static int
by_text(const void *a, const void *b)
{
	const char *const *s = a, *const *t = b;

	return strcmp(*s, *t);
}

/* Of everything a file says.  Keys of the metadata in any order. */
static uint64_t
checksum(const struct vq_tensor *t, int n, const struct vq_meta *meta)
{
	const char **key = vq_alloc_array((size_t)meta->count + 1, sizeof(*key));
	uint64_t h = 0;

	for (int i = 0; i < n; i++)
		h = vq_tensor_hash(&t[i], h);
	for (int i = 0; i < meta->count; i++)
		key[i] = meta->key[i];
	qsort(key, (size_t)meta->count, sizeof(*key), by_text);
	for (int i = 0; i < meta->count; i++) {
		const char *value = vq_meta_get(meta, key[i]);

		h = vq_content_hash(key[i], strlen(key[i]), h);
		h = vq_content_hash(value, strlen(value), h);
	}
	free(key);
	return h;
}

/* --- writing -------------------------------------------------------------- */

/* jansson answers NULL only without memory, or to what no caller here gives it:
 * on to the handler of that. */
static void *
need(void *p)
{
	return p ? p : vq_alloc(SIZE_MAX);
}

static void
add_json(struct vq_text *t, const char *s)
{
	json_t *j = need(json_string(s));
	char *text = need(json_dumps(j, JSON_ENCODE_ANY));

	json_decref(j);
	vq_text_put(t, text, strlen(text));
	free(text);
}

/* A copy in which every byte that is not UTF-8 is a '?': JSON has nothing else. */
static char *
as_utf8(const char *s)
{
	char *copy = vq_strdup(s);
	size_t len = strlen(copy);

	for (size_t i = 0; i < len; ) {
		uint32_t c;
		size_t n = vq_utf8_next(copy + i, len - i, &c);

		if (!n)
			copy[i] = '?';
		i += n ? n : 1;
	}
	return copy;
}

static int
by_size_and_name(const void *a, const void *b)
{
	const struct vq_tensor *s = a, *t = b;
	size_t m = vq_dtype_size(s->type.dtype), n = vq_dtype_size(t->type.dtype);

	return m != n ? (m < n) - (m > n) : strcmp(s->name, t->name);
}

static void
add_metadata(struct vq_text *t, const struct vq_meta *meta)
{
	const char **key = vq_alloc_array((size_t)meta->count + 1, sizeof(*key));

	for (int i = 0; i < meta->count; i++)
		key[i] = meta->key[i];
	qsort(key, (size_t)meta->count, sizeof(*key), by_text);
	add_json(t, metadata_key);
	for (int i = 0; i < meta->count; i++) {
		vq_text_add(t, i ? "," : ":{");
		add_json(t, key[i]);
		vq_text_add(t, ":");
		add_json(t, vq_meta_get(meta, key[i]));
	}
	vq_text_add(t, "}");
	free(key);
}

static void
add_header(struct vq_text *t, const struct vq_tensor *tensor, int n, const struct vq_meta *meta)
{
	size_t at = 0;

	vq_text_add(t, "{");
	add_metadata(t, meta);
	for (int i = 0; i < n; i++) {
		const struct vq_type *type = &tensor[i].type;

		vq_text_add(t, ",");
		add_json(t, tensor[i].name);
		vq_text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", dtype_names[type->dtype]);
		for (int k = 0; k < type->shape.rank; k++)
			vq_text_add(t, "%s%" PRId64, k ? "," : "", type->shape.dim[k]);
		vq_text_add(t, "],\"data_offsets\":[%zu,%zu]}", at, at + vq_type_bytes(type));
		at += vq_type_bytes(type);
	}
	vq_text_add(t, "}");
	vq_text_add(t, "%*s", (int)((ALIGN - t->len % ALIGN) % ALIGN), "");
}

int
vq_tensors_write(const char *path, struct vq_tensor *tensor, int n, const struct vq_meta *meta,
    struct vq_diags *d)
{
	struct vq_meta all = { 0 };
	struct vq_text header = { 0 };
	struct vq_file f;
	size_t size = 0;
	char hex[17];

	for (int i = 0; i < meta->count; i++)
		if (strcmp(meta->key[i], checksum_key) != 0) {
			char *key = as_utf8(meta->key[i]), *value = as_utf8(meta->value[i]);

			vq_meta_set(&all, key, value);
			free(key);
			free(value);
		}
	vq_meta_set(&all, format_key, format_own);
	qsort(tensor, (size_t)n, sizeof(*tensor), by_size_and_name);
	snprintf(hex, sizeof(hex), "%016" PRIx64, checksum(tensor, n, &all));
	vq_meta_set(&all, checksum_key, hex);
	add_header(&header, tensor, n, &all);
	vq_meta_free(&all);

	uint64_t length = header.len;
	for (int i = 0; i < n; i++)
		size += vq_type_bytes(&tensor[i].type);
	vq_file_begin(&f, path, LENGTH + header.len + size);
	vq_file_put(&f, &length, LENGTH);
	vq_file_put(&f, header.s, header.len);
	for (int i = 0; i < n; i++)
		vq_file_put(&f, tensor[i].data, vq_type_bytes(&tensor[i].type));
	vq_text_free(&header);
	return vq_file_end(&f, d);
}

/* --- reading -------------------------------------------------------------- */

struct reader {
	const char *path;
	struct vq_diags *d;
	struct vq_tensors *out;
	struct span { size_t begin, end; } *span;	/* by tensor */
	int cap;
	size_t bytes;			/* of the data */
	char sum[17];			/* the file's checksum, "" without */
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
	vq_error(r->d, VQ_CHECKPOINT, NULL, "%s: %s", r->path, t.s);
	vq_text_free(&t);
	return -1;
}

static int
read_metadata(struct reader *r, json_t *j)
{
	struct vq_meta *meta = &r->out->meta;
	const char *key;
	json_t *value;

	if (!json_is_object(j))
		return refuse(r, "its %s is not an object", metadata_key);
	if (json_object_size(j) > METADATA_MAX)
		return refuse(r, "its %s has more than %d entries", metadata_key, METADATA_MAX);
	json_object_foreach(j, key, value) {
		if (!json_is_string(value))
			return refuse(r, "%s: '%.80s' is not a string", metadata_key, key);
		if (strcmp(key, checksum_key) != 0)
			vq_meta_set(meta, key, json_string_value(value));
		else if (json_string_length(value) != sizeof(r->sum) - 1)
			return refuse(r, "its checksum is not 16 hex digits");
		else
			memcpy(r->sum, json_string_value(value), sizeof(r->sum));
	}
	const char *format = vq_meta_get(meta, format_key);
	if (format && strcmp(format, format_own) == 0 && !r->sum[0])
		return refuse(r, "its checksum is missing");
	return 0;
}

static int
read_dtype(const struct reader *r, const char *name, const json_t *j, struct vq_type *t)
{
	const char *dtype = json_string_value(j);

	if (!dtype)
		return refuse(r, "tensor %.200s has no dtype", name);
	for (int i = 0; i < VQ_DTYPES; i++)
		if (strcmp(dtype_names[i], dtype) == 0) {
			t->dtype = (enum vq_dtype)i;
			return 0;
		}
	return refuse(r, "tensor %.200s has dtype %.40s, which is not known here", name, dtype);
}

static int
read_shape(const struct reader *r, const char *name, const json_t *j, struct vq_type *t)
{
	if (!json_is_array(j))
		return refuse(r, "tensor %.200s has no shape", name);
	if (json_array_size(j) > VQ_MAX_RANK)
		return refuse(r, "tensor %.200s has %zu axes, more than %d", name, json_array_size(j), VQ_MAX_RANK);
	t->shape.rank = (int)json_array_size(j);
	for (int i = 0; i < t->shape.rank; i++) {
		const json_t *dim = json_array_get(j, (size_t)i);

		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return refuse(r, "the shape of tensor %.200s is not a list of sizes", name);
		t->shape.dim[i] = json_integer_value(dim);
	}
	return vq_type_valid(t) ? 0 : refuse(r, "the shape of tensor %.200s is too large", name);
}

static int
read_span(const struct reader *r, const char *name, const json_t *j, const struct vq_type *t, struct span *s)
{
	const json_t *begin = json_array_get(j, 0), *end = json_array_get(j, 1);
	json_int_t from, to;
	char type[VQ_TYPE_STR];

	if (json_array_size(j) != 2 || !json_is_integer(begin) || !json_is_integer(end))
		return refuse(r, "tensor %.200s has no data_offsets", name);
	from = json_integer_value(begin);
	to = json_integer_value(end);
	if (from < 0 || to < from || (uint64_t)to > r->bytes)
		return refuse(r, "the data of tensor %.200s, %lld to %lld, are not within the file's %zu bytes of data",
		    name, (long long)from, (long long)to, r->bytes);
	if ((uint64_t)(to - from) != vq_type_bytes(t))
		return refuse(r, "tensor %.200s, %s, takes %zu bytes, but has %lld", name, vq_type_str(t, type),
		    vq_type_bytes(t), (long long)(to - from));
	*s = (struct span){ (size_t)from, (size_t)to };
	return 0;
}

static int
read_tensor(struct reader *r, const char *name, const json_t *j)
{
	struct vq_tensors *out = r->out;
	struct vq_type t = { 0 };
	struct span s;

	if (!*name)
		return refuse(r, "a tensor has no name");
	if (!json_is_object(j))
		return refuse(r, "tensor %.200s is not an object", name);
	if (json_object_size(j) != 3)
		return refuse(r, "tensor %.200s has other members than dtype, shape and data_offsets", name);
	if (read_dtype(r, name, json_object_get(j, "dtype"), &t) < 0 ||
	    read_shape(r, name, json_object_get(j, "shape"), &t) < 0 ||
	    read_span(r, name, json_object_get(j, "data_offsets"), &t, &s) < 0)
		return -1;
	vq_grow(out->tensor, out->count, out->cap);
	if (out->count >= r->cap) {
		r->cap = out->cap;
		r->span = vq_realloc_array(r->span, (size_t)r->cap, sizeof(*r->span));
	}
	out->tensor[out->count] = (struct vq_tensor){ vq_arena_strdup(&out->arena, name), t, NULL };
	r->span[out->count++] = s;
	return 0;
}

static int
read_members(struct reader *r, json_t *root)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return refuse(r, "its header is not an object");
	json_object_foreach(root, key, value)
		if ((strcmp(key, metadata_key) == 0 ? read_metadata(r, value) : read_tensor(r, key, value)) < 0)
			return -1;
	return 0;
}

static int
read_header(struct reader *r, const char *text, size_t length)
{
	json_error_t error;
	json_t *root;
	int status;

	if (text[0] != '{')
		return refuse(r, "this is not a safetensors file");
	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return refuse(r, "its header is not JSON: %s", error.text);
	status = read_members(r, root);
	json_decref(root);
	return status;
}

/* Order of the data; an empty tensor stands before one that begins where it does. */
static int
by_span(const void *a, const void *b, void *arg)
{
	const struct span *span = arg, *s = &span[*(const int *)a], *t = &span[*(const int *)b];

	if (s->begin != t->begin)
		return s->begin < t->begin ? -1 : 1;
	if (s->end != t->end)
		return s->end < t->end ? -1 : 1;
	return *(const int *)a - *(const int *)b;
}

/* Sorts the tensors by their data, which must follow one another to the end. */
static int
order_tensors(struct reader *r)
{
	struct vq_tensors *out = r->out;
	int *order = vq_alloc_array((size_t)out->count + 1, sizeof(*order)), status = 0;
	struct vq_tensor *sorted = vq_alloc_array((size_t)out->count + 1, sizeof(*sorted));
	size_t at = 0;

	for (int i = 0; i < out->count; i++)
		order[i] = i;
	qsort_r(order, (size_t)out->count, sizeof(*order), by_span, r->span);
	for (int i = 0; i < out->count && status == 0; i++) {
		sorted[i] = out->tensor[order[i]];
		sorted[i].data = out->data + at;
		if (r->span[order[i]].begin != at)
			status = refuse(r, "the data of tensor %.200s %s", sorted[i].name,
			    r->span[order[i]].begin < at ? "overlap another's" : "leave a gap before them");
		at = r->span[order[i]].end;
	}
	if (status == 0 && at != r->bytes)
		status = refuse(r, "%zu bytes at its end belong to no tensor", r->bytes - at);
	free(order);
	free(out->tensor);
	out->tensor = sorted;
	out->cap = out->count + 1;
	return status;
}

static int
check_content(const struct reader *r)
{
	const struct vq_tensors *out = r->out;
	char hex[17];

	snprintf(hex, sizeof(hex), "%016" PRIx64, checksum(out->tensor, out->count, &out->meta));
	if (r->sum[0] && strcmp(hex, r->sum) != 0)
		return refuse(r, "the file is damaged: its checksum is %s, its content's %s", r->sum, hex);
	for (int i = 0; i < out->count; i++) {
		const unsigned char *p = out->tensor[i].data;

		for (size_t k = 0; out->tensor[i].type.dtype == VQ_BOOL && k < vq_type_bytes(&out->tensor[i].type); k++)
			if (p[k] > 1)
				return refuse(r, "tensor %.200s holds what is not a bool", out->tensor[i].name);
	}
	return 0;
}

static int
read_file(struct reader *r, int fd, size_t size)
{
	uint64_t length = 0;
	char *header;
	int status;

	if (size < LENGTH || !vq_file_get(fd, &length, LENGTH) || length < 2)
		return refuse(r, "this is not a safetensors file");
	if (length > HEADER_MAX || length > size - LENGTH)
		return refuse(r, "its header is said to have %" PRIu64 " bytes, but the file has only %zu%s",
		    length, size - LENGTH, length > HEADER_MAX ? "; this is not a safetensors file" : "");
	r->bytes = size - LENGTH - (size_t)length;
	header = vq_alloc((size_t)length + 1);
	if (!vq_file_get(fd, header, (size_t)length))
		status = refuse(r, "%s", errno ? strerror(errno) : "it became shorter while it was read");
	else
		status = read_header(r, header, (size_t)length);
	free(header);
	if (status < 0)
		return -1;
	r->out->data = vq_alloc_aligned(r->bytes);
	if (order_tensors(r) < 0)
		return -1;
	if (!vq_file_get(fd, r->out->data, r->bytes))
		return refuse(r, "%s", errno ? strerror(errno) : "it became shorter while it was read");
	return check_content(r);
}

int
vq_tensors_read(const char *path, struct vq_tensors *out, struct vq_diags *d)
{
	struct reader r = { .path = path, .d = d, .out = out };
	size_t size = 0;
	int fd = vq_file_open(path, &size, VQ_CHECKPOINT, d), status;

	*out = (struct vq_tensors){ 0 };
	if (fd < 0)
		return -1;
	status = read_file(&r, fd, size);
	close(fd);
	free(r.span);
	if (status < 0)
		vq_tensors_free(out);
	return status;
}

void
vq_tensors_free(struct vq_tensors *t)
{
	free(t->tensor);
	free(t->data);
	vq_meta_free(&t->meta);
	vq_arena_free(&t->arena);
	*t = (struct vq_tensors){ 0 };
}
