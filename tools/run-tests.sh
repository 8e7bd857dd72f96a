#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run test programs that speak (K)TAP, one after the other, and count.
#
#	run-tests.sh [-v] [-r RERUNS] [-t SECONDS] PROGRAM...
#
# One line per program, the output of those that fail but for their passed tests
# (-v: all of it, of all), the reason of each skip, and at the end
# "N passed, N failed, N skipped". What a program planned but did not report
# counts as failed, and so does a crash, a timeout, or an exit status that does
# not agree with what it reported.
#
# -r: as many programs that fail are run once more. One that passes then is
# UNSTEADY: its first output is shown like that of a failure, and its second run
# counts. Crashes and reports of a sanitizer are failures at once.
# Runs natively and with busybox.
set -u
limit=180 verbose='' reruns=0
while getopts vr:t: o; do
	case $o in
	v) verbose=1 ;;
	r) reruns=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0
nl='
'
# run_one PROGRAM: sets verdict, p, f, s and name, and prints.
run_one() {
	prog=$1
	case $prog in */*) path=$prog ;; *) path=./$prog ;; esac
	start=$(date +%s)
	# Appending: the runner of kselftest opens its output by name once more.
	: >"$out"
	timeout -k 5 "$limit" "$path" >>"$out" 2>&1 </dev/null
	rc=$?
	took=$(($(date +%s) - start))
	# Who is still there? In a guest that is what hangs, and where.
	case ${KAUS_VM:+vm}$rc in
	vm124 | vm137 | vm143)
		for d in /proc/[0-9]*; do
			[ -s "$d/cmdline" ] || continue
			echo "# ${d#/proc/} $(tr '\0' ' ' <"$d/cmdline"):"
			grep -E '^(State|PPid)' "$d/status"
			cat "$d/stack"
		done >>"$out" 2>/dev/null
		;;
	esac

	# passed, failed and skipped as reported, planned (-1: no plan), and the
	# reasons given for skips. Only lines at the margin are ours.
	counts=$(awk '
	BEGIN { plan = -1 }
	/^1\.\.0/ { plan = 0; if (sub(/.*# *(SKIP|skip) */, "")) all = $0; next }
	/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; next }
	/^ok .*# *(SKIP|skip)/ {
		skipped++
		sub(/^ok [0-9]* */, "")
		if (!($0 in seen)) { seen[$0] = 1; reasons = reasons "  skip: " $0 "\n" }
		next
	}
	# The harness takes exit status 2 for a failure that was expected. None is
	# here: it is the end of a program whose goroutines are all asleep.
	/^(not )?ok .*# *(XFAIL|XPASS)/ { failed++; next }
	/^ok( |$)/ { passed++ }
	/^not ok.*# *TODO/ { passed++; next }
	/^not ok/ { failed++ }
	END {
		if (all != "") {
			skipped = 1; plan = 1
			reasons = "  skip: " all "\n"
		}
		printf "%d %d %d %d\n%s", passed, failed, skipped, plan, reasons
	}' "$out")
	set -- ${counts%%"$nl"*}
	p=$1 f=$2 s=$3 plan=$4
	reasons=
	case $counts in *"$nl"*) reasons=${counts#*"$nl"} ;; esac

	why=
	case $rc in
	0) ;;
	4)	# kselftest: all of it skipped
		if [ $((p + f + s)) = 0 ]; then
			s=1 plan=1
			reasons="  skip: $(grep -v '^TAP version' "$out" | tail -n 1)"
		fi
		;;
	124 | 143) why="timeout after $limit s" ;;
	137) why="timeout after $limit s, or killed" ;;
	126 | 127) why="cannot run (exit $rc)" ;;
	*)
		if [ "$rc" -gt 128 ]; then
			why="signal $((rc - 128))"
		elif [ "$f" = 0 ]; then
			why="exit $rc"
		fi
		;;
	esac
	if [ "$plan" -lt 0 ]; then
		why=${why:-no plan}
	elif [ $((p + f + s)) -lt "$plan" ]; then
		f=$((plan - p - s))
		why=${why:-only $((p + s)) of $plan tests reported}
	fi
	# Whatever went wrong outside of a test counts once.
	[ -n "$why" ] && [ "$f" = 0 ] && f=1

	verdict=PASS
	[ "$p" = 0 ] && [ "$s" -gt 0 ] && verdict=SKIP
	[ "$f" -gt 0 ] && verdict=FAIL
	name=${prog##*/}
	echo "$verdict $name: $p passed, $f failed, $s skipped ($took s)${why:+: $why}"
	[ -z "$reasons" ] || echo "$reasons"
	if [ -n "$verbose" ]; then
		sed 's/^/  | /' "$out"
	elif [ $verdict = FAIL ]; then
		awk '
		/^#  RUN / { if (run != "") print run; run = "  | " $0; next }
		/^# +OK / { run = ""; next }
		/^ok / && !/# *(XFAIL|XPASS)/ { next }
		{ if (run != "") print run; run = ""; print "  | " $0 }
		END { if (run != "") print run }' "$out"
	fi
}

# May the program that has just failed be run again?
may_rerun() {
	[ "$reruns" -gt 0 ] || return 1
	[ "$rc" -lt 128 ] || [ "$rc" = 137 ] || [ "$rc" = 143 ] || return 1
	! grep -qE '(Address|Leak|Thread|UndefinedBehavior)Sanitizer' "$out"
}

for prog; do
	run_one "$prog"
	if [ $verdict = FAIL ] && may_rerun; then
		reruns=$((reruns - 1))
		echo "-- once more"
		run_one "$prog"
		[ $verdict = FAIL ] || echo "UNSTEADY $name"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
