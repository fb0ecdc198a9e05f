/*
 * panels_lanes_body -- what the kernels of panels.h do with one vector
 *
 * Included once by a file that was compiled for its instruction set, after its vectors: vf and vi
 * of VECTOR_BYTES, LANES, INLINE.
 */
#include "ops/kernels/panels.h"
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum {
	W = LANES,
	CHANNELS = LANES == 16 ? 16 : 8,	/* that stay in registers at a time */
	AT_ONCE = 4,				/* keys, so that their sums do not wait for each other */
};

INLINE vf
panel_all(float x)
{
	return (vf){ 0 } + x;
}

INLINE vf
panel_load(const float *x)
{
	return *(const vf *)x;
}

INLINE void
panel_store(float *to, vf x)
{
	*(vf *)to = x;
}

/* What a sum begins with: nothing, or what is there times factor. */
INLINE vf
panel_start(bool first, const float *x, vf factor)
{
	vf y = { 0 };

	if (!first)
		y = panel_load(x) * factor;
	return y;
}

/* x where the mask has ones, else 0; y where it has none. */
INLINE vf
panel_where(vi mask, vf x)
{
	return (vf)((vi)x & mask);
}

INLINE vf
panel_choose(vi mask, vf x, vf y)
{
	return (vf)(((vi)x & mask) | ((vi)y & ~mask));
}

/* The first n floats of a vector, 0 <= n: zeros after them. */
#ifdef __AVX512F__
typedef __mmask16 panel_part;

INLINE panel_part
panel_part_of(int64_t n)
{
	return (panel_part)(n < 16 ? (1u << n) - 1 : 0xffff);
}

INLINE vf
panel_first(const float *x, panel_part part)
{
	return (vf)_mm512_maskz_loadu_ps(part, x);
}

INLINE void
panel_store_first(float *to, vf x, panel_part part)
{
	_mm512_mask_storeu_ps(to, part, (__m512)x);
}
#else
typedef int64_t panel_part;

INLINE panel_part
panel_part_of(int64_t n)
{
	return n < LANES ? n : LANES;
}

INLINE vf
panel_first(const float *x, panel_part part)
{
	vf y = { 0 };

	if (part == LANES)
		return panel_load(x);
	for (int64_t i = 0; i < part; i++)
		y[i] = x[i];
	return y;
}

INLINE void
panel_store_first(float *to, vf x, panel_part part)
{
	if (part == LANES)
		panel_store(to, x);
	else
		for (int64_t i = 0; i < part; i++)
			to[i] = x[i];
}
#endif

/* b where a is NaN: it comes back in the sum. */
INLINE vf
panel_larger(vf a, vf b)
{
#ifdef __AVX512F__
	return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
	return panel_choose(a > b, a, b);
#endif
}

/* 2^x for x <= 0 (a little above is fine), 0 where that is below the normal numbers; within 1.6e-7:
 * the best polynomial of degree 5 that is 1 at 0. */
INLINE vf
panel_exp2(vf x)
{
	vf p = panel_all(1.3264727e-3f);
#ifdef __AVX512F__
	vf r = (vf)_mm512_reduce_ps((__m512)x, 8);		/* less the nearest integer */
	vf k = x - r;
#else
	const float rounder = 12582912.0f;			/* 1.5 * 2^23: the integer ends in the low bits */
	vf t = x + rounder, r = x - (t - rounder);
#endif

	p = p * r + 9.6715127e-3f;
	p = p * r + 5.5507337e-2f;
	p = p * r + 2.4022242e-1f;
	p = p * r + 6.9314698e-1f;
	p = p * r + 1.0f;
#ifdef __AVX512F__
	return (vf)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126), _CMP_NLT_UQ), (__m512)p, (__m512)k);
#else
	/* NaN fails the comparison and stays. */
	return (vf)((vi)(p * (vf)(((vi)t - (0x4b400000 - 127)) << 23)) & ~(x < -126.0f));
#endif
}

/* The lanes that see key j, as ones. */
INLINE vi
panel_seen(const struct vq_panel *p, int64_t j)
{
	static const int32_t lane[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	int32_t hidden = j >= p->keys ? W : (int32_t)(p->hidden + j);

	return *(const vi *)lane >= hidden;
}

/* Whether there is one of `AT_ONCE` keys from j on that a lane does not see. */
INLINE bool
panel_hides(const struct vq_panel *p, int64_t j)
{
	return j + AT_ONCE > p->keys || p->hidden + j + AT_ONCE > 1;
}

/* What dropout leaves of key j's. */
INLINE vf
panel_kept(const struct vq_panel *p, int64_t j, vf x)
{
	typedef uint16_t vh __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
	vi bits = __builtin_convertvector(*(const vh *)(p->bits[j] + p->bit), vi);

	return panel_where(bits >= (int32_t)p->limit, x * p->keep);
}
