#!/bin/sh
# Steps whose values are computed again for gradients: less memory, the same bits.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >deep.yaml <<'END'
vqgraph: 1
use: [lib/nn]
let: {again: false, inner: false}
blocks:
  unit:
    in: {x: [n, h, w, c]}
    steps:
      - {conv: {x: x, out: 16, kernel: 3, pad: 1}}
      - {batch_norm: {}, recompute: $inner}
      - relu
      - {dropout: {p: 0.1}, if: $train}
      - {conv: {out: 16, kernel: 3, pad: 1}, as: y}
      - {add: {a: x, b: y}}
      - gelu
  tower:
    in: {x: [n, h, w, c]}
    steps:
      - {unit: {}, repeat: 6, recompute: $again}
modules:
  body: {tower: {}}
  first: {conv: {out: 16, kernel: 3, pad: 1}}
  last: {conv: {out: 1, kernel: 3, pad: 1}}
graphs:
  copy:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - first
      - body
      - {last: {}, as: recon}
      - {mse: {a: recon, b: image}, as: loss}
    out: [loss]
stages:
  copy:
    do: train
    graph: copy
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 16, shuffle: true, limit: 256}
    epochs: 1
END

hash_of() {
	"$vqgraph" dump "$1" --hash
}

# Bytes of the training step.
arena() {
	"$vqgraph" check deep.yaml "$@" --json | sed 's/.*"mode": "step"//; s/.*"arena_bytes": \([0-9]*\).*/\1/'
}

run 0 run deep.yaml --progress none --name plain
for how in again=true 'again=true inner=true' inner=true; do
	rm -rf runs/other
	# shellcheck disable=SC2086
	run 0 run deep.yaml $how --progress none --name other
	[ "$(hash_of runs/other)" = "$(hash_of runs/plain)" ] || fail "other bits with $how"
done
plain=$(arena)
again=$(arena again=true)
[ $((10 * again)) -lt $((6 * plain)) ] || fail "$again bytes with recompute, $plain without"
# Of steps within each other the outer one counts.
[ "$(arena again=true inner=true)" -eq "$again" ] || fail "a step within another changes what it takes"
# What is cheap is computed again unasked, and bench does without.
run 0 bench deep.yaml --batch 128 --steps 1 --warmup 0 --json
unasked=$(sed -n 's/.*"arena_bytes": \([0-9]*\).*/\1/p' .out)
run 0 bench deep.yaml --batch 128 --steps 1 --warmup 0 --json --no-recompute
kept=$(sed -n 's/.*"arena_bytes": \([0-9]*\).*/\1/p' .out)
[ $((10 * unasked)) -lt $((9 * kept)) ] || fail "$unasked bytes, $kept with --no-recompute"
run 0 dump deep.yaml --pass recompute --grad again=true
run 0 dump deep.yaml --expand
out "recompute: \$again"
run 3 check deep.yaml again=2
err "recompute"
finish
