/*
 * bench_profile -- `vqgraph bench --profile`: a roofline of each kind of node
 *
 * A node can take no less time than its operations at the speed of a matrix product, nor
 * than its bytes at that of copying memory; the larger of the two is its bound (Williams,
 * Waterman, Patterson 2009).  What is in a cache moves faster than that: more than
 * 100 % of memory is no mistake.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench.h"

/* Below this share of both roofs it is neither that bounds. */
static const double reached_least = 0.5;

/* All nodes of one kind, in one step. */
struct kind {
	const char *name;
	int nodes;
	double s, flops, bytes;
	double arithmetic, memory;	/* seconds of those nodes that each bounds */
};

static int
by_time(const void *a, const void *b)
{
	double x = ((const struct kind *)a)->s, y = ((const struct kind *)b)->s;

	return (x < y) - (x > y);
}

static void
add_node(struct kind *k, const struct vq_bench_profile *p, int i)
{
	const struct vq_graph *g = p->plan->graph;
	double flops = vq_node_flops(g, i), bytes = vq_node_bytes(g, i);
	double arithmetic = flops / (1e9 * p->roof_gflops), memory = bytes / (1e9 * p->copy_gb_per_s);

	k->nodes++;
	k->s += p->node_s[i];
	k->flops += flops;
	k->bytes += bytes;
	if (arithmetic >= memory)
		k->arithmetic += arithmetic;
	else
		k->memory += memory;
}

static struct kind *
sum_kinds(const struct vq_bench_profile *p, int *count, struct kind *all)
{
	const struct vq_graph *g = p->plan->graph;
	struct kind *kind = vq_alloc_array((size_t)g->nodes + 1, sizeof(*kind));
	int n = 0;

	*all = (struct kind){ .name = "all" };
	for (int i = 0; i < g->nodes; i++) {
		int k = 0;

		while (k < n && strcmp(kind[k].name, g->node[i].op->name) != 0)
			k++;
		n += k == n;
		kind[k].name = g->node[i].op->name;
		add_node(&kind[k], p, i);
		add_node(all, p, i);
	}
	qsort(kind, (size_t)n, sizeof(*kind), by_time);
	*count = n;
	return kind;
}

static double
reached(const struct kind *k)
{
	return k->s > 0 ? (k->arithmetic + k->memory) / k->s : 0;
}

static const char *
nearer_roof(const struct kind *k)
{
	return k->arithmetic >= k->memory ? "arithmetic" : "memory";
}

static const char *
bound_of(const struct kind *k)
{
	return reached(k) < reached_least ? "overhead" : nearer_roof(k);
}

json_t *
vq_bench_profile_json(const struct vq_bench_profile *p)
{
	json_t *list = json_array();
	struct kind all, *kind;
	int n;

	kind = sum_kinds(p, &n, &all);
	for (int i = 0; i < n; i++) {
		const struct kind *k = &kind[i];
		json_t *j = json_object();

		json_object_set_new(j, "op", json_string(k->name));
		json_object_set_new(j, "nodes", json_integer(k->nodes));
		json_object_set_new(j, "ms", json_real(1e3 * k->s));
		json_object_set_new(j, "share", vq_json_real(k->s / all.s));
		json_object_set_new(j, "gflops", vq_json_real(k->flops / k->s / 1e9));
		json_object_set_new(j, "gb_per_s", vq_json_real(k->bytes / k->s / 1e9));
		json_object_set_new(j, "least_ms", vq_json_real(1e3 * (k->arithmetic + k->memory)));
		json_object_set_new(j, "roof", json_string(nearer_roof(k)));
		json_object_set_new(j, "reached", vq_json_real(reached(k)));
		json_object_set_new(j, "bound", json_string(bound_of(k)));
		json_array_append_new(list, j);
	}
	free(kind);
	return list;
}

static void
add_row(struct vq_table *t, const struct kind *k, double whole)
{
	double s = k->s > 0 ? k->s : INFINITY;

	vq_table_cell(t, "%s", k->name);
	vq_table_cell(t, "%d", k->nodes);
	vq_table_cell(t, "%.3f", 1e3 * k->s);
	vq_table_cell(t, "%.1f %%", whole > 0 ? 100 * k->s / whole : 0.0);
	vq_table_cell(t, "%.1f", k->flops / s / 1e9);
	vq_table_cell(t, "%.1f", k->bytes / s / 1e9);
	vq_table_cell(t, "%.3f", 1e3 * (k->arithmetic + k->memory));
	vq_table_cell(t, "%s", k->s > 0 ? bound_of(k) : "");
	vq_table_cell(t, k->s > 0 ? "%.0f %% of %s" : "", 100 * reached(k), nearer_roof(k));
}

void
vq_bench_profile_print(const struct vq_cli *c, const struct vq_bench_profile *p)
{
	static const char *const title[] = { "op", "nodes", "ms", "share", "GFLOP/s", "GB/s", "least ms",
	    "bound", "reached" };
	static const bool right[] = { false, true, true, true, true, true, true, false, false };
	struct vq_table t = { .columns = VQ_COUNT(title), .title = title, .right = right };
	struct vq_text out = { 0 };
	struct kind all, *kind;
	int n;

	kind = sum_kinds(p, &n, &all);
	for (int i = 0; i < n; i++)
		add_row(&t, &kind[i], all.s);
	add_row(&t, &all, all.s);
	vq_table_end(&t, c->color_out, &out);
	vq_text_add(&out, "roofs: %.1f GFLOP/s of a matrix product, %.1f GB/s of copying memory\n", p->roof_gflops,
	    p->copy_gb_per_s);
	fwrite(out.s, 1, out.len, stdout);
	vq_text_free(&out);
	free(kind);
}
