/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A line of text, put together without the C library. */
#ifndef KR_GC_LINE_H
#define KR_GC_LINE_H

#include <stdint.h>

#include "os/os.h"

struct kr_line {
	char text[300];
	uint32_t len;
};

static inline void kr_line_text(struct kr_line *line, const char *s)
{
	while (*s && line->len < sizeof(line->text))
		line->text[line->len++] = *s++;
}

/* @value / 10^@decimals */
static inline void kr_line_number(struct kr_line *line, uint64_t value,
				  int decimals)
{
	char digits[24];
	int nr = 0;

	do {
		digits[nr++] = (char)('0' + value % 10);
		value /= 10;
	} while (value || nr <= decimals);
	while (nr-- && line->len < sizeof(line->text)) {
		line->text[line->len++] = digits[nr];
		if (nr && nr == decimals && line->len < sizeof(line->text))
			line->text[line->len++] = '.';
	}
}

static inline void kr_line_addr(struct kr_line *line, const void *addr)
{
	uintptr_t value = (uintptr_t)addr;
	bool any = false;

	kr_line_text(line, "0x");
	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned int digit = value >> shift & 15;

		any |= digit || !shift;
		if (any && line->len < sizeof(line->text))
			line->text[line->len++] = "0123456789abcdef"[digit];
	}
}

static inline void kr_line_write(const struct kr_line *line)
{
	kr_file_write_all(2, line->text, line->len);
}

#endif /* KR_GC_LINE_H */
