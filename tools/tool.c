/*
 * tool -- what the subcommands share
 */
#include "tools/tool.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/log.h"
#include "engine/suggest.h"
#include "engine/utf8.h"
#include "ops/kernels/kernels.h"

/* --- models ---------------------------------------------------------------- */

struct vq_model *
vq_tool_model(struct vq_cli *c)
{
	const char *path = c->arg[0], *inside = path;
	double start = vq_now();
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		inside = vq_arena_printf(&c->arena, "%s/resolved.yaml", path);
		if (stat(inside, &st) != 0) {
			struct vq_source *s = vq_arena_alloc(&c->arena, sizeof(*s));
			struct vq_range at = { .source = s };

			s->name = path;
			vq_help(vq_error(&c->d, VQ_CONFIG, &at,
			    "is a folder, and not a run's: it has no resolved.yaml"),
			    "give a model file, or the folder of a run");
			return NULL;
		}
	}
	for (int i = 0; i < c->sets; i++)
		vq_notice(c, "set %s", c->set[i].text);
	c->model = vq_model_load(inside, c->set, c->sets, &c->d);
	if (c->model && inside != path) {
		char *config = vq_run_config_of(path);

		if (config)
			vq_model_set_place(c->model, config);
		free(config);
	}
	if (c->verbose && c->model)
		vq_notice(c, "read %s in %.1f ms; %d threads (%s), kernels for %s", inside, 1e3 * (vq_now() - start),
		    vq_threads(), vq_threads_why(), vq_kernels()->name);
	return c->model;
}

void
vq_tool_near(struct vq_diag *e, const char *wrong, const char *const *name, int n)
{
	enum { SHOWN = 16 };
	struct vq_text all = { 0 };
	struct vq_suggest s;

	vq_suggest_start(&s, wrong);
	for (int i = 0; i < n; i++)
		vq_suggest_try(&s, name[i]);
	if (s.best) {
		vq_help(e, "there is one with a similar name: %s", s.best);
		return;
	}
	for (int i = 0; i < n && i < SHOWN; i++)
		vq_text_add(&all, "%s%s", i ? ", " : "", name[i]);
	if (n > SHOWN)
		vq_text_add(&all, " and %d more", n - SHOWN);
	vq_note(e, NULL, "there %s %s", n == 1 ? "is" : "are", n ? all.s : "none");
	vq_text_free(&all);
}

const char *
vq_tool_weights(struct vq_cli *c, const char *run)
{
	char *path = vq_checkpoint_of(run);
	const char *copy = vq_arena_strdup(&c->arena, path);

	free(path);
	return copy;
}

const char *
vq_tool_checkpoint(struct vq_cli *c, const char *given)
{
	struct stat st;

	if (given)
		return given;
	if (stat(c->arg[0], &st) == 0 && !S_ISDIR(st.st_mode)) {
		vq_help(vq_usage_error(c, "%s is a model file and has no weights", c->arg[0]),
		    "give a run's folder, or --checkpoint FILE");
		return NULL;
	}
	return vq_tool_weights(c, c->arg[0]);
}

void
vq_tool_source(struct vq_cli *c, const char *text, struct vq_data_spec *spec)
{
	size_t n = strlen(text);
	const char *colon = n > 4 && strcmp(text + n - 4, ".npy") == 0 ? NULL : strrchr(text, ':');

	spec->source = colon ? vq_arena_strndup(&c->arena, text, (size_t)(colon - text)) : text;
	spec->split = colon ? colon + 1 : "test";
	spec->stage = spec->base = spec->labels = NULL;
	spec->at = NULL;
	spec->skip = 0;
	spec->limit = 0;
	spec->shuffle = false;
}

const char *
vq_tool_graph(struct vq_cli *c, const struct vq_model *m, const char *asked)
{
	int n = vq_model_graphs(m);
	const char **name = vq_alloc_array((size_t)n + 1, sizeof(*name));
	const char *found = NULL;
	struct vq_diag *e;

	for (int i = 0; i < n; i++) {
		name[i] = vq_model_graph_name(m, i);
		if (asked ? strcmp(asked, name[i]) == 0 : n == 1)
			found = name[i];
	}
	if (!found && asked) {
		e = vq_usage_error(c, "there is no graph '%s' in %s", asked, vq_model_path(m));
		vq_tool_near(e, asked, name, n);
	} else if (!found && n == 0) {
		vq_usage_error(c, "there is no graph in %s", vq_model_path(m));
	} else if (!found) {
		e = vq_usage_error(c, "%s has %d graphs: --graph NAME says which", vq_model_path(m), n);
		vq_tool_near(e, "", name, n);
	}
	free(name);
	return found;
}

int64_t
vq_tool_batch(const struct vq_model *m, const char *graph)
{
	enum { BATCH_DEFAULT = 128 };	/* as vq_data_params has it */
	struct vq_diags ignored = { 0 };
	int64_t batch = 0;

	for (int i = 0; i < vq_model_stages(m) && batch == 0; i++) {
		const struct vq_tree *stage = vq_model_stage(m, i), *of, *data, *size = NULL;
		const char *name;
		double x = BATCH_DEFAULT;

		of = stage->kind == VQ_TREE_MAP ? vq_tree_get(stage, "graph") : NULL;
		name = of && of->kind == VQ_TREE_SCALAR ? vq_model_text(m, of, &ignored) : NULL;
		data = of ? vq_tree_get(stage, "data") : NULL;
		if (!name || strcmp(name, graph) != 0)
			continue;
		if (data && data->kind == VQ_TREE_MAP)
			size = vq_tree_get(data, "batch");
		if (size && size->kind == VQ_TREE_SCALAR)
			vq_model_number(m, size, &x, &ignored);
		if (x >= 1 && x <= 1e9)
			batch = (int64_t)x;
	}
	vq_diags_free(&ignored);
	return batch;
}

/* The value given for a size, 0 when none is; -1 after an error. */
static int64_t
given_size(struct vq_cli *c, const struct vq_strings *given, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; given && i < given->count; i++) {
		const char *s = given->s[i];
		char *end;
		long long x;

		if (strncmp(s, name, n) != 0 || s[n] != '=')
			continue;
		errno = 0;
		x = strtoll(s + n + 1, &end, 10);
		if (errno || end == s + n + 1 || *end || x < 1) {
			vq_usage_error(c, "--size wants %s=N with a whole number of at least 1, not '%s'",
			    name, s);
			return -1;
		}
		return x;
	}
	return 0;
}

static int
check_given(struct vq_cli *c, const char *graph, const struct vq_strings *given, const char **name, int n)
{
	for (int i = 0; given && i < given->count; i++) {
		char *word = vq_strndup(given->s[i], strcspn(given->s[i], "="));
		bool known = false;

		for (int k = 0; k < n; k++)
			known |= strcmp(word, name[k]) == 0;
		if (!known)
			vq_tool_near(vq_usage_error(c, "graph %s has no free size '%s'", graph, word), word,
			    name, n);
		free(word);
		if (!known)
			return -1;
	}
	return 0;
}

int
vq_tool_sizes(struct vq_cli *c, const struct vq_model *m, const char *graph, int64_t batch,
    const struct vq_strings *given, struct vq_size out[VQ_MAX_SIZES])
{
	const char *name[VQ_MAX_SIZES];
	int n = vq_model_free_sizes(m, graph, name, VQ_MAX_SIZES);

	if (n > VQ_MAX_SIZES) {
		vq_usage_error(c, "graph %s has %d free sizes, more than %d", graph, n, VQ_MAX_SIZES);
		return -1;
	}
	if (check_given(c, graph, given, name, n) < 0)
		return -1;
	if (batch == 0)
		batch = vq_tool_batch(m, graph);
	for (int i = 0; i < n; i++) {
		int64_t x = given_size(c, given, name[i]);

		if (x < 0)
			return -1;
		if (x == 0)
			x = strcmp(name[i], "batch") == 0 && batch ? batch : 1;
		out[i] = (struct vq_size){ name[i], x };
	}
	return n;
}

const char *const vq_precisions[] = { "f32", "bf16", NULL };

/* --- what a graph holds ---------------------------------------------------- */

int64_t
vq_graph_elements(const struct vq_graph *g, enum vq_value_kind kind)
{
	int64_t n = 0;

	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == kind)
			n += vq_shape_count(&g->value[v].type.shape);
	return n;
}

vq_id
vq_tool_value(struct vq_cli *c, const struct vq_graph *g, const char *name, const char *option)
{
	vq_id v = vq_graph_find_output(g, name);
	const char **all;
	int n = 0;

	if (v != VQ_NONE)
		return v;
	all = vq_alloc_array((size_t)(g->outputs + g->nameds + g->values) + 1, sizeof(*all));
	for (int i = 0; i < g->outputs; i++)
		all[n++] = g->output[i].name;
	for (int i = 0; i < g->nameds; i++)
		all[n++] = g->named[i].name;
	for (vq_id k = 0; k < g->values; k++)
		if (g->value[k].kind != VQ_COMPUTED && g->value[k].kind != VQ_CONST)
			all[n++] = g->value[k].name;
	vq_tool_near(vq_usage_error(c, "%s: graph %s has no value '%s'", option, g->name, name), name, all,
	    n);
	free(all);
	return VQ_NONE;
}

/* --- numbers for people ---------------------------------------------------- */

const char *
vq_count_str(int64_t n, char buf[VQ_NUM_STR])
{
	char plain[VQ_NUM_STR];
	int len = snprintf(plain, sizeof(plain), "%lld", (long long)n), at = 0;

	for (int i = 0; i < len && at < VQ_NUM_STR - 2; i++) {
		if (i > 0 && (len - i) % 3 == 0 && plain[i - 1] != '-')
			buf[at++] = ',';
		buf[at++] = plain[i];
	}
	buf[at] = '\0';
	return buf;
}

const char *
vq_si_str(double x, char buf[VQ_NUM_STR])
{
	static const char *const unit[] = { "", " k", " M", " G", " T", " P" };
	size_t k = 0;

	while (fabs(x) >= 999.5 && k + 1 < VQ_COUNT(unit)) {
		x /= 1000;
		k++;
	}
	snprintf(buf, VQ_NUM_STR, k == 0 || fabs(x) >= 99.95 ? "%.0f%s" : fabs(x) >= 9.995 ? "%.1f%s" :
	    "%.2f%s",
	    x, unit[k]);
	return buf;
}

const char *
vq_bytes_str(double bytes, char buf[VQ_NUM_STR])
{
	char si[VQ_NUM_STR];

	vq_si_str(bytes, si);
	snprintf(buf, VQ_NUM_STR, "%.20s%sB", si, strchr(si, ' ') ? "" : " ");
	return buf;
}

/* --- tables ---------------------------------------------------------------- */

void
vq_table_cell(struct vq_table *t, const char *fmt, ...)
{
	struct vq_text s = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&s, fmt, ap);
	va_end(ap);
	vq_grow(t->cell, t->cells, t->cap);
	t->cell[t->cells++] = s.s;
}

static void
add_padded(struct vq_text *out, const char *s, int width, bool right, bool last)
{
	int pad = width - vq_utf8_columns(s);

	vq_text_add(out, "%*s%s%*s%s", right ? pad : 0, "", s, right || last ? 0 : pad, "", last ? "" : "  ");
}

void
vq_table_end(struct vq_table *t, bool color, struct vq_text *out)
{
	int *width = vq_alloc_array((size_t)t->columns, sizeof(*width));

	for (int i = 0; i < t->columns; i++)
		width[i] = vq_utf8_columns(t->title[i]);
	for (int i = 0; i < t->cells; i++)
		if (vq_utf8_columns(t->cell[i]) > width[i % t->columns])
			width[i % t->columns] = vq_utf8_columns(t->cell[i]);
	vq_text_add(out, "%s", color ? "\033[1m" : "");
	for (int i = 0; i < t->columns; i++)
		add_padded(out, t->title[i], width[i], t->right[i], i + 1 == t->columns);
	vq_text_add(out, "%s\n", color ? "\033[0m" : "");
	for (int i = 0; i < t->cells; i++) {
		int k = i % t->columns;
		bool last = k + 1 == t->columns;

		add_padded(out, t->cell[i], width[k], t->right[k], last);
		if (last) {
			while (out->len && out->s[out->len - 1] == ' ')
				out->s[--out->len] = '\0';
			vq_text_add(out, "\n");
		}
		free(t->cell[i]);
	}
	free(t->cell);
	free(width);
	t->cell = NULL;
	t->cells = t->cap = 0;
}

/* --- files and JSON -------------------------------------------------------- */

int
vq_tool_write(struct vq_cli *c, const char *path, const struct vq_text *t)
{
	if (!path || strcmp(path, "-") == 0) {
		fwrite(t->s ? t->s : "", 1, t->len, stdout);
		return 0;
	}
	if (vq_file_write(path, t->s ? t->s : "", t->len, &c->d) < 0)
		return -1;
	vq_notice(c, "wrote %s", path);
	return 0;
}

int
vq_tool_json(struct vq_cli *c, json_t *object, bool pretty)
{
	char *s = json_dumps(object, (pretty ? JSON_INDENT(2) : 0) | JSON_REAL_PRECISION(9));

	json_decref(object);
	if (!s) {
		vq_error(&c->d, VQ_FAILED, NULL, "out of memory while writing JSON");
		return -1;
	}
	printf("%s\n", s);
	free(s);
	return 0;
}

json_t *
vq_json_text(const char *s)
{
	struct vq_text clean = { 0 };
	json_t *j = s ? json_string(s) : json_null();
	size_t n = s ? strlen(s) : 0;

	if (j)
		return j;
	for (size_t i = 0; i < n; ) {
		uint32_t ch;
		size_t k = vq_utf8_next(s + i, n - i, &ch);

		vq_text_put(&clean, k ? s + i : "?", k ? k : 1);
		i += k ? k : 1;
	}
	j = json_string(clean.s ? clean.s : "");
	vq_text_free(&clean);
	return j;
}

json_t *
vq_json_shape(const struct vq_shape *s)
{
	json_t *list = json_array();

	for (int i = 0; i < s->rank; i++)
		json_array_append_new(list, json_integer(s->dim[i]));
	return list;
}

json_t *
vq_json_real(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}
