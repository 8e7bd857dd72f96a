#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Install into an empty directory, then be a user: compile a small program
# with what pkg-config says, against the shared library and the static one,
# run it, and see that nothing private got out.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

d=$tap_out/dest
lib=$d/usr/lib
tap_check "make install" make -s install DESTDIR="$d" PREFIX=/usr
export PKG_CONFIG_PATH=$lib/pkgconfig
# kaus.pc has the final place; here it is below $d.
pc() {
	pkg-config --define-variable=prefix="$d/usr" "$@" kaus
}

cat >"$tap_out/sum.c" <<'END'
#include <kaus.h>
#include <stdint.h>
#include <stdio.h>

static void *square(void *arg)
{
	intptr_t n = (intptr_t)arg;

	kaus_yield();
	return (void *)(n * n);
}

static int run(void *arg)
{
	struct kaus_g *g[10];
	intptr_t sum = 0;
	void *v;

	(void)arg;
	for (intptr_t i = 0; i < 10; i++)
		if (kaus_spawn(square, (void *)i, &g[i]))
			return 1;
	for (int i = 0; i < 10; i++) {
		if (kaus_join(g[i], &v))
			return 1;
		sum += (intptr_t)v;
	}
	printf("%ld\n", (long)sum);
	return sum == 285 ? 0 : 1;
}

int main(void)
{
	return kaus_run(run, NULL);
}
END
version=$(pc --modversion)
tap_empty "kaus.pc names the version of the header" < <(
	for part in MAJOR MINOR PATCH; do
		grep -qx "#define KAUS_VERSION_$part ${version%%.*}" \
			"$d/usr/include/kaus/go.h" || echo "$part of $version"
		version=${version#*.}
	done)
# shellcheck disable=SC2046
tap_check "compile, shared" gcc -Wall -Werror "$tap_out/sum.c" -o "$tap_out/sum" \
	$(pc --cflags --libs)
tap_check "run, shared" env LD_LIBRARY_PATH="$lib" "$tap_out/sum"
tap_check "needs libkaus.so.0" bash -c "readelf -d '$tap_out/sum' | grep -q 'NEEDED.*libkaus.so.0'"
rm -f "$lib"/libkaus.so*
# shellcheck disable=SC2046
tap_check "compile, static" gcc -Wall -Werror "$tap_out/sum.c" \
	-o "$tap_out/sum-static" $(pc --cflags --libs --static)
tap_check "run, static" "$tap_out/sum-static"

tap_empty "libkaus.so exports kaus_* only" < <(
	nm -D --defined-only build/libkaus.so.0 | awk '$2 != "A" && $3 !~ /^kaus_/ { print $3 }')
tap_empty "libkaus.a exports kaus_* only" < <(
	nm -g --defined-only "$lib/libkaus.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^kaus_/ { print $3 }')
tap_empty "all of kaus.map is there, and in a header" < <(
	[ ! -f libuser/api/kaus.map ] || for s in $(grep -oE '^[[:space:]]+kaus_[a-z0-9_]+' libuser/api/kaus.map); do
		nm -D --defined-only build/libkaus.so.0 | grep -qE " $s(@.*)?\$" || echo "$s: not in libkaus.so"
		grep -rqw "$s" libuser/include libuser/gc/compat.h || echo "$s: in no header"
	done)
tap_check "make uninstall" make -s uninstall DESTDIR="$d" PREFIX=/usr
tap_empty "nothing is left but manual pages' directories" < <(find "$d" ! -type d)
tap_end
