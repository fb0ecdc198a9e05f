/*
 * check_gradients -- first and second derivatives of every op against central
 * differences, in f64 on reference kernels, driven by its examples
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/rng.h"
#include "tests/interp.h"
#include "tests/samples.h"

/* The example as a graph in f64: a scalar from its outputs with random weights. */
struct trial {
	struct vq_diags diags;
	struct vq_graph *g;
	vq_id in[VQ_MAX_IN], wrt[VQ_MAX_IN], grad[VQ_MAX_IN];
	int port[VQ_MAX_IN], wanted;
	vq_id loss;
	struct interp *p;
};

static vq_id
random_leaf(struct vq_graph *g, const struct vq_type *t, const char *kind, int i)
{
	char name[32];

	snprintf(name, sizeof(name), "%s%d", kind, i);
	return vq_graph_leaf(g, VQ_INPUT, name, t);
}

/* sum over i of v[i] . random weights, for those v that are floating */
static vq_id
weighted(struct trial *t, const vq_id *v, int n, const char *kind)
{
	vq_id total = VQ_NONE;

	for (int i = 0; i < n; i++) {
		struct vq_type type = t->g->value[v[i]].type;
		if (!vq_is_float(type.dtype))
			continue;
		vq_id x = vq_mul(t->g, v[i], random_leaf(t->g, &type, kind, i));
		x = vq_sum_all(t->g, x);
		total = total == VQ_NONE ? x : vq_add(t->g, total, x);
	}
	return total;
}

static void
differentiate(struct trial *t)
{
	ck_assert_msg(vq_gradient(t->g, t->loss, VQ_NONE, t->wrt, t->wanted, t->grad) == 0, "%s",
	    t->diags.count ? t->diags.diag[0]->message : "no gradient");
	for (int i = 0; i < t->wanted; i++)
		ck_assert(vq_type_equal(vq_type_at(t->g, t->grad[i]), vq_type_at(t->g, t->wrt[i])));
}

/* order 1: the loss is made of the outputs; 2: of their gradients. */
static bool
trial_start(struct trial *t, const struct sample *s, int order)
{
	vq_id out[VQ_MAX_OUT];

	memset(t, 0, sizeof(*t));
	t->g = vq_graph_new(s->op->name, &t->diags);
	for (int i = 0; i < s->nin; i++) {
		struct vq_type type = s->in[i];
		if (vq_is_float(type.dtype))
			type.dtype = VQ_F64;
		t->in[i] = random_leaf(t->g, &type, "in", i);
		if (vq_is_float(type.dtype)) {
			t->port[t->wanted] = i;
			t->wrt[t->wanted++] = t->in[i];
		}
	}
	vq_id first = vq_graph_add(t->g, s->op, s->params, t->in, s->nin);
	ck_assert_msg(first != VQ_NONE, "%s does not take f64", s->op->name);
	for (int i = 0; i < s->nout; i++)
		out[i] = first + i;
	t->loss = weighted(t, out, s->nout, "u");
	if (t->loss == VQ_NONE || t->wanted == 0)
		return false;
	differentiate(t);
	if (order == 2) {
		vq_id grad[VQ_MAX_IN];
		memcpy(grad, t->grad, sizeof(grad));
		t->loss = weighted(t, grad, t->wanted, "v");
		differentiate(t);
	}
	return true;
}

static void
trial_fill(struct trial *t, const struct sample *s)
{
	t->p = interp_new(t->g);
	for (vq_id v = 0; v < t->g->values; v++) {
		struct vq_view view = interp_view(t->p, v);
		struct vq_rng_key key = { .seed = 5, .purpose = (uint64_t)v };
		if (t->g->value[v].kind != VQ_INPUT)
			continue;
		if (v < s->nin) {
			sample_fill(s, v, &view);
			continue;
		}
		for (int64_t k = vq_shape_count(&view.type->shape) - 1; k >= 0; k--)
			vq_set(&view, k, 2 * (double)vq_rng_uniform(&key, (uint64_t)k) - 1);
	}
}

static void
trial_end(struct trial *t)
{
	if (t->p)
		interp_free(t->p);
	vq_graph_free(t->g);
	vq_diags_free(&t->diags);
}

static double
loss_at(struct trial *t, const struct vq_view *x, int64_t k, double value)
{
	vq_set(x, k, value);
	interp_run(t->p);
	return interp_scalar(t->p, t->loss);
}

/* The derivative by central differences of the input's element k. */
static double
difference(struct trial *t, const struct vq_view *x, int64_t k)
{
	const double h = 1e-5;
	double at = vq_get(x, k);
	double above = loss_at(t, x, k, at + h), below = loss_at(t, x, k, at - h);

	vq_set(x, k, at);
	return (above - below) / (2 * h);
}

/* At most this many elements of an input are varied: evenly spread ones. */
enum { VARIED = 24 };

static void
check_derivative(const struct sample *s, int order)
{
	struct trial t;

	if (!trial_start(&t, s, order)) {
		trial_end(&t);
		return;
	}
	trial_fill(&t, s);
	interp_run(t.p);
	for (int w = 0; w < t.wanted; w++) {
		struct vq_view x = interp_view(t.p, t.wrt[w]), g = interp_view(t.p, t.grad[w]);
		int64_t n = vq_shape_count(&x.type->shape), step = n > VARIED ? n / VARIED : 1;
		double scale = view_largest(&g) + 1;
		for (int64_t k = 0; k < n; k += step) {
			interp_run(t.p);
			double want = vq_get(&g, k), got = difference(&t, &x, k);
			ck_assert_msg(fabs(want - got) <= 2e-6 * scale,
			    "%s %s (%s): derivative %d of order %d by %s[%lld] is %.9g, differences say %.9g",
			    s->op->name, s->ex->in, s->ex->params ? s->ex->params : "", w, order,
			    vq_op_variadic(s->op) ? "x" : s->op->in[t.port[w]], (long long)k, want, got);
		}
	}
	trial_end(&t);
}

static bool
is_small(const struct sample *s)
{
	for (int i = 0; i < s->nin; i++)
		if (vq_shape_count(&s->in[i].shape) > VQ_EXAMPLE_CHECK)
			return false;
	return sample_flops(s) <= SAMPLE_SLOW_FLOPS / 10;
}

/* --- the test ------------------------------------------------------------ */

START_TEST(each_op)
{
	const struct vq_op *op = vq_ops()[_i];

	for (const struct vq_example *ex = op->examples; ex && ex->in; ex++) {
		struct sample s;
		if ((op->grad == NULL && op->compose == NULL) || ex->no_gradient || ex->fails)
			continue;
		sample_prepare(&s, op, ex);
		ck_assert_msg(s.message == NULL, "%s %s does not fit: %s", op->name, ex->in, s.message);
		if (!is_small(&s))
			continue;
		check_derivative(&s, 1);
		check_derivative(&s, 2);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("gradients");
	TCase *ops = tcase_create("each op");
	int n = 0, failed;

	while (vq_ops()[n])
		n++;
	tcase_set_timeout(ops, 120);
	tcase_add_loop_test(ops, each_op, 0, n);
	suite_add_tcase(suite, ops);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
