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

enum { VQ_MAX_FIELDS = 4 };

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
	char sha256[65];		/* of the bytes it was read from, "" when built in */
	void *own;			/* of the kind */
};

/* What a `data:` map of a stage says. */
struct vq_data_spec {
	const char *source;		/* "mnist", "digits", or a path relative to the YAML file */
	const char *split;		/* "train", "test" */
	int64_t batch;			/* samples per batch, default 128 */
	bool shuffle;
	double lo, hi;			/* image range, default 0 to 1 */
	int64_t limit;			/* first so many samples, 0: all */
	int64_t skip;			/* leave out so many first */
	const char *base;		/* folder that relative paths start from */
};
extern const struct vq_param vq_data_params[];

struct vq_source_kind {
	const char *name;		/* "mnist" */
	const char *doc;
	const char *layout;		/* files it wants, for `vqgraph data list` */
	const char *folder;		/* looked for in VQGRAPH_DATA, data/, system places; NULL: none */
	const char *const *system;	/* absolute folders tried last, or NULL */
	const struct vq_fetch *fetch;	/* what `data fetch` brings, or NULL */
	const char *package;		/* Debian package that has it, or NULL */
	int (*open)(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder,
	    struct vq_diags *diags);
	/* Field f of n samples (by index) into out, dense, converted. */
	void (*gather)(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out);
	void (*close)(struct vq_dataset *d);
};
const struct vq_source_kind *const *vq_source_kinds(void);	/* NULL-terminated */
const struct vq_source_kind *vq_source_kind_find(const char *name);

/* Opens what the spec says; NULL after errors (VQ_DATA), which name every place
 * that was looked in and the command that would bring the data. */
struct vq_dataset *vq_dataset_open(const struct vq_data_spec *spec, struct vq_diags *d);
void vq_dataset_close(struct vq_dataset *d);
int vq_dataset_field(const struct vq_dataset *d, const char *name);	/* -1 when absent */

/* Files to download: mirrors are base addresses that the file name is appended to. */
struct vq_fetch {
	const char *file;
	int64_t bytes;			/* 0: unknown */
	const char *sha256;
	const char *const *mirrors;	/* NULL-terminated */
};

/*
 * Batches of one pass over a dataset in the order of (seed, epoch), the next one
 * gathered by a thread of its own while the caller works on this one.
 */
struct vq_loader;
struct vq_loader *vq_loader_new(const struct vq_dataset *d, int64_t batch, bool shuffle,
    bool keep_rest, uint64_t seed);
void vq_loader_start(struct vq_loader *l, uint64_t epoch, int64_t first_batch);
/* Pointers to the fields of the next batch, valid until the call after; returns
 * how many samples it holds, 0 at the end of the pass. */
int64_t vq_loader_next(struct vq_loader *l, const void *field[VQ_MAX_FIELDS]);
int64_t vq_loader_batches(const struct vq_loader *l);
double vq_loader_waited(const struct vq_loader *l);		/* seconds the caller waited */
void vq_loader_free(struct vq_loader *l);

#endif
