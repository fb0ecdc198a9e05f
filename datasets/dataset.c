/*
 * dataset -- the source kinds, and finding and opening one
 */
#include "datasets/dataset.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "datasets/list.h"
#include "datasets/sha256.h"
#include "engine/suggest.h"

#define DECLARE(name) extern const struct vq_source_kind vq_source_##name;
VQ_SOURCE_LIST(DECLARE)
/* A path as source is a folder of this kind; it has no name to ask for it by. */
DECLARE(idx_folder)
#undef DECLARE

#define ADDRESS(name) &vq_source_##name,
static const struct vq_source_kind *const kinds[] = { VQ_SOURCE_LIST(ADDRESS) NULL };
#undef ADDRESS

static const char *const also_source[] = { "dataset", "name", "path", NULL };
static const char *const also_split[] = { "subset", "part", NULL };
static const char *const also_batch[] = { "batch_size", "batchsize", "bs", NULL };
static const char *const also_limit[] = { "count", "max", "samples", "take", "n", NULL };
static const char *const also_skip[] = { "offset", "start", "drop", NULL };

#define FIELD(f) .name = #f, .offset = offsetof(struct vq_data_spec, f)
const struct vq_param vq_data_params[] = {
	{ FIELD(source), .kind = VQ_P_STRING, .also = also_source,
	  .doc = "a data source by name (vqgraph data list), or the path of a folder" },
	{ FIELD(split), .kind = VQ_P_STRING, .init = "train", .also = also_split,
	  .doc = "the part of it: train or test" },
	{ FIELD(batch), .kind = VQ_P_INT, .init = "128", .min = 1, .max = 1 << 20, .also = also_batch,
	  .doc = "samples per batch" },
	{ FIELD(shuffle), .kind = VQ_P_BOOL, .init = "false",
	  .doc = "a new order in each epoch, given by the seed" },
	{ FIELD(limit), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 1LL << 40, .also = also_limit,
	  .doc = "use the first so many samples; 0: all" },
	{ FIELD(skip), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 1LL << 40, .also = also_skip,
	  .doc = "leave out so many samples at the beginning" },
	VQ_PARAMS_END
};
#undef FIELD

const struct vq_source_kind *const *
vq_source_kinds(void)
{
	return kinds;
}

const struct vq_source_kind *
vq_source_kind_find(const char *name)
{
	for (int i = 0; kinds[i] != NULL; i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

/* --- places ---------------------------------------------------------------- */

const char *
vq_data_user_folder(struct vq_arena *a)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (xdg != NULL && xdg[0] == '/')
		return vq_arena_printf(a, "%s/vqgraph", xdg);
	if (home != NULL && home[0] == '/')
		return vq_arena_printf(a, "%s/.local/share/vqgraph", home);
	return NULL;
}

/* The entries of $VQGRAPH_DATA, empty ones left out. */
static int
listed_folders(const char *list, const char *folder, const char **place, struct vq_arena *a)
{
	int n = 0;

	while (list != NULL && *list != '\0') {
		size_t len = strcspn(list, ":");

		if (len > 0 && place != NULL)
			place[n] = vq_arena_printf(a, "%.*s/%s", (int)len, list, folder);
		n += len > 0;
		list += len + (list[len] == ':');
	}
	return n;
}

const char *const *
vq_data_places(const struct vq_source_kind *k, struct vq_arena *a)
{
	const char *list = getenv("VQGRAPH_DATA");
	int listed = listed_folders(list, "", NULL, a), system = 0, n = 0;

	while (k->system != NULL && k->system[system] != NULL)
		system++;

	const char **place = vq_arena_alloc(a, (size_t)(listed + system + 3) * sizeof(*place));

	if (k->folder != NULL) {
		const char *user = vq_data_user_folder(a);

		n = listed_folders(list, k->folder, place, a);
		place[n++] = vq_arena_printf(a, "data/%s", k->folder);
		if (user != NULL)
			place[n++] = vq_arena_printf(a, "%s/%s", user, k->folder);
	}
	for (int i = 0; i < system; i++)
		place[n++] = k->system[i];
	return place;
}

const char *
vq_data_find(const struct vq_source_kind *k, const char *split, struct vq_arena *a)
{
	const char *const *place = vq_data_places(k, a);

	for (; *place != NULL; place++)
		if (k->missing(*place, split) == NULL)
			return *place;
	return NULL;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* --- opening --------------------------------------------------------------- */

static void
unknown_source(const struct vq_data_spec *spec, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_CONFIG, spec->at, "there is no data source '%s'", spec->source);
	struct vq_suggest near;
	struct vq_text names = { 0 };

	vq_suggest_start(&near, spec->source);
	for (int i = 0; kinds[i] != NULL; i++) {
		vq_suggest_try(&near, kinds[i]->name);
		vq_text_add(&names, "%s%s", i > 0 ? ", " : "", kinds[i]->name);
	}
	if (near.best != NULL)
		vq_help(e, "there is a source with a similar name: %s", near.best);
	vq_note(e, NULL, "sources are %s, or the path of a folder (with a / in it)", names.s);
	vq_text_free(&names);
}

static void
not_found(const struct vq_source_kind *k, const struct vq_data_spec *spec, struct vq_arena *a,
    struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_DATA, spec->at, "the data of '%s' (%s) is not on this machine",
	    k->name, spec->split);

	for (const char *const *place = vq_data_places(k, a); *place != NULL; place++) {
		if (!is_folder(*place))
			vq_detail(e, NULL, "%s: there is no such folder", *place);
		else
			vq_detail(e, NULL, "%s: %s is missing", *place, k->missing(*place, spec->split));
	}
	if (k->fetch != NULL)
		vq_help(e, "vqgraph data fetch %s    downloads it", k->name);
	if (k->package != NULL)
		vq_help(e, "apt install %s    installs it on Debian and Ubuntu", k->package);
	vq_help(e, "VQGRAPH_DATA=DIR says that it lies in DIR/%s; source: digits needs no files", k->folder);
}

/* The source as a path from where the caller is. */
static const char *
path_from_base(const struct vq_data_spec *spec, struct vq_arena *a)
{
	const char *base = spec->base != NULL ? spec->base : "";
	size_t len = strlen(base);

	if (len > 0 && !is_folder(base))
		while (len > 0 && base[len - 1] != '/')
			len--;
	while (len > 1 && base[len - 1] == '/')
		len--;
	if (spec->source[0] == '/' || len == 0)
		return vq_arena_strdup(a, spec->source);
	return vq_arena_printf(a, "%.*s/%s", (int)len, base, spec->source);
}

/* The folder that a path as source means; NULL after an error. */
static const char *
path_folder(const struct vq_data_spec *spec, struct vq_arena *a, struct vq_diags *d)
{
	const char *path = path_from_base(spec, a);
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return path;
	if (strchr(spec->source, '/') == NULL && strcmp(spec->source, ".") != 0)
		unknown_source(spec, d);
	else if (stat(path, &st) == 0)
		vq_error(d, VQ_DATA, spec->at, "%s: is not a folder; a path as source is a folder", path);
	else
		vq_error(d, VQ_DATA, spec->at, "%s: %s", path, strerror(errno));
	return NULL;
}

static bool
split_exists(const struct vq_data_spec *spec, struct vq_diags *d)
{
	struct vq_suggest near;

	if (strcmp(spec->split, "train") == 0 || strcmp(spec->split, "test") == 0)
		return true;

	struct vq_diag *e = vq_error(d, VQ_CONFIG, spec->at, "'%s' has no split '%s'",
	    spec->source, spec->split);

	vq_suggest_start(&near, spec->split);
	vq_suggest_also(&near, "train", (const char *const[]){ "training", NULL });
	vq_suggest_also(&near, "test", (const char *const[]){ "t10k", "testing", "val", "valid",
	    "validation", "dev", NULL });
	vq_suggest_try(&near, "train");
	vq_suggest_try(&near, "test");
	if (near.best != NULL)
		vq_help(e, "you may mean: %s", near.best);
	vq_note(e, NULL, "its splits are train and test");
	return false;
}

/* Kind and folder (NULL: built in) of what the spec names; NULL after errors. */
static const struct vq_source_kind *
locate(const struct vq_data_spec *spec, struct vq_arena *a, const char **folder, struct vq_diags *d)
{
	const struct vq_source_kind *k = vq_source_kind_find(spec->source);

	*folder = NULL;
	if (k == NULL) {
		*folder = path_folder(spec, a, d);
		k = &vq_source_idx_folder;
		if (*folder == NULL || !split_exists(spec, d))
			return NULL;

		const char *missing = k->missing(*folder, spec->split);

		if (missing != NULL) {
			vq_note(vq_error(d, VQ_DATA, spec->at, "%s: %s is missing", *folder, missing), NULL,
			    "a folder as source holds %s", k->layout);
			return NULL;
		}
		return k;
	}
	if (!split_exists(spec, d))
		return NULL;
	if (k->folder != NULL) {
		*folder = vq_data_find(k, spec->split, a);
		if (*folder == NULL) {
			not_found(k, spec, a, d);
			return NULL;
		}
	}
	return k;
}

/* The spec with its defaults; false when it names no source. */
static bool
complete(const struct vq_data_spec *spec, struct vq_data_spec *full, struct vq_diags *d)
{
	if (spec->source == NULL || spec->source[0] == '\0') {
		vq_error(d, VQ_CONFIG, spec->at, "data: 'source' is missing");
		return false;
	}
	*full = *spec;
	if (full->split == NULL)
		full->split = "train";
	if (full->lo == 0 && full->hi == 0)
		full->hi = 1;
	return true;
}

int
vq_dataset_check(const struct vq_data_spec *spec, struct vq_diags *d)
{
	struct vq_arena a = { 0 };
	struct vq_data_spec full;
	const char *folder;
	bool there = complete(spec, &full, d) && locate(&full, &a, &folder, d) != NULL;

	vq_arena_free(&a);
	return there ? 0 : -1;
}

struct vq_dataset *
vq_dataset_open(const struct vq_data_spec *spec, struct vq_diags *d)
{
	struct vq_arena a = { 0 };
	struct vq_dataset *set = NULL;
	struct vq_data_spec full;
	const char *folder;

	if (!complete(spec, &full, d))
		return NULL;

	const struct vq_source_kind *k = locate(&full, &a, &folder, d);

	if (k != NULL) {
		set = vq_alloc(sizeof(*set));
		set->kind = k;
		set->name = vq_strdup(full.source);
		set->split = vq_strdup(full.split);
		set->where = vq_strdup(folder != NULL ? folder : "built in");
		if (k->open(set, &full, folder, d) < 0) {
			vq_dataset_close(set);
			set = NULL;
		}
	}
	vq_arena_free(&a);
	return set;
}

struct vq_opening {
	struct vq_data_spec spec;
	struct vq_arena arena;
	struct vq_diags diags;
	struct vq_dataset *set;
	pthread_t thread;
	bool threaded;
};

static void *
open_ahead(void *arg)
{
	struct vq_opening *o = arg;

	o->set = vq_dataset_open(&o->spec, &o->diags);
	return NULL;
}

struct vq_opening *
vq_dataset_open_begin(const struct vq_data_spec *spec)
{
	struct vq_opening *o = vq_alloc(sizeof(*o));
	const char **text[] = { &o->spec.source, &o->spec.split, &o->spec.base };

	o->spec = *spec;
	for (size_t i = 0; i < VQ_COUNT(text); i++)
		if (*text[i] != NULL)
			*text[i] = vq_arena_strdup(&o->arena, *text[i]);
	o->threaded = pthread_create(&o->thread, NULL, open_ahead, o) == 0;
	return o;
}

struct vq_dataset *
vq_dataset_open_end(struct vq_opening *o, struct vq_diags *d)
{
	struct vq_dataset *set;

	if (o->threaded) {
		pthread_join(o->thread, NULL);
		set = o->set;
		vq_diags_move(d, &o->diags);
	} else {
		set = vq_dataset_open(&o->spec, d);
	}
	vq_arena_free(&o->arena);
	free(o);
	return set;
}

void
vq_dataset_close(struct vq_dataset *d)
{
	if (d == NULL)
		return;
	d->kind->close(d);
	for (int i = 0; i < d->files; i++)
		free(d->file[i]);
	free(d->name);
	free(d->split);
	free(d->where);
	free(d);
}

int
vq_dataset_field(const struct vq_dataset *d, const char *name)
{
	for (int f = 0; f < d->fields; f++)
		if (strcmp(d->field[f].name, name) == 0)
			return f;
	return -1;
}

int
vq_dataset_sha256(const struct vq_dataset *d, char hex[65], struct vq_diags *diags)
{
	hex[0] = '\0';
	return d->files > 0 ? vq_sha256_files(d->file, d->files, hex, diags) : 0;
}
