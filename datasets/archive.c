/*
 * archive -- the files inside a tar (plain or compressed) or a zip, in their order
 */
#include "datasets/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include "engine/file.h"

enum { BLOCK = 1 << 17, FIRST_ROOM = 1 << 14 };

struct vq_archive {
	struct archive *in;
	char *path;
	int fd;
	gzFile gz;		/* NULL: not gzip */
	uint8_t *block;		/* of what gz gave */
	int64_t entries;
	struct vq_diags *diags;
};

static int
damaged(const struct vq_archive *a)
{
	const char *why = archive_error_string(a->in);

	vq_help(vq_error(a->diags, VQ_DATA, NULL, "%s: damaged or no archive, after %lld entries: %s", a->path,
	    (long long)a->entries, why != NULL ? why : "it cannot be read"), "replace the file by a good copy");
	return -1;
}

/* gzip is taken off by zlib, which looks at its check sum; libarchive does not. */
static la_ssize_t
read_gzip(struct archive *in, void *of, const void **bytes)
{
	struct vq_archive *a = of;
	int n = gzread(a->gz, a->block, BLOCK), code = Z_OK;

	*bytes = a->block;
	if (n < 0 || (n < BLOCK && gzerror(a->gz, &code) && code != Z_OK)) {
		const char *why = strrchr(gzerror(a->gz, &code), ':');	/* after the file's name */
		archive_set_error(in, EILSEQ, "gzip says '%s'", why != NULL ? why + 2 : "damaged");
		return -1;
	}
	return n;
}

/* Opens what fd reads; an ARCHIVE_ code. */
static int
open_input(struct vq_archive *a)
{
	uint8_t magic[2];

	if (pread(a->fd, magic, 2, 0) != 2 || magic[0] != 0x1f || magic[1] != 0x8b)
		return archive_read_open_fd(a->in, a->fd, BLOCK);
	a->block = vq_alloc(BLOCK);
	a->gz = gzdopen(dup(a->fd), "rb");
	if (a->gz == NULL)
		vq_alloc(SIZE_MAX);
	return archive_read_open(a->in, a, NULL, read_gzip, NULL);
}

struct vq_archive *
vq_archive_open(const char *path, struct vq_diags *d)
{
	size_t size;
	int fd = vq_file_open(path, &size, VQ_DATA, d);
	struct vq_archive *a;

	if (fd < 0)
		return NULL;
	a = vq_alloc(sizeof(*a));
	a->in = archive_read_new();
	if (a->in == NULL)
		vq_alloc(SIZE_MAX);
	a->path = vq_strdup(path);
	a->fd = fd;
	a->diags = d;
	/* Named one by one: "all" would also start programs. */
	archive_read_support_filter_bzip2(a->in);
	archive_read_support_filter_xz(a->in);
	archive_read_support_filter_zstd(a->in);
	archive_read_support_format_tar(a->in);
	/* By its list at the end alone: what is cut has none. */
	archive_read_support_format_zip_seekable(a->in);
	if (open_input(a) != ARCHIVE_OK) {
		damaged(a);
		vq_archive_close(a);
		return NULL;
	}
	return a;
}

void
vq_archive_close(struct vq_archive *a)
{
	if (a == NULL)
		return;
	archive_read_free(a->in);
	if (a->gz != NULL)
		gzclose(a->gz);
	free(a->block);
	close(a->fd);
	free(a->path);
	free(a);
}

/* A plain tar that is cut between two files looks like a smaller one, but for the zeros
 * at its end. */
static bool
is_whole(const struct vq_archive *a)
{
	char last[512], zero[512] = { 0 };
	struct stat st;

	if (a->gz != NULL || (archive_format(a->in) & ARCHIVE_FORMAT_BASE_MASK) != ARCHIVE_FORMAT_TAR ||
	    archive_filter_code(a->in, 0) != ARCHIVE_FILTER_NONE)
		return true;
	return fstat(a->fd, &st) == 0 && pread(a->fd, last, sizeof(last), st.st_size - (off_t)sizeof(last)) ==
	    (ssize_t)sizeof(last) && memcmp(last, zero, sizeof(last)) == 0;
}

static int
cut(const struct vq_archive *a)
{
	vq_help(vq_error(a->diags, VQ_DATA, NULL, "%s: cut short: the end of the tar is missing", a->path),
	    "replace the file by a good copy");
	return -1;
}

/* Reads what is left after the tar's end, up to the check sum. */
static bool
gzip_ends(struct vq_archive *a)
{
	const void *bytes;
	la_ssize_t n = 0;

	while (a->gz != NULL && (n = read_gzip(a->in, a, &bytes)) > 0)
		continue;
	return n == 0;
}

int
vq_archive_next(struct vq_archive *a, struct vq_entry *e)
{
	struct archive_entry *entry;
	int rc = archive_read_next_header(a->in, &entry);

	if (rc == ARCHIVE_EOF && !gzip_ends(a))
		return damaged(a);
	if (rc == ARCHIVE_EOF)
		return is_whole(a) ? 0 : cut(a);
	if (rc < ARCHIVE_WARN)
		return damaged(a);
	a->entries++;
	e->name = archive_entry_pathname(entry);
	if (e->name == NULL)		/* a name that the locale cannot say */
		e->name = archive_entry_pathname_utf8(entry);
	if (e->name == NULL) {
		vq_error(a->diags, VQ_DATA, NULL, "%s: entry %lld has a name that is no text", a->path,
		    (long long)a->entries);
		return -1;
	}
	while (e->name[0] == '.' && e->name[1] == '/')
		e->name += 2 + strspn(e->name + 2, "/");

	bool link = archive_entry_hardlink(entry) != NULL;

	e->kind = archive_entry_filetype(entry) == AE_IFREG && !link ? VQ_ENTRY_FILE :
	    archive_entry_filetype(entry) == AE_IFDIR ? VQ_ENTRY_FOLDER : VQ_ENTRY_OTHER;
	return 1;
}

int
vq_archive_read(struct vq_archive *a, size_t max, uint8_t **buffer, size_t *cap, size_t *n)
{
	for (*n = 0;;) {
		if (*n == *cap) {
			size_t more = *cap > 0 ? 2 * *cap : FIRST_ROOM;

			*buffer = vq_realloc_array(*buffer, more, 1);
			*cap = more;
		}

		la_ssize_t got = archive_read_data(a->in, *buffer + *n, *cap - *n);

		if (got < 0)
			return damaged(a);
		if (got == 0)
			return 1;
		*n += (size_t)got;
		if (*n > max)
			return 0;
	}
}

bool
vq_archive_named(const char *path)
{
	static const char *const ends[] = { ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2",
		".tar.zst", ".zip" };
	size_t len = strlen(path);

	for (size_t i = 0; i < VQ_COUNT(ends); i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strcasecmp(path + len - n, ends[i]) == 0)
			return true;
	}
	return false;
}
