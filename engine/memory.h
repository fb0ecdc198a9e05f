/*
 * memory -- how much of it there is
 */
#ifndef VQ_ENGINE_MEMORY_H
#define VQ_ENGINE_MEMORY_H

#include <stdint.h>

/* Bytes that this process may have: the machine's, or less by its control group or its limits. */
int64_t vq_memory_limit(void);
/* Of these, what can be had now without taking it from others: what the system calls available, or
 * what the control group has left. */
int64_t vq_memory_free(void);

#endif
