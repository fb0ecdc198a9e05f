/*
 * log -- env.json: where a run ran
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/file.h"
#include "engine/log_private.h"

enum { ENV_MOST = 16 << 20 };

/* The first processor's name, as the system tells it. */
static void
cpu_name(struct vq_text *out)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256], *colon;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "model name", 10) == 0 && (colon = strchr(line, ':')) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			vq_text_add(out, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
			break;
		}
	if (f)
		fclose(f);
	if (out->len == 0)
		vq_text_add(out, "unknown");
}

static void
set_text(json_t *o, const char *key, const char *value)
{
	json_t *s = json_string(value ? value : "");

	json_object_set_new(o, key, s ? s : json_string("(not UTF-8)"));
}

static int
write_env(const struct vq_run *r, json_t *o, struct vq_diags *d)
{
	char *path = vq_run_path(r, "env.json"), *text = json_dumps(o, JSON_INDENT(2));
	struct vq_text t = { 0 };
	int rc;

	vq_text_add(&t, "%s\n", text ? text : "{}");
	rc = vq_file_write(path, t.s, t.len, d);
	free(text);
	free(path);
	vq_text_free(&t);
	return rc;
}

int
vq_env_create(const struct vq_run *r, const struct vq_run_info *info, struct vq_diags *d)
{
	struct vq_text cpu = { 0 };
	struct utsname u;
	json_t *o = json_object();
	char buf[64], when[VQ_TIME], *cwd = getcwd(NULL, 0);
	int rc;

	cpu_name(&cpu);
	if (uname(&u) < 0)
		memset(&u, 0, sizeof(u));
	set_text(o, "vqgraph", PACKAGE_VERSION);
	set_text(o, "started", vq_time_text(when));
	set_text(o, "command", info->command);
	set_text(o, "folder", cwd);
	set_text(o, "config_path", info->config_path);
	if (info->seed <= INT64_MAX) {
		json_object_set_new(o, "seed", json_integer((json_int_t)info->seed));
	} else {
		snprintf(buf, sizeof(buf), "%" PRIu64, info->seed);
		set_text(o, "seed", buf);
	}
	set_text(o, "compiler", __VERSION__);
	snprintf(buf, sizeof(buf), "%.20s %.40s", u.sysname, u.release);
	set_text(o, "kernel", buf);
	set_text(o, "machine", u.machine);
	set_text(o, "cpu", cpu.s);
	json_object_set_new(o, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_set_new(o, "memory_bytes",
	    json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
	set_text(o, "threads", info->threads_why);
	set_text(o, "isa", info->isa);
	set_text(o, "state", "running");
	rc = write_env(r, o, d);
	json_decref(o);
	free(cwd);
	vq_text_free(&cpu);
	return rc;
}

int
vq_run_env(struct vq_run *r, const char *key, const char *value, struct vq_diags *d)
{
	char *path = vq_run_path(r, "env.json"), *text;
	json_error_t why;
	json_t *o;
	size_t n;
	int rc = -1;

	text = vq_file_read(path, ENV_MOST, &n, VQ_FAILED, d);
	o = text ? json_loadb(text, n, 0, &why) : NULL;
	if (json_is_object(o)) {
		set_text(o, key, value);
		rc = write_env(r, o, d);
	} else if (text) {
		vq_error(d, VQ_FAILED, NULL, "%s: no JSON object", path);
	}
	json_decref(o);
	free(text);
	free(path);
	return rc;
}

int
vq_run_state(struct vq_run *r, const char *state, struct vq_diags *d)
{
	return vq_run_env(r, "state", state, d);
}

char *
vq_run_env_of(const char *dir, const char *key)
{
	char *path = vq_asprintf("%s/env.json", dir), *text;
	struct vq_diags unheard = { 0 };
	json_error_t why;
	json_t *o = NULL, *x;
	char *value = NULL;
	size_t n;

	if ((text = vq_file_read(path, ENV_MOST, &n, VQ_FAILED, &unheard)) != NULL)
		o = json_loadb(text, n, 0, &why);
	x = json_object_get(o, key);
	if (json_is_string(x))
		value = vq_strdup(json_string_value(x));
	else if (json_is_integer(x))
		value = vq_asprintf("%lld", (long long)json_integer_value(x));
	json_decref(o);
	vq_diags_free(&unheard);
	free(text);
	free(path);
	return value;
}

const char *
vq_run_state_of(const char *dir, char buf[VQ_STATE_STR])
{
	char *state = vq_run_env_of(dir, "state");

	snprintf(buf, VQ_STATE_STR, "%s", state ? state : "");
	free(state);
	return buf;
}

char *
vq_run_config_of(const char *dir)
{
	char *folder = vq_run_env_of(dir, "folder"), *config = vq_run_env_of(dir, "config_path");
	char *path = config && config[0] == '/' ? vq_strdup(config) :
	    config && folder && config[0] ? vq_asprintf("%s/%s", folder, config) : NULL;

	free(folder);
	free(config);
	return path;
}
