/*
 * check_quantizers -- the codebooks of graphs/lib/vq.yaml against plain C: values, where the
 * gradients go, what beta scales, what is kept of the past
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quantizer.h"

/* --- entries trained by gradient --------------------------------------------- */

/* loss = (1 + beta) mse; d/dz = 2 beta (z - e) / count; d/de = 2 (e - z) / count, summed over its vectors. */
static void
check_plain(double beta)
{
	struct probe q;
	double loss = 0, dz[Z], db[K * D] = { 0 }, value[Z];

	open_probe(&q, "plain", beta, true);
	run_probe(&q);
	const float *book = var(&q, "vq.book");
	for (int i = 0; i < Z; i++) {
		int r = i / D, j = i % D, c = q.code[r];
		if (j == 0)
			ck_assert_int_eq(c, nearest((double[]){ q.z[i], q.z[i + 1], q.z[i + 2], q.z[i + 3] }, book, K, D));
		value[i] = book[c * D + j];
		loss += (1 + beta) * pow(q.z[i] - value[i], 2) / Z;
		dz[i] = 2 * beta * (q.z[i] - value[i]) / Z;
		db[c * D + j] += 2 * (value[i] - q.z[i]) / Z;
	}
	same(q.quantized, value, Z, 0, "quantized");
	ck_assert_double_eq_tol(q.loss, loss, 1e-5 * loss);
	straight(&q);
	same(q.dz, dz, Z, 1e-6, "d loss / dz");
	same(output(&q, "d vq.loss / d vq.book"), db, K * D, 1e-6, "d loss / d book");
	zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
	close_probe(&q);
}

START_TEST(test_codebook)
{
	check_plain(0.25);
	check_plain(3);
}
END_TEST

/* Of every quantizer with a commitment loss: twice the beta is twice the gradient in z, and the same in the entries. */
static const char *const with_beta[] = { "plain", "cosine", "rotate", "projected", "ema", "turned", "grouped", "residual" };

START_TEST(test_beta)
{
	static const char *const books[] = { "d vq.loss / d vq.book", "d vq.loss / d vq.inner.book" };
	struct probe one, two;
	struct vq_view a, b;
	bool projected = strcmp(with_beta[_i], "projected") == 0;

	open_probe(&one, with_beta[_i], 0.5, true);
	open_probe(&two, with_beta[_i], 1, true);
	run_probe(&one);
	run_probe(&two);
	ck_assert_mem_eq(one.code, two.code, ROWS * sizeof(*one.code));
	for (int i = 0; i < Z; i++)
		ck_assert_msg(fabsf(two.dz[i] - 2 * one.dz[i]) <= 1e-6f * fabsf(two.dz[i]) + 1e-9f && two.dz[i] != 0,
		    "%s: d loss / dz, element %d: %g, then %g", with_beta[_i], i, (double)one.dz[i], (double)two.dz[i]);
	ck_assert_mem_eq(one.pull, two.pull, sizeof(one.z));
	ck_assert(vq_plan_output(one.p, books[projected], &a) && vq_plan_output(two.p, books[projected], &b));
	for (int64_t i = 0; i < vq_shape_count(&a.type->shape); i++)
		ck_assert(vq_get(&a, i) == vq_get(&b, i));
	close_probe(&one);
	close_probe(&two);
}
END_TEST

static double
dot(const double *a, const double *b, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

/* y = z / |z|: what arrives at y comes to z as (g - y (y . g)) / |z|. */
static void
through_unit(const double *y, double length, const double *g, double *to)
{
	double along = dot(y, g, D);

	for (int j = 0; j < D; j++)
		to[j] = (g[j] - y[j] * along) / length;
}

static double
unit(const float *x, double *y)
{
	double sum = 0;

	for (int j = 0; j < D; j++)
		sum += (double)x[j] * x[j];
	for (int j = 0; j < D; j++)
		y[j] = x[j] / sqrt(sum);
	return sqrt(sum);
}

START_TEST(test_cosine)
{
	const double beta = 0.25;
	double loss = 0, dz[Z], pull[Z], value[Z], db[K * D] = { 0 };
	struct probe q;

	open_probe(&q, "cosine", beta, true);
	run_probe(&q);
	const float *book = var(&q, "vq.book");
	for (int r = 0; r < ROWS; r++) {
		double y[D], e[D], g[D], ge[D], back[D], most = -2, length = unit(q.z + r * D, y), size;
		for (int k = 0; k < K; k++) {
			unit(book + k * D, e);
			most = fmax(most, dot(y, e, D));
		}
		size = unit(book + q.code[r] * D, e);
		ck_assert_double_eq_tol(dot(y, e, D), most, 1e-6);
		for (int j = 0; j < D; j++) {
			value[r * D + j] = e[j];
			loss += (1 + beta) * pow(y[j] - e[j], 2) / Z;
			g[j] = 2 * beta * (y[j] - e[j]) / Z;
			ge[j] = 2 * (e[j] - y[j]) / Z;
		}
		through_unit(y, length, g, dz + r * D);
		through_unit(e, size, ge, back);
		for (int j = 0; j < D; j++) {
			db[q.code[r] * D + j] += back[j];
			g[j] = q.w[r * D + j];
		}
		through_unit(y, length, g, pull + r * D);
	}
	same(q.quantized, value, Z, 1e-6, "quantized");
	ck_assert_double_eq_tol(q.loss, loss, 1e-5 * loss);
	same(q.dz, dz, Z, 1e-6, "d loss / dz");
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	same(output(&q, "d vq.loss / d vq.book"), db, K * D, 1e-5, "d loss / d book");
	close_probe(&q);
}
END_TEST

/* w by the transpose of |e| / |z| R, R = I - 2 r r' + 2 e z', written as a matrix (Fifty et al. 2024, section 4.2). */
static void
turn_back(const float *z, const float *entry, const float *w, double *to)
{
	double y[D], e[D], r[D], R[D][D], scale = unit(entry, e) / unit(z, y), sum = 0;

	for (int j = 0; j < D; j++)
		sum += pow(y[j] + e[j], 2);
	for (int j = 0; j < D; j++)
		r[j] = (y[j] + e[j]) / sqrt(sum);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
			R[i][j] = (i == j) - 2 * r[i] * r[j] + 2 * e[i] * y[j];
	for (int j = 0; j < D; j++) {
		to[j] = 0;
		for (int i = 0; i < D; i++)
			to[j] += scale * R[i][j] * w[i];
	}
	/* It is a rotation, and takes z to the entry. */
	for (int i = 0; i < D; i++) {
		ck_assert_double_eq_tol(dot(R[i], R[i], D), 1, 1e-9);
		ck_assert_double_eq_tol(dot(R[i], y, D), e[i], 1e-9);
	}
}

static const char *const rotating[] = { "rotate", "turned" };

START_TEST(test_rotation)
{
	double pull[Z];
	struct probe q;

	open_probe(&q, rotating[_i], 0.25, false);
	run_probe(&q);
	for (int r = 0; r < ROWS; r++) {
		const float *e = var(&q, "vq.book") + q.code[r] * D;
		ck_assert_mem_eq(q.quantized + r * D, e, D * sizeof(*e));	/* the entry, not what rounding makes of it */
		turn_back(q.z + r * D, e, q.w + r * D, pull + r * D);
	}
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
	close_probe(&q);
}
END_TEST

/* Two numbers instead of four in between: straight through there, linear around it. */
START_TEST(test_projection)
{
	double pull[Z] = { 0 }, value[Z];
	struct probe q;

	open_probe(&q, "projected", 0.25, true);
	run_probe(&q);
	const float *down = var(&q, "vq.down"), *bias = var(&q, "vq.down_bias"), *up = var(&q, "vq.up");
	const float *book = var(&q, "vq.inner.book");
	for (int r = 0; r < ROWS; r++) {
		double y[2] = { bias[0], bias[1] };
		for (int i = 0; i < Z / ROWS * 2; i++)
			y[i % 2] += (double)q.z[r * D + i / 2] * down[i];
		ck_assert_int_eq(q.code[r], nearest(y, book, K, 2));
		for (int j = 0; j < D; j++) {
			value[r * D + j] = var(&q, "vq.up_bias")[j];
			for (int l = 0; l < 2; l++)
				value[r * D + j] += (double)book[q.code[r] * 2 + l] * up[l * D + j];
			for (int l = 0; l < 2; l++)
				for (int i = 0; i < D; i++)
					pull[r * D + i] += (double)q.w[r * D + j] * up[l * D + j] * down[i * 2 + l];
		}
	}
	same(q.quantized, value, Z, 1e-5, "quantized");
	same(q.pull, pull, Z, 1e-5, "d pull / dz");
	close_probe(&q);
}
END_TEST

/* --- entries that are averages -------------------------------------------------- */

/* Debiased or not, against sums from zero; no gradient reaches what is kept. */
static void
check_ema(const char *name, bool debias)
{
	struct probe q;
	struct kept hidden = { 0 }, k;

	open_probe(&q, name, 0.5, true);
	for (int i = 0; i < K * D && !debias; i++)
		hidden.total[i] = var(&q, "vq.book")[i];
	for (int step = 0; step < 6; step++) {
		double loss = 0, dz[Z], x[Z];
		int entry[ROWS];
		float book[K * D];
		memcpy(book, var(&q, "vq.book"), sizeof(book));
		run_probe(&q);
		for (int i = 0; i < Z; i++) {
			entry[i / D] = q.code[i / D];
			x[i] = q.z[i];
			dz[i] = q.z[i] - book[entry[i / D] * D + i % D];
			loss += 0.5 * dz[i] * dz[i] / Z;
			dz[i] *= 2 * 0.5 / Z;
			if (i % D == 0)
				ck_assert_int_eq(entry[i / D], nearest((double[]){ q.z[i], q.z[i + 1], q.z[i + 2], q.z[i + 3] }, book, K, D));
			ck_assert(q.quantized[i] == book[entry[i / D] * D + i % D]);
		}
		ck_assert_double_eq_tol(q.loss, loss, 1e-5 * (1 + loss));
		straight(&q);
		same(q.dz, dz, Z, 1e-6, "d loss / dz");
		zero(output(&q, "d vq.loss / d vq.book"), K * D, "d loss / d book");
		zero(output(&q, "d pull / d vq.book"), K * D, "d pull / d book");
		zero(output(&q, "d vq.loss / d vq.total"), K * D, "d loss / d total");
		average(&hidden, &k, x, entry, ROWS, K, D, debias ? 1 - pow(0.75, step + 1) : 1);
		same_kept(&q, &k, K, D);
		for (int e = 0; e < K && step == 0 && debias; e++) {	/* the batch's own numbers, to the bit */
			int n = 0;
			for (int r = 0; r < ROWS; r++)
				n += entry[r] == e;
			ck_assert(var(&q, "vq.uses")[e] == (float)n);
		}
	}
	close_probe(&q);
}

START_TEST(test_averages)
{
	check_ema("ema", true);
	check_ema("biased", false);
}
END_TEST

static bool
is_row(const float *e, const float *x, int n)
{
	for (int i = 0; i < n; i++)
		if (memcmp(e, x + i * D, D * sizeof(*e)) == 0)
			return true;
	return false;
}

/* An entry out of use becomes a vector of the batch, with sum and use to match; the others are averages. */
static void
check_restart(const char *name, bool debias)
{
	int restarted = 0, stayed = 0;
	struct probe q;

	open_probe(&q, name, 0.25, true);
	for (int step = 0; step < 6; step++) {
		double uses[K], weight = 1 - pow(0.75, step + 1), rate = debias ? 0.25 / weight : 0.25;
		double least = 0.9 * ROWS / K * (debias ? 1 : weight);	/* averages that are too small all alike are not out of use */
		for (int e = 0; e < K; e++)
			uses[e] = (1 - rate) * var(&q, "vq.uses")[e];
		run_probe(&q);
		for (int r = 0; r < ROWS; r++) {
			uses[q.code[r]] += rate;
			if (step == 0)		/* the first batch is quantized by vectors of its own */
				ck_assert(is_row(q.quantized + r * D, q.z, ROWS));
		}
		for (int e = 0; e < K; e++) {
			const float *entry = var(&q, "vq.book") + e * D, *total = var(&q, "vq.total") + e * D;
			bool dead = uses[e] < least;
			restarted += dead;
			stayed += !dead;
			ck_assert_double_eq_tol(var(&q, "vq.uses")[e], dead ? 2 * least : uses[e], 1e-5);
			ck_assert(!dead || is_row(entry, q.z, ROWS));
			for (int j = 0; j < D && dead; j++)
				ck_assert_double_eq_tol(total[j], 2 * least * entry[j], 1e-5);
		}
	}
	ck_assert_int_gt(restarted, 3);
	ck_assert_int_gt(stayed, 3);
	close_probe(&q);
}

START_TEST(test_restart)
{
	check_restart("restart", true);
	check_restart("weak", false);
}
END_TEST

/* After enough rounds of k-means the entries are the means of their vectors, and another look changes nothing. */
START_TEST(test_kmeans)
{
	double mean[K * D] = { 0 };
	int n[K] = { 0 };
	struct probe q;

	open_probe(&q, "kmeans", 0.25, true);
	run_probe(&q);
	for (int i = 0; i < Z; i++) {
		n[q.code[i / D]] += i % D == 0;
		mean[q.code[i / D] * D + i % D] += q.z[i];
	}
	for (int i = 0; i < K * D; i++) {
		ck_assert_int_gt(n[i / D], 0);
		mean[i] /= n[i / D];
	}
	for (int i = 0; i < Z; i++)
		ck_assert_double_eq_tol(q.quantized[i], mean[q.code[i / D] * D + i % D], 1e-5);
	same(var(&q, "vq.book"), mean, K * D, 1e-4, "book");
	close_probe(&q);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("quantizers");
	TCase *t = tcase_create("quantizers");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_codebook);
	tcase_add_loop_test(t, test_beta, 0, VQ_COUNT(with_beta));
	tcase_add_test(t, test_cosine);
	tcase_add_loop_test(t, test_rotation, 0, VQ_COUNT(rotating));
	tcase_add_test(t, test_projection);
	tcase_add_test(t, test_averages);
	tcase_add_test(t, test_restart);
	tcase_add_test(t, test_kmeans);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
