/*
 * library -- the blocks of graphs/lib, as they stand in their files
 */
#ifndef VQ_TOOLS_LIBRARY_H
#define VQ_TOOLS_LIBRARY_H

#include "engine/yaml.h"

struct vq_library_block {
	const char *name;
	const char *doc;	/* its `doc`, or the comment above it in one line; "" without either */
	const char *const *also;	/* names people type instead, NULL-terminated */
	const char *file;	/* "lib/nn.yaml" */
	const char *text;	/* its lines, unindented, each ended */
	const struct vq_tree *tree;
};
struct vq_library {
	struct vq_library_block *block;
	int count, cap;
	struct vq_arena arena;
};

/* All blocks of the first library folder there is; none, when there is none. */
void vq_library_read(struct vq_library *l);
void vq_library_free(struct vq_library *l);

#endif
