/* Every source kind with a name: X(mnist) stands for vq_source_mnist in datasets/. */
#define VQ_SOURCE_LIST(X) X(mnist) X(fashion_mnist) X(cifar10) X(cifar100) \
	X(chestmnist) X(bloodmnist) X(dermamnist) X(octmnist) X(tissuemnist) X(pneumoniamnist) X(retinamnist) X(svhn) \
	X(celeba) X(tinyimagenet) X(places365) X(dtd) X(imagenet) X(flowers102) X(digits)
/* What a path can be; the first that knows it reads it. */
#define VQ_PATH_SOURCE_LIST(X) X(idx_folder) X(cifar_files) X(svhn_files) X(npy) X(npz) X(pictures)
