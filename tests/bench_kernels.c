/*
 * bench_kernels -- ops timed on plain arrays, next to the roof
 *
 *	bench_kernels [-t THREADS] [OP [INPUTS [PARAMETERS]]]
 *
 * Without inputs: every example of the op (of every op, when none is named) large
 * enough to time.  Best of several runs, and the share of OpenBLAS's product at the
 * same moment: machines are shared.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernels/gemm.h"
#include "ops/kernels/kernels.h"
#include "tests/samples.h"

static int threads = 2;

static double
best_time(const struct vq_call *c, void (*run)(const struct vq_call *))
{
	double best = 1e9, spent = 0;

	for (int i = 0; i < 200 && (i < 5 || spent < 0.4); i++) {
		double start = vq_now();
		run(c);
		double took = vq_now() - start;
		spent += took;
		best = took < best ? took : best;
	}
	return best;
}

static void
bench(const struct vq_op *op, const struct vq_example *ex, bool all)
{
	struct sample s;
	struct vq_view in[VQ_MAX_IN], out[VQ_MAX_OUT];

	sample_prepare(&s, op, ex);
	if (s.message) {
		if (!ex->fails)
			printf("%s %s: %s\n", op->name, ex->in, s.message);
		free(s.message);
		return;
	}
	if (op->run == NULL || (!all && sample_flops(&s) < 1e7))
		return;
	for (int i = 0; i < s.nin; i++) {
		in[i] = (struct vq_view){ sample_room(&s.in[i]), &s.in[i] };
		sample_fill(&s, i, &in[i]);
	}
	for (int i = 0; i < s.nout; i++)
		out[i] = (struct vq_view){ sample_room(&s.out[i]), &s.out[i] };
	struct vq_cost cost = { .params = s.params, .nin = s.nin, .nout = s.nout, .in = s.in, .out = s.out,
	    .threads = threads };
	struct vq_type scratch = vq_type_of(VQ_U8, 1,
	    (int64_t[]){ op->scratch ? (int64_t)op->scratch(&cost) : 0 });
	struct vq_call c = { .params = s.params, .nin = s.nin, .nout = s.nout, .in = in, .out = out,
	    .scratch = sample_room(&scratch), .k = vq_kernels(), .threads = threads };
	double roof = vq_gemm_roof(threads), best = best_time(&c, op->run);
	double speed = sample_flops(&s) / best * 1e-9, after = vq_gemm_roof(threads);

	roof = after > roof ? after : roof;
	printf("%-14s %8.3f ms  %7.1f GFLOP/s  %3.0f %% of %5.1f  %s %s\n", op->name, best * 1e3, speed,
	    100 * speed / roof, roof, ex->in, ex->params ? ex->params : "");
	fflush(stdout);
	for (int i = 0; i < s.nin; i++)
		free(in[i].data);
	for (int i = 0; i < s.nout; i++)
		free(out[i].data);
	free(c.scratch);
}

static char **wanted;		/* op, inputs, parameters; NULL-terminated */

/* The samples are made by code that asserts, so that this has to be a test. */
START_TEST(all)
{
	printf("%d threads, %s\n", threads, vq_kernels()->name);
	for (int i = 0; vq_ops()[i]; i++) {
		const struct vq_op *op = vq_ops()[i];
		if (wanted[0] && strcmp(op->name, wanted[0]) != 0)
			continue;
		if (wanted[0] && wanted[1])
			bench(op, &(struct vq_example){ .in = wanted[1], .params = wanted[2] }, true);
		for (const struct vq_example *ex = op->examples; !(wanted[0] && wanted[1]) && ex->in; ex++)
			bench(op, ex, false);
	}
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("bench");
	TCase *tcase = tcase_create("bench");
	SRunner *runner = srunner_create(suite);

	wanted = argv + 1;
	if (argc > 2 && strcmp(argv[1], "-t") == 0) {
		threads = atoi(argv[2]);
		wanted = argv + 3;
	}
	tcase_add_test(tcase, all);
	tcase_set_timeout(tcase, 0);
	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_SILENT);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
