/*
 * kernels -- the table of vector kernels
 *
 * A complete portable version of every entry exists; faster ones replace
 * entries at start-up by CPUID, so one binary runs everywhere.  VQGRAPH_ISA
 * (portable, avx2, avx512, avx512bf16, amx) forces a lower one.  This table is the only mutable
 * global state of the program, written once before the first use.
 */
#ifndef VQ_OPS_KERNELS_KERNELS_H
#define VQ_OPS_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/kernels/ewise.h"

enum vq_isa { VQ_ISA_PORTABLE, VQ_ISA_AVX2, VQ_ISA_AVX512, VQ_ISA_AVX512BF16, VQ_ISA_AMX, VQ_ISAS };

/* y[i] = op(a[i], b[i], c[i]; p, q) for i < n; y may be any operand. */
typedef void vq_ew_row_fn(float *y, const float *a, const float *b, const float *c,
    float p, float q, int64_t n);

/*
 * The parameter of products: their operands as they are, or rounded to bf16 (8 bits of
 * mantissa, ties to even); sums are f32 either way.  auto is f32 unless what the node is
 * compiled for says bf16 (engine/precision.c).
 */
enum vq_precision { VQ_PRECISION_AUTO, VQ_PRECISION_F32, VQ_PRECISION_BF16 };
extern const char *const vq_precision_names[];
#define VQ_PRECISION(st) VQ_ENUM(st, precision, "auto", vq_precision_names, \
	"operands as they are (f32), rounded to bf16 and summed in f32 (bf16), or as the run's --precision says (auto)")
/* An operand's element as such a product sees it. */
double vq_get_operand(const struct vq_view *v, int64_t i, bool bf16);

struct vq_gemm_micro;			/* ops/kernels/gemm_micro.h */

struct vq_kernels {
	enum vq_isa isa;
	const char *name;		/* "avx2" */
	vq_ew_row_fn *ew[VQ_EW_OPS];
	const struct vq_gemm_micro *gemm;	/* of f32 */
	const struct vq_gemm_micro *gemm_bf16;	/* operands rounded to bf16, sums in f32; the same nr */
	/* n numbers of bf16 as f32, and back: rounded to the nearest, ties to even; NaN stays NaN */
	void (*widen)(float *to, const uint16_t *from, int64_t n);
	void (*narrow)(uint16_t *to, const float *from, int64_t n);
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
