/*
 * cli_values -- the text of an option's value to the value
 */
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/suggest.h"

bool
vq_duration_parse(const char *s, double *seconds)
{
	static const struct { char unit; double seconds; } units[] = {
		{ 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 }
	};
	double sum = 0;
	size_t next = 0;		/* units go down: 1h30m, not 30m1h */

	if (*s == '\0')
		return false;
	while (*s) {
		char *end;
		double x = strtod(s, &end);
		size_t k = next;

		if (!isdigit((unsigned char)*s) || end != s + strspn(s, "0123456789.") || !isfinite(x))
			return false;
		if (*end == '\0' && next == 0) {
			*seconds = x;
			return true;
		}
		while (k < VQ_COUNT(units) && units[k].unit != *end)
			k++;
		if (k == VQ_COUNT(units))
			return false;
		sum += x * units[k].seconds;
		next = k + 1;
		s = end + 1;
	}
	*seconds = sum;
	return isfinite(sum);
}

static int
wrong_value(struct vq_cli *c, const struct vq_opt *o, const char *value, const char *wants)
{
	vq_usage_error(c, "--%s wants %s, not '%s'", o->name, wants, value);
	return -1;
}

static int
set_int(struct vq_cli *c, const struct vq_opt *o, const char *value, int64_t *into)
{
	char wants[96], *end;
	long long x;
	bool bounds = o->min != 0 || o->max != 0;

	errno = 0;
	x = strtoll(value, &end, 10);
	snprintf(wants, sizeof(wants), "a whole number");
	if (bounds && o->max < 9e15)
		snprintf(wants, sizeof(wants), "a whole number from %.0f to %.0f", o->min, o->max);
	else if (bounds)
		snprintf(wants, sizeof(wants), "a whole number of at least %.0f", o->min);
	if (end == value || *end || errno || isspace((unsigned char)*value) ||
	    (bounds && ((double)x < o->min || (double)x > o->max)))
		return wrong_value(c, o, value, wants);
	*into = x;
	return 0;
}

static int
set_real(struct vq_cli *c, const struct vq_opt *o, const char *value, double *into)
{
	char wants[96], *end;
	double x = strtod(value, &end);
	bool bounds = o->min != 0 || o->max != 0;

	snprintf(wants, sizeof(wants), "a number");
	if (bounds)
		snprintf(wants, sizeof(wants), "a number from %g to %g", o->min, o->max);
	if (end == value || *end || !isfinite(x) || (bounds && (x < o->min || x > o->max)))
		return wrong_value(c, o, value, wants);
	*into = x;
	return 0;
}

static int
set_enum(struct vq_cli *c, const struct vq_opt *o, const char *value, int *into)
{
	struct vq_text all = { 0 };
	struct vq_suggest s;

	vq_suggest_start(&s, value);
	for (int i = 0; o->choices[i]; i++) {
		if (strcmp(o->choices[i], value) == 0) {
			*into = i;
			vq_text_free(&all);
			return 0;
		}
		vq_suggest_try(&s, o->choices[i]);
		vq_text_add(&all, "%s%s", i == 0 ? "" : o->choices[i + 1] ? ", " : " or ", o->choices[i]);
	}
	wrong_value(c, o, value, all.s);
	if (s.best && c->d.count)
		vq_help(c->d.diag[c->d.count - 1], "did you mean %s?", s.best);
	vq_text_free(&all);
	return -1;
}

int
vq_opt_set(struct vq_cli *c, const struct vq_opt *o, void *into, const char *value)
{
	struct vq_strings *list = into;

	switch (o->kind) {
	case VQ_O_FLAG:
		*(bool *)into = true;
		return 0;
	case VQ_O_INT:
		return set_int(c, o, value, into);
	case VQ_O_REAL:
		return set_real(c, o, value, into);
	case VQ_O_ENUM:
		return set_enum(c, o, value, into);
	case VQ_O_STRING:
		if (*value == '\0')
			return wrong_value(c, o, value, "a value");
		*(const char **)into = value;
		return 0;
	case VQ_O_DURATION:
		if (!vq_duration_parse(value, into))
			return wrong_value(c, o, value, "a duration such as 90s, 30m or 1h30m");
		return 0;
	case VQ_O_LIST:
		vq_grow(list->s, list->count, list->cap);
		list->s[list->count++] = value;
		return 0;
	case VQ_O_MAYBE:
		*(struct vq_maybe *)into = (struct vq_maybe){ true, value };
		return 0;
	}
	return -1;
}
