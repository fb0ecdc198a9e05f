#!/bin/sh
# Model files that are wrong: each is an error of status 3 with a place and a cause, never a crash.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

# wrong NAME SED-SCRIPT TEXT...: linear.yaml with one thing changed.
wrong() {
	sed "$2" linear.yaml >"$1.yaml"
	expect "$1 changes the file" sh -c "! cmp -s linear.yaml $1.yaml"
	run 3 check "$1.yaml"
	silent
	err "$1.yaml:"
	err "error: "
	shift 2
	for text; do
		err "$text"
	done
}

wrong unknown_key 's/^graphs:/grpahs:/' "grpahs"
wrong unknown_param 's/scale: \$scale/scael: $scale/' "scael" "scale"
wrong unknown_op 's/mse:/mes:/' "mes" "mse"
wrong unknown_value 's/b: t}/b: q}/' "q"
wrong unknown_number 's/\$scale/$scall/' "scall" "scale"
wrong unknown_module 's/{d: {x/{e: {x/' "e"
wrong duplicate_key 's/^  scale: 2/  scale: 2\n  scale: 3/' "scale"
wrong anchor 's/scale: 2/scale: \&a 2/' "anchor"
wrong alias 's/scale: 2/scale: *a/' "alias"
wrong tag 's/scale: 2/scale: !!int 2/' "tag"
wrong merge 's/^  scale: 2/  <<: {scale: 2}/'
wrong wrong_type 's/scale: \$scale/scale: wide/' "wide"
wrong map_for_number 's/scale: 2/scale: {a: 2}/'
wrong list_for_map 's/^let:/let: []\nlot:/'
wrong version 's/vqgraph: 1/vqgraph: 7/' "7"
wrong shape_mismatch 's/t: f32\[batch, 3\]/t: f32[batch, 4]/' "mse" "f32[1, 3]" "f32[1, 4]"
wrong bad_type 's/f32\[batch, 3\]/f31[batch, 3]/'
wrong bad_output 's/out: \[loss, total/out: [loss, totl/' "totl"
wrong syntax 's/^modules:/modules: {{/'
wrong tab 's/^  scale: 2/\tscale: 2/'
wrong divide 's/scale: 2/scale: $(1 \/ 0)/'
wrong second_document 's/^let:/---\nlet:/'

# Overrides.
run 3 check linear.yaml scall=3
err "scall"
err "scale"
run 3 check linear.yaml graphs.forwrad.out=3
run 3 check linear.yaml 'scale=[1'
run 3 check linear.yaml scale=

# Files that use each other.
printf 'vqgraph: 1\nuse: [b]\n' >a.yaml
printf 'vqgraph: 1\nuse: [a]\n' >b.yaml
run 3 check a.yaml
err "a.yaml"
printf 'vqgraph: 1\nuse: [itself]\n' >itself.yaml
run 3 check itself.yaml
printf 'vqgraph: 1\nuse: [nothing_like_it]\n' >missing.yaml
run 3 check missing.yaml
err "nothing_like_it"

# Files that are no files, or no text.
run 3 check none.yaml
err "none.yaml"
mkdir folder.yaml
run 3 check folder.yaml
: >empty.yaml
run 3 check empty.yaml
printf '\377\376\000\001' >binary.yaml
run 3 check binary.yaml
printf 'vqgraph: 1\nlet: {a: "\303\050"}\n' >latin.yaml
run 3 check latin.yaml
err "UTF-8"
printf 'vqgraph: 1\nlet: {a: "\000"}\n' >nul.yaml
run 3 check nul.yaml
printf '\357\273\277vqgraph: 1\r\nlet: {a: 1}\r\n' >dos.yaml
run 0 check dos.yaml

# Far too deep, far too large.
{
	printf 'vqgraph: 1\nlet: '
	head -c 100000 /dev/zero | tr '\0' '['
} >deep.yaml
run 3 check deep.yaml
err "deep.yaml:2:"
{
	printf 'vqgraph: 1\nlet: '
	head -c 100000 /dev/zero | tr '\0' '{'
} >deeper.yaml
run 3 check deeper.yaml
dd if=/dev/zero of=large.yaml bs=1 count=0 seek=104857600 2>/dev/null
run 3 check large.yaml
err "large.yaml"
if [ -e /dev/zero ]; then
	run 3 check /dev/zero
	err "/dev/zero"
fi
{
	printf 'vqgraph: 1\nlet:\n'
	i=0
	while [ $i -lt 30 ]; do
		echo "  k$i: \$nothing$i"
		i=$((i + 1))
	done
} >many.yaml
run 3 check many.yaml
err "and 10 more errors"
# Ten thousand errors, and numbers that depend on each other without end: not a matter of minutes.
{
	printf 'vqgraph: 1\nlet:\n'
	awk 'BEGIN { for (i = 0; i < 10000; i++) printf "  k%d: $nothing%d\n", i, i }'
} >thousands.yaml
run 3 check thousands.yaml
err "and 9980 more errors"
{
	printf 'vqgraph: 1\nlet:\n'
	awk 'BEGIN { for (i = 0; i < 20000; i++) printf "  k%d: $k%d\n", i, i + 1; print "  k20000: 1" }'
} >chain.yaml
run 3 check chain.yaml
err "depend on each other"
if [ "$(id -u)" -ne 0 ]; then
	cp linear.yaml secret.yaml
	chmod 0 secret.yaml
	run 3 check secret.yaml
fi

# The same through the other commands.
for command in dump eval bench run; do
	run 3 $command duplicate_key.yaml
	err "duplicate_key.yaml:"
	run 3 $command none.yaml
done
run 3 check duplicate_key.yaml --json
out '"ok": false'
out '"line": 4'
finish
