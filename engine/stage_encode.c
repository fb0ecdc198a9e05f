/*
 * stage_encode -- values of a graph for every sample of a data set, kept as arrays
 *
 * RUN/<stage>/<split>.<value>.npy, and beside it the data's own labels. made_from.json says
 * of each split what it was made from (the data's bytes, the graph, its weights), so that it
 * is made once: a run that is resumed keeps it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "datasets/sha256.h"
#include "engine/safetensors.h"
#include "engine/train_private.h"

enum { MADE_FROM_MOST = 1 << 20, MAX_VALUES = VQ_MAX_FIELDS - 1, MAX_ARRAYS = MAX_VALUES + VQ_MAX_FIELDS };

/* --- reading --------------------------------------------------------------- */

static int
read_splits(const struct vq_model *m, const struct vq_tree *list, struct vq_encode *e, struct vq_diags *d)
{
	if (list->kind != VQ_TREE_LIST || list->count < 1 || list->count > VQ_MAX_SPLITS) {
		vq_error(d, VQ_CONFIG, &list->at, "splits wants a list, as in [train, test]");
		return -1;
	}
	for (int i = 0; i < list->count; i++) {
		const char *name = vq_model_text(m, list->item[i].value, d);
		if (name == NULL)
			return -1;
		bool twice = false;
		for (int k = 0; k < e->splits; k++)
			twice |= strcmp(e->split[k], name) == 0;
		/* [train, $held] is one split where held is train. */
		if (twice && list->item[i].value->text[0] != '$') {
			vq_error(d, VQ_CONFIG, &list->item[i].value->at, "the split %s stands there twice", name);
			return -1;
		}
		if (!twice)
			e->split[e->splits++] = name;
	}
	return 0;
}

/* One value to keep: its array is named by the last part. */
static int
add_value(const struct vq_model *m, const struct vq_tree *t, struct vq_encode *e, struct vq_diags *d)
{
	const char *name = t->kind == VQ_TREE_SCALAR ? vq_model_text(m, t, d) : NULL;

	if (t->kind != VQ_TREE_SCALAR)
		vq_error(d, VQ_CONFIG, &t->at, "value wants a value of the graph, or a list of some, as in [top, bottom]");
	if (name == NULL)
		return -1;
	for (int k = 0; k < e->t.keeps; k++)
		if (strcmp(vq_last_part(e->t.keep[k]), vq_last_part(name)) == 0) {
			vq_help(vq_error(d, VQ_CONFIG, &t->at, "two arrays would be named %s", vq_last_part(name)),
			    "a graph's out can give a value another name: out: [top: vq_top.code]");
			return -1;
		}
	e->t.keep[e->t.keeps++] = name;
	return 0;
}

static int
read_values(const struct vq_model *m, const struct vq_tree *stage, struct vq_encode *e, struct vq_diags *d)
{
	const struct vq_tree *t = vq_tree_get(stage, "value");
	int error = 0;

	if (t == NULL) {
		vq_error(d, VQ_CONFIG, &stage->at, "stage %s needs value: what to keep, the codes", e->t.name);
		return -1;
	}
	if (t->kind != VQ_TREE_LIST)
		return add_value(m, t, e, d);
	if (t->count < 1 || t->count > MAX_VALUES) {
		vq_error(d, VQ_CONFIG, &t->at, "value wants 1 to %d values", MAX_VALUES);
		return -1;
	}
	for (int i = 0; i < t->count && error == 0; i++)
		error = add_value(m, t->item[i].value, e, d);
	return error;
}

int
vq_encode_read(const struct vq_model *m, int i, struct vq_encode *e, struct vq_diags *d)
{
	static const struct vq_param params[] = {
		{ .name = "graph", .kind = VQ_P_STRING, .offset = offsetof(struct vq_encode, t.graph),
		  .doc = "the graph that encodes" },
		VQ_PARAMS_END
	};
	static const char *const others[] = { "do", "value", "data", "splits", NULL };
	const struct vq_tree *tree = vq_model_stage(m, i), *data = vq_tree_get(tree, "data");
	const struct vq_tree *splits = vq_tree_get(tree, "splits");

	*e = (struct vq_encode){ .t = { .name = vq_model_stage_name(m, i), .at = tree->at, .reports = -1 } };
	if (vq_model_read_params(m, tree, "this stage", params, e, others, d) < 0 || read_values(m, tree, e, d) < 0)
		return -1;
	if (data == NULL) {
		vq_error(d, VQ_CONFIG, &tree->at, "stage %s needs data", e->t.name);
		return -1;
	}
	if (vq_data_read(m, data, &e->t.validate, d) < 0 || vq_data_plain(data, &e->t.validate, d) < 0)
		return -1;
	if (splits && vq_tree_get(data, "split")) {
		vq_error(d, VQ_CONFIG, &splits->at, "either splits, or split in data, not both");
		return -1;
	}
	e->t.data = e->t.validate;
	if (splits)
		return read_splits(m, splits, e, d);
	e->split[e->splits++] = e->t.validate.split;
	return 0;
}

/* --- what it is made from -------------------------------------------------- */

/* The graph that encodes one sample, as text, and the weights that it reads. */
static int
model_key(const struct vq_stage_run *r, const struct vq_encode *e, struct vq_text *out, struct vq_diags *d)
{
	struct vq_graph *g = vq_eval_graph(r->model, &e->t, 1, d);
	struct vq_vars read = { 0 };
	struct vq_text text = { 0 };
	char hex[17];

	if (g == NULL || vq_vars_bind(r->vars, g, r->seed, d) < 0) {
		vq_graph_free(g);
		return -1;
	}
	for (int i = 0; i < g->values; i++) {
		if (g->value[i].kind != VQ_PARAM && g->value[i].kind != VQ_STATE)
			continue;
		vq_grow(read.var, read.count, read.cap);
		read.var[read.count++] = *vq_vars_find(r->vars, g->value[i].name);
	}
	vq_vars_hash(&read, hex);
	vq_graph_text(g, &text);
	vq_text_add(out, "%016" PRIx64 "-%s", vq_content_hash(text.s, text.len, 0), hex);
	free(read.var);		/* the data is the run's */
	vq_text_free(&text);
	vq_graph_free(g);
	return 0;
}

static int
make_key(const struct vq_dataset *data, const struct vq_data_spec *spec, const char *model, struct vq_text *out,
    struct vq_diags *d)
{
	char hex[65];

	if (vq_dataset_sha256(data, hex, d) < 0)
		return -1;
	vq_text_add(out, "%s-%s-%s-%lld-%lld-%.9g-%.9g-%d-%lld-%lld", model, hex[0] ? hex : data->name, spec->split,
	    (long long)data->count, (long long)spec->skip, spec->lo, spec->hi, spec->interpolation,
	    (long long)spec->channels, (long long)spec->resize);
	return 0;
}

static json_t *
read_made_from(const char *folder)
{
	char *path = vq_asprintf("%s/made_from.json", folder), *text;
	struct vq_diags unheard = { 0 };
	json_error_t why;
	json_t *o = NULL;
	size_t n;

	if ((text = vq_file_read(path, MADE_FROM_MOST, &n, VQ_FAILED, &unheard)) != NULL)
		o = json_loadb(text, n, 0, &why);
	vq_diags_free(&unheard);
	free(text);
	free(path);
	if (json_is_object(o))
		return o;
	json_decref(o);
	return json_object();
}

static char *
field_path(const char *folder, const char *split, const char *field)
{
	return vq_asprintf("%s/%s.%s.npy", folder, split, field);
}

/* The SHA-256 of all arrays of the split, in the order of the data's fields. */
static int
hash_arrays(const char *folder, const char *split, const char *const *field, int fields, char hex[65],
    struct vq_diags *d)
{
	char *path[MAX_ARRAYS] = { NULL };
	int error;

	for (int f = 0; f < fields; f++)
		path[f] = field_path(folder, split, field[f]);
	error = vq_sha256_files(path, fields, hex, d);
	for (int f = 0; f < fields; f++)
		free(path[f]);
	return error;
}

/* Whether the arrays are there, whole, and made from this. */
static bool
is_made(const char *folder, const char *split, const char *key, const char *const *field, int fields)
{
	json_t *o = read_made_from(folder), *entry = json_object_get(o, split);
	const char *from = json_string_value(json_object_get(entry, "from"));
	const char *sum = json_string_value(json_object_get(entry, "sha256"));
	struct vq_diags unheard = { 0 };
	char hex[65];
	bool same = from && sum && strcmp(from, key) == 0 &&
	    hash_arrays(folder, split, field, fields, hex, &unheard) == 0 && strcmp(hex, sum) == 0;

	vq_diags_free(&unheard);
	json_decref(o);
	return same;
}

static int
note_made(const char *folder, const char *split, const char *key, const char *const *field, int fields,
    struct vq_diags *d)
{
	char hex[65], *path = vq_asprintf("%s/made_from.json", folder), *text;
	int error = hash_arrays(folder, split, field, fields, hex, d);

	if (error == 0) {
		json_t *o = read_made_from(folder);
		json_object_set_new(o, split, json_pack("{s:s, s:s}", "from", key, "sha256", hex));
		text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
		error = vq_file_write(path, text, strlen(text), d);
		free(text);
		json_decref(o);
	}
	free(path);
	return error;
}

/* --- encoding -------------------------------------------------------------- */

/* Names of the arrays: the values, then the data's fields that are no pictures. */
static int
array_names(const struct vq_encode *e, const struct vq_dataset *data, const char *name[MAX_ARRAYS])
{
	int n = 0;

	for (int k = 0; k < e->t.keeps; k++)
		name[n++] = vq_last_part(e->t.keep[k]);
	for (int f = 0; f < data->fields; f++) {
		bool hidden = strcmp(data->field[f].name, "image") == 0;
		for (int k = 0; k < e->t.keeps; k++)
			hidden |= strcmp(data->field[f].name, name[k]) == 0;
		if (!hidden)
			name[n++] = data->field[f].name;
	}
	return n;
}

static int
write_field(const char *folder, const char *split, const struct vq_dataset *data, int f, struct vq_diags *d)
{
	struct vq_type all = data->field[f].type;
	size_t each = vq_type_bytes(&all);
	uint32_t *index = vq_alloc_array((size_t)data->count, sizeof(*index));
	char *values = vq_alloc_array((size_t)data->count, each), *path = field_path(folder, split, data->field[f].name);

	for (int64_t i = 0; i < data->count; i++)
		index[i] = (uint32_t)i;
	data->kind->gather(data, f, index, data->count, values);
	memmove(all.shape.dim + 1, all.shape.dim, (size_t)all.shape.rank * sizeof(*all.shape.dim));
	all.shape.dim[0] = data->count;
	all.shape.rank++;
	int error = vq_npy_write(path, &(struct vq_view){ values, &all }, d);
	free(path);
	free(values);
	free(index);
	return error;
}

static int
encode_split(const struct vq_stage_run *r, const struct vq_encode *e, struct vq_dataset *data, const char *folder,
    const char *split, const char *const *name, int names, struct vq_diags *d)
{
	struct vq_evaluation v = { .r = r, .t = &e->t, .data = data };
	char buf[VQ_TYPE_STR];
	double before = vq_now();
	int error = vq_evaluate(&v, d);

	for (int k = 0; k < e->t.keeps && error == 0; k++) {
		char *path = field_path(folder, split, name[k]);
		error = vq_npy_write(path, &v.kept[k], d);
		free(path);
	}
	for (int k = e->t.keeps; k < names && error == 0; k++)
		error = write_field(folder, split, data, vq_dataset_field(data, name[k]), d);
	for (int k = 0; k < e->t.keeps && error == 0; k++)
		vq_run_say(r->run, "stage %s: %s, %s %s in %.1f s", e->t.name, split, name[k],
		    vq_type_str(v.kept[k].type, buf), vq_now() - before);
	vq_evaluation_free(&v);
	return error;
}

static int
make_split(const struct vq_stage_run *r, struct vq_encode *e, const char *folder, const char *split,
    const char *model, struct vq_diags *d)
{
	const char *name[MAX_ARRAYS];
	struct vq_text key = { 0 };
	struct vq_dataset *data;
	int error = -1, names;

	e->t.validate.split = e->t.data.split = split;
	if ((data = vq_dataset_open(&e->t.validate, d)) == NULL)
		return -1;
	if (data->note)
		vq_run_say(r->run, "%s", data->note);
	names = array_names(e, data, name);
	if (make_key(data, &e->t.validate, model, &key, d) == 0) {
		if (is_made(folder, split, key.s, name, names)) {
			vq_run_say(r->run, "stage %s: %s is there already", e->t.name, split);
			error = 0;
		} else {
			error = encode_split(r, e, data, folder, split, name, names, d);
			if (error == 0)
				error = note_made(folder, split, key.s, name, names, d);
		}
	}
	vq_text_free(&key);
	vq_dataset_close(data);
	return error;
}

int
vq_encode_run(const struct vq_stage_run *r, int stage, struct vq_diags *d)
{
	struct vq_text model = { 0 };
	struct vq_encode e;
	char *folder;
	int error = 0;

	if (vq_encode_read(r->model, stage, &e, d) < 0)
		return (int)vq_diags_status(d);
	vq_data_locate(r, &e.t.validate);
	folder = vq_run_path(r->run, "%s", e.t.name);
	if (vq_run_folder(r->run, e.t.name, d) < 0 || model_key(r, &e, &model, d) < 0)
		error = -1;
	for (int k = 0; k < e.splits && error == 0 && !*r->signal; k++)
		error = make_split(r, &e, folder, e.split[k], model.s, d);
	if (*r->signal)
		*r->cut = true;
	vq_text_free(&model);
	free(folder);
	return (int)vq_diags_status(d);
}
