/*
 * dump_svg -- a graph as a picture
 */
#include <string.h>

#include "tools/dump.h"

enum { LINE_H = 16, PAD = 6 };

static const char style[] =
	"<style>\n"
	"text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #0f172a; text-anchor: middle }\n"
	".t { font-weight: 600 } .w { fill: #475569 } .s { fill: #0369a1; font-size: 11px } .n { fill: #64748b; font-size: 11px }\n"
	"rect { stroke: #94a3b8; fill: #fff } .input rect { fill: #dbeafe; stroke: #60a5fa } "
	".output rect { fill: #dcfce7; stroke: #4ade80 }\n"
	".backward rect { fill: #fee2e2; stroke: #f87171 } .update rect { fill: #fef3c7; stroke: #fbbf24 }\n"
	"path { fill: none; stroke: #94a3b8; stroke-width: 1.3 } path:hover { stroke: #0369a1; stroke-width: 2.5 }\n"
	"</style>\n";

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
	static const char *const class[] = { "input", "step", "backward", "update", "output" };
	static const char *const line_class[] = { "t", "w", "s", "n" };
	const char *const lines[] = { b->title, b->what, b->type, b->note };
	double y = b->y - b->h / 2 + PAD + 12;
	bool round = b->kind == VQ_BOX_INPUT || b->kind == VQ_BOX_OUTPUT;

	vq_text_add(out, "<g class=\"%s\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.0f\"/>\n",
	    class[b->kind], b->x - b->w / 2, b->y - b->h / 2, b->w, b->h, round ? b->h / 2 : 6);
	for (size_t i = 0; i < VQ_COUNT(lines); i++) {
		if (!*lines[i])
			continue;
		vq_text_add(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", line_class[i], b->x, y);
		add_escaped(out, lines[i]);
		vq_text_add(out, "</text>\n");
		y += LINE_H;
	}
	vq_text_add(out, "</g>\n");
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
	vq_text_add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\">\n"
	    "<title>", p.width, p.height, p.width, p.height);
	add_escaped(out, d->name);
	vq_text_add(out, ", %s</title>\n%s<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"6\" refY=\"4\" markerWidth=\"7\" "
	    "markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" style=\"fill:#94a3b8;stroke:none\"/></marker></defs>\n"
	    "<rect x=\"0\" y=\"0\" width=\"100%%\" height=\"100%%\" style=\"fill:#f8fafc;stroke:none\"/>\n", d->mode, style);
	for (int i = 0; i < p.lines; i++)
		add_line(out, &p, &p.line[i]);
	for (int i = 0; i < p.boxes; i++)
		if (p.box[i].kind != VQ_BOX_BEND)
			add_box(out, &p.box[i]);
	vq_text_add(out, "</svg>\n");
	vq_picture_free(&p);
}
