/*
 * draw_codes -- pictures beside the codes they became
 */
#ifndef VQ_ENGINE_DRAW_CODES_H
#define VQ_ENGINE_DRAW_CODES_H

#include "engine/image.h"

/* Maps of codes from 0 to `codes` - 1: code[n, h, w, maps]; several maps where a place has several codes. */
struct vq_code_maps {
	const int32_t *code;
	int64_t n, h, w, maps;
	int64_t codes;
};

/*
 * The first pictures (NULL: none) each beside its map, a colour for each code (vq_color_of_code),
 * with a bar that says which code a colour is.  As many as fill about a screen.
 */
int vq_draw_codes(struct vq_image *out, const struct vq_pictures *p, const struct vq_code_maps *m,
    struct vq_diags *d);

/*
 * The use of n codes as an SVG, sorted: how often (on a logarithmic axis where the range is large) over
 * the rank.  value: "vq.code".  False when nothing was counted: nothing is drawn then.
 */
bool vq_codes_svg(struct vq_text *svg, const char *stage, const char *value, const int64_t *use, int64_t n);

#endif
