/*
 * log -- how a run speaks on standard error
 *
 * On a terminal one line is drawn over and over, and lines that stay go above
 * it.  Every drawing is one write, so that nothing comes between its parts.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/log_private.h"
#include "engine/utf8.h"

enum { WIDTH_UNKNOWN = 80, BAR_MOST = 24, BAR_LEAST = 8 };

static const double bar_every = 0.1, line_every = 30;	/* seconds */

static const char clear_line[] = "\r\033[K";

static void
put(const struct vq_text *t)
{
	ssize_t ignored = write(STDERR_FILENO, t->s, t->len);

	(void)ignored;
}

static bool
terminal_is_dumb(void)
{
	const char *term = getenv("TERM");

	return term == NULL || strcmp(term, "dumb") == 0;
}

/* What AUTO stands for here. */
static enum vq_progress_mode
mode_of(const struct vq_run *r)
{
	if (r->quiet)
		return VQ_PROGRESS_NONE;
	if (r->mode != VQ_PROGRESS_AUTO)
		return r->mode;
	return r->terminal && !terminal_is_dumb() ? VQ_PROGRESS_BAR : VQ_PROGRESS_PLAIN;
}

void
vq_run_progress_mode(struct vq_run *r, enum vq_progress_mode mode, bool color, bool quiet)
{
	vq_progress_clear(r);
	r->mode = mode;
	r->color = color;
	r->quiet = quiet;
}

void
vq_progress_clear(struct vq_run *r)
{
	struct vq_text t = { 0 };

	if (!r->drawn)
		return;
	vq_text_add(&t, "%s", clear_line);
	put(&t);
	vq_text_free(&t);
	r->drawn = false;
}

void
vq_progress_say(struct vq_run *r, const char *line)
{
	struct vq_text t = { 0 };

	vq_text_add(&t, "%s%s\n", r->drawn ? clear_line : "", line);
	put(&t);
	vq_text_free(&t);
	r->drawn = false;
	r->last = 0;		/* the bar comes back at once */
}

void
vq_run_progress_line(struct vq_run *r, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	vq_log_line(r, t.s);
	if (mode_of(r) != VQ_PROGRESS_NONE)
		vq_progress_say(r, t.s);
	vq_text_free(&t);
}

bool
vq_run_progress_due(struct vq_run *r)
{
	enum vq_progress_mode mode = mode_of(r);

	if (mode == VQ_PROGRESS_NONE)
		return false;
	/* A bar begins at once, a line after its first 30 seconds. */
	if (r->last == 0 && mode == VQ_PROGRESS_PLAIN)
		r->last = vq_now();
	return vq_now() - r->last >= (mode == VQ_PROGRESS_BAR ? bar_every : line_every);
}

/* --- the parts of a line ------------------------------------------------------ */

/* Minutes and seconds, from an hour on with hours: "03:58", "1:02:03". */
static void
add_time(struct vq_text *t, double s)
{
	long long n = isfinite(s) && s >= 0 && s < 1e9 ? (long long)(s + .5) : -1;

	if (n < 0)
		vq_text_add(t, "--:--");
	else if (n < 3600)
		vq_text_add(t, "%02lld:%02lld", n / 60, n % 60);
	else
		vq_text_add(t, "%lld:%02lld:%02lld", n / 3600, n / 60 % 60, n % 60);
}

static void
add_head(struct vq_text *t, const struct vq_progress_now *now)
{
	if (now->stage && *now->stage)
		vq_text_add(t, "%s ", now->stage);
	if (now->epochs > 0)
		vq_text_add(t, "epoch %lld/%lld  ", (long long)now->epoch, (long long)now->epochs);
	else if (now->steps > 0)
		vq_text_add(t, "step ");
	/* As wide as it will become, so that nothing behind it moves. */
	int width = now->steps > 0 ? snprintf(NULL, 0, "%lld", (long long)now->steps) : 0;
	vq_text_add(t, "%*lld", width, (long long)now->step);
	if (now->steps > 0)
		vq_text_add(t, "/%lld", (long long)now->steps);
}

static double
share_of(const struct vq_progress_now *now)
{
	double share = now->steps > 0 ? (double)now->step / (double)now->steps : 0;

	return share < 0 ? 0 : share > 1 ? 1 : share;
}

/* "[=====>    ]" */
static void
add_bar(struct vq_text *t, double share, int width)
{
	int done = (int)(share * width);

	vq_text_add(t, "[");
	for (int i = 0; i < width; i++)
		vq_text_add(t, "%c", i < done ? '=' : i == done ? '>' : ' ');
	vq_text_add(t, "]");
}

static void
add_tail(struct vq_text *t, const struct vq_progress_now *now, bool speed)
{
	if (now->steps > 0)
		vq_text_add(t, " %3d%%", (int)(100 * share_of(now)));
	if (now->text && *now->text)
		vq_text_add(t, "  %s", now->text);
	if (speed && isfinite(now->samples_per_s) && now->samples_per_s > 0)
		vq_text_add(t, now->samples_per_s < 10 ? "  %.2f samples/s" : "  %.0f samples/s", now->samples_per_s);
	vq_text_add(t, "  ");
	add_time(t, now->elapsed_s);
	vq_text_add(t, "<");
	add_time(t, now->left_s);
}

/* --- drawing --------------------------------------------------------------- */

static int
terminal_width(void)
{
	struct winsize w;
	const char *columns;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
		return w.ws_col;
	columns = getenv("COLUMNS");
	int n = columns ? atoi(columns) : 0;
	return n > 0 && n < 10000 ? n : WIDTH_UNKNOWN;
}

/* Columns of a text cut to at most `most` of them, and its bytes then. */
static int
cut(const char *s, int most, size_t *bytes)
{
	size_t left = strlen(s), n;
	int columns = 0;
	uint32_t c;

	for (*bytes = 0; left > 0; *bytes += n, left -= n) {
		int width = 1;

		n = vq_utf8_next(s + *bytes, left, &c);
		if (n)
			width = vq_utf8_width(c);
		else
			n = 1;
		if (columns + width > most)
			break;
		columns += width;
	}
	return columns;
}

/* Cut one short of the width: in the last column terminals differ. */
static void
draw_bar(struct vq_run *r, const struct vq_progress_now *now)
{
	struct vq_text head = { 0 }, tail = { 0 }, bar = { 0 }, t = { 0 };
	int room = terminal_width() - 1, width;
	size_t bytes;

	add_head(&head, now);
	add_tail(&tail, now, true);
	room -= cut(head.s, room, &bytes);
	if (vq_utf8_columns(tail.s) > room) {
		vq_text_free(&tail);
		add_tail(&tail, now, false);
	}
	vq_text_add(&t, "\r%s%.*s%s", r->color ? "\033[1m" : "", (int)bytes, head.s, r->color ? "\033[0m" : "");
	width = room - cut(tail.s, room, &bytes) - 3;
	if (now->steps > 0 && width >= BAR_LEAST) {
		add_bar(&bar, share_of(now), width < BAR_MOST ? width : BAR_MOST);
		vq_text_add(&t, " %s%s%s", r->color ? "\033[32m" : "", bar.s, r->color ? "\033[0m" : "");
	}
	vq_text_add(&t, "%.*s\033[K", (int)bytes, tail.s);
	put(&t);
	r->drawn = true;
	vq_text_free(&head);
	vq_text_free(&tail);
	vq_text_free(&bar);
	vq_text_free(&t);
}

void
vq_run_progress(struct vq_run *r, const struct vq_progress_now *now)
{
	struct vq_text t = { 0 };

	if (!vq_run_progress_due(r))
		return;
	if (mode_of(r) == VQ_PROGRESS_BAR) {
		draw_bar(r, now);
	} else {
		add_head(&t, now);
		add_tail(&t, now, true);
		vq_log_line(r, t.s);
		vq_progress_say(r, t.s);
		vq_text_free(&t);
	}
	r->last = vq_now();
}
