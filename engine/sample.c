/*
 * sample -- tokens drawn one after the other, and pictures of them; those that are masked
 * are drawn by sample_masked.c, grids larger than what the graph sees by sample_window.c
 *
 * Guidance doubles the rows of the batch: the second half has no class.
 */
#include "engine/sample.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"
#include "engine/sample_private.h"
#include "engine/yaml.h"

/* Rows for each thread from which on each draws apart.  Then fetching the weights, which each
 * does for itself, takes less time than multiplying by them, or than waiting for each other at
 * every product: half the bytes are fetched in the time of half the rows. */
enum { PART_ROWS = 8, PART_ROWS_BF16 = 4 };
/* Rows that one thread draws at once.  More would not make weights cheaper, which are fetched fast enough for
 * as many, and keep more keys and values at a time. */
enum { GROUP_ROWS = 32 };

/* --- opening --------------------------------------------------------------- */

static int64_t
room_of(const struct vq_type *t)
{
	return ((int64_t)vq_type_bytes(t) + 63) / 64 * 64;
}

/*
 * The incremental pass's own states: those that weights alone decide are the first
 * sampler's, where this is not it; the others lie together in large pages, since all are
 * read at each position, and finding many small pages takes as long as reading them.
 */
static void
keep_states(struct vq_sampler *s, const struct vq_sampler *first)
{
	const struct vq_graph *graph[] = { s->g.inc.weights, s->g.inc.once, s->g.inc.step };
	int64_t bytes = 0;

	for (size_t i = 0; i < VQ_COUNT(graph); i++)
		for (vq_id v = 0; graph[i] && v < graph[i]->values; v++) {
			const struct vq_value *val = &graph[i]->value[v];
			if (val->kind != VQ_STATE || !vq_incremental_owns(val->name) || vq_vars_find(&s->own, val->name))
				continue;
			vq_vars_borrow(&s->own, val->name, i == 0 && first ? vq_vars_find(&first->own, val->name) :
			    &(struct vq_var){ .kind = VQ_STATE, .type = val->type });
		}
	for (int i = 0; i < s->own.count; i++)
		bytes += s->own.var[i].data ? 0 : room_of(&s->own.var[i].type);
	char *at = s->memory = memset(vq_plan_alloc_arena(bytes), 0, (size_t)bytes);
	for (int i = 0; i < s->own.count; i++)
		if (s->own.var[i].data == NULL) {
			s->own.var[i].data = at;
			at += room_of(&s->own.var[i].type);
		}
}

/* Every other variable of a graph: those of the weights. */
static int
take_vars(struct vq_sampler *s, const struct vq_graph *g, const struct vq_vars *vars, struct vq_diags *d)
{
	char want[VQ_TYPE_STR], has[VQ_TYPE_STR];

	for (vq_id v = 0; g && v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		const struct vq_var *of;
		if ((val->kind != VQ_PARAM && val->kind != VQ_STATE) || vq_vars_find(&s->own, val->name))
			continue;
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
compile(struct vq_sampler *s, struct vq_graph **g, bool bf16, struct vq_plan **p, struct vq_diags *d)
{
	struct vq_graph *graph = *g;

	*g = NULL;
	if (graph == NULL)
		return 0;
	if ((*p = vq_compile(graph, &(struct vq_compile){ .threads = s->threads, .bf16 = bf16 }, d)) == NULL)
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

/* Computes what weights alone decide, unless the first sampler has. */
static int
run_weights(struct vq_sampler *s, const struct vq_sampler *first, const struct vq_vars *vars, struct vq_diags *d)
{
	struct vq_plan *plan = NULL;

	if (first || s->g.inc.weights == NULL)
		return 0;
	if (take_vars(s, s->g.inc.weights, vars, d) < 0 || compile(s, &s->g.inc.weights, false, &plan, d) < 0)
		return -1;
	vq_plan_run(plan, 0, 0);
	vq_plan_free(plan);
	return 0;
}

/* One sampler; first: of those that share weights, NULL: this is it. */
static struct vq_sampler *
open_sampler(const struct vq_model *m, const struct vq_sample *how, int64_t batch, const struct vq_vars *vars,
    const struct vq_sampler *first, int threads, struct vq_diags *d)
{
	struct vq_sampler *s = vq_alloc(sizeof(*s));
	bool bf16 = how->precision == VQ_SAMPLE_BF16;

	s->how = how;
	s->batch = batch;
	s->threads = threads;
	if (vq_sample_graphs(m, how, batch, &s->g, d) < 0) {
		vq_sampler_free(s);
		return NULL;
	}
	s->rows = batch * s->g.streams;
	s->vocab = s->g.vocab;
	s->length = s->g.tokens;
	s->picture = s->g.picture;
	make_rooms(s);
	if (how->method == VQ_METHOD_CAUSAL)
		keep_states(s, first);
	if (run_weights(s, first, vars, d) < 0 || take_vars(s, s->g.inc.once, vars, d) < 0 ||
	    take_vars(s, s->g.inc.step, vars, d) < 0 || take_vars(s, s->g.decode, vars, d) < 0 ||
	    compile(s, &s->g.inc.once, bf16, &s->once, d) < 0 || compile(s, &s->g.inc.step, bf16, &s->step, d) < 0 ||
	    compile(s, &s->g.decode, false, &s->decode, d) < 0) {
		vq_sampler_free(s);
		return NULL;
	}
	bind_inputs(s);
	return s;
}

/*
 * Whether other programs run on the CPUs of a team: then it begins and ends not in microseconds but
 * when its last thread is given time, at each of thousands of products.
 */
static bool
is_busy(int threads)
{
	const double trial = 0.01, late = 1e-4;		/* seconds; longer than a time slice */
	double begin = 0, lost = 0, now = 0;
	int here = 0;

	for (int i = 0; i == 0 || (now - begin < trial && lost < 0.3 * trial); i++) {
		double start = vq_now();
		#pragma omp parallel num_threads(threads) reduction(+ : here)
		here++;
		now = vq_now();
		if (i == 0)
			begin = now;		/* the first makes the threads */
		else
			lost += now - start > late ? now - start : 0;
	}
	return lost >= 0.3 * trial && here > 0;
}

/* n samples in as few groups of at most so many as there can be, all alike; tiles of products are of
 * fours. */
static int64_t
group_of(int64_t n, int64_t most)
{
	int64_t groups = (n + most - 1) / most, each = (n + groups - 1) / groups;

	return n <= most ? n : (each + 3) / 4 * 4;
}

struct vq_sampler *
vq_sampler_new(const struct vq_model *m, const struct vq_sample *how, int64_t batch, const struct vq_vars *vars,
    int threads, struct vq_diags *d)
{
	int64_t rows = how->guidance == 1 ? batch : 2 * batch, apart = how->precision == VQ_SAMPLE_BF16 ? PART_ROWS_BF16 : PART_ROWS;

	threads = threads > 0 ? threads : vq_threads();
	if (how->method != VQ_METHOD_CAUSAL)
		return open_sampler(m, how, batch, vars, NULL, threads, d);
	if (threads > 1 && rows < apart * threads) {
		if (!is_busy(threads))
			return open_sampler(m, how, batch, vars, NULL, threads, d);
		threads = batch < threads ? (int)batch : threads;
	}
	batch = group_of((batch + threads - 1) / threads, how->guidance == 1 ? GROUP_ROWS : GROUP_ROWS / 2);
	if (threads == 1)
		return open_sampler(m, how, batch, vars, NULL, 1, d);
	struct vq_sampler *s = open_sampler(m, how, batch, vars, NULL, 1, d);
	if (s == NULL)
		return NULL;
	s->part = vq_alloc_array((size_t)threads, sizeof(struct vq_sampler *));
	for (s->parts = 1; s->parts < threads; s->parts++)
		if ((s->part[s->parts] = open_sampler(m, how, batch, vars, s, 1, d)) == NULL) {
			vq_sampler_free(s);
			return NULL;
		}
	return s;
}

void
vq_sampler_free(struct vq_sampler *s)
{
	if (s == NULL)
		return;
	for (int i = 1; i < s->parts; i++)
		vq_sampler_free(s->part[i]);
	free(s->part);
	vq_sample_graphs_free(&s->g);
	vq_plan_free(s->once);
	vq_plan_free(s->step);
	vq_plan_free(s->decode);
	vq_vars_free(&s->own);
	free(s->memory);
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

void
vq_sampler_begin(struct vq_sampler *s, const struct vq_drawing *w, int64_t first)
{
	const struct vq_sample *how = s->how;

	vq_sampler_labels(s, w, first);
	for (int64_t b = 0; b < s->batch; b++) {
		s->token[b] = (int32_t)how->start + (how->start_per_class && how->classes > 0 ? s->label[b] : 0);
		if (s->rows > s->batch)
			s->token[s->batch + b] = (int32_t)(how->start_per_class ? how->null : how->start);
	}
}

/* The token of row b at place t, given or from the logits there; -1 when there is none. */
static int64_t
token_of(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t first, int64_t b, int64_t t)
{
	struct vq_draw how = vq_sampler_draw(s);
	int64_t i = first + b;
	int32_t given = w->known ? w->known[i * s->length + s->cell[t]] : -1;

	if (given >= 0)
		return given;
	float *own = logits + b * s->vocab;
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

int
vq_sampler_choose(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t first, int64_t n, int64_t t,
    struct vq_diags *d)
{
	int64_t bad = n;

	#pragma omp parallel for num_threads(s->threads) schedule(static) reduction(min : bad) if (n * s->vocab >= 8192)
	for (int64_t b = 0; b < n; b++) {
		int64_t token = token_of(s, w, logits, first, b, t);
		if (token < 0) {
			bad = b < bad ? b : bad;
			continue;
		}
		s->token[b] = (int32_t)token;
		s->code[b * s->length + s->cell[t]] = (int32_t)token;
		if (s->rows > s->batch)
			s->token[s->batch + b] = (int32_t)token;
	}
	return bad < n ? vq_sampler_no_token(s, first + bad, t, d) : 0;
}

/* All tokens of the samples from `first` on, of which there are n. */
static int
draw_group(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d)
{
	struct vq_view logits;

	for (int64_t t = 0; t < s->length; t++) {
		if (w->signal && *w->signal)
			return 1;
		s->position = (int32_t)t;
		vq_plan_run(s->step, w->seed, 0);
		vq_plan_output(s->step, s->how->value, &logits);
		if (vq_sampler_choose(s, w, logits.data, first, n, t, d) < 0)
			return -1;
	}
	return 0;
}

/* In the way that the stage says, from the first position on. */
static int
draw_tokens(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d)
{
	if (s->how->method == VQ_METHOD_MASKED)
		return vq_masked_draw(s, w, first, n, d);
	vq_sampler_begin(s, w, first);
	if (s->once)
		vq_plan_run(s->once, w->seed, 0);
	return s->g.high > 0 ? vq_window_draw(s, w, first, n, d) : draw_group(s, w, first, n, d);
}

/* The samples of `w` from `from` to below `to`: adds to *seconds what drawing took. */
static int
run_samples(struct vq_sampler *s, struct vq_drawing *w, int64_t from, int64_t to, double *seconds, struct vq_diags *d)
{
	size_t picture = vq_type_bytes(&s->picture);
	struct vq_view shown;

	for (int64_t first = from; first < to; first += s->batch) {
		int64_t n = to - first < s->batch ? to - first : s->batch;
		double start = vq_now();
		int error = draw_tokens(s, w, first, n, d);
		*seconds += vq_now() - start;
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

/* What one thread does. */
struct share {
	struct vq_sampler *s;
	struct vq_drawing *w;
	int64_t from, to;
	pthread_t thread;
	bool started;
	int error;
	double seconds;
	struct vq_diags d;
};

static void *
run_share(void *share)
{
	struct share *h = share;

	h->error = run_samples(h->s, h->w, h->from, h->to, &h->seconds, &h->d);
	return NULL;
}

/* Every part its share; of errors the first is told. */
static int
run_parts(struct vq_sampler *s, struct vq_drawing *w, struct vq_diags *d)
{
	struct share *h = vq_alloc_array((size_t)s->parts, sizeof(*h));
	int error = 0;

	for (int i = s->parts - 1; i >= 0; i--) {
		h[i] = (struct share){ .s = i ? s->part[i] : s, .w = w, .from = w->n * i / s->parts, .to = w->n * (i + 1) / s->parts };
		h[i].started = i > 0 && h[i].from < h[i].to && pthread_create(&h[i].thread, NULL, run_share, &h[i]) == 0;
	}
	for (int i = 0; i < s->parts; i++) {
		if (h[i].started)
			pthread_join(h[i].thread, NULL);
		else
			run_share(&h[i]);
		w->seconds = h[i].seconds > w->seconds ? h[i].seconds : w->seconds;
		if (error == 0 && h[i].error)
			vq_diags_move(d, &h[i].d);
		error = error ? error : h[i].error;
		vq_diags_free(&h[i].d);
	}
	free(h);
	return error;
}

int
vq_sampler_run(struct vq_sampler *s, struct vq_drawing *w, struct vq_diags *d)
{
	w->seconds = 0;
	for (int64_t i = 0; w->known && i < w->n * s->length; i++)
		if (w->known[i] >= s->vocab) {
			vq_error(d, VQ_DATA, NULL, "code %d is given, and graph %s knows %lld", w->known[i], s->how->graph,
			    (long long)s->vocab);
			return -1;
		}
	return s->parts ? run_parts(s, w, d) : run_samples(s, w, 0, w->n, &w->seconds, d);
}

int32_t
vq_sample_class(int64_t i, int64_t n, int64_t classes)
{
	return (int32_t)(i * classes / n);
}
