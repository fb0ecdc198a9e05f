/*
 * tables -- the tables that kernels.c chooses from
 */
#ifndef VQ_OPS_KERNELS_TABLES_H
#define VQ_OPS_KERNELS_TABLES_H

#include "ops/kernels/kernels.h"

extern const struct vq_kernels vq_kernels_portable;
#if defined(__x86_64__)
extern const struct vq_kernels vq_kernels_avx2, vq_kernels_avx512, vq_kernels_avx512bf16, vq_kernels_amx;
/* Of processors with AVX512_BF16. */
void vq_narrow_avx512bf16(uint16_t *to, const float *from, int64_t n);
vq_ew_row_fn vq_round_avx512bf16;
#endif

#endif
