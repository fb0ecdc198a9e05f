/*
 * verify -- the invariants of the intermediate representation, checked
 */
#include <string.h>

#include "engine/graph.h"
#include "engine/op.h"

static void
verify_node(const struct vq_graph *g, int i, const char *pass)
{
	const struct vq_node *n = &g->node[i];

	if (n->nin > VQ_MAX_IN || n->nout < 1 || n->nout > VQ_MAX_OUT)
		vq_bug("after %s: node %d (%s) has %d inputs and %d outputs", pass, i, n->op->name, n->nin, n->nout);
	for (int j = 0; j < n->nin; j++) {
		if (n->in[j] < 0 || n->in[j] >= n->out)
			vq_bug("after %s: node %d (%s) uses value %d, which is not there yet", pass, i,
			    n->op->name, n->in[j]);
	}
	for (int j = 0; j < n->nout; j++) {
		const struct vq_value *v = &g->value[n->out + j];
		if (v->kind != VQ_COMPUTED || v->node != i || v->port != j)
			vq_bug("after %s: value %d does not know that node %d makes it", pass, n->out + j, i);
	}
	if (n->origin < VQ_NONE || n->origin >= g->origins)
		vq_bug("after %s: node %d (%s) has no origin %d", pass, i, n->op->name, n->origin);
	if (n->epilogue && !(n->op->flags & VQ_OP_EPILOGUE))
		vq_bug("after %s: node %d (%s) cannot have an epilogue", pass, i, n->op->name);
}

void
vq_graph_verify(const struct vq_graph *g, const char *pass)
{
	for (vq_id v = 0; v < g->values; v++) {
		if (!vq_type_valid(&g->value[v].type))
			vq_bug("after %s: value %d has no valid type", pass, v);
		if (g->value[v].kind != VQ_COMPUTED && g->value[v].kind != VQ_CONST &&
		    vq_graph_find(g, g->value[v].name) != v)
			vq_bug("after %s: the name %s does not lead to its leaf", pass, g->value[v].name);
	}
	for (int i = 0; i < g->nodes; i++)
		verify_node(g, i, pass);
	for (int i = 0; i < g->stores; i++) {
		const struct vq_store *s = &g->store[i];
		if (!vq_type_equal(&g->value[s->leaf].type, &g->value[s->value].type))
			vq_bug("after %s: the store to %s changes its type", pass, g->value[s->leaf].name);
	}
	for (int i = 0; i < g->outputs; i++)
		if (g->output[i].value < 0 || g->output[i].value >= g->values)
			vq_bug("after %s: output %s leads nowhere", pass, g->output[i].name);
}
