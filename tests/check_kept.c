/*
 * check_kept -- decoded pictures kept in the cache: used while nothing changed, never after
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <png.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "config.h"
#include "datasets/images.h"
#include "datasets/kept.h"
#include "engine/threads.h"
#include "tests/datasets.h"
#include "tests/scratch.h"

enum { N = 6000, SIDE = 28, BIG = 1024 };

static char dir[64];

static void
setup(void)
{
	char cache[80];

	scratch_make(dir);
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	setenv("VQGRAPH_CACHE", cache, 1);
}

static void
teardown(void)
{
	scratch_remove(dir);
}

static void
put32(gzFile f, uint32_t x)
{
	unsigned char b[] = { (unsigned char)(x >> 24), (unsigned char)(x >> 16), (unsigned char)(x >> 8), (unsigned char)x };

	ck_assert_int_eq(gzwrite(f, b, 4), 4);
}

/* N pictures whose pixels are value + label. */
static char *
idx_folder(int value)
{
	char *folder = vq_asprintf("%s/idx", dir);
	char *images = vq_asprintf("%s/train-images-idx3-ubyte.gz", folder);
	char *labels = vq_asprintf("%s/train-labels-idx1-ubyte.gz", folder);
	unsigned char pixel[SIDE * SIDE], label;

	mkdir(folder, 0777);
	gzFile i = gzopen(images, "wb1"), l = gzopen(labels, "wb1");
	put32(i, 0x803);
	put32(i, N);
	put32(i, SIDE);
	put32(i, SIDE);
	put32(l, 0x801);
	put32(l, N);
	for (int n = 0; n < N; n++) {
		label = (unsigned char)(n % 10);
		memset(pixel, value + label, sizeof(pixel));
		gzwrite(i, pixel, sizeof(pixel));
		gzwrite(l, &label, 1);
	}
	ck_assert_int_eq(gzclose(i), Z_OK);
	ck_assert_int_eq(gzclose(l), Z_OK);
	free(images);
	free(labels);
	return folder;
}

/* A file in the cache, for free(); how many there are in all. */
static int
kept_files(char **path)
{
	char *cache = vq_asprintf("%s/cache", dir);
	DIR *at = opendir(cache);
	int n = 0;

	for (struct dirent *e; at != NULL && (e = readdir(at)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (path != NULL && n == 0)
			*path = vq_asprintf("%s/%s", cache, e->d_name);
		n++;
	}
	if (at != NULL)
		closedir(at);
	free(cache);
	return n;
}

/* The first pixel of sample i as a byte. */
static int
pixel(const struct vq_dataset *d, uint32_t i)
{
	int64_t size = vq_shape_count(&d->field[0].type.shape);
	float *x = vq_alloc_array((size_t)size, sizeof(*x));

	d->kind->gather(d, 0, &i, 1, x);
	int byte = (int)(x[0] * 255 + 0.5f);
	free(x);
	return byte;
}

static int
label(const struct vq_dataset *d, uint32_t i)
{
	int32_t y;

	d->kind->gather(d, 1, &i, 1, &y);
	return y;
}

/* Opened, looked at and closed. */
static void
expect(const struct vq_data_spec *spec, uint32_t i, int byte)
{
	struct vq_dataset *d = open_whole(spec);

	ck_assert_int_eq(pixel(d, i), byte);
	vq_dataset_close(d);
}

/* Overwrites the last byte of the last picture. */
static void
alter_last(const char *path, unsigned char byte)
{
	int fd = open(path, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, &byte, 1, VQ_ROOM_HEAD + N * SIDE * SIDE - 1), 1);
	close(fd);
}

START_TEST(same_set)
{
	char *folder = idx_folder(100), *file;
	struct vq_data_spec spec = spec_of(folder);
	struct vq_dataset *read = open_whole(&spec);

	vq_dataset_close(read);
	ck_assert_int_eq(kept_files(&file), 1);
	spec.fresh = true;
	read = open_whole(&spec);
	spec.fresh = false;
	alter_last(file, 7);

	struct vq_dataset *kept = open_whole(&spec);
	float last[SIDE * SIDE];

	ck_assert_int_eq(kept->count, N);
	ck_assert_int_eq(kept->classes, 10);
	ck_assert_int_eq(kept->files, 2);
	ck_assert_str_eq(kept->file[1], read->file[1]);
	ck_assert_double_eq(kept->variance, read->variance);
	for (uint32_t i = 0; i < N; i += 500) {
		ck_assert_int_eq(pixel(kept, i), pixel(read, i));
		ck_assert_int_eq(label(kept, i), label(read, i));
	}
	kept->kind->gather(kept, 0, &(uint32_t){ N - 1 }, 1, last);
	ck_assert_float_eq(last[SIDE * SIDE - 1], 7 / 255.0f);		/* it was the file that was read */
	vq_dataset_close(kept);
	vq_dataset_close(read);

	spec.skip = 12;
	spec.limit = 30;
	kept = open_whole(&spec);
	ck_assert_int_eq(kept->count, 30);
	ck_assert_int_eq(label(kept, 1), 3);
	ck_assert_int_eq(pixel(kept, 1), 103);
	vq_dataset_close(kept);
	ck_assert_int_eq(kept_files(NULL), 1);
	free(file);
	free(folder);
}
END_TEST

START_TEST(changed_input)
{
	char *folder = idx_folder(100);
	struct vq_data_spec spec = spec_of(folder);

	expect(&spec, 3, 103);
	free(idx_folder(50));
	expect(&spec, 3, 53);
	expect(&spec, 3, 53);
	ck_assert_int_eq(kept_files(NULL), 1);
	free(folder);
}
END_TEST

/* Whatever is done to a kept file: the set is read from its source then. */
START_TEST(damaged)
{
	char *folder = idx_folder(100), *file;
	struct vq_data_spec spec = spec_of(folder);
	struct stat st;

	expect(&spec, 3, 103);
	ck_assert_int_eq(kept_files(&file), 1);
	ck_assert_int_eq(stat(file, &st), 0);
	const off_t cut[] = { 0, 8, 100, 300, st.st_size / 2, st.st_size - 1 };
	for (size_t i = 0; i < VQ_COUNT(cut); i++) {
		ck_assert_int_eq(truncate(file, cut[i]), 0);
		expect(&spec, 3, 103);
		ck_assert_int_eq(stat(file, &st), 0);		/* and written again */
		ck_assert_int_gt(st.st_size, N * SIDE * SIDE);
	}
	ck_assert_int_eq(stat(file, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 200 ? 1 : 9) {	/* the head, labels, request and inputs */
		if (at == 200)
			at = VQ_ROOM_HEAD + N * SIDE * SIDE;
		if (at > VQ_ROOM_HEAD + N * SIDE * SIDE + 100 && at < st.st_size - 300)
			at = st.st_size - 300;

		int fd = open(file, O_RDWR);
		unsigned char byte;

		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x55;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		struct vq_dataset *d = open_whole(&spec);
		ck_assert_int_eq(d->count, N);
		for (uint32_t i = 0; i < 30; i++)
			ck_assert_int_eq(label(d, i), (int)i % 10);
		vq_dataset_close(d);
	}
	free(file);
	free(folder);
}
END_TEST

static void
write_png(const char *path, int value)
{
	png_image p = { .version = PNG_IMAGE_VERSION, .width = BIG, .height = BIG, .format = PNG_FORMAT_RGB };
	unsigned char *pixel = malloc(3 * BIG * BIG);

	memset(pixel, value, 3 * BIG * BIG);
	ck_assert_int_ne(png_image_write_to_file(&p, path, 0, pixel, 0, NULL), 0);
	free(pixel);
}

START_TEST(pictures)
{
	char path[100];
	struct vq_data_spec spec;

	snprintf(path, sizeof(path), "%s/p", dir);
	mkdir(path, 0777);
	strcat(path, "/train");
	mkdir(path, 0777);
	for (int c = 0; c < 2; c++) {
		snprintf(path, sizeof(path), "%s/p/train/%c", dir, 'a' + c);
		mkdir(path, 0777);
		strcat(path, "/1.png");
		write_png(path, 10 + c);
	}
	snprintf(path, sizeof(path), "%s/p", dir);
	spec = spec_of(path);
	expect(&spec, 0, 10);
	ck_assert_int_eq(kept_files(NULL), 1);

	struct vq_dataset *d = open_whole(&spec);
	ck_assert_int_eq(d->count, 2);
	ck_assert_str_eq(d->class_name[1], "b");
	vq_dataset_close(d);

	char more[100];
	snprintf(more, sizeof(more), "%s/p/train/b/2.png", dir);
	write_png(more, 99);
	d = open_whole(&spec);
	ck_assert_int_eq(d->count, 3);
	vq_dataset_close(d);
	remove(more);
	d = open_whole(&spec);
	ck_assert_int_eq(d->count, 2);
	vq_dataset_close(d);

	/* Another request is another file. */
	spec.channels = 1;
	spec.size = (struct vq_ints){ .v = { 2000 }, .count = 1 };
	d = open_whole(&spec);
	vq_dataset_close(d);
	ck_assert_int_eq(kept_files(NULL), 2);
}
END_TEST

static void
write_noise(const char *path)
{
	png_image p = { .version = PNG_IMAGE_VERSION, .width = BIG, .height = BIG, .format = PNG_FORMAT_RGB };
	unsigned char *pixel = malloc(3 * BIG * BIG);

	for (uint32_t i = 0, x = 1; i < 3 * BIG * BIG; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pixel[i] = (unsigned char)x;
	}
	ck_assert_int_ne(png_image_write_to_file(&p, path, 0, pixel, 0, NULL), 0);
	free(pixel);
}

/* An archive is as long as all of its splits, which says nothing of the one that is asked for. */
START_TEST(archive_of_splits)
{
	char path[160], command[200];
	struct vq_data_spec spec;

	snprintf(command, sizeof(command), "mkdir -p %s/q/train/a %s/q/test/a", dir, dir);
	ck_assert_int_eq(system(command), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/q/train/a/%d.png", dir, i);
		write_noise(path);
		snprintf(path, sizeof(path), "%s/q/test/a/%d.png", dir, i);
		write_png(path, 10 * i);
	}
	snprintf(command, sizeof(command), "tar -C %s/q -cf %s/q.tar train test", dir, dir);
	ck_assert_int_eq(system(command), 0);
	snprintf(path, sizeof(path), "%s/q.tar", dir);
	spec = spec_of(path);
	spec.split = "test";

	struct vq_dataset *d = open_whole(&spec);
	const struct vq_source_kind *k = d->kind;
	ck_assert_int_eq(d->count, 3);
	vq_dataset_close(d);
	ck_assert_int_eq(kept_files(NULL), 1);
	ck_assert(vq_kept_has(k, &spec, path));
	d = open_whole(&spec);
	ck_assert_int_eq(d->count, 3);
	ck_assert_int_eq(pixel(d, 2), 20);
	vq_dataset_close(d);

	snprintf(command, sizeof(command), "tar -C %s/q -cf %s/q.tar test/a/0.png", dir, dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert(!vq_kept_has(k, &spec, path));
	d = open_whole(&spec);
	ck_assert_int_eq(d->count, 1);
	vq_dataset_close(d);
}
END_TEST

START_TEST(nothing_kept)
{
	char *folder = idx_folder(100);
	struct vq_data_spec spec = spec_of(folder);

	spec.limit = N - 1;					/* a part */
	expect(&spec, 3, 103);
	ck_assert_int_eq(kept_files(NULL), 0);
	spec.limit = 0;
	setenv("VQGRAPH_CACHE", "", 1);
	expect(&spec, 3, 103);
	ck_assert_int_eq(kept_files(NULL), 0);
	setenv("VQGRAPH_CACHE", "/proc/none", 1);		/* cannot be made */
	expect(&spec, 3, 103);
	free(folder);
}
END_TEST

/* What a killed process left goes, what is being written stays. */
START_TEST(left_over)
{
	char *source = idx_folder(100), *dead = vq_asprintf("%s/cache/1-0.part", dir), *living = vq_asprintf("%s/cache/2-0.part", dir);
	struct vq_data_spec spec = spec_of(source);
	int fd, files;

	expect(&spec, 3, 103);
	ck_assert_int_gt(vq_kept_bytes(&files), N * SIDE * SIDE);
	ck_assert_int_eq(files, 1);
	fd = open(dead, O_CREAT | O_WRONLY, 0600);
	close(fd);
	fd = open(living, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	free(idx_folder(50));
	expect(&spec, 3, 53);
	ck_assert_int_lt(access(dead, F_OK), 0);
	ck_assert_int_eq(access(living, F_OK), 0);
	close(fd);
	free(source);
	free(dead);
	free(living);
}
END_TEST

/* A process that dies while pictures are decoded or written: nothing that is half done is ever read. */
START_TEST(killed)
{
	char *folder = vq_asprintf("%s/p", dir);
	struct vq_data_spec spec = spec_of(folder);
	int files = 0;

	mkdir(folder, 0777);
	for (int i = 0; i < 6; i++) {
		char *path = vq_asprintf("%s/%d.png", folder, i);

		write_png(path, 10 + i);
		free(path);
	}
	for (int ms = 5; ms < 100 && files == 0; ms += 12) {
		pid_t child = fork();

		if (child == 0) {
			vq_threads_set(1);
			open_whole(&spec);
			for (;;)
				pause();
		}
		usleep((useconds_t)ms * 1000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		vq_kept_bytes(&files);
	}
	for (int turn = 0; turn < 2; turn++)
		for (uint32_t i = 0; i < 6; i++)
			expect(&spec, i, 10 + (int)i);
	ck_assert_int_eq(kept_files(NULL), 1);
	free(folder);
}
END_TEST

static void
two_pictures(char path[100])
{
	snprintf(path, 100, "%s/a", dir);
	mkdir(path, 0777);
	strcat(path, "/1.png");
	write_png(path, 10);
	snprintf(path, 100, "%s/a/2.png", dir);
	write_png(path, 11);
	snprintf(path, 100, "%s/a", dir);
}

/* Pictures larger than what is delivered of them, of sizes of their own. */
START_TEST(windows)
{
	char path[100], hex[2][65];
	struct vq_data_spec spec;

	two_pictures(path);
	spec = spec_of(path);
	spec.resize = 1100;
	spec.size = (struct vq_ints){ .v = { 1000, 900 }, .count = 2 };
	for (int kept = 0; kept < 2; kept++) {
		struct vq_dataset *d = open_whole(&spec);

		vq_images_digest(d, hex[kept]);
		ck_assert_int_eq(d->field[0].type.shape.dim[1], 900);
		ck_assert_double_eq_tol(d->variance, .25 / 255 / 255, 1e-12);
		ck_assert_int_eq(pixel(d, 1), 11);
		vq_dataset_close(d);
	}
	ck_assert_str_eq(hex[0], hex[1]);
	ck_assert_int_eq(kept_files(NULL), 1);
	spec.skip = 1;
	expect(&spec, 0, 11);
	spec.resize = 1000;
	expect(&spec, 0, 11);
	ck_assert_int_eq(kept_files(NULL), 1);
}
END_TEST

/* Beyond a limit on files, as on a full disk: memory serves. */
START_TEST(full_disk)
{
	char path[100];
	struct vq_data_spec spec;
	struct rlimit most = { 1 << 20, 1 << 20 };

	two_pictures(path);
	spec = spec_of(path);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
	expect(&spec, 1, 11);
	ck_assert_int_eq(kept_files(NULL), 0);
}
END_TEST

#ifndef VQ_SANITIZED
/* A list of one picture n times. */
static void
write_list(const char *path, int n)
{
	FILE *f = fopen(path, "w");

	for (int i = 0; i < n; i++)
		fprintf(f, "a/1.png %d\n", i);
	fclose(f);
}

/* More than the memory that a process may have, and than there is of disk. */
START_TEST(larger_than_memory)
{
	char path[100], list[100];
	struct vq_data_spec spec;
	struct rlimit most = { 64 << 20, 64 << 20 };

	two_pictures(path);
	snprintf(list, sizeof(list), "%s/mine.txt", dir);
	write_list(list, 40);
	spec = spec_of(list);
	vq_threads_set(1);
	ck_assert_int_eq(setrlimit(RLIMIT_DATA, &most), 0);
	for (int kept = 0; kept < 2; kept++) {		/* 126 MB */
		struct vq_dataset *d = open_whole(&spec);

		ck_assert_int_eq(d->count, 40);
		ck_assert_int_eq(pixel(d, 39), 10);
		ck_assert_int_eq(label(d, 39), 39);
		vq_dataset_close(d);
	}
	ck_assert_int_eq(kept_files(NULL), 1);
	spec.limit = 30;
	expect(&spec, 29, 10);				/* a part of what was kept */
	spec.fresh = true;
	expect(&spec, 29, 10);				/* from its files, in one without a name */
	ck_assert_int_eq(kept_files(NULL), 1);
	setenv("VQGRAPH_CACHE", "", 1);
	refuses(&spec, VQ_DATA, "30 pictures take 0.0944 GB, more than the memory (0.0671 GB)");
	refuses(&spec, VQ_DATA, "there is no folder to keep them in");
	snprintf(path, sizeof(path), "%s/cache", dir);
	setenv("VQGRAPH_CACHE", path, 1);
	write_list(list, 50000);
	spec = spec_of(list);
	spec.size = (struct vq_ints){ .v = { 8192 }, .count = 1 };
	refuses(&spec, VQ_DATA, "50000 pictures take 1.01e+04 GB, more than the memory");
	refuses(&spec, VQ_DATA, "than what is free in the cache");
}
END_TEST
#endif

int
main(void)
{
	Suite *s = suite_create("kept");
	TCase *c = tcase_create("kept");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, same_set);
	tcase_add_test(c, changed_input);
	tcase_add_test(c, damaged);
	tcase_add_test(c, pictures);
	tcase_add_test(c, archive_of_splits);
	tcase_add_test(c, nothing_kept);
	tcase_add_test(c, left_over);
	tcase_add_test(c, killed);
	tcase_add_test(c, windows);
	tcase_add_test(c, full_disk);
#ifndef VQ_SANITIZED		/* whose own memory has no room under the limit */
	tcase_add_test(c, larger_than_memory);
#endif
	suite_add_tcase(s, c);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
