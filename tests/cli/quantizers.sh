#!/bin/sh
# Every line of the table of quantizers in graphs/README.md: trains, counts its codes, and decodes them.
. "${srcdir:-.}/tests/cli/harness.sh"

# The code spans of a row: the quantizer, how many codes, the steps from code to vectors.
rows() {
	sed -n 's/^| `\([a-z_]*: {.*}\)` | .* | `\([^`]*\)` | `\(.*\)` |$/\1@\2@\3/p' "$src/graphs/README.md"
}

model() {
	case $1 in codebooks*) code='i32[batch, 7, 7, 4]' ;; *) code='i32[batch, 7, 7]' ;; esac
	cat <<END
vqgraph: 1
use: [lib/keras, lib/vq]
let: {codes: 16, dim: 4}
modules:
  enc: {conv: {out: \$dim, kernel: 4, stride: 4}}
  dec: {convt: {out: 1, kernel: 4, stride: 4}}
  vq: {$1}
graphs:
  autoencode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {dec: {x: vq.quantized}, as: recon}
      - {mse: {a: recon, b: image}, as: recon_loss}
      - {add: {b: vq.loss}, as: loss}
    out: [loss, recon]
  encode:
    in:
      image: f32[batch, 28, 28, 1]
    steps: [enc, {vq: {}, as: vq}]
    out: [code: vq.code]
  decode:
    in:
      code: $code
    steps: [$3, {dec: {}, as: recon}]
    out: [recon]
stages:
  s:
    do: train
    graph: autoencode
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 8, shuffle: true}
    steps: 6
    report: [loss, recon_loss]
    codes: {vq.code: $2}
    show: {reconstructions: recon}
END
}

rows >rows
expect "the table is found" [ "$(wc -l <rows)" -ge 13 ]
n=0
while IFS='@' read -r quantizer codes steps; do
	n=$((n + 1))
	model "$quantizer" "$codes" "$steps" >"q$n.yaml"
	run 0 run "q$n.yaml" -q
	silent
	expect "$quantizer: use is counted" grep -q '"codes_used": [1-9]' "runs/q$n/metrics.jsonl"
	expect "$quantizer: perplexity" grep -q '"perplexity": [1-9]' "runs/q$n/metrics.jsonl"
	run 0 reconstruct "runs/q$n" --data digits:test -n 8 --out "whole$n.npy"
	run 0 encode "runs/q$n" --data digits:test -n 8 --out "code$n.npy"
	run 0 decode "runs/q$n" "code$n.npy" --out "parts$n.npy"
	expect "$quantizer: decoding the codes gives the reconstructions" cmp -s "whole$n.npy" "parts$n.npy"
done <rows
finish
