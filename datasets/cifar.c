/*
 * cifar -- CIFAR-10 and CIFAR-100: 32x32 colour pictures of 10 and of 100 classes
 *
 * The binary version (Krizhevsky, cs.toronto.edu/~kriz/cifar.html) is files of
 * records: the label (CIFAR-100: the coarse one, then the fine one, which is used), then
 * the red, green and blue planes.  They are read from a folder or from the archive as it
 * was downloaded.  The named sets are found as pictures in folders, too.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/archive.h"
#include "datasets/images.h"
#include "datasets/pictures.h"
#include "engine/file.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, MAX_FILES = 5, FILE_MAX = 1 << 29 };

static const char *const names10[] = {
	"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
};

static const char *const names100[] = {
	"apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
	"bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
	"chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
	"dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
	"lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
	"mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
	"plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
	"rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
	"squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
	"train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"
};

/* The two sets. */
struct variety {
	const char *inside;		/* the folder in the archive */
	const char *train[MAX_FILES + 1], *test[2];
	int64_t labels;			/* bytes before the planes; the last one counts */
	int classes;
	const char *const *class_name;
};

static const struct variety varieties[] = {
	{ "cifar-10-batches-bin", { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
	  "data_batch_5.bin" }, { "test_batch.bin" }, 1, 10, names10 },
	{ "cifar-100-binary", { "train.bin" }, { "test.bin" }, 2, 100, names100 },
};

static const char *const *
files_of(const struct variety *v, const char *split)
{
	return strcmp(split, "train") == 0 ? v->train : v->test;
}

/* --- where they are ---------------------------------------------------------- */

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The path of a file in the folder, or in the folder that the archive makes there; NULL: neither. */
static char *
path_of(const struct variety *v, const char *folder, const char *name)
{
	char *path = vq_asprintf("%s/%s", folder, name);

	if (access(path, F_OK) < 0) {
		free(path);
		path = vq_asprintf("%s/%s/%s", folder, v->inside, name);
	}
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static const char *
binary_missing(const struct variety *v, const char *folder, const char *split)
{
	for (const char *const *name = files_of(v, split); *name != NULL; name++) {
		char *path = path_of(v, folder, *name);

		if (path == NULL)
			return *name;
		free(path);
	}
	return NULL;
}

/* Archives are told by the names that they were published under. */
static bool
is_binary_archive(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base != NULL ? base + 1 : path;
	return vq_archive_named(path) && !is_folder(path) && access(path, F_OK) == 0 &&
	    (strncmp(base, "cifar-10-binary", 15) == 0 || strncmp(base, "cifar-100-binary", 16) == 0);
}

/* Which one a path holds in binary form, or NULL. */
static const struct variety *
variety_at(const char *path)
{
	if (is_binary_archive(path))
		return &varieties[strstr(path, "cifar-100-binary") != NULL];
	for (size_t i = 0; is_folder(path) && i < VQ_COUNT(varieties); i++)
		if (binary_missing(&varieties[i], path, "train") == NULL ||
		    binary_missing(&varieties[i], path, "test") == NULL)
			return &varieties[i];
	return NULL;
}

static bool
knows(const char *path)
{
	return variety_at(path) != NULL;
}

static const char *
missing(const char *path, const char *split)
{
	const struct variety *v = variety_at(path);

	if (v != NULL && is_folder(path))
		return binary_missing(v, path, split);
	if (v != NULL)
		return NULL;
	return vq_pictures_there(path) ? vq_pictures_missing(path, split) : "data in binary form or as pictures";
}

/* --- reading ----------------------------------------------------------------- */

/* A split on its way: the bytes of its files, one after the other in the order of their names. */
struct reading {
	const struct variety *v;
	const char *const *name;
	bool archive;
	uint8_t *bytes[MAX_FILES];
	size_t size[MAX_FILES];
	struct vq_diags *diags;
};

static int
read_folder(struct reading *r, struct vq_dataset *d, const char *folder)
{
	for (int i = 0; r->name[i] != NULL; i++) {
		char *path = path_of(r->v, folder, r->name[i]);

		if (path == NULL) {
			vq_error(r->diags, VQ_DATA, NULL, "%s: %s is missing", folder, r->name[i]);
			return -1;
		}
		d->file[d->files++] = path;
		r->bytes[i] = (uint8_t *)vq_file_read(path, FILE_MAX, &r->size[i], VQ_DATA, r->diags);
		if (r->bytes[i] == NULL)
			return -1;
	}
	return 0;
}

/* Which file of the split an entry is, -1: none. */
static int
wanted(const struct reading *r, const struct vq_entry *e)
{
	const char *base = strrchr(e->name, '/');

	base = base != NULL ? base + 1 : e->name;
	for (int i = 0; e->kind == VQ_ENTRY_FILE && r->name[i] != NULL; i++)
		if (strcmp(r->name[i], base) == 0)
			return i;
	return -1;
}

static int
read_entries(struct reading *r, struct vq_archive *a, const char *path)
{
	struct vq_entry e;
	int more;

	while ((more = vq_archive_next(a, &e)) > 0) {
		int i = wanted(r, &e), rc;
		size_t cap = 0;

		if (i < 0)
			continue;
		if (r->bytes[i] != NULL) {
			vq_error(r->diags, VQ_DATA, NULL, "%s: holds %s twice", path, r->name[i]);
			return -1;
		}
		rc = vq_archive_read(a, FILE_MAX, &r->bytes[i], &cap, &r->size[i]);
		if (rc == 0)
			vq_error(r->diags, VQ_DATA, NULL, "%s: %s has more than %d MB", path, r->name[i], FILE_MAX >> 20);
		if (rc <= 0)
			return -1;
	}
	return more;
}

static int
read_archive(struct reading *r, struct vq_dataset *d, const char *path)
{
	struct vq_archive *a = vq_archive_open(path, r->diags);
	int rc = a != NULL ? read_entries(r, a, path) : -1;

	vq_archive_close(a);
	d->file[d->files++] = vq_strdup(path);
	for (int i = 0; rc == 0 && r->name[i] != NULL; i++)
		if (r->bytes[i] == NULL) {
			vq_error(r->diags, VQ_DATA, NULL, "%s: %s is missing", path, r->name[i]);
			rc = -1;
		}
	return rc;
}

static int
damaged(const struct reading *r, const struct vq_dataset *d, int i, const char *why)
{
	const char *path = d->file[r->archive ? 0 : i];
	struct vq_diag *e = r->archive ? vq_error(r->diags, VQ_DATA, NULL, "%s: %s %s", path, r->name[i], why) :
	    vq_error(r->diags, VQ_DATA, NULL, "%s: %s", path, why);

	if (d->kind->fetch != NULL)
		vq_help(e, "remove the file and get a good copy: vqgraph data fetch %s", d->kind->name);
	else
		vq_help(e, "replace the file by a good copy");
	return -1;
}

/* From planes to pixels. */
static int
take_record(const struct reading *r, const uint8_t *record, uint8_t *pixels, int32_t *label)
{
	const uint8_t *plane = record + r->v->labels;

	*label = record[r->v->labels - 1];
	if (*label >= r->v->classes)
		return -1;
	for (int k = 0; k < PLANE; k++)
		for (int c = 0; c < 3; c++)
			*pixels++ = plane[c * PLANE + k];
	return 0;
}

static int
take_all(const struct reading *r, const struct vq_dataset *d, struct vq_raw_images *raw)
{
	size_t record = (size_t)r->v->labels + PIXELS;
	char why[128];
	int64_t n = 0;

	for (int i = 0; r->name[i] != NULL; i++) {
		if (r->size[i] == 0 || r->size[i] % record != 0) {
			snprintf(why, sizeof(why), "has %zu bytes: cut, or no file of records of %zu bytes", r->size[i], record);
			return damaged(r, d, i, why);
		}
		n += (int64_t)(r->size[i] / record);
	}
	raw->pixels = vq_alloc_array((size_t)n, PIXELS);
	raw->labels = vq_alloc_array((size_t)n, sizeof(*raw->labels));
	for (int i = 0; r->name[i] != NULL; i++)
		for (size_t at = 0; at < r->size[i]; at += record, raw->n++)
			if (take_record(r, r->bytes[i] + at, raw->pixels + raw->n * PIXELS, raw->labels + raw->n) < 0) {
				snprintf(why, sizeof(why), "has label %d in record %zu: out of range, 0 to %d",
				    raw->labels[raw->n], at / record, r->v->classes - 1);
				return damaged(r, d, i, why);
			}
	return 0;
}

static int
open_binary(struct vq_dataset *d, const struct variety *v, const struct vq_data_spec *spec, const char *path,
    struct vq_diags *diags)
{
	struct reading r = { .v = v, .name = files_of(v, d->split), .archive = !is_folder(path), .diags = diags };
	struct vq_raw_images raw = { .h = SIDE, .w = SIDE, .c = 3, .classes = v->classes };
	int rc = r.archive ? read_archive(&r, d, path) : read_folder(&r, d, path);

	if (rc == 0)
		rc = take_all(&r, d, &raw);
	for (int i = 0; i < MAX_FILES; i++)
		free(r.bytes[i]);
	if (rc == 0) {
		d->class_name = v->class_name;
		return vq_images_open(d, spec, &raw, diags);
	}
	free(raw.pixels);
	free(raw.labels);
	return -1;
}

/* In whichever form it is there; the named sets must be what their name says. */
static int
open_cifar(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	const struct variety *v = variety_at(path);
	int classes = strcmp(d->kind->name, "cifar10") == 0 ? 10 : strcmp(d->kind->name, "cifar100") == 0 ? 100 : 0;
	int rc = v != NULL ? open_binary(d, v, spec, path, diags) : vq_pictures_open(d, spec, path, diags);

	if (rc == 0 && classes != 0 && d->classes != classes) {
		vq_error(diags, VQ_DATA, spec->at, "%s: holds %d classes; %s has %d", path, d->classes, d->kind->name, classes);
		return -1;
	}
	return rc;
}

/* --- the sets ---------------------------------------------------------------- */

static const char *const mirrors[] = { "https://www.cs.toronto.edu/~kriz/", NULL };

static const struct vq_fetch fetch10[] = {
	{ "cifar-10-binary.tar.gz", 170052171,
	  "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", mirrors },
	{ 0 }
};

static const struct vq_fetch fetch100[] = {
	{ "cifar-100-binary.tar.gz", 0,
	  "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", mirrors },
	{ 0 }
};

static const char *const files10[] = { "cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar-10-binary.tar",
	"cifar10.tar", "cifar10-jpeg.tar", "cifar10-png.tar", NULL };
static const char *const files100[] = { "cifar-100-binary", "cifar-100-binary.tar.gz", "cifar-100-binary.tar",
	"cifar100.tar", "cifar100-jpeg.tar", "cifar100-png.tar", NULL };

#define FILES10 "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or cifar-10-binary.tar.gz"
#define FILES100 "train.bin and test.bin, or cifar-100-binary.tar.gz"
#define PICTURES "train/CLASS/FILE and test/CLASS/FILE, JPEG or PNG, also in "

extern const struct vq_source_kind vq_source_cifar10, vq_source_cifar100, vq_source_cifar_files;

const struct vq_source_kind vq_source_cifar10 = {
	.name    = "cifar10",
	.doc     = "small photographs, 32x32 in colour, 10 classes; 50,000 to train, 10,000 to test",
	.layout  = FILES10 "; or " PICTURES "cifar10.tar, cifar10-jpeg.tar, cifar10-png.tar",
	.from    = "The CIFAR-10 dataset, https://www.cs.toronto.edu/~kriz/cifar.html, binary version (170 MB)",
	.folder  = "cifar10",
	.files   = files10,
	.fetch   = fetch10,
	.missing = missing,
	.open    = open_cifar,
	.digest  = vq_images_digest,
	VQ_IMAGES_KIND
};

const struct vq_source_kind vq_source_cifar100 = {
	.name    = "cifar100",
	.doc     = "small photographs, 32x32 in colour, 100 classes; 50,000 to train, 10,000 to test",
	.layout  = FILES100 "; or " PICTURES "cifar100.tar, cifar100-jpeg.tar, cifar100-png.tar",
	.from    = "The CIFAR-100 dataset, https://www.cs.toronto.edu/~kriz/cifar.html, binary version (169 MB)",
	.folder  = "cifar100",
	.files   = files100,
	.fetch   = fetch100,
	.missing = missing,
	.open    = open_cifar,
	.digest  = vq_images_digest,
	VQ_IMAGES_KIND
};

/* A path given as source. */
const struct vq_source_kind vq_source_cifar_files = {
	.name    = "CIFAR's binary files",
	.doc     = "CIFAR-10 or CIFAR-100 in binary form",
	.layout  = FILES10 "; " FILES100,
	.knows   = knows,
	.missing = missing,
	.open    = open_cifar,
	.digest  = vq_images_digest,
	VQ_IMAGES_KIND
};
