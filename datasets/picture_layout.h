/*
 * picture_layout -- how the pictures of a set lie in folders, and where their labels are
 *
 * A layout is tried on a folder (datasets/folder.h); the first that fits lists the
 * pictures of a split.  What the functions here add is put in order when it is done.
 */
#ifndef VQ_DATASETS_PICTURE_LAYOUT_H
#define VQ_DATASETS_PICTURE_LAYOUT_H

#include "datasets/folder.h"
#include "datasets/picture_files.h"

/* A listing on its way. */
struct vq_lister {
	struct vq_picture_files *l;
	const char *split;
	struct vq_folder *folder;	/* what is listed */
	struct vq_folder inner;		/* an archive in it that has the pictures; path NULL: none */
	struct vq_names classes;	/* name -> order of appearance */
	bool *here;			/* by that order: the class has a folder in the split asked for */
	int here_cap;
	bool ordered;			/* samples keep the order that they were added in */
	struct vq_diags *diags;
};

struct vq_layout {
	const char *doc;		/* SPLIT/CLASS/FILE */
	bool (*fits)(const struct vq_folder *f);
	/* Whether there is such a split, of a folder that fits. */
	bool (*has)(const struct vq_folder *f, const char *split);
	/* -1 after an error. */
	int (*list)(struct vq_lister *s);
};
extern const struct vq_layout vq_layout_celeba, vq_layout_tiny_imagenet, vq_layout_dtd, vq_layout_flowers,
    vq_layout_places, vq_layout_splits, vq_layout_lists, vq_layout_plain;

/* --- for layouts ------------------------------------------------------------- */

/* The number of a class, by appearance until the end; here: it has a folder in the split.  -1 after an error. */
int vq_lister_class(struct vq_lister *s, const char *name, size_t len, bool here);
/* NULL after an error. */
struct vq_picture_file *vq_lister_add(struct vq_lister *s, const char *name, int label, int64_t entry);
/* A picture that a list names: in the archive it must be there. */
struct vq_picture_file *vq_lister_add_listed(struct vq_lister *s, const char *name, int label, int list, int64_t line);
/* Reads a list beside the pictures and notes that it was; -1 after an error, else its number. */
int vq_lister_read(struct vq_lister *s, const char *name, char **text, size_t *n);
/* The folder that pictures are in, of some names that it may have (NULL-terminated); where there is none of them it
 * may be in an archive beside ("": pictures are not in a folder there).  NULL after an error. */
const char *vq_lister_inside(struct vq_lister *s, const char *const *folders, const char *const *archives);
/* The classes of the folder of a split, and their files when it is the one that is asked for. */
int vq_lister_classes(struct vq_lister *s, const char *folder, bool files);
/* All pictures of a folder ("": of all) and below, without labels. */
int vq_lister_plain(struct vq_lister *s, const char *folder);
/* A list that is a source by its own path. */
int vq_lister_file(struct vq_lister *s, const char *name);
/* An error at a line of a list; returns -1. */
int vq_lister_refuse(struct vq_lister *s, int list, int64_t line, const char *fmt, ...) VQ_PRINTF(4, 5);

/* The lines of a text, and their fields. */
struct vq_line {
	const char *path, *text;	/* of the list, for errors; what is left of it */
	size_t n;
	int64_t line;
	bool binary;			/* a byte 0 is in the line: it is no text */
	char *field[64];		/* of the line, cut out of copy */
	int fields;
	struct vq_text copy;
};
/* The next line that is not empty (nor begins with #), cut at separators, all blanks for NULL; false at the end. */
bool vq_line_next(struct vq_line *s, const char *separators);
void vq_line_free(struct vq_line *s);
/* A decimal number; false when it is none or beyond 32 bits. */
bool vq_line_number(const char *field, int32_t *value);

/* Whether a path is a file that lists pictures, by its name. */
bool vq_named_list(const char *path);
/* Lists beside pictures, hidden files: passed over.  Whatever else is there is meant to be a picture. */
bool vq_is_beside(const char *name);

#endif
