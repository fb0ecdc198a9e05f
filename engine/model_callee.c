/*
 * model_callee -- the inputs, outputs and settings of what a step calls
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

static const char *const gradient_port[] = { "of", "to" };

bool
vq_is_language_step(const char *name)
{
	return strcmp(name, "assign") == 0 || strcmp(name, "gradient") == 0;
}

int
vq_body_outs(const struct body *b)
{
	return b->outs > 0 ? b->outs : 1;
}

const char *
vq_body_out(const struct body *b, int i)
{
	return b->outs > 0 ? b->out[i].name : "y";
}

int
vq_step_ports(const struct step *s)
{
	switch (s->kind) {
	case STEP_OP:
		return vq_op_ports(s->op);
	case STEP_BLOCK:
	case STEP_MODULE:
		return s->block->ports;
	case STEP_ARG:
		return 1;
	case STEP_GRADIENT:
		return (int)VQ_COUNT(gradient_port);
	case STEP_ASSIGN:
		break;
	}
	return 0;
}

const char *
vq_step_port(const struct step *s, int i)
{
	if (s->kind == STEP_ARG)
		return "x";
	if (s->kind == STEP_GRADIENT)
		return gradient_port[i];
	if (s->kind != STEP_OP)
		return s->block->port[i].name;
	return vq_op_variadic(s->op) ? "x" : s->op->in[i];
}

int
vq_step_outs(const struct step *s)
{
	switch (s->kind) {
	case STEP_OP:
		return vq_op_outs(s->op);
	case STEP_BLOCK:
	case STEP_MODULE:
		return vq_body_outs(s->block);
	case STEP_ARG:
	case STEP_GRADIENT:
		return 1;
	case STEP_ASSIGN:
		break;
	}
	return 0;
}

const char *
vq_step_out(const struct step *s, int i)
{
	if (s->kind == STEP_ARG || s->kind == STEP_GRADIENT)
		return "y";
	return s->kind == STEP_OP ? s->op->out[i] : vq_body_out(s->block, i);
}

/* How many settings there can be: parameters of an op, args of a block. */
int
vq_step_settings(const struct step *s)
{
	int n = 0;

	if (s->kind == STEP_BLOCK)
		return s->block->args;
	while (s->kind == STEP_OP && s->op->params && s->op->params[n].name)
		n++;
	return n;
}

const char *
vq_step_setting(const struct step *s, int i)
{
	return s->kind == STEP_OP ? s->op->params[i].name : s->block->arg[i].name;
}

bool
vq_step_required(const struct step *s, int i)
{
	return s->kind == STEP_OP ? s->op->params[i].init == NULL : s->block->arg[i].init == NULL;
}

static void
add_arg_text(const struct arg *a, struct vq_text *t)
{
	vq_text_add(t, "%s%s", t->len ? ", " : "", a->name);
	if (a->init && a->init->kind == VQ_TREE_SCALAR)
		vq_text_add(t, " = %s", a->init->text);
	else if (a->init)
		vq_text_add(t, " = [...]");
}

void
vq_callee_note(const struct step *s, struct vq_diag *e)
{
	struct vq_text ports = { 0 }, settings = { 0 };
	int n = vq_step_ports(s);

	for (int i = 0; n > 1 && i < n; i++)
		vq_text_add(&ports, "%s%s", i ? ", " : "", vq_step_port(s, i));
	if (s->kind == STEP_OP && s->op->params)
		vq_params_signature(s->op->params, &settings);
	else if (s->kind == STEP_BLOCK)
		for (int i = 0; i < s->block->args; i++)
			add_arg_text(&s->block->arg[i], &settings);
	if (ports.len == 0 && settings.len == 0)
		vq_note(e, s->block ? &s->block->at : NULL, "%s takes nothing but its input", s->callee);
	else
		vq_note(e, s->block ? &s->block->at : NULL, "%s takes %s%s%s", s->callee,
		    ports.len ? ports.s : "", ports.len && settings.len ? "; " : "", settings.len ? settings.s : "");
	vq_text_free(&ports);
	vq_text_free(&settings);
}

int
vq_step_unknown_key(const struct step *s, const struct vq_tree *key, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_CONFIG, &key->at, "%s has no parameter '%s'", s->callee, key->text);
	struct vq_suggest near;

	vq_suggest_start(&near, key->text);
	for (int i = 0; i < vq_step_ports(s); i++)
		vq_suggest_try(&near, vq_step_port(s, i));
	for (int i = 0; i < vq_step_settings(s); i++) {
		vq_suggest_try(&near, vq_step_setting(s, i));
		if (s->kind == STEP_OP && s->op->params[i].also)
			vq_suggest_also(&near, vq_step_setting(s, i), s->op->params[i].also);
		const struct vq_tree *also = s->kind == STEP_BLOCK ? s->block->arg[i].also : NULL;
		for (int k = 0; also && k < also->count; k++)
			vq_suggest_also(&near, vq_step_setting(s, i),
			    (const char *const[]){ also->item[k].value->text, NULL });
	}
	if (near.best && near.distance <= 0)
		vq_help_near(e, &near);
	else if (near.best)
		vq_help(e, "there is a parameter with a similar name: %s", near.best);
	else if (vq_step_key(key->text))
		vq_help(e, "`%s` belongs to the step: {%s: {...}, %s: ...}", key->text, s->callee, key->text);
	else if (s->kind == STEP_MODULE)
		vq_help(e, "the args of a module stand where it is declared");
	vq_callee_note(s, e);
	return -1;
}

bool
vq_step_key(const char *name)
{
	static const char *const keys[] = { "as", "repeat", "if", "recompute", "frozen" };

	for (size_t i = 0; i < VQ_COUNT(keys); i++)
		if (strcmp(name, keys[i]) == 0)
			return true;
	return false;
}

int
vq_step_find_port(const struct step *s, const char *name)
{
	for (int i = 0; i < vq_step_ports(s); i++)
		if (strcmp(vq_step_port(s, i), name) == 0)
			return i;
	return VQ_NONE;
}

int
vq_step_find_setting(const struct step *s, const char *name)
{
	for (int i = 0; i < vq_step_settings(s); i++)
		if (strcmp(vq_step_setting(s, i), name) == 0)
			return i;
	return VQ_NONE;
}
