#!/bin/sh
# Runs and what they are made from: gone on with, begun again, built on, started from.
. "${srcdir:-.}/tests/cli/harness.sh"

mkdir model
npy model/set.npy '|u1' '(4, 2, 2)' '\001\002\003\004\005\006\007\010\011\012\013\014\015\016\017\020'
cat >model/copy.yaml <<'END'
vqgraph: 1
use: [lib/nn]
let: {epochs: 4}
modules: {body: {conv: {out: 1, kernel: 1}}}
graphs:
  copy:
    in:
      image: f32[batch, 2, 2, 1]
    steps:
      - {body: {}, as: recon}
      - {mse: {a: recon, b: image}, as: loss}
    out: [loss, recon]
stages:
  copy:
    do: train
    graph: copy
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-2}}}]
    data: {source: ./set.npy, batch: 2, shuffle: true}
    epochs: $epochs
END
sed 's/body: {conv: {out: 1, kernel: 1}}/other: {conv: {out: 1, kernel: 1}}/; s/- {body: {}/- {other: {}/' model/copy.yaml >model/other.yaml
cat >model/on.yaml <<'END'
vqgraph: 1
use: [lib/nn, first: copy]
modules: {more: {conv: {out: 1, kernel: 1}}}
graphs:
  again:
    in:
      image: f32[batch, 2, 2, 1]
    steps:
      - first.body
      - {more: {}, as: recon}
      - {mse: {a: recon, b: image}, as: loss}
    out: [loss]
stages:
  again:
    do: train
    graph: again
    updates: [{minimize: loss, train: [more], optimizer: {adam: {lr: 1e-2}}}]
    data: {source: ./set.npy, batch: 2}
    epochs: 1
END

hash_of() {
	"$vqgraph" dump "$1" --hash
}

# Paths in a model file start at that file, wherever the run and the user are.
run 0 run model/copy.yaml --progress none
whole=$(hash_of runs/copy)
run 0 run model/copy.yaml --progress none --name part --max-steps 3
run 0 run --resume runs/part --progress none
[ "$(hash_of runs/part)" = "$whole" ] || fail "resumed, it has other bits"
run 0 evaluate runs/part
run 0 run model/copy.yaml --progress none --name other_place --max-steps 3
(cd model && "$vqgraph" run --resume ../runs/other_place --progress none) 2>.err || fail "it cannot be resumed from elsewhere"

# The file beside --resume, and the seed, must be the run's.
run 0 run model/copy.yaml --resume runs/part epochs=5 --progress none
run 2 run model/other.yaml --resume runs/part
err "runs/part is a run of"
run 2 run model/none.yaml --resume runs/part
run 2 run --resume runs/part --seed 9
err "has the seed 1: a run goes on with its own"

# Killed before anything was saved: it begins again.
run 0 run model/copy.yaml --progress none --name killed --max-steps 1
rm runs/killed/checkpoints/*
run 0 run --resume runs/killed --progress none
[ "$(hash_of runs/killed)" = "$whole" ] || fail "begun again, it has other bits"
[ "$(grep -c '"step": *1[,}]' runs/killed/metrics.jsonl)" -le 1 ] || fail "rows are there twice"

# What is built on must have the weights.
run 0 run model/other.yaml --progress none --name other
run 0 run model/on.yaml --progress none --base first=runs/copy --name fits
err "first is runs/copy"
run 0 run model/copy.yaml --progress none --name young --max-steps 1
run 0 run model/on.yaml --progress none --base first=runs/young --name on_young
err "first is runs/young, which has not come to its end"
run 5 run model/on.yaml --progress none --base first=runs/other
err "runs/other does not fit: it lacks 2 of the 2 weights that are built on as first, as body"
run 5 run model/on.yaml --progress none --base first=runs/fits
run 2 run model/on.yaml --base first=runs/copy --base first=runs/young
err "there is --base first=runs/copy already"
run 2 run model/copy.yaml --base first=runs/copy
err "the model builds on no such file"

# What a run starts from must have some.
run 0 run model/copy.yaml --progress none --name warm --init-from runs/copy/checkpoints/last.safetensors
err "2 of the model's 2 weights are from runs/copy/checkpoints/last.safetensors"
run 5 run model/other.yaml --progress none --init-from runs/copy/checkpoints/last.safetensors
err "has none of the model's 2 weights"

# One name for two files.
sed 's/first: copy\]/first: copy, first: other]/' model/on.yaml >model/twice.yaml
run 3 check model/twice.yaml
err "there is an alias first already"

# What is missing for several stages is told once, before anything is made.
run 4 run "$src/graphs/vqvae_cifar10.yaml" --name missing
err "the data of 'cifar10' (train) is not on this machine"
expect "it is told once" [ "$(grep -c 'is not on this machine' .err)" -eq 1 ]
[ ! -e runs/missing ] || fail "a run was left"

finish
