/*
 * pictures -- labelled JPEG and PNG files in folders or in an archive
 */
#ifndef VQ_DATASETS_PICTURES_H
#define VQ_DATASETS_PICTURES_H

#include "datasets/images.h"
#include "datasets/picture_files.h"

/* What a source kind of pictures needs; path is a folder or an archive. */
int vq_pictures_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path,
    struct vq_diags *diags);
/* Decodes files first to first + n - 1 of a list into raw, with their labels; notes in d what is left out (bad: skip).
 * -1 after errors. */
int vq_pictures_load(struct vq_dataset *d, const struct vq_data_spec *spec, const struct vq_picture_files *l, int64_t first,
    int64_t n, struct vq_raw_images *raw, struct vq_diags *diags);
const char *vq_pictures_missing(const char *path, const char *split);
/* Whether a path looks like that: an archive or list by its name, or a folder that some layout fits. */
bool vq_pictures_there(const char *path);

#endif
