/*
 * memory -- how much of it there is
 */
#include "engine/memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base.h"

/* The number in a file of the control group's, or after a key in it; -1 when there is none. */
static int64_t
read_number(const char *path, const char *key)
{
	FILE *in = fopen(path, "re");
	char line[256];
	long long n;
	int64_t found = -1;

	while (in != NULL && found < 0 && fgets(line, sizeof(line), in)) {
		size_t skip = key ? strlen(key) : 0;

		if (key && strncmp(line, key, skip) != 0)
			continue;
		if (sscanf(line + skip, "%lld", &n) == 1 && n >= 0)
			found = n;
	}
	if (in != NULL)
		fclose(in);
	return found;
}

/* Of control groups of both versions; -1 without a limit. */
static int64_t
group_limit(void)
{
	int64_t n = read_number("/sys/fs/cgroup/memory.max", NULL);

	return n >= 0 ? n : read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", NULL);
}

static int64_t
group_used(void)
{
	int64_t used = read_number("/sys/fs/cgroup/memory.current", NULL);
	int64_t cache = read_number("/sys/fs/cgroup/memory.stat", "inactive_file ");

	if (used < 0) {
		used = read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", NULL);
		cache = read_number("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file ");
	}
	return used - (cache > 0 && cache < used ? cache : 0);
}

int64_t
vq_memory_limit(void)
{
	static const int limits[] = { RLIMIT_AS, RLIMIT_DATA };
	int64_t have = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), group = group_limit();
	struct rlimit limit;

	if (group >= 0 && group < have)
		have = group;
	for (size_t i = 0; i < VQ_COUNT(limits); i++)
		if (getrlimit(limits[i], &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (int64_t)limit.rlim_cur < have)
			have = (int64_t)limit.rlim_cur;
	return have;
}

int64_t
vq_memory_free(void)
{
	int64_t have = vq_memory_limit(), group = group_limit(), used = group_used();
	int64_t kib = read_number("/proc/meminfo", "MemAvailable:");

	if (group >= 0 && used >= 0 && group - used < have)
		have = group > used ? group - used : 0;
	return kib >= 0 && kib * 1024 < have ? kib * 1024 : have;
}
