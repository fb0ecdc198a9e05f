/*
 * bench -- `vqgraph bench`: what its files share
 */
#ifndef VQ_TOOLS_BENCH_H
#define VQ_TOOLS_BENCH_H

#include "engine/compile.h"
#include "tools/tool.h"

struct vq_bench_rounds {
	int64_t rounds, warmup;
	int64_t batch;		/* 0: the stage's */
	uint64_t seed;		/* of the weights */
	bool bf16;		/* where --precision is given */
};
/* Times a stage that draws samples, and prints one JSON object; errors are in c->d. */
void vq_bench_samples(struct vq_cli *c, const struct vq_model *m, int stage, const struct vq_bench_rounds *o);

/* Where the time of a step went, beside what this machine can do. */
struct vq_bench_profile {
	const struct vq_plan *plan;
	const double *node_s;		/* by node, of one step */
	double roof_gflops, copy_gb_per_s;
};
/* Rows of kinds of nodes, those that take longest first; tools/README.md lists the members. */
json_t *vq_bench_profile_json(const struct vq_bench_profile *p);
/* The same as a table on standard output. */
void vq_bench_profile_print(const struct vq_cli *c, const struct vq_bench_profile *p);

#endif
