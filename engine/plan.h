/*
 * plan -- where every value lives: lifetimes to offsets in one arena
 */
#ifndef VQ_ENGINE_PLAN_H
#define VQ_ENGINE_PLAN_H

#include "engine/compile.h"

/* Fills p->place, arena_bytes and the copies that stores still need. */
void vq_plan_memory(struct vq_plan *p);

/* Makes the steps and their views; places must be filled. */
void vq_plan_steps(struct vq_plan *p, bool reference);
/* 64-byte aligned memory for arenas, in large pages where the system has them; free() ends it. */
void *vq_plan_alloc_arena(int64_t bytes);

/* May output o take over the memory of input j, if that dies at this node? */
bool vq_plan_may_share(const struct vq_graph *g, const struct vq_node *n, int o, int j);
/* Bytes of scratch that a node asks for. */
int64_t vq_plan_scratch(const struct vq_graph *g, const struct vq_node *n, int threads);

/* One node as the executor runs it. */
struct vq_exec_step {
	void (*run)(const struct vq_call *c);	/* NULL: an alias, nothing to do */
	struct vq_call call;
	int64_t scratch_offset;			/* -1: none */
};

#endif
