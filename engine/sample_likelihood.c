/*
 * sample_likelihood -- what is no likelihood
 *
 * By the chain rule the likelihood of a picture is the product of those of its codes, each
 * given the ones before.  A masked prior's net sees all codes that are not masked: the
 * cross entropy of codes that it is given is a number, and no likelihood of anything.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/sample.h"
#include "engine/stage.h"

/* A stage that draws masked tokens, VQ_NONE where there is none. */
static int
masked_stage(const struct vq_model *m)
{
	struct vq_diags unheard = { 0 };
	int found = VQ_NONE;

	for (int i = 0; i < vq_model_stages(m) && found == VQ_NONE; i++) {
		const struct vq_tree *t = vq_stage_kind(m, i, &unheard) == VQ_STAGE_SAMPLE ?
		    vq_tree_get(vq_model_stage(m, i), "method") : NULL;
		const char *method = t && t->kind == VQ_TREE_SCALAR ? vq_model_text(m, t, &unheard) : NULL;
		if (method && strcmp(method, "masked") == 0)
			found = i;
	}
	vq_diags_free(&unheard);
	return found;
}

const char *
vq_sample_masked(const struct vq_model *m)
{
	int i = masked_stage(m);

	return i == VQ_NONE ? NULL : vq_model_stage_name(m, i);
}

/* Whether the graph reads a parameter of the net that the stage draws from. */
static bool
is_of_prior(const struct vq_graph *g, const struct vq_graph *prior)
{
	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_PARAM && vq_graph_find(prior, g->value[v].name) != VQ_NONE)
			return true;
	return false;
}

/* The integers that v holds as they are, in another shape, a part of them or with others. */
static void
mark_sources(const struct vq_graph *g, vq_id v, bool *seen)
{
	static const char *const same[] = { "reshape", "cast", "copy", "concat", "slice", "transpose", "reorder", "stop" };
	const struct vq_node *n = vq_node_of(g, v);
	bool passes = false;

	if (seen[v])
		return;
	seen[v] = true;
	for (size_t i = 0; n && i < VQ_COUNT(same); i++)
		passes |= strcmp(n->op->name, same[i]) == 0;
	for (int i = 0; passes && i < n->nin; i++)
		if (g->value[n->in[i]].kind != VQ_CONST)
			mark_sources(g, n->in[i], seen);
}

/* Whether what is foretold is looked up among the tokens that its logits are made of. */
static bool
foretells_given(const struct vq_graph *g, const struct vq_node *loss)
{
	bool *above = vq_alloc_array((size_t)g->values + 1, sizeof(*above)), found = false;
	bool *target = vq_alloc_array((size_t)g->values + 1, sizeof(*target));

	mark_sources(g, loss->in[1], target);
	above[loss->in[0]] = true;
	for (int i = g->nodes - 1; i >= 0 && !found; i--) {
		const struct vq_node *n = &g->node[i];
		bool needed = false;
		for (int o = 0; o < n->nout; o++)
			needed |= above[n->out + o];
		for (int k = 0; needed && k < n->nin; k++)
			above[n->in[k]] = true;
		if (!needed || strcmp(n->op->name, "lookup") != 0)
			continue;
		bool *token = vq_alloc_array((size_t)g->values + 1, sizeof(*token));
		mark_sources(g, n->in[1], token);
		for (vq_id v = 0; v < g->values; v++)
			found |= token[v] && target[v];
		free(token);
	}
	free(above);
	free(target);
	return found;
}

int
vq_sample_no_likelihood(const struct vq_model *m, const struct vq_graph *g, struct vq_diags *d)
{
	struct vq_diags unheard = { 0 };
	int stage = masked_stage(m), error = 0;
	const struct vq_tree *t = stage == VQ_NONE ? NULL : vq_tree_get(vq_model_stage(m, stage), "graph");
	const char *name = t && t->kind == VQ_TREE_SCALAR ? vq_model_text(m, t, &unheard) : NULL;
	struct vq_size batch = { "batch", 1 };
	struct vq_graph *prior = name ? vq_model_expand(m, name, false, &batch, 1, &unheard) : NULL;
	bool *needed = prior && is_of_prior(g, prior) ? vq_graph_needed(g) : NULL;

	for (int i = 0; needed && i < g->nodes && error == 0; i++) {
		const struct vq_node *n = &g->node[i];
		if (!needed[n->out] || strcmp(n->op->name, "cross_entropy") != 0 || !foretells_given(g, n))
			continue;
		struct vq_diag *e = vq_error(d, VQ_CONFIG, n->origin == VQ_NONE ? NULL : &g->origin[n->origin].at,
		    "cross_entropy is of codes that the net of graph %s is given: a masked prior (stage %s) sees them, and has no "
		    "likelihood by the chain rule", name, vq_model_stage_name(m, stage));
		vq_help(e, "mask_codes hides codes; the loss of those, which training tells, is no likelihood either");
		vq_origin_notes(g, n->origin, e);
		error = -1;
	}
	free(needed);
	vq_graph_free(prior);
	vq_diags_free(&unheard);
	return error;
}
