/*
 * train_updates -- the keys of a training stage's updates
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/stage.h"
#include "engine/suggest.h"

static const char *
key_text(const struct vq_tree *list, int i)
{
	return list->item[i].key ? list->item[i].key->text : "";
}

static const char **
read_name_list(const struct vq_model *m, const struct vq_tree *t, int *n, struct vq_diags *d)
{
	enum { MOST = 64 };
	const char *name[MOST];
	int count = t ? vq_names_read(m, t, name, MOST, d) : 0;

	*n = count > 0 ? count : 0;
	const char **list = vq_alloc_array((size_t)*n + 1, sizeof(*list));
	memcpy(list, name, (size_t)*n * sizeof(*list));
	return list;
}

/* "{adam: {lr: 1e-3}}" or "adam": the one key and its map. */
static const char *
one_choice(const struct vq_tree *t, const char *what, const struct vq_tree **args, struct vq_diags *d)
{
	*args = NULL;
	if (t->kind == VQ_TREE_SCALAR)
		return t->text;
	if (t->kind == VQ_TREE_MAP && t->count == 1) {
		*args = t->item[0].value;
		return key_text(t, 0);
	}
	vq_error(d, VQ_CONFIG, &t->at, "one %s is wanted here, as in {name: {...}}", what);
	return NULL;
}

static void
unknown_choice(const struct vq_tree *at, const char *what, const char *name, struct vq_suggest *near,
    const char *all, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_CONFIG, &at->at, "there is no %s '%s'", what, name);

	if (near->best)
		vq_help(e, "there is one with a similar name: %s", near->best);
	vq_note(e, NULL, "known: %s", all);
}

static int
read_optimizer(const struct vq_model *m, const struct vq_tree *t, struct vq_update *u, struct vq_diags *d)
{
	const struct vq_tree *args;
	const char *name = one_choice(t, "optimizer", &args, d);
	struct vq_text all = { 0 };
	struct vq_suggest near;

	if (name == NULL)
		return -1;
	vq_suggest_start(&near, name);
	for (const struct vq_optimizer *o = vq_optimizers; o->name; o++) {
		if (strcmp(o->name, name) == 0)
			u->optimizer = o;
		vq_suggest_try(&near, o->name);
		if (o->also)
			vq_suggest_also(&near, o->name, o->also);
		vq_text_add(&all, "%s%s", all.len ? ", " : "", o->name);
	}
	if (u->optimizer == NULL)
		unknown_choice(t, "optimizer", name, &near, all.s, d);
	vq_text_free(&all);
	if (u->optimizer == NULL)
		return -1;
	vq_params_default(u->optimizer->params, &u->opt);
	return args ? vq_model_read_params(m, args, name, u->optimizer->params, &u->opt, NULL, d) : 0;
}

static int
read_schedule(const struct vq_model *m, const struct vq_tree *t, struct vq_update *u, struct vq_diags *d)
{
	const struct vq_tree *args = NULL;
	const char *name = t ? one_choice(t, "schedule", &args, d) : "constant";
	struct vq_text all = { 0 };
	struct vq_suggest near;

	if (name == NULL)
		return -1;
	vq_suggest_start(&near, name);
	for (const struct vq_schedule *s = vq_schedules; s->name; s++) {
		if (strcmp(s->name, name) == 0)
			u->schedule = s;
		vq_suggest_try(&near, s->name);
		vq_text_add(&all, "%s%s", all.len ? ", " : "", s->name);
	}
	if (u->schedule == NULL)
		unknown_choice(t, "schedule", name, &near, all.s, d);
	vq_text_free(&all);
	if (u->schedule == NULL)
		return -1;
	vq_params_default(u->schedule->params, &u->sched);
	if (args)
		return vq_model_read_params(m, args, name, u->schedule->params, &u->sched, NULL, d);
	for (const struct vq_param *p = u->schedule->params; p->name; p++)
		if (p->init == NULL) {
			vq_error(d, VQ_CONFIG, &t->at, "schedule %s needs %s", name, p->name);
			return -1;
		}
	return 0;
}

struct update_keys {
	double clip, from;
	int64_t accumulate;
};
static const struct vq_param update_params[] = {
	VQ_REAL(struct update_keys, clip, "0", 0, 1e9, "largest norm of the gradient, 0 for no limit"),
	VQ_INT(struct update_keys, accumulate, "1", 1, 1e6, "batches whose gradients make one update"),
	VQ_REAL(struct update_keys, from, "0", -1e300, 1e300, "step from which it runs, or, below 1, share of the steps before it"),
	VQ_PARAMS_END
};

static int
read_moment(double x, const struct vq_range *at, struct vq_moment *m, struct vq_diags *d)
{
	*m = (struct vq_moment){ .share = x > 0 && x < 1 ? x : 0 };
	if (m->share > 0)
		return 0;
	if (x < 0 || x > 1e15 || x != floor(x)) {
		vq_error(d, VQ_CONFIG, at, "must be a step, or, between 0 and 1, a share of the steps; is %g", x);
		return -1;
	}
	m->step = (int64_t)x;
	return 0;
}

/* Whether m is known not to be before the other moment: nothing is before the beginning, and steps and
 * shares cannot be compared. */
static bool
is_after(const struct vq_moment *m, const struct vq_moment *other)
{
	if ((m->share > 0) != (other->share > 0))
		return other->share <= 0 && other->step == 0;
	return m->share > 0 ? m->share >= other->share : m->step >= other->step;
}

/* {loss: 0, gan_loss: 0.3}: each from that moment on. */
static int
read_losses(const struct vq_model *m, const struct vq_tree *t, struct vq_update *u, struct vq_diags *d)
{
	double x;

	if (t->count < 1 || t->count > VQ_MAX_LOSSES) {
		vq_error(d, VQ_CONFIG, &t->at, "from 1 to %d losses can stand here", VQ_MAX_LOSSES);
		return -1;
	}
	for (int i = 0; i < t->count; i++) {
		struct vq_loss *l = &u->loss[u->losses++];
		const struct vq_range *at = &t->item[i].value->at;
		l->name = key_text(t, i);
		if (vq_model_number(m, t->item[i].value, &x, d) < 0 || read_moment(x, at, &l->from, d) < 0)
			return -1;
		if (i == 0 && x != 0) {
			vq_help(vq_error(d, VQ_CONFIG, at, "the first loss is minimized from the update's beginning: 0"),
			    "when the update begins is said by `from`");
			return -1;
		}
		if (i > 0 && !is_after(&l->from, &u->loss[i - 1].from)) {
			vq_error(d, VQ_CONFIG, at, "%s begins before %s, or one of them at a share of the steps", l->name,
			    u->loss[i - 1].name);
			return -1;
		}
		if (i > 0 && !is_after(&l->from, &u->from)) {
			vq_error(d, VQ_CONFIG, at, "%s begins before its update, or one of them at a share of the steps", l->name);
			return -1;
		}
	}
	u->minimize = u->loss[u->losses - 1].name;
	return 0;
}

static int
read_minimize(const struct vq_model *m, const struct vq_tree *t, struct vq_update *u, struct vq_diags *d)
{
	const struct vq_tree *what = vq_tree_get(t, "minimize");

	if (what == NULL) {
		vq_error(d, VQ_CONFIG, &t->at, "update needs minimize");
		return -1;
	}
	if (what->kind == VQ_TREE_MAP)
		return read_losses(m, what, u, d);
	if ((u->minimize = vq_model_text(m, what, d)) == NULL)
		return -1;
	u->loss[u->losses++] = (struct vq_loss){ .name = u->minimize };
	return 0;
}

static int
read_update(const struct vq_model *m, const struct vq_tree *t, struct vq_update *u, struct vq_diags *d)
{
	static const char *const others[] = { "minimize", "train", "optimizer", "schedule", "no_decay", "report", NULL };
	struct update_keys k = { 0 };
	const struct vq_tree *optimizer;
	int error;

	vq_params_default(update_params, &k);
	if (vq_model_read_params(m, t, "update", update_params, &k, others, d) < 0)
		return -1;
	*u = (struct vq_update){ .clip = k.clip, .accumulate = k.accumulate, .at = t->at };
	const struct vq_tree *from = vq_tree_get(t, "from");
	if (read_moment(k.from, from ? &from->at : &t->at, &u->from, d) < 0 || read_minimize(m, t, u, d) < 0)
		return -1;
	optimizer = vq_tree_get(t, "optimizer");
	if (optimizer == NULL) {
		struct vq_diag *e = vq_error(d, VQ_CONFIG, &t->at, "this update has no optimizer");
		vq_help(e, "add one, as in optimizer: {adam: {lr: 1e-3}}");
		return -1;
	}
	u->train = read_name_list(m, vq_tree_get(t, "train"), &u->trains, d);
	u->report = read_name_list(m, vq_tree_get(t, "report"), &u->reports, d);
	u->no_decay = read_name_list(m, vq_tree_get(t, "no_decay"), &u->no_decays, d);
	error = read_optimizer(m, optimizer, u, d);
	return read_schedule(m, vq_tree_get(t, "schedule"), u, d) < 0 ? -1 : error;
}

static int
check_accumulation(const struct vq_train *t, struct vq_diags *d)
{
	for (int k = 1; k < t->updates; k++)
		if (t->update[k].accumulate != t->update[0].accumulate) {
			vq_error(d, VQ_CONFIG, &t->update[k].at,
			    "all updates of a stage must accumulate the same number of batches");
			return -1;
		}
	return 0;
}

int
vq_updates_read(const struct vq_model *m, const struct vq_tree *stage, struct vq_train *t, struct vq_diags *d)
{
	const struct vq_tree *list = vq_tree_get(stage, "updates");
	int error = 0;

	if (list == NULL || list->kind != VQ_TREE_LIST || list->count == 0 || list->count > VQ_MAX_UPDATES) {
		vq_error(d, VQ_CONFIG, list ? &list->at : &stage->at,
		    "a training stage needs `updates`: a list of 1 to %d", VQ_MAX_UPDATES);
		return -1;
	}
	for (int i = 0; i < list->count; i++)
		error |= read_update(m, list->item[i].value, &t->update[t->updates++], d);
	return error ? error : check_accumulation(t, d);
}
