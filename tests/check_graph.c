/*
 * check_graph -- passes and planner: a compiled plan computes what the graph
 * says, node by node in memory of its own
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/compile.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "engine/stage.h"
#include "ops/kernels/kernels.h"

/* --- the obvious executor ------------------------------------------------ */

/* Every value in memory of its own, every node by its kernel. */
static void
run_plainly(const struct vq_graph *g, struct vq_vars *vars, void **input, void **data)
{
	int next_input = 0;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *x = &g->value[v];
		if (x->kind == VQ_INPUT)
			data[v] = input[next_input++];
		else if (x->kind == VQ_CONST)
			data[v] = (void *)(uintptr_t)x->constant;
		else if (x->kind != VQ_COMPUTED)
			data[v] = vq_vars_find(vars, x->name)->data;
		else
			data[v] = vq_alloc_aligned(vq_type_bytes(&x->type) + 64);
	}
	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		struct vq_view in[VQ_MAX_IN], out[VQ_MAX_OUT];
		struct vq_type tin[VQ_MAX_IN], tout[VQ_MAX_OUT];
		for (int j = 0; j < n->nin; j++) {
			in[j] = (struct vq_view){ data[n->in[j]], vq_type_at(g, n->in[j]) };
			tin[j] = *in[j].type;
		}
		for (int j = 0; j < n->nout; j++) {
			out[j] = (struct vq_view){ data[n->out + j], vq_type_at(g, n->out + j) };
			tout[j] = *out[j].type;
		}
		struct vq_cost cost = { .params = n->params, .nin = n->nin, .nout = n->nout, .in = tin, .out = tout,
		    .threads = 1 };
		size_t bytes = n->op->scratch ? n->op->scratch(&cost) : 0;
		void *scratch = bytes ? vq_alloc_aligned(bytes) : NULL;
		struct vq_call call = { .params = n->params, .nin = n->nin, .nout = n->nout, .in = in, .out = out,
		    .k = vq_kernels(), .threads = 1, .scratch = scratch, .key = { 7, n->key, 0 } };
		if (n->op->flags & VQ_OP_ALIAS)
			memcpy(out[0].data, in[0].data, vq_type_bytes(out[0].type));
		else
			(n->op->run ? n->op->run : n->op->ref)(&call);
		free(scratch);
	}
}

static void
free_plain(const struct vq_graph *g, void **data)
{
	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_COMPUTED)
			free(data[v]);
	free(data);
}

/* --- random graphs ------------------------------------------------------- */

static uint64_t
draw(uint64_t *state, uint64_t n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (*state >> 33) % n;
}

static const char *const unaries[] = { "tanh", "relu", "neg", "sigmoid", "square", "gelu", "silu", "abs" };
static const char *const binaries[] = { "add", "sub", "mul", "maximum", "minimum" };

static struct vq_type
random_type(uint64_t *s)
{
	static const int64_t dims[][3] = { { 4, 3, 8 }, { 1, 1, 8 }, { 4, 3, 1 }, { 1, 1, 1 }, { 4, 3, 8 } };

	return vq_type_of(VQ_F32, 3, dims[draw(s, VQ_COUNT(dims))]);
}

static vq_id
random_node(struct vq_graph *g, uint64_t *s, const vq_id *pool, int n)
{
	vq_id a = pool[draw(s, (uint64_t)n)], b = pool[draw(s, (uint64_t)n)];
	struct vq_shape flat = vq_shape_of(2, (int64_t[]){ 12, 8 });

	switch (draw(s, 8)) {
	case 0: case 1:
		return vq_unary(g, unaries[draw(s, VQ_COUNT(unaries))], a);
	case 2:
		return vq_mean(g, a, 1u << draw(s, 3), true);
	case 3:
		if (vq_shape_count(&g->value[a].type.shape) == 96) {
			vq_id w = vq_graph_find(g, "w");
			vq_id y = vq_matmul(g, vq_reshape(g, a, &flat), w, false, draw(s, 2));
			return vq_reshape(g, y, &g->value[a].type.shape);
		}
		return vq_scale(g, a, 0.5);
	case 4:
		return vq_offset(g, vq_scale(g, a, -0.25), 0.125);
	default:
		return VQ_EMIT2(g, binaries[draw(s, VQ_COUNT(binaries))], a, b, " ");
	}
}

/* A random graph of a loss, its gradients and updates of two parameters. */
static struct vq_graph *
random_graph(uint64_t seed, struct vq_diags *d)
{
	struct vq_graph *g = vq_graph_new("random", d);
	struct vq_type square = vq_type_of(VQ_F32, 2, (int64_t[]){ 8, 8 }), bias = vq_type_of(VQ_F32, 1, (int64_t[]){ 8 });
	uint64_t s = seed * 977 + 5;
	vq_id pool[64], leaf[2], grad[2];
	int n = 0;

	for (int i = 0; i < 3; i++) {
		char name[8];
		struct vq_type t = i == 0 ? vq_type_of(VQ_F32, 3, (int64_t[]){ 4, 3, 8 }) : random_type(&s);
		snprintf(name, sizeof(name), "x%d", i);
		pool[n++] = vq_graph_leaf(g, VQ_INPUT, name, &t);
	}
	leaf[0] = vq_graph_leaf(g, VQ_PARAM, "w", &square);
	leaf[1] = vq_graph_leaf(g, VQ_PARAM, "b", &bias);
	for (int i = 0; i < 2; i++)
		g->value[leaf[i]].init = (struct vq_init){ .kind = VQ_INIT_UNIFORM, .a = -0.5, .b = 0.5 };
	pool[n++] = vq_add(g, pool[0], leaf[1]);
	for (int i = 0, more = 5 + (int)draw(&s, 30); i < more; i++, n++)
		pool[n] = random_node(g, &s, pool, n);
	vq_id loss = vq_mean(g, pool[n - 1], 7, false);
	ck_assert_int_eq(vq_gradient(g, loss, VQ_NONE, leaf, 2, grad), 0);
	for (int i = 0; i < 2; i++)
		vq_graph_store(g, leaf[i], vq_sub(g, leaf[i], vq_scale(g, grad[i], 0.1)));
	vq_graph_output(g, "loss", loss);
	vq_graph_output(g, "some", pool[draw(&s, (uint64_t)n)]);
	vq_graph_output(g, "gw", grad[0]);
	return g;
}

static void
fill_input(float *x, int64_t n, uint64_t seed)
{
	const struct vq_rng_key key = { seed, 1, 0 };

	vq_rng_normals(&key, 0, x, n);
}

static void
assert_close(const float *a, const float *b, int64_t n, uint64_t seed, const char *what)
{
	for (int64_t i = 0; i < n; i++)
		if (!(fabsf(a[i] - b[i]) <= 2e-5f * (1 + fabsf(b[i]))))
			ck_abort_msg("graph %llu: %s[%lld] is %g, must be %g", (unsigned long long)seed, what,
			    (long long)i, (double)a[i], (double)b[i]);
}

/* Two steps of a compiled plan against the plain executor on the same leaves. */
static void
compare_graph(uint64_t seed, const struct vq_compile *how)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = random_graph(seed, &d), *same = random_graph(seed, &d);
	struct vq_vars a = { 0 }, b = { 0 };
	void *input[3];
	struct vq_view v;

	ck_assert_int_eq(vq_vars_bind(&a, g, 3, &d) | vq_vars_bind(&b, g, 3, &d), 0);
	for (int i = 0; i < 3; i++) {
		int64_t n = vq_shape_count(&g->value[i].type.shape);
		input[i] = vq_alloc_aligned((size_t)n * 4 + 64);
		fill_input(input[i], n, seed + (uint64_t)i);
	}
	struct vq_plan *p = vq_compile(same, how, &d);
	ck_assert_ptr_nonnull(p);
	vq_plan_attach(p, &a, NULL);
	for (int i = 0; i < 3; i++)
		vq_plan_input(p, g->value[i].name, input[i]);
	for (int step = 0; step < 2; step++) {
		void **data = vq_alloc_array((size_t)g->values, sizeof(*data));
		run_plainly(g, &b, input, data);
		vq_plan_run(p, 7, 0);
		for (int o = 0; o < g->outputs; o++) {
			ck_assert(vq_plan_output(p, g->output[o].name, &v));
			assert_close(v.data, data[g->output[o].value], vq_shape_count(&v.type->shape), seed,
			    g->output[o].name);
		}
		for (int i = 0; i < g->stores; i++)
			memcpy(data[g->store[i].leaf], data[g->store[i].value],
			    vq_type_bytes(vq_type_at(g, g->store[i].leaf)));
		for (int i = 0; i < a.count; i++)
			assert_close(a.var[i].data, b.var[i].data, vq_shape_count(&a.var[i].type.shape), seed,
			    a.var[i].name);
		free_plain(g, data);
	}
	vq_plan_free(p);
	vq_graph_free(g);
	vq_vars_free(&a);
	vq_vars_free(&b);
	for (int i = 0; i < 3; i++)
		free(input[i]);
	vq_diags_free(&d);
}

START_TEST(random_graphs_planned_and_fused)
{
	for (uint64_t seed = 0; seed < 500; seed++)
		compare_graph(seed, &(struct vq_compile){ .threads = 2 });
}
END_TEST

START_TEST(random_graphs_planned_only)
{
	for (uint64_t seed = 0; seed < 200; seed++)
		compare_graph(seed, &(struct vq_compile){ .threads = 1, .no_fuse = true });
}
END_TEST

START_TEST(random_graphs_by_reference)
{
	for (uint64_t seed = 0; seed < 200; seed++)
		compare_graph(seed, &(struct vq_compile){ .threads = 1, .reference = true });
}
END_TEST

/* --- single facts -------------------------------------------------------- */

static struct vq_graph *
two_inputs(struct vq_diags *d, vq_id *a, vq_id *b)
{
	struct vq_graph *g = vq_graph_new("two", d);
	struct vq_type t = vq_type_of(VQ_F32, 2, (int64_t[]){ 64, 32 });

	*a = vq_graph_leaf(g, VQ_INPUT, "a", &t);
	*b = vq_graph_leaf(g, VQ_INPUT, "b", &t);
	return g;
}

START_TEST(twins_and_identities_go)
{
	struct vq_diags d = { 0 };
	vq_id a, b;
	struct vq_graph *g = two_inputs(&d, &a, &b);
	vq_id x = vq_add(g, a, b), y = vq_add(g, a, b);

	vq_graph_output(g, "y", vq_mul(g, vq_add(g, x, vq_scalar_like(g, x, 0)), vq_mul(g, y, vq_scalar_like(g, y, 1))));
	struct vq_plan *p = vq_compile(g, &(struct vq_compile){ .no_fuse = true }, &d);
	ck_assert_int_eq(p->graph->nodes, 2);	/* one add, one mul */
	vq_plan_free(p);
}
END_TEST

START_TEST(chains_become_one_node)
{
	struct vq_diags d = { 0 };
	vq_id a, b;
	struct vq_graph *g = two_inputs(&d, &a, &b);

	vq_graph_output(g, "y", vq_unary(g, "tanh", vq_mul(g, vq_unary(g, "relu", vq_add(g, a, b)), b)));
	struct vq_plan *p = vq_compile(g, NULL, &d);
	ck_assert_int_eq(p->graph->nodes, 1);
	ck_assert_str_eq(p->graph->node[0].op->name, "fused");
	vq_plan_free(p);
}
END_TEST

START_TEST(bias_and_activation_join_the_product)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("linear", &d);
	struct vq_type x = vq_type_of(VQ_F32, 2, (int64_t[]){ 16, 8 }), w = vq_type_of(VQ_F32, 2, (int64_t[]){ 8, 4 });
	struct vq_type bias = vq_type_of(VQ_F32, 1, (int64_t[]){ 4 });
	vq_id y = vq_matmul(g, vq_graph_leaf(g, VQ_INPUT, "x", &x), vq_graph_leaf(g, VQ_PARAM, "w", &w), false, false);

	vq_graph_output(g, "y", vq_unary(g, "relu", vq_add(g, y, vq_graph_leaf(g, VQ_PARAM, "b", &bias))));
	struct vq_plan *p = vq_compile(g, NULL, &d);
	ck_assert_int_eq(p->graph->nodes, 1);
	ck_assert_ptr_nonnull(p->graph->node[0].epilogue);
	vq_plan_free(p);
}
END_TEST

START_TEST(a_chain_of_large_values_lives_in_two_buffers)
{
	struct vq_diags d = { 0 };
	vq_id a, b;
	struct vq_graph *g = two_inputs(&d, &a, &b);
	vq_id x = a;

	for (int i = 0; i < 10; i++)
		x = VQ_EMIT1(g, "softmax", x, " ");
	vq_graph_output(g, "y", x);
	struct vq_plan *p = vq_compile(g, NULL, &d);
	ck_assert_int_le(p->arena_bytes, 2 * 64 * 32 * 4);
	vq_plan_free(p);
}
END_TEST

START_TEST(stores_swap_without_mixing)
{
	struct vq_diags d = { 0 };
	struct vq_graph *g = vq_graph_new("swap", &d);
	struct vq_type t = vq_type_of(VQ_F32, 1, (int64_t[]){ 4 });
	vq_id a = vq_graph_leaf(g, VQ_STATE, "a", &t), b = vq_graph_leaf(g, VQ_STATE, "b", &t);
	struct vq_vars vars = { 0 };

	g->value[a].init.a = 1;
	g->value[b].init.a = 2;
	vq_graph_store(g, a, b);
	vq_graph_store(g, b, vq_add(g, a, b));
	ck_assert_int_eq(vq_vars_bind(&vars, g, 1, &d), 0);
	struct vq_plan *p = vq_compile(g, NULL, &d);
	vq_plan_attach(p, &vars, NULL);
	vq_plan_run(p, 1, 0);
	vq_plan_run(p, 1, 1);
	ck_assert_float_eq(((float *)vq_vars_find(&vars, "a")->data)[3], 3);	/* 1,2 -> 2,3 -> 3,5 */
	ck_assert_float_eq(((float *)vq_vars_find(&vars, "b")->data)[3], 5);
	vq_plan_free(p);
	vq_vars_free(&vars);
}
END_TEST

START_TEST(no_gradient_is_an_error)
{
	struct vq_diags d = { 0 };
	vq_id a, b, grad;
	struct vq_graph *g = two_inputs(&d, &a, &b);
	struct vq_shape rows = vq_shape_of(1, (int64_t[]){ 64 });
	vq_id code = VQ_EMIT2(g, "nearest", a, b, " ");
	vq_id y = vq_cast(g, code, VQ_F32);

	(void)rows;
	ck_assert_int_eq(vq_gradient(g, vq_sum_all(g, y), VQ_NONE, &a, 1, &grad), 0);
	ck_assert_int_eq(vq_node_of(g, grad) ? vq_node_of(g, grad)->nin : 0, 1);	/* zeros: no path */
	vq_graph_free(g);
}
END_TEST

START_TEST(a_bad_shape_names_types_and_origin)
{
	struct vq_diags d = { 0 };
	vq_id a, b;
	struct vq_graph *g = two_inputs(&d, &a, &b);

	ck_assert_int_eq(vq_matmul(g, a, b, false, false), VQ_NONE);
	ck_assert_int_eq(d.count, 1);
	ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "inner sizes differ"));
	ck_assert_ptr_nonnull(strstr(d.diag[0]->line[0].text, "f32[64, 32]"));
	vq_diags_free(&d);
	vq_graph_free(g);
}
END_TEST

/* --- allocations --------------------------------------------------------- */

#ifndef VQ_SANITIZED
/* Every allocation of this process is counted; glibc's own functions do the work. */
static long allocations;
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n) { __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED); return __libc_malloc(n); }
void *calloc(size_t n, size_t s) { __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED); return __libc_calloc(n, s); }
void *realloc(void *p, size_t n) { __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED); return __libc_realloc(p, n); }

/* The same of whole training steps of a shipped model: convolutions, quantizer,
 * gradients, optimizer. */
START_TEST(no_allocation_inside_a_training_step)
{
	enum { BATCH = 6 };
	struct vq_diags d = { 0 };
	struct vq_vars vars = { 0 };
	struct vq_train t;
	struct vq_model *m = vq_model_load(VQ_SRCDIR "/graphs/vqvae_mnist.yaml", NULL, 0, &d);
	float *image = vq_alloc_aligned(BATCH * 28 * 28 * sizeof(float)), lr = 1e-3f, count = 1;

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(vq_train_read(m, 0, &t, &d), 0);
	struct vq_plan *p = vq_train_build(m, &t, BATCH, &(struct vq_compile){ .threads = 2 }, &vars, 1, &d);
	ck_assert_ptr_nonnull(p);
	fill_input(image, BATCH * 28 * 28, 5);
	ck_assert(vq_plan_input(p, "image", image) && vq_plan_input(p, "lr.0", &lr) &&
	    vq_plan_input(p, "count.0", &count));
	vq_plan_run(p, 1, 0);
	long before = allocations;
	bool finite = true;
	for (int i = 1; i < 4; i++)	/* Check's own assertions allocate */
		finite &= vq_plan_run_guarded(p, 1, (uint64_t)i);
	long after = allocations;
	ck_assert(finite);
	ck_assert_int_eq(after, before);
	vq_plan_free(p);
	vq_vars_free(&vars);
	vq_train_free(&t);
	vq_model_free(m);
	free(image);
}
END_TEST

START_TEST(no_allocation_inside_a_step)
{
	struct vq_diags d = { 0 };
	struct vq_vars vars = { 0 };
	struct vq_graph *g = random_graph(11, &d);
	void *input[3];

	ck_assert_int_eq(vq_vars_bind(&vars, g, 3, &d), 0);
	struct vq_plan *p = vq_compile(g, &(struct vq_compile){ .threads = 2 }, &d);
	vq_plan_attach(p, &vars, NULL);
	for (int i = 0; i < 3; i++) {
		char name[8];
		snprintf(name, sizeof(name), "x%d", i);
		input[i] = vq_alloc_aligned(4 * 96);
		vq_plan_input(p, name, input[i]);
	}
	vq_plan_run(p, 1, 0);		/* threads and their pools start here */
	long before = allocations;
	for (int i = 0; i < 5; i++)
		vq_plan_run(p, 1, (uint64_t)i);
	ck_assert_int_eq(allocations, before);
	vq_plan_free(p);
	vq_vars_free(&vars);
	for (int i = 0; i < 3; i++)
		free(input[i]);
}
END_TEST
#endif

int
main(void)
{
	Suite *s = suite_create("graph");
	TCase *t = tcase_create("graph");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, random_graphs_planned_and_fused);
	tcase_add_test(t, random_graphs_planned_only);
	tcase_add_test(t, random_graphs_by_reference);
	tcase_add_test(t, twins_and_identities_go);
	tcase_add_test(t, chains_become_one_node);
	tcase_add_test(t, bias_and_activation_join_the_product);
	tcase_add_test(t, a_chain_of_large_values_lives_in_two_buffers);
	tcase_add_test(t, stores_swap_without_mixing);
	tcase_add_test(t, no_gradient_is_an_error);
	tcase_add_test(t, a_bad_shape_names_types_and_origin);
#ifndef VQ_SANITIZED
	tcase_add_test(t, no_allocation_inside_a_step);
	tcase_add_test(t, no_allocation_inside_a_training_step);
#endif
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
