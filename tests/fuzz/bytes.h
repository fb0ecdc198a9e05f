/*
 * bytes -- what fuzz targets share: the bytes of an input as a file that has a name
 */
#ifndef VQ_TESTS_FUZZ_BYTES_H
#define VQ_TESTS_FUZZ_BYTES_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static inline void
bytes_to_file(const char *path, const uint8_t *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	if (f == NULL || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
		vq_bug("%s cannot be written", path);
}

/* A folder of this process, in memory where there is one. */
static inline const char *
bytes_folder(void)
{
	static char folder[] = "/dev/shm/vqgraph-fuzz.XXXXXX";
	static const char *made;

	if (made == NULL && (made = mkdtemp(folder)) == NULL)
		vq_bug("%s cannot be made", folder);
	return made;
}

static inline const char *
bytes_as(const char *name, const uint8_t *bytes, size_t n)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", bytes_folder(), name);
	bytes_to_file(path, bytes, n);
	return path;
}

#endif
