/*
 * check_model -- the language: every message, every expansion, every example
 *
 *   errors/   models with what is printed about them in .expected
 *   golden/   models with their graphs as text in .text
 *   graphs/   load, expand and survive being flattened
 *   graphs/README.md every block of yaml is a model; a block `error` after one is
 *                    what is printed about it
 *
 * VQ_REWRITE=1 tests/check_model writes .expected and .text anew; the diff is
 * what is reviewed.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model.h"
#include "engine/suggest.h"

enum { MAX_SET = 8, MAX_SIZES = 8, SIZE = 4 };

/* --- files ---------------------------------------------------------------- */

static char *
read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct vq_text t = { 0 };
	char part[4096];
	size_t n;

	if (f == NULL)
		return NULL;
	vq_text_add(&t, "%s", "");
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		vq_text_put(&t, part, n);
	fclose(f);
	return t.s;
}

/* Compares with a file, or writes it when asked to. */
static void
same_as_file(const char *path, const char *text)
{
	char *want;

	if (getenv("VQ_REWRITE")) {
		FILE *f = fopen(path, "wb");
		ck_assert_ptr_nonnull(f);
		fputs(text, f);
		fclose(f);
		return;
	}
	want = read_file(path);
	ck_assert_msg(want != NULL, "%s is missing (VQ_REWRITE=1 writes it)", path);
	ck_assert_msg(strcmp(want, text) == 0, "%s differs; now it would be:\n%s", path, text);
	free(want);
}

/* Texts of this machine's folders out of messages. */
static char *
without_folders(char *text)
{
	static const char *const folder[] = { VQ_SRCDIR, VQ_DATADIR };
	static const char *const name[] = { "SOURCE", "INSTALLED" };

	for (int i = 0; i < 2; i++) {
		struct vq_text t = { 0 };
		const char *from = text, *at;
		vq_text_add(&t, "%s", "");
		for (; (at = strstr(from, folder[i])) != NULL; from = at + strlen(folder[i]))
			vq_text_add(&t, "%.*s%s", (int)(at - from), from, name[i]);
		vq_text_add(&t, "%s", from);
		free(text);
		text = t.s;
	}
	return text;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The .yaml files of a folder, sorted; NULL-terminated. */
static char **
list_models(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char **list = NULL;
	int n = 0, cap = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".yaml") != 0)
			continue;
		vq_grow(list, n, cap);
		list[n++] = vq_strdup(e->d_name);
	}
	closedir(d);
	ck_assert_int_gt(n, 0);
	qsort(list, (size_t)n, sizeof(*list), by_name);
	vq_grow(list, n, cap);
	list[n] = NULL;
	return list;
}

static void
free_list(char **list)
{
	for (int i = 0; list[i]; i++)
		free(list[i]);
	free(list);
}

static void
enter(const char *folder)
{
	ck_assert_int_eq(chdir(VQ_SRCDIR), 0);
	ck_assert_int_eq(chdir(folder), 0);
	setenv("VQGRAPH_GRAPHS", "../../graphs", 1);
}

/* --- models --------------------------------------------------------------- */

static struct vq_graph *
expand(const struct vq_model *m, const char *graph, bool train, struct vq_diags *d)
{
	const char *name[MAX_SIZES];
	struct vq_size size[MAX_SIZES];
	int n = vq_model_free_sizes(m, graph, name, MAX_SIZES);

	ck_assert_int_le(n, MAX_SIZES);
	for (int i = 0; i < n; i++)
		size[i] = (struct vq_size){ name[i], SIZE };
	return vq_model_expand(m, graph, train, size, n, d);
}

/* All graphs, in both modes, as text. */
static void
expand_all(const struct vq_model *m, struct vq_text *out, struct vq_diags *d)
{
	for (int i = 0; i < vq_model_graphs(m); i++)
		for (int train = 0; train < 2; train++) {
			struct vq_graph *g = expand(m, vq_model_graph_name(m, i), train, d);
			if (g == NULL)
				continue;
			vq_graph_verify(g, "expand");
			vq_text_add(out, "--- %s\n", train ? "train" : "evaluate");
			vq_graph_text(g, out);
			vq_graph_free(g);
		}
}

static char *
printed(const struct vq_diags *d)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	vq_diags_print(d, f, false);
	fclose(f);
	return without_folders(text);
}

/* "# set: path=value" lines at the top of a file. */
static int
read_sets(char *text, struct vq_override set[MAX_SET])
{
	int n = 0;

	for (char *line = strtok(text, "\n"); line && strncmp(line, "# set: ", 7) == 0 && n < MAX_SET; line = strtok(NULL, "\n"))
		set[n++].text = line + 7;
	return n;
}

START_TEST(test_errors)
{
	char **list;

	enter("tests/errors");
	list = list_models(".");
	for (int i = 0; list[i]; i++) {
		struct vq_override set[MAX_SET];
		struct vq_diags d = { 0 };
		struct vq_text ignored = { 0 };
		char *head = read_file(list[i]), path[300], *text;
		int n = read_sets(head, set);
		struct vq_model *m = vq_model_load(list[i], set, n, &d);
		if (m)
			expand_all(m, &ignored, &d);
		ck_assert_msg(d.count > 0, "%s has no error", list[i]);
		vq_model_free(m);
		snprintf(path, sizeof(path), "%.*s.expected", (int)strlen(list[i]) - 5, list[i]);
		text = printed(&d);
		same_as_file(path, text);
		free(text);
		free(head);
		vq_text_free(&ignored);
		vq_diags_free(&d);
	}
	free_list(list);
}
END_TEST

/* The flattened model gives the same graphs, and flattening it changes nothing. */
static void
check_flattened(const struct vq_model *m, const char *name, const char *graphs)
{
	struct vq_text first = { 0 }, second = { 0 }, again = { 0 };
	struct vq_diags d = { 0 };
	struct vq_model *flat;

	vq_model_print(m, &first);
	flat = vq_model_parse("flattened.yaml", first.s, first.len, NULL, 0, &d);
	if (flat == NULL)
		vq_diags_print(&d, stdout, false);
	ck_assert_msg(flat != NULL, "%s, flattened, is refused:\n%s", name, first.s);
	vq_model_print(flat, &second);
	ck_assert_msg(strcmp(first.s, second.s) == 0, "%s, flattened twice, differs:\n%s\n%s", name, first.s, second.s);
	ck_assert_msg(strstr(first.s, "use:") == NULL, "%s, flattened, uses files", name);
	expand_all(flat, &again, &d);
	for (int i = 0; i < vq_model_graphs(m); i++)
		ck_assert_str_eq(vq_model_graph_name(m, i), vq_model_graph_name(flat, i));
	/* Graphs of used files follow those of the file itself. */
	ck_assert_msg(again.s == NULL || strncmp(graphs, again.s, strlen(graphs)) == 0, "%s, flattened, gives other graphs:\n%s",
	    name, again.s);
	vq_text_free(&first);
	vq_text_free(&second);
	vq_text_free(&again);
	vq_model_free(flat);
	vq_diags_free(&d);
}

static void
check_model(const char *name, const char *golden)
{
	struct vq_diags d = { 0 };
	struct vq_text t = { 0 };
	struct vq_model *m = vq_model_load(name, NULL, 0, &d);

	if (m)
		expand_all(m, &t, &d);
	if (d.count > 0)
		vq_diags_print(&d, stdout, false);
	ck_assert_msg(m != NULL && d.count == 0, "%s is refused", name);
	if (golden)
		same_as_file(golden, t.s);
	check_flattened(m, name, t.s ? t.s : "");
	vq_text_free(&t);
	vq_model_free(m);
	vq_diags_free(&d);
}

START_TEST(test_golden)
{
	char **list, path[300];

	enter("tests/golden");
	list = list_models(".");
	for (int i = 0; list[i]; i++) {
		snprintf(path, sizeof(path), "%.*s.text", (int)strlen(list[i]) - 5, list[i]);
		check_model(list[i], path);
	}
	free_list(list);
}
END_TEST

START_TEST(test_graphs)
{
	static const char *const folder[] = { "graphs", "graphs/lib" };

	for (int f = 0; f < 2; f++) {
		enter(folder[f]);
		char **list = list_models(".");
		for (int i = 0; list[i]; i++)
			check_model(list[i], NULL);
		free_list(list);
	}
}
END_TEST

/* --- graphs/README.md ----------------------------------------------------- */

/* The next fenced block from `at` on: its language and text; NULL at the end. */
static const char *
next_fence(const char *at, char lang[16], char **text)
{
	const char *start = strstr(at, "\n```"), *end;

	if (start == NULL)
		return NULL;
	start += 4;
	snprintf(lang, 16, "%.*s", (int)strcspn(start, "\n"), start);
	start += strcspn(start, "\n") + 1;
	end = strstr(start - 1, "\n```");
	ck_assert_ptr_nonnull(end);
	*text = vq_strndup(start, (size_t)(end + 1 - start));
	return end + 4;
}

static int
check_example(const char *text, const char *error)
{
	struct vq_diags d = { 0 };
	struct vq_text t = { 0 };
	bool whole = strncmp(text, "vqgraph:", 8) == 0;
	char *all = vq_asprintf("%s%s", whole ? "" : "vqgraph: 1\nuse: [lib/nn]\n", text), *said;
	/* Lines of a fragment count from its first. */
	struct vq_model *m = vq_model_parse("example.yaml", all, strlen(all), NULL, 0, &d);

	if (m)
		expand_all(m, &t, &d);
	said = printed(&d);
	if (error)
		ck_assert_msg(strcmp(said, error) == 0, "graphs/README.md: said is\n%s", said);
	else
		ck_assert_msg(d.count == 0, "graphs/README.md:\n%s\n%s", all, said);
	if (m && d.count == 0)
		check_flattened(m, "an example", t.s ? t.s : "");
	free(said);
	free(all);
	vq_text_free(&t);
	vq_model_free(m);
	vq_diags_free(&d);
	return 1;
}

START_TEST(test_readme)
{
	char *readme, *text = NULL, *model = NULL, lang[16];
	const char *at;
	int examples = 0;

	enter("graphs");
	readme = read_file("README.md");
	ck_assert_ptr_nonnull(readme);
	for (at = readme; (at = next_fence(at, lang, &text)) != NULL; free(text)) {
		if (model && strcmp(lang, "error") == 0) {
			examples += check_example(model, text);
			free(model);
			model = NULL;
			continue;
		}
		if (model)
			examples += check_example(model, NULL);
		free(model);
		model = strcmp(lang, "yaml") == 0 ? vq_strdup(text) : NULL;
	}
	if (model)
		examples += check_example(model, NULL);
	free(model);
	ck_assert_int_gt(examples, 10);
	free(readme);
}
END_TEST

/* Every op and block that the language offers is spoken of. */
START_TEST(test_readme_complete)
{
	static const char *const words[] = { "vqgraph", "use", "let", "blocks", "modules", "graphs", "stages", "doc",
	    "also", "args", "in", "params", "state", "require", "steps", "out", "as", "repeat", "if", "frozen", "assign", "gradient", "$train", "shape",
	    "init", "dtype", "zeros", "ones", "constant", "uniform", "normal", "copy", "int", "real", "bool", "ints",
	    "op", "word", "min", "max", "default", "any", "sqrt", "log", "exp", "floor", "ceil", "round", "abs" };
	char *readme;

	enter("graphs");
	readme = read_file("README.md");
	for (size_t i = 0; i < VQ_COUNT(words); i++) {
		char *quoted = vq_asprintf("`%s`", words[i]);
		ck_assert_msg(strstr(readme, quoted) != NULL, "graphs/README.md does not speak of %s", quoted);
		free(quoted);
	}
	free(readme);
}
END_TEST

/* --- the interface -------------------------------------------------------- */

static struct vq_model *
parse(const char *text, const struct vq_override *set, int nset, struct vq_diags *d)
{
	struct vq_model *m = vq_model_parse("t.yaml", text, strlen(text), set, nset, d);

	if (m == NULL)
		vq_diags_print(d, stdout, false);
	return m;
}

static const char staged[] =
    "vqgraph: 1\n"
    "let: {codes: 4, half: $(codes / 2), rate: 1e-3}\n"
    "graphs:\n"
    "  g:\n"
    "    in:\n"
    "      x: f32[batch, 3, size]\n"
    "      y: i32[batch]\n"
    "    steps:\n"
    "      - {mul: {b: $half}, as: z}\n"
    "    out: [z]\n"
    "stages:\n"
    "  first: {do: train, lr: $rate, n: $half, list: [1, $codes], name: adam}\n"
    "  second: {do: evaluate, updates: [{a: 1}]}\n";

START_TEST(test_overrides)
{
	struct vq_override set[] = { { "codes=10" }, { "stages.first.name=sgd" }, { "stages.second.updates.0.a=$codes" },
	    { "stages.first.more=7" } };
	struct vq_diags d = { 0 };
	struct vq_model *m = parse(staged, set, 4, &d);
	const struct vq_tree *second;
	double x;

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(vq_model_number(m, vq_tree_get(vq_model_stage(m, 0), "n"), &x, &d), 0);
	ck_assert_double_eq(x, 5);
	ck_assert_str_eq(vq_model_text(m, vq_tree_get(vq_model_stage(m, 0), "name"), &d), "sgd");
	ck_assert_str_eq(vq_model_text(m, vq_tree_get(vq_model_stage(m, 0), "more"), &d), "7");
	second = vq_tree_get(vq_model_stage(m, 1), "updates");
	ck_assert_str_eq(vq_model_text(m, vq_tree_get(second->item[0].value, "a"), &d), "10");
	ck_assert_int_eq(d.count, 0);
	vq_model_free(m);
	vq_diags_free(&d);
}
END_TEST

struct stage {
	double lr;
	int64_t n;
	struct vq_ints list;
	const char *name;
	bool flag;
};

START_TEST(test_stage)
{
	static const struct vq_param table[] = {
		VQ_REAL(struct stage, lr, NULL, 0, 1, "rate"),
		VQ_INT(struct stage, n, "3", 1, 100, "number"),
		VQ_INTS(struct stage, list, "0", 0, 100, 1, 4, "list"),
		VQ_STRING(struct stage, name, "none", "name"),
		VQ_BOOLEAN(struct stage, flag, "true", "flag"),
		VQ_PARAMS_END
	};
	struct vq_diags d = { 0 };
	struct vq_model *m = parse(staged, NULL, 0, &d);
	struct stage s = { 0 };

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(vq_model_stages(m), 2);
	ck_assert_str_eq(vq_model_stage_name(m, 1), "second");
	ck_assert_int_eq(vq_model_read_params(m, vq_model_stage(m, 0), "first", table, &s,
	    (const char *const[]){ "do", NULL }, &d), 0);
	ck_assert_double_eq(s.lr, 1e-3);
	ck_assert_int_eq(s.n, 2);
	ck_assert_int_eq(s.list.count, 2);
	ck_assert_int_eq(s.list.v[1], 4);
	ck_assert_str_eq(s.name, "adam");
	ck_assert(s.flag);
	ck_assert_int_eq(vq_model_read_params(m, vq_model_stage(m, 1), "second", table, &s, NULL, &d), -1);
	ck_assert_int_eq(d.count, 3);		/* do, updates, and lr is missing */
	vq_model_free(m);
	vq_diags_free(&d);
}
END_TEST

START_TEST(test_sizes)
{
	struct vq_diags d = { 0 };
	struct vq_model *m = parse(staged, NULL, 0, &d);
	const char *name[4], *axis[VQ_MAX_RANK];
	struct vq_size size[] = { { "batch", 2 }, { "size", 5 } };
	struct vq_graph *g;
	char text[VQ_TYPE_STR];
	int rank;

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(vq_model_free_sizes(m, "g", name, 4), 2);
	ck_assert_str_eq(name[0], "batch");
	ck_assert_str_eq(name[1], "size");
	ck_assert_str_eq(vq_model_input(m, "g", 0, &rank, axis), "x");
	ck_assert_int_eq(rank, 3);
	ck_assert_str_eq(axis[0], "batch");
	ck_assert_ptr_null(axis[1]);
	ck_assert_ptr_null(vq_model_input(m, "g", 2, &rank, axis));
	g = vq_model_expand(m, "g", false, size, 2, &d);
	ck_assert_ptr_nonnull(g);
	ck_assert_str_eq(vq_type_str(vq_type_at(g, vq_graph_find(g, "x")), text), "f32[2, 3, 5]");
	vq_graph_free(g);
	ck_assert_ptr_null(vq_model_expand(m, "g", false, size, 1, &d));
	ck_assert_ptr_null(vq_model_expand(m, "h", false, size, 2, &d));
	size[1].value = INT64_MAX / 2;
	ck_assert_ptr_null(vq_model_expand(m, "g", false, size, 2, &d));
	ck_assert_int_eq(d.count, 3);
	vq_model_free(m);
	vq_diags_free(&d);
}
END_TEST

/* The same mistake twice is one error, and no graph either time. */
START_TEST(test_twice)
{
	static const char text[] = "vqgraph: 1\ngraphs:\n  g:\n    in:\n      x: f32[2, 3]\n"
	    "    steps:\n      - {matmul: {b: x}, as: y}\n    out: [y]\n";
	struct vq_diags d = { 0 };
	struct vq_model *m = parse(text, NULL, 0, &d);

	ck_assert_ptr_null(vq_model_expand(m, "g", false, NULL, 0, &d));
	ck_assert_ptr_null(vq_model_expand(m, "g", true, NULL, 0, &d));
	ck_assert_int_eq(d.count, 1);
	vq_model_free(m);
	vq_diags_free(&d);
}
END_TEST

/* Blocks that double 40 times end in an error, not in exhaustion. */
START_TEST(test_explosion)
{
	struct vq_text t = { 0 };
	struct vq_diags d = { 0 };
	struct vq_model *m;

	vq_text_add(&t, "vqgraph: 1\nblocks:\n  b0:\n    in: {x: any}\n    steps: [relu]\n");
	for (int i = 1; i <= 40; i++)
		vq_text_add(&t, "  b%d:\n    in: {x: any}\n    steps: [b%d, b%d]\n", i, i - 1, i - 1);
	vq_text_add(&t, "graphs:\n  g:\n    in:\n      x: f32[2]\n    steps: [{b40: {}, as: y}]\n    out: [y]\n");
	m = parse(t.s, NULL, 0, &d);
	ck_assert_ptr_nonnull(m);
	ck_assert_ptr_null(vq_model_expand(m, "g", false, NULL, 0, &d));
	ck_assert_ptr_nonnull(strstr(d.diag[0]->message, "expands to more than"));
	vq_model_free(m);
	vq_text_free(&t);
	vq_diags_free(&d);
}
END_TEST

/* A file cut off, or with a byte changed, anywhere: refused or read, nothing else. */
START_TEST(test_mangled)
{
	char *text;

	enter("tests/golden");
	text = read_file("blocks.yaml");
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		static const char swap[] = "{}[]:,$-# \n\"'0a.";
		struct vq_diags d = { 0 };
		struct vq_text t = { 0 };
		char was = text[i];
		struct vq_model *m = vq_model_parse("cut.yaml", text, i, NULL, 0, &d);
		vq_model_free(m);
		text[i] = swap[i % (sizeof(swap) - 1)];
		m = vq_model_parse("swapped.yaml", text, len, NULL, 0, &d);
		if (m)
			expand_all(m, &t, &d);
		vq_model_free(m);
		text[i] = was;
		vq_text_free(&t);
		vq_diags_free(&d);
	}
	free(text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("model");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_errors);
	tcase_add_test(t, test_golden);
	tcase_add_test(t, test_graphs);
	tcase_add_test(t, test_readme);
	tcase_add_test(t, test_readme_complete);
	tcase_add_test(t, test_overrides);
	tcase_add_test(t, test_stage);
	tcase_add_test(t, test_sizes);
	tcase_add_test(t, test_twice);
	tcase_add_test(t, test_explosion);
	tcase_add_test(t, test_mangled);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
