/*
 * train_eval -- validation
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_private.h"

static struct vq_plan *
eval_plan(struct vq_trainer *s, int64_t batch)
{
	struct vq_compile how = { .threads = s->r->o->threads };
	struct vq_graph *g = vq_eval_graph(s->r->model, s->t, batch, s->d);

	if (g == NULL)
		return NULL;
	if (vq_trainer_check_inputs(s, g, s->val, batch) < 0 ||
	    vq_vars_bind(s->r->vars, g, s->r->seed, s->d) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	return vq_compile(g, &how, s->d);
}

int
vq_trainer_open_eval(struct vq_trainer *s)
{
	const struct vq_data_spec *spec = s->t->validate.source ? &s->t->validate : &s->t->data;

	int64_t batch = spec->batch < s->val->count ? spec->batch : s->val->count;
	if ((s->eval = eval_plan(s, batch)) == NULL)
		return -1;
	if (vq_trainer_attach(s, s->eval, s->t->average > 0) < 0)
		return -1;
	int64_t rest = s->val->count % batch;
	if (rest == 0 || s->t->validate.source == NULL)
		return 0;
	if ((s->eval_rest = eval_plan(s, rest)) == NULL)
		return -1;
	return vq_trainer_attach(s, s->eval_rest, s->t->average > 0);
}

/* Values [batch, ...] of samples from `first` on, into those of all. */
static int
keep(struct vq_trainer *s, const struct vq_plan *p, int64_t first, int64_t n)
{
	for (int k = 0; k < s->t->keeps; k++) {
		char type[VQ_TYPE_STR];
		struct vq_view v;

		vq_plan_output(p, s->t->keep[k], &v);
		if (v.type->shape.rank == 0 || v.type->shape.dim[0] != n) {
			vq_error(s->d, VQ_CONFIG, NULL, "%s is %s: its first axis is not the batch's, so there is none for each sample",
			    s->t->keep[k], vq_type_str(v.type, type));
			return -1;
		}
		size_t each = vq_type_bytes(v.type) / (size_t)n;
		if (first == 0)
			s->kept[k] = vq_alloc_array((size_t)s->val->count, each);
		memcpy(s->kept[k] + (size_t)first * each, v.data, (size_t)n * each);
	}
	return 0;
}

int
vq_trainer_validate(struct vq_trainer *s, const char **name, double *value)
{
	int64_t batch = s->t->validate.batch < s->val->count ? s->t->validate.batch : s->val->count, n;
	struct vq_loader *l = vq_loader_new(s->val, batch, false, true, s->r->seed);
	const void *field[VQ_MAX_FIELDS];
	int64_t done = 0;
	int error = 0;
	struct vq_sums sums = { .sum = vq_alloc_array(2 * (size_t)s->metrics, sizeof(double)) };

	for (int c = 0; c < s->t->ncodes; c++)
		sums.hits[c] = vq_alloc_array((size_t)s->t->codes[c].size, sizeof(int64_t));
	vq_loader_start(l, 0, 0);
	while (error == 0 && (n = vq_loader_next(l, field)) > 0) {
		struct vq_plan *p = n == batch ? s->eval : s->eval_rest;
		vq_trainer_bind(p, s->val, field);
		vq_plan_run(p, s->r->seed, (uint64_t)s->step);
		error = vq_sums_add(s, &sums, p, n) < 0 || keep(s, p, done, n) < 0 ||
		    (s->t->updates == 0 && s->r->signal && *s->r->signal) ? -1 : 0;
		done += n;
	}
	vq_loader_free(l);
	int count = error < 0 ? -1 : vq_sums_read(s, &sums, name, value);
	free(sums.sum);
	for (int c = 0; c < s->t->ncodes; c++)
		free(sums.hits[c]);
	return count;
}
