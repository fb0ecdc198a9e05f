#!/bin/sh
# The systems that graphs/ rebuilds: as many parameters as the originals have, and any data set by override.
. "${srcdir:-.}/tests/cli/harness.sh"

parameters() {
	want=$1
	shift
	run 0 dump "$@"
	expect "$want parameters" grep -qE "^parameters +$want \(" .out
}

graphs=$src/graphs
parameters 971,753 "$graphs/resnet_vqvae_fashion.yaml" --graph autoencode
parameters 292,480 "$graphs/resnet_prior_fashion.yaml" --graph foretell
parameters 292,480 "$graphs/resnet_prior_fashion.yaml" --graph foretell conditional=false
parameters 11,695,137 "$graphs/vqvae_transformer.yaml" --graph autoencode
out "state        16,641"		# 256 x 32 entries, as many sums, 256 counts, a weight
parameters 11,711,523 "$graphs/vqvae_transformer.yaml" --graph autoencode channels=3
parameters 1,394,369 "$graphs/vqvae_transformer.yaml" --graph foretell
parameters 8,593 "$graphs/vqvae_fashion_small.yaml" --graph autoencode
parameters 5,843,275 "$graphs/prior_fashion_small.yaml" --graph foretell
# What tests/oracle/vqgan_256.py counts in PyTorch: enc 29,363,968, dec 42,515,587, disc 2,765,633, VGG16 14,716,160, and the entries.
parameters 89,623,492 "$graphs/vqgan_256.yaml" --graph autoencode
parameters 303,098,880 "$graphs/vqgan_256.yaml" --graph foretell codes=128
parameters 304,933,888 "$graphs/vqgan_256.yaml" --graph foretell

# Weight decay where the original has it: on all 54 parameters; on none.
run 0 dump "$graphs/resnet_prior_fashion.yaml" --stage prior --format json
expect "decay on all" [ "$(grep -o '"weight_decay": "0.01"' .out | wc -l)" -ge 54 ]
expect "decay on all" [ "$(grep -o '"weight_decay": "0"' .out | wc -l)" -eq 0 ]
run 0 dump "$graphs/prior_fashion_small.yaml" --stage prior --format json
expect "decay on none" [ "$(grep -o '"weight_decay": "0"' .out | wc -l)" -ge 116 ]

# System 1 takes any source, size and number of channels; other pictures, other grid, other length.
run 0 dump "$graphs/vqvae_transformer.yaml" --graph foretell source=cifar10 channels=3 size=64
out "i32[32, 256]"
run 0 run "$graphs/vqvae_transformer.yaml" source=digits channels=3 size=16 width=8 stages.vqvae.data.batch=4 \
	stages.vqvae.validate.data.limit=4 --stage vqvae --max-steps 1 --name digits
run 0 dump runs/digits --graph autoencode
out "f32[4, 16, 16, 3]"
run 4 run "$graphs/vqvae_transformer.yaml" source=bloodmnist channels=3 --stage vqvae
err "bloodmnist"
run 4 run "$graphs/vqvae_transformer.yaml" source=nowhere/pictures --stage vqvae
err "nowhere/pictures"
finish
