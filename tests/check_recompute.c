/*
 * check_recompute -- what is computed again for gradients, kept as bf16, or updated early: the same bits, in less memory
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compile.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "engine/stage.h"
#include "ops/kernels/kernels.h"

struct step {
	struct vq_diags d;
	struct vq_model *m;
	struct vq_train t;
	struct vq_vars vars;
	struct vq_plan *p;
	void **input;		/* by value */
	float lr, count;
};

struct model {
	const char *file, *stage;
	struct vq_override set[3];
	int sets;
	int64_t batch;
	bool bf16;
	double most;		/* bytes, of those with everything kept */
};

static const struct model models[] = {
	/* layer norms after the sum, dropout, relu */
	{ "prior_fashion_small", "prior", { { "modules.prior.gpt.width=64" }, { "modules.prior.gpt.layers=3" } }, 2, 48, false, 0.95 },
	/* layer norms before, gelu */
	{ "prior_mnist", "prior", { { "modules.prior.gpt.layers=3" } }, 1, 16, false, 0.9 },
	{ "prior_mnist", "prior", { { "modules.prior.gpt.layers=3" } }, 1, 16, true, 0.9 },
	/* group norms, silu, a discriminator, values whose gradient is asked for in the model */
	{ "vqgan_cifar10", "tokenizer", { { 0 } }, 0, 4, false, 0.9 },
};

static void
open_as(struct step *s, const struct model *x, const struct vq_compile *how)
{
	char *path = vq_asprintf("%s/graphs/%s.yaml", VQ_SRCDIR, x->file);

	*s = (struct step){ .lr = 1e-3f };
	s->m = vq_model_load(path, x->set, x->sets, &s->d);
	ck_assert_msg(s->m != NULL, "%s", s->d.count ? s->d.diag[0]->message : path);
	ck_assert_int_eq(vq_train_read(s->m, vq_stage_find(s->m, x->stage, &s->d), &s->t, &s->d), 0);
	s->p = vq_train_build(s->m, &s->t, x->batch, how, &s->vars, 1, &s->d);
	ck_assert_ptr_nonnull(s->p);

	const struct vq_graph *g = s->p->graph;

	s->input = vq_alloc_array((size_t)g->values + 1, sizeof(*s->input));
	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *in = &g->value[v];
		struct vq_view view = { NULL, &in->type };
		struct vq_rng_key key = { .seed = 3, .purpose = in->name ? vq_hash_str(in->name) : 0 };
		bool real = vq_is_float(in->type.dtype);

		if (in->kind != VQ_INPUT)
			continue;
		s->input[v] = view.data = vq_alloc_aligned(vq_type_bytes(&in->type) + 1);
		for (int64_t i = 0; i < vq_shape_count(&in->type.shape); i++)
			vq_set(&view, i, real ? vq_rng_uniform(&key, (uint64_t)i) : (double)vq_rng_below(&key, (uint64_t)i, 9));
		ck_assert(vq_plan_input(s->p, in->name, s->input[v]));
	}
	vq_plan_input(s->p, "lr.0", &s->lr);
	vq_plan_input(s->p, "lr.1", &s->lr);
	vq_plan_input(s->p, "count.0", &s->count);
	vq_plan_input(s->p, "count.1", &s->count);
	free(path);
}

static void
open_step(struct step *s, const struct model *x, bool keep)
{
	struct vq_compile how = { .threads = 2, .keep_below = keep ? INT64_MAX : 16 << 20, .bf16 = x->bf16 };

	open_as(s, x, &how);
}

static void
close_step(struct step *s)
{
	for (vq_id v = 0; v < s->p->graph->values; v++)
		free(s->input[v]);
	free(s->input);
	vq_plan_free(s->p);
	vq_vars_free(&s->vars);
	vq_train_free(&s->t);
	vq_model_free(s->m);
	vq_diags_free(&s->d);
}

static void
check_same(const struct step *a, const struct step *b)
{
	ck_assert_int_eq(a->vars.count, b->vars.count);
	for (int i = 0; i < a->vars.count; i++) {
		const struct vq_var *x = &a->vars.var[i], *y = vq_vars_find(&b->vars, x->name);

		ck_assert_ptr_nonnull(y);
		ck_assert_msg(memcmp(x->data, y->data, vq_type_bytes(&x->type)) == 0, "%s has other bits", x->name);
	}
}

/* Both take two steps and end there. */
static void
check_two_steps(struct step *a, struct step *b)
{
	for (int i = 0; i < 2; i++) {
		a->count = b->count = (float)i + 1;
		ck_assert(vq_plan_run_guarded(a->p, 5, (uint64_t)i));
		ck_assert(vq_plan_run_guarded(b->p, 5, (uint64_t)i));
	}
	check_same(a, b);
	close_step(a);
	close_step(b);
}

START_TEST(the_same_bits_in_less_memory)
{
	const struct model *x = &models[_i];
	struct step kept, again;

	open_step(&kept, x, true);
	open_step(&again, x, false);
	ck_assert_msg((double)again.p->arena_bytes < x->most * (double)kept.p->arena_bytes, "%s: %lld bytes, %lld with everything kept",
	    x->file, (long long)again.p->arena_bytes, (long long)kept.p->arena_bytes);
	check_two_steps(&kept, &again);
}
END_TEST

/* relu after a layer norm, gelu, dropout of attention; on each instruction set, whose words differ. */
static const struct model halves[] = {
	{ "prior_fashion_small", "prior", { { "modules.prior.gpt.width=64" }, { "modules.prior.gpt.layers=2" } }, 2, 16, true, 0.85 },
	{ "prior_mnist", "prior", { { "modules.prior.gpt.layers=2" }, { "modules.prior.gpt.dropout=0.1" } }, 2, 8, true, 0.8 },
	{ "masked_fashion", "prior", { { "modules.prior.gpt.layers=2" } }, 1, 16, true, 0.8 },
	{ "resnet_prior_fashion", "prior", { { 0 } }, 0, 8, true, 0.95 },
	/* convolutions with strides, forward and transposed, relu */
	{ "vqvae_mnist", "vqvae", { { 0 } }, 0, 64, true, 0.7 },
	/* batch norms, elu; group norms, silu, a discriminator, products that make four channels */
	{ "resnet_vqvae_fashion", "vqvae", { { 0 } }, 0, 16, true, 0.65 },
	{ "vqgan_cifar10", "tokenizer", { { 0 } }, 0, 4, true, 0.9 },
};
enum { HALVES = sizeof(halves) / sizeof(*halves) };

START_TEST(the_same_bits_kept_as_bf16)
{
	const struct model *x = &halves[_i % HALVES];
	struct vq_compile plain = { .threads = 2, .bf16 = true, .no_narrow = true, .keep_below = INT64_MAX };
	struct vq_compile narrow = { .threads = 2, .bf16 = true, .keep_below = INT64_MAX };
	struct step full, half;

	const struct vq_kernels *k = vq_kernels_of((enum vq_isa)(_i / HALVES));
	if (k == NULL)
		return;
	open_as(&full, x, &plain);
	open_as(&half, x, &narrow);
	for (int i = 0; i < full.p->steps; i++)
		full.p->step[i].call.k = half.p->step[i].call.k = k;
	ck_assert_int_eq(full.p->steps, half.p->steps);
	ck_assert_msg((double)half.p->arena_bytes < x->most * (double)full.p->arena_bytes, "%s: %lld bytes, %lld as f32",
	    x->file, (long long)half.p->arena_bytes, (long long)full.p->arena_bytes);
	check_two_steps(&full, &half);
}
END_TEST

/* Nor is anything computed that nobody reads: what is first wanted late is not computed early, too. */
START_TEST(nothing_in_vain)
{
	struct model x = { "masked_fashion", "prior", { { 0 } }, 0, 128, true, 1 };
	struct step again;

	open_step(&again, &x, false);
	const struct vq_graph *g = again.p->graph;
	int *uses = vq_graph_uses(g);
	for (int i = 0; i < g->nodes; i++) {
		int sum = 0;
		for (int o = 0; o < g->node[i].nout; o++)
			sum += uses[g->node[i].out + o];
		ck_assert_msg(sum > 0, "node %d, %s", i, g->node[i].op->name);
	}
	free(uses);
	close_step(&again);
}
END_TEST

/* A step of a few megabytes is left as it is. */
START_TEST(small_steps_keep_everything)
{
	struct model x = { .file = "vqvae_mnist_small", .stage = "vqvae", .batch = 4 };
	struct step kept, again;

	open_step(&kept, &x, true);
	open_step(&again, &x, false);
	ck_assert_int_eq(again.p->graph->nodes, kept.p->graph->nodes);
	ck_assert_int_eq(again.p->arena_bytes, kept.p->arena_bytes);
	close_step(&kept);
	close_step(&again);
}
END_TEST

/* Parameters that outweigh activations; state that the forward part moves; two networks in turn. */
static const struct model updated[] = {
	{ "vqvae_transformer", "vqvae", { { 0 } }, 0, 2, false, 0 },
	{ "vqvae_cifar10_ema", "vqvae", { { 0 } }, 0, 2, false, 0 },
	{ "vqgan_cifar10", "tokenizer", { { 0 } }, 0, 2, false, 0 },
};

/* Gradients that wait for their update at the same time, at most; in bytes. */
static int64_t
waiting(const struct vq_plan *p)
{
	const struct vq_graph *g = p->graph;
	int64_t most = 0;

	for (int now = 0; now < g->nodes; now++) {
		int64_t sum = 0;
		for (int i = now; i < g->nodes; i++) {
			const struct vq_place *at = &p->place[g->node[i].in[g->node[i].nin > 1]];
			if (strcmp(g->node[i].op->name, "adam") == 0 && at->kind == VQ_PLACE_ARENA && at->from <= now)
				sum += at->size;
		}
		most = sum > most ? sum : most;
	}
	return most;
}

START_TEST(updated_as_gradients_come)
{
	struct vq_compile how = { .threads = 2 };
	struct step s;
	int64_t largest = 0;

	open_as(&s, &updated[_i], &how);
	const struct vq_graph *g = s.p->graph;

	ck_assert_int_le(s.p->copies, 1);
	for (int i = 0; i < g->stores; i++) {
		const struct vq_value *v = &g->value[g->store[i].value];
		if (v->kind == VQ_COMPUTED && g->value[g->store[i].leaf].kind == VQ_PARAM)
			ck_assert_msg(v->node > s.p->guard, "%s is written before the loss is known", g->value[g->store[i].leaf].name);
		int64_t size = (int64_t)vq_type_bytes(&v->type);
		largest = size > largest ? size : largest;
	}
	ck_assert_int_gt(waiting(s.p), 0);
	ck_assert_msg(waiting(s.p) <= 2 * largest, "%lld bytes of gradients wait, the largest is of %lld", (long long)waiting(s.p), (long long)largest);
	close_step(&s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("recompute");
	TCase *t = tcase_create("recompute");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, the_same_bits_in_less_memory, 0, (int)(sizeof(models) / sizeof(*models)));
	tcase_add_loop_test(t, the_same_bits_kept_as_bf16, 0, HALVES * VQ_ISA_AMX);
	tcase_add_test(t, nothing_in_vain);
	tcase_add_test(t, small_steps_keep_everything);
	tcase_add_loop_test(t, updated_as_gradients_come, 0, (int)(sizeof(updated) / sizeof(*updated)));
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
