/*
 * model_read -- the declarations of a file: everything but steps
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

const char *const vq_arg_type_name[ARG_TYPES + 1] = { "int", "real", "bool", "ints", "op", "word", NULL };

struct reading {
	struct vq_model *m;
	struct file *f;
	struct vq_diags *d;
};

static const struct vq_tree empty_map = { .kind = VQ_TREE_MAP };

/* --- shapes of trees ------------------------------------------------------ */

static const char *
kind_name(const struct vq_tree *t)
{
	return t->kind == VQ_TREE_MAP ? "a map" : t->kind == VQ_TREE_LIST ? "a list" : "a single value";
}

static bool
is_empty(const struct vq_tree *t)
{
	return t->kind == VQ_TREE_SCALAR && t->text[0] == '\0' && !t->quoted;
}

bool
vq_want_map(const struct vq_tree *t, const char *what, struct vq_diags *d)
{
	if (t->kind == VQ_TREE_MAP || is_empty(t))
		return true;
	vq_error(d, VQ_CONFIG, &t->at, "%s must be a map, and this is %s", what, kind_name(t));
	return false;
}

bool
vq_want_list(const struct vq_tree *t, const char *what, struct vq_diags *d)
{
	if (t->kind == VQ_TREE_LIST || is_empty(t))
		return true;
	vq_error(d, VQ_CONFIG, &t->at, "%s must be a list, and this is %s", what, kind_name(t));
	return false;
}

static bool
want_name(const struct vq_tree *t, const char *what, struct vq_diags *d)
{
	static const char *const taken[] = { "train", "true", "false", "and", "or", "not", NULL };

	if (!vq_is_path(t->text)) {
		vq_error(d, VQ_CONFIG, &t->at, "'%s' cannot name %s: letters, digits and _ can", t->text, what);
		return false;
	}
	for (int i = 0; taken[i]; i++)
		if (strcmp(t->text, taken[i]) == 0) {
			vq_error(d, VQ_CONFIG, &t->at, "'%s' cannot name %s: the word has a meaning", t->text, what);
			return false;
		}
	return true;
}

void
vq_check_keys(const struct vq_tree *map, const char *what, const char *const *known, struct vq_diags *d)
{
	for (int i = 0; map->kind == VQ_TREE_MAP && i < map->count; i++) {
		const struct vq_tree *key = map->item[i].key;
		struct vq_text all = { 0 };
		struct vq_suggest near;
		bool found = false;
		vq_suggest_start(&near, key->text);
		for (int k = 0; known[k]; k++) {
			found |= strcmp(known[k], key->text) == 0;
			vq_suggest_try(&near, known[k]);
			vq_text_add(&all, "%s%s", k ? ", " : "", known[k]);
		}
		if (!found) {
			struct vq_diag *e = vq_error(d, VQ_CONFIG, &key->at, "%s has no key '%s'", what, key->text);
			vq_help_near(e, &near);
			vq_note(e, NULL, "known: %s", all.s);
		}
		vq_text_free(&all);
	}
}

/* The map under a key, or an empty one. */
static const struct vq_tree *
sub_map(struct reading *r, const struct vq_tree *of, const char *key, const char *what)
{
	const struct vq_tree *t = vq_tree_get(of, key);

	return t && vq_want_map(t, what, r->d) && t->kind == VQ_TREE_MAP ? t : &empty_map;
}

static const char *
word_of(struct reading *r, const struct vq_tree *t, const char *what)
{
	if (t == NULL)
		return NULL;
	if (t->kind == VQ_TREE_SCALAR)
		return t->text;
	vq_error(r->d, VQ_CONFIG, &t->at, "%s must be a single value", what);
	return NULL;
}

static void *
array(struct reading *r, int count, size_t size)
{
	return vq_arena_alloc(r->m->arena, size * (size_t)(count + 1));
}

/* --- args ----------------------------------------------------------------- */

static int
arg_type_of(const char *name)
{
	for (int i = 0; i < ARG_TYPES; i++)
		if (strcmp(vq_arg_type_name[i], name) == 0)
			return i;
	return VQ_NONE;
}

/* The type that a default has by itself. */
static int
type_of_default(struct reading *r, const struct vq_tree *t)
{
	struct vq_number n;

	if (t->kind == VQ_TREE_LIST)
		return ARG_INTS;
	if (vq_is_expr(t)) {
		vq_help(vq_error(r->d, VQ_CONFIG, &t->at, "the type of this default is not plain"),
		    "write {type: int, default: %s}", t->text);
		return ARG_INT;
	}
	if (!t->quoted && vq_number_parse(t->text, &n))
		return n.kind == VQ_NUM_INT ? ARG_INT : n.kind == VQ_NUM_BOOL ? ARG_BOOL : ARG_REAL;
	return ARG_OP;
}

static void
read_arg_map(struct reading *r, struct arg *a, const struct vq_tree *t)
{
	static const char *const keys[] = { "type", "default", "min", "max", "doc", "also", NULL };
	const char *type = word_of(r, vq_tree_get(t, "type"), "type");
	int known = type ? arg_type_of(type) : VQ_NONE;

	vq_check_keys(t, "an arg", keys, r->d);
	a->init = vq_tree_get(t, "default");
	a->min = vq_tree_get(t, "min");
	a->max = vq_tree_get(t, "max");
	a->doc = word_of(r, vq_tree_get(t, "doc"), "doc");
	a->also = vq_tree_get(t, "also");
	if (known != VQ_NONE)
		a->type = (unsigned)known;
	else if (type != NULL)
		vq_help(vq_error(r->d, VQ_CONFIG, &vq_tree_get(t, "type")->at, "there is no arg type '%s'", type),
		    "types are int, real, bool, ints, op, word");
	else if (a->init == NULL || a->init->kind == VQ_TREE_MAP)
		vq_error(r->d, VQ_CONFIG, &a->at, "arg %s has neither a type nor a default", a->name);
	else
		a->type = (unsigned)type_of_default(r, a->init);
}

/* name: int, name: 3, or name: {type: int, default: 3, doc: ...}. */
static void
read_arg(struct reading *r, struct arg *a, const struct vq_pair *p)
{
	int type;

	*a = (struct arg){ .name = p->key->text, .at = p->key->at };
	want_name(p->key, "an arg", r->d);
	if (p->value->kind == VQ_TREE_MAP) {
		read_arg_map(r, a, p->value);
		return;
	}
	type = p->value->kind == VQ_TREE_SCALAR ? arg_type_of(p->value->text) : VQ_NONE;
	if (type != VQ_NONE) {
		a->type = (unsigned)type;
		return;
	}
	if (is_empty(p->value)) {
		vq_error(r->d, VQ_CONFIG, &a->at, "arg %s has neither a type nor a default", a->name);
		return;
	}
	a->init = p->value;
	a->type = (unsigned)type_of_default(r, p->value);
}

/* --- in ------------------------------------------------------------------- */

/* A name that the body has already, with its place. */
static const struct vq_range *
taken(const struct body *b, const char *name)
{
	for (int i = 0; i < b->args; i++)
		if (strcmp(b->arg[i].name, name) == 0)
			return &b->arg[i].at;
	return NULL;
}

static int
bind_size(struct reading *r, struct body *b, const char *name, const struct vq_range *at)
{
	const struct vq_range *first = taken(b, name);
	const struct let *l = vq_find_let(r->f, name);

	/* In a block names hide those of the file, as args do.  In a graph it is a $ forgotten
	 * (but in one of a flattened model, whose names were no neighbours when written). */
	if (first == NULL && l != NULL && b->graph && strchr(b->name, '.') == NULL)
		first = &l->at;
	for (int i = 0; i < b->sizes; i++)
		if (strcmp(b->size[i].name, name) == 0)
			return i;
	if (first != NULL) {
		struct vq_diag *e = vq_error(r->d, VQ_CONFIG, at, "'%s' is a number already", name);
		vq_help(e, "write $%s for that number, or another name for this size", name);
		vq_note(e, first, "declared");
	}
	b->size[b->sizes] = (struct size){ name, *at };
	return b->sizes++;
}

/* One axis: "n", "28", "$width", "$(...)"; or several: "...", "...rows". */
static void
read_dim(struct reading *r, struct body *b, struct pattern *p, const struct vq_tree *t)
{
	struct dim *dim = &p->dim[p->rank];
	struct vq_number n;
	bool rest = t->kind == VQ_TREE_SCALAR && strncmp(t->text, "...", 3) == 0;

	if (t->kind != VQ_TREE_SCALAR || p->rank - (p->rest != VQ_NONE) >= VQ_MAX_RANK + rest) {
		vq_error(r->d, VQ_CONFIG, &t->at, t->kind == VQ_TREE_SCALAR ? "more than %d axes" :
		    "a size is wanted here (of at most %d)", VQ_MAX_RANK);
		return;
	}
	*dim = (struct dim){ .at = t->at };
	if (rest) {
		dim->kind = DIM_REST;
		dim->name = VQ_NONE;
		if (p->rest != VQ_NONE || b->graph)
			vq_error(r->d, VQ_CONFIG, &t->at, b->graph ? "the axes of a graph's input must all be named"
			    : "... can stand for axes only once");
		p->rest = p->rank;
		if (t->text[3] != '\0' && !vq_is_name(t->text + 3))
			vq_error(r->d, VQ_CONFIG, &t->at, "'%s' is no name for a size", t->text + 3);
		else if (t->text[3] != '\0')
			dim->name = bind_size(r, b, t->text + 3, &t->at);
	} else if (vq_is_expr(t) || vq_number_parse(t->text, &n)) {
		dim->kind = DIM_NUMBER;
		dim->number = t;
	} else if (vq_is_name(t->text)) {
		dim->kind = DIM_NAME;
		dim->name = bind_size(r, b, t->text, &t->at);
	} else {
		vq_error(r->d, VQ_CONFIG, &t->at, "'%s' is no size: a name, an integer, $name or $(...) is", t->text);
	}
	p->rank++;
}

/* The piece [from, to) of a scalar as a scalar of its own. */
static const struct vq_tree *
piece(struct reading *r, const struct vq_tree *of, size_t from, size_t to)
{
	struct vq_tree *t = vq_arena_copy(r->m->arena, of, sizeof(*of));

	while (from < to && of->text[from] == ' ')
		from++;
	while (to > from && of->text[to - 1] == ' ')
		to--;
	t->text = vq_arena_strndup(r->m->arena, of->text + from, to - from);
	if (!of->quoted && of->at.line == of->at.end_line) {
		t->at.col = of->at.col + (int)from;
		t->at.end_col = of->at.col + (int)(to > from ? to : from + 1);
	}
	return t;
}

/* "f32[batch, 28, 28, 1]", "i32", "any". */
static void
read_typed(struct reading *r, struct body *b, struct pattern *p, const struct vq_tree *t)
{
	size_t open = strcspn(t->text, "["), n = strlen(t->text), from;
	char *name = vq_strndup(t->text, open);

	p->typed = vq_dtype_parse(name, &p->dtype);
	if (!p->typed || (t->text[open] == '[' && open + strcspn(t->text + open, "]") != n - 1)) {
		vq_help(vq_error(r->d, VQ_CONFIG, &t->at, "'%s' is no type", t->text),
		    "a type is as in f32[batch, 28, 28, 1]; there are f32, f64, bf16, i32, i64, u8, bool");
	} else if (t->text[open] == '[' && n > open + 2) {
		for (from = open + 1; from < n; from += strcspn(t->text + from, ",]") + 1)
			read_dim(r, b, p, piece(r, t, from, from + strcspn(t->text + from, ",]")));
	}
	free(name);
}

static void
read_port(struct reading *r, struct body *b, const struct vq_pair *in)
{
	struct port *port = &b->port[b->ports++];
	struct pattern *p = &port->pattern;

	*port = (struct port){ .name = in->key->text, .at = in->key->at };
	p->at = in->value->at;
	p->rest = VQ_NONE;
	want_name(in->key, "an input", r->d);
	if (strchr(in->key->text, '.'))
		vq_error(r->d, VQ_CONFIG, &in->key->at, "the name of an input has no dots");
	if (in->value->kind == VQ_TREE_LIST && !b->graph) {
		for (int i = 0; i < in->value->count; i++)
			read_dim(r, b, p, in->value->item[i].value);
	} else if (in->value->kind == VQ_TREE_SCALAR && strcmp(in->value->text, "any") == 0 && !b->graph) {
		p->any = true;
	} else if (in->value->kind == VQ_TREE_SCALAR && !is_empty(in->value)) {
		read_typed(r, b, p, in->value);
	} else {
		vq_help(vq_error(r->d, VQ_CONFIG, &in->value->at, "input %s has no type", port->name),
		    "as in f32[batch, 28, 28, 1]; a type with commas stands on a line of its own");
	}
}

/* --- params and state ----------------------------------------------------- */

static void
read_var(struct reading *r, struct body *b, const struct vq_pair *p, enum vq_value_kind kind)
{
	static const char *const param_keys[] = { "shape", "init", "if", "doc", NULL };
	static const char *const state_keys[] = { "shape", "init", "if", "doc", "dtype", NULL };
	struct var *v = &b->var[b->vars];
	const char *what = kind == VQ_PARAM ? "a parameter" : "a state", *dtype;

	*v = (struct var){ .name = p->key->text, .at = p->key->at, .kind = kind };
	if (!want_name(p->key, what, r->d) || !vq_want_map(p->value, what, r->d))
		return;
	vq_check_keys(p->value, what, kind == VQ_PARAM ? param_keys : state_keys, r->d);
	v->shape = vq_tree_get(p->value, "shape");
	v->init = vq_tree_get(p->value, "init");
	v->cond = vq_tree_get(p->value, "if");
	dtype = word_of(r, vq_tree_get(p->value, "dtype"), "dtype");
	if (dtype && kind == VQ_STATE && !vq_dtype_parse(dtype, &v->dtype))
		vq_help(vq_error(r->d, VQ_CONFIG, &vq_tree_get(p->value, "dtype")->at, "there is no type '%s'", dtype),
		    "there are f32, f64, bf16, i32, i64, u8, bool");
	if (v->shape == NULL || v->shape->kind != VQ_TREE_LIST) {
		vq_help(vq_error(r->d, VQ_CONFIG, &v->at, "%s has no shape", v->name),
		    "add one, as in {shape: [3, $dim]}; [] is a single number");
		return;
	}
	if (v->shape->count > VQ_MAX_RANK) {
		vq_error(r->d, VQ_CONFIG, &v->shape->at, "more than %d axes", VQ_MAX_RANK);
		return;
	}
	b->vars++;
}

/* --- out ------------------------------------------------------------------ */

static void
read_out(struct reading *r, struct body *b, const struct vq_tree *name, const struct vq_tree *of)
{
	struct out *out = &b->out[b->outs];

	if (name->kind != VQ_TREE_SCALAR || of->kind != VQ_TREE_SCALAR) {
		vq_error(r->d, VQ_CONFIG, &of->at, "an output is the name of a tensor, or `new: old`");
		return;
	}
	*out = (struct out){ .name = name->text, .at = name->at, .ref = { .tree = of } };
	if (!b->graph && !vq_is_name(out->name)) {
		vq_help(vq_error(r->d, VQ_CONFIG, &out->at, "the outputs of a block have names without dots"),
		    "write %s: %s", vq_last_part(out->name), out->name);
		return;
	}
	for (int i = 0; i < b->outs; i++)
		if (strcmp(b->out[i].name, out->name) == 0)
			vq_error(r->d, VQ_CONFIG, &out->at, "there is an output '%s' already", out->name);
	b->outs++;
}

/* out: name, [name, new: old], or {new: old}. */
static void
read_outs(struct reading *r, struct body *b)
{
	const struct vq_tree *t = vq_tree_get(b->tree, "out");

	if (t == NULL && b->graph)
		vq_help(vq_error(r->d, VQ_CONFIG, &b->at, "graph %s has no `out`", b->name),
		    "name what it gives, as in out: [loss]");
	if (t == NULL)
		return;
	b->out = array(r, t->count, sizeof(*b->out));
	if (t->kind == VQ_TREE_SCALAR)
		read_out(r, b, t, t);
	for (int i = 0; i < t->count; i++) {
		const struct vq_tree *item = t->item[i].value;
		if (t->kind == VQ_TREE_MAP)
			read_out(r, b, t->item[i].key, item);
		else if (item->kind == VQ_TREE_MAP && item->count == 1)
			read_out(r, b, item->item[0].key, item->item[0].value);
		else
			read_out(r, b, item, item);
	}
}

/* --- require -------------------------------------------------------------- */

/* {$(condition): what is said where it does not hold}. */
static const struct vq_tree *
read_require(struct reading *r, const struct vq_tree *of)
{
	const struct vq_tree *map = sub_map(r, of, "require", "require");

	for (int i = 0; i < map->count; i++) {
		const struct vq_pair *p = &map->item[i];
		if (!vq_is_expr(p->key))
			vq_help(vq_error(r->d, VQ_CONFIG, &p->key->at, "a condition is wanted here"),
			    "as in $(h %% 2 == 0): the height must be even, is $h");
		else if (p->value->kind != VQ_TREE_SCALAR || is_empty(p->value))
			vq_error(r->d, VQ_CONFIG, &p->value->at, "what is wrong where this does not hold, in words, is missing");
		else
			continue;
		return &empty_map;
	}
	return map;
}

/* --- bodies --------------------------------------------------------------- */

/* Names of tensors in one body must differ. */
static void
check_body_names(struct reading *r, const struct body *b)
{
	struct vq_names seen = { 0 };
	const struct vq_range **at = vq_alloc_array((size_t)(b->ports + b->vars + 1), sizeof(*at));
	int n = 0;

	for (int i = 0; i < b->ports + b->vars; i++) {
		const char *name = i < b->ports ? b->port[i].name : b->var[i - b->ports].name;
		at[n] = i < b->ports ? &b->port[i].at : &b->var[i - b->ports].at;
		if (vq_names_put(&seen, name, n))
			n++;
		else
			vq_note(vq_error(r->d, VQ_CONFIG, at[n], "'%s' is declared twice", name),
			    at[vq_names_get(&seen, name)], "the first one");
	}
	free(at);
	vq_names_free(&seen);
}

static int
count_sizes(const struct vq_tree *in)
{
	int n = 0;

	for (int i = 0; i < in->count; i++)
		n += VQ_MAX_RANK + 1 + in->item[i].value->count;
	return n;
}

static void
read_body(struct reading *r, struct body *b, const struct vq_pair *p, bool graph)
{
	static const char *const block_keys[] = { "doc", "also", "args", "in", "require", "params", "state", "steps", "out", NULL };
	static const char *const graph_keys[] = { "doc", "in", "require", "steps", "out", NULL };
	const char *what = graph ? "a graph" : "a block";
	const struct vq_tree *args, *in, *params, *state;

	*b = (struct body){ .name = p->key->text, .file = r->f, .at = p->key->at, .graph = graph, .tree = &empty_map,
		.require = &empty_map };
	if (!want_name(p->key, what, r->d) || !vq_want_map(p->value, what, r->d))
		return;
	b->tree = p->value;
	vq_check_keys(b->tree, what, graph ? graph_keys : block_keys, r->d);
	b->doc = word_of(r, vq_tree_get(b->tree, "doc"), "doc");
	b->also = vq_tree_get(b->tree, "also");
	if (b->also && !vq_want_list(b->also, "also", r->d))
		b->also = NULL;
	for (int i = 0; b->also && i < b->also->count; i++)
		if (word_of(r, b->also->item[i].value, "a name in also") == NULL)
			b->also = NULL;
	args = graph ? &empty_map : sub_map(r, b->tree, "args", "args");
	in = sub_map(r, b->tree, "in", "in");
	b->require = read_require(r, b->tree);
	params = graph ? &empty_map : sub_map(r, b->tree, "params", "params");
	state = graph ? &empty_map : sub_map(r, b->tree, "state", "state");
	b->arg = array(r, args->count, sizeof(*b->arg));
	b->port = array(r, in->count, sizeof(*b->port));
	b->size = array(r, count_sizes(in), sizeof(*b->size));
	b->var = array(r, params->count + state->count, sizeof(*b->var));
	for (int i = 0; i < args->count; i++)
		read_arg(r, &b->arg[b->args++], &args->item[i]);
	if (in->count > VQ_MAX_IN) {
		vq_error(r->d, VQ_CONFIG, &in->at, "more than %d inputs", VQ_MAX_IN);
		return;
	}
	for (int i = 0; i < in->count; i++)
		read_port(r, b, &in->item[i]);
	for (int i = 0; i < params->count; i++)
		read_var(r, b, &params->item[i], VQ_PARAM);
	for (int i = 0; i < state->count; i++)
		read_var(r, b, &state->item[i], VQ_STATE);
	check_body_names(r, b);
	read_outs(r, b);
}

/* --- the file ------------------------------------------------------------- */

static void
read_lets(struct reading *r)
{
	const struct vq_tree *map = sub_map(r, r->f->root, "let", "let");

	r->f->let = array(r, map->count, sizeof(*r->f->let));
	for (int i = 0; i < map->count; i++)
		if (want_name(map->item[i].key, "a number", r->d)) {
			vq_names_put(&r->f->let_names, map->item[i].key->text, r->f->lets);
			r->f->let[r->f->lets++] = (struct let){
				.name = map->item[i].key->text, .at = map->item[i].key->at,
				.tree = map->item[i].value, .file = r->f,
			};
		}
}

static void
read_module(struct reading *r, const struct vq_pair *p)
{
	struct module *x = &r->f->module[r->f->modules];
	const struct vq_tree *t = p->value;

	*x = (struct module){ .name = p->key->text, .name_at = p->key->at, .at = p->key->at, .file = r->f };
	if (!want_name(p->key, "a module", r->d))
		return;
	if (t->kind == VQ_TREE_SCALAR && t->text[0] != '\0') {
		x->callee = t->text;
	} else if (t->kind == VQ_TREE_MAP && t->count == 1) {
		x->callee = t->item[0].key->text;
		x->tree = t->item[0].value;
		if (!vq_want_map(x->tree, "the args of a module", r->d))
			return;
		x->at = t->item[0].key->at;
	} else {
		vq_help(vq_error(r->d, VQ_CONFIG, &p->key->at, "module %s names no block", x->name),
		    "write %s: block, or %s: {block: {arg: value}}", x->name, x->name);
		return;
	}
	if (t->kind == VQ_TREE_SCALAR)
		x->at = t->at;
	r->f->modules++;
}

/* One name may mean one number, and one block or module, of those seen directly. */
static void
check_clashes(struct reading *r)
{
	const struct file *f = r->f;
	const struct vq_range *other;

	for (int u = 0; u < f->uses; u++) {
		const struct file *of = f->use[u].file;
		if (f->use[u].alias)
			continue;
		for (int i = 0; i < of->lets + of->blocks + of->modules; i++) {
			int b = i - of->lets, x = b - of->blocks;
			const char *name = b < 0 ? of->let[i].name : x < 0 ? of->block[b].name : of->module[x].name;
			const struct let *l = b < 0 ? vq_find_let(f, name) : NULL;
			const struct body *block = b < 0 ? NULL : vq_find_block(f, name);
			const struct module *mod = b < 0 ? NULL : vq_find_module(f, name);
			other = l && l->file != of ? &l->at : block && block->file != of ? &block->at :
			    mod && mod->file != of ? &mod->name_at : NULL;
			if (other) {
				struct vq_diag *e = vq_error(r->d, VQ_CONFIG, other, "'%s' means two things here", name);
				vq_note(e, &f->use[u].at, "%s has the other", of->path);
				vq_help(e, "rename this one, or use that file under an alias: {alias: file}");
			}
		}
	}
}

static void
check_callee_names(struct reading *r)
{
	struct vq_names seen = { 0 };
	const struct file *f = r->f;

	for (int i = 0; i < f->blocks + f->modules; i++) {
		const char *name = i < f->blocks ? f->block[i].name : f->module[i - f->blocks].name;
		const struct vq_range *at = i < f->blocks ? &f->block[i].at : &f->module[i - f->blocks].name_at;
		if (vq_op_find(name) || vq_is_language_step(name))
			vq_error(r->d, VQ_CONFIG, at, "'%s' is the name of an op already", name);
		if (vq_step_key(name))
			vq_error(r->d, VQ_CONFIG, at, "'%s' has a meaning in steps", name);
		if (!vq_names_put(&seen, name, i))
			vq_note(vq_error(r->d, VQ_CONFIG, at, "module %s is called like a block", name),
			    &f->block[vq_names_get(&seen, name)].at, "the block");
	}
	vq_names_free(&seen);
}

static void
read_stages(struct reading *r)
{
	const struct vq_tree *map = sub_map(r, r->f->root, "stages", "stages");

	for (int i = 0; i < map->count; i++) {
		want_name(map->item[i].key, "a stage", r->d);
		vq_want_map(map->item[i].value, "a stage", r->d);
	}
	r->f->stages = map;
}

void
vq_model_read_file(struct vq_model *m, struct file *f, struct vq_diags *d)
{
	static const char *const keys[] = { "vqgraph", "doc", "use", "let", "blocks", "modules", "graphs", "stages", NULL };
	struct reading r = { m, f, d };
	const struct vq_tree *version = vq_tree_get(f->root, "vqgraph"), *blocks, *modules, *graphs;

	vq_check_keys(f->root, "a model file", keys, d);
	if (version == NULL)
		vq_help(vq_error(d, VQ_CONFIG, &f->root->at, "the file does not say that it is a model"),
		    "begin it with `vqgraph: 1`, the version of the language");
	else if (version->kind != VQ_TREE_SCALAR || strcmp(version->text, "1") != 0)
		vq_error(d, VQ_CONFIG, &version->at, "this program reads version 1 of the language");
	read_lets(&r);
	blocks = sub_map(&r, f->root, "blocks", "blocks");
	modules = sub_map(&r, f->root, "modules", "modules");
	graphs = sub_map(&r, f->root, "graphs", "graphs");
	f->block = array(&r, blocks->count, sizeof(*f->block));
	f->module = array(&r, modules->count, sizeof(*f->module));
	f->graph = array(&r, graphs->count, sizeof(*f->graph));
	for (int i = 0; i < blocks->count; i++)
		read_body(&r, &f->block[f->blocks++], &blocks->item[i], false);
	for (int i = 0; i < modules->count; i++)
		read_module(&r, &modules->item[i]);
	for (int i = 0; i < graphs->count; i++)
		read_body(&r, &f->graph[f->graphs++], &graphs->item[i], true);
	read_stages(&r);
	check_clashes(&r);
	check_callee_names(&r);
}
