/*
 * sample -- tokens drawn from a prior, and pictures of them
 *
 * In one of two ways: one after the other from a causal graph, or many at once from a graph
 * that sees which ones are still masked.  A draw is a function of the seed, the number of
 * the sample, the position and the step alone, and logits do not depend on what else is in
 * the batch: the same samples come out at any batch size and any number of threads.
 */
#ifndef VQ_ENGINE_SAMPLE_H
#define VQ_ENGINE_SAMPLE_H

#include <signal.h>

#include "engine/compile.h"
#include "engine/incremental.h"
#include "ops/kernels/order.h"

/* --- one token from logits ------------------------------------------------- */

struct vq_draw {
	double temperature;	/* divides the logits; 0: the likeliest token */
	int64_t top_k;		/* only the likeliest so many; 0: all */
	double top_p;		/* then only the likeliest that together have this probability */
	int64_t vocab;
	const bool *forbidden;	/* by token: never drawn, the others are renormalised; NULL: none */
};

/* What a draw works in: vq_draw_room(vocab) bytes, 16-byte aligned. */
size_t vq_draw_room(int64_t vocab);
/*
 * The token that u in [0, 1) picks among the probabilities of the logits, likeliest
 * first where there is a top_k or top_p, in the order of tokens elsewhere; of equal
 * logits the lower token comes first.  -1 when an allowed logit is not a number or +inf,
 * or when all of them are -inf.
 */
int64_t vq_draw_token(const struct vq_draw *how, const float *logits, double u, void *room);
/* The logarithm of the probability of a token that may be drawn, among all of those at
 * temperature 1.  room as for vq_draw_token. */
double vq_draw_log_probability(const struct vq_draw *how, const float *logits, int64_t token, void *room);
/* In [0, 1) with 53 bits: of a sample at a position. */
double vq_draw_uniform(uint64_t seed, uint64_t sample, uint64_t position);
/* Of the standard Gumbel distribution, of a sample at a position: independent of the former. */
double vq_draw_gumbel(uint64_t seed, uint64_t sample, uint64_t position);
/* none + scale (cond - none) into cond: Ho and Salimans 2022, as classifier-free guidance is
 * taken to logits of autoregressive models. */
void vq_guide(float *cond, const float *none, double scale, int64_t n);

/* --- masked tokens --------------------------------------------------------- */

enum vq_masking { VQ_MASKING_COSINE, VQ_MASKING_ARCCOS, VQ_MASKING_LINEAR };
extern const char *const vq_masking_names[];
/* Which share of the tokens is masked after the part r of all steps: 1 at 0, 0 at 1
 * (Chang et al. 2022, section 3.3). */
double vq_masking_share(enum vq_masking schedule, double r);
/* Of n masked tokens, how many are so after step 1 <= step <= steps <= n: each step fixes one
 * at least, the last one all that are left. */
int64_t vq_masking_left(enum vq_masking schedule, int64_t n, int64_t step, int64_t steps);

/* --- a sample stage -------------------------------------------------------- */

enum vq_method { VQ_METHOD_CAUSAL, VQ_METHOD_MASKED };

enum vq_sample_precision { VQ_SAMPLE_F32, VQ_SAMPLE_BF16 };

/* As its keys say; graphs/README.md describes each. */
struct vq_sample {
	const char *name;		/* of the stage */
	const struct vq_tree *tree;	/* where its keys stand */
	int method;			/* enum vq_method */
	const char *graph, *value, *token;
	const char *time;		/* causal only, as start and start_per_class are */
	int64_t mask, steps;		/* masked only, as the next two are */
	int schedule;			/* enum vq_masking */
	double choice_temperature;
	int64_t start, classes, length, codes, null, count, batch, top_k;
	bool start_per_class;
	int64_t *forbid;
	int forbids;
	double temperature, top_p, guidance;
	int order;			/* enum vq_order */
	struct vq_ints window, grid;	/* rows and columns of what the graph sees, and of all codes; count 1: of
					 * both, 0: as they are without the other */
	int precision;			/* enum vq_sample_precision: of products of what gives the logits; decoding is f32 */
	const char *decode, *decode_input, *decode_value;
	double lo, hi;			/* of the pictures' values */
};

/* Reads stage i of the model; -1 after errors.  vq_sample_free in any case. */
int vq_sample_read(const struct vq_model *m, int i, struct vq_sample *s, struct vq_diags *d);
void vq_sample_free(struct vq_sample *s);
/* The place of a key of the stage, or of the stage where it was left out. */
const struct vq_range *vq_sample_at(const struct vq_sample *s, const char *key);
/* How many codes a sample has: those of the grid, or length. */
int64_t vq_sample_tokens(const struct vq_sample *s);
enum { VQ_SAMPLE_MOST = 1000000 };	/* codes of a grid */
/* Rows and columns of the codes that the graph sees, of which the grid has no fewer; 0 where
 * length is no square and no window says them. */
void vq_sample_window(const struct vq_sample *s, int64_t *h, int64_t *w);
/* Judges all that can be judged without weights, and makes every parameter that sampling
 * reads (vq_vars_bind).  -1 after errors. */
int vq_sample_bind(const struct vq_model *m, const struct vq_sample *s, struct vq_vars *vars, uint64_t seed,
    struct vq_diags *d);
/* Judges the same, and gives the graph of one position, or of all where they are masked; NULL
 * after errors. */
struct vq_graph *vq_sample_step(const struct vq_model *m, const struct vq_sample *s, int64_t batch, struct vq_diags *d);

/* The name of a stage that draws masked tokens, or NULL where the model has none. */
const char *vq_sample_masked(const struct vq_model *m);
/* -1 after the error that a graph would tell how likely codes are to a masked prior that sees them. */
int vq_sample_no_likelihood(const struct vq_model *m, const struct vq_graph *g, struct vq_diags *d);

/* --- drawing --------------------------------------------------------------- */

struct vq_sampler;

/*
 * Compiles it for so many samples at once, with the weights of vars, averaged ones where
 * there are: they must outlive it and stay what they are.  NULL after errors.
 */
struct vq_sampler *vq_sampler_new(const struct vq_model *m, const struct vq_sample *s, int64_t batch,
    const struct vq_vars *vars, int threads, struct vq_diags *d);
void vq_sampler_free(struct vq_sampler *s);
/* One decoded picture: f32[h, w, c]. */
const struct vq_type *vq_sampler_picture(const struct vq_sampler *s);

struct vq_drawing {
	int64_t n;
	uint64_t seed;
	const int32_t *class;		/* by sample; NULL where there are no classes */
	const int32_t *known;		/* [n, tokens] in the order of the grid: tokens that are given, -1
					 * where one is to be drawn; NULL: all are drawn */
	const volatile sig_atomic_t *signal;	/* stops when it is set; NULL: nothing does */
	int32_t *codes;			/* out: [n, tokens] in the order of the grid */
	float *pictures;		/* out: n of vq_sampler_picture; NULL: not decoded */
	double seconds;			/* out: drawing tokens, without decoding */
};
/* -1 after errors, 1 when stopped by a signal. */
int vq_sampler_run(struct vq_sampler *s, struct vq_drawing *w, struct vq_diags *d);

/* The class of sample i of n, so that classes follow each other and are as many. */
int32_t vq_sample_class(int64_t i, int64_t n, int64_t classes);
/* Draws them on a grid: with a class for each (sorted), one class a row. */
int vq_sample_grid(const char *path, const struct vq_sample *s, const struct vq_type *picture, const float *pictures,
    const int32_t *class, int64_t n, struct vq_diags *d);

#endif
