/*
 * train_build -- the graphs of a training stage: one step, and evaluation
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/sample.h"
#include "engine/stage.h"
#include "engine/suggest.h"

/* Names that the stage counts itself, over an epoch, where it has codes. */
static bool
is_counted(const struct vq_train *t, const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	return t->ncodes > 0 && (strcmp(last, "codes_used") == 0 || strcmp(last, "perplexity") == 0);
}

static int
no_value(const struct vq_graph *g, const struct vq_range *at, const char *what, const char *name)
{
	struct vq_suggest near;
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, at, "graph %s has no value '%s' for %s", g->name,
	    name, what);

	vq_suggest_start(&near, name);
	for (int i = 0; i < g->outputs; i++)
		vq_suggest_try(&near, g->output[i].name);
	for (int i = 0; i < g->nameds; i++)
		vq_suggest_try(&near, g->named[i].name);
	if (near.best)
		vq_help(e, "there is a value with a similar name: %s", near.best);
	return -1;
}

static bool
is_output(const struct vq_graph *g, const char *name)
{
	for (int i = 0; i < g->outputs; i++)
		if (strcmp(g->output[i].name, name) == 0)
			return true;
	return false;
}

static int
want_output(struct vq_graph *g, const struct vq_range *at, const char *what, const char *name)
{
	vq_id v = vq_graph_find_output(g, name);

	if (v == VQ_NONE)
		return no_value(g, at, what, name);
	if (!is_output(g, name))
		vq_graph_output(g, name, v);
	return 0;
}

static int
want_shown(struct vq_graph *g, const struct vq_train *t, const struct vq_show *s)
{
	if (want_output(g, &s->at, "show", s->value) < 0)
		return -1;
	return s->kind->check(g, t, s, vq_graph_find_output(g, s->value));
}

int
vq_active_loss(unsigned active, int k)
{
	return (int)(active >> k * VQ_ACTIVE_BITS & ((1u << VQ_ACTIVE_BITS) - 1)) - 1;
}

unsigned
vq_active_all(const struct vq_train *t)
{
	unsigned active = 0;

	for (int k = 0; k < t->updates; k++)
		active |= (unsigned)(t->update[k].losses ? t->update[k].losses : 1) << k * VQ_ACTIVE_BITS;
	return active;
}

/* What evaluation tells of updates: losses that are minimized from the beginning. */
static unsigned
active_at_start(const struct vq_train *t)
{
	unsigned active = 0;

	for (int k = 0; k < t->updates; k++)
		active |= (unsigned)(t->update[k].from.step == 0 && t->update[k].from.share <= 0) << k * VQ_ACTIVE_BITS;
	return active;
}

static const char *
loss_name(const struct vq_update *u, int i)
{
	return u->losses ? u->loss[i].name : u->minimize;
}

/* Names of what begins later are judged with the first graph. */
static int
check_update(const struct vq_graph *g, const struct vq_update *u)
{
	int error = 0;

	for (int i = 0; i < u->losses; i++)
		if (vq_graph_find_output(g, u->loss[i].name) == VQ_NONE)
			error = no_value(g, &u->at, "minimize", u->loss[i].name);
	for (int i = 0; i < u->reports; i++)
		if (vq_graph_find_output(g, u->report[i]) == VQ_NONE)
			error = no_value(g, &u->at, "report", u->report[i]);
	return error;
}

static int
want_of_update(struct vq_graph *g, const struct vq_update *u, int loss, bool training)
{
	int error = 0;

	if (loss == VQ_NONE)
		return 0;
	error = want_output(g, &u->at, "minimize", loss_name(u, loss));
	for (int i = 0; i < u->reports && training; i++)
		error |= want_output(g, &u->at, "report", u->report[i]);
	return error;
}

/* Makes outputs of all that the stage reads after a step. */
static int
add_outputs(struct vq_graph *g, const struct vq_train *t, unsigned active, bool training)
{
	int error = 0;

	for (int i = 0; i < t->reports; i++)
		if (!is_counted(t, t->report[i]))
			error |= want_output(g, &t->at, "report", t->report[i]);
	for (int i = 0; i < t->ncodes; i++) {
		error |= want_output(g, &t->at, "codes", t->codes[i].value);
		vq_id v = vq_graph_find_output(g, t->codes[i].value);
		if (v != VQ_NONE && g->value[v].type.dtype != VQ_I32) {
			vq_error(g->diags, VQ_CONFIG, NULL, "codes: %s is not a value of integers",
			    t->codes[i].value);
			error = -1;
		}
	}
	for (int k = 0; k < t->updates && training; k++)
		error |= check_update(g, &t->update[k]);
	for (int k = 0; k < t->updates && error == 0; k++)
		error |= want_of_update(g, &t->update[k], vq_active_loss(active, k), training);
	for (int i = 0; i < t->shows && !training; i++)
		if (t->show[i].kind->check)
			error |= want_shown(g, t, &t->show[i]);
	for (int i = 0; i < t->keeps; i++)
		error |= want_output(g, &t->at, "value", t->keep[i]);
	return error;
}

/* Adds a name that is not there; returns how many there are. */
static int
add_name(const char *name, const char **list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return n;
	if (n < VQ_MAX_REPORTS)
		list[n++] = name;
	return n;
}

/* The metrics that the stage asks for, whichever updates are on. */
static int
stage_metrics(const struct vq_graph *g, const struct vq_train *t, const char *name[VQ_MAX_REPORTS])
{
	int n = 0;

	for (int i = 0; i < t->reports; i++)
		if (!is_counted(t, t->report[i]))
			name[n++] = t->report[i];
	for (int i = 0; t->reports == 0 && i < g->outputs && n < VQ_MAX_REPORTS; i++) {
		const struct vq_type *type = vq_type_at(g, g->output[i].value);
		if (vq_is_float(type->dtype) && vq_shape_count(&type->shape) == 1)
			name[n++] = g->output[i].name;
	}
	return n;
}

/* Outputs that nobody reads after a step would only keep memory, and inputs, alive. */
static void
drop_outputs(struct vq_graph *g, const struct vq_train *t, unsigned active, bool training)
{
	const char *metric[VQ_MAX_REPORTS];
	int metrics = stage_metrics(g, t, metric), kept = 0;

	for (int k = 0; k < t->updates; k++) {
		const struct vq_update *u = &t->update[k];
		int loss = vq_active_loss(active, k);
		if (loss == VQ_NONE)
			continue;
		metrics = add_name(loss_name(u, loss), metric, metrics);
		for (int i = 0; i < u->reports && training; i++)
			metrics = add_name(u->report[i], metric, metrics);
	}

	for (int i = 0; i < g->outputs; i++) {
		const struct vq_output *o = &g->output[i];
		bool read = false;
		for (int k = 0; k < t->shows && !training; k++)
			read |= strcmp(o->name, t->show[k].value) == 0;
		for (int k = 0; k < metrics; k++)
			read |= strcmp(o->name, metric[k]) == 0;
		for (int k = 0; k < t->keeps; k++)
			read |= strcmp(o->name, t->keep[k]) == 0;
		for (int c = 0; c < t->ncodes; c++)
			read |= strcmp(o->name, t->codes[c].value) == 0;
		if (read)
			g->output[kept++] = *o;
	}
	g->outputs = kept;
}

static struct vq_graph *
expand(const struct vq_model *m, const struct vq_train *t, int64_t batch, unsigned active, bool training,
    struct vq_diags *d)
{
	struct vq_size size = { "batch", batch };
	const char *free_size[8];
	int n = vq_model_free_sizes(m, t->graph, free_size, 8);

	if (n > 1 || (n == 1 && strcmp(free_size[0], "batch") != 0)) {
		vq_error(d, VQ_CONFIG, NULL, "stage %s: graph %s has a free size '%s'; a stage knows only `batch`",
		    t->name, t->graph, free_size[n > 1 && strcmp(free_size[0], "batch") == 0]);
		return NULL;
	}
	struct vq_graph *g = vq_model_expand(m, t->graph, training, &size, 1, d);
	if (g == NULL)
		return NULL;
	if (add_outputs(g, t, active, training) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	drop_outputs(g, t, active, training);
	return g;
}

struct vq_graph *
vq_train_forward(const struct vq_model *m, const struct vq_train *t, int64_t batch, unsigned active,
    struct vq_diags *d)
{
	return expand(m, t, batch, active, true, d);
}

struct vq_graph *
vq_train_updates(struct vq_graph *g, const struct vq_train *t, unsigned active, bool apply)
{
	int error = 0;

	for (int k = 0; g && k < t->updates; k++)
		if (vq_active_loss(active, k) != VQ_NONE)
			error |= vq_update_build(g, &t->update[k], k, vq_active_loss(active, k), apply);
	if (g && error == 0 && t->average > 0 && apply)
		vq_average_build(g, t->average);
	if (error) {
		vq_graph_free(g);
		return NULL;
	}
	return g;
}

struct vq_graph *
vq_train_graph(const struct vq_model *m, const struct vq_train *t, int64_t batch, unsigned active, bool apply,
    struct vq_diags *d)
{
	return vq_train_updates(vq_train_forward(m, t, batch, active, d), t, active, apply);
}

static bool
is_trained(const struct vq_train *t, const char *param)
{
	for (int k = 0; k < t->updates; k++)
		if (vq_update_trains(&t->update[k], param))
			return true;
	return false;
}

/* By value, whether a gradient of anything that is minimized reaches it. */
static bool *
reached_by_any(const struct vq_graph *g, const struct vq_train *t)
{
	bool *any = vq_alloc_array((size_t)g->values + 1, sizeof(*any));

	for (int k = 0; k < t->updates; k++)
		for (int i = 0; i < t->update[k].losses; i++) {
			vq_id loss = vq_graph_find_output(g, t->update[k].loss[i].name);
			bool *reached = loss == VQ_NONE ? NULL : vq_reached(g, loss);
			for (vq_id v = 0; reached && v < g->values; v++)
				any[v] |= reached[v];
			free(reached);
		}
	return any;
}

void
vq_train_untrained(const struct vq_graph *g, const struct vq_train *t, struct vq_text *out)
{
	enum { SHOWN = 3 };
	bool *reached = reached_by_any(g, t);
	const char *first = NULL;
	int left = 0;

	for (vq_id v = 0; v < g->values; v++) {
		const char *name = g->value[v].name;
		if (g->value[v].kind != VQ_PARAM || !reached[v] || is_trained(t, name))
			continue;
		if (first == NULL)
			vq_text_add(out, "stage %s: what is minimized has gradients for parameters that no update trains: ", t->name);
		first = first ? first : name;
		if (left++ < SHOWN)
			vq_text_add(out, "%s%s", left > 1 ? ", " : "", name);
	}
	free(reached);
	if (left > SHOWN)
		vq_text_add(out, " and %d more", left - SHOWN);
	if (left > 0)
		vq_text_add(out, ". They stay as they are. An update trains them that has their module in `train`, as in "
		    "train: [%.*s]; where they are meant to stay, write frozen: true at the step that calls it",
		    (int)strcspn(first, "."), first);
}

/* What `stop` watches must be among what validation tells. */
static int
check_stop(const struct vq_graph *g, const struct vq_train *t)
{
	const char *name[VQ_MAX_REPORTS];
	int n = vq_train_metrics(g, t, name);
	struct vq_suggest near;

	if (t->stop_metric == NULL || is_counted(t, t->stop_metric))
		return 0;
	vq_suggest_start(&near, t->stop_metric);
	for (int i = 0; i < n; i++) {
		if (strcmp(name[i], t->stop_metric) == 0)
			return 0;
		vq_suggest_try(&near, name[i]);
	}
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, &t->stop_at,
	    "stop: '%s' is not among the metrics of validation", t->stop_metric);
	if (near.best)
		vq_help(e, "there is one with a similar name: %s", near.best);
	for (int i = 0; i < n; i++)
		vq_note(e, NULL, "validation tells %s", name[i]);
	return -1;
}

struct vq_graph *
vq_eval_graph(const struct vq_model *m, const struct vq_train *t, int64_t batch, struct vq_diags *d)
{
	struct vq_graph *g = expand(m, t, batch, active_at_start(t), false, d);

	if (g && (check_stop(g, t) < 0 || vq_sample_no_likelihood(m, g, d) < 0)) {
		vq_graph_free(g);
		return NULL;
	}
	return g;
}

int
vq_train_metrics(const struct vq_graph *g, const struct vq_train *t, const char *name[VQ_MAX_REPORTS])
{
	int n = stage_metrics(g, t, name);

	for (int k = 0; k < t->updates; k++) {
		const struct vq_update *u = &t->update[k];
		for (int i = 0; i < u->losses; i++)
			n = add_name(u->loss[i].name, name, n);
		n = add_name(u->minimize, name, n);
		for (int i = 0; i < u->reports; i++)
			n = add_name(u->report[i], name, n);
	}
	return n;
}

struct vq_plan *
vq_train_build(const struct vq_model *m, const struct vq_train *t, int64_t batch, const struct vq_compile *how,
    struct vq_vars *vars, uint64_t seed, struct vq_diags *d)
{
	struct vq_graph *g = vq_train_graph(m, t, batch, vq_active_all(t), true, d);

	if (g == NULL || vq_vars_bind(vars, g, seed, d) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	struct vq_plan *p = vq_compile(g, how, d);
	if (p)
		vq_plan_attach(p, vars, NULL);
	return p;
}
