/*
 * conv_window -- which pixels a block of grid positions reads, and where they lie
 *
 * Shared by the convolution kernels, nobody else's.  A correlation walks a grid of
 * positions; position p of a grid axis reads the source at p * step + delta for the
 * deltas of its taps, and writes the destination at p * spread + phase.  Forward:
 * step is the stride, one phase.  Adjoint in the input: spread is the stride, and
 * each phase has the taps that fall on it.
 */
#ifndef VQ_OPS_KERNELS_CONV_WINDOW_H
#define VQ_OPS_KERNELS_CONV_WINDOW_H

#include "ops/kernels/conv.h"

struct vq_side {
	int64_t source, dest;		/* positions there */
	int64_t step, spread;
	int64_t grid;			/* positions of the longest phase */
	int64_t low, high;		/* smallest and largest delta */
	struct vq_conv_axis axis;
	bool adjoint;
};

void vq_side_forward(struct vq_side *s, const struct vq_conv_axis *a);
void vq_side_adjoint(struct vq_side *s, const struct vq_conv_axis *a);
/* The taps of a phase by rising delta, beginning with the one after `tap` (-1: the
 * first); false when there is no other. */
bool vq_side_next(const struct vq_side *s, int64_t phase, int64_t *tap, int64_t *delta);
/* Grid positions of a phase. */
static inline int64_t
vq_side_grid(const struct vq_side *s, int64_t phase)
{
	return phase < s->dest ? (s->dest - phase + s->spread - 1) / s->spread : 0;
}

/*
 * The source of a correlation and how blocks of it are laid out.  A block is a run
 * of grid lines (counted over all images) times a range of grid columns.
 */
struct vq_window {
	struct vq_side y, x;
	int64_t n, c;			/* images (with `two`: pairs of them) and channels of the source */
	const struct vq_gemm_micro *u;	/* who reads what is laid out */
	bool half;			/* the source is bf16 in memory; not with u->round NULL */
	bool two;			/* words are of image i and, where there are two numbers in a word, i + n */
	int64_t images;			/* with `two`: of the source */
	int64_t lines, cols;		/* most of one block */
	int64_t width;			/* pixels between source lines of a block */
	int64_t pixel;			/* words between pixels of a block */
	bool direct;			/* read where it lies: nothing sticks out */
	int64_t floats;			/* room that a block takes, in words, 0 when direct */
};

/* Decides lines and cols: at most `rows` positions, `room` words of `pixel` a pixel
 * where possible; and that it is read directly, if the caller set that and it can be. */
void vq_window_cut(struct vq_window *w, int64_t rows, int64_t room, int64_t pixel);
/* Fewer lines to a block. */
void vq_window_lines(struct vq_window *w, int64_t lines);

struct vq_block {
	int64_t line, lines;		/* first line, and how many */
	int64_t col, cols;
	const float *from;
	int64_t base[VQ_GEMM_ROWS];	/* by line: words from `from` to where its first
					 * position reads with the lowest deltas */
};
int64_t vq_window_blocks(const struct vq_window *w);
void vq_window_block(const struct vq_window *w, int64_t i, struct vq_block *b);
/* Makes channels [c0, c0 + channels) of the block's source pixels readable, in room
 * unless direct. */
void vq_window_fill(const struct vq_window *w, struct vq_block *b, const void *source,
    int64_t c0, int64_t channels, float *room);
/* Where images are, n numbers on from p: f32, or bf16. */
static inline const void *
vq_conv_at(const void *p, bool half, int64_t n)
{
	return (const char *)p + n * (half ? 2 : 4);
}
/* Words from a position's base to its tap. */
static inline int64_t
vq_window_tap(const struct vq_window *w, int64_t dy, int64_t dx)
{
	return ((dy - w->y.low) * w->width + dx - w->x.low) * w->pixel;
}

/* Rows of patches side by side: row i is the runs of from[i], `segs` times `len`
 * words, the rows `ld` apart.  Both ends are read and written up to 3 words over. */
void vq_conv_gather(float *to, int64_t ld, const float *const *from, int64_t rows,
    const int64_t *off, int64_t segs, int64_t len);

/* Cuts a buffer into parts of 64-byte alignment; p NULL: only counts. */
struct vq_cutter {
	char *p;
	size_t used;
};
static inline void *
vq_cut(struct vq_cutter *c, size_t bytes)
{
	void *at = c->p ? c->p + c->used : NULL;

	c->used += (bytes + 63) / 64 * 64;
	return at;
}

/* What so many floats take up where the next part is aligned so, too. */
static inline size_t
vq_conv_bytes(int64_t floats)
{
	return ((size_t)floats * sizeof(float) + 63) / 64 * 64;
}

#endif
