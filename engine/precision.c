/*
 * precision -- products in bf16
 *
 * An op that can take its operands rounded to bf16 has a parameter `precision`; where that is
 * auto and the result f32, it becomes bf16.  Everything else stays as it is: values, sums,
 * weights, optimizers, norms, softmax, losses and distances to codes are f32, and so is a
 * product that a model file fixes with `precision: f32`.
 */
#include <string.h>

#include "engine/op.h"
#include "engine/passes.h"

static bool
is_auto(const struct vq_node *n, const struct vq_param **p)
{
	*p = n->op->params ? vq_param_find(n->op->params, "precision") : NULL;
	if (*p == NULL || (*p)->kind != VQ_P_ENUM)
		return false;
	return strcmp((*p)->choices[*(const int *)((const char *)n->params + (*p)->offset)], "auto") == 0;
}

static void
round_product(struct vq_rewrite *r, int node)
{
	const struct vq_node *n = &r->from->node[node];
	const struct vq_param *p;
	char why[VQ_WHY];

	if (!is_auto(n, &p) || vq_type_at(r->from, n->out)->dtype != VQ_F32) {
		vq_rewrite_copy(r, node);
		return;
	}
	void *params = vq_arena_copy(&r->to->arena, n->params, n->op->size);
	int error = vq_param_set(p, params, "bf16", why);
	vq_assert(error == 0);
	vq_rewrite_copy_as(r, node, params);
}

struct vq_graph *
vq_pass_precision(struct vq_graph *g)
{
	struct vq_graph *to = vq_graph_rewrite(g, round_product, NULL);

	vq_graph_free(g);
	return to;
}
