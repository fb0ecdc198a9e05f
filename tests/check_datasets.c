/*
 * check_datasets -- IDX sets whole and damaged, digits, where data is looked for,
 * the order of batches
 */
#include <check.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "datasets/dataset.h"
#include "datasets/sha256.h"
#include "engine/compile.h"
#include "tests/datasets.h"
#include "tests/scratch.h"

enum { N = 50, SIDE = 28, PIXELS = N * SIDE * SIDE };

static char dir[64];
static unsigned char images[16 + PIXELS + 8], labels[8 + N + 8];
static size_t images_len = 16 + PIXELS, labels_len = 8 + N;

static void
put32(unsigned char *p, uint32_t x)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(x >> (24 - 8 * i));
}

static void
setup(void)
{
	alone_in(dir);
	put32(images, 0x803);
	put32(images + 4, N);
	put32(images + 8, SIDE);
	put32(images + 12, SIDE);
	for (int i = 0; i < PIXELS; i++)
		images[16 + i] = (unsigned char)((i * 7919u) >> 4);
	put32(labels, 0x801);
	put32(labels + 4, N);
	for (int i = 0; i < N; i++)
		labels[8 + i] = (unsigned char)(i % 10);
}

static void
teardown(void)
{
	scratch_remove(dir);
}

static char *
path_in(const char *name)
{
	return vq_asprintf("%s/%s", dir, name);
}

static void
put_file(const char *name, const void *bytes, size_t n)
{
	char *path = path_in(name);
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
	free(path);
}

static size_t
gzip(const void *bytes, size_t n, unsigned char *out, size_t room)
{
	z_stream z = { 0 };

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)bytes;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static void
put_folder(const char *name)
{
	char *path = path_in(name);
	char file[128];

	mkdir(path, 0755);
	snprintf(file, sizeof(file), "%s/train-images-idx3-ubyte", name);
	put_file(file, images, images_len);
	snprintf(file, sizeof(file), "%s/train-labels-idx1-ubyte", name);
	put_file(file, labels, labels_len);
	free(path);
}

/* --- IDX ---------------------------------------------------------------------- */

START_TEST(idx_values)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	uint32_t index[] = { 3, 0 };
	float x[2 * SIDE * SIDE];
	int32_t y[2];
	double sum = 0, squares = 0;

	put_folder("set");
	s.lo = -1;
	s.hi = 1;
	s.skip = 5;
	s.limit = 20;
	d = open_whole(&s);
	ck_assert_int_eq(d->count, 20);
	ck_assert_int_eq(d->classes, 10);
	ck_assert_int_eq(vq_dataset_field(d, "image"), 0);
	ck_assert_int_eq(vq_dataset_field(d, "label"), 1);
	ck_assert_int_eq(vq_dataset_field(d, "picture"), -1);
	d->kind->gather(d, 0, index, 2, x);
	d->kind->gather(d, 1, index, 2, y);
	ck_assert_int_eq(y[0], 8);
	ck_assert_int_eq(y[1], 5);
	for (int i = 0; i < SIDE * SIDE; i++) {
		ck_assert_float_eq(x[i], (float)(-1 + 2.0 * images[16 + 8 * SIDE * SIDE + i] / 255));
		ck_assert_float_eq(x[SIDE * SIDE + i], (float)(-1 + 2.0 * images[16 + 5 * SIDE * SIDE + i] / 255));
	}
	for (int i = 0; i < 20 * SIDE * SIDE; i++) {
		double v = -1 + 2.0 * images[16 + 5 * SIDE * SIDE + i] / 255;

		sum += v;
		squares += v * v;
	}
	sum /= 20 * SIDE * SIDE;
	ck_assert_double_eq_tol(d->variance, squares / (20 * SIDE * SIDE) - sum * sum, 1e-12);
	vq_dataset_close(d);
}
END_TEST

START_TEST(idx_gzip)
{
	static unsigned char z[PIXELS * 2];
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	size_t n = gzip(images, images_len, z, sizeof(z));
	uint32_t index = 7;
	float x[SIDE * SIDE];

	put_folder("set");
	unlink("set/train-images-idx3-ubyte");
	put_file("set/train-images-idx3-ubyte.gz", z, n);
	d = open_whole(&s);
	d->kind->gather(d, 0, &index, 1, x);
	for (int i = 0; i < SIDE * SIDE; i++)
		ck_assert_float_eq(x[i], (float)(images[16 + 7 * SIDE * SIDE + i] / 255.0));
	vq_dataset_close(d);

	/* Every way a gzip file can be damaged. */
	put_file("set/train-images-idx3-ubyte.gz", z, n / 2);
	refuses(&s, VQ_DATA, "cut short");
	put_file("set/train-images-idx3-ubyte.gz", z, 12);
	refuses(&s, VQ_DATA, "cut short");
	put_file("set/train-images-idx3-ubyte.gz", z, n - 4);
	refuses(&s, VQ_DATA, "cut short");
	z[n] = 'x';
	put_file("set/train-images-idx3-ubyte.gz", z, n + 1);
	refuses(&s, VQ_DATA, "has 1 bytes after the end");
	for (size_t at = 11; at < n; at += n / 40) {
		z[at] ^= 0x10;
		put_file("set/train-images-idx3-ubyte.gz", z, n);
		refuses(&s, VQ_DATA, "set/train-images-idx3-ubyte.gz: ");
		z[at] ^= 0x10;
	}
	n = gzip(images, images_len + 1, z, sizeof(z));
	put_file("set/train-images-idx3-ubyte.gz", z, n);
	refuses(&s, VQ_DATA, "goes on after the elements");
	n = gzip(images, images_len - 1, z, sizeof(z));
	put_file("set/train-images-idx3-ubyte.gz", z, n);
	refuses(&s, VQ_DATA, "cut short");
}
END_TEST

/* A header may announce anything; nothing of that size is allocated. */
START_TEST(idx_header)
{
	struct vq_data_spec s = spec_of("./set");
	unsigned char z[256];
	size_t n;

	images_len = 17;
	for (int i = 4; i < 16; i++)
		images[i] = 0xff;
	put_folder("set");
	refuses(&s, VQ_DATA, "cut short: its header announces");
	n = gzip(images, images_len, z, sizeof(z));
	unlink("set/train-images-idx3-ubyte");
	put_file("set/train-images-idx3-ubyte.gz", z, n);
	refuses(&s, VQ_DATA, "announces [4294967295, 4294967295, 4294967295] bytes");
	put32(images + 4, 0);
	put_file("set/train-images-idx3-ubyte", images, images_len);
	refuses(&s, VQ_DATA, "axis 0 has length 0");
	put_file("set/train-images-idx3-ubyte", images, 9);
	refuses(&s, VQ_DATA, "cut short inside its header");
	put_file("set/train-images-idx3-ubyte", images, 3);
	refuses(&s, VQ_DATA, "cut short");
	put_file("set/train-images-idx3-ubyte", "", 0);
	refuses(&s, VQ_DATA, "set/train-images-idx3-ubyte: ");
	put_file("set/train-images-idx3-ubyte", "<!DOCTYPE html>", 15);
	refuses(&s, VQ_DATA, "starts with 3c 21 44 4f, expected 00 00 08 03");
	unlink("set/train-images-idx3-ubyte");
	mkdir("set/train-images-idx3-ubyte", 0755);
	refuses(&s, VQ_DATA, "set/train-images-idx3-ubyte: ");
}
END_TEST

START_TEST(idx_raw_damage)
{
	struct vq_data_spec s = spec_of("./set");

	images_len--;
	put_folder("set");
	refuses(&s, VQ_DATA, "cut short: its header announces [50, 28, 28] bytes, 39199 are there");
	images_len += 3;
	put_folder("set");
	refuses(&s, VQ_DATA, "goes on after the elements");
}
END_TEST

START_TEST(labels_that_do_not_fit)
{
	struct vq_data_spec s = spec_of("mnist");

	setenv("VQGRAPH_DATA", dir, 1);
	put32(labels + 4, N - 1);
	labels_len--;
	put_folder("mnist");
	refuses(&s, VQ_DATA, "has 49 labels for the 50 pictures");
	put32(labels + 4, N);
	labels_len++;
	labels[8 + 33] = 10;
	put_folder("mnist");
	refuses(&s, VQ_DATA, "label 10 of sample 33 is out of range: 0 to 9");
	/* In a folder of one's own there may be more classes. */
	s.source = "./mnist";

	struct vq_dataset *d = open_whole(&s);

	ck_assert_int_eq(d->classes, 11);
	vq_dataset_close(d);
}
END_TEST

START_TEST(mnist_has_its_size)
{
	struct vq_data_spec s = spec_of("mnist");

	setenv("VQGRAPH_DATA", dir, 1);
	put32(images + 8, SIDE / 2);
	put32(images + 12, SIDE * 2);
	put_folder("mnist");
	refuses(&s, VQ_DATA, "holds pictures of 14 x 56, not of 28 x 28");
}
END_TEST

START_TEST(hash_of_files)
{
	struct vq_data_spec s = spec_of("./set");
	struct vq_dataset *d;
	char one[65], two[65], *path[] = { "abc", NULL };
	unsigned char both[sizeof(images) + sizeof(labels)];

	put_file("abc", "abc", 3);
	ck_assert_int_eq(vq_sha256_files(path, 1, one, NULL), 0);
	ck_assert_str_eq(one, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	put_folder("set");
	d = open_whole(&s);
	ck_assert_int_eq(vq_dataset_sha256(d, one, NULL), 0);
	vq_dataset_close(d);
	memcpy(both, images, images_len);
	memcpy(both + images_len, labels, labels_len);
	put_file("abc", both, images_len + labels_len);
	ck_assert_int_eq(vq_sha256_files(path, 1, two, NULL), 0);
	ck_assert_str_eq(one, two);
}
END_TEST

/* --- finding ------------------------------------------------------------------ */

START_TEST(search_order)
{
	struct vq_data_spec s = spec_of("mnist");
	struct vq_dataset *d;
	struct vq_arena a = { 0 };
	char *list = vq_asprintf("%s/none::%s/here", dir, dir), *want;

	refuses(&s, VQ_DATA, "data/mnist: there is no such folder");
	refuses(&s, VQ_DATA, "vqgraph data fetch mnist");
	mkdir("data", 0755);
	put_folder("data/mnist");
	d = open_whole(&s);
	ck_assert_str_eq(d->where, "data/mnist");
	vq_dataset_close(d);

	/* A folder that lacks the files is passed over. */
	mkdir("here", 0755);
	mkdir("here/mnist", 0755);
	setenv("VQGRAPH_DATA", list, 1);
	ck_assert_str_eq(vq_data_find(vq_source_kind_find("mnist"), "train", &a), "data/mnist");
	put_folder("here/mnist");
	want = path_in("here/mnist");
	d = open_whole(&s);
	ck_assert_str_eq(d->where, want);
	vq_dataset_close(d);
	s.split = "test";
	refuses(&s, VQ_DATA, "t10k-images-idx3-ubyte is missing");
	vq_arena_free(&a);
	free(want);
	free(list);
}
END_TEST

START_TEST(unknown_names)
{
	struct vq_data_spec s = spec_of("mnits");

	refuses(&s, VQ_CONFIG, "similar name: mnist");
	s = spec_of("digits");
	s.split = "validation";
	refuses(&s, VQ_CONFIG, "you may mean: test");
	s = spec_of("./nowhere");
	refuses(&s, VQ_DATA, "./nowhere: No such file");
	s = spec_of("");
	refuses(&s, VQ_CONFIG, "'source' is missing");
	s = spec_of("digits");
	s.skip = 60000;
	refuses(&s, VQ_CONFIG, "skip = 60000 leaves nothing of digits:train");
	s = spec_of("digits");
	s.lo = 1;
	refuses(&s, VQ_CONFIG, "lo must be less");
}
END_TEST

START_TEST(path_relative_to_base)
{
	struct vq_data_spec s = spec_of("../set");
	struct vq_opening *o[2];
	struct vq_diags diags = { 0 };

	put_folder("set");
	mkdir("graphs", 0755);
	s.base = "graphs";
	o[0] = vq_dataset_open_begin(&s);
	s.split = "test";
	o[1] = vq_dataset_open_begin(&s);

	struct vq_dataset *d = vq_dataset_open_end(o[0], &diags);

	ck_assert_ptr_nonnull(d);
	ck_assert_str_eq(d->where, "graphs/../set");
	vq_dataset_close(d);
	/* The model file itself may be given. */
	put_file("graphs/model.yaml", "vqgraph: 1\n", 11);
	s.base = "graphs/model.yaml";
	s.split = "train";
	d = open_whole(&s);
	ck_assert_str_eq(d->where, "graphs/../set");
	vq_dataset_close(d);
	put_file("model.yaml", "vqgraph: 1\n", 11);
	s.base = "model.yaml";
	s.source = "set/.";
	d = open_whole(&s);
	ck_assert_str_eq(d->where, "set/.");
	vq_dataset_close(d);
	ck_assert_ptr_null(vq_dataset_open_end(o[1], &diags));
	ck_assert_int_eq(diags.count, 1);
	ck_assert_ptr_nonnull(strstr(diags.diag[0]->message, "t10k-images-idx3-ubyte is missing"));
	vq_diags_free(&diags);
}
END_TEST

/* --- digits ------------------------------------------------------------------- */

static void
gather_all(const struct vq_dataset *d, float **x, int32_t **y)
{
	uint32_t *index = vq_alloc_array((size_t)d->count, sizeof(*index));

	for (int64_t i = 0; i < d->count; i++)
		index[i] = (uint32_t)i;
	*x = vq_alloc_array((size_t)d->count, SIDE * SIDE * sizeof(float));
	*y = vq_alloc_array((size_t)d->count, sizeof(int32_t));
	d->kind->gather(d, 0, index, d->count, *x);
	d->kind->gather(d, 1, index, d->count, *y);
	free(index);
}

START_TEST(digits_are_the_same_each_time)
{
	struct vq_data_spec s = spec_of("digits");
	struct vq_dataset *whole, *part;
	float *x, *px;
	int32_t *y, *py;

	s.limit = 300;
	vq_threads_set(2);
	whole = open_whole(&s);
	ck_assert_str_eq(whole->where, "built in");
	gather_all(whole, &x, &y);
	s.skip = 100;
	s.limit = 150;
	vq_threads_set(1);
	part = open_whole(&s);
	ck_assert_int_eq(part->count, 150);
	gather_all(part, &px, &py);
	ck_assert_mem_eq(px, x + 100 * SIDE * SIDE, 150 * SIDE * SIDE * sizeof(float));
	ck_assert_mem_eq(py, y + 100, 150 * sizeof(int32_t));
	vq_dataset_close(whole);
	vq_dataset_close(part);
	free(x);
	free(y);
	free(px);
	free(py);
}
END_TEST

/* The nearest mean of the training digits tells most test digits: they are what
 * their labels say.  Nothing touches the edge. */
START_TEST(digits_are_told_apart)
{
	static double mean[10][SIDE * SIDE];
	int n[10] = { 0 }, right = 0;
	struct vq_data_spec s = spec_of("digits");
	struct vq_dataset *d;
	float *x;
	int32_t *y;

	s.limit = 2000;
	d = open_whole(&s);
	ck_assert_double_gt(d->variance, 0.05);
	ck_assert_double_lt(d->variance, 0.15);
	gather_all(d, &x, &y);
	for (int i = 0; i < 2000; i++) {
		n[y[i]]++;
		for (int k = 0; k < SIDE * SIDE; k++)
			mean[y[i]][k] += x[i * SIDE * SIDE + k];
		for (int k = 0; k < SIDE; k++)
			ck_assert_float_eq(x[i * SIDE * SIDE + k] + x[i * SIDE * SIDE + k * SIDE], 0);
	}
	vq_dataset_close(d);
	free(x);
	free(y);
	s.split = "test";
	s.limit = 500;
	d = open_whole(&s);
	gather_all(d, &x, &y);
	for (int i = 0; i < 500; i++) {
		double best = INFINITY;
		int told = -1;

		for (int c = 0; c < 10; c++) {
			double sum = 0;

			for (int k = 0; k < SIDE * SIDE; k++) {
				double e = mean[c][k] / n[c] - x[i * SIDE * SIDE + k];

				sum += e * e;
			}
			told = sum < best ? c : told;
			best = sum < best ? sum : best;
		}
		right += told == y[i];
	}
	for (int c = 0; c < 10; c++)
		ck_assert_int_gt(n[c], 140);
	ck_assert_int_gt(right, 350);
	vq_dataset_close(d);
	free(x);
	free(y);
}
END_TEST

/* --- batches ------------------------------------------------------------------ */

/* A set whose label says which sample it is. */
static void
gather_index(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	for (int64_t i = 0; i < n; i++)
		((int32_t *)out)[i] = (int32_t)index[i];
}

static void
gather_slowly(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out)
{
	usleep(500);
	gather_index(d, f, index, n, out);
}

static const struct vq_source_kind counting_slowly = { .name = "slow", .gather = gather_slowly };
static const struct vq_source_kind counting = { .name = "counting", .gather = gather_index };

static struct vq_dataset
counting_set(int64_t n)
{
	struct vq_dataset d = { .kind = &counting, .count = n, .fields = 1 };

	d.field[0].name = "label";
	d.field[0].type = vq_type_of(VQ_I32, 0, NULL);
	return d;
}

static int64_t
read_pass(struct vq_loader *l, uint64_t epoch, int64_t first, int32_t *out)
{
	const void *field[VQ_MAX_FIELDS];
	int64_t n, total = 0;

	vq_loader_start(l, epoch, first);
	while ((n = vq_loader_next(l, field)) > 0) {
		memcpy(out + total, field[0], (size_t)n * sizeof(int32_t));
		total += n;
	}
	ck_assert_int_eq(vq_loader_next(l, field), 0);
	return total;
}

START_TEST(loader_order)
{
	struct vq_dataset d = counting_set(1000);
	struct vq_loader *l = vq_loader_new(&d, 64, true, true, 5);
	int32_t a[1000], b[1000], c[1000];
	bool seen[1000] = { false };

	ck_assert_int_eq(vq_loader_batches(l), 16);
	ck_assert_int_eq(read_pass(l, 3, 0, a), 1000);
	for (int i = 0; i < 1000; i++) {
		ck_assert(!seen[a[i]]);
		seen[a[i]] = true;
	}
	ck_assert_int_eq(read_pass(l, 4, 0, b), 1000);
	ck_assert_mem_ne(a, b, sizeof(a));
	/* From any batch on, and by another loader, the order is the same. */
	ck_assert_int_eq(read_pass(l, 3, 5, c), 1000 - 5 * 64);
	ck_assert_mem_eq(a + 5 * 64, c, (1000 - 5 * 64) * sizeof(int32_t));
	vq_loader_free(l);
	l = vq_loader_new(&d, 64, true, true, 5);
	ck_assert_int_eq(read_pass(l, 3, 0, c), 1000);
	ck_assert_mem_eq(a, c, sizeof(a));
	vq_loader_free(l);
	l = vq_loader_new(&d, 64, true, true, 6);
	ck_assert_int_eq(read_pass(l, 3, 0, c), 1000);
	ck_assert_mem_ne(a, c, sizeof(a));
	vq_loader_free(l);
}
END_TEST

/* Reading 250 batches of half a millisecond each, one by one, and nothing done between. */
START_TEST(loader_waits)
{
	struct vq_dataset d = counting_set(1000);
	struct vq_loader *l;
	int32_t a[1000];

	d.kind = &counting_slowly;
	l = vq_loader_new(&d, 4, false, false, 0);
	double start = vq_now();
	ck_assert_int_eq(read_pass(l, 0, 0, a), 1000);
	ck_assert_double_ge(vq_loader_waited(l), 0.05);
	ck_assert_double_le(vq_loader_waited(l), vq_now() - start);
	vq_loader_free(l);
}
END_TEST

START_TEST(loader_rest)
{
	struct vq_dataset d = counting_set(10);
	struct vq_loader *l = vq_loader_new(&d, 4, false, false, 0);
	const void *field[VQ_MAX_FIELDS];
	int32_t a[10];

	ck_assert_int_eq(vq_loader_next(l, field), 0);
	ck_assert_int_eq(vq_loader_batches(l), 2);
	ck_assert_int_eq(read_pass(l, 0, 0, a), 8);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(a[i], i);
	ck_assert_int_eq(read_pass(l, 0, 2, a), 0);
	ck_assert_int_eq(read_pass(l, 0, 99, a), 0);
	vq_loader_free(l);
	l = vq_loader_new(&d, 16, false, false, 0);
	ck_assert_int_eq(vq_loader_batches(l), 0);
	ck_assert_int_eq(read_pass(l, 0, 0, a), 0);
	vq_loader_free(l);
	l = vq_loader_new(&d, 16, false, true, 0);
	ck_assert_int_eq(read_pass(l, 0, 0, a), 10);
	vq_loader_free(l);
}
END_TEST

/* A batch stays as it is until the next is asked for; starting anew and freeing
 * work at any moment. */
START_TEST(loader_at_any_moment)
{
	struct vq_dataset d = counting_set(5000);
	struct vq_loader *l = vq_loader_new(&d, 10, false, true, 0);
	const void *field[VQ_MAX_FIELDS];

	d.kind = &counting_slowly;

	for (int turn = 0; turn < 50; turn++) {
		vq_loader_start(l, 0, turn);
		for (int i = 0; i < turn % 7; i++) {
			int32_t first = 10 * (turn + i);

			ck_assert_int_eq(vq_loader_next(l, field), 10);
			usleep(turn % 3 == 0 ? 200 : 0);
			for (int k = 0; k < 10; k++)
				ck_assert_int_eq(((const int32_t *)field[0])[k], first + k);
		}
	}
	vq_loader_free(l);
	l = vq_loader_new(&d, 10, true, true, 0);
	vq_loader_start(l, 0, 0);
	vq_loader_free(l);
	vq_loader_free(vq_loader_new(&d, 10, true, true, 0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("datasets");
	TCase *t = tcase_create("datasets");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, idx_values);
	tcase_add_test(t, idx_gzip);
	tcase_add_test(t, idx_header);
	tcase_add_test(t, idx_raw_damage);
	tcase_add_test(t, labels_that_do_not_fit);
	tcase_add_test(t, mnist_has_its_size);
	tcase_add_test(t, hash_of_files);
	tcase_add_test(t, search_order);
	tcase_add_test(t, unknown_names);
	tcase_add_test(t, path_relative_to_base);
	tcase_add_test(t, digits_are_the_same_each_time);
	tcase_add_test(t, digits_are_told_apart);
	tcase_add_test(t, loader_order);
	tcase_add_test(t, loader_waits);
	tcase_add_test(t, loader_rest);
	tcase_add_test(t, loader_at_any_moment);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
