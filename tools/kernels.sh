#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Where is the newest kernel of a series?
#
#	tools/kernels.sh 6.1|6.12|6.12-rt	prints: VERSION VMLINUZ MODULES_DIR
#	tools/kernels.sh --version SERIES	prints: VERSION (headers suffice)
#	tools/kernels.sh --build SERIES		prints: what to build modules against
#
# An image is looked for where packages install it and in build/kernels, where
# tools/deps.sh unpacks it: installing a kernel would change what the machine
# boots next time. debug-* are made by tools/debug-kernel.sh and have no modules.
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

only=
case ${1-} in
--*)
	only=${1#--}
	shift
	;;
esac
series=${1:?usage: kernels.sh [--version|--build] 6.1|6.12|6.12-rt|debug-NAME}

case $series in
debug-*)
	dir=$top/build/debug/$series
	if ! [ -e "$dir/.kaus-key" ]; then
		echo "kernels.sh: no $series here (tools/debug-kernel.sh $series)" >&2
		exit 1
	fi
	v=$(cat "$dir/include/config/kernel.release")
	case $only in
	version) echo "$v" ;;
	build) echo "$dir" ;;
	*) echo "$v $dir/arch/x86/boot/bzImage" ;;
	esac
	exit 0
	;;
esac

for v in $(versions "$series"); do
	case $only in
	version) echo "$v"; exit 0 ;;
	build) echo "/usr/src/linux-headers-$v"; exit 0 ;;
	esac
	for root in "" "$cache/$v"; do
		if [ -r "$root/boot/vmlinuz-$v" ] && [ -d "$root/lib/modules/$v/kernel" ]; then
			echo "$v $root/boot/vmlinuz-$v $root/lib/modules/$v"
			exit 0
		fi
	done
done
echo "kernels.sh: no kernel of series $series here (tools/deps.sh kernels)" >&2
exit 1
