/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * PCRE2 over the text corpus.
 *
 * The library is the distribution's. A compiled pattern may be shared by
 * threads, match data may not: each request allocates its own. No JIT: the
 * interpreter is the part of PCRE2 that runs long.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text.h"

#include <fcntl.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

static const char *const patterns[TEXT_NR_PATTERNS] = {
	/* The same word twice within a few words. */
	"\\b(\\w{4,})\\b(?:\\W+\\w+){1,6}?\\W+\\1\\b",
	/* Two names in one sentence. */
	"\\b[A-Z][a-z]+\\b[^.?!]*?\\band\\s+[A-Z][a-z]+\\b",
	/* Words with a doubled letter near their end. */
	"\\b\\w*(\\w)\\1\\w{1,3}\\b(?=[^.]*\\bthe\\b)",
	/* Lines that end as they begin. */
	"(?m)^\\s*(\\S+)\\b.*\\b\\1\\W*$",
};

static pcre2_code *codes[TEXT_NR_PATTERNS];
static const char *text;
static uint64_t nr_bytes;

static void map_text(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		die("cannot open the text corpus %s (run.sh makes one): %m",
		    path);
	nr_bytes = (uint64_t)st.st_size;
	if (nr_bytes < 1000000)
		die("%s is too short: 1 MB of text are needed", path);
	text = mmap(NULL, nr_bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd,
		    0);
	if (text == MAP_FAILED)
		die("cannot map %s: %m", path);
	close(fd);
}

void text_load(const char *path)
{
	unsigned int i;

	map_text(path);
	for (i = 0; i < TEXT_NR_PATTERNS; i++) {
		PCRE2_UCHAR why[256];
		PCRE2_SIZE where;
		int error;

		codes[i] = pcre2_compile((PCRE2_SPTR)patterns[i],
					 PCRE2_ZERO_TERMINATED, 0, &error,
					 &where, NULL);
		if (codes[i])
			continue;
		pcre2_get_error_message(error, why, sizeof(why));
		die("pattern '%s': %s at %zu", patterns[i], (char *)why, where);
	}
}

uint64_t text_bytes(void)
{
	return nr_bytes;
}

bool text_match(const struct hog *hog, struct answer *ret_answer)
{
	const pcre2_code *code = codes[hog->pattern];
	PCRE2_SPTR piece = (PCRE2_SPTR)text + hog->start;
	struct answer found = { 0, 0 };
	pcre2_match_data *md;
	PCRE2_SIZE at = 0;
	int rc = 0;

	md = pcre2_match_data_create_from_pattern(code, NULL);
	if (!md)
		return false;
	while (at < hog->length) {
		const PCRE2_SIZE *span;

		rc = pcre2_match(code, piece, hog->length, at, 0, md, NULL);
		if (rc < 0)
			break;
		span = pcre2_get_ovector_pointer(md);
		found.count++;
		found.sum += mix64(span[0] ^ span[1] << 32);
		/* No pattern matches the empty string. */
		at = span[1];
	}
	pcre2_match_data_free(md);
	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
		warn("pcre2_match: error %d", rc);
		return false;
	}
	*ret_answer = found;
	return true;
}
