/*
 * check_ewise -- vector kernels against their definitions on every instruction
 * set, and elementwise programs against their interpreter
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/rng.h"
#include "ops/kernels/kernels.h"

/* The library writes a line for every assertion it makes: millions cost seconds. */
#define expect(cond, ...) ((cond) ? (void)0 : ck_abort_msg(__VA_ARGS__))

/* --- single instructions ------------------------------------------------- */

/* Where an instruction is tested and how far it may be off: in units of the last
 * place of the result, or absolutely (relative to 1) where ulps is 0. */
static const struct accuracy {
	enum vq_ew op;
	double lo, hi, ulps;
	float p, q;
} accuracies[] = {
	{ VQ_EW_EXP, -87, 88, 2 }, { VQ_EW_EXP, -103, -87, 1 }, { VQ_EW_EXP, -1e-3, 1e-3, 1 },
	{ VQ_EW_LOG, 1e-30, 1e-3, 2 }, { VQ_EW_LOG, 0.5, 2, 2 }, { VQ_EW_LOG, 1, 1e30, 2 },
	{ VQ_EW_TANH, -9, 9, 3 }, { VQ_EW_TANH, -1e-3, 1e-3, 3 },
	{ VQ_EW_SIGMOID, -80, 80, 3 }, { VQ_EW_ERF, -4, 4, 3 }, { VQ_EW_ERF, -1e-3, 1e-3, 3 },
	{ VQ_EW_SIN, -3, 3, 2 }, { VQ_EW_COS, -3, 3, 2 }, { VQ_EW_SIN, -1e6, 1e6, 0 },
	{ VQ_EW_COS, -1e9, 1e9, 0 }, { VQ_EW_SOFTPLUS, -80, 80, 4 }, { VQ_EW_SILU, -80, 80, 4 },
	{ VQ_EW_GELU, -6, 6, 0 }, { VQ_EW_GELU_TANH, -6, 6, 0 }, { VQ_EW_ELU, -20, 3, 2, 1 },
	{ VQ_EW_SQRT, 0, 100, 0.51 }, { VQ_EW_RSQRT, 1e-3, 100, 1.5 }, { VQ_EW_RECIPROCAL, 1e-3, 100, 0.51 },
	{ VQ_EW_POWC, 0.1, 9, 2, 2.5 }, { VQ_EW_POWC, 0.1, 9, 2, -0.5 }, { VQ_EW_POWC, 0.1, 9, 1, 2 },
	{ VQ_EW_FLOOR, -9, 9, 0.01 }, { VQ_EW_ROUND, -9, 9, 0.01 }, { VQ_EW_SIGN, -9, 9, 0.01 },
	{ VQ_EW_CLAMP, -9, 9, 0.01, -1, 2 }, { VQ_EW_AFFINE, 1, 9, 1, 2, 1 },
	{ VQ_EW_LEAKY_RELU, -9, 9, 0.51, 0.25 }, { VQ_EW_RELU, -9, 9, 0.01 }, { VQ_EW_ABS, -9, 9, 0.01 },
};

static double
ulp(float x)
{
	x = fabsf(x) < FLT_MIN ? FLT_MIN : fabsf(x);
	return (double)nextafterf(x, INFINITY) - (double)x;
}

static void
check_accuracy(const struct vq_kernels *k, const struct accuracy *a)
{
	enum { N = 5000 };
	struct vq_rng_key key = { .seed = 3, .purpose = a->op };
	float x[N], y[N];

	for (int i = 0; i < N; i++)
		x[i] = (float)(a->lo + (a->hi - a->lo) * vq_rng_uniform(&key, (uint64_t)i));
	k->ew[a->op](y, x, NULL, NULL, a->p, a->q, N);
	for (int i = 0; i < N; i++) {
		double want = vq_ew_eval(a->op, x[i], 0, 0, a->p, a->q);
		double allowed = a->ulps > 0 ? a->ulps * ulp((float)want) : 1e-6;
		expect(fabs(y[i] - want) <= allowed, "%s %s(%.9g) is %.9g, should be %.9g: %.2f ulp",
		    k->name, vq_ew_name(a->op), (double)x[i], (double)y[i], want,
		    fabs(y[i] - want) / ulp((float)want));
	}
}

START_TEST(accuracy)
{
	const struct vq_kernels *k = vq_kernels_of(_i);

	for (size_t i = 0; k && i < VQ_COUNT(accuracies); i++)
		check_accuracy(k, &accuracies[i]);
}
END_TEST

static bool
agrees(float got, double want)
{
	if (isnan(want))
		return isnan(got);
	if (isinf((float)want))
		return got == (float)want;
	return fabs((double)got - want) <= 1e-5 * fabs(want) + 1e-37;
}

/* Infinities, NaN, zeros, denormals and giants, in all pairs. */
START_TEST(special_values)
{
	static const float special[] = { INFINITY, -INFINITY, NAN, 0, -0.0f, 1e-40f, -1e-40f, 1, -1, 0.5f,
	    90, -90, 110, -110, 3e38f, -3e38f };
	enum { N = VQ_COUNT(special) };
	const struct vq_kernels *k = vq_kernels_of(_i);

	for (int op = 0; k && op < VQ_EW_OPS; op++)
		for (size_t shift = 0; shift < N; shift++) {
			float a[N], b[N], c[N], y[N];
			for (size_t i = 0; i < N; i++) {
				a[i] = special[i];
				b[i] = special[(i + shift) % N];
				c[i] = special[(i + 3 * shift + 1) % N];
			}
			k->ew[op](y, a, b, c, 0.5f, 2, N);
			for (size_t i = 0; i < N; i++) {
				double want = vq_ew_eval(op, a[i], b[i], c[i], 0.5, 2);
				expect(agrees(y[i], want), "%s %s(%g, %g, %g) is %g, should be %g", k->name,
				    vq_ew_name(op), (double)a[i], (double)b[i], (double)c[i], (double)y[i], want);
			}
		}
}
END_TEST

/* An element's bits do not depend on where its row is cut. */
START_TEST(cuts)
{
	enum { N = 100 };
	const struct vq_kernels *k = vq_kernels_of(_i);
	struct vq_rng_key key = { .seed = 4 };
	float a[N], b[N], c[N], whole[N], part[N];

	vq_rng_normals(&key, 0, a, N);
	vq_rng_normals(&key, 1000, b, N);
	vq_rng_normals(&key, 2000, c, N);
	for (int op = 0; k && op < VQ_EW_OPS; op++) {
		k->ew[op](whole, a, b, c, 0.3f, 0.7f, N);
		for (int cut = 1; cut < N; cut += 7) {
			k->ew[op](part, a, b, c, 0.3f, 0.7f, cut);
			k->ew[op](part + cut, a + cut, b + cut, c + cut, 0.3f, 0.7f, N - cut);
			expect(memcmp(whole, part, sizeof(whole)) == 0, "%s %s cut at %d", k->name,
			    vq_ew_name(op), cut);
		}
		memcpy(part, a, sizeof(part));
		k->ew[op](part, part, b, c, 0.3f, 0.7f, N);
		ck_assert_msg(memcmp(whole, part, sizeof(whole)) == 0, "%s %s in place", k->name, vq_ew_name(op));
	}
}
END_TEST

START_TEST(sums)
{
	enum { MOST = 5000 };
	const struct vq_kernels *k = vq_kernels_of(_i);
	struct vq_rng_key key = { .seed = 5 };
	static float x[MOST], y[MOST];

	vq_rng_uniforms(&key, 0, x, MOST);
	vq_rng_normals(&key, 0, y, MOST);
	for (int n = 0; k && n < MOST; n += n < 70 ? 1 : 613) {
		double sum = 0, dot = 0, max = -INFINITY;
		for (int i = 0; i < n; i++) {
			sum += x[i];
			dot += (double)x[i] * y[i];
			max = y[i] > max ? y[i] : max;
		}
		ck_assert_double_le(fabs(k->sum(x, n) - sum), 2e-7 * sum);
		ck_assert_double_le(fabs(k->dot(x, y, n) - dot), 1e-6 * (sum + 1));
		ck_assert(k->max(y, n) == (float)max);
	}
	if (k) {
		y[77] = NAN;
		ck_assert(isnan(k->max(y, 200)));
		ck_assert(isnan(k->sum(y, 200)));
	}
}
END_TEST

/* --- the choice at start ------------------------------------------------- */

/* The table is chosen before main, so another process has to be asked. */
static void
ask(const char *isa, char answer[256])
{
	char command[600], self[512] = { 0 };

	ck_assert(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(command, sizeof(command), "VQGRAPH_ISA=%s '%s' --isa", isa, self);
	FILE *f = popen(command, "r");
	ck_assert(f != NULL);
	answer[fread(answer, 1, 255, f)] = '\0';
	ck_assert_int_eq(pclose(f), 0);
}

START_TEST(choice)
{
	char answer[256];

	ask("portable", answer);
	ck_assert_str_eq(answer, "portable\n");
	ask("sse9", answer);
	ck_assert_str_eq(answer, "portable\nVQGRAPH_ISA=sse9: not one of portable, avx2, avx512, avx512bf16, amx; portable is used\n");
	if (vq_kernels_of(VQ_ISA_AVX2)) {
		ask("avx2", answer);
		ck_assert_str_eq(answer, "avx2\n");
	}
	if (vq_kernels_of(VQ_ISA_AVX512) == NULL) {
		ask("avx512", answer);
		ck_assert_str_eq(answer, "portable\nVQGRAPH_ISA=avx512: this processor has no avx512; portable is used\n");
	}
}
END_TEST

/* --- programs ------------------------------------------------------------ */

enum { MOST_ROWS = 700, MOST_COLS = 1300, MOST_ELEMENTS = 60000 };

static struct vq_ewise
random_program(const struct vq_rng_key *key, uint64_t *at)
{
	static const uint8_t ops[] = { VQ_EW_ADD, VQ_EW_SUB, VQ_EW_MUL, VQ_EW_MAX, VQ_EW_TANH, VQ_EW_RELU,
	    VQ_EW_GATE, VQ_EW_SELECT, VQ_EW_FMA, VQ_EW_AXPY, VQ_EW_AFFINE, VQ_EW_SIGMOID };
	struct vq_ewise p = { .nin = (int)vq_rng_below(key, (*at)++, VQ_EWISE_INS) + 1,
	    .ninstr = (int)vq_rng_below(key, (*at)++, VQ_EWISE_INSTRS) + 1 };

	for (int i = 1; i < p.nin; i++)
		p.mode[i] = (uint8_t)vq_rng_below(key, (*at)++, 4);
	for (int i = 0; i < p.ninstr; i++) {
		uint64_t registers = (uint64_t)(p.nin + i);
		p.instr[i] = (struct vq_ewise_instr){
			.op = ops[vq_rng_below(key, (*at)++, sizeof(ops))],
			.a = (uint8_t)(i > 0 ? registers - 1 : 0),
			.b = (uint8_t)vq_rng_below(key, (*at)++, registers),
			.c = (uint8_t)vq_rng_below(key, (*at)++, registers),
			.p = 0.5f, .q = 0.25f,
		};
	}
	return p;
}

/* The operands of a program over rows x cols as views that broadcast. */
struct operands {
	struct vq_type type[VQ_EWISE_INS], out_type;
	struct vq_view view[VQ_EWISE_INS], out, want;
	const float *data[VQ_EWISE_INS];
};

static void
operands_fill(struct operands *o, const struct vq_ewise *p, int64_t rows, int64_t cols,
    const struct vq_rng_key *key, uint64_t *at)
{
	const struct vq_shape shape[] = {
		[VQ_EWISE_FULL] = { 2, { rows, cols } }, [VQ_EWISE_SCALAR] = { 0 },
		[VQ_EWISE_ROW] = { 1, { cols } }, [VQ_EWISE_COL] = { 2, { rows, 1 } },
	};

	o->out_type = (struct vq_type){ VQ_F32, shape[VQ_EWISE_FULL] };
	o->out = (struct vq_view){ malloc(vq_type_bytes(&o->out_type)), &o->out_type };
	o->want = (struct vq_view){ malloc(vq_type_bytes(&o->out_type)), &o->out_type };
	for (int i = 0; i < p->nin; i++) {
		o->type[i] = (struct vq_type){ VQ_F32, shape[p->mode[i]] };
		int64_t n = vq_shape_count(&o->type[i].shape);
		float *x = malloc((size_t)n * sizeof(*x));
		vq_rng_normals(key, *at, x, n);
		*at += (uint64_t)n;
		o->view[i] = (struct vq_view){ x, &o->type[i] };
		o->data[i] = x;
	}
}

static void
operands_free(struct operands *o, const struct vq_ewise *p)
{
	for (int i = 0; i < p->nin; i++)
		free(o->view[i].data);
	free(o->out.data);
	free(o->want.data);
}

static void
assert_close(const struct operands *o, const char *what, int trial)
{
	int64_t n = vq_shape_count(&o->out_type.shape);
	const float *got = o->out.data, *want = o->want.data;

	for (int64_t i = 0; i < n; i++)
		expect(fabsf(got[i] - want[i]) <= 1e-4f * (1 + fabsf(want[i])),
		    "%s, program %d: element %lld of [%lld, %lld] is %g, not %g", what, trial, (long long)i,
		    (long long)o->out_type.shape.dim[0], (long long)o->out_type.shape.dim[1],
		    (double)got[i], (double)want[i]);
}

/* A piece of a result whose rows lie apart, operand 0 being the result itself, as an
 * epilogue does it: what is around the piece stays. */
static void
check_piece(const struct operands *o, const struct vq_ewise *p, int64_t rows, int64_t cols, int trial)
{
	int64_t ld = cols + 5, row = rows / 3, col = cols / 4;
	int64_t nrows = rows - row - rows / 4, ncols = cols - col - cols / 5;
	float *y = malloc((size_t)(rows * ld) * sizeof(*y));
	const float *in[VQ_EWISE_INS];

	memcpy(in, o->data, sizeof(in));
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < ld; c++)
			y[r * ld + c] = c < cols ? o->data[0][r * cols + c] : 7;
	in[0] = y;
	vq_ewise_tile(vq_kernels(), p, in, ld, y, ld, cols, row, nrows, col, ncols);
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < ld; c++) {
			bool inside = r >= row && r < row + nrows && c >= col && c < col + ncols;
			float want = inside ? ((const float *)o->want.data)[r * cols + c] :
			    c < cols ? o->data[0][r * cols + c] : 7;
			expect(fabsf(y[r * ld + c] - want) <= (inside ? 1e-4f * (1 + fabsf(want)) : 0),
			    "program %d: piece at %lld, %lld is %g, not %g", trial, (long long)r, (long long)c,
			    (double)y[r * ld + c], (double)want);
		}
	free(y);
}

START_TEST(programs)
{
	struct vq_rng_key key = { .seed = 6 };
	uint64_t at = 0;

	for (int trial = 0; trial < 150; trial++) {
		struct vq_ewise p = random_program(&key, &at);
		int64_t cols = 1 + (int64_t)vq_rng_below(&key, at++, trial % 2 ? MOST_COLS : 40);
		int64_t most = MOST_ELEMENTS / cols < MOST_ROWS ? MOST_ELEMENTS / cols : MOST_ROWS;
		int64_t rows = 1 + (int64_t)vq_rng_below(&key, at++, (uint64_t)most);
		struct operands o;

		operands_fill(&o, &p, rows, cols, &key, &at);
		vq_ewise_reference(&p, o.view, &o.want);
		vq_ewise_broadcast(vq_kernels(), &p, o.view, &o.out, 2);
		assert_close(&o, "broadcast", trial);
		for (int threads = 1; threads <= 3; threads++) {
			vq_ewise_run(vq_kernels(), &p, o.data, o.out.data, rows, cols, threads);
			assert_close(&o, "run", trial);
		}
		check_piece(&o, &p, rows, cols, trial);
		operands_free(&o, &p);
	}
}
END_TEST

static int
print_choice(void)
{
	printf("%s\n", vq_kernels()->name);
	if (vq_kernels_complaint())
		printf("%s\n", vq_kernels_complaint());
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--isa") == 0)
		return print_choice();
	Suite *suite = suite_create("ewise");
	TCase *kernels = tcase_create("kernels"), *walks = tcase_create("programs");
	int failed;

	tcase_add_loop_test(kernels, accuracy, 0, VQ_ISAS);
	tcase_add_loop_test(kernels, special_values, 0, VQ_ISAS);
	tcase_add_loop_test(kernels, cuts, 0, VQ_ISAS);
	tcase_add_loop_test(kernels, sums, 0, VQ_ISAS);
	tcase_add_test(kernels, choice);
	tcase_add_test(walks, programs);
	tcase_set_timeout(walks, 60);
	suite_add_tcase(suite, kernels);
	suite_add_tcase(suite, walks);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
