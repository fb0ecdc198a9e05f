/*
 * optimizer -- from a loss to nodes that update parameters, and the learning
 * rate of each step
 *
 * An optimizer is an op of ops/update.c and the state it keeps per parameter; a
 * schedule is a function of the step.  Both are rows of a table here: name,
 * sentence, parameters.
 */
#ifndef VQ_ENGINE_OPTIMIZER_H
#define VQ_ENGINE_OPTIMIZER_H

#include "engine/graph.h"

struct vq_optimizer_params {
	double lr;			/* base learning rate, times the schedule's factor */
	double beta1, beta2, eps;
	double momentum;
	bool nesterov;
	double weight_decay;
};

struct vq_optimizer {
	const char *name, *doc;
	const struct vq_param *params;	/* over struct vq_optimizer_params */
	const char *const *also;
};
extern const struct vq_optimizer vq_optimizers[];	/* ends with a NULL name */

struct vq_schedule_params {
	int64_t warmup;			/* steps of linear rise from 0 */
	double final;			/* factor at the end; plateau: the smallest */
	struct vq_ints at;		/* step list: epochs at which the factor falls */
	double factor;			/* step list, plateau: multiplier */
	int64_t patience;		/* plateau: validations without improvement */
	double peak;			/* one-cycle: share of the steps until the peak */
	double start;			/* one-cycle: factor at the beginning */
};

struct vq_schedule {
	const char *name, *doc;
	const struct vq_param *params;	/* over struct vq_schedule_params */
	/* The factor on the base rate at `step` (from 0) of `steps`. */
	double (*factor)(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t steps_per_epoch);
};
extern const struct vq_schedule vq_schedules[];		/* ends with a NULL name */

/* A moment of a stage: a step (from 0), or a share of the stage's steps. */
struct vq_moment {
	int64_t step;
	double share;			/* in (0, 1); 0: step counts */
};

enum { VQ_MAX_LOSSES = 4 };

/* One entry of a training stage's `updates`. */
struct vq_update {
	const char *minimize;		/* name of a scalar of the graph; the last one of `loss` */
	struct vq_loss {		/* what is minimized, and from when on; the first one from `from` */
		const char *name;
		struct vq_moment from;
	} loss[VQ_MAX_LOSSES];
	int losses;
	const char **report;		/* values that are told once it runs */
	int reports;
	const char **train;		/* modules, or none for all */
	int trains;
	const struct vq_optimizer *optimizer;
	struct vq_optimizer_params opt;
	const struct vq_schedule *schedule;
	struct vq_schedule_params sched;
	double clip;			/* largest gradient norm, 0: no limit */
	int64_t accumulate;		/* batches per update */
	struct vq_moment from;		/* first step at which it runs */
	const char **no_decay;		/* shell patterns of parameters without weight decay */
	int no_decays;
	struct vq_range at;		/* where it stands */
};

/* Whether the update is to train this parameter. */
bool vq_update_trains(const struct vq_update *u, const char *param);
/* By value, whether a gradient of y reaches it: what y is computed from, but for what is behind
 * a stop.  To be freed. */
bool *vq_reached(const struct vq_graph *g, vq_id y);
/*
 * Appends gradient and update nodes of update number k to an expanded training
 * graph: inputs "lr.<k>" and "count.<k>" (updates made so far, from 1; scalars,
 * f32), state "optimizer.<k>.*", stores, output "grad_norm.<k>" when clipping.
 * loss: which of its losses.  apply false: a batch that only accumulates.  Returns -1 after errors.
 */
int vq_update_build(struct vq_graph *g, const struct vq_update *u, int k, int loss, bool apply);
/* Moving averages of all stored parameters: state "average.<name>". */
void vq_average_build(struct vq_graph *g, double decay);

#endif
