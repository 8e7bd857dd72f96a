#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# tools/raw-stores.sh finds each planted store that a program which is collected
# while it runs must declare, and takes nothing else for one.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

dir=tests/raw-stores
find_in() {
	timeout 250 tools/raw-stores.sh -I libuser/include "$@"
}

tap_check "the program is one" \
	"${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -Wno-unused-const-variable \
	-fsyntax-only -Ilibuser/include $dir/stores.c
if ! command -v spatch >/dev/null; then
	tap_skip "stores" "no spatch here (tools/deps.sh style)"
	tap_end
fi
find_in $dir/stores.c $dir/stores.h >"$tap_out/found" 2>&1 && rc=0 || rc=$?
tap_check "status" test "$rc" = 1
grep -n 'FAULT \*/' $dir/stores.c | sed 's/:.*//' >"$tap_out/planted"
sed -nE 's|^'$dir'/stores.c:([0-9]+): raw store to .*|\1|p' "$tap_out/found" >"$tap_out/lines"
tap_empty "no error" < <(grep -v "^$dir/stores.c:[0-9]*: raw store to " "$tap_out/found")
tap_empty "all are found" < <(comm -23 <(sort "$tap_out/planted") <(sort "$tap_out/lines"))
tap_empty "nothing else is" < <(comm -13 <(sort "$tap_out/planted") <(sort "$tap_out/lines"))
tap_check "there are some" test "$(wc -l <"$tap_out/planted")" -ge 30

# Without one, and without a type.
sed '/FAULT \*\//d' $dir/stores.c >"$tap_out/stores.c"
cp $dir/stores.h "$tap_out/"
tap_check "a program without" find_in "$tap_out/stores.c" "$tap_out/stores.h"
echo 'struct a { struct a *b; }; void f(struct a *x) { x->b = x; }' >"$tap_out/a.c"
tap_check "a program without types" find_in "$tap_out/a.c"
tap_end
