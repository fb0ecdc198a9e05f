/*
 * expand_private -- what the files of the expander share
 */
#ifndef VQ_ENGINE_EXPAND_PRIVATE_H
#define VQ_ENGINE_EXPAND_PRIVATE_H

#include "engine/model_private.h"

/* What a step gave: all its outputs. */
struct made {
	vq_id *out;
	int outs;
};

/* A body being expanded. */
struct frame {
	const struct body *body;
	struct scope scope;		/* with arg and size below */
	struct vq_number *arg;
	int64_t *size;			/* -1: not bound */
	const char **size_port;		/* the input that bound it */
	const char *path;		/* of its parameters: "enc.conv.0" */
	const char *name;		/* of its values: the same, but for a module called again */
	int origin;			/* of the step that called it, VQ_NONE for a graph */
	int depth;
	vq_id *input, *var;
	struct made *made;		/* by step */
	struct vq_names part;		/* instance paths: how many have been given out */
	int *given, givens, given_cap;	/* -1: taken by an `as` */
};

struct expand {
	const struct vq_model *m;
	struct vq_graph *g;
	struct vq_diags *d;
	bool train;
	int frozen;			/* steps with `frozen: true` that it is in */
	bool failed;
	int steps;			/* so far, against explosions */
	struct { vq_id leaf, value; } *assigned;
	int assigns, assign_cap;
	struct { const char *name; vq_id value; int depth; } *named;
	int nameds, named_cap;
	struct vq_names calls;		/* modules by path: how many calls */
	int *call, ncalls, call_cap;
};

/* --- expand_value.c ------------------------------------------------------- */

/* Adds where it happened to the errors after the first `before`. */
void vq_expand_notes(struct expand *x, int before, const char *inside);
/* The value of a step's or output's reference; numbers become constants of dtype. */
vq_id vq_expand_ref(struct expand *x, const struct frame *f, const struct ref *r, enum vq_dtype dtype);
/* The inputs of a step, by port: *n of them.  false after errors. */
bool vq_expand_inputs(struct expand *x, struct frame *f, const struct step *s, vq_id previous,
    vq_id in[VQ_MAX_IN], int *n);
/* Fills an op's parameters from a step's settings. */
bool vq_expand_params(struct expand *x, struct frame *f, const struct step *s, void *into);
/* What an assigned state is now, or the leaf itself. */
vq_id vq_expand_current(const struct expand *x, vq_id leaf);
void vq_expand_name(struct expand *x, const struct frame *f, const char *name, vq_id value);

/* What the frame's body requires of its numbers and sizes; false after errors. */
bool vq_expand_require(struct expand *x, struct frame *f);

/* --- expand_block.c ------------------------------------------------------- */

/*
 * Calls a block: binds its inputs' sizes, evaluates its args (in the scope of
 * who gives them), makes its parameters, expands its steps.  out gets its
 * outputs, VQ_NONE after errors.
 */
void vq_expand_block(struct expand *x, const struct body *b, const struct setting *given, int count,
    struct scope *giver, const vq_id *in, const char *path, const char *name, int depth, vq_id *out);
/*
 * A parameter of a module that was not called yet; VQ_NONE when there is none of
 * that name, or when its shape depends on the module's input.
 */
vq_id vq_expand_module_var(struct expand *x, const struct module *m, const char *name);
/* All steps of a frame, whose inputs and numbers are there. */
void vq_expand_steps(struct expand *x, struct frame *f, vq_id *out);

#endif
