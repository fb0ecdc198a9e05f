/*
 * check_pictures -- JPEG and PNG as Pillow reads them; pictures in folders and
 * archives, their order and labels, and what cannot be read
 */
#include <check.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/dataset.h"
#include "datasets/picture.h"
#include "engine/checkpoint.h"
#include "engine/threads.h"
#include "tests/pictures.h"
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

/* --- one picture ------------------------------------------------------------- */

static const char *const readable[] = { "rgb.png", "grey.png", "palette.png", "rgba.png", "grey16.png", "one_bit.png",
	"rgb.jpg", "progressive.jpg", "grey.jpg" };

START_TEST(as_pillow_decodes)
{
	const char *name = readable[_i];
	char *expected = vq_asprintf("%s/tests/fixtures/%s.npy", VQ_SRCDIR, name), why[VQ_WHY];
	struct vq_decoder *k = vq_decoder_new();
	struct vq_picture p, head;
	struct vq_diags d = { 0 };
	struct vq_type t;
	void *data;
	size_t n;
	char *bytes = fixture(name, &n);
	int worst = 0;

	ck_assert_int_eq(vq_npy_read(expected, &t, &data, &d), 0);
	ck_assert_int_eq(vq_picture_head(k, bytes, n, &head, why), 0);
	ck_assert_int_eq(vq_picture_decode(k, bytes, n, &p, why), 0);
	ck_assert_int_eq(p.h, t.shape.dim[0]);
	ck_assert_int_eq(p.w, t.shape.dim[1]);
	ck_assert_int_eq(p.c, t.shape.dim[2]);
	ck_assert(head.h == p.h && head.w == p.w && head.c == p.c);
	for (int64_t i = 0; i < p.h * p.w * p.c; i++) {
		int off = abs(p.pixel[i] - ((uint8_t *)data)[i]);

		worst = off > worst ? off : worst;
	}
	/* PNG is exact; builds of libjpeg may round in their own way. */
	ck_assert_int_le(worst, strstr(name, ".jpg") != NULL ? 2 : 0);
	vq_decoder_free(k);
	free(expected);
	free(bytes);
	free(data);
}
END_TEST

/* Cut anywhere, a picture is refused; altered anywhere, nothing bad happens. */
START_TEST(damaged_pictures)
{
	struct vq_decoder *k = vq_decoder_new();
	struct vq_picture p;
	char why[VQ_WHY];
	size_t n;
	char *bytes = fixture(readable[_i], &n);
	bool jpeg = strstr(readable[_i], ".jpg") != NULL;

	/* The last bytes of a JPEG are its end marker and padding of its last code. */
	for (size_t cut = 0; cut < n - (jpeg ? 4 : 0); cut++) {
		/* A copy of that size, so that a sanitizer sees a step too far. */
		char *part = vq_alloc(cut + 1);

		memcpy(part, bytes, cut);
		why[0] = '\0';
		ck_assert_msg(vq_picture_decode(k, part, cut, &p, why) < 0, "cut to %zu of %zu", cut, n);
		ck_assert_int_gt((int)strlen(why), 0);
		free(part);
	}
	for (size_t i = 0; i < n; i++)
		for (int flip = 1; flip < 256; flip *= 2) {
			bytes[i] ^= (char)flip;
			vq_picture_decode(k, bytes, n, &p, why);
			bytes[i] ^= (char)flip;
		}
	ck_assert_msg(vq_picture_decode(k, bytes, n, &p, why) == 0, "%s", why);
	free(bytes);
	vq_decoder_free(k);
}
END_TEST

START_TEST(what_is_no_picture)
{
	struct vq_decoder *k = vq_decoder_new();
	struct vq_picture p;
	char why[VQ_WHY];
	size_t n;
	char *bytes = fixture("other.bmp", &n);

	ck_assert_int_lt(vq_picture_decode(k, bytes, n, &p, why), 0);
	ck_assert_ptr_nonnull(strstr(why, "neither JPEG nor PNG"));
	free(bytes);
	ck_assert_int_lt(vq_picture_decode(k, "", 0, &p, why), 0);
	ck_assert_str_eq(why, "is empty");
	bytes = fixture("cmyk.jpg", &n);
	ck_assert_int_lt(vq_picture_decode(k, bytes, n, &p, why), 0);
	ck_assert_ptr_nonnull(strstr(why, "CMYK"));
	free(bytes);
	/* Tables of a JPEG without a picture behind them. */
	ck_assert_int_lt(vq_picture_decode(k, "\xff\xd8\xff\xd9", 4, &p, why), 0);
	bytes = fixture("rgb.jpg", &n);
	for (size_t i = 0; i + 1 < n; i++)
		if ((uint8_t)bytes[i] == 0xff && (uint8_t)bytes[i + 1] == 0xc0) {
			bytes[i + 1] = (char)0xd9;
			ck_assert_int_lt(vq_picture_decode(k, bytes, i + 2, &p, why), 0);
		}
	ck_assert_str_eq(why, "JPEG: holds no picture");
	free(bytes);
	/* A header of sizes that no memory holds: refused from the header. */
	bytes = fixture("rgb.png", &n);
	memcpy(bytes + 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0", 13);
	ck_assert_int_lt(vq_picture_decode(k, bytes, n, &p, why), 0);
	free(bytes);
	bytes = fixture("rgb.jpg", &n);
	for (size_t i = 0; i + 9 < n; i++)
		if ((uint8_t)bytes[i] == 0xff && (uint8_t)bytes[i + 1] == 0xc0)
			memcpy(bytes + i + 5, "\xff\xdc\xff\xdc", 4);
	ck_assert_int_lt(vq_picture_decode(k, bytes, n, &p, why), 0);
	ck_assert_ptr_nonnull(strstr(why, "is 65500 x 65500"));
	free(bytes);
	vq_decoder_free(k);
}
END_TEST

/* --- folders ----------------------------------------------------------------- */

static void
put_set(void)
{
	put_grey("set/train/cat/b.png", 2);
	put_grey("set/train/cat/a.png", 1);
	put_grey("set/train/dog/x.png", 10);
	put_grey("set/train/Bee/deep/er/k.png", 20);
	put_grey("set/test/dog/y.png", 30);
	put_grey("set/validation/cat/z.png", 40);
	put("set/train/cat/.hidden", "text", 4);
	put("set/train/cat/list.txt", "text", 4);
	put("set/README", "text", 4);
}

START_TEST(folder_order)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;

	put_set();
	/* Bee 0, cat 1, dog 2: by bytes, and the same where a class is absent. */
	expect("./set", "train", "1:1 20:0 10:2 2:1");
	expect("./set", "test", "30:2");
	expect("set/", "val", "40:1");
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 3);
	ck_assert_str_eq(d->class_name[0], "Bee");
	ck_assert_str_eq(d->class_name[2], "dog");
	ck_assert_ptr_null(d->note);
	ck_assert_double_eq_tol(d->variance, (1 + 400 + 100 + 4 - 33. * 33 / 4) / 4 / 255 / 255, 1e-12);
	vq_dataset_close(d);
	s.skip = 1;
	s.limit = 2;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 2);
	char *is = contents(d);
	ck_assert_str_eq(is, "20:0 10:2");
	free(is);
	vq_dataset_close(d);
}
END_TEST

/* A folder has no file to hash: what was read is. */
START_TEST(hash_of_what_was_read)
{
	struct vq_data_spec s = spec_of("./set");
	char hex[4][65];
	struct vq_diags diags = { 0 };

	put_set();
	for (int i = 0; i < 4; i++) {
		struct vq_dataset *d;

		if (i == 2)
			put_grey("set/train/cat/b.png", 3);
		if (i == 3) {
			put_grey("set/train/cat/b.png", 2);
			rename("set/train/dog/x.png", "set/train/cat/x.png");
			put_grey("set/train/dog/x.png", 1);
		}
		d = open_whole(&s);
		ck_assert_int_eq(d->files, 0);
		ck_assert_int_eq(vq_dataset_sha256(d, hex[i], &diags), 0);
		ck_assert_uint_eq(strlen(hex[i]), 64);
		vq_dataset_close(d);
	}
	ck_assert_str_eq(hex[0], hex[1]);
	ck_assert_str_ne(hex[0], hex[2]);
	ck_assert_str_ne(hex[0], hex[3]);
}
END_TEST

/* The first n samples hold classes in proportion, whatever their sizes. */
START_TEST(first_samples_are_of_all_classes)
{
	struct vq_data_spec s = spec_of("./set");
	int seen[2] = { 0, 0 };
	struct vq_dataset *d;
	char name[64];

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "set/train/%s/%02d.png", i < 30 ? "many" : "few", i);
		put_grey(name, i);
	}
	d = open_whole(&s);
	for (uint32_t i = 0; i < 40; i++) {
		int32_t y;

		d->kind->gather(d, 1, &i, 1, &y);
		seen[y]++;
		ck_assert_int_le(abs(seen[1] - 3 * seen[0]), 3);
	}
	vq_dataset_close(d);
}
END_TEST

/* Whoever waits hears how far it has come, and in the end of every picture. */
START_TEST(reading_is_told)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_diags diags = { 0 };
	struct vq_reading now = { -1, -1 };
	char name[64];
	int64_t last = 0;

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "set/train/%c/%03d.png", 'a' + i % 2, i);
		put_grey(name, i);
	}
	struct vq_opening *o = vq_dataset_open_begin(&s);
	while (!vq_dataset_open_wait(o, 0.001, &now)) {
		ck_assert_int_ge(now.done, last);
		last = now.done;
	}
	ck_assert_int_eq(now.done, 40);
	ck_assert_int_eq(now.total, 40);
	ck_assert(vq_dataset_open_wait(o, 0, &now));
	struct vq_dataset *d = vq_dataset_open_end(o, &diags);
	ck_assert_ptr_nonnull(d);
	vq_dataset_close(d);
	vq_diags_free(&diags);
}
END_TEST

START_TEST(same_on_any_threads)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	char name[64], *text[2];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "set/train/%c/%03d.png", 'a' + i % 7, i);
		put_grey(name, i);
	}
	for (int turn = 0; turn < 2; turn++) {
		vq_threads_set(turn == 0 ? 1 : 4);
		d = open_whole(&s);
		text[turn] = contents(d);
		vq_dataset_close(d);
	}
	vq_threads_set(0);
	ck_assert_str_eq(text[0], text[1]);
	free(text[0]);
	free(text[1]);
}
END_TEST

START_TEST(bad_pictures)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	size_t n;
	char *bytes = grey_png(7, &n), *is;

	put_set();
	put("set/train/cat/cut.png", bytes, n - 20);
	put("set/train/dog/empty.jpg", "", 0);
	put_fixture("set/train/dog/other.gif", "other.bmp");
	ck_assert_int_eq(mkfifo("set/train/dog/pipe.png", 0644), 0);
	free(bytes);
	refuses(&s, VQ_DATA, "4 of 8 pictures of the split train cannot be read");
	refuses(&s, VQ_DATA, "train/cat/cut.png PNG: ");
	refuses(&s, VQ_DATA, "train/dog/empty.jpg is empty");
	refuses(&s, VQ_DATA, "train/dog/other.gif is neither JPEG nor PNG: starts with 42 4d");
	refuses(&s, VQ_DATA, "train/dog/pipe.png is not a regular file");
	refuses(&s, VQ_DATA, "bad: skip");
	s.bad = VQ_BAD_SKIP;
	d = open_whole(&s);
	is = contents(d);
	ck_assert_int_eq(d->count, 4);
	ck_assert_str_eq(is, "1:1 20:0 2:1 10:2");
	ck_assert_ptr_nonnull(strstr(d->note, "left out 4 of 8 pictures"));
	ck_assert_ptr_nonnull(strstr(d->note, "train/dog/empty.jpg is empty"));
	free(is);
	vq_dataset_close(d);
	s.split = "test";
	unlink("set/test/dog/y.png");
	put("set/test/dog/y.png", "no", 2);
	refuses(&s, VQ_DATA, "none of the 1 pictures");
}
END_TEST

START_TEST(ten_bad_ones_are_named)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_diags d = { 0 };
	char name[64];

	put_set();
	for (int i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "set/train/cat/bad%02d.png", i);
		put(name, "", 0);
	}
	ck_assert_ptr_null(vq_dataset_open(&s, &d));
	ck_assert_int_eq(d.total, 1);
	ck_assert_int_eq(d.diag[0]->lines, 12);
	ck_assert_str_eq(d.diag[0]->line[9].text, "train/cat/bad09.png is empty");
	ck_assert_str_eq(d.diag[0]->line[10].text, "and 5 more");
	vq_diags_free(&d);
}
END_TEST

START_TEST(pictures_that_differ)
{
	struct vq_data_spec s = spec_of("./set");

	put_fixture("set/train/a/1.png", "rgb.png");
	put_fixture("set/train/b/2.png", "grey.png");
	put_grey("set/train/c/3.png", 1);
	refuses(&s, VQ_DATA, "train/b/2.png is grey, where the first is in colour");
	refuses(&s, VQ_DATA, "train/c/3.png is 3 x 2, where the first is 13 x 18");
}
END_TEST

/* With a size and channels to bring them to, they are a set. */
START_TEST(pictures_made_alike)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	struct vq_diags diags = { 0 };
	struct vq_type t;
	char *path = vq_asprintf("%s/tests/fixtures/fit-bilinear-13x9.npy", VQ_SRCDIR);
	uint8_t *expected;
	float x[13 * 9 * 3];
	uint32_t index = 0;

	put_fixture("set/train/a/1.png", "rgb.png");
	put_fixture("set/train/b/2.jpg", "grey.jpg");
	put_grey("set/train/c/3.png", 1);
	s.size = (struct vq_ints){ 2, { 13, 9 } };
	refuses(&s, VQ_DATA, "train/b/2.jpg is grey");
	s.channels = 3;
	d = open_whole(&s);
	ck_assert_int_eq(vq_npy_read(path, &t, (void **)&expected, &diags), 0);
	d->kind->gather(d, 0, &index, 1, x);
	for (int i = 0; i < 13 * 9 * 3; i++)
		ck_assert_int_eq(lroundf(x[i] * 255), expected[i]);
	index = 2;
	d->kind->gather(d, 0, &index, 1, x);
	for (int i = 0; i < 13 * 9 * 3; i++)
		ck_assert_int_eq(lroundf(x[i] * 255), 1);
	vq_dataset_close(d);
	s.channels = 1;
	d = open_whole(&s);
	ck_assert_int_eq(vq_shape_count(&d->field[0].type.shape), 13 * 9);
	vq_dataset_close(d);
	free(expected);
	free(path);
}
END_TEST

START_TEST(folders_that_do_not_fit)
{
	struct vq_data_spec s = spec_of("./set");

	mkdir("set", 0755);
	refuses(&s, VQ_DATA, "holds nothing that is known as data");
	mkdir("set/train", 0755);
	refuses(&s, VQ_DATA, "holds no pictures of the split train");
	mkdir("set/train/cat", 0755);
	refuses(&s, VQ_DATA, "holds no pictures of the split train");
	put_grey("set/train/dog/1.png", 5);
	refuses(&s, VQ_DATA, "the class cat has a folder in the split train, but no picture");
	s.bad = VQ_BAD_SKIP;
	vq_dataset_close(open_whole(&s));
	s.split = "test";
	refuses(&s, VQ_DATA, "test is missing");
	s.split = "dev";
	refuses(&s, VQ_CONFIG, "'./set' has no split 'dev'");
	refuses(&s, VQ_CONFIG, "you may mean: val");
	refuses(&s, VQ_CONFIG, "its splits are train, test and val");
}
END_TEST

/* --- archives ---------------------------------------------------------------- */

static void
put_tar(const char *path, bool gzip, const char *before)
{
	static const struct { const char *name; int level; } file[] = {
		{ "train/dog/x.png", 10 }, { "test/dog/y.png", 30 }, { "train/cat/b.png", 2 }, { "train/cat/a.png", 1 },
		{ "valid/cat/z.png", 40 }, { "train/Bee/deep/er/k.png", 20 },
	};
	struct archive *a = tar_begin(path, gzip);

	tar_add(a, "README", AE_IFREG, "text", 4);
	for (size_t i = 0; i < VQ_COUNT(file); i++) {
		char *name = vq_asprintf("%s%s", before, file[i].name);

		tar_grey(a, name, file[i].level);
		free(name);
	}
	tar_end(a);
}

START_TEST(archive_is_as_the_folder)
{
	static const char *const before[] = { "", "./", "pictures/", "./pictures/" };

	for (int i = 0; i < 8; i++) {
		const char *name = i % 2 ? "set.tar.gz" : "set.tar";

		put_tar(name, i % 2, before[i / 2]);
		expect(name, "train", "1:1 20:0 10:2 2:1");
		expect(name, "test", "30:2");
		expect(name, "val", "40:1");
	}
}
END_TEST

START_TEST(hostile_names)
{
	struct vq_data_spec s = spec_of("set.tar");
	struct archive *a = tar_begin("set.tar", false);

	tar_grey(a, "../train/cat/out.png", 9);
	tar_grey(a, "train/../cat/out.png", 9);
	tar_grey(a, "train/cat/../../out.png", 9);
	tar_grey(a, "/train/cat/out.png", 9);
	tar_grey(a, "train/out.png", 9);
	tar_grey(a, "a/b/train/cat/out.png", 9);
	tar_grey(a, "train/cat/in.png", 1);
	tar_end(a);
	expect("set.tar", "train", "1:0");
	ck_assert_int_lt(access("../train", F_OK), 0);

	a = tar_begin("set.tar", false);
	tar_grey(a, "train/cat/in.png", 1);
	tar_add(a, "train/cat/link.png", AE_IFLNK, NULL, 0);
	tar_add(a, "train/cat/pipe.png", AE_IFIFO, NULL, 0);
	tar_end(a);
	refuses(&s, VQ_DATA, "train/cat/link.png is a link or a device");
	refuses(&s, VQ_DATA, "train/cat/pipe.png is a link or a device");
	s.bad = VQ_BAD_SKIP;
	vq_dataset_close(open_whole(&s));

	a = tar_begin("set.tar", false);
	tar_grey(a, "one/train/cat/in.png", 1);
	tar_grey(a, "two/train/cat/in.png", 1);
	tar_end(a);
	refuses(&s, VQ_DATA, "holds two sets, below 'one/' and below 'two/'");

	a = tar_begin("set.tar", false);
	tar_add(a, "train/cat", AE_IFDIR, NULL, 0);
	tar_grey(a, "train/dog/in.png", 1);
	tar_end(a);
	s.bad = VQ_BAD_FAIL;
	refuses(&s, VQ_DATA, "the class cat has a folder in the split train, but no picture");
	s.split = "test";
	refuses(&s, VQ_DATA, "holds no pictures of the split test");

	/* A file that was added again replaces the earlier one. */
	a = tar_begin("set.tar", false);
	tar_grey(a, "train/dog/in.png", 1);
	tar_grey(a, "train/dog/in.png", 2);
	tar_end(a);
	expect("set.tar", "train", "2:0");
}
END_TEST

/* A tar whose header says that a file has 8 GB, and one cut anywhere. */
START_TEST(damaged_archives)
{
	struct vq_data_spec s = spec_of("set.tar");
	struct vq_diags d = { 0 };
	size_t n;
	char *bytes;
	unsigned sum = 0;

	put_tar("set.tar", false, "");
	bytes = vq_file_read("set.tar", 1 << 20, &n, VQ_DATA, &d);
	for (size_t cut = 0; cut <= n - 1024; cut += cut % 512 == 0 ? 97 : 512 - cut % 512) {
		put("set.tar", bytes, cut);
		ck_assert_ptr_null(vq_dataset_open(&s, &d));
		ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
		vq_diags_free(&d);
		memset(&d, 0, sizeof(d));
	}
	memcpy(bytes + 1024 + 124, "77777777777", 11);
	memset(bytes + 1024 + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)bytes[1024 + i];
	snprintf(bytes + 1024 + 148, 8, "%06o", sum);
	put("set.tar", bytes, n);
	refuses(&s, VQ_DATA, "damaged or no archive");
	free(bytes);
	put_tar("set.tar", true, "");
	bytes = vq_file_read("set.tar", 1 << 20, &n, VQ_DATA, &d);
	for (size_t cut = 0; cut < n; cut += 29) {
		put("set.tar", bytes, cut);
		ck_assert_ptr_null(vq_dataset_open(&s, &d));
		ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
		vq_diags_free(&d);
		memset(&d, 0, sizeof(d));
	}
	free(bytes);
	put("set.tar", "no archive at all, but some text that is long enough to be looked at", 68);
	refuses(&s, VQ_DATA, "damaged or no archive");
	unlink("set.tar");
	refuses(&s, VQ_DATA, "No such file");
	put("set.dat", "x", 1);
	s.source = "./set.dat";
	refuses(&s, VQ_DATA, "is no file that is known as data");
}
END_TEST

START_TEST(cifar10_is_found)
{
	static const char *const names[] = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
		"ship", "truck" };
	struct vq_data_spec s = spec_of("cifar10");
	struct archive *a;
	char name[64];

	refuses(&s, VQ_DATA, "is not on this machine");
	refuses(&s, VQ_DATA, "cifar10-jpeg.tar");
	mkdir("data", 0755);
	a = tar_begin("data/cifar10-jpeg.tar", false);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%s/%s/1.png", i < 10 ? "train" : "test", names[i % 10]);
		tar_grey(a, name, i);
	}
	tar_end(a);
	expect("cifar10", "train", "0:0 1:1 2:2 3:3 4:4 5:5 6:6 7:7 8:8 9:9");
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "data/cifar10/train/%s/1.png", names[i]);
		put_grey(name, 30 + i);
	}
	expect("cifar10", "train", "30:0 31:1 32:2 33:3 34:4 35:5 36:6 37:7 38:8 39:9");
	/* Where the folder lacks a split, the archive is next. */
	expect("cifar10", "test", "10:0 11:1 12:2 13:3 14:4 15:5 16:6 17:7 18:8 19:9");
	put_grey("data/cifar10/train/eleventh/1.png", 1);
	refuses(&s, VQ_DATA, "data/cifar10: holds 11 classes; cifar10 has 10");
	s.split = "val";
	refuses(&s, VQ_CONFIG, "its splits are train and test");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pictures");
	TCase *t = tcase_create("pictures");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 180);
	tcase_add_loop_test(t, as_pillow_decodes, 0, (int)VQ_COUNT(readable));
	tcase_add_loop_test(t, damaged_pictures, 0, (int)VQ_COUNT(readable));
	tcase_add_test(t, what_is_no_picture);
	tcase_add_test(t, folder_order);
	tcase_add_test(t, hash_of_what_was_read);
	tcase_add_test(t, first_samples_are_of_all_classes);
	tcase_add_test(t, reading_is_told);
	tcase_add_test(t, same_on_any_threads);
	tcase_add_test(t, bad_pictures);
	tcase_add_test(t, ten_bad_ones_are_named);
	tcase_add_test(t, pictures_that_differ);
	tcase_add_test(t, pictures_made_alike);
	tcase_add_test(t, folders_that_do_not_fit);
	tcase_add_test(t, archive_is_as_the_folder);
	tcase_add_test(t, hostile_names);
	tcase_add_test(t, damaged_archives);
	tcase_add_test(t, cifar10_is_found);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
