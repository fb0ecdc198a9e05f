/*
 * compile -- the list of passes
 */
#include "engine/compile.h"

#include <stdlib.h>
#include <string.h>

#include "engine/passes.h"
#include "engine/plan.h"

/* The passes in order; plan follows and is not a rewriting. */
static const char *const names[] = { "expand", "lower", "simplify", "precision", "recompute", "fuse", "order", "narrow", "plan", NULL };

const char *const *
vq_pass_names(void)
{
	return names;
}

struct passing {
	const struct vq_compile *how;
	double started;
};

/* Around every pass: verify, dump, time. */
static void
after(struct passing *s, const struct vq_graph *g, const char *pass)
{
	const struct vq_compile *how = s->how;
	bool asked = how->dump_pass && strcmp(how->dump_pass, pass) == 0;
#ifdef VQ_DEBUG
	bool verify = true;
#else
	bool verify = asked;
#endif
	double seconds = vq_now() - s->started;

	if (verify)
		vq_graph_verify(g, pass);
	if (asked)
		vq_graph_text(g, how->dump);
	if (how->timings)
		vq_text_add(how->dump, "%-10s %8.3f ms  %5d nodes\n", pass, 1e3 * seconds, g->nodes);
	s->started = vq_now();
}

struct vq_plan *
vq_compile(struct vq_graph *g, const struct vq_compile *how, struct vq_diags *d)
{
	static const struct vq_compile plain;
	struct passing s = { how ? how : &plain, vq_now() };
	struct vq_plan *p;

	how = s.how;
	if (vq_diags_status(d) != VQ_OK) {
		vq_graph_free(g);
		return NULL;
	}
	after(&s, g, "expand");
	g = vq_pass_lower(g, how->reference);
	after(&s, g, "lower");
	g = vq_pass_simplify(g);
	g = vq_pass_simplify(g);	/* what the first left for folding */
	after(&s, g, "simplify");
	if (how->bf16)
		g = vq_pass_precision(g);
	after(&s, g, "precision");
	g = vq_pass_sweep(vq_pass_recompute(g, how));	/* what is only read where it was computed again */
	after(&s, g, "recompute");
	if (!how->no_fuse && !how->reference) {
		g = vq_pass_fuse(g);
		after(&s, g, "fuse");
	}
	if (!how->reference) {
		g = vq_pass_order(g);
		after(&s, g, "order");
	}
	if (how->bf16 && !how->reference && !how->no_narrow) {
		g = vq_pass_narrow(g);
		after(&s, g, "narrow");
	}

	p = vq_alloc(sizeof(*p));
	p->graph = g;
	p->threads = how->threads > 0 ? how->threads : vq_threads();
	p->steps = g->nodes;
	p->step = vq_alloc_array((size_t)g->nodes + 1, sizeof(*p->step));
	p->place = vq_alloc_array((size_t)g->values + 1, sizeof(*p->place));
	vq_plan_memory(p);
	vq_plan_steps(p, how->reference);
	after(&s, g, "plan");
	return p;
}

void
vq_plan_free(struct vq_plan *p)
{
	if (p == NULL)
		return;
	if (p->owns_memory)
		free(p->memory);
	vq_graph_free(p->graph);
	free(p->place);
	free(p->step);
	free(p->copy);
	free(p->base);
	free(p->view);
	free(p->view_of);
	free(p);
}

/* --- what a node costs --------------------------------------------------- */

struct vq_cost
vq_cost_of(const struct vq_graph *g, const struct vq_node *n, struct vq_type *in, struct vq_type *out, bool kept)
{
	for (int j = 0; j < n->nin; j++)
		in[j] = *(kept ? vq_kept_type(g, n->in[j]) : vq_type_at(g, n->in[j]));
	for (int j = 0; j < n->nout; j++)
		out[j] = *(kept ? vq_kept_type(g, n->out + j) : vq_type_at(g, n->out + j));
	return (struct vq_cost){ .params = n->params, .nin = n->nin, .nout = n->nout, .in = in, .out = out,
	    .epilogue = n->epilogue, .threads = 1 };
}

double
vq_node_flops(const struct vq_graph *g, int node)
{
	const struct vq_node *n = &g->node[node];
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];
	struct vq_cost c = vq_cost_of(g, n, in, out, true);
	double elements = (double)vq_shape_count(&out[0].shape);
	double own = (n->op->flags & VQ_OP_ALIAS) ? 0 : n->op->flops ? n->op->flops(&c) : elements;

	return own + (n->epilogue ? n->epilogue->ninstr * elements : 0);
}

double
vq_node_bytes(const struct vq_graph *g, int node)
{
	const struct vq_node *n = &g->node[node];
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];
	struct vq_cost c = vq_cost_of(g, n, in, out, true);
	double sum = 0;

	if (n->op->flags & VQ_OP_ALIAS)
		return 0;
	if (n->op->bytes)
		return n->op->bytes(&c);
	for (int j = 0; j < n->nin; j++)
		sum += (double)vq_type_bytes(&in[j]);
	for (int j = 0; j < n->nout; j++)
		sum += (double)vq_type_bytes(&out[j]);
	return sum;
}

double
vq_plan_flops(const struct vq_plan *p)
{
	double sum = 0;

	for (int i = 0; i < p->graph->nodes; i++)
		sum += vq_node_flops(p->graph, i);
	return sum;
}
