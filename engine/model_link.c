/*
 * model_link -- steps: every op, block, module and tensor that they name is
 * found here, once, and what they do not name is reported
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

struct linking {
	struct vq_model *m;
	struct file *f;
	struct body *b;
	struct vq_diags *d;
	struct scope scope;		/* checks names of numbers */
	struct vq_names as;		/* step by `as` */
};

/* --- numbers -------------------------------------------------------------- */

/* Checks the names in every expression of a tree. */
static void
check_numbers(struct linking *l, const struct vq_tree *t)
{
	struct vq_number n;

	if (t == NULL)
		return;
	if (vq_is_expr(t))
		vq_scope_value(&l->scope, t, &n);
	for (int i = 0; i < t->count; i++)
		check_numbers(l, t->item[i].value);
}

static void
check_declared_numbers(struct linking *l)
{
	struct body *b = l->b;
	int args = b->args;

	/* A default sees the args before it. */
	for (int i = 0; i < args; i++) {
		b->args = i;
		check_numbers(l, b->arg[i].min);
		check_numbers(l, b->arg[i].max);
		check_numbers(l, b->arg[i].init);
	}
	b->args = args;
	for (int i = 0; i < b->ports; i++)
		for (int k = 0; k < b->port[i].pattern.rank; k++)
			check_numbers(l, b->port[i].pattern.dim[k].number);
	for (int i = 0; i < b->vars; i++) {
		check_numbers(l, b->var[i].shape);
		check_numbers(l, b->var[i].init);
		if (b->var[i].init && b->var[i].init->kind == VQ_TREE_MAP && b->var[i].init->count == 1)
			check_numbers(l, b->var[i].init->item[0].key);
		check_numbers(l, b->var[i].cond);
	}
	for (int i = 0; b->require && i < b->require->count; i++) {
		struct vq_text ignored = { 0 };
		check_numbers(l, b->require->item[i].key);
		vq_scope_message(&l->scope, b->require->item[i].value, &ignored);
		vq_text_free(&ignored);
	}
}

/* --- tensors -------------------------------------------------------------- */

static void
near_tensors(struct linking *l, const char *text, struct vq_diag *e)
{
	const struct body *b = l->b;
	struct vq_suggest near;

	vq_suggest_start(&near, text);
	for (int i = 0; i < b->ports; i++)
		vq_suggest_try(&near, b->port[i].name);
	for (int i = 0; i < b->vars; i++)
		vq_suggest_try(&near, b->var[i].name);
	for (int i = 0; i < b->steps; i++) {
		const struct step *s = &b->step[i];
		if (s->as == NULL)
			continue;
		vq_suggest_try(&near, s->as);
		for (int k = 0; vq_step_outs(s) > 1 && k < vq_step_outs(s); k++)
			vq_suggest_try(&near, vq_arena_printf(l->m->arena, "%s.%s", s->as, vq_step_out(s, k)));
	}
	vq_help_near(e, &near);
	for (int i = 0; i < b->args; i++)
		if (strcmp(b->arg[i].name, text) == 0)
			vq_help(e, "%s is a number: write $%s", text, text);
}

/* What the step before the dot does give. */
static void
note_outputs(struct linking *l, const char *text, struct vq_diag *e)
{
	const char *dot = strrchr(text, '.');
	char *base = dot ? vq_strndup(text, (size_t)(dot - text)) : NULL;
	int i = base ? vq_names_get(&l->as, base) : VQ_NONE;
	struct vq_text all = { 0 };

	for (int k = 0; i >= 0 && k < vq_step_outs(&l->b->step[i]); k++)
		vq_text_add(&all, "%s%s.%s", k ? ", " : "", base, vq_step_out(&l->b->step[i], k));
	if (all.len)
		vq_note(e, &l->b->step[i].as_at, "%s gives %s", l->b->step[i].callee, all.s);
	vq_text_free(&all);
	free(base);
}

static int
unknown_tensor(struct linking *l, const struct vq_tree *t)
{
	struct vq_diag *e = vq_error(l->d, VQ_CONFIG, &t->at, "there is no tensor '%s' here", t->text);
	const struct vq_tree *steps = vq_tree_get(l->b->tree, "steps");

	for (int i = l->b->steps; steps && i < steps->count; i++) {
		const struct vq_tree *as = vq_tree_get(steps->item[i].value, "as");
		if (as && as->kind == VQ_TREE_SCALAR && strcmp(as->text, t->text) == 0) {
			vq_note(e, &as->at, "it is made only later");
			return -1;
		}
	}
	note_outputs(l, t->text, e);
	near_tensors(l, t->text, e);
	return -1;
}

static int
find_tensor(struct linking *l, const struct vq_tree *t, const char *text, struct ref *ref)
{
	struct body *b = l->b;
	int i;

	for (i = 0; i < b->ports; i++)
		if (strcmp(b->port[i].name, text) == 0) {
			*ref = (struct ref){ .kind = REF_INPUT, .index = i, .tree = t };
			return 0;
		}
	for (i = 0; i < b->vars; i++)
		if (strcmp(b->var[i].name, text) == 0) {
			b->var[i].used = true;
			*ref = (struct ref){ .kind = REF_VAR, .index = i, .tree = t };
			return 0;
		}
	if ((i = vq_names_get(&l->as, text)) >= 0) {
		*ref = (struct ref){ .kind = REF_STEP, .index = i, .tree = t };
		return 0;
	}
	return -1;
}

/* "vq.code": an output of the step called vq. */
static int
find_output(struct linking *l, const struct vq_tree *t, struct ref *ref)
{
	const char *dot = strrchr(t->text, '.');
	char *base;
	int i, out = 0;

	if (dot == NULL)
		return -1;
	base = vq_strndup(t->text, (size_t)(dot - t->text));
	i = vq_names_get(&l->as, base);
	free(base);
	if (i < 0)
		return -1;
	const struct step *s = &l->b->step[i];
	while (out < vq_step_outs(s) && strcmp(vq_step_out(s, out), dot + 1) != 0)
		out++;
	if (out == vq_step_outs(s))
		return -1;
	*ref = (struct ref){ .kind = REF_STEP, .index = i, .out = out, .tree = t };
	return 0;
}

/* "emb.weight", in a graph: a parameter of a module. */
static bool
is_module_leaf(const struct linking *l, const char *text)
{
	const char *rest;

	return l->b->graph && vq_find_leaf_module(l->f, text, &rest) != NULL;
}

static int
read_ref(struct linking *l, const struct vq_tree *t, bool number, struct ref *ref)
{
	struct vq_number n;

	*ref = (struct ref){ .tree = t };
	if (t->kind != VQ_TREE_SCALAR || t->text[0] == '\0') {
		vq_error(l->d, VQ_CONFIG, &t->at, "the name of a tensor is wanted here");
		return -1;
	}
	if (number && (vq_is_expr(t) || vq_number_parse(t->text, &n))) {
		check_numbers(l, t);
		return 0;
	}
	if (find_tensor(l, t, t->text, ref) == 0 || find_output(l, t, ref) == 0)
		return 0;
	if (is_module_leaf(l, t->text)) {
		ref->kind = REF_LEAF;
		return 0;
	}
	return unknown_tensor(l, t);
}

/* --- the parts of a step -------------------------------------------------- */

static int
unknown_callee(struct linking *l, const struct step *s)
{
	struct vq_diag *e;
	struct vq_suggest near;

	if (vq_find_module(l->f, s->callee) != NULL) {
		vq_error(l->d, VQ_CONFIG, &s->at, "module %s can be called in graphs only", s->callee);
		return -1;
	}
	e = vq_error(l->d, VQ_CONFIG, &s->at, "there is no op, block or module '%s'", s->callee);
	vq_suggest_start(&near, s->callee);
	vq_near_callees(l->f, &near, l->b->graph);
	vq_help_near(e, &near);
	if (near.best == NULL && l->f->uses == 0)
		vq_help(e, "layers such as conv and linear come with `use: [lib/nn]`");
	return -1;
}

static int
find_arg_callee(struct linking *l, struct step *s)
{
	const char *name = s->callee + 1;

	for (int i = 0; i < l->b->args; i++)
		if (strcmp(l->b->arg[i].name, name) == 0 && l->b->arg[i].type == ARG_OP) {
			l->b->arg[i].used = true;
			s->kind = STEP_ARG;
			s->arg = i;
			return 0;
		}
	vq_help(vq_error(l->d, VQ_CONFIG, &s->at, "there is no arg '%s' that names an op", name),
	    "declare it: args: {%s: op}", name);
	return -1;
}

static int
find_callee(struct linking *l, struct step *s)
{
	s->part = vq_last_part(s->callee);
	if (s->callee[0] == '$')
		return find_arg_callee(l, s);
	if (strcmp(s->callee, "assign") == 0) {
		s->kind = STEP_ASSIGN;
		return 0;
	}
	if (strcmp(s->callee, "gradient") == 0) {
		s->kind = STEP_GRADIENT;
		return 0;
	}
	s->op = vq_op_find(s->callee);
	if (s->op != NULL && !(s->op->flags & VQ_OP_INTERNAL)) {
		s->kind = STEP_OP;
		return 0;
	}
	if ((s->block = vq_find_block(l->f, s->callee)) != NULL) {
		s->kind = STEP_BLOCK;
		return 0;
	}
	if (l->b->graph && (s->module = vq_find_module(l->f, s->callee)) != NULL) {
		s->kind = STEP_MODULE;
		s->block = vq_find_block(s->module->file, s->module->callee);
		return s->block ? 0 : -1;
	}
	return unknown_callee(l, s);
}

/* Splits a step into what it calls and how: `as`, `repeat`, `if`, `recompute`, `frozen`. */
static int
read_head(struct linking *l, struct step *s, const struct vq_tree *t, const struct vq_tree **given)
{
	*given = NULL;
	s->at = t->at;
	if (t->kind == VQ_TREE_SCALAR && t->text[0] != '\0')
		s->callee = t->text;
	else if (t->kind != VQ_TREE_MAP) {
		vq_error(l->d, VQ_CONFIG, &t->at, "a step is an op, a block or a module, as in `relu` or `conv: {out: 8}`");
		return -1;
	}
	for (int i = 0; i < t->count; i++) {
		const struct vq_tree *key = t->item[i].key, *value = t->item[i].value;
		if (strcmp(key->text, "as") == 0) {
			s->as = value->kind == VQ_TREE_SCALAR ? value->text : "";
			s->as_at = value->at;
		} else if (strcmp(key->text, "repeat") == 0) {
			s->repeat = value;
		} else if (strcmp(key->text, "if") == 0) {
			s->cond = value;
		} else if (strcmp(key->text, "recompute") == 0) {
			s->recompute = value;
		} else if (strcmp(key->text, "frozen") == 0) {
			s->frozen = value;
		} else if (s->callee != NULL) {
			vq_help(vq_error(l->d, VQ_CONFIG, &key->at, "a step calls one thing; this one calls %s already",
			    s->callee), "what belongs to %s stands inside its {...}; a new step begins with -", s->callee);
			return -1;
		} else {
			s->callee = key->text;
			s->at = key->at;
			*given = value;
		}
	}
	if (s->callee != NULL)
		return 0;
	vq_error(l->d, VQ_CONFIG, &t->at, "this step calls nothing");
	return -1;
}

static int
read_feed(struct linking *l, struct step *s, int port, const struct vq_tree *t)
{
	struct feed *feed = &s->feed[s->feeds];
	bool list = s->kind == STEP_OP && vq_op_variadic(s->op) && t->kind == VQ_TREE_LIST;
	int n = list ? t->count : 1, error = 0;

	if (list && (n < 1 || n > VQ_MAX_IN)) {
		vq_error(l->d, VQ_CONFIG, &t->at, "from 1 to %d tensors can stand here", VQ_MAX_IN);
		return -1;
	}
	*feed = (struct feed){ .port = port, .count = n };
	feed->ref = vq_arena_alloc(l->m->arena, sizeof(*feed->ref) * (size_t)n);
	for (int i = 0; i < n; i++)
		error |= read_ref(l, list ? t->item[i].value : t, true, &feed->ref[i]);
	s->feeds++;
	return error;
}

static int
read_given(struct linking *l, struct step *s, const struct vq_tree *given)
{
	int error = 0;

	for (int i = 0; i < given->count; i++) {
		const struct vq_tree *key = given->item[i].key, *value = given->item[i].value;
		int port = vq_step_find_port(s, key->text), setting = vq_step_find_setting(s, key->text);
		if (port != VQ_NONE) {
			error |= read_feed(l, s, port, value);
		} else if (setting != VQ_NONE) {
			s->setting[s->settings++] = (struct setting){ setting, value };
			check_numbers(l, value);
		} else {
			error |= vq_step_unknown_key(s, key, l->d);
		}
	}
	return error;
}

static int
read_assign(struct linking *l, struct step *s, const struct vq_tree *given)
{
	int error = 0;

	if (given->count == 0 || s->as || s->repeat || s->recompute) {
		vq_help(vq_error(l->d, VQ_CONFIG, &s->at, given->count == 0 ? "assign writes nothing" :
		    "an assign step has no value: `as`, `repeat` and `recompute` do not go with it"), "write {assign: {state: tensor}}");
		return -1;
	}
	for (int i = 0; i < given->count; i++) {
		const struct vq_tree *key = given->item[i].key;
		int v = 0;
		while (v < l->b->vars && strcmp(l->b->var[v].name, key->text) != 0)
			v++;
		if (v == l->b->vars || l->b->var[v].kind != VQ_STATE) {
			struct vq_diag *e = vq_error(l->d, VQ_CONFIG, &key->at, v == l->b->vars ?
			    "there is no state '%s' here" : "'%s' is a parameter: only state can be assigned", key->text);
			if (v == l->b->vars)
				vq_note(e, NULL, "state is declared in the block that assigns it");
			error = -1;
			continue;
		}
		l->b->var[v].used = true;
		error |= read_feed(l, s, v, given->item[i].value);
	}
	return error;
}

/* The first input not given takes the previous value; more than one is an error. */
static int
check_complete(struct linking *l, struct step *s)
{
	int error = 0;

	s->takes = VQ_NONE;
	for (int port = 0; port < vq_step_ports(s); port++) {
		bool given = false;
		for (int i = 0; i < s->feeds; i++)
			given |= s->feed[i].port == port;
		if (given)
			continue;
		if (s->takes == VQ_NONE) {
			s->takes = port;
			continue;
		}
		struct vq_diag *e = vq_error(l->d, VQ_CONFIG, &s->at, "%s needs %s", s->callee, vq_step_port(s, port));
		vq_note(e, NULL, "%s takes the previous value; the others are given by name", vq_step_port(s, s->takes));
		error = -1;
	}
	for (int i = 0; s->kind != STEP_MODULE && i < vq_step_settings(s); i++) {
		bool given = !vq_step_required(s, i);
		for (int k = 0; k < s->settings; k++)
			given |= s->setting[k].index == i;
		if (given)
			continue;
		vq_callee_note(s, vq_error(l->d, VQ_CONFIG, &s->at, "%s needs %s", s->callee, vq_step_setting(s, i)));
		error = -1;
	}
	return error;
}

static int
check_as(struct linking *l, const struct step *s)
{
	struct ref ref;
	struct vq_diag *e;

	if (s->as == NULL)
		return 0;
	if (!vq_is_name(s->as)) {
		vq_error(l->d, VQ_CONFIG, &s->as_at, "'%s' cannot name a tensor: letters, digits and _ can", s->as);
		return -1;
	}
	if (find_tensor(l, NULL, s->as, &ref) < 0)
		return 0;
	e = vq_error(l->d, VQ_CONFIG, &s->as_at, "'%s' names a tensor already", s->as);
	vq_note(e, ref.kind == REF_INPUT ? &l->b->port[ref.index].at : ref.kind == REF_VAR ?
	    &l->b->var[ref.index].at : &l->b->step[ref.index].as_at, "the first one");
	return -1;
}

/* A step that could not be read stands there as one without a value. */
static void
read_step(struct linking *l, const struct vq_tree *t)
{
	struct step *s = &l->b->step[l->b->steps];
	const struct vq_tree *given;
	int error;

	*s = (struct step){ .takes = VQ_NONE };
	error = read_head(l, s, t, &given);
	if (error == 0)
		error = find_callee(l, s);
	if (error == 0 && given && !vq_want_map(given, "what a step is given", l->d))
		error = -1;
	if (error == 0) {
		size_t n = (size_t)(given ? given->count : 0) + 1;
		s->feed = vq_arena_alloc(l->m->arena, n * sizeof(*s->feed));
		s->setting = vq_arena_alloc(l->m->arena, n * sizeof(*s->setting));
		if (s->kind == STEP_ASSIGN)
			error = read_assign(l, s, given ? given : t);
		else if (given)
			error = read_given(l, s, given);
		if (s->kind != STEP_ASSIGN && error == 0)
			error = check_complete(l, s);
	}
	check_numbers(l, s->repeat);
	check_numbers(l, s->recompute);
	check_numbers(l, s->frozen);
	l->scope.condition++;
	check_numbers(l, s->cond);
	l->scope.condition--;
	if (s->callee == NULL || (s->kind == STEP_OP && s->op == NULL) ||
	    ((s->kind == STEP_BLOCK || s->kind == STEP_MODULE) && s->block == NULL))
		*s = (struct step){ .kind = STEP_ARG, .callee = "?", .part = "?", .as = s->as, .as_at = s->as_at };
	if (check_as(l, s) < 0)
		s->as = NULL;
	else if (s->as)
		vq_names_put(&l->as, s->as, l->b->steps);
	l->b->steps++;
}

/* --- bodies and files ----------------------------------------------------- */

static void
check_used(struct linking *l)
{
	for (int i = 0; i < l->b->args; i++)
		if (!l->b->arg[i].used)
			vq_error(l->d, VQ_CONFIG, &l->b->arg[i].at, "arg %s is never used", l->b->arg[i].name);
	for (int i = 0; i < l->b->vars; i++)
		if (!l->b->var[i].used)
			vq_error(l->d, VQ_CONFIG, &l->b->var[i].at, "%s %s is never used",
			    l->b->var[i].kind == VQ_PARAM ? "parameter" : "state", l->b->var[i].name);
}

static void
link_body(struct vq_model *m, struct file *f, struct body *b, struct vq_diags *d)
{
	struct linking l = { .m = m, .f = f, .b = b, .d = d };
	const struct vq_tree *steps = vq_tree_get(b->tree, "steps");

	l.scope = (struct scope){ .model = m, .file = f, .body = b, .check = true, .diags = d };
	check_declared_numbers(&l);
	if (steps == NULL || steps->count == 0) {
		if (b->tree->at.source)
			vq_error(d, VQ_CONFIG, &b->at, "%s %s has no steps", b->graph ? "graph" : "block", b->name);
		return;
	}
	if (!vq_want_list(steps, "steps", d))
		return;
	b->step = vq_arena_alloc(m->arena, sizeof(*b->step) * (size_t)steps->count);
	for (int i = 0; i < steps->count; i++)
		read_step(&l, steps->item[i].value);
	for (int i = 0; i < b->outs; i++)
		read_ref(&l, b->out[i].ref.tree, false, &b->out[i].ref);
	/* What could not be read may have been a use. */
	if (d->total == m->errors_before)
		check_used(&l);
	vq_names_free(&l.as);
}

static void
link_module(struct vq_model *m, struct file *f, struct module *x, struct vq_diags *d)
{
	struct linking l = { .m = m, .f = f, .d = d };
	struct step s = { .kind = STEP_BLOCK, .at = x->at, .callee = x->callee };
	struct body none = { .name = x->name, .graph = true };

	x->block = s.block = vq_find_block(f, x->callee);
	if (x->block == NULL) {
		struct vq_diag *e = vq_error(d, VQ_CONFIG, &x->at, "there is no block '%s'", x->callee);
		struct vq_suggest near;
		vq_suggest_start(&near, x->callee);
		vq_near_callees(f, &near, false);
		if (vq_op_find(x->callee))
			vq_note(e, NULL, "%s is an op: it has no parameters to keep, and is called as it is", x->callee);
		else
			vq_help_near(e, &near);
		return;
	}
	l.b = &none;
	l.scope = (struct scope){ .model = m, .file = f, .check = true, .diags = d };
	x->setting = vq_arena_alloc(m->arena, sizeof(*x->setting) * (size_t)(x->tree ? x->tree->count + 1 : 1));
	for (int i = 0; x->tree && i < x->tree->count; i++) {
		int setting = vq_step_find_setting(&s, x->tree->item[i].key->text);
		if (setting == VQ_NONE) {
			vq_step_unknown_key(&s, x->tree->item[i].key, d);
			continue;
		}
		x->setting[x->settings++] = (struct setting){ setting, x->tree->item[i].value };
		check_numbers(&l, x->tree->item[i].value);
	}
	for (int i = 0; i < x->block->args; i++) {
		bool given = x->block->arg[i].init != NULL;
		for (int k = 0; k < x->settings; k++)
			given |= x->setting[k].index == i;
		if (!given)
			vq_callee_note(&s, vq_error(d, VQ_CONFIG, &x->at, "%s needs %s", x->callee, x->block->arg[i].name));
	}
}

void
vq_model_link_file(struct vq_model *m, struct file *f, struct vq_diags *d)
{
	for (int i = 0; i < f->modules; i++)
		link_module(m, f, &f->module[i], d);
	for (int i = 0; i < f->blocks; i++)
		link_body(m, f, &f->block[i], d);
	for (int i = 0; i < f->graphs; i++)
		link_body(m, f, &f->graph[i], d);
}

/* --- what contains what --------------------------------------------------- */

static void
walk(struct body *b, int depth, struct vq_diags *d)
{
	if (b->walk == BODY_DONE)
		return;
	b->walk = BODY_BUSY;
	b->owns = b->vars > 0;
	for (int i = 0; i < b->steps; i++) {
		const struct step *s = &b->step[i];
		struct body *in = s->kind == STEP_BLOCK ? &s->block->file->block[s->block - s->block->file->block] : NULL;
		if (in == NULL)
			continue;
		if (in->walk == BODY_BUSY || depth > VQ_YAML_DEPTH) {
			vq_error(d, VQ_CONFIG, &s->at, in->walk == BODY_BUSY ? "block %s contains itself" :
			    "blocks are nested too deeply: %s", in->name);
			continue;
		}
		walk(in, depth + 1, d);
		b->owns |= in->owns;
		if (b->graph && in->owns)
			vq_help(vq_error(d, VQ_CONFIG, &s->at, "block %s has parameters, and a graph has no place for them",
			    in->name), "declare a module of it under `modules`, and call that");
	}
	b->walk = BODY_DONE;
}

void
vq_model_walk(struct vq_model *m, struct vq_diags *d)
{
	for (int f = 0; f < m->files; f++) {
		for (int i = 0; i < m->file[f]->blocks; i++)
			walk(&m->file[f]->block[i], 0, d);
		for (int i = 0; i < m->file[f]->graphs; i++)
			walk(&m->file[f]->graph[i], 0, d);
	}
}
