/*
 * file -- whole files: there entirely or not at all
 */
#ifndef VQ_ENGINE_FILE_H
#define VQ_ENGINE_FILE_H

#include "engine/diag.h"

/*
 * A file being written under a temporary name in the folder where it belongs.
 * put keeps the first failure to itself; end syncs and renames, or removes the
 * temporary and reports (VQ_FAILED, path and errno's reason): what stood at the
 * path before is untouched then.  A device or pipe at the path is written to as
 * it is.
 */
struct vq_file {
	char *path, *temp;	/* temp NULL: written in place */
	int fd;			/* -1 once something failed */
	int reason;		/* errno, 0: none */
};
/* size: bytes that will come, reserved when the file system can; 0: unknown. */
void vq_file_begin(struct vq_file *f, const char *path, size_t size);
void vq_file_put(struct vq_file *f, const void *bytes, size_t n);
int  vq_file_end(struct vq_file *f, struct vq_diags *d);
/* Removes the temporaries that killed processes left in a folder, which nobody else
 * may be writing to. */
void vq_file_sweep(const char *folder);

/* Writes a whole file so that it is there entirely or not at all. */
int vq_file_write(const char *path, const void *bytes, size_t n, struct vq_diags *d);
/* A whole regular file, at most max bytes, with a NUL behind it; NULL after an
 * error of the given status. */
char *vq_file_read(const char *path, size_t max, size_t *n, enum vq_status status, struct vq_diags *d);

/* A regular file opened for reading and its size; -1 after an error of the given status. */
int vq_file_open(const char *path, size_t *size, enum vq_status status, struct vq_diags *d);
/* Makes a folder and those above it.  -1 with errno, and in *which (for free()) the one that could not be. */
int vq_file_folders(const char *path, char **which);
/* "vqvae_mnist" of "graphs/vqvae_mnist.yaml", for free(). */
char *vq_file_stem(const char *path);
/* Exactly n bytes; false at the end of the file or with errno set. */
bool vq_file_get(int fd, void *bytes, size_t n);

#endif
