/*
 * check_code_ops -- the codebook's ops, random draws, and where gradients go
 */
#include <math.h>
#include <string.h>

#include "engine/build.h"
#include "tests/call.h"
#include "tests/interp.h"

/* --- the codebook --------------------------------------------------------- */

static const int sizes[][3] = { { 1, 1, 1 }, { 7, 5, 3 }, { 97, 33, 17 }, { 200, 64, 8 }, { 13, 257, 65 } };

/* Every entry stands there twice, and the first of each pair wins. */
START_TEST(test_nearest_ties)
{
	int n = sizes[_i][0], k = sizes[_i][1], d = sizes[_i][2];
	float *x = numbers((int64_t)n * d, 0), *table = numbers(2L * k * d, 77);
	struct vq_type type[] = { f32(2, n, d), f32(2, 2 * k, d) };
	void *out[VQ_MAX_OUT];

	memcpy(table + (int64_t)k * d, table, (size_t)(k * d) * sizeof(*table));
	call("nearest", "", 2, type, (void *[]){ x, table }, out);
	for (int i = 0; i < n; i++) {
		double least = INFINITY, found = 0;
		int got = ((int32_t *)out[0])[i];
		ck_assert(got >= 0 && got < k);
		for (int j = 0; j < k; j++) {
			double sum = 0;
			for (int l = 0; l < d; l++)
				sum += pow((double)x[i * d + l] - table[j * d + l], 2);
			least = fmin(least, sum);
			found = j == got ? sum : found;
		}
		near(found, least, 1e-5 * (1 + least));
	}
	release(out, 1);
	free(x), free(table);
}
END_TEST

START_TEST(test_nearest_odd_values)
{
	float x[] = { NAN, 0, 1, 0, INFINITY, 0 }, table[] = { 5, 5, 1, 0, 1, 0, NAN, NAN };
	void *out[VQ_MAX_OUT];

	call("nearest", "", 2, (struct vq_type[]){ f32(2, 3, 2), f32(2, 4, 2) }, (void *[]){ x, table }, out);
	ck_assert_int_eq(((int32_t *)out[0])[0], 0);
	ck_assert_int_eq(((int32_t *)out[0])[1], 1);
	ck_assert(((int32_t *)out[0])[2] >= 0 && ((int32_t *)out[0])[2] < 4);
	release(out, 1);
}
END_TEST

/* <lookup(table), g> = <table, scatter_add(g)>, indices outside included. */
START_TEST(test_lookup_adjoint)
{
	int32_t index[50];
	float *table = numbers(20 * 6, 0), *g = numbers(50 * 6, 500);
	double left = 0, right = 0;
	void *y[VQ_MAX_OUT], *t[VQ_MAX_OUT];

	for (int i = 0; i < 50; i++)
		index[i] = (i * 7) % 24 - 2;
	index[3] = INT32_MAX, index[4] = INT32_MIN;
	call("lookup", "", 2, (struct vq_type[]){ f32(2, 20, 6), i32(50) }, (void *[]){ table, index }, y);
	call("scatter_add", "size=20", 2, (struct vq_type[]){ i32(50), f32(2, 50, 6) }, (void *[]){ index, g }, t);
	for (int i = 0; i < 50 * 6; i++) {
		left += (double)((float *)y[0])[i] * g[i];
		ck_assert(index[i / 6] >= 0 && index[i / 6] < 20 ? true : ((float *)y[0])[i] == 0);
	}
	for (int i = 0; i < 20 * 6; i++)
		right += (double)((float *)t[0])[i] * table[i];
	near(left, right, 1e-5);
	release(y, 1), release(t, 1);
	free(table), free(g);
}
END_TEST

/* --- draws ---------------------------------------------------------------- */

enum { MOST = 1 << 16 };

START_TEST(test_dropout)
{
	float *ones = vq_alloc_aligned(MOST * sizeof(float));
	struct vq_type type = f32(1, MOST);
	double p = 0.3, kept = 0;
	void *a[VQ_MAX_OUT], *b[VQ_MAX_OUT], *c[VQ_MAX_OUT];
	int same = 0;

	for (int i = 0; i < MOST; i++)
		ones[i] = 1;
	call("dropout", "p=0.3", 1, &type, (void *[]){ ones }, a);
	now.threads = 1;
	call("dropout", "p=0.3", 1, &type, (void *[]){ ones }, b);
	now.step = 1;
	call("dropout", "p=0.3", 1, &type, (void *[]){ ones }, c);
	for (int i = 0; i < MOST; i++) {
		float x = ((float *)a[0])[i];
		ck_assert(x == 0 || fabs(x - 1 / (1 - p)) < 1e-6);
		kept += x != 0;
		same += x == ((float *)c[0])[i];
	}
	near(kept / MOST, 1 - p, 5 * sqrt(p * (1 - p) / MOST));
	near((double)same / MOST, p * p + (1 - p) * (1 - p), 5 * 0.5 / sqrt(MOST));
	ck_assert_mem_eq(a[0], b[0], MOST * sizeof(float));
	release(a, 1), release(b, 1), release(c, 1);
	free(ones);
}
END_TEST

/* The gradient passes where the value did; each dropout draws for itself. */
START_TEST(test_dropout_gradient)
{
	struct vq_diags diags = { 0 };
	struct vq_graph *g = vq_graph_new("t", &diags);
	struct vq_type type = f32(1, 1000);
	vq_id x = vq_graph_leaf(g, VQ_INPUT, "x", &type), dx;
	vq_id y = VQ_EMIT1(g, "dropout", x, "p=0.4"), z = VQ_EMIT1(g, "dropout", x, "p=0.4");

	ck_assert_int_eq(vq_gradient(g, y, vq_fill(g, &type, 1), &x, 1, &dx), 0);
	struct interp *p = interp_new(g);
	for (int i = 0; i < 1000; i++)
		((float *)interp_view(p, x).data)[i] = 1;
	interp_run(p);
	ck_assert_mem_eq(interp_view(p, y).data, interp_view(p, dx).data, 1000 * sizeof(float));
	ck_assert_mem_ne(interp_view(p, y).data, interp_view(p, z).data, 1000 * sizeof(float));
	interp_free(p);
	vq_graph_free(g);
}
END_TEST

START_TEST(test_draws)
{
	void *out[VQ_MAX_OUT];
	double mean = 0, square = 0;
	bool seen[9] = { false };

	call("random_normal", "shape=[65536] mean=2 deviation=3", 0, NULL, NULL, out);
	for (int i = 0; i < MOST; i++) {
		double x = (((float *)out[0])[i] - 2) / 3;
		mean += x / MOST;
		square += x * x / MOST;
	}
	near(mean, 0, 5 / sqrt(MOST));
	near(square, 1, 5 * sqrt(2) / sqrt(MOST));
	release(out, 1);
	call("random_uniform", "shape=[65536] low=-1 high=3", 0, NULL, NULL, out);
	mean = 0;
	for (int i = 0; i < MOST; i++) {
		ck_assert(((float *)out[0])[i] >= -1 && ((float *)out[0])[i] <= 3);
		mean += ((float *)out[0])[i] / MOST;
	}
	near(mean, 1, 5 * 4 / sqrt(12.0 * MOST));
	release(out, 1);
	call("random_integer", "shape=[1000] from=-4 below=5", 0, NULL, NULL, out);
	for (int i = 0; i < 1000; i++) {
		int x = ((int32_t *)out[0])[i];
		ck_assert(x >= -4 && x < 5);
		seen[x + 4] = true;
	}
	for (int i = 0; i < 9; i++)
		ck_assert(seen[i]);
	release(out, 1);
}
END_TEST

START_TEST(test_random_rows)
{
	float x[60];
	struct vq_type type = f32(3, 10, 2, 3);
	bool seen[20] = { false };
	void *out[VQ_MAX_OUT];

	for (int i = 0; i < 60; i++)
		x[i] = (float)i;
	call("random_rows", "count=20", 1, &type, (void *[]){ x }, out);
	for (int i = 0; i < 20; i++) {
		const float *row = (float *)out[0] + 3 * i;
		ck_assert(row[0] >= 0 && row[1] == row[0] + 1 && row[2] == row[0] + 2 && fmodf(row[0], 3) == 0);
		ck_assert_msg(!seen[(int)row[0] / 3], "row drawn twice while there were others");
		seen[(int)row[0] / 3] = true;
	}
	release(out, 1);
	call("random_rows", "count=50", 1, &type, (void *[]){ x }, out);
	for (int i = 0; i < 50; i++)
		ck_assert(fmodf(((float *)out[0])[3 * i], 3) == 0);
	release(out, 1);
}
END_TEST

/* --- token orders --------------------------------------------------------- */

static const struct {
	const char *params;
	int h, w;
	int cell[16];
} orders[] = {
	{ "order=raster", 2, 3, { 0, 1, 2, 3, 4, 5 } },
	{ "order=s_curve", 3, 3, { 0, 1, 2, 5, 4, 3, 6, 7, 8 } },
	{ "order=z_curve", 4, 4, { 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15 } },
	/* Of an 8x8 curve, what lies in 3 rows and 5 columns. */
	{ "order=z_curve", 3, 5, { 0, 1, 5, 6, 2, 3, 7, 8, 10, 11, 12, 13, 4, 9, 14 } },
	{ "order=z_curve", 1, 4, { 0, 1, 2, 3 } },
};

START_TEST(test_orders)
{
	int h = orders[_i].h, w = orders[_i].w, n = h * w;
	int32_t x[32];
	char back[64];
	void *out[VQ_MAX_OUT];

	for (int i = 0; i < 2 * n; i++)
		x[i] = 100 + i;	/* row i of the batch follows without a gap */
	call("reorder", orders[_i].params, 1, &(struct vq_type){ VQ_I32, { 3, { 2, h, w } } }, (void *[]){ x }, out);
	int32_t *y = out[0];
	for (int i = 0; i < 2 * n; i++)
		ck_assert_int_eq(y[i], 100 + i / n * n + orders[_i].cell[i % n]);
	snprintf(back, sizeof(back), "%s inverse=true width=%d", orders[_i].params, w);
	call("reorder", back, 1, &(struct vq_type){ VQ_I32, { 2, { 2, n } } }, (void *[]){ y }, out);
	ck_assert_mem_eq(out[0], x, sizeof(int32_t) * 2 * (size_t)n);
	release(out, 1);
	free(y);
}
END_TEST

/* --- where gradients go --------------------------------------------------- */

/* y = straight_through(value, to) + stop(value) to: d / d to = 1 + value, d / d value = 0. */
START_TEST(test_straight_through_and_stop)
{
	struct vq_diags diags = { 0 };
	struct vq_graph *g = vq_graph_new("t", &diags);
	struct vq_type type = f32(1, 3);
	vq_id in[2] = { vq_graph_leaf(g, VQ_INPUT, "value", &type), vq_graph_leaf(g, VQ_INPUT, "to", &type) }, d[2];
	vq_id s = VQ_EMIT2(g, "straight_through", in[0], in[1], " ");
	vq_id y = vq_add(g, s, vq_mul(g, VQ_EMIT1(g, "stop", in[0], " "), in[1]));

	ck_assert_int_eq(vq_gradient(g, vq_sum_all(g, y), VQ_NONE, in, 2, d), 0);
	struct interp *p = interp_new(g);
	for (int i = 0; i < 3; i++) {
		((float *)interp_view(p, in[0]).data)[i] = (float)i + 2;
		((float *)interp_view(p, in[1]).data)[i] = 10;
	}
	interp_run(p);
	for (int i = 0; i < 3; i++) {
		ck_assert(((float *)interp_view(p, s).data)[i] == (float)i + 2);
		ck_assert(((float *)interp_view(p, d[0]).data)[i] == 0);
		ck_assert(((float *)interp_view(p, d[1]).data)[i] == (float)i + 3);
	}
	interp_free(p);
	vq_graph_free(g);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("code_ops");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, test_nearest_ties, 0, VQ_COUNT(sizes));
	tcase_add_test(t, test_nearest_odd_values);
	tcase_add_test(t, test_lookup_adjoint);
	tcase_add_test(t, test_dropout);
	tcase_add_test(t, test_dropout_gradient);
	tcase_add_test(t, test_draws);
	tcase_add_test(t, test_random_rows);
	tcase_add_loop_test(t, test_orders, 0, VQ_COUNT(orders));
	tcase_add_test(t, test_straight_through_and_stop);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
