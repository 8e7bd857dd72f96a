#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build and run suites of tests and add up their results.
#
#	tools/check.sh static|native|sanitizers|tiny|vm|upgrade|debug|fuzz...
#
# Each suite's log stays in build/results. The last line is
# "N passed, N failed, N skipped"; the exit status says whether any failed.
# A suite that does not get to its own last line counts as one failure.
#
# Of each suite as many as RERUNS (2) programs that fail are run once more; those
# that pass then are listed as unsteady: each is a bug of the program or of its
# test, to be found, but no reason to throw away the other results. More than
# three of them are a failure. RERUNS=0: any failure is one.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit
# What we call is no sub-make of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL
B=${B:-build}
KERNELS=${KERNELS:-6.1 6.12 6.12-rt}
CPUS=${CPUS:-2}
RERUNS=${RERUNS:-2}
# ThreadSanitizer stays a second in each test for races after its end.
export TSAN_OPTIONS="atexit_sleep_ms=50${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
results=$B/results
mkdir -p "$results"
passed=0 failed=0 skipped=0 beside_pid=
begin=$SECONDS
: >"$results/failures"
: >"$results/unsteady"
rm -f "$results/total"

# why LOG: what a machine said last, without the dump that follows.
why() {
	grep -E 'vm/run\.sh: |vm: |Oops|BUG: |panic|RIP: 0010|Comm: ' "$1" | tail -n 8
	grep -E '^(PASS|FAIL|SKIP) ' "$1" | tail -n 1
}

# suite NAME COMMAND...: run it, take its totals.
suite() {
	local start=$SECONDS
	echo "== $1"
	"${@:2}" 2>&1 | tee "$results/$1.log"
	take "$1" "${PIPESTATUS[0]}" $((SECONDS - start))
}

# beside NAME COMMAND...: the same, while others run; take_beside waits for it. For
# one that does not mind company, and keeps one CPU busy.
beside() {
	beside=$1 beside_start=$SECONDS
	shift
	# With a process group of its own, to be ended as a whole.
	set -m
	"$@" >"$results/$beside.log" 2>&1 </dev/null &
	set +m
	beside_pid=$!
}

stop_beside() {
	[ -z "$beside_pid" ] || kill -- "-$beside_pid" 2>/dev/null
}
trap stop_beside EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

take_beside() {
	local rc=0
	wait "$beside_pid" || rc=$?
	beside_pid=
	echo "== $beside, which ran beside that"
	cat "$results/$beside.log"
	take "$beside" $rc $((SECONDS - beside_start))
}

# take NAME STATUS TIME: the results of a suite that has ended.
take() {
	local name=$1 rc=$2 took=$3 log=$results/$1.log line
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	if [ -z "$line" ]; then
		echo "-- $name: FAILED without a result (exit $rc)"
		failed=$((failed + 1))
		echo "$name: no result (exit $rc)" >>"$results/failures"
		why "$log" >>"$results/failures"
		return
	fi
	set -- ${line//,/}
	passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
	grep '^FAIL' "$log" |
		grep -vFf <(sed -n 's/^UNSTEADY \(.*\)/FAIL \1:/p' "$log") |
		sed "s/^/$name: /" >>"$results/failures"
	sed -n "s/^UNSTEADY /$name: /p" "$log" >>"$results/unsteady"
	if [ "$rc" != 0 ] && [ "$3" = 0 ]; then
		failed=$((failed + 1))
		echo "$name: exit $rc" >>"$results/failures"
	fi
	echo "-- $name: $line ($took s)"
}

build() {
	echo "== build: $*"
	if make -k -s -j"$(nproc)" --no-print-directory B="$B" SAN="${SAN:-}" \
		TINY="${TINY:-}" CC="${CC:-gcc}" KERNELS="$KERNELS" "$@" >"$results/build.log" 2>&1; then
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

# The module of the next minor version, for tests/guest/test_upgrade.c.
next() {
	local ko
	ko=$B/kmod/next/$(tools/kernels.sh --version "$1")/kaus.ko
	[ ! -f "$ko" ] || echo "--add $ko:/vm/kaus-next.ko"
}

# vm KERNEL LOG OPTION... -- COMMAND...: what the machine itself has against it
# becomes a line of the suite. A machine that met what QEMU does to changed code
# (tests/vm/run.sh --help) is started once more: nothing of ours writes an int3.
vm() {
	local k=$1 console=$results/console-$2.log rc
	shift 2
	# shellcheck disable=SC2046
	tests/vm/run.sh --kernel "$k" --module --log "$console" $(next "$k") "$@"
	rc=$?
	if [ $rc = 1 ] && [ "$RERUNS" != 0 ] && grep -q 'Oops: int3' "$console"; then
		echo "UNSTEADY the machine: int3, started again"
		# shellcheck disable=SC2046
		tests/vm/run.sh --kernel "$k" --module --log "$console" $(next "$k") "$@"
		rc=$?
	fi
	[ $rc = 123 ] && echo "FAIL kernel log not silent"
	[ $rc = 124 ] && echo "FAIL module would not unload"
	return $rc
}

# In one machine, first what tests the module alone, then the library on it,
# then libraries that know nothing of both. A million redirects take half an
# hour of emulation: REDIRECTS=1000000 make vm-check KERNELS=6.12. More CPUs than
# are here are each the slower.
vm_suite() {
	local k=$1 redirects=${REDIRECTS:-40000} slow=$(((CPUS + 1) / 2)) gdb
	gdb=$(command -v gdb || :)
	# shellcheck disable=SC2046
	vm "$k" "$k" --cpus "$CPUS" --mem 1536 \
		--timeout $(((1200 + redirects / 100) * slow)) \
		--load kvm-amd ${gdb:+--add "$gdb"} -- \
		env "KAUS_REDIRECTS=$redirects" KAUS_SLOW=$slow tools/run-tests.sh \
		-r "$RERUNS" -t $(((300 + redirects / 200) * slow)) \
		$(programs kmod unit guest fuzz soak)
}

# What happens to a machine under a program; why one thread, the test tells.
machine_suite() {
	vm "$1" "$1-machine" --one-thread --wake 3 --cpus "$CPUS" --mem 1536 --timeout 900 -- \
		tools/run-tests.sh -r "$RERUNS" -t 440 "$B/tests/guest/test_machine"
}

# A module that does without user-return notifiers, and what of the library leans
# on them.
reduced_suite() {
	local k=$1
	# shellcheck disable=SC2046
	vm "$k" "$k-reduced" --cpus 2 --mem 1536 --timeout 900 \
		--ko "$B/kmod/reduced/$(tools/kernels.sh --version "$k")/kaus.ko" -- \
		tools/run-tests.sh -r "$RERUNS" -t 300 $(programs kmod fuzz) \
		"$B"/tests/unit/test_gc_concurrent "$B"/tests/unit/test_stw
}

# The module's tests with one CPU, and installed, as a user of kselftest runs
# them, with four. Its runner wants the timeout of coreutils.
one_cpu_suite() {
	# shellcheck disable=SC2046
	vm "$1" "$1-1cpu" --cpus 1 --mem 1536 --timeout 900 --load kvm-amd -- \
		tools/run-tests.sh -r "$RERUNS" -t 300 $(programs kmod)
}

kselftest_suite() {
	local k=$1 dir=$B/kselftest_install gdb
	gdb=$(command -v gdb || :)
	rm -rf "$dir"
	make -s -C tests B="$(realpath "$B")" TARGETS=kmod \
		INSTALL_PATH="$(realpath -m "$dir")" install || return
	vm "$k" "$k-kselftest" --cpus 4 --mem 1536 --timeout 1200 --load kvm-amd \
		--add "$dir" --add /usr/bin/timeout ${gdb:+--add "$gdb"} -- \
		tools/run-tests.sh -r "$RERUNS" -t 580 "$dir/run_kselftest.sh"
}

# Latencies in a machine whose clock counts instructions.
icount_suite() {
	# shellcheck disable=SC2046
	vm 6.12 icount --icount --timeout 900 -- tools/run-tests.sh -r "$RERUNS" -t 400 $(counting)
}

# Two processors that take turns, so that both may be there; and once with a
# clock that counts instructions, which tells how long anybody has to wait.
upgrade_suite() {
	local k=$1 n=${UPGRADES:-200} limit
	shift
	limit=$((300 + 20 * n))
	vm "$k" "upgrade-$k" "$@" --mem 1536 --timeout $((limit + 60)) -- env \
		"KAUS_UPGRADES=$n" ${UPGRADE_LIMIT_MS:+"KAUS_UPGRADE_LIMIT_MS=$UPGRADE_LIMIT_MS"} \
		tools/run-tests.sh -v -t "$limit" "$B/tests/guest/test_upgrade"
}

# The same on a kernel that checks itself, all the slower for it.
debug_suite() {
	local k=$1
	# shellcheck disable=SC2046
	vm "$k" "$k" --cpus "$CPUS" --mem 3072 --timeout 7200 -- \
		env KAUS_REDIRECTS=4000 KAUS_SLOW=8 tools/run-tests.sh -t 1200 \
		$(programs kmod guest fuzz unit)
}

# The long run; `make check` has a five-hundredth of the lives.
fuzz_suite() {
	local k=$1 lives=${LIVES:-100000} limit mem=1536
	limit=$((600 + lives))
	case $k in debug-*) mem=3072 limit=$((limit * 3)) ;; esac
	vm "$k" "fuzz-$k" --cpus 2 --mem $mem --timeout $((limit + 60)) -- env \
		"KAUS_FUZZ_LIVES=$lives" "KAUS_FUZZ_IOCTLS=${IOCTLS:-10000000}" \
		"KAUS_FUZZ_SEED=${SEED:-}" \
		tools/run-tests.sh -v -t "$limit" "$B/tests/fuzz/test_fuzz"
}

for what; do
	case $what in
	static)
		build lib kmod kmod-reduced
		beside kselftest tools/run-tests.sh -t 900 tests/check_kselftest.sh
		# shellcheck disable=SC2046
		suite static tools/run-tests.sh -t 900 \
			$(printf '%s\n' tests/check_*.sh | grep -v kselftest)
		take_beside
		;;
	native)
		build lib tests examples
		# The module's tests would all skip where it is not loaded.
		# shellcheck disable=SC2046
		suite native tools/run-tests.sh -r "$RERUNS" $(programs unit soak) \
			$([ ! -e /dev/kaus ] || programs kmod)
		;;
	sanitizers)
		for s in asan tsan; do
			SAN=$s B=$B/$s build lib tests TARGETS=unit
			# shellcheck disable=SC2046
			suite "native-$s" tools/run-tests.sh -r "$RERUNS" \
				$(B=$B/$s programs unit)
		done
		;;
	tiny)
		# What has buffers: the heap and the collector.
		TINY=1 B=$B/tiny build lib tests TARGETS=unit
		# shellcheck disable=SC2046
		suite native-tiny tools/run-tests.sh -r "$RERUNS" \
			$(B=$B/tiny programs unit | grep -E '/test_(alloc|gc|heap|libgc|stress)')
		;;
	vm)
		build lib tests kmod kmod-next kmod-reduced
		for k in $KERNELS; do
			suite "vm-$k" vm_suite "$k"
		done
		case " $KERNELS " in
		*" 6.12 "*)
			suite vm-icount icount_suite
			suite vm-machine machine_suite 6.12
			suite vm-reduced reduced_suite 6.12
			suite vm-1cpu one_cpu_suite 6.12
			suite vm-kselftest kselftest_suite 6.12
			;;
		esac
		;;
	upgrade)
		build lib kmod kmod-next
		build tests TARGETS=guest
		for k in $KERNELS; do
			suite "upgrade-$k" upgrade_suite "$k" --one-thread --cpus 2
		done
		UPGRADE_LIMIT_MS=20 suite upgrade-icount upgrade_suite "${KERNELS%% *}" --icount
		;;
	debug)
		build lib tests kmod
		for k in $KERNELS; do
			suite "$k" debug_suite "$k"
		done
		;;
	fuzz)
		build lib kmod
		build tests TARGETS=fuzz
		for k in $KERNELS; do
			suite "fuzz-$k" fuzz_suite "$k"
		done
		;;
	*)
		echo "check.sh: no suite $what" >&2
		exit 2
		;;
	esac
done
echo
if [ -s "$results/unsteady" ]; then
	echo "Unsteady, passed the second time only:"
	cat "$results/unsteady"
	if [ "$(wc -l <"$results/unsteady")" -gt 3 ]; then
		failed=$((failed + 1))
		echo "more than three unsteady programs" >>"$results/failures"
	fi
fi
if [ -s "$results/failures" ]; then
	echo "Failures:"
	cat "$results/failures"
fi
echo "Took $((SECONDS - begin)) s; logs are in $results."
echo "$passed passed, $failed failed, $skipped skipped" | tee "$results/total"
[ $failed = 0 ]
