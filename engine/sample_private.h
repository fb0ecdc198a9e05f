/*
 * sample_private -- what the files of sampling share
 */
#ifndef VQ_ENGINE_SAMPLE_PRIVATE_H
#define VQ_ENGINE_SAMPLE_PRIVATE_H

#include "engine/sample.h"

/* The graphs of a sample stage, judged. */
struct vq_sample_graphs {
	struct vq_incremental inc;	/* masked: step has all positions, once is NULL */
	struct vq_graph *decode;
	int64_t streams;	/* 2 with guidance, else 1: rows for each sample */
	int64_t vocab;		/* logits at each position */
	int64_t tokens;		/* of a sample */
	int64_t h, w;		/* of the grid of tokens; one row where it is none */
	int64_t high, wide;	/* of the window of it that the graph sees; 0: it sees all */
	struct vq_type picture;	/* f32[h, w, c] */
};

/* Makes and judges them for so many samples at once; -1 after errors. */
int vq_sample_graphs(const struct vq_model *m, const struct vq_sample *s, int64_t batch, struct vq_sample_graphs *g,
    struct vq_diags *d);
void vq_sample_graphs_free(struct vq_sample_graphs *g);

/*
 * Samples do not depend on each other.  So where there are enough for each thread, every
 * thread has a sampler of its own (part) and draws its share from the first to the last
 * position, with plans for one thread: nobody waits for anybody.
 */
struct vq_sampler {
	const struct vq_sample *how;
	struct vq_sampler **part;	/* NULL, or besides this one, which is the first of them */
	int parts;
	struct vq_sample_graphs g;	/* until they are compiled: NULL afterwards */
	struct vq_vars own;		/* the weights, borrowed, and what is kept between positions */
	void *memory;			/* of what is kept */
	struct vq_plan *once, *step, *decode;
	int64_t batch, rows, vocab;
	int64_t length;			/* tokens of a sample */
	int threads;
	bool *forbidden;
	int32_t *cell;			/* by place in the sequence: of the grid */
	int32_t *token, *label, position;	/* inputs, by row; of masked tokens [rows, length] */
	int32_t *code;			/* [batch, length], in the order of the grid */
	char *room;			/* for each thread room_each bytes */
	size_t room_each;
	struct vq_type picture;
};

/* How a row's tokens are drawn. */
struct vq_draw vq_sampler_draw(const struct vq_sampler *s);
/* This thread's own room. */
void *vq_sampler_room(const struct vq_sampler *s);
/* Labels of the samples from `first` on, and those of no class; rows past the last sample
 * repeat it, and are not looked at. */
void vq_sampler_labels(struct vq_sampler *s, const struct vq_drawing *w, int64_t first);
/* The error that sample has no token at a place of the sequence: -1. */
int vq_sampler_no_token(const struct vq_sampler *s, int64_t sample, int64_t place, struct vq_diags *d);

/* Labels and first tokens of the samples from `first` on. */
void vq_sampler_begin(struct vq_sampler *s, const struct vq_drawing *w, int64_t first);
/*
 * The tokens at place t of the n samples from `first` on, given or from the logits of their rows, into
 * code and the rows' next tokens.  logits NULL: all are given.
 */
int vq_sampler_choose(struct vq_sampler *s, const struct vq_drawing *w, float *logits, int64_t first, int64_t n,
    int64_t t, struct vq_diags *d);

/* Sets tokens, h, w, high and wide by the keys window, grid and length; h is 0 where they do not
 * say it.  -1 after errors. */
int vq_window_shape(const struct vq_sample *s, struct vq_sample_graphs *g, struct vq_diags *d);
/* The free sizes of the graph that decodes, for a grid of that height and width: how many, -1 after errors. */
int vq_window_sizes(const struct vq_model *m, const struct vq_sample *s, int64_t batch, int64_t h, int64_t w,
    struct vq_size size[VQ_MAX_RANK], struct vq_diags *d);
/* Whether g, of the whole grid, has the parameters that the graph has for a window; -1 after an error. */
int vq_window_same(const struct vq_model *m, const struct vq_sample *s, const struct vq_sample_graphs *k,
    const struct vq_graph *g, struct vq_diags *d);
/* As vq_masked_draw, of a grid that is larger than the window. */
int vq_window_draw(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d);

/* Masked tokens: what choosing among them needs of room for each thread. */
size_t vq_masked_room(int64_t length);
/* All tokens of the samples from `first` on, of which there are n, into code.  1 when a signal
 * came, -1 after errors. */
int vq_masked_draw(struct vq_sampler *s, const struct vq_drawing *w, int64_t first, int64_t n, struct vq_diags *d);

#endif
