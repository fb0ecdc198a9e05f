/*
 * room -- memory for the pictures of a set
 *
 * What is to be kept lies in a file of the cache from the beginning, mapped, so that a set may be larger than
 * the memory; its blocks are reserved first, so that a full disk is seen then.  So does what is not
 * to be kept but takes more than half of the memory; that file has no name.  All else, and
 * what no file can be had for, is memory.  A file that is not finished goes when its process does: it
 * is locked, and the next one removes what is not.
 */
#ifndef VQ_DATASETS_ROOM_H
#define VQ_DATASETS_ROOM_H

#include "engine/diag.h"

enum { VQ_ROOM_HEAD = 4096 };		/* bytes of a file before those that are asked for */

struct vq_room {
	uint8_t *bytes;
	int64_t size;
	void *map;			/* what bytes are in; NULL: malloc */
	size_t mapped;
	int fd;				/* of the file, locked; -1: none */
	char *temp;			/* its name, NULL: it has none */
};

/* For so many pictures, zeroed.  folder: of the cache, or NULL; keep: the file may be given a
 * name in it later.  NULL after an error (VQ_DATA, for path): there is neither memory nor disk for it. */
struct vq_room *vq_room_new(int64_t count, int64_t bytes, const char *folder, bool keep, const struct vq_range *at,
    const char *path, struct vq_diags *d);
/* A mapped part of another file's mapping. */
struct vq_room *vq_room_of_map(void *map, size_t mapped, int64_t from, int64_t size);
/* A file of size bytes for the cache, open, locked and without contents; -1 with errno. */
int vq_room_file(const char *folder, int64_t size, char **temp);
void vq_room_free(struct vq_room *r);

#endif
