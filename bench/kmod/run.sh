#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What a redirect and a hand-off cost, in instructions: builds the programs and
# runs them in a machine with one CPU whose clock counts instructions.
#
# usage: run.sh [KERNEL]...	(6.12; see tests/vm/run.sh)
#
# Environment: BUILD (build directory), CC, KO (a kaus.ko to measure instead of
# the built one; for a single kernel).
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
cc=${CC:-cc}
out=$build/bench/kmod

mkdir -p "$out"
for b in bench_redirect bench_handoff bench_switch; do
	$cc -std=gnu11 -O2 -Wall -Wextra -Werror -pthread -I"$top/uapi" \
		-I"$top/tests/lib" -o "$out/$b" "$top/bench/kmod/$b.c" \
		"$top"/tests/lib/*.c "$top"/tests/lib/*.S
done

rc=0
for kernel in "${@:-6.12}"; do
	echo "# Linux $kernel, 1 CPU, instructions"
	for b in bench_redirect bench_handoff bench_switch; do
		"$top/tests/vm/run.sh" --kernel "$kernel" --icount \
			${KO:+--ko "$KO"} -- "$out/$b" || rc=1
	done
	"$top/tests/vm/run.sh" --kernel "$kernel" --icount --no-module -- \
		"$out/bench_switch" || rc=1
done
exit $rc
