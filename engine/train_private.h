/*
 * train_private -- what the files of the training stage share
 */
#ifndef VQ_ENGINE_TRAIN_PRIVATE_H
#define VQ_ENGINE_TRAIN_PRIVATE_H

#include "engine/checkpoint.h"
#include "engine/stage.h"

/* Each update begins, and changes its loss, once. */
enum { VQ_MAX_VARIANTS = 2 * (VQ_MAX_UPDATES * VQ_MAX_LOSSES + 1) };

/* Sums over some steps, kept as variables so that a checkpoint has them. */
struct vq_sums {
	double *sum;			/* by metric: sum over samples, number of samples */
	int64_t *hits[VQ_MAX_CODES];	/* by code: how often */
};

/* Counters of a stage, kept as a variable too; all are exact in a double. */
struct vq_counters {
	double best;			/* best value of the watched validation metric */
	double bad;			/* validations since */
	double plateau_bad;		/* the same since the last fall of a plateau schedule */
	double plateau;			/* factor of plateau schedules */
	double elapsed_s;		/* of earlier sessions */
};

struct vq_trainer {
	const struct vq_stage_run *r;
	const struct vq_train *t;
	struct vq_diags *d;

	struct vq_dataset *data, *val;
	struct vq_loader *loader;
	int64_t per_epoch;		/* steps */
	int64_t steps;			/* of the stage */
	int64_t step;			/* done so far */

	struct vq_variant { unsigned active; bool apply; struct vq_plan *plan; } variant[VQ_MAX_VARIANTS];
	int variants;
	struct vq_plan *eval, *eval_rest;	/* a whole batch, the last one */
	void *memory;
	int64_t memory_bytes;
	int64_t from[VQ_MAX_UPDATES][VQ_MAX_LOSSES];	/* first step of each update's losses */
	float lr[VQ_MAX_UPDATES], count[VQ_MAX_UPDATES];

	const char *metric[VQ_MAX_REPORTS];
	int metrics;
	const char *use_name[2 * VQ_MAX_CODES];
	struct vq_sums window, epoch;
	int64_t *use[VQ_MAX_CODES];	/* by code: how often in the epoch that ended last */
	struct vq_counters *counters;
	int64_t window_step;		/* where the window began */
	double window_time, epoch_time, started, speed;
	double saved_at;		/* when training began or the last checkpoint was written */
	double window_waited, epoch_waited;	/* of vq_loader_waited where they began */
	char *kept[VQ_MAX_KEEP];	/* by t->keep: all samples' values; the caller's to free */
};

/* Sets s->from, which shares of the training need s->steps for. */
void vq_trainer_set_starts(struct vq_trainer *s);
/* Whether any update begins at a share of the steps, which are known only when the data is. */
bool vq_train_has_shares(const struct vq_train *t);
/* What is minimized at this step, by update; see vq_active_loss. */
unsigned vq_trainer_active(const struct vq_trainer *s);
/* Tells which parameters have gradients and are not trained; -1 after errors. */
int vq_trainer_say_untrained(struct vq_trainer *s);
/* Tells what begins with this step, and that what was fine without it may be worse for a while. */
void vq_trainer_say_starts(struct vq_trainer *s);
/* The plan of one step with these updates on; made when first asked for. */
struct vq_plan *vq_trainer_plan(struct vq_trainer *s, unsigned active, bool apply);
/* Makes plans runnable in the memory that all of them share; -1 after an error: there is not as much. */
int vq_trainer_attach(struct vq_trainer *s, struct vq_plan *p, bool average);
/* Binds the fields of a batch to the graph's inputs of the same names. */
void vq_trainer_bind(struct vq_plan *p, const struct vq_dataset *data, const void *const *field);
/* -1 after an error when the inputs that the graph's outputs need are not what the data gives. */
int vq_trainer_check_inputs(struct vq_trainer *s, const struct vq_graph *g, const struct vq_dataset *data,
    int64_t batch);

int  vq_sums_open(struct vq_trainer *s, struct vq_sums *u, const char *what);
/* -1 after an error: a code that is none. */
int  vq_sums_add(const struct vq_trainer *s, struct vq_sums *u, const struct vq_plan *p, int64_t samples);
/* Keeps the use of the codes in the epoch so far in s->use. */
void vq_sums_keep_use(struct vq_trainer *s);
void vq_sums_clear(const struct vq_trainer *s, struct vq_sums *u);
void vq_sums_names(struct vq_trainer *s);
/* Means of the metrics that there were, then codes_used and perplexity of each
 * codebook: the last 2 * ncodes.  Returns how many; names live as long as the stage. */
int  vq_sums_read(const struct vq_trainer *s, const struct vq_sums *u, const char **name, double *value);
double vq_metric_find(const char *const *name, const double *value, int n, const char *wanted);

/* Means over the validation set into name and value; returns how many, -1 after errors or, where
 * nothing is trained, a signal.  What the stage keeps goes into s->kept. */
int vq_trainer_validate(struct vq_trainer *s, const char **name, double *value);
/*
 * Draws what the stage shows, of the first samples it evaluates on: samples/<stage>-<key>-<label>.png and
 * TensorBoard's pictures; after an epoch the GIFs over the epochs, too; at the end what is drawn once.
 */
enum vq_show_when { VQ_SHOW_EARLY, VQ_SHOW_EPOCH, VQ_SHOW_STOPPED };
int vq_trainer_show(struct vq_trainer *s, enum vq_show_when when, bool end);
struct vq_showing {
	enum vq_show_when when;
	bool end;
	char label[32];
	int64_t batch;			/* samples of the batch; the outputs of s->eval are of it */
	const float *image;		/* its field `image`, NULL: none */
};
/* Makes the plans of evaluation over s->val; with no `validate`, only what `show` needs. */
int vq_trainer_open_eval(struct vq_trainer *s);

#endif
