/*
 * panels_body -- the kernels of panels.h, once
 *
 * Included after rows_body.h, whose vectors it uses, by the same files.
 * Before including: PANELS, the name of the table.
 */
#include "ops/kernels/panels_lanes_body.h"
#ifdef __AVX512F__
#include "ops/kernels/transpose_avx512.h"
#endif

/* --- between rows and panels ---------------------------------------------- */

static void
panel_copy(float *to, int64_t ldto, int64_t room, const float *from, int64_t ld, int64_t n, int64_t width, float factor)
{
	int64_t whole = width / LANES * LANES;
	panel_part last = panel_part_of(width - whole), end = panel_part_of(room - whole);

	for (int64_t j = 0; j < n; j++, to += ldto, from += ld) {
		for (int64_t i = 0; i < whole; i += LANES)
			panel_store(to + i, panel_load(from + i) * factor);
		if (whole < room)
			panel_store_first(to + whole, panel_first(from + whole, last) * factor, end);
	}
}

#ifdef __AVX512F__
static void
panel_turn(float *to, const float *from, int64_t ld, int64_t cols, int64_t width, float factor)
{
	for (int64_t c = 0; c < width; c += 16, to += 16 * W) {
		__m512 r[16], q[16];
		panel_part part = panel_part_of(width - c);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			r[i] = (__m512)(panel_first(from + i * ld + c, i < cols ? part : 0) * factor);
		transpose_words(r, q);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			if (i % 4 || c + i < width)
				panel_store(to + i * W, (vf)q[i]);
			else
				break;
	}
}

static void
panel_put(float *to, int64_t ld, const float *from, int64_t cols, int64_t width, const float *factor, bool add)
{
	vf f = panel_load(factor);

	for (int64_t c = 0; c < width; c += 16, from += 16 * W) {
		__m512 r[16], q[16];
		panel_part part = panel_part_of(width - c);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			r[i] = c + i / 4 * 4 < width ? (__m512)(panel_load(from + i * W) * f) : _mm512_setzero_ps();
		transpose_words(r, q);
		#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			float *row = to + i * ld + c;
			vf x = (vf)q[i];
			if (i >= cols)
				break;
			if (add)
				x += panel_first(row, part);
			panel_store_first(row, x, part);
		}
	}
}
#else
static void
panel_turn(float *to, const float *from, int64_t ld, int64_t cols, int64_t width, float factor)
{
	memset(to, 0, (size_t)(VQ_PANEL_DEPTH(width) * W) * sizeof(*to));
	for (int64_t i = 0; i < cols; i++, from += ld)
		for (int64_t c = 0; c < width; c++)
			to[c * W + i] = from[c] * factor;
}

static void
panel_put(float *to, int64_t ld, const float *from, int64_t cols, int64_t width, const float *factor, bool add)
{
	for (int64_t i = 0; i < cols; i++, to += ld)
		for (int64_t c = 0; c < width; c++)
			to[c] = (add ? to[c] : 0) + from[c * W + i] * factor[i];
}
#endif

static void
panel_dots(float *sum, const float *a, const float *b, int64_t n)
{
	vf s = { 0 };

	for (int64_t j = 0; j < n; j++, a += W, b += W)
		s += panel_load(a) * panel_load(b);
	panel_store(sum, s);
}

/* --- keys times queries --------------------------------------------------- */

enum panel_then { PANEL_NOTHING, PANEL_MOST, PANEL_WEIGHTS, PANEL_GRADS };

/* What becomes of the products of key j. */
INLINE vf
panel_finish(enum panel_then then, const struct vq_panel *p, int64_t j, bool hides, vf x, float *w, vf line)
{
	if (then == PANEL_MOST)
		return hides ? panel_choose(panel_seen(p, j), x, panel_all(-INFINITY)) : x;
	if (then == PANEL_WEIGHTS) {
		x = panel_exp2(x - line);
		return hides ? panel_where(panel_seen(p, j), x) : x;
	}
	if (then == PANEL_GRADS) {
		vf weight = panel_load(w + j * W);
		if (p->bits && j < p->keys) {
			x = panel_kept(p, j, x);
			panel_store(w + j * W, panel_kept(p, j, weight));
		}
		return weight * (x - line);
	}
	return x;
}

/* `width` channels of all keys; first: the sums begin with them.  Returns the larger of line and
 * all scores, where they are wanted. */
INLINE vf
panel_products_of(enum panel_then then, int width, const struct vq_panel *p, float *x, const float *k, const float *q,
    int64_t depth, bool first, float *w, vf line)
{
	vf column[CHANNELS];

	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		column[c] = panel_load(q + c * W);
	for (int64_t j = 0; j < p->keys; j += AT_ONCE, x += AT_ONCE * W, k += AT_ONCE * depth) {
		vf sum[AT_ONCE];
		bool hides = panel_hides(p, j);

		#pragma GCC unroll 4
		for (int i = 0; i < AT_ONCE; i++)
			sum[i] = first ? panel_all(0) : panel_load(x + i * W);
		#pragma GCC unroll 16
		for (int c = 0; c < width; c++)
			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				sum[i] += k[i * depth + c] * column[c];
		#pragma GCC unroll 4
		for (int i = 0; i < AT_ONCE; i++) {
			vf y = panel_finish(then, p, j + i, hides, sum[i], w, line);
			if (then == PANEL_MOST)
				line = panel_larger(y, line);
			panel_store(x + i * W, y);
		}
	}
	return line;
}

/* All channels; then: what becomes of the whole sums. */
INLINE vf
panel_products(enum panel_then then, const struct vq_panel *p, float *x, const float *k, const float *q, int64_t depth,
    float *w, vf line)
{
	int64_t c = 0;

	for (; depth - c > CHANNELS; c += CHANNELS)
		panel_products_of(PANEL_NOTHING, CHANNELS, p, x, k + c, q + c * W, depth, c == 0, NULL, line);
	switch (depth - c) {
	case 4:
		return panel_products_of(then, 4, p, x, k + c, q + c * W, depth, c == 0, w, line);
	case 8:
		return panel_products_of(then, 8, p, x, k + c, q + c * W, depth, c == 0, w, line);
#if VECTOR_BYTES == 64
	case 12:
		return panel_products_of(then, 12, p, x, k + c, q + c * W, depth, c == 0, w, line);
	default:
		return panel_products_of(then, 16, p, x, k + c, q + c * W, depth, c == 0, w, line);
#else
	default:
		return line;		/* there is a channel */
#endif
	}
}

static void
panel_scores(const struct vq_panel *p, float *x, const float *k, const float *q, int64_t depth, float *most, float *factor)
{
	vf before = panel_load(most), now = panel_products(PANEL_MOST, p, x, k, q, depth, NULL, before);

	panel_store(most, now);
	panel_store(factor, panel_exp2(before - now));
}

static void
panel_weights(const struct vq_panel *p, float *w, const float *k, const float *q, int64_t depth, const float *lse)
{
	panel_products(PANEL_WEIGHTS, p, w, k, q, depth, NULL, panel_load(lse));
}

static void
panel_grads(const struct vq_panel *p, float *a, float *w, const float *v, const float *g, int64_t depth, const float *less)
{
	panel_products(PANEL_GRADS, p, a, v, g, depth, w, panel_load(less));
}

/* --- keys or values, weighed ---------------------------------------------- */

/*
 * `width` channels: y (+)= values times x.  softmax: x are scores, and become weights; their sum
 * is returned.
 */
INLINE vf
panel_weigh(bool softmax, int width, const struct vq_panel *p, int64_t keys, float *y, const float *v, float *x, int64_t depth,
    vf most, vf factor, bool first)
{
	vf part[CHANNELS], sum = { 0 };

	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		part[c] = panel_start(first, y + c * W, factor);
	for (int64_t j = 0; j < keys; j++, x += W, v += depth) {
		vf w = panel_load(x);

		if (softmax) {
			w = panel_exp2(w - most);
			sum += w;
			if (p->bits)
				w = panel_kept(p, j, w);
			panel_store(x, w);
		}
		#pragma GCC unroll 16
		for (int c = 0; c < width; c++)
			part[c] += v[c] * w;
	}
	#pragma GCC unroll 16
	for (int c = 0; c < width; c++)
		panel_store(y + c * W, part[c]);
	return sum;
}

INLINE vf
panel_weigh_by_width(bool softmax, int64_t width, const struct vq_panel *p, int64_t keys, float *y, const float *v, float *x,
    int64_t depth, vf most, vf factor, bool first)
{
	switch (width) {
	case 4:
		return panel_weigh(softmax, 4, p, keys, y, v, x, depth, most, factor, first);
#if VECTOR_BYTES == 64
	case 8:
		return panel_weigh(softmax, 8, p, keys, y, v, x, depth, most, factor, first);
	case 12:
		return panel_weigh(softmax, 12, p, keys, y, v, x, depth, most, factor, first);
#endif
	default:
		return panel_weigh(softmax, CHANNELS, p, keys, y, v, x, depth, most, factor, first);
	}
}

static void
panel_more(float *y, const float *v, float *x, int64_t keys, int64_t depth, int64_t from, vf factor, bool first)
{
	for (int64_t c = from; c < depth; c += CHANNELS)
		panel_weigh_by_width(false, depth - c, NULL, keys, y + c * W, v + c, x, depth, factor, factor, first);
}

static void
panel_values(const struct vq_panel *p, float *y, const float *v, float *x, int64_t depth, const float *most, float *sum,
    const float *factor, bool first)
{
	vf f = panel_load(factor), before = panel_start(first, sum, f);

	panel_store(sum, before + panel_weigh_by_width(true, depth, p, p->keys, y, v, x, depth, panel_load(most), f, first));
	panel_more(y, v, x, p->keys, depth, CHANNELS, f, first);
}

static void
panel_back(float *to, const float *k, const float *x, int64_t keys, int64_t depth, bool add)
{
	panel_more(to, k, (float *)x, keys, depth, 0, panel_all(1), !add);
}

/* --- weights times rows ---------------------------------------------------- */

/* A vector of channels of each row stays in a register. */
static void
panel_outer(float *to, const float *x, const float *rows, int64_t ld, int64_t cols, int64_t width, int64_t keys)
{
	int64_t ldto = VQ_PANEL_ROW(width);

	for (int64_t c = 0; c < width; c += LANES) {
		float *y = to + c;
		const float *a = x;
		panel_part part = panel_part_of(width - c);
		vf row[W];

		#pragma GCC unroll 16
		for (int i = 0; i < W; i++)
			row[i] = panel_first(rows + i * ld + c, i < cols ? part : 0);
		for (int64_t j = 0; j < keys; j += AT_ONCE, a += AT_ONCE * W, y += AT_ONCE * ldto) {
			vf sum[AT_ONCE];

			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				sum[i] = panel_load(y + i * ldto);
			#pragma GCC unroll 16
			for (int l = 0; l < W; l++)
				#pragma GCC unroll 4
				for (int i = 0; i < AT_ONCE; i++)
					sum[i] += a[i * W + l] * row[l];
			#pragma GCC unroll 4
			for (int i = 0; i < AT_ONCE; i++)
				panel_store(y + i * ldto, sum[i]);
		}
	}
}

const struct vq_panels PANELS = {
	.width = W,
	.copy = panel_copy, .turn = panel_turn, .put = panel_put, .dots = panel_dots,
	.scores = panel_scores, .values = panel_values, .weights = panel_weights, .grads = panel_grads,
	.back = panel_back, .outer = panel_outer,
};
