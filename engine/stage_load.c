/*
 * stage_load -- `do: load`: weights from a safetensors file, as others name and lay them out
 *
 * All or nothing: every parameter and state of the graph must be in the file, and everything in the
 * file must be used or said to be ignored.
 */
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/op.h"
#include "engine/stage.h"

enum { MAX_SHOWN = 16 };

static const char *const layouts[] = { "plain", "torch", NULL };
static const struct vq_param params[] = {
	VQ_STRING(struct vq_load_stage, graph, NULL, "the graph whose parameters are loaded"),
	VQ_STRING(struct vq_load_stage, file, NULL, "a safetensors file: beside the model file, or where data is looked for"),
	VQ_ENUM(struct vq_load_stage, layout, "plain", layouts, "torch: matrices and convolutions are turned round"),
	VQ_PARAMS_END
};

static int
read_pairs(const struct vq_model *m, const struct vq_tree *t, struct vq_load_stage *s, struct vq_diags *d)
{
	if (t == NULL)
		return 0;
	if (t->kind != VQ_TREE_MAP || t->count > VQ_MAX_RENAMES) {
		vq_error(d, VQ_CONFIG, &t->at, "names wants a map of at most %d, ours: theirs", VQ_MAX_RENAMES);
		return -1;
	}
	for (int i = 0; i < t->count; i++) {
		s->ours[i] = t->item[i].key->text;
		if ((s->theirs[i] = vq_model_text(m, t->item[i].value, d)) == NULL)
			return -1;
	}
	s->names = t->count;
	return 0;
}

static int
read_ignored(const struct vq_model *m, const struct vq_tree *t, struct vq_load_stage *s, struct vq_diags *d)
{
	bool list = t && t->kind == VQ_TREE_LIST;

	if (t && list && t->count > VQ_MAX_IGNORED) {
		vq_error(d, VQ_CONFIG, &t->at, "at most %d patterns can stand here", VQ_MAX_IGNORED);
		return -1;
	}
	for (int i = 0; t && i < (list ? t->count : 1); i++)
		if ((s->ignored[s->ignores++] = vq_model_text(m, list ? t->item[i].value : t, d)) == NULL)
			return -1;
	return 0;
}

int
vq_load_read(const struct vq_model *m, int i, struct vq_load_stage *s, struct vq_diags *d)
{
	static const char *const others[] = { "do", "names", "ignore", NULL };
	const struct vq_tree *t = vq_model_stage(m, i);

	*s = (struct vq_load_stage){ .at = t->at, .tree = t };
	vq_params_default(params, s);
	if (vq_model_read_params(m, t, "a stage that loads", params, s, others, d) < 0 ||
	    read_pairs(m, vq_tree_get(t, "names"), s, d) < 0 || read_ignored(m, vq_tree_get(t, "ignore"), s, d) < 0)
		return -1;
	s->t = (struct vq_train){ .name = vq_model_stage_name(m, i), .at = t->at, .graph = s->graph, .reports = -1,
	    .data = { .batch = 1 } };
	return 0;
}

/* --- the file -------------------------------------------------------------- */

static const char *
find_file(const struct vq_model *m, const struct vq_load_stage *s, struct vq_arena *a)
{
	struct vq_data_spec beside = { .base = vq_model_place(m) };
	const char *path = vq_data_path(&beside, s->file, a), *const *folder;

	if (access(path, F_OK) == 0 || s->file[0] == '/')
		return path;
	for (folder = vq_data_folders(a); *folder; folder++) {
		const char *there = vq_arena_printf(a, "%s/%s", *folder, s->file);
		if (access(there, F_OK) == 0)
			return there;
	}
	return path;
}

int
vq_load_check(const struct vq_model *m, const struct vq_load_stage *s, struct vq_diags *d)
{
	struct vq_arena a = { 0 };
	const char *path = find_file(m, s, &a), *const *folder;
	int error = 0;

	if (access(path, R_OK) != 0) {
		struct vq_diag *e = vq_error(d, VQ_DATA, &s->at, "there are no weights to load: %s is not there", path);
		for (folder = vq_data_folders(&a); *folder && s->file[0] != '/'; folder++)
			vq_note(e, NULL, "looked for in %s, too", *folder);
		vq_help(e, "graphs/README.md says how to make such a file; stages.%s.file=PATH takes another one", s->t.name);
		error = -1;
	}
	vq_arena_free(&a);
	return error;
}

/* What the file calls one of ours: the longest beginning that `names` has is replaced. */
static char *
name_there(const struct vq_load_stage *s, const char *ours)
{
	size_t longest = 0;
	int best = VQ_NONE;

	for (int i = 0; i < s->names; i++) {
		size_t n = strlen(s->ours[i]);
		if (n > longest && strncmp(ours, s->ours[i], n) == 0 && (ours[n] == '.' || ours[n] == '\0')) {
			longest = n;
			best = i;
		}
	}
	return best == VQ_NONE ? vq_strdup(ours) : vq_asprintf("%s%s", s->theirs[best], ours + longest);
}

/* Axis of theirs that is axis i of ours: [out, in, h, w] is [h, w, in, out] here, [out, in] is [in, out]. */
static int
axis_there(int layout, int rank, int i)
{
	static const int image[] = { 2, 3, 1, 0 };

	return layout == 0 || (rank != 2 && rank != 4) ? i : rank == 4 ? image[i] : 1 - i;
}

static bool
fits(int layout, const struct vq_type *ours, const struct vq_type *theirs)
{
	bool same = ours->shape.rank == theirs->shape.rank && vq_is_float(theirs->dtype) == vq_is_float(ours->dtype);

	for (int i = 0; same && i < ours->shape.rank; i++)
		same = ours->shape.dim[i] == theirs->shape.dim[axis_there(layout, ours->shape.rank, i)];
	return same;
}

static void
turn(int layout, struct vq_var *to, const struct vq_var *from)
{
	const struct vq_shape *s = &to->type.shape, *t = &from->type.shape;
	struct vq_view in = { from->data, &from->type }, out = { to->data, &to->type };
	int64_t n = vq_shape_count(s), step[VQ_MAX_RANK], at[VQ_MAX_RANK] = { 0 };

	for (int i = 0; i < s->rank; i++) {
		int axis = axis_there(layout, s->rank, i);
		step[i] = vq_shape_span(t, axis + 1, t->rank);
	}
	for (int64_t k = 0; k < n; k++) {
		int64_t place = 0;
		for (int i = 0; i < s->rank; i++)
			place += at[i] * step[i];
		vq_set(&out, k, vq_get(&in, place));
		for (int i = s->rank - 1; i >= 0 && ++at[i] == s->dim[i]; i--)
			at[i] = 0;
	}
	to->loaded = true;
}

struct loading {
	const struct vq_load_stage *s;
	const struct vq_graph *g;
	const char *path;
	struct vq_vars *file;
	bool *used;			/* by variable of the file */
	struct vq_diags *d;
	int64_t numbers;
	int tensors, errors;
};

static const struct vq_range *
key_at(const struct vq_load_stage *s, const char *key)
{
	const struct vq_tree *t = vq_tree_get(s->tree, key);

	return t ? &t->at : &s->at;
}

static void
refuse(struct loading *l, const struct vq_value *v, const char *theirs, const struct vq_var *there)
{
	char want[VQ_TYPE_STR], is[VQ_TYPE_STR];

	if (l->errors++ >= MAX_SHOWN)
		return;
	if (there == NULL)
		vq_help(vq_error(l->d, VQ_CHECKPOINT, key_at(l->s, "names"), "%s lacks %s, which is %s %s", l->path, theirs, v->name,
		    vq_type_str(&v->type, want)), "names: {%s: ...} says what the file calls it, or the beginning of its name", v->name);
	else
		vq_help(vq_error(l->d, VQ_CHECKPOINT, key_at(l->s, "file"), "%s has %s as %s, and %s %s cannot be made of it", l->path,
		    theirs, vq_type_str(&there->type, is), v->name, vq_type_str(&v->type, want)), l->s->layout == 0 ?
		    "the model's sizes must be the file's; layout: torch turns what PyTorch saved" : "the model's sizes must be the file's");
}

/* A number that is none, or that our type cannot hold, would be found only when a loss is not finite. */
static bool
holds(enum vq_dtype ours, double x)
{
	return ours == VQ_I32 ? x >= INT32_MIN && x <= INT32_MAX : ours == VQ_F64 ? isfinite(x) : isfinite((float)x);
}

static void
check_numbers(struct loading *l, const struct vq_value *v, const struct vq_var *there)
{
	struct vq_view in = { there->data, &there->type };
	int64_t n = vq_shape_count(&there->type.shape), i = 0;

	while (i < n && holds(v->type.dtype, vq_get(&in, i)))
		i++;
	if (i < n && l->errors++ < MAX_SHOWN)
		vq_error(l->d, VQ_CHECKPOINT, NULL, "%s: number %lld of %s is %g, which %s, %s, cannot hold", l->path, (long long)i,
		    there->name, vq_get(&in, i), v->name, vq_dtype_name(v->type.dtype));
}

/* pass 0 looks, pass 1 takes. */
static void
load_values(struct loading *l, struct vq_vars *vars, int pass)
{
	for (vq_id i = 0; i < l->g->values; i++) {
		const struct vq_value *v = &l->g->value[i];
		if (v->kind != VQ_PARAM && v->kind != VQ_STATE)
			continue;
		char *theirs = name_there(l->s, v->name);
		struct vq_var *there = vq_vars_find(l->file, theirs);
		if (pass == 0 && (there == NULL || !fits(l->s->layout, &v->type, &there->type)))
			refuse(l, v, theirs, there);
		else if (pass == 0)
			check_numbers(l, v, there);
		if (there)
			l->used[there - l->file->var] = true;
		if (pass == 1) {
			turn(l->s->layout, vq_vars_find(vars, v->name), there);
			l->tensors++;
			l->numbers += vq_shape_count(&v->type.shape);
		}
		free(theirs);
	}
}

static void
check_unused(struct loading *l)
{
	for (int i = 0; i < l->file->count; i++) {
		bool known = l->used[i];
		for (int k = 0; k < l->s->ignores && !known; k++)
			known = fnmatch(l->s->ignored[k], l->file->var[i].name, 0) == 0;
		if (known || l->errors++ >= MAX_SHOWN)
			continue;
		vq_help(vq_error(l->d, VQ_CHECKPOINT, NULL, "%s has %s, for which graph %s has no place", l->path,
		    l->file->var[i].name, l->s->graph), "ignore: [\"%s\"] in the stage leaves it out",
		    l->file->var[i].name);
	}
	if (l->errors > MAX_SHOWN)
		vq_error(l->d, VQ_CHECKPOINT, NULL, "%s: %d more", l->path, l->errors - MAX_SHOWN);
}

/* What the reader refuses is told with the place and what makes a file that it takes. */
static int
read_file(const struct vq_load_stage *s, const char *path, struct vq_vars *file, struct vq_diags *d)
{
	if (vq_checkpoint_load(path, file, VQ_LOAD_ALL, NULL, d) == 0)
		return 0;
	vq_help(vq_error(d, VQ_CHECKPOINT, key_at(s, "file"), "stage %s cannot load its weights", s->t.name), "a safetensors file of f32 tensors "
	    "is wanted: safetensors.torch.save_file({k: v.float().contiguous() for k, v in state.items()}, FILE)");
	return -1;
}

int
vq_load_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	struct vq_arena a = { 0 };
	struct vq_vars file = { 0 };
	struct vq_load_stage s;
	struct loading l = { .s = &s, .file = &file, .d = d };
	struct vq_graph *g = NULL;

	if (vq_load_read(r->model, stage, &s, d) == 0 && vq_load_check(r->model, &s, d) == 0) {
		l.path = find_file(r->model, &s, &a);
		g = vq_eval_graph(r->model, &s.t, 1, d);
	}
	if (g && read_file(&s, l.path, &file, d) == 0 &&
	    vq_vars_bind(r->vars, g, r->seed, d) == 0) {
		l.g = g;
		l.used = vq_alloc_array((size_t)file.count + 1, sizeof(*l.used));
		load_values(&l, r->vars, 0);
		check_unused(&l);
		if (l.errors == 0)
			load_values(&l, r->vars, 1);
		if (l.errors == 0 && vq_stage_save(r, &(struct vq_position){ .stage = s.t.name }, "last.safetensors", d) == 0)
			vq_run_say(r->run, "stage %s: %d tensors, %lld numbers, from %s", s.t.name, l.tensors,
			    (long long)l.numbers, l.path);
		free(l.used);
	}
	vq_graph_free(g);
	vq_vars_free(&file);
	vq_arena_free(&a);
	return (int)vq_diags_status(d);
}
