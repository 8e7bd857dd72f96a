#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Unpack from the distribution's kernel source what we use of it and do not
# copy into this tree: the core of kselftest, checkpatch, kernel-doc and the
# scripts of coccicheck. They land in build/kselftest. Prints nothing when up to
# date.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
dest=$top/build/kselftest
tarball=
for t in /usr/src/linux-source-6.12.tar.xz /usr/src/linux-source-6.*.tar.xz; do
	[ -r "$t" ] && { tarball=$t; break; }
done
if [ -z "$tarball" ]; then
	[ -e "$dest/.done" ] && exit 0
	echo "kselftest.sh: no linux-source tarball (tools/deps.sh kselftest)" >&2
	exit 1
fi
mkdir -p "$dest"
exec 9>"$dest/.lock"
flock 9
[ -e "$dest/.done" ] && [ "$dest/.done" -nt "$tarball" ] &&
	[ "$dest/.done" -nt "$top/tools/kselftest.sh" ] && exit 0
echo "  UNPACK  $tarball"
# Two members near the end of the archive, so all of it is read: 20 s.
tar -xf "$tarball" -C "$dest" --strip-components=1 --wildcards \
	'*/tools/testing/selftests/Makefile' \
	'*/tools/testing/selftests/lib.mk' \
	'*/tools/testing/selftests/run_kselftest.sh' \
	'*/tools/testing/selftests/kselftest.h' \
	'*/tools/testing/selftests/kselftest_harness.h' \
	'*/tools/testing/selftests/kselftest/*' \
	'*/scripts/subarch.include' '*/scripts/coccinelle/*' \
	'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
	'*/scripts/const_structs.checkpatch' '*/scripts/kernel-doc'
touch "$dest/.done"
