/*
 * tool -- what the subcommands share: models and sizes from the command line,
 * numbers and tables for people
 */
#ifndef VQ_TOOLS_TOOL_H
#define VQ_TOOLS_TOOL_H

#include <jansson.h>

#include "datasets/dataset.h"
#include "engine/compile.h"
#include "engine/model.h"
#include "tools/cli.h"

enum { VQ_MAX_SIZES = 16 };

/* --- models ---------------------------------------------------------------- */

/* The model of argument 0: a file, or a run's folder (its resolved.yaml), with the
 * overrides, which are echoed; c frees it.  NULL after errors. */
struct vq_model *vq_tool_model(struct vq_cli *c);
/* The checkpoint of a run's folder: the best, or the last (which may be missing). */
const char *vq_tool_weights(struct vq_cli *c, const char *run);
/* The weights of argument 0: `given` (--checkpoint), or those of the run; NULL after an error. */
const char *vq_tool_checkpoint(struct vq_cli *c, const char *given);
/* What --data names, SOURCE, SOURCE:SPLIT or FILE.npy, into a spec that holds the rest. */
void vq_tool_source(struct vq_cli *c, const char *text, struct vq_data_spec *spec);
/* The graph's name as asked for, or the only one when asked is NULL; NULL after an
 * error that lists them. */
const char *vq_tool_graph(struct vq_cli *c, const struct vq_model *m, const char *asked);
/* An error's help: the near name among n, or all of them. */
void vq_tool_near(struct vq_diag *e, const char *wrong, const char *const *name, int n);

/* The free sizes of a graph: "name=value" of given first; `batch` from batch, or else
 * the training stage that uses the graph; 1 for the rest.  Returns how many, -1 after errors. */
int vq_tool_sizes(struct vq_cli *c, const struct vq_model *m, const char *graph, int64_t batch,
    const struct vq_strings *given, struct vq_size out[VQ_MAX_SIZES]);
/* The batch of the stage that trains this graph, 0 when none does. */
int64_t vq_tool_batch(const struct vq_model *m, const char *graph);

/* Of --precision. */
enum { VQ_TOOL_F32, VQ_TOOL_BF16 };
extern const char *const vq_precisions[];

/* --- what a graph holds ---------------------------------------------------- */

int64_t vq_graph_elements(const struct vq_graph *g, enum vq_value_kind kind);
/* A name that the graph can be asked for: an output, a named value or a leaf;
 * VQ_NONE after an error with near names.  option: "--output", for the message. */
vq_id vq_tool_value(struct vq_cli *c, const struct vq_graph *g, const char *name, const char *option);

/* --- output ---------------------------------------------------------------- */

enum { VQ_NUM_STR = 32 };
/* "1,234,567"; "12.3 MB" (of 1000); "1.23 G". */
const char *vq_count_str(int64_t n, char buf[VQ_NUM_STR]);
const char *vq_bytes_str(double bytes, char buf[VQ_NUM_STR]);
const char *vq_si_str(double x, char buf[VQ_NUM_STR]);

/* A table of text: columns padded to their widest cell; right[i]: numbers. */
struct vq_table {
	int columns;
	const char *const *title;
	const bool *right;
	char **cell;
	int cells, cap;
};
void vq_table_cell(struct vq_table *t, const char *fmt, ...) VQ_PRINTF(2, 3);
/* Adds it to out and frees the cells. */
void vq_table_end(struct vq_table *t, bool color, struct vq_text *out);

/* To the file, whole or not at all, or to standard output when path is NULL or "-". */
int vq_tool_write(struct vq_cli *c, const char *path, const struct vq_text *t);
/* The object (taken over) and a line break to standard output. */
int vq_tool_json(struct vq_cli *c, json_t *object, bool pretty);
/* A string of JSON, whatever its bytes. */
json_t *vq_json_text(const char *s);
json_t *vq_json_shape(const struct vq_shape *s);
/* null when it is not finite. */
json_t *vq_json_real(double x);

#endif
