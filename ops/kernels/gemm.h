/*
 * gemm -- matrix products in f32, or of operands rounded to bf16
 *
 * Built on the register tiles of gemm_micro.h.  How a product is cut into blocks
 * and dealt to threads never changes the order in which a sum is added up: that
 * order is a function of shapes alone, so the same bits come out of any number
 * of threads.
 */
#ifndef VQ_OPS_KERNELS_GEMM_H
#define VQ_OPS_KERNELS_GEMM_H

#include "engine/op.h"
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/kernels.h"

enum {
	VQ_GEMM_ROWS = 192,			/* most rows of one block */
	VQ_GEMM_TABLE = VQ_GEMM_ROWS + VQ_GEMM_MR_MAX,	/* row starts of a block, and those read past it */
};

/* The columns that n take up once packed; what any instruction set needs at most. */
static inline int64_t
vq_gemm_width(int64_t n)
{
	return (n + VQ_GEMM_NR_MAX - 1) / VQ_GEMM_NR_MAX * VQ_GEMM_NR_MAX;
}

/* What takes the operands as they are, or rounds them to bf16. */
static inline const struct vq_gemm_micro *
vq_gemm_of(const struct vq_kernels *k, bool bf16)
{
	return bf16 ? k->gemm_bf16 : k->gemm;
}

/* The words that n numbers take up. */
static inline int64_t
vq_gemm_words(const struct vq_gemm_micro *u, int64_t n)
{
	return (n + u->per - 1) / u->per;
}

/* One kernel for each number of words that a product may be laid out in, whatever instruction
 * set will run it: scratch must do for all.  Returns how many. */
int vq_gemm_layouts(bool bf16, const struct vq_gemm_micro *u[2]);

/* n numbers that follow each other in k as words. */
void vq_gemm_row(const struct vq_gemm_micro *u, float *to, const float *from, int64_t n);
/* The same of numbers that are bf16 already; bf16 kernels only. */
void vq_gemm_row_half(const struct vq_gemm_micro *u, float *to, const uint16_t *from, int64_t n);
void vq_gemm_zip_half(const struct vq_gemm_micro *u, float *to, const uint16_t *x, const uint16_t *y, int64_t n);
/* n words: word i is of x[i], and with two in a word of y[i] (zero when y is NULL), too. */
void vq_gemm_zip(const struct vq_gemm_micro *u, float *to, const float *x, const float *y, int64_t n);

/*
 * Packs b, k rows by n columns (transposed: stored as n rows by k), into panels
 * [ceil(n / nr)][depth][nr] of words beginning at sliver `at` of each panel.
 */
void vq_gemm_pack(const struct vq_gemm_micro *u, float *to, int64_t depth, int64_t at,
    const float *b, int64_t ldb, bool transposed, int64_t k, int64_t n);
/* The same where row x of b and, with two numbers in a word, row x of c make sliver x; c may be NULL for zeros. */
void vq_gemm_pack_zipped(const struct vq_gemm_micro *u, float *to, int64_t depth, int64_t at,
    const float *b, const float *c, int64_t ld, int64_t k, int64_t n);

/*
 * m rows of a times packed panels, into (or onto) columns [col, col + n) of the
 * rows of c; see gemm_micro.h for how the rows of a are walked.  The row starts in
 * a are followed by mr - 1 more that may be read.
 */
struct vq_gemm_block {
	int64_t m, n;
	const float *const *a;
	float *const *c;
	int64_t segs, len, step;
	const int64_t *off;
	const float *b;
	int64_t depth;			/* slivers in each panel of b */
	int64_t col;
	bool add;
};
void vq_gemm_block(const struct vq_gemm_micro *u, const struct vq_gemm_block *g);

/* Repeats the last of m row starts as often as a tile may read past it. */
void vq_gemm_pad_rows(const float **a, int64_t m);

/*
 * What a kernel's call says about its epilogue, unpacked: operand 0 is the result.
 * vq_epilogue_apply does nothing where there is none.
 */
struct vq_epilogue {
	const struct vq_kernels *k;
	const struct vq_ewise *prog;	/* NULL: none */
	struct vq_ewise own;		/* where prog points, once it knows what is half */
	const float *in[VQ_EWISE_INS];
	float *out;			/* of vq_epilogue_narrow: numbers of bf16 */
	int64_t cols;
};
void vq_epilogue_of(struct vq_epilogue *e, const struct vq_call *c);
void vq_epilogue_apply(const struct vq_epilogue *e, int64_t row, int64_t rows, int64_t col, int64_t cols);
/* The same on a stretch that lies apart, rows ld apart, from where it then goes to the result, which is bf16. */
void vq_epilogue_narrow(const struct vq_epilogue *e, float *sums, int64_t ld, int64_t row, int64_t rows, int64_t col, int64_t cols);

/*
 * op(a) . op(b) over the last two axes of in[0] and in[1], leading axes broadcast,
 * with the call's epilogue.  Flops of one call; bytes of scratch it wants.
 */
void vq_matmul_run(const struct vq_call *c, bool transpose_a, bool transpose_b, bool bf16);
size_t vq_matmul_scratch(const struct vq_cost *c, bool transpose_a, bool transpose_b, bool bf16);

/* What vq_matmul_run takes, and makes, as bf16: see op.h, `half`. */
enum vq_half vq_matmul_half(const struct vq_cost *c, int port, bool out, bool transpose_a, bool transpose_b, bool bf16);

/* GFLOP/s of OpenBLAS's sgemm at 2048^3 on so many threads, now, in this process
 * (about a third of a second). */
double vq_gemm_roof(int threads);
/* The same of the product of bf16 above, since OpenBLAS has none. */
double vq_gemm_roof_bf16(int threads);

#endif
