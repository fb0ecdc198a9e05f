/*
 * gemm_roof -- what this machine can do, by somebody else's product
 */
#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

#include "ops/kernels/gemm.h"

enum { N = 2048, TRIES = 5 };

double
vq_gemm_roof(int threads)
{
	size_t n = (size_t)N * N;
	float *x = vq_alloc_array(3 * n, sizeof(*x));
	double best = 0;
	int before = omp_get_max_threads();

	for (size_t i = 0; i < 2 * n; i++)
		x[i] = (float)(i % 17) - 8;
	openblas_set_num_threads(threads);
	omp_set_num_threads(threads);
	for (int i = 0; i < TRIES; i++) {
		double start = vq_now();
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, x, N, x + n, N,
		    0, x + 2 * n, N);
		double speed = 2e-9 * N * N * N / (vq_now() - start);
		best = speed > best ? speed : best;
	}
	free(x);
	/* OpenBLAS sets the number of the whole process. */
	omp_set_num_threads(before);
	return best;
}

double
vq_gemm_roof_bf16(int threads)
{
	struct vq_type t = vq_type_of(VQ_F32, 2, (int64_t[]){ N, N }), type[2] = { t, t };
	struct vq_cost cost = { .nin = 2, .nout = 1, .in = type, .out = &t, .threads = threads };
	size_t n = (size_t)N * N;
	float *x = vq_alloc_aligned(3 * n * sizeof(*x));
	void *scratch = vq_alloc_aligned(vq_matmul_scratch(&cost, false, false, true));
	struct vq_view in[2] = { { x, &t }, { x + n, &t } }, out = { x + 2 * n, &t };
	double best = 0;

	for (size_t i = 0; i < 2 * n; i++)
		x[i] = (float)(i % 17) - 8;
	for (int i = 0; i < TRIES; i++) {
		double start = vq_now();
		vq_matmul_run(&(struct vq_call){ .nin = 2, .nout = 1, .in = in, .out = &out, .scratch = scratch,
		    .k = vq_kernels(), .threads = threads }, false, false, true);
		double speed = 2e-9 * N * N * N / (vq_now() - start);
		best = speed > best ? speed : best;
	}
	free(x);
	free(scratch);
	return best;
}
