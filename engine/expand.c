/*
 * expand -- a graph of a model as nodes: steps in order, blocks in place
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/expand_private.h"

enum { MAX_STEPS = 200000, MAX_REPEAT = 10000, PARAM_ROOM = 1024 };

/* --- names ---------------------------------------------------------------- */

static const char *
join(struct expand *x, const char *path, const char *part)
{
	return path[0] ? vq_arena_printf(&x->g->arena, "%s.%s", path, part) : part;
}

/* How many instances of a part there are in the frame; taken (-1) by an `as`. */
static int *
instances(struct frame *f, const char *part)
{
	int i = vq_names_get(&f->part, part);

	if (i < 0) {
		i = f->givens;
		vq_names_put(&f->part, part, i);
		vq_grow(f->given, f->givens, f->given_cap);
		f->given[f->givens++] = 0;
	}
	return &f->given[i];
}

/* Reserves the instance names of a step: the index of its first. */
static int
reserve(struct expand *x, struct frame *f, const struct step *s, const char *part, int64_t count)
{
	int *n = instances(f, s->as ? s->as : part), first = *n;
	bool clash = s->as ? s->repeat && *n > 0 : *n < 0;

	if (clash) {
		int before = x->d->count;
		vq_error(x->d, VQ_CONFIG, s->as ? &s->as_at : &s->at,
		    "'%s' names a repeated step, and is what steps here call too", s->as ? s->as : part);
		vq_expand_notes(x, before, NULL);
	}
	if (s->as)
		*n = s->repeat ? -1 : *n;
	else
		*n += (int)count;
	return s->as ? 0 : first;
}

static const char *
instance(struct expand *x, const struct step *s, const char *part, int index)
{
	if (s->as && !s->repeat)
		return s->as;
	return vq_arena_printf(&x->g->arena, "%s.%d", s->as ? s->as : part, index);
}

/* "enc", and "enc:2" for its second call. */
static const char *
module_call(struct expand *x, const struct module *m)
{
	int i = vq_names_get(&x->calls, m->path);

	if (i < 0) {
		i = x->ncalls;
		vq_names_put(&x->calls, m->path, i);
		vq_grow(x->call, x->ncalls, x->call_cap);
		x->call[x->ncalls++] = 0;
	}
	if (++x->call[i] == 1)
		return m->path;
	return vq_arena_printf(&x->g->arena, "%s:%d", m->path, x->call[i]);
}

static void
name_outputs(struct expand *x, const struct frame *f, const struct step *s, const char *name, const struct made *m)
{
	vq_expand_name(x, f, name, m->outs > 0 ? m->out[0] : VQ_NONE);
	for (int i = 0; i < m->outs && i < vq_step_outs(s); i++)
		vq_expand_name(x, f, vq_arena_printf(&x->g->arena, "%s.%s", name, vq_step_out(s, i)), m->out[i]);
}

/* --- one call ------------------------------------------------------------- */

static void
call_op(struct expand *x, struct frame *f, const struct step *s, const vq_id *in, int n, struct made *m)
{
	_Alignas(16) char room[PARAM_ROOM] = { 0 };
	vq_id first = VQ_NONE;

	vq_assert(s->op->size <= sizeof(room));
	if (vq_expand_params(x, f, s, room))
		first = vq_graph_add(x->g, s->op, room, in, n);
	x->failed |= first == VQ_NONE;
	for (int i = 0; i < m->outs; i++)
		m->out[i] = first == VQ_NONE ? VQ_NONE : first + i;
}

/* The gradient is nodes like any other: what follows may use it, and be differentiated. */
static void
call_gradient(struct expand *x, const struct step *s, const vq_id in[2], struct made *m)
{
	const struct vq_type *t = vq_type_at(x->g, in[0]);
	char type[VQ_TYPE_STR];
	struct vq_diag *e;

	if (!vq_is_float(t->dtype) || vq_shape_count(&t->shape) != 1) {
		e = vq_error(x->d, VQ_CONFIG, &s->at, "gradient: of must be a single real number, is %s", vq_type_str(t, type));
		vq_graph_describe(x->g, e, "of", in[0]);
	} else if (!vq_depends(x->g, in[0], in[1])) {
		e = vq_error(x->d, VQ_CONFIG, &s->at, "gradient: of does not depend on to");
		vq_graph_describe(x->g, e, "of", in[0]);
		vq_graph_describe(x->g, e, "to", in[1]);
	} else if (vq_derivative(x->g, in[0], in[1], m->out) == 0) {
		vq_graph_slope(x->g, in[0], in[1], m->out[0]);
		return;
	}
	x->failed = true;
}

/* The op or block that an arg names, as a step without settings. */
static struct step
named_callee(const struct frame *f, const struct step *s)
{
	const struct vq_number *n = &f->arg[s->arg];
	struct step own = *s;

	own.callee = n->text;
	own.part = vq_last_part(n->text);
	own.op = vq_op_find(n->text);
	own.kind = own.op ? STEP_OP : STEP_BLOCK;
	own.block = own.op ? NULL : vq_find_block(n->owner, n->text);
	return own;
}

static void
call(struct expand *x, struct frame *f, const struct step *s, bool recompute, vq_id previous, const char *part, struct made *m)
{
	const char *path = s->module ? s->module->path : join(x, f->path, part);
	const char *name = s->module ? module_call(x, s->module) : join(x, f->name, part);
	struct scope file = { .model = x->m, .file = s->module ? s->module->file : NULL, .diags = x->d };
	struct vq_origin o = { .at = s->at, .path = name, .what = s->callee, .parent = f->origin, .recompute = recompute };
	vq_id in[VQ_MAX_IN];
	int n, own;

	if (s->kind == STEP_MODULE)
		o.what = s->block->name;
	own = x->g->now = vq_graph_origin(x->g, &o);
	m->outs = vq_step_outs(s);
	m->out = vq_arena_alloc(&x->g->arena, sizeof(*m->out) * (size_t)(m->outs + 1));
	for (int i = 0; i < m->outs; i++)
		m->out[i] = VQ_NONE;
	if (!vq_expand_inputs(x, f, s, previous, in, &n)) {
		/* What is wrong with its parameters is worth knowing all the same. */
		_Alignas(16) char room[PARAM_ROOM];
		if (s->kind == STEP_OP)
			vq_expand_params(x, f, s, room);
		return;
	}
	if (s->kind == STEP_OP)
		call_op(x, f, s, in, n, m);
	else if (s->kind == STEP_GRADIENT)
		call_gradient(x, s, in, m);
	else if (s->kind == STEP_MODULE)
		vq_expand_block(x, s->block, s->module->setting, s->module->settings, &file, in, path, name,
		    f->depth + 1, m->out);
	else
		vq_expand_block(x, s->block, s->setting, s->settings, &f->scope, in, path, name, f->depth + 1, m->out);
	x->g->now = own;
	name_outputs(x, f, s, name, m);
	if (s->module && s->as)
		name_outputs(x, f, s, s->as, m);
}

/* --- assign --------------------------------------------------------------- */

static void
assign(struct expand *x, struct frame *f, const struct feed *feed)
{
	vq_id leaf = f->var[feed->port];
	vq_id value = vq_expand_ref(x, f, feed->ref, leaf == VQ_NONE ? VQ_F32 : vq_type_at(x->g, leaf)->dtype);
	const struct vq_type *want, *is;
	char a[VQ_TYPE_STR], b[VQ_TYPE_STR];
	int before = x->d->count, i = 0;

	if (leaf == VQ_NONE && value != VQ_NONE) {
		vq_error(x->d, VQ_CONFIG, &feed->ref->tree->at, "state %s is not there: its `if` does not hold",
		    f->body->var[feed->port].name);
		vq_expand_notes(x, before, NULL);
	}
	x->failed |= value == VQ_NONE;
	if (leaf == VQ_NONE || value == VQ_NONE)
		return;
	want = vq_type_at(x->g, leaf);
	is = vq_type_at(x->g, value);
	if (!vq_type_equal(want, is)) {
		vq_error(x->d, VQ_CONFIG, &feed->ref->tree->at, "state %s is %s, and this is %s",
		    f->body->var[feed->port].name, vq_type_str(want, a), vq_type_str(is, b));
		vq_expand_notes(x, before, NULL);
		return;
	}
	while (i < x->assigns && x->assigned[i].leaf != leaf)
		i++;
	if (i == x->assigns) {
		vq_grow(x->assigned, x->assigns, x->assign_cap);
		x->assigns++;
	}
	x->assigned[i].leaf = leaf;
	x->assigned[i].value = value;
}

static void
expand_assign(struct expand *x, struct frame *f, const struct step *s)
{
	struct vq_origin o = { .at = s->at, .path = f->name, .what = "assign", .parent = f->origin };

	x->g->now = vq_graph_origin(x->g, &o);
	for (int i = 0; x->train && i < s->feeds; i++)
		assign(x, f, &s->feed[i]);
}

/* --- steps ---------------------------------------------------------------- */

/* What stands beside a step's call. */
struct control {
	bool wanted;		/* its `if` holds */
	int64_t count;		/* rounds */
	bool recompute, frozen;
};

static bool
read_control(struct expand *x, struct frame *f, const struct step *s, struct control *c)
{
	struct vq_origin o = { .at = s->at, .path = f->name, .what = s->callee, .parent = f->origin };
	int before = x->d->count;
	bool ok = true;

	*c = (struct control){ .wanted = true, .count = 1 };
	if (s->cond == NULL && s->repeat == NULL && s->recompute == NULL && s->frozen == NULL)
		return true;
	x->g->now = vq_graph_origin(x->g, &o);
	f->scope.condition++;
	if (s->cond)
		ok = vq_scope_bool(&f->scope, s->cond, "if", &c->wanted) == 0;
	f->scope.condition--;
	if (s->repeat)
		ok &= vq_scope_int(&f->scope, s->repeat, "repeat", &c->count) == 0;
	if (s->recompute)
		ok &= vq_scope_bool(&f->scope, s->recompute, "recompute", &c->recompute) == 0;
	if (s->frozen)
		ok &= vq_scope_bool(&f->scope, s->frozen, "frozen", &c->frozen) == 0;
	if (ok && (c->count < 0 || c->count > MAX_REPEAT)) {
		vq_error(x->d, VQ_CONFIG, &s->repeat->at, "repeat must be from 0 to %d, is %lld", MAX_REPEAT,
		    (long long)c->count);
		ok = false;
	}
	if (!ok)
		vq_expand_notes(x, before, NULL);
	return ok;
}

static bool
too_many(struct expand *x, const struct step *s)
{
	if (++x->steps <= MAX_STEPS)
		return false;
	if (x->steps == MAX_STEPS + 1)
		vq_error(x->d, VQ_CONFIG, &s->at, "the model expands to more than %d steps", MAX_STEPS);
	x->failed = true;
	return true;
}

/* All rounds of a step; previous is what it may take, and what it leaves. */
static void
expand_step(struct expand *x, struct frame *f, const struct step *given, struct made *m, vq_id *previous)
{
	struct step s = given->kind == STEP_ARG ? named_callee(f, given) : *given;
	struct control c;
	bool train = x->train;
	int first;

	m->out = vq_arena_copy(&x->g->arena, previous, sizeof(*previous));
	m->outs = 1;
	if (too_many(x, given) || !read_control(x, f, &s, &c))
		return;
	if (s.kind == STEP_ASSIGN) {
		if (c.wanted)
			expand_assign(x, f, &s);
		return;
	}
	if (s.kind == STEP_OP && (s.op->flags & VQ_OP_TRAINING) && s.cond == NULL) {
		struct vq_diag *e = vq_error(x->d, VQ_CONFIG, &s.at, "%s would act in evaluation, too", s.callee);
		vq_help(e, "write if: $train beside it, as in {%s: {...}, if: $train}", s.callee);
		x->failed = true;
		return;
	}
	/* Names count whether or not `if` holds, so that training and evaluation agree. */
	first = s.module ? 0 : reserve(x, f, &s, s.part, c.count);
	x->frozen += c.frozen;
	x->train = train && !c.frozen;
	for (int64_t i = 0; c.wanted && i < c.count && !(i > 0 && too_many(x, given)); i++) {
		struct step round = s;
		struct ref last = { .kind = REF_STEP, .index = (int)(given - f->body->step) };
		struct feed feed[VQ_MAX_IN];
		if (i > 0 && s.takes == VQ_NONE && s.feeds > 0) {
			/* Nothing took the previous value: the first input goes on from the last round. */
			memcpy(feed, s.feed, sizeof(*feed) * (size_t)s.feeds);
			for (int k = 0; k < s.feeds; k++)
				if (feed[k].port == 0)
					feed[k] = (struct feed){ .port = 0, .count = 1, .ref = &last };
			round.feed = feed;
		}
		struct made now = { 0 };
		call(x, f, &round, c.recompute, *previous, instance(x, &s, s.part, first + (int)i), &now);
		*m = now;
		*previous = now.outs > 0 ? now.out[0] : VQ_NONE;
	}
	x->frozen -= c.frozen;
	x->train = train;
	if (s.as && (s.repeat || !c.wanted) && m->outs > 0)
		vq_expand_name(x, f, join(x, f->name, s.as), m->out[0]);
}

void
vq_expand_steps(struct expand *x, struct frame *f, vq_id *out)
{
	const struct body *b = f->body;
	vq_id previous = b->ports > 0 ? f->input[0] : VQ_NONE;

	f->made = vq_arena_alloc(&x->g->arena, sizeof(*f->made) * (size_t)b->steps);
	for (int i = 0; i < b->steps; i++)
		expand_step(x, f, &b->step[i], &f->made[i], &previous);
	for (int i = 0; i < b->outs; i++)
		out[i] = vq_expand_ref(x, f, &b->out[i].ref, VQ_F32);
	if (b->outs == 0)
		out[0] = previous;
	for (int i = 0; i < vq_body_outs(b); i++)
		x->failed |= out[i] == VQ_NONE;
	vq_names_free(&f->part);
	free(f->given);
}

/* --- graphs --------------------------------------------------------------- */

static bool
set_sizes(struct expand *x, struct frame *f, const struct vq_size *size, int nsize)
{
	bool ok = true;

	for (int i = 0; i < f->body->sizes; i++) {
		f->size[i] = -1;
		for (int k = 0; k < nsize; k++)
			if (strcmp(size[k].name, f->body->size[i].name) == 0)
				f->size[i] = size[k].value;
		if (f->size[i] >= 1)
			continue;
		vq_error(x->d, VQ_CONFIG, &f->body->size[i].at, "the size %s of graph %s is not given",
		    f->body->size[i].name, f->body->name);
		ok = false;
	}
	return ok;
}

static bool
make_input(struct expand *x, struct frame *f, int i)
{
	const struct port *port = &f->body->port[i];
	const struct pattern *p = &port->pattern;
	struct vq_type t = { .dtype = p->dtype, .shape = { .rank = p->rank } };

	for (int k = 0; k < p->rank; k++) {
		const struct dim *dim = &p->dim[k];
		if (dim->kind == DIM_NAME)
			t.shape.dim[k] = f->size[dim->name];
		else if (vq_scope_int(&f->scope, dim->number, "a size", &t.shape.dim[k]) < 0)
			return false;
		if (t.shape.dim[k] < 1) {
			vq_error(x->d, VQ_CONFIG, &dim->at, "a size must be at least 1, is %lld", (long long)t.shape.dim[k]);
			return false;
		}
	}
	if (!vq_type_valid(&t)) {
		vq_error(x->d, VQ_CONFIG, &p->at, "input %s is larger than any memory", port->name);
		return false;
	}
	f->input[i] = vq_graph_leaf(x->g, VQ_INPUT, port->name, &t);
	x->g->value[f->input[i]].where = port->at;
	return true;
}

/* Names nearest to the top first: what the graph calls so goes before a module's. */
static void
publish_names(struct expand *x)
{
	int deepest = 0;

	for (int i = 0; i < x->nameds; i++)
		deepest = x->named[i].depth > deepest ? x->named[i].depth : deepest;
	for (int depth = 0; depth <= deepest; depth++)
		for (int i = 0; i < x->nameds; i++)
			if (x->named[i].depth == depth)
				vq_graph_name(x->g, x->named[i].name, x->named[i].value);
}

static void
expand_graph(struct expand *x, const struct body *b, const struct vq_size *size, int nsize)
{
	struct vq_arena *a = &x->g->arena;
	struct frame f = {
		.body = b, .path = "", .name = "", .origin = VQ_NONE,
		.scope = { .model = x->m, .file = b->file, .body = b, .train = x->train, .diags = x->d },
	};
	vq_id *out = vq_arena_alloc(a, sizeof(*out) * (size_t)vq_body_outs(b));
	bool ok;

	f.scope.size = f.size = vq_arena_alloc(a, sizeof(*f.size) * (size_t)(b->sizes + 1));
	f.input = vq_arena_alloc(a, sizeof(*f.input) * (size_t)(b->ports + 1));
	ok = set_sizes(x, &f, size, nsize);
	for (int i = 0; ok && i < b->ports; i++)
		ok = make_input(x, &f, i);
	if (!ok || !vq_expand_require(x, &f)) {
		x->failed = true;
		return;
	}
	vq_expand_steps(x, &f, out);
	for (int i = 0; i < b->outs; i++)
		vq_graph_output(x->g, b->out[i].name, out[i]);
	for (int i = 0; i < x->assigns; i++)
		vq_graph_store(x->g, x->assigned[i].leaf, x->assigned[i].value);
	publish_names(x);
}

struct vq_graph *
vq_model_expand(const struct vq_model *m, const char *graph, bool train, const struct vq_size *size, int nsize,
    struct vq_diags *d)
{
	const struct body *b = vq_find_graph(m->file[0], graph);
	struct expand x = { .m = m, .d = d, .train = train };

	if (b == NULL) {
		struct vq_diag *e = vq_error(d, VQ_CONFIG, NULL, "%s has no graph '%s'", m->path, graph);
		struct vq_suggest near;
		vq_suggest_start(&near, graph);
		for (int i = 0; i < m->file[0]->graphs; i++)
			vq_suggest_try(&near, m->file[0]->graph[i].name);
		vq_help_near(e, &near);
		return NULL;
	}
	x.g = vq_graph_new(graph, d);
	x.g->train = train;
	expand_graph(&x, b, size, nsize);
	x.g->now = VQ_NONE;
	free(x.assigned);
	free(x.named);
	free(x.call);
	vq_names_free(&x.calls);
	if (!x.failed)
		return x.g;
	vq_graph_free(x.g);
	return NULL;
}
