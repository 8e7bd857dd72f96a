#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs that begin as a goroutine (libkausmain): arguments, environment and
# status pass through, constructors and atexit() work, with the C library's
# start-up files and without, shared and static.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

cat >"$tap_out/prog.c" <<'END'
#include <kaus.h>
#include <kaus/main.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int constructed;

__attribute__((constructor)) static void construct(void)
{
	constructed = 1;
}

static void last_words(void)
{
	puts("atexit");
}

static void add(void *arg)
{
	int one = 1;

	kaus_chan_send(arg, &one);
}

int kaus_main(int argc, char **argv, char **envp)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 0);
	int sum = 0, n, found = 0;

	/* A vector store to the stack crashes if that is not aligned. */
	_Alignas(16) volatile double pair[2] = { argc, 1 };

	atexit(last_words);
	for (int i = 0; i < argc; i++)
		kaus_go(add, ch);
	for (int i = 0; i < argc; i++)
		if (!kaus_chan_recv(ch, &n))
			sum += n;
	for (; *envp; envp++)
		found |= !strcmp(*envp, "MARK=here");
	printf("%llu %d %d %s %d %d %g\n", (unsigned long long)kaus_goid(),
	       argc, sum, argv[argc - 1], found, constructed, pair[0] + pair[1]);
	return argc == 3 ? 42 : 0;
}
END

expect='1 3 3 last 1 1 4
atexit'

# program NAME FLAG...: build it so, and run it.
program() {
	local name=$1 rc=0
	shift
	tap_check "$name: link" gcc -O2 -Wall -Werror -Ilibuser/include \
		"$tap_out/prog.c" -o "$tap_out/prog" "$@"
	tap_empty "$name: run" < <(
		out=$(env MARK=here "$tap_out/prog" first last) || rc=$?
		[ "$out" = "$expect" ] || printf 'printed:\n%s\n' "$out"
		[ $rc = 42 ] || echo "status $rc"
	)
}

shared=(-Lbuild -lkausmain -lkaus -Wl,-rpath,"$PWD/build")
static=(-static build/libkausmain.a build/libkaus.a -lurcu-memb -lurcu-common -luring -pthread)
program "shared" "${shared[@]}"
program "shared, no start-up files" -nostartfiles "${shared[@]}"
program "static" "${static[@]}"
program "static, no start-up files" -nostartfiles "${static[@]}"

tap_empty "a runtime that cannot start is status 1, and said" < <(
	rc=0
	out=$(KAUS_PROCS=nonsense "$tap_out/prog" 2>&1) || rc=$?
	[ $rc = 1 ] || echo "status $rc"
	[[ $out = *KAUS_PROCS* ]] || echo "printed: $out"
)
tap_empty "libkausmain.a needs kaus_main and little else" < <(
	nm -u build/libkausmain.a 2>/dev/null | awk 'NF == 2 { print $2 }' |
		grep -vxE 'kaus_main|kaus_run|main|__libc_start_main|_GLOBAL_OFFSET_TABLE_')
tap_end
