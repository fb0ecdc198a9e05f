#!/bin/sh
# Priors of masked tokens: when each token is fixed, what is given, the same samples, what is refused.
. "${srcdir:-.}/tests/cli/harness.sh"

# payload FILE: what follows an npy's header, as numbers of four bytes
payload() {
	tail -c +129 "$1" | od -An -v -t d4 | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# --- schedules -----------------------------------------------------------------

# A model that tells when: the likeliest code is the number of masks that are still there, and its
# probability grows with the position.
cat >count.yaml <<'END'
vqgraph: 1
use: [lib/nn]
let: {codes: 52, mask: 51, length: 49}
modules: {dec: {linear: {out: 1}}}
graphs:
  reveal:
    in:
      token: i32[batch, $length]
    steps:
      - {equal: {a: token, b: $mask}}
      - {cast: {to: f32}}
      - {sum: {axes: [1]}}
      - {cast: {to: i32}, as: masks}
      - {one_hot: {size: $codes}}
      - {reshape: {shape: [$batch, 1, $codes]}, as: hot}
      - {positions: {x: token, axis: 1}}
      - {cast: {to: f32}}
      - {affine: {scale: 0.1, offset: 1}}
      - {reshape: {shape: [1, $length, 1]}}
      - {mul: {b: hot}, as: logits}
    out: [logits]
  encode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {avg_pool2d: {kernel: 4}}
      - {mul: {b: 20}}
      - {add: {b: 0.5}}
      - {cast: {to: i32}}
      - {reshape: {shape: [$batch, $length]}, as: code}
    out: [code]
  decode:
    in:
      code: i32[batch, 7, 7]
    steps:
      - {cast: {to: f32}}
      - {reshape: {shape: [$batch, 7, 7, 1]}}
      - {dec: {}}
      - {resize: {height: 28, width: 28}, as: picture}
    out: [picture]
  paint:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {dec: {x: image}}
      - {mse: {b: image}, as: loss}
    out: [loss]
stages:
  codes: {do: encode, graph: encode, value: code, data: {source: digits, split: test, limit: 8}}
  paint:
    do: train
    graph: paint
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, batch: 8}
    steps: 1
  samples:
    do: sample
    method: masked
    graph: reveal
    mask: $mask
    length: $length
    temperature: 0
    choice_temperature: 0
    decode: {graph: decode, value: picture}
    count: 3
END
run 0 check count.yaml
out "drawing"
run 0 run count.yaml --name count -q

# expected MASKS COUNTS...: the codes that come when so many masks are left after each step, last places first
expected() {
	masks=$1
	list=
	shift
	for left in "$@"; do
		i=$left
		while [ "$i" -lt "$masks" ]; do
			list="$list $i:$masks"
			i=$((i + 1))
		done
		masks=$left
	done
	echo "$list" | tr ' ' '\n' | grep : | sort -n | cut -d : -f 2 | tr '\n' ' ' | sed 's/ $//'
}

# By hand: 49 times cos(pi i / 16), arccos(i / 8) 2 / pi, 1 - i / 8, rounded down.
run 0 sample runs/count -n 1 --codes c.npy -q
expect "cosine, 8 steps" [ "$(payload c.npy)" = "$(expected 49 48 45 40 34 27 18 9 0)" ]
run 0 sample runs/count -n 1 --codes c.npy -q stages.samples.schedule=arccos
expect "arccos, 8 steps" [ "$(payload c.npy)" = "$(expected 49 45 41 37 32 27 22 15 0)" ]
run 0 sample runs/count -n 1 --codes c.npy -q stages.samples.schedule=linear
expect "linear, 8 steps" [ "$(payload c.npy)" = "$(expected 49 42 36 30 24 18 12 6 0)" ]
run 0 sample runs/count -n 1 --codes c.npy -q --steps 2
expect "cosine, 2 steps" [ "$(payload c.npy)" = "$(expected 49 34 0)" ]
run 0 sample runs/count -n 1 --codes c.npy -q --steps 1
expect "one step" [ "$(payload c.npy)" = "$(expected 49 0)" ]
# With noise it is as many tokens at each step, and others.
run 0 sample runs/count -n 1 --codes c.npy -q --choice-temperature 3
expect "as many" [ "$(payload c.npy | tr ' ' '\n' | sort -n | uniq -c | awk '{ print $1 ":" $2 }' | tr '\n' ' ')" = \
	"9:9 9:18 9:27 7:34 6:40 5:45 3:48 1:49 " ]
expect "others" [ "$(payload c.npy)" != "$(expected 49 48 45 40 34 27 18 9 0)" ]

# --- completion -------------------------------------------------------------------

# Two of seven rows are given: 35 codes are drawn, by a schedule of their own.  The first two lines of
# windows do not reach what is painted over, so they are those of the whole pictures.
given=$(payload runs/count/codes/test.code.npy | cut -d ' ' -f -98)
run 0 sample runs/count --complete digits:test -n 2 --keep 0.286 --codes c.npy --out c.png -q
for i in 1 2; do
	one=$(payload c.npy | cut -d ' ' -f $((49 * i - 48))-$((49 * i)))
	expect "what is given stays" [ "$(echo "$one" | cut -d ' ' -f -14)" = \
		"$(echo "$given" | cut -d ' ' -f $((49 * i - 48))-$((49 * i - 35)))" ]
	expect "35 in 8 steps" [ "$(echo "$one" | cut -d ' ' -f 15-)" = "$(expected 35 34 32 29 24 19 13 6 0)" ]
done
run 0 sample runs/count --complete digits:test -n 1 --keep 0.86 --codes c.npy --out c.png -q
expect "fewer than steps" [ "$(payload c.npy | cut -d ' ' -f 43-)" = "$(expected 7 6 5 4 3 2 1 0)" ]
run 0 sample runs/count --complete digits:test -n 2 --keep 1 --codes c.npy --out c.png -q
expect "nothing to draw" [ "$(payload c.npy)" = "$given" ]

# --- the same samples ---------------------------------------------------------------

cat >prior.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq, lib/transformer]
let: {codes: 8, mask: 8, classes: 10, length: 49}
modules:
  enc: {conv: {out: 4, kernel: 4, stride: 4}}
  dec: {convt: {out: 1, kernel: 4, stride: 4}}
  vq: {codebook: {codes: $codes, dim: 4, beta: 0.25}}
  prior: {gpt: {vocab: $(codes + 1 + classes + 1), out: $(codes + 1), length: $(length + 1), width: 16, layers: 2, heads: 2, causal: false}}
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
    out: [loss, recon_loss, recon, vq.code]
  encode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {reshape: {x: vq.code, shape: [$batch, $length]}, as: code}
    out: [code]
  unmask:
    in:
      code: i32[batch, $length]
      label: i32[batch]
    steps:
      - {drop_class: {label: label, share: 0.2, classes: $classes}, as: class}
      - {mask_codes: {code: code, mask: $mask, schedule: arccos_share}, as: hidden}
      - {class_before: {code: hidden.token, label: class, token: $(mask + 1)}}
      - prior
      - {slice: {axis: 1, start: 1}, as: logits}
      - {cross_entropy: {index: hidden.target, smoothing: 0.1}, as: loss}
    out: [loss]
  reveal:
    in:
      token: i32[batch, $length]
      label: i32[batch]
    steps:
      - {class_before: {code: token, label: label, token: $(mask + 1)}}
      - prior
      - {slice: {axis: 1, start: 1}, as: logits}
    out: [logits]
  plain:
    in:
      token: i32[batch, $length]
    steps:
      - {prior: {}, as: logits}
    out: [logits]
  short:
    in:
      token: i32[batch, $length]
    steps:
      - prior
      - {slice: {axis: 1, start: 1}, as: logits}
    out: [logits]
  noisy:
    in:
      token: i32[batch, $length]
    steps:
      - prior
      - {random_normal_like: {}, as: noise}
      - {slice: {x: noise, axis: 1, start: 1}, as: logits}
    out: [logits]
  decode:
    in:
      code: i32[batch, 7, 7]
    steps:
      - {lookup: {table: vq.book, index: code}}
      - {dec: {}, as: recon}
    out: [recon]
stages:
  vqvae:
    do: train
    graph: autoencode
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 32, shuffle: true}
    steps: 20
    codes: {vq.code: $codes}
  codes:
    do: encode
    graph: encode
    value: code
    data: {source: digits, limit: 320}
    splits: [train, test]
  prior:
    do: train
    graph: unmask
    updates: [{minimize: loss, train: [prior], optimizer: {adam: {lr: 1e-3}}}]
    data: {stage: codes, split: train, batch: 32, shuffle: true}
    epochs: 3
    validate: {data: {stage: codes, split: test}}
    show: {samples: samples}
  samples:
    do: sample
    method: masked
    graph: reveal
    mask: $mask
    steps: 8
    schedule: arccos
    classes: $classes
    null: $classes
    length: $length
    count: 25
    decode: {graph: decode, input: code, value: recon}
END
run 0 run prior.yaml --name a -q -t 2
quiet
for file in samples.png samples.npy samples.label.npy prior-samples-epoch-001.png prior-samples-epoch-003.png; do
	expect "the run leaves $file" [ -s "runs/a/samples/$file" ]
done
run 0 sample runs/a -n 20 --out a.npy --codes a.codes.npy -t 2 -q
for how in "-b 1 -t 1" "-b 3 -t 3" "-b 7 -t 2" "-b 20 -t 1"; do
	# shellcheck disable=SC2086
	run 0 sample runs/a -n 20 --out b.npy --codes b.codes.npy $how -q
	expect "the same codes with $how" cmp -s a.codes.npy b.codes.npy
	expect "the same pictures with $how" cmp -s a.npy b.npy
done
run 0 sample runs/a -n 20 --codes b.codes.npy --precision bf16 -b 20 -t 2 -q
run 0 sample runs/a -n 20 --codes c.codes.npy stages.samples.precision=bf16 -b 3 -t 1 -q
expect "the same codes in bf16" cmp -s b.codes.npy c.codes.npy
run 0 dump prior.yaml --stage samples --precision bf16 --pass precision
expect "every product is bf16" sh -c '[ "$(grep -c " = matmul" .out)" -eq "$(grep " = matmul" .out | grep -c precision=bf16)" ]'
run 0 dump prior.yaml --stage samples --pass precision
expect "f32 is what is not asked for" sh -c '! grep -q precision= .out'
run 0 sample runs/a -n 20 --codes b.codes.npy --seed 2 -q
expect "others with another seed" sh -c '! cmp -s a.codes.npy b.codes.npy'
expect "the mask is never drawn" [ "$(payload a.codes.npy | tr ' ' '\n' | sort -n | tail -n 1)" -lt 8 ]
run 0 sample runs/a -n 12 --codes a.codes.npy --guidance 3 --top-k 5 --top-p 0.9 --temperature 0.8 --steps 12 -b 12 -t 2 -q
run 0 sample runs/a -n 12 --codes b.codes.npy --guidance 3 --top-k 5 --top-p 0.9 --temperature 0.8 --steps 12 -b 5 -t 1 -q
expect "the same guided ones" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/a -n 6 --codes a.codes.npy --guidance 0 --class 1 -q
run 0 sample runs/a -n 6 --codes b.codes.npy --guidance 0 --class 2 -q
expect "no class" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/a -n 6 --codes b.codes.npy --guidance 50 --class 2 -q
expect "a class" sh -c '! cmp -s a.codes.npy b.codes.npy'
# Without any chance no seed matters, and a top-k of 1 is the likeliest.
run 0 sample runs/a -n 6 --codes a.codes.npy --temperature 0 --choice-temperature 0 -q
run 0 sample runs/a -n 6 --codes b.codes.npy --top-k 1 --choice-temperature 0 --seed 9 -q
expect "nothing left to chance" cmp -s a.codes.npy b.codes.npy
run 0 bench prior.yaml --stage samples -b 4 --steps 2 --warmup 1 --json
out '"tokens_per_s": '
# Stopped and resumed, and with other threads, the masks of training are the same.
run 0 run prior.yaml --name b -q --max-steps 20 -t 1
run 0 run --resume runs/b -q
expect "the same bits resumed" [ "$("$vqgraph" dump runs/a --hash)" = "$("$vqgraph" dump runs/b --hash)" ]

# --- mistakes ---------------------------------------------------------------------------

# wrong KEY=VALUE TEXT: told before anything is trained, and when sampling
wrong() {
	run 3 run prior.yaml --name wrong -q "$1"
	err "$2"
	expect "no run is left" [ ! -e runs/wrong ]
	run 3 sample runs/a --out x.png "$1"
	err "$2"
}
wrong stages.samples.start=8 "start is of method: causal, and this stage's is masked"
wrong stages.samples.start_per_class=false "start_per_class is of method: causal"
wrong stages.samples.time=t "time is of method: causal"
wrong stages.samples.method=causal "mask is of method: masked, and this stage's is causal"
wrong stages.samples.method=maskgit "method"
wrong stages.samples.mask=20 "mask: is 20, and graph reveal knows tokens below 20"
wrong stages.samples.steps=50 "steps: are 50, and each fixes one token at least of 49"
wrong stages.samples.steps=0 "steps"
wrong stages.samples.schedule=square "schedule"
wrong stages.samples.choice_temperature=-1 "choice_temperature"
wrong stages.samples.length=48 "input token must be i32[batch, length], and is i32["
wrong stages.samples.classes=0 "graph reveal has an input label: classes says how many there are"
wrong stages.samples.classes=12 "classes: there are 12, and graph reveal knows labels below 11"
wrong stages.samples.null=11 "null: is 11, and graph reveal knows labels below 11"
wrong 'stages.samples.forbid=[0, 1, 2, 3, 4, 5, 6, 7]' "forbid: leaves no token to draw"
wrong stages.samples.mask=3 "codes: tokens up to 8 may be drawn, and graph decode has codes below 8"
wrong stages.samples.value=logit "graph reveal has no value 'logit'"
wrong stages.samples.graph=plain "nothing tells graph plain the class"
wrong stages.samples.graph=short "logits must be f32[batch, length, vocabulary], and is f32["
wrong stages.samples.graph=noisy "random_normal_like draws at random"
# What would be a likelihood: codes that the prior sees, all of them or all before, foretold from them.
for graph in score shifted; do
	sed "s/^stages:/  score:\n    in:\n      code: i32[batch, \$length]\n      label: i32[batch]\n    steps:\n      - {class_before: {code: code, label: label, token: \$(mask + 1)}}\n      - prior\n      - {slice: {axis: 1, start: 1}, as: logits}\n      - {cross_entropy: {index: code}, as: loss}\n    out: [loss]\n  shifted:\n    in:\n      image: f32[batch, 28, 28, 1]\n      label: i32[batch]\n    steps:\n      - enc\n      - {vq: {}, as: vq}\n      - {reshape: {x: vq.code, shape: [\$batch, \$length]}, as: code}\n      - {class_start: {label: label, token: \$(mask + 1)}}\n      - {prior: {}, as: logits}\n      - {cross_entropy: {index: code, reduction: none}}\n      - {mean: {axes: [1]}, as: loss}\n      - {mul: {b: 2}, as: bits_per_dim}\n    out: [loss, bits_per_dim]\nstages:/
		\$ a\  likelihood: {do: evaluate, graph: $graph, data: {source: digits, split: test, limit: 32}, report: [loss]}" prior.yaml >likelihood.yaml
	run 3 check likelihood.yaml
	err "cross_entropy is of codes that the net of graph reveal is given: a masked prior (stage samples) sees them"
done
run 3 run likelihood.yaml --name wrong -q
err "has no likelihood by the chain rule"
expect "no run is left" [ ! -e runs/wrong ]
cp -r runs/a runs/scored
cp likelihood.yaml runs/scored/resolved.yaml
run 3 evaluate runs/scored --data digits:test -n 8
err "has no likelihood by the chain rule"
run 3 evaluate runs/scored --stage prior --graph shifted --report bits_per_dim --data digits:test -n 8
err "has no likelihood by the chain rule"
for asked in "--report bits_per_dim" "--stage likelihood"; do
	# shellcheck disable=SC2086
	run 2 evaluate runs/a $asked
	err "draws masked tokens, and a masked prior has no likelihood by the chain rule"
done
run 0 evaluate runs/a
out "loss"
sed '/^    mask: /d' prior.yaml >no_mask.yaml
run 3 check no_mask.yaml
err "a sample stage needs mask"
run 2 sample runs/a --out x.png --grid 8
err "--grid is of tokens drawn one after the other, and stage samples draws masked ones"
run 2 sample runs/a --out x.png --steps 50
err "--steps 50: each fixes one token at least, and stage samples draws 49"

finish
