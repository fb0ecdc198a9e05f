/*
 * fuzz_mat -- MATLAB's files
 */
#include <string.h>

#include "datasets/mat.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const char *const names[] = { "X", "y", "labels", NULL };
	struct vq_diags d = { 0 };
	struct vq_mat m;
	int64_t value;
	char *copy = vq_alloc(n + 1);

	memcpy(copy, bytes, n);
	vq_mat_take(&m, "x.mat", copy, n, names, &d);
	for (int i = 0; i < m.arrays; i++)
		for (int64_t k = 0; k < m.array[i].n; k++)
			vq_mat_whole(&m.array[i], k, 0, 255, &value);
	vq_mat_close(&m);
	vq_diags_free(&d);
	return 0;
}
