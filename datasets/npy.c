/*
 * npy -- arrays in .npy files
 *
 * One file is a whole split, whatever the split is called: pictures (u8 or f32), or
 * codes (whole numbers); its labels lie in a file that is named, or in NAME.label.npy
 * beside NAME.npy.  A folder holds SPLIT.FIELD.npy, a file for each field of a split.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/arrays.h"
#include "engine/checkpoint.h"

static const char *const splits[] = { "train", "test", "val", NULL };

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len > n && strcmp(s + len - n, end) == 0;
}

static int
read_array(struct vq_array *a, char *path, const char *field, struct vq_diags *d)
{
	*a = (struct vq_array){ .path = path, .field = vq_strdup(field) };
	return vq_npy_read(path, &a->type, &a->data, d);
}

/* --- one file ---------------------------------------------------------------- */

/* NAME.label.npy for NAME.npy and for NAME.FIELD.npy. */
static char *
label_beside(const char *path)
{
	size_t len = strlen(path) - strlen(".npy");
	char *at = vq_asprintf("%.*s.label.npy", (int)len, path);
	const char *base, *dot;

	if (access(at, F_OK) == 0)
		return at;
	base = strrchr(path, '/');
	base = base != NULL ? base + 1 : path;
	dot = memrchr(base, '.', (size_t)(path + len - base));
	if (dot == NULL || dot == base)
		return at;
	free(at);
	return vq_asprintf("%.*s.label.npy", (int)(dot - path), path);
}

static bool
is_pictures(const struct vq_type *t)
{
	return (t->dtype == VQ_U8 || t->dtype == VQ_F32 || t->dtype == VQ_F64) && t->shape.rank >= 3;
}

static int
open_file(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	struct vq_array array[2] = { { 0 } };
	struct vq_arena arena = { 0 };
	char *label = spec->labels != NULL ? vq_strdup(vq_data_path(spec, spec->labels, &arena)) : label_beside(path);
	int n = 1, rc = read_array(&array[0], vq_strdup(path), "", diags);

	vq_arena_free(&arena);
	free(array[0].field);
	array[0].field = vq_strdup(is_pictures(&array[0].type) ? "image" : "code");
	d->file[d->files++] = vq_strdup(path);
	if (rc == 0 && access(label, F_OK) < 0 && spec->labels != NULL) {
		vq_error(diags, VQ_DATA, spec->at, "%s: the labels of %s: %s", label, path, strerror(errno));
		rc = -1;
	} else if (access(label, F_OK) < 0) {
		d->absent = label;
		label = NULL;
	} else {
		d->file[d->files++] = vq_strdup(label);
		n = 2;
		if (rc == 0)
			rc = read_array(&array[1], label, "label", diags);
		label = NULL;
	}
	free(label);
	if (rc == 0)
		return vq_arrays_open(d, spec, array, n, 0, diags);
	vq_array_set_free(array, n);
	return -1;
}

/* --- a folder ---------------------------------------------------------------- */

/* The fields that a folder has of a split, sorted, image first; how many. */
static int
fields_of(const char *folder, const char *split, char *field[VQ_MAX_FIELDS], struct vq_diags *d)
{
	size_t before = strlen(split), end = strlen(".npy");
	DIR *dir = opendir(folder);
	const struct dirent *e;
	int n = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		size_t len = strlen(e->d_name);

		if (!ends_with(e->d_name, ".npy") || strncmp(e->d_name, split, before) != 0 || e->d_name[before] != '.' ||
		    len <= before + 1 + end)
			continue;
		if (n == VQ_MAX_FIELDS) {
			if (d != NULL)
				vq_error(d, VQ_DATA, NULL, "%s: more than %d fields of the split %s", folder, VQ_MAX_FIELDS, split);
			n = d != NULL ? -n - 1 : n;
			break;
		}
		field[n++] = vq_strndup(e->d_name + before + 1, len - before - 1 - end);
	}
	if (dir != NULL)
		closedir(dir);
	/* By name, but pictures come first; sorted by hand: there are four at most. */
	for (int i = 1; i < n; i++)
		for (int k = i; k > 0; k--) {
			bool first = strcmp(field[k], "image") == 0 ||
			    (strcmp(field[k - 1], "image") != 0 && strcmp(field[k], field[k - 1]) < 0);

			if (first) {
				char *swap = field[k];

				field[k] = field[k - 1];
				field[k - 1] = swap;
			}
		}
	return n;
}

static void
free_fields(char *field[VQ_MAX_FIELDS])
{
	for (int i = 0; i < VQ_MAX_FIELDS; i++)
		free(field[i]);
}

static int
open_folder(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder, struct vq_diags *diags)
{
	struct vq_array array[VQ_MAX_FIELDS] = { { 0 } };
	char *field[VQ_MAX_FIELDS] = { NULL };
	int n = fields_of(folder, d->split, field, diags), rc = n > 0 ? 0 : -1;
	bool label = false;

	for (int i = 0; i < n && rc == 0; i++) {
		char *path = vq_asprintf("%s/%s.%s.npy", folder, d->split, field[i]);

		d->file[d->files++] = vq_strdup(path);
		label |= strcmp(field[i], "label") == 0;
		rc = read_array(&array[i], path, field[i], diags);
	}
	free_fields(field);
	if (rc < 0) {
		vq_array_set_free(array, VQ_MAX_FIELDS);
		return -1;
	}
	size_t length = strlen(folder);
	if (!label)
		d->absent = vq_asprintf("%.*s/%s.label.npy", (int)(length > 0 && folder[length - 1] == '/' ? length - 1 : length), folder, d->split);
	return vq_arrays_open(d, spec, array, n, 0, diags);
}

/* --- the source -------------------------------------------------------------- */

static const char *
folder_missing(const char *folder, const char *split)
{
	static const char *const lack[] = { "train.FIELD.npy", "test.FIELD.npy", "val.FIELD.npy" };
	char *field[VQ_MAX_FIELDS] = { NULL };
	bool there = fields_of(folder, split, field, NULL) > 0;

	free_fields(field);
	for (int i = 0; splits[i] != NULL; i++)
		if (!there && strcmp(splits[i], split) == 0)
			return lack[i];
	return NULL;
}

static const char *
missing(const char *path, const char *split)
{
	return is_folder(path) ? folder_missing(path, split) : NULL;
}

/* One file is a split of any name; it is listed once. */
static bool
has(const char *path, const char *split)
{
	return is_folder(path) ? folder_missing(path, split) == NULL : strcmp(split, splits[0]) == 0;
}

static bool
knows(const char *path)
{
	if (!is_folder(path))
		return ends_with(path, ".npy");
	for (int i = 0; splits[i] != NULL; i++)
		if (folder_missing(path, splits[i]) == NULL)
			return true;
	return false;
}

static int
open_npy(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	if (!is_folder(path))
		return open_file(d, spec, path, diags);
	if (spec->labels == NULL)
		return open_folder(d, spec, path, diags);
	vq_error(diags, VQ_CONFIG, spec->at, "data: labels is for a source that is one .npy file; %s is a folder", path);
	return -1;
}

extern const struct vq_source_kind vq_source_npy;

const struct vq_source_kind vq_source_npy = {
	.name    = "arrays in .npy files",
	.doc     = "pictures or codes of one's own, as numpy saves them",
	.labels  = true,
	.layout  = "NAME.npy with labels in NAME.label.npy or in the file that labels: names; or a folder of "
	    "train.FIELD.npy, test.FIELD.npy, val.FIELD.npy (FIELD: image, code, label)",
	.splits  = splits,
	.knows   = knows,
	.missing = missing,
	.has     = has,
	.open    = open_npy,
	VQ_ARRAYS_KIND
};
