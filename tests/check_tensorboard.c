/*
 * check_tensorboard -- event files, read by a reader of the test's own
 */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/log.h"
#include "engine/tensorboard.h"
#include "tests/scratch.h"

static char dir[64];

static void
setup(void)
{
	scratch_make(dir);
	ck_assert_int_eq(chdir(dir), 0);
}

static void
teardown(void)
{
	scratch_remove(dir);
}

/* --- a reader ---------------------------------------------------------------- */

enum { EVENTS = 64, VALUES = 16 };

struct value {
	char tag[32];
	float scalar;
	bool is_picture;
	uint64_t w, h, channels;
	const uint8_t *png;
	size_t bytes;
};
struct event {
	double wall;
	uint64_t step;
	char version[32];
	struct value value[VALUES];
	int values;
};
struct events {
	char *file;
	struct event event[EVENTS];
	int count;
};

/* Bit by bit, as Castagnoli's polynomial is defined. */
static uint32_t
crc32c(const void *bytes, size_t n)
{
	uint32_t crc = ~0u;

	for (const uint8_t *p = bytes; n > 0; n--, p++) {
		crc ^= *p;
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static uint32_t
masked(const void *bytes, size_t n)
{
	uint32_t crc = crc32c(bytes, n);

	return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static uint64_t
varint(const uint8_t **p)
{
	uint64_t x = 0;
	int shift = 0;

	do
		x |= (uint64_t)(**p & 127) << shift;
	while (shift += 7, *(*p)++ & 128);
	return x;
}

struct field {
	int number, wire;
	uint64_t integer;
	const uint8_t *bytes;		/* of wire 1, 2, 5 */
	size_t n;
};

static bool
next_field(const uint8_t **p, const uint8_t *end, struct field *f)
{
	if (*p >= end)
		return false;
	uint64_t key = varint(p);

	*f = (struct field){ .number = (int)(key >> 3), .wire = (int)(key & 7) };
	if (f->wire == 0) {
		f->integer = varint(p);
	} else {
		f->n = f->wire == 1 ? 8 : f->wire == 5 ? 4 : varint(p);
		f->bytes = *p;
		*p += f->n;
	}
	ck_assert(*p <= end);
	return true;
}

static void
text(const struct field *f, char out[32])
{
	ck_assert_uint_lt(f->n, 32);
	memcpy(out, f->bytes, f->n);
	out[f->n] = '\0';
}

static void
read_value(struct value *v, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	struct field f, g;

	while (next_field(&p, end, &f))
		switch (f.number) {
		case 1: text(&f, v->tag); break;
		case 2: ck_assert_int_eq(f.wire, 5); memcpy(&v->scalar, f.bytes, 4); break;
		case 4:
			v->is_picture = true;
			for (const uint8_t *q = f.bytes; next_field(&q, f.bytes + f.n, &g); )
				switch (g.number) {
				case 1: v->h = g.integer; break;
				case 2: v->w = g.integer; break;
				case 3: v->channels = g.integer; break;
				case 4: v->png = g.bytes; v->bytes = g.n; break;
				default: ck_abort_msg("field %d of an image", g.number);
				}
			break;
		default: ck_abort_msg("field %d of a value", f.number);
		}
}

static void
read_event(struct event *e, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	struct field f, g;

	while (next_field(&p, end, &f))
		switch (f.number) {
		case 1: ck_assert_int_eq(f.wire, 1); memcpy(&e->wall, f.bytes, 8); break;
		case 2: e->step = f.integer; break;
		case 3: text(&f, e->version); break;
		case 5:
			for (const uint8_t *q = f.bytes; next_field(&q, f.bytes + f.n, &g); ) {
				ck_assert_int_eq(g.number, 1);
				ck_assert_int_lt(e->values, VALUES);
				read_value(&e->value[e->values++], g.bytes, g.n);
			}
			break;
		default: ck_abort_msg("field %d of an event", f.number);
		}
}

/* Every record of a file, each with good CRCs and nothing behind the last. */
static struct events *
read_events(const char *path)
{
	struct events *all = vq_alloc(sizeof(*all));
	size_t size, at = 0;

	all->file = vq_file_read(path, 1 << 24, &size, VQ_DATA, NULL);
	ck_assert_msg(all->file, "%s", path);
	while (at < size) {
		const uint8_t *p = (const uint8_t *)all->file + at;
		uint64_t n;
		uint32_t crc;

		ck_assert_uint_ge(size - at, 16);
		memcpy(&n, p, 8);
		memcpy(&crc, p + 8, 4);
		ck_assert_uint_eq(crc, masked(p, 8));
		ck_assert_uint_le(n, size - at - 16);
		memcpy(&crc, p + 12 + n, 4);
		ck_assert_uint_eq(crc, masked(p + 12, n));
		ck_assert_int_lt(all->count, EVENTS);
		read_event(&all->event[all->count++], p + 12, n);
		at += 16 + n;
	}
	ck_assert_int_ge(all->count, 1);
	ck_assert_str_eq(all->event[0].version, "brain.Event:2");
	return all;
}

static void
free_events(struct events *all)
{
	free(all->file);
	free(all);
}

/* --- tests ------------------------------------------------------------------- */

static const char path[] = "a/b/" VQ_EVENTS_FILE;

static void
add_loss(int64_t step, double loss)
{
	ck_assert_int_eq(vq_events_add("a/b", step, &(struct vq_summary){ .tag = "loss", .scalar = loss }, 1, NULL), 0);
}

START_TEST(known_crc)
{
	/* RFC 3720, B.4. */
	uint8_t zeros[32] = { 0 }, rising[32];

	for (int i = 0; i < 32; i++)
		rising[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(zeros, 32), 0x8a9136aa);
	ck_assert_uint_eq(crc32c(rising, 32), 0x46dd794e);
	ck_assert_uint_eq(crc32c("123456789", 9), 0xe3069283);
}
END_TEST

START_TEST(scalars_and_pictures)
{
	uint8_t pixel[6 * 4 * 3] = { 1, 2, 3 };
	struct vq_image im = { 6, 4, 3, pixel };
	struct vq_summary s[3] = { { .tag = "loss", .scalar = .25 }, { .tag = "perplexity", .scalar = NAN },
	    { .tag = "recon", .w = 6, .h = 4, .channels = 3 } };
	void *png;

	ck_assert_int_eq(vq_image_png(&im, &png, &s[2].bytes, NULL), 0);
	s[2].png = png;
	ck_assert_int_eq(mkdir("a", 0777), 0);
	ck_assert_int_eq(vq_events_add("a/b", 1000000007, s, 3, NULL), 0);
	add_loss(0, -1e-3);

	struct events *all = read_events(path);
	ck_assert_int_eq(all->count, 3);
	const struct event *e = &all->event[1];
	ck_assert(e->wall > 1.7e9 && e->wall < 1e11);
	ck_assert_uint_eq(e->step, 1000000007);
	ck_assert_int_eq(e->values, 3);
	ck_assert_str_eq(e->value[0].tag, "loss");
	ck_assert(e->value[0].scalar == .25f && isnan(e->value[1].scalar));
	ck_assert_str_eq(e->value[2].tag, "recon");
	ck_assert(e->value[2].is_picture && e->value[2].w == 6 && e->value[2].h == 4 && e->value[2].channels == 3);
	ck_assert_uint_eq(e->value[2].bytes, s[2].bytes);
	ck_assert_mem_eq(e->value[2].png, png, s[2].bytes);
	ck_assert_uint_eq(all->event[2].step, 0);
	ck_assert(all->event[2].value[0].scalar == -1e-3f);
	free_events(all);
	free(png);
}
END_TEST

START_TEST(rewinding)
{
	for (int i = 0; i <= 300; i += 100)
		add_loss(i, i);
	ck_assert_int_eq(vq_events_rewind("a/b", 200, NULL), 0);
	add_loss(250, 250);

	const uint64_t steps[] = { 0, 100, 200, 250 };
	struct events *all = read_events(path);
	ck_assert_int_eq(all->count, 5);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(all->event[1 + i].step, steps[i]);
		ck_assert(all->event[1 + i].value[0].scalar == (float)steps[i]);
	}
	free_events(all);
	ck_assert_int_eq(vq_events_rewind("a/b", -1, NULL), 0);
	all = read_events(path);
	ck_assert_int_eq(all->count, 1);
	free_events(all);
	ck_assert_int_eq(vq_events_rewind("nowhere", 5, NULL), 0);
	ck_assert_int_ne(access("nowhere", F_OK), 0);
}
END_TEST

/* A process that is killed may leave half a record; a disk may damage any. */
START_TEST(damage)
{
	size_t n;

	for (int i = 1; i <= 3; i++)
		add_loss(i, i);
	char *bytes = vq_file_read(path, 1 << 20, &n, VQ_DATA, NULL);
	for (size_t k = 0; k < n; k++) {
		ck_assert_int_eq(vq_file_write(path, bytes, k, NULL), 0);
		ck_assert_int_eq(vq_events_rewind("a/b", 10, NULL), 0);
		add_loss(9, 9);
		struct events *all = read_events(path);
		ck_assert_int_ge(all->count, 2);
		ck_assert_int_le(all->count, 4);
		ck_assert_uint_eq(all->event[all->count - 1].step, 9);
		free_events(all);

		bytes[k] ^= 0x10;
		ck_assert_int_eq(vq_file_write(path, bytes, n, NULL), 0);
		ck_assert_int_eq(vq_events_rewind("a/b", 10, NULL), 0);
		add_loss(9, 9);
		all = read_events(path);
		ck_assert_int_le(all->count, 4);
		ck_assert_uint_eq(all->event[all->count - 1].step, 9);
		free_events(all);
		bytes[k] ^= 0x10;
	}
	free(bytes);
}
END_TEST

START_TEST(nowhere_to_write)
{
	struct vq_summary s = { .tag = "loss", .scalar = 1 };
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_file_write("plain", "x", 1, NULL), 0);
	ck_assert_int_eq(vq_events_add("plain/folder", 1, &s, 1, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	if (access("/dev/full", W_OK) == 0) {
		ck_assert_int_eq(mkdir("full", 0777), 0);
		ck_assert_int_eq(symlink("/dev/full", "full/" VQ_EVENTS_FILE), 0);
		ck_assert_int_eq(vq_events_add("full", 1, &s, 1, &d), -1);
		ck_assert_ptr_nonnull(strstr(d.diag[1]->message, "No space left"));
	}
	vq_diags_free(&d);
}
END_TEST

static void
row(struct vq_run *r, const char *stage, const char *split, int64_t step, double loss)
{
	const char *name[] = { "loss" };

	ck_assert_int_eq(vq_run_metrics(r, &(struct vq_metrics){ .stage = stage, .split = split, .step = step, .lr = NAN, .data_wait = NAN,
	    .samples_per_s = 100, .n = 1, .name = name, .value = &loss }, NULL), 0);
}

static void
assert_steps(const char *folder, const int64_t *steps, int n)
{
	char *file = vq_asprintf("runs/demo/tensorboard/%s/%s", folder, VQ_EVENTS_FILE);
	struct events *all = read_events(file);

	ck_assert_msg(all->count == n + 1, "%s has %d events, not %d", folder, all->count - 1, n);
	for (int i = 0; i < n; i++)
		ck_assert_uint_eq(all->event[1 + i].step, (uint64_t)steps[i]);
	free_events(all);
	free(file);
}

/* A run that goes on from a checkpoint has each row once. */
START_TEST(of_a_run)
{
	static const char *const stages[] = { "first", "with-dash", "later" };
	uint8_t pixel[4] = { 0 };
	struct vq_image im = { 2, 2, 1, pixel };
	struct vq_shown shown = { "with-dash", "val", "codes", "epoch-001", 20 };
	struct vq_run *r = vq_run_create(&(struct vq_run_info){ .out = "runs", .name = "demo", .config = "", .resolved = "",
	    .threads_why = "", .isa = "" }, NULL);

	ck_assert_ptr_nonnull(r);
	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, true);
	row(r, "first", "train", 500, 1);
	for (int i = 10; i <= 40; i += 10)
		row(r, "with-dash", "train", i, i);
	row(r, "with-dash", "val", 20, 2);
	ck_assert_int_eq(vq_run_picture(r, &shown, &im, NULL), 0);
	ck_assert_int_eq(access("runs/demo/samples/with-dash-codes-epoch-001.png", F_OK), 0);
	row(r, "with-dash", "val", 40, 2);
	row(r, "later", "train", 5, 1);
	assert_steps("with-dash-train", (const int64_t[]){ 10, 20, 30, 40 }, 4);
	vq_run_close(r);

	r = vq_run_open("runs", NULL, NULL);
	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, true);
	ck_assert_int_eq(vq_run_rewind(r, stages, 3, 1, 25, NULL), 0);
	row(r, "with-dash", "train", 30, 3);
	assert_steps("first-train", (const int64_t[]){ 500 }, 1);
	assert_steps("with-dash-train", (const int64_t[]){ 10, 20, 30 }, 3);
	assert_steps("with-dash-val", (const int64_t[]){ 20, 20 }, 2);
	assert_steps("later-train", NULL, 0);
	struct events *all = read_events("runs/demo/tensorboard/with-dash-train/" VQ_EVENTS_FILE);
	/* No learning rate: it was not known. */
	ck_assert_int_eq(all->event[1].values, 2);
	ck_assert_str_eq(all->event[1].value[0].tag, "samples_per_s");
	ck_assert_str_eq(all->event[1].value[1].tag, "loss");
	free_events(all);
	vq_run_close(r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tensorboard");
	TCase *t = tcase_create("events");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, known_crc);
	tcase_add_test(t, scalars_and_pictures);
	tcase_add_test(t, rewinding);
	tcase_add_test(t, damage);
	tcase_add_test(t, nowhere_to_write);
	tcase_add_test(t, of_a_run);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
