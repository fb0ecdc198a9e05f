#!/bin/sh
# The same weights and batch in vqgraph and in PyTorch: outputs, gradients, states. Skipped without PyTorch.
. "${srcdir:-.}/tests/cli/harness.sh"

bench() {
	code=$1
	shift
	last="tools/bench $*"
	python3 -B "$src/tools/bench" --vqgraph "$vqgraph" --threads 1 "$@" >"$folder/.out" 2>"$folder/.err" </dev/null
	got=$?
	[ "$got" -eq "$code" ] || fail "exit code $got, wanted $code"
}

command -v python3 >/dev/null || exit 77

# What the other side is made from: the step's settings, and constants with their values.
run 0 dump "$src/graphs/vqvae_mnist.yaml" --stage vqvae --format json
out '"minimize": "loss"'
out '"optimizer": "adam"'
out '"value": 0.25'

# Without PyTorch: a plain word, and vqgraph's side.
bench 0 --no-torch --rounds 1 --steps 2 "$src/graphs/mlp_mnist.yaml" --out times.json
out "mlp_mnist, classifier"
expect "figures are kept" grep -q '"torch": null' times.json
bench 0 --table times.json
out "| \`mlp_mnist\`, classifier | 128 |"

# A run goes on: rows that are there stay as they are, of a part that was cut none does.
same="--no-torch --rounds 1 --steps 1 --resume"
# shellcheck disable=SC2086
{
	bench 0 $same "$src/graphs/mlp_mnist.yaml" --out on.json
	sed -n '/"vqgraph": {/,/}/p' on.json >first
	bench 0 $same "$src/graphs/mlp_mnist.yaml" "$src/graphs/prior_mnist.yaml" --out on.json
	out "mlp_mnist, classifier"
	out "prior_mnist, prior"
	expect "the first row is the same" sh -c 'sed -n "/\"vqgraph\": {/,/}/p" on.json | head -n "$(wc -l <first)" | cmp -s - first'
	expect "the second is new" [ "$(grep -c '"precision": "f32"' on.json)" -eq 2 ]
	expect "that it was resumed is told" grep -q '"resumed"' on.json
	bench 1 $same "$src/graphs/mlp_mnist.yaml" --batch 8 --out on.json
	err "is of another settings"
	echo '{"cpu":' >cut.json
	bench 1 $same "$src/graphs/mlp_mnist.yaml" --out cut.json
	err "cut.json cannot be resumed"
	bench 2 $same "$src/graphs/mlp_mnist.yaml"
	err "--resume goes with --out FILE"
	bench 0 $same --parts attention --quick --out parts.json
	cp parts.json whole.json
	bench 0 $same --parts attention --quick --out parts.json
	out "a token"
	expect "the part was not measured again" [ "$(grep step_ms parts.json)" = "$(grep step_ms whole.json)" ]
	sed -i 's/"attention"$//' parts.json
	bench 0 $same --parts attention --quick --out parts.json
	expect "one that is not whole is" [ "$(grep -c step_ms parts.json)" = "$(grep -c step_ms whole.json)" ]
	expect "as a whole" [ "$(grep step_ms parts.json)" != "$(grep step_ms whole.json)" ]
}
rm -f parts.json
bench 0 --no-torch --rounds 1 --steps 1 --most 0.1 "$src/graphs/mlp_mnist.yaml"
out "64*"
bench 0 --no-torch --quick --parts attention,sampling --out parts.json
out "a token"
expect "what the lengths take is kept" grep -q '"bytes_per_token"' parts.json
bench 2 --parts steps,speed
err "there is no 'speed'"
bench 1 --no-torch "$src/graphs/mlp_mnist.yaml:classifie"
err "has no stage 'classifie'"

PYTHON=$(for p in python3 /usr/bin/python3; do
	"$p" -c 'import torch' 2>/dev/null && echo "$p" && break
done)
if [ -z "$PYTHON" ]; then
	[ "$failures" -eq 0 ] || finish
	exit 77
fi

# Most ops that models are made of, with their odd settings.
cat >ops.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq]
blocks:
  body:
    in: {x: [n, h, w, c]}
    steps:
      - {conv: {out: 6, kernel: 3, pad: [0, 1, 1, 2], stride: 2, bias: false}}
      - batchnorm
      - {leaky_relu: {slope: 0.1}}
      - {groupnorm: {groups: 3}}
      - {dropout: {p: 0.2}, if: $train}
      - {linear: {out: 8}}
      - {max_pool2d: {kernel: 2}}
      - {codebook: {codes: 7, dim: 8}, as: vq}
      - {resize: {x: vq.quantized, scale: 2, mode: bilinear}}
      - {convt: {out: 5, kernel: 3, stride: 2, pad: 1, output_pad: 1}}
      - {avg_pool2d: {kernel: 3, stride: 1, pad: 1}}
      - layernorm
      - gelu
      - {slice: {axis: 1, start: 1, stop: 7}}
      - {pad: {before: [0, 1, 2, 0], after: [0, 0, 1, 0], mode: reflect}}
      - {mean: {axes: [1]}}
      - flatten
      - {linear: {out: 6}}
      - batchnorm
      - {linear: {out: 4}, as: logits}
    out: [logits, loss: vq.loss]
  attend:
    args: {heads: int}
    in: {x: [n, t, c], mask: [t, t]}
    steps:
      - {layernorm: {x: x}, as: y}
      - {linear: {out: $(3 * c)}}
      - {reshape: {shape: [$n, $t, 3, $heads, $(c / heads)]}}
      - {transpose: {axes: [2, 0, 3, 1, 4]}, as: all}
      - {slice: {x: all, axis: 0, start: 0, stop: 1}}
      - {reshape: {shape: [$n, $heads, $t, $(c / heads)]}, as: q}
      - {slice: {x: all, axis: 0, start: 1, stop: 2}}
      - {reshape: {shape: [$n, $heads, $t, $(c / heads)]}, as: k}
      - {slice: {x: all, axis: 0, start: 2}}
      - {reshape: {shape: [$n, $heads, $t, $(c / heads)]}, as: v}
      - {matmul: {a: q, b: k, transpose_b: true}}
      - {mul: {b: $(1 / sqrt(c / heads))}, as: scores}
      - {where: {cond: mask, a: scores, b: $(0 - 1e30)}}
      - softmax
      - {matmul: {b: v}}
      - {transpose: {axes: [0, 2, 1, 3]}}
      - {reshape: {shape: [$n, $t, $c]}}
      - {linear: {out: $c}}
      - {add: {b: x}}
modules:
  image_part: body
  tokens: {embedding: {entries: 9, dim: 12}}
  first: {attend: {heads: 3}}
graphs:
  both:
    in:
      image: f32[batch, 13, 14, 3]
      label: i32[batch]
      code: i32[batch, 5]
      mask: f32[5, 5]
    steps:
      - {image_part: {x: image}, as: y}
      - {cross_entropy: {logits: y.logits, index: label, smoothing: 0.1}, as: first_loss}
      - {tokens: {index: code}}
      - {first: {mask: mask}}
      - {matmul: {b: tokens.weight, transpose_b: true}, as: logits}
      - {cross_entropy: {logits: logits, index: code}}
      - {add: {b: first_loss}}
      - {add: {b: y.loss}, as: loss}
    out: [loss, first_loss]
stages:
  s:
    do: train
    graph: both
    updates: [{minimize: loss, optimizer: {adamw: {lr: 1e-3}}, clip: 1.0}]
    data: {source: mnist, split: train, batch: 4}
    epochs: 1
END
bench 0 --check --python "$PYTHON" --out check.json ops.yaml
out "hold, within 0.0001"
expect "every value is kept" grep -q '"what": "d loss / d image_part.batchnorm.0.scale"' check.json
bench 1 --check --python "$PYTHON" --tolerance 1e-15 ops.yaml
out "DIFFERS"

# Tokens: attention, orders, norms, corruption.
cat >tokens.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/transformer]
modules:
  modern: {gpt: {vocab: 13, width: 12, layers: 2, heads: 3, hidden: 20, activation: silu, gated: true, norm: rmsnorm, rotary: true, tied: true, deviation: 0.5, dropout: 0.2}}
  older: {gpt: {vocab: 13, out: 7, length: 11, width: 12, layers: 1, heads: 2, dim: 4, first_norm: true, post: true, last_norm: true, deviation: 0.5}}
  around: {self_attention: {heads: 2, dim: 6}}
graphs:
  all:
    in:
      token: i32[batch, 3, 3]
      label: i32[batch]
    steps:
      - {reorder: {order: z_curve}, as: code}
      - {reorder: {x: token, order: s_curve}, as: other}
      - {reorder: {order: s_curve, inverse: true}, as: back}
      - {corrupt: {code: code, keep: 0.5, codes: 13}, as: changed}
      - {modern: {}, as: modern_logits}
      - {cross_entropy: {index: code}, as: modern_loss}
      - {class_start: {code: other, label: label, token: 0}}
      - {older: {}, as: older_logits}
      - {slice: {x: older_logits, start: 0, stop: 6}}
      - {around: {}}
      - {sum_squares: {x: [older_logits]}, as: s}
      - {cross_entropy: {logits: modern_logits, index: back}}
      - {add: {b: modern_loss}}
      - {axpy: {a: 0.01, x: s}, as: loss}
    out: [loss]
stages:
  s:
    do: train
    graph: all
    updates: [{minimize: loss, optimizer: {adamw: {lr: 1e-3}}}]
    data: {source: mnist, split: train, batch: 4}
    epochs: 1
END
bench 0 --check --python "$PYTHON" tokens.yaml
out "59 of 59 hold, within 0.0001"

# Every quantizer, with what it keeps after a step.
cat >quantizers.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq]
modules:
  enc: {conv: {out: 4, kernel: 4, stride: 4}}
  a: {codebook: {codes: 9, dim: 4, cosine: true, rotate: true}}
  b: {ema_codebook: {codes: 9, dim: 4, kmeans: 3, rotate: true}}
  c: {ema_codebook: {codes: 9, dim: 4, debias: false, start: false, restart: 0, decay: 0.5}}
  d: {codebooks: {books: 2, codes: 9, dim: 2}}
  e: {codebooks: {books: 3, codes: 9, dim: 4, residual: true}}
  f: {projected_codebook: {codes: 9, dim: 3}}
  g: {gumbel_codebook: {codes: 9, dim: 4}}
  h: {fsq: {levels: [5, 4, 3, 2]}}
  i: {lfq: {dim: 4, temperature: 1}}
  dec: {convt: {out: 1, kernel: 4, stride: 4}}
graphs:
  all:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {enc: {}, as: z}
      - {a: {z: z}, as: a}
      - {b: {z: z}, as: b}
      - {c: {z: z}, as: c}
      - {d: {z: z}, as: d}
      - {e: {z: z}, as: e}
      - {f: {z: z}, as: f}
      - {g: {z: z}, as: g}
      - {h: {z: z}, as: h}
      - {i: {z: z}, as: i}
      - {add: {a: a.quantized, b: b.quantized}}
      - {add: {b: c.quantized}}
      - {add: {b: d.quantized}}
      - {add: {b: e.quantized}}
      - {add: {b: f.quantized}}
      - {add: {b: g.quantized}}
      - {add: {b: h.quantized}}
      - {add: {b: i.quantized}}
      - dec
      - {mse: {b: image}}
      - {add: {b: a.loss}}
      - {add: {b: b.loss}}
      - {add: {b: c.loss}}
      - {add: {b: d.loss}}
      - {add: {b: e.loss}}
      - {add: {b: f.loss}}
      - {add: {b: g.loss}}
      - {add: {b: h.loss}}
      - {add: {b: i.loss}, as: loss}
    out: [loss, a.quantized, b.quantized, e.quantized, f.quantized, g.quantized, h.quantized, i.quantized]
stages:
  s:
    do: train
    graph: all
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: mnist, split: train, batch: 4}
    epochs: 1
END
bench 0 --check --python "$PYTHON" --out quantizers.json quantizers.yaml
out "hold, within 0.0001"
expect "what is kept is compared" grep -q '"what": "e.book afterwards"' quantizers.json

# The systems, written by hand.
if "$PYTHON" -c 'import numpy' 2>/dev/null; then
	expect "the systems are what PyTorch has" "$PYTHON" -B "$src/tests/oracle/systems.py" --vqgraph "$vqgraph" >&2
	expect "LPIPS of a file is what PyTorch has" "$PYTHON" -B "$src/tests/oracle/features_vgg16.py" "$vqgraph" >&2
fi

# Gradients as values: by a parameter that a convolution has, by one that a matrix product has, by an input and by what was computed,
# the latter two differentiated again; a norm called twice, and one whose values are read before they are scaled.
cat >slopes.yaml <<'END'
vqgraph: 1
use: [lib/nn]
blocks:
  judge:
    in: {x: [n, h, w, c]}
    steps:
      - {conv: {out: 6, kernel: 3, pad: 1, bias: false}}
      - batchnorm
      - tanh
      - {linear: {out: 1}}
  both:
    in: {x: [n, h, w, c]}
    params:
      scale: {shape: [$c], init: {normal: [1, 0.5]}}
      shift: {shape: [$c], init: {normal: [0, 0.5]}}
    steps:
      - {batch_norm_affine: {x: x, scale: scale, shift: shift}, as: one}
      - {mul: {a: one.y, b: one.normal}}
      - {add: {b: one.variance}}
modules:
  net: {conv: {out: 3, kernel: 3, pad: 1}}
  last: {linear: {out: 3}}
  disc: judge
  twice: both
graphs:
  all:
    in:
      image: f32[batch, 8, 9, 3]
    steps:
      - net
      - {sigmoid: {}, as: inner}
      - twice
      - {last: {}, as: recon}
      - {mse: {b: image}, as: error}
      - {disc: {x: recon}, as: fake}
      - {mean: {}, as: hope}
      - {gradient: {of: error, to: net.weight}, as: pull}
      - {gradient: {of: hope, to: net.weight}, as: push}
      - {gradient: {of: error, to: last.weight}, as: flat}
      - {sum_squares: {x: [pull]}, as: pull_size}
      - {sum_squares: {x: [push]}, as: push_size}
      - {sum_squares: {x: [flat]}, as: flat_size}
      - {div: {a: pull_size, b: push_size}}
      - {clamp: {low: 0, high: 10}}
      - {add: {b: flat_size}}
      - {stop: {}, as: weight}
      - {mul: {b: hope}}
      - {add: {b: error}, as: first}
      - {gradient: {of: first, to: inner}, as: bend}
      - {sum_squares: {x: [bend]}, as: bent}
      - {add: {a: first, b: bent}, as: loss}
      - {disc: {x: image}, as: real}
      - {sum: {}, as: height}
      - {gradient: {of: height, to: image}, as: slope}
      - {sum_squares: {x: [slope]}, as: steep}
      - {softplus: {x: real}}
      - {mean: {}}
      - {axpy: {a: 0.1, x: steep}, as: judged}
    out: [loss, judged, weight]
stages:
  s:
    do: train
    graph: all
    updates:
      - {minimize: loss, train: [net, last, twice], optimizer: {adam: {lr: 1e-3}}}
      - {minimize: judged, train: [disc], optimizer: {adam: {lr: 1e-3}}}
    data: {source: mnist, split: train, batch: 4}
    epochs: 1
END
bench 0 --check --python "$PYTHON" slopes.yaml
out "hold, within 0.0001"
bench 0 --source slopes.yaml
out "torch.autograd.grad("
out "create_graph=True"
expect "running averages are PyTorch's own" sh -c '! grep -q "lerp" .out'
bench 0 --check --python "$PYTHON" slopes.yaml:s --set stages.s.data.batch=3
out "hold, within 0.0001"

# Operands beside a kink, where f32 is on another side than f64 and than PyTorch may be: gradients follow the side, and the ops are
# named. A pool of which both neighbours are as large, with and without an edge on one side.
cat >kinks.yaml <<'END'
vqgraph: 1
blocks:
  beside:
    params:
      one: {shape: [2], init: ones}
      little: {shape: [2], init: {constant: 1e-9}}
      less: {shape: [2], init: {constant: 1e-9}}
      far: {shape: [6], init: {normal: 1}}
    steps:
      - {add: {a: one, b: little}, as: more}
      - {sub: {a: more, b: one}, as: above}
      - {sub: {a: one, b: less}}
      - {sub: {b: one}, as: below}
      - {concat: {x: [above, below, far], axis: 0}, as: x}
      - {relu: {x: x}}
      - {sum: {}, as: a}
      - {leaky_relu: {x: x, slope: 0.25}}
      - {sum: {}, as: b}
      - {abs: {x: x}}
      - {sum: {}, as: c}
      - {clamp: {x: x, low: 0, high: 1}}
      - {sum: {}, as: d}
      - {concat: {x: [one, more], axis: 0}}
      - {reshape: {shape: [1, 2, 2, 1]}}
      - {max_pool2d: {kernel: 2}}
      - {sum: {}, as: e}
      - {concat: {x: [one, more], axis: 0}}
      - {reshape: {shape: [1, 2, 2, 1]}}
      - {max_pool2d: {kernel: 2, pad: [0, 1, 0, 1]}}
      - {sum: {}, as: f}
    out: [a, b, c, d, e, f]
modules:
  net: beside
graphs:
  all:
    in:
      image: f32[batch, 2]
    steps:
      - {net: {}, as: n}
      - {mean: {x: image}}
      - {add: {b: n.a}}
      - {add: {b: n.b}}
      - {add: {b: n.c}}
      - {add: {b: n.d}}
      - {add: {b: n.e}}
      - {add: {b: n.f}, as: loss}
    out: [loss]
stages:
  s:
    do: train
    graph: all
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}}]
    data: {source: mnist, split: train, batch: 4}
    epochs: 1
END
bench 0 --check --python "$PYTHON" --verbose kinks.yaml
for op in relu leaky_relu abs clamp max_pool2d; do
	out "net.$op.0, "
done
bench 1 --check --python "$PYTHON" --tolerance 1e-10 kinks.yaml
out "net.relu.0, 2 beyond its kink"
out "1.0e-09  DIFFERS"

# The models that are shipped, each stage that trains; of the largest its tokenizer, at an eighth of the size.
set --
for model in "$src"/graphs/*.yaml; do
	[ "${model##*/}" = vqgan_256.yaml ] || set -- "$@" "$model"
done
bench 0 --check --python "$PYTHON" --batch 2 "$@"
out "vqvae_mnist.yaml, vqvae"
out "prior_mnist.yaml, prior"
out "vqvae_transformer.yaml, prior"
out "vqgan_cifar10.yaml, tokenizer"
bench 0 --check --python "$PYTHON" --batch 3 "$src/graphs/vqgan_cifar10.yaml:tokenizer"
bench 0 --check --python "$PYTHON" --batch 4 "$src/graphs/vqgan_cifar10.yaml:tokenizer"
bench 0 --check --python "$PYTHON" --batch 2 "$src/graphs/vqgan_256.yaml:tokenizer" --set size=32 --set width=32 --set attention=2
out "hold, within 0.0001"

# And times: that the machinery works, not what they are.
bench 0 --python "$PYTHON" --rounds 1 --steps 1 --warmup 0 --batch 2 --precision f32,bf16 ops.yaml --out times.json
out "ratio"
expect "in both precisions" [ "$(grep -c '"ratio": [0-9]' times.json)" -eq 2 ]
expect "both sides are there" grep -q '"variant": "channels_' times.json
expect "PyTorch's memory is counted without its library" grep -q '"own_rss_bytes": ' times.json
OMP_NUM_THREADS=1 "$PYTHON" -B "$src/tools/bench_sampling" "$src/graphs/prior_mnist.yaml" --vqgraph "$vqgraph" --batch 1 --turns 1 \
	--some --threads 1 >sampling.json || fail "bench_sampling"
expect "in both precisions" grep -q '"bf16": {"precision": "bf16", "vqgraph_s": [0-9].*"f32_cached_ratio": [0-9]' sampling.json
expect "with and without kept keys and values" grep -q '"cached_ratio": [0-9]' sampling.json
finish
