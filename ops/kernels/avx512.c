/*
 * avx512 -- the vector kernels for processors with AVX-512 F, BW, DQ and VL
 */
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/tables.h"

#if defined(__x86_64__)

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#define VECTOR_BYTES 64
#include "ops/kernels/ewise_body.h"

const struct vq_kernels vq_kernels_avx512 = {
	.isa = VQ_ISA_AVX512,
	.name = "avx512",
	.ew = EWISE_ROWS,
	.gemm = &vq_gemm_avx512,
	.gemm_bf16 = &vq_gemm_avx512_rounded,
	.widen = widen_row,
	.narrow = narrow_row,
	.sum = sum_row,
	.dot = dot_row,
	.max = max_row,
};

/* The same with products of bf16 by AVX512_BF16. */
const struct vq_kernels vq_kernels_avx512bf16 = {
	.isa = VQ_ISA_AVX512BF16,
	.name = "avx512bf16",
	.ew = EWISE_ROWS_OF(vq_round_avx512bf16),
	.gemm = &vq_gemm_avx512,
	.gemm_bf16 = &vq_gemm_avx512bf16,
	.widen = widen_row,
	.narrow = vq_narrow_avx512bf16,
	.sum = sum_row,
	.dot = dot_row,
	.max = max_row,
};

/* The same with products of bf16 by AMX_BF16. */
const struct vq_kernels vq_kernels_amx = {
	.isa = VQ_ISA_AMX,
	.name = "amx",
	.ew = EWISE_ROWS_OF(vq_round_avx512bf16),
	.gemm = &vq_gemm_avx512,
	.gemm_bf16 = &vq_gemm_amx,
	.widen = widen_row,
	.narrow = vq_narrow_avx512bf16,
	.sum = sum_row,
	.dot = dot_row,
	.max = max_row,
};

#endif

#ifdef __clang__
#pragma clang attribute pop
#endif
