/*
 * draw_codebook -- the entries of a codebook as points on a plane
 */
#ifndef VQ_ENGINE_DRAW_CODEBOOK_H
#define VQ_ENGINE_DRAW_CODEBOOK_H

#include "engine/image.h"
#include "engine/tsne.h"

struct vq_codebook_map {
	const char *stage, *name;	/* "vqvae", "vq.book" */
	int64_t n, d;			/* entries, and the length of one */
	const double *y;		/* [n, 2], of vq_tsne */
	struct vq_tsne t;
	const int64_t *use;		/* how often each code occurred, NULL: not known */
};

/*
 * A point for each code: its area is its use, its colour that of vq_draw_codes; a code that was
 * not used is a small ring.
 */
void vq_codebook_image(struct vq_image *out, const struct vq_codebook_map *m);
void vq_codebook_svg(struct vq_text *out, const struct vq_codebook_map *m);

#endif
