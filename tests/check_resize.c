/*
 * check_resize -- size and channels as Pillow makes them, and what training changes
 * at random
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/images.h"
#include "datasets/resize.h"
#include "engine/checkpoint.h"
#include "engine/image.h"
#include "tests/datasets.h"
#include "tests/scratch.h"

/* An array of the fixtures. */
static void *
array(const char *name, struct vq_type *t)
{
	char *path = vq_asprintf("%s/tests/fixtures/%s", VQ_SRCDIR, name);
	struct vq_diags d = { 0 };
	void *data;

	ck_assert_msg(vq_npy_read(path, t, &data, &d) == 0, "%s", path);
	free(path);
	return data;
}

static const struct { const char *name; enum vq_interpolation how; } filters[] = {
	{ "bilinear", VQ_BILINEAR }, { "bicubic", VQ_BICUBIC }, { "box", VQ_BOX },
};
static const struct { int h, w; } sizes[] = { { 5, 5 }, { 20, 24 }, { 13, 9 }, { 7, 30 } };

/* ImageOps.fit, to the bit. */
START_TEST(fits_as_pillow)
{
	int f = _i / (int)VQ_COUNT(sizes), s = _i % (int)VQ_COUNT(sizes);
	struct vq_type in_type, type;
	uint8_t *in = array("rgb.png.npy", &in_type), *expected, *out;
	char name[64];
	int h = sizes[s].h, w = sizes[s].w;
	struct vq_resizer *r = vq_resizer_new(h, w, 0, filters[f].how);

	snprintf(name, sizeof(name), "fit-%s-%dx%d.npy", filters[f].name, h, w);
	expected = array(name, &type);
	ck_assert_uint_eq(vq_type_bytes(&type), (size_t)(h * w * 3));
	out = vq_alloc((size_t)(h * w * 3));
	/* Twice: the second time with the weights of the first. */
	for (int turn = 0; turn < 2; turn++) {
		memset(out, 77, (size_t)(h * w * 3));
		vq_resize_u8(r, in, 13, 18, 3, out);
		for (int i = 0; i < h * w * 3; i++)
			ck_assert_msg(out[i] == expected[i], "%s at %d: %d, not %d", name, i, out[i], expected[i]);
	}
	vq_resizer_free(r);
	free(in);
	free(out);
	free(expected);
}
END_TEST

START_TEST(floats_are_not_rounded)
{
	struct vq_type in_type, type;
	float *in = array("float.npy", &in_type), *expected = array("float-fit-bicubic-6x8.npy", &type);
	float out[6 * 8], colour[6 * 8 * 3];
	struct vq_resizer *r = vq_resizer_new(6, 8, 0, VQ_BICUBIC);

	vq_resize_f32(r, in, 13, 18, 1, out);
	for (int i = 0; i < 6 * 8; i++)
		ck_assert_float_eq_tol(out[i], expected[i], 2e-6f);
	vq_resizer_free(r);
	r = vq_resizer_new(6, 8, 3, VQ_BICUBIC);
	vq_resize_f32(r, in, 13, 18, 1, colour);
	for (int i = 0; i < 6 * 8 * 3; i++)
		ck_assert_float_eq(colour[i], out[i / 3]);
	vq_resizer_free(r);
	free(in);
	free(expected);
}
END_TEST

START_TEST(grey_and_colour)
{
	struct vq_type t;
	uint8_t *rgb = array("rgb.png.npy", &t), *luma = array("luma.npy", &t), out[13 * 18 * 3], small[5 * 5];
	struct vq_resizer *r = vq_resizer_new(0, 0, 1, VQ_BOX);

	vq_resize_u8(r, rgb, 13, 18, 3, out);
	ck_assert_mem_eq(out, luma, 13 * 18);
	vq_resizer_free(r);
	r = vq_resizer_new(0, 0, 3, VQ_BOX);
	vq_resize_u8(r, luma, 13, 18, 1, out);
	for (int i = 0; i < 13 * 18 * 3; i++)
		ck_assert_int_eq(out[i], luma[i / 3]);
	vq_resize_u8(r, rgb, 13, 18, 3, out);
	ck_assert_mem_eq(out, rgb, 13 * 18 * 3);
	vq_resizer_free(r);
	/* Grey first, then the size. */
	r = vq_resizer_new(5, 5, 1, VQ_BILINEAR);
	vq_resize_u8(r, rgb, 13, 18, 3, out);
	vq_resize_u8(r, luma, 13, 18, 1, small);
	ck_assert_mem_eq(out, small, 25);
	vq_resizer_free(r);
	free(rgb);
	free(luma);
}
END_TEST

/* --- data: keys --------------------------------------------------------------- */

static void
refuses_saying(const struct vq_data_spec *s, enum vq_status status, const char *text)
{
	struct vq_diags d = { 0 };

	ck_assert_ptr_null(vq_dataset_open(s, &d));
	ck_assert_int_eq(vq_diags_status(&d), status);
	ck_assert_msg(strstr(d.diag[0]->message, text) != NULL, "%s", d.diag[0]->message);
	vq_diags_free(&d);
}

enum { SIDE = 28, PIXELS = SIDE * SIDE };

/* A set resized when it is opened is what the resizer makes of each picture. */
START_TEST(any_set_is_resized)
{
	struct vq_data_spec s = spec_of("digits");
	struct vq_resizer *r = vq_resizer_new(16, 16, 3, VQ_BICUBIC);
	struct vq_dataset *plain, *small;
	uint32_t index[] = { 0, 7 };
	float x[2 * PIXELS], y[2 * 16 * 16 * 3];
	uint8_t bytes[PIXELS], expected[16 * 16 * 3];
	int32_t label[2], label_small[2];
	double sum = 0, squares = 0;

	s.limit = 8;
	s.skip = 3;
	plain = open_whole(&s);
	s.size = (struct vq_ints){ 1, { 16 } };
	s.channels = 3;
	s.interpolation = VQ_BICUBIC;
	small = open_whole(&s);
	ck_assert_int_eq(small->count, 8);
	ck_assert_int_eq(vq_shape_count(&small->field[0].type.shape), 16 * 16 * 3);
	plain->kind->gather(plain, 0, index, 2, x);
	small->kind->gather(small, 0, index, 2, y);
	plain->kind->gather(plain, 1, index, 2, label);
	small->kind->gather(small, 1, index, 2, label_small);
	ck_assert_mem_eq(label, label_small, sizeof(label));
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < PIXELS; i++)
			bytes[i] = (uint8_t)lroundf(x[k * PIXELS + i] * 255);
		vq_resize_u8(r, bytes, SIDE, SIDE, 1, expected);
		for (int i = 0; i < 16 * 16 * 3; i++)
			ck_assert_int_eq(lroundf(y[k * 16 * 16 * 3 + i] * 255), expected[i]);
	}
	for (uint32_t i = 0; i < 8; i++) {
		small->kind->gather(small, 0, &i, 1, y);
		for (int k = 0; k < 16 * 16 * 3; k++) {
			sum += y[k];
			squares += y[k] * y[k];
		}
	}
	sum /= 8 * 16 * 16 * 3;
	ck_assert_double_eq_tol(small->variance, squares / (8 * 16 * 16 * 3) - sum * sum, 1e-6);
	vq_dataset_close(plain);
	vq_dataset_close(small);
	vq_resizer_free(r);
}
END_TEST

START_TEST(what_cannot_be_had)
{
	struct vq_data_spec s = spec_of("digits");

	s.limit = 8;
	s.channels = 2;
	refuses_saying(&s, VQ_CONFIG, "channels must be 1 (grey), 3 (colour) or 0");
	s.channels = 0;
	s.crop = 28;
	refuses_saying(&s, VQ_CONFIG, "crop = 28 is as large as the pictures, 28 x 28");
	s.crop = 0;
	s.limit = 0;
	s.size = (struct vq_ints){ 2, { 8192, 8192 } };
	s.channels = 3;
	refuses_saying(&s, VQ_DATA, "60000 pictures take 1.21e+04 GB");
}
END_TEST

/* --- augmentation ------------------------------------------------------------- */

/* Where the window lies and whether it is mirrored, by trying them all; -1: nowhere. */
static int
window_of(const float *plain, const float *seen, int crop, float pad)
{
	for (int flip = 0; flip < 2; flip++)
		for (int dy = -crop; dy <= crop; dy++)
			for (int dx = -crop; dx <= crop; dx++) {
				bool same = true;

				for (int y = 0; y < SIDE && same; y++)
					for (int x = 0; x < SIDE && same; x++) {
						int sy = y + dy, sx = (flip ? SIDE - 1 - x : x) + dx;
						bool in = sy >= 0 && sy < SIDE && sx >= 0 && sx < SIDE;

						same = seen[y * SIDE + x] == (in ? plain[sy * SIDE + sx] : pad);
					}
				if (same)
					return (flip * (2 * crop + 1) + dy + crop) * (2 * crop + 1) + dx + crop;
			}
	return -1;
}

START_TEST(windows)
{
	enum { N = 400, CROP = 2, PLACES = 2 * (2 * CROP + 1) * (2 * CROP + 1) };
	struct vq_data_spec s = spec_of("digits");
	float plain[PIXELS], seen[PIXELS];
	const struct vq_pass pass = { 5, 2 };
	struct vq_dataset *d;
	int count[PLACES] = { 0 }, most = 0, least = N;

	s.limit = N;
	s.lo = -1;
	s.hi = 1;
	s.crop = CROP;
	s.flip = true;
	d = open_whole(&s);
	for (uint32_t i = 0; i < N; i++) {
		int at;

		d->kind->gather(d, 0, &i, 1, plain);
		d->kind->augmented(d, 0, &i, 1, &pass, seen);
		at = window_of(plain, seen, CROP, -1);
		ck_assert_int_ge(at, 0);
		count[at]++;
	}
	for (int i = 0; i < PLACES; i++) {
		most = count[i] > most ? count[i] : most;
		least = count[i] < least ? count[i] : least;
	}
	/* 8 each on average; a digit without a column at its edge can be of two places. */
	ck_assert_int_ge(least, 1);
	ck_assert_int_le(most, 24);
	vq_dataset_close(d);
}
END_TEST

/* --- a window of a larger picture ------------------------------------------------ */

/* Image.resize, to the bit, of the sizes that torchvision's Resize of one number gives. */
START_TEST(resizes_as_pillow)
{
	static const struct { const char *name; enum vq_interpolation how; int64_t side, h, w; } to[] = {
		{ "short-bilinear-8.npy", VQ_BILINEAR, 8, 8, 11 }, { "short-bicubic-20.npy", VQ_BICUBIC, 20, 20, 27 },
	};
	struct vq_type in_type, type;
	uint8_t *in = array("rgb.png.npy", &in_type), out[20 * 27 * 3];

	for (size_t i = 0; i < VQ_COUNT(to); i++) {
		struct vq_data_spec s = { .resize = to[i].side };
		int64_t h = 13, w = 18;
		uint8_t *expected = array(to[i].name, &type);
		struct vq_resizer *r = vq_resizer_new(0, 0, 0, to[i].how);

		vq_images_enlarged(&s, &h, &w);
		ck_assert(h == to[i].h && w == to[i].w && type.shape.dim[0] == h && type.shape.dim[1] == w);
		vq_resizer_whole(r, h, w);
		vq_resize_u8(r, in, 13, 18, 3, out);
		ck_assert_mem_eq(out, expected, (size_t)(h * w * 3));
		h = 18, w = 13;
		vq_images_enlarged(&s, &h, &w);
		ck_assert(h == to[i].w && w == to[i].h);
		vq_resizer_free(r);
		free(expected);
	}
	free(in);
}
END_TEST

/* The place of a window of h x w in the picture p of ph x pw, or -1. */
static int
place_in(const uint8_t *p, int ph, int pw, const float *seen, int h, int w)
{
	for (int flip = 0; flip < 2; flip++)
		for (int dy = 0; dy <= ph - h; dy++)
			for (int dx = 0; dx <= pw - w; dx++) {
				bool same = true;

				for (int i = 0; i < h * w * 3 && same; i++) {
					int x = i / 3 % w, from = ((dy + i / 3 / w) * pw + dx + (flip ? w - 1 - x : x)) * 3 + i % 3;

					same = lroundf(seen[i] * 255) == p[from];
				}
				if (same)
					return (flip * (ph - h + 1) + dy) * (pw - w + 1) + dx;
			}
	return -1;
}

static void
expect_windows(const struct vq_data_spec *s)
{
	enum { H = 6, W = 7, FROM_H = 8, FROM_W = 11, PLACES = (FROM_H - H + 1) * (FROM_W - W + 1) };
	struct vq_dataset *d = open_whole(s);
	struct vq_type type;
	uint8_t *whole = array("short-bilinear-8.npy", &type), seen[2 * PLACES] = { 0 };
	float x[2 * H * W * 3];
	uint32_t index[] = { 1, 0 };

	ck_assert_int_eq(d->count, 2);
	ck_assert_int_eq(vq_shape_count(&d->field[0].type.shape), H * W * 3);
	d->kind->gather(d, 0, index, 2, x);
	ck_assert_int_eq(place_in(whole, FROM_H, FROM_W, x + H * W * 3, H, W), 1 * (FROM_W - W + 1) + 2);
	ck_assert_int_eq(place_in(whole, FROM_H, FROM_W, x, H, W), -1);		/* the other is upright */
	for (uint64_t epoch = 0; epoch < 400; epoch++) {
		const struct vq_pass pass = { 1, epoch };
		int at;

		d->kind->augmented(d, 0, index, 2, &pass, x);
		at = place_in(whole, FROM_H, FROM_W, x + H * W * 3, H, W);
		ck_assert_int_ge(at, 0);
		seen[at] = 1;
	}
	for (int i = 0; i < 2 * PLACES; i++)
		ck_assert_msg(seen[i], "never at %d", i);
	vq_dataset_close(d);
	free(whole);
}

START_TEST(windows_of_any_picture)
{
	char dir[64], *to, *from = vq_asprintf("%s/tests/fixtures/rgb.png", VQ_SRCDIR), why[256];
	struct vq_data_spec s;
	struct vq_diags diags = { 0 };
	uint8_t upright[18 * 13 * 3];
	struct vq_image im = { .w = 13, .h = 18, .channels = 3, .pixel = upright };

	scratch_make(dir);
	to = vq_asprintf("%s/a.png", dir);
	ck_assert_int_eq(symlink(from, to), 0);
	free(to);
	to = vq_asprintf("%s/b.png", dir);
	for (size_t i = 0; i < sizeof(upright); i++)
		upright[i] = (uint8_t)(i * i % 251);
	ck_assert_int_eq(vq_image_write_png(to, &im, &diags), 0);
	s = spec_of(dir);
	s.resize = 8;
	s.flip = true;
	refuses_saying(&s, VQ_CONFIG, "resize wants size: a window of at most 8 x 8");
	s.size = (struct vq_ints){ 2, { 6, 9 } };
	refuses_saying(&s, VQ_CONFIG, "resize wants size: a window of at most 8 x 8");
	s.size = (struct vq_ints){ 2, { 6, 7 } };
	expect_windows(&s);
	s.crop = 2;
	refuses_saying(&s, VQ_CONFIG, "resize and crop are two ways of a random window");
	s.crop = 0;

	/* One that cannot be read leaves a gap, and no more. */
	free(to);
	to = vq_asprintf("%s/0.png", dir);
	FILE *f = fopen(to, "w");
	fputs("no picture", f);
	fclose(f);
	snprintf(why, sizeof(why), "1 of 3 pictures");
	refuses_saying(&s, VQ_DATA, why);
	s.bad = VQ_BAD_SKIP;
	expect_windows(&s);
	free(to);
	free(from);
	scratch_remove(dir);
}
END_TEST

/* A set of one size; the same windows as of pictures in files. */
START_TEST(windows_of_an_array)
{
	struct vq_data_spec s = spec_of("digits"), plain = s;
	struct vq_resizer *r = vq_resizer_new(32, 32, 1, VQ_BILINEAR);
	struct vq_dataset *d, *small;
	float x[PIXELS], y[30 * 30];
	uint8_t bytes[PIXELS], expected[32 * 32];
	uint32_t index = 3;
	char hex[2][65];

	plain.limit = s.limit = 8;
	s.resize = 32;
	s.size = (struct vq_ints){ 1, { 30 } };
	small = open_whole(&plain);
	d = open_whole(&s);
	small->kind->gather(small, 0, &index, 1, x);
	d->kind->gather(d, 0, &index, 1, y);
	for (int i = 0; i < PIXELS; i++)
		bytes[i] = (uint8_t)lroundf(x[i] * 255);
	vq_resize_u8(r, bytes, SIDE, SIDE, 1, expected);
	for (int i = 0; i < 30 * 30; i++)
		ck_assert_int_eq(lroundf(y[i] * 255), expected[(i / 30 + 1) * 32 + i % 30 + 1]);
	vq_images_digest(d, hex[0]);
	vq_images_digest(small, hex[1]);
	ck_assert_str_ne(hex[0], hex[1]);
	vq_dataset_close(d);
	vq_dataset_close(small);
	vq_resizer_free(r);
}
END_TEST

static void
read_pass(struct vq_loader *l, uint64_t epoch, int64_t first, float *out)
{
	const void *field[VQ_MAX_FIELDS];
	int64_t n;

	vq_loader_start(l, epoch, first);
	while ((n = vq_loader_next(l, field)) > 0) {
		memcpy(out, field[0], (size_t)n * PIXELS * sizeof(float));
		out += n * PIXELS;
	}
}

/* By seed, epoch and sample alone: in whatever batch, and from wherever a run goes on. */
START_TEST(same_bits_in_any_batch)
{
	enum { N = 64 };
	struct vq_data_spec s = spec_of("digits");
	float *a = vq_alloc_array(N * PIXELS, sizeof(float)), *b = vq_alloc_array(N * PIXELS, sizeof(float));
	struct vq_dataset *d;
	struct vq_loader *l, *other;

	s.limit = N;
	s.crop = 4;
	s.flip = true;
	d = open_whole(&s);
	l = vq_loader_new(d, 16, true, true, 3);
	vq_loader_augment(l);
	read_pass(l, 1, 0, a);
	read_pass(l, 2, 0, b);
	ck_assert_mem_ne(a, b, N * PIXELS * sizeof(float));
	other = vq_loader_new(d, 8, true, true, 3);
	vq_loader_augment(other);
	read_pass(other, 1, 0, b);
	ck_assert_mem_eq(a, b, N * PIXELS * sizeof(float));
	read_pass(l, 1, 2, b);
	ck_assert_mem_eq(a + 32 * PIXELS, b, 32 * PIXELS * sizeof(float));
	vq_loader_free(other);
	other = vq_loader_new(d, 16, true, true, 4);
	vq_loader_augment(other);
	read_pass(other, 1, 0, b);
	ck_assert_mem_ne(a, b, N * PIXELS * sizeof(float));
	vq_loader_free(other);
	/* A loader that is not asked to augment does not. */
	other = vq_loader_new(d, 16, false, true, 3);
	read_pass(other, 1, 0, b);
	for (uint32_t i = 0; i < N; i++) {
		d->kind->gather(d, 0, &i, 1, a);
		ck_assert_mem_eq(a, b + i * PIXELS, PIXELS * sizeof(float));
	}
	vq_loader_free(other);
	vq_loader_free(l);
	vq_dataset_close(d);
	free(a);
	free(b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resize");
	TCase *t = tcase_create("resize");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 180);
	tcase_add_loop_test(t, fits_as_pillow, 0, (int)(VQ_COUNT(filters) * VQ_COUNT(sizes)));
	tcase_add_test(t, floats_are_not_rounded);
	tcase_add_test(t, grey_and_colour);
	tcase_add_test(t, any_set_is_resized);
	tcase_add_test(t, what_cannot_be_had);
	tcase_add_test(t, windows);
	tcase_add_test(t, resizes_as_pillow);
	tcase_add_test(t, windows_of_any_picture);
	tcase_add_test(t, windows_of_an_array);
	tcase_add_test(t, same_bits_in_any_batch);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
