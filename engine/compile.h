/*
 * compile -- from an expanded graph to a plan that runs
 */
#ifndef VQ_ENGINE_COMPILE_H
#define VQ_ENGINE_COMPILE_H

#include "engine/graph.h"
#include "engine/op.h"
#include "engine/threads.h"
#include "engine/vars.h"

/* Less is no matter on any machine, and where computing again costs time it is in such steps. */
enum { VQ_KEEP_BELOW = 128 << 20 };

struct vq_compile {
	bool no_fuse, no_narrow;	/* without these passes: the same bits without narrow */
	/* Bytes: steps that take less keep for gradients what is cheap to compute again, too.  0: VQ_KEEP_BELOW. */
	int64_t keep_below;
	bool reference;			/* run every op's ref */
	bool bf16;			/* products round their operands to bf16, see precision.c */
	int threads;			/* 0: vq_threads() */
	const char *dump_pass;		/* the IR after this pass goes to dump as text, or NULL */
	struct vq_text *dump;
	bool timings;			/* seconds of each pass to dump */
};

/* Where a value lives while a plan runs. */
struct vq_place {
	enum { VQ_PLACE_NONE, VQ_PLACE_INPUT, VQ_PLACE_VAR, VQ_PLACE_CONST, VQ_PLACE_ARENA } kind;
	int64_t offset;			/* ARENA: bytes from its start */
	int64_t size;
	int from, to;			/* ARENA: first and last node that touches it */
	vq_id leaf;			/* INPUT, VAR, CONST: whose memory it is */
};

struct vq_plan {
	struct vq_graph *graph;		/* after all passes; owned */
	struct vq_place *place;		/* by value */
	struct vq_exec_step *step;	/* by node */
	int steps;
	struct vq_store *copy;		/* stores not written in place: copied at the end */
	int copies;
	int64_t arena_bytes;		/* scratch included */
	void *memory;			/* the arena, once attached */
	bool owns_memory;
	void **base;			/* by value: its data; inputs as vq_plan_input gave them */
	struct vq_view *view;		/* of all nodes, one after the other */
	int views;
	vq_id *view_of;			/* by view: its value */
	int threads;
	bool average;			/* attach takes "average.<name>" for a parameter that has one */
	int guard;			/* last node that a scalar output needs, for vq_plan_run_guarded */
};

/* The names of the passes in order, NULL-terminated. */
const char *const *vq_pass_names(void);

/*
 * Runs the passes (engine/compile.c lists them) and plans the memory.  Takes g
 * over, also on error.  NULL after errors.
 */
struct vq_plan *vq_compile(struct vq_graph *g, const struct vq_compile *how, struct vq_diags *d);
void vq_plan_free(struct vq_plan *p);

/*
 * Makes it runnable: parameters and state from vars (bound already), arena from
 * memory (at least arena_bytes, 64-byte aligned; NULL: its own).  Plans that
 * never run at once may share memory.
 */
void vq_plan_attach(struct vq_plan *p, struct vq_vars *v, void *memory);
/* The data of an input for the next runs, dense; false when there is no such input.
 * The pointer is read during vq_plan_run. */
bool vq_plan_input(struct vq_plan *p, const char *name, const void *data);
/* One step: no allocation, no lookup.  seed and step key the random draws. */
void vq_plan_run(struct vq_plan *p, uint64_t seed, uint64_t step);
/* The same, but stops before any update when a scalar output of a forward node is
 * not finite: false then, and parameters are as before the step. */
bool vq_plan_run_guarded(struct vq_plan *p, uint64_t seed, uint64_t step);
bool vq_view_finite(const struct vq_view *v);
/* An output after a run; data stays valid until the next run in that memory. */
bool vq_plan_output(const struct vq_plan *p, const char *name, struct vq_view *out);
double vq_plan_scalar(const struct vq_plan *p, const char *name);
/* The arena as text: who lives where, when. */
void vq_plan_text(const struct vq_plan *p, struct vq_text *out);
double vq_plan_flops(const struct vq_plan *p);
double vq_node_flops(const struct vq_graph *g, int node);
double vq_node_bytes(const struct vq_graph *g, int node);

/* Runs with every node timed, adding its seconds to time[node]. */
void vq_plan_profile(struct vq_plan *p, uint64_t seed, uint64_t step, double *time);
/* Runs node by node and returns the first whose output is not finite, or -1. */
int vq_plan_first_not_finite(struct vq_plan *p, uint64_t seed, uint64_t step);

#endif
