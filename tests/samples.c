/*
 * samples -- the examples of ops made ready to run
 */
#include "tests/samples.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rng.h"

void *
sample_room(const struct vq_type *t)
{
	void *p;

	ck_assert_int_eq(posix_memalign(&p, 64, vq_type_bytes(t) + 1), 0);
	memset(p, 0x55, vq_type_bytes(t));
	return p;
}

/* "a=f32[2,3](0.5,2) b=..." */
static void
parse_inputs(struct sample *s)
{
	const char *at = s->ex->in;

	while (*at) {
		int i = s->nin++, used = 0;
		ck_assert_int_lt(i, VQ_MAX_IN);
		at = strchr(at, '=');
		ck_assert_msg(at != NULL, "%s: '%s' has no '='", s->op->name, s->ex->in);
		at = vq_type_parse(at + 1, &s->in[i]);
		ck_assert_msg(at != NULL, "%s: '%s' is no list of types", s->op->name, s->ex->in);
		s->lo[i] = -1;
		s->hi[i] = 1;
		if (sscanf(at, "(%lf,%lf)%n", &s->lo[i], &s->hi[i], &used) == 2)
			at += used;
		at += strspn(at, " ");
	}
}

static void
infer(struct sample *s)
{
	struct vq_infer q = { .params = s->params, .nin = s->nin, .in = s->in, .out = s->out,
	    .nout = vq_op_outs(s->op), .bad_port = VQ_NONE };

	for (int i = 0; i < q.nout; i++)
		s->out[i] = s->nin > 0 ? s->in[0] : (struct vq_type){ VQ_F32, { 0 } };
	if (s->op->infer && s->op->infer(&q) < 0)
		s->message = q.message;
	s->nout = q.nout;
}

void
sample_prepare(struct sample *s, const struct vq_op *op, const struct vq_example *ex)
{
	char why[VQ_WHY];

	memset(s, 0, sizeof(*s));
	s->op = op;
	s->ex = ex;
	ck_assert_uint_le(op->size, sizeof(s->params));
	parse_inputs(s);
	if (!vq_op_variadic(op))
		ck_assert_msg(s->nin == vq_op_ports(op), "%s: '%s' gives %d inputs of %d", op->name, ex->in,
		    s->nin, vq_op_ports(op));
	if (op->params && vq_params_parse(op->params, s->params, ex->params ? ex->params : "", why) < 0)
		s->message = strdup(why);
	else
		infer(s);
}

void
sample_fill(const struct sample *s, int i, const struct vq_view *v)
{
	struct vq_rng_key key = { .seed = 11, .purpose = vq_hash_str(s->op->name) + (uint64_t)i };
	int64_t n = vq_shape_count(&v->type->shape);

	for (int64_t k = 0; k < n; k++) {
		double x = s->lo[i] + (s->hi[i] - s->lo[i]) * vq_rng_uniform(&key, (uint64_t)k);
		vq_set(v, k, vq_is_float(v->type->dtype) ? (double)(float)x : floor(x));
	}
}

double
sample_flops(const struct sample *s)
{
	struct vq_cost c = { .params = s->params, .nin = s->nin, .nout = s->nout, .in = s->in, .out = s->out,
	    .threads = 1 };

	if (s->op->flops)
		return s->op->flops(&c);
	return (double)vq_shape_count(&s->out[0].shape);
}

double
view_largest(const struct vq_view *v)
{
	double most = 0;

	for (int64_t i = vq_shape_count(&v->type->shape) - 1; i >= 0; i--)
		if (isfinite(vq_get(v, i)) && fabs(vq_get(v, i)) > most)
			most = fabs(vq_get(v, i));
	return most;
}
