#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Every public header compiles alone, twice in one unit, as C11 and as C++11,
# with both compilers and all warnings; the ABI has one layout for 64- and
# 32-bit code.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

headers=$(cd libuser/include && find . -name '*.h' | sed 's|^\./||' | sort)
flags="-Iuapi -Ilibuser/include -Wall -Wextra -Wpedantic -Wundef -Werror -fsyntax-only"
c="-std=c11 -Wstrict-prototypes -x c"
cxx="-std=c++11 -Wno-variadic-macros -x c++"

# every COMPILER OPTIONS: all headers one by one.
every() {
	local h rc=0
	for h in $headers linux/kaus.h; do
		# shellcheck disable=SC2086
		printf '#include <%s>\n#include <%s>\n' "$h" "$h" |
			"$1" $flags $2 - || { echo "$1: <$h>"; rc=1; }
	done
	return $rc
}
for cc in gcc clang; do
	command -v $cc >/dev/null || { tap_skip "headers alone, $cc" "no $cc here"; continue; }
	tap_check "headers alone, $cc -std=c11" every $cc "$c"
	# gcc takes -x c++, but not without the compiler proper (package g++).
	tap_check "headers alone, $cc -std=c++11" every $cc "$cxx"
done

tap_empty "every struct of the ABI has a size assert" < <(
	sed -n 's/^struct \(kaus_[a-z_]*\) {$/\1/p' uapi/linux/kaus.h | while read -r s; do
		grep -q "__KAUS_ASSERT(sizeof(struct $s) ==" uapi/linux/kaus.h || echo "$s"
	done)
cat >"$tap_out/abi.c" <<'END'
#include <stddef.h>
#include <linux/kaus.h>
/* What both sides depend on beyond sizes: who writes which cache lines. */
_Static_assert(offsetof(struct kaus_header, shutdown) == 128, "header");
_Static_assert(offsetof(struct kaus_header, sleeping) == 256, "header");
_Static_assert(offsetof(struct kaus_proc, owner) == 128, "proc");
_Static_assert(offsetof(struct kaus_worker, saved_ip) == 24, "worker");
_Static_assert(offsetof(struct kaus_worker, busy) == 32, "worker");
_Static_assert(offsetof(struct kaus_worker, on_cpu) == 128, "worker");
_Static_assert(KAUS_REGION_SIZE(1, 1) == 8192, "region");
_Static_assert(KAUS_OWNER_STATE(KAUS_OWNER(2, 5, 7)) == 2, "owner");
_Static_assert(KAUS_OWNER_WORKER(KAUS_OWNER(2, 5, 7)) == 5, "owner");
_Static_assert(KAUS_OWNER_GEN(KAUS_OWNER(2, 5, 7)) == 7, "owner");
END
for m in -m64 -m32; do
	tap_check "layout of the ABI, $m" gcc $m -std=c11 -Wall -Werror -Iuapi \
		-isystem /usr/include/x86_64-linux-gnu -fsyntax-only "$tap_out/abi.c"
done
tap_end
