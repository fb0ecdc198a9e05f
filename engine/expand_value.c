/*
 * expand_value -- the inputs and parameters of one step
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/expand_private.h"

void
vq_expand_notes(struct expand *x, int before, const char *inside)
{
	const struct vq_origin *now;
	char place[256];

	x->failed = true;
	if (x->g->now == VQ_NONE)
		return;
	now = &x->g->origin[x->g->now];
	for (int i = before; i < x->d->count; i++) {
		if (inside)
			vq_note(x->d->diag[i], NULL, "in %s, expanded as %s from %s", inside, now->path,
			    vq_range_str(&now->at, place, sizeof(place)));
		vq_origin_notes(x->g, x->g->now, x->d->diag[i]);
	}
}

void
vq_expand_name(struct expand *x, const struct frame *f, const char *name, vq_id value)
{
	if (value == VQ_NONE)
		return;
	vq_grow(x->named, x->nameds, x->named_cap);
	x->named[x->nameds].name = name;
	x->named[x->nameds].value = value;
	x->named[x->nameds++].depth = f->depth;
}

vq_id
vq_expand_current(const struct expand *x, vq_id leaf)
{
	for (int i = 0; i < x->assigns; i++)
		if (x->assigned[i].leaf == leaf)
			return x->assigned[i].value;
	return leaf;
}

/* --- values --------------------------------------------------------------- */

static vq_id
number_ref(struct expand *x, const struct frame *f, const struct ref *r, enum vq_dtype dtype)
{
	struct scope s = f->scope;
	struct vq_number n;
	int before = x->d->count;

	if (vq_scope_value(&s, r->tree, &n) == 0) {
		if (n.kind == VQ_NUM_BOOL)
			return vq_graph_scalar(x->g, VQ_BOOL, (double)n.i);
		if (n.kind == VQ_NUM_REAL && !vq_is_float(dtype))
			dtype = VQ_F32;
		if (n.kind == VQ_NUM_INT || n.kind == VQ_NUM_REAL)
			return vq_graph_scalar(x->g, dtype, vq_number_real(&n));
		vq_error(x->d, VQ_CONFIG, &r->tree->at, "a tensor or a number is wanted here");
	}
	vq_expand_notes(x, before, NULL);
	return VQ_NONE;
}

static vq_id
step_ref(struct expand *x, const struct frame *f, const struct ref *r)
{
	const struct made *m = &f->made[r->index];
	int before = x->d->count;

	if (r->out < m->outs)
		return m->out[r->out];
	vq_error(x->d, VQ_CONFIG, &r->tree->at, "'%s' is not there: the step was skipped", r->tree->text);
	vq_expand_notes(x, before, NULL);
	return VQ_NONE;
}

/* A parameter whose own `if` does not hold, read by a step whose `if` does. */
static vq_id
absent_var(struct expand *x, const struct frame *f, const struct ref *r)
{
	int before = x->d->count;

	vq_note(vq_error(x->d, VQ_CONFIG, &r->tree->at, "'%s' is not there: its `if` does not hold", r->tree->text),
	    &f->body->var[r->index].at, "declared");
	vq_expand_notes(x, before, NULL);
	return VQ_NONE;
}

/* "emb.weight": a parameter of a module that was called, or can be made without. */
static vq_id
leaf_ref(struct expand *x, const struct frame *f, const struct ref *r)
{
	const char *text = r->tree->text, *rest;
	const struct module *m = vq_find_leaf_module(f->scope.file, text, &rest);
	int before = x->d->count;
	char *path = vq_asprintf("%s.%s", m->path, rest);
	vq_id leaf = vq_graph_find(x->g, path);

	free(path);
	if (leaf == VQ_NONE)
		leaf = vq_expand_module_var(x, m, rest);
	if (leaf != VQ_NONE)
		return vq_expand_current(x, leaf);
	/* Where the module's call failed, that is what was wrong. */
	if (x->failed && vq_names_get(&x->calls, m->path) >= 0)
		return VQ_NONE;
	if (x->d->count == before)
		vq_help(vq_error(x->d, VQ_CONFIG, &r->tree->at, "there is no tensor '%s' here", text),
		    "a parameter whose shape depends on the module's input can be named after its first call");
	vq_expand_notes(x, before, NULL);
	return VQ_NONE;
}

/* In a frozen step no gradient reaches a parameter, nor what a state was made from. */
static vq_id
frozen(struct expand *x, vq_id v)
{
	return x->frozen ? vq_unary(x->g, "stop", v) : v;
}

vq_id
vq_expand_ref(struct expand *x, const struct frame *f, const struct ref *r, enum vq_dtype dtype)
{
	vq_id v;

	switch (r->kind) {
	case REF_NUMBER:
		return number_ref(x, f, r, dtype);
	case REF_INPUT:
		return f->input[r->index];
	case REF_VAR:
		v = f->var[r->index];
		return v == VQ_NONE ? absent_var(x, f, r) : frozen(x, vq_expand_current(x, v));
	case REF_STEP:
		return step_ref(x, f, r);
	case REF_LEAF:
		return leaf_ref(x, f, r);
	}
	return VQ_NONE;
}

/* The type that numbers beside these tensors take. */
static enum vq_dtype
dtype_of_numbers(const struct expand *x, const vq_id *in, int n)
{
	enum vq_dtype found = VQ_BOOL;

	for (int i = 0; i < n; i++) {
		if (in[i] == VQ_NONE)
			continue;
		enum vq_dtype t = vq_type_at(x->g, in[i])->dtype;
		if (vq_is_float(t))
			return t;
		if (found == VQ_BOOL)
			found = t;
	}
	return found == VQ_BOOL ? VQ_F32 : found;
}

/* An op that is told one port and takes the very same value for the other: a loss
 * of a value against itself is no loss, and a slip of the pen. */
static bool
takes_twice(struct expand *x, const struct step *s, vq_id previous, const vq_id *in, int n)
{
	if (s->kind != STEP_OP || s->takes == VQ_NONE)
		return false;
	for (int i = 0; i < n; i++) {
		if (i == s->takes || in[i] != previous)
			continue;
		struct vq_diag *e = vq_error(x->d, VQ_CONFIG, &s->at, "%s: %s is not given, and the previous value is what %s is",
		    s->callee, s->op->in[s->takes], s->op->in[i]);
		vq_help(e, "say what %s is; the same value twice must be written out", s->op->in[s->takes]);
		return true;
	}
	return false;
}

/* Tensors first, then numbers, which take their type from them. */
bool
vq_expand_inputs(struct expand *x, struct frame *f, const struct step *s, vq_id previous,
    vq_id in[VQ_MAX_IN], int *n)
{
	bool variadic = s->kind == STEP_OP && vq_op_variadic(s->op), ok = true;
	int before = x->d->count;

	*n = variadic && s->feeds > 0 ? s->feed[0].count : vq_step_ports(s);
	for (int i = 0; i < VQ_MAX_IN; i++)
		in[i] = VQ_NONE;
	if (s->takes != VQ_NONE) {
		in[s->takes] = previous;
		if (previous == VQ_NONE && !x->failed) {
			vq_error(x->d, VQ_CONFIG, &s->at, "%s has no input: there is no previous value", s->callee);
			vq_expand_notes(x, before, NULL);
		}
	}
	for (int pass = 0; pass < 2; pass++) {
		enum vq_dtype dtype = pass ? dtype_of_numbers(x, in, *n) : VQ_F32;
		for (int i = 0; i < s->feeds; i++)
			for (int k = 0; k < s->feed[i].count; k++)
				if ((s->feed[i].ref[k].kind == REF_NUMBER) == pass)
					in[s->feed[i].port + k] = vq_expand_ref(x, f, &s->feed[i].ref[k], dtype);
	}
	for (int i = 0; i < *n; i++)
		ok &= in[i] != VQ_NONE;
	ok = ok && !takes_twice(x, s, previous, in, *n);
	x->failed |= !ok;
	return ok;
}

/* --- parameters of an op -------------------------------------------------- */

/* A setting as the text that vq_param_set takes; NULL after errors, where why
 * is empty when they were reported. */
static const char *
setting_text(struct expand *x, struct frame *f, const struct vq_param *p, const struct vq_tree *t, char why[VQ_WHY])
{
	struct vq_number n;
	struct vq_text text = { 0 };
	const char *copy;
	int64_t i;

	why[0] = '\0';
	if (t->kind == VQ_TREE_SCALAR && !vq_is_expr(t))
		return t->text;
	if (vq_scope_value(&f->scope, t, &n) < 0)
		return NULL;
	if (p->kind == VQ_P_BOOL && n.kind == VQ_NUM_INT && (n.i == 0 || n.i == 1))
		n.kind = VQ_NUM_BOOL;
	if ((p->kind == VQ_P_INT || p->kind == VQ_P_INTS) && n.kind != VQ_NUM_INTS && !vq_number_int(&n, &i, why))
		return NULL;
	vq_number_print(&n, &text);
	copy = vq_arena_strdup(&x->g->arena, text.s);
	vq_text_free(&text);
	return copy;
}

bool
vq_expand_params(struct expand *x, struct frame *f, const struct step *s, void *into)
{
	int before = x->d->count;
	char why[VQ_WHY];
	bool ok = true;

	if (s->op->params)
		vq_params_default(s->op->params, into);
	for (int i = 0; i < s->settings; i++) {
		const struct vq_param *p = &s->op->params[s->setting[i].index];
		const struct vq_tree *t = s->setting[i].value;
		const char *text = setting_text(x, f, p, t, why);
		if (text && vq_param_set(p, into, text, why) == 0)
			continue;
		ok = false;
		if (why[0])
			vq_error(x->d, VQ_CONFIG, &t->at, "%s: %s %s", s->callee, p->name, why);
	}
	if (!ok)
		vq_expand_notes(x, before, NULL);
	return ok;
}

/* --- what a body requires ------------------------------------------------- */

/* Reported where a block is called, for there its sizes come from. */
static bool
hold(struct expand *x, struct frame *f, const struct vq_pair *p)
{
	struct vq_text message = { 0 };
	bool holds;

	if (vq_scope_bool(&f->scope, p->key, "a condition", &holds) < 0)
		return false;
	if (!holds && vq_scope_message(&f->scope, p->value, &message) == 0) {
		bool graph = f->body->graph;
		const struct vq_range *at = graph ? &p->key->at : &x->g->origin[x->g->now].at;
		struct vq_diag *e = vq_error(x->d, VQ_CONFIG, at, "%s: %s", f->body->name, message.s);
		if (!graph)
			vq_note(e, &p->key->at, "required by %s", f->body->name);
	}
	vq_text_free(&message);
	return holds;
}

bool
vq_expand_require(struct expand *x, struct frame *f)
{
	int before = x->d->count;
	bool ok = true;

	/* The first that does not hold: what comes after it may take it for granted. */
	for (int i = 0; ok && i < f->body->require->count; i++)
		ok = hold(x, f, &f->body->require->item[i]);
	if (!ok)
		vq_expand_notes(x, before, NULL);
	return ok;
}
