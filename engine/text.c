/*
 * text -- the intermediate representation for people and golden files
 *
 *   %0 = input image f32[128, 28, 28, 1]
 *   %7, %8 = op %3 %4 (name=value ...) : f32[...], f32[...]   # path
 *   store enc.conv.0.weight <- %90
 *   output loss = %20
 */
#include <stdlib.h>
#include <string.h>

#include "engine/graph.h"
#include "engine/op.h"

static void
print_leaf(const struct vq_graph *g, vq_id v, struct vq_text *out)
{
	static const char *const kind[] = { "input", "param", "state", "const" };
	const struct vq_value *val = &g->value[v];
	char type[VQ_TYPE_STR];

	vq_text_add(out, "%%%d = %s ", v, kind[val->kind]);
	if (val->kind != VQ_CONST) {
		vq_text_add(out, "%s %s\n", val->name, vq_type_str(&val->type, type));
		return;
	}
	vq_text_add(out, "%s", vq_type_str(&val->type, type));
	if (vq_shape_count(&val->type.shape) == 1) {
		struct vq_view view = { (void *)(uintptr_t)val->constant, &val->type };
		vq_text_add(out, " %.9g", vq_get(&view, 0));
	}
	vq_text_add(out, "\n");
}

static void
print_params(const struct vq_op *op, const void *params, struct vq_text *out)
{
	if (op->params == NULL)
		return;
	const char *sep = " (";
	char *defaults = vq_alloc(op->size);

	vq_params_default(op->params, defaults);
	for (const struct vq_param *p = op->params; p->name; p++) {
		struct vq_text now = { 0 }, init = { 0 };
		vq_param_print(p, params, &now);
		vq_param_print(p, defaults, &init);
		if (p->init == NULL || strcmp(now.s, init.s) != 0) {
			vq_text_add(out, "%s%s=%s", sep, p->name, now.s);
			sep = " ";
		}
		vq_text_free(&now);
		vq_text_free(&init);
	}
	if (sep[1] == '\0')
		vq_text_add(out, ")");
	free(defaults);
}

/* "r4 = mul r0 r3; r5 = relu r4" */
static void
print_program(const struct vq_ewise *e, struct vq_text *out)
{
	static const char *const mode[] = { "", ":scalar", ":row", ":col" };

	vq_text_add(out, " {");
	for (int i = 0; i < e->nin; i++)
		vq_text_add(out, "%sr%d%s", i ? " " : "", i, mode[e->mode[i]]);
	for (int i = 0; i < e->ninstr; i++) {
		const struct vq_ewise_instr *n = &e->instr[i];
		const uint8_t reg[3] = { n->a, n->b, n->c };
		vq_text_add(out, "; r%d = %s", e->nin + i, vq_ew_name(n->op));
		for (int a = 0; a < vq_ew_arity(n->op); a++)
			vq_text_add(out, " r%d", reg[a]);
		if (n->p != 0 || n->q != 0)
			vq_text_add(out, " %.9g", (double)n->p);
		if (n->q != 0)
			vq_text_add(out, " %.9g", (double)n->q);
	}
	vq_text_add(out, "}");
}

static void
print_node(const struct vq_graph *g, int i, struct vq_text *out)
{
	const struct vq_node *n = &g->node[i];
	char type[VQ_TYPE_STR];

	for (int j = 0; j < n->nout; j++)
		vq_text_add(out, "%s%%%d", j ? ", " : "", n->out + j);
	vq_text_add(out, " = %s", n->op->name);
	for (int j = 0; j < n->nin; j++)
		vq_text_add(out, " %%%d", n->in[j]);
	if (n->op->size == sizeof(struct vq_ewise) && n->op->params == NULL)
		print_program(n->params, out);
	else
		print_params(n->op, n->params, out);
	if (n->epilogue)
		print_program(n->epilogue, out);
	for (int j = 0; j < n->nout; j++)
		vq_text_add(out, "%s%s", j ? ", " : " : ", vq_type_str(&g->value[n->out + j].type, type));
	for (int j = 0; j < n->nout; j++)
		if (g->value[n->out + j].kept)
			vq_text_add(out, ", %%%d kept as %s", n->out + j, vq_dtype_name(g->value[n->out + j].kept->dtype));
	if (n->origin != VQ_NONE && g->origin[n->origin].path[0])
		vq_text_add(out, "   # %s%s", n->backward ? "grad of " : "", g->origin[n->origin].path);
	vq_text_add(out, "\n");
}

void
vq_graph_text(const struct vq_graph *g, struct vq_text *out)
{
	vq_text_add(out, "graph %s\n", g->name);
	for (vq_id v = 0; v < g->values; v++) {
		const struct vq_value *val = &g->value[v];
		if (val->kind != VQ_COMPUTED)
			print_leaf(g, v, out);
		else if (val->port == 0)
			print_node(g, val->node, out);
	}
	for (int i = 0; i < g->stores; i++)
		vq_text_add(out, "store %s <- %%%d\n", g->value[g->store[i].leaf].name, g->store[i].value);
	for (int i = 0; i < g->outputs; i++)
		vq_text_add(out, "output %s = %%%d\n", g->output[i].name, g->output[i].value);
}
