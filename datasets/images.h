/*
 * images -- labelled 8-bit pictures of one size, kept in memory
 *
 * What the readers (idx, ...) and generators (digits) of small pictures share:
 * cutting out the part that the stage asked for, the exact variance, and
 * gathering with the range applied.
 */
#ifndef VQ_DATASETS_IMAGES_H
#define VQ_DATASETS_IMAGES_H

#include "datasets/dataset.h"

/* A split as it was read: n pictures [h, w, c] and n labels. */
struct vq_raw_images {
	uint8_t *pixels;
	int32_t *labels;
	int64_t n, h, w, c;
	int classes;
	const char **class_name;	/* one piece of memory, or NULL */
};

/* How many samples, from which, are left after skip and limit; -1 after an error
 * (nothing left, or a range that is empty). */
int64_t vq_images_part(const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t n,
    int64_t *first, struct vq_diags *diags);

/* Makes d a dataset of the part that the spec asks for, with the fields image and
 * label.  Takes pixels, labels and names over, also on error. */
int vq_images_open(struct vq_dataset *d, const struct vq_data_spec *spec,
    const struct vq_raw_images *raw, struct vq_diags *diags);
void vq_images_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out);
void vq_images_close(struct vq_dataset *d);

#endif
