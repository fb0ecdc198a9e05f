/*
 * conv_thin -- convolutions that make few channels, of which a vector would stay empty
 *
 * Sum over taps and channels in the other order: one product gives, for each source
 * pixel, what it contributes through every tap (columns: taps times channels), and
 * each place of the result adds up the contributions that fall on it.
 */
#ifndef VQ_OPS_KERNELS_CONV_THIN_H
#define VQ_OPS_KERNELS_CONV_THIN_H

#include "ops/kernels/conv_window.h"

/* Whether it is for such a convolution (adjoint: in the input) and worth it. */
bool vq_conv_thin_fits(const struct vq_conv *v, bool adjoint);
void vq_conv_thin(const struct vq_call *c, const struct vq_conv *v, bool adjoint);
size_t vq_conv_thin_room(const struct vq_conv *v, const struct vq_gemm_micro *u, bool adjoint, int threads);

/* The adjoint in the weights, where vq_conv_thin_fits forward. */
void vq_conv_thin_weight(const struct vq_call *c, const struct vq_conv *v);
size_t vq_conv_thin_weight_room(const struct vq_conv *v, const struct vq_gemm_micro *u, int threads);

#endif
