/*
 * panels_avx512bf16 -- panels of attention whose products are of pairs of bf16
 *
 * vdpbf16ps adds the two products of each pair to a sum in f32.  It takes denormals for zeros.
 */
#ifdef __x86_64__
#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,prefer-vector-width=512")
#endif
#pragma GCC optimize("O3,no-trapping-math")

#include <immintrin.h>

#define VECTOR_BYTES 64
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

enum { LANES = 16 };

#include "ops/kernels/panels_lanes_body.h"
#include "ops/kernels/transpose_avx512.h"

/* sum + the products of a word and those of each lane */
INLINE vf
pair_add(vf sum, const float *word, vf x)
{
	return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(*word), (__m512bh)x);
}

/* Lane by lane, x in the low halves. */
INLINE vf
pair_zip(vf x, vf y)
{
	const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
	    23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

	return (vf)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x));
}

/* The first n halves, 0 <= n. */
INLINE __mmask32
pair_part(int64_t n)
{
	return n < 32 ? (__mmask32)((1u << n) - 1) : 0xffffffffu;
}

/* --- between rows and panels ---------------------------------------------- */

static void
pair_rows(float *to, const uint16_t *from, int64_t ld, int64_t n, int64_t width)
{
	int64_t words = VQ_PANEL_WORDS(width);

	for (int64_t j = 0; j < n; j++, to += words, from += ld)
		for (int64_t c = 0; c < 2 * words; c += 32)
			_mm512_mask_storeu_epi16((uint16_t *)to + c, pair_part(2 * words - c),
			    _mm512_maskz_loadu_epi16(pair_part(width - c), from + c));
	memset(to, 0, (size_t)((VQ_PANEL_KEYS(n) - n) * words) * sizeof(*to));
}

/* 16 numbers from channel c on, as words. */
INLINE __m512i
pair_widen(const uint16_t *from, int64_t c, int64_t width)
{
	return _mm512_cvtepu16_epi32(_mm512_castsi512_si256(_mm512_maskz_loadu_epi16(pair_part(width - c) & 0xffff, from + c)));
}

static void
pair_zip_rows(float *to, const uint16_t *from, int64_t ld, int64_t n, int64_t width, int64_t room)
{
	int64_t row = VQ_PANEL_ROW(width), i = 0;

	for (; i < n; i += 2, to += row, from += 2 * ld)
		for (int64_t c = 0; c < row; c += 16) {
			__m512i x = pair_widen(from, c, width), y = _mm512_setzero_si512();
			if (i + 1 < n)
				y = _mm512_slli_epi32(pair_widen(from + ld, c, width), 16);
			_mm512_storeu_si512(to + c, _mm512_or_si512(x, y));
		}
	memset(to, 0, (size_t)((room - i) / 2 * row) * sizeof(*to));
}

static void
pair_turn(float *to, const uint16_t *from, int64_t ld, int64_t cols, int64_t width)
{
	int64_t words = VQ_PANEL_WORDS(width);

	for (int64_t c = 0; c < words; c += 16, to += 16 * W) {
		__m512 r[16], q[16];
		__mmask32 part = pair_part(width - 2 * c);

		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			r[i] = (__m512)_mm512_maskz_loadu_epi16(i < cols ? part : 0, from + i * ld + 2 * c);
		transpose_words(r, q);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			if (i % 2 || c + i < words)
				panel_store(to + i * W, (vf)q[i]);
			else
				break;
	}
}

static void
pair_put(uint16_t *to, int64_t ld, const float *from, int64_t cols, int64_t width, const float *factor)
{
	vf f = panel_load(factor);

	for (int64_t c = 0; c < width; c += 16, from += 16 * W) {
		__m512 r[16], q[16];
		__mmask16 part = (__mmask16)pair_part(width - c);

		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			r[i] = c + i / 4 * 4 < width ? (__m512)(panel_load(from + i * W) * f) : _mm512_setzero_ps();
		transpose_words(r, q);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			if (i >= cols)
				break;
			_mm256_mask_storeu_epi16(to + i * ld + c, part, (__m256i)_mm512_cvtneps_pbh(q[i]));
		}
	}
}

static void
pair_dots(float *sum, const float *a, const float *b, int64_t words)
{
	vf s = { 0 };

	for (int64_t j = 0; j < words; j++, a += W, b += W)
		s = (vf)_mm512_dpbf16_ps((__m512)s, (__m512bh)panel_load(a), (__m512bh)panel_load(b));
	panel_store(sum, s);
}

/* --- keys times queries --------------------------------------------------- */

enum pair_then { PAIR_NOTHING, PAIR_MOST, PAIR_WEIGHTS, PAIR_GRADS };

/* What the products of some keys go into. */
struct pair_to {
	float *x;		/* [keys][W]: partial sums, then scores or weights; of PAIR_GRADS rows of bf16 */
	float *zipped;		/* PAIR_GRADS: keys in pairs */
	float *w;		/* PAIR_GRADS: weights, which become rows of bf16 */
};

/* Rows of 16 numbers of bf16 and of f32 begin at the same place, and go by in order: what is written has been read. */
INLINE void
pair_narrow(float *to, int64_t j, vf x)
{
	_mm256_storeu_si256((__m256i *)(void *)((uint16_t *)to + j * W), (__m256i)_mm512_cvtneps_pbh((__m512)x));
}

/* The gradient of the score of key j, from that of its weight. */
INLINE vf
pair_grad(const struct vq_panel *p, const struct pair_to *to, int64_t j, vf x, vf less)
{
	vf weight = panel_load(to->w + j * W), kept = weight;

	if (p->bits && j < p->keys) {
		x = panel_kept(p, j, x);
		kept = panel_kept(p, j, weight);
	}
	pair_narrow(to->w, j, kept);
	return weight * (x - less);
}

INLINE vf
pair_finish(enum pair_then then, const struct vq_panel *p, int64_t j, bool hides, vf x, vf line, vf scale)
{
	if (then == PAIR_MOST) {
		x *= scale;
		return hides ? panel_choose(panel_seen(p, j), x, panel_all(-INFINITY)) : x;
	}
	if (then == PAIR_WEIGHTS) {
		x = panel_exp2(x * scale - line);
		return hides ? panel_where(panel_seen(p, j), x) : x;
	}
	return x;
}

/* As panel_products_of (panels_body.h), of `width` words. */
INLINE vf
pair_products_of(enum pair_then then, int width, const struct vq_panel *p, const struct pair_to *to, const float *k, const float *q,
    int64_t words, bool first, vf line, vf scale)
{
	vf column[16];

	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		column[c] = panel_load(q + c * W);
	for (int64_t j = 0; j < p->keys; j += AT_ONCE, k += AT_ONCE * words) {
		vf sum[AT_ONCE];
		bool hides = panel_hides(p, j);

		#pragma GCC unroll 4
		for (int i = 0; i < AT_ONCE; i++)
			sum[i] = first ? panel_all(0) : panel_load(to->x + (j + i) * W);
		#pragma GCC unroll 16
		for (int c = 0; c < width; c++)
			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				sum[i] = pair_add(sum[i], k + i * words + c, column[c]);
		#pragma GCC unroll 4
		for (int i = 0; i < AT_ONCE; i++) {
			sum[i] = then == PAIR_GRADS ? pair_grad(p, to, j + i, sum[i], line) :
			    pair_finish(then, p, j + i, hides, sum[i], line, scale);
			if (then == PAIR_MOST)
				line = panel_larger(sum[i], line);
			if (then == PAIR_GRADS)
				pair_narrow(to->x, j + i, sum[i]);
			else
				panel_store(to->x + (j + i) * W, sum[i]);
		}
		if (then == PAIR_GRADS) {
			panel_store(to->zipped + j / 2 * W, pair_zip(sum[0], sum[1]));
			panel_store(to->zipped + (j / 2 + 1) * W, pair_zip(sum[2], sum[3]));
		}
	}
	return line;
}

#define PAIR_WIDTH(n) case n: return pair_products_of(then, n, p, to, k + c, q + c * W, words, c == 0, line, scale)

INLINE vf
pair_products(enum pair_then then, const struct vq_panel *p, const struct pair_to *to, const float *k, const float *q, int64_t words,
    vf line, vf scale)
{
	int64_t c = 0;

	for (; words - c > 16; c += 16)
		pair_products_of(PAIR_NOTHING, 16, p, to, k + c, q + c * W, words, c == 0, line, scale);
	switch (words - c) {
	PAIR_WIDTH(2);
	PAIR_WIDTH(4);
	PAIR_WIDTH(6);
	PAIR_WIDTH(8);
	PAIR_WIDTH(10);
	PAIR_WIDTH(12);
	PAIR_WIDTH(14);
	default:
	PAIR_WIDTH(16);
	}
}

static void
pair_scores(const struct vq_panel *p, float *x, const float *k, const float *q, int64_t words, float scale, float *most, float *factor)
{
	vf before = panel_load(most);
	vf now = pair_products(PAIR_MOST, p, &(struct pair_to){ .x = x }, k, q, words, before, panel_all(scale));

	panel_store(most, now);
	panel_store(factor, panel_exp2(before - now));
}

static void
pair_weights(const struct vq_panel *p, float *w, const float *k, const float *q, int64_t words, float scale, const float *lse)
{
	pair_products(PAIR_WEIGHTS, p, &(struct pair_to){ .x = w }, k, q, words, panel_load(lse), panel_all(scale));
}

static void
pair_grads(const struct vq_panel *p, float *a, float *az, float *w, const float *v, const float *g, int64_t words, const float *less)
{
	pair_products(PAIR_GRADS, p, &(struct pair_to){ .x = a, .zipped = az, .w = w }, v, g, words, panel_load(less), panel_all(1));
}

/* --- keys or values, weighed ---------------------------------------------- */

/* The weights of keys j and j + 1 from their scores, as pairs; *sum: of both, too. */
INLINE vf
pair_softmax(const struct vq_panel *p, const float *x, int64_t j, vf most, vf *sum)
{
	vf w[2];

	#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		w[i] = panel_exp2(panel_load(x + (j + i) * W) - most);
		*sum += w[i];
		if (p->bits && j + i < p->keys)
			w[i] = panel_kept(p, j + i, w[i]);
	}
	return pair_zip(w[0], w[1]);
}

/* `width` channels: y (+)= rows of pairs times x, which are pairs, or (softmax) scores that become such: pair j / 2
 * lies before score j.  Returns the sum of the weights. */
INLINE vf
pair_weigh(bool softmax, int width, const struct vq_panel *p, int64_t keys, float *y, const float *rows, int64_t row, float *x,
    vf most, vf factor, bool first)
{
	vf part[16], sum = { 0 };

	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		part[c] = panel_start(first, y + c * W, factor);
	for (int64_t j = 0; j < keys; j += 2, rows += row) {
		vf w = softmax ? pair_softmax(p, x, j, most, &sum) : panel_load(x + j / 2 * W);

		if (softmax)
			panel_store(x + j / 2 * W, w);
		#pragma GCC unroll 16
		for (int c = 0; c < width; c++)
			part[c] = pair_add(part[c], rows + c, w);
	}
	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		panel_store(y + c * W, part[c]);
	return sum;
}

INLINE vf
pair_weigh_by_width(bool softmax, int64_t width, const struct vq_panel *p, int64_t keys, float *y, const float *rows, int64_t row,
    float *x, vf most, vf factor, bool first)
{
	switch (width) {
	case 4:
		return pair_weigh(softmax, 4, p, keys, y, rows, row, x, most, factor, first);
	case 8:
		return pair_weigh(softmax, 8, p, keys, y, rows, row, x, most, factor, first);
	case 12:
		return pair_weigh(softmax, 12, p, keys, y, rows, row, x, most, factor, first);
	default:
		return pair_weigh(softmax, 16, p, keys, y, rows, row, x, most, factor, first);
	}
}

static void
pair_more(float *y, const float *rows, float *x, int64_t keys, int64_t width, int64_t from, vf factor, bool first)
{
	int64_t depth = VQ_PANEL_DEPTH(width), row = VQ_PANEL_ROW(width);

	for (int64_t c = from; c < depth; c += 16)
		pair_weigh_by_width(false, depth - c, NULL, keys, y + c * W, rows + c, row, x, factor, factor, first);
}

static void
pair_values(const struct vq_panel *p, float *y, const float *v, float *x, int64_t width, const float *most, float *sum,
    const float *factor, bool first)
{
	vf f = panel_load(factor), before = panel_start(first, sum, f);

	panel_store(sum, before + pair_weigh_by_width(true, VQ_PANEL_DEPTH(width), p, p->keys, y, v, VQ_PANEL_ROW(width), x,
	    panel_load(most), f, first));
	pair_more(y, v, x, p->keys, width, 16, f, first);
}

static void
pair_back(float *to, const float *k, const float *x, int64_t keys, int64_t width)
{
	pair_more(to, k, (float *)x, keys, width, 0, panel_all(1), true);
}

/* --- weights times rows ---------------------------------------------------- */

static void
pair_outer(float *to, const float *x, const float *rows, int64_t width, int64_t keys)
{
	int64_t row = VQ_PANEL_ROW(width);

	for (int64_t c = 0; c < row; c += LANES) {
		float *y = to + c;
		const float *a = x;
		vf pairs[W / 2];

		#pragma GCC unroll 8
		for (int i = 0; i < W / 2; i++)
			pairs[i] = panel_load(rows + i * row + c);
		for (int64_t j = 0; j < keys; j += AT_ONCE, a += AT_ONCE * W / 2, y += AT_ONCE * row) {
			vf sum[AT_ONCE];

			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				sum[i] = panel_load(y + i * row);
			#pragma GCC unroll 8
			for (int l = 0; l < W / 2; l++)
				#pragma GCC unroll 4
				for (int i = 0; i < AT_ONCE; i++)
					sum[i] = pair_add(sum[i], a + i * W / 2 + l, pairs[l]);
			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				panel_store(y + i * row, sum[i]);
		}
	}
}

const struct vq_pair_panels vq_pair_panels_avx512bf16 = {
	.rows = pair_rows, .zip = pair_zip_rows, .turn = pair_turn, .put = pair_put, .dots = pair_dots,
	.scores = pair_scores, .values = pair_values, .weights = pair_weights, .grads = pair_grads,
	.back = pair_back, .outer = pair_outer,
};

#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int panels_avx512bf16_is_empty;	/* a file with nothing in it is not C */
#endif
