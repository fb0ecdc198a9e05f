/*
 * groups -- the control groups that limit this process
 */
#include "engine/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 8192 };

struct walk {
	const char *root, *controller;
	void (*each)(void *arg, const char *dir, bool v2);
	void *arg;
};

/* A group and all that hold it.  Inside a container the path may be the host's and not exist
 * here; the mount itself is then the group. */
static void
climb(const struct walk *w, const char *mount, const char *group, bool v2)
{
	char dir[PATH];
	size_t top = strlen(mount);

	if (group[0] != '/' || group[1] == '\0' || top + strlen(group) >= sizeof(dir))
		group = "";
	snprintf(dir, sizeof(dir), "%s%s", mount, group);
	for (;;) {
		w->each(w->arg, dir, v2);
		char *slash = strrchr(dir, '/');
		if (slash == NULL || (size_t)(slash - dir) < top)
			return;
		*slash = '\0';
	}
}

/* In the folder that v2 has to itself, or in that which it has beside v1. */
static void
climb_v2(const struct walk *w, const char *group)
{
	char mount[PATH];

	snprintf(mount, sizeof(mount), "%.3000s/sys/fs/cgroup", w->root);
	climb(w, mount, group, true);
	snprintf(mount, sizeof(mount), "%.3000s/sys/fs/cgroup/unified", w->root);
	climb(w, mount, group, true);
}

/* name: of the mount's folder */
static void
climb_v1(const struct walk *w, const char *name, const char *group)
{
	char mount[PATH];

	snprintf(mount, sizeof(mount), "%.3000s/sys/fs/cgroup/%.900s", w->root, name);
	climb(w, mount, group, false);
}

static bool
lists(const char *controllers, const char *controller)
{
	size_t length = strlen(controller);

	while (*controllers) {
		size_t n = strcspn(controllers, ",");

		if (n == length && memcmp(controllers, controller, n) == 0)
			return true;
		controllers += n + (controllers[n] == ',');
	}
	return false;
}

/* One line of /proc/self/cgroup: "hierarchy:controllers:path", controllers empty in v2. */
static bool
walk_line(const struct walk *w, char *line)
{
	char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (group == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	*group++ = '\0';
	controllers++;
	if (*controllers == '\0')
		climb_v2(w, group);
	else if (lists(controllers, w->controller)) {
		climb_v1(w, w->controller, group);
		if (strcmp(controllers, w->controller) != 0)
			climb_v1(w, controllers, group);
	} else
		return false;
	return true;
}

void
vq_groups_each(const char *root, const char *controller, void (*each)(void *arg, const char *dir, bool v2), void *arg)
{
	struct walk w = { root, controller, each, arg };
	char path[PATH], *line = NULL;
	size_t size = 0;
	bool told = false;

	snprintf(path, sizeof(path), "%.3000s/proc/self/cgroup", root);
	FILE *in = fopen(path, "re");
	while (in != NULL && getline(&line, &size, in) > 0)
		told |= walk_line(&w, line);
	if (in != NULL)
		fclose(in);
	free(line);
	if (told)
		return;
	/* Which group is not told: the mounts at least hold it. */
	climb_v2(&w, "");
	climb_v1(&w, controller, "");
}
