/*
 * check_image -- picture grids, and PNG files written and read
 */
#include <check.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/draw.h"
#include "engine/image.h"
#include "tests/scratch.h"

enum { GAP = 2, BACKGROUND = 96 };

static char dir[64];

static void
setup(void)
{
	scratch_make(dir);
	ck_assert_int_eq(chdir(dir), 0);
}

static void
teardown(void)
{
	scratch_remove(dir);
}

static int
at(const struct vq_image *im, int x, int y, int channel)
{
	ck_assert(x >= 0 && x < im->w && y >= 0 && y < im->h);
	return im->pixel[(y * im->w + x) * im->channels + channel];
}

START_TEST(grey_grid)
{
	/* Three pictures of 2 x 3 on two columns, each value its own. */
	const float data[18] = { -1, 0, 1, -2, 2, NAN, .5f, .5f, .5f, .5f, .5f, .5f, 1, 1, 1, 1, 1, 1 };
	struct vq_pictures p = { data, 3, 2, 3, 1, -1, 1 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_grid(&im, &p, 2, 1, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 2 * (3 + GAP));
	ck_assert_int_eq(im.h, GAP + 2 * (2 + GAP));
	ck_assert_int_eq(im.channels, 1);
	ck_assert_int_eq(at(&im, 0, 0, 0), BACKGROUND);
	ck_assert_int_eq(at(&im, 2, 2, 0), 0);
	ck_assert_int_eq(at(&im, 3, 2, 0), 128);
	ck_assert_int_eq(at(&im, 4, 2, 0), 255);
	ck_assert_int_eq(at(&im, 5, 2, 0), BACKGROUND);
	ck_assert_int_eq(at(&im, 2, 3, 0), 0);		/* below the range */
	ck_assert_int_eq(at(&im, 3, 3, 0), 255);	/* above */
	ck_assert_int_eq(at(&im, 4, 3, 0), 0);		/* not a number */
	ck_assert_int_eq(at(&im, 7, 2, 0), 191);
	ck_assert_int_eq(at(&im, 2, 6, 0), 255);
	ck_assert_int_eq(at(&im, 7, 6, 0), BACKGROUND);	/* no fourth picture */
	vq_image_free(&im);
}
END_TEST

START_TEST(zoom_and_colour)
{
	const float data[2 * 1 * 4] = { 0, .2f, 1, 9, 1, 0, 0, 9 };
	struct vq_pictures p = { data, 1, 1, 2, 4, 0, 1 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_grid(&im, &p, 5, 3, NULL), 0);
	ck_assert_int_eq(im.channels, 3);
	ck_assert_int_eq(im.w, GAP + 6 + GAP);
	ck_assert_int_eq(im.h, GAP + 3 + GAP);
	for (int y = 2; y < 5; y++)
		for (int x = 2; x < 8; x++) {
			const int want[2][3] = { { 0, 51, 255 }, { 255, 0, 0 } };

			for (int c = 0; c < 3; c++)
				ck_assert_int_eq(at(&im, x, y, c), want[x >= 5][c]);
		}
	vq_image_free(&im);
}
END_TEST

START_TEST(pairs)
{
	float above[4] = { .2f, .2f, .2f, .2f }, below[4] = { .8f, .8f, .8f, .8f };
	struct vq_pictures p = { above, 4, 1, 1, 1, 0, 1 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_pairs(&im, &p, (const float *const[]){ below }, 1, 2, 1, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 2 * (1 + GAP));
	ck_assert_int_eq(im.h, GAP + 1 + GAP + 1 + 6 + 1 + GAP + 1 + GAP);
	ck_assert_int_eq(at(&im, 2, 2, 0), 51);
	ck_assert_int_eq(at(&im, 2, 5, 0), 204);
	ck_assert_int_eq(at(&im, 5, 12, 0), 51);
	ck_assert_int_eq(at(&im, 5, 15, 0), 204);
	vq_image_free(&im);
}
END_TEST

/* Two rows of what was made, each under its originals. */
START_TEST(stacks)
{
	float above[2] = { .2f, .2f }, one[2] = { .4f, .4f }, two[2] = { .8f, .8f };
	struct vq_pictures p = { above, 2, 1, 1, 1, 0, 1 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_pairs(&im, &p, (const float *const[]){ one, two }, 2, 1, 1, NULL), 0);
	ck_assert_int_eq(im.h, GAP + 2 * (3 * (1 + GAP) - GAP) + 6 + GAP);
	const int want[] = { 51, 102, 204 };
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(at(&im, 2, 2 + 3 * i, 0), want[i]);
		ck_assert_int_eq(at(&im, 2, 2 + 7 + 6 + 3 * i, 0), want[i]);
	}
	vq_image_free(&im);
}
END_TEST

/* The pictures are those of the grid without labels, and each label stands beside its own row. */
START_TEST(labelled)
{
	static float data[6 * 20 * 10];
	struct vq_pictures p = { data, 5, 20, 10, 1, 0, 1 };
	const char *label[] = { "7", "Ankle boot" };
	struct vq_image im, plain;

	for (int i = 0; i < 6 * 20 * 10; i++)
		data[i] = (float)(i % 7) / 7;
	ck_assert_int_eq(vq_image_grid(&plain, &p, 3, 1, NULL), 0);
	ck_assert_int_eq(vq_image_labelled(&im, &p, 3, label, 1, NULL), 0);
	int left = im.w - plain.w, lit[2] = { 0 };
	ck_assert_int_ge(left, vq_text_width(label[1], 1));
	ck_assert_int_eq(im.h, plain.h);
	for (int y = 0; y < im.h; y++) {
		for (int x = GAP; x < plain.w; x++)
			ck_assert_int_eq(at(&im, left + x, y, 0), at(&plain, x, y, 0));
		for (int x = 0; x < left; x++)
			lit[y >= GAP + 20 + GAP] += at(&im, x, y, 0) == 255;
	}
	ck_assert_int_gt(lit[0], 5);
	ck_assert_int_gt(lit[1], 10 * lit[0] / 2);
	vq_image_free(&im);
	vq_image_free(&plain);
}
END_TEST

START_TEST(columns_are_chosen)
{
	static float data[100 * 4];
	struct vq_pictures p = { data, 100, 2, 2, 1, 0, 1 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_grid(&im, &p, 0, 1, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 10 * (2 + GAP));
	ck_assert_int_eq(im.h, im.w);
	vq_image_free(&im);
	/* Two rows of eight rather than a hole: 16 pairs. */
	p.n = 16;
	ck_assert_int_eq(vq_image_pairs(&im, &p, (const float *const[]){ data }, 1, 0, 1, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 8 * (2 + GAP));
	vq_image_free(&im);
	p.n = 13;
	ck_assert_int_eq(vq_image_grid(&im, &p, 0, 1, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 4 * (2 + GAP));
	vq_image_free(&im);
	/* Small pictures are enlarged until they can be seen. */
	p.n = 1;
	ck_assert_int_eq(vq_image_grid(&im, &p, 0, 0, NULL), 0);
	ck_assert_int_eq(im.w, GAP + 48 + GAP);
	vq_image_free(&im);
}
END_TEST

START_TEST(too_large)
{
	struct vq_pictures p = { NULL, INT64_MAX, 1 << 14, 1 << 14, 1, 0, 1 };
	struct vq_diags d = { 0 };
	struct vq_image im;

	ck_assert_int_eq(vq_image_grid(&im, &p, 1, 1, &d), -1);
	ck_assert_int_eq(vq_image_grid(&im, &p, 0, 1, &d), -1);
	ck_assert_int_eq(vq_image_grid(&im, &p, INT_MAX, INT_MAX, &d), -1);
	p.w = INT64_MAX;
	ck_assert_int_eq(vq_image_grid(&im, &p, 1, 1, &d), -1);
	p = (struct vq_pictures){ NULL, 5, 1 << 14, 4, 1, 0, 1 };
	ck_assert_int_eq(vq_image_pairs(&im, &p, NULL, 1, 1, 1, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	vq_diags_free(&d);
}
END_TEST

static void
round_trip(const struct vq_image *im)
{
	struct vq_image back;
	size_t one_n, two_n;
	char *one, *two;

	ck_assert_int_eq(vq_image_write_png("one.png", im, NULL), 0);
	ck_assert_int_eq(vq_image_write_png("two.png", im, NULL), 0);
	ck_assert_int_eq(vq_image_read_png("one.png", &back, NULL), 0);
	ck_assert_int_eq(back.w, im->w);
	ck_assert_int_eq(back.h, im->h);
	ck_assert_int_eq(back.channels, im->channels);
	ck_assert_mem_eq(back.pixel, im->pixel, (size_t)im->w * (size_t)im->h * (size_t)im->channels);
	vq_image_free(&back);
	one = vq_file_read("one.png", 1 << 20, &one_n, VQ_DATA, NULL);
	two = vq_file_read("two.png", 1 << 20, &two_n, VQ_DATA, NULL);
	ck_assert_uint_eq(one_n, two_n);
	ck_assert_mem_eq(one, two, one_n);
	free(one);
	free(two);
}

START_TEST(png_round_trip)
{
	uint8_t pixel[7 * 5 * 3];
	struct vq_image im = { 7, 5, 1, pixel };

	for (int i = 0; i < 7 * 5 * 3; i++)
		pixel[i] = (uint8_t)(i * 37);
	round_trip(&im);
	im.channels = 3;
	round_trip(&im);
}
END_TEST

/* A PNG cut anywhere, or with any bit changed, is read or refused, no more. */
START_TEST(png_damage)
{
	uint8_t pixel[16 * 16] = { 1, 2, 3 };
	struct vq_image im = { 16, 16, 1, pixel }, back;
	struct vq_diags d = { 0 };
	size_t n;
	char *bytes;

	ck_assert_int_eq(vq_image_write_png("whole.png", &im, NULL), 0);
	bytes = vq_file_read("whole.png", 1 << 20, &n, VQ_DATA, NULL);
	for (size_t i = 0; i < n; i++) {
		bytes[i] ^= 0x40;
		ck_assert_int_eq(vq_file_write("bad.png", bytes, n, NULL), 0);
		if (vq_image_read_png("bad.png", &back, NULL) == 0)
			vq_image_free(&back);
		bytes[i] ^= 0x40;
	}
	for (size_t i = 1; i < n - 12; i++) {
		ck_assert_int_eq(vq_file_write("bad.png", bytes, i, NULL), 0);
		if (vq_image_read_png("bad.png", &back, NULL) == 0)
			vq_image_free(&back);
	}
	ck_assert_int_eq(vq_file_write("bad.png", bytes, n / 2, NULL), 0);
	ck_assert_int_eq(vq_image_read_png("bad.png", &back, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
	ck_assert_int_eq(vq_image_read_png("none.png", &back, &d), -1);
	vq_diags_free(&d);
	free(bytes);
}
END_TEST

START_TEST(png_that_cannot_be_written)
{
	uint8_t pixel[1] = { 0 };
	struct vq_image im = { 1, 1, 1, pixel };
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_image_write_png("no/such/folder.png", &im, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	vq_diags_free(&d);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("image");
	TCase *t = tcase_create("image");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, grey_grid);
	tcase_add_test(t, zoom_and_colour);
	tcase_add_test(t, pairs);
	tcase_add_test(t, stacks);
	tcase_add_test(t, labelled);
	tcase_add_test(t, columns_are_chosen);
	tcase_add_test(t, too_large);
	tcase_add_test(t, png_round_trip);
	tcase_add_test(t, png_damage);
	tcase_add_test(t, png_that_cannot_be_written);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
