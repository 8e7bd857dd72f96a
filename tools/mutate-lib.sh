#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Take away the guards of tests/mutants-lib.txt one at a time and expect the named
# unit test to fail. tools/mutate.sh does so with the module.
#
#	tools/mutate-lib.sh [NAME]...	(all)
#
# Environment: TIMEOUT (seconds for a test, 200). The source is copied to
# build/mutants-lib, where one file at a time is changed.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit
unset MAKEFLAGS MFLAGS MAKELEVEL
timeout=${TIMEOUT:-200}
tree=$top/build/mutants-lib
list=tests/mutants-lib.txt
log=$top/build/mutants-lib.log
n=0 failed=0
: >"$log"

result() {	# ok|not ok, NAME, WORDS
	n=$((n + 1))
	[ "$1" = ok ] || failed=$((failed + 1))
	echo "$1 $n $2${3:+ $3}"
}

fresh() {
	mkdir -p "$tree/build"
	# Times of here would hide from make that an object is of a mutant.
	rsync -a --no-times --checksum --delete Makefile libuser asm uapi tests tools LICENSES \
		packaging "$tree/"
	ln -sfn "$top/build/kselftest" "$tree/build/kselftest"
	ln -sfn "$top/build/kernels" "$tree/build/kernels"
}

build() {	# TEST
	make -C "$tree" lib >>"$log" 2>&1 &&
		make -C "$tree/tests/unit" COLLECTION=unit B="$tree/build" SAN= \
			KAUS_LIB_IS_BUILT=1 "$tree/build/tests/unit/$1" >>"$log" 2>&1
}

run() {		# TEST [KERNEL]
	if [ "$2" ]; then
		(cd "$tree" && tests/vm/run.sh --kernel "$2" --no-module \
			--timeout $((timeout + 40)) -- tools/run-tests.sh \
			-t "$timeout" "build/tests/unit/$1") >>"$log" 2>&1
	else
		(cd "$tree" && tools/run-tests.sh -t "$timeout" \
			"build/tests/unit/$1") >>"$log" 2>&1
	fi
}

mutants() {
	local name rest w
	grep -v -e '^#' -e '^$' $list | while IFS=$'\t' read -r name rest; do
		[ $# = 0 ] && printf '%s\t%s\n' "$name" "$rest"
		for w; do
			[ "$w" != "$name" ] || printf '%s\t%s\n' "$name" "$rest"
		done
	done
}

echo "TAP version 13"
fresh
passes=
while IFS=$'\t' read -r name file expr test; do
	where=
	case $test in *' '*) where=${test#* } test=${test%% *} ;; esac
	echo "== $name" >>"$log"
	# A test that fails without a mutant tells nothing.
	case $passes in
	*" $test@$where "*) ;;
	*)
		if ! { build "$test" && run "$test" "$where"; }; then
			result "not ok" "$name:" "$test does not pass as it is"
			continue
		fi
		passes="$passes $test@$where "
		;;
	esac
	sed -zE -i "$expr" "$tree/$file"
	if cmp -s "$file" "$tree/$file"; then
		result "not ok" "$name:" "changes nothing in $file"
	elif ! build "$test"; then
		result "not ok" "$name:" "does not build"
	elif run "$test" "$where"; then
		result "not ok" "$name:" "$test does not notice"
	else
		result ok "$name"
	fi
	fresh
	touch "$tree/$file"
done < <(mutants "$@")
echo "1..$n"
echo "# $((n - failed)) of $n; log: $log"
[ $failed = 0 ]
