/*
 * log -- a picture over a stage's epochs, as a GIF made of the PNG files that are there
 *
 * Made of files alone, so that a run that was stopped and resumed has the same as one that was not.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/draw.h"
#include "engine/file.h"
#include "engine/gif.h"
#include "engine/log_private.h"

enum {
	FRAMES = 120,			/* more epochs are thinned out */
	BYTES = 48 << 20,		/* of all frames in memory */
	SIDE = 900,			/* larger pictures are made smaller */
	CAPTION = 24, CAPTION_LEVEL = 48,
	LAST_MS = 2500,
};

/* A frame that may be there. */
struct moment {
	char label[32], caption[32];
};

struct movie {
	struct moment *at;
	int n, cap;
};

static void
add(struct movie *m, bool epoch, int64_t k)
{
	vq_grow(m->at, m->n, m->cap);
	struct moment *at = &m->at[m->n++];

	vq_moment_label(at->label, epoch, k);
	snprintf(at->caption, sizeof(at->caption), epoch ? "epoch %lld" : "step %lld", (long long)k);
}

void
vq_moment_label(char label[32], bool epoch, int64_t k)
{
	snprintf(label, 32, epoch ? "epoch-%03lld" : "step-%06lld", (long long)k);
}

/* Steps 1, 2, 4, ... of the first epoch, `epochs` of the epochs, the last step where it ends none. */
static void
list(struct movie *m, int64_t per_epoch, int64_t step, int64_t epochs)
{
	int64_t done = step / per_epoch;

	m->n = 0;
	for (int64_t k = 1; k < per_epoch && k < step; k *= 2)
		add(m, false, k);
	for (int64_t i = 1; i <= epochs; i++)
		add(m, true, (int64_t)llround((double)i * (double)done / (double)epochs));
	if (step % per_epoch != 0)
		add(m, false, step);
}

/* Half as wide and high: the mean of four. */
static void
halve(struct vq_image *im)
{
	struct vq_image half;
	int ch = im->channels, w = im->w / 2, h = im->h / 2;

	vq_image_new(&half, w, h, ch, 0);
	for (int y = 0; y < h; y++)
		for (int i = 0; i < w * ch; i++) {
			const uint8_t *p = im->pixel + ((int64_t)2 * y * im->w + i / ch * 2) * ch + i % ch;
			int below = im->w * ch;

			half.pixel[(int64_t)y * w * ch + i] = (uint8_t)((p[0] + p[ch] + p[below] + p[below + ch] + 2) / 4);
		}
	vq_image_free(im);
	*im = half;
}

/* The picture of that moment over its caption; false where there is none. */
static bool
read_frame(const struct vq_run *r, const char *name, const struct moment *at, struct vq_image *out)
{
	char *path = vq_run_path(r, "samples/%s-%s.png", name, at->label);
	struct vq_diags unheard = { 0 };
	struct vq_image im;
	bool ok = access(path, F_OK) == 0 && vq_image_read_png(path, &im, &unheard) == 0;

	free(path);
	vq_diags_free(&unheard);
	if (!ok)
		return false;
	while (im.w > SIDE || im.h > SIDE)
		halve(&im);
	vq_image_new(out, im.w, im.h + CAPTION, im.channels, CAPTION_LEVEL);
	memcpy(out->pixel, im.pixel, (size_t)im.w * (size_t)im.h * (size_t)im.channels);
	vq_draw_text(out, 8, im.h + (CAPTION - 2 * VQ_TEXT_HEIGHT) / 2, at->caption, 2,
	    (struct vq_rgb){ 255, 255, 255 });
	vq_image_free(&im);
	return true;
}

static bool
same_size(const struct vq_image *a, const struct vq_image *b)
{
	return a->w == b->w && a->h == b->h && a->channels == b->channels;
}

/* All that are there and as large as the last. */
static int
read_frames(const struct vq_run *r, const char *name, struct movie *m, int64_t per_epoch, int64_t step,
    struct vq_image **frame)
{
	int64_t done = step / per_epoch;
	struct vq_image last;
	int n = 0;

	list(m, per_epoch, step, done < FRAMES ? done : FRAMES);
	if (m->n == 0 || !read_frame(r, name, &m->at[m->n - 1], &last))
		return 0;
	int64_t most = BYTES / ((int64_t)last.w * last.h * last.channels);
	if (m->n > most)
		list(m, per_epoch, step, most > 32 ? most - 31 : 1);
	*frame = vq_alloc_array((size_t)m->n, sizeof(**frame));
	for (int i = 0; i < m->n - 1; i++) {
		if (!read_frame(r, name, &m->at[i], &(*frame)[n]))
			continue;
		if (same_size(&(*frame)[n], &last))
			n++;
		else
			vq_image_free(&(*frame)[n]);
	}
	(*frame)[n++] = last;
	return n;
}

int
vq_run_movie(struct vq_run *r, const char *stage, const char *what, int64_t per_epoch, int64_t step,
    struct vq_diags *d)
{
	char *name = vq_plain_name(stage, what), *path = vq_run_path(r, "samples/%s.gif", name);
	struct vq_image *frame = NULL;
	struct movie m = { 0 };
	int n = read_frames(r, name, &m, per_epoch, step, &frame), rc = 0;

	if (n > 1) {
		int *delay = vq_alloc_array((size_t)n, sizeof(*delay));

		for (int i = 0; i < n; i++)
			delay[i] = i == n - 1 ? LAST_MS : n < 24 ? 500 : n < 150 ? 12000 / n : 80;
		rc = vq_gif_write(path, frame, delay, n, d);
		free(delay);
	}
	for (int i = 0; i < n; i++)
		vq_image_free(&frame[i]);
	free(frame);
	free(m.at);
	free(path);
	free(name);
	return rc;
}
