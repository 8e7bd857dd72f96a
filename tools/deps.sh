#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Install what a part of the work needs (Debian 12).
#
#	tools/deps.sh GROUP...
#
#	build		compiler and libraries of libkaus, tests and examples
#	kmod		headers of the kernels 6.1, 6.12 and 6.12-rt
#	vm		QEMU, busybox, gdb, the images of these kernels
#	run		data for the demonstration
#	kselftest	the kernel source the harness and checkpatch are taken from
#	debug		what tools/debug-kernel.sh builds kernels from and with
#	style, dkms, bench
#
# Costs nothing where all is there. A kernel image that no other package needs
# (the headers of 6.12 do) is unpacked to build/kernels and not installed:
# installing one changes what this machine boots next time.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
export DEBIAN_FRONTEND=noninteractive

flavours="amd64 6.12-amd64 6.12-rt-amd64"
want=()
images=
for group; do
	case $group in
	build)
		want+=(gcc g++ libc6-dev make binutils pkg-config liburcu-dev
			liburing-dev libpcre2-dev libsqlite3-dev)
		;;
	kmod)
		want+=(make gcc)
		for f in $flavours; do want+=("linux-headers-$f"); done
		;;
	vm)
		want+=(qemu-system-x86 busybox-static cpio kmod xz-utils e2fsprogs gdb)
		images=1
		;;
	run) want+=(wamerican bible-kjv) ;;
	kselftest) want+=(linux-source-6.12 xz-utils perl rsync) ;;
	style)
		want+=(w3m sparse clang clang-format codespell coccinelle mandoc g++ git spin
			linux-source-6.12 xz-utils perl rsync)
		;;
	debug)
		want+=(linux-source-6.12 xz-utils make gcc bc bison flex kmod
			libelf-dev perl)
		;;
	dkms) want+=(dkms kmod) ;;
	bench) want+=(golang-go libgc-dev libgc-dev libmimalloc-dev libjemalloc-dev) ;;
	*) echo "deps.sh: no group $group" >&2; exit 2 ;;
	esac
done

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -E "$@"
	else
		echo "deps.sh: not root; please run: $*" >&2
		exit 1
	fi
}

updated=
update() {
	[ "$updated" ] && return
	as_root apt-get update -qq
	updated=1
}

missing=()
for p in "${want[@]}"; do
	case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) in
	"install ok installed") ;;
	*) case " ${missing[*]-} " in *" $p "*) ;; *) missing+=("$p") ;; esac ;;
	esac
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "deps.sh: installing ${missing[*]}"
	update
	as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ "$images" ] || exit 0
for f in $flavours; do
	series=${f%-amd64}
	[ "$f" = amd64 ] && series=6.1
	"$top/tools/kernels.sh" "$series" >/dev/null 2>&1 && continue
	# The image that belongs to the headers, where they are installed.
	v=$("$top/tools/kernels.sh" --version "$series" 2>/dev/null) || {
		update
		p=$(apt-cache depends "linux-image-$f" | sed -n 's/.*Depends: linux-image-\(.*\)/\1/p' | head -n 1)
		v=$p
	}
	[ "$v" ] || { echo "deps.sh: no package linux-image-$f" >&2; exit 1; }
	dest=$top/build/kernels/$v
	echo "deps.sh: unpacking linux-image-$v"
	rm -rf "$dest.tmp"
	mkdir -p "$dest.tmp"
	(
		cd "$dest.tmp"
		# _apt may not write here, which apt says on stderr.
		apt-get download -qq "linux-image-$v" 2>/dev/null || {
			update
			apt-get download -qq "linux-image-$v"
		}
		dpkg-deb -x ./*.deb .
		rm ./*.deb
		# modules.dep is made when a package is configured.
		depmod -b . "$v"
	)
	rm -rf "$dest"
	mv "$dest.tmp" "$dest"
done
