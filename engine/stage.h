/*
 * stage -- what `vqgraph run` does: the stages of a model file in order
 */
#ifndef VQ_ENGINE_STAGE_H
#define VQ_ENGINE_STAGE_H

#include <signal.h>

#include "datasets/dataset.h"
#include "engine/compile.h"
#include "engine/log.h"
#include "engine/model.h"
#include "engine/optimizer.h"


struct vq_run_options {
	const char *file;		/* the model file */
	const struct vq_override *set;
	int nset;
	const char *command;		/* the whole command line, for command.txt */
	const char *name;		/* of the run; NULL: the file's name */
	const char *out;		/* folder of runs; NULL: "runs" */
	bool resume;
	const char *resume_from;	/* a run's folder; NULL: the newest in `out` */
	const char *init_from;		/* a checkpoint whose parameters to start from */
	const char *const *base;	/* "alias=RUN": runs that this one builds on, as given */
	int nbase;
	const char *stage;		/* only this stage */
	bool has_seed;
	uint64_t seed;
	const char *precision;		/* of every training stage: "f32", "bf16", or NULL: as the file says */
	int64_t max_steps;		/* the run ends at this step of a training stage, 0: no limit */
	double max_seconds;		/* of the whole run, 0: no limit */
	int threads;			/* 0: choose */
	enum vq_progress_mode progress;
	bool color, quiet, verbose;
	bool deterministic;
};

/*
 * Runs the stages.  Returns the exit code: 0, one of enum vq_status, or 128 +
 * the signal that stopped it (what was reached is saved then).  Errors are in d,
 * not yet printed.
 */
int vq_run_file(const struct vq_run_options *o, struct vq_diags *d);

/* --- training stages ----------------------------------------------------- */

enum { VQ_MAX_UPDATES = 8, VQ_MAX_REPORTS = 32, VQ_MAX_CODES = 8, VQ_MAX_KEEP = 16,
	VQ_MAX_COLUMNS = VQ_MAX_REPORTS + 2 * VQ_MAX_CODES };

struct vq_codes {
	const char *value;		/* name of an integer value */
	int64_t size;			/* how many codes there are */
};

/* A value that is drawn, and how. */
struct vq_show {
	const struct vq_show_kind *kind;
	const char *value;
	struct vq_range at;
};
enum { VQ_MAX_SHOWN = 16 };

/* A training stage as its table reads it. */
struct vq_train {
	const char *name;		/* of the stage */
	struct vq_range at;
	const char *graph;
	bool bf16;			/* products of the training step; everything else is f32 */
	struct vq_update update[VQ_MAX_UPDATES];
	int updates;
	struct vq_data_spec data;
	struct vq_data_spec validate;	/* source NULL: none */
	const char *report[VQ_MAX_REPORTS];
	int reports;			/* 0: every real number among the graph's `out`, -1: none */
	struct vq_codes codes[VQ_MAX_CODES];
	int ncodes;
	struct vq_show show[VQ_MAX_SHOWN];
	int shows;
	const char *keep[VQ_MAX_KEEP];	/* values that evaluation keeps for each sample */
	int keeps;
	int64_t epochs;			/* one of epochs and steps is given */
	int64_t steps;
	int64_t log_every;		/* steps between rows of metrics */
	int64_t keep_every;		/* steps between checkpoints that stay, 0: none */
	double average;			/* decay of the moving average of the weights, 0: none */
	const char *stop_metric;	/* early stopping: validation metric, or NULL */
	struct vq_range stop_at;
	int64_t stop_patience;
	int64_t seed;
};

/* Reads a `data:` map; -1 after errors. */
int vq_data_read(const struct vq_model *m, const struct vq_tree *tree, struct vq_data_spec *spec,
    struct vq_diags *d);
/* Data that is not trained on is not augmented: -1 after an error where it asks for that. */
int vq_data_plain(const struct vq_tree *tree, const struct vq_data_spec *spec, struct vq_diags *d);
/* Reads `report` and `codes` of a stage, where there; -1 after errors. */
int vq_reports_read(const struct vq_model *m, const struct vq_tree *stage, struct vq_train *t,
    struct vq_diags *d);
/* Reads `updates` of a stage; -1 after errors. */
int vq_updates_read(const struct vq_model *m, const struct vq_tree *stage, struct vq_train *t, struct vq_diags *d);
/* A list of names, or one name alone; returns how many, -1 after errors. */
int vq_names_read(const struct vq_model *m, const struct vq_tree *t, const char **out, int max, struct vq_diags *d);
/* Reads stage i of the model; -1 after errors. */
int vq_train_read(const struct vq_model *m, int i, struct vq_train *t, struct vq_diags *d);
void vq_train_free(struct vq_train *t);

/* The keys of `show`, up to a row without name. */
struct vq_trainer;
struct vq_showing;
struct vq_show_kind {
	const char *name, *doc;
	/* At steps 1, 2, 4, ... and epochs; at epochs; once, after the last step. */
	enum { VQ_SHOWN_OFTEN, VQ_SHOWN_BY_EPOCH, VQ_SHOWN_AT_END } when;
	/* Whether the value of the graph can be shown so, before anything is trained: -1 after an error.
	 * NULL: what is shown is a stage that draws samples. */
	int (*check)(const struct vq_graph *g, const struct vq_train *t, const struct vq_show *s, vq_id value);
	/* Draws all n values that the stage shows in this way. */
	int (*draw)(struct vq_trainer *s, const struct vq_showing *now, const struct vq_show *const *shown, int n);
};
extern const struct vq_show_kind vq_show_kinds[];
/* Whether any of what it shows needs its graph evaluated. */
bool vq_train_shows_values(const struct vq_train *t);
/* The first value shown in a way ("reconstructions"), or NULL. */
const char *vq_train_shown(const struct vq_train *t, const char *kind);

/* What a stage does; -1 after an error. */
enum { VQ_STAGE_TRAIN, VQ_STAGE_ENCODE, VQ_STAGE_EVALUATE, VQ_STAGE_SAMPLE, VQ_STAGE_LOAD, VQ_STAGE_KINDS };
int vq_stage_kind(const struct vq_model *m, int stage, struct vq_diags *d);
/* The stage by name, or VQ_NONE with an error that lists them. */
int vq_stage_find(const struct vq_model *m, const char *name, struct vq_diags *d);

/* `active` below has a field of bits for each update: 0, it is off, or 1 + the number of its loss. */
enum { VQ_ACTIVE_BITS = 4 };
/* The loss of update k, VQ_NONE: it is off. */
int vq_active_loss(unsigned active, int k);
/* All updates on, each with its last loss. */
unsigned vq_active_all(const struct vq_train *t);

/*
 * The graph of one training step: the stage's graph expanded for training at
 * that batch size, its reported values as outputs, gradients and updates.
 * active: which updates are on, and with which loss; apply: false for a batch that only accumulates.
 */
struct vq_graph *vq_train_graph(const struct vq_model *m, const struct vq_train *t, int64_t batch,
    unsigned active, bool apply, struct vq_diags *d);
/* Its two halves: forward, then gradients and updates appended; these take g over, NULL included. */
struct vq_graph *vq_train_forward(const struct vq_model *m, const struct vq_train *t, int64_t batch,
    unsigned active, struct vq_diags *d);
struct vq_graph *vq_train_updates(struct vq_graph *g, const struct vq_train *t, unsigned active, bool apply);
/*
 * Says, of a graph that vq_train_forward made with all updates on, which parameters gradients of what is
 * minimized reach and no update trains; adds nothing where there are none.
 */
void vq_train_untrained(const struct vq_graph *g, const struct vq_train *t, struct vq_text *out);
/* The same for evaluation: no updates. */
struct vq_graph *vq_eval_graph(const struct vq_model *m, const struct vq_train *t, int64_t batch,
    struct vq_diags *d);
/* "loss", "recon_loss", ...: the reported values of a graph that vq_train_graph or
 * vq_eval_graph made, in the order of the stage's `report` (or of the graph's `out`), then what
 * updates minimize and report.  A step's is the mean over its elements.  A graph lacks those of updates
 * that are off in it; one for evaluation, those of updates and losses that begin later. */
int vq_train_metrics(const struct vq_graph *g, const struct vq_train *t, const char *name[VQ_MAX_REPORTS]);
/* vq_train_graph compiled, its variables made and bound, with memory of its own. */
struct vq_plan *vq_train_build(const struct vq_model *m, const struct vq_train *t, int64_t batch,
    const struct vq_compile *how, struct vq_vars *vars, uint64_t seed, struct vq_diags *d);

/* The signal that is to stop the run, 0: none came. */
int vq_run_signal(void);

/* What a training stage works in; vq_run_file fills it. */
struct vq_stage_run {
	const struct vq_run_options *o;
	const struct vq_model *model;
	struct vq_vars *vars;
	struct vq_run *run;		/* the run's folder, log.h */
	uint64_t seed;
	double deadline;		/* of vq_now(), 0: none */
	volatile sig_atomic_t *signal;	/* the signal that came, 0: none */
	volatile sig_atomic_t *save;	/* SIGUSR1 came */
	const struct vq_meta *resumed;	/* metadata of the checkpoint resumed in this stage, or NULL */
	double started;			/* of vq_now() */
	/* Being read already for this stage: its data and what it evaluates on, or NULL. */
	struct vq_opening *data, *val;
	bool *cut;			/* set when a stage ends before its time */
	bool *begun;			/* set with the first step of training; or NULL */
};
/* Where a run stands. */
struct vq_position {
	const char *stage;
	int64_t step, epoch;
	int64_t data_position;		/* samples of this epoch that were trained on */
	double elapsed_s;
};
/* checkpoints/<file>: all variables, with the position and the model in the metadata. */
int vq_stage_save(const struct vq_stage_run *r, const struct vq_position *at, const char *file, struct vq_diags *d);
/* What a training stage evaluates on, or NULL. */
const struct vq_data_spec *vq_train_val(const struct vq_train *t);
int vq_train_run(const struct vq_stage_run *r, const struct vq_train *t, struct vq_diags *d);

/*
 * Where a `data:` map names a stage: its folder in the run becomes the source, which
 * lives as long as the model.  Other data is left as it is.
 */
void vq_data_locate(const struct vq_stage_run *r, struct vq_data_spec *spec);

/* --- stages that do not train --------------------------------------------- */

/* A stage of `do: encode`: values (t.keep) for each sample of some splits, kept as arrays in the
 * run's folder <stage>/ together with the data's labels (datasets/arrays.c reads them). */
enum { VQ_MAX_SPLITS = 3 };
struct vq_encode {
	struct vq_train t;		/* the data stands in t.validate */
	const char *split[VQ_MAX_SPLITS];
	int splits;
};
int vq_encode_read(const struct vq_model *m, int i, struct vq_encode *e, struct vq_diags *d);
/* Arrays that were made before from the same data by the same weights are kept. */
int vq_encode_run(const struct vq_stage_run *r, int stage, struct vq_diags *d);
int vq_evaluate_run(const struct vq_stage_run *r, int stage, struct vq_diags *d);

/* A stage of `do: load`: weights from a safetensors file. */
enum { VQ_MAX_RENAMES = 256, VQ_MAX_IGNORED = 16 };
struct vq_load_stage {
	struct vq_train t;		/* graph and name */
	struct vq_range at;
	const struct vq_tree *tree;
	const char *graph, *file;
	int layout;			/* 0: as here; 1: PyTorch's */
	const char *ours[VQ_MAX_RENAMES], *theirs[VQ_MAX_RENAMES];	/* beginnings of names */
	int names;
	const char *ignored[VQ_MAX_IGNORED];	/* shell patterns of names there */
	int ignores;
};
int vq_load_read(const struct vq_model *m, int i, struct vq_load_stage *s, struct vq_diags *d);
/* -1 after an error (VQ_DATA): the file is not there. */
int vq_load_check(const struct vq_model *m, const struct vq_load_stage *s, struct vq_diags *d);
/* VQ_CHECKPOINT when file and graph are not of the same names and shapes, each way. */
int vq_load_run(const struct vq_stage_run *r, int stage, struct vq_diags *d);
/* A stage that draws samples (sample.h): a grid, the pictures and their classes. */
int vq_sample_run(const struct vq_stage_run *r, int stage, struct vq_diags *d);
/* The grid of that stage with the weights of now; 1 when a signal came before all were drawn. */
struct vq_image;
int vq_sample_show(const struct vq_stage_run *r, const char *stage, struct vq_image *out, struct vq_diags *d);
/* Reads stage i, of `do: evaluate`: its data stands in t->validate.  -1 after errors. */
int vq_evaluate_read(const struct vq_model *m, int i, struct vq_train *t, struct vq_diags *d);

/* One pass over a data set with the weights as they are. */
struct vq_evaluation {
	const struct vq_stage_run *r;	/* model, vars, seed, o->threads */
	const struct vq_train *t;	/* graph, report, codes, keep, average; the batch of validate */
	struct vq_dataset *data;
	const char *weights;		/* the file that all variables must have come from; NULL: new ones
					 * have their first values */
	bool lenient;			/* reports that need an input which the data lacks are left out */
	/* Set by vq_evaluate. */
	const char *name[VQ_MAX_COLUMNS];	/* means over all samples */
	double value[VQ_MAX_COLUMNS];
	int n;
	struct vq_view kept[VQ_MAX_KEEP];	/* by t->keep: [samples, ...] */
	struct vq_type kept_type[VQ_MAX_KEEP];
	const char *left_out[VQ_MAX_REPORTS], *lacks;	/* what lenient left out, and the input */
	int left;
};
/* -1 after errors: what does not fit (VQ_DATA where the data was named on the command line),
 * a parameter that the weights lack (VQ_CHECKPOINT), a mean that is not finite (VQ_NOT_FINITE). */
int vq_evaluate(struct vq_evaluation *e, struct vq_diags *d);
void vq_evaluation_free(struct vq_evaluation *e);

/* --- what later stages are given ------------------------------------------- */

/*
 * Whether a stage's graph takes what the encoding stage that spec names makes: -1 after errors (VQ_CONFIG).
 * told, or NULL: that it takes windows of it.  Without such a stage there is nothing to judge.
 */
int vq_stage_fed(const struct vq_model *m, const struct vq_graph *g, const struct vq_data_spec *spec, struct vq_text *told,
    struct vq_diags *d);
/*
 * What stages after this one will find wrong with codes of the data that it has read: fewer samples than a batch,
 * no labels, a class that is taken for none.  -1 after errors (VQ_DATA); what may be meant so is told.
 */
int vq_feed_check(const struct vq_model *m, const char *stage, const struct vq_data_spec *now, const struct vq_dataset *data,
    struct vq_text *told, struct vq_diags *d);

/* --- what a run builds on -------------------------------------------------- */

/*
 * For each file that the model uses under an alias and that has stages of its own, finds a
 * finished run of exactly that model among the runs in o->out (or takes the one that o->base
 * names), else runs it first, and puts its weights into vars as `alias.` and their names.
 * needed: all variables of the model, by which a run that was named is judged.
 * *stop is set when that took all the time there was, or a signal came.  Returns an exit code.
 */
int vq_run_bases(const struct vq_run_options *o, const struct vq_model *m, const struct vq_vars *needed,
    struct vq_vars *vars, double started, bool *stop, struct vq_diags *d);

#endif
