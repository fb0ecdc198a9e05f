#!/bin/sh
# Training that cannot go well: each run ends with its exit code, names the place, and loses nothing.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

# refused OVERRIDE TEXT: an error in the model, told before anything is written.
refused() {
	run 3 run tiny.yaml -q "$1"
	err "error: "
	err "$2"
	[ ! -e runs ] || fail "a folder was left: $(ls runs)"
	rm -rf runs
}

refused stages.tok.data.batch=0 batch
refused stages.tok.data.batch=99999999999999999999 batch
refused stages.tok.steps=0 "either epochs or steps"
refused stages.tok.epochs=3 "either epochs or steps"
refused stages.tok.epochs=-2 epochs
refused stages.tok.log_every=0 log_every
refused stages.tok.average=1 average
refused dim=-4 "tiny.yaml:"
refused dim=1.5 "tiny.yaml:"
refused codes=0 "tiny.yaml:"
refused codes=99999999999 "tiny.yaml:"
refused dim=99999999999 "tiny.yaml:"
refused stages=3 stages
refused stages.tok=3 "command line:1"
refused 'stages.tok.updates=[]' updates
refused 'stages.tok.updates=[3]' update
refused stages.tok.do=trian do
refused stages.tok.graph=autoencoed autoencode
refused stages.tok.data=3 data
refused stages.tok.data.source=digist digits
refused stages.tok.data.split=tset test
refused 'stages.tok.data.range=[1, 0]' range
refused 'stages.tok.show={reconstructions: recno}' "similar name: recon"
refused 'stages.tok.show={reconstruction: recon}' "similar name: reconstructions"
refused 'stages.tok.show={reconstructions: flat}' "not of the type of \`image\`"
refused 'stages.tok.show={reconstructions: [recon, recno]}' "similar name: recon"
refused 'stages.tok.show={codes: recon}' "no codes of a picture"
run 3 check tiny.yaml "stages.tok.show={codes: recon}"
err "no codes of a picture"
refused 'stages.tok.show={codes: vq.code}' "no codes of a picture"
refused 'stages.tok.show={codebook: recon}' "no list of entries"
refused 'stages.tok.show={samples: tok}' "does not draw samples"
refused stages.tok.show=recon "show"
refused 'stages.tok.codes={vq.cod: 8}' vq.cod
refused 'stages.tok.codes={vq.code: 1000000000}' "vq.code must be a whole number of codes from 1 to 100000000, is 1000000000"
refused 'stages.tok.report=[none]' none
refused 'stages.tok.stop={metric: loss}' "there is no \`validate\`"
val='stages.tok.validate={data: {source: digits, split: test, limit: 40}}'
run 3 run tiny.yaml -q 'stages.tok.stop={metric: lss}' "$val"
err "similar name: loss"
expect "nothing is written" [ ! -e runs ]
for loss in vq.code recon image; do
	refused "stages.tok.updates=[{minimize: $loss, optimizer: sgd}]" "'$loss' cannot be minimized"
done
refused 'stages.tok.updates=[{minimize: loss, optimizer: {adam: {lr: -1}}}]' lr
for from in 0 3; do
	refused "stages.tok.updates=[{minimize: loss, optimizer: adam}, {minimize: recon_loss, from: $from, optimizer: adam}]" \
		"an update before this one trains enc.w, too"
done
refused 'stages.tok.updates=[{minimize: loss, optimizer: {adma: {}}}]' "adam"

run 4 run tiny.yaml -q stages.tok.data.limit=5
err "tiny.yaml:"
err "has 5 samples, fewer than one batch of 16"
run 3 run tiny.yaml -q stages.tok.data.skip=60000
err "tiny.yaml:"
err "leaves nothing of digits:train"
expect "said once, though two threads found it" [ "$(grep -c "leaves nothing" .err)" -eq 1 ]
run 4 run tiny.yaml -q stages.tok.data.source=no/where
err "command line:1:24"

# A loss that is not finite: the step and the node.
run 6 run tiny.yaml -q --out nan 'stages.tok.updates=[{minimize: loss, optimizer: {adam: {lr: 1e30}}}]'
err "of stage tok: the loss is not finite"
err "the first node whose result is not finite is "
err "tiny.yaml:"

# Places that cannot be written.
: >file
run 1 run tiny.yaml -q --out file
err "file: "
run 1 run tiny.yaml -q --out file/x
run 1 run tiny.yaml -q --out /proc/no
if [ "$(id -u)" -ne 0 ]; then
	mkdir closed
	chmod 555 closed
	run 1 run tiny.yaml -q --out closed
fi
(ulimit -f 3000 && run 1 run tiny.yaml -q --out full codes=40000 dim=8 && err "cannot write full/tiny/checkpoints/last.safetensors"
exit $failures) || failures=1
expect "no half of a checkpoint" [ -z "$(ls -A full/tiny/checkpoints)" ]

# wait_for FILE
wait_for() {
	i=0
	while [ ! -s "$1" ] && [ $i -lt 300 ]; do
		sleep 0.1
		i=$((i + 1))
	done
}

# SIGUSR1 saves and goes on; SIGINT saves and ends.
"$vqgraph" run tiny.yaml -q --out signal stages.tok.steps=100000000 2>.err &
pid=$!
wait_for signal/tiny/metrics.jsonl
kill -USR1 $pid
wait_for signal/tiny/checkpoints/last.safetensors
expect "SIGUSR1 saves" [ -s signal/tiny/checkpoints/last.safetensors ]
expect "and the run goes on" kill -0 $pid
cp signal/tiny/checkpoints/last.safetensors before
kill -TERM $pid
wait $pid
expect "SIGTERM ends with 143" [ $? -eq 143 ]
expect "SIGTERM saves" sh -c "! cmp -s before signal/tiny/checkpoints/last.safetensors"
expect "no temporary file is left" [ "$(ls -A signal/tiny/checkpoints)" = last.safetensors ]

# A checkpoint that is cut, altered, of another model, or none.
last=signal/tiny/checkpoints/last.safetensors
cp $last good
for how in 'head -c 7' 'head -c 100' 'head -c 20000' 'cat x.npy' 'tr a b <'; do
	npy x.npy '|u1' '(1,)' '\001'
	case $how in
	cat*) cp x.npy signal/tiny/checkpoints/last.safetensors ;;
	tr*) tr a b <good >signal/tiny/checkpoints/last.safetensors ;;
	*) $how good >signal/tiny/checkpoints/last.safetensors ;;
	esac
	sum=$(cksum <signal/tiny/checkpoints/last.safetensors)
	run 5 run tiny.yaml -q --out signal --resume
	err "signal/tiny/checkpoints/last.safetensors"
	run 5 dump signal/tiny --hash
	expect "nothing is written over it" [ "$sum" = "$(cksum <signal/tiny/checkpoints/last.safetensors)" ]
done
cp good signal/tiny/checkpoints/last.safetensors
run 5 run tiny.yaml -q --out signal --resume dim=5
err "[784, 4]"
err "[784, 5]"
rm signal/tiny/checkpoints/last.safetensors
run 0 run tiny.yaml --out signal --resume --max-steps 1 --progress none
err "nothing was saved of this run: it begins again"
rm signal/tiny/checkpoints/last.safetensors
mkdir signal/tiny/checkpoints/last.safetensors
run 5 run tiny.yaml -q --out signal --resume
err "it is a folder"
finish
