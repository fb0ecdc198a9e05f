/*
 * fuzz_npy -- arrays
 */
#include "engine/checkpoint.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct vq_diags d = { 0 };
	struct vq_type t;
	void *data;

	if (vq_npy_read(bytes_as("x.npy", bytes, n), &t, &data, &d) == 0)
		free(data);
	vq_diags_free(&d);
	return 0;
}
