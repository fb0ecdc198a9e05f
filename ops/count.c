/*
 * count -- how often each index occurs
 *
 *   index i32[...]; size   y f32[size]: y[j] = number of index[i] = j
 *
 * An index outside 0 .. size-1 is not counted.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"

struct count {
	int64_t size;
};

static const struct vq_param params[] = {
	VQ_INT(struct count, size, NULL, 1, INT32_MAX, "how many different indices there are"),
	VQ_PARAMS_END
};

static int
infer(struct vq_infer *q)
{
	const struct count *p = q->params;

	if (q->in[0].dtype != VQ_I32)
		return vq_infer_error(q, 0, "must be i32, is %s (cast converts)", vq_dtype_name(q->in[0].dtype));
	q->out[0] = vq_type_of(VQ_F32, 1, &p->size);
	return 0;
}

static void
ref(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->in[0].type->shape), size = ((const struct count *)c->params)->size;
	const int32_t *index = c->in[0].data;

	for (int64_t j = 0; j < size; j++) {
		int64_t times = 0;
		for (int64_t i = 0; i < n; i++)
			times += index[i] == j;
		vq_set(&c->out[0], j, (double)times);
	}
}

/* Counted in integers: f32 stops counting at 2^24. */
static void
run(const struct vq_call *c)
{
	int64_t n = vq_shape_count(&c->in[0].type->shape), size = ((const struct count *)c->params)->size;
	const int32_t *index = c->in[0].data;
	float *y = c->out[0].data;
	int64_t *times = c->scratch;

	memset(times, 0, (size_t)size * sizeof(*times));
	for (int64_t i = 0; i < n; i++)
		if (index[i] >= 0 && index[i] < size)
			times[index[i]]++;
	for (int64_t j = 0; j < size; j++)
		y[j] = (float)times[j];
}

static size_t
scratch(const struct vq_cost *c)
{
	return (size_t)((const struct count *)c->params)->size * sizeof(int64_t);
}

static double
flops(const struct vq_cost *c)
{
	return (double)vq_shape_count(&c->in[0].shape);
}

static const struct vq_example examples[] = {
	{ "index=i32[3,4](0,5)", "size=5" },
	{ "index=i32[20](-3,9)", "size=5", .doc = "outside: not counted" },
	{ "index=i32[128,7,7](0,512)", "size=512", .doc = "timed" },
	{ "index=f32[3]", "size=5", .fails = "must be i32, is f32 (cast converts)" },
	{ 0 }
};

extern const struct vq_op vq_ops_count[];
const struct vq_op vq_ops_count[] = {
	{
		.name = "count",
		.doc = "how often each index occurs",
		.in = { "index" }, .out = { "y" },
		.params = params, .size = sizeof(struct count),
		.infer = infer, .run = run, .ref = ref, .scratch = scratch, .flops = flops,
		.also = (const char *const[]){ "bincount", "histogram", "histc", NULL },
		.examples = examples,
	},
	{ 0 }
};
