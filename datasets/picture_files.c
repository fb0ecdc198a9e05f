/*
 * picture_files -- the pictures of a split, in a folder or an archive
 */
#include "datasets/picture_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "datasets/archive.h"

enum { FILES_MAX = 1 << 24, DEPTH_MAX = 16, CLASSES_MAX = 1 << 20 };

/* What listing needs besides. */
struct lister {
	struct vq_picture_files *l;
	const char *split;
	struct vq_names classes;	/* name -> order of appearance */
	bool *here;			/* by that order: the class has a folder in the split asked for */
	int here_cap;
	const char *before;		/* archive: what stands before the splits, "" or "FOLDER/"; NULL: not seen */
	struct vq_diags *diags;
};

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

/* Whether the n bytes at s name the split. */
static bool
names_split(const char *const *names, const char *s, size_t n)
{
	for (; *names != NULL; names++)
		if (strlen(*names) == n && memcmp(*names, s, n) == 0)
			return true;
	return false;
}

static bool
names_any_split(const char *s, size_t n)
{
	for (size_t i = 0; i < VQ_COUNT(all_splits); i++)
		if (names_split(all_splits[i], s, n))
			return true;
	return false;
}

/* Lists and notes that lie among pictures, hidden files: passed over.  Whatever else
 * is there is meant to be a picture. */
static bool
is_beside(const char *name)
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

/* The number of a class, by appearance; -1 after an error. */
static int
class_of(struct lister *s, const char *name, size_t len, bool here)
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

static int
add_file(struct lister *s, const char *name, int label, int64_t entry, const char *bad)
{
	struct vq_picture_files *l = s->l;

	if (l->count == FILES_MAX) {
		vq_error(s->diags, VQ_DATA, NULL, "%s: more than %d pictures", l->path, FILES_MAX);
		return -1;
	}
	if (l->count == l->cap) {
		l->cap = l->cap > 0 ? 2 * l->cap : 1024;
		l->file = vq_realloc_array(l->file, (size_t)l->cap, sizeof(*l->file));
	}
	l->file[l->count++] = (struct vq_picture_file){ vq_arena_strdup(&l->arena, name), bad, label, entry };
	return 0;
}

/* --- a folder ---------------------------------------------------------------- */

static int
unreadable(struct lister *s, const char *path)
{
	vq_error(s->diags, VQ_DATA, NULL, "%s: %s", path, strerror(errno));
	return -1;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int list_class(struct lister *s, const char *path, const char *name, int label, int depth);

/* One name in a folder of a class: a picture, or a folder of them. */
static int
list_in_class(struct lister *s, const char *path, const char *name, const struct dirent *e, int label, int depth)
{
	char *below = vq_asprintf("%s/%s", path, e->d_name), *full = vq_asprintf("%s/%s", name, e->d_name);
	bool folder = e->d_type == DT_DIR || (e->d_type != DT_REG && is_folder(below));
	int rc = 0;

	if (folder)
		rc = list_class(s, below, full, label, depth + 1);
	else if (!is_beside(e->d_name))
		rc = add_file(s, full, label, 0, NULL);
	free(below);
	free(full);
	return rc;
}

static int
list_class(struct lister *s, const char *path, const char *name, int label, int depth)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	int rc = 0;

	if (dir == NULL)
		return unreadable(s, path);
	if (depth > DEPTH_MAX) {
		vq_error(s->diags, VQ_DATA, NULL, "%s: folders are nested more than %d deep", path, DEPTH_MAX);
		rc = -1;
	}
	while (rc == 0 && (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			rc = list_in_class(s, path, name, e, label, depth);
	closedir(dir);
	return rc;
}

/* The classes below one folder of a split, and their files when it is the one asked for. */
static int
list_split(struct lister *s, const char *name, bool files)
{
	char *path = vq_asprintf("%s/%s", s->l->path, name);
	DIR *dir = opendir(path);
	const struct dirent *e;
	int rc = 0;

	if (dir == NULL && files)
		rc = unreadable(s, path);
	while (dir != NULL && rc == 0 && (e = readdir(dir)) != NULL) {
		char *class = vq_asprintf("%s/%s", path, e->d_name);

		if (e->d_name[0] != '.' && is_folder(class)) {
			char *full = vq_asprintf("%s/%s", name, e->d_name);
			int label = class_of(s, e->d_name, strlen(e->d_name), files);

			rc = label < 0 ? -1 : files ? list_class(s, class, full, label, 0) : 0;
			free(full);
		}
		free(class);
	}
	if (dir != NULL)
		closedir(dir);
	free(path);
	return rc;
}

static int
list_folder(struct lister *s)
{
	int rc = 0;

	for (size_t i = 0; i < VQ_COUNT(all_splits) && rc == 0; i++)
		for (const char *const *n = all_splits[i]; *n != NULL && rc == 0; n++) {
			char *path = vq_asprintf("%s/%s", s->l->path, *n);

			if (is_folder(path))
				rc = list_split(s, *n, strcmp(all_splits[i][0], s->split) == 0);
			free(path);
		}
	return rc;
}

/* --- an archive -------------------------------------------------------------- */

/* The name from its split on, NULL when it is nothing of the set. */
static const char *
from_split(const struct lister *s, const char *name)
{
	const char *slash = strchr(name, '/');

	if (slash == NULL)
		return NULL;
	if (names_any_split(name, (size_t)(slash - name)))
		return name;
	name = slash + 1;
	slash = strchr(name, '/');
	return slash != NULL && names_any_split(name, (size_t)(slash - name)) ? name : NULL;
}

/* No name is ever opened, but one that climbs out of its folder is of no set. */
static bool
climbs(const char *name)
{
	for (; name != NULL; name = strchr(name, '/')) {
		name += *name == '/';
		if (name[0] == '.' && name[1] == '.' && (name[2] == '/' || name[2] == '\0'))
			return true;
	}
	return false;
}

static int
list_entry(struct lister *s, const struct vq_entry *e, int64_t entry)
{
	const char *name = climbs(e->name) || e->name[0] == '/' ? NULL : from_split(s, e->name), *class, *end;
	size_t before;
	bool here;
	int label;

	if (name == NULL)
		return 0;
	class = strchr(name, '/') + 1;
	end = strchr(class, '/');
	if (class[0] == '\0' || class[0] == '.' || class[0] == '/' || (end == NULL && e->kind != VQ_ENTRY_FOLDER))
		return 0;
	before = (size_t)(name - e->name);
	if (s->before == NULL)
		s->before = vq_arena_strndup(&s->l->arena, e->name, before);
	if (strlen(s->before) != before || memcmp(s->before, e->name, before) != 0) {
		vq_error(s->diags, VQ_DATA, NULL, "%s: holds two sets, below '%s' and below '%.*s'", s->l->path,
		    s->before, (int)before, e->name);
		return -1;
	}
	here = names_split(vq_split_names(s->split), name, (size_t)(class - 1 - name));
	label = class_of(s, class, end != NULL ? (size_t)(end - class) : strlen(class), here);
	if (label < 0)
		return -1;
	if (!here || e->kind == VQ_ENTRY_FOLDER || is_beside(name))
		return 0;
	return add_file(s, name, label, entry, e->kind == VQ_ENTRY_OTHER ?
	    "is a link or a device: an archive must hold the picture itself" : NULL);
}

static int
list_archive(struct lister *s)
{
	struct vq_archive *a = vq_archive_open(s->l->path, s->diags);
	struct vq_entry e;
	int rc = a != NULL ? 0 : -1;

	for (int64_t n = 0; rc == 0; n++) {
		int more = vq_archive_next(a, &e);

		if (more <= 0) {
			rc = more;
			break;
		}
		rc = list_entry(s, &e, n);
	}
	vq_archive_close(a);
	return rc;
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
sort_classes(struct lister *s)
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

/* --- the list ---------------------------------------------------------------- */

static int
nothing_there(const struct lister *s)
{
	const struct vq_picture_files *l = s->l;
	struct vq_diag *e = vq_error(s->diags, VQ_DATA, NULL, "%s: holds no pictures of the split %s", l->path,
	    s->split);

	vq_note(e, NULL, "wanted are files %s/CLASS/FILE, JPEG or PNG; %d classes were found in all splits", s->split,
	    l->classes);
	return -1;
}

int
vq_picture_files_list(struct vq_picture_files *l, const char *path, const char *split, struct vq_diags *d)
{
	struct lister s = { .l = l, .split = split, .diags = d };
	int rc;

	memset(l, 0, sizeof(*l));
	l->path = vq_arena_strdup(&l->arena, path);
	l->archive = !is_folder(path);
	rc = l->archive ? list_archive(&s) : list_folder(&s);
	if (rc == 0 && l->count == 0)
		rc = nothing_there(&s);
	if (rc == 0) {
		sort_classes(&s);
		qsort(l->file, (size_t)l->count, sizeof(*l->file), compare_in_class);
		drop_replaced(l);
		spread(l);
	}
	vq_names_free(&s.classes);
	free(s.here);
	if (rc < 0)
		vq_picture_files_free(l);
	return rc;
}

bool
vq_picture_files_has(const char *path, const char *split)
{
	struct vq_picture_files l;
	struct vq_diags unheard = { 0 };
	bool there = vq_picture_files_list(&l, path, split, &unheard) == 0;

	if (there)
		vq_picture_files_free(&l);
	vq_diags_free(&unheard);
	return there;
}

void
vq_picture_files_free(struct vq_picture_files *l)
{
	free(l->file);
	free(l->class_name);
	vq_arena_free(&l->arena);
	memset(l, 0, sizeof(*l));
}
