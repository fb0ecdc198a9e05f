/*
 * sample_private -- what the files of sampling share
 */
#ifndef VQ_ENGINE_SAMPLE_PRIVATE_H
#define VQ_ENGINE_SAMPLE_PRIVATE_H

#include "engine/sample.h"

/* The graphs of a sample stage, judged. */
struct vq_sample_graphs {
	struct vq_incremental inc;
	struct vq_graph *decode;
	int64_t streams;	/* 2 with guidance, else 1: rows for each sample */
	int64_t vocab;		/* logits at each position */
	int64_t h, w;		/* of the grid of tokens; one row where it is none */
	struct vq_type picture;	/* f32[h, w, c] */
};

/* Makes and judges them for so many samples at once; -1 after errors. */
int vq_sample_graphs(const struct vq_model *m, const struct vq_sample *s, int64_t batch, struct vq_sample_graphs *g,
    struct vq_diags *d);
void vq_sample_graphs_free(struct vq_sample_graphs *g);

#endif
