/*
 * train_start -- when a stage's updates begin, and change what they minimize
 */
#include <math.h>

#include "engine/train_private.h"

unsigned
vq_trainer_active(const struct vq_trainer *s)
{
	unsigned active = 0;

	for (int k = 0; k < s->t->updates; k++) {
		unsigned loss = 0;
		for (int i = 0; i < s->t->update[k].losses; i++)
			if (s->step >= s->from[k][i])
				loss = (unsigned)i + 1;
		active |= loss << k * VQ_ACTIVE_BITS;
	}
	return active;
}

static int64_t
step_of(const struct vq_trainer *s, const struct vq_moment *m)
{
	return m->share > 0 ? (int64_t)ceil(m->share * (double)s->steps) : m->step;
}

void
vq_trainer_set_starts(struct vq_trainer *s)
{
	for (int k = 0; k < s->t->updates; k++)
		for (int i = 0; i < s->t->update[k].losses; i++)
			s->from[k][i] = step_of(s, i == 0 ? &s->t->update[k].from : &s->t->update[k].loss[i].from);
}

bool
vq_train_has_shares(const struct vq_train *t)
{
	bool found = false;

	for (int k = 0; k < t->updates; k++)
		for (int i = 0; i < t->update[k].losses; i++)
			found |= t->update[k].from.share > 0 || t->update[k].loss[i].from.share > 0;
	return found;
}

int
vq_trainer_say_untrained(struct vq_trainer *s)
{
	struct vq_text text = { 0 };
	struct vq_graph *g = vq_train_forward(s->r->model, s->t, s->t->data.batch, vq_active_all(s->t), s->d);

	if (g == NULL)
		return -1;
	vq_train_untrained(g, s->t, &text);
	if (text.len)
		vq_run_say(s->r->run, "%s", text.s);
	vq_text_free(&text);
	vq_graph_free(g);
	return 0;
}

void
vq_trainer_say_starts(struct vq_trainer *s)
{
	struct vq_text text = { 0 };

	for (int k = 0; k < s->t->updates; k++) {
		const struct vq_update *u = &s->t->update[k];
		for (int i = 0; i < u->losses; i++) {
			if (s->from[k][i] != s->step || s->step == 0)
				continue;
			vq_text_add(&text, "%s%s", text.len ? ", " : "", u->loss[i].name);
			if (i > 0)
				vq_text_add(&text, " in place of %s", u->loss[i - 1].name);
		}
	}
	if (text.len)
		vq_run_say(s->r->run, "stage %s: from step %lld on minimizes %s: %s may worsen for a while", s->t->name,
		    (long long)s->step + 1, text.s, vq_train_shown(s->t, "reconstructions") ? "reconstructions" : "other losses");
	vq_text_free(&text);
}
