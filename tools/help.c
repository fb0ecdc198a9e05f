/*
 * help -- what --help prints, from the commands' tables
 */
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "tools/cli.h"

enum { WIDTH = 80, MOST = 12, LABEL = 26 };

const char vq_program_doc[] =
	"A tensor-graph engine with reverse-mode differentiation that trains and runs models declared in "
	    "YAML.";

void
vq_wrap(struct vq_text *out, const char *text, int indent, int width)
{
	int column = indent;
	bool start = true;

	while (*text) {
		size_t n = strcspn(text, " \n");
		char *word = vq_strndup(text, n);
		int columns = vq_utf8_columns(word);

		if (!start && column + 1 + columns > width) {
			vq_text_add(out, "\n%*s", indent, "");
			column = indent;
			start = true;
		}
		vq_text_add(out, "%s%s", start ? "" : " ", word);
		column += columns + !start;
		start = false;
		free(word);
		text += n;
		if (*text == '\n') {
			vq_text_add(out, "\n%*s", indent, "");
			column = indent;
			start = true;
		}
		text += *text != '\0';
	}
}

void
vq_opt_label(const struct vq_opt *o, struct vq_text *out)
{
	if (o->letter)
		vq_text_add(out, "-%c, ", o->letter);
	vq_text_add(out, "--%s", o->name);
	if (o->kind == VQ_O_MAYBE)
		vq_text_add(out, " [%s]", o->value);
	else if (o->kind != VQ_O_FLAG)
		vq_text_add(out, " %s", o->value);
}

static void
add_row(struct vq_text *out, const char *label, const char *doc)
{
	vq_text_add(out, "  %-*s", LABEL - 2, label);
	if (vq_utf8_columns(label) > LABEL - 4)
		vq_text_add(out, "\n%*s", LABEL, "");
	vq_wrap(out, doc, LABEL, WIDTH);
	vq_text_add(out, "\n");
}

static void
add_options(struct vq_text *out, const char *title, const struct vq_opt *table)
{
	if (!table || !table->name)
		return;
	vq_text_add(out, "\n%s\n", title);
	for (const struct vq_opt *o = table; o->name; o++) {
		struct vq_text label = { 0 }, doc = { 0 };

		vq_text_add(&label, "%s", o->letter ? "" : "    ");
		vq_opt_label(o, &label);
		vq_text_add(&doc, "%s%s", o->doc, o->required ? " (required)" : "");
		if (o->kind == VQ_O_ENUM && strchr(o->doc, ':') == NULL) {
			vq_text_add(&doc, ": ");
			for (int i = 0; o->choices[i]; i++)
				vq_text_add(&doc, "%s%s", i ? ", " : "", o->choices[i]);
		}
		add_row(out, label.s, doc.s);
		vq_text_free(&label);
		vq_text_free(&doc);
	}
}

void
vq_help_command(const struct vq_command *cmd, FILE *to)
{
	struct vq_opt table[MOST];
	struct vq_text t = { 0 };

	vq_cli_common(cmd, table, MOST);
	vq_text_add(&t, "vqgraph %s -- %s\n\nusage: vqgraph %s%s%s%s\n", cmd->name, cmd->doc, cmd->name,
	    cmd->args ? " " : "", cmd->args ? cmd->args : "",
	    cmd->opts && cmd->opts->name ? " [options]" : "");
	if (cmd->about) {
		vq_text_add(&t, "\n");
		vq_wrap(&t, cmd->about, 0, WIDTH);
		vq_text_add(&t, "\n");
	}
	add_options(&t, "options", cmd->opts);
	add_options(&t, "common options", table);
	if (cmd->examples) {
		vq_text_add(&t, "\nexamples\n");
		for (const char *const *e = cmd->examples; *e; e += 2)
			vq_text_add(&t, "  %s\n      %s\n", e[0], e[1]);
	}
	fwrite(t.s, 1, t.len, to);
	vq_text_free(&t);
}

void
vq_help_program(FILE *to)
{
	struct vq_text t = { 0 };

	vq_wrap(&t, vq_program_doc, 0, WIDTH);
	vq_text_add(&t, "\n\nusage: vqgraph COMMAND [arguments] [options]\n\ncommands\n");
	for (const struct vq_command *const *c = vq_commands(); *c; c++) {
		vq_text_add(&t, "  %-13s", (*c)->name);
		vq_wrap(&t, (*c)->doc, 15, WIDTH);
		vq_text_add(&t, "\n");
	}
	vq_text_add(&t,
	    "\n`vqgraph COMMAND --help` shows a command's options and examples; `vqgraph --version`\n"
	    "the version.  Exit codes: 0 done, 1 failed while running, 2 usage, 3 the YAML or an\n"
	    "override is wrong, 4 data missing or corrupt, 5 a checkpoint does not fit or is\n"
	    "corrupt, 6 the loss is not finite.\n");
	fwrite(t.s, 1, t.len, to);
	vq_text_free(&t);
}
