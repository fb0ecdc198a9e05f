/*
 * check_rng -- keyed draws against known answers and their laws; how many threads
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base.h"
#include "engine/rng.h"
#include "engine/threads.h"

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

int
main(void)
{
	Suite *suite = suite_create("rng");
	TCase *c = tcase_create("draws and threads");
	SRunner *runner;
	int failed;

	tcase_add_test(c, philox_known_answers);
	tcase_add_test(c, many_draws_are_the_single_ones);
	tcase_add_test(c, keys_make_other_draws);
	tcase_add_test(c, uniforms_are_uniform);
	tcase_add_test(c, normals_are_normal);
	tcase_add_test(c, normals_are_box_mullers);
	tcase_add_test(c, below_and_permutation);
	tcase_add_test(c, threads_and_why);
	tcase_set_timeout(c, 60);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
