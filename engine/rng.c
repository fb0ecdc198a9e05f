/*
 * rng -- counter-based random numbers
 *
 * Philox 4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011.  The cipher's key is made of seed and purpose, its
 * counter of step and block.  Logarithm, sine and cosine are polynomials of
 * this file, in float and in a fixed order, so that a draw does not depend on
 * the C library or on how many are made at once.
 */
#include "engine/rng.h"

#include <math.h>
#include <string.h>

#include "engine/base.h"

/* The loops over lanes are worth vectors, which -O2 does not make of them. */
#pragma GCC optimize("O3")

enum { LANES = 32, WORDS = 4 * LANES };

static uint64_t
cipher_key(const struct vq_rng_key *k)
{
	return vq_mix(k->seed + 0x9e3779b97f4a7c15u * vq_mix(k->purpose + 1));
}

/* One round on n lanes. */
static inline __attribute__((always_inline)) void
philox_round(uint32_t c[4][LANES], uint32_t k0, uint32_t k1, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t p = (uint64_t)0xd2511f53u * c[0][i];
		uint64_t q = (uint64_t)0xcd9e8d57u * c[2][i];

		c[0][i] = (uint32_t)(q >> 32) ^ c[1][i] ^ k0;
		c[2][i] = (uint32_t)(p >> 32) ^ c[3][i] ^ k1;
		c[1][i] = (uint32_t)q;
		c[3][i] = (uint32_t)p;
	}
}

static inline __attribute__((always_inline)) void
philox_rounds(uint32_t c[4][LANES], uint32_t k0, uint32_t k1, int n)
{
	for (int r = 0; r < 10; r++) {
		philox_round(c, k0, k1, n);
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
}

void
vq_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c[4][LANES];

	for (int w = 0; w < 4; w++)
		c[w][0] = counter[w];
	philox_rounds(c, key[0], key[1], 1);
	for (int w = 0; w < 4; w++)
		out[w] = c[w][0];
}

/* n blocks from `block` on. */
static inline __attribute__((always_inline)) void
fill_lanes(uint64_t key, uint64_t step, uint64_t block, uint32_t c[4][LANES], int n)
{
	for (int i = 0; i < n; i++) {
		c[0][i] = (uint32_t)(block + (uint64_t)i);
		c[1][i] = (uint32_t)((block + (uint64_t)i) >> 32);
		c[2][i] = (uint32_t)step;
		c[3][i] = (uint32_t)(step >> 32);
	}
	philox_rounds(c, (uint32_t)key, (uint32_t)(key >> 32), n);
}

/* The same integers from longer vectors, where the processor has them. */
#ifdef __x86_64__
#ifdef __clang__
#define FOR_AVX512 target("avx512f,avx512dq,avx512vl")
#else
#define FOR_AVX512 target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")
#endif
static __attribute__((FOR_AVX512)) void
fill_avx512(uint64_t key, uint64_t step, uint64_t block, uint32_t c[4][LANES])
{
	fill_lanes(key, step, block, c, LANES);
}

static __attribute__((target("avx2"))) void
fill_avx2(uint64_t key, uint64_t step, uint64_t block, uint32_t c[4][LANES])
{
	fill_lanes(key, step, block, c, LANES);
}
#endif

static void
fill_words(const struct vq_rng_key *k, uint64_t block, uint32_t c[4][LANES], int n)
{
	uint64_t key = cipher_key(k);

#ifdef __x86_64__
	if (n == LANES && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
		fill_avx512(key, k->step, block, c);
		return;
	}
	if (n == LANES && __builtin_cpu_supports("avx2")) {
		fill_avx2(key, k->step, block, c);
		return;
	}
#endif
	fill_lanes(key, k->step, block, c, n);
}

void
vq_rng_words(const struct vq_rng_key *k, uint64_t block, uint32_t out[4])
{
	uint32_t c[4][LANES];

	fill_words(k, block, c, 1);
	for (int w = 0; w < 4; w++)
		out[w] = c[w][0];
}

void
vq_rng_blocks(const struct vq_rng_key *k, uint64_t block, uint32_t *out, int64_t n)
{
	for (int64_t at = 0; at < n; at += LANES) {
		uint32_t c[4][LANES];
		int m = n - at < LANES ? (int)(n - at) : LANES;

		fill_words(k, block + (uint64_t)at, c, m);
		for (int i = 0; i < m; i++)
			for (int w = 0; w < 4; w++)
				out[4 * (at + i) + w] = c[w][i];
	}
}

/* --- uniform -------------------------------------------------------------- */

static inline float
unit(uint32_t w)
{
	return (float)(int32_t)(w >> 8) * 0x1p-24f;
}

float
vq_rng_uniform(const struct vq_rng_key *k, uint64_t i)
{
	uint32_t w[4];

	vq_rng_words(k, i / 4, w);
	return unit(w[i % 4]);
}

/* Draws 4*block .. of n blocks. */
static void
uniform_tile(const struct vq_rng_key *k, uint64_t block, float *out, int n)
{
	uint32_t c[4][LANES];

	fill_words(k, block, c, n);
	for (int i = 0; i < n; i++)
		for (int w = 0; w < 4; w++)
			out[4 * i + w] = unit(c[w][i]);
}

/* --- normal --------------------------------------------------------------- */

/* ln x for x in (0, 1]: x = m 2^e with m near 1, ln m = 2 artanh((m - 1) / (m + 1)). */
static inline float
log_of(float x)
{
	uint32_t u;
	float m, s, s2;
	int32_t e;

	memcpy(&u, &x, sizeof(u));
	e = (int32_t)(u - 0x3f3504f3u) >> 23;		/* m in [sqrt(1/2), sqrt(2)) */
	u -= (uint32_t)e << 23;
	memcpy(&m, &u, sizeof(m));
	s = (m - 1.0f) / (m + 1.0f);
	s2 = s * s;
	m = ((((s2 * (1.0f / 9) + 1.0f / 7) * s2 + 1.0f / 5) * s2 + 1.0f / 3) * s2 + 1.0f) * s;
	return (float)e * 0.693147180559945f + 2.0f * m;
}

/* Sine and cosine of 2 pi t for t in [0, 1): a quarter turn is taken off, the rest
 * is within pi/4. */
static inline void
turn(float t, float *sine, float *cosine)
{
	int32_t q = (int32_t)(t * 4.0f + 0.5f);
	float a = (t * 4.0f - (float)q) * 1.57079632679490f, a2 = a * a;
	float s = ((((a2 * (1.0f / 362880) - 1.0f / 5040) * a2 + 1.0f / 120) * a2 - 1.0f / 6) * a2 + 1.0f) * a;
	float c = (((a2 * (1.0f / 40320) - 1.0f / 720) * a2 + 1.0f / 24) * a2 - 0.5f) * a2 + 1.0f;
	float x = q & 1 ? c : s, y = q & 1 ? s : c;

	*sine = q & 2 ? -x : x;
	*cosine = (q + 1) & 2 ? -y : y;
}

/* Box and Muller 1958, a pair of words each; the radius has 32 bits so that the
 * tails reach 6.7 deviations. */
static void
normal_tile(const struct vq_rng_key *k, uint64_t block, float *out, int n)
{
	uint32_t c[4][LANES];
	float r[2][LANES];

	fill_words(k, block, c, n);
	for (int w = 0; w < 2; w++)
		for (int i = 0; i < n; i++) {
			uint32_t high = c[2 * w][i] >> 8, low = c[2 * w][i] & 0xff;
			float u = (float)(int32_t)high * 0x1p-24f + ((float)(int32_t)low + 0.5f) * 0x1p-32f;

			r[w][i] = -2.0f * log_of(u);
		}
	for (int w = 0; w < 2; w++)
		for (int i = 0; i < n; i++) {
			float radius = r[w][i] > 0.0f ? sqrtf(r[w][i]) : 0.0f, s, co;

			turn(unit(c[2 * w + 1][i]), &s, &co);
			out[4 * i + 2 * w] = radius * co;
			out[4 * i + 2 * w + 1] = radius * s;
		}
}

float
vq_rng_normal(const struct vq_rng_key *k, uint64_t i)
{
	float x[4];

	normal_tile(k, i / 4, x, 1);
	return x[i % 4];
}

/* --- many ----------------------------------------------------------------- */

static void
fill(void (*tile)(const struct vq_rng_key *, uint64_t, float *, int),
    const struct vq_rng_key *k, uint64_t first, float *out, int64_t n)
{
	while (n > 0) {
		uint64_t block = first / 4;
		int skip = (int)(first % 4);
		int64_t blocks = (n + skip + 3) / 4, take;
		float part[WORDS];

		if (blocks > LANES)
			blocks = LANES;
		take = 4 * blocks - skip < n ? 4 * blocks - skip : n;
		if (take == 4 * blocks) {
			tile(k, block, out, (int)blocks);
		} else {
			tile(k, block, part, (int)blocks);
			memcpy(out, part + skip, (size_t)take * sizeof(*out));
		}
		out += take;
		first += (uint64_t)take;
		n -= take;
	}
}

void
vq_rng_uniforms(const struct vq_rng_key *k, uint64_t first, float *out, int64_t n)
{
	fill(uniform_tile, k, first, out, n);
}

void
vq_rng_normals(const struct vq_rng_key *k, uint64_t first, float *out, int64_t n)
{
	fill(normal_tile, k, first, out, n);
}

/* The high half of a 128-bit product: off from even by less than n / 2^64. */
uint64_t
vq_rng_below(const struct vq_rng_key *k, uint64_t i, uint64_t n)
{
	uint32_t w[4];
	uint64_t x;

	vq_assert(n > 0);
	vq_rng_words(k, i / 2, w);
	x = (uint64_t)w[2 * (i % 2)] << 32 | w[2 * (i % 2) + 1];
	return (uint64_t)((unsigned __int128)x * n >> 64);
}

void
vq_rng_permutation(const struct vq_rng_key *k, uint32_t *out, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = i;
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = (uint32_t)vq_rng_below(k, i, i), x = out[i - 1];

		out[i - 1] = out[j];
		out[j] = x;
	}
}
