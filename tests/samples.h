/*
 * samples -- the examples of ops made ready to run
 */
#ifndef VQ_TESTS_SAMPLES_H
#define VQ_TESTS_SAMPLES_H

#include "engine/op.h"

/* Examples that take more operations are not given to slow kernels. */
enum { SAMPLE_SLOW_FLOPS = 1000000 };

struct sample {
	const struct vq_op *op;
	const struct vq_example *ex;
	_Alignas(16) char params[1024];
	int nin, nout;
	struct vq_type in[VQ_MAX_IN], out[VQ_MAX_OUT];
	double lo[VQ_MAX_IN], hi[VQ_MAX_IN];
	void *data[VQ_MAX_IN];	/* as drawn: the same for every run */
	char *message;		/* why it does not fit, or NULL */
};

/* Parses inputs and parameters and infers the outputs; s->message (the caller's to
 * free) says why they do not fit.  What is no example at all fails the test. */
void sample_prepare(struct sample *s, const struct vq_op *op, const struct vq_example *ex);
/* Input i, the same numbers every time, as any type. */
void sample_fill(const struct sample *s, int i, const struct vq_view *v);
double sample_flops(const struct sample *s);
/* Memory of exactly that type, 64-byte aligned, filled with rubbish. */
void *sample_room(const struct vq_type *t);
/* Largest finite magnitude. */
double view_largest(const struct vq_view *v);

#endif
