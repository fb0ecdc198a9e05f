/*
 * transpose_avx512 -- 16 x 16 words transposed in registers; for files compiled for AVX-512
 */
#ifndef VQ_OPS_KERNELS_TRANSPOSE_AVX512_H
#define VQ_OPS_KERNELS_TRANSPOSE_AVX512_H

#include <immintrin.h>

/* The 4x4 blocks of r transposed where they stand: step 1 within pairs of rows, step 2
 * within fours. */
static inline __attribute__((always_inline)) void
transpose_blocks(__m512 r[16])
{
	#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		__m512 a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
		__m512 c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
		r[i] = _mm512_shuffle_ps(a, c, 0x44);
		r[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
		r[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
		r[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
	}
}

/* q[i] gets word i of each row of r, which is lost. */
static inline __attribute__((always_inline)) void
transpose_words(__m512 r[16], __m512 q[16])
{
	transpose_blocks(r);
	/* Row i now has columns i, i + 4, i + 8, i + 12 of its four rows: one block each. */
	#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
		__m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
		q[i] = _mm512_shuffle_f32x4(a, c, 0x88);
		q[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
		q[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
		q[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
	}
}

#endif
