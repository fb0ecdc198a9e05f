/*
 * check_systems -- the shipped systems against PyTorch: number of parameters, the
 * losses of a batch, the gradient of every parameter
 *
 * tests/oracle/systems.py wrote the numbers, from double precision, with the parameters that
 * this program draws, too.
 */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/compile.h"
#include "engine/model.h"

#define ORACLE VQ_SRCDIR "/tests/oracle/"
#define TOLERANCE 1e-4
/* Beside the largest norm, a gradient that is nothing but rounding: a bias before a norm. */
#define NOTHING 1e-5

static const char *const systems[] = {
	"resnet_vqvae_fashion", "resnet_vqvae_celeba", "resnet_prior_fashion", "resnet_prior_fashion_plain",
	"vqvae_transformer", "vqvae_transformer_grey", "vqvae_transformer_prior",
	"vqvae_fashion_small", "prior_fashion_small",
	"vqvae_mnist_small", "vqvae_cifar10", "vqvae_cifar10_ema",
	"transformer_options",
	"vqgan_cifar10", "vqgan_cifar10_options", "vqgan_cifar10_vanilla", "vqgan_256", "features_vgg16",
};

static struct vq_diags diags;

static void
no_errors(const void *result)
{
	if (diags.total > 0)
		vq_diags_print(&diags, stdout, false);
	ck_assert(result != NULL && diags.total == 0);
}

/* --- inputs --------------------------------------------------------------- */

/* Of 24 bits; systems.py has the same. */
static uint32_t
hash(int64_t i, unsigned salt)
{
	uint32_t x = (uint32_t)i * 2654435761u + 0x9e3779b9u * (salt + 1);

	x ^= x >> 16;
	x *= 0x45d9f3bu;
	x ^= x >> 16;
	return x >> 8;
}

/* Element i of the vector that gradients are multiplied with, from -1 to 1. */
static double
weight(int64_t i)
{
	return hash(i, 0) / 8388608.0 - 1;
}

static struct vq_type
input_type(const json_t *spec)
{
	const json_t *shape = json_object_get(spec, "shape");
	struct vq_type t = { .dtype = json_object_get(spec, "below") ? VQ_I32 : VQ_F32 };

	t.shape.rank = (int)json_array_size(shape);
	for (int a = 0; a < t.shape.rank; a++)
		t.shape.dim[a] = json_integer_value(json_array_get(shape, (size_t)a));
	return t;
}

static void *
make_input(const json_t *spec, unsigned salt)
{
	struct vq_type t = input_type(spec);
	int64_t n = vq_shape_count(&t.shape), below = json_integer_value(json_object_get(spec, "below"));
	const json_t *range = json_object_get(spec, "range");
	double low = json_number_value(json_array_get(range, 0)), high = json_number_value(json_array_get(range, 1));
	struct vq_view to = { vq_alloc(vq_type_bytes(&t)), &t };

	for (int64_t i = 0; i < n; i++)
		vq_set(&to, i, below ? (double)(hash(i, salt) % below) : low + (high - low) * (hash(i, salt) / 16777216.0));
	return to.data;
}

/* --- the graph ------------------------------------------------------------- */

enum { MOST = 512 };

struct system {
	json_t *j;
	struct vq_model *model;
	struct vq_graph *graph;
	struct vq_vars vars;
	struct vq_plan *plan;
	vq_id param[MOST];
	char *name[MOST];		/* of the outputs that are their gradients */
	int params;
	void *input[8];
};

static void
load(struct system *s, const char *name)
{
	char *path = vq_asprintf(ORACLE "%s.json", name), *file;
	json_error_t e;
	const json_t *set, *value;
	struct vq_override list[16];
	size_t i;

	s->j = json_load_file(path, 0, &e);
	ck_assert_msg(s->j != NULL, "%s:%d: %s", path, e.line, e.text);
	set = json_object_get(s->j, "set");
	ck_assert_uint_le(json_array_size(set), VQ_COUNT(list));
	json_array_foreach(set, i, value)
		list[i].text = json_string_value(value);
	file = vq_asprintf(VQ_SRCDIR "/%s", json_string_value(json_object_get(s->j, "file")));
	s->model = vq_model_load(file, list, (int)json_array_size(set), &diags);
	no_errors(s->model);
	free(file);
	free(path);
}

/* Sizes that the graph leaves free are those of the inputs. */
static void
expand(struct system *s)
{
	const char *graph = json_string_value(json_object_get(s->j, "graph")), *name, *size[VQ_MAX_RANK];
	const json_t *inputs = json_object_get(s->j, "inputs");
	struct vq_size sizes[8 * VQ_MAX_RANK];
	int n = 0, rank;

	for (int i = 0; (name = vq_model_input(s->model, graph, i, &rank, size)) != NULL; i++)
		for (int a = 0; a < rank; a++)
			if (size[a])
				sizes[n++] = (struct vq_size){ size[a],
				    input_type(json_object_get(inputs, name)).shape.dim[a] };
	s->graph = vq_model_expand(s->model, graph, true, sizes, n, &diags);
	no_errors(s->graph);
}

/* The loss whose gradient a parameter gets: that of the longest beginning of its name. */
static const char *
minimized(const struct system *s, const char *param)
{
	const char *begins, *loss = "loss";
	json_t *value;
	size_t longest = 0;

	json_object_foreach(json_object_get(s->j, "minimize"), begins, value) {
		size_t n = strlen(begins);
		if (n >= longest && strncmp(param, begins, n) == 0) {
			longest = n;
			loss = json_string_value(value);
		}
	}
	return loss;
}

/* Gradients of one loss, with respect to the parameters that get them. */
static void
gradients_of(struct system *s, const char *loss, vq_id *grad)
{
	vq_id mine[MOST], d[MOST];
	int n = 0;

	for (int i = 0; i < s->params; i++)
		if (strcmp(minimized(s, s->name[i]), loss) == 0)
			mine[n++] = s->param[i];
	ck_assert_int_eq(vq_gradient(s->graph, vq_graph_find_output(s->graph, loss), VQ_NONE, mine, n, d), 0);
	n = 0;
	for (int i = 0; i < s->params; i++)
		if (strcmp(minimized(s, s->name[i]), loss) == 0)
			grad[i] = d[n++];
}

static void
ask_for_gradients(struct system *s)
{
	vq_id grad[MOST];
	const json_t *values = json_object_get(s->j, "values");
	const char *value;
	json_t *number;

	for (vq_id v = 0; v < s->graph->values; v++)
		if (s->graph->value[v].kind == VQ_PARAM) {
			ck_assert_int_lt(s->params, MOST);
			s->name[s->params] = vq_asprintf("%s", s->graph->value[v].name);
			s->param[s->params++] = v;
		}
	json_object_foreach((json_t *)values, value, number)
		vq_graph_output(s->graph, value, vq_graph_find_output(s->graph, value));
	for (int i = 0; i < s->params; i++) {
		bool first = true;
		for (int k = 0; k < i; k++)
			first &= strcmp(minimized(s, s->name[k]), minimized(s, s->name[i])) != 0;
		if (first)
			gradients_of(s, minimized(s, s->name[i]), grad);
	}
	for (int i = 0; i < s->params; i++) {
		char *name = vq_asprintf("gradient of %s", s->name[i]);
		vq_graph_output(s->graph, name, grad[i]);
		free(name);
	}
}

static void
run(struct system *s)
{
	const char *name;
	json_t *spec;
	unsigned i = 0;

	s->plan = vq_compile(s->graph, &(struct vq_compile){ 0 }, &diags);
	no_errors(s->plan);
	ck_assert_int_eq(vq_vars_bind(&s->vars, s->plan->graph,
	    (uint64_t)json_integer_value(json_object_get(s->j, "seed")), &diags), 0);
	vq_plan_attach(s->plan, &s->vars, NULL);
	json_object_foreach(json_object_get(s->j, "inputs"), name, spec) {
		s->input[i] = make_input(spec, i + 1);
		ck_assert_msg(vq_plan_input(s->plan, name, s->input[i]), "there is no input '%s'", name);
		i++;
	}
	vq_plan_run(s->plan, 1, 0);
}

static void
release(struct system *s)
{
	for (int i = 0; i < s->params; i++)
		free(s->name[i]);
	for (size_t i = 0; i < VQ_COUNT(s->input); i++)
		free(s->input[i]);
	vq_plan_free(s->plan);
	vq_vars_free(&s->vars);
	vq_model_free(s->model);
	json_decref(s->j);
}

/* --- what is compared ------------------------------------------------------- */

static void
close_to(double got, double want, double allowed, const char *what, const char *of)
{
	ck_assert_msg(fabs(got - want) <= allowed, "%s of the gradient of %s: %.9g, PyTorch has %.9g", what, of, got, want);
}

/*
 * The gradient's norm, sum, and product with `weight`. A difference d, at most
 * TOLERANCE of the norm, changes the sum by at most sqrt(count) |d|, and the product by
 * about |d| / sqrt(3).
 */
static void
compare_gradient(const struct system *s, const char *name, const json_t *row, double largest)
{
	double want[3], norm = 0, sum = 0, product = 0, allowed;
	char *output = vq_asprintf("gradient of %s", name);
	struct vq_view g;

	for (size_t k = 0; k < 3; k++)
		want[k] = json_number_value(json_array_get(row, k));
	ck_assert_msg(vq_plan_output(s->plan, output, &g), "there is no parameter '%s'", name);
	int64_t n = vq_shape_count(&g.type->shape);
	for (int64_t i = 0; i < n; i++) {
		double x = vq_get(&g, i);
		norm += x * x;
		sum += x;
		product += x * weight(i);
	}
	norm = sqrt(norm);
	allowed = fmax(TOLERANCE * want[0], NOTHING * largest);
	close_to(norm, want[0], allowed, "norm", name);
	close_to(sum, want[1], allowed * sqrt((double)n), "sum", name);
	close_to(product, want[2], allowed * 2, "product", name);
	free(output);
}

static void
compare_value(const struct system *s, const char *name, double want)
{
	ck_assert_msg(fabs(vq_plan_scalar(s->plan, name) - want) <= TOLERANCE * fabs(want), "%s: %.9g, PyTorch has %.9g", name,
	    vq_plan_scalar(s->plan, name), want);
}

START_TEST(test_system)
{
	struct system s = { 0 };
	const char *name;
	json_t *row, *gradients;
	double largest = 0;
	int64_t count = 0;

	setenv("VQGRAPH_GRAPHS", VQ_SRCDIR "/graphs", 1);
	load(&s, systems[_i]);
	expand(&s);
	for (vq_id v = 0; v < s.graph->values; v++)
		if (s.graph->value[v].kind == VQ_PARAM)
			count += vq_shape_count(&s.graph->value[v].type.shape);
	ck_assert_int_eq(count, json_integer_value(json_object_get(s.j, "parameters")));
	ask_for_gradients(&s);
	run(&s);
	if (json_object_get(s.j, "loss"))
		compare_value(&s, "loss", json_number_value(json_object_get(s.j, "loss")));
	json_object_foreach(json_object_get(s.j, "values"), name, row)
		compare_value(&s, name, json_number_value(row));
	gradients = json_object_get(s.j, "gradients");
	ck_assert_int_eq(s.params, (int)json_object_size(gradients));
	json_object_foreach(gradients, name, row)
		largest = fmax(largest, json_number_value(json_array_get(row, 0)));
	json_object_foreach(gradients, name, row)
		compare_gradient(&s, name, row, largest);
	release(&s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("systems");
	TCase *t = tcase_create("systems");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_system, 0, VQ_COUNT(systems));
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
