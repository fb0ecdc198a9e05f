#!/bin/sh
# A run that was stopped, killed or done with other threads ends with the same bits.
. "${srcdir:-.}/tests/cli/harness.sh"

cat >small.yaml <<'END'
vqgraph: 1
use: [lib/nn, lib/vq]
let: {codes: 32, dim: 8}
modules:
  enc: encoder
  dec: decoder
  vq: {ema_codebook: {codes: $codes, dim: $dim}}
blocks:
  encoder:
    in: {image: [n, h, w, c]}
    steps:
      - conv: {out: 16, kernel: 4, stride: 2, pad: 1}
      - batchnorm
      - relu
      - {dropout: {p: 0.1}, if: $train}
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
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-3}}, schedule: {cosine: {warmup: 4}}, clip: 1.0}]
    data: {source: digits, split: train, batch: 32, shuffle: true, limit: 320, crop: 2, flip: true}
    epochs: 3
    average: 0.9
    log_every: 4
    validate: {data: {source: digits, split: test, limit: 100}}
    codes: {vq.code: $codes}
    show: {reconstructions: recon, codes: vq.code, codebook: vq.book}
END

hash_of() {
	"$vqgraph" dump "$1" --hash
}

same() {
	[ "$(hash_of "$1")" = "$(hash_of "$2")" ] || { last=$3; fail "$1 and $2 differ"; }
}

run 0 run small.yaml --out whole -q
[ -f whole/small/checkpoints/last.safetensors ] || fail "no last checkpoint"
[ -f whole/small/samples/vqvae-reconstructions-epoch-003.png ] || fail "no picture of the last epoch"
[ "$(grep -c '"split": *"val"' whole/small/metrics.jsonl)" -eq 3 ] || fail "not three rows of validation"

# Stopped twice by --max-steps, once inside an epoch and once at its end.
run 0 run small.yaml --out parts --max-steps 7 -q
run 0 run small.yaml --out parts --resume --max-steps 20 -q
run 0 run small.yaml --out parts --resume -q
same whole/small parts/small "stopped by --max-steps"
[ "$(wc -l <whole/small/metrics.jsonl)" -eq "$(wc -l <parts/small/metrics.jsonl)" ] ||
	fail "rows of metrics are lost or doubled"
# Times have a fixed length in these files, so as many bytes are as many events.
events=small/tensorboard/vqvae-train/events.out.tfevents.vqgraph
[ "$(wc -c <whole/$events)" -eq "$(wc -c <parts/$events)" ] || fail "events are lost or doubled"

# Pictures and films are the same to the byte.
for picture in reconstructions.gif codes.gif codes-epoch-003.png; do
	cmp -s whole/small/samples/vqvae-$picture parts/small/samples/vqvae-$picture || fail "$picture differs"
done

for plot in codebook.svg codebook.png codes.svg; do
	cmp -s whole/small/plots/vqvae-$plot parts/small/plots/vqvae-$plot || fail "$plot differs"
done

# Stopped by a signal: the step is finished, the exit code says which.
"$vqgraph" run small.yaml --out signal -q stages.vqvae.epochs=400 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -s signal/small/metrics.jsonl ] && break
	sleep 0.2
done
# Whoever looks for it by name finds it.
[ ! -r /proc/$pid/comm ] || [ "$(cat /proc/$pid/comm)" = "$(basename "$vqgraph" | cut -c 1-15)" ] ||
	fail "the process is called $(cat /proc/$pid/comm)"
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "SIGTERM must end with 143"
[ -f signal/small/checkpoints/last.safetensors ] || fail "SIGTERM left no checkpoint"
run 0 run small.yaml --out signal --resume -q stages.vqvae.epochs=1

# Killed: what the last checkpoint has not is done again.
"$vqgraph" run small.yaml --out killed -q 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -f killed/small/checkpoints/last.safetensors ] && break
	sleep 0.1
done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
run 0 run small.yaml --out killed --resume -q
same whole/small killed/small "killed and resumed"
for split in train val; do
	events=small/tensorboard/vqvae-$split/events.out.tfevents.vqgraph
	[ "$(wc -c <whole/$events)" -eq "$(wc -c <killed/$events)" ] || fail "killed: events of $split are lost or doubled"
done
cmp -s whole/small/samples/vqvae-codes.gif killed/small/samples/vqvae-codes.gif || fail "killed: the film differs"

# Any number of threads.
for n in 2 3; do
	unset OMP_NUM_THREADS
	run 0 run small.yaml --out "threads$n" --threads $n -q
	same whole/small "threads$n/small" "$n threads"
done

# A damaged checkpoint is refused and nothing is written over it.
cp -r whole hurt
byte=$(od -An -tu1 -j60000 -N1 hurt/small/checkpoints/last.safetensors)
# shellcheck disable=SC2059
printf "\\$(printf %o $((byte ^ 255)))" | dd of=hurt/small/checkpoints/last.safetensors bs=1 seek=60000 conv=notrunc 2>/dev/null
before=$(cksum <hurt/small/checkpoints/last.safetensors)
run 5 run small.yaml --out hurt --resume -q
err last.safetensors
[ "$before" = "$(cksum <hurt/small/checkpoints/last.safetensors)" ] || fail "the damaged file was changed"
# Another model's checkpoint: both shapes are named.
run 5 run small.yaml --out whole --resume codes=64 -q
err 32
err 64

finish
