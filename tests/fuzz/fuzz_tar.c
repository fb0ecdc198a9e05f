/*
 * fuzz_tar -- pictures in an archive
 */
#include "datasets/dataset.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct vq_data_spec spec = { .split = "train", .batch = 1, .bad = VQ_BAD_SKIP };
	struct vq_diags d = { 0 };

	spec.source = bytes_as("x.tar", bytes, n);
	vq_dataset_close(vq_dataset_open(&spec, &d));
	vq_diags_free(&d);
	return 0;
}
