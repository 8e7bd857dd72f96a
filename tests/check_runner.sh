#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What tools/run-tests.sh counts: whatever did not pass has failed, whichever way
# a program says so or does not come to say it.
#
# If it is broken: a test that dies, or never runs, is counted as passed.
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/tap.sh"

# counts NAME EXPECTED STATUS LINE...: a program that prints these and exits so.
counts() {
	local name=$1 expected=$2 status=$3 prog=$tap_out/prog
	shift 3
	{
		echo '#!/bin/sh'
		echo 'cat <<"END"'
		printf '%s\n' 'TAP version 13' "$@" 'END'
		echo "$status"
	} >"$prog"
	chmod +x "$prog"
	tap_check "$name" grep -qx "$expected" \
		<(env -u KAUS_VM "$top/tools/run-tests.sh" -t 2 "$prog" 2>&1)
}

counts "passed, failed and skipped" "1 passed, 1 failed, 1 skipped" "exit 1" \
	1..3 "ok 1 a" "not ok 2 b" "ok 3 c # SKIP no device"
counts "a failure that was expected" "1 passed, 1 failed, 0 skipped" "exit 0" \
	1..2 "ok 1 a" "ok 2 b # XFAIL unknown"
counts "planned and not reported" "1 passed, 2 failed, 0 skipped" "exit 0" \
	1..3 "ok 1 a"
counts "no plan" "1 passed, 1 failed, 0 skipped" "exit 0" "ok 1 a"
counts "an exit status of its own" "1 passed, 1 failed, 0 skipped" "exit 3" \
	1..1 "ok 1 a"
counts "a signal" "1 passed, 1 failed, 0 skipped" 'kill -SEGV $$' 1..1 "ok 1 a"
counts "a hang" "1 passed, 1 failed, 0 skipped" "sleep 60" 1..1 "ok 1 a"
counts "all skipped" "0 passed, 0 failed, 1 skipped" "exit 4" "no device"
tap_end
