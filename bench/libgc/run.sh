#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# GCBench with the Boehm-Demers-Weiser collector and with libkausgc: one source,
# one binary, two libraries, in turn. A ratio below 1 is in favour of KAUS. Each
# number is the least of all runs: the rest is other programs. Then how long a
# program is held up (stalls.c), with few and with many writes all over its heap:
# the best of each column, with the world stopped, by pages, and with libgc.
#
# usage: run.sh [-n RUNS]	(7)
#
# Environment: BUILD (build directory), CC, and what both libraries look at.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
runs=7
while getopts n: opt; do
	case $opt in
	n) runs=$OPTARG ;;
	*) sed -n '/^# usage/p' "$0" >&2; exit 2 ;;
	esac
done
if ! [ -e /usr/include/gc.h ]; then
	echo "$0: there is no libgc-dev to compare with (tools/deps.sh bench)" >&2
	exit 0
fi
mkdir -p "$build/bench"
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -o "$build/bench/gcbench" \
	"$top/bench/libgc/gcbench.c" -lgc

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
i=0
while [ $i -lt "$runs" ]; do
	"$build/bench/gcbench" >>"$tmp/libgc"
	LD_LIBRARY_PATH=$build/libgc "$build/bench/gcbench" >>"$tmp/kaus"
	i=$((i + 1))
done
for f in kaus libgc; do
	awk -v lib=$f '{
		for (i = 2; i <= NF; i += 2)
			if (NR == 1 || $i < min[i]) min[i] = $i
		n = NF
		for (i = 1; i < NF; i += 2) name[i] = $i
	}
	END { for (i = 1; i < n; i += 2) print name[i], min[i + 1] }' "$tmp/$f" \
		>"$tmp/$f.min"
done
echo "# least of $runs runs taken in turn"
paste -d ' ' "$tmp/kaus.min" "$tmp/libgc.min" | awk 'BEGIN {
	printf "%-8s %12s %12s %8s\n", "gcbench", "kaus", "libgc", "ratio"
}
{ printf "%-8s %12s %12s %8.2f\n", $1, $2, $4, $4 ? $2 / $4 : 0 }'

${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -o "$build/bench/stalls" \
	"$top/bench/libgc/stalls.c" -lgc -lpthread
for swaps in 0 32; do
	rm -f "$tmp"/s.*
	i=0
	while [ $i -lt "$runs" ]; do
		for mode in stop pages; do
			KAUS_GC_MODE=$mode LD_LIBRARY_PATH=$build/libgc \
				"$build/bench/stalls" 2 18 1 $swaps >>"$tmp/s.$mode"
		done
		"$build/bench/stalls" 2 18 1 $swaps >>"$tmp/s.libgc"
		i=$((i + 1))
	done
	echo "# stalls, $swaps places of the heap written for each 63 objects"
	for f in stop pages libgc; do
		awk -v lib=$f '{
			for (i = 2; i <= NF; i += 2)
				if (NR == 1 || (i == 2 ? $i > best[i] : $i < best[i]))
					best[i] = $i
			n = NF
			for (i = 1; i < NF; i += 2) name[i] = $i
		}
		END {
			printf "%-6s", lib
			for (i = 1; i < n; i += 2) printf " %s %s", name[i], best[i + 1]
			print ""
		}' "$tmp/s.$f"
	done
done
