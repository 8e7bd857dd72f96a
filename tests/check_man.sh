#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the headers say of a function its manual page says as well: there is a
# page that has it in its synopsis, and each error is named there; and what the
# library exports is in a header.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

# "FUNCTION" and "FUNCTION ERROR" of all kernel-doc in the public headers.
headers() {
	cat libuser/include/kaus/*.h | awk '
		/^\/\*\*$/ { doc = 1; name = ""; next }
		doc && !name { name = $2; if (!sub(/\(\)$/, "", name)) doc = 0 }
		doc && name { all = all " " $0 }
		/\*\/$/ {
			if (doc && name ~ /^kaus_/) {
				print name
				while (match(all, /-E[A-Z0-9]+/)) {
					print name, substr(all, RSTART + 1, RLENGTH - 1)
					all = substr(all, RSTART + RLENGTH)
				}
			}
			doc = 0; name = ""; all = ""
		}' | sort -u
}

# The same of the manual pages: each function of a page has all its errors.
pages() {
	local f fn err
	for f in doc/man/*.3; do
		for fn in $(sed -n 's/^\.Nm \(kaus_[a-z0-9_]*\).*/\1/p' "$f"); do
			echo "$fn"
			for err in $(grep -oE 'Er E[A-Z0-9]+' "$f" | cut -c 4-); do
				echo "$fn $err"
			done
		done
	done | sort -u
}

headers >"$tap_out/headers"
pages >"$tap_out/pages"
tap_check "there is something to compare" grep -q '^kaus_chan_send EPIPE$' \
	"$tap_out/headers"
tap_empty "functions and their errors are in the manual" < <(
	comm -23 "$tap_out/headers" "$tap_out/pages")
# But for what only code in line uses, in kaus/gc.h.
tap_empty "exported functions have a description" < <(
	sed -nE '/^KAUS_PRIVATE/,$d; s/^[[:space:]]*(kaus_[a-z0-9_]+);.*/\1/p' \
		libuser/api/kaus.map | grep -vE '^kaus_gc_(barrier_on|tell)$' | sort -u |
		comm -23 - <(grep -v ' ' "$tap_out/headers"))
tap_end
