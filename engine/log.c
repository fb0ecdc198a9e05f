/*
 * log -- a run's folder
 */
#include "engine/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/log_private.h"

enum {
	NAME_MOST = 200,
	RUNS_MOST = 100000,			/* of one name */
	PROBE = 1 << 20,
};

const char *
vq_run_dir(const struct vq_run *r)
{
	return r->dir;
}

char *
vq_run_path(const struct vq_run *r, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	vq_text_add(&t, "%s/", r->dir);
	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	return t.s;
}

const char *
vq_time_text(char buf[VQ_TIME])
{
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL || strftime(buf, VQ_TIME, "%Y-%m-%dT%H:%M:%S%z", &tm) == 0)
		snprintf(buf, VQ_TIME, "%s", "-");
	return buf;
}

/* --- log.txt --------------------------------------------------------------- */

/* A log that cannot be written stops nothing: checkpoints and metrics, which
 * can, report the same disk. */
void
vq_log_line(struct vq_run *r, const char *line)
{
	struct vq_text t = { 0 };
	char buf[VQ_TIME];
	ssize_t ignored;

	vq_text_add(&t, "%s  %s\n", vq_time_text(buf), line);
	ignored = write(r->log, t.s, t.len);
	(void)ignored;
	vq_text_free(&t);
}

void
vq_run_say(struct vq_run *r, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	vq_log_line(r, t.s);
	if (!r->quiet)
		vq_progress_say(r, t.s);
	vq_text_free(&t);
}

/* --- making the folder ------------------------------------------------------- */

static int
failed(struct vq_diags *d, const char *path, const char *what)
{
	vq_error(d, VQ_FAILED, NULL, "%s: %s: %s", path, what, strerror(errno));
	return -1;
}

/* The folder and those above it. */
static int
make_folders(const char *path, struct vq_diags *d)
{
	char *which;

	if (vq_file_folders(path, &which) == 0)
		return 0;
	failed(d, which, "cannot make this folder");
	free(which);
	return -1;
}

static bool
name_valid(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == '/' || name[i] == 0x7f)
			return false;
	return n > 0 && n <= NAME_MOST && name[0] != '.' && strcmp(name, "latest") != 0;
}

/* Writes as much as a step of logging might: what statvfs promises, quotas and
 * broken disks may refuse. */
static int
probe(const char *out, struct vq_diags *d)
{
	char *path = vq_asprintf("%s/.probe-%ld", out, (long)getpid());
	char *bytes = vq_alloc(PROBE);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	size_t done = 0;

	memset(bytes, 0x5a, PROBE);
	while (fd >= 0 && done < PROBE) {
		ssize_t k = write(fd, bytes + done, PROBE - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		done += (size_t)k;
	}
	if (fd < 0 || done < PROBE || fsync(fd) < 0)
		rc = failed(d, out, "no run can be written here");
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	free(bytes);
	free(path);
	return rc;
}

static int
check_space(const char *out, int64_t bytes, struct vq_diags *d)
{
	struct statvfs st;

	if (statvfs(out, &st) < 0)
		return failed(d, out, "its free space cannot be told");
	double available = (double)st.f_bavail * (double)st.f_frsize;

	if (available < (double)bytes) {
		struct vq_diag *e = vq_error(d, VQ_FAILED, NULL, "%s: not enough free space for this run", out);
		vq_detail(e, NULL, "%.1f MB are needed, %.1f MB are free", (double)bytes / 1e6, available / 1e6);
		vq_help(e, "make room, or write elsewhere with --out DIR");
		return -1;
	}
	return probe(out, d);
}

/* name, or name-2, ... : mkdir decides, so two processes never share one. */
static int
make_run_folder(struct vq_run *r, const struct vq_run_info *info, struct vq_diags *d)
{
	for (int i = 1; i < RUNS_MOST; i++) {
		r->dir = i == 1 ? vq_asprintf("%s/%s", info->out, info->name) :
		    vq_asprintf("%s/%s-%d", info->out, info->name, i);
		if (mkdir(r->dir, 0777) == 0)
			return 0;
		if (errno != EEXIST)
			return failed(d, r->dir, "cannot make this folder");
		free(r->dir);
		r->dir = NULL;
	}
	vq_error(d, VQ_FAILED, NULL, "%s: has too many runs of the name %s", info->out, info->name);
	return -1;
}

static int
write_text(const struct vq_run *r, const char *file, const char *text, struct vq_diags *d)
{
	char *path = vq_run_path(r, "%s", file);
	int rc = text ? vq_file_write(path, text, strlen(text), d) : 0;

	free(path);
	return rc;
}

static int
make_inside(const struct vq_run *r, const char *folder, struct vq_diags *d)
{
	char *path = vq_run_path(r, "%s", folder);
	int rc = mkdir(path, 0777) < 0 && errno != EEXIST ? failed(d, path, "cannot make this folder") : 0;

	free(path);
	return rc;
}

/* log.txt is open and locked as long as somebody works in the run. */
static int
open_log(struct vq_run *r, struct vq_diags *d)
{
	char *path = vq_run_path(r, "log.txt");
	int rc = 0;

	r->log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (r->log < 0) {
		rc = failed(d, path, "cannot be opened");
	} else if (flock(r->log, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		vq_error(d, VQ_FAILED, NULL, "%s: another process works in this run", r->dir);
		rc = -1;
	}
	free(path);
	return rc;
}

/* A new link takes the place of the old one, so there is always one.  Where links
 * cannot be made there is none, and nothing fails. */
static void
link_latest(struct vq_run *r, const char *out)
{
	char *temporary = vq_asprintf("%s/.latest-%ld", out, (long)getpid());
	char *latest = vq_asprintf("%s/latest", out);

	unlink(temporary);
	if (symlink(strrchr(r->dir, '/') + 1, temporary) < 0 || rename(temporary, latest) < 0) {
		vq_run_say(r, "%s cannot be made: %s", latest, strerror(errno));
		unlink(temporary);
	}
	free(latest);
	free(temporary);
}

static int
fill_folder(struct vq_run *r, const struct vq_run_info *info, struct vq_diags *d)
{
	struct vq_text command = { 0 };
	int rc;

	vq_text_add(&command, "%s\n", info->command ? info->command : "");
	rc = open_log(r, d) < 0 || make_inside(r, "checkpoints", d) < 0 || make_inside(r, "samples", d) < 0 ||
	    make_inside(r, "plots", d) < 0 || write_text(r, "config.yaml", info->config, d) < 0 ||
	    write_text(r, "resolved.yaml", info->resolved, d) < 0 ||
	    write_text(r, "command.txt", command.s, d) < 0 ||
	    write_text(r, "metrics.jsonl", "", d) < 0 || vq_env_create(r, info, d) < 0 ? -1 : 0;
	vq_text_free(&command);
	return rc;
}

int
vq_run_resolved(struct vq_run *r, const char *text, struct vq_diags *d)
{
	return write_text(r, "resolved.yaml", text, d);
}

int
vq_run_folder(struct vq_run *r, const char *name, struct vq_diags *d)
{
	return make_inside(r, name, d);
}

/* What fill_folder made before it failed. */
static void
remove_folder(const struct vq_run *r)
{
	static const char *const made[] = {
		"env.json", "metrics.jsonl", "command.txt", "resolved.yaml", "config.yaml", "plots", "samples",
		"checkpoints", "log.txt", "."
	};

	for (size_t i = 0; i < VQ_COUNT(made); i++) {
		char *path = i + 1 < VQ_COUNT(made) ? vq_run_path(r, "%s", made[i]) : vq_strdup(r->dir);

		remove(path);
		free(path);
	}
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

void
vq_run_remove(struct vq_run *r)
{
	char *latest = vq_run_path(r, "../latest"), to[NAME_MOST + 8];
	ssize_t n = readlink(latest, to, sizeof(to));

	if (n > 0 && (size_t)n == strlen(strrchr(r->dir, '/') + 1) && strncmp(to, strrchr(r->dir, '/') + 1, (size_t)n) == 0)
		unlink(latest);
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(latest);
}

static struct vq_run *
run_new(void)
{
	struct vq_run *r = vq_alloc(sizeof(*r));

	r->log = r->metrics = -1;
	r->terminal = isatty(STDERR_FILENO);
	return r;
}

struct vq_run *
vq_run_create(const struct vq_run_info *info, struct vq_diags *d)
{
	struct vq_run *r;

	if (!name_valid(info->name)) {
		struct vq_diag *e = vq_error(d, VQ_USAGE, NULL, "a run cannot have the name '%s'", info->name);
		vq_note(e, NULL, "names have 1 to %d bytes, no '/', and do not begin with '.'", NAME_MOST);
		return NULL;
	}
	if (make_folders(info->out, d) < 0 || check_space(info->out, info->bytes_needed, d) < 0)
		return NULL;
	r = run_new();
	if (make_run_folder(r, info, d) < 0) {
		vq_run_close(r);
		return NULL;
	}
	if (fill_folder(r, info, d) < 0) {
		remove_folder(r);
		vq_run_close(r);
		return NULL;
	}
	link_latest(r, info->out);
	return r;
}

/* --- opening and closing --------------------------------------------------- */

static bool
is_run(const char *dir)
{
	char *path = vq_asprintf("%s/resolved.yaml", dir);
	struct stat st;
	bool is = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	free(path);
	return is;
}

/* The run that `latest` points to, or that was changed last. */
static char *
newest(const char *out)
{
	char *best = vq_asprintf("%s/latest", out);
	struct timespec when = { 0 };
	struct dirent *e;
	struct stat st;
	DIR *dir;

	if (is_run(best)) {
		char *real = realpath(best, NULL), *slash = real ? strrchr(real, '/') : NULL;
		char *found = slash ? vq_asprintf("%s%s", out, slash) : NULL;

		free(real);
		if (found && is_run(found)) {
			free(best);
			return found;
		}
		free(found);
	}
	free(best);
	best = NULL;
	dir = opendir(out);
	while (dir && (e = readdir(dir)) != NULL) {
		char *path = vq_asprintf("%s/%s", out, e->d_name);

		if (e->d_name[0] != '.' && is_run(path) && stat(path, &st) == 0 &&
		    (st.st_mtim.tv_sec > when.tv_sec ||
		    (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec >= when.tv_nsec))) {
			when = st.st_mtim;
			free(best);
			best = vq_strdup(path);
		}
		free(path);
	}
	if (dir)
		closedir(dir);
	return best;
}

/* What was being written when it was killed: half a checkpoint may be large.  The lock says that nobody writes one now. */
static void
sweep(const struct vq_run *r)
{
	static const char *const folder[] = { "", "checkpoints", "samples", "plots" };

	for (size_t i = 0; i < VQ_COUNT(folder); i++) {
		char *path = vq_run_path(r, "%s", folder[i]);

		vq_file_sweep(path);
		free(path);
	}
}

struct vq_run *
vq_run_open(const char *out, const char *dir, struct vq_diags *d)
{
	char *path = dir ? vq_strdup(dir) : newest(out);
	struct vq_run *r;

	if (path == NULL) {
		vq_error(d, VQ_USAGE, NULL, "%s: there is no run to go on with", out);
		return NULL;
	}
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (!is_run(path)) {
		vq_error(d, VQ_USAGE, NULL, "%s: is no run's folder: it has no resolved.yaml", path);
		free(path);
		return NULL;
	}
	r = run_new();
	r->dir = path;
	if (open_log(r, d) < 0 || make_inside(r, "checkpoints", d) < 0 || make_inside(r, "samples", d) < 0 ||
	    make_inside(r, "plots", d) < 0) {
		vq_run_close(r);
		return NULL;
	}
	sweep(r);
	return r;
}

bool
vq_run_saved(const struct vq_run *r)
{
	char *path = vq_run_path(r, "checkpoints/last.safetensors");
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

void
vq_run_close(struct vq_run *r)
{
	if (r == NULL)
		return;
	vq_progress_clear(r);
	if (r->log >= 0)
		close(r->log);
	if (r->metrics >= 0)
		close(r->metrics);
	free(r->dir);
	free(r);
}
