/*
 * gemm -- packing, and blocks of tiles
 */
#include <string.h>

#include "ops/kernels/gemm.h"

const char *const vq_precision_names[] = { "auto", "f32", "bf16", NULL };

double
vq_get_operand(const struct vq_view *v, int64_t i, bool bf16)
{
	double x = vq_get(v, i);

	return bf16 ? (double)vq_bf16_to_f32(vq_f32_to_bf16((float)x)) : x;
}

int
vq_gemm_layouts(bool bf16, const struct vq_gemm_micro *u[2])
{
	const struct vq_kernels *pairs = vq_kernels_of(VQ_ISA_AVX512BF16);

	u[0] = vq_gemm_of(vq_kernels_of(VQ_ISA_PORTABLE), bf16);
	if (!bf16 || pairs == NULL)
		return 1;
	u[1] = vq_gemm_of(pairs, bf16);
	return 2;
}

void
vq_gemm_row(const struct vq_gemm_micro *u, float *to, const float *from, int64_t n)
{
	if (u->round)
		u->round(to, from, n);
	else
		memcpy(to, from, (size_t)n * sizeof(*to));
}

/* Words of one number are f32, those of two are the numbers as they lie. */
void
vq_gemm_row_half(const struct vq_gemm_micro *u, float *to, const uint16_t *from, int64_t n)
{
	uint32_t *word = (uint32_t *)to;

	if (u->per == 1) {
#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			word[i] = (uint32_t)from[i] << 16;
		return;
	}
	memcpy(to, from, (size_t)n * sizeof(*from));
	if (n % 2)
		word[n / 2] = from[n - 1];
}

void
vq_gemm_zip_half(const struct vq_gemm_micro *u, float *to, const uint16_t *x, const uint16_t *y, int64_t n)
{
	if (u->zip_half)
		u->zip_half(to, x, y, n);
	else
		vq_gemm_row_half(u, to, x, n);
}

void
vq_gemm_zip(const struct vq_gemm_micro *u, float *to, const float *x, const float *y, int64_t n)
{
	if (u->zip)
		u->zip(to, x, y, n);
	else
		vq_gemm_row(u, to, x, n);
}

void
vq_gemm_pack(const struct vq_gemm_micro *u, float *to, int64_t depth, int64_t at,
    const float *b, int64_t ldb, bool transposed, int64_t k, int64_t n)
{
	to += at * u->nr;
	for (int64_t j = 0; j < n; j += u->nr, to += depth * u->nr) {
		int wide = n - j < u->nr ? (int)(n - j) : u->nr;

		if (transposed)
			u->pack_transposed(to, b + j * ldb, ldb, k, wide);
		else
			u->pack(to, b + j, ldb, k, wide);
	}
}

void
vq_gemm_pack_zipped(const struct vq_gemm_micro *u, float *to, int64_t depth, int64_t at,
    const float *b, const float *c, int64_t ld, int64_t k, int64_t n)
{
	to += at * u->nr;
	for (int64_t j = 0; j < n; j += u->nr, to += depth * u->nr) {
		int wide = n - j < u->nr ? (int)(n - j) : u->nr;

		if (u->pack_zipped)
			u->pack_zipped(to, b + j, c ? c + j : NULL, ld, k, wide);
		else
			u->pack(to, b + j, ld, k, wide);
	}
}

void
vq_gemm_pad_rows(const float **a, int64_t m)
{
	for (int i = 0; i < VQ_GEMM_MR_MAX; i++)
		a[m + i] = a[m - 1];
}

/* All tiles of one stretch of k: each panel stays in the first-level cache while
 * the rows go by. */
static void
stretch(const struct vq_gemm_micro *u, const struct vq_gemm_block *g, struct vq_gemm_tile *t, int64_t k)
{
	for (int64_t j = 0; j < g->n; j += u->nr) {
		t->b = g->b + j * g->depth + k * u->nr;
		t->col = g->col + j;
		t->cols = g->n - j < u->nr ? (int)(g->n - j) : u->nr;
		for (int64_t i = 0; i < g->m; i += u->mr) {
			t->rows = g->m - i < u->mr ? (int)(g->m - i) : u->mr;
			u->tile(t, g->a + i, g->c + i);
		}
	}
}

/* x cut into equal stretches of at most kc. */
static int64_t
equal_parts(int64_t x, int64_t most)
{
	int64_t parts = (x + most - 1) / most;

	return (x + parts - 1) / parts;
}

void
vq_gemm_block(const struct vq_gemm_micro *u, const struct vq_gemm_block *g)
{
	struct vq_gemm_tile t = { .step = g->step, .add = g->add };
	int64_t k = 0;

	if (g->len > u->kc) {
		int64_t part = equal_parts(g->len, u->kc), off;
		t.segs = 1;
		t.off = &off;
		for (int64_t s = 0; s < g->segs; s++)
			for (int64_t x = 0; x < g->len; x += part) {
				off = g->off[s] + x * g->step;
				t.len = g->len - x < part ? g->len - x : part;
				stretch(u, g, &t, k);
				k += t.len;
				t.add = true;
			}
		return;
	}
	int64_t group = g->len * g->segs <= u->kc ? g->segs : equal_parts(g->segs, u->kc / g->len);
	t.len = g->len;
	for (int64_t s = 0; s < g->segs; s += group) {
		t.off = g->off + s;
		t.segs = g->segs - s < group ? g->segs - s : group;
		stretch(u, g, &t, k);
		k += t.segs * t.len;
		t.add = true;
	}
}

void
vq_epilogue_of(struct vq_epilogue *e, const struct vq_call *c)
{
	const struct vq_shape *y = &c->out[0].type->shape;

	*e = (struct vq_epilogue){ .k = c->k, .prog = c->epilogue, .out = c->out[0].data };
	e->cols = y->rank ? y->dim[y->rank - 1] : 1;
	if (e->prog == NULL)
		return;
	int extra = e->prog->nin - 1, own = c->nin - extra;
	e->in[0] = e->out;
	e->own = *e->prog;
	e->prog = &e->own;
	for (int i = 0; i < extra; i++) {
		e->in[1 + i] = c->in[own + i].data;
		e->own.half |= (uint8_t)((c->in[own + i].type->dtype == VQ_BF16) << (1 + i));
	}
	if (c->out[0].type->dtype == VQ_BF16 && !vq_ewise_leave_rounding(&e->own))
		e->prog = NULL;
}

void
vq_epilogue_apply(const struct vq_epilogue *e, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
	if (e->prog)
		vq_ewise_tile(e->k, e->prog, e->in, e->cols, e->out, e->cols, e->cols, row, rows, col, cols);
}

/* The operands as they begin at the stretch. */
void
vq_epilogue_narrow(const struct vq_epilogue *e, float *sums, int64_t ld, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
	const float *in[VQ_EWISE_INS] = { sums };

	for (int i = 1; e->prog && i < e->prog->nin; i++) {
		enum vq_ewise_mode mode = e->prog->mode[i];

		in[i] = mode == VQ_EWISE_FULL ? vq_ewise_at(e->prog, i, e->in[i], row * e->cols + col) :
		    e->in[i] + (mode == VQ_EWISE_ROW ? col : mode == VQ_EWISE_COL ? row : 0);
	}
	if (e->prog)
		vq_ewise_tile(e->k, e->prog, in, ld, sums, ld, e->cols, 0, rows, 0, cols);
	int64_t lines = ld == cols && cols == e->cols ? 1 : rows;	/* as one, where they lie together */
	for (int64_t i = 0; i < lines; i++)
		e->k->narrow((uint16_t *)e->out + (row + i) * e->cols + col, sums + i * ld, rows / lines * cols);
}
