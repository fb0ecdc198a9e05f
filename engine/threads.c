/*
 * threads -- how many to use, and why
 *
 * In this order: what was asked for, OMP_NUM_THREADS, and otherwise the CPUs
 * that this process may run on, cut down to the container's quota: more threads
 * than quota are all stopped together for most of every period.
 */
#include "engine/threads.h"

#include <stdbool.h>
#include <stdio.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "engine/groups.h"

enum { MOST = 1024, PATH = 8300 };

static struct {
	pthread_mutex_t lock;
	int asked;		/* --threads, 0: not given */
	int count;		/* 0: not chosen yet */
	char why[160];
} threads = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The first line of a file, without its end; false when it cannot be read. */
static bool
read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, (int)size, f) != NULL;
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

/* CPUs of one group, quota over period: the least of any so far stays. */
static void
see_group(void *arg, const char *dir, bool v2)
{
	char path[PATH], line[64], *end;
	double quota, period, *least = arg;

	snprintf(path, sizeof(path), "%s/%s", dir, v2 ? "cpu.max" : "cpu.cfs_quota_us");
	if (!read_line(path, line, sizeof(line)))
		return;
	quota = strtod(line, &end);		/* "max" and -1 mean no limit */
	if (end == line || !(quota > 0))
		return;
	if (!v2) {
		snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", dir);
		if (!read_line(path, line, sizeof(line)))
			return;
		end = line;
	}
	period = strtod(end, NULL);
	if (period > 0 && isfinite(quota / period) && quota / period > 0 && (*least == 0 || quota / period < *least))
		*least = quota / period;
}

double
vq_cpu_quota(const char *root)
{
	double least = 0;

	vq_groups_each(root, "cpu", see_group, &least);
	return least;
}

/* CPUs in this process's affinity mask, however large the machine. */
static int
affinity(void)
{
	for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)cpus);
		size_t size = CPU_ALLOC_SIZE((size_t)cpus);
		int n = 0;

		if (!set)
			return 1;
		if (sched_getaffinity(0, size, set) == 0)
			n = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (n > 0)
			return n;
	}
	return 1;
}

/* OMP_NUM_THREADS may be a list, one entry a nesting level; 0: not set, or no number. */
static int
omp_num_threads(void)
{
	const char *s = getenv("OMP_NUM_THREADS");
	char *end;
	long n = s ? strtol(s, &end, 10) : 0;

	if (n < 1 || (*end != '\0' && *end != ','))
		return 0;
	return n > MOST ? MOST : (int)n;
}

static void
choose(void)
{
	int env = omp_num_threads(), cpus, quota;
	double q;

	if (threads.asked) {
		threads.count = threads.asked;
		snprintf(threads.why, sizeof(threads.why), "asked for with --threads");
		return;
	}
	if (env) {
		threads.count = env;
		snprintf(threads.why, sizeof(threads.why), "set by OMP_NUM_THREADS");
		return;
	}
	cpus = affinity();
	if (cpus > MOST)
		cpus = MOST;
	q = vq_cpu_quota("");
	quota = q > 0 && q < MOST ? (int)ceil(q) : MOST;
	threads.count = quota < cpus ? quota : cpus;
	if (quota < cpus)
		snprintf(threads.why, sizeof(threads.why),
		    "the container's quota is %.4g CPUs (of %d that this process may use)", q, cpus);
	else
		snprintf(threads.why, sizeof(threads.why), "%s this process may use",
		    cpus == 1 ? "the one CPU that" : "the CPUs that");
}

int
vq_threads(void)
{
	int n;

	pthread_mutex_lock(&threads.lock);
	if (!threads.count)
		choose();
	n = threads.count;
	pthread_mutex_unlock(&threads.lock);
	return n;
}

void
vq_threads_set(int n)
{
	pthread_mutex_lock(&threads.lock);
	threads.asked = n < 0 ? 0 : n > MOST ? MOST : n;
	threads.count = 0;
	pthread_mutex_unlock(&threads.lock);
}

const char *
vq_threads_why(void)
{
	vq_threads();
	return threads.why;
}
