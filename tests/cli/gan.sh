#!/bin/sh
# Two updates in one stage, as a VQGAN has them: which parameters each reaches, when the second begins, what is told then,
# and that a stopped run goes on with the same bits of both.
. "${srcdir:-.}/tests/cli/harness.sh"

graphs=$src/graphs
small="features.source=digits features.size=16 features.channels=3 features.width=4 features.epochs=1
	features.stages.classifier.data.limit=256 features.stages.classifier.validate.data.limit=64
	width=32 codes=32 dim=8 steps=12 start=5 stages.tokenizer.data.limit=64 stages.tokenizer.data.batch=4
	stages.tokenizer.validate.data.limit=8 stages.tokenizer.log_every=1"

hash_of() {
	"$vqgraph" dump "$1" --hash
}

same() {
	[ "$(hash_of "$1")" = "$(hash_of "$2")" ] || { last=$3; fail "$1 and $2 differ"; }
}

# Rows of metrics.jsonl of a run in which a key occurs.
rows() {
	grep -c "\"$2\"" "runs/$1/metrics.jsonl"
}

# --- the features' net is made first; the discriminator begins at step 5 -----------
run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name whole
err "there is no finished run of"
err "from step 6 on minimizes gan_loss in place of loss, disc_loss: reconstructions may worsen for a while"
expect "what the discriminator tells stands in the 7 rows after its start" [ "$(rows whole logits_real)" -eq 7 ]
expect "and its weight" [ "$(rows whole weight)" -eq 7 ]
expect "the first loss is told in all, and of the test set" [ "$(rows whole loss)" -ge 13 ]

run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name share start=0.4
err "from step 6 on minimizes gan_loss"
same runs/whole runs/share "start=5 of 12 and start=0.4"

# --- stopped before, at and after the start, with other threads -----------------------
for at in 3 5 9; do
	run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name "cut$at" --max-steps "$at" -t 2
	run 0 run --resume "runs/cut$at" --stage tokenizer
	same runs/whole "runs/cut$at" "stopped after step $at"
done

# --- until it begins, no number of the discriminator changes, nor anything because of it -----
run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name early --max-steps 5
run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name never start=1000000 --max-steps 5
same runs/early runs/never "5 steps before the start"

# --- what is trained: entries that have gradients and no update, and a quantizer without any ------
no_warning() {
	! grep -q warning "$folder/.err" || fail "there is a warning"
}
book='modules.vq={codebook: {codes: $codes, dim: $dim}}'
run 0 check "$graphs/vqgan_cifar10.yaml" "$book"
err "warning: stage tokenizer: what is minimized has gradients for parameters that no update trains: vq.book. They stay as they are."
err "train: [vq]"
run 0 run "$graphs/vqgan_cifar10.yaml" $small "$book" --base features=runs/features_cifar10 --stage tokenizer --name book --max-steps 1
err "what is minimized has gradients for parameters that no update trains: vq.book"
run 0 check "$graphs/vqgan_cifar10.yaml" "$book" 'stages.tokenizer.updates.0.train=[enc, dec, vq]'
no_warning
run 0 check "$graphs/vqgan_cifar10.yaml"
no_warning
run 3 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.0.train=[enc, dec, vq]'
err "train: graph autoencode has no parameters of 'vq'"
err "nothing in vq is trained by gradient"
err "leave it out of train"
run 0 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.0.train=[dec]'
err "parameters that no update trains: enc.conv.0.weight, enc.conv.0.bias, enc.level1"
err " more. They stay"
run 0 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.0.train=[dec]' graphs.autoencode.steps.0='{enc: {}, frozen: true}'
no_warning

# --- gradients: each loss reaches its own half ----------------------------------------
npy image.npy "<f4" "(4, 16, 16, 3)" "$(awk 'BEGIN { for (i = 0; i < 4 * 16 * 16 * 3; i++) printf "\\000\\000%s\\%s", i % 3 ? "\\000" : "\\200", i % 7 < 3 ? "276" : "076" }')"
run 0 eval -q "$graphs/vqgan_cifar10.yaml" $small --graph autoencode --train --input image=image.npy --output disc_loss=- \
	--grad disc_loss:dec.last.weight=dec.npy --grad disc_loss:enc.conv.0.weight=enc.npy \
	--grad disc_loss:disc.patch_conv.0.weight=disc.npy
zeros() {
	[ -z "$(tail -c +129 "$1" | tr -d '\000')" ]
}
expect "disc_loss does not reach the decoder" zeros dec.npy
expect "disc_loss does not reach the encoder" zeros enc.npy
expect "disc_loss reaches the discriminator" [ "$(tail -c +129 disc.npy | tr -d '\000' | wc -c)" -gt 100 ]
run 0 eval -q "$graphs/vqgan_cifar10.yaml" $small --graph autoencode --train --input image=image.npy --output gan_loss=- \
	--grad gan_loss:dec.last.weight=dec.npy --grad gan_loss:features.net.fine.conv.0.weight=seen.npy
expect "gan_loss reaches the decoder" [ "$(tail -c +129 dec.npy | tr -d '\000' | wc -c)" -gt 100 ]
expect "gan_loss does not reach the net that measures" zeros seen.npy

# --- updates: in a step of both, neither sees what the other one makes ---------------------
# What of the graph does a run's first step leave the same?
after_one() {
	name=$1 value=$2
	shift 2
	run 0 run "$graphs/vqgan_cifar10.yaml" $small --stage tokenizer --name "$name" start=0 --max-steps 1 "$@"
	run 0 eval -q "$graphs/vqgan_cifar10.yaml" $small --params "runs/$name/checkpoints/last.safetensors" --graph autoencode \
		--input image=image.npy --output "$value=$name.npy"
}
after_one disc_alone real rate=0
after_one disc_both real
after_one disc_none real disc_rate=0
expect "the discriminator's step does not depend on the generator's" cmp -s disc_alone.npy disc_both.npy
expect "the discriminator has learned" [ "$(cmp -l disc_both.npy disc_none.npy | wc -l)" -gt 10 ]
after_one gen_alone recon disc_rate=0
after_one gen_both recon
after_one gen_none recon rate=0
expect "the generator's step does not depend on the discriminator's" cmp -s gen_alone.npy gen_both.npy
expect "the generator has learned" [ "$(cmp -l gen_both.npy gen_none.npy | wc -l)" -gt 10 ]

# --- the whole path: tokenizer, codes, prior, samples ------------------------------------------
run 0 run "$graphs/vqgan_cifar10.yaml" $small --name path prior_width=16 layers=1 heads=2 prior_epochs=1 \
	stages.codes.data.limit=128 stages.prior.data.batch=32 stages.samples.count=20
expect "samples are drawn" [ -s runs/path/samples/samples.png ]

# --- a masked prior over the same codes ----------------------------------------------------------
masked=
for word in $small; do
	masked="$masked vqgan.$word"
done
run 0 run "$graphs/masked_cifar10.yaml" $masked vqgan.prior_width=16 vqgan.layers=1 vqgan.heads=2 --base vqgan=runs/path --name masked width=16 layers=1 heads=2 epochs=1 \
	stages.codes.data.limit=128 stages.prior.data.batch=32 stages.samples.count=20 -t 2
expect "its samples are drawn" [ -s runs/masked/samples/samples.png ]
run 0 sample runs/masked -n 6 --steps 4 --top-k 8 --top-p 0.9 --class 3 --codes codes.npy -q
expect "16 codes of each" [ "$(wc -c <codes.npy)" -eq $((128 + 6 * 16 * 4)) ]
run 0 sample runs/masked --complete digits:test -n 2 --out completed.png -q

# --- what cannot be -----------------------------------------------------------------
run 3 check "$graphs/vqgan_cifar10.yaml" start=2.5
err "must be a step, or, between 0 and 1, a share of the steps; is 2.5"
run 3 check "$graphs/vqgan_cifar10.yaml" stages.tokenizer.updates.0.from=100 start=50
err "gan_loss begins before its update"
run 3 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.0.minimize={loss: 1, gan_loss: 2}'
err "the first loss is minimized from the update's beginning: 0"
run 3 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.1.report=[nothing]'
err "has no value 'nothing' for report"
run 3 check "$graphs/vqgan_cifar10.yaml" 'stages.tokenizer.updates.1.minimize={disc_los: 0, disc_loss: 0.6}'
err "has no value 'disc_los' for minimize"
err "there is a value with a similar name: disc_loss"

# --- numbers of the VQGAN that do not go together: told in its own terms, once -----------------------------
# wrong TEXT MODEL KEY=VALUE...: and nothing that follows from it is told
wrong() {
	text=$1
	shift
	run 3 check "$@"
	err "$text"
	expect "$* is told and nothing else" [ "$(grep -c 'error: ' "$folder/.err")" -eq "$(grep -cF -- "$text" "$folder/.err")" ]
}
gan=$graphs/vqgan_cifar10.yaml
wrong "height and width must be multiples of 4, 2 for each level after the first, and are 33 and 33" "$gan" size=33
wrong "no level has images of height attention = 7: of images of height size = 32 the first has 32, each next one half, and the last 8" \
	"$gan" modules.enc.vqgan_encoder.attention=7
wrong "of codes of height grid = 8 the first has 8, each next one twice that, and the last 32" "$gan" modules.dec.vqgan_decoder.attention=7
run 0 check "$gan" size=48
run 0 dump "$gan" size=48 --graph autoencode --origins
out "enc.level3.unit.0.attention"
wrong "levels are left out from the last one on, and the multipliers m1 to m6 are 1, 0, 2, 0, 0, 0" "$gan" modules.enc.vqgan_encoder.m2=0
wrong "b has h = 32, and a has 16" "$gan" modules.dec.vqgan_decoder.m3=0 perceptual=0
wrong "33 channels, which 32 groups do not divide" "$gan" width=33 'modules.dec.vqgan_decoder.width=32'
run 3 check "$gan" width=33
expect "what follows from the decoder's error is not told" [ "$(grep -c "there is no tensor" "$folder/.err")" -eq 0 ]
wrong "hinge is what the discriminator minimizes" "$gan" generator=hinge
wrong "least_squares is a pair: judge is least_squares, and generator neg" "$gan" judge=least_squares
wrong "least_squares is a pair: judge is hinge, and generator least_squares" "$gan" generator=least_squares
wrong "weights of losses are not negative, and perceptual is -1" "$gan" perceptual=-1
run 0 check "$gan" judge=least_squares generator=least_squares
wrong "mse does not fit: one input and nothing required is wanted" "$gan" pixels=mse
err "of: abs: L1; square: L2"
wrong "there is no op or block 'l2'" "$gan" pixels=l2
err "of: abs: L1; square: L2"
expect "mse, which does not fit, is not proposed" [ "$(grep -c mse "$folder/.err")" -eq 0 ]
wrong "a limit of 0 allows no weight but 0" "$gan" limit=0
run 0 check "$gan" factor=0
wrong "the perceptual net sees 3 channels, and channels is 1: set features.channels" "$gan" channels=1
run 0 check "$gan" channels=1 perceptual=0
run 0 check "$gan" features.channels=1

# --- one number for what stands in several places --------------------------------------------------------
run 3 check "$gan" start=-1
expect "one message" [ "$(grep 'error: ' "$folder/.err" | grep -vc 'must be a step, or, between 0 and 1, a share of the steps; is -1')" -eq 0 ]
run 3 check "$gan" 'range=[1, 0]'
err "range must be two numbers"
run 0 dump "$gan" 'range=[0, 1]' held=train --expand
out "range: [0, 1]"
expect "no stage has a range of its own" [ "$(grep -c 'range: \$range' "$folder/.out")" -eq 3 ]
run 4 run "$graphs/vqgan_256.yaml" --name none
err "my_pictures: No such file or directory"
err "say where the data lies"
expect "the picture folder of the repository is no default" [ ! -e "$graphs/my_pictures" ]
run 0 check "$graphs/vqgan_256.yaml" attention=0
run 3 check "$gan" stages.codes.splits='[train, train]'
err "the split train stands there twice"

# --- pictures in one flat folder: all are trained on -----------------------------------------------------
mkdir flat
for i in 0 1 2 3 4 5 6 7; do
	cp "$src/tests/fixtures/palette.png" "flat/$i.png"
done
run 4 run "$gan" $small --base features=runs/features_cifar10 source="$folder/flat/" conditional=false --name flat --stage tokenizer --max-steps 1
err "test is missing"
run 0 run "$gan" $small --base features=runs/features_cifar10 source="$folder/flat/" conditional=false held=train --name flat \
	prior_width=16 layers=1 heads=2 prior_epochs=1 stages.prior.data.batch=4 stages.samples.count=4
expect "codes of the one split are made" [ -f runs/flat/codes/train.code.npy ] && [ ! -e runs/flat/codes/test.code.npy ]
expect "and samples" [ -f runs/flat/samples/samples.png ]

# --- the summary shows what each block gives, not what gradients read of its inside ---------------------
run 0 dump "$gan" --graph autoencode
gives() {
	grep -qE "^$1 +$2 +$3( |\$)" "$folder/.out" || fail "$1 is not shown with $3"
}
gives dec vqgan_decoder 'f32\[32, 32, 32, 3\]'
gives pixel_loss pixel_loss f32
gives enc vqgan_encoder 'f32\[32, 8, 8, 32\]'
gives weight adaptive_weight f32
finish
