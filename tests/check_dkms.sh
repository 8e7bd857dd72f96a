#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The module by DKMS: add, build, install, remove, for two kernels, in trees
# of its own so that this machine keeps its modules as they are.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

command -v dkms >/dev/null || {
	tap_skip "dkms" "dkms is not installed"
	tap_end
}
[ "$(id -u)" = 0 ] || {
	tap_skip "dkms" "dkms works for root only"
	tap_end
}
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
tap_check "dkms.conf has the version of the module" \
	grep -qx "MODULE_VERSION(\"$version\");" kmod/main.c

t=$tap_out
mkdir -p "$t/tree" "$t/src" "$t/modules"
tools/dkms-source.sh "$t/src/kaus-$version"
dk() {
	local cmd=$1
	shift
	dkms "$cmd" --dkmstree "$t/tree" --sourcetree "$t/src" --installtree "$t/modules" "$@"
}
# No initrd, no depmod on trees that have no kernel.
tap_check "add" dk add "kaus/$version"
for series in 6.1 6.12; do
	kver=$(tools/kernels.sh --version $series 2>/dev/null) || {
		tap_skip "$series" "no headers of $series here"
		continue
	}
	k=(-k "$kver" --kernelsourcedir "/usr/src/linux-headers-$kver")
	mkdir -p "$t/modules/$kver"
	tap_check "$series: build" dk build "kaus/$version" "${k[@]}"
	tap_check "$series: install" dk install "kaus/$version" "${k[@]}" --no-depmod
	ko=$(find "$t/modules/$kver" -name 'kaus.ko*')
	tap_check "$series: module lands in updates/dkms" test "$ko" -a "${ko#*/updates/dkms/}" != "$ko"
	case $ko in
	*.xz) xz -dc "$ko" >"$t/kaus.ko" ;;
	*.ko) cp "$ko" "$t/kaus.ko" ;;
	esac
	tap_check "$series: it is for that kernel" \
		sh -c "modinfo -F vermagic '$t/kaus.ko' | grep -q '^$kver '"
	tap_check "$series: remove" dk remove "kaus/$version" -k "$kver" --no-depmod
	tap_empty "$series: nothing is left" < <(find "$t/modules/$kver" -name 'kaus.ko*')
done

# A kernel without preempt notifiers or exact timers is refused in one line.
mkdir -p "$t/kernel/include/config"
touch "$t/kernel/Makefile"
for c in CONFIG_PREEMPT_NOTIFIERS CONFIG_HIGH_RES_TIMERS; do
	for o in CONFIG_HIGH_RES_TIMERS CONFIG_PREEMPT_NOTIFIERS; do
		[ $o = $c ] || echo $o=y
	done >"$t/kernel/include/config/auto.conf"
	tap_check "a kernel without $c is refused" sh -c "
		! make -s module KDIR='$t/kernel' 2>'$t/err' &&
		cat '$t/err' && [ \$(grep -c ^kaus: '$t/err') = 1 ] &&
		grep -q $c '$t/err'"
done
tap_end
