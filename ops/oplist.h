/* Every file of ops/, by name: X(matmul) stands for vq_ops_matmul[] in ops/matmul.c. */
#define VQ_OPLIST(X) \
	X(unary) X(binary) X(compare) X(where) X(fused) X(cast) \
	X(reduce) X(argmax) X(reshape) X(transpose) X(broadcast) X(concat) X(slice) X(pad) \
	X(matmul) X(matmul_packed) X(conv2d) X(pool2d) X(resize) \
	X(softmax) X(attention) X(attention_step) X(rotary) X(positions) X(norm) X(layer_norm_affine) X(batch_norm_affine) X(rms_norm) X(loss) X(cross_entropy) \
	X(lookup) X(nearest) X(kmeans) X(scalar_codes) X(count) X(one_hot) X(straight_through) X(stop) \
	X(dropout) X(random) X(reorder) \
	X(update)
