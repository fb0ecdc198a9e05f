/*
 * sample -- tokens drawn one after the other from a causal graph, and pictures of them
 *
 * A draw is a function of the seed, the number of the sample and the position alone, and
 * logits do not depend on what else is in the batch: the same samples come out at any
 * batch size and any number of threads.
 */
#ifndef VQ_ENGINE_SAMPLE_H
#define VQ_ENGINE_SAMPLE_H

#include "engine/compile.h"
#include "engine/incremental.h"
#include "ops/kernels/order.h"

/* --- one token from logits ------------------------------------------------- */

struct vq_draw {
	double temperature;	/* divides the logits; 0: the likeliest token */
	int64_t top_k;		/* only the likeliest so many; 0: all */
	double top_p;		/* then only the likeliest that together have this probability */
	int64_t vocab;
	const bool *forbidden;	/* by token: never drawn, the others are renormalised; NULL: none */
};

/* What a draw works in: vq_draw_room(vocab) bytes, 16-byte aligned. */
size_t vq_draw_room(int64_t vocab);
/*
 * The token that u in [0, 1) picks among the probabilities of the logits, likeliest
 * first where there is a top_k or top_p, in the order of tokens elsewhere; of equal
 * logits the lower token comes first.  -1 when an allowed logit is not a number or +inf,
 * or when all of them are -inf.
 */
int64_t vq_draw_token(const struct vq_draw *how, const float *logits, double u, void *room);
/* In [0, 1) with 53 bits: of a sample at a position. */
double vq_draw_uniform(uint64_t seed, uint64_t sample, uint64_t position);
/* none + scale (cond - none) into cond: Ho and Salimans 2022, as classifier-free guidance is
 * taken to logits of autoregressive models. */
void vq_guide(float *cond, const float *none, double scale, int64_t n);

#endif
