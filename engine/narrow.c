/*
 * narrow -- what is rounded to bf16 anyway is bf16 in memory
 *
 * A value is kept so where its maker can write it so and all who read it can take it so (op.h,
 * `half`), and either each of them rounds it in any case, or it has been rounded already.  So the
 * bits of a step are those without this pass; half the bytes are written, kept for gradients and read.
 *
 * Nodes and types stay: only `kept` of a value is set, which plan and executor go by.
 */
#include <stdlib.h>

#include "engine/op.h"
#include "engine/passes.h"

enum { LEAST = 4096 };		/* elements: smaller values are not worth it */

struct narrow {
	struct vq_graph *g;
	vq_id *root;		/* by value: whose memory it is */
	bool *never, *as_is;	/* by root: some reader takes no bf16; some would not round */
};

static bool
is_alias(const struct vq_node *n, vq_id v)
{
	return n && (n->op->flags & VQ_OP_ALIAS) && v == n->out;
}

/* Whether a node is nothing but a rounding. */
static bool
rounds(const struct vq_node *n)
{
	struct vq_ewise_instr instr;

	return (n->op->flags & VQ_OP_ELEMENTWISE) && n->op->ewise && n->op->ewise(n->params, &instr) && instr.op == VQ_EW_BF16;
}

static enum vq_half
takes(const struct narrow *s, const struct vq_node *n, int j)
{
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];
	struct vq_cost c = vq_cost_of(s->g, n, in, out, false);
	int own = vq_node_own_inputs(n);

	if (j >= own)
		return n->epilogue->mode[1 + j - own] == VQ_EWISE_FULL ? VQ_HALF_AS_IS : VQ_HALF_NOT;
	enum vq_half how = n->op->half ? n->op->half(&c, j, false) : VQ_HALF_NOT;
	return how == VQ_HALF_AS_IS && rounds(n) ? VQ_HALF_ROUNDED : how;
}

static void
look_at_readers(struct narrow *s)
{
	const struct vq_graph *g = s->g;

	for (int i = 0; i < g->nodes; i++) {
		const struct vq_node *n = &g->node[i];
		for (int j = 0; j < n->nin; j++) {
			enum vq_half how = is_alias(n, n->out) ? VQ_HALF_ROUNDED : takes(s, n, j);
			s->never[s->root[n->in[j]]] |= how == VQ_HALF_NOT;
			s->as_is[s->root[n->in[j]]] |= how == VQ_HALF_AS_IS;
		}
	}
	for (int i = 0; i < g->outputs; i++)
		s->never[s->root[g->output[i].value]] = true;
	for (int i = 0; i < g->stores; i++)
		s->never[s->root[g->store[i].value]] = true;
}

/* Whether register r of a program holds numbers of bf16; in: its operands, VQ_NONE for an epilogue's own. */
static bool
is_round(const struct narrow *s, const struct vq_ewise *p, const vq_id *in, int r)
{
	if (r < p->nin)
		return in[r] != VQ_NONE && s->g->value[s->root[in[r]]].kept;
	const struct vq_ewise_instr *x = &p->instr[r - p->nin];
	switch (x->op) {
	case VQ_EW_BF16:
		return true;
	case VQ_EW_COPY:
	case VQ_EW_NEG:
	case VQ_EW_ABS:
	case VQ_EW_RELU:
	case VQ_EW_GATE:
		return is_round(s, p, in, x->a);
	default:
		return false;
	}
}

/* Whether a node's first result has been rounded. */
static bool
makes_round(const struct narrow *s, const struct vq_node *n)
{
	const struct vq_ewise *p = n->epilogue;
	struct vq_ewise one = { .nin = n->nin, .ninstr = 1 };
	vq_id in[VQ_EWISE_INS + VQ_MAX_IN] = { VQ_NONE };
	int own = vq_node_own_inputs(n);

	if (p) {
		for (int j = own; j < n->nin; j++)
			in[1 + j - own] = n->in[j];
		return is_round(s, p, in, p->nin + p->ninstr - 1);
	}
	for (int j = 0; j < n->nin; j++)
		in[j] = n->in[j];
	if (n->op->size == sizeof(*p) && n->op->params == NULL)
		p = n->params;			/* fused */
	else if ((n->op->flags & VQ_OP_ELEMENTWISE) && n->op->ewise && n->op->ewise(n->params, &one.instr[0]))
		p = &one;
	return p && is_round(s, p, in, p->nin + p->ninstr - 1);
}

static bool
may_be_half(const struct narrow *s, vq_id v)
{
	const struct vq_graph *g = s->g;
	const struct vq_node *n = vq_node_of(g, v);
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];

	if (n == NULL || s->root[v] != v || s->never[v] || g->value[v].type.dtype != VQ_F32 ||
	    vq_shape_count(&g->value[v].type.shape) < LEAST || n->op->half == NULL)
		return false;
	struct vq_cost c = vq_cost_of(g, n, in, out, false);
	if (n->op->half(&c, g->value[v].port, true) == VQ_HALF_NOT)
		return false;
	return !s->as_is[v] || (v == n->out && makes_round(s, n));
}

struct vq_graph *
vq_pass_narrow(struct vq_graph *g)
{
	size_t n = (size_t)g->values + 1;
	struct narrow s = { .g = g, .root = vq_alloc_array(n, sizeof(*s.root)),
	    .never = vq_alloc_array(n, sizeof(*s.never)), .as_is = vq_alloc_array(n, sizeof(*s.as_is)) };

	for (vq_id v = 0; v < g->values; v++)
		s.root[v] = is_alias(vq_node_of(g, v), v) ? s.root[vq_node_of(g, v)->in[0]] : v;
	look_at_readers(&s);
	for (vq_id v = 0; v < g->values; v++)
		if (may_be_half(&s, s.root[v])) {
			struct vq_type t = g->value[v].type;

			t.dtype = VQ_BF16;
			g->value[v].kept = vq_arena_copy(&g->arena, &t, sizeof(t));
		}
	free(s.root);
	free(s.never);
	free(s.as_is);
	return g;
}
