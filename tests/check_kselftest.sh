#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Do the tests behave as a user of kselftest expects: run in place, installed
# and run elsewhere, and as a target in a kernel tree; results in KTAP; exit 4
# and a reason where there is no module?
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" "$tap_out"' EXIT
B=$(realpath -m "${B:-build}")
export B

if ! tools/kselftest.sh >/dev/null 2>&1; then
	tap_skip "kselftest" "no kernel source here (tools/deps.sh kselftest)"
	tap_end
fi
if ! command -v rsync >/dev/null; then
	tap_skip "kselftest" "no rsync here (tools/deps.sh kselftest)"
	tap_end
fi

# The runner opens its own output by name, so that it must be a pipe.
# has FILE PATTERN...: each is the beginning of a line.
has() {
	local f=$1 p
	shift
	for p; do
		grep -qE "^$p" "$f" || { echo "no line $p in:"; cat "$f"; return 1; }
	done
}

# What a test of the module must say on this machine.
if [ -e /dev/kaus ]; then
	result='ok 1 selftests: NAME: test_abi_info$'
else
	result='ok 1 selftests: NAME: test_abi_info # SKIP'
fi

# --- in place ----------------------------------------------------------------

in_place() {
	make -s -C tests TARGETS=kmod run_tests 2>&1 | cat >"$tmp/kmod.tap"
	has "$tmp/kmod.tap" 'TAP version 13' "1\.\.$(ls tests/kmod/test_*.c \
		tests/kmod/run_*.sh | wc -l)\$" '# timeout set to 180' \
		'# selftests: kmod: test_abi_info' \
		'ok [0-9]+ selftests: kmod: test_abi_info'
}

all_skipped() {
	! grep -E '^(not )?ok ' "$tmp/kmod.tap" | grep -v '# SKIP$'
}

# KTAP and the exit status of each program by itself.
says_why() {
	local f rc
	for f in "$B"/tests/kmod/test_* tests/kmod/run_*.sh; do
		rc=0
		"$f" >"$tmp/one" 2>&1 || rc=$?
		[ $rc = 4 ] || { echo "$f: exit $rc"; return 1; }
		has "$tmp/one" 'TAP version 13' '1\.\.0 # SKIP .+' || return 1
	done
}

tap_check "make -C tests run_tests" in_place
if [ -e /dev/kaus ]; then
	tap_skip "without the module all skip" "the module is there"
	tap_skip "exit 4 with a reason in KTAP" "the module is there"
else
	tap_check "without the module all skip" all_skipped
	tap_check "exit 4 with a reason in KTAP" says_why
fi

# --- installed ---------------------------------------------------------------

install_all() {
	make -s -C tests install INSTALL_PATH="$tmp/here" &&
		mv "$tmp/here" "$tmp/there" &&
		"$tmp/there/run_kselftest.sh" -l | sort >"$tmp/list" &&
		for d in fuzz guest kmod soak unit; do
			[ -s "$tmp/there/$d/settings" ] || return 1
			(cd tests/$d && ls test_*.c run_*.sh 2>/dev/null || :) |
				sed "s/\.c\$//;s/^/$d:/"
		done | sort | diff - "$tmp/list"
}

installed_runs() {
	(cd / && "$tmp/there/run_kselftest.sh" -t kmod:test_abi_info \
		-t unit:test_go) 2>&1 | cat >"$tmp/installed.tap"
	has "$tmp/installed.tap" 'TAP version 13' '1\.\.1' \
		"${result/NAME/kmod}" 'ok 1 selftests: unit: test_go$'
}

# The library comes with the programs.
own_library() {
	ldd "$tmp/there/unit/test_go" >"$tmp/ldd"
	has "$tmp/ldd" ".*libkaus\.so\.0 => $tmp/there/unit/\.\./lib/"
}

targets() {
	make -s -C tests install TARGETS=kmod INSTALL_PATH="$tmp/kmod" &&
		[ ! -e "$tmp/kmod/unit" ] &&
		! "$tmp/kmod/run_kselftest.sh" -l | grep -v '^kmod:'
}

tap_check "make install INSTALL_PATH; all is listed" install_all
tap_check "run_kselftest.sh from another place" installed_runs
tap_check "installed programs use the installed library" own_library
tap_check "TARGETS chooses" targets

# --- in a kernel tree --------------------------------------------------------

# As much of a tree as kselftest itself looks at. What `make headers` would do
# needs all of the kernel; with one header of ours it is a copy.
cp -r build/kselftest "$tmp/linux"
selftests=$tmp/linux/tools/testing/selftests

into() {
	tools/kselftest-into.sh "$tmp/linux" &&
		tools/kselftest-into.sh "$tmp/linux" &&
		[ "$(grep -c '^TARGETS += kaus$' "$selftests/Makefile")" = 1 ] &&
		grep '^TARGETS += ' "$selftests/Makefile" >"$tmp/targets" &&
		grep -B1 -A1 'kaus$' "$tmp/targets" | LC_ALL=C sort -c
}

in_tree() {
	install -D -m 644 "$tmp/linux/include/uapi/linux/kaus.h" \
		"$tmp/linux/usr/include/linux/kaus.h" &&
		env -u B make -s -C "$selftests" TARGETS=kaus FORCE_TARGETS=1 \
			USERCFLAGS=-O0 KSFT_INSTALL_PATH="$tmp/intree" install &&
		"$tmp/intree/run_kselftest.sh" -t kaus:test_abi_info \
			2>&1 | cat >"$tmp/intree.tap"
	has "$tmp/intree.tap" 'TAP version 13' "${result/NAME/kaus}" \
		'# timeout set to 180'
}

undo() {
	tools/kselftest-into.sh "$tmp/linux" --undo &&
		rm -r "$tmp/linux/usr" && rmdir -p "$tmp/linux/include/uapi/linux" \
			2>/dev/null || :
	diff -r build/kselftest "$tmp/linux"
}

tap_check "kselftest-into.sh adds the target once, in order" into
tap_check "the tree's own Makefile builds, installs and runs it" in_tree
tap_check "kselftest-into.sh --undo leaves nothing" undo
tap_end
