#!/bin/sh
# Weights from a file that others wrote: every number finds its place, in the right order of axes, or the run ends.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >net.yaml <<'END'
vqgraph: 1
use: [lib/nn]
blocks:
  reader:
    in: {image: [n, h, w, c]}
    steps:
      - {conv: {out: 2, kernel: 3}, as: first}
      - relu
      - {conv: {out: 4, kernel: 2}, as: second}
      - batchnorm
      - global_mean
      - {linear: {out: 5}, as: head}
modules: {net: reader}
graphs:
  read:
    in:
      image: f32[batch, 6, 7, 3]
    steps:
      - {net: {}, as: y}
    out: [y]
  compare:
    in:
      image: f32[batch, 6, 7, 3]
      y: f32[batch, 5]
    steps:
      - {net: {image: image}, as: mine}
      - {mse: {a: mine, b: y}, as: off}
    out: [off]
stages:
  weights:
    do: load
    graph: read
    file: torch.safetensors
    layout: torch
    names:
      net.first: features.0
      net.second: features.2
      net.head: classifier
      net.batchnorm.0.scale: norm.weight
      net.batchnorm.0.shift: norm.bias
      net.batchnorm.0.mean: norm.running_mean
      net.batchnorm.0.variance: norm.running_var
    ignore: ["*.num_batches_tracked"]
END

# --- not there: told before anything is made -------------------------------------------------
run 0 check net.yaml
run 4 run net.yaml
err "there are no weights to load: torch.safetensors is not there"
err "looked for in data, too"
expect "no run" [ ! -e runs ]

# --- as PyTorch computes it -------------------------------------------------------------------
mkdir data
cp "$src/tests/fixtures/torch.safetensors" data/
run 0 run net.yaml
err "stage weights: 10 tensors, "
off() {
	run 0 eval "$1" -q --graph compare --params "$2/checkpoints/last.safetensors" \
		--input "image=$src/tests/fixtures/torch.image.npy" --input "y=$src/tests/fixtures/torch.y.npy" --output off=-
	expect "$2 computes what PyTorch does" awk -F'[:}]' '$2 + 0 < 1e-10 { good = 1 } END { exit !good }' .out
}
off net.yaml runs/net

# --- a model builds on it as on any other run; frozen, it stays as it is ------------------------
cat >user.yaml <<'END'
vqgraph: 1
use: [lib/nn, it: net]
modules: {last: {linear: {out: 1}}}
graphs:
  compare:
    in:
      image: f32[batch, 6, 7, 3]
      y: f32[batch, 5]
    steps:
      - {it.net: {image: image}, as: mine}
      - {mse: {a: mine, b: y}, as: off}
    out: [off]
  learn:
    in:
      image: f32[batch, 6, 7, 3]
    steps:
      - {it.net: {image: image}, frozen: true}
      - {last: {}}
      - {mean: {}, as: loss}
    out: [loss]
stages:
  s:
    do: train
    graph: learn
    updates: [{minimize: loss, optimizer: {adamw: {lr: 0.1, weight_decay: 0.5}}}]
    data: {source: digits, batch: 4, limit: 16, size: [6, 7], channels: 3}
    steps: 3
END
run 0 run user.yaml
off user.yaml runs/user
run 0 dump user.yaml --stage s
out "parameters   "
expect "only what is trained has an optimizer's state" [ "$("$vqgraph" dump user.yaml --stage s --format text | grep -c 'state optimizer')" -eq 4 ]

# --- everything is accounted for -----------------------------------------------------------------
run 5 run net.yaml 'stages.weights.ignore=[]' --name kept
err "data/torch.safetensors has norm.num_batches_tracked, for which graph read has no place"
err 'ignore: ["norm.num_batches_tracked"]'
sed 's/net.head: classifier/net.head: clasifier/' net.yaml >slip.yaml
run 5 run slip.yaml
err "data/torch.safetensors lacks clasifier.weight, which is net.head.weight f32[4, 5]"
err "names: {net.head.weight: ...} says what the file calls it"
err "slip.yaml:"
expect "no folder is left of an attempt" [ ! -e runs/slip ]
err "data/torch.safetensors has classifier.bias, for which graph read has no place"
sed 's/out: 5/out: 4/' net.yaml >narrow.yaml
run 5 run narrow.yaml
err "has classifier.bias as f32[5], and net.head.bias f32[4] cannot be made of it"
run 5 run net.yaml stages.weights.layout=plain --name plain
err "has features.0.weight as f32[2, 3, 3, 3], and net.first.weight f32[3, 3, 3, 2] cannot be made of it"
run 3 run net.yaml stages.weights.layout=keras --name keras
err "layout"

# --- numbers that are none ------------------------------------------------------------------------
cat >small.yaml <<'END'
vqgraph: 1
use: [lib/nn]
modules: {net: {linear: {out: 1, bias: false}}}
graphs:
  look:
    in:
      x: f32[batch, 2]
    steps:
      - {net: {}, as: y}
    out: [y]
stages:
  weights: {do: load, graph: look, file: small.safetensors, layout: torch}
END
# numbers DTYPE BYTES LAST: two of them, of as many bytes together; the second as printf has it
numbers() {
	header="{\"net.weight\":{\"dtype\":\"$1\",\"shape\":[1,2],\"data_offsets\":[0,$2]}}"
	printf "\\$(printf %03o ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header" >small.safetensors
	head -c $(($2 / 2)) /dev/zero >>small.safetensors
	# shellcheck disable=SC2059
	printf "$3" >>small.safetensors
}
numbers F32 8 '\000\000\300\177'
run 5 run small.yaml --name nan
err "small.safetensors: number 1 of net.weight is nan, which net.weight, f32, cannot hold"
expect "nothing is loaded" [ ! -e runs/nan/checkpoints/last.safetensors ]
numbers F32 8 '\000\000\200\377'
run 5 run small.yaml --name inf
err "number 1 of net.weight is -inf"
numbers F16 4 '\000\000'
run 5 run small.yaml --name half
err "has dtype F16, which is not known here"
err "small.yaml:"
err "v.float().contiguous()"
expect "no folder is left of it" [ ! -e runs/half ]
numbers F64 16 '\000\000\000\000\000\000\360\177'
run 5 run small.yaml --name inf64
err "number 1 of net.weight is inf"
numbers F64 16 '\000\000\000\000\000\000\360\176'
run 5 run small.yaml --name large
err "which net.weight, f32, cannot hold"
numbers F64 16 '\000\000\000\000\000\000\360\077'
run 0 run small.yaml --name good

head -c 700 "$src/tests/fixtures/torch.safetensors" >data/torch.safetensors
run 5 run net.yaml --name short
finish
