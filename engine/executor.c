/*
 * executor -- runs a plan: for each step, kernel(call)
 *
 * Everything was decided before: inside a step there is no allocation, no
 * lookup and no shape logic.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/plan.h"
#include "ops/kernels/kernels.h"

/* Whether run knows all its floating types. */
static bool
is_fast(const struct vq_graph *g, const struct vq_node *n)
{
	bool bf16 = n->op->flags & VQ_OP_BF16 && vq_type_at(g, n->in[0])->dtype == VQ_F32;

	for (int j = 0; j < n->nin + n->nout; j++) {
		enum vq_dtype t = vq_type_at(g, j < n->nin ? n->in[j] : n->out + j - n->nin)->dtype;
		if (vq_is_float(t) && t != VQ_F32 && !(bf16 && t == VQ_BF16))
			return false;
	}
	return true;
}

/* The views of all nodes in one array, data still missing. */
static void
make_views(struct vq_plan *p)
{
	const struct vq_graph *g = p->graph;
	int k = 0;

	for (int i = 0; i < g->nodes; i++)
		p->views += g->node[i].nin + g->node[i].nout;
	p->view = vq_alloc_array((size_t)p->views + 1, sizeof(*p->view));
	p->view_of = vq_alloc_array((size_t)p->views + 1, sizeof(*p->view_of));
	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		p->step[i].call.in = &p->view[k];
		for (int j = 0; j < n->nin; j++)
			p->view_of[k++] = n->in[j];
		p->step[i].call.out = &p->view[k];
		for (int j = 0; j < n->nout; j++)
			p->view_of[k++] = n->out + j;
	}
	for (k = 0; k < p->views; k++)
		p->view[k].type = vq_kept_type(g, p->view_of[k]);
}

/* The last node that a scalar output of the forward part needs: nothing has been
 * updated when it is done. */
static int
guard_node(const struct vq_graph *g)
{
	int guard = -1, forward = 0;

	while (forward < g->nodes && !g->node[forward].backward)
		forward++;
	for (int i = 0; i < g->outputs; i++) {
		const struct vq_value *v = &g->value[g->output[i].value];
		if (v->kind == VQ_COMPUTED && v->node < forward && v->node > guard &&
		    vq_is_float(v->type.dtype) && vq_shape_count(&v->type.shape) == 1)
			guard = v->node;
	}
	return guard;
}

void
vq_plan_steps(struct vq_plan *p, bool reference)
{
	const struct vq_graph *g = p->graph;

	make_views(p);
	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		struct vq_exec_step *s = &p->step[i];
		bool fast = n->op->run && !(reference && n->op->ref) && is_fast(g, n);
		s->run = fast ? n->op->run : n->op->ref;
		if (s->run == NULL && !(n->op->flags & VQ_OP_ALIAS))
			vq_bug("%s has no kernel for its types", n->op->name);
		if (n->op->flags & VQ_OP_ALIAS)
			s->run = NULL;
		s->call.params = n->params;
		s->call.nin = n->nin;
		s->call.nout = n->nout;
		s->call.epilogue = n->epilogue;
		s->call.k = vq_kernels();
		s->call.threads = p->threads;
		s->call.key.purpose = n->key;
	}
	p->base = vq_alloc_array((size_t)g->values + 1, sizeof(*p->base));
	p->guard = guard_node(g);
}

/* --- attaching memory ---------------------------------------------------- */

void *
vq_plan_alloc_arena(int64_t bytes)
{
	enum { HUGE_PAGE = 2 << 20 };
	size_t n = ((size_t)bytes / HUGE_PAGE + 1) * HUGE_PAGE;
	void *m = aligned_alloc(HUGE_PAGE, n);

	if (m == NULL)
		vq_exhausted(n);
	madvise(m, n, MADV_HUGEPAGE);
	return m;
}

static const struct vq_var *
var_of(const struct vq_plan *p, const struct vq_vars *vars, const struct vq_value *leaf)
{
	const struct vq_var *v = NULL;

	if (p->average && leaf->kind == VQ_PARAM) {
		char *name = vq_asprintf("average.%s", leaf->name);
		v = vq_vars_find(vars, name);
		free(name);
	}
	return v ? v : vq_vars_find(vars, leaf->name);
}

static void *
base_of(const struct vq_plan *p, const struct vq_vars *vars, vq_id v)
{
	const struct vq_place *at = &p->place[v];
	const struct vq_value *leaf = &p->graph->value[at->leaf];
	const struct vq_var *var;

	switch (at->kind) {
	case VQ_PLACE_ARENA:
		return (char *)p->memory + at->offset;
	case VQ_PLACE_VAR:
		if ((var = var_of(p, vars, leaf)) == NULL)
			vq_bug("%s is not bound", leaf->name);
		return var->data;
	case VQ_PLACE_CONST:
		return (void *)(uintptr_t)leaf->constant;
	default:
		return NULL;
	}
}

static void
refresh_views(struct vq_plan *p)
{
	for (int k = 0; k < p->views; k++)
		p->view[k].data = p->base[p->view_of[k]];
}

void
vq_plan_attach(struct vq_plan *p, struct vq_vars *vars, void *memory)
{
	if (p->owns_memory)
		free(p->memory);
	p->owns_memory = memory == NULL;
	p->memory = memory ? memory : vq_plan_alloc_arena(p->arena_bytes);
	for (vq_id v = 0; v < p->graph->values; v++)
		p->base[v] = base_of(p, vars, v);
	refresh_views(p);
	for (int i = 0; i < p->steps; i++)
		p->step[i].call.scratch = p->step[i].scratch_offset < 0 ? NULL :
		    (char *)p->memory + p->step[i].scratch_offset;
}

bool
vq_plan_input(struct vq_plan *p, const char *name, const void *data)
{
	vq_id id = vq_graph_find(p->graph, name);

	if (id == VQ_NONE || p->graph->value[id].kind != VQ_INPUT)
		return false;
	for (vq_id v = 0; v < p->graph->values; v++)
		if (p->place[v].kind == VQ_PLACE_INPUT && p->place[v].leaf == id)
			p->base[v] = (void *)(uintptr_t)data;
	refresh_views(p);
	return true;
}

/* --- running ------------------------------------------------------------- */

static void
check_inputs(const struct vq_plan *p)
{
	for (vq_id v = 0; v < p->graph->values; v++)
		if (p->place[v].kind == VQ_PLACE_INPUT && p->base[v] == NULL)
			vq_bug("input %s was not given", p->graph->value[p->place[v].leaf].name);
}

static inline void
run_step(struct vq_plan *p, int i, uint64_t seed, uint64_t step)
{
	struct vq_exec_step *s = &p->step[i];

	if (s->run == NULL)
		return;
	s->call.key.seed = seed;
	s->call.key.step = step;
	s->run(&s->call);
}

static void
finish_stores(struct vq_plan *p)
{
	for (int i = 0; i < p->copies; i++) {
		const struct vq_store *c = &p->copy[i];
		memcpy(p->base[c->leaf], p->base[c->value], vq_type_bytes(vq_type_at(p->graph, c->leaf)));
	}
}

void
vq_plan_run(struct vq_plan *p, uint64_t seed, uint64_t step)
{
	check_inputs(p);
	for (int i = 0; i < p->steps; i++)
		run_step(p, i, seed, step);
	finish_stores(p);
}

static bool
scalars_finite(const struct vq_plan *p)
{
	const struct vq_graph *g = p->graph;

	for (int i = 0; i < g->outputs; i++) {
		const struct vq_value *v = &g->value[g->output[i].value];
		if (v->kind == VQ_COMPUTED && v->node <= p->guard && vq_shape_count(&v->type.shape) == 1 &&
		    !vq_view_finite(&(struct vq_view){ p->base[g->output[i].value], &v->type }))
			return false;
	}
	return true;
}

bool
vq_plan_run_guarded(struct vq_plan *p, uint64_t seed, uint64_t step)
{
	check_inputs(p);
	for (int i = 0; i < p->steps; i++) {
		run_step(p, i, seed, step);
		if (i == p->guard && !scalars_finite(p))
			return false;
	}
	finish_stores(p);
	return true;
}

void
vq_plan_profile(struct vq_plan *p, uint64_t seed, uint64_t step, double *time)
{
	check_inputs(p);
	for (int i = 0; i < p->steps; i++) {
		double start = vq_now();
		run_step(p, i, seed, step);
		time[i] += vq_now() - start;
	}
	finish_stores(p);
}

bool
vq_view_finite(const struct vq_view *v)
{
	int64_t n = vq_shape_count(&v->type->shape);

	if (!vq_is_float(v->type->dtype))
		return true;
	for (int64_t i = 0; i < n; i++)
		if (!isfinite(vq_get(v, i)))
			return false;
	return true;
}

/* Does not finish the stores: what was written in place stays, the rest does not. */
int
vq_plan_first_not_finite(struct vq_plan *p, uint64_t seed, uint64_t step)
{
	check_inputs(p);
	for (int i = 0; i < p->steps; i++) {
		run_step(p, i, seed, step);
		for (int o = 0; o < p->step[i].call.nout; o++)
			if (!vq_view_finite(&p->step[i].call.out[o]))
				return i;
	}
	return -1;
}

bool
vq_plan_output(const struct vq_plan *p, const char *name, struct vq_view *out)
{
	for (int i = 0; i < p->graph->outputs; i++) {
		vq_id v = p->graph->output[i].value;
		if (strcmp(p->graph->output[i].name, name) == 0) {
			*out = (struct vq_view){ p->base[v], &p->graph->value[v].type };
			return true;
		}
	}
	return false;
}

double
vq_plan_scalar(const struct vq_plan *p, const char *name)
{
	struct vq_view v;

	if (!vq_plan_output(p, name, &v))
		vq_bug("there is no output %s", name);
	return vq_get(&v, 0);
}
