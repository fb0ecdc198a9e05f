/*
 * codec -- a trained tokenizer by itself: what encode, decode and reconstruct share
 *
 * The tokenizer is the training stage that declares `codes`: its graph, the
 * value that holds the codes, and the value it `show`s as reconstruction.
 */
#ifndef VQ_TOOLS_CODEC_H
#define VQ_TOOLS_CODEC_H

#include "datasets/dataset.h"
#include "engine/stage.h"
#include "tools/tool.h"

/* The options that the three commands have in common. */
struct vq_codec_options {
	const char *data;		/* SOURCE or SOURCE:SPLIT */
	const char *out;
	const char *checkpoint, *stage;
	int64_t n, batch;
};

struct vq_codec {
	struct vq_cli *c;
	const struct vq_codec_options *o;
	const struct vq_model *m;
	struct vq_train t;
	int64_t batch;
	struct vq_graph *g;		/* until it is compiled */
	struct vq_plan *plan;
	struct vq_vars vars;
	struct vq_dataset *data;
};

/* The model and the stage; -1 after errors.  vq_codec_close ends it, after errors too. */
int vq_codec_open(struct vq_codec *k, struct vq_cli *c, const struct vq_codec_options *o);
void vq_codec_close(struct vq_codec *k);
/* Opens what --data names. */
int vq_codec_data(struct vq_codec *k);
/* Expands the stage's graph for evaluation; its values can be asked for by name. */
int vq_codec_expand(struct vq_codec *k);
/* The value that the stage counts as codes, or shows; reports when it has none. */
const char *vq_codec_codes(struct vq_codec *k);
const char *vq_codec_shown(struct vq_codec *k);
/* Compiles the graph for these outputs alone, with the checkpoint's parameters. */
int vq_codec_compile(struct vq_codec *k, const char *const *output, int n);
/*
 * Runs over the data's first n samples (all when 0), batch by batch: output i of
 * all of them goes into all[i], dense, each sample as in type[i].  -1 after errors.
 */
int vq_codec_run(struct vq_codec *k, const char *const *output, int n, int64_t samples, void **all,
    struct vq_type *type);
/* Pictures of f32[n, h, w, c] as the name of the file says: .png or .npy. */
int vq_codec_write(struct vq_codec *k, const char *path, const struct vq_view *v, const float *originals);

#endif
