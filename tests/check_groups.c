/*
 * check_groups -- what control groups of made-up machines leave to this process
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base.h"
#include "engine/groups.h"
#include "engine/memory.h"
#include "engine/threads.h"
#include "tests/scratch.h"

enum { MB = 1 << 20 };

static char root[64];

static void
setup(void)
{
	scratch_make(root);
}

static void
teardown(void)
{
	scratch_remove(root);
}

/* Writes <root>/<path>, making its folders. */
static void
put_file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *s = full + strlen(root) + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		mkdir(full, 0777);
		*s = '/';
	}
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void
put_bytes(const char *path, int64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld\n", (long long)bytes);
	put_file(path, text);
}

static struct vq_memory
memory(void)
{
	struct vq_memory m;

	vq_memory_find(root, &m);
	return m;
}

/* The limit, and the file under /sys/fs/cgroup that says it. */
static void
expect_limit(int64_t bytes, const char *file)
{
	struct vq_memory m = memory();
	char from[512];

	snprintf(from, sizeof(from), "control group, %s/sys/fs/cgroup/%s", root, file);
	ck_assert_str_eq(m.from, from);
	ck_assert_int_eq(m.limit, bytes);
	ck_assert_int_le(m.left, m.limit);
}

/* No group of the root limits memory. */
static void
expect_none(void)
{
	struct vq_memory m = memory();

	ck_assert_ptr_null(strstr(m.from, "control group"));
	ck_assert_int_gt(m.limit, 64 * MB);
	ck_assert_int_gt(m.left, 0);
}

/* --- the walk --------------------------------------------------------------- */

struct seen {
	char text[1024];
};

static void
see(void *arg, const char *dir, bool v2)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	ck_assert_int_eq(strncmp(dir, root, strlen(root)), 0);
	snprintf(s->text + n, sizeof(s->text) - n, "%s%s%s", n ? " " : "", v2 ? "2:" : "1:",
	    dir + strlen(root) + strlen("/sys/fs/cgroup"));
}

static const char *
folders(const char *groups)
{
	static struct seen s;

	s.text[0] = '\0';
	if (groups)
		put_file("proc/self/cgroup", groups);
	vq_groups_each(root, "memory", see, &s);
	return s.text;
}

START_TEST(own_group_and_all_that_hold_it)
{
	ck_assert_str_eq(folders(NULL), "2: 2:/unified 1:/memory");	/* no /proc */
	ck_assert_str_eq(folders(""), "2: 2:/unified 1:/memory");
	ck_assert_str_eq(folders("0::/\n"), "2: 2:/unified");		/* in a namespace of its own */
	ck_assert_str_eq(folders("0::/a/b\n"), "2:/a/b 2:/a 2: 2:/unified/a/b 2:/unified/a 2:/unified");
	ck_assert_str_eq(folders("4:memory:/a\n3:cpu:/b\n"), "1:/memory/a 1:/memory");
	ck_assert_str_eq(folders("4:memory:/a\n0::/\n"), "1:/memory/a 1:/memory 2: 2:/unified");
	ck_assert_str_eq(folders("4:hugetlb,memory:/"), "1:/memory 1:/hugetlb,memory");
	ck_assert_str_eq(folders("4:memory:/a:b c\n"), "1:/memory/a:b c 1:/memory");
}
END_TEST

START_TEST(garbage_in_place_of_groups)
{
	static const char *const none[] = { "\n", ":", "memory", "4:memory", "1:name=memory:/x\n", "1:memoryx,xmemory:/x\n",
		"\xff\xfe\n:\n" };
	char *many = malloc(1 << 20);

	for (size_t i = 0; i < VQ_COUNT(none); i++)
		ck_assert_str_eq(folders(none[i]), "2: 2:/unified 1:/memory");
	ck_assert_str_eq(folders("::"), "2: 2:/unified");		/* v2's line, with an empty path */
	ck_assert_str_eq(folders("0::a/b\n"), "2: 2:/unified");		/* no path */
	snprintf(many, 20, "0::");
	memset(many + 3, 'a', 100000);
	many[3] = '/';
	snprintf(many + 100003, 20, "\n4:memory:/x\n");
	ck_assert_str_eq(folders(many), "2: 2:/unified 1:/memory/x 1:/memory");
	free(many);
}
END_TEST

/* --- processors ------------------------------------------------------------- */

START_TEST(quota_of_cgroups)
{
	ck_assert(vq_cpu_quota(root) == 0);
	put_file("proc/self/cgroup", "0::/kube/pod\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file("sys/fs/cgroup/cpu.max", "max 100000\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file("sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
	ck_assert(vq_cpu_quota(root) == 1.5);
	put_file("sys/fs/cgroup/kube/pod/cpu.max", "400000 100000\n");	/* the parent is tighter */
	ck_assert(vq_cpu_quota(root) == 1.5);
	put_file("proc/self/cgroup", "0::/somewhere/else\n");	/* the host's path: the mount counts */
	put_file("sys/fs/cgroup/cpu.max", "50000 100000\n");
	ck_assert(vq_cpu_quota(root) == 0.5);
	put_file("proc/self/cgroup", "11:cpu,cpuacct:/docker/x\n9:cpuset:/docker/x\n");
	put_file("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
	ck_assert(vq_cpu_quota(root) == 0);
	put_file("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000\n");
	put_file("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
	ck_assert(vq_cpu_quota(root) == 2.5);
	put_file("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "0\n");
	ck_assert(vq_cpu_quota(root) == 0);
}
END_TEST

/* --- memory ----------------------------------------------------------------- */

START_TEST(memory_of_v2)
{
	put_file("proc/self/cgroup", "0::/kube/pod/box\n");
	expect_none();
	put_file("sys/fs/cgroup/kube/pod/box/memory.max", "max\n");
	put_bytes("sys/fs/cgroup/kube/pod/box/memory.high", 8 * MB);	/* slows down, ends nothing */
	put_bytes("sys/fs/cgroup/kube/pod/box/memory.swap.max", 8 * MB);
	expect_none();
	put_bytes("sys/fs/cgroup/kube/pod/memory.max", 48 * MB);
	expect_limit(48 * MB, "kube/pod/memory.max");
	put_bytes("sys/fs/cgroup/kube/pod/box/memory.max", 64 * MB);	/* its parent is tighter */
	expect_limit(48 * MB, "kube/pod/memory.max");
	put_bytes("sys/fs/cgroup/kube/memory.max", 32 * MB);
	expect_limit(32 * MB, "kube/memory.max");
	put_bytes("sys/fs/cgroup/kube/pod/box/memory.max", 16 * MB);
	expect_limit(16 * MB, "kube/pod/box/memory.max");
	put_bytes("sys/fs/cgroup/kube/other/memory.max", MB);		/* of others */
	put_bytes("sys/fs/cgroup/unified/memory.max", 24 * MB);
	expect_limit(16 * MB, "kube/pod/box/memory.max");
	put_file("proc/self/cgroup", "0::/\n");
	put_bytes("sys/fs/cgroup/memory.max", 20 * MB);
	expect_limit(20 * MB, "memory.max");
	put_file("proc/self/cgroup", "0::/../../host/path\n");
	expect_limit(20 * MB, "memory.max");
}
END_TEST

START_TEST(memory_of_v1)
{
	put_file("proc/self/cgroup", "9:cpuset:/docker/y\n4:memory:/docker/x\n");
	put_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");	/* none, of pages of 4 KiB */
	put_file("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "9223372036854710272\n");	/* none, of 64 */
	put_file("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854775807\n");
	put_bytes("sys/fs/cgroup/memory/docker/x/memory.soft_limit_in_bytes", 8 * MB);
	put_bytes("sys/fs/cgroup/memory/docker/x/memory.memsw.limit_in_bytes", 8 * MB);		/* with swap */
	put_bytes("sys/fs/cgroup/memory/docker/y/memory.limit_in_bytes", 8 * MB);
	put_bytes("sys/fs/cgroup/memory.max", 8 * MB);
	expect_none();
	put_bytes("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", 64 * MB);
	expect_limit(64 * MB, "memory/docker/x/memory.limit_in_bytes");
	put_bytes("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", 48 * MB);
	expect_limit(48 * MB, "memory/docker/memory.limit_in_bytes");
	put_file("proc/self/cgroup", "4:memory:/the/host/has/it\n");	/* not mounted here: the mount is the group */
	put_bytes("sys/fs/cgroup/memory/memory.limit_in_bytes", 40 * MB);
	expect_limit(40 * MB, "memory/memory.limit_in_bytes");
}
END_TEST

/* v1's controllers beside a tree of v2 without any. */
START_TEST(memory_of_both)
{
	put_file("proc/self/cgroup", "4:memory:/user/a\n1:name=systemd:/user\n0::/user/a\n");
	put_file("sys/fs/cgroup/unified/user/a/cgroup.procs", "1\n");
	put_bytes("sys/fs/cgroup/memory/user/memory.limit_in_bytes", 48 * MB);
	expect_limit(48 * MB, "memory/user/memory.limit_in_bytes");
	put_bytes("sys/fs/cgroup/unified/user/memory.max", 32 * MB);
	expect_limit(32 * MB, "unified/user/memory.max");
}
END_TEST

START_TEST(what_is_left_is_the_least_of_any_group)
{
	put_file("proc/self/cgroup", "0::/pod/box\n");
	put_bytes("sys/fs/cgroup/pod/memory.max", 48 * MB);
	put_bytes("sys/fs/cgroup/pod/memory.current", 47 * MB);		/* neighbours take it */
	put_bytes("sys/fs/cgroup/pod/box/memory.max", 16 * MB);
	put_bytes("sys/fs/cgroup/pod/box/memory.current", 4 * MB);
	put_bytes("sys/fs/cgroup/pod/box/memory.swap.current", 4 * MB);
	expect_limit(16 * MB, "pod/box/memory.max");
	ck_assert_int_eq(memory().left, MB);
	/* Files that were read and can be read again are room. */
	put_file("sys/fs/cgroup/pod/memory.stat", "anon 9\ninactive_file 20971520\nactive_file 1048576\n");
	ck_assert_int_eq(memory().left, 12 * MB);
	put_bytes("sys/fs/cgroup/pod/box/memory.current", 17 * MB);
	ck_assert_int_eq(memory().left, 0);
	put_file("sys/fs/cgroup/pod/box/memory.current", "many\n");
	ck_assert_int_eq(memory().left, 16 * MB);
	put_file("proc/meminfo", "MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\nSwapFree: 99999999 kB\n");
	ck_assert_int_eq(memory().left, 2 * MB);
	ck_assert_int_eq(memory().limit, 16 * MB);

	put_file("proc/self/cgroup", "4:memory:/a\n");
	put_bytes("sys/fs/cgroup/memory/a/memory.limit_in_bytes", 16 * MB);
	put_bytes("sys/fs/cgroup/memory/a/memory.usage_in_bytes", 16 * MB);
	put_file("sys/fs/cgroup/memory/a/memory.stat", "inactive_file 9999999\ntotal_inactive_file 1048576\n");
	ck_assert_int_eq(memory().left, MB);
}
END_TEST

START_TEST(garbage_in_place_of_numbers)
{
	static const char *const text[] = { "", "\n", "max", "-1\n", "-9223372036854775808\n", "12abc\n", "1e6\n", "0x100000\n", "  \n",
		"99999999999999999999999999\n", "\xff\xfe\n" };

	put_file("proc/self/cgroup", "4:memory:/a\n0::/a\n");
	for (size_t i = 0; i < VQ_COUNT(text); i++) {
		put_file("sys/fs/cgroup/a/memory.max", text[i]);
		put_file("sys/fs/cgroup/memory/a/memory.limit_in_bytes", text[i]);
		put_file("sys/fs/cgroup/memory/a/memory.usage_in_bytes", text[i]);
		put_file("proc/meminfo", text[i]);
		expect_none();
	}
	put_file("sys/fs/cgroup/a/memory.max", "33554432");		/* no end of the line */
	expect_limit(32 * MB, "a/memory.max");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("groups");
	TCase *c = tcase_create("control groups");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, own_group_and_all_that_hold_it);
	tcase_add_test(c, garbage_in_place_of_groups);
	tcase_add_test(c, quota_of_cgroups);
	tcase_add_test(c, memory_of_v2);
	tcase_add_test(c, memory_of_v1);
	tcase_add_test(c, memory_of_both);
	tcase_add_test(c, what_is_left_is_the_least_of_any_group);
	tcase_add_test(c, garbage_in_place_of_numbers);
	tcase_set_timeout(c, 60);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
