/*
 * strided -- merging the axes that all operands walk alike
 */
#include "ops/kernels/strided.h"

/* Whether axis i continues axis i - 1 for every operand. */
static bool
continues(const struct vq_strided *s, int i)
{
	for (int j = 0; j < s->nin; j++)
		if (s->step[j][i - 1] != s->step[j][i] * s->dim[i])
			return false;
	return true;
}

static void
remove_axis(struct vq_strided *s, int i)
{
	s->rank--;
	for (int a = i; a < s->rank; a++) {
		s->dim[a] = s->dim[a + 1];
		for (int j = 0; j < s->nin; j++)
			s->step[j][a] = s->step[j][a + 1];
	}
}

void
vq_strided_merge(struct vq_strided *s)
{
	if (s->rank == 0) {
		s->rank = 1;
		s->dim[0] = 1;
		for (int j = 0; j < s->nin; j++)
			s->step[j][0] = 0;
	}
	for (int i = s->rank - 1; i >= 0; i--)
		if (s->dim[i] == 1 && s->rank > 1)
			remove_axis(s, i);
	for (int i = s->rank - 1; i > 0; i--) {
		if (!continues(s, i))
			continue;
		s->dim[i] *= s->dim[i - 1];
		remove_axis(s, i - 1);
	}
	/* One element is walked as a row of one, whatever its axis was. */
	for (int j = 0; j < s->nin; j++)
		if (s->rank == 1 && s->dim[0] == 1)
			s->step[j][0] = 1;
}

void
vq_strided_broadcast(struct vq_strided *s, const struct vq_shape *out, const struct vq_view *in, int nin)
{
	vq_assert(nin <= VQ_STRIDED_INS);
	s->rank = out->rank;
	s->nin = nin;
	for (int i = 0; i < out->rank; i++)
		s->dim[i] = out->dim[i];
	for (int j = 0; j < nin; j++) {
		const struct vq_shape *shape = &in[j].type->shape;
		int lead = out->rank - shape->rank;
		int64_t step = 1;
		for (int i = out->rank - 1; i >= 0; i--) {
			int64_t d = i < lead ? 1 : shape->dim[i - lead];
			s->step[j][i] = d == 1 ? 0 : step;
			step *= d;
		}
	}
	vq_strided_merge(s);
}

int64_t
vq_strided_span(const struct vq_strided *s, int from, int to)
{
	int64_t n = 1;

	for (int i = from; i < to; i++)
		n *= s->dim[i];
	return n;
}

void
vq_strided_at(const struct vq_strided *s, int axes, int64_t index, int64_t at[VQ_STRIDED_INS])
{
	for (int j = 0; j < s->nin; j++)
		at[j] = 0;
	for (int i = axes - 1; i >= 0; i--) {
		int64_t x = index % s->dim[i];
		index /= s->dim[i];
		for (int j = 0; j < s->nin; j++)
			at[j] += x * s->step[j][i];
	}
}
