/*
 * man -- `vqgraph man`: the manual page in roff, from the tables
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "tools/cli.h"

enum { MOST = 12 };

/* Text with what roff would take as its own escaped. */
static void
add(struct vq_text *out, const char *s)
{
	bool start = true;

	for (; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			vq_text_add(out, "\\&");
		if (*s == '\\')
			vq_text_add(out, "\\e");
		else if (*s == '-')
			vq_text_add(out, "\\-");
		else
			vq_text_put(out, s, 1);
		start = *s == '\n';
	}
}

static void
add_options(const struct vq_opt *table, struct vq_text *out)
{
	for (const struct vq_opt *o = table; o && o->name; o++) {
		struct vq_text label = { 0 };

		vq_opt_label(o, &label);
		vq_text_add(out, ".TP\n.B ");
		add(out, label.s);
		vq_text_add(out, "\n");
		add(out, o->doc);
		vq_text_add(out, ".\n");
		vq_text_free(&label);
	}
}

static void
add_command(const struct vq_command *cmd, struct vq_text *out)
{
	vq_text_add(out, ".SS vqgraph %s ", cmd->name);
	add(out, cmd->args ? cmd->args : "");
	vq_text_add(out, "\n");
	add(out, cmd->doc);
	vq_text_add(out, ".\n");
	if (cmd->about) {
		vq_text_add(out, ".PP\n");
		add(out, cmd->about);
		vq_text_add(out, "\n");
	}
	add_options(cmd->opts, out);
	for (const char *const *e = cmd->examples; e && *e; e += 2) {
		vq_text_add(out, ".PP\n.EX\n");
		add(out, e[0]);
		vq_text_add(out, "\n.EE\n");
		add(out, e[1]);
		vq_text_add(out, ".\n");
	}
}

static const char files[] =
	".SH FILES\n.TP\n.I runs/NAME\na run: config.yaml, resolved.yaml, metrics.jsonl, checkpoints/ and "
	    "more.\n"
	".SH ENVIRONMENT\n"
	".TP\n.B VQGRAPH_CACHE\nthe folder that decoded pictures are kept in, instead of ~/.cache/vqgraph; empty: they are not kept.\n"
	".TP\n.B VQGRAPH_DATA\nfolders where datasets are looked for first, as PATH is written.\n"
	".TP\n.B VQGRAPH_GRAPHS\nfolders where files named in `use` are looked for.\n"
	".TP\n.B VQGRAPH_ISA\nportable, avx2, avx512, avx512bf16 or amx: kernels no better than these.\n"
	".TP\n.B OMP_NUM_THREADS\nthreads, where \\-\\-threads is not given.\n"
	".TP\n.B NO_COLOR\nno colours, when set.\n"
	".SH EXIT STATUS\n"
	".TP\n0\ndone\n.TP\n1\nfailed while running (disk full, ...)\n.TP\n2\nthe command line is wrong\n"
	".TP\n3\nthe YAML or an override is wrong\n.TP\n4\ndata missing or corrupt\n"
	".TP\n5\na checkpoint does not fit, or is corrupt\n.TP\n6\nthe loss is not finite\n"
	".TP\n130, 143\nstopped by SIGINT or SIGTERM, after saving\n";

static int
run(struct vq_cli *c, void *options)
{
	/* Common to one command or another: what a command with every use takes. */
	static const struct vq_command every = { .uses = VQ_C_MODEL | VQ_C_THREADS | VQ_C_JSON };
	struct vq_opt common[MOST];
	struct vq_text t = { 0 };

	vq_text_add(&t, ".TH VQGRAPH 1 \"\" \"vqgraph %s\" \"User Commands\"\n.SH NAME\n"
	    "vqgraph \\- trains and runs models declared in YAML\n.SH SYNOPSIS\n"
	    ".B vqgraph\n.I COMMAND\n[arguments] [options]\n.SH DESCRIPTION\n", PACKAGE_VERSION);
	add(&t, vq_program_doc);
	vq_text_add(&t, "\n.SH COMMANDS\n");
	for (const struct vq_command *const *k = vq_commands(); *k; k++)
		add_command(*k, &t);
	vq_text_add(&t, ".SH COMMON OPTIONS\n");
	vq_cli_common(&every, common, MOST);
	add_options(common, &t);
	vq_text_add(&t, "%s", files);
	fwrite(t.s, 1, t.len, stdout);
	vq_text_free(&t);
	return VQ_OK;
}

static const char *const examples[] = {
	"vqgraph man | man -l -", "reads it",
	NULL
};
extern const struct vq_command vq_command_man;
const struct vq_command vq_command_man = {
	.name = "man",
	.doc = "prints the manual page",
	.examples = examples,
	.run = run,
};
