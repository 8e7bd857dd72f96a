#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Print libuser/mem/sizeclass_table.h: the sizes that small objects are rounded
# up to, and how many pages a span of each has. The rules:
#
#	- sizes are multiples of 16, so that every object is aligned for any C
#	  type; from 128 on they are apart by an eighth of the power of two
#	  below, so that rounding up wastes no more than an eighth;
#	- a span has the fewest pages that leave at most a sixteenth over, but
#	  two at least where one would have fewer than 64 objects: what is known
#	  about a span takes 192 bytes;
#	- of sizes of which as many fit into as many pages the largest stays.
#
# usage: tools/sizeclasses.sh >libuser/mem/sizeclass_table.h
set -eu

awk -v page=8192 -v max=32768 '
function list(name, type, v, n, per,   i, line, item) {
	printf "static const %s %s[] = {\n", type, name
	line = ""
	for (i = 0; i < n; i++) {
		item = v[i] ","
		if (line == "")
			line = item
		else if (length(line) + length(item) + 9 > 76) {
			print "\t" line
			line = item
		} else
			line = line " " item
	}
	print "\t" line
	print "};\n"
}
BEGIN {
	nr = 1			# class 0: large objects
	size[0] = pages[0] = magic[0] = 0
	step = 16
	for (s = 16; s <= max; s += step) {
		for (p2 = 128; p2 * 2 <= s; p2 *= 2)
			;
		step = s < 128 ? 16 : p2 / 8
		for (np = s > page / 64 ? 2 : 1; (np * page) % s > np * page / 16; np++)
			;
		if (nr > 1 && np == pages[nr - 1] &&
		    int(np * page / s) == int(np * page / size[nr - 1]))
			nr--
		size[nr] = s
		pages[nr] = np
		# ceil(2^32 / size): offset * magic >> 32 is offset / size
		magic[nr] = int((4294967296 + s - 1) / s) "u"
		nr++
	}
	c = 1
	for (s = 0; s <= 1024; s += 16) {
		while (size[c] < s) c++
		by16[n16++] = c
	}
	for (s = 1024; s <= max; s += 128) {
		while (size[c] < s) c++
		by128[n128++] = c
	}
	print "/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */"
	print "/* Made by tools/sizeclasses.sh, which tells the rules. */"
	print "#ifndef KR_MEM_SIZECLASS_TABLE_H"
	print "#define KR_MEM_SIZECLASS_TABLE_H\n"
	print "#include <stdint.h>\n"
	print "#define KR_NR_CLASSES\t" nr
	print "#define KR_SMALL_MAX\t" max "U"
	print "#define KR_BY16_MAX\t1024U\n"
	print "/* Class 0 is for large objects, each in a span of its own. */"
	list("kr_class_bytes", "uint32_t", size, nr)
	list("kr_class_pages", "uint8_t", pages, nr)
	print "/* (2^32 / bytes), rounded up: divides offsets within a span. */"
	list("kr_class_magic", "uint32_t", magic, nr)
	print "/* Class by (bytes + 15) / 16, up to KR_BY16_MAX. */"
	list("kr_class_by16", "uint8_t", by16, n16)
	print "/* Class by (bytes - KR_BY16_MAX + 127) / 128. */"
	list("kr_class_by128", "uint8_t", by128, n128)
	print "#endif /* KR_MEM_SIZECLASS_TABLE_H */"
}'
