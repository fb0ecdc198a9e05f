/*
 * diag -- what is wrong with the input, where, and the way out
 *
 * Texts shown may come from anyone's file, so nothing of them reaches the
 * terminal but printable characters.
 */
#include "engine/diag.h"

#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum {
	TAB = 8,
	WIDEST = 120,		/* columns of a source line that are shown */
	LEAD = 60,		/* of them before the caret, when the line is longer */
	REFERENCE = 61,		/* column where [file:line] stands behind a note */
};

/* What is given back past the limit; never written. */
static struct vq_diag dropped;

/* Copies of the sources that diagnostics speak of. */
struct vq_kept {
	struct vq_source **source;
	int count, cap;
};

/* The range with its source replaced by a copy of the same content. */
static struct vq_range
keep(struct vq_kept *k, const struct vq_range *at)
{
	struct vq_range r = *at;
	const struct vq_source *s = at->source;
	struct vq_source *copy;

	if (!s)
		return r;
	for (int i = 0; i < k->count; i++) {
		copy = k->source[i];
		r.source = copy;
		if (strcmp(copy->name, s->name) == 0 && !copy->text == !s->text && copy->len == s->len &&
		    (!s->text || memcmp(copy->text, s->text, s->len) == 0))
			return r;
	}
	copy = vq_alloc(sizeof(*copy));
	copy->name = vq_strdup(s->name);
	copy->len = s->len;
	if (s->text) {
		/* Not as a string: there may be a zero byte in it. */
		char *text = vq_alloc(s->len + 1);
		memcpy(text, s->text, s->len);
		copy->text = text;
	}
	vq_grow(k->source, k->count, k->cap);
	k->source[k->count++] = copy;
	r.source = copy;
	return r;
}

static void
free_kept(struct vq_kept *k)
{
	for (int i = 0; k && i < k->count; i++) {
		free((char *)k->source[i]->name);
		free((char *)k->source[i]->text);
		free(k->source[i]);
	}
	if (k)
		free(k->source);
	free(k);
}

static bool
same_place(const struct vq_range *a, const struct vq_range *b)
{
	return a->source == b->source && a->line == b->line && a->col == b->col;
}

static bool
is_told(const struct vq_diags *d, const struct vq_range *place, const char *message)
{
	for (int i = 0; i < d->count; i++)
		if (same_place(&d->diag[i]->at, place) && strcmp(d->diag[i]->message, message) == 0)
			return true;
	return false;
}

/* Prints fmt into a new string. */
static char *
format(const char *fmt, va_list ap)
{
	struct vq_text t = { 0 };

	vq_text_vadd(&t, fmt, ap);
	return t.s;
}

struct vq_diag *
vq_error(struct vq_diags *d, enum vq_status status, const struct vq_range *at, const char *fmt, ...)
{
	struct vq_range place = { 0 };
	struct vq_diag *e;
	va_list ap;
	char *message;

	if (!d)
		return &dropped;
	/* No room: only counted.  Finding the copy of a source for each of
	 * thousands of errors would take minutes. */
	if (d->count == VQ_DIAGS_MAX) {
		d->total++;
		return &dropped;
	}
	if (!d->kept)
		d->kept = vq_alloc(sizeof(*d->kept));
	if (at)
		place = keep(d->kept, at);
	va_start(ap, fmt);
	message = format(fmt, ap);
	va_end(ap);
	if (is_told(d, &place, message)) {
		free(message);
		return &dropped;
	}
	d->total++;
	e = vq_alloc(sizeof(*e));
	e->status = status;
	e->at = place;
	e->kept = d->kept;
	e->message = message;
	d->diag[d->count++] = e;
	return e;
}

static void
add_line(struct vq_diag *e, int kind, const struct vq_range *at, char *text)
{
	vq_grow(e->line, e->lines, e->cap);
	e->line[e->lines] = (struct vq_diag_line){ .text = text };
	e->line[e->lines].kind = (unsigned)kind;
	if (at)
		e->line[e->lines].at = keep(e->kept, at);
	e->lines++;
}

#define ADD_LINE(e, kind, at, fmt) do { \
	va_list ap; \
	if ((e) == &dropped) \
		return; \
	va_start(ap, fmt); \
	add_line(e, kind, at, format(fmt, ap)); \
	va_end(ap); \
} while (0)

void
vq_detail(struct vq_diag *e, const struct vq_range *at, const char *fmt, ...)
{
	ADD_LINE(e, VQ_DETAIL, at, fmt);
}

void
vq_help(struct vq_diag *e, const char *fmt, ...)
{
	ADD_LINE(e, VQ_HELP, NULL, fmt);
}

void
vq_note(struct vq_diag *e, const struct vq_range *at, const char *fmt, ...)
{
	ADD_LINE(e, VQ_NOTE, at, fmt);
}

/* The places of e as those of copies that k has. */
static void
keep_places(struct vq_kept *k, struct vq_diag *e)
{
	e->at = keep(k, &e->at);
	for (int i = 0; i < e->lines; i++)
		e->line[i].at = keep(k, &e->line[i].at);
	e->kept = k;
}

void
vq_diags_move(struct vq_diags *to, struct vq_diags *from)
{
	int left = 0, told = 0;

	if (!to->kept)
		to->kept = vq_alloc(sizeof(*to->kept));
	for (int i = 0; i < from->count; i++) {
		struct vq_diag *e = from->diag[i];

		keep_places(to->kept, e);
		bool again = is_told(to, &e->at, e->message);
		if (again || to->count == VQ_DIAGS_MAX)
			from->diag[left++] = e;
		else
			to->diag[to->count++] = e;
		told += again;
	}
	to->total += from->total - told;
	from->count = left;
	vq_diags_free(from);
}

enum vq_status
vq_diags_status(const struct vq_diags *d)
{
	return d->count ? d->diag[0]->status : VQ_OK;
}

void
vq_diags_free(struct vq_diags *d)
{
	for (int i = 0; i < d->count; i++) {
		struct vq_diag *e = d->diag[i];

		for (int k = 0; k < e->lines; k++)
			free(e->line[k].text);
		free(e->line);
		free(e->message);
		free(e);
	}
	free_kept(d->kept);
	*d = (struct vq_diags){ 0 };
}

const char *
vq_range_str(const struct vq_range *r, char *buf, size_t size)
{
	if (!r || !r->source)
		snprintf(buf, size, "%s", "");
	else if (r->line <= 0)
		snprintf(buf, size, "%s", r->source->name);
	else if (r->col <= 0)
		snprintf(buf, size, "%s:%d", r->source->name, r->line);
	else
		snprintf(buf, size, "%s:%d:%d", r->source->name, r->line, r->col);
	return buf;
}

/* --- printing ------------------------------------------------------------- */

struct paint {
	const char *place, *error, *caret, *label, *off;
};
static const struct paint plain = { "", "", "", "", "" };
static const struct paint bright = { "\033[1m", "\033[1;31m", "\033[1;32m", "\033[1;36m", "\033[0m" };

/* Adds s with everything unprintable as \xNN; returns the columns taken. */
static int
add_clean(struct vq_text *t, const char *s, size_t len)
{
	int columns = 0;

	for (size_t i = 0; i < len; ) {
		uint32_t c;
		size_t n = vq_utf8_next(s + i, len - i, &c);

		if (n && vq_utf8_printable(c)) {
			vq_text_put(t, s + i, n);
			columns += vq_utf8_width(c);
			i += n;
		} else {
			vq_text_add(t, "\\x%02x", (unsigned char)s[i]);
			columns += 4;
			i++;
		}
	}
	return columns;
}

/* The same for a message, whose line breaks stay. */
static void
add_message(struct vq_text *t, const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "\n");

		add_clean(t, s, n);
		if (!s[n])
			return;
		vq_text_put(t, "\n", 1);
		s += n + 1;
	}
}

/* Line number `line` of a source, without its end; false when it has fewer. */
static bool
find_line(const struct vq_source *src, int line, const char **start, size_t *len)
{
	const char *s = src->text, *end = s ? s + src->len : NULL, *stop;

	if (!s || line < 1)
		return false;
	while (--line > 0) {
		s = memchr(s, '\n', (size_t)(end - s));
		if (!s)
			return false;
		s++;
	}
	stop = memchr(s, '\n', (size_t)(end - s));
	if (!stop)
		stop = end;
	if (stop > s && stop[-1] == '\r')
		stop--;
	if (stop - s >= 3 && s == src->text && memcmp(s, "\xef\xbb\xbf", 3) == 0)
		s += 3;		/* a byte-order mark is no character of the line */
	*start = s;
	*len = (size_t)(stop - s);
	return true;
}

/* A source line as shown: tabs expanded, and where its characters from..to lie. */
struct shown {
	struct vq_text text;
	int from, to;		/* columns from 0 */
	int columns;
};

static void
show_line(struct shown *l, const char *s, size_t len, int col, int end_col)
{
	int at = 1;		/* character */

	l->from = l->to = -1;
	vq_text_put(&l->text, "", 0);
	for (size_t i = 0; i < len; at++) {
		uint32_t c;
		size_t n = vq_utf8_next(s + i, len - i, &c);

		if (at == col)
			l->from = l->columns;
		if (at == end_col)
			l->to = l->columns;
		if (s[i] == '\t') {
			int pad = TAB - l->columns % TAB;

			vq_text_add(&l->text, "%*s", pad, "");
			l->columns += pad;
		} else {
			l->columns += add_clean(&l->text, s + i, n ? n : 1);
		}
		i += n ? n : 1;
	}
	if (l->from < 0)
		l->from = l->columns;
	if (l->to < 0)
		l->to = l->columns;
	if (l->to <= l->from)
		l->to = l->from + 1;
}

/* The bytes of t that lie in columns [from, to), both moved outwards to whole characters. */
static void
cut_columns(const struct vq_text *t, int from, int to, size_t *first, size_t *last)
{
	size_t i = 0;
	int columns = 0;

	*first = *last = t->len;
	while (i < t->len) {
		uint32_t c;
		size_t n = vq_utf8_next(t->s + i, t->len - i, &c);

		if (columns >= from && *first == t->len)
			*first = i;
		columns += n ? vq_utf8_width(c) : 1;
		if (columns > to) {
			*last = i;
			return;
		}
		i += n ? n : 1;
	}
}

/* Of a line too long to show, the part around the caret. */
static void
shorten(struct shown *l)
{
	struct vq_text cut = { 0 };
	size_t first, last;
	int from = l->from > LEAD ? l->from - LEAD : 0, to = from + WIDEST;

	if (l->columns <= WIDEST)
		return;
	cut_columns(&l->text, from, to, &first, &last);
	vq_text_add(&cut, "%s", from ? "..." : "");
	if (last > first)
		vq_text_put(&cut, l->text.s + first, last - first);
	vq_text_add(&cut, "%s", to < l->columns ? "..." : "");
	if (l->to > to)
		l->to = to;
	l->from += (from ? 3 : 0) - from;
	l->to += (from ? 3 : 0) - from;
	vq_text_free(&l->text);
	l->text = cut;
}

/* The source line with its number, and the caret below. */
static void
add_source(struct vq_text *t, const struct vq_range *at, const struct paint *p)
{
	struct shown l = { 0 };
	const char *s;
	size_t len;
	int end_col = at->end_line > at->line ? -1 : at->end_col;

	if (!at->source || at->col < 1 || !find_line(at->source, at->line, &s, &len))
		return;
	show_line(&l, s, len, at->col, end_col);
	shorten(&l);
	vq_text_add(t, "%5d | %s\n", at->line, l.text.s);
	vq_text_add(t, "      | %*s%s^", l.from, "", p->caret);
	for (int i = l.from + 1; i < l.to; i++)
		vq_text_put(t, "~", 1);
	vq_text_add(t, "%s\n", p->off);
	vq_text_free(&l.text);
}

static void
add_extra(struct vq_text *t, const struct vq_diag_line *line, const struct paint *p)
{
	static const char *const label[] = { [VQ_DETAIL] = "      ", [VQ_HELP] = "help: ", [VQ_NOTE] = "note: " };
	struct vq_text text = { 0 };
	const struct vq_range *at = &line->at;
	int columns;

	vq_text_add(t, "%s%s%s", line->kind == VQ_DETAIL ? "" : p->label, label[line->kind],
	    line->kind == VQ_DETAIL ? "" : p->off);
	add_message(&text, line->text);
	vq_text_put(t, text.s ? text.s : "", text.len);
	if (at->source) {
		columns = 6 + vq_utf8_columns(text.s ? text.s : "");
		vq_text_add(t, "%*s[", columns + 2 < REFERENCE ? REFERENCE - columns : 2, "");
		add_message(t, at->source->name);
		if (at->line > 0)
			vq_text_add(t, ":%d", at->line);
		vq_text_add(t, "]");
	}
	vq_text_add(t, "\n");
	vq_text_free(&text);
}

static void
add_diag(struct vq_text *t, const struct vq_diag *e, const struct paint *p)
{
	const struct vq_range *at = &e->at;

	if (at->source) {
		vq_text_add(t, "%s", p->place);
		add_message(t, at->source->name);
		if (at->line > 0)
			vq_text_add(t, ":%d", at->line);
		if (at->line > 0 && at->col > 0)
			vq_text_add(t, ":%d", at->col);
		vq_text_add(t, ": %s", p->off);
	}
	vq_text_add(t, "%serror: %s%s", p->error, p->off, p->place);
	add_message(t, e->message);
	vq_text_add(t, "%s\n", p->off);
	add_source(t, at, p);
	for (int i = 0; i < e->lines; i++)
		add_extra(t, &e->line[i], p);
}

void
vq_diags_print(const struct vq_diags *d, FILE *to, bool color)
{
	struct vq_text t = { 0 };

	for (int i = 0; i < d->count; i++) {
		vq_text_add(&t, "%s", i ? "\n" : "");
		add_diag(&t, d->diag[i], color ? &bright : &plain);
	}
	if (d->total > d->count)
		vq_text_add(&t, "\nand %d more error%s\n", d->total - d->count,
		    d->total - d->count == 1 ? "" : "s");
	if (t.len)
		fwrite(t.s, 1, t.len, to);
	vq_text_free(&t);
}
