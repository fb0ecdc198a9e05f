/*
 * check_arrays -- data sets that are arrays in files: CIFAR's binary form, as numpy
 * writes it
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
#include "tests/scratch.h"

static char dir[64];

static void
setup(void)
{
	scratch_make(dir);
	unsetenv("XDG_DATA_HOME");
	setenv("HOME", dir, 1);
	unsetenv("VQGRAPH_DATA");
	ck_assert_int_eq(chdir(dir), 0);
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

static struct vq_data_spec
spec_of(const char *source)
{
	struct vq_data_spec s = { 0 };

	vq_params_default(vq_data_params, &s);
	s.source = source;
	return s;
}

static struct vq_dataset *
open_whole(const struct vq_data_spec *s)
{
	struct vq_diags d = { 0 };
	struct vq_dataset *set = vq_dataset_open(s, &d);

	if (set == NULL)
		vq_diags_print(&d, stderr, false);
	ck_assert_ptr_nonnull(set);
	return set;
}

static void
refuses(const struct vq_data_spec *s, enum vq_status status, const char *text)
{
	struct vq_diags d = { 0 };
	bool found;

	ck_assert_ptr_null(vq_dataset_open(s, &d));
	ck_assert_int_gt(d.total, 0);
	found = strstr(d.diag[0]->message, text) != NULL;
	for (int i = 0; i < d.diag[0]->lines; i++)
		found |= strstr(d.diag[0]->line[i].text, text) != NULL;
	if (!found)
		vq_diags_print(&d, stderr, false);
	ck_assert_msg(found, "'%s' is not in '%s'", text, d.diag[0]->message);
	ck_assert_int_eq(vq_diags_status(&d), status);
	vq_diags_free(&d);
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

int
main(void)
{
	Suite *s = suite_create("arrays");
	TCase *t = tcase_create("arrays");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, cifar_as_downloaded_and_unpacked);
	tcase_add_test(t, damaged_cifar);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
