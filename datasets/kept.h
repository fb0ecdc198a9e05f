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

/* The folder, or NULL where there is none to be had. */
const char *vq_kept_folder(struct vq_arena *a);

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
