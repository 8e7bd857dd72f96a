#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Copy to DIR what DKMS needs to build the module, and nothing else.
#
#	tools/dkms-source.sh DIR
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:?usage: dkms-source.sh DIR}
cd "$top"
rm -rf "$dir"
mkdir -p "$dir/uapi/linux" "$dir/LICENSES"
cp Makefile Kbuild dkms.conf "$dir/"
cp uapi/linux/kaus.h "$dir/uapi/linux/"
cp LICENSES/GPL-2.0-only.txt LICENSES/Linux-syscall-note.txt "$dir/LICENSES/"
find kmod \( -name '*.[chS]' -o -name symbols.allow \) -exec cp --parents {} "$dir/" \;
