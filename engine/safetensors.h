/*
 * safetensors -- files of named tensors
 *
 * Layout: u64 length of the header, the header (JSON, an object of name ->
 * dtype, shape, data_offsets, and __metadata__), then the data without gaps.
 * Files of this program carry a checksum over names, types, data and metadata
 * in __metadata__; other programs' files have none and are taken as they are.
 */
#ifndef VQ_ENGINE_SAFETENSORS_H
#define VQ_ENGINE_SAFETENSORS_H

#include "engine/checkpoint.h"

struct vq_tensor {
	const char *name;
	struct vq_type type;
	const void *data;	/* any alignment when read */
};

struct vq_tensors {
	struct vq_arena arena;		/* names */
	struct vq_tensor *tensor;	/* in the order of their data */
	int count, cap;
	struct vq_meta meta;		/* without the checksum */
	unsigned char *data;
};

/* Reads and checks a whole file; -1 after an error (VQ_CHECKPOINT), out empty then. */
int vq_tensors_read(const char *path, struct vq_tensors *out, struct vq_diags *d);
void vq_tensors_free(struct vq_tensors *t);

/* Writes them; the largest elements first, then by name.  Sorts tensor. */
int vq_tensors_write(const char *path, struct vq_tensor *tensor, int n, const struct vq_meta *meta,
    struct vq_diags *d);

/* 64 bits of n bytes, in words: any one changed byte changes it. */
uint64_t vq_content_hash(const void *bytes, size_t n, uint64_t seed);
/* The hash of name, type and data, on top of seed. */
uint64_t vq_tensor_hash(const struct vq_tensor *t, uint64_t seed);

#endif
