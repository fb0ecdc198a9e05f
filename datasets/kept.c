/*
 * kept -- decoded pictures, kept in a file and mapped when the set is opened again
 *
 * The file: struct head, the pictures from the next page on, then labels, the places of pictures of
 * sizes of their own, and texts (request, inputs, names).  The head is written last, when all else is on the disk.
 */
#include "datasets/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/images.h"
#include "datasets/room.h"
#include "datasets/sha256.h"
#include "engine/file.h"

enum {
	TEXT_MAX = 1 << 29,		/* of inputs, a line each */
};

static const char magic[16] = "vqgraph kept 2\n";

struct head {
	char magic[16];
	int64_t n, h, w, c, label_width, classes;
	int64_t sum, squares;		/* of all bytes, for the variance */
	int64_t has_labels, has_windows, files;		/* files: the first so many inputs are those of vq_dataset.file */
	int64_t request, inputs, names, note, absent;	/* bytes of the texts, in this order */
	int64_t pixels, labels_at, windows_at, text_at, size;	/* bytes of pictures; places from the beginning */
	uint64_t hash;			/* of all behind the pictures, and of the head without it */
};
_Static_assert(sizeof(struct head) <= VQ_ROOM_HEAD, "the head has a page");

/* --- what is asked for, and what it was made from ---------------------------- */

/* All of the spec that decides which bytes come out, as text. */
static char *
request_of(const struct vq_source_kind *k, const struct vq_data_spec *spec, const char *path)
{
	char *real = realpath(path, NULL);
	const struct vq_ints *size = &spec->size;
	long long h = size->count > 0 ? size->v[0] : 0, w = size->count > 0 ? size->v[size->count > 1] : 0;
	char *text = vq_asprintf("%s\n%s\n%s\n%lld x %lld of %lld, filter %d, channels %lld, bad %d\n%s\n",
	    k->name, real != NULL ? real : path, spec->split, h, w, (long long)spec->resize, spec->interpolation,
	    (long long)spec->channels, spec->bad, spec->labels != NULL ? spec->labels : "");

	free(real);
	return text;
}

static const char *
file_of(const char *request, struct vq_arena *a)
{
	const char *folder = vq_kept_folder(a);
	char hex[65];

	if (folder == NULL)
		return NULL;
	vq_sha256_bytes(&(struct vq_bytes){ request, strlen(request) }, 1, hex);
	hex[32] = '\0';
	return vq_arena_printf(a, "%s/%s" VQ_KEPT_ENDING, folder, hex);
}

/* A line of the inputs, without what must not be in it; false when it cannot be told. */
static bool
stamp(struct vq_text *to, const char *path, int64_t *bytes)
{
	struct stat st;

	if (strchr(path, '\n') != NULL || stat(path, &st) < 0)
		return false;
	if (S_ISREG(st.st_mode))
		*bytes += st.st_size;
	vq_text_add(to, "%lld %llu %lld.%09ld %lld.%09ld %s\n", (long long)st.st_size, (unsigned long long)st.st_ino,
	    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec, path);
	return true;
}

/* --- opening ----------------------------------------------------------------- */

/* The file mapped, its head looked at: NULL when it is not one of ours, or cut short. */
static const struct head *
map(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const struct head *m = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_size > VQ_ROOM_HEAD) {
		m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (m == MAP_FAILED)
			m = NULL;
	}
	close(fd);
	if (m != NULL && (memcmp(m->magic, magic, sizeof(magic)) != 0 || m->size != st.st_size)) {
		munmap((void *)m, (size_t)st.st_size);
		m = NULL;
	}
	return m;
}

static int64_t
to_8(int64_t at)
{
	return (at + 7) / 8 * 8;
}

/* Where what comes behind the pictures begins, from the sizes that a head has. */
static void
set_places(struct head *m)
{
	int64_t width = m->label_width > 0 ? m->label_width : 1;

	m->labels_at = to_8(VQ_ROOM_HEAD + m->pixels);
	m->windows_at = to_8(m->labels_at + (m->has_labels ? m->n * width * (int64_t)sizeof(int32_t) : 0));
	m->text_at = m->windows_at + (m->has_windows ? m->n * (int64_t)sizeof(struct vq_window) : 0);
	m->size = m->text_at + m->request + m->inputs + m->names + m->note + m->absent;
}

static uint64_t
hash_of(const struct head *m, const void *behind)
{
	struct head bare = *m;

	bare.hash = 0;
	return vq_hash(behind, (size_t)(m->size - m->labels_at), vq_hash(&bare, sizeof(bare), 0));
}

/* Whether the sizes that a head announces agree with each other and the file's, and the rest with its hash. */
static bool
sound(const struct head *m)
{
	const struct vq_type pictures = vq_type_of(VQ_U8, 4, (const int64_t[]){ m->n, m->h, m->w, m->c });
	const int64_t text[] = { m->request, m->inputs, m->names, m->note, m->absent };
	int64_t width = m->label_width > 0 ? m->label_width : 1;
	struct head told = *m;

	for (size_t i = 0; i < VQ_COUNT(text); i++)
		if (text[i] < 0 || text[i] > TEXT_MAX)
			return false;
	if (m->n < 1 || m->n > UINT32_MAX || m->h < 1 || m->w < 1 || m->c < 1 || m->label_width < 0 || width > 1 << 20 ||
	    m->classes < 0 || m->classes > INT32_MAX || m->files < 0 || m->files > VQ_MAX_FILES || !vq_type_valid(&pictures) ||
	    m->pixels < 1 || m->pixels > m->size || (!m->has_windows && m->pixels != (int64_t)vq_type_bytes(&pictures)))
		return false;
	set_places(&told);
	return memcmp(&told, m, sizeof(told)) == 0 && hash_of(m, (const char *)m + m->labels_at) == m->hash;
}

/* Whether all that the set was made from is as it was. */
static bool
fresh(const char *inputs, size_t len)
{
	const char *end = inputs + len;
	struct vq_text now = { 0 };
	bool same = true;

	while (same && inputs < end) {
		const char *stop = memchr(inputs, '\n', (size_t)(end - inputs)), *path = inputs;
		int64_t bytes = 0;

		for (int i = 0; stop != NULL && i < 4; i++) {
			path = memchr(path, ' ', (size_t)(stop - path));
			if (path++ == NULL)
				stop = NULL;
		}
		if (stop == NULL) {
			same = false;
			break;
		}

		char *name = vq_strndup(path, (size_t)(stop - path));

		now.len = 0;
		same = stamp(&now, name, &bytes) && now.len == (size_t)(stop + 1 - inputs) && memcmp(now.s, inputs, now.len) == 0;
		free(name);
		inputs = stop + 1;
	}
	vq_text_free(&now);
	return same;
}

/* The paths that d->file had: the first lines of the inputs. */
static void
restore_files(struct vq_dataset *d, const char *inputs, int64_t files)
{
	for (; d->files < files; d->files++) {
		const char *stop = strchr(inputs, '\n'), *path = inputs;

		for (int i = 0; i < 4; i++)
			path = strchr(path, ' ') + 1;
		d->file[d->files] = vq_strndup(path, (size_t)(stop - path));
		inputs = stop + 1;
	}
}

/* Names one after the other, each with its NUL, as one piece of memory; NULL when they are not so many. */
static const char **
names_of(const char *text, int64_t bytes, int64_t n)
{
	const char **name;
	char *at;

	if (bytes == 0 || text[bytes - 1] != '\0')
		return NULL;
	name = vq_alloc((size_t)n * sizeof(*name) + (size_t)bytes);
	at = memcpy(name + n, text, (size_t)bytes);
	for (int64_t i = 0; i < n; i++) {
		if (at >= (char *)(name + n) + bytes) {
			free(name);
			return NULL;
		}
		name[i] = at;
		at += strlen(at) + 1;
	}
	return name;
}

static char *
text_or_null(const char *s, int64_t n)
{
	return n > 0 ? vq_strndup(s, (size_t)n) : NULL;
}

static int
open_mapped(struct vq_dataset *d, const struct vq_data_spec *spec, const struct head *m, struct vq_diags *diags)
{
	const char *inputs = (const char *)m + m->text_at + m->request, *names = inputs + m->inputs;
	struct vq_raw_images raw = {
		.room = vq_room_of_map((void *)m, (size_t)m->size, VQ_ROOM_HEAD, m->pixels),
		.n = m->n, .h = m->h, .w = m->w, .c = m->c, .label_width = m->label_width, .classes = (int)m->classes,
		.sum = m->sum, .squares = m->squares,
		.class_name = names_of(names, m->names, m->classes),
	};

	if (m->has_labels) {
		size_t bytes = (size_t)(m->n * (m->label_width > 0 ? m->label_width : 1)) * sizeof(*raw.labels);
		raw.labels = memcpy(vq_alloc(bytes), (const char *)m + m->labels_at, bytes);
	}
	raw.pixels = raw.room->bytes;
	if (m->has_windows)
		raw.window = memcpy(vq_alloc_array((size_t)m->n, sizeof(*raw.window)), (const char *)m + m->windows_at,
		    (size_t)m->n * sizeof(*raw.window));
	restore_files(d, inputs, m->files);
	d->note = text_or_null(names + m->names, m->note);
	d->absent = text_or_null(names + m->names + m->note, m->absent);
	return vq_images_open(d, spec, &raw, diags);
}

/* The file that holds what is asked for, mapped, when there is one and nothing has changed since; or NULL. */
static const struct head *
find(const struct vq_source_kind *k, const struct vq_data_spec *spec, const char *path)
{
	struct vq_arena a = { 0 };
	/* Which pictures the first n are depends on how many could be read. */
	bool part = (spec->skip > 0 || spec->limit > 0) && spec->bad != VQ_BAD_FAIL;
	const struct head *m = NULL;

	if (path == NULL || part || spec->fresh || k->gather != vq_images_gather)
		return NULL;

	char *request = request_of(k, spec, path);
	const char *file = file_of(request, &a);

	if (file != NULL)
		m = map(file);
	if (m != NULL && !(sound(m) && m->request == (int64_t)strlen(request) &&
	    memcmp((const char *)m + m->text_at, request, (size_t)m->request) == 0 &&
	    fresh((const char *)m + m->text_at + m->request, (size_t)m->inputs))) {
		munmap((void *)m, (size_t)m->size);
		m = NULL;
	}
	free(request);
	vq_arena_free(&a);
	return m;
}

bool
vq_kept_has(const struct vq_source_kind *k, const struct vq_data_spec *spec, const char *path)
{
	const struct head *m = find(k, spec, path);

	if (m != NULL)
		munmap((void *)m, (size_t)m->size);
	return m != NULL;
}

int
vq_kept_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	const struct head *m = find(d->kind, spec, path);

	if (m == NULL)
		return 0;
	return open_mapped(d, spec, m, diags) < 0 ? -1 : 1;
}

/* --- keeping ----------------------------------------------------------------- */

struct vq_keeping {
	pthread_t thread;
	struct vq_text text;		/* all texts, in the order of the head */
	struct head head;
	struct vq_raw_images raw;
	char *folder, *file;
};

/* What the set was made from; false when it cannot be told, or when it is no shorter than the pictures in memory and needs
 * no decoding.  (An archive of pictures is as long as all of its splits.) */
static bool
add_inputs(struct vq_text *t, const struct vq_dataset *d, int64_t pixels)
{
	int64_t bytes = 0;

	for (int i = 0; i < d->files; i++)
		if (!stamp(t, d->file[i], &bytes))
			return false;
	for (int64_t i = 0; i < d->inputs; i++)
		if (!stamp(t, d->input[i], &bytes))
			return false;
	return t->len <= TEXT_MAX && d->files + d->inputs > 0 && (d->decoded || bytes < pixels / 10 * 9);
}

static bool
write_at(int fd, const void *bytes, int64_t n, int64_t at)
{
	const char *from = bytes;

	while (n > 0) {
		ssize_t done = pwrite(fd, from, (size_t)(n < 1 << 30 ? n : 1 << 30), at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		from += done;
		at += done;
		n -= done;
	}
	return true;
}

/* What comes behind the pictures, with zeros where nothing is. */
static char *
tail_of(const struct vq_keeping *k)
{
	const struct head *m = &k->head;
	const struct vq_raw_images *raw = &k->raw;
	char *tail = vq_alloc((size_t)(m->size - m->labels_at));

	if (m->has_labels)
		memcpy(tail, raw->labels, (size_t)(m->n * (m->label_width > 0 ? m->label_width : 1)) * sizeof(*raw->labels));
	if (m->has_windows)
		memcpy(tail + (m->windows_at - m->labels_at), raw->window, (size_t)m->n * sizeof(*raw->window));
	memcpy(tail + (m->text_at - m->labels_at), k->text.s, k->text.len);
	return tail;
}

/* Everything but the head first: what has one is whole.  Pictures may be there already. */
static bool
write_all(struct vq_keeping *k, int fd, bool pictures)
{
	struct head *m = &k->head;
	char *tail = tail_of(k);
	bool good = ftruncate(fd, m->size) == 0 &&
	    (!pictures || write_at(fd, k->raw.pixels, m->pixels, VQ_ROOM_HEAD)) &&
	    write_at(fd, tail, m->size - m->labels_at, m->labels_at) && fdatasync(fd) == 0;

	m->hash = hash_of(m, tail);
	free(tail);
	return good && write_at(fd, m, sizeof(*m), 0) && fsync(fd) == 0;
}

static void *
keep(void *arg)
{
	struct vq_keeping *k = arg;
	struct vq_room *room = k->raw.room;
	bool there = room != NULL && room->temp != NULL;
	char *temp = there ? room->temp : NULL;
	int fd = there ? room->fd : vq_room_file(k->folder, k->head.size, &temp);

	if (fd >= 0 && write_all(k, fd, !there) && rename(temp, k->file) == 0) {
		free(temp);
		temp = NULL;
	}
	if (there)
		room->temp = temp;
	else if (temp != NULL)
		unlink(temp), free(temp);
	if (fd >= 0)
		close(fd);
	if (there)
		room->fd = -1;
	return NULL;
}

static void
set_head(struct vq_keeping *k, const struct vq_dataset *d)
{
	const struct vq_raw_images *raw = &k->raw;
	struct head *m = &k->head;

	memcpy(m->magic, magic, sizeof(magic));
	m->n = raw->n;
	m->h = raw->h;
	m->w = raw->w;
	m->c = raw->c;
	m->label_width = raw->label_width;
	m->classes = raw->classes;
	m->sum = raw->sum;
	m->squares = raw->squares;
	m->has_labels = raw->labels != NULL;
	m->has_windows = raw->window != NULL;
	m->files = d->files;
	for (int i = 0; d->class_name != NULL && i < raw->classes; i++) {
		size_t len = strlen(d->class_name[i]) + 1;
		vq_text_put(&k->text, d->class_name[i], len);
		m->names += (int64_t)len;
	}
	m->note = d->note != NULL ? (int64_t)strlen(d->note) : 0;
	m->absent = d->absent != NULL ? (int64_t)strlen(d->absent) : 0;
	vq_text_put(&k->text, d->note, (size_t)m->note);
	vq_text_put(&k->text, d->absent, (size_t)m->absent);
	m->pixels = vq_images_bytes(raw);
	set_places(m);
}

static void
keeping_free(struct vq_keeping *k)
{
	vq_text_free(&k->text);
	free(k->file);
	free(k->folder);
	free(k);
}

struct vq_keeping *
vq_kept_begin(const struct vq_dataset *d, const struct vq_data_spec *spec, const char *path)
{
	struct vq_raw_images raw;

	if (path == NULL || !vq_kept_whole(spec) || d->kind->gather != vq_images_gather)
		return NULL;
	vq_images_raw(d, &raw);
	if (raw.pixels == NULL || vq_images_bytes(&raw) < VQ_KEPT_LEAST)
		return NULL;

	struct vq_keeping *k = vq_alloc(sizeof(*k));
	struct vq_arena a = { 0 };
	char *request = request_of(d->kind, spec, path);
	const char *file = file_of(request, &a);

	k->raw = raw;
	k->head.request = (int64_t)strlen(request);
	vq_text_put(&k->text, request, strlen(request));
	bool worth = file != NULL && add_inputs(&k->text, d, vq_images_bytes(&raw));
	k->head.inputs = (int64_t)k->text.len - k->head.request;
	if (worth) {
		set_head(k, d);
		k->file = vq_strdup(file);
		k->folder = vq_strdup(vq_kept_folder(&a));
		worth = pthread_create(&k->thread, NULL, keep, k) == 0;
	}
	free(request);
	vq_arena_free(&a);
	if (!worth) {
		keeping_free(k);
		return NULL;
	}
	return k;
}

void
vq_kept_end(struct vq_keeping *k)
{
	if (k == NULL)
		return;
	pthread_join(k->thread, NULL);
	keeping_free(k);
}
