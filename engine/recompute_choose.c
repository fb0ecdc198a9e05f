/*
 * recompute_choose -- what is not worth its memory
 *
 * A model of the plan, made before nodes are fused: when each value is alive, with what is
 * dropped so far.  At the node where most is alive, every value that is not touched there but
 * read later could be dropped, if its op is cheap.  The one that saves most bytes per second goes,
 * and with it its likes in other layers; then the model is made again, until nothing at the
 * peak can go or the time is spent.  What turned out not to be needed is taken back at the end.
 *
 * Time is counted in bytes that memory could have moved.
 */
#include "engine/recompute.h"

#include <stdlib.h>

#include "engine/compile.h"
#include "engine/op.h"
#include "engine/plan.h"

static const double most_time = 0.05;		/* of the step's, counted so; measured it is less than half */
static const double least_saved = 0.05;		/* of the peak, or all is left as it is */
static const double alike = 0.98;		/* in bytes per time */

enum {
	PARTS = 512,		/* of the peak: smaller values are not looked at */
	DEPTH = 6		/* nodes one after the other that bring one value back */
};

/* One value that could go. */
struct victim {
	vq_id root;
	double gain, cost;
	int after;		/* the node whose reading it is computed again for */
	vq_id with[DEPTH];	/* what is not kept on the way to it, either */
	int withs;
};

struct choice {
	const struct vq_graph *g;
	struct vq_again *a;
	double flops_per_byte;
	vq_id *root;		/* by value: whose memory it is */
	int64_t *size;		/* by root: bytes in the arena */
	bool *output;		/* by root: read after the last node */
	bool *tried;		/* by root: in vain */
	bool *fused;		/* by root: in no memory while only its first reader reads it */
	int *at;		/* by root: its readers are reader[at[r]] up to reader[at[r + 1]] */
	int *reader;
	int *end;		/* by root: last node that reads it as it was made first */
	int *again;		/* by root: the node before which it is computed again, or VQ_NONE */
	int *end_again;
	int64_t *scratch, *alive;	/* by node */
	int peak;		/* node */
	double spent, most;	/* of time */
	struct victim *gone;
	int gones, gone_cap;
};

/* --- what nodes cost ----------------------------------------------------- */

static bool
is_elementwise(const struct vq_node *n)
{
	return n->op->flags & VQ_OP_ELEMENTWISE;
}

/* In bytes; 0: it must not be computed again. */
static double
cost_again(const struct choice *c, int node)
{
	const struct vq_node *n = &c->g->node[node];
	double times = n->op->again;

	if (times == 0 && is_elementwise(n))
		times = 1.5;
	if (times == 0 && n->op->flags & (VQ_OP_MOVES | VQ_OP_ALIAS))
		times = 1;
	return times * (vq_node_bytes(c->g, node) + vq_node_flops(c->g, node) / c->flops_per_byte + 1);
}

/* The whole step; elementwise nodes mostly become part of others. */
static double
cost_of_step(const struct choice *c)
{
	double sum = 0;

	for (int i = 0; i < c->g->nodes; i++)
		if (!is_elementwise(&c->g->node[i]))
			sum += vq_node_bytes(c->g, i) + vq_node_flops(c->g, i) / c->flops_per_byte;
	return sum;
}

/* --- when values are alive ----------------------------------------------- */

static bool
has_memory(const struct choice *c, vq_id r)
{
	return c->g->value[r].kind == VQ_COMPUTED;
}

static void
find_roots(struct choice *c)
{
	const struct vq_graph *g = c->g;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_node *n = vq_node_of(g, v);

		c->root[v] = n && (n->op->flags & VQ_OP_ALIAS) && v == n->out ? c->root[n->in[0]] : v;
		c->size[v] = n && c->root[v] == v ? (int64_t)vq_type_bytes(&g->value[v].type) : 0;
	}
	for (int i = 0; i < g->outputs; i++)
		c->output[c->root[g->output[i].value]] = true;
	for (int i = 0; i < g->stores; i++)
		c->size[g->store[i].value] = 0;		/* in the leaf's own memory */
}

static void
find_readers(struct choice *c)
{
	const struct vq_graph *g = c->g;
	int *next = vq_alloc_array((size_t)g->values + 1, sizeof(*next));

	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin; j++)
			c->at[c->root[g->node[i].in[j]] + 1]++;
	for (vq_id v = 0; v < g->values; v++) {
		c->at[v + 1] += c->at[v];
		next[v] = c->at[v];
	}
	c->reader = vq_alloc_array((size_t)c->at[g->values] + 1, sizeof(*c->reader));
	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin; j++)
			c->reader[next[c->root[g->node[i].in[j]]]++] = i;
	free(next);
}

/* What will be a part of its only reader, as fuse.c mostly has it. */
static void
find_fused(struct choice *c)
{
	const struct vq_graph *g = c->g;

	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_node *n = vq_node_of(g, v), *reader = &g->node[c->reader[c->at[v]]];

		c->fused[v] = c->size[v] > 0 && !c->output[v] && c->at[v + 1] - c->at[v] == 1 && v == n->out &&
		    n->op->flags & (VQ_OP_ELEMENTWISE | VQ_OP_EPILOGUE) && is_elementwise(reader) &&
		    vq_shape_equal(&g->value[v].type.shape, &g->value[reader->out].type.shape);
	}
}

static void bring(struct choice *c, vq_id r, int now);

/* At node now v is read: as it was, or as it is computed again.  Views that were taken of
 * the second copy are views of that. */
static void
touch(struct choice *c, vq_id v, int now, bool again)
{
	vq_id r = c->root[v];

	if (!has_memory(c, r))
		return;
	again &= c->a->dropped[v];
	again |= v != r && c->g->value[v].node >= c->a->from[r];
	if (!again || !c->a->dropped[r]) {
		c->end[r] = now > c->end[r] ? now : c->end[r];
		return;
	}
	if (c->again[r] == VQ_NONE)
		bring(c, r, now);
	c->end_again[r] = now;
}

/* As recompute.c does. */
static void
bring(struct choice *c, vq_id r, int now)
{
	const struct vq_node *n = &c->g->node[c->g->value[r].node];

	for (int o = 0; o < n->nout; o++)
		if (c->a->dropped[n->out + o])
			c->again[n->out + o] = c->end_again[n->out + o] = now;
	for (int j = 0; j < n->nin; j++)
		touch(c, n->in[j], now, true);
}

static bool
dies_at(const struct choice *c, vq_id v, int now)
{
	vq_id r = c->root[v];

	return has_memory(c, r) && !c->output[r] && (c->again[r] == VQ_NONE ? c->end[r] : c->end_again[r]) == now;
}

/* Bytes of node i's outputs that take over the memory of inputs. */
static int64_t
shared(const struct choice *c, int i)
{
	const struct vq_node *n = &c->g->node[i];
	int64_t sum = 0;

	for (int j = 0; j < n->nin; j++)		/* an epilogue: its product comes before it reads */
		if (c->fused[c->root[n->in[j]]] && vq_node_of(c->g, c->root[n->in[j]])->op->flags & VQ_OP_EPILOGUE)
			return 0;
	for (int o = 0; o < n->nout; o++)
		for (int j = 0; j < n->nin; j++)
			if (dies_at(c, n->in[j], i) && vq_plan_may_share(c->g, n, o, j)) {
				sum += c->size[n->out + o];
				break;
			}
	return sum;
}

static void
add_alive(struct choice *c, int64_t bytes, int from, int to)
{
	c->alive[from] += bytes;
	c->alive[to + 1] -= bytes;
}

/* Fills end, again, end_again, alive and peak for what is dropped now. */
static int64_t
simulate(struct choice *c)
{
	const struct vq_graph *g = c->g;
	int64_t sum = 0, most = 0;

	for (vq_id v = 0; v < g->values; v++) {
		c->end[v] = g->value[v].kind == VQ_COMPUTED ? g->value[v].node : 0;
		c->again[v] = c->end_again[v] = VQ_NONE;
	}
	for (int i = 0; i <= g->nodes; i++)
		c->alive[i] = 0;
	for (int i = 0; i < g->nodes; i++)
		for (int j = 0; j < g->node[i].nin; j++)
			touch(c, g->node[i].in[j], i, i >= c->a->from[g->node[i].in[j]]);
	for (vq_id v = 0; v < g->values; v++) {
		if (c->size[v] == 0)
			continue;
		if (!c->fused[v] || c->end[v] != c->reader[c->at[v]])
			add_alive(c, c->size[v], g->value[v].node, c->output[v] ? g->nodes - 1 : c->end[v]);
		if (c->again[v] != VQ_NONE && !c->fused[v])
			add_alive(c, c->size[v], c->again[v], c->end_again[v]);
	}
	for (int i = 0; i < g->nodes; i++) {
		sum += c->alive[i];
		c->alive[i] = sum + c->scratch[i] - shared(c, i);
		if (c->alive[i] > most) {
			most = c->alive[i];
			c->peak = i;
		}
	}
	return most;
}

/* --- what could go -------------------------------------------------------- */

/* Adds what r takes to be there again at m->after; false when it is too much. */
static bool
way_to(const struct choice *c, struct victim *m, vq_id r)
{
	const struct vq_graph *g = c->g;
	const struct vq_node *n = &g->node[g->value[r].node];
	double cost = cost_again(c, g->value[r].node);

	if (cost == 0)
		return false;
	m->cost += cost;
	for (int j = 0; j < n->nin; j++) {
		vq_id q = c->root[n->in[j]];
		struct victim without = *m;
		bool known = !has_memory(c, q) || c->a->dropped[q] || c->output[q] || c->end[q] >= m->after;

		for (int k = 0; k < m->withs; k++)
			known |= m->with[k] == q;
		if (known)
			continue;
		if (m->withs < DEPTH) {
			m->with[m->withs++] = q;
			if (way_to(c, m, q)) {
				if (is_elementwise(n) && is_elementwise(vq_node_of(g, q)))
					m->cost -= 2 * (double)c->size[q];	/* in a register */
				continue;
			}
		}
		*m = without;
		m->gain -= c->end[q] < c->peak ? (double)c->size[q] : 0;	/* it is kept for longer */
		if (m->gain <= 0)
			return false;
	}
	return true;
}

/* Whether r lies idle at the peak, and what it would take to drop it. */
static bool
could_go(const struct choice *c, vq_id r, int64_t least, struct victim *m)
{
	const struct vq_value *v = &c->g->value[r];

	if (c->root[r] != r || !has_memory(c, r) || c->size[r] < least || c->output[r] || c->tried[r] ||
	    c->a->dropped[r] || v->node >= c->peak || c->end[r] <= c->peak)
		return false;
	*m = (struct victim){ .root = r, .gain = (double)c->size[r], .after = VQ_NONE };
	for (int k = c->at[r]; k < c->at[r + 1] && m->after == VQ_NONE; k++)
		if (c->reader[k] >= c->peak)
			m->after = c->reader[k];
	return m->after > c->peak && way_to(c, m, r);
}

static void
set_dropped(struct choice *c, vq_id root, int from, bool dropped)
{
	for (vq_id v = 0; v < c->g->values; v++)
		if (c->root[v] == root && c->g->value[v].node < from) {
			c->a->dropped[v] = dropped;
			c->a->from[v] = dropped ? from : c->g->nodes;
		}
}

static void
drop(struct choice *c, const struct victim *m)
{
	set_dropped(c, m->root, m->after, true);
	for (int k = 0; k < m->withs; k++)
		set_dropped(c, m->with[k], m->after, true);
	c->spent += m->cost;
	vq_grow(c->gone, c->gones, c->gone_cap);
	c->gone[c->gones++] = *m;
}

static void
take_back(struct choice *c, int from)
{
	while (c->gones > from) {
		const struct victim *m = &c->gone[--c->gones];

		set_dropped(c, m->root, m->after, false);
		for (int k = 0; k < m->withs; k++)
			set_dropped(c, m->with[k], m->after, false);
		c->spent -= m->cost;
		c->tried[m->root] = true;
	}
}

/* Drops the best value there is, with its likes; false when there is none. */
static bool
drop_best(struct choice *c)
{
	const struct vq_graph *g = c->g;
	int64_t least = c->alive[c->peak] / PARTS;
	struct victim m, best = { .root = VQ_NONE };

	for (vq_id v = 0; v < g->values; v++)
		if (could_go(c, v, least, &m) && c->spent + m.cost <= c->most &&
		    (best.root == VQ_NONE || m.gain * best.cost > best.gain * m.cost))
			best = m;
	if (best.root == VQ_NONE)
		return false;
	for (vq_id v = 0; v < g->values; v++)
		if (could_go(c, v, least, &m) && vq_node_of(g, v)->op == vq_node_of(g, best.root)->op &&
		    m.gain * best.cost >= alike * best.gain * m.cost && c->spent + m.cost <= c->most)
			drop(c, &m);
	return true;
}

/* What the peak is no higher without is kept after all. */
static void
spare(struct choice *c, int64_t peak)
{
	int64_t most = peak + peak / PARTS;

	for (int i = 0; i < c->gones; i++) {
		const struct victim *m = &c->gone[i];

		set_dropped(c, m->root, m->after, false);
		if (simulate(c) > most)
			set_dropped(c, m->root, m->after, true);
	}
}

static bool
choose(struct choice *c, int64_t keep_below)
{
	int64_t first = simulate(c), peak = first;

	if (first < keep_below)
		return false;
	for (int before = 0; drop_best(c); before = c->gones) {
		int at = c->peak;
		int64_t there = c->alive[at], now = simulate(c);

		if (now > peak || c->alive[at] >= there) {
			take_back(c, before);
			simulate(c);
		} else {
			peak = now;
		}
	}
	if ((double)peak > (1 - least_saved) * (double)first) {
		take_back(c, 0);
		return false;
	}
	spare(c, peak);
	return true;
}

bool
vq_recompute_choose(const struct vq_graph *g, struct vq_again *a, int64_t keep_below, double flops_per_byte, int threads)
{
	struct choice c = { .g = g, .a = a, .flops_per_byte = flops_per_byte };
	size_t values = (size_t)g->values + 2, nodes = (size_t)g->nodes + 2;

	c.root = vq_alloc_array(values, sizeof(*c.root));
	c.size = vq_alloc_array(values, sizeof(*c.size));
	c.output = vq_alloc_array(values, sizeof(*c.output));
	c.tried = vq_alloc_array(values, sizeof(*c.tried));
	c.fused = vq_alloc_array(values, sizeof(*c.fused));
	c.at = vq_alloc_array(values, sizeof(*c.at));
	c.end = vq_alloc_array(values, sizeof(*c.end));
	c.again = vq_alloc_array(values, sizeof(*c.again));
	c.end_again = vq_alloc_array(values, sizeof(*c.end_again));
	c.scratch = vq_alloc_array(nodes, sizeof(*c.scratch));
	c.alive = vq_alloc_array(nodes, sizeof(*c.alive));
	for (int i = 0; i < g->nodes; i++)
		c.scratch[i] = vq_plan_scratch(g, &g->node[i], threads);
	find_roots(&c);
	find_readers(&c);
	find_fused(&c);
	c.most = most_time * cost_of_step(&c);

	bool any = choose(&c, keep_below);

	free(c.root);
	free(c.size);
	free(c.output);
	free(c.tried);
	free(c.fused);
	free(c.at);
	free(c.reader);
	free(c.end);
	free(c.again);
	free(c.end_again);
	free(c.scratch);
	free(c.alive);
	free(c.gone);
	return any;
}
