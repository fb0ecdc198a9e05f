/*
 * copy_roof -- how fast this machine's memory is, by copying more than caches hold
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base.h"
#include "ops/kernels/kernels.h"

enum { PIECE = 1 << 18, TRIES = 6 };

static const size_t bytes = (size_t)128 << 20;	/* twice it: several times the largest caches */

double
vq_copy_roof(int threads)
{
	char *x = vq_alloc_aligned(2 * bytes);
	double best = 0;

	memset(x, 1, 2 * bytes);
	for (int i = 0; i < TRIES; i++) {
		double start = vq_now();
#pragma omp parallel for num_threads(threads) schedule(static)
		for (size_t at = 0; at < bytes; at += PIECE)
			memcpy(x + bytes + at, x + at, PIECE);
		double speed = 2e-9 * (double)bytes / (vq_now() - start);
		best = speed > best ? speed : best;
	}
	free(x);
	return best;
}
