/*
 * archive -- the files inside a tar (plain or compressed) or a zip, in their order
 *
 * Nothing is ever written to disk, so names are only names.  Compression is told
 * from the bytes: gzip, bzip2, xz, zstd.
 */
#ifndef VQ_DATASETS_ARCHIVE_H
#define VQ_DATASETS_ARCHIVE_H

#include "engine/diag.h"

struct vq_archive;

struct vq_entry {
	const char *name;		/* without ./ before it; until the next entry */
	enum { VQ_ENTRY_FILE, VQ_ENTRY_FOLDER, VQ_ENTRY_OTHER } kind;	/* OTHER: links, devices */
};

/* NULL after an error (VQ_DATA), as are all here. */
struct vq_archive *vq_archive_open(const char *path, struct vq_diags *d);
void vq_archive_close(struct vq_archive *a);
/* 1 with the next entry, 0 at the end, -1 after an error. */
int vq_archive_next(struct vq_archive *a, struct vq_entry *e);
/*
 * The contents of the file that next gave, into *buffer, which grows as it must
 * (free() it; begin with NULL and 0).  1; 0 when it has more than max bytes; -1
 * after an error.
 */
int vq_archive_read(struct vq_archive *a, size_t max, uint8_t **buffer, size_t *cap, size_t *n);
/* A file that is one by its name. */
bool vq_archive_named(const char *path);

#endif
