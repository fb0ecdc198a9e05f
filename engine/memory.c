/*
 * memory -- how much of it there is
 */
#include "engine/memory.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base.h"
#include "engine/groups.h"

enum { PATH = 8300 };

/* The number in a file, or after a key in it; -1 when there is none. */
static int64_t
read_number(const char *dir, const char *name, const char *key)
{
	char path[PATH], line[256], *end;
	size_t skip = key ? strlen(key) : 0;
	int64_t found = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *in = fopen(path, "re");
	while (in != NULL && found < 0 && fgets(line, sizeof(line), in)) {
		if (key && strncmp(line, key, skip) != 0)
			continue;
		long long n = strtoll(line + skip, &end, 10);
		if (end == line + skip || n < 0 || !(*end == '\0' || isspace((unsigned char)*end)))
			break;
		found = n;
	}
	if (in != NULL)
		fclose(in);
	return found;
}

/* What a group has, beside what can be read again from files when memory is short. */
static int64_t
group_used(const char *dir, bool v2)
{
	int64_t used = read_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes", NULL);
	int64_t cache = read_number(dir, "memory.stat", v2 ? "inactive_file " : "total_inactive_file ");

	return used - (cache > 0 && cache < used ? cache : 0);
}

/* memory.high is no limit: it slows down, and nothing ends there. */
static void
see_group(void *arg, const char *dir, bool v2)
{
	const char *name = v2 ? "memory.max" : "memory.limit_in_bytes";
	int64_t limit = read_number(dir, name, NULL), used;
	struct vq_memory *m = arg;

	/* "max" is no number.  v1 says the largest whole number of pages, of 64 KiB at most. */
	if (limit < 0 || limit > INT64_MAX - 65536)
		return;
	if (limit < m->limit) {
		m->limit = limit;
		snprintf(m->from, sizeof(m->from), "control group, %.8200s/%s", dir, name);
	}
	/* The group with the tightest limit need not be the one that has the least left. */
	used = group_used(dir, v2);
	if (used >= 0 && limit - used < m->left)
		m->left = limit > used ? limit - used : 0;
}

void
vq_memory_find(const char *root, struct vq_memory *m)
{
	static const struct { int which; const char *from; } own[] = { { RLIMIT_AS, "ulimit -v" }, { RLIMIT_DATA, "ulimit -d" } };
	char proc[PATH];
	struct rlimit limit;

	m->limit = m->left = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	m->from[0] = '\0';
	vq_groups_each(root, "memory", see_group, m);
	for (size_t i = 0; i < VQ_COUNT(own); i++)
		if (getrlimit(own[i].which, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (int64_t)limit.rlim_cur < m->limit) {
			m->limit = (int64_t)limit.rlim_cur;
			snprintf(m->from, sizeof(m->from), "%s", own[i].from);
		}
	snprintf(proc, sizeof(proc), "%.3000s/proc", root);
	int64_t kib = read_number(proc, "meminfo", "MemAvailable:");
	if (kib >= 0 && kib <= m->left / 1024)
		m->left = kib * 1024;
	if (m->limit < m->left)
		m->left = m->limit;
}

int64_t
vq_memory_limit(void)
{
	struct vq_memory m;

	vq_memory_find("", &m);
	return m.limit;
}

int64_t
vq_memory_free(void)
{
	struct vq_memory m;

	vq_memory_find("", &m);
	return m.left;
}
