/*
 * picture_lists -- pictures that a text file names, a line each
 *
 * A line is a path, relative to the list, and what the picture's label is, where there is one: the name
 * of a class, its number, or several numbers.  In .csv files commas stand between (a line of
 * headings may come first), in .tsv files tabs; in .txt files a path ends with its .jpg, .jpeg or .png, so it may
 * hold blanks.  Names are numbered in the order of their bytes, over this list and those of the
 * other splits beside it, so that a class has the same number in each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "datasets/picture_layout.h"

static const char *const words[] = { "train", "test", "val", "valid", "validation" };
static const char *const endings[] = { ".txt", ".csv", ".tsv" };

enum { PATH_MOST = 4096, CLASSES_MOST = 1 << 20 };
enum kind { UNKNOWN, WITHOUT, NUMBERS, NAMES };

/* What is known of the labels after some lines. */
struct reading {
	struct vq_lister *s;
	enum kind kind;
	int64_t width;			/* NUMBERS: in a line */
	int64_t first;			/* the line that said so */
	int32_t most;			/* the largest number */
	int64_t row_cap, rows;
};

/* --- lines ------------------------------------------------------------------- */

/* Cuts a field off at a comma, quotes taken off ("" in them is one); what comes behind. */
static char *
cut_quoted(char *at, char **field)
{
	char *to = at + 1;

	*field = to;
	for (at++; *at != '\0' && (at[0] != '"' || at[1] == '"'); at++) {
		at += *at == '"';
		*to++ = *at;
	}
	while (*at != '\0' && *at != ',')
		at++;

	char *next = *at != '\0' ? at + 1 : NULL;

	*to = '\0';
	return next;
}

static void
cut_fields(struct vq_line *s, const char *separators)
{
	char *at = s->copy.s;

	for (s->fields = 0; at != NULL && s->fields < (int)VQ_COUNT(s->field);) {
		if (separators == NULL)
			at += strspn(at, " \t");
		if (separators == NULL && *at == '\0')
			break;
		if (separators != NULL && *at == '"' && strcmp(separators, ",") == 0) {
			at = cut_quoted(at, &s->field[s->fields++]);
			continue;
		}
		s->field[s->fields++] = at;
		at += strcspn(at, separators != NULL ? separators : " \t");
		if (*at != '\0')
			*at++ = '\0';
		else
			at = NULL;
	}
}

bool
vq_line_next(struct vq_line *s, const char *separators)
{
	while (s->n > 0) {
		const char *end = memchr(s->text, '\n', s->n), *from = s->text;
		size_t len = end != NULL ? (size_t)(end - from) : s->n;

		s->n -= end != NULL ? len + 1 : len;
		s->text += end != NULL ? len + 1 : len;
		if (s->line++ == 0 && len >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0)
			from += 3, len -= 3;
		while (len > 0 && strchr(" \t\r", from[len - 1]) != NULL && from[len - 1] != '\0')
			len--;
		s->copy.len = 0;
		vq_text_put(&s->copy, from, len);
		if (len == 0 || from[0] == '#')
			continue;
		s->binary = memchr(from, '\0', len) != NULL;
		cut_fields(s, separators);
		return true;
	}
	return false;
}

void
vq_line_free(struct vq_line *s)
{
	vq_text_free(&s->copy);
}

bool
vq_line_number(const char *field, int32_t *value)
{
	char *end;
	long x;

	errno = 0;
	x = strtol(field, &end, 10);
	if (end == field || end[strspn(end, " ")] != '\0' || errno != 0 || x < INT32_MIN || x > INT32_MAX)
		return false;
	*value = (int32_t)x;
	return true;
}

bool
vq_named_list(const char *path)
{
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot != NULL && i < VQ_COUNT(endings); i++)
		if (strcasecmp(dot, endings[i]) == 0)
			return true;
	return false;
}

/* Where the path at the beginning of a line of a .txt ends: behind the last ending of a picture, or else the
 * first word. */
static size_t
path_length(const char *line)
{
	static const char *const pictures[] = { ".jpg", ".jpeg", ".png" };
	size_t found = 0;

	for (const char *dot = strchr(line, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
		for (size_t i = 0; i < VQ_COUNT(pictures); i++) {
			size_t n = strlen(pictures[i]);

			if (strncasecmp(dot, pictures[i], n) == 0 && strchr(" \t,", dot[n]) != NULL)
				found = (size_t)(dot - line) + n;
		}
	return found > 0 ? found : strcspn(line, " \t,");
}

/* --- labels ------------------------------------------------------------------ */

/* n: how many numbers are in that line, where it has numbers. */
static int
differs(struct reading *r, int list, const struct vq_line *at, enum kind is, int n)
{
	char what[64], before[64];

	snprintf(what, sizeof(what), is == WITHOUT ? "there is no label" : is == NAMES ? "the label is no number" :
	    n > 1 ? "there are %d numbers" : "there is one label", n);
	snprintf(before, sizeof(before), r->kind == WITHOUT ? "has none" : r->kind == NAMES ? "has the name of a class" :
	    r->width > 1 ? "has %lld numbers" : "has a number", (long long)r->width);
	return vq_lister_refuse(r->s, list, at->line, "%s, where %s:%lld %s", what, r->s->l->list[0], (long long)r->first,
	    before);
}

static int32_t *
new_row(struct reading *r)
{
	struct vq_picture_files *l = r->s->l;

	if (r->rows == r->row_cap) {
		r->row_cap = r->row_cap > 0 ? 2 * r->row_cap : 256;
		l->row = vq_realloc_array(l->row, (size_t)r->row_cap, (size_t)r->width * sizeof(*l->row));
	}
	return l->row + r->rows++ * r->width;
}

/* The numbers of a line: a class, or the number of a row.  -1 after an error. */
static int
take_numbers(struct reading *r, int list, const struct vq_line *at, char *const *field, int n, bool add)
{
	int32_t one, *value = n == 1 ? &one : add ? new_row(r) : NULL, unused;

	for (int i = 0; i < n; i++) {
		int32_t *to = value != NULL ? value + i : &unused;

		if (!vq_line_number(field[i], to))
			return vq_lister_refuse(r->s, list, at->line, "the label '%s' is no whole number of 32 bits",
			    field[i]);
		if (n == 1 && (*to < 0 || *to >= CLASSES_MOST))
			return vq_lister_refuse(r->s, list, at->line, "the class %d is not of 0 to %d", *to,
			    CLASSES_MOST - 1);
		if (n == 1 && *to > r->most)
			r->most = *to;
	}
	return n == 1 ? one : (int)(r->rows - 1);
}

/* What stands behind the path of a line; -1 after an error. */
static int
take_label(struct reading *r, int list, const struct vq_line *at, char *const *field, int n, bool add)
{
	int32_t number;
	enum kind is;

	n -= n == 1 && field[0][0] == '\0';
	is = n == 0 ? WITHOUT : NUMBERS;
	if (n == 1 && (r->kind == NAMES || !vq_line_number(field[0], &number)))
		is = NAMES;
	if (r->kind == UNKNOWN) {
		r->kind = is;
		r->width = n;
		r->first = at->line;
	}
	if (is != r->kind || (is == NUMBERS && n != r->width))
		return differs(r, list, at, is, n);
	if (is == WITHOUT)
		return 0;
	if (is == NUMBERS)
		return take_numbers(r, list, at, field, n, add);
	return vq_lister_class(r->s, field[0], strlen(field[0]), false);
}

/* --- a list ------------------------------------------------------------------ */

/* Fields of a line of a .txt: the path, then numbers, or a name with whatever blanks it holds. */
static void
cut_txt(struct vq_line *at)
{
	char *line = at->copy.s, *rest = line + path_length(line);
	int32_t number;

	at->fields = 1;
	at->field[0] = line;
	if (*rest != '\0')
		*rest++ = '\0';
	rest += strspn(rest, " \t,");
	if (*rest == '\0')
		return;

	/* As numbers, if all of them are. */
	char *copy = vq_strdup(rest), *next = copy;
	bool numbers = true;
	int n = 0;

	for (char *word; (word = strsep(&next, " \t,")) != NULL;)
		if (*word != '\0') {
			numbers &= vq_line_number(word, &number);
			n++;
		}
	free(copy);
	at->field[at->fields++] = rest;
	if (!numbers || n < 2 || n >= (int)VQ_COUNT(at->field))
		return;
	at->fields = 1;
	for (char *word; (word = strsep(&rest, " \t,")) != NULL;)
		if (*word != '\0')
			at->field[at->fields++] = word;
}

/* add: the pictures count, not only the classes that are named. */
static int
read_list(struct reading *r, const char *name, bool add)
{
	const char *dot = strrchr(name, '.');
	const char *separators = strcasecmp(dot, ".csv") == 0 ? "," : strcasecmp(dot, ".tsv") == 0 ? "\t" : NULL;
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(r->s, name, &text, &at.n), rc = 0;

	if (list < 0)
		return -1;
	at.text = text;
	while (rc == 0 && vq_line_next(&at, separators != NULL ? separators : "\n")) {
		const char *path;
		int label;

		if (separators == NULL)
			cut_txt(&at);
		path = at.field[0];
		while (path[0] == '.' && path[1] == '/')
			path += 2;
		if (separators != NULL && at.line == 1 && strchr(path, '.') == NULL)
			continue;
		if (at.binary || path[0] == '\0' || strlen(path) >= PATH_MOST) {
			rc = vq_lister_refuse(r->s, list, at.line, "%s", at.binary ? "this is no text" : path[0] == '\0' ?
			    "there is no path" : "the path is too long");
			break;
		}
		/* Another split's list may do without. */
		if (!add && at.fields < 2)
			continue;
		label = take_label(r, list, &at, at.field + 1, at.fields - 1, add);
		if (label < 0 || (add && vq_lister_add_listed(r->s, path, label, list, at.line) == NULL))
			rc = -1;
	}
	if (rc == 0 && add && r->s->l->count == 0)
		rc = vq_lister_refuse(r->s, list, 0, "names no pictures");
	vq_line_free(&at);
	free(text);
	return rc;
}

/* Where the name of a split stands in the name of a list, as a word: its length, or 0. */
static size_t
find_word(const char *name, const char **at)
{
	size_t found = 0;

	for (const char *p = name; *p != '\0'; p++)
		for (size_t i = 0; i < VQ_COUNT(words); i++) {
			size_t n = strlen(words[i]);
			bool begins = p == name || strchr("_-./", p[-1]) != NULL;

			if (begins && strncmp(p, words[i], n) == 0 && strchr("_-.", p[n]) != NULL && p[n] != '\0') {
				*at = p;
				found = n;
			}
		}
	return found;
}

/* The classes that the lists of other splits name. */
static int
read_others(struct reading *r, const char *name)
{
	const char *at = NULL;
	size_t n = find_word(name, &at);
	int rc = 0;

	for (size_t i = 0; n > 0 && i < VQ_COUNT(words) && rc == 0; i++) {
		char *other = vq_asprintf("%.*s%s%s", (int)(at - name), name, words[i], at + n);

		if (strcmp(other, name) != 0 && vq_folder_has(r->s->folder, other))
			rc = read_list(r, other, false);
		free(other);
	}
	return rc;
}

int
vq_lister_file(struct vq_lister *s, const char *name)
{
	struct reading r = { .s = s, .most = -1 };
	struct vq_picture_files *l = s->l;

	s->ordered = true;
	if (read_list(&r, name, true) < 0 || (r.kind != WITHOUT && read_others(&r, name) < 0))
		return -1;
	if (r.kind == WITHOUT) {
		l->label_width = VQ_LABEL_NONE;
		l->absent = vq_arena_printf(&l->arena, "label behind the paths in %s", l->list[0]);
	} else if (r.kind == NUMBERS) {
		l->label_width = r.width > 1 ? r.width : VQ_LABEL_CLASS;
		l->classes = r.width > 1 ? 0 : r.most + 1;
	}
	return 0;
}

/* --- lists in a folder ------------------------------------------------------- */

/* The list of a split, for free(); or NULL. */
static char *
list_of(const struct vq_folder *f, const char *split)
{
	for (const char *const *n = vq_split_names(split); *n != NULL; n++)
		for (size_t i = 0; i < VQ_COUNT(endings); i++) {
			char *name = vq_asprintf("%s%s", *n, endings[i]);

			if (vq_folder_has(f, name))
				return name;
			free(name);
		}
	return NULL;
}

static bool
lists_has(const struct vq_folder *f, const char *split)
{
	char *name = list_of(f, split);

	free(name);
	return name != NULL;
}

static bool
lists_fits(const struct vq_folder *f)
{
	return lists_has(f, "train") || lists_has(f, "test") || lists_has(f, "val");
}

static int
lists_list(struct vq_lister *s)
{
	char *name = list_of(s->folder, s->split);
	int rc = vq_lister_file(s, name);

	free(name);
	return rc;
}

const struct vq_layout vq_layout_lists = {
	.doc  = "train.txt, test.txt and val.txt (or .csv), which name the pictures",
	.fits = lists_fits,
	.has  = lists_has,
	.list = lists_list,
};
