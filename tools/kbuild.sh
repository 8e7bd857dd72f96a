#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build kaus.ko for one kernel series into build/kmod/VERSION.
#
#	tools/kbuild.sh SERIES [MAKE_ARGUMENT]...
#
# Kbuild puts objects beside sources, so the sources are linked into the build
# directory. A module that uses a symbol off the list is not left there.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
series=${1:?usage: kbuild.sh 6.1|6.12|6.12-rt|debug-NAME [MAKE_ARGUMENT]...}
shift
version=$(tools/kernels.sh --version "$series")
kdir=$(tools/kernels.sh --build "$series")
dir=$top/build/kmod/${KBUILD_SUBDIR:-}$version

if ! compgen -G "kmod/*.c" >/dev/null; then
	echo "kbuild.sh: no sources in kmod/, nothing to build" >&2
	exit 0
fi
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
find "$dir" -type l -delete
find kmod uapi -name '*.[chS]' | while read -r f; do
	mkdir -p "$dir/${f%/*}"
	ln -s "$top/$f" "$dir/$f"
done
ln -s "$top/Kbuild" "$dir/Kbuild"

[ "${V-}" ] || echo "  KMOD    $version"
# Not our caller's variables: CC=clang is not for a kernel built by gcc.
env -u MAKEFLAGS -u MFLAGS -u CC -u B make -s -j"$(nproc)" -C "$kdir" M="$dir" \
	W=1 ${V:+V=1} modules "$@"
# What the checks of a debug kernel call is not the module's choice.
case $series in
debug-*) exit 0 ;;
esac
if ! tests/check_symbols.sh "$dir/kaus.ko" >"$dir/symbols.tap"; then
	grep -v '^ok' "$dir/symbols.tap" >&2
	rm -f "$dir/kaus.ko"
	exit 1
fi
