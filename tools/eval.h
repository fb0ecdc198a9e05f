/*
 * eval -- one graph on given arrays: what tools/eval*.c share
 */
#ifndef VQ_TOOLS_EVAL_H
#define VQ_TOOLS_EVAL_H

#include "engine/vars.h"
#include "tools/tool.h"

/* An array from a file, to be given to an input or as a cotangent. */
struct vq_array {
	const char *name;	/* of the input or value */
	const char *path;
	const char *option;	/* "--input": who named it */
	struct vq_type type;
	void *data;
};

/* Splits "NAME=FILE" of an option into the arena; -1 after an error. */
int vq_eval_split(struct vq_cli *c, const char *option, const char *text, const char **name,
    const char **path);
/* Reads all arrays of a repeated option; NULL after errors.  vq_arrays_free ends it. */
struct vq_array *vq_arrays_read(struct vq_cli *c, const char *option, const struct vq_strings *list);
void vq_arrays_free(struct vq_array *a, int n);
struct vq_array *vq_array_find(struct vq_array *a, int n, const char *name);
/*
 * Makes the array's elements those of the type wanted: same shape, and no value
 * may change but by rounding f64 to f32.  An error names both types.
 */
int vq_array_fit(struct vq_cli *c, struct vq_array *a, const struct vq_type *want);
/* The same for bytes of any origin: 0, or the index of the first element that does
 * not fit + 1, or -1 when the kinds of number do not. */
int64_t vq_convert(const struct vq_view *from, const struct vq_view *to);

/* The free sizes of the graph as the arrays have them; how many, -1 after errors. */
int vq_eval_sizes(struct vq_cli *c, const struct vq_model *m, const char *graph, struct vq_array *a, int n,
    const struct vq_strings *given, struct vq_size out[VQ_MAX_SIZES]);

/* Variables of the graph with their first values, then those of the file by name:
 * every parameter must be in it, with the shape the graph has. */
int vq_eval_vars(struct vq_cli *c, const struct vq_graph *g, const char *path, uint64_t seed,
    struct vq_vars *out);

#endif
