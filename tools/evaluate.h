/*
 * evaluate -- `vqgraph evaluate`: what its two files share
 */
#ifndef VQ_TOOLS_EVALUATE_H
#define VQ_TOOLS_EVALUATE_H

#include "engine/stage.h"
#include "tools/tool.h"

/* The options of the command. */
struct vq_evaluate_options {
	const char *data, *labels, *against, *features, *stage, *graph, *checkpoint;
	struct vq_strings report, count, values;
	int64_t n, batch;
};

/* A data set and what the graph made of it. */
struct vq_side {
	const char *text;		/* as on the command line */
	struct vq_evaluation e;
	int32_t *label;			/* of each sample, or NULL */
};

struct vq_evaluate_task {
	struct vq_cli *c;
	const struct vq_evaluate_options *o;
	struct vq_train t;
	struct vq_vars vars;
	struct vq_run_options run;
	struct vq_stage_run r;
	const char *weights;
	struct vq_side data, against;
};

/* What was kept of a value that k->t.keep names. */
const struct vq_view *vq_evaluate_kept(const struct vq_evaluate_task *k, const struct vq_side *s, const char *name);
/* NAME=FILE of --values; -1 after an error. */
int vq_evaluate_split(struct vq_cli *c, const char *text, const char **name, const char **path);
/* Writes the files of --values, counts, measures, and prints it all. */
void vq_evaluate_tell(struct vq_evaluate_task *k);

#endif
