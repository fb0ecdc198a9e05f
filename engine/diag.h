/*
 * diag -- what is wrong with the input, where, and the way out
 *
 * Every reader and pass reports into a struct vq_diags and goes on where it
 * can, so that a file's errors come out together (the first VQ_DIAGS_MAX).
 * A function that reported returns -1 (or NULL, or VQ_NONE), nothing else.
 */
#ifndef VQ_ENGINE_DIAG_H
#define VQ_ENGINE_DIAG_H

#include <stdio.h>

#include "engine/base.h"

/* Exit codes of the program; also what kind of error a diagnostic is. */
enum vq_status {
	VQ_OK = 0,
	VQ_FAILED = 1,		/* failed while running: disk full, ... */
	VQ_USAGE = 2,		/* the command line */
	VQ_CONFIG = 3,		/* the YAML or an override */
	VQ_DATA = 4,		/* data missing or corrupt */
	VQ_CHECKPOINT = 5,	/* does not fit, or is corrupt */
	VQ_NOT_FINITE = 6,	/* the loss */
};

/* A text that ranges point into.  Diagnostics copy it: they may outlive it. */
struct vq_source {
	const char *name;	/* as shown: a path, or "command line" */
	const char *text;	/* whole text, or NULL when there is none to show */
	size_t len;
};

/* Lines and columns count from 1, in characters; end is one past the last.
 * line 0: the source as a whole. */
struct vq_range {
	const struct vq_source *source;		/* NULL: no place */
	int line, col, end_line, end_col;
};

struct vq_diag {
	enum vq_status status;
	struct vq_range at;
	char *message;
	struct vq_diag_line {
		enum { VQ_DETAIL, VQ_HELP, VQ_NOTE } kind;
		struct vq_range at;	/* shown in [] behind the line when set */
		char *text;
	} *line;
	int lines, cap;
	struct vq_kept *kept;		/* the copies of sources, shared by all of one vq_diags */
};

enum { VQ_DIAGS_MAX = 20 };

struct vq_diags {
	struct vq_diag *diag[VQ_DIAGS_MAX];
	int count;		/* kept */
	int total;		/* reported, those past the limit included */
	struct vq_kept *kept;
};

/*
 * Reports an error.  at may be NULL.  Returns the diagnostic, to which details,
 * help and notes can be added at once (the pointer is never NULL; past the
 * limit additions are dropped).  A second error at the same place with the
 * same message is not kept twice.
 */
struct vq_diag *vq_error(struct vq_diags *d, enum vq_status status,
    const struct vq_range *at, const char *fmt, ...) VQ_PRINTF(4, 5);
void vq_detail(struct vq_diag *e, const struct vq_range *at, const char *fmt, ...) VQ_PRINTF(3, 4);
void vq_help(struct vq_diag *e, const char *fmt, ...) VQ_PRINTF(2, 3);
void vq_note(struct vq_diag *e, const struct vq_range *at, const char *fmt, ...) VQ_PRINTF(3, 4);

/* Prints all of them as a compiler does: place, message, source line, caret,
 * lines; colour when asked.  Ends with a count of those not shown. */
void vq_diags_print(const struct vq_diags *d, FILE *to, bool color);
/* The status of the first error, VQ_OK when there is none. */
enum vq_status vq_diags_status(const struct vq_diags *d);
void vq_diags_free(struct vq_diags *d);
/* Appends what from holds, as if it had been reported to `to`, and empties from. */
void vq_diags_move(struct vq_diags *to, struct vq_diags *from);

/* "file:line:col" of a range, in buf; "" without a place. */
const char *vq_range_str(const struct vq_range *r, char *buf, size_t size);

#endif
