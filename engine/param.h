/*
 * param -- typed parameter tables: one row is declaration, default, bound,
 * validation, help and manual
 *
 * Ops, optimizers, schedules, data sources and stages all declare their
 * settings as a table of rows over a plain C struct.
 */
#ifndef VQ_ENGINE_PARAM_H
#define VQ_ENGINE_PARAM_H

#include "engine/diag.h"
#include "engine/type.h"

enum vq_param_kind {
	VQ_P_END, VQ_P_INT, VQ_P_REAL, VQ_P_BOOL, VQ_P_ENUM, VQ_P_INTS, VQ_P_STRING
};
enum { VQ_MAX_INTS = 8 };

/* A short list of integers: shapes, axes, strides. */
struct vq_ints {
	int count;
	int64_t v[VQ_MAX_INTS];
};

struct vq_param {
	const char *name;
	enum vq_param_kind kind;
	size_t offset;
	const char *init;		/* default as text; NULL: required */
	double min, max;		/* inclusive, for INT, REAL and each of INTS; both 0: no bounds */
	int min_count, max_count;	/* INTS: how many entries */
	const char *const *choices;	/* ENUM: NULL-terminated; value is the index, stored as int */
	const char *doc;
	const char *const *also;	/* names people type instead, NULL-terminated, or NULL */
};

#define VQ_INT(st, field, deflt, lo, hi, text) \
	{ .name = #field, .kind = VQ_P_INT, .offset = offsetof(st, field), .init = deflt, .min = lo, .max = hi, .doc = text }
#define VQ_REAL(st, field, deflt, lo, hi, text) \
	{ .name = #field, .kind = VQ_P_REAL, .offset = offsetof(st, field), .init = deflt, .min = lo, .max = hi, .doc = text }
#define VQ_BOOLEAN(st, field, deflt, text) \
	{ .name = #field, .kind = VQ_P_BOOL, .offset = offsetof(st, field), .init = deflt, .doc = text }
#define VQ_ENUM(st, field, deflt, names, text) \
	{ .name = #field, .kind = VQ_P_ENUM, .offset = offsetof(st, field), .init = deflt, .choices = names, .doc = text }
#define VQ_INTS(st, field, deflt, lo, hi, least, most, text) \
	{ .name = #field, .kind = VQ_P_INTS, .offset = offsetof(st, field), .init = deflt, .min = lo, .max = hi, \
	  .min_count = least, .max_count = most, .doc = text }
#define VQ_STRING(st, field, deflt, text) \
	{ .name = #field, .kind = VQ_P_STRING, .offset = offsetof(st, field), .init = deflt, .doc = text }
#define VQ_PARAMS_END { .name = NULL }

/* C types of the fields: INT int64_t, REAL double, BOOL bool, ENUM int,
 * INTS struct vq_ints, STRING const char * (borrowed from the text parsed). */

/*
 * Sets one field from text: "3", "1e-4", "true", a choice, "[1, 2]" (INTS also
 * takes a bare integer as a list of one), a string.  Returns 0, or -1 with the
 * reason in why ("must be at least 1, is 0"): no place, the caller has it.
 */
enum { VQ_WHY = 256 };
int vq_param_set(const struct vq_param *p, void *into, const char *text, char why[VQ_WHY]);
/* All defaults.  Required fields stay zero. */
void vq_params_default(const struct vq_param *table, void *into);
const struct vq_param *vq_param_find(const struct vq_param *table, const char *name);
/* "name=value name=value" (values without spaces, lists as [1,2]) over the
 * defaults; for ops' examples and for emitting nodes from C.  A string must
 * stand last (it is borrowed); required ones must be given. */
int vq_params_parse(const struct vq_param *table, void *into, const char *text, char why[VQ_WHY]);
/* The value of one field as the text that sets it. */
void vq_param_print(const struct vq_param *p, const void *from, struct vq_text *out);
/* "out, kernel, stride = 1, pad = 0": the signature, for notes and help. */
void vq_params_signature(const struct vq_param *table, struct vq_text *out);
bool vq_param_equal(const struct vq_param *table, const void *a, const void *b);

#endif
