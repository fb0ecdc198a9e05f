/*
 * type -- element types, shapes, and dense views
 *
 * Every tensor is dense and row-major: shapes outermost axis first, images
 * [n, h, w, c], tokens [n, t, c].
 */
#ifndef VQ_ENGINE_TYPE_H
#define VQ_ENGINE_TYPE_H

#include "engine/base.h"

enum vq_dtype {
	VQ_F32, VQ_F64, VQ_BF16, VQ_I32, VQ_I64, VQ_U8, VQ_BOOL,
	VQ_DTYPES
};
enum { VQ_MAX_RANK = 6 };

struct vq_shape {
	int rank;			/* 0: a scalar */
	int64_t dim[VQ_MAX_RANK];
};

struct vq_type {
	enum vq_dtype dtype;
	struct vq_shape shape;
};

struct vq_view {
	void *data;
	const struct vq_type *type;
};

size_t vq_dtype_size(enum vq_dtype t);
const char *vq_dtype_name(enum vq_dtype t);
bool vq_dtype_parse(const char *name, enum vq_dtype *out);
static inline bool vq_is_float(enum vq_dtype t) { return t <= VQ_BF16; }

/* Number of elements; a shape that was accepted anywhere never overflows. */
int64_t vq_shape_count(const struct vq_shape *s);
/* Product of the axes [from, to). */
int64_t vq_shape_span(const struct vq_shape *s, int from, int to);
bool vq_shape_equal(const struct vq_shape *a, const struct vq_shape *b);
bool vq_type_equal(const struct vq_type *a, const struct vq_type *b);
size_t vq_type_bytes(const struct vq_type *t);
/* false when a dimension is negative or the bytes exceed 2^46. */
bool vq_type_valid(const struct vq_type *t);
struct vq_type vq_type_of(enum vq_dtype t, int rank, const int64_t *dim);
struct vq_shape vq_shape_of(int rank, const int64_t *dim);
/* numpy's rule, aligned at the last axis; false when they do not fit. */
bool vq_shape_broadcast(const struct vq_shape *a, const struct vq_shape *b, struct vq_shape *out);

/* "f32[128, 8, 8, 32]"; a scalar is "f32". */
enum { VQ_TYPE_STR = 160 };
const char *vq_type_str(const struct vq_type *t, char buf[VQ_TYPE_STR]);
const char *vq_shape_str(const struct vq_shape *s, char buf[VQ_TYPE_STR]);
/* Parses what vq_type_str prints (spaces optional); returns past it, or NULL. */
const char *vq_type_parse(const char *s, struct vq_type *out);

/* Element i of a dense array, whatever its type; bool and integers as numbers. */
double vq_get(const struct vq_view *v, int64_t i);
void vq_set(const struct vq_view *v, int64_t i, double x);

static inline float
vq_bf16_to_f32(uint16_t h)
{
	union { uint32_t u; float f; } x = { (uint32_t)h << 16 };
	return x.f;
}
uint16_t vq_f32_to_bf16(float f);	/* nearest, ties to even; NaN stays NaN */

#endif
