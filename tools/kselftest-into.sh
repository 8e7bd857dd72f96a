#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Put the tests of the module into a kernel tree:
#
#	tools/kselftest-into.sh TREE [--undo]
#
# They become tools/testing/selftests/kaus, a target like any other:
#
#	make -C TREE headers
#	make -C TREE/tools/testing/selftests TARGETS=kaus run_tests
#	make -C TREE kselftest-install TARGETS=kaus
#
# The contract goes to include/uapi/linux/kaus.h, where `make headers` finds it.
# The tests of the library stay here: a kernel tree has no libkaus. Run it again
# to bring the copy up to date.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
tree=${1:?usage: kselftest-into.sh TREE [--undo]}
tests=$tree/tools/testing/selftests
[ -f "$tests/lib.mk" ] || {
	echo "kselftest-into.sh: no $tests/lib.mk: is $tree a kernel tree?" >&2
	exit 1
}
rm -rf "$tests/kaus"
sed -i '/^TARGETS += kaus$/d' "$tests/Makefile"
if [ "${2-}" = --undo ]; then
	rm -f "$tree/include/uapi/linux/kaus.h"
	exit 0
fi

mkdir -p "$tests/kaus/lib" "$tree/include/uapi/linux"
cd "$top"
cp tests/kmod/test_*.c tests/kmod/run_*.sh tests/kmod/config \
	tests/kmod/settings "$tests/kaus/"
cp tests/lib/*.[chS] "$tests/kaus/lib/"
cp tests/kmod/kselftest.mk "$tests/kaus/Makefile"
cp uapi/linux/kaus.h "$tree/include/uapi/linux/kaus.h"
{
	echo "# SPDX-License-Identifier: GPL-2.0-only"
	cd tests/kmod
	ls test_*.c | sed 's/\.c$//'
} >"$tests/kaus/.gitignore"

# The list is sorted, and must stay so.
awk -v line="TARGETS += kaus" '
	!done && /^TARGETS \+= / && $3 > "kaus" { print line; done = 1 }
	{ print }
	END { if (!done) print line }' "$tests/Makefile" >"$tests/Makefile.new"
mv "$tests/Makefile.new" "$tests/Makefile"
