# shellcheck shell=bash
# setup -- for the scripts beside it: the packages that building needs, and the build
#
# Sourced, from the top of the source tree.

say() { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# What is looked for, and the Debian package that has it: a program, a header's
# pkg-config module, or a file.
# shellcheck disable=SC2034	# for those that source this
needs_build='
program cc gcc
program make make
program autoreconf autoconf
program automake automake
program libtoolize libtool
program pkg-config pkg-config
header stdlib.h libc6-dev
module yaml-0.1 libyaml-dev
module zlib zlib1g-dev
module libdeflate libdeflate-dev
module libpng libpng-dev
header gif_lib.h libgif-dev
module libturbojpeg libturbojpeg0-dev
module libarchive libarchive-dev
module jansson libjansson-dev
module libcurl libcurl4-openssl-dev
module libcrypto libssl-dev
module openblas libopenblas-openmp-dev
file /etc/ssl/certs/ca-certificates.crt ca-certificates
'

is_there() {	# kind what
	case $1 in
	program) command -v "$2" >/dev/null ;;
	module) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
	header) command -v cc >/dev/null && printf '#include <%s>\n' "$2" | cc -E - >/dev/null 2>&1 ;;
	file) [ -e "$2" ] ;;
	esac
}

# The packages of a list of needs that are not met, one line.
missing_packages() {	# needs
	local kind what package
	while read -r kind what package; do
		[ -z "$kind" ] || is_there "$kind" "$what" || printf '%s ' "$package"
	done <<<"$1"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		return 1
	fi
}

can_install() {
	command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }
}

# Installs packages without a question and without their chatter, which is shown
# when it fails.
apt_install() {	# packages
	local log
	log=$(mktemp)
	if ! { as_root apt-get -qq update &&
	    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@"; } \
	    </dev/null >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

install_missing() {	# needs
	local missing
	missing=$(missing_packages "$1")
	[ -n "$missing" ] || return 0
	if ! can_install; then
		fail "these are missing (names of Debian's packages): $missing"
	fi
	say "installing $missing"
	# shellcheck disable=SC2086	# a list
	apt_install $missing || fail "apt-get could not install them"
}

# Builds in a folder of its own; configures only when that is new or older than configure.ac.
build() {	# folder configure-options...
	local folder=$1 root=$PWD
	shift
	if [ ! -x configure ] || [ configure.ac -nt configure ] || [ Makefile.am -nt configure ]; then
		mkdir -p m4 build-aux
		autoreconf -fi >autoreconf.log 2>&1 || { cat autoreconf.log >&2; fail "autoreconf failed"; }
		rm -f autoreconf.log
	fi
	mkdir -p "$folder"
	if [ ! -f "$folder/Makefile" ] || [ configure -nt "$folder/Makefile" ]; then
		(cd "$folder" && "$root/configure" -q "$@")
	fi
	make -C "$folder" -s -j"$(nproc)"
}
