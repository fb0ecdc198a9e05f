/*
 * check_base -- memory, text, names, types, parameters
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base.h"
#include "engine/param.h"
#include "engine/type.h"

/* --- memory --------------------------------------------------------------- */

static void
on_exhausted(size_t size)
{
	_exit(size == SIZE_MAX ? 42 : 43);
}

START_TEST(alloc_is_zeroed_and_aligned)
{
	unsigned char *p = vq_alloc(1000), *q = vq_alloc_aligned(1000), *none = vq_alloc(0);

	ck_assert_ptr_nonnull(none);
	ck_assert_uint_eq((uintptr_t)q % 64, 0);
	for (int i = 0; i < 1000; i++)
		ck_assert(p[i] == 0 && q[i] == 0);
	free(p);
	free(q);
	free(none);
}
END_TEST

START_TEST(overflow_goes_to_the_handler)	/* exits with 42 */
{
	vq_on_out_of_memory(on_exhausted);
	vq_alloc_array(SIZE_MAX / 4, 8);
}
END_TEST

START_TEST(realloc_overflow_goes_to_the_handler)	/* exits with 42 */
{
	vq_on_out_of_memory(on_exhausted);
	vq_realloc_array(NULL, SIZE_MAX / 4, 8);
}
END_TEST

static void
returns(size_t size)
{
}

START_TEST(exhaustion_exits_when_the_handler_returns)	/* exits with 1 */
{
	vq_on_out_of_memory(returns);
	vq_alloc_array(SIZE_MAX, 2);
}
END_TEST

START_TEST(bug_aborts)		/* SIGABRT */
{
	vq_assert(1 + 1 == 3);
}
END_TEST

static bool
all_bytes(const char *p, size_t n, int value)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return false;
	return true;
}

START_TEST(arena_gives_aligned_zeroed_pieces)
{
	struct vq_arena a = { 0 };
	char *piece[500];

	for (int i = 0; i < 500; i++) {
		size_t size = (size_t)i * 37 % 9000;

		piece[i] = vq_arena_alloc(&a, size);
		ck_assert_uint_eq((uintptr_t)piece[i] % 16, 0);
		ck_assert(all_bytes(piece[i], size, 0));
		memset(piece[i], i & 0x7f, size);
	}
	for (int i = 0; i < 500; i++)	/* none lies over another */
		ck_assert(all_bytes(piece[i], (size_t)i * 37 % 9000, i & 0x7f));
	ck_assert_str_eq(vq_arena_printf(&a, "%d-%s", 7, "x"), "7-x");
	ck_assert_str_eq(vq_arena_strndup(&a, "codebook", 4), "code");
	ck_assert_str_eq(vq_arena_strndup(&a, "codebook", 100), "codebook");
	vq_arena_free(&a);
	ck_assert_ptr_null(a.last);
}
END_TEST

START_TEST(text_grows)
{
	struct vq_text t = { 0 };
	char *s;

	for (int i = 0; i < 1000; i++)
		vq_text_add(&t, "%04d,", i);
	ck_assert_uint_eq(t.len, 5000);
	ck_assert_int_eq(memcmp(t.s + 4990, "0998,0999,", 11), 0);
	vq_text_put(&t, "a\0b", 3);
	ck_assert_uint_eq(t.len, 5003);
	vq_text_free(&t);
	vq_text_put(&t, "", 0);
	ck_assert_str_eq(t.s, "");
	vq_text_free(&t);
	s = vq_asprintf("%s %d", "codes", 512);
	ck_assert_str_eq(s, "codes 512");
	free(s);
	s = vq_strndup("abc", 2);
	ck_assert_str_eq(s, "ab");
	free(s);
}
END_TEST

START_TEST(names_hold_thousands)
{
	struct vq_names t = { 0 };
	static char key[5000][16];

	ck_assert_int_eq(vq_names_get(&t, "x"), -1);
	for (int i = 0; i < 5000; i++) {
		snprintf(key[i], sizeof(key[i]), "enc.%d.w", i);
		ck_assert(vq_names_put(&t, key[i], i));
	}
	ck_assert(!vq_names_put(&t, "enc.77.w", 1));
	for (int i = 0; i < 5000; i++)
		ck_assert_int_eq(vq_names_get(&t, key[i]), i);
	ck_assert_int_eq(vq_names_get(&t, "enc.5000.w"), -1);
	ck_assert_int_eq(t.count, 5000);
	vq_names_free(&t);
}
END_TEST

START_TEST(array_grows)
{
	int *a = NULL, count = 0, cap = 0;

	for (int i = 0; i < 1000; i++) {
		vq_grow(a, count, cap);
		a[count++] = i;
	}
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(a[i], i);
	free(a);
}
END_TEST

START_TEST(hash_sees_every_bit)
{
	unsigned char bytes[64] = { 0 };
	uint64_t plain = vq_hash(bytes, sizeof(bytes), 0);

	for (int bit = 0; bit < 512; bit++) {
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		int differ = __builtin_popcountll(plain ^ vq_hash(bytes, sizeof(bytes), 0));
		ck_assert_int_gt(differ, 10);
		ck_assert_int_lt(differ, 54);
		bytes[bit / 8] = 0;
	}
	ck_assert_uint_ne(plain, vq_hash(bytes, sizeof(bytes), 1));
	ck_assert_uint_ne(plain, vq_hash(bytes, sizeof(bytes) - 1, 0));
	/* FNV-1a of "a" by its published constants, then the finalizer and the length. */
	ck_assert_uint_eq(vq_hash_str("a"), vq_mix(0xaf63dc4c8601ec8cu ^ 1));
}
END_TEST

/* --- types ---------------------------------------------------------------- */

START_TEST(types_as_text)
{
	static const char *const good[] = { "f32", "f64[3]", "bf16[128, 8, 8, 32]", "i32[0]", "bool[1, 2, 3, 4, 5, 6]" };
	static const char *const bad[] = {
		"", "f33", "f32[", "f32[1", "f32[1,", "f32[1,]", "f32[-1]", "f32[1 2]", "f32[1.5]", "floats32[1]",
		"f32[1,1,1,1,1,1,1]", "f32[99999999999999999999]", "f32[4194304, 4194304, 16]", "[3]",
	};
	char buf[VQ_TYPE_STR];
	struct vq_type t;

	for (size_t i = 0; i < VQ_COUNT(good); i++) {
		const char *end = vq_type_parse(good[i], &t);
		ck_assert_ptr_nonnull(end);
		ck_assert_int_eq(*end, '\0');
		ck_assert_str_eq(vq_type_str(&t, buf), good[i]);
	}
	for (size_t i = 0; i < VQ_COUNT(bad); i++)
		ck_assert_msg(vq_type_parse(bad[i], &t) == NULL, "'%s' was taken for a type", bad[i]);
	ck_assert_str_eq(vq_type_parse("f32[ 2,3 ](0,1)", &t), "(0,1)");
	ck_assert_str_eq(vq_type_str(&t, buf), "f32[2, 3]");
	ck_assert_str_eq(vq_shape_str(&t.shape, buf), "[2, 3]");
}
END_TEST

START_TEST(sizes_never_overflow)
{
	struct vq_type t = vq_type_of(VQ_U8, 2, (int64_t[]){ (int64_t)1 << 23, (int64_t)1 << 23 });

	ck_assert(vq_type_valid(&t));
	ck_assert_uint_eq(vq_type_bytes(&t), (size_t)1 << 46);
	t.dtype = VQ_BF16;
	ck_assert(!vq_type_valid(&t));
	t = vq_type_of(VQ_U8, 3, (int64_t[]){ 0, INT64_MAX, INT64_MAX });
	ck_assert(!vq_type_valid(&t));
	t = vq_type_of(VQ_U8, 1, (int64_t[]){ -1 });
	ck_assert(!vq_type_valid(&t));
	t = vq_type_of(VQ_F64, 2, (int64_t[]){ 0, 1000 });
	ck_assert(vq_type_valid(&t));
	ck_assert_int_eq(vq_shape_count(&t.shape), 0);
	ck_assert_int_eq(vq_shape_span(&t.shape, 1, 2), 1000);
}
END_TEST

START_TEST(broadcast_is_numpys)
{
	static const struct { const char *a, *b, *out; } rows[] = {
		{ "f32[2, 3]", "f32[3]", "[2, 3]" }, { "f32", "f32[4, 5]", "[4, 5]" },
		{ "f32[2, 1]", "f32[1, 3]", "[2, 3]" }, { "f32[8, 1, 6, 1]", "f32[7, 1, 5]", "[8, 7, 6, 5]" },
		{ "f32[0]", "f32[1]", "[0]" }, { "f32[2]", "f32[3]", NULL }, { "f32[2, 3]", "f32[2]", NULL },
		{ "f32[0]", "f32[2]", NULL },
	};
	char buf[VQ_TYPE_STR];

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		struct vq_type a, b;
		struct vq_shape ab, ba;

		vq_type_parse(rows[i].a, &a);
		vq_type_parse(rows[i].b, &b);
		ck_assert_int_eq(vq_shape_broadcast(&a.shape, &b.shape, &ab), rows[i].out != NULL);
		ck_assert_int_eq(vq_shape_broadcast(&b.shape, &a.shape, &ba), rows[i].out != NULL);
		if (rows[i].out) {
			ck_assert_str_eq(vq_shape_str(&ab, buf), rows[i].out);
			ck_assert(vq_shape_equal(&ab, &ba));
		}
	}
}
END_TEST

/* What comes back after x was stored. */
static double
stored(enum vq_dtype dtype, double x)
{
	struct vq_type t = vq_type_of(dtype, 1, (int64_t[]){ 2 });
	uint64_t data[2] = { 0 };
	struct vq_view v = { data, &t };

	vq_set(&v, 1, x);
	ck_assert(vq_get(&v, 0) == 0);
	return vq_get(&v, 1);
}

START_TEST(elements_of_every_type)
{
	for (int t = 0; t < VQ_DTYPES; t++)
		ck_assert(stored((enum vq_dtype)t, 1) == 1);
	ck_assert(stored(VQ_F32, 0.1) == (double)0.1f);
	ck_assert(stored(VQ_F64, 0.1) == 0.1);
	ck_assert(stored(VQ_I32, -2.9) == -2);
	ck_assert(stored(VQ_I32, 1e300) == INT32_MAX);
	ck_assert(stored(VQ_I64, -INFINITY) == (double)INT64_MIN);
	ck_assert(stored(VQ_I64, INFINITY) == (double)INT64_MAX);
	ck_assert(stored(VQ_I32, NAN) == 0);
	ck_assert(stored(VQ_U8, 300) == 255);
	ck_assert(stored(VQ_U8, -5) == 0);
	ck_assert(stored(VQ_BOOL, 0.5) == 1);
	ck_assert(stored(VQ_BOOL, 0) == 0);
}
END_TEST

START_TEST(bf16_rounds_to_even)
{
	static const struct { uint32_t f; uint16_t h; } rows[] = {
		{ 0x3f800000, 0x3f80 }, { 0x3f808000, 0x3f80 }, { 0x3f808001, 0x3f81 }, { 0x3f818000, 0x3f82 },
		{ 0x3f807fff, 0x3f80 }, { 0x7f800000, 0x7f80 }, { 0xff800000, 0xff80 }, { 0x7f7fffff, 0x7f80 },
		{ 0x80000000, 0x8000 }, { 0x00000001, 0x0000 }, { 0x7f800001, 0x7fc0 }, { 0xffc12345, 0xffc1 },
	};
	bool back = true;

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		float f;
		memcpy(&f, &rows[i].f, sizeof(f));
		ck_assert_uint_eq(vq_f32_to_bf16(f), rows[i].h);
	}
	for (uint32_t h = 0; h < 0x10000; h++)
		back &= isnan(vq_bf16_to_f32((uint16_t)h)) || vq_f32_to_bf16(vq_bf16_to_f32((uint16_t)h)) == h;
	ck_assert(back);
}
END_TEST

/* --- parameters ----------------------------------------------------------- */

struct settings {
	int64_t out;
	double p;
	bool keep;
	int mode;
	struct vq_ints axes;
	const char *file;
};
static const char *const modes[] = { "zero", "edge", "wrap", NULL };
static const struct vq_param table[] = {
	VQ_INT(struct settings, out, NULL, 1, 4096, "channels"),
	VQ_REAL(struct settings, p, "0.1", 0, 1, "probability"),
	VQ_BOOLEAN(struct settings, keep, "false", "keep"),
	VQ_ENUM(struct settings, mode, "edge", modes, "border"),
	VQ_INTS(struct settings, axes, "[]", -6, 5, 0, 3, "axes"),
	VQ_STRING(struct settings, file, "", "where"),
	VQ_PARAMS_END
};

START_TEST(params_parse_and_print)
{
	struct settings a, b;
	struct vq_text t = { 0 };
	char why[VQ_WHY];

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	ck_assert_int_eq(vq_params_parse(table, &a, "out=8 axes=[1, -2] p=2.5e-1 mode=wrap file=a/b", why), 0);
	ck_assert_int_eq(a.out, 8);
	ck_assert(a.p == 0.25 && !a.keep && a.mode == 2);
	ck_assert_int_eq(a.axes.count, 2);
	ck_assert_int_eq(a.axes.v[1], -2);
	ck_assert_str_eq(a.file, "a/b");
	for (const struct vq_param *p = table; p->name; p++) {
		vq_text_free(&t);
		vq_param_print(p, &a, &t);
		ck_assert_int_eq(vq_param_set(p, &b, t.s, why), 0);
		if (p->kind == VQ_P_STRING)
			b.file = "a/b";	/* t goes */
	}
	ck_assert(vq_param_equal(table, &a, &b));
	b.axes.v[0] = 3;
	ck_assert(!vq_param_equal(table, &a, &b));
	vq_text_free(&t);
	vq_params_signature(table, &t);
	ck_assert_str_eq(t.s, "out, p = 0.1, keep = false, mode = edge, axes = [], file = \"\"");
	vq_text_free(&t);
}
END_TEST

START_TEST(reals_print_as_short_as_they_read)
{
	static const double x[] = { 0.1, 1e-4, 1.0 / 3, 512, 1e22, -2.5e-310, 0.30000000000000004, 123456789012345678.0 };
	static const char *const shown[] = { "0.1", "0.0001", "0.3333333333333333", "512", "1e+22", "-2.5e-310" };
	struct settings s = { 0 };

	for (size_t i = 0; i < VQ_COUNT(x); i++) {
		struct vq_text t = { 0 };
		s.p = x[i];
		vq_param_print(&table[1], &s, &t);
		ck_assert(strtod(t.s, NULL) == x[i]);
		if (i < VQ_COUNT(shown))
			ck_assert_str_eq(t.s, shown[i]);
		vq_text_free(&t);
	}
}
END_TEST

START_TEST(params_refuse)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "out=0", "out must be at least 1, is 0" },
		{ "out=4097", "out must be at most 4096, is 4097" },
		{ "out=3.5", "out must be an integer, is '3.5'" },
		{ "out=1e3", "out must be an integer, is '1e3'" },
		{ "out=0x10", "out must be an integer, is '0x10'" },
		{ "out=", "out must be an integer, is ''" },
		{ "out=99999999999999999999", "out is too large for an integer: 99999999999999999999" },
		{ "out=1 p=1.5", "p must be at most 1, is 1.5" },
		{ "out=1 p=nan", "p must be a number, is 'nan'" },
		{ "out=1 p=inf", "p must be a number, is 'inf'" },
		{ "out=1 p=1e999", "p is too large for a number: 1e999" },
		{ "out=1 p=0x1p-1", "p must be a number, is '0x1p-1'" },
		{ "out=1 p=.", "p must be a number, is '.'" },
		{ "out=1 p=1e", "p must be a number, is '1e'" },
		{ "out=1 keep=no", "keep must be true or false, is 'no'" },
		{ "out=1 mode=mirror", "mode must be zero, edge or wrap, is 'mirror'" },
		{ "out=1 axes=[1,2,3,4]", "axes must have at most 3 entries, has 4" },
		{ "out=1 axes=[1,]", "axes must be a list of integers, is '[1,]'" },
		{ "out=1 axes=[1", "axes must be a list of integers, is '[1'" },
		{ "out=1 axes=[1]2", "axes must be a list of integers, is '[1]2'" },
		{ "out=1 axes=[7]", "axes must be at most 5, is 7" },
		{ "out=1 axes=[a]", "axes must be an integer, is 'a'" },
		{ "out=1 axes=[1,1,1,1,1,1,1,1,1]", "axes must have at most 8 entries" },
		{ "out=1 size=3", "no parameter 'size'" },
		{ "out=1 out=2", "out is given twice" },
		{ "out", "'out' is not name=value" },
		{ "file=x out=1", "file, a string, must stand last" },
		{ "p=1", "needs out" },
	};
	char why[VQ_WHY];

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		struct settings s = { 0 };
		ck_assert_msg(vq_params_parse(table, &s, rows[i].text, why) == -1, "'%s' was accepted", rows[i].text);
		ck_assert_str_eq(why, rows[i].why);
	}
}
END_TEST

START_TEST(long_values_are_cut_in_messages)
{
	struct settings s = { 0 };
	char why[VQ_WHY], text[5000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (const struct vq_param *p = table; p->kind != VQ_P_STRING; p++) {
		ck_assert_int_eq(vq_param_set(p, &s, text, why), -1);
		ck_assert_uint_lt(strlen(why), VQ_WHY);
	}
	memset(text, '9', sizeof(text) - 1);
	for (const struct vq_param *p = table; p->kind != VQ_P_STRING; p++)
		ck_assert_int_eq(vq_param_set(p, &s, text, why), -1);
}
END_TEST

static TCase *
memory_tests(void)
{
	TCase *c = tcase_create("memory");

	tcase_add_test(c, alloc_is_zeroed_and_aligned);
	tcase_add_exit_test(c, overflow_goes_to_the_handler, 42);
	tcase_add_exit_test(c, realloc_overflow_goes_to_the_handler, 42);
	tcase_add_exit_test(c, exhaustion_exits_when_the_handler_returns, 1);
	tcase_add_test_raise_signal(c, bug_aborts, 6);
	tcase_add_test(c, arena_gives_aligned_zeroed_pieces);
	tcase_add_test(c, text_grows);
	tcase_add_test(c, names_hold_thousands);
	tcase_add_test(c, array_grows);
	tcase_add_test(c, hash_sees_every_bit);
	return c;
}

static TCase *
value_tests(void)
{
	TCase *c = tcase_create("types and parameters");

	tcase_add_test(c, types_as_text);
	tcase_add_test(c, sizes_never_overflow);
	tcase_add_test(c, broadcast_is_numpys);
	tcase_add_test(c, elements_of_every_type);
	tcase_add_test(c, bf16_rounds_to_even);
	tcase_add_test(c, params_parse_and_print);
	tcase_add_test(c, reals_print_as_short_as_they_read);
	tcase_add_test(c, params_refuse);
	tcase_add_test(c, long_values_are_cut_in_messages);
	return c;
}

int
main(void)
{
	Suite *suite = suite_create("base");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, memory_tests());
	suite_add_tcase(suite, value_tests());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
