#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# What allocating and collecting costs on this heap and on others, the same work
# on each in turn: libgc, Go, and malloc() of mimalloc, jemalloc and the C
# library, which frees by hand and does not zero. Prints the least of all runs.
#
# usage: run.sh [-n RUNS] [-h HEAP]... [NAME]...
#	-n	runs of each (5)
#	-h	only on these of kaus, kaus_b, libgc, go, mimalloc, jemalloc, glibc
#	NAME	only these: alloc_16 alloc_64 alloc_256 trees push
#
# Environment: BUILD (build directory with libkaus.so; A:B compares two), CC, GO,
# BENCH_SCALE (less than 1: less work), and what the library itself looks at.
# The worst push is that of the machine unless nobody else has its CPUs: for that
# see push_worst_cpu, or run $BUILD/bench/mem_kaus at real-time priority.
# A heap that is not installed is left out, and said so.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
other=
case $build in *:*) other=${build#*:} build=${build%%:*} ;; esac
cc=${CC:-cc}
go=${GO:-go}
runs=5
only=

while getopts n:h: opt; do
	case $opt in
	n) runs=$OPTARG ;;
	h) only="$only $OPTARG" ;;
	*) sed -n '/^# usage/,/^# A heap/p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
names="${*:-alloc_16 alloc_64 alloc_256 trees push}"

out=$build/bench
mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
heaps=

compile()
{
	$cc -std=gnu11 -O2 -Wall -Wextra -Werror "$top/bench/mem/mem.c" "$@"
}

for b in "$build" $other; do
	if [ ! -e "$b/libkaus.so" ]; then
		echo "$0: $b/libkaus.so is missing: run 'make lib' first" >&2
		exit 1
	fi
	name=kaus
	[ "$b" = "$build" ] || name=kaus_b
	compile -DHEAP_KAUS -I"$top/libuser/include" -o "$out/mem_$name" \
		-L"$b" -Wl,-rpath,"$b" -lkaus
	heaps="$heaps $name"
done
if compile -DHEAP_GC -o "$out/mem_libgc" -lgc 2>"$tmp/err"; then
	heaps="$heaps libgc"
else
	echo "# without libgc: $(head -n 1 "$tmp/err")"
fi
if command -v "$go" >/dev/null 2>&1; then
	(cd "$top/bench/go" && GOFLAGS=-mod=mod GOCACHE="$out/gocache" \
		"$go" build -o "$out/gobench" .)
	heaps="$heaps go"
else
	echo "# without Go: no command $go"
fi
compile -o "$out/mem_malloc"
for lib in mimalloc jemalloc; do
	so=$($cc -print-file-name=lib$lib.so)
	if [ -e "$so" ]; then
		eval "so_$lib=\$so"
		heaps="$heaps $lib"
	else
		echo "# without $lib: no lib$lib.so"
	fi
done
heaps="$heaps glibc"
heaps=${only:-$heaps}

run()
{
	case $1 in
	go) "$out/gobench" "$2" ;;
	mimalloc) LD_PRELOAD=$so_mimalloc "$out/mem_malloc" "$2" ;;
	jemalloc) LD_PRELOAD=$so_jemalloc "$out/mem_malloc" "$2" ;;
	glibc) "$out/mem_malloc" "$2" ;;
	*) "$out/mem_$1" "$2" ;;
	esac
}

for name in $names; do
	i=0
	while [ $i -lt "$runs" ]; do
		for h in $heaps; do
			run "$h" "$name" >"$tmp/one"
			sed "s/^/$h /" "$tmp/one" >>"$tmp/all"
		done
		i=$((i + 1))
	done
done

echo "# least of $runs runs taken in turn, $(nproc) CPUs"
awk -v heaps="$heaps" '
{
	if (!($2 in unit)) order[++n] = $2
	unit[$2] = $4
	key = $1 " " $2
	if (!(key in least) || $3 + 0 < least[key]) least[key] = $3 + 0
}
END {
	nh = split(heaps, h, " ")
	printf "%-15s %6s", "metric", "unit"
	for (j = 1; j <= nh; j++) printf " %9s", h[j]
	printf "\n"
	for (i = 1; i <= n; i++) {
		printf "%-15s %6s", order[i], unit[order[i]]
		for (j = 1; j <= nh; j++)
			printf " %9.4g", least[h[j] " " order[i]]
		printf "\n"
	}
}' "$tmp/all"
