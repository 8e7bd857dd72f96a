#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build a kernel that checks itself, for the module's tests, from the
# distribution's source.
#
#	tools/debug-kernel.sh debug-kasan debug-kcsan
#
# The configuration is `make allnoconfig` with tests/vm/debug/base.config and
# its own, which may have arguments for make in a line "# make: ...". The result
# stays in build/debug/NAME, which tools/kernels.sh and tools/kbuild.sh know by
# that name, until source, configuration or compiler change. Some minutes of a
# CPU each; JOBS=n for other than one per CPU.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
# What we call is no sub-make of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL CC B
cache=$top/build/debug
tar=$(printf '%s\n' /usr/src/linux-source-6.*.tar.xz | sort -V | tail -n 1)
[ -r "$tar" ] || { echo "debug-kernel.sh: no kernel source here (tools/deps.sh debug)" >&2; exit 1; }
src=$cache/$(basename "$tar" .tar.xz)

# One at a time: they share the source.
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9

# A package that has been upgraded is another file under the same name.
stamp=$(stat -c '%n %s %Y' "$tar")
unpack() {
	[ "$(cat "$src/.kaus-stamp" 2>/dev/null)" = "$stamp" ] && return
	echo "  UNPACK  $tar"
	rm -rf "$src"
	tar -C "$cache" -xf "$tar"
	echo "$stamp" >"$src/.kaus-stamp"
}

# Lines of $1 that the configuration $2 does not have: renamed options, say, or
# such that want something else which is not there.
lost() {
	local line
	grep '^CONFIG_' "$1" | while read -r line; do
		case $line in
		*=n) ! grep -q "^${line%=n}=" "$2" || echo "$line" ;;
		*) grep -qxF "$line" "$2" || echo "$line" ;;
		esac
	done
}

build() {
	local name=$1 out=$cache/$1 key bad args begin=$SECONDS
	[ -r "tests/vm/debug/$name.config" ] || { echo "debug-kernel.sh: no $name" >&2; exit 2; }
	key=$({ echo "$stamp"; gcc --version
		cat tests/vm/debug/base.config "tests/vm/debug/$name.config"; } | sha256sum)
	[ "$(cat "$out/.kaus-key" 2>/dev/null)" = "$key" ] && return
	unpack
	mkdir -p "$out"
	rm -f "$out/.kaus-key"
	cat tests/vm/debug/base.config "tests/vm/debug/$name.config" >"$out/kaus.config"
	make -s -C "$src" O="$out" KCONFIG_ALLCONFIG="$out/kaus.config" allnoconfig
	bad=$(lost "$out/kaus.config" "$out/.config")
	if [ "$bad" ]; then
		echo "debug-kernel.sh: $name: this source does not take" $bad >&2
		exit 1
	fi
	echo "  KERNEL  $name"
	args=$(sed -n 's/^# make: //p' "tests/vm/debug/$name.config")
	# shellcheck disable=SC2086
	make -s -j"${JOBS:-$(nproc)}" -C "$src" O="$out" $args bzImage modules_prepare
	# Without modules of its own the kernel has only this list of symbols.
	cp "$out/vmlinux.symvers" "$out/Module.symvers"
	echo "$key" >"$out/.kaus-key"
	echo "          took $((SECONDS - begin)) s"
}

for name; do build "$name"; done
