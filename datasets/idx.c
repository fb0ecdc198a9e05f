/*
 * idx -- the IDX files of MNIST and its relatives, gzipped or not
 *
 * Four files: pictures and labels of the splits train and t10k (test).  A file is
 * a magic number (00 00, the element type, the number of axes), the axes as
 * 32-bit big-endian numbers, and the elements.  Sizes are judged before anything
 * is allocated, and every byte of a file must be accounted for.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libdeflate.h>
#include <zlib.h>

#include "datasets/images.h"
#include "engine/checkpoint.h"

enum {
	MAX_AXES = 4,
	HEADER_MAX = 4 + 4 * MAX_AXES,
	ELEMENT_U8 = 8,
	DEFLATE_RATIO = 1032,		/* what deflate can shrink by at most */
};
#define FILE_MAX ((size_t)4 << 30)

/* Where the bytes of a file come from: itself, or inflate. */
struct reader {
	const struct vq_dataset *set;
	const char *path;
	struct vq_diags *diags;
	unsigned char *bytes;
	size_t size;
	bool gzip, ended;	/* ended: inflate saw the end, its check sum was right */
	z_stream z;
	size_t at;		/* not gzip: read so far */
};

struct idx {
	int axes;
	int64_t dim[MAX_AXES];
	uint8_t *data;		/* owned */
};

static int damaged(const struct reader *r, const char *fmt, ...) VQ_PRINTF(2, 3);

static int
damaged(const struct reader *r, const char *fmt, ...)
{
	struct vq_text why = { 0 };
	struct vq_diag *e;
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&why, fmt, ap);
	va_end(ap);
	e = vq_error(r->diags, VQ_DATA, NULL, "%s: %s", r->path, why.s);
	vq_text_free(&why);
	if (r->set->kind->fetch != NULL)
		vq_help(e, "remove the file and get a good copy: vqgraph data fetch %s", r->set->kind->name);
	else
		vq_help(e, "replace the file by a good copy");
	return -1;
}

/* --- reading ---------------------------------------------------------------- */

/* Up to n bytes into out; *got says how many there were.  -1 when inflate finds damage. */
static int
reader_get(struct reader *r, void *out, size_t n, size_t *got)
{
	if (!r->gzip) {
		*got = n < r->size - r->at ? n : r->size - r->at;
		memcpy(out, r->bytes + r->at, *got);
		r->at += *got;
		return 0;
	}

	size_t done = 0;

	while (done < n) {
		size_t piece = n - done < 1u << 30 ? n - done : 1u << 30;

		if (r->z.avail_in == 0) {
			size_t left = r->size - (size_t)(r->z.next_in - r->bytes);

			r->z.avail_in = (uInt)(left < 1u << 30 ? left : 1u << 30);
		}
		r->z.next_out = (unsigned char *)out + done;
		r->z.avail_out = (uInt)piece;

		int rc = inflate(&r->z, Z_NO_FLUSH);

		done += piece - r->z.avail_out;
		r->ended |= rc == Z_STREAM_END;
		if (rc == Z_STREAM_END || rc == Z_BUF_ERROR)
			break;
		if (rc == Z_MEM_ERROR)
			vq_alloc(SIZE_MAX);
		if (rc != Z_OK)
			return damaged(r, "damaged: gzip says '%s'",
			    r->z.msg != NULL ? r->z.msg : zError(rc));
	}
	*got = done;
	return 0;
}

/*
 * Sound files, nearly all, are inflated in one go: three times as fast as by
 * pieces, and the start of a run waits for it.  Whatever is wrong is left to the
 * slow way, which says what.
 */
static void
inflate_at_once(struct reader *r)
{
	size_t n, used;
	const unsigned char *end = r->bytes + r->size;

	if (!r->gzip || r->size < 18)
		return;
	n = (size_t)end[-4] | (size_t)end[-3] << 8 | (size_t)end[-2] << 16 | (size_t)end[-1] << 24;
	if (n == 0 || n > r->size * DEFLATE_RATIO)
		return;
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	unsigned char *out = d ? malloc(n) : NULL;
	if (out && libdeflate_gzip_decompress_ex(d, r->bytes, r->size, out, n, &used, NULL) == LIBDEFLATE_SUCCESS &&
	    used == r->size) {
		free(r->bytes);
		r->bytes = out;
		r->size = n;
		r->gzip = false;
		out = NULL;
	}
	free(out);
	libdeflate_free_decompressor(d);
}

static int
reader_open(struct reader *r)
{
	r->bytes = (unsigned char *)vq_file_read(r->path, FILE_MAX, &r->size, VQ_DATA, r->diags);
	if (r->bytes == NULL)
		return -1;
	r->gzip = r->size >= 2 && r->bytes[0] == 0x1f && r->bytes[1] == 0x8b;
	inflate_at_once(r);
	r->z.next_in = r->bytes;
	if (r->gzip && inflateInit2(&r->z, 16 + MAX_WBITS) != Z_OK)
		vq_alloc(SIZE_MAX);
	return 0;
}

static void
reader_close(struct reader *r)
{
	if (r->gzip)
		inflateEnd(&r->z);
	free(r->bytes);
}

/* Nothing may follow the elements, in the IDX data or behind the gzip stream. */
static int
reader_end(struct reader *r)
{
	unsigned char more;
	size_t got, left;

	if (reader_get(r, &more, 1, &got) < 0)
		return -1;
	left = r->size - (r->gzip ? (size_t)(r->z.next_in - r->bytes) : r->at);
	if (got > 0)
		return damaged(r, "goes on after the elements that its header announces");
	if (r->gzip && !r->ended)
		return damaged(r, "cut short: the end of its gzip data is missing");
	if (left > 0)
		return damaged(r, "has %zu bytes after the end of its gzip data", left);
	return 0;
}

/* --- IDX --------------------------------------------------------------------- */

static int
header_read(struct reader *r, struct idx *x, const char *what, int least, int most)
{
	unsigned char h[HEADER_MAX] = { 0 };
	size_t got, more;

	if (reader_get(r, h, 4, &got) < 0)
		return -1;
	if (got < 4)
		return damaged(r, "cut short: not even a header of 4 bytes");
	if (h[0] != 0 || h[1] != 0 || h[2] != ELEMENT_U8 || h[3] < least || h[3] > most)
		return damaged(r, "is no IDX file of %s: starts with %02x %02x %02x %02x, "
		    "expected 00 00 08 %02x", what, h[0], h[1], h[2], h[3], least);
	x->axes = h[3];
	if (reader_get(r, h + 4, 4 * (size_t)x->axes, &more) < 0)
		return -1;
	if (more < 4 * (size_t)x->axes)
		return damaged(r, "cut short inside its header");
	for (int i = 0; i < x->axes; i++) {
		const unsigned char *b = h + 4 + 4 * i;

		x->dim[i] = (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
		if (x->dim[i] == 0)
			return damaged(r, "says that axis %d has length 0", i);
	}
	return 0;
}

/* How many elements the header announces, -1 when the file cannot hold them. */
static int64_t
announced(const struct reader *r, const struct idx *x)
{
	struct vq_type t = vq_type_of(VQ_U8, x->axes, x->dim);
	char shape[VQ_TYPE_STR];
	size_t hold = r->gzip ? r->size * DEFLATE_RATIO : r->size - (4 + 4 * (size_t)x->axes);

	vq_shape_str(&t.shape, shape);
	if (vq_type_valid(&t) && vq_type_bytes(&t) <= hold)
		return (int64_t)vq_type_bytes(&t);
	if (r->gzip)
		return damaged(r, "its header announces %s bytes, more than %zu compressed bytes can hold",
		    shape, r->size);
	return damaged(r, "cut short: its header announces %s bytes, %zu are there", shape, hold);
}

static int
elements_read(struct reader *r, struct idx *x)
{
	int64_t n = announced(r, x);
	size_t got;

	if (n < 0)
		return -1;
	x->data = vq_alloc((size_t)n);
	if (reader_get(r, x->data, (size_t)n, &got) < 0)
		return -1;
	if (got < (size_t)n)
		return damaged(r, "cut short: its header announces %lld bytes, %zu are there",
		    (long long)n, got);
	return reader_end(r);
}

/* Reads file i of the set: u8 with least to most axes.  x->data is to be freed, also on error. */
static int
idx_read(struct idx *x, const struct vq_dataset *set, int i, const char *what, int least, int most,
    struct vq_diags *d)
{
	struct reader r = { .set = set, .path = set->file[i], .diags = d };
	int rc;

	memset(x, 0, sizeof(*x));
	if (reader_open(&r) < 0)
		return -1;
	rc = header_read(&r, x, what, least, most);
	if (rc == 0)
		rc = elements_read(&r, x);
	reader_close(&r);
	return rc;
}

/* --- a folder ---------------------------------------------------------------- */

static const char *const names[2][2] = {
	{ "train-images-idx3-ubyte", "train-labels-idx1-ubyte" },
	{ "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" },
};

static const char *const *
names_of(const char *split)
{
	return names[strcmp(split, "train") != 0];
}

/* The path of a file, gzipped or not; NULL when neither is there. */
static char *
path_of(const char *folder, const char *name)
{
	static const char *const ending[] = { "", ".gz" };

	for (int i = 0; i < 2; i++) {
		char *path = vq_asprintf("%s/%s%s", folder, name, ending[i]);

		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static const char *
missing(const char *folder, const char *split)
{
	for (int i = 0; i < 2; i++) {
		char *path = path_of(folder, names_of(split)[i]);

		if (path == NULL)
			return names_of(split)[i];
		free(path);
	}
	return NULL;
}

/*
 * How many classes there are; -1 when pictures and labels do not make a set.
 * Labels are 0 to 9 in the named sets, whose pictures are 28 x 28; a folder may
 * have as many as a byte tells.
 */
static int
classes_of(const struct vq_dataset *d, const struct idx *images, const struct idx *labels,
    struct vq_diags *diags)
{
	const struct reader pictures = { .set = d, .path = d->file[0], .diags = diags };
	const struct reader numbers = { .set = d, .path = d->file[1], .diags = diags };
	bool named = d->kind->folder != NULL;
	int most = named ? 9 : 0;

	if (named && (images->axes != 3 || images->dim[1] != 28 || images->dim[2] != 28))
		return damaged(&pictures, "holds pictures of %lld x %lld, not of 28 x 28",
		    (long long)images->dim[1], (long long)images->dim[2]);
	if (labels->dim[0] != images->dim[0])
		return damaged(&numbers, "has %lld labels for the %lld pictures of %s",
		    (long long)labels->dim[0], (long long)images->dim[0], d->file[0]);
	for (int64_t i = 0; i < labels->dim[0]; i++) {
		int y = labels->data[i];

		if (named && y > most)
			return damaged(&numbers, "label %d of sample %lld is out of range: 0 to %d",
			    y, (long long)i, most);
		most = y > most ? y : most;
	}
	return most + 1;
}

static int
open_folder(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder,
    struct vq_diags *diags)
{
	const char *const *name = names_of(d->split);
	struct idx images, labels;
	int bad, classes = -1;

	for (; d->files < 2; d->files++) {
		d->file[d->files] = path_of(folder, name[d->files]);
		if (d->file[d->files] == NULL) {
			vq_error(diags, VQ_DATA, spec->at, "%s: %s is missing", folder, name[d->files]);
			return -1;
		}
	}
	bad = idx_read(&images, d, 0, "pictures", 3, 4, diags);
	bad |= idx_read(&labels, d, 1, "labels", 1, 1, diags);
	if (bad == 0)
		classes = classes_of(d, &images, &labels, diags);
	if (classes < 0) {
		free(images.data);
		free(labels.data);
		return -1;
	}

	struct vq_raw_images raw = {
		.pixels = images.data, .labels = vq_alloc_array((size_t)images.dim[0], sizeof(*raw.labels)),
		.n = images.dim[0], .h = images.dim[1], .w = images.dim[2],
		.c = images.axes == 4 ? images.dim[3] : 1, .classes = classes,
	};

	for (int64_t i = 0; i < raw.n; i++)
		raw.labels[i] = labels.data[i];
	free(labels.data);
	return vq_images_open(d, spec, &raw, diags);
}

static bool
knows(const char *path)
{
	return missing(path, "train") == NULL || missing(path, "test") == NULL;
}

/* --- the sets ---------------------------------------------------------------- */

#define FILES "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, " \
	"t10k-labels-idx1-ubyte, each as it is or with .gz"

static const char *const mnist_mirrors[] = {
	"https://storage.googleapis.com/cvdf-datasets/mnist/",
	"https://ossci-datasets.s3.amazonaws.com/mnist/",
	NULL
};

static const struct vq_fetch mnist_fetch[] = {
	{ "train-images-idx3-ubyte.gz", 9912422,
	  "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", mnist_mirrors },
	{ "train-labels-idx1-ubyte.gz", 28881,
	  "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", mnist_mirrors },
	{ "t10k-images-idx3-ubyte.gz", 1648877,
	  "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", mnist_mirrors },
	{ "t10k-labels-idx1-ubyte.gz", 4542,
	  "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", mnist_mirrors },
	{ 0 }
};

static const char *const fashion_mirrors[] = {
	"https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
	"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
	NULL
};

static const struct vq_fetch fashion_fetch[] = {
	{ "train-images-idx3-ubyte.gz", 26421880,
	  "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", fashion_mirrors },
	{ "train-labels-idx1-ubyte.gz", 29515,
	  "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", fashion_mirrors },
	{ "t10k-images-idx3-ubyte.gz", 4422102,
	  "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", fashion_mirrors },
	{ "t10k-labels-idx1-ubyte.gz", 5148,
	  "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", fashion_mirrors },
	{ 0 }
};

static const char *const fashion_system[] = { "/usr/share/datasets/fashion-mnist", NULL };

static const char *const fashion_classes[] = {
	"T-shirt", "trouser", "pullover", "dress", "coat",
	"sandal", "shirt", "sneaker", "bag", "ankle boot"
};

static int
open_fashion(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder,
    struct vq_diags *diags)
{
	d->class_name = fashion_classes;
	return open_folder(d, spec, folder, diags);
}

#define IDX_KIND .layout = FILES, .missing = missing, VQ_IMAGES_KIND

extern const struct vq_source_kind vq_source_mnist, vq_source_fashion_mnist, vq_source_idx_folder;

const struct vq_source_kind vq_source_mnist = {
	.name    = "mnist",
	.doc     = "handwritten digits, 28x28 grey; 60,000 to train, 10,000 to test",
	.from    = "The MNIST database of handwritten digits (LeCun, Cortes, Burges), http://yann.lecun.com/exdb/mnist/",
	.folder  = "mnist",
	.fetch   = mnist_fetch,
	.open    = open_folder,
	IDX_KIND
};

const struct vq_source_kind vq_source_fashion_mnist = {
	.name    = "fashion_mnist",
	.doc     = "pieces of clothing, 28x28 grey; 60,000 to train, 10,000 to test",
	.from    = "Fashion-MNIST (Xiao, Rasul, Vollgraf), https://github.com/zalandoresearch/fashion-mnist",
	.folder  = "fashion_mnist",
	.system  = fashion_system,
	.fetch   = fashion_fetch,
	.package = "dataset-fashion-mnist",
	.open    = open_fashion,
	IDX_KIND
};

/* A folder given by its path. */
const struct vq_source_kind vq_source_idx_folder = {
	.name    = "a folder of IDX files",
	.doc     = "IDX files of one's own: pictures of any size with labels",
	.knows   = knows,
	.open    = open_folder,
	IDX_KIND
};
