/*
 * cli -- the command line by its tables
 */
#include "tools/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/suggest.h"

enum { MOST_COMMON = 12 };

/* --- the options of every command ----------------------------------------- */

static const char *const color_names[] = { "auto", "always", "never", NULL };
static const char *const set_also[] = { "override", "overrides", "param", "config", NULL };
static const char *const threads_also[] = { "jobs", "num-threads", "nthreads", "cores", NULL };
static const char *const quiet_also[] = { "silent", NULL };

#define COMMON(k, field) .kind = k, .offset = offsetof(struct vq_cli, field)

static const struct {
	unsigned uses;		/* of the command; 0: always */
	struct vq_opt opt;
} common[] = {
	{ VQ_C_MODEL, { "set", 0, COMMON(VQ_O_LIST, set_option), "PATH=VALUE", .also = set_also,
	    .doc = "override a value of the file; a bare path=value after the file means the same" } },
	{ VQ_C_THREADS, { "threads", 't', COMMON(VQ_O_INT, threads), "N", 1, 1024, .also = threads_also,
	    .doc = "threads to compute with (default: the CPUs this process may use)" } },
	{ VQ_C_JSON, { "json", 0, COMMON(VQ_O_FLAG, json), .doc = "print one JSON object" } },
	{ 0, { "color", 0, COMMON(VQ_O_ENUM, color), "WHEN", .choices = color_names,
	    .doc = "colours: auto (a terminal, and NO_COLOR not set), always, never" } },
	{ 0, { "quiet", 'q', COMMON(VQ_O_FLAG, quiet), .also = quiet_also,
	    .doc = "nothing on standard error but errors" } },
	{ 0, { "verbose", 'v', COMMON(VQ_O_FLAG, verbose), .doc = "say more on standard error" } },
	{ 0, { "help", 'h', COMMON(VQ_O_FLAG, help), .doc = "show this help" } },
};

int
vq_cli_common(const struct vq_command *cmd, struct vq_opt *out, int max)
{
	int n = 0;

	for (size_t i = 0; i < VQ_COUNT(common); i++)
		if (n + 1 < max && (!common[i].uses || (cmd->uses & common[i].uses)))
			out[n++] = common[i].opt;
	out[n] = (struct vq_opt){ 0 };
	return n;
}

/* --- reporting ------------------------------------------------------------ */

struct vq_diag *
vq_usage_error(struct vq_cli *c, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	struct vq_diag *e;
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	e = vq_error(&c->d, VQ_USAGE, &c->at, "%s", t.s);
	vq_text_free(&t);
	return e;
}

void
vq_notice(const struct vq_cli *c, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	if (c->quiet)
		return;
	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", t.s);
	vq_text_free(&t);
}

bool
vq_color_for(enum vq_color c, FILE *to)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (c != VQ_COLOR_AUTO)
		return c == VQ_COLOR_ALWAYS;
	return !(no && *no) && !(term && strcmp(term, "dumb") == 0) && isatty(fileno(to));
}

bool
vq_cli_given(const struct vq_cli *c, const char *name)
{
	for (int i = 0; i < c->givens; i++)
		if (strcmp(c->given[i], name) == 0)
			return true;
	return false;
}

/* --- finding an option ---------------------------------------------------- */

/* An option and the struct its value goes into. */
struct found {
	const struct vq_opt *opt;
	void *into;
};

struct parser {
	struct vq_cli *c;
	const struct vq_command *cmd;
	void *options;
	struct vq_opt common[MOST_COMMON];
	int argc, i;
	char **argv;
	bool ended;		/* "--" was seen */
};

static struct found
find(struct parser *p, const char *name, size_t n, char letter)
{
	for (const struct vq_opt *o = p->cmd->opts; o && o->name; o++)
		if (letter ? o->letter == letter : strlen(o->name) == n && strncmp(o->name, name, n) == 0)
			return (struct found){ o, p->options };
	for (const struct vq_opt *o = p->common; o->name; o++)
		if (letter ? o->letter == letter : strlen(o->name) == n && strncmp(o->name, name, n) == 0)
			return (struct found){ o, p->c };
	return (struct found){ 0 };
}

static const char *
near_in(const struct vq_opt *table, struct vq_suggest *s, const char *start)
{
	for (const struct vq_opt *o = table; o && o->name; o++) {
		vq_suggest_try(s, o->name);
		if (o->also)
			vq_suggest_also(s, o->name, o->also);
		if (strlen(s->wrong) >= 2 && strncmp(o->name, s->wrong, strlen(s->wrong)) == 0)
			start = o->name;
	}
	return start;
}

static int
unknown_option(struct parser *p, const char *name, size_t n)
{
	char *wrong = vq_strndup(name, n);
	struct vq_suggest s;
	const char *start;
	struct vq_diag *e;

	vq_suggest_start(&s, wrong);
	start = near_in(p->common, &s, near_in(p->cmd->opts, &s, NULL));
	e = vq_usage_error(p->c, "there is no option '--%s'", wrong);
	if (s.best || start)
		vq_help(e, "did you mean --%s?", s.best ? s.best : start);
	else
		vq_help(e, "`vqgraph %s --help` lists the options", p->cmd->name);
	free(wrong);
	return -1;
}

static int
set_value(struct parser *p, struct found f, const char *value)
{
	return vq_opt_set(p->c, f.opt, (char *)f.into + f.opt->offset, value);
}

/* --- one argument --------------------------------------------------------- */

/* Whether the next argument is the value of an option that may go without. */
static bool
is_maybe_value(const char *next)
{
	const char *dot = next ? strrchr(next, '.') : NULL;
	struct stat st;

	if (!next || *next == '-' || strchr(next, '='))
		return false;
	if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
		return false;
	return stat(next, &st) != 0 || !S_ISREG(st.st_mode);
}

/* "--output --grad x": a value was forgotten. */
static bool
looks_like_option(struct parser *p, const char *s)
{
	return s[0] == '-' && s[1] == '-' && find(p, s + 2, strcspn(s + 2, "="), 0).opt != NULL;
}

static void
note_given(struct vq_cli *c, const char *name)
{
	vq_grow(c->given, c->givens, c->given_cap);
	c->given[c->givens++] = name;
}

/* An option found; attached: "value" of --name=value or -nvalue, NULL when there is none. */
static int
take(struct parser *p, struct found f, const char *attached)
{
	const struct vq_opt *o = f.opt;
	const char *next = p->i + 1 < p->argc ? p->argv[p->i + 1] : NULL;

	if (o->kind != VQ_O_LIST && vq_cli_given(p->c, o->name)) {
		vq_usage_error(p->c, "--%s is given twice", o->name);
		return -1;
	}
	note_given(p->c, o->name);
	if (o->kind == VQ_O_FLAG && attached) {
		vq_usage_error(p->c, "--%s takes no value", o->name);
		return -1;
	}
	if (o->kind == VQ_O_FLAG || attached)
		return set_value(p, f, attached);
	if (o->kind == VQ_O_MAYBE) {
		bool take_next = is_maybe_value(next);

		p->i += take_next;
		return set_value(p, f, take_next ? next : NULL);
	}
	if (!next || looks_like_option(p, next)) {
		struct vq_diag *e = vq_usage_error(p->c, "--%s wants a value", o->name);

		vq_help(e, "as in --%s %s", o->name, o->value ? o->value : "VALUE");
		return -1;
	}
	p->i++;
	return set_value(p, f, next);
}

/* -t4, -qv, -n 8 */
static int
take_letters(struct parser *p, const char *s)
{
	for (; *s; s++) {
		struct found f = find(p, NULL, 0, *s);

		if (!f.opt) {
			struct vq_diag *e = vq_usage_error(p->c, "there is no option '-%c'", *s);

			vq_help(e, "`vqgraph %s --help` lists the options", p->cmd->name);
			return -1;
		}
		if (f.opt->kind != VQ_O_FLAG)
			return take(p, f, s[1] == '=' ? s + 2 : s[1] ? s + 1 : NULL);
		if (take(p, f, NULL) < 0)
			return -1;
	}
	return 0;
}

static void
take_override(struct parser *p, const char *text)
{
	struct vq_cli *c = p->c;
	size_t n = (size_t)c->sets + 1;

	if (!strchr(text, '=') || *text == '=') {
		vq_help(vq_usage_error(c, "--set wants path=value, not '%s'", text), "as in --set codes=256");
		return;
	}
	c->set = vq_realloc_array(c->set, n, sizeof(*c->set));
	c->set[c->sets++] = (struct vq_override){ text };
}

static int
take_argument(struct parser *p, char *s)
{
	struct vq_cli *c = p->c;

	if ((p->cmd->uses & VQ_C_MODEL) && c->args >= p->cmd->min_args && strchr(s, '=')) {
		take_override(p, s);
		return 0;
	}
	if (c->args == p->cmd->max_args) {
		struct vq_diag *e = vq_usage_error(c, "unexpected argument '%s'", s);

		vq_help(e, "vqgraph %s %s", p->cmd->name, p->cmd->args ? p->cmd->args : "takes no argument");
		return -1;
	}
	c->arg = vq_realloc_array(c->arg, (size_t)c->args + 2, sizeof(*c->arg));
	c->arg[c->args++] = s;
	c->arg[c->args] = NULL;
	return 0;
}

static int
take_one(struct parser *p)
{
	char *s = p->argv[p->i];

	if (p->ended || s[0] != '-' || s[1] == '\0')
		return take_argument(p, s);
	if (s[1] != '-')
		return take_letters(p, s + 1);
	if (s[2] == '\0') {
		p->ended = true;
		return 0;
	}

	size_t n = strcspn(s + 2, "=");
	struct found f = find(p, s + 2, n, 0);

	if (!f.opt) {
		/* Its value, if it has one, is no argument of the command. */
		if (!s[2 + n] && p->i + 1 < p->argc && p->argv[p->i + 1][0] != '-' && p->c->args > 0)
			p->i++;
		return unknown_option(p, s + 2, n);
	}
	return take(p, f, s[2 + n] ? s + 3 + n : NULL);
}

/* --- the whole line ------------------------------------------------------- */

static void
check_required(struct parser *p)
{
	struct vq_cli *c = p->c;

	if (c->args < p->cmd->min_args) {
		char word[64];
		const char *s = p->cmd->args;

		for (int k = 0; k < c->args; k++)
			s += strcspn(s, " ") + 1;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(s, " "), s);
		vq_help(vq_usage_error(c, "%s is missing", word), "vqgraph %s %s", p->cmd->name,
		    p->cmd->args);
	}
	for (const struct vq_opt *o = p->cmd->opts; o && o->name; o++)
		if (o->required && !vq_cli_given(c, o->name))
			vq_help(vq_usage_error(c, "--%s is missing", o->name), "as in --%s %s: %s", o->name,
			    o->value, o->doc);
}

static const char *
quoted_line(struct vq_arena *a, int argc, char **argv)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
	struct vq_text t = { 0 };
	const char *line;

	for (int i = 0; i < argc; i++) {
		vq_text_add(&t, "%s", i ? " " : "");
		if (*argv[i] && argv[i][strspn(argv[i], safe)] == '\0') {
			vq_text_add(&t, "%s", argv[i]);
			continue;
		}
		vq_text_add(&t, "'");
		for (const char *s = argv[i]; *s; s++)
			vq_text_add(&t, *s == '\'' ? "'\\''" : "%c", *s);
		vq_text_add(&t, "'");
	}
	line = vq_arena_strdup(a, t.s ? t.s : "");
	vq_text_free(&t);
	return line;
}

int
vq_cli_parse(struct vq_cli *c, const struct vq_command *cmd, int argc, char **argv, void *options)
{
	struct parser p = { .c = c, .cmd = cmd, .options = options, .argc = argc, .argv = argv };

	c->command = cmd;
	c->source.name = vq_arena_printf(&c->arena, "vqgraph %s", cmd->name);
	c->at.source = &c->source;
	c->line = quoted_line(&c->arena, argc, argv);
	vq_cli_common(cmd, p.common, MOST_COMMON);
	for (p.i = 2; p.i < argc; p.i++)
		take_one(&p);
	c->color_out = vq_color_for((enum vq_color)c->color, stdout);
	c->color_err = vq_color_for((enum vq_color)c->color, stderr);
	if (c->help)
		return 0;
	for (int i = 0; i < c->set_option.count; i++)
		take_override(&p, c->set_option.s[i]);
	if (!c->d.count)
		check_required(&p);
	return c->d.count ? -1 : 0;
}

void
vq_cli_free(struct vq_cli *c, const struct vq_command *cmd, void *options)
{
	for (const struct vq_opt *o = cmd->opts; o && o->name; o++)
		if (o->kind == VQ_O_LIST)
			free(((struct vq_strings *)(void *)((char *)options + o->offset))->s);
	free(c->set_option.s);
	free(c->set);
	free(c->arg);
	free(c->given);
	vq_diags_free(&c->d);
	if (c->model)
		vq_model_free(c->model);
	vq_arena_free(&c->arena);
}
