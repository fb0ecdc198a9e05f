/*
 * avx2 -- the vector kernels for processors with AVX2 and FMA (2013 and later)
 */
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/tables.h"

#if defined(__x86_64__)

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#define VECTOR_BYTES 32
#include "ops/kernels/ewise_body.h"

const struct vq_kernels vq_kernels_avx2 = {
	.isa = VQ_ISA_AVX2,
	.name = "avx2",
	.ew = EWISE_ROWS,
	.gemm = &vq_gemm_avx2,
	.gemm_bf16 = &vq_gemm_avx2_rounded,
	.widen = widen_row,
	.narrow = narrow_row,
	.sum = sum_row,
	.dot = dot_row,
	.max = max_row,
};

#endif

#ifdef __clang__
#pragma clang attribute pop
#endif
