/* Every source kind: X(mnist) stands for vq_source_mnist in datasets/. */
#define VQ_SOURCE_LIST(X) X(mnist) X(fashion_mnist) X(digits)
