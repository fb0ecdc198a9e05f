/*
 * fuzz_list -- a list of pictures; the first byte says how it is named
 */
#include "datasets/dataset.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const char *const name[] = { "train.txt", "train.csv", "train.tsv" };
	struct vq_data_spec spec = { .split = "train", .batch = 1, .bad = VQ_BAD_SKIP };
	struct vq_diags d = { 0 };

	if (n == 0)
		return 0;
	spec.source = bytes_as(name[bytes[0] % 3], bytes + 1, n - 1);
	vq_dataset_close(vq_dataset_open(&spec, &d));
	vq_diags_free(&d);
	return 0;
}
