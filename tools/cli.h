/*
 * cli -- the command line: one table per command, from which parsing, --help,
 * the completion script and the manual page are made
 *
 * A command is a file with one const struct vq_command at its end, named in
 * tools/commands.h.  tools/README.md walks through a first one.
 */
#ifndef VQ_TOOLS_CLI_H
#define VQ_TOOLS_CLI_H

#include <stdio.h>

#include "engine/diag.h"
#include "engine/model.h"

enum vq_opt_kind {
	VQ_O_FLAG,		/* bool */
	VQ_O_INT,		/* int64_t */
	VQ_O_REAL,		/* double */
	VQ_O_STRING,		/* const char * */
	VQ_O_ENUM,		/* int, an index of choices */
	VQ_O_DURATION,		/* double, seconds: 90, 30m, 1h30m, 2.5d */
	VQ_O_LIST,		/* struct vq_strings; may be given again */
	VQ_O_MAYBE,		/* struct vq_maybe; the value may be left out */
};

struct vq_strings {
	const char **s;
	int count, cap;
};
struct vq_maybe {
	bool given;
	const char *value;	/* NULL: given without one */
};

struct vq_opt {
	const char *name;		/* without dashes; NULL ends a table */
	char letter;			/* 0: none */
	enum vq_opt_kind kind;
	size_t offset;			/* into the command's options */
	const char *value;		/* in help: "N", "FILE", "NAME=FILE" */
	double min, max;		/* INT, REAL, inclusive; both 0: no bounds */
	const char *const *choices;	/* ENUM, NULL-terminated */
	bool required;
	const char *doc;		/* one phrase, no full stop */
	const char *const *also;	/* what people type instead: answered, not accepted */
};

enum vq_command_uses {
	VQ_C_MODEL = 1,			/* takes path=value after the file, and --set */
	VQ_C_THREADS = 2,		/* computes: -t */
	VQ_C_JSON = 4,			/* --json */
	VQ_C_PIPE = 8,			/* must outlive a reader of its output that went away */
};

struct vq_cli;

struct vq_command {
	const char *name;
	const char *args;		/* "FILE [path=value ...]"; NULL: none */
	const char *doc;		/* one phrase, as in the list of commands */
	const char *about;		/* paragraphs for --help; NULL: none */
	const char *const *examples;	/* command, what it does, command, ..., NULL */
	int min_args, max_args;
	unsigned uses;
	const struct vq_opt *opts;
	const void *defaults;		/* first values of the options; NULL: zero */
	size_t size;
	const char *const *also;	/* names people type instead */
	int (*run)(struct vq_cli *c, void *options);	/* exit code; errors go to c->d */
};

/* One invocation, parsed. */
struct vq_cli {
	const struct vq_command *command;
	struct vq_diags d;
	struct vq_source source;	/* "vqgraph eval", as the place of usage errors */
	struct vq_range at;
	struct vq_arena arena;
	char **arg;			/* positional */
	int args;
	struct vq_override *set;
	int sets;
	struct vq_strings set_option;
	const char **given;		/* long names of the options that were given */
	int givens, given_cap;
	int color;			/* enum vq_color */
	int64_t threads;
	bool json, quiet, verbose, help;
	bool color_out, color_err;
	const char *line;		/* the whole command line, quoted where a shell needs it */
	struct vq_model *model;		/* what vq_tool_model loaded: errors point into its text */
};

enum vq_color { VQ_COLOR_AUTO, VQ_COLOR_ALWAYS, VQ_COLOR_NEVER };

/* All commands, NULL-terminated, in the order of help; NULL when unknown. */
const struct vq_command *const *vq_commands(void);
const struct vq_command *vq_command_find(const char *name);
/* The options every command takes, those of its `uses` among them, end with a NULL name. */
int vq_cli_common(const struct vq_command *cmd, struct vq_opt *out, int max);

/*
 * Parses argv[2..] into c and options (of cmd->size, defaults set already).
 * Reports into c->d, and says what is near.  Returns 0 or -1.
 */
int vq_cli_parse(struct vq_cli *c, const struct vq_command *cmd, int argc, char **argv, void *options);
void vq_cli_free(struct vq_cli *c, const struct vq_command *cmd, void *options);
bool vq_cli_given(const struct vq_cli *c, const char *name);
/* A mistake on the command line; help about --help is added. */
struct vq_diag *vq_usage_error(struct vq_cli *c, const char *fmt, ...) VQ_PRINTF(2, 3);
/* One line for people on standard error; not with -q. */
void vq_notice(const struct vq_cli *c, const char *fmt, ...) VQ_PRINTF(2, 3);
/* Whether output to this stream is coloured under auto. */
bool vq_color_for(enum vq_color c, FILE *to);
/* Sets an option's field from text; -1 after an error.  value is NULL for a flag, and
 * for VQ_O_MAYBE without one. */
int vq_opt_set(struct vq_cli *c, const struct vq_opt *o, void *into, const char *value);
/* "30m", "1h30m", "45": seconds; false when it is none. */
bool vq_duration_parse(const char *s, double *seconds);

/* --- help, completion, manual -------------------------------------------- */

extern const char vq_program_doc[];
void vq_help_program(FILE *to);
void vq_help_command(const struct vq_command *cmd, FILE *to);
/* "-t, --threads N" */
void vq_opt_label(const struct vq_opt *o, struct vq_text *out);
/* Adds text wrapped at the width, each line after the first indented. */
void vq_wrap(struct vq_text *out, const char *text, int indent, int width);

#endif
