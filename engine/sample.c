/*
 * sample -- tokens drawn one after the other, and pictures of them; those that are masked
 * are drawn by sample_masked.c
 *
 * Guidance doubles the rows of the batch: the second half has no class.
 */
#include "engine/sample.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample_private.h"
#include "engine/yaml.h"

/* --- opening --------------------------------------------------------------- */

/* Every variable of a graph: those of the weights as they are, the pass's own anew. */
static int
take_vars(struct vq_sampler *s, const struct vq_graph *g, const struct vq_vars *vars, struct vq_diags *d)
{
	char want[VQ_TYPE_STR], has[VQ_TYPE_STR];

	for (vq_id v = 0; g && v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		const struct vq_var *of;
		if ((val->kind != VQ_PARAM && val->kind != VQ_STATE) || vq_vars_find(&s->own, val->name))
			continue;
		if (val->kind == VQ_STATE && s->how->method == VQ_METHOD_CAUSAL && vq_incremental_owns(val->name)) {
			vq_vars_add(&s->own, val->name, VQ_STATE, &val->type);
			continue;
		}
		char *average = vq_asprintf("average.%s", val->name);
		of = val->kind == VQ_PARAM ? vq_vars_find(vars, average) : NULL;
		free(average);
		if (of == NULL && (of = vq_vars_find(vars, val->name)) == NULL) {
			vq_error(d, VQ_CHECKPOINT, NULL, "there is no %s %s, %s, among the weights",
			    val->kind == VQ_PARAM ? "parameter" : "state", val->name, vq_type_str(&val->type, want));
			return -1;
		}
		if (!vq_type_equal(&of->type, &val->type)) {
			vq_error(d, VQ_CHECKPOINT, NULL, "%s is %s among the weights, and %s in graph %s", val->name,
			    vq_type_str(&of->type, has), vq_type_str(&val->type, want), g->name);
			return -1;
		}
		vq_vars_borrow(&s->own, val->name, of);
	}
	return 0;
}

static int
compile(struct vq_sampler *s, struct vq_graph **g, struct vq_plan **p, struct vq_diags *d)
{
	struct vq_graph *graph = *g;

	*g = NULL;
	if (graph == NULL)
		return 0;
	if ((*p = vq_compile(graph, &(struct vq_compile){ .threads = s->threads }, d)) == NULL)
		return -1;
	vq_plan_attach(*p, &s->own, NULL);
	return 0;
}

static void
bind_inputs(struct vq_sampler *s)
{
	const struct vq_sample *how = s->how;

	if (s->once)
		vq_plan_input(s->once, "label", s->label);
	vq_plan_input(s->step, "label", s->label);
	vq_plan_input(s->step, how->token, s->token);
	if (how->method == VQ_METHOD_CAUSAL)
		vq_plan_input(s->step, "position", &s->position);
	vq_plan_input(s->decode, how->decode_input, s->code);
}

static void
make_rooms(struct vq_sampler *s)
{
	const struct vq_sample *how = s->how;
	bool masked = how->method == VQ_METHOD_MASKED;

	s->forbidden = vq_alloc_array((size_t)s->vocab, sizeof(*s->forbidden));
	for (int64_t t = how->codes > 0 ? how->codes : s->vocab; t < s->vocab; t++)
		s->forbidden[t] = true;
	for (int i = 0; i < how->forbids; i++)
		s->forbidden[how->forbid[i]] = true;
	if (masked && how->mask < s->vocab)
		s->forbidden[how->mask] = true;
	s->token = vq_alloc_array((size_t)(s->rows * (masked ? s->length : 1)), sizeof(*s->token));
	s->label = vq_alloc_array((size_t)s->rows, sizeof(*s->label));
	s->code = vq_alloc_array((size_t)(s->batch * s->length), sizeof(*s->code));
	s->room_each = vq_draw_room(s->vocab) + (masked ? vq_masked_room(s->length) : 0);
	s->room = vq_alloc_array((size_t)s->threads, s->room_each);
	s->cell = vq_alloc_array((size_t)s->length, sizeof(*s->cell));
	vq_order_cells((enum vq_order)how->order, s->g.h, s->g.w, s->cell);
}

struct vq_sampler *
vq_sampler_new(const struct vq_model *m, const struct vq_sample *how, int64_t batch, const struct vq_vars *vars,
    int threads, struct vq_diags *d)
{
	struct vq_sampler *s = vq_alloc(sizeof(*s));

	s->how = how;
	s->batch = batch;
	s->length = how->length;
	s->threads = threads > 0 ? threads : vq_threads();
	if (vq_sample_graphs(m, how, batch, &s->g, d) < 0) {
		vq_sampler_free(s);
		return NULL;
	}
	s->rows = batch * s->g.streams;
	s->vocab = s->g.vocab;
	s->picture = s->g.picture;
	make_rooms(s);
	if (take_vars(s, s->g.inc.once, vars, d) < 0 || take_vars(s, s->g.inc.step, vars, d) < 0 ||
	    take_vars(s, s->g.decode, vars, d) < 0 || compile(s, &s->g.inc.once, &s->once, d) < 0 ||
	    compile(s, &s->g.inc.step, &s->step, d) < 0 || compile(s, &s->g.decode, &s->decode, d) < 0) {
		vq_sampler_free(s);
		return NULL;
	}
	bind_inputs(s);
	return s;
}

void
vq_sampler_free(struct vq_sampler *s)
{
	if (s == NULL)
		return;
	vq_sample_graphs_free(&s->g);
	vq_plan_free(s->once);
	vq_plan_free(s->step);
	vq_plan_free(s->decode);
	vq_vars_free(&s->own);
	free(s->forbidden);
	free(s->cell);
	free(s->token);
	free(s->label);
	free(s->code);
	free(s->room);
	free(s);
}

const struct vq_type *
vq_sampler_picture(const struct vq_sampler *s)
{
	return &s->picture;
}

/* --- drawing --------------------------------------------------------------- */

struct vq_draw
vq_sampler_draw(const struct vq_sampler *s)
{
	return (struct vq_draw){ s->how->temperature, s->how->top_k, s->how->top_p, s->vocab, s->forbidden };
}

void *
vq_sampler_room(const struct vq_sampler *s)
{
	return s->room + (size_t)omp_get_thread_num() * s->room_each;
}

void
vq_sampler_labels(struct vq_sampler *s, const struct vq_drawing *w, int64_t first)
{
	for (int64_t b = 0; b < s->batch; b++) {
		int64_t i = first + b < w->n ? first + b : w->n - 1;
		s->label[b] = s->how->classes > 0 ? w->class[i] : 0;
		if (s->rows > s->batch)
			s->label[s->batch + b] = (int32_t)s->how->null;
	}
}

/* Labels and first tokens. */
static void
begin(struct vq_sampler *s, const struct vq_drawing *w, int64_t first)
{
	const struct vq_sample *how = s->how;

	vq_sampler_labels(s, w, first);
	for (int64_t b = 0; b < s->batch; b++) {
		s->token[b] = (int32_t)how->start + (how->start_per_class && how->classes > 0 ? s->label[b] : 0);
		if (s->rows > s->batch)
			s->token[s->batch + b] = (int32_t)(how->start_per_class ? how->null : how->start);
	}
}

/* The token of row b at place t, from the logits there; -1 when there is none. */
static int64_t
choose(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t first, int64_t b, int64_t t)
{
	struct vq_draw how = vq_sampler_draw(s);
	int64_t i = first + b;
	int32_t given = w->known ? w->known[i * s->length + s->cell[t]] : -1;
	float *own = logits + b * s->vocab;

	if (given >= 0)
		return given;
	if (s->rows > s->batch)
		vq_guide(own, logits + (s->batch + b) * s->vocab, s->how->guidance, s->vocab);
	return vq_draw_token(&how, own, vq_draw_uniform(w->seed, (uint64_t)i, (uint64_t)t), vq_sampler_room(s));
}

int
vq_sampler_no_token(const struct vq_sampler *s, int64_t sample, int64_t place, struct vq_diags *d)
{
	vq_error(d, VQ_NOT_FINITE, NULL, "stage %s: the logits of sample %lld at position %lld are not finite",
	    s->how->name, (long long)sample, (long long)place);
	return -1;
}

/* All tokens of the samples from `first` on, of which there are n. */
static int
draw_group(struct vq_sampler *s, struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d)
{
	struct vq_view logits;
	int64_t bad = n;

	begin(s, w, first);
	if (s->once)
		vq_plan_run(s->once, w->seed, 0);
	for (int64_t t = 0; t < s->length; t++) {
		if (w->signal && *w->signal)
			return 1;
		s->position = (int32_t)t;
		vq_plan_run(s->step, w->seed, 0);
		vq_plan_output(s->step, s->how->value, &logits);
		#pragma omp parallel for num_threads(s->threads) schedule(static) reduction(min : bad) if (n * s->vocab >= 8192)
		for (int64_t b = 0; b < n; b++) {
			int64_t token = choose(s, w, logits.data, first, b, t);
			if (token < 0) {
				bad = b < bad ? b : bad;
				continue;
			}
			s->token[b] = (int32_t)token;
			s->code[b * s->length + s->cell[t]] = (int32_t)token;
			if (s->rows > s->batch)
				s->token[s->batch + b] = (int32_t)token;
		}
		if (bad < n)
			return vq_sampler_no_token(s, first + bad, t, d);
	}
	return 0;
}

int
vq_sampler_run(struct vq_sampler *s, struct vq_drawing *w, struct vq_diags *d)
{
	size_t picture = vq_type_bytes(&s->picture);
	struct vq_view shown;

	w->seconds = 0;
	for (int64_t i = 0; w->known && i < w->n * s->length; i++)
		if (w->known[i] >= s->vocab) {
			vq_error(d, VQ_DATA, NULL, "code %d is given, and graph %s knows %lld", w->known[i], s->how->graph,
			    (long long)s->vocab);
			return -1;
		}
	for (int64_t first = 0; first < w->n; first += s->batch) {
		int64_t n = w->n - first < s->batch ? w->n - first : s->batch;
		double start = vq_now();
		int error = s->how->method == VQ_METHOD_MASKED ? vq_masked_draw(s, w, first, n, d) :
		    draw_group(s, w, first, n, d);
		w->seconds += vq_now() - start;
		if (error)
			return error;
		memcpy(w->codes + first * s->length, s->code, (size_t)(n * s->length) * sizeof(*s->code));
		if (w->pictures == NULL)
			continue;
		vq_plan_run(s->decode, w->seed, 0);
		vq_plan_output(s->decode, s->how->decode_value, &shown);
		memcpy((char *)w->pictures + (size_t)first * picture, shown.data, (size_t)n * picture);
	}
	return 0;
}

int32_t
vq_sample_class(int64_t i, int64_t n, int64_t classes)
{
	return (int32_t)(i * classes / n);
}
