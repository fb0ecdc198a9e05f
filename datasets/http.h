/*
 * http -- one file over HTTP, into an open file descriptor
 */
#ifndef VQ_DATASETS_HTTP_H
#define VQ_DATASETS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

enum vq_http_result {
	VQ_HTTP_DONE,		/* all of the file's bytes are there (their hash is not looked at) */
	VQ_HTTP_CUT,		/* the connection ended early or stalled; what came is good to go on from */
	VQ_HTTP_RESTART,	/* the server cannot go on from `have`: ask again from 0 */
	VQ_HTTP_REFUSED,	/* no connection, an error status, or something that is not the file */
	VQ_HTTP_DISK,		/* writing failed */
};

struct vq_http {
	const char *url;
	int fd;			/* its offset is at `have` */
	int64_t have;		/* bytes there already, the transfer goes on behind them; kept up to date */
	int64_t bytes;		/* of the whole file, 0: unknown (and at most limit) */
	int64_t limit;
	bool gzip;		/* the file must begin as gzip does */
	int connect_s, stall_s;	/* give up after so many seconds without a connection, without a byte */
	void (*progress)(void *arg, int64_t have);	/* or NULL */
	void *arg;
	char why[320];		/* set when not DONE */
};

/* Redirects are followed, to HTTP and HTTPS only. */
enum vq_http_result vq_http_get(struct vq_http *h);

/* Libcurl's version, or NULL where it cannot be loaded. */
const char *vq_http_version(void);

#endif
