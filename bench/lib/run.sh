#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Compare the library with Go on this machine: build both benchmark programs,
# run them in turn, print medians and their ratio. A ratio below 1 means that
# KAUS takes less time.
#
# usage: run.sh [-n RUNS] [-p PROCS]... [NAME]...
#	-n	runs of each (5)
#	-p	numbers of Ps to measure with (1, and the number of CPUs)
#	NAME	only these benchmarks
#
# Environment: BUILD (build directory with libkaus.so), CC, GO, and what the
# library itself looks at, such as KAUS_ASSIST. Without Go only KAUS is shown.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
cc=${CC:-cc}
go=${GO:-go}
runs=5
procs=

while getopts n:p: opt; do
	case $opt in
	n) runs=$OPTARG ;;
	p) procs="$procs $OPTARG" ;;
	*) sed -n '/^# usage/,/^# Env/p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
names="${*:-yield_2 yield_1000 spawn_join spawn_batch channel buffered_1_1 \
buffered_8_8 mutex_1 mutex_8 ring sieve skynet parked stack sharing select_4 \
net_1 net_64 net_64_epoll sleepers timers timer blocking handoff gc_stop gc_concurrent gc_pages \
gc_store gc_pauses_1 gc_pauses_1k gc_pauses_100k gc_pauses_final \
gc_pauses_timers heap_locks file}"

ncpu=$(nproc)
if [ -z "$procs" ]; then
	procs=1
	[ "$ncpu" -gt 1 ] && procs="1 $ncpu"
fi

if [ ! -e "$build/libkaus.so" ]; then
	echo "$0: $build/libkaus.so is missing: run 'make lib' first" >&2
	exit 1
fi
mkdir -p "$build/bench"
$cc -std=gnu11 -O2 -Wall -Wextra -Werror -I"$top/libuser/include" \
	-o "$build/bench/kausbench" "$top"/bench/lib/*.c \
	-L"$build" -Wl,-rpath,"$build" -lkaus
gobench=
if command -v "$go" >/dev/null 2>&1; then
	gobench=$build/bench/gobench
	(cd "$top/bench/go" && GOFLAGS=-mod=mod GOCACHE="$build/bench/gocache" \
		"$go" build -o "$gobench" .)
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Lines of "procs metric value unit" in $tmp/kaus and $tmp/go.
measure()
{
	KAUS_PROCS=$1 "$build/bench/kausbench" "$2" | sed "s/^/$1 /" \
		>>"$tmp/kaus"
	# Some have no counterpart in Go.
	case $2 in
	gc_pauses_*) ;;
	*_epoll|stack|sharing|gc_*|file) return ;;
	esac
	[ -z "$gobench" ] || GOMAXPROCS=$1 "$gobench" "$2" | sed "s/^/$1 /" \
		>>"$tmp/go"
}

touch "$tmp/kaus" "$tmp/go"
for name in $names; do
	for p in $procs; do
		# With more Ps than one there is nothing to hand off.
		[ "$name" = handoff ] && [ "$p" != 1 ] && continue
		i=0
		while [ $i -lt "$runs" ]; do
			measure "$p" "$name"
			i=$((i + 1))
		done
	done
done

# Medians, in the order of measurement.
medians()
{
	awk '{
		key = $1 " " $2 " " $4
		if (!(key in n)) order[++keys] = key
		v[key, ++n[key]] = $3
	}
	END {
		for (k = 1; k <= keys; k++) {
			key = order[k]
			for (i = 2; i <= n[key]; i++)
				for (j = i; j > 1 && \
				     v[key, j] < v[key, j - 1]; j--) {
					t = v[key, j]
					v[key, j] = v[key, j - 1]
					v[key, j - 1] = t
				}
			print key, v[key, int((n[key] + 1) / 2)]
		}
	}' "$1"
}

medians "$tmp/kaus" >"$tmp/kaus.med"
medians "$tmp/go" >"$tmp/go.med"
echo "# medians of $runs runs taken in turn, $ncpu CPUs," \
	"KAUS_ASSIST=${KAUS_ASSIST:-auto}," \
	"$([ -z "$gobench" ] || "$go" version | cut -d' ' -f3)"
awk 'BEGIN {
	printf "%-16s %5s %12s %12s %4s %8s\n",
		"metric", "procs", "kaus", "go", "unit", "ratio"
}
FILENAME == ARGV[1] { go[$1 " " $2] = $4; next }
{
	key = $1 " " $2
	if (key in go && go[key] > 0)
		printf "%-16s %5d %12.4g %12.4g %4s %8.2f\n",
			$2, $1, $4, go[key], $3, $4 / go[key]
	else
		printf "%-16s %5d %12.4g %12s %4s %8s\n",
			$2, $1, $4, "-", $3, "-"
}' "$tmp/go.med" "$tmp/kaus.med"
