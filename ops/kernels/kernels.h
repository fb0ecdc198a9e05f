/*
 * kernels -- the table of vector kernels
 *
 * A complete portable version of every entry exists; faster ones replace
 * entries at start-up by CPUID, so one binary runs everywhere.  VQGRAPH_ISA
 * (portable, avx2, avx512) forces a lower one.  This table is the only mutable
 * global state of the program, written once before the first use.
 */
#ifndef VQ_OPS_KERNELS_KERNELS_H
#define VQ_OPS_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/kernels/ewise.h"

enum vq_isa { VQ_ISA_PORTABLE, VQ_ISA_AVX2, VQ_ISA_AVX512, VQ_ISAS };

/* y[i] = op(a[i], b[i], c[i]; p, q) for i < n; y may be any operand. */
typedef void vq_ew_row_fn(float *y, const float *a, const float *b, const float *c,
    float p, float q, int64_t n);

struct vq_gemm_micro;			/* ops/kernels/gemm_micro.h */

struct vq_kernels {
	enum vq_isa isa;
	const char *name;		/* "avx2" */
	vq_ew_row_fn *ew[VQ_EW_OPS];
	const struct vq_gemm_micro *gemm;	/* vq_gemm_portable, vq_gemm_avx2, vq_gemm_avx512 */
	float (*sum)(const float *x, int64_t n);
	float (*dot)(const float *x, const float *y, int64_t n);
	float (*max)(const float *x, int64_t n);
};

/* The table of this machine: the best of CPUID, or what VQGRAPH_ISA asks for
 * (a value it does not know, or that the CPU lacks: *why says so, portable is used). */
const struct vq_kernels *vq_kernels(void);
const struct vq_kernels *vq_kernels_of(enum vq_isa isa);	/* NULL when the CPU lacks it */
const char *vq_kernels_complaint(void);				/* NULL, or what was wrong with VQGRAPH_ISA */

/* GB/s of copying memory on so many threads, read and written counted, now, in this process (a tenth of a second). */
double vq_copy_roof(int threads);

#endif
