#!/bin/sh
# A training run of a few steps, and what is done with it after: encode, decode, reconstruct, bench.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

run 0 check tiny.yaml
out "step"
run 0 dump tiny.yaml --stage tok
out "backward"
out "batch 16"
run 0 dump tiny.yaml --stage tok --format svg --out step.svg
run 0 bench tiny.yaml --stage tok --steps 2 --warmup 1 --json
for key in step_ms median min max samples_per_s flops_per_step gflops roof_gflops share_of_roof arena_bytes \
	peak_rss_bytes threads isa precision; do
	out "\"$key\": "
done
expect "one line" [ "$(wc -l <.out)" -eq 1 ]
run 0 bench tiny.yaml --steps 1 --warmup 0 --batch 3 --profile
out '"batch": 3'
out "GFLOP/s"
out "roofs: "
expect "each kind of node has its bound" [ "$(grep -cE ' (arithmetic|memory|overhead) +[0-9]+ % of (arithmetic|memory)' .out)" -gt 5 ]
run 0 bench tiny.yaml --steps 1 --warmup 0 --batch 3 --profile --json
for key in copy_gb_per_s op nodes ms share gflops gb_per_s least_ms roof reached bound; do
	out "\"$key\": "
done
run 3 bench tiny.yaml --stage tock
err "tok"

run 0 run tiny.yaml --name a -q
silent
run 0 run tiny.yaml --name b -q
run 0 dump runs/a --hash
cp .out a.hash
expect "a hash of 16 digits" grep -qE '^[0-9a-f]{16}$' a.hash
run 0 dump runs/b --hash
expect "the same seed gives the same bits" cmp -s .out a.hash
expect "a row says how much of the time training waited for data" grep -qE '"split": "train".*"data_wait": [0-9.e-]+' \
	runs/a/metrics.jsonl
run 0 dump runs/a
out "graph autoencode"

# What is shown: several rows, a map of the codebook, the use of the codes; TensorBoard's files.
run 0 run tiny.yaml --name shown -q 'stages.tok.show={reconstructions: [recon, image], codebook: vq.table}'
for file in samples/tok-reconstructions-step-000004.png samples/tok-reconstructions.gif plots/tok-codebook.svg \
	plots/tok-codebook.png plots/tok-codes.svg tensorboard/tok-train/events.out.tfevents.vqgraph; do
	expect "$file" [ -s "runs/shown/$file" ]
done
expect "as many circles as codes" [ "$(grep -c '<title>code' runs/shown/plots/tok-codebook.svg)" -eq 8 ]

run 0 encode runs/a --data digits:test -n 20 --out codes.npy
err "codes.npy, i32[20]"
run 0 decode runs/a codes.npy --out decoded.npy
err "20 pictures"
run 0 reconstruct runs/a --data digits:test -n 20 --out recon.npy
err "mean squared error"
expect "decoding the codes gives the reconstructions" cmp -s decoded.npy recon.npy
run 0 reconstruct runs/a --data digits:test -n 9 --out recon.png
expect "a picture" grep -qa PNG recon.png
run 0 decode runs/a codes.npy --out decoded.png

npy bad.npy '<i4' '(2,)' '\001\000\000\000\010\000\000\000'
run 4 decode runs/a bad.npy --out x.png
err "element 1 is 8, and codes go from 0 to 7"
run 2 decode runs/a codes.npy --out x.gif
err "ends in .png or .npy"
run 3 encode runs/a --data digits:tset --out x.npy
err "tset"
run 3 encode runs/a --data dgits:test --out x.npy
run 2 encode tiny.yaml --data digits:test --out x.npy
err "has no weights"
run 3 encode runs --data digits:test --out x.npy
err "resolved.yaml"
# Validation that never improves: the learning rate falls, and not below its least.
cat >still.yaml <<'END'
vqgraph: 1
use: [lib/nn]
modules:
  net: {mlp: {hidden: 4, out: 10}}
graphs:
  classify:
    in:
      image: f32[batch, 28, 28, 1]
      label: i32[batch]
    steps:
      - flatten
      - {net: {}, as: logits}
      - {cross_entropy: {index: label}, as: loss}
    out: [loss]
stages:
  s:
    do: train
    graph: classify
    updates: [{minimize: loss, optimizer: {sgd: {lr: 1e-20}}, schedule: {plateau: {factor: 0.3, patience: 0, final: 0.25}}}]
    data: {source: digits, batch: 16, limit: 16}
    epochs: 4
    validate: {data: {source: digits, split: test, limit: 16}}
    log_every: 1
END
run 0 run still.yaml --name still -q
expect "a plateau" [ "$(grep -c '"lr": 1e-20' runs/still/metrics.jsonl)" -eq 4 ]
expect "falls" [ "$(grep -c '"lr": 3e-21' runs/still/metrics.jsonl)" -eq 2 ]
expect "to its least" [ "$(grep -c '"lr": 2.5e-21' runs/still/metrics.jsonl)" -eq 2 ]
finish
