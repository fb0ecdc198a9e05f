/*
 * run -- the stages of a model file, in order, in a folder of their own
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/running.h"
#include "engine/sample.h"
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

int
vq_run_signal(void)
{
	return stopped_by;
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

/* --- stages -------------------------------------------------------------- */

void
vq_data_locate(const struct vq_stage_run *r, struct vq_data_spec *spec)
{
	if (spec->stage == NULL)
		return;
	char *path = vq_run_path(r->run, "%s", spec->stage);
	spec->source = vq_arena_printf(&r->vars->arena, "%s/", path);
	spec->base = NULL;
	free(path);
}

int
vq_stage_save(const struct vq_stage_run *r, const struct vq_position *at, const char *file, struct vq_diags *d)
{
	struct vq_meta meta = { 0 };
	struct vq_text resolved = { 0 };
	char number[32];

	vq_model_print(r->model, &resolved);
	vq_meta_set(&meta, "format", "vqgraph");
	vq_meta_set(&meta, "format_version", "1");
	vq_meta_set(&meta, "config", resolved.s);
	vq_meta_set(&meta, "stage", at->stage);
	snprintf(number, sizeof(number), "%lld", (long long)at->step);
	vq_meta_set(&meta, "step", number);
	snprintf(number, sizeof(number), "%lld", (long long)at->epoch);
	vq_meta_set(&meta, "epoch", number);
	snprintf(number, sizeof(number), "%lld", (long long)at->data_position);
	vq_meta_set(&meta, "data_position", number);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)r->seed);
	vq_meta_set(&meta, "seed", number);
	snprintf(number, sizeof(number), "%.3f", at->elapsed_s);
	vq_meta_set(&meta, "elapsed_s", number);
	char *path = vq_run_path(r->run, "checkpoints/%s", file);
	int error = vq_checkpoint_save(path, r->vars, true, &meta, d);
	free(path);
	vq_meta_free(&meta);
	vq_text_free(&resolved);
	return error;
}

/* Whether stage i is stage k or makes the data that it reads. */
static bool
serves(const struct vq_running *s, int i, int k)
{
	const char *name = vq_model_stage_name(s->model, i);
	const struct vq_train *t = &s->stage[k].train;

	return i == k || (t->data.stage && strcmp(t->data.stage, name) == 0) ||
	    (t->validate.stage && strcmp(t->validate.stage, name) == 0);
}

bool
vq_run_wants(const struct vq_running *s, int i)
{
	if (s->o->stage == NULL)
		return true;
	/* The checkpoint says how far training was: what follows would take the place of that. */
	if (s->resumed && s->stage[s->first].kind == VQ_STAGE_TRAIN && serves(s, i, s->first))
		return true;
	for (int k = 0; k < vq_model_stages(s->model); k++)
		if (strcmp(vq_model_stage_name(s->model, k), s->o->stage) == 0 && serves(s, i, k))
			return true;
	return false;
}

static int
run_stage(struct vq_running *s, struct vq_stage_run *r, int i)
{
	struct vq_planned *p = &s->stage[i];

	r->resumed = s->resumed && i == s->first ? &s->meta : NULL;
	r->data = r->val = NULL;
	vq_vars_settle(&s->vars);
	if (vq_stage_bind(s, i, true, &s->vars) < 0)
		return (int)vq_diags_status(s->d);
	if (i == s->reading) {
		r->data = s->data;
		r->val = s->val;
		s->reading = VQ_NONE;
	}
	if (p->kind == VQ_STAGE_ENCODE)
		return vq_encode_run(r, i, s->d);
	if (p->kind == VQ_STAGE_EVALUATE)
		return vq_evaluate_run(r, i, s->d);
	if (p->kind == VQ_STAGE_SAMPLE)
		return vq_sample_run(r, i, s->d);
	if (p->kind == VQ_STAGE_LOAD)
		return vq_load_run(r, i, s->d);
	vq_data_locate(r, &p->train.data);
	vq_data_locate(r, &p->train.validate);
	return vq_train_run(r, &p->train, s->d);
}

/* What a resumed run has behind it is not done again; what its stages have encoded is looked
 * at again, for it may have been removed.  A stage that was stopped before its end ends the run: a checkpoint
 * knows one stage that is not finished.  Sets s->cut, s->left. */
static int
run_stages(struct vq_running *s)
{
	const struct vq_run_options *o = s->o;
	struct vq_stage_run r = {
		.o = o, .model = s->model, .vars = &s->vars, .run = s->run, .seed = s->seed, .started = s->started,
		.deadline = o->max_seconds > 0 ? s->started + o->max_seconds : 0,
		.signal = &stopped_by, .save = &asked_to_save, .cut = &s->cut, .begun = &s->begun,
	};
	int code = 0, n = vq_model_stages(s->model);

	/* A checkpoint holds what the run builds on or starts from; one that is stopped before training has one, too. */
	if (!s->resumed && (vq_model_bases(s->model) > 0 || s->o->init_from) && vq_stage_save(&r, &(struct vq_position){
	    .stage = vq_model_stage_name(s->model, 0) }, "last.safetensors", s->d) < 0)
		return (int)vq_diags_status(s->d);
	for (int i = 0; i < n && code == 0 && !s->cut; i++) {
		if (!vq_run_wants(s, i) || (i < s->first && s->stage[i].kind != VQ_STAGE_ENCODE)) {
			s->left |= i >= s->first;
			continue;
		}
		if (r.deadline > 0 && vq_now() >= r.deadline) {
			vq_run_say(s->run, "no time is left for stage %s: vqgraph run --resume %s goes on there",
			    vq_model_stage_name(s->model, i), vq_run_dir(s->run));
			s->cut = true;
			break;
		}
		code = run_stage(s, &r, i);
		s->begun |= code == 0 && s->stage[i].kind != VQ_STAGE_LOAD;
		if (code == 0 && stopped_by)
			code = 128 + stopped_by;
	}
	if (vq_run_state(s->run, code == 0 && !s->cut && !s->left ? VQ_RUN_DONE : "stopped", s->d) < 0 && code == 0)
		code = (int)vq_diags_status(s->d);
	return code;
}

/* No stage has taken what is being read: it is waited for and dropped. */
static void
stop_reading(struct vq_running *s)
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

int
vq_run_file(const struct vq_run_options *o, struct vq_diags *d)
{
	struct vq_running s = { .o = o, .d = d, .reading = VQ_NONE, .started = vq_now() };
	bool stop = false;
	int code;

	vq_threads_set(o->threads);
	catch_signals();
	code = vq_run_prepare(&s, &stop);
	if (code == 0 && !stop) {
		vq_run_progress_mode(s.run, o->progress, o->color, o->quiet);
		vq_run_say(s.run, "run %s, seed %llu, threads: %d (%s), kernels for %s", vq_run_dir(s.run),
		    (unsigned long long)s.seed, vq_threads(), vq_threads_why(), vq_kernels()->name);
		for (int i = 0; i < o->nset; i++)
			vq_run_say(s.run, "set %s", o->set[i].text);
		if (o->resume && !s.resumed)
			vq_run_say(s.run, "nothing was saved of this run: it begins again");
		if (o->init_from)
			vq_run_say(s.run, "%d of the model's %d weights are from %s", s.taken, s.weights, o->init_from);
		code = run_stages(&s);
		vq_run_say(s.run, code == 0 && !s.cut ? "done: %s%s%s" : "stopped: %s", vq_run_dir(s.run),
		    s.left ? ", of its stages only " : "", s.left ? o->stage : "");
		if (code > 0 && code < 128 && !s.begun && !o->resume)	/* another attempt would leave another one */
			vq_run_remove(s.run);
	}
	stop_reading(&s);
	for (int i = 0; s.stage && i < vq_model_stages(s.model); i++)
		vq_train_free(&s.stage[i].train);
	vq_run_close(s.run);
	vq_model_free(s.model);
	vq_vars_free(&s.vars);
	vq_meta_free(&s.meta);
	free(s.stage);
	return code;
}
