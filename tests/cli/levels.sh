#!/bin/sh
# Two levels of codes, as graphs/vqvae2_cifar10.yaml and graphs/prior2_cifar10.yaml have them, made small on built-in digits.
. "${srcdir:-.}/tests/cli/harness.sh"

# payload FILE: what follows an npy's header, as numbers of four bytes, one a line
payload() {
	tail -c +129 "$1" | od -An -v -w4 -t d4 | tr -d ' '
}

digits='{source: digits, split: train, batch: 32, size: 32, channels: 3, limit: 640, shuffle: true, range: [-0.5, 0.5]}'
cat >small.sh <<END
"$vqgraph" "\$@" vqvae.width=16 vqvae.codes=16 vqvae.dim=8 "vqvae.stages.vqvae.data=$digits" \\
	vqvae.stages.vqvae.epochs=4 'vqvae.stages.vqvae.validate.data={source: digits, split: test, size: 32, channels: 3, limit: 64, range: [-0.5, 0.5]}' \\
	'stages.codes.data={source: digits, size: 32, channels: 3, limit: 320, range: [-0.5, 0.5]}' \\
	width=16 layers=2 heads=2 stages.prior.data.batch=32 stages.prior.epochs=4 stages.samples.count=20
END
real=$vqgraph
vqgraph=$folder/small.sh
chmod +x small.sh
sed -i '1i #!/bin/sh' small.sh
run 0 run "$src/graphs/prior2_cifar10.yaml" --name two --progress none
vqgraph=$real
err "stage codes: train, top i32[320, 4, 4]"
grep -qE " top codes [0-9]+/16 ppl [0-9]+  bottom codes [0-9]+/16 ppl" runs/vqvae2_cifar10/log.txt ||
	fail "the log does not say which level's codes it counts"
err "stage codes: train, bottom i32[320, 8, 8]"
for file in codes/train.top.npy codes/train.bottom.npy codes/train.label.npy codes/test.bottom.npy samples/samples.png; do
	expect "the run leaves $file" [ -s "runs/two/$file" ]
done
# The losses of both stages fall.
# falls RUN NAME SPLIT
falls() {
	expect "$2 falls" awk -v name="\"$2\": " -v split_="\"split\": \"$3\"" 'index($0, split_) { i = index($0, name)
		if (i) { x = substr($0, i + length(name)) + 0; if (!n++) first = x; last = x } }
		END { exit !(n >= 2 && last < 0.97 * first) }' "$1/metrics.jsonl"
}
falls runs/vqvae2_cifar10 recon_loss val
falls runs/two loss val
falls runs/two bottom_loss val

# Drawn codes are of both levels: 80 of them, each below 16.
run 0 sample runs/two -n 20 --codes a.npy --out a.png -t 2
err "wrote a.npy, i32[20, 80]"
expect "codes of either level" sh -c "$(printf 'tail -c +129 a.npy | od -An -v -w4 -t d4 | awk "{ if (\\$1 < 0 || \\$1 > 15) exit 1 }"')"
run 0 sample runs/two -n 20 --codes b.npy -b 3 -t 1 -q
expect "the same ones in another batch" cmp -s a.npy b.npy

# One array alone of two is no code of a picture, and no grid.
run 3 sample runs/two --complete digits:test --out x.png
err "several values are encoded"
run 3 check "$src/graphs/prior2_cifar10.yaml" 'stages.codes.value=[vq_top.code, vq_bottom.code]'
err "two arrays would be named code"
run 3 check "$src/graphs/prior2_cifar10.yaml" 'stages.codes.value=[]'
err "value wants 1 to 3 values"
run 3 check "$src/graphs/prior2_cifar10.yaml" 'stages.codes.value=[top, bottm]'
err "bottm"

# What was removed is made again, with the other one.
rm runs/two/codes/train.top.npy
run 0 run --resume runs/two --progress none stages.prior.epochs=5
err "stage codes: train, top i32[320, 4, 4]"
err "stage codes: test is there already"

finish
