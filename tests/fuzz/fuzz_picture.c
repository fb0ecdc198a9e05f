/*
 * fuzz_picture -- JPEG and PNG
 */
#include "datasets/picture.h"
#include "tests/fuzz/bytes.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct vq_decoder *k = vq_decoder_new();
	struct vq_picture p;
	char why[VQ_WHY];

	/* Large ones only take time. */
	if (vq_picture_head(k, bytes, n, &p, why) == 0 && p.h * p.w < 1 << 16)
		vq_picture_decode(k, bytes, n, &p, why);
	vq_decoder_free(k);
	return 0;
}
