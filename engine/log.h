/*
 * log -- a run's folder, its metrics and plots, and the progress on the terminal
 *
 *   runs/<name>[-N]/   config.yaml resolved.yaml command.txt env.json log.txt
 *                      metrics.jsonl metrics.csv checkpoints/ samples/ plots/ tensorboard/
 *   runs/latest        a link to the newest
 */
#ifndef VQ_ENGINE_LOG_H
#define VQ_ENGINE_LOG_H

#include <stdio.h>

#include "engine/diag.h"

struct vq_run;

struct vq_run_info {
	const char *out;		/* folder of runs; made when missing */
	const char *name;		/* of this run; -2, -3... is added when it is taken */
	const char *config, *config_path;	/* text of the model file as given, and where it was */
	const char *resolved;		/* flattened, overrides applied */
	const char *command;
	const char *threads_why, *isa;	/* for env.json */
	uint64_t seed;
	int64_t bytes_needed;		/* free space to probe for before the first step */
};

/* Makes the folder and everything in it that is known before the first step.
 * NULL after errors (VQ_FAILED). */
struct vq_run *vq_run_create(const struct vq_run_info *info, struct vq_diags *d);
/*
 * Opens a run to go on with it: dir, or when NULL the newest in `out`.  No row
 * is removed yet (vq_run_rewind).  NULL after errors.
 */
struct vq_run *vq_run_open(const char *out, const char *dir, struct vq_diags *d);
/* Drops the rows of metrics (and TensorBoard's events) of this stage after `step`, of stages it does not know
 * (those after it, by the list's order) all: what is trained again is logged again. */
int vq_run_rewind(struct vq_run *r, const char *const *stages, int nstages, int stage, int64_t step,
    struct vq_diags *d);
/* Whether it has a checkpoint to go on from. */
bool vq_run_saved(const struct vq_run *r);
void vq_run_close(struct vq_run *r);

const char *vq_run_dir(const struct vq_run *r);
/* "<dir>/<relative>", for free(). */
char *vq_run_path(const struct vq_run *r, const char *fmt, ...) VQ_PRINTF(2, 3);
/* Removes the folder of a run that came to nothing; `latest`, too, where it leads there.  r is still to be closed. */
void vq_run_remove(struct vq_run *r);
/* Replaces resolved.yaml: what is set when a run is resumed stays set. */
int vq_run_resolved(struct vq_run *r, const char *text, struct vq_diags *d);
/* Makes a folder in the run's, if it is not there. */
int vq_run_folder(struct vq_run *r, const char *name, struct vq_diags *d);
/* A line to log.txt (with the time) and, unless quiet, to standard error. */
void vq_run_say(struct vq_run *r, const char *fmt, ...) VQ_PRINTF(2, 3);
/* Adds a member to env.json: text values (data SHA-256, ...). */
int vq_run_env(struct vq_run *r, const char *key, const char *value, struct vq_diags *d);

/*
 * Whether the run came to its end, "running" or "stopped" otherwise (env.json says it).
 * state_of reads that of any run's folder: "" when it cannot be told.  buf: of VQ_STATE_STR.
 */
enum { VQ_STATE_STR = 16 };
#define VQ_RUN_DONE "done"
int vq_run_state(struct vq_run *r, const char *state, struct vq_diags *d);
const char *vq_run_state_of(const char *dir, char buf[VQ_STATE_STR]);
/* A member of a run's env.json, a text or a whole number, for free(); NULL when it cannot be told. */
char *vq_run_env_of(const char *dir, const char *key);
/* Where the model file was that a run was made from, for free(), or NULL: relative paths in it start there. */
char *vq_run_config_of(const char *dir);

/* --- metrics ------------------------------------------------------------- */

struct vq_metrics {
	const char *stage, *split;	/* split: "train" or "val" */
	int64_t step;
	double epoch;			/* passes over the data so far */
	double time_s;			/* since the start of the run, over all its sessions */
	double samples_per_s, lr;
	double data_wait;		/* share of the time since the row before that stood waiting for data */
	int n;
	const char *const *name;
	const double *value;		/* not finite: null */
};
/* A row of metrics.jsonl and TensorBoard's events, at once on disk as far as the system is concerned. */
int vq_run_metrics(struct vq_run *r, const struct vq_metrics *m, struct vq_diags *d);
/* Rewrites metrics.csv and plots/<stage>-<metric>.svg (train and val curves) from metrics.jsonl. */
int vq_run_plot(struct vq_run *r, struct vq_diags *d);

/* --- pictures ------------------------------------------------------------ */

struct vq_image;
struct vq_shown {
	const char *stage, *split;	/* split: whose data it is drawn from */
	const char *what;		/* "reconstructions", "codes", ... */
	const char *label;		/* "epoch-003", "step-000064" */
	int64_t step;
};
/* samples/<stage>-<what>-<label>.png, without a label plots/<stage>-<what>.png; and TensorBoard's
 * picture `what` at that step. */
int vq_run_picture(struct vq_run *r, const struct vq_shown *s, const struct vq_image *im, struct vq_diags *d);

/* plots/<stage>-<what>.svg */
int vq_run_plot_svg(struct vq_run *r, const char *stage, const char *what, const struct vq_text *svg,
    struct vq_diags *d);
/* "epoch-003", "step-000064": the label of a picture. */
void vq_moment_label(char label[32], bool epoch, int64_t k);
/*
 * samples/<stage>-<what>.gif of the pictures of that name: steps 1, 2, 4, ... of the first epoch, each
 * epoch (evenly fewer of very many) and step, where it ends no epoch.  Nothing where there are not two.
 */
int vq_run_movie(struct vq_run *r, const char *stage, const char *what, int64_t per_epoch, int64_t step,
    struct vq_diags *d);

/* --- progress ------------------------------------------------------------ */

enum vq_progress_mode { VQ_PROGRESS_AUTO, VQ_PROGRESS_BAR, VQ_PROGRESS_PLAIN, VQ_PROGRESS_NONE };
/* How the run speaks on standard error. */
void vq_run_progress_mode(struct vq_run *r, enum vq_progress_mode mode, bool color, bool quiet);

struct vq_progress_now {
	const char *stage;
	int64_t epoch, epochs;		/* from 1; epochs 0: counted in steps */
	int64_t step, steps;		/* within the epoch (or the stage) */
	const char *text;		/* "loss 0.0312  recon 0.0281  codes 211/256 ppl 143  lr 3.0e-4" */
	double samples_per_s;
	double elapsed_s, left_s;	/* of the stage */
};
/* Redraws when it is time to (10 times a second on a terminal, every 30 s elsewhere);
 * due says so cheaply, before the text is made. */
bool vq_run_progress_due(struct vq_run *r);
void vq_run_progress(struct vq_run *r, const struct vq_progress_now *now);
/* A line that stays: one per epoch. */
void vq_run_progress_line(struct vq_run *r, const char *fmt, ...) VQ_PRINTF(2, 3);

#endif
