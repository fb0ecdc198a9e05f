/*
 * model_override -- "path=value" from the command line, put into the trees of the files
 */
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

static void
unknown_path(const struct vq_tree *map, const char *text, size_t from, size_t to,
    const struct vq_tree *value, struct vq_diags *d)
{
	char *part = vq_strndup(text + from, to - from);
	struct vq_range at = value->at;
	struct vq_suggest near;
	struct vq_diag *e;

	at.col = (int)from + 1;
	at.end_col = (int)to + 1;
	e = vq_error(d, VQ_CONFIG, &at, from ? "there is no '%s' in %.*s" : "there is no '%s'", part,
	    from ? (int)from - 1 : 0, text);
	vq_suggest_start(&near, part);
	for (int i = 0; map && i < map->count; i++)
		if (map->kind == VQ_TREE_MAP)
			vq_suggest_try(&near, map->item[i].key->text);
	if (near.best)
		vq_help_near(e, &near);
	else if (map && map->kind == VQ_TREE_LIST)
		vq_note(e, NULL, "it is a list of %d, counted from 0", map->count);
	free(part);
}

/* The entry of a map or list that the path goes on with; *to moves past its name. */
static struct vq_pair *
find_part(const struct vq_tree *in, const char *text, size_t from, size_t end, size_t *to)
{
	for (int i = 0; in->kind == VQ_TREE_MAP && i < in->count; i++) {
		size_t n = strlen(in->item[i].key->text);
		if (n <= end - from && strncmp(text + from, in->item[i].key->text, n) == 0 &&
		    (from + n == end || text[from + n] == '.')) {
			*to = from + n;
			return &in->item[i];
		}
	}
	*to = from + strcspn(text + from, ".=");
	if (in->kind != VQ_TREE_LIST || *to == from || strspn(text + from, "0123456789") < *to - from || *to - from > 6)
		return NULL;
	int i = atoi(text + from);
	return i < in->count ? &in->item[i] : NULL;
}

/* A stage's key that was left out may be given; its reader judges it. */
static bool
add_key(struct vq_arena *a, struct vq_tree *map, const char *text, size_t from, size_t end, struct vq_tree *value)
{
	struct vq_pair *item = vq_arena_alloc(a, sizeof(*item) * (size_t)(map->count + 1));
	struct vq_tree *key = vq_arena_copy(a, value, sizeof(*value));

	key->text = vq_arena_strndup(a, text + from, end - from);
	key->kind = VQ_TREE_SCALAR;
	key->at.col = (int)from + 1;
	key->at.end_col = (int)end + 1;
	if (strchr(key->text, '.'))
		return false;
	if (map->count > 0)
		memcpy(item, map->item, sizeof(*item) * (size_t)map->count);
	item[map->count] = (struct vq_pair){ key, value };
	map->item = item;
	map->count++;
	return true;
}

static void
set_path(struct vq_model *m, struct vq_tree *root, const char *text, size_t end, struct vq_tree *value,
    struct vq_diags *d)
{
	struct vq_tree *in = root;
	bool stage = strncmp(text, "stages.", 7) == 0;
	size_t from = 0, to;
	struct vq_pair *at;

	for (int depth = 0;; depth++) {
		at = find_part(in, text, from, end, &to);
		if (at == NULL && stage && depth >= 2 && in->kind == VQ_TREE_MAP && to >= end &&
		    add_key(m->arena, in, text, from, end, value))
			return;
		if (at == NULL) {
			unknown_path(in, text, from, to < end ? to : end, value, d);
			return;
		}
		if (to == end)
			break;
		in = at->value;
		from = to + 1;
	}
	at->value = value;
}

/* "codes=256": a let of the file; "stages.vqvae.epochs=3": anything in it. */
static void
apply_override(struct vq_model *m, struct vq_tree *root, const char *text, struct vq_diags *d)
{
	const char *equals = strchr(text, '=');
	struct vq_tree *value, *let;
	size_t end = equals ? (size_t)(equals - text) : 0;

	if (equals == NULL || end == 0 || equals[1] == '\0') {
		struct vq_source *source = vq_arena_alloc(m->arena, sizeof(*source));
		struct vq_range at = { .source = source };
		source->name = "command line";
		vq_help(vq_error(d, VQ_CONFIG, &at, "'%s' sets nothing", text), "write path=value, as in codes=256");
		return;
	}
	value = vq_yaml_value("command line", text, end + 1, m->arena, d);
	if (value == NULL || root->kind != VQ_TREE_MAP)
		return;
	let = vq_tree_get(root, "let");
	if (memchr(text, '.', end) == NULL) {
		struct vq_pair *at = NULL;
		size_t to;
		if (let && let->kind == VQ_TREE_MAP)
			at = find_part(let, text, 0, end, &to);
		if (at == NULL)
			unknown_path(let, text, 0, end, value, d);
		else
			at->value = value;
		return;
	}
	set_path(m, root, text, end, value, d);
}

/* Whether `use` has an alias that the text begins with: it is for that file. */
static bool
is_for_alias(const struct vq_tree *root, const char *text)
{
	const struct vq_tree *use = vq_tree_get(root, "use");
	size_t n = strcspn(text, ".=");

	for (int i = 0; text[n] == '.' && use && use->kind == VQ_TREE_LIST && i < use->count; i++) {
		const struct vq_tree *t = use->item[i].value;
		if (t->kind == VQ_TREE_MAP && t->count == 1 && strlen(t->item[0].key->text) == n &&
		    strncmp(text, t->item[0].key->text, n) == 0)
			return true;
	}
	return false;
}

void
vq_model_override(struct vq_model *m, const char *via, struct vq_tree *root, struct vq_diags *d)
{
	size_t n = strlen(via);

	for (int i = 0; i < m->nset; i++)
		if (strncmp(m->set[i].text, via, n) == 0 && !is_for_alias(root, m->set[i].text + n))
			apply_override(m, root, m->set[i].text + n, d);
}
