/*
 * picture_files -- the pictures of a split, in a folder or an archive
 *
 * Both hold SPLIT/CLASS/.../FILE; in an archive one folder may stand before SPLIT.
 * Classes are the folder names below all splits, sorted by their bytes, so that a
 * class has the same number in each split.  The files of a class, sorted too, are
 * spread evenly over the split, so that its first n hold all classes in proportion.
 */
#ifndef VQ_DATASETS_PICTURE_FILES_H
#define VQ_DATASETS_PICTURE_FILES_H

#include "engine/diag.h"

struct vq_picture_file {
	const char *name;		/* SPLIT/CLASS/.../FILE */
	const char *bad;		/* why it cannot be read, known from the list already; or NULL */
	int label;
	int64_t entry;			/* its number in the archive */
};

struct vq_picture_files {
	const char *path;		/* the folder or archive */
	bool archive;
	struct vq_picture_file *file;	/* in the order of samples */
	int64_t count, cap;
	const char **class_name;
	int classes, class_cap;
	const char *empty;		/* the first class whose folder holds no picture, or NULL */
	struct vq_arena arena;
};

/* -1 after an error (VQ_DATA): no such split, a class without pictures, a damaged archive. */
int vq_picture_files_list(struct vq_picture_files *l, const char *path, const char *split, struct vq_diags *d);
/* Whether a folder or archive has such a split. */
bool vq_picture_files_has(const char *path, const char *split);
void vq_picture_files_free(struct vq_picture_files *l);
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
