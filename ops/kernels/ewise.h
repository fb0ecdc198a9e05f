/*
 * ewise -- elementwise programs: straight-line code over rows of floats
 *
 * A program is a list of instructions over registers.  Registers 0..nin-1 are
 * the operands, instruction i writes register nin + i, the last one is the
 * result.  It is walked tile by tile so that everything between operands and
 * result stays in the first-level cache.  A single elementwise op is a program
 * of one instruction; the fuse pass makes longer ones, for the op `fused` and as
 * epilogues of matrix products and convolutions.
 */
#ifndef VQ_OPS_KERNELS_EWISE_H
#define VQ_OPS_KERNELS_EWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/type.h"

/*
 * name, operands, expression over a, b, c and the constants p, q.  The scalar
 * expression is the definition (evaluated in double by the reference); vector
 * kernels are generated from the float forms in ewise_body.h.
 */
enum vq_ew {
	/* unary */
	VQ_EW_COPY, VQ_EW_NEG, VQ_EW_ABS, VQ_EW_SIGN, VQ_EW_SQUARE, VQ_EW_SQRT, VQ_EW_RSQRT,
	VQ_EW_RECIPROCAL, VQ_EW_EXP, VQ_EW_LOG, VQ_EW_SIN, VQ_EW_COS, VQ_EW_TANH, VQ_EW_SIGMOID,
	VQ_EW_ERF, VQ_EW_FLOOR, VQ_EW_ROUND, VQ_EW_BF16 /* the nearest number of bf16 */, VQ_EW_RELU, VQ_EW_LEAKY_RELU /* p: slope */,
	VQ_EW_ELU /* p: alpha */, VQ_EW_SOFTPLUS, VQ_EW_SILU, VQ_EW_GELU, VQ_EW_GELU_TANH,
	VQ_EW_CLAMP /* p: low, q: high */, VQ_EW_AFFINE /* p * a + q */, VQ_EW_POWC /* a ** p */,
	/* binary */
	VQ_EW_ADD, VQ_EW_SUB, VQ_EW_MUL, VQ_EW_DIV, VQ_EW_MAX, VQ_EW_MIN, VQ_EW_POW,
	VQ_EW_GATE /* a where b > 0, else 0 */, VQ_EW_LEAKY_GATE /* a where b > 0, else p * a */,
	VQ_EW_ELU_GATE /* a where b > 0, else a * (b + p) */,
	VQ_EW_GELU_GATE /* a times the derivative of gelu at b */,
	VQ_EW_AXPY /* p * a + b */, VQ_EW_GREATER, VQ_EW_GREATER_EQUAL, VQ_EW_LESS, VQ_EW_LESS_EQUAL,
	VQ_EW_EQUAL, VQ_EW_NOT_EQUAL, /* 1.0 or 0.0 */
	/* ternary */
	VQ_EW_SELECT /* b where a != 0, else c */, VQ_EW_FMA /* a * b + c */,
	VQ_EW_OPS
};

enum { VQ_EWISE_INSTRS = 16, VQ_EWISE_INS = 8 };

/* How an operand is laid over the rows x cols of the result. */
enum vq_ewise_mode {
	VQ_EWISE_FULL,		/* one element for each */
	VQ_EWISE_SCALAR,	/* one element for all */
	VQ_EWISE_ROW,		/* cols elements, the same for every row (a bias) */
	VQ_EWISE_COL,		/* rows elements, one for each row (a kept reduction) */
};

struct vq_ewise {
	int nin, ninstr;
	uint8_t mode[VQ_EWISE_INS];	/* enum vq_ewise_mode */
	uint8_t half;			/* bit i: operand i, which is FULL, is bf16 in memory */
	bool half_out;			/* the result is (not of an epilogue) */
	struct vq_ewise_instr {
		uint8_t op;		/* enum vq_ew */
		uint8_t a, b, c;	/* registers; those an op does not have are 0 */
		float p, q;
	} instr[VQ_EWISE_INSTRS];
};

int vq_ew_arity(enum vq_ew op);
const char *vq_ew_name(enum vq_ew op);
double vq_ew_eval(enum vq_ew op, double a, double b, double c, double p, double q);

/*
 * Runs a program over rows [row, row + nrows) and columns [col, col + ncols) of a
 * result whose rows are `cols` long.  in[i] points at the whole operand; out at
 * the whole result, its rows `ld` apart.  Operand 0 of an epilogue is the result
 * itself: pass in[0] == out and the same ld.  FULL operands have rows `cols`
 * apart, except operand 0, whose rows are `ld0` apart.  What the program says is half
 * points at numbers of bf16.  One thread.
 */
struct vq_kernels;
void vq_ewise_tile(const struct vq_kernels *k, const struct vq_ewise *prog,
    const float *const *in, int64_t ld0, float *out, int64_t ld, int64_t cols,
    int64_t row, int64_t nrows, int64_t col, int64_t ncols);
/* The whole result, over the threads of the caller's team size. */
void vq_ewise_run(const struct vq_kernels *k, const struct vq_ewise *prog,
    const float *const *in, float *out, int64_t rows, int64_t cols, int threads);
/*
 * The same for operands of any shapes that broadcast to the result's: the
 * program's modes are not read, they follow from the shapes; nor what is half,
 * which follows from the types: f32, and bf16 where the shape is the result's.  Operands may be
 * out itself where their type is out's.
 */
void vq_ewise_broadcast(const struct vq_kernels *k, const struct vq_ewise *prog,
    const struct vq_view *in, const struct vq_view *out, int threads);
/* Without the rounding at its end, which writing the result as bf16 does as well; false when nothing is left. */
bool vq_ewise_leave_rounding(struct vq_ewise *prog);
/* Where operand i of a program is that begins at p, n elements on. */
static inline const float *
vq_ewise_at(const struct vq_ewise *prog, int i, const float *p, int64_t n)
{
	return prog->half >> i & 1 ? (const float *)((const uint16_t *)p + n) : p + n;
}
/* What that must give, slowly: any types, through vq_get, vq_ew_eval and vq_set. */
void vq_ewise_reference(const struct vq_ewise *prog, const struct vq_view *in,
    const struct vq_view *out);

#endif
