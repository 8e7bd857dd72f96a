#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Where is the newest kernel of a series?
#
#	tools/kernels.sh 6.1|6.12|6.12-rt	prints: VERSION VMLINUZ MODULES_DIR
#	tools/kernels.sh --version SERIES	prints: VERSION (headers suffice)
#
# An image is looked for where packages install it and in build/kernels, where
# tools/deps.sh unpacks it: installing a kernel would change what the machine
# boots next time.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cache=$top/build/kernels

# All versions of the series, newest first; their headers name them.
versions() {
	case $1 in
	*-rt) pat="/usr/src/linux-headers-${1%-rt}.[0-9]*-rt-amd64" ;;
	*) pat="/usr/src/linux-headers-$1.[0-9]*-amd64" ;;
	esac
	for d in $pat; do
		[ -d "$d" ] || continue
		v=${d##*/linux-headers-}
		case $1:$v in
		*-rt:*) ;;
		*:*-rt-amd64 | *:*-cloud-amd64) continue ;;
		esac
		echo "$v"
	done | sort -rV
}

only_version=
if [ "${1-}" = --version ]; then
	only_version=1
	shift
fi
series=${1:?usage: kernels.sh [--version] 6.1|6.12|6.12-rt}

for v in $(versions "$series"); do
	if [ "$only_version" ]; then
		echo "$v"
		exit 0
	fi
	for root in "" "$cache/$v"; do
		if [ -r "$root/boot/vmlinuz-$v" ] && [ -d "$root/lib/modules/$v/kernel" ]; then
			echo "$v $root/boot/vmlinuz-$v $root/lib/modules/$v"
			exit 0
		fi
	done
done
echo "kernels.sh: no kernel of series $series here (tools/deps.sh kernels)" >&2
exit 1
