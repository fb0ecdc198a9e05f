/*
 * gemm_round_body -- the products of bf16 where the processor has none: operands are rounded
 * while they are copied and packed, and multiplied as f32
 *
 * Included after the f32 functions of an instruction set, whose tile it shares; ROUNDED
 * names the kernel, KC is its kc.
 */
#include <string.h>

#pragma GCC optimize("O3")

/* The nearest number that a bf16 can hold, ties to even; NaN stays NaN. */
static inline uint32_t
rounded(uint32_t x)
{
	uint32_t near = (x + 0x7fff + (x >> 16 & 1)) & 0xffff0000u, nan = (x | 0x400000) & 0xffff0000u;

	return (x & 0x7fffffff) > 0x7f800000 ? nan : near;
}

static void
round_row(float *to, const float *from, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		uint32_t x;

		memcpy(&x, from + i, sizeof(x));
		x = rounded(x);
		memcpy(to + i, &x, sizeof(x));
	}
}

static void
pack_rounded(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	pack(to, from, ld, len, n);
	round_row(to, to, len * NR);
}

static void
pack_transposed_rounded(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	pack_transposed(to, from, ld, len, n);
	round_row(to, to, len * NR);
}

const struct vq_gemm_micro ROUNDED = {
	.mr = MR, .nr = NR, .per = 1, .kc = KC, .tile = tile, .round = round_row,
	.pack = pack_rounded, .pack_transposed = pack_transposed_rounded,
};
