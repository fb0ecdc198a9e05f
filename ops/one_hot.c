/*
 * one_hot -- an index as a row with a one at its place
 *
 *   index i32[...]; size   y f32[..., size]
 *
 * A row of zeros where the index is outside 0 .. size-1, or is `ignore`.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/rows.h"

struct one_hot {
	int64_t size, ignore;
};

static const struct vq_param params[] = {
	VQ_INT(struct one_hot, size, NULL, 1, INT32_MAX, "length of a row"),
	VQ_INT(struct one_hot, ignore, "-1", INT32_MIN, INT32_MAX, "index that gives a row of zeros"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct one_hot *p = q->params;
	struct vq_shape *y = &q->out[0].shape;

	if (q->in[0].dtype != VQ_I32)
		return vq_infer_error(q, 0, "must be i32, is %s (cast converts)", vq_dtype_name(q->in[0].dtype));
	if (y->rank == VQ_MAX_RANK)
		return vq_infer_error(q, 0, "has %d axes, and the result would have one more", y->rank);
	y->dim[y->rank++] = p->size;
	q->out[0].dtype = VQ_F32;
	return 0;
}

static void
ref(const struct vq_call *c)
{
	const struct one_hot *p = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape);
	const int32_t *index = c->in[0].data;

	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < p->size; j++)
			vq_set(&c->out[0], i * p->size + j, index[i] == j && j != p->ignore);
}

static void
run(const struct vq_call *c)
{
	const struct one_hot *p = c->params;
	int64_t n = vq_shape_count(&c->in[0].type->shape), size = p->size;
	const int32_t *index = c->in[0].data;
	float *y = c->out[0].data;

#pragma omp parallel for num_threads(vq_rows_team(c->threads, n * size)) schedule(static)
	for (int64_t i = 0; i < n; i++) {
		memset(y + i * size, 0, (size_t)size * sizeof(*y));
		if (index[i] >= 0 && index[i] < size && index[i] != p->ignore)
			y[i * size + index[i]] = 1;
	}
}

static bool
places(const struct vq_cost *c, int port, struct vq_places *out)
{
	const struct one_hot *p = c->params;

	*out = (struct vq_places){ p->size, p->ignore };
	return true;
}

static double
flops(const struct vq_cost *c)
{
	return 0;
}

static const struct vq_example examples[] = {
	{ "index=i32[3,4](0,5)", "size=5" },
	{ "index=i32(0,5)", "size=5" },
	{ "index=i32[20](-3,9)", "size=5 ignore=2", .doc = "zeros outside and at 2" },
	{ "index=i32[128,50](0,512)", "size=512", .doc = "timed" },
	{ "index=f32[3]", "size=5", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};

extern const struct vq_op vq_ops_one_hot[];
const struct vq_op vq_ops_one_hot[] = {
	{
		.name = "one_hot",
		.doc = "an index as a row of zeros with a one at its place",
		.in = { "index" }, .out = { "y" },
		.params = params, .size = sizeof(struct one_hot),
		.infer = infer, .run = run, .ref = ref, .flops = flops, .places = places,
		.also = (const char *const[]){ "onehot", "to_categorical", NULL },
		.examples = examples,
	},
	{ 0 }
};
