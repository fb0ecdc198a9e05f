/*
 * model_stage -- stages, kept as trees, for those who run them
 */
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

int
vq_model_stages(const struct vq_model *m)
{
	return m->file[0]->stages->count;
}

const char *
vq_model_stage_name(const struct vq_model *m, int i)
{
	return m->file[0]->stages->item[i].key->text;
}

const struct vq_tree *
vq_model_stage(const struct vq_model *m, int i)
{
	return m->file[0]->stages->item[i].value;
}

static struct scope
main_scope(const struct vq_model *m, struct vq_diags *d)
{
	return (struct scope){ .model = m, .file = m->file[0], .diags = d };
}

/* What a scalar or a list of integers says, as text; NULL after errors. */
static const char *
value_text(const struct vq_model *m, const struct vq_tree *t, struct vq_number *n, struct vq_diags *d)
{
	struct scope s = main_scope(m, d);
	struct vq_text text = { 0 };
	const char *copy;

	*n = (struct vq_number){ 0 };
	if (t->kind == VQ_TREE_SCALAR && !vq_is_expr(t))
		return t->text;
	if (vq_scope_value(&s, t, n) < 0 || n->kind == VQ_NUM_NONE)
		return NULL;
	vq_number_print(n, &text);
	copy = vq_arena_strdup(m->arena, text.s);
	vq_text_free(&text);
	return copy;
}

int
vq_model_number(const struct vq_model *m, const struct vq_tree *scalar, double *out, struct vq_diags *d)
{
	struct scope s = main_scope(m, d);

	return vq_scope_real(&s, scalar, "this", out);
}

const char *
vq_model_text(const struct vq_model *m, const struct vq_tree *scalar, struct vq_diags *d)
{
	struct vq_number n;

	if (scalar->kind == VQ_TREE_SCALAR)
		return value_text(m, scalar, &n, d);
	vq_error(d, VQ_CONFIG, &scalar->at, "a single value is wanted here");
	return NULL;
}

/* --- tables --------------------------------------------------------------- */

static bool
listed(const char *const *words, const char *word)
{
	for (int i = 0; words && words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static void
unknown_key(const struct vq_tree *key, const char *what, const struct vq_param *table,
    const char *const *others, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_CONFIG, &key->at, "%s has no parameter '%s'", what, key->text);
	struct vq_text all = { 0 };
	struct vq_suggest near;

	vq_suggest_start(&near, key->text);
	for (const struct vq_param *p = table; p->name; p++) {
		vq_suggest_try(&near, p->name);
		if (p->also)
			vq_suggest_also(&near, p->name, p->also);
	}
	for (int i = 0; others && others[i]; i++) {
		vq_suggest_try(&near, others[i]);
		vq_text_add(&all, "%s%s", all.len ? ", " : "", others[i]);
	}
	if (near.best && near.distance <= 0)
		vq_help_near(e, &near);
	else if (near.best)
		vq_help(e, "there is a parameter with a similar name: %s", near.best);
	if (table->name && all.len)
		vq_text_add(&all, ", ");
	vq_params_signature(table, &all);
	vq_note(e, NULL, "%s takes %s", what, all.len ? all.s : "nothing");
	vq_text_free(&all);
}

static int
read_one(const struct vq_model *m, const struct vq_tree *t, const char *what, const struct vq_param *p,
    void *into, struct vq_diags *d)
{
	struct vq_number n;
	const char *text = value_text(m, t, &n, d);
	char why[VQ_WHY] = "";
	int64_t i;

	if (text == NULL)
		return -1;
	if (p->kind == VQ_P_INT && n.kind != VQ_NUM_NONE && !vq_number_int(&n, &i, why)) {
		vq_error(d, VQ_CONFIG, &t->at, "%s: %s %s", what, p->name, why);
		return -1;
	}
	if (vq_param_set(p, into, text, why) == 0)
		return 0;
	struct vq_diag *e = vq_error(d, VQ_CONFIG, &t->at, "%s: %s %s", what, p->name, why);
	struct scope s = main_scope(m, d);
	if (vq_find_let(s.file, text))
		vq_help(e, "a number by its name is written $%s", text);
	return -1;
}

int
vq_model_read_params(const struct vq_model *m, const struct vq_tree *map, const char *what,
    const struct vq_param *table, void *into, const char *const *others, struct vq_diags *d)
{
	int error = 0;

	vq_params_default(table, into);
	if (!vq_want_map(map, what, d))
		return -1;
	for (int i = 0; i < map->count; i++) {
		const struct vq_tree *key = map->item[i].key;
		const struct vq_param *p = vq_param_find(table, key->text);
		if (p != NULL) {
			error |= read_one(m, map->item[i].value, what, p, into, d);
		} else if (!listed(others, key->text)) {
			unknown_key(key, what, table, others, d);
			error = -1;
		}
	}
	for (const struct vq_param *p = table; p->name; p++)
		if (p->init == NULL && vq_tree_get(map, p->name) == NULL) {
			vq_help(vq_error(d, VQ_CONFIG, &map->at, "%s needs %s", what, p->name), "%s: %s", p->name, p->doc);
			error = -1;
		}
	return error;
}

/* Two numbers from a list, written here or under `let`; false where it is none. */
static bool
read_pair(const struct vq_model *m, const struct vq_tree *t, double *lo, double *hi, struct vq_diags *d)
{
	struct scope s = main_scope(m, d);
	struct vq_number n;

	if (vq_is_expr(t) && vq_scope_value(&s, t, &n) == 0 && n.kind == VQ_NUM_INTS && n.ints.count == 2) {
		*lo = (double)n.ints.v[0];
		*hi = (double)n.ints.v[1];
		return true;
	}
	return t->kind == VQ_TREE_LIST && t->count == 2 && vq_scope_real(&s, t->item[0].value, "this", lo) == 0 &&
	    vq_scope_real(&s, t->item[1].value, "this", hi) == 0;
}

int
vq_model_range(const struct vq_model *m, const struct vq_tree *t, double *lo, double *hi, struct vq_diags *d)
{
	int before = d->total;

	if (read_pair(m, t, lo, hi, d) && *lo < *hi)
		return 0;
	if (d->total == before)
		vq_error(d, VQ_CONFIG, &t->at, "range must be two numbers, the smaller one first: [0, 1]");
	return -1;
}
