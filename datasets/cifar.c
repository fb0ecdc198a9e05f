/*
 * cifar -- CIFAR-10 and CIFAR-100: 32x32 colour pictures of 10 and of 100 classes
 */
#include "datasets/images.h"
#include "datasets/pictures.h"

static const char *const files10[] = { "cifar10.tar", "cifar10-jpeg.tar", "cifar10-png.tar", NULL };
static const char *const files100[] = { "cifar100.tar", "cifar100-jpeg.tar", "cifar100-png.tar", NULL };

#define LAYOUT "train/CLASS/FILE and test/CLASS/FILE, JPEG or PNG"
#define CIFAR_KIND .missing = vq_pictures_missing, .open = vq_pictures_open, VQ_IMAGES_KIND

extern const struct vq_source_kind vq_source_cifar10, vq_source_cifar100;

const struct vq_source_kind vq_source_cifar10 = {
	.name    = "cifar10",
	.doc     = "small photographs, 32x32 in colour, 10 classes; 50,000 to train, 10,000 to test",
	.layout  = LAYOUT ", in the folder or in cifar10.tar, cifar10-jpeg.tar, cifar10-png.tar",
	.folder  = "cifar10",
	.files   = files10,
	CIFAR_KIND
};

const struct vq_source_kind vq_source_cifar100 = {
	.name    = "cifar100",
	.doc     = "small photographs, 32x32 in colour, 100 classes; 50,000 to train, 10,000 to test",
	.layout  = LAYOUT ", in the folder or in cifar100.tar, cifar100-jpeg.tar, cifar100-png.tar",
	.folder  = "cifar100",
	.files   = files100,
	CIFAR_KIND
};
