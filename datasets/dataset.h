/*
 * dataset -- where samples come from
 *
 * A source kind (idx, digits, ...) is one file with one const struct at its end,
 * named in datasets/list.h.  An open dataset has a number of samples and some
 * fields (image, label) of a fixed type each; gathering a batch converts.
 */
#ifndef VQ_DATASETS_DATASET_H
#define VQ_DATASETS_DATASET_H

#include "engine/diag.h"
#include "engine/param.h"
#include "engine/type.h"

enum { VQ_MAX_FIELDS = 4, VQ_MAX_FILES = 8 };

struct vq_field {
	const char *name;		/* "image", "label" */
	struct vq_type type;		/* of one sample: f32[28, 28, 1], i32 */
};

struct vq_dataset {
	const struct vq_source_kind *kind;
	char *name;			/* "mnist" */
	char *split;			/* "train" */
	char *where;			/* the folder or file it was read from, or "built in" */
	int64_t count;
	struct vq_field field[VQ_MAX_FIELDS];
	int fields;
	int classes;			/* number of labels, 0: none */
	const char *const *class_name;	/* or NULL */
	double variance;		/* of image values as delivered (range applied), over the split; 0: unknown */
	double lo, hi;			/* range of image values as delivered */
	char *file[VQ_MAX_FILES];	/* what it was read from, in order; none when built in */
	int files;
	char **input;			/* what else was looked at (folders of pictures, their files); see kept.h */
	int64_t inputs;
	bool decoded;			/* made from picture files, each of which takes time to read */
	char *absent;			/* the file that would have had labels, where there is none; or NULL */
	char *note;			/* what the log should say of it (pictures left out), or NULL */
	void *own;			/* of the kind */
	struct vq_keeping *keeping;	/* its being written to the cache, or NULL */
};

enum vq_bad { VQ_BAD_FAIL, VQ_BAD_SKIP };

/* How far reading has come: pictures; total 0: not known yet, or nothing that takes long. */
struct vq_reading {
	int64_t done, total;
};

/* What a `data:` map of a stage says. */
struct vq_data_spec {
	const char *source;		/* "mnist", "digits", or a path relative to the YAML file */
	const char *split;		/* "train", "test", "val" */
	int64_t batch;			/* samples per batch, default 128 */
	bool shuffle;
	double lo, hi;			/* image range; both 0: 0 to 1 */
	int64_t limit;			/* first so many samples, 0: all */
	int64_t skip;			/* leave out so many first */
	int64_t resize;			/* first to this length of the shorter side; size is a window of that; 0: no */
	struct vq_ints size;		/* height and width that pictures are brought to; count 1: both, 0: as they are */
	struct vq_ints window;		/* codes: rows and columns of a window of each sample's grid; count 1: both, 0: all */
	int interpolation;		/* enum vq_interpolation */
	int64_t channels;		/* 1 grey, 3 colour, 0: as they are */
	int64_t crop;			/* training: pixels of padding that a random window is cut from */
	bool flip;			/* training: mirrored at random */
	const char *labels;		/* a file of labels for a source that is one array; or NULL */
	int bad;			/* enum vq_bad: pictures that cannot be read */
	bool fresh;			/* read from the files themselves, not from what was kept of them */
	const char *stage;		/* the stage whose arrays it is; source is their folder once that is
					 * known; or NULL */
	const char *base;		/* a folder, or a file in it, that relative paths start from; or NULL */
	const struct vq_range *at;	/* where the source is named, for errors; may be NULL */
	struct vq_reading *reading;	/* kept up to date while pictures are decoded; or NULL */
};
/* source, split, batch, shuffle, limit, skip; who reads a `data:` map sets the rest. */
extern const struct vq_param vq_data_params[];

/* A pass of training over a set. */
struct vq_pass {
	uint64_t seed, epoch;
};

struct vq_source_kind {
	const char *name;		/* "mnist" */
	const char *doc;
	const char *layout;		/* files it wants, for `vqgraph data list` */
	const char *from;		/* its authors' page, by title and address, for `data list`; or NULL */
	const char *folder;		/* looked for in VQGRAPH_DATA, data/, system places; NULL: none */
	const char *const *files;	/* names that are looked for there too, NULL-terminated; or NULL */
	const char *const *splits;	/* that it may have, NULL-terminated; NULL: train and test */
	const char *const *system;	/* absolute folders tried last, or NULL */
	bool labels;			/* whether a spec may name a file of labels */
	const struct vq_fetch *fetch;	/* what `data fetch` brings, up to a row without file, or NULL */
	const char *package;		/* Debian package that has it, or NULL */
	/* For kinds that a path can be of: whether what lies there looks like it. */
	bool (*knows)(const char *path);
	/* The first file a split needs that the folder (or file) lacks, NULL when all are there. */
	const char *(*missing)(const char *path, const char *split);
	/* Whether there is such a split, where telling takes reading; NULL: as missing says. */
	bool (*has)(const char *path, const char *split);
	/* Sets all of d but kind, name, split and where.  -1 after errors. */
	int (*open)(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path,
	    struct vq_diags *diags);
	/* Field f of n samples (by index) into out, dense, converted. */
	void (*gather)(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out);
	/* The same as a pass of training sees it: changed at random by (pass, index), the
	 * same in whatever batch; NULL: as gather. */
	void (*augmented)(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
	    const struct vq_pass *pass, void *out);
	/* SHA-256 of what is in memory, for a set without files of its own (d->files 0); or NULL. */
	void (*digest)(const struct vq_dataset *d, char hex[65]);
	void (*close)(struct vq_dataset *d);
};
const struct vq_source_kind *const *vq_source_kinds(void);	/* NULL-terminated */
/* What a path as source can be: kinds without a name of their own. */
const struct vq_source_kind *const *vq_source_path_kinds(void);
/* The splits a kind may have, NULL-terminated. */
const char *const *vq_source_splits(const struct vq_source_kind *k);
const struct vq_source_kind *vq_source_kind_find(const char *name);

/*
 * Opens what the spec says; NULL after errors: VQ_CONFIG for a source or split
 * that does not exist, VQ_DATA for data that is missing or damaged, naming every
 * place that was looked in and the command that would bring the data.
 */
/* Which splits there are of what the spec names (its split is not looked at), as far as can be told;
 * NULL-terminated.  Reads an archive's list. */
const char *const *vq_data_splits(const struct vq_data_spec *spec, struct vq_arena *a);
/* Whether the data is there, without reading it: -1 after the errors of open.  That of a
 * stage is made in the run, and not judged. */
int vq_dataset_check(const struct vq_data_spec *spec, struct vq_diags *d);
struct vq_dataset *vq_dataset_open(const struct vq_data_spec *spec, struct vq_diags *d);
/*
 * The same in a thread of its own, so that a set is read while the model is
 * compiled, or two sets at once.  spec's strings are copied, spec->at is not.  Each
 * begin needs its end, which waits.
 */
struct vq_opening *vq_dataset_open_begin(const struct vq_data_spec *spec);
/* Waits so many seconds at most; false: it is not done, and *so_far says how far it has come. */
bool vq_dataset_open_wait(struct vq_opening *o, double seconds, struct vq_reading *so_far);
struct vq_dataset *vq_dataset_open_end(struct vq_opening *o, struct vq_diags *d);
void vq_dataset_close(struct vq_dataset *d);
int vq_dataset_field(const struct vq_dataset *d, const char *name);	/* -1 when absent */
/* SHA-256 of the files it was read from, one after the other (what `cat FILES |
 * sha256sum` prints), of pictures and labels as they are in memory when those are too many; ""
 * when built in.  Reads them again: tens of milliseconds,
 * so not at start-up; safe in a thread while batches are gathered. */
int vq_dataset_sha256(const struct vq_dataset *d, char hex[65], struct vq_diags *diags);

/* A path that a `data:` map names, from where the caller is: relative ones start at the spec's base. */
const char *vq_data_path(const struct vq_data_spec *spec, const char *path, struct vq_arena *a);
/* What a source is looked for as, in order, NULL-terminated: its folder in $VQGRAPH_DATA,
 * in data/, in the user's data folder, in the system's places; its single files beside
 * those folders, and in them, where there are such. */
const char *const *vq_data_places(const struct vq_source_kind *k, struct vq_arena *a);
/* The folders that sets lie in, NULL-terminated: those of $VQGRAPH_DATA, data/, the user's. */
const char *const *vq_data_folders(struct vq_arena *a);
/* $XDG_DATA_HOME/vqgraph, or ~/.local/share/vqgraph; NULL when neither is known. */
const char *vq_data_user_folder(struct vq_arena *a);
/* The place of vq_data_places that has what the split needs, or NULL. */
const char *vq_data_find(const struct vq_source_kind *k, const char *split, struct vq_arena *a);

/* Files to download: mirrors are base addresses that the file name is appended to. */
struct vq_fetch {
	const char *file;
	int64_t bytes;			/* 0: unknown */
	const char *sha256;		/* NULL: only md5 is known */
	const char *const *mirrors;	/* NULL-terminated */
	const char *md5;
};

/*
 * Batches of one pass over a dataset in the order of (seed, epoch), the next one
 * gathered by a thread of its own while the caller works on this one.
 */
struct vq_loader;
struct vq_loader *vq_loader_new(const struct vq_dataset *d, int64_t batch, bool shuffle,
    bool keep_rest, uint64_t seed);
/* From the next start on, samples are augmented as the spec of the set says. */
void vq_loader_augment(struct vq_loader *l);
void vq_loader_start(struct vq_loader *l, uint64_t epoch, int64_t first_batch);
/* Pointers to the fields of the next batch, valid until the call after; returns
 * how many samples it holds, 0 at the end of the pass. */
int64_t vq_loader_next(struct vq_loader *l, const void *field[VQ_MAX_FIELDS]);
int64_t vq_loader_batches(const struct vq_loader *l);
double vq_loader_waited(const struct vq_loader *l);		/* seconds the caller waited */
void vq_loader_free(struct vq_loader *l);

#endif
