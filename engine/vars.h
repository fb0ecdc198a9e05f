/*
 * vars -- the tensors that live longer than a step: parameters and state, by name
 */
#ifndef VQ_ENGINE_VARS_H
#define VQ_ENGINE_VARS_H

#include "engine/graph.h"

struct vq_var {
	const char *name;
	enum vq_value_kind kind;	/* VQ_PARAM or VQ_STATE */
	struct vq_type type;
	struct vq_init init;
	void *data;			/* 64-byte aligned; NULL of types_only, unless loaded */
	bool loaded;			/* its value came from a file */
	bool borrowed;			/* data is another's: vq_vars_free leaves it */
};

struct vq_vars {
	struct vq_arena arena;		/* names */
	struct vq_var *var;		/* in order of creation */
	int count, cap;
	struct vq_names names;
	bool types_only;		/* what is added or bound gets no memory and no value: judges what would be */
};

struct vq_var *vq_vars_find(const struct vq_vars *v, const char *name);
/* Zero-filled; the name is copied and must be new. */
struct vq_var *vq_vars_add(struct vq_vars *v, const char *name, enum vq_value_kind kind,
    const struct vq_type *t);
/* The same for memory that is another's and outlives v. */
void vq_vars_borrow(struct vq_vars *v, const char *name, const struct vq_var *of);
/*
 * Makes sure that every parameter and state of the graph exists, with its first
 * value drawn by seed and name.  A COPY has the first value of the other, not
 * what training made of it since.  One that exists with another type is an error
 * (VQ_CHECKPOINT: it came from one).
 */
int vq_vars_bind(struct vq_vars *v, const struct vq_graph *g, uint64_t seed, struct vq_diags *d);
/* From here on the values of now are what a COPY takes: as in a run that is resumed here. */
void vq_vars_settle(struct vq_vars *v);
int64_t vq_vars_bytes(const struct vq_vars *v);
void vq_vars_free(struct vq_vars *v);

#endif
