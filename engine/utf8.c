/*
 * utf8 -- characters of a text, and the columns a terminal gives them
 *
 * Independent of the locale.  Widths are those of Unicode's East Asian Width
 * (W and F) and of its common combining blocks, coarsely: enough to put a
 * caret under the right word.
 */
#include "engine/utf8.h"

#include <string.h>

struct span {
	uint32_t from, to;
};

static const struct span combining[] = {
	{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x0610, 0x061a },
	{ 0x064b, 0x065f }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x200b, 0x200d },
	{ 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xe0100, 0xe01ef },
};
static const struct span wide[] = {
	{ 0x1100, 0x115f }, { 0x2e80, 0x303e }, { 0x3041, 0x33ff }, { 0x3400, 0x4dbf },
	{ 0x4e00, 0x9fff }, { 0xa000, 0xa4cf }, { 0xa960, 0xa97f }, { 0xac00, 0xd7a3 },
	{ 0xf900, 0xfaff }, { 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0xffe0, 0xffe6 },
	{ 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
};
static const struct span hidden[] = {
	{ 0x00, 0x1f }, { 0x7f, 0x9f }, { 0x200e, 0x200f }, { 0x2028, 0x202e },
	{ 0x2066, 0x2069 }, { 0xfeff, 0xfeff },
};

static bool
in_spans(uint32_t c, const struct span *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c >= s[i].from && c <= s[i].to)
			return true;
	return false;
}

size_t
vq_utf8_next(const char *s, size_t n, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s;
	size_t len;

	*c = 0;
	if (n == 0)
		return 0;
	len = p[0] < 0x80 ? 1 : p[0] >> 5 == 0x6 ? 2 : p[0] >> 4 == 0xe ? 3 : p[0] >> 3 == 0x1e ? 4 : 0;
	if (len == 0 || len > n)
		return 0;
	*c = len == 1 ? p[0] : p[0] & 0x7fu >> len;
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (*c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return len;
}

bool
vq_utf8_printable(uint32_t c)
{
	return !in_spans(c, hidden, VQ_COUNT(hidden));
}

int
vq_utf8_width(uint32_t c)
{
	if (c < 0x300)
		return 1;
	if (in_spans(c, combining, VQ_COUNT(combining)))
		return 0;
	return in_spans(c, wide, VQ_COUNT(wide)) ? 2 : 1;
}

int
vq_utf8_columns(const char *s)
{
	const char *newline = strrchr(s, '\n');
	int columns = 0;

	if (newline)
		s = newline + 1;
	for (size_t n = strlen(s); n > 0; ) {
		uint32_t c;
		size_t len = vq_utf8_next(s, n, &c);

		columns += len ? vq_utf8_width(c) : 1;
		s += len ? len : 1;
		n -= len ? len : 1;
	}
	return columns;
}
