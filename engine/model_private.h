/*
 * model_private -- a model as its readers leave it and the expander finds it
 *
 * model_load.c   files, `use`
 * model_override.c  what the command line sets
 * model_read.c   declarations: let, args, in, params, state, out, modules, graphs
 * model_link.c   steps: every name in them found once and for all
 * model_callee.c what a step calls
 * model_scope.c  numbers: literals, $name, $(...)
 * model_stage.c  stages, for those who run them
 * expand*.c      bodies to nodes
 * model_print.c  the flattened model
 *
 * After a model is loaded nothing in it can be unknown or unresolved; what is
 * left to the expander is what depends on sizes.
 */
#ifndef VQ_ENGINE_MODEL_PRIVATE_H
#define VQ_ENGINE_MODEL_PRIVATE_H

#include "engine/expr.h"
#include "engine/model.h"
#include "engine/op.h"
#include "engine/suggest.h"

struct file;
struct body;

struct let {
	const char *name;
	const char *flat;			/* its name in the flattened model */
	struct vq_range at;
	const struct vq_tree *tree;
	struct file *file;
	enum { LET_NEW, LET_BUSY, LET_DONE } phase;
	struct vq_number value;
};

enum arg_type { ARG_INT, ARG_REAL, ARG_BOOL, ARG_INTS, ARG_OP, ARG_WORD, ARG_TYPES };
extern const char *const vq_arg_type_name[ARG_TYPES + 1];

struct arg {
	const char *name;
	struct vq_range at;
	enum arg_type type;
	const struct vq_tree *init;		/* NULL: required */
	const struct vq_tree *min, *max;	/* NULL: no bound */
	const struct vq_tree *also;		/* names people type instead, or NULL */
	const char *doc;
	bool used;
};

/* One axis of a pattern: a number that must stand there, a name to bind, or
 * `...` for any number of axes (`...rows` binds their product). */
struct dim {
	enum { DIM_NUMBER, DIM_NAME, DIM_REST } kind;
	struct vq_range at;
	int name;				/* DIM_NAME, DIM_REST: index in body->size, or VQ_NONE */
	const struct vq_tree *number;		/* DIM_NUMBER */
};

struct pattern {
	struct vq_range at;
	bool any;				/* no shape asked for */
	bool typed;
	enum vq_dtype dtype;
	int rank;				/* DIM_REST included */
	int rest;				/* where DIM_REST stands, or VQ_NONE */
	struct dim dim[VQ_MAX_RANK + 1];
};

struct port {
	const char *name;
	struct vq_range at;
	struct pattern pattern;
};

/* A name that patterns bind to a number. */
struct size {
	const char *name;
	struct vq_range at;
};

struct var {
	const char *name;
	struct vq_range at;
	enum vq_value_kind kind;		/* VQ_PARAM or VQ_STATE */
	enum vq_dtype dtype;
	const struct vq_tree *shape, *init;
	const struct vq_tree *cond;		/* there only if this holds; NULL: always */
	bool used;
};

/* Where a value of a step comes from. */
struct ref {
	enum { REF_NUMBER, REF_INPUT, REF_VAR, REF_STEP, REF_LEAF } kind;
	int index, out;
	const struct vq_tree *tree;
};

struct feed {
	int port;				/* ASSIGN: index in body->var */
	int count;				/* 1, but for a variadic op */
	struct ref *ref;
};

struct setting {
	int index;				/* in the op's params or the block's args */
	const struct vq_tree *value;
};

struct step {
	enum step_kind { STEP_OP, STEP_BLOCK, STEP_MODULE, STEP_ARG, STEP_ASSIGN, STEP_GRADIENT } kind;
	struct vq_range at;			/* of the callee's name */
	const char *callee;			/* as written */
	const char *part;			/* of the instance path: without alias */
	const struct vq_op *op;
	const struct body *block;		/* of a module: its block */
	const struct module *module;
	int arg;				/* STEP_ARG: index in body->arg */
	const char *as;				/* or NULL */
	struct vq_range as_at;
	const struct vq_tree *repeat, *cond, *recompute, *frozen;	/* or NULL */
	struct feed *feed;
	int feeds;
	struct setting *setting;
	int settings;
	int takes;				/* the port that takes the previous value, or VQ_NONE */
};

struct out {
	const char *name;
	struct vq_range at;
	struct ref ref;
};

/* A block or a graph. */
struct body {
	const char *name;
	const char *flat;			/* its name in the flattened model */
	const char *doc;
	struct file *file;
	const struct vq_tree *tree;
	const struct vq_tree *also;
	struct vq_range at;
	bool graph;
	struct arg *arg;
	int args;
	struct port *port;
	int ports;
	struct size *size;
	int sizes;
	struct var *var;
	int vars;
	const struct vq_tree *require;		/* condition: message; a map, empty for none */
	struct step *step;
	int steps;
	struct out *out;			/* none: the last value, as y */
	int outs;
	enum { BODY_NEW, BODY_BUSY, BODY_DONE } walk;	/* looking for recursion */
	bool owns;				/* it, or a block in it, has params or state */
	bool reached;				/* from a graph or a module */
};

struct module {
	const char *name;
	struct vq_range name_at;
	struct vq_range at;			/* of the block it names */
	struct file *file;
	const char *path;			/* in checkpoints: with the alias of its file */
	const struct body *block;
	const char *callee;			/* as written */
	const struct vq_tree *tree;		/* its args, or NULL */
	struct setting *setting;
	int settings;
};

struct use {
	struct file *file;
	const char *alias;			/* NULL: names are visible directly */
	struct vq_range at;
};

struct file {
	struct vq_model *model;
	const char *path;
	const char *via;			/* "vqvae.", where aliases alone lead here: overrides by
						 * that name are for this file; NULL elsewhere */
	const char *prefix;			/* "vqvae." */
	bool placed;				/* prefix is known */
	bool busy;				/* being read: a use of it is a cycle */
	const struct vq_tree *root;
	struct use *use;
	int uses;
	struct let *let;
	int lets;
	struct vq_names let_names;	/* to the index in let */
	struct body *block;
	int blocks;
	struct module *module;
	int modules;
	struct body *graph;
	int graphs;
	const struct vq_tree *stages;		/* or NULL */
};

struct vq_model {
	struct vq_arena *arena;			/* everything above */
	const char *path;
	const char *place;			/* where data is looked for, when not at path; or NULL */
	struct file **file;			/* file[0] is the main one */
	int files, file_cap;
	int errors_before;			/* in the diagnostics, when reading began */
	const struct vq_override *set;		/* while it is loaded */
	int nset;
	struct vq_base *base;
	int bases;
};

/* What a name is looked up in while a tree is read. */
struct scope {
	const struct vq_model *model;
	const struct file *file;
	const struct body *body;		/* NULL: a file's own */
	const struct vq_number *arg;		/* values of body->arg; NULL: not known yet */
	const int64_t *size;			/* values of body->size, -1: not known yet */
	int condition;				/* in an `if`: $train is known */
	bool train;
	bool check;				/* names are looked for, values are not wanted */
	int depth;				/* lets that refer to lets */
	struct vq_diags *diags;
};

/* --- model_scope.c -------------------------------------------------------- */

/* A scalar or a list of integers; -1 after errors, with out NONE. */
int vq_scope_value(struct scope *s, const struct vq_tree *t, struct vq_number *out);
/* The same, as what is wanted; `what` ("conv: out") starts the message. */
int vq_scope_int(struct scope *s, const struct vq_tree *t, const char *what, int64_t *out);
int vq_scope_real(struct scope *s, const struct vq_tree *t, const char *what, double *out);
int vq_scope_bool(struct scope *s, const struct vq_tree *t, const char *what, bool *out);
/* A number as an integer, or the reason why not. */
bool vq_number_int(const struct vq_number *n, int64_t *out, char why[VQ_WHY]);
int vq_let_eval(struct scope *s, const struct let *l, struct vq_number *out);
/* $name or $(...): something to evaluate. */
bool vq_is_expr(const struct vq_tree *t);
/* $name alone: the name, else NULL. */
const char *vq_dollar_name(const struct vq_tree *t);
/*
 * A message is text with $name and $(...) in it.  The length of its first piece: of
 * such an expression (*expr), or of the text before the next one; 0 at the end.
 */
size_t vq_message_piece(const char *s, bool *expr);
/* The message with its values in place; with scope->check names are only looked for.  -1
 * after errors. */
int vq_scope_message(struct scope *s, const struct vq_tree *t, struct vq_text *out);

/* --- model_load.c: what a name means in a file ---------------------------- */

const struct let *vq_find_let(const struct file *f, const char *name);
const struct body *vq_find_block(const struct file *f, const char *name);
const struct module *vq_find_module(const struct file *f, const char *name);
/* The module that "net.named.weight" begins with; *rest is what follows its name. */
const struct module *vq_find_leaf_module(const struct file *f, const char *text, const char **rest);
/* Also graphs of files used under an alias. */
const struct body *vq_find_graph(const struct file *f, const char *name);
/* Calls each for every name that can be written in the file. */
void vq_near_lets(const struct file *f, struct vq_suggest *s);
void vq_near_callees(const struct file *f, struct vq_suggest *s, bool modules);
/* "b" of "a.b". */

/* --- model_read.c --------------------------------------------------------- */

/* An empty value counts as an empty map; false (reported) for anything else. */
bool vq_want_map(const struct vq_tree *t, const char *what, struct vq_diags *d);
bool vq_want_list(const struct vq_tree *t, const char *what, struct vq_diags *d);
/* Reports keys that are not among the words of `known` (NULL-terminated). */
void vq_check_keys(const struct vq_tree *map, const char *what, const char *const *known, struct vq_diags *d);
/* Sizes, lets, blocks, modules, graphs and stages of a file, without steps. */
void vq_model_read_file(struct vq_model *m, struct file *f, struct vq_diags *d);
void vq_help_near(struct vq_diag *e, const struct vq_suggest *s);

/* --- model_link.c --------------------------------------------------------- */

void vq_model_link_file(struct vq_model *m, struct file *f, struct vq_diags *d);
/* Blocks that contain themselves; which own parameters. */
void vq_model_walk(struct vq_model *m, struct vq_diags *d);

/* --- model_print.c -------------------------------------------------------- */

/* Names for the flattened model, and which blocks it needs. */
void vq_model_flatten(struct vq_model *m);

/* Steps of the language itself: assign, gradient. */
bool vq_is_language_step(const char *name);

/* --- model_callee.c ------------------------------------------------------- */

int vq_body_outs(const struct body *b);
const char *vq_body_out(const struct body *b, int i);
/* Of what a step calls: inputs, outputs, and what is set by numbers and words
 * (parameters of an op, args of a block). */
int vq_step_ports(const struct step *s);
const char *vq_step_port(const struct step *s, int i);
/* Whether a step has a key of that name: it cannot name anything that a step calls. */
bool vq_step_key(const char *name);
int vq_step_find_port(const struct step *s, const char *name);
int vq_step_outs(const struct step *s);
const char *vq_step_out(const struct step *s, int i);
int vq_step_settings(const struct step *s);
const char *vq_step_setting(const struct step *s, int i);
bool vq_step_required(const struct step *s, int i);
int vq_step_find_setting(const struct step *s, const char *name);
/* Reports a key that is none of them; -1. */
int vq_step_unknown_key(const struct step *s, const struct vq_tree *key, struct vq_diags *d);
/* "conv takes out, kernel, stride = 1, pad = 0". */
void vq_callee_note(const struct step *s, struct vq_diag *e);

/* Puts the overrides that are meant for the file reached by `via` into its tree. */
void vq_model_override(struct vq_model *m, const char *via, struct vq_tree *root, struct vq_diags *d);

#endif
