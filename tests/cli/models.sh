# models -- small model files for the tests; sourced after the harness

cat >linear.yaml <<'END'
vqgraph: 1
let:
  scale: 2
blocks:
  double:
    in: {x: [n, c]}
    params: {w: {shape: [$c], init: ones}}
    steps:
      - {mul: {a: x, b: w}, as: weighted}
      - {affine: {x: weighted, scale: $scale}}
modules:
  d: double
graphs:
  forward:
    in:
      x: f32[batch, 3]
      t: f32[batch, 3]
    steps:
      - {d: {x: x}, as: y}
      - {mse: {a: y, b: t}, as: loss}
      - {sum: {x: y}, as: total}
    out: [loss, total, y]
END

# A tokenizer small enough to train in a moment: four 14x14 patches, each one of 8 codes.
cat >tiny.yaml <<'END'
vqgraph: 1
let:
  codes: 8
  dim: 4
blocks:
  linear:
    args: {out: int}
    in: {x: [n, c]}
    params:
      w: {shape: [$c, $out], init: {uniform: 0.05}}
    steps:
      - {matmul: {a: x, b: w}}
  book:
    in: {z: [n, d]}
    params:
      table: {shape: [$codes, $d], init: {uniform: 0.5}}
    steps:
      - {nearest: {x: z, table: table}, as: code}
      - {lookup: {table: table, index: code}, as: e}
      - {stop: {x: z}, as: z0}
      - {mse: {a: e, b: z0}, as: loss}
      - {straight_through: {value: e, to: z}, as: quantized}
    out: [code, quantized, loss]
modules:
  enc: {linear: {out: $dim}}
  dec: {linear: {out: 784}}
  vq: book
graphs:
  autoencode:
    in:
      image: f32[batch, 28, 28, 1]
    steps:
      - {reshape: {x: image, shape: [$batch, 784]}, as: flat}
      - {enc: {x: flat}, as: z}
      - {vq: {z: z}, as: vq}
      - {dec: {x: vq.quantized}, as: y}
      - {reshape: {x: y, shape: [$batch, 28, 28, 1]}, as: recon}
      - {mse: {a: recon, b: image}, as: recon_loss}
      - {add: {a: recon_loss, b: vq.loss}, as: loss}
    out: [loss, recon_loss, recon, vq.code]
stages:
  tok:
    do: train
    graph: autoencode
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-2}}}]
    data: {source: digits, split: train, batch: 16, shuffle: true}
    steps: 4
    codes: {vq.code: $codes}
    show: {reconstructions: recon}
END
