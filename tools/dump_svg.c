/*
 * dump_svg -- a graph as a picture
 */
#include <string.h>

#include "tools/dump.h"

enum { LINE_H = 16, PAD = 6 };

/* Attributes, not a style sheet: some viewers know no selectors. */
static const char head[] =
	"<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"6\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
	"orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#94a3b8\"/></marker></defs>\n";
static const char lines_start[] = "<g fill=\"none\" stroke=\"#94a3b8\" stroke-width=\"1.3\">\n";
static const char boxes_start[] =
	"<g font-family=\"ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"12\" "
	"text-anchor=\"middle\">\n";

static void
add_escaped(struct vq_text *out, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<': vq_text_add(out, "&lt;"); break;
		case '>': vq_text_add(out, "&gt;"); break;
		case '&': vq_text_add(out, "&amp;"); break;
		case '"': vq_text_add(out, "&quot;"); break;
		default:
			if ((unsigned char)*s >= ' ')
				vq_text_put(out, s, 1);
		}
}

static void
add_box(struct vq_text *out, const struct vq_box *b)
{
	static const char *const fill[] = { "#dbeafe", "#ffffff", "#fee2e2", "#fef3c7", "#dcfce7" };
	static const char *const stroke[] = { "#60a5fa", "#94a3b8", "#f87171", "#fbbf24", "#4ade80" };
	static const char *const text[] = { "font-weight=\"600\" fill=\"#0f172a\"", "fill=\"#475569\"",
	    "fill=\"#0369a1\"", "fill=\"#64748b\"" };
	const char *const lines[] = { b->title, b->what, b->type, b->note };
	double y = b->y - b->h / 2 + PAD + 12;
	bool round = b->kind == VQ_BOX_INPUT || b->kind == VQ_BOX_OUTPUT;

	vq_text_add(out,
	    "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.0f\" fill=\"%s\" stroke=\"%s\"/>\n",
	    b->x - b->w / 2, b->y - b->h / 2, b->w, b->h, round ? b->h / 2 : 6, fill[b->kind],
	    stroke[b->kind]);
	for (size_t i = 0; i < VQ_COUNT(lines); i++) {
		if (!*lines[i])
			continue;
		vq_text_add(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", b->x, y, text[i]);
		add_escaped(out, lines[i]);
		vq_text_add(out, "</text>\n");
		y += LINE_H;
	}
}

/* From the lower edge of one box through the bends to the upper edge of another. */
static void
add_line(struct vq_text *out, const struct vq_picture *p, const struct vq_line *l)
{
	const struct vq_box *from = &p->box[l->from], *to = &p->box[l->to];
	double x = from->x, y = from->y + from->h / 2;

	vq_text_add(out, "<path marker-end=\"url(#a)\" d=\"M%.1f %.1f", x, y);
	for (int k = 0; k <= l->bends; k++) {
		const struct vq_box *next = k < l->bends ? &p->box[l->bend + k] : to;
		double ny = k < l->bends ? next->y : next->y - next->h / 2 - 3, mid = (y + ny) / 2;

		vq_text_add(out, " C%.1f %.1f %.1f %.1f %.1f %.1f", x, mid, next->x, mid, next->x, ny);
		x = next->x;
		y = ny;
	}
	vq_text_add(out, "\"><title>");
	add_escaped(out, from->title);
	vq_text_add(out, " -&gt; ");
	add_escaped(out, to->title);
	vq_text_add(out, ": ");
	add_escaped(out, l->type);
	vq_text_add(out, "</title></path>\n");
}

void
vq_dump_svg(const struct vq_dump *d, struct vq_text *out)
{
	struct vq_picture p;

	vq_picture_make(&p, d);
	vq_picture_layout(&p);
	vq_text_add(out,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\">\n"
	    "<title>", p.width, p.height, p.width, p.height);
	add_escaped(out, d->name);
	vq_text_add(out,
	    ", %s</title>\n%s<rect x=\"0\" y=\"0\" width=\"%.0f\" height=\"%.0f\" fill=\"#f8fafc\"/>\n%s",
	    d->mode,
	    head, p.width, p.height, lines_start);
	for (int i = 0; i < p.lines; i++)
		add_line(out, &p, &p.line[i]);
	vq_text_add(out, "</g>\n%s", boxes_start);
	for (int i = 0; i < p.boxes; i++)
		if (p.box[i].kind != VQ_BOX_BEND)
			add_box(out, &p.box[i]);
	vq_text_add(out, "</g>\n</svg>\n");
	vq_picture_free(&p);
}
