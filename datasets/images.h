/*
 * images -- labelled pictures of one size, kept in memory
 *
 * What the readers (idx, pictures, ...) and generators (digits) share: cutting out
 * the part that the stage asked for, its size and channels, the exact variance, and
 * gathering with the range applied, augmented where training asks for it.  With resize a picture is kept whole,
 * and a window of it is delivered: from the middle, at random in training.
 */
#ifndef VQ_DATASETS_IMAGES_H
#define VQ_DATASETS_IMAGES_H

#include "datasets/dataset.h"
#include "datasets/room.h"

/* Where a picture lies that is larger than what is delivered of it. */
struct vq_window {
	int64_t at;			/* of its first byte or value */
	int32_t h, w;
};

/* A split as it was read: n pictures [h, w, c] and n labels. */
struct vq_raw_images {
	uint8_t *pixels;		/* this, or values */
	float *values;			/* delivered as they are: the range is not applied */
	int32_t *labels;		/* [n, label_width], or NULL: there are none */
	int64_t n, h, w, c;
	int64_t label_width;		/* of a label that is a vector; 0: a number */
	int classes;
	const char **class_name;	/* one piece of memory, or NULL */
	struct vq_room *room;		/* what pixels or values are in, or NULL: malloc */
	struct vq_window *window;	/* of each picture, where they are larger than h x w; or NULL */
	int64_t sum, squares;		/* of all pixels, where squares > 0 */
};

/* How many samples, from which, are left after skip and limit; -1 after an error
 * (nothing left, or a range that is empty). */
int64_t vq_images_part(const struct vq_dataset *d, const struct vq_data_spec *spec, int64_t n,
    int64_t *first, struct vq_diags *diags);
/* The sizes of pictures after what the spec asks for (h, w, c: as they are, replaced);
 * -1 after an error (channels that cannot be had). */
int vq_images_size(const struct vq_data_spec *spec, const char *path, int64_t *h, int64_t *w, int64_t *c,
    struct vq_diags *diags);
/* The size that resize brings a picture of h x w to, of which a window is delivered. */
void vq_images_enlarged(const struct vq_data_spec *spec, int64_t *h, int64_t *w);
/* Bytes of all pixels. */
int64_t vq_images_bytes(const struct vq_raw_images *raw);
/* Sums of n bytes and their squares. */
void vq_images_sums(const uint8_t *u, int64_t n, int64_t *sum, int64_t *squares);

/* Makes d a dataset of the part, the size and the channels that the spec asks for, with the
 * fields image and label.  Takes what raw points to over, also on error. */
int vq_images_open(struct vq_dataset *d, const struct vq_data_spec *spec,
    const struct vq_raw_images *raw, struct vq_diags *diags);
/* What an open set is in memory: still d's own. */
void vq_images_raw(const struct vq_dataset *d, struct vq_raw_images *raw);
void vq_images_gather(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n, void *out);
void vq_images_augmented(const struct vq_dataset *d, int f, const uint32_t *index, int64_t n,
    const struct vq_pass *pass, void *out);
void vq_images_digest(const struct vq_dataset *d, char hex[65]);
void vq_images_close(struct vq_dataset *d);

/* What a source kind of such pictures has in common with the others. */
#define VQ_IMAGES_KIND .gather = vq_images_gather, .augmented = vq_images_augmented, .close = vq_images_close

#endif
