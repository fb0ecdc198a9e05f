/*
 * completion -- `vqgraph completion bash`: a completion script from the tables
 */
#include <string.h>

#include "engine/op.h"
#include "tools/cli.h"

enum { MOST = 12 };

static const char intro[] =
	"# bash completion for vqgraph, made by `vqgraph completion bash`\n"
	"# use:  source <(vqgraph completion bash)\n"
	"_vqgraph()\n"
	"{\n"
	"	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} opts= words= kind=file\n"
	"	COMPREPLY=()\n"
	"	if (( COMP_CWORD == 1 )); then\n";

static const char outro[] =
	"	if [[ $cur == -* ]]; then\n"
	"		mapfile -t COMPREPLY < <(compgen -W \"$opts\" -- \"$cur\")\n"
	"	elif [[ -n $words ]]; then\n"
	"		mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"	elif [[ $kind == dir ]]; then\n"
	"		compopt -o filenames 2>/dev/null\n"
	"		mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
	"	elif [[ $kind == file ]]; then\n"
	"		compopt -o filenames 2>/dev/null\n"
	"		mapfile -t COMPREPLY < <(compgen -f -- \"${cur#*=}\")\n"
	"	fi\n"
	"}\n"
	"complete -F _vqgraph vqgraph\n";

/* What follows the option: words of its own, a file, a folder, or something not known here. */
static void
add_value_case(const struct vq_opt *o, struct vq_text *out)
{
	const char *kind = strstr(o->value, "FILE") || strstr(o->value, "CKPT") ? "file" :
	    strstr(o->value, "DIR") || strstr(o->value, "RUN") ? "dir" : "none";

	vq_text_add(out, "		--%s", o->name);
	if (o->letter)
		vq_text_add(out, "|-%c", o->letter);
	if (o->kind == VQ_O_ENUM) {
		vq_text_add(out, ") words='");
		for (int i = 0; o->choices[i]; i++)
			vq_text_add(out, "%s%s", i ? " " : "", o->choices[i]);
		vq_text_add(out, "' ;;\n");
	} else {
		vq_text_add(out, ") kind=%s ;;\n", kind);
	}
}

static void
add_ops(struct vq_text *out)
{
	vq_text_add(out, "		[[ -z $words && $kind == file ]] && words='");
	for (const struct vq_op *const *op = vq_ops(); *op; op++)
		if (!((*op)->flags & VQ_OP_INTERNAL))
			vq_text_add(out, "%s ", (*op)->name);
	vq_text_add(out, "'\n");
}

static void
add_command(const struct vq_command *cmd, struct vq_text *out)
{
	struct vq_opt common[MOST];
	const struct vq_opt *tables[] = { cmd->opts, common };

	vq_cli_common(cmd, common, MOST);
	vq_text_add(out, "	%s)\n		opts='", cmd->name);
	for (size_t t = 0; t < VQ_COUNT(tables); t++)
		for (const struct vq_opt *o = tables[t]; o && o->name; o++)
			vq_text_add(out, "--%s ", o->name);
	vq_text_add(out, "'\n		case $prev in\n");
	for (size_t t = 0; t < VQ_COUNT(tables); t++)
		for (const struct vq_opt *o = tables[t]; o && o->name; o++)
			if (o->kind != VQ_O_FLAG)
				add_value_case(o, out);
	vq_text_add(out, "		esac\n");
	if (strcmp(cmd->name, "ops") == 0)
		add_ops(out);
	if (strcmp(cmd->name, "completion") == 0)
		vq_text_add(out, "		words=bash\n");
	if (strcmp(cmd->name, "data") == 0)
		vq_text_add(out, "		(( COMP_CWORD == 2 )) && words='list fetch verify'\n");
	vq_text_add(out, "		;;\n");
}

static int
run(struct vq_cli *c, void *options)
{
	struct vq_text t = { 0 };

	if (strcmp(c->arg[0], "bash") != 0) {
		vq_help(vq_usage_error(c, "there is no completion for '%s'", c->arg[0]),
		    "there is one for bash");
		return VQ_USAGE;
	}
	vq_text_add(&t, "%s		mapfile -t COMPREPLY < <(compgen -W '", intro);
	for (const struct vq_command *const *k = vq_commands(); *k; k++)
		vq_text_add(&t, "%s ", (*k)->name);
	vq_text_add(&t,
	    "--help --version' -- \"$cur\")\n		return\n	fi\n	case ${COMP_WORDS[1]} in\n");
	for (const struct vq_command *const *k = vq_commands(); *k; k++)
		add_command(*k, &t);
	vq_text_add(&t, "	esac\n%s", outro);
	fwrite(t.s, 1, t.len, stdout);
	vq_text_free(&t);
	return VQ_OK;
}

static const char *const examples[] = {
	"source <(vqgraph completion bash)", "in this shell",
	"vqgraph completion bash > ~/.local/share/bash-completion/completions/vqgraph", "for good",
	NULL
};
extern const struct vq_command vq_command_completion;
const struct vq_command vq_command_completion = {
	.name = "completion",
	.args = "bash",
	.doc = "prints a completion script for the shell",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
