/*
 * check_checkpoint -- safetensors and npy files: written, read, damaged
 */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "tests/scratch.h"

enum { FILE_MAX = 1 << 20 };

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

static struct vq_type
type_of(enum vq_dtype t, int rank, int64_t a, int64_t b)
{
	return vq_type_of(t, rank, (int64_t[]){ a, b });
}

static struct vq_var *
add(struct vq_vars *v, const char *name, enum vq_value_kind kind, enum vq_dtype t, int rank, int64_t a, int64_t b)
{
	struct vq_type type = type_of(t, rank, a, b);
	struct vq_var *x = vq_vars_add(v, name, kind, &type);
	unsigned char *p = x->data;

	for (size_t i = 0; i < vq_type_bytes(&type); i++)
		p[i] = (unsigned char)(t == VQ_BOOL ? i % 2 : i * 37 + strlen(name));
	return x;
}

/* One of every type, odd sizes, an empty one, a scalar. */
static void
make_vars(struct vq_vars *v)
{
	add(v, "enc.conv.0.weight", VQ_PARAM, VQ_F32, 2, 3, 5);
	add(v, "mask", VQ_STATE, VQ_BOOL, 1, 3, 0);
	add(v, "bytes", VQ_PARAM, VQ_U8, 1, 7, 0);
	add(v, "enc.norm.mean", VQ_STATE, VQ_F64, 1, 2, 0);
	add(v, "half", VQ_PARAM, VQ_BF16, 2, 3, 1);
	add(v, "optimizer.0.m.enc.conv.0.weight", VQ_STATE, VQ_F32, 2, 3, 5);
	add(v, "progress.train.step", VQ_STATE, VQ_I64, 0, 0, 0);
	add(v, "index", VQ_PARAM, VQ_I32, 2, 2, 2);
	add(v, "none", VQ_PARAM, VQ_F32, 2, 0, 4);
}

static void
save(const char *path)
{
	struct vq_vars v = { 0 };
	struct vq_meta m = { 0 };

	make_vars(&v);
	vq_meta_set(&m, "step", "120");
	vq_meta_set(&m, "config", "a: \"1\"\nb: \xc3\xa9\n");
	ck_assert_int_eq(vq_checkpoint_save(path, &v, true, &m, NULL), 0);
	vq_meta_free(&m);
	vq_vars_free(&v);
}

static bool
vars_equal(const struct vq_vars *a, const struct vq_vars *b)
{
	for (int i = 0; i < a->count; i++) {
		const struct vq_var *x = &a->var[i], *y = vq_vars_find(b, x->name);

		if (!y || x->kind != y->kind || !vq_type_equal(&x->type, &y->type) ||
		    memcmp(x->data, y->data, vq_type_bytes(&x->type)) != 0)
			return false;
	}
	return a->count == b->count;
}

static bool
meta_equal(const struct vq_meta *a, const struct vq_meta *b)
{
	for (int i = 0; i < a->count; i++) {
		const char *other = vq_meta_get(b, a->key[i]);

		if (!other || strcmp(other, a->value[i]) != 0)
			return false;
	}
	return a->count == b->count;
}

/* Whether an error of that status was reported that says all of the words. */
static bool
says(const struct vq_diags *d, enum vq_status status, const char *const *word)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	bool all = vq_diags_status(d) == status;

	vq_diags_print(d, f, false);
	fclose(f);
	for (; *word; word++)
		all = all && strstr(text, *word);
	if (!all)
		fprintf(stderr, "said: %s", text);
	free(text);
	return all;
}
#define SAYS(d, status, ...) says(d, status, (const char *const[]){ __VA_ARGS__, NULL })

/* --- whole files ----------------------------------------------------------- */

START_TEST(round_trip)
{
	struct vq_vars v = { 0 }, w = { 0 };
	struct vq_meta m = { 0 };
	char one[17], two[17];

	make_vars(&v);
	save("a.safetensors");
	ck_assert_int_eq(vq_checkpoint_load("a.safetensors", &w, VQ_LOAD_ALL, &m, NULL), 0);
	ck_assert(vars_equal(&v, &w));
	for (int i = 0; i < w.count; i++)
		ck_assert(w.var[i].loaded);
	ck_assert_str_eq(vq_meta_get(&m, "step"), "120");
	ck_assert_str_eq(vq_meta_get(&m, "config"), "a: \"1\"\nb: \xc3\xa9\n");
	vq_vars_hash(&v, one);
	ck_assert_int_eq(vq_checkpoint_hash("a.safetensors", two, NULL), 0);
	ck_assert_str_eq(one, two);
	vq_meta_free(&m);
	vq_vars_free(&v);
	vq_vars_free(&w);
}
END_TEST

/* The same variables give the same bytes, in whatever order they were made. */
START_TEST(order_of_creation)
{
	struct vq_vars v = { 0 }, w = { 0 };
	char one[17], two[17], *a, *b;
	size_t m, n;

	make_vars(&v);
	for (int i = v.count; i-- > 0; ) {
		struct vq_var *x = vq_vars_add(&w, v.var[i].name, v.var[i].kind, &v.var[i].type);

		memcpy(x->data, v.var[i].data, vq_type_bytes(&x->type));
	}
	vq_vars_hash(&v, one);
	vq_vars_hash(&w, two);
	ck_assert_str_eq(one, two);
	ck_assert_int_eq(vq_checkpoint_save("a", &v, true, NULL, NULL), 0);
	ck_assert_int_eq(vq_checkpoint_save("b", &w, true, NULL, NULL), 0);
	a = vq_file_read("a", FILE_MAX, &m, VQ_DATA, NULL);
	b = vq_file_read("b", FILE_MAX, &n, VQ_DATA, NULL);
	ck_assert(m == n && memcmp(a, b, n) == 0);
	((char *)w.var[2].data)[1] ^= 1;
	vq_vars_hash(&w, two);
	ck_assert_str_ne(one, two);
	free(a);
	free(b);
	vq_vars_free(&v);
	vq_vars_free(&w);
}
END_TEST

START_TEST(weights_only)
{
	struct vq_vars w = { 0 };

	save("a");
	ck_assert_int_eq(vq_checkpoint_load("a", &w, VQ_LOAD_PARAMS, NULL, NULL), 0);
	ck_assert_ptr_nonnull(vq_vars_find(&w, "enc.conv.0.weight"));
	ck_assert_ptr_nonnull(vq_vars_find(&w, "enc.norm.mean"));
	ck_assert_int_eq(vq_vars_find(&w, "enc.norm.mean")->kind, VQ_STATE);
	ck_assert_ptr_null(vq_vars_find(&w, "optimizer.0.m.enc.conv.0.weight"));
	ck_assert_ptr_null(vq_vars_find(&w, "progress.train.step"));
	vq_vars_free(&w);
}
END_TEST

START_TEST(without_state)
{
	struct vq_vars v = { 0 }, w = { 0 };

	make_vars(&v);
	ck_assert_int_eq(vq_checkpoint_save("a", &v, false, NULL, NULL), 0);
	ck_assert_int_eq(vq_checkpoint_load("a", &w, VQ_LOAD_ALL, NULL, NULL), 0);
	ck_assert_int_eq(w.count, 5);
	for (int i = 0; i < w.count; i++)
		ck_assert_int_eq(w.var[i].kind, VQ_PARAM);
	vq_vars_free(&v);
	vq_vars_free(&w);
}
END_TEST

/* All mismatches are named, and nothing is changed. */
START_TEST(other_shapes)
{
	struct vq_vars w = { 0 };
	struct vq_diags d = { 0 };
	struct vq_meta m = { 0 };

	save("a");
	add(&w, "enc.conv.0.weight", VQ_PARAM, VQ_F32, 2, 5, 3);
	add(&w, "bytes", VQ_PARAM, VQ_U8, 1, 7, 0);
	add(&w, "index", VQ_PARAM, VQ_I64, 2, 2, 2);
	add(&w, "half", VQ_STATE, VQ_BF16, 2, 3, 1);
	memset(w.var[1].data, 9, 7);
	ck_assert_int_eq(vq_checkpoint_load("a", &w, VQ_LOAD_ALL, &m, &d), -1);
	ck_assert(SAYS(&d, VQ_CHECKPOINT, "a: ", "enc.conv.0.weight", "f32[3, 5]", "f32[5, 3]", "index", "i32[2, 2]",
	    "i64[2, 2]", "half", "state"));
	ck_assert_int_eq(w.count, 4);
	ck_assert_int_eq(m.count, 0);
	for (int i = 0; i < 7; i++)
		ck_assert_int_eq(((char *)w.var[1].data)[i], 9);
	ck_assert(!w.var[1].loaded);
	vq_diags_free(&d);
	vq_vars_free(&w);
}
END_TEST

START_TEST(not_a_file)
{
	struct vq_vars w = { 0 };
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_checkpoint_load("missing", &w, VQ_LOAD_ALL, NULL, &d), -1);
	ck_assert(SAYS(&d, VQ_CHECKPOINT, "missing", "No such file"));
	ck_assert_int_eq(vq_checkpoint_load(".", &w, VQ_LOAD_ALL, NULL, NULL), -1);
	ck_assert_int_eq(vq_checkpoint_load("/dev/zero", &w, VQ_LOAD_ALL, NULL, NULL), -1);
	ck_assert_int_eq(mkfifo("pipe", 0600), 0);
	ck_assert_int_eq(vq_checkpoint_load("pipe", &w, VQ_LOAD_ALL, NULL, NULL), -1);
	vq_diags_free(&d);
}
END_TEST

/* --- damaged files --------------------------------------------------------- */

/* Loads what may be damaged; true when it was refused and nothing changed, or
 * when it is what was saved. */
static bool
refused_or_equal(const char *path, const struct vq_vars *v, const struct vq_meta *m)
{
	struct vq_vars w = { 0 };
	struct vq_meta got = { 0 };
	struct vq_diags d = { 0 };
	int rc = vq_checkpoint_load(path, &w, VQ_LOAD_ALL, &got, &d);
	bool ok = rc == 0 ? vars_equal(v, &w) && meta_equal(m, &got) :
	    w.count == 0 && got.count == 0 && vq_diags_status(&d) == VQ_CHECKPOINT;

	vq_vars_free(&w);
	vq_meta_free(&got);
	vq_diags_free(&d);
	return ok;
}

static void
put(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

START_TEST(every_byte)
{
	static const unsigned char flips[] = { 1, 2, 4, 8, 16, 32, 64, 128, 255 };
	struct vq_vars v = { 0 };
	struct vq_meta m = { 0 };
	size_t n;
	char *bytes;

	save("a");
	ck_assert_int_eq(vq_checkpoint_load("a", &v, VQ_LOAD_ALL, &m, NULL), 0);
	bytes = vq_file_read("a", FILE_MAX, &n, VQ_DATA, NULL);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof(flips); k++) {
			bytes[i] = (char)(bytes[i] ^ flips[k]);
			put("bad", bytes, n);
			ck_assert_msg(refused_or_equal("bad", &v, &m), "byte %zu, flip %d", i, flips[k]);
			bytes[i] = (char)(bytes[i] ^ flips[k]);
		}
	free(bytes);
	vq_vars_free(&v);
	vq_meta_free(&m);
}
END_TEST

START_TEST(every_length)
{
	struct vq_vars w = { 0 };
	size_t n;
	char *bytes;

	save("a");
	bytes = vq_file_read("a", FILE_MAX, &n, VQ_DATA, NULL);
	bytes = vq_realloc_array(bytes, n + 9, 1);
	memset(bytes + n, 0, 9);
	for (size_t i = 0; i < n + 9; i++) {
		if (i == n)
			continue;
		put("bad", bytes, i);
		ck_assert_msg(vq_checkpoint_load("bad", &w, VQ_LOAD_ALL, NULL, NULL) < 0, "%zu bytes", i);
		ck_assert_int_eq(w.count, 0);
	}
	free(bytes);
}
END_TEST

/* A file as anyone could make it. */
static void
craft(const char *header, const char *data, size_t n)
{
	struct vq_text t = { 0 };
	uint64_t length = strlen(header);

	vq_text_put(&t, &length, sizeof(length));
	vq_text_add(&t, "%s", header);
	vq_text_put(&t, data, n);
	put("crafted", t.s, t.len);
	vq_text_free(&t);
}

/* Files of others: no metadata, no checksum, no alignment, spaces. */
START_TEST(foreign)
{
	struct vq_vars w = { 0 };

	craft("{ \"w\": {\"dtype\":\"U8\", \"shape\":[2,2], \"data_offsets\":[0,4]},"
	    " \"e\": {\"dtype\":\"F32\", \"shape\":[0], \"data_offsets\":[4,4]}}  ", "abcd", 4);
	ck_assert_int_eq(vq_checkpoint_load("crafted", &w, VQ_LOAD_ALL, NULL, NULL), 0);
	ck_assert_int_eq(w.count, 2);
	ck_assert_mem_eq(vq_vars_find(&w, "w")->data, "abcd", 4);
	vq_vars_free(&w);
	craft("{}", "", 0);
	ck_assert_int_eq(vq_checkpoint_load("crafted", &w, VQ_LOAD_ALL, NULL, NULL), 0);
	ck_assert_int_eq(w.count, 0);
	craft("{\"__metadata__\":{\"format\":\"pt\"}}", "", 0);
	ck_assert_int_eq(vq_checkpoint_load("crafted", &w, VQ_LOAD_ALL, NULL, NULL), 0);
}
END_TEST

#define T(members) "{\"w\":{" members "}}"
static const char *const hostile[] = {
	"", "x", "[]", "{", "null", "{}x", " {}", "{\"w\":1}", "{\"w\":[]}", "{\"w\":{}}", "{\"w\":null}",
	/* types */
	T("\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]"),
	T("\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]"),
	T("\"shape\":[1],\"data_offsets\":[0,4]"),
	/* shapes */
	T("\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[4.0],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[\"4\"],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,4],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[4294967297,4294967296,4],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,4294967296],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]"),
	T("\"dtype\":\"U8\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]"),
	/* places */
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[-4,0]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0.0,4.0]"),
	T("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":\"0,4\""),
	T("\"dtype\":\"U8\",\"shape\":[4]"),
	T("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]"),
	T("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]"),
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
	"\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
	"\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
	"\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
	/* names */
	"{\"\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"a\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
	"\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
	"\"state/a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
	/* bools are 0 or 1 */
	T("\"dtype\":\"BOOL\",\"shape\":[4],\"data_offsets\":[0,4]"),
	/* metadata */
	"{\"__metadata__\":[],\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"__metadata__\":{\"x\":1},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"__metadata__\":{\"format\":\"vqgraph\"},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
	"{\"__metadata__\":{\"checksum\":\"0123456789abcdef\"},"
	"\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
};

START_TEST(hostile_headers)
{
	struct vq_vars w = { 0 };
	struct vq_diags d = { 0 };

	craft(hostile[_i], "abcd", 4);
	ck_assert_msg(vq_checkpoint_load("crafted", &w, VQ_LOAD_ALL, NULL, &d) < 0, "%s", hostile[_i]);
	ck_assert(SAYS(&d, VQ_CHECKPOINT, "crafted: "));
	ck_assert_int_eq(w.count, 0);
	vq_diags_free(&d);
}
END_TEST

START_TEST(hostile_lengths)
{
	static const uint64_t lengths[] = { 3, 1000, 100000001, (uint64_t)1 << 32, INT64_MAX, UINT64_MAX, UINT64_MAX - 7 };
	struct vq_vars w = { 0 };

	for (size_t i = 0; i < VQ_COUNT(lengths); i++) {
		char bytes[10];

		memcpy(bytes, &lengths[i], 8);
		memcpy(bytes + 8, "{}", 2);
		put("crafted", bytes, sizeof(bytes));
		ck_assert_int_eq(vq_checkpoint_load("crafted", &w, VQ_LOAD_ALL, NULL, NULL), -1);
	}
}
END_TEST

/* --- writing that fails ----------------------------------------------------- */

static int
files_here(void)
{
	int n = 0;
	FILE *f = popen("ls -A | wc -l", "r");

	ck_assert(f && fscanf(f, "%d", &n) == 1);
	pclose(f);
	return n;
}

/* A limit on the size of files stands for a full disk. */
START_TEST(full_disk)
{
	struct vq_vars v = { 0 };
	struct vq_diags d = { 0 };
	struct rlimit limit = { 1000, 1000 };
	size_t m, n;
	char *before, *after;

	save("a");
	before = vq_file_read("a", FILE_MAX, &m, VQ_DATA, NULL);
	add(&v, "w", VQ_PARAM, VQ_F32, 2, 100, 100);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(vq_checkpoint_save("a", &v, true, NULL, &d), -1);
	ck_assert(SAYS(&d, VQ_FAILED, "/a", "File too large"));
	ck_assert_int_eq(vq_checkpoint_save("new", &v, true, NULL, NULL), -1);
	after = vq_file_read("a", FILE_MAX, &n, VQ_DATA, NULL);
	ck_assert(m == n && memcmp(before, after, n) == 0);
	ck_assert_int_eq(files_here(), 1);
	free(before);
	free(after);
	vq_diags_free(&d);
	vq_vars_free(&v);
}
END_TEST

START_TEST(cannot_be_written)
{
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_file_write("missing/a", "x", 1, &d), -1);
	ck_assert(SAYS(&d, VQ_FAILED, "missing/a", "No such file"));
	ck_assert_int_eq(mkdir("folder", 0700), 0);
	ck_assert_int_eq(vq_file_write("folder", "x", 1, NULL), -1);
	if (access("/dev/full", W_OK) == 0) {
		ck_assert_int_eq(vq_file_write("/dev/full", "x", 1, NULL), -1);
		ck_assert_int_eq(access("/dev/full", F_OK), 0);
	}
	ck_assert_int_eq(files_here(), 1);
	vq_diags_free(&d);
}
END_TEST

/* Devices are written to, never replaced; a link keeps pointing where it did. */
START_TEST(what_stands_there)
{
	struct stat st;
	size_t n;
	char *bytes;

	ck_assert_int_eq(vq_file_write("/dev/null", "x", 1, NULL), 0);
	ck_assert(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
	put("target", "old", 3);
	ck_assert_int_eq(symlink("target", "link"), 0);
	ck_assert_int_eq(vq_file_write("link", "new!", 4, NULL), 0);
	ck_assert(lstat("link", &st) == 0 && S_ISLNK(st.st_mode));
	bytes = vq_file_read("target", FILE_MAX, &n, VQ_DATA, NULL);
	ck_assert_int_eq(n, 4);
	ck_assert_str_eq(bytes, "new!");
	free(bytes);
	ck_assert_int_eq(files_here(), 2);
}
END_TEST

START_TEST(reading_limits)
{
	struct vq_diags d = { 0 };
	size_t n;
	char *bytes;

	put("five", "12345", 5);
	ck_assert_ptr_null(vq_file_read("five", 4, &n, VQ_CONFIG, &d));
	ck_assert(SAYS(&d, VQ_CONFIG, "five"));
	bytes = vq_file_read("five", 5, &n, VQ_CONFIG, NULL);
	ck_assert_str_eq(bytes, "12345");
	free(bytes);
	put("empty", "", 0);
	bytes = vq_file_read("empty", 5, &n, VQ_CONFIG, NULL);
	ck_assert(bytes && n == 0 && *bytes == '\0');
	free(bytes);
	vq_diags_free(&d);
}
END_TEST

/* --- npy -------------------------------------------------------------------- */

START_TEST(npy_round_trip)
{
	static const enum vq_dtype types[] = { VQ_F32, VQ_F64, VQ_I32, VQ_I64, VQ_U8, VQ_BOOL };

	for (int rank = 0; rank <= 2; rank++) {
		struct vq_vars v = { 0 };
		struct vq_type t;
		struct stat st;
		void *data;
		struct vq_var *x = add(&v, "x", VQ_PARAM, types[_i], rank, 3, 5);

		ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ x->data, &x->type }, NULL), 0);
		ck_assert_int_eq(stat("x.npy", &st), 0);
		ck_assert_int_eq((st.st_size - (off_t)vq_type_bytes(&x->type)) % 64, 0);
		ck_assert_int_eq(vq_npy_read("x.npy", &t, &data, NULL), 0);
		ck_assert(vq_type_equal(&t, &x->type));
		ck_assert_mem_eq(data, x->data, vq_type_bytes(&t));
		free(data);
		vq_vars_free(&v);
	}
}
END_TEST

START_TEST(npy_bf16)
{
	uint16_t half[3] = { vq_f32_to_bf16(1.5f), vq_f32_to_bf16(-3), vq_f32_to_bf16(.25f) };
	struct vq_type t = type_of(VQ_BF16, 1, 3, 0);
	float *data;

	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ half, &t }, NULL), 0);
	ck_assert_int_eq(vq_npy_read("x.npy", &t, (void **)&data, NULL), 0);
	ck_assert_int_eq(t.dtype, VQ_F32);
	ck_assert(data[0] == 1.5f && data[1] == -3 && data[2] == .25f);
	free(data);
}
END_TEST

static int
npy(int version, const char *header, size_t length, size_t data)
{
	struct vq_text t = { 0 };
	struct vq_type type;
	void *array = NULL;
	int rc;

	vq_text_put(&t, "\x93NUMPY", 6);
	vq_text_put(&t, (char[]){ (char)version, 0 }, 2);
	vq_text_put(&t, (char[]){ (char)length, (char)(length >> 8), 0, 0 }, version == 1 ? 2 : 4);
	vq_text_add(&t, "%s", header);
	for (size_t i = 0; i < data; i++)
		vq_text_put(&t, "\1", 1);
	put("x.npy", t.s, t.len);
	vq_text_free(&t);
	struct vq_diags d = { 0 };
	rc = vq_npy_read("x.npy", &type, &array, &d);
	if (rc < 0)
		ck_assert(SAYS(&d, VQ_DATA, "x.npy"));
	else
		free(array);
	vq_diags_free(&d);
	return rc;
}

static int
npy_of(const char *header, size_t data)
{
	return npy(1, header, strlen(header), data);
}

#define NPY(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

START_TEST(npy_variants)
{
	ck_assert_int_eq(npy_of(NPY("<f4", "False", "(2,)") "   \n", 8), 0);
	ck_assert_int_eq(npy_of(NPY("<f4", "False", "()"), 4), 0);
	ck_assert_int_eq(npy_of(NPY("<f4", "False", "(0, 3)"), 0), 0);
	ck_assert_int_eq(npy_of("{\"shape\":(2,1),\"descr\":\"|u1\",\"fortran_order\":False}", 2), 0);
	ck_assert_int_eq(npy(2, NPY("<i8", "False", "(2, 2)"), strlen(NPY("<i8", "False", "(2, 2)")), 32), 0);
}
END_TEST

static const struct {
	const char *header;
	size_t data;
} hostile_npy[] = {
	{ NPY("<f4", "False", "(2,)"), 7 }, { NPY("<f4", "False", "(2,)"), 9 },
	{ NPY("<f4", "True", "(2, 2)"), 16 }, { NPY(">f4", "False", "(2,)"), 8 },
	{ NPY("|O", "False", "(1,)"), 8 }, { NPY("<f2", "False", "(4,)"), 8 },
	{ NPY("<c8", "False", "(1,)"), 8 }, { NPY("<U2", "False", "(1,)"), 8 },
	{ "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4 },
	{ NPY("<f4", "Maybe", "(1,)"), 4 }, { NPY("<f4", "0", "(1,)"), 4 },
	{ NPY("<f4", "False", "(-1,)"), 4 }, { NPY("<f4", "False", "(1.0,)"), 4 },
	{ NPY("<f4", "False", "[1]"), 4 }, { NPY("<f4", "False", "1"), 4 },
	{ NPY("<f4", "False", "(1,,)"), 4 }, { NPY("<f4", "False", "(,)"), 4 },
	{ NPY("<f4", "False", "(1, 1, 1, 1, 1, 1, 1)"), 4 },
	{ NPY("<f4", "False", "(9223372036854775807,)"), 4 },
	{ NPY("<f4", "False", "(4611686018427387905,)"), 4 },
	{ NPY("<f4", "False", "(99999999999999999999,)"), 4 },
	{ NPY("<f4", "False", "(4294967296, 4294967296)"), 0 },
	{ NPY("<f4", "False", "(0, 9223372036854775807)"), 0 },
	{ "", 4 }, { "{", 4 }, { "{}", 4 }, { "[]", 4 },
	{ "{'descr': '<f4', 'fortran_order': False}", 4 },
	{ "{'descr': '<f4', 'shape': (1,)}", 4 },
	{ "{'fortran_order': False, 'shape': (1,)}", 4 },
	{ "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4 },
	{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4 },
	{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4 },
	{ "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", 4 },
	{ "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4 },
	{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4 },
};

START_TEST(npy_hostile)
{
	ck_assert_msg(npy_of(hostile_npy[_i].header, hostile_npy[_i].data) < 0, "%s", hostile_npy[_i].header);
}
END_TEST

START_TEST(npy_hostile_starts)
{
	const char *h = NPY("<f4", "False", "(1,)");

	ck_assert_int_eq(npy(3, h, strlen(h), 4), -1);
	ck_assert_int_eq(npy(0, h, strlen(h), 4), -1);
	ck_assert_int_eq(npy(1, h, 65535, 4), -1);
	ck_assert_int_eq(npy(2, h, 65535, 4), -1);
}
END_TEST

/* Cut anywhere, or with any byte of the header changed, it is refused or the
 * array is as large as its file. */
START_TEST(npy_damaged)
{
	struct vq_vars v = { 0 };
	struct vq_var *x = add(&v, "x", VQ_PARAM, VQ_I32, 2, 3, 2);
	struct vq_type t;
	size_t n;
	char *bytes;
	void *data;

	ck_assert_int_eq(vq_npy_write("x.npy", &(struct vq_view){ x->data, &x->type }, NULL), 0);
	bytes = vq_file_read("x.npy", FILE_MAX, &n, VQ_DATA, NULL);
	for (size_t i = 0; i < n; i++) {
		put("bad.npy", bytes, i);
		ck_assert_int_eq(vq_npy_read("bad.npy", &t, &data, NULL), -1);
	}
	for (size_t i = 0; i < n; i++)
		for (int bit = 0; bit < 8; bit++) {
			bytes[i] = (char)(bytes[i] ^ 1 << bit);
			put("bad.npy", bytes, n);
			if (vq_npy_read("bad.npy", &t, &data, NULL) == 0) {
				ck_assert_int_eq(vq_type_bytes(&t), 24);
				free(data);
			}
			bytes[i] = (char)(bytes[i] ^ 1 << bit);
		}
	free(bytes);
	vq_vars_free(&v);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("checkpoint");
	TCase *t = tcase_create("files");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, order_of_creation);
	tcase_add_test(t, weights_only);
	tcase_add_test(t, without_state);
	tcase_add_test(t, other_shapes);
	tcase_add_test(t, not_a_file);
	tcase_add_test(t, every_byte);
	tcase_add_test(t, every_length);
	tcase_add_test(t, foreign);
	tcase_add_loop_test(t, hostile_headers, 0, (int)VQ_COUNT(hostile));
	tcase_add_test(t, hostile_lengths);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, cannot_be_written);
	tcase_add_test(t, what_stands_there);
	tcase_add_test(t, reading_limits);
	tcase_add_loop_test(t, npy_round_trip, 0, 6);
	tcase_add_test(t, npy_bf16);
	tcase_add_test(t, npy_variants);
	tcase_add_loop_test(t, npy_hostile, 0, (int)VQ_COUNT(hostile_npy));
	tcase_add_test(t, npy_hostile_starts);
	tcase_add_test(t, npy_damaged);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
