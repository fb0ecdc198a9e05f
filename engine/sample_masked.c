/*
 * sample_masked -- tokens drawn many at once, those first of which the prior is sure
 *
 * MaskGIT (Chang et al. 2022, section 3.2): all tokens are masked; at each step all that
 * still are so are drawn, those with the largest confidence are fixed, and the others
 * masked again.  Confidence is the logarithm of the probability of what was drawn, and
 * Gumbel noise, which falls to 0 with the steps: without it samples are much alike.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "engine/sample_private.h"

/* --- schedules ------------------------------------------------------------- */

const char *const vq_masking_names[] = {
	[VQ_MASKING_COSINE] = "cosine", [VQ_MASKING_ARCCOS] = "arccos", [VQ_MASKING_LINEAR] = "linear", NULL
};

double
vq_masking_share(enum vq_masking schedule, double r)
{
	static const double half_pi = 1.57079632679489661923;

	return schedule == VQ_MASKING_COSINE ? cos(half_pi * r) : schedule == VQ_MASKING_ARCCOS ? acos(r) / half_pi : 1 - r;
}

int64_t
vq_masking_left(enum vq_masking schedule, int64_t n, int64_t step, int64_t steps)
{
	/* What is a whole number must not fall below it by rounding. */
	double left = floor(vq_masking_share(schedule, (double)step / (double)steps) * (double)n + 1e-9);
	int64_t most = n - step, least = steps - step;

	/* All schedules are concave: once this falls faster than by one a step, it goes on so. */
	return left > (double)most ? most : left < (double)least ? least : (int64_t)left;
}

/* --- drawing --------------------------------------------------------------- */

/* What was drawn at a place of the sequence. */
struct drawn {
	double confidence;
	int32_t place, token;
};

size_t
vq_masked_room(int64_t length)
{
	return (size_t)length * sizeof(struct drawn);
}

static int
surest_first(const void *a, const void *b)
{
	const struct drawn *x = a, *y = b;

	if (x->confidence != y->confidence)
		return x->confidence > y->confidence ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

/* Whether the token at a place is given. */
static bool
is_given(const struct vq_sampler *s, const struct vq_drawing *w, int64_t sample, int64_t place)
{
	return w->known && w->known[sample * s->length + s->cell[place]] >= 0;
}

/* Places of sample `first + b` that are to be drawn; what is given stands in its token. */
static int64_t
begin(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t b, bool there)
{
	int64_t unknown = 0;

	for (int64_t t = 0; t < s->length; t++) {
		bool given = there && is_given(s, w, first + b, t);
		int32_t token = given ? w->known[(first + b) * s->length + s->cell[t]] : (int32_t)s->how->mask;
		for (int64_t row = b; row < s->rows; row += s->batch)
			s->token[row * s->length + t] = token;
		s->code[b * s->length + s->cell[t]] = given ? token : -1;
		unknown += !given;
	}
	return unknown;
}

/* Draws what is masked of a row; -1, or the place where no token can be had. */
static int64_t
draw_masked(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t sample, int64_t b, int64_t step,
    double noise, struct drawn *c)
{
	struct vq_draw how = vq_sampler_draw(s);
	void *room = vq_sampler_room(s);
	float *own = logits + b * s->length * s->vocab;
	const float *none = logits + (s->batch + b) * s->length * s->vocab;

	for (int64_t t = 0; t < s->length; t++, own += s->vocab, none += s->vocab) {
		uint64_t at = (uint64_t)((step - 1) * s->length + t);
		if (s->code[b * s->length + s->cell[t]] >= 0)
			continue;
		if (s->rows > s->batch)
			vq_guide(own, none, s->how->guidance, s->vocab);
		int64_t token = vq_draw_token(&how, own, vq_draw_uniform(w->seed, (uint64_t)sample, at), room);
		if (token < 0)
			return t;
		double confidence = vq_draw_log_probability(&how, own, token, room);
		if (noise > 0)
			confidence += noise * vq_draw_gumbel(w->seed, (uint64_t)sample, at);
		*c++ = (struct drawn){ confidence, (int32_t)t, (int32_t)token };
	}
	return -1;
}

/* One step of a row with `unknown` places to be drawn in all; as draw_masked. */
static int64_t
step_row(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t first, int64_t b, int64_t unknown,
    int64_t step)
{
	struct drawn *c = (void *)((char *)vq_sampler_room(s) + vq_draw_room(s->vocab));
	int64_t steps = s->how->steps < unknown ? s->how->steps : unknown;

	if (step > steps)
		return -1;
	int64_t before = step == 1 ? unknown : vq_masking_left(s->how->schedule, unknown, step - 1, steps);
	int64_t after = vq_masking_left(s->how->schedule, unknown, step, steps);
	double noise = s->how->choice_temperature * (1 - (double)step / (double)steps);
	int64_t bad = draw_masked(s, w, logits, first + b, b, step, noise, c);
	if (bad >= 0)
		return bad;
	qsort(c, (size_t)before, sizeof(*c), surest_first);
	for (int64_t i = 0; i < before - after; i++) {
		for (int64_t row = b; row < s->rows; row += s->batch)
			s->token[row * s->length + c[i].place] = c[i].token;
		s->code[b * s->length + s->cell[c[i].place]] = c[i].token;
	}
	return -1;
}

int
vq_masked_draw(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d)
{
	int64_t *unknown = vq_alloc_array((size_t)s->batch, sizeof(*unknown)), most = 0, bad = n, place = 0;
	struct vq_view logits;
	int stopped = 0;

	vq_sampler_labels(s, w, first);
	for (int64_t b = 0; b < s->batch; b++) {
		unknown[b] = begin(s, w, first, b, b < n);
		if (b < n && unknown[b] > most)
			most = unknown[b];
	}
	for (int64_t step = 1; step <= s->how->steps && step <= most && bad == n && !stopped; step++) {
		vq_plan_run(s->step, w->seed, 0);
		vq_plan_output(s->step, s->how->value, &logits);
		#pragma omp parallel for num_threads(s->threads) schedule(static) if (n * s->length * s->vocab >= 8192)
		for (int64_t b = 0; b < n; b++) {
			int64_t none = step_row(s, w, logits.data, first, b, unknown[b], step);
			if (none >= 0) {
				#pragma omp critical
				if (b < bad) {
					bad = b;
					place = none;
				}
			}
		}
		stopped = w->signal && *w->signal;
	}
	free(unknown);
	return bad < n ? vq_sampler_no_token(s, first + bad, place, d) : stopped;
}
