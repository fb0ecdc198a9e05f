/*
 * precision -- products in bf16
 *
 * An op that can take its operands rounded to bf16 has a parameter `precision`; where that is
 * auto and the result f32, it becomes bf16.  Sums, weights, optimizers, norms, softmax, losses
 * and distances to codes stay f32, and so does what a model file fixes with `precision: f32`.
 *
 * What such a product makes for an activation, which the gradient reads once more, is rounded
 * to bf16, too, so that it can be kept so (narrow.c): a node of its own, `round_bf16`, so that the
 * numbers do not depend on what is fused, kept or computed again.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "engine/passes.h"

struct precision {
	const struct vq_graph *g;
	int *uses;
	bool *round;		/* by value */
};

static int
precision_of(const struct vq_node *n, const struct vq_param **p)
{
	*p = n->op->params ? vq_param_find(n->op->params, "precision") : NULL;
	if (*p == NULL || (*p)->kind != VQ_P_ENUM)
		return VQ_NONE;
	return *(const int *)((const char *)n->params + (*p)->offset);
}

static bool
says(const struct vq_node *n, const char *what)
{
	const struct vq_param *p;
	int is = precision_of(n, &p);

	return is != VQ_NONE && strcmp(p->choices[is], what) == 0;
}

/* The parameters of a node that is auto once they say bf16. */
static void *
rounded(struct vq_graph *to, const struct vq_node *n)
{
	void *params = vq_arena_copy(&to->arena, n->params, n->op->size);
	const struct vq_param *p;
	char why[VQ_WHY];

	precision_of(n, &p);
	int error = vq_param_set(p, params, "bf16", why);
	vq_assert(error == 0);
	return params;
}

static bool
becomes_bf16(const struct vq_graph *g, const struct vq_node *n)
{
	return says(n, "auto") && vq_type_at(g, n->out)->dtype == VQ_F32;
}

/* --- what is rounded ------------------------------------------------------ */

static bool
is_elementwise(const struct vq_node *n, struct vq_ewise_instr *instr)
{
	*instr = (struct vq_ewise_instr){ 0 };
	return (n->op->flags & VQ_OP_ELEMENTWISE) && n->op->ewise && n->op->ewise(n->params, instr);
}

/* Whether v is a product that can be made in bf16, or will be once it is fused. */
static bool
is_product(struct precision *p, vq_id v)
{
	const struct vq_node *n = vq_node_of(p->g, v);
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];

	if (n == NULL || n->backward || v != n->out || !(n->op->flags & VQ_OP_EPILOGUE) || n->op->half == NULL ||
	    !(says(n, "bf16") || becomes_bf16(p->g, n)))
		return false;
	struct vq_cost c = vq_cost_of(p->g, n, in, out, false);
	struct vq_graph room = { 0 };
	c.params = says(n, "bf16") ? n->params : rounded(&room, n);
	bool makes = n->op->half(&c, 0, true) != VQ_HALF_NOT;
	vq_arena_free(&room.arena);
	return makes;
}

/* The product itself, or with a bias. */
static bool
is_linear(struct precision *p, vq_id v)
{
	const struct vq_node *n = vq_node_of(p->g, v);

	if (is_product(p, v))
		return true;
	if (n == NULL || n->backward || strcmp(n->op->name, "add") != 0)
		return false;
	for (int j = 0; j < 2; j++)
		if (p->uses[n->in[j]] == 1 && is_product(p, n->in[j]) &&
		    vq_shape_equal(&vq_type_at(p->g, n->in[j])->shape, &vq_type_at(p->g, v)->shape) &&
		    vq_shape_count(&vq_type_at(p->g, n->in[!j])->shape) < vq_shape_count(&vq_type_at(p->g, v)->shape))
			return true;
	return false;
}

/* Sets round for what activations read now and their gradients later, and nothing else.  The gradient
 * of relu reads its result, which is as round as what it was made of. */
static void
find_rounded(struct precision *p)
{
	const struct vq_graph *g = p->g;
	bool *later = vq_alloc_array((size_t)g->values + 1, sizeof(*later));
	bool *other = vq_alloc_array((size_t)g->values + 1, sizeof(*other));

	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		struct vq_ewise_instr instr;
		bool elementwise = is_elementwise(n, &instr);
		for (int j = 0; j < n->nin; j++) {
			later[n->in[j]] |= n->backward || (instr.op == VQ_EW_RELU && later[n->out]);
			other[n->in[j]] |= !elementwise || (!n->backward && n->nin > 1) ||
			    !vq_shape_equal(&vq_type_at(g, n->in[j])->shape, &vq_type_at(g, n->out)->shape);
		}
	}
	for (int i = 0; i < g->outputs; i++)
		other[g->output[i].value] = true;
	for (int i = 0; i < g->stores; i++)
		other[g->store[i].value] = true;
	for (vq_id v = 0; v < g->values; v++)
		p->round[v] = later[v] && !other[v] && is_linear(p, v);
	free(later);
	free(other);
}

static void
visit(struct vq_rewrite *r, int node)
{
	const struct precision *p = r->arg;
	const struct vq_node *n = &r->from->node[node];

	if (becomes_bf16(r->from, n))
		vq_rewrite_copy_as(r, node, rounded(r->to, n));
	else
		vq_rewrite_copy(r, node);
	if (p->round[n->out])
		r->map[n->out] = vq_unary(r->to, "round_bf16", r->map[n->out]);
}

struct vq_graph *
vq_pass_precision(struct vq_graph *g)
{
	struct precision p = { .g = g, .uses = vq_graph_uses(g), .round = vq_alloc_array((size_t)g->values + 1, sizeof(*p.round)) };

	find_rounded(&p);
	struct vq_graph *to = vq_graph_rewrite(g, visit, &p);
	free(p.uses);
	free(p.round);
	vq_graph_free(g);
	return to;
}
