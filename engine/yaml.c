/*
 * yaml -- from libyaml's events to a tree in which every node knows its place
 *
 * Events and not libyaml's documents: those accept duplicate keys, turn anchors
 * into shared nodes and have no limit on depth.
 */
#include "engine/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "engine/utf8.h"

struct reader {
	yaml_parser_t parser;
	const struct vq_source *source;
	struct vq_arena *arena;
	struct vq_diags *diags;
	int errors;
	bool broken;			/* libyaml gave up, or this reader: no more events */
};

static struct vq_range
range_of(const struct reader *r, const yaml_mark_t *from, const yaml_mark_t *to)
{
	struct vq_range at = {
		.source = r->source,
		.line = (int)from->line + 1, .col = (int)from->column + 1,
		.end_line = (int)to->line + 1, .end_col = (int)to->column + 1,
	};

	/* What stands in block style ends where the next thing starts: lines further on. */
	if (at.end_line != at.line) {
		at.end_line = at.line;
		at.end_col = at.col + 1;
	}
	if (at.end_col <= at.col)
		at.end_col = at.col + 1;
	return at;
}

static struct vq_diag *
refuse(struct reader *r, const yaml_event_t *e, const char *message)
{
	struct vq_range at = range_of(r, &e->start_mark, &e->end_mark);

	r->errors++;
	return vq_error(r->diags, VQ_CONFIG, &at, "%s", message);
}

/* The byte at a mark, which counts characters. */
static char
byte_at(const struct vq_source *s, const yaml_mark_t *mark)
{
	size_t at = 0;

	for (size_t chars = 0; at < s->len; at++)
		if (((unsigned char)s->text[at] & 0xc0) != 0x80 && chars++ == mark->index)
			return s->text[at];
	return '\0';
}

/* The next event, or false when the text is no YAML (reported). */
static bool
next(struct reader *r, yaml_event_t *e)
{
	if (!r->broken && yaml_parser_parse(&r->parser, e))
		return true;
	if (r->broken)
		return false;
	r->broken = true;
	r->errors++;
	const yaml_mark_t *mark = &r->parser.problem_mark;
	struct vq_range at = range_of(r, mark, mark);
	struct vq_diag *d = vq_error(r->diags, VQ_CONFIG, &at, "not valid YAML: %s",
	    r->parser.problem ? r->parser.problem : "unknown problem");
	if (r->parser.context)
		vq_note(d, NULL, "%s", r->parser.context);
	char c = byte_at(r->source, mark);
	if (c == '{')
		vq_help(d, "arithmetic is written $(...); inside {...} a { begins a map");
	else if (c == '[')
		vq_help(d, "inside {...} a value has no brackets: a type as f32[n, 8] stands on a line of its own");
	return false;
}

static void
check_properties(struct reader *r, const yaml_event_t *e, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		vq_help(refuse(r, e, "anchors are not part of the language"),
		    "name a number under `let`, or steps under `blocks`");
	if (tag)
		vq_help(refuse(r, e, "tags are not part of the language"),
		    "what receives a value decides its type");
}

static struct vq_tree *read_node(struct reader *r, yaml_event_t *e, int depth);

static struct vq_tree *
new_node(struct reader *r, const yaml_event_t *e, enum vq_tree_kind kind)
{
	struct vq_tree *t = vq_arena_alloc(r->arena, sizeof(*t));

	t->kind = kind;
	t->at = range_of(r, &e->start_mark, &e->end_mark);
	return t;
}

static struct vq_tree *
read_scalar(struct reader *r, const yaml_event_t *e)
{
	struct vq_tree *t = new_node(r, e, VQ_TREE_SCALAR);
	const char *s = (const char *)e->data.scalar.value;

	check_properties(r, e, e->data.scalar.anchor, e->data.scalar.tag);
	if (strlen(s) != e->data.scalar.length)
		refuse(r, e, "a zero byte in a string");
	t->text = vq_arena_strdup(r->arena, s);
	t->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return t;
}

/* Items are gathered in a growing array and moved to the arena when complete. */
struct items {
	struct vq_pair *pair;
	int count, cap;
};

static void
items_add(struct items *l, struct vq_tree *key, struct vq_tree *value)
{
	vq_grow(l->pair, l->count, l->cap);
	l->pair[l->count++] = (struct vq_pair){ key, value };
}

static void
items_finish(struct reader *r, struct vq_tree *t, struct items *l)
{
	t->count = l->count;
	if (l->count > 0)
		t->item = vq_arena_copy(r->arena, l->pair, sizeof(*l->pair) * (size_t)l->count);
	free(l->pair);
}

static void
read_list(struct reader *r, struct vq_tree *t, int depth)
{
	struct items items = { 0 };
	yaml_event_t e;

	while (next(r, &e)) {
		bool end = e.type == YAML_SEQUENCE_END_EVENT;
		struct vq_tree *value = end ? NULL : read_node(r, &e, depth + 1);
		yaml_event_delete(&e);
		if (end)
			break;
		items_add(&items, NULL, value);
	}
	items_finish(r, t, &items);
}

/* A key that can stand in a map; reports and returns false for others. */
static bool
check_key(struct reader *r, const struct vq_tree *key, const struct items *items, struct vq_names *seen)
{
	if (key->kind != VQ_TREE_SCALAR || key->text[0] == '\0') {
		vq_error(r->diags, VQ_CONFIG, &key->at, "a key must be a word");
	} else if (strcmp(key->text, "<<") == 0 && !key->quoted) {
		vq_error(r->diags, VQ_CONFIG, &key->at, "merge keys are not part of the language");
	} else if (!vq_names_put(seen, key->text, items->count)) {
		int first = vq_names_get(seen, key->text);
		vq_note(vq_error(r->diags, VQ_CONFIG, &key->at, "'%s' stands here twice", key->text),
		    &items->pair[first].key->at, "the first one");
	} else {
		return true;
	}
	r->errors++;
	return false;
}

static void
read_map(struct reader *r, struct vq_tree *t, int depth)
{
	struct items items = { 0 };
	struct vq_names seen = { 0 };
	yaml_event_t e;

	while (next(r, &e)) {
		bool end = e.type == YAML_MAPPING_END_EVENT;
		struct vq_tree *key = end ? NULL : read_node(r, &e, depth + 1);
		yaml_event_delete(&e);
		if (end || !next(r, &e))
			break;
		struct vq_tree *value = read_node(r, &e, depth + 1);
		yaml_event_delete(&e);
		if (check_key(r, key, &items, &seen))
			items_add(&items, key, value);
	}
	vq_names_free(&seen);
	if (!t->flow && items.count > 0)
		t->at = items.pair[0].key->at;
	items_finish(r, t, &items);
}

static struct vq_tree *
read_collection(struct reader *r, yaml_event_t *e, int depth)
{
	bool map = e->type == YAML_MAPPING_START_EVENT;
	struct vq_tree *t = new_node(r, e, map ? VQ_TREE_MAP : VQ_TREE_LIST);

	if (map) {
		check_properties(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag);
		t->flow = e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
	} else {
		check_properties(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag);
		t->flow = e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	}
	if (depth >= VQ_YAML_DEPTH) {
		refuse(r, e, "nested too deeply");
		r->broken = true;	/* libyaml's time for the rest grows with the square of the depth */
	} else if (map) {
		read_map(r, t, depth);
	} else {
		read_list(r, t, depth);
	}
	return t;
}

/* The node that an event starts.  Never NULL: what is wrong is reported, and
 * an empty scalar stands in its place. */
static struct vq_tree *
read_node(struct reader *r, yaml_event_t *e, int depth)
{
	struct vq_tree *t;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, e);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return read_collection(r, e, depth);
	case YAML_ALIAS_EVENT:
		vq_help(refuse(r, e, "aliases are not part of the language"),
		    "name a number under `let`, or steps under `blocks`");
		break;
	default:
		refuse(r, e, "a value is missing");
		break;
	}
	t = new_node(r, e, VQ_TREE_SCALAR);
	t->text = "";
	return t;
}

/* The one document of the stream; NULL when there is none. */
static struct vq_tree *
read_stream(struct reader *r)
{
	struct vq_tree *root = NULL;
	yaml_event_t e;
	bool end = false;

	while (!end && next(r, &e)) {
		end = e.type == YAML_STREAM_END_EVENT;
		if (e.type == YAML_DOCUMENT_START_EVENT && root != NULL) {
			refuse(r, &e, "a second document in one file");
			end = true;
		} else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT &&
		    e.type != YAML_DOCUMENT_END_EVENT && !end) {
			root = read_node(r, &e, 0);
		}
		yaml_event_delete(&e);
	}
	return root;
}

static bool
check_text(const struct vq_source *source, const char *text, size_t len, struct vq_diags *d)
{
	struct vq_range at = { .source = source };
	int line = 1;
	uint32_t c;

	if (len > VQ_YAML_BYTES) {
		vq_error(d, VQ_CONFIG, &at, "the file has %zu bytes, more than %d", len, VQ_YAML_BYTES);
		return false;
	}
	for (size_t i = 0, n; i < len; i += n) {
		n = vq_utf8_next(text + i, len - i, &c);
		if (n == 0 || text[i] == '\0') {
			vq_error(d, VQ_CONFIG, &at, "not UTF-8 text: byte %zu, in line %d, is 0x%02x", i,
			    line, (unsigned char)text[i]);
			return false;
		}
		line += text[i] == '\n';
	}
	return true;
}

/* Parses text; places refer to source, whose text may be another of the same layout. */
static struct vq_tree *
parse(const struct vq_source *source, const char *text, size_t len, struct vq_arena *a, struct vq_diags *d)
{
	struct reader r = { .source = source, .arena = a, .diags = d };
	struct vq_range whole = { .source = source };
	struct vq_tree *root;

	if (!check_text(source, text, len, d))
		return NULL;
	if (!yaml_parser_initialize(&r.parser)) {
		vq_error(d, VQ_FAILED, &whole, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	root = read_stream(&r);
	yaml_parser_delete(&r.parser);
	if (root == NULL && r.errors == 0) {
		vq_error(d, VQ_CONFIG, &whole, "there is nothing in it");
		return NULL;
	}
	return r.errors > 0 ? NULL : root;
}

static struct vq_source *
new_source(const char *name, const char *text, size_t len, struct vq_arena *a)
{
	struct vq_source *source = vq_arena_alloc(a, sizeof(*source));
	char *copy = vq_arena_alloc(a, len + 1);

	memcpy(copy, text, len);
	source->name = vq_arena_strdup(a, name);
	source->text = copy;
	source->len = len;
	return source;
}

struct vq_tree *
vq_yaml_parse(const char *name, const char *text, size_t len, struct vq_arena *a, struct vq_diags *d)
{
	const struct vq_source *source;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
	}
	/* An oversized text is not copied just to be refused. */
	source = new_source(name, text, len > VQ_YAML_BYTES ? 0 : len, a);

	return parse(source, text, len, a, d);
}

struct vq_tree *
vq_yaml_value(const char *name, const char *text, size_t skip, struct vq_arena *a, struct vq_diags *d)
{
	size_t len = strlen(text);
	const struct vq_source *source = new_source(name, text, len, a);
	char *blank = vq_arena_strndup(a, text, len);
	size_t chars = 0;

	/* As many blanks as characters, so that columns stay those of the whole text. */
	if (!check_text(source, text, len, d))
		return NULL;
	for (size_t i = 0; i < skip && i < len; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			blank[chars++] = ' ';
	memmove(blank + chars, text + skip, len - skip + 1);
	return parse(source, blank, strlen(blank), a, d);
}

struct vq_tree *
vq_yaml_read(const char *path, struct vq_arena *a, struct vq_diags *d)
{
	const struct vq_source *source = new_source(path, "", 0, a);
	struct vq_range at = { .source = source };
	FILE *f = fopen(path, "rb");
	struct vq_text text = { 0 };
	struct vq_tree *root = NULL;
	char part[65536];
	size_t n;

	if (f == NULL) {
		vq_error(d, VQ_CONFIG, &at, "cannot be opened: %s", strerror(errno));
		return NULL;
	}
	while (text.len <= VQ_YAML_BYTES && (n = fread(part, 1, sizeof(part), f)) > 0)
		vq_text_put(&text, part, n);
	if (ferror(f))
		vq_error(d, VQ_CONFIG, &at, "cannot be read: %s", strerror(errno));
	else
		root = vq_yaml_parse(path, text.s ? text.s : "", text.len, a, d);
	fclose(f);
	vq_text_free(&text);
	return root;
}

struct vq_tree *
vq_tree_get(const struct vq_tree *map, const char *key)
{
	if (map->kind != VQ_TREE_MAP)
		return NULL;
	for (int i = 0; i < map->count; i++)
		if (strcmp(map->item[i].key->text, key) == 0)
			return map->item[i].value;
	return NULL;
}
