/*
 * check_fetch -- downloads from a server in this process that does what servers do
 * wrong: cut, altered, stalled, refused, missing, a web page, no resuming
 */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/fetch.h"
#include "datasets/sha256.h"
#include "tests/scratch.h"

enum { SIZE = 300000, SMALL = 1000, REQUESTS = 64 };

static char dir[64], base[64];
static unsigned char big[SIZE], small[SMALL];
static char big_sha[65], small_sha[65];

/* --- the server --------------------------------------------------------------- */


static int server_fd;
static pthread_t server;
static char asked[REQUESTS][160];	/* path and range of each request */
static int asks;

static void
reply(int fd, const void *bytes, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t w = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		done += (size_t)w;
	}
}

static void
reply_head(int fd, const char *status, long length, const char *more)
{
	char head[512];
	int n;

	if (length >= 0)
		n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %ld\r\n%s\r\n",
		    status, length, more);
	else
		n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: close\r\n%s\r\n", status, more);
	reply(fd, head, (size_t)n);
}

static void
reply_file(int fd, const char *how, const unsigned char *bytes, long size, long from)
{
	static unsigned char altered[SIZE];
	char range[128] = "";
	long n = size - from;

	if (from > 0)
		snprintf(range, sizeof(range), "Content-Range: bytes %ld-%ld/%ld\r\n", from, size - 1, size);
	if (strcmp(how, "altered") == 0) {
		memcpy(altered, bytes, (size_t)size);
		altered[size / 2] ^= 1;
		bytes = altered;
	}
	if (strcmp(how, "longer") == 0) {
		reply_head(fd, "200 OK", -1, "");
		reply(fd, bytes, (size_t)size);
		reply(fd, bytes, (size_t)size);
		return;
	}
	if (strcmp(how, "other") == 0) {
		reply_head(fd, "200 OK", n + 1, "");
		reply(fd, bytes, (size_t)n);
		return;
	}
	reply_head(fd, from > 0 ? "206 Partial Content" : "200 OK", strcmp(how, "unsized") == 0 ? -1 : n, range);
	if (strcmp(how, "cut") == 0 || strcmp(how, "stall") == 0 || strcmp(how, "unsized") == 0)
		n = n < SIZE / 4 ? n : SIZE / 4;
	reply(fd, bytes + from, (size_t)n);
	/* Until the other side hangs up. */
	if (strcmp(how, "stall") == 0 && from + n < size)
		poll(&(struct pollfd){ .fd = fd, .events = POLLRDHUP }, 1, 10000);
}

static void
answer(int fd)
{
	char request[2048] = "", how[32] = "", name[64] = "", *range;
	size_t len = 0;
	long from = 0;

	while (len + 1 < sizeof(request) && strstr(request, "\r\n\r\n") == NULL) {
		ssize_t r = recv(fd, request + len, sizeof(request) - 1 - len, 0);

		if (r <= 0)
			return;
		len += (size_t)r;
		request[len] = '\0';
	}
	sscanf(request, "GET /%31[^/]/%63s", how, name);
	range = strstr(request, "Range: bytes=");
	if (range != NULL)
		from = atol(range + strlen("Range: bytes="));
	if (asks < REQUESTS)
		snprintf(asked[asks++], sizeof(asked[0]), "%s/%s@%ld", how, name, from);

	if (strcmp(how, "missing") == 0)
		reply_head(fd, "404 Not Found", 0, "");
	else if (strcmp(how, "broken") == 0)
		reply_head(fd, "500 Internal Server Error", 5, ""), reply(fd, "sorry", 5);
	else if (strcmp(how, "page") == 0)
		reply_head(fd, "200 OK", 22, "Content-Type: text/html\r\n"), reply(fd, "<html>log in</html>   ", 22);
	else if (strcmp(how, "moved") == 0)
		reply_head(fd, "302 Found", 0, strcmp(name, "big.gz") == 0 ?
		    "Location: ../whole/big.gz\r\n" : "Location: ../whole/small.gz\r\n");
	else if (strcmp(how, "elsewhere") == 0)
		reply_head(fd, "302 Found", 0, "Location: file:///etc/hostname\r\n");
	else
		reply_file(fd, how, strcmp(name, "big.gz") == 0 ? big : small,
		    strcmp(name, "big.gz") == 0 ? SIZE : SMALL, strcmp(how, "norange") == 0 ? 0 : from);
}

static void *
serve(void *arg)
{
	int fd;

	while ((fd = accept(server_fd, NULL, NULL)) >= 0) {
		answer(fd);
		close(fd);
	}
	return NULL;
}

/* --- the test's set ----------------------------------------------------------- */

static struct vq_fetch files[3];
static const char *mirrors[3];
static char mirror_text[2][96];
static struct vq_source_kind kind = { .name = "tiny", .folder = "tiny", .layout = "two files", .fetch = files };

static void
put_file(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void
hash_of(const void *bytes, size_t n, char hex[65])
{
	char *path[] = { "hashed" };

	put_file(path[0], bytes, n);
	ck_assert_int_eq(vq_sha256_files(path, 1, hex, NULL), 0);
	unlink(path[0]);
}

static void
setup(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	scratch_make(dir);
	ck_assert_int_eq(chdir(dir), 0);
	for (int i = 0; i < SIZE; i++)
		big[i] = (unsigned char)((uint32_t)i * 2654435761u >> 13);
	memcpy(big, "\x1f\x8b", 2);
	memcpy(small, big, SMALL);
	hash_of(big, SIZE, big_sha);
	hash_of(small, SMALL, small_sha);
	files[0] = (struct vq_fetch){ "big.gz", SIZE, big_sha, mirrors };
	files[1] = (struct vq_fetch){ "small.gz", SMALL, small_sha, mirrors };

	server_fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(server_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(server_fd, 8), 0);
	ck_assert_int_eq(getsockname(server_fd, (struct sockaddr *)&a, &len), 0);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", ntohs(a.sin_port));
	ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
	unsetenv("VQGRAPH_MIRROR");
	setenv("no_proxy", "*", 1);
}

static void
teardown(void)
{
	shutdown(server_fd, SHUT_RDWR);
	pthread_join(server, NULL);
	close(server_fd);
	scratch_remove(dir);
}

/* Fetches from these folders of the server; returns 0 or -1, with the reason in d. */
static int
fetch(const char *first, const char *second, struct vq_diags *d)
{
	struct vq_fetch_options o = { .to = "data", .connect_s = 2, .stall_s = 1 };

	snprintf(mirror_text[0], sizeof(mirror_text[0]), "%s/%s/", base, first);
	snprintf(mirror_text[1], sizeof(mirror_text[1]), "%s/%s", base, second != NULL ? second : "");
	mirrors[0] = mirror_text[0];
	mirrors[1] = second != NULL ? mirror_text[1] : NULL;
	asks = 0;
	return vq_fetch_source(&kind, &o, NULL, d);
}

static void
is_there(const char *path, const void *bytes, size_t n)
{
	static unsigned char got[SIZE + 1];
	FILE *f = fopen(path, "rb");

	ck_assert_msg(f != NULL, "%s is not there", path);
	ck_assert_uint_eq(fread(got, 1, sizeof(got), f), n);
	ck_assert_mem_eq(got, bytes, n);
	fclose(f);
}

static void
fetches(const char *first, const char *second)
{
	struct vq_diags d = { 0 };
	int rc = fetch(first, second, &d);

	if (rc < 0)
		vq_diags_print(&d, stderr, false);
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(d.total, 0);
	is_there("data/tiny/big.gz", big, SIZE);
	is_there("data/tiny/small.gz", small, SMALL);
	ck_assert_int_ne(access("data/tiny/big.gz.part", F_OK), 0);
	ck_assert_int_ne(access("data/tiny/small.gz.part", F_OK), 0);
}

static void
fails(const char *first, enum vq_status status, const char *text)
{
	struct vq_diags d = { 0 };
	bool found;

	ck_assert_int_eq(fetch(first, NULL, &d), -1);
	ck_assert_int_eq(d.total, 1);
	ck_assert_int_eq(vq_diags_status(&d), status);
	found = strstr(d.diag[0]->message, text) != NULL;
	for (int i = 0; i < d.diag[0]->lines; i++)
		found |= strstr(d.diag[0]->line[i].text, text) != NULL;
	ck_assert_msg(found, "'%s' is not in '%s' or below '%s'", text, d.diag[0]->message,
	    d.diag[0]->lines > 0 ? d.diag[0]->line[0].text : "");
	ck_assert_int_ne(access("data/tiny/big.gz", F_OK), 0);
	vq_diags_free(&d);
}

/* --- tests -------------------------------------------------------------------- */

START_TEST(whole)
{
	fetches("whole", NULL);
	ck_assert_int_eq(asks, 2);
	/* Nothing is asked for again. */
	fetches("missing", NULL);
	ck_assert_int_eq(asks, 0);
}
END_TEST

/* Some authors give an MD5 alone, and no size. */
START_TEST(by_md5)
{
	char sum[65], *path = "hashed";

	put_file(path, big, SIZE);
	ck_assert_int_eq(vq_md5_file(path, sum, NULL), 0);
	ck_assert_uint_eq(strlen(sum), 32);
	unlink(path);
	files[0] = (struct vq_fetch){ "big.gz", 0, NULL, mirrors, sum };
	fetches("whole", NULL);
	unlink("data/tiny/big.gz");
	sum[0] = sum[0] == '0' ? '1' : '0';
	fails("whole", VQ_DATA, "its contents are not those expected (MD5)");
	put_file(path, "abc", 3);
	ck_assert_int_eq(vq_md5_file(path, sum, NULL), 0);
	ck_assert_str_eq(sum, "900150983cd24fb0d6963f7d28e17f72");	/* RFC 1321 */
}
END_TEST

START_TEST(redirected)
{
	fetches("moved", NULL);
}
END_TEST

START_TEST(goes_on_after_a_cut)
{
	fetches("cut", NULL);
	ck_assert_str_eq(asked[0], "cut/big.gz@0");
	ck_assert_str_eq(asked[1], "cut/big.gz@75000");
	ck_assert_str_eq(asked[3], "cut/big.gz@225000");
}
END_TEST

START_TEST(goes_on_with_a_part)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", big, 123456);
	fetches("whole", NULL);
	ck_assert_str_eq(asked[0], "whole/big.gz@123456");
}
END_TEST

START_TEST(whole_part_is_not_asked_for)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", big, SIZE);
	fetches("whole", NULL);
	ck_assert_str_eq(asked[0], "whole/small.gz@0");
}
END_TEST

START_TEST(part_of_something_else)
{
	unsigned char wrong[5000] = { 0x1f, 0x8b };

	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", wrong, sizeof(wrong));
	fetches("whole", NULL);
	ck_assert_str_eq(asked[0], "whole/big.gz@5000");
	ck_assert_str_eq(asked[1], "whole/big.gz@0");
}
END_TEST

START_TEST(part_that_is_too_long)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/small.gz.part", big, SIZE);
	fetches("whole", NULL);
}
END_TEST

START_TEST(server_that_cannot_resume)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", big, 5000);
	fetches("norange", NULL);
}
END_TEST

/* A page, an error status in answer to a resumed request: what was there stays. */
START_TEST(part_survives_a_bad_answer)
{
	static const char *const bad[] = { "page", "missing", "broken" };

	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	for (int i = 0; i < 3; i++) {
		put_file("data/tiny/big.gz.part", big, 5000);
		fails(bad[i], VQ_DATA, i == 0 ? "web page" : i == 1 ? "status 404" : "status 500");
		is_there("data/tiny/big.gz.part", big, 5000);
	}
	fetches("whole", NULL);
	ck_assert_str_eq(asked[0], "whole/big.gz@5000");
}
END_TEST

START_TEST(bad_answers)
{
	fails("altered", VQ_DATA, "its contents are not those expected");
	fails("missing", VQ_DATA, "answers with status 404");
	fails("broken", VQ_DATA, "answers with status 500");
	fails("page", VQ_DATA, "a web page came in place of the file");
	fails("longer", VQ_DATA, "sends more than 300000 bytes");
	unlink("data/tiny/big.gz.part");
	fails("other", VQ_DATA, "offers a file of 300001 bytes, not 300000");
	fails("elsewhere", VQ_DATA, "Protocol");
	fails("missing", VQ_DATA, "--mirror URL or VQGRAPH_MIRROR");
	/* Nothing came: nothing is left. */
	ck_assert_int_ne(access("data/tiny/big.gz.part", F_OK), 0);
}
END_TEST

START_TEST(stalled)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", big, 200000);

	/* 75,000 bytes come, then nothing; the rest is had by going on. */
	double began = vq_now();

	fetches("stall", NULL);
	ck_assert_double_lt(vq_now() - began, 8);
	ck_assert_str_eq(asked[1], "stall/big.gz@275000");
}
END_TEST

START_TEST(no_length_announced)
{
	fetches("unsized", NULL);
}
END_TEST

START_TEST(second_mirror)
{
	fetches("missing", "whole");
	/* The one that worked is asked first for the next file. */
	ck_assert_str_eq(asked[0], "missing/big.gz@0");
	ck_assert_str_eq(asked[2], "whole/small.gz@0");
	ck_assert_int_eq(asks, 3);
}
END_TEST

START_TEST(nobody_listens)
{
	struct vq_fetch_options o = { .to = "data", .mirror = "http://127.0.0.1:1/x", .connect_s = 2 };
	struct vq_diags d = { 0 };

	ck_assert_int_eq(vq_fetch_source(&kind, &o, NULL, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
	ck_assert_ptr_nonnull(strstr(d.diag[0]->line[0].text, "http://127.0.0.1:1/x/big.gz: "));
	vq_diags_free(&d);
	o.mirror = "ftp://127.0.0.1/x";
	ck_assert_int_eq(vq_fetch_source(&kind, &o, NULL, &d), -1);
	vq_diags_free(&d);
}
END_TEST

START_TEST(mirror_of_the_environment)
{
	char text[96];

	snprintf(text, sizeof(text), "%s/whole", base);
	setenv("VQGRAPH_MIRROR", text, 1);
	fetches("missing", NULL);
}
END_TEST

START_TEST(leaves_other_files_alone)
{
	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz", small, SMALL);

	struct vq_diags d = { 0 };

	ck_assert_int_eq(fetch("whole", NULL, &d), -1);
	ck_assert_int_eq(asks, 0);
	is_there("data/tiny/big.gz", small, SMALL);
	vq_diags_free(&d);
}
END_TEST

START_TEST(folders_that_cannot_be)
{
	struct vq_fetch_options o = { .to = "taken" };
	struct vq_diags d = { 0 };

	put_file("taken", "x", 1);
	ck_assert_int_eq(vq_fetch_source(&kind, &o, NULL, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_FAILED);
	vq_diags_free(&d);
	ck_assert_int_eq(vq_fetch_source(vq_source_kind_find("digits"), &o, NULL, &d), -1);
	ck_assert_int_eq(vq_diags_status(&d), VQ_USAGE);
	vq_diags_free(&d);
}
END_TEST

START_TEST(one_at_a_time)
{
	struct vq_diags d = { 0 };
	FILE *f;

	mkdir("data", 0755);
	mkdir("data/tiny", 0755);
	put_file("data/tiny/big.gz.part", big, 5000);
	f = fopen("data/tiny/big.gz.part", "r");
	ck_assert_int_eq(flock(fileno(f), LOCK_EX), 0);
	ck_assert_int_eq(fetch("whole", NULL, &d), -1);
	ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "another process"));
	ck_assert_int_eq(asks, 0);
	fclose(f);
	vq_diags_free(&d);
	fetches("whole", NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fetch");
	TCase *t = tcase_create("fetch");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, whole);
	tcase_add_test(t, by_md5);
	tcase_add_test(t, redirected);
	tcase_add_test(t, goes_on_after_a_cut);
	tcase_add_test(t, goes_on_with_a_part);
	tcase_add_test(t, whole_part_is_not_asked_for);
	tcase_add_test(t, part_of_something_else);
	tcase_add_test(t, part_that_is_too_long);
	tcase_add_test(t, server_that_cannot_resume);
	tcase_add_test(t, part_survives_a_bad_answer);
	tcase_add_test(t, bad_answers);
	tcase_add_test(t, stalled);
	tcase_add_test(t, no_length_announced);
	tcase_add_test(t, second_mirror);
	tcase_add_test(t, nobody_listens);
	tcase_add_test(t, mirror_of_the_environment);
	tcase_add_test(t, leaves_other_files_alone);
	tcase_add_test(t, folders_that_cannot_be);
	tcase_add_test(t, one_at_a_time);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0;
}
