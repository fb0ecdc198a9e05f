/*
 * expr -- arithmetic on numbers known when the graph is built
 *
 *	or   and   not   < <= == != >= >   + -   * / // %   -x   **
 *	sqrt log exp floor ceil round abs, of one argument
 *
 * Integers are 64 bits and never wrap: a result that does not fit is an error.
 * `/` of two integers is an integer when it is exact and a real otherwise; `//`
 * and `%` round towards minus infinity.  Comparisons give true or false.  Words are
 * the same or not: act == 'silu', where of a block's name the last part counts.
 */
#ifndef VQ_ENGINE_EXPR_H
#define VQ_ENGINE_EXPR_H

#include "engine/diag.h"
#include "engine/param.h"

struct vq_number {
	enum vq_number_kind {
		VQ_NUM_NONE,		/* not known: an error was reported */
		VQ_NUM_INT, VQ_NUM_BOOL, VQ_NUM_REAL,
		VQ_NUM_INTS,		/* a list of integers, only passed on whole */
		VQ_NUM_WORD,		/* a name, only passed on whole */
	} kind;
	int64_t i;			/* INT; BOOL: 0 or 1 */
	double r;			/* REAL */
	bool inexact;			/* REAL: the last operation divided two integers, */
	int64_t over, under;		/* these, with a rest */
	struct vq_ints ints;
	const char *text;		/* WORD */
	const void *owner;		/* WORD: whose names it belongs to */
};

/* Gives the number a name stands for; -1 (and out NONE) after reporting an error. */
typedef int vq_expr_lookup(void *arg, const char *name, const struct vq_range *at, struct vq_number *out);

/*
 * Evaluates text, which stands at `at` from its character `from` on (in one
 * line; otherwise errors point at the whole).  -1 after errors, and out is NONE
 * then and also, with 0, when a name gave NONE.
 */
int vq_expr_eval(const char *text, const struct vq_range *at, int from, vq_expr_lookup *lookup,
    void *arg, struct vq_diags *d, struct vq_number *out);
/* Calls `each` for every name in text, with its byte offset and length. */
void vq_expr_names(const char *text, void (*each)(void *arg, size_t at, size_t len), void *arg);
/* "3", "1e-4", "true": false when text is none of them.  Nothing is reported. */
bool vq_number_parse(const char *text, struct vq_number *out);
double vq_number_real(const struct vq_number *n);
/* As it would be written. */
void vq_number_print(const struct vq_number *n, struct vq_text *out);
/* A name as the language has them: letters, digits and _, not starting with a digit. */
bool vq_is_name(const char *s);
/* The same, or several of them with dots between. */
bool vq_is_path(const char *s);

#endif
