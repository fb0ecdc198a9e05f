/*
 * kept_folder -- the cache: where it is, what is worth a place in it, how much it holds
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "datasets/kept.h"

const char *
vq_kept_folder(struct vq_arena *a)
{
	const char *own = getenv("VQGRAPH_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (own != NULL)
		return own[0] == '/' ? vq_arena_strdup(a, own) : NULL;
	if (xdg != NULL && xdg[0] == '/')
		return vq_arena_printf(a, "%s/vqgraph", xdg);
	if (home != NULL && home[0] == '/')
		return vq_arena_printf(a, "%s/.cache/vqgraph", home);
	return NULL;
}

bool
vq_kept_whole(const struct vq_data_spec *spec)
{
	return spec->skip == 0 && spec->limit == 0 && !spec->fresh;
}

struct vq_room *
vq_kept_room(const struct vq_data_spec *spec, const char *path, int64_t count, int64_t bytes, bool keep, struct vq_diags *diags)
{
	struct vq_arena a = { 0 };
	bool worth = keep && vq_kept_whole(spec) && bytes >= VQ_KEPT_LEAST;
	struct vq_room *r = vq_room_new(count, bytes, vq_kept_folder(&a), worth, spec->at, path, diags);

	vq_arena_free(&a);
	return r;
}

int64_t
vq_kept_bytes(int *files)
{
	struct vq_arena a = { 0 };
	const char *folder = vq_kept_folder(&a);
	DIR *dir = folder != NULL ? opendir(folder) : NULL;
	const struct dirent *e;
	int64_t sum = 0;

	*files = 0;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name), end = strlen(VQ_KEPT_ENDING);
		struct stat st;

		if (n > end && strcmp(e->d_name + n - end, VQ_KEPT_ENDING) == 0 &&
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			sum += st.st_size;
			++*files;
		}
	}
	if (dir != NULL)
		closedir(dir);
	vq_arena_free(&a);
	return sum;
}
