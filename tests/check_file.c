/*
 * check_file -- files whole or not at all, and npy arrays
 *
 * Every test works in a folder of its own, which is the current one.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "tests/scratch.h"

static char dir[64];
static struct vq_diags d;

static void
enter(void)
{
	scratch_make(dir);
	ck_assert_int_eq(chdir(dir), 0);
}

static void
leave(void)
{
	vq_diags_free(&d);
	ck_assert_int_eq(chdir("/"), 0);
	scratch_remove(dir);
}

/* The one message that was reported, which is dropped. */
static bool
said(const char *part, enum vq_status status)
{
	bool ok = d.total == 1 && d.diag[0]->status == status && strstr(d.diag[0]->message, part);

	if (!ok)
		vq_diags_print(&d, stderr, false);
	vq_diags_free(&d);
	return ok;
}

static int
files_here(void)
{
	DIR *all = opendir(".");
	int n = 0;

	for (struct dirent *e; (e = readdir(all)); )
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(all);
	return n;
}

static bool
holds(const char *path, const void *bytes, size_t n)
{
	size_t size;
	char *all = vq_file_read(path, 1 << 20, &size, VQ_DATA, &d);
	bool same = all && size == n && memcmp(all, bytes, n) == 0 && all[n] == '\0';

	free(all);
	return same;
}

/* --- whole files ---------------------------------------------------------- */

START_TEST(a_file_comes_back)
{
	ck_assert_int_eq(vq_file_write("a", "x\0y", 3, &d), 0);
	ck_assert(holds("a", "x\0y", 3));
	ck_assert_int_eq(vq_file_write("a", "", 0, &d), 0);
	ck_assert(holds("a", "", 0));
	ck_assert_int_eq(files_here(), 1);
	ck_assert_int_eq(d.total, 0);
}
END_TEST

START_TEST(mode_and_links_stay)
{
	struct stat st;

	umask(022);
	ck_assert_int_eq(vq_file_write("a", "x", 1, &d), 0);
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0644);
	chmod("a", 0600);
	ck_assert_int_eq(symlink("a", "link"), 0);
	ck_assert_int_eq(vq_file_write("link", "y", 1, &d), 0);
	ck_assert(holds("a", "y", 1));
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(lstat("link", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
}
END_TEST

/* The size that a file may have stands for a disk that is full. */
START_TEST(a_full_disk_leaves_the_old_file)
{
	struct rlimit limit = { 100000, RLIM_INFINITY };
	static char big[200000];

	ck_assert_int_eq(vq_file_write("a", "old", 3, &d), 0);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	ck_assert_int_eq(vq_file_write("a", big, sizeof(big), &d), -1);
	ck_assert(said("cannot write", VQ_FAILED));
	ck_assert(holds("a", "old", 3));
	ck_assert_int_eq(files_here(), 1);
}
END_TEST

START_TEST(a_device_is_written_to_and_stays)
{
	struct stat st;

	ck_assert_int_eq(vq_file_write("/dev/full", "x", 1, &d), -1);
	ck_assert(said("cannot write /dev/full: No space left on device", VQ_FAILED));
	ck_assert_int_eq(vq_file_write("/dev/null", "x", 1, &d), 0);
	ck_assert_int_eq(stat("/dev/null", &st), 0);
	ck_assert(S_ISCHR(st.st_mode));
}
END_TEST

START_TEST(places_that_cannot_be_written)
{
	mkdir("folder", 0777);
	ck_assert_int_eq(vq_file_write("folder", "x", 1, &d), -1);
	ck_assert(said("cannot write folder: Is a directory", VQ_FAILED));
	ck_assert_int_eq(vq_file_write("none/a", "x", 1, &d), -1);
	ck_assert(said("cannot write none/a: No such file or directory", VQ_FAILED));
	ck_assert_int_eq(vq_file_write("", "x", 1, &d), -1);
	ck_assert(said("cannot write", VQ_FAILED));
	ck_assert_int_eq(files_here(), 1);
}
END_TEST

START_TEST(leftovers_are_in_nobodys_way)
{
	char name[64];

	for (int i = 0; i < 5; i++) {	/* of a process that had this id and was killed */
		snprintf(name, sizeof(name), ".vqgraph-%ld-%d.tmp", (long)getpid(), i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	ck_assert_int_eq(vq_file_write("a", "x", 1, &d), 0);
	ck_assert(holds("a", "x", 1));
	ck_assert_int_eq(files_here(), 6);
}
END_TEST

START_TEST(what_cannot_be_read)
{
	size_t n;

	ck_assert_ptr_null(vq_file_read("none", 10, &n, VQ_DATA, &d));
	ck_assert(said("cannot read none: No such file or directory", VQ_DATA));
	ck_assert_ptr_null(vq_file_read(".", 10, &n, VQ_CONFIG, &d));
	ck_assert(said("cannot read .: it is a folder", VQ_CONFIG));
	ck_assert_int_eq(mkfifo("pipe", 0600), 0);
	ck_assert_ptr_null(vq_file_read("pipe", 10, &n, VQ_DATA, &d));	/* does not hang */
	ck_assert(said("cannot read pipe: it is not a regular file", VQ_DATA));
	ck_assert_int_eq(vq_file_write("a", "12345678901", 11, &d), 0);
	ck_assert_ptr_null(vq_file_read("a", 10, &n, VQ_DATA, &d));
	ck_assert(said("cannot read a: it has 11 bytes, more than 10", VQ_DATA));
}
END_TEST

/* --- npy ------------------------------------------------------------------ */

START_TEST(arrays_come_back)
{
	static const char *const types[] = {
		"f32[3, 4]", "f64", "i32[5]", "i64[1, 2, 3]", "u8[7]", "bool[2, 2]", "f32[0, 4]", "f32[1, 2, 1, 2, 1, 2]",
	};

	for (size_t i = 0; i < VQ_COUNT(types); i++) {
		struct vq_type t, back;
		void *data, *read;

		vq_type_parse(types[i], &t);
		data = vq_alloc_aligned(vq_type_bytes(&t));
		for (int64_t k = 0; k < vq_shape_count(&t.shape); k++)
			vq_set(&(struct vq_view){ data, &t }, k, (double)(k * 3 % 5));
		ck_assert_int_eq(vq_npy_write("a.npy", &(struct vq_view){ data, &t }, &d), 0);
		ck_assert_int_eq(vq_npy_read("a.npy", &back, &read, &d), 0);
		ck_assert(vq_type_equal(&t, &back));
		ck_assert_int_eq(memcmp(data, read, vq_type_bytes(&t)), 0);
		free(data);
		free(read);
	}
}
END_TEST

START_TEST(bf16_is_written_as_f32)
{
	struct vq_type t = vq_type_of(VQ_BF16, 1, (int64_t[]){ 2 }), back;
	uint16_t h[2] = { 0x3f80, 0xc000 };
	float *f;

	ck_assert_int_eq(vq_npy_write("a.npy", &(struct vq_view){ h, &t }, &d), 0);
	ck_assert_int_eq(vq_npy_read("a.npy", &back, (void **)&f, &d), 0);
	ck_assert_int_eq(back.dtype, VQ_F32);
	ck_assert(f[0] == 1 && f[1] == -2);
	free(f);
}
END_TEST

START_TEST(the_file_is_numpys_byte_for_byte)
{
	struct vq_type t = vq_type_of(VQ_U8, 1, (int64_t[]){ 3 });
	static const char head[] = "\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }";
	char want[128 + 3];

	memset(want, ' ', sizeof(want));
	memcpy(want, head, sizeof(head) - 1);
	want[127] = '\n';
	memcpy(want + 128, "\1\2\3", 3);
	ck_assert_int_eq(vq_npy_write("a.npy", &(struct vq_view){ (uint8_t[]){ 1, 2, 3 }, &t }, &d), 0);
	ck_assert(holds("a.npy", want, sizeof(want)));
}
END_TEST

/* A file of that version and header, with n bytes of data. */
static void
put_npy(int version, const char *header, size_t n)
{
	struct vq_text t = { 0 };
	size_t len = strlen(header);
	unsigned char head[4] = { (unsigned char)len, (unsigned char)(len >> 8), 0, 0 };

	vq_text_put(&t, "\x93NUMPY", 6);
	vq_text_put(&t, (unsigned char[]){ (unsigned char)version, 0 }, 2);
	vq_text_put(&t, head, version == 1 ? 2 : 4);
	vq_text_put(&t, header, len);
	for (size_t i = 0; i < n; i++)
		vq_text_put(&t, "\1", 1);
	ck_assert_int_eq(vq_file_write("a.npy", t.s, t.len, &d), 0);
	vq_text_free(&t);
}

START_TEST(headers_that_are_understood)
{
	static const struct { int version; const char *header; size_t n; const char *type; } rows[] = {
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", 24, "f32[2, 3]" },
		{ 2, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 8, "f64" },
		{ 1, "{\"shape\":(2L,),\"fortran_order\":True,\"descr\":\"|b1\"}\n", 2, "bool[2]" },
		{ 2, " { 'shape' : ( 4 , 1 ) , 'descr' : '<i8' , 'fortran_order' : False } ", 32, "i64[4, 1]" },
		{ 1, "{'descr': '<u1', 'fortran_order': False, 'shape': (0, 9)}", 0, "u8[0, 9]" },
	};
	char buf[VQ_TYPE_STR];

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		struct vq_type t;
		void *data;

		put_npy(rows[i].version, rows[i].header, rows[i].n);
		ck_assert_int_eq(vq_npy_read("a.npy", &t, &data, &d), 0);
		ck_assert_str_eq(vq_type_str(&t, buf), rows[i].type);
		free(data);
	}
}
END_TEST

START_TEST(headers_that_are_refused)
{
	static const struct { int version; const char *header; size_t n; const char *why; } rows[] = {
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7, "f32[2] takes 8 bytes, but the file has 7" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, "f32[2] takes 8 bytes, but the file has 9" },
		{ 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", 8, "Fortran order" },
		{ 1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, "big-endian (>f4)" },
		{ 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", 4, "elements of type <f2 cannot be read" },
		{ 1, "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 4, "elements of type |O cannot be read" },
		{ 1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, "of a structure" },
		{ 1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", 8, "neither True nor False" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8, "not a tuple" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", 24, "not a tuple" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", 8, "not a tuple" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1), }", 4, "more than 6 axes" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8, "too large" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0, "too large" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807), }", 0, "too large" },
		{ 1, "{'descr': '<f4', 'fortran_order': False}", 8, "lacks shape" },
		{ 1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, "has descr twice" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 8, "unknown key 'x'" },
		{ 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } x", 8, "behind the dictionary" },
		{ 1, "{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }", 8, "not closed" },
		{ 1, "{'descr': '<f4", 8, "of a structure" },
		{ 1, "", 8, "no dictionary" },
		{ 3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, "npy version 3.0" },
	};

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		struct vq_type t;
		void *data;

		put_npy(rows[i].version, rows[i].header, rows[i].n);
		ck_assert_int_eq(vq_npy_read("a.npy", &t, &data, &d), -1);
		ck_assert_msg(said(rows[i].why, VQ_DATA), "row %zu", i);
	}
}
END_TEST

/* Nothing that is cut off or altered does harm; what is cut off is never accepted. */
START_TEST(damaged_arrays)
{
	struct vq_type t = vq_type_of(VQ_BOOL, 1, (int64_t[]){ 3 }), back;
	size_t n;
	char *bytes;
	void *data;

	ck_assert_int_eq(vq_npy_write("a.npy", &(struct vq_view){ (uint8_t[]){ 1, 0, 1 }, &t }, &d), 0);
	bytes = vq_file_read("a.npy", 1 << 20, &n, VQ_DATA, &d);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(vq_file_write("cut.npy", bytes, i, &d), 0);
		ck_assert_int_eq(vq_npy_read("cut.npy", &back, &data, &d), -1);
		vq_diags_free(&d);
	}
	for (size_t i = 0; i < n; i++) {
		bytes[i] = (char)(bytes[i] ^ 0x15);
		ck_assert_int_eq(vq_file_write("bad.npy", bytes, n, &d), 0);
		if (vq_npy_read("bad.npy", &back, &data, &d) == 0) {
			const uint8_t *b = data;
			ck_assert(vq_type_bytes(&back) == 3 && b[0] <= 1 && b[1] <= 1 && b[2] <= 1);
			free(data);
		}
		vq_diags_free(&d);
		bytes[i] = (char)(bytes[i] ^ 0x15);
	}
	free(bytes);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("file");
	TCase *files = tcase_create("files"), *npy = tcase_create("npy");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(files, enter, leave);
	tcase_add_test(files, a_file_comes_back);
	tcase_add_test(files, mode_and_links_stay);
	tcase_add_test(files, a_full_disk_leaves_the_old_file);
	tcase_add_test(files, a_device_is_written_to_and_stays);
	tcase_add_test(files, places_that_cannot_be_written);
	tcase_add_test(files, leftovers_are_in_nobodys_way);
	tcase_add_test(files, what_cannot_be_read);
	tcase_add_checked_fixture(npy, enter, leave);
	tcase_add_test(npy, arrays_come_back);
	tcase_add_test(npy, bf16_is_written_as_f32);
	tcase_add_test(npy, the_file_is_numpys_byte_for_byte);
	tcase_add_test(npy, headers_that_are_understood);
	tcase_add_test(npy, headers_that_are_refused);
	tcase_add_test(npy, damaged_arrays);
	tcase_set_timeout(npy, 60);	/* a sync for each file */
	suite_add_tcase(suite, files);
	suite_add_tcase(suite, npy);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
