/*
 * bench -- `vqgraph bench`: what its two files share
 */
#ifndef VQ_TOOLS_BENCH_H
#define VQ_TOOLS_BENCH_H

#include "tools/tool.h"

struct vq_bench_rounds {
	int64_t rounds, warmup;
	int64_t batch;		/* 0: the stage's */
	uint64_t seed;		/* of the weights */
};
/* Times a stage that draws samples, and prints one JSON object; errors are in c->d. */
void vq_bench_samples(struct vq_cli *c, const struct vq_model *m, int stage, const struct vq_bench_rounds *o);

#endif
