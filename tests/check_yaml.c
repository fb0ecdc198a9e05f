/*
 * check_yaml -- trees with places, and what is refused
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/expr.h"
#include "engine/yaml.h"

static struct vq_arena arena;
static struct vq_diags diags;

static void
teardown(void)
{
	vq_arena_free(&arena);
	vq_diags_free(&diags);
}

static struct vq_tree *
parse(const char *text)
{
	return vq_yaml_parse("t.yaml", text, strlen(text), &arena, &diags);
}

static void
at(const struct vq_tree *t, int line, int col, int end_col)
{
	ck_assert_int_eq(t->at.line, line);
	ck_assert_int_eq(t->at.col, col);
	ck_assert_int_eq(t->at.end_col, end_col);
}

/* Exactly one error, whose message holds the words. */
static void
refused(const char *text, const char *words)
{
	ck_assert_msg(parse(text) == NULL, "%s was accepted", text);
	ck_assert_int_ge(diags.count, 1);
	ck_assert_msg(strstr(diags.diag[0]->message, words) != NULL, "%s", diags.diag[0]->message);
	ck_assert_int_eq(diags.diag[0]->status, VQ_CONFIG);
	vq_diags_free(&diags);
}

START_TEST(test_tree)
{
	struct vq_tree *t = parse("a: 3\nb: [x, 'y', {k: v}]\nc:\n  - d\n  - e: f\n");

	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq(t->kind, VQ_TREE_MAP);
	ck_assert_int_eq(t->count, 3);
	at(vq_tree_get(t, "a"), 1, 4, 5);
	struct vq_tree *b = vq_tree_get(t, "b");
	ck_assert_int_eq(b->kind, VQ_TREE_LIST);
	ck_assert(b->flow);
	ck_assert_int_eq(b->count, 3);
	at(b->item[0].value, 2, 5, 6);
	ck_assert(!b->item[0].value->quoted);
	ck_assert(b->item[1].value->quoted);
	at(b->item[1].value, 2, 8, 11);
	at(b->item[2].value->item[0].key, 2, 14, 15);
	struct vq_tree *c = vq_tree_get(t, "c");
	ck_assert(!c->flow);
	at(c->item[1].value->item[0].value, 5, 8, 9);
	ck_assert_ptr_null(vq_tree_get(t, "d"));
	ck_assert_ptr_null(vq_tree_get(b, "d"));
}
END_TEST

START_TEST(test_characters)
{
	/* Columns count characters; a byte-order mark, CRLF and blank lines are fine. */
	struct vq_tree *t = parse("\xef\xbb\xbf" "a: [\xc3\xa9\xc3\xa9, b]\r\nc: d\r\n\r\n\r\n");

	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq(vq_tree_get(t, "a")->item[1].value->at.col, 9);
	ck_assert_str_eq(vq_tree_get(t, "c")->text, "d");
	refused("a: \xff\n", "not UTF-8");
	refused("a: \xc0\x80\n", "not UTF-8");
	refused("a: \xed\xa0\x80\n", "not UTF-8");
	ck_assert_ptr_null(vq_yaml_parse("t", "a: \0b", 5, &arena, &diags));
	vq_diags_free(&diags);
	refused("a: \"x\\0y\"\n", "zero byte");
}
END_TEST

START_TEST(test_refused)
{
	refused("a: 1\nb: 2\na: 3\n", "twice");
	refused("a: &x 1\n", "anchors");
	refused("a: *x\n", "aliases");
	refused("a: !!str 1\n", "tags");
	refused("<<: {a: 1}\n", "merge");
	refused("a: 1\n---\nb: 2\n", "second document");
	refused("", "nothing");
	refused("# comment\n", "nothing");
	refused("? {a: b}\n: 1\n", "key");
	refused("? [a]\n: 1\n", "key");
	refused("a: [1, 2\n", "not valid YAML");
	refused("a:\n\t- b\n", "not valid YAML");
}
END_TEST

START_TEST(test_limits)
{
	struct vq_text t = { 0 };

	for (int i = 0; i < 100000; i++)
		vq_text_add(&t, "[");
	refused(t.s, "deeply");
	t.len = 0;
	for (int i = 0; i < VQ_YAML_DEPTH - 1; i++)
		vq_text_add(&t, "[");
	for (int i = 0; i < VQ_YAML_DEPTH - 1; i++)
		vq_text_add(&t, "]");
	ck_assert_ptr_nonnull(parse(t.s));
	vq_text_free(&t);
	char *big = vq_alloc(VQ_YAML_BYTES + 2);
	memset(big, ' ', VQ_YAML_BYTES + 1);
	ck_assert_ptr_null(vq_yaml_parse("big", big, VQ_YAML_BYTES + 1, &arena, &diags));
	ck_assert_ptr_nonnull(strstr(diags.diag[0]->message, "more than"));
	free(big);
}
END_TEST

/* 100000 keys, the last of them there already: not a matter of minutes. */
START_TEST(test_many_keys)
{
	struct vq_text t = { 0 };

	for (int i = 0; i < 100000; i++)
		vq_text_add(&t, "k%d: 1\n", i);
	ck_assert_ptr_nonnull(parse(t.s));
	vq_text_add(&t, "k5: 1\n");
	refused(t.s, "twice");
	vq_text_free(&t);
}
END_TEST

START_TEST(test_value)
{
	struct vq_tree *t = vq_yaml_value("command line", "stages.\xc3\xa9=[1, x]", 10, &arena, &diags);

	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq(t->count, 2);
	at(t->item[1].value, 1, 14, 15);
	ck_assert_str_eq(t->at.source->text, "stages.\xc3\xa9=[1, x]");
	ck_assert_ptr_null(vq_yaml_read("/nonexistent/file.yaml", &arena, &diags));
	ck_assert_ptr_null(vq_yaml_read("/", &arena, &diags));
}
END_TEST

/* Diagnostics outlive what they speak of. */
START_TEST(test_kept)
{
	struct vq_arena own = { 0 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	vq_yaml_parse("gone.yaml", "a: &x 1\n", 8, &own, &diags);
	vq_arena_free(&own);
	vq_diags_print(&diags, f, false);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "gone.yaml:1:4"));
	ck_assert_ptr_nonnull(strstr(text, "a: &x 1"));
	free(text);
}
END_TEST

/* --- expressions ---------------------------------------------------------- */

static int
lookup(void *arg, const char *name, const struct vq_range *where, struct vq_number *out)
{
	*out = (struct vq_number){ 0 };
	if (strcmp(name, "width") == 0)
		*out = (struct vq_number){ .kind = VQ_NUM_INT, .i = 128 };
	else if (strcmp(name, "a.rate") == 0)
		*out = (struct vq_number){ .kind = VQ_NUM_REAL, .r = 0.5 };
	else if (strcmp(name, "word") == 0)
		*out = (struct vq_number){ .kind = VQ_NUM_WORD, .text = "relu" };
	else if (strcmp(name, "poison") != 0)
		return vq_error(&diags, VQ_CONFIG, where, "unknown %s", name), -1;
	return 0;
}

static const struct {
	const char *text, *value;	/* NULL: an error */
} cases[] = {
	{ "1 + 2 * 3", "7" }, { "(1 + 2) * 3", "9" }, { "width / 2", "64" }, { "7 / 2", "3.5" },
	{ "-7 // 2", "-4" }, { "7 // -2", "-4" }, { "-7 % 3", "2" }, { "7 % -3", "-2" }, { "-6 % 3", "0" },
	{ "2 ** 10", "1024" }, { "2 ** -1", "0.5" }, { "-2 ** 2", "-4" }, { "2 ** 3 ** 2", "512" }, { "0 ** 0", "1" },
	{ "1e-4", "0.0001" }, { "1.", "1.0" }, { ".5 + .5", "1.0" }, { "6 / 3", "2" }, { "6 / 4.0", "1.5" },
	{ "1 < 2", "true" }, { "2 <= 1", "false" }, { "width == 128", "true" }, { "1 != 1.0", "false" },
	{ "1 < 2 and 2 < 1", "false" }, { "1 < 2 or 1 / 0", "true" }, { "0 and 1 / 0", "false" }, { "not 0", "true" },
	{ "not width > 3", "false" }, { "sqrt(16)", "4.0" }, { "floor(3.7)", "3" }, { "ceil(3.2)", "4" },
	{ "round(2.5)", "3" }, { "abs(-3)", "3" }, { "abs(-3.5)", "3.5" }, { "log(exp(1))", "1.0" },
	{ "a.rate * 2", "1.0" }, { "9223372036854775807", "9223372036854775807" }, { "true", "true" },
	{ "word == 'relu'", "true" }, { "word != 'relu'", "false" }, { "'relu' != word", "false" }, { "word == 'gelu' or width > 3", "true" },
	{ "word == 'nn.relu'", "true" }, { "word == 'relux'", "false" }, { "poison == 'relu'", "?" }, { "word == poison", "?" },
	{ "(word == 'relu') == (width == 128)", "true" }, { "'relu'", NULL }, { "word < 'relu'", NULL }, { "width == 'relu'", NULL },
	{ "not 'relu'", NULL }, { "word == 'relu", NULL }, { "'a' + 1", NULL }, { "''", NULL }, { "word == ''", "false" },
	{ "poison + 1", "?" }, { "--3", "3" }, { "3 - -3", "6" }, { "(-9223372036854775807 - 1) % -1", "0" },
	{ "9223372036854775807 + 1", NULL }, { "2 ** 63", NULL }, { "-9223372036854775807 - 2", NULL },
	{ "(-9223372036854775807 - 1) // -1", NULL }, { "(-9223372036854775807 - 1) / -1", NULL },
	{ "abs(-9223372036854775807 - 1)", NULL }, { "4611686018427387904 * 2", NULL },
	{ "1 / 0", NULL }, { "1 % 0", NULL }, { "1.0 // 0.0", NULL }, { "sqrt(-1)", NULL }, { "floor(1e300)", NULL },
	{ "", NULL }, { "1 +", NULL }, { "(1", NULL }, { "1)", NULL }, { "1 2", NULL }, { "$width", NULL },
	{ "nothing", NULL }, { "word + 1", NULL }, { "sin(1)", NULL }, { "sqrt(1, 2)", NULL }, { "1 < 2 < 3", NULL },
	{ "1e999", NULL }, { "99999999999999999999", NULL }, { "and", NULL },
};

START_TEST(test_expr)
{
	struct vq_range where = { 0 };
	struct vq_text t = { 0 };
	struct vq_number n;
	int error = vq_expr_eval(cases[_i].text, &where, 0, lookup, NULL, &diags, &n);

	ck_assert_int_eq(error, cases[_i].value ? 0 : -1);
	ck_assert_int_eq(diags.count, cases[_i].value ? 0 : 1);
	if (cases[_i].value) {
		vq_number_print(&n, &t);
		ck_assert_str_eq(t.s, cases[_i].value);
	}
	vq_text_free(&t);
}
END_TEST

START_TEST(test_expr_depth)
{
	struct vq_range where = { 0 };
	struct vq_text t = { 0 };
	struct vq_number n;
	static const char *const unit[] = { "(", "-", "not ", "sqrt(", "1 ** " };

	for (size_t k = 0; k < VQ_COUNT(unit); k++) {
		t.len = 0;
		for (int i = 0; i < 20000; i++)
			vq_text_add(&t, "%s", unit[k]);
		vq_text_add(&t, "1");
		ck_assert_int_eq(vq_expr_eval(t.s, &where, 0, lookup, NULL, &diags, &n), -1);
		ck_assert_ptr_nonnull(strstr(diags.diag[0]->message, "deeply"));
		vq_diags_free(&diags);
	}
	vq_text_free(&t);
}
END_TEST

START_TEST(test_inexact)
{
	struct vq_range where = { 0 };
	struct vq_number n;

	ck_assert_int_eq(vq_expr_eval("width / 3", &where, 0, lookup, NULL, &diags, &n), 0);
	ck_assert(n.inexact);
	ck_assert_int_eq(n.over, 128);
	ck_assert_int_eq(n.under, 3);
	ck_assert_int_eq(vq_expr_eval("width / 3 + 1", &where, 0, lookup, NULL, &diags, &n), 0);
	ck_assert(!n.inexact);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("yaml");
	TCase *t = tcase_create("yaml");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_tree);
	tcase_add_test(t, test_characters);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_limits);
	tcase_add_test(t, test_many_keys);
	tcase_add_test(t, test_value);
	tcase_add_test(t, test_kept);
	tcase_add_loop_test(t, test_expr, 0, (int)VQ_COUNT(cases));
	tcase_add_test(t, test_expr_depth);
	tcase_add_test(t, test_inexact);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
