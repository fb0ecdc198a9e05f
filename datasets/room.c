/*
 * room -- memory for the pictures of a set
 */
#include "datasets/room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/memory.h"

enum { NAMES = 100 };
static const char ending[] = ".part";

/* --- a file ------------------------------------------------------------------ */

/* Removes what processes left that are no more: nobody holds its lock. */
static void
sweep(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name), end = strlen(ending);
		int fd;

		if (n <= end || strcmp(e->d_name + n - end, ending) != 0)
			continue;
		fd = openat(dirfd(dir), e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(dir), e->d_name, 0);
		if (fd >= 0)
			close(fd);
	}
	if (dir != NULL)
		closedir(dir);
}

static int
reserve(int fd, int64_t size)
{
	int rc;

	do
		rc = posix_fallocate(fd, 0, size);
	while (rc == EINTR);
	errno = rc;
	return rc == 0 ? 0 : -1;
}

int
vq_room_file(const char *folder, int64_t size, char **temp)
{
	char *which = NULL;
	int fd = -1, reason;

	*temp = NULL;
	if (vq_file_folders(folder, &which) < 0) {
		free(which);
		return -1;
	}
	sweep(folder);
	for (int i = 0; i < NAMES && fd < 0; i++) {
		free(*temp);
		*temp = vq_asprintf("%s/%ld-%d%s", folder, (long)getpid(), i, ending);
		fd = open(*temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	/* Who sweeps may hold it for a moment, and then it has no name any more. */
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && reserve(fd, size) == 0)
		return fd;
	reason = errno;
	if (fd >= 0) {
		unlink(*temp);
		close(fd);
	}
	free(*temp);
	*temp = NULL;
	errno = reason;
	return -1;
}

/* --- room -------------------------------------------------------------------- */

static bool
map_file(struct vq_room *r, const char *folder, bool keep)
{
	r->fd = vq_room_file(folder, VQ_ROOM_HEAD + r->size, &r->temp);
	if (r->fd < 0)
		return false;
	r->mapped = (size_t)(VQ_ROOM_HEAD + r->size);
	r->map = mmap(NULL, r->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->map == MAP_FAILED || !keep) {
		unlink(r->temp);
		free(r->temp);
		r->temp = NULL;
	}
	if (r->map == MAP_FAILED) {
		close(r->fd);
		r->fd = -1;
		r->map = NULL;
		return false;
	}
	r->bytes = (uint8_t *)r->map + VQ_ROOM_HEAD;
	return true;
}

static void
report(int64_t count, int64_t bytes, const char *folder, const struct vq_range *at, const char *path, struct vq_diags *d)
{
	struct statvfs fs;
	struct vq_diag *e = vq_error(d, VQ_DATA, at, "%s: %lld pictures take %.3g GB, more than the memory (%.3g GB)", path,
	    (long long)count, (double)bytes / 1e9, (double)vq_memory_limit() / 1e9);

	if (folder != NULL && statvfs(folder, &fs) == 0)
		vq_note(e, NULL, "and than what is free in the cache, %s (%.3g GB)", folder,
		    (double)fs.f_bavail * (double)fs.f_frsize / 1e9);
	else
		vq_note(e, NULL, "there is no folder to keep them in: VQGRAPH_CACHE=DIR names one");
	vq_help(e, "size: [HEIGHT, WIDTH] makes them smaller, limit: N takes the first N of them");
}

struct vq_room *
vq_room_new(int64_t count, int64_t bytes, const char *folder, bool keep, const struct vq_range *at, const char *path,
    struct vq_diags *d)
{
	int64_t memory = vq_memory_limit();
	struct vq_room *r = vq_alloc(sizeof(*r));
	bool large = bytes > memory / 2;

	r->fd = -1;
	r->size = bytes;
	if (folder != NULL && (keep || large) && map_file(r, folder, keep))
		return r;
	if (bytes > memory) {
		report(count, bytes, folder, at, path, d);
		free(r);
		return NULL;
	}
	r->bytes = vq_alloc((size_t)r->size);
	return r;
}

struct vq_room *
vq_room_of_map(void *map, size_t mapped, int64_t from, int64_t size)
{
	struct vq_room *r = vq_alloc(sizeof(*r));

	*r = (struct vq_room){ (uint8_t *)map + from, size, map, mapped, -1, NULL };
	return r;
}

void
vq_room_free(struct vq_room *r)
{
	if (r == NULL)
		return;
	if (r->map != NULL)
		munmap(r->map, r->mapped);
	else
		free(r->bytes);
	if (r->temp != NULL)
		unlink(r->temp);
	if (r->fd >= 0)
		close(r->fd);
	free(r->temp);
	free(r);
}
