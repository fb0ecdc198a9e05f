/*
 * matmul_packed -- products with a matrix that was rearranged once for many of them
 *
 *   pack           x [k, n], or [n, k] when transpose -> y [ceil(n / 32), k, 32]: panels of
 *                  32 columns, zeros past column n (ops/kernels/steps.h).  With bf16: x rounded,
 *                  -> y bf16[ceil(n / 32), ceil(k / 2), 32, 2]: pairs that follow each other in k
 *   matmul_packed  a [..., k], b as pack makes it -> y [..., columns].  Where b is pairs of bf16,
 *                  a is rounded, too, and what is added up is f32
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
	bool transpose, bf16;
};

static const struct vq_param pack_params[] = {
	VQ_BOOLEAN(struct pack, transpose, "false", "read x as its transpose"),
	VQ_BOOLEAN(struct pack, bf16, "false", "rounded to bf16, in pairs"),
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
	if (p->bf16)
		q->out[0] = (struct vq_type){ VQ_BF16, vq_shape_of(4, (int64_t[]){ vq_step_panels(n), (k + 1) / 2, VQ_STEP_PANEL, 2 }) };
	return 0;
}

/* Where the number of a row and a column lies. */
static int64_t
packed_at(int64_t k, int64_t row, int64_t column, bool pairs)
{
	int64_t panel = column / VQ_STEP_PANEL, j = column % VQ_STEP_PANEL;

	return pairs ? ((panel * ((k + 1) / 2) + row / 2) * VQ_STEP_PANEL + j) * 2 + row % 2 : (panel * k + row) * VQ_STEP_PANEL + j;
}

static void
pack_ref(const struct vq_call *c)
{
	const struct pack *p = c->params;
	const struct vq_shape *x = &c->in[0].type->shape, *y = &c->out[0].type->shape;
	int64_t k = x->dim[p->transpose], n = x->dim[!p->transpose];

	for (int64_t i = 0, count = vq_shape_count(y); i < count; i++)
		vq_set(&c->out[0], i, 0);
	for (int64_t row = 0; row < k; row++)
		for (int64_t column = 0; column < n; column++)
			vq_set(&c->out[0], packed_at(k, row, column, p->bf16),
			    vq_get(&c->in[0], p->transpose ? column * k + row : row * n + column));
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

/* The same of pairs. */
static void
pack_pairs(const struct vq_kernels *kernels, uint16_t *to, const float *x, int64_t k, int64_t n, int64_t first, bool transpose)
{
	int64_t wide = n - first < VQ_STEP_PANEL ? n - first : VQ_STEP_PANEL;
	float row[VQ_STEP_PANEL];
	uint16_t near[VQ_STEP_PANEL];

	if (wide < VQ_STEP_PANEL || k % 2)
		memset(to, 0, (size_t)((k + 1) / 2 * VQ_STEP_PANEL) * 2 * sizeof(*to));
	for (int64_t i = 0; i < k; i++) {
		for (int64_t j = 0; j < wide; j++)
			row[j] = transpose ? x[(first + j) * k + i] : x[i * n + first + j];
		kernels->narrow(near, row, wide);
		for (int64_t j = 0; j < wide; j++)
			to[packed_at(k, i, j, true)] = near[j];
	}
}

static void
pack_run(const struct vq_call *c)
{
	const struct pack *p = c->params;
	const int64_t *x = c->in[0].type->shape.dim;
	int64_t k = x[p->transpose], n = x[!p->transpose];

	#pragma omp parallel for num_threads(c->threads) schedule(static)
	for (int64_t i = 0; i < c->out[0].type->shape.dim[0]; i++) {
		int64_t first = i * VQ_STEP_PANEL, at = packed_at(k, 0, first, p->bf16);
		if (p->bf16)
			pack_pairs(c->k, (uint16_t *)c->out[0].data + at, c->in[0].data, k, n, first, p->transpose);
		else
			pack_panel((float *)c->out[0].data + at, c->in[0].data, k, n, first, p->transpose);
	}
}

static const struct vq_example pack_examples[] = {
	{ "x=f32[3,5]" },
	{ "x=f32[5,3]", "transpose=true" },
	{ "x=f32[7,70]", .doc = "three panels" },
	{ "x=f32[64,9]", "transpose=true" },
	{ "x=f32[0,4]" },
	{ "x=f32[4,0]" },
	{ "x=f32[3,5]", "bf16=true", .doc = "rounded, and in pairs" },
	{ "x=f32[7,70]", "bf16=true" },
	{ "x=f32[64,9]", "transpose=true bf16=true" },
	{ "x=f32[0,4]", "bf16=true" },
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
	bool pairs = b->rank == 4;

	for (int port = A; port <= B; port++)
		if (!vq_is_float(q->in[port].dtype))
			return vq_infer_error(q, port, "is %s, and a floating type is needed (cast converts)",
			    vq_dtype_name(q->in[port].dtype));
	if (pairs && q->in[B].dtype != VQ_BF16)
		return vq_infer_error(q, B, "is %s, and pairs are of bf16", vq_dtype_name(q->in[B].dtype));
	if (!pairs && vq_infer_same_dtype(q) < 0)
		return -1;
	if (a->rank < 1)
		return vq_infer_error(q, A, "needs at least one axis");
	int64_t k = a->dim[a->rank - 1];
	struct vq_shape want = vq_shape_of(pairs ? 4 : 3, (int64_t[]){ vq_step_panels(p->columns), pairs ? (k + 1) / 2 : k,
	    VQ_STEP_PANEL, 2 });
	char is[VQ_TYPE_STR], must[VQ_TYPE_STR];
	if (!vq_shape_equal(b, &want))
		return vq_infer_error(q, B, "must be %s, is %s", vq_shape_str(&want, must), vq_shape_str(b, is));
	q->out[0] = q->in[A];
	q->out[0].shape.dim[a->rank - 1] = p->columns;
	return 0;
}

static void
packed_ref(const struct vq_call *c)
{
	const struct vq_shape *a = &c->in[A].type->shape;
	int64_t n = ((const struct packed *)c->params)->columns, k = a->dim[a->rank - 1];
	bool pairs = c->in[B].type->shape.rank == 4;

	for (int64_t i = 0, count = vq_shape_count(&c->out[0].type->shape); i < count; i++) {
		double sum = 0;
		for (int64_t x = 0; x < k; x++)
			sum += vq_get_operand(&c->in[A], i / n * k + x, pairs) * vq_get(&c->in[B], packed_at(k, x, i % n, pairs));
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
	int64_t m, n, k;
	int64_t rows, panels;		/* of a task */
	int64_t across, tasks;
	bool pairs;
	int64_t lda;			/* of the rows that are multiplied, a block of which each thread */
	size_t room;			/* copies to so many bytes of its own; 0: they lie in a */
	int threads;
};

/* Rows of a block are rounded for pairs.  Far apart they would lie in the same lines of the cache. */
static struct cut
cut_of(const struct vq_shape *a, int64_t n, bool pairs, int threads)
{
	struct cut t = { .m = vq_shape_span(a, 0, a->rank - 1), .n = n, .k = a->dim[a->rank - 1], .pairs = pairs };
	int64_t all = vq_step_panels(n);

	t.threads = (double)t.m * (double)n * (double)t.k < SERIAL ? 1 : threads;
	int64_t share = (all + t.threads - 1) / t.threads;
	t.rows = BLOCK_ROWS;
	t.panels = share < BLOCK_PANELS ? share : BLOCK_PANELS;
	t.across = t.panels ? (all + t.panels - 1) / t.panels : 0;
	t.tasks = (t.m + t.rows - 1) / t.rows * t.across;
	t.lda = t.k;
	if (pairs || (t.k >= FAR && t.m > FAR_ROWS)) {
		t.lda = t.k + 16 - t.k % 16;
		t.room = (size_t)(BLOCK_ROWS * t.lda) * sizeof(float);
	}
	return t;
}

/* The rows from i on as they are multiplied. */
static const float *
take_rows(const struct vq_call *c, const struct cut *t, int64_t i, float *room)
{
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, true);
	int64_t m = t->m - i < t->rows ? t->m - i : t->rows;
	const float *from = (const float *)c->in[A].data + i * t->k;

	if (t->room == 0)
		return from;
	for (int64_t r = 0; r < m; r++, from += t->k) {
		float *to = room + r * t->lda;
		if (!t->pairs) {
			memcpy(to, from, (size_t)t->k * sizeof(*to));
			continue;
		}
		u->round(to, from, t->k);
		if (u->per == 1)
			to[t->k] = 0;
	}
	return room;
}

static void
run_task(const struct vq_call *c, const struct cut *t, const struct vq_epilogue *end, int64_t task, const float *a)
{
	int64_t i = task / t->across * t->rows, j = task % t->across * t->panels * VQ_STEP_PANEL;
	int64_t m = t->m - i < t->rows ? t->m - i : t->rows;
	int64_t n = t->n - j < t->panels * VQ_STEP_PANEL ? t->n - j : t->panels * VQ_STEP_PANEL;
	float *y = (float *)c->out[0].data + i * t->n + j;

	for (int64_t x = 0; x < n; x += VQ_STEP_PANEL) {
		int64_t at = packed_at(t->k, 0, j + x, t->pairs), wide = n - x < VQ_STEP_PANEL ? n - x : VQ_STEP_PANEL;
		if (t->pairs)
			vq_step_pairs(c->k)(y + x, t->n, a, t->lda, m, (const uint16_t *)c->in[B].data + at, (t->k + 1) / 2, wide);
		else
			vq_steps(c->k)->multiply(y + x, t->n, a, t->lda, m, (const float *)c->in[B].data + at, t->k, wide);
	}
	vq_epilogue_apply(end, i, m, j, n);
}

/* Those of thread `me` of so many: they follow each other, so that a block's rows are taken once. */
static void
run_tasks(const struct vq_call *c, const struct cut *t, const struct vq_epilogue *end, int me, int threads)
{
	float *room = (float *)((char *)c->scratch + (size_t)me * t->room);
	const float *a = NULL;
	int64_t taken = -1;

	for (int64_t task = t->tasks * me / threads; task < t->tasks * (me + 1) / threads; task++) {
		if (task / t->across != taken)
			a = take_rows(c, t, (taken = task / t->across) * t->rows, room);
		run_task(c, t, end, task, a);
	}
}

static void
packed_run(const struct vq_call *c)
{
	int64_t n = ((const struct packed *)c->params)->columns;
	struct cut t = cut_of(&c->in[A].type->shape, n, c->in[B].type->shape.rank == 4, c->threads);
	struct vq_epilogue end;

	vq_epilogue_of(&end, c);
	if (t.threads == 1) {
		run_tasks(c, &t, &end, 0, 1);
		return;
	}
	#pragma omp parallel num_threads(t.threads)
	run_tasks(c, &t, &end, omp_get_thread_num(), omp_get_num_threads());
}

static size_t
packed_scratch(const struct vq_cost *c)
{
	int64_t n = ((const struct packed *)c->params)->columns;
	struct cut t = cut_of(&c->in[A].shape, n, c->in[B].shape.rank == 4, c->threads);

	return (size_t)t.threads * t.room;
}

static double
packed_flops(const struct vq_cost *c)
{
	return 2.0 * (double)vq_shape_count(&c->out[0].shape) * (double)c->in[A].shape.dim[c->in[A].shape.rank - 1];
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
	{ "a=f32[2,3] b=bf16[1,2,32,2]", "columns=5", .doc = "pairs of bf16; the last has one" },
	{ "a=f32[3] b=bf16[1,2,32,2]", "columns=32" },
	{ "a=f32[2,0] b=bf16[1,0,32,2]", "columns=4" },
	{ "a=f32[0,3] b=bf16[1,2,32,2]", "columns=4" },
	{ "a=f32[13,301] b=bf16[2,151,32,2]", "columns=51" },
	{ "a=f32[7,1030] b=bf16[3,515,32,2]", "columns=96", .doc = "more depth than one stretch" },
	{ "a=f32[201,70] b=bf16[2,35,32,2]", "columns=45" },
	{ "a=f32[8,1,256] b=bf16[32,128,32,2]", "columns=1024" },
	{ "a=f32[2,3] b=f32[1,4,32]", "columns=5", .fails = "must be [1, 3, 32], is [1, 4, 32]" },
	{ "a=f32[2,3] b=bf16[1,3,32,2]", "columns=5", .fails = "must be [1, 2, 32, 2], is [1, 3, 32, 2]" },
	{ "a=f32[2,3] b=f32[1,2,32,2]", "columns=5", .fails = "is f32, and pairs are of bf16" },
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
		.params = pack_params, .size = sizeof(struct pack), .flags = VQ_OP_INTERNAL | VQ_OP_BF16,
		.infer = pack_infer, .run = pack_run, .ref = pack_ref,
		.examples = pack_examples,
	},
	{
		.name = "matmul_packed",
		.doc = "product of rows with a matrix that was packed",
		.in = { "a", "b" }, .out = { "y" },
		.params = packed_params, .size = sizeof(struct packed), .flags = VQ_OP_INTERNAL | VQ_OP_EPILOGUE | VQ_OP_BF16,
		.infer = packed_infer, .run = packed_run, .ref = packed_ref,
		.scratch = packed_scratch, .flops = packed_flops,
		.examples = packed_examples,
	},
	{ 0 }
};
