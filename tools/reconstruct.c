/*
 * reconstruct -- `vqgraph reconstruct`: pictures through the tokenizer and back
 */
#include <stdlib.h>
#include <string.h>

#include "tools/codec.h"

/* The name of the input that has the reconstruction's type; NULL when none has. */
static const char *
original_of(struct vq_codec *k, const char *shown)
{
	vq_id v = vq_tool_value(k->c, k->g, shown, "show");
	char type[VQ_TYPE_STR];

	if (v == VQ_NONE)
		return NULL;
	for (vq_id i = 0; i < k->g->values; i++)
		if (k->g->value[i].kind == VQ_INPUT &&
		    vq_type_equal(vq_type_at(k->g, i), vq_type_at(k->g, v)))
			return vq_arena_strdup(&k->c->arena, k->g->value[i].name);
	vq_usage_error(k->c, "%s is %s, and graph %s has no input like it to compare it with", shown,
	    vq_type_str(vq_type_at(k->g, v), type), k->t.graph);
	return NULL;
}

static double
squared_error(const struct vq_view *a, const struct vq_view *b)
{
	int64_t n = vq_shape_count(&a->type->shape);
	double sum = 0;

	for (int64_t i = 0; i < n; i++) {
		double d = vq_get(a, i) - vq_get(b, i);

		sum += d * d;
	}
	return n ? sum / (double)n : 0;
}

static void
reconstruct(struct vq_codec *k)
{
	const char *value[2];
	struct vq_type type[2];
	void *all[2] = { 0 };

	value[0] = vq_codec_shown(k);
	if (!value[0] || vq_codec_data(k) < 0 || vq_codec_expand(k) < 0 ||
	    (value[1] = original_of(k, value[0])) == NULL || vq_codec_compile(k, value, 2) < 0)
		return;
	if (vq_codec_run(k, value, 2, k->o->n, all, type) == 0) {
		struct vq_view shown = { all[0], &type[0] }, original = { all[1], &type[1] };

		if (vq_codec_write(k, k->o->out, &shown, all[1]) == 0)
			vq_notice(k->c, "wrote %s, %lld pictures, mean squared error %.6g", k->o->out,
			    (long long)type[0].shape.dim[0], squared_error(&shown, &original));
	}
	free(all[0]);
	free(all[1]);
}

static int
run(struct vq_cli *c, void *options)
{
	struct vq_codec k;

	if (vq_codec_open(&k, c, options) == 0)
		reconstruct(&k);
	vq_codec_close(&k);
	return (int)vq_diags_status(&c->d);
}

#define AT(k, field) .kind = k, .offset = offsetof(struct vq_codec_options, field)
static const struct vq_opt opts[] = {
	{ "data", 'd', AT(VQ_O_STRING, data), "SOURCE:SPLIT", .required = true,
	    .doc = "what to reconstruct, as in mnist:test" },
	{ "out", 'o', AT(VQ_O_STRING, out), "FILE", .required = true,
	    .doc = "a .png of originals with reconstructions under them, or the reconstructions as .npy" },
	{ "num", 'n', AT(VQ_O_INT, n), "N", 1, 4e9, .doc = "the first N samples (default 64)" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e6, .doc = "samples at once (default 128)" },
	{ "checkpoint", 0, AT(VQ_O_STRING, checkpoint), "CKPT",
	    .doc = "in place of the run's best, or last" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "the tokenizer's stage (default: the first with `codes`)" },
	{ 0 }
};
static const struct vq_codec_options defaults = { .n = 64 };
static const char *const examples[] = {
	"vqgraph reconstruct runs/vqvae_mnist --data mnist:test -n 32 --out recon.png",
	    "originals, and what comes back",
	NULL
};
static const char *const also[] = { "recon", "reconstructions", "roundtrip", NULL };
extern const struct vq_command vq_command_reconstruct;
const struct vq_command vq_command_reconstruct = {
	.name = "reconstruct",
	.args = "RUN",
	.doc = "shows what a trained tokenizer makes of pictures",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_THREADS,
	.opts = opts,
	.defaults = &defaults,
	.size = sizeof(struct vq_codec_options),
	.also = also,
	.run = run,
};
