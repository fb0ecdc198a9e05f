# harness -- what the tests of the command line share; sourced by each
#
#   run CODE ARGS...    runs vqgraph, wants that exit code; its output is kept
#   out TEXT            standard output has a line with TEXT in it
#   err TEXT            standard error has
#   silent              standard output is empty
#   quiet               standard error is empty
#   npy FILE TYPE SHAPE BYTES   writes an array; BYTES as printf has them: '\001\002'
#
# Everything happens in a new folder, which is the current one.

set -u
vqgraph=${VQGRAPH:-$PWD/vqgraph}
src=$(cd "${srcdir:-.}" && pwd)
case $vqgraph in
/*) ;;
*) vqgraph=$PWD/$vqgraph ;;
esac
if [ ! -x "$vqgraph" ]; then
	echo "$vqgraph is not there"
	exit 99
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/vqgraph-test.XXXXXX") || exit 99
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 99
failures=0
last=
told=

# No colour, no settings of the caller's.
unset VQGRAPH_DATA VQGRAPH_ISA NO_COLOR
export VQGRAPH_GRAPHS="$src/graphs" OMP_NUM_THREADS=1 HOME="$folder"

fail() {
	[ "$last" = "$told" ] || echo "FAIL: $last"
	echo "      $1"
	[ "$last" = "$told" ] || sed 's/^/      | /' "$folder/.err" | head -n 12
	told=$last
	failures=$((failures + 1))
}

run() {
	code=$1
	shift
	last="vqgraph $*"
	"$vqgraph" "$@" >"$folder/.out" 2>"$folder/.err" </dev/null
	got=$?
	[ "$got" -eq "$code" ] || fail "exit code $got, wanted $code"
}

out() {
	grep -qF -- "$1" "$folder/.out" || fail "standard output lacks: $1"
}

err() {
	grep -qF -- "$1" "$folder/.err" || fail "standard error lacks: $1"
}

silent() {
	[ ! -s "$folder/.out" ] || fail "standard output is not empty"
}

quiet() {
	[ ! -s "$folder/.err" ] || fail "standard error is not empty"
}

expect() {
	last=$1
	shift
	"$@" || fail "does not hold: $*"
}

npy() {
	header="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
	pad=$((118 - ${#header} - 1))
	{
		printf '\223NUMPY\001\000\166\000%s%*s\n' "$header" "$pad" ''
		# shellcheck disable=SC2059
		printf "$4"
	} >"$1"
}

finish() {
	if [ "$failures" -gt 0 ]; then
		echo "$failures failed"
		exit 1
	fi
	exit 0
}
