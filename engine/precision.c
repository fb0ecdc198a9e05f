/*
 * precision -- products in bf16
 *
 * An op that can take its operands rounded to bf16 has a parameter `precision`; where that is
 * auto and the result f32, it becomes bf16.  Sums, weights, optimizers, norms, softmax, losses
 * and distances to codes stay f32, and so does what a model file fixes with `precision: f32`.
 *
 * What such a product makes for an activation, which the gradient reads once more, is rounded
 * to bf16, too, so that it can be kept so (narrow.c): a node of its own, `round_bf16`, so that the
 * numbers do not depend on what is fused, kept or computed again.  The same holds for what lies
 * between products: norms, elementwise chains and their gradients.  What a loss, a search of codes or a
 * residual sum reads is not rounded.
 *
 * A convolution whose result is a gradient is told so: it may round sums of what it reads as well (Winograd's way).
 * Of what a model computes forward that costs reconstruction (ops/kernels/README.md), of gradients nothing that shows.
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

/* Who reads a value. */
struct readers {
	bool later;		/* gradients; of relu, that reads its result, which is as round as what it was made of */
	bool rounds;		/* a product that rounds it */
	bool norm;		/* a norm, or the gradient of one, that takes it as it is */
	bool walk;		/* someone who takes it as it is */
	bool step;		/* an elementwise step forward that reads nothing else */
	bool scaled;		/* one that scales or shifts it */
	bool other;		/* someone for whom it must not be rounded */
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

/* The parameters of a node that is auto once they say bf16, and that it makes a gradient if it does. */
static void *
rounded(struct vq_graph *to, const struct vq_node *n)
{
	void *params = vq_arena_copy(&to->arena, n->params, n->op->size);
	const struct vq_param *p, *gradient = vq_param_find(n->op->params, "gradient");
	char why[VQ_WHY];

	precision_of(n, &p);
	int error = vq_param_set(p, params, "bf16", why);
	if (gradient && n->backward)
		error |= vq_param_set(gradient, params, "true", why);
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

/* How a node takes an input, or makes an output, that is bf16 in memory, once its precision is. */
static enum vq_half
half_of(const struct precision *p, const struct vq_node *n, int port, bool out)
{
	struct vq_type in[VQ_MAX_IN], made[VQ_MAX_OUT];
	struct vq_cost c = vq_cost_of(p->g, n, in, made, false);
	struct vq_graph room = { 0 };

	if (n->op->half == NULL)
		return VQ_HALF_NOT;
	if (becomes_bf16(p->g, n))
		c.params = rounded(&room, n);
	enum vq_half how = n->op->half(&c, port, out);
	vq_arena_free(&room.arena);
	return how;
}

/* Whether v is a product that can be made in bf16, or will be once it is fused. */
static bool
is_product(const struct precision *p, vq_id v)
{
	const struct vq_node *n = vq_node_of(p->g, v);

	return n && v == n->out && (n->op->flags & VQ_OP_EPILOGUE) && (says(n, "bf16") || becomes_bf16(p->g, n)) &&
	    half_of(p, n, 0, true) != VQ_HALF_NOT;
}

static bool
same_shape(const struct precision *p, vq_id a, vq_id b)
{
	return vq_shape_equal(&vq_type_at(p->g, a)->shape, &vq_type_at(p->g, b)->shape);
}

/* Whether the inputs of a node besides port j are smaller than its result. */
static bool
others_are_small(const struct precision *p, const struct vq_node *n, int j)
{
	for (int k = 0; k < n->nin; k++)
		if (k != j && vq_shape_count(&vq_type_at(p->g, n->in[k])->shape) >= vq_shape_count(&vq_type_at(p->g, n->out)->shape))
			return false;
	return true;
}

/* The product itself, or with a bias. */
static bool
is_linear(const struct precision *p, vq_id v)
{
	const struct vq_node *n = vq_node_of(p->g, v);

	if (n == NULL || n->backward)
		return false;
	if (is_product(p, v))
		return true;
	if (strcmp(n->op->name, "add") != 0)
		return false;
	for (int j = 0; j < 2; j++)
		if (p->uses[n->in[j]] == 1 && is_product(p, n->in[j]) && same_shape(p, n->in[j], v) && others_are_small(p, n, j))
			return true;
	return false;
}

/* What a norm makes, scaled and shifted. */
static bool
is_scaled_norm(const struct precision *p, vq_id v)
{
	for (;;) {
		const struct vq_node *n = vq_node_of(p->g, v);
		struct vq_ewise_instr instr;
		int j = 0;

		if (n == NULL || v != n->out)
			return false;
		if (!is_elementwise(n, &instr))
			return !(n->op->flags & VQ_OP_EPILOGUE) && half_of(p, n, 0, false) == VQ_HALF_AS_IS && half_of(p, n, 0, true) != VQ_HALF_NOT;
		while (j < n->nin && !(same_shape(p, n->in[j], v) && others_are_small(p, n, j)))
			j++;
		if (n->nin < 2 || j == n->nin)
			return false;
		v = n->in[j];
	}
}

/* What an elementwise node makes of v; its result has v's shape or v is for something else. */
static void
look_at_walk(const struct precision *p, struct readers *r, const struct vq_node *n, int j, const struct vq_ewise_instr *instr)
{
	const struct vq_node *maker = vq_node_of(p->g, n->in[j]);
	bool adds = instr->op == VQ_EW_ADD || instr->op == VQ_EW_SUB || instr->op == VQ_EW_AXPY || instr->op == VQ_EW_FMA;

	r->walk = true;
	if (!same_shape(p, n->in[j], n->out))
		r->other = true;
	else if (n->backward)
		r->other |= adds && maker && maker->backward;	/* gradients that are added up */
	else if (n->nin == 1)
		r->step = true;
	else if (others_are_small(p, n, j))
		r->scaled = true;
	else
		r->other = true;
}

/* By value: who reads it. */
static struct readers *
find_readers(const struct precision *p)
{
	const struct vq_graph *g = p->g;
	struct readers *all = vq_alloc_array((size_t)g->values + 1, sizeof(*all));

	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		struct vq_ewise_instr instr;
		bool elementwise = is_elementwise(n, &instr);
		for (int j = 0; j < n->nin; j++) {
			struct readers *r = &all[n->in[j]];
			r->later |= n->backward || (instr.op == VQ_EW_RELU && all[n->out].later);
			if (elementwise) {
				look_at_walk(p, r, n, j, &instr);
				continue;
			}
			enum vq_half how = half_of(p, n, j, false);
			bool same = same_shape(p, n->in[j], n->out);
			r->rounds |= how == VQ_HALF_ROUNDED;
			r->norm |= how == VQ_HALF_AS_IS && same;
			r->walk |= how == VQ_HALF_AS_IS;
			r->other |= how == VQ_HALF_NOT || (how == VQ_HALF_AS_IS && !same && !n->backward);
		}
	}
	for (int i = 0; i < g->outputs; i++)
		all[g->output[i].value].other = true;
	for (int i = 0; i < g->stores; i++)
		all[g->store[i].value].other = true;
	return all;
}

/*
 * What products make for activations or norms; what norms make for gradients, and for activations; and what other walks make, or
 * products of the gradient, for products, which would round it for themselves, or norms.  Where nothing else
 * reads it: sums of residual units and what goes to codes and losses stay f32.
 */
static bool
is_rounded(const struct precision *p, vq_id v, const struct readers *r)
{
	const struct vq_node *n = vq_node_of(p->g, v);
	struct vq_ewise_instr instr;

	if (n == NULL || v != n->out || vq_type_at(p->g, v)->dtype != VQ_F32 || r->other || !r->walk)
		return false;
	if (is_linear(p, v))
		return (r->later || r->norm) && !r->scaled;
	if (half_of(p, n, 0, true) == VQ_HALF_NOT)
		return false;
	if (is_elementwise(n, &instr))
		return !r->scaled && ((r->later && is_scaled_norm(p, v)) || ((r->rounds || r->norm) && !r->step)) && !(instr.op == VQ_EW_RELU && p->round[n->in[0]]);
	if (n->op->flags & VQ_OP_EPILOGUE)
		return n->backward && (r->rounds || r->norm);
	return r->later && !r->step;
}

static void
find_rounded(struct precision *p)
{
	struct readers *all = find_readers(p);

	for (vq_id v = 0; v < p->g->values; v++)
		p->round[v] = is_rounded(p, v, &all[v]);
	free(all);
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
