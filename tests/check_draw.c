/*
 * check_draw -- text and shapes on pictures, and the drawings made of them: codes, their use, codebooks
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/draw.h"
#include "engine/draw_codebook.h"
#include "engine/draw_codes.h"

static int
at(const struct vq_image *im, int x, int y, int channel)
{
	ck_assert(x >= 0 && x < im->w && y >= 0 && y < im->h);
	return im->pixel[(y * im->w + x) * im->channels + channel];
}

static void
draw_all(struct vq_image *im, int x, int y)
{
	const struct vq_rgb ink = { 200, 10, 30 };

	vq_draw_text(im, x, y, "k\xc3\xa9y 42", 2, ink);
	vq_draw_fill(im, x, y, 7, 5, ink);
	vq_draw_disc(im, x, y, 6.5, ink, .5);
	vq_draw_ring(im, x, y, 9, 1, ink, 1);
}

/* What is drawn over an edge is what stands there on a picture without that edge. */
START_TEST(drawing_is_cut_off)
{
	enum { W = 20, H = 10, FAR = 80 };
	struct vq_image im, large;

	for (int channels = 1; channels <= 3; channels += 2)
		for (int x = -60; x < 40; x += 3)
			for (int y = -40; y < 40; y += 3) {
				vq_image_new(&im, W, H, channels, 255);
				vq_image_new(&large, W + 2 * FAR, H + 2 * FAR, channels, 255);
				draw_all(&im, x, y);
				draw_all(&large, x + FAR, y + FAR);
				for (int r = 0; r < H; r++)
					ck_assert_mem_eq(im.pixel + r * W * channels,
					    large.pixel + ((r + FAR) * large.w + FAR) * channels, (size_t)(W * channels));
				vq_image_free(&im);
				vq_image_free(&large);
			}
}
END_TEST

/* An e with an accent is one character, and a disc has the area of a circle. */
START_TEST(text_and_discs)
{
	const struct vq_rgb black = { 0, 0, 0 };
	struct vq_image im;
	double ink = 0;

	ck_assert_int_eq(vq_text_width("", 2), 0);
	ck_assert_int_eq(vq_text_width("\xc3\xa9", 1), vq_text_width("?", 1));
	ck_assert_int_eq(vq_text_width("10", 3), 3 * (5 + 1 + 5));
	for (char c = '!'; c <= '~'; c++) {
		int lit = 0;

		vq_image_new(&im, 8, 12, 1, 255);
		vq_draw_text(&im, 1, 1, (const char[]){ c, 0 }, 1, black);
		for (int i = 0; i < 8 * 12; i++)
			lit += im.pixel[i] == 0;
		ck_assert_msg(lit > 0, "%c is empty", c);
		vq_image_free(&im);
	}
	vq_image_new(&im, 40, 40, 1, 255);
	vq_draw_disc(&im, 20, 20, 12, black, 1);
	for (int i = 0; i < 40 * 40; i++)
		ink += (255 - im.pixel[i]) / 255.;
	ck_assert_double_eq_tol(ink, M_PI * 144, 1.5);
	vq_image_free(&im);
}
END_TEST

/* Neighbours differ, by about as much everywhere. */
START_TEST(colours)
{
	for (int n = 2; n <= 32; n++)
		for (int k = 1; k < n; k++) {
			struct vq_rgb a = vq_color_of_code(k - 1, n), b = vq_color_of_code(k, n);
			int far = abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b);

			ck_assert_msg(far >= 10 && far * n < 4000, "%d and %d of %d: %d", k - 1, k, n, far);
		}
}
END_TEST

/* Each place of a map has the colour of its code, beside the picture it belongs to. */
START_TEST(code_maps)
{
	float data[2 * 32 * 32] = { 0 };
	int32_t code[2 * 2 * 2 * 2];
	struct vq_pictures p = { data, 2, 32, 32, 1, 0, 1 };
	struct vq_code_maps m = { code, 2, 2, 2, 2, 16 };
	struct vq_diags d = { 0 };
	struct vq_image im;

	for (int i = 0; i < 16; i++)
		code[i] = 15 - i;
	ck_assert_int_eq(vq_draw_codes(&im, &p, &m, NULL), 0);
	ck_assert_int_eq(im.channels, 3);
	for (int map = 0; map < 2; map++)
		for (int place = 0; place < 4; place++) {
			struct vq_rgb want = vq_color_of_code(code[2 * place + map], 16);
			int x = 10 + (96 + 2) * (1 + map) + 48 * (place % 2) + 24, y = 10 + 48 * (place / 2) + 24;

			ck_assert_int_eq(at(&im, x, y, 0), want.r);
			ck_assert_int_eq(at(&im, x, y, 1), want.g);
			ck_assert_int_eq(at(&im, x, y, 2), want.b);
		}
	ck_assert_int_eq(at(&im, 10 + 40, 10 + 40, 0), 0);
	/* The bar ends with the last code's colour above and the first's below. */
	int bar = 10 + 2 * (3 * 98 - 2 + 10) + 4, top = 0;
	for (int y = 0; y < im.h; y++)
		top += at(&im, bar + 8, y, 0) == vq_color_of_code(15, 16).r && y < im.h / 2;
	ck_assert_int_gt(top, 3);
	vq_image_free(&im);
	for (m.codes = 1; m.codes < 100000; m.codes = m.codes * 3 / 2 + 1) {
		memset(code, 0, sizeof(code));
		ck_assert_int_eq(vq_draw_codes(&im, m.codes % 2 ? &p : NULL, &m, NULL), 0);
		vq_image_free(&im);
	}
	m.h = m.w = 1 << 20;
	ck_assert_int_eq(vq_draw_codes(&im, NULL, &m, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	vq_diags_free(&d);
}
END_TEST

/* How often a text occurs. */
static int
times(const char *s, const char *what)
{
	int n = 0;

	for (; (s = strstr(s, what)) != NULL; s += strlen(what))
		n++;
	return n;
}

/* Whether some pixel near (x, y) has this colour, about. */
static bool
is_near(const struct vq_image *im, double x, double y, struct vq_rgb c)
{
	int px = (int)x, py = (int)y;

	return abs(at(im, px, py, 0) - c.r) + abs(at(im, px, py, 1) - c.g) + abs(at(im, px, py, 2) - c.b) < 120;
}

/* A point for each code where the map has it, of its colour; rings for those not used. */
START_TEST(codebook)
{
	enum { N = 5 };
	const double y[2 * N] = { -1, -.3, -.5, .1, 0, .3, .5, -.1, 1, 0 };
	const int64_t use[N] = { 10, 0, 40, 160, 0 };
	struct vq_codebook_map m = { "s", "a<b.book", N, 3, y, { .perplexity = 30, .kl_end = .5 }, use };
	struct vq_text svg = { 0 };
	struct vq_image im;

	m.t.exact = VQ_TSNE_EXACT;
	vq_codebook_svg(&svg, &m);
	ck_assert_int_eq(times(svg.s, "<circle "), N + 2);	/* two in the legend */
	ck_assert_int_eq(times(svg.s, "class=\"unused\""), 2 + 1);
	ck_assert_ptr_nonnull(strstr(svg.s, "a&lt;b.book, 5 codes of 3"));
	ck_assert_ptr_nonnull(strstr(svg.s, "<title>code 3: 160 uses</title>"));
	ck_assert_ptr_nonnull(strstr(svg.s, "average: 42 uses"));
	ck_assert_ptr_nonnull(strstr(svg.s, "2 not used"));
	/* Areas are as the uses: 160 of them, radius 9 for the mean of 42. */
	ck_assert_ptr_nonnull(strstr(svg.s, "r=\"17.6\""));
	ck_assert_ptr_nonnull(strstr(svg.s, "r=\"8.8\""));

	vq_codebook_image(&im, &m);
	ck_assert_int_eq(im.w, 640);
	double scale = (640 - 2 * 28) / 2., middle = (im.h - 72) / 2. + 72;
	for (int i = 0; i < N; i++) {
		double x = 320 + scale * y[2 * i], at_y = middle - scale * (y[2 * i + 1] - 0);
		struct vq_rgb white = { 255, 255, 255 };

		ck_assert_msg(is_near(&im, x, at_y, use[i] > 0 ? vq_color_of_code(i, N) : white), "code %d", i);
	}
	vq_image_free(&im);
	vq_text_free(&svg);
	/* Without uses, all are alike. */
	m.use = NULL;
	vq_codebook_svg(&svg, &m);
	ck_assert_int_eq(times(svg.s, "<circle "), N);
	ck_assert_int_eq(times(svg.s, "r=\"9.0\""), N);
	vq_text_free(&svg);
	/* All at one place. */
	m.y = (const double[2 * N]){ 0 };
	vq_codebook_image(&im, &m);
	ck_assert(is_near(&im, 320, 72 + 120, vq_color_of_code(N - 1, N)));
	vq_image_free(&im);
}
END_TEST

START_TEST(use_of_codes)
{
	const int64_t even[4] = { 30, 10, 0, 20 }, steep[3] = { 1, 5000, 3 }, none[3] = { 0 };
	struct vq_text svg = { 0 };

	ck_assert(vq_codes_svg(&svg, "s&t", "vq.code", even, 4));
	ck_assert_ptr_nonnull(strstr(svg.s, "s&amp;t: uses of 4 codes, 1 never, perplexity 2.749<"));
	ck_assert_ptr_nonnull(strstr(svg.s, "average 15<"));
	/* The largest first, each a quarter of the width of 632; the axis begins at 0. */
	ck_assert_ptr_nonnull(strstr(svg.s, "H222.0V"));
	ck_assert_ptr_nonnull(strstr(svg.s, "H380.0V"));
	ck_assert_ptr_nonnull(strstr(svg.s, "H538.0V358\""));
	ck_assert_ptr_null(strstr(svg.s, "log scale"));
	vq_text_free(&svg);
	ck_assert(vq_codes_svg(&svg, "s", "vq.code", steep, 3));
	ck_assert_ptr_nonnull(strstr(svg.s, "log scale"));
	vq_text_free(&svg);
	ck_assert(!vq_codes_svg(&svg, "s", "vq.code", none, 3));
	ck_assert_ptr_null(svg.s);
	/* Very many codes make no more steps than there are pixels. */
	int64_t *many = vq_alloc_array(100000, sizeof(*many));
	for (int i = 0; i < 100000; i++)
		many[i] = i;
	ck_assert(vq_codes_svg(&svg, "s", "vq.code", many, 100000));
	ck_assert_uint_lt(svg.len, 40000);
	vq_text_free(&svg);
	free(many);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("draw");
	TCase *t = tcase_create("draw");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, drawing_is_cut_off);
	tcase_add_test(t, text_and_discs);
	tcase_add_test(t, colours);
	tcase_add_test(t, code_maps);
	tcase_add_test(t, codebook);
	tcase_add_test(t, use_of_codes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
