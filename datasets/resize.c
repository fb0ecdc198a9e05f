/*
 * resize -- pictures to the size and the channels that a stage asks for
 *
 * A pass along each axis, horizontal first; each value of the result is a sum of a few
 * values of the input with weights of its own.  Bytes are summed with weights of
 * 22 bits after the point and rounded after each pass, as Pillow does (Resample.c).
 */
#include "datasets/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINT = 32 - 8 - 2 };

/* One axis: output i is the sum of weight[i][k] * input[first[i] + k], k < taps[i]. */
struct axis {
	int64_t in, out;
	double from, to;		/* the part of the input that is used */
	int64_t most;			/* taps at most */
	int32_t *first, *taps;
	double *weight;			/* [out, most] */
	int32_t *fixed;			/* the same in fixed point */
};

struct vq_resizer {
	int64_t h, w, c;
	enum vq_interpolation how;
	bool whole;			/* nothing is cut off */
	struct axis x, y;
	void *grey, *half, *done;	/* between the passes */
	size_t grey_cap, half_cap, done_cap;
};

/* --- weights ----------------------------------------------------------------- */

static double
filter(enum vq_interpolation how, double x)
{
	const double a = -0.5;

	switch (how) {
	case VQ_BOX:
		return x > -0.5 && x <= 0.5 ? 1 : 0;
	case VQ_BILINEAR:
		x = fabs(x);
		return x < 1 ? 1 - x : 0;
	case VQ_BICUBIC:
		x = fabs(x);
		if (x < 1)
			return ((a + 2) * x - (a + 3)) * x * x + 1;
		return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
	}
	vq_bug("no filter %d", how);
}

static const double support_of[] = { [VQ_BILINEAR] = 1, [VQ_BICUBIC] = 2, [VQ_BOX] = .5 };

static void
axis_free(struct axis *a)
{
	free(a->first);
	free(a->taps);
	free(a->weight);
	free(a->fixed);
	memset(a, 0, sizeof(*a));
}

static void
weigh(struct axis *a, enum vq_interpolation how, int64_t i)
{
	double scale = (a->to - a->from) / (double)a->out, wide = scale < 1 ? 1 : scale;
	double support = support_of[how] * wide, sum = 0;
	double centre = a->from + ((double)i + .5) * scale, *w = a->weight + i * a->most;
	int64_t first = (int64_t)(centre - support + .5), end = (int64_t)(centre + support + .5);

	first = first < 0 ? 0 : first;
	end = end > a->in ? a->in : end;
	a->first[i] = (int32_t)first;
	a->taps[i] = (int32_t)(end - first);
	for (int64_t k = 0; k < end - first; k++) {
		w[k] = filter(how, ((double)(first + k) - centre + .5) * (1 / wide));
		sum += w[k];
	}
	for (int64_t k = 0; k < end - first; k++) {
		if (sum != 0)
			w[k] /= sum;
		a->fixed[i * a->most + k] = (int32_t)(w[k] * (1 << POINT) + (w[k] < 0 ? -.5 : .5));
	}
}

static void
axis_set(struct axis *a, enum vq_interpolation how, int64_t in, int64_t out, double from, double to)
{
	double scale = (to - from) / (double)out;

	if (a->in == in && a->out == out && a->from == from && a->to == to)
		return;
	axis_free(a);
	*a = (struct axis){ .in = in, .out = out, .from = from, .to = to };
	a->most = (int64_t)ceil(support_of[how] * (scale < 1 ? 1 : scale)) * 2 + 1;
	a->first = vq_alloc_array((size_t)out, sizeof(*a->first));
	a->taps = vq_alloc_array((size_t)out, sizeof(*a->taps));
	a->weight = vq_alloc_array((size_t)out, (size_t)a->most * sizeof(*a->weight));
	a->fixed = vq_alloc_array((size_t)out, (size_t)a->most * sizeof(*a->fixed));
	for (int64_t i = 0; i < out; i++)
		weigh(a, how, i);
}

/* The part of h x w in the middle that has the aspect of the result.  Pillow hands
 * the edges of that part on as single floats. */
static void
set_axes(struct vq_resizer *r, int64_t h, int64_t w)
{
	double is = (double)w / (double)h, wanted = (double)r->w / (double)r->h;
	double part_w = (double)w, part_h = (double)h, left, top;

	if (r->whole)
		wanted = is;
	if (is > wanted)
		part_w = wanted * (double)h;
	else if (is < wanted)
		part_h = (double)w / wanted;
	left = ((double)w - part_w) * .5;
	top = ((double)h - part_h) * .5;
	axis_set(&r->x, r->how, w, r->w, (float)left, (float)(left + part_w));
	axis_set(&r->y, r->how, h, r->h, (float)top, (float)(top + part_h));
}

/* --- passes ------------------------------------------------------------------ */

static uint8_t
to_byte(int32_t sum)
{
	sum >>= POINT;
	return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
}

/* [outer, in, inner] -> [outer, out, inner]. */
static void
pass_u8(const struct axis *a, const uint8_t *in, uint8_t *out, int64_t outer, int64_t inner)
{
	for (int64_t o = 0; o < outer; o++, in += a->in * inner)
		for (int64_t i = 0; i < a->out; i++) {
			const int32_t *w = a->fixed + i * a->most;
			const uint8_t *from = in + a->first[i] * inner;

			for (int64_t k = 0; k < inner; k++) {
				int32_t sum = 1 << (POINT - 1);

				for (int32_t t = 0; t < a->taps[i]; t++)
					sum += from[t * inner + k] * w[t];
				*out++ = to_byte(sum);
			}
		}
}

static void
pass_f32(const struct axis *a, const float *in, float *out, int64_t outer, int64_t inner)
{
	for (int64_t o = 0; o < outer; o++, in += a->in * inner)
		for (int64_t i = 0; i < a->out; i++) {
			const double *w = a->weight + i * a->most;
			const float *from = in + a->first[i] * inner;

			for (int64_t k = 0; k < inner; k++) {
				double sum = 0;

				for (int32_t t = 0; t < a->taps[i]; t++)
					sum += from[t * inner + k] * w[t];
				*out++ = (float)sum;
			}
		}
}

static void
grey_u8(const uint8_t *in, int64_t n, uint8_t *out)
{
	for (int64_t i = 0; i < n; i++, in += 3)
		out[i] = (uint8_t)((in[0] * 19595 + in[1] * 38470 + in[2] * 7471 + 0x8000) >> 16);
}

static void
grey_f32(const float *in, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i++, in += 3)
		out[i] = .299f * in[0] + .587f * in[1] + .114f * in[2];
}

/* One channel to three. */
static void
repeat(const void *in, int64_t n, size_t size, void *out)
{
	const char *from = in;
	char *to = out;

	for (int64_t i = 0; i < n; i++, from += size)
		for (int k = 0; k < 3; k++, to += size)
			memcpy(to, from, size);
}

/* --- a picture --------------------------------------------------------------- */

struct vq_resizer *
vq_resizer_new(int64_t h, int64_t w, int64_t c, enum vq_interpolation how)
{
	struct vq_resizer *r = vq_alloc(sizeof(*r));

	vq_assert((h > 0) == (w > 0) && (c == 0 || c == 1 || c == 3));
	r->h = h;
	r->w = w;
	r->c = c;
	r->how = how;
	return r;
}

void
vq_resizer_whole(struct vq_resizer *r, int64_t h, int64_t w)
{
	r->h = h;
	r->w = w;
	r->whole = true;
}

void
vq_resizer_free(struct vq_resizer *r)
{
	if (r == NULL)
		return;
	axis_free(&r->x);
	axis_free(&r->y);
	free(r->grey);
	free(r->half);
	free(r->done);
	free(r);
}

static void *
room(void **p, size_t *cap, int64_t n, size_t size)
{
	size_t want = (size_t)n * size;

	if (want > *cap) {
		free(*p);
		*p = vq_alloc(want);
		*cap = want;
	}
	return *p;
}

/* What changes nothing is left out; the last of the others writes into out. */
static void
resize(struct vq_resizer *r, const void *in, int64_t h, int64_t w, int64_t c, size_t size, void *out)
{
	int64_t to_h = r->h > 0 ? r->h : h, to_w = r->w > 0 ? r->w : w, to_c = r->c > 0 ? r->c : c;
	bool bytes = size == 1, scale = to_h != h || to_w != w;

	vq_assert(c == to_c || (c == 3 && to_c == 1) || (c == 1 && to_c == 3));
	if (c == 3 && to_c == 1) {
		void *to = scale ? room(&r->grey, &r->grey_cap, h * w, size) : out;

		if (bytes)
			grey_u8(in, h * w, to);
		else
			grey_f32(in, h * w, to);
		in = to;
		c = 1;
	}
	if (scale) {
		void *half = room(&r->half, &r->half_cap, h * to_w * c, size);
		void *to = c < to_c ? room(&r->done, &r->done_cap, to_h * to_w * c, size) : out;

		set_axes(r, h, w);
		if (bytes) {
			pass_u8(&r->x, in, half, h, c);
			pass_u8(&r->y, half, to, 1, to_w * c);
		} else {
			pass_f32(&r->x, in, half, h, c);
			pass_f32(&r->y, half, to, 1, to_w * c);
		}
		in = to;
	}
	if (c < to_c)
		repeat(in, to_h * to_w, size, out);
	else if (in != out)
		memcpy(out, in, (size_t)(to_h * to_w * c) * size);
}

void
vq_resize_u8(struct vq_resizer *r, const uint8_t *in, int64_t h, int64_t w, int64_t c, uint8_t *out)
{
	resize(r, in, h, w, c, sizeof(*in), out);
}

void
vq_resize_f32(struct vq_resizer *r, const float *in, int64_t h, int64_t w, int64_t c, float *out)
{
	resize(r, in, h, w, c, sizeof(*in), out);
}
