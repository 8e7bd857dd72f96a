#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build and run suites of tests and add up their results.
#
#	tools/check.sh static|native|vm...
#
# Each suite's log stays in build/results. The last line is
# "N passed, N failed, N skipped"; the exit status says whether any failed.
# A suite that does not get to its own last line counts as one failure.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit
# What we call is no sub-make of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL
B=${B:-build}
KERNELS=${KERNELS:-6.1 6.12 6.12-rt}
results=$B/results
mkdir -p "$results"
passed=0 failed=0 skipped=0
begin=$SECONDS
: >"$results/failures"
rm -f "$results/total"

# suite NAME COMMAND...: run it, take its totals.
suite() {
	local name=$1 log=$results/$1.log rc line start=$SECONDS
	shift
	echo "== $name"
	"$@" 2>&1 | tee "$log"
	rc=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	if [ -z "$line" ]; then
		echo "-- $name: FAILED without a result (exit $rc)"
		failed=$((failed + 1))
		echo "$name: no result (exit $rc)" >>"$results/failures"
		return
	fi
	set -- ${line//,/}
	passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
	grep '^FAIL' "$log" | sed "s/^/$name: /" >>"$results/failures"
	if [ "$rc" != 0 ] && [ "$3" = 0 ]; then
		failed=$((failed + 1))
		echo "$name: exit $rc" >>"$results/failures"
	fi
	echo "-- $name: $line ($((SECONDS - start)) s)"
}

build() {
	echo "== build: $*"
	if make -k -s -j"$(nproc)" --no-print-directory B="$B" SAN="${SAN:-}" \
		CC="${CC:-gcc}" KERNELS="$KERNELS" "$@" >"$results/build.log" 2>&1; then
		passed=$((passed + 1))
	else
		cat "$results/build.log"
		failed=$((failed + 1))
		echo "build: $*" >>"$results/failures"
	fi
}

# programs DIR...: by source, so that one that does not build is a failure and a
# leftover of a removed one is not run. Those that ask for ICOUNT have a
# machine of their own.
programs() {
	local d f
	for d; do
		for f in tests/"$d"/test_*.c tests/"$d"/run_*.sh; do
			[ -e "$f" ] && ! grep -q ICOUNT "$f" && program "$f"
		done
	done
	return 0
}

counting() {
	local f
	for f in $(grep -l ICOUNT tests/*/test_*.c); do program "$f"; done
}

program() {
	case $1 in
	*.c) echo "$B/${1%.c}" ;;
	*) echo "$1" ;;
	esac
}

# vm KERNEL LOG OPTION... -- COMMAND...: what the machine itself has against it
# becomes a line of the suite.
vm() {
	local k=$1 log=$2 rc
	shift 2
	tests/vm/run.sh --kernel "$k" --module --log "$results/console-$log.log" "$@"
	rc=$?
	[ $rc = 123 ] && echo "FAIL kernel log not silent"
	[ $rc = 124 ] && echo "FAIL module would not unload"
	return $rc
}

# In one machine, first what tests the module alone, then the library on it,
# then libraries that know nothing of both. A million redirects take half an
# hour of emulation: REDIRECTS=1000000 make vm-check KERNELS=6.12.
vm_suite() {
	local k=$1 redirects=${REDIRECTS:-40000} gdb
	gdb=$(command -v gdb || :)
	# shellcheck disable=SC2046
	vm "$k" "$k" --cpus 2 --mem 1536 --timeout $((1200 + redirects / 100)) \
		${gdb:+--add "$gdb"} -- env "KAUS_REDIRECTS=$redirects" \
		tools/run-tests.sh -t $((300 + redirects / 200)) \
		$(programs kmod unit guest)
}

# Latencies in a machine whose clock counts instructions.
icount_suite() {
	# shellcheck disable=SC2046
	vm 6.12 icount --icount --timeout 900 -- tools/run-tests.sh -t 400 $(counting)
}

for what; do
	case $what in
	static)
		build lib kmod
		suite static tools/run-tests.sh -t 900 tests/check_*.sh
		;;
	native)
		build lib tests examples
		# The module's tests would all skip where it is not loaded.
		# shellcheck disable=SC2046
		suite native tools/run-tests.sh $(programs unit) \
			$([ ! -e /dev/kaus ] || programs kmod)
		;;
	vm)
		build lib tests kmod
		for k in $KERNELS; do
			suite "vm-$k" vm_suite "$k"
		done
		case " $KERNELS " in
		*" 6.12 "*) suite vm-icount icount_suite ;;
		esac
		;;
	*)
		echo "check.sh: no suite $what" >&2
		exit 2
		;;
	esac
done
echo
if [ -s "$results/failures" ]; then
	echo "Failures:"
	cat "$results/failures"
fi
echo "Took $((SECONDS - begin)) s; logs are in $results."
echo "$passed passed, $failed failed, $skipped skipped" | tee "$results/total"
[ $failed = 0 ]
