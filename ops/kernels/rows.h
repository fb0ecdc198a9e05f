/*
 * rows -- vector kernels over rows and columns: softmax, norms, optimizers
 *
 * One more table beside struct vq_kernels, of kernels that more than one op
 * shares or that need an instruction set of their own.  All are for one thread
 * and give the same bits whatever else runs.
 */
#ifndef VQ_OPS_KERNELS_ROWS_H
#define VQ_OPS_KERNELS_ROWS_H

#include "ops/kernels/kernels.h"

/* Below so many elements a second thread costs more than it brings. */
enum { VQ_ROWS_SERIAL = 16384 };
/* Rows whose columns are added up as f32. */
enum { VQ_ROWS_COLUMN = 32 };

static inline int
vq_rows_team(int threads, int64_t elements)
{
	return elements < VQ_ROWS_SERIAL ? 1 : threads;
}

/* One step of Adam for all elements; ops/update.c has the formula. */
struct vq_rows_adam {
	float keep;		/* what decoupled decay leaves of the parameter */
	float decay;		/* of the coupled kind: added to the gradient */
	float beta1, fresh1;	/* beta and 1 - beta, each rounded once */
	float beta2, fresh2;
	float rate;		/* lr / (1 - beta1^t) */
	float root;		/* 1 / sqrt(1 - beta2^t) */
	float eps;
};

struct vq_rows_sgd {
	float lr, decay, momentum;
	bool nesterov;
};

struct vq_rows {
	/* rows of n contiguous elements */
	void (*softmax)(float *y, const float *x, int64_t rows, int64_t n);
	void (*log_softmax)(float *y, const float *x, int64_t rows, int64_t n);
	void (*logsumexp)(float *y, const float *x, int64_t rows, int64_t n);
	/* y * (g - sum(g * y)) and g - exp(y) * sum(g) */
	void (*softmax_grad)(float *dx, const float *y, const float *g, int64_t rows, int64_t n);
	void (*log_softmax_grad)(float *dx, const float *y, const float *g, int64_t rows, int64_t n);
	/* y = scale * (exp(x - lse) - less) over n elements */
	void (*softmax_less)(float *y, const float *x, float lse, float less, float scale, int64_t n);

	/* y = (x - mean) / sqrt(variance + eps), row by row */
	void (*norm)(float *y, float *mean, float *variance, const float *x, float eps,
	    int64_t rows, int64_t n);
	void (*norm_grad)(float *dx, const float *y, const float *variance, const float *g, float eps,
	    int64_t rows, int64_t n);

	/* One row, with scale and shift; y may be x. */
	void (*norm_affine)(float *y, float *mean, float *variance, const float *x, const float *scale,
	    const float *shift, float eps, int64_t n);
	/* One row, r = 1 / sqrt(variance + eps): dx, and the row's part of dscale and dshift added
	 * to them.  dx may be x or g. */
	void (*norm_affine_grad)(float *dx, float *dscale, float *dshift, const float *x, const float *scale,
	    float mean, float r, const float *g, int64_t n);

	/* y = x / sqrt(*mean + eps), *mean that of the squares of one row; dx = (g - y mean(g y)) /
	 * sqrt(mean + eps).  y may be x; dx may be y or g. */
	void (*rms)(float *y, float *mean, const float *x, float eps, int64_t n);
	void (*rms_grad)(float *dx, const float *y, float mean, const float *g, float eps, int64_t n);

	/*
	 * Columns: element i of n belongs to column i % w.  moments adds to s and q the
	 * sums of x - shift and of its square; pair_sums those of g and of g * y.  What is
	 * given in pieces of a multiple of VQ_ROWS_COLUMN * w has the same bits as at once.
	 */
	void (*moments)(double *s, double *q, const float *x, const float *shift, int64_t n, int64_t w);
	void (*pair_sums)(double *s, double *q, const float *g, const float *y, int64_t n, int64_t w);
	/* (x - mean) * r, and r * (g - mg - y * mgy), each with a value per column */
	void (*center)(float *y, const float *x, const float *mean, const float *r, int64_t n, int64_t w);
	void (*center_grad)(float *dx, const float *g, const float *y, const float *r,
	    const float *mg, const float *mgy, int64_t n, int64_t w);

	/* Outputs may be the inputs of the same name. */
	void (*adam)(const struct vq_rows_adam *o, const float *const in[4], float *const out[3], int64_t n);
	void (*sgd)(const struct vq_rows_sgd *o, const float *const in[3], float *const out[2], int64_t n);

	/* y = x * scale where bits >= limit, else 0 */
	void (*keep)(float *y, const float *x, const uint16_t *bits, uint32_t limit, float scale, int64_t n);

	/* Over rows of n: where score + norm[j] < best, best becomes that sum and at mark. */
	void (*take_less)(float *best, int32_t *at, const float *score, const float *norm,
	    int32_t mark, int64_t rows, int64_t n);

	/* The largest pixel of a window as below, channel by channel. */
	void (*largest)(float *y, const float *x, int64_t h, int64_t w, int64_t line, int64_t n);
	/*
	 * A window of h by w pixels of n channels in an image whose lines are `line` apart: in each
	 * channel the first largest pixel of x (NaN is larger than anything) gets g, the others 0, in
	 * `to`, which is laid out as x.  With add they are added to it.
	 */
	void (*put_largest)(float *to, const float *x, const float *g, int64_t h, int64_t w, int64_t line,
	    bool add, int64_t n);
};

extern const struct vq_rows vq_rows_portable, vq_rows_avx2, vq_rows_avx512;
/* The table for the instruction set of k. */
const struct vq_rows *vq_rows(const struct vq_kernels *k);

#endif
