/*
 * ewise_body -- every vector kernel of rows, once
 *
 * Included by portable.c, avx2.c and avx512.c, each after its own target
 * pragma: the same source compiled for three instruction sets.  Loops carry
 * "omp simd" over sixteen elements at a time and a shorter rest goes through a
 * buffer of sixteen, so every element sees the same instructions wherever a
 * row is cut.
 *
 * Approximations are polynomials fitted for this file, good to two or three units in
 * the last place, except where noted; infinities and NaN come out as the C
 * library has them.
 *
 * Before including: VECTOR_BYTES, the width of a register.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "ops/kernels/kernels.h"

#define INLINE static inline __attribute__((always_inline))

enum { STEP = 16 };

/* --- bits ---------------------------------------------------------------- */

INLINE uint32_t
bits_of(float x)
{
	union { float f; uint32_t u; } v = { .f = x };

	return v.u;
}

INLINE float
float_of(uint32_t u)
{
	union { uint32_t u; float f; } v = { .u = u };

	return v.f;
}

/* Adding this rounds to an integer, which then stands in the lowest bits. */
#define ROUNDER 12582912.0f		/* 1.5 * 2^23 */
#define LN2_HI 0.693145751953125f	/* few bits: n * LN2_HI is exact */
#define LN2_LO 1.42860677e-06f

/* --- exp, tanh, sigmoid -------------------------------------------------- */

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1. */
INLINE float
expm1_reduced(float x, int32_t *n)
{
	float t = x * 1.44269504f + ROUNDER;
	float k = t - ROUNDER;
	float r = (x - k * LN2_HI) - k * LN2_LO;
	float q = 0.0013926198f;

	q = q * r + 0.00836319011f;
	q = q * r + 0.0416665561f;
	q = q * r + 0.166665763f;
	q = q * r + 0.5f;
	*n = (int32_t)(bits_of(t) - bits_of(ROUNDER));
	return r + r * r * q;
}

INLINE float
exp_of(float x)
{
	/* Past these e^x is 0 or infinity; NaN fails both comparisons. */
	float t = x < -104.0f ? -104.0f : x;
	int32_t n, half;

	t = t > 89.0f ? 89.0f : t;
	float y = 1.0f + expm1_reduced(t, &n);
	/* In two steps, for results near the ends of the range. */
	half = n >> 1;
	return y * float_of((uint32_t)(half + 127) << 23) * float_of((uint32_t)(n - half + 127) << 23);
}

/* e^x - 1 for x < 0. */
INLINE float
expm1_negative(float x)
{
	float t = x < -87.0f ? -87.0f : x;
	int32_t n;
	float p = expm1_reduced(t, &n);
	float s = float_of((uint32_t)(n + 127) << 23);

	return s * p + (s - 1.0f);
}

/* With e = exp(2|x|) - 1:  tanh |x| = e / (e + 2). */
INLINE float
tanh_of(float x)
{
	float a = fabsf(x);
	int32_t n;

	a = a > 10.0f ? 10.0f : a;
	float p = expm1_reduced(2 * a, &n);
	float s = float_of((uint32_t)(n + 127) << 23);
	float e = s * p + (s - 1.0f);
	return copysignf(e / (e + 2.0f), x);
}

INLINE float
sigmoid_of(float x)
{
	float e = exp_of(-fabsf(x));

	return (x >= 0 ? 1.0f : e) / (1.0f + e);
}

/* --- log ----------------------------------------------------------------- */

/* x = m 2^e with m in [sqrt 1/2, sqrt 2), log m from a polynomial in m - 1. */
INLINE float
log_of(float x)
{
	float normal = x < FLT_MIN ? x * 8388608.0f : x;
	float shift = x < FLT_MIN ? -23.0f : 0.0f;
	uint32_t u = bits_of(normal) - bits_of(0.70710678f);
	float e = (float)((int32_t)u >> 23) + shift;
	float f = float_of((u & 0x7fffff) + bits_of(0.70710678f)) - 1.0f;
	float p = 0.0697161183f;

	p = p * f - 0.114797339f;
	p = p * f + 0.116854198f;
	p = p * f - 0.124256872f;
	p = p * f + 0.142490581f;
	p = p * f - 0.166678026f;
	p = p * f + 0.200007156f;
	p = p * f - 0.24999997f;
	p = p * f + 0.333333313f;
	float y = e * LN2_HI + (f + (f * f * (f * p - 0.5f) + e * LN2_LO));
	y = x > FLT_MAX ? x : y;
	y = x == 0 ? -INFINITY : y;
	return x >= 0 ? y : NAN;
}

/* log(1 + e) for e in [0, 1]: what 1 + e loses is put back (Kahan). */
INLINE float
log1p_of(float e)
{
	float u = 1.0f + e, d = u - 1.0f;
	float y = log_of(u) * (e / (d == 0 ? 1.0f : d));

	return d == 0 ? e : y;
}

INLINE float
softplus_of(float x)
{
	return (x < 0 ? 0 : x) + log1p_of(exp_of(-fabsf(x)));
}

/* --- erf ----------------------------------------------------------------- */

/* Below 1 odd in x; above, 1 - exp(-h(|x|)) with h fitted to -log erfc. */
INLINE float
erf_of(float x)
{
	float a = fabsf(x), s = x * x, p = 7.87587487e-05f, h = -1.6371514e-06f;

	p = p * s - 0.00080168643f;
	p = p * s + 0.00518908724f;
	p = p * s - 0.0268542115f;
	p = p * s + 0.112835944f;
	p = p * s - 0.37612626f;
	p = p * s + 1.12837911f;
	float t = a > 4.0f ? 4.0f : a;
	h = h * t + 4.60580413e-05f;
	h = h * t - 0.00059680565f;
	h = h * t + 0.0047595962f;
	h = h * t - 0.0264211353f;
	h = h * t + 0.110080086f;
	h = h * t + 0.631826043f;
	h = h * t + 1.13023341f;
	h = h * t - 0.00032013806f;
	float large = copysignf(1.0f - exp_of(-h), x);
	return a < 1.0f ? x * p : large;
}

/*
 * Phi(x) of the normal distribution, and *e = exp(-x^2 / 2): Hastings' polynomial (Abramowitz,
 * Stegun 7.1.26) times the exponential, good to 1e-7 of 1.  Past 13 it is its limit.
 */
INLINE float
normal_of(float x, float *e)
{
	float t = x > 13.0f ? 13.0f : x, p = 1.061405429f;
	int32_t n;

	t = t < -13.0f ? -13.0f : t;
	float y = 1.0f + expm1_reduced(-0.5f * t * t, &n), u = 1.0f / (1.0f + 0.231641888f * fabsf(t));
	*e = fabsf(x) > 13.0f ? 0 : y * float_of((uint32_t)(n + 127) << 23);
	p = p * u - 1.453152027f;
	p = p * u + 1.421413741f;
	p = p * u - 0.284496736f;
	p = p * u + 0.254829592f;
	p = 0.5f * p * u * *e;
	return t < 0 ? p : 1.0f - p;
}

/* For large negative x relative to x, not to the vanishing result. */
INLINE float
gelu_of(float x)
{
	float e;

	return x * normal_of(x, &e);
}

/* Phi(x) + x phi(x); x may be infinite. */
INLINE float
gelu_derivative_of(float x)
{
	float e, phi = normal_of(x, &e);

	return phi + 0.398942280f * (x > 13.0f ? 13.0f : x < -13.0f ? -13.0f : x) * e;
}

/* 0.5 (1 + tanh u) is sigmoid(2 u). */
INLINE float
gelu_tanh_of(float x)
{
	return x * sigmoid_of(x * (1.59576912f + 0.0713548163f * x * x));
}

/* --- sin, cos ------------------------------------------------------------ */

/* Up to here the reduction below is exact enough; past it the C library works. */
#define SIN_LIMIT 1048576.0f

/* sin(x + quarter pi / 2): reduced in double, |r| <= pi / 4. */
INLINE float
sin_of(float x, uint32_t quarter)
{
	union { double d; uint64_t u; } t = { .d = (double)x * 0.63661977236758134 + 6755399441055744.0 };
	double n = t.d - 6755399441055744.0;
	float r = (float)(((double)x - n * 1.5707963267948966) - n * 6.123233995736766e-17);
	uint32_t k = (uint32_t)t.u + quarter;
	float s = r * r, a = -0.000195874833f, b = -2.73005469e-07f;

	a = a * s + 0.0083327461f;
	a = a * s - 0.166666642f;
	a = r + r * s * a;
	b = b * s + 2.48005963e-05f;
	b = b * s - 0.00138888881f;
	b = b * s + 0.0416666679f;
	b = 1.0f - 0.5f * s + s * s * b;
	float y = k & 1 ? b : a;
	return k & 2 ? -y : y;
}

/* --- bf16 ----------------------------------------------------------------- */

/* The nearest number that a bf16 can hold, ties to even; NaN stays NaN. */
INLINE float
bf16_of(float x)
{
	uint32_t u = bits_of(x), near = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;

	return float_of(x == x ? near : (u & 0xffff0000u) | 0x400000);
}

static void
widen_row(float *to, const uint16_t *from, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		to[i] = float_of((uint32_t)from[i] << 16);
}

static void
narrow_row(uint16_t *to, const float *from, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		to[i] = (uint16_t)(bits_of(bf16_of(from[i])) >> 16);
}

/* --- one element --------------------------------------------------------- */

/* op is a constant wherever this is inlined. */
INLINE float
unary_of(enum vq_ew op, float a, float p, float q)
{
	switch (op) {
	case VQ_EW_COPY: return a;
	case VQ_EW_NEG: return -a;
	case VQ_EW_ABS: return fabsf(a);
	case VQ_EW_SIGN: return a > 0 ? 1.0f : a < 0 ? -1.0f : a;
	case VQ_EW_SQUARE: return a * a;
	case VQ_EW_SQRT: return sqrtf(a);
	case VQ_EW_RSQRT: return 1.0f / sqrtf(a);
	case VQ_EW_RECIPROCAL: return 1.0f / a;
	case VQ_EW_EXP: return exp_of(a);
	case VQ_EW_LOG: return log_of(a);
	case VQ_EW_SIN: return sin_of(a, 0);
	case VQ_EW_COS: return sin_of(a, 1);
	case VQ_EW_TANH: return tanh_of(a);
	case VQ_EW_SIGMOID: return sigmoid_of(a);
	case VQ_EW_ERF: return erf_of(a);
	case VQ_EW_FLOOR: return floorf(a);
	case VQ_EW_ROUND: return rintf(a);
	case VQ_EW_BF16: return bf16_of(a);
	case VQ_EW_RELU: return a < 0 ? 0 : a;
	case VQ_EW_LEAKY_RELU: return a < 0 ? p * a : a;
	case VQ_EW_ELU: return a < 0 ? p * expm1_negative(a) : a;
	case VQ_EW_SOFTPLUS: return softplus_of(a);
	case VQ_EW_SILU: return a * sigmoid_of(a);
	case VQ_EW_GELU: return gelu_of(a);
	case VQ_EW_GELU_TANH: return gelu_tanh_of(a);
	case VQ_EW_CLAMP: a = a < p ? p : a; return a > q ? q : a;
	case VQ_EW_AFFINE: return p * a + q;
	default: return powf(a, p);
	}
}

INLINE float
element(enum vq_ew op, float a, float b, float c, float p, float q)
{
	switch (op) {
	case VQ_EW_ADD: return a + b;
	case VQ_EW_SUB: return a - b;
	case VQ_EW_MUL: return a * b;
	case VQ_EW_DIV: return a / b;
	case VQ_EW_MAX: a = b > a ? b : a; return b != b ? b : a;
	case VQ_EW_MIN: a = b < a ? b : a; return b != b ? b : a;
	case VQ_EW_POW: return powf(a, b);
	case VQ_EW_GATE: return b > 0 ? a : 0;
	case VQ_EW_LEAKY_GATE: return b > 0 ? a : p * a;
	case VQ_EW_ELU_GATE: return b > 0 ? a : a * (b + p);
	case VQ_EW_GELU_GATE: return a * gelu_derivative_of(b);
	case VQ_EW_AXPY: return p * a + b;
	case VQ_EW_GREATER: return a > b ? 1.0f : 0;
	case VQ_EW_GREATER_EQUAL: return a >= b ? 1.0f : 0;
	case VQ_EW_LESS: return a < b ? 1.0f : 0;
	case VQ_EW_LESS_EQUAL: return a <= b ? 1.0f : 0;
	case VQ_EW_EQUAL: return a == b ? 1.0f : 0;
	case VQ_EW_NOT_EQUAL: return a != b ? 1.0f : 0;
	case VQ_EW_SELECT: return a != 0 ? b : c;
	case VQ_EW_FMA: return a * b + c;
	default: return unary_of(op, a, p, q);
	}
}

/* --- rows ---------------------------------------------------------------- */

/* n is a multiple of STEP. */
INLINE void
steps(enum vq_ew op, int arity, float *y, const float *a, const float *b, const float *c,
    float p, float q, int64_t n)
{
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		y[i] = element(op, a[i], arity > 1 ? b[i] : 0, arity > 2 ? c[i] : 0, p, q);
}

INLINE void
row(enum vq_ew op, int arity, float *y, const float *a, const float *b, const float *c,
    float p, float q, int64_t n)
{
	int64_t whole = n / STEP * STEP, rest = n - whole;
	float room[3][STEP] = { 0 };

	steps(op, arity, y, a, b, c, p, q, whole);
	if (rest == 0)
		return;
	memcpy(room[0], a + whole, (size_t)rest * sizeof(*a));
	if (arity > 1)
		memcpy(room[1], b + whole, (size_t)rest * sizeof(*b));
	if (arity > 2)
		memcpy(room[2], c + whole, (size_t)rest * sizeof(*c));
	steps(op, arity, room[0], room[0], room[1], room[2], p, q, STEP);
	memcpy(y + whole, room[0], (size_t)rest * sizeof(*y));
}

#define ROW_ARGS float *y, const float *a, const float *b, const float *c, float p, float q, int64_t n
#define ROW1(op) static void row_##op(ROW_ARGS) { row(VQ_EW_##op, 1, y, a, b, c, p, q, n); }
#define ROW2(op) static void row_##op(ROW_ARGS) { row(VQ_EW_##op, 2, y, a, b, c, p, q, n); }
#define ROW3(op) static void row_##op(ROW_ARGS) { row(VQ_EW_##op, 3, y, a, b, c, p, q, n); }

ROW1(COPY) ROW1(NEG) ROW1(ABS) ROW1(SIGN) ROW1(SQUARE) ROW1(SQRT) ROW1(RSQRT) ROW1(RECIPROCAL)
ROW1(EXP) ROW1(LOG) ROW1(TANH) ROW1(SIGMOID) ROW1(ERF) ROW1(FLOOR) ROW1(ROUND) ROW1(BF16) ROW1(RELU)
ROW1(LEAKY_RELU) ROW1(ELU) ROW1(SOFTPLUS) ROW1(SILU) ROW1(GELU) ROW1(GELU_TANH) ROW1(CLAMP)
ROW1(AFFINE)
ROW2(ADD) ROW2(SUB) ROW2(MUL) ROW2(DIV) ROW2(MAX) ROW2(MIN) ROW2(GATE) ROW2(LEAKY_GATE) ROW2(ELU_GATE) ROW2(GELU_GATE)
ROW2(AXPY) ROW2(GREATER) ROW2(GREATER_EQUAL) ROW2(LESS) ROW2(LESS_EQUAL) ROW2(EQUAL) ROW2(NOT_EQUAL)
ROW3(SELECT) ROW3(FMA)

/* The few arguments too large for the fast reduction are done again. */
INLINE void
row_of_sin(uint32_t quarter, float *y, const float *a, int64_t n)
{
	for (int64_t i = 0; i < n; i += STEP) {
		int64_t m = n - i < STEP ? n - i : STEP;
		float x[STEP] = { 0 }, r[STEP];
		memcpy(x, a + i, (size_t)m * sizeof(*x));
#pragma omp simd
		for (int j = 0; j < STEP; j++)
			r[j] = sin_of(x[j], quarter);
		for (int64_t j = 0; j < m; j++)
			y[i + j] = fabsf(x[j]) < SIN_LIMIT ? r[j] : quarter ? cosf(x[j]) : sinf(x[j]);
	}
}

static void row_SIN(ROW_ARGS) { row_of_sin(0, y, a, n); }
static void row_COS(ROW_ARGS) { row_of_sin(1, y, a, n); }

static void
row_POW(ROW_ARGS)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = powf(a[i], b[i]);
}

/* a ** p: most exponents that models use are a product or a root. */
static void
row_POWC(ROW_ARGS)
{
	if (p == 1)
		row_COPY(y, a, b, c, p, q, n);
	else if (p == 2)
		row_SQUARE(y, a, b, c, p, q, n);
	else if (p == 0.5f)
		row_SQRT(y, a, b, c, p, q, n);
	else if (p == -0.5f)
		row_RSQRT(y, a, b, c, p, q, n);
	else if (p == -1)
		row_RECIPROCAL(y, a, b, c, p, q, n);
	else
		for (int64_t i = 0; i < n; i++)
			y[i] = powf(a[i], p);
}

/* --- sums ---------------------------------------------------------------- */

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef float vf_memory __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

enum { LANES = VECTOR_BYTES / 4, CHAINS = 4, SUM_BLOCK = 1024 };

INLINE float
lanes_sum(const vf *v)
{
	float lane[LANES];

	memcpy(lane, v, sizeof(lane));
	for (int w = LANES / 2; w > 0; w /= 2)
		for (int i = 0; i < w; i++)
			lane[i] += lane[i + w];
	return lane[0];
}

INLINE vf
product(const float *x, const float *y, int64_t i)
{
	vf v = *(const vf_memory *)(x + i);

	if (y != NULL)
		v *= *(const vf_memory *)(y + i);
	return v;
}

/* At most SUM_BLOCK products, or elements when y is NULL. */
INLINE float
block_dot(const float *x, const float *y, int64_t n)
{
	vf acc[CHAINS] = { 0 };
	int64_t i = 0;
	float rest = 0;

	for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
		for (int j = 0; j < CHAINS; j++)
			acc[j] += product(x, y, i + j * LANES);
	for (; i + LANES <= n; i += LANES)
		acc[0] += product(x, y, i);
	for (; i < n; i++)
		rest += y ? x[i] * y[i] : x[i];
	acc[0] = (acc[0] + acc[1]) + (acc[2] + acc[3]);
	return lanes_sum(&acc[0]) + rest;
}

static float
sum_row(const float *x, int64_t n)
{
	double total = 0;

	if (n <= SUM_BLOCK)
		return block_dot(x, NULL, n);
	for (int64_t i = 0; i < n; i += SUM_BLOCK)
		total += block_dot(x + i, NULL, n - i < SUM_BLOCK ? n - i : SUM_BLOCK);
	return (float)total;
}

static float
dot_row(const float *x, const float *y, int64_t n)
{
	double total = 0;

	if (n <= SUM_BLOCK)
		return block_dot(x, y, n);
	for (int64_t i = 0; i < n; i += SUM_BLOCK)
		total += block_dot(x + i, y + i, n - i < SUM_BLOCK ? n - i : SUM_BLOCK);
	return (float)total;
}

/* NaN wins, and stays. */
INLINE vf
lanes_max(vf m, vf v)
{
	vi take = (vi)(v > m) | (vi)(v != v);

	return (vf)((take & (vi)v) | (~take & (vi)m));
}

static float
max_row(const float *x, int64_t n)
{
	vf acc[CHAINS];
	float lane[LANES], best = -INFINITY;
	int64_t i = 0;

	for (int j = 0; j < CHAINS; j++)
		acc[j] = (vf){ 0 } - INFINITY;
	for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
		for (int j = 0; j < CHAINS; j++)
			acc[j] = lanes_max(acc[j], *(const vf_memory *)(x + i + j * LANES));
	for (; i + LANES <= n; i += LANES)
		acc[0] = lanes_max(acc[0], *(const vf_memory *)(x + i));
	acc[0] = lanes_max(lanes_max(acc[0], acc[1]), lanes_max(acc[2], acc[3]));
	memcpy(lane, &acc[0], sizeof(lane));
	for (int j = 0; j < LANES; j++)
		best = lane[j] > best || lane[j] != lane[j] ? lane[j] : best;
	for (; i < n; i++)
		best = x[i] > best || x[i] != x[i] ? x[i] : best;
	return best;
}

/* --- the table's rows ---------------------------------------------------- */

#define EWISE_ROWS EWISE_ROWS_OF(row_BF16)
#define EWISE_ROWS_OF(bf16) { \
	[VQ_EW_COPY] = row_COPY, [VQ_EW_NEG] = row_NEG, [VQ_EW_ABS] = row_ABS, [VQ_EW_SIGN] = row_SIGN, \
	[VQ_EW_SQUARE] = row_SQUARE, [VQ_EW_SQRT] = row_SQRT, [VQ_EW_RSQRT] = row_RSQRT, \
	[VQ_EW_RECIPROCAL] = row_RECIPROCAL, [VQ_EW_EXP] = row_EXP, [VQ_EW_LOG] = row_LOG, \
	[VQ_EW_SIN] = row_SIN, [VQ_EW_COS] = row_COS, [VQ_EW_TANH] = row_TANH, \
	[VQ_EW_SIGMOID] = row_SIGMOID, [VQ_EW_ERF] = row_ERF, [VQ_EW_FLOOR] = row_FLOOR, \
	[VQ_EW_ROUND] = row_ROUND, [VQ_EW_BF16] = bf16, [VQ_EW_RELU] = row_RELU, [VQ_EW_LEAKY_RELU] = row_LEAKY_RELU, \
	[VQ_EW_ELU] = row_ELU, [VQ_EW_SOFTPLUS] = row_SOFTPLUS, [VQ_EW_SILU] = row_SILU, \
	[VQ_EW_GELU] = row_GELU, [VQ_EW_GELU_TANH] = row_GELU_TANH, [VQ_EW_CLAMP] = row_CLAMP, \
	[VQ_EW_AFFINE] = row_AFFINE, [VQ_EW_POWC] = row_POWC, \
	[VQ_EW_ADD] = row_ADD, [VQ_EW_SUB] = row_SUB, [VQ_EW_MUL] = row_MUL, [VQ_EW_DIV] = row_DIV, \
	[VQ_EW_MAX] = row_MAX, [VQ_EW_MIN] = row_MIN, [VQ_EW_POW] = row_POW, [VQ_EW_GATE] = row_GATE, \
	[VQ_EW_ELU_GATE] = row_ELU_GATE, [VQ_EW_GELU_GATE] = row_GELU_GATE, [VQ_EW_LEAKY_GATE] = row_LEAKY_GATE, [VQ_EW_AXPY] = row_AXPY, \
	[VQ_EW_GREATER] = row_GREATER, [VQ_EW_GREATER_EQUAL] = row_GREATER_EQUAL, \
	[VQ_EW_LESS] = row_LESS, [VQ_EW_LESS_EQUAL] = row_LESS_EQUAL, \
	[VQ_EW_EQUAL] = row_EQUAL, [VQ_EW_NOT_EQUAL] = row_NOT_EQUAL, \
	[VQ_EW_SELECT] = row_SELECT, [VQ_EW_FMA] = row_FMA, \
}
