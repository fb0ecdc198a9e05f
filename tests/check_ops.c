/*
 * check_ops -- every op against what it declares, driven by its examples
 *
 * For each example: infer's message, or run against ref on each instruction set
 * and with 1, 2 and 3 threads (the same bits), in place, with an epilogue and with operands
 * and results that are bf16 in memory where the op allows it.  check_gradients does the derivatives.
 */
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/kernels/kernels.h"
#include "ops/oplist.h"
#include "tests/interp.h"
#include "tests/samples.h"

/* --- run against ref ----------------------------------------------------- */

struct arrays {
	struct vq_view in[VQ_MAX_IN], out[VQ_MAX_OUT];
	struct vq_type in_type[VQ_MAX_IN], out_type[VQ_MAX_OUT];
};

/* wide: f64 in place of every f32. */
static struct arrays *
arrays_new(const struct sample *s, bool wide)
{
	struct arrays *a = vq_alloc(sizeof(*a));

	for (int i = 0; i < s->nin; i++) {
		a->in_type[i] = s->in[i];
		if (wide && s->in[i].dtype == VQ_F32)
			a->in_type[i].dtype = VQ_F64;
		a->in[i] = (struct vq_view){ sample_room(&a->in_type[i]), &a->in_type[i] };
		if (wide && s->in[i].dtype == VQ_F32)
			sample_fill(s, i, &a->in[i]);
		else
			memcpy(a->in[i].data, s->data[i], vq_type_bytes(&s->in[i]));
	}
	for (int i = 0; i < s->nout; i++) {
		a->out_type[i] = s->out[i];
		if (wide && s->out[i].dtype == VQ_F32)
			a->out_type[i].dtype = VQ_F64;
		a->out[i] = (struct vq_view){ sample_room(&a->out_type[i]), &a->out_type[i] };
	}
	return a;
}

static void
arrays_free(const struct sample *s, struct arrays *a)
{
	for (int i = 0; i < s->nin; i++)
		free(a->in[i].data);
	for (int i = 0; i < s->nout; i++)
		free(a->out[i].data);
	free(a);
}

static void
call_run(const struct sample *s, struct arrays *a, const struct vq_kernels *k, int threads,
    const struct vq_ewise *epilogue, const struct vq_view *in, int nin)
{
	struct vq_cost cost = { .params = s->params, .nin = s->nin, .nout = s->nout, .in = a->in_type, .out = a->out_type,
	    .epilogue = epilogue, .threads = threads };
	struct vq_call c = { .params = s->params, .nin = nin, .nout = s->nout, .in = in, .out = a->out,
	    .epilogue = epilogue, .k = k, .threads = threads, .key = { .seed = 1 } };
	struct vq_type scratch = { VQ_U8, { 1, { s->op->scratch ? (int64_t)s->op->scratch(&cost) : 0 } } };

	c.scratch = sample_room(&scratch);
	(s->op->run ? s->op->run : s->op->ref)(&c);
	free(c.scratch);
}

/* Equal up to the tolerance relative to the largest; indices may differ in one of a
 * thousand, where two candidates are as good as equal. */
static void
compare(const struct sample *s, const char *what, const struct vq_view *got, const struct vq_view *want)
{
	double tolerance = (s->ex->tolerance > 0 ? s->ex->tolerance : 1e-5) * view_largest(want) + 1e-30;
	int64_t n = vq_shape_count(&got->type->shape), wrong = 0, first = -1;

	for (int64_t i = 0; i < n; i++) {
		double a = vq_get(got, i), b = vq_get(want, i);
		bool same = vq_is_float(got->type->dtype) ? fabs(a - b) <= tolerance : a == b;
		if (same || a == b || (isnan(a) && isnan(b)))
			continue;
		wrong++;
		first = first < 0 ? i : first;
	}
	if (!vq_is_float(got->type->dtype) && wrong <= n / 1000)
		return;
	ck_assert_msg(wrong == 0, "%s %s (%s), %s: %lld of %lld wrong, element %lld is %.9g and not %.9g",
	    s->op->name, s->ex->in, s->ex->params ? s->ex->params : "", what, (long long)wrong, (long long)n,
	    (long long)first, vq_get(got, first), vq_get(want, first));
}

static void
same_bits(const struct sample *s, const char *what, const struct arrays *a, const struct arrays *b)
{
	for (int i = 0; i < s->nout; i++)
		ck_assert_msg(memcmp(a->out[i].data, b->out[i].data, vq_type_bytes(&s->out[i])) == 0,
		    "%s %s (%s): output %d differs %s", s->op->name, s->ex->in,
		    s->ex->params ? s->ex->params : "", i, what);
}

/* Every output that may take the memory of an input is computed there. */
static void
check_inplace(const struct sample *s, const struct arrays *want)
{
	for (const char *at = s->op->inplace; at && *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		int o = 0, i = 0;
		ck_assert_int_eq(sscanf(at, "%d:%d", &o, &i), 2);
		if (o >= s->nout || i >= s->nin || s->in[i].dtype != s->out[o].dtype ||
		    vq_shape_count(&s->in[i].shape) != vq_shape_count(&s->out[o].shape))
			continue;
		struct arrays *a = arrays_new(s, false);
		void *own = a->out[o].data;
		a->out[o].data = a->in[i].data;
		call_run(s, a, want ? vq_kernels() : NULL, 2, NULL, a->in, s->nin);
		same_bits(s, "in place", a, want);
		a->out[o].data = own;
		arrays_free(s, a);
	}
}

/* relu(y + bias) + y2 while it is written, and after. */
static void
check_epilogue(const struct sample *s, const struct arrays *plain)
{
	const struct vq_shape *y = &s->out[0].shape;
	struct vq_type row = { VQ_F32, { 1, { y->rank ? y->dim[y->rank - 1] : 1 } } };
	struct vq_ewise p = { .nin = 3, .ninstr = 3, .mode = { VQ_EWISE_FULL, VQ_EWISE_ROW, VQ_EWISE_FULL },
	    .instr = { { .op = VQ_EW_ADD, .a = 0, .b = 1 }, { .op = VQ_EW_RELU, .a = 3 },
	    { .op = VQ_EW_ADD, .a = 4, .b = 2 } } };
	struct arrays *a = arrays_new(s, false), *b = arrays_new(s, false);
	struct vq_view in[VQ_MAX_IN];
	struct sample extra = *s;

	memcpy(in, a->in, sizeof(in));
	in[s->nin] = (struct vq_view){ sample_room(&row), &row };
	in[s->nin + 1] = (struct vq_view){ sample_room(&s->out[0]), &s->out[0] };
	extra.lo[0] = -1;
	extra.hi[0] = 1;
	sample_fill(&extra, 0, &in[s->nin]);
	sample_fill(&extra, 0, &in[s->nin + 1]);
	call_run(s, a, vq_kernels(), 2, &p, in, s->nin + 2);
	vq_ewise_reference(&p, (struct vq_view[]){ plain->out[0], in[s->nin], in[s->nin + 1] }, &b->out[0]);
	compare(s, "with an epilogue", &a->out[0], &b->out[0]);
	free(in[s->nin].data);
	free(in[s->nin + 1].data);
	arrays_free(s, a);
	arrays_free(s, b);
}

static void
check_reference(const struct sample *s, const struct arrays *got, const char *what)
{
	struct arrays *f32 = arrays_new(s, false), *f64 = arrays_new(s, true);

	interp_op(s->op, s->params, f32->in, s->nin, f32->out, s->nout, 0);
	if (!(s->op->flags & VQ_OP_RANDOM))
		interp_op(s->op, s->params, f64->in, s->nin, f64->out, s->nout, 0);
	for (int i = 0; i < s->nout; i++) {
		bool exact = vq_is_float(s->out[i].dtype) && !(s->op->flags & VQ_OP_RANDOM);
		compare(s, what, &got->out[i], exact ? &f64->out[i] : &f32->out[i]);
	}
	arrays_free(s, f32);
	arrays_free(s, f64);
}

/* --- bf16 in memory -------------------------------------------------------- */

/* Port i of inputs and, after them, outputs. */
static enum vq_half
half_of(const struct sample *s, int i)
{
	struct vq_cost c = { .params = s->params, .nin = s->nin, .nout = s->nout, .in = s->in, .out = s->out, .threads = 1 };
	bool out = i >= s->nin;

	if ((out ? s->out[i - s->nin] : s->in[i]).dtype != VQ_F32)
		return VQ_HALF_NOT;
	return s->op->half(&c, out ? i - s->nin : i, out);
}

static void
set_half(struct vq_type *t, struct vq_view *v)
{
	int64_t n = vq_shape_count(&t->shape);
	uint16_t *to;

	t->dtype = VQ_BF16;
	to = sample_room(t);
	for (int64_t i = 0; i < n; i++)
		to[i] = vq_f32_to_bf16(((float *)v->data)[i]);
	free(v->data);
	v->data = to;
}

static void
round_all(const struct vq_view *v)
{
	for (int64_t i = vq_shape_count(&v->type->shape) - 1; i >= 0; i--)
		((float *)v->data)[i] = vq_bf16_to_f32(vq_f32_to_bf16(((float *)v->data)[i]));
}

/* What f32 gives, rounded where the result is bf16. */
static void
same_half(const struct sample *s, const char *what, const struct arrays *got, const struct arrays *want)
{
	for (int o = 0; o < s->nout; o++) {
		int64_t n = vq_shape_count(&s->out[o].shape), i = 0;

		if (got->out_type[o].dtype != VQ_BF16)
			i = memcmp(got->out[o].data, want->out[o].data, vq_type_bytes(&s->out[o])) == 0 ? n : 0;
		else
			while (i < n && ((uint16_t *)got->out[o].data)[i] == vq_f32_to_bf16(((float *)want->out[o].data)[i]))
				i++;
		ck_assert_msg(i == n, "%s %s (%s): output %d differs %s, first at %lld", s->op->name, s->ex->in,
		    s->ex->params ? s->ex->params : "", o, what, (long long)i);
	}
}

/* Ports of the set are bf16: the same bits as with f32 that holds such numbers, or that the op rounds. */
static void
check_half_set(const struct sample *s, const struct vq_kernels *k, unsigned set)
{
	struct arrays *want = arrays_new(s, false), *got = arrays_new(s, false);

	for (int i = 0; i < s->nin + s->nout; i++)
		if (set >> i & 1 && i < s->nin) {
			set_half(&got->in_type[i], &got->in[i]);
			if (half_of(s, i) == VQ_HALF_AS_IS)
				round_all(&want->in[i]);
		} else if (set >> i & 1) {
			set_half(&got->out_type[i - s->nin], &got->out[i - s->nin]);
		}
	call_run(s, want, k, 2, NULL, want->in, s->nin);
	call_run(s, got, k, 2, NULL, got->in, s->nin);
	same_half(s, "as bf16", got, want);
	for (const char *at = s->op->inplace; at && *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		int o = 0, i = 0;
		ck_assert_int_eq(sscanf(at, "%d:%d", &o, &i), 2);
		if (o >= s->nout || i >= s->nin || got->in_type[i].dtype != VQ_BF16 || got->out_type[o].dtype != VQ_BF16 ||
		    vq_shape_count(&s->in[i].shape) != vq_shape_count(&s->out[o].shape))
			continue;
		void *own = got->out[o].data, *given = got->in[i].data;
		got->out[o].data = got->in[i].data = memcpy(sample_room(&got->in_type[i]), given, vq_type_bytes(&got->in_type[i]));
		call_run(s, got, k, 2, NULL, got->in, s->nin);
		same_half(s, "in place as bf16", got, want);
		free(got->out[o].data);
		got->out[o].data = own;
		got->in[i].data = given;
	}
	arrays_free(s, want);
	arrays_free(s, got);
}

/* relu(y + bias) + y2, and y2 is bf16, too. */
static void
check_half_epilogue(const struct sample *s, const struct vq_kernels *k, unsigned set)
{
	const struct vq_shape *y = &s->out[0].shape;
	struct vq_type row = { VQ_F32, { 1, { y->rank ? y->dim[y->rank - 1] : 1 } } }, as = s->out[0];
	struct vq_ewise p = { .nin = 3, .ninstr = 3, .mode = { VQ_EWISE_FULL, VQ_EWISE_ROW, VQ_EWISE_FULL },
	    .instr = { { .op = VQ_EW_ADD, .a = 0, .b = 1 }, { .op = VQ_EW_RELU, .a = 3 },
	    { .op = VQ_EW_ADD, .a = 4, .b = 2 } } };
	struct arrays *want = arrays_new(s, false), *got = arrays_new(s, false);
	struct vq_view in[2][2];
	struct sample extra = *s;

	extra.lo[0] = -1;
	extra.hi[0] = 1;
	in[0][0] = in[1][0] = (struct vq_view){ sample_room(&row), &row };
	sample_fill(&extra, 0, &in[0][0]);
	for (int i = 0; i < 2; i++) {
		in[i][1] = (struct vq_view){ sample_room(&s->out[0]), &s->out[0] };
		sample_fill(&extra, 0, &in[i][1]);
	}
	round_all(&in[0][1]);
	in[1][1].type = &as;
	set_half(&as, &in[1][1]);
	for (int i = 0; i < s->nin; i++)
		if (set >> i & 1)
			set_half(&got->in_type[i], &got->in[i]);
	if (set >> s->nin & 1)
		set_half(&got->out_type[0], &got->out[0]);
	memcpy(want->in + s->nin, in[0], sizeof(in[0]));
	memcpy(got->in + s->nin, in[1], sizeof(in[1]));
	call_run(s, want, k, 2, &p, want->in, s->nin + 2);
	call_run(s, got, k, 2, &p, got->in, s->nin + 2);
	same_half(s, "as bf16 with an epilogue", got, want);
	free(in[0][0].data);
	free(in[0][1].data);
	free(in[1][1].data);
	arrays_free(s, want);
	arrays_free(s, got);
}

/* Each port by itself that may be bf16, and all of them. */
static void
check_halves(const struct sample *s, const struct vq_kernels *k)
{
	unsigned all = 0;

	for (int i = 0; i < s->nin + s->nout; i++)
		if (half_of(s, i) != VQ_HALF_NOT)
			all |= 1u << i;
	for (unsigned one = 1; one < all; one <<= 1)
		if (all & one)
			check_half_set(s, k, one);
	if (all)
		check_half_set(s, k, all);
	if (all && (s->op->flags & VQ_OP_EPILOGUE))
		check_half_epilogue(s, k, all);
}

static void
check_run(struct sample *s)
{
	bool small = sample_flops(s) <= SAMPLE_SLOW_FLOPS;
	struct arrays *first = NULL;

	if (s->op->run == NULL && s->op->ref == NULL)
		return;				/* only ever lowered to its composition */
	for (int i = 0; i < s->nin; i++) {
		s->data[i] = sample_room(&s->in[i]);
		sample_fill(s, i, &(struct vq_view){ s->data[i], &s->in[i] });
	}
	for (int isa = VQ_ISAS - 1; isa >= 0; isa--) {
		const struct vq_kernels *k = vq_kernels_of(isa);
		if (k == NULL)
			continue;
		struct arrays *one = arrays_new(s, false);
		call_run(s, one, k, 1, NULL, one->in, s->nin);
		for (int threads = 2; threads <= 3; threads++) {
			struct arrays *more = arrays_new(s, false);
			call_run(s, more, k, threads, NULL, more->in, s->nin);
			same_bits(s, "with more threads", one, more);
			arrays_free(s, more);
		}
		if (small)
			check_reference(s, one, k->name);
		for (int i = 0; first && !small && i < s->nout; i++)
			compare(s, k->name, &one->out[i], &first->out[i]);
		if (first == NULL && k == vq_kernels())
			check_inplace(s, one);
		if (s->op->half && s->op->run)
			check_halves(s, k);
		if (first == NULL && (s->op->flags & VQ_OP_EPILOGUE))
			check_epilogue(s, one);
		if (first == NULL)
			first = one;
		else
			arrays_free(s, one);
	}
	arrays_free(s, first);
	for (int i = 0; i < s->nin; i++)
		free(s->data[i]);
}

/* --- the tests ----------------------------------------------------------- */

static void
check_example(const struct vq_op *op, const struct vq_example *ex)
{
	struct sample s;

	sample_prepare(&s, op, ex);
	if (ex->fails || s.message) {
		ck_assert_msg(s.message != NULL, "%s %s fits, and should fail: %s", op->name, ex->in, ex->fails);
		ck_assert_msg(ex->fails != NULL, "%s %s does not fit: %s", op->name, ex->in, s.message);
		ck_assert_str_eq(s.message, ex->fails);
		free(s.message);
		return;
	}
	check_run(&s);
}

START_TEST(each_op)
{
	const struct vq_op *op = vq_ops()[_i];

	ck_assert_msg(op->examples && op->examples[0].in, "%s has no example", op->name);
	ck_assert_msg(op->doc && op->doc[0] && op->doc[strlen(op->doc) - 1] != '.', "%s: doc is one sentence, "
	    "no full stop", op->name);
	ck_assert_msg(op->ref || op->compose, "%s has neither ref nor compose", op->name);
	ck_assert_msg(!(op->flags & VQ_OP_ELEMENTWISE) == !op->ewise, "%s: ELEMENTWISE and ewise go together", op->name);
	ck_assert(vq_op_find(op->name) == op);
	for (const struct vq_param *p = op->params; p && p->name; p++)
		ck_assert_msg(p->doc && p->doc[0], "%s: parameter %s has no doc", op->name, p->name);
	for (const struct vq_example *ex = op->examples; ex->in; ex++)
		check_example(op, ex);
}
END_TEST

static char *
read_source(const char *path)
{
	char full[512], *text = vq_alloc(1 << 18);

	snprintf(full, sizeof(full), "%s/%s", VQ_SRCDIR, path);
	FILE *f = fopen(full, "r");
	ck_assert_msg(f != NULL, "cannot read %s", full);
	ck_assert_uint_lt(fread(text, 1, (1 << 18) - 1, f), (1 << 18) - 1);
	fclose(f);
	return text;
}

/* Files of ops/, oplist.h and the build's list are the same names. */
START_TEST(lists_agree)
{
#define NAME(file) #file,
	static const char *const listed[] = { VQ_OPLIST(NAME) };
	char *makefile = read_source("Makefile.am"), path[300];
	int files = 0;
	struct dirent *e;

	for (size_t i = 0; i < VQ_COUNT(listed); i++) {
		snprintf(path, sizeof(path), "ops/%s.c", listed[i]);
		ck_assert_msg(strstr(makefile, path) != NULL, "Makefile.am does not name %s", path);
		free(read_source(path));
	}
	DIR *dir = opendir(VQ_SRCDIR "/ops");
	ck_assert(dir != NULL);
	while ((e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name);
		files += n > 2 && strcmp(e->d_name + n - 2, ".c") == 0;
	}
	closedir(dir);
	ck_assert_int_eq(files, (int)VQ_COUNT(listed));
	free(makefile);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ops");
	TCase *ops = tcase_create("each op"), *lists = tcase_create("lists");
	int n = 0, failed;

	while (vq_ops()[n])
		n++;
	tcase_set_timeout(ops, 300);	/* a busy machine takes its time */
	tcase_add_loop_test(ops, each_op, 0, n);
	tcase_add_test(lists, lists_agree);
	suite_add_tcase(suite, ops);
	suite_add_tcase(suite, lists);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
