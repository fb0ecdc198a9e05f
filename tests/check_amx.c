/*
 * check_amx -- the tiles of AMX where there is no AMX: its six instructions written in C
 *
 * What they compute is as in Intel's manual (LDTILECFG, TILELOADD, TDPBF16PS, ...).  The products
 * of bf16 among the examples of ops then run on them, next to the kernel by AVX512_BF16, whose packing
 * they share; on processors without that there is nothing to compare.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw")
#endif

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernels/gemm.h"
#include "ops/kernels/kernels.h"
#include "tests/samples.h"

/* One thread's tiles; what is in one before it is written is no number. */
static _Thread_local struct {
	bool set_up, written[8];
	uint32_t row[8][16][16];
} tiles;

static void
emulate_start(void)
{
	tiles.set_up = true;
	memset(tiles.written, 0, sizeof(tiles.written));
	memset(tiles.row, 0xff, sizeof(tiles.row));
}

static void
emulate_load(int n, const void *from, int64_t bytes)
{
	ck_assert(tiles.set_up && n < 8);
	for (int i = 0; i < 16; i++)
		memcpy(tiles.row[n][i], (const char *)from + i * bytes, 64);
	tiles.written[n] = true;
}

static void
emulate_store(int n, void *to, int64_t bytes)
{
	ck_assert(tiles.set_up && tiles.written[n]);
	for (int i = 0; i < 16; i++)
		memcpy((char *)to + i * bytes, tiles.row[n][i], 64);
}

static void
emulate_zero(int n)
{
	ck_assert(tiles.set_up);
	memset(tiles.row[n], 0, sizeof(tiles.row[n]));
	tiles.written[n] = true;
}

static float
part(uint32_t word, int i)
{
	return vq_bf16_to_f32((uint16_t)(word >> 16 * i));
}

/* sum[m][n] += a[m][k].0 b[k][n].0 + a[m][k].1 b[k][n].1 */
static void
emulate_dot(int sum, int a, int b)
{
	ck_assert(tiles.set_up && tiles.written[sum] && tiles.written[a] && tiles.written[b]);
	ck_assert(sum != a && sum != b && a != b);
	for (int m = 0; m < 16; m++)
		for (int k = 0; k < 16; k++)
			for (int n = 0; n < 16; n++) {
				uint32_t x = tiles.row[a][m][k], y = tiles.row[b][k][n];
				float s;
				memcpy(&s, &tiles.row[sum][m][n], sizeof(s));
				s += part(x, 0) * part(y, 0);
				s += part(x, 1) * part(y, 1);
				memcpy(&tiles.row[sum][m][n], &s, sizeof(s));
			}
}

#define tile_start() emulate_start()
#define tile_end() (tiles.set_up = false)
#define tile_zero(n) emulate_zero(n)
#define tile_load(n, from, bytes) emulate_load(n, from, bytes)
#define tile_store(n, to, bytes) emulate_store(n, to, bytes)
#define tile_dot(sum, a, b) emulate_dot(sum, a, b)
#include "ops/kernels/gemm_amx_body.h"

/* Tables of the kernel by AVX512_BF16 and of the same with the tiles above. */
static const struct vq_kernels *real;
static struct vq_kernels emulated;

/* --- one tile --------------------------------------------------------------- */

START_TEST(self_check)
{
	if (real == NULL)
		return;
	ck_assert(vq_gemm_check_tile(tile));
	/* It can fail, too. */
	ck_assert(!vq_gemm_check_tile(real->gemm->tile));
}
END_TEST

enum { RUNS = 3, LD = 48 };

/* Every number of rows and columns; nothing else of c may change.  even: rows lie evenly apart. */
static void
check_tile(int rows, int cols, int64_t len, int64_t step, bool even, bool add)
{
	int64_t k = RUNS * len, off[RUNS] = { step, 0, 2 * len * step }, most = 4 * len * step + 40;
	float *numbers = vq_alloc_array((size_t)(2 * k * MR), sizeof(*numbers));
	float *x = vq_alloc_aligned((size_t)(most * MR) * sizeof(*x)), *y = vq_alloc_aligned((size_t)(k * NR) * sizeof(*y));
	float was[MR][LD], is[MR][LD], *c[MR], *d[MR + 12] = { NULL };
	const float *a[MR + 12];

	for (int64_t i = 0; i < most * MR; i++)
		x[i] = NAN;
	for (int i = 0; i < MR; i++) {
		int64_t row = i < rows ? i : rows - 1;
		a[i] = step != 1 ? x + row : x + (even ? row : row * 7 % MR) * most;
		c[i] = was[i];
		d[i] = is[i];
		for (int j = 0; j < LD; j++)
			was[i][j] = is[i][j] = (float)(i * j % 11);
	}
	for (int i = MR; i < MR + 12; i++)		/* the other kernel's tiles end elsewhere */
		a[i] = a[MR - 1];
	for (int64_t i = 0; i < 2 * k * MR; i++)
		numbers[i] = (float)(i * i % 17) - 8;
	for (int i = 0; i < rows; i++)
		for (int64_t p = 0; p < k; p++)
			real->gemm_bf16->round((float *)(uintptr_t)a[i] + off[p / len] + p % len * step, numbers + 2 * (i * k + p), 2);
	for (int64_t i = 0; i < k; i++)
		real->gemm_bf16->zip(y + i * NR, numbers + i, numbers + i + 3, NR);
	struct vq_gemm_tile t = { .segs = RUNS, .len = len, .step = step, .off = off, .b = y, .col = 3, .cols = cols,
	    .rows = rows, .add = add };
	tile(&t, a, c);
	for (int i = 0; i < rows; i += 12) {
		t.rows = rows - i < 12 ? rows - i : 12;
		real->gemm_bf16->tile(&t, a + i, d + i);
	}
	ck_assert_msg(memcmp(was, is, sizeof(is)) == 0, "%d x %d, runs of %d, step %d, %s", rows, cols, (int)len, (int)step,
	    even ? "even" : "uneven");
	free(numbers);
	free(x);
	free(y);
}

START_TEST(one_tile)
{
	static const int64_t lens[] = { 1, 5, 16, 17, 40 };

	for (int rows = 1; real && rows <= MR; rows++)
		for (int cols = 1; cols <= NR; cols += rows % 5 + 1)
			for (int way = 0; way < 8; way++)
				check_tile(rows, cols, lens[_i], way & 1 ? 37 : 1, way & 2, way & 4);
}
END_TEST

/* --- products --------------------------------------------------------------- */

static void
run_example(const struct sample *s, const struct vq_kernels *k, const struct vq_view *in, const struct vq_view *out)
{
	struct vq_cost cost = { .params = s->params, .nin = s->nin, .nout = s->nout, .in = s->in, .out = s->out, .threads = 2 };
	void *scratch = vq_alloc_aligned(s->op->scratch(&cost) + 1);

	s->op->run(&(struct vq_call){ .params = s->params, .nin = s->nin, .nout = s->nout, .in = in, .out = out,
	    .scratch = scratch, .k = k, .threads = 2 });
	free(scratch);
}

START_TEST(examples)
{
	static const char *const ops[] = { "matmul", "conv2d", "conv2d_input", "conv2d_weight" };
	const struct vq_op *op = vq_op_find(ops[_i]);
	int n = 0;

	for (const struct vq_example *ex = op->examples; real && ex->in; ex++) {
		struct vq_view in[VQ_MAX_IN], want, got;
		struct sample s;

		if (ex->params == NULL || strstr(ex->params, "bf16") == NULL)
			continue;
		sample_prepare(&s, op, ex);
		ck_assert(s.message == NULL);
		if (sample_flops(&s) > 4e7)
			continue;
		for (int i = 0; i < s.nin; i++) {
			in[i] = (struct vq_view){ sample_room(&s.in[i]), &s.in[i] };
			sample_fill(&s, i, &in[i]);
		}
		want = (struct vq_view){ sample_room(&s.out[0]), &s.out[0] };
		got = (struct vq_view){ sample_room(&s.out[0]), &s.out[0] };
		run_example(&s, real, in, &want);
		run_example(&s, &emulated, in, &got);
		double most = view_largest(&want);
		for (int64_t i = 0; i < vq_shape_count(&s.out[0].shape); i++)
			ck_assert_msg(fabs(vq_get(&got, i) - vq_get(&want, i)) <= 1e-5 * most, "%s %s %s: element %lld is %g, not %g",
			    op->name, ex->in, ex->params, (long long)i, vq_get(&got, i), vq_get(&want, i));
		for (int i = 0; i < s.nin; i++)
			free(in[i].data);
		free(want.data);
		free(got.data);
		n++;
	}
	ck_assert(real == NULL || n >= 8);
}
END_TEST

int
main(void)
{
	static struct vq_gemm_micro micro;
	Suite *suite = suite_create("amx");
	TCase *all = tcase_create("emulated");

	real = vq_kernels_of(VQ_ISA_AVX512BF16);
	if (real) {
		micro = vq_gemm_amx;
		micro.tile = tile;
		emulated = *real;
		emulated.gemm_bf16 = &micro;
	}
	tcase_set_timeout(all, 120);
	tcase_add_test(all, self_check);
	tcase_add_loop_test(all, one_tile, 0, 5);
	tcase_add_loop_test(all, examples, 0, 4);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
