/*
 * frechet -- how far apart two sets of vectors are, and how spread out one is
 */
#ifndef VQ_ENGINE_FRECHET_H
#define VQ_ENGINE_FRECHET_H

#include "engine/base.h"

/* Mean [d] and covariance [d, d] (of n - 1) of n vectors. */
struct vq_gaussian {
	int64_t n, d;
	double *mean, *covariance;
};

/* Of x f32[n, d]; n at least 1, and of a single vector the covariance is 0. */
void vq_gaussian_fit(struct vq_gaussian *g, const float *x, int64_t n, int64_t d);
void vq_gaussian_free(struct vq_gaussian *g);

/*
 * The Frechet distance of Heusel et al. 2017 ("GANs Trained by a Two Time-Scale Update
 * Rule", equation 6), which is a squared one:
 *   |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))
 * Covariances may be singular, as those of fewer vectors than dimensions are.  Never
 * below 0; NaN when an element is not finite.
 */
double vq_frechet_distance(const struct vq_gaussian *a, const struct vq_gaussian *b);

/*
 * Root of the mean squared distance between two different vectors of the same class: the
 * mean over the classes with two or more.  label NULL: all are one class; a label
 * outside 0 .. classes - 1 counts nowhere.  NaN when there is no such pair.
 */
double vq_spread(const float *x, int64_t n, int64_t d, const int32_t *label, int64_t classes);

/*
 * Eigenvalues of the symmetric a [n, n] in ascending order into value.  a is overwritten:
 * with `vectors`, row i becomes the eigenvector of value[i]; otherwise it is lost.
 * false when it did not converge (an element was not finite).
 */
bool vq_eigen_symmetric(double *a, int64_t n, double *value, bool vectors);

#endif
