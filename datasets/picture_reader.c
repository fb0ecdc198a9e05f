/*
 * picture_reader -- the bytes of the pictures of a list, for several threads
 *
 * The files of a folder are read by the threads themselves, in the order of samples;
 * those of an archive under a lock, in the order of the archive.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/archive.h"
#include "datasets/picture.h"
#include "datasets/picture_files.h"
#include "engine/file.h"

struct vq_picture_reader {
	const struct vq_picture_files *list;
	pthread_mutex_t lock;
	int64_t *order, n, at;		/* indices of files, in the order of reading */
	struct vq_archive *archive;
	int64_t entry;			/* of the archive that is read next */
	uint8_t *again;			/* what the last one held, where the next file is the same */
	size_t again_size;
	int failed;
	struct vq_diags *diags;
};

static int
compare_entries(const void *a, const void *b, void *list)
{
	const struct vq_picture_file *file = ((const struct vq_picture_files *)list)->file;
	int64_t x = file[*(const int64_t *)a].entry, y = file[*(const int64_t *)b].entry;

	return (x > y) - (x < y);
}

struct vq_picture_reader *
vq_picture_reader_new(const struct vq_picture_files *l, int64_t first, int64_t n, struct vq_diags *d)
{
	struct vq_picture_reader *r = vq_alloc(sizeof(*r));

	r->list = l;
	r->n = n;
	r->diags = d;
	r->order = vq_alloc_array((size_t)n, sizeof(*r->order));
	for (int64_t i = 0; i < n; i++)
		r->order[i] = first + i;
	pthread_mutex_init(&r->lock, NULL);
	if (l->archive) {
		qsort_r(r->order, (size_t)n, sizeof(*r->order), compare_entries, (void *)l);
		r->archive = vq_archive_open(l->path, d);
		r->failed = r->archive == NULL ? -1 : 0;
	}
	return r;
}

/* A file of a folder; why not, where it cannot be read. */
static void
read_file(const struct vq_picture_files *l, const struct vq_picture_file *f, uint8_t **buffer, size_t *cap, size_t *size,
    char *why)
{
	char *path = vq_picture_file_path(l, f);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int reason = errno;
	struct stat st;

	free(path);
	errno = 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		snprintf(why, VQ_WHY, "cannot be read: %s", strerror(fd < 0 ? reason : errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(why, VQ_WHY, "is not a regular file");
	else if (st.st_size > VQ_PICTURE_FILE)
		snprintf(why, VQ_WHY, "has %lld bytes: too large for a picture", (long long)st.st_size);
	else {
		if ((size_t)st.st_size > *cap) {
			*cap = (size_t)st.st_size;
			*buffer = vq_realloc_array(*buffer, *cap, 1);
		}
		if (vq_file_get(fd, *buffer, (size_t)st.st_size))
			*size = (size_t)st.st_size;
		else
			snprintf(why, VQ_WHY, "%s", errno != 0 ? strerror(errno) : "it became shorter while it was read");
	}
	if (fd >= 0)
		close(fd);
}

/* Goes on to a file of the archive and reads it, with the lock held; -1 after an error. */
static int
read_entry(struct vq_picture_reader *r, const struct vq_picture_file *f, uint8_t **buffer, size_t *cap, size_t *size,
    char *why)
{
	struct vq_entry e = { 0 };
	size_t len, want = strlen(f->name);
	int rc = 1;

	if (f->entry < r->entry) {
		if (r->again_size > *cap) {
			*cap = r->again_size;
			*buffer = vq_realloc_array(*buffer, *cap, 1);
		}
		memcpy(*buffer, r->again, r->again_size);
		*size = r->again_size;
		return 0;
	}
	while (rc == 1 && r->entry <= f->entry) {
		rc = vq_archive_next(r->archive, &e);
		r->entry++;
	}
	len = rc == 1 ? strlen(e.name) : 0;
	if (rc == 0 || (rc == 1 && (len < want || strcmp(e.name + len - want, f->name) != 0))) {
		vq_error(r->diags, VQ_DATA, NULL, "%s: changed while it was read", r->list->path);
		return -1;
	}
	if (rc == 1)
		rc = vq_archive_read(r->archive, VQ_PICTURE_FILE, buffer, cap, size);
	if (rc == 0) {
		snprintf(why, VQ_WHY, "has more than %d MB: too large for a picture", VQ_PICTURE_FILE >> 20);
		*size = 0;
	}
	/* A list may name a file more than once. */
	if (rc >= 0 && r->at < r->n && r->list->file[r->order[r->at]].entry == f->entry) {
		r->again = vq_realloc_array(r->again, *size + 1, 1);
		r->again_size = *size;
		memcpy(r->again, *buffer, *size);
	}
	return rc < 0 ? -1 : 0;
}

int
vq_picture_reader_next(struct vq_picture_reader *r, int64_t *index, uint8_t **buffer, size_t *cap,
    size_t *size, char *why)
{
	const struct vq_picture_file *f;
	int more;

	*size = 0;
	why[0] = '\0';
	pthread_mutex_lock(&r->lock);
	more = r->failed == 0 && r->at < r->n;
	if (more) {
		*index = r->order[r->at++];
		f = &r->list->file[*index];
		if (f->bad != NULL)
			snprintf(why, VQ_WHY, "%s", f->bad);
		else if (r->archive != NULL && read_entry(r, f, buffer, cap, size, why) < 0)
			r->failed = -1, more = 0;
	}
	pthread_mutex_unlock(&r->lock);
	if (more && r->archive == NULL && why[0] == '\0')
		read_file(r->list, f, buffer, cap, size, why);
	return more;
}

int
vq_picture_reader_end(struct vq_picture_reader *r)
{
	int rc = r->failed;

	vq_archive_close(r->archive);
	free(r->again);
	pthread_mutex_destroy(&r->lock);
	free(r->order);
	free(r);
	return rc;
}
