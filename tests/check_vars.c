/*
 * check_vars -- first values: by seed and name, copied, loaded; and what does not fit
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rng.h"
#include "engine/vars.h"

static struct vq_init
uniform(double a, double b)
{
	return (struct vq_init){ VQ_INIT_UNIFORM, a, b, NULL };
}

static struct vq_init
copy_of(const char *name)
{
	return (struct vq_init){ VQ_INIT_COPY, 0, 0, name };
}

static void
leaf(struct vq_graph *g, enum vq_value_kind kind, const char *name, const char *type, struct vq_init init)
{
	struct vq_type t;
	vq_id id;

	ck_assert_ptr_nonnull(vq_type_parse(type, &t));
	id = vq_graph_leaf(g, kind, name, &t);
	g->value[id].init = init;
}

static double
element(const struct vq_vars *v, const char *name, int64_t i)
{
	const struct vq_var *x = vq_vars_find(v, name);
	struct vq_view view;

	ck_assert_ptr_nonnull(x);
	view = (struct vq_view){ x->data, &x->type };
	return vq_get(&view, i);
}

static bool
same_values(const struct vq_vars *v, const char *a, const struct vq_vars *w, const char *b)
{
	int64_t n = vq_shape_count(&vq_vars_find(v, a)->type.shape);

	for (int64_t i = 0; i < n; i++)
		if (element(v, a, i) != element(w, b, i))
			return false;
	return true;
}

/* A message that was reported, or not. */
static bool
said(const struct vq_diags *d, const char *message)
{
	for (int i = 0; i < d->count; i++)
		if (strcmp(d->diag[i]->message, message) == 0)
			return true;
	return false;
}

START_TEST(draws_are_by_seed_and_name)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d), *h = vq_graph_new("b", &d);
	struct vq_vars v = { 0 }, w = { 0 }, other = { 0 };
	const struct vq_rng_key key = { .seed = 5, .purpose = vq_hash_str("enc.w") };

	leaf(g, VQ_PARAM, "enc.w", "f32[50, 60]", uniform(-2, 3));
	leaf(g, VQ_PARAM, "enc.b", "f32[60]", (struct vq_init){ VQ_INIT_CONSTANT, 0.5, 0, NULL });
	leaf(h, VQ_PARAM, "new.w", "f32[7]", uniform(-2, 3));
	leaf(h, VQ_PARAM, "enc.w", "f32[50, 60]", uniform(-2, 3));
	ck_assert_int_eq(vq_vars_bind(&v, g, 5, &d), 0);
	ck_assert_int_eq(vq_vars_bind(&w, h, 5, &d), 0);
	ck_assert_int_eq(vq_vars_bind(&other, g, 6, &d), 0);
	ck_assert(same_values(&v, "enc.w", &w, "enc.w"));	/* whatever else there is */
	ck_assert(!same_values(&v, "enc.w", &other, "enc.w"));
	for (int64_t i = 0; i < 3000; i += 7)
		ck_assert(element(&v, "enc.w", i) == (double)(float)(-2 + 5.0 * (double)vq_rng_uniform(&key, (uint64_t)i)));
	ck_assert(element(&v, "enc.b", 59) == 0.5);
	ck_assert_uint_eq((uintptr_t)vq_vars_find(&v, "enc.b")->data % 64, 0);
	ck_assert_int_eq(d.total, 0);
	vq_vars_free(&v);
	vq_vars_free(&w);
	vq_vars_free(&other);
	vq_graph_free(g);
	vq_graph_free(h);
}
END_TEST

START_TEST(normals_have_mean_and_deviation)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d);
	struct vq_vars v = { 0 };
	double sum = 0, square = 0;

	leaf(g, VQ_PARAM, "w", "f64[20000]", (struct vq_init){ VQ_INIT_NORMAL, 3, 0.5, NULL });
	ck_assert_int_eq(vq_vars_bind(&v, g, 1, &d), 0);
	for (int64_t i = 0; i < 20000; i++) {
		const double *w = v.var[0].data;
		sum += w[i] / 20000;
		square += w[i] * w[i] / 20000;
	}
	ck_assert_double_lt(fabs(sum - 3), 0.02);
	ck_assert_double_lt(fabs(sqrt(square - sum * sum) - 0.5), 0.02);
	vq_vars_free(&v);
	vq_graph_free(g);
}
END_TEST

/* Deviation of a standard normal cut at 2: 0.8796. */
START_TEST(truncated_normals_stay_within_two_deviations)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d);
	struct vq_vars v = { 0 };
	const struct vq_rng_key key = { .seed = 1, .purpose = vq_hash_str("w") };
	double sum = 0, square = 0;
	int again = 0;

	leaf(g, VQ_PARAM, "w", "f32[20000]", (struct vq_init){ VQ_INIT_TRUNCATED, 3, 0.5, NULL });
	ck_assert_int_eq(vq_vars_bind(&v, g, 1, &d), 0);
	for (int i = 0; i < 20000; i++) {
		double w = element(&v, "w", i), first = 3 + 0.5 * (double)vq_rng_normal(&key, (uint64_t)i);
		ck_assert_double_le(fabs(w - 3), 1);
		ck_assert(fabs(first - 3) > 1 || w == (double)(float)first);	/* the others are as drawn */
		again += fabs(first - 3) > 1;
		sum += w / 20000;
		square += w * w / 20000;
	}
	ck_assert_int_gt(again, 700);
	ck_assert_double_lt(fabs(sum - 3), 0.02);
	ck_assert_double_lt(fabs(sqrt(square - sum * sum) / 0.5 - 0.8796), 0.02);
	vq_vars_free(&v);
	vq_graph_free(g);
}
END_TEST

/* Not what training made of it since: a graph may be bound late. */
START_TEST(a_copy_has_the_first_value)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d), *late = vq_graph_new("late", &d), *next = vq_graph_new("next", &d);
	struct vq_vars v = { 0 }, fresh = { 0 }, types = { .types_only = true };

	leaf(g, VQ_STATE, "sum", "f32[4, 8]", copy_of("book"));	/* before the one it copies */
	leaf(g, VQ_PARAM, "book", "f32[4, 8]", uniform(0, 1));
	leaf(late, VQ_STATE, "average", "f64[4, 8]", copy_of("sum"));	/* a chain, another dtype */
	ck_assert_int_eq(vq_vars_bind(&fresh, g, 9, &d), 0);
	ck_assert_int_eq(vq_vars_bind(&v, g, 9, &d), 0);
	ck_assert(same_values(&v, "sum", &v, "book"));
	memset(vq_vars_find(&v, "book")->data, 0, 128);
	memset(vq_vars_find(&v, "sum")->data, 0, 128);
	ck_assert_int_eq(vq_vars_bind(&v, late, 9, &d), 0);
	ck_assert(same_values(&v, "average", &fresh, "book"));
	ck_assert(element(&v, "book", 3) == 0);		/* binding again changes nothing */
	vq_vars_settle(&v);				/* but the next stage begins with what there is */
	leaf(next, VQ_STATE, "follows", "f32[4, 8]", copy_of("book"));
	ck_assert_int_eq(vq_vars_bind(&v, next, 9, &d), 0);
	ck_assert(same_values(&v, "follows", &v, "book"));
	ck_assert_int_eq(vq_vars_bind(&types, g, 9, &d), 0);
	ck_assert(vq_vars_bytes(&types) == 256 && vq_vars_find(&types, "sum")->data == NULL);
	ck_assert_int_eq(vq_vars_bind(&v, g, 9, &d), 0);
	ck_assert(element(&v, "book", 3) == 0);
	vq_vars_free(&v);
	vq_vars_free(&fresh);
	vq_graph_free(g);
	vq_graph_free(late);
	vq_graph_free(next);
	vq_vars_free(&types);
}
END_TEST

START_TEST(a_copy_of_what_was_loaded_has_that)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d);
	struct vq_vars v = { 0 };
	struct vq_type t = vq_type_of(VQ_F32, 1, (int64_t[]){ 3 });
	struct vq_var *x = vq_vars_add(&v, "book", VQ_PARAM, &t);

	memcpy(x->data, (float[]){ 7, 8, 9 }, 12);
	x->loaded = true;
	leaf(g, VQ_PARAM, "book", "f32[3]", uniform(0, 1));
	leaf(g, VQ_STATE, "sum", "f32[3]", copy_of("book"));
	for (int i = 0; i < 40; i++) {		/* the array of variables moves meanwhile */
		char name[16];
		snprintf(name, sizeof(name), "s%d", i);
		leaf(g, VQ_STATE, name, "f32[3]", copy_of(vq_arena_strdup(&g->arena, "book")));
	}
	ck_assert_int_eq(vq_vars_bind(&v, g, 9, &d), 0);
	ck_assert(same_values(&v, "sum", &v, "book"));
	ck_assert(element(&v, "s39", 2) == 9);
	vq_vars_free(&v);
	vq_graph_free(g);
}
END_TEST

START_TEST(what_does_not_fit_is_named)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("a", &d);
	struct vq_vars v = { 0 };
	struct vq_type t = vq_type_of(VQ_F32, 2, (int64_t[]){ 2, 3 });

	vq_vars_add(&v, "w", VQ_PARAM, &t);
	vq_vars_add(&v, "kind", VQ_STATE, &t);
	leaf(g, VQ_PARAM, "w", "f32[3, 2]", uniform(0, 1));
	leaf(g, VQ_PARAM, "kind", "f32[2, 3]", uniform(0, 1));
	leaf(g, VQ_STATE, "a", "f32", copy_of("b"));
	leaf(g, VQ_STATE, "b", "f32", copy_of("a"));
	leaf(g, VQ_STATE, "c", "f32", copy_of("nothing"));
	leaf(g, VQ_STATE, "d", "f32[4]", copy_of("kind"));
	leaf(g, VQ_STATE, "good", "f32[4]", uniform(1, 2));
	ck_assert_int_eq(vq_vars_bind(&v, g, 1, &d), -1);
	ck_assert_int_eq(d.total, 6);
	ck_assert(said(&d, "w is f32[2, 3] where it was made, and f32[3, 2] in this graph"));
	ck_assert(said(&d, "kind is state where it was made, and a parameter in this graph"));
	ck_assert(said(&d, "the first value of a is a copy of itself"));
	ck_assert(said(&d, "the first value of c is that of nothing, which does not exist"));
	ck_assert(said(&d, "the first value of d, f32[4], cannot be that of kind, f32[2, 3]"));
	ck_assert_int_eq(vq_diags_status(&d), VQ_CHECKPOINT);
	ck_assert(element(&v, "good", 0) >= 1);
	vq_diags_free(&d);
	vq_vars_free(&v);
	vq_graph_free(g);
}
END_TEST

START_TEST(a_name_cannot_be_added_twice)		/* SIGABRT */
{
	struct vq_vars v = { 0 };
	struct vq_type t = vq_type_of(VQ_F32, 0, NULL);

	vq_vars_add(&v, "w", VQ_PARAM, &t);
	vq_vars_add(&v, "w", VQ_PARAM, &t);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("vars");
	TCase *c = tcase_create("vars");
	SRunner *runner;
	int failed;

	tcase_add_test(c, draws_are_by_seed_and_name);
	tcase_add_test(c, normals_have_mean_and_deviation);
	tcase_add_test(c, truncated_normals_stay_within_two_deviations);
	tcase_add_test(c, a_copy_has_the_first_value);
	tcase_add_test(c, a_copy_of_what_was_loaded_has_that);
	tcase_add_test(c, what_does_not_fit_is_named);
	tcase_add_test_raise_signal(c, a_name_cannot_be_added_twice, 6);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
