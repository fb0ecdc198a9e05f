/*
 * folder -- the files of a folder, on disk or in an archive
 */
#include "datasets/folder.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"

enum { MEMBERS_MAX = 1 << 24, FOLDER = INT_MAX };
#define LISTS_MOST ((size_t)1 << 30)	/* bytes of lists of an archive that are kept */

static bool
ends_in(const char *name, const char *const *ends, size_t n)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot != NULL && i < n; i++)
		if (strcasecmp(dot, ends[i]) == 0)
			return true;
	return false;
}

bool
vq_named_picture(const char *name)
{
	static const char *const ends[] = { ".jpg", ".jpeg", ".png" };

	return ends_in(name, ends, VQ_COUNT(ends));
}

static bool
named_list(const char *name)
{
	static const char *const ends[] = { ".txt", ".csv", ".tsv", ".mat" };

	return ends_in(name, ends, VQ_COUNT(ends));
}

/* No name is ever opened, but one that climbs out of its folder is of no set. */
static bool
climbs(const char *name)
{
	if (name[0] == '/')
		return true;
	for (; name != NULL; name = strchr(name, '/')) {
		name += *name == '/';
		if (name[0] == '.' && name[1] == '.' && (name[2] == '/' || name[2] == '\0'))
			return true;
	}
	return false;
}

/* --- an archive -------------------------------------------------------------- */

static void
add_top(struct vq_folder *f, const char *name)
{
	const char *slash = strchr(name, '/');
	size_t len = slash != NULL ? (size_t)(slash + 1 - name) : 0;

	if (len == 0 || f->tops == VQ_FOLDER_TOPS)
		return;
	for (int i = f->tops - 1; i >= 0; i--)
		if (strlen(f->top[i]) == len && memcmp(f->top[i], name, len) == 0)
			return;
	f->top[f->tops++] = vq_arena_strndup(&f->arena, name, len);
}

/* The folders that a name is in. */
static void
index_folders(struct vq_folder *f, const char *name, struct vq_text *scratch)
{
	size_t len = strlen(name);

	scratch->len = 0;
	vq_text_put(scratch, name, len);
	while (len > 0) {
		while (len > 0 && scratch->s[len - 1] != '/')
			len--;
		if (len == 0)
			return;
		scratch->s[--len] = '\0';
		if (vq_names_get(&f->index, scratch->s) >= 0)
			return;
		vq_names_put(&f->index, vq_arena_strdup(&f->arena, scratch->s), FOLDER);
	}
}

static int
keep_list(struct vq_folder *f, struct vq_archive *a, const char *name, size_t *total)
{
	struct vq_folder_list *l;
	uint8_t *bytes = NULL;
	size_t cap = 0, n = 0;
	int rc = vq_archive_read(a, VQ_LIST_FILE, &bytes, &cap, &n);

	if (rc <= 0 || *total + n > LISTS_MOST) {
		free(bytes);
		return rc < 0 ? -1 : 0;
	}
	*total += n;
	if (f->lists == f->list_cap)
		f->list = vq_grow_to(f->list, &f->list_cap, sizeof(*f->list));
	l = &f->list[f->lists++];
	*l = (struct vq_folder_list){ name, vq_realloc_array(bytes, n + 1, 1), n };
	l->bytes[n] = '\0';
	return 0;
}

static int
add_member(struct vq_folder *f, struct vq_archive *a, const struct vq_entry *e, struct vq_text *scratch, size_t *total,
    struct vq_diags *d)
{
	struct vq_member *m;
	char *name;
	size_t len;

	if (f->count == MEMBERS_MAX) {
		vq_error(d, VQ_DATA, NULL, "%s: holds more than %d files", f->path, MEMBERS_MAX);
		return -1;
	}
	if (f->count == f->cap) {
		f->cap = f->cap > 0 ? 2 * f->cap : 1024;
		f->member = vq_realloc_array(f->member, (size_t)f->cap, sizeof(*f->member));
	}
	m = &f->member[f->count++];
	*m = (struct vq_member){ NULL, e->kind };
	/* What Macs put beside everything. */
	if (climbs(e->name) || strncmp(e->name, "__MACOSX/", 9) == 0 || e->name[0] == '\0')
		return 0;
	m->name = name = vq_arena_strdup(&f->arena, e->name);
	add_top(f, name);
	for (len = strlen(name); e->kind == VQ_ENTRY_FOLDER && len > 1 && name[len - 1] == '/';)
		name[--len] = '\0';
	index_folders(f, name, scratch);
	return e->kind == VQ_ENTRY_FILE && named_list(name) ? keep_list(f, a, name, total) : 0;
}

static int
open_archive(struct vq_folder *f, struct vq_diags *d)
{
	struct vq_archive *a = vq_archive_open(f->path, d);
	struct vq_text scratch = { 0 };
	struct vq_entry e;
	size_t total = 0;
	int more = a != NULL ? 1 : -1;

	while (more > 0) {
		more = vq_archive_next(a, &e);
		if (more > 0 && add_member(f, a, &e, &scratch, &total, d) < 0)
			more = -1;
	}
	vq_archive_close(a);
	vq_text_free(&scratch);
	/* From the last: of members of one name it is the one that counts. */
	for (int64_t i = f->count - 1; i >= 0 && more == 0; i--)
		if (f->member[i].name != NULL)
			vq_names_put(&f->index, f->member[i].name, f->member[i].kind == VQ_ENTRY_FOLDER ? FOLDER : (int)i);
	return more;
}

/* --- either ------------------------------------------------------------------ */

int
vq_folder_open(struct vq_folder *f, const char *path, struct vq_diags *d)
{
	struct stat st;

	*f = (struct vq_folder){ .before = "" };
	f->path = vq_arena_strdup(&f->arena, path);
	f->archive = !(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
	return f->archive ? open_archive(f, d) : 0;
}

void
vq_folder_close(struct vq_folder *f)
{
	for (int i = 0; i < f->lists; i++)
		free(f->list[i].bytes);
	free(f->list);
	free(f->member);
	vq_names_free(&f->index);
	vq_arena_free(&f->arena);
	memset(f, 0, sizeof(*f));
}

static int
lookup(const struct vq_folder *f, const char *name)
{
	char *full = vq_asprintf("%s%s", f->before, name);
	int found = vq_names_get(&f->index, full);

	free(full);
	return found;
}

char *
vq_folder_path(const struct vq_folder *f, const char *name)
{
	return vq_asprintf("%s/%s%s", f->path, f->before, name);
}

/* 1 a folder, 0 something else, -1 nothing. */
static int
look(const struct vq_folder *f, const char *name)
{
	struct stat st;
	char *path;
	int rc;

	if (f->archive) {
		rc = lookup(f, name);
		return rc < 0 ? -1 : rc == FOLDER;
	}
	path = vq_folder_path(f, name);
	rc = stat(path, &st) == 0 ? S_ISDIR(st.st_mode) : -1;
	free(path);
	return rc;
}

bool
vq_folder_has(const struct vq_folder *f, const char *name)
{
	return look(f, name) >= 0;
}

bool
vq_folder_has_folder(const struct vq_folder *f, const char *name)
{
	return look(f, name) == 1;
}

int64_t
vq_folder_member(const struct vq_folder *f, const char *name)
{
	int found;

	if (!f->archive)
		return 0;
	found = lookup(f, name);
	return found == FOLDER ? -1 : found;
}

char *
vq_folder_read(const struct vq_folder *f, const char *name, size_t *n, struct vq_diags *d)
{
	char *path = vq_folder_path(f, name), *bytes = NULL;

	if (!f->archive) {
		bytes = vq_file_read(path, VQ_LIST_FILE, n, VQ_DATA, d);
		free(path);
		return bytes;
	}
	free(path);
	path = vq_asprintf("%s%s", f->before, name);
	for (int i = f->lists - 1; i >= 0 && bytes == NULL; i--)
		if (strcmp(f->list[i].name, path) == 0) {
			*n = f->list[i].n;
			bytes = vq_realloc_array(NULL, *n + 1, 1);
			memcpy(bytes, f->list[i].bytes, *n + 1);
		}
	if (bytes == NULL)
		vq_error(d, VQ_DATA, NULL, "%s: %s %s", f->path, path, vq_names_get(&f->index, path) < 0 ? "is missing" :
		    "is too large, or no file");
	free(path);
	return bytes;
}
