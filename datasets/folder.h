/*
 * folder -- the files of a folder, on disk or in an archive
 *
 * The same questions to both: which names there are, and what a small file says.  An
 * archive is passed over once, when it is opened; what its lists (.txt, .csv, .mat, ...) hold
 * is kept then.  Names that climb out of the archive are of no use and not there.
 */
#ifndef VQ_DATASETS_FOLDER_H
#define VQ_DATASETS_FOLDER_H

#include "datasets/archive.h"
#include "engine/base.h"

enum { VQ_FOLDER_TOPS = 16, VQ_LIST_FILE = 1 << 28 };

struct vq_member {
	const char *name;		/* NULL: not to be used */
	int kind;			/* of struct vq_entry */
};

struct vq_folder {
	const char *path;
	bool archive;
	const char *before;		/* stands before every name asked for: "" or "photos/" */
	struct vq_member *member;	/* of an archive, in its order */
	int64_t count, cap;
	const char *top[VQ_FOLDER_TOPS];	/* the first folders of an archive, each with its slash */
	int tops;
	struct vq_names index;		/* the last member of each name; its folders, too */
	struct vq_folder_list {
		const char *name;
		char *bytes;
		size_t n;
	} *list;			/* of an archive: what its lists hold */
	int lists, list_cap;
	struct vq_arena arena;
};

/* A folder on disk is only noted.  -1 after an error (VQ_DATA): no archive, or a damaged one. */
int vq_folder_open(struct vq_folder *f, const char *path, struct vq_diags *d);
void vq_folder_close(struct vq_folder *f);
/* Whether there is a file or folder of that name. */
bool vq_folder_has(const struct vq_folder *f, const char *name);
bool vq_folder_has_folder(const struct vq_folder *f, const char *name);
/* The number of a file in the archive, 0 on disk; -1: there is none (which a disk is not asked for). */
int64_t vq_folder_member(const struct vq_folder *f, const char *name);
/* A whole small file, with a NUL behind it, for free(); NULL after an error. */
char *vq_folder_read(const struct vq_folder *f, const char *name, size_t *n, struct vq_diags *d);
/* The path of a name for people. */
char *vq_folder_path(const struct vq_folder *f, const char *name);
/* Whether a file is a picture by its name. */
bool vq_named_picture(const char *name);

#endif
