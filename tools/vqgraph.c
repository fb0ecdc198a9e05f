/*
 * vqgraph -- the program: finds the command, parses its line, runs it, and turns
 * what came of it into an exit code
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "engine/suggest.h"
#include "engine/threads.h"
#include "tools/cli.h"
#include "tools/commands.h"

#define DECLARE(name) extern const struct vq_command vq_command_##name;
#define ROW(name) &vq_command_##name,
VQ_COMMANDS(DECLARE)
static const struct vq_command *const table[] = { VQ_COMMANDS(ROW) NULL };

const struct vq_command *const *
vq_commands(void)
{
	return table;
}

const struct vq_command *
vq_command_find(const char *name)
{
	for (int i = 0; table[i]; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

/* What was written must have arrived: a full disk is an error, a reader that
 * went away is not ours to report. */
static int
finish_stdout(int rc)
{
	bool bad = ferror(stdout) != 0;
	int reason = errno;

	errno = 0;
	if (fflush(stdout) == 0 && !bad)
		return rc;
	if (errno)
		reason = errno;
	if (reason == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	fprintf(stderr, "vqgraph: error: cannot write standard output: %s\n", strerror(reason));
	return rc == VQ_OK ? VQ_FAILED : rc;
}

static int
unknown_command(const char *name)
{
	struct vq_diags d = { 0 };
	struct vq_source program = { .name = "vqgraph" };
	struct vq_range at = { .source = &program };
	struct vq_suggest s;
	struct vq_diag *e;

	vq_suggest_start(&s, name);
	for (int i = 0; table[i]; i++) {
		vq_suggest_try(&s, table[i]->name);
		vq_suggest_also(&s, table[i]->name, table[i]->also);
	}
	if (*name == '-')
		e = vq_error(&d, VQ_USAGE, &at, "a command comes first, not '%s'", name);
	else
		e = vq_error(&d, VQ_USAGE, &at, "there is no command '%s'", name);
	if (s.best)
		vq_help(e, "did you mean vqgraph %s?", s.best);
	else
		vq_help(e, "`vqgraph --help` lists the commands");
	vq_diags_print(&d, stderr, vq_color_for(VQ_COLOR_AUTO, stderr));
	vq_diags_free(&d);
	return VQ_USAGE;
}

static int
run_command(const struct vq_command *cmd, int argc, char **argv)
{
	struct vq_cli c = { 0 };
	void *options = vq_alloc(cmd->size + 1);
	int rc = VQ_OK;

	if (cmd->defaults)
		memcpy(options, cmd->defaults, cmd->size);
	if (cmd->uses & VQ_C_PIPE)
		signal(SIGPIPE, SIG_IGN);
	if (vq_cli_parse(&c, cmd, argc, argv, options) == 0) {
		vq_threads_set((int)c.threads);
		if (c.help)
			vq_help_command(cmd, stdout);
		else
			rc = cmd->run(&c, options);
	} else if (c.help) {
		vq_help_command(cmd, stdout);
		vq_diags_free(&c.d);
	}
	rc = finish_stdout(rc);
	vq_diags_print(&c.d, stderr, c.color_err);
	if (rc == VQ_OK)
		rc = vq_diags_status(&c.d);
	vq_cli_free(&c, cmd, options);
	free(options);
	return rc;
}

static int
help_about(const char *name)
{
	const struct vq_command *cmd = name ? vq_command_find(name) : NULL;

	if (name && !cmd)
		return unknown_command(name);
	if (cmd)
		vq_help_command(cmd, stdout);
	else
		vq_help_program(stdout);
	return finish_stdout(VQ_OK);
}

/*
 * Between two kernels OpenMP's threads wait in a loop, by default for so long that
 * a thread whose partner was put off by another program burns its time slice: on
 * a machine that is shared, steps were measured to take four times as long.  A
 * short wait costs nothing on an idle machine.  The OpenMP library reads this
 * setting when it is loaded, before main, hence the second start.
 */
static void
wait_shortly(char **argv)
{
	if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
		return;
	setenv("GOMP_SPINCOUNT", "10000", 1);

	/* By its path where that can be had: top and pkill know a process by the last part of
	 * what it was started as, which would be "exe". When both fail, everything still works. */
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n > 0) {
		path[n] = '\0';
		execv(path, argv);
	}
	execv("/proc/self/exe", argv);
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct vq_command *cmd;

	if (!name) {
		vq_help_program(stderr);
		return VQ_USAGE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("vqgraph %s\n", PACKAGE_VERSION);
		return finish_stdout(VQ_OK);
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
		return help_about(argc > 2 ? argv[2] : NULL);
	cmd = vq_command_find(name);
	if (!cmd)
		return unknown_command(name);
	if (cmd->uses & VQ_C_THREADS)
		wait_shortly(argv);
	return run_command(cmd, argc, argv);
}
