/*
 * check_train_ops -- what training rests on, against formulas written out here in
 * plain C and double: optimizers, norms, losses
 */
#include <math.h>
#include <string.h>

#include "tests/call.h"

/* --- optimizers ----------------------------------------------------------- */

enum { N = 37, STEPS = 25 };

struct sgd { const char *params; double momentum, decay; bool nesterov; };
static const struct sgd sgds[] = {
	{ "", 0, 0, false },
	{ "momentum=0.9", 0.9, 0, false },
	{ "momentum=0.9 nesterov=true weight_decay=0.05", 0.9, 0.05, true },
};

/* As torch.optim.SGD: the first velocity is the first gradient. */
START_TEST(test_sgd)
{
	const struct sgd *o = &sgds[_i];
	struct vq_type type[] = { f32(1, N), f32(1, N), f32(1, N), f32(0) };
	float *param = numbers(N, 0), *velocity = vq_alloc_aligned(N * sizeof(float)), lr = 0.1f;
	double p[N], v[N] = { 0 };
	void *out[VQ_MAX_OUT];

	memset(velocity, 0, N * sizeof(float));
	for (int i = 0; i < N; i++)
		p[i] = param[i];
	for (int step = 0; step < STEPS; step++) {
		float *grad = numbers(N, 1000 + 100 * (uint64_t)step);
		for (int i = 0; i < N; i++) {
			double g = grad[i] + o->decay * p[i];
			v[i] = step == 0 ? g : o->momentum * v[i] + g;
			p[i] -= (double)lr * (o->nesterov ? g + o->momentum * v[i] : v[i]);
		}
		call("sgd", o->params, 4, type, (void *[]){ param, grad, velocity, &lr }, out);
		free(param), free(velocity), free(grad);
		param = out[0], velocity = out[1];
	}
	for (int i = 0; i < N; i++)
		near(param[i], p[i], 3e-6);
	release(out, 2);
}
END_TEST

struct adam { const char *params; double beta1, beta2, eps, decay; bool decoupled; };
static const struct adam adams[] = {
	{ "", 0.9, 0.999, 1e-8, 0, false },
	{ "weight_decay=0.1", 0.9, 0.999, 1e-8, 0.1, false },
	{ "weight_decay=0.1 decoupled=true beta1=0.5 beta2=0.9 eps=1e-6", 0.5, 0.9, 1e-6, 0.1, true },
};

/* As torch.optim.Adam and AdamW: eps is added after the bias correction. */
START_TEST(test_adam)
{
	const struct adam *o = &adams[_i];
	struct vq_type type[] = { f32(1, N), f32(1, N), f32(1, N), f32(1, N), f32(0), f32(0) };
	float *state[3] = { numbers(N, 0), numbers(N, 0), numbers(N, 0) }, lr = 0.01f;
	double p[N], m[N] = { 0 }, v[N] = { 0 };
	void *out[VQ_MAX_OUT];

	for (int i = 0; i < N; i++) {
		p[i] = state[0][i];
		state[1][i] = state[2][i] = 0;
	}
	for (int step = 1; step <= STEPS; step++) {
		float *grad = numbers(N, 1000 + 100 * (uint64_t)step), t = (float)step;
		for (int i = 0; i < N; i++) {
			double g = grad[i] + (o->decoupled ? 0 : o->decay * p[i]);
			p[i] -= o->decoupled ? (double)lr * o->decay * p[i] : 0;
			m[i] = o->beta1 * m[i] + (1 - o->beta1) * g;
			v[i] = o->beta2 * v[i] + (1 - o->beta2) * g * g;
			double denominator = sqrt(v[i]) / sqrt(1 - pow(o->beta2, step)) + o->eps;
			p[i] -= (double)lr / (1 - pow(o->beta1, step)) * m[i] / denominator;
		}
		call("adam", o->params, 6, type, (void *[]){ state[0], grad, state[1], state[2], &lr, &t }, out);
		free(grad);
		for (int k = 0; k < 3; k++) {
			free(state[k]);
			state[k] = out[k];
		}
	}
	for (int i = 0; i < N; i++) {
		near(state[0][i], p[i], 3e-6);
		near(state[1][i], m[i], 3e-6);
		near(state[2][i], v[i], 3e-6);
	}
	release(out, 3);
}
END_TEST

START_TEST(test_ema_and_sum_squares)
{
	float *a = numbers(40000, 0), *b = numbers(N, 7);
	double sum = 0;
	void *out[VQ_MAX_OUT];

	for (int i = 0; i < 40000; i++)
		sum += (double)a[i] * a[i];
	for (int i = 0; i < N; i++)
		sum += (double)b[i] * b[i];
	call("sum_squares", "", 2, (struct vq_type[]){ f32(2, 400, 100), f32(1, N) }, (void *[]){ a, b }, out);
	near(*(float *)out[0], sum, sum * 1e-6);
	release(out, 1);
	call("ema", "decay=0.75", 2, (struct vq_type[]){ f32(1, N), f32(1, N) }, (void *[]){ a, b }, out);
	for (int i = 0; i < N; i++)
		near(((float *)out[0])[i], 0.75 * a[i] + 0.25 * b[i], 1e-6);
	release(out, 1);
	free(a), free(b);
}
END_TEST

/* --- norms ---------------------------------------------------------------- */

/* x [2, 9, 11, 12]; which statistic element i belongs to. */
struct norm { const char *op, *params; int statistics; int (*of)(int i); };
static int of_layer(int i) { return i / 12; }
static int of_three(int i) { return i / (9 * 11 * 12); }
static int of_group(int i) { return i / (9 * 11 * 12) * 4 + i % 12 / 3; }
static int of_batch(int i) { return i % 12; }
static const struct norm norms[] = {
	{ "layer_norm", "", 198, of_layer },
	{ "layer_norm", "axes=3", 2, of_three },
	{ "group_norm", "groups=4", 8, of_group },
	{ "batch_norm", "", 12, of_batch },
};

/* Far from zero too, where a sum of squares would have lost everything. */
START_TEST(test_norms)
{
	enum { COUNT = 2 * 9 * 11 * 12 };
	const struct norm *o = &norms[_i % 4];
	double offset = _i < 4 ? 0.25 : 1000, mean[198] = { 0 }, variance[198] = { 0 };
	float *x = numbers(COUNT, 5);
	double each = (double)COUNT / o->statistics;
	void *out[VQ_MAX_OUT];

	for (int i = 0; i < COUNT; i++) {
		x[i] = (float)(x[i] * (1 + i % 5) + offset);
		mean[o->of(i)] += x[i] / each;
	}
	for (int i = 0; i < COUNT; i++)
		variance[o->of(i)] += pow(x[i] - mean[o->of(i)], 2) / each;
	call(o->op, o->params, 1, (struct vq_type[]){ f32(4, 2, 9, 11, 12) }, (void *[]){ x }, out);
	for (int s = 0; s < o->statistics; s++) {
		near(((float *)out[1])[s], mean[s], 1e-6 * (1 + offset));
		near(((float *)out[2])[s], variance[s], 1e-5 * variance[s]);
	}
	for (int i = 0; i < COUNT; i++)
		near(((float *)out[0])[i], (x[i] - mean[o->of(i)]) / sqrt(variance[o->of(i)] + 1e-5),
		    1e-5 + 1e-7 * offset);
	release(out, 3);
	free(x);
}
END_TEST

/* --- losses --------------------------------------------------------------- */

START_TEST(test_cross_entropy_extremes)
{
	float x[] = {
		1e30f, -1e30f, 0,		/* certain, right */
		-1e30f, 1e30f, 0,		/* certain, wrong: a finite loss */
		-INFINITY, 3, 1,		/* a masked class */
		88, 89, 90,
		-200, -201, -202,
		5, 5, 5,			/* ignored */
	};
	int32_t index[] = { 0, 0, 1, 2, 0, -1 };
	struct vq_type type[] = { f32(2, 6, 3), i32(6) };
	double expect[] = { 0, 2e30, log1p(exp(-2)), log(1 + exp(-1) + exp(-2)), log(1 + exp(-1) + exp(-2)), 0 };
	void *out[VQ_MAX_OUT], *grad[VQ_MAX_OUT];
	float g[] = { 1, 1, 1, 1, 1, 1 };

	call("cross_entropy", "reduction=none", 2, type, (void *[]){ x, index }, out);
	for (int i = 0; i < 6; i++)
		near(((float *)out[0])[i], expect[i], 1e-5 + expect[i] * 1e-6);
	call("cross_entropy_grad", "reduction=none", 4, (struct vq_type[]){ type[0], f32(1, 6), type[1], f32(1, 6) },
	    (void *[]){ x, out[1], index, g }, grad);
	for (int i = 0; i < 6; i++) {
		const float *d = (float *)grad[0] + 3 * i;
		near(d[0] + d[1] + d[2], 0, 1e-5);
		ck_assert(index[i] < 0 ? d[0] == 0 && d[1] == 0 : d[index[i]] <= 0);
	}
	ck_assert(((float *)grad[0])[6] == 0);
	release(out, 2), release(grad, 1);

	/* The mean is over what counts; nothing that counts is 0, not 0 / 0. */
	call("cross_entropy", "", 2, (struct vq_type[]){ f32(2, 2, 3), i32(2) }, (void *[]){ x + 12, index + 4 }, out);
	near(*(float *)out[0], expect[4], 1e-5);
	release(out, 2);
	call("cross_entropy", "", 2, (struct vq_type[]){ f32(2, 1, 3), i32(1) }, (void *[]){ x + 15, index + 5 }, out);
	ck_assert(*(float *)out[0] == 0);
	release(out, 2);
	index[4] = 3;		/* no class: an error in the data, and seen */
	call("cross_entropy", "", 2, (struct vq_type[]){ f32(2, 2, 3), i32(2) }, (void *[]){ x + 12, index + 4 }, out);
	ck_assert(isnan(*(float *)out[0]));
	release(out, 2);
}
END_TEST

START_TEST(test_smoothing)
{
	float x[] = { 0.5f, -1, 2, 0.25f };
	int32_t index = 2;
	double s = 0.2, lse = log(exp(0.5) + exp(-1) + exp(2) + exp(0.25));
	double expect = lse - (1 - s) * 2 - s * (0.5 - 1 + 2 + 0.25) / 4;
	void *out[VQ_MAX_OUT];

	call("cross_entropy", "smoothing=0.2", 2, (struct vq_type[]){ f32(2, 1, 4), i32(1) },
	    (void *[]){ x, &index }, out);
	near(*(float *)out[0], expect, 1e-6);
	near(*(float *)out[1], lse, 1e-6);
	release(out, 2);
}
END_TEST

START_TEST(test_bce_extremes)
{
	float logits[] = { 1e4f, -1e4f, 1e4f, -1e4f, 0 }, target[] = { 1, 0, 0, 1, 0.5f };
	double expect[] = { 0, 0, 1e4, 1e4, log(2) };
	struct vq_type type[] = { f32(1, 5), f32(1, 5) };
	void *out[VQ_MAX_OUT];

	call("bce_logits", "reduction=none", 2, type, (void *[]){ logits, target }, out);
	for (int i = 0; i < 5; i++)
		near(((float *)out[0])[i], expect[i], 1e-6 + 1e-7 * expect[i]);
	release(out, 1);
}
END_TEST

START_TEST(test_softmax_extremes)
{
	float x[] = { 1e38f, 0, -1e38f, -INFINITY, 7, 7, -INFINITY, -INFINITY, -INFINITY };
	float expect[] = { 1, 0, 0, 0, 0.5f, 0.5f };
	struct vq_type type = f32(2, 3, 3);
	void *out[VQ_MAX_OUT];

	call("softmax", "", 1, &type, (void *[]){ x }, out);
	for (int i = 0; i < 6; i++)
		near(((float *)out[0])[i], expect[i], 1e-6);
	release(out, 1);
	call("logsumexp", "", 1, &type, (void *[]){ x }, out);
	ck_assert(((float *)out[0])[2] == -INFINITY);
	near(((float *)out[0])[1], 7 + log(2), 1e-6);
	release(out, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("train_ops");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, test_sgd, 0, VQ_COUNT(sgds));
	tcase_add_loop_test(t, test_adam, 0, VQ_COUNT(adams));
	tcase_add_test(t, test_ema_and_sum_squares);
	tcase_add_loop_test(t, test_norms, 0, 8);
	tcase_add_test(t, test_cross_entropy_extremes);
	tcase_add_test(t, test_smoothing);
	tcase_add_test(t, test_bce_extremes);
	tcase_add_test(t, test_softmax_extremes);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
