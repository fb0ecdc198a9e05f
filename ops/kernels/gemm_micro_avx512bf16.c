/*
 * gemm_micro_avx512bf16 -- tiles and packing of pairs of bf16, for processors with AVX512_BF16
 *
 * vdpbf16ps adds the two products of each pair to a sum in f32, twice the arithmetic of a
 * multiply-add in one instruction.  It takes denormals for zeros, as does the rounding.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")
#endif

enum { PER = 2 };
#include "ops/kernels/gemm_micro_avx512_body.h"
#include "ops/kernels/tables.h"

static inline __attribute__((always_inline)) __m512
madd(__m512 x, __m512 y, __m512 sum)
{
	return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

/* 32 numbers that follow each other as 16 words. */
static inline __attribute__((always_inline)) __m512
pairs(__m512 lo, __m512 hi)
{
	return (__m512)_mm512_cvtne2ps_pbh(hi, lo);
}

static inline __attribute__((always_inline)) __m512
words(const float *from, int n)
{
	__mmask16 lo = mask_of(n < 16 ? n : 16), hi = mask_of(n < 16 ? 0 : n - 16);

	return pairs(_mm512_maskz_loadu_ps(lo, from), _mm512_maskz_loadu_ps(hi, from + 16));
}

/* Word i of the number i of x and that of y. */
static inline __attribute__((always_inline)) __m512
zipped(__m512 x, __m512 y)
{
	const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
	    23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

	return (__m512)_mm512_permutexvar_epi16(order, (__m512i)pairs(x, y));
}

static void
round_row(float *to, const float *from, int64_t n)
{
	int64_t i = 0;

	for (; i + 32 <= n; i += 32)
		_mm512_storeu_ps(to + i / 2, pairs(_mm512_loadu_ps(from + i), _mm512_loadu_ps(from + i + 16)));
	if (i < n)
		_mm512_mask_storeu_ps(to + i / 2, mask_of((int)(n - i + 1) / 2), words(from + i, (int)(n - i)));
}

static void
zip_rows(float *to, const float *x, const float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i += 16) {
		__mmask16 there = mask_of(n - i < 16 ? (int)(n - i) : 16);
		__m512 second = y ? _mm512_maskz_loadu_ps(there, y + i) : _mm512_setzero_ps();

		_mm512_mask_storeu_ps(to + i, there, zipped(_mm512_maskz_loadu_ps(there, x + i), second));
	}
}

static void
zip_rows_half(float *to, const uint16_t *x, const uint16_t *y, int64_t n)
{
	for (int64_t i = 0; i < n; i += 16) {
		__mmask16 there = mask_of(n - i < 16 ? (int)(n - i) : 16);
		__m512i first = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, x + i));
		__m512i second = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(y ? there : 0, y ? y + i : x));

		_mm512_mask_storeu_ps(to + i, there, (__m512)_mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
	}
}

static void
pack_zipped(float *to, const float *x, const float *y, int64_t ld, int64_t len, int n)
{
	__mmask16 lo = mask_of(n < 16 ? n : 16), hi = mask_of(n < 16 ? 0 : n - 16);
	__mmask16 lo2 = y ? lo : 0, hi2 = y ? hi : 0;

	y = y ? y : x;
	for (int64_t k = 0; k < len; k++, to += NR, x += ld, y += ld) {
		_mm512_store_ps(to, zipped(_mm512_maskz_loadu_ps(lo, x), _mm512_maskz_loadu_ps(lo2, y)));
		_mm512_store_ps(to + 16, zipped(_mm512_maskz_loadu_ps(hi, x + 16), _mm512_maskz_loadu_ps(hi2, y + 16)));
	}
}

static void
pack(float *to, const float *from, int64_t ld, int64_t len, int n)
{
	pack_zipped(to, from, from + ld, 2 * ld, len / 2, n);
	if (len % 2)
		pack_zipped(to + len / 2 * NR, from + (len - 1) * ld, NULL, 0, 1, n);
}

void
vq_narrow_avx512bf16(uint16_t *to, const float *from, int64_t n)
{
	int64_t i = 0;

	for (; i + 32 <= n; i += 32)
		_mm512_storeu_ps((float *)(to + i), pairs(_mm512_loadu_ps(from + i), _mm512_loadu_ps(from + i + 16)));
	for (; i < n; i += 16) {
		__mmask16 there = mask_of(n - i < 16 ? (int)(n - i) : 16);

		_mm256_mask_storeu_epi16(to + i, there, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(there, from + i)));
	}
}

void
vq_round_avx512bf16(float *y, const float *a, const float *b, const float *c, float p, float q, int64_t n)
{
	(void)b, (void)c, (void)p, (void)q;
	for (int64_t i = 0; i < n; i += 16) {
		__mmask16 there = mask_of(n - i < 16 ? (int)(n - i) : 16);
		__m256i half = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(there, a + i));

		_mm512_mask_storeu_ps(y + i, there, (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
	}
}

const struct vq_gemm_micro vq_gemm_avx512bf16 = {
	.mr = MR, .nr = NR, .per = PER, .kc = 256, .tile = tile, .round = round_row, .zip = zip_rows, .zip_half = zip_rows_half,
	.pack = pack, .pack_transposed = pack_transposed, .pack_zipped = pack_zipped,
};

/* The words are the same. */
const struct vq_gemm_micro vq_gemm_amx = {
	.mr = 32, .nr = NR, .per = PER, .kc = 256, .tile = vq_gemm_amx_tile, .round = round_row, .zip = zip_rows, .zip_half = zip_rows_half,
	.pack = pack, .pack_transposed = pack_transposed, .pack_zipped = pack_zipped,
};

bool
vq_gemm_check_tile(void (*tile_of)(const struct vq_gemm_tile *t, const float *const *a, float *const *c))
{
	enum { ROWS = 32, WORDS = 19, LD = 2 * WORDS };
	_Alignas(64) float b[WORDS * NR], x[ROWS * WORDS], sum[ROWS * NR] = { 0 };
	float row[LD], *c[ROWS];
	const float *a[ROWS];
	int64_t off = 0;
	bool same = true;

	for (int i = 0; i < ROWS; i++) {		/* pairs i + 1, k */
		for (int k = 0; k < WORDS; k++) {
			row[2 * k] = (float)(i + 1);
			row[2 * k + 1] = (float)k;
		}
		round_row(x + i * WORDS, row, LD);
		a[i] = x + i * WORDS;
		c[i] = sum + i * NR;
	}
	for (int k = 0; k < WORDS; k++) {		/* pairs j - 7, k % 3 */
		float one[NR], two[NR];
		for (int j = 0; j < NR; j++) {
			one[j] = (float)(j - 7);
			two[j] = (float)(k % 3);
		}
		zip_rows(b + k * NR, one, two, NR);
	}
	tile_of(&(struct vq_gemm_tile){ .segs = 1, .len = WORDS, .step = 1, .off = &off, .b = b, .rows = ROWS, .cols = NR }, a, c);
	for (int i = 0; i < ROWS; i++)
		for (int j = 0; j < NR; j++) {
			float want = 0;
			for (int k = 0; k < WORDS; k++)
				want += (float)((i + 1) * (j - 7) + k * (k % 3));
			same &= sum[i * NR + j] == want;
		}
	return same;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
