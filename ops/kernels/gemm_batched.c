/*
 * gemm_batched -- the op matmul: which products a call is made of, and who does what
 *
 * A product is cut into column groups and depths whose packed b stays in the
 * third-level cache, and those into tasks of rows times columns that the threads
 * take.  Many small products are dealt whole.  A product too small to feed the
 * threads but deep (the gradient of a weight) is cut into a number of depths that
 * only its shape decides; their sums are added in order.
 */
#include <omp.h>
#include <string.h>

#include "ops/kernels/gemm.h"

enum {
	DEPTH = 1024,			/* k packed at a time */
	PACKED = 1 << 20,		/* floats of b packed at a time, about */
	SMALL = 1 << 22,		/* m * n * k below which a whole product is one task */
	COPY_COLS = 48,			/* columns that pay for copying a stretch of a */
	FEW = 16,			/* rows up to which b is read once, unpacked */
	FEW_FLOATS = 1 << 16,		/* of a at most */
	SERIAL = 1 << 17,		/* m * n * k of all together below which a second thread costs more than it brings */
	STRIP = 4096,			/* floats of the result in a task then: they stay in the first-level cache */
	ROOM_GAP = 16,			/* between the rows that it is summed in */
	ROOM = STRIP + FEW * ROOM_GAP,
	COPIED = (VQ_GEMM_ROWS + 16) * (DEPTH / 2 + 16),	/* floats of a stretch of a */
	SUM_COLS = 256,			/* columns summed apart when the result is bf16 */
};

/* c[m, n] = op(a)[m, k] . op(b)[k, n] */
struct product {
	int64_t m, n, k, lda, ldb;
	bool ta, tb;
	const float *a, *b;
	bool half_a, half_c;		/* a points at numbers of bf16; so does the epilogue's result, and c at nothing */
	float *c;			/* rows n apart */
	int64_t row;			/* of the whole result where c begins */
	const struct vq_epilogue *end;	/* NULL: none */
};

/* Sizes that a call's shapes decide, and the scratch that follows from them. */
struct plan {
	int64_t batch;
	int64_t m, n, k;
	int64_t depth, group;		/* k and columns packed at a time */
	int64_t splits;			/* > 1: so many depths summed apart */
	bool whole;			/* batches are tasks */
	bool few;			/* few rows: what takes time is reading b */
	size_t packed, copied, partial;	/* bytes: of b; of a, a thread; of the sums */
	struct vq_shape a, b;		/* leading axes, aligned to the result's */
	bool shared_b;
};

static int64_t
ceil_div(int64_t x, int64_t by)
{
	return (x + by - 1) / by;
}

/* --- one product --------------------------------------------------------- */

struct task {
	int64_t i0, i1, j0, j1;		/* rows and columns; columns from the group's first */
	int64_t k0, k1;
	int64_t group;			/* first column of the group */
};

/* Where a begins x numbers on. */
static const float *
a_at(const struct product *p, int64_t x)
{
	return p->half_a ? (const float *)((const uint16_t *)p->a + x) : p->a + x;
}

/* A stretch of an a that is bf16 already, as words in lines ld apart. */
static void
half_rows(const struct vq_gemm_micro *u, const struct product *p, const struct task *t, int64_t k0, int64_t k1,
    float *room, int64_t ld)
{
	const uint16_t *a = (const uint16_t *)p->a;
	int64_t m = t->i1 - t->i0;

	for (int64_t k = k0; p->ta && k < k1; k += u->per, room += ld) {
		const uint16_t *from = a + k * p->lda + t->i0;
		vq_gemm_zip_half(u, room, from, k + 1 < k1 ? from + p->lda : NULL, m);
	}
	for (int64_t i = 0; !p->ta && i < m; i++, room += ld)
		vq_gemm_row_half(u, room, a + (t->i0 + i) * p->lda + k0, k1 - k0);
}

/* The row starts of a stretch of a whose numbers become words in `room`.  Returns the step. */
static int64_t
rounded_rows(const struct vq_gemm_micro *u, const struct product *p, const struct task *t, int64_t k0, int64_t k1,
    float *room, const float **a)
{
	int64_t m = t->i1 - t->i0, len = vq_gemm_words(u, k1 - k0), width = p->ta ? m : len;
	int64_t ld = width + 16 - width % 16;

	if (p->half_a)
		half_rows(u, p, t, k0, k1, room, ld);
	for (int64_t x = 0; !p->half_a && p->ta && x < len; x++) {
		int64_t k = k0 + x * u->per;
		const float *from = p->a + k * p->lda + t->i0;
		vq_gemm_zip(u, room + x * ld, from, k + 1 < k1 ? from + p->lda : NULL, m);
	}
	for (int64_t i = 0; !p->half_a && !p->ta && i < m; i++)
		vq_gemm_row(u, room + i * ld, p->a + (t->i0 + i) * p->lda + k0, k1 - k0);
	for (int64_t i = 0; i < m; i++)
		a[i] = room + (p->ta ? i : i * ld);
	vq_gemm_pad_rows(a, m);
	return p->ta ? ld : 1;
}

/* The row starts of a stretch of a, copied to `room` where it would otherwise be
 * fetched through lines that push each other out.  Returns the step. */
static int64_t
rows_of(const struct product *p, const struct task *t, int64_t k0, int64_t k1, float *room, const float **a)
{
	int64_t m = t->i1 - t->i0, len = k1 - k0;
	bool copy = t->j1 - t->j0 >= COPY_COLS && (p->ta ? p->lda >= 64 : p->lda >= 1024);
	const float *from = p->ta ? p->a + k0 * p->lda + t->i0 : p->a + t->i0 * p->lda + k0;
	int64_t ld = p->lda;

	if (copy) {
		int64_t lines = p->ta ? len : m, width = p->ta ? m : len;
		ld = width + 16 - width % 16;
		for (int64_t i = 0; i < lines; i++)
			memcpy(room + i * ld, from + i * p->lda, (size_t)width * sizeof(*room));
		from = room;
	}
	for (int64_t i = 0; i < m; i++)
		a[i] = p->ta ? from + i : from + i * ld;
	vq_gemm_pad_rows(a, m);
	return p->ta ? ld : 1;
}

/* Columns [j0, j1) of a task into the rows of c, from their column `col` on. */
static void
multiply(const struct vq_gemm_micro *u, const struct product *p, const struct task *t,
    const float *packed, float *room, float *const *c, int64_t col)
{
	const float *a[VQ_GEMM_TABLE];
	int64_t zero = 0, depth = vq_gemm_words(u, t->k1 - t->k0);
	int64_t part = ceil_div(depth, ceil_div(depth, u->kc));
	struct vq_gemm_block g = { .m = t->i1 - t->i0, .n = t->j1 - t->j0, .a = a, .c = c, .segs = 1,
	    .off = &zero, .depth = depth, .col = col, .add = t->k0 > 0 };

	for (int64_t k = 0; k < depth; k += part) {
		int64_t k0 = t->k0 + k * u->per, k1 = k0 + part * u->per < t->k1 ? k0 + part * u->per : t->k1;
		g.len = vq_gemm_words(u, k1 - k0);
		g.step = u->round ? rounded_rows(u, p, t, k0, k1, room, a) : rows_of(p, t, k0, k1, room, a);
		g.b = packed + t->j0 * depth + k * u->nr;
		vq_gemm_block(u, &g);
		g.add = true;
	}
}

/* In columns that stay in the second-level cache until they are rounded. */
static void
run_half_task(const struct vq_gemm_micro *u, const struct product *p, const struct task *t, const float *packed, float *room)
{
	struct task part = *t;
	float *sums = room + COPIED, *c[VQ_GEMM_TABLE];

	for (int64_t i = 0; i < t->i1 - t->i0; i++)
		c[i] = sums + i * SUM_COLS;
	for (part.j0 = t->j0; part.j0 < t->j1; part.j0 = part.j1) {
		part.j1 = part.j0 + SUM_COLS < t->j1 ? part.j0 + SUM_COLS : t->j1;
		multiply(u, p, &part, packed, room, c, 0);
		vq_epilogue_narrow(p->end, sums, SUM_COLS, p->row + t->i0, t->i1 - t->i0, t->group + part.j0, part.j1 - part.j0);
	}
}

static void
run_task(const struct vq_gemm_micro *u, const struct product *p, const struct task *t, const float *packed, float *room)
{
	int64_t m = t->i1 - t->i0, col = t->group + t->j0;
	float *c[VQ_GEMM_TABLE];

	if (p->half_c) {
		run_half_task(u, p, t, packed, room);
		return;
	}
	for (int64_t i = 0; i < m; i++)
		c[i] = p->c + (t->i0 + i) * p->n;
	multiply(u, p, t, packed, room, c, col);
	if (p->end && t->k1 == p->k)
		vq_epilogue_apply(p->end, p->row + t->i0, m, col, t->j1 - t->j0);
}

/* Rows and columns of a task so that every thread gets some. */
static void
task_size(const struct vq_gemm_micro *u, int64_t m, int64_t n, int threads, int64_t *rows, int64_t *cols)
{
	int64_t wanted = threads == 1 ? 1 : 3 * threads;

	*rows = VQ_GEMM_ROWS;
	*cols = ceil_div(n, u->nr) * u->nr;
	while (ceil_div(m, *rows) * ceil_div(n, *cols) < wanted)
		if (*cols >= 2 * u->nr && *cols >= 4 * (*rows < m ? *rows : m) / 3)
			*cols = ceil_div(*cols / u->nr, 2) * u->nr;
		else if (*rows > 2 * u->mr)
			*rows = ceil_div(*rows / u->mr, 2) * u->mr;
		else if (*cols >= 2 * u->nr)
			*cols = ceil_div(*cols / u->nr, 2) * u->nr;
		else
			break;
}

/* A group of columns of one depth: what the threads share. */
struct group {
	const struct vq_gemm_micro *u;
	const struct product *p;
	const struct plan *s;
	int64_t j, n, k, depth;		/* columns [j, j + n), depths [k, k + depth) */
	int64_t rows, cols, across;	/* of a task; tasks side by side */
	float *packed;
	char *room;
};

static void
pack_panel(const struct group *g, int64_t x)
{
	const struct product *p = g->p;
	int64_t j = g->j + x, words = vq_gemm_words(g->u, g->depth);

	vq_gemm_pack(g->u, g->packed + x * words, words, 0,
	    p->tb ? p->b + j * p->ldb + g->k : p->b + g->k * p->ldb + j,
	    p->ldb, p->tb, g->depth, g->n - x < g->u->nr ? g->n - x : g->u->nr);
}

static void
group_task(const struct group *g, int64_t i, int thread)
{
	const struct product *p = g->p;
	struct task t = { .i0 = i / g->across * g->rows, .j0 = i % g->across * g->cols,
	    .k0 = g->k, .k1 = g->k + g->depth, .group = g->j };

	t.i1 = t.i0 + g->rows < p->m ? t.i0 + g->rows : p->m;
	t.j1 = t.j0 + g->cols < g->n ? t.j0 + g->cols : g->n;
	run_task(g->u, p, &t, g->packed, (float *)(g->room + (size_t)thread * g->s->copied));
}

/* One thread has its own loops: a parallel region inside another costs more than a
 * small product, even when it is of one thread. */
static void
run_group(const struct group *g, int threads)
{
	int64_t tasks = ceil_div(g->p->m, g->rows) * g->across;

	if (threads == 1) {
		for (int64_t x = 0; x < g->n; x += g->u->nr)
			pack_panel(g, x);
		for (int64_t i = 0; i < tasks; i++)
			group_task(g, i, 0);
		return;
	}
	#pragma omp parallel num_threads(threads)
	{
		#pragma omp for
		for (int64_t x = 0; x < g->n; x += g->u->nr)
			pack_panel(g, x);
		#pragma omp for schedule(dynamic)
		for (int64_t i = 0; i < tasks; i++)
			group_task(g, i, omp_get_thread_num());
	}
}

/* packed: room for a group of b; room: `copied` bytes for each thread. */
static void
run_product(const struct vq_gemm_micro *u, const struct product *p, const struct plan *s,
    float *packed, char *room, int threads)
{
	struct group g = { .u = u, .p = p, .s = s, .packed = packed, .room = room };

	for (g.j = 0; g.j < p->n; g.j += s->group) {
		g.n = p->n - g.j < s->group ? p->n - g.j : s->group;
		task_size(u, p->m, g.n, threads, &g.rows, &g.cols);
		g.across = ceil_div(g.n, g.cols);
		for (g.k = 0; g.k < p->k; g.k += s->depth) {
			g.depth = p->k - g.k < s->depth ? p->k - g.k : s->depth;
			run_group(&g, threads);
		}
	}
}

/* --- a call -------------------------------------------------------------- */

/* The leading axes of an operand, aligned to the rank of the result. */
static struct vq_shape
leading(const struct vq_shape *s, int rank)
{
	struct vq_shape to = { .rank = rank - 2 };

	for (int i = 0; i < to.rank; i++) {
		int from = i - (rank - s->rank);
		to.dim[i] = from < 0 ? 1 : s->dim[from];
	}
	return to;
}

static size_t
aligned(int64_t floats)
{
	return ((size_t)floats * sizeof(float) + 63) / 64 * 64;
}

static struct plan
plan_of(const struct vq_type *a_type, const struct vq_type *b_type, const struct vq_type *y_type, bool ta, bool tb, bool bf16)
{
	const struct vq_shape *a = &a_type->shape, *b = &b_type->shape, *y = &y_type->shape;
	struct plan s = { .batch = vq_shape_span(y, 0, y->rank - 2) };

	s.m = y->dim[y->rank - 2];
	s.n = y->dim[y->rank - 1];
	s.k = a->dim[a->rank - (ta ? 2 : 1)];
	s.a = leading(a, y->rank);
	s.b = leading(b, y->rank);
	s.shared_b = vq_shape_count(&s.b) == 1;
	if (s.shared_b && !ta) {		/* a is one tall matrix */
		s.m *= s.batch;
		s.batch = 1;
	}
	double work = (double)s.m * (double)s.n * (double)s.k;
	s.whole = s.batch > 1 && work <= SMALL;
	s.depth = s.k == 0 ? 1 : ceil_div(s.k, ceil_div(s.k, DEPTH));
	s.group = PACKED / s.depth / VQ_GEMM_NR_MAX * VQ_GEMM_NR_MAX;
	if (s.group > vq_gemm_width(s.n))
		s.group = vq_gemm_width(s.n);
	s.splits = 1;
	/* Neither may change the bits of a row of a linear layer with the number of rows. */
	s.few = !bf16 && !tb && s.batch == 1 && s.m <= FEW && s.k * s.m <= FEW_FLOATS && s.n >= 64;
	if (ta && s.batch == 1 && !s.few && ceil_div(s.m, 24) * ceil_div(s.n, 64) < 16)
		s.splits = s.k / 512 < 1 ? 1 : s.k / 512 > 16 ? 16 : s.k / 512;
	s.packed = aligned(s.depth * s.group);
	s.copied = aligned(COPIED + (y_type->dtype == VQ_BF16 ? VQ_GEMM_ROWS * SUM_COLS : 0));
	s.partial = s.splits > 1 ? aligned(s.m * s.n) : 0;
	return s;
}

/* Threads that the work is worth. */
static int
team_of(const struct plan *s, int threads)
{
	return (double)s->batch * (double)s->m * (double)s->n * (double)s->k < SERIAL ? 1 : threads;
}

/* Operands and result of batch i. */
static struct product
product_at(const struct vq_call *c, const struct plan *s, bool ta, bool tb, int64_t i)
{
	const float *a = c->in[0].data, *b = c->in[1].data;
	bool half_a = c->in[0].type->dtype == VQ_BF16, half_c = c->out[0].type->dtype == VQ_BF16;
	int64_t ia = 0, ib = 0, sa = 1, sb = 1, rest = i;

	for (int x = s->batch == 1 ? -1 : s->a.rank - 1; x >= 0; x--) {
		int64_t d = s->a.dim[x] > s->b.dim[x] ? s->a.dim[x] : s->b.dim[x];
		ia += s->a.dim[x] > 1 ? rest % d * sa : 0;
		ib += s->b.dim[x] > 1 ? rest % d * sb : 0;
		sa *= s->a.dim[x];
		sb *= s->b.dim[x];
		rest /= d;
	}
	return (struct product){ .m = s->m, .n = s->n, .k = s->k, .ta = ta, .tb = tb,
	    .lda = ta ? s->m : s->k, .ldb = tb ? s->k : s->n,
	    .half_a = half_a, .half_c = half_c,
	    .a = half_a ? (const float *)((const uint16_t *)c->in[0].data + ia * s->m * s->k) : a + ia * s->m * s->k,
	    .b = b + ib * s->k * s->n, .c = half_c ? NULL : (float *)c->out[0].data + i * s->m * s->n, .row = i * s->m };
}

/* c[m, n] += a[m, len] . b[len, n], each sum in order of its terms. */
static void
few_add(const struct vq_kernels *k, float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t ldb,
    int64_t m, int64_t len, int64_t n)
{
	int64_t x = 0;

	for (; x + 4 <= len; x += 4)
		k->gemm->add4(c, ldc, m, n, a + x, lda, b + x * ldb, ldb);
	for (; x < len; x++)
		for (int64_t i = 0; i < m; i++)
			k->ew[VQ_EW_AXPY](c + i * ldc, b + x * ldb, c + i * ldc, NULL, a[i * lda + x], 0, n);
}

/*
 * Columns [j, j + n) of few rows: b goes by once.  The stretches of k that are summed
 * apart are those of run_product, so that a row has the same bits among few rows and
 * among many.  They are summed in room, whose rows do not lie a power of two apart as
 * those of b and c often do: they would fight for the same lines of the cache.
 */
static void
few_strip(const struct vq_kernels *k, const struct product *p, const struct plan *s, const float *a, float *room,
    int64_t j, int64_t n)
{
	int64_t ld = n + ROOM_GAP;

	for (int64_t from = 0; from < p->k; from += s->depth) {
		int64_t depth = p->k - from < s->depth ? p->k - from : s->depth;
		int64_t part = ceil_div(depth, ceil_div(depth, k->gemm->kc));
		for (int64_t x = 0; x < depth; x += part) {
			int64_t len = depth - x < part ? depth - x : part, at = from + x;
			memset(room, 0, (size_t)(p->m * ld) * sizeof(*room));
			few_add(k, room, ld, a + at, p->k, p->b + at * p->ldb + j, p->ldb, p->m, len, n);
			for (int64_t i = 0; i < p->m; i++) {
				float *c = p->c + i * p->n + j;
				if (at == 0)
					memcpy(c, room + i * ld, (size_t)n * sizeof(*c));
				else
					k->ew[VQ_EW_ADD](c, c, room + i * ld, NULL, 0, 0, n);
			}
		}
	}
	for (int64_t i = 0; p->k == 0 && i < p->m; i++)
		memset(p->c + i * p->n + j, 0, (size_t)n * sizeof(float));
}

static void
run_few(const struct vq_call *call, const struct product *p, const struct plan *s, const struct vq_epilogue *end)
{
	float *room = call->scratch;
	const float *a = p->a;

	if (p->ta) {			/* its rows side by side */
		for (int64_t i = 0; i < p->m * p->k; i++)
			room[i] = p->a[i % p->k * p->lda + i / p->k];
		a = room;
		room += p->m * p->k;
	}
	int64_t strip = ceil_div(p->n, 64 * call->threads) * 64;
	strip = strip > STRIP / p->m ? STRIP / p->m / 64 * 64 : strip;
	#pragma omp parallel for num_threads(team_of(s, call->threads)) schedule(static)
	for (int64_t j = 0; j < p->n; j += strip) {
		int64_t n = p->n - j < strip ? p->n - j : strip;
		few_strip(call->k, p, s, a, room + omp_get_thread_num() * ROOM, j, n);
		vq_epilogue_apply(end, 0, p->m, j, n);
	}
}

/* Depths summed apart, then together, in order. */
static void
run_split(const struct vq_call *c, const struct vq_gemm_micro *u, const struct product *p, const struct plan *s,
    const struct vq_epilogue *end, char *scratch)
{
	char *partial = scratch + (size_t)c->threads * (s->packed + s->copied);
	int64_t part = ceil_div(s->k, s->splits), size = s->m * s->n;
	float *y = p->c;

	#pragma omp parallel for num_threads(c->threads) schedule(dynamic)
	for (int64_t x = 0; x < s->splits; x++) {
		char *mine = scratch + (size_t)omp_get_thread_num() * (s->packed + s->copied);
		struct product q = *p;
		int64_t k = x * part < s->k ? x * part : s->k;

		q.k = s->k - k < part ? s->k - k : part;
		q.a = a_at(p, k * (q.ta ? q.lda : 1));
		q.b += k * (q.tb ? 1 : q.ldb);
		q.c = (float *)(partial + (size_t)x * s->partial);
		if (q.k == 0)
			memset(q.c, 0, (size_t)size * sizeof(*q.c));
		run_product(u, &q, s, (float *)mine, mine + s->packed, 1);
	}
	memcpy(y, partial, (size_t)size * sizeof(*y));
	for (int64_t x = 1; x < s->splits; x++)
		c->k->ew[VQ_EW_ADD](y, y, (float *)(partial + (size_t)x * s->partial), NULL, 0, 0, size);
	vq_epilogue_apply(end, 0, s->m, 0, s->n);
}

void
vq_matmul_run(const struct vq_call *c, bool ta, bool tb, bool bf16)
{
	const struct vq_shape *y = &c->out[0].type->shape;
	struct plan s = plan_of(c->in[0].type, c->in[1].type, c->out[0].type, ta, tb, bf16);
	const struct vq_gemm_micro *u = vq_gemm_of(c->k, bf16);
	char *scratch = c->scratch;
	struct vq_epilogue end;

	if (vq_shape_count(y) == 0)
		return;
	vq_epilogue_of(&end, c);
	if (s.k == 0) {
		memset(c->out[0].data, 0, vq_type_bytes(c->out[0].type));
		vq_epilogue_apply(&end, 0, s.batch * s.m, 0, s.n);
	} else if (s.whole) {
		#pragma omp parallel for num_threads(team_of(&s, c->threads)) schedule(dynamic)
		for (int64_t i = 0; i < s.batch; i++) {
			char *mine = scratch + (size_t)omp_get_thread_num() * (s.packed + s.copied);
			struct product p = product_at(c, &s, ta, tb, i);

			p.end = &end;
			run_product(u, &p, &s, (float *)mine, mine + s.packed, 1);
		}
	} else if (s.few) {
		struct product p = product_at(c, &s, ta, tb, 0);
		run_few(c, &p, &s, &end);
	} else if (s.splits > 1) {
		struct product p = product_at(c, &s, ta, tb, 0);
		run_split(c, u, &p, &s, &end, scratch);
	} else {
		for (int64_t i = 0; i < s.batch; i++) {
			struct product p = product_at(c, &s, ta, tb, i);

			p.end = &end;
			run_product(u, &p, &s, (float *)scratch, scratch + s.packed, team_of(&s, c->threads));
		}
	}
}

size_t
vq_matmul_scratch(const struct vq_cost *c, bool ta, bool tb, bool bf16)
{
	struct plan s = plan_of(&c->in[0], &c->in[1], &c->out[0], ta, tb, bf16);

	if (s.few)
		return ((size_t)(ta ? s.m * s.k : 0) + (size_t)c->threads * ROOM) * sizeof(float);
	size_t threads = (size_t)c->threads, packs = s.whole || s.splits > 1 ? threads : 1;

	return packs * s.packed + threads * s.copied + (s.splits > 1 ? (size_t)s.splits * s.partial : 0);
}

enum vq_half
vq_matmul_half(const struct vq_cost *c, int port, bool out, bool ta, bool tb, bool bf16)
{
	struct plan s = plan_of(&c->in[0], &c->in[1], &c->out[0], ta, tb, bf16);

	if (!bf16 || s.k == 0)
		return VQ_HALF_NOT;
	return (out ? !ta && s.k <= DEPTH : port == 0) ? VQ_HALF_ROUNDED : VQ_HALF_NOT;
}
