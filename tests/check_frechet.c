/*
 * check_frechet -- eigenvalues, the Frechet distance and spreads against closed forms and
 * against the numbers of others
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frechet.h"
#include "engine/threads.h"

/* In [-0.5, 0.5), the same wherever it is computed. */
static double
draw(uint32_t i, uint32_t j, uint32_t seed)
{
	uint32_t h = (i * 31u + j * 17u + seed * 13u + 1u) * 2654435761u;

	h = (h ^ h >> 15) * 2246822519u;
	return (h ^ h >> 13) / 4294967296.0 - 0.5;
}

/* Correlated vectors: neighbours share a part, and one axis is long. */
static float *
vectors(int64_t n, int64_t d, uint32_t seed, double shift)
{
	float *x = vq_alloc_array((size_t)(n * d), sizeof(*x));

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < d; j++) {
			uint32_t a = (uint32_t)i, b = (uint32_t)j;
			x[i * d + j] = (float)(draw(a, b, seed) + 0.5 * draw(a, b / 2, seed + 7) +
			    (j == 1 ? 3 * draw(a, 99, seed) : 0) + shift * (double)(j % 3));
		}
	return x;
}

static double
distance(const float *x, int64_t n, const float *y, int64_t m, int64_t d)
{
	struct vq_gaussian a, b;

	vq_gaussian_fit(&a, x, n, d);
	vq_gaussian_fit(&b, y, m, d);
	double there = vq_frechet_distance(&a, &b), back = vq_frechet_distance(&b, &a);
	ck_assert_msg(fabs(there - back) <= 1e-6 * (1 + there), "%.17g one way, %.17g the other", there, back);
	vq_gaussian_free(&a);
	vq_gaussian_free(&b);
	return there;
}

/* a v = value v, rows orthonormal, values in order and of the right sum. */
static void
check_eigen(int64_t n, uint32_t seed, int64_t rank)
{
	double *a = vq_alloc_array((size_t)(n * n), sizeof(*a)), *z = vq_alloc_array((size_t)(n * n), sizeof(*a));
	double *w = vq_alloc_array((size_t)(n * n), sizeof(*a));
	double *value = vq_alloc_array((size_t)n, sizeof(*value)), *alone = vq_alloc_array((size_t)n, sizeof(*value));
	double size = 0;

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < n; j++) {
			for (int64_t k = 0; k < rank; k++)
				a[i * n + j] += draw((uint32_t)i, (uint32_t)k, seed) * draw((uint32_t)j, (uint32_t)k, seed) *
				    (k % 2 ? -1 : 1);
			size = fmax(size, fabs(a[i * n + j]));
		}
	memcpy(z, a, sizeof(*a) * (size_t)(n * n));
	memcpy(w, a, sizeof(*a) * (size_t)(n * n));
	ck_assert(vq_eigen_symmetric(z, n, value, true));
	ck_assert(vq_eigen_symmetric(w, n, alone, false));
	for (int64_t i = 0; i < n; i++) {
		ck_assert_double_eq_tol(value[i], alone[i], 1e-13 * (double)n * (1 + size));
		ck_assert(i == 0 || value[i] >= value[i - 1]);
		for (int64_t j = 0; j < n; j++) {
			double av = 0, inner = 0;
			for (int64_t k = 0; k < n; k++) {
				av += a[j * n + k] * z[i * n + k];
				inner += z[i * n + k] * z[j * n + k];
			}
			ck_assert_double_eq_tol(av, value[i] * z[i * n + j], 1e-13 * (double)n * (1 + size));
			ck_assert_double_eq_tol(inner, i == j, 1e-13 * (double)n);
		}
	}
	free(a);
	free(z);
	free(w);
	free(value);
	free(alone);
}

START_TEST(eigenvalues)
{
	double one = -3, two[4] = { 2, 1, 1, 2 }, value[3];
	double diagonal[9] = { 5, 0, 0, 0, -1, 0, 0, 0, 2 };

	ck_assert(vq_eigen_symmetric(&one, 1, value, true));
	ck_assert(value[0] == -3 && one == 1);
	ck_assert(vq_eigen_symmetric(two, 2, value, true));
	ck_assert_double_eq_tol(value[0], 1, 1e-15);
	ck_assert_double_eq_tol(value[1], 3, 1e-15);
	ck_assert(vq_eigen_symmetric(diagonal, 3, value, true));
	ck_assert(value[0] == -1 && value[1] == 2 && value[2] == 5);
	ck_assert(fabs(diagonal[1]) == 1 && fabs(diagonal[5]) == 1 && fabs(diagonal[6]) == 1);
	for (int64_t n = 1; n < 12; n++)
		check_eigen(n, (uint32_t)n, n);
	check_eigen(90, 3, 90);
	check_eigen(150, 4, 5);		/* most are 0 */
	check_eigen(40, 5, 0);		/* all are */
	double bad[4] = { 1, NAN, NAN, 1 };
	ck_assert(!vq_eigen_symmetric(bad, 2, value, false));
}
END_TEST

/* With diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2. */
START_TEST(diagonal_covariances)
{
	enum { D = 5 };
	double mean[2][D] = { { 0, 1, -2, 3, 0 }, { 1, 1, 2, 0.5, 0 } };
	double cov[2][D * D] = { 0 }, wanted = 0;
	const double deviation[2][D] = { { 1, 2, 0, 0.1, 1e-6 }, { 3, 2, 1, 0, 10 } };

	for (int i = 0; i < D; i++) {
		for (int k = 0; k < 2; k++)
			cov[k][i * D + i] = deviation[k][i] * deviation[k][i];
		wanted += (mean[0][i] - mean[1][i]) * (mean[0][i] - mean[1][i]) +
		    (deviation[0][i] - deviation[1][i]) * (deviation[0][i] - deviation[1][i]);
	}
	struct vq_gaussian a = { 100, D, mean[0], cov[0] }, b = { 100, D, mean[1], cov[1] };
	ck_assert_double_eq_tol(vq_frechet_distance(&a, &b), wanted, 1e-10 * wanted);
	ck_assert_double_eq_tol(vq_frechet_distance(&b, &a), wanted, 1e-10 * wanted);
	ck_assert_double_eq_tol(vq_frechet_distance(&a, &a), 0, 1e-10);
	cov[0][0] = INFINITY;
	ck_assert(isnan(vq_frechet_distance(&a, &b)));
}
END_TEST

/* numpy.cov and scipy.linalg.sqrtm of the product of both covariances on the same numbers; for the last
 * two rows, where sqrtm is good to eight digits, the singular values of one centred set times the
 * other stand for its trace. */
START_TEST(numbers_of_scipy)
{
	static const struct { int64_t n, m, d; double shift, wanted; } row[] = {
		{ 200, 300, 8, 0.25, 0.870357632406 },
		{ 1000, 900, 32, 0, 0.0655542340566 },
		{ 2500, 400, 64, 0.1, 1.38946636738 },
		{ 20, 200, 48, 0.2, 7.90415935855 },	/* fewer vectors than dimensions */
		{ 15, 12, 48, 0.3, 14.8371954812 },
	};

	for (size_t i = 0; i < VQ_COUNT(row); i++) {
		float *x = vectors(row[i].n, row[i].d, 1, 0), *y = vectors(row[i].m, row[i].d, 2, row[i].shift);
		double got = distance(x, row[i].n, y, row[i].m, row[i].d);

		ck_assert_msg(fabs(got - row[i].wanted) <= 1e-6 * row[i].wanted, "row %zu: %.12g, not %.12g", i, got,
		    row[i].wanted);
		ck_assert_double_eq_tol(distance(x, row[i].n, x, row[i].n, row[i].d), 0, 1e-6);
		free(x);
		free(y);
	}
}
END_TEST

/* Features of a network: many dimensions, of sizes far apart, some of which never vary. */
START_TEST(wide_and_singular)
{
	enum { N = 100, M = 700, D = 256 };
	float *x = vectors(N, D, 3, 0), *y = vectors(M, D, 4, 0.1);

	for (int i = 0; i < N + M; i++)
		for (int j = 0; j < D; j++) {
			float *v = i < N ? &x[i * D + j] : &y[(i - N) * D + j];
			*v = j % 3 == 0 ? 0 : *v * powf(10, -0.08f * (float)j);
		}
	ck_assert(isfinite(distance(x, N, y, M, D)));
	ck_assert_double_eq_tol(distance(x, N, y, M, D), distance(y, M, x, N, D), 1e-6);
	ck_assert_double_eq_tol(distance(x, N, x, N, D), 0, 1e-6);
	free(x);
	free(y);
}
END_TEST

START_TEST(any_number_of_threads)
{
	enum { N = 3000, D = 70 };
	float *x = vectors(N, D, 1, 0), *y = vectors(N, D, 2, 0.1);
	double first = 0;

	for (int threads = 1; threads <= 3; threads++) {
		vq_threads_set(threads);
		double got = distance(x, N, y, N, D);
		ck_assert(threads == 1 || got == first);
		first = got;
	}
	vq_threads_set(0);
	free(x);
	free(y);
}
END_TEST

/* Every pair looked at. */
static double
slow_spread(const float *x, int64_t n, int64_t d, const int32_t *label, int classes)
{
	double total = 0;
	int counted = 0;

	for (int c = 0; c < classes; c++) {
		double sum = 0, pairs = 0;
		for (int64_t i = 0; i < n; i++)
			for (int64_t j = 0; j < i; j++) {
				if (label[i] != c || label[j] != c)
					continue;
				for (int64_t k = 0; k < d; k++)
					sum += ((double)x[i * d + k] - (double)x[j * d + k]) * ((double)x[i * d + k] - (double)x[j * d + k]);
				pairs++;
			}
		total += pairs > 0 ? sum / pairs : 0;
		counted += pairs > 0;
	}
	return counted ? sqrt(total / counted) : 0;
}

START_TEST(spreads)
{
	enum { N = 60, D = 4, CLASSES = 7 };
	float *x = vectors(N, D, 5, 0), same[3] = { 1, 1, 1 };
	int32_t label[N], one[N] = { 0 };

	for (int i = 0; i < N; i++)
		label[i] = i < 2 ? 5 : i % 4 == 0 ? 6 : i % 3;	/* 3 and 4 are empty */
	label[10] = -1;
	label[11] = CLASSES;
	label[12] = 4;		/* alone */
	ck_assert_double_eq_tol(vq_spread(x, N, D, label, CLASSES), slow_spread(x, N, D, label, CLASSES), 1e-9);
	ck_assert_double_eq_tol(vq_spread(x, N, D, NULL, 0), slow_spread(x, N, D, one, 1), 1e-9);
	ck_assert(vq_spread(same, 3, 1, NULL, 0) == 0);
	ck_assert_double_nan(vq_spread(x, 1, D, NULL, 0));
	ck_assert_double_nan(vq_spread(x, 2, D, (int32_t[]){ 0, 1 }, 2));
	ck_assert_double_nan(vq_spread(x, 0, D, NULL, 0));
	free(x);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("frechet");
	TCase *c = tcase_create("distances");
	SRunner *runner;
	int failed;

	tcase_add_test(c, eigenvalues);
	tcase_add_test(c, diagonal_covariances);
	tcase_add_test(c, numbers_of_scipy);
	tcase_add_test(c, any_number_of_threads);
	tcase_add_test(c, wide_and_singular);
	tcase_add_test(c, spreads);
	tcase_set_timeout(c, 120);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
