# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# TAP for shell scripts, sourced. Lines of diagnosis go before the result:
#
#	tap_check NAME COMMAND...	ok if COMMAND succeeds, shows it if not
#	tap_empty NAME <OUTPUT		ok if there is no input, shows it if not
#	tap_skip NAME REASON
#	tap_end				prints the plan and exits

# A make called here is no sub-make of the one that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL

tap_n=0 tap_failed=0
tap_out=$(mktemp -d)
trap 'rm -rf "$tap_out"' EXIT
echo "TAP version 13"

tap_result() {
	tap_n=$((tap_n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tap_n $2"
	else
		tap_failed=1
		sed 's/^/# /' "$tap_out/log"
		echo "not ok $tap_n $2"
	fi
}

tap_check() {
	local name=$1 rc=0
	shift
	"$@" >"$tap_out/log" 2>&1 </dev/null || rc=$?
	tap_result $rc "$name"
}

tap_empty() {
	cat >"$tap_out/log"
	if [ -s "$tap_out/log" ]; then tap_result 1 "$1"; else tap_result 0 "$1"; fi
}

tap_skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n $1 # SKIP $2"
}

tap_end() {
	echo "1..$tap_n"
	exit $tap_failed
}
