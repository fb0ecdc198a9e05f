/*
 * run_prepare -- a run before its first stage: judged whole, resumed or made
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/running.h"
#include "engine/sample.h"
#include "ops/kernels/kernels.h"

/* --- stages -------------------------------------------------------------- */

static const char *const kind_names[VQ_STAGE_KINDS] = { "train", "encode", "evaluate", "sample", "load" };

int
vq_stage_kind(const struct vq_model *m, int stage, struct vq_diags *d)
{
	const struct vq_tree *tree = vq_model_stage(m, stage), *what = vq_tree_get(tree, "do");

	for (int i = 0; what && what->kind == VQ_TREE_SCALAR && i < VQ_STAGE_KINDS; i++)
		if (strcmp(what->text, kind_names[i]) == 0)
			return i;
	struct vq_diag *e = vq_error(d, VQ_CONFIG, what ? &what->at : &tree->at,
	    what ? "a stage cannot do this" : "stage %s does not say what to `do`", vq_model_stage_name(m, stage));
	vq_note(e, NULL, "stages do: train, encode, evaluate, sample, load");
	return -1;
}

/* All stages are read before the first runs: an error in the last one is told at once. */
static int
read_stages(const struct vq_model *m, struct vq_planned *stage, struct vq_diags *d)
{
	struct vq_encode encode;
	struct vq_sample sample;
	struct vq_load_stage load;
	int error = 0;

	for (int i = 0; i < vq_model_stages(m); i++) {
		struct vq_planned *p = &stage[i];
		p->kind = vq_stage_kind(m, i, d);
		if (p->kind == VQ_STAGE_TRAIN) {
			error |= vq_train_read(m, i, &p->train, d);
		} else if (p->kind == VQ_STAGE_ENCODE) {
			error |= vq_encode_read(m, i, &encode, d);
			p->train = encode.t;
		} else if (p->kind == VQ_STAGE_EVALUATE) {
			error |= vq_evaluate_read(m, i, &p->train, d);
		} else if (p->kind == VQ_STAGE_SAMPLE) {
			error |= vq_sample_read(m, i, &sample, d);
			vq_sample_free(&sample);
		} else if (p->kind == VQ_STAGE_LOAD) {
			error |= vq_load_read(m, i, &load, d) < 0 || vq_load_check(m, &load, d) < 0;
			p->train = load.t;
		}
		error |= p->kind < 0;
	}
	return error ? -1 : 0;
}

/*
 * Every graph of every stage is judged before the first runs, beside what is there already; *bytes: what all
 * their variables take.
 */
static int
judge_stages(struct vq_running *s, int64_t *bytes)
{
	struct vq_vars all = { .types_only = true };
	int error = 0;

	for (int i = 0; i < s->vars.count; i++)
		vq_vars_borrow(&all, s->vars.var[i].name, &s->vars.var[i]);
	vq_vars_settle(&all);
	for (int i = 0; i < vq_model_stages(s->model) && error == 0; i++)
		error = vq_stage_bind(s, i, true, &all);
	*bytes = vq_vars_bytes(&all);
	vq_vars_free(&all);
	return error;
}

static bool
stage_trains(const struct vq_planned *p, const char *param)
{
	bool yes = false;

	for (int k = 0; p->kind == VQ_STAGE_TRAIN && k < p->train.updates; k++)
		yes |= vq_update_trains(&p->train.update[k], param);
	return yes;
}

/* A weight that stage i reads without training it, that stage k would train, and that nothing has; or NULL. */
static const char *
untrained(struct vq_running *s, int i, int k)
{
	struct vq_vars reads = { .types_only = true }, there = { .types_only = true };
	const char *name = NULL;

	if (vq_stage_bind(s, i, false, &reads) == 0 && vq_stage_bind(s, k, false, &there) == 0)
		for (int n = 0; n < reads.count && name == NULL; n++) {
			const char *w = reads.var[n].name;
			const struct vq_var *v = vq_vars_find(&s->vars, w);
			if (vq_is_weight(w) && vq_vars_find(&there, w) && stage_trains(&s->stage[k], w) &&
			    !stage_trains(&s->stage[i], w) && !(v && v->loaded))
				name = vq_arena_printf(&s->vars.arena, "%s", w);
		}
	vq_vars_free(&reads);
	vq_vars_free(&there);
	return name;
}

/* --stage leaves out other stages: what those train must have come from elsewhere, or be trained already. */
static int
check_trained(struct vq_running *s)
{
	for (int i = 0; s->o->stage && i < vq_model_stages(s->model); i++)
		for (int k = 0; k < i && vq_run_wants(s, i); k++) {
			const char *name = vq_run_wants(s, k) ? NULL : untrained(s, i, k);
			if (name == NULL)
				continue;
			vq_help(vq_error(s->d, VQ_USAGE, NULL, "--stage %s: stage %s reads %s, which stage %s trains, and this%s run has not",
			    s->o->stage, vq_model_stage_name(s->model, i), name, vq_model_stage_name(s->model, k), s->resumed ? "" : " new"),
			    s->resumed ? "without --stage it is trained first" :
			    "--resume RUN does the stage in a run that is trained; without --stage all are done");
			return -1;
		}
	return vq_diags_status(s->d) == VQ_OK ? 0 : -1;
}

/* Missing data is told before anything is written; what is missing for several stages once. */
static int
check_data(const struct vq_model *m, const struct vq_planned *stage, struct vq_diags *d)
{
	const char **missing = vq_alloc_array(2 * (size_t)vq_model_stages(m) + 1, sizeof(*missing));
	int n = 0;

	for (int i = 0; i < vq_model_stages(m); i++) {
		const struct vq_data_spec *spec[] = { &stage[i].train.data, &stage[i].train.validate };
		for (int k = 0; k < 2; k++) {
			const char *source = stage[i].train.name ? spec[k]->source : NULL;
			bool told = false;
			for (int t = 0; source && t < n; t++)
				told |= strcmp(missing[t], source) == 0;
			if (source && !told && vq_dataset_check(spec[k], d) < 0)
				missing[n++] = source;
		}
	}
	free(missing);
	return n > 0 ? -1 : 0;
}

/* --- the run's folder ---------------------------------------------------- */

static struct vq_run *
create_run(const struct vq_run_options *o, const struct vq_model *m, int64_t bytes, uint64_t seed,
    struct vq_diags *d)
{
	struct vq_text resolved = { 0 };
	char *name = o->name ? vq_strdup(o->name) : vq_file_stem(o->file);
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

/* --- resuming ------------------------------------------------------------ */

/* Drops what was logged after this step of this stage. */
static int
rewind_to(struct vq_running *s, int stage, int64_t step)
{
	const char *names[64];
	int n = 0;

	for (; n < vq_model_stages(s->model) && n < (int)VQ_COUNT(names); n++)
		names[n] = vq_model_stage_name(s->model, n);
	return vq_run_rewind(s->run, names, n, stage, step, s->d);
}

/* A stage that the run has behind it is not done again. */
static int
check_ahead(struct vq_running *s, const char *step)
{
	int i = s->o->stage ? vq_stage_find(s->model, s->o->stage, s->d) : s->first;

	if (i >= s->first || s->stage[i].kind == VQ_STAGE_ENCODE)
		return 0;
	vq_help(vq_error(s->d, VQ_USAGE, NULL, "--stage %s: %s has that stage behind it, it is at step %s of stage %s", s->o->stage,
	    vq_run_dir(s->run), step, vq_model_stage_name(s->model, s->first)), "in a new run: vqgraph run FILE --stage %s --init-from "
	    "%s/checkpoints/last.safetensors", s->o->stage, vq_run_dir(s->run));
	return -1;
}

/* Reads the checkpoint of the run and finds the stage it was in. */
static int
load_run(struct vq_running *s)
{
	char *path = vq_run_path(s->run, "checkpoints/last.safetensors");
	int error = vq_checkpoint_load(path, &s->vars, VQ_LOAD_ALL, &s->meta, s->d);

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
	if (check_ahead(s, step) < 0)
		return -1;
	s->seed = strtoull(seed, NULL, 10);
	return rewind_to(s, s->first, strtoll(step, NULL, 10));
}

/* What env.json tells: the precision of the training stages. */
static int
tell_precision(struct vq_running *s)
{
	struct vq_text t = { 0 };
	bool f32 = false, bf16 = false;

	for (int i = 0; i < vq_model_stages(s->model); i++)
		if (s->stage[i].kind == VQ_STAGE_TRAIN)
			*(s->stage[i].train.bf16 ? &bf16 : &f32) = true;
	for (int i = 0; f32 && bf16 && i < vq_model_stages(s->model); i++)
		if (s->stage[i].kind == VQ_STAGE_TRAIN)
			vq_text_add(&t, "%s%s %s", t.len ? ", " : "", vq_model_stage_name(s->model, i),
			    s->stage[i].train.bf16 ? "bf16" : "f32");
	int error = vq_run_env(s->run, "precision", t.len ? t.s : bf16 ? "bf16" : "f32", s->d);
	vq_text_free(&t);
	return error;
}

/* The model with what is set.  --precision is a key of every training stage, so that the run's files
 * remember it; what is set by its path comes after it. */
static struct vq_model *
load_model(struct vq_running *s, const char *path)
{
	const struct vq_run_options *o = s->o;
	struct vq_model *m = vq_model_load(path, o->set, o->nset, s->d);

	if (m == NULL || o->precision == NULL)
		return m;
	int n = vq_model_stages(m), set = 0;
	struct vq_override *all = vq_alloc_array((size_t)(n + o->nset) + 1, sizeof(*all));
	for (int i = 0; i < n; i++)
		if (vq_stage_kind(m, i, s->d) == VQ_STAGE_TRAIN)
			all[set++].text = vq_arena_printf(&s->vars.arena, "stages.%s.precision=%s",
			    vq_model_stage_name(m, i), o->precision);
	for (int i = 0; i < o->nset; i++)
		all[set++] = o->set[i];
	vq_model_free(m);
	m = vq_diags_status(s->d) == VQ_OK ? vq_model_load(path, all, set, s->d) : NULL;
	free(all);
	return m;
}

/* Whether the run was made from the file that was given with --resume. */
static int
check_same_file(const struct vq_running *s)
{
	char *config = vq_run_config_of(vq_run_dir(s->run)), *was = config ? realpath(config, NULL) : NULL;
	char *is = realpath(s->o->file, NULL);
	bool same = is && was && strcmp(is, was) == 0;

	if (!same && (is == NULL || was))
		vq_help(vq_error(s->d, VQ_USAGE, NULL, "%s is a run of %s, not of %s", vq_run_dir(s->run), was ? was : "another file",
		    s->o->file), "vqgraph run --resume %s goes on with it", vq_run_dir(s->run));
	free(config);
	free(was);
	free(is);
	return same || (is && !was) ? 0 : -1;
}

/* A run is resumed with its own resolved configuration; overrides given now still
 * apply (more epochs, another batch of logging). */
static int
open_resumed(struct vq_running *s)
{
	const struct vq_run_options *o = s->o;

	s->run = vq_run_open(o->out ? o->out : "runs", o->resume_from, s->d);
	if (s->run == NULL)
		return -1;
	char *path = vq_run_path(s->run, "resolved.yaml");
	s->model = load_model(s, path);
	free(path);
	char *config = vq_run_config_of(vq_run_dir(s->run));
	if (s->model && config)
		vq_model_set_place(s->model, config);
	free(config);
	return s->model && (o->file == NULL || check_same_file(s) == 0) ? 0 : -1;
}

/* The data of the stage that comes first is read while everything else is made. */
static void
start_reading(struct vq_running *s)
{
	int i = s->first;

	while (s->o->stage && i < vq_model_stages(s->model) && strcmp(vq_model_stage_name(s->model, i), s->o->stage) != 0)
		i++;
	if (i >= vq_model_stages(s->model) || s->stage[i].kind != VQ_STAGE_TRAIN || s->stage[i].train.data.stage)
		return;
	const struct vq_data_spec *val = vq_train_val(&s->stage[i].train);
	s->reading = i;
	s->data = vq_dataset_open_begin(&s->stage[i].train.data);
	s->val = val ? vq_dataset_open_begin(val) : NULL;
}

static uint64_t
choose_seed(const struct vq_running *s)
{
	if (s->o->has_seed)
		return s->o->seed;
	for (int i = 0; i < vq_model_stages(s->model); i++)
		if (s->stage[i].kind == VQ_STAGE_TRAIN)
			return (uint64_t)s->stage[i].train.seed;
	return 1;
}

/* The weights of --init-from that the model has, too; needed: all of the model. */
static int
start_from(struct vq_running *s, struct vq_vars *needed)
{
	const char *path = s->o->init_from;
	int n = needed->count;

	if (vq_checkpoint_load(path, needed, VQ_LOAD_PARAMS, NULL, s->d) < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		struct vq_var *x = &needed->var[i], *v = vq_vars_find(&s->vars, x->name);
		s->weights += vq_is_weight(x->name);
		if (!x->loaded)
			continue;
		if (v == NULL)
			v = vq_vars_add(&s->vars, x->name, x->kind, &x->type);
		free(v->data);
		v->data = x->data;
		x->data = NULL;
		v->loaded = true;
		s->taken++;
	}
	if (s->taken > 0)
		return 0;
	struct vq_diag *e = vq_error(s->d, VQ_CHECKPOINT, NULL, "%s has none of the model's %d weights", path, s->weights);
	if (needed->count > n)
		vq_note(e, NULL, "it has %s, for example, and the model %s", needed->var[n].name, n ? needed->var[0].name : "none");
	return -1;
}

/* A new run's weights: those of the runs it builds on, and those it is to start from.
 * *stop: there is no time left for this one. */
static int
load_weights(struct vq_running *s, bool *stop)
{
	struct vq_vars needed = { .types_only = true };
	int code = 0;

	if (vq_model_bases(s->model) == 0 && s->o->nbase == 0 && s->o->init_from == NULL)
		return 0;
	/* Graphs are judged before hours go into what they build on. */
	for (int i = 0; i < vq_model_stages(s->model) && code == 0; i++)
		if (vq_stage_bind(s, i, true, &needed) < 0)
			code = (int)vq_diags_status(s->d);
	if (code == 0)
		code = vq_run_bases(s->o, s->model, &needed, &s->vars, s->started, stop, s->d);
	if (code == 0 && !*stop && s->o->init_from && start_from(s, &needed) < 0)
		code = (int)vq_diags_status(s->d);
	vq_vars_free(&needed);
	return code;
}

/* A run that was killed before it saved anything begins again, with the seed it had. */
static int
begin_again(struct vq_running *s)
{
	char *seed = vq_run_env_of(vq_run_dir(s->run), "seed");

	s->seed = seed ? strtoull(seed, NULL, 10) : choose_seed(s);
	free(seed);
	return rewind_to(s, 0, 0);
}

/* What was set now is the run's from now on: without it what was refused would be refused again. */
static int
keep_set(struct vq_running *s)
{
	struct vq_text resolved = { 0 };

	vq_model_print(s->model, &resolved);
	int error = vq_run_resolved(s->run, resolved.s, s->d);
	vq_text_free(&resolved);
	return error;
}

int
vq_run_prepare(struct vq_running *s, bool *stop)
{
	const struct vq_run_options *o = s->o;
	int64_t bytes;
	int code;

	if (o->resume) {
		if (open_resumed(s) < 0)
			return (int)vq_diags_status(s->d);
	} else if ((s->model = load_model(s, o->file)) == NULL) {
		return (int)vq_diags_status(s->d);
	}
	int n = vq_model_stages(s->model);
	if (n == 0)
		vq_error(s->d, VQ_CONFIG, NULL, "%s has no stages: there is nothing to run", vq_model_path(s->model));
	s->stage = vq_alloc_array((size_t)n + 1, sizeof(*s->stage));
	if (n == 0 || (o->stage && vq_stage_find(s->model, o->stage, s->d) == VQ_NONE) ||
	    read_stages(s->model, s->stage, s->d) < 0 || check_data(s->model, s->stage, s->d) < 0)
		return (int)vq_diags_status(s->d);
	s->seed = choose_seed(s);
	if (o->resume && (vq_run_saved(s->run) ? load_run(s) : begin_again(s)) < 0)
		return (int)vq_diags_status(s->d);
	if (o->resume && o->has_seed && o->seed != s->seed) {
		vq_error(s->d, VQ_USAGE, NULL, "%s has the seed %llu: a run goes on with its own", vq_run_dir(s->run),
		    (unsigned long long)s->seed);
		return VQ_USAGE;
	}
	if (!s->resumed && ((code = load_weights(s, stop)) != 0 || *stop))
		return code;
	if (check_trained(s) < 0)
		return (int)vq_diags_status(s->d);
	start_reading(s);
	if (judge_stages(s, &bytes) < 0)
		return (int)vq_diags_status(s->d);
	if (!o->resume)
		s->run = create_run(o, s->model, bytes, s->seed, s->d);
	if (o->resume && (o->nset > 0 || o->precision) && keep_set(s) < 0)
		return (int)vq_diags_status(s->d);
	if (s->run == NULL || (o->resume && vq_run_state(s->run, "running", s->d) < 0) || tell_precision(s) < 0)
		return (int)vq_diags_status(s->d);
	return 0;
}

