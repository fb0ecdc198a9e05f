/*
 * check_arrays -- data sets that are arrays in files, as numpy writes them: CIFAR's
 * binary form, npy, npz
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/archive.h"
#include "datasets/dataset.h"
#include "engine/checkpoint.h"
#include "tests/datasets.h"
#include "tests/scratch.h"

static char dir[64];

static void
setup(void)
{
	alone_in(dir);
}

static void
teardown(void)
{
	scratch_remove(dir);
}

static void
put(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	ck_assert_msg(f != NULL, "%s", path);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static char *
fixture(const char *name, size_t *n)
{
	char *path = vq_asprintf("%s/tests/fixtures/%s", VQ_SRCDIR, name);
	struct vq_diags d = { 0 };
	char *bytes = vq_file_read(path, 1 << 20, n, VQ_DATA, &d);

	ck_assert_msg(bytes != NULL, "%s is missing", path);
	free(path);
	return bytes;
}

static void
put_fixture(const char *path, const char *name)
{
	size_t n;
	char *bytes = fixture(name, &n);

	put(path, bytes, n);
	free(bytes);
}

/* --- CIFAR -------------------------------------------------------------------- */

/* The files of the archive into a folder. */
static void
unpack(const char *archive, const char *folder)
{
	struct vq_diags d = { 0 };
	struct vq_archive *a = vq_archive_open(archive, &d);
	struct vq_entry e;
	uint8_t *bytes = NULL;
	size_t cap = 0, n;

	mkdir(folder, 0755);
	while (vq_archive_next(a, &e) > 0) {
		char *path = vq_asprintf("%s%s", folder, strrchr(e.name, '/'));

		ck_assert_int_eq(vq_archive_read(a, 1 << 20, &bytes, &cap, &n), 1);
		put(path, bytes, n);
		free(path);
	}
	vq_archive_close(a);
	free(bytes);
}

/* Three records of each file: make_fixtures.py says what is in them. */
static void
expect_cifar(const char *source, const char *split, const int *file, int files, int classes)
{
	struct vq_data_spec s = spec_of(source);
	struct vq_dataset *d;
	float x[32 * 32 * 3];

	s.split = split;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 3 * files);
	ck_assert_int_eq(d->classes, classes);
	for (uint32_t i = 0; i < d->count; i++) {
		int f = file[i / 3], r = (int)i % 3;
		int32_t label;

		d->kind->gather(d, 0, &i, 1, x);
		d->kind->gather(d, 1, &i, 1, &label);
		ck_assert_int_eq(label, (3 * f + r) % 10);
		for (int k = 0; k < 32 * 32 * 3; k++) {
			int c = k % 3, column = k / 3 % 32, row = k / 96;

			ck_assert_int_eq(lroundf(x[k] * 255), (7 * f + 31 * r + 11 * c + 5 * row + column) % 256);
		}
	}
	vq_dataset_close(d);
}

/* The file that stands at a place of the archive, by the order of their names. */
static const int train10[] = { 1, 3, 0, 5, 4 }, test10[] = { 2 }, train100[] = { 0 }, test100[] = { 1 };

START_TEST(cifar_as_downloaded_and_unpacked)
{
	static const char *const places10[] = { "data/cifar10", "data/cifar-10-batches-bin",
		"data/cifar10/cifar-10-batches-bin" };
	static const char *const places100[] = { "data/cifar100", "data/cifar-100-binary", "data/cifar100/cifar-100-binary" };

	mkdir("data", 0755);
	put_fixture("cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz");
	put_fixture("cifar-100-binary.tar.gz", "cifar-100-binary.tar.gz");
	expect_cifar("cifar-10-binary.tar.gz", "train", train10, 5, 10);
	expect_cifar("cifar-100-binary.tar.gz", "test", test100, 1, 100);
	for (int i = 0; i < 3; i++) {
		mkdir("data/cifar10", 0755);
		mkdir("data/cifar100", 0755);
		unpack("cifar-10-binary.tar.gz", places10[i]);
		unpack("cifar-100-binary.tar.gz", places100[i]);
		expect_cifar("cifar10", "train", train10, 5, 10);
		expect_cifar("cifar10", "test", test10, 1, 10);
		expect_cifar("cifar100", "train", train100, 1, 100);
		expect_cifar("cifar100", "test", test100, 1, 100);
		expect_cifar(places10[i], "train", train10, 5, 10);
		expect_cifar(places100[i], "train", train100, 1, 100);
		scratch_remove("data");
		mkdir("data", 0755);
	}
	mkdir("data/cifar10", 0755);
	put_fixture("data/cifar10/cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz");
	put_fixture("data/cifar-100-binary.tar.gz", "cifar-100-binary.tar.gz");
	expect_cifar("cifar10", "train", train10, 5, 10);
	expect_cifar("cifar100", "test", test100, 1, 100);
}
END_TEST

START_TEST(damaged_cifar)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_diags d = { 0 };
	size_t n;
	char *bytes;

	put_fixture("packed.tar.gz", "cifar-10-binary.tar.gz");
	unpack("packed.tar.gz", "set");
	bytes = vq_file_read("set/data_batch_2.bin", 1 << 20, &n, VQ_DATA, &d);
	put("set/data_batch_2.bin", bytes, n - 1);
	refuses(&s, VQ_DATA, "set/data_batch_2.bin: has 9218 bytes: cut, or no file of records of 3073 bytes");
	put("set/data_batch_2.bin", "", 0);
	refuses(&s, VQ_DATA, "set/data_batch_2.bin: has 0 bytes");
	bytes[3073] = 10;
	put("set/data_batch_2.bin", bytes, n);
	refuses(&s, VQ_DATA, "has label 10 in record 1: out of range, 0 to 9");
	unlink("set/data_batch_2.bin");
	s.split = "test";
	vq_dataset_close(open_whole(&s));
	s.split = "train";
	refuses(&s, VQ_DATA, "data_batch_2.bin is missing");
	free(bytes);
	s.source = "cifar-10-binary.tar.gz";
	bytes = fixture("cifar-10-binary.tar.gz", &n);
	for (size_t cut = 0; cut < n - 8; cut += 37) {
		put("cifar-10-binary.tar.gz", bytes, cut);
		ck_assert_ptr_null(vq_dataset_open(&s, &d));
		ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
		vq_diags_free(&d);
		memset(&d, 0, sizeof(d));
	}
	free(bytes);
	/* Another set under the name. */
	put_fixture("cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz");
	refuses(&s, VQ_DATA, "cifar-10-binary.tar.gz: data_batch_1.bin is missing");
}
END_TEST

/* --- npy ---------------------------------------------------------------------- */

/* The elements of a fixture, as whole numbers. */
static int64_t *
elements(const char *name, int64_t *n)
{
	char *path = vq_asprintf("%s/tests/fixtures/%s", VQ_SRCDIR, name);
	struct vq_diags d = { 0 };
	struct vq_view v;
	struct vq_type t;
	int64_t *x;

	ck_assert_int_eq(vq_npy_read(path, &t, &v.data, &d), 0);
	v.type = &t;
	*n = vq_shape_count(&t.shape);
	x = vq_alloc_array((size_t)*n, sizeof(*x));
	for (int64_t i = 0; i < *n; i++)
		x[i] = (int64_t)vq_get(&v, i);
	free(v.data);
	free(path);
	return x;
}

/* Pictures of bytes are those of the fixture, offset by so much, and labels these. */
static void
expect_pictures(const char *source, const char *split, const char *name, int more, const int *label)
{
	struct vq_data_spec s = spec_of(source);
	int64_t n, *x = elements(name, &n);
	struct vq_dataset *d;
	float *image;

	s.split = split;
	d = open_whole(&s);
	ck_assert_int_eq(d->fields, label != NULL ? 2 : 1);
	ck_assert_int_eq(d->count * vq_shape_count(&d->field[0].type.shape), n);
	image = vq_alloc_array((size_t)n, sizeof(*image));
	for (uint32_t i = 0; i < d->count; i++) {
		int32_t y;

		d->kind->gather(d, 0, &i, 1, image + i * (n / d->count));
		if (label != NULL) {
			d->kind->gather(d, 1, &i, 1, &y);
			ck_assert_int_eq(y, label[i]);
		}
	}
	for (int64_t i = 0; i < n; i++)
		ck_assert_int_eq(lroundf(image[i] * 255), (x[i] + more) % 256);
	vq_dataset_close(d);
	free(image);
	free(x);
}

START_TEST(npy_pictures)
{
	static const int beside[] = { 3, 0, 1, 2, 1 };
	struct vq_data_spec s = spec_of("x.npy");
	struct vq_dataset *d;
	int32_t y;
	uint32_t index = 2;

	put_fixture("x.npy", "pictures.npy");
	expect_pictures("x.npy", "train", "pictures.npy", 0, NULL);
	d = open_whole(&s);
	ck_assert_str_eq(d->absent, "x.label.npy");
	vq_dataset_close(d);
	put_fixture("x.label.npy", "pictures.label.npy");
	expect_pictures("./x.npy", "test", "pictures.npy", 0, beside);
	put_fixture("x.image.npy", "colour.npy");
	expect_pictures("x.image.npy", "train", "colour.npy", 0, beside);
	mkdir("other", 0755);
	put_fixture("other/y.npy", "pictures.label.npy");
	unlink("x.label.npy");
	s.labels = "other/y.npy";
	s.size = (struct vq_ints){ 1, { 2 } };
	s.channels = 3;
	s.skip = 2;
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 4);
	ck_assert_int_eq(d->count, 3);
	ck_assert_int_eq(vq_shape_count(&d->field[0].type.shape), 12);
	d->kind->gather(d, 1, &index, 1, &y);
	ck_assert_int_eq(y, 1);
	vq_dataset_close(d);
	s.labels = "other/z.npy";
	refuses(&s, VQ_DATA, "other/z.npy: the labels of x.npy: No such file");
	s.labels = "x.npy";
	refuses(&s, VQ_DATA, "x.npy: labels must be [n] or [n, m]");
	s.source = "digits";
	refuses(&s, VQ_CONFIG, "labels is for a source that is one .npy file");
}
END_TEST

/* Floats are delivered as they are. */
START_TEST(npy_floats)
{
	struct vq_data_spec s = spec_of("floats.npy");
	char *path = vq_asprintf("%s/tests/fixtures/floats.npy", VQ_SRCDIR);
	struct vq_diags diags = { 0 };
	struct vq_dataset *d;
	struct vq_type t;
	void *data;
	double sum = 0, squares = 0, *x;
	float image[4];

	put_fixture("floats.npy", "floats.npy");
	ck_assert_int_eq(vq_npy_read(path, &t, &data, &diags), 0);
	ck_assert_int_eq(t.dtype, VQ_F64);
	x = data;
	s.lo = -2;
	s.hi = 2;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		d->kind->gather(d, 0, &i, 1, image);
		for (int k = 0; k < 4; k++) {
			ck_assert_float_eq(image[k], (float)x[4 * i + k]);
			sum += x[4 * i + k] / 20;
			squares += x[4 * i + k] * x[4 * i + k] / 20;
		}
	}
	ck_assert_double_eq_tol(d->variance, squares - sum * sum, 1e-6);
	vq_dataset_close(d);
	free(data);
	free(path);
}
END_TEST

START_TEST(npy_codes)
{
	struct vq_data_spec s = spec_of("./run");
	int64_t n, *x = elements("codes.npy", &n);
	struct vq_dataset *d;
	struct vq_loader *l;
	const void *field[VQ_MAX_FIELDS];

	mkdir("run", 0755);
	put_fixture("run/train.code.npy", "codes.npy");
	d = open_whole(&s);
	ck_assert_int_eq(d->fields, 1);
	ck_assert_str_eq(d->absent, "./run/train.label.npy");
	vq_dataset_close(d);
	put_fixture("run/train.label.npy", "pictures.label.npy");
	put_fixture("run/test.code.npy", "codes.npy");
	put("run/notes.txt", "x", 1);
	d = open_whole(&s);
	ck_assert_int_eq(d->fields, 2);
	ck_assert_int_eq(d->files, 2);
	ck_assert_int_eq(d->classes, 4);
	ck_assert_str_eq(d->field[0].name, "code");
	ck_assert_int_eq(d->field[0].type.dtype, VQ_I32);
	ck_assert_int_eq(vq_dataset_field(d, "label"), 1);
	l = vq_loader_new(d, 5, false, true, 0);
	vq_loader_augment(l);
	vq_loader_start(l, 0, 0);
	ck_assert_int_eq(vq_loader_next(l, field), 5);
	for (int64_t i = 0; i < n; i++)
		ck_assert_int_eq(((const int32_t *)field[0])[i], x[i]);
	vq_loader_free(l);
	vq_dataset_close(d);
	s.split = "test";
	d = open_whole(&s);
	ck_assert_int_eq(d->fields, 1);
	vq_dataset_close(d);
	s.split = "val";
	refuses(&s, VQ_DATA, "val.FIELD.npy is missing");
	s.split = "train";
	s.flip = true;
	refuses(&s, VQ_CONFIG, "flip is for pictures; ./run holds none");
	s.flip = false;
	put_fixture("run/train.image.npy", "pictures.npy");
	refuses(&s, VQ_DATA, "train.code.npy: stands beside pictures");
	unlink("run/train.image.npy");
	for (int i = 0; i < 3; i++) {
		char name[] = "run/train.0.npy";

		name[10] += (char)i;
		put_fixture(name, "codes.npy");
	}
	refuses(&s, VQ_DATA, "more than 4 fields of the split train");
	free(x);
}
END_TEST

/* Codes that tell sample, row, column and map: [4, 5, 6, 2]. */
static void
put_grids(const char *path)
{
	struct vq_type type = { VQ_I32, { 4, { 4, 5, 6, 2 } } };
	struct vq_diags diags = { 0 };
	int32_t x[4 * 5 * 6 * 2];

	for (int i = 0; i < 4 * 5 * 6 * 2; i++)
		x[i] = i / 60 * 1000 + i / 12 % 5 * 100 + i / 2 % 6 * 10 + i % 2;
	ck_assert_int_eq(vq_npy_write(path, &(struct vq_view){ x, &type }, &diags), 0);
}

/* Where in its sample a window [2, 3, 2] begins, 10 * row + column; that it is one. */
static int
window_at(const int32_t *x, int sample)
{
	int at = x[0] / 10 % 100;

	for (int i = 0; i < 2 * 3 * 2; i++)
		ck_assert_int_eq(x[i], sample * 1000 + (at / 10 + i / 6) * 100 + (at % 10 + i / 2 % 3) * 10 + i % 2);
	return at;
}

START_TEST(windows_of_codes)
{
	struct vq_data_spec s = spec_of("./run");
	const uint32_t index[] = { 3, 0, 2, 1 };
	int32_t x[4 * 12], again[12];
	bool seen[100] = { false };
	int places = 0;

	mkdir("run", 0755);
	put_grids("run/train.code.npy");
	put_fixture("run/test.label.npy", "pictures.label.npy");
	s.skip = 1;
	s.window = (struct vq_ints){ 2, { 2, 3 } };
	struct vq_dataset *d = open_whole(&s);
	ck_assert_int_eq(d->count, 3);
	ck_assert(vq_type_equal(&d->field[0].type, &(struct vq_type){ VQ_I32, { 3, { 2, 3, 2 } } }));
	d->kind->gather(d, 0, index + 1, 3, x);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(window_at(x + 12 * i, (int)index[i + 1] + 1), 11);
	/* In training each of 4 x 4 places, by seed, epoch and sample alone. */
	for (uint64_t epoch = 0; epoch < 100; epoch++) {
		struct vq_pass pass = { 7, epoch };
		d->kind->augmented(d, 0, index + 1, 3, &pass, x);
		for (int i = 0; i < 3; i++) {
			int at = window_at(x + 12 * i, (int)index[i + 1] + 1);
			places += !seen[at];
			seen[at] = true;
		}
		d->kind->augmented(d, 0, index + 2, 1, &pass, again);
		ck_assert_mem_eq(again, x + 12, sizeof(again));
	}
	ck_assert_int_eq(places, 16);
	vq_dataset_close(d);
	s.window = (struct vq_ints){ 1, { 5 } };	/* as high as the grid: only left and right */
	d = open_whole(&s);
	ck_assert_int_eq(d->field[0].type.shape.dim[1], 5);
	vq_dataset_close(d);

	s.window = (struct vq_ints){ 2, { 6, 3 } };
	refuses(&s, VQ_CONFIG, "a window of 6 x 3 is larger than the grid of code of ./run, 5 x 6");
	s.window.v[0] = 5;
	put_grids("run/train.top.npy");
	refuses(&s, VQ_CONFIG, "./run holds several");
	s.split = "test";
	refuses(&s, VQ_CONFIG, "window is of a grid of codes, [n, h, w]; ./run holds none");
	s = spec_of("digits");
	s.window = (struct vq_ints){ 1, { 5 } };
	refuses(&s, VQ_CONFIG, "window is of codes, and digits is of pictures");
}
END_TEST

START_TEST(npy_that_cannot_be_read)
{
	struct vq_data_spec s = spec_of("x.npy");
	struct vq_diags d = { 0 };
	size_t n;
	char *bytes;
	struct vq_type none = vq_type_of(VQ_U8, 3, (const int64_t[]){ 0, 4, 3 }), flat = vq_type_of(VQ_U8, 3,
	    (const int64_t[]){ 2, 0, 3 }), one = vq_type_of(VQ_F32, 3, (const int64_t[]){ 1, 1, 1 }),
	    wide = vq_type_of(VQ_I64, 1, (const int64_t[]){ 1 }), scalar = vq_type_of(VQ_I32, 0, NULL);
	float nan = NAN;
	int64_t large = 1LL << 40, negative[] = { 0, -1, 0, 0, 0 };
	struct vq_type five = vq_type_of(VQ_I64, 1, (const int64_t[]){ 5 });

	refuses(&s, VQ_DATA, "x.npy: No such file");
	put_fixture("x.npy", "objects.npy");
	refuses(&s, VQ_DATA, "elements of type |O cannot be read");
	put_fixture("x.npy", "fortran.npy");
	refuses(&s, VQ_DATA, "Fortran order");
	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ "", &none }, &d), 0);
	refuses(&s, VQ_DATA, "x.npy: holds no samples");
	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ "", &flat }, &d), 0);
	refuses(&s, VQ_DATA, "its pictures are empty");
	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ &nan, &one }, &d), 0);
	refuses(&s, VQ_DATA, "value 0 is not a finite number");
	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ &large, &wide }, &d), 0);
	refuses(&s, VQ_DATA, "is beyond 32 bits");
	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ &large, &scalar }, &d), 0);
	refuses(&s, VQ_DATA, "x.npy: holds no samples");
	put_fixture("x.npy", "pictures.npy");
	ck_assert_int_eq(vq_npy_write("x.label.npy", &(struct vq_view){ negative, &five }, &d), 0);
	refuses(&s, VQ_DATA, "x.label.npy: label -1 of sample 1 is out of range");
	ck_assert_int_eq(vq_npy_write("x.label.npy", &(struct vq_view){ &large, &wide }, &d), 0);
	refuses(&s, VQ_DATA, "x.label.npy: value 0");
	large = 1;
	ck_assert_int_eq(vq_npy_write("x.label.npy", &(struct vq_view){ &large, &wide }, &d), 0);
	refuses(&s, VQ_DATA, "x.label.npy: has 1 samples, x.npy has 5");
	unlink("x.label.npy");
	bytes = fixture("pictures.npy", &n);
	for (size_t cut = 0; cut < n; cut++) {
		put("x.npy", bytes, cut);
		ck_assert_ptr_null(vq_dataset_open(&s, &d));
		ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
		vq_diags_free(&d);
		memset(&d, 0, sizeof(d));
	}
	/* A shape that no memory holds. */
	memcpy(strstr(bytes + 10, "(5, 4, 3)"), "(9999999999999,4,3)", 19);
	put("x.npy", bytes, n);
	ck_assert_ptr_null(vq_dataset_open(&s, &d));
	ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
	vq_diags_free(&d);
	free(bytes);
}
END_TEST

/* --- npz ---------------------------------------------------------------------- */

START_TEST(npz_of_medmnist)
{
	static const char *const files[] = { "stored.npz", "packed.npz" };
	static const int train[] = { 4, 0, 1, 2, 0 }, val[] = { 4, 0, 1, 2, 1 }, test[] = { 4, 0, 1, 2, 2 };
	struct vq_data_spec s = spec_of("bloodmnist");

	refuses(&s, VQ_DATA, "the data of 'bloodmnist' (train) is not on this machine");
	refuses(&s, VQ_DATA, "bloodmnist.npz");
	mkdir("data", 0755);
	mkdir("data/medmnist", 0755);
	for (int i = 0; i < 2; i++) {
		put_fixture("data/bloodmnist.npz", files[i]);
		expect_pictures("bloodmnist", "train", "colour.npy", 0, train);
		expect_pictures("bloodmnist", "val", "colour.npy", 1, val);
		expect_pictures("bloodmnist", "test", "colour.npy", 2, test);
		unlink("data/bloodmnist.npz");
		put_fixture("data/medmnist/bloodmnist.npz", files[i]);
		expect_pictures("bloodmnist", "test", "colour.npy", 2, test);
		expect_pictures("data/medmnist/bloodmnist.npz", "test", "colour.npy", 2, test);
		unlink("data/medmnist/bloodmnist.npz");
	}
	/* Pneumonia has two classes. */
	put_fixture("data/pneumoniamnist.npz", "packed.npz");
	s.source = "pneumoniamnist";
	refuses(&s, VQ_DATA, "train_labels: label 4 of sample 0 is out of range: 0 to 1");
	s.split = "dev";
	refuses(&s, VQ_CONFIG, "its splits are train, test and val");
}
END_TEST

START_TEST(npz_of_other_names)
{
	static const int counted[] = { 0, 1, 2, 3, 4 };
	struct vq_data_spec s = spec_of("x.npz");
	struct vq_dataset *d;
	int32_t y[3];
	uint32_t index = 1;

	put_fixture("x.npz", "keras.npz");
	expect_pictures("x.npz", "train", "pictures.npy", 0, counted);
	s.split = "test";
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 2);
	ck_assert_str_eq(d->absent, "y_test in x.npz");
	vq_dataset_close(d);
	s.split = "val";
	refuses(&s, VQ_DATA, "x.npz: holds no pictures of the split val");
	refuses(&s, VQ_DATA, "it holds x_train, y_train, x_test");
	put_fixture("x.npz", "alone.npz");
	expect_pictures("x.npz", "train", "pictures.npy", 0, NULL);
	expect_pictures("x.npz", "test", "pictures.npy", 0, NULL);
	put_fixture("x.npz", "among_others.npz");
	expect_pictures("x.npz", "train", "pictures.npy", 0, NULL);
	/* A label of several numbers. */
	put_fixture("x.npz", "findings.npz");
	s.split = "train";
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 0);
	ck_assert_int_eq(d->field[1].type.shape.rank, 1);
	ck_assert_int_eq(d->field[1].type.shape.dim[0], 3);
	d->kind->gather(d, 1, &index, 1, y);
	ck_assert(y[0] == 0 && y[1] == 1 && y[2] == 0);
	vq_dataset_close(d);
}
END_TEST

START_TEST(damaged_npz)
{
	static const char *const files[] = { "stored.npz", "packed.npz" };
	struct vq_data_spec s = spec_of("x.npz");
	struct vq_diags d = { 0 };

	for (int f = 0; f < 2; f++) {
		size_t n;
		char *bytes = fixture(files[f], &n);

		for (size_t cut = 0; cut < n; cut += 13) {
			put("x.npz", bytes, cut);
			ck_assert_ptr_null(vq_dataset_open(&s, &d));
			ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
			vq_diags_free(&d);
			memset(&d, 0, sizeof(d));
		}
		for (size_t i = 0; i < n; i++) {
			bytes[i] ^= 0x41;
			put("x.npz", bytes, n);
			vq_dataset_close(vq_dataset_open(&s, &d));
			vq_diags_free(&d);
			memset(&d, 0, sizeof(d));
			bytes[i] ^= 0x41;
		}
		free(bytes);
	}
	put("x.npz", "PK", 2);
	refuses(&s, VQ_DATA, "x.npz: damaged or no archive");
}
END_TEST

/* --- SVHN --------------------------------------------------------------------- */

static void
expect_svhn(const char *source, const char *split, int n)
{
	static const int label[] = { 1, 0, 7 };
	struct vq_data_spec s = spec_of(source);
	struct vq_dataset *d;
	float x[32 * 32 * 3];

	s.split = split;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, n);
	ck_assert_int_eq(d->classes, 10);
	for (uint32_t i = 0; i < d->count; i++) {
		int32_t y;

		d->kind->gather(d, 0, &i, 1, x);
		d->kind->gather(d, 1, &i, 1, &y);
		ck_assert_int_eq(y, label[i]);
		for (int k = 0; k < 32 * 32 * 3; k++)
			ck_assert_int_eq(lroundf(x[k] * 255), (40 * (int)i + 11 * (k % 3) + 5 * (k / 96) + k / 3 % 32) % 256);
	}
	vq_dataset_close(d);
}

/* Packed and not, whole, cut and altered. */
START_TEST(svhn)
{
	static const char *const splits[] = { "train", "test" };
	struct vq_data_spec s = spec_of("svhn");
	struct vq_diags d = { 0 };

	mkdir("data", 0755);
	mkdir("data/svhn", 0755);
	put_fixture("data/svhn/train_32x32.mat", "train_32x32.mat");
	put_fixture("data/svhn/test_32x32.mat", "test_32x32.mat");
	expect_svhn("svhn", "train", 3);
	expect_svhn("svhn", "test", 1);
	expect_svhn("data/svhn", "train", 3);
	s.split = "extra";
	refuses(&s, VQ_DATA, "extra_32x32.mat is missing");
	for (int f = 0; f < 2; f++) {
		char *path = vq_asprintf("data/svhn/%s_32x32.mat", splits[f]);
		size_t n;
		char *bytes = fixture(strrchr(path, '/') + 1, &n);

		s.split = splits[f];
		for (size_t cut = 0; cut < n - 8; cut += 17) {
			put(path, bytes, cut);
			ck_assert_ptr_null(vq_dataset_open(&s, &d));
			ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
			vq_diags_free(&d);
			memset(&d, 0, sizeof(d));
		}
		for (size_t i = 0; i < n; i += i < 300 ? 1 : 23)
			for (int bit = 1; bit < 256; bit *= 4) {
				bytes[i] ^= (char)bit;
				put(path, bytes, n);
				vq_dataset_close(vq_dataset_open(&s, &d));
				vq_diags_free(&d);
				memset(&d, 0, sizeof(d));
				bytes[i] ^= (char)bit;
			}
		free(bytes);
		free(path);
	}
	put("data/svhn/test_32x32.mat", "not MATLAB", 10);
	refuses(&s, VQ_DATA, "test_32x32.mat: is no MATLAB file of version 5");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("arrays");
	TCase *t = tcase_create("arrays");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 180);
	tcase_add_test(t, cifar_as_downloaded_and_unpacked);
	tcase_add_test(t, damaged_cifar);
	tcase_add_test(t, npy_pictures);
	tcase_add_test(t, npy_floats);
	tcase_add_test(t, npy_codes);
	tcase_add_test(t, windows_of_codes);
	tcase_add_test(t, npy_that_cannot_be_read);
	tcase_add_test(t, npz_of_medmnist);
	tcase_add_test(t, npz_of_other_names);
	tcase_add_test(t, damaged_npz);
	tcase_add_test(t, svhn);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
