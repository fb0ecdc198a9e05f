/*
 * checkpoint -- variables to and from files
 */
#include "engine/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/safetensors.h"

static const char state_prefix[] = "state/";

/* --- metadata ------------------------------------------------------------- */

void
vq_meta_set(struct vq_meta *m, const char *key, const char *value)
{
	char *copy = vq_strdup(value);

	for (int i = 0; i < m->count; i++)
		if (strcmp(m->key[i], key) == 0) {
			free(m->value[i]);
			m->value[i] = copy;
			return;
		}
	if (m->count == m->cap) {
		m->key = vq_grow_to(m->key, &m->cap, sizeof(*m->key));
		m->value = vq_realloc_array(m->value, (size_t)m->cap, sizeof(*m->value));
	}
	m->key[m->count] = vq_strdup(key);
	m->value[m->count++] = copy;
}

const char *
vq_meta_get(const struct vq_meta *m, const char *key)
{
	for (int i = 0; i < m->count; i++)
		if (strcmp(m->key[i], key) == 0)
			return m->value[i];
	return NULL;
}

void
vq_meta_free(struct vq_meta *m)
{
	for (int i = 0; i < m->count; i++) {
		free(m->key[i]);
		free(m->value[i]);
	}
	free(m->key);
	free(m->value);
	*m = (struct vq_meta){ 0 };
}

/* --- saving --------------------------------------------------------------- */

/* Variables as tensors under the names they have in files, which are the arena's. */
static struct vq_tensor *
as_tensors(const struct vq_vars *v, bool with_state, struct vq_arena *names, int *n)
{
	struct vq_tensor *t = vq_alloc_array((size_t)v->count + 1, sizeof(*t));

	*n = 0;
	for (int i = 0; i < v->count; i++) {
		const struct vq_var *x = &v->var[i];

		if (x->kind == VQ_STATE && !with_state)
			continue;
		t[(*n)++] = (struct vq_tensor){
			.name = x->kind == VQ_STATE ? vq_arena_printf(names, "%s%s", state_prefix, x->name) : x->name,
			.type = x->type,
			.data = x->data,
		};
	}
	return t;
}

int
vq_checkpoint_save(const char *path, const struct vq_vars *v, bool with_state,
    const struct vq_meta *meta, struct vq_diags *d)
{
	struct vq_arena names = { 0 };
	struct vq_meta none = { 0 };
	int n, status;
	struct vq_tensor *t = as_tensors(v, with_state, &names, &n);

	status = vq_tensors_write(path, t, n, meta ? meta : &none, d);
	free(t);
	vq_arena_free(&names);
	return status;
}

/* --- loading -------------------------------------------------------------- */

static enum vq_value_kind
kind_of(const struct vq_tensor *t, const char **name)
{
	size_t n = sizeof(state_prefix) - 1;
	bool state = strncmp(t->name, state_prefix, n) == 0 && t->name[n];

	*name = state ? t->name + n : t->name;
	return state ? VQ_STATE : VQ_PARAM;
}

static const char *
kind_name(enum vq_value_kind kind)
{
	return kind == VQ_PARAM ? "a parameter" : "state";
}

/* Whether a tensor can be taken over; reports otherwise. */
static bool
fits(const char *path, const struct vq_vars *v, const struct vq_tensor *t, struct vq_diags *d)
{
	char here[VQ_TYPE_STR], there[VQ_TYPE_STR];
	const char *name;
	enum vq_value_kind kind = kind_of(t, &name);
	const struct vq_var *x = vq_vars_find(v, name);

	if (x && x->kind != kind) {
		vq_error(d, VQ_CHECKPOINT, NULL, "%s: %.200s is %s in the file, and %s in the model", path, name,
		    kind_name(kind), kind_name(x->kind));
		return false;
	}
	if (x && !vq_type_equal(&x->type, &t->type)) {
		vq_error(d, VQ_CHECKPOINT, NULL, "%s: %.200s is %s in the file, and %s in the model", path, name,
		    vq_type_str(&t->type, there), vq_type_str(&x->type, here));
		return false;
	}
	return true;
}

/* Running statistics and codebooks that follow averages are weights that rules
 * train; what optimizers keep and how far training was are none. */
bool
vq_is_weight(const char *name)
{
	return strncmp(name, "optimizer.", 10) != 0 && strncmp(name, "progress.", 9) != 0;
}

static bool
wanted(const struct vq_tensor *t, enum vq_load what)
{
	const char *name;

	return what == VQ_LOAD_ALL || kind_of(t, &name) == VQ_PARAM || vq_is_weight(name);
}

static int
judge(const char *path, const struct vq_vars *v, const struct vq_tensors *file, enum vq_load what,
    struct vq_diags *d)
{
	struct vq_names seen = { 0 };
	int status = 0;

	for (int i = 0; i < file->count; i++) {
		const char *name;

		if (!wanted(&file->tensor[i], what))
			continue;
		kind_of(&file->tensor[i], &name);
		if (!vq_names_put(&seen, name, i)) {
			vq_error(d, VQ_CHECKPOINT, NULL, "%s: %.200s is there both as a parameter and as state",
			    path, name);
			status = -1;
		}
		if (!fits(path, v, &file->tensor[i], d))
			status = -1;
	}
	vq_names_free(&seen);
	return status;
}

static void
take_over(struct vq_vars *v, const struct vq_tensor *t)
{
	const char *name;
	enum vq_value_kind kind = kind_of(t, &name);
	struct vq_var *x = vq_vars_find(v, name);

	if (!x)
		x = vq_vars_add(v, name, kind, &t->type);
	x->loaded = true;
	if (x->data == NULL)
		x->data = vq_alloc_aligned(vq_type_bytes(&t->type));
	if (vq_type_bytes(&t->type))
		memcpy(x->data, t->data, vq_type_bytes(&t->type));
}

int
vq_checkpoint_load(const char *path, struct vq_vars *v, enum vq_load what,
    struct vq_meta *meta, struct vq_diags *d)
{
	struct vq_tensors file;
	int status;

	if (vq_tensors_read(path, &file, d) < 0)
		return -1;
	status = judge(path, v, &file, what, d);
	for (int i = 0; status == 0 && i < file.count; i++)
		if (wanted(&file.tensor[i], what))
			take_over(v, &file.tensor[i]);
	for (int i = 0; status == 0 && meta && i < file.meta.count; i++)
		vq_meta_set(meta, file.meta.key[i], file.meta.value[i]);
	vq_tensors_free(&file);
	return status;
}

/* --- hash ----------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
	const struct vq_tensor *s = a, *t = b;

	return strcmp(s->name, t->name);
}

/* Sorts t. */
static void
hash_tensors(struct vq_tensor *t, int n, char hex[17])
{
	uint64_t h = 0;

	qsort(t, (size_t)n, sizeof(*t), by_name);
	for (int i = 0; i < n; i++)
		h = vq_tensor_hash(&t[i], h);
	snprintf(hex, 17, "%016" PRIx64, h);
}

void
vq_vars_hash(const struct vq_vars *v, char hex[17])
{
	struct vq_arena names = { 0 };
	int n;
	struct vq_tensor *t = as_tensors(v, true, &names, &n);

	hash_tensors(t, n, hex);
	free(t);
	vq_arena_free(&names);
}

int
vq_checkpoint_hash(const char *path, char hex[17], struct vq_diags *d)
{
	struct vq_tensors file;

	if (vq_tensors_read(path, &file, d) < 0)
		return -1;
	hash_tensors(file.tensor, file.count, hex);
	vq_tensors_free(&file);
	return 0;
}

/* The stage that a checkpoint says it is of, for free(); NULL where it does not, or cannot be read. */
static char *
stage_of(const char *path)
{
	enum { MOST = 64 << 20 };
	FILE *f = fopen(path, "rb");
	unsigned char size[8];
	uint64_t n = 0;
	char *text = NULL, *stage = NULL;
	json_error_t why;

	if (f && fread(size, 1, sizeof(size), f) == sizeof(size))
		for (int i = 7; i >= 0; i--)
			n = n << 8 | size[i];
	if (n > 0 && n <= MOST) {
		text = vq_alloc((size_t)n);
		json_t *o = fread(text, 1, (size_t)n, f) == n ? json_loadb(text, (size_t)n, 0, &why) : NULL;
		const char *s = json_string_value(json_object_get(json_object_get(o, "__metadata__"), "stage"));
		stage = s ? vq_strdup(s) : NULL;
		json_decref(o);
	}
	free(text);
	if (f)
		fclose(f);
	return stage;
}

/* The best of a stage that has been left behind lacks what was trained since. */
char *
vq_checkpoint_of(const char *dir)
{
	char *best = vq_asprintf("%s/checkpoints/best.safetensors", dir);
	char *last = vq_asprintf("%s/checkpoints/last.safetensors", dir);
	char *of_best = stage_of(best), *of_last = stage_of(last);
	bool old = of_best && of_last && strcmp(of_best, of_last) != 0;
	char *path = access(best, F_OK) == 0 && !old ? best : last;

	free(path == best ? last : best);
	free(of_best);
	free(of_last);
	return path;
}
