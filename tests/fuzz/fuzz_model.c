/*
 * fuzz_model -- model files: read, linked, its graphs expanded
 */
#include "engine/model.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct vq_size size = { "batch", 2 };
	struct vq_diags d = { 0 };
	struct vq_model *m = vq_model_load(bytes_as("m.yaml", bytes, n), NULL, 0, &d);

	for (int i = 0; m && i < vq_model_graphs(m); i++)
		vq_graph_free(vq_model_expand(m, vq_model_graph_name(m, i), true, &size, 1, &d));
	vq_model_free(m);
	vq_diags_free(&d);
	return 0;
}
