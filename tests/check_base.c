/*
 * check_base -- memory, text, names, types, parameters, draws, threads
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base.h"
#include "engine/param.h"
#include "engine/rng.h"
#include "engine/threads.h"
#include "engine/type.h"
#include "tests/scratch.h"

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

/* --- draws ---------------------------------------------------------------- */

START_TEST(philox_known_answers)	/* Random123's kat_vectors, philox4x32 with 10 rounds */
{
	static const struct { uint32_t counter[4], key[2], out[4]; } rows[] = {
		{ { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		uint32_t out[4];
		vq_philox(rows[i].counter, rows[i].key, out);
		ck_assert_int_eq(memcmp(out, rows[i].out, sizeof(out)), 0);
	}
}
END_TEST

START_TEST(many_draws_are_the_single_ones)
{
	enum { N = 300 };
	const struct vq_rng_key k = { 7, vq_hash_str("dropout"), 3 };
	uint32_t word[4], block[4 * 40];
	float x[N];
	bool same = true;

	for (uint64_t first = 0; first < 9; first++)
		for (int64_t n = 0; n < N; n += 13) {
			vq_rng_uniforms(&k, first, x, n);
			for (int64_t i = 0; i < n; i++)
				same &= x[i] == vq_rng_uniform(&k, first + (uint64_t)i);
			vq_rng_normals(&k, first, x, n);
			for (int64_t i = 0; i < n; i++)
				same &= x[i] == vq_rng_normal(&k, first + (uint64_t)i);
		}
	ck_assert(same);
	vq_rng_blocks(&k, UINT32_MAX - 5, block, 40);	/* over the carry of the counter */
	for (uint64_t b = 0; b < 40; b++) {
		vq_rng_words(&k, UINT32_MAX - 5 + b, word);
		ck_assert_int_eq(memcmp(word, block + 4 * b, sizeof(word)), 0);
	}
}
END_TEST

START_TEST(keys_make_other_draws)
{
	const struct vq_rng_key k[] = { { 1, 2, 3 }, { 2, 2, 3 }, { 1, 3, 3 }, { 1, 2, 4 }, { 2, 1, 3 },
		{ 1, 2, 3 + ((uint64_t)1 << 32) } };
	uint32_t w[VQ_COUNT(k)][4];

	for (size_t i = 0; i < VQ_COUNT(k); i++) {
		vq_rng_words(&k[i], 0, w[i]);
		for (size_t j = 0; j < i; j++)
			ck_assert_int_ne(memcmp(w[i], w[j], sizeof(w[i])), 0);
	}
}
END_TEST

START_TEST(uniforms_are_uniform)
{
	enum { N = 200000, BINS = 100 };
	const struct vq_rng_key k = { 5, 6, 7 };
	static float x[N];
	int bin[BINS] = { 0 };
	double chi2 = 0, sum = 0;
	bool inside = true;

	vq_rng_uniforms(&k, 0, x, N);
	for (int i = 0; i < N; i++) {
		inside &= x[i] >= 0 && x[i] < 1;
		bin[(int)(x[i] * BINS)]++;
		sum += (double)x[i];
	}
	ck_assert(inside);
	for (int b = 0; b < BINS; b++)
		chi2 += pow(bin[b] - N / BINS, 2) / (N / BINS);
	ck_assert_double_lt(chi2, 99 + 4 * sqrt(2 * 99));
	ck_assert_double_lt(fabs(sum / N - 0.5), 4 / sqrt(12.0 * N));
}
END_TEST

START_TEST(normals_are_normal)
{
	enum { N = 200000 };
	const struct vq_rng_key k = { 5, 6, 7 };
	static float x[N];
	double m[5] = { 0 };
	int beyond = 0;
	bool finite = true;

	vq_rng_normals(&k, 0, x, N);
	for (int i = 0; i < N; i++) {
		finite &= isfinite(x[i]) && fabsf(x[i]) < 7;
		for (int p = 1; p < 5; p++)
			m[p] += pow((double)x[i], p) / N;
		beyond += fabsf(x[i]) > 1.959964f;
	}
	ck_assert(finite);
	ck_assert_double_lt(fabs(m[1]), 4 * sqrt(1.0 / N));
	ck_assert_double_lt(fabs(m[2] - 1), 4 * sqrt(2.0 / N));
	ck_assert_double_lt(fabs(m[3]), 4 * sqrt(15.0 / N));
	ck_assert_double_lt(fabs(m[4] - 3), 4 * sqrt(96.0 / N));
	ck_assert_double_lt(fabs(beyond / (double)N - 0.05), 4 * sqrt(0.05 * 0.95 / N));
}
END_TEST

START_TEST(normals_are_box_mullers)	/* against the C library in double */
{
	const struct vq_rng_key k = { 11, 12, 13 };
	double off = 0;

	for (uint64_t i = 0; i < 20000; i += 2) {
		uint32_t w[4];
		vq_rng_words(&k, i / 4, w);
		double u = (w[i % 4] + 0.5) * 0x1p-32, t = 2 * M_PI * (double)(w[i % 4 + 1] >> 8) * 0x1p-24;
		double r = sqrt(-2 * log(u));
		off = fmax(off, fabs((double)vq_rng_normal(&k, i) - r * cos(t)));
		off = fmax(off, fabs((double)vq_rng_normal(&k, i + 1) - r * sin(t)));
	}
	ck_assert_double_lt(off, 2e-6);
}
END_TEST

START_TEST(below_and_permutation)
{
	const struct vq_rng_key k = { 1, 1, 1 };
	int seen[7] = { 0 };
	static uint32_t p[1000];
	char hit[1000] = { 0 };
	int fixed = 0;

	for (uint64_t i = 0; i < 70000; i++)
		seen[vq_rng_below(&k, i, 7)]++;
	for (int i = 0; i < 7; i++)
		ck_assert_int_lt(abs(seen[i] - 10000), 400);
	ck_assert_uint_eq(vq_rng_below(&k, 5, 1), 0);
	vq_rng_permutation(&k, p, 1000);
	for (int i = 0; i < 1000; i++) {
		ck_assert_uint_lt(p[i], 1000);
		ck_assert(!hit[p[i]]++);
		fixed += p[i] == (uint32_t)i;
	}
	ck_assert_int_lt(fixed, 10);
	vq_rng_permutation(&k, p, 0);
	vq_rng_permutation(&k, p, 1);
	ck_assert_uint_eq(p[0], 0);
}
END_TEST

/* --- threads -------------------------------------------------------------- */

START_TEST(threads_and_why)
{
	setenv("OMP_NUM_THREADS", "3,2", 1);
	ck_assert_int_eq(vq_threads(), 3);
	ck_assert_str_eq(vq_threads_why(), "set by OMP_NUM_THREADS");
	vq_threads_set(5);
	ck_assert_int_eq(vq_threads(), 5);
	ck_assert_str_eq(vq_threads_why(), "asked for with --threads");
	setenv("OMP_NUM_THREADS", "many", 1);
	vq_threads_set(0);
	ck_assert_int_ge(vq_threads(), 1);
	ck_assert_ptr_nonnull(strstr(vq_threads_why(), "CPU"));
}
END_TEST

/* Writes <root>/<path>, making its folders. */
static void
put_file(const char *root, const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *s = full + strlen(root) + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		mkdir(full, 0777);
		*s = '/';
	}
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(quota_of_cgroups)
{
	char root[64];

	scratch_make(root);
	ck_assert(vq_cpu_quota(root) == 0);
	put_file(root, "proc/self/cgroup", "0::/kube/pod\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file(root, "sys/fs/cgroup/cpu.max", "max 100000\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file(root, "sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
	ck_assert(vq_cpu_quota(root) == 1.5);
	put_file(root, "sys/fs/cgroup/kube/pod/cpu.max", "400000 100000\n");	/* the parent is tighter */
	ck_assert(vq_cpu_quota(root) == 1.5);
	put_file(root, "proc/self/cgroup", "0::/somewhere/else\n");	/* the host's path: the mount counts */
	put_file(root, "sys/fs/cgroup/cpu.max", "50000 100000\n");
	ck_assert(vq_cpu_quota(root) == 0.5);
	put_file(root, "proc/self/cgroup", "11:cpu,cpuacct:/docker/x\n9:cpuset:/docker/x\n");
	put_file(root, "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file(root, "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000\n");
	put_file(root, "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
	ck_assert(vq_cpu_quota(root) == 2.5);
	put_file(root, "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "0\n");
	ck_assert(vq_cpu_quota(root) == 0);
	scratch_remove(root);
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

static TCase *
draw_tests(void)
{
	TCase *c = tcase_create("draws and threads");

	tcase_add_test(c, philox_known_answers);
	tcase_add_test(c, many_draws_are_the_single_ones);
	tcase_add_test(c, keys_make_other_draws);
	tcase_add_test(c, uniforms_are_uniform);
	tcase_add_test(c, normals_are_normal);
	tcase_add_test(c, normals_are_box_mullers);
	tcase_add_test(c, below_and_permutation);
	tcase_add_test(c, threads_and_why);
	tcase_add_test(c, quota_of_cgroups);
	tcase_set_timeout(c, 60);
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
	suite_add_tcase(suite, draw_tests());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
