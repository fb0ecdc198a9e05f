/*
 * decode -- `vqgraph decode`: codes to pictures
 *
 * The tokenizer's graph is cut where its codes are: they become an input, and
 * what only led to them falls away.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "tools/codec.h"
#include "tools/eval.h"

static const char input[] = "given codes";

/* Copies every node but the one that makes the codes, which the new input replaces. */
static void
cut(struct vq_rewrite *r, int node)
{
	const struct vq_node *n = &r->from->node[node];
	vq_id codes = *(const vq_id *)r->arg;

	vq_rewrite_copy(r, node);
	if (codes >= n->out && codes < n->out + n->nout) {
		struct vq_type t = *vq_type_at(r->from, codes);

		r->map[codes] = vq_graph_leaf(r->to, VQ_INPUT, input, &t);
	}
}

/* The codes as the graph wants them, each below the number there is. */
static int
check_codes(struct vq_codec *k, struct vq_array *a, const struct vq_type *one_batch)
{
	struct vq_type want = *one_batch;
	struct vq_view v;
	int64_t n;

	if (a->type.shape.rank != want.shape.rank) {
		char expected[VQ_TYPE_STR], found[VQ_TYPE_STR];

		vq_error(&k->c->d, VQ_DATA, NULL, "%s: codes are %s for one batch, this is %s", a->path,
		    vq_type_str(&want, expected), vq_type_str(&a->type, found));
		return -1;
	}
	want.shape.dim[0] = a->type.shape.dim[0];
	if (vq_array_fit(k->c, a, &want) < 0)
		return -1;
	v = (struct vq_view){ a->data, &a->type };
	n = vq_shape_count(&a->type.shape);
	for (int64_t i = 0; i < n; i++)
		if (vq_get(&v, i) < 0 || vq_get(&v, i) >= (double)k->t.codes[0].size) {
			vq_error(&k->c->d, VQ_DATA, NULL,
			    "%s: element %lld is %.0f, and codes go from 0 to %lld", a->path,
			    (long long)i, vq_get(&v, i), (long long)k->t.codes[0].size - 1);
			return -1;
		}
	return 0;
}

/* What is still needed must come from the codes alone. */
static int
check_inputs(struct vq_codec *k, const char *shown)
{
	const struct vq_graph *g = k->plan->graph;
	int *uses = vq_graph_uses(g), rc = 0;

	for (vq_id v = 0; v < g->values && rc == 0; v++)
		if (g->value[v].kind == VQ_INPUT && uses[v] > 0 && strcmp(g->value[v].name, input) != 0) {
			vq_usage_error(k->c,
			    "%s depends on input %s past the codes: it cannot be decoded from them", shown,
			    g->value[v].name);
			rc = -1;
		}
	free(uses);
	return rc;
}

static void
decode_all(struct vq_codec *k, const struct vq_array *a, const char *shown)
{
	const struct vq_graph *g = k->plan->graph;
	int64_t samples = a->type.shape.dim[0];
	size_t code = vq_type_bytes(&a->type) / (size_t)samples, each;
	char *batch = vq_alloc_aligned(code * (size_t)k->batch), *all;
	struct vq_view v;
	struct vq_type type;
	void *zeros = NULL;

	for (vq_id i = 0; i < g->values; i++)
		if (g->value[i].kind == VQ_INPUT && strcmp(g->value[i].name, input) != 0 && !zeros)
			zeros = vq_alloc_aligned(vq_type_bytes(&g->value[i].type));
	for (vq_id i = 0; i < g->values; i++)
		if (g->value[i].kind == VQ_INPUT)	/* only the codes are read */
			vq_plan_input(k->plan, g->value[i].name,
			    strcmp(g->value[i].name, input) == 0 ? batch : zeros);
	vq_plan_output(k->plan, shown, &v);
	type = *v.type;
	each = vq_type_bytes(&type) / (size_t)k->batch;
	type.shape.dim[0] = samples;
	all = vq_alloc_array((size_t)samples, each);
	for (int64_t at = 0; at < samples; at += k->batch) {
		int64_t n = samples - at < k->batch ? samples - at : k->batch;

		memcpy(batch, (const char *)a->data + (size_t)at * code, (size_t)n * code);
		vq_plan_run(k->plan, 1, (uint64_t)(at / k->batch));
		vq_plan_output(k->plan, shown, &v);
		memcpy(all + (size_t)at * each, v.data, (size_t)n * each);
	}
	if (vq_codec_write(k, k->o->out, &(struct vq_view){ all, &type }, NULL) == 0)
		vq_notice(k->c, "wrote %s, %lld pictures", k->o->out, (long long)samples);
	free(all);
	free(batch);
	free(zeros);
}

static void
decode(struct vq_codec *k, struct vq_array *a)
{
	const char *codes = vq_codec_codes(k), *shown = vq_codec_shown(k);
	struct vq_graph *whole;
	vq_id id;

	if (!codes || !shown || vq_npy_read(a->path, &a->type, &a->data, &k->c->d) < 0)
		return;
	if (a->type.shape.rank < 1 || a->type.shape.dim[0] < 1) {
		vq_error(&k->c->d, VQ_DATA, NULL, "%s: there are no codes in it", a->path);
		return;
	}
	if (a->type.shape.dim[0] < k->batch)
		k->batch = a->type.shape.dim[0];
	if (vq_codec_expand(k) < 0 || (id = vq_tool_value(k->c, k->g, codes, "codes")) == VQ_NONE ||
	    check_codes(k, a, vq_type_at(k->g, id)) < 0)
		return;
	whole = k->g;
	k->g = vq_graph_rewrite(whole, cut, &id);
	vq_graph_free(whole);
	if (vq_codec_compile(k, &shown, 1) == 0 && check_inputs(k, shown) == 0)
		decode_all(k, a, shown);
}

static int
run(struct vq_cli *c, void *options)
{
	struct vq_array codes = { .name = "codes", .path = c->arg[1], .option = "--codes" };
	struct vq_codec k;

	if (vq_codec_open(&k, c, options) == 0)
		decode(&k, &codes);
	free(codes.data);
	vq_codec_close(&k);
	return (int)vq_diags_status(&c->d);
}

#define AT(k, field) .kind = k, .offset = offsetof(struct vq_codec_options, field)
static const struct vq_opt opts[] = {
	{ "out", 'o', AT(VQ_O_STRING, out), "FILE", .required = true,
	    .doc = "where the pictures go: .png or .npy" },
	{ "batch", 'b', AT(VQ_O_INT, batch), "B", 1, 1e6, .doc = "samples at once (default 128)" },
	{ "checkpoint", 0, AT(VQ_O_STRING, checkpoint), "CKPT",
	    .doc = "in place of the run's best, or last" },
	{ "stage", 0, AT(VQ_O_STRING, stage), "NAME",
	    .doc = "the tokenizer's stage (default: the first with `codes`)" },
	{ 0 }
};
static const char *const examples[] = {
	"vqgraph decode runs/vqvae_mnist codes.npy --out pictures.png", "what the codes stand for",
	NULL
};
static const char *const also[] = { "detokenize", NULL };
extern const struct vq_command vq_command_decode;
const struct vq_command vq_command_decode = {
	.name = "decode",
	.args = "RUN codes.npy",
	.doc = "turns codes into pictures with a trained tokenizer",
	.examples = examples,
	.min_args = 2,
	.max_args = 2,
	.uses = VQ_C_THREADS,
	.opts = opts,
	.size = sizeof(struct vq_codec_options),
	.also = also,
	.run = run,
};
