/*
 * gemm_micro_amx -- the tiles of gemm_amx_body.h by AMX_BF16
 *
 * Every tile is set up as 16 rows of 64 bytes, once for each call: threads come and go.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx2,fma,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx2,fma,amx-tile,amx-bf16")
#endif
#pragma GCC optimize("O3")

#include <immintrin.h>
#include <stdint.h>

/* As the instruction reads it (Intel's manual, LDTILECFG). */
static const _Alignas(64) struct {
	uint8_t palette, start_row, none[14];
	uint16_t bytes[16];
	uint8_t rows[16];
} shapes = { .palette = 1, .bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

#define tile_start() _tile_loadconfig(&shapes)
#define tile_end() _tile_release()
#define tile_zero(n) _tile_zero(n)
/* The compiler is not told what it reads: all that was written before must be there. */
#define tile_load(n, from, bytes) do { \
	__asm__ volatile("" ::: "memory"); \
	_tile_loadd(n, from, bytes); \
} while (0)
#define tile_store(n, to, bytes) _tile_stored(n, to, bytes)
#define tile_dot(sum, a, b) _tile_dpbf16ps(sum, a, b)
#include "ops/kernels/gemm_amx_body.h"

void
vq_gemm_amx_tile(const struct vq_gemm_tile *t, const float *const *a, float *const *c)
{
	tile(t, a, c);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
