/*
 * sample -- `vqgraph sample`: what its two files share
 */
#ifndef VQ_TOOLS_SAMPLE_H
#define VQ_TOOLS_SAMPLE_H

#include "datasets/dataset.h"
#include "engine/sample.h"
#include "tools/tool.h"

/* The options of the command. */
struct vq_sample_options {
	int64_t n, seed, batch, top_k, steps;
	int precision;
	double temperature, choice_temperature, top_p, guidance, keep;
	const char *class, *out, *labels, *codes, *complete, *grid, *checkpoint, *stage;
};

struct vq_sample_task {
	struct vq_cli *c;
	const struct vq_sample_options *o;
	const struct vq_model *m;
	struct vq_sample s;
	struct vq_sampler *sampler;
	struct vq_vars vars;
	int64_t n;
	int64_t tokens;		/* of a sample */
	int32_t *class;		/* by sample, or NULL */
	int32_t *known;		/* [n, tokens], or NULL */
	float *original, *half;	/* to be completed: whole, and with what is given alone */
	struct vq_type picture;	/* of one of those: f32[h, w, c] */
};

/*
 * Reads the pictures that --complete names: sets original, half and known, n when there are
 * fewer, and with classes that were not asked for their own.  -1 after errors.
 */
int vq_sample_given(struct vq_sample_task *k);

#endif
