/*
 * check_oracle -- a small VQ-VAE against PyTorch: losses, codes, every gradient, and
 * the losses of 100 steps of Adam
 *
 * tests/oracle/make_oracle.py wrote what is expected, from double precision.
 */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/checkpoint.h"
#include "engine/compile.h"
#include "engine/model.h"
#include "engine/optimizer.h"

#define ORACLE VQ_SRCDIR "/tests/oracle/"

/* As PyTorch's own f32 does, within 3e-7 over all 100 steps; ours may round otherwise. */
#define LOSS_TOLERANCE 2e-5
/* Of a parameter's gradient, relative to its largest element. */
#define GRADIENT_TOLERANCE 2e-5

static struct vq_diags diags;

/* Nothing may have been reported. */
static void
no_errors(const void *result)
{
	if (diags.total > 0)
		vq_diags_print(&diags, stdout, false);
	ck_assert(result != NULL && diags.total == 0);
}

static json_t *
expected(void)
{
	json_error_t e;
	json_t *j = json_load_file(ORACLE "oracle.json", 0, &e);

	ck_assert_msg(j != NULL, "%s:%d: %s", ORACLE "oracle.json", e.line, e.text);
	return j;
}

static double
expected_number(const json_t *j, const char *key)
{
	ck_assert_msg(json_is_number(json_object_get(j, key)), "oracle.json has no number '%s'", key);
	return json_number_value(json_object_get(j, key));
}

struct fixture {
	struct vq_model *model;
	struct vq_graph *graph;
	struct vq_vars vars;
	struct vq_type type;
	void *batch;
};

static void
load_vars(const char *file, struct vq_vars *v)
{
	if (vq_checkpoint_load(file, v, VQ_LOAD_PARAMS, NULL, &diags) < 0)
		no_errors(NULL);
}

static void
open_fixture(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->model = vq_model_load(ORACLE "vqvae.yaml", NULL, 0, &diags);
	no_errors(f->model);
	if (vq_npy_read(ORACLE "batch.npy", &f->type, &f->batch, &diags) < 0)
		no_errors(NULL);
	f->graph = vq_model_expand(f->model, "autoencode", true,
	    &(struct vq_size){ "batch", f->type.shape.dim[0] }, 1, &diags);
	no_errors(f->graph);
	load_vars(ORACLE "weights.safetensors", &f->vars);
}

static void
close_fixture(struct fixture *f)
{
	vq_vars_free(&f->vars);
	vq_model_free(f->model);
	free(f->batch);
}

/* Takes the fixture's graph. */
static struct vq_plan *
plan_for(struct fixture *f, const struct vq_compile *how)
{
	struct vq_plan *p = vq_compile(f->graph, how, &diags);
	int vars = f->vars.count;

	no_errors(p);
	ck_assert_int_eq(vq_vars_bind(&f->vars, p->graph, 1, &diags), 0);
	for (int i = vars; i < f->vars.count; i++)
		ck_assert_msg(f->vars.var[i].kind == VQ_STATE, "the oracle has no parameter '%s'", f->vars.var[i].name);
	vq_plan_attach(p, &f->vars, NULL);
	ck_assert(vq_plan_input(p, "image", f->batch));
	return p;
}

static const struct vq_compile ways[] = { { 0 }, { .no_fuse = true }, { .reference = true }, { .threads = 1 } };

/* --- losses and codes ----------------------------------------------------- */

static void
compare_codes(const struct vq_plan *p)
{
	struct vq_view code;
	struct vq_type type;
	void *data;

	ck_assert(vq_plan_output(p, "vq.code", &code));
	ck_assert_int_eq(vq_npy_read(ORACLE "code.npy", &type, &data, &diags), 0);
	ck_assert(vq_type_equal(&type, code.type));
	ck_assert_mem_eq(code.data, data, vq_type_bytes(&type));
	free(data);
}

START_TEST(test_losses)
{
	struct fixture f;
	json_t *j = expected();

	open_fixture(&f);
	struct vq_plan *p = plan_for(&f, &ways[_i]);
	vq_plan_run(p, 1, 0);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "recon_loss" : "loss";
		double want = expected_number(j, name);
		ck_assert_double_eq_tol(vq_plan_scalar(p, name), want, LOSS_TOLERANCE * want);
	}
	compare_codes(p);
	vq_plan_free(p);
	close_fixture(&f);
	json_decref(j);
}
END_TEST

/* --- gradients ------------------------------------------------------------ */

/* Every parameter's gradient as an output under the parameter's name. */
static int
ask_for_gradients(struct vq_graph *g)
{
	vq_id param[64], grad[64];
	int n = 0;

	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_PARAM) {
			ck_assert_int_lt(n, (int)VQ_COUNT(param));
			param[n++] = v;
		}
	ck_assert_int_eq(vq_gradient(g, vq_graph_find_output(g, "loss"), VQ_NONE, param, n, grad), 0);
	for (int i = 0; i < n; i++) {
		char *name = vq_asprintf("gradient of %s", g->value[param[i]].name);
		vq_graph_output(g, name, grad[i]);
		free(name);
	}
	return n;
}

static void
compare_gradient(const struct vq_plan *p, const struct vq_var *want)
{
	char *name = vq_asprintf("gradient of %s", want->name);
	struct vq_view got, expect = { want->data, &want->type };
	int64_t n = vq_shape_count(&want->type.shape);
	double most = 0;

	ck_assert_msg(vq_plan_output(p, name, &got), "there is no parameter '%s'", want->name);
	ck_assert(vq_type_equal(got.type, &want->type));
	for (int64_t i = 0; i < n; i++)
		most = fmax(most, fabs(vq_get(&expect, i)));
	for (int64_t i = 0; i < n; i++) {
		double a = vq_get(&got, i), b = vq_get(&expect, i);
		ck_assert_msg(fabs(a - b) <= GRADIENT_TOLERANCE * most, "%s[%lld]: %.9g, PyTorch has %.9g",
		    name, (long long)i, a, b);
	}
	free(name);
}

START_TEST(test_gradients)
{
	struct fixture f;
	struct vq_vars want = { 0 };

	open_fixture(&f);
	load_vars(ORACLE "gradients.safetensors", &want);
	ck_assert_int_eq(ask_for_gradients(f.graph), want.count);
	struct vq_plan *p = plan_for(&f, &ways[_i]);
	vq_plan_run(p, 1, 0);
	for (int i = 0; i < want.count; i++)
		compare_gradient(p, &want.var[i]);
	vq_plan_free(p);
	vq_vars_free(&want);
	close_fixture(&f);
}
END_TEST

/* --- training ------------------------------------------------------------- */

static const struct vq_optimizer *
optimizer(const char *name)
{
	const struct vq_optimizer *o = vq_optimizers;

	while (o->name && strcmp(o->name, name) != 0)
		o++;
	ck_assert_ptr_nonnull(o->name);
	return o;
}

START_TEST(test_training)
{
	struct fixture f;
	json_t *j = expected(), *adam = json_object_get(j, "adam"), *losses = json_object_get(adam, "loss");
	struct vq_update u = { .minimize = "loss", .optimizer = optimizer("adam"), .accumulate = 1 };
	float lr = (float)expected_number(adam, "lr");

	vq_params_default(u.optimizer->params, &u.opt);
	open_fixture(&f);
	ck_assert_int_eq(vq_update_build(f.graph, &u, 0, 0, true), 0);
	struct vq_plan *p = plan_for(&f, &ways[_i]);
	ck_assert_uint_ge(json_array_size(losses), 100);
	for (size_t step = 0; step < json_array_size(losses); step++) {
		double want = json_number_value(json_array_get(losses, step));
		float count = (float)(step + 1);

		ck_assert(vq_plan_input(p, "lr.0", &lr) && vq_plan_input(p, "count.0", &count));
		vq_plan_run(p, 1, step);
		double got = vq_plan_scalar(p, "loss");
		ck_assert_msg(fabs(got - want) <= LOSS_TOLERANCE * want, "step %zu: loss %.9g, PyTorch has %.9g",
		    step, got, want);
	}
	vq_plan_free(p);
	close_fixture(&f);
	json_decref(j);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("oracle");
	TCase *t = tcase_create("vqvae");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_losses, 0, VQ_COUNT(ways));
	tcase_add_loop_test(t, test_gradients, 0, VQ_COUNT(ways));
	tcase_add_loop_test(t, test_training, 0, 2);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
