#!/bin/sh
# Dependencies point one way: fails when a file includes what stands above it.
set -eu
cd "${srcdir:-.}"
bad=0

# forbid WHO WHAT: no file that matches WHO may include what matches WHAT.
forbid() {
	# shellcheck disable=SC2086
	if grep -nE "^#include \"($2)" $1 /dev/null; then
		echo "error: $1 must not include $2"
		bad=1
	fi
}

forbid "engine/*.[ch] ops/*.c ops/kernels/*.[ch] datasets/*.[ch]" "tools/"
forbid "ops/*.c" "datasets/|engine/(compile|plan|model|yaml|vars|stage|checkpoint|log)"
forbid "ops/kernels/*.[ch]" "datasets/|engine/(build|compile|plan|model|yaml|vars|stage|checkpoint|log)\.h"
forbid "datasets/*.[ch]" "ops/|engine/(graph|op|build|compile|plan|model|yaml|vars|stage|log)"
base="engine/base.[ch] engine/diag.[ch] engine/suggest.[ch] engine/type.[ch] engine/param.[ch]"
forbid "$base" "ops/|datasets/|engine/(graph|op|build|compile|plan|model|yaml|vars|stage|checkpoint|log)"
graph="engine/graph.[ch] engine/op.h engine/build.[ch] engine/gradient.c engine/simplify.c engine/fuse.c engine/plan.[ch]"
forbid "$graph" "datasets/|engine/(model|yaml|stage|checkpoint|log)"
forbid "engine/model*.[ch] engine/expand*.c" "datasets/|engine/(compile|plan|vars|stage|checkpoint|log)"

# Every header compiles alone.
for h in engine/*.h ops/*.h ops/kernels/*.h datasets/*.h; do
	case $h in
	ops/oplist.h | datasets/list.h | *_body.h) continue ;;
	esac
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -fsyntax-only -I. -x c "$h" || bad=1
done

# The ops agree: a file, a line of oplist.h, a name in the build list.
for f in ops/*.c; do
	name=$(basename "$f" .c)
	grep -q "vq_ops_$name\[\]" "$f" || continue
	grep -q "X($name)" ops/oplist.h || { echo "error: $f is not in ops/oplist.h"; bad=1; }
	grep -q "ops/$name\.c" Makefile.am || { echo "error: $f is not in Makefile.am"; bad=1; }
done
exit $bad
