/*
 * run -- `vqgraph run`: the stages of a model file, in order
 */
#include <stdlib.h>
#include <string.h>

#include "engine/stage.h"
#include "tools/tool.h"

struct options {
	const char *name, *out, *init_from, *stage;
	struct vq_maybe resume;
	struct vq_strings base;
	int64_t seed, max_steps;
	double max_time;
	int precision, progress;
	bool deterministic;
};

static int
run(struct vq_cli *c, void *options)
{
	const struct options *o = options;
	struct vq_run_options run = {
		.file = c->args ? c->arg[0] : NULL, .set = c->set, .nset = c->sets, .command = c->line,
		.name = o->name, .out = o->out, .resume = o->resume.given, .resume_from = o->resume.value,
		.init_from = o->init_from, .stage = o->stage, .base = o->base.s, .nbase = o->base.count,
		.has_seed = vq_cli_given(c, "seed"), .seed = (uint64_t)o->seed,
		.precision = vq_cli_given(c, "precision") ? vq_precisions[o->precision] : NULL,
		.max_steps = o->max_steps, .max_seconds = o->max_time, .threads = (int)c->threads,
		.progress = o->progress, .color = c->color_err, .quiet = c->quiet, .verbose = c->verbose,
		.deterministic = o->deterministic,
	};

	if (!run.file && !run.resume)
		vq_help(vq_usage_error(c, "FILE is missing"), "vqgraph run FILE [path=value ...]");
	if (o->name && (strchr(o->name, '/') || o->name[0] == '.'))
		vq_help(vq_usage_error(c, "--name wants a plain name, not '%s'", o->name),
		    "--out DIR says where the run's folder is made");
	if (run.resume && (o->name || o->init_from || o->base.count))
		vq_usage_error(c, "--resume goes on with a run as it is: --%s cannot be given with it",
		    o->name ? "name" : o->init_from ? "init-from" : "base");
	if (c->d.count)
		return VQ_USAGE;
	return vq_run_file(&run, &c->d);
}

static const char *const progresses[] = { "auto", "bar", "plain", "none", NULL };
static const char *const out_also[] = { "output", "output-dir", "outdir", "runs", "logdir", NULL };
static const char *const steps_also[] = { "steps", "iterations", "max-iters", NULL };
static const char *const resume_also[] = { "continue", "restart", "restore", NULL };
static const char *const base_also[] = { "tokenizer", "vqvae", "on", "first-stage", NULL };
static const char *const init_also[] = { "weights", "pretrained", "load", "checkpoint", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "name", 0, AT(VQ_O_STRING, name), "NAME", .doc = "of the run (default: the file's name)" },
	{ "out", 'o', AT(VQ_O_STRING, out), "DIR", .also = out_also,
	    .doc = "takes the place of runs/: the run is DIR/NAME" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME", .doc = "only this stage" },
	{ "seed", 's', AT(VQ_O_INT, seed), "N", 0, 9e15,
	    .doc = "of everything random (default: the stage's)" },
	{ "resume", 0, AT(VQ_O_MAYBE, resume), "RUN", .also = resume_also,
	    .doc = "goes on with a run's folder; without RUN, with the newest" },
	{ "init-from", 0, AT(VQ_O_STRING, init_from), "CKPT", .also = init_also,
	    .doc = "starts from a checkpoint's weights" },
	{ "base", 0, AT(VQ_O_LIST, base), "ALIAS=RUN", .also = base_also,
	    .doc = "builds on this run, in place of the one that is found or made" },
	{ "max-steps", 0, AT(VQ_O_INT, max_steps), "N", 1, 9e15, .also = steps_also,
	    .doc = "stops the run at step N of a training stage, with a checkpoint" },
	{ "max-time", 0, AT(VQ_O_DURATION, max_time), "TIME",
	    .doc = "stops the run after 90s, 30m, 1h30m, with a checkpoint" },
	{ "precision", 0, AT(VQ_O_ENUM, precision), "P", .choices = vq_precisions,
	    .doc = "of products and convolutions in training steps: f32, bf16 (default: as each stage says)" },
	{ "deterministic", 0, AT(VQ_O_FLAG, deterministic), .doc = "the same bits at any number of threads; every kernel gives them, so it changes nothing" },
	{ "progress", 0, AT(VQ_O_ENUM, progress), "HOW", .choices = progresses,
	    .doc = "how progress is shown" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph run graphs/vqvae_mnist.yaml", "trains, into runs/vqvae_mnist",
	"vqgraph run model.yaml codes=256 stages.vqvae.epochs=3 --name small", "with two values changed",
	"vqgraph run --resume", "goes on with the newest run",
	NULL
};
static const char *const also[] = { "train", "fit", "start", NULL };
extern const struct vq_command vq_command_run;
const struct vq_command vq_command_run = {
	.name = "run",
	.args = "FILE [path=value ...]",
	.doc = "executes the stages of a model file in order: trains",
	.about = "A bare name in an override is a `let` (codes=256); a dotted path reaches anything "
	    "(stages.vqvae.epochs=3). SIGINT and SIGTERM finish the step and save (a second one exits at "
	    "once); SIGUSR1 saves and goes on.",
	.examples = examples,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS | VQ_C_PIPE,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
