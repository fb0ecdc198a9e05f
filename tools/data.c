/*
 * data -- `vqgraph data`: which data sets there are, where they are looked for,
 * downloading them, and whether what is there is whole
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/dataset.h"
#include "datasets/fetch.h"
#include "datasets/sha256.h"
#include "engine/suggest.h"
#include "tools/tool.h"

struct options {
	const char *to, *mirror;
};

/* --- list ---------------------------------------------------------------------- */

static int64_t
download_bytes(const struct vq_source_kind *k)
{
	int64_t sum = 0;

	for (const struct vq_fetch *f = k->fetch; f != NULL && f->file != NULL; f++)
		sum += f->bytes;
	return sum;
}

/* What is to be said of a place: found, or what it lacks. */
static const char *
place_state(const struct vq_source_kind *k, const char *place, struct vq_arena *a)
{
	const char *const *split = vq_source_splits(k);
	const char *first = NULL, *lacks = NULL;
	int found = 0;

	if (access(place, F_OK) < 0)
		return "no such folder";
	for (; *split != NULL; split++) {
		const char *missing = k->missing(place, *split);

		found += missing == NULL;
		if (missing != NULL && first == NULL)
			first = missing;
		if (missing != NULL)
			lacks = lacks == NULL ? *split : vq_arena_printf(a, "%s and %s", lacks, *split);
	}
	if (found == 0)
		return vq_arena_printf(a, "%s is missing", first);
	return lacks == NULL ? "found" : vq_arena_printf(a, "found, without %s", lacks);
}

static json_t *
source_json(const struct vq_source_kind *k, struct vq_arena *a)
{
	const char *found = k->folder != NULL ? vq_data_find(k, "train", a) : NULL;
	json_t *o = json_object(), *places = json_array();

	json_object_set_new(o, "name", json_string(k->name));
	json_object_set_new(o, "doc", json_string(k->doc));
	json_object_set_new(o, "files", json_string(k->layout));
	json_object_set_new(o, "from", k->from != NULL ? json_string(k->from) : json_null());
	json_object_set_new(o, "found", k->folder == NULL ? json_string("built in") :
	    found != NULL ? vq_json_text(found) : json_null());
	for (const char *const *p = vq_data_places(k, a); *p != NULL; p++)
		json_array_append_new(places, vq_json_text(*p));
	json_object_set_new(o, "places", places);
	json_object_set_new(o, "download_bytes", json_integer(download_bytes(k)));
	json_object_set_new(o, "package", k->package != NULL ? json_string(k->package) : json_null());
	return o;
}

static void
source_text(const struct vq_source_kind *k, bool color, struct vq_arena *a, struct vq_text *out)
{
	char size[VQ_NUM_STR];
	const char *head = "looked in";

	vq_text_add(out, "%s%s%s: %s\n", color ? "\033[1m" : "", k->name, color ? "\033[0m" : "", k->doc);
	vq_text_add(out, "  %-10s ", "files");
	vq_wrap(out, k->layout, 13, 100);
	vq_text_add(out, "\n");
	if (k->from != NULL) {
		vq_text_add(out, "  %-10s ", "from");
		vq_wrap(out, k->from, 13, 100);
		vq_text_add(out, "\n");
	}
	for (const char *const *p = vq_data_places(k, a); *p != NULL; p++, head = "") {
		const char *state = place_state(k, *p, a);
		bool found = strncmp(state, "found", 5) == 0;

		vq_text_add(out, "  %-10s %s: %s%s%s\n", head, *p, color && found ? "\033[32m" : "", state,
		    color && found ? "\033[0m" : "");
	}
	if (k->fetch != NULL)
		vq_text_add(out, "  %-10s vqgraph data fetch %s%s%s%s\n", "to get it", k->name,
		    download_bytes(k) > 0 ? " (" : "", download_bytes(k) > 0 ?
		    vq_bytes_str((double)download_bytes(k), size) : "", download_bytes(k) > 0 ? ")" : "");
	if (k->package != NULL)
		vq_text_add(out, "  %-10s apt install %s\n", k->fetch != NULL ? "" : "to get it", k->package);
	vq_text_add(out, "\n");
}

static void
path_kinds_text(struct vq_text *out)
{
	vq_text_add(out, "A path (with a / in it) as source is one of\n");
	for (const struct vq_source_kind *const *k = vq_source_path_kinds(); *k != NULL; k++) {
		vq_text_add(out, "  %s: ", (*k)->name);
		vq_wrap(out, (*k)->layout, 4, 100);
		vq_text_add(out, "\n");
	}
}

static int
list(struct vq_cli *c)
{
	const struct vq_source_kind *const *k = vq_source_kinds();
	struct vq_text out = { 0 };

	if (c->json) {
		json_t *all = json_array();

		for (; *k != NULL; k++)
			json_array_append_new(all, source_json(*k, &c->arena));
		return vq_tool_json(c, json_pack("{s:o}", "sources", all), true);
	}
	for (; *k != NULL; k++)
		source_text(*k, c->color_out, &c->arena, &out);
	path_kinds_text(&out);
	vq_text_add(&out, "VQGRAPH_DATA names folders to look in first, with : between them.\n");
	vq_tool_write(c, NULL, &out);
	vq_text_free(&out);
	return VQ_OK;
}

/* --- fetch --------------------------------------------------------------------- */

/* The source by name; NULL after an error with near names. */
static const struct vq_source_kind *
source_named(struct vq_cli *c, const char *name)
{
	const struct vq_source_kind *k = vq_source_kind_find(name);
	const char *all[64];
	int n = 0;

	if (k != NULL)
		return k;
	for (const struct vq_source_kind *const *p = vq_source_kinds(); *p != NULL && n < (int)VQ_COUNT(all); p++)
		all[n++] = (*p)->name;
	vq_tool_near(vq_usage_error(c, "there is no data source '%s'", name), name, all, n);
	return NULL;
}

static int
fetch(struct vq_cli *c, const struct options *o)
{
	const struct vq_source_kind *k = source_named(c, c->arg[1]);
	struct vq_fetch_options how = {
		.to = o->to, .mirror = o->mirror,
		.log = c->quiet ? NULL : stderr, .redraw = isatty(STDERR_FILENO),
	};
	char *folder;

	if (k == NULL || vq_fetch_source(k, &how, &folder, &c->d) < 0)
		return vq_diags_status(&c->d);
	printf("%s\n", folder);
	if (o->to != NULL && strcmp(o->to, "data") != 0 && strcmp(o->to, "data/") != 0)
		vq_notice(c, "runs find it there when VQGRAPH_DATA=%s is set", o->to);
	free(folder);
	return VQ_OK;
}

/* --- verify -------------------------------------------------------------------- */

/* How a file compares with the mirrors' original. */
static const char *
file_state(const struct vq_source_kind *k, const char *path, struct vq_diags *d)
{
	const char *name = strrchr(path, '/') + 1;

	for (const struct vq_fetch *f = k->fetch; f != NULL && f->file != NULL; f++)
		if (strcmp(f->file, name) == 0)
			return vq_fetch_same(f, path, d) == 1 ? "original" : "whole, but not the original's bytes";
	return "whole";
}

static json_t *
verified_split(const struct vq_dataset *set, struct vq_text *text, struct vq_diags *d)
{
	json_t *o = json_object(), *files = json_array();
	char count[VQ_NUM_STR], size[VQ_NUM_STR], type[VQ_TYPE_STR];

	vq_text_add(text, "%s:%s  %s samples", set->name, set->split, vq_count_str(set->count, count));
	for (int f = 0; f < set->fields; f++)
		if (set->field[f].type.shape.rank > 0 || strcmp(set->field[f].name, "label") != 0)
			vq_text_add(text, ", %s %s", set->field[f].name, vq_type_str(&set->field[f].type, type));
	if (set->classes > 0)
		vq_text_add(text, ", %d classes", set->classes);
	if (set->variance > 0)
		vq_text_add(text, ", variance %.4f", set->variance);
	vq_text_add(text, "\n");
	json_object_set_new(o, "split", json_string(set->split));
	json_object_set_new(o, "samples", json_integer(set->count));
	json_object_set_new(o, "classes", json_integer(set->classes));
	json_object_set_new(o, "variance", vq_json_real(set->variance));
	for (int i = 0; i < set->files; i++) {
		const char *state = file_state(set->kind, set->file[i], d);
		struct stat st = { 0 };
		char hex[65] = "";

		stat(set->file[i], &st);
		vq_sha256_files(&set->file[i], 1, hex, d);
		vq_text_add(text, "  %s  %s  %s\n    SHA-256 %s\n", set->file[i],
		    vq_bytes_str((double)st.st_size, size), state, hex);
		json_array_append_new(files, json_pack("{s:o, s:I, s:s, s:b}", "file", vq_json_text(set->file[i]),
		    "bytes", (json_int_t)st.st_size, "sha256", hex, "original", strcmp(state, "original") == 0));
	}
	if (set->files == 0) {
		char hex[65];

		vq_dataset_sha256(set, hex, d);
		if (hex[0] != '\0')
			vq_text_add(text, "  %s\n    SHA-256 of what was read %s\n", set->where, hex);
		json_object_set_new(o, "sha256", json_string(hex));
	}
	json_object_set_new(o, "files", files);
	return o;
}

/* The keys of `data` that tell how files are read. */
static const char *const reading[] = { "size", "resize", "interpolation", "channels", "labels", "bad" };

/* "size=64": -1 after an error. */
static int
take_key(struct vq_cli *c, char *text, struct vq_data_spec *spec)
{
	size_t n = strcspn(text, "=");
	bool known = false;
	char why[VQ_WHY];

	for (size_t i = 0; i < VQ_COUNT(reading); i++)
		known |= strlen(reading[i]) == n && strncmp(reading[i], text, n) == 0;
	if (!known || text[n] != '=') {
		struct vq_diag *e = vq_usage_error(c, "data verify does not take '%s'", text);
		vq_help(e, "after the name come keys of `data` that tell how it is read, as size=64: size, resize, "
		    "interpolation, channels, labels, bad");
		return -1;
	}
	text[n] = '\0';
	int error = vq_param_set(vq_param_find(vq_data_params, text), spec, text + n + 1, why);
	if (error < 0)
		vq_usage_error(c, "%s %s", text, why);
	return error;
}

/* Reads all splits entirely; errors are gathered, so that all that is wrong comes out. */
static int
verify(struct vq_cli *c)
{
	struct vq_text text = { 0 };
	struct vq_data_spec spec = { 0 };

	vq_params_default(vq_data_params, &spec);
	spec.source = c->arg[1];
	for (int i = 2; i < c->args; i++)
		if (take_key(c, c->arg[i], &spec) < 0)
			return VQ_USAGE;
	json_t *all = json_array();
	for (const char *const *split = vq_data_splits(&spec, &c->arena); *split != NULL; split++) {
		struct vq_dataset *set;

		spec.split = *split;
		spec.fresh = true;
		set = vq_dataset_open(&spec, &c->d);
		if (set == NULL)
			continue;
		json_array_append_new(all, verified_split(set, &text, &c->d));
		vq_dataset_close(set);
	}

	int rc = vq_diags_status(&c->d);

	if (c->json) {
		vq_text_free(&text);
		vq_tool_json(c, json_pack("{s:o, s:b, s:o}", "name", vq_json_text(c->arg[1]),
		    "whole", rc == VQ_OK, "splits", all), true);
		return rc;
	}
	json_decref(all);
	vq_tool_write(c, NULL, &text);
	vq_text_free(&text);
	return rc;
}

/* --- the command --------------------------------------------------------------- */

static int
run(struct vq_cli *c, void *options)
{
	const struct options *o = options;
	const char *what = c->args > 0 ? c->arg[0] : "list";
	bool named = strcmp(what, "fetch") == 0 || strcmp(what, "verify") == 0;
	static const char *const verbs[] = { "list", "fetch", "verify" };

	if (!named && strcmp(what, "list") != 0) {
		vq_tool_near(vq_usage_error(c, "data does not know '%s'", what), what, verbs, (int)VQ_COUNT(verbs));
		return VQ_USAGE;
	}
	if (named && (c->args < 2 || (c->args > 2 && strcmp(what, "verify") != 0))) {
		vq_help(vq_usage_error(c, "data %s wants the name of a source", what),
		    "vqgraph data list shows them");
		return VQ_USAGE;
	}
	if (!named && c->args > 1) {
		vq_usage_error(c, "data list takes no argument");
		return VQ_USAGE;
	}
	if (strcmp(what, "fetch") != 0 && (o->to != NULL || o->mirror != NULL)) {
		vq_usage_error(c, "--to and --mirror belong to data fetch");
		return VQ_USAGE;
	}
	if (!named)
		return list(c);
	return strcmp(what, "fetch") == 0 ? fetch(c, o) : verify(c);
}

static const char *const to_also[] = { "dir", "out", "output", "into", NULL };
static const char *const mirror_also[] = { "url", "from", "source", NULL };

static const struct vq_opt opts[] = {
	{ .name = "to", .kind = VQ_O_STRING, .offset = offsetof(struct options, to), .value = "DIR", .also = to_also,
	  .doc = "fetch: put the files into DIR/NAME (default: the user's data folder, where runs look)" },
	{ .name = "mirror", .kind = VQ_O_STRING, .offset = offsetof(struct options, mirror), .value = "URL",
	  .also = mirror_also,
	  .doc = "fetch: take the files from URL/FILE (default: $VQGRAPH_MIRROR, or the set's own)" },
	{ 0 }
};

static const char *const examples[] = {
	"vqgraph data list", "every source, the files it wants and where it is looked for",
	"vqgraph data fetch mnist", "downloads, checks SHA-256, and puts it where runs find it",
	"vqgraph data fetch mnist --to data", "the same into data/mnist",
	"vqgraph data verify mnist", "reads all of it, and compares it with the original",
	"vqgraph data verify ./photos size=64", "pictures of many sizes, scaled to 64 x 64",
	NULL
};
static const char *const also[] = { "dataset", "datasets", "download", "fetch", NULL };

extern const struct vq_command vq_command_data;
const struct vq_command vq_command_data = {
	.name = "data",
	.args = "[list | fetch NAME | verify NAME [KEY=VALUE ...]]",
	.doc = "lists, downloads and verifies datasets",
	.about = "A source is looked for in the folders of VQGRAPH_DATA, in data/, in the user's data folder "
	    "($XDG_DATA_HOME/vqgraph or ~/.local/share/vqgraph), then in the system's places. A download that "
	    "stopped goes on where it was; a file gets its name only when its SHA-256 is right. For verify, NAME may "
	    "be the path of a folder or file, and size=64, channels=1 and their like say how it is read.",
	.examples = examples,
	.max_args = 2 + (int)VQ_COUNT(reading),
	.uses = VQ_C_JSON,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
