/*
 * npz -- arrays in .npz files, and the sets of MedMNIST
 *
 * An .npz is a zip of .npy files (numpy.savez).  The pictures and labels of a split are
 * called SPLIT_images and SPLIT_labels (MedMNIST), or x_SPLIT and y_SPLIT (Keras); a file
 * without splits holds one array of pictures, and labels or not, and is a whole split
 * whatever that is called.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/archive.h"
#include "datasets/arrays.h"
#include "engine/checkpoint.h"

enum { MEMBERS_MAX = 64, MEMBER_NAME = 128 };
#define MEMBER_BYTES ((size_t)16 << 30)

static const char *const splits[] = { "train", "test", "val", NULL };

/* Names of the arrays in a file, without .npy. */
struct members {
	char name[MEMBERS_MAX][MEMBER_NAME];
	int count;
};

/* --- what is in it ----------------------------------------------------------- */

static int
list(const char *path, struct members *m, struct vq_diags *d)
{
	struct vq_archive *a = vq_archive_open(path, d);
	struct vq_entry e;
	int rc = -1;

	m->count = 0;
	while (a != NULL && (rc = vq_archive_next(a, &e)) > 0) {
		size_t len = strlen(e.name);

		if (e.kind != VQ_ENTRY_FILE || len < 5 || len - 4 >= MEMBER_NAME || strcmp(e.name + len - 4, ".npy") != 0)
			continue;
		if (m->count == MEMBERS_MAX) {
			vq_error(d, VQ_DATA, NULL, "%s: holds more than %d arrays", path, MEMBERS_MAX);
			rc = -1;
			break;
		}
		memcpy(m->name[m->count], e.name, len - 4);
		m->name[m->count++][len - 4] = '\0';
	}
	vq_archive_close(a);
	return rc;
}

static const char *
member(const struct members *m, const char *name)
{
	for (int i = 0; i < m->count; i++)
		if (strcmp(m->name[i], name) == 0)
			return m->name[i];
	return NULL;
}

/* The two ways of naming the arrays of a split. */
static void
names_of(const char *split, int way, char image[MEMBER_NAME], char label[MEMBER_NAME])
{
	snprintf(image, MEMBER_NAME, way == 0 ? "%s_images" : "x_%s", split);
	snprintf(label, MEMBER_NAME, way == 0 ? "%s_labels" : "y_%s", split);
}

/* Which arrays are the pictures and labels of the split; label "" when there is none.  1: they are all that
 * there is, of whatever split; -1: no pictures. */
static int
choose(const struct members *m, const char *split, char image[MEMBER_NAME], char label[MEMBER_NAME])
{
	static const char *const alone[] = { "images", "x", "data", "arr_0", NULL };
	static const char *const beside[] = { "labels", "y", "arr_1", NULL };
	bool any = false;

	for (int way = 0; way < 2; way++)
		for (int i = 0; splits[i] != NULL; i++) {
			names_of(splits[i], way, image, label);
			any |= member(m, image) != NULL;
		}
	for (int way = 0; any && way < 2; way++) {
		names_of(split, way, image, label);
		if (member(m, image) != NULL) {
			if (member(m, label) == NULL)
				label[0] = '\0';
			return 0;
		}
	}
	if (any)
		return -1;
	image[0] = label[0] = '\0';
	for (int i = 0; alone[i] != NULL && image[0] == '\0'; i++)
		if (member(m, alone[i]) != NULL)
			snprintf(image, MEMBER_NAME, "%s", alone[i]);
	for (int i = 0; beside[i] != NULL && label[0] == '\0'; i++)
		if (member(m, beside[i]) != NULL)
			snprintf(label, MEMBER_NAME, "%s", beside[i]);
	if (image[0] == '\0' && m->count == 1)
		snprintf(image, MEMBER_NAME, "%s", m->name[0]);
	return image[0] != '\0' ? 1 : -1;
}

/* --- reading ----------------------------------------------------------------- */

/* The array that the archive stands at. */
static int
take(struct vq_archive *a, const char *path, const char *name, const char *field, struct vq_array *out,
    struct vq_diags *d)
{
	uint8_t *bytes = NULL;
	size_t cap = 0, n;
	const void *data;
	char *where = vq_asprintf("%s: %s", path, name);
	int rc = vq_archive_read(a, MEMBER_BYTES, &bytes, &cap, &n);

	if (rc == 0)
		vq_error(d, VQ_DATA, NULL, "%s: has more than %zu GB", where, MEMBER_BYTES >> 30);
	*out = (struct vq_array){ .path = where, .field = vq_strdup(field) };
	rc = rc > 0 ? vq_npy_parse(where, bytes, n, &out->type, &data, d) : -1;
	if (rc == 0) {
		size_t size = vq_type_bytes(&out->type);

		/* In place: the header goes, the data move to the beginning, where they are aligned. */
		memmove(bytes, data, size);
		out->data = bytes;
		bytes = NULL;
	}
	free(bytes);
	return rc;
}

static bool
is_array(const struct vq_entry *e, const char *name)
{
	size_t len = strlen(name);

	return e->kind == VQ_ENTRY_FILE && strncmp(e->name, name, len) == 0 && strcmp(e->name + len, ".npy") == 0;
}

/* Pictures into array[0], labels, where there is a name, into array[1]. */
static int
read_arrays(const char *path, const char *image, const char *label, struct vq_array array[2], struct vq_diags *d)
{
	struct vq_archive *a = vq_archive_open(path, d);
	struct vq_entry e;
	int rc = a != NULL ? 0 : -1, left = 1 + (label[0] != '\0');

	while (rc == 0 && left > 0) {
		int more = vq_archive_next(a, &e), which;

		if (more <= 0) {
			if (more == 0)
				vq_error(d, VQ_DATA, NULL, "%s: changed while it was read", path);
			rc = -1;
			break;
		}
		which = is_array(&e, image) ? 0 : is_array(&e, label) ? 1 : -1;
		if (which < 0 || array[which].path != NULL)
			continue;
		rc = take(a, path, which == 0 ? image : label, which == 0 ? "image" : "label", &array[which], d);
		left--;
	}
	vq_archive_close(a);
	return rc;
}

static int
no_pictures(const struct vq_dataset *d, const char *path, const struct members *m, struct vq_diags *diags)
{
	struct vq_diag *e = vq_error(diags, VQ_DATA, NULL, "%s: holds no pictures of the split %s", path, d->split);
	struct vq_text names = { 0 };

	for (int i = 0; i < m->count; i++)
		vq_text_add(&names, "%s%s", i > 0 ? ", " : "", m->name[i]);
	vq_note(e, NULL, "it holds %s; wanted is %s_images or x_%s", m->count > 0 ? names.s : "no arrays", d->split, d->split);
	vq_text_free(&names);
	return -1;
}

static int
open_classes(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, int classes,
    struct vq_diags *diags)
{
	struct vq_array array[2] = { { 0 } };
	char image[MEMBER_NAME], label[MEMBER_NAME];
	struct members m;

	if (list(path, &m, diags) < 0)
		return -1;
	if (choose(&m, d->split, image, label) < 0)
		return no_pictures(d, path, &m, diags);
	d->file[d->files++] = vq_strdup(path);
	if (label[0] == '\0') {
		char wanted[MEMBER_NAME];

		names_of(d->split, image[0] == 'x' && image[1] == '_', image, wanted);
		choose(&m, d->split, image, label);
		d->absent = vq_asprintf("%s in %s", wanted, path);
	}
	if (read_arrays(path, image, label, array, diags) == 0)
		return vq_arrays_open(d, spec, array, array[1].path != NULL ? 2 : 1, classes, diags);
	vq_array_set_free(array, 2);
	return -1;
}

static int
open_npz(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	return open_classes(d, spec, path, 0, diags);
}

static bool
knows(const char *path)
{
	size_t len = strlen(path);
	struct stat st;

	return len > 4 && strcmp(path + len - 4, ".npz") == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static const char *
missing(const char *path, const char *split)
{
	return NULL;
}

static bool
has(const char *path, const char *split)
{
	struct vq_diags unheard = { 0 };
	char image[MEMBER_NAME], label[MEMBER_NAME];
	struct members m;
	int found = list(path, &m, &unheard) == 0 ? choose(&m, split, image, label) : -1;

	vq_diags_free(&unheard);
	return found == 0 || (found == 1 && strcmp(split, splits[0]) == 0);
}

extern const struct vq_source_kind vq_source_npz;

const struct vq_source_kind vq_source_npz = {
	.name    = "arrays in an .npz file",
	.doc     = "pictures of one's own, as numpy saves them",
	.layout  = "SPLIT_images and SPLIT_labels, or x_SPLIT and y_SPLIT, for train, test and val; or one array of pictures, "
	    "and labels",
	.splits  = splits,
	.knows   = knows,
	.missing = missing,
	.has     = has,
	.open    = open_npz,
	VQ_ARRAYS_KIND
};

/* --- MedMNIST (Yang and others 2023, medmnist.com) --------------------------- */

/* The path is the file, or a folder that has it. */
static const char *
med_missing(const char *path, const char *file)
{
	struct stat st;
	char *in = vq_asprintf("%s/%s", path, file);
	bool there = access(in, F_OK) == 0 || (stat(path, &st) == 0 && S_ISREG(st.st_mode));

	free(in);
	return there ? NULL : file;
}

static int
med_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, const char *file, int classes,
    struct vq_diags *diags)
{
	char *in = vq_asprintf("%s/%s", path, file);
	int rc = open_classes(d, spec, access(in, F_OK) == 0 ? in : path, classes, diags);

	free(in);
	return rc;
}

static const char *const med_mirrors[] = { "https://zenodo.org/records/10519652/files/",
	"https://zenodo.org/record/6496656/files/", NULL };

/* A set: its name, what it is, how many classes it has (0: a label is a vector), and the MD5 that its
 * authors give. */
#define MEDMNIST(set, classes, about, sum) \
	static const struct vq_fetch fetch_##set[] = { { #set ".npz", 0, NULL, med_mirrors, sum }, { 0 } }; \
	static const char *const files_##set[] = { #set ".npz", NULL }; \
	static const char *missing_##set(const char *path, const char *split) { return med_missing(path, #set ".npz"); } \
	static int open_##set(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags) \
	{ \
		return med_open(d, spec, path, #set ".npz", classes, diags); \
	} \
	extern const struct vq_source_kind vq_source_##set; \
	const struct vq_source_kind vq_source_##set = { \
		.name    = #set, \
		.doc     = about, \
		.layout  = #set ".npz as its authors publish it (medmnist.com)", \
		.from    = "MedMNIST: 18x Standardized Datasets for 2D and 3D Biomedical Image Classification, https://medmnist.com, " \
		    "https://zenodo.org/records/10519652", \
		.folder  = "medmnist", \
		.fetch   = fetch_##set, \
		.files   = files_##set, \
		.splits  = splits, \
		.missing = missing_##set, \
		.open    = open_##set, \
		VQ_ARRAYS_KIND \
	}

MEDMNIST(chestmnist, 0, "chest X-rays, 28x28 grey, 14 findings each there or not; 78,468 to train, 22,433 to test",
    "02c8a6516a18b556561a56cbdd36c4a8");
MEDMNIST(bloodmnist, 8, "blood cells, 28x28 in colour, 8 classes; 11,959 to train, 3,421 to test",
    "7053d0359d879ad8a5505303e11de1dc");
MEDMNIST(dermamnist, 7, "skin lesions, 28x28 in colour, 7 classes; 7,007 to train, 2,005 to test",
    "0744692d530f8e62ec473284d019b0c7");
MEDMNIST(octmnist, 4, "retinal OCT, 28x28 grey, 4 classes; 97,477 to train, 1,000 to test",
    "c68d92d5b585d8d81f7112f81e2d0842");
MEDMNIST(tissuemnist, 8, "kidney cortex cells, 28x28 grey, 8 classes; 165,466 to train, 47,280 to test",
    "ebe78ee8b05294063de985d821c1c34b");
MEDMNIST(pneumoniamnist, 2, "chest X-rays of children, 28x28 grey, 2 classes; 4,708 to train, 624 to test",
    "28209eda62fecd6e6a2d98b1501bb15f");
MEDMNIST(retinamnist, 5, "fundus photographs, 28x28 in colour, 5 grades; 1,080 to train, 400 to test",
    "bd4c0672f1bba3e3a89f0e4e876791e4");
