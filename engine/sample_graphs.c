/*
 * sample_graphs -- the graphs of a sample stage, and whether its keys fit them
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/sample_private.h"
#include "engine/suggest.h"

struct judge {
	const struct vq_model *m;
	const struct vq_sample *s;
	int64_t batch;
	struct vq_sample_graphs *g;
	bool labelled;		/* the class is an input, too */
	int64_t most;		/* the largest token that may be drawn */
	struct vq_diags *d;
};

static struct vq_diag *
wrong(struct judge *j, const char *key, const char *fmt, ...) VQ_PRINTF(3, 4);
static struct vq_diag *
wrong(struct judge *j, const char *key, const char *fmt, ...)
{
	va_list ap;
	struct vq_text text = { 0 };

	va_start(ap, fmt);
	vq_text_vadd(&text, fmt, ap);
	va_end(ap);
	struct vq_diag *e = vq_error(j->d, VQ_CONFIG, vq_sample_at(j->s, key), "%s: %s", key, text.s);
	vq_text_free(&text);
	return e;
}

/* --- the graph that grows -------------------------------------------------- */

/* The free sizes of a graph must be `batch` and, where it grows, time; -1 after errors. */
static int
check_sizes(struct judge *j, const char *key, const char *graph, const char *time)
{
	const char *name[8];
	int n = vq_model_free_sizes(j->m, graph, name, (int)VQ_COUNT(name));
	bool grows = time == NULL, there = false;

	for (int i = 0; i < vq_model_graphs(j->m); i++)
		there |= strcmp(vq_model_graph_name(j->m, i), graph) == 0;
	if (!there)
		return 0;		/* expanding says so, and what there is */
	for (int i = 0; i < n; i++) {
		bool is_time = time && strcmp(name[i], time) == 0;
		grows |= is_time;
		if (is_time || strcmp(name[i], "batch") == 0)
			continue;
		wrong(j, key, "graph %s has a free size '%s'; sampling knows batch%s%s", graph, name[i],
		    time ? " and " : "", time ? time : "");
		return -1;
	}
	if (grows)
		return 0;
	vq_help(wrong(j, key, "graph %s has no free size '%s' to grow along", graph, time),
	    "its input is i32[batch, %s], as in token: i32[batch, time]; another name is given by time:", time);
	return -1;
}

static struct vq_growing
growing(const struct judge *j, const struct vq_size *batch)
{
	return (struct vq_growing){ .graph = j->s->graph, .time = j->s->time, .length = j->s->length,
	    .output = j->s->value, .size = batch, .sizes = 1, .bf16 = j->s->precision == VQ_SAMPLE_BF16 };
}

/* Whether the graph is right when it is short: then it is the length that is wrong. */
static bool
right_at_one(const struct judge *j)
{
	struct vq_diags unheard = { 0 };
	struct vq_size size[] = { { j->s->time, 1 }, { "batch", j->batch } };
	struct vq_graph *g = vq_model_expand(j->m, j->s->graph, false, size, 2, &unheard);

	vq_graph_free(g);
	vq_diags_free(&unheard);
	return g != NULL;
}

static bool
right_at_length(const struct judge *j, struct vq_diags *d)
{
	struct vq_size size[] = { { j->s->time, j->s->length }, { "batch", j->batch } };
	struct vq_graph *g = vq_model_expand(j->m, j->s->graph, false, size, 2, d);

	vq_graph_free(g);
	return g != NULL;
}

static int
grow(struct judge *j)
{
	struct vq_size batch = { "batch", j->batch * j->g->streams };
	struct vq_growing how = growing(j, &batch);
	struct vq_diags own = { 0 };

	if (check_sizes(j, "graph", j->s->graph, j->s->time) < 0)
		return -1;
	if (!right_at_length(j, &own)) {
		if (right_at_one(j))
			wrong(j, "length", "graph %s cannot be %lld long", j->s->graph, (long long)j->s->length);
		vq_diags_move(j->d, &own);
		return -1;
	}
	return vq_incremental(j->m, &how, &j->g->inc, j->d);
}

/* The graph of all positions at once, and no others of its outputs. */
static int
expand_whole(struct judge *j)
{
	const struct vq_sample *s = j->s;
	struct vq_size batch = { "batch", j->batch * j->g->streams };
	struct vq_graph *g;

	if (check_sizes(j, "graph", s->graph, NULL) < 0 ||
	    (g = vq_model_expand(j->m, s->graph, false, &batch, 1, j->d)) == NULL)
		return -1;
	j->g->inc = (struct vq_incremental){ .step = g, .length = s->length };
	vq_id v = vq_graph_find_output(g, s->value);
	if (v == VQ_NONE) {
		wrong(j, "value", "graph %s has no value '%s'", s->graph, s->value);
		return -1;
	}
	for (int i = 0; i < g->nodes; i++)
		if (g->node[i].op->flags & VQ_OP_RANDOM) {
			struct vq_diag *e = wrong(j, "graph", "%s draws at random, so what graph %s makes of a sample would depend on "
			    "the others of its batch", g->node[i].op->name, s->graph);
			vq_origin_notes(g, g->node[i].origin, e);
			return -1;
		}
	g->outputs = g->stores = 0;
	vq_graph_output(g, s->value, v);
	return 0;
}

static const struct vq_graph *
graph_with(const struct judge *j, const char *input)
{
	const struct vq_graph *step = j->g->inc.step, *once = j->g->inc.once;

	if (vq_graph_find(step, input) != VQ_NONE)
		return step;
	return once && vq_graph_find(once, input) != VQ_NONE ? once : NULL;
}

/* Below what an input's integers must be; INT32_MAX when nothing looks them up. */
static int64_t
below(const struct vq_graph *g, const char *input)
{
	struct vq_places *of = vq_graph_places(g);
	vq_id v = vq_graph_find(g, input);
	int64_t limit = v != VQ_NONE && of[v].below < INT32_MAX ? of[v].below : INT32_MAX;

	free(of);
	return limit;
}

static int
check_inputs(struct judge *j, const struct vq_graph *g)
{
	int64_t rows = j->batch * j->g->streams;
	bool masked = j->s->method == VQ_METHOD_MASKED;
	struct vq_type token = { VQ_I32, { 2, { rows, masked ? j->s->length : 1 } } }, label = { VQ_I32, { 1, { rows } } };
	char is[VQ_TYPE_STR];

	for (vq_id v = 0; g && v < g->values; v++) {
		const struct vq_value *in = &g->value[v];
		if (in->kind != VQ_INPUT || (!masked && strcmp(in->name, "position") == 0))
			continue;
		bool is_token = strcmp(in->name, j->s->token) == 0, is_label = strcmp(in->name, "label") == 0;
		if (!is_token && !is_label) {
			vq_help(vq_error(j->d, VQ_CONFIG, &in->where, "sampling does not know what to give for the input "
			    "'%s' of graph %s", in->name, g->name),
			    "it gives tokens (the input named by token:, now %s) and classes (label)", j->s->token);
			return -1;
		}
		if (!vq_type_equal(&in->type, is_token ? &token : &label)) {
			struct vq_diag *e = vq_error(j->d, VQ_CONFIG, &in->where, "input %s must be %s, and is %s%s", in->name,
			    !is_token ? "i32[batch]" : masked ? "i32[batch, length]" : "i32[batch, time]",
			    vq_type_str(&in->type, is), masked ? "" : " at one position");
			if (masked && is_token)
				vq_note(e, NULL, "length is %lld", (long long)j->s->length);
			return -1;
		}
	}
	return 0;
}

static int
check_logits(struct judge *j)
{
	const struct vq_graph *step = j->g->inc.step;
	const struct vq_type *t = vq_type_at(step, vq_graph_find_output(step, j->s->value));
	bool masked = j->s->method == VQ_METHOD_MASKED;
	char is[VQ_TYPE_STR];

	if (t->dtype == VQ_F32 && t->shape.rank == 3 && t->shape.dim[0] == j->batch * j->g->streams &&
	    t->shape.dim[1] == (masked ? j->s->length : 1) && t->shape.dim[2] <= INT32_MAX) {
		j->g->vocab = t->shape.dim[2];
		return 0;
	}
	wrong(j, "value", "%s must be f32[batch, %s, vocabulary], and is %s%s", j->s->value, masked ? "length" : "time",
	    vq_type_str(t, is), masked ? "" : " at one position");
	return -1;
}

/* --- tokens and classes ---------------------------------------------------- */

static int
check_classes(struct judge *j)
{
	const struct vq_sample *s = j->s;
	bool masked = s->method == VQ_METHOD_MASKED, by_start = !masked && s->start_per_class && s->classes > 0;

	if (masked && s->classes > 0 && !j->labelled)
		wrong(j, "classes", "nothing tells graph %s the class: it has no input label", s->graph);
	else if (j->labelled && s->classes == 0)
		wrong(j, "classes", "graph %s has an input label: classes says how many there are", s->graph);
	else if (s->classes > 0 && !by_start && !j->labelled)
		wrong(j, "start_per_class", "nothing tells graph %s the class: it has no input label", s->graph);
	else if (s->guidance != 1 && s->classes == 0)
		wrong(j, "guidance", "is between a class and none, and there are no classes");
	else if (s->guidance != 1 && s->null < 0)
		wrong(j, "guidance", "null says which %s stands for no class", j->labelled ? "label" : "token");
	else if (s->guidance != 1 && j->labelled && by_start)
		wrong(j, "guidance", "the class is said by the first token and by label, and null stands for one of them: "
		    "set start_per_class: false");
	else
		return 0;
	return -1;
}

/* Every token and label that the graph is given must be one that it has a place for. */
static int
check_vocabulary(struct judge *j)
{
	const struct vq_sample *s = j->s;
	const struct vq_graph *of = j->labelled ? graph_with(j, "label") : NULL;
	int64_t tokens = below(j->g->inc.step, s->token), labels = of ? below(of, "label") : INT32_MAX;
	bool masked = s->method == VQ_METHOD_MASKED;
	int64_t last = s->start + (s->start_per_class && s->classes > 0 ? s->classes - 1 : 0);

	if (masked && s->mask >= tokens)
		wrong(j, "mask", "is %lld, and graph %s knows tokens below %lld", (long long)s->mask, s->graph, (long long)tokens);
	else if (masked && s->steps > s->length)
		wrong(j, "steps", "are %lld, and each fixes one token at least of %lld", (long long)s->steps,
		    (long long)s->length);
	else if (!masked && last >= tokens)
		wrong(j, "start", "the first token is up to %lld, and graph %s knows tokens below %lld", (long long)last,
		    s->graph, (long long)tokens);
	else if (j->labelled && s->classes > labels)
		wrong(j, "classes", "there are %lld, and graph %s knows labels below %lld", (long long)s->classes, s->graph,
		    (long long)labels);
	else if (s->null >= 0 && s->null >= (j->labelled ? labels : tokens))
		wrong(j, "null", "is %lld, and graph %s knows %s below %lld", (long long)s->null, s->graph,
		    j->labelled ? "labels" : "tokens", (long long)(j->labelled ? labels : tokens));
	else if (s->codes > j->g->vocab)
		wrong(j, "codes", "are %lld, and %s is of %lld tokens", (long long)s->codes, s->value, (long long)j->g->vocab);
	else if (j->most >= tokens && s->length > 1)
		wrong(j, "codes", "tokens up to %lld may be drawn, and graph %s knows tokens below %lld", (long long)j->most,
		    s->graph, (long long)tokens);
	else
		return 0;
	return -1;
}

/* Finds the largest token that may be drawn: the mask never is. */
static int
check_forbidden(struct judge *j)
{
	const struct vq_sample *s = j->s;
	int64_t limit = s->codes > 0 && s->codes < j->g->vocab ? s->codes : j->g->vocab;
	bool *never = vq_alloc_array((size_t)j->g->vocab + 1, sizeof(*never));
	int error = 0;

	for (int i = 0; i < s->forbids && error == 0; i++) {
		if (s->forbid[i] >= j->g->vocab) {
			wrong(j, "forbid", "%lld is no token: %s is of %lld", (long long)s->forbid[i], s->value,
			    (long long)j->g->vocab);
			error = -1;
			break;
		}
		never[s->forbid[i]] = true;
	}
	if (s->method == VQ_METHOD_MASKED && s->mask < j->g->vocab)
		never[s->mask] = true;
	for (j->most = limit - 1; j->most >= 0 && never[j->most]; j->most--)
		;
	if (error == 0 && j->most < 0) {
		wrong(j, "forbid", "leaves no token to draw");
		error = -1;
	}
	free(never);
	return error;
}

/* --- decoding -------------------------------------------------------------- */

/* The graph that decodes is of another number of codes than are drawn. */
static void
wrong_codes(struct judge *j, const struct vq_type *t)
{
	const struct vq_sample *s = j->s;
	char is[VQ_TYPE_STR];
	int64_t codes = vq_shape_span(&t->shape, 1, t->shape.rank);

	if (s->grid.count + s->window.count == 0) {
		wrong(j, "decode", "graph %s wants %lld codes a picture (%s is %s), and length is %lld", s->decode,
		    (long long)codes, s->decode_input, vq_type_str(t, is), (long long)s->length);
		return;
	}
	vq_help(wrong(j, "decode", "graph %s wants %lld codes a picture (%s is %s), and %s is %lld x %lld", s->decode,
	    (long long)codes, s->decode_input, vq_type_str(t, is), s->grid.count > 0 ? "grid" : "window", (long long)j->g->h,
	    (long long)j->g->w), "an input i32[batch, rows, columns], with names in place of numbers, takes any grid");
}

static int
check_decode_input(struct judge *j, const struct vq_graph *g)
{
	const struct vq_sample *s = j->s;
	vq_id v = vq_graph_find(g, s->decode_input);
	const struct vq_type *t = v == VQ_NONE ? NULL : vq_type_at(g, v);
	char is[VQ_TYPE_STR];

	for (vq_id i = 0; i < g->values; i++)
		if (g->value[i].kind == VQ_INPUT && (v == VQ_NONE || i != v)) {
			wrong(j, "decode", v == VQ_NONE ? "graph %s has no input '%s', but '%s'" :
			    "graph %s has, beside %s, an input '%s', which is not known here", s->decode, s->decode_input,
			    g->value[i].name);
			return -1;
		}
	if (v == VQ_NONE || g->value[v].kind != VQ_INPUT) {
		wrong(j, "decode", "graph %s has no input '%s'", s->decode, s->decode_input);
		return -1;
	}
	if (t->dtype != VQ_I32 || t->shape.rank < 2 || t->shape.dim[0] != j->batch) {
		wrong(j, "decode", "input %s of graph %s must be of codes, i32[batch, ...], and is %s", s->decode_input,
		    s->decode, vq_type_str(t, is));
		return -1;
	}
	int64_t codes = vq_shape_span(&t->shape, 1, t->shape.rank), side = vq_order_side(codes), codes_below = below(g, s->decode_input);
	bool grid = t->shape.rank == 3;
	if (codes != j->g->tokens || (grid && s->grid.count + s->window.count > 0 && t->shape.dim[1] != j->g->h)) {
		wrong_codes(j, t);
		return -1;
	}
	if (grid || s->grid.count + s->window.count == 0) {
		j->g->h = grid ? t->shape.dim[1] : side > 0 ? side : 1;
		j->g->w = codes / j->g->h;
	}
	if (s->order != VQ_ORDER_RASTER && t->shape.rank != 3 && side < 0) {
		wrong(j, "order", "%s is of a grid, and %lld codes are no square one: give graph %s an input i32[batch, h, w]",
		    vq_order_names[s->order], (long long)codes, s->decode);
		return -1;
	}
	if (j->most >= codes_below) {
		vq_help(wrong(j, "codes", "tokens up to %lld may be drawn, and graph %s has codes below %lld",
		    (long long)j->most, s->decode, (long long)codes_below), "codes: %lld forbids the others", (long long)codes_below);
		return -1;
	}
	return 0;
}

static int
check_decode_value(struct judge *j, struct vq_graph *g)
{
	const struct vq_sample *s = j->s;
	vq_id v = vq_graph_find_output(g, s->decode_value);
	struct vq_suggest near;
	char is[VQ_TYPE_STR];

	if (v == VQ_NONE) {
		struct vq_diag *e = wrong(j, "decode", "graph %s has no value '%s'", s->decode, s->decode_value);
		vq_suggest_start(&near, s->decode_value);
		for (int i = 0; i < g->outputs; i++)
			vq_suggest_try(&near, g->output[i].name);
		if (near.best)
			vq_help(e, "there is a value with a similar name: %s", near.best);
		return -1;
	}
	const struct vq_type *t = vq_type_at(g, v);
	if (t->dtype != VQ_F32 || t->shape.rank != 4 || t->shape.dim[0] != j->batch) {
		wrong(j, "decode", "%s must be pictures, f32[batch, h, w, channels], and is %s", s->decode_value,
		    vq_type_str(t, is));
		return -1;
	}
	j->g->picture = vq_type_of(VQ_F32, 3, t->shape.dim + 1);
	g->outputs = g->stores = 0;
	vq_graph_output(g, s->decode_value, v);
	return 0;
}

static int
make_decode(struct judge *j)
{
	struct vq_size size[VQ_MAX_RANK];
	int n = vq_window_sizes(j->m, j->s, j->batch, j->g->h, j->g->w, size, j->d);

	if (n < 0)
		return -1;
	j->g->decode = vq_model_expand(j->m, j->s->decode, false, size, n, j->d);
	if (j->g->decode == NULL || check_decode_input(j, j->g->decode) < 0 ||
	    (j->g->high > 0 && vq_window_same(j->m, j->s, j->g, j->g->decode, j->d) < 0))
		return -1;
	return check_decode_value(j, j->g->decode);
}

/* --- all of it ------------------------------------------------------------- */

int
vq_sample_graphs(const struct vq_model *m, const struct vq_sample *s, int64_t batch, struct vq_sample_graphs *g,
    struct vq_diags *d)
{
	struct judge j = { .m = m, .s = s, .batch = batch, .g = g, .d = d };

	*g = (struct vq_sample_graphs){ .streams = s->guidance == 1 ? 1 : 2 };
	if (vq_window_shape(s, g, d) < 0)
		return -1;
	if ((s->method == VQ_METHOD_MASKED ? expand_whole(&j) : grow(&j)) < 0)
		return -1;
	j.labelled = graph_with(&j, "label") != NULL;
	if (check_inputs(&j, g->inc.step) < 0 || check_inputs(&j, g->inc.once) < 0 || check_logits(&j) < 0)
		return -1;
	if (graph_with(&j, s->token) == NULL) {
		wrong(&j, "token", "graph %s has no input '%s' that %s depends on", s->graph, s->token, s->value);
		return -1;
	}
	if (check_classes(&j) < 0 || check_forbidden(&j) < 0 || check_vocabulary(&j) < 0)
		return -1;
	return make_decode(&j);
}

void
vq_sample_graphs_free(struct vq_sample_graphs *g)
{
	vq_incremental_free(&g->inc);
	vq_graph_free(g->decode);
	g->decode = NULL;
}

struct vq_graph *
vq_sample_step(const struct vq_model *m, const struct vq_sample *s, int64_t batch, struct vq_diags *d)
{
	struct vq_sample_graphs g;
	struct vq_graph *step = NULL;

	if (vq_sample_graphs(m, s, batch, &g, d) == 0) {
		step = g.inc.step;
		g.inc.step = NULL;
	}
	vq_sample_graphs_free(&g);
	return step;
}

int
vq_sample_bind(const struct vq_model *m, const struct vq_sample *s, struct vq_vars *vars, uint64_t seed,
    struct vq_diags *d)
{
	struct vq_size size[] = { { s->time, s->length }, { "batch", 1 } };
	struct vq_sample_graphs g;
	int error = vq_sample_graphs(m, s, 1, &g, d);

	if (error == 0) {
		/* The whole graph has the same parameters, and no cache that would be taken for one. */
		struct vq_graph *whole = s->method == VQ_METHOD_MASKED ? vq_model_expand(m, s->graph, false, size + 1, 1, d) :
		    vq_model_expand(m, s->graph, false, size, 2, d);
		error = whole == NULL || vq_vars_bind(vars, whole, seed, d) < 0 || vq_vars_bind(vars, g.decode, seed, d) < 0 ?
		    -1 : 0;
		vq_graph_free(whole);
	}
	vq_sample_graphs_free(&g);
	return error;
}
