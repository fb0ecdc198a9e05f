/*
 * kept -- decoded pictures, kept in a file and mapped when the set is opened again
 *
 * What took decoding (JPEG, PNG, gzip, npz, mat) is written once, as it is in memory,
 * to a file of the cache: $VQGRAPH_CACHE, or $XDG_CACHE_HOME/vqgraph, or ~/.cache/vqgraph;
 * VQGRAPH_CACHE= (empty) keeps nothing.  A file is named after the SHA-256 of what was asked
 * for (source, split, size, channels, ...) and lists every file and folder that the set was
 * made from with size, inode and times; when one of them differs the file counts
 * as absent and is written anew.  It is for this machine alone and may be removed at any time.
 */
#ifndef VQ_DATASETS_KEPT_H
#define VQ_DATASETS_KEPT_H

#include "datasets/dataset.h"
#include "datasets/room.h"

/* Bytes of pictures that are worth a file, and how its name ends. */
enum { VQ_KEPT_LEAST = 4 << 20 };
#define VQ_KEPT_ENDING ".pictures"

/* The folder, or NULL where there is none to be had. */
const char *vq_kept_folder(struct vq_arena *a);
/* How much it holds, in how many files. */
int64_t vq_kept_bytes(int *files);
/* Whether a spec asks for all of a split, which may be kept then. */
bool vq_kept_whole(const struct vq_data_spec *spec);
/* Room for the count pictures of a set (datasets/room.h): in a file of the cache where they are worth keeping, or too large
 * for the memory.  keep: the set has files. NULL after an error. */
struct vq_room *vq_kept_room(const struct vq_data_spec *spec, const char *path, int64_t count, int64_t bytes, bool keep,
    struct vq_diags *diags);

/* Whether there is a kept file of what the kind would read from path, and nothing of that has changed since. */
bool vq_kept_has(const struct vq_source_kind *k, const struct vq_data_spec *spec, const char *path);
/*
 * Opens d (kind, name, split and where are set) from a kept file: 1, or 0 when there is
 * none that holds, or -1 after an error.  path: what the kind would be opened with.
 */
int vq_kept_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags);

/*
 * Writes an open set to the cache in a thread of its own, when it is a whole split of
 * pictures that is worth it; NULL when not.  A failure leaves nothing behind and is
 * nobody's concern.  d must stay open until end, which waits.
 */
struct vq_keeping;
struct vq_keeping *vq_kept_begin(const struct vq_dataset *d, const struct vq_data_spec *spec, const char *path);
void vq_kept_end(struct vq_keeping *k);

#endif
