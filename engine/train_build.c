/*
 * train_build -- the graphs of a training stage: one step, and evaluation
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
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

/* Makes outputs of all that the stage reads after a step. */
static int
add_outputs(struct vq_graph *g, const struct vq_train *t, bool training)
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
	for (int k = 0; k < t->updates; k++)
		error |= want_output(g, &t->update[k].at, "minimize", t->update[k].minimize);
	for (int i = 0; i < t->shows && !training; i++)
		if (t->show[i].kind->check)
			error |= want_shown(g, t, &t->show[i]);
	for (int i = 0; i < t->keeps; i++)
		error |= want_output(g, &t->at, "value", t->keep[i]);
	return error;
}

/* Outputs that nobody reads after a step would only keep memory, and inputs, alive. */
static void
drop_outputs(struct vq_graph *g, const struct vq_train *t, bool training)
{
	const char *metric[VQ_MAX_REPORTS];
	int metrics = vq_train_metrics(g, t, metric), kept = 0;

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
expand(const struct vq_model *m, const struct vq_train *t, int64_t batch, bool training, struct vq_diags *d)
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
	if (add_outputs(g, t, training) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	drop_outputs(g, t, training);
	return g;
}

struct vq_graph *
vq_train_forward(const struct vq_model *m, const struct vq_train *t, int64_t batch, struct vq_diags *d)
{
	return expand(m, t, batch, true, d);
}

struct vq_graph *
vq_train_updates(struct vq_graph *g, const struct vq_train *t, unsigned active, bool apply)
{
	int error = 0;

	for (int k = 0; g && k < t->updates; k++)
		if (active >> k & 1)
			error |= vq_update_build(g, &t->update[k], k, apply);
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
	return vq_train_updates(vq_train_forward(m, t, batch, d), t, active, apply);
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
	struct vq_graph *g = expand(m, t, batch, false, d);

	if (g && check_stop(g, t) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	return g;
}

int
vq_train_metrics(const struct vq_graph *g, const struct vq_train *t, const char *name[VQ_MAX_REPORTS])
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
	for (int k = 0; k < t->updates; k++) {
		bool there = false;
		for (int i = 0; i < n; i++)
			there |= strcmp(name[i], t->update[k].minimize) == 0;
		if (!there && n < VQ_MAX_REPORTS)
			name[n++] = t->update[k].minimize;
	}
	return n;
}

struct vq_plan *
vq_train_build(const struct vq_model *m, const struct vq_train *t, int64_t batch, const struct vq_compile *how,
    struct vq_vars *vars, uint64_t seed, struct vq_diags *d)
{
	unsigned all = (1u << t->updates) - 1;
	struct vq_graph *g = vq_train_graph(m, t, batch, all, true, d);

	if (g == NULL || vq_vars_bind(vars, g, seed, d) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	struct vq_plan *p = vq_compile(g, how, d);
	if (p)
		vq_plan_attach(p, vars, NULL);
	return p;
}
