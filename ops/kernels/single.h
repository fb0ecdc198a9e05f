/*
 * single -- ops that are one elementwise instruction
 */
#ifndef VQ_OPS_KERNELS_SINGLE_H
#define VQ_OPS_KERNELS_SINGLE_H

#include "engine/op.h"

/* What op->ewise is: the instruction that an op with these parameters stands for. */
typedef bool vq_describe_fn(const void *params, struct vq_ewise_instr *out);

/* The instruction as a program of its own. */
struct vq_ewise vq_single_program(vq_describe_fn *describe, const void *params);
/* run and ref of such an op.  Anything but f32 is left to ref. */
void vq_single_run(const struct vq_call *c, vq_describe_fn *describe);
void vq_single_ref(const struct vq_call *c, vq_describe_fn *describe);

/* infer of ops for floating numbers alone, inputs broadcasting. */
/* op.h, `half`: where the shape is the result's. */
enum vq_half vq_single_half(const struct vq_cost *c, int port, bool out);
int vq_single_infer(struct vq_infer *q);

#endif
