/*
 * sample_draw -- one token from logits
 *
 * Everything is done in double and relative to the largest logit that is allowed, so
 * no exponential overflows and none that matters vanishes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rng.h"
#include "engine/sample.h"

/* A token that may be drawn. */
struct choice {
	double logit, weight;
	int64_t token;
};

size_t
vq_draw_room(int64_t vocab)
{
	return (size_t)vocab * sizeof(struct choice);
}

static int
likeliest_first(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->logit != y->logit)
		return x->logit > y->logit ? -1 : 1;
	return x->token < y->token ? -1 : 1;
}

/* The k likeliest of n to the front, in no order (Hoare's selection). */
static void
select_first(struct choice *c, int64_t n, int64_t k)
{
	int64_t lo = 0, hi = n - 1;

	while (lo < hi) {
		struct choice pivot = c[lo + (hi - lo) / 2];
		int64_t i = lo, j = hi;
		while (i <= j) {
			while (likeliest_first(&c[i], &pivot) < 0 && c[i].token != pivot.token)
				i++;
			while (likeliest_first(&pivot, &c[j]) < 0 && c[j].token != pivot.token)
				j--;
			if (i <= j) {
				struct choice x = c[i];
				c[i++] = c[j];
				c[j--] = x;
			}
		}
		if (k - 1 <= j)
			hi = j;
		else if (k - 1 >= i)
			lo = i;
		else
			break;
	}
}

/* The allowed tokens; how many, -1 when one is not to be had. */
static int64_t
allowed(const struct vq_draw *how, const float *logits, struct choice *c)
{
	int64_t n = 0;

	for (int64_t t = 0; t < how->vocab; t++) {
		if (how->forbidden && how->forbidden[t])
			continue;
		if (isnan(logits[t]) || logits[t] == INFINITY)
			return -1;
		c[n++] = (struct choice){ .logit = logits[t], .token = t };
	}
	return n;
}

static int64_t
likeliest(const struct choice *c, int64_t n)
{
	int64_t best = 0;

	for (int64_t i = 1; i < n; i++)
		if (c[i].logit > c[best].logit)
			best = i;
	return best;
}

/* How many of the first n, sorted, have probability p together: at least one. */
static int64_t
nucleus(const struct choice *c, int64_t n, double p)
{
	double sum = 0, mass = 0;
	int64_t keep = 0;

	for (int64_t i = 0; i < n; i++)
		sum += c[i].weight;
	while (keep < n && (keep == 0 || mass < p * sum))
		mass += c[keep++].weight;
	return keep;
}

int64_t
vq_draw_token(const struct vq_draw *how, const float *logits, double u, void *room)
{
	struct choice *c = room;
	int64_t n = allowed(how, logits, c), last = 0;
	double sum = 0;

	if (n <= 0)
		return -1;
	double most = c[likeliest(c, n)].logit;
	if (most == -INFINITY)
		return -1;
	if (how->temperature == 0)
		return c[likeliest(c, n)].token;
	if (how->top_k > 0 && how->top_k < n) {
		select_first(c, n, how->top_k);
		n = how->top_k;
	}
	for (int64_t i = 0; i < n; i++)
		c[i].weight = exp((c[i].logit - most) / how->temperature);
	if (how->top_k > 0 || how->top_p < 1)
		qsort(c, (size_t)n, sizeof(*c), likeliest_first);
	if (how->top_p < 1)
		n = nucleus(c, n, how->top_p);
	for (int64_t i = 0; i < n; i++)
		sum += c[i].weight;
	u *= sum;
	for (int64_t i = 0; i < n; i++) {
		if (c[i].weight > 0)
			last = i;		/* where rounding would lead past the end */
		if ((u -= c[i].weight) < 0)
			break;
	}
	return c[last].token;
}

double
vq_draw_log_probability(const struct vq_draw *how, const float *logits, int64_t token, void *room)
{
	struct choice *c = room;
	int64_t n = allowed(how, logits, c);
	double sum = 0, most;

	if (n <= 0)
		return -INFINITY;
	most = c[likeliest(c, n)].logit;
	for (int64_t i = 0; i < n; i++)
		sum += exp(c[i].logit - most);
	return logits[token] - most - log(sum);
}

double
vq_draw_uniform(uint64_t seed, uint64_t sample, uint64_t position)
{
	struct vq_rng_key key = { .seed = seed, .purpose = vq_hash_str("sample"), .step = sample };
	uint32_t w[4];

	vq_rng_words(&key, position, w);
	return (double)(((uint64_t)w[0] << 32 | w[1]) >> 11) * 0x1p-53;
}

double
vq_draw_gumbel(uint64_t seed, uint64_t sample, uint64_t position)
{
	struct vq_rng_key key = { .seed = seed, .purpose = vq_hash_str("choice"), .step = sample };
	uint32_t w[4];

	vq_rng_words(&key, position, w);
	/* In the middle of 2^52 parts: neither 0 nor 1, whose logarithms have none. */
	return -log(-log(((double)(((uint64_t)w[0] << 32 | w[1]) >> 12) + 0.5) * 0x1p-52));
}

void
vq_guide(float *cond, const float *none, double scale, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		if (cond[i] != none[i])		/* so that -inf in both stays what it is */
			cond[i] = (float)(none[i] + scale * ((double)cond[i] - none[i]));
}
