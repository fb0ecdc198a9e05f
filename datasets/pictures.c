/*
 * pictures -- JPEG and PNG files in folders, in an archive or named by a list
 *
 * What there is and what its labels are is a matter of its layout (picture_layout.h); the
 * pictures are decoded when the set is opened (picture_load.c), and kept as bytes.
 */
#include "datasets/pictures.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/archive.h"
#include "datasets/images.h"
#include "datasets/picture_layout.h"

/* The class names in one piece of memory. */
static const char **
copy_names(const struct vq_picture_files *l)
{
	size_t size = (size_t)l->classes * sizeof(char *);
	const char **name;
	char *to;

	if (l->class_name == NULL || l->classes == 0)
		return NULL;
	for (int i = 0; i < l->classes; i++)
		size += strlen(l->class_name[i]) + 1;
	name = vq_alloc(size);
	to = (char *)(name + l->classes);
	for (int i = 0; i < l->classes; i++) {
		name[i] = to;
		to = stpcpy(to, l->class_name[i]) + 1;
	}
	return name;
}

static const char *const splits[] = { "train", "test", "val", NULL };

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder of a split, or NULL. */
static char *
split_folder(const char *path, const char *split)
{
	for (const char *const *n = vq_split_names(split); *n != NULL; n++) {
		char *folder = vq_asprintf("%s/%s", path, *n);

		if (is_folder(folder))
			return folder;
		free(folder);
	}
	return NULL;
}

static void
add_input(struct vq_dataset *d, int64_t *cap, char *path)
{
	if (d->inputs == *cap) {
		*cap = *cap > 0 ? 2 * *cap : 64;
		d->input = vq_realloc_array(d->input, (size_t)*cap, sizeof(*d->input));
	}
	d->input[d->inputs++] = path;
}

/*
 * What a change of would change the set: the files, the folders that they are in, those
 * of the other splits, whose classes count, and lists.  A class without a picture is in no path, so such
 * a set has no inputs and is not kept.
 */
static void
note_inputs(struct vq_dataset *d, const struct vq_picture_files *l)
{
	struct vq_names seen = { 0 };
	struct vq_arena a = { 0 };
	int64_t cap = 0;

	if (l->empty != NULL)
		return;
	add_input(d, &cap, vq_strdup(l->path));
	for (int i = 0; i < l->lists; i++)
		add_input(d, &cap, vq_strdup(l->list[i]));
	for (const char *const *s = splits; *s != NULL; s++) {
		char *folder = split_folder(l->path, *s);

		if (folder != NULL)
			add_input(d, &cap, folder);
	}
	for (int64_t i = 0; i < l->count; i++) {
		char *path = vq_picture_file_path(l, &l->file[i]);
		const char *slash = path + (l->file[i].name[0] == '/' ? 0 : strlen(l->path));

		add_input(d, &cap, path);
		while ((slash = strchr(slash + 1, '/')) != NULL) {
			const char *folder = vq_arena_strndup(&a, path, (size_t)(slash - path));

			if (vq_names_put(&seen, folder, 0))
				add_input(d, &cap, vq_strdup(folder));
		}
	}
	vq_names_free(&seen);
	vq_arena_free(&a);
}

/* An archive, and the lists that lie beside it. */
static void
note_files(struct vq_dataset *d, const struct vq_picture_files *l)
{
	for (int i = 0; i < l->lists; i++)
		if (access(l->list[i], F_OK) == 0)
			d->file[d->files++] = vq_strdup(l->list[i]);
	d->file[d->files++] = vq_strdup(l->path);
}

static int
load(struct vq_dataset *d, const struct vq_data_spec *spec, const struct vq_picture_files *l, struct vq_raw_images *raw,
    struct vq_diags *diags)
{
	int64_t first, n = vq_images_part(d, spec, l->count, &first, diags);

	if (n < 0 || vq_pictures_load(d, spec, l, first, n, raw, diags) < 0)
		return -1;
	raw->classes = l->label_width == VQ_LABEL_CLASS ? l->classes : 0;
	raw->class_name = copy_names(l);
	if (l->label_width == VQ_LABEL_NONE && l->absent != NULL)
		d->absent = vq_strdup(l->absent);
	d->decoded = true;
	if (l->archive)
		note_files(d, l);
	else
		note_inputs(d, l);
	return 0;
}

int
vq_pictures_open(struct vq_dataset *d, const struct vq_data_spec *spec, const char *path, struct vq_diags *diags)
{
	struct vq_picture_files list;
	struct vq_data_spec whole = *spec;
	struct vq_raw_images raw = { 0 };
	int rc;

	if (vq_picture_files_list(&list, path, d->split, diags) < 0)
		return -1;
	rc = load(d, spec, &list, &raw, diags);
	vq_picture_files_free(&list);
	if (rc < 0) {
		free(raw.labels);
		return -1;
	}
	/* Only the part was read, in the size and the channels that are wanted. */
	whole.skip = whole.limit = 0;
	return vq_images_open(d, &whole, &raw, diags);
}

/* What is in an archive is seen when it is opened. */
const char *
vq_pictures_missing(const char *path, const char *split)
{
	if (!is_folder(path) && (vq_archive_named(path) || vq_named_list(path)))
		return access(path, F_OK) == 0 ? NULL : "a folder, an archive or a list of pictures";
	return is_folder(path) && vq_picture_files_has(path, split) ? NULL : vq_split_names(split)[0];
}

bool
vq_pictures_there(const char *path)
{
	return vq_pictures_missing(path, "train") == NULL || vq_pictures_missing(path, "test") == NULL ||
	    vq_pictures_missing(path, "val") == NULL;
}

extern const struct vq_source_kind vq_source_pictures;

const struct vq_source_kind vq_source_pictures = {
	.name    = "a folder, an archive or a list of pictures",
	.doc     = "JPEG and PNG files of one's own",
	.layout  = "SPLIT/CLASS/FILE or SPLIT/FILE, where SPLIT is train, test or val; CLASS/FILE, or pictures alone; "
	    "train.txt, test.txt and val.txt (or .csv), a line for each picture: its path and, where there is one, its "
	    "label; the folders of CelebA, Tiny ImageNet, DTD, Oxford's flowers and Places365 as their authors made "
	    "them; a .tar, .tar.gz or .zip of such; or the path of a list",
	.splits  = splits,
	.knows   = vq_pictures_there,
	.missing = vq_pictures_missing,
	.has     = vq_picture_files_has,
	.open    = vq_pictures_open,
	.digest  = vq_images_digest,
	VQ_IMAGES_KIND
};
