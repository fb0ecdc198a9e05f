/*
 * model_load -- the files of a model, and what a name means where
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model_private.h"

enum { MAX_FILES = 200 };

/* --- names ---------------------------------------------------------------- */

const char *
vq_last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

/* What follows "alias." in name, or NULL. */
static const char *
after_alias(const struct use *u, const char *name)
{
	size_t n = u->alias ? strlen(u->alias) : 0;

	return u->alias && strncmp(name, u->alias, n) == 0 && name[n] == '.' ? name + n + 1 : NULL;
}

static const struct let *
own_let(const struct file *f, const char *name)
{
	int i = vq_names_get(&f->let_names, name);

	return i < 0 ? NULL : &f->let[i];
}

static const struct body *
own_block(const struct file *f, const char *name)
{
	for (int i = 0; i < f->blocks; i++)
		if (strcmp(f->block[i].name, name) == 0)
			return &f->block[i];
	return NULL;
}

static const struct module *
own_module(const struct file *f, const char *name)
{
	for (int i = 0; i < f->modules; i++)
		if (strcmp(f->module[i].name, name) == 0)
			return &f->module[i];
	return NULL;
}

static const struct body *
own_graph(const struct file *f, const char *name)
{
	for (int i = 0; i < f->graphs; i++)
		if (strcmp(f->graph[i].name, name) == 0)
			return &f->graph[i];
	return NULL;
}

/*
 * A file's own names, those of the files it uses directly, and those of an
 * alias behind its name and a dot.  Cycles of `use` do not get here.
 */
#define FINDER(type, find, own) \
const type * \
find(const struct file *f, const char *name) \
{ \
	const type *found = own(f, name); \
	const char *rest; \
 \
	for (int i = 0; found == NULL && i < f->uses; i++) { \
		if (f->use[i].alias == NULL) \
			found = own(f->use[i].file, name); \
		else if ((rest = after_alias(&f->use[i], name)) != NULL) \
			found = find(f->use[i].file, rest); \
	} \
	return found; \
}
FINDER(struct let, vq_find_let, own_let)
FINDER(struct body, vq_find_block, own_block)
FINDER(struct module, vq_find_module, own_module)
FINDER(struct body, vq_find_graph, own_graph)

const struct module *
vq_find_leaf_module(const struct file *f, const char *text, const char **rest)
{
	const struct module *m = NULL;

	for (size_t n = strcspn(text, "."); m == NULL && text[n] != '\0'; n += 1 + strcspn(text + n + 1, ".")) {
		char *base = vq_strndup(text, n);
		m = vq_find_module(f, base);
		*rest = text + n + 1;
		free(base);
	}
	return m;
}

/* "alias.name", or the name; lives as long as the model. */
static const char *
seen_as(const struct vq_model *m, const struct use *u, const char *name)
{
	return u && u->alias ? vq_arena_printf(m->arena, "%s.%s", u->alias, name) : name;
}

/* Calls once for the file itself (use NULL) and once for each file it uses. */
void
vq_near_lets(const struct file *f, struct vq_suggest *s)
{
	for (int u = -1; u < f->uses; u++) {
		const struct file *of = u < 0 ? f : f->use[u].file;
		for (int i = 0; i < of->lets; i++)
			vq_suggest_try(s, seen_as(f->model, u < 0 ? NULL : &f->use[u], of->let[i].name));
	}
}

static void
near_block(const struct body *b, const char *name, struct vq_suggest *s)
{
	const char **also;

	vq_suggest_try(s, name);
	if (b->also == NULL)
		return;
	also = vq_alloc_array((size_t)b->also->count + 1, sizeof(*also));
	for (int i = 0; i < b->also->count; i++)
		also[i] = b->also->item[i].value->text;
	vq_suggest_also(s, name, also);
	free(also);
}

void
vq_near_callees(const struct file *f, struct vq_suggest *s, bool modules)
{
	for (int u = -1; u < f->uses; u++) {
		const struct file *of = u < 0 ? f : f->use[u].file;
		const struct use *use = u < 0 ? NULL : &f->use[u];
		for (int i = 0; i < of->blocks; i++)
			near_block(&of->block[i], seen_as(f->model, use, of->block[i].name), s);
		for (int i = 0; modules && i < of->modules; i++)
			vq_suggest_try(s, seen_as(f->model, use, of->module[i].name));
	}
	for (const struct vq_op *const *op = vq_ops(); *op; op++)
		if (!((*op)->flags & VQ_OP_INTERNAL)) {
			vq_suggest_try(s, (*op)->name);
			if ((*op)->also)
				vq_suggest_also(s, (*op)->name, (*op)->also);
		}
}

void
vq_help_near(struct vq_diag *e, const struct vq_suggest *s)
{
	/* A candidate that is met exactly is a name from elsewhere. */
	if (s->best && s->distance <= 0)
		vq_help(e, "what is called '%s' elsewhere is %s here", s->wrong, s->best);
	else if (s->best)
		vq_help(e, "there is one with a similar name: %s", s->best);
}

/* --- use ------------------------------------------------------------------ */

static struct file *read_one(struct vq_model *m, const char *path, const char *via, struct vq_tree *root,
    struct vq_diags *d);

static struct file *
find_file(const struct vq_model *m, const char *path)
{
	for (int i = 0; i < m->files; i++)
		if (strcmp(m->file[i]->path, path) == 0)
			return m->file[i];
	return NULL;
}

static const char *
try_path(struct vq_model *m, const char *folder, size_t len, const char *name, struct vq_text *tried)
{
	size_t n = strlen(name);
	bool ends = n > 5 && strcmp(name + n - 5, ".yaml") == 0;
	const char *path = vq_arena_printf(m->arena, "%.*s%s%s%s", (int)len, folder,
	    len > 0 && folder[len - 1] != '/' ? "/" : "", name, ends ? "" : ".yaml");

	if (access(path, F_OK) == 0)
		return path;
	vq_text_add(tried, "%s%s", tried->len ? ", " : "", path);
	return NULL;
}

/* Beside the file, then in the folders of VQGRAPH_GRAPHS, then where the
 * program's own are. */
static const char *
locate(struct vq_model *m, const struct file *from, const char *name, struct vq_text *tried)
{
	const char *slash = strrchr(from->path, '/'), *list = getenv("VQGRAPH_GRAPHS");
	static const char *const own[] = { VQ_SRCDIR "/graphs", VQ_DATADIR "/graphs" };
	const char *path;

	if (name[0] == '/')
		return try_path(m, "", 0, name, tried);
	path = try_path(m, from->path, slash ? (size_t)(slash + 1 - from->path) : 0, name, tried);
	while (path == NULL && list != NULL && *list != '\0') {
		size_t n = strcspn(list, ":");
		if (n > 0)
			path = try_path(m, list, n, name, tried);
		list += n + (list[n] == ':');
	}
	for (size_t i = 0; path == NULL && i < VQ_COUNT(own); i++)
		path = try_path(m, own[i], strlen(own[i]), name, tried);
	return path;
}

static void
report_cycle(struct vq_model *m, const struct file *f, const struct vq_tree *at, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_CONFIG, &at->at, "files use each other in a circle");
	bool inside = false;

	for (int i = 0; i < m->files; i++) {
		inside |= m->file[i] == f;
		if (inside && m->file[i]->busy)
			vq_note(e, NULL, "%s uses", m->file[i]->path);
	}
	vq_note(e, NULL, "%s again", f->path);
}

/* A file that stands under two names is read once, by the first of them. */
static void
refuse_overrides(const struct vq_model *m, const char *via, const struct use *u, struct vq_diags *d)
{
	for (int i = 0; via && i < m->nset; i++)
		if (strncmp(m->set[i].text, via, strlen(via)) == 0)
			vq_error(d, VQ_CONFIG, &u->at, "%s was read under another name before: '%s' cannot be set by this one",
			    u->file->path, m->set[i].text);
}

/* One entry of `use`: lib/nn, or alias: file. */
static void
read_use(struct vq_model *m, struct file *f, const struct vq_tree *t, struct vq_diags *d)
{
	struct use *u = &f->use[f->uses];
	struct vq_text tried = { 0 };
	struct vq_tree *root;
	const char *path, *via;

	*u = (struct use){ .at = t->at };
	if (t->kind == VQ_TREE_MAP && t->count == 1) {
		u->alias = t->item[0].key->text;
		u->at = t->item[0].key->at;
		if (!vq_is_name(u->alias))
			vq_error(d, VQ_CONFIG, &u->at, "'%s' cannot be an alias: letters, digits and _ can", u->alias);
		t = t->item[0].value;
	}
	if (t->kind != VQ_TREE_SCALAR || t->text[0] == '\0') {
		vq_error(d, VQ_CONFIG, &t->at, "a file is wanted here, as in lib/nn, or `alias: file`");
		return;
	}
	for (int i = 0; u->alias && &f->use[i] < u; i++)
		if (f->use[i].alias && strcmp(f->use[i].alias, u->alias) == 0)
			vq_error(d, VQ_CONFIG, &u->at, "there is an alias %s already: what belongs to which file could not be told",
			    u->alias);
	via = f->via && u->alias ? vq_arena_printf(m->arena, "%s%s.", f->via, u->alias) : NULL;
	if ((path = locate(m, f, t->text, &tried)) == NULL) {
		struct vq_diag *e = vq_error(d, VQ_CONFIG, &t->at, "there is no model file '%s'", t->text);
		vq_note(e, NULL, "looked for: %s", tried.s);
	} else if ((u->file = find_file(m, path)) != NULL) {
		if (u->file->busy)
			report_cycle(m, u->file, t, d);
		refuse_overrides(m, via, u, d);
	} else if ((root = vq_yaml_read(path, m->arena, d)) != NULL) {
		u->file = read_one(m, path, via, root, d);
	}
	vq_text_free(&tried);
	f->uses += u->file != NULL && !u->file->busy;
}

static void
read_uses(struct vq_model *m, struct file *f, struct vq_diags *d)
{
	const struct vq_tree *use = vq_tree_get(f->root, "use");

	if (use == NULL || !vq_want_list(use, "use", d))
		return;
	f->use = vq_arena_alloc(m->arena, sizeof(*f->use) * (size_t)(use->count + 1));
	for (int i = 0; i < use->count; i++)
		read_use(m, f, use->item[i].value, d);
}

static struct file *
read_one(struct vq_model *m, const char *path, const char *via, struct vq_tree *root, struct vq_diags *d)
{
	struct file *f = vq_arena_alloc(m->arena, sizeof(*f));

	if (m->files >= MAX_FILES) {
		vq_error(d, VQ_CONFIG, &root->at, "a model of more than %d files", MAX_FILES);
		return NULL;
	}
	vq_grow(m->file, m->files, m->file_cap);
	m->file[m->files++] = f;
	f->model = m;
	f->path = path;
	f->via = via;
	f->root = root;
	f->busy = true;
	if (via)
		vq_model_override(m, via, root, d);
	if (vq_want_map(root, "a model file", d)) {
		read_uses(m, f, d);
		vq_model_read_file(m, f, d);
	}
	f->busy = false;
	return f;
}

/* --- where modules live --------------------------------------------------- */

/* A file's modules are named by the shortest way to it from the main file. */
static void
place_files(struct vq_model *m)
{
	struct file **queue = vq_alloc_array((size_t)m->files, sizeof(struct file *));
	int head = 0, tail = 0;

	m->file[0]->prefix = "";
	m->file[0]->placed = true;
	queue[tail++] = m->file[0];
	while (head < tail) {
		struct file *f = queue[head++];
		for (int i = 0; i < f->uses; i++) {
			struct file *to = f->use[i].file;
			if (to->placed)
				continue;
			to->prefix = f->use[i].alias ?
			    vq_arena_printf(m->arena, "%s%s.", f->prefix, f->use[i].alias) : f->prefix;
			to->placed = true;
			queue[tail++] = to;
		}
	}
	free(queue);
}

static void
name_modules(struct vq_model *m, struct vq_diags *d)
{
	struct vq_names seen = { 0 };
	struct module *x;

	for (int f = 0; f < m->files; f++)
		for (int i = 0; i < m->file[f]->modules; i++) {
			x = &m->file[f]->module[i];
			x->path = vq_arena_printf(m->arena, "%s%s", m->file[f]->prefix ? m->file[f]->prefix : "", x->name);
			if (!vq_names_put(&seen, x->path, f))
				vq_error(d, VQ_CONFIG, &x->name_at, "two modules would be called %s in a checkpoint", x->path);
		}
	vq_names_free(&seen);
}

/* --- what it builds on ------------------------------------------------------ */

static void
find_bases(struct vq_model *m)
{
	const struct file *f = m->file[0];

	m->base = vq_arena_alloc(m->arena, sizeof(*m->base) * (size_t)(f->uses + 1));
	for (int i = 0; i < f->uses; i++) {
		const struct use *u = &f->use[i];
		if (u->alias == NULL || u->file->stages == NULL || u->file->stages->count == 0)
			continue;
		struct vq_base *b = &m->base[m->bases++];
		*b = (struct vq_base){ .alias = u->alias, .path = u->file->path, .at = u->at };
		b->set = vq_arena_alloc(m->arena, sizeof(*b->set) * (size_t)(m->nset + 1));
		for (int k = 0; k < m->nset; k++) {
			const char *rest = after_alias(u, m->set[k].text);
			if (rest)
				b->set[b->nset++].text = vq_arena_strdup(m->arena, rest);
		}
	}
}

int
vq_model_bases(const struct vq_model *m)
{
	return m->bases;
}

const struct vq_base *
vq_model_base(const struct vq_model *m, int i)
{
	return &m->base[i];
}

/* --- loading -------------------------------------------------------------- */

static void
eval_lets(struct vq_model *m, struct vq_diags *d)
{
	struct scope s = { .model = m, .diags = d };
	struct vq_number n;

	for (int f = 0; f < m->files; f++)
		for (int i = 0; i < m->file[f]->lets; i++)
			vq_let_eval(&s, &m->file[f]->let[i], &n);
}

static struct vq_model *
finish(struct vq_model *m, const char *path, struct vq_tree *root, const struct vq_override *set, int nset,
    struct vq_diags *d)
{
	int before = d->total;

	m->errors_before = before;
	m->set = set;
	m->nset = nset;
	if (root == NULL || read_one(m, path, "", root, d) == NULL || m->files == 0) {
		vq_model_free(m);
		return NULL;
	}
	find_bases(m);
	m->set = NULL;		/* the caller's */
	m->nset = 0;
	place_files(m);
	name_modules(m, d);
	eval_lets(m, d);
	for (int f = 0; f < m->files; f++)
		vq_model_link_file(m, m->file[f], d);
	if (d->total == before)
		vq_model_walk(m, d);
	if (d->total == before) {
		vq_model_flatten(m);
		return m;
	}
	vq_model_free(m);
	return NULL;
}

static struct vq_model *
new_model(const char *path)
{
	struct vq_model *m = vq_alloc(sizeof(*m));

	m->arena = vq_alloc(sizeof(*m->arena));
	m->path = vq_arena_strdup(m->arena, path);
	return m;
}

struct vq_model *
vq_model_load(const char *path, const struct vq_override *set, int nset, struct vq_diags *d)
{
	struct vq_model *m = new_model(path);

	return finish(m, m->path, vq_yaml_read(path, m->arena, d), set, nset, d);
}

struct vq_model *
vq_model_parse(const char *name, const char *text, size_t len, const struct vq_override *set, int nset,
    struct vq_diags *d)
{
	struct vq_model *m = new_model(name);

	return finish(m, m->path, vq_yaml_parse(name, text, len, m->arena, d), set, nset, d);
}
