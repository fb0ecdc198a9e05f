#!/bin/sh
# Pictures as data: trained on, brought to the size of the model, left out or refused where they cannot be read.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"
fixtures=$src/tests/fixtures

mkdir -p photos/train/plain photos/train/round photos/test/plain
for i in 1 2 3 4 5 6 7 8; do
	cp "$fixtures/rgb.jpg" "photos/train/plain/$i.jpg"
	cp "$fixtures/palette.png" "photos/train/round/$i.png"
	cp "$fixtures/grey.jpg" "photos/test/plain/$i.jpg"
done

run 0 data verify ./photos
out "./photos:train  16 samples, image f32[13, 18, 3], 2 classes"
out "./photos:test  8 samples, image f32[13, 18, 1], 2 classes"

mkdir flat
cp "$fixtures/rgb.jpg" flat/1.jpg
run 4 run tiny.yaml 'stages.tok.data={source: ./flat/, split: test, batch: 1, size: 28, channels: 1}'
err "test is missing"
err "help: it has the split train: \`split: train\` in data, \`splits: [train]\` of a stage that encodes"

train() {	# code data-keys [validate's data-keys]
	code=$1
	run "$code" run tiny.yaml --max-steps 2 "stages.tok.data={source: ./photos, batch: 4, $2}" \
	    "stages.tok.validate={data: {source: ./photos, split: test, ${3-size: 28}}}"
}
train 3 "size: 28"
err "image"
train 0 "size: 28, channels: 1, crop: 3, flip: true, range: [-1, 1], interpolation: bicubic"
train 3 "size: [0, 28]"
train 3 "size: 28, channels: 2"
err "channels must be 1"
train 3 "resize: 28"
err "resize wants size"
train 0 "resize: 32, size: 28, channels: 1"
train 3 "interpolation: nearest"
err "bilinear"

# What is only looked at is not augmented.
train 3 "size: 28, channels: 1" "size: 28, flip: true"
err "flip changes pictures at random, for training"
train 3 "size: 28, channels: 1" "size: 28, crop: 2"
err "crop changes pictures at random, for training"

# Pictures that cannot be read.
printf 'not a picture' >photos/train/round/no.png
train 4 "size: 28, channels: 1"
err "train/round/no.png is neither JPEG nor PNG"
err "1 of 17 pictures"
train 0 "size: 28, channels: 1, bad: skip"
err "left out 1 of 17 pictures that cannot be read: train/round/no.png"
expect "the log says it too" grep -q "left out 1 of 17" runs/latest/log.txt
train 3 "size: 28, bad: ignore"
err "skip"
run 4 data verify ./photos
err "no.png"

# Named by a list, with labels and without.
find photos/train -name '*.jpg' | sort >mine.txt
run 0 data verify ./mine.txt
out "./mine.txt:train  8 samples, image f32[13, 18, 3]"
run 0 run tiny.yaml --max-steps 2 'stages.tok.data={source: ./mine.txt, batch: 4, size: 28, channels: 1}' 'stages.tok.validate={data: {source: ./mine.txt, size: 28, channels: 1}}'
printf 'photos/none.jpg\n' >>mine.txt
run 4 data verify ./mine.txt
err "./mine.txt:9: photos/none.jpg cannot be read: No such file"
printf 'photos/train/plain/1.jpg 3\n' >>mine.txt
run 4 data verify ./mine.txt
err "./mine.txt:10: there is one label, where ./mine.txt:1 has none"

# The same as a tar, named as a set is.
rm photos/train/round/no.png
mkdir data
(cd photos && tar -czf ../data/set.tar.gz .)
run 0 data verify data/set.tar.gz
out "16 samples, image f32[13, 18, 3], 2 classes"
# Its check sum, the last 8 bytes but 4, is looked at.
n=$(wc -c <data/set.tar.gz)
head -c $((n - 8)) data/set.tar.gz >data/bad.tar.gz
printf '\001\002\003\004' >>data/bad.tar.gz
tail -c 4 data/set.tar.gz >>data/bad.tar.gz
run 4 data verify data/bad.tar.gz
err "data/bad.tar.gz: damaged or no archive"
err "incorrect data check"
head -c $((n - 4)) data/set.tar.gz >data/bad.tar.gz
run 4 data verify data/bad.tar.gz
err "data/bad.tar.gz: damaged or no archive"
rm data/bad.tar.gz
# How it is read can be said.
run 0 data verify data/set.tar.gz size=8 channels=1
out "16 samples, image f32[8, 8, 1], 2 classes"
run 2 data verify data/set.tar.gz size=big
err "size must be"
run 2 data verify data/set.tar.gz batch=3
err "data verify does not take 'batch=3'"
run 2 data fetch mnist size=8
(cd photos && tar -cf ../data/cifar10.tar .)
run 0 data list
out "data/cifar10.tar: found"
run 4 data verify cifar10
err "data/cifar10.tar: holds 2 classes; cifar10 has 10"
run 4 data verify cifar100
err "the data of 'cifar100' (train) is not on this machine"

# Codes in arrays, and labels that are not there.
cat >classify.yaml <<'YAML'
vqgraph: 1
use: [lib/nn]
modules:
  head: {linear: {out: 4}}
graphs:
  guess:
    in:
      code: i32[batch, 6]
      label: i32[batch]
    steps:
      - {one_hot: {index: code, size: 512}}
      - {reshape: {shape: [$batch, 3072]}}
      - {head: {}, as: logits}
      - {cross_entropy: {logits: logits, index: label}, as: loss}
    out: [loss]
stages:
  guess:
    do: train
    graph: guess
    updates: [{minimize: loss, optimizer: {adam: {lr: 1e-2}}}]
    data: {source: ./codes, batch: 5}
    steps: 2
YAML
mkdir codes
cp "$fixtures/codes.npy" codes/train.code.npy
run 4 run classify.yaml
err "the labels of ./codes are missing: there is no ./codes/train.label.npy"
cp "$fixtures/pictures.label.npy" codes/train.label.npy
run 0 run classify.yaml
cp "$fixtures/codes.npy" alone.npy
run 4 run classify.yaml stages.guess.data.source=alone.npy
err "the labels of alone.npy are missing: there is no alone.label.npy"
run 0 run classify.yaml 'stages.guess.data={source: alone.npy, labels: codes/train.label.npy, batch: 5}'
run 4 run classify.yaml 'stages.guess.data={source: alone.npy, labels: none.npy, batch: 5}'
err "none.npy: the labels of alone.npy: No such file"
run 3 run classify.yaml 'stages.guess.data={source: ./codes, labels: none.npy, batch: 5}'
err "labels is for a source that is one .npy file"
run 3 run classify.yaml 'stages.guess.data={source: ./codes, batch: 5, size: 28}'
err "size is for pictures"
run 0 data verify ./codes
out "./codes:train  5 samples, code i32[6], 4 classes"
finish
