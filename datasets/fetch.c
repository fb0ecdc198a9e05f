/*
 * fetch -- bringing a data set's files from its mirrors
 */
#include "datasets/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/http.h"
#include "datasets/sha256.h"
#include "engine/file.h"

enum { TRIES = 5, CONNECT_S = 15, STALL_S = 30 };
#define LIMIT ((int64_t)16 << 30)	/* of a file whose size is unknown */

/* One file on its way. */
struct job {
	const struct vq_source_kind *kind;
	const struct vq_fetch *f;
	const struct vq_fetch_options *o;
	struct vq_diags *diags;
	struct vq_text reasons;		/* why mirrors failed, a line for each */
	char *path, *part;
	int fd;				/* of part, locked */
	double shown, began;
	int64_t had;
};

static int
write_error(struct vq_diags *d, const char *path, const char *what)
{
	vq_error(d, VQ_FAILED, NULL, "%s: %s: %s", path, what, strerror(errno));
	return -1;
}

int
vq_fetch_same(const struct vq_fetch *f, const char *path, struct vq_diags *d)
{
	char hex[65], *one = (char *)path;
	struct stat st;
	int rc;

	if (stat(path, &st) == 0 && f->bytes > 0 && st.st_size != f->bytes)
		return 0;
	rc = f->sha256 != NULL ? vq_sha256_files(&one, 1, hex, d) : vq_md5_file(path, hex, d);
	return rc < 0 ? -1 : strcmp(hex, f->sha256 != NULL ? f->sha256 : f->md5) == 0;
}

static const char *
sum_of(const struct vq_fetch *f)
{
	return f->sha256 != NULL ? "SHA-256" : "MD5";
}

/* --- what is shown ----------------------------------------------------------- */

static void
show_progress(void *arg, int64_t have)
{
	struct job *j = arg;
	double now = vq_now(), total = j->f->bytes > 0 ? (double)j->f->bytes : 0;

	if (j->o->log == NULL || !j->o->redraw || now - j->shown < .1)
		return;
	j->shown = now;
	fprintf(j->o->log, "\r%-28s %5.1f", j->f->file, have / 1e6);
	if (total > 0)
		fprintf(j->o->log, " of %.1f MB  %3.0f %%", total / 1e6, 100 * have / total);
	fprintf(j->o->log, "  %.1f MB/s \033[K", (double)(have - j->had) / 1e6 / (now - j->began + 1e-3));
	fflush(j->o->log);
}

static void show_line(const struct job *j, const char *fmt, ...) VQ_PRINTF(2, 3);

static void
show_line(const struct job *j, const char *fmt, ...)
{
	va_list ap;

	if (j->o->log == NULL)
		return;
	fprintf(j->o->log, "%s%-28s ", j->o->redraw ? "\r" : "", j->f->file);
	va_start(ap, fmt);
	vfprintf(j->o->log, fmt, ap);
	va_end(ap);
	fprintf(j->o->log, "%s\n", j->o->redraw ? "\033[K" : "");
	fflush(j->o->log);
}

/* --- one file ---------------------------------------------------------------- */

static int
part_truncate(struct job *j)
{
	if (ftruncate(j->fd, 0) < 0 || lseek(j->fd, 0, SEEK_SET) < 0)
		return write_error(j->diags, j->part, "cannot be emptied");
	return 0;
}

enum step { GOT, AGAIN, NEXT, FATAL };

/* One request, and what to do after it; NEXT with h->why set. */
static enum step
attempt(struct job *j, struct vq_http *h)
{
	enum vq_http_result got = VQ_HTTP_DONE;
	int same;

	j->had = h->have = lseek(j->fd, 0, SEEK_END);
	if (h->bytes > 0 && h->have > h->bytes) {
		if (part_truncate(j) < 0)
			return FATAL;
		j->had = h->have = 0;
	}
	j->began = vq_now();
	if (h->bytes == 0 || h->have < h->bytes)
		got = vq_http_get(h);
	switch (got) {
	case VQ_HTTP_DISK:
		vq_error(j->diags, VQ_FAILED, NULL, "%s: %s", j->part, h->why);
		return FATAL;
	case VQ_HTTP_REFUSED:
		return NEXT;
	case VQ_HTTP_CUT:
		return h->have > j->had ? AGAIN : NEXT;
	case VQ_HTTP_RESTART:
		return part_truncate(j) < 0 ? FATAL : AGAIN;
	case VQ_HTTP_DONE:
		break;
	}
	same = vq_fetch_same(j->f, j->part, j->diags);
	if (same != 0)
		return same > 0 ? GOT : FATAL;
	snprintf(h->why, sizeof(h->why), "its contents are not those expected (%s)", sum_of(j->f));
	if (part_truncate(j) < 0)
		return FATAL;
	/* What another mirror or an earlier call left may have been the wrong part. */
	return j->had > 0 ? AGAIN : NEXT;
}

static enum step
try_mirror(struct job *j, const char *base)
{
	bool slash = base[0] != '\0' && base[strlen(base) - 1] == '/';
	char *url = vq_asprintf("%s%s%s", base, slash ? "" : "/", j->f->file);
	size_t len = strlen(j->f->file);
	struct vq_http h = {
		.url = url, .fd = j->fd, .bytes = j->f->bytes, .limit = LIMIT,
		.gzip = len > 3 && strcmp(j->f->file + len - 3, ".gz") == 0,
		.connect_s = j->o->connect_s > 0 ? j->o->connect_s : CONNECT_S,
		.stall_s = j->o->stall_s > 0 ? j->o->stall_s : STALL_S,
		.progress = show_progress, .arg = j,
	};
	enum step step = AGAIN;

	for (int tries = 0; tries < TRIES && step == AGAIN; tries++)
		step = attempt(j, &h);
	if (step == NEXT || step == AGAIN)
		vq_text_add(&j->reasons, "%s: %s\n", url, h.why);
	free(url);
	return step;
}

static void
report_mirrors(struct job *j)
{
	struct vq_diag *e = vq_error(j->diags, VQ_DATA, NULL, "%s: %s could not be downloaded",
	    j->kind->name, j->f->file);

	for (const char *line = j->reasons.s; line != NULL && *line != '\0';) {
		int len = (int)strcspn(line, "\n");

		vq_detail(e, NULL, "%.*s", len, line);
		line += len + (line[len] == '\n');
	}
	vq_help(e, "the same command goes on where it stopped; --mirror URL or VQGRAPH_MIRROR names "
	    "another place");
	if (j->kind->package != NULL)
		vq_help(e, "apt install %s    installs the set on Debian and Ubuntu", j->kind->package);
	vq_help(e, "offline: copy the files to %.*s from another machine, or use source: digits",
	    (int)(strrchr(j->path, '/') - j->path), j->path);
}

/* All mirrors in turn, beginning with the one that worked last. */
static int
download(struct job *j, const char *const *mirror, int *working)
{
	enum step step = NEXT;
	int n = 0;

	while (mirror[n] != NULL)
		n++;
	for (int i = 0; i < n && step != GOT && step != FATAL; i++) {
		int m = (*working + i) % n;

		step = try_mirror(j, mirror[m]);
		if (step == GOT)
			*working = m;
	}
	if (step == NEXT || step == AGAIN)
		report_mirrors(j);
	return step == GOT ? 0 : -1;
}

static int
publish(struct job *j, const char *folder)
{
	int dir;

	if (fchmod(j->fd, 0644) < 0 || fsync(j->fd) < 0)
		return write_error(j->diags, j->part, "cannot be written");
	if (rename(j->part, j->path) < 0)
		return write_error(j->diags, j->path, "cannot be put in place");
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		/* Some file systems refuse it for folders; the file itself is safe. */
		(void)!fsync(dir);
		close(dir);
	}
	return 0;
}

static int
fetch_locked(struct job *j, const char *folder, const char *const *mirror, int *working)
{
	double began = vq_now();

	if (download(j, mirror, working) < 0 || publish(j, folder) < 0)
		return -1;
	show_line(j, "%.1f MB in %.1f s, %s right", lseek(j->fd, 0, SEEK_END) / 1e6, vq_now() - began, sum_of(j->f));
	return 0;
}

static int
fetch_file(struct job *j, const char *folder, const char *const *mirror, int *working)
{
	int rc;

	if (access(j->path, F_OK) == 0) {
		int same = vq_fetch_same(j->f, j->path, j->diags);

		if (same > 0)
			show_line(j, "is there already");
		if (same == 0)
			vq_help(vq_error(j->diags, VQ_DATA, NULL,
			    "%s is there, with other contents than the original's", j->path), "if it is damaged, remove it; --to DIR downloads to another folder");
		return same > 0 ? 0 : -1;
	}
	j->fd = open(j->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (j->fd < 0)
		return write_error(j->diags, j->part, "cannot be written");
	if (flock(j->fd, LOCK_EX | LOCK_NB) < 0) {
		vq_error(j->diags, VQ_FAILED, NULL, "%s: another process is downloading it", j->part);
		rc = -1;
	} else {
		rc = fetch_locked(j, folder, mirror, working);
	}
	/* Nothing came: leave nothing behind. */
	if (rc < 0 && lseek(j->fd, 0, SEEK_END) == 0)
		unlink(j->part);
	close(j->fd);
	return rc;
}

/* --- a source ---------------------------------------------------------------- */

static int
make_folders(const char *path, struct vq_diags *d)
{
	char *which;

	if (vq_file_folders(path, &which) == 0)
		return 0;
	write_error(d, which, "cannot be made");
	free(which);
	return -1;
}

/* Where the files go, or NULL after an error. */
static char *
folder_of(const struct vq_source_kind *k, const char *to, struct vq_diags *d)
{
	struct vq_arena a = { 0 };
	char *folder = NULL;

	if (to == NULL)
		to = vq_data_user_folder(&a);
	if (to == NULL || to[0] == '\0')
		vq_help(vq_error(d, VQ_USAGE, NULL, "there is no home folder to download to"),
		    "--to DIR names a folder");
	else
		folder = vq_asprintf("%s/%s", to, k->folder);
	vq_arena_free(&a);
	return folder;
}

int
vq_fetch_source(const struct vq_source_kind *k, const struct vq_fetch_options *o,
    char **folder, struct vq_diags *d)
{
	const char *env = getenv("VQGRAPH_MIRROR");
	const char *own = o->mirror != NULL ? o->mirror : env != NULL && env[0] != '\0' ? env : NULL;
	const char *const only[] = { own, NULL };
	char *dir;
	int working = 0, rc = 0;

	if (k->fetch == NULL) {
		vq_error(d, VQ_USAGE, NULL, "there is nothing to download for '%s': %s", k->name, k->layout);
		return -1;
	}
	dir = folder_of(k, o->to, d);
	if (dir == NULL || make_folders(dir, d) < 0) {
		free(dir);
		return -1;
	}
	for (const struct vq_fetch *f = k->fetch; f->file != NULL && rc == 0; f++) {
		struct job j = { .kind = k, .f = f, .o = o, .diags = d, .fd = -1 };

		j.path = vq_asprintf("%s/%s", dir, f->file);
		j.part = vq_asprintf("%s.part", j.path);
		rc = fetch_file(&j, dir, own != NULL ? only : f->mirrors, &working);
		free(j.path);
		free(j.part);
		vq_text_free(&j.reasons);
	}
	/* Goes only when it is empty. */
	if (rc < 0)
		rmdir(dir);
	if (rc == 0 && folder != NULL)
		*folder = dir;
	else
		free(dir);
	return rc;
}
