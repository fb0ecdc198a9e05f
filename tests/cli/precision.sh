#!/bin/sh
# Training in bf16: what is rounded, what the run remembers, and how close it is to f32.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >small.yaml <<'END2'
vqgraph: 1
use: [lib/nn, lib/vq]
let: {codes: 32, dim: 7}
modules:
  enc: encoder
  dec: decoder
  vq: {ema_codebook: {codes: $codes, dim: $dim, restart: 0}}
blocks:
  encoder:
    in: {image: [n, h, w, c]}
    steps:
      - conv: {out: 16, kernel: 4, stride: 2, pad: 1}
      - batchnorm
      - relu
      - conv: {out: $dim, kernel: 4, stride: 2, pad: 1}
  decoder:
    in: {z: [n, h, w, d]}
    steps:
      - convt: {out: 16, kernel: 4, stride: 2, pad: 1}
      - relu
      - convt: {out: 1, kernel: 4, stride: 2, pad: 1}
graphs:
  autoencode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - enc
      - {vq: {}, as: vq}
      - {dec: {z: vq.quantized}, as: recon}
      - {mse: {a: recon, b: image}, as: recon_loss}
      - {add: {a: recon_loss, b: vq.loss}, as: loss}
    out: [loss, recon_loss, recon, vq.code]
stages:
  vqvae:
    do: train
    graph: autoencode
    updates: [{minimize: loss, optimizer: {adam: {lr: 3e-3}}}]
    data: {source: digits, split: train, batch: 33, shuffle: true, limit: 660}
    steps: 300
    validate: {data: {source: digits, split: test, limit: 200}}
END2

hash_of() {
	"$vqgraph" dump "$1" --hash
}

# The last validation loss of a run.
loss_of() {
	grep '"split": *"val"' "$1/metrics.jsonl" | tail -n 1 | sed 's/.*"recon_loss": *\([-+.e0-9]*\).*/\1/'
}

# --- what is rounded: products, and nothing else ------------------------------
run 0 dump small.yaml --stage vqvae --precision bf16 --pass precision
out "conv2d_weight"
expect "every product is bf16" sh -c '[ "$(grep -c " = conv2d" .out)" -eq "$(grep " = conv2d" .out | grep -c precision=bf16)" ]'
expect "nothing else is" sh -c '! grep precision= .out | grep -qv " = conv2d"'
expect "distances to codes are not" sh -c 'grep -q " = nearest" .out'
run 0 dump small.yaml --stage vqvae --pass precision
expect "f32 is what is not asked for" sh -c '! grep -q precision= .out'
run 0 dump small.yaml --stage vqvae stages.vqvae.precision=bf16 --pass precision
out "precision=bf16"
run 0 dump small.yaml --stage vqvae stages.vqvae.precision=bf16 --precision f32 --pass precision
expect "the option decides" sh -c '! grep -q precision= .out'

# --- what is bf16 in memory: between convolutions what they make, what norms make of it, and their gradients --------
run 0 dump small.yaml --stage vqvae --precision bf16 --pass narrow
expect "what a norm makes" sh -c 'grep " = batch_norm %" .out | grep -q "f32.16., %[0-9]* kept as bf16"'
expect "what it reads" sh -c 'grep -q "kept as bf16   # enc.conv.0.conv2d.0" .out'
expect "gradients on their way" sh -c 'grep " = batch_norm_affine_grad %" .out | grep -q "kept as bf16"'
expect "sums over them are f32" sh -c 'grep -q " = sum %" .out && ! grep " = sum %" .out | grep -q bf16'
from=$(sed -n 's/.* = nearest \(%[0-9]*\) .*/\1/p' .out)
expect "codes are found from f32, as it is" sh -c 'grep "^$1 = " .out >line && ! grep -q "round_bf16\|kept" line' sh "$from"
expect "a loss reads f32" sh -c 'grep "# dec.convt.1.conv2d_input.0" .out >line && ! grep -q "round_bf16\|kept" line'

cat >residual.yaml <<'END2'
vqgraph: 1
use: [lib/nn]
blocks:
  unit:
    in: {x: [n, h, w, c]}
    steps:
      - relu
      - {conv: {out: 8, kernel: 3, pad: 1}}
      - {add: {b: x}}
modules: {first: {conv: {out: 8, kernel: 3, pad: 1}}, one: unit, two: unit, last: {conv: {out: 8, kernel: 1}}}
graphs:
  g:
    in:
      image: f32[32, 14, 14, 1]
    steps:
      - {first: {x: image}}
      - one
      - two
      - last
      - tanh
      - {sum: {}, as: loss}
    out: [loss]
END2
run 0 dump residual.yaml --graph g --grad --precision bf16 --pass precision
expect "rounded is what only products and walks read" grep -q "= round_bf16 .*# two.relu.0" .out
expect "sums of residual units are not" sh -c '! grep "= round_bf16 " .out | grep -q "# \(grad of \)\?one.add.0"'

cat >fixed.yaml <<'END2'
vqgraph: 1
use: [lib/nn, lib/vq]
modules:
  scalar: {fsq: {levels: [8, 5, 5]}}
  factors: {projected_codebook: {codes: 16, dim: 4}}
  gumbel: {gumbel_codebook: {codes: 16, dim: 6}}
graphs:
  g:
    in:
      x: f32[batch, 3]
      w: f32[3, 3]
    steps:
      - {matmul: {a: x, b: w, precision: f32}, as: kept}
      - {matmul: {a: kept, b: w}, as: rounded}
      - {scalar: {z: rounded}, as: a}
      - {factors: {z: kept}, as: b}
      - {gumbel: {z: kept}, as: c}
      - {sum: {x: a.quantized}, as: p}
      - {sum: {x: b.quantized}, as: q}
      - {sum: {x: c.quantized}, as: r}
      - {add: {a: p, b: q}}
      - {add: {b: r}, as: loss}
    out: [loss]
END2
run 0 dump fixed.yaml --graph g --grad --precision bf16 --pass precision
out "precision=f32"
expect "codes are found in f32" sh -c '! grep precision=bf16 .out | grep -Eq "factors.matmul.0$|gumbel|scalar"'
expect "the rest is rounded" sh -c '[ "$(grep -c precision=bf16 .out)" -ge 2 ]'
expect "only products are" sh -c '! grep precision= .out | grep -qv " = matmul"'

# --- what it comes to ------------------------------------------------------------
run 0 run small.yaml --out full -q
run 0 run small.yaml --out half --precision bf16 -q
a=$(loss_of full/small) b=$(loss_of half/small)
expect "losses $a and $b are alike" awk "BEGIN { exit !($b < 1.05 * $a && $a < 1.05 * $b && $a != $b) }"

# --- what the run remembers --------------------------------------------------------
expect "resolved.yaml says it" grep -q "precision: *bf16" half/small/resolved.yaml
expect "env.json says it" grep -q '"precision": "bf16"' half/small/env.json
expect "env.json says f32" grep -q '"precision": "f32"' full/small/env.json
run 0 run small.yaml --out parts --precision bf16 --max-steps 100 -q
run 0 run --out parts --resume --max-steps 177 -q
run 0 run --out parts --resume -q
expect "resumed to the same bits" [ "$(hash_of half/small)" = "$(hash_of parts/small)" ]
run 0 run small.yaml --out key stages.vqvae.precision=bf16 -q
expect "the key is the option" [ "$(hash_of half/small)" = "$(hash_of key/small)" ]
run 0 run small.yaml --out threads --precision bf16 -t 3 -q
expect "any number of threads" [ "$(hash_of half/small)" = "$(hash_of threads/small)" ]
run 0 run small.yaml --out path --precision bf16 stages.vqvae.precision=f32 --max-steps 1 -q
expect "what is set by its path decides" grep -q "precision: *f32" path/small/resolved.yaml
run 3 run small.yaml --out wrong stages.vqvae.precision=half
err "must be f32 or bf16, is 'half'"

# --- eval and bench --------------------------------------------------------------------
npy x.npy '<f4' '(1, 3)' '\001\000\200\077\000\000\200\077\000\000\200\077'
npy w.npy '<f4' '(3, 3)' '\000\000\200\077\000\000\000\000\000\000\000\000\000\000\000\000\000\000\200\077\000\000\000\000\000\000\000\000\000\000\000\000\000\000\200\077'
cat >product.yaml <<'END2'
vqgraph: 1
graphs:
  g:
    in:
      x: f32[n, 3]
      w: f32[3, 3]
    steps:
      - {matmul: {a: x, b: w}, as: y}
    out: [y]
END2
run 0 eval product.yaml --input x=x.npy --input w=w.npy --output y=y32.npy
expect "f32 keeps the bits" cmp -s x.npy y32.npy
for isa in portable avx2 avx512 avx512bf16; do
	VQGRAPH_ISA=$isa "$vqgraph" eval product.yaml --precision bf16 --input x=x.npy --input w=w.npy --output y=$isa.npy
	expect "$isa rounds 1 + 2^-23 to 1" sh -c "[ \"\$(tail -c 12 $isa.npy | od -An -tx1 | tr -d ' \n')\" = 0000803f0000803f0000803f ]"
done
run 0 bench small.yaml --precision bf16 --steps 2 --warmup 0 --json
out '"precision": "bf16"'
out '"roof_gflops"'
run 0 bench small.yaml stages.vqvae.precision=bf16 --steps 1 --warmup 0 --json
out '"precision": "bf16"'
run 0 bench small.yaml stages.vqvae.precision=bf16 --precision f32 --steps 1 --warmup 0 --json
out '"precision": "f32"'
finish
