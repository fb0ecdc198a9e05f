/*
 * picture_folders -- layouts whose labels are the names of folders
 *
 * SPLIT/CLASS/.../FILE: classes are the folder names below all splits, sorted by their bytes,
 * so that a class has the same number in each split.  CLASS/.../FILE without splits, and
 * folders of pictures alone, which have no labels.  In an archive one folder may stand before all.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "datasets/picture_layout.h"

enum { DEPTH_MAX = 16, LOOK_DEPTH = 3, LOOK_NAMES = 1000 };

static const char *const splits[] = { "train", "test", "val" };
static const char is_a_link[] = "is a link or a device: an archive must hold the picture itself";

/* --- a folder on disk -------------------------------------------------------- */

static int
unreadable(struct vq_lister *s, const char *path)
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

static bool
entry_is_folder(const char *path, const struct dirent *e)
{
	return e->d_type == DT_DIR || (e->d_type != DT_REG && is_folder(path));
}

static int list_class(struct vq_lister *s, const char *path, const char *name, int label, int depth);

/* One name in a folder of a class: a picture, or a folder of them. */
static int
list_in_class(struct vq_lister *s, const char *path, const char *name, const struct dirent *e, int label, int depth)
{
	char *below = vq_asprintf("%s/%s", path, e->d_name);
	char *full = vq_asprintf("%s%s%s", name, name[0] != '\0' ? "/" : "", e->d_name);
	int rc = 0;

	if (entry_is_folder(below, e))
		rc = list_class(s, below, full, label, depth + 1);
	else if (!vq_is_beside(e->d_name))
		rc = vq_lister_add(s, full, label, 0) == NULL ? -1 : 0;
	free(below);
	free(full);
	return rc;
}

static int
list_class(struct vq_lister *s, const char *path, const char *name, int label, int depth)
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

/* The classes below a folder ("": the whole), and their files. */
static int
classes_on_disk(struct vq_lister *s, const char *name, bool files)
{
	char *path = vq_folder_path(s->folder, name);
	DIR *dir = opendir(path);
	const struct dirent *e;
	int rc = 0;

	if (dir == NULL && files)
		rc = unreadable(s, path);
	while (dir != NULL && rc == 0 && (e = readdir(dir)) != NULL) {
		char *class = vq_asprintf("%s/%s", path, e->d_name);

		if (e->d_name[0] != '.' && entry_is_folder(class, e)) {
			char *full = vq_asprintf("%s%s%s", name, name[0] != '\0' ? "/" : "", e->d_name);
			int label = vq_lister_class(s, e->d_name, strlen(e->d_name), files);

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

/* --- an archive -------------------------------------------------------------- */

/* What comes behind "FOLDER/" in a member's name; NULL when it is not in there. */
static const char *
below(const struct vq_folder *f, const struct vq_member *m, const char *folder)
{
	size_t before = strlen(f->before), len = strlen(folder);
	const char *name = m->name;

	if (name == NULL || strncmp(name, f->before, before) != 0)
		return NULL;
	name += before;
	if (len == 0)
		return name;
	return strncmp(name, folder, len) == 0 && name[len] == '/' ? name + len + 1 : NULL;
}

static int
add_member(struct vq_lister *s, int64_t i, int label)
{
	const struct vq_folder *f = s->folder;
	struct vq_picture_file *file = vq_lister_add(s, f->member[i].name + strlen(f->before), label, i);

	if (file != NULL && f->member[i].kind == VQ_ENTRY_OTHER)
		file->bad = is_a_link;
	return file != NULL ? 0 : -1;
}

static int
classes_in_archive(struct vq_lister *s, const char *folder, bool files)
{
	const struct vq_folder *f = s->folder;

	for (int64_t i = 0; i < f->count; i++) {
		const char *class = below(f, &f->member[i], folder), *end = class != NULL ? strchr(class, '/') : NULL;
		bool is_class = f->member[i].kind == VQ_ENTRY_FOLDER;
		int label;

		if (class == NULL || class[0] == '\0' || class[0] == '.' || class[0] == '/' || (end == NULL && !is_class))
			continue;
		label = vq_lister_class(s, class, end != NULL ? (size_t)(end - class) : strlen(class), files);
		if (label < 0)
			return -1;
		if (files && !is_class && !vq_is_beside(class) && add_member(s, i, label) < 0)
			return -1;
	}
	return 0;
}

int
vq_lister_classes(struct vq_lister *s, const char *folder, bool files)
{
	return s->folder->archive ? classes_in_archive(s, folder, files) : classes_on_disk(s, folder, files);
}

/* --- pictures alone ---------------------------------------------------------- */

/* Licences and such beside pictures have no ending. */
static bool
has_ending(const char *name)
{
	const char *base = strrchr(name, '/');

	return strchr(base != NULL ? base + 1 : name, '.') != NULL;
}

int
vq_lister_plain(struct vq_lister *s, const char *folder)
{
	const struct vq_folder *f = s->folder;
	struct vq_picture_files *l = s->l;
	int rc = 0;

	s->l->label_width = VQ_LABEL_NONE;
	if (!f->archive) {
		char *path = vq_folder_path(f, folder);

		rc = list_class(s, path, folder, 0, 0);
		free(path);
	}
	for (int64_t i = 0; i < f->count && rc == 0; i++) {
		const char *name = below(f, &f->member[i], folder);

		if (name != NULL && name[0] != '\0' && f->member[i].kind != VQ_ENTRY_FOLDER && !vq_is_beside(name))
			rc = add_member(s, i, 0);
	}

	int64_t kept = 0;

	for (int64_t i = 0; i < l->count; i++)
		if (has_ending(l->file[i].name))
			l->file[kept++] = l->file[i];
	l->count = kept;
	return rc;
}

/* A picture by its name somewhere in a folder on disk, without going deep. */
static bool
picture_below(const char *path, int depth)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	bool found = false;

	for (int n = 0; dir != NULL && !found && n < LOOK_NAMES && (e = readdir(dir)) != NULL; n++) {
		char *in;

		if (e->d_name[0] == '.')
			continue;
		in = vq_asprintf("%s/%s", path, e->d_name);
		found = entry_is_folder(in, e) ? depth > 0 && picture_below(in, depth - 1) : vq_named_picture(e->d_name);
		free(in);
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/* Whether pictures lie in a folder itself. */
static bool
pictures_in(const struct vq_folder *f, const char *folder)
{
	bool found = false;

	if (!f->archive) {
		char *path = vq_folder_path(f, folder);

		found = picture_below(path, 0);
		free(path);
	}
	for (int64_t i = 0; i < f->count && !found; i++) {
		const char *name = below(f, &f->member[i], folder);

		found = name != NULL && strchr(name, '/') == NULL && vq_named_picture(name);
	}
	return found;
}

static bool
plain_fits(const struct vq_folder *f)
{
	if (!f->archive)
		return picture_below(f->path, LOOK_DEPTH);
	for (int64_t i = 0; i < f->count; i++)
		if (f->member[i].name != NULL && vq_named_picture(f->member[i].name))
			return true;
	return false;
}

static bool
plain_has(const struct vq_folder *f, const char *split)
{
	return strcmp(split, "train") == 0;
}

static int
plain_list(struct vq_lister *s)
{
	struct vq_folder *f = s->folder;

	if (f->archive && f->tops == 1 && !pictures_in(f, ""))
		f->before = f->top[0];
	if (!pictures_in(f, ""))
		return vq_lister_classes(s, "", true);
	s->l->absent = vq_arena_printf(&s->l->arena, "folder for each class in %s", f->path);
	return vq_lister_plain(s, "");
}

const struct vq_layout vq_layout_plain = {
	.doc  = "CLASS/FILE, or pictures alone",
	.fits = plain_fits,
	.has  = plain_has,
	.list = plain_list,
};

/* --- a folder for each split ------------------------------------------------- */

static bool
splits_has(const struct vq_folder *f, const char *split)
{
	for (const char *const *n = vq_split_names(split); *n != NULL; n++)
		if (vq_folder_has_folder(f, *n))
			return true;
	return false;
}

static bool
splits_fits(const struct vq_folder *f)
{
	for (size_t i = 0; i < VQ_COUNT(splits); i++)
		if (splits_has(f, splits[i]))
			return true;
	return false;
}

/* Without a folder of a class in the split, its pictures have no labels. */
static int
splits_list(struct vq_lister *s)
{
	bool classes = false;
	int rc = 0;

	for (size_t i = 0; i < VQ_COUNT(splits); i++)
		for (const char *const *n = vq_split_names(splits[i]); *n != NULL && rc == 0; n++)
			if (vq_folder_has_folder(s->folder, *n))
				rc = vq_lister_classes(s, *n, strcmp(splits[i], s->split) == 0);
	for (int i = 0; i < s->l->classes; i++)
		classes |= s->here[i];
	if (rc < 0 || classes)
		return rc;
	for (const char *const *n = vq_split_names(s->split); *n != NULL && rc == 0; n++)
		if (vq_folder_has_folder(s->folder, *n)) {
			s->l->absent = vq_arena_printf(&s->l->arena, "folder for each class in %s/%s", s->folder->path, *n);
			rc = vq_lister_plain(s, *n);
		}
	if (s->l->count > 0)
		s->l->classes = 0;
	return rc;
}

const struct vq_layout vq_layout_splits = {
	.doc  = "train/CLASS/FILE, test/CLASS/FILE, val/CLASS/FILE",
	.fits = splits_fits,
	.has  = splits_has,
	.list = splits_list,
};
