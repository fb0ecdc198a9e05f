/*
 * reorder -- the cells of a grid as a sequence in a chosen order, and back
 *
 *   x    [n, h, w], or [n, t] with the cells of a grid row by row   y [n, t]
 *   inverse: x [n, t] is the sequence, y [n, t] the grid row by row
 *
 * kernels/order.h says what the orders are.
 */
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/order.h"

struct reorder {
	int order;		/* enum vq_order */
	bool inverse;
	int64_t width;
};

static const struct vq_param params[] = {
	VQ_ENUM(struct reorder, order, NULL, vq_order_names, "order of the sequence"),
	VQ_BOOLEAN(struct reorder, inverse, "false", "from the sequence back to the grid"),
	VQ_INT(struct reorder, width, "0", 0, INT32_MAX, "columns of the grid that [n, t] stands for; 0: it is square"),
	VQ_PARAMS_END
};

/* --- types --------------------------------------------------------------- */

static int
infer(struct vq_infer *q)
{
	const struct reorder *p = q->params;
	const struct vq_shape *x = &q->in[0].shape;

	if (x->rank == 3 && !p->inverse) {
		if (p->width && p->width != x->dim[2])
			return vq_infer_error(q, 0, "has %lld columns, and width is %lld", (long long)x->dim[2],
			    (long long)p->width);
		q->out[0].shape = vq_shape_of(2, (int64_t[]){ x->dim[0], x->dim[1] * x->dim[2] });
	} else if (x->rank != 2) {
		return vq_infer_error(q, 0, p->inverse ? "must be a sequence [n, t]" :
		    "must be [n, h, w] or [n, t]");
	} else if (p->width ? x->dim[1] % p->width != 0 : x->dim[1] > 0 && vq_order_side(x->dim[1]) < 0) {
		return p->width ? vq_infer_error(q, 0, "has %lld positions, which are no rows of %lld",
		    (long long)x->dim[1], (long long)p->width) :
		    vq_infer_error(q, 0, "has %lld positions, which are no square grid: width says how many columns it has",
		    (long long)x->dim[1]);
	}
	if (vq_shape_span(&q->out[0].shape, 1, 2) > INT32_MAX)
		return vq_infer_error(q, 0, "has too many positions");
	return 0;
}

static int64_t
width_of(const struct reorder *p, const struct vq_shape *x)
{
	if (x->rank == 3)
		return x->dim[2];
	return p->width ? p->width : vq_order_side(x->dim[1]);
}

/* --- derivative ---------------------------------------------------------- */

static void
grad(struct vq_grad *d)
{
	const struct reorder *p = d->params;
	struct vq_shape x = vq_type_at(d->to, d->in[0])->shape;

	if (vq_shape_count(&x) == 0)
		return;
	d->din[0] = VQ_EMIT1(d->to, "reorder", d->dout[0], "order=%s inverse=%s width=%lld",
	    vq_order_names[p->order], p->inverse ? "false" : "true", (long long)width_of(p, &x));
	d->din[0] = vq_reshape(d->to, d->din[0], &x);
}

/* --- kernels ------------------------------------------------------------- */

/* Every second bit of x has a zero above it. */
static int64_t
spread(int64_t x)
{
	int64_t y = 0;

	for (int bit = 0; x >> bit; bit++)
		y |= (x >> bit & 1) << (2 * bit);
	return y;
}

/* What a cell is sorted by. */
static int64_t
key(enum vq_order order, int64_t cell, int64_t w)
{
	int64_t row = cell / w, column = cell % w;

	if (order == VQ_ORDER_Z_CURVE)
		return 2 * spread(row) + spread(column);
	return row * w + (order == VQ_ORDER_S_CURVE && row % 2 ? w - 1 - column : column);
}

static void
ref(const struct vq_call *c)
{
	const struct reorder *p = c->params;
	const struct vq_shape *y = &c->out[0].type->shape;
	size_t size = vq_dtype_size(c->out[0].type->dtype);
	int64_t t = y->dim[1];

	for (int64_t cell = 0; vq_shape_count(y) > 0 && cell < t; cell++) {
		int64_t w = width_of(p, &c->in[0].type->shape), place = 0;
		for (int64_t other = 0; other < t; other++)
			place += key((enum vq_order)p->order, other, w) < key((enum vq_order)p->order, cell, w);
		for (int64_t i = 0; i < y->dim[0]; i++)
			memcpy((char *)c->out[0].data + (size_t)(i * t + (p->inverse ? cell : place)) * size,
			    (const char *)c->in[0].data + (size_t)(i * t + (p->inverse ? place : cell)) * size, size);
	}
}

/* Elements of four bytes, whatever they are. */
static void
run(const struct vq_call *c)
{
	const struct reorder *p = c->params;
	const struct vq_shape *y = &c->out[0].type->shape;
	const uint32_t *x = c->in[0].data;
	uint32_t *to = c->out[0].data;
	int64_t n = y->dim[0], t = y->dim[1];
	int32_t *cell = c->scratch;

	if (vq_dtype_size(c->out[0].type->dtype) != sizeof(*x)) {
		ref(c);
		return;
	}
	if (n * t == 0)
		return;
	int64_t w = width_of(p, &c->in[0].type->shape);
	vq_order_cells((enum vq_order)p->order, t / w, w, cell);
#pragma omp parallel for num_threads(c->threads) schedule(static) if (n * t >= 65536)
	for (int64_t i = 0; i < n; i++)
		for (int64_t k = 0; k < t; k++)
			if (p->inverse)
				to[i * t + cell[k]] = x[i * t + k];
			else
				to[i * t + k] = x[i * t + cell[k]];
}

static size_t
scratch(const struct vq_cost *c)
{
	return (size_t)c->out[0].shape.dim[1] * sizeof(int32_t);
}

static double
flops(const struct vq_cost *c)
{
	return 0;
}

static const struct vq_example examples[] = {
	{ "x=i32[2,9](0,99)", "order=s_curve", .doc = "a square grid, row by row" },
	{ "x=f32[2,4,4]", "order=z_curve" },
	{ "x=f32[2,3,5]", "order=z_curve", .doc = "the cells that there are of an 8x8 curve" },
	{ "x=f32[2,3,4]", "order=s_curve" },
	{ "x=f32[2,3,4]", "order=raster" },
	{ "x=f32[2,12]", "order=s_curve inverse=true width=4" },
	{ "x=f32[2,16]", "order=z_curve inverse=true", .doc = "a sequence back to its grid" },
	{ "x=f32[512,16,16]", "order=z_curve" },
	{ "x=f32[2,12]", "order=z_curve",
	  .fails = "has 12 positions, which are no square grid: width says how many columns it has" },
	{ "x=f32[2,12]", "order=z_curve width=5", .fails = "has 12 positions, which are no rows of 5" },
	{ "x=f32[2,3,4]", "order=z_curve width=3", .fails = "has 4 columns, and width is 3" },
	{ "x=f32[2,3,4]", "order=z_curve inverse=true", .fails = "must be a sequence [n, t]" },
	{ "x=f32[4]", "order=raster", .fails = "must be [n, h, w] or [n, t]" },
	{ 0 }
};

extern const struct vq_op vq_ops_reorder[];
const struct vq_op vq_ops_reorder[] = {
	{
		.name     = "reorder",
		.doc      = "the cells of a grid as a sequence in a chosen order, and back",
		.in       = { "x" },
		.out      = { "y" },
		.params   = params,
		.size     = sizeof(struct reorder),
		.flags    = VQ_OP_MOVES,
		.infer    = infer,
		.grad     = grad,
		.run      = run,
		.ref      = ref,
		.scratch  = scratch,
		.flops    = flops,
		.also     = (const char *const[]){ "permute_tokens", "token_order", "morton", "snake", "boustrophedon", NULL },
		.examples = examples,
	},
	{ 0 }
};
