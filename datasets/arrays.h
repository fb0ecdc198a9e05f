/*
 * arrays -- sets that are made of arrays: pictures with labels, or codes
 */
#ifndef VQ_DATASETS_ARRAYS_H
#define VQ_DATASETS_ARRAYS_H

#include "datasets/dataset.h"

/* One field of all samples, [n, ...], as it was read. */
struct vq_array {
	char *path;			/* where it is from, for errors; owned */
	char *field;			/* "image", "label", "code"; owned */
	struct vq_type type;
	void *data;			/* owned, aligned */
};

/*
 * Makes d a set of n arrays of as many samples.  With an image (u8 or f32, [n, h, w] or
 * [n, h, w, c]) it is a set of pictures, and a label is all that may stand beside; without, fields
 * are delivered as they are: whole numbers as i32, others as f32.  A label of one
 * number may have the shape [n, 1].  classes: how many there are, 0: as the labels say.
 * Takes the arrays over, also on error.
 */
int vq_arrays_open(struct vq_dataset *d, const struct vq_data_spec *spec, struct vq_array *array, int n, int classes,
    struct vq_diags *diags);
void vq_array_set_free(struct vq_array *array, int n);

/* What a source kind has that such a set is opened by. */
void vq_arrays_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out);
void vq_arrays_augmented(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
    const struct vq_pass *pass, void *out);
void vq_arrays_close(struct vq_dataset *d);
#define VQ_ARRAYS_KIND .gather = vq_arrays_gather, .augmented = vq_arrays_augmented, .close = vq_arrays_close

#endif
