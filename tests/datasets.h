/*
 * datasets -- what the tests of data sources share
 */
#ifndef VQ_TESTS_DATASETS_H
#define VQ_TESTS_DATASETS_H

#include <check.h>
#include <string.h>
#include <unistd.h>

#include "datasets/dataset.h"
#include "tests/scratch.h"

/* A new folder, which is the current one and the home: no data of the machine's is found. */
static inline void
alone_in(char dir[64])
{
	scratch_make(dir);
	unsetenv("XDG_DATA_HOME");
	setenv("HOME", dir, 1);
	unsetenv("VQGRAPH_DATA");
	ck_assert_int_eq(chdir(dir), 0);
}

static inline struct vq_data_spec
spec_of(const char *source)
{
	struct vq_data_spec s = { 0 };

	vq_params_default(vq_data_params, &s);
	s.source = source;
	return s;
}

/* It opens, without a word. */
static inline struct vq_dataset *
open_whole(const struct vq_data_spec *s)
{
	struct vq_diags d = { 0 };
	struct vq_dataset *set = vq_dataset_open(s, &d);

	if (set == NULL)
		vq_diags_print(&d, stderr, false);
	ck_assert_ptr_nonnull(set);
	ck_assert_int_eq(d.total, 0);
	return set;
}

/* Opening fails with this status, and the first message or one of its lines holds the text. */
static inline void
refuses(const struct vq_data_spec *s, enum vq_status status, const char *text)
{
	struct vq_diags d = { 0 };
	bool found;

	ck_assert_ptr_null(vq_dataset_open(s, &d));
	ck_assert_int_gt(d.total, 0);
	ck_assert_int_eq(vq_diags_status(&d), status);
	found = strstr(d.diag[0]->message, text) != NULL;
	for (int i = 0; i < d.diag[0]->lines; i++)
		found |= strstr(d.diag[0]->line[i].text, text) != NULL;
	if (!found)
		vq_diags_print(&d, stderr, false);
	ck_assert_msg(found, "'%s' is not in '%s'", text, d.diag[0]->message);
	vq_diags_free(&d);
}

#endif
