#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What tools can say about the source: sparse and W=1, checkpatch, coccicheck,
# clang, kernel-doc, codespell, mandoc. Formatting by clang-format is advice.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

# need PROGRAM NAME: true if it is there, else a skip.
need() {
	command -v "$1" >/dev/null && return
	tap_skip "$2" "no $1 here (tools/deps.sh style)"
	return 1
}

if need sparse "sparse"; then
	for series in 6.1 6.12; do
		if ! tools/kernels.sh --version $series >/dev/null 2>&1; then
			tap_skip "sparse, W=1: $series" "no headers of $series here"
			continue
		fi
		KBUILD_SUBDIR=style/ tools/kbuild.sh $series C=2 CHECK=sparse \
			>"$tap_out/sparse" 2>&1 || sed -i 's/^/error: build failed: /' "$tap_out/sparse"
		tap_empty "sparse, W=1: $series" < <(grep -E '(warning|error): ' "$tap_out/sparse")
	done
fi

tools/kselftest.sh >/dev/null 2>&1 || :
scripts=build/kselftest/scripts
if [ -x $scripts/checkpatch.pl ]; then
	# compat.h is where version tests belong; uapi has no BIT(); trace events
	# are laid out as all trace events are.
	tap_empty "checkpatch --strict: kmod, uapi" < <(
		find kmod uapi -name '*.[ch]' | sort | xargs perl $scripts/checkpatch.pl \
			--no-tree --strict --terse --no-summary --show-types -f 2>&1 |
			grep -v 'git: not found' |
			grep -vE -e '^kmod/compat.h:.*:(LINUX_VERSION_CODE|CONSTANT_COMPARISON):' \
				-e '^kmod/trace.h:.*:(PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE):' \
				-e '^uapi/.*:(BIT_MACRO|CAMELCASE):' || :)
	tap_empty "kernel-doc" < <(
		find kmod uapi libuser/include -name '*.[ch]' | sort |
			xargs perl $scripts/kernel-doc -none -Wall -Werror 2>&1 || :)
else
	tap_skip "checkpatch, kernel-doc" "no kernel source here (tools/deps.sh style)"
fi

# Semantic patches of the kernel, those in $2 of them, on directory $1. Two want
# a compiler for OCaml and are left out.
cocci() {
	local f opts
	find "$scripts/coccinelle/${2-}" -name '*.cocci' | sort | while read -r f; do
		grep -q '^virtual report' "$f" && ! grep -q 'ocaml' "$f" || continue
		opts=$(sed -n 's,^// Options:,,p' "$f")
		# shellcheck disable=SC2086
		timeout 200 spatch -D report --very-quiet --no-show-diff $opts \
			--include-headers -I kmod -I uapi --cocci-file "$f" \
			--dir "$1" >"$tap_out/spatch" 2>&1 || echo "$f: exit $?"
		grep -v '^warning: line' "$tap_out/spatch" || :
	done
}

if [ -d $scripts/coccinelle ] && need spatch "coccicheck"; then
	# Does it work here? A use after free must not go unnoticed.
	mkdir -p "$tap_out/cocci"
	cat >"$tap_out/cocci/bad.c" <<-'END'
		void kfree(const void *p);
		int bad(int *p)
		{
			kfree(p);
			return *p;
		}
	END
	tap_check "coccicheck finds a planted bug" \
		grep -q 'reference preceded by free' <(cocci "$tap_out/cocci" free)
	tap_empty "coccicheck: kmod" < <(cocci kmod)
fi

if need clang "clang"; then
	tap_check "library and examples with clang" \
		make -k -s CC=clang B=build/clang lib examples
fi
if need codespell "codespell"; then
	tap_empty "codespell" < <(
		{ git ls-files -co --exclude-standard 2>/dev/null || echo .; } | grep -v '^LICENSES/' |
			xargs -d '\n' codespell --config .codespellrc 2>&1 || :)
fi
if [ "$(echo doc/man/*.[1-9])" != 'doc/man/*.[1-9]' ] && need mandoc "mandoc"; then
	tap_empty "mandoc -T lint: doc/man" < <(
		mandoc -T lint -W warning doc/man/*.[1-9] 2>&1 |
			grep -vE 'STYLE|referenced manual not found|operating system explicitly' || :)
fi
if command -v clang-format >/dev/null; then
	n=$(find kmod libuser uapi examples tests bench -name '*.[ch]' |
		xargs clang-format --dry-run 2>&1 | grep -c 'warning:' || :)
	echo "# advice: clang-format would change $n places (clang-format --dry-run)"
fi
tap_end
