#!/bin/sh
# What a finished run makes of a data set: means, counts, values of each sample, distances.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

cat >guess.yaml <<'END'
vqgraph: 1
use: [lib/nn]
modules:
  hidden: {linear: {out: 6}}
  top: {linear: {out: 10}}
graphs:
  classify:
    in:
      image: f32[batch, 28, 28, 1]
      label: i32[batch]
    steps:
      - flatten: {x: image}
      - {hidden: {}, as: features}
      - {top: {}, as: logits}
      - {cross_entropy: {index: label}, as: loss}
      - {cross_entropy: {logits: logits, index: label, reduction: none}, as: each}
      - {argmax: {x: logits}, as: guess}
      - {equal: {a: guess, b: label}}
      - {cast: {to: f32}, as: hit}
      - {mean: {}, as: accuracy}
    out: [loss, accuracy, each, guess, features]
  blind:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {mean: {x: image}, as: brightness}
    out: [brightness]
  big:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - affine: {x: image, scale: 1e4}
      - exp
      - {mean: {}, as: vast}
    out: [vast]
stages:
  classifier:
    do: train
    graph: classify
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-2}}}]
    data: {source: digits, split: train, batch: 50, shuffle: true, limit: 1000}
    epochs: 1
    validate: {data: {source: digits, split: test, batch: 64, limit: 500}}
    report: [loss, accuracy]
END
sed 's/^stages:/&\n  unused: {do: evaluate, graph: blind, data: {source: digits, split: test, limit: 70}}/' guess.yaml >two.yaml
cat >>two.yaml <<'END'
  final: {do: evaluate, graph: classify, data: {source: digits, split: test, limit: 500, batch: 64}, report: [each, accuracy]}
END

# number KEY: the value of "KEY": in the JSON of the last run
number() {
	sed -n "s/.*\"$1\": \([^,}]*\).*/\1/p" "$folder/.out"
}
# close A B: equal to five digits
close() {
	awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d * d <= 1e-10 * (a * a + 1e-4)) }'
}
# f32_mean FILE
f32_mean() {
	tail -c +129 "$1" | od -An -v -tf4 | awk '{ for (i = 1; i <= NF; i++) { s += $i; n++ } } END { printf "%.9g\n", s / n }'
}

run 0 run guess.yaml -q
validated=$(sed -n 's/.*"val".*"loss": *\([^,}]*\).*/\1/p' runs/guess/metrics.jsonl | tail -n 1)

# The stage as it is: what validation said.
run 0 evaluate runs/guess --json
expect "the loss of validation" close "$(number loss)" "$validated"
expect "its samples" [ "$(number samples)" = 500 ]
cp .out first.json
run 0 evaluate runs/guess --json -t 2
expect "any number of threads" cmp -s .out first.json
run 0 evaluate runs/guess --json --batch 7
expect "batches do not matter" close "$(number loss)" "$validated"
run 0 evaluate runs/guess
out "digits:test, 500 samples"
out "loss"

# Other data, fewer samples, other values; what the samples add up to.
run 0 evaluate runs/guess --data digits:train -n 210 --report hit --values each=each.npy --values hit=hit.npy --count guess --json
expect "so many samples" [ "$(number samples)" = 210 ]
expect "a report replaces the stage's" sh -c '! grep -q accuracy .out'
hit=$(number hit)
expect "the values' mean is the mean" close "$(f32_mean hit.npy)" "$hit"
agree=$(sed 's/.*"agree": \[\([^]]*\)\].*/\1/' .out | tr ',' '+')
expect "what is counted agrees as often" close "$(awk "BEGIN { print ($agree) / 210 }")" "$hit"
expect "each sample has its value" [ "$(wc -c <each.npy)" -eq $((128 + 4 * 210)) ]
run 0 evaluate runs/guess --data digits:train -n 210 --report loss,accuracy --json
expect "a loss by sample is the loss" close "$(number loss)" "$(f32_mean each.npy)"
expect "so is the accuracy" close "$(number accuracy)" "$hit"
run 0 evaluate runs/guess --graph blind
out "brightness"

# Distances.
run 0 evaluate runs/guess --features features --against digits:test --data digits:test -n 20000 --json
expect "nothing is as near as itself" awk -v d="$(number frechet_distance)" 'BEGIN { exit !(d < 1e-6) }'
expect "and as spread out" [ "$(number spread)" = "$(number against_spread)" ]
run 0 evaluate runs/guess --features features --against digits:test --data digits:train --json
there=$(number frechet_distance)
run 0 evaluate runs/guess --features features --against digits:train --data digits:test --json
expect "as far there as back" close "$(number frechet_distance)" "$there"
run 0 evaluate runs/guess --features features --against digits:test --data digits:train -n 3
out "frechet_distance: "
out "3 samples against"
out "within a class"

# A stage that evaluates: in the run, and by the command, the last one.
run 0 run two.yaml -q --name two
each=$(sed -n 's/.*"final".*"each": *\([^,}]*\).*/\1/p' runs/two/metrics.jsonl)
run 0 evaluate runs/two --json
expect "its report is a mean over samples" close "$(number each)" "$each"
run 0 evaluate runs/two --stage unused --json
expect "another stage" [ "$(number samples)" = 70 ]
out "brightness"

# Mistakes.
run 2 evaluate
run 2 evaluate guess.yaml
err "has no weights"
run 2 evaluate runs/guess --graph clasify
err "there is no graph 'clasify'"
err "classify"
run 3 evaluate runs/guess --stage clasifier
err "classifier"
run 2 evaluate runs/guess --report los
err "similar name: loss"
run 2 evaluate runs/guess --values los=x.npy
err "graph classify has no value 'los'"
run 2 evaluate runs/guess --values loss
err "wants NAME=FILE"
run 2 evaluate runs/guess --values loss=x.npy
err "holds none for each sample"
run 2 evaluate runs/guess --count features
err "only integers can be counted"
run 2 evaluate runs/guess --features guess
err "real numbers for each sample"
run 2 evaluate runs/guess --features features -n 1
err "two at least"
run 2 evaluate runs/guess --against digits:test
err "--features"
run 3 evaluate runs/guess --data digts:test
err "digits"
run 3 evaluate runs/guess --data digits:tset
err "test"
run 0 run tiny.yaml -q
run 5 evaluate runs/guess --checkpoint runs/tiny/checkpoints/last.safetensors
err "has no parameter hidden.weight, f32[784, 6]"
head -c 1000 runs/guess/checkpoints/last.safetensors >cut.safetensors
run 5 evaluate runs/guess --checkpoint cut.safetensors

# Arrays: with labels, without, and what does not fit.
images() {
	npy "$1" '<f4' "$2" ''
	head -c "$3" /dev/zero >>"$1"
}
images x.npy '(3, 28, 28, 1)' 9408
npy y.npy '<i4' '(3,)' '\003\000\000\000\011\000\000\000\003\000\000\000'
run 0 evaluate runs/guess --data x.npy --labels y.npy --count guess --features features --json
expect "two of a class" awk -v s="$(number spread)" 'BEGIN { exit !(s >= 0) }'
npy each.npy '<i4' '(3,)' '\003\000\000\000\011\000\000\000\004\000\000\000'
run 0 evaluate runs/guess --data x.npy --labels each.npy --features features --json
out '"spread": null'
run 0 evaluate runs/guess --data x.npy --labels each.npy --features features --against digits:test
out "spread within a class: - in x.npy, "
run 0 evaluate runs/guess --data x.npy --labels y.npy --count guess --json
expect "three pictures" [ "$(number samples)" = 3 ]
out '"label": ['
out '"accuracy": '
run 0 evaluate runs/guess --data x.npy --features features --against digits:test --count guess
err "loss is left out: x.npy has no label"
err "accuracy is left out"
out "frechet_distance: "
expect "nothing is compared with labels" sh -c '! grep -q agree .out'
run 4 evaluate runs/guess --data x.npy
err "x.npy has no label, and nothing that graph classify reports can be had without it"
run 4 evaluate runs/guess --data x.npy --report loss
err "the labels of x.npy are missing"
run 4 evaluate runs/guess --data x.npy --labels none.npy
err "none.npy"
npy two.npy '<i4' '(2,)' '\003\000\000\000\011\000\000\000'
run 4 evaluate runs/guess --data x.npy --labels two.npy
err "two.npy"
npy high.npy '<i4' '(3,)' '\003\000\000\000\012\000\000\000\003\000\000\000'
run 4 evaluate runs/guess --data x.npy --labels high.npy
err "label 10 of sample 1 of x.npy is not one that graph classify takes: 0 to 9"
run 6 evaluate runs/guess --graph big
err "vast is inf over the 500 samples of digits"
silent
images small.npy '(3, 8, 8, 1)' 768
run 4 evaluate runs/guess --data small.npy --labels y.npy
err "input 'image' is f32[3, 28, 28, 1], but the data small.npy gives f32[3, 8, 8, 1]"
run 4 evaluate runs/guess --data none.npy --labels y.npy
err "none.npy"
run 2 evaluate runs/guess --labels y.npy
err "--labels wants --data"
run 3 evaluate runs/guess --data digits:test --labels y.npy

# Labels that the graph has no class for, also behind codes and in a row of tokens: never read past
# a table, never a loss that is only wrong.
sed 's/out: 10/out: 5/' guess.yaml >five.yaml
run 4 run five.yaml -q
err "five.yaml:10:7: error: label "
err "of digits is not one that graph classify takes: 0 to 4"
# places ROWS STEP...: a table of so many rows is enough for labels that go to it through these steps,
# and one row fewer is not.
places() {
	cat >places.yaml <<-END
	vqgraph: 1
	use: [lib/nn]
	let: {rows: $1}
	modules: {table: {embedding: {entries: \$rows, dim: 1}}}
	graphs:
	  classify:
	    in:
	      label: i32[batch]
	    steps:
	END
	rows=$1
	shift
	for step; do
		echo "      - $step" >>places.yaml
	done
	cat >>places.yaml <<-END
	      - {table: {index: i}}
	      - {mean: {}, as: loss}
	    out: [loss]
	stages:
	  s:
	    do: train
	    graph: classify
	    updates: [{minimize: loss, optimizer: {sgd: {lr: 1}}}]
	    data: {source: digits, split: train, limit: 200}
	    steps: 1
	END
	run 0 run places.yaml -q
	run 4 run places.yaml -q rows=$((rows - 1))
	err "places.yaml:8:7: error: label "
}
places 10 '{reshape: {x: label, shape: [$batch, 1]}, as: i}'
places 13 '{add: {a: label, b: 3}, as: i}'
places 12 '{reshape: {x: label, shape: [$batch, 1]}, as: row}' '{add: {a: row, b: 2}, as: start}' \
	'{concat: {x: [start, row], axis: 1}, as: both}' '{slice: {x: both, axis: 1, stop: 2}, as: i}'
places 10 '{greater: {a: label, b: label}, as: c}' '{where: {cond: c, a: label, b: label}, as: i}'

run 1 evaluate runs/guess --values each=none/x.npy
err "none/x.npy"
silent
finish
