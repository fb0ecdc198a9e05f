/*
 * param -- typed parameter tables
 *
 * Text goes in and comes out the same way everywhere: files, overrides, ops'
 * examples, help.  What vq_param_print writes, vq_param_set reads back exactly.
 */
#include "engine/param.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(char why[VQ_WHY], const char *fmt, ...) VQ_PRINTF(2, 3);

static int
refuse(char why[VQ_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, VQ_WHY, fmt, ap);
	va_end(ap);
	return -1;
}

/* A real in as few digits as read back to it; whole numbers without exponent. */
enum { REAL_STR = 32 };

static const char *
real_str(double x, char buf[REAL_STR])
{
	if (fabs(x) < 1e15 && x == trunc(x)) {
		snprintf(buf, REAL_STR, "%.0f", x);
		return buf;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(buf, REAL_STR, "%.*g", digits, x);
		if (strtod(buf, NULL) == x)
			break;
	}
	return buf;
}

/* A row that gives no bounds has 0 for both. */
static bool
in_range(const struct vq_param *p, double x, const char *shown, char why[VQ_WHY])
{
	char bound[REAL_STR];

	if (p->min == 0 && p->max == 0)
		return true;
	if (x < p->min) {
		refuse(why, "must be at least %s, is %.40s", real_str(p->min, bound), shown);
		return false;
	}
	if (x > p->max) {
		refuse(why, "must be at most %s, is %.40s", real_str(p->max, bound), shown);
		return false;
	}
	return true;
}

static const char *
skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* [+-]digits[.digits][e[+-]digits]: no hex, no inf, no nan.  Its length, 0 when
 * there is none; *integer when it has neither point nor exponent. */
static size_t
number_length(const char *s, bool *integer)
{
	size_t i = s[0] == '+' || s[0] == '-', digits = 0;

	*integer = true;
	for (; isdigit((unsigned char)s[i]); i++)
		digits++;
	if (s[i] == '.') {
		*integer = false;
		for (i++; isdigit((unsigned char)s[i]); i++)
			digits++;
	}
	if (!digits)
		return 0;
	if (s[i] == 'e' || s[i] == 'E') {
		size_t j = i + 1 + (s[i + 1] == '+' || s[i + 1] == '-');

		if (!isdigit((unsigned char)s[j]))
			return 0;
		while (isdigit((unsigned char)s[j]))
			j++;
		*integer = false;
		i = j;
	}
	return i;
}

/* Reads an integer at s; returns past it, NULL with the reason. */
static const char *
read_int(const struct vq_param *p, const char *s, int64_t *out, char why[VQ_WHY])
{
	bool integer;
	size_t n = number_length(s, &integer);
	char shown[48];

	snprintf(shown, sizeof(shown), "%.*s", (int)strcspn(s, ", ]"), s);
	if (!n || !integer || !strchr(", ]", s[n])) {
		refuse(why, "must be an integer, is '%s'", shown);
		return NULL;
	}
	errno = 0;
	*out = strtoll(s, NULL, 10);
	if (errno) {
		refuse(why, "is too large for an integer: %s", shown);
		return NULL;
	}
	return in_range(p, (double)*out, shown, why) ? s + n : NULL;
}

static int
set_int(const struct vq_param *p, int64_t *into, const char *text, char why[VQ_WHY])
{
	int64_t x;
	const char *end = read_int(p, text, &x, why);

	if (!end)
		return -1;
	if (*end)
		return refuse(why, "must be an integer, is '%.60s'", text);
	*into = x;
	return 0;
}

static int
set_real(const struct vq_param *p, double *into, const char *text, char why[VQ_WHY])
{
	bool integer;
	size_t n = number_length(text, &integer);
	double x;

	if (!n || text[n])
		return refuse(why, "must be a number, is '%.60s'", text);
	x = strtod(text, NULL);
	if (!isfinite(x))
		return refuse(why, "is too large for a number: %.60s", text);
	if (!in_range(p, x, text, why))
		return -1;
	*into = x;
	return 0;
}

static int
set_bool(bool *into, const char *text, char why[VQ_WHY])
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return refuse(why, "must be true or false, is '%.60s'", text);
	*into = text[0] == 't';
	return 0;
}

static int
set_enum(const struct vq_param *p, int *into, const char *text, char why[VQ_WHY])
{
	struct vq_text all = { 0 };
	int status;

	for (int i = 0; p->choices[i]; i++)
		if (strcmp(p->choices[i], text) == 0) {
			*into = i;
			return 0;
		}
	for (int i = 0; p->choices[i]; i++)
		vq_text_add(&all, "%s%s", !i ? "" : p->choices[i + 1] ? ", " : " or ", p->choices[i]);
	status = refuse(why, "must be %.160s, is '%.60s'", all.s ? all.s : "", text);
	vq_text_free(&all);
	return status;
}

static int
check_count(const struct vq_param *p, int count, char why[VQ_WHY])
{
	int most = p->max_count ? p->max_count : VQ_MAX_INTS;

	if (count >= p->min_count && count <= most)
		return 0;
	if (p->min_count == most)
		return refuse(why, "must have %d %s, has %d", most, most == 1 ? "entry" : "entries", count);
	if (count < p->min_count)
		return refuse(why, "must have at least %d %s, has %d", p->min_count,
		    p->min_count == 1 ? "entry" : "entries", count);
	return refuse(why, "must have at most %d %s, has %d", most, most == 1 ? "entry" : "entries", count);
}

/* The entries between [ and ]. */
static int
read_list(const struct vq_param *p, const char *text, struct vq_ints *l, char why[VQ_WHY])
{
	const char *s = skip_space(text + 1);

	while (*s != ']') {
		int64_t x;

		if (!(s = read_int(p, s, &x, why)))
			return -1;
		if (l->count == VQ_MAX_INTS)
			return refuse(why, "must have at most %d entries", VQ_MAX_INTS);
		l->v[l->count++] = x;
		s = skip_space(s);
		if (*s == ',' && *skip_space(s + 1) != ']')
			s = skip_space(s + 1);
		else if (*s != ']')
			return refuse(why, "must be a list of integers, is '%.60s'", text);
	}
	if (*skip_space(s + 1))
		return refuse(why, "must be a list of integers, is '%.60s'", text);
	return 0;
}

static int
set_ints(const struct vq_param *p, struct vq_ints *into, const char *text, char why[VQ_WHY])
{
	struct vq_ints l = { 0 };

	text = skip_space(text);
	if (*text == '[') {
		if (read_list(p, text, &l, why) < 0)
			return -1;
	} else {
		if (set_int(p, &l.v[0], text, why) < 0)
			return -1;
		l.count = 1;
	}
	if (check_count(p, l.count, why) < 0)
		return -1;
	*into = l;
	return 0;
}

int
vq_param_set(const struct vq_param *p, void *into, const char *text, char why[VQ_WHY])
{
	void *field = (char *)into + p->offset;

	switch (p->kind) {
	case VQ_P_INT:    return set_int(p, field, text, why);
	case VQ_P_REAL:   return set_real(p, field, text, why);
	case VQ_P_BOOL:   return set_bool(field, text, why);
	case VQ_P_ENUM:   return set_enum(p, field, text, why);
	case VQ_P_INTS:   return set_ints(p, field, text, why);
	case VQ_P_STRING: *(const char **)field = text; return 0;
	case VQ_P_END:    break;
	}
	vq_bug("parameter '%s' has no kind", p->name);
}

/* --- tables --------------------------------------------------------------- */

void
vq_params_default(const struct vq_param *table, void *into)
{
	char why[VQ_WHY];

	for (const struct vq_param *p = table; p && p->name; p++)
		if (p->init && vq_param_set(p, into, p->init, why) < 0)
			vq_bug("default of parameter '%s' %s", p->name, why);
}

const struct vq_param *
vq_param_find(const struct vq_param *table, const char *name)
{
	for (const struct vq_param *p = table; p && p->name; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static bool
table_fits(const struct vq_param *table, uint64_t given, char why[VQ_WHY])
{
	for (const struct vq_param *p = table; p && p->name; p++)
		if (!p->init && !(given >> (p - table) & 1)) {
			refuse(why, "needs %s", p->name);
			return false;
		}
	return true;
}

/* One "name=value" at s, its value up to end. */
static int
parse_one(const struct vq_param *table, void *into, const char *s, const char *end,
    uint64_t *given, char why[VQ_WHY])
{
	char name[64], value[VQ_WHY];
	size_t n = strcspn(s, "= ");
	const struct vq_param *p;

	if (s[n] != '=' || n >= sizeof(name))
		return refuse(why, "'%.40s' is not name=value", s);
	memcpy(name, s, n);
	name[n] = '\0';
	if (!(p = vq_param_find(table, name)))
		return refuse(why, "no parameter '%s'", name);
	if (*given >> (p - table) & 1)
		return refuse(why, "%s is given twice", name);
	*given |= (uint64_t)1 << (p - table);
	s += n + 1;
	if (p->kind == VQ_P_STRING && *end)
		return refuse(why, "%s, a string, must stand last", name);
	if (p->kind == VQ_P_STRING)
		return vq_param_set(p, into, s, why);
	if ((size_t)(end - s) >= sizeof(value))
		return refuse(why, "%s is too long", name);
	memcpy(value, s, (size_t)(end - s));
	value[end - s] = '\0';

	char reason[VQ_WHY];
	if (vq_param_set(p, into, value, reason) < 0)
		return refuse(why, "%s %.180s", name, reason);
	return 0;
}

int
vq_params_parse(const struct vq_param *table, void *into, const char *text, char why[VQ_WHY])
{
	uint64_t given = 0;
	int rows = 0;

	for (const struct vq_param *p = table; p && p->name; p++)
		rows++;
	vq_assert(rows <= 64);
	vq_params_default(table, into);
	for (const char *s = skip_space(text ? text : ""); *s; ) {
		const char *end = s;
		int depth = 0;

		for (; *end && (depth > 0 || !isspace((unsigned char)*end)); end++)
			depth += (*end == '[') - (*end == ']');
		if (parse_one(table, into, s, end, &given, why) < 0)
			return -1;
		s = skip_space(end);
	}
	return table_fits(table, given, why) ? 0 : -1;
}

void
vq_param_print(const struct vq_param *p, const void *from, struct vq_text *out)
{
	const void *field = (const char *)from + p->offset;
	const struct vq_ints *l = field;
	const char *s;
	char buf[REAL_STR];

	switch (p->kind) {
	case VQ_P_INT:
		vq_text_add(out, "%lld", (long long)*(const int64_t *)field);
		return;
	case VQ_P_REAL:
		vq_text_add(out, "%s", real_str(*(const double *)field, buf));
		return;
	case VQ_P_BOOL:
		vq_text_add(out, "%s", *(const bool *)field ? "true" : "false");
		return;
	case VQ_P_ENUM:
		vq_text_add(out, "%s", p->choices[*(const int *)field]);
		return;
	case VQ_P_INTS:
		vq_text_add(out, "[");
		for (int i = 0; i < l->count; i++)
			vq_text_add(out, "%s%lld", i ? ", " : "", (long long)l->v[i]);
		vq_text_add(out, "]");
		return;
	case VQ_P_STRING:
		s = *(const char *const *)field;
		vq_text_add(out, "%s", s ? s : "");
		return;
	case VQ_P_END:
		break;
	}
	vq_bug("parameter '%s' has no kind", p->name);
}

void
vq_params_signature(const struct vq_param *table, struct vq_text *out)
{
	for (const struct vq_param *p = table; p && p->name; p++) {
		vq_text_add(out, "%s%s", p == table ? "" : ", ", p->name);
		if (p->init)
			vq_text_add(out, " = %s", *p->init ? p->init : "\"\"");
	}
}

static bool
field_equal(const struct vq_param *p, const void *a, const void *b)
{
	const struct vq_ints *k = a, *l = b;
	const char *s, *t;

	switch (p->kind) {
	case VQ_P_INT:  return *(const int64_t *)a == *(const int64_t *)b;
	case VQ_P_REAL: return *(const double *)a == *(const double *)b;
	case VQ_P_BOOL: return *(const bool *)a == *(const bool *)b;
	case VQ_P_ENUM: return *(const int *)a == *(const int *)b;
	case VQ_P_INTS:
		return k->count == l->count &&
		    memcmp(k->v, l->v, (size_t)k->count * sizeof(k->v[0])) == 0;
	case VQ_P_STRING:
		s = *(const char *const *)a;
		t = *(const char *const *)b;
		return s && t ? strcmp(s, t) == 0 : s == t;
	case VQ_P_END:
		break;
	}
	return true;
}

bool
vq_param_equal(const struct vq_param *table, const void *a, const void *b)
{
	for (const struct vq_param *p = table; p && p->name; p++)
		if (!field_equal(p, (const char *)a + p->offset, (const char *)b + p->offset))
			return false;
	return true;
}
