/*
 * dump_layout -- places boxes in layers, top to bottom
 *
 * After Sugiyama, Tagawa, Toda 1981: layers by longest path, a bend in every
 * layer a line passes, orders by medians of the neighbours, then coordinates by
 * pulling each box towards its neighbours without overlap.  Lines may lead
 * back (rows that are interleaved with others): those are drawn as they lie.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "tools/dump.h"

enum {
	CHAR_W = 7, LINE_H = 16, PAD = 12, GAP_X = 28, GAP_Y = 44, MARGIN = 24,
	BEND_W = 10, SWEEPS = 12, PULLS = 24
};

/* Boxes by layer, in order. */
struct layers {
	struct vq_picture *p;
	int **box;
	int *count, *cap;
	int n;
	int *at;		/* by box: its index in its layer */
	int **near;		/* by box: the boxes above, then those below it */
	int *above, *below;
};

static void
size_box(struct vq_box *b)
{
	const char *const lines[] = { b->title, b->what, b->type, b->note };
	int widest = 0, n = 0;

	for (size_t i = 0; i < VQ_COUNT(lines); i++) {
		int columns = vq_utf8_columns(lines[i]);

		widest = columns > widest ? columns : widest;
		n += columns > 0;
	}
	b->w = b->kind == VQ_BOX_BEND ? BEND_W : widest * CHAR_W + 2 * PAD;
	b->h = b->kind == VQ_BOX_BEND ? 0 : n * LINE_H + PAD;
}

/* Longest path from the sources; a line that leads back to an earlier box counts for nothing. */
static int
assign_layers(struct vq_picture *p)
{
	int deepest = 0;

	for (int pass = 0, changed = 1; changed && pass <= p->boxes; pass++) {
		changed = 0;
		for (int i = 0; i < p->lines; i++) {
			const struct vq_line *l = &p->line[i];

			if (l->from < l->to && p->box[l->to].layer <= p->box[l->from].layer) {
				p->box[l->to].layer = p->box[l->from].layer + 1;
				changed = 1;
			}
		}
	}
	/* A source stands right above the first that reads it. */
	for (int b = 0; b < p->boxes; b++) {
		int least = -1;
		bool source = true;

		for (int i = 0; i < p->lines; i++) {
			source &= p->line[i].to != b;
			if (p->line[i].from == b && (least < 0 || p->box[p->line[i].to].layer < least))
				least = p->box[p->line[i].to].layer;
		}
		if (source && least > 0)
			p->box[b].layer = least - 1;
	}
	for (int b = 0; b < p->boxes; b++)
		if (p->box[b].layer > deepest)
			deepest = p->box[b].layer;
	return deepest + 1;
}

static void
add_bends(struct vq_picture *p)
{
	for (int i = 0; i < p->lines; i++) {
		int from = p->box[p->line[i].from].layer, to = p->box[p->line[i].to].layer;

		p->line[i].bend = p->boxes;
		p->line[i].bends = to > from + 1 ? to - from - 1 : 0;
		for (int k = 0; k < p->line[i].bends; k++) {
			int bend = vq_picture_box(p, VQ_BOX_BEND);

			p->box[bend].layer = from + 1 + k;
		}
	}
}

static void
put(struct layers *l, int box)
{
	int k = l->p->box[box].layer;

	vq_grow(l->box[k], l->count[k], l->cap[k]);
	l->at[box] = l->count[k];
	l->box[k][l->count[k]++] = box;
}

/* Calls fn for each piece of each line between neighbouring layers. */
static void
each_piece(struct layers *l, void (*fn)(struct layers *l, int upper, int lower))
{
	const struct vq_picture *p = l->p;

	for (int i = 0; i < p->lines; i++) {
		int last = p->line[i].from;

		if (p->box[p->line[i].to].layer <= p->box[last].layer)
			continue;
		for (int k = 0; k < p->line[i].bends; k++) {
			fn(l, last, p->line[i].bend + k);
			last = p->line[i].bend + k;
		}
		fn(l, last, p->line[i].to);
	}
}

static void
count_piece(struct layers *l, int upper, int lower)
{
	l->below[upper]++;
	l->above[lower]++;
}

static void
note_piece(struct layers *l, int upper, int lower)
{
	int *a = l->near[lower], *b = l->near[upper];

	a[1 + a[0]++] = upper;
	(b + 1 + l->above[upper])[1 + (b + 1 + l->above[upper])[0]++] = lower;
}

static void
make_layers(struct layers *l)
{
	int n = l->p->boxes;

	l->box = vq_alloc_array((size_t)l->n, sizeof(*l->box));
	l->count = vq_alloc_array((size_t)l->n, sizeof(*l->count));
	l->cap = vq_alloc_array((size_t)l->n, sizeof(*l->cap));
	l->at = vq_alloc_array((size_t)n + 1, sizeof(*l->at));
	l->above = vq_alloc_array((size_t)n + 1, sizeof(*l->above));
	l->below = vq_alloc_array((size_t)n + 1, sizeof(*l->below));
	l->near = vq_alloc_array((size_t)n + 1, sizeof(*l->near));
	for (int b = 0; b < n; b++)
		put(l, b);
	each_piece(l, count_piece);
	for (int b = 0; b < n; b++)
		l->near[b] = vq_alloc_array((size_t)(l->above[b] + l->below[b]) + 2, sizeof(**l->near));
	each_piece(l, note_piece);
}

static void
free_layers(struct layers *l)
{
	for (int k = 0; k < l->n; k++)
		free(l->box[k]);
	for (int b = 0; b < l->p->boxes; b++)
		free(l->near[b]);
	free(l->box);
	free(l->count);
	free(l->cap);
	free(l->at);
	free(l->above);
	free(l->below);
	free(l->near);
}

/* The neighbours on one side: a count, then as many boxes; near[] has both, one after the other. */
static const int *
side(const struct layers *l, int box, bool up)
{
	return up ? l->near[box] : l->near[box] + 1 + l->above[box];
}

/* --- order ----------------------------------------------------------------- */

struct key {
	int box;
	double at;
};

static int
by_key(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : x->box - y->box;
}

/* Orders a layer by the mean place of its neighbours above or below. */
static void
order_layer(struct layers *l, int layer, bool up)
{
	int n = l->count[layer];
	struct key *key = vq_alloc_array((size_t)n + 1, sizeof(*key));

	for (int i = 0; i < n; i++) {
		int box = l->box[layer][i];
		const int *s = side(l, box, up);
		double sum = 0;

		for (int j = 1; j <= s[0]; j++) {
			int neighbours = l->count[l->p->box[s[j]].layer];

			sum += (l->at[s[j]] + 0.5) / neighbours;
		}
		key[i] = (struct key){ box, s[0] ? sum / s[0] : (i + 0.5) / n };
	}
	qsort(key, (size_t)n, sizeof(*key), by_key);
	for (int i = 0; i < n; i++) {
		l->box[layer][i] = key[i].box;
		l->at[key[i].box] = i;
	}
	free(key);
}

/* --- coordinates ----------------------------------------------------------- */

static double
apart(const struct vq_box *a, const struct vq_box *b)
{
	return (a->w + b->w) / 2 + GAP_X;
}

/* Where the neighbours of a box would have it; its own place when it has none. */
static double
wish(const struct layers *l, int box, bool up)
{
	const int *s = side(l, box, up);
	double sum = 0;

	for (int i = 1; i <= s[0]; i++)
		sum += l->p->box[s[i]].x;
	return s[0] ? sum / s[0] : l->p->box[box].x;
}

/* Moves a layer's boxes to where they wish to be, as far as their order lets them:
 * the mean of the leftmost and the rightmost arrangement that keeps them apart. */
static void
pull_layer(struct layers *l, int layer, bool up)
{
	int n = l->count[layer], *order = l->box[layer];
	struct vq_box *box = l->p->box;
	double *right = vq_alloc_array((size_t)n + 1, sizeof(*right));
	double *left = vq_alloc_array((size_t)n + 1, sizeof(*left));

	for (int i = 0; i < n; i++)
		left[i] = right[i] = wish(l, order[i], up);
	for (int i = 1; i < n; i++) {
		double least = right[i - 1] + apart(&box[order[i - 1]], &box[order[i]]);

		right[i] = right[i] < least ? least : right[i];
	}
	for (int i = n - 2; i >= 0; i--) {
		double most = left[i + 1] - apart(&box[order[i]], &box[order[i + 1]]);

		left[i] = left[i] > most ? most : left[i];
	}
	for (int i = 0; i < n; i++)
		box[order[i]].x = (left[i] + right[i]) / 2;
	free(right);
	free(left);
}

static void
place_rows(struct layers *l)
{
	struct vq_picture *p = l->p;
	double y = MARGIN, least = 0, most = 0;

	for (int k = 0; k < l->n; k++) {
		double tallest = 0;

		for (int i = 0; i < l->count[k]; i++)
			if (p->box[l->box[k][i]].h > tallest)
				tallest = p->box[l->box[k][i]].h;
		for (int i = 0; i < l->count[k]; i++)
			p->box[l->box[k][i]].y = y + tallest / 2;
		y += tallest + GAP_Y;
	}
	p->height = y - GAP_Y + MARGIN;
	for (int b = 0; b < p->boxes; b++) {
		double from = p->box[b].x - p->box[b].w / 2, to = p->box[b].x + p->box[b].w / 2;

		least = b == 0 || from < least ? from : least;
		most = b == 0 || to > most ? to : most;
	}
	for (int b = 0; b < p->boxes; b++)
		p->box[b].x += MARGIN - least;
	p->width = most - least + 2 * MARGIN;
}

void
vq_picture_layout(struct vq_picture *p)
{
	struct layers l = { .p = p };

	l.n = assign_layers(p);
	add_bends(p);
	for (int b = 0; b < p->boxes; b++)
		size_box(&p->box[b]);
	make_layers(&l);
	for (int i = 0; i < SWEEPS; i++)
		for (int k = 0; k < l.n; k++)
			order_layer(&l, i % 2 ? l.n - 1 - k : k, i % 2 == 0);
	for (int k = 0; k < l.n; k++)
		for (int i = 1; i < l.count[k]; i++) {
			struct vq_box *b = &p->box[l.box[k][i]], *a = &p->box[l.box[k][i - 1]];

			b->x = a->x + apart(a, b);
		}
	for (int i = 0; i < PULLS; i++)
		for (int k = 0; k < l.n; k++)
			pull_layer(&l, i % 2 ? l.n - 1 - k : k, i % 2 == 0);
	place_rows(&l);
	free_layers(&l);
}
