/*
 * run -- the stages of a model file, in order, in a folder of their own
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/sample.h"
#include "engine/stage.h"
#include "ops/kernels/kernels.h"

/* --- signals ------------------------------------------------------------- */

/* What a signal handler may touch: the only mutable globals, set by the kernel. */
static volatile sig_atomic_t stopped_by, asked_to_save;

static void
on_stop(int sig)
{
	if (stopped_by)
		_exit(128 + sig);	/* the second one means it */
	stopped_by = sig;
}

static void
on_save(int sig)
{
	asked_to_save = 1;
}

static void
catch_signals(void)
{
	struct sigaction stop = { .sa_handler = on_stop }, save = { .sa_handler = on_save, .sa_flags = SA_RESTART };

	stopped_by = 0;
	asked_to_save = 0;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGUSR1, &save, NULL);
	signal(SIGXFSZ, SIG_IGN);	/* a write past a limit is an error, not a death */
}

/* --- the run's folder ---------------------------------------------------- */

/* "vqvae_mnist" of "graphs/vqvae_mnist.yaml". */
static char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = vq_strdup(slash ? slash + 1 : path);
	char *dot = strrchr(name, '.');

	if (dot && dot > name)
		*dot = '\0';
	return name;
}

static int64_t
bytes_of_vars(const struct vq_vars *v)
{
	int64_t sum = 0;

	for (int i = 0; i < v->count; i++)
		sum += (int64_t)vq_type_bytes(&v->var[i].type);
	return sum;
}

static struct vq_run *
create_run(const struct vq_run_options *o, const struct vq_model *m, int64_t bytes, uint64_t seed,
    struct vq_diags *d)
{
	struct vq_text resolved = { 0 };
	char *name = o->name ? vq_strdup(o->name) : base_name(o->file);
	size_t n;
	char *config = vq_file_read(o->file, VQ_YAML_BYTES, &n, VQ_CONFIG, d);
	struct vq_run *run = NULL;

	vq_model_print(m, &resolved);
	if (config)
		run = vq_run_create(&(struct vq_run_info){
			.out = o->out ? o->out : "runs", .name = name, .config = config, .config_path = o->file,
			.resolved = resolved.s, .command = o->command, .threads_why = vq_threads_why(),
			.isa = vq_kernels()->name, .seed = seed,
			/* last, best, and the temporary file of one of them */
			.bytes_needed = 3 * bytes + (1 << 20) }, d);
	free(config);
	free(name);
	vq_text_free(&resolved);
	return run;
}

/* --- stages -------------------------------------------------------------- */

static const char *const kind_names[VQ_STAGE_KINDS] = { "train", "encode", "evaluate", "sample" };

int
vq_stage_kind(const struct vq_model *m, int stage, struct vq_diags *d)
{
	const struct vq_tree *tree = vq_model_stage(m, stage), *what = vq_tree_get(tree, "do");

	for (int i = 0; what && what->kind == VQ_TREE_SCALAR && i < VQ_STAGE_KINDS; i++)
		if (strcmp(what->text, kind_names[i]) == 0)
			return i;
	struct vq_diag *e = vq_error(d, VQ_CONFIG, what ? &what->at : &tree->at,
	    what ? "a stage cannot do this" : "stage %s does not say what to `do`", vq_model_stage_name(m, stage));
	vq_note(e, NULL, "stages do: train, encode, evaluate, sample");
	return -1;
}

/* All stages are read before the first runs: an error in the last one is told at once. */
static int
read_stages(const struct vq_model *m, struct vq_train *train, struct vq_diags *d)
{
	int error = 0;

	for (int i = 0; i < vq_model_stages(m); i++) {
		int kind = vq_stage_kind(m, i, d);
		if (kind == VQ_STAGE_TRAIN)
			error |= vq_train_read(m, i, &train[i], d);
		if (kind == VQ_STAGE_SAMPLE) {
			struct vq_sample sample;
			error |= vq_sample_read(m, i, &sample, d);
			vq_sample_free(&sample);
		}
		error |= kind < 0;
	}
	return error ? -1 : 0;
}

/* The same for a stage that draws samples; nothing for others. */
static int
bind_sample(const struct vq_model *m, int i, struct vq_vars *vars, uint64_t seed, struct vq_diags *d)
{
	struct vq_sample s;

	if (vq_stage_kind(m, i, d) != VQ_STAGE_SAMPLE)
		return 0;
	int error = vq_sample_read(m, i, &s, d) < 0 || vq_sample_bind(m, &s, vars, seed, d) < 0;
	vq_sample_free(&s);
	return error ? -1 : 0;
}

/* Makes the variables of every training stage, so that the size is known before
 * the first step and each stage's graph has been judged. */
static int
bind_stages(const struct vq_model *m, const struct vq_train *train, struct vq_vars *vars, uint64_t seed,
    struct vq_diags *d)
{
	for (int i = 0; i < vq_model_stages(m); i++) {
		if (train[i].name == NULL) {
			if (bind_sample(m, i, vars, seed, d) < 0)
				return -1;
			continue;
		}
		const struct vq_train *t = &train[i];
		bool evaluates = t->validate.source || t->shows > 0;
		struct vq_graph *g = vq_train_graph(m, t, t->data.batch, (1u << t->updates) - 1, true, d), *e = NULL;
		int error = g == NULL || vq_vars_bind(vars, g, seed, d) < 0;
		if (!error && evaluates)
			error = (e = vq_eval_graph(m, t, t->data.batch, d)) == NULL || vq_vars_bind(vars, e, seed, d) < 0;
		vq_graph_free(g);
		vq_graph_free(e);
		if (error)
			return -1;
	}
	return 0;
}

/* Missing data is told before anything is written. */
static int
check_data(const struct vq_model *m, const struct vq_train *train, struct vq_diags *d)
{
	int error = 0;

	for (int i = 0; i < vq_model_stages(m); i++) {
		if (train[i].name == NULL)
			continue;
		error |= vq_dataset_check(&train[i].data, d);
		if (train[i].validate.source)
			error |= vq_dataset_check(&train[i].validate, d);
	}
	return error;
}

struct running {
	const struct vq_run_options *o;
	struct vq_diags *d;
	struct vq_model *model;
	struct vq_train *train;		/* by stage; name NULL where it trains nothing */
	struct vq_vars vars;
	struct vq_meta meta;		/* of the checkpoint resumed */
	struct vq_run *run;
	int first;			/* stage to begin with */
	bool resumed;
	uint64_t seed;
	int reading;			/* the stage whose data is being read, or VQ_NONE */
	struct vq_opening *data, *val;	/* it and what the stage evaluates on */
};

static int
run_stages(struct running *s, double started)
{
	const struct vq_run_options *o = s->o;
	struct vq_stage_run r = {
		.o = o, .model = s->model, .vars = &s->vars, .run = s->run, .seed = s->seed, .started = started,
		.deadline = o->max_seconds > 0 ? started + o->max_seconds : 0,
		.signal = &stopped_by, .save = &asked_to_save,
	};
	int code = 0;

	for (int i = s->first; i < vq_model_stages(s->model) && code == 0; i++) {
		if (o->stage && strcmp(vq_model_stage_name(s->model, i), o->stage) != 0)
			continue;
		if (r.deadline > 0 && vq_now() >= r.deadline)
			break;
		r.resumed = s->resumed && i == s->first ? &s->meta : NULL;
		int kind = vq_stage_kind(s->model, i, s->d);
		r.data = r.val = NULL;
		if (i == s->reading) {
			r.data = s->data;
			r.val = s->val;
			s->reading = VQ_NONE;
		}
		code = kind == VQ_STAGE_TRAIN ? vq_train_run(&r, &s->train[i], s->d) :
		    kind == VQ_STAGE_ENCODE ? vq_encode_run(&r, i, s->d) :
		    kind == VQ_STAGE_SAMPLE ? vq_sample_run(&r, i, s->d) : vq_evaluate_run(&r, i, s->d);
		if (code == 0 && stopped_by)
			code = 128 + stopped_by;
	}
	return code;
}

/* --- resuming ------------------------------------------------------------ */

/* Reads the checkpoint of the run and finds the stage it was in. */
static int
load_run(struct running *s)
{
	const char *names[64];
	char *path = vq_run_path(s->run, "checkpoints/last.safetensors");
	int error = vq_checkpoint_load(path, &s->vars, VQ_LOAD_ALL, &s->meta, s->d), n = 0;

	free(path);
	if (error < 0)
		return -1;
	const char *stage = vq_meta_get(&s->meta, "stage"), *step = vq_meta_get(&s->meta, "step");
	const char *seed = vq_meta_get(&s->meta, "seed");
	if (stage == NULL || step == NULL || seed == NULL) {
		vq_error(s->d, VQ_CHECKPOINT, NULL, "the checkpoint of %s does not say where training was",
		    vq_run_dir(s->run));
		return -1;
	}
	if (strtoll(step, NULL, 10) < 0) {
		vq_error(s->d, VQ_CHECKPOINT, NULL, "the checkpoint says that step %s was the last", step);
		return -1;
	}
	if ((s->first = vq_stage_find(s->model, stage, s->d)) == VQ_NONE)
		return -1;
	s->resumed = true;
	s->seed = strtoull(seed, NULL, 10);
	for (; n < vq_model_stages(s->model) && n < (int)VQ_COUNT(names); n++)
		names[n] = vq_model_stage_name(s->model, n);
	return vq_run_rewind(s->run, names, n, s->first, strtoll(step, NULL, 10), s->d);
}

/* A run is resumed with its own resolved configuration; overrides given now still
 * apply (more epochs, another batch of logging). */
static int
open_resumed(struct running *s)
{
	const struct vq_run_options *o = s->o;

	s->run = vq_run_open(o->out ? o->out : "runs", o->resume_from, s->d);
	if (s->run == NULL)
		return -1;
	char *path = vq_run_path(s->run, "resolved.yaml");
	s->model = vq_model_load(path, o->set, o->nset, s->d);
	free(path);
	return s->model ? 0 : -1;
}

/* The data of the stage that comes first is read while everything else is made. */
static void
start_reading(struct running *s)
{
	int i = s->first;

	while (s->o->stage && i < vq_model_stages(s->model) && strcmp(vq_model_stage_name(s->model, i), s->o->stage) != 0)
		i++;
	if (i >= vq_model_stages(s->model) || s->train[i].name == NULL)
		return;
	const struct vq_data_spec *val = vq_train_val(&s->train[i]);
	s->reading = i;
	s->data = vq_dataset_open_begin(&s->train[i].data);
	s->val = val ? vq_dataset_open_begin(val) : NULL;
}

/* No stage has taken what is being read: it is waited for and dropped. */
static void
stop_reading(struct running *s)
{
	struct vq_diags unheard = { 0 };

	if (s->reading == VQ_NONE)
		return;
	if (s->data)
		vq_dataset_close(vq_dataset_open_end(s->data, &unheard));
	if (s->val)
		vq_dataset_close(vq_dataset_open_end(s->val, &unheard));
	vq_diags_free(&unheard);
}

static uint64_t
choose_seed(const struct running *s)
{
	if (s->o->has_seed)
		return s->o->seed;
	for (int i = 0; i < vq_model_stages(s->model); i++)
		if (s->train[i].name)
			return (uint64_t)s->train[i].seed;
	return 1;
}

static int
prepare(struct running *s)
{
	const struct vq_run_options *o = s->o;

	if (o->resume) {
		if (open_resumed(s) < 0)
			return -1;
	} else if ((s->model = vq_model_load(o->file, o->set, o->nset, s->d)) == NULL) {
		return -1;
	}
	int n = vq_model_stages(s->model);
	if (n == 0) {
		vq_error(s->d, VQ_CONFIG, NULL, "%s has no stages: there is nothing to run", vq_model_path(s->model));
		return -1;
	}
	s->train = vq_alloc_array((size_t)n, sizeof(*s->train));
	if ((o->stage && vq_stage_find(s->model, o->stage, s->d) == VQ_NONE) ||
	    read_stages(s->model, s->train, s->d) < 0 || check_data(s->model, s->train, s->d) < 0)
		return -1;
	s->seed = choose_seed(s);
	if (o->resume && load_run(s) < 0)
		return -1;
	start_reading(s);
	if (o->init_from && !o->resume &&
	    vq_checkpoint_load(o->init_from, &s->vars, VQ_LOAD_PARAMS, NULL, s->d) < 0)
		return -1;
	if (bind_stages(s->model, s->train, &s->vars, s->seed, s->d) < 0)
		return -1;
	if (!o->resume)
		s->run = create_run(o, s->model, bytes_of_vars(&s->vars), s->seed, s->d);
	return s->run ? 0 : -1;
}

int
vq_run_file(const struct vq_run_options *o, struct vq_diags *d)
{
	struct running s = { .o = o, .d = d, .reading = VQ_NONE };
	double started = vq_now();
	int code = -1;

	vq_threads_set(o->threads);
	catch_signals();
	if (prepare(&s) == 0) {
		vq_run_progress_mode(s.run, o->progress, o->color, o->quiet);
		vq_run_say(s.run, "run %s, seed %llu, threads: %d (%s), kernels for %s", vq_run_dir(s.run),
		    (unsigned long long)s.seed, vq_threads(), vq_threads_why(), vq_kernels()->name);
		for (int i = 0; i < o->nset; i++)
			vq_run_say(s.run, "set %s", o->set[i].text);
		code = run_stages(&s, started);
		vq_run_say(s.run, code == 0 ? "done: %s" : "stopped: %s", vq_run_dir(s.run));
	}
	if (code < 0)
		code = (int)vq_diags_status(d);
	stop_reading(&s);
	for (int i = 0; s.train && i < vq_model_stages(s.model); i++)
		vq_train_free(&s.train[i]);
	vq_run_close(s.run);
	vq_model_free(s.model);
	vq_vars_free(&s.vars);
	vq_meta_free(&s.meta);
	free(s.train);
	return code;
}
