/*
 * registry -- the ops there are, and the helpers of their infer functions
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/oplist.h"

#define DECLARE(file) extern const struct vq_op vq_ops_##file[];
VQ_OPLIST(DECLARE)

#define NAME(file) vq_ops_##file,
static const struct vq_op *const files[] = { VQ_OPLIST(NAME) };

enum { MAX_OPS = 256 };

struct table {
	const struct vq_op *op[MAX_OPS + 1];
	struct vq_names names;
};

/* Filled before main: what it holds never changes, so it is no state. */
static struct table all;

__attribute__((constructor)) static void
fill_table(void)
{
	int n = 0;

	for (size_t f = 0; f < VQ_COUNT(files); f++)
		for (const struct vq_op *op = files[f]; op->name; op++) {
			vq_assert(n < MAX_OPS);
			if (!vq_names_put(&all.names, op->name, n))
				vq_bug("two ops are called %s", op->name);
			all.op[n++] = op;
		}
}

__attribute__((destructor)) static void
free_table(void)
{
	vq_names_free(&all.names);
}

const struct vq_op *const *
vq_ops(void)
{
	return all.op;
}

const struct vq_op *
vq_op_find(const char *name)
{
	int i = vq_names_get(&all.names, name);

	return i < 0 ? NULL : all.op[i];
}

bool
vq_op_variadic(const struct vq_op *op)
{
	return op->in[0] && strstr(op->in[0], "...") != NULL;
}

int
vq_op_ports(const struct vq_op *op)
{
	int n = 0;

	while (n < VQ_MAX_IN && op->in[n])
		n++;
	return n;
}

int
vq_op_outs(const struct vq_op *op)
{
	int n = 0;

	while (n < VQ_MAX_OUT && op->out[n])
		n++;
	return n;
}

/* --- helpers of infer ---------------------------------------------------- */

int
vq_infer_error(struct vq_infer *q, int port, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	free(q->message);
	q->message = t.s;
	q->bad_port = port;
	return -1;
}

/* The leading axes of a shape: all but the last `keep`. */
static struct vq_shape
leading(const struct vq_shape *s, int keep)
{
	struct vq_shape l = *s;

	l.rank = s->rank > keep ? s->rank - keep : 0;
	return l;
}

int
vq_infer_broadcast(struct vq_infer *q, int keep, struct vq_shape *out)
{
	struct vq_shape acc = { 0 };

	for (int i = 0; i < q->nin; i++) {
		struct vq_shape l = leading(&q->in[i].shape, keep), sum;
		if (!vq_shape_broadcast(&acc, &l, &sum))
			return vq_infer_error(q, VQ_NONE, "shapes cannot be broadcast together");
		acc = sum;
	}
	if (acc.rank + keep > VQ_MAX_RANK)
		return vq_infer_error(q, VQ_NONE, "more than %d axes", VQ_MAX_RANK);
	*out = acc;
	out->rank += keep;
	return 0;
}

int
vq_infer_same_dtype(struct vq_infer *q)
{
	int first = VQ_NONE;

	for (int i = 0; i < q->nin; i++) {
		if (!vq_is_float(q->in[i].dtype))
			continue;
		if (first == VQ_NONE)
			first = i;
		else if (q->in[i].dtype != q->in[first].dtype)
			return vq_infer_error(q, i, "is %s where the other is %s (cast converts)",
			    vq_dtype_name(q->in[i].dtype), vq_dtype_name(q->in[first].dtype));
	}
	return 0;
}

int
vq_infer_axis(struct vq_infer *q, int port, int64_t given, int *axis)
{
	int rank = q->in[port].shape.rank;
	int64_t a = given < 0 ? given + rank : given;

	if (a < 0 || a >= rank)
		return vq_infer_error(q, port, "has %d axes, and no axis %lld", rank, (long long)given);
	*axis = (int)a;
	return 0;
}
