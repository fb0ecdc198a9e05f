/*
 * check_diag -- how errors look, byte for byte, and what names are offered
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/diag.h"
#include "engine/suggest.h"
#include "engine/utf8.h"

static const char yaml[] =
	"vqgraph: 1\n"
	"      - conv: {out: $width, kernel: 4, strides: 2, pad: 1}\n"
	"\tx:\ty  \r\n"
	"größe: {日本: 1, e\xcc\x81nd: 2}\n"
	"bad \x1b[31m \xff byte: 3\n"
	"last";
static const struct vq_source source = { "graphs/m.yaml", yaml, sizeof(yaml) - 1 };

static struct vq_range
at(int line, int col, int end_col)
{
	return (struct vq_range){ &source, line, col, line, end_col };
}

/* What is printed, for free(). */
static char *
printed(const struct vq_diags *d, bool color)
{
	char *s = NULL;
	size_t n;
	FILE *f = open_memstream(&s, &n);

	vq_diags_print(d, f, color);
	fclose(f);
	return s;
}

static void
expect(struct vq_diags *d, const char *text)
{
	char *s = printed(d, false);

	ck_assert_str_eq(s, text);
	free(s);
	vq_diags_free(d);
}

START_TEST(looks_like_the_manual_says)
{
	static const struct vq_source lib = { "graphs/lib/nn.yaml", NULL, 0 };
	struct vq_range there = { &lib, 15, 3, 15, 7 }, place = at(2, 40, 47);
	struct vq_diags d = { 0 };
	struct vq_diag *e = vq_error(&d, VQ_CONFIG, &place, "conv has no parameter '%s'", "strides");

	vq_detail(e, NULL, "a = f32[128, 8, 8, 32]     from conv");
	vq_help(e, "there is a parameter with a similar name: %s", "stride");
	vq_note(e, &there, "conv takes out, kernel, stride = 1, pad = 0");
	ck_assert_int_eq(vq_diags_status(&d), VQ_CONFIG);
	expect(&d,
	    "graphs/m.yaml:2:40: error: conv has no parameter 'strides'\n"
	    "    2 |       - conv: {out: $width, kernel: 4, strides: 2, pad: 1}\n"
	    "      |                                        ^~~~~~~\n"
	    "      a = f32[128, 8, 8, 32]     from conv\n"
	    "help: there is a parameter with a similar name: stride\n"
	    "note: conv takes out, kernel, stride = 1, pad = 0            [graphs/lib/nn.yaml:15]\n");
}
END_TEST

START_TEST(places_without_a_line)
{
	static const struct vq_source command = { "command line", NULL, 0 };
	struct vq_range whole = { &command, 0, 0, 0, 0 }, line = { &command, 3, 0, 0, 0 };
	struct vq_diags d = { 0 };

	vq_error(&d, VQ_USAGE, NULL, "no place");
	vq_error(&d, VQ_USAGE, &whole, "the whole");
	vq_error(&d, VQ_USAGE, &line, "a line");
	ck_assert_int_eq(vq_diags_status(&d), VQ_USAGE);
	expect(&d, "error: no place\n\ncommand line: error: the whole\n\ncommand line:3: error: a line\n");
}
END_TEST

START_TEST(carets_over_tabs)
{
	struct vq_range place = at(3, 5, 6);
	struct vq_diags d = { 0 };

	vq_error(&d, VQ_CONFIG, &place, "m");
	expect(&d,
	    "graphs/m.yaml:3:5: error: m\n"
	    "    3 |         x:      y  \n"
	    "      |                 ^\n");
}
END_TEST

START_TEST(carets_under_wide_and_combining_characters)
{
	struct vq_range wide = at(4, 9, 11), combining = at(4, 16, 20);
	struct vq_diags d = { 0 };

	vq_error(&d, VQ_CONFIG, &wide, "m");
	expect(&d,
	    "graphs/m.yaml:4:9: error: m\n"
	    "    4 | größe: {日本: 1, e\xcc\x81nd: 2}\n"
	    "      |         ^~~~\n");
	vq_error(&d, VQ_CONFIG, &combining, "m");
	expect(&d,
	    "graphs/m.yaml:4:16: error: m\n"
	    "    4 | größe: {日本: 1, e\xcc\x81nd: 2}\n"
	    "      |                  ^~~\n");
}
END_TEST

START_TEST(nothing_unprintable_reaches_the_terminal)
{
	struct vq_range place = at(5, 1, 4);
	struct vq_diags d = { 0 };

	vq_error(&d, VQ_CONFIG, &place, "key 'a\x1b]0;x\a\xc3' \xe2\x80\xae");
	expect(&d,
	    "graphs/m.yaml:5:1: error: key 'a\\x1b]0;x\\x07\\xc3' \\xe2\\x80\\xae\n"
	    "    5 | bad \\x1b[31m \\xff byte: 3\n"
	    "      | ^~~\n");
}
END_TEST

START_TEST(ranges_at_the_edges)
{
	struct vq_range end = at(6, 5, 5), beyond = at(6, 50, 60), no_line = at(70, 1, 2), many = at(2, 7, 3);
	struct vq_diags d = { 0 };

	many.end_line = 4;	/* to the end of its first line */
	vq_error(&d, VQ_CONFIG, &end, "a");
	vq_error(&d, VQ_CONFIG, &beyond, "b");
	vq_error(&d, VQ_CONFIG, &no_line, "c");
	vq_error(&d, VQ_CONFIG, &many, "d");
	expect(&d,
	    "graphs/m.yaml:6:5: error: a\n"
	    "    6 | last\n"
	    "      |     ^\n\n"
	    "graphs/m.yaml:6:50: error: b\n"
	    "    6 | last\n"
	    "      |     ^\n\n"
	    "graphs/m.yaml:70:1: error: c\n\n"
	    "graphs/m.yaml:2:7: error: d\n"
	    "    2 |       - conv: {out: $width, kernel: 4, strides: 2, pad: 1}\n"
	    "      |       ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n");
}
END_TEST

/* Of a very long line, the part with the caret is shown, and the caret fits it. */
START_TEST(long_lines_are_cut)
{
	static char line[5000];
	struct vq_source src = { "long.yaml", line, sizeof(line) - 1 };
	struct vq_diags d = { 0 };
	char *s, *source_line, *caret;

	memset(line, 'a', sizeof(line) - 1);
	memcpy(line + 3000, "WRONG", 5);
	vq_error(&d, VQ_CONFIG, &(struct vq_range){ &src, 1, 3001, 1, 3006 }, "m");
	s = printed(&d, false);
	source_line = strchr(s, '\n') + 1;
	caret = strchr(source_line, '\n') + 1;
	ck_assert_uint_lt(strlen(s), 300);
	ck_assert_int_eq(strncmp(source_line + (strchr(caret, '^') - caret), "WRONG", 5), 0);
	ck_assert_str_eq(strchr(caret, '^'), "^~~~~\n");
	free(s);
	vq_diags_free(&d);
}
END_TEST

START_TEST(the_same_error_is_kept_once_and_twenty_in_all)
{
	struct vq_diags d = { 0 };
	struct vq_range place = at(1, 1, 2);
	char *s;

	vq_error(&d, VQ_DATA, &place, "same");
	vq_note(vq_error(&d, VQ_DATA, &place, "same"), NULL, "dropped");
	ck_assert_int_eq(d.total, 1);
	ck_assert_int_eq(d.diag[0]->lines, 0);
	for (int i = 0; i < 30; i++)
		vq_help(vq_error(&d, VQ_CONFIG, NULL, "error %d", i), "help %d", i);
	ck_assert_int_eq(d.count, VQ_DIAGS_MAX);
	ck_assert_int_eq(d.total, 31);
	ck_assert_int_eq(vq_diags_status(&d), VQ_DATA);
	s = printed(&d, false);
	ck_assert_ptr_nonnull(strstr(s, "error: error 18\nhelp: help 18\n"));
	ck_assert_ptr_null(strstr(s, "error 19"));
	ck_assert_str_eq(s + strlen(s) - 20, "\nand 11 more errors\n");
	free(s);
	vq_diags_free(&d);
	ck_assert_int_eq(vq_diags_status(&d), VQ_OK);
	vq_help(vq_error(NULL, VQ_CONFIG, NULL, "to nobody"), "nor this");
}
END_TEST

START_TEST(colour_when_asked)
{
	struct vq_diags d = { 0 };
	struct vq_range place = at(1, 1, 8);
	char *s;

	vq_help(vq_error(&d, VQ_CONFIG, &place, "m"), "h");
	s = printed(&d, true);
	ck_assert_str_eq(s,
	    "\033[1mgraphs/m.yaml:1:1: \033[0m\033[1;31merror: \033[0m\033[1mm\033[0m\n"
	    "    1 | vqgraph: 1\n"
	    "      | \033[1;32m^~~~~~~\033[0m\n"
	    "\033[1;36mhelp: \033[0mh\n");
	free(s);
	vq_diags_free(&d);
}
END_TEST

START_TEST(sources_may_go_before_their_errors)
{
	struct vq_source *src = vq_alloc(sizeof(*src));
	char *text = vq_strdup("a: 1\n"), *name = vq_strdup("gone.yaml");
	struct vq_diags d = { 0 };

	*src = (struct vq_source){ name, text, strlen(text) };
	vq_error(&d, VQ_CONFIG, &(struct vq_range){ src, 1, 1, 1, 2 }, "m");
	memset(text, 'x', src->len);
	free(text);
	free(name);
	free(src);
	expect(&d, "gone.yaml:1:1: error: m\n    1 | a: 1\n      | ^\n");
}
END_TEST

START_TEST(ranges_as_text)
{
	struct vq_range r = at(3, 4, 5);
	char buf[64], tiny[6];

	ck_assert_str_eq(vq_range_str(&r, buf, sizeof(buf)), "graphs/m.yaml:3:4");
	ck_assert_str_eq(vq_range_str(&r, tiny, sizeof(tiny)), "graph");
	r.line = 0;
	ck_assert_str_eq(vq_range_str(&r, buf, sizeof(buf)), "graphs/m.yaml");
	r.source = NULL;
	ck_assert_str_eq(vq_range_str(&r, buf, sizeof(buf)), "");
	ck_assert_str_eq(vq_range_str(NULL, buf, sizeof(buf)), "");
}
END_TEST

/* --- suggestions ---------------------------------------------------------- */

static const char *const names[] = {
	"conv", "convt", "linear", "layernorm", "residual", "stride", "kernel", "pad", "out", "matmul", "mse",
	"epochs", "straight_through", "recon_loss", NULL
};

static const char *
meant(const char *wrong)
{
	static const char *const dense[] = { "dense", "fc", NULL };
	struct vq_suggest s;

	vq_suggest_start(&s, wrong);
	for (int i = 0; names[i]; i++)
		vq_suggest_try(&s, names[i]);
	vq_suggest_also(&s, "linear", dense);
	return s.best ? s.best : "";
}

START_TEST(names_that_were_meant)
{
	static const struct { const char *wrong, *best; } rows[] = {
		{ "strides", "stride" }, { "matmull", "matmul" }, { "kernal", "kernel" }, { "ekrnel", "kernel" },
		{ "cnov", "conv" }, { "Conv", "conv" }, { "convv", "conv" }, { "layer_norm", "layernorm" },
		{ "straight-through", "straight_through" }, { "strait_through", "straight_through" },
		{ "dense", "linear" }, { "fc", "linear" }, { "epoch", "epochs" }, { "recno_loss", "recon_loss" },
		/* nothing rather than nonsense */
		{ "x", "" }, { "ot", "" }, { "zzzzzz", "" }, { "mxx", "" }, { "batchnorm", "" }, { "", "" },
		{ "convolution", "" },
	};

	for (size_t i = 0; i < VQ_COUNT(rows); i++)
		ck_assert_msg(strcmp(meant(rows[i].wrong), rows[i].best) == 0, "'%s' for '%s', not '%s'",
		    meant(rows[i].wrong), rows[i].wrong, rows[i].best);
}
END_TEST

START_TEST(long_names_cost_nothing)
{
	static char huge[1 << 20];
	struct vq_suggest s;

	memset(huge, 'a', sizeof(huge) - 1);
	vq_suggest_start(&s, huge);
	for (int i = 0; i < 1000; i++)
		vq_suggest_try(&s, "conv");
	ck_assert_ptr_null(s.best);
}
END_TEST

START_TEST(utf8_is_read_strictly)
{
	static const struct { const char *s; size_t n; uint32_t c; } rows[] = {
		{ "a", 1, 'a' }, { "\xc3\xb6", 2, 0xf6 }, { "\xe6\x97\xa5", 3, 0x65e5 }, { "\xf0\x9f\x98\x80", 4, 0x1f600 },
		{ "\xc0\x80", 0, 0 }, { "\xe0\x80\x80", 0, 0 }, { "\xed\xa0\x80", 0, 0 }, { "\xf4\x90\x80\x80", 0, 0 },
		{ "\xc3", 0, 0 }, { "\xe6\x97", 0, 0 }, { "\x80", 0, 0 }, { "\xff", 0, 0 }, { "\xf8\x88\x80\x80\x80", 0, 0 },
	};

	for (size_t i = 0; i < VQ_COUNT(rows); i++) {
		uint32_t c;
		size_t n = vq_utf8_next(rows[i].s, strlen(rows[i].s), &c);
		ck_assert_uint_eq(n, rows[i].n);
		if (n)
			ck_assert_uint_eq(c, rows[i].c);
	}
	ck_assert_int_eq(vq_utf8_columns("a\nb\xe6\x97\xa5"), 3);
}
END_TEST

/* What a thread reported keeps its places when the thread's own list is gone. */
START_TEST(errors_move_from_one_list_to_another)
{
	struct vq_diags a = { 0 }, b = { 0 };
	struct vq_range place = at(2, 40, 47);

	vq_error(&a, VQ_DATA, &place, "twice");
	vq_error(&b, VQ_DATA, &place, "twice");
	vq_note(vq_error(&b, VQ_DATA, &place, "once"), &place, "a note");
	vq_diags_move(&a, &b);
	ck_assert_int_eq(b.count, 0);
	ck_assert_int_eq(a.count, 2);
	ck_assert_int_eq(a.total, 2);
	ck_assert_str_eq(a.diag[1]->at.source->name, "graphs/m.yaml");
	vq_note(a.diag[1], &place, "another");
	for (int i = 0; i < 2 * VQ_DIAGS_MAX; i++)
		vq_error(&b, VQ_DATA, NULL, "number %d", i);
	vq_diags_move(&a, &b);
	ck_assert_int_eq(a.count, VQ_DIAGS_MAX);
	ck_assert_int_eq(a.total, 2 + 2 * VQ_DIAGS_MAX);
	vq_diags_free(&a);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("diag");
	TCase *c = tcase_create("diag");
	SRunner *runner;
	int failed;

	tcase_add_test(c, looks_like_the_manual_says);
	tcase_add_test(c, places_without_a_line);
	tcase_add_test(c, carets_over_tabs);
	tcase_add_test(c, carets_under_wide_and_combining_characters);
	tcase_add_test(c, nothing_unprintable_reaches_the_terminal);
	tcase_add_test(c, ranges_at_the_edges);
	tcase_add_test(c, long_lines_are_cut);
	tcase_add_test(c, the_same_error_is_kept_once_and_twenty_in_all);
	tcase_add_test(c, colour_when_asked);
	tcase_add_test(c, sources_may_go_before_their_errors);
	tcase_add_test(c, ranges_as_text);
	tcase_add_test(c, names_that_were_meant);
	tcase_add_test(c, long_names_cost_nothing);
	tcase_add_test(c, errors_move_from_one_list_to_another);
	tcase_add_test(c, utf8_is_read_strictly);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
