/*
 * build -- one function for each node that C code emits
 */
#include "engine/build.h"

#include <stdlib.h>
#include <string.h>

#include "engine/op.h"

vq_id
vq_emit(struct vq_graph *g, const char *name, const vq_id *in, int nin, const char *params, ...)
{
	const struct vq_op *op = vq_op_find(name);
	struct vq_text text = { 0 };
	_Alignas(16) char room[1024] = { 0 };
	char why[VQ_WHY];
	va_list ap;

	if (op == NULL)
		vq_bug("no op is called %s", name);
	vq_assert(op->size <= sizeof(room));
	va_start(ap, params);
	vq_text_vadd(&text, params, ap);
	va_end(ap);
	if (op->params && vq_params_parse(op->params, room, text.s ? text.s : "", why) < 0)
		vq_bug("%s with '%s': %s", name, text.s, why);
	vq_text_free(&text);
	return vq_graph_add(g, op, room, in, nin);
}

vq_id vq_add(struct vq_graph *g, vq_id a, vq_id b) { return VQ_EMIT2(g, "add", a, b, " "); }
vq_id vq_sub(struct vq_graph *g, vq_id a, vq_id b) { return VQ_EMIT2(g, "sub", a, b, " "); }
vq_id vq_mul(struct vq_graph *g, vq_id a, vq_id b) { return VQ_EMIT2(g, "mul", a, b, " "); }
vq_id vq_div(struct vq_graph *g, vq_id a, vq_id b) { return VQ_EMIT2(g, "div", a, b, " "); }
vq_id vq_neg(struct vq_graph *g, vq_id a) { return VQ_EMIT1(g, "neg", a, " "); }
vq_id vq_unary(struct vq_graph *g, const char *op, vq_id a) { return VQ_EMIT1(g, op, a, " "); }

vq_id
vq_scalar_like(struct vq_graph *g, vq_id like, double x)
{
	return like == VQ_NONE ? VQ_NONE : vq_graph_scalar(g, g->value[like].type.dtype, x);
}

vq_id
vq_scale(struct vq_graph *g, vq_id a, double s)
{
	return s == 1 ? a : vq_mul(g, a, vq_scalar_like(g, a, s));
}

vq_id
vq_offset(struct vq_graph *g, vq_id a, double s)
{
	return s == 0 ? a : vq_add(g, a, vq_scalar_like(g, a, s));
}

vq_id
vq_matmul(struct vq_graph *g, vq_id a, vq_id b, bool transpose_a, bool transpose_b)
{
	return VQ_EMIT2(g, "matmul", a, b, "transpose_a=%s transpose_b=%s",
	    transpose_a ? "true" : "false", transpose_b ? "true" : "false");
}

/* The set of axes as the text of a list: "[0,2]". */
static const char *
axes_text(unsigned axes, char buf[64])
{
	int n = 1;

	buf[0] = '[';
	for (int i = 0; i < VQ_MAX_RANK; i++)
		if (axes >> i & 1)
			n += snprintf(buf + n, 64 - (size_t)n, n > 1 ? ",%d" : "%d", i);
	strcpy(buf + n, "]");
	return buf;
}

static vq_id
reduce(struct vq_graph *g, const char *op, vq_id a, unsigned axes, bool keep)
{
	char list[64];

	if (a == VQ_NONE)
		return a;
	if (axes == 0)
		return a;
	return VQ_EMIT1(g, op, a, "axes=%s keep=%s", axes_text(axes, list), keep ? "true" : "false");
}

vq_id vq_sum(struct vq_graph *g, vq_id a, unsigned axes, bool keep) { return reduce(g, "sum", a, axes, keep); }
vq_id vq_mean(struct vq_graph *g, vq_id a, unsigned axes, bool keep) { return reduce(g, "mean", a, axes, keep); }

vq_id
vq_sum_all(struct vq_graph *g, vq_id a)
{
	return a == VQ_NONE ? a : vq_sum(g, a, (1u << g->value[a].type.shape.rank) - 1, false);
}

/* A shape as the text of a list: "[2,3]". */
static const char *
shape_text(const struct vq_shape *s, char buf[VQ_TYPE_STR])
{
	int n = snprintf(buf, VQ_TYPE_STR, "[");

	for (int i = 0; i < s->rank; i++)
		n += snprintf(buf + n, VQ_TYPE_STR - (size_t)n, "%s%lld", i ? "," : "", (long long)s->dim[i]);
	snprintf(buf + n, VQ_TYPE_STR - (size_t)n, "]");
	return buf;
}

vq_id
vq_reshape(struct vq_graph *g, vq_id a, const struct vq_shape *to)
{
	char list[VQ_TYPE_STR];

	if (a == VQ_NONE || vq_shape_equal(&g->value[a].type.shape, to))
		return a;
	return VQ_EMIT1(g, "reshape", a, "shape=%s", shape_text(to, list));
}

vq_id
vq_broadcast_to(struct vq_graph *g, vq_id a, const struct vq_shape *to)
{
	char list[VQ_TYPE_STR];

	if (a == VQ_NONE || vq_shape_equal(&g->value[a].type.shape, to))
		return a;
	return VQ_EMIT1(g, "broadcast_to", a, "shape=%s", shape_text(to, list));
}

vq_id
vq_sum_to(struct vq_graph *g, vq_id a, const struct vq_shape *to)
{
	if (a == VQ_NONE)
		return a;
	/* A copy: `to` may be a value's own, and adding nodes moves the values. */
	struct vq_shape from = g->value[a].type.shape, shape = *to;
	int lead = from.rank - shape.rank;
	unsigned axes = 0;

	vq_assert(lead >= 0);
	for (int i = 0; i < from.rank; i++)
		if (i < lead || (shape.dim[i - lead] == 1 && from.dim[i] != 1))
			axes |= 1u << i;
	return vq_reshape(g, vq_sum(g, a, axes, true), &shape);
}

vq_id
vq_cast(struct vq_graph *g, vq_id a, enum vq_dtype to)
{
	if (a == VQ_NONE || g->value[a].type.dtype == to)
		return a;
	return VQ_EMIT1(g, "cast", a, "to=%s", vq_dtype_name(to));
}

vq_id
vq_fill(struct vq_graph *g, const struct vq_type *t, double x)
{
	struct vq_shape shape = t->shape;

	return vq_broadcast_to(g, vq_graph_scalar(g, t->dtype, x), &shape);
}
