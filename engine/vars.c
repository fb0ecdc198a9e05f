/*
 * vars -- the tensors that live longer than a step: parameters and state, by name
 *
 * A first value depends on the seed and the variable's name alone, so adding a
 * layer leaves the draws of the others as they were.
 */
#include "engine/vars.h"

#include <stdlib.h>

#include "engine/rng.h"

enum { CHUNK = 1024, COPIES = 16 };

struct vq_var *
vq_vars_find(const struct vq_vars *v, const char *name)
{
	int i = vq_names_get(&v->names, name);

	return i < 0 ? NULL : &v->var[i];
}

static struct vq_var *
add(struct vq_vars *v, const char *name, const struct vq_var *like)
{
	struct vq_var *x;

	vq_grow(v->var, v->count, v->cap);
	x = &v->var[v->count];
	*x = *like;
	x->name = vq_arena_strdup(&v->arena, name);
	if (!vq_names_put(&v->names, x->name, v->count))
		vq_bug("variable '%s' is there already", name);
	v->count++;
	return x;
}

struct vq_var *
vq_vars_add(struct vq_vars *v, const char *name, enum vq_value_kind kind, const struct vq_type *t)
{
	vq_assert(vq_type_valid(t));
	return add(v, name, &(struct vq_var){ .kind = kind, .type = *t,
	    .data = v->types_only ? NULL : vq_alloc_aligned(vq_type_bytes(t)) });
}

void
vq_vars_borrow(struct vq_vars *v, const char *name, const struct vq_var *of)
{
	add(v, name, &(struct vq_var){ .kind = of->kind, .type = of->type, .data = of->data, .borrowed = true });
}

void
vq_vars_settle(struct vq_vars *v)
{
	for (int i = 0; i < v->count; i++)
		v->var[i].loaded = true;
}

int64_t
vq_vars_bytes(const struct vq_vars *v)
{
	int64_t sum = 0;

	for (int i = 0; i < v->count; i++)
		sum += (int64_t)vq_type_bytes(&v->var[i].type);
	return sum;
}

void
vq_vars_free(struct vq_vars *v)
{
	for (int i = 0; i < v->count; i++)
		if (!v->var[i].borrowed)
			free(v->var[i].data);
	free(v->var);
	vq_names_free(&v->names);
	vq_arena_free(&v->arena);
	*v = (struct vq_vars){ 0 };
}

/* --- first values --------------------------------------------------------- */

static void
fill_constant(const struct vq_view *to, double x)
{
	int64_t n = vq_shape_count(&to->type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(to, i, x);
}

/* Draw i again until it lies within two deviations, each time with another step of the key. */
static float
truncated(const struct vq_rng_key *key, uint64_t i, float draw)
{
	struct vq_rng_key again = *key;

	while (draw < -2 || draw > 2) {
		again.step++;
		draw = vq_rng_normal(&again, i);
	}
	return draw;
}

/* Draws by the name that the init belongs to. */
static void
fill_drawn(const struct vq_view *to, const struct vq_init *init, const char *name, uint64_t seed)
{
	struct vq_rng_key key = { .seed = seed, .purpose = vq_hash_str(name) };
	int64_t n = vq_shape_count(&to->type->shape);
	bool normal = init->kind != VQ_INIT_UNIFORM, cut = init->kind == VQ_INIT_TRUNCATED;
	double scale = normal ? init->b : init->b - init->a;
	float draw[CHUNK];

	for (int64_t at = 0; at < n; at += CHUNK) {
		int64_t part = n - at < CHUNK ? n - at : CHUNK;

		if (normal)
			vq_rng_normals(&key, (uint64_t)at, draw, part);
		else
			vq_rng_uniforms(&key, (uint64_t)at, draw, part);
		for (int64_t i = 0; i < part; i++)
			vq_set(to, at + i, init->a + scale *
			    (cut ? truncated(&key, (uint64_t)(at + i), draw[i]) : draw[i]));
	}
}

static void
fill(const struct vq_view *to, const struct vq_init *init, const char *name, uint64_t seed)
{
	switch (init->kind) {
	case VQ_INIT_CONSTANT:
		fill_constant(to, init->a);
		return;
	case VQ_INIT_UNIFORM:
	case VQ_INIT_NORMAL:
	case VQ_INIT_TRUNCATED:
		fill_drawn(to, init, name, seed);
		return;
	case VQ_INIT_COPY:
		break;
	}
	vq_bug("variable '%s' has no first value", name);
}

/* What a name stands for while binding: a leaf of the graph, or a variable. */
struct source {
	const char *name;
	const struct vq_type *type;
	const struct vq_init *init;
	const struct vq_var *loaded;	/* its first value came from a checkpoint */
};

static bool
source_find(const struct vq_vars *v, const struct vq_graph *g, const char *name, struct source *s)
{
	vq_id leaf = vq_graph_find(g, name);
	const struct vq_var *x = vq_vars_find(v, name);
	const struct vq_value *l = leaf == VQ_NONE ? NULL : &g->value[leaf];

	if (l && l->kind != VQ_PARAM && l->kind != VQ_STATE)
		l = NULL;
	if (l)
		*s = (struct source){ l->name, &l->type, &l->init };
	else if (x)
		*s = (struct source){ x->name, &x->type, &x->init };
	else
		return false;
	s->loaded = x && x->loaded ? x : NULL;
	return true;
}

/* Follows COPY to the variable that draws.  -1 after an error. */
static int
source_follow(const struct vq_vars *v, const struct vq_graph *g, const struct vq_value *leaf,
    struct source *s, struct vq_diags *d)
{
	char want[VQ_TYPE_STR], got[VQ_TYPE_STR];

	*s = (struct source){ leaf->name, &leaf->type, &leaf->init };
	for (int i = 0; s->init->kind == VQ_INIT_COPY && !s->loaded; i++) {
		const char *of = s->init->of;

		if (i == COPIES) {
			vq_error(d, VQ_CONFIG, &leaf->where, "the first value of %s is a copy of itself",
			    leaf->name);
			return -1;
		}
		if (!source_find(v, g, of, s)) {
			vq_error(d, VQ_CONFIG, &leaf->where,
			    "the first value of %s is that of %s, which does not exist", leaf->name, of);
			return -1;
		}
		if (!vq_shape_equal(&s->type->shape, &leaf->type.shape)) {
			vq_error(d, VQ_CONFIG, &leaf->where,
			    "the first value of %s, %s, cannot be that of %s, %s", leaf->name,
			    vq_type_str(&leaf->type, want), of, vq_type_str(s->type, got));
			return -1;
		}
	}
	return 0;
}

static void
copy_values(const struct vq_view *to, const struct vq_var *from)
{
	struct vq_view x = { from->data, &from->type };
	int64_t n = vq_shape_count(&to->type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(to, i, vq_get(&x, i));
}

static int
bind_new(struct vq_vars *v, const struct vq_graph *g, const struct vq_value *leaf, uint64_t seed,
    struct vq_diags *d)
{
	struct source s;
	struct vq_view to;
	struct vq_var *x;

	if (source_follow(v, g, leaf, &s, d) < 0)
		return -1;
	x = vq_vars_add(v, leaf->name, leaf->kind, &leaf->type);
	x->init = leaf->init;
	if (x->init.kind == VQ_INIT_COPY)
		x->init.of = vq_arena_strdup(&v->arena, x->init.of);
	to = (struct vq_view){ x->data, &x->type };
	if (v->types_only)
		return 0;
	if (s.loaded)
		copy_values(&to, vq_vars_find(v, s.name));	/* adding may have moved it */
	else
		fill(&to, s.init, s.name, seed);
	return 0;
}

/* A variable that exists: the graph must see it as what it is. */
static int
bind_present(const struct vq_var *x, const struct vq_value *leaf, struct vq_diags *d)
{
	const char *where = x->loaded ? "in the weights that were loaded" : "where it was made";
	char has[VQ_TYPE_STR], wants[VQ_TYPE_STR];

	if (!vq_type_equal(&x->type, &leaf->type)) {
		vq_error(d, VQ_CHECKPOINT, &leaf->where, "%s is %s %s, and %s in this graph",
		    leaf->name, vq_type_str(&x->type, has), where, vq_type_str(&leaf->type, wants));
		return -1;
	}
	if (x->kind != leaf->kind) {
		vq_error(d, VQ_CHECKPOINT, &leaf->where, "%s is %s %s, and %s in this graph",
		    leaf->name, x->kind == VQ_PARAM ? "a parameter" : "state", where,
		    leaf->kind == VQ_PARAM ? "a parameter" : "state");
		return -1;
	}
	return 0;
}

int
vq_vars_bind(struct vq_vars *v, const struct vq_graph *g, uint64_t seed, struct vq_diags *d)
{
	int status = 0;

	for (int i = 0; i < g->values; i++) {
		const struct vq_value *leaf = &g->value[i];
		struct vq_var *x;

		if (leaf->kind != VQ_PARAM && leaf->kind != VQ_STATE)
			continue;
		x = vq_vars_find(v, leaf->name);
		if ((x ? bind_present(x, leaf, d) : bind_new(v, g, leaf, seed, d)) < 0)
			status = -1;
	}
	return status;
}
