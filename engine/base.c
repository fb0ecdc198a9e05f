/*
 * base -- memory, text, and what to do when the program itself is wrong
 *
 * See base.h.  Everything that allocates in this file goes through vq_exhausted()
 * when it cannot, so no caller ever sees NULL.
 */
#include "engine/base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	ARENA_ALIGN = 16,
	ARENA_FIRST = 4096,
	ARENA_MOST = 256 << 10,
	VAR_ALIGN = 64,
};

struct vq_arena_block {
	struct vq_arena_block *before;
	size_t used, cap;
	_Alignas(ARENA_ALIGN) char bytes[];
};

static void (*out_of_memory)(size_t size);

void
vq_on_out_of_memory(void (*handler)(size_t size))
{
	out_of_memory = handler;
}

/* Plain writes: nothing here may need memory again. */
_Noreturn void
vq_exhausted(size_t size)
{
	if (out_of_memory)
		out_of_memory(size);
	fprintf(stderr, "vqgraph: out of memory (%zu bytes wanted)\n", size);
	exit(1);
}

static size_t
product(size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n) || n > PTRDIFF_MAX)
		vq_exhausted(SIZE_MAX);
	return n;
}

void
vq_bug_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "vqgraph: this is a bug in vqgraph, please report it: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void *
vq_alloc(size_t size)
{
	return vq_alloc_array(1, size);
}

void *
vq_alloc_array(size_t count, size_t size)
{
	size_t n = product(count, size);
	void *p = calloc(1, n ? n : 1);

	if (!p)
		vq_exhausted(n);
	return p;
}

void *
vq_alloc_aligned(size_t size)
{
	void *p;

	if (size > PTRDIFF_MAX || posix_memalign(&p, VAR_ALIGN, size ? size : 1) != 0)
		vq_exhausted(size);
	return memset(p, 0, size);
}

void *
vq_realloc_array(void *p, size_t count, size_t size)
{
	size_t n = product(count, size);

	p = realloc(p, n ? n : 1);
	if (!p)
		vq_exhausted(n);
	return p;
}

char *
vq_strdup(const char *s)
{
	return vq_strndup(s, strlen(s));
}

char *
vq_strndup(const char *s, size_t n)
{
	n = strnlen(s, n);
	if (n == SIZE_MAX)
		vq_exhausted(n);
	char *copy = vq_alloc(n + 1);

	memcpy(copy, s, n);
	return copy;
}

char *
vq_asprintf(const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	return t.s;
}

void *
vq_grow_to(void *array, int *cap, size_t size)
{
	if (*cap > INT_MAX / 2)
		vq_exhausted(SIZE_MAX);
	*cap = *cap < 8 ? 8 : *cap * 2;
	return vq_realloc_array(array, (size_t)*cap, size);
}

/* --- arena ---------------------------------------------------------------- */

void *
vq_arena_alloc(struct vq_arena *a, size_t size)
{
	struct vq_arena_block *b = a->last;

	if (size > PTRDIFF_MAX / 2)
		vq_exhausted(size);
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!b || b->cap - b->used < size) {
		size_t cap = !b ? ARENA_FIRST : b->cap < ARENA_MOST ? b->cap * 2 : ARENA_MOST;

		if (cap < size)
			cap = size;
		b = vq_alloc(sizeof(*b) + cap);
		b->cap = cap;
		b->before = a->last;
		a->last = b;
	}
	void *p = b->bytes + b->used;

	b->used += size;
	return p;
}

void *
vq_arena_copy(struct vq_arena *a, const void *p, size_t size)
{
	void *copy = vq_arena_alloc(a, size);

	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *
vq_arena_strdup(struct vq_arena *a, const char *s)
{
	return vq_arena_copy(a, s, strlen(s) + 1);
}

char *
vq_arena_strndup(struct vq_arena *a, const char *s, size_t n)
{
	n = strnlen(s, n);
	if (n == SIZE_MAX)
		vq_exhausted(n);
	char *copy = vq_arena_alloc(a, n + 1);

	memcpy(copy, s, n);
	return copy;
}

char *
vq_arena_printf(struct vq_arena *a, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	char *s = vq_arena_copy(a, t.s, t.len + 1);

	vq_text_free(&t);
	return s;
}

void
vq_arena_free(struct vq_arena *a)
{
	struct vq_arena_block *b = a->last;

	while (b) {
		struct vq_arena_block *before = b->before;

		free(b);
		b = before;
	}
	a->last = NULL;
}

/* --- text ----------------------------------------------------------------- */

/* Makes room for n more bytes and a terminator. */
static void
text_room(struct vq_text *t, size_t n)
{
	size_t want;

	if (__builtin_add_overflow(t->len, n, &want) || want > PTRDIFF_MAX / 2)
		vq_exhausted(SIZE_MAX);
	if (want + 1 <= t->cap)
		return;
	t->cap = t->cap * 2 > want + 1 ? t->cap * 2 : want + 1;
	if (t->cap < 64)
		t->cap = 64;
	t->s = vq_realloc_array(t->s, t->cap, 1);
}

void
vq_text_put(struct vq_text *t, const void *bytes, size_t n)
{
	text_room(t, n);
	if (n)
		memcpy(t->s + t->len, bytes, n);
	t->len += n;
	t->s[t->len] = '\0';
}

void
vq_text_vadd(struct vq_text *t, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		vq_bug("cannot format '%s'", fmt);
	text_room(t, (size_t)n);
	vsnprintf(t->s + t->len, (size_t)n + 1, fmt, ap);
	t->len += (size_t)n;
}

void
vq_text_add(struct vq_text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(t, fmt, ap);
	va_end(ap);
}

void
vq_text_free(struct vq_text *t)
{
	free(t->s);
	*t = (struct vq_text){ 0 };
}

/* --- names ---------------------------------------------------------------- */

/* The slot of the key, or the empty one where it belongs.  cap is a power of
 * two and at least one slot is empty. */
static struct vq_name *
slot_of(struct vq_name *slot, int cap, const char *key)
{
	size_t mask = (size_t)cap - 1, i = vq_hash_str(key) & mask;

	while (slot[i].key && strcmp(slot[i].key, key) != 0)
		i = (i + 1) & mask;
	return &slot[i];
}

int
vq_names_get(const struct vq_names *t, const char *key)
{
	const struct vq_name *n;

	if (t->count == 0)
		return -1;
	n = slot_of(t->slot, t->cap, key);
	return n->key ? n->value : -1;
}

static void
names_grow(struct vq_names *t)
{
	int cap = t->cap ? t->cap * 2 : 16;
	struct vq_name *slot;

	if (t->cap > INT_MAX / 2)
		vq_exhausted(SIZE_MAX);
	slot = vq_alloc_array((size_t)cap, sizeof(*slot));
	for (int i = 0; i < t->cap; i++)
		if (t->slot[i].key)
			*slot_of(slot, cap, t->slot[i].key) = t->slot[i];
	free(t->slot);
	t->slot = slot;
	t->cap = cap;
}

bool
vq_names_put(struct vq_names *t, const char *key, int value)
{
	struct vq_name *n;

	if (t->count >= t->cap / 2)
		names_grow(t);
	n = slot_of(t->slot, t->cap, key);
	if (n->key)
		return false;
	*n = (struct vq_name){ key, value };
	t->count++;
	return true;
}

void
vq_names_free(struct vq_names *t)
{
	free(t->slot);
	*t = (struct vq_names){ 0 };
}

/* --- hash, clock ---------------------------------------------------------- */

uint64_t
vq_mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}

uint64_t
vq_hash(const void *bytes, size_t n, uint64_t seed)
{
	const unsigned char *p = bytes;
	uint64_t h = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return vq_mix(h ^ n);
}

uint64_t
vq_hash_str(const char *s)
{
	return vq_hash(s, strlen(s), 0);
}

double
vq_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
