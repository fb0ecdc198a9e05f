/*
 * base -- memory, text, and what to do when the program itself is wrong
 *
 * Running out of memory goes through one handler and never returns to the
 * caller, so an error return elsewhere means one thing: the input is wrong.
 */
#ifndef VQ_ENGINE_BASE_H
#define VQ_ENGINE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VQ_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define VQ_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A defect of vqgraph, not of its input: says where, and aborts. */
#define vq_bug(...) vq_bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define vq_assert(cond) ((cond) ? (void)0 : vq_bug("%s does not hold", #cond))
_Noreturn void vq_bug_at(const char *file, int line, const char *fmt, ...) VQ_PRINTF(3, 4);

/*
 * Zeroed memory; never NULL.  The array forms check count * size for overflow.
 * On exhaustion the handler is called with the size; when it returns, or none
 * is set, a message is printed and the process exits with status 1.
 */
void *vq_alloc(size_t size);
void *vq_alloc_array(size_t count, size_t size);
void *vq_alloc_aligned(size_t size);		/* zeroed, 64-byte aligned, for free() */
void *vq_realloc_array(void *p, size_t count, size_t size);	/* new part not zeroed */
char *vq_strdup(const char *s);
char *vq_strndup(const char *s, size_t n);
char *vq_asprintf(const char *fmt, ...) VQ_PRINTF(1, 2);
void vq_on_out_of_memory(void (*handler)(size_t size));
/* Ends the program as a failed allocation of so many bytes does. */
_Noreturn void vq_exhausted(size_t size);

/* Makes room for one more element at the end of a growing array. */
#define vq_grow(array, count, cap) \
	((count) < (cap) ? (void)0 : \
	 (void)((array) = vq_grow_to((array), &(cap), sizeof(*(array)))))
void *vq_grow_to(void *array, int *cap, size_t size);

/* Many small pieces that live and die together. */
struct vq_arena {
	struct vq_arena_block *last;
};
void *vq_arena_alloc(struct vq_arena *a, size_t size);		/* zeroed, 16-byte aligned */
void *vq_arena_copy(struct vq_arena *a, const void *p, size_t size);
char *vq_arena_strdup(struct vq_arena *a, const char *s);
char *vq_arena_strndup(struct vq_arena *a, const char *s, size_t n);
char *vq_arena_printf(struct vq_arena *a, const char *fmt, ...) VQ_PRINTF(2, 3);
void vq_arena_free(struct vq_arena *a);

/* A string that grows; s is always terminated once anything was added. */
struct vq_text {
	char *s;
	size_t len, cap;
};
void vq_text_add(struct vq_text *t, const char *fmt, ...) VQ_PRINTF(2, 3);
void vq_text_vadd(struct vq_text *t, const char *fmt, va_list ap) VQ_PRINTF(2, 0);
void vq_text_put(struct vq_text *t, const void *bytes, size_t n);
void vq_text_free(struct vq_text *t);

/* Name -> small integer.  Keys are borrowed: they must outlive the table. */
struct vq_names {
	struct vq_name { const char *key; int value; } *slot;
	int count, cap;
};
int  vq_names_get(const struct vq_names *t, const char *key);		/* -1 when absent */
bool vq_names_put(struct vq_names *t, const char *key, int value);	/* false when there already */
void vq_names_free(struct vq_names *t);

/* 64-bit mixing of bytes (FNV-1a, then a finalizer); equal on every machine. */
uint64_t vq_hash(const void *bytes, size_t n, uint64_t seed);
uint64_t vq_hash_str(const char *s);
/* That finalizer: a bijection in which every bit depends on every bit. */
uint64_t vq_mix(uint64_t h);

/* Seconds of a monotonic clock. */
double vq_now(void);

#endif
