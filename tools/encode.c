/*
 * encode -- `vqgraph encode`: pictures to codes
 */
#include <stdlib.h>

#include "engine/checkpoint.h"
#include "tools/codec.h"

static int
run(struct vq_cli *c, void *options)
{
	const struct vq_codec_options *o = options;
	struct vq_codec k;
	const char *codes;
	struct vq_type type;
	void *all = NULL;
	char str[VQ_TYPE_STR];

	if (vq_codec_open(&k, c, o) == 0 && (codes = vq_codec_codes(&k)) != NULL && vq_codec_data(&k) == 0 &&
	    vq_codec_expand(&k) == 0 && vq_codec_compile(&k, &codes, 1) == 0 &&
	    vq_codec_run(&k, &codes, 1, o->n, &all, &type) == 0 &&
	    vq_npy_write(o->out, &(struct vq_view){ all, &type }, &c->d) == 0)
		vq_notice(c, "wrote %s, %s", o->out, vq_type_str(&type, str));
	free(all);
	vq_codec_close(&k);
	return (int)vq_diags_status(&c->d);
}

#define AT(k, field) .kind = k, .offset = offsetof(struct vq_codec_options, field)
static const struct vq_opt opts[] = {
	{ "data", 'd', AT(VQ_O_STRING, data), "SOURCE:SPLIT", .required = true,
	    .doc = "what to encode, as in mnist:test" },
	{ "out", 'o', AT(VQ_O_STRING, out), "FILE", .required = true, .doc = "where the codes go, npy" },
	{ "num", 'n', AT(VQ_O_INT, n), "N", 1, 4e9, .doc = "only the first N samples" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e6, .doc = "samples at once (default 128)" },
	{ "checkpoint", 0, AT(VQ_O_STRING, checkpoint), "CKPT",
	    .doc = "in place of the run's best, or last" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "the tokenizer's stage (default: the first with `codes`)" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph encode runs/vqvae_mnist --data mnist:train --out codes.npy", "i32[60000, 7, 7]",
	NULL
};
static const char *const also[] = { "tokenize", "quantize", NULL };
extern const struct vq_command vq_command_encode;
const struct vq_command vq_command_encode = {
	.name = "encode",
	.args = "RUN",
	.doc = "turns a dataset into a trained tokenizer's codes",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.uses = VQ_C_THREADS,
	.opts = opts,
	.size = sizeof(struct vq_codec_options),
	.also = also,
	.run = run,
};
