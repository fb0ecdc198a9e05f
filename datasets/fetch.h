/*
 * fetch -- bringing a data set's files from its mirrors
 */
#ifndef VQ_DATASETS_FETCH_H
#define VQ_DATASETS_FETCH_H

#include "datasets/dataset.h"

struct vq_fetch_options {
	const char *to;			/* the files go into TO/<the source's folder>; NULL: the user's folder */
	const char *mirror;		/* one base address for all; NULL: $VQGRAPH_MIRROR, or the source's own */
	int connect_s, stall_s;		/* seconds, 0: 15 and 30 */
	FILE *log;			/* a line for each file, NULL: silent */
	bool redraw;			/* log is a terminal: show how far it is */
};

/*
 * Brings the files of a source that are not there yet.  Each is written to
 * FILE.part, which a later call goes on with, compared with its SHA-256, and
 * renamed: a file under its name is whole and right.  A file that is there with
 * other contents is an error and is left alone.  -1 after errors (VQ_DATA: not to
 * be had from any mirror, each named with its reason; VQ_FAILED: cannot be
 * written).  *folder, when not NULL, gets where they are; the caller frees it.
 */
int vq_fetch_source(const struct vq_source_kind *k, const struct vq_fetch_options *o,
    char **folder, struct vq_diags *d);

/* Compares a file with what the mirrors have: 1 the same, 0 other contents, -1
 * after an error. */
int vq_fetch_same(const struct vq_fetch *f, const char *path, struct vq_diags *d);

#endif
