/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The text corpus and long PCRE2 matches over pieces of it. */
#ifndef QS_TEXT_H
#define QS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "hog.h"

#define TEXT_NR_PATTERNS	4

/* Read the corpus and compile the patterns; ends the program on failure. */
void text_load(const char *path);

uint64_t text_bytes(void);

/* Count the matches in a piece of the text; true unless PCRE2 failed. */
bool text_match(const struct hog *hog, struct answer *ret_answer);

#endif /* QS_TEXT_H */
