/*
 * pictures -- what the tests of pictures share: files of one grey, archives of them, what a set holds
 * (VQ_SRCDIR is the test's)
 */
#ifndef VQ_TESTS_PICTURES_H
#define VQ_TESTS_PICTURES_H

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>

#include "engine/file.h"
#include "engine/image.h"
#include "tests/datasets.h"

/* --- what is read from ------------------------------------------------------- */

static inline char *
fixture(const char *name, size_t *n)
{
	char *path = vq_asprintf("%s/tests/fixtures/%s", VQ_SRCDIR, name);
	struct vq_diags d = { 0 };
	char *bytes = vq_file_read(path, 1 << 20, n, VQ_DATA, &d);

	ck_assert_msg(bytes != NULL, "%s is missing", path);
	free(path);
	return bytes;
}

static inline void
make_folders(const char *path)
{
	char *p = vq_strdup(path);

	for (char *s = strchr(p, '/'); s != NULL; s = strchr(s + 1, '/')) {
		*s = '\0';
		mkdir(p, 0755);
		*s = '/';
	}
	free(p);
}

static inline void
put(const char *path, const void *bytes, size_t n)
{
	FILE *f;

	make_folders(path);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static inline void
put_fixture(const char *path, const char *name)
{
	size_t n;
	char *bytes = fixture(name, &n);

	put(path, bytes, n);
	free(bytes);
}

/* The bytes of a picture of 3 x 2 pixels of one grey. */
static inline char *
grey_png(int level, size_t *n)
{
	uint8_t pixel[6];
	struct vq_image im = { .w = 2, .h = 3, .channels = 1, .pixel = pixel };
	struct vq_diags d = { 0 };
	char *bytes;

	memset(pixel, level, sizeof(pixel));
	ck_assert_int_eq(vq_image_write_png("scratch.png", &im, &d), 0);
	bytes = vq_file_read("scratch.png", 1 << 16, n, VQ_DATA, &d);
	ck_assert_ptr_nonnull(bytes);
	return bytes;
}

static inline void
put_grey(const char *path, int level)
{
	size_t n;
	char *bytes = grey_png(level, &n);

	put(path, bytes, n);
	free(bytes);
}

/* --- an archive -------------------------------------------------------------- */

static inline struct archive *
tar_begin(const char *path, bool gzip)
{
	struct archive *a = archive_write_new();

	archive_write_set_format_pax_restricted(a);
	if (gzip)
		archive_write_add_filter_gzip(a);
	ck_assert_int_eq(archive_write_open_filename(a, path), ARCHIVE_OK);
	return a;
}

static inline void
tar_add(struct archive *a, const char *name, unsigned type, const void *bytes, size_t n)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)n);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(e, "/etc/passwd");
	ck_assert_int_eq(archive_write_header(a, e), ARCHIVE_OK);
	if (n > 0)
		ck_assert_int_eq(archive_write_data(a, bytes, n), (la_ssize_t)n);
	archive_entry_free(e);
}

static inline void
tar_grey(struct archive *a, const char *name, int level)
{
	size_t n;
	char *bytes = grey_png(level, &n);

	tar_add(a, name, AE_IFREG, bytes, n);
	free(bytes);
}

static inline void
tar_end(struct archive *a)
{
	ck_assert_int_eq(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

/* --- opening ----------------------------------------------------------------- */

/* "LEVEL:LABEL " of each sample, without labels "LEVEL ": pictures are of one grey. */
static inline char *
contents(const struct vq_dataset *d)
{
	struct vq_text t = { 0 };
	size_t size = (size_t)vq_shape_count(&d->field[0].type.shape);
	float *x = vq_alloc_array(size, sizeof(*x));

	for (uint32_t i = 0; i < d->count; i++) {
		int32_t y;

		d->kind->gather(d, 0, &i, 1, x);
		vq_text_add(&t, "%s%ld", i > 0 ? " " : "", lround(x[0] * 255));
		if (d->fields < 2)
			continue;
		d->kind->gather(d, 1, &i, 1, &y);
		vq_text_add(&t, ":%d", y);
	}
	free(x);
	return t.s;
}

static inline void
expect(const char *source, const char *split, const char *text)
{
	struct vq_data_spec s = spec_of(source);
	struct vq_dataset *d;
	char *is;

	s.split = split;
	d = open_whole(&s);
	is = contents(d);
	ck_assert_str_eq(is, text);
	free(is);
	vq_dataset_close(d);
}

#endif
