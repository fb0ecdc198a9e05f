/*
 * scratch -- a folder of a test's own
 */
#ifndef VQ_TESTS_SCRATCH_H
#define VQ_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static inline void
scratch_make(char dir[64])
{
	snprintf(dir, 64, "/tmp/vqgraph-test-XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
}

static inline int
scratch_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static inline void
scratch_remove(const char *dir)
{
	nftw(dir, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
