/*
 * running -- what running a model file holds, between its preparation and its stages
 */
#ifndef VQ_RUNNING_H
#define VQ_RUNNING_H

#include "engine/checkpoint.h"
#include "engine/stage.h"

/* A stage as it was read.  What an encoding or evaluating one reads stands in train, too:
 * graph, values, data in validate. */
struct vq_planned {
	int kind;
	struct vq_train train;
};

struct vq_running {
	const struct vq_run_options *o;
	struct vq_diags *d;
	struct vq_model *model;
	struct vq_planned *stage;
	double started;
	struct vq_vars vars;
	struct vq_meta meta;		/* of the checkpoint resumed */
	struct vq_run *run;
	int first;			/* stage to begin with */
	bool resumed;
	bool begun;			/* a stage has trained, or anything but loaded */
	bool cut, left;			/* a stage ended before its time; --stage left some out */
	int weights, taken;		/* of the model; from --init-from */
	uint64_t seed;
	int reading;			/* the stage whose data is being read, or VQ_NONE */
	struct vq_opening *data, *val;	/* it and what the stage evaluates on */
};

/* Whether the run does stage i: all, or with --stage that one, what makes the data that it reads, and first the one that a
 * resumed run was in. */
bool vq_run_wants(const struct vq_running *s, int i);

/*
 * Makes the variables of stage i in vars: of every graph that it runs, with all its updates on.  What is there
 * already must fit.  shown: those of stages whose samples it shows, too.  -1 after errors.
 */
int vq_stage_bind(const struct vq_running *s, int i, bool shown, struct vq_vars *vars);

/*
 * Everything before the first stage: reads the model or what a run is resumed from, judges all its stages and
 * their data, finds or makes the runs it builds on, makes the run's folder.  Returns an exit
 * code; *stop: no time is left for this run.
 */
int vq_run_prepare(struct vq_running *s, bool *stop);

#endif
