/*
 * op -- what an op declares; the passes consume it
 *
 * One op (or one family, a row each) is one file in ops/: everything static
 * but one const array of struct vq_op at the bottom, which ops/oplist.h names.
 * ops/README.md walks through a first op.
 */
#ifndef VQ_ENGINE_OP_H
#define VQ_ENGINE_OP_H

#include "engine/graph.h"
#include "engine/rng.h"
#include "ops/kernels/ewise.h"

enum { VQ_MAX_IN = 16, VQ_MAX_OUT = 4 };

/* --- shapes ------------------------------------------------------------- */

struct vq_infer {
	const void *params;
	int nin;
	const struct vq_type *in;	/* nin types */
	struct vq_type *out;		/* to fill; starts as copies of in[0] */
	int nout;			/* starts as the number of declared outputs */
	int bad_port;			/* set by vq_infer_error */
	char *message;
};
/* The input (or VQ_NONE: the parameters) that does not fit, and why.  Returns -1. */
int vq_infer_error(struct vq_infer *q, int port, const char *fmt, ...) VQ_PRINTF(3, 4);
/* Out 0 gets the broadcast shape of all inputs' axes, the last `keep` axes left
 * out of it (their entries are not set); rank is the largest.  -1 after an error. */
int vq_infer_broadcast(struct vq_infer *q, int keep, struct vq_shape *out);
/* Floating inputs must agree in dtype; reports otherwise. */
int vq_infer_same_dtype(struct vq_infer *q);
/* axis < 0 counts from the end; reports when out of range, else 0 <= *axis < rank. */
int vq_infer_axis(struct vq_infer *q, int port, int64_t given, int *axis);

/* --- gradient ----------------------------------------------------------- */

/*
 * A rule builds graph; it does not compute.  dout[i] is the gradient that
 * arrives at output i, VQ_NONE where none does (never all of them).  For each
 * input with want[i], set din[i] (VQ_NONE: zero).  A gradient may have the
 * broadcast shape: the pass sums it down.
 */
struct vq_grad {
	struct vq_graph *to;
	const struct vq_op *op;
	const void *params;
	int nin, nout;
	const vq_id *in;
	vq_id out;		/* first output of the forward node */
	const vq_id *dout;
	const bool *want;
	vq_id *din;
	uint64_t key;		/* random ops: what the forward node draws for; a node that must
				 * draw the same takes it over with vq_graph_set_key */
};

/* A fused op as a graph of smaller ones: its documentation, its reference and,
 * when it has no rule of its own, its gradient.  Sets out[]. */
struct vq_compose {
	struct vq_graph *to;
	const void *params;
	int nin;
	const vq_id *in;
	uint64_t key;
	vq_id *out;
};

/* --- kernels ------------------------------------------------------------ */

struct vq_call {
	const void *params;
	int nin, nout;			/* nin counts the epilogue's operands too */
	const struct vq_view *in;
	const struct vq_view *out;
	void *scratch;			/* 64-byte aligned, as many bytes as op->scratch said */
	const struct vq_ewise *epilogue;	/* NULL, or to apply to out[0] (ops with VQ_OP_EPILOGUE) */
	const struct vq_kernels *k;	/* vector kernels of this machine */
	int threads;			/* for num_threads() */
	struct vq_rng_key key;		/* random ops */
};

/* What scratch, flops and bytes can know. */
struct vq_cost {
	const void *params;
	int nin, nout;
	const struct vq_type *in;
	const struct vq_type *out;
	const struct vq_ewise *epilogue;
	int threads;
};

/* Integers that stand for rows or classes: from 0 to below `below`, and `ignore`
 * besides (VQ_NO_IGNORE: none). */
enum { VQ_NO_IGNORE = INT32_MIN };
struct vq_places {
	int64_t below, ignore;
};

/*
 * An example is a gradient check, a run-against-reference check, a benchmark
 * case and a line of `vqgraph ops NAME`.
 *   in     "a=f32[2,3] b=f32[3,4]"; values are drawn uniformly in [-1, 1) or in the
 *          range that follows: "x=f32[2,3](0.5,2)"; i32 likewise "i=i32[4](0,9)" (0..8)
 *   params as vq_params_parse reads them
 *   fails  the message that infer must give; nothing is run then
 * Gradients are checked (first and second order, f64 differences) when every
 * input is small: at most VQ_EXAMPLE_CHECK elements.  Larger ones are timed.
 */
enum { VQ_EXAMPLE_CHECK = 600 };
struct vq_example {
	const char *in;
	const char *params;
	const char *fails;
	const char *doc;
	double tolerance;	/* run against reference, relative; 0: 1e-5 */
	bool no_gradient;	/* not differentiable at random points (kinks everywhere, draws) */
};

enum vq_op_flags {
	VQ_OP_ELEMENTWISE = 1,	/* described by ewise(); fuse may chain it */
	VQ_OP_EPILOGUE = 2,	/* run applies call->epilogue to out[0] */
	VQ_OP_RANDOM = 4,	/* draws from call->key; never merged with a twin */
	VQ_OP_ALIAS = 8,	/* out[0] is in[0] (stop, straight_through) or in[0] with another
				 * shape (reshape): costs nothing; dropped once gradients are taken */
	VQ_OP_INTERNAL = 16,	/* made by passes; not for model files */
	VQ_OP_TRAINING = 32,	/* belongs to training: a step wants an `if`, see expand.c */
	VQ_OP_STOPS = 128,	/* no gradient reaches an input */
	VQ_OP_BF16 = 256,	/* run takes and makes bf16 where infer lets it, if in[0] is f32 */
	VQ_OP_MOVES = 64,	/* every element of out[0] is one of an input's of its type, unchanged */
};

enum vq_half {
	VQ_HALF_NOT,
	VQ_HALF_AS_IS,		/* as the numbers they are */
	VQ_HALF_ROUNDED,	/* and would round them to bf16 anyway */
};

struct vq_op {
	const char *name;
	const char *doc;		/* one sentence, no full stop */
	const char *in[VQ_MAX_IN];	/* port names; "x..." as the only port: one or more */
	const char *out[VQ_MAX_OUT];
	const struct vq_param *params;	/* NULL: none */
	size_t size;			/* of the parameter struct */
	unsigned flags;

	/* Types of the outputs; the only place where shapes are judged. */
	int (*infer)(struct vq_infer *q);
	/* NULL with compose: the composition is differentiated.  NULL without: no
	 * gradient exists; a gradient path through it is the user's error. */
	void (*grad)(struct vq_grad *d);
	void (*compose)(struct vq_compose *c);

	/* Fast kernel: f32 (indices i32), dense views in and out, no allocation.
	 * NULL: ref is the kernel. */
	void (*run)(const struct vq_call *c);
	/* Slow obvious kernel for every floating type through vq_get and vq_set,
	 * accumulating in double.  NULL only where compose stands for it. */
	void (*ref)(const struct vq_call *c);

	/* Which integers input `port` may hold; false: any.  NULL: any, for all ports.  A kernel
	 * must stand others; data that has them is refused where it comes in. */
	bool (*places)(const struct vq_cost *c, int port, struct vq_places *out);

	/* ELEMENTWISE: this op as one instruction: sets op, p and q (ports 0, 1, 2 are its
	 * a, b, c).  false: with these parameters or types it is not one (a comparison's
	 * bool result is one, as 1.0 or 0.0, once fused). */
	bool (*ewise)(const void *params, struct vq_ewise_instr *out);

	/* Pairs {output, input} that may share memory when the input dies here,
	 * as text: "0:0 1:2".  NULL: none. */
	const char *inplace;
	size_t (*scratch)(const struct vq_cost *c);
	/* How run takes input `port` (out: whether it makes output `port`) that is bf16 in memory where its
	 * type says f32 (narrow.c).  Types in c are those that infer knows.  NULL: it does not. */
	enum vq_half (*half)(const struct vq_cost *c, int port, bool out);
	double (*flops)(const struct vq_cost *c);	/* NULL: one per output element */
	double (*bytes)(const struct vq_cost *c);	/* NULL: every view once */

	/* For computing it again in place of keeping what it made (recompute_choose.c): how many times
	 * as long it takes as its bytes and operations say.  0: never unless a step is marked so;
	 * but 1.5 for what is elementwise, and 1 for what moves or is an alias. */
	double again;

	const char *const *also;	/* names people type instead */
	const struct vq_example *examples;
};

/* All ops, NULL-terminated, in the order of ops/oplist.h. */
const struct vq_op *const *vq_ops(void);
const struct vq_op *vq_op_find(const char *name);	/* NULL when unknown */
int vq_op_ports(const struct vq_op *op);		/* declared inputs */
bool vq_op_variadic(const struct vq_op *op);
int vq_op_outs(const struct vq_op *op);

#endif
