/*
 * stage_bind -- the variables of one stage
 *
 * A run makes them when it comes to the stage: until then they would take memory, time and room in every
 * checkpoint, and a first value depends on the seed and the name alone, so nothing is lost by waiting.  They stay
 * afterwards: a checkpoint has what later stages, sampling and evaluating read.
 */
#include "engine/running.h"
#include "engine/sample.h"

/* spec: the data that it is run over.  Takes g. */
static int
bind_graph(const struct vq_running *s, struct vq_graph *g, const struct vq_data_spec *spec, struct vq_vars *vars)
{
	int error = g == NULL || vq_stage_fed(s->model, g, spec, NULL, s->d) < 0 || vq_vars_bind(vars, g, s->seed, s->d) < 0;

	vq_graph_free(g);
	return error ? -1 : 0;
}

static int
bind_sample(const struct vq_running *s, int i, struct vq_vars *vars)
{
	struct vq_sample k;
	int error = vq_sample_read(s->model, i, &k, s->d) < 0 || vq_sample_bind(s->model, &k, vars, s->seed, s->d) < 0;

	vq_sample_free(&k);
	return error ? -1 : 0;
}

/* Stages that draw what a training stage shows. */
static int
bind_shown(const struct vq_running *s, const struct vq_train *t, struct vq_vars *vars)
{
	int error = 0;

	for (int k = 0; k < t->shows && error == 0; k++) {
		int i = t->show[k].kind->check ? VQ_NONE : vq_stage_find(s->model, t->show[k].value, s->d);
		error = i == VQ_NONE ? 0 : bind_sample(s, i, vars);
	}
	return error;
}

int
vq_stage_bind(const struct vq_running *s, int i, bool shown, struct vq_vars *vars)
{
	const struct vq_model *m = s->model;
	const struct vq_train *t = &s->stage[i].train;
	bool trains = s->stage[i].kind == VQ_STAGE_TRAIN;

	if (s->stage[i].kind == VQ_STAGE_SAMPLE)
		return bind_sample(s, i, vars);
	if (trains && bind_graph(s, vq_train_graph(m, t, t->data.batch, vq_active_all(t), true, s->d), &t->data, vars) < 0)
		return -1;
	if ((!trains || vq_train_val(t)) &&
	    bind_graph(s, vq_eval_graph(m, t, t->data.batch, s->d), trains ? vq_train_val(t) : &t->validate, vars) < 0)
		return -1;
	return trains && shown ? bind_shown(s, t, vars) : 0;
}
