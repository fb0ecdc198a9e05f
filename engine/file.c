/*
 * file -- whole files: there entirely or not at all
 */
#include "engine/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NAMES = 100 };
/* One write of more than 2 GB is cut short by the kernel anyway. */
static const size_t piece = (size_t)1 << 30;
/* Around the process and a number in the name of a temporary. */
static const char temp_start[] = ".vqgraph-", temp_end[] = ".tmp";

/* --- writing -------------------------------------------------------------- */

/* The folder of a path, for free(). */
static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return vq_strdup(".");
	return vq_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void
fail(struct vq_file *f, int reason)
{
	if (!f->reason)
		f->reason = reason;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Opens a new file beside f->path.  Nobody else's: O_EXCL. */
static void
open_temp(struct vq_file *f, mode_t mode)
{
	char *folder = folder_of(f->path);

	for (int i = 0; i < NAMES; i++) {
		f->temp = vq_asprintf("%s/%s%ld-%d%s", folder, temp_start, (long)getpid(), i, temp_end);
		do
			f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		while (f->fd < 0 && errno == EINTR);
		if (f->fd >= 0 || errno != EEXIST)
			break;
		free(f->temp);
		f->temp = NULL;
	}
	if (f->fd < 0) {
		fail(f, errno);
		free(f->temp);
		f->temp = NULL;
	}
	free(folder);
}

void
vq_file_begin(struct vq_file *f, const char *path, size_t size)
{
	struct stat st;
	char *real;

	*f = (struct vq_file){ .path = vq_strdup(path), .fd = -1 };
	bool there = stat(path, &st) == 0;

	if (there && S_ISDIR(st.st_mode)) {
		fail(f, EISDIR);
		return;
	}
	if (there && !S_ISREG(st.st_mode)) {
		f->fd = open(path, O_WRONLY | O_CLOEXEC);
		if (f->fd < 0)
			fail(f, errno);
		return;
	}
	/* What a link points at is replaced, not the link. */
	if (there && (real = realpath(path, NULL)) != NULL) {
		free(f->path);
		f->path = real;
	}
	open_temp(f, there ? st.st_mode & 0777 : 0666);
	if (f->fd >= 0 && size > 0 && size <= LLONG_MAX && fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 &&
	    (errno == ENOSPC || errno == EDQUOT))
		fail(f, errno);
}

void
vq_file_put(struct vq_file *f, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0 && f->fd >= 0) {
		ssize_t done = write(f->fd, p, n < piece ? n : piece);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			fail(f, done < 0 ? errno : EIO);
			return;
		}
		p += done;
		n -= (size_t)done;
	}
}

static int
sync_fd(int fd)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 && errno != EINVAL && errno != EROFS ? -1 : 0;	/* those: a file that cannot be synced */
}

/* The rename itself must last, too.  A folder that may not be opened is left to
 * the system. */
static int
sync_folder(const char *path)
{
	char *folder = folder_of(path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	free(folder);
	if (fd >= 0) {
		rc = sync_fd(fd);
		close(fd);
	}
	return rc;
}

static void
report(const struct vq_file *f, struct vq_diags *d)
{
	struct vq_diag *e = vq_error(d, VQ_FAILED, NULL, "cannot write %s: %s", f->path, strerror(f->reason));
	char *folder = folder_of(f->path);
	struct statvfs fs;

	if (f->temp && (f->reason == ENOSPC || f->reason == EDQUOT) && statvfs(folder, &fs) == 0)
		vq_note(e, NULL, "%.1f MB are free in %s", (double)fs.f_bavail * (double)fs.f_frsize / 1e6, folder);
	free(folder);
}

int
vq_file_end(struct vq_file *f, struct vq_diags *d)
{
	int status = 0;

	if (f->fd >= 0 && f->temp && sync_fd(f->fd) < 0)
		fail(f, errno);
	if (f->fd >= 0 && close(f->fd) < 0 && errno != EINTR && !f->reason)
		f->reason = errno;
	if (!f->reason && f->temp && rename(f->temp, f->path) < 0)
		f->reason = errno;
	else if (!f->reason && f->temp && sync_folder(f->path) < 0)
		f->reason = errno;
	if (f->reason) {
		if (f->temp)
			unlink(f->temp);
		report(f, d);
		status = -1;
	}
	free(f->path);
	free(f->temp);
	*f = (struct vq_file){ .fd = -1 };
	return status;
}

int
vq_file_write(const char *path, const void *bytes, size_t n, struct vq_diags *d)
{
	struct vq_file f;

	vq_file_begin(&f, path, n);
	vq_file_put(&f, bytes, n);
	return vq_file_end(&f, d);
}

void
vq_file_sweep(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name), end = strlen(temp_end);

		if (n > end && strncmp(e->d_name, temp_start, strlen(temp_start)) == 0 &&
		    strcmp(e->d_name + n - end, temp_end) == 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* --- reading -------------------------------------------------------------- */

/* Not blocking: a pipe in the place of a file must not hang the program before
 * it is looked at. */
int
vq_file_open(const char *path, size_t *size, enum vq_status status, struct vq_diags *d)
{
	struct stat st;
	int fd;

	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 || fstat(fd, &st) < 0) {
		vq_error(d, status, NULL, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		vq_error(d, status, NULL, "cannot read %s: it is %s", path,
		    S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
	} else {
		*size = (size_t)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

bool
vq_file_get(int fd, void *bytes, size_t n)
{
	char *p = bytes;

	errno = 0;
	while (n > 0) {
		ssize_t done = read(fd, p, n < piece ? n : piece);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

char *
vq_file_read(const char *path, size_t max, size_t *n, enum vq_status status, struct vq_diags *d)
{
	size_t size = 0;
	int fd = vq_file_open(path, &size, status, d);
	char *bytes = NULL;

	if (fd < 0)
		return NULL;
	if (size > max) {
		vq_error(d, status, NULL, "cannot read %s: it has %zu bytes, more than %zu", path, size, max);
	} else {
		bytes = vq_alloc(size + 1);
		if (vq_file_get(fd, bytes, size)) {
			*n = size;
		} else {
			vq_error(d, status, NULL, "cannot read %s: %s", path,
			    errno ? strerror(errno) : "it became shorter while it was read");
			free(bytes);
			bytes = NULL;
		}
	}
	close(fd);
	return bytes;
}

char *
vq_file_stem(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = vq_strdup(slash ? slash + 1 : path);
	char *dot = strrchr(name, '.');

	if (dot && dot > name)
		*dot = '\0';
	return name;
}

int
vq_file_folders(const char *path, char **which)
{
	char *part = vq_strdup(path);
	struct stat st;

	for (char *p = part + 1; *part != '\0'; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, 0777) < 0 && (errno != EEXIST || stat(part, &st) < 0)) {
			*which = part;
			return -1;
		}
		*p = c;
		if (c == '\0')
			break;
	}
	free(part);
	return 0;
}
