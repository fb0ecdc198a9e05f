/*
 * check_gif -- moving pictures, read back by giflib
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gif_lib.h>

#include "engine/file.h"
#include "engine/gif.h"
#include "engine/log.h"
#include "tests/scratch.h"

enum { W = 60, H = 44, FRAMES = 3 };

static char dir[64];
static struct vq_image frame[FRAMES];
static const int delay[FRAMES] = { 300, 300, 2000 };

static void
setup(void)
{
	scratch_make(dir);
	ck_assert_int_eq(chdir(dir), 0);
}

static void
teardown(void)
{
	for (int f = 0; f < FRAMES; f++)
		vq_image_free(&frame[f]);
	scratch_remove(dir);
}

static void
make_frames(int channels, int (*value)(int f, int x, int y, int c))
{
	for (int f = 0; f < FRAMES; f++) {
		vq_image_new(&frame[f], W, H, channels, 0);
		for (int i = 0; i < W * H * channels; i++)
			frame[f].pixel[i] = (uint8_t)value(f, i / channels % W, i / channels / W, i % channels);
	}
}

/* The largest difference of any pixel; the mean goes into *mean. */
static int
compare(const char *path, double *mean)
{
	int error, most = 0;
	double sum = 0;
	GifFileType *gif = DGifOpenFileName(path, &error);

	ck_assert_ptr_nonnull(gif);
	ck_assert_int_eq(DGifSlurp(gif), GIF_OK);
	ck_assert_int_eq(gif->ImageCount, FRAMES);
	ck_assert_int_eq(gif->SWidth, W);
	ck_assert_int_eq(gif->SHeight, H);
	for (int f = 0; f < FRAMES; f++) {
		const SavedImage *s = &gif->SavedImages[f];
		GraphicsControlBlock control;

		ck_assert_int_eq(DGifSavedExtensionToGCB(gif, f, &control), GIF_OK);
		ck_assert_int_eq(control.DelayTime, delay[f] / 10);
		ck_assert_int_eq(control.TransparentColor, NO_TRANSPARENT_COLOR);
		ck_assert_ptr_null(s->ImageDesc.ColorMap);
		for (int i = 0; i < W * H; i++) {
			const GifColorType *c = &gif->SColorMap->Colors[s->RasterBits[i]];
			const int got[3] = { c->Red, c->Green, c->Blue };

			for (int k = 0; k < 3; k++) {
				int channels = frame[f].channels;
				int off = abs(got[k] - frame[f].pixel[i * channels + (channels == 3 ? k : 0)]);

				most = off > most ? off : most;
				sum += off;
			}
		}
	}
	*mean = sum / (3. * FRAMES * W * H);
	ck_assert_int_eq(DGifCloseFile(gif, &error), GIF_OK);
	return most;
}

static int
write_and_compare(double *mean)
{
	ck_assert_int_eq(vq_gif_write("a.gif", frame, delay, FRAMES, NULL), 0);
	return compare("a.gif", mean);
}

static int grey(int f, int x, int y, int c) { return (x * 5 + y * 3 + f * 40) & 255; }
static int few(int f, int x, int y, int c) { return (x / 4 * 7 + y / 11 * 50 + f) % 80 * (c + 1); }
/* A photograph, as far as a palette is concerned: smooth and of all colours. */
static int
many(int f, int x, int y, int c)
{
	double u = x / (double)W, v = y / (double)H;

	return (int)(127.5 + 127.5 * sin(3 * u * (c + 1) + 4 * v * (3 - c) + f));
}
static int one(int f, int x, int y, int c) { return 77; }

START_TEST(grey_is_exact)
{
	double mean;

	make_frames(1, grey);
	ck_assert_int_eq(write_and_compare(&mean), 0);
}
END_TEST

START_TEST(few_colours_are_exact)
{
	uint8_t rgb[256][3];
	double mean;

	make_frames(3, few);
	ck_assert_int_le(vq_gif_palette(frame, FRAMES, rgb), 256);
	ck_assert_int_eq(write_and_compare(&mean), 0);
}
END_TEST

START_TEST(one_colour)
{
	uint8_t rgb[256][3];
	double mean;

	make_frames(3, one);
	ck_assert_int_eq(vq_gif_palette(frame, FRAMES, rgb), 1);
	ck_assert_int_eq(write_and_compare(&mean), 0);
}
END_TEST

START_TEST(many_colours_are_near)
{
	uint8_t rgb[256][3];
	double mean;

	make_frames(3, many);
	ck_assert_int_eq(vq_gif_palette(frame, FRAMES, rgb), 256);
	ck_assert_int_le(write_and_compare(&mean), 40);
	/* A palette of 6 x 7 x 6 equal steps would be off by 12 on average. */
	ck_assert_msg(mean < 8, "%g", mean);
}
END_TEST

START_TEST(again_the_same)
{
	size_t an, bn;
	char *a, *b;

	make_frames(3, many);
	ck_assert_int_eq(vq_gif_write("a.gif", frame, delay, FRAMES, NULL), 0);
	ck_assert_int_eq(vq_gif_write("b.gif", frame, delay, FRAMES, NULL), 0);
	a = vq_file_read("a.gif", 1 << 24, &an, VQ_DATA, NULL);
	b = vq_file_read("b.gif", 1 << 24, &bn, VQ_DATA, NULL);
	ck_assert_uint_eq(an, bn);
	ck_assert_mem_eq(a, b, an);
	/* It begins as a file of version 89a, and is shown again and again. */
	ck_assert_mem_eq(a, "GIF89a", 6);
	ck_assert_ptr_nonnull(memmem(a, an, "NETSCAPE2.0\3\1\0\0", 15));
	free(a);
	free(b);
}
END_TEST

/* A picture of a run at some moment, of a size. */
static void
put_moment(struct vq_run *r, bool epoch, int64_t k, int w)
{
	struct vq_shown shown = { .stage = "s", .split = "train", .what = "recon", .step = k };
	struct vq_image im;
	char label[32];

	vq_moment_label(label, epoch, k);
	shown.label = label;
	vq_image_new(&im, w, 20, 1, (uint8_t)(k % 200));
	ck_assert_int_eq(vq_run_picture(r, &shown, &im, NULL), 0);
	vq_image_free(&im);
}

/* How many frames there are, and the level of the first pixel of each. */
static int
levels(const char *path, int level[200])
{
	int error, n;
	GifFileType *gif = DGifOpenFileName(path, &error);

	ck_assert_ptr_nonnull(gif);
	ck_assert_int_eq(DGifSlurp(gif), GIF_OK);
	n = gif->ImageCount;
	for (int i = 0; i < n && i < 200; i++)
		level[i] = gif->SColorMap->Colors[gif->SavedImages[i].RasterBits[0]].Red;
	ck_assert_int_eq(DGifCloseFile(gif, &error), GIF_OK);
	return n;
}

/* Steps of the first epoch, epochs, the last step; what is missing or of another size is left out. */
START_TEST(over_the_epochs)
{
	static const char path[] = "runs/demo/samples/s-recon.gif";
	struct vq_run *r = vq_run_create(&(struct vq_run_info){ .out = "runs", .name = "demo", .config = "", .resolved = "",
	    .threads_why = "", .isa = "" }, NULL);
	int level[200];

	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, true);
	put_moment(r, false, 1, 40);
	ck_assert_int_eq(vq_run_movie(r, "s", "recon", 10, 1, NULL), 0);
	ck_assert_int_ne(access(path, F_OK), 0);	/* one picture does not move */
	for (int64_t k = 2; k < 64; k *= 2)
		put_moment(r, false, k, k == 4 ? 30 : 40);
	for (int64_t e = 1; e <= 3; e++)
		put_moment(r, true, e, 40);
	put_moment(r, false, 37, 40);
	ck_assert_int_eq(vq_run_movie(r, "s", "recon", 10, 37, NULL), 0);
	const int want[] = { 1, 2, 8, 1, 2, 3, 37 };
	ck_assert_int_eq(levels(path, level), 7);
	ck_assert_mem_eq(level, want, sizeof(want));
	/* Of very many epochs some are left out, not the last. */
	for (int64_t e = 1; e <= 180; e++)
		put_moment(r, true, e, 40);
	ck_assert_int_eq(vq_run_movie(r, "s", "recon", 10, 1800, NULL), 0);
	int n = levels(path, level);
	ck_assert(n > 100 && n < 130);
	ck_assert_int_eq(level[n - 1], 180);
	for (int i = 4; i < n; i++)
		ck_assert(level[i] - level[i - 1] >= 1 && level[i] - level[i - 1] <= 2);
	vq_run_close(r);
}
END_TEST

START_TEST(cannot_be_written)
{
	struct vq_diags d = { 0 };

	make_frames(1, grey);
	ck_assert_int_eq(vq_gif_write("no/such/a.gif", frame, delay, FRAMES, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	vq_diags_free(&d);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gif");
	TCase *t = tcase_create("gif");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, grey_is_exact);
	tcase_add_test(t, few_colours_are_exact);
	tcase_add_test(t, one_colour);
	tcase_add_test(t, many_colours_are_near);
	tcase_add_test(t, again_the_same);
	tcase_add_test(t, over_the_epochs);
	tcase_add_test(t, cannot_be_written);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
