#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Does the description for syzkaller know all of the ABI: every ioctl, and the
# members of every argument in their order?
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh
uapi=uapi/linux/kaus.h desc=tests/fuzz/dev_kaus.txt

ioctls() {
	sed -n 's/^#define \(KAUS_IOC_[A-Z]*\)[[:space:]]*_IO(.*/\1/p' $uapi | sort
}

# The members of struct $1: in C, and in the description.
in_c() {
	sed -n "/^struct $1 {/,/^};/s/^	__u[0-9]* \([a-z_0-9]*\);/\1/p" $uapi
}
in_desc() {
	sed -n "/^$1 {/,/^}/s/^	\([a-z_0-9]*\)	.*/\1/p" $desc
}

tap_empty "every ioctl is described" < <(diff <(ioctls) \
	<(sed -n 's/^ioctl\$\(KAUS_IOC_[A-Z]*\)(.*/\1/p' $desc | sort) || :)
for s in info setup register park wake handoff kick regs; do
	tap_empty "struct kaus_$s" < <(
		[ "$(in_c kaus_$s)" ] || echo "not found"
		diff <(in_c kaus_$s) <(in_desc kaus_$s) || :)
done
tap_empty "the fuzzer calls every ioctl" < <(
	[ "$(ioctls | wc -l)" = "$(sed -n '/^} calls\[\]/,/^};/p' tests/fuzz/ops.c |
		grep -c 'sizeof')" ] || echo "calls[] of tests/fuzz/ops.c has another number")
tap_end
