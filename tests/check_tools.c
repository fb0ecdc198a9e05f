/*
 * check_tools -- parts of the command line that are easier to test from C:
 * layout of pictures, numbers for people, durations, conversion of arrays
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "engine/rng.h"
#include "tools/dump.h"
#include "tools/eval.h"

/* --- layout ---------------------------------------------------------------- */

/* A random picture: each box has lines from up to three earlier ones. */
static void
random_picture(struct vq_picture *p, uint64_t seed, int boxes)
{
	struct vq_rng_key key = { .seed = seed };
	uint64_t draw = 0;

	*p = (struct vq_picture){ 0 };
	for (int b = 0; b < boxes; b++) {
		vq_picture_box(p, VQ_BOX_STEP);
		p->box[b].title = b % 3 ? "step" : "a.step.with.a.long.name";
		for (int k = (int)vq_rng_below(&key, draw++, 3); k >= 0 && b > 0; k--) {
			vq_grow(p->line, p->lines, p->line_cap);
			p->line[p->lines++] = (struct vq_line){ .to = b, .type = "f32",
			    .from = (int)vq_rng_below(&key, draw++, (uint64_t)b) };
		}
	}
}

static void
check_boxes(const struct vq_picture *p)
{
	for (int a = 0; a < p->boxes; a++) {
		const struct vq_box *x = &p->box[a];

		ck_assert(x->x - x->w / 2 > 0 && x->x + x->w / 2 < p->width);
		ck_assert(x->y - x->h / 2 > 0 && x->y + x->h / 2 < p->height);
		for (int b = 0; b < a; b++) {
			const struct vq_box *y = &p->box[b];

			ck_assert_msg(fabs(x->x - y->x) >= (x->w + y->w) / 2 || x->layer != y->layer,
			    "boxes %d and %d overlap", a, b);
		}
	}
}

START_TEST(layout_keeps_boxes_apart)
{
	struct vq_picture p;

	random_picture(&p, (uint64_t)_i, 1 + 7 * _i);
	vq_picture_layout(&p);
	check_boxes(&p);
	for (int i = 0; i < p.lines; i++) {
		const struct vq_line *l = &p.line[i];

		ck_assert_int_lt(p.box[l->from].layer, p.box[l->to].layer);
		ck_assert_int_eq(l->bends, p.box[l->to].layer - p.box[l->from].layer - 1);
		for (int k = 0; k < l->bends; k++)
			ck_assert_int_eq(p.box[l->bend + k].layer, p.box[l->from].layer + 1 + k);
	}
	vq_picture_free(&p);
}
END_TEST

START_TEST(layout_of_nothing)
{
	struct vq_picture p = { 0 };

	vq_picture_layout(&p);
	ck_assert(isfinite(p.width) && isfinite(p.height));
	vq_picture_free(&p);
}
END_TEST

/* --- numbers --------------------------------------------------------------- */

START_TEST(numbers_for_people)
{
	char buf[VQ_NUM_STR];

	ck_assert_str_eq(vq_count_str(0, buf), "0");
	ck_assert_str_eq(vq_count_str(999, buf), "999");
	ck_assert_str_eq(vq_count_str(1000, buf), "1,000");
	ck_assert_str_eq(vq_count_str(-1234567, buf), "-1,234,567");
	ck_assert_str_eq(vq_count_str(-123, buf), "-123");
	ck_assert_str_eq(vq_count_str(INT64_MIN, buf), "-9,223,372,036,854,775,808");
	ck_assert_str_eq(vq_si_str(0, buf), "0");
	ck_assert_str_eq(vq_si_str(999, buf), "999");
	ck_assert_str_eq(vq_si_str(999.6, buf), "1.00 k");
	ck_assert_str_eq(vq_si_str(1234, buf), "1.23 k");
	ck_assert_str_eq(vq_si_str(12345678, buf), "12.3 M");
	ck_assert_str_eq(vq_si_str(9.996e9, buf), "10.0 G");
	ck_assert_str_eq(vq_si_str(2.5e12, buf), "2.50 T");
	ck_assert_str_eq(vq_bytes_str(4, buf), "4 B");
	ck_assert_str_eq(vq_bytes_str(32768, buf), "32.8 kB");
}
END_TEST

START_TEST(durations)
{
	static const struct { const char *text; double seconds; } good[] = {
		{ "45", 45 }, { "0.5", 0.5 }, { "90s", 90 }, { "30m", 1800 }, { "1h30m", 5400 }, { "2.5h", 9000 },
		{ "1d", 86400 }, { "1d2h3m4s", 93784 }
	};
	static const char *const bad[] = { "", "m", "1x", "-5m", "1m1h", "1h1h", "0x10", "1e999", "nan", "inf",
	    " 5m", "5 m", "1h30" };
	double s;

	for (size_t i = 0; i < VQ_COUNT(good); i++) {
		ck_assert_msg(vq_duration_parse(good[i].text, &s), "%s is a duration", good[i].text);
		ck_assert_double_eq_tol(s, good[i].seconds, 1e-9);
	}
	for (size_t i = 0; i < VQ_COUNT(bad); i++)
		ck_assert_msg(!vq_duration_parse(bad[i], &s), "'%s' is no duration", bad[i]);
}
END_TEST

/* --- conversion ------------------------------------------------------------ */

static int64_t
convert(enum vq_dtype from, const void *data, enum vq_dtype to, void *out)
{
	struct vq_type s = vq_type_of(from, 1, (int64_t[]){ 2 }), t = vq_type_of(to, 1, (int64_t[]){ 2 });

	return vq_convert(&(struct vq_view){ (void *)(uintptr_t)data, &s }, &(struct vq_view){ out, &t });
}

START_TEST(arrays_are_converted_without_loss)
{
	double f64[2] = { 1.5, NAN }, huge[2] = { 0, 1e300 };
	int64_t i64[2] = { -7, 2147483647 }, large[2] = { 1, 2147483648 }, odd[2] = { 16777216, 16777217 };
	uint8_t u8[2] = { 0, 255 };
	float f32[2];
	int32_t i32[2];
	bool flag[2];

	ck_assert_int_eq(convert(VQ_F64, f64, VQ_F32, f32), 0);
	ck_assert(f32[0] == 1.5f && isnan(f32[1]));
	ck_assert_int_eq(convert(VQ_F64, huge, VQ_F32, f32), 2);
	ck_assert_int_eq(convert(VQ_I64, i64, VQ_I32, i32), 0);
	ck_assert(i32[0] == -7 && i32[1] == 2147483647);
	ck_assert_int_eq(convert(VQ_I64, large, VQ_I32, i32), 2);
	ck_assert_int_eq(convert(VQ_I64, odd, VQ_F32, f32), 2);
	ck_assert_int_eq(convert(VQ_U8, u8, VQ_F32, f32), 0);
	ck_assert(f32[1] == 255);
	ck_assert_int_eq(convert(VQ_U8, u8, VQ_BOOL, flag), 2);
	ck_assert_int_eq(convert(VQ_F64, f64, VQ_I32, i32), -1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tools");
	TCase *t = tcase_create("tools");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, layout_keeps_boxes_apart, 0, 12);
	tcase_add_test(t, layout_of_nothing);
	tcase_add_test(t, numbers_for_people);
	tcase_add_test(t, durations);
	tcase_add_test(t, arrays_are_converted_without_loss);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
