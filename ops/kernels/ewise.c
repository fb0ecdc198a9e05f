/*
 * ewise -- walking elementwise programs tile by tile
 *
 * A tile is some whole rows, or a piece of one, of at most TILE elements.
 * Operands that are laid out in memory as the tile is are read in place; the
 * others are spread into buffers on the stack, those that are the same in every
 * tile once.  Results between instructions take the buffer that was free for the
 * longest, so a chain of any length touches two or three.
 */
#include "ops/kernels/ewise.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/kernels/strided.h"

enum { TILE = 512, LINE = 16, PARALLEL_MIN = 16384 };

struct walk {
	const struct vq_kernels *k;
	const struct vq_ewise *prog;
	const float *const *in;
	float *out;
	int64_t ld0, ld, cols;
	int64_t width;			/* columns of a tile */
	int64_t height;			/* rows of a tile, at most */
	int8_t slot[VQ_EWISE_INSTRS];	/* buffer that an instruction writes */
	_Alignas(64) float operand[VQ_EWISE_INS][TILE];
	_Alignas(64) float temp[VQ_EWISE_INSTRS][TILE];
};

/* --- before the first tile ----------------------------------------------- */

/* The last instruction that reads register r; i < 0 when none does. */
static int
last_use(const struct vq_ewise *p, int r)
{
	for (int i = p->ninstr - 1; i >= 0; i--) {
		const struct vq_ewise_instr *n = &p->instr[i];
		int arity = vq_ew_arity(n->op);
		if (n->a == r || (arity > 1 && n->b == r) || (arity > 2 && n->c == r))
			return i;
	}
	return -1;
}

static void
assign_slots(struct walk *w)
{
	const struct vq_ewise *p = w->prog;
	int busy_until[VQ_EWISE_INSTRS] = { 0 };

	for (int i = 0; i < p->ninstr; i++) {
		int s = 0;
		while (busy_until[s] > i)
			s++;
		w->slot[i] = (int8_t)s;
		busy_until[s] = last_use(p, p->nin + i);
	}
}

static void
fill(float *to, float x, int64_t n)
{
#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		to[i] = x;
}

/* Copies of the first `have` elements until n are there. */
static void
repeat(float *to, int64_t have, int64_t n)
{
	while (have < n) {
		int64_t more = have < n - have ? have : n - have;
		memcpy(to + have, to, (size_t)more * sizeof(*to));
		have += more;
	}
}

/* What is the same in all tiles: scalars, and rows when a tile holds several. */
static void
spread_constants(struct walk *w, int64_t col)
{
	int64_t n = w->height * w->width;

	for (int i = 0; i < w->prog->nin; i++) {
		if (w->prog->mode[i] == VQ_EWISE_SCALAR)
			fill(w->operand[i], w->in[i][0], n);
		if (w->prog->mode[i] == VQ_EWISE_ROW && w->height > 1) {
			memcpy(w->operand[i], w->in[i] + col, (size_t)w->width * sizeof(float));
			repeat(w->operand[i], w->width, n);
		}
	}
}

/* --- one tile ------------------------------------------------------------ */

/* What is kept as bf16, in a buffer. */
static const float *
half_operand(struct walk *w, int i, int64_t ld, int64_t row, int64_t nrows, int64_t col, int64_t ncols)
{
	const uint16_t *from = (const uint16_t *)w->in[i] + row * ld + col;

	if (ld == ncols)
		w->k->widen(w->operand[i], from, nrows * ncols);
	else
		for (int64_t r = 0; r < nrows; r++)
			w->k->widen(w->operand[i] + r * ncols, from + r * ld, ncols);
	return w->operand[i];
}

static const float *
full_operand(struct walk *w, int i, int64_t row, int64_t nrows, int64_t col, int64_t ncols)
{
	int64_t ld = i == 0 ? w->ld0 : w->cols;
	const float *from = w->in[i] + row * ld + col;

	if (w->prog->half >> i & 1)
		return half_operand(w, i, ld, row, nrows, col, ncols);
	if (nrows == 1 || ld == ncols)
		return from;
	for (int64_t r = 0; r < nrows; r++)
		memcpy(w->operand[i] + r * ncols, from + r * ld, (size_t)ncols * sizeof(float));
	return w->operand[i];
}

static const float *
operand(struct walk *w, int i, int64_t row, int64_t nrows, int64_t col, int64_t ncols)
{
	switch (w->prog->mode[i]) {
	case VQ_EWISE_FULL:
		return full_operand(w, i, row, nrows, col, ncols);
	case VQ_EWISE_ROW:
		return w->height > 1 ? w->operand[i] : w->in[i] + col;
	case VQ_EWISE_COL:
		for (int64_t r = 0; r < nrows; r++)
			fill(w->operand[i] + r * ncols, w->in[i][row + r], ncols);
		return w->operand[i];
	default:
		return w->operand[i];
	}
}

static void
tile(struct walk *w, int64_t row, int64_t nrows, int64_t col, int64_t ncols)
{
	const struct vq_ewise *p = w->prog;
	const float *reg[VQ_EWISE_INS + VQ_EWISE_INSTRS];
	int64_t at = row * w->ld + col;
	float *out = w->out + (p->half_out ? 0 : at);
	bool direct = !p->half_out && (nrows == 1 || w->ld == ncols);
	int64_t n = nrows * ncols;

	for (int i = 0; i < p->nin; i++)
		reg[i] = operand(w, i, row, nrows, col, ncols);
	for (int i = 0; i < p->ninstr; i++) {
		const struct vq_ewise_instr *s = &p->instr[i];
		float *to = i == p->ninstr - 1 && direct ? out : w->temp[w->slot[i]];
		w->k->ew[s->op](to, reg[s->a], reg[s->b], reg[s->c], s->p, s->q, n);
		reg[p->nin + i] = to;
	}
	if (direct)
		return;
	const float *from = reg[p->nin + p->ninstr - 1];
	for (int64_t r = 0; p->half_out && r < nrows; r++)
		w->k->narrow((uint16_t *)w->out + at + r * w->ld, from + r * ncols, ncols);
	for (int64_t r = 0; !p->half_out && r < nrows; r++)
		memcpy(out + r * w->ld, from + r * ncols, (size_t)ncols * sizeof(float));
}

void
vq_ewise_tile(const struct vq_kernels *k, const struct vq_ewise *prog,
    const float *const *in, int64_t ld0, float *out, int64_t ld, int64_t cols,
    int64_t row, int64_t nrows, int64_t col, int64_t ncols)
{
	struct walk w;

	if (nrows <= 0 || ncols <= 0)
		return;
	w.k = k;
	w.prog = prog;
	w.in = in;
	w.out = out;
	w.ld0 = ld0;
	w.ld = ld;
	w.cols = cols;
	w.width = ncols < TILE ? ncols : TILE;
	w.height = TILE / w.width < nrows ? TILE / w.width : nrows;
	assign_slots(&w);
	spread_constants(&w, col);
	for (int64_t r = row; r < row + nrows; r += w.height) {
		int64_t h = row + nrows - r < w.height ? row + nrows - r : w.height;
		for (int64_t c = col; c < col + ncols; c += w.width) {
			int64_t left = col + ncols - c;
			tile(&w, r, h, c, left < w.width ? left : w.width);
		}
	}
}

/* --- whole results ------------------------------------------------------- */

/* Modes as they are once single rows and columns are seen as what they are;
 * true when nothing but full operands and scalars remain. */
static bool
simplify_modes(struct vq_ewise *p, int64_t rows, int64_t cols)
{
	bool flat = true;

	for (int i = 0; i < p->nin; i++) {
		if (p->mode[i] == VQ_EWISE_ROW)
			p->mode[i] = cols == 1 ? VQ_EWISE_SCALAR : rows == 1 ? VQ_EWISE_FULL : VQ_EWISE_ROW;
		else if (p->mode[i] == VQ_EWISE_COL)
			p->mode[i] = rows == 1 ? VQ_EWISE_SCALAR : cols == 1 ? VQ_EWISE_FULL : VQ_EWISE_COL;
		flat &= p->mode[i] == VQ_EWISE_FULL || p->mode[i] == VQ_EWISE_SCALAR;
	}
	return flat;
}

/* Part `i` of n things cut into `parts`, cuts at multiples of `grain`. */
static int64_t
cut(int64_t n, int parts, int i, int64_t grain)
{
	int64_t at = n / parts * i + n % parts * i / parts;

	return i == parts ? n : at / grain * grain;
}

void
vq_ewise_run(const struct vq_kernels *k, const struct vq_ewise *prog,
    const float *const *in, float *out, int64_t rows, int64_t cols, int threads)
{
	struct vq_ewise p = *prog;
	int64_t count = rows * cols;

	if (simplify_modes(&p, rows, cols)) {
		rows = 1;
		cols = count;
	}
	if (threads <= 1 || count * p.ninstr < PARALLEL_MIN) {
		vq_ewise_tile(k, &p, in, cols, out, cols, cols, 0, rows, 0, cols);
		return;
	}
#pragma omp parallel num_threads(threads)
	{
		int n = omp_get_num_threads(), i = omp_get_thread_num();
		bool by_row = rows >= 4 * n;
		int64_t from = cut(by_row ? rows : cols, n, i, by_row ? 1 : LINE);
		int64_t to = cut(by_row ? rows : cols, n, i + 1, by_row ? 1 : LINE);
		if (by_row)
			vq_ewise_tile(k, &p, in, cols, out, cols, cols, from, to - from, 0, cols);
		else
			vq_ewise_tile(k, &p, in, cols, out, cols, cols, 0, rows, from, to - from);
	}
}

bool
vq_ewise_leave_rounding(struct vq_ewise *prog)
{
	const struct vq_ewise_instr *last = &prog->instr[prog->ninstr - 1];

	if (last->op == VQ_EW_BF16 && last->a == (prog->ninstr > 1 ? prog->nin + prog->ninstr - 2 : 0))
		prog->ninstr--;
	return prog->ninstr > 0;
}

/* --- operands of any shape ----------------------------------------------- */

/* How an operand with these steps over (rows, cols) is laid out.  Dense operands
 * know no others. */
static enum vq_ewise_mode
mode_of(int64_t row_step, int64_t col_step)
{
	if (col_step != 0)
		return row_step != 0 ? VQ_EWISE_FULL : VQ_EWISE_ROW;
	return row_step != 0 ? VQ_EWISE_COL : VQ_EWISE_SCALAR;
}

/* Runs the two innermost axes at position `index` of the axes before them. */
static void
run_plane(const struct vq_kernels *k, const struct vq_ewise *p, const struct vq_strided *s,
    const struct vq_view *in, const struct vq_view *out, int64_t index, int threads)
{
	const float *at[VQ_EWISE_INS];
	int64_t offset[VQ_STRIDED_INS];
	int64_t rows = s->rank > 1 ? s->dim[s->rank - 2] : 1, cols = s->dim[s->rank - 1];

	vq_strided_at(s, s->rank - 2, index, offset);
	for (int i = 0; i < p->nin; i++)
		at[i] = vq_ewise_at(p, i, in[i].data, offset[i]);
	vq_ewise_run(k, p, at, (float *)((char *)out->data + index * rows * cols * (p->half_out ? 2 : 4)), rows, cols, threads);
}

void
vq_ewise_broadcast(const struct vq_kernels *k, const struct vq_ewise *prog,
    const struct vq_view *in, const struct vq_view *out, int threads)
{
	struct vq_ewise p = *prog;
	struct vq_strided s;

	p.half = 0;
	for (int i = 0; i < p.nin; i++)
		p.half |= (uint8_t)((in[i].type->dtype == VQ_BF16) << i);
	p.half_out = out->type->dtype == VQ_BF16;
	if (p.half_out && p.ninstr > 1)
		vq_ewise_leave_rounding(&p);
	vq_strided_broadcast(&s, &out->type->shape, in, p.nin);
	for (int i = 0; i < p.nin; i++)
		p.mode[i] = mode_of(s.rank > 1 ? s.step[i][s.rank - 2] : 0, s.step[i][s.rank - 1]);
	if (s.rank == 1)
		for (int i = 0; i < p.nin; i++)
			p.mode[i] = s.step[i][0] ? VQ_EWISE_FULL : VQ_EWISE_SCALAR;
	int64_t outer = vq_strided_span(&s, 0, s.rank - 2);
	int64_t plane = vq_strided_span(&s, s.rank > 2 ? s.rank - 2 : 0, s.rank);
	if (outer * plane == 0)
		return;
	if (plane >= PARALLEL_MIN || outer < threads) {
		for (int64_t i = 0; i < outer; i++)
			run_plane(k, &p, &s, in, out, i, threads);
		return;
	}
#pragma omp parallel for num_threads(threads) schedule(static) if (outer * plane >= PARALLEL_MIN)
	for (int64_t i = 0; i < outer; i++)
		run_plane(k, &p, &s, in, out, i, 1);
}

/* --- definitions --------------------------------------------------------- */

static const char *const names[VQ_EW_OPS] = {
	[VQ_EW_COPY] = "copy", [VQ_EW_NEG] = "neg", [VQ_EW_ABS] = "abs", [VQ_EW_SIGN] = "sign",
	[VQ_EW_SQUARE] = "square", [VQ_EW_SQRT] = "sqrt", [VQ_EW_RSQRT] = "rsqrt",
	[VQ_EW_RECIPROCAL] = "reciprocal", [VQ_EW_EXP] = "exp", [VQ_EW_LOG] = "log",
	[VQ_EW_SIN] = "sin", [VQ_EW_COS] = "cos", [VQ_EW_TANH] = "tanh", [VQ_EW_SIGMOID] = "sigmoid",
	[VQ_EW_ERF] = "erf", [VQ_EW_FLOOR] = "floor", [VQ_EW_ROUND] = "round", [VQ_EW_BF16] = "round_bf16", [VQ_EW_RELU] = "relu",
	[VQ_EW_LEAKY_RELU] = "leaky_relu", [VQ_EW_ELU] = "elu", [VQ_EW_SOFTPLUS] = "softplus",
	[VQ_EW_SILU] = "silu", [VQ_EW_GELU] = "gelu", [VQ_EW_GELU_TANH] = "gelu_tanh",
	[VQ_EW_CLAMP] = "clamp", [VQ_EW_AFFINE] = "affine", [VQ_EW_POWC] = "power",
	[VQ_EW_ADD] = "add", [VQ_EW_SUB] = "sub", [VQ_EW_MUL] = "mul", [VQ_EW_DIV] = "div",
	[VQ_EW_MAX] = "maximum", [VQ_EW_MIN] = "minimum", [VQ_EW_POW] = "pow", [VQ_EW_GATE] = "gate",
	[VQ_EW_ELU_GATE] = "elu_gate", [VQ_EW_GELU_GATE] = "gelu_gate", [VQ_EW_LEAKY_GATE] = "leaky_gate", [VQ_EW_AXPY] = "axpy", [VQ_EW_GREATER] = "greater",
	[VQ_EW_GREATER_EQUAL] = "greater_equal", [VQ_EW_LESS] = "less",
	[VQ_EW_LESS_EQUAL] = "less_equal", [VQ_EW_EQUAL] = "equal", [VQ_EW_NOT_EQUAL] = "not_equal",
	[VQ_EW_SELECT] = "where", [VQ_EW_FMA] = "fma",
};

int
vq_ew_arity(enum vq_ew op)
{
	return op < VQ_EW_ADD ? 1 : op < VQ_EW_SELECT ? 2 : 3;
}

const char *
vq_ew_name(enum vq_ew op)
{
	return names[op];
}

static double
sigmoid(double x)
{
	return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

/* Roots as sqrt has them: NaN below zero, also for -infinity. */
static double
power(double a, double p)
{
	return p == 0.5 ? sqrt(a) : p == -0.5 ? 1 / sqrt(a) : pow(a, p);
}

static double
eval_activation(enum vq_ew op, double a, double p, double q)
{
	switch (op) {
	case VQ_EW_TANH: return tanh(a);
	case VQ_EW_SIGMOID: return sigmoid(a);
	case VQ_EW_RELU: return a < 0 ? 0 : a;
	case VQ_EW_LEAKY_RELU: return a < 0 ? p * a : a;
	case VQ_EW_ELU: return a < 0 ? p * expm1(a) : a;
	case VQ_EW_SOFTPLUS: return (a < 0 ? 0 : a) + log1p(exp(-fabs(a)));
	case VQ_EW_SILU: return a * sigmoid(a);
	case VQ_EW_GELU: return 0.5 * a * erfc(-a * 0.70710678118654752);
	case VQ_EW_GELU_TANH: return a * sigmoid(1.5957691216057308 * (a + 0.044715 * a * a * a));
	case VQ_EW_CLAMP: a = a < p ? p : a; return a > q ? q : a;
	case VQ_EW_AFFINE: return p * a + q;
	default: return power(a, p);
	}
}

static double
eval_unary(enum vq_ew op, double a, double p, double q)
{
	switch (op) {
	case VQ_EW_COPY: return a;
	case VQ_EW_NEG: return -a;
	case VQ_EW_ABS: return fabs(a);
	case VQ_EW_SIGN: return a > 0 ? 1 : a < 0 ? -1 : a;
	case VQ_EW_SQUARE: return a * a;
	case VQ_EW_SQRT: return sqrt(a);
	case VQ_EW_RSQRT: return 1 / sqrt(a);
	case VQ_EW_RECIPROCAL: return 1 / a;
	case VQ_EW_EXP: return exp(a);
	case VQ_EW_LOG: return log(a);
	case VQ_EW_SIN: return sin(a);
	case VQ_EW_COS: return cos(a);
	case VQ_EW_ERF: return erf(a);
	case VQ_EW_FLOOR: return floor(a);
	case VQ_EW_ROUND: return rint(a);
	case VQ_EW_BF16: return (double)vq_bf16_to_f32(vq_f32_to_bf16((float)a));
	default: return eval_activation(op, a, p, q);
	}
}

/* Phi(x) + x phi(x), of the normal distribution; x phi(x) is 0 at infinity. */
static double
gelu_derivative(double x)
{
	double pdf = exp(-0.5 * x * x) * 0.39894228040143268;

	return 0.5 * erfc(-x * 0.70710678118654752) + (pdf == 0 ? 0 : x * pdf);
}

double
vq_ew_eval(enum vq_ew op, double a, double b, double c, double p, double q)
{
	switch (op) {
	case VQ_EW_ADD: return a + b;
	case VQ_EW_SUB: return a - b;
	case VQ_EW_MUL: return a * b;
	case VQ_EW_DIV: return a / b;
	case VQ_EW_MAX: return b != b || b > a ? b : a;
	case VQ_EW_MIN: return b != b || b < a ? b : a;
	case VQ_EW_POW: return pow(a, b);
	case VQ_EW_GATE: return b > 0 ? a : 0;
	case VQ_EW_LEAKY_GATE: return b > 0 ? a : p * a;
	case VQ_EW_ELU_GATE: return b > 0 ? a : a * (b + p);
	case VQ_EW_GELU_GATE: return a * gelu_derivative(b);
	case VQ_EW_AXPY: return p * a + b;
	case VQ_EW_GREATER: return a > b;
	case VQ_EW_GREATER_EQUAL: return a >= b;
	case VQ_EW_LESS: return a < b;
	case VQ_EW_LESS_EQUAL: return a <= b;
	case VQ_EW_EQUAL: return a == b;
	case VQ_EW_NOT_EQUAL: return a != b;
	case VQ_EW_SELECT: return a != 0 ? b : c;
	case VQ_EW_FMA: return a * b + c;
	default: return eval_unary(op, a, p, q);
	}
}

void
vq_ewise_reference(const struct vq_ewise *prog, const struct vq_view *in, const struct vq_view *out)
{
	int64_t count = vq_shape_count(&out->type->shape), at[VQ_STRIDED_INS];
	double reg[VQ_EWISE_INS + VQ_EWISE_INSTRS] = { 0 };
	struct vq_strided s;

	vq_strided_broadcast(&s, &out->type->shape, in, prog->nin);
	for (int64_t i = 0; i < count; i++) {
		vq_strided_at(&s, s.rank, i, at);
		for (int j = 0; j < prog->nin; j++)
			reg[j] = vq_get(&in[j], at[j]);
		for (int j = 0; j < prog->ninstr; j++) {
			const struct vq_ewise_instr *n = &prog->instr[j];
			reg[prog->nin + j] = vq_ew_eval(n->op, reg[n->a], reg[n->b], reg[n->c], n->p, n->q);
		}
		vq_set(out, i, reg[prog->nin + prog->ninstr - 1]);
	}
}
