/*
 * tsne -- vectors as points on a plane: t-distributed stochastic neighbour embedding
 */
#include "engine/tsne.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frechet.h"
#include "engine/rng.h"
#include "engine/threads.h"

enum {
	COMPONENTS = 32,		/* of a large set */
	ITERATIONS = 1000, LEAST_ITERATIONS = 300,
};

static const double pairs = 4e9;	/* that all iterations together look at, about */
static const double most_perplexity = 30, among = 5, exaggeration = 12, first_spread = 1e-4;

/* --- principal components --------------------------------------------------------- */

/* Row i of `axis` [k, d]: the direction of the i-th largest variance.  Its largest component is
 * positive: a direction has no sign of its own. */
static bool
principal(const float *x, int64_t n, int64_t d, int64_t k, struct vq_gaussian *g, double *axis)
{
	double *value = vq_alloc_array((size_t)d, sizeof(*value));

	vq_gaussian_fit(g, x, n, d);
	bool ok = vq_eigen_symmetric(g->covariance, d, value, true);
	for (int64_t i = 0; i < k && ok; i++) {
		const double *from = g->covariance + (d - 1 - i) * d;
		double most = 0;

		for (int64_t j = 0; j < d; j++)
			most = fabs(from[j]) > fabs(most) * (1 + 1e-9) ? from[j] : most;
		for (int64_t j = 0; j < d; j++)
			axis[i * d + j] = most < 0 ? -from[j] : from[j];
	}
	free(value);
	return ok;
}

/* out [n, k] = (x - mean) axis^T; k beyond d: zeros. */
static bool
project(const float *x, int64_t n, int64_t d, int64_t k, float *out)
{
	int64_t there = k < d ? k : d;
	double *axis = vq_alloc_array((size_t)(there * d), sizeof(*axis));
	struct vq_gaussian g = { 0 };
	bool ok = principal(x, n, d, there, &g, axis);

	for (int64_t i = 0; i < n && ok; i++)
		for (int64_t c = 0; c < k; c++) {
			double sum = 0;

			for (int64_t j = 0; j < d && c < there; j++)
				sum += (x[i * d + j] - g.mean[j]) * axis[c * d + j];
			out[i * k + c] = (float)sum;
			ok = ok && isfinite(sum);
		}
	vq_gaussian_free(&g);
	free(axis);
	return ok;
}

/* --- affinities ------------------------------------------------------------------- */

/* Squared distances from v to n vectors. */
static void
distances(const float *v, const float *x, int64_t n, int64_t d, double *out)
{
	for (int64_t j = 0; j < n; j++) {
		double sum = 0;

		for (int64_t k = 0; k < d; k++) {
			double off = (double)v[k] - x[j * d + k];
			sum += off * off;
		}
		out[j] = sum;
	}
}

/*
 * Turns squared distances into probabilities p_j ~ exp(-beta d_j) of the given perplexity; `self` (or -1)
 * has none.  Distances count from the smallest, so that no sum is 0.  The entropy falls with beta, by
 * beta times the variance of d: Newton's steps, and bisection where they would leave what is known.
 */
static void
affinities(double *p, int64_t n, int64_t self, double perplexity, double *row)
{
	double beta, least = 0, most = INFINITY, nearest = INFINITY, all = 0;

	for (int64_t j = 0; j < n; j++)
		if (j != self) {
			nearest = fmin(nearest, p[j]);
			all += p[j];
		}
	all -= (double)(n - (self >= 0)) * nearest;
	beta = all > 0 ? (double)n / all : 1;
	for (int i = 0; i < 64; i++) {
		double sum = 0, first = 0, second = 0;

		for (int64_t j = 0; j < n; j++) {
			double far = beta * (p[j] - nearest);

			row[j] = j == self || far > 50 ? 0 : exp(-far);
			sum += row[j];
			first += row[j] * far;
			second += row[j] * far * far;
		}
		/* The entropy of exp(-beta d) / sum. */
		double mean = first / sum, variance = second / sum - mean * mean;
		double off = log(sum) + mean - log(perplexity);
		if (fabs(off) < 1e-5)
			break;
		if (off > 0)
			least = beta;
		else
			most = beta;
		double next = beta * (1 + off / fmax(variance, 1e-3));
		if (next > least && next < most && next < 4 * beta)
			beta = next;
		else
			beta = isinf(most) ? 2 * beta : (least + most) / 2;
		if (!(beta < 1e100))
			break;		/* as many at one place as the perplexity wants neighbours */
	}
	double sum = 0;
	for (int64_t j = 0; j < n; j++)
		sum += row[j];
	for (int64_t j = 0; j < n; j++)
		p[j] = row[j] / sum;
}

/* p f32[n, n], symmetric, its sum 1: equations 1 and the mean of both directions. */
static void
joint_affinities(const float *x, int64_t n, int64_t d, double perplexity, float *p)
{
#pragma omp parallel num_threads(vq_threads())
	{
		double *row = vq_alloc_array(2 * (size_t)n, sizeof(*row));

#pragma omp for schedule(static)
		for (int64_t i = 0; i < n; i++) {
			distances(x + i * d, x, n, d, row);
			affinities(row, n, i, perplexity, row + n);
			for (int64_t j = 0; j < n; j++)
				p[i * n + j] = (float)row[j];
		}
		free(row);
	}
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j <= i; j++)
			p[i * n + j] = p[j * n + i] = (p[i * n + j] + p[j * n + i]) / (2 * (float)n);
}

/* --- the map ---------------------------------------------------------------------- */

struct map {
	int64_t n;
	const float *p;			/* [n, n] */
	float *x, *y;			/* places, [n] each */
	double *rest;			/* by point: its part of the normalisation sum of q */
	double *pull, *push;		/* [n, 2]: attraction; repulsion before it is divided by that sum */
	double *speed, *gain;		/* [n, 2] */
};

/*
 * Equation 5, 4 sum_j (p_ij - q_ij) (y_i - y_j) / (1 + |y_i - y_j|^2), as two sums; q_ij = k_ij / sum k,
 * k = 1 / (1 + |y_i - y_j|^2).  A point's sums are in an order of their own: the number of threads
 * changes nothing.
 */
static void
forces(struct map *m)
{
	const float *xs = m->x, *ys = m->y;
	int64_t n = m->n;

	/* Of few points a step is done before other threads have begun. */
#pragma omp parallel for schedule(static) num_threads(vq_threads()) if (n > 1024)
	for (int64_t i = 0; i < n; i++) {
		const float *p = m->p + i * n;
		float x = xs[i], y = ys[i], sum = 0, ax = 0, ay = 0, rx = 0, ry = 0;

#pragma omp simd reduction(+ : sum, ax, ay, rx, ry)
		for (int64_t j = 0; j < n; j++) {
			float dx = x - xs[j], dy = y - ys[j], k = 1 / (1 + dx * dx + dy * dy);
			float pk = p[j] * k, kk = k * k;

			sum += k;
			ax += pk * dx;
			ay += pk * dy;
			rx += kk * dx;
			ry += kk * dy;
		}
		m->rest[i] = (double)sum - 1;	/* without k_ii */
		m->pull[2 * i] = (double)ax;
		m->pull[2 * i + 1] = (double)ay;
		m->push[2 * i] = (double)rx;
		m->push[2 * i + 1] = (double)ry;
	}
}

/* One step: momentum, and a gain for each coordinate, larger as long as it keeps its direction (section 3.4). */
static void
move(struct map *m, double more, double momentum, double rate)
{
	double sum = 0, middle[2] = { 0 };
	int64_t n = m->n;

	forces(m);
	for (int64_t i = 0; i < n; i++)
		sum += m->rest[i];
	for (int64_t i = 0; i < 2 * n; i++) {
		double gradient = 4 * (more * m->pull[i] - m->push[i] / sum);
		double *gain = &m->gain[i], *speed = &m->speed[i];
		float *at = i % 2 ? &m->y[i / 2] : &m->x[i / 2];

		*gain = gradient * *speed < 0 ? *gain + .2 : fmax(*gain * .8, .01);
		*speed = momentum * *speed - rate * *gain * gradient;
		*at += (float)*speed;
		middle[i % 2] += (double)*at;
	}
	for (int64_t i = 0; i < n; i++) {
		m->x[i] -= (float)(middle[0] / (double)n);
		m->y[i] -= (float)(middle[1] / (double)n);
	}
}

/* Equation 2: sum p log(p / q). */
static double
divergence(const struct map *m)
{
	double sum = 0, kl = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int64_t i = 0; i < m->n; i++)
			for (int64_t j = 0; j < m->n; j++) {
				double dx = (double)m->x[i] - m->x[j], dy = (double)m->y[i] - m->y[j];
				double k = 1 / (1 + dx * dx + dy * dy), p = (double)m->p[i * m->n + j];

				if (i == j)
					continue;
				if (pass == 0)
					sum += k;
				else if (p > 0)
					kl += p * log(p * sum / k);
			}
	return kl;
}

/* The first places: principal components, so small that all points see each other; and a difference
 * between those that are at one place. */
static bool
start(struct map *m, const float *x, int64_t d)
{
	const struct vq_rng_key key = { .seed = 1, .purpose = vq_hash_str("tsne") };
	float *two = vq_alloc_array((size_t)m->n * 2, sizeof(*two));
	bool ok = project(x, m->n, d, 2, two);
	double spread = 0;

	for (int64_t i = 0; i < m->n; i++)
		spread += (double)two[2 * i] * (double)two[2 * i];
	spread = sqrt(spread / (double)m->n);
	for (int64_t i = 0; i < m->n && ok; i++) {
		double scale = spread > 0 ? first_spread / spread : 0, apart = 1e-2 * first_spread;

		m->x[i] = (float)(two[2 * i] * scale + apart * vq_rng_normal(&key, 2 * (uint64_t)i));
		m->y[i] = (float)(two[2 * i + 1] * scale + apart * vq_rng_normal(&key, 2 * (uint64_t)i + 1));
	}
	free(two);
	return ok;
}

static int
iterations_for(int64_t n)
{
	double k = pairs / ((double)n * (double)n);

	return k > ITERATIONS ? ITERATIONS : k < LEAST_ITERATIONS ? LEAST_ITERATIONS : (int)k;
}

/* Exact. */
static bool
embed(const float *x, int64_t n, int64_t d, double *y, struct vq_tsne *t)
{
	size_t two = 2 * (size_t)n;
	float *p = vq_alloc_array((size_t)n * (size_t)n, sizeof(*p)), *places = vq_alloc_array(two, sizeof(*places));
	double *work = vq_alloc_array(5 * two, sizeof(*work));
	struct map m = { .n = n, .p = p, .x = places, .y = places + n, .rest = work, .pull = work + two,
	    .push = work + 2 * two, .speed = work + 3 * two, .gain = work + 4 * two };
	bool ok = start(&m, x, d);

	t->perplexity = fmax(fmin(most_perplexity, (double)(n - 1) / 3), 1);
	t->iterations = iterations_for(n);
	if (ok && n > 3) {
		double rate = fmax((double)n / (4 * exaggeration), 50);

		joint_affinities(x, n, d, t->perplexity, p);
		t->kl_start = divergence(&m);
		for (int64_t i = 0; i < 2 * n; i++)
			m.gain[i] = 1;
		for (int i = 0; i < t->iterations; i++) {
			bool early = i < t->iterations / 4;
			move(&m, early ? exaggeration : 1, early ? .5 : .8, rate);
		}
		t->kl_end = divergence(&m);
	}
	for (int64_t i = 0; i < n; i++) {
		y[2 * i] = (double)m.x[i];
		y[2 * i + 1] = (double)m.y[i];
		ok = ok && isfinite(y[2 * i]) && isfinite(y[2 * i + 1]);
	}
	free(p);
	free(places);
	free(work);
	return ok;
}

/* --- large sets ------------------------------------------------------------------- */

struct rank {
	int64_t weight, i;
};

static int
by_weight(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->i < y->i ? -1 : 1;
}

/* Every vector that has no place yet comes between the mapped ones: at their mean by affinity. */
static void
put_among(const float *x, int64_t d, const float *mapped, const double *place, int64_t exact,
    const struct rank *others, int64_t n, double *y)
{
	double perplexity = fmin(among, (double)exact);

#pragma omp parallel num_threads(vq_threads())
	{
		double *row = vq_alloc_array(2 * (size_t)exact, sizeof(*row));

#pragma omp for schedule(static)
		for (int64_t k = 0; k < n; k++) {
			double *at = y + 2 * others[k].i;

			distances(x + others[k].i * d, mapped, exact, d, row);
			affinities(row, exact, -1, perplexity, row + exact);
			at[0] = at[1] = 0;
			for (int64_t j = 0; j < exact; j++) {
				at[0] += row[j] * place[2 * j];
				at[1] += row[j] * place[2 * j + 1];
			}
		}
		free(row);
	}
}

static bool
embed_large(const float *x, int64_t n, int64_t d, const int64_t *weight, double *y, struct vq_tsne *t)
{
	size_t exact = (size_t)t->exact;
	struct rank *rank = vq_alloc_array((size_t)n, sizeof(*rank));
	float *few = vq_alloc_array((size_t)n * COMPONENTS, sizeof(*few));
	float *mapped = vq_alloc_array(exact * COMPONENTS, sizeof(*mapped));
	double *place = vq_alloc_array(2 * exact, sizeof(*place));
	bool ok = project(x, n, d, COMPONENTS, few);

	for (int64_t i = 0; i < n; i++)
		rank[i] = (struct rank){ weight ? weight[i] : 0, i };
	qsort(rank, (size_t)n, sizeof(*rank), by_weight);
	for (size_t k = 0; k < exact; k++)
		memcpy(mapped + k * COMPONENTS, few + rank[k].i * COMPONENTS, COMPONENTS * sizeof(*few));
	ok = ok && embed(mapped, t->exact, COMPONENTS, place, t);
	for (size_t k = 0; k < exact && ok; k++)
		memcpy(y + 2 * rank[k].i, place + 2 * k, 2 * sizeof(*y));
	if (ok)
		put_among(few, COMPONENTS, mapped, place, t->exact, rank + exact, n - t->exact, y);
	free(rank);
	free(few);
	free(mapped);
	free(place);
	return ok;
}

/* The middle at the origin, the farthest point at distance 1, wider than high: a map has no direction of
 * its own. */
static void
normalize(double *y, int64_t n)
{
	double middle[2] = { 0 }, most = 0, xx = 0, yy = 0, xy = 0;

	for (int64_t i = 0; i < 2 * n; i++)
		middle[i % 2] += y[i] / (double)n;
	for (int64_t i = 0; i < 2 * n; i++)
		y[i] -= middle[i % 2];
	for (int64_t i = 0; i < n; i++) {
		xx += y[2 * i] * y[2 * i];
		yy += y[2 * i + 1] * y[2 * i + 1];
		xy += y[2 * i] * y[2 * i + 1];
	}
	double angle = atan2(2 * xy, xx - yy) / 2, c = cos(angle), s = sin(angle);
	for (int64_t i = 0; i < n; i++) {
		double x = y[2 * i];

		y[2 * i] = c * x + s * y[2 * i + 1];
		y[2 * i + 1] = c * y[2 * i + 1] - s * x;
	}
	for (int64_t i = 0; i < n; i++)
		most = fmax(most, hypot(y[2 * i], y[2 * i + 1]));
	for (int64_t i = 0; i < 2 * n && most > 0; i++)
		y[i] /= most;
}

bool
vq_tsne(const float *x, int64_t n, int64_t d, const int64_t *weight, double *y, struct vq_tsne *t)
{
	vq_assert(n > 0 && d > 0);
	*t = (struct vq_tsne){ .exact = t->exact > 0 ? t->exact : VQ_TSNE_EXACT };
	for (int64_t i = 0; i < n * d; i++)
		if (!isfinite(x[i]))
			return false;
	if (!(n > t->exact ? embed_large(x, n, d, weight, y, t) : embed(x, n, d, y, t)))
		return false;
	normalize(y, n);
	return true;
}
