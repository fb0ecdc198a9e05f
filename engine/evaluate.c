/*
 * evaluate -- one pass over a data set with the weights as they are
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_private.h"

/* The first input that a value of the graph needs and the data lacks, or NULL. */
static const char *
lacking(struct vq_graph *g, const char *value, const struct vq_dataset *data)
{
	int outputs = g->outputs;
	struct vq_output first = g->output[0];
	const char *name = NULL;

	g->output[0] = (struct vq_output){ value, vq_graph_find_output(g, value) };
	g->outputs = 1;
	bool *needed = vq_graph_needed(g);
	for (vq_id v = 0; v < g->values && name == NULL; v++)
		if (needed[v] && g->value[v].kind == VQ_INPUT && vq_dataset_field(data, g->value[v].name) < 0)
			name = g->value[v].name;
	free(needed);
	g->output[0] = first;
	g->outputs = outputs;
	return name;
}

/* Takes out of t's reports those that the data is not enough for. */
static int
leave_out(struct vq_evaluation *e, struct vq_train *t, struct vq_diags *d)
{
	const char *name[VQ_MAX_REPORTS], *input;
	struct vq_graph *g = vq_eval_graph(e->r->model, t, 1, d);

	if (g == NULL)
		return -1;
	int n = g->outputs ? vq_train_metrics(g, t, name) : 0;
	t->reports = 0;
	for (int i = 0; i < n; i++) {
		if ((input = lacking(g, name[i], e->data)) == NULL) {
			t->report[t->reports++] = name[i];
			continue;
		}
		e->left_out[e->left++] = name[i];
		e->lacks = input;
	}
	/* Names of the graph end with it. */
	struct vq_arena *a = &e->r->vars->arena;
	for (int i = 0; i < t->reports; i++)
		t->report[i] = vq_arena_strdup(a, t->report[i]);
	for (int i = 0; i < e->left; i++)
		e->left_out[i] = vq_arena_strdup(a, e->left_out[i]);
	e->lacks = e->lacks ? vq_arena_strdup(a, e->lacks) : NULL;
	if (t->reports == 0)
		t->reports = -1;
	vq_graph_free(g);
	if (t->reports > 0 || t->keeps > 0 || t->ncodes > 0 || e->lacks == NULL)
		return 0;
	vq_error(d, VQ_DATA, NULL, "%s has no %s, and nothing that graph %s reports can be had without it",
	    e->data->name, e->lacks, t->graph);
	return -1;
}

/* Variables past the first `loaded` were made for the graph: the file does not have them. */
static int
check_weights(const struct vq_evaluation *e, int loaded, struct vq_diags *d)
{
	const struct vq_vars *vars = e->r->vars;
	char type[VQ_TYPE_STR];

	for (int i = loaded; e->weights && i < vars->count; i++)
		vq_error(d, VQ_CHECKPOINT, NULL, "%s has no %s %s, %s", e->weights,
		    vars->var[i].kind == VQ_PARAM ? "parameter" : "state", vars->var[i].name,
		    vq_type_str(&vars->var[i].type, type));
	return e->weights && vars->count > loaded ? -1 : 0;
}

static int
check_finite(const struct vq_evaluation *e, struct vq_diags *d)
{
	for (int i = 0; i < e->n; i++)
		if (!isfinite(e->value[i])) {
			vq_error(d, VQ_NOT_FINITE, NULL, "%s is %g over the %lld samples of %s", e->name[i], e->value[i],
			    (long long)e->data->count, e->data->name);
			return -1;
		}
	return 0;
}

/* The views of what was kept, from the types of a batch. */
static void
take_kept(struct vq_evaluation *e, struct vq_trainer *s)
{
	for (int k = 0; k < s->t->keeps; k++) {
		struct vq_view v;

		vq_plan_output(s->eval, s->t->keep[k], &v);
		e->kept_type[k] = *v.type;
		e->kept_type[k].shape.dim[0] = e->data->count;
		e->kept[k] = (struct vq_view){ s->kept[k], &e->kept_type[k] };
		s->kept[k] = NULL;
	}
}

int
vq_evaluate(struct vq_evaluation *e, struct vq_diags *d)
{
	struct vq_train t = *e->t;
	struct vq_trainer s = { .r = e->r, .t = &t, .d = d, .val = e->data };
	int loaded = e->r->vars->count, error = -1;

	e->n = -1;
	if ((!e->lenient || leave_out(e, &t, d) == 0) && vq_trainer_open_eval(&s) == 0 &&
	    check_weights(e, loaded, d) == 0) {
		s.metrics = vq_train_metrics(s.eval->graph, &t, s.metric);
		for (int i = 0; i < s.metrics; i++)
			s.metric[i] = vq_arena_strdup(&e->r->vars->arena, s.metric[i]);
		vq_sums_names(&s);
		e->n = vq_trainer_validate(&s, e->name, e->value);
	}
	if (e->n >= 0) {
		take_kept(e, &s);
		error = check_finite(e, d);
	}
	for (int k = 0; k < VQ_MAX_KEEP; k++)
		free(s.kept[k]);
	vq_plan_free(s.eval);
	vq_plan_free(s.eval_rest);
	free(s.memory);
	return error;
}

void
vq_evaluation_free(struct vq_evaluation *e)
{
	for (int k = 0; k < VQ_MAX_KEEP; k++)
		free(e->kept[k].data);
}
