#!/bin/sh
# Commands and options: unknown, missing and ill-typed ones are answered with what was meant.
. "${srcdir:-.}/tests/cli/harness.sh"

run 2
silent
err "usage: vqgraph COMMAND"

run 0 --version
out "vqgraph "
run 0 --help
out "  check "
quiet
run 0 help eval
out "--cotangent VALUE=FILE"
for command in run check dump eval bench encode decode reconstruct ops schema data doctor completion man; do
	run 0 "$command" --help
	out "usage: vqgraph $command"
	quiet
done

run 2 chekc model.yaml
err "vqgraph: error: there is no command 'chekc'"
err "help: did you mean vqgraph check?"
silent
run 2 train model.yaml
err "did you mean vqgraph run?"
run 2 summary
err "did you mean vqgraph dump?"
run 2 xyzzy
err "\`vqgraph --help\` lists the commands"
run 2 --colour
err "a command comes first, not '--colour'"
for absent in export import report; do
	run 2 $absent
	err "there is no command '$absent'"
done

run 2 eval
err "vqgraph eval: error: FILE is missing"
run 2 eval model.yaml --inptu a=b
err "there is no option '--inptu'"
err "did you mean --input?"
run 2 eval model.yaml --weights w.safetensors
err "did you mean --params?"
run 2 eval model.yaml --prec f32
err "did you mean --precision?"
run 2 eval model.yaml -z
err "there is no option '-z'"
run 2 check a.yaml b.yaml
err "unexpected argument 'b.yaml'"
run 2 bench a.yaml --steps many
err "--steps wants a whole number from 1 to 1000000, not 'many'"
run 2 bench a.yaml --steps 0
err "--steps wants a whole number from 1"
run 2 bench a.yaml --steps 3.5
run 2 bench a.yaml --steps 99999999999999999999
run 2 bench a.yaml --steps
err "--steps wants a value"
run 2 bench a.yaml --steps --profile
err "--steps wants a value"
run 2 bench a.yaml --steps 3 --steps 4
err "--steps is given twice"
run 2 check a.yaml --time=3
err "--time takes no value"
run 2 check a.yaml --set codes
err "--set wants path=value, not 'codes'"
run 2 check a.yaml --color sometimes
err "--color wants auto, always or never, not 'sometimes'"
run 2 check a.yaml -t 0
err "--threads wants a whole number from 1 to 1024, not '0'"
run 2 run a.yaml --max-time soon
err "--max-time wants a duration such as 90s, 30m or 1h30m, not 'soon'"
for time in 1m2h 5x -3m '' m; do
	run 2 run a.yaml "--max-time=$time"
done
run 2 run a.yaml --precision f64
err "--precision wants f32 or bf16, not 'f64'"
run 2 run
err "FILE is missing"
run 2 run a.yaml --name a/b
err "--name wants a plain name"
run 2 encode runs/x --out codes.npy
err "--data is missing"
run 2 decode runs/x
err "codes.npy is missing"

# Several mistakes come out together.
run 2 bench a.yaml --setps 3 --warmup x
err "did you mean --steps?"
err "--warmup wants"

# Colour by choice, and never into a file by itself.
run 2 chekc
# shellcheck disable=SC2016
expect "no colour in a file" sh -c '! grep -q "$(printf "\033")" .err'
run 3 check none.yaml --color always
expect "colour when asked" grep -q "$(printf '\033')" .err
finish
