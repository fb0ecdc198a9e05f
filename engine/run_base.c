/*
 * run_base -- the runs that a run builds on: found finished, gone on with, or made
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/stage.h"

enum { RESOLVED_MOST = 16 << 20 };

/* --- finding --------------------------------------------------------------- */

/* A run of exactly this model. */
struct found {
	char *dir;		/* NULL: none */
	bool done;
	struct timespec when;
};

static char *
resolved_of(const char *dir)
{
	struct vq_diags unheard = { 0 };
	char *path = vq_asprintf("%s/resolved.yaml", dir), *text;
	size_t n;

	text = access(path, R_OK) == 0 ? vq_file_read(path, RESOLVED_MOST, &n, VQ_FAILED, &unheard) : NULL;
	vq_diags_free(&unheard);
	free(path);
	return text;
}

static void
consider(struct found *f, char *dir, const char *resolved)
{
	char *text = resolved_of(dir), *last = vq_asprintf("%s/checkpoints/last.safetensors", dir), state[VQ_STATE_STR];
	struct stat st;

	/* One that was killed before it saved anything begins again. */
	if (text && strcmp(text, resolved) == 0 && (stat(last, &st) == 0 || stat(dir, &st) == 0)) {
		bool done = strcmp(vq_run_state_of(dir, state), VQ_RUN_DONE) == 0;
		bool newer = st.st_mtim.tv_sec > f->when.tv_sec || (st.st_mtim.tv_sec == f->when.tv_sec &&
		    st.st_mtim.tv_nsec > f->when.tv_nsec);
		if (f->dir == NULL || done > f->done || (done == f->done && newer)) {
			free(f->dir);
			*f = (struct found){ vq_strdup(dir), done, st.st_mtim };
		}
	}
	free(last);
	free(text);
}

/* The newest finished run of the model, else the newest unfinished one. */
static void
find_run(const char *out, const char *resolved, struct found *f)
{
	DIR *dir = opendir(out);
	struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir)) != NULL) {
		char *path = vq_asprintf("%s/%s", out, e->d_name);
		if (e->d_name[0] != '.' && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			consider(f, path, resolved);
		free(path);
	}
	if (dir)
		closedir(dir);
}

/* Whether one of the lines of text is this one, of n bytes. */
static bool
has_line(const char *text, const char *line, size_t n)
{
	while (*text) {
		size_t m = strcspn(text, "\n");
		if (m == n && strncmp(text, line, n) == 0)
			return true;
		text += m + (text[m] == '\n');
	}
	return false;
}

/* "it has `a`, this one `b`": the first line in which that run's model differs; false when there is none. */
static bool
difference(const char *dir, const char *resolved, struct vq_text *out)
{
	char *text = resolved_of(dir);
	const char *a = text, *b = resolved;
	bool found = false;

	while (a && !found && (*a || *b)) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
		if (n != m || strncmp(a, b, n) != 0) {
			bool more = *a && !has_line(b, a, n), less = *b && !has_line(a, b, m);
			size_t in = strspn(a, " "), on = strspn(b, " ");
			int shown = (int)(n - in < 200 ? n - in : 200), wanted = (int)(m - on < 200 ? m - on : 200);
			if (more && !less)
				vq_text_add(out, "it has `%.*s`, this one has not", shown, a + in);
			else if (less && !more)
				vq_text_add(out, "this one has `%.*s`, it has not", wanted, b + on);
			else
				vq_text_add(out, "it has `%.*s`, this one `%.*s`", shown, a + in, wanted, b + on);
			found = true;
		}
		a += n + (a[n] == '\n');
		b += m + (b[m] == '\n');
	}
	free(text);
	return found;
}

/* Told where there is such a run, with what becomes of it. */
static void
tell_difference(const char *dir, const char *resolved, const char *then)
{
	struct vq_text what = { 0 };

	if (difference(dir, resolved, &what))
		fprintf(stderr, "%s is of another model: %s%s\n", dir, what.s, then);
	vq_text_free(&what);
}

/* --- a run that was named --------------------------------------------------- */

/* The graph for one sample, or NULL. */
static struct vq_graph *
expand_one(const struct vq_model *m, const char *graph, struct vq_diags *d)
{
	const char *name[8];
	struct vq_size size[8];
	int n = vq_model_free_sizes(m, graph, name, 8);

	for (int i = 0; i < n && i < 8; i++)
		size[i] = (struct vq_size){ name[i], 1 };
	return n <= 8 ? vq_model_expand(m, graph, false, size, n, d) : NULL;
}

/* Whether a graph has the same names of free sizes in both: its values are comparable. */
static bool
same_sizes(const struct vq_model *there, const struct vq_model *here, const char *graph)
{
	const char *a[8], *b[8];
	int n = vq_model_free_sizes(there, graph, a, 8);
	bool same = n == vq_model_free_sizes(here, graph, b, 8) && n <= 8;

	for (int i = 0; i < n && same; i++)
		same = strcmp(a[i], b[i]) == 0;
	return same;
}

/* What keeps a run from being built on, and how it can be. */
static void
refuse(const struct vq_base *b, const char *dir, const char *resolved, struct vq_diag *e)
{
	struct vq_text what = { 0 };

	if (difference(dir, resolved, &what))
		vq_note(e, NULL, "that run is of another model than %s: %s", b->path, what.s);
	vq_help(e, "%s.NAME=VALUE sets what that run had set; or a run that starts from its weights: vqgraph run %s --init-from "
	    "%s/checkpoints/last.safetensors", b->alias, b->path, dir);
	vq_text_free(&what);
}

/* Weights of the same shapes can belong to another grid of codes: every value of a graph
 * must have the type that it has in the model that is built on; of a graph of other free sizes, every variable. */
static int
same_values(const char *dir, const struct vq_graph *there, const struct vq_graph *here, bool sizes, struct vq_diag **e,
    struct vq_diags *d)
{
	char is[VQ_TYPE_STR], was[VQ_TYPE_STR];

	/* Variables first: they are what one knows. */
	for (int i = 0; i < here->values + here->nameds; i++) {
		bool leaf = i < here->values;
		vq_id w = leaf ? i : here->named[i - here->values].value;
		const char *name = leaf ? here->value[w].name : here->named[i - here->values].name;
		vq_id v = name ? vq_graph_find_output(there, name) : VQ_NONE;

		bool variable = here->value[w].kind == VQ_PARAM || here->value[w].kind == VQ_STATE;
		if (v == VQ_NONE || (!sizes && !variable) || vq_type_equal(vq_type_at(there, v), vq_type_at(here, w)))
			continue;
		*e = vq_error(d, VQ_CHECKPOINT, NULL, "%s does not fit: %s of graph %s is %s there, and %s in what is built on it",
		    dir, name, here->name, vq_type_str(vq_type_at(there, v), was), vq_type_str(vq_type_at(here, w), is));
		return -1;
	}
	return 0;
}

static int
check_named(const struct vq_run_options *o, const struct vq_base *b, const char *dir, struct vq_diags *d)
{
	char *path = vq_asprintf("%s/resolved.yaml", dir);
	struct vq_diags unheard = { 0 };		/* a run without its model has its weights judged alone */
	struct vq_model *there = access(path, R_OK) == 0 ? vq_model_load(path, NULL, 0, &unheard) : NULL;
	struct vq_model *here = there ? vq_model_load(b->path, b->set, b->nset, d) : NULL;
	struct vq_text resolved = { 0 };
	struct vq_diag *e = NULL;
	int error = there && !here ? -1 : 0;
	char state[VQ_STATE_STR];

	if (here)
		vq_model_print(here, &resolved);

	for (int i = 0; here && error == 0 && i < vq_model_graphs(here); i++) {
		struct vq_graph *g = expand_one(here, vq_model_graph_name(here, i), &unheard);
		struct vq_graph *t = expand_one(there, vq_model_graph_name(here, i), &unheard);
		error = g && t ? same_values(dir, t, g, same_sizes(there, here, g->name), &e, d) : 0;
		vq_graph_free(g);
		vq_graph_free(t);
	}
	if (error == 0 && !o->quiet)
		fprintf(stderr, "%s is %s%s\n", b->alias, dir, strcmp(vq_run_state_of(dir, state), VQ_RUN_DONE) == 0 ? "" :
		    ", which has not come to its end");
	if (here && error == 0 && !o->quiet)
		tell_difference(dir, resolved.s, "; its weights fit and are taken");
	if (e)
		refuse(b, dir, resolved.s, e);
	vq_text_free(&resolved);
	vq_model_free(here);
	vq_model_free(there);
	vq_diags_free(&unheard);
	free(path);
	return error;
}

/* --- its weights ----------------------------------------------------------- */

static void
add_as(struct vq_vars *to, const char *alias, const char *name, const struct vq_var *x)
{
	char *full = vq_asprintf("%s.%s", alias, name);
	struct vq_var *v = vq_vars_find(to, full);

	if (v == NULL)
		v = vq_vars_add(to, full, x->kind, &x->type);
	memcpy(v->data, x->data, vq_type_bytes(&x->type));
	v->loaded = true;
	free(full);
}

/* Every parameter and state of the run, by its name behind the alias; averaged weights where
 * the run kept an average, as its own evaluation does. */
static int
load_base(const char *alias, const char *dir, struct vq_vars *vars, struct vq_diags *d)
{
	static const char average[] = "average.";
	struct vq_vars own = { 0 };
	char *path = vq_checkpoint_of(dir);
	int error = vq_checkpoint_load(path, &own, VQ_LOAD_PARAMS, NULL, d);

	for (int pass = 0; pass < 2 && error == 0; pass++)
		for (int i = 0; i < own.count; i++) {
			bool is_average = strncmp(own.var[i].name, average, sizeof(average) - 1) == 0;
			if (is_average == (pass == 1))
				add_as(vars, alias, own.var[i].name + (is_average ? sizeof(average) - 1 : 0), &own.var[i]);
		}
	vq_vars_free(&own);
	free(path);
	return error;
}

/* Whether a run that was named has all that the model takes from it: another one's weights would
 * leave those that were drawn at random. */
static int
check_complete(const char *alias, const char *dir, const struct vq_vars *needed, const struct vq_vars *vars,
    struct vq_diags *d)
{
	size_t n = strlen(alias);
	int missing = 0, wanted = 0;
	const char *first = NULL;

	for (int i = 0; i < needed->count; i++) {
		const char *name = needed->var[i].name;
		if (strncmp(name, alias, n) != 0 || name[n] != '.')
			continue;
		wanted++;
		if (vq_vars_find(vars, name) == NULL && missing++ == 0)
			first = name + n + 1;
	}
	if (missing == 0)
		return 0;
	vq_error(d, VQ_CHECKPOINT, NULL, "%s does not fit: it lacks %d of the %d weights that are built on as %s, as %s", dir,
	    missing, wanted, alias, first);
	return -1;
}

/* --- making ---------------------------------------------------------------- */

static int
make_run(const struct vq_run_options *o, const struct vq_base *b, const char *resume, double started,
    struct vq_diags *d)
{
	struct vq_run_options own = *o;

	own.file = b->path;
	own.set = b->set;
	own.nset = b->nset;
	own.name = own.stage = own.init_from = own.precision = NULL;
	own.resume = resume != NULL;
	own.resume_from = resume;
	if (resume) {		/* its own file has what was set */
		own.set = NULL;
		own.nset = 0;
	}
	if (o->max_seconds > 0)
		own.max_seconds = fmax(o->max_seconds - (vq_now() - started), 0.001);
	return vq_run_file(&own, d);
}

/* Waits for whoever holds the file; *told, once.  Returns it locked, -1: not there, or a signal came. */
static int
wait_for(const char *path, int flags, const char *model, bool *told)
{
	const struct timespec while_ = { .tv_nsec = 200000000 };
	int fd = open(path, flags | O_CLOEXEC, 0666);

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK && !*told)
			fprintf(stderr, "another process trains %s: this one waits for it\n", model);
		*told = true;
		if (errno == EWOULDBLOCK && vq_run_signal() == 0) {
			nanosleep(&while_, NULL);
			continue;
		}
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * Of processes that want the same run at once, one makes it.  Each holds a file that is called after the
 * model, from before it looks until the run is there; a run that was started by itself holds its own log.
 * Returns that file locked, -1 where none can be made: nobody is kept waiting then.
 */
static int
take_turn(const char *lock, const char *out, const char *resolved, const struct vq_base *b, bool told, struct found *f)
{
	char *which = NULL;
	int held = vq_file_folders(out, &which) == 0 ? wait_for(lock, O_RDWR | O_CREAT, b->path, &told) : -1;

	free(which);
	find_run(out, resolved, f);
	if (f->dir && !f->done) {
		char *log = vq_asprintf("%s/log.txt", f->dir);
		int theirs = wait_for(log, O_RDWR, b->path, &told);
		if (theirs >= 0)
			close(theirs);
		free(log);
		free(f->dir);
		*f = (struct found){ 0 };
		find_run(out, resolved, f);
	}
	return held;
}

/* The folder of a finished run in *dir, for free(), found or made. */
static int
find_or_make(const struct vq_run_options *o, const struct vq_base *b, double started, bool *stop, char **dir,
    struct vq_diags *d)
{
	struct vq_model *m = vq_model_load(b->path, b->set, b->nset, d);
	const char *out = o->out ? o->out : "runs";
	struct vq_text resolved = { 0 };
	struct found f = { 0 };
	int code = 0;

	if (m == NULL)
		return (int)vq_diags_status(d);
	vq_model_print(m, &resolved);
	vq_model_free(m);
	find_run(out, resolved.s, &f);
	char *lock = vq_asprintf("%s/.%016llx.lock", out, (unsigned long long)vq_hash_str(resolved.s));
	int held = -1;
	if (!f.done) {
		free(f.dir);
		f = (struct found){ 0 };
		held = take_turn(lock, out, resolved.s, b, o->quiet, &f);
		code = vq_run_signal() ? 128 + vq_run_signal() : 0;
	}
	if (!f.done && code == 0) {
		char *name = vq_file_stem(b->path), *same = vq_asprintf("%s/%s", out, name);
		if (f.dir && !o->quiet)
			fprintf(stderr, "%s has not come to its end: it goes on first\n", f.dir);
		else if (!o->quiet)
			tell_difference(same, resolved.s, "");
		if (!f.dir && !o->quiet)
			fprintf(stderr, "there is no finished run of %s in %s: it is trained first\n", b->path, out);
		code = make_run(o, b, f.dir, started, d);
		free(name);
		free(same);
		free(f.dir);
		f = (struct found){ 0 };
		if (code == 0)
			find_run(out, resolved.s, &f);
		/* What builds on it could not be told from what was built on a finished one. */
		*stop = code == 0 && !f.done;
	} else if (!o->quiet && code == 0) {
		fprintf(stderr, "%s is %s\n", b->alias, f.dir);
	}
	if (held >= 0) {
		unlink(lock);
		close(held);
	}
	free(lock);
	vq_text_free(&resolved);
	*dir = f.dir;
	return code;
}

/* The RUN of "alias=RUN", or NULL. */
static const char *
given_base(const struct vq_run_options *o, const char *alias)
{
	size_t n = strlen(alias);

	for (int i = 0; i < o->nbase; i++)
		if (strncmp(o->base[i], alias, n) == 0 && o->base[i][n] == '=')
			return o->base[i] + n + 1;
	return NULL;
}

static int
check_given(const struct vq_run_options *o, const struct vq_model *m, struct vq_diags *d)
{
	for (int i = 0; i < o->nbase; i++) {
		bool known = false;
		for (int k = 0; k < vq_model_bases(m); k++)
			known |= strncmp(o->base[i], vq_model_base(m, k)->alias, strcspn(o->base[i], "=")) == 0 &&
			    strlen(vq_model_base(m, k)->alias) == strcspn(o->base[i], "=");
		for (int k = 0; k < i && known; k++)
			if (strncmp(o->base[i], o->base[k], strcspn(o->base[i], "=") + 1) == 0) {
				vq_error(d, VQ_USAGE, NULL, "--base %s: there is --base %s already", o->base[i], o->base[k]);
				return -1;
			}
		if (known && strchr(o->base[i], '='))
			continue;
		struct vq_diag *e = vq_error(d, VQ_USAGE, NULL, "--base %s: the model builds on no such file", o->base[i]);
		for (int k = 0; k < vq_model_bases(m); k++)
			vq_note(e, NULL, "it builds on %s (%s)", vq_model_base(m, k)->alias, vq_model_base(m, k)->path);
		vq_help(e, "write --base ALIAS=RUN, with the alias under which the file is used");
		return -1;
	}
	return 0;
}

int
vq_run_bases(const struct vq_run_options *o, const struct vq_model *m, const struct vq_vars *needed,
    struct vq_vars *vars, double started, bool *stop, struct vq_diags *d)
{
	int code = 0;

	if (check_given(o, m, d) < 0)
		return (int)vq_diags_status(d);
	for (int i = 0; i < vq_model_bases(m) && code == 0 && !*stop; i++) {
		const struct vq_base *b = vq_model_base(m, i);
		const char *given = given_base(o, b->alias);
		char *dir = given ? vq_strdup(given) : NULL;
		if (dir == NULL)
			code = find_or_make(o, b, started, stop, &dir, d);
		else if (check_named(o, b, dir, d) < 0)
			code = (int)vq_diags_status(d);
		if (code == 0 && !*stop && (load_base(b->alias, dir, vars, d) < 0 ||
		    (given && check_complete(b->alias, dir, needed, vars, d) < 0)))
			code = (int)vq_diags_status(d);
		if (*stop && !o->quiet)
			fprintf(stderr, "%s is not finished, so nothing is built on it yet; the same command%s goes on\n", b->alias,
			    o->max_steps > 0 ? " without --max-steps" : "");
		free(dir);
	}
	return code;
}
