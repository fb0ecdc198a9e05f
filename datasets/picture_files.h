/*
 * picture_files -- the pictures of a split, in a folder or an archive
 *
 * In which order, and what their labels are, is a matter of the layout (picture_layout.h):
 * SPLIT/CLASS/FILE, lists of files, the layouts of published sets.
 */
#ifndef VQ_DATASETS_PICTURE_FILES_H
#define VQ_DATASETS_PICTURE_FILES_H

#include "engine/diag.h"

enum { VQ_LABEL_NONE = -1, VQ_LABEL_CLASS = 0, VQ_PICTURE_LISTS = 7 };

struct vq_picture_file {
	const char *name;		/* in the folder, or a path of its own (with / before it) */
	const char *bad;		/* why it cannot be read, known from the list already; or NULL */
	int label;			/* a class, or a row of vq_picture_files.row */
	int list;			/* the list that names it, in which line; -1: none */
	int64_t line;
	int64_t entry;			/* its number in the archive */
};

struct vq_picture_files {
	const char *path;		/* the folder or archive that names are of */
	bool archive;
	struct vq_picture_file *file;	/* in the order of samples */
	int64_t count, cap;
	int64_t label_width;		/* of a label that is a vector, or VQ_LABEL_CLASS, VQ_LABEL_NONE */
	int32_t *row;			/* [, label_width] */
	const char **class_name;	/* or NULL: classes are numbers */
	int classes, class_cap;
	const char *empty;		/* the first class whose folder holds no picture, or NULL */
	const char *absent;		/* what would have had labels, where there are none */
	const char *list[VQ_PICTURE_LISTS];	/* paths of the files beside pictures that were read */
	int lists;
	struct vq_arena arena;
};

/* path: a folder, an archive or a file that lists pictures.  -1 after an error (VQ_DATA): no such split, a
 * damaged archive, a list that cannot be understood. */
int vq_picture_files_list(struct vq_picture_files *l, const char *path, const char *split, struct vq_diags *d);
/* Whether a folder, an archive or a list has such a split. */
bool vq_picture_files_has(const char *path, const char *split);
void vq_picture_files_free(struct vq_picture_files *l);
/* The path of a file, for free(). */
char *vq_picture_file_path(const struct vq_picture_files *l, const struct vq_picture_file *f);
/* "LIST:LINE: " of a file that a list names, else "", for free(). */
char *vq_picture_file_place(const struct vq_picture_files *l, const struct vq_picture_file *f);
/* The folder names that a split may have, NULL-terminated: val is also valid, validation. */
const char *const *vq_split_names(const char *split);

/*
 * The bytes of files n of which are wanted, in an order that is good to read.  Next is
 * for several threads at once, each with its own buffer.
 */
struct vq_picture_reader;
struct vq_picture_reader *vq_picture_reader_new(const struct vq_picture_files *l, int64_t first, int64_t n,
    struct vq_diags *d);
/* 1 with the index of a file and its bytes in *buffer (as vq_archive_read), or why not
 * (then *size is 0 and why is not empty); 0 at the end or after an error. */
int vq_picture_reader_next(struct vq_picture_reader *r, int64_t *index, uint8_t **buffer, size_t *cap,
    size_t *size, char *why);
/* 0, or -1 when an error ended it. */
int vq_picture_reader_end(struct vq_picture_reader *r);

#endif
