/*
 * library -- reads the blocks of graphs/lib with the comments above them
 */
#include "tools/library.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* A library file of which the blocks are taken. */
struct file {
	struct vq_library *l;
	const char *name;		/* "lib/nn.yaml" */
	const struct vq_source *source;
};

/* Start of line `line` (from 1) in the text; its end for lines past the last. */
static const char *
line_at(const char *text, int line)
{
	while (--line > 0 && *text) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return text;
}

static bool
is_comment(const char *s)
{
	return s[strspn(s, " ")] == '#';
}

/* The comment lines right above a line, joined. */
static const char *
comment_above(struct vq_arena *a, const char *text, int line)
{
	struct vq_text t = { 0 };
	int first = line;
	const char *doc;

	while (first > 1 && is_comment(line_at(text, first - 1)))
		first--;
	for (; first < line; first++) {
		const char *s = line_at(text, first);

		s += strspn(s, " ");
		s += strspn(s, "# ");
		vq_text_add(&t, "%s%.*s", t.len ? " " : "", (int)strcspn(s, "\n"), s);
	}
	doc = vq_arena_strdup(a, t.s ? t.s : "");
	vq_text_free(&t);
	return doc;
}

/* The lines from a block's key to the next key, without their common indent. */
static const char *
lines_of(struct vq_arena *a, const char *text, const struct vq_range *key, int end)
{
	struct vq_text t = { 0 };
	const char *s = line_at(text, key->line), *stop = line_at(text, end), *lines;
	size_t indent = (size_t)key->col - 1;

	while (s < stop) {
		size_t n = strcspn(s, "\n"), skip = strspn(s, " ");

		skip = skip < indent ? skip : indent;
		vq_text_add(&t, "%.*s\n", (int)(n - (skip < n ? skip : n)), s + (skip < n ? skip : n));
		s += n + (s[n] == '\n');
	}
	while (t.len > 1 && t.s[t.len - 2] == '\n')
		t.s[--t.len] = '\0';
	lines = vq_arena_strdup(a, t.s ? t.s : "");
	vq_text_free(&t);
	return lines;
}

/* The line behind a block: that of the next key, or of the comment above it. */
static int
end_of(const struct vq_tree *blocks, int i, const char *text)
{
	int end = i + 1 < blocks->count ? blocks->item[i + 1].key->at.line : blocks->at.end_line + 1;

	if (i + 1 < blocks->count)
		while (end > 1 && is_comment(line_at(text, end - 1)))
			end--;
	return end;
}

/* The block's `also`: a list of words. */
static const char *const *
names_of(struct vq_arena *a, const struct vq_tree *block)
{
	const struct vq_tree *list = block->kind == VQ_TREE_MAP ? vq_tree_get(block, "also") : NULL;
	int n = list && list->kind == VQ_TREE_LIST ? list->count : 0, k = 0;
	const char **names = vq_arena_alloc(a, ((size_t)n + 1) * sizeof(*names));

	for (int i = 0; i < n; i++)
		if (list->item[i].value->kind == VQ_TREE_SCALAR)
			names[k++] = list->item[i].value->text;
	return names;
}

static void
take_blocks(const struct file *f, const struct vq_tree *blocks)
{
	struct vq_library *l = f->l;

	for (int i = 0; i < blocks->count; i++) {
		const struct vq_tree *key = blocks->item[i].key, *tree = blocks->item[i].value, *doc;

		doc = tree->kind == VQ_TREE_MAP ? vq_tree_get(tree, "doc") : NULL;
		vq_grow(l->block, l->count, l->cap);
		l->block[l->count++] = (struct vq_library_block){
			.name = key->text,
			.doc = doc && doc->kind == VQ_TREE_SCALAR ? doc->text :
			    comment_above(&l->arena, f->source->text, key->at.line),
			.also = names_of(&l->arena, tree),
			.file = f->name,
			.text = lines_of(&l->arena, f->source->text, &key->at,
			    end_of(blocks, i, f->source->text)),
			.tree = tree,
		};
	}
}

static void
read_one(struct vq_library *l, const char *folder, const char *name)
{
	struct vq_diags d = { 0 };
	const char *path = vq_arena_printf(&l->arena, "%s/%s", folder, name);
	const struct vq_tree *top = vq_yaml_read(path, &l->arena, &d), *blocks;

	blocks = top && top->kind == VQ_TREE_MAP ? vq_tree_get(top, "blocks") : NULL;
	if (blocks && blocks->kind == VQ_TREE_MAP && blocks->at.source && blocks->at.source->text)
		take_blocks(&(struct file){ .l = l, .name = vq_arena_printf(&l->arena, "lib/%s", name),
		    .source = blocks->at.source }, blocks);
	vq_diags_free(&d);
}

static int
is_yaml(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0 && e->d_name[0] != '.';
}

static bool
read_folder(struct vq_library *l, const char *folder)
{
	struct dirent **entry;
	int n = scandir(folder, &entry, is_yaml, alphasort);

	for (int i = 0; i < n; i++) {
		read_one(l, folder, entry[i]->d_name);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return n > 0;
}

void
vq_library_read(struct vq_library *l)
{
	const char *list = getenv("VQGRAPH_GRAPHS");

	for (const char *s = list ? list : ""; *s; s += strcspn(s, ":"), s += *s == ':')
		if (read_folder(l, vq_arena_printf(&l->arena, "%.*s/lib", (int)strcspn(s, ":"), s)))
			return;
	if (!read_folder(l, VQ_SRCDIR "/graphs/lib"))
		read_folder(l, VQ_DATADIR "/graphs/lib");
}

void
vq_library_free(struct vq_library *l)
{
	free(l->block);
	vq_arena_free(&l->arena);
}
