/*
 * check_layouts -- lists of pictures, pictures without classes, and published sets as their authors lay
 * them out: on disk and in archives, whole, cut and altered
 */
#include <check.h>
#include <string.h>
#include <unistd.h>

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

static void
put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static void
refuses_split(const char *source, const char *split, const char *text)
{
	struct vq_data_spec s = spec_of(source);

	s.split = split;
	refuses(&s, VQ_DATA, text);
}

static struct archive *packing;

static int
add_to_tar(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	struct vq_diags d = { 0 };
	size_t n;

	if (kind == FTW_F) {
		char *bytes = vq_file_read(path, 1 << 20, &n, VQ_DATA, &d);

		ck_assert_ptr_nonnull(bytes);
		tar_add(packing, path, AE_IFREG, bytes, n);
		free(bytes);
	}
	return 0;
}

/* All of a folder, with its name before each file's. */
static void
pack(const char *folder, const char *to, bool gzip)
{
	packing = tar_begin(to, gzip);
	ck_assert_int_eq(nftw(folder, add_to_tar, 8, FTW_PHYS), 0);
	tar_end(packing);
}

/* --- lists ------------------------------------------------------------------- */

static void
put_four(void)
{
	put_grey("p/a.png", 1);
	put_grey("p/in side/b c.png", 2);
	put_grey("p/d.PNG", 3);
	put_grey("p/e.jpg", 4);		/* told by its bytes */
}

START_TEST(list_of_paths)
{
	struct vq_data_spec s = spec_of("p/some.txt");
	struct vq_dataset *d;

	put_four();
	put_text("p/some.txt", "\xef\xbb\xbf./d.PNG\r\n\n# no picture\nin side/b c.png\na.png\na.png");
	expect("p/some.txt", "train", "3 2 1 1");
	expect("p/some.txt", "test", "3 2 1 1");		/* a file is one split */
	d = open_whole(&s);
	ck_assert_int_eq(d->fields, 1);
	ck_assert_int_eq(d->classes, 0);
	ck_assert_str_eq(d->absent, "label behind the paths in p/some.txt");
	vq_dataset_close(d);

	char *full = vq_asprintf("%s/p/a.png\n", dir);

	put_text("elsewhere.txt", full);
	expect("elsewhere.txt", "train", "1");
	free(full);
}
END_TEST

START_TEST(list_with_labels)
{
	struct vq_data_spec s = spec_of("p/some.txt");
	struct vq_dataset *d;
	int32_t row[3];

	put_four();
	put_text("p/some.txt", "a.png 2\nin side/b c.png\t0\nd.PNG  1\ne.jpg,2\n");
	expect("p/some.txt", "train", "1:2 2:0 3:1 4:2");
	put_text("p/some.csv", "image,label\na.png,2\n\"in side/b c.png\",0\n");
	expect("p/some.csv", "train", "1:2 2:0");
	put_text("p/some.tsv", "a.png\t0\nin side/b c.png\t1\n");
	expect("p/some.tsv", "train", "1:0 2:1");
	put_text("p/some.csv", "\"a.png\",\"small, \"\"grey\"\"\"\nd.PNG,big\n");
	s.source = "p/some.csv";
	d = open_whole(&s);
	ck_assert_str_eq(d->class_name[1], "small, \"grey\"");
	vq_dataset_close(d);
	/* Names are sorted, and may hold blanks. */
	put_text("p/some.txt", "a.png golden retriever\nd.PNG ant\ne.jpg golden retriever\n");
	expect("p/some.txt", "train", "1:1 3:0 4:1");
	s.source = "p/some.txt";
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 2);
	ck_assert_str_eq(d->class_name[1], "golden retriever");
	vq_dataset_close(d);
	/* Several numbers are a vector. */
	put_text("p/some.txt", "a.png 1 0 -5\nd.PNG 0 1 7\n");
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 0);
	ck_assert_int_eq(d->field[1].type.shape.dim[0], 3);
	d->kind->gather(d, 1, &(uint32_t){ 1 }, 1, row);
	ck_assert(row[0] == 0 && row[1] == 1 && row[2] == 7);
	vq_dataset_close(d);
}
END_TEST

/* A class has one number in all splits. */
START_TEST(lists_of_splits)
{
	struct vq_data_spec s = spec_of("p");
	struct vq_dataset *d;

	put_four();
	put_text("p/train.txt", "a.png dog\nd.PNG ant\n");
	put_text("p/test.txt", "e.jpg dog\n");
	put_text("p/valid.txt", "e.jpg bee\n");
	expect("./p", "train", "1:2 3:0");
	expect("./p", "test", "4:2");
	expect("./p", "val", "4:1");
	expect("p/test.txt", "train", "4:2");
	pack("p", "p.tar", false);
	expect("p.tar", "train", "1:2 3:0");
	expect("p.tar", "val", "4:1");
	s.source = "./p";
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 3);
	vq_dataset_close(d);
	put_text("p/my_train_list.txt", "a.png 0\n");
	put_text("p/my_test_list.txt", "e.jpg 4\n");
	s.source = "p/my_train_list.txt";
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 5);
	vq_dataset_close(d);
	unlink("p/valid.txt");
	refuses_split("./p", "val", "val is missing");
}
END_TEST

START_TEST(lists_that_are_wrong)
{
	static const struct { const char *text, *why; } bad[] = {
		{ "a.png 1\nd.PNG\n", "p/train.txt:2: there is no label, where p/train.txt:1 has a number" },
		{ "a.png\nd.PNG 1\n", "p/train.txt:2: there is one label, where p/train.txt:1 has none" },
		{ "# x\na.png 1 2\nd.PNG 1\n", "p/train.txt:3: there is one label, where p/train.txt:2 has 2 numbers" },
		{ "# x\na.png 1 2\nd.PNG 1 2 3\n", "p/train.txt:3: there are 3 numbers, where p/train.txt:2 has 2 numbers" },
		{ "a.png 1\nd.PNG x\n", "p/train.txt:2: the label is no number, where p/train.txt:1 has a number" },
		{ "a.png -1\n", "p/train.txt:1: the class -1 is not of 0 to 1048575" },
		{ "a.png 99999999\n", "p/train.txt:1: the class 99999999 is not of 0 to" },
		{ "\n\n", "p/train.txt: names no pictures" },
		{ "", "p/train.txt: names no pictures" },
		{ "a.png 0\nnone.png 1\n", "p/train.txt:2: none.png cannot be read: No such file" },
		{ "a.png 0\n/etc/passwd 1\n", "p/train.txt:2: /etc/passwd is neither JPEG nor PNG" },
	};
	struct vq_data_spec s = spec_of("p/train.txt");
	struct vq_dataset *d;

	put_four();
	for (size_t i = 0; i < VQ_COUNT(bad); i++) {
		put_text("p/train.txt", bad[i].text);
		refuses_split("p/train.txt", "train", bad[i].why);
	}
	put("p/train.txt", "a.png 0\nd\0e.png 1\n", 18);
	refuses_split("p/train.txt", "train", "p/train.txt:2: this is no text");
	put_text("p/train.csv", "a.png,cat,dog\n");
	refuses_split("p/train.csv", "train", "p/train.csv:1: the label 'cat' is no whole number");
	put_text("p/train.txt", "a.png 0\nnone.png 1\n");
	s.bad = VQ_BAD_SKIP;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 1);
	ck_assert_ptr_nonnull(strstr(d->note, "p/train.txt:2: none.png"));
	vq_dataset_close(d);
	unlink("p/train.txt");
	refuses_split("p/train.txt", "train", "No such file");
	pack("p", "p.tar", false);
	put_text("p/test.txt", "a.png\nelse.png\n");
	unlink("p/train.csv");
	pack("p", "p.tar", true);
	refuses_split("p.tar", "test", "/test.txt:2: else.png is not in the archive");
}
END_TEST

/* Whatever stands in a list, nothing bad happens. */
START_TEST(altered_list)
{
	char text[] = "a.png 1\n\"in side/b c.png\",3\nd.PNG\t2\ne.jpg 4 5 6\n";
	static const char other[] = "\0\n\",\t .#\xff/";
	struct vq_diags d = { 0 };

	put_four();
	for (int list = 0; list < 3; list++) {
		static const char *const name[] = { "p/x.txt", "p/x.csv", "p/x.tsv" };
		struct vq_data_spec s = spec_of(name[list]);

		for (size_t i = 0; i < sizeof(text); i++)
			for (size_t k = 0; k < sizeof(other); k++) {
				char was = text[i];

				text[i] = other[k];
				put(name[list], text, sizeof(text) - (k == 0));
				vq_dataset_close(vq_dataset_open(&s, &d));
				vq_diags_free(&d);
				memset(&d, 0, sizeof(d));
				text[i] = was;
			}
	}
}
END_TEST

/* --- pictures alone ---------------------------------------------------------- */

START_TEST(without_classes)
{
	struct vq_data_spec s = spec_of("./p");
	struct vq_dataset *d;

	put_grey("p/b.png", 2);
	put_grey("p/a.png", 1);
	put_grey("p/more/c.png", 3);
	put_text("p/README", "text");
	put_text("p/notes.txt", "text");
	expect("./p", "train", "1 2 3");
	refuses_split("./p", "test", "test is missing");
	d = open_whole(&s);
	ck_assert_ptr_nonnull(strstr(d->absent, "folder for each class in ./p"));
	vq_dataset_close(d);
	s.skip = 1;
	s.limit = 1;
	d = open_whole(&s);
	char *is = contents(d);
	ck_assert_str_eq(is, "2");
	free(is);
	vq_dataset_close(d);
	pack("p", "p.tar", true);
	expect("p.tar", "train", "1 2 3");

	/* Folders of classes, without splits. */
	put_grey("q/dog/1.png", 10);
	put_grey("q/cat/deep/1.png", 20);
	expect("./q", "train", "20:0 10:1");
	pack("q", "q.tar", false);
	expect("q.tar", "train", "20:0 10:1");

	/* Splits without classes. */
	put_grey("r/train/2.png", 7);
	put_grey("r/train/1.png", 6);
	put_grey("r/test/x/1.png", 8);
	expect("./r", "train", "6 7");
	expect("./r", "test", "8:0");
	pack("r", "r.tar", false);
	expect("r.tar", "train", "6 7");
	expect("r.tar", "test", "8:0");
}
END_TEST

/* --- published sets ---------------------------------------------------------- */

static void
put_celeba(const char *folder, const char *inside, const char *first, bool csv)
{
	struct vq_text part = { 0 }, attr = { 0 };
	char path[128];

	vq_text_add(&part, "%s", csv ? "image_id,partition\n" : "");
	vq_text_add(&attr, "%s", csv ? "" : "4\n");
	for (int i = 0; i < 40; i++)
		vq_text_add(&attr, csv ? "%sA%d" : "%sA%d ", i == 0 ? (csv ? "image_id," : "") : csv ? "," : "", i);
	vq_text_add(&attr, "\n");
	for (int n = 1; n <= 4; n++) {
		snprintf(path, sizeof(path), "%s/%s/%06d.jpg", folder, inside, n);
		put_grey(path, 10 * n);
		vq_text_add(&part, csv ? "%06d.jpg,%d\n" : "%06d.jpg %d\n", n, n < 3 ? 0 : n - 2);
		vq_text_add(&attr, "%06d.jpg", n);
		for (int i = 0; i < 40; i++)
			vq_text_add(&attr, csv ? ",%d" : "%3d", i == n || i == 39 ? 1 : -1);
		vq_text_add(&attr, "\n");
	}
	snprintf(path, sizeof(path), "%s/%slist_eval_partition.%s", folder, first, csv ? "csv" : "txt");
	put(path, part.s, part.len);
	snprintf(path, sizeof(path), "%s/%slist_attr_celeba.%s", folder, first, csv ? "csv" : "txt");
	put(path, attr.s, attr.len);
	vq_text_free(&part);
	vq_text_free(&attr);
}

static void
expect_celeba(const char *source)
{
	static const struct { const char *split; int count, first; } part[] = { { "train", 2, 1 }, { "val", 1, 3 }, { "test", 1, 4 } };

	for (size_t p = 0; p < VQ_COUNT(part); p++) {
		struct vq_data_spec s = spec_of(source);
		struct vq_dataset *d;
		int32_t y[40];
		float x[6];

		s.split = part[p].split;
		d = open_whole(&s);
		ck_assert_int_eq(d->count, part[p].count);
		ck_assert_int_eq(d->classes, 0);
		for (uint32_t i = 0; i < d->count; i++) {
			d->kind->gather(d, 0, &i, 1, x);
			d->kind->gather(d, 1, &i, 1, y);
			ck_assert_int_eq(lround(x[0] * 255), 10 * (part[p].first + (int)i));
			for (int k = 0; k < 40; k++)
				ck_assert_int_eq(y[k], k == part[p].first + (int)i || k == 39);
		}
		vq_dataset_close(d);
	}
}

START_TEST(celeba)
{
	struct vq_data_spec s = spec_of("celeba");
	struct vq_dataset *d;

	put_celeba("data/celeba", "img_align_celeba", "", false);
	expect_celeba("celeba");
	expect_celeba("data/celeba");
	put_celeba("kaggle", "img_align_celeba/img_align_celeba", "", true);
	expect_celeba("./kaggle");
	ck_assert_int_eq(chdir("data"), 0);
	pack("celeba", "../whole.tar.gz", true);
	ck_assert_int_eq(chdir("celeba"), 0);
	pack("img_align_celeba", "img_align_celeba.zip", false);	/* told by its bytes */
	rename("img_align_celeba", "../away");
	ck_assert_int_eq(chdir("../.."), 0);
	expect_celeba("celeba");
	expect_celeba("whole.tar.gz");
	/* Attributes may be absent, a partition may not be wrong. */
	unlink("data/celeba/list_attr_celeba.txt");
	expect("celeba", "train", "10 20");
	d = open_whole(&s);
	ck_assert_str_eq(d->absent, "data/celeba/list_attr_celeba.txt");
	vq_dataset_close(d);
	put_text("data/celeba/list_attr_celeba.txt", "1\nA\n000001.jpg 1 -1\n");
	refuses_split("celeba", "train", "list_attr_celeba.txt:3: there are 2 attributes, not 40");
	put_text("data/celeba/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 3\n");
	unlink("data/celeba/list_attr_celeba.txt");
	refuses_split("celeba", "train", "list_eval_partition.txt:2: wanted is a picture and 0 (train), 1 (val) or 2 (test)");
	put_text("data/celeba/list_eval_partition.txt", "000001.jpg 0\n000009.jpg 0\n");
	refuses_split("celeba", "train", "list_eval_partition.txt:2: img_align_celeba/000009.jpg is not in the archive");
	unlink("data/celeba/list_eval_partition.txt");
	refuses_split("celeba", "train", "img_align_celeba with list_eval_partition.txt is missing");
}
END_TEST

static void
put_tiny(const char *folder)
{
	static const char *const id[] = { "n03", "n01" };
	char path[128];

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/train/%s/images/%s_%d.JPEG", folder, id[i % 2], id[i % 2], i);
		put_grey(path, i);
		snprintf(path, sizeof(path), "%s/val/images/val_%d.JPEG", folder, i);
		put_grey(path, 10 + i);
		snprintf(path, sizeof(path), "%s/test/images/test_%d.JPEG", folder, i);
		put_grey(path, 20 + i);
	}
	snprintf(path, sizeof(path), "%s/train/n01/n01_boxes.txt", folder);
	put_text(path, "n01_1.JPEG\t0\t1\t2\t3\n");
	snprintf(path, sizeof(path), "%s/wnids.txt", folder);
	put_text(path, "n03\nn01\nn02\n");
	snprintf(path, sizeof(path), "%s/val/val_annotations.txt", folder);
	put_text(path, "val_0.JPEG\tn01\t0\t32\t44\t62\nval_1.JPEG\tn02\t0\t0\t1\t1\nval_2.JPEG\tn03\t0\t0\t1\t1\n");
}

START_TEST(tiny_imagenet)
{
	static const char *const source[] = { "tinyimagenet", "data/tiny-imagenet-200", "tiny.tar.gz" };

	put_tiny("data/tiny-imagenet-200");
	ck_assert_int_eq(chdir("data"), 0);
	pack("tiny-imagenet-200", "../tiny.tar.gz", true);
	ck_assert_int_eq(chdir(".."), 0);
	for (size_t i = 0; i < VQ_COUNT(source); i++) {
		/* By the names of classes, of which n02 has no picture here. */
		expect(source[i], "train", "1:0 0:2 3:0 2:2");
		expect(source[i], "val", "10:0 11:1 12:2");
		expect(source[i], "test", "20 21 22 23");
	}
	put_text("data/tiny-imagenet-200/val/val_annotations.txt", "val_0.JPEG\tn01\nval_1.JPEG\tn09\n");
	refuses_split("tinyimagenet", "val", "val_annotations.txt:2: 'n09' is not in wnids.txt");
	put_text("data/tiny-imagenet-200/val/val_annotations.txt", "val_0.JPEG\n");
	refuses_split("tinyimagenet", "val", "val_annotations.txt:1: 'val_0.JPEG' has no class behind it");
	unlink("data/tiny-imagenet-200/val/val_annotations.txt");
	put_grey("data/tiny-imagenet-200/val/n02/x.JPEG", 5);
	rename("data/tiny-imagenet-200/val/images", "moved");
	expect("tinyimagenet", "val", "5:1");
}
END_TEST

START_TEST(dtd)
{
	put_grey("data/dtd/images/lined/lined_1.jpg", 1);
	put_grey("data/dtd/images/lined/lined_2.jpg", 2);
	put_grey("data/dtd/images/banded/banded_1.jpg", 3);
	put_grey("data/dtd/images/wrinkled/wrinkled_1.jpg", 4);
	put_text("data/dtd/labels/train1.txt", "banded/banded_1.jpg\nlined/lined_1.jpg\n");
	put_text("data/dtd/labels/val1.txt", "lined/lined_2.jpg\n");
	put_text("data/dtd/labels/test1.txt", "wrinkled/wrinkled_1.jpg\n");
	ck_assert_int_eq(chdir("data"), 0);
	pack("dtd", "dtd-r1.0.1.tar.gz", true);
	ck_assert_int_eq(chdir(".."), 0);
	for (int packed = 0; packed < 2; packed++) {
		expect("dtd", "train", "3:0 1:1");
		expect("dtd", "val", "2:1");
		expect("dtd", "test", "4:2");
		if (packed == 0)
			rename("data/dtd", "away");
	}
	rename("away", "data/dtd");
	put_text("data/dtd/labels/val1.txt", "lined/lined_2.jpg\nno class\n");
	refuses_split("dtd", "train", "labels/val1.txt:2: wanted is CLASS/FILE");
}
END_TEST

START_TEST(flowers)
{
	struct vq_diags d = { 0 };
	char path[64];

	for (int i = 1; i <= 6; i++) {
		snprintf(path, sizeof(path), "data/flowers102/jpg/image_%05d.jpg", i);
		put_grey(path, i);
	}
	put_fixture("data/flowers102/imagelabels.mat", "imagelabels.mat");
	put_fixture("data/flowers102/setid.mat", "setid.mat");
	ck_assert_int_eq(chdir("data/flowers102"), 0);
	pack("jpg", "102flowers.tgz", true);
	ck_assert_int_eq(chdir("../.."), 0);
	for (int packed = 0; packed < 2; packed++) {
		expect("flowers102", "train", "1:1 3:101");
		expect("flowers102", "val", "2:0");
		expect("flowers102", "test", "4:6 6:2 5:6");
		if (packed == 0)
			rename("data/flowers102/jpg", "away");
	}
	for (int f = 0; f < 2; f++) {
		static const char *const name[] = { "imagelabels.mat", "setid.mat" };
		size_t n;
		char *bytes = fixture(name[f], &n), *to = vq_asprintf("data/flowers102/%s", name[f]);
		struct vq_data_spec s = spec_of("flowers102");

		for (size_t cut = 0; cut < n; cut += 5) {
			put(to, bytes, cut);
			vq_dataset_close(vq_dataset_open(&s, &d));
			vq_diags_free(&d);
			memset(&d, 0, sizeof(d));
		}
		for (size_t i = 124; i < n; i++)
			for (int bit = 1; bit < 256; bit *= 4) {
				bytes[i] ^= (char)bit;
				put(to, bytes, n);
				vq_dataset_close(vq_dataset_open(&s, &d));
				vq_diags_free(&d);
				memset(&d, 0, sizeof(d));
				bytes[i] ^= (char)bit;
			}
		put(to, bytes, n);
		free(bytes);
		free(to);
	}
	put_fixture("data/flowers102/imagelabels.mat", "reals.mat");
	refuses_split("flowers102", "train", "the label of picture 3 is not of 1 to 102");
	expect("flowers102", "val", "2:0");		/* doubles are good where they are whole */
	put_fixture("data/flowers102/imagelabels.mat", "setid.mat");
	refuses_split("flowers102", "train", "imagelabels.mat: holds no labels");
}
END_TEST

START_TEST(places)
{
	struct vq_text names = { 0 };
	struct vq_data_spec s = spec_of("places365");
	struct vq_dataset *d;

	put_grey("data/places365/data_256/a/abbey/1.jpg", 1);
	put_grey("data/places365/data_256/b/bar/1.jpg", 2);
	put_grey("data/places365/val_256/v1.jpg", 3);
	put_text("data/places365/places365_train_standard.txt", "/a/abbey/1.jpg 0\n/b/bar/1.jpg 1\n");
	put_text("data/places365/places365_val.txt", "v1.jpg 364\n");
	expect("places365", "train", "1:0 2:1");
	expect("places365", "val", "3:364");
	for (int i = 0; i < 365; i++)
		vq_text_add(&names, "/a/name_%d %d\n", i, i);
	put("data/places365/categories_places365.txt", names.s, names.len);
	d = open_whole(&s);
	ck_assert_int_eq(d->classes, 365);
	ck_assert_str_eq(d->class_name[364], "name_364");
	vq_dataset_close(d);
	ck_assert_int_eq(chdir("data/places365"), 0);
	pack("val_256", "val_256.tar", false);
	rename("val_256", "away");
	ck_assert_int_eq(chdir("../.."), 0);
	expect("places365", "val", "3:364");
	put_text("data/places365/places365_val.txt", "v1.jpg 365\n");
	refuses_split("places365", "val", "places365_val.txt:1: wanted are a picture and its category, 0 to 364");
	put_text("data/places365/categories_places365.txt", "/a/abbey 0\n");
	refuses_split("places365", "train", "has no name of category 1");
	vq_text_free(&names);
	/* The easy form. */
	put_grey("data/places365_standard/train/abbey/1.jpg", 1);
	put_grey("data/places365_standard/val/bar/1.jpg", 2);
	rename("data/places365", "gone");
	expect("places365", "val", "2:1");
}
END_TEST

START_TEST(imagenet)
{
	put_grey("data/imagenet/train/n01/n01_1.JPEG", 1);
	put_grey("data/imagenet/train/n02/n02_1.JPEG", 2);
	put_grey("data/imagenet/val/n02/ILSVRC2012_val_1.JPEG", 3);
	expect("imagenet", "train", "1:0 2:1");
	expect("imagenet", "val", "3:1");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("layouts");
	TCase *t = tcase_create("layouts");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 180);
	tcase_add_test(t, list_of_paths);
	tcase_add_test(t, list_with_labels);
	tcase_add_test(t, lists_of_splits);
	tcase_add_test(t, lists_that_are_wrong);
	tcase_add_test(t, altered_list);
	tcase_add_test(t, without_classes);
	tcase_add_test(t, celeba);
	tcase_add_test(t, tiny_imagenet);
	tcase_add_test(t, dtd);
	tcase_add_test(t, flowers);
	tcase_add_test(t, places);
	tcase_add_test(t, imagenet);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
