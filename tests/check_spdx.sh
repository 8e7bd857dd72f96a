#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Each file says its licence in its first lines, the licence that its place
# asks for, and the text of each licence is in LICENSES/.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

lib='LGPL-2.1-or-later OR MIT'
any="^(GPL-2\.0-only|$lib|MIT|LGPL-2\.1-or-later)$"

# What is in git, or would be added; in a copy without git, everything.
files() {
	git ls-files -co --exclude-standard 2>/dev/null ||
		find . -type f ! -path './build/*' ! -path './.git/*' | sed 's|^\./||'
}

files | sort -u >"$tap_out/files"
while read -r f; do
	[ -f "$f" ] && [ -s "$f" ] || continue
	case $f in
	# Prose, licences, and files whose format has no comments.
	*.md | LICENSES/* | COPYING* | */LIBS | *.sum | *.txt | *.csv | *.json | *.png | *.svg) continue ;;
	esac
	id=$(head -n 5 "$f" | sed -nE 's/.*SPDX-License-Identifier: (.*)/\1/p' |
		head -n 1 | sed -E 's/[[:space:]]*(\*\/|-->)?[[:space:]]*$//')
	echo "$f|$id"
done <"$tap_out/files" >"$tap_out/ids"

# wrong REGEX-OF-PATHS REGEX-OF-LICENCES
wrong() {
	awk -F'|' -v where="$1" -v what="$2" \
		'$1 ~ where && $2 !~ what { print $1 ": " ($2 == "" ? "none" : $2) }' "$tap_out/ids"
}
tap_empty "every file has a licence" < <(wrong . .)
tap_empty "kmod: GPL-2.0-only" < <(wrong '^(kmod/|Kbuild$|dkms.conf$)' '^GPL-2\.0-only$')
tap_empty "uapi: GPL-2.0 WITH Linux-syscall-note" < <(
	wrong '^uapi/' '^GPL-2\.0(-only)? WITH Linux-syscall-note$')
tap_empty "libuser, asm: $lib" < <(wrong '^(libuser|asm)/' "^$lib$")
tap_empty "the rest: one of these" < <(
	grep -vE '^uapi/' "$tap_out/ids" | awk -F'|' -v any="$any" \
		'$2 != "" && $2 !~ any { print $1 ": " $2 }')
tap_check "the texts are there" test -s LICENSES/GPL-2.0-only.txt -a \
	-s LICENSES/LGPL-2.1-or-later.txt -a -s LICENSES/MIT.txt -a \
	-s LICENSES/Linux-syscall-note.txt
tap_end
