/*
 * tensorboard -- event files that TensorBoard reads: scalars and pictures by step
 */
#include "engine/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/file.h"

/* Around the bytes of a record: length and its CRC before them, their CRC behind. */
enum { HEAD = 8 + 4, TAIL = 4 };

/* --- CRC-32C --------------------------------------------------------------------- */

/* One nibble at a time (polynomial 0x1EDC6F41, reflected): 16 entries need no setting up. */
static uint32_t
crc32c(const void *bytes, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	uint32_t crc = ~0u;

	for (const uint8_t *p = bytes; n > 0; n--, p++) {
		crc ^= *p;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

/* So that the CRC of bytes that hold a CRC is a good one, too. */
static uint32_t
masked_crc(const void *bytes, size_t n)
{
	uint32_t crc = crc32c(bytes, n);

	return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* --- protocol buffers ------------------------------------------------------------ */

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void
put_varint(struct vq_text *t, uint64_t x)
{
	do {
		uint8_t byte = (uint8_t)((x & 127) | (x > 127 ? 128 : 0));

		vq_text_put(t, &byte, 1);
		x >>= 7;
	} while (x > 0);
}

static void
put_key(struct vq_text *t, int field, enum wire wire)
{
	put_varint(t, (uint64_t)field << 3 | (uint64_t)wire);
}

static void
put_integer(struct vq_text *t, int field, int64_t x)
{
	put_key(t, field, VARINT);
	put_varint(t, (uint64_t)x);
}

static void
put_bytes(struct vq_text *t, int field, const void *bytes, size_t n)
{
	put_key(t, field, BYTES);
	put_varint(t, n);
	vq_text_put(t, bytes, n);
}

static void
put_double(struct vq_text *t, int field, double x)
{
	put_key(t, field, FIXED64);
	vq_text_put(t, &x, sizeof(x));
}

static void
put_float(struct vq_text *t, int field, float x)
{
	put_key(t, field, FIXED32);
	vq_text_put(t, &x, sizeof(x));
}

/* Summary.Value: tag 1, simple_value 2, image 4 { height 1, width 2, colorspace 3,
 * encoded_image_string 4 }. */
static void
put_value(struct vq_text *summary, const struct vq_summary *s)
{
	struct vq_text value = { 0 }, image = { 0 };

	put_bytes(&value, 1, s->tag, strlen(s->tag));
	if (s->png == NULL) {
		put_float(&value, 2, (float)s->scalar);
	} else {
		put_integer(&image, 1, s->h);
		put_integer(&image, 2, s->w);
		put_integer(&image, 3, s->channels);
		put_bytes(&image, 4, s->png, s->bytes);
		put_bytes(&value, 4, image.s, image.len);
	}
	put_bytes(summary, 1, value.s, value.len);
	vq_text_free(&value);
	vq_text_free(&image);
}

/* --- records --------------------------------------------------------------------- */

static void
put_record(struct vq_text *t, const struct vq_text *event)
{
	uint64_t n = event->len;
	uint32_t crc = masked_crc(&n, sizeof(n));

	vq_text_put(t, &n, sizeof(n));
	vq_text_put(t, &crc, sizeof(crc));
	vq_text_put(t, event->s, event->len);
	crc = masked_crc(event->s, event->len);
	vq_text_put(t, &crc, sizeof(crc));
}

static double
wall_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Event: wall_time 1, step 2, file_version 3, summary 5. */
static void
put_event(struct vq_text *t, int64_t step, const struct vq_summary *s, int n)
{
	struct vq_text event = { 0 }, summary = { 0 };

	for (int i = 0; i < n; i++)
		put_value(&summary, &s[i]);
	put_double(&event, 1, wall_time());
	put_integer(&event, 2, step);
	put_bytes(&event, 5, summary.s ? summary.s : "", summary.len);
	put_record(t, &event);
	vq_text_free(&event);
	vq_text_free(&summary);
}

/* What every file begins with. */
static void
put_version(struct vq_text *t)
{
	static const char version[] = "brain.Event:2";
	struct vq_text event = { 0 };

	put_double(&event, 1, wall_time());
	put_bytes(&event, 3, version, sizeof(version) - 1);
	put_record(t, &event);
	vq_text_free(&event);
}

/* The event in the next record, into a buffer that grows; false where no whole and undamaged one follows. */
static bool
next_record(int fd, size_t left, struct vq_text *event)
{
	char head[HEAD];
	uint64_t length;
	uint32_t crc;

	event->len = 0;
	if (left < HEAD + TAIL || !vq_file_get(fd, head, HEAD))
		return false;
	memcpy(&length, head, sizeof(length));
	memcpy(&crc, head + 8, sizeof(crc));
	if (crc != masked_crc(head, 8) || length > left - HEAD - TAIL)
		return false;
	for (char part[1 << 14]; event->len < length; ) {
		size_t n = length - event->len < sizeof(part) ? (size_t)(length - event->len) : sizeof(part);

		if (!vq_file_get(fd, part, n))
			return false;
		vq_text_put(event, part, n);
	}
	return vq_file_get(fd, &crc, sizeof(crc)) && crc == masked_crc(event->s ? event->s : "", length);
}

static bool
get_varint(const uint8_t **p, const uint8_t *end, uint64_t *x)
{
	*x = 0;
	for (int shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;

		*x |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

/* The step of an event; 0 where it says none, as in every protocol buffer. */
static int64_t
step_of(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	uint64_t key, x;

	while (p < end && get_varint(&p, end, &key)) {
		size_t skip = 0;

		switch (key & 7) {
		case VARINT:
			if (!get_varint(&p, end, &x))
				return 0;
			if (key >> 3 == 2)
				return (int64_t)x;
			break;
		case FIXED64: skip = 8; break;
		case FIXED32: skip = 4; break;
		case BYTES:
			if (!get_varint(&p, end, &x))
				return 0;
			skip = x;
			break;
		default:
			return 0;
		}
		if (skip > (size_t)(end - p))
			return 0;
		p += skip;
	}
	return 0;
}

/* --- files ----------------------------------------------------------------------- */

static int
failed(struct vq_diags *d, const char *path, int reason)
{
	vq_error(d, VQ_FAILED, NULL, "cannot write %s: %s", path, strerror(reason));
	return -1;
}

/* The folder, and the one it is in. */
static void
make_folder(const char *folder)
{
	char *parent = vq_strdup(folder), *slash = strrchr(parent, '/');

	if (slash && slash > parent) {
		*slash = '\0';
		mkdir(parent, 0777);
	}
	mkdir(folder, 0777);
	free(parent);
}

/* errno, or 0. */
static int
write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, bytes, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? errno : EIO;
		bytes += k;
		n -= (size_t)k;
	}
	return 0;
}

int
vq_events_add(const char *folder, int64_t step, const struct vq_summary *s, int n, struct vq_diags *d)
{
	char *path = vq_asprintf("%s/%s", folder, VQ_EVENTS_FILE);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666), reason = 0;
	struct vq_text t = { 0 };
	struct stat st = { 0 };

	if (fd < 0 && errno == ENOENT) {
		make_folder(folder);
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		reason = errno;
	} else {
		if (st.st_size == 0)
			put_version(&t);
		put_event(&t, step, s, n);
		reason = write_all(fd, t.s, t.len);
		/* What follows half a record would never be read. */
		if (reason && S_ISREG(st.st_mode) && ftruncate(fd, st.st_size) < 0)
			reason = errno;
	}
	if (fd >= 0)
		close(fd);
	int rc = reason ? failed(d, path, reason) : 0;
	vq_text_free(&t);
	free(path);
	return rc;
}

/* Where the first event after `step` begins, or what is no event. */
static size_t
end_of(int fd, size_t size, int64_t step)
{
	struct vq_text event = { 0 };
	size_t at = 0;

	while (next_record(fd, size - at, &event)) {
		/* The first one is the version. */
		if (at > 0 && step_of((const uint8_t *)event.s, event.len) > step)
			break;
		at += HEAD + event.len + TAIL;
	}
	vq_text_free(&event);
	return at;
}

int
vq_events_rewind(const char *folder, int64_t step, struct vq_diags *d)
{
	char *path = vq_asprintf("%s/%s", folder, VQ_EVENTS_FILE);
	int fd = open(path, O_RDWR | O_CLOEXEC), reason = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		reason = fd < 0 && (errno == ENOENT || errno == ENOTDIR) ? 0 : errno;
	else if (S_ISREG(st.st_mode) && ftruncate(fd, (off_t)end_of(fd, (size_t)st.st_size, step)) < 0)
		reason = errno;
	if (fd >= 0)
		close(fd);
	int rc = reason ? failed(d, path, reason) : 0;
	free(path);
	return rc;
}
