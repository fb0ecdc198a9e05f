#!/bin/sh
# check and dump on a good file.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

run 0 check linear.yaml
out "forward"
out "ok: linear.yaml, 1 graph, 0 stages"
quiet
run 0 check linear.yaml -q
silent
run 0 check linear.yaml --time
for pass in parse expand lower simplify fuse plan; do
	expect "$pass is timed" grep -Eq "^$pass +[0-9.]+ ms" .out
done
grep -q "^gradient" .out && fail "a gradient is timed where there is none"
run 0 check tiny.yaml --time
expect "gradients are timed" grep -Eq "^gradient +[0-9.]+ ms" .out
run 0 check tiny.yaml --time --json
for pass in parse_ms expand gradient lower simplify fuse plan; do
	expect "$pass is timed" grep -Eq "\"$pass\": [0-9.e-]+" .out
done
run 0 check linear.yaml --batch 7 --json
out '"ok": true'
out '"batch": 7'
out '"parameters": 3'
run 2 check linear.yaml --size q=3
err "graph forward has no free size 'q'"

run 0 dump linear.yaml
out "graph forward, eval, batch 1"
out "f32[1, 3]"
out "parameters   3"
run 0 dump linear.yaml --batch 5
out "f32[5, 3]"
run 0 dump linear.yaml --nodes
out "mse"
run 0 dump linear.yaml --grad
out "backward"
run 0 dump linear.yaml --format text
out "param d.w f32[3]"
out "output loss ="
run 0 dump linear.yaml --pass fuse
out "graph forward"
run 2 dump linear.yaml --pass fues
err "there is no pass 'fues'"
err "similar name: fuse"
run 0 dump linear.yaml --plan
out "arena"
run 0 dump linear.yaml --origins
out "from affine d.affine.0, linear.yaml:10:10"
out "in double d, linear.yaml:19:10"
run 0 dump linear.yaml --format json
out '"graphs": ['
run 0 dump linear.yaml --format svg --out model.svg
silent
err "wrote model.svg"
expect "it is a picture" grep -q "</svg>" model.svg
run 0 dump linear.yaml --format dot
out "digraph \"forward\""
if command -v dot >/dev/null; then
	expect "graphviz takes it" dot -Tsvg -o /dev/null .out
fi
if command -v python3 >/dev/null; then
	"$vqgraph" dump linear.yaml --format json >m.json
	expect "JSON is JSON" python3 -c 'import json; json.load(open("m.json"))'
	expect "SVG is XML" python3 -c 'import xml.dom.minidom as m; m.parse("model.svg")'
fi

# What is flattened is a model file again, and the same one.
run 0 dump linear.yaml --expand scale=3
cp .out expanded.yaml
run 0 check expanded.yaml
run 0 dump expanded.yaml --expand
expect "expanding twice changes nothing" cmp -s .out expanded.yaml
run 0 dump linear.yaml --format text scale=3
cp .out a.txt
run 0 dump expanded.yaml --format text
expect "and the graph is the same" cmp -s .out a.txt

run 2 dump linear.yaml --plan --expand
err "--expand and --plan ask for different things"
run 2 dump linear.yaml --graph backward
err "there is no graph 'backward'"
run 3 dump linear.yaml --stage train
err "has no stage 'train'"
run 1 dump linear.yaml --out none/x.txt
err "none/x.txt"
mkdir folder
run 3 dump folder
err "it has no resolved.yaml"
cp expanded.yaml folder/resolved.yaml
run 0 dump folder --graph forward
out "graph forward"

# Memory: what each training step needs, and what there is.
run 0 check tiny.yaml
out "memory of stage"
out "memory here: "
run 0 check tiny.yaml --json
for key in memory_bytes memory_limit_bytes memory_free_bytes; do
	expect "there is $key" grep -q "\"$key\": [1-9]" .out
done
cat >huge.yaml <<'END'
vqgraph: 1
use: [lib/nn]
modules:
  last: {linear: {out: 1}}
graphs:
  pairs:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {last: {x: image}, as: y}
      - {reshape: {x: y, shape: [$(batch * 784), 1]}, as: column}
      - {reshape: {x: y, shape: [1, $(batch * 784)]}, as: row}
      - {mul: {a: column, b: row}}
      - {mean: {}, as: loss}
    out: [loss]
stages:
  pairs:
    do: train
    graph: pairs
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: digits, split: train, batch: 1024}
    epochs: 1
END
# A key that was left out can be given though another has a name much like it; a slip is told as in the file.
run 0 check tiny.yaml stages.tok.data.size=28 stages.tok.data.limit=99
sed 's/shuffle: true/shuffle: true, size: 28/' tiny.yaml >sized.yaml
run 0 check sized.yaml stages.tok.data.resize=32
run 3 check sized.yaml stages.tok.data.resise=32
err "command line:1:17: error: data has no parameter 'resise'"
err "similar name: resize"

run 0 check huge.yaml
out "cannot be trained so"
run 1 run huge.yaml --progress none
err "stage pairs: a batch of 1024 needs 5.16e+03 GB of memory, and this process may have"
err "a smaller batch"

finish
