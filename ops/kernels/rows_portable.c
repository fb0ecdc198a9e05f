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
#define PANELS vq_panels_portable
#include "ops/kernels/panels_body.h"
#define WINOGRAD vq_winograd_portable
#include "ops/kernels/winograd_body.h"
#define STEPS vq_steps_portable
#define STEP_ROWS 4
#include "ops/kernels/steps_body.h"

const struct vq_rows *
vq_rows(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512)
		return &vq_rows_avx512;
	if (k->isa == VQ_ISA_AVX2)
		return &vq_rows_avx2;
#endif
	return &vq_rows_portable;
}

const struct vq_pair_panels *
vq_pair_panels(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512BF16)
		return &vq_pair_panels_avx512bf16;
#endif
	return NULL;
}

const struct vq_panels *
vq_panels(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512)
		return &vq_panels_avx512;
	if (k->isa == VQ_ISA_AVX2)
		return &vq_panels_avx2;
#endif
	return &vq_panels_portable;
}

const struct vq_winograd *
vq_winograd(const struct vq_kernels *k, int64_t r, int64_t m)
{
	const struct vq_winograd *w = vq_winograd_portable;

#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512)
		w = vq_winograd_avx512;
	else if (k->isa == VQ_ISA_AVX2)
		w = vq_winograd_avx2;
#endif
	return w + (m / 4 * 2 + r - 2);
}

/* Tiles of AMX multiply so many at a time that transforms would take longer. */
const struct vq_winograd_pairs *
vq_winograd_pairs(const struct vq_kernels *k, int64_t r)
{
#ifdef __x86_64__
	if (k->isa == VQ_ISA_AVX512BF16)
		return &vq_winograd_avx512bf16[r - 2];
#endif
	(void)k, (void)r;
	return NULL;
}

const struct vq_steps *
vq_steps(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512)
		return &vq_steps_avx512;
	if (k->isa == VQ_ISA_AVX2)
		return &vq_steps_avx2;
#endif
	return &vq_steps_portable;
}

vq_step_pairs_fn *
vq_step_pairs(const struct vq_kernels *k)
{
#ifdef __x86_64__
	if (k->isa >= VQ_ISA_AVX512BF16)
		return k->isa == VQ_ISA_AMX ? vq_step_pairs_amx : vq_step_pairs_avx512bf16;
#endif
	return vq_steps(k)->multiply_pairs;
}
