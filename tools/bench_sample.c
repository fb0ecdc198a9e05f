/*
 * bench_sample -- `vqgraph bench --stage` of a stage that draws samples
 *
 * Rounds of one batch each, with the weights as they are first drawn: speed does not
 * depend on what they are.
 */
#include <stdlib.h>

#include "engine/sample.h"
#include "ops/kernels/kernels.h"
#include "tools/bench.h"

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int
report(struct vq_cli *c, const struct vq_sample *s, int64_t batch, double *ms, int64_t rounds)
{
	qsort(ms, (size_t)rounds, sizeof(*ms), by_value);
	double median = rounds % 2 ? ms[rounds / 2] : (ms[rounds / 2 - 1] + ms[rounds / 2]) / 2;
	json_t *top = json_pack("{s:s, s:I, s:I, s:I, s:{s:f, s:f, s:f}, s:f, s:i, s:s, s:s}", "stage", s->name,
	    "batch", (json_int_t)batch, "length", (json_int_t)vq_sample_tokens(s), "rounds", (json_int_t)rounds,
	    "round_ms", "median", median, "min", ms[0], "max", ms[rounds - 1],
	    "tokens_per_s", (double)(batch * vq_sample_tokens(s)) / (1e-3 * median), "threads", vq_threads(), "isa", vq_kernels()->name,
	    "precision", vq_precisions[s->precision == VQ_SAMPLE_BF16 ? VQ_TOOL_BF16 : VQ_TOOL_F32]);

	return vq_tool_json(c, top, !c->json);
}

static int
time_rounds(struct vq_cli *c, const struct vq_sample *s, struct vq_sampler *sampler, int64_t batch,
    const struct vq_bench_rounds *o)
{
	struct vq_drawing w = { .n = batch };
	int32_t *class = vq_alloc_array((size_t)batch, sizeof(*class));
	double *ms = vq_alloc_array((size_t)o->rounds, sizeof(*ms));
	int error = 0;

	for (int64_t i = 0; i < batch; i++)
		class[i] = s->classes > 0 ? vq_sample_class(i, batch, s->classes) : 0;
	w.class = class;
	w.codes = vq_alloc_array((size_t)(batch * vq_sample_tokens(s)), sizeof(*w.codes));
	for (int64_t i = -o->warmup; i < o->rounds && error == 0; i++) {
		w.seed = (uint64_t)(i + o->warmup);
		error = vq_sampler_run(sampler, &w, &c->d);
		if (i >= 0)
			ms[i] = 1e3 * w.seconds;
	}
	if (error == 0)
		error = report(c, s, batch, ms, o->rounds);
	free(class);
	free(ms);
	free(w.codes);
	return error;
}

void
vq_bench_samples(struct vq_cli *c, const struct vq_model *m, int stage, const struct vq_bench_rounds *o)
{
	struct vq_sample s;
	struct vq_vars vars = { 0 };

	vq_threads_set((int)c->threads);
	if (vq_sample_read(m, stage, &s, &c->d) == 0 && vq_sample_bind(m, &s, &vars, o->seed, &c->d) == 0) {
		if (vq_cli_given(c, "precision"))
			s.precision = o->bf16 ? VQ_SAMPLE_BF16 : VQ_SAMPLE_F32;
		int64_t batch = o->batch ? o->batch : s.batch;
		struct vq_sampler *sampler = vq_sampler_new(m, &s, batch, &vars, (int)c->threads, &c->d);
		if (sampler)
			time_rounds(c, &s, sampler, batch, o);
		vq_sampler_free(sampler);
	}
	vq_vars_free(&vars);
	vq_sample_free(&s);
}
