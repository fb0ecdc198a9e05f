/*
 * log -- what TensorBoard reads, and the pictures of a run
 *
 * tensorboard/<stage>-<split>/ has the rows of metrics.jsonl of that stage and split, and the
 * pictures; a tag has the same name in all of them, so that TensorBoard draws train and val into
 * one chart.
 */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/image.h"
#include "engine/log_private.h"
#include "engine/tensorboard.h"

enum { VALUES_MOST = 256 };

char *
vq_plain_name(const char *a, const char *b)
{
	char *name = vq_asprintf("%s-%s", a, b);

	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL)
			*c = '_';
	return name;
}

static char *
folder_of(const struct vq_run *r, const char *stage, const char *split)
{
	char *name = vq_plain_name(stage, split), *path = vq_run_path(r, "tensorboard/%s", name);

	free(name);
	return path;
}

/* What a row does not know (the learning rate of an evaluation) is left out; a metric that is
 * not finite is shown as that. */
int
vq_board_row(const struct vq_run *r, const struct vq_metrics *m, struct vq_diags *d)
{
	struct vq_summary s[VALUES_MOST];
	int n = 0;

	if (isfinite(m->lr))
		s[n++] = (struct vq_summary){ .tag = "lr", .scalar = m->lr };
	if (isfinite(m->samples_per_s))
		s[n++] = (struct vq_summary){ .tag = "samples_per_s", .scalar = m->samples_per_s };
	if (isfinite(m->data_wait))
		s[n++] = (struct vq_summary){ .tag = "data_wait", .scalar = m->data_wait };
	for (int i = 0; i < m->n && n < VALUES_MOST; i++)
		s[n++] = (struct vq_summary){ .tag = m->name[i], .scalar = m->value[i] };
	char *folder = folder_of(r, m->stage, m->split);
	int rc = vq_events_add(folder, m->step, s, n, d);
	free(folder);
	return rc;
}

int
vq_run_picture(struct vq_run *r, const struct vq_shown *shown, const struct vq_image *im, struct vq_diags *d)
{
	struct vq_summary s = { .tag = shown->what, .w = im->w, .h = im->h, .channels = im->channels };
	void *png;
	int rc = vq_image_png(im, &png, &s.bytes, d);

	if (rc == 0) {
		char *name = vq_plain_name(shown->stage, shown->what);
		char *path = shown->label ? vq_run_path(r, "samples/%s-%s.png", name, shown->label) :
		    vq_run_path(r, "plots/%s.png", name);
		char *folder = folder_of(r, shown->stage, shown->split);

		s.png = png;
		rc = vq_file_write(path, png, s.bytes, d);
		if (rc == 0)
			rc = vq_events_add(folder, shown->step, &s, 1, d);
		free(folder);
		free(path);
		free(name);
	}
	free(png);
	return rc;
}

/* The last step of which the folder's events stay: as vq_run_rewind decides it for rows. */
static int64_t
last_step(const char *folder, const char *const *stages, int stage, int64_t step)
{
	const char *split = strrchr(folder, '-');

	for (int i = 0; split && i <= stage; i++) {
		char *name = vq_plain_name(stages[i], split + 1);
		bool is = strcmp(name, folder) == 0;

		free(name);
		if (is)
			return i < stage ? INT64_MAX : step;
	}
	return -1;
}

int
vq_board_rewind(const struct vq_run *r, const char *const *stages, int nstages, int stage, int64_t step,
    struct vq_diags *d)
{
	char *path = vq_run_path(r, "tensorboard");
	DIR *dir = opendir(path);
	struct dirent *e;
	int last = stage < nstages ? stage : nstages - 1, rc = 0;

	while (dir && rc == 0 && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		char *folder = vq_asprintf("%s/%s", path, e->d_name);
		rc = vq_events_rewind(folder, last_step(e->d_name, stages, last, step), d);
		free(folder);
	}
	if (dir)
		closedir(dir);
	free(path);
	return rc;
}
