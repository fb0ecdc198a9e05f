#!/bin/sh
# One graph on arrays from files: values, gradients, parameters, and everything that can be wrong.
. "${srcdir:-.}/tests/cli/harness.sh"
. "$src/tests/cli/models.sh"

npy x.npy '|u1' '(2, 3)' '\001\002\003\004\005\006'
npy t.npy '|u1' '(2, 3)' '\000\000\000\000\000\000'
npy short.npy '|u1' '(2, 2)' '\001\002\003\004'
npy flat.npy '|u1' '(3,)' '\001\002\003'
npy one.npy '|u1' '(1, 3)' '\001\002\003'
npy u.npy '|u1' '(2, 3)' '\001\001\001\000\000\000'
npy three.npy '|u1' '(3,)' '\001\002\003'

# y = 2 x w with w = 1: loss = mean (2x)^2, total = sum 2x.
run 0 eval linear.yaml --graph forward --input x=x.npy --input t=t.npy --output total=- --output y=y.npy
out '"total": 42'
expect "y is written" [ -s y.npy ]
expect "y is f32[2, 3]" grep -qa "'<f4'.*(2, 3)" y.npy
run 0 eval linear.yaml --input x=x.npy --input t=t.npy
out '"loss": 60.6666'
out '"total": 42'
quiet

printf 'vqgraph: 1\ngraphs:\n  f:\n    in:\n      x: f64[n]\n    steps: [{exp: {x: x}}, {sum: {}, as: s}]\n    out: [s]\n' >f64.yaml
run 0 eval f64.yaml --input x=three.npy
out '{"s": 30.19287485057736'
npy zero.npy '|u1' '(0,)' ''
run 4 eval f64.yaml --input x=zero.npy
err "there is nothing in zero.npy, which is u8[0]"
npy big.npy '<f8' '(1,)' '\000\000\000\000\000\000\360\177'
run 0 eval f64.yaml --input x=big.npy
out '{"s": null}'

# What is not needed need not be given.
run 0 eval linear.yaml --input x=x.npy --output total=-
out '{"total": 42'
run 2 eval linear.yaml --input x=x.npy --output loss=-
err "input t, f32[2, 3], is needed for this and not given"
err "--input t=FILE.npy"

# Overrides change the model, and are echoed.
run 0 eval linear.yaml scale=3 --input x=x.npy --output total=-
out '{"total": 63'
err "set scale=3"
run 0 eval linear.yaml --set scale=3 -q --input x=x.npy --output total=-
quiet

# Values inside modules, by name; parameters, too.
run 0 eval linear.yaml --input x=x.npy --output d.weighted=w.npy --output d.w=p.npy
expect "a parameter is written" grep -qa "(3,)" p.npy

# Gradients: d total / d w = 2 * column sums of x; d total / d x = 2.
run 0 eval linear.yaml --input x=x.npy --grad total:d.w=g.npy --grad total:x=gx.npy
expect "gradient of a parameter" grep -qa "'<f4'.*(3,)" g.npy
expect "gradient of an input" grep -qa "(2, 3)" gx.npy
expect "10, 14, 18" [ "$(tail -c 12 g.npy | od -An -tfF | tr -s ' ' | sed 's/ $//')" = " 10 14 18" ]
run 0 eval linear.yaml --input x=x.npy --grad y:d.w=g.npy --cotangent y=u.npy
expect "2, 4, 6: the first row only" [ "$(tail -c 12 g.npy | od -An -tfF | tr -s ' ' | sed 's/ $//')" = " 2 4 6" ]
run 0 eval linear.yaml --input x=x.npy --grad y:d.w=g.npy
expect "ones without a cotangent" [ "$(tail -c 12 g.npy | od -An -tfF | tr -s ' ' | sed 's/ $//')" = " 10 14 18" ]

# Parameters out and in.
run 0 eval linear.yaml --save-params p.safetensors
silent
run 0 eval linear.yaml --params p.safetensors --input x=x.npy --output total=-
out '{"total": 42'
expect "the parameter has its name" grep -qa '"d.w"' p.safetensors

# --- what can be wrong
run 2 eval linear.yaml --graph forwrad --input x=x.npy
err "there is no graph 'forwrad'"
err "similar name: forward"
run 2 eval linear.yaml --input z=x.npy
err "graph forward has no input 'z'"
run 2 eval linear.yaml --input x=x.npy --output totl=-
err "has no value 'totl'"
err "similar name: total"
run 2 eval linear.yaml --input x=x.npy --output y=-
err "y is f32[2, 3]: only a scalar can be printed"
run 2 eval linear.yaml --input x=x.npy --output total
err "--output wants NAME=FILE, not 'total'"
run 2 eval linear.yaml --input x=x.npy --grad total=g.npy
err "--grad wants VALUE:NAME=FILE"
run 2 eval linear.yaml --input x=x.npy --grad total:d.q=g.npy
err "has no value 'd.q'"
run 2 eval linear.yaml --input x=x.npy --cotangent y=u.npy --output total=-
err "--cotangent y: no --grad asks for a gradient of it"
run 4 eval linear.yaml --input x=x.npy --grad y:d.w=g.npy --cotangent y=one.npy
err "does not fit cotangent y"
run 2 eval linear.yaml --input x=x.npy --input x=x.npy
err "--input x is given twice"
run 4 eval linear.yaml --input x=none.npy --output total=-
err "none.npy"
run 4 eval linear.yaml --input x=short.npy --output total=-
err "does not fit input x"
err "expected f32[2, 3]"
err "found    u8[2, 2]"
run 4 eval linear.yaml --input x=flat.npy --output total=-
err "input x: expected 2 axes"
run 4 eval linear.yaml --input x=x.npy --input t=one.npy
err "size batch is 2 by input x, and 1 by axis 0 of input t"
run 2 eval linear.yaml --input x=x.npy --size batch=no
err "--size wants batch=N"
run 2 eval linear.yaml --input x=x.npy --size bacth=3
err "similar name: batch"
printf 'not an array' >bad.npy
run 4 eval linear.yaml --input x=bad.npy --output total=-
err "bad.npy"
run 4 eval linear.yaml --input x=. --output total=-

sed 's/\$c/$(c + 1)/; s/b: w/b: v/; s/{w:/{v:/' linear.yaml >other.yaml
run 5 eval linear.yaml --params x.npy --input x=x.npy --output total=-
run 5 eval linear.yaml --params none.safetensors --input x=x.npy --output total=-
err "none.safetensors"
sed 's/{w:/{v:/; s/b: w/b: v/' linear.yaml >renamed.yaml
run 5 eval renamed.yaml --params p.safetensors --input x=x.npy --output total=-
err "p.safetensors has no parameter d.v, f32[3]"
sed 's/3\]/2]/' linear.yaml >narrow.yaml
run 5 eval narrow.yaml --params p.safetensors --input x=short.npy --output total=-
err "d.w does not fit"
err "expected f32[2]"
err "found    f32[3]"

run 1 eval linear.yaml --input x=x.npy --output y=none/y.npy
err "none/y.npy"
if [ -w /dev/full ]; then
	"$vqgraph" eval linear.yaml --input x=x.npy --output total=- >/dev/full 2>.err
	expect "a full disk is an error" [ $? -eq 1 ]
fi
finish
