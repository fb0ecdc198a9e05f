/*
 * frechet -- the distance between two sets of vectors, each taken as a Gaussian
 *
 * All sums are in f64 and in an order that does not depend on the number of threads.
 */
#include "engine/frechet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/threads.h"

static double
dot(const double *x, const double *y, int64_t n)
{
	double sum = 0;

#pragma omp simd reduction(+ : sum)
	for (int64_t i = 0; i < n; i++)
		sum += x[i] * y[i];
	return sum;
}

/* --- Gaussians ------------------------------------------------------------- */

static void
mean_of(double *mean, const float *x, int64_t n, int64_t d)
{
	memset(mean, 0, sizeof(*mean) * (size_t)d);
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < d; j++)
			mean[j] += (double)x[i * d + j];
	for (int64_t j = 0; j < d; j++)
		mean[j] /= (double)n;
}

/* Adds the products of a block of centred vectors, whose columns stand in t [d, n]. */
static void
add_products(double *c, const double *t, int64_t n, int64_t d)
{
#pragma omp parallel for num_threads(vq_threads()) schedule(dynamic)
	for (int64_t i = 0; i < d; i++)
		for (int64_t j = i; j < d; j++)
			c[i * d + j] += dot(t + i * n, t + j * n, n);
}

void
vq_gaussian_fit(struct vq_gaussian *g, const float *x, int64_t n, int64_t d)
{
	enum { BLOCK = 2048 };
	double *t = vq_alloc_array((size_t)d * BLOCK, sizeof(*t));

	*g = (struct vq_gaussian){ .n = n, .d = d };
	g->mean = vq_alloc_array((size_t)d, sizeof(*g->mean));
	g->covariance = vq_alloc_array((size_t)d, (size_t)d * sizeof(*g->covariance));
	mean_of(g->mean, x, n, d);
	for (int64_t at = 0; at < n; at += BLOCK) {
		int64_t m = n - at < BLOCK ? n - at : BLOCK;

		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < d; j++)
				t[j * m + i] = (double)x[(at + i) * d + j] - g->mean[j];
		add_products(g->covariance, t, m, d);
	}
	for (int64_t i = 0; i < d; i++)
		for (int64_t j = i; j < d; j++) {
			g->covariance[i * d + j] /= n > 1 ? (double)(n - 1) : 1;
			g->covariance[j * d + i] = g->covariance[i * d + j];
		}
	free(t);
}

void
vq_gaussian_free(struct vq_gaussian *g)
{
	free(g->mean);
	free(g->covariance);
	*g = (struct vq_gaussian){ 0 };
}

/* --- eigenvalues ------------------------------------------------------------ */

/*
 * The reflection I - tau v v^T that takes x to (alpha, 0, ...): v over x, with v[0] = 1
 * implied where tau is not 0 (Golub, Van Loan, Matrix Computations, 5.1).
 */
static double
reflect(double *x, int64_t n, double *alpha)
{
	double largest = 0, scale, norm, head;

	for (int64_t i = 0; i < n; i++)
		largest = fmax(largest, fabs(x[i]));
	*alpha = x[0];
	if (n < 2 || largest == 0)
		return 0;
	scale = 1 / largest;
	if (!isfinite(scale))		/* a denormal: as good as 0 */
		return 0;
	norm = 0;
	for (int64_t i = 0; i < n; i++)
		norm += (x[i] * scale) * (x[i] * scale);
	norm = copysign(largest * sqrt(norm), x[0]);
	head = x[0] + norm;
	for (int64_t i = 1; i < n; i++)
		x[i] /= head;
	*alpha = -norm;
	x[0] = 1;
	return head / norm;
}

/*
 * To a tridiagonal matrix with diagonal and, from 1 on, off[i] between i - 1 and i; row k
 * of a keeps the reflection that made it, right of the diagonal (8.3.1 of the same book).
 */
static void
tridiagonalize(double *a, int64_t n, double *diagonal, double *off, double *tau)
{
	double *w = vq_alloc_array((size_t)n + 1, sizeof(*w));

	for (int64_t k = 0; k < n; k++) {
		int64_t m = n - k - 1;
		double *v = a + k * n + k + 1, *rest = a + (k + 1) * n + k + 1;

		diagonal[k] = a[k * n + k];
		if (m == 0)
			break;
		tau[k] = reflect(v, m, &off[k + 1]);
		if (tau[k] == 0)
			continue;
#pragma omp parallel for num_threads(vq_threads()) schedule(static) if (m > 512)
		for (int64_t i = 0; i < m; i++)
			w[i] = tau[k] * dot(rest + i * n, v, m);
		double half = tau[k] / 2 * dot(w, v, m);
		for (int64_t i = 0; i < m; i++)
			w[i] -= half * v[i];
#pragma omp parallel for num_threads(vq_threads()) schedule(static) if (m > 512)
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < m; j++)
				rest[i * n + j] -= v[i] * w[j] + w[i] * v[j];
	}
	free(w);
}

/* The product of the reflections, transposed, over a: its rows are what the tridiagonal
 * matrix's unit vectors were. */
static void
gather_reflections(double *a, int64_t n, const double *tau)
{
	double *v = vq_alloc_array((size_t)n + 1, sizeof(*v));

	a[n * n - 1] = 1;
	for (int64_t k = n - 2; k >= 0; k--) {
		int64_t m = n - k - 1;
		double *rest = a + (k + 1) * n + k + 1;

		memcpy(v, a + k * n + k + 1, sizeof(*v) * (size_t)m);
		memset(a + k * n + k, 0, sizeof(*a) * (size_t)(m + 1));
		for (int64_t i = 0; i < m; i++)
			rest[i * n - 1] = 0;
		a[k * n + k] = 1;
		if (tau[k] == 0)
			continue;
#pragma omp parallel for num_threads(vq_threads()) schedule(static) if (m > 512)
		for (int64_t i = 0; i < m; i++) {
			double along = tau[k] * dot(rest + i * n, v, m);

			for (int64_t j = 0; j < m; j++)
				rest[i * n + j] -= along * v[j];
		}
	}
	free(v);
}

static void
rotate_rows(double *x, double *y, int64_t n, double c, double s)
{
#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		double t = y[i];

		y[i] = s * x[i] + c * t;
		x[i] = c * x[i] - s * t;
	}
}

/* The rotations (c, s) of rows i and i + 1, from to - 1 down to from, block by block of
 * columns: a block stays near while all of them go over it. */
static void
rotate(double *z, int64_t n, int64_t from, int64_t to, const double *c, const double *s)
{
	enum { COLUMNS = 64 };

#pragma omp parallel for num_threads(vq_threads()) schedule(static) if ((to - from) * n > 1 << 18)
	for (int64_t at = 0; at < n; at += COLUMNS) {
		int64_t width = n - at < COLUMNS ? n - at : COLUMNS;

		for (int64_t i = to - 1; i >= from; i--)
			rotate_rows(z + i * n + at, z + (i + 1) * n + at, width, c[i], s[i]);
	}
}

/* One implicit QL step on rows l to m with the shift of Wilkinson; its rotations are left in
 * turn (c, then s), from the row that is returned on. */
static int64_t
ql_step(double *d, double *e, int64_t l, int64_t m, double *turn, int64_t n)
{
	double gap = (d[l + 1] - d[l]) / (2 * e[l]);
	double g = d[m] - d[l] + e[l] / (gap + copysign(hypot(gap, 1), gap));
	double s = 1, c = 1, p = 0;

	for (int64_t i = m - 1; i >= l; i--) {
		double f = s * e[i], b = c * e[i], r = hypot(f, g);

		e[i + 1] = r;
		if (r == 0) {
			d[i + 1] -= p;
			e[m] = 0;
			return i + 1;
		}
		s = f / r;
		c = g / r;
		g = d[i + 1] - p;
		r = (d[i] - g) * s + 2 * c * b;
		p = s * r;
		d[i + 1] = g + p;
		g = c * r - b;
		turn[i] = c;
		turn[n + i] = s;
	}
	d[l] -= p;
	e[l] = g;
	e[m] = 0;
	return l;
}

/*
 * Eigenvalues of a tridiagonal matrix (e[i] between i and i + 1), z's rows turned with it.
 * What is small beside the whole matrix counts as zero, too: of a singular one many d are
 * nothing but rounding, and beside those e would never be.
 */
static bool
ql(double *d, double *e, int64_t n, double *z)
{
	enum { ROUNDS = 60 };
	double *turn = vq_alloc_array((size_t)n, 2 * sizeof(*turn));
	bool converged = true;
	double nothing = 0;

	for (int64_t i = 0; i < n; i++)
		nothing = fmax(nothing, 0x1p-56 * (fabs(d[i]) + (i + 1 < n ? fabs(e[i]) : 0)));

	for (int64_t l = 0; l < n; l++)
		for (int round = 0; converged; round++) {
			int64_t m = l;

			while (m + 1 < n && !(fabs(e[m]) <= fmax(0x1p-53 * (fabs(d[m]) + fabs(d[m + 1])), nothing)))
				m++;
			if (m == l)
				break;
			converged = round < ROUNDS;
			int64_t from = ql_step(d, e, l, m, turn, n);
			if (z)
				rotate(z, n, from, m, turn, turn + n);
		}
	free(turn);
	return converged;
}

static void
sort_rows(double *value, double *z, int64_t n)
{
	for (int64_t i = 0; i + 1 < n; i++) {
		int64_t least = i;

		for (int64_t j = i + 1; j < n; j++)
			if (value[j] < value[least])
				least = j;
		if (least == i)
			continue;
		double v = value[i];
		value[i] = value[least];
		value[least] = v;
		for (int64_t k = 0; z && k < n; k++) {
			double x = z[i * n + k];
			z[i * n + k] = z[least * n + k];
			z[least * n + k] = x;
		}
	}
}

bool
vq_eigen_symmetric(double *a, int64_t n, double *value, bool vectors)
{
	double *off = vq_alloc_array((size_t)n + 1, sizeof(*off));
	double *tau = vq_alloc_array((size_t)n + 1, sizeof(*tau));
	bool finite = true;

	for (int64_t i = 0; i < n * n; i++)
		finite &= isfinite(a[i]) != 0;
	if (finite && n > 0) {
		tridiagonalize(a, n, value, off, tau);
		if (vectors)
			gather_reflections(a, n, tau);
		memmove(off, off + 1, sizeof(*off) * (size_t)n);
		finite = ql(value, off, n, vectors ? a : NULL);
		sort_rows(value, vectors ? a : NULL, n);
	}
	free(off);
	free(tau);
	return finite;
}

/* --- the distance ----------------------------------------------------------- */

/* y = a b^T of n by n matrices. */
static void
product(double *y, const double *a, const double *b, int64_t n)
{
#pragma omp parallel for num_threads(vq_threads()) schedule(static)
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < n; j++)
			y[i * n + j] = dot(a + i * n, b + j * n, n);
}

/*
 * tr (A B)^(1/2).  A B has the eigenvalues of A^(1/2) B A^(1/2), and with A = V^T L V
 * those of L^(1/2) V B V^T L^(1/2), which is symmetric.  What rounding makes of a zero
 * may be a little below it.
 */
static double
trace_of_root(const double *a, const double *b, int64_t n)
{
	size_t bytes = (size_t)n * (size_t)n * sizeof(double);
	double *v = vq_alloc(bytes), *t = vq_alloc(bytes), *m = vq_alloc(bytes);
	double *value = vq_alloc_array((size_t)n, sizeof(*value)), sum = NAN;

	memcpy(v, a, bytes);
	if (vq_eigen_symmetric(v, n, value, true)) {
		for (int64_t i = 0; i < n; i++) {
			double root = sqrt(fmax(value[i], 0));

			for (int64_t k = 0; k < n; k++)
				v[i * n + k] *= root;
		}
		product(t, v, b, n);
		product(m, t, v, n);
		if (vq_eigen_symmetric(m, n, value, false)) {
			sum = 0;
			for (int64_t i = 0; i < n; i++)
				sum += sqrt(fmax(value[i], 0));
		}
	}
	free(v);
	free(t);
	free(m);
	free(value);
	return sum;
}

double
vq_frechet_distance(const struct vq_gaussian *a, const struct vq_gaussian *b)
{
	int64_t d = a->d;
	double apart = 0, trace = 0;

	vq_assert(a->d == b->d);
	for (int64_t i = 0; i < d; i++) {
		apart += (a->mean[i] - b->mean[i]) * (a->mean[i] - b->mean[i]);
		trace += a->covariance[i * d + i] + b->covariance[i * d + i];
	}
	double distance = apart + trace - 2 * trace_of_root(a->covariance, b->covariance, d);
	return distance < 0 ? 0 : distance;
}

/* --- spread ----------------------------------------------------------------- */

double
vq_spread(const float *x, int64_t n, int64_t d, const int32_t *label, int64_t classes)
{
	size_t k = label ? (size_t)classes : 1;
	double *mean = vq_alloc_array(k * (size_t)d + 1, sizeof(*mean));
	double *squares = vq_alloc_array(k + 1, sizeof(*squares)), total = 0;
	int64_t *count = vq_alloc_array(k + 1, sizeof(*count)), counted = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (int64_t i = 0; i < n; i++) {
			int64_t c = label ? label[i] : 0;

			if (c < 0 || c >= (int64_t)k)
				continue;
			count[c] += pass == 0;
			for (int64_t j = 0; j < d; j++) {
				double v = (double)x[i * d + j], off = v - mean[c * d + j];

				if (pass == 0)
					mean[c * d + j] += v;
				else
					squares[c] += off * off;
			}
		}
		for (size_t c = 0; pass == 0 && c < k; c++)
			for (int64_t j = 0; j < d; j++)
				mean[c * (size_t)d + (size_t)j] /= count[c] ? (double)count[c] : 1;
	}
	/* The mean of |x - y|^2 over pairs is twice the summed variances, those of n - 1. */
	for (size_t c = 0; c < k; c++)
		if (count[c] > 1) {
			total += 2 * squares[c] / (double)(count[c] - 1);
			counted++;
		}
	free(mean);
	free(squares);
	free(count);
	return counted ? sqrt(total / (double)counted) : NAN;
}
