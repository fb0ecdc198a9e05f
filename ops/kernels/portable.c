/*
 * portable -- the vector kernels for any processor
 */
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/tables.h"

#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#define VECTOR_BYTES 16
#include "ops/kernels/ewise_body.h"

const struct vq_kernels vq_kernels_portable = {
	.isa = VQ_ISA_PORTABLE,
	.name = "portable",
	.ew = EWISE_ROWS,
	.gemm = &vq_gemm_portable,
	.gemm_bf16 = &vq_gemm_portable_rounded,
	.widen = widen_row,
	.narrow = narrow_row,
	.sum = sum_row,
	.dot = dot_row,
	.max = max_row,
};
