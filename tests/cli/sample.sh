#!/bin/sh
# A tokenizer and a prior of a few steps: stages that draw samples, and `vqgraph sample`.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >prior.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq, lib/transformer]
let: {codes: 8, start: 8, classes: 10, width: 16, grid: 7}
blocks:
  encoder:
    in: {image: [n, h, w, c]}
    steps:
      - conv: {out: 4, kernel: 4, stride: 4}
  decoder:
    in: {z: [n, h, w, d]}
    steps:
      - convt: {out: 1, kernel: 4, stride: 4}
modules:
  enc: encoder
  dec: decoder
  vq: {codebook: {codes: $codes, dim: 4, beta: 0.25}}
  prior: {gpt: {vocab: $(start + classes + 1), out: $codes, length: $(grid * grid), width: $width, layers: 2, heads: 2}}
graphs:
  autoencode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {dec: {z: vq.quantized}, as: recon}
      - {mse: {a: recon, b: image}, as: recon_loss}
      - {add: {b: vq.loss}, as: loss}
    out: [loss, recon_loss, recon, vq.code]
  encode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {reshape: {x: vq.code, shape: [$batch, $(grid * grid)]}, as: code}
    out: [code]
  foretell:
    in:
      image: f32[batch, 28, 28, 1]
      label: i32[batch]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {reorder: {x: vq.code, order: s_curve}, as: code}
      - {class_start: {code: code, label: label, token: $start}}
      - {prior: {}, as: logits}
      - {cross_entropy: {index: code}, as: loss}
    out: [loss]
  next:
    in:
      token: i32[batch, time]
    steps:
      - {prior: {}, as: logits}
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
    show: {reconstructions: recon}
  codes:
    do: encode
    graph: encode
    value: code
    data: {source: digits, split: train, limit: 64}
  prior:
    do: train
    graph: foretell
    updates: [{minimize: loss, train: [prior], optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 32, shuffle: true, limit: 320}
    epochs: 2
    show: {samples: samples}
  samples:
    do: sample
    graph: next
    start: $start
    classes: $classes
    null: $(start + classes)
    length: $(grid * grid)
    order: s_curve
    count: 25
    decode: {graph: decode, input: code, value: recon}
END

run 0 run prior.yaml --name a -q -t 2
# Alone in a new run, a stage has nothing to work with but in the run that trained it.
run 2 run prior.yaml --name alone --stage samples
err "stage samples reads vq.book, which stage vqvae trains, and this new run has not"
run 2 run prior.yaml --name alone --stage prior
err "stage prior reads enc."
[ ! -e runs/alone ] || fail "a run was left"
run 0 run prior.yaml --name alone --stage samples --init-from runs/a/checkpoints/last.safetensors -q
quiet
for file in samples.png samples.npy samples.label.npy prior-samples-epoch-001.png prior-samples-epoch-002.png; do
	expect "the run leaves $file" [ -s "runs/a/samples/$file" ]
done

# payload FILE: what follows an npy's header, as numbers of four bytes
payload() {
	tail -c +129 "$1" | od -An -v -t d4 | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# --- the same samples ---------------------------------------------------------

run 0 sample runs/a -n 20 --out a.npy --codes a.codes.npy --labels a.labels.npy -t 2
silent
err "wrote a.npy, f32[20, 28, 28, 1]"
err "wrote a.codes.npy, i32[20, 49]"
expect "classes follow each other" [ "$(payload a.labels.npy)" = "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9" ]
for how in "-b 1 -t 1" "-b 3 -t 3" "-b 7 -t 2" "-b 19 -t 1" "-b 20 -t 1" "-b 20 -t 2" "-b 19 -t 2"; do
	# shellcheck disable=SC2086
	run 0 sample runs/a -n 20 --out b.npy --codes b.codes.npy $how -q
	expect "the same codes with $how" cmp -s a.codes.npy b.codes.npy
	expect "the same pictures with $how" cmp -s a.npy b.npy
done
run 0 sample runs/a -n 20 --codes b.codes.npy --seed 2 -q
expect "others with another seed" sh -c '! cmp -s a.codes.npy b.codes.npy'
# More than one thread draws at a time, given in groups.
run 0 sample runs/a -n 75 --codes a.codes.npy -b 75 -t 1 -q
run 0 sample runs/a -n 75 --codes b.codes.npy -b 9 -t 1 -q
expect "the same codes in groups" cmp -s a.codes.npy b.codes.npy
# Products in bf16: the same at any number of threads, too, and as the key says.
run 0 sample runs/a -n 20 --codes a.codes.npy --precision bf16 -t 2 -q
for how in "-b 1 -t 1" "-b 3 -t 3" "-b 8 -t 2" "-b 20 -t 1" "-b 20 -t 2" "-b 20 -t 3"; do
	# shellcheck disable=SC2086
	run 0 sample runs/a -n 20 --codes b.codes.npy --precision bf16 $how -q
	expect "the same codes in bf16 with $how" cmp -s a.codes.npy b.codes.npy
done
run 0 sample runs/a -n 20 --codes b.codes.npy stages.samples.precision=bf16 -q
expect "the key is the option" cmp -s a.codes.npy b.codes.npy
run 0 dump prior.yaml --stage samples --pass precision
expect "f32 is what is not asked for" sh -c '! grep -q bf16 .out'
run 0 dump prior.yaml --stage samples --precision bf16 --pass precision
cp .out asked
expect "every weight of a product is bf16" sh -c '[ "$(grep -c "matmul_packed" .out)" -eq "$(grep -c "state once.* bf16" .out)" ]'
expect "keys and values are" sh -c '[ "$(grep -c "state cache.* bf16" .out)" -eq 4 ]'
run 0 dump prior.yaml --stage samples stages.samples.precision=bf16 --pass precision
expect "the key changes the same products" cmp -s asked .out
run 0 dump prior.yaml --stage samples stages.samples.precision=bf16 --precision f32 --pass precision
expect "the option decides" sh -c '! grep -q bf16 .out'
run 3 sample runs/a -n 1 --codes b.codes.npy stages.samples.precision=half
err "must be f32 or bf16, is 'half'"
# Guided, the batch is twice as long.
run 0 sample runs/a -n 12 --codes a.codes.npy --guidance 1.5 --top-k 5 --top-p 0.9 --temperature 0.8 -b 12 -t 2 -q
run 0 sample runs/a -n 12 --codes b.codes.npy --guidance 1.5 --top-k 5 --top-p 0.9 --temperature 0.8 -b 5 -t 1 -q
expect "the same guided ones" cmp -s a.codes.npy b.codes.npy
# A guidance of 0 has no class, of 1 nothing else.
run 0 sample runs/a -n 6 --codes a.codes.npy --guidance 0 --class 1 -q
run 0 sample runs/a -n 6 --codes b.codes.npy --guidance 0 --class 2 -q
expect "no class" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/a -n 6 --codes b.codes.npy --class 2 -q
expect "a class" sh -c '! cmp -s a.codes.npy b.codes.npy'
# The likeliest token needs no seed; nor does one that is alone.
run 0 sample runs/a -n 6 --codes a.codes.npy --temperature 0 -q
run 0 sample runs/a -n 6 --codes b.codes.npy --top-k 1 --seed 9 -q
expect "top-k of 1 is the likeliest" cmp -s a.codes.npy b.codes.npy
run 0 sample runs/a -n 2 --codes a.codes.npy 'stages.samples.forbid=[0, 1, 2, 3, 4, 6, 7]' -q
expect "what is forbidden is not drawn" [ "$(payload a.codes.npy | tr ' ' '\n' | sort -u)" = 5 ]

run 0 sample runs/a -n 4 --class 7 --out seven.png --labels a.labels.npy --json
expect "the class asked for" [ "$(payload a.labels.npy)" = "7 7 7 7" ]
for key in stage samples length tokens seconds tokens_per_s seed precision batch; do
	out "\"$key\": "
done
out '"tokens": 196'
expect "one line" [ "$(wc -l <.out)" -eq 1 ]
run 0 sample runs/a -n 25 --class all --out all.png -q
quiet

run 0 bench prior.yaml --stage samples -b 4 --steps 2 --warmup 1 --json
for key in stage batch length rounds round_ms median tokens_per_s threads isa; do
	out "\"$key\": "
done
out '"precision": "f32"'
run 0 bench prior.yaml --stage samples -b 4 --steps 1 --warmup 0 --precision bf16 --json
out '"precision": "bf16"'
run 0 dump prior.yaml --stage samples --nodes -b 3
out "graph samples, position, batch 3"
out "attention_step"
run 2 dump prior.yaml --stage codes
err "--graph NAME shows the graph that it runs"
run 2 bench prior.yaml --stage samples --profile
err "--profile is for training steps"
run 2 bench prior.yaml --stage codes
err "neither trains nor draws samples"

# --- token orders -------------------------------------------------------------

# The sequence does not know where its tokens go: every second row is turned round.
run 0 sample runs/a -n 1 --codes a.codes.npy stages.samples.order=raster -q
run 0 sample runs/a -n 1 --codes b.codes.npy stages.samples.order=s_curve -q
turned=$(payload a.codes.npy | awk '{ for (r = 0; r < 7; r++) for (i = 1; i <= 7; i++)
	printf "%s%s", $(7 * r + (r % 2 ? 8 - i : i)), r == 6 && i == 7 ? "\n" : " " }')
expect "an s-curve" [ "$(payload b.codes.npy)" = "$turned" ]

# --- completion ---------------------------------------------------------------

for seed in 1 2; do
	run 0 sample runs/a --complete digits:test -n 1 --keep 0.57 --out whole.png --codes c$seed.npy --seed $seed \
		--temperature 3 -q
	payload c$seed.npy >c$seed
done
expect "the upper four of seven rows are kept" [ "$(cut -d ' ' -f -28 c1)" = "$(cut -d ' ' -f -28 c2)" ]
expect "the rest is drawn" [ "$(cut -d ' ' -f 29- c1)" != "$(cut -d ' ' -f 29- c2)" ]
run 0 sample runs/a --complete digits:test -n 3 --keep 1 --out whole.npy --codes a.codes.npy --labels a.labels.npy
run 0 sample runs/a --complete digits:test -n 3 --keep 1 --out whole.npy --codes b.codes.npy --seed 5 --batch 2 -q
expect "nothing is drawn" cmp -s a.codes.npy b.codes.npy
run 0 encode runs/a --data digits:test -n 3 --out codes.npy -q
expect "those are the codes" [ "$(payload a.codes.npy)" = "$(payload codes.npy)" ]
run 3 sample runs/a --complete nowhere:test --out x.png
run 2 sample runs/a --complete digits:test --codes x.npy
err "--complete wants --out"

# --- a class that is an input ---------------------------------------------------

cat >labels.yaml <<'END'
vqgraph: 1
use: [lib/nn]
let: {codes: 6, classes: 3}
blocks:
  small:
    in:
      token: i32[n, t]
      label: i32[n]
    steps:
      - {embedding: {index: label, entries: $(classes + 1), dim: 8}}
      - linear: {out: 8}
      - {reshape: {shape: [$n, 1, 8]}, as: class}
      - {embedding: {index: token, entries: $(codes + 1), dim: 8}}
      - add: {b: class}
      - {position_embedding: {length: 4, deviation: 1}, as: x}
      - {attention: {q: x, k: x, v: x, heads: 2, causal: true}}
      - {add: {b: x}}
      - linear: {out: $codes}
modules:
  prior: small
  dec: {linear: {out: 1}}
graphs:
  next:
    in:
      token: i32[batch, time]
      label: i32[batch]
    steps:
      - {prior: {token: token, label: label}, as: logits}
    out: [logits]
  decode:
    in:
      code: i32[batch, 2, 2]
    steps:
      - {one_hot: {index: code, size: $codes}}
      - {dec: {}, as: picture}
    out: [picture]
stages:
  samples:
    do: sample
    graph: next
    start: $codes
    start_per_class: false
    classes: $classes
    null: $classes
    length: 4
    order: z_curve
    decode: {graph: decode, value: picture}
END
run 0 check labels.yaml
run 0 run labels.yaml --name l -q
expect "samples of labels" [ -s runs/l/samples/samples.png ]
run 3 run labels.yaml -q stages.samples.classes=0
err "graph next has an input label: classes says how many there are"
run 3 run labels.yaml -q stages.samples.classes=5
err "classes: there are 5, and graph next knows labels below 4"
run 3 run labels.yaml -q stages.samples.null=4
err "null: is 4, and graph next knows labels below 4"
run 3 run labels.yaml -q stages.samples.guidance=2 stages.samples.start_per_class=true stages.samples.start=0
err "set start_per_class: false"
for batch in 64 7; do
	run 0 run labels.yaml --name g$batch -q stages.samples.guidance=2.5 stages.samples.batch=$batch
done
expect "guided by label, in two batch sizes" cmp -s runs/g64/samples/samples.npy runs/g7/samples/samples.npy
expect "otherwise than without" sh -c '! cmp -s runs/g7/samples/samples.npy runs/l/samples/samples.npy'

# --- mistakes on the command line -----------------------------------------------

run 2 sample runs/a --out x.png --top-k 0
err "--top-k wants a whole number from 1"
run 2 sample runs/a --out x.png --top-p 0
err "--top-p"
run 2 sample runs/a --out x.png --class 10
err "there is no class 10: stage samples has 10, from 0 to 9"
run 2 sample runs/a --out x.png --class seven
err "--class wants a number or all"
run 2 sample runs/a --out x.jpg
err "ends in .png or .npy"
run 2 sample runs/a
err "neither --out nor --codes"
run 2 sample runs/a --out x.png --keep 0.5
err "--complete"
run 2 sample runs/a --out x.png --stage prior
err "stage prior does not draw samples"
run 2 sample runs/a --out x.png --class 1 stages.samples.classes=0
err "has no classes"
run 2 sample prior.yaml --out x.png
err "has no weights"
run 5 sample runs/a --out x.png --checkpoint nowhere.safetensors
run 5 sample runs/a --out x.png width=8
err "among the weights"

# --- a stage that does not fit ----------------------------------------------------

# wrong KEY=VALUE TEXT: told before anything is trained, and when sampling
wrong() {
	run 3 run prior.yaml --name wrong -q "$1"
	err "$2"
	expect "no run is left" [ ! -e runs/wrong ]
	run 3 sample runs/a --out x.png "$1"
	err "$2"
}
wrong stages.samples.length=50 "length: graph next cannot be 50 long"
wrong stages.samples.start=18 "start: the first token is up to 27, and graph next knows tokens below 19"
wrong stages.samples.null=19 "null: is 19, and graph next knows tokens below 19"
wrong 'stages.samples.forbid=[8]' "forbid: 8 is no token: logits is of 8"
wrong 'stages.samples.forbid=[0.5]' "forbid wants tokens"
wrong 'stages.samples.forbid=[0, 1, 2, 3, 4, 5, 6, 7]' "forbid: leaves no token to draw"
wrong stages.samples.codes=9 "codes: are 9, and logits is of 8 tokens"
wrong stages.samples.length=48 "decode: graph decode wants 49 codes a picture"
wrong 'stages.samples.decode={graph: decode, input: codes, value: recon}' "no input 'codes'"
wrong 'stages.samples.decode={graph: decode, input: code, value: recom}' "there is a value with a similar name: recon"
wrong 'stages.samples.decode={graph: decod, input: code, value: recon}' "no graph 'decod'"
wrong stages.samples.start_per_class=false "nothing tells graph next the class"
wrong stages.samples.temperature=-1 "temperature"
wrong stages.samples.order=zigzag "order"
wrong stages.samples.graph=foretell "no free size 'time'"
wrong stages.samples.token=tokens "does not know what to give for the input 'token'"
wrong stages.samples.value=logit "graph next has no value 'logit'"
run 3 run prior.yaml stages.prior.show.samples=codes
err "stage 'codes' does not draw samples"
run 3 run prior.yaml stages.prior.show.samples=sampels
err "there is no stage 'sampels'"
run 3 sample runs/a --out x.png --guidance 2 stages.samples.null=-1
err "guidance: null says which token stands for no class"

finish
