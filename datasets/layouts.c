/*
 * layouts -- how some published sets come from their authors
 *
 * CelebA (Liu and others 2015), Tiny ImageNet (Stanford's CS231N), the Describable Textures Dataset
 * (Cimpoi and others 2014), 102 flowers (Nilsback and Zisserman 2008), Places365 (Zhou and others 2017).
 */
#include <stdlib.h>
#include <string.h>

#include "datasets/mat.h"
#include "datasets/picture_layout.h"

enum { TRAIN, VAL, TEST, CELEBA_ATTRIBUTES = 40 };

static int
number_of(const char *split)
{
	return strcmp(split, "train") == 0 ? TRAIN : strcmp(split, "val") == 0 ? VAL : TEST;
}

/* The first of some names that a folder has, or NULL. */
static const char *
first_of(const struct vq_folder *f, const char *const *names)
{
	for (; *names != NULL; names++)
		if (vq_folder_has(f, *names))
			return *names;
	return NULL;
}

static const char *
separators_of(const char *list)
{
	return strstr(list, ".csv") != NULL ? "," : NULL;
}

/* FOLDER/NAME in the arena. */
static const char *
join(struct vq_lister *s, const char *folder, const char *name)
{
	return vq_arena_printf(&s->l->arena, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", name);
}

/* --- CelebA ------------------------------------------------------------------ */

static const char *const celeba_folders[] = { "img_align_celeba/img_align_celeba", "img_align_celeba", NULL };
static const char *const celeba_archives[] = { "img_align_celeba.zip", NULL };
static const char *const celeba_parts[] = { "list_eval_partition.txt", "list_eval_partition.csv", NULL };
static const char *const celeba_attributes[] = { "list_attr_celeba.txt", "list_attr_celeba.csv", NULL };

static bool
celeba_fits(const struct vq_folder *f)
{
	return (vq_folder_has_folder(f, celeba_folders[1]) || first_of(f, celeba_archives) != NULL) &&
	    first_of(f, celeba_parts) != NULL;
}

static bool
any_split(const struct vq_folder *f, const char *split)
{
	return true;
}

/* A row of -1 and 1 for each picture; file: name -> row. */
static int
celeba_rows(struct vq_lister *s, const char *name, struct vq_names *file)
{
	struct vq_picture_files *l = s->l;
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(s, name, &text, &at.n), rc = list < 0 ? -1 : 0;
	int64_t rows = 0, cap = 0;

	at.text = text;
	while (rc == 0 && vq_line_next(&at, separators_of(name))) {
		/* How many there are, and the names of attributes. */
		if (at.fields == 1 || !vq_named_picture(at.field[0]))
			continue;
		if (at.fields != CELEBA_ATTRIBUTES + 1) {
			rc = vq_lister_refuse(s, list, at.line, "there are %d attributes, not %d", at.fields - 1,
			    CELEBA_ATTRIBUTES);
			break;
		}
		if (rows == cap) {
			cap = cap > 0 ? 2 * cap : 4096;
			l->row = vq_realloc_array(l->row, (size_t)cap, CELEBA_ATTRIBUTES * sizeof(*l->row));
		}
		for (int i = 0; i < CELEBA_ATTRIBUTES && rc == 0; i++) {
			int32_t value = 0;

			if (!vq_line_number(at.field[i + 1], &value) || (value != 1 && value != -1))
				rc = vq_lister_refuse(s, list, at.line, "'%s' is no attribute: they are 1 or -1",
				    at.field[i + 1]);
			l->row[rows * CELEBA_ATTRIBUTES + i] = value > 0;
		}
		vq_names_put(file, vq_arena_strdup(&l->arena, at.field[0]), (int)rows++);
	}
	vq_line_free(&at);
	free(text);
	return rc;
}

/* Pictures of the split, by the list that says which of 0, 1 and 2 each is in. */
static int
celeba_pictures(struct vq_lister *s, const char *folder, const char *name, const struct vq_names *file)
{
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(s, name, &text, &at.n), rc = list < 0 ? -1 : 0;

	at.text = text;
	while (rc == 0 && vq_line_next(&at, separators_of(name))) {
		int32_t part;
		int row = 0;

		if (at.line == 1 && !vq_named_picture(at.field[0]))
			continue;
		if (at.fields != 2 || !vq_line_number(at.field[1], &part) || part < TRAIN || part > TEST) {
			rc = vq_lister_refuse(s, list, at.line, "wanted is a picture and 0 (train), 1 (val) or 2 (test)");
			break;
		}
		if (part != number_of(s->split))
			continue;
		if (file->count > 0)
			row = vq_names_get(file, at.field[0]);
		if (row < 0)
			rc = vq_lister_refuse(s, list, at.line, "%s has no attributes", at.field[0]);
		else if (vq_lister_add_listed(s, join(s, folder, at.field[0]), row, list, at.line) == NULL)
			rc = -1;
	}
	vq_line_free(&at);
	free(text);
	return rc;
}

static int
celeba_list(struct vq_lister *s)
{
	const char *folder = vq_lister_inside(s, celeba_folders, celeba_archives);
	const char *attributes = first_of(s->folder, celeba_attributes);
	struct vq_names file = { 0 };
	int rc = folder != NULL ? 0 : -1;

	s->ordered = true;
	s->l->label_width = attributes != NULL ? CELEBA_ATTRIBUTES : VQ_LABEL_NONE;
	s->l->absent = vq_arena_printf(&s->l->arena, "%s/%s", s->folder->path, celeba_attributes[0]);
	if (rc == 0 && attributes != NULL)
		rc = celeba_rows(s, attributes, &file);
	if (rc == 0)
		rc = celeba_pictures(s, folder, first_of(s->folder, celeba_parts), &file);
	vq_names_free(&file);
	return rc;
}

const struct vq_layout vq_layout_celeba = {
	.doc  = "CelebA's: img_align_celeba and list_eval_partition.txt",
	.fits = celeba_fits,
	.has  = any_split,
	.list = celeba_list,
};

/* --- Tiny ImageNet ----------------------------------------------------------- */

static const char tiny_annotations[] = "val/val_annotations.txt";

static bool
tiny_fits(const struct vq_folder *f)
{
	return vq_folder_has(f, "wnids.txt") && (vq_folder_has_folder(f, "train") || vq_folder_has(f, tiny_annotations));
}

static bool
tiny_has(const struct vq_folder *f, const char *split)
{
	return vq_folder_has_folder(f, split);
}

static int
tiny_classes(struct vq_lister *s)
{
	struct vq_line at = { 0 };
	char *text;
	int rc = vq_lister_read(s, "wnids.txt", &text, &at.n);

	at.text = text;
	while (rc >= 0 && vq_line_next(&at, NULL))
		rc = vq_lister_class(s, at.field[0], strlen(at.field[0]), false);
	vq_line_free(&at);
	free(text);
	return rc < 0 ? -1 : 0;
}

static int
tiny_val(struct vq_lister *s)
{
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(s, tiny_annotations, &text, &at.n), rc = list < 0 ? -1 : 0;

	at.text = text;
	while (rc == 0 && vq_line_next(&at, NULL)) {
		int label = at.fields > 1 ? vq_names_get(&s->classes, at.field[1]) : -1;

		if (label < 0)
			rc = vq_lister_refuse(s, list, at.line, "'%s' %s", at.field[at.fields > 1], at.fields > 1 ?
			    "is not in wnids.txt" : "has no class behind it");
		else if (vq_lister_add_listed(s, join(s, "val/images", at.field[0]), label, list, at.line) == NULL)
			rc = -1;
	}
	vq_line_free(&at);
	free(text);
	return rc;
}

static int
tiny_list(struct vq_lister *s)
{
	int split = number_of(s->split);

	if (split == TEST) {
		s->l->absent = vq_arena_printf(&s->l->arena, "list of labels of the split test in %s", s->folder->path);
		return vq_lister_plain(s, "test");
	}
	if (tiny_classes(s) < 0)
		return -1;
	if (split == TRAIN)
		return vq_lister_classes(s, "train", true);
	/* Some sort its files into folders of classes. */
	return vq_folder_has(s->folder, tiny_annotations) ? tiny_val(s) : vq_lister_classes(s, "val", true);
}

const struct vq_layout vq_layout_tiny_imagenet = {
	.doc  = "Tiny ImageNet's: wnids.txt, train/WNID/images, val/images and val_annotations.txt",
	.fits = tiny_fits,
	.has  = tiny_has,
	.list = tiny_list,
};

/* --- Describable Textures ---------------------------------------------------- */

static bool
dtd_fits(const struct vq_folder *f)
{
	return vq_folder_has(f, "labels/train1.txt") && vq_folder_has_folder(f, "images");
}

static bool
dtd_has(const struct vq_folder *f, const char *split)
{
	char *name = vq_asprintf("labels/%s1.txt", split);
	bool there = vq_folder_has(f, name);

	free(name);
	return there;
}

/* A list of CLASS/FILE; the classes of all splits count. */
static int
dtd_read(struct vq_lister *s, const char *split)
{
	const char *name = vq_arena_printf(&s->l->arena, "labels/%s1.txt", split);
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(s, name, &text, &at.n), rc = list < 0 ? -1 : 0;

	at.text = text;
	while (rc == 0 && vq_line_next(&at, "\n")) {
		const char *slash = strchr(at.field[0], '/');
		int label;

		if (slash == NULL || slash == at.field[0] || at.binary) {
			rc = vq_lister_refuse(s, list, at.line, "wanted is CLASS/FILE");
			break;
		}
		label = vq_lister_class(s, at.field[0], (size_t)(slash - at.field[0]), false);
		if (label < 0 || (strcmp(split, s->split) == 0 &&
		    vq_lister_add_listed(s, join(s, "images", at.field[0]), label, list, at.line) == NULL))
			rc = -1;
	}
	vq_line_free(&at);
	free(text);
	return rc;
}

static int
dtd_list(struct vq_lister *s)
{
	static const char *const splits[] = { "train", "val", "test" };
	int rc = 0;

	for (size_t i = 0; i < VQ_COUNT(splits) && rc == 0; i++)
		if (dtd_has(s->folder, splits[i]))
			rc = dtd_read(s, splits[i]);
	return rc;
}

const struct vq_layout vq_layout_dtd = {
	.doc  = "DTD's: images/CLASS/FILE and labels/train1.txt, val1.txt, test1.txt",
	.fits = dtd_fits,
	.has  = dtd_has,
	.list = dtd_list,
};

/* --- flowers ----------------------------------------------------------------- */

static const char *const flower_folders[] = { "jpg", NULL };
static const char *const flower_archives[] = { "102flowers.tgz", NULL };
enum { FLOWERS = 102 };

static bool
flowers_fits(const struct vq_folder *f)
{
	return vq_folder_has(f, "imagelabels.mat") && vq_folder_has(f, "setid.mat");
}

static int
flowers_mat(struct vq_lister *s, const char *name, const char *const *arrays, struct vq_mat *m)
{
	char *bytes;
	size_t n;
	int list = vq_lister_read(s, name, &bytes, &n);

	return list < 0 ? -1 : vq_mat_take(m, s->l->list[list], bytes, n, arrays, s->diags);
}

/* Pictures have numbers from 1 on; which are in a split and what their classes are, in two files. */
static int
flowers_pictures(struct vq_lister *s, const char *folder, struct vq_mat *labels, struct vq_mat *ids)
{
	static const char *const label_array[] = { "labels", NULL }, *const id_of[] = { "trnid", "valid", "tstid" };
	const char *const id_array[] = { id_of[number_of(s->split)], NULL };
	const struct vq_mat_array *label, *id;
	int64_t class, number;

	if (flowers_mat(s, "imagelabels.mat", label_array, labels) < 0 ||
	    flowers_mat(s, "setid.mat", id_array, ids) < 0)
		return -1;
	label = vq_mat_find(labels, label_array[0]);
	id = vq_mat_find(ids, id_array[0]);
	if (label == NULL || id == NULL)
		return vq_mat_refuse(label == NULL ? labels : ids, "holds no %s",
		    label == NULL ? label_array[0] : id_array[0]);
	for (int64_t i = 0; i < id->n; i++) {
		char name[32];

		if (!vq_mat_whole(id, i, 1, label->n, &number))
			return vq_mat_refuse(ids, "%s: number %lld is not of 1 to %lld", id_array[0], (long long)i + 1,
			    (long long)label->n);
		if (!vq_mat_whole(label, number - 1, 1, FLOWERS, &class))
			return vq_mat_refuse(labels, "the label of picture %lld is not of 1 to %d", (long long)number,
			    FLOWERS);
		snprintf(name, sizeof(name), "image_%05lld.jpg", (long long)number);
		if (vq_lister_add_listed(s, join(s, folder, name), (int)class - 1, -1, 0) == NULL)
			return -1;
	}
	s->l->classes = FLOWERS;
	return 0;
}

static int
flowers_list(struct vq_lister *s)
{
	const char *folder = vq_lister_inside(s, flower_folders, flower_archives);
	struct vq_mat labels = { 0 }, ids = { 0 };
	int rc = folder != NULL ? flowers_pictures(s, folder, &labels, &ids) : -1;

	vq_mat_close(&labels);
	vq_mat_close(&ids);
	return rc;
}

const struct vq_layout vq_layout_flowers = {
	.doc  = "Oxford's flowers: jpg, imagelabels.mat and setid.mat",
	.fits = flowers_fits,
	.has  = any_split,
	.list = flowers_list,
};

/* --- Places365 --------------------------------------------------------------- */

/* What each split may lie in: lists, folders and archives. */
static const struct {
	const char *list, *folders[5], *archives[3];
} places[] = {
	[TRAIN] = { "places365_train_standard.txt",
	    { "data_256_standard", "data_256", "data_large_standard", "data_large" },
	    { "train_256_places365standard.tar", "train_large_places365standard.tar" } },
	[VAL] = { "places365_val.txt", { "val_256", "val_large" }, { "val_256.tar", "val_large.tar" } },
	[TEST] = { "places365_test.txt", { "test_256", "test_large" }, { "test_256.tar", "test_large.tar" } },
};
enum { PLACES = 365 };

static bool
places_has(const struct vq_folder *f, const char *split)
{
	return vq_folder_has(f, places[number_of(split)].list);
}

static bool
places_fits(const struct vq_folder *f)
{
	return places_has(f, "train") || places_has(f, "val");
}

/* "/a/airfield 0": the letter is a folder. */
static int
places_names(struct vq_lister *s)
{
	struct vq_picture_files *l = s->l;
	struct vq_line at = { 0 };
	char *text;
	int list = vq_lister_read(s, "categories_places365.txt", &text, &at.n), rc = list < 0 ? -1 : 0;
	const char **name = rc == 0 ? vq_alloc_array(PLACES, sizeof(*name)) : NULL;

	at.text = text;
	while (rc == 0 && vq_line_next(&at, NULL)) {
		int32_t number;

		if (at.fields != 2 || strlen(at.field[0]) < 4 || !vq_line_number(at.field[1], &number) ||
		    number < 0 || number >= PLACES)
			rc = vq_lister_refuse(s, list, at.line, "wanted are a category and its number, 0 to %d", PLACES - 1);
		else
			name[number] = vq_arena_strdup(&l->arena, at.field[0] + 3);
	}
	for (int i = 0; i < PLACES && rc == 0; i++)
		if (name[i] == NULL)
			rc = vq_lister_refuse(s, list, 0, "has no name of category %d", i);
	vq_line_free(&at);
	free(text);
	l->class_name = name;
	return rc;
}

static int
places_list(struct vq_lister *s)
{
	int split = number_of(s->split), rc = 0;
	const char *folder = vq_lister_inside(s, places[split].folders, places[split].archives);
	struct vq_line at = { 0 };
	char *text = NULL;
	int list = folder != NULL ? vq_lister_read(s, places[split].list, &text, &at.n) : -1;

	s->l->label_width = split == TEST ? VQ_LABEL_NONE : VQ_LABEL_CLASS;
	s->l->absent = vq_arena_printf(&s->l->arena, "list of labels of the split test in %s", s->folder->path);
	if (list < 0 || (split != TEST && vq_folder_has(s->folder, "categories_places365.txt") && places_names(s) < 0))
		rc = -1;
	at.text = text;
	while (rc == 0 && vq_line_next(&at, NULL)) {
		int32_t label = 0;

		const char *file = at.field[0] + strspn(at.field[0], "/");

		if (split != TEST && (at.fields != 2 || !vq_line_number(at.field[1], &label) || label < 0 ||
		    label >= PLACES))
			rc = vq_lister_refuse(s, list, at.line, "wanted are a picture and its category, 0 to %d",
			    PLACES - 1);
		else if (vq_lister_add_listed(s, join(s, folder, file), label, list, at.line) == NULL)
			rc = -1;
	}
	vq_line_free(&at);
	free(text);
	if (split != TEST)
		s->l->classes = PLACES;
	return rc;
}

const struct vq_layout vq_layout_places = {
	.doc  = "Places365's: places365_train_standard.txt, places365_val.txt and their folders",
	.fits = places_fits,
	.has  = places_has,
	.list = places_list,
};
