#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# How fast memory that is not used any more goes back to the kernel, by itself:
# this heap, Go, and malloc() of jemalloc and the C library, which free by hand.
# Each takes ten seconds and as many gigabytes as it has. What has "pressed"
# in its name and "lowered", if asked for, make a control group and limit it; they
# are not in Go.
#
# usage: run.sh [-n RUNS] [-h HEAP]... [drop|peak|pressed|pressed_drop|lowered]...
#	-n	runs of each (1)
#	-h	only on these of kaus, go, jemalloc, glibc
#
# Environment: BUILD (build directory with libkaus.so), CC, GO, RSS_MB (how much
# is dropped, 2048; 512 for "lowered"), LOWER_MS (that long before, 200).
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
cc=${CC:-cc}
go=${GO:-go}
runs=1
only=

while getopts n:h: opt; do
	case $opt in
	n) runs=$OPTARG ;;
	h) only="$only $OPTARG" ;;
	*) sed -n '/^# usage/,/^# Environment/p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))

if [ ! -e "$build/libkaus.so" ]; then
	echo "$0: $build/libkaus.so is missing: run 'make lib' first" >&2
	exit 1
fi
out=$build/bench
mkdir -p "$out"

compile()
{
	$cc -std=gnu11 -O2 -Wall -Wextra -Werror "$top/bench/rss/rss.c" "$@"
}

compile -DHEAP_KAUS -I"$top/libuser/include" -o "$out/rss_kaus" -L"$build" \
	-Wl,-rpath,"$build" -lkaus
compile -o "$out/rss_malloc"
heaps="kaus glibc"
so=$($cc -print-file-name=libjemalloc.so)
[ ! -e "$so" ] || heaps="$heaps jemalloc"
if command -v "$go" >/dev/null 2>&1; then
	(cd "$top/bench/go" && GOFLAGS=-mod=mod GOCACHE="$out/gocache" \
		"$go" build -o "$out/gobench" .)
	heaps="$heaps go"
else
	echo "# without Go: no command $go"
fi

[ $# -gt 0 ] || set -- drop peak
for name; do
	for h in ${only:-$heaps}; do
		i=0
		while [ $i -lt "$runs" ]; do
			case $h in
			go) "$out/gobench" "$name" ;;
			jemalloc) LD_PRELOAD=$so "$out/rss_malloc" "$name" ;;
			glibc) "$out/rss_malloc" "$name" ;;
			*) "$out/rss_$h" "$name" ;;
			esac | sed "s/^/$h /"
			i=$((i + 1))
		done
	done
done
