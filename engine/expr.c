/*
 * expr -- a recursive descent that evaluates while it reads
 */
#include "engine/expr.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPR_DEPTH = 100 };

struct expr {
	const char *text;
	size_t at;			/* of the token being looked at */
	size_t len;			/* its length, 0: the end */
	struct vq_range range;
	int from;
	vq_expr_lookup *lookup;
	void *arg;
	struct vq_diags *diags;
	bool failed;
	int mute;			/* in a part that and/or decided not to look at */
	int depth;
	char **quoted;			/* words written here */
	int words, word_cap;
};

static struct vq_number either(struct expr *x);

static bool
name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
name_char(char c)
{
	return name_start(c) || (c >= '0' && c <= '9');
}

bool
vq_is_name(const char *s)
{
	if (!name_start(*s))
		return false;
	while (name_char(*s))
		s++;
	return *s == '\0';
}

bool
vq_is_path(const char *s)
{
	while (name_start(*s)) {
		while (name_char(*s))
			s++;
		if (*s == '\0')
			return true;
		if (*s++ != '.')
			return false;
	}
	return false;
}

/* --- tokens -------------------------------------------------------------- */

static size_t
number_length(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	if (s[n] == '.')
		for (n++; isdigit((unsigned char)s[n]);)
			n++;
	if (s[n] == 'e' || s[n] == 'E') {
		size_t e = n + 1 + (s[n + 1] == '+' || s[n + 1] == '-');
		if (isdigit((unsigned char)s[e]))
			for (n = e; isdigit((unsigned char)s[n]);)
				n++;
	}
	return n;
}

static size_t
name_length(const char *s)
{
	size_t n = 0;

	while (name_char(s[n]) || (s[n] == '.' && n > 0 && name_start(s[n + 1])))
		n++;
	return n;
}

static size_t
token_length(const char *s)
{
	static const char *const two[] = { "**", "//", "<=", ">=", "==", "!=" };

	if (*s == '\0')
		return 0;
	if (isdigit((unsigned char)*s) || (*s == '.' && isdigit((unsigned char)s[1])))
		return number_length(s);
	if (name_start(*s))
		return name_length(s);
	if (*s == '\'' && strchr(s + 1, '\''))
		return (size_t)(strchr(s + 1, '\'') - s) + 1;
	for (size_t i = 0; i < VQ_COUNT(two); i++)
		if (strncmp(s, two[i], 2) == 0)
			return 2;
	return 1;
}

static size_t
skip_blanks(const char *text, size_t at)
{
	while (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r')
		at++;
	return at;
}

static void
look_at(struct expr *x, size_t at)
{
	x->at = skip_blanks(x->text, at);
	x->len = token_length(x->text + x->at);
}

static bool
is(const struct expr *x, const char *token)
{
	return x->len == strlen(token) && strncmp(x->text + x->at, token, x->len) == 0;
}

static bool
accept(struct expr *x, const char *token)
{
	if (!is(x, token))
		return false;
	look_at(x, x->at + x->len);
	return true;
}

static struct vq_range
range_between(const struct expr *x, size_t from, size_t to)
{
	struct vq_range at = x->range;

	if (x->from < 0 || at.line == 0 || at.end_line != at.line)
		return at;
	at.end_col = at.col + x->from + (int)to;
	at.col += x->from + (int)from;
	if (at.end_col <= at.col)
		at.end_col = at.col + 1;
	return at;
}

static struct vq_number
fail(struct expr *x, size_t from, size_t to, const char *fmt, const char *a, const char *b, const char *c)
{
	struct vq_range at = range_between(x, from, to);
	struct vq_text t = { 0 };

	if (!x->mute && !x->failed) {
		x->failed = true;
		vq_text_add(&t, "%s%s%s%s", fmt, a, b, c);
		vq_error(x->diags, VQ_CONFIG, &at, "%s", t.s);
		vq_text_free(&t);
	}
	return (struct vq_number){ 0 };
}

/* --- numbers ------------------------------------------------------------- */

static struct vq_number
of_int(int64_t i)
{
	return (struct vq_number){ .kind = VQ_NUM_INT, .i = i };
}

static struct vq_number
of_bool(bool b)
{
	return (struct vq_number){ .kind = VQ_NUM_BOOL, .i = b };
}

static struct vq_number
of_real(double r)
{
	return (struct vq_number){ .kind = VQ_NUM_REAL, .r = r };
}

double
vq_number_real(const struct vq_number *n)
{
	return n->kind == VQ_NUM_REAL ? n->r : (double)n->i;
}

bool
vq_number_parse(const char *text, struct vq_number *out)
{
	const char *s = text + (*text == '-' || *text == '+');
	size_t n = number_length(s);

	*out = (struct vq_number){ 0 };
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
		*out = of_bool(*text == 't');
		return true;
	}
	/* "e0" and "." have the letters of a number, and are none. */
	if (n == 0 || s[n] != '\0' || !(isdigit((unsigned char)s[0]) || (s[0] == '.' && isdigit((unsigned char)s[1]))))
		return false;
	if (strspn(s, "0123456789") == n) {
		int64_t i = 0;
		bool over = false;
		for (; *s && !over; s++)
			over = __builtin_mul_overflow(i, 10, &i) ||
			    __builtin_add_overflow(i, (*text == '-' ? '0' - *s : *s - '0'), &i);
		*out = of_int(i);
		return !over;
	}
	*out = of_real(strtod(text, NULL));
	return isfinite(out->r);
}

static void
print_real(double r, struct vq_text *out)
{
	char s[40];

	for (int digits = 1; digits <= 17; digits++) {
		snprintf(s, sizeof(s), "%.*g", digits, r);
		if (strtod(s, NULL) == r)
			break;
	}
	/* A real stays one when it is read again. */
	vq_text_add(out, "%s%s", s, strpbrk(s, ".e") ? "" : ".0");
}

void
vq_number_print(const struct vq_number *n, struct vq_text *out)
{
	switch (n->kind) {
	case VQ_NUM_NONE:
		vq_text_add(out, "?");
		break;
	case VQ_NUM_INT:
		vq_text_add(out, "%lld", (long long)n->i);
		break;
	case VQ_NUM_BOOL:
		vq_text_add(out, n->i ? "true" : "false");
		break;
	case VQ_NUM_REAL:
		print_real(n->r, out);
		break;
	case VQ_NUM_INTS:
		vq_text_add(out, "[");
		for (int i = 0; i < n->ints.count; i++)
			vq_text_add(out, "%s%lld", i ? ", " : "", (long long)n->ints.v[i]);
		vq_text_add(out, "]");
		break;
	case VQ_NUM_WORD:
		vq_text_add(out, "%s", n->text);
		break;
	}
}

/* An operand that arithmetic can take; a list of one integer is that integer. */
static bool
operand(struct expr *x, struct vq_number *a, size_t from)
{
	if (a->kind == VQ_NUM_INTS && a->ints.count == 1)
		*a = of_int(a->ints.v[0]);
	if (a->kind == VQ_NUM_WORD)
		fail(x, from, x->at, "'", a->text, "' is a name, and a number is wanted here", "");
	else if (a->kind == VQ_NUM_INTS)
		fail(x, from, x->at, "this is a list, and a number is wanted here", "", "", "");
	else
		return a->kind != VQ_NUM_NONE;
	return false;
}

/* The result of an operation on integers that may not fit, or on reals that may
 * leave them. */
static struct vq_number
checked(struct expr *x, size_t from, bool overflow, struct vq_number y)
{
	if (overflow)
		return fail(x, from, x->at, "the result does not fit in 64 bits", "", "", "");
	if (y.kind == VQ_NUM_REAL && !isfinite(y.r))
		return fail(x, from, x->at, "the result is not a finite number", "", "", "");
	return y;
}

static struct vq_number
int_power(struct expr *x, size_t from, int64_t a, int64_t b)
{
	int64_t y = 1;
	bool over = false;

	if (b < 0)
		return checked(x, from, false, of_real(pow((double)a, (double)b)));
	if (a == 0 || a == 1)
		return of_int(b == 0 ? 1 : a);
	if (a == -1)
		return of_int(b % 2 ? -1 : 1);
	for (int64_t i = 0; i < b && !over; i++)
		over = __builtin_mul_overflow(y, a, &y);
	return checked(x, from, over, of_int(y));
}

static struct vq_number
int_divide(struct expr *x, size_t from, char op, int64_t a, int64_t b)
{
	if (b == 0)
		return fail(x, from, x->at, "division by zero", "", "", "");
	if (b == -1 && a == INT64_MIN)
		return op == '%' ? of_int(0) : checked(x, from, true, of_int(0));
	int64_t q = a / b, rest = a % b;
	if (op == '/' && rest == 0)
		return of_int(q);
	if (op == '/') {
		struct vq_number y = of_real((double)a / (double)b);
		y.inexact = true;
		y.over = a;
		y.under = b;
		return y;
	}
	if (rest != 0 && (rest < 0) != (b < 0)) {
		q--;
		rest += b;
	}
	return of_int(op == '%' ? rest : q);
}

static struct vq_number
int_operation(struct expr *x, size_t from, char op, int64_t a, int64_t b)
{
	int64_t y = 0;
	bool over = false;

	switch (op) {
	case '+':
		over = __builtin_add_overflow(a, b, &y);
		break;
	case '-':
		over = __builtin_sub_overflow(a, b, &y);
		break;
	case '*':
		over = __builtin_mul_overflow(a, b, &y);
		break;
	case '^':
		return int_power(x, from, a, b);
	default:
		return int_divide(x, from, op, a, b);
	}
	return checked(x, from, over, of_int(y));
}

/* op: + - * / %, q for //, ^ for **. */
static struct vq_number
operation(struct expr *x, size_t from, char op, struct vq_number a, struct vq_number b)
{
	double y = 0, p, q;

	if (!operand(x, &a, from) || !operand(x, &b, from))
		return (struct vq_number){ 0 };
	if (a.kind != VQ_NUM_REAL && b.kind != VQ_NUM_REAL)
		return int_operation(x, from, op, a.i, b.i);
	p = vq_number_real(&a);
	q = vq_number_real(&b);
	if (strchr("/q%", op) && q == 0)
		return fail(x, from, x->at, "division by zero", "", "", "");
	switch (op) {
	case '+': y = p + q; break;
	case '-': y = p - q; break;
	case '*': y = p * q; break;
	case '/': y = p / q; break;
	case 'q': y = floor(p / q); break;
	case '%': y = p - q * floor(p / q); break;
	case '^': y = pow(p, q); break;
	default: vq_bug("operation %c", op);
	}
	return checked(x, from, false, of_real(y));
}

static int
order(const struct vq_number *a, const struct vq_number *b)
{
	if (a->kind != VQ_NUM_REAL && b->kind != VQ_NUM_REAL)
		return (a->i > b->i) - (a->i < b->i);
	double p = vq_number_real(a), q = vq_number_real(b);
	return (p > q) - (p < q);
}

/* --- the grammar --------------------------------------------------------- */

static struct vq_number
to_int(struct expr *x, size_t from, double r)
{
	return checked(x, from, !(fabs(r) < 9.2e18), of_int(fabs(r) < 9.2e18 ? (int64_t)r : 0));
}

static struct vq_number
call(struct expr *x, size_t from, size_t len)
{
	static const char *const known = "sqrt, log, exp, floor, ceil, round, abs";
	char name[32] = "";
	struct vq_number a;

	snprintf(name, sizeof(name), "%.*s", (int)len, x->text + from);
	accept(x, "(");
	a = either(x);
	if (!accept(x, ")"))
		return fail(x, x->at, x->at + x->len, "a ) is missing here", "", "", "");
	if (!operand(x, &a, from))
		return (struct vq_number){ 0 };
	double r = vq_number_real(&a);
	bool whole = a.kind != VQ_NUM_REAL;
	if (strcmp(name, "abs") == 0)
		return whole ? checked(x, from, a.i == INT64_MIN, of_int(a.i < 0 && a.i != INT64_MIN ? -a.i : a.i))
		             : of_real(fabs(r));
	if (strcmp(name, "floor") == 0)
		return whole ? of_int(a.i) : to_int(x, from, floor(r));
	if (strcmp(name, "ceil") == 0)
		return whole ? of_int(a.i) : to_int(x, from, ceil(r));
	if (strcmp(name, "round") == 0)
		return whole ? of_int(a.i) : to_int(x, from, round(r));
	if (strcmp(name, "sqrt") == 0)
		return checked(x, from, false, of_real(sqrt(r)));
	if (strcmp(name, "log") == 0)
		return checked(x, from, false, of_real(log(r)));
	if (strcmp(name, "exp") == 0)
		return checked(x, from, false, of_real(exp(r)));
	return fail(x, from, from + len, "there is no function '", name, "'; there are ", known);
}

static struct vq_number
named(struct expr *x)
{
	size_t from = x->at, len = x->len;
	struct vq_number y = { 0 };

	look_at(x, from + len);
	if (is(x, "("))
		return call(x, from, len);
	char *name = vq_strndup(x->text + from, len);
	if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
		y = of_bool(*name == 't');
	} else if (!x->mute && !x->failed) {
		struct vq_range at = range_between(x, from, from + len);
		if (x->lookup(x->arg, name, &at, &y) < 0)
			x->failed = true;
	}
	free(name);
	return y;
}

/* 'silu': what a word is compared with. */
static struct vq_number
quoted(struct expr *x)
{
	struct vq_number y = { .kind = VQ_NUM_WORD };

	vq_grow(x->quoted, x->words, x->word_cap);
	y.text = x->quoted[x->words++] = vq_strndup(x->text + x->at + 1, x->len - 2);
	look_at(x, x->at + x->len);
	return y;
}

static struct vq_number
primary(struct expr *x)
{
	size_t from = x->at;
	char c = x->text[from];
	struct vq_number y = { 0 };

	if (accept(x, "(")) {
		y = either(x);
		if (!accept(x, ")"))
			return fail(x, x->at, x->at + x->len, "a ) is missing here", "", "", "");
		return y;
	}
	if (name_start(c) && !is(x, "and") && !is(x, "or") && !is(x, "not"))
		return named(x);
	if (isdigit((unsigned char)c) || (c == '.' && x->len > 1)) {
		char *text = vq_strndup(x->text + from, x->len);
		bool ok = vq_number_parse(text, &y);
		free(text);
		look_at(x, from + x->len);
		return ok ? y : fail(x, from, x->at, "this number is too large", "", "", "");
	}
	if (c == '\'' && x->len > 1)
		return quoted(x);
	if (c == '$')
		return fail(x, from, from + 1, "inside $(...) a name stands without its own $", "", "", "");
	return fail(x, from, from + x->len, "a number or a name is missing here", "", "", "");
}

static struct vq_number unary(struct expr *x);

static struct vq_number
power(struct expr *x)
{
	size_t from = x->at;
	struct vq_number a = primary(x);

	return accept(x, "**") ? operation(x, from, '^', a, unary(x)) : a;
}

static struct vq_number
unary(struct expr *x)
{
	size_t from = x->at;
	struct vq_number y = { 0 };

	if (++x->depth > EXPR_DEPTH)
		y = fail(x, from, from + 1, "nested too deeply", "", "", "");
	else if (accept(x, "-"))
		y = operation(x, from, '-', of_int(0), unary(x));
	else
		y = power(x);
	x->depth--;
	return y;
}

static struct vq_number
product(struct expr *x)
{
	size_t from = x->at;
	struct vq_number a = unary(x);

	while (!x->failed) {
		if (accept(x, "*"))
			a = operation(x, from, '*', a, unary(x));
		else if (accept(x, "//"))
			a = operation(x, from, 'q', a, unary(x));
		else if (accept(x, "/"))
			a = operation(x, from, '/', a, unary(x));
		else if (accept(x, "%"))
			a = operation(x, from, '%', a, unary(x));
		else
			break;
	}
	return a;
}

static struct vq_number
sum(struct expr *x)
{
	size_t from = x->at;
	struct vq_number a = product(x);

	while (!x->failed) {
		if (accept(x, "+"))
			a = operation(x, from, '+', a, product(x));
		else if (accept(x, "-"))
			a = operation(x, from, '-', a, product(x));
		else
			break;
	}
	return a;
}

/* The last part of a word: a block's name means the same under an alias. */
static const char *
last_part(const char *word)
{
	const char *dot = strrchr(word, '.');

	return dot ? dot + 1 : word;
}

/* Whether words are the same is all that can be asked of them; NONE is not known yet. */
static struct vq_number
same_word(const struct vq_number *a, const struct vq_number *b, bool same)
{
	if (a->kind == VQ_NUM_NONE || b->kind == VQ_NUM_NONE)
		return (struct vq_number){ 0 };
	return of_bool((strcmp(last_part(a->text), last_part(b->text)) == 0) == same);
}

static bool
can_be_word(const struct vq_number *n)
{
	return n->kind == VQ_NUM_WORD || n->kind == VQ_NUM_NONE;
}

static struct vq_number
comparison(struct expr *x)
{
	static const char *const ops[] = { "<", "<=", "==", "!=", ">=", ">" };
	size_t from = x->at;
	struct vq_number a = sum(x), b;
	size_t op = 0;

	while (op < VQ_COUNT(ops) && !is(x, ops[op]))
		op++;
	if (op == VQ_COUNT(ops))
		return a;
	accept(x, ops[op]);
	b = sum(x);
	if ((ops[op][0] == '=' || ops[op][0] == '!') && can_be_word(&a) && can_be_word(&b))
		return same_word(&a, &b, ops[op][0] == '=');
	if (!operand(x, &a, from) || !operand(x, &b, from))
		return (struct vq_number){ 0 };
	int c = order(&a, &b);
	bool answer[] = { c < 0, c <= 0, c == 0, c != 0, c >= 0, c > 0 };
	return of_bool(answer[op]);
}

static struct vq_number
negation(struct expr *x)
{
	size_t from = x->at;
	struct vq_number y = { 0 };

	if (!is(x, "not"))
		return comparison(x);
	if (++x->depth > EXPR_DEPTH) {
		y = fail(x, from, from + 1, "nested too deeply", "", "", "");
	} else {
		accept(x, "not");
		y = negation(x);
		y = operand(x, &y, from) ? of_bool(vq_number_real(&y) == 0) : (struct vq_number){ 0 };
	}
	x->depth--;
	return y;
}

/* A chain of one of the two: what the first part decides is not looked at. */
static struct vq_number
chain(struct expr *x, const char *word, bool decided_by, struct vq_number (*part)(struct expr *x))
{
	size_t from = x->at;
	struct vq_number a = part(x), b;

	while (!x->failed && accept(x, word)) {
		bool known = operand(x, &a, from);
		bool decided = known && (vq_number_real(&a) != 0) == decided_by;
		x->mute += decided;
		b = part(x);
		x->mute -= decided;
		if (decided)
			a = of_bool(decided_by);
		else if (known && operand(x, &b, from))
			a = of_bool(vq_number_real(&b) != 0);
		else
			a = (struct vq_number){ 0 };
	}
	return a;
}

static struct vq_number
both(struct expr *x)
{
	return chain(x, "and", false, negation);
}

static struct vq_number
either(struct expr *x)
{
	return chain(x, "or", true, both);
}

int
vq_expr_eval(const char *text, const struct vq_range *at, int from, vq_expr_lookup *lookup,
    void *arg, struct vq_diags *d, struct vq_number *out)
{
	struct expr x = { .text = text, .range = *at, .from = from, .lookup = lookup, .arg = arg, .diags = d };

	look_at(&x, 0);
	*out = either(&x);
	if (!x.failed && x.len > 0)
		fail(&x, x.at, x.at + x.len, is(&x, ",") ? "no function takes a second argument" :
		    "this is not expected here", "", "", "");
	for (int i = 0; i < x.words; i++) {
		if (out->kind == VQ_NUM_WORD && out->text == x.quoted[i])
			fail(&x, 0, strlen(text), "a word in quotes can only be compared, by == or !=", "", "", "");
		free(x.quoted[i]);
	}
	free(x.quoted);
	if (x.failed)
		*out = (struct vq_number){ 0 };
	return x.failed ? -1 : 0;
}

void
vq_expr_names(const char *text, void (*each)(void *arg, size_t at, size_t len), void *arg)
{
	struct expr x = { .text = text };

	for (look_at(&x, 0); x.len > 0; look_at(&x, x.at + x.len)) {
		bool word = is(&x, "and") || is(&x, "or") || is(&x, "not") || is(&x, "true") || is(&x, "false");
		if (name_start(text[x.at]) && !word && text[skip_blanks(text, x.at + x.len)] != '(')
			each(arg, x.at, x.len);
	}
}
