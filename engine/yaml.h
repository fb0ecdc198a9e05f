/*
 * yaml -- a YAML file as a tree in which every node knows its place
 *
 * Built from libyaml's events.  Rejected with a message: duplicate keys,
 * anchors, aliases, merge keys, tags, more than one document, nesting deeper
 * than VQ_YAML_DEPTH, files over VQ_YAML_BYTES, bytes that are not UTF-8.
 * Scalars stay text: the table that receives a value decides its type.
 */
#ifndef VQ_ENGINE_YAML_H
#define VQ_ENGINE_YAML_H

#include "engine/diag.h"

enum { VQ_YAML_DEPTH = 64, VQ_YAML_BYTES = 4 << 20 };

struct vq_tree {
	enum vq_tree_kind { VQ_TREE_SCALAR, VQ_TREE_LIST, VQ_TREE_MAP } kind;
	struct vq_range at;
	bool flow;			/* written in [] or {} */
	bool quoted;			/* SCALAR: in quotes, so always a string */
	const char *text;		/* SCALAR */
	struct vq_pair {		/* LIST: key is NULL */
		struct vq_tree *key, *value;
	} *item;
	int count;
};

/* Reads a file (or text given with its name).  The tree, its strings and its
 * source live in the arena.  NULL after errors. */
struct vq_tree *vq_yaml_read(const char *path, struct vq_arena *a, struct vq_diags *d);
struct vq_tree *vq_yaml_parse(const char *name, const char *text, size_t len,
    struct vq_arena *a, struct vq_diags *d);
/* What follows the first `skip` bytes of text, as one value; places and carets are
 * those of the whole text ("codes=256" from byte 6). */
struct vq_tree *vq_yaml_value(const char *name, const char *text, size_t skip,
    struct vq_arena *a, struct vq_diags *d);
/* MAP: the value of a key, or NULL. */
struct vq_tree *vq_tree_get(const struct vq_tree *map, const char *key);

#endif
