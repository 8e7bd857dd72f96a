#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Models of the protocols (tests/litmus/*.pml), checked by spin in all their
# interleavings; and each of their mutations, the macros that a model asks for,
# which must be found out.
set -eu
cd "$(dirname "$0")/.."
. tests/tap.sh

# errors MODEL [MACRO]: how many spin finds.
errors() {
	local dir=$tap_out/$1${2:-}
	mkdir -p "$dir"
	cp "tests/litmus/$1.pml" "$dir/"
	(cd "$dir" && spin ${2:+"-D$2"} -run -noclaim "$1.pml" 2>&1) |
		tee "$dir/log" | sed -n 's/^State-vector .*errors: \([0-9]*\).*/\1/p'
}

for path in tests/litmus/*.pml; do
	model=$(basename "$path" .pml)
	tap_empty "$model holds" < <(
		[ "$(errors "$model")" = 0 ] || cat "$tap_out/$model/log")
	for macro in $(sed -nE 's/^#ifn?def ([A-Z_]+)$/\1/p' "$path" | sort -u); do
		tap_empty "$model finds $macro" < <(
			[ "$(errors "$model" "$macro")" = 1 ] ||
				cat "$tap_out/$model$macro/log")
	done
done
tap_end
