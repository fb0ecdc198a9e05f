/*
 * log -- metrics.jsonl, a row at a time, and metrics.csv made of it
 *
 * A process that is killed may leave half a row at the end: it is passed over
 * when rows are read, and the next row begins on a line of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/file.h"
#include "engine/log_private.h"

static const size_t metrics_most = (size_t)1 << 30;

static const char *const fixed[] = {
	"stage", "split", "step", "epoch", "time_s", "samples_per_s", "lr", "data_wait"
};

static bool
is_fixed(const char *name)
{
	for (size_t i = 0; i < VQ_COUNT(fixed); i++)
		if (strcmp(fixed[i], name) == 0)
			return true;
	return false;
}

const char *
vq_number(double x, char buf[VQ_NUMBER])
{
	bool is_float = (double)(float)x == x;

	buf[0] = '\0';
	if (!isfinite(x))
		return buf;
	/* %g drops zeros at the end, so what needs fewer digits has them at the first try. */
	for (int digits = 6; digits <= 17; digits = is_float || digits >= 15 ? digits + 1 : 15) {
		snprintf(buf, VQ_NUMBER, "%.*g", digits, x);
		if (is_float ? strtof(buf, NULL) == (float)x : strtod(buf, NULL) == x)
			break;
	}
	return buf;
}

/* --- writing rows ---------------------------------------------------------- */

static void
put_string(struct vq_text *t, const char *s)
{
	json_t *value = json_string(s);
	char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

	vq_text_add(t, "%s", text ? text : "\"?\"");
	free(text);
	json_decref(value);
}

static void
put_number(struct vq_text *t, const char *key, double x)
{
	char buf[VQ_NUMBER];

	vq_text_add(t, ", ");
	put_string(t, key);
	vq_text_add(t, ": %s", isfinite(x) ? vq_number(x, buf) : "null");
}

/* A reported value never hides what every row has. */
static void
put_row(struct vq_text *t, const struct vq_metrics *m)
{
	vq_text_add(t, "{\"stage\": ");
	put_string(t, m->stage);
	vq_text_add(t, ", \"split\": ");
	put_string(t, m->split);
	vq_text_add(t, ", \"step\": %lld", (long long)m->step);
	put_number(t, "epoch", m->epoch);
	put_number(t, "time_s", m->time_s);
	put_number(t, "samples_per_s", m->samples_per_s);
	put_number(t, "lr", m->lr);
	put_number(t, "data_wait", m->data_wait);
	for (int i = 0; i < m->n; i++) {
		char *key = vq_asprintf("%s%s", is_fixed(m->name[i]) ? "value." : "", m->name[i]);

		put_number(t, key, m->value[i]);
		free(key);
	}
	vq_text_add(t, "}\n");
}

static int
failed(struct vq_diags *d, const char *path, int reason)
{
	vq_error(d, VQ_FAILED, NULL, "cannot write %s: %s", path, strerror(reason));
	return -1;
}

static int
open_metrics(struct vq_run *r, const char *path, struct vq_diags *d)
{
	struct stat st;
	char last = '\n';

	r->metrics = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (r->metrics < 0)
		return failed(d, path, errno);
	if (fstat(r->metrics, &st) == 0 && st.st_size > 0 && pread(r->metrics, &last, 1, st.st_size - 1) == 1)
		r->torn = last != '\n';
	return 0;
}

/* In one write, so that rows are whole as long as the disk takes them. */
static int
append(struct vq_run *r, const struct vq_text *t)
{
	size_t done = 0;

	while (done < t->len) {
		ssize_t k = write(r->metrics, t->s + done, t->len - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			r->torn = done > 0;
			return k < 0 ? errno : EIO;
		}
		done += (size_t)k;
	}
	r->torn = false;
	return 0;
}

int
vq_run_metrics(struct vq_run *r, const struct vq_metrics *m, struct vq_diags *d)
{
	char *path = vq_run_path(r, "metrics.jsonl");
	struct vq_text t = { 0 };
	int rc = r->metrics < 0 ? open_metrics(r, path, d) : 0;

	if (rc == 0) {
		if (r->torn)
			vq_text_put(&t, "\n", 1);
		put_row(&t, m);
		int reason = append(r, &t);
		if (reason)
			rc = failed(d, path, reason);
	}
	vq_text_free(&t);
	free(path);
	return rc == 0 ? vq_board_row(r, m, d) : rc;
}

/* --- reading rows ---------------------------------------------------------- */

static int
column_of(struct vq_rows *rows, const char *name)
{
	int i = vq_names_get(&rows->index, name);

	if (i >= 0)
		return i;
	vq_grow(rows->column, rows->columns, rows->column_cap);
	rows->column[rows->columns] = vq_arena_strdup(&rows->arena, name);
	vq_names_put(&rows->index, rows->column[rows->columns], rows->columns);
	return rows->columns++;
}

static double
number(const json_t *o, const char *key)
{
	const json_t *x = json_object_get(o, key);

	return json_is_number(x) ? json_number_value(x) : (double)NAN;
}

double
vq_row_value(const struct vq_row *row, int column)
{
	return column < row->values ? row->value[column] : (double)NAN;
}

static void
read_values(struct vq_rows *rows, struct vq_row *row, json_t *o)
{
	const char *key;
	json_t *x;

	/* Columns first: the row is as wide as the table is then. */
	json_object_foreach(o, key, x)
		if (!is_fixed(key) && (json_is_number(x) || json_is_null(x)))
			column_of(rows, key);
	row->values = rows->columns;
	row->value = vq_arena_alloc(&rows->arena, (size_t)rows->columns * sizeof(*row->value));
	for (int i = 0; i < row->values; i++)
		row->value[i] = (double)NAN;
	json_object_foreach(o, key, x)
		if (!is_fixed(key) && json_is_number(x))
			row->value[column_of(rows, key)] = json_number_value(x);
}

/* False when the line is no row. */
static bool
read_row(struct vq_rows *rows, const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *stage = json_string_value(json_object_get(o, "stage"));
	const char *split = json_string_value(json_object_get(o, "split"));
	const json_t *step = json_object_get(o, "step");
	bool is = stage && split && json_is_integer(step);

	if (is) {
		struct vq_row row = {
			.stage = vq_arena_strdup(&rows->arena, stage), .split = vq_arena_strdup(&rows->arena, split),
			.step = json_integer_value(step), .epoch = number(o, "epoch"), .time_s = number(o, "time_s"),
			.samples_per_s = number(o, "samples_per_s"), .lr = number(o, "lr"),
			.data_wait = number(o, "data_wait"),
		};
		read_values(rows, &row, o);
		vq_grow(rows->row, rows->count, rows->cap);
		rows->row[rows->count++] = row;
	}
	json_decref(o);
	return is;
}

/* The whole file; empty when there is none.  NULL after an error. */
static char *
read_metrics(const struct vq_run *r, size_t *n, struct vq_diags *d)
{
	char *path = vq_run_path(r, "metrics.jsonl"), *text;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		*n = 0;
		text = vq_strdup("");
	} else {
		text = vq_file_read(path, metrics_most, n, VQ_FAILED, d);
	}
	free(path);
	return text;
}

/* The length of the line at s, without its end. */
static size_t
line_length(const char *s, const char *end)
{
	const char *nl = memchr(s, '\n', (size_t)(end - s));

	return (size_t)((nl ? nl : end) - s);
}

int
vq_rows_read(const struct vq_run *r, struct vq_rows *rows, struct vq_diags *d)
{
	size_t n;
	char *text = read_metrics(r, &n, d);

	*rows = (struct vq_rows){ 0 };
	if (text == NULL)
		return -1;
	for (const char *s = text, *end = text + n; s < end; s += line_length(s, end) + 1)
		read_row(rows, s, line_length(s, end));
	free(text);
	return 0;
}

void
vq_rows_free(struct vq_rows *rows)
{
	vq_names_free(&rows->index);
	vq_arena_free(&rows->arena);
	free(rows->column);
	free(rows->row);
	*rows = (struct vq_rows){ 0 };
}

/* --- going back ------------------------------------------------------------ */

/* Whether training from (stage, step) on will not write this row again. */
static bool
stays(const struct vq_row *row, const char *const *stages, int nstages, int stage, int64_t step)
{
	for (int i = 0; i < nstages && i <= stage; i++)
		if (strcmp(stages[i], row->stage) == 0)
			return i < stage || row->step <= step;
	return false;
}

int
vq_run_rewind(struct vq_run *r, const char *const *stages, int nstages, int stage, int64_t step,
    struct vq_diags *d)
{
	char *path = vq_run_path(r, "metrics.jsonl");
	struct vq_text kept = { 0 };
	struct vq_rows rows = { 0 };
	size_t n;
	char *text = read_metrics(r, &n, d);
	int rc = -1;

	for (const char *s = text, *end = text + n; text && s < end; s += line_length(s, end) + 1) {
		size_t length = line_length(s, end);

		if (read_row(&rows, s, length) && stays(&rows.row[rows.count - 1], stages, nstages, stage, step)) {
			vq_text_put(&kept, s, length);
			vq_text_put(&kept, "\n", 1);
		}
	}
	if (text)
		rc = vq_file_write(path, kept.s ? kept.s : "", kept.len, d);
	/* The file that is open now has no name any more. */
	if (r->metrics >= 0)
		close(r->metrics);
	r->metrics = -1;
	r->torn = false;
	vq_rows_free(&rows);
	vq_text_free(&kept);
	free(text);
	free(path);
	return rc == 0 ? vq_board_rewind(r, stages, nstages, stage, step, d) : rc;
}

/* --- metrics.csv ----------------------------------------------------------- */

/* In quotes where the text needs them (RFC 4180). */
static void
csv_text(struct vq_text *t, const char *s)
{
	if (s[strcspn(s, "\",\r\n")] == '\0') {
		vq_text_add(t, "%s", s);
		return;
	}
	vq_text_add(t, "\"");
	for (; *s; s++)
		vq_text_put(t, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
	vq_text_add(t, "\"");
}

/* As many digits as a float has: the file is for spreadsheets. */
static void
csv_number(struct vq_text *t, double x)
{
	vq_text_add(t, isfinite(x) ? ",%.9g" : ",", x);
}

static int
write_csv(const struct vq_run *r, const struct vq_rows *rows, struct vq_diags *d)
{
	char *path = vq_run_path(r, "metrics.csv");
	struct vq_text t = { 0 };
	int rc;

	for (size_t i = 0; i < VQ_COUNT(fixed); i++)
		vq_text_add(&t, "%s%s", i ? "," : "", fixed[i]);
	for (int i = 0; i < rows->columns; i++) {
		vq_text_add(&t, ",");
		csv_text(&t, rows->column[i]);
	}
	vq_text_add(&t, "\n");
	for (int k = 0; k < rows->count; k++) {
		const struct vq_row *row = &rows->row[k];

		csv_text(&t, row->stage);
		vq_text_add(&t, ",");
		csv_text(&t, row->split);
		vq_text_add(&t, ",%lld", (long long)row->step);
		csv_number(&t, row->epoch);
		csv_number(&t, row->time_s);
		csv_number(&t, row->samples_per_s);
		csv_number(&t, row->lr);
		csv_number(&t, row->data_wait);
		for (int i = 0; i < rows->columns; i++)
			csv_number(&t, vq_row_value(row, i));
		vq_text_add(&t, "\n");
	}
	rc = vq_file_write(path, t.s, t.len, d);
	vq_text_free(&t);
	free(path);
	return rc;
}

int
vq_run_plot(struct vq_run *r, struct vq_diags *d)
{
	struct vq_rows rows;
	int rc = vq_rows_read(r, &rows, d);

	if (rc == 0 && rows.count > 0)
		rc = write_csv(r, &rows, d) < 0 || vq_rows_plot(r, &rows, d) < 0 ? -1 : 0;
	vq_rows_free(&rows);
	return rc;
}
