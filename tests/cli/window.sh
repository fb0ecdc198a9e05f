#!/bin/sh
# Codes on a grid that is larger than the prior's window: trained on windows of larger pictures, drawn, completed, decoded.
. "${srcdir:-.}/tests/cli/harness.sh"

# payload FILE: what follows an npy's header, as numbers of four bytes
payload() {
	tail -c +129 "$1" | od -An -v -t d4 | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# Pictures of 24 x 24 in windows of 16 x 16: 6 x 6 codes, of which the prior sees 4 x 4.
set -- features.source=digits features.size=16 features.channels=3 features.width=4 features.epochs=1 \
	features.stages.classifier.data.limit=128 features.stages.classifier.validate.data.limit=64 picture=24 \
	width=32 codes=32 dim=8 steps=4 start=2 stages.tokenizer.data.limit=32 stages.tokenizer.data.batch=8 \
	stages.tokenizer.validate.data.limit=8 stages.codes.data.limit=96 stages.prior.data.batch=32 prior_epochs=3 \
	prior_width=16 layers=2 heads=2 stages.samples.count=10
run 0 run "$src/graphs/vqgan_cifar10.yaml" "$@" --name w
err "stage codes: train, code i32[96, 6, 6]"
head -c 128 runs/w/samples/samples.npy >header
expect "pictures as large as the whole ones" grep -q "(10, 24, 24, 3)" header

# Windows are the same in a run that was stopped.
run 0 run "$src/graphs/vqgan_cifar10.yaml" "$@" --name cut --base features=runs/features_cifar10 --max-steps 4 -t 2
run 0 run --resume runs/cut
expect "the same bits resumed" [ "$("$vqgraph" dump runs/w --hash)" = "$("$vqgraph" dump runs/cut --hash)" ]

# --- pictures without labels, and no classes --------------------------------------------
npy own.npy "|u1" "(32, 20, 28, 3)" "$(awk 'BEGIN { for (i = 0; i < 32 * 20 * 28 * 3; i++) printf "\\%03o", i * i % 251 }')"
run 0 run "$src/graphs/vqgan_cifar10.yaml" "$@" --base features=runs/features_cifar10 --name own source="$folder/own.npy" conditional=false \
	stages.codes.data.limit=0 prior_epochs=1
run 0 sample runs/own -n 2 --out own.png
run 2 sample runs/own -n 2 --class 1 --out own.png
err "stage samples has no classes"

# --- any grid ---------------------------------------------------------------------
run 0 sample runs/w --grid 5x9 -n 7 --out a.npy --codes a.codes.npy -t 2
err "wrote a.npy, f32[7, 20, 36, 3]"
err "wrote a.codes.npy, i32[7, 45]"
for how in "-b 1 -t 1" "-b 3 -t 2"; do
	# shellcheck disable=SC2086
	run 0 sample runs/w --grid 5x9 -n 7 --out b.npy --codes b.codes.npy $how -q
	expect "the same codes with $how" cmp -s a.codes.npy b.codes.npy
	expect "the same pictures with $how" cmp -s a.npy b.npy
done
run 0 sample runs/w --grid 5x9 -n 7 --codes b.codes.npy --seed 2 -q
expect "others with another seed" sh -c '! cmp -s a.codes.npy b.codes.npy'
run 0 sample runs/w --grid 4 -n 3 --codes a.codes.npy -q
run 0 sample runs/w -n 3 --codes b.codes.npy 'stages.samples.grid=[]' -q
expect "a window alone is what the prior draws without a grid" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/w --grid 30x4 -n 1 --out tall.png --guidance 3 --top-k 5 -q
expect "a tall picture" [ -s tall.png ]
run 0 sample runs/w --grid 5 -n 2 --codes a.codes.npy --precision bf16 -q
run 0 sample runs/w --grid 5 -n 2 --codes b.codes.npy --precision bf16 -b 1 -t 2 -q
expect "the same codes in bf16" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/w --grid 5 -n 2 --codes a.codes.npy --json
out '"length": 25, "tokens": 50'
run 0 bench "$src/graphs/vqgan_cifar10.yaml" "$@" --stage samples -b 2 --steps 1 --warmup 0 --json
out '"length": 36'

# --- completion of whole pictures ----------------------------------------------------
for seed in 1 2; do
	run 0 sample runs/w --complete digits:test -n 1 --keep 0.5 --out half.png --codes c$seed.npy --seed $seed --temperature 3 -q
	payload c$seed.npy >c$seed
done
expect "the upper three of six rows are kept" [ "$(cut -d ' ' -f -18 c1)" = "$(cut -d ' ' -f -18 c2)" ]
expect "the rest is drawn" [ "$(cut -d ' ' -f 19- c1)" != "$(cut -d ' ' -f 19- c2)" ]
run 3 sample runs/w --complete digits:test --grid 5 --out half.png
err "and stage samples draws 25 codes a picture"

# --- mistakes ---------------------------------------------------------------------------
for grid in 0 x 4x 4x5x6 -3 4,5 9000; do
	run 2 sample runs/w --grid=$grid --out x.png
	err "--grid wants rows and columns of codes from 1 to 8192, not '$grid'"
done

run 2 sample runs/w --grid 3x9 --out x.png
err "--grid 3x9 is smaller than the 4 x 4 codes that the prior of stage samples was trained on"
err "--grid 4x9 or larger, or no --grid for what the stage says"
run 2 sample runs/w --grid 3 --out x.png
err "--grid 4x4 or larger"
run 3 sample runs/w --out x.png 'stages.samples.grid=[3, 9]'
err "grid: 3 x 9 codes are fewer than the window's, 4 x 4"
run 2 sample runs/w --grid 8192 --out x.png
err "--grid 8192x8192: more than a million codes"
run 3 sample runs/w --out x.png 'stages.samples.grid=[8192]'
err "are more than a million codes"
# check TEXT KEY=VALUE...: what is told of keys that do not fit
check() {
	text=$1
	shift
	run 3 check "$src/graphs/vqgan_cifar10.yaml" "$@"
	err "$text"
}
check "grid: 7 x 8 codes are fewer than the window's, 8 x 8" 'stages.samples.grid=[7, 8]'
check "grid" 'stages.samples.grid=[8, 8, 8]'
check "window: 4 x 8 are 32 codes, and length is 64" 'stages.samples.window=[4, 8]'
check "grid: 63 codes are no square, so what part of a grid they are is not known" stages.samples.length=63
check "a window slides over a grid row by row, and the order is s_curve" stages.samples.order=s_curve 'stages.samples.grid=[9]'
check "graph decode wants 64 codes a picture (code is i32[32, 8, 8]), and grid is 9 x 9" 'stages.samples.grid=[9]' \
	'graphs.decode.in.code=i32[batch, 8, 8]' stages.samples.batch=32
err "an input i32[batch, rows, columns], with names in place of numbers, takes any grid"
check "has one size for several axes, and codes are 9 x 10" 'stages.samples.grid=[9, 10]' 'graphs.decode.in.code=i32[batch, n, n]'
check "graph decode is not the same net for 12 x 12 codes as for 8 x 8: only one of them has dec.unit.0.attention" \
	'stages.samples.grid=[12]' 'modules.dec={vqgan_level: {out: 32, blocks: 1, attention: 12}}' \
	'graphs.autoencode.steps.2={dec: {x: vq.quantized}, as: recon}'
err "is said for the height it was trained at by its grid, as in grid: 8"
check "no level has images of height attention = 8: of codes of height grid = 12 the first has 12" \
	'stages.samples.grid=[12]' 'modules.dec={vqgan_decoder: {channels: 3, width: 32, m1: 1, m2: 2, m3: 2, m4: 0, m5: 0, blocks: 0, attention: 8}}'
run 3 check "$src/graphs/masked_fashion.yaml" 'stages.samples.grid=[9]'
err "grid is of method: causal, and this stage's is masked"
run 3 run "$src/graphs/vqgan_cifar10.yaml" "$@" --name wide stages.prior.data.window=7
err "a window of 7 x 7 is larger than the grid of code"
finish
