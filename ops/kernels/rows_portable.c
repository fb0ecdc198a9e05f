/*
 * rows_portable -- the kernels of rows.h for any processor, and which table to use
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/rows.h"

#pragma GCC optimize("O3,no-trapping-math")
#define VECTOR_BYTES 16
#define TABLE vq_rows_portable
#include "ops/kernels/rows_body.h"

const struct vq_rows *
vq_rows(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa == VQ_ISA_AVX512)
		return &vq_rows_avx512;
	if (k->isa == VQ_ISA_AVX2)
		return &vq_rows_avx2;
#endif
	return &vq_rows_portable;
}
