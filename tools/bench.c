/*
 * bench -- `vqgraph bench`: times a stage's whole training steps on random data, or
 * what a stage draws (bench_sample.c)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/stage.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/kernels.h"
#include "tools/bench.h"

struct options {
	const char *stage;
	int64_t steps, warmup, batch, seed;
	int precision;
	bool profile, no_fuse, no_recompute;
};

/* An input of the training graph and the random data it is given. */
struct feed {
	const char *name;
	const struct vq_type *type;
	void *data;
	int64_t below;		/* integers are drawn below this */
};

struct bench {
	struct vq_cli *c;
	const struct options *o;
	struct vq_train t;
	int64_t batch;
	struct vq_plan *plan;
	struct vq_vars vars;
	struct feed *feed;
	int feeds;
	double *ms;
	double *node_s;		/* by node, all steps; profile only */
};

/* --- random data ----------------------------------------------------------- */

/* How many values an integer input may have, as its readers tell: a table's rows, a
 * one-hot's length, a distribution's size.  2 where none does. */
static int64_t
range_of(const struct vq_graph *g, vq_id input)
{
	int64_t least = 0;

	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		int64_t size = 0;

		for (int j = 0; j < n->nin; j++) {
			const struct vq_shape *first = &vq_type_at(g, n->in[0])->shape;
			const struct vq_shape *out = &vq_type_at(g, n->out)->shape;

			if (n->in[j] != input)
				continue;
			if (n->op->flags & VQ_OP_ALIAS)
				size = range_of(g, n->out);
			else if (strcmp(n->op->name, "lookup") == 0)
				size = first->dim[0];
			else if (strcmp(n->op->name, "one_hot") == 0)
				size = out->dim[out->rank - 1];
			else if (strncmp(n->op->name, "cross_entropy", 13) == 0 && first->rank > 0)
				size = first->dim[first->rank - 1];
		}
		if (size > 0 && (least == 0 || size < least))
			least = size;
	}
	return least;
}

static void
fill_random(const struct feed *f, uint64_t seed)
{
	struct vq_rng_key key = { .seed = seed, .purpose = vq_hash_str(f->name) };
	struct vq_view view = { f->data, f->type };
	int64_t n = vq_shape_count(&f->type->shape);

	for (int64_t i = 0; i < n; i++)
		vq_set(&view, i, vq_is_float(f->type->dtype) ? vq_rng_uniform(&key, (uint64_t)i) :
		    (double)vq_rng_below(&key, (uint64_t)i, (uint64_t)(f->below > 0 ? f->below : 2)));
}

static void
make_feeds(struct bench *b)
{
	const struct vq_graph *g = b->plan->graph;

	b->feed = vq_alloc_array((size_t)g->values + 1, sizeof(*b->feed));
	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		struct feed *f = &b->feed[b->feeds];

		if (val->kind != VQ_INPUT)
			continue;
		*f = (struct feed){ .name = val->name, .type = &val->type, .below = range_of(g, v) };
		f->data = vq_alloc_aligned(vq_type_bytes(&val->type));
		fill_random(f, (uint64_t)b->o->seed);
		vq_plan_input(b->plan, f->name, f->data);
		b->feeds++;
	}
}

/* What changes from step to step: "lr.<k>" and "count.<k>". */
static void
set_schedule(struct bench *b, int64_t step)
{
	for (int i = 0; i < b->feeds; i++) {
		struct vq_view view = { b->feed[i].data, b->feed[i].type };
		int k;

		if (sscanf(b->feed[i].name, "lr.%d", &k) == 1 && k >= 0 && k < b->t.updates)
			vq_set(&view, 0, b->t.update[k].opt.lr);
		else if (strncmp(b->feed[i].name, "count.", 6) == 0)
			vq_set(&view, 0, (double)step + 1);
	}
}

/* --- timing ---------------------------------------------------------------- */

static void
run_steps(struct bench *b)
{
	int64_t warmup = b->o->warmup, all = warmup + b->o->steps;

	b->ms = vq_alloc_array((size_t)b->o->steps, sizeof(*b->ms));
	b->node_s = vq_alloc_array((size_t)b->plan->steps + 1, sizeof(*b->node_s));
	for (int64_t i = 0; i < all; i++) {
		double start;

		set_schedule(b, i);
		start = vq_now();
		if (b->o->profile && i >= warmup)
			vq_plan_profile(b->plan, (uint64_t)b->o->seed, (uint64_t)i, b->node_s);
		else
			vq_plan_run(b->plan, (uint64_t)b->o->seed, (uint64_t)i);
		if (i >= warmup)
			b->ms[i - warmup] = 1e3 * (vq_now() - start);
		if (b->c->verbose)
			vq_notice(b->c, "step %lld: %.2f ms", (long long)i, 1e3 * (vq_now() - start));
	}
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* --- reports --------------------------------------------------------------- */

static struct vq_bench_profile
profile_of(const struct bench *b, double roof_gflops)
{
	for (int i = 0; i < b->plan->steps; i++)
		b->node_s[i] /= (double)b->o->steps;
	return (struct vq_bench_profile){ .plan = b->plan, .node_s = b->node_s, .roof_gflops = roof_gflops,
		.copy_gb_per_s = vq_copy_roof(b->plan->threads) };
}

static void
report(struct bench *b)
{
	int64_t n = b->o->steps;
	double median, flops = vq_plan_flops(b->plan), gflops, roof;
	json_t *top = json_object(), *ms = json_object();
	struct rusage usage = { 0 };

	getrusage(RUSAGE_SELF, &usage);		/* before the product that measures the roof */
	qsort(b->ms, (size_t)n, sizeof(*b->ms), by_value);
	median = n % 2 ? b->ms[n / 2] : (b->ms[n / 2 - 1] + b->ms[n / 2]) / 2;
	gflops = flops / (1e6 * median);
	roof = (b->t.bf16 ? vq_gemm_roof_bf16 : vq_gemm_roof)(b->plan->threads);
	json_object_set_new(ms, "median", json_real(median));
	json_object_set_new(ms, "min", json_real(b->ms[0]));
	json_object_set_new(ms, "max", json_real(b->ms[n - 1]));
	json_object_set_new(top, "stage", vq_json_text(b->t.name));
	json_object_set_new(top, "batch", json_integer(b->batch));
	json_object_set_new(top, "steps", json_integer(n));
	json_object_set_new(top, "step_ms", ms);
	json_object_set_new(top, "samples_per_s", vq_json_real((double)b->batch / (1e-3 * median)));
	json_object_set_new(top, "flops_per_step", json_real(flops));
	json_object_set_new(top, "gflops", vq_json_real(gflops));
	json_object_set_new(top, "roof_gflops", vq_json_real(roof));
	json_object_set_new(top, "share_of_roof", vq_json_real(gflops / roof));
	json_object_set_new(top, "arena_bytes", json_integer(b->plan->arena_bytes));
	json_object_set_new(top, "peak_rss_bytes", json_integer((json_int_t)usage.ru_maxrss * 1024));
	json_object_set_new(top, "threads", json_integer(b->plan->threads));
	json_object_set_new(top, "isa", json_string(vq_kernels()->name));
	json_object_set_new(top, "precision", json_string(vq_precisions[b->t.bf16 ? VQ_TOOL_BF16 : VQ_TOOL_F32]));

	struct vq_bench_profile p = { 0 };

	if (b->o->profile) {
		p = profile_of(b, roof);
		json_object_set_new(top, "copy_gb_per_s", vq_json_real(p.copy_gb_per_s));
	}
	if (b->o->profile && b->c->json)
		json_object_set_new(top, "profile", vq_bench_profile_json(&p));
	vq_tool_json(b->c, top, !b->c->json);
	if (b->o->profile && !b->c->json)
		vq_bench_profile_print(b->c, &p);
}

/* --- the command ----------------------------------------------------------- */

/* Reads the stage, or times it when it draws samples: `done` then. */
static int
find_stage(struct bench *b, const struct vq_model *m, bool *done)
{
	const char *name = b->o->stage;
	int i;

	if (!name && vq_model_stages(m) == 1)
		name = vq_model_stage_name(m, 0);
	if (!name) {
		struct vq_diag *e = vq_usage_error(b->c, "%s has %d stages: --stage NAME says which",
		    vq_model_path(m), vq_model_stages(m));

		for (i = 0; i < vq_model_stages(m); i++)
			vq_detail(e, NULL, "%s", vq_model_stage_name(m, i));
		return -1;
	}
	i = vq_stage_find(m, name, &b->c->d);
	if (i == VQ_NONE)
		return -1;

	int kind = vq_stage_kind(m, i, &b->c->d);
	if (kind < 0)
		return -1;
	if (kind == VQ_STAGE_SAMPLE && (b->o->profile || b->o->no_fuse || b->o->no_recompute)) {
		vq_usage_error(b->c, "stage %s draws samples: --%s is for training steps", name,
		    b->o->profile ? "profile" : b->o->no_fuse ? "no-fuse" : "no-recompute");
		return -1;
	}
	if (kind == VQ_STAGE_SAMPLE) {
		vq_bench_samples(b->c, m, i, &(struct vq_bench_rounds){ b->o->steps, b->o->warmup, b->o->batch,
		    (uint64_t)b->o->seed, b->o->precision == VQ_TOOL_BF16 });
		*done = true;
		return 0;
	}
	if (kind != VQ_STAGE_TRAIN) {
		vq_usage_error(b->c, "stage %s neither trains nor draws samples: there is no step to time", name);
		return -1;
	}
	return vq_train_read(m, i, &b->t, &b->c->d);
}

static int
run(struct vq_cli *c, void *options)
{
	const struct options *o = options;
	struct bench b = { .c = c, .o = o };
	struct vq_model *m;
	bool done = false;

	m = vq_tool_model(c);
	if (m && find_stage(&b, m, &done) == 0 && !done) {
		if (vq_cli_given(c, "precision"))
			b.t.bf16 = o->precision == VQ_TOOL_BF16;
		struct vq_compile how = { .no_fuse = o->no_fuse, .keep_below = o->no_recompute ? INT64_MAX : 0, .bf16 = b.t.bf16 };

		b.batch = o->batch ? o->batch : b.t.data.batch;
		b.plan = vq_train_build(m, &b.t, b.batch, &how, &b.vars, (uint64_t)o->seed, &c->d);
	}
	if (b.plan) {
		make_feeds(&b);
		run_steps(&b);
		report(&b);
	}
	for (int i = 0; i < b.feeds; i++)
		free(b.feed[i].data);
	free(b.feed);
	free(b.ms);
	free(b.node_s);
	vq_plan_free(b.plan);
	vq_vars_free(&b.vars);
	vq_train_free(&b.t);
	return (int)vq_diags_status(&c->d);
}

static const char *const batch_also[] = { "batch-size", "bs", NULL };
static const char *const steps_also[] = { "iterations", "repeat", NULL };

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "one that trains or draws samples (may be left out where there is one only)" },
	{ "steps", 'n', AT(VQ_O_INT, steps), "N", 1, 1e6, .also = steps_also,
	    .doc = "steps that are timed (default 20)" },
	{ "warmup", 'w', AT(VQ_O_INT, warmup), "W", 0, 1e6, .doc = "steps before them (default 3)" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e9, .also = batch_also,
	    .doc = "batch size (default: the stage's)" },
	{ "precision", 0, AT(VQ_O_ENUM, precision), "P", .choices = vq_precisions,
	    .doc = "of products and convolutions: f32, bf16 (default: the stage's)" },
	{ "profile", 0, AT(VQ_O_FLAG, profile), .doc = "a roofline: where the time goes, by kind of node, and what bounds it" },
	{ "seed", 's', AT(VQ_O_INT, seed), "N", 0, 9e15, .doc = "of parameters and data (default 1)" },
	{ "no-fuse", 0, AT(VQ_O_FLAG, no_fuse), .doc = "without fusing nodes" },
	{ "no-recompute", 0, AT(VQ_O_FLAG, no_recompute),
	    .doc = "keeping for gradients what is cheap to compute again, too" },
	{ 0 }
};
static const struct options defaults = { .steps = 20, .warmup = 3, .seed = 1 };
static const char *const examples[] = {
	"vqgraph bench graphs/vqvae_mnist.yaml --stage vqvae",
	    "step times, samples/s, and the share of the roof",
	"vqgraph bench model.yaml --stage prior --batch 32 -t 1 --profile", "and where the time goes",
	"vqgraph bench model.yaml --stage samples --batch 8", "tokens per second",
	NULL
};
static const char *const also[] = { "benchmark", "profile", "time", "speed", NULL };
extern const struct vq_command vq_command_bench;
const struct vq_command vq_command_bench = {
	.name = "bench",
	.args = "FILE [path=value ...]",
	.doc = "times whole training steps on random data",
	.about = "Prints one JSON object: step_ms {median, min, max}, samples_per_s, flops_per_step, gflops, "
	    "roof_gflops (a matrix product of 2048 x 2048 by 2048 in the same process: f32 by OpenBLAS, bf16 by vqgraph), share_of_roof, arena_bytes, "
	    "peak_rss_bytes, threads, isa, precision. Of a stage that draws samples: round_ms of one batch each, "
	    "tokens_per_s, batch, length, rounds, threads, isa. With --profile a table of the kinds of nodes follows, "
	    "or, with --json, its rows are in the object as `profile`: time, share, GFLOP/s, GB/s, the least time "
	    "at the speeds of a matrix product and of copying memory measured in the same process, and what bounds "
	    "the kind: arithmetic, memory, or overhead where it is below half of both.",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_MODEL | VQ_C_THREADS | VQ_C_JSON,
	.opts = opts,
	.defaults = &defaults,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
