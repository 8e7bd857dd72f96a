#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# After how long a sleep should a P be handed off? Builds the program and runs it
# in a machine with one CPU whose clock counts instructions.
#
# usage: run.sh [KERNEL]...	(6.12; see tests/vm/run.sh)
#
# Environment: BUILD (build directory), CC.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
out=$build/bench/handoff

mkdir -p "$out"
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -pthread -I"$top/uapi" \
	-I"$top/libuser/include" -I"$top/libuser" -I"$top/asm" \
	-o "$out/delay" "$top/bench/handoff/delay.c" \
	"$build/libkaus-internal.a" -lurcu-memb -lurcu-common -lm

rc=0
for kernel in "${@:-6.12}"; do
	echo "# Linux $kernel, 1 CPU, instructions"
	"$top/tests/vm/run.sh" --kernel "$kernel" --icount --module -- \
		"$out/delay" || rc=1
done
exit $rc
