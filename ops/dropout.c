/*
 * dropout -- sets a random share of the elements to zero
 *
 *   y = x / (1 - p) with probability 1 - p, else 0
 *
 * Each element has 16 random bits of its own, so p is met to 1 / 65536.
 * The mask is drawn from the node's key by position and never stored: the
 * gradient is the same op on the gradient, with the key of the forward node.
 */
#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct dropout {
	double p;
};

static const struct vq_param params[] = {
	VQ_REAL(struct dropout, p, "0.5", 0, 1, "probability of zero"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "must be floating, is %s", vq_dtype_name(q->in[0].dtype));
	return 0;
}

static void
grad(struct vq_grad *d)
{
	const struct dropout *p = d->params;

	d->din[0] = VQ_EMIT1(d->to, "dropout", d->dout[0], "p=%.17g", p->p);
	vq_graph_set_key(d->to, d->din[0], d->key);
}

static double
scale_of(const struct dropout *p)
{
	return p->p < 1 ? 1 / (1 - p->p) : 0;
}

/* An element is dropped when its 16 bits are below this. */
static uint32_t
limit_of(const struct dropout *p)
{
	return (uint32_t)(p->p * 65536 + 0.5);
}

static void
ref(const struct vq_call *c)
{
	const struct dropout *p = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape);

	for (int64_t i = 0; i < n; i++) {
		uint32_t word[4];
		vq_rng_words(&c->key, (uint64_t)i / 8, word);
		uint32_t bits = word[i % 8 / 2] >> i % 2 * 16 & 0xffff;
		vq_set(&c->out[0], i, bits < limit_of(p) ? 0 : vq_get(&c->in[0], i) * scale_of(p));
	}
}

enum { TILE = 1024 };		/* a block of four words is eight elements */

static void
run(const struct vq_call *c)
{
	const struct dropout *p = c->params;
	const struct vq_rows *rows = vq_rows(c->k);
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	const float *x = c->in[0].data;
	float *y = c->out[0].data, scale = (float)scale_of(p);
	uint32_t limit = limit_of(p);

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n)) schedule(static)
	for (int64_t i = 0; i < n; i += TILE) {
		int64_t m = n - i < TILE ? n - i : TILE;
		union { uint32_t word[TILE / 2]; uint16_t half[TILE]; } bits;

		vq_rng_blocks(&c->key, (uint64_t)i / 8, bits.word, (m + 7) / 8);
		rows->keep(y + i, x + i, bits.half, limit, scale, m);
	}
}

/* Ten rounds for eight draws. */
static double
flops(const struct vq_cost *c)
{
	return 10.0 * (double)vq_shape_count(&c->in[0].shape);
}

static const struct vq_example examples[] = {
	{ "x=f32[5,7]" },
	{ "x=f32[3,1025]", "p=0.1" },
	{ "x=f32[4]", "p=0" },
	{ "x=f32[4]", "p=1", .doc = "everything zero" },
	{ "x=f32[128,50,256]", "p=0.1", .doc = "timed" },
	{ "x=i32[4](0,5)", .fails = "must be floating, is i32" },
	{ 0 }
};

extern const struct vq_op vq_ops_dropout[];
const struct vq_op vq_ops_dropout[] = {
	{
		.name = "dropout",
		.doc = "sets a random share of the elements to zero and scales up the others",
		.in = { "x" }, .out = { "y" },
		.params = params, .size = sizeof(struct dropout), .flags = VQ_OP_RANDOM | VQ_OP_TRAINING,
		.infer = infer, .grad = grad, .run = run, .ref = ref,
		.inplace = "0:0", .flops = flops, .again = 1,
		.also = (const char *const[]){ "drop", "Dropout", NULL },
		.examples = examples,
	},
	{ 0 }
};
