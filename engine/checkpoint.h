/*
 * checkpoint -- safetensors files, and npy arrays
 *
 * Written to a temporary name, synced, renamed: a reader sees the old file or
 * the new one.  Parameters stand under their names, state under "state/" and
 * the name.  Every byte of a file that is read is checked before it is used.
 */
#ifndef VQ_ENGINE_CHECKPOINT_H
#define VQ_ENGINE_CHECKPOINT_H

#include "engine/diag.h"
#include "engine/file.h"
#include "engine/vars.h"

/* __metadata__: strings by name, sorted when written. */
struct vq_meta {
	char **key, **value;
	int count, cap;
};
void vq_meta_set(struct vq_meta *m, const char *key, const char *value);
const char *vq_meta_get(const struct vq_meta *m, const char *key);
void vq_meta_free(struct vq_meta *m);

/* Params, and state too when with_state.  Errors: VQ_FAILED with errno's reason and the path. */
int vq_checkpoint_save(const char *path, const struct vq_vars *v, bool with_state,
    const struct vq_meta *meta, struct vq_diags *d);

/* PARAMS: weights only, with the state that belongs to them (running statistics,
 * codebooks), without that of optimizers (optimizer.*) and of training (progress.*). */
enum vq_load { VQ_LOAD_ALL, VQ_LOAD_PARAMS };
/*
 * A whole file into vars: those that exist must have the same type, new ones are
 * added.  Nothing of vars is changed when the file is refused (VQ_CHECKPOINT,
 * all mismatches named with both shapes).  meta may be NULL.
 */
int vq_checkpoint_load(const char *path, struct vq_vars *v, enum vq_load what,
    struct vq_meta *meta, struct vq_diags *d);
/* Whether a tensor's name is that of a weight: not of an optimizer's or of training's state. */
bool vq_is_weight(const char *name);
/* The file with a run's weights, for free(): those that validation found best in the stage that the run is in, or the
 * last ones. */
char *vq_checkpoint_of(const char *run);
/* One hash over all tensors, by name, no time stamps: 16 hex digits. */
void vq_vars_hash(const struct vq_vars *v, char hex[17]);
int vq_checkpoint_hash(const char *path, char hex[17], struct vq_diags *d);

/* npy version 1 and 2; f32, f64, i32, i64, u8, bool; C order.  data is the caller's to free. */
int vq_npy_read(const char *path, struct vq_type *t, void **data, struct vq_diags *d);
/* The same of a file's bytes: *data points into them, aligned to nothing; values of bool are as they are. */
int vq_npy_parse(const char *name, const void *bytes, size_t n, struct vq_type *t, const void **data,
    struct vq_diags *d);
int vq_npy_write(const char *path, const struct vq_view *v, struct vq_diags *d);

#endif
