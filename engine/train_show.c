/*
 * train_show -- the pictures of a training stage: one row of the table at the end for each key of `show`
 */
#include <stdlib.h>
#include <string.h>

#include "engine/draw_codebook.h"
#include "engine/draw_codes.h"
#include "engine/image.h"
#include "engine/train_private.h"

enum { SHOWN = 16 };			/* reconstructions */

const char *
vq_train_shown(const struct vq_train *t, const char *kind)
{
	for (int i = 0; i < t->shows; i++)
		if (strcmp(t->show[i].kind->name, kind) == 0)
			return t->show[i].value;
	return NULL;
}

bool
vq_train_shows_values(const struct vq_train *t)
{
	for (int i = 0; i < t->shows; i++)
		if (t->show[i].kind->check)
			return true;
	return false;
}

/* How many codes a value has: what the stage's `codes` says. */
static const struct vq_codes *
codes_of(const struct vq_train *t, const char *value)
{
	for (int c = 0; c < t->ncodes; c++)
		if (strcmp(t->codes[c].value, value) == 0)
			return &t->codes[c];
	return NULL;
}

/* "codes" for a single value; with several, "codes-<value's step>", so that each has files of its own. */
static char *
name_of(const struct vq_show *s, int n)
{
	const char *dot = strrchr(s->value, '.');

	if (n == 1)
		return vq_strdup(s->kind->name);
	return vq_asprintf("%s-%.*s", s->kind->name, dot ? (int)(dot - s->value) : (int)strlen(s->value), s->value);
}

/* One picture of this moment, and the film of all so far; without a label one of the plots. */
static int
put_picture(struct vq_trainer *s, const struct vq_showing *now, const char *label, const char *what,
    struct vq_image *im)
{
	struct vq_shown shown = { .stage = s->t->name, .split = s->t->validate.source ? "val" : "train", .what = what,
	    .label = label, .step = s->step };
	int error = vq_run_picture(s->r->run, &shown, im, s->d);

	if (error == 0 && now->when == VQ_SHOW_EPOCH && shown.label)
		error = vq_run_movie(s->r->run, s->t->name, what, s->per_epoch, s->step, s->d);
	vq_image_free(im);
	return error;
}

static int
cannot(const struct vq_graph *g, const struct vq_show *s, vq_id value, const char *why)
{
	char type[VQ_TYPE_STR];
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, &s->at, "show: %s: %s is %s, %s", s->kind->name, s->value,
	    vq_type_str(vq_type_at(g, value), type), why);

	vq_note(e, NULL, "%s: %s", s->kind->name, s->kind->doc);
	return -1;
}

/* --- reconstructions ------------------------------------------------------------- */

static int
check_reconstructions(const struct vq_graph *g, const struct vq_train *t, const struct vq_show *s, vq_id value)
{
	vq_id image = vq_graph_find(g, "image");
	const struct vq_type *type = vq_type_at(g, value);

	if (image == VQ_NONE || g->value[image].kind != VQ_INPUT) {
		vq_error(g->diags, VQ_CONFIG, &s->at, "show: reconstructions: graph %s has no input `image` to be drawn "
		    "above %s", g->name, s->value);
		return -1;
	}
	if (type->shape.rank != 4 || !vq_type_equal(type, vq_type_at(g, image)) || type->dtype != VQ_F32)
		return cannot(g, s, value, "not of the type of `image`");
	return 0;
}

static struct vq_pictures
pictures_of(const struct vq_trainer *s, const struct vq_showing *now, int64_t most)
{
	const struct vq_shape *one = &s->val->field[vq_dataset_field(s->val, "image")].type.shape;

	return (struct vq_pictures){ .data = now->image, .n = now->batch < most ? now->batch : most, .h = one->dim[0],
	    .w = one->dim[1], .c = one->dim[2], .lo = s->val->lo, .hi = s->val->hi };
}

/* Originals above what the model made of them. */
static int
draw_reconstructions(struct vq_trainer *s, const struct vq_showing *now, const struct vq_show *const *shown, int n)
{
	struct vq_pictures p = pictures_of(s, now, SHOWN);
	const float *below[VQ_MAX_SHOWN];
	struct vq_image im;

	for (int i = 0; i < n; i++) {
		struct vq_view v;

		vq_plan_output(s->eval, shown[i]->value, &v);
		below[i] = v.data;
	}
	if (vq_image_pairs(&im, &p, below, n, 0, 0, s->d) < 0)
		return -1;
	return put_picture(s, now, now->label, shown[0]->kind->name, &im);
}

/* --- codes ----------------------------------------------------------------------- */

/* [n, t], [n, h, w] or [n, h, w, maps]. */
static int
check_codes(const struct vq_graph *g, const struct vq_train *t, const struct vq_show *s, vq_id value)
{
	const struct vq_type *type = vq_type_at(g, value);

	if (type->dtype != VQ_I32 || type->shape.rank < 2 || type->shape.rank > 4 || vq_shape_count(&type->shape) == 0)
		return cannot(g, s, value, "no codes of a picture: i32[n, h, w]");
	if (codes_of(t, s->value) == NULL) {
		struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, &s->at,
		    "show: codes: how many codes %s has is not known", s->value);
		vq_help(e, "say it in the stage, as in codes: {%s: 512}", s->value);
		return -1;
	}
	return 0;
}

/* A sequence is shown as a square, where it can be one. */
static int64_t
square_side(int64_t n)
{
	int64_t side = 1;

	while (side * side < n)
		side++;
	return side * side == n ? side : 1;
}

static int
draw_code_maps(struct vq_trainer *s, const struct vq_showing *now, const struct vq_show *const *shown, int n)
{
	int error = 0;

	for (int i = 0; i < n && error == 0; i++) {
		struct vq_view v;
		struct vq_image im;
		char *name = name_of(shown[i], n);

		vq_plan_output(s->eval, shown[i]->value, &v);
		const struct vq_shape *shape = &v.type->shape;
		struct vq_code_maps m = { .code = v.data, .n = shape->dim[0], .h = shape->dim[1],
		    .w = shape->rank > 2 ? shape->dim[2] : 1, .maps = shape->rank > 3 ? shape->dim[3] : 1,
		    .codes = codes_of(s->t, shown[i]->value)->size };
		if (shape->rank == 2) {
			m.h = square_side(shape->dim[1]);
			m.w = shape->dim[1] / m.h;
		}
		struct vq_pictures p = { 0 };
		if (now->image)
			p = pictures_of(s, now, m.n);
		error = vq_draw_codes(&im, now->image ? &p : NULL, &m, s->d);
		if (error == 0)
			error = put_picture(s, now, now->label, name, &im);
		free(name);
	}
	return error;
}

/* --- codebooks ------------------------------------------------------------------- */

static int
check_codebook(const struct vq_graph *g, const struct vq_train *t, const struct vq_show *s, vq_id value)
{
	const struct vq_type *type = vq_type_at(g, value);

	if (type->dtype != VQ_F32 || type->shape.rank < 2 || type->shape.rank > 3 || vq_shape_count(&type->shape) == 0)
		return cannot(g, s, value, "no list of entries: f32[codes, dim] or f32[books, codes, dim]");
	return 0;
}

/* "vq" of "vq.book". */
static bool
same_step(const char *a, const char *b)
{
	const char *dot = strrchr(a, '.');

	return dot && strncmp(a, b, (size_t)(dot - a) + 1) == 0 && strchr(b + (dot - a) + 1, '.') == NULL;
}

/* Of the codes that the same module gives, or of the only ones; NULL where it is not known. */
static const int64_t *
use_of(const struct vq_trainer *s, const char *book, int64_t n)
{
	for (int c = 0; c < s->t->ncodes; c++)
		if (s->t->codes[c].size == n && (same_step(book, s->t->codes[c].value) || s->t->ncodes == 1))
			return s->use[c];
	return NULL;
}

static int
draw_codebook(struct vq_trainer *s, const struct vq_showing *now, const float *entries, struct vq_codebook_map *m,
    const char *what)
{
	double *y = vq_alloc_array(2 * (size_t)m->n, sizeof(*y));
	struct vq_text svg = { 0 };
	struct vq_image im;
	int error = 0;

	m->y = y;
	if (vq_tsne(entries, m->n, m->d, m->use, y, &m->t)) {
		vq_codebook_svg(&svg, m);
		error = vq_run_plot_svg(s->r->run, s->t->name, what, &svg, s->d);
		if (error == 0) {
			vq_codebook_image(&im, m);
			error = put_picture(s, now, NULL, what, &im);
		}
	} else {
		vq_run_say(s->r->run, "%s is not drawn: an entry is not finite", m->name);
	}
	vq_text_free(&svg);
	free(y);
	return error;
}

/* One map, or several: of [books, codes, dim] one for each, whose codes are not counted apart. */
static int
draw_books(struct vq_trainer *s, const struct vq_showing *now, const char *value, const char *name)
{
	struct vq_view v;
	int error = 0;

	vq_plan_output(s->eval, value, &v);
	const int64_t *dim = v.type->shape.dim;
	bool one = v.type->shape.rank == 2;
	for (int64_t b = 0; b < (one ? 1 : dim[0]) && error == 0; b++) {
		int64_t n = dim[!one], d = dim[1 + !one];
		char *title = one ? vq_strdup(value) : vq_asprintf("%s %lld", value, (long long)b);
		char *what = one ? vq_strdup(name) : vq_asprintf("%s-%lld", name, (long long)b);
		struct vq_codebook_map m = { .stage = s->t->name, .name = title, .n = n, .d = d,
		    .use = one ? use_of(s, value, n) : NULL };

		error = draw_codebook(s, now, (const float *)v.data + b * n * d, &m, what);
		free(title);
		free(what);
	}
	return error;
}

static int
draw_codebooks(struct vq_trainer *s, const struct vq_showing *now, const struct vq_show *const *shown, int n)
{
	int error = 0;

	for (int i = 0; i < n && error == 0; i++) {
		char *name = name_of(shown[i], n);

		error = draw_books(s, now, shown[i]->value, name);
		free(name);
	}
	return error;
}

/* --- samples --------------------------------------------------------------------- */

static int
draw_samples(struct vq_trainer *s, const struct vq_showing *now, const struct vq_show *const *shown, int n)
{
	int error = 0;

	for (int i = 0; i < n && error == 0; i++) {
		struct vq_image im;
		char *name = name_of(shown[i], n);

		error = vq_sample_show(s->r, shown[i]->value, &im, s->d);
		if (error == 0)
			error = put_picture(s, now, now->label, name, &im);
		free(name);
	}
	return error < 0 ? -1 : 0;
}

/* --- all ------------------------------------------------------------------------- */

const struct vq_show_kind vq_show_kinds[] = {
	{ "reconstructions", "a value of the size of `image`, or a list of them, drawn under the originals",
	    VQ_SHOWN_OFTEN, check_reconstructions, draw_reconstructions },
	{ "codes", "a value that holds codes, or a list of them, drawn as colours beside the originals",
	    VQ_SHOWN_OFTEN, check_codes, draw_code_maps },
	{ "samples", "a stage with `do: sample`, or a list of them, drawn after each epoch",
	    VQ_SHOWN_BY_EPOCH, NULL, draw_samples },
	{ "codebook", "the entries of a codebook, or a list of them, as points on a plane after the last step",
	    VQ_SHOWN_AT_END, check_codebook, draw_codebooks },
	{ 0 }
};

/* The use of every code in the epoch that ended. */
static int
draw_use(struct vq_trainer *s)
{
	int error = 0;

	for (int c = 0; c < s->t->ncodes && error == 0; c++) {
		const struct vq_codes *codes = &s->t->codes[c];
		struct vq_show as = { .kind = &vq_show_kinds[1], .value = codes->value };
		struct vq_text svg = { 0 };
		char *name = name_of(&as, s->t->ncodes);

		if (s->use[c] && vq_codes_svg(&svg, s->t->name, codes->value, s->use[c], codes->size))
			error = vq_run_plot_svg(s->r->run, s->t->name, name, &svg, s->d);
		vq_text_free(&svg);
		free(name);
	}
	return error;
}

/* Runs evaluation on the first samples. */
static void
run_first(struct vq_trainer *s, struct vq_showing *now, void *data[VQ_MAX_FIELDS])
{
	int64_t most = s->t->validate.source ? s->t->validate.batch : s->t->data.batch;
	int image = vq_dataset_field(s->val, "image");
	uint32_t *index;

	now->batch = most < s->val->count ? most : s->val->count;
	index = vq_alloc_array((size_t)now->batch, sizeof(*index));
	for (int64_t i = 0; i < now->batch; i++)
		index[i] = (uint32_t)i;
	for (int f = 0; f < s->val->fields; f++) {
		data[f] = vq_alloc_array((size_t)now->batch, vq_type_bytes(&s->val->field[f].type));
		s->val->kind->gather(s->val, f, index, now->batch, data[f]);
	}
	free(index);
	vq_trainer_bind(s->eval, s->val, (const void *const *)data);
	vq_plan_run(s->eval, s->r->seed, (uint64_t)s->step);
	now->image = image >= 0 && s->val->field[image].type.shape.rank == 3 ? data[image] : NULL;
}

static void
label_of(const struct vq_trainer *s, enum vq_show_when when, char label[32])
{
	bool epoch = when == VQ_SHOW_EPOCH && s->step % s->per_epoch == 0;

	if (when == VQ_SHOW_STOPPED)
		snprintf(label, 32, "stopped");
	else
		vq_moment_label(label, epoch, epoch ? s->step / s->per_epoch : s->step);
}

static bool
is_drawn(const struct vq_show_kind *k, const struct vq_showing *now)
{
	return k->when == VQ_SHOWN_OFTEN || (k->when == VQ_SHOWN_BY_EPOCH && now->when == VQ_SHOW_EPOCH) || now->end;
}

static int
show_all(struct vq_trainer *s, enum vq_show_when when, bool end)
{
	struct vq_showing now = { .when = when, .end = end };
	void *data[VQ_MAX_FIELDS] = { NULL };
	bool evaluated = false;
	int error = 0;

	label_of(s, when, now.label);
	for (const struct vq_show_kind *k = vq_show_kinds; k->name && error == 0; k++) {
		const struct vq_show *shown[VQ_MAX_SHOWN];
		int n = 0;

		for (int i = 0; i < s->t->shows; i++)
			if (s->t->show[i].kind == k)
				shown[n++] = &s->t->show[i];
		if (n == 0 || !is_drawn(k, &now))
			continue;
		if (k->check && !evaluated)
			run_first(s, &now, data);
		evaluated |= k->check != NULL;
		error = k->draw(s, &now, shown, n);
	}
	for (int f = 0; f < VQ_MAX_FIELDS; f++)
		free(data[f]);
	if (error == 0 && when != VQ_SHOW_EARLY)
		error = draw_use(s);
	return error;
}

/* A picture that cannot be written is missed; hours of training would be, too. */
int
vq_trainer_show(struct vq_trainer *s, enum vq_show_when when, bool end)
{
	struct vq_diags own = { 0 }, *d = s->d;
	int error;

	s->d = &own;
	error = show_all(s, when, end);
	s->d = d;
	if (error < 0 && vq_diags_status(&own) == VQ_FAILED) {
		vq_run_say(s->r->run, "stage %s: pictures of step %lld are left out: %s", s->t->name, (long long)s->step,
		    own.diag[0]->message);
		vq_diags_free(&own);
		return 0;
	}
	vq_diags_move(d, &own);
	return error;
}
