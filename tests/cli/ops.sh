#!/bin/sh
# What a model file can name, and its schema.
. "${srcdir:-.}/tests/cli/harness.sh"

run 0 ops
quiet
out "softmax "
out "optimizers"
out "schedules"
out "sources"
run 0 ops softmax
out "y = softmax(x)"
out "(default -1)"
out "examples"
run 0 ops adam
out "learning rate"
run 0 ops digits
run 2 ops sofmax
err "did you mean softmax?"
run 0 ops conv
out "a block of lib/nn.yaml"
run 2 ops Conv2D
err "did you mean conv?"
run 2 ops qqqqqq
err "\`vqgraph ops\` lists them"
run 0 ops softmax --json
out '"name": "softmax"'
run 0 ops --json
run 0 schema
# shellcheck disable=SC2016
out '"$schema": "http://json-schema.org/draft-07/schema#"'
out '"adam"'
if command -v python3 >/dev/null; then
	expect "the schema is JSON" python3 -c 'import json, sys; json.load(sys.stdin)' <.out
fi
# Every op shows itself.
"$vqgraph" ops | sed -n '/^ops$/,/^$/s/^  \([a-z0-9_][a-z0-9_]*\) .*/\1/p' >names
while read -r name; do
	run 0 ops "$name"
	out "$name -- "
done <names

run 0 doctor
out "kernels"
out "threads"
out "OpenBLAS"
out "  limit  "
# AddressSanitizer reserves more than any limit.
if ! grep -q AddressSanitizer .out; then
	ulimit -S -v 2000000
	run 0 doctor
	out "  limit         2.05 GB (ulimit -v)"
	run 0 check "$src/graphs/vqvae_mnist.yaml"
	out "memory here: 2.05 GB (ulimit -v), "
	ulimit -S -v unlimited
fi
run 0 doctor --json
out '"warnings"'
export VQGRAPH_ISA=portable
run 0 doctor
out "portable: asked for with VQGRAPH_ISA"
VQGRAPH_ISA=quantum
run 0 doctor
out "VQGRAPH_ISA=quantum"
finish
