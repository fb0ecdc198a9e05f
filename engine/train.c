/*
 * train -- the loop: batches in, parameters updated, everything told and saved
 *
 * What a step does stands in its graph; what is here is when: which updates are
 * on, the learning rate, what is written, and that a run which was stopped goes
 * on with the same bits as one that was not.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_private.h"

/* Exit codes of a stage that was stopped from outside are 128 + the signal. */
enum {
	SIGNALLED = 128,
	SAVE_S = 600,		/* a long epoch is saved on the way, so that no more is lost than this */
};

static int64_t
epoch_of(const struct vq_trainer *s, int64_t step)
{
	return step / s->per_epoch;
}

/* Batch number `step` completes the update: its gradients are applied. */
static bool
applies(const struct vq_trainer *s, int64_t step)
{
	for (int k = 0; k < s->t->updates; k++)
		if ((step + 1) % s->t->update[k].accumulate != 0)
			return false;
	return true;
}

static void
set_rates(struct vq_trainer *s)
{
	for (int k = 0; k < s->t->updates; k++) {
		const struct vq_update *u = &s->t->update[k];
		int64_t since = s->step - s->from[k][0];
		double f = u->schedule->factor(&u->sched, since > 0 ? since : 0, s->steps - s->from[k][0], s->per_epoch);
		if (strcmp(u->schedule->name, "plateau") == 0)
			f *= s->counters->plateau;
		s->lr[k] = (float)(u->opt.lr * f);
		s->count[k] = (float)(since / u->accumulate + 1);
	}
}

/* --- opening ------------------------------------------------------------- */

/* What the data says of the length of the stage. */
static int
open_loader(struct vq_trainer *s)
{
	if (s->data->count < s->t->data.batch) {
		vq_error(s->d, VQ_DATA, s->t->data.at, "%s has %lld samples, fewer than one batch of %lld", s->data->name,
		    (long long)s->data->count, (long long)s->t->data.batch);
		return -1;
	}
	s->loader = vq_loader_new(s->data, s->t->data.batch, s->t->data.shuffle, false, s->r->seed);
	vq_loader_augment(s->loader);
	s->per_epoch = vq_loader_batches(s->loader);
	s->steps = s->t->steps > 0 ? s->t->steps : s->t->epochs * s->per_epoch;
	vq_trainer_set_starts(s);
	return 0;
}

static struct vq_plan *
plan_now(struct vq_trainer *s)
{
	return vq_trainer_plan(s, vq_trainer_active(s), applies(s, s->step));
}

const struct vq_data_spec *
vq_train_val(const struct vq_train *t)
{
	if (t->validate.source)
		return &t->validate;
	return vq_train_shows_values(t) ? &t->data : NULL;
}

/* What is read for the first time may be many pictures: how far it has come is said. */
static struct vq_dataset *
wait_for_data(struct vq_trainer *s, struct vq_opening *o, const struct vq_data_spec *spec)
{
	enum { SECONDS = 5 };
	struct vq_reading now;

	while (!vq_dataset_open_wait(o, SECONDS, &now))
		if (now.total > 0)
			vq_run_say(s->r->run, "stage %s: %lld of %lld pictures of %s (%s) are decoded", s->t->name,
			    (long long)now.done, (long long)now.total, spec->source, spec->split);
	return vq_dataset_open_end(o, s->d);
}

/* What would stop a later stage is told before this one is trained. */
static int
check_later(struct vq_trainer *s)
{
	struct vq_text told = { 0 };
	int error = s->r->o->stage ? 0 : vq_feed_check(s->r->model, s->t->name, &s->t->data, s->data, &told, s->d);

	if (told.len)
		vq_run_say(s->r->run, "%s", told.s);
	vq_text_free(&told);
	return error;
}

/* The step is compiled while threads read both sets. */
static struct vq_plan *
open_data(struct vq_trainer *s)
{
	const struct vq_data_spec *val = vq_train_val(s->t);
	struct vq_opening *train = s->r->data ? s->r->data : vq_dataset_open_begin(&s->t->data);
	struct vq_opening *test = s->r->val ? s->r->val : val ? vq_dataset_open_begin(val) : NULL;
	bool later = vq_train_has_shares(s->t);
	struct vq_plan *p = NULL;

	if (!later) {
		vq_trainer_set_starts(s);
		p = plan_now(s);
	}
	s->data = wait_for_data(s, train, &s->t->data);
	if (test)
		s->val = wait_for_data(s, test, val);
	if ((p == NULL && !later) || s->data == NULL || (test && s->val == NULL) || open_loader(s) < 0)
		return NULL;
	if (later && (p = plan_now(s)) == NULL)
		return NULL;
	if (check_later(s) < 0)
		return NULL;
	if (s->data->note)
		vq_run_say(s->r->run, "%s", s->data->note);
	if (s->val && s->val->note)
		vq_run_say(s->r->run, "%s", s->val->note);
	return vq_trainer_check_inputs(s, p->graph, s->data, s->t->data.batch) < 0 ? NULL : p;
}

static int
open_trainer(struct vq_trainer *s)
{
	const char *step = s->r->resumed ? vq_meta_get(s->r->resumed, "step") : NULL;

	s->step = step ? strtoll(step, NULL, 10) : 0;
	struct vq_plan *p = open_data(s);
	if (p == NULL || vq_trainer_say_untrained(s) < 0)
		return -1;
	s->metrics = vq_train_metrics(p->graph, s->t, s->metric);
	vq_sums_names(s);
	if (vq_sums_open(s, &s->window, "window") < 0 || vq_sums_open(s, &s->epoch, "epoch") < 0)
		return -1;
	if (s->val && vq_trainer_open_eval(s) < 0)
		return -1;
	s->started = s->window_time = s->epoch_time = vq_now();
	s->window_step = s->step;
	return 0;
}

static void
close_trainer(struct vq_trainer *s)
{
	for (int i = 0; i < s->variants; i++)
		vq_plan_free(s->variant[i].plan);
	vq_plan_free(s->eval);
	vq_plan_free(s->eval_rest);
	vq_loader_free(s->loader);
	vq_dataset_close(s->data);
	vq_dataset_close(s->val);
	for (int c = 0; c < s->t->ncodes; c++)
		free(s->use[c]);
	free(s->memory);
}

/* --- telling ------------------------------------------------------------- */

static double
elapsed(const struct vq_trainer *s)
{
	return s->counters->elapsed_s + vq_now() - s->started;
}

/* The share of the time since `then` that training stood waiting for data; `waited` is what it had by then. */
static double
wait_share(const struct vq_trainer *s, double then, double waited)
{
	return (vq_loader_waited(s->loader) - waited) / (vq_now() - then);
}

/* Said of an epoch where it is worth knowing. */
static void
describe_wait(const struct vq_trainer *s, struct vq_text *out)
{
	double share = wait_share(s, s->epoch_time, s->epoch_waited);

	if (share > 0.02)
		vq_text_add(out, "  waiting for data %.0f %%", 100 * share);
}

static int
write_row(struct vq_trainer *s, const char *split, const char **name, const double *value, int n, double wait)
{
	struct vq_metrics row = {
		.stage = s->t->name, .split = split, .step = s->step,
		.epoch = (double)s->step / (double)s->per_epoch, .time_s = elapsed(s),
		.samples_per_s = s->speed, .lr = (double)s->lr[0], .data_wait = wait, .n = n, .name = name, .value = value,
	};

	return vq_run_metrics(s->r->run, &row, s->d);
}

/* Metrics of the window, code use of the epoch so far. */
static int
write_window(struct vq_trainer *s)
{
	const char *name[VQ_MAX_COLUMNS];
	double value[VQ_MAX_COLUMNS], now = vq_now();
	struct vq_sums both = { .sum = s->window.sum };

	memcpy(both.hits, s->epoch.hits, sizeof(both.hits));
	s->speed = (double)(s->step - s->window_step) * (double)s->t->data.batch / (now - s->window_time);
	int n = vq_sums_read(s, &both, name, value);
	int error = write_row(s, "train", name, value, n, wait_share(s, s->window_time, s->window_waited));
	vq_sums_clear(s, &s->window);
	s->window_step = s->step;
	s->window_time = now;
	s->window_waited = vq_loader_waited(s->loader);
	return error;
}

/* "loss 0.0312  recon_loss 0.0281  codes 211/256 ppl 143"; of two levels "top codes ...  bottom codes ..." */
static void
describe(const struct vq_trainer *s, const char *const *name, const double *value, int n, struct vq_text *out)
{
	int metrics = n - 2 * s->t->ncodes;

	for (int i = 0; i < metrics; i++)
		vq_text_add(out, "%s%s %.4g", i ? "  " : "", name[i], value[i]);
	for (int c = 0; c < s->t->ncodes; c++) {
		const char *of = s->t->codes[c].value, *dot = strrchr(of, '.');
		vq_text_add(out, "  ");
		/* Of several, whose codes they are: "top" of "top.code". */
		if (s->t->ncodes > 1)
			vq_text_add(out, "%.*s ", (int)(dot ? dot - of : (ptrdiff_t)strlen(of)), of);
		vq_text_add(out, "codes %.0f/%lld ppl %.0f", value[metrics + 2 * c],
		    (long long)s->t->codes[c].size, value[metrics + 2 * c + 1]);
	}
}

static void
show_progress(struct vq_trainer *s)
{
	const char *name[VQ_MAX_COLUMNS];
	double value[VQ_MAX_COLUMNS], now = vq_now();
	struct vq_text text = { 0 };
	int64_t done = s->step - s->window_step;

	if (s->epoch.sum[1] == 0 || !vq_run_progress_due(s->r->run))
		return;
	int n = vq_sums_read(s, &s->epoch, name, value);
	describe(s, name, value, n, &text);
	vq_text_add(&text, "  lr %.1e", (double)s->lr[0]);
	describe_wait(s, &text);
	double speed = done > 0 && now - s->window_time > 1 ?
	    (double)done * (double)s->t->data.batch / (now - s->window_time) : s->speed;
	bool epochs = s->t->epochs > 0;
	vq_run_progress(s->r->run, &(struct vq_progress_now){
		.stage = s->t->name, .epoch = epochs ? epoch_of(s, s->step - 1) + 1 : 0,
		.epochs = epochs ? s->t->epochs : 0,
		.step = epochs ? s->step - epoch_of(s, s->step - 1) * s->per_epoch : s->step,
		.steps = epochs ? s->per_epoch : s->steps, .text = text.s, .samples_per_s = speed,
		.elapsed_s = elapsed(s),
		.left_s = speed > 0 ? (double)(s->steps - s->step) * (double)s->t->data.batch / speed : -1 });
	vq_text_free(&text);
}

/* A codebook of which little is used is named, with what helps. */
static void
warn_of_collapse(struct vq_trainer *s, const double *use)
{
	for (int c = 0; c < s->t->ncodes; c++) {
		double used = use[2 * c], size = (double)s->t->codes[c].size;
		if (used >= 0.25 * size)
			continue;
		vq_run_say(s->r->run, "%s: only %.0f of %.0f codes are in use (codebook collapse). What helps: a codebook "
		    "that starts from data and restarts dead codes (ema_codebook does) in place of one trained by gradient; "
		    "a lower learning rate, or a warm-up; fewer codes; a smaller dim", s->t->codes[c].value, used, size);
	}
}

/* --- saving -------------------------------------------------------------- */

static int
save(struct vq_trainer *s, const char *file)
{
	double before = s->counters->elapsed_s;
	struct vq_position at = { .stage = s->t->name, .step = s->step, .epoch = epoch_of(s, s->step),
	    .data_position = s->step % s->per_epoch * s->t->data.batch, .elapsed_s = elapsed(s) };

	s->counters->elapsed_s = 0;	/* a time is no training state: the metadata has it */
	int error = vq_stage_save(s->r, &at, file, s->d);
	s->counters->elapsed_s = before;
	return error;
}

static int
save_last(struct vq_trainer *s)
{
	char file[64];

	if (save(s, "last.safetensors") < 0)
		return -1;
	s->saved_at = vq_now();
	if (s->t->keep_every == 0 || s->step % s->t->keep_every != 0)
		return 0;
	snprintf(file, sizeof(file), "step-%lld.safetensors", (long long)s->step);
	return save(s, file);
}

/* --- an epoch's end ------------------------------------------------------ */

/* The metric that says which checkpoint is the best: what early stopping watches,
 * or the first that is reported. */
static int
judge(struct vq_trainer *s, const char *const *name, const double *value, int n, bool *stop)
{
	const char *watched = s->t->stop_metric ? s->t->stop_metric : name[0];
	double now = vq_metric_find(name, value, n, watched);
	struct vq_counters *c = s->counters;

	if (isnan(now) && s->t->stop_metric) {
		vq_error(s->d, VQ_CONFIG, NULL, "stop: '%s' is not among the metrics of validation", watched);
		return -1;
	}
	bool better = now < c->best;
	c->bad = better ? 0 : c->bad + 1;
	c->plateau_bad = better ? 0 : c->plateau_bad + 1;
	for (int k = 0; k < s->t->updates; k++) {
		const struct vq_update *u = &s->t->update[k];
		if (strcmp(u->schedule->name, "plateau") != 0 || c->plateau_bad <= (double)u->sched.patience)
			continue;
		c->plateau = fmax(c->plateau * u->sched.factor, fmax(u->sched.final, 1e-12));
		c->plateau_bad = 0;
		break;
	}
	*stop = s->t->stop_metric && c->bad >= (double)s->t->stop_patience;
	if (!better)
		return 0;
	c->best = now;
	return save(s, "best.safetensors");
}

static int
end_epoch(struct vq_trainer *s, bool *stop)
{
	const char *name[VQ_MAX_COLUMNS];
	double value[VQ_MAX_COLUMNS];
	struct vq_text text = { 0 };
	int n = vq_sums_read(s, &s->epoch, name, value), error = 0;

	if (s->window.sum[1] > 0)	/* steps since the last row */
		error = write_window(s);
	describe(s, name, value, n, &text);
	describe_wait(s, &text);
	warn_of_collapse(s, value + n - 2 * s->t->ncodes);
	if (s->t->validate.source && error == 0) {
		n = vq_trainer_validate(s, name, value);
		vq_text_add(&text, "  | val ");
		if (n >= 0)
			describe(s, name, value, n, &text);
		error = n < 0 ? -1 : write_row(s, "val", name, value, n, NAN);
	}
	vq_run_progress_line(s->r->run, "epoch %lld  %s  %.0f samples/s", (long long)epoch_of(s, s->step), text.s,
	    s->speed);
	vq_text_free(&text);
	vq_sums_keep_use(s);
	vq_sums_clear(s, &s->epoch);
	if (error == 0 && s->t->validate.source)
		error = judge(s, name, value, n, stop);
	if (error == 0)
		error = vq_trainer_show(s, VQ_SHOW_EPOCH, *stop || s->step == s->steps);
	if (error == 0)
		error = vq_run_plot(s->r->run, s->d);
	s->window_time = s->epoch_time = vq_now();
	s->window_waited = s->epoch_waited = vq_loader_waited(s->loader);
	return error;
}

/* --- a step -------------------------------------------------------------- */

/* Names the step and the first node whose result is not finite. */
static int
not_finite(struct vq_trainer *s, struct vq_plan *p)
{
	const struct vq_graph *g = p->graph;
	struct vq_diag *e;

	for (int i = 0; i < s->r->vars->count; i++) {
		const struct vq_var *v = &s->r->vars->var[i];
		if (v->kind != VQ_PARAM || vq_view_finite(&(struct vq_view){ v->data, &v->type }))
			continue;
		e = vq_error(s->d, VQ_NOT_FINITE, NULL, "step %lld of stage %s: parameter %s is not finite",
		    (long long)s->step + 1, s->t->name, v->name);
		vq_help(e, "a smaller learning rate, a warm-up or clip in the update may help; "
		    "the last checkpoint is from before");
		return -1;
	}
	int node = vq_plan_first_not_finite(p, s->r->seed, (uint64_t)s->step);
	const struct vq_range *at = NULL;
	if (node >= 0 && g->node[node].origin != VQ_NONE)
		at = &g->origin[g->node[node].origin].at;
	e = vq_error(s->d, VQ_NOT_FINITE, at, "step %lld of stage %s: the loss is not finite",
	    (long long)s->step + 1, s->t->name);
	if (node >= 0)
		vq_note(e, NULL, "the first node whose result is not finite is %s%s%s", g->node[node].op->name,
		    at ? " in " : "", at ? g->origin[g->node[node].origin].path : "");
	if (node >= 0)
		vq_origin_notes(g, g->node[node].origin, e);
	vq_help(e, "a smaller learning rate, a warm-up or clip in the update may help; "
	    "the last checkpoint is from before this step");
	return -1;
}

static int
one_step(struct vq_trainer *s)
{
	const void *field[VQ_MAX_FIELDS];
	int64_t n = vq_loader_next(s->loader, field);
	struct vq_plan *p = plan_now(s);

	if (p == NULL)
		return -1;
	vq_trainer_say_starts(s);
	vq_assert(n == s->t->data.batch);
	set_rates(s);
	vq_trainer_bind(p, s->data, field);
	if (s->r->begun)
		*s->r->begun = true;
	if (!vq_plan_run_guarded(p, s->r->seed, (uint64_t)s->step))
		return not_finite(s, p);
	s->step++;
	if (vq_sums_add(s, &s->window, p, n) < 0)
		return -1;
	return vq_sums_add(s, &s->epoch, p, n);
}

/* What was read goes into env.json; hashed after the first step, which it does not delay. */
static int
record_data(struct vq_trainer *s)
{
	const struct vq_dataset *set[] = { s->data, s->val };
	char hex[65], *key;
	int error = 0;

	for (size_t i = 0; i < VQ_COUNT(set) && error == 0; i++) {
		if (set[i] == NULL)
			continue;
		key = vq_asprintf("sha256 of %s, %s", set[i]->name, set[i]->split);
		error = vq_dataset_sha256(set[i], hex, s->d);
		if (error == 0 && hex[0] != '\0')
			error = vq_run_env(s->r->run, key, hex, s->d);
		free(key);
	}
	return error;
}

/* Pictures at steps 1, 2, 4, 8, ...: the beginning is where most happens. */
static int
show_early(struct vq_trainer *s)
{
	return (s->step & (s->step - 1)) == 0 ? vq_trainer_show(s, VQ_SHOW_EARLY, false) : 0;
}

static int
after_step(struct vq_trainer *s, bool *stop)
{
	int error = show_early(s);

	if (error == 0 && s->step == 1)
		error = record_data(s);
	if (error == 0 && s->step % s->t->log_every == 0)
		error = write_window(s);
	if (error == 0 && (s->step % s->per_epoch == 0 || s->step == s->steps)) {
		error = end_epoch(s, stop);
		if (error == 0)
			error = save_last(s);
		if (s->step % s->per_epoch == 0)
			vq_loader_start(s->loader, (uint64_t)epoch_of(s, s->step), 0);
	} else if (error == 0 && (*s->r->save || (s->t->keep_every > 0 && s->step % s->t->keep_every == 0) ||
	    vq_now() - s->saved_at > SAVE_S)) {
		*s->r->save = 0;
		error = save_last(s);
	}
	show_progress(s);
	return error;
}

/* Why training ends before its last step: a signal, the time, a limit of steps. */
static bool
is_stopped(const struct vq_trainer *s)
{
	int64_t limit = s->r->o->max_steps;

	return *s->r->signal || (s->r->deadline > 0 && vq_now() >= s->r->deadline) ||
	    (limit > 0 && s->step >= limit);
}

static void
say_stopped(struct vq_trainer *s)
{
	const char *name[VQ_MAX_COLUMNS];
	double value[VQ_MAX_COLUMNS];
	struct vq_text text = { 0 };
	int n = vq_sums_read(s, &s->epoch, name, value);

	if (s->epoch.sum[1] > 0)
		describe(s, name, value, n, &text);
	vq_run_say(s->r->run, "stage %s: stopped after step %lld of %lld  %s", s->t->name, (long long)s->step,
	    (long long)s->steps, text.s ? text.s : "");
	vq_run_say(s->r->run, "vqgraph run --resume %s goes on from there", vq_run_dir(s->r->run));
	vq_text_free(&text);
}

static int
train(struct vq_trainer *s)
{
	bool stop = false;
	int error = 0;

	if (s->counters->bad >= (double)s->t->stop_patience && s->t->stop_metric)
		return 0;		/* resumed after it had stopped by itself */
	s->saved_at = vq_now();
	vq_loader_start(s->loader, (uint64_t)epoch_of(s, s->step), s->step % s->per_epoch);
	while (error == 0 && s->step < s->steps && !stop && !is_stopped(s)) {
		error = one_step(s);
		if (error == 0)
			error = after_step(s, &stop);
	}
	/* Ends of epochs have saved; a stop before the first step leaves what can be resumed, too. */
	bool stopped = error == 0 && !stop && s->step < s->steps;
	if (stopped)
		*s->r->cut = true;
	if (stopped && (s->step == 0 || s->step % s->per_epoch != 0)) {
		vq_sums_keep_use(s);
		error = save_last(s);
	}
	if (stopped && error == 0)
		say_stopped(s);
	if (stopped && error == 0 && !*s->r->signal)	/* by a limit: shows how far it came */
		error = vq_trainer_show(s, VQ_SHOW_STOPPED, true);
	if (stopped && error == 0)
		error = vq_run_plot(s->r->run, s->d);
	return error;
}

int
vq_train_run(const struct vq_stage_run *r, const struct vq_train *t, struct vq_diags *d)
{
	struct vq_trainer s = { .r = r, .t = t, .d = d };
	int error = open_trainer(&s);

	if (error == 0) {
		const char *before = r->resumed ? vq_meta_get(r->resumed, "elapsed_s") : NULL;
		s.counters->elapsed_s = before ? strtod(before, NULL) : vq_now() - r->started;
		vq_run_say(r->run, "stage %s: %lld samples of %s, %lld steps of %lld, arena %.1f MB, from step %lld, "
		    "%.3f s after the start", t->name, (long long)s.data->count, s.data->where, (long long)s.steps,
		    (long long)t->data.batch, (double)s.memory_bytes / 1e6, (long long)s.step,
		    vq_now() - r->started);
		error = train(&s);
		s.counters->elapsed_s = 0;	/* nor is it one of the stages that follow */
	}
	close_trainer(&s);
	return error < 0 ? (int)vq_diags_status(d) : *r->signal ? SIGNALLED + *r->signal : 0;
}
