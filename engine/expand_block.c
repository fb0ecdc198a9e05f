/*
 * expand_block -- calling a block: its sizes, args, parameters
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/expand_private.h"

/* --- patterns ------------------------------------------------------------- */

static void
add_pattern(const struct body *b, const struct pattern *p, struct vq_text *t)
{
	vq_text_add(t, "%s[", p->typed ? vq_dtype_name(p->dtype) : "");
	for (int i = 0; i < p->rank; i++) {
		const struct dim *dim = &p->dim[i];
		vq_text_add(t, "%s%s%s", i ? ", " : "", dim->kind == DIM_REST ? "..." : "",
		    dim->kind == DIM_NUMBER ? dim->number->text : dim->name == VQ_NONE ? "" : b->size[dim->name].name);
	}
	vq_text_add(t, "]");
}

static void
misfit(struct expand *x, const struct frame *f, int port, vq_id id, const char *why)
{
	const struct port *p = &f->body->port[port];
	struct vq_text t = { 0 };
	int before = x->d->count;
	struct vq_diag *e;

	add_pattern(f->body, &p->pattern, &t);
	e = vq_error(x->d, VQ_CONFIG, &x->g->origin[x->g->now].at, "%s: %s %s", f->body->name, p->name, why);
	vq_graph_describe(x->g, e, p->name, id);
	vq_note(e, &p->at, "%s of %s is declared as %s", p->name, f->body->name, t.s);
	vq_expand_notes(x, before, NULL);
	vq_text_free(&t);
}

/* What entry i of a pattern speaks of: an axis, or the product of several. */
static int64_t
size_at(const struct pattern *p, const struct vq_type *t, int i)
{
	int more = t->shape.rank - p->rank;

	if (i == p->rest)
		return vq_shape_span(&t->shape, i, i + more + 1);
	return t->shape.dim[p->rest != VQ_NONE && i > p->rest ? i + more : i];
}

static bool
bind_port(struct expand *x, struct frame *f, int port)
{
	const struct pattern *p = &f->body->port[port].pattern;
	const struct vq_type *t = vq_type_at(x->g, f->input[port]);
	bool rest = p->rest != VQ_NONE;
	char why[VQ_WHY];

	if (p->any)
		return true;
	if (p->typed && p->dtype != t->dtype) {
		snprintf(why, sizeof(why), "is %s, and %s is wanted", vq_dtype_name(t->dtype), vq_dtype_name(p->dtype));
		misfit(x, f, port, f->input[port], why);
		return false;
	}
	if (rest ? t->shape.rank < p->rank - 1 : t->shape.rank != p->rank) {
		snprintf(why, sizeof(why), "has %d axes, and %d are wanted", t->shape.rank, p->rank - rest);
		misfit(x, f, port, f->input[port], why);
		return false;
	}
	for (int i = 0; i < p->rank; i++) {
		int name = p->dim[i].name;
		int64_t is = size_at(p, t, i);
		if (p->dim[i].kind == DIM_NUMBER || name == VQ_NONE)
			continue;
		if (f->size[name] >= 0 && f->size[name] != is) {
			snprintf(why, sizeof(why), "has %.60s = %lld, and %.60s has %lld", f->body->size[name].name,
			    (long long)is, f->size_port[name], (long long)f->size[name]);
			misfit(x, f, port, f->input[port], why);
			return false;
		}
		f->size[name] = is;
		f->size_port[name] = f->body->port[port].name;
	}
	return true;
}

/* The axes that must have a certain size, once sizes and args are known. */
static bool
check_port(struct expand *x, struct frame *f, int port)
{
	const struct pattern *p = &f->body->port[port].pattern;
	const struct vq_type *t = vq_type_at(x->g, f->input[port]);
	int before = x->d->count;
	char why[VQ_WHY];
	int64_t wanted;

	for (int i = 0; i < p->rank; i++) {
		if (p->dim[i].kind != DIM_NUMBER)
			continue;
		if (vq_scope_int(&f->scope, p->dim[i].number, "a size", &wanted) < 0) {
			vq_expand_notes(x, before, f->body->name);
			return false;
		}
		if (wanted == size_at(p, t, i))
			continue;
		snprintf(why, sizeof(why), "has %lld where %.80s = %lld is wanted", (long long)size_at(p, t, i),
		    p->dim[i].number->text, (long long)wanted);
		if (!vq_is_expr(p->dim[i].number))
			snprintf(why, sizeof(why), "has %lld where %lld is wanted", (long long)size_at(p, t, i), (long long)wanted);
		misfit(x, f, port, f->input[port], why);
		return false;
	}
	return true;
}

/* --- args ----------------------------------------------------------------- */

/* Whether a callee can stand where an arg names one: one input, nothing required. */
static bool
fits_op_arg(const char *name, const struct file *f, struct step *s)
{
	const struct vq_op *op = vq_op_find(name);

	*s = (struct step){ .callee = name, .op = op };
	s->kind = op && !(op->flags & VQ_OP_INTERNAL) ? STEP_OP : STEP_BLOCK;
	s->block = s->kind == STEP_BLOCK ? vq_find_block(f, name) : NULL;
	if (s->kind == STEP_BLOCK && s->block == NULL)
		return false;
	bool fits = vq_step_ports(s) == 1;
	for (int i = 0; i < vq_step_settings(s); i++)
		fits &= !vq_step_required(s, i);
	return fits;
}

/* What it is called elsewhere is no help where that does not fit; the arg's own sentence says what does. */
static bool
check_op_arg(const struct arg *a, const struct vq_number *n, const char *what, const struct vq_range *at, struct vq_diags *d)
{
	struct step s, other;
	struct vq_suggest near;
	struct vq_diag *e;

	if (fits_op_arg(n->text, n->owner, &s))
		return true;
	if (s.kind == STEP_BLOCK && s.block == NULL) {
		e = vq_error(d, VQ_CONFIG, at, "%s: there is no op or block '%s'", what, n->text);
		vq_suggest_start(&near, n->text);
		vq_near_callees(n->owner, &near, false);
		if (near.best && fits_op_arg(near.best, n->owner, &other))
			vq_help_near(e, &near);
	} else {
		e = vq_error(d, VQ_CONFIG, at, "%s: %s does not fit: one input and nothing required is wanted", what, n->text);
		vq_callee_note(&s, e);
	}
	if (a->doc)
		vq_note(e, &a->at, "%s: %s", a->name, a->doc);
	return false;
}

static bool
in_bounds(struct scope *own, const struct arg *a, const char *what, const struct vq_number *n,
    const struct vq_range *at)
{
	double lo = -HUGE_VAL, hi = HUGE_VAL, v = vq_number_real(n);

	if ((a->min && vq_scope_real(own, a->min, "min", &lo) < 0) || (a->max && vq_scope_real(own, a->max, "max", &hi) < 0))
		return false;
	if (v >= lo && v <= hi)
		return true;
	vq_error(own->diags, VQ_CONFIG, at, v < lo ? "%s must be at least %g, is %g" : "%s must be at most %g, is %g",
	    what, v < lo ? lo : hi, v);
	return false;
}

/* Makes n what the arg's type says. */
static bool
convert(const struct arg *a, const char *what, struct vq_number *n, char why[VQ_WHY])
{
	bool number = n->kind == VQ_NUM_INT || n->kind == VQ_NUM_REAL;
	struct vq_text t = { 0 };
	int64_t i;

	why[0] = '\0';
	switch (a->type) {
	case ARG_INT:
		if (vq_number_int(n, &i, why))
			*n = (struct vq_number){ .kind = VQ_NUM_INT, .i = i };
		return why[0] == '\0';
	case ARG_REAL:
		if (number)
			*n = (struct vq_number){ .kind = VQ_NUM_REAL, .r = vq_number_real(n) };
		else
			strcpy(why, "must be a number");
		break;
	case ARG_BOOL:
		if (n->kind == VQ_NUM_INT && (n->i == 0 || n->i == 1))
			n->kind = VQ_NUM_BOOL;
		if (n->kind != VQ_NUM_BOOL)
			strcpy(why, "must be true or false");
		break;
	case ARG_INTS:
		if (n->kind == VQ_NUM_INT)
			*n = (struct vq_number){ .kind = VQ_NUM_INTS, .ints = { 1, { n->i } } };
		if (n->kind != VQ_NUM_INTS)
			strcpy(why, "must be an integer or a list of them");
		break;
	case ARG_OP:
	case ARG_WORD:
		if (n->kind != VQ_NUM_WORD)
			strcpy(why, a->type == ARG_OP ? "must name an op or a block" : "must be a word");
		break;
	case ARG_TYPES:
		break;
	}
	if (why[0] == '\0')
		return true;
	vq_number_print(n, &t);
	snprintf(why + strlen(why), VQ_WHY - strlen(why), ", is %.100s", t.s);
	vq_text_free(&t);
	return false;
}

static bool
set_arg(struct expand *x, struct frame *f, int i, const struct vq_tree *t, struct scope *giver)
{
	const struct arg *a = &f->body->arg[i];
	char *what = vq_asprintf("%s: %s", f->body->name, a->name), why[VQ_WHY];
	struct vq_number n;
	bool ok = vq_scope_value(giver, t, &n) == 0 && n.kind != VQ_NUM_NONE;

	if (ok && !convert(a, what, &n, why)) {
		struct vq_diag *e = vq_error(x->d, VQ_CONFIG, &t->at, "%s %s", what, why);
		if (n.kind == VQ_NUM_WORD && vq_is_path(n.text) && a->type != ARG_OP && a->type != ARG_WORD && !vq_is_expr(t))
			vq_help(e, "a number by its name is written $%s", n.text);
		ok = false;
	}
	if (ok && a->type == ARG_OP)
		ok = check_op_arg(a, &n, what, &t->at, x->d);
	if (ok && (a->type == ARG_INT || a->type == ARG_REAL))
		ok = in_bounds(&f->scope, a, what, &n, &t->at);
	if (ok)
		f->arg[i] = n;
	free(what);
	return ok;
}

static bool
set_args(struct expand *x, struct frame *f, const struct setting *given, int count, struct scope *giver)
{
	int before = x->d->count;
	bool ok = true;

	for (int i = 0; i < count; i++)
		ok &= set_arg(x, f, given[i].index, given[i].value, giver);
	if (!ok)
		vq_expand_notes(x, before, NULL);
	for (int i = 0; ok && i < f->body->args; i++)
		if (f->arg[i].kind == VQ_NUM_NONE && !set_arg(x, f, i, f->body->arg[i].init, &f->scope)) {
			ok = false;
			vq_expand_notes(x, before, f->body->name);
		}
	return ok;
}

/* --- parameters and state ------------------------------------------------- */

static bool
one_or_two(struct frame *f, const struct vq_tree *t, double *a, double *b, bool *pair)
{
	*pair = t->kind == VQ_TREE_LIST;
	if (!*pair)
		return vq_scope_real(&f->scope, t, "this", a) == 0;
	if (t->count == 2)
		return vq_scope_real(&f->scope, t->item[0].value, "this", a) == 0 &&
		    vq_scope_real(&f->scope, t->item[1].value, "this", b) == 0;
	vq_error(f->scope.diags, VQ_CONFIG, &t->at, "one number or two are wanted here");
	return false;
}

static bool
read_copy(struct expand *x, struct frame *f, const struct vq_tree *of, struct vq_init *init)
{
	for (int i = 0; i < f->body->vars; i++)
		if (of->kind == VQ_TREE_SCALAR && strcmp(f->body->var[i].name, of->text) == 0) {
			init->kind = VQ_INIT_COPY;
			init->of = vq_arena_printf(&x->g->arena, "%s.%s", f->path, of->text);
			return true;
		}
	vq_error(x->d, VQ_CONFIG, &of->at, "copy takes the name of another parameter or state of this block");
	return false;
}

/* What {kind: ...} draws from; the kind may be an arg, a word.  COPY: none of these. */
static int
drawn_kind(struct frame *f, const struct vq_tree *key, const char **word)
{
	struct vq_number n = { .text = key->text };

	if (vq_is_expr(key) && (vq_scope_value(&f->scope, key, &n) < 0 || n.kind != VQ_NUM_WORD))
		return VQ_INIT_COPY;
	*word = n.text;
	return strcmp(n.text, "uniform") == 0 ? VQ_INIT_UNIFORM
	    : strcmp(n.text, "normal") == 0 ? VQ_INIT_NORMAL
	    : strcmp(n.text, "truncated_normal") == 0 ? VQ_INIT_TRUNCATED : VQ_INIT_COPY;
}

/* zeros, ones, {constant: x}, {uniform: x or [lo, hi]}, {normal: sd or [mean, sd]}, {truncated_normal: the
 * same}, {copy: name}. */
static bool
read_init(struct expand *x, struct frame *f, const struct var *v, struct vq_init *init)
{
	const struct vq_tree *t = v->init, *value;
	const char *kind;
	int drawn = VQ_INIT_COPY;
	bool pair;

	*init = (struct vq_init){ .kind = VQ_INIT_CONSTANT };
	if (t == NULL)
		return true;
	if (t->kind == VQ_TREE_SCALAR && (strcmp(t->text, "zeros") == 0 || strcmp(t->text, "ones") == 0)) {
		init->a = t->text[0] == 'o';
		return true;
	}
	kind = t->kind == VQ_TREE_MAP && t->count == 1 ? t->item[0].key->text : "";
	value = t->count == 1 ? t->item[0].value : t;
	if (strcmp(kind, "constant") == 0)
		return vq_scope_real(&f->scope, value, "this", &init->a) == 0;
	if (strcmp(kind, "copy") == 0)
		return read_copy(x, f, value, init);
	if (kind[0])
		drawn = drawn_kind(f, t->item[0].key, &kind);
	if (drawn != VQ_INIT_COPY) {
		init->kind = (unsigned)drawn;
		if (!one_or_two(f, value, &init->a, &init->b, &pair))
			return false;
		if (!pair) {
			init->b = init->a;
			init->a = drawn == VQ_INIT_UNIFORM ? -init->b : 0;
		}
		return true;
	}
	vq_help(kind[0] ? vq_error(x->d, VQ_CONFIG, &t->at, "'%s' is no kind of first value", kind) :
	    vq_error(x->d, VQ_CONFIG, &t->at, "this is no first value"),
	    "zeros, ones, {constant: x}, {uniform: x}, {uniform: [lo, hi]}, {normal: deviation}, "
	    "{truncated_normal: deviation}, {copy: name} are");
	return false;
}

static bool
var_type(struct frame *f, const struct var *v, struct vq_type *t)
{
	char *what = vq_asprintf("the shape of %s", v->name);
	bool ok = true;

	*t = (struct vq_type){ .dtype = v->dtype, .shape = { .rank = v->shape->count } };
	for (int i = 0; i < v->shape->count && ok; i++) {
		const struct vq_tree *size = v->shape->item[i].value;
		int64_t *dim = &t->shape.dim[i];
		ok = vq_scope_int(&f->scope, size, what, dim) == 0;
		if (ok && *dim < 1) {
			vq_error(f->scope.diags, VQ_CONFIG, &size->at, "%s must be at least 1, is %lld", what, (long long)*dim);
			ok = false;
		}
	}
	if (ok && !vq_type_valid(t)) {
		vq_error(f->scope.diags, VQ_CONFIG, &v->shape->at, "%s is larger than any memory", what);
		ok = false;
	}
	free(what);
	return ok;
}

static bool
same_declaration(const struct vq_range *a, const struct vq_range *b)
{
	return a->source == b->source && a->line == b->line && a->col == b->col;
}

/* The leaf; a module called again finds that of its first call. */
static bool
make_var(struct expand *x, struct frame *f, int i)
{
	const struct var *v = &f->body->var[i];
	const char *name = vq_arena_printf(&x->g->arena, "%s%s%s", f->path, f->path[0] ? "." : "", v->name);
	struct vq_init init;
	struct vq_type t;
	vq_id id = vq_graph_find(x->g, name);
	bool there = true;

	f->var[i] = VQ_NONE;
	if (v->cond && vq_scope_bool(&f->scope, v->cond, "if", &there) < 0)
		return false;
	if (!there)
		return true;
	if (!var_type(f, v, &t) || !read_init(x, f, v, &init))
		return false;
	if (id == VQ_NONE) {
		id = vq_graph_leaf(x->g, v->kind, name, &t);
		x->g->value[id].init = init;
		x->g->value[id].where = v->at;
	} else if (!same_declaration(&x->g->value[id].where, &v->at)) {
		vq_error(x->d, VQ_CONFIG, &v->at, "two parameters would be called %s", name);
		return false;
	} else if (!vq_type_equal(vq_type_at(x->g, id), &t)) {
		char before[VQ_TYPE_STR], now[VQ_TYPE_STR];
		vq_error(x->d, VQ_CONFIG, &x->g->origin[x->g->now].at, "%s is shared, and was %s at the first call, not %s",
		    name, vq_type_str(vq_type_at(x->g, id), before), vq_type_str(&t, now));
		return false;
	}
	f->var[i] = id;
	return true;
}

static bool
make_vars(struct expand *x, struct frame *f)
{
	int before = x->d->count;
	bool ok = true;

	for (int i = 0; i < f->body->vars; i++)
		ok &= make_var(x, f, i);
	if (!ok)
		vq_expand_notes(x, before, f->body->name);
	return ok;
}

vq_id
vq_expand_module_var(struct expand *x, const struct module *m, const char *name)
{
	struct vq_arena *a = &x->g->arena;
	const struct body *b = m->block;
	struct scope giver = { .model = x->m, .file = m->file, .diags = x->d };
	struct frame f = {
		.body = b, .path = m->path, .name = m->path,
		.scope = { .model = x->m, .file = b->file, .body = b, .train = x->train, .diags = x->d },
	};
	int i = 0;

	while (i < b->vars && strcmp(b->var[i].name, name) != 0)
		i++;
	if (i == b->vars)
		return VQ_NONE;
	f.scope.arg = f.arg = vq_arena_alloc(a, sizeof(*f.arg) * (size_t)(b->args + 1));
	f.var = vq_arena_alloc(a, sizeof(*f.var) * (size_t)b->vars);
	if (!set_args(x, &f, m->setting, m->settings, &giver) || !make_var(x, &f, i))
		return VQ_NONE;
	return f.var[i];
}

/* --- the call ------------------------------------------------------------- */

static bool
enter(struct expand *x, struct frame *f, const struct setting *given, int count, struct scope *giver)
{
	bool ok = true;

	for (int i = 0; i < f->body->ports; i++)
		ok &= bind_port(x, f, i);
	ok = ok && set_args(x, f, given, count, giver);
	for (int i = 0; ok && i < f->body->ports; i++)
		ok = check_port(x, f, i);
	return ok && vq_expand_require(x, f) && make_vars(x, f);
}

void
vq_expand_block(struct expand *x, const struct body *b, const struct setting *given, int count,
    struct scope *giver, const vq_id *in, const char *path, const char *name, int depth, vq_id *out)
{
	struct vq_arena *a = &x->g->arena;
	struct frame f = {
		.body = b, .path = path, .name = name, .origin = x->g->now, .depth = depth,
		.scope = { .model = x->m, .file = b->file, .body = b, .train = x->train, .diags = x->d },
	};

	f.scope.arg = f.arg = vq_arena_alloc(a, sizeof(*f.arg) * (size_t)(b->args + 1));
	f.scope.size = f.size = vq_arena_alloc(a, sizeof(*f.size) * (size_t)(b->sizes + 1));
	f.size_port = vq_arena_alloc(a, sizeof(*f.size_port) * (size_t)(b->sizes + 1));
	f.input = vq_arena_copy(a, in, sizeof(*in) * (size_t)b->ports);
	f.var = vq_arena_alloc(a, sizeof(*f.var) * (size_t)(b->vars + 1));
	for (int i = 0; i < b->sizes; i++)
		f.size[i] = -1;
	for (int i = 0; i < vq_body_outs(b); i++)
		out[i] = VQ_NONE;
	if (depth > VQ_YAML_DEPTH) {
		vq_error(x->d, VQ_CONFIG, &x->g->origin[x->g->now].at, "blocks are nested too deeply");
		x->failed = true;
	} else if (enter(x, &f, given, count, giver)) {
		vq_expand_steps(x, &f, out);
	} else {
		x->failed = true;
	}
}
