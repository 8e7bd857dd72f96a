#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# libkausgc from outside: its headers alone, what it exports, and a program of
# the distribution that was linked with the other collector.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

inc=libuser/compat/gc/include
flags="-I$inc -Wall -Wextra -Wpedantic -Wundef -Werror -fsyntax-only"
for h in gc.h gc_typed.h gc/gc.h gc/gc_typed.h; do
	for std in "-std=c11 -Wstrict-prototypes -x c" "-std=c++11 -x c++"; do
		printf '#define GC_THREADS\n#include <%s>\n#include <%s>\n' \
			$h $h >"$tap_out/alone"
		# shellcheck disable=SC2086
		tap_check "<$h> alone, ${std%% *}" gcc $flags $std "$tap_out/alone"
	done
done
tap_empty "libkausgc.so exports GC_* only" < <(
	nm -D --defined-only build/libkausgc.so.0 | awk '$2 != "A" && $3 !~ /^GC_/ { print $3 }')
tap_empty "all that the headers declare is there" < <(
	nm -D --defined-only build/libkausgc.so.0 | sed 's/.* //;s/@.*//' | sort -u >"$tap_out/there"
	printf '#define GC_THREADS\n#define GC_REQUIRE_WCSDUP\n#include <wchar.h>\n#include <gc_typed.h>\n' |
		gcc -I$inc -E -P - | grep -oE '\bGC_[a-z0-9_]+\(' | tr -d '(' | sort -u |
		comm -23 - "$tap_out/there")

if command -v w3m >/dev/null && ldd "$(command -v w3m)" | grep -q 'libgc\.so\.1'; then
	{
		echo '<html><body><h1>Title</h1>'
		for i in $(seq 3000); do
			echo "<p>Paragraph $i, <a href=x$i>a link</a>, <b>bold</b>.<table border=1><tr><td>$i<td>$((i * i))</tr></table>"
		done
		echo '</body></html>'
	} >"$tap_out/big.html"
	export HOME=$tap_out
	w3m -dump "$tap_out/big.html" >"$tap_out/expected"
	tap_check "w3m on libgc.so.1 of KAUS" env LD_LIBRARY_PATH=build/libgc \
		KAUS_GC_TRACE=1 sh -c "w3m -dump '$tap_out/big.html' >'$tap_out/seen' 2>'$tap_out/trace'"
	tap_check "it shows the same" cmp "$tap_out/expected" "$tap_out/seen"
	tap_check "it has collected" grep -q '^kaus: gc ' "$tap_out/trace"
else
	tap_skip "w3m on libgc.so.1 of KAUS" "no w3m with libgc here (tools/deps.sh style)"
fi
tap_end
