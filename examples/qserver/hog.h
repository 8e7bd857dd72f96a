/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A long computation inside a library, and what it must come to. */
#ifndef QS_HOG_H
#define QS_HOG_H

#include <stdint.h>

/* What a match or a scan found: enough to notice a wrong one. */
struct answer {
	uint64_t count;
	uint64_t sum;
};

/**
 * struct hog - One match over a piece of the text or one scan of table rows.
 * @pattern: Which of the patterns of text.c or db.c.
 * @start: First byte of the text, or first row.
 * @length: Bytes or rows.
 * @expected: The answer, computed before any load is applied.
 */
struct hog {
	unsigned int pattern;
	uint64_t start;
	uint64_t length;
	struct answer expected;
};

#endif /* QS_HOG_H */
