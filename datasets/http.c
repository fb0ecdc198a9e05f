/*
 * http -- one file over HTTP, into an open file descriptor
 *
 * What is not the file is refused as early as it shows: by status, by announced
 * length, by the first bytes; nothing of it is written.
 */
#include "datasets/http.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>

#include "engine/base.h"

/*
 * Libcurl and the forty libraries behind it take longer to load than a model to compile, and
 * almost no run downloads: so it is loaded when it is asked for.
 */
#define LIBCURL "libcurl.so.4"

static struct {
	void *library;
	CURLcode (*global_init)(long);
	CURL *(*easy_init)(void);
	CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
	CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
	CURLcode (*easy_perform)(CURL *);
	void (*easy_cleanup)(CURL *);
	const char *(*easy_strerror)(CURLcode);
	curl_version_info_data *(*version_info)(CURLversion);
} lib;

static void
load(void)
{
	const struct {
		const char *name;
		void *to;		/* of a function pointer */
	} symbol[] = {
		{ "curl_global_init", &lib.global_init },
		{ "curl_easy_init", &lib.easy_init }, { "curl_easy_setopt", &lib.easy_setopt },
		{ "curl_easy_getinfo", &lib.easy_getinfo }, { "curl_easy_perform", &lib.easy_perform },
		{ "curl_easy_cleanup", &lib.easy_cleanup }, { "curl_easy_strerror", &lib.easy_strerror },
		{ "curl_version_info", &lib.version_info },
	};
	void *library = dlopen(LIBCURL, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; library != NULL && i < VQ_COUNT(symbol); i++) {
		void *f = dlsym(library, symbol[i].name);

		if (f == NULL)
			return;
		memcpy(symbol[i].to, &f, sizeof(f));
	}
	if (library != NULL && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		lib.library = library;
}

static bool
loaded(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return lib.library != NULL;
}

const char *
vq_http_version(void)
{
	return loaded() ? lib.version_info(CURLVERSION_NOW)->version : NULL;
}

#define WEB_PAGE "a web page came in place of the file (a proxy's, or a log-in?)"

struct transfer {
	struct vq_http *h;
	CURL *curl;
	bool begun;			/* the answer's head was judged */
	enum vq_http_result result;	/* why a callback stopped it */
};

static size_t stop(struct transfer *t, enum vq_http_result why, const char *fmt, ...) VQ_PRINTF(3, 4);

/* For callbacks: a count that curl takes as an error. */
static size_t
stop(struct transfer *t, enum vq_http_result result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->h->why, sizeof(t->h->why), fmt, ap);
	va_end(ap);
	t->result = result;
	return 0;
}

static bool
is_web_page(const struct transfer *t, unsigned char first)
{
	char *type = NULL;

	lib.easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type);
	return (type != NULL && strncasecmp(type, "text/html", 9) == 0) || first == '<';
}

static bool
gzip_begins(const struct transfer *t, const unsigned char *p, size_t n)
{
	static const unsigned char magic[] = { 0x1f, 0x8b };

	for (size_t i = 0; i < n && t->h->have + (int64_t)i < 2; i++)
		if (p[i] != magic[t->h->have + (int64_t)i])
			return false;
	return true;
}

/* The status and headers, once the body begins; 0 when they are not to go on with. */
static size_t
judge_head(struct transfer *t, const unsigned char *p, size_t n)
{
	struct vq_http *h = t->h;
	curl_off_t length = -1;
	long code = 0;

	lib.easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	lib.easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (code == 416)
		return stop(t, VQ_HTTP_RESTART, "cannot go on from byte %lld", (long long)h->have);
	if (code != 200 && code != 206)
		return stop(t, VQ_HTTP_REFUSED, "answers with status %ld", code);
	if (h->have == 0 && h->gzip && is_web_page(t, p[0]))
		return stop(t, VQ_HTTP_REFUSED, WEB_PAGE);
	if (length >= 0 && h->bytes > 0 && h->have + length != h->bytes)
		return stop(t, h->have > 0 ? VQ_HTTP_RESTART : VQ_HTTP_REFUSED,
		    "offers a file of %lld bytes, not %lld", (long long)(h->have + length), (long long)h->bytes);
	return n;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct vq_http *h = t->h;
	const unsigned char *p = (const unsigned char *)data;
	size_t n = size * count;
	int64_t most = h->bytes > 0 ? h->bytes : h->limit;

	if (n == 0)
		return 0;
	if (!t->begun && judge_head(t, p, n) == 0)
		return 0;
	t->begun = true;
	if (h->gzip && !gzip_begins(t, p, n))
		return stop(t, VQ_HTTP_REFUSED, "what came is not a gzip file");
	if ((int64_t)n > most - h->have)
		return stop(t, VQ_HTTP_REFUSED, "sends more than %lld bytes", (long long)most);
	for (size_t done = 0; done < n;) {
		ssize_t w = write(h->fd, p + done, n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return stop(t, VQ_HTTP_DISK, "%s", w < 0 ? strerror(errno) : "nothing was written");
		done += (size_t)w;
		h->have += w;
	}
	if (h->progress != NULL)
		h->progress(h->arg, h->have);
	return n;
}

static void
configure(CURL *c, struct transfer *t, char error[CURL_ERROR_SIZE])
{
	const struct vq_http *h = t->h;

	lib.easy_setopt(c, CURLOPT_URL, h->url);
	lib.easy_setopt(c, CURLOPT_ERRORBUFFER, error);
	lib.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	lib.easy_setopt(c, CURLOPT_USERAGENT, "vqgraph");
	lib.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	lib.easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
#if LIBCURL_VERSION_NUM >= 0x075500
	lib.easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	lib.easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	lib.easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	lib.easy_setopt(c, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	lib.easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)h->connect_s);
	lib.easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	lib.easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)h->stall_s);
	lib.easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)h->have);
	lib.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	lib.easy_setopt(c, CURLOPT_WRITEDATA, t);
}

/* What a transfer that no callback stopped came to. */
static enum vq_http_result
outcome(struct transfer *t, CURLcode rc, const char *error)
{
	struct vq_http *h = t->h;
	long code = 0;

	lib.easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	switch (rc) {
	case CURLE_OK:
		if (!t->begun && code != 200 && code != 206) {
			stop(t, code == 416 ? VQ_HTTP_RESTART : VQ_HTTP_REFUSED, "answers with status %ld", code);
			return t->result;
		}
		if (h->bytes == 0 || h->have == h->bytes)
			return VQ_HTTP_DONE;
		stop(t, VQ_HTTP_CUT, "ended after %lld of %lld bytes", (long long)h->have, (long long)h->bytes);
		return VQ_HTTP_CUT;
	case CURLE_RANGE_ERROR:
		/* Also what curl says of any answer to a request for a part that is none. */
		if ((code != 200 && code != 206 && code != 416) || is_web_page(t, 0)) {
			if (code == 200)
				stop(t, VQ_HTTP_REFUSED, WEB_PAGE);
			else
				stop(t, VQ_HTTP_REFUSED, "answers with status %ld", code);
			return t->result;
		}
		stop(t, VQ_HTTP_RESTART, "cannot go on from byte %lld", (long long)h->have);
		return VQ_HTTP_RESTART;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2_STREAM:
		stop(t, VQ_HTTP_CUT, "the connection ended after %lld of %lld bytes", (long long)h->have,
		    (long long)h->bytes);
		return VQ_HTTP_CUT;
	case CURLE_OPERATION_TIMEDOUT:
		if (t->begun) {
			stop(t, VQ_HTTP_CUT, "nothing came for %d seconds, after %lld of %lld bytes", h->stall_s,
			    (long long)h->have, (long long)h->bytes);
			return VQ_HTTP_CUT;
		}
		/* fallthrough */
	default:
		stop(t, VQ_HTTP_REFUSED, "%s", error[0] != '\0' ? error : lib.easy_strerror(rc));
		return VQ_HTTP_REFUSED;
	}
}

enum vq_http_result
vq_http_get(struct vq_http *h)
{
	struct transfer t = { .h = h, .result = VQ_HTTP_DONE };
	char error[CURL_ERROR_SIZE] = "";
	enum vq_http_result result;

	h->why[0] = '\0';
	if (!loaded()) {
		stop(&t, VQ_HTTP_REFUSED, LIBCURL " cannot be loaded (apt install libcurl4)");
		return VQ_HTTP_REFUSED;
	}
	t.curl = lib.easy_init();
	if (t.curl == NULL) {
		stop(&t, VQ_HTTP_REFUSED, "libcurl does not start");
		return VQ_HTTP_REFUSED;
	}
	configure(t.curl, &t, error);

	CURLcode rc = lib.easy_perform(t.curl);

	result = t.result != VQ_HTTP_DONE ? t.result : outcome(&t, rc, error);
	lib.easy_cleanup(t.curl);
	return result;
}
