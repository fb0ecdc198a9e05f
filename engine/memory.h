/*
 * memory -- how much of it there is
 */
#ifndef VQ_ENGINE_MEMORY_H
#define VQ_ENGINE_MEMORY_H

#include <stdint.h>

/* What memory this process may have, in bytes.  Swap is not counted. */
struct vq_memory {
	int64_t limit;		/* the machine's, or less by its control groups (v1 and v2) or its limits */
	int64_t left;		/* of these, what can be had now without taking it from others: what the
				 * system calls available, or what each of the control groups has left */
	char from[8320];	/* what says limit: "control group, FILE", "ulimit -v"; "": the machine */
};

/* root goes before /proc and /sys; "": the real ones. */
void vq_memory_find(const char *root, struct vq_memory *m);
int64_t vq_memory_limit(void);
int64_t vq_memory_free(void);

#endif
