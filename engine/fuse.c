/*
 * fuse -- elementwise chains into one walk over memory, and into epilogues
 *
 * From the last node to the first: an elementwise node that nothing absorbed
 * becomes the root of a group and absorbs, one by one, elementwise producers
 * whose every reader is in the group.  A group that reads the result of a matrix
 * product or convolution nobody else reads becomes its epilogue; any other group
 * of two or more becomes a `fused` node.  Either stands where the root stood, so
 * everything it reads exists.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "engine/passes.h"

struct group {
	int member[VQ_EWISE_INSTRS];	/* nodes, ascending; the last is the root */
	int members;
	vq_id in[VQ_EWISE_INS];
	struct vq_ewise program;
	int64_t cols;			/* 0: no operand fixed it yet */
	int host;			/* node whose epilogue this is, or VQ_NONE */
};

struct fuse {
	const struct vq_graph *g;
	int *uses;
	int *group_of;			/* by node: index into group + 1, or 0 */
	struct group *group;
	int groups, cap;
	const struct vq_op *fused;
};

static bool
is_fusible(const struct vq_graph *g, int node)
{
	const struct vq_node *n = &g->node[node];
	struct vq_ewise_instr instr;
	enum vq_dtype out = g->value[n->out].type.dtype;

	return (n->op->flags & VQ_OP_ELEMENTWISE) && n->op->ewise && !n->epilogue && n->nout == 1 &&
	    (out == VQ_F32 || out == VQ_BOOL) && n->op->ewise(n->params, &instr);
}

/* --- how an operand lies over the result --------------------------------- */

/* Number of elements of the longest suffix of `of` that s (without its leading
 * ones) equals, or 0. */
static int64_t
suffix_of(const struct vq_shape *s, const struct vq_shape *of)
{
	int lead = 0;

	while (lead < s->rank && s->dim[lead] == 1)
		lead++;
	int rank = s->rank - lead;
	if (rank > of->rank)
		return 0;
	for (int i = 0; i < rank; i++)
		if (s->dim[lead + i] != of->dim[of->rank - rank + i])
			return 0;
	return vq_shape_span(s, lead, s->rank);
}

/* When s is a prefix of `of` followed by ones: the elements of what follows. */
static int64_t
prefix_of(const struct vq_shape *s, const struct vq_shape *of)
{
	int i = 0;

	if (s->rank != of->rank)
		return 0;
	while (i < s->rank && s->dim[i] == of->dim[i])
		i++;
	for (int j = i; j < s->rank; j++)
		if (s->dim[j] != 1)
			return 0;
	return vq_shape_span(of, i, of->rank);
}

static bool
fix_cols(struct group *p, int64_t cols)
{
	if (p->cols == 0)
		p->cols = cols;
	return cols > 0 && p->cols == cols;
}

static bool
operand_mode(struct group *p, const struct vq_shape *s, const struct vq_shape *of, uint8_t *mode)
{
	int64_t n = vq_shape_count(s), total = vq_shape_count(of);

	if (n == total) {
		*mode = VQ_EWISE_FULL;
		return true;
	}
	if (n == 1) {
		*mode = VQ_EWISE_SCALAR;
		return true;
	}
	int64_t cols = suffix_of(s, of);
	if (cols > 0) {
		*mode = VQ_EWISE_ROW;
		return fix_cols(p, cols);
	}
	*mode = VQ_EWISE_COL;
	return fix_cols(p, prefix_of(s, of));
}

/* --- building a group's program ------------------------------------------ */

static int
find_member(const struct group *p, int node)
{
	for (int i = 0; i < p->members; i++)
		if (p->member[i] == node)
			return i;
	return VQ_NONE;
}

static int
find_operand(struct group *p, vq_id v)
{
	for (int i = 0; i < p->program.nin; i++)
		if (p->in[i] == v)
			return i;
	if (p->program.nin == VQ_EWISE_INS)
		return VQ_NONE;
	p->in[p->program.nin] = v;
	return p->program.nin++;
}

/* Collects what the members read from outside, `first` (if any) as operand 0. */
static bool
collect_operands(const struct vq_graph *g, struct group *p, vq_id first)
{
	const struct vq_type *root = vq_type_at(g, g->node[p->member[p->members - 1]].out);

	p->program.nin = 0;
	if (first != VQ_NONE)
		find_operand(p, first);
	for (int m = 0; m < p->members; m++) {
		const struct vq_node *n = &g->node[p->member[m]];
		for (int j = 0; j < n->nin; j++) {
			const struct vq_value *v = &g->value[n->in[j]];
			if (v->kind == VQ_COMPUTED && find_member(p, v->node) != VQ_NONE)
				continue;
			if (v->type.dtype != VQ_F32 || find_operand(p, n->in[j]) == VQ_NONE)
				return false;
		}
	}
	for (int i = 0; i < p->program.nin; i++)
		if (!operand_mode(p, &g->value[p->in[i]].type.shape, &root->shape, &p->program.mode[i]))
			return false;
	return true;
}

static uint8_t
register_of(const struct vq_graph *g, struct group *p, vq_id v)
{
	int m = g->value[v].kind == VQ_COMPUTED ? find_member(p, g->value[v].node) : VQ_NONE;

	return (uint8_t)(m != VQ_NONE ? p->program.nin + m : find_operand(p, v));
}

/* cols: what ROW and COL operands must agree on, 0 for anything. */
static bool
build_program(const struct vq_graph *g, struct group *p, vq_id first, int64_t cols)
{
	p->cols = cols;
	if (!collect_operands(g, p, first))
		return false;
	p->program.ninstr = p->members;
	for (int m = 0; m < p->members; m++) {
		const struct vq_node *n = &g->node[p->member[m]];
		struct vq_ewise_instr *instr = &p->program.instr[m];
		uint8_t reg[3] = { 0 };
		*instr = (struct vq_ewise_instr){ 0 };
		for (int j = 0; j < n->nin && j < 3; j++)
			reg[j] = register_of(g, p, n->in[j]);
		n->op->ewise(n->params, instr);
		instr->a = reg[0];
		instr->b = reg[1];
		instr->c = reg[2];
	}
	return true;
}

/* --- growing a group ----------------------------------------------------- */

/* Every reader of v is a member. */
static bool
read_inside_only(const struct fuse *f, const struct group *p, vq_id v)
{
	int inside = 0;

	for (int m = 0; m < p->members; m++) {
		const struct vq_node *n = &f->g->node[p->member[m]];
		for (int j = 0; j < n->nin; j++)
			inside += n->in[j] == v;
	}
	return inside == f->uses[v];
}

static void
insert_member(struct group *p, int node)
{
	int at = p->members++;

	while (at > 0 && p->member[at - 1] > node) {
		p->member[at] = p->member[at - 1];
		at--;
	}
	p->member[at] = node;
}

static bool
try_absorb(struct fuse *f, struct group *p, int node)
{
	struct group with = *p;
	const struct vq_graph *g = f->g;
	vq_id root = g->node[p->member[p->members - 1]].out, out = g->node[node].out;

	if (p->members == VQ_EWISE_INSTRS || f->group_of[node] || !is_fusible(g, node) ||
	    !vq_shape_equal(&g->value[out].type.shape, &g->value[root].type.shape) ||
	    !read_inside_only(f, p, out))
		return false;
	insert_member(&with, node);
	if (!build_program(g, &with, VQ_NONE, 0))
		return false;
	*p = with;
	return true;
}

static void
grow_group(struct fuse *f, struct group *p)
{
	for (bool more = true; more; ) {
		more = false;
		for (int i = 0; i < p->program.nin && !more; i++) {
			const struct vq_value *v = &f->g->value[p->in[i]];
			if (v->kind == VQ_COMPUTED && v->port == 0)
				more = try_absorb(f, p, v->node);
		}
	}
}

/* The product or convolution whose result this group alone reads: the latest. */
static int
find_host(const struct fuse *f, const struct group *p)
{
	const struct vq_graph *g = f->g;
	const struct vq_shape *root = &g->value[g->node[p->member[p->members - 1]].out].type.shape;
	int host = VQ_NONE;

	for (int i = 0; i < p->program.nin; i++) {
		const struct vq_value *v = &g->value[p->in[i]];
		if (v->kind != VQ_COMPUTED || v->port != 0)
			continue;
		const struct vq_node *n = &g->node[v->node];
		if ((n->op->flags & VQ_OP_EPILOGUE) && n->epilogue == NULL && !f->group_of[v->node] &&
		    vq_shape_equal(&v->type.shape, root) && read_inside_only(f, p, p->in[i]) &&
		    n->nin + p->program.nin - 1 <= VQ_MAX_IN && v->node > host)
			host = v->node;
	}
	return host;
}

static void
start_group(struct fuse *f, int root)
{
	struct group p = { .member = { root }, .members = 1, .host = VQ_NONE };
	const struct vq_graph *g = f->g;
	const struct vq_shape *shape = &g->value[g->node[root].out].type.shape;

	if (g->value[g->node[root].out].type.dtype != VQ_F32 || !build_program(g, &p, VQ_NONE, 0))
		return;
	grow_group(f, &p);
	int host = find_host(f, &p);
	if (host != VQ_NONE) {
		struct group with = p;
		int64_t cols = shape->rank ? shape->dim[shape->rank - 1] : 1;
		if (build_program(g, &with, g->node[host].out, cols)) {
			with.host = host;
			p = with;
		}
	}
	if (p.members < 2 && p.host == VQ_NONE)
		return;
	vq_grow(f->group, f->groups, f->cap);
	f->group[f->groups++] = p;
	for (int m = 0; m < p.members; m++)
		f->group_of[p.member[m]] = f->groups;
	if (p.host != VQ_NONE)
		f->group_of[p.host] = f->groups;
}

/* --- writing the new graph ----------------------------------------------- */

static vq_id
emit_group(struct vq_rewrite *r, const struct fuse *f, const struct group *p)
{
	vq_id in[VQ_MAX_IN];
	int nin = 0, first = 0;

	if (p->host != VQ_NONE) {
		const struct vq_node *host = &r->from->node[p->host];
		for (int i = 0; i < host->nin; i++)
			in[nin++] = r->map[host->in[i]];
		first = 1;
	}
	for (int i = first; i < p->program.nin; i++)
		in[nin++] = r->map[p->in[i]];
	if (p->host == VQ_NONE)
		return vq_graph_add(r->to, f->fused, &p->program, in, nin);
	const struct vq_node *host = &r->from->node[p->host];
	r->to->now = host->origin;
	return vq_graph_add_epilogue(r->to, host->op, host->params, in, nin, &p->program);
}

static void
fuse_node(struct vq_rewrite *r, int i)
{
	const struct fuse *f = r->arg;

	if (f->group_of[i] == 0) {
		vq_rewrite_copy(r, i);
		return;
	}
	const struct group *p = &f->group[f->group_of[i] - 1];
	if (p->member[p->members - 1] != i)
		return;			/* part of what the root will do */
	r->map[r->from->node[i].out] = emit_group(r, f, p);
}

struct vq_graph *
vq_pass_fuse(struct vq_graph *g)
{
	struct fuse f = { .g = g, .uses = vq_graph_uses(g), .fused = vq_op_find("fused") };

	f.group_of = vq_alloc_array((size_t)g->nodes + 1, sizeof(*f.group_of));
	for (int i = g->nodes - 1; i >= 0; i--)
		if (f.group_of[i] == 0 && is_fusible(g, i))
			start_group(&f, i);
	struct vq_graph *to = vq_graph_rewrite(g, fuse_node, &f);
	free(f.uses);
	free(f.group_of);
	free(f.group);
	vq_graph_free(g);
	return to;
}
