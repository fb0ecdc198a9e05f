/*
 * resize -- pictures to the size and the channels that a stage asks for
 *
 * The largest part in the middle that has the aspect of the size is brought to it
 * with a filter that grows with the scale, so that nothing is aliased: the same bits
 * as Pillow's ImageOps.fit(picture, size, filter) for bytes.  Colour becomes grey by
 * Rec. 601 (as Pillow's convert("L") rounds), before the size changes.
 */
#ifndef VQ_DATASETS_RESIZE_H
#define VQ_DATASETS_RESIZE_H

#include "engine/base.h"

/* Triangle; Keys' cubic with a = -1/2; mean over the area. */
enum vq_interpolation { VQ_BILINEAR, VQ_BICUBIC, VQ_BOX };

/* For one thread; what a size needs is kept for the next picture of that size. */
struct vq_resizer;
/* To h x w (0 and 0: any size stays as it is) with c channels (1, 3, or 0: as they are). */
struct vq_resizer *vq_resizer_new(int64_t h, int64_t w, int64_t c, enum vq_interpolation how);
/* From now on to h x w without regard to the aspect: nothing is cut off (Pillow's Image.resize). */
void vq_resizer_whole(struct vq_resizer *r, int64_t h, int64_t w);
void vq_resizer_free(struct vq_resizer *r);
/* in [h, w, c] -> out, dense.  From one channel to three or three to one, or as many. */
void vq_resize_u8(struct vq_resizer *r, const uint8_t *in, int64_t h, int64_t w, int64_t c, uint8_t *out);
/* The same without rounding; values may lie anywhere. */
void vq_resize_f32(struct vq_resizer *r, const float *in, int64_t h, int64_t w, int64_t c, float *out);

#endif
