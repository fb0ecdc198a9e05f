/*
 * type -- element types, shapes, and dense views
 */
#include "engine/type.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
} dtypes[VQ_DTYPES] = {
	[VQ_F32]  = { "f32", 4 },
	[VQ_F64]  = { "f64", 8 },
	[VQ_BF16] = { "bf16", 2 },
	[VQ_I32]  = { "i32", 4 },
	[VQ_I64]  = { "i64", 8 },
	[VQ_U8]   = { "u8", 1 },
	[VQ_BOOL] = { "bool", 1 },
};

static const int64_t most_bytes = (int64_t)1 << 46;

size_t
vq_dtype_size(enum vq_dtype t)
{
	vq_assert((unsigned)t < VQ_DTYPES);
	return dtypes[t].size;
}

const char *
vq_dtype_name(enum vq_dtype t)
{
	return (unsigned)t < VQ_DTYPES ? dtypes[t].name : "?";
}

bool
vq_dtype_parse(const char *name, enum vq_dtype *out)
{
	for (int t = 0; t < VQ_DTYPES; t++)
		if (strcmp(dtypes[t].name, name) == 0) {
			*out = (enum vq_dtype)t;
			return true;
		}
	return false;
}

/* --- shapes --------------------------------------------------------------- */

int64_t
vq_shape_count(const struct vq_shape *s)
{
	return vq_shape_span(s, 0, s->rank);
}

int64_t
vq_shape_span(const struct vq_shape *s, int from, int to)
{
	int64_t n = 1;

	for (int i = from; i < to; i++)
		n *= s->dim[i];
	return n;
}

bool
vq_shape_equal(const struct vq_shape *a, const struct vq_shape *b)
{
	if (a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dim[i] != b->dim[i])
			return false;
	return true;
}

bool
vq_type_equal(const struct vq_type *a, const struct vq_type *b)
{
	return a->dtype == b->dtype && vq_shape_equal(&a->shape, &b->shape);
}

size_t
vq_type_bytes(const struct vq_type *t)
{
	return (size_t)vq_shape_count(&t->shape) * vq_dtype_size(t->dtype);
}

/* Empty axes count as one, so that no product over some of the axes overflows
 * either. */
bool
vq_type_valid(const struct vq_type *t)
{
	int64_t n;

	if ((unsigned)t->dtype >= VQ_DTYPES || t->shape.rank < 0 || t->shape.rank > VQ_MAX_RANK)
		return false;
	n = (int64_t)dtypes[t->dtype].size;
	for (int i = 0; i < t->shape.rank; i++) {
		int64_t d = t->shape.dim[i];

		if (d < 0 || d > most_bytes)
			return false;
		if (__builtin_mul_overflow(n, d ? d : 1, &n) || n > most_bytes)
			return false;
	}
	return true;
}

struct vq_shape
vq_shape_of(int rank, const int64_t *dim)
{
	struct vq_shape s = { .rank = rank };

	vq_assert(rank >= 0 && rank <= VQ_MAX_RANK);
	for (int i = 0; i < rank; i++)
		s.dim[i] = dim[i];
	return s;
}

struct vq_type
vq_type_of(enum vq_dtype t, int rank, const int64_t *dim)
{
	return (struct vq_type){ t, vq_shape_of(rank, dim) };
}

bool
vq_shape_broadcast(const struct vq_shape *a, const struct vq_shape *b, struct vq_shape *out)
{
	struct vq_shape s = { .rank = a->rank > b->rank ? a->rank : b->rank };

	for (int i = 1; i <= s.rank; i++) {
		int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1;
		int64_t y = i <= b->rank ? b->dim[b->rank - i] : 1;

		if (x != y && x != 1 && y != 1)
			return false;
		s.dim[s.rank - i] = x == 1 ? y : x;
	}
	*out = s;
	return true;
}

/* --- as text -------------------------------------------------------------- */

const char *
vq_shape_str(const struct vq_shape *s, char buf[VQ_TYPE_STR])
{
	size_t n = 0;

	vq_assert(s->rank >= 0 && s->rank <= VQ_MAX_RANK);
	n += (size_t)snprintf(buf, VQ_TYPE_STR, "[");
	for (int i = 0; i < s->rank; i++)
		n += (size_t)snprintf(buf + n, VQ_TYPE_STR - n, "%s%lld", i ? ", " : "",
		    (long long)s->dim[i]);
	snprintf(buf + n, VQ_TYPE_STR - n, "]");
	return buf;
}

const char *
vq_type_str(const struct vq_type *t, char buf[VQ_TYPE_STR])
{
	char shape[VQ_TYPE_STR];

	snprintf(buf, VQ_TYPE_STR, "%s%.140s", vq_dtype_name(t->dtype),
	    t->shape.rank ? vq_shape_str(&t->shape, shape) : "");
	return buf;
}

static const char *
skip_space(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

static const char *
parse_dim(const char *s, int64_t *out)
{
	int64_t n = 0;

	if (!isdigit((unsigned char)*s))
		return NULL;
	for (; isdigit((unsigned char)*s); s++)
		if ((n = n * 10 + (*s - '0')) > most_bytes)
			return NULL;
	*out = n;
	return s;
}

static const char *
parse_shape(const char *s, struct vq_shape *out)
{
	out->rank = 0;
	s = skip_space(s + 1);
	if (*s == ']')
		return s + 1;
	for (;;) {
		if (out->rank == VQ_MAX_RANK || !(s = parse_dim(s, &out->dim[out->rank])))
			return NULL;
		out->rank++;
		s = skip_space(s);
		if (*s == ']')
			return s + 1;
		if (*s != ',')
			return NULL;
		s = skip_space(s + 1);
	}
}

const char *
vq_type_parse(const char *s, struct vq_type *out)
{
	struct vq_type t = { 0 };
	char name[8];
	size_t n = 0;

	s = skip_space(s);
	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	if (n >= sizeof(name))
		return NULL;
	memcpy(name, s, n);
	name[n] = '\0';
	if (!vq_dtype_parse(name, &t.dtype))
		return NULL;
	s += n;
	if (*skip_space(s) == '[' && !(s = parse_shape(skip_space(s), &t.shape)))
		return NULL;
	if (!vq_type_valid(&t))
		return NULL;
	*out = t;
	return s;
}

/* --- elements ------------------------------------------------------------- */

double
vq_get(const struct vq_view *v, int64_t i)
{
	switch (v->type->dtype) {
	case VQ_F32:  return ((const float *)v->data)[i];
	case VQ_F64:  return ((const double *)v->data)[i];
	case VQ_BF16: return vq_bf16_to_f32(((const uint16_t *)v->data)[i]);
	case VQ_I32:  return ((const int32_t *)v->data)[i];
	case VQ_I64:  return (double)((const int64_t *)v->data)[i];
	case VQ_U8:   return ((const uint8_t *)v->data)[i];
	case VQ_BOOL: return ((const uint8_t *)v->data)[i] != 0;
	case VQ_DTYPES: break;
	}
	vq_bug("no such dtype: %d", (int)v->type->dtype);
}

/* To an integer in [lo, hi], towards zero; a NaN gives 0.  hi may round up to a
 * power of two in double, so the comparison is strict on that side. */
static int64_t
saturate(double x, int64_t lo, int64_t hi)
{
	if (isnan(x))
		return 0;
	if (x <= (double)lo)
		return lo;
	if (x >= (double)hi)
		return hi;
	return (int64_t)x;
}

void
vq_set(const struct vq_view *v, int64_t i, double x)
{
	switch (v->type->dtype) {
	case VQ_F32:  ((float *)v->data)[i] = (float)x; return;
	case VQ_F64:  ((double *)v->data)[i] = x; return;
	case VQ_BF16: ((uint16_t *)v->data)[i] = vq_f32_to_bf16((float)x); return;
	case VQ_I32:  ((int32_t *)v->data)[i] = (int32_t)saturate(x, INT32_MIN, INT32_MAX); return;
	case VQ_I64:  ((int64_t *)v->data)[i] = saturate(x, INT64_MIN, INT64_MAX); return;
	case VQ_U8:   ((uint8_t *)v->data)[i] = (uint8_t)saturate(x, 0, 255); return;
	case VQ_BOOL: ((uint8_t *)v->data)[i] = x != 0; return;
	case VQ_DTYPES: break;
	}
	vq_bug("no such dtype: %d", (int)v->type->dtype);
}

uint16_t
vq_f32_to_bf16(float f)
{
	union { float f; uint32_t u; } x = { f };

	if (isnan(f))
		return (uint16_t)(x.u >> 16 | 0x40);	/* quiet, or the payload's cut could leave an infinity */
	x.u += 0x7fff + (x.u >> 16 & 1);
	return (uint16_t)(x.u >> 16);
}
