#!/bin/sh
# A stage on other stages' data and another file's run: found, made, gone on with, refused.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >tok.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq]
let: {codes: 16, dim: 4, epochs: 1}
blocks:
  encoder:
    in: {image: [n, h, w, c]}
    steps:
      - conv: {out: 8, kernel: 4, stride: 4}
      - relu
      - conv: {out: $dim, kernel: 1}
  decoder:
    in: {z: [n, h, w, c]}
    steps:
      - convt: {out: 8, kernel: 4, stride: 4}
      - relu
      - conv: {out: 1, kernel: 1}
modules: {enc: encoder, dec: decoder, vq: {ema_codebook: {codes: $codes, dim: $dim}}}
graphs:
  autoencode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {dec: {z: vq.quantized}, as: recon}
      - {mse: {a: recon, b: image}, as: recon_loss}
      - {add: {a: recon_loss, b: vq.loss}, as: loss}
    out: [loss, recon_loss, recon, vq.code]
stages:
  vqvae:
    do: train
    graph: autoencode
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 32, shuffle: true, limit: 640}
    epochs: $epochs
    validate: {data: {source: digits, split: test, limit: 100}}
    codes: {vq.code: $codes}
    show: {reconstructions: recon}
END

cat >prior.yaml <<'END'
vqgraph: 1
use:
  - lib/nn
  - lib/transformer
  - tok: tok
let: {length: 49, width: 16}
modules:
  prior: {gpt: {vocab: $(tok.codes + 10), length: 49, width: $width, layers: 1, heads: 2}}
graphs:
  encode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - tok.enc
      - {tok.vq: {}, as: vq}
      - {reshape: {x: vq.code, shape: [$batch, 49]}, as: code}
    out: [code]
  teach:
    in:
      code: i32[batch, 49]
      label: i32[batch]
    steps:
      - {add: {a: label, b: $tok.codes}}
      - {reshape: {shape: [$batch, 1]}, as: start}
      - {slice: {x: code, axis: 1, stop: 48}, as: past}
      - {concat: {x: [start, past], axis: 1}, as: tokens}
      - {prior: {}, as: logits}
      - {cross_entropy: {index: code}, as: loss}
    out: [loss]
stages:
  codes: {do: encode, graph: encode, value: code, data: {source: digits, limit: 640}, splits: [train, test]}
  prior:
    do: train
    graph: teach
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {stage: codes, split: train, batch: 32, shuffle: true}
    epochs: 2
    validate: {data: {stage: codes, split: test}}
END

# The same in one file.
{
	sed 's/^use: .*/use: [lib\/nn, lib\/vq, lib\/transformer]/; s/^let: .*/let: {codes: 16, dim: 4, epochs: 1, length: 49, width: 16}/' tok.yaml |
		sed '/^graphs:/,$d; s/^\(modules: .*\)}$/\1, prior: {gpt: {vocab: $(codes + 10), length: 49, width: $width, layers: 1, heads: 2}}}/'
	sed -n '/^graphs:/,/^stages:/p' tok.yaml | sed '$d'
	sed -n '/^graphs:/,/^stages:/p' prior.yaml | sed '1d; $d; s/tok\.//g'
	sed -n '/^stages:/,$p' tok.yaml
	sed -n '/^stages:/,$p' prior.yaml | sed '1d'
} >two.yaml

hash_of() {
	"$vqgraph" dump "$1" --hash
}

# From nothing: the tokenizer first, its codes once, then the prior.
run 0 run prior.yaml --progress none
err "there is no finished run of tok.yaml in runs: it is trained first"
err "stage codes: train, code i32[640, 49]"
err "done: runs/prior"
[ -s runs/prior/codes/train.code.npy ] && [ -s runs/prior/codes/test.label.npy ] || fail "no arrays of codes"

# Evaluated by itself: the codes that the run keeps give what the last validation said.
run 0 evaluate runs/prior --json
out '"data": "codes:test"'
loss=$(sed -n 's/.*"val".*"loss": *\([^,}]*\).*/\1/p' runs/prior/metrics.jsonl | tail -n 1)
expect "the loss of validation" awk -v a="$loss" -v b="$(sed 's/.*"loss": \([^,}]*\).*/\1/' .out)" \
	'BEGIN { exit !(a > 0 && (a - b) ^ 2 < 1e-10) }'
run 4 evaluate runs/prior --data digits:test
err "digits has no code, and nothing that graph teach reports can be had without it"
run 2 evaluate runs/prior --stage codes
err "stage codes neither trains nor evaluates"

# Again: the tokenizer's run is found.  Killed on the way and resumed: the same bits, encoded once.
run 0 run prior.yaml --progress none --name again --max-steps 13
err "tok is runs/tok"
[ ! -e runs/tok-2 ] || fail "the tokenizer was trained twice"
run 0 run --resume runs/again --progress none
err "stage codes: train is there already"
err "stage codes: test is there already"
[ "$(hash_of runs/again)" = "$(hash_of runs/prior)" ] || fail "resumed, it has other bits"

# What was removed or altered is made again.
printf 'x' >>runs/again/codes/train.code.npy
rm runs/again/codes/test.label.npy
run 0 run --resume runs/again --progress none stages.prior.epochs=3
err "stage codes: train, code"
err "stage codes: test, code"
[ "$(wc -c <runs/again/codes/train.code.npy)" -eq "$(wc -c <runs/prior/codes/train.code.npy)" ] || fail "the altered array is there still"

# Two at once that want the same tokenizer: one trains it.
"$vqgraph" run prior.yaml tok.epochs=8 --out both --name one --progress none 2>one.err &
pid=$!
run 0 run prior.yaml tok.epochs=8 --out both --name two --progress none
wait $pid || fail "the one of two ended with $?"
[ -d both/tok ] && [ ! -e both/tok-2 ] || fail "the tokenizer was trained twice"
[ "$(hash_of both/one)" = "$(hash_of both/two)" ] || fail "the two have other bits"
[ -z "$(find both -name '.*.lock')" ] || fail "a lock was left"

# One that trains by itself is waited for; a signal ends the waiting.
"$vqgraph" run tok.yaml epochs=4000 --out long -q 2>one.err &
pid=$!
until [ -s long/tok/metrics.jsonl ]; do sleep 0.1; done
: >.err		# what the last one said must not be taken for what this one says
"$vqgraph" run prior.yaml tok.epochs=4000 --out long 2>.err &
waiting=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	grep -q . .err && break
	sleep 0.2
done
kill -TERM $waiting
wait $waiting
[ $? -eq 143 ] || fail "SIGTERM must end the waiting with 143"
err "another process trains tok.yaml: this one waits for it"
kill -KILL $pid
wait $pid 2>/dev/null

# A number of the tokenizer, set through its alias, makes another tokenizer.
run 0 run prior.yaml tok.codes=8 --name eight --max-steps 3 --progress none
err 'runs/tok is of another model: it has `codes: 16`, this one `codes: 8`'
err "stage vqvae: stopped after step 3 of 20"
[ -d runs/tok-2 ] || fail "no run of the other tokenizer"
run 0 run prior.yaml tok.codes=8 --name eight --progress none
err "runs/tok-2 has not come to its end: it goes on first"
run 0 check prior.yaml tok.codes=8
# What only encodes or evaluates is judged, too.
cat prior.yaml - >judged.yaml <<'END'
  final: {do: evaluate, graph: teach, data: {stage: codes, split: test}, report: [loss]}
END
run 0 check judged.yaml
run 3 check judged.yaml 'stages.final.report=[los]'
err "graph teach has no value 'los' for report"
run 3 check judged.yaml stages.final.graph=teech
run 3 check judged.yaml stages.codes.value=cod
run 3 check judged.yaml stages.codes.data.source=digts
run 3 check prior.yaml tok.codez=8
err "there is one with a similar name: codes"

# A chosen run that does not fit, or is none; an alias that is none.
run 5 run prior.yaml --base tok=runs/tok-2 --name other
err "runs/tok-2 does not fit: vq.book of graph autoencode is f32[8, 4] there, and f32[16, 4] in what is built on it"
run 5 run prior.yaml --base tok=runs/nowhere --name other
run 2 run prior.yaml --base tik=runs/tok --name other
err "it builds on tok (tok.yaml)"
run 0 run prior.yaml --base tok=runs/tok --name other --max-steps 1 --progress none
# Weights of the same shapes, another grid of codes; and another model that fits, which is told.
sed 's/stride: 4/stride: 2, pad: 1/' tok.yaml >grid.yaml
run 0 run grid.yaml -q
run 5 run prior.yaml --base tok=runs/grid --name other
err "runs/grid does not fit: enc of graph autoencode is f32[1, 14, 14, 4] there, and f32[1, 7, 7, 4] in what is built on it"
sed 's/- relu/- silu/' tok.yaml >act.yaml
run 0 run act.yaml -q
run 0 run prior.yaml --base tok=runs/act --name other --max-steps 1 --progress none
err 'runs/act is of another model: it has `- {silu: {}}`, this one `- {relu: {}}`; its weights fit and are taken'
# A graph that takes other sizes than it did has its variables compared; what differs is said, and what to do.
mkdir before
sed 's/^stages:/  decode:\n    in:\n      code: i32[batch, 49]\n    steps: [{lookup: {table: vq.book, index: code}, as: z}]\n    out: [z]\nstages:/' tok.yaml >before/tok.yaml
sed 's/i32\[batch, 49\]/i32[batch, rows, columns]/' before/tok.yaml >before/free.yaml
sed 's/tok: tok/tok: free/' prior.yaml >before/prior.yaml
run 0 run before/tok.yaml -q --name before stages.vqvae.data.limit=320
run 0 run before/prior.yaml --base tok=runs/before --name other --max-steps 1 --progress none
err 'runs/before is of another model: '
err '; its weights fit and are taken'
run 5 run prior.yaml --base tok=runs/grid --name other
err "note: that run is of another model than tok.yaml: it has "
err "help: tok.NAME=VALUE sets what that run had set; or a run that starts from its weights: vqgraph run tok.yaml --init-from runs/grid/"
# More tokens than positions; fewer tokens than the tokenizer has codes.
sed 's/length: 49, width: \$width/length: 40, width: $width/' prior.yaml >short.yaml
run 3 run short.yaml --name other
err "position_embedding: length must be at least 49, is 40"
sed 's/tok.codes + 10/6 + 10/' prior.yaml >few.yaml
run 4 run few.yaml --base tok=runs/tok --name other --progress none
err "is not one that graph teach takes: 0 to "
cp runs/tok/checkpoints/best.safetensors cut
head -c 1000 cut >runs/tok/checkpoints/best.safetensors
run 5 run prior.yaml --name other
cp cut runs/tok/checkpoints/best.safetensors

# Data of a stage that is none, comes later, or lacks the split.
run 3 run prior.yaml stages.prior.data.stage=cods
err "there is no stage 'cods' that encodes"
run 3 run prior.yaml stages.prior.data.split=val
err "stage codes does not encode the split val"
run 3 run prior.yaml stages.prior.data.source=digits
err "either source or stage, not both"
run 3 run prior.yaml 'stages.codes.splits=[train, train]'
err "stands there twice"
run 3 run prior.yaml stages.codes.value=cod
run 3 run prior.yaml 'stages.codes.splits=[train, nix]'

# Stopped before the first step of training, it can be resumed.
run 0 run prior.yaml --name early --stage codes --progress none
run 0 run --resume runs/early --progress none
[ "$(hash_of runs/early)" = "$(hash_of runs/prior)" ] || fail "resumed from its beginning, it has other bits"
# A limit of steps stops the run where it says, and going on does what is left of that stage first: the same bits.
run 0 run two.yaml --name whole --progress none
run 0 run two.yaml --name steps --progress none --max-steps 13
err "stage vqvae: stopped after step 13 of 20"
err "vqgraph run --resume runs/steps goes on from there"
err "stopped: runs/steps"
[ ! -e runs/steps/codes ] || fail "stages that follow were done"
run 0 run --resume runs/steps --progress none --max-steps 20 --stage prior
err "stage vqvae: 640 samples of built in, 20 steps of 32, arena"
err "stage prior: stopped after step 20 of 40"
err "stopped: runs/steps"
run 2 run --resume runs/steps --progress none --stage vqvae
err "--stage vqvae: runs/steps has that stage behind it, it is at step 20 of stage prior"
run 0 run --resume runs/steps --progress none
err "done: runs/steps"
[ "$(hash_of runs/steps)" = "$(hash_of runs/whole)" ] || fail "stopped in its first stage, it has other bits"
run 0 run two.yaml --name first --stage vqvae --progress none
err "done: runs/first, of its stages only vqvae"
# What only a later stage has takes no room before: the checkpoint is that of the tokenizer's file, and so is its memory.
expect "a checkpoint of what was reached" [ "$(hash_of runs/first)" = "$(hash_of runs/tok)" ]
memory_of() {	# FILE STAGE
	"$vqgraph" check "$1" --json | awk -v RS='{' -v stage="\"name\": \"$2\", \"mode\": \"step\"" 'index($0, stage)' |
		sed 's/.*"memory_bytes": *\([0-9]*\).*/\1/'
}
expect "the first stage's memory is its own" [ "$(memory_of two.yaml vqvae)" -eq "$(memory_of tok.yaml vqvae)" ]
run 0 check two.yaml
out "memory of stage prior, batch 32: "
out "optimizer; of stages before "
# What the first stage's data means for later stages is told before it is trained; what helps is kept by the run.
late() {	# TEXT KEY=VALUE...
	text=$1
	shift
	rm -rf runs/late
	run 4 run two.yaml --name late --progress none "$@"
	err "$text"
	grep -q "steps of 32" .err && fail "the first stage was trained before"
}
late "stage prior will have 60 samples of digits, fewer than one batch of 128" stages.codes.data.limit=60 stages.prior.data.batch=128
err "stages.prior.data.batch=24, or more samples"
run 0 run two.yaml --name kept --progress none --max-steps 3
run 0 run --resume runs/kept --progress none --max-steps 4 stages.prior.epochs=1
run 0 run --resume runs/kept --progress none
err "stage prior: 640 samples of runs/kept/codes/, 20 steps of 32"
npy own.npy "|u1" "(64, 28, 28, 1)" "$(awk 'BEGIN { for (i = 0; i < 64 * 28 * 28; i++) printf "\\%03o", i * i % 251 }')"
set -- "stages.vqvae.data.source=$folder/own.npy" "stages.codes.data.source=$folder/own.npy" 'stages.codes.splits=[train]' \
	stages.prior.validate.data.split=train stages.vqvae.data.limit=0 stages.codes.data.limit=0
late "graph teach of stage prior has an input 'label', and the labels of $folder/own.npy are missing" "$@"
err "where the steps that read it have an \`if\`"
npy own.label.npy "<i4" "(64,)" "$(awk 'BEGIN { for (i = 0; i < 64; i++) printf "\\%03o\\000\\000\\000", i % 3 }')"
sed 's/^let: {/let: {kinds: 2, /; /^stages:/,$d' two.yaml >drawn.yaml
cat >>drawn.yaml <<'END'
  next:
    in:
      token: i32[batch, time]
    steps: [{prior: {}, as: logits}]
    out: [logits]
  decode:
    in:
      code: i32[batch, 49]
    steps:
      - {lookup: {table: vq.book, index: code}}
      - {reshape: {shape: [$batch, 7, 7, $dim]}}
      - {dec: {}, as: recon}
    out: [recon]
END
sed -n '/^stages:/,$p' two.yaml >>drawn.yaml
cat >>drawn.yaml <<'END'
  samples: {do: sample, graph: next, start: $codes, classes: $kinds, null: $(codes + kinds), length: 49, codes: $codes, count: 6, decode: {graph: decode, value: recon}}
END
run 4 run drawn.yaml --name late --progress none "$@"
err "own.npy has 3 classes, and stage samples 2: class 2 would be learned as no class at all (null)"
err "what makes \`\$kinds\` there must be the data's 3"
run 0 run drawn.yaml --name more --progress none --max-steps 1 kinds=5 "$@"
err "stage samples draws 5 classes, and $folder/own.npy has 3: nothing is learned of the others"
# Nothing is drawn with what was never trained.
run 2 sample runs/more --out x.png
err "stage samples reads prior."
err ", which stage prior trains, and runs/more has not come to that"
err "vqgraph run --resume runs/more goes on"
run 2 run --resume runs/more --stage samples --progress none
err ", which stage prior trains, and this run has not"
err "without --stage it is trained first"
run 0 run --resume runs/more --progress none --max-steps 3
run 0 sample runs/more -n 2 --out x.png
# The best of a stage that is behind is not what is taken, though the stage after it has none of its own yet.
[ -f runs/more/checkpoints/best.safetensors ] || fail "the tokenizer's best is not there"
# What an encoding stage makes has a type that is known with the file.
run 3 check two.yaml 'graphs.encode.steps.2.reshape.shape=[$batch, 7, 7]'
err "input 'code' is i32[32, 49], but the data codes gives i32[32, 7, 7]"
err "stage codes encodes it by graph encode"
run 3 check "$src/graphs/vqgan_cifar10.yaml" modules.enc.vqgan_encoder.m4=2 modules.dec.vqgan_decoder.m4=2 modules.dec.vqgan_decoder.grid=4
err "data: a window of 8 x 8 is larger than the grid of code of stage codes, 4 x 4"
run 0 check "$src/graphs/vqgan_cifar10.yaml" picture=64
out "stage prior is trained on windows of 8 x 8 of the 16 x 16 code of stage codes"
# What a run builds on is made whole, too.
run 0 run prior.yaml tok.codes=12 --name limited --progress none --max-steps 10
err "tok is not finished, so nothing is built on it yet; the same command without --max-steps goes on"
run 0 run prior.yaml tok.codes=12 --name limited --progress none
err "has not come to its end: it goes on first"
err "done: runs/limited"
# One stage alone, with what makes its data.
run 0 run prior.yaml --name alone --stage prior --progress none --max-steps 2
err "stage codes: train, code"

finish
