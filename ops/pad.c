/*
 * pad -- more positions before and after each axis, zeros or a mirror image
 * pad_input -- its adjoint: the middle, what the mirrored positions hold added on
 *
 * reflect mirrors about the first and the last position without repeating them,
 * as numpy and PyTorch do.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"

enum mode { ZERO, REFLECT };

struct pad {
	struct vq_ints before, after;
	int mode;
};

static const char *const modes[] = { "zero", "reflect", NULL };

static const struct vq_param params[] = {
	VQ_INTS(struct pad, before, NULL, 0, 1e12, 0, VQ_MAX_RANK, "positions before each axis"),
	VQ_INTS(struct pad, after, NULL, 0, 1e12, 0, VQ_MAX_RANK, "positions after each axis"),
	VQ_ENUM(struct pad, mode, "zero", modes, "what stands there"),
	VQ_PARAMS_END
};

enum { PARALLEL_MIN = 16384 };

/* --- types --------------------------------------------------------------- */

static int
check_counts(struct vq_infer *q)
{
	const struct pad *p = q->params;
	int rank = q->in[0].shape.rank;

	if (p->before.count != rank || p->after.count != rank)
		return vq_infer_error(q, 0, "has %d axes, before lists %d and after %d", rank,
		    p->before.count, p->after.count);
	return 0;
}

static int
check_reflection(struct vq_infer *q, const struct vq_shape *x)
{
	const struct pad *p = q->params;

	for (int i = 0; p->mode == REFLECT && i < x->rank; i++) {
		int64_t most = p->before.v[i] > p->after.v[i] ? p->before.v[i] : p->after.v[i];
		if (most > 0 && most >= x->dim[i])
			return vq_infer_error(q, VQ_NONE, "axis %d has length %lld: at most %lld can be reflected, not %lld",
			    i, (long long)x->dim[i], (long long)(x->dim[i] > 0 ? x->dim[i] - 1 : 0), (long long)most);
	}
	return 0;
}

static int
infer(struct vq_infer *q)
{
	const struct pad *p = q->params;

	if (check_counts(q) < 0 || check_reflection(q, &q->in[0].shape) < 0)
		return -1;
	for (int i = 0; i < p->before.count; i++)
		q->out[0].shape.dim[i] += p->before.v[i] + p->after.v[i];
	return 0;
}

static int
infer_input(struct vq_infer *q)
{
	const struct pad *p = q->params;
	struct vq_shape *x = &q->out[0].shape;

	if (check_counts(q) < 0)
		return -1;
	for (int i = 0; i < p->before.count; i++) {
		x->dim[i] -= p->before.v[i] + p->after.v[i];
		if (x->dim[i] < 0)
			return vq_infer_error(q, 0, "is shorter along axis %d than the padding", i);
	}
	return check_reflection(q, x);
}

/* --- derivatives --------------------------------------------------------- */

static void
add_list(struct vq_text *t, const char *name, const struct vq_ints *list)
{
	vq_text_add(t, "%s=[", name);
	for (int i = 0; i < list->count; i++)
		vq_text_add(t, "%s%lld", i ? "," : "", (long long)list->v[i]);
	vq_text_add(t, "] ");
}

/* Each is the other's adjoint, with the same parameters. */
static void
emit(struct vq_grad *d, const char *op)
{
	const struct pad *p = d->params;
	struct vq_text t = { 0 };

	add_list(&t, "before", &p->before);
	add_list(&t, "after", &p->after);
	vq_text_add(&t, "mode=%s", modes[p->mode]);
	d->din[0] = VQ_EMIT1(d->to, op, d->dout[0], "%s", t.s);
	vq_text_free(&t);
}

static void grad(struct vq_grad *d) { emit(d, "pad_input"); }
static void grad_input(struct vq_grad *d) { emit(d, "pad"); }

/* --- kernels ------------------------------------------------------------- */

/* Where position i of the padded axis comes from, or -1: from nowhere. */
static int64_t
source(const struct pad *p, int axis, int64_t n, int64_t i)
{
	int64_t at = i - p->before.v[axis];

	if (at >= 0 && at < n)
		return at;
	if (p->mode == ZERO)
		return -1;
	return at < 0 ? -at : 2 * (n - 1) - at;
}

/* Positions of the padded axis that come from i: at most three. */
static int
targets(const struct pad *p, int axis, int64_t n, int64_t i, int64_t to[3])
{
	int64_t before = p->before.v[axis], after = p->after.v[axis];
	int count = 0;

	to[count++] = before + i;
	if (p->mode == REFLECT && i >= 1 && i <= before)
		to[count++] = before - i;
	if (p->mode == REFLECT && i <= n - 2 && i >= n - 1 - after)
		to[count++] = before + 2 * (n - 1) - i;
	return count;
}

/* Axes [0, split) are walked position by position; from split on nothing is padded. */
static int
split_of(const struct pad *p)
{
	int split = p->before.count;

	while (split > 0 && p->before.v[split - 1] == 0 && p->after.v[split - 1] == 0)
		split--;
	return split;
}

/* Where in x the padded block `index` comes from, in blocks, or -1. */
static int64_t
source_block(const struct pad *p, const struct vq_shape *x, const struct vq_shape *y, int split, int64_t index)
{
	int64_t at = 0, step = 1;

	for (int i = split - 1; i >= 0; i--) {
		int64_t s = source(p, i, x->dim[i], index % y->dim[i]);
		if (s < 0)
			return -1;
		at += s * step;
		step *= x->dim[i];
		index /= y->dim[i];
	}
	return at;
}

static void
run(const struct vq_call *c)
{
	const struct pad *p = c->params;
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int split = split_of(p);
	int64_t blocks = vq_shape_span(y, 0, split);
	size_t size = (size_t)vq_shape_span(y, split, y->rank) * vq_dtype_size(c->out[0].type->dtype);

#pragma omp parallel for num_threads(c->threads) schedule(static) if (blocks * (int64_t)size >= 4 * PARALLEL_MIN)
	for (int64_t i = 0; i < blocks; i++) {
		int64_t from = source_block(p, x, y, split, i);
		char *to = (char *)c->out[0].data + (size_t)i * size;
		if (from < 0)
			memset(to, 0, size);
		else
			memcpy(to, (const char *)c->in[0].data + (size_t)from * size, size);
	}
}

/* Blocks of the padded shape y that come from block `index` of x: a product of
 * targets along each axis, `pick` counting through it.  False past the last. */
static bool
target_block(const struct pad *p, const struct vq_shape *x, const struct vq_shape *y, int split,
    int64_t index, int pick, int64_t *at)
{
	int64_t step = 1;

	*at = 0;
	for (int i = split - 1; i >= 0; i--) {
		int64_t to[3];
		int n = targets(p, i, x->dim[i], index % x->dim[i], to);
		*at += to[pick % n] * step;
		pick /= n;
		step *= y->dim[i];
		index /= x->dim[i];
	}
	return pick == 0;
}

static void
run_input(const struct vq_call *c)
{
	const struct pad *p = c->params;
	const struct vq_shape *y = &c->in[0].type->shape, *x = &c->out[0].type->shape;
	int split = split_of(p);
	int64_t blocks = vq_shape_span(x, 0, split), size = vq_shape_span(x, split, x->rank);

#pragma omp parallel for num_threads(c->threads) schedule(static) if (blocks * size >= PARALLEL_MIN)
	for (int64_t i = 0; i < blocks; i++) {
		float *to = (float *)c->out[0].data + i * size;
		int64_t at;
		for (int pick = 0; target_block(p, x, y, split, i, pick, &at); pick++) {
			const float *from = (const float *)c->in[0].data + at * size;
			if (pick == 0)
				memcpy(to, from, (size_t)size * sizeof(*to));
			else
				c->k->ew[VQ_EW_ADD](to, to, from, NULL, 0, 0, size);
		}
	}
}

static void
ref(const struct vq_call *c)
{
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int64_t count = vq_shape_count(y);

	for (int64_t i = 0; i < count; i++) {
		int64_t from = source_block(c->params, x, y, y->rank, i);
		vq_set(&c->out[0], i, from < 0 ? 0 : vq_get(&c->in[0], from));
	}
}

static void
ref_input(const struct vq_call *c)
{
	const struct vq_shape *y = &c->in[0].type->shape, *x = &c->out[0].type->shape;
	int64_t count = vq_shape_count(x), at;

	for (int64_t i = 0; i < count; i++) {
		double sum = 0;
		for (int pick = 0; target_block(c->params, x, y, x->rank, i, pick, &at); pick++)
			sum += vq_get(&c->in[0], at);
		vq_set(&c->out[0], i, sum);
	}
}

static int
infer_input_float(struct vq_infer *q)
{
	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "is %s, and a floating type is needed (cast converts)",
		    vq_dtype_name(q->in[0].dtype));
	return infer_input(q);
}

static const struct vq_example examples[] = {
	{ "x=f32[2,3]", "before=[1,0] after=[0,2]" },
	{ "x=f32[2,3,4,2]", "before=[0,1,1,0] after=[0,1,1,0]" },
	{ "x=f32[2,3,4,2]", "before=[0,2,1,0] after=[0,1,3,0] mode=reflect" },
	{ "x=f32[3]", "before=2 after=2 mode=reflect" },
	{ "x=i32[3](0,9)", "before=2 after=1" },
	{ "x=f32[16,32,32,64]", "before=[0,1,1,0] after=[0,1,1,0] mode=reflect" },
	{ "x=f32[2,3]", "before=1 after=1", .fails = "has 2 axes, before lists 1 and after 1" },
	{ "x=f32[3]", "before=3 after=0 mode=reflect",
	  .fails = "axis 0 has length 3: at most 2 can be reflected, not 3" },
	{ 0 }
};
static const struct vq_example input_examples[] = {
	{ "g=f32[3,5]", "before=[1,0] after=[0,2]" },
	{ "g=f32[2,6,8,2]", "before=[0,2,1,0] after=[0,1,3,0] mode=reflect" },
	{ "g=f32[7]", "before=2 after=2 mode=reflect" },
	{ "g=f32[16,34,34,64]", "before=[0,1,1,0] after=[0,1,1,0] mode=reflect" },
	{ "g=f32[3]", "before=3 after=1", .fails = "is shorter along axis 0 than the padding" },
	{ 0 }
};

extern const struct vq_op vq_ops_pad[];
const struct vq_op vq_ops_pad[] = {
	{
		.name     = "pad",
		.doc      = "positions added before and after each axis, zero or a mirror image",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct pad),
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.again    = 1,
		.also     = (const char *const[]){ "padding", "zero_pad", "reflection_pad", NULL },
		.examples = examples,
	},
	{
		.name     = "pad_input",
		.doc      = "the adjoint of pad: its middle, with what was mirrored added on",
		.in       = { "g" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct pad),
		.infer    = infer_input_float,
		.grad     = grad_input,
		.run      = run_input,
		.ref      = ref_input,
		.examples = input_examples,
	},
	{ 0 }
};
