/*
 * fuzz_safetensors -- checkpoints
 */
#include "engine/safetensors.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct vq_diags d = { 0 };
	struct vq_tensors t;

	if (vq_tensors_read(bytes_as("x.safetensors", bytes, n), &t, &d) == 0)
		vq_tensors_free(&t);
	vq_diags_free(&d);
	return 0;
}
