/*
 * check_tsne -- maps of vectors, judged by an independent reading of the paper
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rng.h"
#include "engine/threads.h"
#include "engine/tsne.h"

/* n vectors of d around `clusters` centres, vector i in cluster i % clusters. */
static float *
make_clusters(int64_t n, int64_t d, int64_t clusters, float apart)
{
	const struct vq_rng_key centre = { .seed = 1 }, around = { .seed = 2 };
	float *x = vq_alloc_array((size_t)(n * d), sizeof(*x));

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < d; j++)
			x[i * d + j] = apart * vq_rng_normal(&centre, (uint64_t)(i % clusters * d + j)) +
			    vq_rng_normal(&around, (uint64_t)(i * d + j));
	return x;
}

static double
far(const double *y, int64_t i, int64_t j)
{
	return hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
}

/* How many of the points have their nearest neighbour in their own cluster. */
static int64_t
with_their_own(const double *y, int64_t n, int64_t clusters)
{
	int64_t right = 0;

	for (int64_t i = 0; i < n; i++) {
		int64_t best = i == 0;

		for (int64_t j = 0; j < n; j++)
			if (j != i && far(y, i, j) < far(y, i, best))
				best = j;
		right += best % clusters == i % clusters;
	}
	return right;
}

START_TEST(clusters_stay_apart)
{
	enum { N = 240, D = 20, CLUSTERS = 6 };
	float *x = make_clusters(N, D, CLUSTERS, 3);
	double y[2 * N], most = 0, middle[2] = { 0 }, inside = 0, outside = INFINITY;
	struct vq_tsne t = { 0 };

	ck_assert(vq_tsne(x, N, D, NULL, y, &t));
	ck_assert(t.perplexity == 30 && t.iterations == 1000);
	ck_assert_int_eq(with_their_own(y, N, CLUSTERS), N);
	/* Not only neighbours: a cluster is smaller than the way to the next. */
	for (int64_t i = 0; i < N; i++)
		for (int64_t j = 0; j < N; j++) {
			if (i % CLUSTERS == j % CLUSTERS)
				inside = fmax(inside, far(y, i, j));
			else
				outside = fmin(outside, far(y, i, j));
		}
	ck_assert_double_gt(outside, inside / 2);
	double wide = 0, high = 0, across = 0;
	for (int64_t i = 0; i < N; i++) {
		wide += y[2 * i] * y[2 * i];
		high += y[2 * i + 1] * y[2 * i + 1];
		across += y[2 * i] * y[2 * i + 1];
		most = fmax(most, hypot(y[2 * i], y[2 * i + 1]));
		middle[0] += y[2 * i];
		middle[1] += y[2 * i + 1];
	}
	ck_assert(wide >= high && fabs(across) < 1e-9 * wide);
	ck_assert_double_eq_tol(most, 1, 1e-9);
	ck_assert_double_eq_tol(hypot(middle[0], middle[1]), 0, 1e-9);
	ck_assert_double_lt(t.kl_end, t.kl_start / 3);
	free(x);
}
END_TEST

/* Equations 1 and 2 and the definition of perplexity, with plain bisection; y as large as scale makes it. */
static double
divergence(const float *x, int64_t n, int64_t d, double perplexity, const double *y, double scale)
{
	double *p = vq_alloc_array((size_t)(n * n), sizeof(*p)), all = 0, kl = 0;

	for (int64_t i = 0; i < n; i++) {
		double least = 0, most = 1e6, *row = p + i * n;

		for (int k = 0; k < 200; k++) {
			double beta = (least + most) / 2, sum = 0, entropy = 0;

			for (int64_t j = 0; j < n; j++) {
				double square = 0;

				for (int64_t c = 0; c < d; c++)
					square += pow((double)x[i * d + c] - x[j * d + c], 2);
				sum += row[j] = j == i ? 0 : exp(-beta * square);
			}
			for (int64_t j = 0; j < n; j++) {
				row[j] /= sum > 0 ? sum : 1;
				entropy -= row[j] > 0 ? row[j] * log(row[j]) : 0;
			}
			*(entropy > log(perplexity) ? &least : &most) = beta;
		}
	}
	for (int64_t i = 0; i < n * n; i++)
		all += i / n == i % n ? 0 : 1 / (1 + pow(scale * far(y, i / n, i % n), 2));
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < n; j++) {
			double both = (p[i * n + j] + p[j * n + i]) / (double)(2 * n);

			if (i != j && both > 0)
				kl += both * log(both * (1 + pow(scale * far(y, i, j), 2)) * all);
		}
	free(p);
	return kl;
}

/* The divergence reported is that of the paper's formulas, at the one scale that the map had; and
 * the map is a minimum: moved in any way it gets worse. */
START_TEST(it_is_a_minimum)
{
	enum { N = 24, D = 5 };
	float *x = make_clusters(N, D, N, 1);
	double y[2 * N], moved[2 * N], best = INFINITY, at = 0;
	const struct vq_rng_key key = { .seed = 3 };
	struct vq_tsne t = { 0 };

	ck_assert(vq_tsne(x, N, D, NULL, y, &t));
	ck_assert_double_eq_tol(t.perplexity, 23 / 3., 1e-12);
	for (double scale = .5; scale < 100; scale *= 1.02) {
		double kl = divergence(x, N, D, t.perplexity, y, scale);

		at = kl < best ? scale : at;
		best = fmin(best, kl);
	}
	ck_assert_double_eq_tol(best, t.kl_end, 2e-3 * t.kl_end);
	for (uint64_t k = 0; k < 8; k++) {
		for (uint64_t i = 0; i < 2 * N; i++)
			moved[i] = y[i] + .03 * (double)vq_rng_normal(&key, 2 * N * k + i);
		ck_assert_double_gt(divergence(x, N, D, t.perplexity, moved, at), best);
	}
	free(x);
}
END_TEST

START_TEST(same_bits)
{
	enum { N = 1100, D = 8 };	/* so many that threads share a step */
	float *x = make_clusters(N, D, 10, 2);
	double *a = vq_alloc_array(4 * N, sizeof(*a)), *b = a + 2 * N;
	struct vq_tsne t = { 0 };

	vq_threads_set(1);
	ck_assert(vq_tsne(x, N, D, NULL, a, &t));
	vq_threads_set(3);
	ck_assert(vq_tsne(x, N, D, NULL, b, &t));
	ck_assert_mem_eq(a, b, 2 * N * sizeof(*a));
	free(a);
	free(x);
}
END_TEST

/* Few vectors, all the same, none different in some direction, not finite. */
START_TEST(odd_sets)
{
	enum { MOST = 12, D = 3 };
	float x[MOST * D], *same = vq_alloc_array(MOST * D, sizeof(*same));
	double y[2 * MOST];
	struct vq_tsne t = { 0 };

	for (int i = 0; i < MOST * D; i++)
		x[i] = (float)(i * i % 17);
	for (int64_t n = 1; n <= MOST; n++)
		for (int64_t d = 1; d <= D; d++) {
			ck_assert(vq_tsne(x, n, d, NULL, y, &t));
			ck_assert(vq_tsne(same, n, d, NULL, y, &t));
			for (int64_t i = 0; i < 2 * n; i++)
				ck_assert(isfinite(y[i]) && fabs(y[i]) <= 1 + 1e-9);
		}
	x[7] = NAN;
	ck_assert(!vq_tsne(x, MOST, D, NULL, y, &t));
	free(same);
}
END_TEST

/* More than are mapped: those of the most weight are, and the others are put among their own. */
START_TEST(large_sets)
{
	enum { N = 300, EXACT = 120, D = 40, CLUSTERS = 4 };
	float *x = make_clusters(N, D, CLUSTERS, 3);
	double y[2 * N], few[2 * EXACT];
	int64_t weight[N];
	struct vq_tsne t = { .exact = EXACT }, u = { 0 };
	float *heavy = vq_alloc_array(EXACT * D, sizeof(*heavy));

	for (int i = 0; i < N; i++)
		weight[i] = i;		/* the last ones are mapped */
	ck_assert(vq_tsne(x, N, D, weight, y, &t));
	ck_assert_int_eq(with_their_own(y, N, CLUSTERS), N);
	/* The mapped ones lie as they do alone, but for what the projection cuts off. */
	for (int i = 0; i < EXACT; i++)
		memcpy(heavy + i * D, x + (N - 1 - i) * D, D * sizeof(*x));
	ck_assert(vq_tsne(heavy, EXACT, D, NULL, few, &u));
	ck_assert_double_eq_tol(t.kl_end, u.kl_end, .1);
	free(heavy);
	free(x);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tsne");
	TCase *t = tcase_create("tsne");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 240);
	tcase_add_test(t, clusters_stay_apart);
	tcase_add_test(t, it_is_a_minimum);
	tcase_add_test(t, same_bits);
	tcase_add_test(t, odd_sets);
	tcase_add_test(t, large_sets);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
