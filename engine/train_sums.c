/*
 * train_sums -- metrics averaged and codes counted over steps
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_private.h"

/* A variable of the stage; one that a checkpoint left with another shape is an error. */
static void *
stage_var(struct vq_trainer *s, const char *what, enum vq_dtype dtype, int64_t n)
{
	char *name = vq_asprintf("progress.%s.%s", s->t->name, what);
	struct vq_type t = vq_type_of(dtype, 1, &n);
	struct vq_var *v = vq_vars_find(s->r->vars, name);

	if (v == NULL)
		v = vq_vars_add(s->r->vars, name, VQ_STATE, &t);
	if (!vq_type_equal(&v->type, &t)) {
		char was[VQ_TYPE_STR], is[VQ_TYPE_STR];
		vq_error(s->d, VQ_CHECKPOINT, NULL, "the checkpoint has %s as %s, this stage as %s", name,
		    vq_type_str(&v->type, was), vq_type_str(&t, is));
		v = NULL;
	}
	free(name);
	return v ? v->data : NULL;
}

int
vq_sums_open(struct vq_trainer *s, struct vq_sums *u, const char *what)
{
	char part[64];

	u->sum = stage_var(s, what, VQ_F64, 2 * s->metrics);
	for (int c = 0; c < s->t->ncodes; c++) {
		snprintf(part, sizeof(part), "%s.codes.%d", what, c);
		u->hits[c] = stage_var(s, part, VQ_I64, s->t->codes[c].size);
		if (u->hits[c] == NULL)
			return -1;
	}
	if (s->counters == NULL) {
		s->counters = stage_var(s, "counters", VQ_F64, sizeof(*s->counters) / sizeof(double));
		if (s->counters && s->counters->plateau == 0)	/* new: never 0 later */
			*s->counters = (struct vq_counters){ .best = INFINITY, .plateau = 1 };
	}
	return u->sum && s->counters ? 0 : -1;
}

void
vq_sums_clear(const struct vq_trainer *s, struct vq_sums *u)
{
	memset(u->sum, 0, sizeof(*u->sum) * 2 * (size_t)s->metrics);
	for (int c = 0; c < s->t->ncodes; c++)
		memset(u->hits[c], 0, sizeof(**u->hits) * (size_t)s->t->codes[c].size);
}

/* The mean over the elements: a loss is one number, or one for each sample. */
static double
mean_of(const struct vq_view *v)
{
	int64_t n = vq_shape_count(&v->type->shape);
	double sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += vq_get(v, i);
	return sum / (double)n;
}

void
vq_sums_keep_use(struct vq_trainer *s)
{
	for (int c = 0; c < s->t->ncodes; c++) {
		size_t n = (size_t)s->t->codes[c].size;

		if (s->use[c] == NULL)
			s->use[c] = vq_alloc_array(n, sizeof(int64_t));
		memcpy(s->use[c], s->epoch.hits[c], n * sizeof(int64_t));
	}
}

int
vq_sums_add(const struct vq_trainer *s, struct vq_sums *u, const struct vq_plan *p, int64_t samples)
{
	struct vq_view v;

	/* Not every plan has every metric: evaluation has no grad_norm. */
	for (int i = 0; i < s->metrics; i++)
		if (vq_plan_output(p, s->metric[i], &v)) {
			u->sum[2 * i] += (double)samples * mean_of(&v);
			u->sum[2 * i + 1] += (double)samples;
		}
	for (int c = 0; c < s->t->ncodes; c++) {
		if (!vq_plan_output(p, s->t->codes[c].value, &v))
			continue;
		const int32_t *code = v.data;
		int64_t n = vq_shape_count(&v.type->shape);
		for (int64_t i = 0; i < n; i++) {
			if (code[i] < 0 || code[i] >= s->t->codes[c].size) {
				vq_error(s->d, VQ_CONFIG, &s->t->at, "codes: %s is %d, and there are said to be %lld codes",
				    s->t->codes[c].value, code[i], (long long)s->t->codes[c].size);
				return -1;
			}
			u->hits[c][code[i]]++;
		}
	}
	return 0;
}

/* How many codes occurred, and two to the entropy of their distribution. */
static void
codebook_use(const int64_t *hits, int64_t size, double *used, double *perplexity)
{
	double total = 0, entropy = 0;

	*used = 0;
	for (int64_t i = 0; i < size; i++)
		total += (double)hits[i];
	for (int64_t i = 0; i < size; i++) {
		double p = (double)hits[i] / total;
		*used += hits[i] > 0;
		entropy -= hits[i] > 0 ? p * log(p) : 0;
	}
	*perplexity = total > 0 ? exp(entropy) : 0;
}

/* "codes_used" for a single codebook; with several, "<value's step>.codes_used". */
static const char *
use_name(const struct vq_trainer *s, int c, const char *what)
{
	const char *value = s->t->codes[c].value, *dot = strrchr(value, '.');

	if (s->t->ncodes == 1)
		return what;
	return vq_arena_printf(&s->r->vars->arena, "%.*s.%s", dot ? (int)(dot - value) : (int)strlen(value),
	    value, what);
}

int
vq_sums_read(const struct vq_trainer *s, const struct vq_sums *u, const char **name, double *value)
{
	int n = 0;

	for (int i = 0; i < s->metrics; i++)
		if (u->sum[2 * i + 1] > 0) {
			name[n] = s->metric[i];
			value[n++] = u->sum[2 * i] / u->sum[2 * i + 1];
		}
	for (int c = 0; c < s->t->ncodes; c++) {
		name[n] = s->use_name[2 * c];
		name[n + 1] = s->use_name[2 * c + 1];
		codebook_use(u->hits[c], s->t->codes[c].size, &value[n], &value[n + 1]);
		n += 2;
	}
	return n;
}

void
vq_sums_names(struct vq_trainer *s)
{
	for (int c = 0; c < s->t->ncodes; c++) {
		s->use_name[2 * c] = use_name(s, c, "codes_used");
		s->use_name[2 * c + 1] = use_name(s, c, "perplexity");
	}
}

double
vq_metric_find(const char *const *name, const double *value, int n, const char *wanted)
{
	for (int i = 0; i < n; i++)
		if (strcmp(name[i], wanted) == 0)
			return value[i];
	return NAN;
}
