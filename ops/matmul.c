/*
 * matmul -- batched matrix product, y = op(a) . op(b)
 *
 *   a   [..., m, k], or [..., k, m] when transpose_a
 *   b   [..., k, n], or [..., n, k] when transpose_b
 *   y   [..., m, n]
 *
 * Leading axes broadcast.  A transpose is a way of reading, never a copy.
 */
#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/gemm.h"

struct matmul {
	bool transpose_a, transpose_b;
	int precision;
};

static const struct vq_param params[] = {
	VQ_BOOLEAN(struct matmul, transpose_a, "false", "read a as its transpose"),
	VQ_BOOLEAN(struct matmul, transpose_b, "false", "read b as its transpose"),
	VQ_PRECISION(struct matmul),
	VQ_PARAMS_END
};

enum { A, B, Y = 0 };

/* Rows (axis 0) or columns (axis 1) of a matrix operand, as op() sees them. */
static int64_t
extent(const struct vq_shape *s, bool transposed, int axis)
{
	return s->dim[s->rank - 2 + (transposed ? 1 - axis : axis)];
}

static int
infer(struct vq_infer *q)
{
	const struct matmul *p = q->params;
	const struct vq_shape *a = &q->in[A].shape, *b = &q->in[B].shape;
	struct vq_shape *y = &q->out[Y].shape;

	for (int port = A; port <= B; port++) {
		if (!vq_is_float(q->in[port].dtype))
			return vq_infer_error(q, port, "is %s, and a floating type is needed (cast converts)",
			    vq_dtype_name(q->in[port].dtype));
		if (q->in[port].shape.rank < 2)
			return vq_infer_error(q, port, "needs at least two axes");
	}
	if (vq_infer_same_dtype(q) < 0)
		return -1;
	int64_t ka = extent(a, p->transpose_a, 1), kb = extent(b, p->transpose_b, 0);
	if (ka != kb)
		return vq_infer_error(q, B, "inner sizes differ: %lld and %lld", (long long)ka, (long long)kb);
	if (vq_infer_broadcast(q, 2, y) < 0)
		return -1;
	y->dim[y->rank - 2] = extent(a, p->transpose_a, 0);
	y->dim[y->rank - 1] = extent(b, p->transpose_b, 1);
	return 0;
}

/* A value as one matrix, its leading axes and rows taken together. */
static vq_id
flat(struct vq_graph *g, vq_id v)
{
	struct vq_shape s = vq_type_at(g, v)->shape;
	int64_t columns = s.dim[s.rank - 1];
	struct vq_shape to = vq_shape_of(2, (int64_t[]){ vq_shape_span(&s, 0, s.rank - 1), columns });

	return s.rank == 2 ? v : vq_reshape(g, v, &to);
}

static vq_id
product(const struct vq_grad *d, vq_id a, vq_id b, bool ta, bool tb)
{
	const struct matmul *p = d->params;

	return VQ_EMIT2(d->to, "matmul", a, b, "transpose_a=%s transpose_b=%s precision=%s", ta ? "true" : "false",
	    tb ? "true" : "false", vq_precision_names[p->precision]);
}

/*
 * With g = dy:  d op(a) = g . op(b)'  and  d op(b) = op(a)' . g.
 * An operand that was read transposed gets the transpose of that.
 *
 * A single b under a batch of a (a linear layer) has a gradient summed over the
 * batch: one product over all rows, instead of a stack of them summed later.
 */
static void
grad(struct vq_grad *d)
{
	const struct matmul *p = d->params;
	bool ta = p->transpose_a, tb = p->transpose_b;
	vq_id a = d->in[A], b = d->in[B], g = d->dout[Y];

	if (d->want[A])
		d->din[A] = ta ? product(d, b, g, tb, true)
		               : product(d, g, b, false, !tb);
	if (!d->want[B])
		return;
	if (vq_type_at(d->to, b)->shape.rank == 2 && !ta) {
		a = flat(d->to, a);
		g = flat(d->to, g);
	}
	d->din[B] = tb ? product(d, g, a, true, ta)
	               : product(d, a, g, !ta, false);
}

static void
run(const struct vq_call *c)
{
	const struct matmul *p = c->params;

	vq_matmul_run(c, p->transpose_a, p->transpose_b, p->precision == VQ_PRECISION_BF16);
}

static size_t
scratch(const struct vq_cost *c)
{
	const struct matmul *p = c->params;

	return vq_matmul_scratch(c, p->transpose_a, p->transpose_b, p->precision == VQ_PRECISION_BF16);
}

static enum vq_half
half(const struct vq_cost *c, int port, bool out)
{
	const struct matmul *p = c->params;

	return vq_matmul_half(c, port, out, p->transpose_a, p->transpose_b, p->precision == VQ_PRECISION_BF16);
}

/* Where the matrix of an operand begins that belongs to batch i of the result. */
static int64_t
matrix_at(const struct vq_shape *s, const struct vq_shape *y, int64_t i)
{
	int64_t at = 0, step = vq_shape_span(s, s->rank - 2, s->rank);

	for (int x = y->rank - 3; x >= 0; x--) {
		int own = x - (y->rank - s->rank);
		if (own >= 0) {
			at += s->dim[own] > 1 ? i % y->dim[x] * step : 0;
			step *= s->dim[own];
		}
		i /= y->dim[x];
	}
	return at;
}

static void
ref(const struct vq_call *c)
{
	const struct matmul *p = c->params;
	const struct vq_shape *a = &c->in[A].type->shape, *b = &c->in[B].type->shape, *y = &c->out[Y].type->shape;
	int64_t m = y->dim[y->rank - 2], n = y->dim[y->rank - 1], k = extent(a, p->transpose_a, 1);
	bool bf16 = p->precision == VQ_PRECISION_BF16;

	for (int64_t at = 0, count = vq_shape_count(y); at < count; at++) {
		int64_t i = at / n % m, j = at % n, batch = at / (m * n);
		int64_t a0 = matrix_at(a, y, batch), b0 = matrix_at(b, y, batch);
		double sum = 0;

		for (int64_t x = 0; x < k; x++)
			sum += vq_get_operand(&c->in[A], a0 + (p->transpose_a ? x * m + i : i * k + x), bf16) *
			    vq_get_operand(&c->in[B], b0 + (p->transpose_b ? j * k + x : x * n + j), bf16);
		vq_set(&c->out[Y], at, sum);
	}
}

static double
flops(const struct vq_cost *c)
{
	const struct matmul *p = c->params;

	return 2.0 * (double)vq_shape_count(&c->out[Y].shape) * (double)extent(&c->in[A].shape, p->transpose_a, 1);
}

static const char *const also[] = { "mm", "bmm", "dot", "gemm", "mat_mul", NULL };

static const struct vq_example examples[] = {
	{ "a=f32[2,3] b=f32[3,4]" },
	{ "a=f32[3,2] b=f32[4,3]", "transpose_a=true transpose_b=true" },
	{ "a=f32[3,7] b=f32[3,5]", "transpose_a=true" },
	{ "a=f32[5,2,3] b=f32[3,4]", .doc = "b is shared by the batch" },
	{ "a=f32[3,2,4] b=f32[5,4]", "transpose_b=true" },
	{ "a=f32[2,3,4] b=f32[2,3,5]", "transpose_a=true" },
	{ "a=f32[2,3,4] b=f32[3,5]", "transpose_a=true", .doc = "a batch of transposes with one b" },
	{ "a=f32[2,3] b=f32[4,3,2]", .doc = "a is shared by the batch" },
	{ "a=f32[2,1,3,4] b=f32[3,4,2]", .doc = "both broadcast" },
	{ "a=f32[1,9] b=f32[9,1]" },
	{ "a=f32[2,0] b=f32[0,3]", .doc = "an empty sum is zero" },
	{ "a=f32[0,2] b=f32[2,3]" },
	{ "a=f32[13,70] b=f32[70,35]" },
	{ "a=f32[25,600] b=f32[600,17]", .doc = "more depth than one stretch" },
	{ "a=f32[1100,13] b=f32[1100,21]", "transpose_a=true", .doc = "deep: summed in parts" },
	{ "a=f32[8,49,32] b=f32[8,49,32]", "transpose_b=true", .doc = "scores of an attention" },
	{ "a=f32[4,49,49] b=f32[4,49,32]" },
	{ "a=f32[1024,256] b=f32[256,1024]" },
	{ "a=f32[6400,256] b=f32[6400,256]", "transpose_a=true", .doc = "gradient of a linear layer's weight" },
	{ "a=f32[2,3] b=f32[3,4]", "precision=bf16", .no_gradient = true, .doc = "operands rounded to bf16" },
	{ "a=f32[3,7] b=f32[3,5]", "precision=bf16 transpose_a=true", .no_gradient = true },
	{ "a=f32[3,5] b=f32[4,5]", "precision=bf16 transpose_b=true", .no_gradient = true },
	{ "a=f32[5,2] b=f32[3,5]", "precision=bf16 transpose_a=true transpose_b=true", .no_gradient = true },
	{ "a=f32[2,3,4] b=f32[3,5]", "precision=bf16 transpose_a=true", .no_gradient = true },
	{ "a=f32[2,1,3,5] b=f32[3,5,2]", "precision=bf16", .no_gradient = true },
	{ "a=f32[2,0] b=f32[0,3]", "precision=bf16", .no_gradient = true },
	{ "a=f32[13,71] b=f32[71,35]", "precision=bf16" },
	{ "a=f32[25,1203] b=f32[1203,17]", "precision=bf16", .doc = "more depth than one stretch" },
	{ "a=f32[1101,13] b=f32[1101,21]", "precision=bf16 transpose_a=true", .doc = "deep: summed in parts" },
	{ "a=f32[8,49,32] b=f32[8,49,32]", "precision=bf16 transpose_b=true" },
	{ "a=f32[1024,256] b=f32[256,1024]", "precision=bf16" },
	{ "a=f32[1024,1024,49,32] b=f32[4,32,49]", .fails = "shapes cannot be broadcast together" },
	{ "a=f32[2,3] b=f32[4,5]", .fails = "inner sizes differ: 3 and 4" },
	{ "a=f32[3] b=f32[3,5]", .fails = "needs at least two axes" },
	{ "a=i32[2,3] b=f32[3,5]", .fails = "is i32, and a floating type is needed (cast converts)" },
	{ 0 }
};

extern const struct vq_op vq_ops_matmul[];
const struct vq_op vq_ops_matmul[] = {
	{
		.name = "matmul",
		.doc = "batched matrix product",
		.in = { "a", "b" },
		.out = { "y" },
		.params = params,
		.size = sizeof(struct matmul),
		.flags = VQ_OP_EPILOGUE,
		.infer = infer,
		.grad = grad,
		.run = run,
		.ref = ref,
		.scratch = scratch,
		.half = half,
		.flops = flops,
		.again = 1,
		.also = also,
		.examples = examples,
	},
	{ 0 }
};
