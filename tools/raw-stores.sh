#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Find stores that a program with KAUS_GC_MODE=concurrent must declare
# (kaus_gc(3)) and does not. What it sees and what it
# does not: doc/design/gc.md.
set -eu

usage() {
	cat <<'END'
usage: raw-stores.sh [-I DIR]... FILE.c... [FILE.h]...

Prints "FILE:LINE: raw store to MEMBER of TYPE" for each plain store to a member
that a KAUS_TYPE() in one of the files names, through a pointer: by an
assignment, ++ or --, of the whole structure, by memcpy() and the like, by an
atomic operation. Not for the first store into what was just allocated, nor for
a line with the comment "raw store: REASON".

Status: 0 if there is none, 1 if there are, 2 if something went wrong.
END
	exit 2
}

includes=()
while getopts I: opt; do
	case $opt in
	I) includes+=(-I "$OPTARG") ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
command -v spatch >/dev/null || {
	echo "$0: no spatch: install coccinelle" >&2
	exit 2
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# "TYPE:MEMBER:MEMBER..." for each KAUS_TYPE(). The second name of a structure with
# a typedef is a type of its own to spatch.
types() {
	local type rest

	cat "$@" | grep -v '^[[:space:]]*#' | tr '\t\n' '  ' >"$tmp/text"
	grep -oE '\<KAUS_TYPE *\([^()]*\)' "$tmp/text" |
		sed -E 's/^KAUS_TYPE *\([^,]*, *//; s/ *\)$//; s/ *, */:/g; s/  +/ /g' |
		sort -u | while IFS=: read -r type rest; do
			echo "$type:$rest"
			perl -ne "print \"\$1 \$2:$rest\\n\" while
				/\\btypedef\\s+(struct|union)\\s+(\\w+)\\s*
				({(?:[^{}]|(?3))*})?\\s*\Q$type\E\\s*;/gx" "$tmp/text"
		done
}

alloc='\(kaus_new\|kaus_new_array\|kaus_alloc\|kaus_alloc_array\)'
copy='\(memcpy\|memmove\|memset\|mempcpy\|bzero\|bcopy\|__builtin_memcpy\|__builtin_memmove\|__builtin_memset\)'
atomic='\(atomic_store\|atomic_store_explicit\|atomic_exchange\|atomic_exchange_explicit\|atomic_compare_exchange_strong\|atomic_compare_exchange_weak\|atomic_compare_exchange_strong_explicit\|atomic_compare_exchange_weak_explicit\|__atomic_store_n\|__atomic_store\|__atomic_exchange_n\|__atomic_exchange\|__atomic_compare_exchange_n\|__atomic_compare_exchange\|__sync_bool_compare_and_swap\|__sync_val_compare_and_swap\|__sync_lock_test_and_set\|__sync_lock_release\)'

report() { # RULE TYPE WHAT
	cat <<END

@script:python@
p << $1.p;
@@
print("%s:%s: raw store to $3 of $2" % (p[0].file, p[0].line))
END
}

# spatch wants to be told once that a name is a type's.
typedef_once() {
	case $1 in
	'struct '* | 'union '*) return ;;
	esac
	[ -e "$tmp/told.$1" ] && return
	: >"$tmp/told.$1"
	echo "typedef $1;"
	echo ' '
}

# What is new, until it is stored to; what is no object. Or is something else.
fresh() { # RULE TYPE STORE STORE-AT-P
	fresh_by "$1" "$2" "x = $alloc(...)" "when != $3" "$4" "$2 *x;"
	fresh_by "$1_d" "$2" "$2 *x = $alloc(...);" "when != $3" "$4" "identifier x;"
	fresh_by "$1_v" "$2" "x = &y" "" "$4" "$2 *x;"
	fresh_by "$1_vd" "$2" "$2 *x = &y;" "" "$4" "identifier x;"
}

fresh_by() { # RULE TYPE FROM WHEN STORE-AT-P X
	cat <<END

@$1 exists@
$(typedef_once "$2")$6
$2 y;
expression U, V, W, I;
identifier g;
position p;
@@
$3
... when != x = W
    $4
 $5
END
}

member() { # NUMBER TYPE MEMBER
	local t=$2 f=$3 n=$1

	fresh "new_a$n" "$t" "x->$f = U" "x->$f@p = V"
	fresh "new_b$n" "$t" "x->${f}[I] = U" "x->${f}[I]@p = V"
	fresh "new_c$n" "$t" "x->$f.g = U" "x->$f.g@p = V"
	cat <<END

@a$n@
$t *E;
expression V;
assignment operator aop;
position p != { new_a$n.p, new_a${n}_d.p, new_a${n}_v.p, new_a${n}_vd.p };
@@
(
E->$f@p aop V
|
E->$f@p++
|
E->$f@p--
|
  ++E->$f@p
|
  --E->$f@p
)

@b$n@
$t *E;
expression V, I;
assignment operator aop;
position p != { new_b$n.p, new_b${n}_d.p, new_b${n}_v.p, new_b${n}_vd.p };
@@
E->${f}[I]@p aop V

@c$n@
$t *E;
expression V;
identifier g;
assignment operator aop;
position p != { new_c$n.p, new_c${n}_d.p, new_c${n}_v.p, new_c${n}_vd.p };
@@
E->$f.g@p aop V

@d$n@
$t *E;
expression I, V;
identifier g;
assignment operator aop;
position p;
@@
(
E[I].$f@p aop V
|
  (*E).$f@p aop V
|
  (*E).${f}[I]@p aop V
|
  (*E).$f.g@p aop V
|
E[I].${f}[V]@p aop ...
|
E[I].$f.g@p aop V
)

@e$n@
$t *E;
expression I;
position p;
@@
(
$copy(E->$f@p, ...)
|
$copy(&E->$f@p, ...)
|
$copy(&E->${f}[I]@p, ...)
|
$atomic(&E->$f@p, ...)
|
$atomic(&E->${f}[I]@p, ...)
)
END
	for r in a b c d e; do
		report "$r$n" "$t" "$f"
	done
}

whole() { # NUMBER TYPE
	local t=$2 n=$1

	fresh "new_w$n" "$t" "*x = U" "*x@p = V"
	fresh "new_m$n" "$t" "$copy(x, ...)" "$copy(x@p, ...)"
	cat <<END

@w$n@
$t *E;
expression V, I;
position p != { new_w$n.p, new_w${n}_d.p, new_w${n}_v.p, new_w${n}_vd.p };
@@
(
  *E@p = V
|
  E[I]@p = V
)

@m$n@
$t *E;
position p != { new_m$n.p, new_m${n}_d.p, new_m${n}_v.p, new_m${n}_vd.p };
@@
$copy(E@p, ...)
END
	report "w$n" "$t" "all"
	report "m$n" "$t" "all"
}

n=0
while IFS=: read -r type rest; do
	n=$((n + 1))
	whole $n "$type"
	while [ "$rest" ]; do
		n=$((n + 1))
		member $n "$type" "${rest%%:*}"
		case $rest in
		*:*) rest=${rest#*:} ;;
		*) rest= ;;
		esac
	done
done < <(types "$@") >"$tmp/rules.cocci"
[ -s "$tmp/rules.cocci" ] || exit 0

spatch --very-quiet --no-show-diff --recursive-includes "${includes[@]}" \
	--sp-file "$tmp/rules.cocci" "$@" >"$tmp/out" 2>"$tmp/err" || {
	grep -v "^warning: " "$tmp/err" >&2
	exit 2
}
sort -t: -k1,1 -k2,2n -u "$tmp/out" | while IFS=: read -r file line what; do
	sed -n "${line}p" "$file" | grep -q 'raw store: ' ||
		echo "$file:$line:$what"
done >"$tmp/found"
cat "$tmp/found"
[ ! -s "$tmp/found" ]
