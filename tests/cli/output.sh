#!/bin/sh
# Where results go: pipes that close, full disks, scripts made of the tables.
. "${srcdir:-.}/tests/cli/harness.sh"

run 0 completion bash
expect "the completion script parses" bash -n .out
out "complete -F _vqgraph vqgraph"
run 2 completion zsh
err "there is one for bash"
cp .out completion.sh
"$vqgraph" completion bash >completion.sh
got=$(bash -c 'source ./completion.sh; COMP_WORDS=(vqgraph ch); COMP_CWORD=1; _vqgraph; echo "${COMPREPLY[*]}"')
expect "a command is completed" [ "$got" = check ]
got=$(bash -c 'source ./completion.sh; COMP_WORDS=(vqgraph dump x.yaml --format s); COMP_CWORD=4; _vqgraph; echo "${COMPREPLY[*]}"')
expect "a choice is completed" [ "$got" = svg ]
got=$(bash -c 'source ./completion.sh; COMP_WORDS=(vqgraph eval x.yaml --cot); COMP_CWORD=3; _vqgraph; echo "${COMPREPLY[*]}"')
expect "an option is completed" [ "$got" = --cotangent ]

run 0 man
out ".TH VQGRAPH 1"
out '.B \-\-cotangent VALUE=FILE'
expect "no line of the manual starts with a stray request" sh -c "! grep -nE \"^'\" .out"

if [ -w /dev/full ]; then
	"$vqgraph" ops >/dev/full 2>.err
	expect "a full disk is an error" [ $? -eq 1 ]
	err "cannot write standard output: No space left on device"
	"$vqgraph" --help >/dev/full 2>.err
	expect "for help, too" [ $? -eq 1 ]
fi
("$vqgraph" ops --json; echo $? >code) 2>.err | head -n 1 >/dev/null
expect "a closed pipe ends it without a word" [ ! -s .err ]
(trap '' PIPE; "$vqgraph" ops --json; echo $? >code) 2>.err | head -c 1 >/dev/null
expect "the same where the signal is ignored" [ ! -s .err ]
finish
