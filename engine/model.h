/*
 * model -- a model file, its `use`d files and overrides, checked against the
 * language's tables; and its graphs expanded to the IR
 *
 * graphs/README.md is the language's reference.
 */
#ifndef VQ_ENGINE_MODEL_H
#define VQ_ENGINE_MODEL_H

#include "engine/graph.h"
#include "engine/yaml.h"

struct vq_model;

/* "path=value" from the command line. */
struct vq_override {
	const char *text;
};

/*
 * Loads a model file.  `use` names are looked for beside the file, then in the
 * library folders (VQGRAPH_GRAPHS, the source tree's graphs/, the installed
 * share folder).  All errors of all files are reported.  NULL after errors.
 */
struct vq_model *vq_model_load(const char *path, const struct vq_override *set, int nset,
    struct vq_diags *d);
struct vq_model *vq_model_parse(const char *name, const char *text, size_t len,
    const struct vq_override *set, int nset, struct vq_diags *d);
void vq_model_free(struct vq_model *m);

const char *vq_model_path(const struct vq_model *m);
/* Where relative paths of data start: the model file, unless another path was set (a run's
 * model is a copy of what stood elsewhere).  The path is copied. */
const char *vq_model_place(const struct vq_model *m);
void vq_model_set_place(struct vq_model *m, const char *path);
int vq_model_graphs(const struct vq_model *m);
const char *vq_model_graph_name(const struct vq_model *m, int i);

/* The flattened model, every default written out; itself a valid model file. */
void vq_model_print(const struct vq_model *m, struct vq_text *out);

/* A size named but not known in a graph's inputs ("batch") and what it is now. */
struct vq_size {
	const char *name;
	int64_t value;
};
/* The free size names of a graph ("batch"), in order; returns how many. */
int vq_model_free_sizes(const struct vq_model *m, const char *graph, const char **names, int max);
/* Input i of a graph as declared: its name, NULL past the last; its rank; by axis the name
 * of the free size that stands there, or NULL. */
const char *vq_model_input(const struct vq_model *m, const char *graph, int i, int *rank,
    const char *size[VQ_MAX_RANK]);

/*
 * Expands one graph: inputs, parameters and state as leaves, steps as nodes, the
 * graph's `out` as outputs under the names written there; every step named by
 * `as` can be asked for too (vq_graph_find_output), also inside modules
 * ("enc.conv.0.y").  train sets $train; with it, assign steps become stores.
 * NULL after errors.
 */
struct vq_graph *vq_model_expand(const struct vq_model *m, const char *graph, bool train,
    const struct vq_size *size, int nsize, struct vq_diags *d);

/*
 * A file used under an alias that has stages of its own: what this model builds on.
 * Its modules' parameters are named `alias.` and their names there.  The overrides are
 * those of the command line that begin with the alias, without it.
 */
struct vq_base {
	const char *alias;
	const char *path;
	struct vq_override *set;
	int nset;
	struct vq_range at;		/* of the `use` */
};
int vq_model_bases(const struct vq_model *m);
const struct vq_base *vq_model_base(const struct vq_model *m, int i);

/* "code" of "vq.code". */
const char *vq_last_part(const char *name);

/* --- stages: kept as trees, read by the stage with its own tables --------- */

int vq_model_stages(const struct vq_model *m);
const char *vq_model_stage_name(const struct vq_model *m, int i);
const struct vq_tree *vq_model_stage(const struct vq_model *m, int i);

/*
 * Reads a map (the tree) into a struct by its table: unknown keys, wrong types
 * and ranges are reported with place and near names; $x and $(...) are resolved
 * against the file's `let`.  what: "adam", for messages.  Keys in `others`
 * (NULL-terminated, may be NULL) are left to the caller.  Returns 0 or -1.
 */
int vq_model_read_params(const struct vq_model *m, const struct vq_tree *map, const char *what,
    const struct vq_param *table, void *into, const char *const *others, struct vq_diags *d);
/* A scalar of a stage as a number or text after $ resolution.  Text lives as long as the model. */
int vq_model_number(const struct vq_model *m, const struct vq_tree *scalar, double *out, struct vq_diags *d);
/* The key `range`: [-1, 1], or the name of such a list (of integers) under `let`. */
int vq_model_range(const struct vq_model *m, const struct vq_tree *t, double *lo, double *hi, struct vq_diags *d);
const char *vq_model_text(const struct vq_model *m, const struct vq_tree *scalar, struct vq_diags *d);

#endif
