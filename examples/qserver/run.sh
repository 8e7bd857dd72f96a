#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# The demonstration: the query server over a real word list and a real text,
# served by threads, by KAUS on signals and by KAUS on the module. Runs here
# if /dev/kaus exists, else in a virtual machine. Arguments are passed on to
# qserver (see qserver --help).
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$top/build/examples
work=$build/qserver-data
words=/usr/share/dict/american-english
text=$work/corpus.txt

die() {
	echo "qserver/run.sh: $*" >&2
	exit 2
}

# Package wamerican has the words; bible-kjv has a text of 4 MB, packed, and
# the program that unpacks it.
install_data() {
	local missing=()

	[ -r "$words" ] || missing+=(wamerican)
	command -v bible >/dev/null || missing+=(bible-kjv)
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] ||
		die "please install ${missing[*]} (apt-get install ${missing[*]})"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends "${missing[@]}" >/dev/null ||
		die "cannot install ${missing[*]}"
}

make_text() {
	[ -s "$text" ] && return 0
	mkdir -p "$work"
	bible -l70 'gen1:1-rev22:21' >"$text.new" </dev/null ||
		die "bible(1) did not print the text"
	mv "$text.new" "$text"
}

install_data
make_text
server=$build/qserver
[ -f "$server" ] || make -s -C "$top" lib examples
[ -f "$server" ] || die "no $server; run 'make' first"

if [ -e /dev/kaus ]; then
	echo "Running here: /dev/kaus is there."
	exec "$server" --words "$words" --text "$text" --dir "$work" "$@"
fi
# Without KVM the virtual machine emulates its CPU. It then counts time in
# instructions, one a nanosecond, on one CPU: what else this machine does
# cannot change the result, and the costs of threads, interrupts and library
# calls are to each other as on hardware. KAUS_RUN_CPUS=2 emulates two CPUs in
# real time instead, for which two idle ones are needed here. A switch of
# threads then costs several hundred microseconds, so that slices must be longer
# than the module's default.
vm=(--kernel "${KAUS_RUN_KERNEL:-6.12}" --mem 1024 --disk --timeout 900)
args=()
if [ "${KAUS_VM_KVM-}" ]; then
	echo "No /dev/kaus here: running in a virtual machine."
	vm+=(--cpus "${KAUS_RUN_CPUS:-2}")
elif [ "${KAUS_RUN_CPUS-}" ]; then
	echo "No /dev/kaus here: running in an emulated machine, in real time."
	vm+=(--cpus "$KAUS_RUN_CPUS")
	args+=(--slice-us 1000)
else
	echo "No /dev/kaus here: running in an emulated machine, in which an" \
		"instruction takes 1 ns."
	vm+=(--icount)
fi
cd "$work"
exec "$top/tests/vm/run.sh" "${vm[@]}" --add "$words" -- \
	"$server" --words "$words" --text "$text" --dir /data \
	${args[@]+"${args[@]}"} "$@"
