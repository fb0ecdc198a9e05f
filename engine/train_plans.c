/*
 * train_plans -- the plans of a training stage, in one memory
 */
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "engine/train_private.h"

static int
attach(struct vq_trainer *s, struct vq_plan *p)
{
	if (p)
		vq_plan_attach(p, s->r->vars, s->memory);
	return p != NULL;
}

static void
bind_scalars(struct vq_trainer *s, struct vq_plan *p)
{
	char name[32];

	for (int k = 0; k < s->t->updates; k++) {
		snprintf(name, sizeof(name), "lr.%d", k);
		vq_plan_input(p, name, &s->lr[k]);
		snprintf(name, sizeof(name), "count.%d", k);
		vq_plan_input(p, name, &s->count[k]);
	}
}

/* Whether there is memory for a plan: -1 after an error where there never will be. */
static int
check_memory(struct vq_trainer *s, int64_t bytes)
{
	struct vq_memory m;

	vq_memory_find("", &m);
	if (bytes > m.limit) {
		struct vq_diag *e = vq_error(s->d, VQ_FAILED, &s->t->at, "stage %s: a batch of %lld needs %.3g GB of memory, and "
		    "this process may have %.3g GB", s->t->name, (long long)s->t->data.batch, (double)bytes / 1e9, (double)m.limit / 1e9);

		if (m.from[0])
			vq_note(e, NULL, "that is its limit: %s", m.from);
		vq_help(e, "a smaller batch, or `recompute: true` at the model's repeated steps, needs less");
		return -1;
	}
	m.left += s->memory_bytes;
	if (bytes > m.left)
		vq_run_say(s->r->run, "stage %s: a batch of %lld needs %.3g GB of memory, and %.3g GB are free: the system may slow "
		    "down or end this process", s->t->name, (long long)s->t->data.batch, (double)bytes / 1e9, (double)m.left / 1e9);
	return 0;
}

int
vq_trainer_attach(struct vq_trainer *s, struct vq_plan *p, bool average)
{
	p->average = average;
	if (p->arena_bytes > s->memory_bytes) {
		if (check_memory(s, p->arena_bytes) < 0)
			return -1;
		free(s->memory);
		s->memory = vq_plan_alloc_arena(p->arena_bytes);
		s->memory_bytes = p->arena_bytes;
		for (int i = 0; i < s->variants; i++)
			if (attach(s, s->variant[i].plan))
				bind_scalars(s, s->variant[i].plan);
		attach(s, s->eval);
		attach(s, s->eval_rest);
	}
	attach(s, p);
	bind_scalars(s, p);
	return 0;
}

struct vq_plan *
vq_trainer_plan(struct vq_trainer *s, unsigned active, bool apply)
{
	struct vq_compile how = { .threads = s->r->o->threads, .bf16 = s->t->bf16 };

	for (int i = 0; i < s->variants; i++)
		if (s->variant[i].active == active && s->variant[i].apply == apply)
			return s->variant[i].plan;
	struct vq_graph *g = vq_train_graph(s->r->model, s->t, s->t->data.batch, active, apply, s->d);
	if (g == NULL)
		return NULL;
	if (vq_vars_bind(s->r->vars, g, s->r->seed, s->d) < 0) {
		vq_graph_free(g);
		return NULL;
	}
	struct vq_plan *p = vq_compile(g, &how, s->d);
	if (p == NULL)
		return NULL;
	vq_assert(s->variants < VQ_MAX_VARIANTS);
	if (vq_trainer_attach(s, p, false) < 0) {
		vq_plan_free(p);
		return NULL;
	}
	s->variant[s->variants++] = (struct vq_variant){ active, apply, p };
	return p;
}

void
vq_trainer_bind(struct vq_plan *p, const struct vq_dataset *data, const void *const *field)
{
	for (int f = 0; f < data->fields; f++)
		vq_plan_input(p, data->field[f].name, field[f]);
}

/* The type of a batch of one field. */
static struct vq_type
batch_type(const struct vq_field *f, int64_t batch)
{
	struct vq_type t = f->type;

	memmove(t.shape.dim + 1, t.shape.dim, sizeof(*t.shape.dim) * (VQ_MAX_RANK - 1));
	t.shape.dim[0] = batch;
	t.shape.rank++;
	return t;
}

static bool
is_ours(const char *input)
{
	return strncmp(input, "lr.", 3) == 0 || strncmp(input, "count.", 6) == 0;
}

/* -1 after an error when a field of integers has one that the graph's input may not hold. */
static int
check_places(struct vq_trainer *s, const struct vq_graph *g, const struct vq_value *in,
    const struct vq_places *p, const struct vq_dataset *data, int f)
{
	enum { CHUNK = 4096 };
	int64_t each = vq_shape_count(&data->field[f].type.shape), bad = -1;
	uint32_t *index = vq_alloc_array(CHUNK, sizeof(*index));
	int32_t *x = vq_alloc_array(CHUNK, (size_t)each * sizeof(*x)), value = 0;

	for (int64_t at = 0; bad < 0 && at < data->count; at += CHUNK) {
		int64_t n = data->count - at < CHUNK ? data->count - at : CHUNK;

		for (int64_t i = 0; i < n; i++)
			index[i] = (uint32_t)(at + i);
		data->kind->gather(data, f, index, n, x);
		for (int64_t i = 0; bad < 0 && i < n * each; i++)
			if ((x[i] < 0 || x[i] >= p->below) && x[i] != p->ignore) {
				bad = at + i / each;
				value = x[i];
			}
	}
	if (bad >= 0)
		vq_error(s->d, VQ_DATA, &in->where, "%s %d of sample %lld of %s is not one that graph %s takes: 0 to %lld",
		    in->name, value, (long long)bad, data->name, g->name, (long long)p->below - 1);
	free(index);
	free(x);
	return bad >= 0 ? -1 : 0;
}

int
vq_trainer_check_inputs(struct vq_trainer *s, const struct vq_graph *g, const struct vq_dataset *data,
    int64_t batch)
{
	const struct vq_data_spec *spec = s->t->validate.source ? &s->t->validate : &s->t->data;
	enum vq_status status = spec->at ? VQ_CONFIG : VQ_DATA;		/* on the command line: the data's fault */
	bool *needed = vq_graph_needed(g);
	struct vq_places *places = vq_graph_places(g);
	int error = 0;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *in = &g->value[v];
		char wants[VQ_TYPE_STR], gives[VQ_TYPE_STR];
		if (in->kind != VQ_INPUT || is_ours(in->name) || !needed[v])
			continue;
		int f = vq_dataset_field(data, in->name);
		if (f < 0 && data->absent && strcmp(in->name, "label") == 0) {
			vq_error(s->d, VQ_DATA, &in->where, "graph %s has an input 'label', and the labels of %s are missing: there "
			    "is no %s", g->name, data->name, data->absent);
			error = -1;
			continue;
		}
		if (f < 0) {
			struct vq_diag *e = vq_error(s->d, status, &in->where,
			    "graph %s has an input '%s', which the data %s does not give", g->name, in->name, data->name);
			for (f = 0; f < data->fields; f++)
				vq_note(e, NULL, "%s gives %s, %s a sample", data->name, data->field[f].name,
				    vq_type_str(&data->field[f].type, gives));
			error = -1;
			continue;
		}
		struct vq_type t = batch_type(&data->field[f], batch);
		if (!vq_type_equal(&t, &in->type)) {
			vq_error(s->d, status, &in->where, "input '%s' is %s, but the data %s gives %s", in->name,
			    vq_type_str(&in->type, wants), data->name, vq_type_str(&t, gives));
			error = -1;
		} else if (in->type.dtype == VQ_I32 && places[v].below < INT64_MAX) {
			error |= check_places(s, g, in, &places[v], data, f);
		}
	}
	free(needed);
	free(places);
	return error;
}
