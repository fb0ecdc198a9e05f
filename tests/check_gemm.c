/*
 * check_gemm -- register tiles, matrix products and convolutions against plain sums
 * and against OpenBLAS, over many shapes
 */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "ops/kernels/conv.h"
#include "ops/kernels/gemm.h"
#include "tests/call.h"

/* Of a sum of k products of numbers in [-1, 1). */
static double
tolerance(int64_t k)
{
	return 3e-6 * sqrt((double)k);
}

/* --- the register kernel ------------------------------------------------- */

enum { RUNS = 3, LEN = 5, STEP = 2, LD = 40 };

/* One tile of every number of rows and columns; nothing else of c may change. */
static void
check_tile(const struct vq_gemm_micro *u, int rows, int cols, bool add)
{
	int64_t off[RUNS] = { 4, 0, 17 }, k = RUNS * LEN, lda = 30;
	float *x = numbers(lda * u->mr, 1), *y = numbers(k * u->nr, 2), *z = numbers(LD * u->mr, 3);
	float *was = numbers(LD * u->mr, 3), *c[VQ_GEMM_MR_MAX];
	const float *a[VQ_GEMM_MR_MAX];

	for (int i = 0; i < u->mr; i++) {
		a[i] = x + i * lda;
		c[i] = z + i * LD;
	}
	u->tile(&(struct vq_gemm_tile){ .segs = RUNS, .len = LEN, .step = STEP, .off = off, .b = y, .col = 3,
	    .rows = rows, .cols = cols, .add = add }, a, c);
	for (int i = 0; i < u->mr; i++)
		for (int j = 0; j < LD; j++) {
			double sum = add ? (double)was[i * LD + j] : 0;
			if (i >= rows || j < 3 || j >= 3 + cols) {
				ck_assert(z[i * LD + j] == was[i * LD + j]);
				continue;
			}
			for (int64_t p = 0; p < k; p++)
				sum += (double)a[i][off[p / LEN] + p % LEN * STEP] * (double)y[p * u->nr + j - 3];
			near(z[i * LD + j], sum, 1e-5);
		}
	free(x);
	free(y);
	free(z);
	free(was);
}

START_TEST(tiles)
{
	const struct vq_kernels *k = vq_kernels_of(_i);

	for (int rows = 1; k && rows <= k->gemm->mr; rows++)
		for (int cols = 1; cols <= k->gemm->nr; cols++) {
			check_tile(k->gemm, rows, cols, false);
			check_tile(k->gemm, rows, cols, true);
		}
}
END_TEST

/* Both ways of packing give the same panels, padded with zeros. */
START_TEST(packing)
{
	const struct vq_kernels *isa = vq_kernels_of(_i);
	int64_t ks[] = { 1, 7, 8, 16, 37 }, ns[] = { 1, 5, 8, 16, 31, 32, 50 };

	for (size_t at = 0; isa && at < VQ_COUNT(ks) * VQ_COUNT(ns); at++) {
		const struct vq_gemm_micro *u = isa->gemm;
		int64_t k = ks[at / VQ_COUNT(ns)], n = ns[at % VQ_COUNT(ns)], wide = (n + u->nr - 1) / u->nr * u->nr;
		float *b = numbers(k * n, at), *t = numbers(k * n, 0), *p = numbers((k + 2) * wide, 9);
		float *q = numbers((k + 2) * wide, 9);

		for (int64_t i = 0; i < k * n; i++)
			t[i % n * k + i / n] = b[i];
		vq_gemm_pack(u, p, k + 2, 1, b, n, false, k, n);
		vq_gemm_pack(u, q, k + 2, 1, t, k, true, k, n);
		ck_assert_mem_eq(p, q, (size_t)((k + 2) * wide) * sizeof(*p));
		for (int64_t i = 0; i < k * wide; i++) {
			int64_t x = i % k, j = i / k, panel = j / u->nr;
			float want = j < n ? b[x * n + j] : 0;
			ck_assert(p[panel * (k + 2) * u->nr + (x + 1) * u->nr + j % u->nr] == want);
		}
		free(b);
		free(t);
		free(p);
		free(q);
	}
}
END_TEST

/* --- words of bf16 --------------------------------------------------------- */

static float
rounded(float x)
{
	return vq_bf16_to_f32(vq_f32_to_bf16(x));
}

/* Number i of a word of u. */
static float
of_word(const struct vq_gemm_micro *u, const float *word, int i)
{
	uint32_t bits;

	memcpy(&bits, word, sizeof(bits));
	return u->per == 1 ? *word : vq_bf16_to_f32((uint16_t)(bits >> 16 * i));
}

/* Rows and panels hold the nearest bf16 of what they are given, and zeros after it. */
START_TEST(words)
{
	const struct vq_kernels *isa = vq_kernels_of(_i);
	int64_t ks[] = { 1, 7, 8, 16, 31, 32, 37, 64, 75 }, ns[] = { 1, 5, 8, 16, 31, 32, 50 };

	for (size_t at = 0; isa && at < VQ_COUNT(ks) * VQ_COUNT(ns); at++) {
		const struct vq_gemm_micro *u = isa->gemm_bf16;
		int64_t k = ks[at / VQ_COUNT(ns)], n = ns[at % VQ_COUNT(ns)], wide = (n + u->nr - 1) / u->nr * u->nr;
		int64_t len = vq_gemm_words(u, k), depth = len + 2;
		float *b = numbers(k * n, at), *t = numbers(k * n, 0), *p = numbers(depth * wide, 9);
		float *q = numbers(depth * wide, 9), *row = numbers(len + 1, 0);

		b[at % (size_t)(k * n)] = INFINITY;
		for (int64_t i = 0; i < k * n; i++)
			t[i % n * k + i / n] = b[i];
		vq_gemm_pack(u, p, depth, 1, b, n, false, k, n);
		vq_gemm_pack(u, q, depth, 1, t, k, true, k, n);
		ck_assert_mem_eq(p, q, (size_t)(depth * wide) * sizeof(*p));
		for (int64_t i = 0; i < len * u->per * wide; i++) {
			int64_t x = i / wide, j = i % wide, panel = j / u->nr;
			float want = x < k && j < n ? rounded(b[x * n + j]) : 0;
			const float *word = p + panel * depth * u->nr + (x / u->per + 1) * u->nr + j % u->nr;
			ck_assert(of_word(u, word, (int)(x % u->per)) == want);
		}
		row[len] = 5;
		vq_gemm_row(u, row, t, k);
		for (int64_t x = 0; x < len * u->per; x++)
			ck_assert(of_word(u, row + x / u->per, (int)(x % u->per)) == (x < k ? rounded(t[x]) : 0));
		ck_assert(row[len] == 5);
		float *zip = numbers(n + 1, 0);
		zip[n] = 5;
		for (int two = 0; two < 2; two++) {
			vq_gemm_zip(u, zip, b, two && k > 1 ? b + n : NULL, n);
			vq_gemm_pack_zipped(u, p, depth, 1, b, two && k > 1 ? b + n : NULL, n, 1, n);
			for (int64_t j = 0; j < n * u->per; j++) {
				float want = j % u->per == 0 ? rounded(b[j / u->per]) : two && k > 1 ? rounded(b[n + j / u->per]) : 0;
				int64_t x = j / u->per;
				ck_assert(of_word(u, zip + x, (int)(j % u->per)) == want);
				ck_assert(of_word(u, p + x / u->nr * depth * u->nr + u->nr + x % u->nr, (int)(j % u->per)) == want);
			}
		}
		ck_assert(zip[n] == 5);
		free(zip);
		free(row);
		free(b);
		free(t);
		free(p);
		free(q);
	}
}
END_TEST

/* --- products ------------------------------------------------------------ */

static void
check_product(int m, int n, int k, bool ta, bool tb, bool bf16)
{
	struct vq_type type[2] = { ta ? f32(2, k, m) : f32(2, m, k), tb ? f32(2, n, k) : f32(2, k, n) };
	float *a = numbers((int64_t)m * k, 1), *b = numbers((int64_t)k * n, 77), *want = numbers((int64_t)m * n, 0);
	char params[64];
	void *out[VQ_MAX_OUT], *more[VQ_MAX_OUT];

	snprintf(params, sizeof(params), "transpose_a=%s transpose_b=%s precision=%s", ta ? "true" : "false",
	    tb ? "true" : "false", bf16 ? "bf16" : "auto");
	now.threads = 1;
	call("matmul", params, 2, type, (void *[]){ a, b }, out);
	now.threads = 3;
	call("matmul", params, 2, type, (void *[]){ a, b }, more);
	ck_assert_mem_eq(out[0], more[0], (size_t)m * (size_t)n * sizeof(float));
	for (int64_t i = 0; bf16 && i < (int64_t)m * k; i++)
		a[i] = rounded(a[i]);
	for (int64_t i = 0; bf16 && i < (int64_t)k * n; i++)
		b[i] = rounded(b[i]);
	cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1,
	    a, ta ? m : k, b, tb ? k : n, 0, want, n);
	for (int i = 0; i < m * n; i++)
		ck_assert_msg(fabs((double)((float *)out[0])[i] - (double)want[i]) <
		    tolerance(k) + 1e-6 * fabs((double)want[i]),	/* without fma a sum is rounded twice as often */
		    "%d x %d x %d %s: element %d is %g, should be %g", m, n, k, params, i,
		    (double)((float *)out[0])[i], (double)want[i]);
	release(out, 1);
	release(more, 1);
	free(a);
	free(b);
	free(want);
}

START_TEST(products)
{
	static const int size[][3] = { { 1, 1, 1 }, { 1, 300, 257 }, { 3, 40, 1500 }, { 8, 129, 64 }, { 9, 17, 33 },
		{ 193, 47, 65 }, { 24, 64, 2100 }, { 200, 200, 385 }, { 400, 31, 1030 }, { 97, 1100, 70 },
		{ 5, 5, 9000 } };

	for (int t = 0; t < 8; t++)
		check_product(size[_i][0], size[_i][1], size[_i][2], t & 1, t & 2, t & 4);
}
END_TEST

/* A row has the same bits however many rows there are: what is sampled must not depend on
 * what else is in the batch. */
START_TEST(rows_apart)
{
	static const int size[][2] = { { 17, 10 }, { 256, 64 }, { 256, 1024 }, { 600, 523 }, { 1024, 256 }, { 1026, 96 },
		{ 2100, 65 }, { 5000, 40 } };
	static const int rows[] = { 1, 2, 7, 8, 9, 16, 17, 24, 49, 97, 200 };
	enum { MOST = 200 };
	int k = size[_i / 4][0], n = size[_i / 4][1];
	bool tb = _i % 2;
	char params[64];
	float *a = numbers((int64_t)MOST * k, 5), *b = numbers((int64_t)k * n, 6);
	float *first = NULL;

	snprintf(params, sizeof(params), "transpose_b=%s precision=%s", tb ? "true" : "false", _i % 4 < 2 ? "f32" : "bf16");
	for (size_t r = VQ_COUNT(rows); r-- > 0; ) {
		void *out[VQ_MAX_OUT];
		struct vq_type type[] = { f32(3, rows[r], 1, k), tb ? f32(2, n, k) : f32(2, k, n) };
		now.threads = 1 + (int)r % 3;
		call("matmul", params, 2, type, (void *[]){ a, b }, out);
		if (first == NULL)
			first = out[0];
		ck_assert_msg(memcmp(out[0], first, (size_t)(rows[r] * n) * sizeof(float)) == 0,
		    "%d rows of %d by %d, %s", rows[r], k, n, params);
		if (first != out[0])
			release(out, 1);
	}
	now.threads = 2;
	free(first);
	free(a);
	free(b);
}
END_TEST

/* The same of products with a matrix that was packed, in pairs of bf16 too, and that they are right. */
START_TEST(packed_rows_apart)
{
	static const int size[][2] = { { 17, 10 }, { 256, 64 }, { 256, 1024 }, { 600, 523 }, { 1024, 75 }, { 5000, 40 } };
	static const int rows[] = { 1, 2, 3, 5, 7, 8, 9, 13, 16, 49, 97, 200 };
	enum { MOST = 200 };
	int k = size[_i / 4][0], n = size[_i / 4][1];
	bool transposed = _i % 2, bf16 = _i % 4 / 2;
	float *a = numbers((int64_t)MOST * k, 5), *b = numbers((int64_t)k * n, 6), *want = numbers((int64_t)MOST * n, 0);
	struct vq_type panels = bf16 ? (struct vq_type){ VQ_BF16, { 4, { (n + 31) / 32, (k + 1) / 2, 32, 2 } } } :
	    f32(3, (n + 31) / 32, k, 32);
	void *packed[VQ_MAX_OUT], *out[VQ_MAX_OUT];
	char columns[64];

	snprintf(columns, sizeof(columns), "transpose=%s bf16=%s", transposed ? "true" : "false", bf16 ? "true" : "false");
	call("pack", columns, 1, (struct vq_type[]){ transposed ? f32(2, n, k) : f32(2, k, n) }, (void *[]){ b }, packed);
	snprintf(columns, sizeof(columns), "columns=%d", n);
	float *first = NULL;
	for (size_t r = VQ_COUNT(rows); r-- > 0; ) {
		struct vq_type type[] = { f32(3, rows[r], 1, k), panels };
		now.threads = 1 + (int)r % 3;
		call("matmul_packed", columns, 2, type, (void *[]){ a, packed[0] }, out);
		if (first == NULL)
			first = out[0];
		ck_assert_msg(memcmp(out[0], first, (size_t)(rows[r] * n) * sizeof(float)) == 0, "%d rows of %d by %d", rows[r], k, n);
		if (first != out[0])
			release(out, 1);
	}
	for (int64_t i = 0; bf16 && i < (int64_t)MOST * k; i++)
		a[i] = rounded(a[i]);
	for (int64_t i = 0; bf16 && i < (int64_t)k * n; i++)
		b[i] = rounded(b[i]);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, MOST, n, k, 1, a, k, b,
	    transposed ? k : n, 0, want, n);
	for (int i = 0; i < MOST * n; i++)
		near(first[i], want[i], tolerance(k) + 1e-6 * fabs((double)want[i]));
	now.threads = 2;
	release(packed, 1);
	free(first);
	free(a);
	free(b);
	free(want);
}
END_TEST

/* OpenBLAS sets the number of threads of the whole process; the roof puts it back. */
START_TEST(roof)
{
	int before = omp_get_max_threads();

	ck_assert(vq_gemm_roof(1) > 0.01);
	ck_assert(vq_gemm_roof_bf16(1) > 0.01);
	ck_assert_int_eq(omp_get_max_threads(), before);
}
END_TEST

/* --- convolutions -------------------------------------------------------- */

/* One of many geometries, by number. */
static struct vq_conv
geometry(int i, char params[200], char rest[80])
{
	static const int channels[][3] = { { 1, 1, 1 }, { 3, 5, 1 }, { 8, 4, 1 }, { 33, 18, 1 }, { 12, 2, 1 },
		{ 6, 4, 2 }, { 5, 5, 5 } };
	const int *ch = channels[i % 7];
	uint64_t h = vq_hash(&i, sizeof(i), 5);
	struct vq_conv v = { .n = 1 + i % 3, .ci = ch[0], .co = ch[1], .groups = ch[2] };
	int64_t after[2];

	for (int a = 0; a < 2; a++) {
		struct vq_conv_axis *x = a ? &v.x : &v.y;
		x->taps = 1 + (int64_t)(h % 5);
		x->stride = 1 + (int64_t)(h / 8 % 3);
		x->dilation = 1 + (int64_t)(h / 64 % 2);
		x->before = (int64_t)(h / 256 % 4);
		after[a] = (int64_t)(h / 2048 % 4);
		x->in = (x->taps - 1) * x->dilation + 1 + (int64_t)(h / 16384 % 14);
		x->out = (x->in + x->before + after[a] - (x->taps - 1) * x->dilation - 1) / x->stride + 1;
		h >>= 24;
	}
	snprintf(params, 200, "stride=[%d,%d] dilation=[%d,%d] pad=[%d,%d,%d,%d] groups=%d", (int)v.y.stride,
	    (int)v.x.stride, (int)v.y.dilation, (int)v.x.dilation, (int)v.y.before, (int)after[0],
	    (int)v.x.before, (int)after[1], (int)v.groups);
	snprintf(rest, 80, " height=%d width=%d", (int)v.y.in, (int)v.x.in);
	return v;
}

/* The three ops and their references on one geometry, from numbers that bf16 holds. */
START_TEST(convolutions)
{
	char params[200], size[80], text[320];
	struct vq_conv v = geometry(_i / 2, params, size);
	struct vq_type x = f32(4, (int)v.n, (int)v.y.in, (int)v.x.in, (int)v.ci);
	struct vq_type w = f32(4, (int)v.y.taps, (int)v.x.taps, (int)(v.ci / v.groups), (int)v.co);
	struct vq_type y = f32(4, (int)v.n, (int)v.y.out, (int)v.x.out, (int)v.co);
	const struct vq_type *type[3] = { &x, &w, &y };
	float *data[3];
	static const struct { const char *op; int in[2], out; } ops[] = {
		{ "conv2d", { 0, 1 }, 2 }, { "conv2d_input", { 2, 1 }, 0 }, { "conv2d_weight", { 0, 2 }, 1 } };

	for (int i = 0; i < 3; i++)
		data[i] = numbers(vq_shape_count(&type[i]->shape), (uint64_t)i * 1000);
	for (int i = 0; i < 3; i++)
		for (int64_t e = 0; e < vq_shape_count(&type[i]->shape); e++)
			data[i][e] = rounded(data[i][e]);
	/* <y, conv(x, w)>, summed up from each of the three sides. */
	double form[3] = { 0 };
	for (int i = 0; i < 3; i++) {
		void *out[VQ_MAX_OUT];
		snprintf(text, sizeof(text), "precision=%s %s%s", _i % 2 ? "bf16" : "f32", params, i == 1 ? size : "");
		if (i == 2)
			snprintf(text, sizeof(text), "precision=%s %s kh=%d kw=%d", _i % 2 ? "bf16" : "f32", params, (int)v.y.taps, (int)v.x.taps);
		call(ops[i].op, text, 2, (struct vq_type[]){ *type[ops[i].in[0]], *type[ops[i].in[1]] },
		    (void *[]){ data[ops[i].in[0]], data[ops[i].in[1]] }, out);
		int64_t count = vq_shape_count(&type[ops[i].out]->shape);
		for (int64_t e = 0; e < count; e++)
			form[i] += (double)((float *)out[0])[e] * (double)data[ops[i].out][e];
		release(out, 1);
	}
	double scale = 1 + sqrt((double)vq_shape_count(&y.shape) * (double)vq_shape_span(&w.shape, 0, 3));
	near(form[0], form[1], 1e-5 * scale);
	near(form[0], form[2], 1e-5 * scale);
	for (int i = 0; i < 3; i++)
		free(data[i]);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("gemm");
	TCase *tile = tcase_create("tiles"), *product = tcase_create("products"), *conv = tcase_create("convolutions");

	tcase_add_loop_test(tile, tiles, 0, VQ_ISAS);
	tcase_add_loop_test(tile, packing, 0, VQ_ISAS);
	tcase_add_loop_test(tile, words, 0, VQ_ISAS);
	tcase_add_loop_test(product, products, 0, 11);
	tcase_add_loop_test(product, rows_apart, 0, 32);
	tcase_add_loop_test(product, packed_rows_apart, 0, 24);
	tcase_add_test(product, roof);
	tcase_add_loop_test(conv, convolutions, 0, 140);
	tcase_set_timeout(tile, 60);
	tcase_set_timeout(product, 60);
	tcase_set_timeout(conv, 60);
	suite_add_tcase(suite, tile);
	suite_add_tcase(suite, product);
	suite_add_tcase(suite, conv);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
