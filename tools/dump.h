/*
 * dump -- what tools/dump*.c share: a graph as steps, and as boxes and lines
 */
#ifndef VQ_TOOLS_DUMP_H
#define VQ_TOOLS_DUMP_H

#include "engine/stage.h"
#include "tools/tool.h"

/* A step of a model file, or one node; blocks stand before what they hold. */
struct vq_row {
	const char *name;		/* within its block: "conv.0" */
	const char *path;		/* "enc.conv.0" */
	const char *what;		/* op or block */
	int depth, parent;		/* VQ_NONE at the top */
	bool shown;
	bool block;			/* shown rows stand below it */
	int nodes, first;		/* first: node, VQ_NONE when there is none */
	vq_id out;			/* what it gives on, VQ_NONE when unknown */
	int64_t params, state;		/* elements that it reads and no row before it */
	double flops, backward_flops;	/* of everything in it */
	double bytes;			/* of what it gives on */
};

struct vq_summary {
	const struct vq_graph *g;
	struct vq_row *row;
	int rows;
	int *row_of;			/* by node: the deepest row */
	int updates;			/* the row of what the engine adds by itself; VQ_NONE: none */
	struct vq_arena arena;
	int64_t params, state;
	double flops, backward_flops;
};

/* By steps, collapsed to those that hold nothing but ops; all_nodes: each node a row. */
void vq_summary_make(struct vq_summary *s, const struct vq_graph *g, bool all_nodes);
void vq_summary_free(struct vq_summary *s);
/* The shown row that holds the node. */
int vq_summary_shown(const struct vq_summary *s, int node);

/* --- formats --------------------------------------------------------------- */

/* What is said of a graph besides its nodes; plan may be NULL. */
struct vq_dump {
	const struct vq_graph *g;
	const struct vq_plan *plan;	/* of the same graph, compiled */
	const char *name, *mode;	/* mode: "eval", "train", "gradient", "step" */
	int64_t batch;			/* 0: no such size */
	json_t *stage;			/* what vq_dump_stage_json says of it, or NULL */
	bool all_nodes;
	bool color;
};

void vq_dump_table(const struct vq_dump *d, struct vq_text *out);
void vq_dump_dot(const struct vq_dump *d, struct vq_text *out);
void vq_dump_svg(const struct vq_dump *d, struct vq_text *out);
json_t *vq_dump_json(const struct vq_dump *d);
json_t *vq_dump_stage_json(const struct vq_train *t);
void vq_dump_origins(const struct vq_graph *g, struct vq_text *out);

/* --- pictures -------------------------------------------------------------- */

struct vq_box {
	enum vq_box_kind { VQ_BOX_INPUT, VQ_BOX_STEP, VQ_BOX_BACKWARD, VQ_BOX_UPDATE, VQ_BOX_OUTPUT,
	    VQ_BOX_BEND } kind;
	const char *title, *what, *type, *note;		/* note: parameters, FLOP */
	int layer;
	double x, y, w, h;		/* centre, size */
};
struct vq_line {
	int from, to;			/* boxes */
	const char *type;
	int bend, bends;		/* boxes of kind BEND it passes, one a layer */
};
struct vq_picture {
	struct vq_box *box;
	int boxes, box_cap;
	struct vq_line *line;
	int lines, line_cap;
	double width, height;
	struct vq_arena arena;
};
/* Boxes in topological order; their coordinates are not set. */
void vq_picture_make(struct vq_picture *p, const struct vq_dump *d);
void vq_picture_free(struct vq_picture *p);
int vq_picture_box(struct vq_picture *p, enum vq_box_kind kind);
/* Layers from top to bottom with few crossings; sets sizes, coordinates and bends. */
void vq_picture_layout(struct vq_picture *p);

#endif
