/*
 * model_scope -- what a number in a model file is worth where it stands
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

enum { LET_DEPTH = 100 };

bool
vq_is_expr(const struct vq_tree *t)
{
	return t->kind == VQ_TREE_SCALAR && !t->quoted && t->text[0] == '$';
}

const char *
vq_dollar_name(const struct vq_tree *t)
{
	return vq_is_expr(t) && vq_is_path(t->text + 1) ? t->text + 1 : NULL;
}

/* --- names ---------------------------------------------------------------- */

static int
unknown_name(struct scope *s, const char *name, const struct vq_range *at)
{
	struct vq_diag *e = vq_error(s->diags, VQ_CONFIG, at, "there is no number '%s' here", name);
	struct vq_suggest near;

	vq_suggest_start(&near, name);
	for (int i = 0; s->body && i < s->body->args; i++)
		vq_suggest_try(&near, s->body->arg[i].name);
	for (int i = 0; s->body && i < s->body->sizes; i++)
		vq_suggest_try(&near, s->body->size[i].name);
	vq_near_lets(s->file, &near);
	if (near.best)
		vq_help_near(e, &near);
	else if (s->body && !s->body->graph)
		vq_note(e, NULL, "a block sees its args, the sizes that its `in` names, and the `let` of its file");
	return -1;
}

static int
body_name(struct scope *s, const char *name, const struct vq_range *at, struct vq_number *out)
{
	for (int i = 0; i < s->body->args; i++)
		if (strcmp(s->body->arg[i].name, name) == 0) {
			if (s->check)
				s->body->arg[i].used = true;
			else if (s->arg)
				*out = s->arg[i];
			return 1;
		}
	for (int i = 0; i < s->body->sizes; i++)
		if (strcmp(s->body->size[i].name, name) == 0) {
			if (!s->check && s->size && s->size[i] >= 0)
				*out = (struct vq_number){ .kind = VQ_NUM_INT, .i = s->size[i] };
			return 1;
		}
	return 0;
}

static int
lookup(void *arg, const char *name, const struct vq_range *at, struct vq_number *out)
{
	struct scope *s = arg;
	const struct let *l;

	*out = (struct vq_number){ 0 };
	if (strcmp(name, "train") == 0) {
		if (!s->condition) {
			vq_help(vq_error(s->diags, VQ_CONFIG, at, "$train is known in `if` only"),
			    "guard a step by it: {dropout: {p: 0.1}, if: $train}");
			return -1;
		}
		*out = (struct vq_number){ .kind = s->check ? VQ_NUM_NONE : VQ_NUM_BOOL, .i = s->train };
		return 0;
	}
	if (s->body && body_name(s, name, at, out) > 0)
		return 0;
	if ((l = vq_find_let(s->file, name)) == NULL)
		return unknown_name(s, name, at);
	if (s->check)
		return 0;
	return vq_let_eval(s, l, out);
}

/* --- values --------------------------------------------------------------- */

static int
bad_value(struct scope *s, const struct vq_tree *t, const char *message)
{
	vq_error(s->diags, VQ_CONFIG, &t->at, "%s", message);
	return -1;
}

static int
expr_value(struct scope *s, const struct vq_tree *t, struct vq_number *out)
{
	size_t len = strlen(t->text);
	char *inner;
	int error;

	if (vq_dollar_name(t))
		return vq_expr_eval(t->text + 1, &t->at, 1, lookup, s, s->diags, out);
	if (t->text[1] != '(')
		return bad_value(s, t, "after $ a name or (...) is wanted");
	if (t->text[len - 1] != ')')
		return bad_value(s, t, "$( has no ) at the end of the value");
	inner = vq_strndup(t->text + 2, len - 3);
	error = vq_expr_eval(inner, &t->at, 2, lookup, s, s->diags, out);
	free(inner);
	return error;
}

static int
list_value(struct scope *s, const struct vq_tree *t, struct vq_number *out)
{
	if (t->count > VQ_MAX_INTS)
		return bad_value(s, t, "this list is too long");
	out->ints.count = t->count;
	for (int i = 0; i < t->count; i++) {
		if (t->item[i].value->kind != VQ_TREE_SCALAR)
			return bad_value(s, t->item[i].value, "an integer is wanted here");
		if (vq_scope_int(s, t->item[i].value, "this", &out->ints.v[i]) < 0)
			return -1;
	}
	out->kind = s->check ? VQ_NUM_NONE : VQ_NUM_INTS;
	return 0;
}

int
vq_scope_value(struct scope *s, const struct vq_tree *t, struct vq_number *out)
{
	*out = (struct vq_number){ 0 };
	if (t->kind == VQ_TREE_MAP)
		return bad_value(s, t, "a number is wanted here");
	if (t->kind == VQ_TREE_LIST)
		return list_value(s, t, out);
	if (vq_is_expr(t))
		return expr_value(s, t, out);
	if (t->text[0] == '\0')
		return bad_value(s, t, "a value is missing");
	if (t->quoted || !vq_number_parse(t->text, out)) {
		const char *digit = t->text + (t->text[0] == '-' || t->text[0] == '+');
		if (!t->quoted && *digit >= '0' && *digit <= '9' && digit[strspn(digit, "0123456789.eE+-")] == '\0') {
			*out = (struct vq_number){ 0 };
			return bad_value(s, t, "this is no number, or one that is too large");
		}
		*out = (struct vq_number){ .kind = VQ_NUM_WORD, .text = t->text, .owner = s->file };
	}
	return 0;
}

static int
let_cycle(struct scope *s, const struct let *l)
{
	struct vq_diag *e = vq_error(s->diags, VQ_CONFIG, &l->at, "the value of %s depends on itself", l->name);

	for (int i = 0; i < l->file->lets; i++)
		if (l->file->let[i].phase == LET_BUSY && &l->file->let[i] != l)
			vq_note(e, &l->file->let[i].at, "through %s", l->file->let[i].name);
	return -1;
}

int
vq_let_eval(struct scope *s, const struct let *given, struct vq_number *out)
{
	struct let *l = &given->file->let[given - given->file->let];
	struct scope own = { .model = s->model, .file = l->file, .depth = s->depth + 1, .diags = s->diags };
	int error = 0;

	*out = (struct vq_number){ 0 };
	if (l->phase == LET_BUSY)
		return let_cycle(s, l);
	if (l->phase == LET_NEW && own.depth > LET_DEPTH) {
		vq_error(s->diags, VQ_CONFIG, &l->at, "more than %d numbers that depend on each other", LET_DEPTH);
		return -1;
	}
	if (l->phase == LET_NEW) {
		l->phase = LET_BUSY;
		error = vq_scope_value(&own, l->tree, &l->value);
		/* Known from here on, if only as wrong: reported once, at its own place. */
		l->phase = LET_DONE;
		if (error < 0)
			l->value = (struct vq_number){ 0 };
	}
	*out = l->value;
	return error;
}

/* --- values as what is wanted --------------------------------------------- */

bool
vq_number_int(const struct vq_number *n, int64_t *out, char why[VQ_WHY])
{
	struct vq_text t = { 0 };

	if (n->kind == VQ_NUM_INT || (n->kind == VQ_NUM_INTS && n->ints.count == 1)) {
		*out = n->kind == VQ_NUM_INT ? n->i : n->ints.v[0];
		return true;
	}
	vq_number_print(n, &t);
	if (n->inexact)
		snprintf(why, VQ_WHY, "must be an integer, and %lld / %lld is %s", (long long)n->over,
		    (long long)n->under, t.s);
	else
		snprintf(why, VQ_WHY, "must be an integer, is %.100s", t.s);
	vq_text_free(&t);
	return false;
}

/* NONE is no error of its own: it was reported, or values are not wanted. */
static int
wrong_kind(struct scope *s, const struct vq_tree *t, const char *what, const struct vq_number *n, const char *wanted)
{
	struct vq_text text = { 0 };

	if (n->kind == VQ_NUM_NONE)
		return -1;
	vq_number_print(n, &text);
	struct vq_diag *e = vq_error(s->diags, VQ_CONFIG, &t->at, "%s must be %s, is %s", what, wanted, text.s);
	if (n->kind == VQ_NUM_WORD && vq_is_path(n->text) && !vq_is_expr(t))
		vq_help(e, "a number by its name is written $%s", n->text);
	vq_text_free(&text);
	return -1;
}

int
vq_scope_int(struct scope *s, const struct vq_tree *t, const char *what, int64_t *out)
{
	struct vq_number n;
	char why[VQ_WHY];

	*out = 0;
	if (vq_scope_value(s, t, &n) < 0)
		return -1;
	if (n.kind == VQ_NUM_NONE)
		return s->check ? 0 : -1;
	if (vq_number_int(&n, out, why))
		return 0;
	if (n.kind != VQ_NUM_REAL)
		return wrong_kind(s, t, what, &n, "an integer");
	vq_error(s->diags, VQ_CONFIG, &t->at, "%s %s", what, why);
	return -1;
}

int
vq_scope_real(struct scope *s, const struct vq_tree *t, const char *what, double *out)
{
	struct vq_number n;

	*out = 0;
	if (vq_scope_value(s, t, &n) < 0)
		return -1;
	if (n.kind == VQ_NUM_NONE)
		return s->check ? 0 : -1;
	if (n.kind != VQ_NUM_INT && n.kind != VQ_NUM_REAL)
		return wrong_kind(s, t, what, &n, "a number");
	*out = vq_number_real(&n);
	return 0;
}

int
vq_scope_bool(struct scope *s, const struct vq_tree *t, const char *what, bool *out)
{
	struct vq_number n;

	*out = false;
	if (vq_scope_value(s, t, &n) < 0)
		return -1;
	if (n.kind == VQ_NUM_NONE)
		return s->check ? 0 : -1;
	if (n.kind != VQ_NUM_BOOL && !(n.kind == VQ_NUM_INT && (n.i == 0 || n.i == 1)))
		return wrong_kind(s, t, what, &n, "true or false");
	*out = n.i != 0;
	return 0;
}

/* --- messages ------------------------------------------------------------- */

/* Of the expression that begins here; 0 if none does. */
static size_t
expression_length(const char *s)
{
	char head[2] = { s[0] == '$' ? s[1] : '\0' };
	size_t n = 1;
	int open = 0;

	if (head[0] == '(') {
		do {
			open += (s[n] == '(') - (s[n] == ')');
			n++;
		} while (open > 0 && s[n]);
		return n;
	}
	while (vq_is_name(head) || (n > 1 && s[n] >= '0' && s[n] <= '9')) {
		n++;
		/* A dot belongs to a name that goes on. */
		head[0] = s[n] == '.' ? s[n + 1] : s[n];
		n += s[n] == '.' && vq_is_name(head);
	}
	return n > 1 ? n : 0;
}

size_t
vq_message_piece(const char *s, bool *expr)
{
	size_t n = expression_length(s);

	*expr = n > 0;
	if (n == 0 && *s)
		for (n = 1; s[n] && expression_length(s + n) == 0;)
			n++;
	return n;
}

int
vq_scope_message(struct scope *s, const struct vq_tree *t, struct vq_text *out)
{
	bool one_line = t->at.line == t->at.end_line, expr;
	size_t n;

	for (size_t at = 0; (n = vq_message_piece(t->text + at, &expr)) > 0; at += n) {
		struct vq_tree piece = *t;
		struct vq_number value;
		int error;
		if (!expr) {
			vq_text_put(out, t->text + at, n);
			continue;
		}
		char *text = vq_strndup(t->text + at, n);
		piece.text = text;
		piece.quoted = false;
		piece.at.col += one_line ? (int)at + t->quoted : 0;
		piece.at.end_col = one_line ? piece.at.col + (int)n : piece.at.end_col;
		error = vq_scope_value(s, &piece, &value);
		free(text);
		if (error < 0)
			return -1;
		vq_number_print(&value, out);
	}
	return 0;
}
