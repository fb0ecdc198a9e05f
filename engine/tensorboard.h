/*
 * tensorboard -- event files that TensorBoard reads: scalars and pictures by step
 *
 * A folder (one "run" to TensorBoard) has one file, a sequence of records: 64-bit length, its
 * CRC, the bytes, their CRC.  CRCs are CRC-32C (Castagnoli), masked; the bytes are a protocol
 * buffer of the type Event (tensorflow/core/util/event.proto, framework/summary.proto).
 * Integers are little-endian.
 */
#ifndef VQ_ENGINE_TENSORBOARD_H
#define VQ_ENGINE_TENSORBOARD_H

#include "engine/image.h"

#define VQ_EVENTS_FILE "events.out.tfevents.vqgraph"

/* One value at a step. */
struct vq_summary {
	const char *tag;		/* values of the same tag make a chart */
	double scalar;			/* where png is NULL; NaN and infinities are shown as such */
	const void *png;		/* a picture as a file in memory */
	size_t bytes;
	int w, h, channels;		/* of the picture */
};

/* Adds an event of n values to the folder's file; makes both where missing.  All of it is there
 * after, or nothing (VQ_FAILED). */
int vq_events_add(const char *folder, int64_t step, const struct vq_summary *s, int n, struct vq_diags *d);
/*
 * Cuts the file off before the first event after `step`, or the first damaged or unfinished
 * record.  step -1: drops all.  A folder without such a file is left alone.
 */
int vq_events_rewind(const char *folder, int64_t step, struct vq_diags *d);

#endif
