/*
 * picture_sets -- published sets of pictures by name, in the layouts of their authors (layouts.c)
 */
#include "datasets/images.h"
#include "datasets/pictures.h"

static const char *const three[] = { "train", "test", "val", NULL };
static const char *const train_and_val[] = { "train", "val", NULL };

/* A set: what it is, what of its files says that it is there, and where it comes from. */
#define SET(set, first, ...) \
	static const char *missing_##set(const char *path, const char *split) \
	{ \
		return vq_pictures_missing(path, split) == NULL ? NULL : first; \
	} \
	extern const struct vq_source_kind vq_source_##set; \
	const struct vq_source_kind vq_source_##set = { \
		.name    = #set, \
		.folder  = #set, \
		.missing = missing_##set, \
		.open    = vq_pictures_open, \
		.digest  = vq_images_digest, \
		VQ_IMAGES_KIND, \
		__VA_ARGS__ \
	}

SET(celeba, "img_align_celeba with list_eval_partition.txt",
	.doc    = "faces, 178x218 in colour, a label is 40 attributes; 162,770 to train, 19,867 to validate, "
	    "19,962 to test",
	.layout = "img_align_celeba (or img_align_celeba.zip, 1.4 GB), list_eval_partition.txt, "
	    "list_attr_celeba.txt (27 MB) for labels; the lists also as .csv",
	.from   = "Large-scale CelebFaces Attributes (CelebA) Dataset, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, "
	    "Align&Cropped Images; by hand",
	.splits = three);

static const char *const tiny_files[] = { "tiny-imagenet-200", "tiny-imagenet-200.zip", NULL };
static const char *const tiny_mirrors[] = { "http://cs231n.stanford.edu/", NULL };
static const struct vq_fetch tiny_fetch[] = {
	{ "tiny-imagenet-200.zip", 0, NULL, tiny_mirrors, "90528d7ca1a48142e341f4ef8d21d0de" },
	{ 0 }
};

SET(tinyimagenet, "train with wnids.txt",
	.doc    = "photographs, 64x64, some of them grey (ask for channels), 200 classes; 100,000 to train, "
	    "10,000 to validate, 10,000 without labels",
	.layout = "tiny-imagenet-200.zip (248 MB) or what is in it: wnids.txt, train, val with val_annotations.txt, test",
	.from   = "Tiny ImageNet of Stanford's course CS231N, http://cs231n.stanford.edu/tiny-imagenet-200.zip",
	.files  = tiny_files,
	.splits = three,
	.fetch  = tiny_fetch);

static const char *const places_files[] = { "places365_standard", "places365standard_easyformat.tar", NULL };

SET(places365, "train/CLASS/FILE or places365_train_standard.txt",
	.doc    = "photographs of places, about 256x256 (ask for a size), 365 classes; 1,803,460 to train, "
	    "36,500 to validate",
	.layout = "train/CLASS/FILE and val/CLASS/FILE (places365standard_easyformat.tar, packed or not); or "
	    "places365_train_standard.txt, places365_val.txt and categories_places365.txt with data_256 and val_256, "
	    "or train_256_places365standard.tar (26 GB) and val_256.tar (525 MB)",
	.from   = "Places: A 10 million Image Database for Scene Recognition, http://places2.csail.mit.edu/download.html, "
	    "http://data.csail.mit.edu/places/places365/; by hand",
	.files  = places_files,
	.splits = three);

static const char *const dtd_files[] = { "dtd", "dtd-r1.0.1.tar.gz", NULL };
static const char *const dtd_mirrors[] = { "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/", NULL };
static const struct vq_fetch dtd_fetch[] = {
	{ "dtd-r1.0.1.tar.gz", 625239812, "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205", dtd_mirrors },
	{ 0 }
};

SET(dtd, "images with labels/train1.txt",
	.doc    = "textures, 300 to 640 pixels wide (ask for a size), 47 classes; 1,880 each to train, validate and test",
	.layout = "dtd-r1.0.1.tar.gz (625 MB) or what is in it: images/CLASS/FILE and labels/train1.txt, val1.txt, "
	    "test1.txt",
	.from   = "Describable Textures Dataset, https://www.robots.ox.ac.uk/~vgg/data/dtd/",
	.files  = dtd_files,
	.splits = three,
	.fetch  = dtd_fetch);

SET(imagenet, "train/WNID/FILE",
	.doc    = "photographs of any size (ask for one), 1,000 classes; 1,281,167 to train, 50,000 to validate",
	.layout = "train/WNID/FILE and val/WNID/FILE: ILSVRC2012_img_train.tar (148 GB) and ILSVRC2012_img_val.tar "
	    "(6.7 GB) unpacked, each picture in the folder of its class",
	.from   = "ImageNet Large Scale Visual Recognition Challenge 2012, https://www.image-net.org/download.php; by "
	    "hand, after registration",
	.splits = train_and_val);

static const char *const flower_files[] = { "flowers-102", NULL };
static const char *const flower_mirrors[] = { "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", NULL };
static const struct vq_fetch flower_fetch[] = {
	{ "102flowers.tgz", 344862509, "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246", flower_mirrors },
	{ "imagelabels.mat", 502, "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d", flower_mirrors },
	{ "setid.mat", 14989, "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd", flower_mirrors },
	{ 0 }
};

SET(flowers102, "102flowers.tgz with imagelabels.mat and setid.mat",
	.doc    = "flowers, 500 pixels and more (ask for a size), 102 classes; 1,020 to train, 1,020 to validate, "
	    "6,149 to test",
	.layout = "102flowers.tgz (345 MB) or the folder jpg that is in it, imagelabels.mat and setid.mat",
	.from   = "102 Category Flower Dataset, https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
	.files  = flower_files,
	.splits = three,
	.fetch  = flower_fetch);
