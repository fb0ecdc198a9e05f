/*
 * sample_window -- codes on a grid that is larger than what the graph sees
 *
 * The graph knows a window of the grid, row by row (Esser et al. 2021, section 3.3): each
 * code is drawn from those of a window around it that stand before, the one in which it is
 * as central as the borders allow.  Where the window is that of the code before, one
 * position is computed; where it has moved, all positions up to the code's, since each
 * has another code now.
 */
#include <string.h>

#include "engine/sample_private.h"

/* --- shapes ---------------------------------------------------------------- */

int64_t
vq_sample_tokens(const struct vq_sample *s)
{
	return s->grid.count > 0 ? s->grid.v[0] * s->grid.v[s->grid.count - 1] : s->length;
}

void
vq_sample_window(const struct vq_sample *s, int64_t *h, int64_t *w)
{
	int64_t side = vq_order_side(s->length);

	*h = *w = side > 0 ? side : 0;
	if (s->window.count > 0) {
		*h = s->window.v[0];
		*w = s->window.v[s->window.count - 1];
	}
}

static int
check_grid(const struct vq_sample *s, const struct vq_sample_graphs *g, struct vq_diags *d)
{
	const struct vq_range *at = vq_sample_at(s, "grid");

	if (g->h < g->high || g->w < g->wide)
		vq_error(d, VQ_CONFIG, at, "grid: %lld x %lld codes are fewer than the window's, %lld x %lld", (long long)g->h,
		    (long long)g->w, (long long)g->high, (long long)g->wide);
	else if (g->tokens > VQ_SAMPLE_MOST)
		vq_error(d, VQ_CONFIG, at, "grid: %lld x %lld are more than a million codes", (long long)g->h, (long long)g->w);
	else if (g->tokens > s->length && s->order != VQ_ORDER_RASTER)
		vq_error(d, VQ_CONFIG, vq_sample_at(s, "order"), "order: a window slides over a grid row by row, and the order is %s",
		    vq_order_names[s->order]);
	else
		return 0;
	return -1;
}

int
vq_window_shape(const struct vq_sample *s, struct vq_sample_graphs *g, struct vq_diags *d)
{
	g->tokens = vq_sample_tokens(s);
	vq_sample_window(s, &g->h, &g->w);
	if (s->window.count > 0 && g->h * g->w != s->length) {
		vq_error(d, VQ_CONFIG, vq_sample_at(s, "window"), "window: %lld x %lld are %lld codes, and length is %lld",
		    (long long)g->h, (long long)g->w, (long long)(g->h * g->w), (long long)s->length);
		return -1;
	}
	if (s->grid.count == 0)
		return 0;
	if (g->h == 0) {
		vq_help(vq_error(d, VQ_CONFIG, vq_sample_at(s, "grid"), "grid: %lld codes are no square, so what part of a grid they "
		    "are is not known", (long long)s->length), "window says its rows and columns");
		return -1;
	}
	g->high = g->h;
	g->wide = g->w;
	g->h = s->grid.v[0];
	g->w = s->grid.v[s->grid.count - 1];
	if (check_grid(s, g, d) < 0)
		return -1;
	if (g->tokens == s->length)
		g->high = g->wide = 0;
	return 0;
}

/* --- decoding -------------------------------------------------------------- */

/* One size more, unless the graph gives it a number; -1 when it has another value already. */
static int
add_size(struct vq_size *size, int *n, const char *name, int64_t value)
{
	if (name == NULL)
		return 0;
	for (int i = 0; i < *n; i++)
		if (strcmp(size[i].name, name) == 0)
			return size[i].value == value ? 0 : -1;
	size[(*n)++] = (struct vq_size){ name, value };
	return 0;
}

/* Free sizes must be the batch and those of the codes. */
static int
check_sizes(const struct vq_model *m, const struct vq_sample *s, const struct vq_size *size, int n, struct vq_diags *d)
{
	const char *name[8];
	int names = vq_model_free_sizes(m, s->decode, name, (int)VQ_COUNT(name));

	for (int i = 0; i < names && i < (int)VQ_COUNT(name); i++) {
		bool known = false;
		for (int k = 0; k < n; k++)
			known |= strcmp(size[k].name, name[i]) == 0;
		if (known)
			continue;
		vq_error(d, VQ_CONFIG, vq_sample_at(s, "decode"), "decode: graph %s has a free size '%s'; sampling knows batch, and "
		    "those of its input %s", s->decode, name[i], s->decode_input);
		return -1;
	}
	return 0;
}

int
vq_window_sizes(const struct vq_model *m, const struct vq_sample *s, int64_t batch, int64_t h, int64_t w,
    struct vq_size size[VQ_MAX_RANK], struct vq_diags *d)
{
	const char *input, *axis[VQ_MAX_RANK] = { 0 };
	const struct vq_range *at = vq_sample_at(s, "decode");
	int rank = 0, n = 0, i = 0, error = 0;

	while ((input = vq_model_input(m, s->decode, i++, &rank, axis)) != NULL && strcmp(input, s->decode_input) != 0)
		;
	size[n++] = (struct vq_size){ "batch", batch };
	if (input && h > 0 && rank == 2)
		error = add_size(size, &n, axis[1], h * w);
	else if (input && h > 0 && rank == 3)
		error = add_size(size, &n, axis[1], h) | add_size(size, &n, axis[2], w);
	else if (input && ((rank > 1 && axis[1]) || (rank > 2 && axis[2]))) {
		vq_help(vq_error(d, VQ_CONFIG, at, "decode: how many rows and columns of codes graph %s gets is not known: %lld are no "
		    "square", s->decode, (long long)s->length), "window says them");
		return -1;
	}
	if (error < 0) {
		vq_error(d, VQ_CONFIG, at, "decode: %s of graph %s has one size for several axes, and codes are %lld x %lld",
		    s->decode_input, s->decode, (long long)h, (long long)w);
		return -1;
	}
	return check_sizes(m, s, size, n, d) < 0 ? -1 : n;
}

/* The variable of a graph by name, VQ_NONE: none. */
static vq_id
variable(const struct vq_graph *g, const char *name)
{
	vq_id v = vq_graph_find(g, name);

	return v != VQ_NONE && (g->value[v].kind == VQ_PARAM || g->value[v].kind == VQ_STATE) ? v : VQ_NONE;
}

/* The first variable of a that b does not have like that, or NULL. */
static const char *
lacking(const struct vq_graph *a, const struct vq_graph *b)
{
	for (vq_id v = 0; v < a->values; v++) {
		const struct vq_value *val = &a->value[v];
		if (val->kind != VQ_PARAM && val->kind != VQ_STATE)
			continue;
		vq_id there = variable(b, val->name);
		if (there == VQ_NONE || !vq_type_equal(vq_type_at(b, there), &val->type))
			return val->name;
	}
	return NULL;
}

int
vq_window_same(const struct vq_model *m, const struct vq_sample *s, const struct vq_sample_graphs *k,
    const struct vq_graph *g, struct vq_diags *d)
{
	struct vq_diags unheard = { 0 };		/* a graph of one size alone is not asked */
	struct vq_size size[VQ_MAX_RANK];
	int n = vq_window_sizes(m, s, 1, k->high, k->wide, size, &unheard);
	struct vq_graph *small = n < 0 ? NULL : vq_model_expand(m, s->decode, false, size, n, &unheard);
	const char *name = NULL;
	int error = 0;

	if (small && ((name = lacking(small, g)) != NULL || (name = lacking(g, small)) != NULL)) {
		vq_help(vq_error(d, VQ_CONFIG, vq_sample_at(s, "decode"), "decode: graph %s is not the same net for %lld x %lld codes as "
		    "for %lld x %lld: only one of them has %s like this", s->decode, (long long)k->h, (long long)k->w,
		    (long long)k->high, (long long)k->wide, name),
		    "what depends on the height of an image, as attention of vqgan_decoder, is said for the height it was trained at "
		    "by its grid, as in grid: %lld", (long long)k->high);
		error = -1;
	}
	vq_graph_free(small);
	vq_diags_free(&unheard);
	return error;
}

/* --- drawing --------------------------------------------------------------- */

/* Where a window of that length begins for what stands at a place of an axis. */
static int64_t
edge(int64_t at, int64_t window, int64_t size)
{
	int64_t from = at - window / 2;

	return from < 0 ? 0 : from > size - window ? size - window : from;
}

static bool
all_given(const struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, int64_t t)
{
	for (int64_t b = 0; b < n; b++)
		if (w->known == NULL || w->known[(first + b) * s->length + s->cell[t]] < 0)
			return false;
	return true;
}

/* The rows' tokens at a position of the window whose upper left code is at `corner`. */
static void
give(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t corner, int64_t position)
{
	int64_t before = position - 1, cell = corner + before / s->g.wide * s->g.w + before % s->g.wide;

	if (position == 0) {
		vq_sampler_begin(s, w, first);
		return;
	}
	for (int64_t row = 0; row < s->rows; row++)
		s->token[row] = s->code[row % s->batch * s->length + cell];
}

int
vq_window_draw(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d)
{
	int64_t corner = -1, done = 0;		/* the window, and how many of its positions are computed */
	struct vq_view logits;

	for (int64_t t = 0; t < s->length; t++) {
		if (w->signal && *w->signal)
			return 1;
		if (all_given(s, w, first, n, t)) {
			if (vq_sampler_choose(s, w, NULL, first, n, t, d) < 0)
				return -1;
			continue;
		}
		int64_t row = t / s->g.w, column = t % s->g.w;
		int64_t top = edge(row, s->g.high, s->g.h), left = edge(column, s->g.wide, s->g.w);
		if (top * s->g.w + left != corner) {
			corner = top * s->g.w + left;
			done = 0;
		}
		for (; done <= (row - top) * s->g.wide + column - left; done++) {
			give(s, w, first, corner, done);
			s->position = (int32_t)done;
			vq_plan_run(s->step, w->seed, 0);
		}
		vq_plan_output(s->step, s->how->value, &logits);
		if (vq_sampler_choose(s, w, logits.data, first, n, t, d) < 0)
			return -1;
	}
	return 0;
}
