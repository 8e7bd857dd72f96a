#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Take away the guards of tests/mutants.txt one at a time and expect the named
# test to fail. A guard whose loss goes unnoticed is a test that is missing.
#
#	tools/mutate.sh [NAME]...	(all that the machines here can show)
#
# Those that say "debug" run on debug-kasan (tools/debug-kernel.sh), if it has
# been built. Environment: KERNEL (6.12) for the others, TIMEOUT (seconds for a
# test in a machine, 150).
# The source is copied to build/mutants, where one file at a time is changed.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit
unset MAKEFLAGS MFLAGS MAKELEVEL
stock=${KERNEL:-6.12} debug=debug-kasan timeout=${TIMEOUT:-150}
tree=$top/build/mutants
list=tests/mutants.txt
log=$top/build/mutants.log
n=0 failed=0
: >"$log"

# on SERIES: build for it and run on it.
on() {
	kernel=$1
	version=$(tools/kernels.sh --version "$kernel") || return
	ko=$tree/build/kmod/$version/kaus.ko
}

result() {	# ok|not ok, NAME, WORDS
	n=$((n + 1))
	[ "$1" = ok ] || failed=$((failed + 1))
	echo "$1 $n $2${3:+ $3}"
}

# The module of the copy; only what changed is compiled.
build() {
	rm -f "$ko"
	(cd "$tree" && tools/kbuild.sh "$kernel") >>"$log" 2>&1 && [ -f "$ko" ]
}

fresh() {
	mkdir -p "$tree/tests" "$tree/build"
	rsync -a --no-times --checksum --delete kmod uapi Kbuild tools "$tree/"
	cp tests/check_symbols.sh "$tree/tests/"
	ln -sfn "$top/build/kernels" "$tree/build/kernels"
	ln -sfn "$top/build/debug" "$tree/build/debug"
}

path() {
	case $1 in
	*.sh) echo "tests/kmod/$1" ;;
	test_fuzz) echo build/tests/fuzz/test_fuzz ;;
	*) echo "build/tests/kmod/$1" ;;
	esac
}

in_vm() {	# TEST...
	local t paths=() load=(--load kvm-amd)
	for t; do paths+=("$(path "$t")"); done
	case $kernel in debug-*) load=() ;; esac
	# run_rmmod.sh runs another program.
	tests/vm/run.sh --kernel "$kernel" --ko "$ko" --cpus 2 --mem "$mem" \
		${load[@]+"${load[@]}"} --timeout $((timeout * (1 + $# / 4) + 40)) \
		--add build/tests/kmod/test_life_exit -- \
		tools/run-tests.sh -t "$timeout" "${paths[@]}"
}

# The lines to work on: name, file, expression, test.
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
on "$stock" || exit
mem=1024
fresh
build || { echo "Bail out! the module does not build, see $log"; exit 1; }

# A test that fails without a mutant tells nothing.
mapfile -t tests < <(mutants "$@" | cut -f4 | grep -v ' ' | sort -u)
whole=
[ ${#tests[@]} = 0 ] || whole=$(in_vm "${tests[@]}" 2>>"$log")
echo "$whole" >>"$log"

while IFS=$'\t' read -r name file expr test; do
	where=
	case $test in *' '*) where=${test#* } test=${test%% *} ;; esac
	on "$stock"
	mem=1024
	case $where in
	debug)
		on $debug 2>/dev/null || {
			n=$((n + 1))
			echo "ok $n $name # SKIP no $debug (make debug-kernel)"
			continue
		}
		mem=3072
		;;
	esac
	if ! [ "$where" ] && ! grep -q "^PASS $test:" <<<"$whole"; then
		result "not ok" "$name:" "$test does not pass as it is"
		continue
	fi
	echo "== $name" >>"$log"
	sed -zE -i "$expr" "$tree/$file"
	if cmp -s "$file" "$tree/$file"; then
		result "not ok" "$name:" "changes nothing in $file"
	elif ! build; then
		result "not ok" "$name:" "does not build"
	else
		in_vm "$test" >>"$log" 2>&1
		case $? in
		0) result "not ok" "$name:" "$test does not notice" ;;
		125) result "not ok" "$name:" "the machine could not be set up" ;;
		*) result ok "$name" ;;
		esac
	fi
	fresh
	touch "$tree/$file"
done < <(mutants "$@")
echo "1..$n"
echo "# $((n - failed)) of $n; log: $log"
[ $failed = 0 ]
