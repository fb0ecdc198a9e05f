/*
 * call -- one op's fast kernel on plain arrays, for tests
 */
#ifndef VQ_TESTS_CALL_H
#define VQ_TESTS_CALL_H

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>

#include "engine/op.h"
#include "ops/kernels/kernels.h"

static inline struct vq_type
f32(int rank, ...)
{
	struct vq_type t = { .dtype = VQ_F32, .shape.rank = rank };
	va_list ap;

	va_start(ap, rank);
	for (int i = 0; i < rank; i++)
		t.shape.dim[i] = va_arg(ap, int);
	va_end(ap);
	return t;
}

static inline struct vq_type
i32(int n)
{
	return vq_type_of(VQ_I32, 1, (int64_t[]){ n });
}

/* What differs from call to call. */
static struct { uint64_t step; int threads; } now = { 0, 2 };

/* Runs the fast kernel on inputs; outputs are allocated and the caller's to free. */
static inline void
call(const char *name, const char *params, int nin, const struct vq_type *type, void *const *data,
    void *out[VQ_MAX_OUT])
{
	const struct vq_op *op = vq_op_find(name);
	_Alignas(16) char room[1024] = { 0 };
	char why[VQ_WHY];
	struct vq_type to[VQ_MAX_OUT];
	struct vq_view in[VQ_MAX_IN], view[VQ_MAX_OUT];
	struct vq_infer q = { .params = room, .nin = nin, .in = type, .out = to, .nout = vq_op_outs(op) };

	ck_assert(op->params == NULL || vq_params_parse(op->params, room, params, why) == 0);
	for (int i = 0; i < q.nout; i++)
		to[i] = nin ? type[0] : f32(0);
	ck_assert_msg(op->infer(&q) == 0, "%s: %s", name, q.message);
	for (int i = 0; i < nin; i++)
		in[i] = (struct vq_view){ data[i], &type[i] };
	for (int i = 0; i < q.nout; i++) {
		out[i] = vq_alloc_aligned(vq_type_bytes(&to[i]) + 1);
		view[i] = (struct vq_view){ out[i], &to[i] };
	}
	struct vq_cost cost = { .params = room, .nin = nin, .nout = q.nout, .in = type, .out = to,
	    .threads = now.threads };
	void *scratch = op->scratch ? vq_alloc_aligned(op->scratch(&cost) + 1) : NULL;
	(op->run ? op->run : op->ref)(&(struct vq_call){ .params = room, .nin = nin, .nout = q.nout, .in = in,
	    .out = view, .scratch = scratch, .k = vq_kernels(), .threads = now.threads,
	    .key = { .seed = 3, .purpose = 4, .step = now.step } });
	free(scratch);
}

static inline void
release(void *out[VQ_MAX_OUT], int n)
{
	for (int i = 0; i < n; i++)
		free(out[i]);
}

/* A repeatable number in [-1, 1). */
static inline float
number(uint64_t i)
{
	return (float)((double)(vq_hash(&i, sizeof(i), 1) >> 11) * 0x1p-52 - 1);
}

static inline float *
numbers(int64_t n, uint64_t from)
{
	float *x = vq_alloc_aligned((size_t)(n + 1) * sizeof(*x));

	for (int64_t i = 0; i < n; i++)
		x[i] = number(from + (uint64_t)i);
	return x;
}

#define near(a, b, tolerance) ck_assert_double_eq_tol((double)(a), (double)(b), tolerance)

#endif
