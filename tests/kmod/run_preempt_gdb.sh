#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# gdb itself on a worker whose slices run out: breakpoints, stepi, next, an
# inferior call. A bug shows as a step that ends in the trampoline, as a
# SIGTRAP that gdb did not ask for, or as a program that fails under gdb only.
# Skipped where there is no gdb; test_preempt_step does the same by hand.
name=run_preempt_gdb
here=$(dirname "$0")

skip() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

[ -c /dev/kaus ] || skip "no /dev/kaus"
command -v gdb >/dev/null || skip "no gdb"
for dir in "${KAUS_TEST_BIN:-$here}" "$here" "$here/../../build/tests/kmod"; do
	victim=$dir/test_preempt_step
	[ -x "$victim" ] && break
done
[ -x "$victim" ] || skip "no test_preempt_step"

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
{
	cat <<'END'
set pagination off
set confirm off
set debuginfod enabled off
set startup-with-shell off
set width 0
break break_here
run --victim
END
	# At each stop: many steps through the loop, and a call in the program.
	for i in 1 2 3 4 5; do
		cat <<END
echo stop $i\n
info symbol \$pc
finish
stepi 400
info symbol \$pc
print kw_sum(1000) == kw_sum(1000)
continue
END
	done
	cat <<'END'
delete
continue
END
} >"$tmp/commands"
gdb -nx -batch -x "$tmp/commands" "$victim" >"$tmp/out" 2>&1

echo "TAP version 13"
echo "1..4"
rc=0
nr=0
check() {
	nr=$((nr + 1))
	if [ "$1" = "$2" ]; then
		echo "ok $nr $name: $3"
	else
		echo "not ok $nr $name: $3 ($2, not $1)"
		rc=1
	fi
}

count() {
	grep -c "$1" "$tmp/out"
}

check 5 "$(count '^break_here in section')" "breakpoints hit"
check 5 "$(count '= 1$')" "calls of a function"
check 0 "$(count '^kw_tramp')" "steps that end in the trampoline"
check 1 "$(count 'exited normally')" "normal end of the program"
[ $rc = 0 ] || sed 's/^/# /' "$tmp/out"
exit $rc
