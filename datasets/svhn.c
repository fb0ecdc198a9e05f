/*
 * svhn -- street view house numbers: 32x32 colour pictures of digits, in MATLAB's files (mat.h)
 *
 * X is u8 [32, 32, 3, n], its first index the fastest; y is 1 to 10, where 10 is the digit 0.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datasets/images.h"
#include "datasets/mat.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE * 3 };

static const char *const splits[] = { "train", "test", "extra", NULL };
static const char *const names[] = { "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat" };
static const char *const arrays[] = { "X", "y", NULL };

/* --- the set ----------------------------------------------------------------- */

/* From columns of planes to pixels. */
static int
convert(const struct vq_mat *m, struct vq_raw_images *raw)
{
	const struct vq_mat_array *x = vq_mat_find(m, "X"), *y = vq_mat_find(m, "y");

	if (x == NULL || y == NULL)
		return vq_mat_refuse(m, "%s", x == NULL ? "holds no X" : "holds no y: its labels are missing");
	if (x->dim[0] != SIDE || x->dim[1] != SIDE || x->dim[2] != 3 || !vq_mat_bytes(x))
		return vq_mat_refuse(m, "X is not u8 [32, 32, 3, n]");
	raw->n = x->dim[3];
	if (y->n != raw->n)
		return vq_mat_refuse(m, "X and y are not of as many samples");
	raw->pixels = vq_alloc_array((size_t)raw->n, PIXELS);
	raw->labels = vq_alloc_array((size_t)raw->n, sizeof(*raw->labels));
	for (int64_t i = 0; i < raw->n; i++) {
		const uint8_t *from = x->data + i * PIXELS;
		uint8_t *to = raw->pixels + i * PIXELS;
		int64_t label;

		if (!vq_mat_whole(y, i, 1, 10, &label))
			return vq_mat_refuse(m, "y is not of 1 to 10");
		raw->labels[i] = (int32_t)(label % 10);
		for (int c = 0; c < 3; c++)
			for (int col = 0; col < SIDE; col++)
				for (int row = 0; row < SIDE; row++)
					to[(row * SIDE + col) * 3 + c] = *from++;
	}
	return 0;
}

static const char *
missing(const char *folder, const char *split)
{
	for (int i = 0; splits[i] != NULL; i++) {
		char *path;
		bool there;

		if (strcmp(splits[i], split) != 0)
			continue;
		path = vq_asprintf("%s/%s", folder, names[i]);
		there = access(path, F_OK) == 0;
		free(path);
		return there ? NULL : names[i];
	}
	return names[0];
}

static bool
knows(const char *path)
{
	return missing(path, "train") == NULL || missing(path, "test") == NULL;
}

static int
open_svhn(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder, struct vq_diags *diags)
{
	struct vq_mat m;
	struct vq_raw_images raw = { .h = SIDE, .w = SIDE, .c = 3, .classes = 10 };
	int rc;

	d->file[d->files++] = vq_asprintf("%s/%s_32x32.mat", folder, d->split);
	rc = vq_mat_open(&m, d->file[0], arrays, diags);
	if (rc == 0)
		rc = convert(&m, &raw);
	vq_mat_close(&m);
	if (rc == 0)
		return vq_images_open(d, spec, &raw, diags);
	free(raw.pixels);
	free(raw.labels);
	return -1;
}

#define SVHN_KIND .layout = "train_32x32.mat and test_32x32.mat; extra_32x32.mat for split: extra", .splits = splits, \
	.missing = missing, .open = open_svhn, VQ_IMAGES_KIND

extern const struct vq_source_kind vq_source_svhn, vq_source_svhn_files;

static const char *const mirrors[] = { "http://ufldl.stanford.edu/housenumbers/", NULL };
/* The extra part (1.3 GB) is brought by hand. */
static const struct vq_fetch fetch[] = {
	{ "train_32x32.mat", 182040794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", mirrors },
	{ "test_32x32.mat", 64275384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", mirrors },
	{ 0 }
};

const struct vq_source_kind vq_source_svhn = {
	.name    = "svhn",
	.doc     = "digits of house numbers, 32x32 in colour; 73,257 to train, 26,032 to test, 531,131 extra",
	.from    = "The Street View House Numbers (SVHN) Dataset, http://ufldl.stanford.edu/housenumbers/; extra_32x32.mat (1.3 GB) by "
	    "hand",
	.folder  = "svhn",
	.fetch   = fetch,
	SVHN_KIND
};

/* A folder given by its path. */
const struct vq_source_kind vq_source_svhn_files = {
	.name    = "SVHN's files",
	.doc     = "street view house numbers",
	.knows   = knows,
	SVHN_KIND
};
