/*
 * interp -- the obvious executor
 */
#include "tests/interp.h"

#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "ops/kernels/kernels.h"

/* Exactly as large as needed, so that a sanitizer sees an overrun. */
static void *
aligned_room(size_t bytes)
{
	void *p;

	if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0)
		abort();
	memset(p, 0, bytes);
	return p;
}

struct interp *
interp_new(const struct vq_graph *g)
{
	struct interp *p = vq_alloc(sizeof(*p));

	p->g = g;
	p->data = vq_alloc_array((size_t)g->values + 1, sizeof(*p->data));
	for (vq_id v = 0; v < g->values; v++)
		p->data[v] = g->value[v].kind == VQ_CONST ? (void *)(uintptr_t)g->value[v].constant :
		    aligned_room(vq_type_bytes(&g->value[v].type));
	return p;
}

void
interp_free(struct interp *p)
{
	for (vq_id v = 0; v < p->g->values; v++)
		if (p->g->value[v].kind != VQ_CONST)
			free(p->data[v]);
	free(p->data);
	free(p);
}

struct vq_view
interp_view(const struct interp *p, vq_id v)
{
	return (struct vq_view){ p->data[v], &p->g->value[v].type };
}

double
interp_scalar(const struct interp *p, vq_id v)
{
	struct vq_view view = interp_view(p, v);

	return vq_get(&view, 0);
}

/* The composition as a graph of its own. */
static void
run_composition(const struct vq_op *op, const void *params, const struct vq_view *in, int nin,
    const struct vq_view *out, int nout, uint64_t key)
{
	struct vq_diags diags = { 0 };
	struct vq_graph *g = vq_graph_new(op->name, &diags);
	vq_id from[VQ_MAX_IN], to[VQ_MAX_OUT];

	for (int i = 0; i < nin; i++) {
		char name[16];
		snprintf(name, sizeof(name), "in%d", i);
		from[i] = vq_graph_leaf(g, VQ_INPUT, name, in[i].type);
	}
	op->compose(&(struct vq_compose){ .to = g, .params = params, .nin = nin, .in = from, .key = key, .out = to });
	struct interp *p = interp_new(g);
	for (int i = 0; i < nin; i++)
		memcpy(p->data[from[i]], in[i].data, vq_type_bytes(in[i].type));
	interp_run(p);
	for (int i = 0; i < nout; i++) {
		vq_assert(to[i] != VQ_NONE && vq_type_equal(&g->value[to[i]].type, out[i].type));
		memcpy(out[i].data, p->data[to[i]], vq_type_bytes(out[i].type));
	}
	interp_free(p);
	vq_graph_free(g);
	vq_diags_free(&diags);
}

void
interp_op(const struct vq_op *op, const void *params, const struct vq_view *in, int nin,
    const struct vq_view *out, int nout, uint64_t key)
{
	struct vq_type in_type[VQ_MAX_IN], out_type[VQ_MAX_OUT];
	struct vq_cost cost = { .params = params, .nin = nin, .nout = nout, .in = in_type, .out = out_type,
	    .threads = 1 };
	struct vq_call call = { .params = params, .nin = nin, .nout = nout, .in = in, .out = out,
	    .k = vq_kernels(), .threads = 1, .key = { .seed = 1, .purpose = key } };

	if (op->ref == NULL && op->compose != NULL) {
		run_composition(op, params, in, nin, out, nout, key);
		return;
	}
	for (int i = 0; i < nin; i++)
		in_type[i] = *in[i].type;
	for (int i = 0; i < nout; i++)
		out_type[i] = *out[i].type;
	if (op->scratch)
		call.scratch = aligned_room(op->scratch(&cost));
	if (op->ref)
		op->ref(&call);
	else if (op->flags & VQ_OP_ALIAS)
		memcpy(out[0].data, in[0].data, vq_type_bytes(out[0].type));
	else
		vq_bug("%s has neither ref nor compose", op->name);
	free(call.scratch);
}

void
interp_run(struct interp *p)
{
	for (int i = 0; i < p->g->nodes; i++) {
		const struct vq_node *n = &p->g->node[i];
		struct vq_view in[VQ_MAX_IN], out[VQ_MAX_OUT];
		vq_assert(n->epilogue == NULL);
		for (int j = 0; j < n->nin; j++)
			in[j] = interp_view(p, n->in[j]);
		for (int j = 0; j < n->nout; j++)
			out[j] = interp_view(p, n->out + j);
		interp_op(n->op, n->params, in, n->nin, out, n->nout, n->key);
	}
}
