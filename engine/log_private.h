/*
 * log -- what the files of log share
 */
#ifndef VQ_ENGINE_LOG_PRIVATE_H
#define VQ_ENGINE_LOG_PRIVATE_H

#include "engine/log.h"

struct vq_run {
	char *dir;
	int log;			/* log.txt, locked: one process works in a run */
	int metrics;			/* metrics.jsonl, -1 until the first row */
	bool torn;			/* its last line was never finished */

	/* standard error */
	enum vq_progress_mode mode;
	bool terminal, color, quiet;
	bool drawn;			/* the cursor stands behind a bar */
	double last;			/* vq_now() of the last bar or line, 0: none */
};

/* Rows of metrics.jsonl: a value of each column, NAN where it has none. */
struct vq_rows {
	struct vq_arena arena;
	const char **column;		/* metrics in order of first appearance */
	int columns, column_cap;
	struct vq_names index;
	struct vq_row {
		const char *stage, *split;
		int64_t step;
		double epoch, time_s, samples_per_s, lr, data_wait;
		double *value;		/* the first `values` columns */
		int values;
	} *row;
	int count, cap;
};
/* A file that is missing has no rows.  A line that is no row is passed over. */
int vq_rows_read(const struct vq_run *r, struct vq_rows *rows, struct vq_diags *d);
double vq_row_value(const struct vq_row *row, int column);
void vq_rows_free(struct vq_rows *rows);

/* plots/<stage>-<metric>.svg of everything that has a curve. */
int vq_rows_plot(struct vq_run *r, const struct vq_rows *rows, struct vq_diags *d);

/* "a-b" as the name of a file: what is not safe in one becomes '_'.  For free(). */
char *vq_plain_name(const char *a, const char *b);
/* The row for TensorBoard; and dropping what vq_run_rewind drops. */
int vq_board_row(const struct vq_run *r, const struct vq_metrics *m, struct vq_diags *d);
int vq_board_rewind(const struct vq_run *r, const char *const *stages, int nstages, int stage, int64_t step,
    struct vq_diags *d);

/* The shortest text that reads back as x (as a float when it is one); "" when
 * x is not finite. */
enum { VQ_NUMBER = 32 };
const char *vq_number(double x, char buf[VQ_NUMBER]);

/* "2026-03-01T12:00:00+0100" */
enum { VQ_TIME = 32 };
const char *vq_time_text(char buf[VQ_TIME]);

/* Makes env.json. */
int vq_env_create(const struct vq_run *r, const struct vq_run_info *info, struct vq_diags *d);

/* A line to log.txt, with the time in front. */
void vq_log_line(struct vq_run *r, const char *line);
/* A line to standard error; the bar is cleared first. */
void vq_progress_say(struct vq_run *r, const char *line);
void vq_progress_clear(struct vq_run *r);

#endif
