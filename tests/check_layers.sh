#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Who may include whom. A layer sees itself and those below it; layers of one
# rank do not see each other. Module and library share the uapi header only.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

# includes DIR...: lines of "FILE TARGET", TARGET as written with its quotes.
includes() {
	find "$@" -name '*.[chS]' -exec grep -HoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<][^">]*[">]' {} + |
		sed -E 's/^([^:]*):[^"<]*(["<].*)$/\1 \2/' | sort
}

includes libuser/*/ asm | grep -v '^libuser/include/' >"$tap_out/lib"
tap_empty "libuser: includes point downwards" < <(awk '
BEGIN {
	split("base 0 arch 1 os 2 mem 3 sched 4 sync 5 net 5 gc 5 obs 6 api 7 compat 8", w, " ")
	for (i = 1; i in w; i += 2) rank[w[i]] = w[i + 1]
}
$1 ~ /^libuser/ && $2 ~ /^"/ {
	split($1, p, "/")
	t = substr($2, 2, length($2) - 2)
	from = p[2]
	if (!(from in rank)) { print $1 ": directory " from " is no known layer"; next }
	if ($1 ~ /^libuser\/compat\/gc\/include\//) next
	if (from == "compat" && t ~ /^(compat\/)?gc\/[a-z_]+\.h$/) next
	if (t == "swap.h") {
		if (from != "arch") print $1 ": swap.h is for arch"
		next
	}
	if (t == "offsets.h") {
		if (from !~ /^(base|arch|sched|gc)$/) print $1 ": offsets.h is for base, arch, sched and gc"
		next
	}
	if (split(t, q, "/") != 2) { print $1 ": write \"layer/file.h\", not " $2; next }
	if (!(q[1] in rank)) print $1 ": " $2 " is in no known layer"
	else if (q[1] != from && rank[q[1]] >= rank[from]) print $1 ": " from " may not see " q[1] " (" $2 ")"
}' "$tap_out/lib")

tap_empty "libuser: system calls are made in os/ only" < <(
	grep -v '^libuser/os/' "$tap_out/lib" |
		grep -E '<(sys/(syscall|ioctl|mman|epoll|eventfd|timerfd|socket|resource|prctl|uio|stat|wait|time)|unistd|fcntl|poll|sched|linux/(futex|membarrier|rseq|unistd)|asm/unistd|asm/prctl)\.h>'
	# A layer that wraps a system's functions calls them.
	find libuser -name '*.c' ! -path 'libuser/os/*' ! -path libuser/compat/gc/thread.c -exec \
		grep -HnE '\b(syscall|pthread_create|pthread_kill|mmap|munmap|madvise|mprotect|ioctl|sched_yield)\(' {} + |
		grep -vE ':[0-9]+:[[:space:]]*(/\*|\*)'
)
tap_empty "libuser: RCU is used in sched/rcu.c only" < <(
	grep -E '<urcu(\.h|/(urcu|static|map|call-rcu|defer)[^>]*)>' "$tap_out/lib" |
		grep -v '^libuser/sched/rcu.c '
	grep '<urcu/' "$tap_out/lib" | grep -v '^libuser/sched/'
)
tap_empty "asm: includes nothing but its own headers" < <(
	awk '$1 ~ /^asm/ && $2 !~ /^"(kaus_asm|offsets)\.h"$/' "$tap_out/lib")
tap_empty "public headers do not see internal ones" < <(
	includes libuser/include uapi |
		awk '$2 ~ /^"/ || ($2 ~ /kaus/ && $2 !~ /^<(kaus\/[a-z]*|linux\/kaus)\.h>$/)' |
		while read -r f t; do	# the umbrella may be quoted in itself
			echo "$f: $t"
		done
)
tap_empty "kmod: sees its own headers, the kernel's and uapi" < <(
	includes kmod | while read -r f t; do
		case $t in
		'<linux/'* | '<asm/'* | '<uapi/'* | '<trace/'* | '<generated/'* | '<kunit/'*) ;;
		'"'*/*) echo "$f: $t" ;;
		'"'*) t=${t//\"/}; [ -e "kmod/$t" ] || [ -e "${f%/*}/$t" ] || echo "$f: $t" ;;
		*) echo "$f: $t" ;;
		esac
	done
)
tap_empty "libuser and examples do not see kmod" < <(
	includes libuser examples | grep -E 'kmod/' || :)
tap_empty "no version test outside of kmod/compat.h" < <(
	grep -rnE 'LINUX_VERSION_CODE|KERNEL_VERSION\(' kmod | grep -v '^kmod/compat.h:' || :)
tap_empty "the root is never on the include path" < <(
	git ls-files -co --exclude-standard '*Makefile' Kbuild '*.mk' '*.sh' 2>/dev/null |
		xargs grep -nE -- '-I(\.|\$\(src\))([[:space:]]|$)' /dev/null |
		grep -v 'check_layers.sh' || :)
tap_end
