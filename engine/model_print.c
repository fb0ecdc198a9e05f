/*
 * model_print -- the flattened model: one file without `use`, every default
 * written out, which gives the same graphs
 *
 * What came from a file under an alias keeps the alias in its name, as in
 * vqvae.enc; instance paths count from the last dot on, so they stay the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

/* --- names ---------------------------------------------------------------- */

/* prefix + name, or with the file's own name between when that is taken. */
static const char *
free_name(struct vq_model *m, const struct file *f, const char *name, struct vq_names *seen)
{
	const char *prefix = f->prefix ? f->prefix : "", *slash = strrchr(f->path, '/');
	const char *stem = slash ? slash + 1 : f->path;
	char *clean = vq_strndup(stem, strcspn(stem, "."));
	const char *flat = vq_arena_printf(m->arena, "%s%s", prefix, name);

	for (char *c = clean; *c; c++)
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9'))
			*c = '_';
	for (int i = 1; !vq_names_put(seen, flat, 0); i++)
		flat = i == 1 ? vq_arena_printf(m->arena, "%sfrom_%s.%s", prefix, clean, name) :
		    vq_arena_printf(m->arena, "%sfrom_%s_%d.%s", prefix, clean, i, name);
	free(clean);
	return flat;
}

static void reach(const struct body *b);

static void
reach_word(const struct arg *a, const struct file *f, const struct vq_tree *t)
{
	if (a->type == ARG_OP && t && t->kind == VQ_TREE_SCALAR && vq_find_block(f, t->text))
		reach(vq_find_block(f, t->text));
}

/* A word under `let` may reach a block through any arg. */
static void
reach_lets(const struct file *f)
{
	for (int i = 0; i < f->lets; i++)
		if (f->let[i].value.kind == VQ_NUM_WORD && vq_find_block(f, f->let[i].value.text))
			reach(vq_find_block(f, f->let[i].value.text));
}

static void
reach(const struct body *given)
{
	struct body *b = given->graph ? &given->file->graph[given - given->file->graph]
	    : &given->file->block[given - given->file->block];

	if (b->reached)
		return;
	b->reached = true;
	for (int i = 0; i < b->args; i++)
		reach_word(&b->arg[i], b->file, b->arg[i].init);
	for (int i = 0; i < b->steps; i++) {
		const struct step *s = &b->step[i];
		if (s->block)
			reach(s->block);
		for (int k = 0; s->kind == STEP_BLOCK && k < s->settings; k++)
			reach_word(&s->block->arg[s->setting[k].index], b->file, s->setting[k].value);
	}
}

void
vq_model_flatten(struct vq_model *m)
{
	struct vq_names callees = { 0 }, lets = { 0 }, graphs = { 0 };

	for (int f = 0; f < m->files; f++)
		for (int i = 0; i < m->file[f]->modules; i++)
			vq_names_put(&callees, m->file[f]->module[i].path, 0);
	for (int f = 0; f < m->files; f++) {
		struct file *file = m->file[f];
		for (int i = 0; i < file->lets; i++)
			file->let[i].flat = free_name(m, file, file->let[i].name, &lets);
		for (int i = 0; i < file->blocks; i++)
			file->block[i].flat = free_name(m, file, file->block[i].name, &callees);
		for (int i = 0; i < file->graphs; i++) {
			file->graph[i].flat = free_name(m, file, file->graph[i].name, &graphs);
			reach(&file->graph[i]);
		}
		for (int i = 0; i < file->modules; i++) {
			reach(file->module[i].block);
			for (int k = 0; k < file->module[i].settings; k++)
				reach_word(&file->module[i].block->arg[file->module[i].setting[k].index], file,
				    file->module[i].setting[k].value);
		}
		reach_lets(file);
	}
	vq_names_free(&callees);
	vq_names_free(&lets);
	vq_names_free(&graphs);
}

/* --- scalars -------------------------------------------------------------- */

struct printer {
	struct vq_text *out;
	const struct file *file;
	const struct body *body;		/* whose names are local; NULL: none */
	const char *text;			/* the expression being copied, */
	size_t done;				/* and how far */
};

/* Whether text can stand unquoted, in flow style too. */
static bool
is_plain(const char *text)
{
	static const char inside[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$()+*/%<>=!- ";
	size_t n = strlen(text);

	if (n == 0 || strspn(text, inside) != n || text[n - 1] == ' ')
		return false;
	return strchr("*!%<>=+ ", text[0]) == NULL && (text[0] != '-' || (text[1] >= '0' && text[1] <= '9'));
}

static void
put_quoted(struct vq_text *out, const char *s)
{
	vq_text_add(out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			vq_text_add(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			vq_text_add(out, "\\x%02x", (unsigned char)*s);
		else
			vq_text_add(out, "%c", *s);
	}
	vq_text_add(out, "\"");
}

static bool
is_local(const struct body *b, const char *name)
{
	for (int i = 0; b && i < b->args; i++)
		if (strcmp(b->arg[i].name, name) == 0)
			return true;
	for (int i = 0; b && i < b->sizes; i++)
		if (strcmp(b->size[i].name, name) == 0)
			return true;
	return strcmp(name, "train") == 0;
}

static void
copy_name(void *arg, size_t at, size_t len)
{
	struct printer *p = arg;
	char *name = vq_strndup(p->text + at, len);
	const struct let *l = is_local(p->body, name) ? NULL : vq_find_let(p->file, name);

	vq_text_put(p->out, p->text + p->done, at - p->done);
	vq_text_add(p->out, "%s", l ? l->flat : name);
	p->done = at + len;
	free(name);
}

static void
put_scalar(struct printer *p, const struct vq_tree *t)
{
	if (vq_is_expr(t)) {
		vq_text_add(p->out, "$");
		p->text = t->text + 1;
		p->done = 0;
		vq_expr_names(p->text, copy_name, p);
		vq_text_add(p->out, "%s", p->text + p->done);
	} else if (!t->quoted && is_plain(t->text)) {
		vq_text_add(p->out, "%s", t->text);
	} else {
		put_quoted(p->out, t->text);
	}
}

/* Any tree in flow style. */
static void
put_flow(struct printer *p, const struct vq_tree *t)
{
	bool map = t->kind == VQ_TREE_MAP;

	if (t->kind == VQ_TREE_SCALAR) {
		put_scalar(p, t);
		return;
	}
	vq_text_add(p->out, map ? "{" : "[");
	for (int i = 0; i < t->count; i++) {
		vq_text_add(p->out, i ? ", " : "");
		if (map) {
			put_scalar(p, t->item[i].key);
			vq_text_add(p->out, ": ");
		}
		put_flow(p, t->item[i].value);
	}
	vq_text_add(p->out, map ? "}" : "]");
}

/* The value of an arg: a word may be a block, which may have another name here. */
static void
put_arg(struct printer *p, const struct arg *a, const struct vq_tree *t)
{
	const struct body *b = a->type == ARG_OP && t->kind == VQ_TREE_SCALAR ? vq_find_block(p->file, t->text) : NULL;

	if (b)
		vq_text_add(p->out, "%s", b->flat);
	else
		put_flow(p, t);
}

/* A default that means the same where the block is called. */
static bool
is_literal(const struct vq_tree *t)
{
	if (vq_is_expr(t))
		return false;
	for (int i = 0; i < t->count; i++)
		if (!is_literal(t->item[i].value))
			return false;
	return t->kind != VQ_TREE_MAP;
}

/* --- calls ---------------------------------------------------------------- */

struct list {
	struct printer *p;
	bool any;
};

static void
put_key(struct list *l, const char *key)
{
	vq_text_add(l->p->out, "%s%s: ", l->any ? ", " : "", key);
	l->any = true;
}

static bool
is_given(const struct setting *given, int count, int index)
{
	for (int i = 0; i < count; i++)
		if (given[i].index == index)
			return true;
	return false;
}

static void
put_block_args(struct list *l, const struct body *b, const struct setting *given, int count)
{
	struct printer in_block = { .out = l->p->out, .file = b->file, .body = b };

	for (int i = 0; i < count; i++) {
		put_key(l, b->arg[given[i].index].name);
		put_arg(l->p, &b->arg[given[i].index], given[i].value);
	}
	for (int i = 0; i < b->args; i++)
		if (b->arg[i].init && is_literal(b->arg[i].init) && !is_given(given, count, i)) {
			put_key(l, b->arg[i].name);
			put_arg(&in_block, &b->arg[i], b->arg[i].init);
		}
}

static void
put_op_params(struct list *l, const struct step *s)
{
	for (int i = 0; i < s->settings; i++) {
		put_key(l, s->op->params[s->setting[i].index].name);
		put_flow(l->p, s->setting[i].value);
	}
	for (int i = 0; i < vq_step_settings(s); i++)
		if (s->op->params[i].init && !is_given(s->setting, s->settings, i)) {
			put_key(l, s->op->params[i].name);
			vq_text_add(l->p->out, "%s", s->op->params[i].init[0] ? s->op->params[i].init : "\"\"");
		}
}

/* A tensor's name; that of a module's parameter as it is called here. */
static void
put_ref(struct printer *p, const struct ref *r)
{
	const struct module *m;
	const char *rest;

	if (r->kind != REF_LEAF) {
		put_scalar(p, r->tree);
		return;
	}
	m = vq_find_leaf_module(p->file, r->tree->text, &rest);
	vq_text_add(p->out, "%s.%s", m->path, rest);
}

static void
put_feeds(struct list *l, const struct step *s)
{
	for (int i = 0; i < s->feeds; i++) {
		const struct feed *f = &s->feed[i];
		put_key(l, s->kind == STEP_ASSIGN ? l->p->body->var[f->port].name : vq_step_port(s, f->port));
		vq_text_add(l->p->out, f->count > 1 ? "[" : "");
		for (int k = 0; k < f->count; k++) {
			vq_text_add(l->p->out, k ? ", " : "");
			put_ref(l->p, &f->ref[k]);
		}
		vq_text_add(l->p->out, f->count > 1 ? "]" : "");
	}
}

static void
put_step(struct printer *p, const struct step *s)
{
	struct list l = { p, false };
	const char *callee = s->module ? s->module->path : s->kind == STEP_BLOCK ? s->block->flat : s->callee;

	vq_text_add(p->out, "      - {%s: {", callee);
	put_feeds(&l, s);
	if (s->kind == STEP_OP)
		put_op_params(&l, s);
	else if (s->kind == STEP_BLOCK)
		put_block_args(&l, s->block, s->setting, s->settings);
	vq_text_add(p->out, "}");
	if (s->as)
		vq_text_add(p->out, ", as: %s", s->as);
	if (s->repeat) {
		vq_text_add(p->out, ", repeat: ");
		put_flow(p, s->repeat);
	}
	if (s->frozen) {
		vq_text_add(p->out, ", frozen: ");
		put_flow(p, s->frozen);
	}
	if (s->cond) {
		vq_text_add(p->out, ", if: ");
		put_flow(p, s->cond);
	}
	if (s->recompute) {
		vq_text_add(p->out, ", recompute: ");
		put_flow(p, s->recompute);
	}
	vq_text_add(p->out, "}\n");
}

/* --- bodies --------------------------------------------------------------- */

static void
put_pattern(struct printer *p, const struct pattern *pat)
{
	if (pat->any) {
		vq_text_add(p->out, "any");
		return;
	}
	vq_text_add(p->out, "%s", pat->typed ? vq_dtype_name(pat->dtype) : "");
	vq_text_add(p->out, pat->typed && pat->rank == 0 ? "" : "[");
	for (int i = 0; i < pat->rank; i++) {
		const struct dim *dim = &pat->dim[i];
		vq_text_add(p->out, "%s%s", i ? ", " : "", dim->kind == DIM_REST ? "..." : "");
		if (dim->kind == DIM_NUMBER)
			put_scalar(p, dim->number);
		else if (dim->name != VQ_NONE)
			vq_text_add(p->out, "%s", p->body->size[dim->name].name);
	}
	vq_text_add(p->out, pat->typed && pat->rank == 0 ? "" : "]");
}

static void
put_args(struct printer *p, const struct body *b)
{
	vq_text_add(p->out, b->args ? "    args:\n" : "");
	for (int i = 0; i < b->args; i++) {
		const struct arg *a = &b->arg[i];
		vq_text_add(p->out, "      %s: {type: %s", a->name, vq_arg_type_name[a->type]);
		if (a->init) {
			vq_text_add(p->out, ", default: ");
			put_arg(p, a, a->init);
		}
		if (a->min) {
			vq_text_add(p->out, ", min: ");
			put_flow(p, a->min);
		}
		if (a->max) {
			vq_text_add(p->out, ", max: ");
			put_flow(p, a->max);
		}
		if (a->doc) {
			vq_text_add(p->out, ", doc: ");
			put_quoted(p->out, a->doc);
		}
		vq_text_add(p->out, "}\n");
	}
}

static void
put_vars(struct printer *p, const struct body *b, enum vq_value_kind kind)
{
	bool head = false;

	for (int i = 0; i < b->vars; i++) {
		const struct var *v = &b->var[i];
		if (v->kind != kind)
			continue;
		vq_text_add(p->out, "%s", head ? "" : kind == VQ_PARAM ? "    params:\n" : "    state:\n");
		head = true;
		vq_text_add(p->out, "      %s: {shape: ", v->name);
		put_flow(p, v->shape);
		vq_text_add(p->out, ", init: ");
		if (v->init)
			put_flow(p, v->init);
		else
			vq_text_add(p->out, "zeros");
		if (kind == VQ_STATE)
			vq_text_add(p->out, ", dtype: %s", vq_dtype_name(v->dtype));
		if (v->cond) {
			vq_text_add(p->out, ", if: ");
			put_flow(p, v->cond);
		}
		vq_text_add(p->out, "}\n");
	}
}

/* The names in a message are those of numbers, as everywhere. */
static void
put_require(struct printer *p, const struct vq_tree *map)
{
	vq_text_add(p->out, map->count ? "    require:\n" : "");
	for (int i = 0; i < map->count; i++) {
		struct vq_text message = { 0 };
		struct printer inside = { .out = &message, .file = p->file, .body = p->body };
		const char *s = map->item[i].value->text;
		bool expr;
		for (size_t n; (n = vq_message_piece(s, &expr)) > 0; s += n) {
			struct vq_tree piece = { .kind = VQ_TREE_SCALAR, .text = vq_strndup(s, n) };
			if (expr)
				put_scalar(&inside, &piece);
			else
				vq_text_add(&message, "%s", piece.text);
			free((char *)piece.text);
		}
		vq_text_add(p->out, "      ");
		put_scalar(p, map->item[i].key);
		vq_text_add(p->out, ": ");
		put_quoted(p->out, message.s);
		vq_text_add(p->out, "\n");
		vq_text_free(&message);
	}
}

static void
put_body(struct vq_text *out, const struct body *b)
{
	struct printer p = { .out = out, .file = b->file, .body = b };

	vq_text_add(out, "  %s:\n", b->flat);
	if (b->doc) {
		vq_text_add(out, "    doc: ");
		put_quoted(out, b->doc);
		vq_text_add(out, "\n");
	}
	put_args(&p, b);
	vq_text_add(out, b->ports ? "    in:\n" : "");
	for (int i = 0; i < b->ports; i++) {
		vq_text_add(out, "      %s: ", b->port[i].name);
		put_pattern(&p, &b->port[i].pattern);
		vq_text_add(out, "\n");
	}
	put_require(&p, b->require);
	put_vars(&p, b, VQ_PARAM);
	put_vars(&p, b, VQ_STATE);
	vq_text_add(out, "    steps:\n");
	for (int i = 0; i < b->steps; i++)
		put_step(&p, &b->step[i]);
	vq_text_add(out, b->outs ? "    out:\n" : "");
	for (int i = 0; i < b->outs; i++) {
		vq_text_add(out, "      %s: ", b->out[i].name);
		put_ref(&p, &b->out[i].ref);
		vq_text_add(out, "\n");
	}
}

/* --- the model ------------------------------------------------------------ */

static void
put_let(struct vq_text *out, const struct let *l)
{
	struct printer p = { .out = out, .file = l->file };
	const struct body *b = l->value.kind == VQ_NUM_WORD ? vq_find_block(l->file, l->value.text) : NULL;

	vq_text_add(out, "  %s: ", l->flat);
	if (b && !vq_is_expr(l->tree))
		vq_text_add(out, "%s", b->flat);
	else
		put_flow(&p, l->tree);
	if (vq_is_expr(l->tree)) {
		vq_text_add(out, "   # ");
		vq_number_print(&l->value, out);
	}
	vq_text_add(out, "\n");
}

static void
put_module(struct vq_text *out, const struct module *m)
{
	struct printer p = { .out = out, .file = m->file };
	struct list l = { &p, false };

	vq_text_add(out, "  %s: {%s: {", m->path, m->block->flat);
	put_block_args(&l, m->block, m->setting, m->settings);
	vq_text_add(out, "}}\n");
}

/* Maps in block style, what is inside lists in flow style. */
static void
put_stage(struct printer *p, const struct vq_tree *t, int indent)
{
	for (int i = 0; i < t->count; i++) {
		const struct vq_tree *value = t->item[i].value;
		vq_text_add(p->out, "%*s", indent, "");
		put_scalar(p, t->item[i].key);
		if (value->kind == VQ_TREE_MAP && value->count > 0) {
			vq_text_add(p->out, ":\n");
			put_stage(p, value, indent + 2);
		} else {
			vq_text_add(p->out, ": ");
			put_flow(p, value);
			vq_text_add(p->out, "\n");
		}
	}
}

void
vq_model_print(const struct vq_model *m, struct vq_text *out)
{
	struct printer main = { .out = out, .file = m->file[0] };
	bool head = false;

	vq_text_add(out, "vqgraph: 1\n");
	for (int pass = 0; pass < 4; pass++) {
		static const char *const title[] = { "let", "blocks", "modules", "graphs" };
		head = false;
		for (int i = 0; i < m->files; i++) {
			const struct file *f = m->file[i];
			int n = pass == 0 ? f->lets : pass == 1 ? f->blocks : pass == 2 ? f->modules : f->graphs;
			for (int k = 0; k < n; k++) {
				if (pass == 1 && !f->block[k].reached)
					continue;
				if (!head)
					vq_text_add(out, "\n%s:\n", title[pass]);
				head = true;
				if (pass == 0)
					put_let(out, &f->let[k]);
				else if (pass == 2)
					put_module(out, &f->module[k]);
				else
					put_body(out, pass == 1 ? &f->block[k] : &f->graph[k]);
			}
		}
	}
	if (m->file[0]->stages->count > 0) {
		vq_text_add(out, "\nstages:\n");
		put_stage(&main, m->file[0]->stages, 2);
	}
}
