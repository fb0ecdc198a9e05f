/*
 * dataset -- the source kinds, and finding and opening one
 */
#include "datasets/dataset.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "datasets/kept.h"
#include "datasets/list.h"
#include "datasets/sha256.h"
#include "engine/suggest.h"

#define DECLARE(name) extern const struct vq_source_kind vq_source_##name;
VQ_SOURCE_LIST(DECLARE)
VQ_PATH_SOURCE_LIST(DECLARE)
#undef DECLARE

#define ADDRESS(name) &vq_source_##name,
static const struct vq_source_kind *const kinds[] = { VQ_SOURCE_LIST(ADDRESS) NULL };
/* These have no name to ask for them by. */
static const struct vq_source_kind *const path_kinds[] = { VQ_PATH_SOURCE_LIST(ADDRESS) NULL };
#undef ADDRESS

static const char *const also_source[] = { "dataset", "name", "path", NULL };
static const char *const also_split[] = { "subset", "part", NULL };
static const char *const also_batch[] = { "batch_size", "batchsize", "bs", NULL };
static const char *const also_limit[] = { "count", "max", "samples", "take", "n", NULL };
static const char *const also_skip[] = { "offset", "start", "drop", NULL };
static const char *const also_resize[] = { "shorter_side", "smallest_max_size", "resize_to", NULL };
static const char *const also_size[] = { "image_size", "crop_size", "resolution", "shape", NULL };
static const char *const also_window[] = { "patch", "patch_size", "crop_codes", "block", NULL };
static const char *const also_interpolation[] = { "filter", "resample", "method", "antialias", NULL };
static const char *const interpolations[] = { "bilinear", "bicubic", "box", NULL };
static const char *const also_channels[] = { "mode", "color", "colour", "grayscale", "grey", NULL };
static const char *const also_crop[] = { "random_crop", "padding", "pad", NULL };
static const char *const also_flip[] = { "horizontal_flip", "random_horizontal_flip", "hflip", "mirror", NULL };
static const char *const also_labels[] = { "label", "targets", "y", "labels_file", NULL };
static const char *const also_bad[] = { "on_error", "errors", "corrupt", "unreadable", NULL };
static const char *const bad_choices[] = { "fail", "skip", NULL };

#define FIELD(f) .name = #f, .offset = offsetof(struct vq_data_spec, f)
const struct vq_param vq_data_params[] = {
	{ FIELD(source), .kind = VQ_P_STRING, .init = "", .also = also_source,
	  .doc = "a data source by name (vqgraph data list), or a path" },
	{ FIELD(split), .kind = VQ_P_STRING, .init = "train", .also = also_split,
	  .doc = "the part of it: train, test, and val where there is one" },
	{ FIELD(batch), .kind = VQ_P_INT, .init = "128", .min = 1, .max = 1 << 20, .also = also_batch,
	  .doc = "samples per batch" },
	{ FIELD(shuffle), .kind = VQ_P_BOOL, .init = "false",
	  .doc = "a new order in each epoch, given by the seed" },
	{ FIELD(limit), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 1LL << 40, .also = also_limit,
	  .doc = "use the first so many samples; 0: all" },
	{ FIELD(skip), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 1LL << 40, .also = also_skip,
	  .doc = "leave out so many samples at the beginning" },
	{ FIELD(size), .kind = VQ_P_INTS, .init = "[]", .min = 1, .max = 8192, .max_count = 2, .also = also_size,
	  .doc = "pictures: height and width that the middle part of that aspect is brought to; [] leaves them as they are" },
	{ FIELD(resize), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 8192, .also = also_resize,
	  .doc = "pictures: the shorter side is brought to this, and size is a window of that: in the middle, in training at random" },
	{ FIELD(window), .kind = VQ_P_INTS, .init = "[]", .min = 1, .max = 8192, .max_count = 2, .also = also_window,
	  .doc = "codes: rows and columns of a window of each sample's grid: in the middle, in training at random; [] takes all" },
	{ FIELD(interpolation), .kind = VQ_P_ENUM, .init = "bilinear", .choices = interpolations, .also = also_interpolation,
	  .doc = "pictures: the filter for size; each grows with the scale, so that nothing is aliased" },
	{ FIELD(channels), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 3, .also = also_channels,
	  .doc = "pictures: 1 makes them grey (Rec. 601), 3 gives grey ones three channels; 0: as they are" },
	{ FIELD(crop), .kind = VQ_P_INT, .init = "0", .min = 0, .max = 8192, .also = also_crop,
	  .doc = "training: a random window of each picture's size, of the picture with so many black pixels around" },
	{ FIELD(flip), .kind = VQ_P_BOOL, .init = "false", .also = also_flip,
	  .doc = "training: each picture mirrored left to right or not, at random" },
	{ FIELD(labels), .kind = VQ_P_STRING, .init = "", .also = also_labels,
	  .doc = "for a source that is one .npy file: the .npy file of its labels" },
	{ FIELD(bad), .kind = VQ_P_ENUM, .init = "fail", .choices = bad_choices, .also = also_bad,
	  .doc = "pictures that cannot be read: fail names them, skip leaves them out and says so" },
	VQ_PARAMS_END
};
#undef FIELD

const struct vq_source_kind *const *
vq_source_kinds(void)
{
	return kinds;
}

const struct vq_source_kind *const *
vq_source_path_kinds(void)
{
	return path_kinds;
}

const char *const *
vq_source_splits(const struct vq_source_kind *k)
{
	static const char *const usual[] = { "train", "test", NULL };

	return k->splits != NULL ? k->splits : usual;
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

/* The folders that sets lie in: the entries of $VQGRAPH_DATA, data/, the user's. */
static const char **
set_folders(struct vq_arena *a)
{
	const char *list = getenv("VQGRAPH_DATA"), *user = vq_data_user_folder(a);
	size_t room = 4, n = 0;

	for (const char *s = list; s != NULL && *s != '\0'; s++)
		room += *s == ':';

	const char **folder = vq_arena_alloc(a, room * sizeof(*folder));

	while (list != NULL && *list != '\0') {
		size_t len = strcspn(list, ":");

		if (len > 0)
			folder[n++] = vq_arena_strndup(a, list, len);
		list += len + (list[len] == ':');
	}
	folder[n++] = "data";
	if (user != NULL)
		folder[n] = user;
	return folder;
}

const char *const *
vq_data_folders(struct vq_arena *a)
{
	return set_folders(a);
}

/* Appends the single files that are there, beside the folder of the set and in it. */
static size_t
add_files(const struct vq_source_kind *k, const char *folder, const char **place, size_t n, struct vq_arena *a)
{
	for (int i = 0; k->files != NULL && k->files[i] != NULL; i++) {
		const char *beside = vq_arena_printf(a, "%s/%s", folder, k->files[i]);
		const char *in = vq_arena_printf(a, "%s/%s/%s", folder, k->folder, k->files[i]);

		if (access(in, F_OK) == 0)
			place[n++] = in;
		if (access(beside, F_OK) == 0)
			place[n++] = beside;
	}
	return n;
}

const char *const *
vq_data_places(const struct vq_source_kind *k, struct vq_arena *a)
{
	const char **folder = k->folder != NULL ? set_folders(a) : NULL;
	size_t folders = 0, files = 0, system = 0, n = 0;

	while (folder != NULL && folder[folders] != NULL)
		folders++;
	while (k->files != NULL && k->files[files] != NULL)
		files++;
	while (k->system != NULL && k->system[system] != NULL)
		system++;

	const char **place = vq_arena_alloc(a, (folders * (1 + 2 * files) + system + 1) * sizeof(*place));

	for (size_t i = 0; i < folders; i++) {
		place[n++] = vq_arena_printf(a, "%s/%s", folder[i], k->folder);
		n = add_files(k, folder[i], place, n, a);
	}
	for (size_t i = 0; i < system; i++)
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
	vq_note(e, NULL, "sources are %s, or a path (with a / in it)", names.s);
	vq_text_free(&names);
}

static void
not_found(const struct vq_source_kind *k, const struct vq_data_spec *spec, struct vq_arena *a,
    struct vq_diags *d)
{
	struct vq_text files = { 0 };
	struct vq_diag *e = vq_error(d, VQ_DATA, spec->at, "the data of '%s' (%s) is not on this machine",
	    k->name, spec->split);

	for (const char *const *place = vq_data_places(k, a); *place != NULL; place++) {
		if (access(*place, F_OK) < 0)
			vq_detail(e, NULL, "%s: there is no such folder", *place);
		else
			vq_detail(e, NULL, "%s: %s is missing", *place, k->missing(*place, spec->split));
	}
	if (k->fetch != NULL)
		vq_help(e, "vqgraph data fetch %s    downloads it", k->name);
	if (k->package != NULL)
		vq_help(e, "apt install %s    installs it on Debian and Ubuntu", k->package);
	vq_help(e, "VQGRAPH_DATA=DIR says that it lies in DIR/%s; source: digits needs no files", k->folder);
	for (int i = 0; k->files != NULL && k->files[i] != NULL; i++)
		vq_text_add(&files, "%s%s", i > 0 ? ", " : "", k->files[i]);
	if (files.len > 0)
		vq_note(e, NULL, "a single file is looked for beside and in each of these folders too: %s", files.s);
	vq_text_free(&files);
}

const char *
vq_data_path(const struct vq_data_spec *spec, const char *path, struct vq_arena *a)
{
	const char *base = spec->base != NULL ? spec->base : "";
	size_t len = strlen(base);

	if (len > 0 && !is_folder(base))
		while (len > 0 && base[len - 1] != '/')
			len--;
	while (len > 1 && base[len - 1] == '/')
		len--;
	if (path[0] == '/' || len == 0)
		return vq_arena_strdup(a, path);
	return vq_arena_printf(a, "%.*s/%s", (int)len, base, path);
}

/* The kind of what lies at a path; NULL after an error. */
static const struct vq_source_kind *
path_kind(const struct vq_data_spec *spec, const char *path, struct vq_diags *d)
{
	struct stat st;
	bool there = stat(path, &st) == 0;

	for (int i = 0; there && path_kinds[i] != NULL; i++)
		if (path_kinds[i]->knows(path))
			return path_kinds[i];
	if (!there && strpbrk(spec->source, "/.") == NULL) {
		unknown_source(spec, d);
		return NULL;
	}

	struct vq_diag *e = vq_error(d, VQ_DATA, spec->at, "%s: %s", path, !there ? strerror(errno) :
	    S_ISDIR(st.st_mode) ? "holds nothing that is known as data" : "is no file that is known as data");

	if (!there)
		vq_help(e, "say where the data lies, by its full path or from the folder of the model file, as in source=$PWD/pictures/");
	for (int i = 0; there && path_kinds[i] != NULL; i++)
		vq_note(e, NULL, "%s: %s", path_kinds[i]->name, path_kinds[i]->layout);
	return NULL;
}

static bool
split_exists(const struct vq_source_kind *k, const struct vq_data_spec *spec, struct vq_diags *d)
{
	const char *const *splits = vq_source_splits(k);
	struct vq_suggest near;
	struct vq_text all = { 0 };

	vq_suggest_start(&near, spec->split);
	vq_suggest_also(&near, "train", (const char *const[]){ "training", NULL });
	vq_suggest_also(&near, "test", (const char *const[]){ "t10k", "testing", NULL });
	for (int i = 0; splits[i] != NULL; i++) {
		if (strcmp(spec->split, splits[i]) == 0) {
			vq_text_free(&all);
			return true;
		}
		vq_suggest_try(&near, splits[i]);
		vq_text_add(&all, "%s%s", i == 0 ? "" : splits[i + 1] != NULL ? ", " : " and ", splits[i]);
	}
	vq_suggest_also(&near, splits[2] != NULL ? "val" : "test", (const char *const[]){ "val", "valid",
	    "validation", "dev", NULL });

	struct vq_diag *e = vq_error(d, VQ_CONFIG, spec->at, "'%s' has no split '%s'", spec->source, spec->split);

	if (near.best != NULL)
		vq_help(e, "you may mean: %s", near.best);
	vq_note(e, NULL, "its splits are %s", all.s);
	vq_text_free(&all);
	return false;
}

static bool
labels_fit(const struct vq_source_kind *k, const struct vq_data_spec *spec, struct vq_diags *d)
{
	if (spec->labels == NULL || k->labels)
		return true;
	vq_error(d, VQ_CONFIG, spec->at, "data: labels is for a source that is one .npy file; '%s' has labels of its own",
	    spec->source);
	return false;
}

/* What the split lacks at path.  What has been read and kept need not be looked for again: an archive of many
 * pictures is passed over for that. */
static const char *
missing_of(const struct vq_source_kind *k, const struct vq_data_spec *spec, const char *path)
{
	return vq_kept_has(k, spec, path) ? NULL : k->missing(path, spec->split);
}

/* Kind and path of what a path as source means; NULL after errors. */
static const struct vq_source_kind *
locate_path(const struct vq_data_spec *spec, struct vq_arena *a, const char **path, struct vq_diags *d)
{
	const struct vq_source_kind *k;
	const char *missing;

	*path = vq_data_path(spec, spec->source, a);
	k = path_kind(spec, *path, d);
	if (k == NULL || !split_exists(k, spec, d) || !labels_fit(k, spec, d))
		return NULL;
	missing = missing_of(k, spec, *path);
	if (missing == NULL)
		return k;
	struct vq_diag *e = vq_error(d, VQ_DATA, spec->at, "%s: %s is missing", *path, missing);
	const char *const *split = vq_data_splits(spec, a);
	vq_note(e, NULL, "%s as source holds %s", k->name, k->layout);
	if (split && split[0])
		vq_help(e, "it has the split %s: `split: %s` in data, `splits: [%s]` of a stage that encodes", split[0], split[0], split[0]);
	return NULL;
}

/* Kind and path (NULL: built in) of what the spec names; NULL after errors. */
static const struct vq_source_kind *
locate(const struct vq_data_spec *spec, struct vq_arena *a, const char **path, struct vq_diags *d)
{
	const struct vq_source_kind *k = vq_source_kind_find(spec->source);

	*path = NULL;
	if (k == NULL)
		return locate_path(spec, a, path, d);
	if (!split_exists(k, spec, d) || !labels_fit(k, spec, d))
		return NULL;
	if (k->folder != NULL) {
		const char *const *place = vq_data_places(k, a);

		while (*place != NULL && missing_of(k, spec, *place) != NULL)
			place++;
		*path = *place;
		if (*path == NULL) {
			not_found(k, spec, a, d);
			return NULL;
		}
	}
	return k;
}

/* The spec with its defaults; false when it names no source or asks for what there is not. */
static bool
complete(const struct vq_data_spec *spec, struct vq_data_spec *full, struct vq_diags *d)
{
	if (spec->source == NULL || spec->source[0] == '\0') {
		vq_error(d, VQ_CONFIG, spec->at, "data: 'source' is missing");
		return false;
	}
	if (spec->channels != 0 && spec->channels != 1 && spec->channels != 3) {
		vq_error(d, VQ_CONFIG, spec->at, "data: channels must be 1 (grey), 3 (colour) or 0 (as they are), is %lld",
		    (long long)spec->channels);
		return false;
	}
	for (int i = 0; spec->resize > 0 && i < (spec->size.count > 0 ? spec->size.count : 1); i++)
		if (spec->size.count == 0 || spec->size.v[i] > spec->resize) {
			vq_error(d, VQ_CONFIG, spec->at, "data: resize wants size: a window of at most %lld x %lld",
			    (long long)spec->resize, (long long)spec->resize);
			return false;
		}
	if (spec->resize > 0 && spec->crop > 0) {
		vq_error(d, VQ_CONFIG, spec->at, "data: resize and crop are two ways of a random window: one is enough");
		return false;
	}
	*full = *spec;
	if (full->labels != NULL && full->labels[0] == '\0')
		full->labels = NULL;
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
	bool there = spec->stage ? true : complete(spec, &full, d) && locate(&full, &a, &folder, d) != NULL;

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

		int kept = vq_kept_open(set, &full, folder, d);

		if (kept < 0 || (kept == 0 && k->open(set, &full, folder, d) < 0)) {
			vq_dataset_close(set);
			set = NULL;
		} else if (kept == 0) {
			set->keeping = vq_kept_begin(set, &full, folder);
		}
	}
	vq_arena_free(&a);
	return set;
}

const char *const *
vq_data_splits(const struct vq_data_spec *spec, struct vq_arena *a)
{
	const struct vq_source_kind *k = vq_source_kind_find(spec->source);
	const char *path = vq_data_path(spec, spec->source, a), **there;
	int n = 0;

	if (k != NULL && (k->splits == NULL || k->folder == NULL))
		return vq_source_splits(k);
	there = vq_arena_alloc(a, 8 * sizeof(*there));
	/* Not everyone has all of what is more than train and test. */
	for (const char *const *s = k != NULL ? vq_source_splits(k) : NULL; s != NULL && *s != NULL; s++)
		if (vq_data_find(k, *s, a) != NULL)
			there[n++] = *s;
	if (k != NULL)
		return n > 0 ? there : vq_source_splits(k);
	for (int i = 0; k == NULL && path_kinds[i] != NULL; i++)
		if (path_kinds[i]->knows(path))
			k = path_kinds[i];
	if (k == NULL)
		k = path_kinds[0];
	for (const char *const *s = vq_source_splits(k); *s != NULL; s++)
		if (k->has != NULL ? k->has(path, *s) : k->missing(path, *s) == NULL)
			there[n++] = *s;
	return n > 0 ? there : vq_source_splits(k);
}

struct vq_opening {
	struct vq_data_spec spec;
	struct vq_arena arena;
	struct vq_diags diags;
	struct vq_dataset *set;
	struct vq_reading reading;
	pthread_t thread;
	bool threaded, joined;
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
	const char **text[] = { &o->spec.source, &o->spec.split, &o->spec.base, &o->spec.labels };

	o->spec = *spec;
	for (size_t i = 0; i < VQ_COUNT(text); i++)
		if (*text[i] != NULL)
			*text[i] = vq_arena_strdup(&o->arena, *text[i]);
	o->spec.reading = &o->reading;
	o->threaded = pthread_create(&o->thread, NULL, open_ahead, o) == 0;
	return o;
}

bool
vq_dataset_open_wait(struct vq_opening *o, double seconds, struct vq_reading *so_far)
{
	struct timespec until;

	if (!o->threaded || o->joined)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	double end = (double)until.tv_sec + 1e-9 * (double)until.tv_nsec + seconds;
	until.tv_sec = (time_t)end;
	until.tv_nsec = (long)(1e9 * (end - floor(end)));
	o->joined = pthread_timedjoin_np(o->thread, NULL, &until) == 0;
	so_far->done = __atomic_load_n(&o->reading.done, __ATOMIC_RELAXED);
	so_far->total = __atomic_load_n(&o->reading.total, __ATOMIC_RELAXED);
	return o->joined;
}

struct vq_dataset *
vq_dataset_open_end(struct vq_opening *o, struct vq_diags *d)
{
	struct vq_dataset *set;

	if (o->threaded) {
		if (!o->joined)
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
	vq_kept_end(d->keeping);
	if (d->own != NULL)
		d->kind->close(d);
	for (int i = 0; i < d->files; i++)
		free(d->file[i]);
	for (int64_t i = 0; i < d->inputs; i++)
		free(d->input[i]);
	free(d->input);
	free(d->name);
	free(d->split);
	free(d->where);
	free(d->note);
	free(d->absent);
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
	if (d->files > 0)
		return vq_sha256_files(d->file, d->files, hex, diags);
	if (d->kind->digest != NULL)
		d->kind->digest(d, hex);
	return 0;
}
