#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A module may use no kernel symbol but those of kmod/symbols.allow, so that a
# new dependency is a decision and not an accident.
#
#	tests/check_symbols.sh [KAUS.KO]...	(all of build/kmod)
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
allow=$top/kmod/symbols.allow
n=0 failed=0
result() {
	n=$((n + 1))
	[ "$1" = ok ] || failed=1
	echo "$1 $n $2"
}

echo "TAP version 13"
if [ ! -f "$allow" ]; then
	echo "1..0 # SKIP there is no kmod/symbols.allow"
	exit 0
fi
if [ $# = 0 ]; then
	# A debug kernel's module also calls what watches it.
	set --
	for ko in "$top"/build/kmod/*/kaus.ko; do
		case $ko in *-kaus-*) ;; *) [ ! -e "$ko" ] || set -- "$@" "$ko" ;; esac
	done
	[ $# != 0 ] || { echo "1..0 # SKIP no module is built"; exit 0; }
fi
echo "1..$(($# + 1))"
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
sed 's/[[:space:]]*#.*//;/^$/d' "$allow" >"$tmp"
if LC_ALL=C sort -uc "$tmp"; then
	result ok "symbols.allow is sorted"
else
	result "not ok" "symbols.allow is sorted"
fi
for ko; do
	extra=$(nm -u "$ko" | awk '{print $2}' | LC_ALL=C sort -u |
		LC_ALL=C comm -23 - <(LC_ALL=C sort -u "$tmp"))
	name=$(basename "$(dirname "$ko")")
	if [ -z "$extra" ]; then
		result ok "no new symbols: $name"
	else
		# shellcheck disable=SC2086
		printf '# not in kmod/symbols.allow: %s\n' $extra
		result "not ok" "no new symbols: $name"
	fi
done
exit $failed
