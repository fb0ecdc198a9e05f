/*
 * sha256 -- SHA-256 of files
 */
#ifndef VQ_DATASETS_SHA256_H
#define VQ_DATASETS_SHA256_H

#include "engine/diag.h"

/* Of the bytes of n files, one after the other: 64 lower-case hex digits.  -1
 * after an error (VQ_DATA) that names the file. */
int vq_sha256_files(char *const *path, int n, char hex[65], struct vq_diags *d);

/* The MD5 of a file, for sets whose authors give no other sum: 32 digits. */
int vq_md5_file(const char *path, char hex[65], struct vq_diags *d);

/* Of n pieces of memory, one after the other. */
struct vq_bytes {
	const void *p;
	size_t n;
};
void vq_sha256_bytes(const struct vq_bytes *piece, int n, char hex[65]);

#endif
