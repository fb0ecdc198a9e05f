/*
 * picture -- one JPEG or PNG in memory, decoded to bytes
 *
 * What a picture is, is told from its first bytes, not from its name.  JPEG is
 * decoded as libjpeg's default does (accurate DCT, smooth upsampling), without regard
 * to an orientation in its metadata.  PNG of any depth becomes 8 bits, a palette
 * becomes its colours, transparency is dropped and gamma is left alone.
 */
#ifndef VQ_DATASETS_PICTURE_H
#define VQ_DATASETS_PICTURE_H

#include "engine/param.h"

enum {
	VQ_PICTURE_SIDE = 16384,	/* a side is at most this */
	VQ_PICTURE_PIXELS = 1 << 26,	/* and a whole picture this */
	VQ_PICTURE_FILE = 1 << 28,	/* bytes of a file */
};

struct vq_picture {
	int64_t h, w, c;		/* c: 1 grey, 3 red green blue */
	const uint8_t *pixel;		/* [h, w, c], the decoder's until it is used again */
};

/* For one thread; keeps its memory from picture to picture. */
struct vq_decoder;
struct vq_decoder *vq_decoder_new(void);
void vq_decoder_free(struct vq_decoder *k);
/* Only the sizes, from the head of the file; -1 with the reason in why. */
int vq_picture_head(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY]);
/* All of it: a picture that is cut or damaged is refused, -1 with the reason in why. */
int vq_picture_decode(struct vq_decoder *k, const void *bytes, size_t n, struct vq_picture *p, char why[VQ_WHY]);

#endif
