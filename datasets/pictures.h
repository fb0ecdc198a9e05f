/*
 * pictures -- labelled JPEG and PNG files in folders or in an archive
 */
#ifndef VQ_DATASETS_PICTURES_H
#define VQ_DATASETS_PICTURES_H

#include "datasets/dataset.h"

/* What a source kind of pictures needs; path is a folder or an archive. */
int vq_pictures_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path,
    struct vq_diags *diags);
const char *vq_pictures_missing(const char *path, const char *split);
/* Whether a path looks like that: an archive or list by its name, or a folder that some layout fits. */
bool vq_pictures_there(const char *path);

#endif
