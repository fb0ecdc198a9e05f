/*
 * picture_files -- the pictures of a split, in a folder or an archive
 */
#include "datasets/picture_files.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "datasets/picture_layout.h"

enum { FILES_MAX = 1 << 24, CLASSES_MAX = 1 << 20 };

/* Published sets come first: they have folders and lists that others take for their own. */
static const struct vq_layout *const layouts[] = { &vq_layout_celeba, &vq_layout_tiny_imagenet, &vq_layout_dtd,
	&vq_layout_flowers, &vq_layout_places, &vq_layout_splits, &vq_layout_lists, &vq_layout_plain };

static const char *const train_names[] = { "train", NULL };
static const char *const test_names[] = { "test", NULL };
static const char *const val_names[] = { "val", "valid", "validation", NULL };
static const char *const *const all_splits[] = { train_names, test_names, val_names };

const char *const *
vq_split_names(const char *split)
{
	for (size_t i = 0; i < VQ_COUNT(all_splits); i++)
		if (strcmp(all_splits[i][0], split) == 0)
			return all_splits[i];
	vq_bug("there is no split %s", split);
}

bool
vq_is_beside(const char *name)
{
	static const char *const ends[] = { ".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".html", ".db", ".ini",
		".mat", ".npy", ".yaml", ".yml" };
	const char *base = strrchr(name, '/'), *dot;

	base = base != NULL ? base + 1 : name;
	dot = strrchr(base, '.');
	if (base[0] == '.')
		return true;
	for (size_t i = 0; dot != NULL && i < VQ_COUNT(ends); i++)
		if (strcasecmp(dot, ends[i]) == 0)
			return true;
	return false;
}

/* --- adding ------------------------------------------------------------------ */

int
vq_lister_class(struct vq_lister *s, const char *name, size_t len, bool here)
{
	struct vq_picture_files *l = s->l;
	char *copy = vq_arena_strndup(&l->arena, name, len);
	int known = vq_names_get(&s->classes, copy);

	if (known >= 0) {
		s->here[known] |= here;
		return known;
	}
	if (l->classes == CLASSES_MAX) {
		vq_error(s->diags, VQ_DATA, NULL, "%s: more than %d classes", l->path, CLASSES_MAX);
		return -1;
	}
	if (l->classes == l->class_cap)
		l->class_name = vq_grow_to(l->class_name, &l->class_cap, sizeof(*l->class_name));
	if (l->classes == s->here_cap)
		s->here = vq_grow_to(s->here, &s->here_cap, sizeof(*s->here));
	s->here[l->classes] = here;
	l->class_name[l->classes] = copy;
	vq_names_put(&s->classes, copy, l->classes);
	return l->classes++;
}

struct vq_picture_file *
vq_lister_add(struct vq_lister *s, const char *name, int label, int64_t entry)
{
	struct vq_picture_files *l = s->l;
	struct vq_picture_file *f;

	if (l->count == FILES_MAX) {
		vq_error(s->diags, VQ_DATA, NULL, "%s: more than %d pictures", l->path, FILES_MAX);
		return NULL;
	}
	if (l->count == l->cap) {
		l->cap = l->cap > 0 ? 2 * l->cap : 1024;
		l->file = vq_realloc_array(l->file, (size_t)l->cap, sizeof(*l->file));
	}
	f = &l->file[l->count++];
	*f = (struct vq_picture_file){ .name = vq_arena_strdup(&l->arena, name), .label = label, .list = -1,
		.entry = entry };
	return f;
}

struct vq_picture_file *
vq_lister_add_listed(struct vq_lister *s, const char *name, int label, int list, int64_t line)
{
	const struct vq_folder *in = s->inner.path != NULL ? &s->inner : s->folder;
	int64_t entry = in != NULL ? vq_folder_member(in, name) : 0;
	struct vq_picture_file *f = vq_lister_add(s, name, label, entry);

	if (f == NULL)
		return NULL;
	f->list = list;
	f->line = line;
	if (entry < 0) {
		f->bad = "is not in the archive";
		f->entry = 0;
	} else if (in != NULL && in->archive && in->member[entry].kind != VQ_ENTRY_FILE) {
		f->bad = "is a link or a device: an archive must hold the picture itself";
	}
	return f;
}

int
vq_lister_read(struct vq_lister *s, const char *name, char **text, size_t *n)
{
	struct vq_picture_files *l = s->l;
	char *path;

	vq_assert(l->lists < VQ_PICTURE_LISTS);
	*text = vq_folder_read(s->folder, name, n, s->diags);
	if (*text == NULL)
		return -1;
	path = vq_folder_path(s->folder, name);
	l->list[l->lists] = vq_arena_strdup(&l->arena, path);
	free(path);
	return l->lists++;
}

static const char *
first_folder(const struct vq_folder *f, const char *const *folders)
{
	for (; *folders != NULL; folders++)
		if (vq_folder_has_folder(f, *folders))
			return *folders;
	return NULL;
}

const char *
vq_lister_inside(struct vq_lister *s, const char *const *folders, const char *const *archives)
{
	const char *folder = first_folder(s->folder, folders);

	for (; folder == NULL && !s->folder->archive && *archives != NULL; archives++)
		if (vq_folder_has(s->folder, *archives)) {
			char *path = vq_folder_path(s->folder, *archives);
			int rc = vq_folder_open(&s->inner, path, s->diags);

			s->l->path = vq_arena_strdup(&s->l->arena, path);
			s->l->archive = true;
			free(path);
			if (rc < 0)
				return NULL;
			folder = first_folder(&s->inner, folders);
			return folder != NULL ? folder : "";
		}
	if (folder == NULL)
		vq_error(s->diags, VQ_DATA, NULL, "%s: the folder %s is missing", s->folder->path, folders[0]);
	return folder;
}

int
vq_lister_refuse(struct vq_lister *s, int list, int64_t line, const char *fmt, ...)
{
	struct vq_text why = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&why, fmt, ap);
	va_end(ap);
	if (line > 0)
		vq_error(s->diags, VQ_DATA, NULL, "%s:%lld: %s", s->l->list[list], (long long)line, why.s);
	else
		vq_error(s->diags, VQ_DATA, NULL, "%s: %s", s->l->list[list], why.s);
	vq_text_free(&why);
	return -1;
}

/* --- order ------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
compare_in_class(const void *a, const void *b)
{
	const struct vq_picture_file *x = a, *y = b;
	int order = x->label != y->label ? (x->label < y->label ? -1 : 1) : strcmp(x->name, y->name);

	return order != 0 ? order : (x->entry > y->entry) - (x->entry < y->entry);
}

/* Numbers the classes in the order of their names, and finds those without a picture. */
static void
sort_classes(struct vq_lister *s)
{
	struct vq_picture_files *l = s->l;
	int *number = vq_alloc_array((size_t)l->classes + 1, sizeof(*number));

	qsort(l->class_name, (size_t)l->classes, sizeof(*l->class_name), compare_names);
	for (int i = 0; i < l->classes; i++)
		number[vq_names_get(&s->classes, l->class_name[i])] = i;
	for (int64_t i = 0; i < l->count; i++) {
		s->here[l->file[i].label] = false;
		l->file[i].label = number[l->file[i].label];
	}
	for (int i = l->classes - 1; i >= 0; i--)
		if (s->here[vq_names_get(&s->classes, l->class_name[i])])
			l->empty = l->class_name[i];
	free(number);
}

/* A file with its place in the split: the middle of the i-th of n equal parts. */
struct placed {
	double at;
	struct vq_picture_file file;
};

static int
compare_places(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->file.label - y->file.label;
}

/* Of files of the same name, as a tar that was added to has them, the last one counts. */
static void
drop_replaced(struct vq_picture_files *l)
{
	int64_t kept = 0;

	for (int64_t i = 0; i < l->count; i++) {
		kept += kept == 0 || strcmp(l->file[kept - 1].name, l->file[i].name) != 0;
		l->file[kept - 1] = l->file[i];
	}
	l->count = kept;
}

/* The files of a class evenly over the split, so that its first n hold all classes in proportion. */
static void
spread(struct vq_picture_files *l)
{
	struct placed *p = vq_alloc_array((size_t)l->count, sizeof(*p));
	int64_t *in_class = vq_alloc_array((size_t)l->classes + 1, sizeof(*in_class)), from = 0;

	for (int64_t i = 0; i < l->count; i++)
		in_class[l->file[i].label]++;
	for (int64_t i = 0; i < l->count; i++) {
		if (i > 0 && l->file[i].label != l->file[i - 1].label)
			from = i;
		p[i].at = ((double)(i - from) + .5) / (double)in_class[l->file[i].label];
		p[i].file = l->file[i];
	}
	qsort(p, (size_t)l->count, sizeof(*p), compare_places);
	for (int64_t i = 0; i < l->count; i++)
		l->file[i] = p[i].file;
	free(in_class);
	free(p);
}

static void
put_in_order(struct vq_lister *s)
{
	struct vq_picture_files *l = s->l;

	if (l->label_width == VQ_LABEL_CLASS && s->classes.count > 0)
		sort_classes(s);
	if (s->ordered)
		return;
	qsort(l->file, (size_t)l->count, sizeof(*l->file), compare_in_class);
	drop_replaced(l);
	if (l->label_width == VQ_LABEL_CLASS)
		spread(l);
}

/* --- the list ---------------------------------------------------------------- */

static int
nothing_there(const struct vq_lister *s)
{
	const struct vq_picture_files *l = s->l;
	struct vq_diag *e = vq_error(s->diags, VQ_DATA, NULL, "%s: holds no pictures of the split %s", l->path,
	    s->split);

	vq_note(e, NULL, "wanted are files %s/CLASS/FILE, JPEG or PNG; %d classes were found in all splits", s->split,
	    l->classes);
	return -1;
}

/* The layout of a folder; of an archive that may be the folder that everything is in.  NULL when
 * none fits, or after an error when there are two (*rc -1). */
static const struct vq_layout *
layout_of(struct vq_folder *f, int *rc, struct vq_diags *d)
{
	const struct vq_layout *found = NULL;
	const char *before = "";

	*rc = 0;
	for (size_t k = 0; k < VQ_COUNT(layouts) && found == NULL; k++)
		for (int i = -1; i < f->tops; i++) {
			f->before = i < 0 ? "" : f->top[i];
			if (!layouts[k]->fits(f))
				continue;
			if (found != NULL) {
				vq_error(d, VQ_DATA, NULL, "%s: holds two sets, below '%s' and below '%s'", f->path, before,
				    f->before);
				*rc = -1;
				return NULL;
			}
			found = layouts[k];
			before = f->before;
			/* It takes in what is below. */
			if (found == &vq_layout_plain)
				break;
		}
	f->before = before;
	return found;
}

static int
list_any(struct vq_lister *s, const char *path)
{
	const struct vq_layout *layout;
	struct vq_folder file = { .before = "" };
	const char *slash = strrchr(path, '/');
	int rc;

	if (vq_named_list(path)) {
		file.path = slash == NULL ? "." : slash == path ? "/" :
		    vq_arena_strndup(&s->l->arena, path, (size_t)(slash - path));
		*s->folder = file;
		s->l->path = file.path;
		return vq_lister_file(s, slash != NULL ? slash + 1 : path);
	}
	if (vq_folder_open(s->folder, path, s->diags) < 0)
		return -1;
	s->l->archive = s->folder->archive;
	layout = layout_of(s->folder, &rc, s->diags);
	if (rc < 0 || layout == NULL)
		return rc;		/* nothing is there */
	return layout->has(s->folder, s->split) ? layout->list(s) : 0;
}

int
vq_picture_files_list(struct vq_picture_files *l, const char *path, const char *split, struct vq_diags *d)
{
	struct vq_folder folder = { .before = "" };
	struct vq_lister s = { .l = l, .split = split, .folder = &folder, .diags = d };
	int rc;

	memset(l, 0, sizeof(*l));
	l->path = vq_arena_strdup(&l->arena, path);
	rc = list_any(&s, path);
	if (rc == 0 && l->count == 0)
		rc = nothing_there(&s);
	if (rc == 0)
		put_in_order(&s);
	vq_names_free(&s.classes);
	free(s.here);
	if (s.inner.path != NULL)
		vq_folder_close(&s.inner);
	vq_folder_close(&folder);
	if (rc < 0)
		vq_picture_files_free(l);
	return rc;
}

bool
vq_picture_files_has(const char *path, const char *split)
{
	struct vq_folder f;
	struct vq_diags unheard = { 0 };
	const struct vq_layout *layout = NULL;
	int rc;

	if (vq_named_list(path))
		return strcmp(split, "train") == 0;
	if (vq_folder_open(&f, path, &unheard) == 0)
		layout = layout_of(&f, &rc, &unheard);

	bool there = layout != NULL && layout->has(&f, split);

	vq_folder_close(&f);
	vq_diags_free(&unheard);
	return there;
}

char *
vq_picture_file_path(const struct vq_picture_files *l, const struct vq_picture_file *f)
{
	return f->name[0] == '/' ? vq_strdup(f->name) : vq_asprintf("%s/%s", l->path, f->name);
}

char *
vq_picture_file_place(const struct vq_picture_files *l, const struct vq_picture_file *f)
{
	return f->list < 0 ? vq_strdup("") : vq_asprintf("%s:%lld: ", l->list[f->list], (long long)f->line);
}

void
vq_picture_files_free(struct vq_picture_files *l)
{
	free(l->file);
	free(l->row);
	free(l->class_name);
	vq_arena_free(&l->arena);
	memset(l, 0, sizeof(*l));
}
