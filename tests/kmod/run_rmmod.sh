#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Unloading the module: refused while anybody uses it, possible as soon as the
# last user is gone, and harmless at that very moment. A bug shows as a module
# that cannot be unloaded for ever (a leaked reference), or as a crash in code
# that is no longer there (a timer, a notifier, an interrupt left over).
name=run_rmmod
here=$(dirname "$0")
ko=${KAUS_KO:-/vm/kaus.ko}

skip() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

[ "$(id -u)" = 0 ] || skip "not root"
[ -c /dev/kaus ] || skip "no /dev/kaus"
[ -f "$ko" ] || skip "no $ko to load again (KAUS_KO)"
for dir in "${KAUS_TEST_BIN:-$here}" "$here" "$here/../../build/tests/kmod"; do
	program=$dir/test_life_exit
	[ -x "$program" ] && break
done
[ -x "$program" ] || skip "no test_life_exit"
grep -q '^kaus .* 0 ' /proc/modules || skip "somebody else uses the module"

tmp=$(mktemp -d) || exit 1
pid=
# shellcheck disable=SC2317
cleanup() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
	rm -rf "$tmp"
}

echo "TAP version 13"
echo "1..4"
nr=0
rc=0
result() {
	nr=$((nr + 1))
	if [ "$1" = 0 ]; then
		echo "ok $nr $name: $2"
	else
		echo "not ok $nr $name: $2"
		rc=1
	fi
}

# Loading and unloading flips a static branch in the scheduler's code. While a
# CPU runs through it, emulation by several threads (QEMU 7.2) trips over the
# breakpoint that the kernel puts there meanwhile: an Oops or a hang, with any
# static branch and without the module as well. There, one CPU must do.
one_cpu() {
	grep -q 'QEMU TCG' /proc/cpuinfo || return 0
	for c in /sys/devices/system/cpu/cpu[1-9]*/online; do
		[ ! -e "$c" ] || echo "$1" >"$c"
	done
}
trap 'one_cpu 1; cleanup' EXIT

# The program's child with all its workers dies with it.
start_load() {
	mkfifo "$tmp/fifo" 2>/dev/null
	"$program" --load >"$tmp/fifo" &
	pid=$!
	read -r line <"$tmp/fifo"
	[ "$line" = ready ]
}

stop_load() {
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	pid=
}

# The last reference is dropped by a work item, somewhat later.
unload() {
	one_cpu 0
	i=0
	until rmmod kaus 2>"$tmp/err"; do
		i=$((i + 1))
		if [ "$i" -ge 200 ]; then
			sed 's/^/# /' "$tmp/err"
			grep '^kaus ' /proc/modules | sed 's/^/# /'
			one_cpu 1
			return 1
		fi
		sleep 0.1
	done
}

reload() {
	one_cpu 0
	insmod "$ko" && chmod 0666 /dev/kaus
	ret=$?
	one_cpu 1
	return $ret
}

# The test counts references, so the last user's must be gone.
works() {
	i=0
	until [ "$(cat /sys/module/kaus/refcnt)" = 0 ]; do
		i=$((i + 1))
		[ $i -lt 300 ] || return 1
		sleep 0.1
	done
	"$program" -t threads_come_and_go >"$tmp/out" 2>&1 && return 0
	sed 's/^/# /' "$tmp/out"
	return 1
}

refused_in_use() {
	start_load || return 1
	for _ in 1 2 3; do
		if rmmod kaus 2>/dev/null; then
			echo "# unloaded under load"
			reload
			return 1
		fi
	done
	kill -0 "$pid" || return 1
	stop_load
	works
}

# An open descriptor is a user, too.
refused_while_open() {
	exec 9<>/dev/kaus || return 1
	rmmod kaus 2>/dev/null && return 1
	exec 9>&-
	unload && reload && works
}

after_a_kill() {
	for _ in 1 2 3 4; do
		start_load || return 1
		stop_load
		unload || return 1
		reload || return 1
	done
	works
}

# Not after the last user has gone but while it goes.
during_the_kill() {
	for _ in 1 2 3 4; do
		start_load || return 1
		one_cpu 0
		kill -9 "$pid"
		i=0
		while ! rmmod kaus 2>/dev/null; do
			i=$((i + 1))
			[ "$i" -lt 20000 ] || return 1
		done
		wait "$pid" 2>/dev/null
		pid=
		reload || return 1
	done
	works
}

refused_in_use
result $? "refused while workers run"
refused_while_open
result $? "refused while a descriptor is open"
after_a_kill
result $? "possible after the last user was killed"
during_the_kill
result $? "possible at the moment of the kill"
exit $rc
