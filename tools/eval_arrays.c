/*
 * eval_arrays -- arrays and parameters from files, fitted to a graph
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "tools/eval.h"

int
vq_eval_split(struct vq_cli *c, const char *option, const char *text, const char **name, const char **path)
{
	const char *eq = strchr(text, '=');

	if (!eq || eq == text || eq[1] == '\0') {
		vq_help(vq_usage_error(c, "%s wants NAME=FILE, not '%s'", option, text), "as in %s x=x.npy",
		    option);
		return -1;
	}
	*name = vq_arena_strndup(&c->arena, text, (size_t)(eq - text));
	*path = eq + 1;
	return 0;
}

struct vq_array *
vq_arrays_read(struct vq_cli *c, const char *option, const struct vq_strings *list)
{
	struct vq_array *a = vq_alloc_array((size_t)list->count + 1, sizeof(*a));
	bool ok = true;

	for (int i = 0; i < list->count; i++) {
		a[i].option = option;
		if (vq_eval_split(c, option, list->s[i], &a[i].name, &a[i].path) < 0) {
			ok = false;
			continue;
		}
		if (vq_array_find(a, i, a[i].name)) {
			vq_usage_error(c, "%s %s is given twice", option, a[i].name);
			ok = false;
		}
		ok &= vq_npy_read(a[i].path, &a[i].type, &a[i].data, &c->d) == 0;
	}
	if (ok)
		return a;
	vq_arrays_free(a, list->count);
	return NULL;
}

void
vq_arrays_free(struct vq_array *a, int n)
{
	for (int i = 0; a && i < n; i++)
		free(a[i].data);
	free(a);
}

struct vq_array *
vq_array_find(struct vq_array *a, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (a[i].name && strcmp(a[i].name, name) == 0)
			return &a[i];
	return NULL;
}

/* --- element types --------------------------------------------------------- */

/* The largest magnitude up to which a type has every integer, and its smallest. */
static void
integer_range(enum vq_dtype t, double *lo, double *hi)
{
	switch (t) {
	case VQ_BF16: *hi = 256; break;
	case VQ_F32:  *hi = 16777216; break;
	case VQ_I32:  *hi = 2147483647; break;
	case VQ_U8:   *hi = 255; break;
	case VQ_BOOL: *hi = 1; break;
	default:      *hi = 9007199254740992; break;
	}
	*lo = t == VQ_U8 || t == VQ_BOOL ? 0 : t == VQ_I32 ? -2147483648.0 : -*hi;
}

int64_t
vq_convert(const struct vq_view *from, const struct vq_view *to)
{
	enum vq_dtype s = from->type->dtype, t = to->type->dtype;
	int64_t n = vq_shape_count(&to->type->shape);
	bool rounds = vq_is_float(s);
	double lo, hi;

	if (s == t) {
		memcpy(to->data, from->data, vq_type_bytes(to->type));
		return 0;
	}
	if (rounds && !vq_is_float(t))
		return -1;
	integer_range(t, &lo, &hi);
	for (int64_t i = 0; i < n; i++) {
		double x = vq_get(from, i);

		if (!rounds && (x < lo || x > hi))
			return i + 1;
		vq_set(to, i, x);
		if (rounds && isfinite(x) && !isfinite(vq_get(to, i)))
			return i + 1;
	}
	return 0;
}

int
vq_array_fit(struct vq_cli *c, struct vq_array *a, const struct vq_type *want)
{
	char expected[VQ_TYPE_STR], found[VQ_TYPE_STR];
	struct vq_source *file = vq_arena_alloc(&c->arena, sizeof(*file));
	struct vq_range at = { .source = file };
	struct vq_diag *e;
	int64_t bad = 0;
	void *data = NULL;

	file->name = a->path;
	if (vq_shape_equal(&a->type.shape, &want->shape)) {
		data = vq_alloc_aligned(vq_type_bytes(want));
		bad = vq_convert(&(struct vq_view){ a->data, &a->type }, &(struct vq_view){ data, want });
		if (bad == 0) {
			free(a->data);
			a->data = data;
			a->type = *want;
			return 0;
		}
	}
	e = vq_error(&c->d, VQ_DATA, &at, "does not fit %s %s", a->option + 2, a->name);
	vq_detail(e, NULL, "expected %s", vq_type_str(want, expected));
	vq_detail(e, NULL, "found    %s", vq_type_str(&a->type, found));
	if (bad > 0)
		vq_note(e, NULL, "element %lld is %.17g, which %s cannot hold", (long long)bad - 1,
		    vq_get(&(struct vq_view){ a->data, &a->type }, bad - 1), vq_dtype_name(want->dtype));
	free(data);
	return -1;
}

/* --- free sizes ------------------------------------------------------------ */

static void
add_pattern(struct vq_text *t, const char *const *size, int rank)
{
	vq_text_add(t, "[");
	for (int i = 0; i < rank; i++)
		vq_text_add(t, "%s%s", i ? ", " : "", size[i] ? size[i] : "_");
	vq_text_add(t, "]");
}

/* What one array says about the sizes on its axes. */
static void
learn_sizes(struct vq_cli *c, const struct vq_array *a, const char *const *axis, int rank,
    const char **from, struct vq_size *out, int n)
{
	char type[VQ_TYPE_STR];

	if (a->type.shape.rank != rank) {
		struct vq_text pattern = { 0 };

		add_pattern(&pattern, axis, rank);
		vq_error(&c->d, VQ_DATA, NULL, "input %s: expected %d axes, %s, found %s in %s", a->name,
		    rank,
		    pattern.s, vq_type_str(&a->type, type), a->path);
		vq_text_free(&pattern);
		return;
	}
	for (int i = 0; i < rank; i++)
		for (int k = 0; axis[i] && k < n; k++) {
			int64_t dim = a->type.shape.dim[i];

			if (strcmp(axis[i], out[k].name) != 0)
				continue;
			if (dim < 1) {
				vq_error(&c->d, VQ_DATA, NULL, "input %s: there is nothing in %s, which is %s",
				    a->name, a->path, vq_type_str(&a->type, type));
				return;
			}
			if (from[k] && out[k].value != dim) {
				vq_error(&c->d, VQ_DATA, NULL,
				    "size %s is %lld by %s, and %lld by axis %d of input %s (%s)",
				    out[k].name, (long long)out[k].value, from[k], (long long)dim, i,
				    a->name, a->path);
				return;
			}
			from[k] = from[k] ? from[k] : vq_arena_printf(&c->arena, "input %s", a->name);
			out[k].value = dim;
		}
}

static void
unknown_input(struct vq_cli *c, const struct vq_model *m, const char *graph, const char *name)
{
	enum { MOST = 64 };
	const char *all[MOST], *axis[VQ_MAX_RANK];
	int n = 0, rank;

	while (n < MOST && (all[n] = vq_model_input(m, graph, n, &rank, axis)) != NULL)
		n++;
	vq_tool_near(vq_usage_error(c, "--input: graph %s has no input '%s'", graph, name), name, all, n);
}

int
vq_eval_sizes(struct vq_cli *c, const struct vq_model *m, const char *graph, struct vq_array *a, int n,
    const struct vq_strings *given, struct vq_size out[VQ_MAX_SIZES])
{
	const char *axis[VQ_MAX_RANK], *name, *from[VQ_MAX_SIZES] = { 0 };
	bool *known = vq_alloc_array((size_t)n + 1, sizeof(*known));
	int rank, sizes = vq_tool_sizes(c, m, graph, 1, given, out);

	for (int k = 0; k < sizes; k++)
		for (int i = 0; i < given->count; i++)
			if (strncmp(given->s[i], out[k].name, strlen(out[k].name)) == 0 &&
			    given->s[i][strlen(out[k].name)] == '=')
				from[k] = "--size";
	for (int i = 0; sizes >= 0 && (name = vq_model_input(m, graph, i, &rank, axis)) != NULL; i++) {
		struct vq_array *found = vq_array_find(a, n, name);

		if (found) {
			known[found - a] = true;
			learn_sizes(c, found, axis, rank, from, out, sizes);
		}
	}
	for (int i = 0; sizes >= 0 && i < n; i++)
		if (!known[i])
			unknown_input(c, m, graph, a[i].name);
	for (int k = 0; n > 0 && k < sizes && !c->d.count; k++)
		if (!from[k])
			vq_help(vq_usage_error(c, "no given array says how large '%s' is", out[k].name),
			    "give the inputs that have it, or --size %s=N", out[k].name);
	free(known);
	return c->d.count ? -1 : sizes;
}

/* --- parameters ------------------------------------------------------------ */

static void
missing_param(struct vq_cli *c, const char *path, const struct vq_var *v, const struct vq_vars *file)
{
	const char **all = vq_alloc_array((size_t)file->count + 1, sizeof(*all));
	char type[VQ_TYPE_STR];

	for (int i = 0; i < file->count; i++)
		all[i] = file->var[i].name;
	vq_tool_near(vq_error(&c->d, VQ_CHECKPOINT, NULL, "%s has no parameter %s, %s", path, v->name,
	    vq_type_str(&v->type, type)), v->name, all, file->count);
	free(all);
}

static void
fill_var(struct vq_cli *c, const char *path, struct vq_var *v, const struct vq_vars *file)
{
	const struct vq_var *src = vq_vars_find(file, v->name);
	char expected[VQ_TYPE_STR], found[VQ_TYPE_STR];

	if (!src) {
		if (v->kind == VQ_PARAM)
			missing_param(c, path, v, file);
		else
			vq_notice(c, "%s has no state %s: it has its first value", path, v->name);
		return;
	}
	if (vq_shape_equal(&src->type.shape, &v->type.shape) &&
	    vq_convert(&(struct vq_view){ src->data, &src->type },
	    &(struct vq_view){ v->data, &v->type }) == 0)
		return;
	struct vq_diag *e = vq_error(&c->d, VQ_CHECKPOINT, NULL, "%s: %s does not fit", path, v->name);
	vq_detail(e, NULL, "expected %s", vq_type_str(&v->type, expected));
	vq_detail(e, NULL, "found    %s", vq_type_str(&src->type, found));
}

int
vq_eval_vars(struct vq_cli *c, const struct vq_graph *g, const char *path, uint64_t seed, struct vq_vars *out)
{
	struct vq_vars file = { 0 };

	if (vq_vars_bind(out, g, seed, &c->d) < 0)
		return -1;
	if (path && vq_checkpoint_load(path, &file, VQ_LOAD_ALL, NULL, &c->d) == 0)
		for (int i = 0; i < out->count; i++)
			fill_var(c, path, &out->var[i], &file);
	vq_vars_free(&file);
	return c->d.count ? -1 : 0;
}
