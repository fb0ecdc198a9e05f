/*
 * tsne -- vectors as points on a plane: t-distributed stochastic neighbour embedding
 *
 * L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", 2008: exact, with early exaggeration,
 * momentum and gains; started from the first two principal components and with the step
 * n / (4 exaggeration) of Belkina et al. 2019, so that the same vectors give the same map,
 * whatever the number of threads.
 */
#ifndef VQ_ENGINE_TSNE_H
#define VQ_ENGINE_TSNE_H

#include "engine/base.h"

/* As many vectors are placed by the method itself, at a cost of their number squared. */
enum { VQ_TSNE_EXACT = 4096 };

struct vq_tsne {
	int64_t exact;			/* given: the limit above; 0: VQ_TSNE_EXACT */
	double perplexity;		/* what was used: 30, less for few vectors */
	int iterations;
	double kl_start, kl_end;	/* divergence of the maps from the vectors' affinities, in nats */
};

/*
 * x f32[n, d] to y[n, 2], centred, the largest distance from the middle being 1, the widest direction being
 * that of the first axis.
 *
 * With more vectors than the limit x is first projected on its 32 principal components; those of
 * the most weight (the first, without weights) are mapped, and each other vector is put among those it
 * is nearest to.  false when an element is not finite.
 */
bool vq_tsne(const float *x, int64_t n, int64_t d, const int64_t *weight, double *y, struct vq_tsne *t);

#endif
