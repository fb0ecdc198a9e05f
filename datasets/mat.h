/*
 * mat -- arrays of numbers in MATLAB's files of version 5 (MathWorks, "MAT-File Format")
 *
 * A file is a header of 128 bytes and elements: a type and a length, then that many bytes, to
 * a multiple of 8.  An array is an element of elements (flags, dimensions, name, values), and may be
 * packed with zlib.  The values of an array of doubles are kept as integers where they are such.
 */
#ifndef VQ_DATASETS_MAT_H
#define VQ_DATASETS_MAT_H

#include "engine/diag.h"

enum { VQ_MAT_DIMS = 4, VQ_MAT_NAME = 32 };

struct vq_mat_array {
	char name[VQ_MAT_NAME];
	int64_t dim[VQ_MAT_DIMS];	/* the first index is the fastest; 1 beyond the last */
	int64_t n;			/* all of them */
	int type;			/* of the values, in the file's numbers */
	const uint8_t *data;
};

struct vq_mat {
	const char *path;
	struct vq_diags *diags;
	char *file;
	uint8_t **held;			/* what was unpacked */
	struct vq_mat_array *array;
	int arrays, array_cap, helds, held_cap;
};

/* Reads the arrays of real numbers with one of these names (NULL-terminated), passes over others; -1 after an error
 * (VQ_DATA).  Close it in any case. */
int vq_mat_open(struct vq_mat *m, const char *path, const char *const *names, struct vq_diags *d);
/* The same of bytes in memory (path: for errors), which are taken over. */
int vq_mat_take(struct vq_mat *m, const char *path, char *bytes, size_t n, const char *const *names, struct vq_diags *d);
void vq_mat_close(struct vq_mat *m);
/* NULL: there is none. */
const struct vq_mat_array *vq_mat_find(const struct vq_mat *m, const char *name);
/* Whether values are bytes, in data. */
bool vq_mat_bytes(const struct vq_mat_array *a);
/* A value that must be a whole number from lo to hi; false when it is not. */
bool vq_mat_whole(const struct vq_mat_array *a, int64_t i, int64_t lo, int64_t hi, int64_t *value);
/* An error about the file; returns -1. */
int vq_mat_refuse(const struct vq_mat *m, const char *fmt, ...) VQ_PRINTF(2, 3);

#endif
