/*
 * check_log -- a run's folder, metrics, plots, and what is said on the way
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/checkpoint.h"
#include "engine/log.h"
#include "tests/scratch.h"

enum { FILE_MAX = 16 << 20 };

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

static struct vq_run *
create(const char *out, const char *name, int64_t bytes, struct vq_diags *d)
{
	return vq_run_create(&(struct vq_run_info){
		.out = out, .name = name, .config = "a: 1\n", .config_path = "model.yaml", .resolved = "a: 1\nb: 2\n",
		.command = "vqgraph run model.yaml", .threads_why = "2 threads", .isa = "avx2", .seed = 7,
		.bytes_needed = bytes }, d);
}

/* A run that says nothing while it is tested. */
static struct vq_run *
quiet_run(void)
{
	struct vq_run *r = create("runs", "demo", 1000, NULL);

	ck_assert_ptr_nonnull(r);
	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, true);
	return r;
}

/* The file's text, for free(). */
static char *
text_of(const char *path)
{
	size_t n;
	char *s = vq_file_read(path, FILE_MAX, &n, VQ_DATA, NULL);

	ck_assert_msg(s, "%s", path);
	return s;
}

static void
assert_text(const char *path, const char *expected)
{
	char *s = text_of(path);

	ck_assert_str_eq(s, expected);
	free(s);
}

static bool
has(const char *path, const char *what)
{
	char *s = text_of(path);
	bool is = strstr(s, what) != NULL;

	free(s);
	return is;
}

static int
lines_of(const char *path)
{
	char *s = text_of(path);
	int n = 0;

	for (const char *p = s; *p; p++)
		n += *p == '\n';
	free(s);
	return n;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* --- the folder -------------------------------------------------------------- */

START_TEST(everything_is_there)
{
	struct vq_run *r = create("some/deep/runs", "demo", 1000, NULL);
	json_t *env;

	ck_assert_ptr_nonnull(r);
	ck_assert_str_eq(vq_run_dir(r), "some/deep/runs/demo");
	ck_assert_int_eq(chdir("some/deep/runs"), 0);
	assert_text("demo/config.yaml", "a: 1\n");
	assert_text("demo/resolved.yaml", "a: 1\nb: 2\n");
	assert_text("demo/command.txt", "vqgraph run model.yaml\n");
	assert_text("demo/metrics.jsonl", "");
	assert_text("latest/config.yaml", "a: 1\n");
	ck_assert(is_folder("demo/checkpoints") && is_folder("demo/samples") && is_folder("demo/plots"));
	env = json_load_file("demo/env.json", 0, NULL);
	ck_assert_str_eq(json_string_value(json_object_get(env, "vqgraph")), PACKAGE_VERSION);
	ck_assert_str_eq(json_string_value(json_object_get(env, "isa")), "avx2");
	ck_assert_int_eq(json_integer_value(json_object_get(env, "seed")), 7);
	ck_assert(json_integer_value(json_object_get(env, "memory_bytes")) > 0);
	ck_assert_ptr_nonnull(json_object_get(env, "cpu"));
	json_decref(env);
	vq_run_close(r);
}
END_TEST

START_TEST(never_over_another)
{
	struct vq_run *a = quiet_run(), *b = quiet_run(), *c;
	char link[64] = { 0 };

	ck_assert_str_eq(vq_run_dir(a), "runs/demo");
	ck_assert_str_eq(vq_run_dir(b), "runs/demo-2");
	ck_assert(readlink("runs/latest", link, sizeof(link) - 1) > 0);
	ck_assert_str_eq(link, "demo-2");
	/* A file, a link to nowhere: both are taken. */
	ck_assert_int_eq(vq_file_write("runs/demo-3", "x", 1, NULL), 0);
	ck_assert_int_eq(symlink("nowhere", "runs/demo-4"), 0);
	c = quiet_run();
	ck_assert_str_eq(vq_run_dir(c), "runs/demo-5");
	vq_run_close(a);
	vq_run_close(b);
	vq_run_close(c);
}
END_TEST

static const char *const bad_names[] = { "", ".", "..", "a/b", "/tmp/x", ".hidden", "latest", "a\nb" };

START_TEST(bad_name)
{
	struct vq_diags d = { 0 };

	ck_assert_ptr_null(create("runs", bad_names[_i], 1000, &d));
	ck_assert_int_eq(vq_diags_status(&d), VQ_USAGE);
	ck_assert_int_ne(access("runs", F_OK), 0);
	vq_diags_free(&d);
}
END_TEST

START_TEST(no_room)
{
	struct vq_diags d = { 0 };

	ck_assert_ptr_null(create("runs", "demo", INT64_MAX, &d));
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "free space"));
	ck_assert_int_ne(access("runs/demo", F_OK), 0);
	vq_diags_free(&d);
}
END_TEST

START_TEST(in_the_way)
{
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_file_write("runs", "x", 1, NULL), 0);
	ck_assert_ptr_null(create("runs", "demo", 1000, &d));
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	assert_text("runs", "x");
	vq_diags_free(&d);
}
END_TEST

START_TEST(env_grows)
{
	struct vq_run *r = quiet_run();

	ck_assert_int_eq(vq_run_env(r, "data", "sha256 of \"it\"", NULL), 0);
	ck_assert_int_eq(vq_run_env(r, "data", "another", NULL), 0);
	json_t *env = json_load_file("runs/demo/env.json", JSON_REJECT_DUPLICATES, NULL);
	ck_assert_str_eq(json_string_value(json_object_get(env, "data")), "another");
	ck_assert_str_eq(json_string_value(json_object_get(env, "isa")), "avx2");
	json_decref(env);
	vq_run_close(r);
}
END_TEST

START_TEST(open_again)
{
	struct vq_diags d = { 0 };
	struct vq_run *r;

	ck_assert_ptr_null(vq_run_open("runs", NULL, &d));
	ck_assert_int_eq(vq_diags_status(&d), VQ_USAGE);
	vq_run_close(quiet_run());
	vq_run_close(quiet_run());
	r = vq_run_open("runs", NULL, NULL);
	ck_assert_str_eq(vq_run_dir(r), "runs/demo-2");
	vq_run_close(r);
	ck_assert_int_eq(unlink("runs/latest"), 0);
	r = vq_run_open("runs", NULL, NULL);
	ck_assert_str_eq(vq_run_dir(r), "runs/demo-2");
	vq_run_close(r);
	r = vq_run_open("elsewhere", "runs/demo/", NULL);
	ck_assert_str_eq(vq_run_dir(r), "runs/demo");
	vq_run_close(r);
	ck_assert_ptr_null(vq_run_open("runs", "runs/nothing", NULL));
	ck_assert_ptr_null(vq_run_open("runs", "runs", NULL));
	vq_diags_free(&d);
}
END_TEST

/* What a killed process left half written. */
START_TEST(leftovers)
{
	vq_run_close(quiet_run());
	ck_assert_int_eq(vq_file_write("runs/demo/checkpoints/.vqgraph-99999-0.tmp", "x", 1, NULL), 0);
	ck_assert_int_eq(vq_file_write("runs/demo/checkpoints/last.safetensors", "x", 1, NULL), 0);
	vq_run_close(vq_run_open("runs", NULL, NULL));
	ck_assert_int_ne(access("runs/demo/checkpoints/.vqgraph-99999-0.tmp", F_OK), 0);
	ck_assert_int_eq(access("runs/demo/checkpoints/last.safetensors", F_OK), 0);
}
END_TEST

START_TEST(one_at_a_time)
{
	struct vq_diags d = { 0 };
	struct vq_run *r = quiet_run();

	ck_assert_ptr_null(vq_run_open("runs", NULL, &d));
	ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "another process"));
	vq_run_close(r);
	r = vq_run_open("runs", NULL, NULL);
	ck_assert_ptr_nonnull(r);
	vq_run_close(r);
	vq_diags_free(&d);
}
END_TEST

/* --- metrics ----------------------------------------------------------------- */

static void
row(struct vq_run *r, const char *stage, const char *split, int64_t step, int n, const char *const *name,
    const double *value)
{
	struct vq_metrics m = {
		.stage = stage, .split = split, .step = step, .epoch = .5, .time_s = 1.25, .samples_per_s = NAN,
		.lr = 3e-4, .data_wait = .25, .n = n, .name = name, .value = value
	};

	ck_assert_int_eq(vq_run_metrics(r, &m, NULL), 0);
}

static void
loss(struct vq_run *r, const char *stage, const char *split, int64_t step, double x)
{
	row(r, stage, split, step, 1, (const char *[]){ "loss" }, &x);
}

START_TEST(rows)
{
	static const char *const name[] = { "loss", "kl \"x\"", "step", "big" };
	const double value[] = { (double)0.1f, INFINITY, 3, 1e300 };
	struct vq_run *r = quiet_run();

	row(r, "vqvae", "train", 10, 4, name, value);
	assert_text("runs/demo/metrics.jsonl", "{\"stage\": \"vqvae\", \"split\": \"train\", \"step\": 10, \"epoch\": 0.5, "
	    "\"time_s\": 1.25, \"samples_per_s\": null, \"lr\": 0.0003, \"data_wait\": 0.25, \"loss\": 0.1, \"kl \\\"x\\\"\": null, "
	    "\"value.step\": 3, \"big\": 1e+300}\n");
	vq_run_close(r);
}
END_TEST

/* Numbers read back as they were, those of floats as floats. */
START_TEST(numbers)
{
	static const double x[] = { 0, -1, 1.0 / 3, M_PI, DBL_MAX, DBL_MIN, 5e-324, 123456789, FLT_MAX, 0.1, -1e-7 };
	struct vq_run *r = quiet_run();

	for (size_t i = 0; i < VQ_COUNT(x); i++)
		loss(r, "s", "train", (int64_t)i, x[i]);
	vq_run_close(r);
	FILE *f = fopen("runs/demo/metrics.jsonl", "r");
	for (size_t i = 0; i < VQ_COUNT(x); i++) {
		json_t *o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);

		double back = json_number_value(json_object_get(o, "loss"));
		if ((double)(float)x[i] == x[i])
			back = (double)(float)back;
		ck_assert_double_eq(back, x[i]);
		json_decref(o);
	}
	fclose(f);
}
END_TEST

START_TEST(csv_and_plots)
{
	struct vq_run *r = quiet_run();

	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	for (int i = 0; i < 50; i++)
		loss(r, "vqvae", "train", i, 100 * exp(-i / 5.0));
	loss(r, "vqvae", "train", 50, NAN);
	row(r, "vqvae", "val", 50, 2, (const char *[]){ "loss", "a,b" }, (double[]){ .5, 2 });
	loss(r, "p & <r>", "train", 1, -3);
	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	ck_assert_int_eq(lines_of("runs/demo/metrics.csv"), 54);
	ck_assert(has("runs/demo/metrics.csv", "stage,split,step,epoch,time_s,samples_per_s,lr,data_wait,loss,\"a,b\"\n"));
	ck_assert(has("runs/demo/metrics.csv", "\nvqvae,val,50,0.5,1.25,,0.0003,0.25,0.5,2\n"));
	ck_assert(has("runs/demo/metrics.csv", "\nvqvae,train,50,0.5,1.25,,0.0003,0.25,,\n"));
	ck_assert(has("runs/demo/plots/vqvae-loss.svg", "log scale"));
	ck_assert(has("runs/demo/plots/vqvae-loss.svg", "<circle"));
	ck_assert(!has("runs/demo/plots/vqvae-loss.svg", "nan"));
	ck_assert(!has("runs/demo/plots/vqvae-loss.svg", "inf"));
	ck_assert(has("runs/demo/plots/vqvae-a_b.svg", "val 2"));
	ck_assert(!has("runs/demo/plots/vqvae-a_b.svg", ">train"));
	ck_assert(has("runs/demo/plots/p____r_-loss.svg", "p &amp; &lt;r&gt;"));
	ck_assert_int_eq(access("runs/demo/plots/vqvae-lr.svg", F_OK), 0);
	vq_run_close(r);
}
END_TEST

/* Curves of every kind of range end in numbers. */
START_TEST(odd_ranges)
{
	static const double range[][3] = {
		{ 0, 0, 0 }, { 5, 5, 5 }, { -2, -2, -2 }, { 1e-30, 1e-30, 1e30 }, { -1e300, 0, 1e300 },
		{ 1e300, 1e300, 1e300 }, { 5e-324, 5e-324, 0 }, { -DBL_MAX, DBL_MAX, 0 }, { 1, 1 + DBL_EPSILON, 1 },
		{ NAN, 1, NAN }, { NAN, NAN, NAN }, { 1e-320, DBL_MAX, 1 },
	};
	struct vq_run *r = quiet_run();
	char *s;

	for (int i = 0; i < 3; i++)
		loss(r, "s", "train", _i % 2 ? i : (int64_t)1 << (20 * i), range[_i][i]);
	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	if (access("runs/demo/plots/s-loss.svg", F_OK) == 0) {
		s = text_of("runs/demo/plots/s-loss.svg");
		ck_assert_ptr_null(strstr(s, "nan"));
		ck_assert_ptr_null(strstr(s, "inf"));
		ck_assert_ptr_nonnull(strstr(s, "</svg>"));
		ck_assert_uint_lt(strlen(s), 20000);
		free(s);
	} else {
		ck_assert(!(fabs(range[_i][1]) <= 1e100));
	}
	vq_run_close(r);
}
END_TEST

/* However many rows there are, a plot stays small. */
START_TEST(many_rows)
{
	struct vq_run *r = quiet_run();
	struct stat st;

	for (int i = 0; i < 5000; i++)
		loss(r, "s", "train", i, i == 2500 ? 77 : sin(i));
	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	ck_assert_int_eq(stat("runs/demo/plots/s-loss.svg", &st), 0);
	ck_assert_int_lt(st.st_size, 60000);
	vq_run_close(r);
}
END_TEST

START_TEST(rewind_rows)
{
	static const char *const stages[] = { "first", "second", "third" };
	struct vq_run *r = quiet_run();

	for (int i = 1; i <= 10; i++)
		loss(r, "first", "train", i, i);
	for (int i = 1; i <= 10; i++)
		loss(r, "second", i % 5 ? "train" : "val", i, i);
	loss(r, "third", "train", 1, 1);
	loss(r, "gone", "train", 1, 1);
	ck_assert_int_eq(vq_run_rewind(r, stages, 3, 1, 5, NULL), 0);
	ck_assert_int_eq(lines_of("runs/demo/metrics.jsonl"), 15);
	ck_assert(!has("runs/demo/metrics.jsonl", "third"));
	ck_assert(!has("runs/demo/metrics.jsonl", "gone"));
	ck_assert(!has("runs/demo/metrics.jsonl", "\"second\", \"split\": \"train\", \"step\": 6"));
	ck_assert(has("runs/demo/metrics.jsonl", "\"first\", \"split\": \"train\", \"step\": 10"));
	/* Rows go to the new file. */
	loss(r, "second", "train", 6, 1);
	ck_assert_int_eq(lines_of("runs/demo/metrics.jsonl"), 16);
	vq_run_close(r);
}
END_TEST

/* Half a row of a process that was killed, and lines that are none. */
START_TEST(torn_rows)
{
	static const char *const stages[] = { "s" };
	struct vq_run *r = quiet_run();
	FILE *f;

	loss(r, "s", "train", 1, 1);
	vq_run_close(r);
	f = fopen("runs/demo/metrics.jsonl", "a");
	fprintf(f, "[]\nnull\n{\"stage\": 1}\n{\"stage\": \"s\", \"split\": \"train\", \"st");
	fclose(f);
	r = vq_run_open("runs", NULL, NULL);
	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, true);
	loss(r, "s", "train", 2, 2);
	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	ck_assert_int_eq(lines_of("runs/demo/metrics.csv"), 3);
	ck_assert_int_eq(vq_run_rewind(r, stages, 1, 0, 2, NULL), 0);
	ck_assert_int_eq(lines_of("runs/demo/metrics.jsonl"), 2);
	vq_run_close(r);
}
END_TEST

/* A run whose metrics were deleted goes on without them. */
START_TEST(no_metrics)
{
	static const char *const stages[] = { "s" };
	struct vq_run *r = quiet_run();

	ck_assert_int_eq(unlink("runs/demo/metrics.jsonl"), 0);
	ck_assert_int_eq(vq_run_plot(r, NULL), 0);
	ck_assert_int_eq(vq_run_rewind(r, stages, 1, 0, 2, NULL), 0);
	loss(r, "s", "train", 1, 1);
	ck_assert_int_eq(lines_of("runs/demo/metrics.jsonl"), 1);
	vq_run_close(r);
}
END_TEST

START_TEST(full_disk)
{
	struct vq_diags d = { 0 };
	struct vq_run *r = quiet_run();
	double x = 1;
	struct vq_metrics m = { .stage = "s", .split = "train", .n = 1, .name = (const char *[]){ "loss" }, .value = &x };

	if (access("/dev/full", W_OK) == 0) {
		ck_assert_int_eq(unlink("runs/demo/metrics.jsonl"), 0);
		ck_assert_int_eq(symlink("/dev/full", "runs/demo/metrics.jsonl"), 0);
		ck_assert_int_eq(vq_run_metrics(r, &m, &d), -1);
		ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
		ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "No space left"));
	}
	vq_run_close(r);
	vq_diags_free(&d);
}
END_TEST

/* --- progress ---------------------------------------------------------------- */

/* Standard error goes to a file from here on: the test's process is its own. */
static void
catch_stderr(void)
{
	int fd = open("said", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

	ck_assert(fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO && close(fd) == 0);
}

static const struct vq_progress_now now = {
	.stage = "vqvae", .epoch = 3, .epochs = 20, .step = 1420, .steps = 9380, .text = "loss 0.0312  lr 3.0e-4",
	.samples_per_s = 1840, .elapsed_s = 42, .left_s = 3723
};

START_TEST(bar)
{
	struct vq_run *r = quiet_run();

	catch_stderr();
	ck_assert_int_eq(setenv("COLUMNS", "120", 1), 0);
	vq_run_progress_mode(r, VQ_PROGRESS_BAR, false, false);
	ck_assert(vq_run_progress_due(r));
	vq_run_progress(r, &now);
	assert_text("said", "\rvqvae epoch 3/20  1420/9380 [===>                    ]  15%  loss 0.0312  lr 3.0e-4"
	    "  1840 samples/s  00:42<1:02:03\033[K");
	/* Not again at once; a line that stays clears it, and it comes back. */
	ck_assert(!vq_run_progress_due(r));
	vq_run_progress(r, &now);
	vq_run_progress_line(r, "epoch %d done", 3);
	ck_assert(has("said", "\033[K\r\033[Kepoch 3 done\n"));
	ck_assert(vq_run_progress_due(r));
	vq_run_progress(r, &now);
	vq_run_close(r);
	char *s = text_of("said");
	ck_assert_str_eq(s + strlen(s) - 4, "\r\033[K");
	free(s);
	ck_assert(has("runs/demo/log.txt", "  epoch 3 done\n"));
	ck_assert(!has("runs/demo/log.txt", "1420"));
}
END_TEST

/* Whatever the width, a bar stays on its line. */
START_TEST(narrow)
{
	struct vq_progress_now wide = now;
	struct vq_run *r;
	char columns[16], *s;

	wide.text = "loss \xc3\xa9\xe6\xbc\xa2 0.0312";
	for (int width = 1; width < 130; width++) {
		r = quiet_run();
		catch_stderr();
		snprintf(columns, sizeof(columns), "%d", width);
		ck_assert_int_eq(setenv("COLUMNS", columns, 1), 0);
		vq_run_progress_mode(r, VQ_PROGRESS_BAR, false, false);
		vq_run_progress(r, &wide);
		s = text_of("said");
		int shown = 0;
		for (const char *p = s + 1; *p && *p != '\033'; p++)
			shown += ((unsigned char)*p & 0xc0) != 0x80;
		ck_assert_msg(shown < width || width == 1, "%d of %d: %s", shown, width, s);
		free(s);
		vq_run_close(r);
	}
}
END_TEST

START_TEST(plain)
{
	struct vq_run *r = quiet_run();

	catch_stderr();
	vq_run_progress_mode(r, VQ_PROGRESS_AUTO, true, false);		/* a file is no terminal */
	ck_assert(!vq_run_progress_due(r));	/* the first after 30 seconds */
	vq_run_progress(r, &now);
	vq_run_say(r, "%d things", 3);
	vq_run_progress_line(r, "epoch 1");
	assert_text("said", "3 things\nepoch 1\n");
	vq_run_close(r);
}
END_TEST

START_TEST(silent)
{
	struct vq_run *r = quiet_run();

	catch_stderr();
	vq_run_progress_mode(r, VQ_PROGRESS_NONE, false, false);
	ck_assert(!vq_run_progress_due(r));
	vq_run_progress_line(r, "epoch 1");
	vq_run_say(r, "a note");
	assert_text("said", "a note\n");
	vq_run_progress_mode(r, VQ_PROGRESS_BAR, false, true);
	ck_assert(!vq_run_progress_due(r));
	vq_run_progress_line(r, "epoch 2");
	vq_run_say(r, "another note");
	assert_text("said", "a note\n");
	ck_assert(has("runs/demo/log.txt", "  epoch 1\n") && has("runs/demo/log.txt", "  epoch 2\n"));
	ck_assert(has("runs/demo/log.txt", "  another note\n"));
	vq_run_close(r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("runs");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, everything_is_there);
	tcase_add_test(t, never_over_another);
	tcase_add_loop_test(t, bad_name, 0, (int)VQ_COUNT(bad_names));
	tcase_add_test(t, no_room);
	tcase_add_test(t, in_the_way);
	tcase_add_test(t, env_grows);
	tcase_add_test(t, open_again);
	tcase_add_test(t, leftovers);
	tcase_add_test(t, one_at_a_time);
	tcase_add_test(t, rows);
	tcase_add_test(t, numbers);
	tcase_add_test(t, csv_and_plots);
	tcase_add_loop_test(t, odd_ranges, 0, 12);
	tcase_add_test(t, many_rows);
	tcase_add_test(t, rewind_rows);
	tcase_add_test(t, torn_rows);
	tcase_add_test(t, no_metrics);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, bar);
	tcase_add_test(t, narrow);
	tcase_add_test(t, plain);
	tcase_add_test(t, silent);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
