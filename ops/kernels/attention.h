/*
 * attention -- softmax of products, and values weighed by it, without ever storing
 * the weights (Dao et al. 2022, "FlashAttention"; Rabe, Staats 2021)
 *
 * Queries stand in the lanes of panels (panels.h): scores are keys times a
 * panel of queries, and what becomes of them stays a panel through the whole head.
 * Keys go by in blocks with a running largest score and sum; the backward makes the
 * weights again from the logsumexp.
 *
 * Which queries and keys make a block follows from shapes alone, and sums go over
 * blocks in order: the same bits with any number of threads.
 */
#ifndef VQ_OPS_KERNELS_ATTENTION_H
#define VQ_OPS_KERNELS_ATTENTION_H

#include "engine/op.h"

struct vq_attention {
	int64_t n, heads, t, s;
	int64_t d, e;			/* channels of a head: of queries and keys, of values; both > 0 */
	float scale;
	bool causal;			/* query i sees keys 0 .. i + s - t; t <= s then */
	uint32_t drop;			/* weights whose 16 random bits are below are dropped */
	float keep;			/* factor of the others */
};

/* An operand: numbers of f32 as they are, or rounded to bf16 before they are used, or of bf16. */
struct vq_attention_in {
	const void *data;
	enum vq_attention_form { VQ_ATTENTION_PLAIN, VQ_ATTENTION_ROUNDED, VQ_ATTENTION_HALF } form;
};

/* Of the call: key, threads, scratch, kernels. */
struct vq_attention_forward {
	struct vq_attention_in q, k, v;
	void *y;			/* f32, or bf16 with half_y */
	float *lse;
	bool half_y;
};
void vq_attention(const struct vq_attention *a, const struct vq_call *c, const struct vq_attention_forward *x);
/* y, lse: of the forward; g: gradient of y. */
struct vq_attention_grad {
	struct vq_attention_in q, k, v, y, g;
	const float *lse;
	float *dq, *dk, *dv;
};
void vq_attention_grad(const struct vq_attention *a, const struct vq_call *c, const struct vq_attention_grad *x);
/* Bytes of scratch. */
size_t vq_attention_scratch(const struct vq_attention *a, int threads);
size_t vq_attention_grad_scratch(const struct vq_attention *a, int threads);

#endif
