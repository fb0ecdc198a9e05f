/*
 * matmul_packed -- products with a matrix that was rearranged once for many of them
 *
 *   pack           x [k, n], or [n, k] when transpose -> y [ceil(n / 32), k, 32]: panels of
 *                  32 columns, zeros past column n (ops/kernels/steps.h)
 *   matmul_packed  a [..., k], b as pack makes it -> y [..., columns]
 *
 * A pass places them where a weight stays the same for many products.
 */
#include <omp.h>
#include <string.h>

#include "engine/op.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/steps.h"

/* --- pack ------------------------------------------------------------------- */

struct pack {
	bool transpose;
};

static const struct vq_param pack_params[] = {
	VQ_BOOLEAN(struct pack, transpose, "false", "read x as its transpose"),
	VQ_PARAMS_END
};

static int
pack_infer(struct vq_infer *q)
{
	const struct pack *p = q->params;
	const struct vq_shape *x = &q->in[0].shape;

	if (!vq_is_float(q->in[0].dtype))
		return vq_infer_error(q, 0, "is %s, and a floating type is needed (cast converts)", vq_dtype_name(q->in[0].dtype));
	if (x->rank != 2)
		return vq_infer_error(q, 0, "must be a matrix");
	int64_t k = x->dim[p->transpose], n = x->dim[!p->transpose];
	q->out[0].shape = vq_shape_of(3, (int64_t[]){ vq_step_panels(n), k, VQ_STEP_PANEL });
	return 0;
}

static void
pack_ref(const struct vq_call *c)
{
	const struct pack *p = c->params;
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int64_t k = y->dim[1], n = x->dim[!p->transpose];

	for (int64_t i = 0, count = vq_shape_count(y); i < count; i++) {
		int64_t row = i / VQ_STEP_PANEL % k, column = i / VQ_STEP_PANEL / k * VQ_STEP_PANEL + i % VQ_STEP_PANEL;
		vq_set(&c->out[0], i, column >= n ? 0 : vq_get(&c->in[0], p->transpose ? column * k + row : row * n + column));
	}
}

/* One panel; `wide` columns of it are there. */
static void
pack_panel(float *to, const float *x, int64_t k, int64_t n, int64_t first, bool transpose)
{
	int64_t wide = n - first < VQ_STEP_PANEL ? n - first : VQ_STEP_PANEL;

	if (wide < VQ_STEP_PANEL)
		memset(to, 0, (size_t)(k * VQ_STEP_PANEL) * sizeof(*to));
	if (!transpose) {
		for (int64_t i = 0; i < k; i++)
			memcpy(to + i * VQ_STEP_PANEL, x + i * n + first, (size_t)wide * sizeof(*to));
		return;
	}
	for (int64_t i = 0; i < k; i++)
		for (int64_t j = 0; j < wide; j++)
			to[i * VQ_STEP_PANEL + j] = x[(first + j) * k + i];
}

static void
pack_run(const struct vq_call *c)
{
	const struct pack *p = c->params;
	const int64_t *y = c->out[0].type->shape.dim;
	int64_t n = c->in[0].type->shape.dim[!p->transpose];

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < y[0]; i++)
		pack_panel((float *)c->out[0].data + i * y[1] * VQ_STEP_PANEL, c->in[0].data, y[1], n,
		    i * VQ_STEP_PANEL, p->transpose);
}

static const struct vq_example pack_examples[] = {
	{ "x=f32[3,5]" },
	{ "x=f32[5,3]", "transpose=true" },
	{ "x=f32[7,70]", .doc = "three panels" },
	{ "x=f32[64,9]", "transpose=true" },
	{ "x=f32[0,4]" },
	{ "x=f32[4,0]" },
	{ "x=f32[1024,256]", .doc = "timed" },
	{ "x=f32[2,3,4]", .fails = "must be a matrix" },
	{ "x=i32[2,3]", .fails = "is i32, and a floating type is needed (cast converts)" },
	{ 0 }
};

/* --- matmul_packed ---------------------------------------------------------- */

struct packed {
	int64_t columns;
};

static const struct vq_param packed_params[] = {
	VQ_INT(struct packed, columns, NULL, 0, INT32_MAX, "of the matrix that was packed"),
	VQ_PARAMS_END
};

enum { A, B };

static int
packed_infer(struct vq_infer *q)
{
	const struct packed *p = q->params;
	const struct vq_shape *a = &q->in[A].shape, *b = &q->in[B].shape;

	for (int port = A; port <= B; port++)
		if (!vq_is_float(q->in[port].dtype))
			return vq_infer_error(q, port, "is %s, and a floating type is needed (cast converts)",
			    vq_dtype_name(q->in[port].dtype));
	if (vq_infer_same_dtype(q) < 0)
		return -1;
	if (a->rank < 1)
		return vq_infer_error(q, A, "needs at least one axis");
	struct vq_shape want = vq_shape_of(3, (int64_t[]){ vq_step_panels(p->columns), a->dim[a->rank - 1], VQ_STEP_PANEL });
	char is[VQ_TYPE_STR], must[VQ_TYPE_STR];
	if (!vq_shape_equal(b, &want))
		return vq_infer_error(q, B, "must be %s, is %s", vq_shape_str(&want, must), vq_shape_str(b, is));
	q->out[0].shape.dim[a->rank - 1] = p->columns;
	return 0;
}

static void
packed_ref(const struct vq_call *c)
{
	int64_t n = ((const struct packed *)c->params)->columns, k = c->in[B].type->shape.dim[1];

	for (int64_t i = 0, count = vq_shape_count(&c->out[0].type->shape); i < count; i++) {
		int64_t row = i / n, panel = i % n / VQ_STEP_PANEL, column = i % n % VQ_STEP_PANEL;
		double sum = 0;
		for (int64_t x = 0; x < k; x++)
			sum += vq_get(&c->in[A], row * k + x) * vq_get(&c->in[B], (panel * k + x) * VQ_STEP_PANEL + column);
		vq_set(&c->out[0], i, sum);
	}
}

enum {
	BLOCK_ROWS = 96,		/* of a task */
	BLOCK_PANELS = 8,		/* of a task at most, and of one pass of the epilogue */
	FAR = 1024,			/* floats between rows of a that push each other out of the first-level cache */
	FAR_ROWS = 4,			/* so many do not */
	SERIAL = 1 << 17,		/* m * n * k below which a second thread costs more than it brings */
};

/* How a call is cut: blocks of rows times groups of panels. */
struct cut {
	int64_t m, n, k, lda;
	int64_t rows, panels;		/* of a task */
	int64_t across, tasks;
	const float *a;
};

static void
run_task(const struct vq_call *c, const struct cut *t, const struct vq_epilogue *end, int64_t task)
{
	int64_t i = task / t->across * t->rows, j = task % t->across * t->panels * VQ_STEP_PANEL;
	int64_t m = t->m - i < t->rows ? t->m - i : t->rows;
	int64_t n = t->n - j < t->panels * VQ_STEP_PANEL ? t->n - j : t->panels * VQ_STEP_PANEL;
	float *y = (float *)c->out[0].data + i * t->n + j;
	const float *b = (const float *)c->in[B].data + j * t->k;

	for (int64_t x = 0; x < n; x += VQ_STEP_PANEL)
		vq_steps(c->k)->multiply(y + x, t->n, t->a + i * t->lda, t->lda, m, b + x * t->k, t->k,
		    n - x < VQ_STEP_PANEL ? n - x : VQ_STEP_PANEL);
	vq_epilogue_apply(end, i, m, j, n);
}

/* a, or a copy of it whose rows do not lie in the same lines of the cache. */
static const float *
near_rows(const struct vq_call *c, struct cut *t)
{
	float *to = c->scratch;

	t->lda = t->k;
	if (t->k < FAR || t->m <= FAR_ROWS)
		return c->in[A].data;
	t->lda = t->k + 16 - t->k % 16;
	for (int64_t i = 0; i < t->m; i++)
		memcpy(to + i * t->lda, (const float *)c->in[A].data + i * t->k, (size_t)t->k * sizeof(*to));
	return to;
}

static void
packed_run(const struct vq_call *c)
{
	const struct vq_shape *y = &c->out[0].type->shape;
	struct cut t = { .m = vq_shape_span(y, 0, y->rank - 1), .n = y->dim[y->rank - 1], .k = c->in[B].type->shape.dim[1] };
	struct vq_epilogue end;

	if (t.m == 0 || t.n == 0)
		return;
	vq_epilogue_of(&end, c);
	int threads = (double)t.m * (double)t.n * (double)t.k < SERIAL ? 1 : c->threads;
	int64_t all = vq_step_panels(t.n), share = (all + threads - 1) / threads;
	t.a = near_rows(c, &t);
	t.rows = BLOCK_ROWS;
	t.panels = share < BLOCK_PANELS ? share : BLOCK_PANELS;
	t.across = (all + t.panels - 1) / t.panels;
	t.tasks = (t.m + t.rows - 1) / t.rows * t.across;
	if (threads == 1) {
		for (int64_t i = 0; i < t.tasks; i++)
			run_task(c, &t, &end, i);
		return;
	}
	#pragma omp parallel for num_threads(threads) schedule(static)
	for (int64_t i = 0; i < t.tasks; i++)
		run_task(c, &t, &end, i);
}

static size_t
packed_scratch(const struct vq_cost *c)
{
	const struct vq_shape *a = &c->in[A].shape;
	int64_t k = a->dim[a->rank - 1], m = vq_shape_span(a, 0, a->rank - 1);

	return k < FAR || m <= FAR_ROWS ? 0 : (size_t)(m * (k + 16 - k % 16)) * sizeof(float);
}

static double
packed_flops(const struct vq_cost *c)
{
	return 2.0 * (double)vq_shape_count(&c->out[0].shape) * (double)c->in[B].shape.dim[1];
}

static const struct vq_example packed_examples[] = {
	{ "a=f32[2,3] b=f32[1,3,32]", "columns=5" },
	{ "a=f32[2,1,3] b=f32[2,3,32]", "columns=64" },
	{ "a=f32[3] b=f32[1,3,32]", "columns=32" },
	{ "a=f32[2,0] b=f32[1,0,32]", "columns=4", .doc = "an empty sum is zero" },
	{ "a=f32[0,3] b=f32[1,3,32]", "columns=4" },
	{ "a=f32[2,3] b=f32[0,3,32]", "columns=0" },
	{ "a=f32[13,300] b=f32[2,300,32]", "columns=51", .doc = "more depth than one stretch" },
	{ "a=f32[7,1030] b=f32[3,1030,32]", "columns=96", .doc = "rows far apart" },
	{ "a=f32[201,70] b=f32[2,70,32]", "columns=45" },
	{ "a=f32[8,1,256] b=f32[32,256,32]", "columns=1024", .doc = "timed" },
	{ "a=f32[2,3] b=f32[1,4,32]", "columns=5", .fails = "must be [1, 3, 32], is [1, 4, 32]" },
	{ "a=f32[2,3] b=f32[1,3,32]", "columns=33", .fails = "must be [2, 3, 32], is [1, 3, 32]" },
	{ "a=f32[] b=f32[1,3,32]", "columns=5", .fails = "needs at least one axis" },
	{ "a=i32[2,3] b=f32[1,3,32]", "columns=5", .fails = "is i32, and a floating type is needed (cast converts)" },
	{ 0 }
};

extern const struct vq_op vq_ops_matmul_packed[];
const struct vq_op vq_ops_matmul_packed[] = {
	{
		.name = "pack",
		.doc = "a matrix as panels of 32 columns, which products of few rows read from front to end",
		.in = { "x" }, .out = { "y" },
		.params = pack_params, .size = sizeof(struct pack), .flags = VQ_OP_INTERNAL,
		.infer = pack_infer, .run = pack_run, .ref = pack_ref,
		.examples = pack_examples,
	},
	{
		.name = "matmul_packed",
		.doc = "product of rows with a matrix that was packed",
		.in = { "a", "b" }, .out = { "y" },
		.params = packed_params, .size = sizeof(struct packed), .flags = VQ_OP_INTERNAL | VQ_OP_EPILOGUE,
		.infer = packed_infer, .run = packed_run, .ref = packed_ref,
		.scratch = packed_scratch, .flops = packed_flops,
		.examples = packed_examples,
	},
	{ 0 }
};
