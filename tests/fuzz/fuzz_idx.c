/*
 * fuzz_idx -- pictures in IDX files, with labels that always fit one picture
 */
#include "datasets/dataset.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const uint8_t label[] = { 0, 0, 8, 1, 0, 0, 0, 1, 3 };
	struct vq_data_spec spec = { .source = bytes_folder(), .split = "train", .batch = 1 };
	struct vq_diags d = { 0 };

	bytes_as("train-images-idx3-ubyte", bytes, n);
	bytes_as("train-labels-idx1-ubyte", label, sizeof(label));
	vq_dataset_close(vq_dataset_open(&spec, &d));
	vq_diags_free(&d);
	return 0;
}
