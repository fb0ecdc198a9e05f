/*
 * arrays -- a folder of npy arrays: <split>.<field>.npy, one row for each sample
 *
 * What a stage of `do: encode` leaves behind and `data: {stage: ...}` reads.  The fields are
 * the files that are there; all of a split must have as many rows.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"
#include "engine/checkpoint.h"

struct arrays {
	char *name[VQ_MAX_FIELDS];
	char *data[VQ_MAX_FIELDS];
	size_t row[VQ_MAX_FIELDS];	/* bytes */
	int64_t skip;
};

/* "code" of "train.code.npy"; NULL when the file is not of the split. */
static char *
field_name(const char *file, const char *split)
{
	size_t n = strlen(file), s = strlen(split);

	if (n < s + 6 || strncmp(file, split, s) != 0 || file[s] != '.' || strcmp(file + n - 4, ".npy") != 0)
		return NULL;
	return vq_strndup(file + s + 1, n - s - 5);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
holds(const char *folder, const char *split)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	bool found = false;
	char *name;

	while (dir && !found && (e = readdir(dir)) != NULL)
		if ((name = field_name(e->d_name, split)) != NULL) {
			found = true;
			free(name);
		}
	if (dir)
		closedir(dir);
	return found;
}

static const char *const splits[] = { "train", "test", "val", NULL };

static bool
knows(const char *path)
{
	for (int i = 0; splits[i]; i++)
		if (holds(path, splits[i]))
			return true;
	return false;
}

static const char *
missing(const char *path, const char *split)
{
	static const char *const what[] = { "train.*.npy", "test.*.npy", "val.*.npy" };

	for (int i = 0; splits[i]; i++)
		if (strcmp(split, splits[i]) == 0)
			return holds(path, split) ? NULL : what[i];
	return "such a split";
}

/* Sets d->fields and own->name, in the order of the alphabet. */
static int
list_fields(struct vq_dataset *d, struct arrays *own, const char *folder, struct vq_diags *diags)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	char *name;

	if (dir == NULL) {
		vq_error(diags, VQ_DATA, NULL, "%s: %s", folder, strerror(errno));
		return -1;
	}
	while ((e = readdir(dir)) != NULL && d->fields < VQ_MAX_FIELDS)
		if ((name = field_name(e->d_name, d->split)) != NULL)
			own->name[d->fields++] = name;
	closedir(dir);
	qsort(own->name, (size_t)d->fields, sizeof(*own->name), by_name);
	if (d->fields > 0)
		return 0;
	vq_error(diags, VQ_DATA, NULL, "%s: there is no array of the split %s", folder, d->split);
	return -1;
}

static int
read_field(struct vq_dataset *d, struct arrays *own, int f, const char *folder, struct vq_diags *diags)
{
	struct vq_type t;
	void *data;

	d->file[d->files++] = vq_asprintf("%s/%s.%s.npy", folder, d->split, own->name[f]);
	if (vq_npy_read(d->file[d->files - 1], &t, &data, diags) < 0) {
		if (diags->count > 0)		/* an array of data, not of weights */
			diags->diag[diags->count - 1]->status = VQ_DATA;
		return -1;
	}
	own->data[f] = data;
	if (t.shape.rank < 1 || (f > 0 && t.shape.dim[0] != d->count)) {
		char buf[VQ_TYPE_STR];
		vq_error(diags, VQ_DATA, NULL, "%s: is %s, and %s has %lld samples", d->file[d->files - 1],
		    vq_type_str(&t, buf), d->file[0], (long long)d->count);
		return -1;
	}
	d->count = t.shape.dim[0];
	t.shape.rank--;
	memmove(t.shape.dim, t.shape.dim + 1, (size_t)t.shape.rank * sizeof(*t.shape.dim));
	own->row[f] = vq_type_bytes(&t);
	d->field[f] = (struct vq_field){ own->name[f], t };
	return 0;
}

static int
open_arrays(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder, struct vq_diags *diags)
{
	struct arrays *own = vq_alloc(sizeof(*own));

	d->own = own;
	d->lo = spec->lo;
	d->hi = spec->hi;
	if (list_fields(d, own, folder, diags) < 0)
		return -1;
	for (int f = 0; f < d->fields; f++)
		if (read_field(d, own, f, folder, diags) < 0)
			return -1;
	own->skip = spec->skip < d->count ? spec->skip : d->count;
	d->count -= own->skip;
	if (spec->limit > 0 && spec->limit < d->count)
		d->count = spec->limit;
	return 0;
}

static void
gather_rows(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	const struct arrays *own = d->own;

	for (int64_t i = 0; i < n; i++)
		memcpy((char *)out + (size_t)i * own->row[f],
		    own->data[f] + (size_t)(index[i] + own->skip) * own->row[f], own->row[f]);
}

static void
close_arrays(struct vq_dataset *d)
{
	struct arrays *own = d->own;

	for (int f = 0; own && f < VQ_MAX_FIELDS; f++) {
		free(own->name[f]);
		free(own->data[f]);
	}
	free(own);
}

extern const struct vq_source_kind vq_source_arrays;
const struct vq_source_kind vq_source_arrays = {
	.name = "arrays",
	.doc = "npy arrays in a folder, a row for each sample",
	.layout = "train.<field>.npy, test.<field>.npy",
	.splits = splits,
	.knows = knows,
	.missing = missing,
	.open = open_arrays,
	.gather = gather_rows,
	.close = close_arrays,
};
