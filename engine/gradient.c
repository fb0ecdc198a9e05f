/*
 * gradient -- reverse mode, graph to graph
 *
 * One loop from the node of the result down to the first: a node whose outputs
 * received gradients has its op's rule emit those of its inputs.  Contributions
 * to one value are added up here, and broadcasting is undone here, so that no
 * rule knows of either.
 */
#include <stdlib.h>

#include "engine/build.h"
#include "engine/op.h"

struct pass {
	struct vq_graph *g;
	int first;		/* nodes before this one are not differentiated */
	bool *needs;		/* by value: depends on something asked for */
	vq_id *grad;		/* by value: the gradient so far, or VQ_NONE */
};

/* The values whose gradient matters: on a floating path from a wanted one. */
static void
mark_needed(struct pass *p, const vq_id *wrt, int n)
{
	const struct vq_graph *g = p->g;

	for (int i = 0; i < n; i++)
		p->needs[wrt[i]] = true;
	for (int i = p->first; i < g->nodes; i++) {
		bool needed = false, stops = g->node[i].op->flags & VQ_OP_STOPS;
		for (int j = 0; j < g->node[i].nin && !stops; j++)
			needed |= p->needs[g->node[i].in[j]];
		for (int j = 0; needed && j < g->node[i].nout; j++)
			if (vq_is_float(g->value[g->node[i].out + j].type.dtype))
				p->needs[g->node[i].out + j] = true;
	}
}

static void
accumulate(struct pass *p, vq_id v, vq_id d)
{
	if (d == VQ_NONE)
		return;
	d = vq_sum_to(p->g, d, &p->g->value[v].type.shape);
	p->grad[v] = p->grad[v] == VQ_NONE ? d : vq_add(p->g, p->grad[v], d);
}

static int
no_gradient(const struct vq_graph *g, int node)
{
	const struct vq_node *n = &g->node[node];
	const struct vq_range *at = n->origin == VQ_NONE ? NULL : &g->origin[n->origin].at;
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, at, "%s has no gradient, and the loss depends on "
	    "parameters through it", n->op->name);

	vq_help(e, "put a stop step before it if no gradient is meant to flow there");
	vq_origin_notes(g, n->origin, e);
	return -1;
}

static int gradient_from(struct vq_graph *g, int first, vq_id y, vq_id cotangent,
    const vq_id *wrt, int n, vq_id *grads);

/* The composition is emitted again and differentiated in place of the node: it
 * alone, so that an input which depends on another counts once. */
static int
through_composition(struct pass *p, const struct vq_node *n, const vq_id *dout, const bool *want, vq_id *din)
{
	struct vq_graph *g = p->g;
	struct vq_compose c = { .to = g, .params = n->params, .nin = n->nin, .in = n->in, .key = n->key };
	vq_id out[VQ_MAX_OUT], wrt[VQ_MAX_IN], d[VQ_MAX_IN];
	int wanted = 0, first = g->nodes;

	for (int i = 0; i < VQ_MAX_OUT; i++)
		out[i] = VQ_NONE;
	c.out = out;
	n->op->compose(&c);
	for (int i = 0; i < n->nin; i++)
		if (want[i])
			wrt[wanted++] = n->in[i];
	for (int o = 0; o < n->nout; o++) {
		if (dout[o] == VQ_NONE)
			continue;
		if (gradient_from(g, first, out[o], dout[o], wrt, wanted, d) < 0)
			return -1;
		for (int i = 0, k = 0; i < n->nin; i++)
			if (want[i]) {
				din[i] = din[i] == VQ_NONE ? d[k] : vq_add(g, din[i], d[k]);
				k++;
			}
	}
	return 0;
}

/* A value that stands at two ports of one node would be counted twice by
 * through_composition: each port then gets the whole gradient. */
static void
drop_twins(const struct vq_node *n, bool *want)
{
	for (int i = 0; i < n->nin; i++)
		for (int j = 0; j < i; j++)
			if (n->in[i] == n->in[j])
				want[i] = false;
}

static int
visit(struct pass *p, int node)
{
	struct vq_graph *g = p->g;
	struct vq_node n = g->node[node];	/* a copy: the array moves as it grows */
	vq_id dout[VQ_MAX_OUT], din[VQ_MAX_IN];
	bool want[VQ_MAX_IN], any_out = false, any_in = false;

	for (int i = 0; i < n.nout; i++) {
		dout[i] = p->grad[n.out + i];
		any_out |= dout[i] != VQ_NONE;
	}
	for (int i = 0; i < n.nin; i++) {
		din[i] = VQ_NONE;
		want[i] = p->needs[n.in[i]] && vq_is_float(g->value[n.in[i]].type.dtype);
		any_in |= want[i];
	}
	if (!any_out || !any_in)
		return 0;
	if (g->backward)		/* else it is part of the step that asks for it */
		g->now = n.origin;
	if (n.op->grad) {
		n.op->grad(&(struct vq_grad){ .to = g, .op = n.op, .params = n.params, .nin = n.nin,
		    .nout = n.nout, .in = n.in, .out = n.out, .dout = dout, .want = want, .din = din,
		    .key = n.key });
	} else if (n.op->compose) {
		drop_twins(&n, want);
		if (through_composition(p, &n, dout, want, din) < 0)
			return -1;
	} else {
		return no_gradient(g, node);
	}
	for (int i = 0; i < n.nin; i++)
		if (want[i])
			accumulate(p, n.in[i], din[i]);
	return 0;
}

static int
gradient_from(struct vq_graph *g, int first, vq_id y, vq_id cotangent, const vq_id *wrt, int n, vq_id *grads)
{
	int nodes = g->nodes, values = g->values, error = 0;
	int32_t now = g->now;
	struct pass p = { .g = g, .first = first };

	p.needs = vq_alloc_array((size_t)values, sizeof(*p.needs));
	p.grad = vq_alloc_array((size_t)values, sizeof(*p.grad));
	for (int i = 0; i < values; i++)
		p.grad[i] = VQ_NONE;
	mark_needed(&p, wrt, n);
	if (cotangent != VQ_NONE && cotangent >= values)
		vq_bug("the cotangent must exist before the call");
	p.grad[y] = cotangent != VQ_NONE ? cotangent : vq_fill(g, &(struct vq_type){
	    g->value[y].type.dtype, g->value[y].type.shape }, 1);
	for (int i = nodes - 1; i >= first && error == 0; i--)
		error = visit(&p, i);
	for (int i = 0; i < n && error == 0; i++)
		grads[i] = p.grad[wrt[i]] != VQ_NONE ? p.grad[wrt[i]] : vq_fill(g, &(struct vq_type){
		    g->value[wrt[i]].type.dtype, g->value[wrt[i]].type.shape }, 0);
	g->now = now;
	free(p.needs);
	free(p.grad);
	return error;
}

int
vq_gradient(struct vq_graph *g, vq_id y, vq_id cotangent, const vq_id *wrt, int n, vq_id *grads)
{
	bool backward = g->backward;

	g->backward = true;
	int error = gradient_from(g, 0, y, cotangent, wrt, n, grads);
	g->backward = backward;
	return error;
}

int
vq_derivative(struct vq_graph *g, vq_id y, vq_id x, vq_id *grad)
{
	return gradient_from(g, 0, y, VQ_NONE, &x, 1, grad);
}

bool
vq_depends(const struct vq_graph *g, vq_id y, vq_id x)
{
	struct pass p = { .g = (struct vq_graph *)g, .needs = vq_alloc_array((size_t)g->values + 1, sizeof(bool)) };

	mark_needed(&p, &x, 1);
	bool found = p.needs[y];
	free(p.needs);
	return found;
}
